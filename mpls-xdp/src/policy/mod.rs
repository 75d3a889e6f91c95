//! The policy file: what it says, and everything that is wrong with it.
//!
//! [`parse`] reads the file's text and reports all errors and warnings in one go; [`check_live`]
//! adds what only the running system can say. §3 of the semantics is what both implement.

use std::fmt;

use mpls_xdp_ebpf::policy::{Inner, Mode, Role, SpecialSet};
use toml::de::DeTable;

use crate::manifest::LABELS_RULE;

mod diagnostic;
mod diff;
mod draft;
mod file;
mod interface_name;
mod labels;
mod limits;
mod live;
mod places;
mod source;
mod syntax;
mod value;
mod warnings;
mod wording;
pub(crate) mod writing;

#[cfg(test)]
mod tests;

pub use diagnostic::{Diagnostic, Related, Severity};
pub use diff::{
    ContextDiff, DiffKind, FieldChange, IngressDiff, LabelChange, PolicyDiff, RuleDiff,
};
pub use interface_name::{InterfaceName, InterfaceNameError};
pub(crate) use labels::range_text;
pub use labels::{ASSIGNABLE, LabelSet};
pub use live::{LiveFacts, check_live};
pub use places::Places;

use diagnostic::Findings;
use draft::Draft;
use live::NamedInterface;
use source::Source;
use syntax::Reading;

/// A valid policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The mode of unbound frames.
    pub default_mode: Mode,
    /// The contexts, in file order.
    pub contexts: Vec<Context>,
    /// The ingresses, in file order.
    pub ingresses: Vec<Ingress>,
}

/// A named set of labels and what they mean on this router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The name, which is also that of a rule on every ingress that accepts the context.
    pub name: String,
    /// What the labels mean.
    pub kind: ContextKind,
    /// The labels.
    pub labels: LabelSet,
    /// Whether this router pops the labels and looks the next entry up itself.
    pub pops: bool,
}

/// What the labels of a context mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// Service labels: they lead into a VRF, a pseudowire or an EVPN instance.
    Vrf,
    /// Labels of LDP, RSVP-TE, segment routing and static LSPs.
    Transport,
}

impl Policy {
    /// The labels that a rule of an ingress accepts: those of a context, or the ingress's own.
    pub fn rules<'a>(
        &'a self,
        ingress: &'a Ingress,
    ) -> impl Iterator<Item = (&'a str, &'a LabelSet)> {
        let contexts = ingress.contexts.iter().map(|id| &self.contexts[id.0]);
        let own = ingress.labels.iter().map(|labels| (LABELS_RULE, labels));
        contexts.map(|context| (context.name.as_str(), &context.labels)).chain(own)
    }
}

/// The place of a context in [`Policy::contexts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub usize);

/// Where frames come in, and what is accepted from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// The name.
    pub name: String,
    /// The interface that the program is attached to.
    pub interface: InterfaceName,
    /// The VLAN IDs, outer to inner: none, one or two.
    pub vlans: Vec<VlanId>,
    /// Who is on the other side.
    pub role: Role,
    /// The accepted contexts, in the order written, each once.
    pub contexts: Vec<ContextId>,
    /// The ingress's own labels, if the key is there; an empty list is a rule as well.
    pub labels: Option<LabelSet>,
    /// The mode, with the file's default filled in.
    pub mode: Mode,
    /// How many label entries a stack may have, with the role's default filled in.
    pub max_depth: u8,
    /// Which entries are examined.
    pub inner: Inner,
    /// The accepted special-purpose labels, with the role's default filled in.
    pub special: SpecialSet,
}

/// A VLAN ID that can be bound: 1 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN ID `id`, unless it is 0 (a priority tag), 4095 (reserved) or more.
    pub fn new(id: u16) -> Option<Self> {
        (1..=4094).contains(&id).then_some(Self(id))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What [`parse`] made of a policy file.
#[derive(Debug)]
pub struct Parsed {
    /// The policy, unless there are errors.
    pub policy: Option<Policy>,
    /// All errors, in file order.
    pub errors: Vec<Diagnostic>,
    /// All warnings, in file order.
    pub warnings: Vec<Diagnostic>,
    /// Where the file says what the policy says.
    pub places: Places,
    interfaces: Vec<NamedInterface>,
}

/// Reads the policy file `path` from its `text`; the path is only repeated in diagnostics.
pub fn parse(path: &str, text: &str) -> Parsed {
    let mut findings = Findings::new(Source::new(path, text));
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let (policy, interfaces, places) = match syntax::report(&mut findings, syntax_errors) {
        Reading::Broken => (None, Vec::new(), Places::default()),
        Reading::Whole(unread) => {
            let draft = file::read(&mut findings, document.get_ref());
            limits::check(&mut findings, &draft);
            unread.discount(&mut findings.errors);
            warnings::check(&mut findings, &draft);
            let interfaces = interfaces(&findings, &draft);
            let places = Places::new(findings.source(), &draft);
            (draft.into_policy(), interfaces, places)
        }
    };
    findings.sort();
    Parsed {
        policy: policy.filter(|_| findings.errors.is_empty()),
        errors: findings.errors,
        warnings: findings.warnings,
        places,
        interfaces,
    }
}

fn interfaces(findings: &Findings<'_>, draft: &Draft) -> Vec<NamedInterface> {
    let named = |ingress: &draft::DraftIngress| {
        let interface = ingress.interface.as_ref()?;
        Some(NamedInterface {
            name: interface.get_ref().clone(),
            vlans: ingress.vlans.clone().unwrap_or_default(),
            site: findings.source().site(interface.span()),
        })
    };
    draft.ingresses.iter().filter_map(named).collect()
}
