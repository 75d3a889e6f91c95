//! Policies that are always valid (§3 of the semantics), though often of the kind that is warned
//! of.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, any};
use proptest::prop_oneof;
use proptest::sample::{Index, select, subsequence};
use proptest::strategy::Strategy;
use serde::{Serialize, Serializer};

/// The labels a policy may give out (§3).
const LABELS: RangeInclusive<u32> = 16..=1_048_575;
/// Where ranges like to start and to end: the limits, powers of two that split a lookup, and
/// places where contexts meet.
const ANCHORS: [u32; 10] = [16, 100, 1023, 1024, 2047, 2048, 3000, 16_000, 524_288, 1_048_575];

const CONTEXT_NAMES: [&str; 6] = ["red", "core", "own-sids", "blue.1", "l2_vpn", "7"];
const INGRESS_NAMES: [&str; 8] =
    ["core-a", "peer-as65001", "ce-red-1", "core-b.2", "asbr_3", "0", "red", "z"];
const INTERFACES: [&str; 4] = ["eth1", "eth2", "wan-0", "enp129s0f1np1"];
const SPECIAL: [&str; 6] =
    ["explicit-null", "router-alert", "entropy", "gal", "oam-alert", "extended"];
/// VLAN IDs that ingresses are bound to: the limits, and few enough to meet again.
pub(super) const VLAN_IDS: [u16; 4] = [100, 200, 1, 4094];

/// A policy (§3), which prints as TOML.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Policy {
    version: u32,
    /// `[defaults]`, where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// `[contexts.…]`, in the order written.
    #[serde(serialize_with = "by_name")]
    pub contexts: Vec<Context>,
    /// `[ingress.…]`, in the order written.
    #[serde(rename = "ingress", serialize_with = "by_name")]
    pub ingresses: Vec<Ingress>,
}

/// What holds unless an ingress says otherwise (§3).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Defaults {
    /// Also for unbound frames.
    pub mode: Mode,
}

/// A context (§2).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Context {
    /// The table's name.
    #[serde(skip)]
    pub name: &'static str,
    /// `kind`.
    pub kind: Kind,
    /// `pops`, where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pops: Option<bool>,
    /// `labels`, never empty.
    pub labels: Vec<LabelItem>,
}

/// An ingress (§2). Lists that are empty, and keys that are `None`, are not written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ingress {
    /// The table's name.
    #[serde(skip)]
    pub name: &'static str,
    /// `interface`.
    pub interface: &'static str,
    /// `vlan`, outer to inner.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<u16>,
    /// `role`.
    pub role: Role,
    /// `mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// `max-depth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u32>,
    /// `inner`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner: Option<Inner>,
    /// `special`; an empty list is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special: Option<Vec<&'static str>>,
    /// `contexts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<&'static str>,
    /// `labels`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelItem>,
}

/// `mode` (§2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Drops.
    Enforce,
    /// Only counts.
    Monitor,
}

/// `role` (§2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Own network.
    Core,
    /// Another administration.
    Peer,
    /// No labelled frame is accepted.
    Customer,
}

/// `kind` (§2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The label of a service.
    Vrf,
    /// The label of a path.
    Transport,
}

/// `inner` (§3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Inner {
    /// Only exposed entries are examined.
    Opaque,
    /// Every entry is examined.
    Validate,
}

/// An item of `labels`, in each form that §3 allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LabelItem {
    /// An integer.
    Number(u32),
    /// `"N"`.
    Text(u32),
    /// `"first-last"`, which may be the same.
    Range(u32, u32),
}

impl LabelItem {
    /// The lowest label.
    pub fn first(self) -> u32 {
        match self {
            Self::Number(label) | Self::Text(label) | Self::Range(label, _) => label,
        }
    }

    /// The highest label.
    pub fn last(self) -> u32 {
        match self {
            Self::Number(label) | Self::Text(label) | Self::Range(_, label) => label,
        }
    }
}

impl Serialize for LabelItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(label) => serializer.serialize_u32(*label),
            Self::Text(label) => serializer.collect_str(label),
            Self::Range(first, last) => serializer.collect_str(&format_args!("{first}-{last}")),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Policy {
    /// A policy of version 1.
    #[must_use]
    pub fn new(
        defaults: Option<Defaults>,
        contexts: Vec<Context>,
        ingresses: Vec<Ingress>,
    ) -> Self {
        Self { version: 1, defaults, contexts, ingresses }
    }

    /// The labels that the ingress accepts, by whichever rule.
    pub(super) fn acceptable(&self, ingress: &Ingress) -> Vec<LabelItem> {
        let contexts = self.contexts.iter().filter(|one| ingress.contexts.contains(&one.name));
        contexts.flat_map(|context| &context.labels).chain(&ingress.labels).copied().collect()
    }

    /// The labels that this router pops.
    pub(super) fn popping(&self) -> Vec<LabelItem> {
        let contexts = self.contexts.iter().filter(|context| context.pops == Some(true));
        contexts.flat_map(|context| &context.labels).copied().collect()
    }

    /// All labels of the policy.
    pub(super) fn given_out(&self) -> Vec<LabelItem> {
        let own = self.ingresses.iter().flat_map(|ingress| &ingress.labels);
        self.contexts.iter().flat_map(|context| &context.labels).chain(own).copied().collect()
    }
}

/// Something that stands under its name in a table.
trait Named {
    fn name(&self) -> &str;
}

impl Named for Context {
    fn name(&self) -> &str {
        self.name
    }
}

