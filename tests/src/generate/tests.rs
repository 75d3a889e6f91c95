//! What the generator promises: valid policies, frames of every kind, and shrinking.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::TestError;

use super::*;
use crate::oracle::{Counter, Judgement, Oracle, Tally, Verdict, reason};

/// Frames that the distribution is measured on.
const FRAMES: usize = 20_000;
/// Every reason occurs at least so often among them.
const OF_EACH_REASON: usize = 100;

/// The sample: frames with their judgements, a policy for each twenty of them.
static SAMPLE: LazyLock<Vec<(Arrival, Judgement)>> = LazyLock::new(|| {
    let judge_all = |Batch { policy, arrivals }: Batch| {
        let oracle = Oracle::new(&policy.to_string());
        arrivals.into_iter().map(move |arrival| {
            let judgement = oracle.judge(&arrival.interface, &arrival.frame);
            (arrival, judgement)
        })
    };
    batches(1, 20).flat_map(judge_all).take(FRAMES).collect()
});

fn judged(case: &Case) -> Judgement {
    let Case { policy, arrival } = case;
    Oracle::new(&policy.to_string()).judge(&arrival.interface, &arrival.frame)
}

/// What a judgement is counted as.
fn kinds(judgement: &Judgement) -> Vec<&str> {
    match (judgement.reason, &judgement.counter) {
        (Some(reason), _) if judgement.verdict == Verdict::Pass => vec![reason, "monitored"],
        (Some(reason), _) => vec![reason],
        (None, Counter::Accepted { rule }) if ["labels", "special"].contains(&rule.as_str()) => {
            vec!["accepted", rule]
        }
        (None, Counter::Accepted { .. }) => vec!["accepted", "a context"],
        (None, _) => vec!["untouched"],
    }
}

#[test]
fn every_reason_and_acceptance_by_every_kind_of_rule_is_frequent() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in SAMPLE.iter().flat_map(|(_, judgement)| kinds(judgement)) {
        *counts.entry(kind).or_default() += 1;
    }
    let others = [
        ("accepted", FRAMES / 5),
        ("a context", FRAMES / 10),
        ("labels", FRAMES / 100),
        ("special", FRAMES / 100),
        ("untouched", FRAMES / 100),
        ("monitored", FRAMES / 20),
    ];
    let reasons = reason::OF_INGRESS.iter().chain(&reason::OF_INTERFACE);
    for (kind, at_least) in reasons.map(|&reason| (reason, OF_EACH_REASON)).chain(others) {
        assert!(counts.get(kind) >= Some(&at_least), "too few {kind}: {counts:#?}");
    }
}

#[test]
fn accepted_stacks_reach_every_depth() {
    let accepted =
        SAMPLE.iter().filter(|(_, judged)| matches!(judged.counter, Counter::Accepted { .. }));
    let depths: BTreeSet<_> = accepted.map(|(arrival, _)| depth(&arrival.frame)).collect();
    assert_eq!(depths, (1..=32).collect());
}

/// How many entries there are to the S bit.
fn depth(frame: &[u8]) -> usize {
    let (entries, _) = frame[14 + 4 * tags(frame)..].as_chunks::<4>();
    1 + entries.iter().take_while(|entry| entry[2] & 1 == 0).count()
}

#[test]
fn frames_have_all_lengths_tag_counts_and_interfaces() {
    let lengths: BTreeSet<_> = SAMPLE.iter().map(|(arrival, _)| arrival.frame.len()).collect();
    assert!((0..200).all(|length| lengths.contains(&length)), "{lengths:?}");
    assert!(lengths.last() > Some(&4096));
    let interfaces: BTreeSet<_> = SAMPLE.iter().map(|(arrival, _)| &arrival.interface).collect();
    assert_eq!(interfaces.len(), 5);
    let counts: BTreeSet<_> = SAMPLE.iter().map(|(arrival, _)| tags(&arrival.frame)).collect();
    assert_eq!(counts, (0..=5).collect());
}

/// How many tag types the frame begins with.
fn tags(frame: &[u8]) -> usize {
    let types = frame.get(12..).unwrap_or_default().chunks(4);
    types.take_while(|tag| matches!(tag, [0x81 | 0x91, 0, ..] | [0x88, 0xa8, ..])).count()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert!(cases(7).take(20).eq(cases(7).take(20)));
    assert!(!cases(7).take(20).eq(cases(8).take(20)));
    assert!(batches(7, 5).take(5).eq(batches(7, 5).take(5)));
}

