//! The process that returns to the policy before when no confirmation comes.
//!
//! It holds locks on the folder of the state while it lives, so that others know of it without a
//! number that might be somebody else's meanwhile: one that keeps a second such process away, and
//! one that can be seen without being taken. What it does is decided anew each time, from the
//! history and the kernel, with all other commands kept out.

use std::{
    fs::{File, TryLockError},
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};

use super::{
    Change, Condition, Earlier, History, How, InForce, Notice, RolloutError, Terms,
    change::returns_to, clock,
};
use crate::{
    filter::{
        FilterError, Folders, Session,
        hold::{self, Hold, hold},
    },
    router,
};

/// After how long an attempt that failed is made again.
const RETRY: Duration = Duration::from_secs(5);

/// Waits as long as the policy in force awaits a confirmation, and returns to the one before when
/// none has come in time. Calls `ready` when it watches; until then nothing may depend on it. Calls
/// `tell` for what happens then.
///
/// # Errors
///
/// When another process watches already, or the state is gone.
pub fn watch(
    folders: &Folders,
    ready: impl FnOnce(),
    tell: &dyn Fn(&Notice),
) -> Result<(), FilterError> {
    let state = folders.state_of(router::namespace_cookie()?);
    let Some(lock) = lock(&state)? else {
        let error = io::Error::new(io::ErrorKind::ResourceBusy, "another process watches already");
        return Err(RolloutError::Wait(error).into());
    };
    let alarm = Alarm::new(&state).map_err(wait_failed)?;
    ready();
    let result = wait(folders, &state, lock, &alarm, tell);
    if let Err(error) = &result {
        tell(&Notice::GaveUp { error: error.to_string() });
    }
    result
}

/// Looks whenever something has changed or it is time, until nothing is awaited any more.
fn wait(
    folders: &Folders,
    state: &Path,
    lock: File,
    alarm: &Alarm,
    tell: &dyn Fn(&Notice),
) -> Result<(), FilterError> {
    let mut told = None;
    loop {
        let next = match Session::open(folders, || ()) {
            Ok(session) => {
                let next = look(&session, tell);
                // What this process wrote itself must not wake it.
                alarm.forget_changes().map_err(wait_failed)?;
                if let Ok(None) = next {
                    // While no other command can start to count on it.
                    drop(lock);
                    return Ok(());
                }
                next
            }
            Err(error) if !state.exists() => return Err(error),
            Err(error) => Err(error),
        };
        let until = match next {
            Ok(deadline) => {
                told = None;
                deadline.unwrap_or_default()
            }
            Err(error) => {
                // Once, not with each attempt.
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    tell(&Notice::CannotLook { error: error.clone() });
                    told = Some(error);
                }
                clock::after(RETRY)
            }
        };
        alarm.wait(until).map_err(wait_failed)?;
    }
}

fn wait_failed(error: Errno) -> FilterError {
    RolloutError::Wait(error.into()).into()
}

/// Returns to the policy before if it is time; otherwise says when to look again, or that there is
/// nothing to wait for.
fn look(session: &Session, tell: &dyn Fn(&Notice)) -> Result<Option<u64>, FilterError> {
    let history = History::read(session)?;
    let Some((record, awaiting)) = history.awaiting() else {
        if history.in_force != InForce::Nothing && history.present().is_none() {
            // It cannot be known any more what awaits a confirmation.
            tell(&Notice::GaveUp { error: RolloutError::NotInHistory.to_string() });
        }
        return Ok(None);
    };
    let expired = record.name().unwrap_or_default();
    if clock::since_boot() < awaiting.deadline {
        return Ok(Some(awaiting.deadline));
    }
    let target = returns_to(&history, awaiting);
    let returned = target
        .and_then(|target| Change::back_to(session, history, target, How::Automatic, false))
        .and_then(|change| change.carry_out(session, Terms::Stays, || Ok(())));
    let trouble = returned.err().map(|error| error.to_string());
    let mut history = History::read(session)?;
    let present = history.present_mut();
    let in_force = present.as_ref().and_then(|record| record.policy.as_ref()).map(Earlier::from);
    let condition = present.map(|record| &mut record.condition);
    match (trouble, condition, in_force) {
        (Some(error), Some(Condition::Awaiting(awaiting)), Some(expired)) => {
            // Once, not with each attempt.
            if awaiting.failure.as_ref() != Some(&error) {
                tell(&Notice::CannotGoBack { expired, error: error.clone() });
            }
            awaiting.failure = Some(error);
            history.store()?;
            Ok(Some(clock::after(RETRY)))
        }
        // What failed, did so only after the old policy was in force again.
        (trouble, _, in_force) => {
            tell(&Notice::WentBack { expired, in_force, trouble });
            Ok(None)
        }
    }
}

/// Whether a process watches. Keeps none from it.
pub(super) fn is_watched(state: &Path) -> Result<bool, FilterError> {
    let held = File::open(state).and_then(hold::is_held);
    held.map_err(|source| FilterError::State { path: state.to_owned(), source })
}

/// The locks of the process that watches; `None` when another process has them.
fn lock(state: &Path) -> Result<Option<File>, FilterError> {
    let locked = File::open(state).and_then(|folder| match folder.try_lock() {
        Ok(()) => Ok(hold(&folder, Hold::Shared)?.then_some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    });
    locked.map_err(|source| FilterError::State { path: state.to_owned(), source })
}

/// Wakes when a file of the state changes, or at a time.
struct Alarm {
    changes: OwnedFd,
    timer: OwnedFd,
}

impl Alarm {
    fn new(state: &Path) -> rustix::io::Result<Self> {
        use inotify::{CreateFlags, WatchFlags};
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let which = WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::DELETE_SELF;
        inotify::add_watch(&changes, state, which)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { changes, timer: timerfd_create(TimerfdClockId::Boottime, flags)? })
    }

    fn forget_changes(&self) -> rustix::io::Result<()> {
        let mut events = [0; 4096];
        loop {
            match rustix::io::read(&self.changes, &mut events) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a change, or until `time` of [`clock::since_boot`].
    fn wait(&self, time: u64) -> rustix::io::Result<()> {
        // All zero would turn the timer off.
        let it_value = clock::timespec(time.max(1));
        let setting = Itimerspec { it_interval: clock::timespec(0), it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
        let mut either = [
            PollFd::from_borrowed_fd(self.changes.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
        ];
        match poll(&mut either, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
