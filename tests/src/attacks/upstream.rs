//! Type 0x8848: upstream-assigned labels, which belong to the sender's label space.

use super::network::{
    BLUE, CORE, OF_PEER_A, OF_PEER_C, OTHER_SID, OWN_SID, PE, PEER_A, PEER_C, RED,
};
use super::story::{Neighbour, Sent, Story};
use crate::frame::{Frame, LabelEntry, MPLS_UPSTREAM};
use crate::oracle::reason::{INGRESS_UNBOUND, UPSTREAM_NOT_ALLOWED};

const THREAT: &str =
    "A router that takes both types for one looks the label up in its own label space.";
const SOURCE: &str = "RFC 5331 §7, RFC 5332 §4";

fn refused(neighbour: &Neighbour, labels: &[u32]) -> Sent {
    let frame = Frame::mpls(labels.to_vec()).ether_type(MPLS_UPSTREAM);
    neighbour.sends(format!("labels {labels:?}, type 0x8848"), frame).dropped(UPSTREAM_NOT_ALLOWED)
}

pub(super) fn from_a_peer_with_its_own_label() -> Story {
    let other_type = |neighbour: &Neighbour, label| {
        neighbour.sends("the same, type 0x8847", Frame::mpls([label])).passes("labels")
    };
    let untagged = Frame::mpls([OF_PEER_A]).ether_type(MPLS_UPSTREAM);
    Story::new(
        ["peers A and C, behind eth2 in VLANs 100 and 102", THREAT, SOURCE],
        PE,
        [
            refused(&PEER_A, &[OF_PEER_A]),
            other_type(&PEER_A, OF_PEER_A),
            refused(&PEER_A, &[RED]),
            refused(&PEER_A, &[BLUE]),
            refused(&PEER_A, &[OF_PEER_A, BLUE]),
            refused(&PEER_C, &[OF_PEER_C]),
            other_type(&PEER_C, OF_PEER_C),
            refused(&PEER_C, &[OF_PEER_C, BLUE]),
            PEER_A.sends_as_is("without the VLAN", &untagged).dropped(INGRESS_UNBOUND),
        ],
    )
}

pub(super) fn from_the_core() -> Story {
    let broken = |what, frame: Frame| {
        CORE.sends(what, frame.ether_type(MPLS_UPSTREAM)).dropped(UPSTREAM_NOT_ALLOWED)
    };
    let dead = LabelEntry::new(RED).bottom().ttl(0);
    Story::new(
        ["a router of the own core that somebody has taken over, behind eth3", THREAT, SOURCE],
        PE,
        [
            refused(&CORE, &[RED]),
            refused(&CORE, &[BLUE]),
            refused(&CORE, &[OTHER_SID, BLUE]),
            refused(&CORE, &[OWN_SID, BLUE]),
            refused(&CORE, &[0, BLUE]),
            refused(&CORE, &[7, 777_777, BLUE]),
            // The type comes before everything that can be wrong with the stack.
            broken("no stack at all", Frame::mpls([]).payload([])),
            broken("half an entry", Frame::mpls([RED]).cut(16)),
            broken("TTL 0", Frame::mpls([]).stack([dead])),
            broken("no bottom", Frame::mpls([]).stack([LabelEntry::new(RED); 40])),
            CORE.sends("blue's label, type 0x8847", Frame::mpls([BLUE])).passes("blue"),
        ],
    )
}

pub(super) fn every_special_purpose_label() -> Story {
    let of = |neighbour: &'static Neighbour| {
        (0..16).flat_map(move |label| {
            [refused(neighbour, &[label]), refused(neighbour, &[label, BLUE])]
        })
    };
    Story::new(
        ["the core and peer C", "Special-purpose labels are special in this type too.", SOURCE],
        PE,
        of(&CORE).chain(of(&PEER_C)),
    )
}
