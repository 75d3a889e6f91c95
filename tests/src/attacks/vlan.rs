//! VLAN hopping: tags that lead to somebody else's ingress, or past all of them.

use super::story::{Neighbour, Sending, Sent, Story};
use crate::frame::{C_TAG, Frame, IPV4, OLD_OUTER_TAG, S_TAG, Tag};
use crate::oracle::reason::{
    INGRESS_UNBOUND, LABEL_OUT_OF_VRF, LABEL_SPOOFED, MPLS_NOT_ENABLED, VLAN_TOO_DEEP,
};

/// Neighbours by VLAN on one port, one of them behind a carrier's service tag; and a core port that
/// shares its wire with a customer's VLAN.
const PORTS: &str = r#"version = 1

[defaults]
mode = "enforce"

[contexts.red]
kind = "vrf"
labels = [100]

[contexts.blue]
kind = "vrf"
labels = [200]

[ingress.peer-a]
interface = "eth2"
vlan = [100]
role = "peer"
labels = ["24000-24063"]

[ingress.peer-b]
interface = "eth2"
vlan = [101]
role = "peer"
labels = ["24064-24127"]

[ingress.peer-by-carrier]
interface = "eth2"
vlan = [200, 100]
role = "peer"
labels = ["24128-24191"]

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["red", "blue"]

[ingress.ce-red]
interface = "eth3"
vlan = [7]
role = "customer"
"#;

const PEER_A: Neighbour = Neighbour { interface: "eth2", ingress: "peer-a", vlan: &[100] };
const PEER_B: Neighbour = Neighbour { interface: "eth2", ingress: "peer-b", vlan: &[101] };
const BY_CARRIER: Neighbour =
    Neighbour { interface: "eth2", ingress: "peer-by-carrier", vlan: &[200, 100] };
const CORE: Neighbour = Neighbour { interface: "eth3", ingress: "core-a", vlan: &[] };
const CUSTOMER: Neighbour = Neighbour { interface: "eth3", ingress: "ce-red", vlan: &[7] };

const OF_PEER_A: u32 = 24_000;
const OF_PEER_B: u32 = 24_064;
const OF_CARRIER: u32 = 24_128;
const BLUE: u32 = 200;

const WHO: &str = "peer A, behind eth2 in VLAN 100";
const WHO_CUSTOMER: &str = "customer red, in VLAN 7 of the core's port eth3";
const SOURCE: &str = "semantics §4.3";

/// A frame with these tags, outer to inner, around one label.
fn tagged(neighbour: &Neighbour, tags: &[Tag], label: u32) -> Sending {
    let frame = tags.iter().fold(Frame::mpls([label]), |frame, &tag| frame.tag(tag));
    let tags: Vec<_> =
        tags.iter().map(|tag| format!("{:#06x} VID {}", tag.tpid, tag.vid)).collect();
    neighbour.sends_as_is(format!("label {label} in [{}]", tags.join(", ")), &frame)
}

/// The same, refused because no ingress of the port has these tags.
fn unbound(neighbour: &Neighbour, tags: &[Tag], label: u32) -> Sent {
    tagged(neighbour, tags, label).dropped(INGRESS_UNBOUND)
}

const fn vid(vid: u16) -> Tag {
    Tag::customer(vid)
}

pub(super) fn a_wrong_vid() -> Story {
    let frames =
        [1, 7, 99, 102, 200, 2_047, 4_094, 4_095].map(|id| unbound(&PEER_A, &[vid(id)], OF_PEER_A));
    Story::new(
        [WHO, "A VLAN that the switch forgot to prune leads to no terms at all.", SOURCE],
        PORTS,
        frames.into_iter().chain([
            tagged(&PEER_A, &[vid(100)], OF_PEER_A).passes("labels"),
            unbound(&CORE, &[vid(100)], 100),
        ]),
    )
}

pub(super) fn another_neighbours_vid() -> Story {
    Story::new(
        [WHO, "In peer B's VLAN it is peer B, and may no more than peer B may.", SOURCE],
        PORTS,
        [
            tagged(&PEER_B, &[vid(101)], OF_PEER_A).dropped(LABEL_SPOOFED),
            tagged(&PEER_B, &[vid(101)], BLUE).dropped(LABEL_OUT_OF_VRF),
            tagged(&PEER_B, &[vid(101)], OF_PEER_B).passes("labels"),
            tagged(&PEER_A, &[vid(100)], OF_PEER_B).dropped(LABEL_SPOOFED),
            tagged(&CUSTOMER, &[vid(7)], BLUE).dropped(MPLS_NOT_ENABLED),
        ],
    )
}

