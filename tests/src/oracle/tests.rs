//! The oracle against hand-computed examples, in the order of the semantics.

use serde_json::json;

use super::*;

const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const TTL: u8 = 64;

/// `red` and `blue` share 1050, `core` and `own` share 16007, `blue` and `core` share 17000.
const CONTEXTS: &str = r#"
    version = 1
    [contexts.core]
    kind = "transport"
    labels = ["16000-16999", 17000]
    [contexts.own]
    kind = "transport"
    pops = true
    labels = [16007, "50-59", "24010"]
    [contexts.red]
    kind = "vrf"
    labels = [16, 100, "1000-1099"]
    [contexts.blue]
    kind = "vrf"
    labels = [200, 1050, 17000, "1048575"]
    [ingress.neighbour]
    interface = "eth9"
    role = "peer"
    labels = [30000, 1000]
    [ingress.it]
    interface = "eth0"
"#;

/// Every special-purpose label that can be allowed.
const ALL_SPECIAL: &str = r#"special = [
    "explicit-null", "router-alert", "entropy", "gal", "oam-alert", "extended",
]
"#;

const PEER: &str = "role = \"peer\"\ncontexts = [\"red\"]\nlabels = [\"24000-24063\"]\n";
const CORE: &str = "role = \"core\"\ncontexts = [\"core\", \"own\", \"red\"]\n";

/// An oracle whose ingress `it`, on eth0, has these keys.
fn it(keys: &[&str]) -> Oracle {
    Oracle::new(&(CONTEXTS.to_owned() + &keys.concat()))
}

fn core_with_all_special() -> Oracle {
    it(&[CORE, ALL_SPECIAL])
}

/// A label entry: label, S, TTL; the traffic class has a bit set, which must not matter.
fn entry(label: u32, s: u32, ttl: u8) -> [u8; 4] {
    (label << 12 | 0b010 << 9 | s << 8 | u32::from(ttl)).to_be_bytes()
}

/// A stack of these labels, S on the last.
fn stack(labels: &[u32]) -> Vec<u8> {
    let last = labels.len() - 1;
    let entries = labels.iter().enumerate();
    entries.flat_map(|(i, &label)| entry(label, u32::from(i == last), TTL)).collect()
}

/// A stack of these labels without an S bit, and nothing after it.
fn bottomless(labels: &[u32]) -> Vec<u8> {
    labels.iter().flat_map(|&label| entry(label, 0, TTL)).collect()
}

fn frame(tags: &[(u16, u16)], kind: u16, rest: &[u8]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    let mut frame = ETHERNET.to_vec();
    frame.extend(tags);
    frame.extend(kind.to_be_bytes());
    frame.extend(rest);
    frame
}

/// The judgement on an untagged frame of type 0x8847 on eth0.
fn judge(oracle: &Oracle, stack: &[u8]) -> Judgement {
    oracle.judge("eth0", &frame(&[], 0x8847, stack))
}

#[track_caller]
fn accepted(oracle: &Oracle, stack: &[u8], rule: &str, by: Option<(u32, u32)>) {
    let expected = Judgement {
        verdict: Verdict::Pass,
        reason: None,
        ingress: Some("it".into()),
        position: by.map(|(position, _)| position),
        label: by.map(|(_, label)| label),
        counter: Counter::Accepted { rule: rule.into() },
    };
    assert_eq!(judge(oracle, stack), expected);
}

#[track_caller]
fn refused(oracle: &Oracle, stack: &[u8], reason: &'static str, position: u32, label: u32) {
    assert_eq!(judge(oracle, stack), refusal(reason, Some(position), Some(label)));
}

/// Refused because the entry at the position could not be read.
#[track_caller]
fn unread(oracle: &Oracle, stack: &[u8], reason: &'static str, position: u32) {
    assert_eq!(judge(oracle, stack), refusal(reason, Some(position), None));
}

fn refusal(reason: &'static str, position: Option<u32>, label: Option<u32>) -> Judgement {
    Judgement {
        verdict: Verdict::Drop,
        reason: Some(reason),
        ingress: Some("it".into()),
        position,
        label,
        counter: Counter::Dropped,
    }
}

