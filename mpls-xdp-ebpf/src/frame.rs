//! From the bytes of a frame to its VLAN tags and its label stack.

use core::{mem::offset_of, ops::ControlFlow};

use network_types::{
    eth::{EthHdr, EtherType},
    mpls::Mpls,
    vlan::VlanHdr,
};

/// Type of a frame with downstream-assigned labels (RFC 3032 §5, RFC 5332 §3).
pub const MPLS: u16 = 0x8847;
/// Type of a frame with upstream-assigned labels (RFC 5332 §3).
pub const MPLS_UPSTREAM: u16 = 0x8848;
/// How many VLAN tags are walked; a further one is `vlan_too_deep`.
pub const MAX_TAGS: usize = 4;

/// Bytes up to the type behind the greatest number of tags, and the first label stack entry.
pub const MAX_HEADERS: usize = EthHdr::LEN + MAX_TAGS * VlanHdr::LEN + LABEL_ENTRY_LEN;

/// Bytes that a label stack entry takes in the frame.
pub const LABEL_ENTRY_LEN: usize = Mpls::LEN;

const IEEE_802_1Q: u16 = u16::from_be(EtherType::Ieee8021q as u16);
const IEEE_802_1AD: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
const QINQ_9100: u16 = u16::from_be(EtherType::Ieee8021QinQ1 as u16);

/// The low 12 bits of a tag's control information.
const VID_MASK: u16 = 0x0fff;

/// Reads a received frame. An offset counts bytes from the destination address; a read is `None`
/// exactly when the frame ends before it is complete.
pub trait Frame: Copy {
    /// The 16 bits at `offset`, in network order.
    fn be16(&self, offset: usize) -> Option<u16>;
    /// The 32 bits at `offset`, in network order.
    fn be32(&self, offset: usize) -> Option<u32>;
    /// Steps through label entries that are examined, until [`Walk::step`] says so.
    fn walk(walk: &mut impl Walk);
    /// The same for entries of which only S matters.
    fn skim(walk: &mut impl Walk);
}

/// A walk over label entries. The kernel program examines entries by `bpf_loop` (Linux 5.17) where
/// they are many, so that the verifier looks at one step and not at the 31st power of it.
pub trait Walk {
    /// Takes a step, of which there were so many before; whether the walk is over.
    fn step(&mut self, step: u32) -> bool;
}

/// How many steps a walk below the first entry has at most: as many as entries can be accepted.
pub const STEPS: u32 = 32;

impl Frame for &[u8] {
    fn be16(&self, offset: usize) -> Option<u16> {
        let bytes = self.get(offset..)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    }

    fn be32(&self, offset: usize) -> Option<u32> {
        let bytes = self.get(offset..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }

    fn walk(walk: &mut impl Walk) {
        (0..STEPS).any(|step| walk.step(step));
    }

    fn skim(walk: &mut impl Walk) {
        Self::walk(walk);
    }
}

/// Offset of the type of an untagged frame.
pub const ETHER_TYPE: usize = offset_of!(EthHdr, ether_type);

/// Offset of the first label entry of an untagged frame.
pub const UNTAGGED_STACK: usize = EthHdr::LEN;

impl Framing {
    /// An untagged frame of type [`MPLS`].
    pub const UNTAGGED: Self = Self::Mpls {
        binding: Binding { vids: [0; 2], len: 0 },
        upstream: false,
        stack: UNTAGGED_STACK,
    };
}

/// The VLAN IDs that bind a frame to an ingress: the non-zero ones, outer to inner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Binding {
    vids: [u16; 2],
    len: u8,
}

impl Binding {
    /// Adds a tag's VLAN ID; 0 is a priority tag (IEEE 802.1Q §9.6) and binds nothing.
    const fn push(&mut self, vid: u16) {
        if vid == 0 {
            return;
        }
        match self.len {
            0 => self.vids[0] = vid,
            1 => self.vids[1] = vid,
            _ => {}
        }
        self.len += 1;
    }

    /// How many non-zero VLAN IDs the frame has, 0 to 4.
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether the frame is untagged, or has priority tags only.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The outer VLAN ID; 0 when there is none.
    pub const fn outer(self) -> u16 {
        self.vids[0]
    }

