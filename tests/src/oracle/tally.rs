//! The counters that a run of frames must leave behind (§6 of the semantics).

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::policy::{Ingress, Policy};
use super::{Counter, Judgement, Oracle, reason};

/// Frames and their bytes, the whole frame length (§6).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
struct Count {
    packets: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.packets += 1;
        // A length always fits: no platform has wider addresses than 64 bits.
        self.bytes += bytes as u64;
    }
}

/// A list of counts by name, in the order in which they are shown.
#[derive(Clone, Debug)]
struct Counts(Vec<(String, Count)>);

impl Counts {
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(|name| (name.to_owned(), Count::default())).collect())
    }

    fn add(&mut self, name: &str, bytes: usize) {
        let known = self.0.iter_mut().find(|(known, _)| known == name);
        let (_, count) = known.unwrap_or_else(|| panic!("nothing here is called {name}"));
        count.add(bytes);
    }
}

#[derive(Clone, Debug)]
struct InterfaceTally {
    interface: String,
    /// `unbound` and `vlan_too_deep`.
    unbound: Count,
    vlan_too_deep: Count,
}

#[derive(Clone, Debug)]
struct IngressTally {
    ingress: String,
    interface: String,
    vlan: Vec<u16>,
    mode: &'static str,
    accepted: Count,
    dropped: Count,
    would_drop: Count,
    reasons: Counts,
    rules: Counts,
}

impl IngressTally {
    fn new(ingress: &Ingress) -> Self {
        let own = ingress.labels.as_ref().map(|_| "labels");
        let rules = ingress.contexts.iter().map(String::as_str).chain(own).chain(["special"]);
        Self {
            ingress: ingress.name.clone(),
            interface: ingress.interface.clone(),
            vlan: ingress.vlan.clone(),
            mode: ingress.mode.name(),
            accepted: Count::default(),
            dropped: Count::default(),
            would_drop: Count::default(),
            reasons: Counts::of(reason::OF_INGRESS),
            rules: Counts::of(rules),
        }
    }

    fn to_json(&self) -> Value {
        let reasons: Map<_, _> =
            self.reasons.0.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        let rules: Vec<_> = self
            .rules
            .0
            .iter()
            .map(|(name, count)| {
                json!({"rule": name, "packets": count.packets, "bytes": count.bytes})
            })
            .collect();
        json!({
            "ingress": self.ingress,
            "interface": self.interface,
            "vlan": self.vlan,
            "mode": self.mode,
            "accepted": self.accepted,
            "dropped": self.dropped,
            "would_drop": self.would_drop,
            "reasons": reasons,
            "rules": rules,
        })
    }
}

/// A running count of judgements, to hold against `stats --json` (§6).
#[derive(Clone, Debug)]
pub struct Tally {
    interfaces: Vec<InterfaceTally>,
    ingresses: Vec<IngressTally>,
}

impl Tally {
    /// All counters of the oracle's policy, at 0.
    pub fn new(oracle: &Oracle) -> Self {
        Self::of(&oracle.policy)
    }

    fn of(policy: &Policy) -> Self {
        let interfaces = policy
            .interfaces()
            .into_iter()
            .map(|interface| InterfaceTally {
                interface: interface.to_owned(),
                unbound: Count::default(),
                vlan_too_deep: Count::default(),
            })
            .collect();
        Self { interfaces, ingresses: policy.ingresses.iter().map(IngressTally::new).collect() }
    }

    /// Counts a frame where its judgement says; `bytes` is the whole frame's length (§6).
    ///
    /// # Panics
    ///
    /// When the judgement comes from another policy.
    pub fn feed(&mut self, interface: &str, bytes: usize, judgement: &Judgement) {
        match &judgement.counter {
            Counter::Nothing => {}
            Counter::Unbound => self.interface(interface).unbound.add(bytes),
            Counter::VlanTooDeep => self.interface(interface).vlan_too_deep.add(bytes),
            Counter::Accepted { rule } => {
                let ingress = self.ingress(judgement);
                ingress.accepted.add(bytes);
                ingress.rules.add(rule, bytes);
            }
            Counter::Dropped => self.refused(judgement, bytes).dropped.add(bytes),
            Counter::WouldDrop => self.refused(judgement, bytes).would_drop.add(bytes),
        }
    }

