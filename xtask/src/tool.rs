//! Programs from the package registry that tasks use, each pinned and installed below `target`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    cargo::{output, run},
    toolchain,
};

/// A pinned program.
pub struct Tool {
    /// The name of its package and binary.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Tool {
    /// Installs it below `folder` where it is missing, built by the compiler of `channel`, or by
    /// that of this workspace; returns the folder of its binary.
    pub fn install(&self, folder: &Path, channel: Option<&str>) -> Result<PathBuf> {
        let Self { name, version } = self;
        let tools = folder.join("tools");
        let bin = tools.join("bin");
        let said = output(Command::new(bin.join(name)).arg("--version"));
        if !said.is_ok_and(|said| said.split_whitespace().last() == Some(version)) {
            eprintln!("installing {name} {version}");
            run(outside_of_this_workspace()
                .env("CARGO_TARGET_DIR", folder.join("tools-build"))
                .args(channel.map(|channel| format!("+{channel}")))
                .args(["install", name, "--locked", "--version", version, "--force", "--root"])
                .arg(&tools))?;
        }
        Ok(bin)
    }
}

/// A cargo that does not inherit what this workspace's one was called with.
pub fn outside_of_this_workspace() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(toolchain::is_cargo_variable) {
            command.env_remove(name);
        }
    }
    command
}
