//! The product's decision, compiled for the host, and the oracle beside it.
//!
//! The host library reads the same image that the kernel program reads. It must say what the
//! [oracle](crate::oracle) says, must count in the same place, and must never read outside of an
//! image that the compiler made.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{Result, ensure};
use mpls_xdp::{compile, manifest::Manifest, policy};
use mpls_xdp_ebpf::{
    abi::{Counter as Counts, NONE, REASON_SLOTS, Trace, interface_record},
    decision, frame,
    image::{Image, Record},
    reason::{InterfaceReason, Reason},
};

use crate::oracle::{Counter, Judgement, Oracle, Verdict};

/// What a judge says about a frame: the fields of `replay --json`.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// `pass` or `drop`.
    pub verdict: &'static str,
    /// Why it is refused.
    pub reason: Option<&'static str>,
    /// Where it came in.
    pub ingress: Option<String>,
    /// Position of the entry that decided.
    pub position: Option<u32>,
    /// Its label.
    pub label: Option<u32>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, reason, ingress, position, label } = self;
        write!(f, "{verdict} {reason:?} ingress {ingress:?} position {position:?} label {label:?}")
    }
}

impl From<&Judgement> for Seen {
    fn from(judgement: &Judgement) -> Self {
        Self {
            verdict: match judgement.verdict {
                Verdict::Pass => "pass",
                Verdict::Drop => "drop",
            },
            reason: judgement.reason,
            ingress: judgement.ingress.clone(),
            position: judgement.position,
            label: judgement.label,
        }
    }
}

/// A policy, compiled for the host library and read by the oracle.
pub struct Host {
    text: String,
    policy: policy::Policy,
    manifest: Manifest,
    image: Vec<u32>,
    oracle: Oracle,
}

impl Host {
    /// Reads and compiles a policy.
    ///
    /// # Errors
    ///
    /// When the product or the oracle does not take it.
    pub fn new(text: &str) -> Result<Self> {
        Self::numbered(text, 0, |_| Counts::default())
    }

    /// As [`Self::new`], as a generation of this number, over counter slots that have counted what
    /// `read` says.
    ///
    /// # Errors
    ///
    /// When the product or the oracle does not take it.
    pub fn numbered(text: &str, generation: u64, read: impl Fn(u32) -> Counts) -> Result<Self> {
        let parsed = policy::parse("policy.toml", text);
        ensure!(parsed.policy.is_some(), "the policy is invalid: {:?}\n{text}", parsed.errors);
        let policy = parsed.policy.expect("there is one");
        let oracle = text.parse()?;
        let new = Manifest::default();
        let manifest = Manifest::assign(&policy, &new, &HashMap::new(), &HashSet::new(), read)?;
        let manifest = Manifest { generation, ..manifest };
        let image = compile::compile(&policy, &manifest)?;
        Ok(Self { text: text.to_owned(), policy, manifest, image, oracle })
    }

    /// The policy as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The policy as the product reads it.
    #[must_use]
    pub fn policy(&self) -> &policy::Policy {
        &self.policy
    }

    /// The policy's names and slots.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The compiled policy.
    #[must_use]
    pub fn image(&self) -> &[u32] {
        &self.image
    }

    /// The independent reading of the policy.
    #[must_use]
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// The slot of an interface; behind those that the policy names, one that none has.
    #[must_use]
    pub fn slot(&self, interface: &str) -> u32 {
        let named = self.manifest.interfaces.iter().find(|entry| entry.name == interface);
        let behind = || u32::try_from(self.manifest.interfaces.len()).unwrap_or(NONE);
        named.map_or_else(behind, |entry| entry.slot)
    }

    /// Where the record of an interface stands.
    fn record(&self, interface: &str) -> u32 {
        interface_record(self.slot(interface)).expect("a policy has fewer interfaces than slots")
    }

    /// What the host library decides, as the kernel program would trace it.
    ///
    /// # Panics
    ///
    /// When it reads outside of the image.
    #[must_use]
    pub fn trace(&self, interface: &str, frame: &[u8]) -> Trace {
        let outside = Cell::new(None);
        let image = Bounded { words: &self.image, outside: &outside, from: 0 };
        let framing = frame::parse(&frame);
        let top = decision::top(&frame, framing);
        let verdict = decision::decide(&frame, framing, top, &image, self.record(interface));
        let trace = verdict.trace(&frame, framing, &image);
        if let Some(word) = outside.get() {
            panic!("word {word} of an image of {} was read", self.image.len());
        }
        trace
    }

