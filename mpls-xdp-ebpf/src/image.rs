//! Reads the tables of a compiled policy. An offset that leads out of the image reads as "refuse".

use crate::{
    abi::{self, action, directory, ingress, interface, profile, vlan_node},
    frame::Binding,
    policy::{Mode, Special, SpecialSet},
};

/// One generation of the policy, as 32-bit words.
pub trait Image: Copy {
    /// The word at `offset`; `None` outside the image.
    fn word(&self, offset: u32) -> Option<u32>;

    /// The word at an offset below [`abi::FIXED_WORDS`], which every image has.
    fn fixed(&self, offset: u32) -> u32;
}

impl Image for &[u32] {
    fn word(&self, offset: u32) -> Option<u32> {
        self.get(usize::try_from(offset).ok()?).copied()
    }

    fn fixed(&self, offset: u32) -> u32 {
        self.word(offset).unwrap_or(0)
    }
}

/// The mode of frames that have no ingress; `enforce` if the image cannot say.
#[inline(always)]
pub fn default_mode(image: &impl Image) -> Mode {
    mode(image.fixed(abi::header::DEFAULT_MODE) == abi::MONITOR)
}

const fn mode(monitor: bool) -> Mode {
    if monitor { Mode::Monitor } else { Mode::Enforce }
}

/// What a label means on this router, worked out for a refusal only.
#[inline(always)]
pub fn given_out(image: &impl Image, label: u32) -> u32 {
    find(image, image.fixed(abi::header::GIVEN_OUT), label).unwrap_or(0)
}

/// A slot that the image has no record of: the program cannot tell its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownInterface;

/// The record of an interface slot.
#[derive(Debug, Clone, Copy)]
pub struct Interface(u32);

impl Interface {
    /// The record of `slot`; `Ok(None)` when the generation does not name the interface.
    ///
    /// # Errors
    ///
    /// When there is no such slot.
    #[inline(always)]
    pub fn find(image: &impl Image, slot: u32) -> Result<Option<Self>, UnknownInterface> {
        if slot >= abi::INTERFACE_SLOTS {
            return Err(UnknownInterface);
        }
        let record = abi::INTERFACES + slot * interface::LEN;
        Ok((image.fixed(record + interface::NAMED) != 0).then_some(Self(record)))
    }

    /// Counter slot of the interface's first reason.
    #[inline(always)]
    pub fn counters(self, image: &impl Image) -> u32 {
        image.fixed(self.0 + interface::COUNTERS)
    }

    /// The ingress that the tags of a frame bind it to.
    #[inline(always)]
    pub fn ingress(self, image: &impl Image, binding: Binding) -> Option<Ingress> {
        let children = || present(image.fixed(self.0 + interface::CHILDREN));
        let node = match binding.len() {
            0 => return self.untagged(image),
            1 => child(image, children()?, binding.outer())?,
            2 => {
                let outer = child(image, children()?, binding.outer())?;
                let children = present(image.word(outer + vlan_node::CHILDREN)?)?;
                child(image, children, binding.inner())?
            }
            _ => return None,
        };
        Ingress::read(image, present(image.word(node + vlan_node::INGRESS)?)?)
    }

    #[inline(always)]
    fn untagged(self, image: &impl Image) -> Option<Ingress> {
        let record = self.0 + interface::UNTAGGED;
        let field = |field| image.fixed(record + field);
        Some(Ingress {
            record,
            profile: present(field(ingress::PROFILE))?,
            directory: field(ingress::DIRECTORY),
            rules: field(ingress::RULES),
        })
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

/// The record of an ingress, with what an accepted frame needs of it.
#[derive(Debug, Clone, Copy)]
pub struct Ingress {
    record: u32,
    profile: u32,
    directory: u32,
    rules: u32,
}

impl Ingress {
    #[inline(always)]
    fn read(image: &impl Image, record: u32) -> Option<Self> {
        let field = |field| image.word(record.wrapping_add(field));
        Some(Self {
            record,
            profile: present(field(ingress::PROFILE)?)?,
            directory: field(ingress::DIRECTORY)?,
            rules: field(ingress::RULES)?,
        })
    }

    #[inline(always)]
    fn field(self, image: &impl Image, field: u32) -> Option<u32> {
        image.word(self.record.wrapping_add(field))
    }

    /// Role `customer`: no labelled frame is accepted.
    #[inline(always)]
    pub const fn is_customer(self) -> bool {
        self.profile & profile::CUSTOMER != 0
    }

    /// `inner = "validate"`: every entry is examined.
    #[inline(always)]
    pub const fn validates(self) -> bool {
        self.profile & profile::VALIDATE != 0
    }

    /// Whether a special-purpose label is allowed here.
    #[inline(always)]
    pub const fn allows(self, special: Special) -> bool {
        SpecialSet::from_bits(self.profile >> profile::SPECIAL_SHIFT).allows(special)
    }

    /// How many label entries a stack may have, 1 to 32.
    #[inline(always)]
    pub const fn max_depth(self) -> u32 {
        self.profile >> profile::DEPTH_SHIFT & profile::DEPTH_MASK
    }

    /// What becomes of a refused frame.
    #[inline(always)]
    pub const fn mode(self) -> Mode {
        mode(self.profile & profile::MONITOR != 0)
    }

    /// The ingress's number in the policy.
    #[inline(always)]
    pub fn number(self, image: &impl Image) -> u32 {
        self.field(image, ingress::NUMBER).unwrap_or(abi::NONE)
    }

    /// What is done here with a label that is examined.
    #[inline(always)]
    pub fn action(self, image: &impl Image, label: u32) -> Action {
        Action(find(image, self.directory, label).unwrap_or(Action::REFUSE))
    }

    /// The counter slot of a rule.
    #[inline(always)]
    pub fn rule_counter(self, image: &impl Image, rule: u32) -> Option<u32> {
        image.word(self.rules.wrapping_add(rule))
    }

    /// The counter slot of the first reason.
    #[inline(always)]
    pub fn reason_counters(self, image: &impl Image) -> Option<u32> {
        self.field(image, ingress::REASONS)
    }
}

/// What an ingress does with a label that is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(u32);

impl Action {
    const REFUSE: u32 = 0;

    /// Whether an entry with the label is accepted, at the bottom of the stack or above it.
    #[inline(always)]
    pub const fn accepts(self, at_bottom: bool) -> bool {
        self.0 != Self::REFUSE && !(at_bottom && self.0 & action::NEVER_AT_BOTTOM != 0)
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
/// whatever the policy holds.
#[inline(always)]
fn find(image: &impl Image, offset: u32, label: u32) -> Option<u32> {
    let word = image.word(offset.wrapping_add(label >> directory::PAGE_SHIFT))?;
    let operand = word >> directory::WIDTH_BITS;
    let width = word & directory::WIDTH_MASK;
    if width == directory::UNIFORM {
        return Some(operand);
    }
    // The binary logarithm of the bits that a label has in the page.
    let log = width - 1;
    let at = (label & (directory::PAGE_LABELS - 1)) << log;
    let numbers = image.word(operand + at / u32::BITS)?;
    let number = numbers.wrapping_shr(at) & (u32::MAX.wrapping_shr(u32::BITS - (1 << log)));
    if log > directory::PALETTE_BITS.ilog2() {
        return Some(number);
    }
    image.word(operand + (directory::page_words(1) << log) + number)
}
