//! What the README shows is so.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use mpls_xdp_tests::capture_file;
use mpls_xdp_tests::frame::{Frame, LabelEntry};
use serde_json::Value;

use super::support::Lab;

/// EtherType of ARP (RFC 826).
const ARP: u16 = 0x0806;

/// What stands between two markers, without the fence of a code block.
fn part(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(path).unwrap();
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no {start}"));
    let (part, _) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    part.lines().filter(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_reasons_are_those_of_the_program() {
    let mut table = "| reason | source | meaning |\n|---|---|---|\n".to_owned();
    let reasons = Reason::ALL.map(|reason| (reason.name(), reason.source(), reason.meaning()));
    let of_interfaces =
        InterfaceReason::ALL.map(|reason| (reason.name(), reason.source(), reason.meaning()));
    for (name, source, meaning) in reasons.into_iter().chain(of_interfaces) {
        writeln!(table, "| `{name}` | {source} | {meaning} |").unwrap();
    }
    assert_eq!(part("reasons"), table);
}

#[test]
fn the_first_policy_is_valid_without_a_warning() {
    let lab = Lab::new();
    let policy = lab.policy(&part("first policy"));
    let output = lab.run(["check", policy.to_str().unwrap()]).ends(0);
    assert_eq!(output.stderr, "");
}

#[test]
fn the_frames_of_the_replay_get_these_verdicts() {
    let lab = Lab::new();
    let policy = part("first policy").replace("\"monitor\"", "\"enforce\"");
    let policy = lab.policy(&policy);
    let tagged = |labels: &[u32]| Frame::mpls(labels.iter().copied()).vlan(100).build();
    let frames = [
        Frame::new(ARP).build(),
        tagged(&[100]),
        tagged(&[200]),
        tagged(&[16_001, 200]),
        tagged(&[100, 200]),
        Frame::mpls([100]).build(),
    ];
    assert_eq!(LabelEntry::new(100).bottom().to_bytes(), frames[1][18..22]);
    let capture = lab.store.directory().join("capture.pcap");
    capture_file::write(&capture, frames).unwrap();
    let arguments = [
        "replay",
        "--json",
        "--interface",
        "eth2",
        policy.to_str().unwrap(),
        capture.to_str().unwrap(),
    ];
    let output = lab.run(arguments).ends(0);
    let values = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(values(&output.stdout), values(&part("replay")));
}

#[test]
fn the_account_of_the_explained_packet_is_this() {
    let lab = Lab::new();
    let policy = part("first policy").replace("\"monitor\"", "\"enforce\"");
    let policy = lab.policy(&policy);
    let policy = policy.to_str().unwrap();
    let shown = part("explain");
    let (command, account) = shown.split_once('\n').unwrap();
    let words = command.strip_prefix("# mpls-xdp ").unwrap().replace("pe.toml", policy);
    let output = lab.run(words.split(' ')).ends(0);
    assert_eq!(output.stdout.replace(policy, "pe.toml"), account);
}
