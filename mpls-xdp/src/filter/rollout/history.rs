//! The last policies: their texts, and what became of each.
//!
//! A record is written before the kernel is switched to its policy, and the manifest that the
//! kernel holds says which record is in force. So the kernel alone decides what has happened,
//! wherever a command dies: a record that the kernel never came to is dropped when the history is
//! read the next time.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    RolloutError,
    record::{Awaiting, InForce, KeptPolicy, Record},
};
use crate::filter::{
    FilterError, Session,
    active::Active,
    baseline, digest,
    session::{unfinished, write},
};

/// How many policies are kept, the one in force included.
pub const KEPT: usize = 10;

impl InForce {
    fn read(session: &Session) -> Result<Self, FilterError> {
        let active = Active::find(&session.pins)?;
        Ok(match active.filter(|active| active.manifest.generation > 0) {
            Some(active) => Self::from(&active.manifest),
            None => Self::Nothing,
        })
    }
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct HistoryFile {
    schema: u32,
    records: Vec<Record>,
}

/// The history as the kernel bears it out.
#[derive(Debug)]
pub(super) struct History {
    folder: PathBuf,
    /// What the file has now, which is not written again without need.
    stored: Vec<Record>,
    /// Oldest first.
    pub(super) records: Vec<Record>,
    pub(super) in_force: InForce,
    /// The serial of the next record.
    pub(super) next: u64,
}

impl History {
    /// Reads the history and holds it against the kernel.
    pub(super) fn read(session: &Session) -> Result<Self, FilterError> {
        Self::of(&session.state, InForce::read(session)?)
    }

    /// Reads the history and holds it against what the kernel follows. Without a session, a command
    /// may change it at any time; what is read is whole.
    pub(super) fn of(state: &Path, in_force: InForce) -> Result<Self, FilterError> {
        let path = file(state);
        let stored = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice::<HistoryFile>(&bytes)
                    .map_err(|source| RolloutError::Damaged { path, source })?
                    .records
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(FilterError::State { path, source }),
        };
        let highest = stored.iter().map(|record| record.serial).max().unwrap_or(0);
        let next = match in_force {
            InForce::Nothing => highest + 1,
            InForce::Record(serial) => highest.max(serial) + 1,
        };
        let records = borne_out(stored.clone(), in_force);
        Ok(Self { folder: state.to_owned(), stored, records, in_force, next })
    }

    /// The record in force: one that took the filter off when no policy is. `None` when nothing was
    /// ever applied, or when what is in force is not in the history.
    pub(super) fn present(&self) -> Option<&Record> {
        match self.in_force {
            InForce::Nothing => self.records.last().filter(|record| record.policy.is_none()),
            InForce::Record(serial) => self.records.iter().find(|record| record.serial == serial),
        }
    }

    pub(super) fn present_mut(&mut self) -> Option<&mut Record> {
        let serial = self.present()?.serial;
        self.records.iter_mut().find(|record| record.serial == serial)
    }

    /// The record in force and the confirmation that it awaits.
    pub(super) fn awaiting(&self) -> Option<(&Record, &Awaiting)> {
        self.present().and_then(|record| Some((record, record.awaiting()?)))
    }

    pub(super) fn find(&self, serial: u64) -> Option<&Record> {
        self.records.iter().find(|record| record.serial == serial)
    }

    /// Writes what has changed. A record that has just been added comes first, so the oldest stay
    /// until it is [`settled`](Self::settle).
    pub(super) fn store(&mut self) -> Result<(), FilterError> {
        if self.stored != self.records {
            let content = HistoryFile { schema: 1, records: self.records.clone() };
            let path = file(&self.folder);
            let bytes = serde_json::to_vec(&content)
                .map_err(|source| RolloutError::Damaged { path: path.clone(), source })?;
            write(&path, &bytes)?;
            self.stored.clone_from(&self.records);
        }
        Ok(())
    }

