//! `mpls-xdp help`: commands, and the reasons for which frames are refused.

use std::{
    ffi::OsString,
    io::{Write as _, stdout},
    iter,
    process::ExitCode,
};

use anyhow::Result;
use clap::{
    CommandFactory as _,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use mpls_xdp::reasons::{self, Page};

use super::text;

/// Says what a command does, or what a reason means.
#[derive(clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_long_help = "Examples:
  mpls-xdp help apply
      Show what a command takes
  mpls-xdp help reasons
      List the reasons for which frames are refused
  mpls-xdp help reason label_spoofed
      Say what a reason means, and what to look at next")]
pub(super) struct Arguments {
    #[command(subcommand)]
    topic: Option<Topic>,
}

#[derive(clap::Subcommand)]
enum Topic {
    /// List the reasons for which frames are refused
    #[command(after_long_help = "Examples:
  mpls-xdp help reasons
      All of them, in the order of the checks")]
    Reasons,
    /// Explain one reason: what it means, its usual cause and attack, what to look at next
    #[command(after_long_help = "Examples:
  mpls-xdp help reason label_out_of_vrf
      After `mpls-xdp stats` or `mpls-xdp top` has shown it")]
    Reason {
        /// The reason, as `stats` and `replay` call it
        #[arg(value_parser = reason_parser(), hide_possible_values = true)]
        name: Page,
    },
    /// Show what a command takes
    #[command(external_subcommand)]
    Command(Vec<OsString>),
}

fn reason_parser() -> impl TypedValueParser<Value = Page> {
    PossibleValuesParser::new(reasons::pages().map(|page| page.name))
        .map(|name| reasons::page(&name).expect("the parser took the name from the pages"))
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = match &arguments.topic {
        None => help_of(None),
        Some(Topic::Command(words)) => match &words[..] {
            [command] => help_of(Some(command)),
            [_, more, ..] => super::Arguments::command()
                .error(
                    ErrorKind::InvalidSubcommand,
                    format!("unrecognized subcommand '{}'", more.display()),
                )
                .exit(),
            [] => help_of(None),
        },
        Some(Topic::Reasons) => list(),
        Some(Topic::Reason { name }) => show(name),
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Ends as the command does with `--help`, which also knows what to say when there is none.
fn help_of(command: Option<&OsString>) -> ! {
    let program = OsString::from(env!("CARGO_PKG_NAME"));
    let words = [Some(program), command.cloned(), Some("--help".into())];
    match super::definition().try_get_matches_from(words.into_iter().flatten()) {
        Err(help) => help.exit(),
        Ok(_) => unreachable!("clap takes `--help` for a wish for help"),
    }
}

fn list() -> String {
    let header = ["REASON", "SOURCE", "MEANING"].map(str::to_owned).to_vec();
    let rows: Vec<_> = iter::once(header)
        .chain(reasons::pages().map(|Page { name, source, meaning, .. }| {
            [name, source, meaning].map(str::to_owned).to_vec()
        }))
        .collect();
    format!("{}\n`mpls-xdp help reason NAME` explains one of them.\n", text::table(&rows, 3))
}

fn show(page: &Page) -> String {
    let Page { name, source, meaning, advice } = page;
    let mut shown = format!("{name} ({source})\n{}", text::paragraph("", &format!("{meaning}.")));
    let sections = [
        ("WHAT IS CHECKED", advice.about),
        ("USUAL INNOCENT CAUSE", advice.innocent),
        ("USUAL ATTACK", advice.attack),
    ];
    for (title, words) in sections {
        shown += &format!("\n{title}\n{}", text::paragraph("  ", words));
    }
    shown += "\nWHAT TO LOOK AT NEXT\n";
    shown.extend(advice.next.iter().map(|step| text::paragraph("  - ", step)));
    shown
}
