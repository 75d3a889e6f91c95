//! Floods of frames that cost a router's CPU more than others: every single one is counted, and what
//! legitimate frames there are in between come through.

use super::network::{CORE, OF_PEER_A, OF_PEER_B, PE, PEER_A, RED};
use super::story::{Fate, Neighbour, Sent, Story};
use crate::frame::{Frame, IPV4, LabelEntry};
use crate::oracle::reason::{LABEL_SPOOFED, SPECIAL_LABEL_NOT_ALLOWED, TTL_ZERO};

const FRAMES: u32 = 200_000;
/// Every so many frames one is legitimate.
const EVERY: u32 = 10;
const LEGITIMATE: u64 = 20_000;
const OF_THE_FLOOD: u64 = 180_000;

/// A flood of frames with this stack, and in between frames that the neighbour may send.
fn flood(
    neighbour: &'static Neighbour,
    stack: &'static [LabelEntry],
    fate: Fate,
    legitimate: (u32, &'static str),
) -> impl Iterator<Item = Sent> {
    let packet = Frame::new(IPV4).length(14 + 28 + 4).build();
    let packet = packet[14..14 + 28].to_vec();
    (0..FRAMES).map(move |number| {
        let marked = |frame: Frame| frame.payload([&packet[..], &number.to_be_bytes()].concat());
        if number % EVERY == EVERY - 1 {
            let (label, rule) = legitimate;
            neighbour.sends("legitimate", marked(Frame::mpls([label]))).passes(rule)
        } else {
            let frame = Frame::mpls([]).stack(stack.iter().copied());
            neighbour.sends("one of the flood", marked(frame)).meets(fate)
        }
    })
}

pub(super) fn of_router_alert_that_is_not_allowed() -> Story {
    const STACK: [LabelEntry; 2] = [LabelEntry::new(1), LabelEntry::new(OF_PEER_A).bottom()];
    let frames =
        flood(&PEER_A, &STACK, Fate::Dropped(SPECIAL_LABEL_NOT_ALLOWED), (OF_PEER_A, "labels"));
    let story = Story::stream(
        [
            "peer A, behind eth2 in VLAN 100",
            "Each frame goes to the router's CPU, and the routing protocols starve.",
            "RFC 6398 §3, RFC 5920 §8.2.2",
        ],
        PE,
        vec![PEER_A.interface],
        frames,
    );
    story.totals(&[(SPECIAL_LABEL_NOT_ALLOWED, OF_THE_FLOOD), ("labels", LEGITIMATE)])
}

pub(super) fn of_router_alert_that_is_allowed() -> Story {
    const STACK: [LabelEntry; 2] = [LabelEntry::new(1), LabelEntry::new(3_000).bottom()];
    let frames = flood(&CORE, &STACK, Fate::Passes("pseudowires"), (RED, "red"));
    let story = Story::stream(
        [
            "a router of the own core, behind eth3",
            "The core may send router alert: the filter is no policer, and loses nothing.",
            "RFC 5085 §5.1.2, semantics §6",
        ],
        PE,
        vec![CORE.interface],
        frames,
    );
    story.totals(&[("pseudowires", OF_THE_FLOOD), ("red", LEGITIMATE)])
}

pub(super) fn of_ttl_1_with_labels_of_another_peer() -> Story {
    const STACK: [LabelEntry; 1] = [LabelEntry::new(OF_PEER_B).ttl(1).bottom()];
    let frames = flood(&PEER_A, &STACK, Fate::Dropped(LABEL_SPOOFED), (OF_PEER_A, "labels"));
    let story = Story::stream(
        [
            "peer A, behind eth2 in VLAN 100",
            "Each frame makes the router write an ICMP message.",
            "RFC 3032 §2.4.2, RFC 6192",
        ],
        PE,
        vec![PEER_A.interface],
        frames,
    );
    story.totals(&[(LABEL_SPOOFED, OF_THE_FLOOD), ("labels", LEGITIMATE)])
}

pub(super) fn of_ttl_1_with_its_own_label() -> Story {
    const STACK: [LabelEntry; 1] = [LabelEntry::new(24_063).ttl(1).bottom()];
    let frames = flood(&PEER_A, &STACK, Fate::Passes("labels"), (RED, "red"));
    let story = Story::stream(
        [
            "peer A, behind eth2 in VLAN 100",
            "Traceroute looks like this: to police it is the kernel's affair, to count it ours.",
            "RFC 3032 §2.4.2, semantics §5.3.3",
        ],
        PE,
        vec![PEER_A.interface],
        frames,
    );
    story.totals(&[("labels", OF_THE_FLOOD), ("red", LEGITIMATE)])
}

pub(super) fn of_ttl_0() -> Story {
    const STACK: [LabelEntry; 1] = [LabelEntry::new(RED).ttl(0).bottom()];
    let frames = flood(&CORE, &STACK, Fate::Dropped(TTL_ZERO), (RED, "red"));
    let story = Story::stream(
        [
            "a loop in the own core, behind eth3",
            "What circles arrives again and again, and drowns what does not.",
            "RFC 3032 §2.4.2",
        ],
        PE,
        vec![CORE.interface],
        frames,
    );
    story.totals(&[(TTL_ZERO, OF_THE_FLOOD), ("red", LEGITIMATE)])
}
