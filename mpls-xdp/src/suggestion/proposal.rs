//! From what was seen to what is proposed.

use std::collections::{BTreeMap, HashMap};

use mpls_xdp_ebpf::{
    policy::{Mode, Role},
    reason::Reason,
};

use super::sightings::{Seen, Sight, Sightings, Spot};
use crate::{
    policy::{ContextKind, Ingress, LabelSet, Policy, writing::free_name},
    router::{LabelRoute, LabelUse, Links},
    sampling::Cause,
};

/// What a proposal is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// The interfaces of this router.
    pub links: &'a Links,
    /// Its label table; `None` where it cannot be read.
    pub labels: Option<&'a [LabelRoute]>,
}

/// What is proposed.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// For each place at which frames were refused.
    pub places: Vec<PlaceProposal>,
    /// Frames sampled at places without an ingress that are too many to list.
    pub beyond: u64,
}

/// What is proposed for a place.
#[derive(Debug, Clone)]
pub struct PlaceProposal {
    /// Where.
    pub spot: Spot,
    /// What an ingress in monitor mode could accept.
    pub contexts: Vec<ObservedContext>,
    /// What is left to whoever knows the neighbour.
    pub remarks: Vec<Remark>,
    /// Frames sampled with labels that are too many to list: somebody guesses.
    pub beyond: u64,
}

/// Labels that the ingress does not accept and that this router forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContext {
    /// A name that the policy does not have yet.
    pub name: String,
    /// Whether this router pops them and looks the next entry up itself.
    pub pops: bool,
    /// The labels.
    pub labels: LabelSet,
    /// Their frames.
    pub sight: Sight,
}

/// Frames that are not proposed to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Why they were refused.
    pub cause: Cause,
    /// Their labels; empty where no label decided.
    pub labels: LabelSet,
    /// The frames.
    pub sight: Sight,
    /// What is to be decided, and by what.
    pub why: String,
}

/// What is to be done with a label, in the order in which it is told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Advice {
    /// It can be accepted as observed.
    Accept { pops: bool },
    /// Somebody has to decide.
    Decide { why: String, cause: Cause },
}

impl Proposal {
    /// What is proposed after these sightings.
    pub fn new(facts: Facts<'_>, sightings: &Sightings) -> Self {
        let mut taken: Vec<String> =
            facts.policy.contexts.iter().map(|context| context.name.clone()).collect();
        let routes = facts.labels.map(|routes| routes.iter().map(|route| (route.label, route)));
        let router = Router { facts, routes: routes.map(Iterator::collect) };
        let places = sightings.spots.iter();
        let places = places
            .map(|(spot, seen)| PlaceProposal::new(&router, spot, seen, &mut taken))
            .collect();
        Self { places, beyond: sightings.beyond }
    }

    /// How many labels it would have accepted.
    pub fn accepted(&self) -> usize {
        let contexts = self.places.iter().flat_map(|place| &place.contexts);
        contexts.map(|context| context.labels.len()).sum()
    }
}

impl PlaceProposal {
    fn new(router: &Router<'_>, spot: &Spot, seen: &Seen, taken: &mut Vec<String>) -> Self {
        let ingress = router.ingress(spot);
        let mut grouped: BTreeMap<Advice, (Vec<u32>, Sight)> = BTreeMap::new();
        for ((cause, label), sight) in &seen.labels {
            let advised = ingress
                .map_err(str::to_owned)
                .and_then(|ingress| router.advise(ingress, *cause, *label, sight));
            // One context for all reasons.
            let advice = match advised {
                Ok(pops) => Advice::Accept { pops },
                Err(why) => Advice::Decide { why, cause: *cause },
            };
            grouped
                .entry(advice)
                .and_modify(|(labels, all)| {
                    labels.extend(label);
                    all.join(sight);
                })
                .or_insert_with(|| (label.iter().copied().collect(), sight.clone()));
        }
        let mut place = Self {
            spot: spot.clone(),
            contexts: Vec::new(),
            remarks: Vec::new(),
            beyond: seen.beyond,
        };
        for (advice, (labels, sight)) in grouped {
            let labels = labels.into_iter().map(|label| label..=label).collect();
            match advice {
                Advice::Accept { pops } => {
                    let name = observed_name(spot, pops, taken);
                    taken.push(name.clone());
                    place.contexts.push(ObservedContext { name, pops, labels, sight });
                }
                Advice::Decide { why, cause } => {
                    place.remarks.push(Remark { cause, labels, sight, why });
                }
            }
        }
        place
    }
}

