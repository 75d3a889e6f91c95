//! `mpls-xdp apply`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use mpls_xdp::{
    filter::{self, ApplyOptions, AttachMode, FilterError, Folders, Plan},
    router::Links,
};

use super::{check::show_uncovered, open, policy_file::PolicyFile, progress, text};

/// Puts the policy in force in one step; it stays in force after the command ends.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp apply pe.toml --dry-run
      Say what would be attached, kept and taken off
  mpls-xdp apply pe.toml
      Put the policy in force; the one before is replaced in one step")]
pub(super) struct Arguments {
    /// The policy file
    policy: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take another XDP program off an interface that the policy names
    #[arg(long)]
    replace: bool,
    /// Take frames in fragments everywhere: do this before an MTU is raised beyond what the driver
    /// has room for in one piece
    #[arg(long)]
    fragments: bool,
    /// Where to attach: in the driver, or in the network stack for drivers without XDP
    #[arg(long, value_enum, default_value = "native")]
    mode: Mode,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Mode {
    Native,
    Generic,
}

impl From<Mode> for AttachMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let mut file = PolicyFile::read(&arguments.policy)?;
    file.compare(&Links::read().map_err(FilterError::from)?);
    let policy = file.valid()?;
    let options = ApplyOptions {
        mode: arguments.mode.into(),
        replace: arguments.replace,
        fragments: arguments.fragments,
    };
    let session = open(folders)?;
    let digest = filter::digest(file.text.as_bytes());
    let plan = progress::during("compiling the policy", |_| {
        filter::plan(&session, policy, (&file.name, &digest), options)
    })?;
    if arguments.dry_run {
        describe(&plan, "would ");
        println!("Nothing was changed.");
        return Ok(ExitCode::SUCCESS);
    }
    describe(&plan, "");
    progress::during("putting the policy in force", |_| filter::apply(&session, &plan, options))?;
    println!("{} is in force as generation {}.", file.name, plan.generation);
    Ok(ExitCode::SUCCESS)
}

fn describe(plan: &Plan, would: &str) {
    let list = |verb: &str, names: &[String]| {
        if !names.is_empty() {
            println!("{would}{verb}: {}", names.join(", "));
        }
    };
    list("attach to", &plan.attach);
    list("keep filtering", &plan.keep);
    for name in &plan.other_mode {
        anstream::eprintln!(
            "{} {name} stays in the mode it has; `detach --interface {name}` and `apply` change it",
            text::doubtful("warning:")
        );
    }
    list("take off", &plan.leave);
    list("replace another program on", &plan.replace);
    for (interface, offload) in &plan.offloads {
        println!("{would}turn {} off on {interface} (the driver may reset for it)", offload.name());
    }
    show_uncovered(&plan.uncovered);
}
