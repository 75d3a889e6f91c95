//! Numbers, times, tables and colours for people.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use jiff::{Timestamp, tz::TimeZone};

/// Says when `anstream` lets colours through.
pub(super) fn set_color(when: ColorChoice) {
    match when {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// What was dropped or is wrong; to be printed with `anstream`.
pub(super) fn bad(text: &str) -> String {
    painted(AnsiColor::Red.on_default().bold(), text)
}

/// What would be dropped; to be printed with `anstream`.
pub(super) fn doubtful(text: &str) -> String {
    painted(AnsiColor::Yellow.on_default(), text)
}

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Seconds since 1970 as the time of this router's zone.
pub(super) fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A number with its thousands apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time as it is given to a command: in the greatest unit that says it without a fraction, and to
/// the second.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => {
            format!("{}h", seconds / 3600)
        }
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// A number and what it counts.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// Rows with their columns aligned: the first `left` to the left, numbers to the right.
pub(super) fn table(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Columns that text for people takes at most.
const WIDTH: usize = 80;

/// A paragraph in lines of at most 80 columns: `first` before the first one, and as much space
/// before the others. A word that is longer has a line to itself.
pub(super) fn paragraph(first: &str, text: &str) -> String {
    let indent = first.chars().count();
    let mut lines = vec![first.to_owned()];
    let mut column = indent;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > WIDTH {
            lines.push(" ".repeat(indent));
            column = indent;
        }
        let line = lines.last_mut().expect("the first line is there");
        if column > indent {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += width;
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_stays_within_its_columns() {
        let word = "x".repeat(25);
        let text = format!("{word} {word}  {word}\n{word}");
        let indented = format!("  - {word} {word}\n    {word} {word}\n");
        assert_eq!(paragraph("  - ", &text), indented);
        assert_eq!(paragraph("", &text), format!("{word} {word} {word}\n{word}\n"));
        let long = "y".repeat(100);
        assert_eq!(paragraph("  ", &format!("a {long} b")), format!("  a\n  {long}\n  b\n"));
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_duration_can_be_given_again() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (90, "90s"), (7200, "2h")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "1"], ["long", "1,000"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1), "a         1\nlong  1,000\n");
    }
}
