//! From the TOML document to drafts of contexts and ingresses.
//!
//! Nothing stops at an error: what cannot be read stays open in its draft, and the rest is read.

use std::collections::HashMap;
use std::ops::Range;

use mpls_xdp_ebpf::policy::{Inner, Mode, Role, Special, SpecialSet};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::{Finding, Findings};
use super::draft::{Draft, DraftContext, DraftIngress};
use super::value::{Value, integer};
use super::wording::{self, quoted};
use super::{ContextId, ContextKind, InterfaceName, VlanId};

type Key<'i> = Spanned<DeString<'i>>;

const ROOT_KEYS: &[&str] = &["version", "defaults", "contexts", "ingress"];
const DEFAULTS_KEYS: &[&str] = &["mode"];
const CONTEXT_KEYS: &[&str] = &["kind", "labels", "pops"];
const INGRESS_KEYS: &[&str] =
    &["interface", "vlan", "role", "contexts", "labels", "mode", "max-depth", "inner", "special"];

/// What a customer has no use for, since it accepts no labelled frame.
const NOT_FOR_CUSTOMERS: [&str; 3] = ["contexts", "labels", "special"];

/// `stats` has rules of these names.
const RESERVED_CONTEXT_NAMES: [&str; 2] = ["labels", "special"];

pub(super) const MODES: &[(&str, Mode)] = &[("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
pub(super) const KINDS: &[(&str, ContextKind)] =
    &[("vrf", ContextKind::Vrf), ("transport", ContextKind::Transport)];
pub(super) const ROLES: &[(&str, Role)] =
    &[("customer", Role::Customer), ("peer", Role::Peer), ("core", Role::Core)];
pub(super) const INNERS: &[(&str, Inner)] =
    &[("opaque", Inner::Opaque), ("validate", Inner::Validate)];

const MAX_NAME: usize = 63;
const MAX_VLANS: usize = 2;
const MAX_DEPTH: u8 = 32;

/// How many contexts a help text lists by name.
const LISTED_CONTEXTS: usize = 8;

/// How many pairs of names may be compared for "did you mean".
const COMPARISONS: usize = 1_000_000;

const CONTEXT_HELP: &str = "a context is a table: [contexts.red]";
const INGRESS_HELP: &str = "an ingress is a table: [ingress.core-a]";

/// Reads `document`, reporting whatever one value, or a name that must be known, shows.
pub(super) fn read(findings: &mut Findings<'_>, document: &DeTable<'_>) -> Draft {
    let mut reader = Reader { findings, contexts: None, comparisons: COMPARISONS };
    reader.document(document)
}

struct Reader<'f, 't, 'd> {
    findings: &'f mut Findings<'t>,
    /// The names that may stand in `contexts`, or `None` when the file does not tell them.
    contexts: Option<HashMap<&'d str, ContextId>>,
    comparisons: usize,
}

/// A table of the file, and how messages speak of it.
#[derive(Clone, Copy)]
struct Table<'d, 'i, 'c> {
    entries: &'d DeTable<'i>,
    called: &'c str,
    /// The parent and the name in the header, for a table that the operator names.
    header: Option<(&'static str, &'c Key<'i>)>,
}

impl<'d, 'i> Table<'d, 'i, '_> {
    fn get(&self, key: &str) -> Option<&'d Value<'i>> {
        self.entries.get(key)
    }

    fn place_of_key(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }
}

impl<'d> Reader<'_, '_, 'd> {
    fn document(&mut self, entries: &'d DeTable<'_>) -> Draft {
        let root = Table { entries, called: "a policy", header: None };
        self.unknown_keys(&root, ROOT_KEYS);
        self.version(&root);
        let default_mode = self.defaults(&root);
        let contexts = self.contexts(&root);
        let ingresses = self.ingresses(&root, default_mode);
        Draft { default_mode, contexts, ingresses }
    }

