//! Label ranges with a value each, the step between label sets and directories.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::policy::LabelSet;

/// Labels that get a value unless an earlier layer has them.
pub(super) struct Layer<'a> {
    pub(super) labels: &'a LabelSet,
    pub(super) value: u32,
}

/// The labels `first..=last`, which have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) value: u32,
}

/// Lays the layers over each other, the first on top; the segments are sorted and disjoint.
pub(super) fn stack(layers: &[Layer<'_>]) -> Vec<Segment> {
    let mut ranges: Vec<(u32, u32, usize)> = layers
        .iter()
        .enumerate()
        .flat_map(|(layer, Layer { labels, .. })| {
            labels.ranges().iter().map(move |range| (*range.start(), *range.end(), layer))
        })
        .collect();
    ranges.sort_unstable();
    let mut segments: Vec<Segment> = Vec::with_capacity(ranges.len());
    let mut open = BinaryHeap::new();
    let mut ranges = ranges.into_iter().peekable();
    let mut at = 0;
    loop {
        // What starts here is open, what has ended is not.
        if open.is_empty() {
            let Some((first, ..)) = ranges.peek() else {
                return segments;
            };
            at = *first;
        }
        while let Some((_, last, layer)) = ranges.next_if(|(first, ..)| *first <= at) {
            open.push(Reverse((layer, last)));
        }
        while open.peek().is_some_and(|Reverse((_, last))| *last < at) {
            open.pop();
        }
        let Some(Reverse((layer, last))) = open.peek().copied() else {
            continue;
        };
        let next = ranges.peek().map_or(u32::MAX, |(first, ..)| *first - 1);
        let segment = Segment { first: at, last: last.min(next), value: layers[layer].value };
        at = segment.last + 1;
        match segments.last_mut() {
            Some(before) if before.last + 1 == segment.first && before.value == segment.value => {
                before.last = segment.last;
            }
            _ => segments.push(segment),
        }
    }
}

/// Sets `bit` in the value of every label that is in `labels`.
pub(super) fn mark(segments: Vec<Segment>, labels: &LabelSet, bit: u32) -> Vec<Segment> {
    let mut marked = Vec::with_capacity(segments.len());
    let mut ranges = labels.ranges().iter().peekable();
    for mut rest in segments {
        while ranges.next_if(|range| *range.end() < rest.first).is_some() {}
        let mut ahead = ranges.clone();
        while let Some(range) = ahead.next_if(|range| *range.start() <= rest.last) {
            let (first, last) = (rest.first.max(*range.start()), rest.last.min(*range.end()));
            if rest.first < first {
                marked.push(Segment { last: first - 1, ..rest });
            }
            marked.push(Segment { first, last, value: rest.value | bit });
            rest.first = last + 1;
        }
        if rest.first <= rest.last {
            marked.push(rest);
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u32, u32)]) -> LabelSet {
        ranges.iter().map(|(first, last)| *first..=*last).collect()
    }

    fn plain(segments: &[Segment]) -> Vec<(u32, u32, u32)> {
        segments.iter().map(|s| (s.first, s.last, s.value)).collect()
    }

    #[test]
    fn the_first_layer_is_on_top() {
        let (a, b, c) = (set(&[(20, 29), (50, 50)]), set(&[(16, 40)]), set(&[(45, 60)]));
        let layers = [
            Layer { labels: &a, value: 2 },
            Layer { labels: &b, value: 4 },
            Layer { labels: &c, value: 6 },
        ];
        assert_eq!(
            plain(&stack(&layers)),
            [(16, 19, 4), (20, 29, 2), (30, 40, 4), (45, 49, 6), (50, 50, 2), (51, 60, 6)]
        );
    }

    #[test]
    fn marks_split_segments() {
        let segments = vec![
            Segment { first: 16, last: 100, value: 2 },
            Segment { first: 200, last: 300, value: 4 },
        ];
        let marks = set(&[(10, 16), (50, 60), (90, 250)]);
        assert_eq!(
            plain(&mark(segments, &marks, 1)),
            [
                (16, 16, 3),
                (17, 49, 2),
                (50, 60, 3),
                (61, 89, 2),
                (90, 100, 3),
                (200, 250, 5),
                (251, 300, 4)
            ]
        );
    }
}
