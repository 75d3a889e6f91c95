//! Taking the filter off.

use serde_json::json;

use super::support::{Lab, core, is_bare};

#[test]
fn one_interface_is_taken_off_and_put_back() {
    let lab = Lab::new();
    let (one, two) = (lab.wire("eth1"), lab.wire("eth2"));
    let policy = core(&["eth1", "eth2"], "100");
    lab.apply(&policy).ends(0);
    lab.run(["detach", "--interface", "eth1"]).ends(0).prints(&["eth1", "not filtered"]);
    assert_eq!((one.passes(&[200]), two.passes(&[200])), (vec![true], vec![false]));
    assert!(one.port.feature("rx-vlan-hw-parse").unwrap());
    let status = lab.unhealthy();
    assert_eq!(status.attached(), [("eth1", "none"), ("eth2", "native")].into());
    assert!(status.complains(&["eth1", "detach --interface", "apply"]), "{status:?}");
    // A second time is no error, and other interfaces are.
    lab.run(["detach", "--interface", "eth1"]).ends(0);
    lab.run(["detach", "--interface", "eth9"]).ends(1).says(&["eth9", "eth1", "eth2"]);

    lab.apply(&policy).ends(0).prints(&["attach to: eth1"]);
    lab.healthy();
    assert_eq!((one.passes(&[200]), two.passes(&[200])), (vec![false], vec![false]));
    lab.take_down();
}

#[test]
fn detach_all_leaves_nothing_and_may_be_repeated() {
    let (lab, wire) = Lab::filtering("eth1");
    assert_eq!(wire.passes(&[200]), [false]);
    lab.take_down();
    assert_eq!(wire.passes(&[200]), [true]);
    lab.run(["detach", "--all"]).ends(0);
    assert!(is_bare(lab.store.bpffs()));
    lab.run(["status"]).ends(1).says(&["no policy is applied"]);
    // Counters start anew.
    lab.apply(&core(&["eth1"], "100")).ends(0).prints(&["generation 1"]);
    assert_eq!(lab.packets("at-eth1", "/dropped"), 0);
    lab.take_down();
}

#[test]
fn as_json_it_names_the_interfaces_and_the_offloads_that_are_on_again() {
    let lab = Lab::new();
    let _wires = ["eth1", "eth2"].map(|name| lab.wire(name));
    lab.apply(&core(&["eth1", "eth2"], "100")).ends(0);
    let detach = |options: &[&str]| {
        let output = lab.run([&["detach", "--json"], options].concat()).ends(0);
        assert_eq!(output.stdout.lines().count(), 1, "{output}");
        output.json()
    };
    let offloads = |interface: &str| {
        ["rx-vlan-offload", "rx-vlan-stag-hw-parse"]
            .map(|offload| json!({"interface": interface, "offload": offload}))
    };
    let one =
        json!({"schema": 1, "all": false, "detached": ["eth1"], "offloads": offloads("eth1")});
    assert_eq!(detach(&["--interface", "eth1"]), one);
    let again = json!({"schema": 1, "all": false, "detached": [], "offloads": []});
    assert_eq!(detach(&["--interface", "eth1"]), again);
    let output = lab.run(["detach", "--interface", "eth9", "--json"]).ends(1).says(&["eth9"]);
    assert_eq!(output.stdout, "");
    let all = json!({"schema": 1, "all": true, "detached": ["eth2"], "offloads": offloads("eth2")});
    assert_eq!(detach(&["--all"]), all);
    assert!(is_bare(lab.store.bpffs()));
    let nothing = json!({"schema": 1, "all": true, "detached": [], "offloads": []});
    assert_eq!(detach(&["--all"]), nothing);
}

#[test]
fn detach_all_without_anything_is_no_error() {
    let lab = Lab::new();
    lab.run(["detach", "--all"]).ends(0);
    assert!(is_bare(lab.store.bpffs()));
}
