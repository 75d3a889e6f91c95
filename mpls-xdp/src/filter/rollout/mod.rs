//! Roll-out: a policy that must be confirmed, and the way back to those before it.
//!
//! The texts of the last policies are kept, so that going back is an ordinary `apply` of an old
//! text: no gap, and counters go on.

mod change;
mod clock;
mod entry;
mod error;
mod history;
mod notice;
mod record;
mod user;
mod watch;

use std::path::Path;

use serde::Serialize;

pub use self::{
    change::{Back, Candidate, Change, Effect, Terms},
    entry::{Entry, Outcome},
    error::RolloutError,
    history::KEPT,
    notice::Notice,
    record::How,
    watch::watch,
};
pub(super) use self::{clock::now, history::forget};
use self::{
    history::History,
    record::{Condition, InForce, KeptPolicy, Record},
};
use super::{FilterError, Session};
use crate::{
    manifest::Manifest,
    policy::{self, Policy},
};

/// A confirmation that is awaited.
#[derive(Debug, Clone, Serialize)]
pub struct Confirmation {
    /// The name of the policy that awaits it.
    pub policy: String,
    /// Until when, in seconds since 1970.
    pub confirm_by: u64,
    /// Seconds until then; negative when it is overdue.
    pub seconds_left: i64,
    /// The policy that comes back otherwise; `None` takes the filter off.
    pub back_to: Option<Earlier>,
    /// Whether a process waits to do that.
    pub watched: bool,
    /// Why the last attempt to do it failed.
    pub failure: Option<String>,
}

/// A policy of the history.
#[derive(Debug, Clone, Serialize)]
pub struct Earlier {
    /// The policy file's name as it was given.
    pub policy: String,
    /// SHA-256 of the policy file, in hexadecimal.
    pub digest: String,
    /// The generation as which it came into force.
    pub generation: u64,
}

impl From<&KeptPolicy> for Earlier {
    fn from(kept: &KeptPolicy) -> Self {
        let KeptPolicy { name, digest, generation, .. } = kept;
        Self { policy: name.clone(), digest: digest.clone(), generation: *generation }
    }
}

/// The text of a policy of the history, and what it says.
fn kept(history: &History, policy: &KeptPolicy) -> Result<(String, Policy), FilterError> {
    let text = history.text(policy)?;
    let parsed = policy::parse(&policy.name, &text);
    let errors: Vec<&str> = parsed.errors.iter().map(|error| error.message.as_str()).collect();
    let invalid = || RolloutError::NotValid(policy.name.clone(), errors.join("; "));
    let valid = parsed.policy.ok_or_else(invalid)?;
    Ok((text, valid))
}

/// Confirms the policy in force and returns its name.
///
/// # Errors
///
/// When no confirmation is awaited.
pub fn confirm(session: &Session) -> Result<String, FilterError> {
    let mut history = History::read(session)?;
    let awaited = history.awaiting().is_some();
    let expired = history.present().filter(|record| record.how == How::Automatic).and_then(|at| {
        let mut before = history.records.iter().filter(|record| record.serial < at.serial);
        before.next_back().and_then(Record::name)
    });
    match history.present_mut() {
        Some(record) if awaited => record.condition = Condition::Confirmed,
        Some(_) if expired.is_some() => {
            let expired = expired.unwrap_or_default();
            return Err(RolloutError::TooLate { expired }.into());
        }
        Some(record) if record.policy.is_some() => {
            let name = record.name().unwrap_or_default();
            return Err(RolloutError::NothingAwaited(name).into());
        }
        _ => return Err(FilterError::NoPolicy),
    }
    history.store()?;
    Ok(history.present().and_then(Record::name).unwrap_or_default())
}

/// The last policies.
#[derive(Debug, Serialize)]
pub struct Log {
    /// Version of these fields.
    pub schema: u32,
    /// Whether a policy is in force that is none of the entries.
    pub other_in_force: bool,
    /// Newest first.
    pub entries: Vec<Entry>,
}

/// Reads the history.
///
/// # Errors
///
/// When that fails, or the kernel cannot be asked.
pub fn read_log(session: &Session) -> Result<Log, FilterError> {
    let history = History::read(session)?;
    let other_in_force = history.in_force != InForce::Nothing && history.present().is_none();
    Ok(Log { schema: 1, other_in_force, entries: history.entries() })
}

/// The confirmation that the policy in force awaits, by the history in this folder. Waits for no
/// command and keeps none from its work.
///
/// # Errors
///
/// When the history cannot be read.
pub(super) fn read_confirmation(
    state: &Path,
    in_force: &Manifest,
) -> Result<Option<Confirmation>, FilterError> {
    let read = || confirmation(state, &History::of(state, in_force.into())?);
    match read()? {
        // The process ends after the wait is over, so the history may say by now that it is.
        Some(Confirmation { watched: false, .. }) => read(),
        confirmation => Ok(confirmation),
    }
}

fn confirmation(state: &Path, history: &History) -> Result<Option<Confirmation>, FilterError> {
    let Some((record, awaiting)) = history.awaiting() else {
        return Ok(None);
    };
    Ok(Some(Confirmation {
        policy: record.name().unwrap_or_default(),
        confirm_by: clock::wall_time(awaiting.deadline),
        seconds_left: clock::seconds_to(awaiting.deadline),
        back_to: awaiting
            .back_to
            .and_then(|serial| history.find(serial))
            .and_then(|record| record.policy.as_ref())
            .map(Earlier::from),
        watched: watch::is_watched(state)?,
        failure: awaiting.failure.clone(),
    }))
}

/// The policy in force: where it stands in the history, its text, and what it says; `None` when
/// none is.
///
/// # Errors
///
/// When the history cannot be read, or the policy in force is not in it.
pub fn policy_in_force(
    session: &Session,
) -> Result<Option<(Earlier, String, Policy)>, FilterError> {
    let history = History::read(session)?;
    match (history.in_force, history.present().and_then(|record| record.policy.as_ref())) {
        (InForce::Nothing, _) => Ok(None),
        (_, Some(policy)) => {
            let (text, valid) = kept(&history, policy)?;
            Ok(Some((policy.into(), text, valid)))
        }
        (_, None) => Err(RolloutError::NotInHistory.into()),
    }
}
