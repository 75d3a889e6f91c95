//! Frames on a wire, held against the oracle.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::nic;
use crate::demo::Router;
use crate::oracle::{Oracle, Tally, Verdict};

/// Frames that are sent to one interface under a policy, one lot after another.
pub struct Trial<'a> {
    router: &'a Router,
    interface: &'a str,
    oracle: Oracle,
    tally: Tally,
    shortest: usize,
}

impl<'a> Trial<'a> {
    /// Starts with a policy that is in force, with all counters at 0.
    pub fn new(router: &'a Router, interface: &'a str, policy: &str) -> Result<Self> {
        let oracle = Oracle::new(policy);
        let tally = Tally::new(&oracle);
        let shortest = nic::shortest(router.wire(interface)?)?;
        Ok(Self { router, interface, oracle, tally, shortest })
    }

    /// The shortest frame that comes through the wire.
    pub fn shortest(&self) -> usize {
        self.shortest
    }

    /// Sends frames and holds what arrives and what is counted against the oracle. Returns which
    /// arrived.
    pub fn judge(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<bool>> {
        let frames: Vec<_> =
            frames.into_iter().map(|frame| nic::filled_up(frame, self.shortest)).collect();
        let arrived = self.router.wire(self.interface)?.probe(&frames)?;
        for (frame, &arrived) in frames.iter().zip(&arrived) {
            let judgement = self.oracle.judge(self.interface, frame);
            self.tally.feed(self.interface, frame.len(), &judgement);
            let expected = judgement.verdict == Verdict::Pass && is_shown(frame);
            ensure!(
                arrived == expected,
                "arrived: {arrived}, but {judgement:?} for a frame of {} bytes: {:02x?}",
                frame.len(),
                &frame[..frame.len().min(64)]
            );
        }
        let differences = self.tally.differences(&self.router.stats()?);
        ensure!(differences.is_empty(), "counters:\n{}", differences.join("\n"));
        Ok(arrived)
    }
}

/// Linux discards a tagged frame shorter than this before anybody can see it.
fn is_shown(frame: &[u8]) -> bool {
    let tagged = matches!(frame[12..14], [0x81, 0x00] | [0x88, 0xa8]);
    !tagged || frame.len() >= 20
}

/// What `status --json` says, whether or not all is well.
pub fn status(router: &Router) -> Result<Value> {
    let output = router.command(["status", "--json"])?.output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs a command that must fail and returns what it said.
pub fn refusal(router: &Router, arguments: &[&str], exit_code: i32) -> Result<String> {
    let output = router.command(arguments)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(exit_code),
        "{arguments:?} ended with {} instead of {exit_code}: {said}",
        output.status
    );
    Ok(said)
}
