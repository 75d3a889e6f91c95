//! `mpls-xdp replay`.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, IsTerminal as _, Write, stdout},
    os::unix::fs::FileTypeExt as _,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use anstream::AutoStream;
use anyhow::{Context as _, Result};
use mpls_xdp::{
    capture::{CaptureError, for_each_frame},
    filter::FilterError,
    policy::InterfaceName,
    replay::{Outcome, Replay},
};

use super::{policy_file::PolicyFile, progress, text};

/// Reads pcap and pcapng, gzipped or not. Nothing is attached, and IF need not exist.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp replay pe.toml --interface eth2 peer.pcap
      Say what the filter does with each frame of a capture
  mpls-xdp replay pe.toml --interface eth2 peer.pcap.gz --json | jq -c 'select(.verdict == \"drop\")'
      Only the frames that are dropped")]
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
        anstream::eprintln!(
            "{} {} names no interface {}; it passes everything",
            text::doubtful("warning:"),
            file.name,
            arguments.interface
        );
    }
    let mut out = BufWriter::new(AutoStream::auto(stdout().lock()));
    let mut summary = BTreeMap::new();
    let mut frames = 0;
    let mut frame_by_frame = |count: &AtomicU64| {
        for_each_frame::<Stop>(&arguments.file, |frame| {
            frames += 1;
            count.fetch_add(1, Ordering::Relaxed);
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
    };
    let name = arguments.file.display().to_string();
    // Lines that somebody reads while they come are a sign of life, and would be mixed up with it.
    let result = match goes_to_a_file() {
        true => progress::during(&format!("replaying {name}"), &mut frame_by_frame),
        false => frame_by_frame(&AtomicU64::new(0)),
    };
    result.map_err(|Stop(error)| error).context(name)?;
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

fn goes_to_a_file() -> bool {
    let kind = fs::metadata("/proc/self/fd/1").map(|file| file.file_type());
    kind.is_ok_and(|kind| kind.is_file() || (kind.is_char_device() && !stdout().is_terminal()))
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
    // Both verdicts have four letters.
    let verdict = match (outcome.verdict, outcome.reason) {
        ("drop", _) => text::bad(outcome.verdict),
        (_, Some(_)) => text::doubtful(outcome.verdict),
        (_, None) => outcome.verdict.to_owned(),
    };
    let mut words = vec![format!("{:>6}  {verdict}  {}", outcome.frame, key(outcome))];
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
