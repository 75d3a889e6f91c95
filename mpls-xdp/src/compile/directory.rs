//! Label directories: pages as small as what they hold, equal ones shared.

use mpls_xdp_ebpf::abi::directory::{
    BITS, BYTES, FORM_BITS, LEN, PAGE_LABELS, PAGE_SHIFT, PALETTE, UNIFORM, WORDS, page_words,
};

use super::{ImageBuilder, segments::Segment, to_word};

/// Builds the directory of sorted, disjoint segments and returns its place.
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
    let covered: u32 = segments.iter().map(|segment| segment.last - segment.first + 1).sum();
    let nothing = (covered < PAGE_LABELS).then_some(0);
    let mut values: Vec<u32> =
        segments.iter().map(|segment| segment.value).chain(nothing).collect();
    // In their own order, so that equal pages are equal to the word.
    values.sort_unstable();
    values.dedup();
    let (form, bits) = match values[..] {
        [] => return UNIFORM,
        [value] => return value << FORM_BITS | UNIFORM,
        [_, _] => (BITS, 1),
        _ if values.len() <= PALETTE as usize => (BYTES, 8),
        _ => (WORDS, u32::BITS),
    };
    let page = if form == WORDS {
        pack(bits, segments, |value| value)
    } else {
        let number = |value| values.partition_point(|other| *other < value);
        let mut page = pack(bits, segments, |value| to_word(number(value)));
        page.extend(&values);
        page
    };
    image.share(page) | form
}

/// The numbers of a page's labels, those of the segments' values; the others are 0.
fn pack(bits: u32, segments: &[Segment], number: impl Fn(u32) -> u32) -> Vec<u32> {
    let mut page = vec![0; page_words(bits) as usize];
    for segment in segments {
        let number = number(segment.value);
        for label in segment.first..=segment.last {
            let at = label * bits;
            page[(at / u32::BITS) as usize] |= number << (at % u32::BITS);
        }
    }
    page
}
