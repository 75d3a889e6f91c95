//! Frames that are not as they should be: too short, too deep, without an end.

use super::network::{CORE, OF_PEER_A, OF_PEER_C, OTHER_SID, OWN_SID, PE, PEER_A, PEER_C, RED};
use super::story::{Neighbour, Sending, Sent, Story};
use crate::frame::{Frame, LabelEntry, label_stack};
use crate::oracle::reason::{
    IMPLICIT_NULL, LABEL_OUT_OF_RANGE, LABEL_SPOOFED, RESERVED_LABEL, STACK_TOO_DEEP, TRUNCATED,
    TTL_ZERO,
};

const WHO: &str = "a router of the own core that somebody has taken over, behind eth3";
const WHO_PEER: &str = "peer C (AS 65003), inter-AS option C, behind eth2 in VLAN 102";

/// Label entries that fit into a frame of MTU 9000.
const JUMBO: usize = 9_000 / 4;

/// So many entries of this label, none of them the last.
fn bottomless(count: usize, label: u32) -> Frame {
    Frame::mpls([]).stack(vec![LabelEntry::new(label); count]).payload([])
}

/// So many entries of this label, S on the last.
fn deep(count: usize, label: u32) -> Frame {
    Frame::mpls([]).stack(label_stack(vec![label; count])).payload([])
}

fn cut(neighbour: &Neighbour, frame: &Frame, length: usize) -> Sending {
    neighbour.sends(format!("cut after {length} bytes"), frame.clone().cut(length))
}

pub(super) fn runts_of_every_length() -> Story {
    let one = Frame::mpls([RED]);
    // The last of four bytes makes the entry whole.
    let core = (14..18).map(|length| cut(&CORE, &one, length).dropped(TRUNCATED));
    let core: Vec<_> = core.chain([cut(&CORE, &one, 18).passes("red")]).collect();
    let tagged = Frame::mpls([OF_PEER_A]);
    // Not even the type is whole: no MPLS, and no frame that Linux shows anybody.
    let peer = (14..18).map(|length| cut(&PEER_A, &tagged, length).untouched());
    let peer: Vec<_> = peer
        .chain((18..22).map(|length| cut(&PEER_A, &tagged, length).dropped(TRUNCATED)))
        .chain([cut(&PEER_A, &tagged, 22).passes("labels")])
        .collect();
    Story::new(
        [
            WHO,
            "The rest of the label is whatever the buffer held before.",
            "RFC 3032 §2.1, semantics §4.2, §5.3.2",
        ],
        PE,
        [core, peer].concat(),
    )
}

pub(super) fn stacks_cut_at_every_byte() -> Story {
    let stack = Frame::mpls([OWN_SID, 0, 7, 777_777, OWN_SID, RED]);
    let whole = 14 + 6 * 4;
    let cut_short = (14..whole).map({
        let stack = stack.clone();
        move |length| cut(&CORE, &stack, length).dropped(TRUNCATED)
    });
    let opaque = Frame::mpls([OTHER_SID, 1, 2, 3]);
    // Below another router's label nothing is examined, and yet the stack must have an end.
    let cut_opaque =
        (18..14 + 4 * 4).map(move |length| cut(&CORE, &opaque, length).dropped(TRUNCATED));
    Story::new(
        [WHO, "Each entry may be the one that is not all there.", "RFC 3032 §2.1"],
        PE,
        cut_short.chain([cut(&CORE, &stack, whole).passes("own-sid")]).chain(cut_opaque),
    )
}

pub(super) fn jumbo_stacks() -> Story {
    let counts = [33, 34, 64, 100, 255, 256, 257, 500, 1_000, 2_000, JUMBO];
    let frames = counts.into_iter().flat_map(|count| {
        let core = |label| CORE.sends(format!("{count} times {label}"), deep(count, label));
        let peer = |label| PEER_C.sends(format!("{count} times {label}"), deep(count, label));
        [core(OWN_SID), core(OTHER_SID), core(RED), core(0), peer(OF_PEER_C)]
    });
    let story = Story::new(
        [
            WHO,
            "Hundreds of labels, each popped and looked up: one frame costs as much as a flood.",
            "semantics §5.3.1, max-depth",
        ],
        PE,
        frames.map(|sending| sending.dropped(STACK_TOO_DEEP)).chain([
            CORE.sends("as deep as is allowed", deep(32, OWN_SID)).passes("own-sid"),
            PEER_C.sends("as deep as is allowed", deep(16, OF_PEER_C)).passes("labels"),
            PEER_C.sends("one deeper", deep(17, OF_PEER_C)).dropped(STACK_TOO_DEEP),
            // The top label comes first.
            PEER_C.sends("forged and deep", deep(JUMBO, OWN_SID)).dropped(LABEL_SPOOFED),
        ]),
    );
    story.mtu(9_000)
}

