//! The policy changes while a capture is at work.

use std::fmt::Write as _;
use std::io::BufRead as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Generator;

use super::{Running, counts, last};
use crate::cli::support::Lab;

/// How long a frame may take to be shown on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// On eth1 there is only this customer; it refuses everything.
const ALPHA: &str = r#"
version = 1
ingress.alpha = { interface = "eth1", role = "customer" }
"#;
/// On eth1 there is only this peer; it refuses label 999 because nobody has it.
const BETA: &str = r#"
version = 1
ingress.beta = { interface = "eth1", role = "peer", labels = [100] }
"#;

/// So many ingresses before the one that frames come in at.
fn crowded(others: usize) -> String {
    let mut text = "version = 1\n".to_owned();
    for number in 0..others {
        writeln!(
            text,
            "ingress.other-{number} = {{ interface = \"eth1\", vlan = [{}], role = \"customer\" }}",
            number + 1
        )
        .unwrap();
    }
    text + "ingress.gamma = { interface = \"eth1\", role = \"peer\", labels = [100] }\n"
}

#[test]
fn names_and_counts_follow_the_policy() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply(ALPHA).ends(0);
    let mut capture = Running::start(&lab, &["--json"]);
    // Other numbers, other slots, other maps, and back: 500 ingresses need more of all.
    let crowds = [crowded(0), crowded(1), crowded(500)];
    let [none, one, many] = &crowds;
    for (policy, ingress, reason) in [
        (ALPHA, "alpha", "mpls_not_enabled"),
        (BETA, "beta", "label_out_of_range"),
        (none, "gamma", "label_out_of_range"),
        (one, "gamma", "label_out_of_range"),
        (many, "gamma", "label_out_of_range"),
        (ALPHA, "alpha", "mpls_not_enabled"),
        (BETA, "beta", "label_out_of_range"),
    ] {
        lab.apply(policy).ends(0);
        wire.passes(&[999, 998, 997]);
        for label in [999, 998, 997] {
            let shown = capture.json();
            assert_eq!(shown["ingress"], ingress, "{shown}");
            assert_eq!(shown["reason"], reason, "{shown}");
            assert_eq!(shown["stack"][0]["label"], label, "{shown}");
        }
    }
    let output = capture.interrupt().says(&["generation 3 of the policy is in force"]);
    let summary = last(&output);
    assert_eq!(counts(&summary, "alpha", "mpls_not_enabled"), [6, 6, 0, 0]);
    assert_eq!(counts(&summary, "beta", "label_out_of_range"), [6, 6, 0, 0]);
    assert_eq!(counts(&summary, "gamma", "label_out_of_range"), [9, 9, 0, 0]);
    assert_eq!((&summary["unnamed"], summary["summary"].as_array().unwrap().len()), (&0.into(), 3));
    lab.take_down();
}

#[test]
fn nothing_is_called_by_a_wrong_name_while_policies_follow_each_other() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply(ALPHA).ends(0);
    let mut capture = Running::start(&lab, &["--json", "--rate", "2000"]);
    let stdout = std::mem::replace(&mut capture.stdout, Box::new(std::io::empty()));
    let (shown, of_beta) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        for line in stdout.lines() {
            let line = line?;
            if line.contains("\"beta\"") {
                // Nobody waits any more from the second one on.
                shown.send(()).ok();
            }
            all.push(line);
        }
        Ok::<_, std::io::Error>(all)
    });
    let done = AtomicBool::new(false);
    let generator = Generator::new(&wire.far, &[Frame::mpls([999]).build()]).unwrap();
    let shown = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                generator.send(500).unwrap();
            }
        });
        // One that is in force for less than the capture looks has no names: the first is longer.
        lab.apply(BETA).ends(0);
        let shown = of_beta.recv_timeout(PATIENCE);
        lab.apply(ALPHA).ends(0);
        for _ in 0..7 {
            lab.apply(BETA).ends(0);
            lab.apply(ALPHA).ends(0);
        }
        done.store(true, Ordering::Relaxed);
        shown
    });
    shown.expect("a frame of beta");
    capture.interrupt();
    let lines = reading.join().unwrap().unwrap();
    let mut lines: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    for (ingress, reason) in [("alpha", "mpls_not_enabled"), ("beta", "label_out_of_range")] {
        let shown = lines.iter().filter(|line| line["ingress"] == ingress);
        let right = shown.clone().filter(|line| line["reason"] == reason).count();
        assert_eq!(right, shown.count(), "frames of {ingress} for another reason");
        assert!(right > 0, "no frame of {ingress}");
        let [refused, sampled, over_rate, ring_full] = counts(&summary, ingress, reason);
        assert_eq!(sampled, right as u64, "{summary}");
        assert_eq!(sampled + over_rate + ring_full, refused, "{summary}");
    }
    assert_eq!(summary["summary"].as_array().unwrap().len(), 2, "{summary}");
    lab.take_down();
}
