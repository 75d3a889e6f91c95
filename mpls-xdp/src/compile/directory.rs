//! Label directories: pages as small as what they hold, equal ones shared.

use hashbrown::HashMap;
use mpls_xdp_ebpf::abi::directory::{
    BITS, BYTES, FORM_BITS, LEN, NIBBLES, PAGE_LABELS, PAGE_SHIFT, PALETTE, TABLE_LEN, UNIFORM,
    WORDS, page_words,
};

use super::{ImageBuilder, to_word};
use crate::policy::LabelSet;

/// Places of tables, as they stand in a record.
pub(super) type Directory = [u32; LEN as usize];

/// Values of a page's labels.
type Values = [u32; PAGE_LABELS as usize];

/// Labels `first..=last`, counted from the first of their page, with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    first: u32,
    last: u32,
    value: u32,
}

impl Stretch {
    const fn is_whole_page(self) -> bool {
        self.first == 0 && self.last == PAGE_LABELS - 1
    }
}

/// A directory in the making, one after the other in the same memory.
pub(super) struct Drawing {
    /// What was laid on each page; the last is on top.
    pages: Vec<Vec<Stretch>>,
    /// Marks of the labels of each page.
    marks: Vec<Vec<Stretch>>,
    numbers: Numbers,
}

impl Drawing {
    pub(super) fn new() -> Self {
        let pages = || (0..LEN * TABLE_LEN).map(|_| Vec::new()).collect();
        Self { pages: pages(), marks: pages(), numbers: Numbers::default() }
    }

    /// Sets `bit` in the value of every label of `labels` that has one, in every directory to come.
    pub(super) fn mark(&mut self, labels: &LabelSet, bit: u32) {
        spread(&mut self.marks, labels, bit);
    }

    /// Gives labels a value, whatever they had.
    pub(super) fn lay(&mut self, labels: &LabelSet, value: u32) {
        spread(&mut self.pages, labels, value);
    }

    /// Gives one label a value.
    pub(super) fn lay_one(&mut self, label: u32, value: u32) {
        let at = label % PAGE_LABELS;
        let page = &mut self.pages[(label >> PAGE_SHIFT) as usize];
        page.push(Stretch { first: at, last: at, value });
    }

    /// Writes the tables, and begins with an empty directory.
    pub(super) fn write(&mut self, image: &mut ImageBuilder) -> Directory {
        let Self { pages, marks, numbers } = self;
        let tables = pages.chunks_mut(TABLE_LEN as usize).zip(marks.chunks(TABLE_LEN as usize));
        let mut directory = Directory::default();
        for (place, (pages, marks)) in directory.iter_mut().zip(tables) {
            // In the zeros no label has a value.
            if pages.iter().all(Vec::is_empty) {
                continue;
            }
            let words = pages.iter_mut().zip(marks).map(|(page, marks)| {
                let word = page_word(image, page, marks, numbers);
                page.clear();
                word
            });
            let words = words.collect();
            *place = image.share(words);
        }
        directory
    }
}

/// Lays labels on their pages; what a whole page hides is forgotten.
fn spread(pages: &mut [Vec<Stretch>], labels: &LabelSet, value: u32) {
    for range in labels.ranges() {
        let (start, end) = (*range.start(), *range.end());
        for number in start >> PAGE_SHIFT..=end >> PAGE_SHIFT {
            let base = number << PAGE_SHIFT;
            let first = start.max(base) - base;
            let last = end.min(base + PAGE_LABELS - 1) - base;
            let stretch = Stretch { first, last, value };
            let page = &mut pages[number as usize];
            if stretch.is_whole_page() {
                page.clear();
            }
            page.push(stretch);
        }
    }
}

