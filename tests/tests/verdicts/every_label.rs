//! Every label with and without S on every role, under policies of three shapes. No sampling.

use std::fmt::Write as _;
use std::iter;

use mpls_xdp_tests::frame::{Frame, LabelEntry, MPLS};
use mpls_xdp_tests::oracle::Judgement;

use crate::stand::Stand;

/// The greatest label.
const LAST: u32 = 0xf_ffff;
/// Where the first label entry stands in a frame without tags.
const FIRST_ENTRY: usize = 14;

/// A context, its lines and its labels.
struct Context {
    name: String,
    lines: &'static str,
    labels: Vec<(u32, u32)>,
}

const TRANSPORT: &str = "kind = \"transport\"";
const VRF: &str = "kind = \"vrf\"";
const POPS: &str = "kind = \"transport\"\npops = true";

/// Contexts, those that the peer and the core accept, and labels of the peer's own.
fn policy(contexts: &[Context], peer: &[&str], core: &[&str], own: &str) -> String {
    let mut text = "version = 1\n".to_owned();
    for Context { name, lines, labels } in contexts {
        let items: Vec<_> = labels.iter().map(|(from, to)| format!("\"{from}-{to}\"")).collect();
        writeln!(text, "[contexts.{name}]\n{lines}\nlabels = [{}]", items.join(","))
            .expect("a string grows");
    }
    let neighbour = "[ingress.other]\ninterface = \"eth8\"\nrole = \"peer\"\n\
                     labels = [17, \"70000-70100\", 524287, 1048575]\n";
    write!(
        text,
        "[ingress.customer]\ninterface = \"eth0\"\nrole = \"customer\"\n\
         [ingress.peer]\ninterface = \"eth1\"\nrole = \"peer\"\ncontexts = {peer:?}\n\
         labels = [{own}]\n\
         [ingress.core]\ninterface = \"eth2\"\nrole = \"core\"\ncontexts = {core:?}\n{neighbour}"
    )
    .expect("a string grows");
    text
}

/// Nearly every label is given out, in a few long ranges that end within pages.
fn dense() -> String {
    let context = |name: &str, lines, from, to| Context {
        name: name.to_owned(),
        lines,
        labels: vec![(from, to)],
    };
    policy(
        &[
            context("sr", TRANSPORT, 16, 300_000),
            context("own", POPS, 300_001, 500_003),
            context("red", VRF, 500_004, 777_777),
            context("blue", VRF, 777_778, 1_040_000),
            context("static", TRANSPORT, 1_040_777, 1_044_444),
        ],
        &["red"],
        &["sr", "own", "red"],
        "\"299000-301000\"",
    )
}

/// Single labels, far apart, of all kinds; most labels are nobody's.
fn sparse() -> String {
    let every = |name: &str, lines, from: usize, step| Context {
        name: name.to_owned(),
        lines,
        labels: (16..=LAST).skip(from).step_by(step).map(|label| (label, label)).collect(),
    };
    policy(
        // Steps that share no factor with the page meet every place in it.
        &[
            every("sr", TRANSPORT, 0, 1_201),
            every("own", POPS, 7, 1_409),
            every("red", VRF, 1, 1_511),
            every("blue", VRF, 2, 1_601),
        ],
        &["red", "own"],
        &["sr", "own", "blue"],
        "16, 1048574, 33333",
    )
}

/// VRFs that take turns: label by label in the low labels, in short runs above.
fn interleaved() -> String {
    const VRFS: u32 = 24;
    const BY_LABEL: u32 = 12_000;
    const RUN: u32 = 45;
    const GAP: u32 = 3_000;
    let vrf = |number| {
        let singles = (16 + number..BY_LABEL).step_by(VRFS as usize).map(|label| (label, label));
        let runs = (BY_LABEL + number * RUN..LAST - GAP).step_by((VRFS * RUN) as usize);
        Context {
            name: format!("vrf{number}"),
            lines: if number % 6 == 4 { POPS } else { VRF },
            labels: singles.chain(runs.map(|from| (from, from + RUN - 1))).collect(),
        }
    };
    let contexts: Vec<_> = (0..VRFS).map(vrf).collect();
    let names = |every: usize| -> Vec<&str> {
        contexts.iter().step_by(every).map(|context| context.name.as_str()).collect()
    };
    policy(&contexts, &names(5), &names(4), "100, \"40000-40500\"")
}

