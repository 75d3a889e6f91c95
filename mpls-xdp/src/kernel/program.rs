//! Loads copies of the kernel program.

use std::path::PathBuf;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map},
    programs::{TestRun as _, TestRunOptions, Xdp, loaded_programs},
};
use mpls_xdp_ebpf::abi::{NONE, Trace, given, interface_record, policy_map};

use super::{
    CounterMap, KernelError, Pins, PolicyMap, fence,
    object::{self, Given},
    sampling,
};

/// Names of the programs in the object and in the kernel: for frames in one piece, and for frames
/// that may come in fragments.
const PROGRAMS: [&str; 2] = ["mpls_xdp", "mpls_xdp_frags"];

/// Pin of the map of traced verdicts.
const TRACE: &str = "trace";

/// The trace of a frame that passes without a verdict.
pub(crate) const UNTOUCHED: Trace =
    Trace { dropped: 0, reason: NONE, ingress: NONE, position: NONE, label: NONE, counter: NONE };

/// What a copy of the program is made for.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The slot of its interface.
    pub slot: u32,
    /// Where the policy is that it judges by.
    pub policy: &'a PolicyMap,
    /// Where it counts.
    pub counters: &'a CounterMap,
    /// Whether it takes frames in fragments, which costs each frame the question how long it is.
    pub fragments: bool,
    /// Whether it writes each verdict to the trace map.
    pub tracing: bool,
}

impl Settings<'_> {
    /// The object of this copy.
    fn object(&self) -> Result<Vec<u8>, KernelError> {
        let words = self.policy.capacity();
        let interface = interface_record(self.slot).ok_or(KernelError::NoSlot(self.slot))?;
        Ok(object::with(Given {
            values: [(given::POLICY, self.policy.fd()), (given::COUNTERS, self.counters.fd())],
            operands: [
                (given::PLACE_MASK, policy_map::place_mask(words)),
                (given::SECOND_IMAGE, policy_map::second(words)),
                (given::COUNTER_SLOTS, self.counters.slots()),
                (given::COUNTER_MASK, self.counters.mask()),
                (given::INTERFACE, interface),
                (given::TRACING, self.tracing.into()),
            ],
        }))
    }
}

/// Loads copies. It reads the kernel's own types when it is made, which takes longer than anything
/// but the verifier: so many copies, one loader.
pub(crate) struct ProgramLoader(EbpfLoader<'static>);

impl ProgramLoader {
    /// A loader of programs that share the maps of `pins`.
    pub(crate) fn new(pins: Option<&Pins>) -> Self {
        let mut loader = EbpfLoader::new();
        if let Some(pins) = pins {
            loader
                .map_pin_path("FENCE", pins.path(fence::FENCE))
                .map_pin_path("TRACE", pins.path(TRACE))
                .map_pin_path("BUCKETS", pins.path(sampling::BUCKETS))
                .map_pin_path("SAMPLES", pins.path(sampling::SAMPLES));
        }
        Self(loader)
    }

    /// Loads a copy, and makes the maps that are not there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn load(&mut self, settings: Settings<'_>) -> Result<FilterProgram, KernelError> {
        let mut ebpf = self.0.load(&settings.object()?).map_err(permission)?;
        let name = PROGRAMS[usize::from(settings.fragments)];
        xdp(&mut ebpf, name)?.load()?;
        Ok(FilterProgram {
            name,
            #[cfg(feature = "log")]
            logger: aya_log::EbpfLogger::init(&mut ebpf).map_err(KernelError::Log)?,
            ebpf,
        })
    }
}

/// A copy of the kernel program.
pub struct FilterProgram {
    ebpf: Ebpf,
    name: &'static str,
    #[cfg(feature = "log")]
    logger: aya_log::EbpfLogger<&'static dyn log::Log>,
}

impl FilterProgram {
    /// SHA-256 of the object that programs are loaded from, in hexadecimal.
    pub fn object_digest() -> &'static str {
        object::DIGEST
    }

    /// Whether a loaded program is a copy of one of these by its name; no, where privileges to ask
    /// are missing (`CAP_SYS_ADMIN`).
    pub fn is_copy(id: u32) -> bool {
        let mut loaded = loaded_programs().filter_map(Result::ok);
        loaded.any(|program| {
            let is_ours = |name| PROGRAMS.contains(&name);
            program.id() == id && program.name_as_str().is_some_and(is_ours)
        })
    }

    /// Loads one copy. With `pins` it shares their maps, which are made if they are not there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn load(settings: Settings<'_>, pins: Option<&Pins>) -> Result<Self, KernelError> {
        ProgramLoader::new(pins).load(settings)
    }

    /// The program.
    ///
    /// # Errors
    ///
    /// Never for the committed object.
    pub fn xdp(&mut self) -> Result<&mut Xdp, KernelError> {
        xdp(&mut self.ebpf, self.name)
    }

    /// The pins of the maps that programs share, but for those that each is given.
    pub fn pins(pins: &Pins) -> [PathBuf; 4] {
        [fence::FENCE, TRACE, sampling::BUCKETS, sampling::SAMPLES].map(|name| pins.path(name))
    }

    /// Whether all of [`Self::pins`] are there.
    pub fn maps_are_pinned(pins: &Pins) -> bool {
        Self::pins(pins).iter().all(|pin| pin.exists())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map, KernelError> {
        self.ebpf.map_mut(name).ok_or_else(|| missing(name))
    }

    /// Runs a frame of 14 bytes or more through a program with tracing on, as `BPF_PROG_TEST_RUN`.
    /// Only its first `linear` bytes are in the linear part, when that is not all of it; this
    /// takes Linux 6.18.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the frame.
    pub fn trace(&mut self, frame: &[u8], linear: usize) -> Result<(u32, Trace), KernelError> {
        let name = "TRACE";
        let mut map = Array::<_, Trace>::try_from(self.map(name)?)?;
        // A program that decides without a verdict leaves no trace.
        map.set(0, UNTOUCHED, 0)?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let context = xdp_md(linear);
        options.ctx_in = (linear < frame.len()).then_some(&context[..]);
        let action = self.xdp()?.test_run(options)?.return_value;
        #[cfg(feature = "log")]
        self.logger.flush();
        let map = Array::<_, Trace>::try_from(self.map(name)?)?;
        Ok((action, map.get(&0, 0)?))
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, KernelError> {
    Ok(ebpf.program_mut(name).ok_or_else(|| missing(name))?.try_into()?)
}

/// A `struct xdp_md` of a frame whose linear part has `linear` bytes: `data_end` is the second of
/// its six words, and the others are 0.
fn xdp_md(linear: usize) -> [u8; 24] {
    let mut context = [0; 24];
    let end = u32::try_from(linear).unwrap_or(NONE);
    context[4..8].copy_from_slice(&end.to_ne_bytes());
    context
}

fn missing(name: &str) -> KernelError {
    aya::maps::MapError::InvalidName { name: name.to_owned() }.into()
}

fn permission(error: aya::EbpfError) -> KernelError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if cause.downcast_ref().is_some_and(super::is_not_permitted) {
            return KernelError::NotPermitted;
        }
        source = cause.source();
    }
    error.into()
}
