//! Every stack of few entries out of the special-purpose labels and some others, under every set of
//! permissions; every depth at every limit; every TTL at every position.

use std::fmt::Write as _;

use mpls_xdp_ebpf::policy::{Special, SpecialSet};
use mpls_xdp_tests::frame::{Frame, LabelEntry, MPLS};
use mpls_xdp_tests::oracle::reason;

use crate::stand::{Stand, Trial};

/// A label that pops, one that leads into the ingress's VRF, one of another VRF, one that was given
/// to somebody else, and nobody's: one above the special-purpose labels and the greatest.
const POPPED: u32 = 50;
const OWN: u32 = 100;
const ORDINARY: [u32; 6] = [POPPED, OWN, 200, 30_000, 16, 0xf_ffff];
/// Labels 0 to 15.
const SPECIAL: std::ops::Range<u32> = 0..16;
/// The interface of all ingresses here.
const INTERFACE: &str = "eth0";

/// A policy with an ingress for each item, bound to a VLAN ID that counts from 1.
fn policy(ingresses: impl IntoIterator<Item = String>) -> String {
    let mut text = "version = 1\n\
         [contexts.own]\nkind = \"transport\"\npops = true\nlabels = [50]\n\
         [contexts.red]\nkind = \"vrf\"\nlabels = [100]\n\
         [contexts.blue]\nkind = \"vrf\"\nlabels = [200]\n\
         [ingress.neighbour]\ninterface = \"eth9\"\nrole = \"peer\"\nlabels = [30000]\n"
        .to_owned();
    for (vid, lines) in (1..).zip(ingresses) {
        write!(
            text,
            "[ingress.v{vid}]\ninterface = \"{INTERFACE}\"\nvlan = [{vid}]\nrole = \"core\"\n\
             contexts = [\"own\", \"red\"]\n{lines}\n"
        )
        .expect("a string grows");
        assert!(vid < 4_095, "more ingresses than VLAN IDs");
    }
    text
}

/// `special` of every subset, the empty one first, and `inner`.
fn every_set(inner: &str) -> impl Iterator<Item = String> {
    (0..1 << Special::ALL.len()).map(move |bits| {
        let set = SpecialSet::from_bits(bits);
        let names = Special::ALL.into_iter().filter(|special| set.allows(*special));
        let names: Vec<_> = names.map(Special::name).collect();
        format!("special = {names:?}\ninner = \"{inner}\"")
    })
}

/// Every stack of so many labels.
fn stacks(labels: &[u32], depth: usize) -> impl Iterator<Item = Vec<u32>> {
    let number = labels.len().pow(u32::try_from(depth).expect("stacks are short"));
    (0..number).map(move |mut number| {
        let digits = (0..depth).map(|_| {
            let label = labels[number % labels.len()];
            number /= labels.len();
            label
        });
        digits.collect()
    })
}

/// A frame in this VLAN, with S on the entry at `bottom` if there is one.
fn frame(vid: u16, labels: &[u32], bottom: Option<usize>) -> Vec<u8> {
    let entry = |(at, label)| {
        let entry = LabelEntry::new(label);
        if Some(at) == bottom { entry.bottom() } else { entry }
    };
    let entries = labels.iter().copied().enumerate().map(entry);
    Frame::new(MPLS).vlan(vid).stack(entries).payload([]).build()
}

/// Every stack of one to `depth` entries out of all special-purpose labels and the ordinary ones,
/// with S on the last entry, on the last but one, and nowhere.
fn every_stack(trial: &mut Trial<'_>, vid: u16, depth: usize) {
    let labels: Vec<u32> = SPECIAL.chain(ORDINARY).collect();
    for depth in 1..=depth {
        for stack in stacks(&labels, depth) {
            for bottom in [Some(depth - 1), depth.checked_sub(2), None] {
                trial.judge(INTERFACE, &frame(vid, &stack, bottom));
            }
        }
    }
}

