//! What could be read of a policy file, before it is known to be a policy.
//!
//! Where something is `None`, an error was reported for it.

use std::ops::Range;

use mpls_xdp_ebpf::policy::{Inner, Mode, Role, SpecialSet};
use toml::Spanned;

use super::labels::LabelList;
use super::{Context, ContextId, ContextKind, Ingress, InterfaceName, Policy, VlanId};

/// A policy in the making; the index of a context is its [`ContextId`].
pub(super) struct Draft {
    pub(super) default_mode: Option<Mode>,
    pub(super) contexts: Vec<DraftContext>,
    pub(super) ingresses: Vec<DraftIngress>,
}

/// A context in the making.
pub(super) struct DraftContext {
    pub(super) name: Spanned<String>,
    pub(super) kind: Option<ContextKind>,
    pub(super) labels: Option<LabelList>,
    pub(super) pops: Option<Spanned<bool>>,
}

/// An ingress in the making.
pub(super) struct DraftIngress {
    pub(super) name: Spanned<String>,
    pub(super) interface: Option<Spanned<InterfaceName>>,
    pub(super) vlans: Option<Vec<VlanId>>,
    pub(super) role: Option<Role>,
    /// Every entry, in the order written; `None` where it means no context.
    pub(super) contexts: Vec<Spanned<Option<ContextId>>>,
    pub(super) labels_key: Option<Range<usize>>,
    pub(super) labels: Option<LabelList>,
    pub(super) mode: Option<Mode>,
    pub(super) max_depth: Option<u8>,
    /// Where `max-depth` is, if it is written.
    pub(super) max_depth_place: Option<Range<usize>>,
    pub(super) inner: Option<Spanned<Inner>>,
    pub(super) special: Option<SpecialSet>,
}

impl Draft {
    /// The policy, when every part of it could be read.
    pub(super) fn into_policy(self) -> Option<Policy> {
        let contexts = self.contexts.into_iter().map(DraftContext::into_context);
        let ingresses = self.ingresses.into_iter().map(DraftIngress::into_ingress);
        Some(Policy {
            default_mode: self.default_mode?,
            contexts: contexts.collect::<Option<_>>()?,
            ingresses: ingresses.collect::<Option<_>>()?,
        })
    }

    /// The context of an entry in an ingress's `contexts`.
    pub(super) fn context(&self, entry: &Spanned<Option<ContextId>>) -> Option<&DraftContext> {
        entry.get_ref().and_then(|id| self.contexts.get(id.0))
    }
}

impl DraftContext {
    /// A context of which only the name is read.
    pub(super) fn new(name: Spanned<String>) -> Self {
        Self { name, kind: None, labels: None, pops: None }
    }

    fn into_context(self) -> Option<Context> {
        Some(Context {
            name: self.name.into_inner(),
            kind: self.kind?,
            labels: self.labels?.into_set(),
            pops: self.pops?.into_inner(),
        })
    }
}

impl DraftIngress {
    /// An ingress of which only the name is read.
    pub(super) fn new(name: Spanned<String>) -> Self {
        Self {
            name,
            interface: None,
            vlans: None,
            role: None,
            contexts: Vec::new(),
            labels_key: None,
            labels: None,
            mode: None,
            max_depth: None,
            max_depth_place: None,
            inner: None,
            special: None,
        }
    }

    fn into_ingress(self) -> Option<Ingress> {
        let contexts = self.contexts.into_iter().map(Spanned::into_inner);
        Some(Ingress {
            name: self.name.into_inner(),
            interface: self.interface?.into_inner(),
            vlans: self.vlans?,
            role: self.role?,
            contexts: contexts.collect::<Option<_>>()?,
            labels: self.labels.map(LabelList::into_set),
            mode: self.mode?,
            max_depth: self.max_depth?,
            inner: self.inner?.into_inner(),
            special: self.special?,
        })
    }
}
