//! Counters that are looked at again and again.

use std::{collections::VecDeque, time::Duration};

use mpls_xdp::filter::CounterRow;

use crate::cli::text;

/// How many rates are remembered.
const REMEMBERED: usize = 200;

/// A counter and how fast it grew between the last two looks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    /// What was counted in all.
    pub(super) total: CounterRow,
    /// Frames a second.
    pub(super) packets: f64,
    /// Bits a second.
    pub(super) bits: f64,
}

impl Meter {
    /// The meter after `elapsed`; at the first look there is no rate yet.
    pub(super) fn next(before: Option<&Self>, total: CounterRow, elapsed: Duration) -> Self {
        let Some(before) = before else { return Self { total, ..Self::default() } };
        let rate = |new: u64, old: u64| {
            // A counter that is smaller was made anew.
            let grown = new.checked_sub(old).unwrap_or(new);
            grown as f64 / elapsed.as_secs_f64().max(f64::EPSILON)
        };
        Self {
            total,
            packets: rate(total.packets, before.total.packets),
            bits: rate(total.bytes, before.total.bytes) * 8.0,
        }
    }
}

/// The rates of the last looks, in frames a second.
#[derive(Debug, Clone, Default)]
pub(super) struct History(VecDeque<f64>);

impl History {
    pub(super) fn push(&mut self, rate: f64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(rate);
    }

    /// A bar for each of the last `width` rates, the newest last. Its own highest is full; whatever
    /// is more than nothing shows.
    pub(super) fn bars(&self, width: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let shown = self.0.iter().skip(self.0.len().saturating_sub(width));
        let highest = shown.clone().copied().fold(0.0, f64::max);
        let bar = |rate: &f64| {
            let bar = BARS
                .iter()
                .zip(1..)
                .find(|(_, eighths)| *rate > 0.0 && *rate <= highest * f64::from(*eighths) / 8.0);
            bar.map_or(' ', |(bar, _)| *bar)
        };
        let bars: String = shown.map(bar).collect();
        format!("{bars:>width$}")
    }
}

/// A number in at most seven characters. What is more than nothing never looks like nothing.
pub(super) fn short(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        ..0.1 => "<0.1".to_owned(),
        // A second is never exactly one.
        ..9.95 if (number - number.round()).abs() >= 0.05 => format!("{number:.1}"),
        ..999_999.5 => text::thousands(whole(number)),
        ..999.5e6 => format!("{:.1}M", number / 1e6),
        ..999.5e9 => format!("{:.1}G", number / 1e9),
        _ => format!("{:.1}T", number / 1e12),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, positive and below a million"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(packets: u64, bytes: u64) -> CounterRow {
        CounterRow { packets, bytes }
    }

    #[test]
    fn a_rate_is_what_came_between_two_looks() {
        let second = Duration::from_secs(1);
        let first = Meter::next(None, row(1_000, 64_000), second);
        assert_eq!((first.packets, first.bits), (0.0, 0.0));
        let next = Meter::next(Some(&first), row(1_500, 96_000), second * 2);
        assert_eq!((next.total.packets, next.packets, next.bits), (1_500, 250.0, 128_000.0));
        let anew = Meter::next(Some(&next), row(20, 1_280), second);
        assert_eq!((anew.packets, anew.bits), (20.0, 10_240.0));
    }

    #[test]
    fn bars_show_everything_that_was_not_nothing() {
        let mut history = History::default();
        assert_eq!(history.bars(3), "   ");
        for rate in [0.0, 1.0, 1_000.0, 500.0, 0.0] {
            history.push(rate);
        }
        assert_eq!(history.bars(7), "   ▁█▄ ");
        assert_eq!(history.bars(2), "█ ");
        for _ in 0..2 * REMEMBERED {
            history.push(1.0);
        }
        assert_eq!(history.0.len(), REMEMBERED);
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.01, "<0.1"),
            (0.5, "0.5"),
            (2.99, "3"),
            (3.3, "3.3"),
            (9.94, "9.9"),
            (10.4, "10"),
            (999_999.0, "999,999"),
            (1_000_000.0, "1.0M"),
            (14_880_952.0, "14.9M"),
            (9.99e9, "10.0G"),
            (1e13, "10.0T"),
        ] {
            assert_eq!(short(number), text);
            assert!(short(number).len() <= 7);
        }
    }
}
