//! A case that a test prints can be run again by hand, in both ways that it says.

use std::path::Path;
use std::process::Command;

use mpls_xdp_tests::generate::{self, Arrival, Case};
use mpls_xdp_tests::{counterexample, oracle::Oracle, product};
use serde_json::Value;

/// Runs a line that a case was printed with in bash; the line of JSON that comes out.
fn run(line: &str) -> Value {
    let program = product::binary().unwrap_or_else(|error| panic!("{error:#}"));
    let folder = program.parent().expect("a program is in a folder");
    // The first `mpls-xdp` on the path is the one that was built.
    let script = format!("PATH={}:$PATH\n{line}", folder.display());
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{error}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|parse| panic!("{parse}\n{line}\n{error}"))
}

#[test]
fn a_printed_case_runs_again_from_the_clipboard_and_from_its_files() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for Case { policy, arrival: Arrival { interface, frame } } in generate::cases(3).take(12) {
        let text = policy.to_string();
        let expected = Oracle::new(&text).judge(&interface, &frame).replay_line(1);
        let shown = counterexample::keep(folder, &text, &interface, &frame)
            .unwrap_or_else(|error| panic!("{error:#}"));
        assert!(shown.contains(&text) && shown.contains(&counterexample::hex(&frame)), "{shown}");

        let start = shown.find("mpls-xdp replay --json").expect("a command to paste");
        let end = shown.find("To run it again from the files").expect("a command for the files");
        assert_eq!(run(&shown[start..end]), expected, "{shown}");

        let from_files = shown.lines().last().expect("the last line names the files");
        assert_eq!(run(&format!("{from_files} --json")), expected, "{shown}");
        let kept = from_files.rsplit(' ').next().map(Path::new).and_then(Path::parent);
        std::fs::remove_dir_all(kept.expect("a folder")).expect("the files can be removed");
    }
}
