//! The command that is judged.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

const NAME: &str = "mpls-xdp";

/// The `mpls-xdp` that was built next to the program that asks: a test, or a program of this package.
///
/// # Errors
///
/// When it has not been built.
pub fn binary() -> Result<PathBuf> {
    let own = env::current_exe().context("finding the file of this process")?;
    // Programs are in the profile's folder, tests one below.
    let mut folders = own.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| Some(folder.join(NAME)).filter(|path| path.is_file()));
    found.with_context(|| {
        format!("{NAME} is not built next to {}: run `cargo build -p {NAME}`", own.display())
    })
}
