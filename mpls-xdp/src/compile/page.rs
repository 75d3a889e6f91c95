//! Pages of labels, as small as what they hold.

use hashbrown::HashMap;
use mpls_xdp_ebpf::abi::directory::{
    BITS, BYTES, FORM_BITS, NIBBLES, PAGE_LABELS, PALETTE, UNIFORM, WORDS, page_words,
};

use super::{ImageBuilder, to_word};

/// Values of a page's labels.
type Values = [u32; PAGE_LABELS as usize];

/// Labels `first..=last`, counted from the first of their page, with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) value: u32,
}

impl Stretch {
    pub(super) const fn is_whole_page(self) -> bool {
        self.first == 0 && self.last == PAGE_LABELS - 1
    }
}

/// The word of a page in its table.
pub(super) fn page_word(
    image: &mut ImageBuilder,
    page: &[Stretch],
    marks: &[Stretch],
    numbers: &mut Numbers,
) -> u32 {
    let uniform = |value: u32| value << FORM_BITS | UNIFORM;
    match (page, marks) {
        ([], _) => return uniform(0),
        ([one], []) if one.is_whole_page() => return uniform(one.value),
        _ => {}
    }
    let values = &mut [0; PAGE_LABELS as usize];
    let mut edges = Edges::default();
    edges.add(0, PAGE_LABELS - 1);
    for Stretch { first, last, value } in page {
        edges.add(*first, *last);
        values[*first as usize..=*last as usize].fill(*value);
    }
    for Stretch { first, last, value: bit } in marks {
        edges.add(*first, *last);
        let marked = values[*first as usize..=*last as usize].iter_mut();
        marked.filter(|value| **value != 0).for_each(|value| *value |= bit);
    }
    let (form, words) = match numbers.take(values, &edges) {
        1 => return uniform(values[0]),
        2 => (BITS, numbers.written(1)),
        3..=16 if image.byte_pages == 0 => (NIBBLES, numbers.written(4)),
        values if values <= PALETTE as usize => {
            image.byte_pages = image.byte_pages.saturating_sub(1);
            (BYTES, numbers.written(8))
        }
        _ => (WORDS, values.to_vec()),
    };
    image.share(words) | form
}

/// Labels of a page whose value may differ from that of the label before: a bit each.
#[derive(Default)]
struct Edges([u64; (PAGE_LABELS / u64::BITS) as usize]);

impl Edges {
    fn add(&mut self, first: u32, last: u32) {
        for label in [first, last + 1] {
            // Nothing is behind the last label.
            if let Some(word) = self.0.get_mut((label / u64::BITS) as usize) {
                *word |= 1 << (label % u64::BITS);
            }
        }
    }

    /// Hands out the labels in ascending order.
    fn each(&self, mut label: impl FnMut(u32)) {
        for (base, word) in (0..).step_by(u64::BITS as usize).zip(self.0) {
            let mut left = word;
            while left != 0 {
                label(base + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }
}

/// A page's values by number, in the order in which they come.
#[derive(Default)]
pub(super) struct Numbers {
    of: HashMap<u32, u32>,
    palette: Vec<u32>,
    /// First labels with their numbers, which hold up to the next one.
    runs: Vec<(u32, u32)>,
}

impl Numbers {
    /// Numbers the values, and says how many there are.
    fn take(&mut self, values: &Values, edges: &Edges) -> usize {
        let Self { of, palette, runs } = self;
        of.clear();
        palette.clear();
        runs.clear();
        let mut before = None;
        edges.each(|first| {
            let value = values[first as usize];
            if before != Some(value) {
                before = Some(value);
                let number = *of.entry(value).or_insert_with(|| {
                    palette.push(value);
                    to_word(palette.len() - 1)
                });
                runs.push((first, number));
            }
        });
        palette.len()
    }

    /// The page with so many bits a label, and the palette behind it.
    fn written(&self, bits: u32) -> Vec<u32> {
        let mut page = vec![0; page_words(bits) as usize];
        // A number times this is the number at every place of a word.
        let everywhere = u32::MAX / (u32::MAX >> (u32::BITS - bits));
        let (mut at, mut word) = (0, 0);
        for (first, number) in &self.runs {
            let bit = first * bits;
            let next = (bit / u32::BITS) as usize;
            page[at + 1..next + 1].fill(word);
            (at, word) = (next, number * everywhere);
            page[at] ^= (page[at] ^ word) & u32::MAX << (bit % u32::BITS);
        }
        page[at + 1..].fill(word);
        page.extend(&self.palette);
        page
    }
}
