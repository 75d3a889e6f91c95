//! Sets of labels, and the lists of a policy file that they are made from.

use std::fmt;
use std::ops::{Range, RangeInclusive};

/// The labels that a policy may hand out: 0 to 15 are special-purpose, and a label has 20 bits.
pub const ASSIGNABLE: RangeInclusive<u32> = 16..=1_048_575;

/// A set of labels, as sorted, disjoint ranges that do not touch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSet(Vec<RangeInclusive<u32>>);

impl LabelSet {
    /// The ranges, lowest first, both ends inclusive; between two of them a label is missing.
    pub fn ranges(&self) -> &[RangeInclusive<u32>] {
        &self.0
    }

    /// Whether `label` is in the set.
    pub fn contains(&self, label: u32) -> bool {
        let after = self.0.partition_point(|range| *range.start() <= label);
        after > 0 && self.0[after - 1].contains(&label)
    }

    /// How many labels are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|range| (range.end() - range.start()) as usize + 1).sum()
    }

    /// Whether no label is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every label that is in one of the two sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).cloned().collect()
    }

    /// Every label of this set that is not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.0 {
            let mut first = *range.start();
            let from = other.0.partition_point(|hole| *hole.end() < first);
            for hole in other.0[from..].iter().take_while(|hole| hole.start() <= range.end()) {
                if *hole.start() > first {
                    left.push(first..=hole.start() - 1);
                }
                // Past the last label, the range below is empty.
                first = hole.end().saturating_add(1);
            }
            if first <= *range.end() {
                left.push(first..=*range.end());
            }
        }
        Self(left)
    }

    /// Adds a range that starts no lower than any before it.
    fn append(&mut self, range: &RangeInclusive<u32>) {
        match self.0.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                let end = *last.end().max(range.end());
                *last = *last.start()..=end;
            }
            _ => self.0.push(range.clone()),
        }
    }
}

impl FromIterator<RangeInclusive<u32>> for LabelSet {
    /// The union of `ranges`, which may overlap and come in any order; an empty one adds nothing.
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u32>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
        // Stable, because two sorted runs, which is what a union brings, then merge in one pass.
        ranges.sort_by_key(|range| *range.start());
        let mut set = Self::default();
        for range in &ranges {
            set.append(range);
        }
        set
    }
}

/// A range of a label list, and where the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenRange {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) span: Range<usize>,
}

impl fmt::Display for WrittenRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&range_text(self.first, self.last))
    }
}

/// A range the way a policy file writes it.
pub(crate) fn range_text(first: u32, last: u32) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// A label list of the file: the set that it means, and which range stands where.
#[derive(Debug, Default)]
pub(super) struct LabelList {
    set: LabelSet,
    /// Without those that lie inside another, so that both ends ascend.
    written: Vec<WrittenRange>,
}

/// Two ranges of one list that share labels, in file order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) earlier: WrittenRange,
    pub(super) later: WrittenRange,
}

impl LabelList {
    /// The list of `written` ranges, and for each range that overlaps lower ones, one of these.
    pub(super) fn new(mut written: Vec<WrittenRange>) -> (Self, Vec<Overlap>) {
        written.sort_by_key(|range| range.first);
        let mut list = Self::default();
        let mut overlaps = Vec::new();
        for range in written {
            let mut is_inside = false;
            if let Some(reach) = list.written.last().filter(|r| range.first <= r.last) {
                is_inside = range.last <= reach.last;
                overlaps.push(Overlap::between(reach, &range));
            }
            if !is_inside {
                list.set.append(&(range.first..=range.last));
                list.written.push(range);
            }
        }
        (list, overlaps)
    }

    /// The labels of the list.
    pub(super) fn set(&self) -> &LabelSet {
        &self.set
    }

    /// The labels of the list, without the places.
    pub(super) fn into_set(self) -> LabelSet {
        self.set
    }

    /// The ranges as the file has them, lowest first, without those that lie inside another.
    pub(super) fn written(&self) -> &[WrittenRange] {
        &self.written
    }

    /// Where the file has `label`.
    pub(super) fn place(&self, label: u32) -> Option<&WrittenRange> {
        let found = self.written.partition_point(|range| range.last < label);
        self.written.get(found).filter(|range| range.first <= label)
    }
}

