//! Frames, planned relative to a policy that is not known yet.

use std::iter;

use proptest::array;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, any};
use proptest::prop_oneof;
use proptest::sample::{Index, select};
use proptest::strategy::{BoxedStrategy, Strategy};

use super::Arrival;
use super::policy::{Ingress, LabelItem, Policy, VLAN_IDS};

/// Locally administered addresses, which decide nothing.
const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
/// An interface that no policy here names.
const STRANGER: &str = "stranger0";
/// The tag types (§4.1 of the semantics).
const TPIDS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// No frame has more label entries: two more than the deepest `max-depth`.
const MAX_ENTRIES: usize = 34;

/// How to make a frame once the policy is there.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The ingress that the frame is meant for, or that it nearly reaches.
    ingress: Index,
    stranger: bool,
    tags: Tags,
    ethertype: u16,
    segments: Vec<Segment>,
    bottom: Bottom,
    payload: Vec<u8>,
    /// Where the frame is cut off.
    cut: Option<Index>,
}

#[derive(Clone, Debug)]
enum Tags {
    /// Those of the ingress, with priority tags in between.
    Bound { styles: [TagStyle; 4], priority_at: Vec<Index> },
    /// Any, up to five.
    Free(Vec<(TagStyle, u16)>),
}

/// What is not the VLAN ID of a tag.
#[derive(Clone, Copy, Debug)]
struct TagStyle {
    tpid: u16,
    /// Priority and DEI, the upper four bits.
    priority: u16,
}

/// One or two label entries that belong together.
#[derive(Clone, Debug)]
enum Segment {
    One(Entry),
    /// ELI or XL, and the label after it.
    Pair(Entry, Entry),
}

#[derive(Clone, Debug)]
struct Entry {
    label: Label,
    tc: u32,
    ttl: u8,
}

/// A label relative to a policy and an ingress.
#[derive(Clone, Debug)]
enum Label {
    /// As it is.
    Exactly(u32),
    /// One that the ingress accepts.
    Accepted(Index, u32),
    /// One that the router pops, acceptable or not.
    Popping(Index, u32),
    /// Around the first or the last label of some item of the policy.
    Edge { item: Index, last: bool, offset: i32 },
}

/// Which entries have the S bit.
#[derive(Clone, Debug)]
enum Bottom {
    Last,
    At(Index),
    Nowhere,
}

impl Plan {
    /// The frame that this plan means with this policy.
    pub(super) fn arrival(&self, policy: &Policy) -> Arrival {
        let ingress = self.ingress.get(&policy.ingresses);
        let interface = if self.stranger { STRANGER } else { ingress.interface };
        let mut frame = ADDRESSES.to_vec();
        frame.extend(self.tags.bytes(ingress));
        frame.extend(self.ethertype.to_be_bytes());
        frame.extend(self.stack(policy, ingress));
        frame.extend(&self.payload);
        if let Some(cut) = self.cut {
            frame.truncate(cut.index(frame.len()));
        }
        Arrival { interface: interface.to_owned(), frame }
    }

    fn stack(&self, policy: &Policy, ingress: &Ingress) -> Vec<u8> {
        let resolver = Resolver::new(policy, ingress);
        let entries = self.segments.iter().flat_map(Segment::entries).take(MAX_ENTRIES);
        let mut words: Vec<_> = entries.map(|entry| entry.word(&resolver)).collect();
        let bottom = match &self.bottom {
            Bottom::Last => words.len().checked_sub(1),
            Bottom::At(index) => Some(index.index(words.len())),
            Bottom::Nowhere => None,
        };
        if let Some(bottom) = bottom {
            words[bottom] |= 1 << 8;
        }
        words.into_iter().flat_map(u32::to_be_bytes).collect()
    }
}

