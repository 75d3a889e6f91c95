//! §5: from the label stack to the verdict, rule by rule.

use std::collections::BTreeSet;

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use mpls_xdp_tests::frame::{Frame, LabelEntry, MPLS_UPSTREAM, label_stack};

use crate::{
    expect::{
        ALL_SPECIAL, CORE, PEER, accepted, bottomless, check, entries, judges, monitored,
        no_ingress, refused, special, stack, unread, unseen, untouched,
    },
    judges::Seen,
};

const NO_SPECIAL: &str = "special = []\n";
const VALIDATE: &str = "inner = \"validate\"\n";
/// The first label and the last of 20 bits, and those next to them.
const EDGES: [u32; 4] = [15, 16, 1_048_574, 1_048_575];

/// One frame for every reason that a core ingress without special-purpose labels but ELI can
/// count, and for those of the interface.
fn of_each_reason() -> Vec<(Vec<u8>, Seen)> {
    let upstream = Frame::mpls([100]).ether_type(MPLS_UPSTREAM).build();
    let mut tags = Frame::mpls([100]);
    for _ in 0..5 {
        tags = tags.vlan(1);
    }
    vec![
        (upstream, unseen("upstream_not_allowed")),
        (stack(&[50; 33]), unread("stack_too_deep", 32)),
        (bottomless(&[100]), unread("truncated", 1)),
        (entries([LabelEntry::new(100).ttl(0).bottom()]), refused("ttl_zero", 0, 100)),
        (stack(&[3]), refused("implicit_null", 0, 3)),
        (stack(&[12, 100]), refused("reserved_label", 0, 12)),
        (stack(&[4]), refused("mna_at_bottom", 0, 4)),
        (stack(&[14, 100]), refused("special_label_not_allowed", 0, 14)),
        (stack(&[1]), refused("router_alert_at_bottom", 0, 1)),
        (stack(&[50, 7]), refused("eli_at_bottom", 1, 7)),
        (stack(&[7, 15, 100]), refused("entropy_label_reserved", 1, 15)),
        (stack(&[15]), refused("xl_at_bottom", 0, 15)),
        (stack(&[15, 15]), refused("extended_label_invalid", 1, 15)),
        (stack(&[15, 16]), refused("extended_label_not_allowed", 0, 15)),
        (stack(&[50, 200]), refused("label_out_of_vrf", 1, 200)),
        (stack(&[30_000]), refused("label_spoofed", 0, 30_000)),
        (stack(&[999]), refused("label_out_of_range", 0, 999)),
        (Frame::mpls([100]).vlan(7).build(), no_ingress("ingress_unbound")),
        (tags.build(), no_ingress("vlan_too_deep")),
    ]
}

#[test]
fn each_reason_has_a_frame_and_a_customer_has_one_reason() {
    let table = of_each_reason();
    check(&mut judges(&[CORE]), &table);
    let mut customer = judges(&["role = \"customer\"\n"]);
    let mut names: BTreeSet<_> = table.iter().filter_map(|(_, seen)| seen.reason).collect();
    for (frame, seen) in table {
        // What has no ingress has none here either; the rest is refused unseen.
        let of_ingress = seen.ingress.is_some();
        let expected = if of_ingress { unseen("mpls_not_enabled") } else { seen };
        check(&mut customer, &[(frame, expected)]);
    }
    check(&mut customer, &[(stack(&[100]), unseen("mpls_not_enabled"))]);
    check(&mut customer, &[(bottomless(&[]), unseen("mpls_not_enabled"))]);
    names.insert("mpls_not_enabled");
    let of_ingress = Reason::ALL.into_iter().map(Reason::name);
    let of_interface = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    assert_eq!(names, of_ingress.chain(of_interface).collect());
    assert_eq!(names.len(), 18 + 2);
}

