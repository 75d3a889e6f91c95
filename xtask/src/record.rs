//! The record of what the committed kernel object was built from.
//!
//! Also compiled into the build script of `mpls-xdp`, which checks it against the source.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Folder of the object and its record, from the root of the workspace.
pub const FOLDER: &str = "mpls-xdp/kernel";
/// Folder of an object that logs, from the root of the workspace.
pub const LOG_FOLDER: &str = "target/ebpf/log-object";
/// The object's name in its folder.
pub const OBJECT: &str = "mpls-xdp.o";
/// The record's name there.
pub const RECORD: &str = "record.toml";
/// The crate that the object is built from, from the root of the workspace.
pub const SOURCE: &str = "mpls-xdp-ebpf";

/// What an object was built from and how. Digests are SHA-256 in hexadecimal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Digest of the kernel crate's manifest and sources.
    pub source: String,
    /// Digest of the object.
    pub object: String,
    /// What the compiler says of itself.
    pub compiler: String,
    /// The linker and its version.
    pub linker: String,
    /// Compiler flags, without those that hide the builder's folders.
    pub flags: Vec<String>,
}

/// SHA-256 of `bytes`, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digest of the kernel crate below `root`: each file's path and content, in the order of paths.
///
/// # Errors
///
/// When a file cannot be read.
pub fn source_digest(root: &Path) -> io::Result<String> {
    let folder = root.join(SOURCE);
    let mut files = vec![folder.join("Cargo.toml")];
    collect(&folder.join("src"), &mut files)?;
    files.sort();
    let mut all = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        all.update(format!("{name}\0{}\0", digest(&fs::read(&file)?)));
    }
    Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
