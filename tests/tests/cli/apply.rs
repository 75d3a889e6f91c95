//! What `apply` does to interfaces.

use std::ffi::OsStr;

use super::support::{Lab, Output, core, ip, is_bare};

#[test]
fn a_dry_run_changes_nothing() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());
    let policy = core(&["eth1"], "100");
    lab.apply_with(&policy, &["--dry-run"])
        .ends(0)
        .prints(&["would attach to: eth1", "would turn rx-vlan-offload off on eth1", "reset"])
        .prints(&["Nothing was changed"]);
    assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());
    assert!(is_bare(lab.store.bpffs()));
    assert_eq!(wire.passes(&[100, 200]), [true, true]);

    lab.apply(&policy).ends(0).prints(&["in force as generation 1"]);
    let before = (lab.healthy(), lab.pin_names());
    lab.apply_with(&core(&["eth1"], "200"), &["--dry-run"])
        .ends(0)
        .prints(&["would keep filtering: eth1"]);
    lab.apply_with(&core(&["eth2"], "200"), &["--dry-run"])
        .ends(0)
        .prints(&["would take off: eth1"]);
    assert_eq!((lab.healthy(), lab.pin_names()), before);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    lab.take_down();
}

#[test]
fn an_absent_interface_is_warned_of_and_filtered_once_it_is_there() {
    let lab = Lab::new();
    let here = lab.wire("eth1");
    let policy = core(&["eth1", "eth2"], "100");
    lab.apply(&policy).ends(0).says(&["warning", "eth2"]);
    let status = lab.unhealthy();
    assert_eq!(status.attached(), [("eth1", "native"), ("eth2", "none")].into());
    assert!(status.complains(&["eth2", "does not exist", "apply"]), "{status:?}");
    lab.run(["status"]).ends(1).prints(&["eth2", "NO"]);
    assert_eq!(here.passes(&[100, 200]), [true, false]);

    let late = lab.wire("eth2");
    assert!(lab.unhealthy().complains(&["eth2", "apply the policy again"]));
    assert_eq!(late.passes(&[200]), [true]);
    let output = lab.apply(&policy).ends(0).prints(&["attach to: eth2", "keep filtering: eth1"]);
    assert!(!output.stderr.contains("warning"), "{output}");
    assert_eq!(lab.healthy().attached(), [("eth1", "native"), ("eth2", "native")].into());
    assert_eq!(late.passes(&[100, 200]), [true, false]);
    lab.take_down();
}

#[test]
fn an_interface_that_is_made_anew_is_noticed_and_healed() {
    let (lab, wire) = Lab::filtering("eth1");
    let pins = lab.pin_names();
    let made = lab.objects();
    wire.port.remove().unwrap();
    assert!(lab.unhealthy().complains(&["eth1", "does not exist"]));
    let wire = lab.wire("eth1");
    assert!(lab.unhealthy().complains(&["eth1", "apply the policy again"]));
    assert_eq!(wire.passes(&[200]), [true]);

    lab.apply(&core(&["eth1"], "100")).ends(0);
    lab.healthy();
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    assert_eq!(lab.pin_names().len(), pins.len(), "a link's pin was left: {:?}", lab.pin_names());
    let now = lab.objects();
    assert_eq!((now.links.len(), now.programs.len()), (1, 1));
    assert!(now.links.keys().all(|link| !made.links.contains_key(link)));
    lab.take_down();
}

#[test]
fn an_interface_that_is_gone_loses_its_pin_with_the_next_apply() {
    let (lab, wire) = Lab::filtering("eth1");
    wire.port.remove().unwrap();
    lab.apply(&core(&["eth1"], "100")).ends(0).says(&["warning", "eth1"]);
    assert!(!lab.pin_names().iter().any(|name| name.starts_with("link-")), "{:?}", lab.pin_names());
    lab.take_down();
}

#[test]
fn an_interface_keeps_its_filter_under_a_new_name() {
    let (lab, wire) = Lab::filtering("eth1");
    let program = lab.healthy().programs()["eth1"];
    ip(&lab.router, "link set dev eth1 down");
    ip(&lab.router, "link set dev eth1 name uplink");
    ip(&lab.router, "link set dev uplink up");
    assert!(lab.unhealthy().complains(&["eth1", "does not exist"]));
    lab.apply(&core(&["uplink"], "100")).ends(0).prints(&["keep filtering: uplink"]);
    let status = lab.healthy();
    assert_eq!(status.attached(), [("uplink", "native")].into());
    assert_eq!(status.programs()["uplink"], program);
    drop(wire);

    // Nothing stays on what the policy does not name.
    lab.apply(&core(&["eth1"], "100")).ends(0).prints(&["take off: uplink"]).says(&["warning"]);
    assert_eq!(lab.unhealthy().attached(), [("eth1", "none")].into());
    assert!(!lab.pin_names().iter().any(|name| name.starts_with("link-")), "{:?}", lab.pin_names());
    lab.take_down();
}

