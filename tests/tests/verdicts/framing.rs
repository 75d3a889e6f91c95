//! §4: from the frame to its ingress, and every place where a frame can end.

use mpls_xdp::compile;
use mpls_xdp::kernel::{CounterMap, FilterProgram, KernelError, PolicyMap, Settings};
use mpls_xdp_ebpf::abi::{INTERFACE_SLOTS, NONE, interface_record};
use mpls_xdp_tests::frame::{
    C_TAG, EXPERIMENTAL, Frame, IPV4, MPLS, MPLS_UPSTREAM, OLD_OUTER_TAG, S_TAG, Tag,
};

use crate::{
    expect::{
        CORE, INTERFACE, accepted, check, expect, judges, monitored, no_ingress, refused, unread,
        unseen, untouched,
    },
    judges::{Judges, Seen},
};

const TPIDS: [u16; 3] = [C_TAG, S_TAG, OLD_OUTER_TAG];
/// Bytes before the first tag, or the type.
const ADDRESSES: usize = 12;

/// Ingresses of one interface with none, one and two VLAN IDs.
const BOUND: &str = r#"
version = 1
[contexts.red]
kind = "vrf"
labels = [100]
[contexts.own]
kind = "transport"
labels = [50]
pops = true
[ingress.untagged]
interface = "eth0"
role = "core"
contexts = ["red", "own"]
[ingress.one]
interface = "eth0"
vlan = [100]
role = "core"
contexts = ["red", "own"]
[ingress.two]
interface = "eth0"
vlan = [200, 100]
role = "core"
contexts = ["red", "own"]
[ingress.twice]
interface = "eth0"
vlan = [100, 100]
role = "core"
contexts = ["red", "own"]
[ingress.first]
interface = "eth0"
vlan = [1]
role = "core"
contexts = ["red", "own"]
[ingress.last]
interface = "eth0"
vlan = [4094, 4094]
role = "core"
contexts = ["red", "own"]
[ingress.elsewhere]
interface = "eth1"
vlan = [300]
role = "core"
contexts = ["red", "own"]
"#;

fn at(ingress: &str, mut seen: Seen) -> Seen {
    seen.ingress = Some(ingress.to_owned());
    seen
}

fn tagged(vids: &[u16]) -> Frame {
    vids.iter().fold(Frame::mpls([100]), |frame, vid| frame.vlan(*vid))
}

#[test]
fn the_ingress_is_that_of_exactly_these_vlan_ids() {
    let mut judges = Judges::new(BOUND);
    let bound: &[(&[u16], &str)] = &[
        (&[], "untagged"),
        (&[100], "one"),
        (&[200, 100], "two"),
        (&[100, 100], "twice"),
        (&[1], "first"),
        (&[4094, 4094], "last"),
        // A priority tag is no part of the binding, wherever it stands.
        (&[0], "untagged"),
        (&[0, 0, 0, 0], "untagged"),
        (&[0, 100], "one"),
        (&[100, 0], "one"),
        (&[0, 0, 0, 100], "one"),
        (&[0, 200, 0, 100], "two"),
        (&[200, 0, 0, 100], "two"),
        (&[200, 100, 0, 0], "two"),
    ];
    for (vids, ingress) in bound {
        let frame = tagged(vids).build();
        expect(&mut judges, "eth0", &frame, &at(ingress, accepted(0, 100)));
    }
    let unbound: &[&[u16]] = &[
        &[200],
        &[100, 200],
        &[300],
        &[2],
        &[4094],
        &[4095],
        &[101],
        &[164],
        &[200, 100, 100],
        &[100, 200, 100],
        &[100, 100, 100, 100],
        &[1, 2, 3],
        &[0, 1, 2, 3],
    ];
    for vids in unbound {
        let frame = tagged(vids).build();
        expect(&mut judges, "eth0", &frame, &no_ingress("ingress_unbound"));
    }
    expect(&mut judges, "eth1", &tagged(&[]).build(), &no_ingress("ingress_unbound"));
    let elsewhere = at("elsewhere", accepted(0, 100));
    expect(&mut judges, "eth1", &tagged(&[300]).build(), &elsewhere);
}

