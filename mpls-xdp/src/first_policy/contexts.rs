//! From the kernel's label table to contexts.

use std::collections::BTreeMap;

use super::Router;
use crate::{
    policy::{ASSIGNABLE, ContextKind, LabelSet, writing::free_name},
    router::LabelUse,
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

/// The contexts, in the order: transport, own, VRFs.
pub(super) fn find(router: &Router) -> Vec<FoundContext> {
    let mut labels: BTreeMap<LabelUse, Vec<u32>> = BTreeMap::new();
    for route in &router.labels {
        if ASSIGNABLE.contains(&route.label) {
            labels.entry(route.used(&router.links)).or_default().push(route.label);
        }
    }
    let mut contexts: Vec<FoundContext> = Vec::new();
    for (used, labels) in labels {
        let (word, kind, pops, seen) = match used {
            LabelUse::Transport => (
                "transport",
                ContextKind::Transport,
                false,
                "swapped, or popped and sent to a neighbour: LDP, RSVP-TE, segment routing, \
                 static"
                    .to_owned(),
            ),
            LabelUse::Own => (
                "own",
                ContextKind::Transport,
                true,
                "device lo: popped here, and the next entry is looked up here as well".to_owned(),
            ),
            LabelUse::Vrf(index) => {
                let vrf = router.links.by_index(index).map_or("vrf", |link| link.name.as_str());
                (vrf, ContextKind::Vrf, false, format!("popped into VRF {}", vrf.escape_debug()))
            }
        };
        let taken: Vec<_> =
            contexts.iter().map(|context| context.name.as_str()).chain(RESERVED).collect();
        let name = free_name(word, &taken);
        let labels = labels.into_iter().map(|label| label..=label).collect();
        contexts.push(FoundContext { name, kind, pops, labels, seen });
    }
    contexts
}