fn without_ingress(verdict: Verdict, reason: &'static str, counter: Counter) -> Judgement {
    let untouched = Judgement::untouched();
    Judgement { verdict, reason: Some(reason), counter, ..untouched }
}

// The whole way, by hand.

#[test]
fn a_frame_written_out_in_hexadecimal() {
    // 0x00064 is label 100; 0x1 is TC 0 and S; 0x40 is TTL 64.
    let bytes = [
        0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, // addresses
        0x81, 0x00, 0x60, 0x64, // priority 3, VID 100
        0x88, 0x47, // MPLS
        0x00, 0x06, 0x41, 0x40, // 100, S, 64
        0x45, 0x00,
    ];
    let oracle = it(&[PEER, "vlan = [100]\n"]);
    let judgement = oracle.judge("eth0", &bytes);
    assert_eq!(
        judgement.replay_line(3),
        json!({"frame": 3, "verdict": "pass", "reason": null, "ingress": "it", "position": 0,
            "label": 100})
    );
    assert_eq!(judgement.counter, Counter::Accepted { rule: "red".into() });
}

#[test]
fn the_largest_label_has_all_twenty_bits() {
    let oracle = it(&["role = \"peer\"\ncontexts = [\"blue\"]\n"]);
    accepted(&oracle, &[0xff, 0xff, 0xf1, 0xff], "blue", Some((0, 1_048_575)));
    refused(&oracle, &[0xff, 0xff, 0xe1, 0xff], "label_out_of_range", 0, 1_048_574);
}

// §4

#[test]
fn what_is_not_mpls_passes_and_is_not_counted() {
    let oracle = it(&["role = \"customer\"\n"]);
    for kind in [0x0800, 0x86dd, 0x0806] {
        let judgement = oracle.judge("eth0", &frame(&[(0x8100, 77)], kind, &stack(&[16])));
        assert_eq!(judgement, Judgement::untouched());
    }
    let mpls = frame(&[], 0x8847, &[]);
    for length in 0..14 {
        assert_eq!(oracle.judge("eth0", &mpls[..length]), Judgement::untouched());
    }
    assert_eq!(judge(&oracle, &[]), refusal("mpls_not_enabled", None, None));
}

#[test]
fn an_interface_that_the_policy_does_not_name_passes_everything() {
    let oracle = it(&["role = \"customer\"\n"]);
    assert_eq!(oracle.judge("eth1", &frame(&[], 0x8847, &stack(&[3]))), Judgement::untouched());
    let five = [(0x8100, 1); 5];
    assert_eq!(oracle.judge("eth1", &frame(&five, 0x8847, &[])), Judgement::untouched());
    assert_eq!(oracle.interfaces(), ["eth9", "eth0"]);
}

#[test]
fn the_ingress_has_exactly_the_vlan_ids_that_are_not_zero() {
    let untagged = it(&[PEER]);
    let single = it(&[PEER, "vlan = [100]\n"]);
    let double = it(&[PEER, "vlan = [200, 100]\n"]);
    let cases: [(&[u16], &Oracle, [&Oracle; 2]); 9] = [
        (&[], &untagged, [&single, &double]),
        (&[0], &untagged, [&single, &double]),
        (&[0, 0, 0, 0], &untagged, [&single, &double]),
        (&[100], &single, [&untagged, &double]),
        (&[0, 100, 0], &single, [&untagged, &double]),
        (&[0xf000 | 100], &single, [&untagged, &double]),
        (&[200, 100], &double, [&untagged, &single]),
        (&[0, 200, 0, 100], &double, [&untagged, &single]),
        (&[0xe000 | 200, 0x1000 | 100], &double, [&untagged, &single]),
    ];
    for (tags, bound, unbound) in cases {
        for tpid in [0x8100, 0x88a8, 0x9100] {
            let tags: Vec<_> = tags.iter().map(|&tci| (tpid, tci)).collect();
            let frame = frame(&tags, 0x8847, &stack(&[100]));
            assert_eq!(
                bound.judge("eth0", &frame).counter,
                Counter::Accepted { rule: "red".into() }
            );
            for oracle in unbound {
                assert_eq!(
                    oracle.judge("eth0", &frame),
                    without_ingress(Verdict::Drop, "ingress_unbound", Counter::Unbound)
                );
            }
        }
    }
}

