//! Carrying an attack out and judging what comes of it.

use std::fmt::Write;

use anyhow::{Context, Error, Result, anyhow};
use serde_json::Value;

use super::ledger::{Fates, Ledger};
use super::story::{Fate, Sent, Story};
use super::{Attack, Mode};
use crate::demo::Router;
use crate::frame::{C_TAG, S_TAG};
use crate::oracle::{Counter, Judgement, Oracle, Tally, Verdict};

#[cfg(test)]
mod tests;

/// Frames that are sent before anybody looks at what came of them.
const VOLLEY: usize = 1_024;
/// Wrong frames that a report shows; more tell nothing new.
const SHOWN: usize = 5;
/// What the policy of an attack says once.
const ENFORCE: &str = "mode = \"enforce\"";

/// A router that can be attacked, on whatever wires.
pub trait Target {
    /// Puts a policy in force, with all counters at 0.
    ///
    /// # Errors
    ///
    /// When `mpls-xdp` refuses it.
    fn apply(&self, policy: &str) -> Result<()>;

    /// Sends frames to an interface and says of each whether the router's kernel got it.
    ///
    /// # Errors
    ///
    /// When they cannot be sent, or when something else arrives.
    fn probe(&self, interface: &str, frames: &[&[u8]]) -> Result<Vec<bool>>;

    /// The counters, as `stats --json` has them.
    ///
    /// # Errors
    ///
    /// When `mpls-xdp` does not tell.
    fn stats(&self) -> Result<Value>;

    /// Whether one would see this frame behind the filter, had it passed.
    ///
    /// Linux discards a tagged frame with less than two bytes after its type before anybody can see
    /// it. Such a frame still counts.
    fn shows(&self, frame: &[u8]) -> bool {
        let tagged = [C_TAG, S_TAG].map(u16::to_be_bytes).iter().any(|tpid| frame[12..14] == *tpid);
        !tagged || frame.len() >= 20
    }
}

impl Target for Router {
    fn apply(&self, policy: &str) -> Result<()> {
        Self::apply(self, policy, &[]).map(drop)
    }

    fn probe(&self, interface: &str, frames: &[&[u8]]) -> Result<Vec<bool>> {
        self.wire(interface)?.probe(frames)
    }

    fn stats(&self) -> Result<Value> {
        Self::stats(self)
    }
}

/// A router of veth pairs with the interfaces that an attack uses.
///
/// # Errors
///
/// When not root, or when the lab cannot be made.
pub fn router(attack: &Attack) -> Result<Router> {
    let story = attack.story();
    let wires: Vec<_> =
        story.interfaces.iter().map(|&interface| (interface, "neighbour")).collect();
    Router::with_mtu(story.mtu, &wires)
}

impl Attack {
    /// Carries the attack out on a fresh router of veth pairs.
    ///
    /// # Errors
    ///
    /// When the lab cannot be made, or as [`run`](Self::run).
    pub fn run_on_veth(&self, mode: Mode) -> Result<()> {
        self.run(&router(self)?, mode)
    }

    /// Carries the attack out: every frame meets its fate, exactly the right counters move, and the
    /// independent oracle says the same.
    ///
    /// # Errors
    ///
    /// When something else happens: the error tells the whole story.
    pub fn run(&self, target: &impl Target, mode: Mode) -> Result<()> {
        let Story { who, threat, source, policy, frames, totals, .. } = self.story();
        let policy = mode.policy(policy)?;
        let mut trial = Trial::new(&policy, mode, target);
        let ran = trial.run(frames, totals);
        if ran.is_ok() && trial.wrong == 0 && trial.miscounted.is_empty() {
            return Ok(());
        }
        let mut report = format!(
            "{} ({})\n  who     {who}\n  threat  {threat}\n  source  {source}\n  again   cargo \
             test -p mpls-xdp-tests --test attacks {}::{}::{}\n",
            self.title(),
            mode.name(),
            mode.name(),
            self.family,
            self.name
        );
        if let Err(error) = ran {
            let _ = writeln!(report, "  stopped after {} frames: {error:#}", trial.sent);
        }
        for line in trial.shown.iter().chain(&trial.miscounted) {
            let _ = writeln!(report, "  {line}");
        }
        let _ = writeln!(report, "  {} of {} frames went wrong", trial.wrong, trial.sent);
        let _ = write!(report, "  policy:\n{policy}");
        Err(anyhow!(report))
    }
}

/// An attack under way.
struct Trial<'a, T> {
    mode: Mode,
    target: &'a T,
    policy: &'a str,
    oracle: Oracle,
    tally: Tally,
    expected: Fates,
    /// Frames that have been sent.
    sent: usize,
    /// Frames that went another way than they should.
    wrong: usize,
    /// The first of these, each some lines.
    shown: Vec<String>,
    /// Counters that are not what they should be, a line each.
    miscounted: Vec<String>,
}