/// The word of a page in its table.
fn page_word(
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
    let form = match numbers.take(values, &edges) {
        1 => return uniform(values[0]),
        2 => BITS,
        3..=16 if image.byte_pages == 0 => NIBBLES,
        values if values <= PALETTE as usize => BYTES,
        _ => WORDS,
    };
    let words = match form {
        BITS => numbers.written(1),
        NIBBLES => numbers.written(4),
        BYTES => numbers.written(8),
        _ => values.to_vec(),
    };
    if form == BYTES {
        image.byte_pages = image.byte_pages.saturating_sub(1);
    }
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
struct Numbers {
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

#[cfg(test)]
mod tests {
    use mpls_xdp_ebpf::abi::{directory::FORM_MASK, ingress};
    use mpls_xdp_ebpf::image::{Action, Image as _, Ingress, Record as _};

    use super::*;
    use crate::compile::ImageBuilder;

    /// As [`Drawing`] has to answer, label by label.
    #[derive(Default)]
    struct Naive {
        laid: Vec<(LabelSet, u32)>,
        marks: Vec<(LabelSet, u32)>,
    }

    impl Naive {
        fn value(&self, label: u32) -> u32 {
            let laid = self.laid.iter().rev().find(|(labels, _)| labels.contains(label));
            let value = laid.map_or(0, |(_, value)| *value);
            let marks =
                self.marks.iter().filter(|(labels, _)| value != 0 && labels.contains(label));
            marks.fold(value, |value, (_, bit)| value | bit)
        }

        /// Compares labels of a directory written from the same.
        fn check(&self, drawing: &mut Drawing, labels: impl IntoIterator<Item = u32>) {
            let mut image = ImageBuilder::default();
            let directory = drawing.write(&mut image);
            let words = &image.words[..];
            let mut record = [0; ingress::LEN as usize];
            record[ingress::DIRECTORY as usize..].copy_from_slice(&directory);
            for label in labels {
                let Action(value) = Ingress(&record[..]).action(&words, label);
                assert_eq!(value, self.value(label), "label {label}");
            }
            assert!(drawing.pages.iter().all(Vec::is_empty));
        }
    }

    fn set(ranges: &[(u32, u32)]) -> LabelSet {
        ranges.iter().map(|(first, last)| *first..=*last).collect()
    }

    #[test]
    fn what_is_laid_last_is_on_top_and_marks_are_for_labels_with_a_value() {
        let mut drawing = Drawing::new();
        let marks = set(&[(10, 16), (2_000, 8_000), (900_000, 900_000)]);
        drawing.mark(&marks, 1);
        let several: LabelSet = (0..400).map(|n| 20_480 + n * 5..=20_480 + n * 5).collect();
        for layers in [
            vec![(set(&[(0, 0xf_ffff)]), 4), (set(&[(5_000, 5_000)]), 8)],
            vec![(set(&[(100, 4_500), (6_144, 8_191)]), 4), (set(&[(3_000, 5_000)]), 8)],
            vec![(several, 12), (set(&[(20_490, 20_500), (899_999, 900_001)]), 16)],
            vec![],
        ] {
            let naive = Naive { laid: layers, marks: vec![(marks.clone(), 1)] };
            for (labels, value) in &naive.laid {
                drawing.lay(labels, *value);
            }
            naive.check(&mut drawing, (0..30_000).chain(899_000..901_000).chain([0xf_ffff]));
        }
    }

    #[test]
    fn a_page_has_as_many_bits_a_label_as_its_values_need() {
        let widths = [(1, BITS), (2, NIBBLES), (15, NIBBLES), (16, BYTES), (255, BYTES)];
        for (values, form) in widths.into_iter().chain([(256, WORDS), (2048, WORDS)]) {
            let mut drawing = Drawing::new();
            let mut naive = Naive::default();
            for value in 1..=values {
                let label = 4 * PAGE_LABELS + (value - 1) * (PAGE_LABELS / values);
                drawing.lay_one(label, value << 2);
                naive.laid.push((set(&[(label, label)]), value << 2));
            }
            let mut image = ImageBuilder { byte_pages: 0, ..ImageBuilder::default() };
            let word = page_word(&mut image, &drawing.pages[4], &[], &mut Numbers::default());
            assert_eq!(word & FORM_MASK, form, "{values}");
            naive.check(&mut drawing, 4 * PAGE_LABELS - 1..=5 * PAGE_LABELS);
        }
    }

    #[test]
    fn equal_pages_and_directories_stand_once() {
        let mut drawing = Drawing::new();
        let mut image = ImageBuilder::default();
        let labels = set(&[(4_100, 4_200), (6_148, 6_248)]);
        let directories = [(); 2].map(|()| {
            drawing.lay(&labels, 4);
            drawing.write(&mut image)
        });
        assert_eq!(directories[0], directories[1]);
        let pages = (&image.words[..]).at(directories[0][0]);
        assert_eq!(pages.word(2), pages.word(3));
        assert_eq!(pages.word(2) & FORM_MASK, BITS);
        assert!(directories[0][1..].iter().all(|table| *table == 0));
    }
}