    fn version(&mut self, root: &Table<'d, '_, '_>) {
        let help = "this program reads `version = 1`";
        let Some(value) = root.get("version") else {
            let place = self.findings.source().first_line();
            let finding = Finding::new("missing-key", place, "the policy has no `version`");
            self.findings.error(finding.help("start the file with `version = 1`"));
            return;
        };
        if !value.get_ref().is_integer() {
            self.findings.wrong_type("`version`", value, "an integer", help);
        } else if integer(value) != Some(1) {
            let message = "this is no version of the policy file that this program reads";
            let finding = Finding::new("unsupported-version", value.span(), message);
            self.findings.error(finding.help(help));
        }
    }

    fn defaults(&mut self, root: &Table<'d, '_, '_>) -> Option<Mode> {
        let Some(value) = root.get("defaults") else {
            return Some(Mode::Enforce);
        };
        let defaults = Table {
            entries: self.findings.table("`defaults`", value, "a table: [defaults]")?,
            called: "`defaults`",
            header: None,
        };
        self.unknown_keys(&defaults, DEFAULTS_KEYS);
        self.mode(&defaults, Some(Mode::Enforce))
    }

    fn mode(&mut self, table: &Table<'d, '_, '_>, default: Option<Mode>) -> Option<Mode> {
        match table.get("mode") {
            Some(value) => self.findings.keyword("mode", value, MODES),
            None => default,
        }
    }

    fn contexts(&mut self, root: &Table<'d, '_, '_>) -> Vec<DraftContext> {
        let Some(value) = root.get("contexts") else {
            // Under a misspelt `contexts`, the names are still not unknown.
            let mut keys = root.entries.keys();
            let is_misspelt = keys.any(|key| meant_by(key, ROOT_KEYS) == Some("contexts"));
            self.contexts = (!is_misspelt).then(HashMap::new);
            return Vec::new();
        };
        let Some(entries) = self.findings.table("`contexts`", value, CONTEXT_HELP) else {
            return Vec::new();
        };
        let names = entries.keys().enumerate();
        let ids = names.map(|(index, name)| (name.get_ref().as_ref(), ContextId(index)));
        self.contexts = Some(ids.collect());
        entries.iter().map(|(name, value)| self.context(name, value)).collect()
    }

