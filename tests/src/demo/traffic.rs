//! What the neighbours of the demo's router send it, and what is to become of it.

use crate::frame::{Frame, IPV4, LabelEntry, MPLS_UPSTREAM};
use crate::oracle::reason;

/// The peer's VLAN in the policy.
const PEER_VLAN: u16 = 100;
/// Where a frame with one tag has room for half a label entry only. Linux itself discards tagged
/// frames that are shorter.
const HALF_AN_ENTRY: usize = 20;

/// A neighbour and all that it sends.
#[derive(Debug)]
pub struct Side {
    /// The router's interface.
    pub interface: &'static str,
    /// The neighbour's name.
    pub neighbour: &'static str,
    /// What the policy says of the neighbour.
    pub terms: &'static str,
    /// The frames, in order.
    pub cases: Vec<Case>,
}

/// A frame, and what is to become of it.
#[derive(Debug)]
pub struct Case {
    /// The frame in a few words.
    pub what: &'static str,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What is to become of it.
    pub fate: Fate,
    /// Why it is let in, or what it would do if it were.
    pub because: &'static str,
}

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The router's kernel gets it.
    Pass,
    /// It is dropped at the driver hook, for this reason.
    Drop(&'static str),
}

impl Side {
    /// The frames' bytes.
    #[must_use]
    pub fn frames(&self) -> Vec<&[u8]> {
        self.cases.iter().map(|case| case.frame.as_slice()).collect()
    }
}

fn pass(what: &'static str, frame: &Frame, because: &'static str) -> Case {
    Case { what, frame: frame.build(), fate: Fate::Pass, because }
}

fn refuse(what: &'static str, frame: &Frame, why: &'static str, because: &'static str) -> Case {
    Case { what, frame: frame.build(), fate: Fate::Drop(why), because }
}

/// An MPLS frame as the peer sends it, in its VLAN.
fn peer(labels: impl IntoIterator<Item = u32>) -> Frame {
    Frame::mpls(labels).vlan(PEER_VLAN)
}

/// All that is sent to the router with the demo's policy.
#[must_use]
pub fn sides() -> [Side; 3] {
    [customer(), peer_as(), core()]
}

fn customer() -> Side {
    let cases = vec![
        pass("an IPv4 packet", &Frame::new(IPV4), "Not MPLS: none of the filter's business."),
        refuse(
            "label 100",
            &Frame::mpls([100]),
            reason::MPLS_NOT_ENABLED,
            "Enters VRF red past its own access list and policer: a site sends IP.",
        ),
        refuse(
            "label 200",
            &Frame::mpls([200]),
            reason::MPLS_NOT_ENABLED,
            "Enters VRF blue: another customer's VPN, by writing a number.",
        ),
        refuse(
            "labels 16002, 200",
            &Frame::mpls([16_002, 200]),
            reason::MPLS_NOT_ENABLED,
            "Rides the backbone to another PE and enters a VRF there.",
        ),
        refuse(
            "label 100, type 0x8848",
            &Frame::mpls([100]).ether_type(MPLS_UPSTREAM),
            reason::MPLS_NOT_ENABLED,
            "The same by the other MPLS type, which filters tend to forget.",
        ),
        refuse(
            "VLAN 100, label 24000",
            &peer([24_000]),
            reason::INGRESS_UNBOUND,
            "Poses as the peer by its VLAN. No ingress of this port has that VLAN.",
        ),
    ];
    Side {
        interface: "eth1",
        neighbour: "site-red-1",
        terms: "a customer's site: no label at all",
        cases,
    }
}

fn peer_as() -> Side {
    let mut cases = vec![
        pass(
            "VLAN 100, IPv4",
            &Frame::new(IPV4).vlan(PEER_VLAN),
            "Not MPLS: the BGP session itself, for example.",
        ),
        pass("VLAN 100, label 24000", &peer([24_000]), "pe1 gave this label to this peer."),
        pass("VLAN 100, label 24063", &peer([24_063]), "The last one that pe1 gave it."),
    ];
    cases.extend(peer_label_attacks());
    cases.extend(peer_frame_attacks());
    Side {
        interface: "eth2",
        neighbour: "peer-as65010",
        terms: "inter-AS option B: in VLAN 100, one label out of 24000-24063",
        cases,
    }
}

/// Labels that are not the peer's.
fn peer_label_attacks() -> [Case; 6] {
    [
        refuse(
            "VLAN 100, label 16002",
            &peer([16_002]),
            reason::LABEL_SPOOFED,
            "Steers traffic through our backbone by a label that is for us only.",
        ),
        refuse(
            "VLAN 100, label 100",
            &peer([100]),
            reason::LABEL_OUT_OF_VRF,
            "Enters VRF red, a VPN that does not reach into the peer's network.",
        ),
        refuse(
            "VLAN 100, label 500000",
            &peer([500_000]),
            reason::LABEL_OUT_OF_RANGE,
            "Tries labels one by one to find out which ones lead somewhere.",
        ),
        refuse(
            "VLAN 100, labels 0, 100",
            &peer([0, 100]),
            reason::SPECIAL_LABEL_NOT_ALLOWED,
            "Hides the VPN label behind explicit null, which the router just pops.",
        ),
        refuse(
            "VLAN 100, labels 24000, 200",
            &peer([24_000, 200]),
            reason::STACK_TOO_DEEP,
            "A second label under a good one: a VPN label is the last, so it is forged.",
        ),
        refuse(
            "VLAN 100, label 9",
            &peer([9]),
            reason::RESERVED_LABEL,
            "Reserved by IANA: routers differ in what they do with it.",
        ),
    ]
}