impl Tags {
    fn bytes(&self, ingress: &Ingress) -> Vec<u8> {
        match self {
            Self::Free(tags) => tags.iter().flat_map(|(style, vid)| style.bytes(*vid)).collect(),
            Self::Bound { styles, priority_at } => {
                let mut vids = ingress.vlan.clone();
                for place in priority_at {
                    vids.insert(place.index(vids.len() + 1), 0);
                }
                iter::zip(styles, vids).flat_map(|(style, vid)| style.bytes(vid)).collect()
            }
        }
    }
}

impl TagStyle {
    fn bytes(self, vid: u16) -> Vec<u8> {
        [self.tpid.to_be_bytes(), (self.priority << 12 | vid).to_be_bytes()].concat()
    }
}

impl Segment {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let (first, second) = match self {
            Self::One(entry) => (entry, None),
            Self::Pair(first, second) => (first, Some(second)),
        };
        iter::once(first).chain(second)
    }
}

impl Entry {
    /// The 32 bits of the entry (§2), S not set.
    fn word(&self, resolver: &Resolver) -> u32 {
        resolver.label(&self.label) << 12 | self.tc << 9 | u32::from(self.ttl)
    }
}

/// The labels that a plan can refer to.
struct Resolver {
    accepted: Vec<LabelItem>,
    popping: Vec<LabelItem>,
    given_out: Vec<LabelItem>,
}

impl Resolver {
    fn new(policy: &Policy, ingress: &Ingress) -> Self {
        let given_out = policy.given_out();
        let or_any = |items: Vec<_>| if items.is_empty() { given_out.clone() } else { items };
        Self {
            accepted: or_any(policy.acceptable(ingress)),
            popping: or_any(policy.popping()),
            given_out,
        }
    }

    fn label(&self, label: &Label) -> u32 {
        match label {
            Label::Exactly(label) => *label,
            Label::Accepted(item, within) => inside(*item.get(&self.accepted), *within),
            Label::Popping(item, within) => inside(*item.get(&self.popping), *within),
            Label::Edge { item, last, offset } => {
                let item = item.get(&self.given_out);
                let edge = if *last { item.last() } else { item.first() };
                edge.saturating_add_signed(*offset).min(0xf_ffff)
            }
        }
    }
}

/// A label of the item.
fn inside(item: LabelItem, within: u32) -> u32 {
    item.first() + within % (item.last() - item.first() + 1)
}

/// A plan for a frame, often acceptable, and otherwise wrong in an interesting way.
pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let stranger = rarely(1, 40);
    let place = (any::<Index>(), stranger, tags(), ethertype());
    let cut = option::weighted(0.08, any::<Index>());
    (place, stack(), bottom(), payload(), cut).prop_map(
        |((ingress, stranger, tags, ethertype), segments, bottom, payload, cut)| Plan {
            ingress,
            stranger,
            tags,
            ethertype,
            segments,
            bottom,
            payload,
            cut,
        },
    )
}

fn rarely(yes: u32, of: u32) -> impl Strategy<Value = bool> {
    prop_oneof![of - yes => Just(false), yes => Just(true)]
}

fn ethertype() -> impl Strategy<Value = u16> {
    prop_oneof![
        80 => Just(0x8847),
        4 => Just(0x8848),
        4 => select(&[0x0800, 0x86dd, 0x8846, 0x8849][..]),
        1 => any::<u16>(),
    ]
}

fn tags() -> impl Strategy<Value = Tags> {
    let priority_at = prop_oneof![5 => Just(vec![]), 2 => vec(any::<Index>(), 1..=2)];
    let bound = (array::uniform4(tag_style()), priority_at)
        .prop_map(|(styles, priority_at)| Tags::Bound { styles, priority_at });
    let tag = (tag_style(), vid());
    let free = prop_oneof![2 => vec(tag.clone(), 0..=4), 1 => vec(tag, 5)].prop_map(Tags::Free);
    prop_oneof![12 => bound, 1 => free]
}

fn tag_style() -> impl Strategy<Value = TagStyle> + Clone {
    (select(&TPIDS[..]), 0..=0xf_u16).prop_map(|(tpid, priority)| TagStyle { tpid, priority })
}

