//! `mpls-xdp metrics`.

use std::{
    fs::Permissions,
    io::{self, Write as _, stdout},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use mpls_xdp::{
    filter::{FilterError, Folders},
    metrics::{Exposition, Format, Server, serve},
};
use tokio::signal::unix::{SignalKind, signal};

/// Every user may read the file: node_exporter is not root.
const FILE_MODE: u32 = 0o644;

/// Counts frames by ingress, rule and reason, and tells what is in force. `--listen` speaks
/// OpenMetrics, or the older text format with those who do not ask for it; `--once` writes the
/// older format, which node_exporter's textfile collector reads.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("how").required(true))]
#[command(after_long_help = "Examples:
  mpls-xdp metrics --listen 127.0.0.1:9669
      Answer Prometheus, as mpls-xdp-metrics.service does
  mpls-xdp metrics --once --output /var/lib/prometheus/node-exporter/mpls-xdp.prom
      For node_exporter's textfile collector, from a timer")]
pub(super) struct Arguments {
    /// Answer GET /metrics here until SIGTERM or SIGINT, for example 127.0.0.1:9669
    #[arg(long, value_name = "ADDRESS:PORT", group = "how")]
    listen: Option<SocketAddr>,
    /// Write the metrics once, for node_exporter's textfile collector
    #[arg(long, group = "how")]
    once: bool,
    /// Replace this file in one step instead of writing to standard output
    #[arg(long, value_name = "FILE", requires = "once", conflicts_with = "listen")]
    output: Option<PathBuf>,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    // Before listening: what cannot work at all is told at once.
    let now = Exposition::take(folders)?;
    match (arguments.listen, &arguments.output) {
        (Some(address), _) => listen(address, folders)?,
        (None, Some(path)) => replace(path, now.write(Format::Text).as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?,
        (None, None) => stdout().write_all(now.write(Format::Text).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Readers find the old content or the new one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

fn listen(address: SocketAddr, folders: &Folders) -> Result<()> {
    let server = Server::new(folders.clone(), |error: &FilterError| eprintln!("error: {error}"));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let end = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let ready = |address| eprintln!("listening on http://{address}/metrics");
        serve(address, server, ready, end)
            .await
            .with_context(|| format!("cannot listen on {address}"))
    })
}
