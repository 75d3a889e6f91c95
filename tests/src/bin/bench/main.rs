//! Measures the filter: `cargo xtask bench`, as root.
//!
//! Everything happens in network namespaces of its own, and goes with the process. Candidates are
//! measured in turns within one run, and what is said is differences and ratios within that run.

mod bpf;
mod control;
mod flower;
mod lanes;
mod live;
mod machine;
mod memory;
mod packet;
mod peers;
mod plot;
mod policies;
mod programs;
mod report;
mod rounds;
mod sampling;
mod scale;
mod stand;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use mpls_xdp_tests::lab::require_root;

use self::machine::Machine;
use self::report::{Group, Report};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask bench",
    about = "Measures the filter beside bare programs and what else could filter labels (root)",
    after_help = "BEST is the 5th percentile of the rounds less that of the base, MEDIAN that of \
                  the differences, SPREAD how far BEST differs between the quarters of the rounds."
)]
struct Arguments {
    /// Fewer rounds and smaller tables: for a first look, not for figures
    #[arg(long)]
    quick: bool,
    /// Only this group; may be given again
    #[arg(long, value_name = "GROUP")]
    only: Vec<Group>,
    /// Another mpls-xdp, whose filter stands beside in the group `sampling`
    #[arg(long, value_name = "BINARY")]
    beside: Option<PathBuf>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Say what moved since the run that FILE is of, by more than the spread
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Draw cost against labels and ingresses as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// How much is done for a result.
struct Effort {
    quick: bool,
    rounds: usize,
    /// Test runs of a program in a round. Below some thousand, getting warm dominates.
    repeat: u32,
    /// Live frames in a round.
    frames: u32,
}

impl Effort {
    const WHOLE: Self = Self { quick: false, rounds: 40, repeat: 100_000, frames: 200_000 };
    const QUICK: Self = Self { quick: true, rounds: 8, repeat: 50_000, frames: 100_000 };

    /// How often a command is run that reads so many labels.
    const fn repeats(&self, labels: u32) -> usize {
        match (self.quick, labels) {
            (true, 500_000..) => 1,
            (true, _) => 3,
            (false, 500_000..) => 4,
            (false, _) => 12,
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    require_root()?;
    let earlier = arguments.compare.as_deref().map(Report::read).transpose()?;
    let machine = Machine::this()?;
    for doubt in machine.doubts() {
        eprintln!("bench: {doubt}");
    }
    let effort = if arguments.quick { Effort::QUICK } else { Effort::WHOLE };
    let mut report = Report::new(machine, arguments.quick);
    // A process starts with what its parent has, which counts towards its peak: the commands come
    // before what fills this one's memory. They stand last in the report.
    for group in Group::value_variants().iter().rev() {
        if arguments.only.is_empty() || arguments.only.contains(group) {
            eprintln!("bench: {}", name(*group));
            measure(*group, &effort, &mut report, arguments.beside.as_deref())
                .with_context(|| format!("group {}", name(*group)))?;
        }
    }
    print!("{report}");
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    if let Some(file) = &arguments.plot {
        plot::draw(&report, file)?;
    }
    if let Some(earlier) = earlier {
        println!("\n{}", report.compare(&earlier));
    }
    Ok(())
}

fn name(group: Group) -> String {
    group.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Measures a group, on one CPU if it is about frames; commands may use all.
fn measure(
    group: Group,
    effort: &Effort,
    report: &mut Report,
    beside: Option<&Path>,
) -> Result<()> {
    if group == Group::Control {
        return control::measure(effort, report);
    }
    thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            machine::pin()?;
            match group {
                Group::Packet => packet::measure(effort, report),
                Group::Scale => scale::measure(effort, report),
                Group::Live => live::measure(effort, report),
                Group::Peers => peers::measure(effort, report),
                Group::Flower => flower::measure(effort, report),
                Group::Sampling => sampling::measure(effort, report, beside),
                Group::Control => Ok(()),
            }
        });
        measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
