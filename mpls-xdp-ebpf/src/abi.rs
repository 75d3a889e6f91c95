//! The map ABI: what user space writes and the kernel program reads.
//!
//! A *generation* of the policy is one image: an array of 32-bit words that holds every table, so
//! that replacing the image replaces the whole policy at once. The policy map has room for two, as
//! [`policy_map`] says. What stands in an image is found by its *place*: bytes from the start, of
//! which the low two bits do not count.
//!
//! | place | content |
//! |---|---|
//! | 0 | zeros |
//! | [`HEADER`] | [`header`] |
//! | [`INTERFACES`] | [`INTERFACE_SLOTS`] × [`interface`] |
//! | anywhere behind | [`ingress`] records, VLAN tables, rule tables, tables of a [`directory`], pages |
//! | last | the manifest: bytes that only user space reads |
//!
//! Place 0 stands for "nothing there", and nobody has to ask: the zeros are as long as the longest
//! table, and read as "no ingress" and "no label is acceptable" all the way.

/// Raised with every change that makes an older program or loader misread a map.
pub const ABI_VERSION: u32 = 5;

/// First word of every header: "MX" and the ABI version.
pub const MAGIC: u32 = 0x4d58_0000 | ABI_VERSION;

/// The policy map: one value with the words that rule it, and two images behind, of which one is
/// active while the other can be written.
pub mod policy_map {
    /// Where the active image begins, in bytes from the first one: 0, or what [`SECOND`] says. The
    /// word that is switched.
    pub const ACTIVE: u32 = 0;
    /// What [`ACTIVE`] was when no frame could be judged by the image before any more.
    pub const SETTLED: u32 = 1;
    /// Not 0 while somebody samples refused frames.
    pub const SAMPLED: u32 = 2;
    /// How often an image began to be written. What was read of an image is whole if this stayed as
    /// it was.
    pub const WRITES: u32 = 3;
    /// Where the second image begins, in bytes from the first one.
    pub const SECOND: u32 = 4;
    /// Bytes in front of the first image: a line of the cache.
    pub const FIRST: u32 = 64;
    /// Bytes that may be read from a place: those of the longest page.
    const READ: u32 = 4 * (super::directory::page_words(8) + super::directory::PALETTE);

    /// Where the second image begins, in bytes from the first one, when images have so many words.
    pub const fn second(image_words: u32) -> u32 {
        image_words * 4
    }

    /// The bits of a place in an image of so many words. The program cuts a place to them, in one
    /// instruction, where a test would take three; the verifier sees that it stays in the map.
    pub const fn place_mask(image_words: u32) -> u32 {
        image_words.next_power_of_two() * 4 - 4
    }

    /// Bytes of a map for images of so many words.
    pub const fn bytes(image_words: u32) -> u32 {
        FIRST + second(image_words) + place_mask(image_words) + READ
    }
}

/// Numbers in the program's instructions that the loader replaces, in every copy.
pub mod given {
    /// A 64-bit number: the address of the policy map.
    pub const POLICY: u64 = 0x4d58_4c44_0000_0001;
    /// A 64-bit number: the address of the counters.
    pub const COUNTERS: u64 = 0x4d58_4c44_0000_0002;

    /// Operands of 32 bits, constants for the verifier: [`super::policy_map::place_mask`].
    pub const PLACE_MASK: i32 = 0x4d58_4c01;
    /// [`super::policy_map::second`], all bits that [`super::policy_map::ACTIVE`] can have.
    pub const SECOND_IMAGE: i32 = 0x4d58_4c02;
    /// Counters of a CPU.
    pub const COUNTER_SLOTS: i32 = 0x4d58_4c03;
    /// The bits of the number of a counter among those of all CPUs.
    pub const COUNTER_MASK: i32 = 0x4d58_4c04;
    /// [`super::interface_record`] of the copy's interface. It comes with the program because the
    /// frame's context names a bond's member, not the interface that the program is attached to.
    pub const INTERFACE: i32 = 0x4d58_4c05;
    /// Whether each verdict is written to the trace; the verifier removes the code when it is 0.
    pub const TRACING: i32 = 0x4d58_4c06;
}

