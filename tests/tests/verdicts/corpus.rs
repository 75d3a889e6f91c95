//! The fuzzer's corpus: what once reached new code is judged again.

use std::fs;
use std::path::Path;

use mpls_xdp_tests::fuzzing;
use mpls_xdp_tests::generate::Case;

use crate::judges::case;
use crate::stand::{Stand, kernel_splits};

/// Every input of a target, by file name.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry of the corpus").path();
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.display().to_string(), bytes)
    };
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(read).collect()
}

#[test]
fn the_judges_agree_about_the_corpus_of_frames() {
    let mut stand = Stand::new();
    let (mut accepted, mut refused) = (0, 0);
    for (file, input) in inputs("verdict") {
        let Case { policy, arrival } = fuzzing::case(&input);
        let text = policy.to_string();
        let (interface, frame) = (&arrival.interface, &arrival.frame[..]);
        let mut trial = stand.policy(&text);
        let mut linear = vec![frame.len()];
        if kernel_splits() {
            linear.push(frame.len() / 2);
        }
        for linear in linear {
            let judged = trial.verdict(interface, frame, linear);
            let judgement = judged.unwrap_or_else(|disagreement| {
                panic!("{file}: {disagreement}\n{}", case(&text, interface, frame))
            });
            match (judgement.reason, judgement.ingress) {
                (None, Some(_)) => accepted += 1,
                (Some(_), _) => refused += 1,
                (None, None) => {}
            }
        }
        trial.assert_counters();
    }
    assert!(accepted > 20 && refused > 50, "the corpus accepts {accepted}, refuses {refused}");
}

#[test]
fn the_corpus_of_policies_reads_and_compiles_as_the_oracle_says() {
    let (mut valid, mut invalid) = (0, 0);
    for (file, input) in inputs("policy") {
        let Ok(text) = str::from_utf8(&input) else { continue };
        match fuzzing::policy(text) {
            Ok(0) => invalid += 1,
            Ok(_) => valid += 1,
            Err(disagreement) => panic!("{file}: {disagreement}"),
        }
    }
    assert!(valid > 20 && invalid > 100, "{valid} policies are valid, {invalid} are not");
}
