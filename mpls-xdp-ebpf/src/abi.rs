//! The map ABI: what user space writes and the kernel program reads.
//!
//! A *generation* of the policy is one image: an array of 32-bit words that holds every table,
//! addressed by word offset, so that replacing the image replaces the whole policy at once. The
//! policy map has room for two, as [`policy_map`] says.
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
pub const ABI_VERSION: u32 = 3;

/// First word of every image: "MX" and the ABI version.
pub const MAGIC: u32 = 0x4d58_0000 | ABI_VERSION;

/// The policy map: one value with the words that rule it, and two images behind, of which one is
/// active while the other can be written.
pub mod policy_map {
    /// Where the active image begins, in bytes from the start of the value: the word that is
    /// switched. 0 where there is none.
    pub const ACTIVE: u32 = 0;
    /// What [`ACTIVE`] was when no frame could be judged by the image before any more.
    pub const SETTLED: u32 = 1;
    /// Not 0 while somebody samples refused frames.
    pub const SAMPLED: u32 = 2;
    /// How often an image began to be written. What was read of an image is whole if this stayed as
    /// it was.
    pub const WRITES: u32 = 3;
    /// Bytes in front of the first image: a line of the cache.
    pub const FIRST: u32 = 64;

    /// Where the second image begins, in bytes, when images have so many words.
    pub const fn second(image_words: u32) -> u32 {
        FIRST + image_words * 4
    }

    /// Bytes of a map for images of so many words.
    pub const fn bytes(image_words: u32) -> u32 {
        second(image_words) + image_words * 4
    }
}

/// 64-bit numbers in the program's instructions that the loader replaces, in every copy: by
/// addresses of maps and by numbers that are constant for the copy.
pub mod given {
    /// Address of the policy map.
    pub const POLICY: u64 = 0x4d58_4c44_0000_0001;
    /// Words of an image.
    pub const IMAGE_WORDS: u64 = 0x4d58_4c44_0000_0002;
    /// Where the second image begins: [`super::policy_map::second`].
    pub const SECOND_IMAGE: u64 = 0x4d58_4c44_0000_0003;
    /// Address of the counters.
    pub const COUNTERS: u64 = 0x4d58_4c44_0000_0004;
    /// Counters of a CPU.
    pub const COUNTER_SLOTS: u64 = 0x4d58_4c44_0000_0005;
    /// Counters of all CPUs.
    pub const COUNTERS_END: u64 = 0x4d58_4c44_0000_0006;
    /// [`super::interface_record`] of the copy's interface. It comes with the program because the
    /// frame's context names a bond's member, not the interface that the program is attached to.
    pub const INTERFACE: u64 = 0x4d58_4c44_0000_0007;
    /// Whether each verdict is written to the trace; the verifier removes the code when it is 0.
    pub const TRACING: u64 = 0x4d58_4c44_0000_0008;
}

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
    /// Offset of the table of [`super::vlan_node`]s of frames with tags, or 0.
    pub const CHILDREN: u32 = 2;
    /// The [`super::ingress`] record of untagged frames stands in here: the commonest frame finds
    /// it without a step in between.
    pub const UNTAGGED: u32 = 8;
    /// Words of a record: a line of the cache.
    pub const LEN: u32 = 16;
}

/// Offset of the record of an interface slot, in words; 0, where no record stands, when there is no
/// such slot.
pub const fn interface_record(slot: u32) -> u32 {
    if slot < INTERFACE_SLOTS { INTERFACES + slot * interface::LEN } else { 0 }
}

/// Words that every image has: those whose offsets are constants.
pub const FIXED_WORDS: u32 = INTERFACES + INTERFACE_SLOTS * interface::LEN;

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
    /// Role, mode, special-purpose labels and depth, packed by [`super::profile`]; 0 where no
    /// ingress is.
    pub const PROFILE: u32 = 0;
    /// Directory of the accepted labels: label → [`super::action`].
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

/// A label directory: one word for each page of labels. Its low bits say how the page is written,
/// the others are the offset of the page, or the value of all of its labels.
///
/// A page has one number a label, packed from the lowest bits of each word up. Numbers of a bit or
/// a byte stand for the values in the palette behind them; wider ones are the values. So a page
/// takes what its rules need, and pages of a large policy stay in the cache. The value of a label
/// is at most [`WIDEST`](directory::WIDEST); 0 is "not in here".
pub mod directory {
    /// Bits of a label that choose its place in a page.
    pub const PAGE_SHIFT: u32 = 11;
    /// Labels of a page.
    pub const PAGE_LABELS: u32 = 1 << PAGE_SHIFT;
    /// Words of a directory.
    pub const LEN: u32 = (crate::label_entry::LAST_LABEL + 1) >> PAGE_SHIFT;
    /// Bits of a directory word that say how the page is written; the others are its operand.
    pub const FORM_BITS: u32 = 2;
    /// Mask of the form.
    pub const FORM_MASK: u32 = (1 << FORM_BITS) - 1;
    /// The operand is the value of all labels of the page.
    pub const UNIFORM: u32 = 0;
    /// The operand is the offset of a page with a bit a label.
    pub const BITS: u32 = 1;
    /// The operand is the offset of a page with a byte a label.
    pub const BYTES: u32 = 2;
    /// The operand is the offset of a page with a word a label.
    pub const WORDS: u32 = 3;
    /// The greatest value: what the operand of [`UNIFORM`] holds.
    pub const WIDEST: u32 = u32::MAX >> FORM_BITS;
    /// The most values of a palette behind bytes. An image has as many words behind the last page,
    /// so that a page can be tested whole, however short its palette is.
    pub const PALETTE: u32 = 256;

    /// Words of the numbers of a page whose labels have `bits` bits each.
    pub const fn page_words(bits: u32) -> u32 {
        PAGE_LABELS / u32::BITS * bits
    }
}

/// What an ingress does with a label that it accepts; 0 is "refuse".
pub mod action {
    /// How the next entry is to be taken: one of the values below.
    pub const NEXT_MASK: u32 = 3;
    /// It belongs to another router.
    pub const OPAQUE: u32 = 0;
    /// This router interprets it: the label is popped, or says so.
    pub const EXPOSED: u32 = 1;
    /// It is an entropy label.
    pub const ENTROPY_LABEL: u32 = 2;
    /// It is an extended special-purpose label.
    pub const EXTENDED_LABEL: u32 = 3;
    /// Bit: the label must not be at the bottom of the stack.
    pub const NEVER_AT_BOTTOM: u32 = 1 << 2;
    /// Shift of the rule, 1 or greater; 0 for a special-purpose label.
    pub const RULE_SHIFT: u32 = 3;
}

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

/// The most counters that a CPU can have: enough for two policies of 4,096 ingresses and 65,536
/// rules that have no name in common and follow each other, and for the rules of a third whose
/// last packets are still to be counted.
pub const COUNTER_SLOTS: u32 = 512 << 10;

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
    assert!(size_of::<Trace>() == 24);
    assert!(offset_of!(Trace, counter) == 20);
    assert!(directory::LEN == 512);
    assert!(interface::UNTAGGED + ingress::LEN <= interface::LEN);
    assert!((65_537 << action::RULE_SHIFT) <= directory::WIDEST);
    assert!(vlan_node::FANOUT * vlan_node::FANOUT == 4096);
    assert!(2 * (4096 * (REASON_SLOTS + 1) + 65_536 + 512) + 65_536 <= COUNTER_SLOTS);
};
