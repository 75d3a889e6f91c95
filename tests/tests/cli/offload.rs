//! Receive VLAN offload: off while an interface is filtered, as it was afterwards.

use super::support::{Lab, core};

const OFFLOAD: &str = "rx-vlan-hw-parse";
const SERVICE: &str = "rx-vlan-stag-hw-parse";

#[test]
fn it_is_off_while_filtered_and_restored() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let before = [OFFLOAD, SERVICE].map(|name| wire.port.feature(name).unwrap());
    assert_eq!(before, [true, true]);
    lab.apply(&core(&["eth1"], "100"))
        .ends(0)
        .prints(&["turn rx-vlan-offload off on eth1", "turn rx-vlan-stag-hw-parse off on eth1"]);
    for name in [OFFLOAD, SERVICE] {
        assert!(!wire.port.feature(name).unwrap());
        lab.healthy();
        wire.port.set_feature(name, true).unwrap();
        assert!(lab.unhealthy().complains(&["eth1", "is on again", "apply"]), "{name}");
        let output = lab.apply(&core(&["eth1"], "100")).ends(0);
        assert!(output.stdout.contains("turn "), "{output}");
    }
    lab.healthy();
    lab.take_down();
    assert_eq!([OFFLOAD, SERVICE].map(|name| wire.port.feature(name).unwrap()), before);
}

#[test]
fn what_was_off_before_stays_off() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    wire.port.set_feature(OFFLOAD, false).unwrap();
    let policy = core(&["eth1"], "100");
    let output = lab.apply_with(&policy, &["--dry-run"]).ends(0);
    assert!(!output.stdout.contains("rx-vlan-offload"), "{output}");
    lab.apply(&policy).ends(0);
    lab.take_down();
    assert!(!wire.port.feature(OFFLOAD).unwrap());
    assert!(wire.port.feature(SERVICE).unwrap());
}

#[test]
fn a_port_that_vanished_has_nothing_to_restore() {
    let (lab, wire) = Lab::filtering("eth1");
    wire.port.remove().unwrap();
    lab.take_down();
}
