//! Every length of frames of many shapes, and every VLAN ID in every tag.

use std::iter;

use mpls_xdp_tests::frame::{
    C_TAG, Frame, LabelEntry, MPLS, MPLS_UPSTREAM, OLD_OUTER_TAG, S_TAG, Tag, label_stack,
};

use crate::stand::Stand;

const TPIDS: [u16; 3] = [C_TAG, S_TAG, OLD_OUTER_TAG];
const INTERFACE: &str = "eth0";

/// Ingresses with none, one and two VLAN IDs, in both orders, at the limits and in between.
const BOUND: &str = r#"
version = 1
[contexts.own]
kind = "transport"
pops = true
labels = [50]
[contexts.red]
kind = "vrf"
labels = [100]
[ingress.untagged]
interface = "eth0"
role = "core"
contexts = ["own", "red"]
special = ["explicit-null", "router-alert", "entropy", "gal", "oam-alert", "extended"]
[ingress.one]
interface = "eth0"
vlan = [100]
role = "core"
contexts = ["own", "red"]
max-depth = 7
[ingress.first]
interface = "eth0"
vlan = [1]
role = "peer"
contexts = ["red"]
mode = "monitor"
[ingress.last]
interface = "eth0"
vlan = [4094]
role = "customer"
[ingress.two]
interface = "eth0"
vlan = [200, 100]
role = "core"
contexts = ["own", "red"]
inner = "validate"
special = ["extended"]
[ingress.turned]
interface = "eth0"
vlan = [100, 200]
role = "customer"
mode = "monitor"
[ingress.twice]
interface = "eth0"
vlan = [100, 100]
role = "core"
labels = [50]
[ingress.limits]
interface = "eth0"
vlan = [4094, 1]
role = "core"
contexts = ["red"]
[ingress.elsewhere]
interface = "eth1"
vlan = [300]
role = "core"
contexts = ["red"]
"#;

/// Label stacks of up to 33 entries: examined, opaque, and with special-purpose labels in them.
fn stacks() -> Vec<Vec<LabelEntry>> {
    let patterns: [&[u32]; 6] =
        [&[50], &[100], &[50, 7, 99_999], &[50, 15, 99_999, 0], &[1, 13, 50], &[50, 50, 999]];
    let depths = (1..=33).flat_map(|depth| patterns.map(|pattern| (depth, pattern)));
    depths
        .flat_map(|(depth, pattern)| {
            let with = label_stack(pattern.iter().copied().cycle().take(depth));
            let mut without = with.clone();
            without[depth - 1].s = false;
            [with, without]
        })
        .collect()
}

#[test]
fn every_length_of_every_shape_of_frame() {
    let tags: [&[u16]; 8] = [
        &[],
        &[100],
        &[4094],
        &[200, 100],
        &[0, 100, 200],
        &[0, 200, 0, 100],
        &[1, 2, 3, 4],
        &[0, 0, 0, 0, 100],
    ];
    let mut stand = Stand::new();
    let mut trial = stand.policy(BOUND);
    let stacks = stacks();
    for vids in tags {
        for (number, stack) in stacks.iter().enumerate() {
            let frame = Frame::new(MPLS).stack(stack.iter().copied()).payload([0x45; 4]);
            let tags = iter::zip(vids, TPIDS.into_iter().cycle().skip(number));
            let frame = tags.fold(frame, |frame, (vid, tpid)| frame.tag(Tag::new(tpid, *vid)));
            let whole = frame.build();
            for length in 0..=whole.len() {
                trial.judge(INTERFACE, &whole[..length]);
            }
        }
    }
    trial.assert_counters();
}

/// The tags with priority tags before them, between them, behind them, and at two of these places.
fn with_priority_tags(tags: &[Tag]) -> Vec<Vec<Tag>> {
    let mut all = vec![tags.to_vec()];
    for place in 0..=tags.len() {
        let mut one = tags.to_vec();
        one.insert(place, Tag::new(TPIDS[place % TPIDS.len()], 0).pcp(7));
        for other in place + 1..=one.len() {
            let mut two = one.clone();
            two.insert(other, Tag::customer(0));
            all.push(two);
        }
        all.push(one);
    }
    all
}

#[test]
fn every_vlan_id_in_every_tag() {
    let mut stand = Stand::new();
    let mut trial = stand.policy(BOUND);
    for vid in 0..=0xfff {
        let alone = TPIDS.map(|tpid| vec![Tag::new(tpid, vid)]);
        let among_others = TPIDS.into_iter().flat_map(|outer| {
            TPIDS.into_iter().flat_map(move |inner| {
                [
                    vec![Tag::new(outer, vid), Tag::new(inner, 100)],
                    vec![Tag::new(outer, 200), Tag::new(inner, vid)],
                    vec![Tag::new(outer, vid), Tag::new(inner, vid)],
                    vec![Tag::new(outer, 200), Tag::new(inner, 100), Tag::new(outer, vid)],
                ]
            })
        });
        for tags in alone.into_iter().chain(among_others) {
            for tags in with_priority_tags(&tags) {
                let bare = Frame::mpls([50, 100]).payload([]);
                let frame = tags.into_iter().fold(bare, Frame::tag).build();
                trial.judge(INTERFACE, &frame);
            }
        }
    }
    trial.assert_counters();
}

#[test]
fn every_type_behind_no_tag_one_tag_and_four() {
    let mut stand = Stand::new();
    let mut trial = stand.policy(BOUND);
    for ether_type in 0..=u16::MAX {
        for tags in [0, 1, 4] {
            let bare = Frame::mpls([100]).ether_type(ether_type).payload([]);
            let frame = (0..tags).fold(bare, |frame, _| frame.vlan(0)).build();
            let untouched = trial.judge(INTERFACE, &frame).reason.is_none();
            let known = [MPLS, MPLS_UPSTREAM].contains(&ether_type) || TPIDS.contains(&ether_type);
            assert!(untouched || known, "{ether_type:#06x} behind {tags} tags");
        }
    }
    trial.assert_counters();
}
