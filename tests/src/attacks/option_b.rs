//! An option B neighbour sends labels that it was not given.

use super::network::{
    BLUE, CORE, NOBODYS, OF_CORE, OF_PEER_A, OF_PEER_B, OF_PEER_C, OTHER_SID, OWN_SID, PE, PEER_A,
    PEER_B, PEER_C, PSEUDOWIRE, RED,
};
use super::story::{Fate, Story};
use crate::frame::{Frame, IPV4, LabelEntry};
use crate::oracle::reason::{
    ELI_AT_BOTTOM, IMPLICIT_NULL, LABEL_OUT_OF_RANGE, LABEL_OUT_OF_VRF, LABEL_SPOOFED,
    MNA_AT_BOTTOM, RESERVED_LABEL, ROUTER_ALERT_AT_BOTTOM, SPECIAL_LABEL_NOT_ALLOWED,
    STACK_TOO_DEEP, XL_AT_BOTTOM,
};

const WHO: &str = "peer A (AS 65001), inter-AS option B, behind eth2 in VLAN 100";

pub(super) fn uses_a_label_given_only_to_another_peer() -> Story {
    let one = |label| Frame::mpls([label]);
    Story::new(
        [
            WHO,
            "Reaches the VPNs that this AS sells together with AS 65002.",
            "RFC 4364 §13.1, §10 (b)",
        ],
        PE,
        [
            PEER_A.sends("its own last label", one(24_063)).passes("labels"),
            PEER_A.sends("peer B's first label", one(OF_PEER_B)).dropped(LABEL_SPOOFED),
            PEER_A.sends("peer B's last label", one(24_127)).dropped(LABEL_SPOOFED),
            PEER_A.sends("peer C's first label", one(OF_PEER_C)).dropped(LABEL_SPOOFED),
            PEER_A.sends("a label of the core", one(OF_CORE)).dropped(LABEL_SPOOFED),
            PEER_A.sends("the core's last label", one(24_255)).dropped(LABEL_SPOOFED),
            PEER_A.sends("one more is nobody's", one(24_256)).dropped(LABEL_OUT_OF_RANGE),
            PEER_B.sends("peer B's first label, from peer B", one(OF_PEER_B)).passes("labels"),
            PEER_B.sends("peer A's label, from peer B", one(OF_PEER_A)).dropped(LABEL_SPOOFED),
            PEER_C.sends("peer A's label, from peer C", one(OF_PEER_A)).dropped(LABEL_SPOOFED),
            CORE.sends("peer A's label, from the core", one(OF_PEER_A)).dropped(LABEL_SPOOFED),
        ],
    )
}

pub(super) fn enters_a_vrf_that_it_was_not_given() -> Story {
    let one = |label| Frame::mpls([label]);
    Story::new(
        [
            WHO,
            "Delivers packets into a VPN that does not reach into AS 65001 at all.",
            "RFC 4364 §13.1",
        ],
        PE,
        [
            PEER_A.sends("red's label, which it has", one(RED)).passes("red"),
            PEER_A.sends("blue's label", one(BLUE)).dropped(LABEL_OUT_OF_VRF),
            PEER_A.sends("blue's first of a range", one(2_000)).dropped(LABEL_OUT_OF_VRF),
            PEER_A.sends("blue's last of a range", one(2_099)).dropped(LABEL_OUT_OF_VRF),
            PEER_A.sends("one more is nobody's", one(2_100)).dropped(LABEL_OUT_OF_RANGE),
            PEER_A.sends("a pseudowire's label", one(PSEUDOWIRE)).dropped(LABEL_OUT_OF_VRF),
            PEER_B.sends("red's label, from peer B", one(RED)).dropped(LABEL_OUT_OF_VRF),
        ],
    )
}

