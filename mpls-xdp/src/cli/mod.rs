//! Arguments, and what each error means for the exit code.

mod apply;
mod capture;
mod check;
mod detach;
mod policy_file;
mod replay;
mod stats;
mod status;
mod text;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use mpls_xdp::filter::{FilterError, Folders, Session};

use self::policy_file::InvalidPolicy;

/// Failed while running.
const FAILED: u8 = 1;
/// The policy is invalid.
const POLICY_INVALID: u8 = 3;
/// Privileges are missing.
const NOT_PERMITTED: u8 = 4;
/// Another XDP program is on the interface.
const FOREIGN_PROGRAM: u8 = 5;

#[derive(Parser)]
#[command(
    version,
    about = "Drops MPLS frames whose labels were not given out to where they come from",
    long_about = "Checks every MPLS label that this router would interpret, at the driver hook \
                  (XDP), against what was given out to the ingress it comes from; drops spoofed \
                  and out-of-VRF labels, and counts every verdict.",
    after_help = "Exit codes: 0 done; 1 failed while running; 2 wrong usage; 3 the policy is \
                  invalid; 4 not permitted; 5 another XDP program is on the interface."
)]
struct Arguments {
    #[command(flatten)]
    folders: FolderArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct FolderArguments {
    /// BPF file system that holds the pins
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// Folder of the lock and of what `detach` restores
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/mpls-xdp")]
    state_dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Validate a policy and say what it means
    Check(check::Arguments),
    /// Put a policy in force, all interfaces in one step (root)
    Apply(apply::Arguments),
    /// Show whether the policy is in force; exit 1 when something is wrong (root)
    Status(status::Arguments),
    /// Show the counters (root)
    Stats(stats::Arguments),
    /// Show dropped and would-drop frames, or write them as pcapng (root)
    Capture(capture::Arguments),
    /// Run the frames of a capture through the kernel program; nothing is attached (root)
    Replay(replay::Arguments),
    /// Take the filter off; leaves nothing behind (root)
    Detach(detach::Arguments),
}

/// Runs the command and returns its exit code.
pub(crate) fn run() -> ExitCode {
    let Arguments { folders, command } = Arguments::parse();
    let folders = Folders { bpffs: folders.bpffs, state: folders.state_dir };
    let result = match command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Apply(arguments) => apply::run(&folders, &arguments),
        Command::Status(arguments) => status::run(&folders, &arguments),
        Command::Stats(arguments) => stats::run(&folders, &arguments),
        Command::Capture(arguments) => capture::run(&folders, &arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Detach(arguments) => detach::run(&folders, &arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<InvalidPolicy>().is_some() {
        return ExitCode::from(POLICY_INVALID);
    }
    if let Some(error) = error.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", with_causes(error));
    let code = match error.downcast_ref::<FilterError>() {
        Some(error) if error.is_not_permitted() => NOT_PERMITTED,
        Some(error) if error.is_foreign_program() => FOREIGN_PROGRAM,
        _ => FAILED,
    };
    ExitCode::from(code)
}

/// An error and its causes, but for those that the words before them have told already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn open(folders: &Folders) -> Result<Session, FilterError> {
    Session::open(folders, warn_waiting)
}

fn warn_waiting() {
    eprintln!("waiting for another mpls-xdp command in this network namespace");
}