impl Overlap {
    fn between(a: &WrittenRange, b: &WrittenRange) -> Self {
        let (earlier, later) = if a.span.start <= b.span.start { (a, b) } else { (b, a) };
        Self { earlier: earlier.clone(), later: later.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{LabelList, LabelSet, WrittenRange};
    use std::ops::RangeInclusive;

    fn set(ranges: &[RangeInclusive<u32>]) -> LabelSet {
        ranges.iter().cloned().collect()
    }

    fn written(ranges: &[(u32, u32)]) -> Vec<WrittenRange> {
        let place = |(at, &(first, last))| WrittenRange { first, last, span: at..at + 1 };
        ranges.iter().enumerate().map(place).collect()
    }

    #[test]
    fn merges_what_overlaps_or_touches() {
        let labels = set(&[30..=40, 16..=20, 18..=25, 26..=28, 50..=50]);
        assert_eq!(labels.ranges(), [16..=28, 30..=40, 50..=50]);
        assert_eq!(labels.len(), 13 + 11 + 1);
    }

    #[test]
    fn an_empty_range_adds_nothing() {
        let reversed = RangeInclusive::new(20, 16);
        assert!(set(&[reversed]).is_empty());
        assert_eq!(LabelSet::default().len(), 0);
    }

    #[test]
    fn contains_both_ends_and_nothing_beside_them() {
        let labels = set(&[16..=20, 22..=22]);
        for (label, expected) in [(15, false), (16, true), (20, true), (21, false), (22, true)] {
            assert_eq!(labels.contains(label), expected, "{label}");
        }
        assert!(!labels.contains(23) && !LabelSet::default().contains(16));
    }

    #[test]
    fn the_last_number_there_is_does_not_overflow() {
        let labels = set(&[7..=u32::MAX, 8..=9, u32::MAX..=u32::MAX]);
        assert_eq!(labels.ranges(), [7..=u32::MAX]);
    }

    #[test]
    fn a_union_has_both() {
        let both = set(&[16..=20, 40..=50]).union(&set(&[21..=30, 45..=60]));
        assert_eq!(both.ranges(), [16..=30, 40..=60]);
    }

    #[test]
    fn what_is_left_without_another_set() {
        let labels = set(&[16..=20, 30..=40, 50..=60]);
        for (other, left) in [
            (set(&[]), set(&[16..=20, 30..=40, 50..=60])),
            (set(&[16..=60]), set(&[])),
            (set(&[18..=32, 35..=36, 60..=70]), set(&[16..=17, 33..=34, 37..=40, 50..=59])),
            (set(&[21..=29, 41..=49, 61..=99]), set(&[16..=20, 30..=40, 50..=60])),
            (set(&[16..=16, 20..=20, 30..=30]), set(&[17..=19, 31..=40, 50..=60])),
        ] {
            assert_eq!(labels.without(&other), left, "without {other:?}");
        }
    }

    #[test]
    fn a_list_finds_its_labels_again() {
        let (list, overlaps) = LabelList::new(written(&[(50, 60), (16, 40), (20, 22), (30, 45)]));
        assert_eq!(list.set().ranges(), [16..=45, 50..=60]);
        assert_eq!(list.place(21).map(|r| r.span.start), Some(1));
        assert_eq!(list.place(45).map(|r| r.span.start), Some(3));
        assert_eq!(list.place(60).map(|r| r.span.start), Some(0));
        assert_eq!(list.place(46), None);
        assert_eq!(list.place(61), None);
        let pairs: Vec<_> =
            overlaps.iter().map(|o| (o.earlier.span.start, o.later.span.start)).collect();
        assert_eq!(pairs, [(1, 2), (1, 3)]);
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        let (list, overlaps) = LabelList::new(written(&[(16, 20), (21, 30)]));
        assert_eq!(list.set().ranges(), [16..=30]);
        assert!(overlaps.is_empty());
    }

    #[test]
    fn the_same_label_twice_is_one_overlap_in_file_order() {
        let (list, overlaps) = LabelList::new(written(&[(16, 16), (16, 16)]));
        assert_eq!(list.set().len(), 1);
        assert_eq!((overlaps[0].earlier.span.start, overlaps[0].later.span.start), (0, 1));
    }
}
