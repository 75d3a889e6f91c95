//! The guest's file system, all of which the kernel unpacks into memory.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cpio::{newc, newc::ModeFileType};

use crate::cargo::{output, run};

/// A file system in the making.
#[derive(Default)]
pub struct Initramfs {
    /// Contents by absolute path; whoever is in it may run it.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Initramfs {
    /// Puts a file in.
    pub fn file(&mut self, path: impl Into<PathBuf>, contents: Vec<u8>) {
        self.files.insert(path.into(), contents);
    }

    /// Puts a program in, without what is there for debuggers, and the libraries that it is linked
    /// with.
    pub fn program(&mut self, path: impl Into<PathBuf>, program: &Path) -> Result<()> {
        for library in libraries(program)? {
            if let Entry::Vacant(entry) = self.files.entry(library) {
                let contents = fs::read(entry.key())
                    .with_context(|| format!("cannot read {}", entry.key().display()))?;
                entry.insert(contents);
            }
        }
        self.file(path, stripped(program)?);
        Ok(())
    }

    /// Writes it to a file as the kernel reads it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut archive = io::BufWriter::new(
            fs::File::create(path).with_context(|| format!("cannot make {}", path.display()))?,
        );
        let mut inode = 0;
        let mut entry = |name: &Path, kind, contents: &[u8]| -> Result<()> {
            inode += 1;
            let name = name.strip_prefix("/").unwrap_or(name).to_str();
            let entry = newc::Builder::new(name.context("a name is not text")?)
                .ino(inode)
                .nlink(1)
                .mode(0o755)
                .set_mode_file_type(kind);
            let size = u32::try_from(contents.len()).context("a file is too large")?;
            let mut writer = entry.write(&mut archive, size);
            writer.write_all(contents)?;
            writer.finish()?;
            Ok(())
        };
        for folder in self.folders() {
            entry(folder, ModeFileType::Directory, &[])?;
        }
        for (path, contents) in &self.files {
            entry(path, ModeFileType::Regular, contents)?;
        }
        newc::trailer(&mut archive)?.flush()?;
        Ok(())
    }

    /// Every folder of a file, those above first.
    fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<_> = self
            .files
            .keys()
            .flat_map(|path| path.ancestors().skip(1))
            .filter(|folder| folder.parent().is_some())
            .collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }
}

/// The shared libraries that a program is linked with, the dynamic linker among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = output(Command::new("ldd").arg(program))?;
    ensure!(!text.contains("not found"), "{} lacks libraries:\n{text}", program.display());
    // `name => /path (address)`, `/path (address)`, or `linux-vdso.so.1 (address)`.
    let paths = text.lines().filter_map(|line| {
        let place = line.split_once("=> ").map_or(line, |(_, path)| path);
        place.split_whitespace().next().filter(|path| path.starts_with('/'))
    });
    Ok(paths.map(PathBuf::from).collect())
}

fn stripped(program: &Path) -> Result<Vec<u8>> {
    let copy = tempfile::NamedTempFile::new()?;
    run(Command::new("strip").arg("--strip-debug").arg("-o").arg(copy.path()).arg(program))?;
    Ok(fs::read(copy.path())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_a_file_comes_before_what_is_in_it() {
        let mut initramfs = Initramfs::default();
        initramfs.file("/init", Vec::new());
        initramfs.file("/lib/deep/er/file", Vec::new());
        let folders = initramfs.folders();
        assert_eq!(folders, ["/lib", "/lib/deep", "/lib/deep/er"].map(Path::new));
    }
}