pub(super) fn stacks_without_a_bottom_to_the_end_of_the_frame() -> Story {
    let of = |neighbour: &'static Neighbour, max_depth: usize, label| {
        let counts = (1..=max_depth + 2).chain([100, 500, JUMBO]);
        counts.map(move |count| {
            let what = format!("{count} times {label}, and the frame ends");
            let reason = if count < max_depth { TRUNCATED } else { STACK_TOO_DEEP };
            neighbour.sends(what, bottomless(count, label)).dropped(reason)
        })
    };
    let story = Story::new(
        [
            WHO_PEER,
            "A reader that looks for S only reads past the end of the frame.",
            "RFC 3032 §2.1, semantics §5.3",
        ],
        PE,
        of(&CORE, 32, OWN_SID)
            .chain(of(&CORE, 32, OTHER_SID))
            .chain(of(&CORE, 32, 0))
            .chain(of(&PEER_C, 16, OF_PEER_C)),
    );
    story.mtu(9_000)
}

pub(super) fn a_packet_that_is_read_as_labels() -> Story {
    let open =
        |labels: &[u32]| Frame::mpls([]).stack(labels.iter().map(|&label| LabelEntry::new(label)));
    // An IPv4 header of five words, the last cut off: in none is the bit set that S would be.
    let without_s = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1];
    Story::new(
        [WHO, "Without S the packet is the rest of the stack.", "RFC 3032 §2.1"],
        PE,
        [
            // 0x45000…: label 0x45000.
            CORE.sends("IPv4 below the own SID", open(&[OWN_SID])).dropped(LABEL_OUT_OF_RANGE),
            CORE.sends("IPv4 below explicit null", open(&[0])).dropped(LABEL_OUT_OF_RANGE),
            // 0x00003…: the words of such a payload are label 3.
            CORE.sends("zeroes and threes", open(&[OWN_SID]).payload([0, 0, 0x30, 0].repeat(8)))
                .dropped(IMPLICIT_NULL),
            CORE.sends("another router's label", open(&[OTHER_SID]).payload(without_s))
                .dropped(TRUNCATED),
            CORE.sends("explicit nulls of zeroes", open(&[OWN_SID]).payload([0; 200]))
                .dropped(STACK_TOO_DEEP),
        ],
    )
}

pub(super) fn dead_packets() -> Story {
    let stack = |entries: &[LabelEntry]| Frame::mpls([]).stack(entries.to_vec());
    let (dead, live) = (|label| LabelEntry::new(label).ttl(0), LabelEntry::new);
    Story::new(
        [WHO, "TTL 0 goes on circling where a router forgets to look.", "RFC 3032 §2.4.2"],
        PE,
        [
            CORE.sends("red's label", stack(&[dead(RED).bottom()])).dropped(TTL_ZERO),
            CORE.sends("the own SID", stack(&[dead(OWN_SID), live(RED).bottom()]))
                .dropped(TTL_ZERO),
            CORE.sends("transit", stack(&[dead(OTHER_SID), live(5).bottom()])).dropped(TTL_ZERO),
            CORE.sends("explicit null", stack(&[dead(0).bottom()])).dropped(TTL_ZERO),
            // Before anything about the label.
            CORE.sends("implicit null", stack(&[dead(3).bottom()])).dropped(TTL_ZERO),
            CORE.sends("forged", stack(&[dead(OF_PEER_A).bottom()])).dropped(TTL_ZERO),
            PEER_A.sends("its own label", stack(&[dead(OF_PEER_A).bottom()])).dropped(TTL_ZERO),
            PEER_C.sends("its own label", stack(&[dead(OF_PEER_C).bottom()])).dropped(TTL_ZERO),
            // Only the top entry's counts: the others are given one when they are exposed.
            CORE.sends("below the own SID", stack(&[live(OWN_SID), dead(RED).bottom()]))
                .passes("own-sid"),
            CORE.sends("below transit", stack(&[live(OTHER_SID), dead(5).bottom()])).passes("core"),
        ],
    )
}

pub(super) fn labels_that_are_never_on_the_wire() -> Story {
    let of = |neighbour: &'static Neighbour| {
        [3, 5, 6, 8, 9, 10, 11, 12].into_iter().flat_map(move |label| {
            let reason = if label == 3 { IMPLICIT_NULL } else { RESERVED_LABEL };
            let refused = |stack: &[u32]| -> Sent {
                let frame = Frame::mpls(stack.to_vec());
                neighbour.sends(format!("labels {stack:?}"), frame).dropped(reason)
            };
            [refused(&[label]), refused(&[label, RED]), refused(&[label, OF_PEER_C])]
        })
    };
    let below = [3, 5, 6, 8, 9, 10, 11, 12].into_iter().map(|label| {
        let reason = if label == 3 { IMPLICIT_NULL } else { RESERVED_LABEL };
        let frame = Frame::mpls([OWN_SID, 0, label, RED]);
        CORE.sends(format!("label {label} below the own SID"), frame).dropped(reason)
    });
    Story::new(
        [
            WHO,
            "Implicit null is a word of the signalling, and nobody has assigned the others.",
            "RFC 3032 §2.1, RFC 7274 §5",
        ],
        PE,
        of(&CORE).chain(of(&PEER_C)).chain(of(&PEER_A)).chain(below),
    )
}
