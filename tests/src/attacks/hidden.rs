//! A forbidden label behind special-purpose labels, which the router takes off and looks on.

use super::network::{
    BLUE, CORE, NOBODYS, OF_CORE, OF_PEER_A, OF_PEER_C, OWN_SID, PE, PEER_A, PEER_C, RED,
};
use super::story::{Fate, Neighbour, Sent, Story};
use crate::frame::{Frame, LabelEntry};
use crate::oracle::reason::{
    ELI_AT_BOTTOM, ENTROPY_LABEL_RESERVED, EXTENDED_LABEL_INVALID, EXTENDED_LABEL_NOT_ALLOWED,
    IMPLICIT_NULL, LABEL_OUT_OF_RANGE, LABEL_SPOOFED, RESERVED_LABEL, ROUTER_ALERT_AT_BOTTOM,
    SPECIAL_LABEL_NOT_ALLOWED, STACK_TOO_DEEP, XL_AT_BOTTOM,
};

/// A core that allows all special-purpose labels that can be allowed.
const ALL_ALLOWED: &str = r#"version = 1

[defaults]
mode = "enforce"

[contexts.red]
kind = "vrf"
labels = [100]

[ingress.peer-a]
interface = "eth2"
role = "peer"
labels = ["24000-24063"]

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["red"]
special = ["explicit-null", "router-alert", "entropy", "gal", "oam-alert", "extended"]
"#;

const WHO: &str = "a router of the own core that somebody has taken over, behind eth3";
const WHO_PEER: &str = "peer C (AS 65003), inter-AS option C, behind eth2 in VLAN 102";

/// Entropy label indicator, and a label as random as entropy labels are.
const ENTROPY: [u32; 2] = [7, 777_777];
/// Extension label, and an extended special-purpose label that nobody has assigned.
const EXTENDED: [u32; 2] = [15, 777_777];

/// What hides a label on a core that has the usual special-purpose labels.
const COVERS: [&[u32]; 5] = [&[0], &[1], &[2], &ENTROPY, &[13]];

/// The labels behind a cover that the core may not use, and one that it may.
fn behind(cover: &[u32]) -> Vec<Sent> {
    let sends = |last| {
        let stack = [cover, &[last]].concat();
        CORE.sends(format!("labels {stack:?}"), Frame::mpls(stack))
    };
    vec![
        sends(OF_PEER_A).dropped(LABEL_SPOOFED),
        sends(NOBODYS).dropped(LABEL_OUT_OF_RANGE),
        sends(3).dropped(IMPLICIT_NULL),
        sends(9).dropped(RESERVED_LABEL),
        sends(RED).passes("red"),
    ]
}

/// The same below this router's own SID, which chooses the rule.
fn behind_own_sid_and(cover: &[u32]) -> Vec<Sent> {
    let stack = [&[OWN_SID], cover].concat();
    let mut frames = behind(&stack);
    if let Some(allowed) = frames.last_mut() {
        allowed.fate = Fate::Passes("own-sid");
    }
    frames
}

fn story_of(cover: &[u32], threat: &'static str, source: &'static str) -> Story {
    Story::new([WHO, threat, source], PE, [behind(cover), behind_own_sid_and(cover)].concat())
}

pub(super) fn behind_ipv4_explicit_null() -> Story {
    story_of(&[0], "Explicit null is popped anywhere in the stack, and then?", "RFC 4182")
}

pub(super) fn behind_ipv6_explicit_null() -> Story {
    story_of(&[2], "A filter that knows label 0 may not know label 2.", "RFC 4182")
}

pub(super) fn behind_router_alert() -> Story {
    story_of(
        &[1],
        "The packet goes to the CPU, which forwards it by the label below.",
        "RFC 3032 §2.1, RFC 6178",
    )
}

pub(super) fn behind_an_entropy_label() -> Story {
    story_of(
        &ENTROPY,
        "Whoever takes the entropy label for the last one does not see the label below.",
        "RFC 6790 §4.2",
    )
}

pub(super) fn behind_gal() -> Story {
    story_of(&[13], "GAL need not be at the bottom any more.", "RFC 5586 §4.2, RFC 6423")
}

