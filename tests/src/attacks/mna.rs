//! MPLS network actions (RFC 9994): label 4, and below it words that only look like labels.

use super::network::{
    BLUE, CORE, CUSTOMER, OF_PEER_C, OTHER_SID, OWN_SID, PE, PEER_A, PEER_C, RED,
};
use super::story::{Sent, Story};
use crate::frame::{Frame, LabelEntry};
use crate::oracle::reason::{MNA_AT_BOTTOM, MPLS_NOT_ENABLED, SPECIAL_LABEL_NOT_ALLOWED};

const WHO: &str = "a router of the own core that somebody has taken over, behind eth3";
const THREAT: &str =
    "Data of a network action stand in the stack as labels do: who misreads them forwards by them.";
const SOURCE: &str = "RFC 9994, semantics §3";

/// A core that allows every special-purpose label that has a name.
const ALL_ALLOWED: &str = r#"version = 1

[defaults]
mode = "enforce"

[contexts.red]
kind = "vrf"
labels = [100]

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["red"]
special = ["explicit-null", "router-alert", "entropy", "gal", "oam-alert", "extended"]
"#;

/// These labels, the indicator, and a sub-stack of an opcode and a data word, then red's label.
fn action_below(above: &[u32]) -> Frame {
    let above = above.iter().map(|&label| LabelEntry::new(label));
    let opcode = LabelEntry::new(0x02_000).tc(1).ttl(0x11);
    let data = LabelEntry::new(BLUE).ttl(0xff);
    let below = [LabelEntry::new(4), opcode, data, LabelEntry::new(RED).bottom()];
    Frame::mpls([]).stack(above.chain(below))
}

/// These labels, and the indicator with S set.
fn bottom_below(above: &[u32]) -> Frame {
    Frame::mpls([above, &[4]].concat())
}

fn refused(what: &'static str, frame: Frame) -> Sent {
    CORE.sends(what, frame).dropped(SPECIAL_LABEL_NOT_ALLOWED)
}

pub(super) fn an_action_on_top() -> Story {
    Story::new(
        [WHO, THREAT, SOURCE],
        PE,
        [
            refused("an action from the core", action_below(&[])),
            refused("the indicator over red's label", Frame::mpls([4, RED])),
            refused("the indicator twice", Frame::mpls([4, 4, RED])),
            PEER_A.sends("from peer A", action_below(&[])).dropped(SPECIAL_LABEL_NOT_ALLOWED),
            PEER_C.sends("from peer C", action_below(&[])).dropped(SPECIAL_LABEL_NOT_ALLOWED),
            CUSTOMER.sends("from a customer", action_below(&[])).dropped(MPLS_NOT_ENABLED),
        ],
    )
}

pub(super) fn an_action_in_the_middle() -> Story {
    Story::new(
        [WHO, THREAT, SOURCE],
        PE,
        [
            refused("below the own SID", action_below(&[OWN_SID])),
            refused("below explicit null", action_below(&[0])),
            refused("below router alert", action_below(&[1])),
            refused("below an entropy label", action_below(&[7, 777_777])),
            refused("below GAL", action_below(&[13])),
            refused("below many", action_below(&[OWN_SID, 0, OWN_SID, 7, 777_777, 2])),
            // Another router's affair: this one never looks there.
            CORE.sends("below another router's SID", action_below(&[OTHER_SID])).passes("core"),
            CORE.sends("below red's label", action_below(&[RED])).passes("red"),
            PEER_C.sends("below peer C's label", action_below(&[OF_PEER_C])).passes("labels"),
        ],
    )
}

pub(super) fn an_action_at_the_bottom() -> Story {
    let dropped = |what, above| CORE.sends(what, bottom_below(above)).dropped(MNA_AT_BOTTOM);
    Story::new(
        [WHO, "An action without a body: what follows it is the packet.", SOURCE],
        PE,
        [
            dropped("alone", &[]),
            dropped("below the own SID", &[OWN_SID]),
            dropped("below explicit null", &[2]),
            dropped("below an entropy label", &[7, 777_777]),
            dropped("below many", &[OWN_SID, OWN_SID, 0, 13]),
            PEER_C.sends("from peer C", bottom_below(&[])).dropped(MNA_AT_BOTTOM),
            PEER_A.sends("from peer A", bottom_below(&[])).dropped(MNA_AT_BOTTOM),
            CORE.sends("below another router's SID", bottom_below(&[OTHER_SID])).passes("core"),
        ],
    )
}

pub(super) fn an_action_where_all_else_is_allowed() -> Story {
    Story::new(
        [WHO, THREAT, SOURCE],
        ALL_ALLOWED,
        [
            refused("on top", action_below(&[])),
            refused("below explicit null", action_below(&[0])),
            refused("below an extended label", action_below(&[15, 777_777])),
            refused("below OAM alert", action_below(&[14])),
            CORE.sends("at the bottom", bottom_below(&[])).dropped(MNA_AT_BOTTOM),
        ],
    )
}