impl Named for Ingress {
    fn name(&self) -> &str {
        self.name
    }
}

/// Writes a list as a table of tables, in order.
fn by_name<T, S>(list: &[T], serializer: S) -> Result<S::Ok, S::Error>
where
    T: Named + Serialize,
    S: Serializer,
{
    serializer.collect_map(list.iter().map(|entry| (entry.name(), entry)))
}

/// A valid policy.
pub fn policy() -> impl Strategy<Value = Policy> {
    let defaults = option::of(mode().prop_map(|mode| Defaults { mode }));
    let contexts = vec(context(), 1..=CONTEXT_NAMES.len());
    let ingresses = vec(ingress(), 1..=INGRESS_NAMES.len());
    (defaults, contexts, ingresses).prop_map(|(defaults, mut contexts, ingresses)| {
        for (context, name) in contexts.iter_mut().zip(CONTEXT_NAMES) {
            context.name = name;
        }
        let names: Vec<_> = contexts.iter().map(|context| context.name).collect();
        let ingresses = bind(ingresses, &names);
        Policy::new(defaults, contexts, ingresses)
    })
}

/// An ingress together with its wishes for contexts, which are not known yet.
type UnboundIngress = (Ingress, Vec<Index>);

/// Gives ingresses their names and contexts, and each binding to the first that asks for it.
fn bind(ingresses: Vec<UnboundIngress>, contexts: &[&'static str]) -> Vec<Ingress> {
    let mut bindings = BTreeSet::new();
    ingresses
        .into_iter()
        .filter(|(ingress, _)| bindings.insert((ingress.interface, ingress.vlan.clone())))
        .zip(INGRESS_NAMES)
        .map(|((mut ingress, wishes), name)| {
            let mut seen = BTreeSet::new();
            let wishes = wishes.iter().map(|wish| *wish.get(contexts));
            ingress.name = name;
            ingress.contexts = wishes.filter(|&context| seen.insert(context)).collect();
            if ingress.role == Role::Customer {
                forbid_labels(&mut ingress);
            }
            ingress
        })
        .collect()
}

/// A customer must not have these keys (§3).
fn forbid_labels(customer: &mut Ingress) {
    customer.contexts.clear();
    customer.labels.clear();
    customer.special = None;
}

fn context() -> impl Strategy<Value = Context> {
    let kind = select(&[Kind::Vrf, Kind::Transport][..]);
    let pops = prop_oneof![3 => Just(None), 1 => Just(Some(false)), 3 => Just(Some(true))];
    (kind, pops, vec(label_item(), 1..=5)).prop_map(|(kind, pops, labels)| Context {
        name: "",
        kind,
        pops,
        labels,
    })
}

fn ingress() -> impl Strategy<Value = UnboundIngress> {
    let binding = (select(&INTERFACES[..]), vec(select(&VLAN_IDS[..]), 0..=2));
    let role = prop_oneof![6 => Just(Role::Core), 4 => Just(Role::Peer), 1 => Just(Role::Customer)];
    let accepted = (vec(any::<Index>(), 0..=CONTEXT_NAMES.len()), own_labels(), special());
    let rest = (option::of(mode()), max_depth(), option::of(inner()));
    (binding, role, accepted, rest).prop_map(|(binding, role, accepted, rest)| {
        let (interface, vlan) = binding;
        let (contexts, labels, special) = accepted;
        let (mode, max_depth, inner) = rest;
        let ingress = Ingress {
            name: "",
            interface,
            vlan,
            role,
            mode,
            max_depth,
            inner,
            special,
            contexts: vec![],
            labels,
        };
        (ingress, contexts)
    })
}

fn own_labels() -> impl Strategy<Value = Vec<LabelItem>> {
    prop_oneof![2 => Just(vec![]), 1 => vec(label_item(), 1..=3)]
}

fn special() -> impl Strategy<Value = Option<Vec<&'static str>>> {
    let some = subsequence(SPECIAL.to_vec(), 0..=SPECIAL.len()).prop_shuffle();
    prop_oneof![3 => Just(None), 1 => Just(Some(SPECIAL.to_vec())), 2 => some.prop_map(Some)]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Monitor)]
}

fn inner() -> impl Strategy<Value = Inner> {
    select(&[Inner::Opaque, Inner::Validate][..])
}

fn max_depth() -> impl Strategy<Value = Option<u32>> {
    let near_the_limits = select(&[1, 2, 3, 31, 32][..]);
    prop_oneof![
        4 => Just(None),
        3 => near_the_limits.prop_map(Some),
        1 => (1..=32_u32).prop_map(Some),
    ]
}

fn label_item() -> impl Strategy<Value = LabelItem> {
    let first = (prop_oneof![9 => select(&ANCHORS[..]), 1 => LABELS], -2..=2_i32);
    let width = prop_oneof![
        4 => Just(0_u32),
        3 => 1..=4_u32,
        3 => 5..=100_u32,
        2 => 500..=1100_u32,
        1 => 0..=1_048_575_u32,
    ];
    (first, width, any::<bool>()).prop_map(|((anchor, offset), width, as_text)| {
        let first = clamped(anchor.saturating_add_signed(offset));
        match (width, as_text) {
            (0, false) => LabelItem::Number(first),
            (0, true) => LabelItem::Text(first),
            _ => LabelItem::Range(first, clamped(first + width)),
        }
    })
}

fn clamped(label: u32) -> u32 {
    label.clamp(*LABELS.start(), *LABELS.end())
}
