//! Exit code 4, and the capabilities that suffice.

use std::os::unix::fs::chown;

use mpls_xdp_tests::capture_file;
use mpls_xdp_tests::frame::Frame;

use super::mounts::Mounts;
use super::support::{Lab, core};

const NOBODY: u32 = 65_534;
const AS_NOBODY: [&str; 6] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"];

#[test]
fn without_privileges_is_4() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let mounts = Mounts::new(&lab.router, "");
    let policy = mounts.file("policy.toml", &core(&["eth1"], "100"));
    let policy = policy.to_str().unwrap();
    let capture = mounts.path().join("capture.pcap");
    capture_file::write(&capture, [Frame::mpls([100]).build()]).unwrap();
    let commands: [&[&str]; 11] = [
        &["apply", policy],
        &["apply", policy, "--dry-run"],
        &["status"],
        &["stats"],
        &["metrics", "--once"],
        &["capture", "--count", "1"],
        &["suggest", "--for", "1s"],
        &["replay", policy, "--interface", "eth1", capture.to_str().unwrap()],
        &["explain", policy, "--interface", "eth1", "--stack", "100"],
        &["detach", "--all"],
        &["detach", "--interface", "eth1"],
    ];
    for arguments in commands {
        mounts.run(&AS_NOBODY, arguments).ends(4).says(&["ermi"]);
    }
    mounts.run(&[], ["apply", policy]).ends(0);
    for arguments in commands {
        mounts.run(&AS_NOBODY, arguments).ends(4).says(&["ermi"]);
    }
    mounts.run(&[], ["status"]).ends(0);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    mounts.run(&[], ["detach", "--all"]).ends(0);
}

#[test]
fn folders_of_ones_own_do_not_replace_privileges() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let mounts = Mounts::new(&lab.router, "");
    let policy = mounts.file("policy.toml", &core(&["eth1"], "100"));
    let policy = policy.to_str().unwrap();
    chown(mounts.path().join("state"), Some(NOBODY), Some(NOBODY)).unwrap();
    mounts.run(&AS_NOBODY, ["apply", policy]).ends(4).says(&["not permitted"]);
    assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());
}

#[test]
fn three_capabilities_suffice() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let mounts = Mounts::new(&lab.router, "");
    let policy = mounts.file("policy.toml", &core(&["eth1"], "100"));
    let policy = policy.to_str().unwrap();
    let other = mounts.file("other.toml", &core(&["eth1"], "300"));
    let labels: Vec<String> = (0..5_000).map(|at| (1_000 + 50 * at).to_string()).collect();
    let large = mounts.file("large.toml", &core(&["eth1"], &labels.join(",")));
    let capture = mounts.path().join("capture.pcap");
    capture_file::write(&capture, [Frame::mpls([100]).build()]).unwrap();
    let with = [
        "setpriv",
        "--bounding-set=-all,+bpf,+net_admin,+perfmon",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--",
    ];
    let run = |arguments: &[&str]| mounts.run(&with, arguments).ends(0);
    run(&["apply", policy, "--dry-run"]);
    run(&["apply", policy]);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
    run(&["status"]);
    run(&["stats", "--json"]).prints(&["label_out_of_range"]);
    run(&["metrics", "--once"]).prints(&["mpls_xdp_dropped_packets_total"]);
    run(&["apply", other.to_str().unwrap()]);
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    run(&["apply", large.to_str().unwrap()]);
    assert_eq!(wire.passes(&[1_050, 300]), [true, false]);
    run(&["replay", policy, "--interface", "eth1", capture.to_str().unwrap()]);
    // Ended as Ctrl-C does: it begins, and waits for a frame that nobody sends.
    let interrupted = [&with[..], &["timeout", "--signal=INT", "--preserve-status", "1"]].concat();
    mounts.run(&interrupted, ["capture"]).ends(0).says(&["capturing", "0 frames shown"]);
    run(&["suggest", "--for", "1s"]).says(&["watching", "Nothing was refused"]);
    run(&["detach", "--interface", "eth1"]);
    run(&["apply", policy]);
    run(&["detach", "--all"]);
    assert_eq!(wire.passes(&[100, 300]), [true, true]);
    assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());
}

#[test]
fn each_of_the_three_is_needed_and_missed_by_name() {
    let lab = Lab::new();
    let _wire = lab.wire("eth1");
    let mounts = Mounts::new(&lab.router, "");
    let policy = mounts.file("policy.toml", &core(&["eth1"], "100"));
    for two in ["+bpf,+net_admin", "+bpf,+perfmon", "+net_admin,+perfmon"] {
        let bounding = format!("--bounding-set=-all,{two}");
        let with = ["setpriv", &bounding, "--inh-caps=-all", "--ambient-caps=-all", "--"];
        mounts.run(&with, ["apply", policy.to_str().unwrap()]).ends(4).says(&["ermi", "CAP_"]);
        mounts.run(&[], ["status"]).ends(1).says(&["no policy is applied"]);
    }
}