#[test]
fn monitor_passes_and_names_the_same_reasons() {
    let lines = [CORE, "mode = \"monitor\"\n"];
    for (frame, seen) in of_each_reason() {
        // The interface's reasons follow the defaults, which enforce.
        let expected = if seen.ingress.is_some() { monitored(seen) } else { seen };
        check(&mut judges(&lines), &[(frame, expected)]);
    }
    let customer = ["role = \"customer\"\nmode = \"monitor\"\n"];
    check(&mut judges(&customer), &[(stack(&[3]), monitored(unseen("mpls_not_enabled")))]);
    check(&mut judges(&lines), &[(stack(&[100]), accepted(0, 100))]);
}

#[test]
fn the_defaults_mode_holds_for_interface_reasons_and_silent_ingresses() {
    let defaults = "[defaults]\nmode = \"monitor\"\n";
    for (frame, seen) in of_each_reason() {
        check(&mut judges(&[CORE, defaults]), &[(frame, monitored(seen))]);
    }
    for (frame, seen) in of_each_reason() {
        // Only what the ingress says for itself is dropped.
        let expected = if seen.ingress.is_some() { seen } else { monitored(seen) };
        check(&mut judges(&[CORE, "mode = \"enforce\"\n", defaults]), &[(frame, expected)]);
    }
}

#[test]
fn the_first_check_that_fails_names_the_reason() {
    let upstream =
        |labels: &[u32]| Frame::mpls(labels.iter().copied()).ether_type(MPLS_UPSTREAM).payload([]);
    let dead = |label| LabelEntry::new(label).ttl(0);
    check(
        &mut judges(&[CORE, "max-depth = 1\n"]),
        &[
            // 0x8848 before everything in the stack, even before there is one.
            (upstream(&[]).build(), unseen("upstream_not_allowed")),
            (upstream(&[3, 3]).build(), unseen("upstream_not_allowed")),
            // Depth before truncation, truncation before TTL, TTL before the label.
            (bottomless(&[100]), unread("stack_too_deep", 1)),
            (entries([dead(100)]), refused("ttl_zero", 0, 100)),
            (entries([dead(100), dead(100)]), refused("ttl_zero", 0, 100)),
            (bottomless(&[]), unread("truncated", 0)),
            (entries([dead(3).bottom()]), refused("ttl_zero", 0, 3)),
            (entries([dead(999)]), refused("ttl_zero", 0, 999)),
            (stack(&[999, 100]), refused("label_out_of_range", 0, 999)),
        ],
    );
}

#[test]
fn only_the_ttl_of_the_first_entry_counts_and_one_is_enough() {
    let ttl = |label, ttl| LabelEntry::new(label).ttl(ttl);
    check(
        &mut judges(&[CORE]),
        &[
            (entries([ttl(100, 1).bottom()]), accepted(0, 100)),
            (entries([ttl(100, 255).bottom()]), accepted(0, 100)),
            (entries([ttl(50, 1), ttl(100, 0).bottom()]), accepted(0, 50)),
            (entries([ttl(7, 64), ttl(77_777, 0), ttl(100, 0).bottom()]), accepted(2, 100)),
            (entries([ttl(50, 0), ttl(100, 64).bottom()]), refused("ttl_zero", 0, 50)),
        ],
    );
}

#[test]
fn depth_is_accepted_up_to_the_limit() {
    // Below a label that pops, entries are examined; below a VRF's, they are walked only.
    for fill in [50, 100] {
        for depth in [1, 2, 16, 31, 32] {
            let lines = format!("max-depth = {depth}\n");
            let labels = vec![fill; depth + 1];
            let limit = u32::try_from(depth).unwrap();
            check(
                &mut judges(&[CORE, &lines]),
                &[
                    (stack(&labels[..1]), accepted(0, fill)),
                    (stack(&labels[..depth]), accepted(0, fill)),
                    (stack(&labels), unread("stack_too_deep", limit)),
                    // Nothing is there at the limit: it need not be.
                    (bottomless(&labels[..depth]), unread("stack_too_deep", limit)),
                    (bottomless(&labels[..depth - 1]), unread("truncated", limit - 1)),
                ],
            );
        }
    }
}

