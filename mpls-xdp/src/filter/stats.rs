//! The counters by name.

use std::collections::BTreeMap;

use mpls_xdp_ebpf::{
    abi::{self, Counter},
    reason::{InterfaceReason, Reason},
};
use serde::Serialize;

use super::{
    FilterError, Session,
    active::{Active, live_programs},
};
use crate::{
    kernel::{Counters, Pins},
    manifest::{Base, IngressEntry, Manifest},
    router::Links,
};

/// Frames and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CounterRow {
    /// Frames.
    pub packets: u64,
    /// Whole frames' lengths, in bytes.
    pub bytes: u64,
}

impl std::ops::Add for CounterRow {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

impl std::iter::Sum for CounterRow {
    fn sum<I: Iterator<Item = Self>>(rows: I) -> Self {
        rows.fold(Self::default(), std::ops::Add::add)
    }
}

/// Everything that was counted.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// Version of these fields.
    pub schema: u32,
    /// Generation of the policy.
    pub generation: u64,
    /// Frames that have no ingress, by interface.
    pub interfaces: Vec<InterfaceStats>,
    /// Frames of each ingress.
    pub ingresses: Vec<IngressStats>,
}

/// An interface's counters.
#[derive(Debug, Clone, Serialize)]
pub struct InterfaceStats {
    /// Its name.
    pub interface: String,
    /// `native`, `generic`, `offloaded` or `none`.
    pub attached: &'static str,
    /// By [`InterfaceReason::name`].
    #[serde(flatten)]
    pub reasons: Ordered<CounterRow>,
}

/// An ingress's counters.
#[derive(Debug, Clone, Serialize)]
pub struct IngressStats {
    /// Its name.
    pub ingress: String,
    /// Its interface.
    pub interface: String,
    /// Its VLAN IDs, outer to inner.
    pub vlan: Vec<u16>,
    /// `enforce` or `monitor`.
    pub mode: &'static str,
    /// Accepted frames.
    pub accepted: CounterRow,
    /// Dropped frames.
    pub dropped: CounterRow,
    /// Frames that passed only because of `monitor`.
    pub would_drop: CounterRow,
    /// Dropped and would-drop frames by [`Reason::name`].
    pub reasons: Ordered<CounterRow>,
    /// Accepted frames by rule.
    pub rules: Vec<RuleStats>,
    /// Every reason with what was dropped and what would have been.
    #[serde(skip)]
    pub refused: Vec<RefusedStats>,
}

/// What an ingress refused for one reason.
#[derive(Debug, Clone, Copy)]
pub struct RefusedStats {
    /// The reason.
    pub reason: Reason,
    /// Frames dropped for it.
    pub dropped: CounterRow,
    /// Frames that passed only because of `monitor`.
    pub would_drop: CounterRow,
}

/// A rule's counter.
#[derive(Debug, Clone, Serialize)]
pub struct RuleStats {
    /// Its name.
    pub rule: String,
    /// What it accepted.
    #[serde(flatten)]
    pub counter: CounterRow,
}

/// Names and values in their own order.
#[derive(Debug, Clone)]
pub struct Ordered<T>(pub Vec<(&'static str, T)>);

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Reads all counters.
///
/// # Errors
///
/// When no policy is applied, or the kernel cannot be asked.
pub fn read_stats(session: &Session) -> Result<Stats, FilterError> {
    stats_of(&session.pins)
}

/// The same without the session: whoever asks makes sure that nothing changed meanwhile.
pub(super) fn stats_of(pins: &Pins) -> Result<Stats, FilterError> {
    let active = Active::policy(pins)?;
    let counters = Counters::read(pins)?;
    let links = Links::read()?;
    Ok(stats(&active.manifest, &counters, &attachments(pins, &links)?))
}

/// How each filtered interface is filtered, by name.
pub(super) fn attachments<'a>(
    pins: &Pins,
    links: &'a Links,
) -> Result<BTreeMap<&'a str, &'static str>, FilterError> {
    let (programs, _) = live_programs(pins, links)?;
    let filtered = programs.iter().filter_map(|program| links.by_index(program.ifindex));
    Ok(filtered
        .filter_map(|link| Some((link.name.as_str(), link.xdp.as_ref()?.mode.name())))
        .collect())
}

pub(super) fn stats(
    manifest: &Manifest,
    counters: &Counters,
    attached: &BTreeMap<&str, &'static str>,
) -> Stats {
    let count = |slot: u32| {
        let Counter { packets, bytes } = counters.get(slot);
        match manifest.bases.get(&slot) {
            Some(base) => CounterRow {
                // A lost pin has nothing to say, not less than nothing.
                packets: packets.saturating_sub(base.packets),
                bytes: bytes.saturating_sub(base.bytes),
            },
            None => CounterRow { packets, bytes },
        }
    };
    let interfaces = manifest
        .interfaces
        .iter()
        .map(|entry| InterfaceStats {
            interface: entry.name.clone(),
            attached: attached.get(entry.name.as_str()).copied().unwrap_or("none"),
            reasons: Ordered(
                InterfaceReason::ALL
                    .map(|reason| (field(reason), count(entry.counters + reason.code())))
                    .to_vec(),
            ),
        })
        .collect();
    let ingresses = manifest.ingresses.iter().map(|entry| ingress(entry, count)).collect();
    Stats { schema: 1, generation: manifest.generation, interfaces, ingresses }
}

/// The name under an interface, which says already that the frame came in there.
const fn field(reason: InterfaceReason) -> &'static str {
    match reason {
        InterfaceReason::IngressUnbound => "unbound",
        InterfaceReason::VlanTooDeep => InterfaceReason::VlanTooDeep.name(),
    }
}

fn ingress(entry: &IngressEntry, count: impl Fn(u32) -> CounterRow) -> IngressStats {
    let by_mode = |reason: Reason, monitored| {
        count(abi::reason_slot(entry.reasons, reason.code(), monitored))
    };
    let refused = Reason::ALL.map(|reason| RefusedStats {
        reason,
        dropped: by_mode(reason, false),
        would_drop: by_mode(reason, true),
    });
    let mut rules: Vec<RuleStats> = entry
        .rules
        .iter()
        .map(|rule| RuleStats { rule: rule.name.clone(), counter: count(rule.slot) })
        .collect();
    // The rule of special-purpose labels is shown behind those that have names of their own.
    if !rules.is_empty() {
        rules.rotate_left(1);
    }
    // What rules accepted that the policy has no more still counts for the ingress.
    let Base { packets, bytes } = entry.accepted_before;
    let leaving: CounterRow = entry.leaving.iter().map(|slot| count(*slot)).sum();
    let gone = CounterRow { packets, bytes } + leaving;
    IngressStats {
        ingress: entry.name.clone(),
        interface: entry.interface.clone(),
        vlan: entry.vlan.clone(),
        mode: if entry.monitor { "monitor" } else { "enforce" },
        accepted: rules.iter().map(|rule| rule.counter).sum::<CounterRow>() + gone,
        dropped: refused.iter().map(|row| row.dropped).sum(),
        would_drop: refused.iter().map(|row| row.would_drop).sum(),
        reasons: Ordered(
            refused.iter().map(|row| (row.reason.name(), row.dropped + row.would_drop)).collect(),
        ),
        rules,
        refused: refused.to_vec(),
    }
}