    /// Holds the history against the kernel once more, forgets what is too old, and writes it.
    pub(super) fn settle(mut self, session: &Session) -> Result<Self, FilterError> {
        self.in_force = InForce::read(session)?;
        self.records = borne_out(std::mem::take(&mut self.records), self.in_force);
        self.forget_the_oldest();
        self.store()?;
        self.tidy_texts()?;
        Ok(self)
    }

    /// Keeps the newest, and the one that the policy in force returns to.
    fn forget_the_oldest(&mut self) {
        let back_to = self.awaiting().and_then(|(_, awaiting)| awaiting.back_to);
        let excess = self.records.len().saturating_sub(KEPT);
        let mut at = 0;
        self.records.retain(|record| {
            at += 1;
            at > excess || Some(record.serial) == back_to
        });
    }

    /// The text of a policy of the history.
    pub(super) fn text(&self, policy: &KeptPolicy) -> Result<String, FilterError> {
        let path = text_file(&self.folder, &policy.digest);
        let lost = || RolloutError::TextLost { name: policy.name.clone(), path: path.clone() };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(lost().into()),
            Err(source) => return Err(FilterError::State { path, source }),
        };
        if digest(text.as_bytes()) == policy.digest { Ok(text) } else { Err(lost().into()) }
    }

    /// Keeps a text for the records to come.
    pub(super) fn keep_text(&self, text: &str) -> Result<(), FilterError> {
        let folder = texts(&self.folder);
        fs::create_dir_all(&folder)
            .map_err(|source| FilterError::State { path: folder, source })?;
        write(&text_file(&self.folder, &digest(text.as_bytes())), text.as_bytes())
    }

    /// Removes the texts that no record has.
    fn tidy_texts(&self) -> Result<(), FilterError> {
        let kept: HashSet<PathBuf> = self
            .records
            .iter()
            .filter_map(|record| record.policy.as_ref())
            .map(|policy| text_file(&self.folder, &policy.digest))
            .collect();
        let folder = texts(&self.folder);
        let error = |source| FilterError::State { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(error)?,
        };
        for entry in entries {
            let path = entry.map_err(error)?.path();
            if !kept.contains(&path) {
                fs::remove_file(&path).map_err(|source| FilterError::State { path, source })?;
            }
        }
        Ok(())
    }
}

/// The records that came true. Of those that the kernel was not seen to follow, only the one that
/// it follows now and older ones did: a newer one is written before the kernel is switched to it.
fn borne_out(mut records: Vec<Record>, in_force: InForce) -> Vec<Record> {
    for record in &mut records {
        record.seen |= match in_force {
            // Only that the filter is off is true at a glance.
            InForce::Nothing => record.policy.is_none(),
            InForce::Record(serial) => record.serial <= serial,
        };
    }
    records.retain(|record| record.seen);
    records
}

/// Removes the history.
pub(in crate::filter) fn forget(session: &Session) -> Result<(), FilterError> {
    let error = |path: PathBuf, source| FilterError::State { path, source };
    for file in [file(&session.state), session.state.join(baseline::FILE)] {
        for path in [unfinished(&file), file] {
            missing_is_fine(fs::remove_file(&path)).map_err(|source| error(path, source))?;
        }
    }
    let texts = texts(&session.state);
    missing_is_fine(fs::remove_dir_all(&texts)).map_err(|source| error(texts, source))
}

fn missing_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("history.json")
}

fn texts(state: &Path) -> PathBuf {
    state.join("policies")
}

fn text_file(state: &Path, digest: &str) -> PathBuf {
    texts(state).join(format!("{digest}.toml"))
}

#[cfg(test)]
mod tests {
    use super::super::{
        entry::Outcome,
        record::{Condition, How},
    };
    use super::*;
    use crate::filter::AttachMode;