#[test]
fn other_vlan_ids_another_order_or_more_than_two_are_unbound() {
    let oracle = it(&[PEER, "vlan = [200, 100]\n"]);
    for vids in [&[100, 200][..], &[200], &[200, 101], &[200, 100, 100], &[1, 2, 3, 4], &[4095]] {
        for kind in [0x8847, 0x8848] {
            let tags: Vec<_> = vids.iter().map(|&vid| (0x8100, vid)).collect();
            assert_eq!(
                oracle.judge("eth0", &frame(&tags, kind, &[])),
                without_ingress(Verdict::Drop, "ingress_unbound", Counter::Unbound),
                "{vids:?}"
            );
        }
    }
}

#[test]
fn a_fifth_tag_is_too_deep_before_anything_else() {
    let oracle = it(&["role = \"customer\"\n"]);
    let expected = without_ingress(Verdict::Drop, "vlan_too_deep", Counter::VlanTooDeep);
    let five = [(0x8100, 0); 5];
    // Not even the type after the tags matters, nor whether it is there.
    assert_eq!(oracle.judge("eth0", &frame(&five, 0x0800, &[])), expected);
    assert_eq!(oracle.judge("eth0", &frame(&five[..4], 0x9100, &[])), expected);
    assert_eq!(oracle.judge("eth0", &frame(&five[..4], 0x0800, &[])), Judgement::untouched());
}

#[test]
fn unbound_and_too_deep_follow_the_defaults() {
    let text = CONTEXTS.replacen("version = 1", "version = 1\n[defaults]\nmode = \"monitor\"", 1);
    let oracle = Oracle::new(&(text + "role = \"customer\"\nmode = \"enforce\"\n"));
    assert_eq!(
        oracle.judge("eth0", &frame(&[(0x8100, 5)], 0x8847, &[])),
        without_ingress(Verdict::Pass, "ingress_unbound", Counter::Unbound)
    );
    assert_eq!(
        oracle.judge("eth0", &frame(&[(0x8100, 5); 5], 0x8847, &[])),
        without_ingress(Verdict::Pass, "vlan_too_deep", Counter::VlanTooDeep)
    );
    assert_eq!(judge(&oracle, &stack(&[16])), refusal("mpls_not_enabled", None, None));
}

// §5.1 and §5.2

#[test]
fn a_customer_is_refused_before_anything_is_read() {
    let oracle = it(&["role = \"customer\"\n"]);
    for kind in [0x8847, 0x8848] {
        for rest in [&[][..], &stack(&[3]), &stack(&[100])] {
            let judgement = oracle.judge("eth0", &frame(&[], kind, rest));
            assert_eq!(judgement, refusal("mpls_not_enabled", None, None));
        }
    }
}

#[test]
fn upstream_assigned_labels_are_refused_before_the_stack_is_read() {
    for oracle in [it(&[PEER]), it(&[CORE])] {
        for rest in [&[][..], &stack(&[100]), &entry(100, 1, 0)] {
            let judgement = oracle.judge("eth0", &frame(&[], 0x8848, rest));
            assert_eq!(judgement, refusal("upstream_not_allowed", None, None));
        }
    }
}

#[test]
fn monitor_passes_and_counts_the_reason() {
    let oracle = it(&[PEER, "mode = \"monitor\"\n"]);
    assert_eq!(
        judge(&oracle, &stack(&[200])),
        Judgement {
            verdict: Verdict::Pass,
            counter: Counter::WouldDrop,
            ..refusal("label_out_of_vrf", Some(0), Some(200))
        }
    );
    accepted(&oracle, &stack(&[100]), "red", Some((0, 100)));
}

// §5.3: depth, truncation, TTL, S

