//! An allowed label that this router pops over one that is forbidden.
//!
//! RFC 4364 §13.1 wants "every label that is exposed by label popping" to be one that was given to
//! the neighbour.

use super::network::{BLUE, NOBODYS, OF_CORE, OF_PEER_A, OWN_SID, RED};
use super::story::{Neighbour, Sent, Story};
use crate::frame::Frame;
use crate::oracle::reason::{
    IMPLICIT_NULL, LABEL_OUT_OF_RANGE, LABEL_OUT_OF_VRF, LABEL_SPOOFED, RESERVED_LABEL,
    SPECIAL_LABEL_NOT_ALLOWED, STACK_TOO_DEEP,
};

/// A neighbour that steers by segments: it may end them at this router. Depth 16, as is usual for a
/// peer. And the core, depth 32, which is not to reach blue here.
const SEGMENTS: &str = r#"version = 1

[defaults]
mode = "enforce"

[contexts.own-sid]
kind = "transport"
labels = [16007]
pops = true

[contexts.red]
kind = "vrf"
labels = [100]

[contexts.blue]
kind = "vrf"
labels = [200]

[ingress.segment-peer]
interface = "eth2"
role = "peer"
contexts = ["own-sid"]
labels = ["24000-24063"]

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["own-sid", "red"]
labels = ["24192-24255"]
"#;

/// The label 24010 pops, as the context says, and the peer has it among its `labels` only.
const BY_ITS_LABELS: &str = r#"version = 1

[defaults]
mode = "enforce"

[contexts.popped-for-peers]
kind = "transport"
labels = [24010]
pops = true

[contexts.blue]
kind = "vrf"
labels = [200]

[ingress.segment-peer]
interface = "eth2"
role = "peer"
labels = ["24000-24063"]

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["popped-for-peers"]
"#;

/// One entry only, and it exposes the next.
const SHALLOW: &str = r#"version = 1

[defaults]
mode = "enforce"

[contexts.own-sid]
kind = "transport"
labels = [16007]
pops = true

[ingress.segment-peer]
interface = "eth2"
role = "peer"
contexts = ["own-sid"]
max-depth = 1
"#;

const PEER: Neighbour = Neighbour { interface: "eth2", ingress: "segment-peer", vlan: &[] };
const CORE: Neighbour = Neighbour { interface: "eth3", ingress: "core-a", vlan: &[] };

const WHO_PEER: &str = "a peer that may use this router's own SID, behind eth2";
const WHO_CORE: &str = "a router of the own core that somebody has taken over, behind eth3";
const EXPOSED: &str = "RFC 4364 §13.1, RFC 5920 §8.2.3";

/// The stack of this depth with this router's own SID above the last label.
fn below_own_sids(depth: usize, label: u32) -> Frame {
    let above = (1..depth).map(|_| OWN_SID);
    Frame::mpls(above.chain([label]))
}

/// The label at the bottom of stacks of 2 entries up to one more than the neighbour may send.
fn at_every_depth(
    neighbour: &'static Neighbour,
    max_depth: usize,
    label: u32,
    reason: &'static str,
) -> impl Iterator<Item = Sent> + use<> {
    (2..=max_depth + 1).map(move |depth| {
        let sending = neighbour.sends(
            format!("label {label} in depth {depth}, below {} own SIDs", depth - 1),
            below_own_sids(depth, label),
        );
        sending.dropped(if depth > max_depth { STACK_TOO_DEEP } else { reason })
    })
}

/// The same for a label that the neighbour has: as deep as it may send, and no deeper.
fn allowed_at_every_depth(
    neighbour: &'static Neighbour,
    max_depth: usize,
    label: u32,
) -> impl Iterator<Item = Sent> + use<> {
    let sends = move |depth: usize| {
        let what = format!("allowed label {label} in depth {depth}");
        neighbour.sends(what, below_own_sids(depth, label))
    };
    let too_deep = sends(max_depth + 1).dropped(STACK_TOO_DEEP);
    (2..=max_depth).map(move |depth| sends(depth).passes("own-sid")).chain([too_deep])
}

