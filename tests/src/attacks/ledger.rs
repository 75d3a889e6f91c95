//! Counters by name, as they should be and as they are.

use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::Mode;
use super::story::{Fate, Sent};
use crate::oracle::reason;

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes of the whole frames.
    pub bytes: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames, {} bytes", self.packets, self.bytes)
    }
}

/// How many frames are to meet which fate, by interface and ingress.
#[derive(Clone, Debug, Default)]
pub struct Fates(BTreeMap<(&'static str, &'static str, Fate), Count>);

impl Fates {
    /// Adds a frame.
    pub fn add(&mut self, sent: &Sent) {
        let count = self.0.entry((sent.interface, sent.ingress, sent.fate)).or_default();
        count.packets += 1;
        count.bytes += sent.frame.len() as u64;
    }

    /// The counters that must come of it.
    #[must_use]
    pub fn ledger(&self, mode: Mode) -> Ledger {
        let mut ledger = Ledger::default();
        for (&(interface, ingress, fate), &count) in &self.0 {
            let of_ingress = |counter| format!("ingress {ingress}: {counter}");
            match fate {
                Fate::Untouched => {}
                Fate::Dropped(reason::INGRESS_UNBOUND) => {
                    ledger.add(format!("interface {interface}: unbound"), count);
                }
                Fate::Dropped(reason::VLAN_TOO_DEEP) => {
                    ledger.add(format!("interface {interface}: vlan_too_deep"), count);
                }
                Fate::Dropped(reason) => {
                    ledger.add(of_ingress(mode.refusal().to_owned()), count);
                    ledger.add(of_ingress(format!("reason {reason}")), count);
                }
                Fate::Passes(rule) => {
                    ledger.add(of_ingress("accepted".to_owned()), count);
                    ledger.add(of_ingress(format!("rule {rule}")), count);
                }
            }
        }
        ledger
    }
}

/// Every counter that is not 0.
///
/// Two ledgers are equal only if nothing else has been counted either.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ledger(BTreeMap<String, Count>);

impl Ledger {
    /// What `stats --json` says.
    ///
    /// # Errors
    ///
    /// When that is not the object that `stats --json` prints.
    pub fn read(stats: &Value) -> Result<Self> {
        let mut ledger = Self::default();
        for interface in list(stats, "interfaces")? {
            let name = format!("interface {}", text(interface, "interface")?);
            for counter in ["unbound", "vlan_too_deep"] {
                ledger.insert(format!("{name}: {counter}"), &interface[counter])?;
            }
        }
        for ingress in list(stats, "ingresses")? {
            let name = format!("ingress {}", text(ingress, "ingress")?);
            for counter in ["accepted", "dropped", "would_drop"] {
                ledger.insert(format!("{name}: {counter}"), &ingress[counter])?;
            }
            for (reason, count) in object(ingress, "reasons")? {
                ledger.insert(format!("{name}: reason {reason}"), count)?;
            }
            for rule in list(ingress, "rules")? {
                ledger.insert(format!("{name}: rule {}", text(rule, "rule")?), rule)?;
            }
        }
        Ok(ledger)
    }

    /// How many frames were counted for a reason or by a rule, over all interfaces and ingresses.
    #[must_use]
    pub fn total(&self, of: &str) -> u64 {
        let is_of = |counter: &str| {
            let detail = counter.split_once(": ").map_or(counter, |(_, detail)| detail);
            let detail = detail.strip_prefix("reason ").or(detail.strip_prefix("rule "));
            detail.is_some_and(|detail| detail == of)
        };
        let counts = self.0.iter().filter(|(counter, _)| is_of(counter));
        counts.map(|(_, count)| count.packets).sum()
    }

    /// Where another ledger says something else, a line each.
    #[must_use]
    pub fn differences(&self, actual: &Self) -> Vec<String> {
        let counters =
            self.0.keys().chain(actual.0.keys().filter(|key| !self.0.contains_key(*key)));
        let of = |ledger: &Self, counter: &str| ledger.0.get(counter).copied().unwrap_or_default();
        counters
            .map(|counter| (counter, of(self, counter), of(actual, counter)))
            .filter(|(_, expected, actual)| expected != actual)
            .map(|(counter, expected, actual)| {
                format!("{counter}: expected {expected}; counted {actual}")
            })
            .collect()
    }

    fn add(&mut self, counter: String, more: Count) {
        let count = self.0.entry(counter).or_default();
        count.packets += more.packets;
        count.bytes += more.bytes;
    }

    fn insert(&mut self, counter: String, value: &Value) -> Result<()> {
        let number = |field: &str| {
            value[field].as_u64().with_context(|| format!("{counter} has no {field} in {value}"))
        };
        let count = Count { packets: number("packets")?, bytes: number("bytes")? };
        if count == Count::default() {
            return Ok(());
        }
        match self.0.entry(counter) {
            Entry::Occupied(entry) => bail!("{} is there twice", entry.key()),
            Entry::Vacant(entry) => entry.insert(count),
        };
        Ok(())
    }
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field].as_array().with_context(|| format!("no list {field} in {value}"))
}

fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>> {
    value[field].as_object().with_context(|| format!("no object {field} in {value}"))
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("no text {field} in {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::attacks::network::{CUSTOMER, PEER_A};
    use crate::frame::Frame;

    fn ledger(mode: Mode) -> Ledger {
        let mut fates = Fates::default();
        let frame = || Frame::mpls([100]).payload([0; 78]);
        fates.add(&PEER_A.sends("", frame()).passes("red"));
        fates.add(&PEER_A.sends("", frame()).dropped(reason::LABEL_SPOOFED));
        fates.add(&PEER_A.sends("", frame()).dropped(reason::INGRESS_UNBOUND));
        fates.add(&CUSTOMER.sends("", frame()).untouched());
        fates.ledger(mode)
    }

    #[test]
    fn a_ledger_is_what_stats_prints_without_its_zeroes() {
        let (one, none) = (json!({"packets": 1, "bytes": 100}), json!({"packets": 0, "bytes": 0}));
        let stats = json!({
            "interfaces": [{"interface": "eth2", "unbound": one, "vlan_too_deep": none}],
            "ingresses": [{
                "ingress": "peer-a", "accepted": one, "dropped": one, "would_drop": none,
                "reasons": {"label_spoofed": one, "truncated": none},
                "rules": [{"rule": "red", "packets": 1, "bytes": 100}],
            }],
        });
        let (actual, expected) = (Ledger::read(&stats).unwrap(), ledger(Mode::Enforce));
        assert_eq!(actual, expected);
        assert_eq!([actual.total("red"), actual.total(reason::LABEL_SPOOFED)], [1, 1]);
        assert_eq!(actual.total(reason::TRUNCATED), 0);
    }

    #[test]
    fn every_difference_is_told() {
        let (enforce, monitor) = (ledger(Mode::Enforce), ledger(Mode::Monitor));
        let lines = enforce.differences(&monitor);
        let expected = [
            "ingress peer-a: dropped: expected 1 frames, 100 bytes; counted 0 frames, 0 bytes",
            "ingress peer-a: would_drop: expected 0 frames, 0 bytes; counted 1 frames, 100 bytes",
        ];
        assert_eq!(lines, expected);
        assert!(enforce.differences(&enforce).is_empty());
    }
}
