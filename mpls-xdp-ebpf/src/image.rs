//! Reads the tables of a compiled policy. An offset that leads out of the image reads as "refuse".

use crate::{
    abi::{self, action, directory, ingress, interface, profile, vlan_node},
    frame::Binding,
    policy::{Mode, Special, SpecialSet},
};

/// One generation of the policy, as 32-bit words.
pub trait Image: Copy {
    /// Some of its words, that are there.
    type Record: Record;

    /// The word at `offset`; `None` outside the image.
    fn word(&self, offset: u32) -> Option<u32>;

    /// The `len` words at `offset`; `None` where not all are inside the image.
    fn record(&self, offset: u32, len: u32) -> Option<Self::Record>;

    /// The words at an offset below [`abi::FIXED_WORDS`], which every image has.
    fn fixed(&self, offset: u32) -> Self::Record;
}

/// Words of an image that were found to be there.
pub trait Record: Copy {
    /// The word that is called `field`.
    fn word(&self, field: u32) -> u32;

    /// A byte of the words, counted from the lowest of the first one.
    fn byte(&self, at: u32) -> u8;

    /// The record that begins at `field`.
    fn inner(self, field: u32) -> Self;
}

impl<'a> Image for &'a [u32] {
    type Record = &'a [u32];

    fn word(&self, offset: u32) -> Option<u32> {
        self.get(usize::try_from(offset).ok()?).copied()
    }

    fn record(&self, offset: u32, len: u32) -> Option<Self::Record> {
        let offset = usize::try_from(offset).ok()?;
        self.get(offset..)?.get(..usize::try_from(len).ok()?)
    }

    fn fixed(&self, offset: u32) -> Self::Record {
        usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default()
    }
}

impl Record for &[u32] {
    fn word(&self, field: u32) -> u32 {
        Image::word(self, field).unwrap_or(0)
    }

    fn byte(&self, at: u32) -> u8 {
        let [a, b, c, d] = Record::word(self, at / 4).to_le_bytes();
        match at % 4 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }

    fn inner(self, field: u32) -> Self {
        self.fixed(field)
    }
}

/// The mode of frames that have no ingress; `enforce` if the image cannot say.
#[inline(always)]
pub fn default_mode(image: &impl Image) -> Mode {
    mode(header(image).word(abi::header::DEFAULT_MODE) == abi::MONITOR)
}

const fn mode(monitor: bool) -> Mode {
    if monitor { Mode::Monitor } else { Mode::Enforce }
}

/// The first words of an image, as [`abi::header`] has them.
#[inline(always)]
pub fn header<I: Image>(image: &I) -> I::Record {
    image.fixed(0)
}

/// What a label means on this router, worked out for a refusal only.
#[inline(always)]
pub fn given_out(image: &impl Image, label: u32) -> u32 {
    find(image, header(image).word(abi::header::GIVEN_OUT), label).unwrap_or(0)
}

/// The record of an interface slot.
#[derive(Debug, Clone, Copy)]
pub struct Interface<R>(R);

impl<R: Record> Interface<R> {
    /// The one whose record is at an offset that [`abi::interface_record`] returned; `None` when the
    /// program cannot tell its interface.
    #[inline(always)]
    pub fn at(image: &impl Image<Record = R>, record: u32) -> Option<Self> {
        Some(Self(image.fixed(present(record)?)))
    }

    /// Whether the generation names the interface.
    #[inline(always)]
    pub fn is_named(self) -> bool {
        self.0.word(interface::NAMED) != 0
    }

    /// Counter slot of the interface's first reason.
    #[inline(always)]
    pub fn counters(self) -> u32 {
        self.0.word(interface::COUNTERS)
    }

    /// Where the record of the ingress of untagged frames stands.
    #[inline(always)]
    pub fn untagged(self) -> Ingress<R> {
        Ingress(self.0.inner(interface::UNTAGGED))
    }

    /// Where the record of the ingress stands that the tags of a frame bind it to.
    #[inline(always)]
    pub fn ingress(self, image: &impl Image<Record = R>, binding: Binding) -> Option<Ingress<R>> {
        let children = || present(self.0.word(interface::CHILDREN));
        let node = match binding.len() {
            0 => return Some(self.untagged()),
            1 => child(image, children()?, binding.outer())?,
            2 => {
                let outer = child(image, children()?, binding.outer())?;
                let children = present(image.word(outer + vlan_node::CHILDREN)?)?;
                child(image, children, binding.inner())?
            }
            _ => return None,
        };
        let record = present(image.word(node + vlan_node::INGRESS)?)?;
        Some(Ingress(image.record(record, ingress::LEN)?))
    }
}