pub(super) fn behind_chains_of_all_of_them() -> Story {
    let twos = COVERS.iter().flat_map(|one| COVERS.map(|two| [one, two].concat()));
    let threes: Vec<_> =
        twos.clone().flat_map(|two| COVERS.map(|three| [&two[..], three].concat())).collect();
    let chains: Vec<_> = twos.chain(threes).collect();
    let frames: Vec<_> = chains
        .iter()
        .flat_map(|chain| [behind(chain), behind_own_sid_and(chain)].concat())
        .collect();
    Story::new(
        [WHO, "One exposed entry exposes the next, as often as one likes.", "RFC 4182, RFC 6790"],
        PE,
        frames,
    )
}

pub(super) fn behind_explicit_nulls_down_to_the_last_entry() -> Story {
    let frames = (1..=32).flat_map(|nulls| {
        let stack = |last| Frame::mpls((0..nulls).map(|_| 0).chain([last]));
        let sends = |last| CORE.sends(format!("{nulls} explicit nulls over {last}"), stack(last));
        if nulls < 32 {
            [sends(OF_PEER_A).dropped(LABEL_SPOOFED), sends(RED).passes("red")]
        } else {
            [sends(OF_PEER_A), sends(RED)].map(|sending| sending.dropped(STACK_TOO_DEEP))
        }
    });
    Story::new(
        [WHO, "Hides deeper than a filter reads, and not deeper than a router pops.", "RFC 4182"],
        PE,
        frames,
    )
}

pub(super) fn behind_labels_that_must_be_allowed_first() -> Story {
    let covers = [&[0][..], &[1], &[2], &ENTROPY, &[13], &[14], &EXTENDED];
    let mut frames: Vec<_> = covers.into_iter().flat_map(behind).collect();
    for one in covers {
        frames.extend(covers.into_iter().flat_map(|two| behind(&[one, two].concat())));
    }
    Story::new(
        [
            WHO,
            "With OAM alert and extended labels allowed too, these hide nothing either.",
            "RFC 7274 §3, RFC 9017 §4, RFC 3429",
        ],
        ALL_ALLOWED,
        frames,
    )
}

pub(super) fn behind_labels_that_the_core_does_not_allow() -> Story {
    let stack = |cover: &[u32]| Frame::mpls([cover, &[OF_PEER_A]].concat());
    let sends = |cover: &[u32]| CORE.sends(format!("{cover:?} over peer A's"), stack(cover));
    Story::new(
        [
            WHO,
            "OAM alert and extended labels go where a router has its least tried code.",
            "RFC 3429, RFC 7274 §3, RFC 9017 §4",
        ],
        PE,
        [
            sends(&[14]).dropped(SPECIAL_LABEL_NOT_ALLOWED),
            sends(&EXTENDED).dropped(EXTENDED_LABEL_NOT_ALLOWED),
            sends(&[OWN_SID, 14]).dropped(SPECIAL_LABEL_NOT_ALLOWED),
            sends(&[OWN_SID, 15, 16]).dropped(EXTENDED_LABEL_NOT_ALLOWED),
            sends(&[0, 15, 1_048_575]).dropped(EXTENDED_LABEL_NOT_ALLOWED),
            sends(&[7, 777_777, 14]).dropped(SPECIAL_LABEL_NOT_ALLOWED),
        ],
    )
}

pub(super) fn from_a_peer_that_has_no_special_label() -> Story {
    let covers = [&[0][..], &[1], &[2], &ENTROPY, &[13], &[14]];
    let sends = |neighbour: &Neighbour, cover: &[u32], last| {
        let stack = [cover, &[last]].concat();
        neighbour.sends(format!("labels {stack:?}"), Frame::mpls(stack))
    };
    let mut frames = Vec::new();
    for cover in covers {
        for last in [BLUE, OF_CORE, NOBODYS] {
            frames.push(sends(&PEER_C, cover, last).dropped(SPECIAL_LABEL_NOT_ALLOWED));
        }
        // Its own label does not make it better.
        frames.push(sends(&PEER_C, cover, OF_PEER_C).dropped(SPECIAL_LABEL_NOT_ALLOWED));
        frames.push(sends(&PEER_A, cover, OF_PEER_A).dropped(SPECIAL_LABEL_NOT_ALLOWED));
    }
    frames.push(sends(&PEER_C, &EXTENDED, OF_PEER_C).dropped(EXTENDED_LABEL_NOT_ALLOWED));
    // The entry after XL is one more than peer A may send: that comes before the permission.
    frames.push(sends(&PEER_A, &EXTENDED, OF_PEER_A).dropped(STACK_TOO_DEEP));
    Story::new(
        [
            WHO_PEER,
            "The router would pop what was never agreed on, and look up what is below.",
            "RFC 5920 §8.2.2, semantics §3",
        ],
        PE,
        frames,
    )
}

