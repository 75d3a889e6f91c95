//! What a test left behind in the kernel: programs, maps, links, namespaces and mounts.
//!
//! Other tests come and go at the same time, so nothing here compares whole inventories blindly.
//! The numbers of programs, maps and links are not used again soon: an inventory of what a test
//! made, taken while it was there, tells afterwards what is left of it.
//!
//! ```no_run
//! use mpls_xdp_tests::{lab::Store, leak::Objects};
//!
//! # fn main() -> anyhow::Result<()> {
//! let store = Store::new()?;
//! // … `mpls-xdp apply`, then:
//! let made = Objects::pinned_under(store.bpffs())?;
//! // … `mpls-xdp detach --all`, then:
//! made.wait_until_gone()?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

use crate::lab::{NamespaceId, PATIENCE};

/// How often to look: the kernel frees in the background what nobody holds any more.
const INTERVAL: Duration = Duration::from_millis(5);

/// Programs, maps and links of the kernel, by their numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Objects {
    /// Programs and their names, of which the kernel keeps 15 bytes.
    pub programs: BTreeMap<u32, String>,
    /// Maps and their names, of which the kernel keeps 15 bytes.
    pub maps: BTreeMap<u32, String>,
    /// Links and the program that each of them runs.
    pub links: BTreeMap<u32, u32>,
}

impl Objects {
    /// Everything that the kernel holds at the moment, also other people's.
    ///
    /// # Errors
    ///
    /// When not root.
    pub fn all() -> Result<Self> {
        let programs = present(loaded_programs()).context("listing the kernel's programs")?;
        let maps = present(loaded_maps()).context("listing the kernel's maps")?;
        let links = present(loaded_links()).context("listing the kernel's links")?;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Ok(Self {
            programs: programs.iter().map(|info| (info.id(), text(info.name()))).collect(),
            maps: maps.iter().map(|info| (info.id(), text(info.name()))).collect(),
            links: links.iter().map(|info| (info.id(), info.program_id())).collect(),
        })
    }

    /// Everything pinned in a directory of a bpffs or below, the programs that those links run, and
    /// the maps that those programs use.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or something in it is not pinned there.
    pub fn pinned_under(directory: &Path) -> Result<Self> {
        let mut pinned = Self::of(pins_under(directory)?.into_values());
        let mut objects = Self::all()?;
        objects.links.retain(|link, _| pinned.links.contains_key(link));
        objects.programs.retain(|program, _| pinned.programs.contains_key(program));
        for program in present(loaded_programs())? {
            if objects.programs.contains_key(&program.id()) {
                let maps = program.map_ids()?.unwrap_or_default();
                pinned.maps.extend(maps.into_iter().map(|map| (map, String::new())));
            }
        }
        objects.maps.retain(|map, _| pinned.maps.contains_key(map));
        Ok(objects)
    }

    /// These objects, and the programs that those links run, without their names.
    pub fn of(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut all = Self::default();
        for object in objects {
            match object {
                Object::Program(program) => {
                    all.programs.entry(program).or_default();
                }
                Object::Map(map) => {
                    all.maps.entry(map).or_default();
                }
                Object::Link(link, program) => {
                    all.links.insert(link, program);
                    all.programs.entry(program).or_default();
                }
            }
        }
        all
    }

    /// Those programs and maps that have one of these names, and the links that run those programs.
    #[must_use]
    pub fn named(mut self, names: &[&str]) -> Self {
        self.programs.retain(|_, name| names.contains(&name.as_str()));
        self.maps.retain(|_, name| names.contains(&name.as_str()));
        self.links.retain(|_, program| self.programs.contains_key(program));
        self
    }

    /// Those that are not in an earlier inventory.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.programs.retain(|id, _| !earlier.programs.contains_key(id));
        self.maps.retain(|id, _| !earlier.maps.contains_key(id));
        self.links.retain(|id, _| !earlier.links.contains_key(id));
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }

    /// Those of these that the kernel still holds.
    ///
    /// # Errors
    ///
    /// When not root.
    pub fn remaining(&self) -> Result<Self> {
        let mut now = Self::all()?;
        now.programs.retain(|id, _| self.programs.contains_key(id));
        now.maps.retain(|id, _| self.maps.contains_key(id));
        now.links.retain(|id, _| self.links.contains_key(id));
        Ok(now)
    }

    /// Waits until the kernel has freed all of these.
    ///
    /// # Errors
    ///
    /// When some are still there after a while: the error names them.
    pub fn wait_until_gone(&self) -> Result<()> {
        poll(|| self.remaining(), Self::is_empty).context("the kernel still holds objects")
    }
}

/// What somebody made in a directory of a bpffs: pins and directories, but not what is below these.
///
/// A name with a dot can only be the kernel's own: it is left out.
///
/// # Errors
///
/// When the directory cannot be read.
pub fn entries_of_bpffs(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut made =
        entries(directory).with_context(|| format!("reading {}", directory.display()))?;
    made.retain(|path| path.file_name().is_none_or(|name| !name.as_bytes().contains(&b'.')));
    Ok(made)
}

/// Waits until nobody holds a namespace any more, this process included.
///
/// # Errors
///
/// When somebody still does after a while: the error names by what.
pub fn wait_until_released(namespace: NamespaceId) -> Result<()> {
    poll(|| holders(namespace), Vec::is_empty).context("a network namespace is still held")
}