#[test]
fn max_depth_entries_are_accepted_and_one_more_is_too_deep() {
    for max in [1_u32, 2, 16, 32] {
        let oracle = it(&[CORE, &format!("max-depth = {max}\n")]);
        let max = usize::try_from(max).unwrap();
        // 50 pops, so that all are exposed; 100 does not, so that the rest is opaque.
        for label in [50, 100] {
            let rule = if label == 50 { "own" } else { "red" };
            accepted(&oracle, &stack(&vec![label; max]), rule, Some((0, label)));
            let too_deep = stack(&vec![label; max + 1]);
            unread(&oracle, &too_deep, "stack_too_deep", u32::try_from(max).unwrap());
        }
    }
}

#[test]
fn the_defaults_of_max_depth_are_16_and_32() {
    let peer = it(&["role = \"peer\"\ncontexts = [\"own\"]\n"]);
    accepted(&peer, &stack(&[50; 16]), "own", Some((0, 50)));
    unread(&peer, &stack(&[50; 17]), "stack_too_deep", 16);
    let core = it(&[CORE]);
    accepted(&core, &stack(&[50; 32]), "own", Some((0, 50)));
    unread(&core, &stack(&[50; 33]), "stack_too_deep", 32);
}

#[test]
fn depth_comes_before_truncation() {
    let oracle = it(&[CORE, "max-depth = 2\n"]);
    unread(&oracle, &bottomless(&[50, 50]), "stack_too_deep", 2);
    unread(&oracle, &bottomless(&[50]), "truncated", 1);
}

#[test]
fn fewer_than_four_bytes_are_truncated_at_any_position() {
    let oracle = it(&[CORE]);
    for entries in 0..5 {
        for extra in 0..4 {
            let mut bytes = bottomless(&vec![50; entries]);
            bytes.extend(&entry(3, 1, 0)[..extra]);
            unread(&oracle, &bytes, "truncated", u32::try_from(entries).unwrap());
        }
    }
    // Under a label that is not popped, too.
    unread(&oracle, &bottomless(&[100, 3, 3]), "truncated", 3);
}

#[test]
fn ttl_0_is_refused_in_the_first_entry_only_and_before_its_label() {
    let oracle = it(&[CORE]);
    for label in [3, 50, 999_999] {
        refused(&oracle, &entry(label, 1, 0), "ttl_zero", 0, label);
    }
    accepted(&oracle, &entry(50, 1, 1), "own", Some((0, 50)));
    accepted(&oracle, &[entry(50, 0, 1), entry(100, 1, 0)].concat(), "own", Some((0, 50)));
}

#[test]
fn the_s_bit_ends_the_stack_wherever_it_is() {
    let oracle = it(&[CORE]);
    for bottom in 0..8 {
        let mut bytes = stack(&vec![50; bottom + 1]);
        // What follows is payload, however bad it would be as a label.
        bytes.extend(entry(3, 0, 0));
        accepted(&oracle, &bytes, "own", Some((0, 50)));
    }
}

// Examined entries

#[test]
fn implicit_null_and_the_unassigned_labels_are_refused_everywhere() {
    let oracle = core_with_all_special();
    for (label, reason) in [
        (3, "implicit_null"),
        (5, "reserved_label"),
        (6, "reserved_label"),
        (8, "reserved_label"),
        (9, "reserved_label"),
        (10, "reserved_label"),
        (11, "reserved_label"),
        (12, "reserved_label"),
    ] {
        refused(&oracle, &stack(&[label]), reason, 0, label);
        refused(&oracle, &stack(&[label, 100]), reason, 0, label);
        refused(&oracle, &stack(&[50, label, 100]), reason, 1, label);
        accepted(&oracle, &stack(&[100, label]), "red", Some((0, 100)));
    }
}

#[test]
fn mna_cannot_be_allowed() {
    let oracle = core_with_all_special();
    refused(&oracle, &stack(&[4]), "mna_at_bottom", 0, 4);
    refused(&oracle, &stack(&[50, 4]), "mna_at_bottom", 1, 4);
    refused(&oracle, &stack(&[4, 100]), "special_label_not_allowed", 0, 4);
}

