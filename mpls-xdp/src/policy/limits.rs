//! What the ingresses of a file may not do together.

use std::collections::{HashMap, HashSet};

use super::VlanId;
use super::diagnostic::{Finding, Findings};
use super::draft::{Draft, DraftIngress};
use super::wording::quoted;

const MAX_INGRESSES: usize = 4_096;
const MAX_INTERFACES: usize = 256;
const MAX_RULES: usize = 65_536;

/// Reports ingresses that cannot be told apart, and what is more than the kernel's tables hold.
pub(super) fn check(findings: &mut Findings<'_>, draft: &Draft) {
    bindings(findings, draft);
    ingresses(findings, draft);
    interfaces(findings, draft);
    rules(findings, draft);
}

fn bindings(findings: &mut Findings<'_>, draft: &Draft) {
    let mut first_at: HashMap<_, &DraftIngress> = HashMap::new();
    for ingress in &draft.ingresses {
        let (Some(interface), Some(vlans)) = (&ingress.interface, &ingress.vlans) else {
            continue;
        };
        let binding = (interface.get_ref(), vlans.as_slice());
        let Some(first) = first_at.get(&binding) else {
            first_at.insert(binding, ingress);
            continue;
        };
        let message = format!(
            "the ingresses {} and {} have the same interface and VLANs: {}, {}",
            quoted(first.name.get_ref()),
            quoted(ingress.name.get_ref()),
            quoted(interface.get_ref().as_str()),
            vlans_text(vlans),
        );
        let mut finding = Finding::new("duplicate-ingress", interface.span(), message)
            .help("another `interface` or another `vlan` for one of them, or one ingress for both");
        if let Some(interface) = &first.interface {
            finding = finding.related(interface.span(), "the first one");
        }
        findings.error(finding);
    }
}

fn vlans_text(vlans: &[VlanId]) -> String {
    match vlans {
        [] => "untagged".to_owned(),
        [vlan] => format!("VLAN {vlan}"),
        vlans => {
            let ids: Vec<_> = vlans.iter().map(ToString::to_string).collect();
            format!("VLANs {}", ids.join(", "))
        }
    }
}

fn ingresses(findings: &mut Findings<'_>, draft: &Draft) {
    if let Some(ingress) = draft.ingresses.get(MAX_INGRESSES) {
        let message = format!("a policy has at most 4096 ingresses, not {}", draft.ingresses.len());
        let finding = Finding::new("too-many-ingresses", ingress.name.span(), message);
        findings.error(finding.help("at most 4096 ingresses; this is the first that is too many"));
    }
}

fn interfaces(findings: &mut Findings<'_>, draft: &Draft) {
    let mut names = HashSet::new();
    let mut first_excess = None;
    for interface in draft.ingresses.iter().filter_map(|i| i.interface.as_ref()) {
        if names.insert(interface.get_ref()) && names.len() > MAX_INTERFACES {
            first_excess.get_or_insert(interface.span());
        }
    }
    if let Some(place) = first_excess {
        let message = format!("a policy has at most 256 interfaces, not {}", names.len());
        let finding = Finding::new("too-many-interfaces", place, message);
        findings.error(finding.help("at most 256 interfaces; this is the first that is too many"));
    }
}

fn rules(findings: &mut Findings<'_>, draft: &Draft) {
    let places = || {
        draft.ingresses.iter().flat_map(|ingress| {
            let contexts = ingress.contexts.iter().map(toml::Spanned::span);
            contexts.chain(ingress.labels_key.clone())
        })
    };
    if let Some(place) = places().nth(MAX_RULES) {
        let message = format!("a policy has at most 65536 rules, not {}", places().count());
        let finding = Finding::new("too-many-rules", place, message);
        findings.error(finding.help(
            "at most 65536 rules: each entry of `contexts` is one, and so is each `labels` of an \
             ingress; this is the first that is too many",
        ));
    }
}
