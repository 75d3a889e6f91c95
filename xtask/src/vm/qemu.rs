//! The emulator.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::archive;
use crate::cargo::output;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// The youngest of the devices that a guest may need.
const DEVICE: &str = "igb";

/// An emulator that has the devices.
#[derive(Debug)]
pub struct Qemu {
    program: PathBuf,
    /// Where it was unpacked, unless it is the machine's own.
    root: Option<PathBuf>,
}

impl Qemu {
    /// The machine's own, or one from Debian's archive in this folder.
    pub fn find(folder: &Path) -> Result<Self> {
        let own = Self { program: PROGRAM.into(), root: None };
        if own.has_device().is_ok_and(|has| has) {
            return Ok(own);
        }
        let root = folder.join("qemu");
        let unpacked = Self { program: root.join("usr/bin").join(PROGRAM), root: Some(root) };
        if !unpacked.has_device().is_ok_and(|has| has) {
            unpacked.unpack(folder)?;
        }
        let has = unpacked.has_device().context("QEMU was unpacked and does not run");
        ensure!(
            has?,
            "{} has no device {DEVICE}: install {PACKAGE} 8 or later",
            unpacked.program.display()
        );
        Ok(unpacked)
    }

    fn unpack(&self, folder: &Path) -> Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        let release = archive::release()?;
        let backports = format!("{release}-backports");
        archive::fetch(&folder.join("apt-qemu"), &[&release, &backports], |archive| {
            archive.unpack_with_needs(PACKAGE, &backports, root)
        })
        .with_context(|| {
            format!("QEMU cannot be had: install {PACKAGE} 8 or later, which has {DEVICE}")
        })
    }

    fn has_device(&self) -> Result<bool> {
        // The list of all devices would need every module of QEMU.
        Ok(output(self.command().args(["-device", &format!("{DEVICE},help")]))?.contains("mac="))
    }

    /// What it calls itself.
    pub fn version(&self) -> Result<String> {
        let text = output(self.command().arg("--version"))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// A call of it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            let library = |architecture: &str| root.join("usr/lib").join(architecture);
            let libraries = [library("x86_64-linux-gnu"), root.join("lib/x86_64-linux-gnu")];
            // Those of another QEMU on this machine would be refused.
            command.env("QEMU_MODULE_DIR", library("x86_64-linux-gnu").join("qemu"));
            let paths = libraries.map(|path| path.display().to_string()).join(":");
            command.env("LD_LIBRARY_PATH", paths);
            for data in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(data));
            }
        }
        command
    }
}
