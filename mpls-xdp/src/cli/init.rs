//! `mpls-xdp init`.

use std::{
    fs::Permissions,
    io::{Write as _, stdout},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use mpls_xdp::{first_policy::Router, policy};

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
            write(path, &text, arguments.force)?;
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

/// Writes the whole file or nothing.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".mpls-xdp-init-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    if force {
        file.persist(path).map_err(|error| error.error).with_context(failed)?;
    } else if let Err(error) = file.persist_noclobber(path) {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            bail!(
                "{} is there already; name another file, or replace it with --force",
                path.display()
            );
        }
        return Err(error.error).with_context(failed);
    }
    Ok(())
}
