//! `suggest`: what it sees on real interfaces and what it writes. Which labels it proposes as rules
//! is in `suggestion::tests`, since not every kernel has a label table.

use std::fs;

use mpls_xdp_tests::frame::{C_TAG, Frame, Tag};
use nix::sys::signal::Signal;

use super::capture::Running;
use super::support::{Lab, Wire, core};

const POLICY: &str = r#"# the edge
version = 1
[contexts.red]
kind = "vrf"
labels = [100]
[contexts.blue]
kind = "vrf"
labels = [200]
[ingress.peer] # a neighbour
interface = "eth1"
role = "peer"
contexts = ["red"]
mode = "monitor"
[ingress.core]
interface = "eth2"
role = "core"
contexts = ["red", "blue"]
"#;

/// Two filtered interfaces; what `peer` sends passes.
fn lab() -> (Lab, [Wire; 2]) {
    let lab = Lab::new();
    let wires = ["eth1", "eth2"].map(|name| lab.wire(name));
    lab.apply(POLICY).ends(0);
    (lab, wires)
}

fn start(lab: &Lab, options: &[&str]) -> Running {
    Running::start_other(lab, &[&["suggest"], options].concat(), "watching")
}

#[test]
fn what_came_in_is_told_in_a_policy_that_can_be_applied() {
    let (lab, wires) = lab();
    let watch = start(&lab, &["--for", "1h"]);
    assert_eq!(wires[0].passes(&[100, 200, 999, 999]), [true; 4]);
    assert_eq!(wires[1].passes(&[100, 300]), [true, false]);
    let tagged = Frame::mpls([100]).tag(Tag::new(C_TAG, 7)).build();
    assert_eq!(wires[1].pass(&[tagged]), [false]);
    let output = watch.interrupt().says(&[
        "5 refused frames sampled",
        "that a label came in does not authorise it",
        "mpls-xdp apply FILE --confirm-within 60s",
    ]);
    for words in [
        "# Ingress peer:\n",
        "label_out_of_vrf, label 200: 1 frame sampled from ",
        "VRF context blue has it",
        "label_out_of_range, label 999: 2 frames sampled from ",
        "# Ingress core:\n",
        "label_out_of_range, label 300: 1 frame",
        "# interface = \"eth2\"\n# vlan = [7]\n",
        "#   - core: blue\n",
    ] {
        assert!(output.stdout.contains(words), "{words}: {output}");
    }
    assert!(!output.stdout.contains("#   - peer: red"), "it had a frame: {output}");
    assert!(output.stdout.starts_with(POLICY), "{output}");
    let file = lab.file("observed.toml", &output.stdout);
    let file = file.to_str().unwrap();
    lab.run(["check", file, "--live"]).ends(0);
    lab.run(["diff", file]).ends(0).prints(&["nothing changes"]);
    lab.run(["apply", file]).ends(0);
    lab.take_down();
}

#[test]
fn it_writes_a_file_once_and_prints_json() {
    let (lab, wires) = lab();
    let file = lab.store.directory().join("observed.toml");
    let name = file.to_str().unwrap();
    let options = ["--for", "1h", "--json", "--output", name, "--ingress", "peer"];
    let watch = start(&lab, &options);
    assert_eq!(wires[0].passes(&[200, 201, 202]), [true; 3]);
    assert_eq!(wires[1].passes(&[300]), [false]);
    let document = watch.interrupt().json();
    assert_eq!(document["sampled"], 3, "{document}");
    assert_eq!(document["unused_rules"], serde_json::json!(["peer: red"]));
    let places = document["places"].as_array().unwrap();
    assert_eq!((places.len(), &places[0]["ingress"]), (1, &"peer".into()), "{document}");
    let remarks = places[0]["remarks"].as_array().unwrap();
    let labels: Vec<_> = remarks.iter().map(|remark| &remark["labels"]).collect();
    assert!(labels.contains(&&serde_json::json!([[201, 202]])), "{document}");
    assert!(fs::read_to_string(&file).unwrap().starts_with(POLICY));
    lab.run(["check", name]).ends(0);
    // It says so before the watch.
    lab.run(["suggest", "--for", "1h", "--output", name]).ends(1).says(&[name, "--force"]);
    lab.run(["suggest", "--for", "1s", "--output", name, "--force"]).ends(0);
    lab.take_down();
}

#[test]
fn nothing_refused_is_said_and_the_policy_stays_as_it_is() {
    let (lab, wires) = lab();
    let watch = start(&lab, &["--for", "2s"]);
    assert_eq!(wires[0].passes(&[100]), [true]);
    let output = watch.end().ends(0).says(&["Nothing was refused within 2s"]);
    assert!(output.stdout.starts_with(POLICY), "{output}");
    assert!(output.stdout.contains("# Nothing was refused.\n"), "{output}");
    lab.take_down();
}

#[test]
fn one_samples_at_a_time_and_a_new_policy_is_added_to() {
    let (lab, wires) = lab();
    let watch = start(&lab, &["--for", "1h"]);
    let number = format!("process {}", watch.id());
    for other in ["capture", "suggest"] {
        lab.run([other]).ends(1).says(&[&number, "only one can at a time"]);
    }
    assert_eq!(wires[0].passes(&[200]), [true]);
    let newer = core(&["eth1", "eth2"], "100");
    lab.apply(&newer).ends(0);
    let output = watch.interrupt().says(&["the policy changed meanwhile", "generation 2"]);
    assert!(output.stdout.starts_with(&newer), "{output}");
    assert!(output.stdout.contains("label 200: 1 frame sampled from "), "{output}");

    // Taken off meanwhile, there is nothing to add to.
    let watch = start(&lab, &["--for", "1h"]);
    lab.run(["detach", "--all"]).ends(0);
    watch.end().ends(1).says(&["taken off"]);
    lab.take_down();
}

#[test]
fn it_ends_when_it_is_told_to_and_takes_no_other_ingress() {
    let (lab, _wires) = lab();
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let watch = start(&lab, &["--for", "1h"]);
        watch.signal(signal);
        watch.end().ends(0).says(&["Nothing was refused"]);
    }
    lab.run(["suggest", "--ingress", "nobody"]).ends(1).says(&["nobody", "peer, core"]);
    lab.run(["suggest", "--for", "10"]).ends(2).says(&["60s, 5m or 2h"]);
    lab.run(["suggest", "--force"]).ends(2).says(&["--output"]);
    lab.take_down();
}
