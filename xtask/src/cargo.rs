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

/// Cargo, in this workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds what these options of `cargo build` name.
pub fn build(options: &[&str]) -> Result<()> {
    run(cargo().args(["build", "--quiet", "--locked"]).args(options))
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

/// Runs all tests of the workspace, and then the one that finds what they left on this machine.
pub fn test(arguments: &[String]) -> Result<()> {
    // The lab and command line tests run the built program.
    run(cargo().args(["build", "--quiet", "--locked", "--package", "mpls-xdp"]))?;
    let inventory = target().join("inventory.json");
    hygiene("before_the_suite", &inventory)?;
    run(cargo().args(["test", "--locked", "--workspace"]).args(arguments))?;
    hygiene("nothing_of_ours_is_left_after_the_suite", &inventory)
}

/// Runs a step of the check that the suite leaves nothing behind.
fn hygiene(step: &str, inventory: &Path) -> Result<()> {
    let target = ["--package", "mpls-xdp-tests", "--test", "hygiene"];
    run(cargo()
        .args(["test", "--quiet", "--locked"])
        .args(target)
        .args(["--", "--ignored", "--exact", step])
        .env("MPLS_XDP_INVENTORY", inventory))
}
