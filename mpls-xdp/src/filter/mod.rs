//! The filter of this network namespace: putting a policy in force, looking at it, taking it off.

pub(crate) mod active;
mod apply;
mod baseline;
mod detach;
mod forecast;
pub(crate) mod hold;
mod hotplug;
mod observation;
mod offload;
pub mod rollout;
pub(crate) mod session;
mod stats;
mod status;

use std::{io, path::PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use self::rollout::RolloutError;
pub use self::{
    active::in_force,
    apply::{ApplyOptions, AttachMode, Origin, Plan, apply, plan},
    baseline::{Baseline, Counted},
    detach::{Detached, detach_all, detach_interface},
    forecast::{Consequence, Fate, Forecast},
    hotplug::{Reattached, reattach},
    observation::{Observation, observe},
    session::{Folders, Session},
    stats::{
        CounterRow, IngressStats, InterfaceStats, Ordered, RefusedStats, RuleStats, Stats,
        read_stats,
    },
    status::{InterfaceStatus, Status, read_status},
};
use crate::{compile::CompileError, kernel::KernelError, manifest::SlotError, router::RouterError};

/// SHA-256 of a policy file, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why an operation on the filter failed.
#[derive(Debug, Error)]
pub enum FilterError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The router's interfaces.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// The policy does not fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The tables are full.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The way back to an earlier policy.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// Files below the state folder.
    #[error("{path}: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Nothing to look at or take off.
    #[error(
        "no policy is applied in this network namespace: `mpls-xdp apply POLICY` puts one in force"
    )]
    NoPolicy,
    /// A pin was removed by hand, or the first `apply` died.
    #[error(
        "programs are attached, but the policy that they would follow is not pinned: apply the \
         policy again, or `mpls-xdp detach --all`"
    )]
    PolicyLost,
    /// Other commands come one after the other without a pause.
    #[error("the policy in force is being changed all the time: try again in a moment")]
    KeepsChanging,
    /// `detach --interface` of something else.
    #[error("{0} is not an interface of the applied policy; it names {1}")]
    NotNamed(String, String),
    /// An interface was renamed, and the program on it follows the rules of its old name.
    #[error("{0} was renamed and is filtered by the rules of its old name: apply the policy again")]
    OtherRules(String),
    /// Two readings of counters belong to different policies.
    #[error("another policy has come into force meanwhile: start again")]
    ChangedMeanwhile,
    /// The driver keeps stripping tags.
    #[error(
        "{interface}: the driver does not allow {offload} to be turned off; it would strip VLAN \
         tags before the filter sees them, so the filter is not attached: {source}"
    )]
    Offload {
        /// The interface, or the bond's member.
        interface: String,
        /// The feature's name in ethtool.
        offload: &'static str,
        /// What the kernel said.
        source: RouterError,
    },
}

impl FilterError {
    /// Whether privileges are missing.
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Kernel(KernelError::NotPermitted)
            | Self::Router(RouterError::NotPermitted { .. })
            | Self::Offload { source: RouterError::NotPermitted { .. }, .. } => true,
            Self::State { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// Whether somebody else's program is in the way.
    pub fn is_foreign_program(&self) -> bool {
        matches!(
            self,
            Self::Kernel(KernelError::ForeignProgram { .. })
                | Self::Router(RouterError::HeldByLink { .. })
        )
    }
}
