//! `mpls-xdp check`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use mpls_xdp::{
    policy::{ContextKind, Diagnostic, Policy},
    router::{self, Links, Uncovered},
};
use mpls_xdp_ebpf::policy::{Mode, Role};
use serde::Serialize;

use super::{
    policy_file::{InvalidPolicy, PolicyFile},
    text,
};

/// Exits with 3 when the policy has errors.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp check pe.toml
      Show every error of the file, or what the policy says
  mpls-xdp check pe.toml --live
      Compare it with the interfaces and MPLS switches of this router")]
pub(super) struct Arguments {
    /// The policy file
    policy: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Compare with this router: interfaces, VLAN devices, where the kernel accepts MPLS
    #[arg(long)]
    live: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    valid: bool,
    errors: &'a [Diagnostic],
    warnings: &'a [Diagnostic],
    contexts: usize,
    labels: usize,
    interfaces: usize,
    ingresses: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncovered: Option<Vec<Uncovered>>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut file = PolicyFile::read(&arguments.policy)?;
    let links = if arguments.live { Some(Links::read()?) } else { None };
    if let Some(links) = &links {
        file.compare(links);
    }
    let valid = if file.parsed.errors.is_empty() { file.parsed.policy.as_ref() } else { None };
    let uncovered = match (&links, valid) {
        (Some(links), Some(policy)) => {
            Some(router::uncovered(links, &router::mpls_inputs()?, &bindings(policy)))
        }
        _ => None,
    };
    if arguments.json {
        let count = |of: fn(&Policy) -> usize| valid.map_or(0, of);
        let report = Report {
            schema: 1,
            valid: valid.is_some(),
            errors: &file.parsed.errors,
            warnings: &file.parsed.warnings,
            contexts: count(|policy| policy.contexts.len()),
            labels: count(|policy| policy.contexts.iter().map(|c| c.labels.len()).sum()),
            interfaces: count(interfaces),
            ingresses: count(|policy| policy.ingresses.len()),
            uncovered,
        };
        println!("{}", serde_json::to_string(&report)?);
        return if report.valid { Ok(ExitCode::SUCCESS) } else { Err(InvalidPolicy.into()) };
    }
    let policy = file.valid()?;
    println!("{} is valid.\n", file.name);
    summarise(policy);
    show_uncovered(uncovered.as_deref().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

fn bindings(policy: &Policy) -> Vec<(String, Vec<u16>)> {
    let binding = |ingress: &mpls_xdp::policy::Ingress| {
        let vlans = ingress.vlans.iter().map(|vlan| vlan.get()).collect();
        (ingress.interface.as_str().to_owned(), vlans)
    };
    policy.ingresses.iter().map(binding).collect()
}

fn interfaces(policy: &Policy) -> usize {
    let names: std::collections::HashSet<&str> =
        policy.ingresses.iter().map(|ingress| ingress.interface.as_str()).collect();
    names.len()
}

/// Says what the kernel lets in where the filter does not look.
pub(super) fn show_uncovered(uncovered: &[Uncovered]) {
    if uncovered.is_empty() {
        return;
    }
    println!("The kernel accepts MPLS on interfaces that no ingress covers:");
    for hole in uncovered {
        anstream::println!("  {}: {}", text::doubtful(&hole.interface), hole.why);
    }
}

fn summarise(policy: &Policy) {
    let mut rows = vec![["CONTEXT", "KIND", "POPS", "LABELS"].map(str::to_owned).to_vec()];
    for context in &policy.contexts {
        let kind = match context.kind {
            ContextKind::Vrf => "vrf",
            ContextKind::Transport => "transport",
        };
        let pops = if context.pops { "yes" } else { "no" };
        let labels = text::thousands(context.labels.len() as u64);
        rows.push(vec![context.name.clone(), kind.to_owned(), pops.to_owned(), labels]);
    }
    if rows.len() > 1 {
        println!("{}", text::table(&rows, 3));
    }
    let mut rows = vec![
        ["INGRESS", "INTERFACE", "VLAN", "ROLE", "MODE", "ACCEPTS", "DEPTH"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for ingress in &policy.ingresses {
        let role = match ingress.role {
            Role::Customer => "customer",
            Role::Peer => "peer",
            Role::Core => "core",
        };
        let mode = match ingress.mode {
            Mode::Enforce => "enforce",
            Mode::Monitor => "monitor",
        };
        let vlan: Vec<String> = ingress.vlans.iter().map(ToString::to_string).collect();
        let contexts = ingress.contexts.iter().map(|id| policy.contexts[id.0].name.clone());
        let own = ingress
            .labels
            .iter()
            .map(|labels| format!("{} own labels", text::thousands(labels.len() as u64)));
        let accepts: Vec<String> = contexts.chain(own).collect();
        rows.push(vec![
            ingress.name.clone(),
            ingress.interface.to_string(),
            if vlan.is_empty() { "untagged".to_owned() } else { vlan.join(".") },
            role.to_owned(),
            mode.to_owned(),
            if accepts.is_empty() { "nothing".to_owned() } else { accepts.join(", ") },
            ingress.max_depth.to_string(),
        ]);
    }
    if rows.len() > 1 {
        println!("{}", text::table(&rows, 6));
    }
}