#[test]
fn two_ports_swap_their_names() {
    let lab = Lab::new();
    let (one, two) = (lab.wire("eth1"), lab.wire("eth2"));
    let policy = "version = 1\n[contexts.core]\nkind = \"transport\"\nlabels = [100]\n\
                  [ingress.customer]\ninterface = \"eth1\"\nrole = \"customer\"\n\
                  [ingress.core]\ninterface = \"eth2\"\nrole = \"core\"\ncontexts = [\"core\"]\n";
    lab.apply(policy).ends(0);
    assert_eq!((one.passes(&[100]), two.passes(&[100])), (vec![false], vec![true]));
    drop((one, two));
    for port in ["eth1", "eth2"] {
        ip(&lab.router, &format!("link set dev {port} down"));
    }
    for (from, to) in [("eth1", "other"), ("eth2", "eth1"), ("other", "eth2")] {
        ip(&lab.router, &format!("link set dev {from} name {to}"));
    }
    lab.unhealthy();
    lab.apply(policy).ends(0);
    lab.healthy();
    lab.take_down();
}

#[test]
fn a_driver_without_native_xdp_takes_generic_mode() {
    let lab = Lab::new();
    ip(&lab.router, "link add name br0 type bridge");
    let policy = core(&["br0"], "100");
    lab.apply(&policy).ends(1).says(&["br0", "no native XDP", "--mode generic"]);
    assert!(is_bare(lab.store.bpffs()), "a failed apply left pins");
    lab.apply_with(&policy, &["--mode", "generic"]).ends(0);
    assert_eq!(lab.healthy().attached(), [("br0", "generic")].into());
    lab.run(["status"]).ends(0).prints(&["br0", "generic"]);
    let stats = lab.run(["stats", "--json"]).ends(0).json();
    assert_eq!(stats["interfaces"][0]["attached"], "generic");
    lab.take_down();
}

#[test]
fn an_apply_that_fails_leaves_what_was() {
    let (lab, wire) = Lab::filtering("eth1");
    let other = lab.wire("eth2");
    ip(&lab.router, "link add name br0 type bridge");
    let before = (lab.healthy(), lab.pin_names());
    lab.apply(&core(&["eth1", "eth2", "br0"], "200")).ends(1).says(&["br0", "no native XDP"]);
    assert_eq!((lab.healthy(), lab.pin_names()), before);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    assert_eq!(other.passes(&[100, 200]), [true, true]);
    assert!(other.port.feature("rx-vlan-hw-parse").unwrap());
    assert!(!wire.port.feature("rx-vlan-hw-parse").unwrap());
    lab.take_down();
}

#[test]
fn generic_mode_filters() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply_with(&core(&["eth1"], "100"), &["--mode", "generic"]).ends(0);
    assert_eq!(lab.healthy().attached(), [("eth1", "generic")].into());
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    // The mode is for interfaces that have no program yet.
    lab.apply(&core(&["eth1"], "200")).ends(0);
    assert_eq!(lab.healthy().attached(), [("eth1", "generic")].into());
    assert_eq!(wire.passes(&[100, 200]), [false, true]);
    lab.take_down();
}

#[test]
fn namespaces_that_share_folders_do_not_meet() {
    let (lab, wire) = Lab::filtering("eth1");
    let there = Lab::new();
    let there_wire = there.wire("eth1");
    let policy = there.policy(&core(&["eth1"], "500"));
    let run = |arguments: &[&OsStr]| Output::of(&mut there.command_with(&lab.store, arguments));
    let apply = [OsStr::new("apply"), policy.as_os_str()];
    run(&apply).ends(0).prints(&["generation 1"]);
    run(&["status".as_ref()]).ends(0);
    assert_eq!(there_wire.passes(&[100, 500]), [false, true]);
    assert_eq!(wire.passes(&[100, 500]), [true, false]);
    run(&["detach".as_ref(), "--all".as_ref()]).ends(0);
    assert_eq!(there_wire.passes(&[100, 500]), [true, true]);
    lab.healthy();
    assert_eq!(wire.passes(&[100, 500]), [true, false]);
    lab.take_down();
}
