//! The clocks of a deadline.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since the machine started, suspension included; nobody sets this clock.
pub(super) fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * NANOSECONDS + part(now.tv_nsec)
}

/// What [`since_boot`] says after `time` from now.
pub(super) fn after(time: Duration) -> u64 {
    since_boot().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// A time of [`since_boot`], for the kernel.
pub(super) fn timespec(nanoseconds: u64) -> Timespec {
    let part = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Timespec { tv_sec: part(nanoseconds / NANOSECONDS), tv_nsec: part(nanoseconds % NANOSECONDS) }
}

/// Seconds from now to a time of [`since_boot`]; negative when it has passed.
pub(super) fn seconds_to(nanoseconds: u64) -> i64 {
    let now = since_boot();
    let seconds = |time: u64| i64::try_from(time.div_ceil(NANOSECONDS)).unwrap_or(i64::MAX);
    if nanoseconds >= now { seconds(nanoseconds - now) } else { -seconds(now - nanoseconds) }
}

/// A time of [`since_boot`] in seconds since 1970, by what the clock on the wall says now.
pub(super) fn wall_time(nanoseconds: u64) -> u64 {
    now().saturating_add_signed(seconds_to(nanoseconds))
}

/// Seconds since 1970.
pub(in crate::filter) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const NANOSECONDS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_as_far_away_as_was_asked_for() {
        let deadline = after(Duration::from_secs(100));
        assert!((99..=100).contains(&seconds_to(deadline)));
        assert!((99..=101).contains(&(wall_time(deadline) - now())));
        let passed = since_boot() - 5 * NANOSECONDS;
        assert!((-6..=-5).contains(&seconds_to(passed)));
        assert_eq!(timespec(1_500_000_000), Timespec { tv_sec: 1, tv_nsec: 500_000_000 });
    }
}