#[test]
fn every_vlan_id_leads_where_it_is_bound() {
    let mut judges = Judges::new(BOUND);
    for vid in 0..=0xfff {
        let expected = match vid {
            0 => at("untagged", accepted(0, 100)),
            1 => at("first", accepted(0, 100)),
            100 => at("one", accepted(0, 100)),
            _ => no_ingress("ingress_unbound"),
        };
        expect(&mut judges, "eth0", &tagged(&[vid]).build(), &expected);
        let expected = match vid {
            0 => no_ingress("ingress_unbound"),
            100 => at("two", accepted(0, 100)),
            _ => no_ingress("ingress_unbound"),
        };
        expect(&mut judges, "eth0", &tagged(&[200, vid]).build(), &expected);
    }
}

#[test]
fn tpid_priority_and_drop_eligibility_do_not_matter() {
    let mut judges = Judges::new(BOUND);
    for outer in TPIDS {
        for inner in TPIDS {
            for pcp in [0, 7] {
                for dei in [false, true] {
                    let outer = Tag { tpid: outer, pcp, dei, vid: 200 };
                    let inner = Tag { tpid: inner, pcp, dei, vid: 100 };
                    let frame = Frame::mpls([100]).tag(outer).tag(inner).build();
                    expect(&mut judges, "eth0", &frame, &at("two", accepted(0, 100)));
                }
            }
        }
    }
    // Tag types that are none of the three.
    for tpid in [0x9200, 0x9300, 0x88a9, 0x8101] {
        let frame = Frame::mpls([100]).tag(Tag::new(tpid, 100)).build();
        expect(&mut judges, "eth0", &frame, &untouched());
    }
}

#[test]
fn four_tags_are_walked_and_a_fifth_is_too_deep_whatever_follows() {
    let mut judges = Judges::new(BOUND);
    for fifth in TPIDS {
        for vid in [0, 100] {
            for ether_type in [MPLS, MPLS_UPSTREAM, IPV4] {
                let four = [vid; 4].into_iter().fold(Frame::mpls([100]), Frame::vlan);
                let four = four.ether_type(ether_type);
                let frame = four.tag(Tag::new(fifth, vid)).build();
                let types_end = ADDRESSES + 4 * 4 + 2;
                for length in 0..=frame.len() {
                    let expected =
                        if length < types_end { untouched() } else { no_ingress("vlan_too_deep") };
                    expect(&mut judges, "eth0", &frame[..length], &expected);
                }
            }
        }
    }
    let six = (0..6).fold(Frame::new(EXPERIMENTAL), |frame, _| frame.vlan(0)).build();
    expect(&mut judges, "eth0", &six, &no_ingress("vlan_too_deep"));
    // On an interface that is not named there is no program to say so.
    expect(&mut judges, "eth7", &six, &untouched());
    let mut monitored_judges = Judges::new(&format!("{BOUND}[defaults]\nmode = \"monitor\"\n"));
    let expected = monitored(no_ingress("vlan_too_deep"));
    expect(&mut monitored_judges, "eth0", &six, &expected);
}

#[test]
fn four_priority_tags_before_each_type() {
    let mut judges = Judges::new(BOUND);
    let four =
        |ether_type| (0..4).fold(Frame::mpls([100]).ether_type(ether_type), |f, _| f.vlan(0));
    expect(&mut judges, "eth0", &four(MPLS).build(), &at("untagged", accepted(0, 100)));
    let upstream = at("untagged", unseen("upstream_not_allowed"));
    expect(&mut judges, "eth0", &four(MPLS_UPSTREAM).build(), &upstream);
    for ether_type in [IPV4, EXPERIMENTAL, 0x8846, 0x8849, 0x4788, 0, 0xffff, 64] {
        expect(&mut judges, "eth0", &four(ether_type).build(), &untouched());
        let bare = Frame::mpls([100]).ether_type(ether_type).build();
        expect(&mut judges, "eth0", &bare, &untouched());
    }
}

