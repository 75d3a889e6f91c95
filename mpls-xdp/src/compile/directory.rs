//! Label directories: pages as small as what they hold, equal ones shared.

use mpls_xdp_ebpf::abi::directory::{
    BITMAP, BITMAP_LEN, KIND_BITS, LEN, NARROW, NARROW_LEN, PAGE_LABELS, PAGE_SHIFT, UNIFORM, WIDE,
    WIDE_LEN,
};

use super::{ImageBuilder, segments::Segment};

/// Builds the directory of sorted, disjoint segments and returns its offset.
pub(super) fn build(image: &mut ImageBuilder, segments: &[Segment]) -> u32 {
    let mut words = vec![UNIFORM; LEN as usize];
    let mut from = 0;
    for (page, word) in (0..).zip(&mut words) {
        let (first, last) = (page << PAGE_SHIFT, (page << PAGE_SHIFT) + PAGE_LABELS - 1);
        while segments.get(from).is_some_and(|segment| segment.last < first) {
            from += 1;
        }
        let inside: Vec<Segment> = segments[from..]
            .iter()
            .take_while(|segment| segment.first <= last)
            .map(|segment| Segment {
                first: segment.first.max(first) - first,
                last: segment.last.min(last) - first,
                value: segment.value,
            })
            .collect();
        *word = page_word(image, &inside);
    }
    image.share(words)
}

/// The directory word of a page; the segments count from its first label.
fn page_word(image: &mut ImageBuilder, segments: &[Segment]) -> u32 {
    let word = |operand: u32, kind: u32| operand << KIND_BITS | kind;
    let Some(any) = segments.first() else {
        return word(0, UNIFORM);
    };
    let one_value = segments.iter().all(|segment| segment.value == any.value);
    let covered: u32 = segments.iter().map(|segment| segment.last - segment.first + 1).sum();
    if one_value && covered == PAGE_LABELS {
        word(any.value, UNIFORM)
    } else if one_value {
        word(image.share(bitmap(any.value, segments)), BITMAP)
    } else if segments.iter().all(|segment| segment.value <= u32::from(u16::MAX)) {
        word(image.share(narrow(segments)), NARROW)
    } else {
        word(image.share(wide(segments)), WIDE)
    }
}

/// Each label of the segments with its value.
fn labels(segments: &[Segment]) -> impl Iterator<Item = (u32, u32)> {
    segments
        .iter()
        .flat_map(|segment| (segment.first..=segment.last).map(|label| (label, segment.value)))
}

fn bitmap(value: u32, segments: &[Segment]) -> Vec<u32> {
    let mut page = vec![0; BITMAP_LEN as usize];
    page[0] = value;
    for (label, _) in labels(segments) {
        page[1 + (label / u32::BITS) as usize] |= 1 << (label % u32::BITS);
    }
    page
}

fn narrow(segments: &[Segment]) -> Vec<u32> {
    let mut page = vec![0; NARROW_LEN as usize];
    for (label, value) in labels(segments) {
        page[(label / 2) as usize] |= value << (label % 2 * u16::BITS);
    }
    page
}

fn wide(segments: &[Segment]) -> Vec<u32> {
    let mut page = vec![0; WIDE_LEN as usize];
    for (label, value) in labels(segments) {
        page[label as usize] = value;
    }
    page
}
