//! Interfaces that are deleted, renamed and made anew while a policy is in force.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::support::{Lab, core, ip};

/// What the udev rule looks for.
fn entry(lab: &Lab, interface: &str) -> PathBuf {
    lab.store.state().join("interfaces").join(interface)
}

#[test]
fn an_interface_that_was_made_anew_is_filtered_again() {
    let lab = Lab::new();
    let (kept, lost) = (lab.wire("eth1"), lab.wire("eth2"));
    lab.apply(&core(&["eth1", "eth2"], "100")).ends(0);
    let before = lab.healthy();
    lab.run(["reattach"]).ends(0).prints(&[]);
    assert_eq!(lab.healthy(), before);

    drop(lost);
    ip(&lab.router, "link delete eth2");
    let wire = lab.wire("eth2");
    assert_eq!(wire.passes(&[100, 200]), [true, true], "it has no filter yet");
    assert!(lab.unhealthy().complains(&["eth2", "not filtered"]));
    lab.run(["reattach"]).ends(0).prints(&["eth2 is filtered now"]);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    assert_eq!(kept.passes(&[100, 200]), [true, false]);
    assert!(!wire.port.feature("rx-vlan-hw-parse").unwrap());
    let after = lab.healthy();
    assert_eq!(after.generation(), before.generation(), "the policy is the same one");
    assert_eq!(after.programs()["eth1"], before.programs()["eth1"]);
    lab.take_down();
}

#[test]
fn the_policy_in_force_counts_not_a_file() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply(&core(&["eth1"], "100")).ends(0);
    lab.policy("not a policy any more");
    drop(wire);
    ip(&lab.router, "link delete eth1");
    let wire = lab.wire("eth1");
    lab.run(["reattach"]).ends(0).prints(&["eth1"]);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
}

#[test]
fn an_interface_that_was_absent_is_filtered_when_it_comes() {
    let lab = Lab::new();
    lab.apply(&core(&["eth1"], "100")).ends(0);
    let wire = lab.wire("eth1");
    lab.run(["reattach"]).ends(0).prints(&["eth1"]);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
}

#[test]
fn what_was_taken_off_stays_off() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.run(["detach", "--interface", "eth1"]).ends(0);
    let output = lab.run(["reattach"]).ends(0);
    assert_eq!(output.stdout, "", "{output}");
    assert_eq!(wire.passes(&[100, 200]), [true, true]);
}

#[test]
fn a_renamed_interface_follows_its_new_name_after_an_apply() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let policy = core(&["eth1", "eth2"], "100");
    lab.apply(&policy).ends(0);
    drop(wire);
    ip(&lab.router, "link set eth1 down name eth2");
    lab.run(["reattach"]).ends(1).says(&["eth2 was renamed", "apply the policy again"]);
    lab.apply(&policy).ends(0);
    lab.run(["reattach"]).ends(0);
    assert_eq!(lab.unhealthy().attached()["eth2"], "native");
}

#[test]
fn as_json_it_names_what_is_filtered_now_and_what_is_not() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let policy = core(&["eth1", "eth2", "eth3"], "100");
    lab.apply(&policy).ends(0);
    let nothing = json!({"schema": 1, "attached": [], "failed": []});
    assert_eq!(lab.run(["reattach", "--json"]).ends(0).json(), nothing);
    drop(wire);
    ip(&lab.router, "link set eth1 down name eth2");
    let _third = lab.wire("eth3");
    let output = lab.run(["reattach", "--json"]).ends(1).says(&["eth2 was renamed"]);
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    let said = output.json();
    assert_eq!((&said["schema"], &said["attached"]), (&json!(1), &json!(["eth3"])));
    assert_eq!(said["failed"].as_array().unwrap().len(), 1);
    assert_eq!(said["failed"][0]["interface"], "eth2");
    assert!(said["failed"][0]["error"].as_str().unwrap().contains("renamed"), "{said}");
}

#[test]
fn entries_for_udev_are_there_for_the_interfaces_of_the_policy() {
    let lab = Lab::new();
    let _wires = ["eth1", "eth2"].map(|name| lab.wire(name));
    let there = |names: [&str; 3]| names.map(|name| entry(&lab, name).exists());
    lab.apply(&core(&["eth1", "absent"], "100")).ends(0);
    assert_eq!(there(["eth1", "absent", "eth2"]), [true, true, false]);
    lab.apply(&core(&["eth2"], "100")).ends(0);
    assert_eq!(there(["eth1", "absent", "eth2"]), [false, false, true]);

    // Another network namespace with the same state folder keeps its own.
    let other = Lab::new();
    let _wire = other.wire("eth2");
    let policy = other.policy(&core(&["eth2"], "100"));
    let apply = ["apply", policy.to_str().unwrap()];
    let in_other = |arguments: &[&str]| {
        super::support::Output::of(&mut other.command_with(&lab.store, arguments))
    };
    in_other(&apply).ends(0);
    lab.run(["detach", "--all"]).ends(0);
    assert!(entry(&lab, "eth2").exists());
    in_other(&["detach", "--all"]).ends(0);
    assert!(!lab.store.state().join("interfaces").exists());
}

#[test]
fn a_refused_policy_leaves_the_entries_as_they_were() {
    let (lab, _wire) = Lab::filtering("eth1");
    let taken = lab.wire("eth2");
    let other = mpls_xdp_tests::lab::HandWritten::pass_all().unwrap();
    taken.port.attach_over_netlink(&other).unwrap();
    lab.apply(&core(&["eth1", "eth2"], "100")).ends(5);
    assert!(entry(&lab, "eth1").exists());
    assert!(!entry(&lab, "eth2").exists());
}

#[test]
fn without_a_policy_in_force_it_says_so() {
    let lab = Lab::new();
    lab.run(["reattach"]).ends(1).says(&["no policy is applied"]);
    let folder = lab.store.state();
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!left.contains(&folder.join("interfaces")), "{left:?}");
}
