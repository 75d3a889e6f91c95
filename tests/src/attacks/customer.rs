//! A customer's site sends labels, and no label is right there.

use super::network::{
    BLUE, CORE, CUSTOMER, NOBODYS, OF_CORE, OF_PEER_A, OTHER_SID, OWN_SID, PE, PSEUDOWIRE, RED,
};
use super::story::{Sent, Story};
use crate::frame::{Frame, IPV4, LabelEntry, MPLS_UPSTREAM};
use crate::oracle::reason::MPLS_NOT_ENABLED;

const WHO: &str = "customer red, behind eth1";

/// What the customer sends, all of it refused.
fn refused(what: &'static str, frame: Frame) -> Sent {
    CUSTOMER.sends(what, frame).dropped(MPLS_NOT_ENABLED)
}

/// What a customer may do all the time.
fn plain_ip() -> Sent {
    CUSTOMER.sends("an IPv4 packet", Frame::new(IPV4)).untouched()
}

pub(super) fn injects_the_vpn_label_of_another_vrf() -> Story {
    Story::new(
        [
            WHO,
            "Is in VRF blue with one number: the router looks blue's label up whoever wrote it.",
            "RFC 4364 §13.1",
        ],
        PE,
        [
            plain_ip(),
            refused("blue's label", Frame::mpls([BLUE])),
            refused("the last of blue's labels", Frame::mpls([2_099])),
            refused("a pseudowire's label", Frame::mpls([PSEUDOWIRE])),
            CORE.sends("blue's label, from the core", Frame::mpls([BLUE])).passes("blue"),
        ],
    )
}

pub(super) fn injects_the_vpn_label_of_its_own_vrf() -> Story {
    Story::new(
        [
            WHO,
            "Goes around its own access list and policer, which look at IP packets of the port.",
            "RFC 4364 §13.1",
        ],
        PE,
        [
            refused("its own label", Frame::mpls([RED])),
            refused("its own label, TTL 1", Frame::mpls([]).stack([own(RED).ttl(1)])),
            refused("its own label, TTL 0", Frame::mpls([]).stack([own(RED).ttl(0)])),
            refused("its own label, top class", Frame::mpls([]).stack([own(RED).tc(7)])),
            CORE.sends("the same label from the core", Frame::mpls([RED])).passes("red"),
        ],
    )
}

pub(super) fn hides_a_vpn_label_under_a_transport_label() -> Story {
    Story::new(
        [
            WHO,
            "Rides the backbone to a remote PE, which takes the inner label for its core's.",
            "RFC 5920 §8.2.2",
        ],
        PE,
        [
            refused("under another router's SID", Frame::mpls([OTHER_SID, BLUE])),
            refused("under this router's SID", Frame::mpls([OWN_SID, BLUE])),
            refused("under both", Frame::mpls([OWN_SID, OTHER_SID, BLUE])),
            refused("under a peer's label", Frame::mpls([OF_PEER_A, BLUE])),
            refused("under a label of the core", Frame::mpls([OF_CORE, BLUE])),
            CORE.sends("the same from the core", Frame::mpls([OWN_SID, BLUE])).passes("own-sid"),
        ],
    )
}

pub(super) fn hides_a_vpn_label_under_explicit_null() -> Story {
    Story::new(
        [WHO, "The router pops explicit null and looks at what is below.", "RFC 4182"],
        PE,
        [
            refused("IPv4 explicit null", Frame::mpls([0, BLUE])),
            refused("IPv6 explicit null", Frame::mpls([2, BLUE])),
            refused("both", Frame::mpls([0, 2, BLUE])),
            refused("and nothing below", Frame::mpls([0])),
            CORE.sends("the same from the core", Frame::mpls([0, BLUE])).passes("blue"),
        ],
    )
}

pub(super) fn uses_the_other_type_of_mpls() -> Story {
    let upstream = |labels: &[u32]| Frame::mpls(labels.to_vec()).ether_type(MPLS_UPSTREAM);
    Story::new(
        [
            WHO,
            "Type 0x8848 is MPLS too, and a filter that knows 0x8847 only lets it through.",
            "RFC 5332 §4",
        ],
        PE,
        [
            refused("blue's label", upstream(&[BLUE])),
            refused("under a transport label", upstream(&[OTHER_SID, BLUE])),
            refused("under explicit null", upstream(&[0, BLUE])),
            refused("a label of nobody", upstream(&[NOBODYS])),
        ],
    )
}

pub(super) fn sends_every_special_purpose_label() -> Story {
    let frames = (0..16).flat_map(|label| {
        [
            CUSTOMER.sends(format!("label {label} alone"), Frame::mpls([label])),
            CUSTOMER.sends(format!("label {label} over blue's"), Frame::mpls([label, BLUE])),
        ]
    });
    Story::new(
        [
            WHO,
            "Router alert reaches the router's CPU; the others end where its code is least tried.",
            "RFC 7274 §5",
        ],
        PE,
        frames.map(|sending| sending.dropped(MPLS_NOT_ENABLED)),
    )
}

pub(super) fn sends_stacks_that_are_none() -> Story {
    let whole = || Frame::mpls([OWN_SID, BLUE]);
    let runts = (14..22).map(move |length| {
        CUSTOMER
            .sends(format!("cut after {length} bytes"), whole().cut(length))
            .dropped(MPLS_NOT_ENABLED)
    });
    let bottomless = refused("no bottom", Frame::mpls([]).stack(vec![LabelEntry::new(RED); 40]));
    Story::new(
        [
            WHO,
            "A frame too broken to be read is still a labelled one, and must not pass for none.",
            "RFC 3032 §2.1",
        ],
        PE,
        runts.chain([bottomless]),
    )
}

/// A label alone in its stack.
fn own(label: u32) -> LabelEntry {
    LabelEntry::new(label).bottom()
}