/// Place of the header: behind the zeros.
pub const HEADER: u32 = 4 * ZEROS;

/// Words of the zeros: as many as the longest table has that is looked for at place 0.
const ZEROS: u32 = vlan_node::FANOUT * vlan_node::LEN;

/// Offsets in the header, in words.
pub mod header {
    /// [`super::MAGIC`].
    pub const MAGIC: u32 = 0;
    /// Mode for frames without an ingress: [`super::ENFORCE`] or [`super::MONITOR`].
    pub const DEFAULT_MODE: u32 = 1;
    /// Number of the generation, low and high word.
    pub const GENERATION: u32 = 2;
    /// Place of the manifest.
    pub const MANIFEST: u32 = 4;
    /// Length of the manifest, in bytes.
    pub const MANIFEST_LEN: u32 = 5;
    /// The [`super::directory`] of what this router gave out: label → [`super::GIVEN`],
    /// [`super::GIVEN_VRF`].
    pub const GIVEN_OUT: u32 = 16;
    /// Words of the header.
    pub const LEN: u32 = 32;
}

/// A mode word: refused frames are dropped.
pub const ENFORCE: u32 = 0;
/// A mode word: refused frames pass and are counted.
pub const MONITOR: u32 = 1;

/// Place of the interface table.
pub const INTERFACES: u32 = HEADER + 4 * header::LEN;
/// Slots of the interface table: twice the 256 interfaces of a policy, so that all of them can
/// leave and as many join in one swap.
pub const INTERFACE_SLOTS: u32 = 512;

/// Offsets in an interface record, in words.
pub mod interface {
    /// 0 when the generation does not name the interface.
    pub const NAMED: u32 = 0;
    /// Counter slot of `ingress_unbound`; `vlan_too_deep` has the next one.
    pub const COUNTERS: u32 = 1;
    /// Place of the table of [`super::vlan_node`]s of frames with tags, or 0.
    pub const CHILDREN: u32 = 2;
    /// The [`super::ingress`] record of untagged frames stands in here: the commonest frame finds
    /// it without a step in between.
    pub const UNTAGGED: u32 = 4;
    /// Words of a record.
    pub const LEN: u32 = UNTAGGED + super::ingress::LEN;
}

/// Place of the record of an interface slot; `None` when there is no such slot.
pub const fn interface_record(slot: u32) -> Option<u32> {
    if slot < INTERFACE_SLOTS { Some(INTERFACES + slot * interface::LEN * 4) } else { None }
}

/// Words of the greatest image: the verifier bounds an offset into a map value to 2^29 bytes, and a
/// policy map is two images and a little more.
pub const MOST_WORDS: u32 = (1 << 26) - 1024;

/// Words that every image has: the zeros, the header and the interface table.
pub const FIXED_WORDS: u32 = INTERFACES / 4 + INTERFACE_SLOTS * interface::LEN;

/// Where a frame's VLAN IDs lead. A table of children has [`FANOUT`](vlan_node::FANOUT) places
/// of leaves, and a leaf as many nodes: VID 0xabc is node 0x3c of leaf 0x2a.
pub mod vlan_node {
    /// Place of the [`super::ingress`] record bound here, or 0.
    pub const INGRESS: u32 = 0;
    /// Place of the table of children for one more tag, or 0.
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
    /// Place of the table of counter slots by rule; rule 0 is `special`.
    pub const RULES: u32 = 1;
    /// Counter slot of the first reason; each has two, see [`super::reason_slot`].
    pub const REASONS: u32 = 2;
    /// The ingress's number in the policy.
    pub const NUMBER: u32 = 3;
    /// The [`super::directory`] of the accepted labels: label → [`super::action`]. It stands in
    /// here: a frame finds its table without a step in between.
    pub const DIRECTORY: u32 = 4;
    /// Words of a record.
    pub const LEN: u32 = DIRECTORY + super::directory::LEN;
}

