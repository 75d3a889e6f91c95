//! What a run of the whole suite left behind on the machine.
//!
//! Unlike [`leak`](crate::leak), which follows what one test made, this compares all that there is
//! before and after. Nobody else may use the filter, or start a container, meanwhile.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mpls_xdp::router::{Link, Links};
use serde::{Deserialize, Serialize};

use crate::leak::{self, Objects};

/// Programs of the filter and of the suite.
pub const PROGRAMS: [&str; 4] = ["mpls_xdp", "mpls_xdp_frags", "mpls_generator", "pass_all"];
/// Maps of the filter and of the suite: the kernel keeps 15 bytes of a name.
pub const MAPS: [&str; 13] = [
    "FENCE",
    "TRACE",
    "BUCKETS",
    "SAMPLES",
    "mpls_policy",
    "mpls_counters",
    "mpls_fence",
    "mpls_buckets",
    "mpls_samples",
    ".rodata",
    ".rodata.cst4",
    "standalone_arra",
    "standalone_perc",
];
/// Beginnings of the names of temporary files: the labs', and those that `tempfile` gives.
const TEMPORARY: [&str; 2] = ["mpls-xdp", ".tmp"];
/// Where the filter keeps its things when nobody says otherwise; no test may use it.
const DEFAULT_FOLDERS: [&str; 2] = ["/sys/fs/bpf/mpls-xdp", "/run/mpls-xdp"];
/// The beginning of the name of every process of ours.
const COMMAND: &str = "mpls-xdp";

/// Everything that the suite could leave, as a line for people each.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Inventory(BTreeSet<String>);

impl Inventory {
    /// Looks at this machine.
    ///
    /// # Errors
    ///
    /// When not root.
    pub fn take() -> Result<Self> {
        let mut found = BTreeSet::new();
        found.extend(objects(Objects::all()?));
        found.extend(namespaces()?);
        found.extend(interfaces()?);
        let mounts = leak::mounts_under(Path::new("/"))?;
        found.extend(mounts.iter().map(|point| format!("mount at {}", point.display())));
        found.extend(temporary_files(&env::temp_dir())?);
        found.extend(DEFAULT_FOLDERS.iter().flat_map(|folder| with_content(Path::new(folder))));
        found.extend(processes()?);
        Ok(Self(found))
    }

    /// What is there now and was not there before, a line each.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// Writes it to a file.
    ///
    /// # Errors
    ///
    /// When that is not possible.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }
}

fn objects(all: Objects) -> Vec<String> {
    let Objects { programs, maps, links } =
        all.named(&[PROGRAMS.as_slice(), MAPS.as_slice()].concat());
    let mut lines = Vec::new();
    lines.extend(programs.into_iter().map(|(id, name)| format!("program {id}, {name}")));
    lines.extend(maps.into_iter().map(|(id, name)| format!("map {id}, {name}")));
    lines.extend(links.into_iter().map(|(id, program)| format!("link {id} of program {program}")));
    lines
}

/// Network namespaces that a thread, a descriptor or a mount holds.
fn namespaces() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for process in entries(Path::new("/proc"))? {
        // Threads and descriptors come and go while we look.
        let threads = entries(&process.join("task")).unwrap_or_default();
        let threads = threads.into_iter().map(|thread| thread.join("ns/net"));
        let descriptors = entries(&process.join("fd")).unwrap_or_default();
        for holder in threads.chain(descriptors) {
            let target = fs::read_link(&holder).unwrap_or_default();
            if target.as_os_str().as_bytes().starts_with(b"net:[") {
                found.insert(format!("network namespace {}", target.display()));
            }
        }
    }
    Ok(found)
}

/// The interfaces of this thread's namespace, with the program on each.
fn interfaces() -> Result<Vec<String>> {
    let links = Links::read()?;
    let line = |link: &Link| match &link.xdp {
        Some(xdp) => format!("interface {} with program {}", link.name, xdp.program_id),
        None => format!("interface {}", link.name),
    };
    Ok(links.iter().map(line).collect())
}

fn temporary_files(folder: &Path) -> Result<Vec<String>> {
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        TEMPORARY.iter().any(|beginning| name.starts_with(beginning.as_bytes()))
    };
    let paths = entries(folder).with_context(|| format!("reading {}", folder.display()))?;
    Ok(paths.into_iter().filter(ours).map(|path| format!("{}", path.display())).collect())
}

/// A folder and what is in it, if it is there.
fn with_content(folder: &Path) -> Vec<String> {
    let inside = entries(folder).unwrap_or_default();
    let all = folder.exists().then(|| folder.to_owned()).into_iter().chain(inside);
    all.map(|path| format!("{}", path.display())).collect()
}

fn processes() -> Result<Vec<String>> {
    let name = |process: &PathBuf| fs::read_to_string(process.join("comm")).unwrap_or_default();
    let ours = |process: &PathBuf| name(process).trim_end() == COMMAND;
    let all = entries(Path::new("/proc"))?;
    Ok(all.into_iter().filter(ours).map(|path| format!("process {}", path.display())).collect())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}
