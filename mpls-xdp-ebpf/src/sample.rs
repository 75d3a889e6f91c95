//! Samples of refused frames, as the kernel program hands them to whoever captures.
//!
//! Both maps exist only while somebody captures: an array of [`Bucket`]s, one for each counter
//! slot, and a ring of [`Sample`]s. The capturing process fills the buckets. When it dies, they run
//! dry and the program stops taking samples by itself.

/// Bytes from the start of a frame that a sample has: the tags, the deepest label stack, and what
/// is behind it.
pub const CAPTURED: u32 = 256;

/// How many samples of one counter slot may still be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Bucket {
    /// Samples that may be taken; at 0 frames are only counted.
    pub tokens: u64,
    /// Samples that the ring had no room for.
    pub lost: u64,
}

/// Why a frame was refused, and where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Refusal {
    /// Number of the policy's generation.
    pub generation: u64,
    /// Slot of the interface that it came in on.
    pub interface: u32,
    /// Counter slot of the frame.
    pub counter: u32,
    /// [`crate::reason::Reason::code`], or behind these [`crate::reason::InterfaceReason::code`].
    pub reason: u32,
    /// 1 when the frame is dropped.
    pub dropped: u32,
    /// Position of the entry that decided, or [`crate::abi::NONE`].
    pub position: u32,
    /// Its label, or [`crate::abi::NONE`].
    pub label: u32,
}

/// A refused frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Sample {
    /// When it was refused: nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Why.
    pub refusal: Refusal,
    /// Length of the whole frame, in bytes.
    pub length: u32,
    /// How many of the bytes are the frame's; the others say nothing.
    pub captured: u32,
    /// Its first bytes.
    pub bytes: [u8; CAPTURED as usize],
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, integers only, no padding (asserted below).
    unsafe impl aya::Pod for super::Bucket {}
    // SAFETY: `repr(C)`, integers only, no padding (asserted below).
    unsafe impl aya::Pod for super::Sample {}
}

const _: () = {
    use core::mem::{offset_of, size_of};

    assert!(size_of::<Bucket>() == 16);
    assert!(size_of::<Refusal>() == 32);
    assert!(offset_of!(Sample, bytes) == 48);
    assert!(size_of::<Sample>() == 48 + CAPTURED as usize);
};
