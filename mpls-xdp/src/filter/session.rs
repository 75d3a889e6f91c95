//! One command's hold on the filter of this network namespace.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use super::FilterError;
use crate::{kernel::Pins, router};

/// The file whose lock a command holds while it is at work.
const LOCK: &str = "lock";

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
    pub(crate) fn state_of(&self, namespace: u64) -> PathBuf {
        self.state.join(format!("netns-{namespace}"))
    }
}

/// A command's hold on the filter: no other command is at work in the same network namespace.
#[derive(Debug)]
pub struct Session {
    pub(super) pins: Pins,
    pub(crate) state: PathBuf,
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
        let (pins, state) = locate(folders)?;
        let (lock, held) = try_lock(&state, LOCK)?;
        if !held {
            waiting();
            lock.lock().map_err(|source| FilterError::State { path: state.clone(), source })?;
        }
        Ok(Self { pins, state, _lock: lock })
    }

    /// The session, unless another command is at work.
    ///
    /// # Errors
    ///
    /// When the folders cannot be used.
    pub fn try_open(folders: &Folders) -> Result<Option<Self>, FilterError> {
        let (pins, state) = locate(folders)?;
        let (lock, held) = try_lock(&state, LOCK)?;
        Ok(held.then_some(Self { pins, state, _lock: lock }))
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

/// The pins and the state folder of this network namespace.
fn locate(folders: &Folders) -> Result<(Pins, PathBuf), FilterError> {
    let namespace = router::namespace_cookie()?;
    let pins = Pins::new(&folders.bpffs, namespace)?;
    Ok((pins, folders.state_of(namespace)))
}

/// A file of the state folder, and whether this process holds its lock now or another one does.
fn try_lock(state: &Path, name: &str) -> Result<(File, bool), FilterError> {
    let open = || {
        fs::create_dir_all(state)?;
        let file = File::options().create(true).read(true).append(true).open(state.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok((file, true)),
            Err(TryLockError::WouldBlock) => Ok((file, false)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    open().map_err(|source| FilterError::State { path: state.to_owned(), source })
}
