//! Sets of labels.

/// A set of labels as disjoint inclusive intervals, sorted, none touching the next.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct LabelSet {
    intervals: Vec<(u32, u32)>,
}

impl LabelSet {
    /// Whether the label is in the set.
    pub(super) fn contains(&self, label: u32) -> bool {
        let after = self.intervals.partition_point(|&(first, _)| first <= label);
        // Only the last interval that starts at or before the label can hold it.
        after.checked_sub(1).is_some_and(|index| label <= self.intervals[index].1)
    }
}

impl FromIterator<(u32, u32)> for LabelSet {
    /// The union of inclusive ranges, which may overlap and come in any order.
    fn from_iter<T: IntoIterator<Item = (u32, u32)>>(ranges: T) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut intervals: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match intervals.last_mut() {
                Some(previous) if first <= previous.1 + 1 => previous.1 = previous.1.max(last),
                _ => intervals.push((first, last)),
            }
        }
        Self { intervals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(set: &LabelSet) -> Vec<u32> {
        (0..64).filter(|&label| set.contains(label)).collect()
    }

    #[test]
    fn the_empty_set_holds_nothing() {
        assert!(members(&LabelSet::default()).is_empty());
    }

    #[test]
    fn both_ends_of_a_range_belong_to_it() {
        let set: LabelSet = [(20, 22), (30, 30)].into_iter().collect();
        assert_eq!(members(&set), [20, 21, 22, 30]);
    }

    #[test]
    fn ranges_in_any_order_that_overlap_nest_or_touch_become_one() {
        let set: LabelSet = [(23, 24), (20, 28), (22, 23), (29, 30)].into_iter().collect();
        assert_eq!(set.intervals, [(20, 30)]);
        assert_eq!(members(&set), (20..=30).collect::<Vec<_>>());
    }

    #[test]
    fn the_largest_label_can_be_a_member() {
        let set: LabelSet = [(1_048_575, 1_048_575)].into_iter().collect();
        assert!(set.contains(1_048_575));
        assert!(!set.contains(1_048_574));
    }
}
