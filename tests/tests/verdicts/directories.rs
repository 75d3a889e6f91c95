//! Label directories with pages of every kind, and labels where they begin and end.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use mpls_xdp_ebpf::abi::{directory, header, ingress, interface, interface_record};
use mpls_xdp_ebpf::image::{self, Image, Record};
use mpls_xdp_tests::frame::Frame;

use crate::judges::{Judges, Tally, kind};

/// Labels of a page.
const PAGE: u32 = directory::PAGE_LABELS;
/// The greatest label.
const LAST: u32 = 0xf_ffff;
/// Contexts of the wide policy: rules that fit 16 bits and rules that do not.
const MANY: u32 = 33_500;
/// The first label of the interleaved contexts, at the start of a page.
const MANY_FROM: u32 = 100 * PAGE;

/// A policy in the making.
struct Draft {
    contexts: String,
    accepted: String,
    /// Where a range begins or ends.
    ranges: Vec<RangeInclusive<u32>>,
}

impl Draft {
    const fn new() -> Self {
        Self { contexts: String::new(), accepted: String::new(), ranges: Vec::new() }
    }

    /// Adds a context, which the ingress accepts if `accepted` says so.
    fn context(&mut self, name: &str, lines: &str, labels: &[RangeInclusive<u32>], accepted: bool) {
        let items: Vec<String> = labels
            .iter()
            .map(|range| match (range.start(), range.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("\"{first}-{last}\""),
            })
            .collect();
        let items = items.join(",");
        writeln!(self.contexts, "[contexts.{name}]\n{lines}\nlabels = [{items}]")
            .expect("a string grows");
        if accepted {
            write!(self.accepted, "\"{name}\",").expect("a string grows");
        }
        self.ranges.extend_from_slice(labels);
    }

    /// The judges, on whose eth0 the ingress `it` accepts the contexts.
    fn judges(&self) -> Judges {
        let Self { contexts, accepted, .. } = self;
        Judges::new(&format!(
            "version = 1\n{contexts}[ingress.it]\ninterface = \"eth0\"\nrole = \"core\"\n\
             contexts = [{accepted}]\n[ingress.other]\ninterface = \"eth1\"\nrole = \"peer\"\n\
             labels = [77, \"900000-900100\"]\n"
        ))
    }

    /// Labels at the edges of ranges and one beyond, every `every`th range.
    fn edges(&self, every: usize) -> BTreeSet<u32> {
        let ends = self.ranges.iter().step_by(every).flat_map(|r| [*r.start(), *r.end()]);
        ends.flat_map(|end| [end - 1, end, end + 1]).filter(|label| *label <= LAST).collect()
    }
}

/// Labels at the edges of pages and one beyond.
fn page_edges() -> impl Iterator<Item = u32> {
    (0..directory::LEN * directory::TABLE_LEN)
        .flat_map(|page| [page * PAGE, page * PAGE + 1, page * PAGE + PAGE - 1])
}

/// Runs a frame for each label, alone and above one that is no one's: it shows who pops.
fn run(judges: &mut Judges, labels: impl IntoIterator<Item = u32>) -> Tally {
    let mut tally = Tally::new();
    for label in labels {
        for stack in [vec![label], vec![label, 3]] {
            let seen = judges.judge("eth0", &Frame::mpls(stack).payload([]).build());
            *tally.entry(kind(&seen)).or_default() += 1;
        }
    }
    tally
}

/// How many bits a label has in each page of what eth0's untagged ingress accepts.
fn bits(judges: &Judges) -> Vec<u32> {
    let image = judges.image();
    let interface = interface_record(judges.manifest().interfaces[0].slot).expect("it has a slot");
    let untagged = image.at(interface).inner(interface::UNTAGGED);
    bits_of_pages(image, untagged.inner(ingress::DIRECTORY)).collect()
}

/// The same of what the router gave out.
fn given_out(judges: &Judges) -> BTreeSet<u32> {
    let image = judges.image();
    bits_of_pages(image, image::header(&image).inner(header::GIVEN_OUT)).collect()
}

fn bits_of_pages(image: &[u32], directory: &[u32]) -> impl Iterator<Item = u32> {
    let tables = directory[..directory::LEN as usize].iter();
    let words =
        tables.flat_map(move |table| image.at(*table)[..directory::TABLE_LEN as usize].iter());
    words.map(|word| bits_of(*word))
}

/// Bits of a label in the page of a table's word; 0 where all of its labels have one value.
fn bits_of(word: u32) -> u32 {
    match word & directory::FORM_MASK {
        directory::UNIFORM => 0,
        directory::BITS => 1,
        directory::NIBBLES => 4,
        directory::BYTES => 8,
        _ => 32,
    }
}

const TRANSPORT: &str = "kind = \"transport\"";
const VRF: &str = "kind = \"vrf\"";
const POPS: &str = "kind = \"transport\"\npops = true";

