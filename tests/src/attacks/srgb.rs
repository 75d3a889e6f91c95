//! Segment routing labels of the own domain from outside.

use super::network::{
    BLUE, CORE, CUSTOMER, OF_PEER_C, OTHER_SID, OWN_SID, PE, PEER_A, PEER_C, RED,
};
use super::story::{Neighbour, Sending, Sent, Story};
use crate::frame::Frame;
use crate::oracle::reason::{LABEL_OUT_OF_RANGE, LABEL_SPOOFED, MPLS_NOT_ENABLED};

const THREAT: &str = "Steers its packets through the backbone, past every policy of the ingress.";
const SOURCE: &str = "RFC 8402 §8.1, RFC 8660";

/// Segment lists and single SIDs, as somebody outside would write them.
fn segments(neighbour: &Neighbour) -> Vec<Sending> {
    let sends =
        |what: &'static str, labels: &[u32]| neighbour.sends(what, Frame::mpls(labels.to_vec()));
    vec![
        sends("the first SID of the SRGB", &[16_000]),
        sends("the last SID of the SRGB", &[23_999]),
        sends("another router's SID", &[OTHER_SID]),
        sends("another router's SID over blue's label", &[OTHER_SID, BLUE]),
        sends("a list of segments", &[16_001, 16_002, 16_003, 23_999, BLUE]),
        sends("around in circles", &[16_001, 16_002, 16_001, 16_002, 16_001, 16_002]),
    ]
}

/// This router's own SID, which it pops.
fn own_sid(neighbour: &Neighbour) -> Vec<Sending> {
    let sends =
        |what: &'static str, labels: &[u32]| neighbour.sends(what, Frame::mpls(labels.to_vec()));
    vec![
        sends("the own SID alone", &[OWN_SID]),
        sends("the own SID over red's label", &[OWN_SID, RED]),
        sends("the own SID over blue's label", &[OWN_SID, BLUE]),
        sends("the own SID over another", &[OWN_SID, OTHER_SID]),
        sends("the own SID over a peer's label", &[OWN_SID, OF_PEER_C]),
        sends("the own SID many times", &[OWN_SID; 12]),
    ]
}

fn all(sendings: Vec<Sending>, reason: &'static str) -> Vec<Sent> {
    sendings.into_iter().map(|sending| sending.dropped(reason)).collect()
}

pub(super) fn segments_from_an_option_c_peer() -> Story {
    let mut frames = all(segments(&PEER_C), LABEL_SPOOFED);
    frames.extend([
        PEER_C.sends("one before the SRGB", Frame::mpls([15_999])).dropped(LABEL_OUT_OF_RANGE),
        PEER_C.sends("its own label", Frame::mpls([OF_PEER_C])).passes("labels"),
        CORE.sends("a segment, from the core", Frame::mpls([OTHER_SID, BLUE])).passes("core"),
    ]);
    Story::new(["peer C, inter-AS option C, behind eth2 in VLAN 102", THREAT, SOURCE], PE, frames)
}

pub(super) fn segments_from_an_option_b_peer() -> Story {
    let frames = all(segments(&PEER_A), LABEL_SPOOFED);
    Story::new(["peer A, inter-AS option B, behind eth2 in VLAN 100", THREAT, SOURCE], PE, frames)
}

pub(super) fn segments_from_a_customer() -> Story {
    let frames = all(segments(&CUSTOMER), MPLS_NOT_ENABLED);
    Story::new(["customer red, behind eth1", THREAT, SOURCE], PE, frames)
}

pub(super) fn own_sids_that_pop() -> Story {
    let frames = [
        all(own_sid(&PEER_A), LABEL_SPOOFED),
        all(own_sid(&PEER_C), LABEL_SPOOFED),
        all(own_sid(&CUSTOMER), MPLS_NOT_ENABLED),
        vec![CORE.sends("the same from the core", Frame::mpls([OWN_SID, BLUE])).passes("own-sid")],
    ];
    Story::new(
        [
            "each neighbour that is not the core",
            "The router pops its own SID and looks up whatever is below.",
            "RFC 8660, RFC 4364 §13.1",
        ],
        PE,
        frames.concat(),
    )
}