pub(super) fn a_priority_tag() -> Story {
    let priority = vid(0).pcp(7);
    Story::new(
        [
            WHO,
            "VID 0 is no VLAN: a filter that binds it, or trips over it, lets the label through.",
            "IEEE 802.1Q §9.6, semantics §4.1",
        ],
        PORTS,
        [
            unbound(&PEER_A, &[priority], OF_PEER_A),
            unbound(&PEER_A, &[priority, priority], OF_PEER_A),
            tagged(&PEER_A, &[priority, vid(100)], OF_PEER_B).dropped(LABEL_SPOOFED),
            tagged(&PEER_A, &[vid(100), priority], OF_PEER_B).dropped(LABEL_SPOOFED),
            tagged(&PEER_A, &[priority, vid(100), priority], BLUE).dropped(LABEL_OUT_OF_VRF),
            tagged(&PEER_A, &[priority, vid(100), priority], OF_PEER_A).passes("labels"),
            tagged(&BY_CARRIER, &[vid(200), priority, vid(100)], BLUE).dropped(LABEL_OUT_OF_VRF),
            tagged(&BY_CARRIER, &[vid(200), priority, priority, vid(100)], OF_CARRIER)
                .passes("labels"),
            tagged(&CUSTOMER, &[priority, vid(7)], BLUE).dropped(MPLS_NOT_ENABLED),
            tagged(&CORE, &[priority], BLUE).passes("blue"),
        ],
    )
}

pub(super) fn swapped_and_missing_tags_of_two() -> Story {
    let (s, c) = (Tag::service, Tag::customer);
    Story::new(
        [
            "a customer of the carrier in the middle",
            "Two tags the other way round, or one of them only, are another wire.",
            SOURCE,
        ],
        PORTS,
        [
            tagged(&BY_CARRIER, &[s(200), c(100)], OF_CARRIER).passes("labels"),
            unbound(&BY_CARRIER, &[s(100), c(200)], OF_CARRIER),
            unbound(&BY_CARRIER, &[c(100), s(200)], OF_CARRIER),
            unbound(&BY_CARRIER, &[s(200)], OF_CARRIER),
            unbound(&BY_CARRIER, &[s(200), c(200)], OF_CARRIER),
            unbound(&BY_CARRIER, &[s(100), c(100)], OF_CARRIER),
            unbound(&BY_CARRIER, &[s(200), c(101)], OF_CARRIER),
            // The inner tag alone is peer A's.
            tagged(&PEER_A, &[c(100)], OF_CARRIER).dropped(LABEL_SPOOFED),
            tagged(&BY_CARRIER, &[s(200), c(100)], OF_PEER_A).dropped(LABEL_SPOOFED),
        ],
    )
}

pub(super) fn every_type_of_tag() -> Story {
    let types = [C_TAG, S_TAG, OLD_OUTER_TAG];
    let mut frames = Vec::new();
    for outer in types {
        let one = [Tag::new(outer, 100)];
        frames.push(tagged(&PEER_A, &one, OF_PEER_B).dropped(LABEL_SPOOFED));
        frames.push(tagged(&PEER_A, &one, OF_PEER_A).passes("labels"));
        frames.push(tagged(&CUSTOMER, &[Tag::new(outer, 7)], BLUE).dropped(MPLS_NOT_ENABLED));
        frames.push(unbound(&PEER_A, &[Tag::new(outer, 300)], OF_PEER_A));
        for inner in types {
            let two = [Tag::new(outer, 200), Tag::new(inner, 100)];
            frames.push(tagged(&BY_CARRIER, &two, BLUE).dropped(LABEL_OUT_OF_VRF));
            frames.push(tagged(&BY_CARRIER, &two, OF_CARRIER).passes("labels"));
            let swapped = [Tag::new(outer, 100), Tag::new(inner, 200)];
            frames.push(unbound(&BY_CARRIER, &swapped, OF_CARRIER));
        }
    }
    // No router takes these for tags, nor what is inside for MPLS.
    for other in [0x9200, 0x9300, 0x8808] {
        frames.push(tagged(&PEER_A, &[Tag::new(other, 100)], BLUE).untouched());
    }
    Story::new(
        [
            WHO,
            "Which type a tag has is the switch's affair; a filter of 0x8100 alone misses two.",
            "IEEE 802.1Q §9.5, semantics §4.1",
        ],
        PORTS,
        frames,
    )
}

pub(super) fn stripped_tags() -> Story {
    Story::new(
        [
            "whoever gets a switch to take the tag off",
            "Without its tag a frame is somebody else's: of nobody on eth2, of the core on eth3.",
            "semantics §4, receive VLAN offload",
        ],
        PORTS,
        [
            unbound(&PEER_A, &[], OF_PEER_A),
            unbound(&PEER_A, &[], OF_PEER_B),
            unbound(&PEER_A, &[], BLUE),
            unbound(&PEER_A, &[], 3),
            // With its tag on, as hardware must leave it, the customer's frame is the customer's.
            tagged(&CUSTOMER, &[vid(7)], BLUE).dropped(MPLS_NOT_ENABLED),
            tagged(&CUSTOMER, &[Tag::service(7)], 100).dropped(MPLS_NOT_ENABLED),
            tagged(&CORE, &[], BLUE).passes("blue"),
        ],
    )
}

