//! What the figures were taken on.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use rustix::system::uname;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// What makes calls, and so helpers and tail calls, dear.
const MITIGATIONS: [&str; 3] = ["spec_rstack_overflow", "retbleed", "spectre_v2"];

/// A machine, as far as it matters for the figures.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    /// Whether programs are compiled, and whether that is hardened against spraying.
    jit: BTreeMap<String, String>,
    mitigations: BTreeMap<String, String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Result<Self> {
        let file = "/proc/cpuinfo";
        let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
        let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let read = |folder: &str, name: &str| {
            let text = fs::read_to_string(format!("{folder}/{name}"));
            (
                name.to_owned(),
                text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
            )
        };
        Ok(Self {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            processors: processors(&sched_getaffinity(None)?).count(),
            kernel: uname().release().to_string_lossy().into_owned(),
            jit: ["bpf_jit_enable", "bpf_jit_harden"]
                .map(|name| read("/proc/sys/net/core", name))
                .into(),
            mitigations: MITIGATIONS
                .map(|name| read("/sys/devices/system/cpu/vulnerabilities", name))
                .into(),
        })
    }

    /// What would make the figures say little.
    pub fn doubts(&self) -> Vec<String> {
        let jit = self.jit.get("bpf_jit_enable").is_some_and(|value| value == "0");
        let mut doubts = Vec::new();
        if jit {
            doubts.push("net.core.bpf_jit_enable is 0: programs are interpreted".to_owned());
        }
        if let Some(load) = load()
            && load >= 0.5
        {
            doubts.push(format!("others are at work on this machine (load {load})"));
        }
        doubts
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} × {}, Linux {}", self.processors, self.processor, self.kernel)?;
        for (name, value) in self.jit.iter().chain(&self.mitigations) {
            writeln!(f, "{name}: {value}")?;
        }
        Ok(())
    }
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn processors(set: &CpuSet) -> impl Iterator<Item = usize> {
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor))
}

/// Keeps this thread, and those that it starts, on the last of its CPUs: the first ones have the
/// more interrupts to serve.
pub fn pin() -> Result<()> {
    let last = processors(&sched_getaffinity(None)?).last().context("no CPU to run on")?;
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only).with_context(|| format!("running on CPU {last}"))
}