#[test]
fn the_defaults_of_depth_are_those_of_the_role() {
    let sixteen = [vec![24_010; 15], vec![100]].concat();
    let seventeen = [vec![24_010; 16], vec![100]].concat();
    check(
        &mut judges(&[PEER]),
        &[
            (stack(&sixteen), accepted(0, 24_010)),
            (stack(&seventeen), unread("stack_too_deep", 16)),
        ],
    );
    check(
        &mut judges(&[CORE]),
        &[
            (stack(&[50; 32]), accepted(0, 50)),
            (stack(&[50; 33]), unread("stack_too_deep", 32)),
            (stack(&[50; 40]), unread("stack_too_deep", 32)),
        ],
    );
}

#[test]
fn the_first_s_bit_ends_the_stack_at_every_position() {
    for inner in ["", VALIDATE] {
        let mut judges = judges(&[CORE, inner]);
        for bottom in 0..32 {
            let mut labels = label_stack(vec![50; bottom + 1]);
            // What follows is payload, whatever it looks like.
            labels.extend(label_stack([3, 3]));
            check(&mut judges, &[(entries(labels.clone()), accepted(0, 50))]);
            labels.truncate(bottom + 1);
            check(&mut judges, &[(entries(labels.clone()), accepted(0, 50))]);
            // The last one is examined.
            let position = u32::try_from(bottom).unwrap();
            labels[bottom].label = 200;
            let expected = refused("label_out_of_vrf", position, 200);
            check(&mut judges, &[(entries(labels), expected)]);
        }
    }
}

#[test]
fn the_traffic_class_has_no_meaning() {
    for tc in 0..8 {
        let entry = LabelEntry::new(100).tc(tc);
        check(
            &mut judges(&[CORE, "max-depth = 1\n"]),
            &[
                (entries([entry.bottom()]), accepted(0, 100)),
                (entries([entry, entry]), unread("stack_too_deep", 1)),
            ],
        );
    }
}

#[test]
fn labels_at_the_edges() {
    let all = "role = \"core\"\nlabels = [\"16-1048575\"]\n";
    let none = "role = \"core\"\nlabels = [24000]\n";
    for label in EDGES {
        let frame = stack(&[label]);
        let ordinary = label >= 16;
        let taken = if ordinary { accepted(0, label) } else { refused("xl_at_bottom", 0, label) };
        check(&mut judges(&[all]), &[(frame.clone(), taken)]);
        let why = match label {
            15 => "xl_at_bottom",
            16 | 1_048_575 => "label_out_of_vrf",
            _ => "label_out_of_range",
        };
        check(&mut judges(&[none]), &[(frame, refused(why, 0, label))]);
    }
    check(
        &mut judges(&["role = \"core\"\nlabels = [16, 1048575]\n"]),
        &[
            (stack(&[16]), accepted(0, 16)),
            (stack(&[17]), refused("label_out_of_range", 0, 17)),
            (stack(&[1_048_574]), refused("label_out_of_range", 0, 1_048_574)),
            (stack(&[1_048_575]), accepted(0, 1_048_575)),
        ],
    );
}

