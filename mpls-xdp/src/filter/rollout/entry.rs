//! The history as people and programs read it.

use serde::Serialize;

use super::{
    clock,
    history::History,
    record::{Condition, How, Record},
};

/// What became of an entry of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was put in force without a condition.
    Applied,
    /// Its confirmation is awaited.
    Awaiting,
    /// It was confirmed.
    Confirmed,
    /// A `rollback` ended it.
    RolledBack,
    /// It was not confirmed in time, and ended by itself.
    NotConfirmed,
    /// Something else took its place before it was confirmed.
    Replaced,
}

/// An entry of the history, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// What `rollback` calls it: 0 is the newest.
    pub number: usize,
    /// When it was applied, in seconds since 1970.
    pub applied_at: u64,
    /// Who applied it.
    pub user: String,
    /// How it came into force.
    pub how: How,
    /// The policy file's name as it was given; `None` when the filter was taken off.
    pub policy: Option<String>,
    /// SHA-256 of the policy file.
    pub digest: Option<String>,
    /// The generation as which it came into force.
    pub generation: Option<u64>,
    /// Whether the kernel follows it now.
    pub in_force: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// Until when it must be confirmed, in seconds since 1970.
    pub confirm_by: Option<u64>,
}

impl History {
    /// The entries, newest first.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let present = self.present().map(|record| record.serial);
        let mut entries = Vec::with_capacity(self.records.len());
        let mut after: Option<&Record> = None;
        for (number, record) in self.records.iter().rev().enumerate() {
            let in_force = present == Some(record.serial);
            let outcome = match (after.map(|after| after.how), &record.condition) {
                (Some(How::Rollback), _) => Outcome::RolledBack,
                (Some(How::Automatic), _) => Outcome::NotConfirmed,
                (_, Condition::None) => Outcome::Applied,
                (_, Condition::Confirmed) => Outcome::Confirmed,
                (_, Condition::Awaiting(_)) if in_force => Outcome::Awaiting,
                (_, Condition::Awaiting(_)) => Outcome::Replaced,
            };
            let awaiting = record.awaiting().filter(|_| in_force);
            entries.push(Entry {
                number,
                applied_at: record.applied_at,
                user: record.user.clone(),
                how: record.how,
                policy: record.name(),
                digest: record.policy.as_ref().map(|policy| policy.digest.clone()),
                generation: record.policy.as_ref().map(|policy| policy.generation),
                in_force,
                outcome,
                confirm_by: awaiting.map(|awaiting| clock::wall_time(awaiting.deadline)),
            });
            after = Some(record);
        }
        entries
    }
}
