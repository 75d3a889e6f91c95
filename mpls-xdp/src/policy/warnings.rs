//! What a valid policy may not have meant.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use mpls_xdp_ebpf::policy::{Inner, Role};

use super::diagnostic::{Finding, Findings};
use super::draft::{Draft, DraftContext, DraftIngress};
use super::labels::{LabelList, range_text};
use super::wording::quoted;
use super::{ContextId, ContextKind};

/// How many pairs of contexts that share labels are named.
const MAX_PAIRS: usize = 1_000;

/// Warns of what `draft` says and of what it leaves out.
///
/// What a file with errors leaves out may stand in its broken part, so that is not warned of.
pub(super) fn check(findings: &mut Findings<'_>, draft: &Draft) {
    shared_labels(findings, draft);
    for context in &draft.contexts {
        popping_vrf(findings, context);
    }
    for ingress in &draft.ingresses {
        vrf_of_ingress(findings, draft, ingress);
    }
    if findings.errors.is_empty() {
        omissions(findings, draft);
    }
}

fn popping_vrf(findings: &mut Findings<'_>, context: &DraftContext) {
    let Some(pops) = context.pops.as_ref().filter(|pops| *pops.get_ref()) else {
        return;
    };
    if context.kind != Some(ContextKind::Vrf) {
        return;
    }
    let message = format!(
        "the `vrf` context {} pops: the entry below its labels is examined, and a flow label \
         under a pseudowire (RFC 6391), which is random, is refused",
        quoted(context.name.get_ref()),
    );
    let finding = Finding::new("vrf-pops", pops.span(), message);
    findings.warn(finding.help("leave `pops` out unless this router looks up the next entry"));
}

/// Warns of what does not go with a `vrf` context on an ingress.
fn vrf_of_ingress(findings: &mut Findings<'_>, draft: &Draft, ingress: &DraftIngress) {
    let is_vrf = |context: &DraftContext| context.kind == Some(ContextKind::Vrf);
    let mut entries = ingress.contexts.iter();
    let Some(vrf) = entries.find(|entry| draft.context(entry).is_some_and(is_vrf)) else {
        return;
    };
    let name = quoted(ingress.name.get_ref());
    if let Some(inner) = &ingress.inner
        && *inner.get_ref() == Inner::Validate
    {
        let message = format!(
            "{name} examines every entry and accepts a `vrf` context: a flow label under a \
             pseudowire (RFC 6391), which is random, is refused"
        );
        let finding = Finding::new("validate-under-vrf", inner.span(), message)
            .related(vrf.span(), "a `vrf` context")
            .help("`inner = \"opaque\"`, unless no pseudowire with flow labels uses this ingress");
        findings.warn(finding);
    }
    if ingress.role != Some(Role::Peer) {
        return;
    }
    if let Some(depth) = ingress.max_depth.filter(|depth| *depth > 1) {
        let message = format!(
            "the peer {name} accepts a `vrf` context and stacks of {depth} entries: a VPN label \
             from an option B neighbour is the last entry"
        );
        let help = "`max-depth = 1`, unless this neighbour sends entries below a VPN label";
        let finding = match &ingress.max_depth_place {
            Some(place) => Finding::new("deep-peer-vrf", place.clone(), message)
                .related(vrf.span(), "a `vrf` context"),
            None => Finding::new("deep-peer-vrf", vrf.span(), message),
        };
        findings.warn(finding.help(help));
    }
}

fn omissions(findings: &mut Findings<'_>, draft: &Draft) {
    if draft.ingresses.is_empty() {
        let place = findings.source().first_line();
        let message = "the policy has no ingress: nothing is filtered";
        let finding = Finding::new("no-ingress", place, message);
        findings.warn(finding.help("a table for each ingress: [ingress.core-a]"));
    }
    let mut is_accepted = vec![false; draft.contexts.len()];
    for ingress in &draft.ingresses {
        accepts_nothing(findings, draft, ingress);
        for ContextId(index) in ingress.contexts.iter().filter_map(|entry| *entry.get_ref()) {
            is_accepted[index] = true;
        }
    }
    for (context, is_accepted) in draft.contexts.iter().zip(is_accepted) {
        if !is_accepted {
            let name = quoted(context.name.get_ref());
            let message = format!("no ingress accepts the context {name}");
            let finding = Finding::new("unused-context", context.name.span(), message);
            findings.warn(finding.help("name it in the `contexts` of an ingress, or leave it out"));
        }
    }
}

