//! Completion in bash, zsh and fish: `COMPLETE=bash mpls-xdp` prints what a shell must be told.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command};
use clap_complete::{ArgValueCandidates, CompleteEnv, CompletionCandidate};
use mpls_xdp::{
    filter::{self, Session, rollout},
    policy, router,
};
use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

use super::{Folders, definition, history};

/// The policy that is put in force at boot.
pub(super) const BOOT_POLICY: &str = "/etc/mpls-xdp/policy.toml";

/// Answers a shell that asks for completions, and ends; does nothing otherwise.
pub(super) fn answer() {
    // The name, not the path of this file: what is printed is kept by packages.
    CompleteEnv::with_factory(definition).completer("mpls-xdp").complete();
}

/// Says of each argument, by its name, which values it can have on this router.
pub(super) fn with_candidates(definition: Command) -> Command {
    definition.mut_args(with_values).mut_subcommands(with_candidates)
}

fn with_values(argument: Arg) -> Arg {
    if !argument.get_possible_values().is_empty() {
        return argument;
    }
    let candidates = match argument.get_id().as_str() {
        "ingress" => ArgValueCandidates::new(|| values(names().ingresses)),
        "interface" => ArgValueCandidates::new(|| values(names().interfaces)),
        "reason" => ArgValueCandidates::new(reasons),
        "core" => ArgValueCandidates::new(accepting_mpls),
        "entry" => ArgValueCandidates::new(|| entries().unwrap_or_default()),
        _ => return argument,
    };
    argument.add(candidates)
}

fn values(names: BTreeSet<String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn reasons() -> Vec<CompletionCandidate> {
    let of_frames = Reason::ALL.map(|reason| (reason.name(), reason.meaning()));
    let of_interfaces = InterfaceReason::ALL.map(|reason| (reason.name(), reason.meaning()));
    let candidate = |(name, meaning): (&str, &'static str)| {
        CompletionCandidate::new(name).help(Some(meaning.into()))
    };
    of_frames.into_iter().chain(of_interfaces).map(candidate).collect()
}

/// The interfaces on which the kernel accepts MPLS; no neighbour is behind `lo`.
fn accepting_mpls() -> Vec<CompletionCandidate> {
    let names = router::mpls_inputs().unwrap_or_default();
    values(names.into_iter().filter(|name| name != "lo").collect())
}

/// What `rollback` can go to. A command that is at work is not waited for, and where no policy ever
/// was, no folder is made.
fn entries() -> Option<Vec<CompletionCandidate>> {
    let folders = folders(&line()?)?;
    if !folders.state.exists() {
        return None;
    }
    let log = rollout::read_log(&Session::try_open(&folders).ok()??).ok()?;
    let older = log.entries.iter().filter(|entry| entry.number > 0);
    let candidate = |entry: &rollout::Entry| {
        let number = CompletionCandidate::new(entry.number.to_string());
        number.help(Some(history::summary(entry).into())).display_order(Some(entry.number))
    };
    Some(older.map(candidate).collect())
}

/// What a policy calls its parts.
#[derive(Default)]
struct Names {
    ingresses: BTreeSet<String>,
    interfaces: BTreeSet<String>,
}

/// The names of the policy on the line, or else of the one in force, or else of the one at boot.
/// Whatever goes wrong, a shell wants to hear nothing of it.
fn names() -> Names {
    let Some(matches) = line() else {
        return Names::default();
    };
    let named = matches.subcommand().and_then(|(_, of_command)| path(of_command, "policy"));
    match named {
        Some(policy) => in_file(&policy),
        None => folders(&matches)
            .and_then(|folders| in_force(&folders))
            .or_else(|| in_file(Path::new(BOOT_POLICY))),
    }
    .unwrap_or_default()
}

/// The words of the line so far.
fn line() -> Option<ArgMatches> {
    let words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    definition().ignore_errors(true).try_get_matches_from(words).ok()
}

fn folders(matches: &ArgMatches) -> Option<Folders> {
    Some(Folders { bpffs: path(matches, "bpffs")?, state: path(matches, "state_dir")? })
}

fn path(matches: &ArgMatches, id: &str) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>(id).ok().flatten().cloned()
}

fn in_force(folders: &Folders) -> Option<Names> {
    let manifest = filter::in_force(folders).ok()?;
    Some(Names {
        ingresses: manifest.ingresses.into_iter().map(|ingress| ingress.name).collect(),
        interfaces: manifest.interfaces.into_iter().map(|interface| interface.name).collect(),
    })
}

fn in_file(path: &Path) -> Option<Names> {
    let text = fs::read_to_string(path).ok()?;
    let policy = policy::parse(&path.display().to_string(), &text).policy?;
    Some(Names {
        ingresses: policy.ingresses.iter().map(|ingress| ingress.name.clone()).collect(),
        interfaces: policy.ingresses.iter().map(|ingress| ingress.interface.to_string()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use clap_complete::engine::complete;

    use super::*;

    #[test]
    fn reasons_have_their_meaning_beside_them() {
        let command = Command::new("mpls-xdp")
            .subcommand(Command::new("any").arg(Arg::new("reason").long("reason")));
        let line = ["mpls-xdp", "any", "--reason", "label_"].map(OsString::from).to_vec();
        let found = complete(&mut with_candidates(command), line, 3, None).unwrap();
        let text = |candidate: &CompletionCandidate| {
            let help = candidate.get_help().map(ToString::to_string);
            (candidate.get_value().to_string_lossy().into_owned(), help.unwrap_or_default())
        };
        let expected = [Reason::LabelOutOfVrf, Reason::LabelSpoofed, Reason::LabelOutOfRange]
            .map(|reason| (reason.name().to_owned(), reason.meaning().to_owned()));
        assert_eq!(found.iter().map(text).collect::<Vec<_>>(), expected);
    }

    /// Names that a router or its policy gives; nobody types these by heart.
    const NAMED: [&str; 3] = ["ingress", "interface", "reason"];
    /// What the help calls their values.
    const VALUES: [&str; 3] = ["INGRESS", "IF", "REASON"];

    fn is_named(argument: &Arg) -> bool {
        let values = argument.get_value_names().unwrap_or_default();
        NAMED.contains(&argument.get_id().as_str())
            || values.iter().any(|value| VALUES.contains(&value.as_str()))
    }

    fn is_completed(argument: &Arg) -> bool {
        argument.get::<ArgValueCandidates>().is_some() || !argument.get_possible_values().is_empty()
    }

    fn arguments(command: &Command) -> Vec<(String, &Arg)> {
        let own = command.get_arguments();
        let own =
            own.map(|argument| (format!("{} {}", command.get_name(), argument.get_id()), argument));
        own.chain(command.get_subcommands().flat_map(arguments)).collect()
    }

    #[test]
    fn every_ingress_interface_and_reason_is_completed() {
        let definition = definition();
        let arguments = arguments(&definition);
        let named = arguments.iter().filter(|(_, argument)| is_named(argument));
        assert!(named.clone().count() >= 7, "{arguments:?}");
        let not: Vec<_> = named.filter(|(_, argument)| !is_completed(argument)).collect();
        assert!(not.is_empty(), "{not:?}");
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }
}
