//! The filter in the kernel: its programs, maps, links and pins.

mod counters;
mod definition;
mod fence;
mod link;
mod object;
mod pins;
mod policy_map;
mod program;
mod sampling;
mod slot;

use std::{fs, io, path::PathBuf};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};
use thiserror::Error;

use self::fence::Fence;
pub(crate) use self::program::{ProgramLoader, UNTOUCHED};
pub use self::{
    counters::{CounterMap, Counters, OpenCounters},
    link::PinnedProgram,
    pins::Pins,
    policy_map::PolicyMap,
    program::{FilterProgram, Settings},
    sampling::SampleMaps,
};

/// What goes wrong between this program and the kernel.
#[derive(Debug, Error)]
pub enum KernelError {
    /// Missing privileges.
    #[error("not permitted: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    NotPermitted,
    /// There is no BPF file system where the pins belong.
    #[error("{0} is not a BPF file system: mount it with `mount -t bpf bpf {0}`")]
    NoBpffs(PathBuf),
    /// The verifier refused the program.
    #[error(
        "the kernel refused the program (6.1 or newer is needed): {source}\nverifier: {verdict}"
    )]
    Verifier {
        /// The system call's error.
        source: io::Error,
        /// The last lines of the verifier's log.
        verdict: String,
    },
    /// The pinned maps were made by a version that lays them out differently.
    #[error(
        "{path} was pinned by another version of mpls-xdp, whose maps this one cannot read: \
         take the old filter off with `mpls-xdp detach --all`, then apply the policy again"
    )]
    OtherAbi {
        /// The pin.
        path: PathBuf,
    },
    /// The driver has no native XDP, or none for this MTU: some say the same of both.
    #[error(
        "{0}: the driver has no native XDP, or not with this MTU; `--mode generic` filters in the \
         network stack, slower"
    )]
    NoNativeXdp(String),
    /// The kernel has no program with `xdp.frags` for this driver and MTU, or another limit.
    #[error(
        "{interface}: the driver refused the program: {source}; a smaller MTU may help, or \
         `--mode generic`, which filters in the network stack, slower"
    )]
    Attach {
        /// The interface.
        interface: String,
        /// The system call's error.
        source: io::Error,
    },
    /// Another program sits on the interface.
    #[error(
        "{interface}: another XDP program is attached{id}; `--replace` takes it off and puts the \
         filter there"
    )]
    ForeignProgram {
        /// The interface.
        interface: String,
        /// Its id, as a clause.
        id: String,
    },
    /// A file operation on a pin.
    #[error("{path}: {source}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The object could not be loaded.
    #[error("cannot load the kernel program: {0}")]
    Load(#[from] EbpfError),
    /// A map operation.
    #[error("map: {0}")]
    Map(#[from] MapError),
    /// A program operation.
    #[error("program: {0}")]
    Program(#[source] ProgramError),
    /// The log of an object built for diagnosis.
    #[cfg(feature = "log")]
    #[error("cannot read the kernel program's log: {0}")]
    Log(#[source] aya_log::Error),
    /// A link operation.
    #[error("link: {0}")]
    Link(#[source] aya::programs::links::LinkError),
    /// Memory of a map could not be reached.
    #[error("cannot reach the memory of a map: {0}")]
    Memory(#[source] io::Error),
    /// A policy map without a policy.
    #[error("the policy map has no policy; `mpls-xdp detach --all` removes it")]
    NoImage,
    /// Policies were applied faster than one could be read.
    #[error("the policy changed each time it was read; try again")]
    KeepsChanging,
    /// No interface can have the slot.
    #[error("there is no slot {0} for an interface")]
    NoSlot(u32),
    /// The number of CPUs is not known.
    #[error("cannot read which CPUs there can be: {0}")]
    Cpus(#[source] io::Error),
    /// The counters of all CPUs are more than a map can have.
    #[error(
        "{0} counters for each CPU that this kernel can have are more than a map holds: use fewer \
         ingresses, or rules, or start the kernel with `possible_cpus=`"
    )]
    TooManyCounters(u32),
    /// The program ended with an action that it never returns.
    #[error("the program ended with XDP action {0}")]
    Action(u32),
    /// The manifest in the policy map is not readable.
    #[error("the manifest in the policy map is damaged: {0}; `mpls-xdp detach --all` removes it")]
    Manifest(#[from] serde_json::Error),
}

impl KernelError {
    /// Whether the driver refused a program that takes no fragments, perhaps because of the MTU.
    pub(crate) fn may_be_the_mtu(&self) -> bool {
        matches!(self, Self::NoNativeXdp(_) | Self::Attach { .. } | Self::Program(_))
    }
}

impl From<ProgramError> for KernelError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, .. }
                if is_not_permitted(&io_error)
                    || io_error.kind() == io::ErrorKind::PermissionDenied && !has_perfmon() =>
            {
                Self::NotPermitted
            }
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                let lines: Vec<&str> = log.lines().collect();
                let verdict = lines[lines.len().saturating_sub(8)..].join("\n");
                Self::Verifier { source: io_error, verdict }
            }
            other => Self::Program(other),
        }
    }
}

impl From<PinError> for KernelError {
    fn from(error: PinError) -> Self {
        Self::Map(MapError::PinError { name: None, error })
    }
}

/// Whether the verifier takes us for privileged: without `CAP_PERFMON` it refuses what reads the
/// stack or compares pointers freely, and says so with the error for any refusal.
fn has_perfmon() -> bool {
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    // What cannot be known is no reason to blame the privileges.
    effective.is_none_or(|set| set & (1 << SYS_ADMIN | 1 << PERFMON) != 0)
}

/// Whether an error says that privileges are missing.
fn is_not_permitted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}
