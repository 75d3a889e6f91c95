//! The policy file as the oracle understands it (§2 and §3 of the semantics).
//!
//! Written for valid files. What cannot be read is an error, but not all that §3 forbids is found.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use super::labels::LabelSet;

/// The labels a policy may give out; 0 to 15 are special-purpose (§3).
const LABELS: std::ops::RangeInclusive<u32> = 16..=1_048_575;

/// A whole policy (§3).
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// For every ingress that names none, and for unbound frames.
    pub(super) default_mode: Mode,
    pub(super) contexts: BTreeMap<String, Context>,
    /// In the order written.
    pub(super) ingresses: Vec<Ingress>,
}

/// What a refused frame meets with (§2).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    Enforce,
    Monitor,
}

impl Mode {
    /// As written in a policy.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }
}

/// Who is on the other side (§2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Customer,
    Peer,
    Core,
}

/// What the labels of a context mean on this router (§2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Vrf,
    Transport,
}

/// Which entries of a stack are examined (§3).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Inner {
    /// Only those that this router gets to see.
    #[default]
    Opaque,
    /// All.
    Validate,
}

/// A named set of labels (§2).
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) kind: Kind,
    pub(super) pops: bool,
    pub(super) labels: LabelSet,
}

/// Where frames come in (§2), with every default filled in (§3).
#[derive(Clone, Debug)]
pub(super) struct Ingress {
    pub(super) name: String,
    pub(super) interface: String,
    /// Outer to inner; none: untagged.
    pub(super) vlan: Vec<u16>,
    pub(super) role: Role,
    pub(super) mode: Mode,
    pub(super) max_depth: u32,
    pub(super) inner: Inner,
    /// The special-purpose labels allowed here.
    pub(super) special: BTreeSet<u32>,
    /// In the order written.
    pub(super) contexts: Vec<String>,
    /// The ingress's own labels, where the key is there.
    pub(super) labels: Option<LabelSet>,
}

