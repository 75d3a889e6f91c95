//! What must get through, or the network breaks.

use super::network::{
    BLUE, CORE, CUSTOMER, NOBODYS, OF_CORE, OF_PEER_A, OF_PEER_B, OF_PEER_C, OTHER_SID, OWN_SID,
    PE, PEER_A, PEER_B, PEER_C, PSEUDOWIRE, RED,
};
use super::payload::{bfd, channel, ethernet, ipv6, lsp_ping};
use super::story::{Neighbour, Sent, Story};
use crate::frame::{Frame, IPV4, LabelEntry, Tag};

const WHO_CORE: &str = "the own core, behind eth3";

/// Types of channels (RFC 4385, RFC 5586, RFC 5885).
const IPV4_CHANNEL: u16 = 0x0021;
const BFD_CHANNEL: u16 = 0x0007;

const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;

/// Frames of other protocols: what is beside MPLS on a wire, by type, address and first bytes.
fn other_protocols() -> Vec<(&'static str, Frame)> {
    let to = |address, ether_type, payload: Vec<u8>| {
        Frame::new(ether_type).destination(address).payload(payload)
    };
    let unicast = [0x02, 0, 0x5e, 0x10, 0, 0x02];
    let padded = |bytes: &[u8]| [bytes, &[0; 46]].concat();
    vec![
        ("IPv4", Frame::new(IPV4)),
        ("IPv6", to(unicast, IPV6, ipv6())),
        ("ARP", to([0xff; 6], ARP, padded(&[0, 1, 8, 0, 6, 4, 0, 1]))),
        ("LLDP", to([0x01, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc, padded(&[2, 7, 4]))),
        ("LACP", to([0x01, 0x80, 0xc2, 0, 0, 0x02], 0x8809, padded(&[1, 1, 1, 20]))),
        ("PPPoE discovery", to([0xff; 6], 0x8863, padded(&[0x11, 0x09, 0, 0]))),
        ("PPPoE session with MPLS in it", {
            to(unicast, 0x8864, padded(&[0x11, 0, 0, 1, 0, 10, 0x02, 0x81, 0, 0x0c, 0x81, 64]))
        }),
        ("802.1X", to([0x01, 0x80, 0xc2, 0, 0, 0x03], 0x888e, padded(&[2, 1, 0, 0]))),
        ("MACsec", to(unicast, 0x88e5, padded(&[0x2c, 0, 0, 0, 0, 1]))),
        // A length instead of a type, then LLC: IS-IS and spanning tree.
        ("IS-IS", to([0x01, 0x80, 0xc2, 0, 0, 0x15], 0x002e, padded(&[0xfe, 0xfe, 3, 0x83]))),
        ("spanning tree", to([0x01, 0x80, 0xc2, 0, 0, 0], 0x0026, padded(&[0x42, 0x42, 3]))),
        ("a neighbour of the type", to(unicast, 0x8846, padded(&[0, 12, 0x81, 64]))),
        ("the other neighbour of the type", to(unicast, 0x8849, padded(&[0, 12, 0x81, 64]))),
    ]
}

fn entry(label: u32) -> LabelEntry {
    LabelEntry::new(label)
}

fn stack(entries: impl IntoIterator<Item = LabelEntry>) -> Frame {
    Frame::mpls([]).stack(entries)
}

pub(super) fn vpn_traffic_after_penultimate_hop_popping() -> Story {
    let labels =
        [(100, "red"), (1_099, "red"), (200, "blue"), (2_000, "blue"), (3_099, "pseudowires")];
    let frames = labels.map(|(label, rule)| {
        CORE.sends(format!("label {label} alone"), Frame::mpls([label])).passes(rule)
    });
    Story::new(
        [
            WHO_CORE,
            "Every VPN is dead if a VPN label is taken for a customer's only.",
            "RFC 3031 §3.16, RFC 4364 §5",
        ],
        PE,
        frames.into_iter().chain([
            CORE.sends("given to the PEs as next hop self", Frame::mpls([OF_CORE]))
                .passes("labels"),
            PEER_A.sends("from peer A, to VRF red", Frame::mpls([RED])).passes("red"),
            PEER_A.sends("from peer A, to be swapped", Frame::mpls([OF_PEER_A])).passes("labels"),
            PEER_B.sends("from peer B, to be swapped", Frame::mpls([OF_PEER_B])).passes("labels"),
        ]),
    )
}

pub(super) fn vpn_traffic_below_transport_labels() -> Story {
    let sends =
        |labels: &[u32]| CORE.sends(format!("labels {labels:?}"), Frame::mpls(labels.to_vec()));
    Story::new(
        [WHO_CORE, "The backbone carries nothing any more.", "RFC 4364 §5, RFC 8660"],
        PE,
        [
            sends(&[OWN_SID, RED]).passes("own-sid"),
            sends(&[OWN_SID, OWN_SID, BLUE]).passes("own-sid"),
            sends(&[OWN_SID]).passes("own-sid"),
            // Transit: what is below belongs to the router that pops the top label.
            sends(&[OTHER_SID]).passes("core"),
            sends(&[OTHER_SID, RED]).passes("core"),
            sends(&[OTHER_SID, NOBODYS]).passes("core"),
            sends(&[16_000, 16_002, 23_999, 3_000]).passes("core"),
            sends(&[OWN_SID, OTHER_SID, NOBODYS]).passes("own-sid"),
        ],
    )
}

pub(super) fn explicit_null_in_the_core() -> Story {
    let six = |labels: &[u32]| Frame::mpls(labels.to_vec()).payload(ipv6());
    Story::new(
        [WHO_CORE, "The class of traffic is lost one hop early.", "RFC 3032 §2.1, RFC 4182"],
        PE,
        [
            CORE.sends("IPv4 explicit null over IPv4", Frame::mpls([0])).passes("special"),
            CORE.sends("IPv6 explicit null over IPv6", six(&[2])).passes("special"),
            CORE.sends("over a VPN label", Frame::mpls([0, RED])).passes("red"),
            CORE.sends("over a VPN label of IPv6 (6VPE)", six(&[2, RED])).passes("red"),
            CORE.sends("below the own SID", Frame::mpls([OWN_SID, 0])).passes("own-sid"),
            CORE.sends("below and above", Frame::mpls([0, OWN_SID, 0, BLUE])).passes("own-sid"),
            CORE.sends("6PE", six(&[OTHER_SID, 2])).passes("core"),
        ],
    )
}

pub(super) fn traceroute() -> Story {
    let mut frames: Vec<Sent> = (1..=255)
        .map(|ttl| {
            let frame = stack([entry(RED).ttl(ttl).bottom()]);
            CORE.sends(format!("red's label with TTL {ttl}"), frame).passes("red")
        })
        .collect();
    let sends = |what: &'static str, top: u8, below: u8| {
        let frame = stack([entry(OWN_SID).ttl(top), entry(RED).ttl(below).bottom()]);
        CORE.sends(what, frame).passes("own-sid")
    };
    frames.extend([
        sends("TTL 1 over 1", 1, 1),
        sends("TTL 1 over 255", 1, 255),
        sends("TTL 255 over 0, which is written anew", 255, 0),
        PEER_A.sends("from peer A", stack([entry(OF_PEER_A).ttl(1).bottom()])).passes("labels"),
        PEER_C.sends("from peer C", stack([entry(OF_PEER_C).ttl(255).bottom()])).passes("labels"),
    ]);
    Story::new(
        [
            "whoever looks for a fault, in the core and behind the peers",
            "Each hop is to answer a TTL of 1: dropped here, the path ends in stars.",
            "RFC 3032 §2.4, RFC 4950",
        ],
        PE,
        frames,
    )
}

