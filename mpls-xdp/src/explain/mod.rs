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
        let framing = Framing::of(frame);
        let is_named =
            self.policy.ingresses.iter().any(|ingress| ingress.interface.as_str() == interface);
        let (is_filtered, decision) = match framing.taken_for {
            _ if frame.len() < ETHERNET_HEADER => {
                (false, "shorter than an Ethernet header: passes untouched".to_owned())
            }
            Kind::NotMpls => (false, "not MPLS: passes untouched, whatever it is".to_owned()),
            _ if !is_named => {
                (false, format!("the policy does not name {interface}: everything passes there"))
            }
            Kind::VlanTooDeep => (true, "a fifth VLAN tag follows four".to_owned()),
            Kind::MplsUpstream => (true, "a stack of upstream-assigned labels".to_owned()),
            Kind::Mpls => (true, "a label stack".to_owned()),
        };
        let outcome = Outcome {
            frame: number,
            verdict: verdict(false, self.policy.default_mode),
            reason: None,
            ingress: None,
            position: None,
            label: None,
        };
        let step = Step::Framing { framing: framing.clone(), decision };
        let mut account = Account { steps: vec![step], outcome };
        if is_filtered {
            let stack = frame.get(framing.behind()..).unwrap_or_default();
            self.find_ingress(&mut account, interface, &framing, stack);
        }
        account
    }

    /// From the tags to the ingress.
    fn find_ingress(self, account: &mut Account, interface: &str, framing: &Framing, stack: &[u8]) {
        let vids = framing.vids();
        let bound = self.policy.ingresses.iter().position(|ingress| {
            ingress.interface.as_str() == interface
                && ingress.vlans.iter().map(|vlan| vlan.get()).eq(vids.iter().copied())
        });
        let (reason, decision) = match (framing.taken_for, bound) {
            (Kind::VlanTooDeep, _) => {
                (InterfaceReason::VlanTooDeep, "what is behind the tags is not read".to_owned())
            }
            (_, None) => {
                let decision = format!("{interface} has no ingress for {}", vlan_text(&vids));
                (InterfaceReason::IngressUnbound, decision)
            }
            (kind, Some(index)) => return self.enter(account, index, kind, stack),
        };
        account.steps.push(Step::Ingress {
            ingress: None,
            line: None,
            decision,
            reason: Some(reason.name()),
            source: Some(reason.source()),
        });
        account.outcome.verdict = verdict(true, self.policy.default_mode);
        account.outcome.reason = Some(reason.name());
    }

    /// From the ingress at this place of the policy to the verdict.
    fn enter(self, account: &mut Account, index: usize, kind: Kind, stack: &[u8]) {
        let ingress = &self.policy.ingresses[index];
        let refusal = if ingress.role == Role::Customer {
            Some((Reason::MplsNotEnabled, "a customer: no labelled frame is accepted"))
        } else if kind == Kind::MplsUpstream {
            Some((Reason::UpstreamNotAllowed, "no ingress accepts type 0x8848"))
        } else {
            None
        };
        let decision = match refusal {
            Some((_, decision)) => decision.to_owned(),
            None => stack::rules_of(ingress),
        };
        account.steps.push(Step::Ingress {
            ingress: Some(ingress.name.clone()),
            line: self.places.ingress(index),
            decision,
            reason: refusal.map(|(reason, _)| reason.name()),
            source: refusal.map(|(reason, _)| reason.source()),
        });
        let (entries, decided) = match refusal {
            Some((reason, _)) => {
                (stack::not_reached(stack, 0).collect(), Err((reason, At::NOWHERE)))
            }
            None => stack::examine(self, index, stack),
        };
        account.steps.extend(entries.into_iter().map(Step::Entry));
        let (reason, at) = match decided {
            Ok(at) => (None, at),
            Err((reason, at)) => (Some(reason.name()), at),
        };
        account.outcome = Outcome {
            frame: account.outcome.frame,
            verdict: verdict(reason.is_some(), ingress.mode),
            reason,
            ingress: Some(ingress.name.clone()),
            position: at.position,
            label: at.label,
        };
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