/// The node of a VLAN ID in a table of nodes.
#[inline(always)]
fn child(image: &impl Image, table: u32, vid: u16) -> Option<u32> {
    let vid = u32::from(vid);
    let leaf = present(image.word(table.wrapping_add(vid >> vlan_node::SHIFT))?)?;
    Some(leaf.wrapping_add((vid & (vlan_node::FANOUT - 1)) * vlan_node::LEN))
}

#[inline(always)]
const fn present(offset: u32) -> Option<u32> {
    if offset == 0 { None } else { Some(offset) }
}

/// The record of an ingress, or the place of one where none is bound.
#[derive(Debug, Clone, Copy)]
pub struct Ingress<R>(pub R);

impl<R: Record> Ingress<R> {
    #[inline(always)]
    fn profile(self) -> u32 {
        self.0.word(ingress::PROFILE)
    }

    /// Whether an ingress is bound here. Where none is, no label is acceptable, so only a refusal
    /// asks.
    #[inline(always)]
    pub fn is_bound(self) -> bool {
        self.profile() != 0
    }

    /// Role `customer`: no labelled frame is accepted, and no label is acceptable.
    #[inline(always)]
    pub fn is_customer(self) -> bool {
        self.profile() & profile::CUSTOMER != 0
    }

    /// `inner = "validate"`: every entry is examined.
    #[inline(always)]
    pub fn validates(self) -> bool {
        self.profile() & profile::VALIDATE != 0
    }

    /// Whether a special-purpose label is allowed here.
    #[inline(always)]
    pub fn allows(self, special: Special) -> bool {
        SpecialSet::from_bits(self.profile() >> profile::SPECIAL_SHIFT).allows(special)
    }

    /// How many label entries a stack may have, 1 to 32.
    #[inline(always)]
    pub fn max_depth(self) -> u32 {
        self.profile() >> profile::DEPTH_SHIFT & profile::DEPTH_MASK
    }

    /// What becomes of a refused frame.
    #[inline(always)]
    pub fn mode(self) -> Mode {
        mode(self.profile() & profile::MONITOR != 0)
    }

    /// The ingress's number in the policy.
    #[inline(always)]
    pub fn number(self) -> u32 {
        self.0.word(ingress::NUMBER)
    }

    /// What is done here with a label that is examined.
    #[inline(always)]
    pub fn action(self, image: &impl Image, label: u32) -> Action {
        let directory = present(self.0.word(ingress::DIRECTORY));
        let action = directory.and_then(|directory| find(image, directory, label));
        action.map_or(Action::REFUSED, Action)
    }

    /// The counter slot of a rule.
    #[inline(always)]
    pub fn rule_counter(self, image: &impl Image, rule: u32) -> Option<u32> {
        image.word(self.0.word(ingress::RULES).wrapping_add(rule))
    }

    /// The counter slot of the first reason.
    #[inline(always)]
    pub fn reason_counters(self) -> u32 {
        self.0.word(ingress::REASONS)
    }
}

/// What an ingress does with a label that is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub u32);

impl Action {
    /// It is refused.
    pub const REFUSED: Self = Self(0);

    /// Whether an entry with the label is accepted, at the bottom of the stack or above it.
    #[inline(always)]
    pub const fn accepts(self, at_bottom: bool) -> bool {
        self.0 != Self::REFUSED.0 && !(at_bottom && self.0 & action::NEVER_AT_BOTTOM != 0)
    }

    /// The rule that accepts the label, 1 or greater; 0 for a special-purpose label.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        self.0 >> action::RULE_SHIFT
    }

    /// How the next entry is to be taken: [`action::OPAQUE`] and so on.
    #[inline(always)]
    pub const fn next(self) -> u32 {
        self.0 & action::NEXT_MASK
    }
}

/// The value of `label` in the directory at `offset`, 0 when it has none: one to three loads,
/// whatever the policy holds. Each form is written out: reckoning with the width of a number took
/// twice the instructions, 2 to 4 ns.
#[inline(always)]
fn find<I: Image>(image: &I, offset: u32, label: u32) -> Option<u32> {
    let word = image.word(offset.wrapping_add(label >> directory::PAGE_SHIFT))?;
    let operand = word >> directory::FORM_BITS;
    let place = label & (directory::PAGE_LABELS - 1);
    match word & directory::FORM_MASK {
        directory::UNIFORM => Some(operand),
        directory::BITS => {
            const NUMBERS: u32 = directory::page_words(1);
            let page = image.record(operand, NUMBERS + 2)?;
            let bit = page.word(place / u32::BITS) >> (place % u32::BITS) & 1;
            Some(page.word(NUMBERS + bit))
        }
        directory::BYTES => {
            const NUMBERS: u32 = directory::page_words(8);
            let page = image.record(operand, NUMBERS + directory::PALETTE)?;
            Some(page.word(NUMBERS + u32::from(page.byte(place))))
        }
        _ => image.word(operand + place),
    }
}
