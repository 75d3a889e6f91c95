//! Policies and frames that suit each other, to hold the product against the
//! [oracle](crate::oracle).
//!
//! A frame is planned relative to a policy: "a label that this ingress accepts", "one past the end
//! of a range", "the tags of the second ingress". Policy and plan are drawn independently and meet
//! in a `prop_map`, so that each shrinks on its own, and a plan that outlives a smaller policy
//! still means something.
//!
//! Inside proptest, use [`case()`] or [`batch()`]; elsewhere, [`cases`] and [`batches`] draw the
//! same distribution from a seed.

mod frame;
mod policy;

use std::collections::BTreeMap;
use std::fmt;
use std::iter;

use proptest::collection::{SizeRange, vec};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use frame::Plan;

pub use policy::{Context, Defaults, Ingress, Inner, Kind, LabelItem, Mode, Policy, Role, policy};

/// A frame and the interface it comes in on.
#[derive(Clone, Eq, PartialEq)]
pub struct Arrival {
    /// One that the policy names, or a stranger.
    pub interface: String,
    /// From the destination address on; possibly shorter than that.
    pub frame: Vec<u8>,
}

/// One policy and one frame.
///
/// It prints as a policy file: interface and frame follow in comments.
#[derive(Clone, Eq, PartialEq)]
pub struct Case {
    /// The policy.
    pub policy: Policy,
    /// The frame.
    pub arrival: Arrival,
}

/// One policy and many frames, for a judge that is expensive to start.
///
/// It prints as a [`Case`] does, with a pair of comments for each frame.
#[derive(Clone, Eq, PartialEq)]
pub struct Batch {
    /// The policy.
    pub policy: Policy,
    /// The frames, in order.
    pub arrivals: Vec<Arrival>,
}

impl Batch {
    /// The frames of each interface, in order: one capture file each (§7 of the semantics,
    /// `replay`).
    pub fn by_interface(&self) -> BTreeMap<&str, Vec<&[u8]>> {
        let mut frames: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
        for arrival in &self.arrivals {
            frames.entry(&arrival.interface).or_default().push(&arrival.frame);
        }
        frames
    }
}

/// A policy with one frame.
pub fn case() -> impl Strategy<Value = Case> {
    (policy(), frame::plan()).prop_map(|(policy, plan)| {
        let arrival = plan.arrival(&policy);
        Case { policy, arrival }
    })
}

/// A policy with so many frames.
pub fn batch(frames: impl Into<SizeRange>) -> impl Strategy<Value = Batch> {
    (policy(), vec(frame::plan(), frames)).prop_map(|(policy, plans)| {
        let arrivals = plans.iter().map(|plan: &Plan| plan.arrival(&policy)).collect();
        Batch { policy, arrivals }
    })
}

/// Settings for a property over these strategies: so many cases, patience enough to shrink a
/// policy, and no file for failures, since a case prints everything that it takes to run it again.
pub fn config(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 50_000, failure_persistence: None, ..Config::default() }
}

/// An endless run of cases; the same seed gives the same run.
pub fn cases(seed: u64) -> impl Iterator<Item = Case> {
    draw(case(), seed)
}

/// An endless run of batches with so many frames each; the same seed gives the same run.
pub fn batches(seed: u64, frames: usize) -> impl Iterator<Item = Batch> {
    draw(batch(frames), seed)
}

/// Draws from a strategy without a property to test.
fn draw<S: Strategy>(strategy: S, seed: u64) -> impl Iterator<Item = S::Value> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    // A strategy ends the run only when it rejects its own values, which none here does.
    iter::from_fn(move || Some(strategy.new_tree(&mut runner).ok()?.current()))
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# interface {}", self.interface)?;
        write!(f, "# frame of {} bytes: ", self.frame.len())?;
        self.frame.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        writeln!(f)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.policy, self.arrival)
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.policy)?;
        self.arrivals.iter().try_for_each(|arrival| write!(f, "{arrival}"))
    }
}

// proptest prints a failing value with `Debug`; what helps there is what can be run again.

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

#[cfg(test)]
mod tests;
