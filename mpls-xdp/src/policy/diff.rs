//! What is different between two policies, in the words of the file.

use std::collections::{BTreeMap, HashSet};

use mpls_xdp_ebpf::policy::Special;
use serde::Serialize;

use super::{
    Context, Ingress, LabelSet, Policy,
    file::{INNERS, KINDS, MODES, ROLES},
    wording::word,
};
use crate::manifest::LABELS_RULE;

/// What another policy would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyDiff {
    /// Keys of `[defaults]`.
    pub defaults: Vec<FieldChange>,
    /// Contexts that are added, removed or changed: those that stay first, in the new order.
    pub contexts: Vec<ContextDiff>,
    /// Ingresses, in the same way.
    pub ingresses: Vec<IngressDiff>,
}

/// Whether a part is new, gone, or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiffKind {
    /// Only the new policy has it.
    Added,
    /// Only the old policy has it.
    Removed,
    /// Both have it.
    Changed,
}

/// A key with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The key as the file calls it.
    pub field: &'static str,
    /// The value in the old policy, defaults filled in; `None` in one that has no such part.
    pub from: Option<String>,
    /// The value in the new policy.
    pub to: Option<String>,
}

/// How many labels come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LabelChange {
    /// Labels that only the new policy has.
    pub added: usize,
    /// Labels that only the old policy has.
    pub removed: usize,
}

/// A context that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextDiff {
    /// Its name.
    pub context: String,
    /// Whether it is new, gone, or another.
    pub change: DiffKind,
    /// `kind` and `pops`.
    pub fields: Vec<FieldChange>,
    /// Its labels.
    pub labels: LabelChange,
}

/// An ingress that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngressDiff {
    /// Its name.
    pub ingress: String,
    /// Whether it is new, gone, or another.
    pub change: DiffKind,
    /// All keys but `contexts` and `labels`; `contexts` only when they are the same in another
    /// order.
    pub fields: Vec<FieldChange>,
    /// Rules that are added, removed, or have other labels of the ingress's own.
    pub rules: Vec<RuleDiff>,
}

/// A rule of an ingress that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleDiff {
    /// The context, or `labels`.
    pub rule: String,
    /// Whether it is new, gone, or has other labels.
    pub change: DiffKind,
    /// Its labels.
    pub labels: LabelChange,
}

impl PolicyDiff {
    /// Compares two policies; without an old one everything is added.
    pub fn between(old: Option<&Policy>, new: &Policy) -> Self {
        let mode = |policy: &Policy| ("mode", word(MODES, &policy.default_mode).to_owned());
        let old_contexts = old.map_or(&[][..], |old| &old.contexts);
        let old_ingresses = old.map_or(&[][..], |old| &old.ingresses);
        let contexts = pairs(old_contexts, &new.contexts, |context| &context.name);
        let ingresses = pairs(old_ingresses, &new.ingresses, |ingress| &ingress.name);
        Self {
            defaults: fields(old.map(|old| vec![mode(old)]), Some(vec![mode(new)])),
            contexts: contexts.into_iter().filter_map(|(a, b)| context_diff(a, b)).collect(),
            ingresses: ingresses
                .into_iter()
                .filter_map(|(a, b)| {
                    ingress_diff(old.and_then(|old| Some((old, a?))), b.map(|b| (new, b)))
                })
                .collect(),
        }
    }

    /// Whether the policies mean the same.
    pub fn is_empty(&self) -> bool {
        self.defaults.is_empty() && self.contexts.is_empty() && self.ingresses.is_empty()
    }
}

impl LabelChange {
    fn between(old: Option<&LabelSet>, new: Option<&LabelSet>) -> Self {
        let none = LabelSet::default();
        let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
        Self { added: new.without(old).len(), removed: old.without(new).len() }
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Everything of both, by name: those of the new policy in its order, then those that are gone.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&T) -> &String,
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let mut by_name: BTreeMap<&String, (usize, &T)> =
        old.iter().enumerate().map(|(at, part)| (name(part), (at, part))).collect();
    let mut pairs: Vec<(Option<&T>, Option<&T>)> = new
        .iter()
        .map(|part| (by_name.remove(name(part)).map(|(_, old)| old), Some(part)))
        .collect();
    let mut gone: Vec<_> = by_name.into_values().collect();
    gone.sort_by_key(|(at, _)| *at);
    pairs.extend(gone.into_iter().map(|(_, part)| (Some(part), None)));
    pairs
}

fn kind<T>(old: Option<T>, new: Option<T>) -> DiffKind {
    match (old, new) {
        (None, _) => DiffKind::Added,
        (_, None) => DiffKind::Removed,
        _ => DiffKind::Changed,
    }
}

