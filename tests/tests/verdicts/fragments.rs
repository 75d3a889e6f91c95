//! Frames in fragments: what lies beyond the linear part is read, never taken for missing.
//!
//! `BPF_PROG_TEST_RUN` puts the boundary where `data_end` of its context says, from Linux 6.18 on.
//! An older kernel has one boundary, behind the 3,520 bytes that a page leaves, and headers never
//! reach it: all that it can show is that frames in fragments are judged at all.

use aya::programs::{TestRun as _, TestRunOptions};
use mpls_xdp::compile;
use mpls_xdp::kernel::{CounterMap, FilterProgram, PolicyMap, Settings};
use mpls_xdp_ebpf::frame::MAX_TAGS;
use mpls_xdp_tests::frame::{Frame, IPV4, LabelEntry, MPLS_UPSTREAM, label_stack};

use crate::{
    expect::{
        ALL_SPECIAL, CORE, INTERFACE, accepted, bottomless, check, entries, judges, no_ingress,
        refused, stack, unread, unseen, untouched,
    },
    judges::{Judges, Seen},
    stand::kernel_splits,
};

/// The linear part of a test run's frame that asks for nothing else, on pages of 4 KiB.
const PAGE_LEAVES: usize = 3_520;

#[test]
fn a_boundary_anywhere_in_the_headers_changes_nothing() {
    let mut judges = judges(&[CORE, ALL_SPECIAL]);
    if !kernel_splits() {
        // It must refuse to split, or it could do more than this test knows of.
        let error = judges.split_verdict(INTERFACE, &stack(&[100]), 16).unwrap_err();
        assert!(error.contains("does not run"), "{error}");
        behind_a_page(&mut judges);
        return;
    }
    let table = table();
    check(&mut judges, &table);
    let mut boundaries = 0;
    for (frame, expected) in &table {
        for linear in 0..frame.len() {
            match judges.split_verdict(INTERFACE, frame, linear) {
                Ok(seen) => {
                    let case = judges.case(INTERFACE, frame);
                    assert_eq!(seen, *expected, "{linear} bytes linear, {case}");
                }
                Err(error) => panic!("{error}\n{}", judges.case(INTERFACE, frame)),
            }
            boundaries += 1;
        }
    }
    assert!(boundaries > 1_500, "only {boundaries} boundaries were tried");
}

#[test]
fn a_split_frame_really_has_its_rest_in_a_fragment() {
    let frame = stack(&[50, 100]);
    let policy = &PolicyMap::create(&compile::nothing().unwrap(), 1 << 14).unwrap();
    let counters = &CounterMap::create(1).unwrap();
    let settings = Settings { slot: 0, policy, counters, fragments: true, tracing: true };
    let mut program = FilterProgram::load(settings, None)
        .unwrap_or_else(|error| panic!("cannot load the kernel program: {error}"));
    for linear in 0..=frame.len() {
        let end = |context: &[u8; 24]| u32::from_ne_bytes(context[4..8].try_into().unwrap());
        let (mut given, mut got) = ([0; 24], [0; 24]);
        let expected = u32::try_from(linear).unwrap();
        given[4..8].copy_from_slice(&expected.to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&given),
            ctx_out: Some(&mut got),
            ..TestRunOptions::new()
        };
        let outcome = program.xdp().unwrap().test_run(options);
        if linear < frame.len() && !kernel_splits() {
            assert!(outcome.is_err(), "this kernel splits, so the boundaries can be tested here");
        } else {
            outcome.unwrap();
            assert_eq!(end(&got), expected, "the linear part of the frame that was run");
        }
    }
}

#[test]
fn frames_longer_than_a_page_are_judged() {
    behind_a_page(&mut judges(&[CORE, ALL_SPECIAL]));
}

/// Frames whose payload starts in the linear part and ends in a fragment.
fn behind_a_page(judges: &mut Judges) {
    for length in [PAGE_LEAVES - 1, PAGE_LEAVES, PAGE_LEAVES + 1, 9_000] {
        let frame = |labels: &[u32]| Frame::mpls(labels.iter().copied()).length(length).build();
        check(
            judges,
            &[
                (frame(&[50; 32]), accepted(0, 50)),
                (frame(&[50, 200]), refused("label_out_of_vrf", 1, 200)),
                (frame(&[50; 33]), unread("stack_too_deep", 32)),
            ],
        );
    }
}

/// Frames whose judgement needs what stands at their end.
fn table() -> Vec<(Vec<u8>, Seen)> {
    let deep = [vec![50; 31], vec![200]].concat();
    let mut long = label_stack(vec![50; 32]);
    long[31] = LabelEntry::new(51).bottom();
    let four = (0..MAX_TAGS).fold(Frame::mpls([50, 999]), |frame, _| frame.vlan(0));
    vec![
        (stack(&[100]), accepted(0, 100)),
        (stack(&[999]), refused("label_out_of_range", 0, 999)),
        (stack(&[0, 7, 99_999, 15, 99_999, 100]), accepted(5, 100)),
        (entries(long), accepted(0, 50)),
        (stack(&deep), refused("label_out_of_vrf", 31, 200)),
        (stack(&[50; 33]), unread("stack_too_deep", 32)),
        (bottomless(&[50; 7]), unread("truncated", 7)),
        (Frame::mpls([50, 100]).cut(21).build(), unread("truncated", 1)),
        (Frame::mpls([50, 100]).cut(19).build(), unread("truncated", 1)),
        (Frame::mpls([50, 100]).cut(17).build(), unread("truncated", 0)),
        (Frame::mpls([50, 100]).cut(14).build(), unread("truncated", 0)),
        (Frame::mpls([100]).vlan(0).cut(17).build(), untouched()),
        (four.build(), refused("label_out_of_range", 1, 999)),
        (four.vlan(0).build(), no_ingress("vlan_too_deep")),
        (Frame::mpls([100]).vlan(5).build(), no_ingress("ingress_unbound")),
        (Frame::mpls([100]).ether_type(MPLS_UPSTREAM).build(), unseen("upstream_not_allowed")),
        (Frame::new(IPV4).vlan(0).build(), untouched()),
        (Frame::mpls([50, 200]).length(600).build(), refused("label_out_of_vrf", 1, 200)),
    ]
}