/// Bits of an ingress's profile word.
pub mod profile {
    /// Role `peer` or `core`: labelled frames may be accepted.
    pub const LABELLED: u32 = 1 << 0;
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

/// A label directory: places of tables, each of which has one word for each of its pages of labels.
/// A directory of few labels is little more than the pages that they are on.
///
/// The low bits of a table's word say how the page is written; the word is the place of the page, or
/// it has the value of all of its labels. A page has one number a label, packed from the lowest bits
/// of each word up. Numbers that are narrower than a word stand for the values in the palette behind
/// them; words are the values. So a page takes what its rules need, and pages of a large policy stay
/// in the cache. The value of a label is 0, "not in here", or anything else of 29 bits, the highest
/// of which is copied to the left.
pub mod directory {
    /// Bits of a label that choose its page and its place in it; those above choose the table.
    pub const TABLE_SHIFT: u32 = 16;
    /// Words of a directory.
    pub const LEN: u32 = (crate::label_entry::LAST_LABEL + 1) >> TABLE_SHIFT;
    /// Bits of a label that choose its place in a page.
    pub const PAGE_SHIFT: u32 = 11;
    /// Labels of a page.
    pub const PAGE_LABELS: u32 = 1 << PAGE_SHIFT;
    /// Pages of a table, and its words.
    pub const TABLE_LEN: u32 = 1 << (TABLE_SHIFT - PAGE_SHIFT);
    /// Bits of a table's word that say how the page is written, 0 in the place of every page.
    pub const FORM_BITS: u32 = 3;
    /// Mask of the form.
    pub const FORM_MASK: u32 = (1 << FORM_BITS) - 1;
    /// The other bits are the value of all labels of the page.
    pub const UNIFORM: u32 = 0;
    /// The page has a bit a label.
    pub const BITS: u32 = 1;
    /// The page has a byte a label.
    pub const BYTES: u32 = 2;
    /// The page has four bits a label.
    pub const NIBBLES: u32 = 3;
    /// The page has a word a label. The one form that [`super::policy_map::place_mask`] leaves in the
    /// place, so it must be taken off.
    pub const WORDS: u32 = 4;
    /// The most values of a palette behind bytes.
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
    /// Shift of the rule, 1 or greater; 0 for a special-purpose label.
    pub const RULE_SHIFT: u32 = 2;
    /// Mask of the rule.
    pub const RULE_MASK: u32 = 0x0fff_fffc;
    /// The label must not be at the bottom of the stack. It makes the action a negative number, so
    /// that what is accepted at the bottom is a positive one.
    pub const NEVER_AT_BOTTOM: u32 = 0xf000_0000;
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

/// The slot of a reason's code, from the slot of the first one: drops and would-drops are apart because
/// a change of mode keeps both.
pub const fn reason_slot(first: u32, code: u32, monitored: bool) -> u32 {
    first + code * 2 + monitored as u32
}

/// "None" in the fields of a [`Trace`].
pub const NONE: u32 = u32::MAX;

/// What the program decided about one frame and why: worked out for samples, and written to a map by
/// programs that were loaded with tracing on.
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
    assert!(directory::LEN == 16 && directory::TABLE_LEN == 32);
    // A place keeps the bits above the lowest two.
    assert!(directory::WORDS.is_multiple_of(4) && directory::NIBBLES < 4);
    assert!(action::NEVER_AT_BOTTOM.cast_signed() >> 28 == -1);
    assert!((65_537 << action::RULE_SHIFT) <= action::RULE_MASK);
    assert!(action::RULE_MASK & (action::NEXT_MASK | action::NEVER_AT_BOTTOM) == 0);
    assert!(vlan_node::FANOUT * vlan_node::FANOUT == 4096);
    assert!(policy_map::bytes(MOST_WORDS) < 1 << 29);
    assert!(directory::TABLE_LEN <= ZEROS && interface::LEN <= ZEROS);
    assert!(HEADER.is_multiple_of(64) && INTERFACES.is_multiple_of(64));
    assert!(2 * (4096 * (REASON_SLOTS + 1) + 65_536 + 512) + 65_536 <= COUNTER_SLOTS);
};
