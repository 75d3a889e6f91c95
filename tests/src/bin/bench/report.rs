//! The results: a table, a file of JSON, and what moved since another file.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::rounds::Measured;

/// Raised when a field gets another meaning.
const SCHEMA: u32 = 1;

/// What is measured together.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Cost of a frame by what is in it
    Packet,
    /// Cost of a frame by the size of the policy
    Scale,
    /// Frames a second through native XDP
    Live,
    /// The same frames through what else could filter labels
    Peers,
    /// The same frames through tc flower, in a virtual machine where this kernel has none
    Flower,
    /// Cost of sampling refused frames
    Sampling,
    /// Time and memory of the commands
    Control,
}

impl Group {
    const fn title(self) -> &'static str {
        match self {
            Self::Packet => "Per frame: nanoseconds over an empty program",
            Self::Scale => "By size of the policy: nanoseconds over an empty program",
            Self::Live => "Live frames through native XDP",
            Self::Peers => "Peers on the same frames",
            Self::Flower => "Peers: tc flower; where a machine is emulated, only ratios count",
            Self::Sampling => {
                "Sampling of refused frames: nanoseconds over an empty program, and live"
            }
            Self::Control => "Commands, loader and memory",
        }
    }
}

/// What a result is counted in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Unit {
    /// Nanoseconds a frame.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Frames a second, as a share of the bare program's.
    #[serde(rename = "ratio")]
    Ratio,
    /// Millions of frames a second.
    #[serde(rename = "Mpps")]
    Rate,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// KiB.
    #[serde(rename = "KiB")]
    Memory,
}

impl Unit {
    const fn decimals(self) -> usize {
        match self {
            Self::Nanoseconds | Self::Rate | Self::Milliseconds => 2,
            Self::Ratio => 3,
            Self::Memory => 0,
        }
    }

    /// Whether the greater figure is the better one.
    const fn grows_better(self) -> bool {
        matches!(self, Self::Ratio | Self::Rate)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Ratio => "ratio",
            Self::Rate => "Mpps",
            Self::Milliseconds => "ms",
            Self::Memory => "KiB",
        })
    }
}

/// Where a result stands in a plot.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Point {
    /// What the plot has on its horizontal axis.
    pub axis: Axis,
    /// The line.
    pub series: String,
    /// The place on the horizontal axis.
    pub at: u32,
}

/// What policies grow by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    Labels,
    Ingresses,
}

/// A result.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    group: Group,
    name: String,
    unit: Unit,
    best: f64,
    median: f64,
    spread: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    point: Option<Point>,
}

/// A whole run.
#[derive(Debug, Deserialize, Serialize)]
pub struct Report {
    schema: u32,
    quick: bool,
    machine: Machine,
    rows: Vec<Row>,
    /// What could not be measured, and what to do about it.
    missing: Vec<String>,
}

impl Report {
    /// Of a run on this machine.
    pub const fn new(machine: Machine, quick: bool) -> Self {
        Self { schema: SCHEMA, quick, machine, rows: Vec::new(), missing: Vec::new() }
    }

    /// Adds a result.
    pub fn add(&mut self, group: Group, name: impl Into<String>, unit: Unit, measured: Measured) {
        self.add_at(group, name, unit, measured, None);
    }

    /// Adds a result that may stand in a plot.
    pub fn add_at(
        &mut self,
        group: Group,
        name: impl Into<String>,
        unit: Unit,
        Measured { best, median, spread }: Measured,
        point: Option<Point>,
    ) {
        self.rows.push(Row { group, name: name.into(), unit, best, median, spread, point });
    }

    /// Takes over the results of a run elsewhere.
    pub fn take(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.missing.extend(other.missing);
    }

    /// Notes what could not be measured.
    pub fn miss(&mut self, what: impl Into<String>) {
        self.missing.push(what.into());
    }

    /// The best of each result that stands in a plot.
    pub fn points(&self, axis: Axis) -> impl Iterator<Item = (&Point, f64)> {
        let points = self.rows.iter().filter_map(|row| Some((row.point.as_ref()?, row.best)));
        points.filter(move |(point, _)| point.axis == axis)
    }

    /// Writes the run as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))
    }

    /// Reads a run.
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not what --json writes", file.display()))
    }

    /// What moved since an earlier run: by more than the spread of both together.
    pub fn compare(&self, earlier: &Self) -> String {
        let key = |row: &Row| (row.group as u8, row.name.clone(), row.unit as u8);
        let before: HashMap<_, _> = earlier.rows.iter().map(|row| (key(row), row)).collect();
        let mut lines = Vec::new();
        let mut still = 0;
        for row in &self.rows {
            let Some(old) = before.get(&key(row)) else { continue };
            let moved = row.best - old.best;
            let spread = row.spread + old.spread;
            if moved.abs() <= spread {
                still += 1;
                continue;
            }
            let verdict = if (moved > 0.0) == row.unit.grows_better() { "better" } else { "WORSE" };
            let decimals = row.unit.decimals();
            lines.push(vec![
                row.name.clone(),
                format!("{:.decimals$}", old.best),
                format!("{:.decimals$}", row.best),
                format!("{moved:+.decimals$}"),
                row.unit.to_string(),
                verdict.to_owned(),
            ]);
        }
        let mut text = String::new();
        if self.machine != earlier.machine {
            text.push_str(
                "The other run was on another machine or kernel; only ratios compare.\n\n",
            );
        }
        if self.quick != earlier.quick {
            text.push_str("One of the runs was quick; its spread is greater.\n\n");
        }
        let _ = write!(text, "{} moved by more than their spread, {still} did not", lines.len());
        if !lines.is_empty() {
            lines.insert(0, ["MOVED", "BEFORE", "NOW", "BY", "", ""].map(str::to_owned).to_vec());
            let _ = write!(text, "\n\n{}", table(&lines));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for group in Group::value_variants() {
            let mut lines =
                vec![[group.title(), "BEST", "MEDIAN", "SPREAD", ""].map(str::to_owned).to_vec()];
            for row in self.rows.iter().filter(|row| row.group == *group) {
                let decimals = row.unit.decimals();
                let figure = |value: f64| format!("{value:.decimals$}");
                lines.push(vec![
                    row.name.clone(),
                    figure(row.best),
                    figure(row.median),
                    figure(row.spread),
                    row.unit.to_string(),
                ]);
            }
            if lines.len() > 1 {
                writeln!(f, "\n{}", table(&lines))?;
            }
        }
        for missing in &self.missing {
            writeln!(f, "\nnot measured: {missing}")?;
        }
        Ok(())
    }
}

/// Columns of text: the first and the last to the left, figures to the right.
fn table(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        lines.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max()
    };
    let text = lines.iter().map(|line| {
        let mut text = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                1..=3 => write!(text, "  {cell:>width$}"),
                _ => write!(text, "  {cell:<width$}"),
            };
        }
        text.trim_end().to_owned()
    });
    text.collect::<Vec<_>>().join("\n")
}
