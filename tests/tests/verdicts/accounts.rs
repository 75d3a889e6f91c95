//! The step-by-step account of `explain` comes to what the kernel program decides.

use mpls_xdp::explain::{Account, Entry, Explainer, Step, Treatment};
use mpls_xdp::policy::{Policy, parse};
use mpls_xdp::replay::Outcome;
use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use mpls_xdp_tests::generate::{self, Arrival, Batch};
use mpls_xdp_tests::host::Seen;
use mpls_xdp_tests::oracle::{Counter, Judgement};

use crate::judges::{Tally, kind};
use crate::stand::Stand;

/// Policies, and frames of each.
const POLICIES: usize = 120;
const FRAMES: usize = 400;

#[test]
fn every_account_ends_with_the_verdict_of_the_kernel() {
    let mut stand = Stand::new();
    let mut tally = Tally::new();
    for Batch { policy, arrivals } in generate::batches(20_261_125, FRAMES).take(POLICIES) {
        let text = policy.to_string();
        let parsed = parse("policy.toml", &text);
        let policy: &Policy = parsed.policy.as_ref().expect("generated policies are valid");
        let explainer = Explainer::new(policy, &parsed.places);
        let mut trial = stand.policy(&text);
        for (number, Arrival { interface, frame }) in (1..).zip(&arrivals) {
            let judgement = trial.judge(interface, frame);
            let account = explainer.account(interface, number, frame);
            check(&account, number, &judgement).unwrap_or_else(|difference| {
                panic!(
                    "{difference}\n kernel  {judgement:?}\n account {account:#?}\n{}",
                    trial.case(interface, frame)
                )
            });
            *tally.entry(kind(&Seen::from(&judgement))).or_default() += 1;
        }
    }
    assert_eq!(tally.values().sum::<usize>(), POLICIES * FRAMES);
    let reasons = Reason::ALL.into_iter().map(Reason::name);
    let of_interface = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    for kind in reasons.chain(of_interface).chain(["accepted", "untouched"]) {
        assert!(tally.get(kind).is_some_and(|count| *count >= 60), "too few {kind}: {tally:#?}");
    }
}

/// Holds an account against what all judges say; the error says what differs.
fn check(account: &Account, number: usize, judgement: &Judgement) -> Result<(), &'static str> {
    let Outcome { frame, verdict, reason, ingress, position, label } = account.outcome.clone();
    if frame != number
        || Seen::from(judgement) != (Seen { verdict, reason, ingress, position, label })
    {
        return Err("the outcomes differ");
    }
    let mut entries = Vec::new();
    let mut refusals = Vec::new();
    for step in &account.steps {
        match step {
            Step::Framing { .. } => {}
            Step::Ingress { reason, .. } => refusals.extend(*reason),
            Step::Entry(entry) => {
                refusals.extend(entry.reason);
                entries.push(entry);
            }
        }
    }
    if !entries.iter().zip(0..).all(|(entry, position)| entry.position == position) {
        return Err("the entries are not in order");
    }
    if refusals != reason.into_iter().collect::<Vec<_>>() {
        return Err("the steps are refused for something else");
    }
    let decided = position.and_then(|position| entries.get(position as usize));
    if reason.is_some() && decided.is_some_and(|entry| entry.treatment != Treatment::Refused) {
        return Err("another entry is refused than that which decided");
    }
    let bottom = entries.iter().position(|entry| entry.read.is_some_and(|read| read.s));
    if bottom.is_some_and(|bottom| bottom + 1 != entries.len()) {
        return Err("entries go on behind the bottom of the stack");
    }
    if let Counter::Accepted { rule } = &judgement.counter {
        let first: Option<&&Entry> = entries.iter().find(|entry| entry.rule.is_some());
        if first.map(|entry| entry.position) != position
            || first.map_or("special", |entry| entry.rule.as_deref().unwrap_or_default()) != rule
        {
            return Err("another rule accepts the stack");
        }
    }
    Ok(())
}
