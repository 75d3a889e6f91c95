//! `mpls-xdp diff`.

use std::{path::PathBuf, process::ExitCode, thread, time::Duration};

use anyhow::Result;
use mpls_xdp::{
    filter::{
        self, Baseline, Consequence, Counted, Fate, Folders, Forecast, Session,
        rollout::{self, Earlier},
    },
    policy::{ContextDiff, DiffKind, FieldChange, IngressDiff, LabelChange, Policy, PolicyDiff},
};
use serde::Serialize;

use super::{open, policy_file::PolicyFile, text, time_limit::parse_time_limit};

/// Compares with what is in force, and reads from the counters what the change would have done to
/// the traffic since the policy in force was applied. Exits with 0 also when there are differences.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp diff pe.toml
      Compare with the policy in force, and with the traffic counted under it
  mpls-xdp diff pe.toml --watch 5m
      Count for five minutes first, and look at this traffic only")]
pub(super) struct Arguments {
    /// The policy file
    policy: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Count for this time first, and look at this traffic only: 60s, 5m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time_limit)]
    watch: Option<Duration>,
}

/// What a policy would change.
#[derive(Serialize)]
pub(super) struct Difference {
    schema: u32,
    from: Option<Earlier>,
    to: Candidate,
    #[serde(flatten)]
    policy: PolicyDiff,
    traffic: Option<Forecast>,
}

#[derive(Serialize)]
struct Candidate {
    policy: String,
    digest: String,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let file = PolicyFile::read(&arguments.policy)?;
    let policy = file.valid()?;
    let baseline = match arguments.watch {
        Some(time) => {
            let baseline = Baseline::take(&open(folders)?)?;
            if !arguments.json {
                eprintln!("counting for {} s", time.as_secs());
            }
            thread::sleep(time);
            Some(baseline)
        }
        None => None,
    };
    let difference = Difference::between(&open(folders)?, &file, policy, baseline)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&difference)?);
    } else {
        difference.show();
    }
    Ok(ExitCode::SUCCESS)
}

impl Difference {
    /// Compares a file with what is in force.
    pub(super) fn between(
        session: &Session,
        file: &PolicyFile,
        new: &Policy,
        baseline: Option<Baseline>,
    ) -> Result<Self> {
        let in_force = rollout::policy_in_force(session)?;
        let old = in_force.as_ref().map(|(_, _, policy)| policy);
        let traffic = match old {
            Some(old) => Some(Forecast::new(old, new, &Counted::read(session, baseline)?)),
            None => None,
        };
        Ok(Self {
            schema: 1,
            policy: PolicyDiff::between(old, new),
            from: in_force.map(|(old, ..)| old),
            to: Candidate {
                policy: file.name.clone(),
                digest: filter::digest(file.text.as_bytes()),
            },
            traffic,
        })
    }

    /// Prints it for people.
    pub(super) fn show(&self) {
        match &self.from {
            Some(Earlier { policy, generation, .. }) => {
                println!("Against {policy} of generation {generation}, which is in force:");
            }
            None => println!("No policy is in force:"),
        }
        if self.policy.is_empty() {
            println!("  nothing changes");
        }
        for field in &self.policy.defaults {
            println!("  defaults: {}", field_text(field));
        }
        for context in &self.policy.contexts {
            println!("{}", context_text(context));
        }
        for ingress in &self.policy.ingresses {
            println!("{}", ingress_text(ingress));
        }
        println!();
        if let Some(traffic) = &self.traffic {
            show_traffic(traffic);
        }
    }
}

fn sign(change: DiffKind) -> char {
    match change {
        DiffKind::Added => '+',
        DiffKind::Removed => '-',
        DiffKind::Changed => ' ',
    }
}

fn field_text(change: &FieldChange) -> String {
    let field = change.field;
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{field} {from} -> {to}"),
        (one, other) => {
            let value = one.as_ref().or(other.as_ref()).map_or("", String::as_str);
            format!("{field} {value}")
        }
    }
}

fn labels_text(change: LabelChange) -> Option<String> {
    let count = |sign: char, labels: usize| {
        (labels > 0).then(|| format!("{sign}{}", text::thousands(labels as u64)))
    };
    let counts = [count('+', change.added), count('-', change.removed)];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    (!counts.is_empty()).then(|| format!("labels {}", counts.join(" ")))
}

fn context_text(context: &ContextDiff) -> String {
    let parts = context.fields.iter().map(field_text).chain(labels_text(context.labels));
    let parts: Vec<String> = parts.collect();
    format!("{} context {}: {}", sign(context.change), context.context, parts.join(", "))
}

fn ingress_text(ingress: &IngressDiff) -> String {
    let rules = ingress.rules.iter().map(|rule| {
        let LabelChange { added, removed } = rule.labels;
        let number = match added + removed {
            1 => "1 label".to_owned(),
            number => format!("{} labels", text::thousands(number as u64)),
        };
        match (rule.change, labels_text(rule.labels)) {
            (DiffKind::Changed, Some(labels)) => format!("own {labels}"),
            (change, _) => format!("{}rule {} ({number})", sign(change), rule.rule),
        }
    });
    let parts: Vec<String> = ingress.fields.iter().map(field_text).chain(rules).collect();
    format!("{} ingress {}: {}", sign(ingress.change), ingress.ingress, parts.join(", "))
}

fn show_traffic(traffic: &Forecast) {
    let since = match traffic.since {
        Some(since) => format!("since {}", text::time(since)),
        None => "so far, also under policies before this one".to_owned(),
    };
    if traffic.consequences.is_empty() {
        println!("Of the frames counted {since}, no counter shows one that would fare otherwise.");
    } else {
        println!("Of the frames counted {since}:");
    }
    for consequence in &traffic.consequences {
        println!("  {}", consequence_text(consequence));
    }
    if !traffic.untold.is_empty() {
        println!("What no counter tells:");
    }
    for untold in &traffic.untold {
        println!("  {untold}");
    }
    println!();
}

fn consequence_text(consequence: &Consequence) -> String {
    let Consequence { ingress, interface, fate, frames, at_most, why, .. } = consequence;
    let place = ingress.as_ref().unwrap_or(interface);
    let packets = text::thousands(frames.packets);
    let up_to = if *at_most { "up to " } else { "" };
    let fate = match fate {
        Fate::Dropped => "that passed would be DROPPED",
        Fate::WouldDrop => "that were accepted would be counted as would-drop, and pass",
        Fate::Passed => "that were dropped would pass",
        Fate::Unfiltered => "would not be looked at",
    };
    format!("{place}: {up_to}{packets} frames {fate}: {why}")
}
