//! Roll-out: a policy that must be confirmed, and the way back to those before it.
//!
//! The texts of the last policies are kept, so that going back is an ordinary `apply` of an old
//! text: no gap, and counters go on.

mod clock;
mod history;
mod notice;
mod user;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use thiserror::Error;

use self::history::{Awaiting, Condition, History, InForce, KeptPolicy, Record};
pub(super) use self::{clock::now, history::forget};
pub use self::{
    history::{Entry, How, KEPT, Outcome},
    notice::Notice,
    watch::watch,
};
use super::{
    ApplyOptions, AttachMode, Baseline, FilterError, Origin, Plan, Session, apply,
    detach::take_off, digest, plan,
};
use crate::{
    manifest::Manifest,
    policy::{self, Policy},
};

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

/// A policy that is to be put in force.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The file's name as it was given.
    pub name: &'a str,
    /// The file's text.
    pub text: &'a str,
    /// What it says.
    pub policy: &'a Policy,
}

/// Whether a policy stays without more words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// It does.
    Stays,
    /// Only when it is confirmed within this time.
    ConfirmWithin(Duration),
}

/// Where `rollback` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// While a confirmation is awaited, to what would come back by itself; otherwise to what was in
    /// force before the present policy.
    Before,
    /// To the entry of the history with this number.
    Number(usize),
}

/// What happens to a confirmation that is awaited, or asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// None is concerned.
    None,
    /// The policy is in force already and awaits one: this is it.
    Confirms,
    /// The policy with this name awaits one, and is replaced; the new one stays without.
    EndsWaitFor(String),
    /// The policy with this name awaits one, and is replaced; so will the new one.
    Restarts(String),
    /// The policy is in force already and stays: there is nothing to return from.
    NothingToConfirm,
}

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

/// What puts one policy in the place of another; nothing has been changed yet.
#[derive(Debug)]
pub struct Change {
    /// What it does to interfaces; `None` takes the filter off all of them.
    pub plan: Option<Plan>,
    /// The name of the policy that it puts in force.
    pub policy: Option<String>,
    /// What it returns to, when that is a policy of the history.
    pub earlier: Option<Earlier>,
    text: Option<String>,
    history: History,
    options: ApplyOptions,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// What this record says comes into force.
    To(Record),
    /// The policy in force is put in force once more.
    Again,
}

impl Change {
    /// Prepares to put `candidate` in force.
    ///
    /// # Errors
    ///
    /// As [`plan`], or when the history cannot be read.
    pub fn apply(
        session: &Session,
        candidate: Candidate<'_>,
        options: ApplyOptions,
    ) -> Result<Self, FilterError> {
        let history = History::read(session)?;
        let digest = digest(candidate.text.as_bytes());
        let again = history.present().and_then(|record| {
            let policy = record.policy.as_ref()?;
            let same = policy.digest == digest
                && policy.name == candidate.name
                && policy.mode == options.mode;
            same.then_some(record.serial)
        });
        let origin =
            Origin { name: candidate.name, digest: &digest, entry: again.unwrap_or(history.next) };
        let plan = plan(session, candidate.policy, origin, options)?;
        let step = match again {
            Some(_) => Step::Again,
            None => {
                let policy = KeptPolicy {
                    name: candidate.name.to_owned(),
                    digest,
                    generation: plan.generation,
                    mode: options.mode,
                };
                Step::To(next_record(&history, How::Apply, Some(policy)))
            }
        };
        let policy = Some(candidate.name.to_owned());
        let text = Some(candidate.text.to_owned());
        let (plan, earlier) = (Some(plan), None);
        Ok(Self { plan, policy, earlier, text, history, options, step })
    }

    /// Prepares to go back; other XDP programs are taken off where the old policy needs it and
    /// `replace` allows it.
    ///
    /// # Errors
    ///
    /// When the history has no such policy, or as [`plan`].
    pub fn back(session: &Session, back: Back, replace: bool) -> Result<Self, FilterError> {
        let history = History::read(session)?;
        let target = match back {
            Back::Before => before(&history)?,
            Back::Number(number) => {
                let last = history.records.len().checked_sub(1).ok_or(RolloutError::NoHistory)?;
                let at = last.checked_sub(number);
                let at = at.ok_or(RolloutError::NoSuchEntry { number, last })?;
                history.records[at].policy.clone()
            }
        };
        Self::back_to(session, history, target, How::Rollback, replace)
    }

    fn back_to(
        session: &Session,
        history: History,
        target: Option<KeptPolicy>,
        how: How,
        replace: bool,
    ) -> Result<Self, FilterError> {
        let Some(mut target) = target else {
            let step = Step::To(next_record(&history, how, None));
            let options = ApplyOptions { mode: AttachMode::Native, replace, fragments: false };
            let (plan, policy, earlier, text) = (None, None, None, None);
            return Ok(Self { plan, policy, earlier, text, history, options, step });
        };
        let (text, policy) = kept(&history, &target)?;
        let options = ApplyOptions { mode: target.mode, replace, fragments: false };
        let origin = Origin { name: &target.name, digest: &target.digest, entry: history.next };
        let plan = plan(session, &policy, origin, options)?;
        let earlier = Some(Earlier::from(&target));
        target.generation = plan.generation;
        let name = target.name.clone();
        let step = Step::To(next_record(&history, how, Some(target)));
        let (plan, policy, text) = (Some(plan), Some(name), Some(text));
        Ok(Self { plan, policy, earlier, text, history, options, step })
    }

