//! `explain`: what it prints. That it agrees with the kernel program is in `verdicts`.

use std::fs;

use mpls_xdp_tests::capture_file;
use mpls_xdp_tests::frame::{Frame, IPV4};
use serde_json::json;

use super::support::{Lab, Output, is_bare};

const POLICY: &str = r#"version = 1

[contexts.core]
kind = "transport"
labels = ["16000-16006", "16008-23999"]

[contexts.own-sid]
kind = "transport"
labels = [16007]
pops = true

[contexts.red]
kind = "vrf"
labels = [100]

[contexts.blue]
kind = "vrf"
labels = [200]

[ingress.ce]
interface = "eth1"
role = "customer"

[ingress.peer]
interface = "eth2"
vlan = [100]
role = "peer"
labels = ["24000-24063"]
contexts = ["red"]
max-depth = 1

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["core", "own-sid", "red"]
special = ["entropy"]

[ingress.core-b]
interface = "eth4"
role = "core"
contexts = ["blue"]
inner = "opaque"
mode = "monitor"
"#;

fn explain(lab: &Lab, interface: &str, packet: &[&str]) -> Output {
    let policy = lab.policy(POLICY);
    let start = ["explain", policy.to_str().unwrap(), "--interface", interface];
    lab.run(start.iter().chain(packet))
}

/// Checks all that is printed behind the name of the policy file.
#[track_caller]
fn prints(lab: &Lab, interface: &str, packet: &[&str], expected: &str) {
    let output = explain(lab, interface, packet).ends(0);
    let (policy, account) = output.stdout.split_once('\n').unwrap();
    assert!(policy.starts_with("policy     /") && policy.ends_with("/policy.toml"), "{output}");
    assert_eq!(account, expected, "{output}");
    assert_eq!(output.stderr, "");
}

#[test]
fn a_vpn_label_after_penultimate_hop_popping_is_accepted() {
    let lab = Lab::new();
    prints(
        &lab,
        "eth3",
        &["--stack", "100/5/63"],
        "\
frame      60 bytes, received on eth3
framing    untagged, type 0x8847: a label stack
ingress    core-a (line 32)
           at most 32 entries; entries of other routers are not examined;
           special-purpose labels allowed: entropy

entry 0    label 100, TC 5, S 1, TTL 63
           exposed: the top of the stack
           in context red (line 14)
           accepted by rule red of core-a (RFC 4364 §13.1; line 14)

verdict    pass: accepted at core-a, entry 0, label 100
",
    );
    assert!(is_bare(lab.store.bpffs()));
}

#[test]
fn a_transport_label_from_a_peer_is_spoofed() {
    let lab = Lab::new();
    prints(
        &lab,
        "eth2",
        &["--vlan", "100", "--stack", "16001,200"],
        "\
frame      60 bytes, received on eth2
framing    tag 0x8100 VLAN 100, type 0x8847: a label stack
ingress    peer (line 24)
           at most 1 entry; entries of other routers are not examined;
           special-purpose labels allowed: none

entry 0    label 16001, TC 0, S 0, TTL 64
           exposed: the top of the stack
           in context core (line 5)
           the label was not given to peer (line 24)
           REFUSED: label_spoofed (RFC 5920 §8.2.2)

entry 1    label 200, TC 0, S 1, TTL 64
           not looked at: the verdict fell before it

verdict    drop: label_spoofed at peer, entry 0, label 16001
           `mpls-xdp help reason label_spoofed` says what to look at next
",
    );
}

