//! Generated policies and frames through all judges.

use std::cell::RefCell;

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use mpls_xdp_tests::generate::{self, Arrival, Batch, Case};
use proptest::{prop_assert, test_runner::TestRunner};

use crate::judges::{Judges, Tally, kind};

/// Policies of the fixed run, and frames of each.
const POLICIES: usize = 105;
const FRAMES: usize = 200;
/// Cases of the property.
const CASES: u32 = 200;

#[test]
fn the_judges_agree_about_a_fixed_run_of_frames() {
    let mut tally = Tally::new();
    for Batch { policy, arrivals } in generate::batches(20_261_123, FRAMES).take(POLICIES) {
        let mut judges = Judges::new(&policy.to_string());
        for Arrival { interface, frame } in &arrivals {
            let seen = judges.judge(interface, frame);
            *tally.entry(kind(&seen)).or_default() += 1;
        }
    }
    assert_eq!(tally.values().sum::<usize>(), POLICIES * FRAMES);
    // A run that never came to a reason would prove nothing about it.
    let reasons = Reason::ALL.into_iter().map(Reason::name);
    let of_interface = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    for kind in reasons.chain(of_interface).chain(["accepted", "untouched"]) {
        assert!(tally.get(kind).is_some_and(|count| *count >= 50), "too few {kind}: {tally:#?}");
    }
}

#[test]
fn the_judges_agree_about_any_frame() {
    // The first load must work, or every case would shrink towards the same refusal.
    let start = generate::cases(1).next().expect("the run is endless");
    Judges::new(&start.policy.to_string()).judge(&start.arrival.interface, &start.arrival.frame);
    // While a frame shrinks, its policy often stays.
    let last: RefCell<Option<(String, Judges)>> = RefCell::default();
    let mut runner = TestRunner::new(generate::config(CASES));
    let outcome = runner.run(&generate::case(), |Case { policy, arrival }| {
        let text = policy.to_string();
        let mut last = last.borrow_mut();
        let judges = match &mut *last {
            Some((known, judges)) if *known == text => judges,
            other => &mut other.insert((text.clone(), Judges::new(&text))).1,
        };
        let verdict = judges.verdict(&arrival.interface, &arrival.frame);
        prop_assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