#[test]
fn every_length_of_a_frame() {
    let shapes: &[(&[u16], &str)] =
        &[(&[], "untagged"), (&[100], "one"), (&[200, 100], "two"), (&[0, 200, 0, 100], "two")];
    let mut judges = Judges::new(BOUND);
    for (vids, ingress) in shapes {
        for (depth, label) in [(1, 100), (2, 50), (3, 100), (32, 50), (32, 100)] {
            let labels = vec![label; depth];
            let frame =
                vids.iter().fold(Frame::mpls(labels), |frame, vid| frame.vlan(*vid)).build();
            let stack = ADDRESSES + 4 * vids.len() + 2;
            for length in 0..=frame.len() {
                let expected = match length.checked_sub(stack) {
                    None => untouched(),
                    Some(there) if there >= 4 * depth => at(ingress, accepted(0, label)),
                    Some(there) => {
                        at(ingress, unread("truncated", u32::try_from(there / 4).unwrap()))
                    }
                };
                expect(&mut judges, "eth0", &frame[..length], &expected);
            }
        }
    }
}

#[test]
fn every_length_of_a_frame_that_has_no_ingress_or_is_refused() {
    let mut judges = Judges::new(BOUND);
    let unbound = tagged(&[7]).build();
    for length in 0..=unbound.len() {
        let expected =
            if length < ADDRESSES + 6 { untouched() } else { no_ingress("ingress_unbound") };
        expect(&mut judges, "eth0", &unbound[..length], &expected);
    }
    let upstream = Frame::mpls([100]).ether_type(MPLS_UPSTREAM).build();
    for length in 0..=upstream.len() {
        let refusal = at("untagged", unseen("upstream_not_allowed"));
        let expected = if length < ADDRESSES + 2 { untouched() } else { refusal };
        expect(&mut judges, "eth0", &upstream[..length], &expected);
    }
    let refused_frame = Frame::mpls([50, 999]).build();
    for length in 0..=refused_frame.len() {
        let expected = match length {
            0..14 => untouched(),
            14..22 => {
                let position = u32::try_from((length - 14) / 4).unwrap();
                at("untagged", unread("truncated", position))
            }
            _ => at("untagged", refused("label_out_of_range", 1, 999)),
        };
        expect(&mut judges, "eth0", &refused_frame[..length], &expected);
    }
}

#[test]
fn what_is_under_fourteen_bytes_passes() {
    let mut judges = Judges::new(BOUND);
    for byte in [0, 0x81, 0x88, 0xff] {
        for length in 0..14 {
            expect(&mut judges, "eth0", &vec![byte; length], &untouched());
        }
    }
}

#[test]
fn large_frames_are_judged_like_small_ones() {
    let mut judges = judges(&[CORE]);
    for length in [1_500, 3_519, 3_520, 3_521, 4_096, 9_000, 9_216] {
        let frame = |labels: &[u32]| Frame::mpls(labels.iter().copied()).length(length);
        check(
            &mut judges,
            &[
                (frame(&[100]).build(), accepted(0, 100)),
                (frame(&[50, 200]).build(), refused("label_out_of_vrf", 1, 200)),
                (frame(&[50; 32]).build(), accepted(0, 50)),
                (frame(&[50; 33]).build(), unread("stack_too_deep", 32)),
                (frame(&[100]).vlan(9).build(), no_ingress("ingress_unbound")),
                (frame(&[100]).ether_type(IPV4).build(), untouched()),
                (frame(&[100]).ether_type(MPLS_UPSTREAM).build(), unseen("upstream_not_allowed")),
            ],
        );
        assert_eq!(judges.judge(INTERFACE, &frame(&[100]).build()).verdict, "pass");
    }
}

#[test]
fn an_interface_has_one_of_the_slots() {
    let policy = &PolicyMap::create(&compile::nothing().unwrap(), 1 << 14).unwrap();
    let counters = &CounterMap::create(1).unwrap();
    for slot in [INTERFACE_SLOTS, INTERFACE_SLOTS + 1, 0x4000_0000, NONE] {
        assert_eq!(interface_record(slot), None);
        let settings = Settings { slot, policy, counters, fragments: true, tracing: true };
        let refused = FilterProgram::load(settings, None).map(|_| ()).unwrap_err();
        assert!(matches!(refused, KernelError::NoSlot(number) if number == slot), "{refused}");
    }
}
