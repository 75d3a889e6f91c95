//! Calls of cargo in this workspace.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// Runs a command and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the command line and shows it at work on a router of network namespaces.
pub fn demo() -> Result<()> {
    run(cargo().args(["build", "--quiet", "--locked", "--package", "mpls-xdp"]))?;
    run(cargo().args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "mpls-xdp-tests",
        "--bin",
        "demo",
    ]))
}

/// Runs all tests of the workspace.
pub fn test(arguments: &[String]) -> Result<()> {
    // The lab and command line tests run the built program.
    run(cargo().args(["build", "--quiet", "--locked", "--package", "mpls-xdp"]))?;
    run(cargo().args(["test", "--locked", "--workspace"]).args(arguments))
}