#[test]
fn what_is_below_an_entropy_label_is_exposed_and_below_a_swapped_one_is_not() {
    let lab = Lab::new();
    prints(
        &lab,
        "eth3",
        &["--stack", "7,70000/0/0,16001,30"],
        "\
frame      60 bytes, received on eth3
framing    untagged, type 0x8847: a label stack
ingress    core-a (line 32)
           at most 32 entries; entries of other routers are not examined;
           special-purpose labels allowed: entropy

entry 0    label 7, entropy label indicator (ELI), TC 0, S 0, TTL 64
           exposed: the top of the stack
           accepted: core-a allows entropy (RFC 6790 §4.2; line 32)

entry 1    label 70000, TC 0, S 0, TTL 0
           exposed: the entropy label that ELI announces
           accepted: an entropy label may have any value above 15 (RFC 6790
           §4.2)

entry 2    label 16001, TC 0, S 0, TTL 64
           exposed: below an entropy label
           in context core (line 5)
           accepted by rule core of core-a (RFC 5920 §8.2.2; line 5)

entry 3    label 30, TC 0, S 1, TTL 64
           not exposed: below 16001, which this router does not pop
           belongs to another router: not examined (RFC 3031 §3.9)

verdict    pass: accepted at core-a, entry 2, label 16001
",
    );
}

#[test]
fn a_vrf_below_a_popped_sid_is_out_of_vrf() {
    let lab = Lab::new();
    prints(
        &lab,
        "eth3",
        &["--stack", "16007,200"],
        "\
frame      60 bytes, received on eth3
framing    untagged, type 0x8847: a label stack
ingress    core-a (line 32)
           at most 32 entries; entries of other routers are not examined;
           special-purpose labels allowed: entropy

entry 0    label 16007, TC 0, S 0, TTL 64
           exposed: the top of the stack
           in context own-sid (line 9)
           accepted by rule own-sid of core-a (RFC 5920 §8.2.2; line 9)

entry 1    label 200, TC 0, S 1, TTL 64
           exposed: this router pops 16007 above it (context own-sid) and looks
           it up
           in context blue (line 18)
           core-a accepts no VRF context with this label (line 32)
           REFUSED: label_out_of_vrf (RFC 4364 §13.1)

verdict    drop: label_out_of_vrf at core-a, entry 1, label 200
           `mpls-xdp help reason label_out_of_vrf` says what to look at next
",
    );
}

#[test]
fn a_vlan_without_ingress_is_unbound() {
    let lab = Lab::new();
    prints(
        &lab,
        "eth2",
        &["--vlan", "200,0,100", "--stack", "100"],
        "\
frame      60 bytes, received on eth2
framing    tag 0x88a8 VLAN 200, tag 0x88a8 VLAN 0 (priority tag, binds nothing),
           tag 0x8100 VLAN 100, type 0x8847: a label stack
ingress    none
           eth2 has no ingress for VLANs 200, 100, outer to inner
           REFUSED: ingress_unbound (policy, ingress)

verdict    drop: ingress_unbound
           `mpls-xdp help reason ingress_unbound` says what to look at next
",
    );
}

#[test]
fn a_frame_that_ends_in_its_stack_is_truncated() {
    let lab = Lab::new();
    prints(
        &lab,
        "eth2",
        &["--frame", "02:00:00:00:00:01 02:00:00:00:00:02 8100 0064 8847 0006"],
        "\
frame      20 bytes, received on eth2
framing    tag 0x8100 VLAN 100, type 0x8847: a label stack
ingress    peer (line 24)
           at most 1 entry; entries of other routers are not examined;
           special-purpose labels allowed: none

entry 0    not complete
           exposed: the top of the stack
           the frame ends before this entry is complete
           REFUSED: truncated (RFC 3032 §2.1)

verdict    drop: truncated at peer, entry 0
           `mpls-xdp help reason truncated` says what to look at next
",
    );
}

#[test]
fn monitor_says_what_would_be_dropped() {
    let lab = Lab::new();
    explain(&lab, "eth4", &["--stack", "100"]).ends(0).prints(&[
        "REFUSED: label_out_of_vrf",
        "verdict    would drop (monitor): label_out_of_vrf at core-b, entry 0, label 100",
    ]);
}

