//! Each field of each refused frame, and the options that choose among them.

use mpls_xdp_tests::frame::{Frame, LabelEntry};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{PEER, Running, counts};
use crate::cli::support::{Lab, Wire};

/// A lab with the policy in force, and the wire to its peer.
fn filtering() -> (Lab, Wire) {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.wire("eth2");
    lab.apply(PEER).ends(0);
    (lab, wire)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(frame: &[u8]) -> String {
    let bytes: Vec<String> = frame[6..12].iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[test]
fn every_refused_frame_is_shown_with_all_that_is_known() {
    let (lab, wire) = filtering();
    let long = vec![0xab; 700];
    let frames = [
        Frame::mpls([100]).build(),
        Frame::mpls([200]).build(),
        Frame::mpls([100, 16_001]).build(),
        Frame::mpls([100, 200, 300]).payload(long).build(),
        Frame::mpls([16_001]).vlan(100).build(),
        Frame::mpls([100]).vlan(7).vlan(8).build(),
        Frame::mpls([100]).vlan(1).vlan(2).vlan(3).vlan(4).vlan(5).build(),
        Frame::mpls([]).stack([LabelEntry::new(100).ttl(0).bottom()]).build(),
    ];
    let mut capture = Running::start(&lab, &["--json"]);
    assert_eq!(capture.announced, "capturing refused frames on eth1, eth2; Ctrl-C ends it\n");
    let before = std::time::SystemTime::now();
    let passed = wire.pass(&frames);
    assert_eq!(passed, [true, false, true, false, true, false, false, false]);
    let entry = |label: u32, tc: u32, s: bool, ttl: u32| json!({"label": label, "tc": tc, "s": s, "ttl": ttl});
    let ttl = 64;
    let expected = [
        (
            1,
            json!({"ingress": "peer", "vlan": [], "reason": "label_out_of_vrf", "verdict": "drop",
                   "position": 0, "label": 200, "stack": [entry(200, 0, true, ttl)]}),
        ),
        (
            3,
            json!({"ingress": "peer", "vlan": [], "reason": "stack_too_deep", "verdict": "drop",
                   "position": 2, "label": null,
                   "stack": [entry(100, 0, false, ttl), entry(200, 0, false, ttl), entry(300, 0, true, ttl)]}),
        ),
        (
            4,
            json!({"ingress": "watched", "vlan": [100], "reason": "label_spoofed", "verdict": "pass",
                   "position": 0, "label": 16_001, "stack": [entry(16_001, 0, true, ttl)]}),
        ),
        (
            5,
            json!({"ingress": null, "vlan": [7, 8], "reason": "ingress_unbound", "verdict": "drop",
                   "position": null, "label": null, "stack": [entry(100, 0, true, ttl)]}),
        ),
        (
            6,
            json!({"ingress": null, "vlan": [], "reason": "vlan_too_deep", "verdict": "drop",
                   "position": null, "label": null, "stack": []}),
        ),
        (
            7,
            json!({"ingress": "peer", "vlan": [], "reason": "ttl_zero", "verdict": "drop",
                   "position": 0, "label": 100, "stack": [entry(100, 0, true, 0)]}),
        ),
    ];
    for (number, mut expected) in expected {
        let frame = &frames[number];
        let mut shown = capture.json();
        let time: String = serde_json::from_value(shown["time"].take()).unwrap();
        let time: jiff::Timestamp = time.parse().unwrap();
        let after = std::time::SystemTime::now();
        assert!(jiff::Timestamp::try_from(before).unwrap() <= time, "{time}");
        assert!(time <= jiff::Timestamp::try_from(after).unwrap(), "{time}");
        expected["time"] = Value::Null;
        expected["interface"] = "eth1".into();
        expected["source"] = mac(frame).into();
        expected["length"] = frame.len().into();
        expected["frame"] = hex(&frame[..frame.len().min(256)]).into();
        assert_eq!(shown, expected, "frame {number}");
    }
    let output = capture.interrupt();
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    for (place, reason, number) in [
        ("peer", "label_out_of_vrf", 1),
        ("peer", "stack_too_deep", 1),
        ("peer", "ttl_zero", 1),
        ("watched", "label_spoofed", 1),
        ("eth1", "ingress_unbound", 1),
        ("eth1", "vlan_too_deep", 1),
    ] {
        assert_eq!(counts(&summary, place, reason), [number, number, 0, 0], "{place} {reason}");
    }
    assert_eq!(summary["summary"].as_array().unwrap().len(), 6, "{summary}");
    output.says(&["6 frames shown", "label_out_of_vrf", "ingress_unbound"]);
    lab.take_down();
}

#[test]
fn a_line_has_time_place_source_stack_reason_and_verdict() {
    let (lab, wire) = filtering();
    let mut capture = Running::start(&lab, &[]);
    let frames = [
        Frame::mpls([200, 16_001]).build(),
        Frame::mpls([16_001]).vlan(100).build(),
        Frame::mpls([100]).vlan(7).build(),
        Frame::mpls([200]).payload([]).build(),
    ];
    wire.pass(&frames);
    for (frame, expected) in frames.iter().zip([
        ["peer", "200/0/64,16001/0/64", "label_out_of_vrf", "dropped"],
        ["watched", "16001/0/64", "label_spoofed", "would drop"],
        ["eth1.7", "100/0/64", "ingress_unbound", "dropped"],
        ["peer", "200/0/64", "label_out_of_vrf", "dropped"],
    ]) {
        let line = capture.line();
        let fields: Vec<&str> =
            line.split("  ").map(str::trim).filter(|field| !field.is_empty()).collect();
        let source = mac(frame);
        let [place, stack, reason, verdict] = expected;
        assert_eq!(fields[1..], [place, &source, stack, reason, verdict], "{line}");
        assert_eq!(fields[0].len(), "12:34:56.123456".len(), "{line}");
    }
    capture.signal(Signal::SIGTERM);
    capture.end().ends(0).says(&["TIME", "WHERE", "STACK", "4 frames shown", "OVER THE RATE"]);
    lab.take_down();
}

#[test]
fn the_options_choose_by_ingress_reason_and_label() {
    let (lab, wire) = filtering();
    let frames = [
        Frame::mpls([200]).build(),
        Frame::mpls([100, 16_001, 300]).build(),
        Frame::mpls([16_001]).vlan(100).build(),
        Frame::mpls([100]).vlan(7).build(),
    ];
    for (options, expected) in [
        (&["--ingress", "peer"][..], &[0, 1][..]),
        (&["--ingress", "peer", "--ingress", "watched"], &[0, 1, 2]),
        (&["--reason", "label_spoofed"], &[2]),
        (&["--reason", "ingress_unbound", "--reason", "stack_too_deep"], &[1, 3]),
        (&["--ingress", "peer", "--reason", "label_out_of_vrf"], &[0]),
        (&["--label", "16000-16999"], &[1, 2]),
        (&["--label", "200", "--label", "300"], &[0, 1]),
    ] {
        let count = expected.len().to_string();
        let options: Vec<&str> =
            options.iter().copied().chain(["--json", "--count", &count]).collect();
        let mut capture = Running::start(&lab, &options);
        wire.pass(&frames);
        for number in expected {
            assert_eq!(capture.json()["frame"], hex(&frames[*number]), "{options:?}");
        }
        capture.end().ends(0).says(&["shown"]);
    }
    lab.run(["capture", "--ingress", "nobody"]).ends(1).says(&["nobody", "peer, watched, core"]);
    lab.run(["capture", "--reason", "nothing"]).ends(2).says(&["nothing", "label_spoofed"]);
    lab.run(["capture", "--label", "9999999"]).ends(2).says(&["1048575"]);
    lab.run(["capture", "--rate", "0"]).ends(2);
    lab.take_down();
}
