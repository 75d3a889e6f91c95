//! What a change of the policy would have done to the traffic that was counted.

use std::collections::{HashMap, HashSet};

use mpls_xdp_ebpf::policy::{Inner, Mode, Role, Special};
use serde::Serialize;

use super::{Counted, CounterRow, IngressStats};
use crate::{
    manifest::{LABELS_RULE, SPECIAL_RULE},
    policy::{Ingress, LabelSet, Policy},
};

/// What would have become of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// They passed and would be dropped.
    Dropped,
    /// They were accepted and would only be counted, as refused.
    WouldDrop,
    /// They were dropped and would pass.
    Passed,
    /// Nobody would look at them.
    Unfiltered,
}

/// What the change would have done to some of the frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consequence {
    /// Where they came in, in the policy in force; `None` where they had no ingress.
    pub ingress: Option<String>,
    /// Their interface.
    pub interface: String,
    /// The rule that accepted them, if this is about one.
    pub rule: Option<String>,
    /// What would have become of them.
    pub fate: Fate,
    /// How many they were.
    #[serde(flatten)]
    pub frames: CounterRow,
    /// Whether these are more than the counters can be sure of.
    pub at_most: bool,
    /// Why.
    pub why: String,
}

/// What the counters say about a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Since when the frames were counted, in seconds since 1970; `None` when that is not known.
    pub since: Option<u64>,
    /// In the order of the old policy.
    pub consequences: Vec<Consequence>,
    /// What may refuse frames, and no counter can tell.
    pub untold: Vec<String>,
}

impl Forecast {
    /// Looks at what was counted under the policy in force, `old`.
    pub fn new(old: &Policy, new: &Policy, counted: &Counted) -> Self {
        let rows = counted.stats.ingresses.iter().map(|row| (row.ingress.as_str(), row)).collect();
        let bindings = new.ingresses.iter().map(|ingress| (binding(ingress), ingress)).collect();
        let certain = counted.since.is_some();
        let mut view = View { old, new, rows, bindings, certain, found: Vec::new() };
        for ingress in &old.ingresses {
            view.ingress(ingress);
        }
        view.interfaces(counted);
        let untold = view.untold();
        Self { since: counted.since, consequences: view.found, untold }
    }
}

type Binding<'a> = (&'a str, Vec<u16>);

fn binding(ingress: &Ingress) -> Binding<'_> {
    (ingress.interface.as_str(), ingress.vlans.iter().map(|vlan| vlan.get()).collect())
}

struct View<'a> {
    old: &'a Policy,
    new: &'a Policy,
    /// By the name of the ingress.
    rows: HashMap<&'a str, &'a IngressStats>,
    /// The new policy's ingresses.
    bindings: HashMap<Binding<'a>, &'a Ingress>,
    /// Whether all that was counted was counted under the policy in force.
    certain: bool,
    found: Vec<Consequence>,
}

/// What a refused frame meets.
fn refusal(mode: Mode) -> Fate {
    match mode {
        Mode::Enforce => Fate::Dropped,
        Mode::Monitor => Fate::WouldDrop,
    }
}

fn accepted_labels(policy: &Policy, ingress: &Ingress) -> LabelSet {
    policy.rules(ingress).fold(LabelSet::default(), |all, (_, labels)| all.union(labels))
}

impl<'a> View<'a> {
    fn tell(
        &mut self,
        (ingress, rule): (&Ingress, Option<&str>),
        fate: Fate,
        (frames, at_most): (CounterRow, bool),
        why: String,
    ) {
        if frames.packets > 0 {
            self.found.push(Consequence {
                ingress: Some(ingress.name.clone()),
                interface: ingress.interface.to_string(),
                rule: rule.map(str::to_owned),
                fate,
                frames,
                at_most: at_most || !self.certain,
                why,
            });
        }
    }

    fn names(policy: &Policy, interface: &str) -> bool {
        policy.ingresses.iter().any(|ingress| ingress.interface.as_str() == interface)
    }

    fn ingress(&mut self, old: &'a Ingress) {
        let Some(row) = self.rows.get(old.name.as_str()).copied() else {
            return;
        };
        let passed = row.accepted + row.would_drop;
        let interface = old.interface.as_str();
        match self.bindings.get(&binding(old)).copied() {
            Some(new) => {
                self.rules(old, new, row);
                self.mode(old, new, row);
            }
            None if Self::names(self.new, interface) => {
                let why = "no ingress has these VLAN tags any more (ingress_unbound)".to_owned();
                self.tell((old, None), refusal(self.new.default_mode), (passed, false), why);
            }
            None => {
                let why = format!("{interface} is not filtered any more");
                self.tell((old, None), Fate::Unfiltered, (passed + row.dropped, false), why);
            }
        }
    }