    fn context<'i>(&mut self, name: &Key<'i>, value: &'d Value<'i>) -> DraftContext {
        self.name("a context", name);
        self.reserved_name(name);
        let mut draft = DraftContext::new(owned(name));
        let called = format!("the context {}", quoted(name.get_ref()));
        let Some(entries) = self.findings.table(&called, value, CONTEXT_HELP) else {
            return draft;
        };
        let table = Table { entries, called: &called, header: Some(("contexts", name)) };
        self.unknown_keys(&table, CONTEXT_KEYS);
        let help = "`kind = \"vrf\"` or `kind = \"transport\"`";
        if let Some(value) = self.required(&table, "kind", name, help) {
            draft.kind = self.findings.keyword("kind", value, KINDS);
        }
        let help = "`labels = [100, \"1000-1099\"]`";
        if let Some(value) = self.required(&table, "labels", name, help) {
            draft.labels = self.findings.labels(value);
        }
        draft.pops = match table.get("pops") {
            Some(value) => self.findings.boolean("`pops`", value),
            None => Some(Spanned::new(name.span(), false)),
        };
        draft
    }

    fn ingresses(&mut self, root: &Table<'d, '_, '_>, mode: Option<Mode>) -> Vec<DraftIngress> {
        let entries = root
            .get("ingress")
            .and_then(|value| self.findings.table("`ingress`", value, INGRESS_HELP));
        let Some(entries) = entries else {
            return Vec::new();
        };
        entries.iter().map(|(name, value)| self.ingress(name, value, mode)).collect()
    }

    fn ingress<'i>(
        &mut self,
        name: &Key<'i>,
        value: &'d Value<'i>,
        mode: Option<Mode>,
    ) -> DraftIngress {
        self.name("an ingress", name);
        let mut draft = DraftIngress::new(owned(name));
        let called = format!("the ingress {}", quoted(name.get_ref()));
        let Some(entries) = self.findings.table(&called, value, INGRESS_HELP) else {
            return draft;
        };
        let table = Table { entries, called: &called, header: Some(("ingress", name)) };
        self.unknown_keys(&table, INGRESS_KEYS);
        self.binding(&mut draft, &table, name);
        self.acceptance(&mut draft, &table);
        draft.mode = self.mode(&table, mode);
        self.examination(&mut draft, &table);
        draft
    }

    /// Where the frames come in, and from whom: `interface`, `vlan` and `role`.
    fn binding(&mut self, draft: &mut DraftIngress, table: &Table<'d, '_, '_>, name: &Key<'_>) {
        if let Some(value) = self.required(table, "interface", name, "`interface = \"eth1\"`") {
            draft.interface = self.interface(value);
        }
        draft.vlans = match table.get("vlan") {
            Some(value) => self.vlans(value),
            None => Some(Vec::new()),
        };
        let help = "`role = \"customer\"`, `role = \"peer\"` or `role = \"core\"`";
        if let Some(value) = self.required(table, "role", name, help) {
            draft.role = self.findings.keyword("role", value, ROLES);
        }
    }

    /// What is accepted: `contexts`, `labels` and `special`.
    fn acceptance(&mut self, draft: &mut DraftIngress, table: &Table<'d, '_, '_>) {
        if draft.role == Some(Role::Customer) {
            self.not_for_customers(table);
        }
        if let Some(value) = table.get("contexts") {
            draft.contexts = self.accepted_contexts(value);
        }
        draft.labels_key = table.place_of_key("labels");
        let labels = table.get("labels");
        draft.labels = labels.and_then(|value| self.findings.labels(value));
        draft.special = match table.get("special") {
            Some(value) => self.special(value),
            None => draft.role.map(Role::default_special),
        };
    }

    /// What is examined: `max-depth` and `inner`.
    fn examination(&mut self, draft: &mut DraftIngress, table: &Table<'d, '_, '_>) {
        draft.max_depth = match table.get("max-depth") {
            Some(value) => {
                draft.max_depth_place = Some(value.span());
                self.max_depth(value)
            }
            None => draft.role.map(Role::default_max_depth),
        };
        draft.inner = match table.get("inner") {
            Some(value) => {
                let inner = self.findings.keyword("inner", value, INNERS);
                inner.map(|inner| Spanned::new(value.span(), inner))
            }
            None => Some(Spanned::new(draft.name.span(), Inner::Opaque)),
        };
    }

    fn not_for_customers(&mut self, table: &Table<'d, '_, '_>) {
        for key in NOT_FOR_CUSTOMERS {
            let Some(place) = table.place_of_key(key) else {
                continue;
            };
            let called = table.called;
            let message =
                format!("{called} is a customer, which accepts no label, but has `{key}`");
            let help = format!("leave `{key}` out, or say `role = \"peer\"` or `role = \"core\"`");
            let finding = Finding::new("customer-accepts-labels", place, message);
            self.findings.error(finding.help(help));
        }
    }

    fn name(&mut self, what: &str, name: &Key<'_>) {
        if is_name(name.get_ref()) {
            return;
        }
        let message = format!("{what} cannot be called {}", quoted(name.get_ref()));
        let help = format!("1 to {MAX_NAME} of a-z, 0-9, `_`, `.`, `-`, first a letter or digit");
        let finding = Finding::new("bad-name", name.span(), message);
        self.findings.error(finding.help(help));
    }

    fn reserved_name(&mut self, name: &Key<'_>) {
        if RESERVED_CONTEXT_NAMES.contains(&name.get_ref().as_ref()) {
            let message = format!("a context cannot be called {}", quoted(name.get_ref()));
            let help = "another name: `labels` and `special` are rules of every ingress";
            let finding = Finding::new("reserved-context-name", name.span(), message);
            self.findings.error(finding.help(help));
        }
    }

    fn interface(&mut self, value: &Value<'_>) -> Option<Spanned<InterfaceName>> {
        let help = "an interface's name: \"eth1\"";
        let name = self.findings.string("`interface`", value, help)?;
        match name.parse::<InterfaceName>() {
            Ok(interface) => Some(Spanned::new(value.span(), interface)),
            Err(error) => {
                let message = format!("{} cannot name an interface: {error}", quoted(name));
                let help = "1 to 15 bytes, no `/`, `:`, NUL or white space, not `.` or `..`";
                let finding = Finding::new("bad-interface-name", value.span(), message);
                self.findings.error(finding.help(help));
                None
            }
        }
    }

    fn vlans(&mut self, value: &Value<'_>) -> Option<Vec<VlanId>> {
        let help = match value.get_ref() {
            DeValue::Integer(written) => format!("a list: `vlan = [{written}]`"),
            _ => "up to two VLAN IDs, outer to inner: `vlan = [200, 100]`".to_owned(),
        };
        let list = self.findings.array("`vlan`", value, &help)?;
        if list.len() > MAX_VLANS {
            let message = format!("an ingress has at most two VLAN IDs, not {}", list.len());
            let finding = Finding::new("too-many-vlans", value.span(), message);
            self.findings.error(finding.help(help));
        }
        let vlans: Vec<_> = list.iter().map(|item| self.vlan(item)).collect();
        vlans.into_iter().collect()
    }

    fn vlan(&mut self, item: &Value<'_>) -> Option<VlanId> {
        let help = "1..4094; for untagged frames, leave `vlan` out";
        if !item.get_ref().is_integer() {
            self.findings.wrong_type("a VLAN ID", item, "an integer", help);
            return None;
        }
        let id = integer(item).and_then(|id| u16::try_from(id).ok());
        let vlan = id.and_then(VlanId::new);
        if vlan.is_none() {
            let message = "this VLAN ID is outside 1..4094";
            let finding = Finding::new("vlan-out-of-range", item.span(), message);
            self.findings.error(finding.help(help));
        }
        vlan
    }

    fn max_depth(&mut self, value: &Value<'_>) -> Option<u8> {
        let help = "how many label entries a stack may have, 1..32";
        if !value.get_ref().is_integer() {
            self.findings.wrong_type("`max-depth`", value, "an integer", help);
            return None;
        }
        let depth = integer(value)
            .and_then(|depth| u8::try_from(depth).ok())
            .filter(|depth| (1..=MAX_DEPTH).contains(depth));
        if depth.is_none() {
            let message = "`max-depth` is outside 1..32";
            let finding = Finding::new("depth-out-of-range", value.span(), message);
            self.findings.error(finding.help(help));
        }
        depth
    }

    fn accepted_contexts(&mut self, value: &'d Value<'_>) -> Vec<Spanned<Option<ContextId>>> {
        let help = "a list of contexts' names: `contexts = [\"red\"]`";
        let Some(list) = self.findings.array("`contexts`", value, help) else {
            return Vec::new();
        };
        let mut seen = HashMap::new();
        list.iter()
            .map(|item| Spanned::new(item.span(), self.accepted_context(item, &mut seen)))
            .collect()
    }

    fn accepted_context(
        &mut self,
        item: &'d Value<'_>,
        seen: &mut HashMap<&'d str, Range<usize>>,
    ) -> Option<ContextId> {
        let help = "the name of a context: \"red\"";
        let name = self.findings.string("a context", item, help)?;
        if let Some(first) = first_place(seen, name, item.span()) {
            let message = format!("the context {} is in this list twice", quoted(name));
            let finding = Finding::new("duplicate-context", item.span(), message);
            self.findings.error(finding.related(first, "first here").help("name it once"));
            return None;
        }
        let context = self.contexts.as_ref()?.get(name).copied();
        if context.is_none() {
            let message = format!("there is no context {}", quoted(name));
            let finding = Finding::new("unknown-context", item.span(), message);
            let help = self.known_contexts(name);
            self.findings.error(finding.help(help));
        }
        context
    }

    /// Which contexts could have been meant by `word`.
    fn known_contexts(&mut self, word: &str) -> String {
        let count = self.contexts.as_ref().map_or(0, HashMap::len);
        if count == 0 {
            return "the file has no contexts: add a table like [contexts.red]".to_owned();
        }
        let valid = format!("one of the {count} contexts of the file");
        // A file of many contexts and many unknown names is not worth comparing them all.
        if count > self.comparisons {
            return valid;
        }
        self.comparisons -= count;
        let mut known: Vec<_> = self.contexts.iter().flatten().collect();
        known.sort_by_key(|(_, id)| id.0);
        let names = known.into_iter().map(|(name, _)| *name);
        if count > LISTED_CONTEXTS {
            return wording::help(word, names, &valid);
        }
        wording::help(word, names.clone(), &wording::alternatives(names))
    }

    fn special(&mut self, value: &'d Value<'_>) -> Option<SpecialSet> {
        let help = "a list of names: `special = [\"entropy\"]`";
        let list = self.findings.array("`special`", value, help)?;
        let mut seen = HashMap::new();
        let labels: Vec<_> = list.iter().map(|item| self.special_label(item, &mut seen)).collect();
        labels.into_iter().try_fold(SpecialSet::EMPTY, |set, label| Some(set.with(label?)))
    }

    fn special_label(
        &mut self,
        item: &'d Value<'_>,
        seen: &mut HashMap<&'d str, Range<usize>>,
    ) -> Option<Special> {
        let names = Special::ALL.map(Special::name);
        let valid = wording::alternatives(names);
        let name = self.findings.string("a special-purpose label", item, &valid)?;
        if let Some(first) = first_place(seen, name, item.span()) {
            let message = format!("{} is in this list twice", quoted(name));
            let finding = Finding::new("duplicate-special", item.span(), message);
            self.findings.error(finding.related(first, "first here").help("name it once"));
            return None;
        }
        let label = Special::ALL.into_iter().find(|label| label.name() == name);
        if label.is_none() {
            let finding = if name == "mna" {
                let message = "network actions (label 4, RFC 9994) cannot be allowed in version 1: \
                               the data words of an action look like labels";
                Finding::new("mna-refused", item.span(), message).help(format!("valid: {valid}"))
            } else {
                let message = format!("there is no special-purpose label {}", quoted(name));
                let help = wording::help(name, names, &valid);
                Finding::new("unknown-special", item.span(), message).help(help)
            };
            self.findings.error(finding);
        }
        label
    }

    fn required<'i>(
        &mut self,
        table: &Table<'d, 'i, '_>,
        key: &str,
        name: &Key<'_>,
        example: &str,
    ) -> Option<&'d Value<'i>> {
        let value = table.get(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", table.called);
            let finding = Finding::new("missing-key", name.span(), message);
            self.findings.error(finding.help(format!("add {example}")));
        }
        value
    }

    fn unknown_keys(&mut self, table: &Table<'d, '_, '_>, known: &[&str]) {
        for (key, value) in table.entries {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let message = format!("{} has no key {}", table.called, quoted(word));
            let valid = wording::alternatives(known.iter().copied());
            let help = match table.header {
                Some((parent, name)) if value.get_ref().is_table() => {
                    let name = format!("{}.{word}", name.get_ref());
                    let name = name.escape_debug();
                    format!("valid: {valid}; a name with a dot has quotes: [{parent}.\"{name}\"]")
                }
                _ => wording::help(word, known.iter().copied(), &valid),
            };
            let finding = Finding::new("unknown-key", key.span(), message);
            self.findings.error(finding.help(help));
        }
    }
}

/// Where `name` was before, or `None` when `place` is the first one.
fn first_place<'d>(
    seen: &mut HashMap<&'d str, Range<usize>>,
    name: &'d str,
    place: Range<usize>,
) -> Option<Range<usize>> {
    let first = seen.get(name).cloned();
    if first.is_none() {
        seen.insert(name, place);
    }
    first
}

/// The key that an unknown one was meant to be.
fn meant_by<'k>(key: &Key<'_>, known: &[&'k str]) -> Option<&'k str> {
    let word = key.get_ref().as_ref();
    let is_unknown = !known.contains(&word);
    is_unknown.then(|| wording::closest(word, known.iter().copied())).flatten()
}

/// Whether contexts and ingresses may be called `text`: `[a-z0-9][a-z0-9_.-]{0,62}`.
fn is_name(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inside = |byte: u8| is_alphanumeric(byte) || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().all(is_inside)
}

fn owned(name: &Key<'_>) -> Spanned<String> {
    Spanned::new(name.span(), name.get_ref().clone().into_owned())
}
