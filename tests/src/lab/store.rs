//! Where `mpls-xdp` keeps its pins and its state in a lab.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use tempfile::TempDir;

use super::namespace::descriptor_path;
use super::require_root;

/// A bpffs and a state directory that no other lab sees.
///
/// The bpffs is mounted nowhere: the store holds it by a file descriptor, and a link in a temporary
/// directory leads there. When the descriptor closes, the kernel drops the bpffs with every pin in
/// it, whatever ended the process. Paths in it must be used as they are: resolved to the end
/// (`canonicalize`) they lose the way, as the bpffs has no place in the tree.
#[derive(Debug)]
pub struct Store {
    directory: TempDir,
    bpffs: PathBuf,
    state: PathBuf,
    /// Keeps the bpffs.
    _mount: OwnedFd,
}

impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    ///
    /// When not root, when the kernel has no bpffs, or when there is no room for temporary files.
    pub fn new() -> Result<Self> {
        require_root()?;
        let mount = detached_bpffs().context("making a bpffs")?;
        let directory = tempfile::Builder::new()
            .prefix("mpls-xdp-lab-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("making a temporary directory")?;
        let bpffs = directory.path().join("bpffs");
        let state = directory.path().join("state");
        symlink(descriptor_path(mount.as_fd()), &bpffs)
            .with_context(|| format!("making {}", bpffs.display()))?;
        fs::create_dir(&state).with_context(|| format!("making {}", state.display()))?;
        Ok(Self { directory, bpffs, state, _mount: mount })
    }

    /// A directory for the test's own files, a policy for example; it goes with the store.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The bpffs.
    ///
    /// The kernel refuses names with a dot, but with `CONFIG_BPF_PRELOAD` it puts a `maps.debug` and
    /// a `progs.debug` of its own there, which nobody can remove: see [`entries_of_bpffs`](crate::leak::entries_of_bpffs).
    #[must_use]
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// The state directory, empty at first.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The options that make `mpls-xdp` use this store.
    #[must_use]
    pub fn arguments(&self) -> [&OsStr; 4] {
        [
            OsStr::new("--bpffs"),
            self.bpffs.as_os_str(),
            OsStr::new("--state-dir"),
            self.state.as_os_str(),
        ]
    }
}

/// A new bpffs that is mounted nowhere.
fn detached_bpffs() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
