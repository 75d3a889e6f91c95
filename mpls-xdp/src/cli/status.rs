//! `mpls-xdp status`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{self, Folders, Status};

use super::{apply::announcement, check::show_uncovered, open, text};

/// Exits with 1 when an interface that the policy names is not filtered, or something is missing.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp status || echo 'not everything is filtered'
      For monitoring: exit code 1 when something is wrong")]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let status = filter::read_status(&open(folders)?)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        show(&status);
    }
    Ok(if status.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(status: &Status) {
    println!("policy      {}", status.policy);
    println!("digest      {}", status.digest);
    println!("generation  {}", status.generation);
    println!("applied     {}", text::time(status.applied_at));
    println!("ingresses   {}", text::thousands(status.ingresses as u64));
    println!(
        "policy map  id {}, {} bytes\n",
        status.policy_map_id,
        text::thousands(status.policy_map_bytes)
    );
    let mut rows = vec![["INTERFACE", "FILTERED", "PROGRAM"].map(str::to_owned).to_vec()];
    for interface in &status.interfaces {
        rows.push(vec![
            interface.interface.clone(),
            match interface.attached {
                "none" => "NO".to_owned(),
                mode => mode.to_owned(),
            },
            interface.program_id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        ]);
    }
    println!("{}", text::table(&rows, 3));
    show_uncovered(&status.uncovered);
    if let Some(confirmation) = &status.confirmation {
        println!("{}\n", announcement(confirmation));
    }
    for problem in &status.problems {
        anstream::println!("{} {problem}", text::bad("PROBLEM:"));
    }
    if status.problems.is_empty() {
        println!("All interfaces of the policy are filtered.");
    }
}
