//! From the bytes of a frame to its tags and its type (§4 of the semantics).

use std::fmt;

use mpls_xdp_ebpf::frame::{MAX_TAGS, MPLS, MPLS_UPSTREAM};
use serde::{Serialize, Serializer};

/// Types that announce a VLAN tag.
const TPIDS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Bytes of the two addresses, before the first type.
const ADDRESSES: usize = 12;

/// What stands before the label stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Framing {
    /// The VLAN tags that were walked, outer to inner.
    pub tags: Vec<Tag>,
    /// The type behind them; none where the frame ends before it.
    pub ether_type: Option<EtherType>,
    /// What the filter takes the frame for.
    pub taken_for: Kind,
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// The type that announces it.
    pub tpid: EtherType,
    /// The VLAN ID, 0 for a priority tag.
    pub vid: u16,
}

/// The type of a frame, or of a tag in it; written as `0x8847`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EtherType(pub u16);

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl Serialize for EtherType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the filter takes a frame for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another protocol, or a frame that ends before its type is complete.
    NotMpls,
    /// A fifth tag follows four.
    VlanTooDeep,
    /// A label stack follows.
    Mpls,
    /// A label stack of upstream-assigned labels follows.
    MplsUpstream,
}

impl Framing {
    /// Walks the tags of a frame.
    pub(super) fn of(frame: &[u8]) -> Self {
        let mut tags = Vec::new();
        loop {
            let at = ADDRESSES + 4 * tags.len();
            let ether_type = be16(frame, at);
            let taken_for = match ether_type {
                Some(tpid) if TPIDS.contains(&tpid) => match be16(frame, at + 2) {
                    _ if tags.len() == MAX_TAGS => Kind::VlanTooDeep,
                    Some(control) => {
                        tags.push(Tag { tpid: EtherType(tpid), vid: control & 0xfff });
                        continue;
                    }
                    None => Kind::NotMpls,
                },
                Some(MPLS) => Kind::Mpls,
                Some(MPLS_UPSTREAM) => Kind::MplsUpstream,
                _ => Kind::NotMpls,
            };
            return Self { tags, ether_type: ether_type.map(EtherType), taken_for };
        }
    }

    /// The VLAN IDs that bind the frame to an ingress, outer to inner.
    pub fn vids(&self) -> Vec<u16> {
        self.tags.iter().map(|tag| tag.vid).filter(|vid| *vid != 0).collect()
    }

    /// Offset of the first byte behind the type, in bytes from the destination address.
    pub fn behind(&self) -> usize {
        ADDRESSES + 4 * self.tags.len() + 2
    }
}

/// The 16 bits at an offset, in network order.
fn be16(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}
