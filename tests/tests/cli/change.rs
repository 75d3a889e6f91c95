//! From one policy to the next: generations, programs, sizes and counters.

use super::support::{Lab, Status, core};

/// A policy with one core ingress of this name that accepts this label.
fn named(ingress: &str, context: &str, label: u32) -> String {
    format!(
        "version = 1\n[contexts.{context}]\nkind = \"transport\"\nlabels = [{label}]\n\
         [ingress.{ingress}]\ninterface = \"eth1\"\nrole = \"core\"\ncontexts = [\"{context}\"]\n"
    )
}

#[test]
fn a_small_change_counts_the_generation_and_loads_no_program() {
    let (lab, wire) = Lab::filtering("eth1");
    let before = lab.healthy();
    for step in 1..=3 {
        let label = 300 + step;
        lab.apply(&core(&["eth1"], &label.to_string())).ends(0);
        let now = lab.healthy();
        assert_eq!(now.generation(), before.generation() + u64::from(step));
        assert_eq!(now.policy_map(), before.policy_map());
        assert_eq!(now.programs(), before.programs());
        assert_eq!(wire.passes(&[100, label, label - 1]), [false, true, false]);
    }
    // The digest is the file's.
    assert_ne!(lab.healthy().0["digest"], before.0["digest"]);
    lab.take_down();
}

#[test]
fn a_policy_outgrows_its_map_and_shrinks_again() {
    let (lab, wire) = Lab::filtering("eth1");
    let small = lab.healthy();
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    let pins = lab.pin_names().len();

    // Without a pattern, else equal pages of the table would be shared.
    let scattered = |at: u32| 16 + at * 10 + at.wrapping_mul(2_654_435_761) % 9;
    // In turn in contexts of their own, else a label would take a bit.
    let labels = |first: u32| {
        let labels: Vec<String> =
            (first..100_000).step_by(4).map(|at| scattered(at).to_string()).collect();
        labels.join(",")
    };
    let mut policy = core(&["eth1"], &labels(0));
    let own = r#"contexts = ["core"]"#;
    assert!(policy.contains(own), "{policy}");
    policy = policy.replace(own, r#"contexts = ["core", "c1", "c2", "c3"]"#);
    for number in 1..4 {
        let labels = labels(number);
        policy += &format!("[contexts.c{number}]\nkind = \"transport\"\nlabels = [{labels}]\n");
    }
    lab.apply(&policy).ends(0);
    let large = lab.healthy();
    let bytes = |status: &Status| status.0["policy_map_bytes"].as_u64().unwrap();
    assert!(bytes(&large) > 10 * bytes(&small), "{} after {}", bytes(&large), bytes(&small));
    assert_eq!(large.generation(), small.generation() + 1);
    // Between two scattered labels there is always one more; the last is the tenth of its ten.
    let probed = [0, 1, 5_000, 99_999].map(|at| [scattered(at), 16 + at * 10 + 9]);
    assert_eq!(wire.passes(probed.as_flattened()), [true, false].repeat(4));
    assert_eq!(lab.pin_names().len(), pins, "{:?}", lab.pin_names());
    assert_eq!(lab.packets("at-eth1", "/accepted"), 1 + 4);
    assert_eq!(lab.packets("at-eth1", "/dropped"), 1 + 4);

    lab.apply(&core(&["eth1"], "100")).ends(0);
    let again = lab.healthy();
    assert!(bytes(&again) < bytes(&large) / 10, "{} after {}", bytes(&again), bytes(&large));
    assert_eq!(wire.passes(&[100, 16]), [true, false]);
    assert_eq!(lab.pin_names().len(), pins, "{:?}", lab.pin_names());
    assert_eq!(lab.packets("at-eth1", "/accepted"), 1 + 4 + 1);
    lab.take_down();
}

#[test]
fn counters_go_on_for_names_that_stay() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply(&named("stays", "first", 100)).ends(0);
    assert_eq!(wire.passes(&[100, 100, 200, 300, 16]), [true, true, false, false, false]);
    assert_eq!(lab.packets("stays", "/accepted"), 2);
    assert_eq!(lab.packets("stays", "/dropped"), 3);
    assert_eq!(lab.packets("stays", "/rules/0"), 2);

    // The ingress keeps its name; its rule gets another and starts at zero.
    lab.apply(&named("stays", "second", 200)).ends(0);
    assert_eq!(lab.packets("stays", "/rules/0"), 0);
    assert_eq!(lab.packets("stays", "/dropped"), 3);
    assert_eq!(wire.passes(&[100, 200]), [false, true]);
    assert_eq!(lab.packets("stays", "/rules/0"), 1);
    assert_eq!(lab.packets("stays", "/dropped"), 4);
    assert_eq!(lab.packets("stays", "/reasons/label_out_of_range"), 4);
    lab.take_down();
}

#[test]
fn a_new_name_starts_at_zero_also_in_a_slot_that_was_used() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    // With every step names go, and their slots come back one step later.
    for step in 0..6 {
        let ingress = format!("ingress-{step}");
        lab.apply(&named(&ingress, &format!("context-{step}"), 100)).ends(0);
        for pointer in ["/accepted", "/dropped", "/rules/0", "/reasons/label_out_of_range"] {
            assert_eq!(lab.packets(&ingress, pointer), 0, "{pointer} of {ingress}");
        }
        assert_eq!(wire.passes(&[100, 100, 200]), [true, true, false]);
        assert_eq!(lab.packets(&ingress, "/accepted"), 2);
        assert_eq!(lab.packets(&ingress, "/rules/0"), 2);
        assert_eq!(lab.packets(&ingress, "/dropped"), 1);
        // A base stays right over a change that keeps the name.
        lab.apply(&named(&ingress, &format!("context-{step}"), 100)).ends(0);
        assert_eq!(lab.packets(&ingress, "/accepted"), 2);
    }
    lab.take_down();
}

#[test]
fn interfaces_join_and_leave() {
    let (lab, one) = Lab::filtering("eth1");
    let two = lab.wire("eth2");
    lab.apply(&core(&["eth1", "eth2"], "100")).ends(0).prints(&["attach to: eth2"]);
    assert_eq!((one.passes(&[200]), two.passes(&[200])), (vec![false], vec![false]));
    lab.apply(&core(&["eth2"], "100")).ends(0).prints(&["take off: eth1"]);
    assert_eq!((one.passes(&[200]), two.passes(&[200])), (vec![true], vec![false]));
    assert_eq!(lab.healthy().attached(), [("eth2", "native")].into());
    assert!(one.port.feature("rx-vlan-hw-parse").unwrap());
    assert!(!two.port.feature("rx-vlan-hw-parse").unwrap());
    lab.take_down();
    assert!(two.port.feature("rx-vlan-hw-parse").unwrap());
}
