//! Debian's stock kernels in an emulator: `cargo xtask vm --help`.

mod archive;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod qemu;
mod table;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Subcommand;

use crate::cargo;
use guest::{BENCH, CHECKS, Guest, PE_DEMO, RESULTS};
use kernel::{Kernel, NEWEST, OLDEST, SERIES, SUITES, Series};
use machine::{Machine, Outcome};
use qemu::Qemu;
use verdict::Verdict;

/// What to do in a virtual machine.
#[derive(Subcommand)]
pub enum Task {
    /// Try the filter on stock kernels and real drivers; without --kernel on the oldest and newest
    Test {
        /// Which kernel: 6.1, 6.12, 7.2, newest or all; may be given more than once
        #[arg(long = "kernel", value_name = "NAME")]
        kernels: Vec<String>,
        /// Only checks with this text in their names; may be given more than once
        #[arg(long = "check", value_name = "TEXT")]
        checks: Vec<String>,
        /// Look for newer releases of the kernels that are there already
        #[arg(long)]
        update: bool,
    },
    /// Show the attack and its end on a router with MPLS forwarding
    Demo {
        /// Which kernel: 6.1, 6.12, 7.2 or newest
        #[arg(long, value_name = "NAME", default_value = NEWEST)]
        kernel: String,
        /// Look for a newer release of the kernel
        #[arg(long)]
        update: bool,
    },
    /// Measure the filter beside tc flower, as `cargo xtask bench` does where the kernel has none
    Bench {
        /// Which kernel: 6.1, 6.12, 7.2 or newest
        #[arg(long, value_name = "NAME", default_value = NEWEST)]
        kernel: String,
        /// Fewer rounds
        #[arg(long)]
        quick: bool,
        /// Write the results as JSON
        #[arg(long, value_name = "FILE")]
        results: Option<PathBuf>,
    },
}

/// Does it.
pub fn run(task: Task) -> Result<()> {
    match task {
        Task::Test { kernels, checks, update } => test(&selected(&kernels)?, &checks, update),
        Task::Demo { kernel, update } => demo(&selected(&[kernel])?, update),
        Task::Bench { kernel, quick, results } => {
            bench(&selected(&[kernel])?, quick, results.as_deref())
        }
    }
}

/// The kernels of these names, each once.
fn selected(names: &[String]) -> Result<Vec<Series>> {
    let names: Vec<_> = match names {
        [] => vec![OLDEST, NEWEST],
        names => names.iter().map(String::as_str).collect(),
    };
    let mut selected: Vec<Series> = Vec::new();
    for name in names {
        let series = if name == "all" {
            SERIES.to_vec()
        } else {
            let known = SERIES.map(|series| series.name).join(", ");
            let found = Series::find(name);
            vec![found.with_context(|| format!("no kernel is called {name}: {known} or all"))?]
        };
        selected.extend(series);
    }
    // In the order of the list, and newest after a series that it may belong to.
    Ok(SERIES.into_iter().filter(|series| selected.contains(series)).collect())
}

fn test(series: &[Series], checks: &[String], update: bool) -> Result<()> {
    let (qemu, kernels) = prepare(series, update)?;
    CHECKS.build()?;
    let outcomes = boot_all(&qemu, &kernels, checks)?;
    for (kernel, outcome) in kernels.iter().zip(&outcomes) {
        table::failures(kernel, outcome);
    }
    table::print(&kernels, &outcomes);
    let all = kernels.iter().zip(&outcomes);
    let failed = all.filter(|(kernel, outcome)| !passed(kernel, outcome)).count();
    ensure!(failed == 0, "{failed} of {} kernels failed", outcomes.len());
    Ok(())
}

fn demo(series: &[Series], update: bool) -> Result<()> {
    let (qemu, kernels) = prepare(series, update)?;
    PE_DEMO.build()?;
    kernels.iter().try_for_each(|kernel| watch(&qemu, kernel, &PE_DEMO, &[]).map(drop))
}