#[test]
fn explicit_null_gal_and_oam_alert_need_permission_and_expose_the_next() {
    let none = it(&[CORE, "special = []\n"]);
    let all = core_with_all_special();
    for label in [0, 2, 13, 14] {
        refused(&none, &stack(&[label]), "special_label_not_allowed", 0, label);
        refused(&none, &stack(&[label, 100]), "special_label_not_allowed", 0, label);
        accepted(&all, &stack(&[label]), "special", None);
        accepted(&all, &stack(&[label, 100]), "red", Some((1, 100)));
        refused(&all, &stack(&[label, 200]), "label_out_of_vrf", 1, 200);
        refused(&all, &stack(&[label, label, 3]), "implicit_null", 2, 3);
    }
}

#[test]
fn router_alert_at_the_bottom_comes_before_permission() {
    let all = core_with_all_special();
    let none = it(&[CORE, "special = []\n"]);
    for oracle in [&all, &none] {
        refused(oracle, &stack(&[1]), "router_alert_at_bottom", 0, 1);
    }
    refused(&none, &stack(&[1, 100]), "special_label_not_allowed", 0, 1);
    accepted(&all, &stack(&[1, 100]), "red", Some((1, 100)));
    refused(&all, &stack(&[1, 200]), "label_out_of_vrf", 1, 200);
    refused(&all, &stack(&[50, 1]), "router_alert_at_bottom", 1, 1);
}

#[test]
fn the_roles_have_their_special_labels() {
    let peer = it(&[PEER]);
    let core = it(&[CORE]);
    for label in [0, 1, 2, 13] {
        refused(&peer, &stack(&[label, 100]), "special_label_not_allowed", 0, label);
        accepted(&core, &stack(&[label, 100]), "red", Some((1, 100)));
    }
    for oracle in [&peer, &core] {
        refused(oracle, &stack(&[14, 100]), "special_label_not_allowed", 0, 14);
        refused(oracle, &stack(&[15, 16, 100]), "extended_label_not_allowed", 0, 15);
    }
    refused(&peer, &stack(&[7, 16, 100]), "special_label_not_allowed", 0, 7);
    accepted(&core, &stack(&[7, 16, 100]), "red", Some((2, 100)));
}

#[test]
fn a_special_set_replaces_that_of_the_role() {
    let oracle = it(&[CORE, "special = [\"entropy\"]\n"]);
    accepted(&oracle, &stack(&[7, 16]), "special", None);
    for label in [0, 1, 2, 13] {
        refused(&oracle, &stack(&[label, 100]), "special_label_not_allowed", 0, label);
    }
    let oracle = it(&[PEER, "special = [\"explicit-null\"]\n"]);
    for label in [0, 2] {
        accepted(&oracle, &stack(&[label]), "special", None);
    }
}

#[test]
fn eli_checks_s_then_permission_then_the_entropy_label() {
    let all = core_with_all_special();
    let none = it(&[CORE, "special = []\n"]);
    for oracle in [&all, &none] {
        refused(oracle, &stack(&[7]), "eli_at_bottom", 0, 7);
    }
    // Not allowed: the entry after it is not even looked for.
    refused(&none, &bottomless(&[7]), "special_label_not_allowed", 0, 7);
    unread(&all, &bottomless(&[7]), "truncated", 1);
    for value in 0..16 {
        refused(&all, &stack(&[7, value]), "entropy_label_reserved", 1, value);
        refused(&all, &stack(&[7, value, 100]), "entropy_label_reserved", 1, value);
    }
    for value in [16, 200, 999_999, 1_048_575] {
        accepted(&all, &stack(&[7, value]), "special", None);
        accepted(&all, &stack(&[7, value, 100]), "red", Some((2, 100)));
        refused(&all, &stack(&[7, value, 200]), "label_out_of_vrf", 2, 200);
    }
}

