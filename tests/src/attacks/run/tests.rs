//! That a run notices what goes wrong, tried on a router that lies.

use std::cell::RefCell;

use anyhow::Context;
use serde_json::json;

use super::*;
use crate::attacks::ATTACKS;
use crate::attacks::network::{CORE, OF_PEER_B, PE, PEER_A, RED};
use crate::frame::Frame;
use crate::oracle::reason::{INGRESS_UNBOUND, LABEL_OUT_OF_VRF, LABEL_SPOOFED};

const ROUNDS: usize = 3;

/// A router that does what the oracle says, but for a lie.
struct Liar {
    oracle: RefCell<Option<(Oracle, Tally)>>,
    arrivals: fn(&mut [bool]),
    flooded: fn(u64) -> u64,
    counters: fn(&mut Value),
}

impl Default for Liar {
    fn default() -> Self {
        Self {
            oracle: RefCell::new(None),
            arrivals: |_| {},
            flooded: |arrived| arrived,
            counters: |_| {},
        }
    }
}

impl Target for Liar {
    fn apply(&self, policy: &str) -> Result<()> {
        let oracle = Oracle::new(policy);
        let tally = Tally::new(&oracle);
        self.oracle.replace(Some((oracle, tally)));
        Ok(())
    }

    fn probe(&self, interface: &str, frames: &[&[u8]]) -> Result<Vec<bool>> {
        let mut oracle = self.oracle.borrow_mut();
        let (oracle, tally) = oracle.as_mut().context("no policy")?;
        let judged = frames.iter().map(|frame| {
            let judgement = oracle.judge(interface, frame);
            tally.feed(interface, frame.len(), &judgement);
            judgement.verdict == Verdict::Pass && self.shows(frame)
        });
        let mut arrived: Vec<_> = judged.collect();
        (self.arrivals)(&mut arrived);
        Ok(arrived)
    }

    fn flood(&self, interface: &str, frames: &[&[u8]]) -> Result<Flooded> {
        let mut arrived = 0;
        for _ in 0..ROUNDS {
            let round = self.probe(interface, frames)?;
            arrived += round.iter().filter(|&&arrived| arrived).count() as u64;
        }
        Ok(Flooded { rounds: ROUNDS, arrived: (self.flooded)(arrived) })
    }

    fn stats(&self) -> Result<Value> {
        let oracle = self.oracle.borrow();
        let mut stats = oracle.as_ref().context("no policy")?.1.to_json();
        (self.counters)(&mut stats);
        Ok(stats)
    }
}

fn attack(describe: fn() -> Story) -> Attack {
    Attack { family: "trial", name: "two_frames_of_peer_a", describe }
}

/// One frame that is dropped, 50 bytes long, and one that passes.
fn right() -> Story {
    Story::new(
        ["peer A", "none", "RFC 4364"],
        PE,
        [
            PEER_A.sends("peer B's label", Frame::mpls([OF_PEER_B])).dropped(LABEL_SPOOFED),
            PEER_A.sends("red's label", Frame::mpls([RED])).passes("red"),
        ],
    )
    .totals(&[(LABEL_SPOOFED, 1)])
}

/// What a run on this router complains of.
fn complaint(describe: fn() -> Story, target: &Liar, mode: Mode) -> String {
    attack(describe).run(target, mode).expect_err("the lie was not noticed").to_string()
}

#[test]
fn an_honest_router_withstands_every_attack() {
    for attack in ATTACKS {
        for mode in [Mode::Enforce, Mode::Monitor] {
            attack.run(&Liar::default(), mode).unwrap();
        }
    }
}