#[test]
fn what_is_not_filtered_says_why() {
    let lab = Lab::new();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("eth3", &["--frame", "020000000001 020000000002 0806"], &["type 0x0806: not MPLS"]),
        ("eth3", &["--frame", "02"], &["shorter than an Ethernet header"]),
        ("eth9", &["--stack", "100"], &["does not name eth9"]),
    ];
    for (interface, packet, words) in cases {
        let output = explain(&lab, interface, packet).ends(0).prints(words);
        output.prints(&["verdict    pass: not filtered"]);
    }
    explain(&lab, "eth1", &["--stack", "100"]).ends(0).prints(&["REFUSED: mpls_not_enabled"]);
    explain(&lab, "eth3", &["--stack", "100", "--upstream"])
        .ends(0)
        .prints(&["type 0x8848", "REFUSED: upstream_not_allowed"]);
    explain(&lab, "eth3", &["--stack", "100", "--vlan", "1,2,3,4,5"])
        .ends(0)
        .prints(&["REFUSED: vlan_too_deep"]);
}

#[test]
fn json_has_the_fields_of_replay_and_the_steps() {
    let lab = Lab::new();
    let report = explain(&lab, "eth2", &["--vlan", "100", "--stack", "24000,3/7/1", "--json"])
        .ends(0)
        .json();
    let steps = json!([
        {"step": "framing", "tags": [{"tpid": "0x8100", "vid": 100}], "ether_type": "0x8847",
         "taken_for": "mpls", "decision": "a label stack"},
        {"step": "ingress", "ingress": "peer", "line": 24, "reason": null, "source": null,
         "decision": "at most 1 entry; entries of other routers are not examined; \
                      special-purpose labels allowed: none"},
        {"step": "entry", "position": 0, "label": 24000, "name": null, "tc": 0, "s": false,
         "ttl": 64, "exposed": true, "why": "the top of the stack", "rule": "labels",
         "found_in": [{"ingress": {"name": "peer", "line": 28}}], "treatment": "accepted",
         "decision": "accepted by rule labels of peer", "reason": null,
         "source": "RFC 5920 §8.2.2", "line": 28},
        {"step": "entry", "position": 1, "label": 3, "name": "implicit null", "tc": 7, "s": true,
         "ttl": 1, "exposed": false, "why": "below 24000, which this router does not pop",
         "found_in": [], "rule": null, "treatment": "refused",
         "decision": "max-depth is 1, and this is one entry more", "reason": "stack_too_deep",
         "source": "policy, max-depth", "line": 24},
    ]);
    let expected = json!({"schema": 1, "interface": "eth2", "frame": 1, "verdict": "drop",
        "reason": "stack_too_deep", "ingress": "peer", "position": 1, "label": null,
        "steps": steps});
    assert_eq!(report, expected);
}

#[test]
fn a_frame_of_a_capture_is_explained_by_its_number() {
    let lab = Lab::new();
    let capture = lab.store.directory().join("capture.pcap");
    let frames = [Frame::new(IPV4).build(), Frame::mpls([100]).build(), Frame::mpls([200]).build()];
    capture_file::write(&capture, frames).unwrap();
    let file = capture.to_str().unwrap();
    let numbered = |number: usize| {
        let number = number.to_string();
        explain(&lab, "eth3", &["--pcap", file, "--number", &number, "--json"])
    };
    for (number, reason) in [(1, json!(null)), (2, json!(null)), (3, json!("label_out_of_vrf"))] {
        let report = numbered(number).ends(0).json();
        assert_eq!((&report["frame"], &report["reason"]), (&json!(number), &reason));
    }
    numbered(4).ends(1).says(&["capture.pcap", "no frame 4", "after 3"]);
    // What is damaged behind the frame does not matter.
    let whole = fs::read(&capture).unwrap();
    fs::write(&capture, &whole[..whole.len() - 3]).unwrap();
    numbered(2).ends(0);
    numbered(3).ends(1).says(&["frame 3", "damaged"]);
}
