//! Where the filter of one network namespace keeps its pins.
//!
//! | name | what |
//! |---|---|
//! | `policy-WORDS` | the policy map, for images of WORDS words |
//! | `counters-SLOTS` | counters, SLOTS for each CPU |
//! | `fence` | the map that is updated to wait for running programs |
//! | `trace` | the map of traced verdicts, which programs without tracing leave alone |
//! | `buckets`, `samples` | the maps that hold those of whoever samples refused frames |
//! | `link-SLOT-IFINDEX` | the link of the program with this interface slot |

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, DirEntry},
    io,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
};

use super::KernelError;
use crate::router;

/// The folder of pins of one network namespace.
#[derive(Debug, Clone)]
pub struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// The pins below `bpffs` of the network namespace with this cookie.
    ///
    /// # Errors
    ///
    /// When `bpffs` is no BPF file system.
    pub fn new(bpffs: &Path, namespace: u64) -> Result<Self, KernelError> {
        if !router::is_bpffs(bpffs) {
            return Err(match fs::metadata(bpffs) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    KernelError::NotPermitted
                }
                _ => KernelError::NoBpffs(bpffs.to_owned()),
            });
        }
        Ok(Self { folder: bpffs.join("mpls-xdp").join(format!("netns-{namespace}")) })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// When that is not permitted.
    pub fn create(&self) -> Result<(), KernelError> {
        fs::create_dir_all(&self.folder).map_err(|source| self.error(&self.folder, source))
    }

    /// The pin called `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The pin of the policy map for images of `words`.
    pub fn policy(&self, words: u32) -> PathBuf {
        self.path(&format!("policy-{words}"))
    }

    /// The pin of the counters with so many slots for each CPU.
    pub fn counters(&self, slots: u32) -> PathBuf {
        self.path(&format!("counters-{slots}"))
    }

    /// The pin of the link of the program with this interface slot.
    pub fn link(&self, slot: u32, ifindex: u32) -> PathBuf {
        self.path(&format!("link-{slot}-{ifindex}"))
    }

    /// The numbers in the names of all pins that start with `prefix`, sorted.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read; a missing one has no pins.
    pub fn numbered(&self, prefix: &str) -> Result<Vec<(PathBuf, Vec<u64>)>, KernelError> {
        let mut found = Vec::new();
        for path in self.all()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let numbers =
                name.strip_prefix(prefix).map(|rest| rest.split('-').map(str::parse).collect());
            if let Some(Ok(numbers)) = numbers {
                found.push((path, numbers));
            }
        }
        found.sort_by(|(_, a): &(_, Vec<u64>), (_, b)| a.cmp(b));
        Ok(found)
    }

    fn all(&self) -> Result<Vec<PathBuf>, KernelError> {
        Ok(self.entries()?.iter().map(DirEntry::path).collect())
    }

    fn entries(&self) -> Result<Vec<DirEntry>, KernelError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.error(&self.folder, error)),
        };
        entries.collect::<Result<_, _>>().map_err(|source| self.error(&self.folder, source))
    }

    /// The names of the pins of maps with their inodes. A command that changes the policy makes
    /// and removes some, and no two pins ever have the same inode.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read; a missing one has no pins.
    pub fn maps(&self) -> Result<BTreeSet<(OsString, u64)>, KernelError> {
        let named = self.entries()?.into_iter().map(|entry| (entry.file_name(), entry.ino()));
        Ok(named.filter(|(name, _)| !name.to_string_lossy().starts_with("link-")).collect())
    }

    /// Removes a pin; one that is gone is removed.
    ///
    /// # Errors
    ///
    /// When that is not permitted.
    pub fn remove(&self, path: &Path) -> Result<(), KernelError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error(path, error)),
            _ => Ok(()),
        }
    }

    /// Removes every pin, links first, and the folders that are empty then.
    ///
    /// # Errors
    ///
    /// When that is not permitted.
    pub fn clear(&self) -> Result<(), KernelError> {
        let (links, others): (Vec<_>, Vec<_>) = self.all()?.into_iter().partition(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("link-"))
        });
        for path in links.iter().chain(&others) {
            self.remove(path)?;
        }
        // The folder above is shared with other network namespaces and stays while they use it.
        for folder in [Some(self.folder.as_path()), self.folder.parent()].into_iter().flatten() {
            match fs::remove_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.error(folder, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn error(&self, path: &Path, source: io::Error) -> KernelError {
        match source.kind() {
            io::ErrorKind::PermissionDenied => KernelError::NotPermitted,
            _ => KernelError::Pin { path: path.to_owned(), source },
        }
    }
}