    /// What happens to confirmations with these terms.
    pub fn effect(&self, terms: Terms) -> Effect {
        let awaiting = self.history.awaiting().and_then(|(record, _)| record.name());
        match (&self.step, awaiting, terms) {
            (Step::To(_), None, _) | (Step::Again, None, Terms::Stays) => Effect::None,
            (Step::To(_), Some(name), Terms::Stays) => Effect::EndsWaitFor(name),
            (_, Some(name), Terms::ConfirmWithin(_)) => Effect::Restarts(name),
            (Step::Again, Some(_), Terms::Stays) => Effect::Confirms,
            (Step::Again, None, Terms::ConfirmWithin(_)) => Effect::NothingToConfirm,
        }
    }

    /// Carries it out, and returns the confirmation that is awaited then. Before a policy that must
    /// be confirmed comes into force, `start_watcher` starts a process that runs [`watch()`] and
    /// returns when that is ready.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a step, or there is nothing to return to.
    pub fn carry_out(
        self,
        session: &Session,
        terms: Terms,
        start_watcher: impl FnOnce() -> io::Result<()>,
    ) -> Result<Option<Confirmation>, FilterError> {
        let effect = self.effect(terms);
        let Self { plan, text, mut history, options, step, .. } = self;
        let awaiting = match terms {
            Terms::ConfirmWithin(time) if effect != Effect::NothingToConfirm => {
                let back_to = match (history.awaiting(), history.in_force) {
                    (Some((_, awaiting)), _) => awaiting.back_to,
                    (None, InForce::Nothing) => None,
                    (None, InForce::Record(serial)) if history.present().is_some() => Some(serial),
                    (None, InForce::Record(_)) => return Err(RolloutError::NotInHistory.into()),
                };
                Some((time, Awaiting { deadline: clock::after(time), back_to, failure: None }))
            }
            _ => None,
        };
        let again = matches!(step, Step::Again);
        if let Some(text) = text {
            history.keep_text(&text)?;
        }
        if let Step::To(mut record) = step {
            if let Some((_, awaiting)) = &awaiting {
                record.condition = Condition::Awaiting(awaiting.clone());
            }
            history.records.push(record);
            history.store()?;
        }
        let started = match &awaiting {
            Some(_) if !watch::is_watched(&session.state)? => {
                start_watcher().map_err(|error| RolloutError::NoWatcher(error).into())
            }
            _ => Ok(()),
        };
        let result = started.and_then(|()| match &plan {
            Some(plan) => apply(session, plan, options),
            None => take_off(session).map(drop),
        });
        if result.is_ok()
            && let Some(record) = match again {
                true => history.present_mut(),
                false => history.records.last_mut(),
            }
        {
            match awaiting {
                // The time that was given is for the operator, not for a large policy to be put in.
                Some((time, awaiting)) => {
                    let deadline = clock::after(time);
                    record.condition = Condition::Awaiting(Awaiting { deadline, ..awaiting });
                }
                None if effect == Effect::Confirms => record.condition = Condition::Confirmed,
                None => {}
            }
        }
        let settled = history.settle(session);
        result?;
        let settled = settled?;
        if plan.as_ref().is_some_and(|plan| !again || plan.counts_anew()) {
            Baseline::take(session)?.store(&session.state)?;
        }
        confirmation(&session.state, &settled)
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

fn next_record(history: &History, how: How, policy: Option<KeptPolicy>) -> Record {
    Record {
        serial: history.next,
        applied_at: now(),
        user: user::name(),
        how,
        policy,
        condition: Condition::None,
        seen: false,
    }
}

/// What `rollback` without a number goes to.
fn before(history: &History) -> Result<Option<KeptPolicy>, FilterError> {
    if let Some((_, awaiting)) = history.awaiting() {
        return returns_to(history, awaiting);
    }
    let digest = |policy: &Option<KeptPolicy>| policy.as_ref().map(|kept| kept.digest.clone());
    let older: Vec<&Record> = match (history.present(), history.in_force) {
        (Some(present), _) => {
            let is_older = |record: &&Record| {
                record.serial < present.serial && digest(&record.policy) != digest(&present.policy)
            };
            history.records.iter().filter(is_older).collect()
        }
        (None, InForce::Nothing) => {
            history.records.iter().filter(|record| record.policy.is_some()).collect()
        }
        (None, InForce::Record(_)) => history.records.iter().collect(),
    };
    match older.last() {
        Some(record) => Ok(record.policy.clone()),
        None if history.records.is_empty() => Err(RolloutError::NoHistory.into()),
        None => Err(RolloutError::NothingBefore.into()),
    }
}

/// What comes back when a confirmation does not come.
fn returns_to(history: &History, awaiting: &Awaiting) -> Result<Option<KeptPolicy>, FilterError> {
    match awaiting.back_to {
        None => Ok(None),
        Some(serial) => {
            let record = history.find(serial).ok_or(RolloutError::NothingBefore)?;
            Ok(record.policy.clone())
        }
    }
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
