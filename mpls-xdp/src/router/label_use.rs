//! What the packets of a label are for.

use super::{LabelHop, LabelRoute, Link, Links};

/// What the packets of a label are for on this router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelUse {
    /// Swapped, or popped and sent to a neighbour.
    Transport,
    /// Popped, and looked up again here.
    Own,
    /// Popped into the VRF of this interface index.
    Vrf(u32),
}

impl LabelRoute {
    /// What its packets are for. What leads further into this router counts before what leads out
    /// of it.
    pub fn used(&self, links: &Links) -> LabelUse {
        let of_hop = |hop: &LabelHop| {
            let link = hop.interface.filter(|_| !hop.swaps);
            let link = link.and_then(|index| links.by_index(index));
            link.map_or(LabelUse::Transport, |link| match vrf_of(links, link) {
                Some(vrf) => LabelUse::Vrf(vrf.index),
                None if link.name == "lo" => LabelUse::Own,
                None => LabelUse::Transport,
            })
        };
        self.hops.iter().map(of_hop).max().unwrap_or(LabelUse::Transport)
    }
}

/// The VRF that an interface is, or is a member of.
pub(crate) fn vrf_of<'a>(links: &'a Links, link: &'a Link) -> Option<&'a Link> {
    let is_vrf = |link: &&Link| link.kind.as_deref() == Some("vrf");
    let controller = link.controller.and_then(|index| links.by_index(index));
    Some(link).filter(is_vrf).or(controller.filter(is_vrf))
}
