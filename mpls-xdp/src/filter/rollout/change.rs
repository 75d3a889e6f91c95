//! What puts one policy in the place of another.

use std::{io, time::Duration};

use super::{
    Confirmation, Earlier, RolloutError, clock,
    clock::now,
    confirmation,
    history::History,
    kept,
    record::{Awaiting, Condition, How, InForce, KeptPolicy, Record},
    user, watch,
};
use crate::{
    filter::{
        ApplyOptions, AttachMode, Baseline, FilterError, Origin, Plan, Session, apply,
        detach::take_off, digest, plan,
    },
    policy::Policy,
};

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

    pub(super) fn back_to(
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
pub(super) fn returns_to(
    history: &History,
    awaiting: &Awaiting,
) -> Result<Option<KeptPolicy>, FilterError> {
    match awaiting.back_to {
        None => Ok(None),
        Some(serial) => {
            let record = history.find(serial).ok_or(RolloutError::NothingBefore)?;
            Ok(record.policy.clone())
        }
    }
}
