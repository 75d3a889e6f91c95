//! Policies are swapped a thousand times under a stream of millions of frames.
//!
//! The stream has frames of several [`Class`]es. What the policies say of each class differs, so
//! that the counters, and a count of what arrived that does not come from the filter, tell whether
//! any frame got a verdict that neither policy gives.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use mpls_xdp_tests::demo::Router;
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::{Census, Generator, Link, Namespace, Veth, hide_btf};
use serde_json::Value;

use super::support::{packets, wait_for};

const SWAPS: usize = 1_000;
const FRAMES: u64 = 5_000_000;
/// Different frames of the stream.
const KINDS: u32 = 64;
/// Where a frame has the number of its class.
const CLASS_AT: u32 = 31;
/// Rounds of the stream between two looks at whether it should end: a few milliseconds.
const CHUNK: usize = 256;

/// What the two policies say of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Class {
    /// Both accept it.
    Accepted,
    /// Both refuse it, since its label leads into a VRF.
    Refused,
    /// Only the first policy accepts it.
    First,
    /// Only the second policy accepts it.
    Second,
    /// Both refuse it: the first for the lower label, the second for the upper one. Judged by the
    /// first policy and then, in the middle of the stack, by the second it would be accepted.
    RefusedAsAWhole,
    /// Both accept it: the first without looking at the lower label, the second with it. Judged by
    /// the second policy and then by the first it would be refused.
    AcceptedAsAWhole,
}

use Class::{Accepted, AcceptedAsAWhole, First, Refused, RefusedAsAWhole, Second};

const CLASSES: [Class; 6] = [Accepted, Refused, First, Second, RefusedAsAWhole, AcceptedAsAWhole];

impl Class {
    /// The class of a kind of frame: half of all labels are accepted by one policy only.
    fn of(kind: u32) -> Self {
        match (kind % 4, kind) {
            (0, 60) | (1, 61) => AcceptedAsAWhole,
            (0, 28) | (1, 29) => RefusedAsAWhole,
            (0, _) => Accepted,
            (1, _) => Refused,
            (2, _) => First,
            _ => Second,
        }
    }

    fn labels(self) -> Vec<u32> {
        (0..KINDS).filter(|kind| Self::of(*kind) == self).map(label).collect()
    }

    /// How many kinds of frames are of this class.
    fn kinds(self) -> u64 {
        self.labels().len() as u64
    }
}

/// The upper label of a kind of frame: they are spread over all that there are.
fn label(kind: u32) -> u32 {
    16 + kind * 16_381
}

fn frame(kind: u32) -> Vec<u8> {
    let lower = Second.labels()[0];
    let class = Class::of(kind);
    let payload = [0, 0, 0, 0, 0, 0, 0, 0, 0, class as u8];
    let mut frame = Frame::mpls([label(kind), lower]).payload(payload).build();
    frame.resize(64, 0);
    assert_eq!(frame[CLASS_AT as usize], class as u8);
    frame
}

/// The policy that accepts the labels of this class of [`First`] and [`Second`].
fn policy(turn: Class) -> String {
    let mut text = String::from("version = 1\n");
    let mut context = |name: &str, rest: &str, labels: &[u32]| {
        writeln!(text, "[contexts.{name}]\n{rest}\nlabels = {labels:?}").expect("text grows");
    };
    context("both", "kind = \"transport\"", &Accepted.labels());
    context("closed", "kind = \"vrf\"", &Refused.labels());
    context("turn", "kind = \"transport\"", &turn.labels());
    // A context is not empty: these two labels are in no frame.
    let (door, gate) = (RefusedAsAWhole.labels(), AcceptedAsAWhole.labels());
    let (popped, path, popping) = match turn {
        First => (door.as_slice(), gate.as_slice(), &[17][..]),
        _ => (&[18][..], &[19][..], gate.as_slice()),
    };
    context("door", "kind = \"transport\"\npops = true", popped);
    context("path", "kind = \"transport\"", path);
    context("gate", "kind = \"transport\"\npops = true", popping);
    let others: Vec<u32> =
        [First, Second, RefusedAsAWhole].iter().flat_map(|c| c.labels()).collect();
    write!(
        text,
        "[ingress.line]\ninterface = \"eth3\"\nrole = \"core\"\n\
         contexts = [\"both\", \"turn\", \"door\", \"path\", \"gate\"]\n\
         [ingress.other]\ninterface = \"eth3\"\nvlan = [9]\nrole = \"peer\"\nlabels = {others:?}\n"
    )
    .expect("text grows");
    text
}

/// A router with a stream to its only interface, and an eye on what arrives.
struct Line {
    router: Router,
    uplink: Link,
    stream: Generator,
    censuses: Vec<(Class, Census)>,
}

