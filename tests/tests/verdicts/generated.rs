//! Generated policies and frames through all judges, and the counters that they leave behind.

use std::cell::RefCell;

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use mpls_xdp_tests::generate::{self, Arrival, Batch};
use mpls_xdp_tests::host::Seen;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::judges::{Tally, case, kind};
use crate::stand::{Stand, Trial, kernel_splits};

/// Policies of the fixed run, and frames of each.
const POLICIES: usize = 260;
const FRAMES: usize = 400;
/// Cases of the property; each has up to twice as many frames, so that a failing one can shrink to
/// one frame.
const CASES: u32 = 320;

/// Milliseconds that a failing case is made smaller for.
const MAX_SHRINK_TIME: u32 = 180_000;

/// What the two runs together must have put to the kernel program, and with how many policies.
const KERNEL_FRAMES: usize = 200_000;
const _: () = assert!(POLICIES + CASES as usize >= 500);

/// Runs a batch; the error names the frame that it is about, if it is about one.
fn run(trial: &mut Trial<'_>, arrivals: &[Arrival]) -> Result<Vec<Seen>, (Option<usize>, String)> {
    let mut all = Vec::with_capacity(arrivals.len());
    for (index, Arrival { interface, frame }) in arrivals.iter().enumerate() {
        let at = |error| (Some(index), error);
        all.push(Seen::from(&trial.verdict(interface, frame, frame.len()).map_err(at)?));
        if kernel_splits() {
            // Anywhere in it, headers or payload; the place comes back when the case is run again.
            let linear = index * 7 % frame.len().max(1);
            trial.verdict(interface, frame, linear).map_err(at)?;
        }
    }
    trial.counters().map_err(|error| (None, error))?;
    Ok(all)
}

#[test]
fn the_judges_agree_about_a_fixed_run_of_frames() {
    let mut stand = Stand::new();
    let mut tally = Tally::new();
    for Batch { policy, arrivals } in generate::batches(20_261_123, FRAMES).take(POLICIES) {
        let text = policy.to_string();
        let seen = run(&mut stand.policy(&text), &arrivals).unwrap_or_else(|(index, error)| {
            panic!("{error}\n{}", cases(&text, &arrivals, index));
        });
        for seen in seen {
            *tally.entry(kind(&seen)).or_default() += 1;
        }
    }
    assert_eq!(tally.values().sum::<usize>(), POLICIES * FRAMES);
    assert!(stand.frames >= KERNEL_FRAMES / 2, "the kernel ran {} frames only", stand.frames);
    // A run that never came to a reason would prove nothing about it.
    let reasons = Reason::ALL.into_iter().map(Reason::name);
    let of_interface = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    for kind in reasons.chain(of_interface).chain(["accepted", "untouched"]) {
        assert!(tally.get(kind).is_some_and(|count| *count >= 200), "too few {kind}: {tally:#?}");
    }
}

#[test]
fn the_judges_agree_about_any_frame() {
    let stand = RefCell::new(Stand::new());
    // The first load must work, or every case would shrink towards the same refusal.
    let Batch { policy, .. } = generate::batches(1, 1).next().expect("the run is endless");
    stand.borrow_mut().policy(&policy.to_string());
    // On a slow machine a smaller case is not worth any time.
    let config = Config { max_shrink_time: MAX_SHRINK_TIME, ..generate::config(CASES) };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&generate::batch(1..=2 * FRAMES), |Batch { policy, arrivals }| {
        let mut stand = stand.borrow_mut();
        let mut trial = stand.policy(&policy.to_string());
        match run(&mut trial, &arrivals) {
            Ok(_) => Ok(()),
            Err((_, error)) => Err(TestCaseError::fail(error)),
        }
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, Batch { policy, arrivals })) => {
            let text = policy.to_string();
            let again = run(&mut stand.borrow_mut().policy(&text), &arrivals);
            let index = again.err().and_then(|(index, _)| index);
            panic!("{reason}\n{}", cases(&text, &arrivals, index));
        }
        Err(failure) => panic!("{failure}"),
    }
    let frames = stand.borrow().frames;
    assert!(frames >= KERNEL_FRAMES / 2, "the kernel ran {frames} frames only");
}

/// The frame at `index`, or each, with the policy, to be run again by hand.
fn cases(policy: &str, arrivals: &[Arrival], index: Option<usize>) -> String {
    let chosen = match index {
        Some(index) => &arrivals[index..=index],
        None => arrivals,
    };
    chosen.iter().map(|Arrival { interface, frame }| case(policy, interface, frame)).collect()
}