pub(super) fn lsp_ping_and_bfd() -> Story {
    let gal = |above: &[u32], kind, message: Vec<u8>| {
        let above: Vec<_> = above.iter().map(|&label| entry(label)).collect();
        let gal = entry(13).ttl(1).bottom();
        stack(above.into_iter().chain([gal])).payload([&channel(kind)[..], &message].concat())
    };
    let udp = |labels: &[u32], packet: Vec<u8>| Frame::mpls(labels.to_vec()).payload(packet);
    Story::new(
        [
            "LSP ping and BFD of the own core, behind eth3",
            "A broken LSP is not found, and a good one is taken for broken.",
            "RFC 8029, RFC 5884, RFC 5586, RFC 5085",
        ],
        PE,
        [
            CORE.sends("ping, router alert in the IP header", udp(&[OWN_SID], lsp_ping()))
                .passes("own-sid"),
            CORE.sends("ping of a VPN", udp(&[RED], lsp_ping())).passes("red"),
            CORE.sends("ping in transit", udp(&[OTHER_SID], lsp_ping())).passes("core"),
            CORE.sends("ping below explicit null", udp(&[0], lsp_ping())).passes("special"),
            CORE.sends("ping below router alert", udp(&[1, RED], lsp_ping())).passes("red"),
            CORE.sends("ping of a VPN, router alert above", udp(&[OWN_SID, 1, RED], lsp_ping()))
                .passes("own-sid"),
            CORE.sends("BFD of an LSP", udp(&[OWN_SID], bfd())).passes("own-sid"),
            CORE.sends("ping by GAL", gal(&[OWN_SID], IPV4_CHANNEL, lsp_ping())).passes("own-sid"),
            CORE.sends("BFD by GAL", gal(&[OWN_SID], BFD_CHANNEL, bfd())).passes("own-sid"),
            CORE.sends("GAL of a section", gal(&[], BFD_CHANNEL, bfd())).passes("special"),
            CORE.sends("GAL in transit", gal(&[OTHER_SID], IPV4_CHANNEL, lsp_ping()))
                .passes("core"),
        ],
    )
}