#[test]
fn a_frame_that_comes_through_is_shown_with_all_that_helps() {
    let leaky = Liar { arrivals: |arrived| arrived.fill(true), ..Liar::default() };
    let text = complaint(right, &leaky, Mode::Enforce);
    for part in [
        "trial: two frames of peer a (enforce)",
        "who     peer A",
        "--test attacks enforce::trial::two_frames_of_peer_a",
        "frame 1, peer B's label",
        "sent to   eth2, ingress peer-a",
        "Dropped(\"label_spoofed\")",
        "it came through",
        "81000064884705e00140",
        "1 of 2 frames went wrong",
        "labels = [\"24064-24127\"]",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_legitimate_frame_that_is_lost_is_noticed_in_both_modes() {
    let hungry = || Liar { arrivals: |arrived| arrived.fill(false), ..Liar::default() };
    let text = complaint(right, &hungry(), Mode::Enforce);
    assert!(
        text.contains("frame 2, red's label") && text.contains("did not come through"),
        "{text}"
    );
    let text = complaint(right, &hungry(), Mode::Monitor);
    assert!(text.contains("2 of 2 frames went wrong"), "{text}");
}

#[test]
fn every_counter_that_moved_or_did_not_is_noticed() {
    type Lie = fn(&mut Value);
    let lies: [(Lie, &str); 6] = [
        (
            |stats| {
                let reasons = &mut stats["ingresses"][1]["reasons"];
                let count = reasons[LABEL_SPOOFED].take();
                reasons[LABEL_OUT_OF_VRF] = count;
                reasons[LABEL_SPOOFED] = json!({"packets": 0, "bytes": 0});
            },
            "reason label_out_of_vrf: expected 0 frames, 0 bytes; counted 1 frames, 50 bytes",
        ),
        (
            |stats| stats["interfaces"][1]["unbound"] = json!({"packets": 1, "bytes": 60}),
            "interface eth2: unbound: expected 0 frames, 0 bytes; counted 1 frames, 60 bytes",
        ),
        (
            |stats| stats["ingresses"][1]["rules"][0]["bytes"] = json!(46),
            "ingress peer-a: rule red: expected 1 frames, 50 bytes; counted 1 frames, 46 bytes",
        ),
        (
            |stats| stats["ingresses"][4]["accepted"] = json!({"packets": 1, "bytes": 50}),
            "ingress core-a: accepted: expected 0 frames, 0 bytes; counted 1 frames, 50 bytes",
        ),
        (
            |stats| stats["ingresses"][1]["dropped"] = json!({"packets": 0, "bytes": 0}),
            "ingress peer-a: dropped: expected 1 frames, 50 bytes; counted 0 frames, 0 bytes",
        ),
        (
            |stats| stats["ingresses"][1]["reasons"][LABEL_SPOOFED]["packets"] = json!(2),
            "total of label_spoofed: expected 1; counted 2",
        ),
    ];
    for (counters, expected) in lies {
        let text = complaint(right, &Liar { counters, ..Liar::default() }, Mode::Enforce);
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
        assert!(text.contains("the oracle counts"), "{text}");
    }
}

#[test]
fn a_frame_that_monitor_counts_as_dropped_is_noticed() {
    let lie = |stats: &mut Value| {
        let ingress = &mut stats["ingresses"][1];
        ingress["dropped"] = ingress["would_drop"].take();
        ingress["would_drop"] = json!({"packets": 0, "bytes": 0});
    };
    let text = complaint(right, &Liar { counters: lie, ..Liar::default() }, Mode::Monitor);
    assert!(text.contains("would_drop: expected 1 frames"), "{text}");
}

#[test]
fn a_frame_more_or_less_of_a_flood_is_noticed() {
    let flood = || Story { is_flood: true, totals: &[(LABEL_SPOOFED, 1), ("red", 1)], ..right() };
    attack(flood).run(&Liar::default(), Mode::Enforce).unwrap();
    let leaky = Liar { flooded: |arrived| arrived + 1, ..Liar::default() };
    let text = complaint(flood, &leaky, Mode::Enforce);
    assert!(text.contains("of 6 frames of the flood 4 came through instead of 3"), "{text}");
    let hungry = Liar { flooded: |arrived| arrived - 1, ..Liar::default() };
    let text = complaint(flood, &hungry, Mode::Monitor);
    assert!(text.contains("of 6 frames of the flood 5 came through instead of 6"), "{text}");
    let lie = |stats: &mut Value| {
        stats["ingresses"][1]["reasons"][LABEL_SPOOFED]["packets"] = json!(4);
    };
    let text = complaint(flood, &Liar { counters: lie, ..Liar::default() }, Mode::Enforce);
    assert!(text.contains("total of label_spoofed: expected 5; counted 4"), "{text}");
    assert!(
        complaint(|| Story { totals: &[("red", 2)], ..right() }, &Liar::default(), Mode::Enforce)
            .contains("total of red: expected 2; counted 1")
    );
}

#[test]
fn a_fate_that_the_oracle_does_not_see_is_noticed() {
    let wrong: [fn() -> Story; 5] = [
        || one(PEER_A.sends("a wrong reason", Frame::mpls([OF_PEER_B])).dropped(LABEL_OUT_OF_VRF)),
        || one(PEER_A.sends("a wrong verdict", Frame::mpls([OF_PEER_B])).passes("labels")),
        || one(PEER_A.sends("a wrong rule", Frame::mpls([RED])).passes("labels")),
        || one(CORE.sends("a wrong place", Frame::mpls([RED])).dropped(INGRESS_UNBOUND)),
        || one(PEER_A.sends("counted after all", Frame::mpls([RED])).untouched()),
    ];
    for describe in wrong {
        let text = complaint(describe, &Liar::default(), Mode::Enforce);
        assert!(text.contains("1 of 1 frames went wrong"), "{text}");
        assert!(text.contains("oracle    Judgement"), "{text}");
    }
}

fn one(sent: Sent) -> Story {
    Story::new(["peer A", "none", "RFC 4364"], PE, [sent])
}
