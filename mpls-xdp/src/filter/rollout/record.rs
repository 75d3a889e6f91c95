//! What was put in force, and what it needs to stay.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::clock;
use crate::{filter::AttachMode, manifest::Manifest};

/// How a policy came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By `apply`.
    Apply,
    /// By `rollback`.
    Rollback,
    /// By itself, since the policy before was not confirmed in time.
    Automatic,
}

/// A policy that can be put in force again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptPolicy {
    /// The file's name as it was given.
    pub(super) name: String,
    /// SHA-256 of the text, in hexadecimal; the text is kept under it.
    pub(super) digest: String,
    /// The generation as which it came into force.
    pub(super) generation: u64,
    /// How interfaces were attached that had no program.
    pub(super) mode: AttachMode,
}

/// What a policy needs to stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Condition {
    /// Nothing.
    None,
    /// A confirmation.
    Awaiting(Awaiting),
    /// It had one.
    Confirmed,
}

/// A confirmation that is awaited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Awaiting {
    /// When it is too late, in nanoseconds of [`clock::since_boot`].
    pub(super) deadline: u64,
    /// The record to return to; `None` takes the filter off.
    pub(super) back_to: Option<u64>,
    /// Why the last attempt to return failed.
    pub(super) failure: Option<String>,
}

/// What was, or is about to be, put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its number, which no other record of this history has or had; starts at 1.
    pub(super) serial: u64,
    /// In seconds since 1970.
    pub(super) applied_at: u64,
    pub(super) user: String,
    pub(super) how: How,
    /// `None` when the filter was taken off.
    pub(super) policy: Option<KeptPolicy>,
    pub(super) condition: Condition,
    /// Whether the kernel was seen to follow it.
    pub(super) seen: bool,
}

impl Record {
    pub(super) fn awaiting(&self) -> Option<&Awaiting> {
        match &self.condition {
            Condition::Awaiting(awaiting) => Some(awaiting),
            Condition::None | Condition::Confirmed => None,
        }
    }

    /// How messages call what it put in force.
    pub(super) fn name(&self) -> Option<String> {
        self.policy.as_ref().map(|policy| policy.name.clone())
    }
}

/// What the kernel follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InForce {
    /// No policy.
    Nothing,
    /// The policy of the record with this serial; 0 was never in a history.
    Record(u64),
}

impl From<&Manifest> for InForce {
    fn from(manifest: &Manifest) -> Self {
        Self::Record(manifest.entry)
    }
}
