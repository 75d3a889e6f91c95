//! `mpls-xdp init`.

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Result, bail};
use mpls_xdp::{first_policy::Router, policy};

use super::new_file;

/// Everything in it is in monitor mode. What only you can know is marked with DECIDE.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp init
      Show a first policy, every interface of it in monitor mode
  mpls-xdp init --core eth3,eth4 --output pe.toml
      Write it to a file; eth3 and eth4 lead into your own network")]
pub(super) struct Arguments {
    /// Write it to FILE instead of the terminal
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// An interface of your own network, as `ip link` shows it; may be repeated
    #[arg(long, value_name = "IF", value_delimiter = ',')]
    core: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = Router::read()?.first_policy(&arguments.core)?;
    if let Some(error) = policy::parse("the first policy", &text).errors.first() {
        bail!("what this router has does not fit into a policy: {}; {}", error.message, error.help);
    }
    match &arguments.output {
        None => {
            let mut out = stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Some(path) => {
            new_file::write(path, &text, arguments.force)?;
            let left = text.matches("DECIDE:").count();
            println!(
                "{}: written, with {left} places marked DECIDE; then: mpls-xdp check {} --live",
                path.display(),
                path.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