impl Policy {
    /// Reads a policy file (§3).
    pub(super) fn read(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        ensure!(file.version == 1, "version {}", file.version);
        let contexts = file
            .contexts
            .into_iter()
            .map(|(name, table)| Ok((name.clone(), table.read().context(name)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let ingresses = in_order_written(file.ingress)
            .into_iter()
            .map(|(name, table)| table.read(&name, file.defaults.mode).context(name))
            .collect::<Result<Vec<_>>>()?;
        let policy = Self { default_mode: file.defaults.mode, contexts, ingresses };
        policy.ensure_sound()?;
        Ok(policy)
    }

    /// The ingress with this interface and exactly these VLAN IDs (§4.3).
    pub(super) fn ingress(&self, interface: &str, vids: &[u16]) -> Option<&Ingress> {
        self.ingresses.iter().find(|ingress| ingress.interface == interface && ingress.vlan == vids)
    }

    /// Whether any ingress is on the interface, so that there is a program on it (§4.3).
    pub(super) fn names(&self, interface: &str) -> bool {
        self.ingresses.iter().any(|ingress| ingress.interface == interface)
    }

    /// The interfaces named, each once, in the order written.
    pub(super) fn interfaces(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.ingresses
            .iter()
            .map(|ingress| ingress.interface.as_str())
            .filter(|&interface| seen.insert(interface))
            .collect()
    }

    /// Whether the label is in any context of this kind, whoever accepts it.
    pub(super) fn gives_out(&self, kind: Kind, label: u32) -> bool {
        self.contexts.values().any(|context| context.kind == kind && context.labels.contains(label))
    }

    /// Whether this router pops the label and then looks up the next entry (§2).
    pub(super) fn pops(&self, label: u32) -> bool {
        self.contexts.values().any(|context| context.pops && context.labels.contains(label))
    }

    /// What judging relies on: contexts that exist, and at most one ingress for a frame.
    fn ensure_sound(&self) -> Result<()> {
        let mut bindings = BTreeSet::new();
        for ingress in &self.ingresses {
            for context in &ingress.contexts {
                ensure!(self.contexts.contains_key(context), "no context {context}");
            }
            ensure!(
                bindings.insert((&ingress.interface, &ingress.vlan)),
                "{} is bound to what another ingress has",
                ingress.name
            );
        }
        Ok(())
    }
}

/// A table's entries in the order of the file, which a map forgets.
fn in_order_written<T>(table: BTreeMap<Spanned<String>, T>) -> Vec<(String, T)> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries.into_iter().map(|(name, value)| (name.into_inner(), value)).collect()
}

/// The file, as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    contexts: BTreeMap<String, ContextTable>,
    #[serde(default)]
    ingress: BTreeMap<Spanned<String>, IngressTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextTable {
    kind: Kind,
    labels: Vec<LabelItem>,
    #[serde(default)]
    pops: bool,
}

impl ContextTable {
    fn read(self) -> Result<Context> {
        Ok(Context { kind: self.kind, pops: self.pops, labels: label_set(&self.labels)? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IngressTable {
    interface: String,
    #[serde(default)]
    vlan: Vec<u16>,
    role: Role,
    mode: Option<Mode>,
    max_depth: Option<u32>,
    #[serde(default)]
    inner: Inner,
    special: Option<Vec<String>>,
    #[serde(default)]
    contexts: Vec<String>,
    labels: Option<Vec<LabelItem>>,
}

impl IngressTable {
    fn read(self, name: &str, default_mode: Mode) -> Result<Ingress> {
        let special = match &self.special {
            None => default_special(self.role),
            Some(names) => {
                names.iter().map(|name| special_labels(name)).collect::<Result<Vec<_>>>()?.concat()
            }
        };
        Ok(Ingress {
            name: name.to_owned(),
            interface: self.interface,
            vlan: self.vlan,
            role: self.role,
            mode: self.mode.unwrap_or(default_mode),
            max_depth: self.max_depth.unwrap_or_else(|| default_max_depth(self.role)),
            inner: self.inner,
            special: special.into_iter().collect(),
            contexts: self.contexts,
            labels: self.labels.as_deref().map(label_set).transpose()?,
        })
    }
}

/// How many label entries an ingress takes when it does not say (§3).
fn default_max_depth(role: Role) -> u32 {
    match role {
        Role::Customer | Role::Peer => 16,
        Role::Core => 32,
    }
}

/// The special-purpose labels an ingress allows when it does not say: the columns of §3's table.
fn default_special(role: Role) -> Vec<u32> {
    match role {
        Role::Customer | Role::Peer => vec![],
        // explicit-null, router-alert, entropy, gal
        Role::Core => vec![0, 2, 1, 7, 13],
    }
}

/// The labels behind a name in `special`: the rows of §3's table.
fn special_labels(name: &str) -> Result<Vec<u32>> {
    Ok(match name {
        "explicit-null" => vec![0, 2],
        "router-alert" => vec![1],
        "entropy" => vec![7],
        "gal" => vec![13],
        "oam-alert" => vec![14],
        "extended" => vec![15],
        _ => bail!("no special-purpose label is called {name:?}"),
    })
}

/// An item of `labels`: an integer, `"N"` or `"first-last"` (§3).
#[derive(Deserialize)]
#[serde(untagged)]
enum LabelItem {
    Number(u32),
    Text(String),
}

impl LabelItem {
    /// The first and the last label of the item.
    fn range(&self) -> Result<(u32, u32)> {
        let (first, last) = match self {
            Self::Number(label) => (*label, *label),
            Self::Text(text) => match text.split_once('-') {
                None => (number(text)?, number(text)?),
                Some((first, last)) => (number(first)?, number(last)?),
            },
        };
        ensure!(LABELS.contains(&first) && LABELS.contains(&last), "labels {first}-{last}");
        ensure!(first <= last, "the range {first}-{last} is reversed");
        Ok((first, last))
    }
}

fn number(text: &str) -> Result<u32> {
    text.parse().with_context(|| format!("{text:?} is no label"))
}

fn label_set(items: &[LabelItem]) -> Result<LabelSet> {
    items.iter().map(LabelItem::range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of §3, word for word.
    const EXAMPLE: &str = include_str!("example.toml");

    fn ingress<'a>(policy: &'a Policy, name: &str) -> &'a Ingress {
        policy.ingresses.iter().find(|ingress| ingress.name == name).unwrap()
    }

    #[test]
    fn the_example_of_the_page_reads_as_it_says() {
        let policy = Policy::read(EXAMPLE).unwrap();
        assert_eq!(policy.default_mode, Mode::Enforce);
        assert_eq!(policy.interfaces(), ["eth1", "eth2", "eth3"]);
        assert!(policy.contexts["red"].labels.contains(100));
        assert!(policy.contexts["red"].labels.contains(1099));
        assert!(!policy.contexts["red"].labels.contains(1100));
        assert!(policy.pops(16007) && !policy.pops(16008) && !policy.pops(100));

        let peer = ingress(&policy, "peer-as65001");
        assert_eq!((peer.interface.as_str(), &peer.vlan[..]), ("eth2", &[100][..]));
        assert_eq!((peer.role, peer.mode, peer.max_depth), (Role::Peer, Mode::Monitor, 1));
        assert_eq!(peer.special, BTreeSet::from([7]));
        assert!(peer.labels.as_ref().unwrap().contains(24063));

        let core = ingress(&policy, "core-a");
        assert_eq!((core.mode, core.max_depth, core.inner), (Mode::Enforce, 32, Inner::Opaque));
        assert_eq!(core.special, BTreeSet::from([0, 1, 2, 7, 13]));
        assert_eq!(core.contexts, ["core", "own-sids", "red"]);
        assert_eq!(core.labels, None);
    }

    #[test]
    fn ingresses_keep_the_order_written() {
        let names: Vec<_> =
            Policy::read(EXAMPLE).unwrap().ingresses.into_iter().map(|i| i.name).collect();
        assert_eq!(names, ["ce-red-1", "peer-as65001", "core-a"]);
    }

    #[test]
    fn an_ingress_without_a_mode_has_that_of_the_defaults_and_without_those_enforces() {
        let rest = "[ingress.a]\ninterface = \"eth1\"\nrole = \"customer\"\n";
        let monitored = format!("version = 1\n[defaults]\nmode = \"monitor\"\n{rest}");
        assert_eq!(ingress(&Policy::read(&monitored).unwrap(), "a").mode, Mode::Monitor);
        let silent = Policy::read(&format!("version = 1\n{rest}")).unwrap();
        assert_eq!(silent.default_mode, Mode::Enforce);
        assert_eq!(ingress(&silent, "a").mode, Mode::Enforce);
    }

    #[test]
    fn a_peer_has_sixteen_entries_and_no_special_labels_unless_it_says() {
        let text = "version = 1\n[ingress.p]\ninterface = \"eth1\"\nrole = \"peer\"\nlabels = [16]";
        let policy = Policy::read(text).unwrap();
        assert_eq!(ingress(&policy, "p").max_depth, 16);
        assert!(ingress(&policy, "p").special.is_empty());
    }

    #[test]
    fn labels_are_integers_or_strings_with_one_number_or_two() {
        let items = [LabelItem::Number(16), LabelItem::Text("18".into())];
        let range = LabelItem::Text("20-1048575".into());
        assert_eq!(items[0].range().unwrap(), (16, 16));
        assert_eq!(items[1].range().unwrap(), (18, 18));
        assert_eq!(range.range().unwrap(), (20, 1_048_575));
        for wrong in ["15", "1048576", "30-20", "", "-", "20-", "a"] {
            assert!(LabelItem::Text(wrong.into()).range().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_an_error() {
        let ingress = "[ingress.a]\ninterface = \"eth1\"\nrole = \"core\"\n";
        for wrong in [
            "".to_owned(),
            "version = 2".to_owned(),
            "version = 1\nwhat = 1".to_owned(),
            format!("version = 1\n{ingress}contexts = [\"red\"]"),
            format!("version = 1\n{ingress}special = [\"mna\"]"),
            format!("version = 1\n{ingress}{}", ingress.replace(".a", ".b")),
        ] {
            assert!(Policy::read(&wrong).is_err(), "{wrong}");
        }
    }
}