/// Everything visible that keeps a namespace: threads in it, open descriptors, and mounts.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn holders(namespace: NamespaceId) -> Result<Vec<PathBuf>> {
    let root = format!("net:[{}]", namespace.inode);
    let mut holders: Vec<_> =
        mounts()?.into_iter().filter(|mount| mount.root == root).map(|mount| mount.point).collect();
    for process in entries(Path::new("/proc"))? {
        // Threads in the namespace and descriptors of it; both come and go while we look.
        let threads = entries(&process.join("task")).unwrap_or_default();
        let threads = threads.into_iter().map(|thread| thread.join("ns/net"));
        let descriptors = entries(&process.join("fd")).unwrap_or_default();
        let candidates = threads.chain(descriptors);
        holders.extend(candidates.filter(|path| is_namespace(path, &root, namespace)));
    }
    Ok(holders)
}

/// The mount points below a directory, or at it.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn mounts_under(directory: &Path) -> Result<Vec<PathBuf>> {
    let points = mounts()?.into_iter().map(|mount| mount.point);
    Ok(points.filter(|point| point.starts_with(directory)).collect())
}

/// An object of the kernel, by its number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Object {
    /// A program.
    Program(u32),
    /// A map.
    Map(u32),
    /// A link, and the program that it runs.
    Link(u32, u32),
}

impl Object {
    /// What a descriptor of a process stands for, if it is an object.
    ///
    /// # Errors
    ///
    /// When there is no such descriptor.
    pub fn behind(process: u32, descriptor: RawFd) -> io::Result<Option<Self>> {
        let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{descriptor}"))?;
        let number = |field: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(field));
            value.and_then(|value| value.trim().parse().ok())
        };
        // What is said of a link names its program too, so links come first.
        let program = number("prog_id:");
        let link = number("link_id:").zip(program).map(|(link, program)| Self::Link(link, program));
        Ok(link.or_else(|| number("map_id:").map(Self::Map)).or(program.map(Self::Program)))
    }
}

/// Everything pinned in a directory of a bpffs or below.
///
/// # Errors
///
/// When the directory cannot be read, or something in it is not pinned there.
pub fn pins_under(directory: &Path) -> Result<BTreeMap<PathBuf, Object>> {
    let mut pins = BTreeMap::new();
    for path in entries_of_bpffs(directory)? {
        if path.is_dir() {
            pins.extend(pins_under(&path)?);
        } else {
            let pin = open_pin(&path).and_then(|pin| {
                let object = Object::behind(process::id(), pin.as_raw_fd())?;
                object.context("neither a link nor a map nor a program is pinned here")
            });
            let object = pin.with_context(|| format!("looking at {}", path.display()))?;
            pins.insert(path, object);
        }
    }
    Ok(pins)
}

/// Opens whatever is pinned at a path. aya opens pins too, but must be told their kind.
fn open_pin(path: &Path) -> Result<OwnedFd> {
    /// `BPF_OBJ_GET` and the part of `union bpf_attr` that it reads.
    const OBJ_GET: libc::c_int = 7;
    #[repr(C)]
    struct Attributes {
        path: u64,
        descriptor: u32,
        flags: u32,
    }

    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Attributes { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    // SAFETY: the attributes have the length given and point at a path that ends with NUL; both
    // outlive the call, which writes to neither.
    let descriptor = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET, &raw const attributes, size_of::<Attributes>())
    };
    let descriptor = i32::try_from(descriptor)?;
    ensure!(descriptor >= 0, io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A mount of this process's mount namespace.
struct Mount {
    /// What part of the file system is mounted; `net:[…]` for a network namespace.
    root: String,
    point: PathBuf,
}

fn mounts() -> Result<Vec<Mount>> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(TABLE).with_context(|| format!("reading {TABLE}"))?;
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        Some(Mount { root: fields.next()?.to_owned(), point: fields.next()?.into() })
    };
    Ok(table.lines().filter_map(mount).collect())
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// Whether a path of `/proc` leads to the namespace, and not to a later one of the same number.
fn is_namespace(path: &Path, link: &str, namespace: NamespaceId) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new(link))
        && File::open(path)
            .is_ok_and(|file| NamespaceId::of(file.as_fd()).is_ok_and(|found| found == namespace))
}

/// Takes a listing of the kernel's without what went away while it was made.
fn present<T, E: Into<anyhow::Error>>(
    listing: impl Iterator<Item = Result<T, E>>,
) -> Result<Vec<T>> {
    let gone = |error: &anyhow::Error| {
        let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        // A link that is being made right now cannot be opened yet (EAGAIN).
        let kinds = [io::ErrorKind::NotFound, io::ErrorKind::WouldBlock];
        causes.any(|cause| kinds.contains(&cause.kind()))
    };
    listing
        .map(|item| item.map_err(Into::into))
        .filter(|item| !item.as_ref().is_err_and(gone))
        .collect()
}

/// Looks again and again until what is seen is as wanted.
fn poll<T: std::fmt::Debug>(
    look: impl Fn() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look()?;
        if wanted(&seen) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "after {PATIENCE:?}: {seen:#?}");
        thread::sleep(INTERVAL);
    }
}
