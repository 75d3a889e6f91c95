//! `--color` and `NO_COLOR`, with and without a terminal.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use super::support::{Lab, Output, core};

/// The start of a colour (ECMA-48 SGR).
const COLOUR: &str = "\x1b[";

/// Runs the command on a terminal of its own (script(1)); what it shows is the standard output.
pub fn on_a_terminal(command: &Command) -> Command {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<String> =
        words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"))).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    script.env("TERM", "xterm").env_remove("NO_COLOR");
    script
}

#[test]
fn diagnostics_help_and_errors_are_coloured_when_asked_or_on_a_terminal() {
    let lab = Lab::new();
    let invalid = lab.policy("version = 2\n");
    let invalid = invalid.to_str().unwrap();
    let cases: [(&[&str], i32); 4] = [
        (&["check", invalid], 3),
        (&["check", "/nowhere/policy.toml"], 1),
        (&["--help"], 0),
        (&["fly"], 2),
    ];
    for (arguments, code) in cases {
        let shown = |options: &[&str], terminal: bool, no_color: bool| {
            let command = lab.command(arguments.iter().chain(options));
            let mut command = if terminal { on_a_terminal(&command) } else { command };
            if no_color {
                command.env("NO_COLOR", "1");
            }
            let output = Output::of(&mut command).ends(code);
            (output.stdout + &output.stderr).contains(COLOUR)
        };
        assert!(!shown(&[], false, false), "{arguments:?} in a pipe");
        assert!(shown(&["--color", "always"], false, false), "{arguments:?} in a pipe, always");
        assert!(shown(&["--color=always"], false, true), "{arguments:?}: asked for is asked for");
        assert!(shown(&[], true, false), "{arguments:?} on a terminal");
        assert!(!shown(&[], true, true), "{arguments:?} with NO_COLOR");
        assert!(!shown(&["--color", "never"], true, false), "{arguments:?}, never");
    }
}

#[test]
fn only_what_was_dropped_is_coloured_in_the_counters() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply(&core(&["eth1"], "100")).ends(0);
    let always = ["stats", "--color", "always"];
    let before = lab.run(always).ends(0);
    assert!(!before.stdout.contains(COLOUR), "{before}");
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    let stdout = lab.run(always).ends(0).stdout;
    let coloured: Vec<&str> = stdout.lines().filter(|line| line.contains(COLOUR)).collect();
    assert!(matches!(coloured[..], [line] if line.contains("dropped")), "{coloured:?}");
    // The columns are where they are without colours.
    let plain: String =
        stdout.split('\x1b').map(|part| part.split_once('m').map_or(part, |p| p.1)).collect();
    let first = &stdout[..stdout.find('\x1b').unwrap()];
    assert!(plain.starts_with(first));
    assert_eq!(lab.run(["stats"]).ends(0).stdout, plain);
}

#[test]
fn json_is_never_coloured() {
    let (lab, _wire) = Lab::filtering("eth1");
    for arguments in [["status", "--json"], ["stats", "--json"]] {
        let output = lab.run([&arguments[..], &["--color", "always"]].concat()).ends(0);
        assert!(!output.stdout.contains(COLOUR), "{output}");
    }
}

#[test]
fn a_file_name_may_have_any_bytes() {
    let lab = Lab::new();
    let name = OsStr::from_bytes(b"/nowhere/\xff.toml");
    lab.run([OsStr::new("check"), name]).ends(1).says(&["/nowhere/", "No such file"]);
}

#[test]
fn a_wrong_value_is_2() {
    let lab = Lab::new();
    lab.run(["status", "--color", "mauve"]).ends(2).says(&["mauve", "auto", "always", "never"]);
}
