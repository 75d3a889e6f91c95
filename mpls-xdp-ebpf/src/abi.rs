//! The map ABI: what user space writes and the kernel program reads.
//!
//! A *generation* of the policy is one image: an array of 32-bit words that holds every table,
//! addressed by word offset, so that replacing the image replaces the whole policy at once.
//!
//! | words | content |
//! |---|---|
//! | 0.. | [`header`] |
//! | [`INTERFACES`].. | [`INTERFACE_SLOTS`] × [`interface`] |
//! | anywhere behind | [`ingress`] records, VLAN tables, rule tables, label directories, pages |
//! | last | the manifest: bytes that only user space reads |
//!
//! Offset 0 lies in the header, so it stands for "nothing there" wherever a table is optional.

/// Raised with every change that makes an older program or loader misread a map.
pub const ABI_VERSION: u32 = 1;

/// First word of every image: "MX" and the ABI version.
pub const MAGIC: u32 = 0x4d58_0000 | ABI_VERSION;

/// Words of the image that the object file declares; the loader overrides it with the real size.
/// No other array of the object may have this length: the loader finds it by its value.
pub const TEMPLATE_WORDS: usize = 0x2b5d;

/// Offsets in the header, in words.
pub mod header {
    /// [`super::MAGIC`].
    pub const MAGIC: u32 = 0;
    /// Mode for frames without an ingress: [`super::ENFORCE`] or [`super::MONITOR`].
    pub const DEFAULT_MODE: u32 = 1;
    /// Directory of what this router gave out: label → [`super::GIVEN`], [`super::GIVEN_VRF`].
    pub const GIVEN_OUT: u32 = 2;
    /// Number of the generation, low and high word.
    pub const GENERATION: u32 = 3;
    /// Offset of the manifest, in words.
    pub const MANIFEST: u32 = 5;
    /// Length of the manifest, in bytes.
    pub const MANIFEST_LEN: u32 = 6;
    /// Words of the header.
    pub const LEN: u32 = 16;
}

/// A mode word: refused frames are dropped.
pub const ENFORCE: u32 = 0;
/// A mode word: refused frames pass and are counted.
pub const MONITOR: u32 = 1;

/// Offset of the interface table, in words.
pub const INTERFACES: u32 = header::LEN;
/// Slots of the interface table: twice the 256 interfaces of a policy, so that all of them can
/// leave and as many join in one swap.
pub const INTERFACE_SLOTS: u32 = 512;

/// Offsets in an interface record, in words.
pub mod interface {
    /// 0 when the generation does not name the interface.
    pub const NAMED: u32 = 0;
    /// Counter slot of `ingress_unbound`; `vlan_too_deep` has the next one.
    pub const COUNTERS: u32 = 1;
    /// The [`super::vlan_node`] of untagged frames.
    pub const ROOT: u32 = 2;
    /// Words of a record.
    pub const LEN: u32 = 4;
}

/// Where a frame's VLAN IDs lead. A table of children has [`FANOUT`](vlan_node::FANOUT) offsets
/// of leaves, and a leaf as many nodes: VID 0xabc is node 0x3c of leaf 0x2a.
pub mod vlan_node {
    /// Offset of the [`super::ingress`] record bound here, or 0.
    pub const INGRESS: u32 = 0;
    /// Offset of the table of children for one more tag, or 0.
    pub const CHILDREN: u32 = 1;
    /// Words of a node.
    pub const LEN: u32 = 2;
    /// Leaves of a table, and nodes of a leaf.
    pub const FANOUT: u32 = 64;
    /// Bits of a VID that choose the node in a leaf.
    pub const SHIFT: u32 = 6;
}

/// Offsets in an ingress record, in words.
pub mod ingress {
    /// Role, mode, special-purpose labels and depth, packed by [`super::profile`].
    pub const PROFILE: u32 = 0;
    /// Directory of the accepted labels: label → action.
    pub const DIRECTORY: u32 = 1;
    /// Table of counter slots by rule; rule 0 is `special`.
    pub const RULES: u32 = 2;
    /// Counter slot of the first reason; each has two, see [`super::reason_slot`].
    pub const REASONS: u32 = 3;
    /// The ingress's number in the policy.
    pub const NUMBER: u32 = 4;
    /// Words of a record.
    pub const LEN: u32 = 8;
}

/// Bits of an ingress's profile word.
pub mod profile {
    /// Role `customer`.
    pub const CUSTOMER: u32 = 1 << 0;
    /// Mode `monitor`.
    pub const MONITOR: u32 = 1 << 1;
    /// `inner = "validate"`.
    pub const VALIDATE: u32 = 1 << 2;
    /// Shift of the six bits of [`crate::policy::SpecialSet`].
    pub const SPECIAL_SHIFT: u32 = 8;
    /// Shift of the greatest depth, 1 to 32.
    pub const DEPTH_SHIFT: u32 = 16;
    /// Mask of the depth behind its shift.
    pub const DEPTH_MASK: u32 = 0x3f;
}