pub(super) fn as_an_entropy_label_that_is_none() -> Story {
    let frames = (0..16).flat_map(|value| {
        let sends = |stack: &[u32]| {
            let frame = Frame::mpls(stack.to_vec());
            CORE.sends(format!("labels {stack:?}"), frame).dropped(ENTROPY_LABEL_RESERVED)
        };
        [
            sends(&[7, value]),
            sends(&[7, value, RED]),
            sends(&[OWN_SID, 7, value, RED]),
            sends(&[7, 777_777, 7, value, RED]),
        ]
    });
    let ordinary = CORE.sends("the first that is allowed", Frame::mpls([7, 16, RED])).passes("red");
    Story::new(
        [
            WHO,
            "A special-purpose label where the entropy label belongs: two readings, one is wrong.",
            "RFC 6790 §4.2",
        ],
        PE,
        frames.chain([ordinary]),
    )
}

pub(super) fn as_an_extended_label_that_is_none() -> Story {
    let frames = (0..16).flat_map(|value| {
        let sends = |stack: &[u32]| {
            let frame = Frame::mpls(stack.to_vec());
            CORE.sends(format!("labels {stack:?}"), frame).dropped(EXTENDED_LABEL_INVALID)
        };
        [sends(&[15, value]), sends(&[15, value, RED]), sends(&[0, 15, value, RED])]
    });
    let ordinary =
        CORE.sends("the first that is allowed", Frame::mpls([15, 16, RED])).passes("red");
    Story::new(
        [WHO, "15 over 15, or over 0: nobody says what a router makes of it.", "RFC 9017 §4"],
        ALL_ALLOWED,
        frames.chain([ordinary]),
    )
}

pub(super) fn as_an_extended_label_that_is_none_and_not_allowed_either() -> Story {
    let frames = (0..16).map(|value| {
        let stack = [OWN_SID, 15, value, RED];
        let sending = CORE.sends(format!("labels {stack:?}"), Frame::mpls(stack));
        sending.dropped(EXTENDED_LABEL_INVALID)
    });
    let permission = CORE.sends("the first that is none of these", Frame::mpls([15, 16, RED]));
    Story::new(
        [
            WHO,
            "The counter is to name what is wrong with the frame, then what is not allowed.",
            "semantics §5, RFC 9017 §4",
        ],
        PE,
        frames.chain([permission.dropped(EXTENDED_LABEL_NOT_ALLOWED)]),
    )
}

pub(super) fn with_nothing_behind() -> Story {
    let bottom = |neighbour: &Neighbour, above: &[u32], label: u32| {
        let mut stack: Vec<_> = above.iter().map(|&label| LabelEntry::new(label)).collect();
        stack.push(LabelEntry::new(label).bottom());
        let what = format!("label {label} with S set below {above:?}");
        neighbour.sends(what, Frame::mpls([]).stack(stack))
    };
    Story::new(
        [
            WHO,
            "An indicator at the bottom: the router reads the packet below as one more label.",
            "RFC 3032 §2.1, RFC 6790 §4.2, RFC 9017 §4",
        ],
        PE,
        [
            bottom(&CORE, &[], 1).dropped(ROUTER_ALERT_AT_BOTTOM),
            bottom(&CORE, &[], 7).dropped(ELI_AT_BOTTOM),
            bottom(&CORE, &[], 15).dropped(XL_AT_BOTTOM),
            bottom(&CORE, &[OWN_SID], 1).dropped(ROUTER_ALERT_AT_BOTTOM),
            bottom(&CORE, &[OWN_SID], 7).dropped(ELI_AT_BOTTOM),
            bottom(&CORE, &[OWN_SID, 0], 15).dropped(XL_AT_BOTTOM),
            bottom(&CORE, &[7, 777_777], 7).dropped(ELI_AT_BOTTOM),
            bottom(&PEER_C, &[], 1).dropped(ROUTER_ALERT_AT_BOTTOM),
            bottom(&PEER_C, &[], 7).dropped(ELI_AT_BOTTOM),
            bottom(&PEER_A, &[], 15).dropped(XL_AT_BOTTOM),
        ],
    )
}
