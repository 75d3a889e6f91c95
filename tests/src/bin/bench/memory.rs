//! What the kernel holds for a policy.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{MapInfo, MapType};
use mpls_xdp_tests::leak::Objects;

use super::bpf::array_word;

/// The name of maps with counters of each CPU.
const COUNTERS: &str = "mpls_counters";

/// Kernel memory, in KiB.
pub struct Memory {
    /// Of maps that have one value for all CPUs.
    pub shared: f64,
    /// Of maps with counters of each CPU.
    pub per_cpu: f64,
}

impl Memory {
    /// Of all maps that are pinned in a bpffs, that its programs use, or that stand in such a map.
    pub fn of(bpffs: &Path) -> Result<Self> {
        let mut waiting: Vec<u32> = Objects::pinned_under(bpffs)?.maps.into_keys().collect();
        let mut seen = BTreeSet::new();
        let mut memory = Self { shared: 0.0, per_cpu: 0.0 };
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let map = MapInfo::from_id(id)?;
            let fd = map.fd()?;
            let kind = map.map_type()?;
            if kind == MapType::ArrayOfMaps {
                let inner = (0..map.max_entries()).filter_map(|at| array_word(fd.as_fd(), at));
                waiting.extend(inner);
            }
            let locked = locked(fd.as_fd().as_raw_fd())?;
            if map.name_as_str() == Some(COUNTERS) {
                memory.per_cpu += locked;
            } else {
                memory.shared += locked;
            }
        }
        Ok(memory)
    }
}

/// What the kernel says that a map of this process takes, in KiB.
fn locked(fd: i32) -> Result<f64> {
    let file = format!("/proc/self/fdinfo/{fd}");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    let bytes: f64 = bytes.with_context(|| format!("{file} has no memlock"))?;
    Ok(bytes / 1024.0)
}
