//! `mpls-xdp rollback`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{
    Folders,
    rollout::{Back, Change, Earlier, Terms},
};

use super::{
    apply::{announce, put_in_force},
    open,
};

/// While a confirmation is awaited: to the policy that would come back by itself, at once.
/// Otherwise: to the policy before the present one; a second time, forth again.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp rollback
      Go back at once, to what `apply --confirm-within` would return to
  mpls-xdp rollback 3 --dry-run
      Say what going back to number 3 of `mpls-xdp history` would do")]
pub(super) struct Arguments {
    /// To this entry of `mpls-xdp history`
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    entry: Option<u16>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take another XDP program off an interface that the old policy names
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let session = open(folders)?;
    let back = arguments.entry.map_or(Back::Before, |number| Back::Number(number.into()));
    let change = Change::back(&session, back, arguments.replace)?;
    if arguments.dry_run {
        match &change.earlier {
            Some(Earlier { policy, generation, .. }) => {
                println!("would go back to {policy} of generation {generation}");
            }
            None => println!("would take the filter off"),
        }
        announce(&change, "would ");
        println!("Nothing was changed.");
        return Ok(ExitCode::SUCCESS);
    }
    announce(&change, "");
    put_in_force(folders, &session, change, Terms::Stays)?;
    Ok(ExitCode::SUCCESS)
}