type Fields = Vec<(&'static str, String)>;

/// Those that differ. A part that one policy does not have has no value there.
fn fields(old: Option<Fields>, new: Option<Fields>) -> Vec<FieldChange> {
    let names: Vec<&'static str> =
        new.as_ref().or(old.as_ref()).into_iter().flatten().map(|(name, _)| *name).collect();
    let values = |fields: Option<Fields>| {
        let mut values = fields.into_iter().flatten().map(|(_, value)| value);
        names.iter().map(|_| values.next()).collect::<Vec<_>>()
    };
    let (old, new) = (values(old), values(new));
    names
        .iter()
        .zip(old.into_iter().zip(new))
        .filter(|(_, (from, to))| from != to)
        .map(|(field, (from, to))| FieldChange { field, from, to })
        .collect()
}

fn context_diff(old: Option<&Context>, new: Option<&Context>) -> Option<ContextDiff> {
    let name = &new.or(old)?.name;
    let values = |context: &Context| {
        vec![("kind", word(KINDS, &context.kind).to_owned()), ("pops", context.pops.to_string())]
    };
    let labels = LabelChange::between(old.map(|c| &c.labels), new.map(|c| &c.labels));
    let change = kind(old, new);
    let fields = fields(old.map(values), new.map(values));
    let differs = change != DiffKind::Changed || !fields.is_empty() || !labels.is_none();
    differs.then(|| ContextDiff { context: name.clone(), change, fields, labels })
}

fn ingress_diff(
    old: Option<(&Policy, &Ingress)>,
    new: Option<(&Policy, &Ingress)>,
) -> Option<IngressDiff> {
    let name = &new.or(old)?.1.name;
    let change = kind(old, new);
    let mut fields = fields(old.map(|(_, i)| values(i)), new.map(|(_, i)| values(i)));
    let none = BTreeMap::new();
    let of = |side: Option<(&Policy, &Ingress)>| {
        side.map(|(policy, ingress)| {
            policy
                .rules(ingress)
                .map(|(rule, labels)| (rule.to_owned(), labels.clone()))
                .collect::<BTreeMap<_, _>>()
        })
    };
    let (old_rules, new_rules) = (of(old), of(new));
    let (old_rules, new_rules) =
        (old_rules.as_ref().unwrap_or(&none), new_rules.as_ref().unwrap_or(&none));
    let names: Vec<&String> = old_rules.keys().chain(new_rules.keys()).collect();
    let mut seen = HashSet::new();
    let mut rules = Vec::new();
    for rule in names {
        let (before, after) = (old_rules.get(rule), new_rules.get(rule));
        let change = kind(before, after);
        let labels = LabelChange::between(before, after);
        // The labels of a context that stays are told with the context.
        let differs = change != DiffKind::Changed || rule == LABELS_RULE && !labels.is_none();
        if seen.insert(rule) && differs {
            rules.push(RuleDiff { rule: rule.clone(), change, labels });
        }
    }
    let is_reordered =
        |((old_policy, old), (new_policy, new)): ((&Policy, &Ingress), (&Policy, &Ingress))| {
            let order = [contexts(old_policy, old), contexts(new_policy, new)];
            let [before, after] =
                order.clone().map(|names| names.into_iter().collect::<HashSet<_>>());
            (before == after && order[0] != order[1]).then(|| order.map(|names| names.join(", ")))
        };
    if let Some([from, to]) = old.zip(new).and_then(is_reordered) {
        fields.push(FieldChange { field: "contexts", from: Some(from), to: Some(to) });
    }
    let differs = change != DiffKind::Changed || !fields.is_empty() || !rules.is_empty();
    differs.then(|| IngressDiff { ingress: name.clone(), change, fields, rules })
}

fn contexts<'a>(policy: &'a Policy, ingress: &Ingress) -> Vec<&'a str> {
    ingress.contexts.iter().map(|id| policy.contexts[id.0].name.as_str()).collect()
}

