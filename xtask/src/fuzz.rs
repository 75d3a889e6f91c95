//! Coverage-guided fuzzing with cargo-fuzz, and the corpus that the tests run again.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    cargo::{root, run, target},
    tool::{Tool, outside_of_this_workspace},
    toolchain,
};

/// The driver.
const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// What to fuzz, and for how long.
#[derive(Args)]
pub struct Fuzz {
    /// Minutes for each target
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Put what reached new code into the corpus of the repository, minimised
    #[arg(long)]
    keep: bool,
    /// One target; all of them unless given
    target: Option<Target>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// A policy and a frame: host library and oracle must agree
    Verdict,
    /// A policy's text: reading it must end, and its image must say what the oracle says
    Policy,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Policy => "policy",
        }
    }

    /// What libFuzzer must know of the inputs; a frame is judged by its first 200 bytes.
    fn inputs(self, crate_folder: &Path) -> Vec<String> {
        match self {
            Self::Verdict => vec!["-max_len=320".to_owned()],
            Self::Policy => vec![
                "-max_len=2048".to_owned(),
                format!("-dict={}", crate_folder.join("policy.dict").display()),
            ],
        }
    }
}

/// Fuzzes one target after the other.
pub fn fuzz(arguments: &Fuzz) -> Result<()> {
    let channel = toolchain::compiler()?;
    let folder = target().join("fuzz");
    let bin = CARGO_FUZZ.install(&folder, Some(channel))?;
    for target in Target::value_variants() {
        if arguments.target.is_none_or(|chosen| chosen.name() == target.name()) {
            let session = Session { target: *target, channel, folder: &folder, bin: &bin };
            session.run(arguments.minutes)?;
            if arguments.keep {
                session.keep()?;
            }
        }
    }
    Ok(())
}

/// One target at work.
struct Session<'a> {
    target: Target,
    channel: &'a str,
    folder: &'a Path,
    bin: &'a Path,
}

impl Session<'_> {
    fn run(&self, minutes: u32) -> Result<()> {
        let name = self.target.name();
        // What is found stays out of the checkout until somebody wants it there.
        let found = self.found();
        let artifacts = self.folder.join("artifacts").join(name);
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let time = format!("-max_total_time={}", u64::from(minutes) * 60);
        let prefix = format!("-artifact_prefix={}/", artifacts.display());
        let options = [time, prefix, "-timeout=10".to_owned(), "-print_final_stats=1".to_owned()];
        run(self
            .cargo_fuzz()
            .args([&found, &corpus(name)])
            .arg("--")
            .args(options)
            .args(self.target.inputs(&crate_folder())))
        .with_context(|| {
            format!("target {name} failed; if it found something, it is in {}", artifacts.display())
        })
    }

    /// Replaces the corpus of the repository by the smallest inputs of it and of what was found
    /// that reach the same code.
    fn keep(&self) -> Result<()> {
        let (found, kept) = (self.found(), corpus(self.target.name()));
        let smallest = self.folder.join("smallest").join(self.target.name());
        if smallest.is_dir() {
            fs::remove_dir_all(&smallest).with_context(|| smallest.display().to_string())?;
        }
        fs::create_dir_all(&smallest).with_context(|| smallest.display().to_string())?;
        // How often code is reached makes ten times as many inputs, and says little here.
        let merge = ["--", "-merge=1", "-use_counters=0"];
        run(self.cargo_fuzz().args([&smallest, &kept, &found]).args(merge))?;
        fs::remove_dir_all(&kept).with_context(|| kept.display().to_string())?;
        fs::create_dir_all(&kept).with_context(|| kept.display().to_string())?;
        for entry in fs::read_dir(&smallest).with_context(|| smallest.display().to_string())? {
            let entry = entry?;
            fs::copy(entry.path(), kept.join(entry.file_name()))
                .with_context(|| entry.path().display().to_string())?;
        }
        Ok(())
    }

    fn found(&self) -> PathBuf {
        self.folder.join("corpus").join(self.target.name())
    }

    /// `cargo fuzz run` of the target, debug assertions on. Without a sanitizer: the code under
    /// test has no `unsafe`, and one would make it ten times slower.
    fn cargo_fuzz(&self) -> Command {
        let mut command = outside_of_this_workspace();
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [self.bin.to_owned()].into_iter().chain(env::split_paths(&path));
        if let Ok(path) = env::join_paths(folders) {
            command.env("PATH", path);
        }
        command
            .current_dir(root())
            .args([&format!("+{}", self.channel), "fuzz", "run", "--sanitizer", "none"])
            .arg("--fuzz-dir")
            .arg(crate_folder())
            .arg("--target-dir")
            .arg(self.folder.join("targets"))
            .arg(self.target.name());
        command
    }
}

/// The crate of the fuzz targets.
fn crate_folder() -> PathBuf {
    root().join("tests/fuzz")
}

/// The corpus of the repository.
fn corpus(name: &str) -> PathBuf {
    crate_folder().join("corpus").join(name)
}