pub(super) fn pseudowires() -> Story {
    const CONTROL_WORD: [u8; 4] = [0, 0, 0x12, 0x34];
    // What is below the pseudowire's label starts with a MAC address; this one reads like label 200
    // with S set, and the next like label 3 without.
    let like_blues = ethernet([0x00, 0x0c, 0x81, 0x40, 0, 0]);
    let like_implicit_null = ethernet([0x00, 0x00, 0x30, 0x40, 0, 0]);
    let like_ipv4 = ethernet([0x45, 0, 0, 0x1c, 0, 0]);
    let wire = |payload: Vec<u8>| Frame::mpls([PSEUDOWIRE]).payload(payload);
    let worded = [&CONTROL_WORD[..], &ethernet([2; 6])].concat();
    let verification = [&channel(IPV4_CHANNEL)[..], &lsp_ping()].concat();
    let alert = Frame::mpls([1, PSEUDOWIRE]).payload(verification.clone());
    let expired = stack([entry(PSEUDOWIRE).ttl(1).bottom()]).payload(verification.clone());
    let below = Frame::mpls([OWN_SID, PSEUDOWIRE]).payload(worded.clone());
    Story::new(
        [
            "the other ends of pseudowires, in the core behind eth3",
            "Customers' frames are read as labels, and some of them disappear.",
            "RFC 4385 §2, RFC 4448, RFC 4928, RFC 5085",
        ],
        PE,
        [
            CORE.sends("with control word", wire(worded)),
            CORE.sends("without control word", wire(ethernet([2; 6]))),
            CORE.sends("a MAC address like blue's label", wire(like_blues)),
            CORE.sends("a MAC address like implicit null", wire(like_implicit_null)),
            CORE.sends("a MAC address like IPv4", wire(like_ipv4)),
            CORE.sends("only zeroes", wire(vec![0; 46])),
            CORE.sends("only ones", wire(vec![0xff; 46])),
            CORE.sends("verified in band (VCCV type 1)", wire(verification)),
            CORE.sends("verified by router alert (type 2)", alert),
            CORE.sends("verified by TTL (type 3)", expired),
        ]
        .map(|sending| sending.passes("pseudowires"))
        .into_iter()
        .chain([CORE.sends("with control word, below the own SID", below).passes("own-sid")]),
    )
}

pub(super) fn flow_labels() -> Story {
    // As random as hashes are: also labels that lead somewhere here, and special-looking ones.
    let flows = [16, 77, RED, BLUE, OTHER_SID, OWN_SID, OF_PEER_A, NOBODYS, 777_777, 1_048_575];
    let frames = flows.into_iter().flat_map(|flow| {
        let alone = Frame::mpls([PSEUDOWIRE, flow]).payload(ethernet([2; 6]));
        let below = Frame::mpls([OWN_SID, PSEUDOWIRE, flow]).payload(ethernet([2; 6]));
        [
            CORE.sends(format!("flow label {flow}"), alone).passes("pseudowires"),
            CORE.sends(format!("flow label {flow}, after the own SID"), below).passes("own-sid"),
        ]
    });
    Story::new(
        [
            "the other ends of pseudowires, in the core behind eth3",
            "Some flows of a pseudowire die for ever, those whose hash looks forged.",
            "RFC 6391 §2",
        ],
        PE,
        frames,
    )
}

pub(super) fn entropy_labels() -> Story {
    let entropies = [16, RED, BLUE, OWN_SID, OF_PEER_A, NOBODYS, 1_048_575];
    let frames = entropies.into_iter().flat_map(|entropy| {
        let sends =
            |labels: &[u32]| CORE.sends(format!("labels {labels:?}"), Frame::mpls(labels.to_vec()));
        let dead = stack([entry(7), entry(entropy).ttl(0), entry(RED).bottom()]);
        [
            sends(&[OWN_SID, 7, entropy]).passes("own-sid"),
            sends(&[OWN_SID, 7, entropy, RED]).passes("own-sid"),
            sends(&[7, entropy, RED]).passes("red"),
            sends(&[7, entropy]).passes("special"),
            sends(&[OTHER_SID, 7, entropy, NOBODYS]).passes("core"),
            sends(&[OWN_SID, 7, entropy, OWN_SID, 7, entropy, BLUE]).passes("own-sid"),
            CORE.sends("an entropy label has TTL 0", dead).passes("red"),
        ]
    });
    Story::new(
        [WHO_CORE, "Flows with some hashes die, and nobody finds out which.", "RFC 6790 §4.2"],
        PE,
        frames,
    )
}

