//! What people call the slots of a generation: names, and where their counters stand.
//!
//! The manifest is part of the generation's image, so that names and tables are replaced in the
//! same step. A counter is never set back: a slot that is given to another name keeps counting
//! from a base that is read when nobody counts there any more.

use std::collections::{BTreeMap, HashMap, HashSet};

use mpls_xdp_ebpf::{
    abi::{self, Counter},
    policy::Mode,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::policy::Policy;

/// The rule of stacks without a label of 16 or more.
pub const SPECIAL_RULE: &str = "special";
/// The rule of an ingress's own labels.
pub const LABELS_RULE: &str = "labels";

/// A generation's names and slots.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Number of the generation, 1 for the first; 0 before any policy was applied.
    pub generation: u64,
    /// The policy file's name as it was given; empty when there is no policy.
    pub policy: String,
    /// SHA-256 of the policy file, in hexadecimal.
    pub digest: String,
    /// When it was applied, in seconds since 1970.
    pub applied_at: u64,
    /// The history's entry that this policy is; 0 when it was applied without a history.
    #[serde(default)]
    pub entry: u64,
    /// SHA-256 of the kernel object that the programs were loaded from, in hexadecimal.
    pub object: String,
    /// The maps that have counted, by their slots for each CPU; programs count in the last.
    pub counter_maps: Vec<u32>,
    /// Every interface that the policy names, in its order.
    pub interfaces: Vec<InterfaceEntry>,
    /// Every ingress, in the policy's order.
    pub ingresses: Vec<IngressEntry>,
    /// What the slots that an earlier name used had counted; absent is zero.
    pub bases: BTreeMap<u32, Base>,
}

/// What a slot had counted before its name got it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Base {
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// An interface of the policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InterfaceEntry {
    /// Its name.
    pub name: String,
    /// Its slot in the image's interface table.
    pub slot: u32,
    /// First of its two counter slots.
    pub counters: u32,
    /// Taken off by `detach --interface`; the policy still names it.
    pub detached: bool,
}

/// An ingress of the policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngressEntry {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its VLAN IDs, outer to inner.
    pub vlan: Vec<u16>,
    /// Whether refused frames pass.
    pub monitor: bool,
    /// First of its counter slots for reasons.
    pub reasons: u32,
    /// Its rules; the first is [`SPECIAL_RULE`], the others as the policy has them.
    pub rules: Vec<RuleEntry>,
    /// Counter slots of the rules that the generation before had and this one has not. The last
    /// packets of that generation may still count there while this one comes into force.
    pub leaving: Vec<u32>,
    /// What the rules accepted that had left earlier: the ingress's own count goes on.
    pub accepted_before: Base,
}

/// A rule of an ingress.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleEntry {
    /// The context's name, [`LABELS_RULE`] or [`SPECIAL_RULE`].
    pub name: String,
    /// Its counter slot.
    pub slot: u32,
}

/// A policy that does not fit the tables.
#[derive(Debug, Error)]
pub enum SlotError {
    /// More counters than slots.
    #[error(
        "no counter slots are left: policies that followed each other used {0}; \
         `mpls-xdp detach --all` and `apply` start anew"
    )]
    Counters(u32),
    /// More interfaces than slots.
    #[error("no interface slots are left: `mpls-xdp detach --all` and `apply` start anew")]
    Interfaces,
}

impl Manifest {
    /// Gives every name of `policy` its slots: what has the same name in `before` keeps them.
    ///
    /// `attached` has the interface slots that programs use now, by interface name; slots of
    /// other programs are in `taken`. `read` returns what a counter slot has counted.
    ///
    /// # Errors
    ///
    /// When the tables are full.
    pub fn assign(
        policy: &Policy,
        before: &Self,
        attached: &HashMap<String, u32>,
        taken: &HashSet<u32>,
        read: impl Fn(u32) -> Counter,
    ) -> Result<Self, SlotError> {
        let mut slots = CounterSlots::new(before, read);
        let mut used = taken.clone();
        used.extend(attached.values());
        let mut interfaces: Vec<InterfaceEntry> = Vec::new();
        let mut named = HashSet::new();
        for ingress in &policy.ingresses {
            let name = ingress.interface.as_str();
            if !named.insert(name) {
                continue;
            }
            let slot = match attached.get(name) {
                Some(slot) => *slot,
                None => (0..abi::INTERFACE_SLOTS)
                    .find(|slot| !used.contains(slot))
                    .ok_or(SlotError::Interfaces)?,
            };
            used.insert(slot);
            let old = before.interfaces.iter().find(|entry| entry.name == name);
            interfaces.push(InterfaceEntry {
                name: name.to_owned(),
                slot,
                counters: slots.keep_or_take(old.map(|entry| entry.counters), 2)?,
                detached: false,
            });
        }
        let old_ingresses: HashMap<&str, &IngressEntry> =
            before.ingresses.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let mut ingresses = Vec::with_capacity(policy.ingresses.len());
        for ingress in &policy.ingresses {
            let old = old_ingresses.get(ingress.name.as_str());
            let contexts = ingress.contexts.iter().map(|id| policy.contexts[id.0].name.as_str());
            let names = std::iter::once(SPECIAL_RULE)
                .chain(contexts)
                .chain(ingress.labels.as_ref().map(|_| LABELS_RULE));
            let mut old_rules: HashMap<&str, u32> = old
                .iter()
                .flat_map(|entry| &entry.rules)
                .map(|rule| (rule.name.as_str(), rule.slot))
                .collect();
            let rules = names
                .map(|name| {
                    let slot = slots.keep_or_take(old_rules.remove(name), 1)?;
                    Ok(RuleEntry { name: name.to_owned(), slot })
                })
                .collect::<Result<_, SlotError>>()?;
            let mut leaving: Vec<u32> = old_rules.into_values().collect();
            leaving.sort_unstable();
            for slot in &leaving {
                slots.keep_or_take(Some(*slot), 1)?;
            }
            let accepted_before = old.map_or_else(Base::default, |entry| slots.settle(entry));
            ingresses.push(IngressEntry {
                name: ingress.name.clone(),
                interface: ingress.interface.as_str().to_owned(),
                vlan: ingress.vlans.iter().map(|vlan| vlan.get()).collect(),
                monitor: ingress.mode == Mode::Monitor,
                reasons: 0,
                rules,
                leaving,
                accepted_before,
            });
        }
        // Behind all rules: what accepted frames count in lies close together, and stays in the
        // cache.
        for entry in &mut ingresses {
            let old = old_ingresses.get(entry.name.as_str());
            entry.reasons =
                slots.keep_or_take(old.map(|entry| entry.reasons), abi::REASON_SLOTS)?;
        }
        Ok(Self { interfaces, ingresses, bases: slots.bases, ..Self::default() })
    }

