//! From the kernel's label table to contexts.

use std::collections::BTreeMap;

use super::{Router, policy_name};
use crate::{
    policy::{ASSIGNABLE, ContextKind, LabelSet},
    router::{LabelHop, LabelRoute, Link},
};

/// Names that a context cannot have, because a rule has them.
const RESERVED: [&str; 2] = ["labels", "special"];

/// A context that the label table speaks of.
pub(super) struct FoundContext {
    pub(super) name: String,
    pub(super) kind: ContextKind,
    pub(super) pops: bool,
    pub(super) labels: LabelSet,
    /// What was seen.
    pub(super) seen: String,
}

/// What the packets of a label are for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Swapped, or popped and sent to a neighbour.
    Transport,
    /// Popped, and looked up again here.
    Own,
    /// Popped into the VRF of this interface index.
    Vrf(u32),
}

/// The contexts, in the order: transport, own, VRFs.
pub(super) fn find(router: &Router) -> Vec<FoundContext> {
    let mut labels: BTreeMap<Use, Vec<u32>> = BTreeMap::new();
    for route in &router.labels {
        if ASSIGNABLE.contains(&route.label) {
            labels.entry(use_of(router, route)).or_default().push(route.label);
        }
    }
    let mut contexts: Vec<FoundContext> = Vec::new();
    for (used, labels) in labels {
        let (word, kind, pops, seen) = match used {
            Use::Transport => (
                "transport",
                ContextKind::Transport,
                false,
                "swapped, or popped and sent to a neighbour: LDP, RSVP-TE, segment routing, \
                 static"
                    .to_owned(),
            ),
            Use::Own => (
                "own",
                ContextKind::Transport,
                true,
                "device lo: popped here, and the next entry is looked up here as well".to_owned(),
            ),
            Use::Vrf(index) => {
                let vrf = router.links.by_index(index).map_or("vrf", |link| link.name.as_str());
                (vrf, ContextKind::Vrf, false, format!("popped into VRF {}", vrf.escape_debug()))
            }
        };
        let taken: Vec<_> =
            contexts.iter().map(|context| context.name.as_str()).chain(RESERVED).collect();
        let name = policy_name(word, &taken);
        let labels = labels.into_iter().map(|label| label..=label).collect();
        contexts.push(FoundContext { name, kind, pops, labels, seen });
    }
    contexts
}

/// What leads further into this router counts before what leads out of it.
fn use_of(router: &Router, route: &LabelRoute) -> Use {
    let of_hop = |hop: &LabelHop| {
        let link = hop.interface.filter(|_| !hop.swaps);
        let link = link.and_then(|index| router.links.by_index(index));
        link.map_or(Use::Transport, |link| match vrf_of(router, link) {
            Some(vrf) => Use::Vrf(vrf.index),
            None if link.name == "lo" => Use::Own,
            None => Use::Transport,
        })
    };
    route.hops.iter().map(of_hop).max().unwrap_or(Use::Transport)
}

/// The VRF that an interface is, or is a member of.
pub(super) fn vrf_of<'a>(router: &'a Router, link: &'a Link) -> Option<&'a Link> {
    let is_vrf = |link: &&Link| link.kind.as_deref() == Some("vrf");
    let controller = link.controller.and_then(|index| router.links.by_index(index));
    Some(link).filter(is_vrf).or(controller.filter(is_vrf))
}