    /// The inner VLAN ID; 0 when there is none.
    pub const fn inner(self) -> u16 {
        self.vids[1]
    }
}

/// What the bytes before the payload say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Another protocol, or a frame that ends before its type is complete.
    Other,
    /// A fifth tag follows four.
    VlanTooDeep,
    /// A label stack follows.
    Mpls {
        /// The tags in front of it.
        binding: Binding,
        /// Type 0x8848.
        upstream: bool,
        /// Offset of the first label stack entry.
        stack: usize,
    },
}

/// Whether a tag follows the type.
#[inline(always)]
pub const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, IEEE_802_1Q | IEEE_802_1AD | QINQ_9100)
}

/// Walks the VLAN tags up to the frame's type.
#[inline(always)]
pub fn parse(frame: &impl Frame) -> Framing {
    match walk_tags(frame) {
        ControlFlow::Break(framing) => framing,
        ControlFlow::Continue(()) => Framing::VlanTooDeep,
    }
}

/// Written out, because the verifier of Linux 6.1 takes no loop that a call stands in.
#[inline(always)]
fn walk_tags(frame: &impl Frame) -> ControlFlow<Framing> {
    let mut binding = Binding::default();
    walk_tag(frame, 0, &mut binding)?;
    walk_tag(frame, 1, &mut binding)?;
    walk_tag(frame, 2, &mut binding)?;
    walk_tag(frame, 3, &mut binding)?;
    walk_tag(frame, MAX_TAGS, &mut binding)
}

/// Reads the type behind `tags` tags, and the tag that it may announce.
#[inline(always)]
fn walk_tag(frame: &impl Frame, tags: usize, binding: &mut Binding) -> ControlFlow<Framing> {
    let at = ETHER_TYPE + tags * VlanHdr::LEN;
    let Some(ether_type) = frame.be16(at) else {
        return ControlFlow::Break(Framing::Other);
    };
    let behind = at + size_of_val(&ether_type);
    match ether_type {
        MPLS | MPLS_UPSTREAM => ControlFlow::Break(Framing::Mpls {
            binding: *binding,
            upstream: ether_type == MPLS_UPSTREAM,
            stack: behind,
        }),
        tpid if is_tag(tpid) && tags == MAX_TAGS => ControlFlow::Continue(()),
        tpid if is_tag(tpid) => {
            let Some(control) = frame.be16(behind) else {
                return ControlFlow::Break(Framing::Other);
            };
            binding.push(control & VID_MASK);
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Break(Framing::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tags: &[(u16, u16)], ether_type: u16) -> ([u8; 64], usize) {
        let mut bytes = [0; 64];
        let mut len = 12;
        let mut put = |value: u16| {
            bytes[len..len + 2].copy_from_slice(&value.to_be_bytes());
            len += 2;
        };
        for (tpid, control) in tags {
            put(*tpid);
            put(*control);
        }
        put(ether_type);
        (bytes, len)
    }

    #[test]
    fn tags_bind_outer_to_inner_and_zero_binds_nothing() {
        let (bytes, len) = frame(&[(0x88a8, 200), (0x8100, 0xe000), (0x9100, 0x1064)], MPLS);
        let Framing::Mpls { binding, upstream, stack } = parse(&&bytes[..len]) else {
            panic!("not MPLS");
        };
        assert_eq!((binding.outer(), binding.inner(), binding.len()), (200, 100, 2));
        assert!(!upstream);
        assert_eq!(stack, len);
    }

    #[test]
    fn a_fifth_tag_is_too_deep_and_four_are_not() {
        let tag = (0x8100, 1);
        let (bytes, len) = frame(&[tag; 4], MPLS_UPSTREAM);
        assert!(matches!(parse(&&bytes[..len]), Framing::Mpls { upstream: true, .. }));
        let (bytes, len) = frame(&[tag; 4], 0x9100);
        assert_eq!(parse(&&bytes[..len]), Framing::VlanTooDeep);
    }

    #[test]
    fn every_truncation_before_the_type_is_another_protocol() {
        let (bytes, len) = frame(&[(0x8100, 1); 4], MPLS);
        for end in 0..len {
            assert_eq!(parse(&&bytes[..end]), Framing::Other, "{end} bytes");
        }
    }
}
