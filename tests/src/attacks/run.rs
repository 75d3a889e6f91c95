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

/// Rounds of a flood on veth pairs: a million frames and more.
const ROUNDS: usize = 65_536;

/// What became of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flooded {
    /// How often its frames were sent.
    pub rounds: usize,
    /// How many frames the router's kernel got.
    pub arrived: u64,
}

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

    /// Sends frames to an interface again and again, as fast and as often as the wires can.
    ///
    /// # Errors
    ///
    /// When they cannot be sent.
    fn flood(&self, interface: &str, frames: &[&[u8]]) -> Result<Flooded>;

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

    fn flood(&self, interface: &str, frames: &[&[u8]]) -> Result<Flooded> {
        let frames: Vec<_> = frames.iter().map(|frame| frame.to_vec()).collect();
        let arrived = self.wire(interface)?.flood(&frames, ROUNDS)?;
        Ok(Flooded { rounds: ROUNDS, arrived })
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
        let story = self.story();
        let Story { who, threat, source, policy, .. } = story;
        let policy = mode.policy(policy)?;
        let mut trial = Trial::new(&policy, mode, target);
        let ran = trial.run(story);
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

    fn run(&mut self, story: Story) -> Result<()> {
        let Story { frames, totals, is_flood, .. } = story;
        self.target.apply(self.policy)?;
        let rounds = if is_flood {
            self.flood(&frames.collect::<Vec<_>>())?
        } else {
            self.stream(frames)?;
            1
        };
        self.count(totals, rounds)
    }

    /// Sends frames that are judged one by one.
    fn stream(&mut self, frames: impl Iterator<Item = Sent>) -> Result<()> {
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
        self.fire(&volley)
    }

    /// Sends a flood, of which one round before and one after it are judged frame by frame. Returns
    /// the number of rounds.
    fn flood(&mut self, round: &[Sent]) -> Result<u64> {
        self.fire(round)?;
        let interface = round.first().context("a flood of nothing")?.interface;
        let frames: Vec<_> = round.iter().map(|sent| sent.frame.as_slice()).collect();
        let Flooded { rounds, arrived } = self.target.flood(interface, &frames)?;
        let mut expected = 0;
        for sent in round {
            let judgement = self.oracle.judge(sent.interface, &sent.frame);
            for _ in 0..rounds {
                self.tally.feed(sent.interface, sent.frame.len(), &judgement);
                self.expected.add(sent);
            }
            expected += u64::from(self.passes(sent)) * rounds as u64;
        }
        self.sent += rounds * round.len();
        if arrived != expected {
            self.wrong += usize::try_from(arrived.abs_diff(expected))?;
            self.shown.push(format!(
                "of {} frames of the flood {arrived} came through instead of {expected}",
                rounds * round.len()
            ));
        }
        self.fire(round)?;
        Ok(rounds as u64 + 2)
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
        let passes = self.passes(sent);
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

    /// Whether the router's kernel is to get this frame.
    fn passes(&self, sent: &Sent) -> bool {
        self.mode == Mode::Monitor || !matches!(sent.fate, Fate::Dropped(_))
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

    /// Holds the counters against the fates, against the oracle, and against the totals of so many
    /// rounds.
    fn count(&mut self, totals: &[(&str, u64)], rounds: u64) -> Result<()> {
        let stats = self.target.stats()?;
        let actual = Ledger::read(&stats).context("reading the counters")?;
        let by_hand = self.expected.ledger(self.mode).differences(&actual);
        self.miscounted.extend(by_hand.iter().map(|line| format!("counter {line}")));
        let by_oracle = self.tally.differences(&stats);
        self.miscounted.extend(by_oracle.iter().map(|line| format!("the oracle counts {line}")));
        for &(of, each) in totals {
            let expected = each * rounds;
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
