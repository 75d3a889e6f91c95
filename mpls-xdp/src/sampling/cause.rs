//! Why a frame was refused, with an ingress or without one.

use std::{cmp::Ordering, str::FromStr};

use mpls_xdp_ebpf::{
    abi,
    reason::{InterfaceReason, Reason},
};
use thiserror::Error;

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By an ingress.
    Ingress(Reason),
    /// Before it had an ingress.
    Interface(InterfaceReason),
}

/// Not the name of a reason.
#[derive(Debug, Error)]
#[error("there is no reason {0}")]
pub struct UnknownReason(String);

impl Cause {
    /// All of them, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        let interface = InterfaceReason::ALL.into_iter().map(Self::Interface);
        Reason::ALL.into_iter().map(Self::Ingress).chain(interface)
    }

    /// The name in JSON, counters and documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress(reason) => reason.name(),
            Self::Interface(reason) => reason.name(),
        }
    }

    /// Position in [`Self::all`], which is how the kernel program says it.
    pub const fn code(self) -> u32 {
        match self {
            Self::Ingress(reason) => reason.code(),
            Self::Interface(reason) => Reason::COUNT + reason.code(),
        }
    }

    /// The one whose [`Self::code`] is `code`.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::all().nth(usize::try_from(code).ok()?)
    }

    /// The counter slots of a place whose first slot is `first`: drops and would-drops of an
    /// ingress are apart.
    pub(super) fn slots(self, first: u32) -> impl Iterator<Item = u32> {
        let slots = match self {
            Self::Ingress(reason) => [false, true]
                .map(|monitored| Some(abi::reason_slot(first, reason.code(), monitored))),
            Self::Interface(reason) => [Some(first + reason.code()), None],
        };
        slots.into_iter().flatten()
    }
}

/// By their codes.
impl Ord for Cause {
    fn cmp(&self, other: &Self) -> Ordering {
        self.code().cmp(&other.code())
    }
}

impl PartialOrd for Cause {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Cause {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        Self::all().find(|cause| cause.name() == name).ok_or_else(|| UnknownReason(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for (code, cause) in (0..).zip(Cause::all()) {
            assert_eq!(cause.code(), code);
            assert_eq!(Cause::from_code(code), Some(cause));
            assert_eq!(cause.name().parse::<Cause>().unwrap(), cause);
        }
        assert_eq!(Cause::from_code(20), None);
        assert!("no_such_reason".parse::<Cause>().is_err());
    }

    #[test]
    fn every_slot_of_a_place_has_one_cause() {
        let mut slots: Vec<u32> =
            Cause::all().take(18).flat_map(|cause| cause.slots(100)).collect();
        slots.sort_unstable();
        assert_eq!(slots, (100..100 + abi::REASON_SLOTS).collect::<Vec<_>>());
    }
}