/// Frames that are wrong whatever their labels.
fn peer_frame_attacks() -> [Case; 5] {
    [
        refuse(
            "VLAN 101, label 24000",
            &Frame::mpls([24_000]).vlan(101),
            reason::INGRESS_UNBOUND,
            "Another neighbour's VLAN: the label was not given out there.",
        ),
        refuse(
            "untagged, label 24000",
            &Frame::mpls([24_000]),
            reason::INGRESS_UNBOUND,
            "Nobody is to be on this port without a tag.",
        ),
        refuse(
            "VLAN 100, half a label",
            &peer([24_000]).cut(HALF_AN_ENTRY),
            reason::TRUNCATED,
            "The frame ends in its label: what a router reads there is left to chance.",
        ),
        refuse(
            "VLAN 100, 24000 with TTL 0",
            &peer([]).stack([LabelEntry::new(24_000).ttl(0).bottom()]),
            reason::TTL_ZERO,
            "A dead packet: forwarding it on is how loops never end.",
        ),
        refuse(
            "VLAN 100, 24000, type 0x8848",
            &peer([24_000]).ether_type(MPLS_UPSTREAM),
            reason::UPSTREAM_NOT_ALLOWED,
            "An upstream-assigned label is a number in another label space.",
        ),
    ]
}

fn core() -> Side {
    let cases = vec![
        pass("an IPv4 packet", &Frame::new(IPV4), "Not MPLS: the IGP and everything else."),
        pass(
            "label 100",
            &Frame::mpls([100]),
            "VPN traffic after PHP: the hop before has popped the outer label.",
        ),
        pass(
            "labels 16001, 200",
            &Frame::mpls([16_001, 200]),
            "VPN traffic with pe1's own label on top: both are looked up, both are good.",
        ),
        pass(
            "labels 0, 100",
            &Frame::mpls([0, 100]),
            "Explicit null keeps the QoS marking up to pe1: usual from the core.",
        ),
        pass(
            "labels 16002, 77",
            &Frame::mpls([16_002, 77]),
            "Transit: label 77 is for the router that 16002 leads to, not for pe1.",
        ),
        pass(
            "labels 16001, 7, 99000, 100",
            &Frame::mpls([16_001, 7, 99_000, 100]),
            "With an entropy label (99000), which is a random number and leads nowhere.",
        ),
        refuse(
            "labels 0, 24000",
            &Frame::mpls([0, 24_000]),
            reason::LABEL_SPOOFED,
            "Behind explicit null, a label that was given to the peer only.",
        ),
        refuse(
            "labels 16001, 24000",
            &Frame::mpls([16_001, 24_000]),
            reason::LABEL_SPOOFED,
            "Behind pe1's own label, which pe1 pops: it would go out to the peer.",
        ),
        refuse(
            "labels 16001, 300",
            &Frame::mpls([16_001, 300]),
            reason::LABEL_OUT_OF_RANGE,
            "Behind pe1's own label, one that pe1 never gave out.",
        ),
        refuse(
            "labels 16001, 3",
            &Frame::mpls([16_001, 3]),
            reason::IMPLICIT_NULL,
            "Implicit null is a word of the signalling and never in a frame.",
        ),
    ];
    Side {
        interface: "eth3",
        neighbour: "core-p1",
        terms: "the own core: transport labels and VPN labels",
        cases,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::POLICY;
    use crate::oracle::{Oracle, Verdict};

    #[test]
    fn the_oracle_agrees_with_every_fate() {
        let oracle = Oracle::new(POLICY);
        for side in sides() {
            for case in side.cases {
                let judgement = oracle.judge(side.interface, &case.frame);
                let fate = match (judgement.verdict, judgement.reason) {
                    (Verdict::Pass, None) => Fate::Pass,
                    (Verdict::Drop, Some(reason)) => Fate::Drop(reason),
                    strange => panic!("{}: {strange:?}", case.what),
                };
                assert_eq!(fate, case.fate, "{} from {}", case.what, side.neighbour);
            }
        }
    }

    #[test]
    fn frames_of_a_side_differ() {
        for side in sides() {
            let mut frames = side.frames();
            frames.sort_unstable();
            frames.dedup();
            assert_eq!(frames.len(), side.cases.len(), "{}", side.neighbour);
        }
    }
}
