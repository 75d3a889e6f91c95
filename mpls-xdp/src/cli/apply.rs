//! `mpls-xdp apply`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use mpls_xdp::{
    filter::{
        ApplyOptions, AttachMode, FilterError, Folders, Plan, Session,
        rollout::{Candidate, Change, Confirmation, Earlier, Effect, Terms},
    },
    router::{Links, Uncovered, VlanOffload},
};
use serde::Serialize;

use super::{
    check::show_uncovered, diff::Difference, open, policy_file::PolicyFile, progress, text,
    time_limit::parse_time_limit, watcher,
};

/// Puts the policy in force in one step; it stays in force after the command ends.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp apply pe.toml --dry-run
      Say what would be attached, kept and taken off
  mpls-xdp apply pe.toml
      Put the policy in force; the one before is replaced in one step
  mpls-xdp apply pe.toml --confirm-within 5m
      Go back by itself unless `mpls-xdp confirm` comes within 5 minutes")]
pub(super) struct Arguments {
    /// The policy file
    policy: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what would be done as one JSON object
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Take another XDP program off an interface that the policy names
    #[arg(long)]
    replace: bool,
    /// Take frames in fragments everywhere: do this before an MTU is raised beyond what the driver
    /// has room for in one piece
    #[arg(long)]
    fragments: bool,
    /// Return to the policy before, unless `mpls-xdp confirm` comes within this time: 60s, 5m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time_limit)]
    confirm_within: Option<Duration>,
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
    let candidate = Candidate { name: &file.name, text: &file.text, policy };
    let change =
        progress::during("compiling the policy", |_| Change::apply(&session, candidate, options))?;
    if arguments.dry_run {
        let difference = Difference::between(&session, &file, policy, None);
        if let Err(error) = &difference {
            eprintln!("warning: no comparison with what is in force: {error:#}");
        }
        if arguments.json {
            println!("{}", serde_json::to_string(&DryRun::new(difference, &change))?);
            return Ok(ExitCode::SUCCESS);
        }
        if let Ok(difference) = difference {
            difference.show();
        }
        announce(&change, "would ");
        println!("Nothing was changed.");
        return Ok(ExitCode::SUCCESS);
    }
    announce(&change, "");
    let terms = arguments.confirm_within.map_or(Terms::Stays, Terms::ConfirmWithin);
    put_in_force(folders, &session, change, terms)?;
    Ok(ExitCode::SUCCESS)
}

/// What a change would do.
#[derive(Serialize)]
struct DryRun<'a> {
    #[serde(flatten)]
    compared: Compared,
    #[serde(flatten)]
    interfaces: Option<Interfaces<'a>>,
}

/// What `diff` says, or why there is nothing to compare with.
#[derive(Serialize)]
#[serde(untagged)]
enum Compared {
    With(Box<Difference>),
    Not { schema: u32, not_compared: String },
}

#[derive(Serialize)]
struct Interfaces<'a> {
    generation: u64,
    attach: &'a [String],
    keep: &'a [String],
    other_mode: &'a [String],
    replace: &'a [String],
    detach: &'a [String],
    offloads: Vec<Offload>,
    uncovered: &'a [Uncovered],
}

/// A VLAN offload that is turned off or on.
#[derive(Serialize)]
pub(super) struct Offload {
    interface: String,
    /// As `ethtool` calls it.
    offload: &'static str,
}

impl From<(String, VlanOffload)> for Offload {
    fn from((interface, offload): (String, VlanOffload)) -> Self {
        Self { interface, offload: offload.name() }
    }
}

impl<'a> DryRun<'a> {
    fn new(difference: Result<Difference>, change: &'a Change) -> Self {
        let compared = match difference {
            Ok(difference) => Compared::With(Box::new(difference)),
            Err(error) => Compared::Not { schema: 1, not_compared: format!("{error:#}") },
        };
        let interfaces = change.plan.as_ref().map(|plan| Interfaces {
            generation: plan.generation,
            attach: &plan.attach,
            keep: &plan.keep,
            other_mode: &plan.other_mode,
            replace: &plan.replace,
            detach: &plan.leave,
            offloads: plan.offloads.iter().cloned().map(Offload::from).collect(),
            uncovered: &plan.uncovered,
        });
        Self { compared, interfaces }
    }
}

/// Carries a change out, and says what is in force then and for how long.
pub(super) fn put_in_force(
    folders: &Folders,
    session: &Session,
    change: Change,
    terms: Terms,
) -> Result<()> {
    let effect = change.effect(terms);
    let name = change.policy.clone();
    let generation = change.plan.as_ref().map(|plan| plan.generation);
    let earlier = change.earlier.as_ref().map_or_else(String::new, |earlier| {
        format!(", as it was in generation {}", earlier.generation)
    });
    let confirmation = progress::during("putting the policy in force", |_| {
        change.carry_out(session, terms, || watcher::start(folders))
    })?;
    match (&name, generation) {
        (Some(name), Some(generation)) => {
            println!("{name} is in force as generation {generation}{earlier}.");
        }
        _ => println!("The filter is off. `mpls-xdp rollback` brings the policy back."),
    }
    match effect {
        Effect::None => {}
        Effect::Confirms => println!("This confirms it: it stays in force."),
        Effect::EndsWaitFor(before) => {
            println!("It stays in force; the confirmation of {before} is not awaited any more.");
        }
        Effect::Restarts(before) => {
            println!("It ends the wait for the confirmation of {before}; the time starts anew.");
        }
        Effect::NothingToConfirm => println!(
            "It was in force before, so there is nothing to return to: it needs no confirmation."
        ),
    }
    if let Some(confirmation) = confirmation {
        println!("{}", announcement(&confirmation));
    }
    Ok(())
}

/// What happens when a confirmation does not come.
pub(super) fn announcement(confirmation: &Confirmation) -> String {
    let Confirmation { policy, confirm_by, seconds_left, back_to, .. } = confirmation;
    let when = text::time(*confirm_by);
    let otherwise = match back_to {
        Some(Earlier { policy, generation, .. }) => {
            format!("{policy} of generation {generation} comes back")
        }
        None => "the filter is taken off".to_owned(),
    };
    match seconds_left {
        0.. => format!(
            "CONFIRM {policy} with `mpls-xdp confirm` by {when}, in {seconds_left} s; otherwise \
             {otherwise} by itself."
        ),
        _ => format!("NOT CONFIRMED: {policy} was to be confirmed by {when}."),
    }
}

/// What a change does to the interfaces.
pub(super) fn announce(change: &Change, would: &str) {
    if let Some(plan) = &change.plan {
        describe(plan, would);
    }
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
