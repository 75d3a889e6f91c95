//! What was refused while samples were taken, and how much of it was sampled.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::{
    Cause, Selection,
    places::{Place, PlaceName, Places},
};
use crate::{kernel::Counters, manifest::Manifest};

/// How many frames of one place were refused for one reason while samples were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Where.
    pub place: Arc<Place>,
    /// Why.
    pub cause: Cause,
    /// Frames.
    pub counts: Counts,
}

/// Refused frames, by what became of them on the way to whoever samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub refused: u64,
    /// Those that were sampled.
    pub sampled: u64,
    /// Those that were more than the rate allows.
    pub over_rate: u64,
    /// Those that the ring had no room for.
    pub ring_full: u64,
}

/// The tallies of all places that there have been.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: Vec<Row>,
    by_name: HashMap<(PlaceName, u32), usize>,
    /// The row of each slot that is counted now, and what it had counted when the row began.
    open: HashMap<u32, (usize, u64)>,
}

#[derive(Debug)]
struct Row {
    place: Arc<Place>,
    cause: Cause,
    refused: u64,
    sampled: u64,
    lost: u64,
}

impl Ledger {
    /// Begins with the places of the policy in force, at what `counters` say.
    pub(super) fn begin(places: &Places, selection: &Selection, counters: &Counters) -> Self {
        let mut ledger = Self::default();
        for place in &places.all {
            ledger.enter(place, selection, |slot| counters.get(slot).packets);
        }
        ledger
    }

    /// Goes on with the places of another policy. Returns the slots that are counted from now on,
    /// and those that are not any more.
    pub(super) fn go_on(
        &mut self,
        places: &Places,
        selection: &Selection,
        manifest: &Manifest,
        counters: &Counters,
    ) -> (Vec<u32>, Vec<u32>) {
        // What a slot had counted when its name got it.
        let base = |slot: u32| manifest.bases.get(&slot).map_or(0, |base| base.packets);
        let mut before = std::mem::take(&mut self.open);
        for place in &places.all {
            self.enter(place, selection, base);
        }
        // What keeps its slot goes on from where it began.
        let mut fresh = Vec::new();
        for (slot, (row, begin)) in &mut self.open {
            match before.get(slot) {
                Some((same, from)) if same == row => {
                    *begin = *from;
                    before.remove(slot);
                }
                _ => fresh.push(*slot),
            }
        }
        for (slot, (row, from)) in &before {
            let reused = places.of_slot(*slot).is_some();
            let to = if reused { base(*slot) } else { counters.get(*slot).packets };
            self.rows[*row].refused += to.saturating_sub(*from);
        }
        (fresh, before.into_keys().collect())
    }

    /// Counts a sample; whether it is one of those that were asked for.
    pub(super) fn sampled(&mut self, place: &Place, cause: Cause) -> bool {
        let row = self.by_name.get(&(place.name(), cause.code()));
        if let Some(row) = row {
            self.rows[*row].sampled += 1;
        }
        row.is_some()
    }

    /// Counts what the ring had no room for.
    pub(super) fn take_lost(&mut self, take: impl Fn(u32) -> u64) {
        for (slot, (row, _)) in &self.open {
            self.rows[*row].lost += take(*slot);
        }
    }