pub(super) fn labels_that_other_routers_own() -> Story {
    let sends = |neighbour: &Neighbour, labels: &[u32]| {
        neighbour.sends(format!("labels {labels:?}"), Frame::mpls(labels.to_vec()))
    };
    let deep: Vec<u32> = (0..16).map(|number| OF_PEER_C + number).collect();
    Story::new(
        [
            "peer C, inter-AS option C and carriers' carrier, behind eth2 in VLAN 102",
            "Below its label are those of remote PEs, which no router in between knows.",
            "RFC 4364 §10 (c), §9; semantics §1",
        ],
        PE,
        [
            sends(&PEER_C, &[OF_PEER_C]).passes("labels"),
            sends(&PEER_C, &[24_191, NOBODYS]).passes("labels"),
            sends(&PEER_C, &[OF_PEER_C, BLUE]).passes("labels"),
            sends(&PEER_C, &[OF_PEER_C, OF_PEER_A, OTHER_SID, 77]).passes("labels"),
            sends(&PEER_C, &[OF_PEER_C, 7, 777_777, 77]).passes("labels"),
            sends(&PEER_C, &[OF_PEER_C, 0, 77]).passes("labels"),
            sends(&PEER_C, &deep).passes("labels"),
            // An EVPN segment's label below the service label.
            sends(&CORE, &[3_050, 888_888]).passes("pseudowires"),
        ],
    )
}

pub(super) fn frames_of_9000_bytes() -> Story {
    let long = |frame: Frame| frame.length(14 + 9_000);
    let tagged = |frame: Frame| frame.length(18 + 9_000);
    let deepest = (0..31).map(|_| OWN_SID).chain([RED]);
    let story = Story::new(
        [
            WHO_CORE,
            "Small packets get through and large ones do not: the fault that takes days to find.",
            "semantics §4.4, RFC 3032 §3",
        ],
        PE,
        [
            CORE.sends("VPN traffic", long(Frame::mpls([RED]))).passes("red"),
            CORE.sends("below the own SID", long(Frame::mpls([OWN_SID, BLUE]))).passes("own-sid"),
            CORE.sends("in transit", long(Frame::mpls([OTHER_SID, 77]))).passes("core"),
            CORE.sends("as deep as is allowed", long(Frame::mpls(deepest))).passes("own-sid"),
            CORE.sends("half as long", Frame::mpls([RED]).length(4_500)).passes("red"),
            PEER_A.sends("from peer A", tagged(Frame::mpls([OF_PEER_A]))).passes("labels"),
            PEER_C.sends("from peer C", tagged(Frame::mpls([OF_PEER_C, 77]))).passes("labels"),
            CUSTOMER.sends("IPv4 from a customer", long(Frame::new(IPV4))).untouched(),
        ],
    );
    story.mtu(9_000)
}

pub(super) fn what_is_not_mpls() -> Story {
    let mut frames = Vec::new();
    for neighbour in [&CUSTOMER, &PEER_A, &CORE] {
        for (what, frame) in other_protocols() {
            frames.push(neighbour.sends_as_is(what, &frame).untouched());
            let tagged = frame.clone().vlan(100);
            frames.push(neighbour.sends_as_is(format!("{what}, VLAN 100"), &tagged).untouched());
            let double = frame.tag(Tag::service(200)).vlan(100);
            frames.push(neighbour.sends_as_is(format!("{what}, two tags"), &double).untouched());
        }
    }
    Story::new(
        [
            "every neighbour, on every port and in every VLAN",
            "The routing protocols, the bundles and the customers' traffic stop.",
            "semantics §4.2",
        ],
        PE,
        frames,
    )
}

pub(super) fn every_traffic_class() -> Story {
    let frames = (0..8).flat_map(|tc| {
        let frame = stack([entry(OWN_SID).tc(tc), entry(RED).tc(7 - tc).bottom()]);
        let peer = stack([entry(OF_PEER_A).tc(tc).bottom()]);
        [
            CORE.sends(format!("traffic class {tc}"), frame).passes("own-sid"),
            PEER_A.sends(format!("traffic class {tc} from peer A"), peer).passes("labels"),
        ]
    });
    Story::new([WHO_CORE, "Voice dies, and the rest does not.", "RFC 5462"], PE, frames)
}
