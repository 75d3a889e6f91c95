//! Taking the filter off.

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
fn detach_all_without_anything_is_no_error() {
    let lab = Lab::new();
    lab.run(["detach", "--all"]).ends(0);
    assert!(is_bare(lab.store.bpffs()));
}