/// A label directory: one word for each page of labels, whose low bits say how it goes on.
///
/// The value of a label is at most [`directory::WIDEST`] and 0 means "not in here".
pub mod directory {
    /// Bits of a label that choose its place in a page.
    pub const PAGE_SHIFT: u32 = 11;
    /// Labels of a page.
    pub const PAGE_LABELS: u32 = 1 << PAGE_SHIFT;
    /// Words of a directory.
    pub const LEN: u32 = (crate::label_entry::LAST_LABEL + 1) >> PAGE_SHIFT;
    /// Bits of a directory word that choose the kind; the others are its operand.
    pub const KIND_BITS: u32 = 2;
    /// Mask of the kind.
    pub const KIND_MASK: u32 = (1 << KIND_BITS) - 1;
    /// The operand is the value of all labels of the page.
    pub const UNIFORM: u32 = 0;
    /// The operand is the offset of one value and a bit a label that has it.
    pub const BITMAP: u32 = 1;
    /// The operand is the offset of 16 bits a label.
    pub const NARROW: u32 = 2;
    /// The operand is the offset of 32 bits a label.
    pub const WIDE: u32 = 3;
    /// Words of a bitmap page: the value, and the bits.
    pub const BITMAP_LEN: u32 = 1 + PAGE_LABELS / 32;
    /// Words of a narrow page.
    pub const NARROW_LEN: u32 = PAGE_LABELS / 2;
    /// Words of a wide page.
    pub const WIDE_LEN: u32 = PAGE_LABELS;
    /// The greatest value: what the operand of [`UNIFORM`] holds.
    pub const WIDEST: u32 = u32::MAX >> KIND_BITS;
}

/// Bit of an action: the router pops the label and looks the next entry up itself.
pub const ACTION_POPS: u32 = 1;
/// Shift of an action's rule, 1 or greater.
pub const ACTION_RULE_SHIFT: u32 = 1;

/// Value of [`header::GIVEN_OUT`]: in a context or in an ingress's own labels.
pub const GIVEN: u32 = 1;
/// Value of [`header::GIVEN_OUT`]: in a `vrf` context.
pub const GIVEN_VRF: u32 = 2;

/// Frames and bytes that took one way through the filter, on one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Counter {
    /// Frames.
    pub packets: u64,
    /// Whole frames' lengths, in bytes.
    pub bytes: u64,
}

/// Counters in one map value.
pub const BLOCK_COUNTERS: u32 = 16;
/// Map values in one chunk of counters.
pub const CHUNK_BLOCKS: u32 = 64;
/// Chunks that the counters can grow to: enough for two policies of 4,096 ingresses and 65,536
/// rules that have no name in common and follow each other, and for the rules of a third whose
/// last packets are still to be counted.
pub const COUNTER_CHUNKS: u32 = 512;

/// Counters in one chunk.
pub const CHUNK_COUNTERS: u32 = BLOCK_COUNTERS * CHUNK_BLOCKS;

/// One value of a chunk of counters.
pub type CounterBlock = [Counter; BLOCK_COUNTERS as usize];

/// Counter slots that the reasons of an ingress take.
pub const REASON_SLOTS: u32 = crate::reason::Reason::COUNT * 2;

/// The slot of a reason, from the slot of the first one: drops and would-drops are apart because
/// a change of mode keeps both.
pub const fn reason_slot(first: u32, reason: crate::reason::Reason, monitored: bool) -> u32 {
    first + reason.code() * 2 + monitored as u32
}

/// "None" in the fields of a [`Trace`].
pub const NONE: u32 = u32::MAX;

/// What the program decided about one frame and why; written only by programs that were loaded
/// with tracing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Trace {
    /// 1 when the frame is dropped.
    pub dropped: u32,
    /// [`crate::reason::Reason::code`], or behind these [`crate::reason::InterfaceReason::code`].
    pub reason: u32,
    /// Number of the ingress.
    pub ingress: u32,
    /// Position of the entry that decided.
    pub position: u32,
    /// Its label.
    pub label: u32,
    /// Counter slot of the frame.
    pub counter: u32,
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, integers only, no padding (asserted below).
    unsafe impl aya::Pod for super::Counter {}
    // SAFETY: `repr(C)`, integers only, no padding (asserted below).
    unsafe impl aya::Pod for super::Trace {}
}

const _: () = {
    use core::mem::{offset_of, size_of};

    assert!(size_of::<Counter>() == 16);
    assert!(offset_of!(Counter, bytes) == 8);
    assert!(size_of::<CounterBlock>() == 256);
    assert!(size_of::<Trace>() == 24);
    assert!(offset_of!(Trace, counter) == 20);
    assert!(directory::LEN == 512);
    assert!(vlan_node::FANOUT * vlan_node::FANOUT == 4096);
    assert!(((INTERFACES + INTERFACE_SLOTS * interface::LEN) as usize) < TEMPLATE_WORDS);
    assert!(
        2 * (4096 * (REASON_SLOTS + 1) + 65_536 + 512) + 65_536 <= COUNTER_CHUNKS * CHUNK_COUNTERS
    );
};
