//! What others read in a file that a capture writes: tshark, and `replay`.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mpls_xdp_tests::frame::Frame;

use super::{PEER, Running};
use crate::cli::support::{Lab, Output};

/// What to do when the judge is not there.
const MISSING: &str = "install the package tshark, which judges the files";

/// Runs tshark over a file.
fn tshark(file: &str, options: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", file]).args(options);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: {MISSING}"));
    let output = Output::new(format!("{command:?}"), output).ends(0);
    assert!(!output.stderr.contains("cut short"), "{output}");
    output.stdout
}

#[test]
fn tshark_reads_interface_time_length_and_reason() {
    let lab = Lab::new();
    let wires = ["eth1", "eth2"].map(|name| lab.wire(name));
    lab.apply(PEER).ends(0);
    let long = Frame::mpls([200, 16_001]).payload(vec![0xab; 1_000]).build();
    let unbound = Frame::mpls([100]).vlan(7).build();
    let watched = Frame::mpls([16_001]).vlan(100).build();
    let core = Frame::mpls([999]).build();
    let file = lab.store.directory().join("drops.pcapng");
    let file = file.to_str().unwrap();
    let capture = Running::start(&lab, &["-w", file, "--count", "4"]);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    wires[0].pass(&[long.clone(), unbound.clone(), watched.clone()]);
    wires[1].pass(std::slice::from_ref(&core));
    capture.end().ends(0).says(&["4 frames shown"]);
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();

    let fields = [
        "frame.interface_name",
        "frame.len",
        "frame.cap_len",
        "frame.comment",
        "mpls.label",
        "frame.time_epoch",
    ];
    let options: Vec<&str> =
        ["-T", "fields"].into_iter().chain(fields.iter().flat_map(|field| ["-e", field])).collect();
    let text = tshark(file, &options);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let expected = [
        [
            "eth1",
            "1022",
            "256",
            "label_out_of_vrf at peer, dropped, entry 0, label 200",
            "200,16001",
        ],
        ["eth1", "", "", "ingress_unbound, dropped", "100"],
        ["eth1", "", "", "label_spoofed at watched, would drop, entry 0, label 16001", "16001"],
        ["eth2", "", "", "label_out_of_range at core, dropped, entry 0, label 999", "999"],
    ];
    assert_eq!(rows.len(), expected.len(), "{text}");
    let mut earlier = before;
    for ((row, mut expected), frame) in
        rows.iter().zip(expected).zip([&long, &unbound, &watched, &core])
    {
        let length = frame.len().to_string();
        if expected[1].is_empty() {
            expected[1] = &length;
            expected[2] = &length;
        }
        assert_eq!(row[..5], expected, "{text}");
        let (seconds, nanoseconds) = row[5].split_once('.').unwrap();
        assert_eq!(nanoseconds.len(), 9, "{text}");
        let time = Duration::new(seconds.parse().unwrap(), nanoseconds.parse().unwrap());
        assert!(earlier <= time && time <= after, "{time:?} in {text}");
        earlier = time;
    }
    let policy = lab.store.directory().join("policy.toml");
    let policy = policy.to_str().unwrap();
    let replayed = lab.run(["replay", policy, "--interface", "eth1", file]).ends(0);
    replayed.prints(&["label_out_of_vrf", "ingress_unbound", "label_spoofed"]);
    lab.take_down();
}

#[test]
fn a_pipe_gets_the_interfaces_first_and_each_frame_at_once() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.wire("eth2");
    lab.apply(PEER).ends(0);
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-l", "-i", "-", "-T", "fields", "-e", "frame.comment", "-c", "2"]);
    tshark.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tshark = tshark.spawn().unwrap_or_else(|error| panic!("{error}: {MISSING}"));
    let pipe = tshark.stdin.take().unwrap();
    let capture = Running::start_into(pipe.into(), &lab, &["-w", "-"]);
    wire.pass(&[Frame::mpls([200]).build(), Frame::mpls([999]).build()]);
    let output = tshark.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let reasons: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(reasons, ["label_out_of_vrf", "label_out_of_range"], "{text}");
    // tshark has gone, and with it the reader of the pipe.
    capture.end().ends(0).says(&["2 frames shown"]);
    lab.take_down();
}