/// A frame with this label, and the next one when it is not the bottom. Label 3 shows whether it
/// is exposed.
fn frame(bottom: bool) -> Vec<u8> {
    let entries: &[LabelEntry] = match bottom {
        true => &[LabelEntry::new(0).bottom()],
        false => &[LabelEntry::new(0), LabelEntry::new(3).bottom()],
    };
    Frame::new(MPLS).stack(entries.iter().copied()).payload([]).build()
}

/// Puts the label into the first entry of the frame.
fn put(frame: &mut [u8], label: u32) {
    let low = frame[FIRST_ENTRY + 2] & 0x0f;
    let [_, high, middle, last] = (label << 4).to_be_bytes();
    frame[FIRST_ENTRY..FIRST_ENTRY + 3].copy_from_slice(&[high, middle, last | low]);
}

/// Every label with and without S on an interface; the judges agree about each, and the counters
/// about all.
fn every_label(text: &str, interface: &str, reasons: &[&str]) {
    let mut stand = Stand::new();
    let mut trial = stand.policy(text);
    let mut counts = vec![0; reasons.len() + 1];
    for bottom in [true, false] {
        let mut frame = frame(bottom);
        for label in 0..=LAST {
            put(&mut frame, label);
            let Judgement { reason, .. } = trial.judge(interface, &frame);
            let kind = match reason {
                None => reasons.len(),
                Some(reason) => match reasons.iter().position(|one| *one == reason) {
                    Some(kind) => kind,
                    None => continue,
                },
            };
            counts[kind] += 1;
        }
    }
    trial.assert_counters();
    drop(trial);
    assert_eq!(stand.frames, 2 << 20);
    // The policies are made for these; that they occur shows that the labels really vary.
    for (kind, count) in iter::zip(reasons.iter().chain(&["accepted"]), counts) {
        let at_least = if interface == "eth0" && *kind == "accepted" { 0 } else { 100 };
        assert!(count >= at_least, "{kind}: only {count} on {interface}");
    }
}

const OF_LABELS: [&str; 4] =
    ["label_out_of_vrf", "label_spoofed", "label_out_of_range", "implicit_null"];

#[test]
fn a_dense_policy_decides_every_label_on_a_customer() {
    every_label(&dense(), "eth0", &["mpls_not_enabled"]);
}

#[test]
fn a_dense_policy_decides_every_label_on_a_peer() {
    every_label(&dense(), "eth1", &OF_LABELS);
}

#[test]
fn a_dense_policy_decides_every_label_on_a_core() {
    every_label(&dense(), "eth2", &OF_LABELS);
}

#[test]
fn a_sparse_policy_decides_every_label_on_a_customer() {
    every_label(&sparse(), "eth0", &["mpls_not_enabled"]);
}

#[test]
fn a_sparse_policy_decides_every_label_on_a_peer() {
    every_label(&sparse(), "eth1", &OF_LABELS);
}

#[test]
fn a_sparse_policy_decides_every_label_on_a_core() {
    every_label(&sparse(), "eth2", &OF_LABELS);
}

#[test]
fn interleaved_vrfs_decide_every_label_on_a_customer() {
    every_label(&interleaved(), "eth0", &["mpls_not_enabled"]);
}

#[test]
fn interleaved_vrfs_decide_every_label_on_a_peer() {
    every_label(&interleaved(), "eth1", &OF_LABELS);
}

#[test]
fn interleaved_vrfs_decide_every_label_on_a_core() {
    every_label(&interleaved(), "eth2", &OF_LABELS);
}