#[test]
fn the_entropy_label_has_no_ttl_but_counts_as_an_entry() {
    let all = core_with_all_special();
    let bytes = [entry(7, 0, TTL), entry(16, 0, 0), entry(100, 1, TTL)].concat();
    accepted(&all, &bytes, "red", Some((2, 100)));
    let two = it(&[CORE, "max-depth = 2\n"]);
    accepted(&two, &stack(&[7, 16]), "special", None);
    unread(&two, &stack(&[7, 16, 100]), "stack_too_deep", 2);
    unread(&two, &stack(&[50, 7, 16]), "stack_too_deep", 2);
    let one = it(&[CORE, "max-depth = 1\n"]);
    // Too deep before truncated, and before the value.
    for bytes in [bottomless(&[7]), stack(&[7, 3])] {
        unread(&one, &bytes, "stack_too_deep", 1);
    }
}

#[test]
fn xl_checks_s_then_the_next_entry_then_permission() {
    let all = core_with_all_special();
    let none = it(&[CORE, "special = []\n"]);
    for oracle in [&all, &none] {
        refused(oracle, &stack(&[15]), "xl_at_bottom", 0, 15);
        unread(oracle, &bottomless(&[15]), "truncated", 1);
        for value in 0..16 {
            refused(oracle, &stack(&[15, value]), "extended_label_invalid", 1, value);
        }
    }
    for value in [16, 200, 1_048_575] {
        refused(&none, &stack(&[15, value, 100]), "extended_label_not_allowed", 0, 15);
        accepted(&all, &stack(&[15, value]), "special", None);
        accepted(&all, &stack(&[15, value, 100]), "red", Some((2, 100)));
        refused(&all, &stack(&[15, value, 200]), "label_out_of_vrf", 2, 200);
    }
    let one = it(&[CORE, "special = []\nmax-depth = 1\n"]);
    for bytes in [bottomless(&[15]), stack(&[15, 3]), stack(&[15, 16])] {
        unread(&one, &bytes, "stack_too_deep", 1);
    }
}

#[test]
fn a_label_is_acceptable_in_a_context_of_the_ingress_or_its_own_labels() {
    let oracle = it(&[PEER]);
    for label in [16, 100, 1000, 1099] {
        accepted(&oracle, &stack(&[label]), "red", Some((0, label)));
    }
    for label in [24000, 24063] {
        accepted(&oracle, &stack(&[label]), "labels", Some((0, label)));
    }
    for label in [17, 99, 101, 999, 1100, 23999, 24064, 1_048_574] {
        refused(&oracle, &stack(&[label]), "label_out_of_range", 0, label);
    }
}

#[test]
fn an_unacceptable_label_is_named_by_who_it_belongs_to() {
    let oracle = it(&[PEER]);
    for label in [200, 1_048_575] {
        refused(&oracle, &stack(&[label]), "label_out_of_vrf", 0, label);
    }
    // In a transport context as well as a vrf one: the vrf names the reason.
    refused(&oracle, &stack(&[17000]), "label_out_of_vrf", 0, 17000);
    // In another context, and in the labels of another ingress.
    for label in [16000, 50, 30000] {
        refused(&oracle, &stack(&[label]), "label_spoofed", 0, label);
    }
    refused(&oracle, &stack(&[31000]), "label_out_of_range", 0, 31000);
    // In a vrf context and the labels of another ingress.
    let strange = it(&["role = \"peer\"\ncontexts = [\"core\"]\n"]);
    refused(&strange, &stack(&[1000]), "label_out_of_vrf", 0, 1000);
}

#[test]
fn only_a_label_that_pops_exposes_the_next() {
    let oracle = it(&[CORE]);
    for label in [100, 16001] {
        accepted(
            &oracle,
            &stack(&[label, 3, 200, 4]),
            if label == 100 { "red" } else { "core" },
            Some((0, label)),
        );
    }
    refused(&oracle, &stack(&[50, 200]), "label_out_of_vrf", 1, 200);
    refused(&oracle, &stack(&[50, 51, 3]), "implicit_null", 2, 3);
    accepted(&oracle, &stack(&[50, 100, 3]), "own", Some((0, 50)));
}

