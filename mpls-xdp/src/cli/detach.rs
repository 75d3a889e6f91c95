//! `mpls-xdp detach`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{self, Folders};

use super::open;

/// Takes the filter off; frames pass unfiltered afterwards.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp detach --interface eth2
      Let everything pass on eth2
  mpls-xdp detach --all
      Take the filter off and leave nothing behind")]
#[group(required = true, multiple = false)]
pub(super) struct Arguments {
    /// Take it off this interface only
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Take it off everywhere and remove every pin, program and map
    #[arg(long)]
    all: bool,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let session = open(folders)?;
    match &arguments.interface {
        Some(interface) => {
            filter::detach_interface(&session, interface)?;
            println!("{interface} is not filtered any more; `apply` puts the filter back.");
        }
        None => {
            filter::detach_all(&session)?;
            println!("The filter is off; nothing of it is left in this network namespace.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