#[test]
fn a_case_prints_as_a_policy_file_with_frame_and_interface() {
    let case = cases(1).find(|case| case.arrival.frame.len() == 30).unwrap();
    let text = format!("{case:?}");
    let hex: String = case.arrival.frame.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(text.contains(&format!("# frame of 30 bytes: {hex}\n")), "{text}");
    assert!(text.contains(&format!("# interface {}\n", case.arrival.interface)), "{text}");
    let again = Oracle::new(&text);
    assert_eq!(again.judge(&case.arrival.interface, &case.arrival.frame), judged(&case));
}

#[test]
fn tables_stand_in_their_order_and_names_with_a_dot_are_quoted() {
    let policy = cases(1).map(|case| case.policy).find(|policy| policy.contexts.len() == 6);
    let text = policy.unwrap().to_string();
    let tables: Vec<_> = text.lines().filter(|line| line.starts_with("[contexts.")).collect();
    let names = ["red", "core", "own-sids", "\"blue.1\"", "l2_vpn", "7"];
    assert_eq!(tables, names.map(|name| format!("[contexts.{name}]")));
}

#[test]
fn a_batch_splits_by_interface_and_its_tally_is_complete() {
    for batch in batches(4, 50).take(20) {
        let oracle = Oracle::new(&batch.policy.to_string());
        let mut tally = Tally::new(&oracle);
        let mut counted = 0;
        for (interface, frames) in batch.by_interface() {
            for frame in frames {
                let judgement = oracle.judge(interface, frame);
                counted += u64::from(judgement.counter != Counter::Nothing);
                tally.feed(interface, frame.len(), &judgement);
            }
        }
        let stats = tally.to_json();
        let sum = |list: &str, fields: [&str; 3]| -> u64 {
            let objects = stats[list].as_array().unwrap().iter();
            objects
                .flat_map(|object| fields.map(|field| object[field]["packets"].as_u64()))
                .flatten()
                .sum()
        };
        let total = sum("ingresses", ["accepted", "dropped", "would_drop"])
            + sum("interfaces", ["unbound", "vlan_too_deep", ""]);
        assert_eq!(total, counted);
        assert!(tally.differences(&stats).is_empty());
    }
}

#[test]
fn a_failing_case_shrinks_to_a_small_one() {
    let mut runner =
        TestRunner::new_with_rng(config(500), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let never_out_of_vrf = |case: Case| {
        prop_assert!(judged(&case).reason != Some(reason::LABEL_OUT_OF_VRF));
        Ok(())
    };
    let Err(TestError::Fail(_, smallest)) = runner.run(&case(), never_out_of_vrf) else {
        panic!("no label out of its VRF");
    };
    assert_eq!(smallest.policy.contexts.len(), 1, "{smallest}");
    assert_eq!(smallest.policy.ingresses.len(), 1, "{smallest}");
    assert!(smallest.arrival.frame.len() <= 14 + 2 * 4, "{smallest}");
}

proptest! {
    #![proptest_config(config(500))]

    /// The rules of §3, on the structure that is written.
    #[test]
    fn policies_are_valid(policy in policy()) {
        Oracle::new(&policy.to_string());
        let names: BTreeSet<_> = policy.contexts.iter().map(|context| context.name).collect();
        prop_assert_eq!(names.len(), policy.contexts.len());
        let ingresses = &policy.ingresses;
        prop_assert!((1..=8).contains(&ingresses.len()));
        let names: BTreeSet<_> = ingresses.iter().map(|ingress| ingress.name).collect();
        prop_assert_eq!(names.len(), ingresses.len());
        let bindings: BTreeSet<_> =
            ingresses.iter().map(|ingress| (ingress.interface, &ingress.vlan)).collect();
        prop_assert_eq!(bindings.len(), ingresses.len());
        let own = ingresses.iter().flat_map(|ingress| &ingress.labels);
        for item in policy.contexts.iter().flat_map(|context| &context.labels).chain(own) {
            prop_assert!(16 <= item.first());
            prop_assert!(item.first() <= item.last());
            prop_assert!(item.last() <= 1_048_575);
        }
        for ingress in ingresses {
            let contexts: BTreeSet<_> = ingress.contexts.iter().collect();
            prop_assert_eq!(contexts.len(), ingress.contexts.len());
            if ingress.role == Role::Customer {
                prop_assert!(ingress.contexts.is_empty() && ingress.labels.is_empty());
                prop_assert!(ingress.special.is_none());
            }
        }
    }
}
