//! Label directories: tables only where there are labels, equal ones shared.

use mpls_xdp_ebpf::abi::directory::{LEN, PAGE_LABELS, PAGE_SHIFT, TABLE_LEN};

use super::{
    ImageBuilder,
    page::{Numbers, Stretch, page_word},
};
use crate::policy::LabelSet;

/// Places of tables, as they stand in a record.
pub(super) type Directory = [u32; LEN as usize];

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

#[cfg(test)]
mod tests {
    use mpls_xdp_ebpf::abi::{
        directory::{BITS, BYTES, FORM_MASK, NIBBLES, WORDS},
        ingress,
    };
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
