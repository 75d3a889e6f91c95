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
use mpls_xdp::{filter, policy};
use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

use super::{Folders, definition};

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

/// What a policy calls its parts.
#[derive(Default)]
struct Names {
    ingresses: BTreeSet<String>,
    interfaces: BTreeSet<String>,
}

/// The names of the policy on the line, or else of the one in force, or else of the one at boot.
/// Whatever goes wrong, a shell wants to hear nothing of it.
fn names() -> Names {
    let line: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let Ok(matches) = definition().ignore_errors(true).try_get_matches_from(line) else {
        return Names::default();
    };
    let named = matches.subcommand().and_then(|(_, of_command)| path(of_command, "policy"));
    match named {
        Some(policy) => in_file(&policy),
        None => in_force(&matches).or_else(|| in_file(Path::new(BOOT_POLICY))),
    }
    .unwrap_or_default()
}

fn path(matches: &ArgMatches, id: &str) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>(id).ok().flatten().cloned()
}

fn in_force(matches: &ArgMatches) -> Option<Names> {
    let folders = Folders { bpffs: path(matches, "bpffs")?, state: path(matches, "state_dir")? };
    let manifest = filter::in_force(&folders).ok()?;
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

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }
}
