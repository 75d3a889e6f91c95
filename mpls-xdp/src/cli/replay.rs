//! `mpls-xdp replay`.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use mpls_xdp::{
    capture::{CaptureError, for_each_frame},
    filter::FilterError,
    policy::InterfaceName,
    replay::{Outcome, Replay},
};

use super::{policy_file::PolicyFile, text};

/// Reads pcap and pcapng, gzipped or not. Nothing is attached, and IF need not exist.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The policy file
    policy: PathBuf,
    /// Interface that the frames are received on, as the policy names it
    #[arg(long, value_name = "IF")]
    interface: InterfaceName,
    /// The capture
    file: PathBuf,
    /// Print one JSON object a frame
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = PolicyFile::read(&arguments.policy)?;
    let policy = file.valid()?;
    let mut replay = Replay::new(policy, arguments.interface.as_str())?;
    if !replay.is_named() {
        eprintln!(
            "warning: {} names no interface {}; it passes everything",
            file.name, arguments.interface
        );
    }
    let mut out = BufWriter::new(stdout().lock());
    let mut summary = BTreeMap::new();
    let mut frames = 0;
    for_each_frame::<Stop>(&arguments.file, |frame| {
        frames += 1;
        let outcome = replay.run(frames, frame).map_err(FilterError::from)?;
        *summary.entry(key(&outcome)).or_insert(0) += 1;
        if arguments.json {
            serde_json::to_writer(&mut out, &outcome).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(&outcome))?;
        }
        Ok(())
    })
    .map_err(|Stop(error)| error)
    .with_context(|| arguments.file.display().to_string())?;
    if !arguments.json {
        let parts: Vec<String> = summary
            .iter()
            .map(|(key, count)| format!("{key} {}", text::thousands(*count)))
            .collect();
        writeln!(out, "{} frames: {}", text::thousands(frames as u64), parts.join(", "))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What ends a replay early.
struct Stop(anyhow::Error);

impl From<CaptureError> for Stop {
    fn from(error: CaptureError) -> Self {
        Self(error.into())
    }
}

impl From<FilterError> for Stop {
    fn from(error: FilterError) -> Self {
        Self(error.into())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self(error.into())
    }
}

/// What the summary counts a frame under.
pub(super) fn key(outcome: &Outcome) -> &'static str {
    match (outcome.reason, &outcome.ingress) {
        (Some(reason), _) => reason,
        (None, Some(_)) => "accepted",
        (None, None) => "not filtered",
    }
}

pub(super) fn line(outcome: &Outcome) -> String {
    let mut words = vec![format!("{:>6}  {:<4}  {}", outcome.frame, outcome.verdict, key(outcome))];
    if let Some(ingress) = &outcome.ingress {
        words.push(format!("at {ingress}"));
    }
    if let Some(position) = outcome.position {
        words.push(format!("entry {position}"));
    }
    if let Some(label) = outcome.label {
        words.push(format!("label {label}"));
    }
    words.join("  ")
}