#[test]
fn popping_belongs_to_the_label_whichever_rule_accepted_it() {
    // 16007 is accepted as a label of `core`, which does not pop; `own`, which does, is not named.
    let oracle = it(&["role = \"core\"\ncontexts = [\"core\"]\n"]);
    refused(&oracle, &stack(&[16007, 3]), "implicit_null", 1, 3);
    // 24010 is accepted as the peer's own label.
    let oracle = it(&[PEER]);
    refused(&oracle, &stack(&[24010, 200]), "label_out_of_vrf", 1, 200);
    accepted(&oracle, &stack(&[24011, 200]), "labels", Some((0, 24011)));
}

#[test]
fn exposure_stays_off_below_an_opaque_label() {
    let oracle = core_with_all_special();
    // None of these is examined: not the label that would pop, not ELI, not XL.
    accepted(&oracle, &stack(&[100, 50, 3]), "red", Some((0, 100)));
    accepted(&oracle, &stack(&[100, 0, 3]), "red", Some((0, 100)));
    accepted(&oracle, &stack(&[100, 7, 3]), "red", Some((0, 100)));
    accepted(&oracle, &stack(&[100, 7]), "red", Some((0, 100)));
    accepted(&oracle, &stack(&[100, 15]), "red", Some((0, 100)));
}

#[test]
fn validate_examines_every_entry() {
    let oracle = it(&[CORE, ALL_SPECIAL, "inner = \"validate\"\n"]);
    accepted(&oracle, &stack(&[100, 16000, 50, 1000]), "red", Some((0, 100)));
    refused(&oracle, &stack(&[100, 200]), "label_out_of_vrf", 1, 200);
    refused(&oracle, &stack(&[100, 16000, 3]), "implicit_null", 2, 3);
    refused(&oracle, &stack(&[100, 7]), "eli_at_bottom", 1, 7);
    refused(&oracle, &stack(&[100, 7, 3]), "entropy_label_reserved", 2, 3);
    // An entropy label need not be acceptable, nor does what S leaves behind.
    accepted(&oracle, &stack(&[100, 7, 200]), "red", Some((0, 100)));
    accepted(&oracle, &[stack(&[100]), stack(&[200])].concat(), "red", Some((0, 100)));
}

// §6