#[test]
fn an_unacceptable_label_is_named_by_whom_it_belongs_to() {
    let table = [
        (stack(&[200]), refused("label_out_of_vrf", 0, 200)),
        // In `core` and in `blue`; in `blue` and the neighbour's labels.
        (stack(&[17_000]), refused("label_out_of_vrf", 0, 17_000)),
        (stack(&[30_001]), refused("label_out_of_vrf", 0, 30_001)),
        (stack(&[16_000]), refused("label_spoofed", 0, 16_000)),
        (stack(&[23_999]), refused("label_spoofed", 0, 23_999)),
        (stack(&[50]), refused("label_spoofed", 0, 50)),
        (stack(&[30_000]), refused("label_spoofed", 0, 30_000)),
        (stack(&[30_063]), refused("label_spoofed", 0, 30_063)),
        (stack(&[30_064]), refused("label_out_of_range", 0, 30_064)),
        (stack(&[15_999]), refused("label_out_of_range", 0, 15_999)),
        (stack(&[24_064]), refused("label_out_of_range", 0, 24_064)),
        (stack(&[24_000]), accepted(0, 24_000)),
        (stack(&[24_063]), accepted(0, 24_063)),
        (stack(&[999]), refused("label_out_of_range", 0, 999)),
        (stack(&[1_000]), accepted(0, 1_000)),
        (stack(&[1_099]), accepted(0, 1_099)),
        (stack(&[1_100]), refused("label_out_of_range", 0, 1_100)),
    ];
    check(&mut judges(&[PEER]), &table);
}

#[test]
fn labels_in_both_a_rule_of_the_ingress_and_a_foreign_context_are_accepted() {
    check(
        &mut judges(&[CORE]),
        &[(stack(&[17_000]), accepted(0, 17_000)), (stack(&[16_007]), accepted(0, 16_007))],
    );
    check(
        &mut judges(&["role = \"core\"\nlabels = [200, 30000]\n"]),
        &[(stack(&[200]), accepted(0, 200)), (stack(&[30_000]), accepted(0, 30_000))],
    );
}

#[test]
fn reserved_and_unallowable_labels() {
    for lines in [[CORE, ALL_SPECIAL], [CORE, NO_SPECIAL]] {
        let mut judges = judges(&lines);
        for label in [5, 6, 8, 9, 10, 11, 12] {
            for labels in [&[label][..], &[label, 100]] {
                check(&mut judges, &[(stack(labels), refused("reserved_label", 0, label))]);
            }
        }
        check(
            &mut judges,
            &[
                (stack(&[3]), refused("implicit_null", 0, 3)),
                (stack(&[3, 100]), refused("implicit_null", 0, 3)),
                (stack(&[4]), refused("mna_at_bottom", 0, 4)),
                (stack(&[4, 100]), refused("special_label_not_allowed", 0, 4)),
                (stack(&[50, 4]), refused("mna_at_bottom", 1, 4)),
            ],
        );
    }
}

#[test]
fn explicit_null_gal_and_oam_alert() {
    let (mut all, mut none) = (judges(&[CORE, ALL_SPECIAL]), judges(&[CORE, NO_SPECIAL]));
    for label in [0, 2, 13, 14] {
        check(
            &mut none,
            &[
                (stack(&[label]), refused("special_label_not_allowed", 0, label)),
                (stack(&[label, 100]), refused("special_label_not_allowed", 0, label)),
            ],
        );
        check(
            &mut all,
            &[
                (stack(&[label]), special()),
                (stack(&[label, 100]), accepted(1, 100)),
                (stack(&[label, 200]), refused("label_out_of_vrf", 1, 200)),
                (stack(&[label, label, 3]), refused("implicit_null", 2, 3)),
                // Not examined, and so no permission is asked for.
                (stack(&[100, label, 3]), accepted(0, 100)),
            ],
        );
        check(&mut none, &[(stack(&[100, label, 3]), accepted(0, 100))]);
    }
}

#[test]
fn router_alert() {
    let (mut all, mut none) = (judges(&[CORE, ALL_SPECIAL]), judges(&[CORE, NO_SPECIAL]));
    check(
        &mut all,
        &[
            (stack(&[1]), refused("router_alert_at_bottom", 0, 1)),
            (stack(&[1, 100]), accepted(1, 100)),
            (stack(&[1, 200]), refused("label_out_of_vrf", 1, 200)),
            (stack(&[50, 1, 1]), refused("router_alert_at_bottom", 2, 1)),
        ],
    );
    check(
        &mut none,
        &[
            (stack(&[1]), refused("router_alert_at_bottom", 0, 1)),
            (stack(&[1, 100]), refused("special_label_not_allowed", 0, 1)),
        ],
    );
}

