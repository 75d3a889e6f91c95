//! The policy file, with its comments.

use super::{
    Router,
    contexts::FoundContext,
    ingresses::{Found, FoundIngress, Who, Without},
};
use crate::policy::{
    ASSIGNABLE, ContextKind,
    writing::{Text, count, quoted},
};

/// Writes the policy file.
pub(super) fn write(router: &Router, contexts: &[FoundContext], found: &Found) -> String {
    let mut text = Text::default();
    head(&mut text);
    labels(&mut text, router, contexts);
    ingresses(&mut text, router, contexts, found);
    text.into_string()
}

fn head(text: &mut Text) {
    text.comment(&format!(
        "First policy of this router, written by `mpls-xdp init` ({}) from what its kernel knows.",
        env!("CARGO_PKG_VERSION")
    ));
    text.comment(
        "Nothing is dropped: everything is in monitor mode. What is left to you is marked with \
         DECIDE. Then:",
    );
    for command in ["check FILE --live", "apply FILE", "stats --watch"] {
        text.line(&format!("#   mpls-xdp {command}"));
    }
    text.line("");
    text.line("version = 1");
    text.line("");
    text.line("[defaults]");
    text.comment(
        "Change it to \"enforce\" as the last step. Before, put mode = \"enforce\" into one \
         ingress after the other.",
    );
    text.line("mode = \"monitor\"");
}

fn labels(text: &mut Text, router: &Router, contexts: &[FoundContext]) {
    text.title("Labels");
    if contexts.is_empty() {
        text.comment(
            "The kernel's label table is empty. If this router forwards MPLS, start its routing \
             daemon and run `mpls-xdp init` again.",
        );
    } else {
        text.comment(
            "DECIDE: these are the labels of this moment (`ip -f mpls route`). Routing daemons \
             give out others after a restart or a change: fix them, or write the ranges that they \
             come from.",
        );
    }
    let special = router.labels.iter().filter(|route| !ASSIGNABLE.contains(&route.label)).count();
    if special > 0 {
        text.comment(&format!(
            "Not written: {} below 16, for which an ingress has `special`.",
            count(special, "label", "labels")
        ));
    }
    for FoundContext { name, kind, pops, labels, seen } in contexts {
        text.line("");
        text.comment(&format!("Seen: {}, {seen}.", count(labels.len(), "label", "labels")));
        text.line(&format!("[contexts.{name}]"));
        text.line(match kind {
            ContextKind::Transport => "kind = \"transport\"",
            ContextKind::Vrf => "kind = \"vrf\"",
        });
        text.labels(labels);
        if *pops {
            text.line("pops = true");
        }
    }
}

fn ingresses(text: &mut Text, router: &Router, contexts: &[FoundContext], found: &Found) {
    text.title("Ingresses");
    if router.inputs.is_empty() {
        text.comment(
            "The kernel accepts MPLS on no interface (net.mpls.conf.*.input is 0, or the module \
             mpls_router is not loaded).",
        );
    }
    let accepts: Vec<_> = contexts.iter().map(|context| quoted(&context.name)).collect();
    for (index, ingress) in found.ingresses.iter().enumerate() {
        if index > 0 || router.inputs.is_empty() {
            text.line("");
        }
        one(text, ingress, &accepts);
    }
    if !found.without.is_empty() {
        text.line("");
        text.comment(
            "These have no ingress of their own. In a hole the kernel accepts MPLS past the \
             filter: turn net.mpls.conf of the interface off if you can.",
        );
        for Without { interface, why, is_hole } in &found.without {
            let hole = if *is_hole { " (a hole)" } else { "" };
            text.item(&format!("{}{hole}: {why}", interface.escape_debug()));
        }
    }
    if !found.quiet.is_empty() {
        text.line("");
        let names: Vec<_> =
            found.quiet.iter().map(|name| name.escape_debug().to_string()).collect();
        text.comment(&format!(
            "The kernel accepts no MPLS on these, so they need no ingress: {}.",
            names.join(", ")
        ));
    }
}

fn one(text: &mut Text, ingress: &FoundIngress, accepts: &[String]) {
    let FoundIngress { name, port, who, interface, accepts_mpls, next_hop_of } = ingress;
    let mpls = if *accepts_mpls { "the kernel accepts MPLS" } else { "it accepts no MPLS" };
    let vrf = match who {
        Who::Customer { vrf } => format!(" in VRF {}", vrf.escape_debug()),
        Who::Core | Who::Unknown => String::new(),
    };
    let next_hop = match next_hop_of {
        0 => String::new(),
        labels => format!("; next hop of {}", count(*labels, "label", "labels")),
    };
    text.comment(&format!("Seen: {}{vrf}; {mpls}{next_hop}.", interface.escape_debug()));
    match who {
        Who::Customer { .. } if *accepts_mpls => text.comment(
            "DECIDE: a customer needs no MPLS. Turn net.mpls.conf of the interface off; or, for \
             carriers' carrier, make it a peer with the labels that were distributed to it.",
        ),
        Who::Customer { .. } | Who::Core => {}
        Who::Unknown => {
            text.comment(
                "DECIDE: your own network, or another administration? Until then nothing is \
                 accepted, and every labelled frame counts as would-drop.",
            );
            text.item("own network: role = \"core\", and this instead of `labels`:");
            text.wrapped("#     contexts = [", accepts, "]", "#       ");
            text.item(
                "another administration: leave the role, and write into `labels` or `contexts` \
                 what was distributed to this neighbour; max-depth = 1 for inter-AS option B",
            );
        }
    }
    text.line(&format!("[ingress.{name}]"));
    text.line(&format!("interface = {}", quoted(&port.interface)));
    if !port.vlans.is_empty() {
        text.line(&format!("vlan = {:?}", port.vlans));
    }
    match who {
        Who::Customer { .. } => text.line("role = \"customer\""),
        Who::Core => {
            text.line("role = \"core\"");
            text.list("contexts", accepts.iter().cloned());
        }
        Who::Unknown => {
            text.line("role = \"peer\"");
            text.line("labels = []");
        }
    }
}