impl Line {
    fn new() -> Result<Self> {
        hide_btf()?;
        let router = Router::new(&[])?;
        let neighbour = Namespace::new("neighbour")?;
        let (eth3, uplink) =
            Veth::between((router.namespace(), "eth3"), (&neighbour, "uplink")).create()?;
        let frames: Vec<_> = (0..KINDS).map(frame).collect();
        let stream = Generator::new(&uplink, &frames)?;
        let census = |class| Ok((class, Census::open(&eth3, CLASS_AT, class as u8)?));
        let censuses = CLASSES.into_iter().map(census).collect::<Result<_>>()?;
        router.apply(&policy(First), &[])?;
        Ok(Self { router, uplink, stream, censuses })
    }

    /// Waits until so many more frames have been sent.
    fn flow(&self, frames: u64) -> Result<()> {
        let enough = self.stream.sent()? + frames;
        wait_for("the stream goes on", || Ok(self.stream.sent()? >= enough))
    }

    /// Does something while the stream flows, and says what was seen until it ended.
    fn observe(&self, work: impl FnOnce() -> Result<()>) -> Result<Observation> {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let stream = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    self.stream.send(CHUNK)?;
                }
                anyhow::Ok(())
            });
            let worked = self.flow(1).and_then(|()| work());
            ended.store(true, Ordering::Relaxed);
            stream.join().expect("the stream does not panic")?;
            worked
        })?;
        let arrived = |(class, census): &(Class, Census)| Ok((*class, census.count()?));
        Ok(Observation {
            sent: self.stream.sent()?,
            frame_length: self.stream.frame_length(),
            arrived: self.censuses.iter().map(arrived).collect::<Result<_>>()?,
            stats: self.router.stats()?,
        })
    }
}

/// What the stream brought.
struct Observation {
    sent: u64,
    frame_length: u64,
    arrived: Vec<(Class, u64)>,
    stats: Value,
}

impl Observation {
    fn sent(&self, class: Class) -> u64 {
        self.sent / u64::from(KINDS) * class.kinds()
    }

    fn arrived(&self, class: Class) -> u64 {
        self.arrived.iter().filter(|(of, _)| *of == class).map(|(_, count)| count).sum()
    }

    /// Where the frames of the stream met a verdict that neither policy gives, a line each.
    fn faults(&self) -> Vec<String> {
        let line = &self.stats["ingresses"][0];
        let rule = |name: &str| {
            let rules = line["rules"].as_array().into_iter().flatten();
            rules.filter(|rule| rule["rule"] == name).map(packets).sum::<u64>()
        };
        let reason = |name: &str| packets(&line["reasons"][name]);
        let all_reasons: u64 =
            line["reasons"].as_object().into_iter().flatten().map(|(_, row)| packets(row)).sum();
        let (accepted, dropped) = (packets(&line["accepted"]), packets(&line["dropped"]));
        let turns = self.sent(First) + self.sent(Second);
        let arrived: u64 = self.arrived.iter().map(|(_, count)| count).sum();
        let bytes = [&line["accepted"], &line["dropped"]].map(|row| row["bytes"].as_u64());

        let mut faults = Vec::new();
        let mut check = |what: &str, actual: u64, expected: u64| {
            if actual != expected {
                faults.push(format!("{what}: {actual} instead of {expected}"));
            }
        };
        check("judged", accepted + dropped, self.sent);
        check("Accepted arrived", self.arrived(Accepted), self.sent(Accepted));
        check("Refused arrived", self.arrived(Refused), 0);
        check("RefusedAsAWhole arrived", self.arrived(RefusedAsAWhole), 0);
        let whole = self.sent(AcceptedAsAWhole);
        check("AcceptedAsAWhole arrived", self.arrived(AcceptedAsAWhole), whole);
        check("arrived", arrived, accepted);
        check("First and Second arrived", self.arrived(First) + self.arrived(Second), rule("turn"));
        check("rule both", rule("both"), self.sent(Accepted));
        check("rules path and gate", rule("path") + rule("gate"), whole);
        check("rules door and special", rule("door") + rule("special"), 0);
        check("label_out_of_vrf", reason("label_out_of_vrf"), self.sent(Refused));
        let spoofed = reason("label_spoofed");
        check(
            "First and Second judged",
            rule("turn") + spoofed - self.sent(RefusedAsAWhole).min(spoofed),
            turns,
        );
        check("other reasons", all_reasons - spoofed - reason("label_out_of_vrf"), 0);
        check("would drop", packets(&line["would_drop"]), 0);
        check("bytes accepted", bytes[0].unwrap_or_default(), accepted * self.frame_length);
        check("bytes dropped", bytes[1].unwrap_or_default(), dropped * self.frame_length);
        faults
    }
}

