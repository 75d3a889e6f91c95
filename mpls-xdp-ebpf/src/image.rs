//! Reads the tables of a compiled policy.

use crate::{
    abi::{self, action, directory, ingress, interface, profile, vlan_node},
    frame::Binding,
    policy::{Mode, Special, SpecialSet},
};

/// One generation of the policy, whose tables are found by their places, as [`abi`] says.
pub trait Image: Copy {
    /// Words of it.
    type Record: Record;

    /// What stands at a place that is read from the image.
    fn at(&self, place: u32) -> Self::Record;

    /// What stands at a place that is a constant of the program, below [`abi::FIXED_WORDS`].
    fn fixed(&self, place: u32) -> Self::Record;
}

/// Words of an image.
pub trait Record: Copy {
    /// The word that is called `field`.
    fn word(&self, field: u32) -> u32;

    /// A byte of the words, counted from the lowest of the first one.
    fn byte(&self, at: u32) -> u8;

    /// The record that begins at `field`.
    fn inner(self, field: u32) -> Self;
}

/// What is outside reads as 0: "nothing there".
impl<'a> Image for &'a [u32] {
    type Record = &'a [u32];

    fn at(&self, place: u32) -> Self::Record {
        self.inner(place / 4)
    }

    fn fixed(&self, place: u32) -> Self::Record {
        self.at(place)
    }
}

impl Record for &[u32] {
    fn word(&self, field: u32) -> u32 {
        self.inner(field).first().copied().unwrap_or(0)
    }

    fn byte(&self, at: u32) -> u8 {
        let [a, b, c, d] = self.word(at / 4).to_le_bytes();
        match at % 4 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }

    fn inner(self, field: u32) -> Self {
        usize::try_from(field).ok().and_then(|field| self.get(field..)).unwrap_or_default()
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

/// The words that [`abi::header`] has.
#[inline(always)]
pub fn header<I: Image>(image: &I) -> I::Record {
    image.fixed(abi::HEADER)
}

/// The number of the generation.
#[inline(always)]
pub fn generation(image: &impl Image) -> u64 {
    let word = |field| u64::from(header(image).word(field));
    word(abi::header::GENERATION) | word(abi::header::GENERATION + 1) << u32::BITS
}

/// What a label means on this router, worked out for a refusal only.
#[inline(always)]
pub fn given_out(image: &impl Image, label: u32) -> u32 {
    find(image, header(image).inner(abi::header::GIVEN_OUT), label)
}

/// The record of an interface slot.
#[derive(Debug, Clone, Copy)]
pub struct Interface<R>(R);

impl<R: Record> Interface<R> {
    /// The one whose record is at a place that [`abi::interface_record`] returned.
    #[inline(always)]
    pub fn at(image: &impl Image<Record = R>, record: u32) -> Self {
        Self(image.fixed(record))
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

    /// The record of the ingress that the tags of a frame bind it to.
    #[inline(always)]
    pub fn ingress(self, image: &impl Image<Record = R>, binding: Binding) -> Ingress<R> {
        let outer = || child(image, self.0.word(interface::CHILDREN), binding.outer());
        let node = match binding.len() {
            0 => return self.untagged(),
            1 => outer(),
            2 => child(image, outer().word(vlan_node::CHILDREN), binding.inner()),
            // Nothing can be bound to so many tags.
            _ => return Ingress(image.fixed(0)),
        };
        Ingress(image.at(node.word(vlan_node::INGRESS)))
    }
}

/// The node of a VLAN ID in the table of nodes at a place.
#[inline(always)]
fn child<I: Image>(image: &I, table: u32, vid: u16) -> I::Record {
    let vid = u32::from(vid);
    let leaf = image.at(table + (vid >> vlan_node::SHIFT) * 4).word(0);
    image.at(leaf + (vid & (vlan_node::FANOUT - 1)) * vlan_node::LEN * 4)
}

/// The record of an ingress, or zeros where none is bound.
#[derive(Debug, Clone, Copy)]
pub struct Ingress<R>(pub R);

impl<R: Record> Ingress<R> {
    #[inline(always)]
    fn profile(self) -> u32 {
        self.0.word(ingress::PROFILE)
    }

    /// Whether an ingress is bound here.
    #[inline(always)]
    pub fn is_bound(self) -> bool {
        self.profile() != 0
    }

    /// Whether an ingress is bound here, and of a role other than `customer`. Elsewhere no label is
    /// acceptable, so only a refusal asks.
    #[inline(always)]
    pub fn takes_labels(self) -> bool {
        self.profile() & profile::LABELLED != 0
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
    pub fn action(self, image: &impl Image<Record = R>, label: u32) -> Action {
        Action(find(image, self.0.inner(ingress::DIRECTORY), label))
    }

    /// The counter slot of a rule.
    #[inline(always)]
    pub fn rule_counter(self, image: &impl Image, rule: u32) -> u32 {
        image.at(self.0.word(ingress::RULES) + rule * 4).word(0)
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
    /// Whether an entry with the label is accepted, at the bottom of the stack or above it.
    #[inline(always)]
    pub const fn accepts(self, at_bottom: bool) -> bool {
        if at_bottom { self.0.cast_signed() > 0 } else { self.0 != 0 }
    }

    /// The rule that accepts the label, 1 or greater; 0 for a special-purpose label.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        (self.0 & action::RULE_MASK) >> action::RULE_SHIFT
    }

    /// How the next entry is to be taken: [`action::OPAQUE`] and so on.
    #[inline(always)]
    pub const fn next(self) -> u32 {
        self.0 & action::NEXT_MASK
    }
}

/// The value of `label` in a directory, 0 when it has none: two to four loads, whatever the policy
/// holds. Each form is written out: reckoning with the width of a number took twice the
/// instructions, 2 to 4 ns.
#[inline(always)]
fn find<I: Image>(image: &I, directory: I::Record, label: u32) -> u32 {
    let table = directory.word(label >> directory::TABLE_SHIFT);
    let page = (label >> directory::PAGE_SHIFT) % directory::TABLE_LEN;
    let word = image.at(table + page * 4).word(0);
    let form = word & directory::FORM_MASK;
    // The two commonest forms first, one comparison apart; the others by their numbers.
    if form <= directory::BITS {
        if form == directory::UNIFORM {
            return (word.cast_signed() >> directory::FORM_BITS).cast_unsigned();
        }
        const NUMBERS: u32 = directory::page_words(1);
        let page = image.at(word);
        let bit = page.word(label / u32::BITS % NUMBERS) >> (label % u32::BITS) & 1;
        return page.word(NUMBERS + bit);
    }
    match form {
        directory::BYTES => {
            const NUMBERS: u32 = directory::page_words(8);
            let page = image.at(word);
            page.word(NUMBERS + u32::from(page.byte(label % directory::PAGE_LABELS)))
        }
        directory::NIBBLES => {
            const NUMBERS: u32 = directory::page_words(4);
            let page = image.at(word);
            let number = page.word(label / 8 % NUMBERS) >> (label % 8 * 4) & 15;
            page.word(NUMBERS + number)
        }
        _ => image.at(word - directory::WORDS + label % directory::PAGE_LABELS * 4).word(0),
    }
}
