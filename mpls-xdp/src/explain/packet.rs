//! A labelled packet the way an operator writes it.

use std::str::FromStr;

use mpls_xdp_ebpf::{
    frame::{MPLS, MPLS_UPSTREAM},
    label_entry::LAST_LABEL,
};
use thiserror::Error;

/// TPID of a single or inner tag (IEEE 802.1Q).
const C_TAG: u16 = 0x8100;
/// TPID of an outer tag (IEEE 802.1ad).
const S_TAG: u16 = 0x88a8;
/// Addresses of nobody: locally administered.
const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
/// Bytes of the shortest Ethernet frame, without its check sequence.
const SHORTEST: usize = 60;
/// The TTL of an entry that does not say.
const TTL: u8 = 64;

/// A label stack entry as `label[/tc[/ttl]]`; TC 0 and TTL 64 unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackEntry {
    label: u32,
    tc: u8,
    ttl: u8,
}

/// What is wrong with a written label stack entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StackSyntaxError {
    /// The label.
    #[error("`{0}` is no label: a number from 0 to 1048575, as in 100, 100/7 or 100/7/64")]
    Label(String),
    /// The traffic class.
    #[error("`{0}` is no traffic class: a number from 0 to 7 between the slashes of label/tc/ttl")]
    TrafficClass(String),
    /// The time to live.
    #[error("`{0}` is no TTL: a number from 0 to 255 at the end of label/tc/ttl")]
    Ttl(String),
}

impl FromStr for StackEntry {
    type Err = StackSyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let label = parts.next().unwrap_or_default();
        let tc = parts.next().unwrap_or("0");
        let ttl = parts.next();
        let number = |text: &str, last: u32| decimal(text).filter(|number| *number <= last);
        let small = |text: &str, last| number(text, last).and_then(|n| u8::try_from(n).ok());
        Ok(Self {
            label: number(label, LAST_LABEL)
                .ok_or_else(|| StackSyntaxError::Label(label.to_owned()))?,
            tc: small(tc, 7).ok_or_else(|| StackSyntaxError::TrafficClass(tc.to_owned()))?,
            ttl: match ttl {
                Some(ttl) => {
                    small(ttl, 255).ok_or_else(|| StackSyntaxError::Ttl(ttl.to_owned()))?
                }
                None => TTL,
            },
        })
    }
}

/// Digits and nothing else: `parse` would take a sign as well.
fn decimal(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

impl StackEntry {
    fn to_bytes(self, s: bool) -> [u8; 4] {
        let Self { label, tc, ttl } = self;
        (label << 12 | u32::from(tc) << 9 | u32::from(s) << 8 | u32::from(ttl)).to_be_bytes()
    }
}

/// A labelled packet that has not been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// VLAN IDs, outer to inner.
    pub vlans: Vec<u16>,
    /// Whether its labels are upstream-assigned (type 0x8848).
    pub upstream: bool,
    /// The label stack from the top; the last entry has S set.
    pub stack: Vec<StackEntry>,
}

impl Packet {
    /// The Ethernet frame, at least 60 bytes long. Nothing but zeros follows the stack.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = ADDRESSES.to_vec();
        for (index, vid) in self.vlans.iter().enumerate() {
            let is_inner = index + 1 == self.vlans.len();
            frame.extend(if is_inner { C_TAG } else { S_TAG }.to_be_bytes());
            frame.extend(vid.to_be_bytes());
        }
        frame.extend(if self.upstream { MPLS_UPSTREAM } else { MPLS }.to_be_bytes());
        for (index, entry) in self.stack.iter().enumerate() {
            frame.extend(entry.to_bytes(index + 1 == self.stack.len()));
        }
        frame.resize(frame.len().max(SHORTEST), 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<StackEntry>().unwrap_err().to_string()
    }

    #[test]
    fn entries_are_read() {
        let entry = |label, tc, ttl| Ok(StackEntry { label, tc, ttl });
        assert_eq!("100".parse(), entry(100, 0, 64));
        assert_eq!("0/7".parse(), entry(0, 7, 64));
        assert_eq!("1048575/1/0".parse(), entry(1_048_575, 1, 0));
        assert_eq!("16/0/255".parse(), entry(16, 0, 255));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for text in ["", "1048576", "+1", " 1", "0x10", "a/1", "99999999999", "/1"] {
            assert!(error(text).contains("no label"), "{text}");
        }
        for text in ["1/8", "1/", "1/-1", "1//64", "1/a/64"] {
            assert!(error(text).contains("no traffic class"), "{text}");
        }
        for text in ["1/0/256", "1/0/", "1/0/64/1", "1/0/x"] {
            assert!(error(text).contains("no TTL"), "{text}");
        }
    }

    #[test]
    fn a_frame_has_its_tags_and_its_stack() {
        let stack = ["16007/7/1", "100"].map(|entry| entry.parse().unwrap()).to_vec();
        let packet = Packet { vlans: vec![200, 100], upstream: false, stack };
        let frame = packet.frame();
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[12..22], [0x88, 0xa8, 0, 200, 0x81, 0, 0, 100, 0x88, 0x47]);
        assert_eq!(frame[22..30], [0x03, 0xe8, 0x7e, 1, 0x00, 0x06, 0x41, 64]);
        let packet = Packet { vlans: Vec::new(), upstream: true, ..packet };
        assert_eq!(packet.frame()[12..14], [0x88, 0x48]);
    }
}