impl<'a, T: Target> Trial<'a, T> {
    fn new(policy: &'a str, mode: Mode, target: &'a T) -> Self {
        let oracle = Oracle::new(policy);
        let tally = Tally::new(&oracle);
        Self {
            mode,
            target,
            policy,
            oracle,
            tally,
            expected: Fates::default(),
            sent: 0,
            wrong: 0,
            shown: Vec::new(),
            miscounted: Vec::new(),
        }
    }

    fn run(&mut self, frames: impl Iterator<Item = Sent>, totals: &[(&str, u64)]) -> Result<()> {
        self.target.apply(self.policy)?;
        let mut volley = Vec::with_capacity(VOLLEY);
        for sent in frames {
            let elsewhere =
                volley.first().is_some_and(|first: &Sent| first.interface != sent.interface);
            if elsewhere || volley.len() == VOLLEY {
                self.fire(&volley)?;
                volley.clear();
            }
            volley.push(sent);
        }
        self.fire(&volley)?;
        self.count(totals)
    }

    /// Sends frames that are for one interface.
    fn fire(&mut self, volley: &[Sent]) -> Result<()> {
        let Some(first) = volley.first() else { return Ok(()) };
        let frames: Vec<_> = volley.iter().map(|sent| sent.frame.as_slice()).collect();
        let arrived = self.target.probe(first.interface, &frames)?;
        for (sent, arrived) in volley.iter().zip(arrived) {
            self.sent += 1;
            self.judge(sent, arrived);
        }
        Ok(())
    }

    fn judge(&mut self, sent: &Sent, arrived: bool) {
        let passes = self.mode == Mode::Monitor || !matches!(sent.fate, Fate::Dropped(_));
        let seen = self.target.shows(&sent.frame);
        let judgement = self.oracle.judge(sent.interface, &sent.frame);
        let agrees = agrees(sent, self.mode, &judgement);
        if arrived != (passes && seen) || !agrees {
            self.wrong += 1;
            if self.shown.len() < SHOWN {
                self.shown.push(self.describe(sent, arrived, &judgement));
            }
        }
        self.tally.feed(sent.interface, sent.frame.len(), &judgement);
        self.expected.add(sent);
    }

    /// A frame that went wrong.
    fn describe(&self, sent: &Sent, arrived: bool, judgement: &Judgement) -> String {
        let Sent { interface, ingress, what, frame, fate } = sent;
        let hex = frame.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let unseen = if self.target.shows(frame) { "" } else { ", but Linux shows no such runt" };
        let came = if arrived { "it came through" } else { "it did not come through" };
        format!(
            "frame {}, {what}\n    sent to   {interface}, ingress {ingress}\n    expected  \
             {fate:?} ({}){unseen}\n    came      {came}\n    oracle    {judgement:?}\n    bytes     \
             {hex} ({} bytes)",
            self.sent,
            self.mode.name(),
            frame.len()
        )
    }

    /// Holds the counters against the fates and against the oracle.
    fn count(&mut self, totals: &[(&str, u64)]) -> Result<()> {
        let stats = self.target.stats()?;
        let actual = Ledger::read(&stats).context("reading the counters")?;
        let by_hand = self.expected.ledger(self.mode).differences(&actual);
        self.miscounted.extend(by_hand.iter().map(|line| format!("counter {line}")));
        let by_oracle = self.tally.differences(&stats);
        self.miscounted.extend(by_oracle.iter().map(|line| format!("the oracle counts {line}")));
        for &(of, expected) in totals {
            let counted = actual.total(of);
            if counted != expected {
                let line = format!("total of {of}: expected {expected}; counted {counted}");
                self.miscounted.push(line);
            }
        }
        Ok(())
    }
}

/// Whether the oracle says of a frame what was written down by hand.
pub(super) fn agrees(sent: &Sent, mode: Mode, judgement: &Judgement) -> bool {
    let Judgement { verdict, reason, ingress, counter, .. } = judgement;
    let passes = mode == Mode::Monitor || !matches!(sent.fate, Fate::Dropped(_));
    let why = if let Fate::Dropped(why) = sent.fate { Some(why) } else { None };
    let nowhere = sent.fate == Fate::Untouched || sent.fate.is_of_the_interface();
    let accepted_by = match counter {
        Counter::Accepted { rule } => Some(rule.as_str()),
        _ => None,
    };
    let rule = if let Fate::Passes(rule) = sent.fate { Some(rule) } else { None };
    (*verdict == Verdict::Pass) == passes
        && *reason == why
        && ingress.as_deref() == (!nowhere).then_some(sent.ingress)
        && accepted_by == rule
}

impl Mode {
    /// The policy in this mode.
    fn policy(self, policy: &str) -> Result<String> {
        if policy.matches(ENFORCE).count() != 1 {
            return Err(Error::msg(format!(
                "a policy of an attack says {ENFORCE} once:\n{policy}"
            )));
        }
        Ok(policy.replace(ENFORCE, &format!("mode = \"{}\"", self.name())))
    }
}
