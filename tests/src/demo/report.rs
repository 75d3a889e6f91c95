//! What the demo prints. No line of its own is wider than a terminal of 80 columns.

use std::io::{Result, Write};

use super::traffic::{Case, Fate, Side};

/// Prints what there is to see.
pub(super) fn introduction(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\
A router obeys every label that it knows, whoever wrote it. mpls-xdp drops the
labels that were not given to the neighbour they come from. Here it does so on a
PE router, pe1, with three neighbours, each in a network namespace of its own:

    site-red-1 ────────────── eth1 ┐
    (customer)                     │
                                  pe1  VRF red  = label 100
    peer-as65010 ─ VLAN 100 ─ eth2 │   VRF blue = label 200
    (another AS, option B)         │   own SID  = label 16001, popped here
                                   │
    core-p1 ───────────────── eth3 ┘
    (own backbone)

The policy, tests/src/demo/policy.toml, goes in force at the driver hook of
pe1's interfaces. Each frame below leaves the neighbour's interface; it has
passed when a packet socket on pe1's interface gets it, unchanged. Under each
frame stands why it is welcome, or what it would do."
    )
}

/// Prints how many of the frames reach the router that has no filter.
pub(super) fn unfiltered(out: &mut impl Write, frames: usize, arrived: usize) -> Result<()> {
    writeln!(out, "\nWithout the filter, {arrived} of {frames} frames reach pe1's kernel.")
}

/// Prints a call of the product and what it said.
pub(super) fn command(out: &mut impl Write, call: &str, said: &str) -> Result<()> {
    writeln!(out, "\npe1# {call}")?;
    if !said.is_empty() {
        writeln!(out, "{said}")?;
    }
    Ok(())
}

/// Prints what became of a neighbour's frames and returns how many met a wrong fate.
pub(super) fn side(out: &mut impl Write, side: &Side, arrived: &[bool]) -> Result<usize> {
    writeln!(out, "\nFrom {} to {}", side.neighbour, side.interface)?;
    writeln!(out, "({})\n", side.terms)?;
    writeln!(out, "{}", row([" ", "SENT", "CAME OUT", "EXPECTED", "REASON"]))?;
    let mut wrong = 0;
    for (case, &arrived) in side.cases.iter().zip(arrived) {
        let right = arrived == (case.fate == Fate::Pass);
        wrong += usize::from(!right);
        write!(out, "{}", lines(case, arrived, right))?;
    }
    Ok(wrong)
}

/// The two lines of a frame.
fn lines(case: &Case, arrived: bool, right: bool) -> String {
    let word = |passed: bool| if passed { "passed" } else { "dropped" };
    let mark = if right { "✓" } else { "✗" };
    let (expected, reason) = match case.fate {
        Fate::Pass => (word(true), ""),
        Fate::Drop(reason) => (word(false), reason),
    };
    let verdict = row([mark, case.what, word(arrived), expected, reason]);
    format!("{verdict}\n    {}\n", case.because)
}

/// A line of the table.
fn row([mark, what, came_out, expected, reason]: [&str; 5]) -> String {
    let line = format!("{mark} {what:<29} {came_out:<9} {expected:<9} {reason}");
    line.trim_end().to_owned()
}

/// Prints how it all went.
pub(super) fn summary(
    out: &mut impl Write,
    frames: usize,
    wrong: usize,
    miscounted: &[String],
) -> Result<()> {
    let right = frames - wrong;
    writeln!(out, "\n{right} of {frames} frames met the fate that they were to meet.")?;
    if miscounted.is_empty() {
        writeln!(out, "Every frame and every byte is in the counter where it belongs.")?;
    } else {
        writeln!(out, "Counters that do not agree with what was sent:")?;
    }
    for difference in miscounted {
        writeln!(out, "    {difference}")?;
    }
    writeln!(out, "The lab is taken down; nothing of it is left.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sides;

    fn printed(print: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_fit_into_80_columns() {
        let text = printed(|out| {
            introduction(out)?;
            unfiltered(out, 30, 30)?;
            for one in sides() {
                side(out, &one, &vec![true; one.cases.len()])?;
            }
            summary(out, 30, 1, &[])
        });
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn wrong_fates_are_marked_and_counted() {
        let [customer, ..] = sides();
        let text = printed(|out| {
            assert_eq!(side(out, &customer, &[true, true, false, false, false, true])?, 2);
            Ok(())
        });
        assert_eq!(text.matches('✗').count(), 2);
        assert_eq!(text.matches('✓').count(), 4);
    }
}