pub(super) fn a_vpn_label_at_every_depth_from_a_peer() -> Story {
    Story::new(
        [WHO_PEER, "The allowed SID is popped and blue's label looked up next.", EXPOSED],
        SEGMENTS,
        at_every_depth(&PEER, 16, BLUE, LABEL_OUT_OF_VRF)
            .chain(at_every_depth(&PEER, 16, RED, LABEL_OUT_OF_VRF))
            .chain(allowed_at_every_depth(&PEER, 16, OF_PEER_A)),
    )
}

pub(super) fn a_vpn_label_at_every_depth_from_the_core() -> Story {
    Story::new(
        [WHO_CORE, "Enters a VRF that has no site in this part of the core.", EXPOSED],
        SEGMENTS,
        at_every_depth(&CORE, 32, BLUE, LABEL_OUT_OF_VRF)
            .chain(allowed_at_every_depth(&CORE, 32, RED)),
    )
}

pub(super) fn a_label_of_another_neighbour_at_every_depth() -> Story {
    Story::new(
        [
            WHO_PEER,
            "Below the SID that is popped, the label of another neighbour sends it out there.",
            EXPOSED,
        ],
        SEGMENTS,
        at_every_depth(&PEER, 16, OF_CORE, LABEL_SPOOFED).chain(at_every_depth(
            &CORE,
            32,
            OF_PEER_A,
            LABEL_SPOOFED,
        )),
    )
}

pub(super) fn a_label_that_was_never_given_out_at_every_depth() -> Story {
    Story::new(
        [
            WHO_PEER,
            "Probes below the SID for labels that a daemon will give out in a moment.",
            EXPOSED,
        ],
        SEGMENTS,
        at_every_depth(&PEER, 16, NOBODYS, LABEL_OUT_OF_RANGE).chain(at_every_depth(
            &CORE,
            32,
            NOBODYS,
            LABEL_OUT_OF_RANGE,
        )),
    )
}

pub(super) fn a_special_label_at_every_depth() -> Story {
    Story::new(
        [
            WHO_PEER,
            "Below the SID, what is refused on top: explicit null, implicit null, reserved labels.",
            "RFC 3032 §2.1, RFC 7274 §5",
        ],
        SEGMENTS,
        at_every_depth(&PEER, 16, 0, SPECIAL_LABEL_NOT_ALLOWED)
            .chain(at_every_depth(&PEER, 16, 3, IMPLICIT_NULL))
            .chain(at_every_depth(&CORE, 32, 3, IMPLICIT_NULL))
            .chain(at_every_depth(&CORE, 32, 9, RESERVED_LABEL)),
    )
}

pub(super) fn a_label_that_pops_though_the_ingress_has_it_as_its_own() -> Story {
    Story::new(
        [
            WHO_PEER,
            "That a label pops is a matter of the router, whichever rule let it in.",
            "semantics §2, context that pops",
        ],
        BY_ITS_LABELS,
        [
            PEER.sends("the popped label over blue's", Frame::mpls([24_010, BLUE]))
                .dropped(LABEL_OUT_OF_VRF),
            PEER.sends("twice over nobody's", Frame::mpls([24_010, 24_010, NOBODYS]))
                .dropped(LABEL_OUT_OF_RANGE),
            PEER.sends("over the peer's own", Frame::mpls([24_010, 24_000])).passes("labels"),
            PEER.sends("another label over blue's", Frame::mpls([24_011, BLUE])).passes("labels"),
            PEER.sends("the popped label alone", Frame::mpls([24_010])).passes("labels"),
        ],
    )
}

pub(super) fn a_second_label_where_one_is_allowed() -> Story {
    Story::new(
        [WHO_PEER, "With max-depth 1, nothing at all may be below.", "semantics §5.3.1"],
        SHALLOW,
        [
            PEER.sends("the SID alone", Frame::mpls([OWN_SID])).passes("own-sid"),
            PEER.sends("the SID twice", Frame::mpls([OWN_SID, OWN_SID])).dropped(STACK_TOO_DEEP),
            PEER.sends("over nobody's", Frame::mpls([OWN_SID, NOBODYS])).dropped(STACK_TOO_DEEP),
            PEER.sends("over implicit null", Frame::mpls([OWN_SID, 3])).dropped(STACK_TOO_DEEP),
        ],
    )
}
