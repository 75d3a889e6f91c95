//! Why there is no way back, or nothing to confirm.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why there is no way back, or nothing to confirm.
#[derive(Debug, Error)]
pub enum RolloutError {
    /// `confirm` without a need.
    #[error("no confirmation is awaited: {0} is in force and stays")]
    NothingAwaited(String),
    /// `confirm` came too late.
    #[error(
        "too late: {expired} was not confirmed in time and is not in force any more; `mpls-xdp \
         rollback` brings it back"
    )]
    TooLate {
        /// What was not confirmed.
        expired: String,
    },
    /// `confirm` or `rollback` without any policy.
    #[error("no policy was applied yet: `mpls-xdp apply POLICY` puts one in force")]
    NoHistory,
    /// The history has nothing else.
    #[error("there is no policy before the present one; `mpls-xdp history` shows what is kept")]
    NothingBefore,
    /// The history is not that long.
    #[error("the history has no number {number}, its last is {last}; `mpls-xdp history` shows it")]
    NoSuchEntry {
        /// What was asked for.
        number: usize,
        /// The highest number that there is.
        last: usize,
    },
    /// Another build, or somebody who removed the state, leaves no text to come back to.
    #[error(
        "the policy in force is not in the history, so nothing can return to it or be compared with \
         it: apply it once without `--confirm-within` first"
    )]
    NotInHistory,
    /// A text was removed or changed by hand.
    #[error("the text of {name} is not kept any more: {path} is missing or was changed")]
    TextLost {
        /// The policy file's name.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A text that this build does not take.
    #[error("{0} was valid when it was applied, but is not for this build: {1}")]
    NotValid(String, String),
    /// The history itself.
    #[error("{path} cannot be read: {source}; remove it, and the history begins anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Nobody would watch over the deadline, so nothing was changed.
    #[error("cannot start the process that returns to the policy before; nothing was changed: {0}")]
    NoWatcher(#[source] io::Error),
    /// Notifications or timers of the watching process.
    #[error("cannot wait for the confirmation: {0}")]
    Wait(#[source] io::Error),
}
