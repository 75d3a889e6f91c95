//! Why a frame meets its fate: each check of §4 and §5 of the semantics, in words.
//!
//! This is a reading of the policy in user space. The verdict is the kernel program's
//! ([`Replay`](crate::replay::Replay)); whoever shows an [`Account`] holds its outcome against
//! that one.

mod framing;
mod packet;
mod stack;

use mpls_xdp_ebpf::{
    policy::{Mode, Role},
    reason::{InterfaceReason, Reason},
};
use serde::Serialize;

use crate::{
    policy::{ContextId, Places, Policy},
    replay::Outcome,
};

pub use self::framing::{EtherType, Framing, Kind, Tag};
pub use self::packet::{Packet, StackEntry, StackSyntaxError};

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// The steps from a frame to its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// In the order in which they are taken.
    pub steps: Vec<Step>,
    /// What they come to.
    pub outcome: Outcome,
}

/// One step of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The tags and the type.
    Framing {
        /// What was read.
        #[serde(flatten)]
        framing: Framing,
        /// What was decided, in one sentence.
        decision: String,
    },
    /// Which ingress has this interface and these VLAN IDs.
    Ingress {
        /// Its name; none where no ingress has them.
        ingress: Option<String>,
        /// Line of the policy file.
        line: Option<usize>,
        /// What was decided, in one sentence.
        decision: String,
        /// Why the frame is refused here.
        reason: Option<&'static str>,
        /// Where the check comes from.
        source: Option<&'static str>,
    },
    /// One label stack entry.
    Entry(Entry),
}

/// What was made of a label stack entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Position from the top, 0 first.
    pub position: u32,
    /// The entry; none where the frame ends before it is complete.
    #[serde(flatten)]
    pub read: Option<Read>,
    /// Whether this router interprets it.
    pub exposed: bool,
    /// Why it does, or does not.
    pub why: String,
    /// What the policy says of the label, where that was looked up.
    pub found_in: Vec<Owner>,
    /// The rule that accepts the label.
    pub rule: Option<String>,
    /// What became of it.
    pub treatment: Treatment,
    /// What was decided, in one sentence.
    pub decision: String,
    /// Why the frame is refused here.
    pub reason: Option<&'static str>,
    /// Where the check comes from.
    pub source: Option<&'static str>,
    /// Line of the policy file that decided.
    pub line: Option<usize>,
}

/// The fields of a label stack entry (RFC 3032 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Read {
    /// The label.
    pub label: u32,
    /// What a special-purpose label is called.
    pub name: Option<&'static str>,
    /// Traffic class.
    pub tc: u8,
    /// Bottom of stack.
    pub s: bool,
    /// Time to live.
    pub ttl: u8,
}

/// Who has a label, and on which line of the policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A context.
    Context {
        /// Its name.
        name: String,
        /// The line with the label.
        line: Option<usize>,
    },
    /// The `labels` of an ingress.
    Ingress {
        /// Its name.
        name: String,
        /// The line with the label.
        line: Option<usize>,
    },
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// It was examined and is acceptable.
    Accepted,
    /// It decided that the frame is refused.
    Refused,
    /// It was not examined, because it belongs to another router.
    NotExamined,
    /// The verdict fell before it.
    NotReached,
}

/// The entry that decided: position, and label where that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    position: Option<u32>,
    label: Option<u32>,
}

impl At {
    const NOWHERE: Self = Self { position: None, label: None };
}

/// A policy, and where its file says what.
#[derive(Clone, Copy)]
pub struct Explainer<'a> {
    policy: &'a Policy,
    places: &'a Places,
}

impl<'a> Explainer<'a> {
    /// Explains what `policy` decides.
    pub fn new(policy: &'a Policy, places: &'a Places) -> Self {
        Self { policy, places }
    }