#[test]
fn entropy_label() {
    let (mut all, mut none) = (judges(&[CORE, ALL_SPECIAL]), judges(&[CORE, NO_SPECIAL]));
    check(
        &mut none,
        &[
            (stack(&[7]), refused("eli_at_bottom", 0, 7)),
            // Not allowed: what follows is not even looked for.
            (bottomless(&[7]), refused("special_label_not_allowed", 0, 7)),
            (stack(&[7, 3]), refused("special_label_not_allowed", 0, 7)),
        ],
    );
    check(
        &mut all,
        &[
            (stack(&[7]), refused("eli_at_bottom", 0, 7)),
            (bottomless(&[7]), unread("truncated", 1)),
            (bottomless(&[7, 16]), unread("truncated", 2)),
            // It need not be given out, and does not choose the rule.
            (stack(&[7, 16]), special()),
            (stack(&[7, 200, 100]), accepted(2, 100)),
            (stack(&[7, 1_048_575, 200]), refused("label_out_of_vrf", 2, 200)),
            (stack(&[50, 7, 999, 100]), accepted(0, 50)),
            // After a VRF's label it belongs to another router.
            (stack(&[100, 7]), accepted(0, 100)),
            (stack(&[7, 999, 7, 999, 7]), refused("eli_at_bottom", 4, 7)),
        ],
    );
    for value in 0..16 {
        check(
            &mut all,
            &[
                (stack(&[7, value]), refused("entropy_label_reserved", 1, value)),
                (stack(&[7, value, 100]), refused("entropy_label_reserved", 1, value)),
            ],
        );
    }
    check(
        &mut judges(&[CORE, "max-depth = 2\n"]),
        &[
            (stack(&[7, 16]), special()),
            (stack(&[7, 16, 100]), unread("stack_too_deep", 2)),
            (stack(&[50, 7, 16]), unread("stack_too_deep", 2)),
        ],
    );
}

#[test]
fn extended_label_in_the_order_of_the_page() {
    let (mut all, mut none) = (judges(&[CORE, ALL_SPECIAL]), judges(&[CORE, NO_SPECIAL]));
    for judges in [&mut all, &mut none] {
        check(
            judges,
            &[
                (stack(&[15]), refused("xl_at_bottom", 0, 15)),
                (bottomless(&[15]), unread("truncated", 1)),
                (stack(&[50, 15]), refused("xl_at_bottom", 1, 15)),
            ],
        );
        for value in 0..16 {
            check(judges, &[(stack(&[15, value]), refused("extended_label_invalid", 1, value))]);
        }
    }
    for value in [16, 200, 999, 1_048_575] {
        check(
            &mut none,
            &[
                (stack(&[15, value]), refused("extended_label_not_allowed", 0, 15)),
                (stack(&[50, 15, value]), refused("extended_label_not_allowed", 1, 15)),
            ],
        );
        check(
            &mut all,
            &[
                (stack(&[15, value]), special()),
                (stack(&[15, value, 100]), accepted(2, 100)),
                (stack(&[15, value, 200]), refused("label_out_of_vrf", 2, 200)),
            ],
        );
    }
    for lines in [[CORE, ALL_SPECIAL], [CORE, NO_SPECIAL]] {
        check(
            &mut judges(&[lines[0], lines[1], "max-depth = 1\n"]),
            &[
                (bottomless(&[15]), unread("stack_too_deep", 1)),
                (stack(&[15, 3]), unread("stack_too_deep", 1)),
                (stack(&[15, 16]), unread("stack_too_deep", 1)),
                (stack(&[15]), refused("xl_at_bottom", 0, 15)),
            ],
        );
    }
}

