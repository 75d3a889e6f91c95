//! Millions of frames through native XDP on veth pairs.

use std::fs;

use anyhow::{Context, Result, ensure};
use mpls_xdp_tests::lab::Link;

use super::bpf::Program;
use super::programs::{self, Choice};
use super::report::{Group, Report, Unit};
use super::rounds::{Measured, Rounds};
use super::stand::{Perch, Place};

/// The interfaces of the thread's namespace and their counts.
const DEVICES: &str = "/proc/thread-self/net/dev";

/// A sender and the interface where its frames arrive.
pub struct Lane {
    sender: Program,
    frame: Vec<u8>,
    receiver: String,
    _perch: Perch,
}

impl Lane {
    /// Sends copies of a frame on `feed` to `receiver`. The name is that of the sender's own
    /// interface and must be new.
    pub fn new(
        place: &Place,
        name: &str,
        (feed, receiver): (&Link, &str),
        frame: &[u8],
        choice: Choice,
    ) -> Result<Self> {
        let sender = programs::sender(feed.index()?, choice)?;
        let (perch, _) = place.attach(&sender, name)?;
        let receiver = receiver.to_owned();
        Ok(Self { sender, frame: frame.to_owned(), receiver, _perch: perch })
    }

    /// Sends so many frames and returns what each took until it had been dealt with, in
    /// nanoseconds: sender and receiver are on one CPU.
    pub fn run(&self, count: u32) -> Result<f64> {
        let before = received(&self.receiver)?;
        let ((), took) = super::rounds::milliseconds(|| self.sender.run_live(&self.frame, count))?;
        let arrived = received(&self.receiver)? - before;
        // A last batch may still be on its way.
        ensure!(
            arrived + 1_000 >= u64::from(count),
            "{arrived} of {count} frames arrived at {}",
            self.receiver
        );
        Ok(took * 1e6 / f64::from(count))
    }
}

/// Runs lanes in turns.
pub fn take(place: &Place, rounds: usize, count: u32, lanes: &[(String, Lane)]) -> Result<Rounds> {
    place.namespace.run(|| Rounds::take(rounds, lanes, |lane| lane.run(count)))
}

/// Reports the lanes' rates, and how each compares with the bare one.
pub fn report(
    report: &mut Report,
    group: Group,
    lanes: &[(String, Lane)],
    rounds: &Rounds,
    bare: &str,
) -> Result<()> {
    for (name, _) in lanes {
        report.add(group, name, Unit::Rate, rate(rounds.of(name)?));
        if name != bare {
            report.add(group, name, Unit::Ratio, rounds.rate(name, bare)?);
        }
    }
    Ok(())
}

/// Millions of frames a second, from nanoseconds a frame.
pub fn rate(took: Measured) -> Measured {
    let rate = |took| 1e3 / took;
    Measured {
        best: rate(took.best),
        median: rate(took.median),
        spread: rate(took.best) - rate(took.best + took.spread),
    }
}

fn received(interface: &str) -> Result<u64> {
    let text = fs::read_to_string(DEVICES).context(DEVICES)?;
    let counts =
        text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let packets = counts.and_then(|counts| counts.split_whitespace().nth(1)?.parse().ok());
    packets.with_context(|| format!("{DEVICES} has no count of {interface}"))
}
