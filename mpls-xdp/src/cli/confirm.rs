//! `mpls-xdp confirm`.

use std::process::ExitCode;

use anyhow::Result;
use mpls_xdp::filter::{Folders, rollout};

use super::open;

pub(super) fn run(folders: &Folders) -> Result<ExitCode> {
    let name = rollout::confirm(&open(folders)?)?;
    println!("{name} is confirmed and stays in force.");
    Ok(ExitCode::SUCCESS)
}
