//! The labels of refused frames, as far as frames were sampled; bounded, whatever is sent.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use serde::Serialize;

use crate::{
    policy::writing::count,
    sampling::{Cause, MacAddress, Sample, Sources},
};

/// How many labels are kept of a place, for all reasons; those that were seen first.
const LABELS: usize = 256;
/// How many places without an ingress are kept: VLAN IDs can be anything.
const UNBOUND: usize = 64;
/// How many sources of a label are kept; those that were seen first.
const SOURCES: usize = 4;

/// Where frames came in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Spot {
    /// On an ingress of the policy.
    Ingress {
        /// Its name.
        ingress: String,
    },
    /// Where none is bound.
    Unbound {
        /// The interface.
        interface: String,
        /// The frames' VLAN IDs, outer to inner.
        vlan: Vec<u16>,
    },
}

/// A sampled frame.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Where it came in.
    pub spot: Spot,
    /// Why it was refused.
    pub cause: Cause,
    /// The label that decided; none where none did.
    pub label: Option<u32>,
    /// Whether other entries are below it.
    pub has_more: bool,
    /// Who sent it.
    pub source: Option<MacAddress>,
}

impl From<&Sample> for Sighting {
    fn from(sample: &Sample) -> Self {
        let spot = match &sample.place.ingress {
            Some(ingress) => Spot::Ingress { ingress: ingress.clone() },
            None => {
                Spot::Unbound { interface: sample.place.interface.clone(), vlan: sample.vlans() }
            }
        };
        let stack = sample.stack();
        // A frame without an ingress has no label that decided: the first one says what it is for.
        let unbound = sample.place.ingress.is_none();
        let at = sample.position.or(unbound.then_some(0)).and_then(|at| usize::try_from(at).ok());
        let entry = at.and_then(|at| stack.get(at));
        Self {
            spot,
            cause: sample.cause,
            label: sample.label.or(entry.filter(|_| unbound).map(|entry| entry.label)),
            has_more: entry.is_some_and(|entry| !entry.s),
            source: sample.source(),
        }
    }
}

/// Frames that had something in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// How many were sampled.
    pub frames: u64,
    /// Whether some had other entries below the label.
    pub has_more: bool,
    /// Who sent them.
    pub sources: Sources<SOURCES>,
}

impl Sight {
    fn of(sighting: &Sighting) -> Self {
        let mut sources = Sources::default();
        sighting.source.into_iter().for_each(|source| sources.add(source));
        Self { frames: 1, has_more: sighting.has_more, sources }
    }

    /// Both.
    pub(super) fn join(&mut self, other: &Self) {
        self.frames += other.frames;
        self.has_more |= other.has_more;
        self.sources.join(&other.sources);
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sampled", count(self.frames, "frame", "frames"))?;
        for (at, source) in self.sources.kept.iter().enumerate() {
            write!(f, "{} {source}", if at == 0 { " from" } else { "," })?;
        }
        if self.sources.more { f.write_str(" and others") } else { Ok(()) }
    }
}

/// What was seen at one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// By the reason and the label.
    pub(super) labels: BTreeMap<(Cause, Option<u32>), Sight>,
    /// Frames with labels that are not kept.
    pub(super) beyond: u64,
}

/// What was seen at all.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    pub(super) spots: BTreeMap<Spot, Seen>,
    /// Frames at places that are not kept.
    pub(super) beyond: u64,
}

impl Sightings {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.spots.is_empty()
    }

    /// How many frames were seen.
    pub fn frames(&self) -> u64 {
        let of_spot =
            |seen: &Seen| seen.beyond + seen.labels.values().map(|sight| sight.frames).sum::<u64>();
        self.beyond + self.spots.values().map(of_spot).sum::<u64>()
    }

    /// Adds a sampled frame.
    pub fn add(&mut self, sighting: Sighting) {
        let unbound = || self.spots.keys().filter(|spot| matches!(spot, Spot::Unbound { .. }));
        let is_new = !self.spots.contains_key(&sighting.spot);
        if is_new && matches!(sighting.spot, Spot::Unbound { .. }) && unbound().count() == UNBOUND {
            self.beyond += 1;
            return;
        }
        let sight = Sight::of(&sighting);
        let seen = self.spots.entry(sighting.spot).or_default();
        let key = (sighting.cause, sighting.label);
        let kept = seen.labels.len();
        match seen.labels.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().join(&sight),
            Entry::Vacant(place) if kept < LABELS => {
                place.insert(sight);
            }
            Entry::Vacant(_) => seen.beyond += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

    use super::*;

    fn sighting(spot: Spot, label: u32, source: u8) -> Sighting {
        let cause = match spot {
            Spot::Ingress { .. } => Cause::Ingress(Reason::LabelSpoofed),
            Spot::Unbound { .. } => Cause::Interface(InterfaceReason::IngressUnbound),
        };
        let source = Some(MacAddress([2, 0, 0, 0, 0, source]));
        Sighting { spot, cause, label: Some(label), has_more: false, source }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let mut seen = Sightings::default();
        let peer = Spot::Ingress { ingress: "peer".to_owned() };
        for label in 0..1000 {
            seen.add(sighting(peer.clone(), 16 + label, 1));
        }
        for vlan in 1..=100 {
            let interface = "eth2".to_owned();
            seen.add(sighting(Spot::Unbound { interface, vlan: vec![vlan] }, 16, 1));
        }
        assert_eq!(seen.spots.len(), 1 + UNBOUND);
        assert_eq!(seen.spots[&peer].labels.len(), LABELS);
        assert_eq!((seen.spots[&peer].beyond, seen.beyond), (1000 - 256, 100 - 64));
        assert_eq!(seen.frames(), 1100);
    }

    #[test]
    fn a_label_has_its_sources() {
        let mut seen = Sightings::default();
        let peer = Spot::Ingress { ingress: "peer".to_owned() };
        for source in [1, 2, 1, 3, 4] {
            seen.add(sighting(peer.clone(), 100, source));
        }
        assert_eq!(
            seen.spots[&peer].labels.values().next().unwrap().to_string(),
            "5 frames sampled from 02:00:00:00:00:01, 02:00:00:00:00:02, 02:00:00:00:00:03, \
             02:00:00:00:00:04"
        );
        seen.add(sighting(peer.clone(), 100, 5));
        let sight = &seen.spots[&peer].labels.values().next().unwrap().to_string();
        assert!(sight.starts_with("6 frames") && sight.ends_with(":04 and others"), "{sight}");
    }
}