fn values(ingress: &Ingress) -> Fields {
    let vlans: Vec<String> = ingress.vlans.iter().map(ToString::to_string).collect();
    let special: Vec<&str> = Special::ALL
        .into_iter()
        .filter(|special| ingress.special.allows(*special))
        .map(Special::name)
        .collect();
    let or = |list: String, none: &str| if list.is_empty() { none.to_owned() } else { list };
    vec![
        ("interface", ingress.interface.to_string()),
        ("vlan", or(vlans.join("."), "untagged")),
        ("role", word(ROLES, &ingress.role).to_owned()),
        ("mode", word(MODES, &ingress.mode).to_owned()),
        ("max-depth", ingress.max_depth.to_string()),
        ("inner", word(INNERS, &ingress.inner).to_owned()),
        ("special", or(special.join(", "), "none")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const OLD: &str = r#"
version = 1
[contexts.core]
kind = "transport"
labels = ["1000-1099"]
[contexts.red]
kind = "vrf"
labels = [100]
[contexts.gone]
kind = "vrf"
labels = [300]
[ingress.peer]
interface = "eth2"
vlan = [100]
role = "peer"
contexts = ["red", "gone"]
labels = ["2000-2009"]
mode = "monitor"
[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["core", "red"]
[ingress.old]
interface = "eth4"
role = "customer"
"#;

    fn policy(text: &str) -> Policy {
        parse("policy.toml", text).policy.unwrap()
    }

    fn diff(new: &str) -> PolicyDiff {
        PolicyDiff::between(Some(&policy(OLD)), &policy(new))
    }

    fn changed(field: &'static str, from: &str, to: &str) -> FieldChange {
        FieldChange { field, from: Some(from.to_owned()), to: Some(to.to_owned()) }
    }

    #[test]
    fn the_same_policy_has_no_difference() {
        let same = OLD.replace("[contexts.core]", "# words\n[contexts.core]");
        assert!(diff(&same).is_empty());
        // A default that is written out is the same.
        assert!(
            diff(&OLD.replace("role = \"core\"", "role = \"core\"\nmax-depth = 32")).is_empty()
        );
    }

    #[test]
    fn labels_and_kinds_of_contexts() {
        let new = OLD.replace("\"1000-1099\"", "\"1010-1119\"").replace(
            "kind = \"vrf\"\nlabels = [100]",
            "kind = \"transport\"\nlabels = [100]\npops = true",
        );
        let expected = [
            ContextDiff {
                context: "core".to_owned(),
                change: DiffKind::Changed,
                fields: vec![],
                labels: LabelChange { added: 20, removed: 10 },
            },
            ContextDiff {
                context: "red".to_owned(),
                change: DiffKind::Changed,
                fields: vec![changed("kind", "vrf", "transport"), changed("pops", "false", "true")],
                labels: LabelChange::default(),
            },
        ];
        let diff = diff(&new);
        assert_eq!(diff.contexts, expected);
        assert!(diff.ingresses.is_empty() && diff.defaults.is_empty());
    }

    #[test]
    fn every_key_of_an_ingress() {
        let new = OLD
            .replace(
                "mode = \"monitor\"",
                "max-depth = 1\ninner = \"validate\"\nspecial = [\"gal\"]",
            )
            .replace("contexts = [\"red\", \"gone\"]\nlabels = [\"2000-2009\"]", "labels = [2000]")
            .replace("vlan = [100]", "vlan = [200, 7]")
            .replace("role = \"peer\"", "role = \"core\"")
            .replace("eth2", "eth9");
        let new = new.replace("version = 1\n", "version = 1\n[defaults]\nmode = \"monitor\"\n");
        let diff = diff(&new.replace("max-depth = 1\n", "max-depth = 1\nmode = \"enforce\"\n"));
        assert_eq!(diff.defaults, [changed("mode", "enforce", "monitor")]);
        let peer = &diff.ingresses[0];
        let fields = [
            changed("interface", "eth2", "eth9"),
            changed("vlan", "100", "200.7"),
            changed("role", "peer", "core"),
            changed("mode", "monitor", "enforce"),
            changed("max-depth", "16", "1"),
            changed("inner", "opaque", "validate"),
            changed("special", "none", "gal"),
        ];
        assert_eq!(peer.fields, fields);
        let rule = |rule: &str, change, removed| RuleDiff {
            rule: rule.to_owned(),
            change,
            labels: LabelChange { added: 0, removed },
        };
        let rules = [
            rule("gone", DiffKind::Removed, 1),
            rule("labels", DiffKind::Changed, 9),
            rule("red", DiffKind::Removed, 1),
        ];
        assert_eq!(peer.rules, rules);
    }

    #[test]
    fn what_comes_and_goes() {
        let (kept, _) = OLD.split_once("[ingress.old]").unwrap();
        let new = format!("{kept}[ingress.new]\ninterface = \"eth5\"\nrole = \"customer\"\n");
        let diff = diff(&new);
        let changes: Vec<_> =
            diff.ingresses.iter().map(|i| (i.ingress.as_str(), i.change)).collect();
        assert_eq!(changes, [("new", DiffKind::Added), ("old", DiffKind::Removed)]);
        assert_eq!(diff.ingresses[0].fields[0].to.as_deref(), Some("eth5"));
        assert_eq!(diff.ingresses[1].fields[0].from.as_deref(), Some("eth4"));
        let first = PolicyDiff::between(None, &policy(OLD));
        assert!(first.contexts.iter().all(|context| context.change == DiffKind::Added));
        assert_eq!((first.contexts.len(), first.ingresses.len()), (3, 3));
    }

    #[test]
    fn an_order_that_decides_what_a_rule_counts() {
        let new = OLD.replace("[\"core\", \"red\"]", "[\"red\", \"core\"]");
        assert_eq!(diff(&new).ingresses[0].fields, [changed("contexts", "core, red", "red, core")]);
    }
}
