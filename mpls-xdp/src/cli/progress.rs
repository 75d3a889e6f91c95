//! A sign of life for what takes long.

use std::{
    convert::Infallible,
    io::{IsTerminal as _, Write as _, stderr},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::text;

/// Before that nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);
/// To the first column, and clear the line (ECMA-48 CR and EL).
const CLEAR: &str = "\r\x1b[K";

/// Does `work`. When that takes more than a second, a line on standard error says what is being
/// done and since when, and how far the counter is that `work` gets; only on a terminal.
pub(super) fn during<T>(what: &str, work: impl FnOnce(&AtomicU64) -> T) -> T {
    let count = &AtomicU64::new(0);
    if !stderr().is_terminal() {
        return work(count);
    }
    let (working, ended) = mpsc::channel::<Infallible>();
    thread::scope(|scope| {
        scope.spawn(move || show(what, count, &ended));
        // Also ends the line when `work` panics.
        let _working = working;
        work(count)
    })
}

fn show(what: &str, count: &AtomicU64, ended: &Receiver<Infallible>) {
    let start = Instant::now();
    let mut wait = PATIENCE;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let so_far = match count.load(Ordering::Relaxed) {
            0 => String::new(),
            count => format!(", {}", text::thousands(count)),
        };
        // Nobody misses the line when it cannot be written.
        write!(stderr(), "{CLEAR}{what}{so_far} ({} s)", start.elapsed().as_secs()).ok();
        wait = INTERVAL;
    }
    if wait == INTERVAL {
        write!(stderr(), "{CLEAR}").ok();
    }
}

/// A line on a terminal that says how long it takes still.
pub(super) struct Countdown {
    is_terminal: bool,
    /// Seconds that are shown.
    shown: Option<u64>,
}

impl Countdown {
    pub(super) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal(), shown: None }
    }

    /// Shows the time that is left and what was done, once a second.
    pub(super) fn show(&mut self, left: Duration, done: impl FnOnce() -> String) {
        let seconds = left.as_secs();
        if self.is_terminal && self.shown != Some(seconds) {
            self.shown = Some(seconds);
            write!(stderr(), "{CLEAR}{seconds} s left, {}", done()).ok();
        }
    }

    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            write!(stderr(), "{CLEAR}").ok();
        }
    }
}