    fn rules(&mut self, old: &'a Ingress, new: &'a Ingress, row: &IngressStats) {
        let fate = refusal(new.mode);
        let accepted = accepted_labels(self.new, new);
        let hits = |rule: &str| {
            row.rules
                .iter()
                .find(|hits| hits.rule == rule)
                .map_or_else(CounterRow::default, |hits| hits.counter)
        };
        for (rule, labels) in self.old.rules(old) {
            let lost = labels.without(&accepted);
            if !lost.is_empty() {
                let partly = lost.len() < labels.len();
                let which = if rule == LABELS_RULE { "its own" } else { rule };
                let why = match partly {
                    true => format!(
                        "{} of the {} labels of {which} are not accepted any more",
                        lost.len(),
                        labels.len()
                    ),
                    false => format!("no label of {which} is accepted any more"),
                };
                self.tell((old, Some(rule)), fate, (hits(rule), partly), why);
            }
        }
        let special = hits(SPECIAL_RULE);
        if new.role == Role::Customer && old.role != Role::Customer {
            let why = "a customer accepts no labelled frame".to_owned();
            self.tell((old, Some(SPECIAL_RULE)), fate, (special, false), why);
        } else if Special::ALL.iter().any(|s| old.special.allows(*s) && !new.special.allows(*s)) {
            let why = "special-purpose labels are not allowed any more".to_owned();
            self.tell((old, Some(SPECIAL_RULE)), fate, (special, true), why);
        }
    }

    fn mode(&mut self, old: &'a Ingress, new: &'a Ingress, row: &IngressStats) {
        // What is accepted more than before may be what was refused.
        let more = accepted_labels(self.new, new).without(&accepted_labels(self.old, old));
        let loosened = !more.is_empty()
            || old.role == Role::Customer && new.role != Role::Customer
            || new.max_depth > old.max_depth
            || (old.inner, new.inner) == (Inner::Validate, Inner::Opaque)
            || Special::ALL.iter().any(|s| new.special.allows(*s) && !old.special.allows(*s));
        match (old.mode, new.mode) {
            (Mode::Monitor, Mode::Enforce) => {
                let reasons: Vec<&str> = row
                    .reasons
                    .0
                    .iter()
                    .filter(|(_, counter)| counter.packets > 0)
                    .map(|(reason, _)| *reason)
                    .collect();
                let why = format!("the mode becomes enforce ({})", reasons.join(", "));
                self.tell((old, None), Fate::Dropped, (row.would_drop, loosened), why);
            }
            (Mode::Enforce, Mode::Monitor) => {
                let why = "the mode becomes monitor".to_owned();
                self.tell((old, None), Fate::Passed, (row.dropped, false), why);
            }
            _ if loosened && row.dropped.packets > 0 && new.mode == Mode::Enforce => {
                let why = "more is accepted than before".to_owned();
                self.tell((old, None), Fate::Passed, (row.dropped, true), why);
            }
            _ => {}
        }
    }

    /// Frames without an ingress, and interfaces that come.
    fn interfaces(&mut self, counted: &Counted) {
        let (fate, becomes) = match (self.old.default_mode, self.new.default_mode) {
            (Mode::Monitor, Mode::Enforce) => (Fate::Dropped, "enforce"),
            (Mode::Enforce, Mode::Monitor) => (Fate::Passed, "monitor"),
            _ => return,
        };
        let before: HashSet<Binding<'_>> = self.old.ingresses.iter().map(binding).collect();
        for row in &counted.stats.interfaces {
            let interface = row.interface.as_str();
            let frames: CounterRow = row.reasons.0.iter().map(|(_, counter)| *counter).sum();
            if frames.packets == 0 || !Self::names(self.new, interface) {
                continue;
            }
            let binds_more = self
                .bindings
                .keys()
                .any(|binding| binding.0 == interface && !before.contains(binding));
            self.found.push(Consequence {
                ingress: None,
                interface: interface.to_owned(),
                rule: None,
                fate,
                frames,
                at_most: binds_more || !self.certain,
                why: format!("the mode of frames without an ingress becomes {becomes}"),
            });
        }
    }

    fn untold(&self) -> Vec<String> {
        let mut untold = Vec::new();
        let mut named = HashSet::new();
        for new in &self.new.ingresses {
            let interface = new.interface.as_str();
            if !Self::names(self.old, interface) && named.insert(interface) {
                untold.push(format!("{interface} was not filtered: nothing was counted there"));
            }
        }
        for old in &self.old.ingresses {
            let Some(new) = self.bindings.get(&binding(old)) else {
                continue;
            };
            let name = &old.name;
            if new.max_depth < old.max_depth {
                untold.push(format!("{name}: how many entries the accepted stacks had"));
            }
            if (old.inner, new.inner) == (Inner::Opaque, Inner::Validate) {
                untold.push(format!("{name}: which labels were below the first"));
            }
        }
        let pops = |policy: &'a Policy| {
            policy.contexts.iter().filter(|context| context.pops).map(|context| &context.name)
        };
        let before: HashSet<&String> = pops(self.old).collect();
        for context in pops(self.new).filter(|context| !before.contains(context)) {
            untold.push(format!("{context}: which labels were below those that it pops"));
        }
        untold
    }
}
