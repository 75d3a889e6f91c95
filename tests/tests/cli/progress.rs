//! A sign of life on a terminal, and nothing of it anywhere else.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use mpls_xdp_tests::capture_file;
use mpls_xdp_tests::frame::Frame;

use super::colour::on_a_terminal;
use super::support::{Lab, Output, core};

/// Frames that take longer than a second in any build.
const FRAMES: usize = 400_000;

#[test]
fn a_long_replay_into_a_file_tells_how_far_it_is() {
    let lab = Lab::new();
    let policy = lab.policy(&core(&["eth1"], "100"));
    let capture = lab.store.directory().join("capture.pcap");
    capture_file::write(&capture, (0..FRAMES).map(|_| Frame::mpls([100]).build())).unwrap();
    let arguments =
        ["replay", "--interface", "eth1", policy.to_str().unwrap(), capture.to_str().unwrap()];
    let lines = lab.store.directory().join("lines");
    let into_a_file = |command: &Command| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        let mut shell = lab.router.command("sh");
        shell.args(["-c", &format!("{} > {}", words.join(" "), lines.display())]);
        shell
    };
    let command = into_a_file(&lab.command(arguments));
    let output = Output::of(&mut on_a_terminal(&command)).ends(0);
    assert!(
        output.stdout.contains("replaying") && output.stdout.contains("capture.pcap, "),
        "{output}"
    );
    assert!(output.stdout.ends_with("\r\x1b[K"), "the line is gone in the end: {output}");

    let mut command = into_a_file(&lab.command(arguments));
    let errors = lab.store.directory().join("errors");
    command.stderr(File::create(&errors).unwrap());
    Output::of(&mut command).ends(0);
    assert_eq!(fs::read_to_string(errors).unwrap(), "");
}

#[test]
fn what_is_done_at_once_shows_nothing() {
    let lab = Lab::new();
    let policy = lab.policy(&core(&["eth1"], "100"));
    let command = lab.command(["check", policy.to_str().unwrap()]);
    let output = Output::of(&mut on_a_terminal(&command)).ends(0);
    assert!(!output.stdout.contains("reading") && !output.stdout.contains('\x1b'), "{output}");
}

#[test]
fn a_policy_that_takes_long_to_read_is_named() {
    let lab = Lab::new();
    let policy = lab.store.directory().join("policy.toml");
    Output::of(Command::new("mkfifo").arg(&policy)).ends(0);
    let mut command = on_a_terminal(&lab.command(["check", policy.to_str().unwrap()]));
    let mut check = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = Vec::new();
    let mut terminal = BufReader::new(check.stdout.take().unwrap());
    terminal.read_until(b')', &mut shown).unwrap();
    let text = String::from_utf8(shown).unwrap();
    assert!(text.contains("reading ") && text.contains("policy.toml (1 s)"), "{text:?}");

    fs::write(&policy, core(&["eth1"], "100")).unwrap();
    let mut rest = String::new();
    terminal.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\r\x1b[K") && rest.contains("is valid"), "{rest:?}");
    assert!(check.wait().unwrap().success());
}
