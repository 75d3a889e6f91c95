//! `mpls-xdp history`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{
    Folders,
    rollout::{self, Entry, How, Outcome},
};

use super::{open, text};

/// `mpls-xdp rollback N` goes back to the entry with number N.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp history
      See who applied what, and which number `mpls-xdp rollback` takes
  mpls-xdp history --json
      The same as a JSON object")]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// As many digits of a digest as tell policies apart at a glance.
const DIGITS: usize = 12;

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let log = rollout::read_log(&open(folders)?)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&log)?);
        return Ok(ExitCode::SUCCESS);
    }
    if log.other_in_force {
        println!("The policy in force is not in the history; `apply` takes it up.");
    }
    if log.entries.is_empty() {
        println!("No policy is kept.");
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["N", "APPLIED", "BY", "POLICY", "DIGEST", "GENERATION", "WHAT HAPPENED"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(log.entries.iter().map(row));
    println!("{}", text::table(&rows, header.len()));
    Ok(ExitCode::SUCCESS)
}

/// An entry in a few words.
pub(super) fn summary(entry: &Entry) -> String {
    let policy = entry.policy.as_deref().unwrap_or("(filter off)");
    format!("{policy}, {}: {}", text::time(entry.applied_at), what_happened(entry))
}

fn row(entry: &Entry) -> Vec<String> {
    let number = match entry.in_force {
        true => format!("{}*", entry.number),
        false => entry.number.to_string(),
    };
    let digest = entry.digest.as_ref().and_then(|digest| digest.get(..DIGITS));
    vec![
        number,
        text::time(entry.applied_at),
        entry.user.clone(),
        entry.policy.clone().unwrap_or_else(|| "(filter off)".to_owned()),
        digest.unwrap_or("-").to_owned(),
        entry.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string()),
        what_happened(entry),
    ]
}

fn what_happened(entry: &Entry) -> String {
    let how = match entry.how {
        How::Apply => "applied",
        How::Rollback => "put back by rollback",
        How::Automatic => "came back by itself",
    };
    let then = match entry.outcome {
        Outcome::Applied => "",
        Outcome::Awaiting => ", to be confirmed by ",
        Outcome::Confirmed => ", confirmed",
        Outcome::RolledBack => ", rolled back",
        Outcome::NotConfirmed => ", not confirmed in time",
        Outcome::Replaced => ", replaced before it was confirmed",
    };
    format!("{how}{then}{}", entry.confirm_by.map_or_else(String::new, text::time))
}
