//! Where a frame came in, from the slot that it counts in.
//!
//! Slots keep their names over policy changes, and one that a name has left goes to another name
//! two generations later at the earliest. So a generation that came and went unseen can be read by
//! the one before or after it.

use std::{collections::VecDeque, sync::Arc};

use mpls_xdp_ebpf::abi::REASON_SLOTS;

use crate::manifest::Manifest;

/// Where a frame came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its ingress; none for what an interface refuses because it has none.
    pub ingress: Option<String>,
    /// Its interface.
    pub interface: String,
    /// First of its counter slots.
    pub(super) first: u32,
    /// How many it has.
    len: u32,
}

/// What people call a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PlaceName {
    Ingress(String),
    Interface(String),
}

impl Place {
    pub(super) fn name(&self) -> PlaceName {
        match &self.ingress {
            Some(ingress) => PlaceName::Ingress(ingress.clone()),
            None => PlaceName::Interface(self.interface.clone()),
        }
    }
}

/// The places of one generation.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) generation: u64,
    /// By their first slots.
    pub(super) all: Vec<Arc<Place>>,
}

impl Places {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let interfaces = manifest.interfaces.iter().map(|entry| Place {
            ingress: None,
            interface: entry.name.clone(),
            first: entry.counters,
            len: 2,
        });
        let ingresses = manifest.ingresses.iter().map(|entry| Place {
            ingress: Some(entry.name.clone()),
            interface: entry.interface.clone(),
            first: entry.reasons,
            len: REASON_SLOTS,
        });
        let mut all: Vec<Arc<Place>> = interfaces.chain(ingresses).map(Arc::new).collect();
        all.sort_by_key(|place| place.first);
        Self { generation: manifest.generation, all }
    }

    /// The place that a slot belongs to.
    pub(super) fn of_slot(&self, slot: u32) -> Option<&Arc<Place>> {
        let behind = self.all.partition_point(|place| place.first <= slot);
        let place = self.all.get(behind.checked_sub(1)?)?;
        (slot - place.first < place.len).then_some(place)
    }
}

/// The generations that were in force lately.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Places>);

/// What a slot of a generation is called.
pub(super) enum Named {
    /// So.
    So(Arc<Place>),
    /// That will be known when the policy has been read again.
    NotYet,
    /// Nobody knows any more.
    Never,
}

impl History {
    /// How many are kept: samples come out of the ring much sooner.
    const KEPT: usize = 64;

    pub(super) fn push(&mut self, places: Places) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(places);
    }

    pub(super) fn newest(&self) -> Option<&Places> {
        self.0.back()
    }

    pub(super) fn name(&self, generation: u64, slot: u32) -> Named {
        if self.newest().is_none_or(|newest| newest.generation < generation) {
            return Named::NotYet;
        }
        let near = |distance| {
            let mut near = self
                .0
                .iter()
                .filter(move |places| places.generation.abs_diff(generation) == distance);
            near.find_map(|places| places.of_slot(slot)).cloned()
        };
        let exact = self.0.iter().any(|places| places.generation == generation);
        let place = if exact { near(0) } else { near(1) };
        place.map_or(Named::Never, Named::So)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(generation: u64, slots: &[(&str, u32)]) -> Places {
        let place = |(name, first): &(&str, u32)| {
            Arc::new(Place {
                ingress: Some((*name).to_owned()),
                interface: "eth2".to_owned(),
                first: *first,
                len: REASON_SLOTS,
            })
        };
        Places { generation, all: slots.iter().map(place).collect() }
    }

    fn name(history: &History, generation: u64, slot: u32) -> String {
        match history.name(generation, slot) {
            Named::So(place) => place.ingress.clone().unwrap_or_default(),
            Named::NotYet => "not yet".to_owned(),
            Named::Never => "never".to_owned(),
        }
    }

    #[test]
    fn a_slot_belongs_to_the_place_whose_run_it_is_in() {
        let places = places(1, &[("a", 2), ("b", 100)]);
        for (slot, expected) in
            [(1, None), (2, Some("a")), (37, Some("a")), (38, None), (100, Some("b"))]
        {
            let found = places.of_slot(slot).and_then(|place| place.ingress.as_deref());
            assert_eq!(found, expected, "slot {slot}");
        }
    }

    #[test]
    fn a_generation_that_was_not_seen_is_read_by_its_neighbours_only() {
        let mut history = History::default();
        history.push(places(3, &[("a", 0), ("b", 36)]));
        assert_eq!(name(&history, 4, 0), "not yet");
        // Generation 4 had b and c, and c took the place of a in generation 5 at the earliest.
        history.push(places(5, &[("c", 0), ("d", 72)]));
        assert_eq!(name(&history, 3, 0), "a");
        assert_eq!(name(&history, 5, 0), "c");
        assert_eq!(name(&history, 4, 36), "b");
        assert_eq!(name(&history, 4, 72), "d");
        assert_eq!(name(&history, 4, 108), "never");
        history.push(places(9, &[("e", 0)]));
        assert_eq!(name(&history, 7, 0), "never");
    }
}