    /// The counters as `stats --json` has them, without what depends on the host: no
    /// `generation`, and no `attached` (§6).
    pub fn to_json(&self) -> Value {
        let interfaces: Vec<_> = self
            .interfaces
            .iter()
            .map(|interface| {
                json!({
                    "interface": interface.interface,
                    "unbound": interface.unbound,
                    "vlan_too_deep": interface.vlan_too_deep,
                })
            })
            .collect();
        let ingresses: Vec<_> = self.ingresses.iter().map(IngressTally::to_json).collect();
        json!({"schema": 1, "interfaces": interfaces, "ingresses": ingresses})
    }

    /// Where `stats --json` says something else, a line each; nothing when it agrees.
    ///
    /// Interfaces and ingresses are matched by name, in any order; rules and reasons must be the
    /// ones of §6, neither more nor fewer. Fields that were added to the objects are no
    /// difference (§7).
    pub fn differences(&self, stats: &Value) -> Vec<String> {
        let expected = self.to_json();
        let mut found = Vec::new();
        compare("schema", &expected["schema"], &stats["schema"], &mut found);
        for (list, key) in [("interfaces", "interface"), ("ingresses", "ingress")] {
            compare_lists(key, &expected[list], &stats[list], &mut found);
        }
        found
    }

    fn interface(&mut self, name: &str) -> &mut InterfaceTally {
        let known = self.interfaces.iter_mut().find(|known| known.interface == name);
        known.unwrap_or_else(|| panic!("the policy does not name {name}"))
    }

    fn ingress(&mut self, judgement: &Judgement) -> &mut IngressTally {
        let name = judgement.ingress.as_deref();
        let known = self.ingresses.iter_mut().find(|known| Some(known.ingress.as_str()) == name);
        known.unwrap_or_else(|| panic!("the policy has no ingress {name:?}"))
    }

    /// Counts the reason, and hands out the ingress for the counter of its mode.
    fn refused(&mut self, judgement: &Judgement, bytes: usize) -> &mut IngressTally {
        let ingress = self.ingress(judgement);
        ingress.reasons.add(judgement.reason.unwrap_or_default(), bytes);
        ingress
    }
}

/// Objects of a list that carry their name under `key`: the same names, each with equal fields.
fn compare_lists(key: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    let objects = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let (expected, actual) = (objects(expected), objects(actual));
    let twin = |of: &Value, among: &[Value]| among.iter().position(|one| one[key] == of[key]);
    for object in &expected {
        match twin(object, &actual) {
            Some(index) => {
                let path = format!("{key} {}", object[key]);
                compare(&path, object, &actual[index], found);
                compare_reasons(&path, &actual[index]["reasons"], found);
            }
            None => found.push(format!("{key} {}: missing", object[key])),
        }
    }
    for (index, object) in actual.iter().enumerate() {
        if twin(object, &expected).is_none() || twin(object, &actual) != Some(index) {
            found.push(format!("{key} {}: unexpected", object[key]));
        }
    }
}

/// The fields that are expected of an object; it may have more.
fn compare_fields(
    path: &str,
    expected: &Map<String, Value>,
    actual: &Value,
    found: &mut Vec<String>,
) {
    for (field, value) in expected {
        compare(&format!("{path} {field}"), value, &actual[field], found);
    }
}

/// Equal values; of objects, the expected fields; of lists, the same number of items in order.
fn compare(path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(_)) => {
            compare_fields(path, expected, actual, found);
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                compare(&format!("{path} {index}"), item, other, found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("{path}: expected {expected}, got {actual}")),
    }
}

/// A reason that §5 does not know.
fn compare_reasons(path: &str, reasons: &Value, found: &mut Vec<String>) {
    for name in reasons.as_object().into_iter().flat_map(Map::keys) {
        if !reason::OF_INGRESS.contains(&name.as_str()) {
            found.push(format!("{path} reasons {name}: unexpected"));
        }
    }
}
