//! `mpls-xdp reattach`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{self, Folders, Reattached};
use serde::Serialize;

use super::{apply::Mode, open, report};

/// Puts the filter on interfaces that the policy in force names and that appeared or were made
/// anew since; the policy does not change. The udev rule of the Debian package calls it.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp reattach
      After `ip link add eth2.peer …` made an interface of the policy anew")]
pub(super) struct Arguments {
    /// Where to attach: in the driver, or in the network stack for drivers without XDP
    #[arg(long, value_enum, default_value = "native")]
    mode: Mode,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    attached: Vec<String>,
    failed: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    interface: String,
    error: String,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let session = open(folders)?;
    let mut code = ExitCode::SUCCESS;
    let mut said = Report { schema: 1, attached: Vec::new(), failed: Vec::new() };
    for Reattached { interface, result } in filter::reattach(&session, arguments.mode.into())? {
        match result {
            Ok(()) => {
                if !arguments.json {
                    println!("{interface} is filtered now.");
                }
                said.attached.push(interface);
            }
            Err(error) => {
                said.failed.push(Failure { interface, error: error.to_string() });
                code = report(&error.into());
            }
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&said)?);
    }
    Ok(code)
}
