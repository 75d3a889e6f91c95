//! Which of both programs is on an interface: the one for frames in one piece, or the one for
//! fragments.

use mpls_xdp_tests::leak::Objects;

use super::support::{Lab, core};

/// The names of the programs on the interfaces that `status` names.
fn names(lab: &Lab) -> Vec<String> {
    let kernel = Objects::all().unwrap();
    let programs = lab.healthy();
    let ids = programs.programs().into_values();
    ids.map(|id| kernel.programs[&u32::try_from(id.unwrap()).unwrap()].clone()).collect()
}

#[test]
fn fragments_are_taken_where_the_mtu_needs_it() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    for end in [&wire.port, &wire.far] {
        end.set_mtu(9_000).unwrap();
    }
    lab.apply(&core(&["eth1"], "100")).ends(0);
    assert_eq!(names(&lab), ["mpls_xdp_frags"]);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    lab.take_down();
}

#[test]
fn fragments_are_taken_when_asked_for_and_without_a_gap() {
    let (lab, wire) = Lab::filtering("eth1");
    assert_eq!(names(&lab), ["mpls_xdp"]);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    let pins = lab.pin_names();
    lab.apply_with(&core(&["eth1"], "100"), &["--fragments"]).ends(0);
    assert_eq!(names(&lab), ["mpls_xdp_frags"]);
    // The link is the same one, and the counters go on.
    let links = |pins: &[String]| {
        pins.iter().filter(|pin| pin.starts_with("link-")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(links(&lab.pin_names()), links(&pins));
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    assert_eq!(lab.packets("at-eth1", "/accepted"), 2);
    // It stays when the policy changes.
    lab.apply(&core(&["eth1"], "300")).ends(0);
    assert_eq!(names(&lab), ["mpls_xdp_frags"]);
    lab.take_down();
}
