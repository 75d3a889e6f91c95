//! Floods: how much of them is sampled, and that nothing of the rest is forgotten.

use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Generator;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{PEER, Running, counts};
use crate::cli::support::{Lab, Wire};

/// The reasons of the two frames that a flood has in turns.
const REASONS: [&str; 2] = ["label_out_of_vrf", "label_out_of_range"];

fn flooded() -> (Lab, Wire, Generator) {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.wire("eth2");
    lab.apply(PEER).ends(0);
    let frames = [200, 999].map(|label| Frame::mpls([label]).build());
    let generator = Generator::new(&wire.far, &frames).unwrap();
    (lab, wire, generator)
}

/// A capture whose standard output is read all the time; `load` is what happens meanwhile.
fn captured(
    lab: &Lab,
    options: &[&str],
    load: impl FnOnce(&Running),
) -> (Vec<Value>, Value, Duration) {
    let begun = Instant::now();
    let mut capture = Running::start(lab, options);
    let mut stdout = std::mem::replace(&mut capture.stdout, Box::new(std::io::empty()));
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    load(&capture);
    capture.interrupt();
    let time = begun.elapsed();
    let text = reading.join().unwrap().unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    (lines, summary, time)
}

fn shown(lines: &[Value], reason: &str) -> u64 {
    lines.iter().filter(|line| line["reason"] == reason).count() as u64
}

#[test]
fn a_million_frames_stay_within_the_rate_and_none_is_forgotten() {
    const RATE: u64 = 50;
    let (lab, _wire, generator) = flooded();
    let options = ["--json", "--rate", "50"];
    let (lines, summary, time) = captured(&lab, &options, |_| generator.send(500_000).unwrap());
    assert_eq!(generator.sent().unwrap(), 1_000_000);
    for reason in REASONS {
        let [refused, sampled, over_rate, ring_full] = counts(&summary, "peer", reason);
        assert_eq!(refused, lab.packets("peer", &format!("/reasons/{reason}")), "{reason}");
        // The veth has no room for some of them.
        assert!(refused > 100_000, "{refused} of half a million");
        assert_eq!(sampled, shown(&lines, reason), "{reason}");
        assert_eq!((sampled + over_rate, ring_full), (refused, 0), "{reason}");
        // CPUs that take the same token, and the buckets being filled meanwhile: a few more.
        let allowed = RATE + RATE * (time.as_secs() + 2) + 10;
        assert!((RATE..=allowed).contains(&sampled), "{sampled} in {time:?}");
    }
    lab.take_down();
}

#[test]
fn the_buckets_are_filled_again_and_again() {
    const RATE: u32 = 40;
    let (lab, _wire, generator) = flooded();
    let options = ["--json", "--rate", "40", "--count", "120", "--reason", REASONS[0]];
    let begun = Instant::now();
    let mut capture = Running::start(&lab, &options);
    while capture.child.try_wait().unwrap().is_none() {
        generator.send(100).unwrap();
    }
    // 40 come at once, and the other 80 take two seconds.
    let least = Duration::from_secs(1).mul_f64(f64::from(120 - RATE) / f64::from(RATE))
        - Duration::from_millis(200);
    assert!(begun.elapsed() > least, "{:?}", begun.elapsed());
    let output = capture.end().ends(0);
    assert_eq!(output.stdout.lines().count(), 121, "{output}");
    lab.take_down();
}

#[test]
fn what_the_ring_has_no_room_for_is_counted() {
    let (lab, _wire, generator) = flooded();
    let options = ["--json", "--rate", "1000000"];
    let (lines, summary, _) = captured(&lab, &options, |capture| {
        // Nobody takes anything out of the ring now.
        capture.signal(Signal::SIGSTOP);
        generator.send(100_000).unwrap();
        capture.signal(Signal::SIGCONT);
    });
    for reason in REASONS {
        let [refused, sampled, over_rate, ring_full] = counts(&summary, "peer", reason);
        assert_eq!(refused, lab.packets("peer", &format!("/reasons/{reason}")), "{reason}");
        assert_eq!(sampled, shown(&lines, reason), "{reason}");
        assert!(sampled > 1_000 && ring_full > 1_000, "{summary}");
        assert_eq!(sampled + ring_full, refused, "{summary}");
        assert_eq!(over_rate, 0, "{summary}");
    }
    lab.take_down();
}
