//! `status`: what it prints, and that it notices what is missing.

use std::fs;

use super::support::{Lab, core};

#[test]
fn the_fields_of_json() {
    let (lab, _wire) = Lab::filtering("eth1");
    let status = lab.healthy().0;
    assert_eq!(status["schema"], 1);
    assert_eq!(status["generation"], 1);
    assert_eq!(status["ingresses"], 1);
    assert!(status["policy"].as_str().unwrap().ends_with("/policy.toml"));
    assert_eq!(status["digest"].as_str().unwrap().len(), 64);
    assert!(status["applied_at"].as_u64().unwrap() > 1_700_000_000);
    assert!(status["policy_map_bytes"].as_u64().unwrap() >= 1024);
    assert_eq!(status["interfaces"].as_array().unwrap().len(), 1);
    assert!(status["interfaces"][0]["program_id"].as_u64().unwrap() > 0);
    lab.run(["status"])
        .ends(0)
        .prints(&["policy.toml", "generation  1", "eth1", "native"])
        .prints(&["All interfaces of the policy are filtered."]);
    lab.take_down();
}

#[test]
fn any_missing_pin_is_noticed_and_healed() {
    let policy = core(&["eth1"], r#""100-199""#);
    let (lab, wire) = Lab::filtering("eth1");
    let pins = lab.pin_names();
    let mut ignored = Vec::new();
    for pin in &pins {
        // Numbers of generations differ by now, the words before them do not.
        let kind = pin.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        let present = lab.pin_names();
        let here =
            present.iter().find(|name| *name == pin || name.starts_with(&format!("{kind}-")));
        fs::remove_file(lab.pins().join(here.unwrap())).unwrap();
        if lab.run(["status"]).code != Some(1) {
            ignored.push(pin);
        }
        lab.apply(&policy).ends(0);
        lab.healthy();
        assert_eq!(wire.passes(&[100, 200]), [true, false], "after {pin} was lost");
        assert!(lab.packets("at-eth1", "/dropped") > 0, "nothing counted after {pin} was lost");
        assert_eq!(lab.pin_names().len(), pins.len(), "{:?} after {pin} was lost", lab.pin_names());
    }
    assert!(ignored.is_empty(), "status does not notice that these are missing: {ignored:?}");
    lab.take_down();
}
