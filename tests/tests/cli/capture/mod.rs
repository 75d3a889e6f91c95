//! `capture`: what it shows of refused frames, how much of a flood, and how it ends.

mod flood;
mod life;
mod pcapng;
mod shown;
mod swap;

use std::io::{BufRead, BufReader, Read as _, empty};
use std::process::{Child, ChildStderr, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::support::{Lab, Output};

/// A peer in enforce on eth1: untagged, and what is unbound.
const PEER: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
contexts.blue = { kind = "vrf", labels = [200] }
contexts.core = { kind = "transport", labels = ["16000-16999"] }
ingress.peer = { interface = "eth1", role = "peer", contexts = ["red"], max-depth = 2 }
ingress.watched = { interface = "eth1", vlan = [100], role = "peer", labels = [300], mode = "monitor" }
ingress.core = { interface = "eth2", role = "core", contexts = ["red", "blue", "core"] }
"#;

/// A capture that is at work, or another command that samples.
pub(super) struct Running {
    line: String,
    child: Child,
    stdout: Box<dyn BufRead + Send>,
    stderr: BufReader<ChildStderr>,
    /// What it said when it began.
    announced: String,
}

impl Running {
    /// Starts a capture and waits until it is at work.
    pub(super) fn start(lab: &Lab, options: &[&str]) -> Self {
        Self::start_into(Stdio::piped(), lab, options)
    }

    /// The same, with its standard output there.
    fn start_into(stdout: Stdio, lab: &Lab, options: &[&str]) -> Self {
        Self::begin(stdout, lab, &[&["capture"], options].concat(), "capturing")
    }

    /// Starts another command that samples, and waits until it says that it does.
    pub(super) fn start_other(lab: &Lab, words: &[&str], announces: &str) -> Self {
        Self::begin(Stdio::piped(), lab, words, announces)
    }

    fn begin(stdout: Stdio, lab: &Lab, words: &[&str], announces: &str) -> Self {
        let mut command = lab.command(words);
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stdout: Box<dyn BufRead + Send> = match child.stdout.take() {
            Some(stdout) => Box::new(BufReader::new(stdout)),
            None => Box::new(empty()),
        };
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut announced = String::new();
        stderr.read_line(&mut announced).unwrap();
        assert!(announced.starts_with(announces), "{announced}");
        Self { line: format!("{command:?}"), child, stdout, stderr, announced }
    }

    pub(super) fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.id(), signal).unwrap();
    }

    /// The next line of standard output.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next line, which is JSON.
    pub(super) fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// What it says until it has ended.
    pub(super) fn end(mut self) -> Output {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).unwrap();
        let mut stderr = Vec::new();
        self.stderr.read_to_end(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Output::new(self.line, std::process::Output { status, stdout, stderr })
    }

    /// Ends it as Ctrl-C does.
    pub(super) fn interrupt(self) -> Output {
        self.signal(Signal::SIGINT);
        self.end().ends(0)
    }
}

/// The counts of the summary that ends `--json`, for an ingress or an interface and a reason:
/// refused, sampled, over the rate, and lost because the ring was full.
fn counts(summary: &Value, place: &str, reason: &str) -> [u64; 4] {
    let rows = summary["summary"].as_array().unwrap_or_else(|| panic!("no summary: {summary}"));
    let row = rows.iter().find(|row| {
        let named = if row["ingress"].is_null() { &row["interface"] } else { &row["ingress"] };
        named == place && row["reason"] == reason
    });
    let row = row.unwrap_or_else(|| panic!("no {place} {reason} in {summary}"));
    ["refused", "sampled", "over_rate", "ring_full"].map(|field| row[field].as_u64().unwrap())
}

/// The last line of an output, which is JSON.
fn last(output: &Output) -> Value {
    let line = output.stdout.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {output}"))
}
