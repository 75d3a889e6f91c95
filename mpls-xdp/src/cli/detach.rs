//! `mpls-xdp detach`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{self, Detached, Folders};
use serde::Serialize;

use super::{apply::Offload, open};

/// Takes the filter off; frames pass unfiltered afterwards.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp detach --interface eth2
      Let everything pass on eth2
  mpls-xdp detach --all
      Take the filter off and leave nothing behind")]
#[command(group = clap::ArgGroup::new("where").args(["interface", "all"]).required(true))]
pub(super) struct Arguments {
    /// Take it off this interface only
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Take it off everywhere and remove every pin, program and map
    #[arg(long)]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    all: bool,
    detached: Vec<String>,
    offloads: Vec<Offload>,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let session = open(folders)?;
    let Detached { interfaces, offloads } = match &arguments.interface {
        Some(interface) => filter::detach_interface(&session, interface)?,
        None => filter::detach_all(&session)?,
    };
    match &arguments.interface {
        _ if arguments.json => {
            let offloads = offloads.into_iter().map(Offload::from).collect();
            let all = arguments.all;
            let report = Report { schema: 1, all, detached: interfaces, offloads };
            println!("{}", serde_json::to_string(&report)?);
        }
        Some(interface) => {
            println!("{interface} is not filtered any more; `apply` puts the filter back.");
        }
        None => println!("The filter is off; nothing of it is left in this network namespace."),
    }
    Ok(ExitCode::SUCCESS)
}
