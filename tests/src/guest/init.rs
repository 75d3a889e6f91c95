//! The first process of a guest.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot, uname};
use serde::Deserialize;
use serde_json::{Value, json};

use super::report::{Report, Written};
use crate::lab::PATIENCE;

/// What is mounted where.
const MOUNTS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("bpf", "/sys/fs/bpf"),
];
const TASK: &str = "/task.json";
/// Where the verdict goes out: the first port of virtio.
const VERDICT: &str = "/dev/vport0p1";
/// How often to look whether it has appeared after its driver.
const INTERVAL: Duration = Duration::from_millis(5);

/// What the guest was booted for.
#[derive(Deserialize)]
struct Task {
    program: PathBuf,
    arguments: Vec<String>,
    /// Paths, each after those that it needs.
    modules: Vec<PathBuf>,
    /// What the program leaves if it is there to measure.
    results: PathBuf,
}

/// How it went.
struct Ended {
    well: bool,
    how: String,
    results: Option<Value>,
}

/// Prepares the guest, runs the program that it was booted for, hands the verdict out and powers
/// off.
///
/// # Errors
///
/// Only when even that cannot be done; the kernel panics when the first process ends.
pub fn init() -> Result<()> {
    let ended = run().unwrap_or_else(|error| Ended {
        well: false,
        how: format!("{error:#}"),
        results: None,
    });
    println!("guest: the program ended with {}", ended.how);
    io::stdout().flush()?;
    hand_out(&verdict(&ended)).context("handing the verdict out")?;
    reboot(RebootCommand::PowerOff).context("powering off")
}

fn run() -> Result<Ended> {
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place)?;
        mount(kind, place, kind, MountFlags::empty(), None)
            .with_context(|| format!("mounting {kind} at {place}"))?;
    }
    let task = fs::read(TASK).with_context(|| format!("reading {TASK}"))?;
    let Task { program, arguments, modules, results } = serde_json::from_slice(&task)?;
    for module in &modules {
        load(module).with_context(|| format!("loading {}", module.display()))?;
    }
    let status = Command::new(&program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", "/bin"), ("HOME", "/"), ("RUST_BACKTRACE", "1")])
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    let results = fs::read(results).ok().and_then(|text| serde_json::from_slice(&text).ok());
    Ok(Ended { well: status.success(), how: status.to_string(), results })
}

fn load(module: &Path) -> Result<()> {
    let file = File::open(module)?;
    let no_parameters = CString::default();
    Ok(finit_module(file.as_fd(), &no_parameters, 0)?)
}

/// The one object that says how it went.
fn verdict(ended: &Ended) -> Value {
    // A program without checks of its own has written no report.
    let Written { checks, complete } = Report::written().unwrap_or_default();
    let checks_passed = checks.iter().all(|check| check.passed);
    json!({
        "kernel": uname().release().to_string_lossy(),
        "passed": ended.well && complete && checks_passed,
        "ended": ended.how,
        "checks": checks,
        "results": ended.results,
    })
}

fn hand_out(verdict: &Value) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !Path::new(VERDICT).exists() {
        anyhow::ensure!(Instant::now() < deadline, "there is no {VERDICT}");
        thread::sleep(INTERVAL);
    }
    let mut port = File::options().write(true).open(VERDICT)?;
    Ok(port.write_all(verdict.to_string().as_bytes())?)
}
