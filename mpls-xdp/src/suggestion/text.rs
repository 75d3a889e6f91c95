//! The policy in force with what is proposed.

use toml_edit::{Array, DocumentMut, TableLike, Value};

use super::{
    proposal::{ObservedContext, PlaceProposal, Proposal, Remark},
    sightings::Spot,
};
use crate::policy::{
    self, LabelSet, range_text,
    writing::{Text, count, quoted},
};

/// What marks everything that was only seen.
const MARK: &str = "OBSERVED, not authorised";

impl Proposal {
    /// `policy`, the text of a valid policy, with the proposal: contexts with what was observed, in
    /// the ingresses on which it was, and the rest in comments. `watched` says for how long, and
    /// `unused` which rules had no frame meanwhile.
    ///
    /// Where the file writes its tables in a way that they cannot be added to, all of it is in
    /// comments.
    pub fn write(&self, policy: &str, watched: &str, unused: &[String]) -> String {
        let section = |is_active| self.section(watched, unused, is_active);
        let with_names = self.name_contexts(policy).map(|text| text + &section(true));
        match with_names.filter(|text| policy::parse("", text).errors.is_empty()) {
            Some(text) => text,
            None => format!("{}{}", ended(policy), section(false)),
        }
    }

    /// The policy with the names of the observed contexts in the ingresses.
    fn name_contexts(&self, policy: &str) -> Option<String> {
        let mut document: DocumentMut = policy.parse().ok()?;
        for place in &self.places {
            let Spot::Ingress { ingress } = &place.spot else {
                continue;
            };
            if place.contexts.is_empty() {
                continue;
            }
            let ingresses = document.get_mut("ingress")?.as_table_like_mut()?;
            let table = ingresses.get_mut(ingress)?.as_table_like_mut()?;
            let contexts = contexts_of(table)?;
            for context in &place.contexts {
                contexts.push(context.name.as_str());
            }
        }
        Some(ended(&document.to_string()))
    }

    fn section(&self, watched: &str, unused: &[String], is_active: bool) -> String {
        let mut text = Text::default();
        text.title(&format!("{MARK}: what came in within {watched} and was refused"));
        text.comment(if self.places.is_empty() {
            "Nothing was refused."
        } else {
            "That a label came in does not say that the neighbour was given it. Compare each with \
             what your routing daemon sent to it, then keep it under a name of yours or delete it."
        });
        for place in &self.places {
            text.line("");
            describe(&mut text, place, is_active);
        }
        if self.beyond > 0 {
            text.line("");
            text.comment(&format!(
                "{} more sampled with other VLAN IDs that no ingress has.",
                count(self.beyond, "frame", "frames")
            ));
        }
        if !unused.is_empty() {
            text.line("");
            text.comment("No frame came in by these rules, which is no reason to remove them:");
            for rule in unused {
                text.item(rule);
            }
        }
        text.into_string()
    }
}

/// The array of contexts of an ingress; a new one where it has none.
fn contexts_of(ingress: &mut dyn TableLike) -> Option<&mut Array> {
    ingress.entry("contexts").or_insert_with(|| Value::from(Array::new()).into()).as_array_mut()
}

/// A text whose last line is ended.
fn ended(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

fn describe(text: &mut Text, place: &PlaceProposal, is_active: bool) {
    match &place.spot {
        Spot::Ingress { ingress } => text.comment(&format!("Ingress {ingress}:")),
        Spot::Unbound { interface, vlan } => unbound(text, interface, vlan),
    }
    for remark in &place.remarks {
        text.item(&told(remark));
    }
    if place.beyond > 0 {
        text.item(&format!(
            "{} sampled with still more labels: somebody guesses",
            count(place.beyond, "frame", "frames")
        ));
    }
    for context in &place.contexts {
        observed(text, context, is_active);
    }
}

fn observed(text: &mut Text, context: &ObservedContext, is_active: bool) {
    let ObservedContext { name, pops, labels, sight } = context;
    let does = if *pops {
        "this router pops them and looks the next entry up"
    } else {
        "this router forwards them"
    };
    text.comment(&format!("{MARK}: {}, {sight}; {does}.", count(labels.len(), "label", "labels")));
    let mut lines = Text::default();
    lines.line(&format!("[contexts.{name}]"));
    lines.line("kind = \"transport\"");
    lines.labels(labels);
    if *pops {
        lines.line("pops = true");
    }
    for line in lines.into_string().lines() {
        text.line(&if is_active { line.to_owned() } else { format!("# {line}") });
    }
    if !is_active {
        text.comment(&format!("and {} in the `contexts` of the ingress", quoted(name)));
    }
}

/// A block for frames that no ingress is bound to.
fn unbound(text: &mut Text, interface: &str, vlan: &[u16]) {
    let tags = match vlan {
        [] => "untagged".to_owned(),
        vlan => format!("VLAN {vlan:?}"),
    };
    text.comment(&format!("Interface {interface}, {tags}: no ingress."));
    text.comment(&format!("{MARK}:"));
    text.line("# [ingress.NAME]");
    text.line(&format!("# interface = {}", quoted(interface)));
    if !vlan.is_empty() {
        text.line(&format!("# vlan = {vlan:?}"));
    }
    for line in ["# role = \"peer\"", "# mode = \"monitor\"", "# labels = []"] {
        text.line(line);
    }
}

fn told(remark: &Remark) -> String {
    let Remark { cause, labels, sight, why } = remark;
    let labels = match labels.len() {
        0 => String::new(),
        1 => format!(", label {}", listed(labels)),
        _ => format!(", labels {}", listed(labels)),
    };
    format!("{}{labels}: {sight}; {why}", cause.name())
}

/// The labels of a set, as far as a reader wants to see them.
fn listed(labels: &LabelSet) -> String {
    const SHOWN: usize = 16;
    let ranges = labels.ranges().iter().map(|range| range_text(*range.start(), *range.end()));
    let mut shown: Vec<String> = ranges.collect();
    let more = shown.len().saturating_sub(SHOWN);
    shown.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
