//! Label directories: pages as small as what they hold, equal ones shared.

use mpls_xdp_ebpf::abi::directory::{
    LEN, PAGE_LABELS, PAGE_SHIFT, PALETTE_BITS, UNIFORM, WIDEST_WIDTH, WIDTH_BITS, page_words,
};

use super::{ImageBuilder, segments::Segment, to_word};

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
    let word = |operand: u32, width: u32| operand << WIDTH_BITS | width;
    let covered: u32 = segments.iter().map(|segment| segment.last - segment.first + 1).sum();
    let nothing = (covered < PAGE_LABELS).then_some(0);
    let mut values: Vec<u32> =
        segments.iter().map(|segment| segment.value).chain(nothing).collect();
    // In their own order, so that equal pages are equal to the word.
    values.sort_unstable();
    values.dedup();
    let greatest = match values[..] {
        [] => 0,
        [value] => return word(value, UNIFORM),
        [.., greatest] => greatest,
    };
    let fits = |width: u32| match bits(width) {
        bits if bits <= PALETTE_BITS => values.len() <= 1 << bits,
        bits => greatest.leading_zeros() + bits >= u32::BITS,
    };
    let width = (UNIFORM + 1..WIDEST_WIDTH).find(|width| fits(*width)).unwrap_or(WIDEST_WIDTH);
    let page = if bits(width) <= PALETTE_BITS {
        let number = |value| values.partition_point(|other| *other < value);
        let mut page = pack(bits(width), segments, |value| to_word(number(value)));
        page.extend(&values);
        page
    } else {
        pack(bits(width), segments, |value| value)
    };
    word(image.share(page), width)
}

/// Bits that a label has in a page of this width.
const fn bits(width: u32) -> u32 {
    1 << (width - 1)
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
