//! One command's hold on the filter of this network namespace.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::FilterError;
use crate::{kernel::Pins, router};

/// Where the filter keeps what outlives a command.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The BPF file system.
    pub bpffs: PathBuf,
    /// The lock, and what `detach` restores.
    pub state: PathBuf,
}

impl Folders {
    /// Where the state of the network namespace with this cookie is.
    pub(super) fn state_of(&self, namespace: u64) -> PathBuf {
        self.state.join(format!("netns-{namespace}"))
    }
}

/// A command's hold on the filter: no other command is at work in the same network namespace.
#[derive(Debug)]
pub struct Session {
    pub(super) pins: Pins,
    pub(super) state: PathBuf,
    /// Held until the session ends; the kernel lets go of it when the process dies.
    _lock: File,
}

impl Session {
    /// Waits until no other command is at work; calls `waiting` first when there is one.
    ///
    /// # Errors
    ///
    /// When the folders cannot be used.
    pub fn open(folders: &Folders, waiting: impl FnOnce()) -> Result<Self, FilterError> {
        let namespace = router::namespace_cookie()?;
        let pins = Pins::new(&folders.bpffs, namespace)?;
        let state = folders.state_of(namespace);
        let lock = lock(&state, waiting)
            .map_err(|source| FilterError::State { path: state.clone(), source })?;
        Ok(Self { pins, state, _lock: lock })
    }

    /// Where the pins are.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }
}

/// Writes a file of the state folder: whoever reads it sees the old one or the new one, whole.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), FilterError> {
    let new = unfinished(path);
    let write = || {
        fs::write(&new, bytes)?;
        fs::rename(&new, path)
    };
    write().map_err(|source| FilterError::State { path: path.to_owned(), source })
}

/// What [`write()`] leaves when it dies half-way.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("new")
}

fn lock(state: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    fs::create_dir_all(state)?;
    let file = File::options().create(true).append(true).open(state.join("lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}
