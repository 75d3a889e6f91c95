//! Arguments, and what each error means for the exit code.

mod apply;
mod capture;
mod check;
mod complete;
mod confirm;
mod detach;
mod diff;
mod explain;
mod help;
mod history;
mod init;
mod man;
mod metrics;
mod new_file;
mod policy_file;
mod progress;
mod reattach;
mod replay;
mod rollback;
mod sampler;
mod stats;
mod status;
mod suggest;
mod syslog;
mod text;
mod time_limit;
mod top;
mod watcher;

use std::{env, io, path::PathBuf, process::ExitCode};

use clap::{
    Args, ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _,
};
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

/// What each exit code means, for help and manual; clap ends with 2.
const EXIT_CODES: [(u8, &str); 6] = [
    (0, "done"),
    (FAILED, "failed while running"),
    (2, "wrong usage"),
    (POLICY_INVALID, "the policy is invalid"),
    (NOT_PERMITTED, "not permitted"),
    (FOREIGN_PROGRAM, "another XDP program is on the interface"),
];

#[derive(Parser)]
#[command(
    version,
    disable_help_subcommand = true,
    about = "Drops MPLS frames whose labels were not given out to where they come from",
    long_about = "Checks every MPLS label that this router would interpret, at the driver hook \
                  (XDP), against what was given out to the ingress it comes from; drops spoofed \
                  and out-of-VRF labels, and counts every verdict.",
    after_help = exit_codes()
)]
struct Arguments {
    #[command(flatten)]
    folders: FolderArguments,
    /// Colour what is shown; `auto` does so on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct FolderArguments {
    /// BPF file system that holds the pins
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// Folder of the lock, of the last policies and of what `detach` restores
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/mpls-xdp")]
    state_dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Write a first policy from what this router's kernel knows
    Init(init::Arguments),
    /// Validate a policy and say what it means
    Check(check::Arguments),
    /// Put a policy in force, all interfaces in one step (root)
    Apply(apply::Arguments),
    /// Say what applying a policy would change, and what for the traffic so far (root)
    Diff(diff::Arguments),
    /// Keep a policy that was applied with `--confirm-within` (root)
    #[command(after_long_help = "Examples:
  mpls-xdp confirm
      After `mpls-xdp apply pe.toml --confirm-within 5m`, and a look whether all is well")]
    Confirm,
    /// Go back to an earlier policy (root)
    Rollback(rollback::Arguments),
    /// Show the last policies, and who applied them (root)
    History(history::Arguments),
    /// Show whether the policy is in force; exit 1 when something is wrong (root)
    Status(status::Arguments),
    /// Show the counters (root)
    Stats(stats::Arguments),
    /// Watch every ingress on the screen: rates, reasons, labels, rules (root)
    #[command(after_long_help = "Examples:
  mpls-xdp top
      Press ? there for the keys
  mpls-xdp top --interval 5
      Rates over five seconds")]
    Top(top::Arguments),
    /// Hand state and counters to Prometheus (root)
    Metrics(metrics::Arguments),
    /// Show dropped and would-drop frames, or write them as pcapng (root)
    Capture(capture::Arguments),
    /// Watch what is refused, and propose it for the policy (root)
    Suggest(suggest::Arguments),
    /// Run the frames of a capture through the kernel program; nothing is attached (root)
    Replay(replay::Arguments),
    /// Say step by step what the kernel program does with a packet, and why (root)
    Explain(explain::Arguments),
    /// Take the filter off; leaves nothing behind (root)
    Detach(detach::Arguments),
    /// Go back when no confirmation comes in time; `apply --confirm-within` starts it
    #[command(name = watcher::COMMAND, hide = true)]
    Watcher,
    /// Show what a command takes, or what a reason means: `help reasons`
    Help(help::Arguments),
    /// Filter interfaces of the policy in force that were made anew (root)
    Reattach(reattach::Arguments),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::Arguments),
}

/// The command line: what is parsed, completed and written into the manual.
fn definition() -> clap::Command {
    complete::with_candidates(Arguments::command())
}

fn exit_codes() -> String {
    let codes = EXIT_CODES.map(|(code, meaning)| format!("{code} {meaning}"));
    format!("Exit codes: {}.", codes.join("; "))
}

/// What `--color` says, also where help or an error ends the parsing early.
fn color() -> ColorChoice {
    let mut words = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let mut said = None;
    while let Some(word) = words.next() {
        said = match word.split_once('=') {
            Some(("--color", value)) => Some(value.to_owned()),
            _ if word == "--color" => words.next(),
            _ => continue,
        };
    }
    said.and_then(|value| ColorChoice::from_str(&value, false).ok()).unwrap_or_default()
}

/// Runs the command and returns its exit code.
pub(crate) fn run() -> ExitCode {
    complete::answer();
    let color = color();
    let matches = definition().color(color).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    text::set_color(arguments.color);
    let Arguments { folders, command, .. } = arguments;
    let folders = Folders { bpffs: folders.bpffs, state: folders.state_dir };
    let result = match command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Apply(arguments) => apply::run(&folders, &arguments),
        Command::Diff(arguments) => diff::run(&folders, &arguments),
        Command::Confirm => confirm::run(&folders),
        Command::Rollback(arguments) => rollback::run(&folders, &arguments),
        Command::History(arguments) => history::run(&folders, &arguments),
        Command::Status(arguments) => status::run(&folders, &arguments),
        Command::Stats(arguments) => stats::run(&folders, &arguments),
        Command::Top(arguments) => top::run(&folders, &arguments),
        Command::Metrics(arguments) => metrics::run(&folders, &arguments),
        Command::Capture(arguments) => capture::run(&folders, &arguments),
        Command::Suggest(arguments) => suggest::run(&folders, &arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Detach(arguments) => detach::run(&folders, &arguments),
        Command::Watcher => watcher::run(&folders),
        Command::Help(arguments) => help::run(&arguments),
        Command::Reattach(arguments) => reattach::run(&folders, &arguments),
        Command::Man(arguments) => man::run(&arguments),
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
    anstream::eprintln!("{} {}", text::bad("error:"), with_causes(error));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes after the arguments of an example, for the shell.
    const SHELL: [&str; 2] = ["|", "||"];

    /// Every command that the help shows, and those below it, with its name.
    fn commands(above: &str, command: &clap::Command) -> Vec<(String, clap::Command)> {
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        let named = |command: &clap::Command| {
            let name = format!("{above} {}", command.get_name());
            [vec![(name.clone(), command.clone())], commands(&name, command)].concat()
        };
        visible.flat_map(named).collect()
    }

    /// The words of an example up to where the shell takes over.
    fn words(example: &str) -> Vec<&str> {
        example.split(' ').take_while(|word| !SHELL.contains(word)).collect()
    }

    #[test]
    fn every_command_has_examples_of_itself_that_can_be_parsed() {
        let commands = commands("mpls-xdp", &definition());
        assert!(commands.len() >= 20, "{commands:?}");
        for (name, command) in commands {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let text = help.strip_prefix("Examples:\n");
            let text = text.unwrap_or_else(|| panic!("{name} has no examples"));
            let mut of_itself = 0;
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                let example = line.strip_prefix("  ").unwrap();
                let parsed = definition().try_get_matches_from(words(example));
                let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
                assert!(parsed.is_ok(), "{example}: {}", parsed.err().unwrap());
                of_itself += usize::from(example.starts_with(&name));
                let about = lines.next().unwrap_or_default();
                assert!(about.starts_with("      ") && about.len() <= 100, "{example}: {about}");
            }
            assert!(of_itself > 0, "{name} is in none of its examples");
        }
    }
}