fn accepts_nothing(findings: &mut Findings<'_>, draft: &Draft, ingress: &DraftIngress) {
    let has_labels = |labels: &LabelList| !labels.set().is_empty();
    let of_context = |context: &DraftContext| context.labels.as_ref().is_some_and(has_labels);
    let mut contexts = ingress.contexts.iter();
    if ingress.role == Some(Role::Customer)
        || ingress.labels.as_ref().is_some_and(has_labels)
        || contexts.any(|entry| draft.context(entry).is_some_and(of_context))
    {
        return;
    }
    let name = quoted(ingress.name.get_ref());
    let message = format!("the ingress {name} accepts no label of 16 or more");
    let finding = Finding::new("accepts-nothing", ingress.name.span(), message);
    findings.warn(finding.help("`contexts` or `labels` that it accepts, or `role = \"customer\"`"));
}

/// A range of labels, and the context that has it.
struct Claim<'d> {
    range: &'d RangeInclusive<u32>,
    context: usize,
}

/// What two contexts share.
struct Shared {
    contexts: (usize, usize),
    /// The lowest range of it.
    lowest: RangeInclusive<u32>,
    labels: usize,
}

/// Warns of each pair of contexts that share labels.
fn shared_labels(findings: &mut Findings<'_>, draft: &Draft) {
    let pairs = pairs(&draft.contexts);
    for shared in pairs.iter().take(MAX_PAIRS) {
        findings.warn(shared_by_two(&draft.contexts, shared));
    }
    if let Some(shared) = pairs.get(MAX_PAIRS) {
        let place = draft.contexts[shared.contexts.1].name.span();
        let message = format!("more than {MAX_PAIRS} pairs of contexts share labels");
        let finding = Finding::new("label-in-two-contexts", place, message);
        findings.warn(finding.help("each label in one context; the other pairs are not listed"));
    }
}

fn shared_by_two(contexts: &[DraftContext], shared: &Shared) -> Finding {
    let (a, b) = (&contexts[shared.contexts.0], &contexts[shared.contexts.1]);
    let (first, last) = (*shared.lowest.start(), *shared.lowest.end());
    let more = match shared.labels - count(&shared.lowest) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let (labels, are) = match shared.labels {
        1 => ("the label", "is"),
        _ => ("the labels", "are"),
    };
    let message = format!(
        "{labels} {}{more} {are} in two contexts, {} and {}",
        range_text(first, last),
        quoted(a.name.get_ref()),
        quoted(b.name.get_ref()),
    );
    Finding::new("label-in-two-contexts", place(b, first), message)
        .related(place(a, first), "here too")
        .help("each label in one context")
}

/// Where `context` has `label`.
fn place(context: &DraftContext, label: u32) -> Range<usize> {
    let written = context.labels.as_ref().and_then(|list| list.place(label));
    written.map_or_else(|| context.name.span(), |range| range.span.clone())
}

/// The pairs of contexts that share labels, in file order, up to one more than are named.
fn pairs(contexts: &[DraftContext]) -> Vec<Shared> {
    let mut claims: Vec<_> = contexts.iter().enumerate().flat_map(claims).collect();
    claims.sort_by_key(|claim| *claim.range.start());
    let mut pairs: HashMap<(usize, usize), Shared> = HashMap::new();
    // Every two of these have made a pair, so the bound on pairs keeps them few.
    let mut open: Vec<&Claim<'_>> = Vec::new();
    for claim in &claims {
        open.retain(|other| other.range.end() >= claim.range.start());
        for other in &open {
            let contexts = (claim.context.min(other.context), claim.context.max(other.context));
            let common = *claim.range.start()..=*claim.range.end().min(other.range.end());
            let labels = count(&common);
            let pair = pairs.entry(contexts);
            pair.and_modify(|shared| shared.labels += labels).or_insert(Shared {
                contexts,
                lowest: common,
                labels,
            });
        }
        if pairs.len() > MAX_PAIRS {
            break;
        }
        open.push(claim);
    }
    let mut pairs: Vec<_> = pairs.into_values().collect();
    pairs.sort_by_key(|shared| shared.contexts);
    pairs
}

fn claims((context, draft): (usize, &DraftContext)) -> impl Iterator<Item = Claim<'_>> {
    let ranges = draft.labels.iter().flat_map(|list| list.set().ranges());
    ranges.map(move |range| Claim { range, context })
}

fn count(range: &RangeInclusive<u32>) -> usize {
    (range.end() - range.start()) as usize + 1
}