/// A policy that the stream must not meet, made from one of the two.
fn other_policy(turn: Class, from: &str, to: &str) -> String {
    let policy = policy(turn);
    assert!(policy.contains(from), "{policy}");
    policy.replace(from, to)
}

/// Lets the stream flow while something is wrong for a moment, and returns what was noticed.
fn noticed(wrong: impl FnOnce(&Line) -> Result<()>) -> Result<Vec<String>> {
    let line = Line::new()?;
    let seen = line.observe(|| {
        wrong(&line)?;
        line.flow(1_000)?;
        line.router.apply(&policy(First), &[]).map(drop)
    })?;
    Ok(seen.faults())
}

#[test]
fn under_a_stream_of_millions_no_frame_gets_a_verdict_that_neither_policy_gives() -> Result<()> {
    let line = Line::new()?;
    let seen = line.observe(|| {
        for turn in [Second, First].into_iter().cycle().take(SWAPS) {
            line.router.apply(&policy(turn), &[])?;
            line.flow(FRAMES / SWAPS as u64)?;
        }
        Ok(())
    })?;
    assert_eq!(seen.faults(), [""; 0], "{:#}", seen.stats);
    assert!(seen.sent >= FRAMES, "{}", seen.sent);
    assert_eq!(seen.stats["generation"], SWAPS + 1);
    // Both policies were in force for a part of the stream.
    for class in [First, Second] {
        let (arrived, sent) = (seen.arrived(class), seen.sent(class));
        assert!(0 < arrived && arrived < sent, "{arrived} of {sent} {class:?} arrived");
    }
    Ok(())
}

#[test]
fn a_stream_without_a_swap_meets_one_policy() -> Result<()> {
    let line = Line::new()?;
    let seen = line.observe(|| line.flow(100_000))?;
    assert_eq!(seen.faults(), [""; 0], "{:#}", seen.stats);
    assert_eq!((seen.arrived(First), seen.arrived(Second)), (seen.sent(First), 0));
    Ok(())
}

#[test]
fn a_gap_without_a_filter_would_be_noticed() -> Result<()> {
    let faults = noticed(|line| line.router.mpls_xdp(["detach", "--interface", "eth3"]).map(drop))?;
    for what in ["judged", "Refused arrived", "RefusedAsAWhole arrived", "label_out_of_vrf"] {
        assert!(faults.iter().any(|fault| fault.starts_with(what)), "{what}: {faults:#?}");
    }
    Ok(())
}

/// Swaps to a policy for a moment and expects that this is noticed first of all.
fn a_wrong_policy_is_noticed(policy: &str, expected: &str) -> Result<()> {
    let faults = noticed(|line| line.router.apply(policy, &[]).map(drop))?;
    let first = faults.first().map(String::as_str).unwrap_or_default();
    ensure!(first.starts_with(expected), "instead of {expected}: {faults:#?}");
    Ok(())
}

#[test]
fn a_moment_in_which_nothing_is_accepted_would_be_noticed() -> Result<()> {
    let nothing = other_policy(First, r#"["both", "turn", "door", "path", "gate"]"#, "[]");
    a_wrong_policy_is_noticed(&nothing, "Accepted arrived")
}

#[test]
fn a_moment_in_which_too_much_is_accepted_would_be_noticed() -> Result<()> {
    let closed = other_policy(First, r#"["both","#, r#"["both", "closed","#);
    a_wrong_policy_is_noticed(&closed, "Refused arrived")
}

#[test]
fn a_frame_judged_by_both_policies_in_turn_would_be_noticed() -> Result<()> {
    let labels = |class: Class| format!("{:?}", class.labels());
    let both = format!("{:?}", [First.labels(), Second.labels()].concat());
    let first_then_second = other_policy(First, &labels(First), &both);
    a_wrong_policy_is_noticed(&first_then_second, "RefusedAsAWhole arrived")?;
    let second_then_first = other_policy(Second, &labels(Second), &labels(First));
    a_wrong_policy_is_noticed(&second_then_first, "AcceptedAsAWhole arrived")
}

#[test]
fn frames_that_the_lab_loses_are_told_from_dropped_ones() -> Result<()> {
    let faults = noticed(|line| {
        line.uplink.set_down()?;
        line.flow(1_000)?;
        line.uplink.set_up()?;
        line.uplink.wait_until_running()
    })?;
    let judged = faults.first().map(String::as_str).unwrap_or_default();
    assert!(judged.starts_with("judged"), "{faults:#?}");
    // What was judged was judged rightly.
    assert!(!faults.iter().any(|fault| fault.starts_with("arrived")), "{faults:#?}");
    assert!(!faults.iter().any(|fault| fault.starts_with("Refused arrived")), "{faults:#?}");
    Ok(())
}
