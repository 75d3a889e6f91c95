//! An independent oracle: the normative semantics, written a second time.
//!
//! Nothing here is shared with the product. The oracle reads the policy with a plain TOML reader,
//! walks the frame byte by byte and follows the sentences of the semantics in their own order, so
//! that a disagreement with the product means that one of the two misread the page. It prefers
//! plain set arithmetic to speed.
//!
//! ```
//! use mpls_xdp_tests::oracle::{Oracle, Verdict};
//!
//! let oracle = Oracle::new(
//!     r#"
//!     version = 1
//!     [ingress.ce-red-1]
//!     interface = "eth1"
//!     role = "customer"
//!     "#,
//! );
//! let mut frame = vec![0; 12];
//! frame.extend([0x88, 0x47, 0x00, 0x06, 0x41, 0x40]);
//! let judgement = oracle.judge("eth1", &frame);
//! assert_eq!(judgement.verdict, Verdict::Drop);
//! assert_eq!(judgement.reason, Some("mpls_not_enabled"));
//! ```

mod frame;
mod labels;
mod policy;
pub mod reason;
mod stack;
mod tally;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};

use frame::Sighting;
use policy::{Ingress, Mode, Policy};
use stack::Outcome;

pub use tally::Tally;

/// What happens to a frame (`verdict` in §7 of the semantics).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The frame goes on to the kernel.
    Pass,
    /// The frame is discarded at the hook.
    Drop,
}

/// Where a frame is counted (§6 of the semantics): in exactly one of these places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Counter {
    /// Not MPLS, or on an interface that the policy does not name.
    Nothing,
    /// Under the ingress, as accepted, and for the rule of this name.
    Accepted {
        /// A context, `labels` or `special`.
        rule: String,
    },
    /// Under the ingress, as dropped, and for the reason.
    Dropped,
    /// Under the ingress, as would-drop, and for the reason.
    WouldDrop,
    /// Under the interface, as `unbound`.
    Unbound,
    /// Under the interface, as `vlan_too_deep`.
    VlanTooDeep,
}

/// What the semantics say about one frame: the fields of `replay --json` (§7) and the counter of
/// §6 that the frame lands in.
///
/// Serialised, it has the fields of §7 only.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Judgement {
    /// Whether the frame goes on.
    pub verdict: Verdict,
    /// The first check that failed, also in monitor mode; one of [`reason`].
    pub reason: Option<&'static str>,
    /// The ingress that the frame was resolved to.
    pub ingress: Option<String>,
    /// The label entry that decided, counted from 0.
    pub position: Option<u32>,
    /// The label of that entry, where it could be read.
    pub label: Option<u32>,
    /// Where the frame is counted.
    #[serde(skip)]
    pub counter: Counter,
}

impl Judgement {
    /// The object that `replay --json` prints for the frame of this number, from 1 (§7).
    pub fn replay_line(&self, frame: usize) -> Value {
        json!({
            "frame": frame,
            "verdict": self.verdict,
            "reason": self.reason,
            "ingress": self.ingress,
            "position": self.position,
            "label": self.label,
        })
    }

    /// A frame that the filter has nothing to say about: no MPLS, or no program (§4.2, §4.3).
    fn untouched() -> Self {
        Self {
            verdict: Verdict::Pass,
            reason: None,
            ingress: None,
            position: None,
            label: None,
            counter: Counter::Nothing,
        }
    }

    /// A frame without an ingress, which follows `defaults.mode` (the end of §5).
    fn of_interface(reason: &'static str, counter: Counter, mode: Mode) -> Self {
        let verdict = refusal_verdict(mode);
        Self { verdict, reason: Some(reason), counter, ..Self::untouched() }
    }

    /// A frame whose ingress is known (§5).
    fn of_ingress(ingress: &Ingress, outcome: Outcome) -> Self {
        let mut judgement = Self { ingress: Some(ingress.name.clone()), ..Self::untouched() };
        match outcome {
            Ok(accepted) => {
                judgement.position = accepted.chosen_by.map(|entry| entry.position);
                judgement.label = accepted.chosen_by.map(|entry| entry.label);
                judgement.counter = Counter::Accepted { rule: accepted.rule };
            }
            Err(refusal) => {
                judgement.verdict = refusal_verdict(ingress.mode);
                judgement.reason = Some(refusal.reason);
                judgement.position = refusal.position;
                judgement.label = refusal.label;
                judgement.counter = match ingress.mode {
                    Mode::Enforce => Counter::Dropped,
                    Mode::Monitor => Counter::WouldDrop,
                };
            }
        }
        judgement
    }
}

/// `enforce` drops what a check refuses; `monitor` only counts it (§2).
fn refusal_verdict(mode: Mode) -> Verdict {
    match mode {
        Mode::Enforce => Verdict::Drop,
        Mode::Monitor => Verdict::Pass,
    }
}

/// One policy, ready to judge frames.
#[derive(Clone, Debug)]
pub struct Oracle {
    policy: Policy,
}

impl Oracle {
    /// Reads a valid policy (§3).
    ///
    /// # Panics
    ///
    /// When the text is not a policy that the oracle can read: a test that hands it one is wrong.
    /// [`Oracle::from_str`] gives the error instead. The oracle is no validator: it takes some
    /// policies that §3 forbids.
    pub fn new(policy_text: &str) -> Self {
        match policy_text.parse() {
            Ok(oracle) => oracle,
            Err(error) => panic!("the oracle takes valid policies only: {error:#}\n{policy_text}"),
        }
    }

    /// Judges one frame as if received on the interface (§4, §5).
    pub fn judge(&self, interface: &str, frame: &[u8]) -> Judgement {
        // No program is attached to an interface that no ingress names (§4.3).
        if !self.policy.names(interface) {
            return Judgement::untouched();
        }
        let default_mode = self.policy.default_mode;
        match frame::sight(frame) {
            Sighting::NotMpls => Judgement::untouched(),
            Sighting::TooManyTags => {
                Judgement::of_interface(reason::VLAN_TOO_DEEP, Counter::VlanTooDeep, default_mode)
            }
            Sighting::Mpls(mpls) => match self.policy.ingress(interface, &mpls.vids) {
                None => {
                    Judgement::of_interface(reason::INGRESS_UNBOUND, Counter::Unbound, default_mode)
                }
                Some(ingress) => {
                    Judgement::of_ingress(ingress, stack::check(&self.policy, ingress, &mpls))
                }
            },
        }
    }

    /// The interfaces that the policy names, each once, in the order written.
    pub fn interfaces(&self) -> Vec<&str> {
        self.policy.interfaces()
    }
}

impl FromStr for Oracle {
    type Err = anyhow::Error;

    fn from_str(policy_text: &str) -> Result<Self, Self::Err> {
        Ok(Self { policy: Policy::read(policy_text)? })
    }
}
