//! The manual pages, judged by groff and mandoc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Lab, Output};

/// The page of the policy file, which is written by hand.
fn policy_page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mpls-xdp/packaging/mpls-xdp-policy.5")
}

fn pages(lab: &Lab) -> Vec<PathBuf> {
    let folder = lab.store.directory().join("man");
    lab.run(["man", folder.to_str().unwrap()]).ends(0);
    let mut pages: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// A page as a reader sees it.
fn shown(page: &Path) -> Output {
    let mut man = Command::new("man");
    man.args(["--warnings", "--local-file", "--encoding=UTF-8", "--pager=cat"]);
    man.arg(page).env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8");
    let output = Output::of(&mut man).ends(0);
    assert_eq!(output.stderr, "", "{output}");
    output
}

#[test]
fn each_command_has_a_page_that_says_everything() {
    let lab = Lab::new();
    let pages = pages(&lab);
    let help = lab.run(["--help"]).ends(0).stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.trim_start().split(' ').next().unwrap())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 7, "{help}");
    for command in &commands {
        let name = format!("mpls-xdp-{command}.8");
        assert!(pages.iter().any(|page| page.ends_with(&name)), "no {name} in {pages:?}");
    }
    for page in &pages {
        let sections =
            ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "SEE ALSO"];
        let shown = shown(page).prints(&sections);
        let shown = shown.prints(&[
            "5      another XDP program",
            "mpls-xdp-policy(5)",
            "/etc/mpls-xdp/policy.toml",
        ]);
        assert!(!shown.stdout.contains("mpls-xdp-man(8)"), "{shown}");
    }
    // Every page but the first one is a command's, and shows the examples of its help.
    for page in pages.iter().filter(|page| !page.ends_with("mpls-xdp.8")) {
        let name = page.file_stem().unwrap().to_str().unwrap().strip_prefix("mpls-xdp-").unwrap();
        let words: Vec<&str> = name.split('-').collect();
        let help = lab.run([&words[..], &["--help"]].concat()).ends(0).stdout;
        let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{help}"));
        let lines: Vec<&str> = examples.lines().map(str::trim).collect();
        assert!(lines.len() >= 2, "{help}");
        shown(page).prints(&["EXAMPLES"]).prints(&lines);
    }
}

#[test]
fn mandoc_finds_no_error_and_in_the_page_of_the_policy_no_warning() {
    let lab = Lab::new();
    let lint = |page: &Path, level: &str| {
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-T", "lint", "-W", level]).arg(page);
        let output = Output::of(&mut mandoc).ends(0);
        assert_eq!(output.stdout, "", "{output}");
    };
    for page in pages(&lab) {
        lint(&page, "error");
    }
    lint(&policy_page(), "warning");
}

#[test]
fn the_page_of_the_policy_has_every_key() {
    let shown = shown(&policy_page());
    let keys = [
        "version",
        "mode",
        "kind",
        "labels",
        "pops",
        "interface",
        "vlan",
        "role",
        "contexts",
        "max-depth",
        "inner",
        "special",
    ];
    let values = [
        "enforce",
        "monitor",
        "vrf",
        "transport",
        "customer",
        "peer",
        "core",
        "opaque",
        "validate",
        "explicit-null",
        "router-alert",
        "entropy",
        "gal",
        "oam-alert",
        "extended",
    ];
    shown.prints(&keys).prints(&values).prints(&["EXAMPLES", "FILES", "SEE ALSO", "mpls-xdp(8)"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_1() {
    let lab = Lab::new();
    lab.run(["man", "/proc/nowhere"]).ends(1).says(&["/proc/nowhere"]);
}