    /// One more than the highest counter slot in use.
    pub fn counter_end(&self) -> u32 {
        self.runs().map(|(first, len)| first + len).max().unwrap_or(0)
    }

    /// Every counter slot in use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.runs().flat_map(|(first, len)| first..first + len)
    }

    /// Every run of counter slots in use: the first and how many.
    fn runs(&self) -> impl Iterator<Item = (u32, u32)> {
        let interfaces = self.interfaces.iter().map(|entry| (entry.counters, 2));
        let ingresses = self.ingresses.iter().flat_map(|entry| {
            let reasons = (entry.reasons, abi::REASON_SLOTS);
            let rules = entry.rules.iter().map(|rule| &rule.slot).chain(&entry.leaving);
            rules.map(|slot| (*slot, 1)).chain([reasons])
        });
        interfaces.chain(ingresses)
    }
}

/// Hands out counter slots that the generation before does not use. The kernel waited for the
/// last packet of every earlier one when it was replaced, so nobody counts there any more.
struct CounterSlots<F> {
    used: Vec<bool>,
    /// Where to look next for a run of so many: before that there is none.
    next: BTreeMap<usize, usize>,
    read: F,
    bases: BTreeMap<u32, Base>,
    before: BTreeMap<u32, Base>,
}

impl<F: Fn(u32) -> Counter> CounterSlots<F> {
    fn new(before: &Manifest, read: F) -> Self {
        let mut used = vec![false; abi::COUNTER_SLOTS as usize];
        for (first, len) in before.runs() {
            used[first as usize..(first + len) as usize].fill(true);
        }
        Self {
            used,
            next: BTreeMap::new(),
            read,
            bases: BTreeMap::new(),
            before: before.bases.clone(),
        }
    }

    fn keep_or_take(&mut self, old: Option<u32>, len: u32) -> Result<u32, SlotError> {
        let Some(first) = old else {
            return self.take(len);
        };
        let kept = self.before.range(first..first + len).map(|(slot, base)| (*slot, *base));
        self.bases.extend(kept);
        Ok(first)
    }

    /// What all rules accepted that had left the ingress before: nobody counts there any more.
    fn settle(&self, entry: &IngressEntry) -> Base {
        entry.leaving.iter().fold(entry.accepted_before, |sum, slot| {
            let Counter { packets, bytes } = (self.read)(*slot);
            let base = self.before.get(slot).copied().unwrap_or_default();
            Base {
                packets: sum.packets + packets - base.packets,
                bytes: sum.bytes + bytes - base.bytes,
            }
        })
    }

    fn take(&mut self, len: u32) -> Result<u32, SlotError> {
        let len = len as usize;
        let full = || SlotError::Counters(abi::COUNTER_SLOTS);
        let next = self.next.entry(len).or_default();
        let mut first = *next;
        loop {
            let run = self.used.get(first..first + len).ok_or_else(full)?;
            match run.iter().rposition(|used| *used) {
                Some(last) => first += last + 1,
                None => break,
            }
        }
        self.used[first..first + len].fill(true);
        *next = first + len;
        let first = u32::try_from(first).map_err(|_| full())?;
        for slot in (first..).take(len) {
            let Counter { packets, bytes } = (self.read)(slot);
            if packets != 0 {
                self.bases.insert(slot, Base { packets, bytes });
            }
        }
        Ok(first)
    }
}