    /// What becomes of a frame that is received on an interface; `number` counts from 1.
    pub fn account(self, interface: &str, number: usize, frame: &[u8]) -> Account {
        let pass = Outcome {
            frame: number,
            verdict: "pass",
            reason: None,
            ingress: None,
            position: None,
            label: None,
        };
        let framing = Framing::of(frame);
        let untouched = if frame.len() < ETHERNET_HEADER {
            Some("shorter than an Ethernet header: passes untouched")
        } else if framing.taken_for == Kind::NotMpls {
            Some("not MPLS: passes untouched, whatever it is")
        } else {
            None
        };
        if let Some(decision) = untouched {
            let decision = decision.to_owned();
            return Account { steps: vec![Step::Framing { framing, decision }], outcome: pass };
        }
        if !self.policy.ingresses.iter().any(|ingress| ingress.interface.as_str() == interface) {
            let decision = format!("the policy does not name {interface}: everything passes there");
            return Account { steps: vec![Step::Framing { framing, decision }], outcome: pass };
        }
        let vids = framing.vids();
        let bound = self.policy.ingresses.iter().position(|ingress| {
            ingress.interface.as_str() == interface
                && ingress.vlans.iter().map(|vlan| vlan.get()).eq(vids.iter().copied())
        });
        let decision = match framing.taken_for {
            Kind::VlanTooDeep => "a fifth VLAN tag follows four",
            Kind::MplsUpstream => "a stack of upstream-assigned labels",
            Kind::Mpls | Kind::NotMpls => "a label stack",
        };
        let is_too_deep = framing.taken_for == Kind::VlanTooDeep;
        let is_upstream = framing.taken_for == Kind::MplsUpstream;
        let stack = frame.get(framing.behind()..).unwrap_or_default();
        let mut steps = vec![Step::Framing { framing, decision: decision.to_owned() }];
        if is_too_deep {
            let outcome = self.without_ingress(&mut steps, InterfaceReason::VlanTooDeep, pass, {
                "what is behind the tags is not read".to_owned()
            });
            return Account { steps, outcome };
        }
        let Some(index) = bound else {
            let decision = format!("{interface} has no ingress for {}", vlan_text(&vids));
            let outcome =
                self.without_ingress(&mut steps, InterfaceReason::IngressUnbound, pass, decision);
            return Account { steps, outcome };
        };
        let ingress = &self.policy.ingresses[index];
        let refusal = if ingress.role == Role::Customer {
            Some((Reason::MplsNotEnabled, "a customer: no labelled frame is accepted"))
        } else if is_upstream {
            Some((Reason::UpstreamNotAllowed, "no ingress accepts type 0x8848"))
        } else {
            None
        };
        steps.push(Step::Ingress {
            ingress: Some(ingress.name.clone()),
            line: self.places.ingress(index),
            decision: refusal
                .map_or_else(|| stack::rules_of(ingress), |(_, decision)| decision.to_owned()),
            reason: refusal.map(|(reason, _)| reason.name()),
            source: refusal.map(|(reason, _)| reason.source()),
        });
        let decided = match refusal {
            Some((reason, _)) => {
                steps.extend(stack::not_reached(stack, 0).map(Step::Entry));
                Err((reason, At::NOWHERE))
            }
            None => {
                let (entries, decided) = stack::examine(self, index, stack);
                steps.extend(entries.into_iter().map(Step::Entry));
                decided
            }
        };
        let (reason, at) = match decided {
            Ok(at) => (None, at),
            Err((reason, at)) => (Some(reason.name()), at),
        };
        let outcome = Outcome {
            verdict: verdict(reason.is_some(), ingress.mode),
            reason,
            ingress: Some(ingress.name.clone()),
            position: at.position,
            label: at.label,
            ..pass
        };
        Account { steps, outcome }
    }

    fn without_ingress(
        self,
        steps: &mut Vec<Step>,
        reason: InterfaceReason,
        pass: Outcome,
        decision: String,
    ) -> Outcome {
        steps.push(Step::Ingress {
            ingress: None,
            line: None,
            decision,
            reason: Some(reason.name()),
            source: Some(reason.source()),
        });
        let verdict = verdict(true, self.policy.default_mode);
        Outcome { verdict, reason: Some(reason.name()), ..pass }
    }

    /// Every context and ingress that has a label of 16 or more.
    fn owners(self, label: u32) -> Vec<Owner> {
        let contexts = self.contexts_with(label).map(|id| Owner::Context {
            name: self.policy.contexts[id.0].name.clone(),
            line: self.places.context_label(id, label),
        });
        let with_label = |(index, ingress): (usize, &crate::policy::Ingress)| {
            let labels = ingress.labels.as_ref().filter(|labels| labels.contains(label));
            labels.map(|_| Owner::Ingress {
                name: ingress.name.clone(),
                line: self.places.ingress_label(index, label),
            })
        };
        contexts.chain(self.policy.ingresses.iter().enumerate().filter_map(with_label)).collect()
    }

    fn contexts_with(self, label: u32) -> impl Iterator<Item = ContextId> {
        let contexts = self.policy.contexts.iter().enumerate();
        contexts
            .filter(move |(_, context)| context.labels.contains(label))
            .map(|(index, _)| ContextId(index))
    }
}

const fn verdict(is_refused: bool, mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce if is_refused => "drop",
        Mode::Enforce | Mode::Monitor => "pass",
    }
}

fn vlan_text(vids: &[u16]) -> String {
    match vids {
        [] => "untagged frames".to_owned(),
        [vid] => format!("VLAN {vid}"),
        vids => {
            let vids: Vec<_> = vids.iter().map(u16::to_string).collect();
            format!("VLANs {}, outer to inner", vids.join(", "))
        }
    }
}