    /// What a trace says, in the policy's names.
    #[must_use]
    pub fn seen(&self, trace: &Trace) -> Seen {
        let some = |number: u32| (number != NONE).then_some(number);
        Seen {
            verdict: if trace.dropped == 1 { "drop" } else { "pass" },
            reason: reason(trace.reason),
            ingress: some(trace.ingress)
                .map(|number| self.manifest.ingresses[number as usize].name.clone()),
            position: some(trace.position),
            label: some(trace.label),
        }
    }

    /// What the oracle says, to which the host library agrees.
    ///
    /// # Errors
    ///
    /// When it does not; the error says who differs.
    pub fn judge(&self, interface: &str, frame: &[u8]) -> Result<Judgement, String> {
        self.judge_as(&self.trace(interface, frame), interface, frame)
    }

    /// As [`Self::judge`], with the host library's decision already there.
    ///
    /// # Errors
    ///
    /// When the oracle does not agree; the error says who differs.
    pub fn judge_as(
        &self,
        trace: &Trace,
        interface: &str,
        frame: &[u8],
    ) -> Result<Judgement, String> {
        let host = self.seen(trace);
        let judgement = self.oracle.judge(interface, frame);
        let oracle = Seen::from(&judgement);
        if host != oracle {
            return Err(format!("the judges disagree:\n host   {host:?}\n oracle {oracle:?}"));
        }
        let counter = self.counter(interface, trace)?;
        if counter != judgement.counter {
            return Err(format!(
                "the judges count differently:\n host   {counter:?}\n oracle {:?}",
                judgement.counter
            ));
        }
        Ok(judgement)
    }

    /// What the counter slot of a trace counts.
    fn counter(&self, interface: &str, trace: &Trace) -> Result<Counter, String> {
        let slot = trace.counter;
        if slot == NONE {
            return Ok(Counter::Nothing);
        }
        if trace.ingress == NONE {
            let entry = self.manifest.interfaces.iter().find(|entry| entry.name == interface);
            return match entry.map(|entry| slot.wrapping_sub(entry.counters)) {
                Some(0) => Ok(Counter::Unbound),
                Some(1) => Ok(Counter::VlanTooDeep),
                _ => Err(format!("interface {interface} has no counter slot {slot}")),
            };
        }
        let entry = &self.manifest.ingresses[trace.ingress as usize];
        if let Some(rule) = entry.rules.iter().find(|rule| rule.slot == slot) {
            return Ok(Counter::Accepted { rule: rule.name.clone() });
        }
        let place = slot.wrapping_sub(entry.reasons);
        if place >= REASON_SLOTS || place / 2 != trace.reason {
            return Err(format!("slot {slot} of {} counts something else: {trace:?}", entry.name));
        }
        Ok(if place % 2 == 1 { Counter::WouldDrop } else { Counter::Dropped })
    }
}

/// An image, or what stands from one of its words on, that remembers a read outside of it.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    words: &'a [u32],
    outside: &'a Cell<Option<u32>>,
    from: u32,
}

impl Image for Bounded<'_> {
    type Record = Self;

    fn at(&self, place: u32) -> Self {
        Self { from: place / 4, ..*self }
    }

    fn fixed(&self, place: u32) -> Self {
        self.at(place)
    }
}

impl Record for Bounded<'_> {
    fn word(&self, field: u32) -> u32 {
        let at = self.from + field;
        if at as usize >= self.words.len() {
            self.outside.set(Some(at));
        }
        self.words.word(at)
    }

    fn byte(&self, at: u32) -> u8 {
        self.word(at / 4);
        (&self.words[self.from as usize..]).byte(at)
    }

    fn inner(self, field: u32) -> Self {
        Self { from: self.from + field, ..self }
    }
}

/// The name behind a trace's reason.
fn reason(code: u32) -> Option<&'static str> {
    let of_ingress = Reason::ALL.into_iter().map(Reason::name);
    let of_interface = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    (0..).zip(of_ingress.chain(of_interface)).find_map(|(at, name)| (at == code).then_some(name))
}