fn vid() -> impl Strategy<Value = u16> + Clone {
    prop_oneof![2 => Just(0), 4 => select(&VLAN_IDS[..]), 1 => 0..=0xfff_u16]
}

fn stack() -> impl Strategy<Value = Vec<Segment>> {
    prop_oneof![
        2 => segments(clean_segment().boxed()),
        3 => segments(segment().boxed()),
        1 => dangling(),
    ]
}

/// A stack of such segments, usually a short one.
fn segments(segment: BoxedStrategy<Segment>) -> impl Strategy<Value = Vec<Segment>> {
    prop_oneof![
        8 => vec(segment.clone(), 1),
        10 => vec(segment.clone(), 2..=4),
        4 => vec(segment.clone(), 5..=17),
        2 => vec(segment.clone(), 18..=29),
        2 => vec(segment, 30..=MAX_ENTRIES),
    ]
}

/// A stack that ends with a special-purpose label, which some must not.
fn dangling() -> impl Strategy<Value = Vec<Segment>> {
    let label = prop_oneof![3 => select(&[1, 4, 7, 15][..]), 1 => 0..16_u32];
    (vec(one(popping()), 0..=2), one(label.prop_map(Label::Exactly))).prop_map(
        |(mut segments, last)| {
            segments.push(last);
            segments
        },
    )
}

/// What a well-behaved neighbour sends, so that long stacks have a chance to be accepted.
fn clean_segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        3 => one(accepted()),
        5 => one(popping()),
        1 => one(select(&[0, 2, 1, 13][..]).prop_map(Label::Exactly)),
        1 => pair(Just(7), 16..=0xf_ffff_u32),
    ]
}

/// Anything.
fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        4 => one(accepted()),
        3 => one(popping()),
        3 => one(edge()),
        3 => one((0..16_u32).prop_map(Label::Exactly)),
        1 => one((0..=0xf_ffff_u32).prop_map(Label::Exactly)),
        2 => pair(Just(7), companion()),
        2 => pair(Just(15), companion()),
    ]
}

/// The label after ELI or XL, on either side of 16.
fn companion() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 16..=0xf_ffff_u32, 1 => Just(16), 2 => 0..16_u32]
}

fn one(label: impl Strategy<Value = Label>) -> impl Strategy<Value = Segment> {
    entry(label).prop_map(Segment::One)
}

fn pair(
    first: impl Strategy<Value = u32>,
    second: impl Strategy<Value = u32>,
) -> impl Strategy<Value = Segment> {
    (entry(first.prop_map(Label::Exactly)), entry(second.prop_map(Label::Exactly)))
        .prop_map(|(first, second)| Segment::Pair(first, second))
}

fn entry(label: impl Strategy<Value = Label>) -> impl Strategy<Value = Entry> {
    let ttl = prop_oneof![20 => Just(64), 2 => Just(1), 1 => Just(255), 1 => Just(0)];
    (label, 0..8_u32, ttl).prop_map(|(label, tc, ttl)| Entry { label, tc, ttl })
}

fn accepted() -> impl Strategy<Value = Label> {
    any::<(Index, u32)>().prop_map(|(item, within)| Label::Accepted(item, within))
}

fn popping() -> impl Strategy<Value = Label> {
    any::<(Index, u32)>().prop_map(|(item, within)| Label::Popping(item, within))
}

fn edge() -> impl Strategy<Value = Label> {
    (any::<Index>(), any::<bool>(), -1..=1_i32).prop_map(|(item, last, offset)| Label::Edge {
        item,
        last,
        offset,
    })
}

fn bottom() -> impl Strategy<Value = Bottom> {
    prop_oneof![
        20 => Just(Bottom::Last),
        2 => any::<Index>().prop_map(Bottom::At),
        1 => Just(Bottom::Nowhere),
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![30 => 0..=100_usize, 1 => 2000..=9000_usize];
    // Eight bytes over and over: with a byte on its own each, shrinking would take for ever.
    (length, any::<[u8; 8]>())
        .prop_map(|(length, pattern)| pattern.into_iter().cycle().take(length).collect())
}
