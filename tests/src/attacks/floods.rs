//! Floods of frames that cost a router's CPU more than others, at the rate of the wire: every single
//! one is counted, and the legitimate frames in between come through.

use super::network::{CORE, OF_PEER_A, OF_PEER_B, PE, PEER_A, RED};
use super::story::{Fate, Neighbour, Sent, Story};
use crate::frame::{Frame, LabelEntry};
use crate::oracle::reason::{LABEL_SPOOFED, SPECIAL_LABEL_NOT_ALLOWED, TTL_ZERO};

/// Frames of a round: the last one is legitimate.
const OF_THE_FLOOD: u64 = 15;
const LEGITIMATE: u64 = 1;
/// As small as they come, so that they are as many as there can be.
const LENGTH: usize = 64;

/// A round of a flood of frames with this stack, and a frame that the neighbour may send.
fn round(
    neighbour: &Neighbour,
    stack: &[LabelEntry],
    fate: Fate,
    (label, rule): (u32, &'static str),
) -> Vec<Sent> {
    // What makes the frames at such a rate can give them other headers, but no other packets.
    let empty = |frame: Frame| frame.payload([0; LENGTH]).cut(LENGTH);
    let one = empty(Frame::mpls([]).stack(stack.iter().copied()));
    let mut frames: Vec<_> = (0..OF_THE_FLOOD)
        .map(|_| neighbour.sends("one of the flood", one.clone()).meets(fate))
        .collect();
    let legitimate = empty(Frame::mpls([label]));
    frames.push(neighbour.sends("legitimate", legitimate).passes(rule));
    frames
}

pub(super) fn of_router_alert_that_is_not_allowed() -> Story {
    const STACK: [LabelEntry; 2] = [LabelEntry::new(1), LabelEntry::new(OF_PEER_A).bottom()];
    let round =
        round(&PEER_A, &STACK, Fate::Dropped(SPECIAL_LABEL_NOT_ALLOWED), (OF_PEER_A, "labels"));
    let story = Story::flood(
        [
            "peer A, behind eth2 in VLAN 100",
            "Each frame goes to the router's CPU, and the routing protocols starve.",
            "RFC 6398 §3, RFC 5920 §8.2.2",
        ],
        PE,
        round,
    );
    story.totals(&[(SPECIAL_LABEL_NOT_ALLOWED, OF_THE_FLOOD), ("labels", LEGITIMATE)])
}

pub(super) fn of_router_alert_that_is_allowed() -> Story {
    const STACK: [LabelEntry; 2] = [LabelEntry::new(1), LabelEntry::new(3_000).bottom()];
    let round = round(&CORE, &STACK, Fate::Passes("pseudowires"), (RED, "red"));
    let story = Story::flood(
        [
            "a router of the own core, behind eth3",
            "The core may send router alert: the filter is no policer, and loses nothing.",
            "RFC 5085 §5.1.2, semantics §6",
        ],
        PE,
        round,
    );
    story.totals(&[("pseudowires", OF_THE_FLOOD), ("red", LEGITIMATE)])
}

pub(super) fn of_ttl_1_with_labels_of_another_peer() -> Story {
    const STACK: [LabelEntry; 1] = [LabelEntry::new(OF_PEER_B).ttl(1).bottom()];
    let round = round(&PEER_A, &STACK, Fate::Dropped(LABEL_SPOOFED), (OF_PEER_A, "labels"));
    let story = Story::flood(
        [
            "peer A, behind eth2 in VLAN 100",
            "Each frame makes the router write an ICMP message.",
            "RFC 3032 §2.4.2, RFC 6192",
        ],
        PE,
        round,
    );
    story.totals(&[(LABEL_SPOOFED, OF_THE_FLOOD), ("labels", LEGITIMATE)])
}

pub(super) fn of_ttl_1_with_its_own_label() -> Story {
    const STACK: [LabelEntry; 1] = [LabelEntry::new(24_063).ttl(1).bottom()];
    let round = round(&PEER_A, &STACK, Fate::Passes("labels"), (RED, "red"));
    let story = Story::flood(
        [
            "peer A, behind eth2 in VLAN 100",
            "Traceroute looks like this: to police it is the kernel's affair, to count it ours.",
            "RFC 3032 §2.4.2, semantics §5.3.3",
        ],
        PE,
        round,
    );
    story.totals(&[("labels", OF_THE_FLOOD), ("red", LEGITIMATE)])
}

pub(super) fn of_ttl_0() -> Story {
    const STACK: [LabelEntry; 1] = [LabelEntry::new(RED).ttl(0).bottom()];
    let round = round(&CORE, &STACK, Fate::Dropped(TTL_ZERO), (RED, "red"));
    let story = Story::flood(
        [
            "a loop in the own core, behind eth3",
            "What circles arrives again and again, and drowns what does not.",
            "RFC 3032 §2.4.2",
        ],
        PE,
        round,
    );
    story.totals(&[(TTL_ZERO, OF_THE_FLOOD), ("red", LEGITIMATE)])
}
