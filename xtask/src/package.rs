//! The Debian package: `cargo xtask package`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{build as cargo_build, cargo, output, root, run, target},
    tool::Tool,
};

const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0" };
const PACKAGE: &str = "mpls-xdp";
/// What stands around the first policy in the README.
const EXAMPLE: [&str; 2] = ["<!-- first policy -->\n```toml\n", "```\n<!-- /first policy -->"];

/// Builds the package and returns its file.
pub fn build() -> Result<PathBuf> {
    cargo_build(&["--release", "--package", PACKAGE])?;
    let binary = target().join("release").join(PACKAGE);
    // Where the package's manifest has it.
    let folder = root().join("target/package");
    let parts = folder.join("parts");
    // A page of a command that is gone would stay.
    if parts.is_dir() {
        fs::remove_dir_all(&parts).with_context(|| parts.display().to_string())?;
    }
    fs::create_dir_all(&parts).with_context(|| parts.display().to_string())?;
    run(Command::new(&binary).arg("man").arg(parts.join("man")))?;
    for shell in ["bash", "zsh", "fish"] {
        write(&parts.join(shell), &output(Command::new(&binary).env("COMPLETE", shell))?)?;
    }
    write(&parts.join("policy.toml"), &example()?)?;
    write(&parts.join("changelog"), &changelog()?)?;

    let bin = CARGO_DEB.install(&folder, None)?;
    let file = output(
        Command::new(bin.join(CARGO_DEB.name))
            .current_dir(root())
            .args(["--no-build", "--strip", "--quiet", "--package", PACKAGE, "--output"])
            .arg(&folder),
    )?;
    println!("{}", file.trim());
    Ok(file.trim().into())
}

/// Builds the package and has it installed, used and removed.
pub fn check() -> Result<()> {
    let file = build()?;
    let test = ["--package", "mpls-xdp-tests", "--test", "system"];
    run(cargo()
        .args(["test", "--quiet", "--locked"])
        .args(test)
        .args(["--", "--ignored", "--show-output", "package::"])
        .env("MPLS_XDP_PACKAGE", file))
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// A changelog in Debian's form, which points to the project's own.
fn changelog() -> Result<String> {
    let commit = ["log", "-1", "--format=%cD"];
    let date = output(Command::new("git").args(commit).current_dir(root()))?;
    Ok(format!(
        "{PACKAGE} ({}-1) stable; urgency=medium\n\n  * /usr/share/doc/{PACKAGE}/changelog.gz has the \
         changes.\n\n -- The mpls-xdp authors <{PACKAGE}@localhost>  {date}",
        env!("CARGO_PKG_VERSION")
    ))
}

/// The first policy of the README.
fn example() -> Result<String> {
    let text = fs::read_to_string(root().join("README.md")).context("README.md")?;
    let [start, end] = EXAMPLE;
    let (_, rest) = text.split_once(start).context("README.md has no first policy")?;
    let (policy, _) = rest.split_once(end).context("README.md has no end of the first policy")?;
    Ok(policy.to_owned())
}