#[test]
fn pages_of_every_width_in_one_directory() {
    let mut draft = Draft::new();
    // Page 4 is one value, page 5 a part of one, page 6 has several.
    draft.context("whole", TRANSPORT, &[4 * PAGE..=5 * PAGE - 1], true);
    draft.context("part", VRF, &[5 * PAGE + 7..=6 * PAGE - 9], true);
    draft.context("several", TRANSPORT, &[6 * PAGE..=6 * PAGE + 31], true);
    draft.context("popping", POPS, &[6 * PAGE + 30..=6 * PAGE + 63], true);
    draft.context("foreign", VRF, &[6 * PAGE + 60..=8 * PAGE - 1], false);
    // Page 9 has as many values as a palette takes, with "refuse", and page 10 one more; behind so
    // many pages with a byte a label that memory counts, pages 300 and 301 the same for less.
    let half = |page: u32| page * PAGE..=page * PAGE + PAGE / 2;
    let other_half = |page: u32| page * PAGE + PAGE / 2 + 1..=page * PAGE + PAGE - 2;
    draft.context("halves", VRF, &(200..264).map(half).collect::<Vec<_>>(), true);
    draft.context("others", TRANSPORT, &(200..264).map(other_half).collect::<Vec<_>>(), true);
    for (page, values) in [(9, 255), (10, 256), (300, 15), (301, 16)] {
        for number in 0..values {
            let label = page * PAGE + number * 8;
            draft.context(&format!("p{page}-{number}"), VRF, &[label..=label], true);
        }
    }
    // Pages 100 to 116: one label for each of many contexts, and one more a lot further on.
    for number in 0..MANY {
        let lines = if number % 3 == 0 { POPS } else { VRF };
        let near = MANY_FROM + number;
        let far = MANY_FROM + MANY + 5_000 + number * 2;
        draft.context(&format!("c{number}"), lines, &[near..=near, far..=far], true);
    }
    let mut judges = draft.judges();
    let bits = bits(&judges);
    // Page 0 has the special-purpose labels, and none of the others.
    assert_eq!(bits[..11], [8, 0, 0, 0, 0, 1, 8, 0, 0, 8, 32]);
    assert_eq!(bits[300..302], [4, 8]);
    assert_eq!(bits[100..116], [32; 16]);
    assert!(given_out(&judges).is_superset(&BTreeSet::from([0, 1, 4])));

    // The first contexts whole, of the many every so often: the oracle asks each of them.
    let is_first = |label: &u32| *label < MANY_FROM || *label >= 263 * PAGE;
    let first: BTreeSet<u32> = draft.edges(1).into_iter().filter(is_first).collect();
    let foreign = (6 * PAGE + 64..8 * PAGE).step_by(37);
    let widest = (MANY_FROM + 32_750..=MANY_FROM + MANY + 1).step_by(11);
    let pages =
        page_edges().filter(|label| label / PAGE < 8 || (98..155).contains(&(label / PAGE)));
    let labels: BTreeSet<u32> = first
        .into_iter()
        .chain(draft.edges(997))
        .chain(foreign)
        .chain(widest)
        .chain(pages)
        .collect();
    let tally = run(&mut judges, labels);
    for kind in ["accepted", "implicit_null", "label_out_of_vrf", "label_out_of_range"] {
        assert!(tally.get(kind).is_some_and(|count| *count > 100), "too few {kind}: {tally:?}");
    }
}

#[test]
fn the_full_range() {
    for (lines, expected) in [(TRANSPORT, "accepted"), (POPS, "implicit_null")] {
        let mut draft = Draft::new();
        draft.context("all", lines, &[16..=LAST], true);
        let mut judges = draft.judges();
        let bits = bits(&judges);
        assert_eq!(bits[0], 8);
        assert!(bits[1..].iter().all(|bits| *bits == 0), "{bits:?}");
        let labels: BTreeSet<u32> =
            page_edges().chain(0..40).chain((16..=LAST).step_by(1_009)).chain([LAST]).collect();
        let ordinary = labels.iter().filter(|label| **label >= 16).count();
        let tally = run(&mut judges, labels);
        // Labels 0 to 15 have other reasons, and 3 the same: alone, above itself, under others.
        assert!(tally[expected] >= ordinary, "{ordinary} of {tally:?}");
        assert!(!tally.contains_key("label_out_of_range"), "{tally:?}");
    }
}

#[test]
fn scattered_labels() {
    let mut draft = Draft::new();
    // A step that shares no factor with the page meets every place in it.
    let scattered: Vec<_> = (16..=LAST).step_by(331).map(|label| label..=label).collect();
    let (even, odd): (Vec<_>, Vec<_>) = scattered.into_iter().partition(|r| r.start() % 2 == 0);
    draft.context("even", POPS, &even, true);
    draft.context("odd", VRF, &odd, true);
    let pairs: Vec<_> = (20..=LAST - 1).step_by(4_001).map(|label| label..=label + 1).collect();
    draft.context("pairs", VRF, &pairs, false);
    let mut judges = draft.judges();
    let bits = bits(&judges);
    assert_eq!((bits[0], bits[511]), (8, 4));
    assert!(bits.is_sorted_by(|one, next| one >= next), "{bits:?}");
    let tally = run(&mut judges, draft.edges(2));
    for kind in ["accepted", "implicit_null", "label_out_of_vrf", "label_out_of_range"] {
        assert!(tally.get(kind).is_some_and(|count| *count > 100), "too few {kind}: {tally:?}");
    }
}
