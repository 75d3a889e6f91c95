//! What the first bytes of a refused frame say.

use std::fmt;

use mpls_xdp_ebpf::{
    frame::{self, Framing, LABEL_ENTRY_LEN},
    label_entry::LabelEntry,
};
use serde::Serialize;

/// The most label entries that are read: one more than any ingress accepts.
const DEEPEST: usize = 33;

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A label entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The label.
    pub label: u32,
    /// Traffic class.
    pub tc: u32,
    /// Bottom of the stack.
    pub s: bool,
    /// Time to live.
    pub ttl: u32,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.label, self.tc, self.ttl)
    }
}

/// Who sent a frame.
pub(super) fn source(bytes: &[u8]) -> Option<MacAddress> {
    bytes.get(6..)?.first_chunk().copied().map(MacAddress)
}

/// Its VLAN IDs, outer to inner.
pub(super) fn vlans(bytes: &[u8]) -> Vec<u16> {
    let Framing::Mpls { binding, .. } = frame::parse(&bytes) else {
        return Vec::new();
    };
    let vids = [binding.outer(), binding.inner()];
    vids.into_iter().filter(|vid| *vid != 0).collect()
}

/// Its label entries, as far as they are there.
pub(super) fn stack(bytes: &[u8]) -> Vec<Entry> {
    let Framing::Mpls { stack, .. } = frame::parse(&bytes) else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    for bits in bytes[stack..].chunks_exact(LABEL_ENTRY_LEN).take(DEEPEST) {
        let bits = bits.iter().fold(0, |bits, byte| bits << u8::BITS | u32::from(*byte));
        let entry = LabelEntry::from_bits(bits);
        let s = entry.is_bottom_of_stack();
        let tc = bits >> 9 & 7;
        entries.push(Entry { label: entry.label(), tc, s, ttl: entry.ttl() });
        if s {
            break;
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagged_frame_is_read_to_its_last_entry() {
        let mut bytes = vec![0xff; 6];
        bytes.extend([2, 0, 0, 0, 0, 0x1a]);
        bytes.extend([0x81, 0, 0, 100, 0x88, 0x47]);
        bytes.extend([0x00, 0x06, 0x4a, 64, 0x03, 0xe8, 0x71, 255, 1, 2, 3, 4]);
        assert_eq!(source(&bytes).unwrap().to_string(), "02:00:00:00:00:1a");
        assert_eq!(vlans(&bytes), [100]);
        let stack: Vec<String> = stack(&bytes).iter().map(ToString::to_string).collect();
        assert_eq!(stack, ["100/5/64", "16007/0/255"]);
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        assert_eq!(source(&[0; 11]), None);
        let mut bytes = [0; 14].to_vec();
        assert!(stack(&bytes).is_empty() && vlans(&bytes).is_empty());
        bytes[12..].copy_from_slice(&[0x88, 0x47]);
        bytes.extend([0x00, 0x06, 0x40, 64, 0, 0, 0]);
        assert_eq!(stack(&bytes), [Entry { label: 100, tc: 0, s: false, ttl: 64 }]);
        bytes.resize(256, 0);
        assert_eq!(stack(&bytes).len(), DEEPEST);
    }
}