#[test]
fn the_first_rule_written_counts_contexts_before_labels() {
    let both = |contexts: &str| {
        it(&[&format!("role = \"core\"\ncontexts = [{contexts}]\nlabels = [1050, 9000]\n")])
    };
    accepted(&both(r#""red", "blue""#), &stack(&[1050]), "red", Some((0, 1050)));
    accepted(&both(r#""blue", "red""#), &stack(&[1050]), "blue", Some((0, 1050)));
    accepted(&both(r#""blue", "red""#), &stack(&[9000]), "labels", Some((0, 9000)));
    accepted(&both(r#""core""#), &stack(&[1050]), "labels", Some((0, 1050)));
}

#[test]
fn the_rule_is_that_of_the_first_examined_label() {
    let oracle = core_with_all_special();
    accepted(&oracle, &stack(&[0, 7, 999_999, 15, 888_888, 50, 100]), "own", Some((5, 50)));
    accepted(&oracle, &stack(&[13, 0]), "special", None);
}

#[test]
fn the_tally_has_every_counter_in_its_place() {
    let oracle = it(&[PEER, "special = [\"explicit-null\"]\nvlan = [7]\n"]);
    let mut tally = Tally::new(&oracle);
    let tag = (0x8100, 7);
    let frames = [
        ("eth0", frame(&[tag], 0x8847, &stack(&[100]))), // 22 bytes, red
        ("eth0", frame(&[tag], 0x8847, &stack(&[24000]))), // 22 bytes, labels
        ("eth0", frame(&[tag], 0x8847, &stack(&[0]))),   // 22 bytes, special
        ("eth0", frame(&[tag], 0x8847, &stack(&[2, 16]))), // 26 bytes, red
        ("eth0", frame(&[tag], 0x8847, &stack(&[3]))),   // 22 bytes, implicit_null
        ("eth0", frame(&[], 0x8847, &[])),               // 14 bytes, unbound
        ("eth0", frame(&[tag; 5], 0x8847, &[])),         // 34 bytes, vlan_too_deep
        ("eth0", frame(&[tag], 0x0800, &[])),
        ("eth5", frame(&[], 0x8847, &stack(&[3]))),
    ];
    for (interface, frame) in &frames {
        tally.feed(interface, frame.len(), &oracle.judge(interface, frame));
    }
    let none = json!({"packets": 0, "bytes": 0});
    let stats = tally.to_json();
    assert_eq!(
        stats["interfaces"],
        json!([
            {"interface": "eth9", "unbound": none, "vlan_too_deep": none},
            {"interface": "eth0", "unbound": {"packets": 1, "bytes": 14},
                "vlan_too_deep": {"packets": 1, "bytes": 34}},
        ])
    );
    let it = &stats["ingresses"][1];
    assert_eq!(
        (&it["ingress"], &it["vlan"], &it["mode"]),
        (&json!("it"), &json!([7]), &json!("enforce"))
    );
    assert_eq!(it["accepted"], json!({"packets": 4, "bytes": 92}));
    assert_eq!(it["dropped"], json!({"packets": 1, "bytes": 22}));
    assert_eq!(it["would_drop"], none);
    assert_eq!(it["reasons"].as_object().unwrap().len(), 18);
    assert_eq!(it["reasons"]["implicit_null"], json!({"packets": 1, "bytes": 22}));
    assert_eq!(
        it["rules"],
        json!([
            {"rule": "red", "packets": 2, "bytes": 48},
            {"rule": "labels", "packets": 1, "bytes": 22},
            {"rule": "special", "packets": 1, "bytes": 22},
        ])
    );
}

#[test]
fn the_tally_counts_what_monitor_would_drop() {
    let oracle = it(&[PEER, "mode = \"monitor\"\n"]);
    let mut tally = Tally::new(&oracle);
    for _ in 0..3 {
        tally.feed("eth0", 18, &judge(&oracle, &stack(&[200])));
    }
    let it = &tally.to_json()["ingresses"][1];
    assert_eq!(it["would_drop"], json!({"packets": 3, "bytes": 54}));
    assert_eq!(it["dropped"], json!({"packets": 0, "bytes": 0}));
    assert_eq!(it["reasons"]["label_out_of_vrf"], json!({"packets": 3, "bytes": 54}));
}

#[test]
fn an_ingress_without_labels_of_its_own_has_no_such_rule() {
    let oracle = it(&[CORE]);
    let stats = Tally::new(&oracle).to_json();
    let rules = stats["ingresses"][1]["rules"].as_array().unwrap();
    let names: Vec<_> = rules.iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert_eq!(names, ["core", "own", "red", "special"]);
}

#[test]
fn differences_name_what_differs_and_nothing_that_was_added() {
    let oracle = it(&[PEER]);
    let mut tally = Tally::new(&oracle);
    let mut stats = tally.to_json();
    stats["generation"] = json!(4);
    stats["interfaces"][0]["attached"] = json!("native");
    stats["ingresses"][0]["accepted"]["rate"] = json!(0);
    stats["ingresses"].as_array_mut().unwrap().reverse();
    assert!(tally.differences(&stats).is_empty(), "{:?}", tally.differences(&stats));

    tally.feed("eth0", 18, &judge(&oracle, &stack(&[100])));
    stats["ingresses"][1]["reasons"]["new"] = json!({});
    stats["ingresses"][1]["rules"].as_array_mut().unwrap().pop();
    stats["interfaces"].as_array_mut().unwrap().pop();
    let found = tally.differences(&stats).join("\n");
    for part in [
        "interface \"eth0\": missing",
        "ingress \"it\" accepted packets: expected 1, got 0",
        "ingress \"it\" accepted bytes: expected 18, got 0",
        "ingress \"it\" rules 0 packets: expected 1, got 0",
        "ingress \"neighbour\" reasons new: unexpected",
        "ingress \"neighbour\" rules: expected",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
}