    /// The slots that are counted.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.open.keys().copied()
    }

    /// The tallies of what was refused up to what `counters` say, in the order of the policy.
    pub(super) fn tallies(&self, counters: &Counters) -> Vec<Tally> {
        let mut refused: Vec<u64> = self.rows.iter().map(|row| row.refused).collect();
        for (slot, (row, from)) in &self.open {
            refused[*row] += counters.get(*slot).packets.saturating_sub(*from);
        }
        let tally = |(row, refused): (&Row, u64)| {
            let Row { sampled, lost, .. } = *row;
            // A counter's pin that was lost has nothing to say, not less than what was seen.
            let refused = refused.max(sampled + lost);
            let over_rate = refused - sampled - lost;
            let counts = Counts { refused, sampled, over_rate, ring_full: lost };
            Tally { place: Arc::clone(&row.place), cause: row.cause, counts }
        };
        self.rows.iter().zip(refused).map(tally).filter(|tally| tally.counts.refused > 0).collect()
    }

    fn enter(&mut self, place: &Arc<Place>, selection: &Selection, from: impl Fn(u32) -> u64) {
        for cause in selection.causes(place) {
            let row = *self.by_name.entry((place.name(), cause.code())).or_insert_with(|| {
                let place = Arc::clone(place);
                self.rows.push(Row { place, cause, refused: 0, sampled: 0, lost: 0 });
                self.rows.len() - 1
            });
            self.open.extend(cause.slots(place.first).map(|slot| (slot, (row, from(slot)))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::{Base, IngressEntry};

    fn manifest(generation: u64, ingresses: &[(&str, u32)], bases: &[(u32, u64)]) -> Manifest {
        let entry = |(name, reasons): &(&str, u32)| IngressEntry {
            name: (*name).to_owned(),
            interface: "eth2".to_owned(),
            vlan: Vec::new(),
            monitor: false,
            reasons: *reasons,
            rules: Vec::new(),
            leaving: Vec::new(),
            accepted_before: Base::default(),
        };
        let bases =
            bases.iter().map(|(slot, packets)| (*slot, Base { packets: *packets, bytes: 0 }));
        Manifest {
            generation,
            ingresses: ingresses.iter().map(entry).collect(),
            bases: bases.collect::<BTreeMap<_, _>>(),
            ..Manifest::default()
        }
    }

    /// Refused frames of the first reason.
    fn refused(ledger: &Ledger, counters: &Counters) -> Vec<(String, u64)> {
        let name = |tally: &Tally| tally.place.ingress.clone().unwrap_or_default();
        ledger.tallies(counters).iter().map(|tally| (name(tally), tally.counts.refused)).collect()
    }

    #[test]
    fn names_that_go_and_come_back_are_counted_once() {
        let everything = Selection::default();
        let counted = |slots: &[(u32, u64)]| Counters::of(slots);
        let first = Places::of(&manifest(1, &[("a", 0), ("b", 36)], &[]));
        let mut ledger = Ledger::begin(&first, &everything, &counted(&[(0, 10), (36, 5)]));
        assert_eq!(refused(&ledger, &counted(&[(0, 13), (36, 5)])), [("a".to_owned(), 3)]);

        // a goes, b stays.
        let second = manifest(2, &[("b", 36)], &[]);
        let now = counted(&[(0, 14), (36, 6)]);
        let (fresh, gone) = ledger.go_on(&Places::of(&second), &everything, &second, &now);
        assert_eq!((fresh.len(), gone.len()), (0, 36));
        assert_eq!(refused(&ledger, &now), [("a".to_owned(), 4), ("b".to_owned(), 1)]);

        // c gets the slots of a, and a gets others.
        let third = manifest(3, &[("b", 36), ("c", 0), ("a", 72)], &[(0, 14)]);
        let now = counted(&[(0, 20), (36, 8), (72, 1)]);
        ledger.go_on(&Places::of(&third), &everything, &third, &now);
        let expected = [("a", 5), ("b", 3), ("c", 6)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(refused(&ledger, &now), expected);
    }

    #[test]
    fn a_slot_that_changed_hands_unseen_counts_for_both() {
        let everything = Selection::default();
        let first = Places::of(&manifest(1, &[("a", 0)], &[]));
        let mut ledger = Ledger::begin(&first, &everything, &Counters::of(&[(0, 10)]));
        // a had counted 17 when it left in generation 2, and c got the slot in generation 3.
        let third = manifest(3, &[("c", 0)], &[(0, 17)]);
        let now = Counters::of(&[(0, 19)]);
        ledger.go_on(&Places::of(&third), &everything, &third, &now);
        let expected = [("a", 7), ("c", 2)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(refused(&ledger, &now), expected);
    }
}