fn bench(series: &[Series], quick: bool, file: Option<&Path>) -> Result<()> {
    let (qemu, kernels) = prepare(series, false)?;
    let [kernel] = &kernels[..] else { bail!("one kernel is measured, not {}", kernels.len()) };
    BENCH.build()?;
    let mut arguments = ["--only", "flower", "--json", RESULTS].map(str::to_owned).to_vec();
    arguments.extend(quick.then(|| "--quick".to_owned()));
    let results = watch(&qemu, kernel, &BENCH, &arguments)?.results;
    let results = results.context("the guest left no results")?;
    if let Some(file) = file {
        let text = results.to_string();
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Boots a guest whose console is shown, and returns what it says at its end.
fn watch(qemu: &Qemu, kernel: &Kernel, guest: &Guest, arguments: &[String]) -> Result<Verdict> {
    let outcome = machine(qemu, kernel, guest, arguments, true)?.run()?;
    let verdict = outcome.verdict.with_context(|| format!("the guest {}", kernel.release))?;
    ensure!(verdict.passed, "{} ended with {}", guest.program, verdict.ended);
    Ok(verdict)
}

/// Whether the guest booted the right kernel and found everything as it should be.
fn passed(kernel: &Kernel, outcome: &Outcome) -> bool {
    let verdict = outcome.verdict.as_ref();
    verdict.is_ok_and(|verdict| verdict.passed && verdict.kernel == kernel.release)
}

fn folder() -> PathBuf {
    cargo::target().join("vm")
}

/// The names of these series.
fn asked_for(series: &[Series]) -> String {
    series.iter().map(|series| series.name).collect::<Vec<_>>().join(", ")
}

/// The emulator and the kernels, fetched where they are missing.
fn prepare(series: &[Series], update: bool) -> Result<(Qemu, Vec<Kernel>)> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    let qemu = Qemu::find(&folder)?;
    let kernels = kernels(series, &folder, update)?;
    println!("{}", qemu.version()?);
    for kernel in &kernels {
        println!("kernel {}: {}", kernel.name, kernel.release);
    }
    Ok((qemu, kernels))
}

fn kernels(series: &[Series], folder: &Path, update: bool) -> Result<Vec<Kernel>> {
    let place = folder.join("kernels");
    let cached: Option<Vec<_>> = series.iter().map(|series| series.cached(&place)).collect();
    let mut kernels = match cached {
        Some(kernels) if !update => kernels,
        _ => archive::fetch(&folder.join("apt-kernels"), &SUITES, |archive| {
            series.iter().map(|series| series.fetch(archive, &place)).collect::<Result<_>>()
        })
        .with_context(|| format!("not every kernel can be had: {}", asked_for(series)))?,
    };
    // The newest may be one that is named already.
    kernels.dedup_by(|later, earlier| later.release == earlier.release);
    Ok(kernels)
}

/// Boots a guest with the checks on each kernel, as many at a time as there are processors.
fn boot_all(qemu: &Qemu, kernels: &[Kernel], checks: &[String]) -> Result<Vec<Outcome>> {
    let at_a_time = thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
    let next = Mutex::new(0..kernels.len());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let next = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(number) = next else { break };
                    let outcome = machine(qemu, &kernels[number], &CHECKS, checks, false)
                        .and_then(|machine| machine.run());
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((number, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|&(number, _)| number);
    ensure!(done.len() == kernels.len(), anyhow!("a guest was not booted"));
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn machine<'a>(
    qemu: &'a Qemu,
    kernel: &'a Kernel,
    guest: &'a Guest,
    arguments: &'a [String],
    live: bool,
) -> Result<Machine<'a>> {
    let folder = folder().join("runs").join(format!("{}-{}", guest.program, kernel.name));
    fs::create_dir_all(&folder)?;
    println!("booting {}; its console is in {}", kernel.release, folder.display());
    Ok(Machine { qemu, kernel, guest, arguments, folder, live })
}