pub(super) fn an_outer_tag_of_the_native_vlan() -> Story {
    let native = vid(1);
    Story::new(
        [
            WHO_CUSTOMER,
            "A switch takes the outer tag of its native VLAN off and sends the inner one on.",
            "semantics §4.3, double tagging",
        ],
        PORTS,
        [
            // Where no switch takes it off.
            unbound(&CUSTOMER, &[native, vid(7)], BLUE),
            unbound(&PEER_A, &[native, vid(100)], OF_PEER_A),
            unbound(&PEER_A, &[native, vid(101)], OF_PEER_B),
            unbound(&PEER_A, &[native], OF_PEER_A),
            // What comes of it behind a switch that does.
            tagged(&PEER_B, &[vid(101)], OF_PEER_A).dropped(LABEL_SPOOFED),
            tagged(&CUSTOMER, &[vid(7)], BLUE).dropped(MPLS_NOT_ENABLED),
        ],
    )
}

pub(super) fn three_and_four_tags() -> Story {
    let mut frames = vec![
        unbound(&PEER_A, &[vid(100), vid(100), vid(100)], OF_PEER_A),
        unbound(&BY_CARRIER, &[vid(200), vid(100), vid(1)], OF_CARRIER),
        unbound(&BY_CARRIER, &[vid(1), vid(200), vid(100)], OF_CARRIER),
        unbound(&PEER_A, &[vid(100), vid(0), vid(0), vid(101)], OF_PEER_A),
        unbound(&PEER_A, &[vid(1), vid(2), vid(3), vid(4)], OF_PEER_A),
        unbound(&PEER_A, &[vid(0); 4], OF_PEER_A),
        tagged(&PEER_A, &[vid(0), vid(0), vid(0), vid(100)], OF_PEER_B).dropped(LABEL_SPOOFED),
        tagged(&PEER_A, &[vid(0), vid(0), vid(0), vid(100)], OF_PEER_A).passes("labels"),
        tagged(&PEER_A, &[vid(100), vid(0), vid(0), vid(0)], BLUE).dropped(LABEL_OUT_OF_VRF),
        unbound(&CORE, &[vid(1), vid(2), vid(3)], BLUE),
    ];
    let three = [vid(1), vid(2), vid(3)];
    let ip = three.iter().fold(Frame::new(IPV4), |frame, &tag| frame.tag(tag));
    frames.push(PEER_A.sends_as_is("IPv4 in three tags", &ip).untouched());
    Story::new(
        [WHO, "More tags than a policy can name, around a good label.", SOURCE],
        PORTS,
        frames,
    )
}

pub(super) fn five_tags() -> Story {
    let too_deep = |tags: &[Tag], frame: Frame, what: &'static str| {
        let frame = tags.iter().fold(frame, |frame, &tag| frame.tag(tag));
        PEER_A.sends_as_is(what, &frame).dropped(VLAN_TOO_DEEP)
    };
    let mixed = [Tag::service(200), vid(100), Tag::new(OLD_OUTER_TAG, 1), vid(0), vid(2)];
    let good = || Frame::mpls([OF_PEER_A]);
    Story::new(
        [
            WHO,
            "A filter that gives up after some tags and says \"not MPLS\" passes what is inside.",
            "semantics §4.2",
        ],
        PORTS,
        [
            too_deep(&[vid(100); 5], good(), "five times VLAN 100"),
            too_deep(&[vid(0); 5], good(), "five priority tags"),
            too_deep(&[vid(0), vid(0), vid(0), vid(0), vid(100)], good(), "the last is the peer's"),
            too_deep(&mixed, good(), "tags of all types"),
            too_deep(&[vid(100); 5], Frame::new(IPV4), "around IPv4"),
            too_deep(&[vid(100); 5], good().cut(32), "and the frame ends in the fifth"),
            too_deep(&[vid(1); 8], good(), "eight tags"),
            too_deep(&[vid(1); 300], good(), "three hundred tags"),
            tagged(&CORE, &[vid(7); 5], BLUE).dropped(VLAN_TOO_DEEP),
            tagged(&PEER_A, &[vid(100)], OF_PEER_A).passes("labels"),
        ],
    )
}

pub(super) fn priority_and_drop_bits() -> Story {
    let bits = |pcp, dei| Tag { tpid: C_TAG, pcp, dei, vid: 100 };
    let frames = (0..8).flat_map(move |pcp| {
        [false, true].into_iter().flat_map(move |dei| {
            [
                tagged(&PEER_A, &[bits(pcp, dei)], OF_PEER_B).dropped(LABEL_SPOOFED),
                tagged(&PEER_A, &[bits(pcp, dei)], OF_PEER_A).passes("labels"),
            ]
        })
    });
    Story::new(
        [WHO, "A filter that compares all 16 bits takes VLAN 100 of class 5 for another.", SOURCE],
        PORTS,
        frames,
    )
}
