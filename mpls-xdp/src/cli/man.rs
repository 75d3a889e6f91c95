//! `mpls-xdp man`: the manual pages of the command line, from its definition.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{EXIT_CODES, complete::BOOT_POLICY, definition, exit_codes};

/// Commands that root uses (man-pages(7)).
const SECTION: &str = "8";

/// Writes mpls-xdp(8) and a page for each command; the Debian package has them already.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder, which is made when it is not there
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut root = definition().disable_help_subcommand(true);
    root.build();
    write(&root, folder, &commands(&root))?;
    Ok(ExitCode::SUCCESS)
}

/// Every page but the first one: `mpls-xdp-apply`, …
fn commands(command: &Command) -> Vec<String> {
    visible(command).flat_map(|command| [vec![page(command)], commands(command)].concat()).collect()
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The name of a command's page.
fn page(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).replace(' ', "-")
}

/// Writes the page of a command and those of its subcommands; `others` has all pages.
fn write(command: &Command, folder: &Path, others: &[String]) -> Result<()> {
    let path = folder.join(format!("{}.{SECTION}", page(command)));
    fs::write(&path, render(command, others)?).with_context(|| path.display().to_string())?;
    visible(command).try_for_each(|command| write(command, folder, others))
}

fn render(command: &Command, others: &[String]) -> Result<Vec<u8>> {
    let name = page(command);
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section(SECTION)
        .source(format!("mpls-xdp {}", env!("CARGO_PKG_VERSION")))
        // Without a date of its own; an empty one would be left out, and the source be in its place.
        .date(" ")
        .manual("MPLS label filter");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if visible(command).next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    for help in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
        let help = help.to_string();
        // That is a section of its own on every page.
        if help != exit_codes() {
            section(&mut rest, &help);
        }
    }
    rest.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        rest.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    rest.control("SH", ["ENVIRONMENT"]);
    rest.control("TP", []).text([bold("NO_COLOR")]);
    rest.text([roman("When it is set and not empty, nothing is coloured unless --color says so.")]);
    rest.control("SH", ["FILES"]);
    for (path, meaning) in [
        (BOOT_POLICY, "The policy that mpls-xdp.service puts in force at boot."),
        ("/sys/fs/bpf/mpls-xdp/", "Programs and maps, by network namespace."),
        ("/run/mpls-xdp/", "The lock, what detach restores, and what udev looks at."),
    ] {
        rest.control("TP", []).text([bold(path)]).text([roman(meaning)]);
    }
    rest.control("SH", ["SEE ALSO"]);
    let mut see: Vec<(&str, &str)> = vec![("mpls-xdp", SECTION), ("mpls-xdp-policy", "5")];
    see.extend(others.iter().map(|name| (name.as_str(), SECTION)));
    see.retain(|(other, _)| *other != name);
    see.sort_unstable_by_key(|(name, section)| (*section == "5", *name));
    for (at, (name, section)) in see.iter().enumerate() {
        let comma = if at + 1 < see.len() { "," } else { "" };
        rest.control("BR", [*name, &format!("({section}){comma}")]);
    }
    text.extend(rest.to_roff().into_bytes());
    Ok(text)
}

/// A text of the help, whose first line is its heading.
fn section(page: &mut Roff, text: &str) {
    let (heading, text) = text.split_once('\n').unwrap_or(("Notes", text));
    page.control("SH", [heading.trim_end_matches(':').to_uppercase().as_str()]);
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}