#[test]
fn the_roles_have_their_special_labels_unless_the_ingress_says() {
    let (mut peer, mut core) = (judges(&[PEER]), judges(&[CORE]));
    for label in [0, 1, 2, 13] {
        let frame = stack(&[label, 100]);
        check(&mut peer, &[(frame.clone(), refused("special_label_not_allowed", 0, label))]);
        check(&mut core, &[(frame, accepted(1, 100))]);
    }
    for judges in [&mut peer, &mut core] {
        check(
            judges,
            &[
                (stack(&[14, 100]), refused("special_label_not_allowed", 0, 14)),
                (stack(&[15, 16, 100]), refused("extended_label_not_allowed", 0, 15)),
            ],
        );
    }
    check(
        &mut judges(&[CORE, "special = [\"oam-alert\"]\n"]),
        &[
            (stack(&[14]), special()),
            (stack(&[0]), refused("special_label_not_allowed", 0, 0)),
            (stack(&[7, 16]), refused("special_label_not_allowed", 0, 7)),
        ],
    );
    check(
        &mut judges(&[PEER, "special = [\"extended\", \"explicit-null\"]\n"]),
        &[
            (stack(&[2, 0, 15, 16]), special()),
            (stack(&[13]), refused("special_label_not_allowed", 0, 13)),
        ],
    );
}

#[test]
fn only_labels_that_pop_expose_the_next_entry() {
    check(
        &mut judges(&[CORE]),
        &[
            (stack(&[100, 3, 200, 4]), accepted(0, 100)),
            (stack(&[16_000, 3]), accepted(0, 16_000)),
            (stack(&[50, 200]), refused("label_out_of_vrf", 1, 200)),
            (stack(&[50, 51, 3]), refused("implicit_null", 2, 3)),
            (stack(&[50, 100, 50, 3]), accepted(0, 50)),
        ],
    );
    // `own` pops 16007 and 24010, whoever accepts them for what.
    let core_only = "role = \"core\"\ncontexts = [\"core\"]\n";
    check(
        &mut judges(&[core_only]),
        &[
            (stack(&[16_007, 3]), refused("implicit_null", 1, 3)),
            (stack(&[16_006, 3]), accepted(0, 16_006)),
            (stack(&[16_008, 3]), accepted(0, 16_008)),
        ],
    );
    check(
        &mut judges(&[PEER]),
        &[
            (stack(&[24_010, 200]), refused("label_out_of_vrf", 1, 200)),
            (stack(&[24_009, 200]), accepted(0, 24_009)),
            (stack(&[24_011, 200]), accepted(0, 24_011)),
        ],
    );
}

#[test]
fn validate_examines_every_entry() {
    check(
        &mut judges(&[CORE, ALL_SPECIAL, VALIDATE]),
        &[
            (stack(&[100, 16_000, 50, 1_000]), accepted(0, 100)),
            (stack(&[100, 200]), refused("label_out_of_vrf", 1, 200)),
            (stack(&[100, 16_000, 3]), refused("implicit_null", 2, 3)),
            (stack(&[100, 7]), refused("eli_at_bottom", 1, 7)),
            (stack(&[100, 7, 3]), refused("entropy_label_reserved", 2, 3)),
            (stack(&[100, 7, 200]), accepted(0, 100)),
            (stack(&[100, 15, 200, 200]), refused("label_out_of_vrf", 3, 200)),
            (stack(&[100, 0, 100, 0]), accepted(0, 100)),
        ],
    );
    // The same below an ingress that does not validate.
    check(&mut judges(&[CORE, ALL_SPECIAL]), &[(stack(&[100, 200]), accepted(0, 100))]);
}

#[test]
fn an_interface_that_the_policy_does_not_name_passes_everything() {
    let mut judges = judges(&[CORE]);
    for (frame, _) in of_each_reason() {
        assert_eq!(judges.judge("eth7", &frame), untouched());
    }
}