fn every_stack_under_every_set(inner: &str) {
    let mut stand = Stand::new();
    let mut trial = stand.policy(&policy(every_set(inner)));
    for vid in 1..=64 {
        every_stack(&mut trial, vid, 3);
    }
    trial.assert_counters();
    drop(trial);
    let of_a_set = 3 * (22 + 22 * 22 + 22 * 22 * 22);
    assert_eq!(stand.frames, 64 * of_a_set);
}

#[test]
fn every_stack_of_three_under_every_set_of_permissions() {
    every_stack_under_every_set("opaque");
}

#[test]
fn every_validated_stack_of_three_under_every_set_of_permissions() {
    every_stack_under_every_set("validate");
}

#[test]
fn every_stack_of_four_with_all_permissions() {
    let mut stand = Stand::new();
    let all = |inner| every_set(inner).last();
    let mut trial = stand.policy(&policy([all("opaque"), all("validate")].into_iter().flatten()));
    for vid in [1, 2] {
        every_stack(&mut trial, vid, 4);
    }
    trial.assert_counters();
}

#[test]
fn every_depth_at_every_limit() {
    const DEEPEST: usize = 34;
    let mut stand = Stand::new();
    let permissions = "special = [\"explicit-null\", \"entropy\", \"extended\"]";
    let limits = (1..=32).map(|limit| format!("max-depth = {limit}\n{permissions}"));
    let mut trial = stand.policy(&policy(limits));
    // Entries that are examined, one that hides the others, and pairs that belong together.
    let patterns = [[POPPED, POPPED], [OWN, 3], [0, 2], [7, 99_999], [15, 99_999], [POPPED, 7]];
    for vid in 1..=32_u16 {
        let limit = usize::from(vid);
        for pattern in patterns {
            for depth in 1..=DEEPEST {
                let labels: Vec<u32> = pattern.into_iter().cycle().take(depth).collect();
                for bottom in [Some(depth - 1), None] {
                    let whole = frame(vid, &labels, bottom);
                    for cut in 0..4 {
                        let frame = &whole[..whole.len() - cut];
                        let seen = trial.judge(INTERFACE, frame).reason;
                        let plain = pattern == [POPPED, POPPED];
                        if plain && bottom.is_some() && cut == 0 {
                            let expected = (depth > limit).then_some(reason::STACK_TOO_DEEP);
                            assert_eq!(seen, expected, "{depth} entries, max-depth {limit}");
                        }
                    }
                }
            }
        }
    }
    trial.assert_counters();
}

#[test]
fn every_kind_of_ttl_at_every_position() {
    let mut stand = Stand::new();
    let permissions = "special = [\"router-alert\", \"entropy\", \"extended\"]";
    let inner = ["opaque", "validate"].map(|inner| format!("inner = \"{inner}\"\n{permissions}"));
    let mut trial = stand.policy(&policy(inner));
    for vid in [1, 2] {
        for pattern in [[POPPED, POPPED], [OWN, OWN], [1, POPPED], [7, 99_999], [15, 99_999]] {
            for depth in 1..=33 {
                for position in 0..depth {
                    for ttl in [0, 1, 2, 255] {
                        let labels = pattern.into_iter().cycle().take(depth).enumerate();
                        let entries = labels.map(|(at, label)| {
                            let mut entry = LabelEntry::new(label);
                            entry.s = at == depth - 1;
                            if at == position { entry.ttl(ttl) } else { entry }
                        });
                        let frame = Frame::new(MPLS).vlan(vid).stack(entries).payload([]).build();
                        let seen = trial.judge(INTERFACE, &frame).reason;
                        let dead = ttl == 0 && position == 0;
                        assert_eq!(seen == Some(reason::TTL_ZERO), dead, "TTL {ttl} at {position}");
                    }
                }
            }
        }
    }
    trial.assert_counters();
}