pub(super) fn puts_a_second_label_under_its_own() -> Story {
    let no_bottom = LabelEntry::new(OF_PEER_A);
    Story::new(
        [
            WHO,
            "Leaves by the peer's own label and lets a router behind interpret the forged one.",
            "RFC 5920 §8.2.3",
        ],
        PE,
        [
            PEER_A.sends("its label over blue's", Frame::mpls([OF_PEER_A, BLUE])),
            PEER_A.sends("its label twice", Frame::mpls([OF_PEER_A, OF_PEER_A])),
            PEER_A.sends("red's label over blue's", Frame::mpls([RED, BLUE])),
            PEER_A.sends("its label over nobody's", Frame::mpls([OF_PEER_A, NOBODYS])),
            PEER_A.sends("its label without S, over IP", Frame::mpls([]).stack([no_bottom])),
            PEER_A.sends("the same, and the frame ends", {
                Frame::mpls([]).stack([no_bottom]).payload([])
            }),
        ]
        .map(|sending| sending.dropped(STACK_TOO_DEEP)),
    )
}

pub(super) fn puts_a_transport_label_over_a_vpn_label() -> Story {
    Story::new(
        [WHO, "Is carried to any PE of the backbone and enters any VRF there.", "RFC 5920 §8.2.2"],
        PE,
        [
            PEER_A.sends("another router's SID", Frame::mpls([OTHER_SID, BLUE])),
            PEER_A.sends("this router's SID", Frame::mpls([OWN_SID, BLUE])),
            PEER_A.sends("this router's SID over red", Frame::mpls([OWN_SID, RED])),
            PEER_A.sends("peer B's label over red", Frame::mpls([OF_PEER_B, RED])),
        ]
        .map(|sending| sending.dropped(LABEL_SPOOFED)),
    )
}

pub(super) fn sweeps_the_whole_label_space() -> Story {
    // Each label alone in its stack, so that special-purpose labels are at the bottom.
    let fate = |label| match label {
        0 | 2 | 13 | 14 => Fate::Dropped(SPECIAL_LABEL_NOT_ALLOWED),
        1 => Fate::Dropped(ROUTER_ALERT_AT_BOTTOM),
        3 => Fate::Dropped(IMPLICIT_NULL),
        4 => Fate::Dropped(MNA_AT_BOTTOM),
        5 | 6 | 8..=12 => Fate::Dropped(RESERVED_LABEL),
        7 => Fate::Dropped(ELI_AT_BOTTOM),
        15 => Fate::Dropped(XL_AT_BOTTOM),
        100 | 1_000..=1_099 => Fate::Passes("red"),
        24_000..=24_063 => Fate::Passes("labels"),
        200 | 2_000..=2_099 | 3_000..=3_099 => Fate::Dropped(LABEL_OUT_OF_VRF),
        // The SRGB, and what the other neighbours were given.
        16_000..=23_999 | 24_064..=24_255 => Fate::Dropped(LABEL_SPOOFED),
        _ => Fate::Dropped(LABEL_OUT_OF_RANGE),
    };
    let packet = Frame::new(IPV4).build().split_off(14);
    let sent = move |label| {
        let frame = Frame::mpls([label]).payload(packet.clone());
        PEER_A.sends(format!("label {label}"), frame).meets(fate(label))
    };
    let story = Story::stream(
        [
            WHO,
            "Finds every label that leads somewhere by trying all 1,048,576 of them.",
            "RFC 4364 §13.1",
        ],
        PE,
        vec![PEER_A.interface],
        (0..1 << 20).map(sent),
    );
    story.totals(&[
        ("red", 1 + 100),
        ("labels", 64),
        (LABEL_OUT_OF_VRF, 1 + 100 + 100),
        (LABEL_SPOOFED, 8_000 + 3 * 64),
        (SPECIAL_LABEL_NOT_ALLOWED, 4),
        (RESERVED_LABEL, 7),
        (ROUTER_ALERT_AT_BOTTOM, 1),
        (IMPLICIT_NULL, 1),
        (MNA_AT_BOTTOM, 1),
        (ELI_AT_BOTTOM, 1),
        (XL_AT_BOTTOM, 1),
        (LABEL_OUT_OF_RANGE, 1_048_576 - 16 - 101 - 64 - 201 - 8_192),
    ])
}
