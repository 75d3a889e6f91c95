//! Reads the tables of a compiled policy. An offset that leads out of the image reads as "refuse".

use crate::{
    abi::{self, directory, ingress, interface, profile, vlan_node},
    frame::Binding,
    policy::{Mode, Special, SpecialSet},
};

/// One generation of the policy, as 32-bit words.
pub trait Image {
    /// The word at `offset`; `None` outside the image.
    fn word(&self, offset: u32) -> Option<u32>;
}

impl Image for &[u32] {
    fn word(&self, offset: u32) -> Option<u32> {
        self.get(usize::try_from(offset).ok()?).copied()
    }
}

/// The mode of frames that have no ingress; `enforce` if the image cannot say.
#[inline(always)]
pub fn default_mode(image: &impl Image) -> Mode {
    mode(image.word(abi::header::DEFAULT_MODE) == Some(abi::MONITOR))
}

const fn mode(monitor: bool) -> Mode {
    if monitor { Mode::Monitor } else { Mode::Enforce }
}

/// What a label means on this router, worked out for a refusal only.
#[inline(always)]
pub fn given_out(image: &impl Image, label: u32) -> u32 {
    match image.word(abi::header::GIVEN_OUT) {
        Some(offset) => look_up(image, offset, label),
        None => 0,
    }
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
        match image.word(record + interface::NAMED) {
            Some(0) => Ok(None),
            Some(_) => Ok(Some(Self(record))),
            None => Err(UnknownInterface),
        }
    }

    /// Counter slot of the interface's first reason.
    #[inline(always)]
    pub fn counters(self, image: &impl Image) -> Option<u32> {
        image.word(self.0 + interface::COUNTERS)
    }

    /// The ingress that the tags of a frame bind it to.
    #[inline(always)]
    pub fn ingress(self, image: &impl Image, binding: Binding) -> Option<Ingress> {
        let root = self.0 + interface::ROOT;
        let node = match binding.len() {
            0 => root,
            1 => child(image, root, binding.outer())?,
            2 => child(image, child(image, root, binding.outer())?, binding.inner())?,
            _ => return None,
        };
        match image.word(node + vlan_node::INGRESS)? {
            0 => None,
            record => Ingress::read(image, record),
        }
    }
}

#[inline(always)]
fn child(image: &impl Image, node: u32, vid: u16) -> Option<u32> {
    let vid = u32::from(vid);
    let table = present(image.word(node + vlan_node::CHILDREN)?)?;
    let leaf = present(image.word(table.wrapping_add(vid >> vlan_node::SHIFT))?)?;
    Some(leaf.wrapping_add((vid & (vlan_node::FANOUT - 1)) * vlan_node::LEN))
}

#[inline(always)]
const fn present(offset: u32) -> Option<u32> {
    if offset == 0 { None } else { Some(offset) }
}

/// The record of an ingress, its profile read.
#[derive(Debug, Clone, Copy)]
pub struct Ingress {
    record: u32,
    profile: u32,
}

impl Ingress {
    #[inline(always)]
    fn read(image: &impl Image, record: u32) -> Option<Self> {
        let profile = image.word(record.wrapping_add(ingress::PROFILE))?;
        Some(Self { record, profile })
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

    /// The directory of the labels that are accepted here.
    #[inline(always)]
    pub fn directory(self, image: &impl Image) -> Option<u32> {
        self.field(image, ingress::DIRECTORY)
    }

    /// The counter slot of a rule.
    #[inline(always)]
    pub fn rule_counter(self, image: &impl Image, rule: u32) -> Option<u32> {
        let table = self.field(image, ingress::RULES)?;
        image.word(table.wrapping_add(rule))
    }

    /// The counter slot of the first reason.
    #[inline(always)]
    pub fn reason_counters(self, image: &impl Image) -> Option<u32> {
        self.field(image, ingress::REASONS)
    }
}

/// What a directory accepts a label as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(u32);

impl Action {
    /// The action of `label` in the directory at `directory`; `None` when it is not accepted.
    #[inline(always)]
    pub fn find(image: &impl Image, directory: u32, label: u32) -> Option<Self> {
        match look_up(image, directory, label) {
            0 => None,
            action => Some(Self(action)),
        }
    }

    /// The rule that accepts the label, 1 or greater.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        self.0 >> abi::ACTION_RULE_SHIFT
    }

    /// Whether this router pops the label and interprets the next entry.
    #[inline(always)]
    pub const fn pops(self) -> bool {
        self.0 & abi::ACTION_POPS != 0
    }
}

/// The value of `label` in the directory at `offset`, 0 when it has none. Two or three loads,
/// whatever the policy holds.
#[inline(always)]
fn look_up(image: &impl Image, offset: u32, label: u32) -> u32 {
    find(image, offset, label).unwrap_or(0)
}

#[inline(always)]
fn find(image: &impl Image, offset: u32, label: u32) -> Option<u32> {
    let place = label & (directory::PAGE_LABELS - 1);
    let word = image.word(offset.wrapping_add(label >> directory::PAGE_SHIFT))?;
    let operand = word >> directory::KIND_BITS;
    match word & directory::KIND_MASK {
        directory::UNIFORM => Some(operand),
        directory::BITMAP => {
            let bits = image.word(operand + 1 + (place >> 5))?;
            if bits >> (place & 31) & 1 == 0 {
                return Some(0);
            }
            image.word(operand)
        }
        directory::NARROW => {
            let pair = image.word(operand + (place >> 1))?;
            Some(pair >> ((place & 1) * 16) & 0xffff)
        }
        _ => image.word(operand + place),
    }
}