    fn record(serial: u64, seen: bool) -> Record {
        let policy = KeptPolicy {
            name: format!("{serial}.toml"),
            digest: serial.to_string(),
            generation: serial,
            mode: AttachMode::Native,
        };
        Record {
            serial,
            applied_at: serial,
            user: "root".to_owned(),
            how: How::Apply,
            policy: Some(policy),
            condition: Condition::None,
            seen,
        }
    }

    fn off(serial: u64) -> Record {
        Record { policy: None, ..record(serial, false) }
    }

    fn awaiting(serial: u64, back_to: Option<u64>) -> Record {
        let awaiting = Awaiting { deadline: 0, back_to, failure: None };
        Record { condition: Condition::Awaiting(awaiting), ..record(serial, true) }
    }

    fn history(records: Vec<Record>, in_force: InForce) -> History {
        let records = borne_out(records, in_force);
        let folder = PathBuf::new();
        History { folder, stored: Vec::new(), records, in_force, next: 0 }
    }

    fn serials(history: &History) -> Vec<u64> {
        history.records.iter().map(|record| record.serial).collect()
    }

    #[test]
    fn a_record_that_the_kernel_never_came_to_is_dropped() {
        let records = || vec![record(1, true), record(2, false), record(3, false)];
        let at = |in_force| serials(&history(records(), in_force));
        assert_eq!(at(InForce::Record(1)), [1]);
        assert_eq!(at(InForce::Record(2)), [1, 2]);
        assert_eq!(at(InForce::Record(3)), [1, 2, 3]);
        assert_eq!(at(InForce::Nothing), [1]);
        // Somebody's policy without a history is in force.
        assert_eq!(at(InForce::Record(0)), [1]);
        assert!(history(records(), InForce::Record(0)).present().is_none());
    }

    #[test]
    fn that_the_filter_is_off_came_true_when_it_is_off() {
        let records = || vec![record(1, true), off(2)];
        let before = history(records(), InForce::Record(1));
        assert_eq!(before.present().map(|record| record.serial), Some(1));
        assert_eq!(serials(&before), [1]);
        let after = history(records(), InForce::Nothing);
        assert_eq!(after.present().map(|record| record.serial), Some(2));
        // What was in force before the machine started anew is past, and nothing took its place.
        assert!(history(vec![record(1, true)], InForce::Nothing).present().is_none());
    }

    #[test]
    fn the_last_ten_are_kept_and_the_way_back() {
        let mut all: Vec<Record> = (1..=14).map(|serial| record(serial, true)).collect();
        let mut kept = history(all.clone(), InForce::Record(14));
        kept.forget_the_oldest();
        assert_eq!(serials(&kept), (5..=14).collect::<Vec<_>>());
        all[13] = awaiting(14, Some(2));
        let mut kept = history(all, InForce::Record(14));
        kept.forget_the_oldest();
        assert_eq!(serials(&kept), [2].into_iter().chain(5..=14).collect::<Vec<_>>());
    }

    #[test]
    fn what_became_of_each() {
        let confirmed = Record { condition: Condition::Confirmed, ..record(2, true) };
        let rollback = Record { how: How::Rollback, ..record(5, true) };
        let automatic = Record { how: How::Automatic, ..record(7, true) };
        let records = vec![
            record(1, true),
            confirmed,
            awaiting(3, Some(2)),
            record(4, true),
            rollback,
            awaiting(6, Some(5)),
            automatic,
            awaiting(8, Some(7)),
        ];
        let history = history(records, InForce::Record(8));
        let outcomes: Vec<Outcome> =
            history.entries().into_iter().rev().map(|entry| entry.outcome).collect();
        let expected = [
            Outcome::Applied,
            Outcome::Confirmed,
            Outcome::Replaced,
            Outcome::RolledBack,
            Outcome::Applied,
            Outcome::NotConfirmed,
            Outcome::Applied,
            Outcome::Awaiting,
        ];
        assert_eq!(outcomes, expected);
        let newest = &history.entries()[0];
        assert!(newest.in_force && newest.number == 0 && newest.confirm_by.is_some());
    }
}