/// A name for what was observed at a place.
fn observed_name(spot: &Spot, pops: bool, taken: &[String]) -> String {
    let of = match spot {
        Spot::Ingress { ingress } => ingress,
        Spot::Unbound { interface, .. } => interface,
    };
    let word = if pops { format!("observed-own-{of}") } else { format!("observed-{of}") };
    free_name(&word, &taken.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What this router knows of labels.
struct Router<'a> {
    facts: Facts<'a>,
    /// Its label table, by label.
    routes: Option<HashMap<u32, &'a LabelRoute>>,
}

impl<'a> Router<'a> {
    /// The ingress of a place; or why there is nothing to accept there.
    fn ingress(&self, spot: &Spot) -> Result<&'a Ingress, &'static str> {
        let Spot::Ingress { ingress } = spot else {
            return Err("no ingress is bound there; if a neighbour of yours is, give it one");
        };
        let found = self.facts.policy.ingresses.iter().find(|other| other.name == *ingress);
        found.ok_or("the policy has no such ingress any more")
    }

    /// Whether this router pops a label that can be accepted as observed; or why somebody has to
    /// decide.
    fn advise(
        &self,
        ingress: &Ingress,
        cause: Cause,
        label: Option<u32>,
        sight: &Sight,
    ) -> Result<bool, String> {
        let decide = |why: &str| Err(why.to_owned());
        let Cause::Ingress(reason) = cause else {
            return decide("see `mpls-xdp help reasons`");
        };
        match (reason, label) {
            (Reason::MplsNotEnabled, _) => decide(
                "a customer sends no labels; if this is carriers' carrier, make it a peer with the \
                 labels that were distributed to it",
            ),
            (Reason::StackTooDeep, _) => Err(format!(
                "`max-depth` is {}; more only if this neighbour has to send so many entries",
                ingress.max_depth
            )),
            (Reason::SpecialLabelNotAllowed | Reason::ExtendedLabelNotAllowed, _) => {
                decide("`special` of the ingress allows special-purpose labels, each by its name")
            }
            (Reason::LabelOutOfVrf, Some(label)) => {
                Err(format!("{}; whoever sends it gets into that VPN", self.owners(label)))
            }
            (Reason::LabelSpoofed, Some(label)) => self
                .forwards(ingress, label, sight)
                .map_err(|why| format!("{}; {why}", self.owners(label))),
            (Reason::LabelOutOfRange, Some(label)) => self.forwards(ingress, label, sight),
            (reason, _) => {
                Err(format!("no setting accepts it; see `mpls-xdp help reason {}`", reason.name()))
            }
        }
    }

    /// Whether this router pops a label that it takes further from such a neighbour; or why it does
    /// not.
    fn forwards(&self, ingress: &Ingress, label: u32, sight: &Sight) -> Result<bool, String> {
        let refuse = |why: &str| Err(why.to_owned());
        let Some(routes) = &self.routes else {
            return refuse("the kernel's label table cannot be read: nobody knows whose it is");
        };
        let Some(route) = routes.get(&label) else {
            return refuse("this router does not forward it: a guess, or an old label");
        };
        let is_peer = ingress.role == Role::Peer;
        let pops = match route.used(self.facts.links) {
            LabelUse::Vrf(index) => {
                let vrf = self.facts.links.by_index(index).map_or("?", |link| link.name.as_str());
                let vrf = vrf.escape_debug();
                return Err(format!(
                    "this router pops it into VRF {vrf}: whoever sends it is there"
                ));
            }
            LabelUse::Own if is_peer => {
                return refuse(
                    "this router pops it and looks the next entry up: no neighbour needs that to \
                     reach you",
                );
            }
            LabelUse::Transport if is_peer && sight.has_more => {
                return refuse(
                    "with entries below it, which the router at its end would believe: option C, \
                     or an attack",
                );
            }
            LabelUse::Transport => false,
            LabelUse::Own => true,
        };
        match ingress.mode {
            Mode::Monitor => Ok(pops),
            Mode::Enforce => {
                refuse("this router forwards it; the ingress drops it: decide by hand")
            }
        }
    }

    /// Who in the policy has a label.
    fn owners(&self, label: u32) -> String {
        let contexts = self.facts.policy.contexts.iter();
        let contexts = contexts.filter(|context| context.labels.contains(label)).map(|context| {
            let kind = if context.kind == ContextKind::Vrf { "VRF context" } else { "context" };
            format!("{kind} {}", context.name)
        });
        let own = self.facts.policy.ingresses.iter();
        let own = own
            .filter(|other| other.labels.as_ref().is_some_and(|labels| labels.contains(label)))
            .map(|other| format!("ingress {}", other.name));
        let owners: Vec<String> = contexts.chain(own).collect();
        match &owners[..] {
            [] => "it was given out".to_owned(),
            [one] => format!("{one} has it"),
            more => format!("{} have it", more.join(", ")),
        }
    }
}
