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
        let state = folders.state.join(format!("netns-{namespace}"));
        let lock = lock(&state, waiting)
            .map_err(|source| FilterError::State { path: state.clone(), source })?;
        Ok(Self { pins, state, _lock: lock })
    }

    /// Where the pins are.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }
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
