//! How a capture ends, by whatever hand, and what is left of it then.

use std::fs;
use std::io;

use aya::maps::{Array, Map, MapData};
use mpls_xdp::kernel::PolicyMap;
use mpls_xdp_ebpf::sample::Bucket;
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Generator;
use mpls_xdp_tests::leak::{Object, Objects};
use nix::sys::signal::Signal;

use super::Running;
use crate::cli::support::{Lab, core, wait_for};

/// The maps that only this capture brought: those that it holds and the filter does not.
fn maps_of(capture: &Running, lab: &Lab) -> Objects {
    let process = capture.child.id();
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let numbers =
        descriptors.map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap());
    let held = Objects::of(numbers.filter_map(|number| Object::behind(process, number).unwrap()));
    held.since(&lab.objects())
}

fn wait_until_gone(objects: &Objects) {
    wait_for("the maps are gone", || objects.remaining().is_ok_and(|left| left.is_empty()));
}

#[test]
fn every_signal_that_asks_for_it_ends_a_capture_cleanly() {
    let (lab, wire) = Lab::filtering("eth1");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut capture = Running::start(&lab, &["--json"]);
        let maps = maps_of(&capture, &lab);
        assert_eq!(maps.maps.len(), 2, "{maps:?}");
        wire.passes(&[999]);
        assert_eq!(capture.json()["label"], 999);
        // Some send it to a process and again to its group.
        capture.signal(signal);
        capture.signal(signal);
        capture.end().ends(0).says(&["1 frame shown", "label_out_of_range"]);
        wait_until_gone(&maps);
    }
    lab.take_down();
}

#[test]
fn a_capture_ends_when_nobody_reads_it_any_more() {
    let (lab, _wire) = Lab::filtering("eth1");
    for options in [&[][..], &["--json"], &["-w", "-"]] {
        let mut capture = Running::start(&lab, options);
        // Without a frame: the pipe says so by itself.
        drop(std::mem::replace(&mut capture.stdout, Box::new(io::empty())));
        capture.end().ends(0).says(&["0 frames shown", "was refused meanwhile"]);
    }
    lab.take_down();
}

#[test]
fn one_capture_at_a_time() {
    let (lab, _wire) = Lab::filtering("eth1");
    let capture = Running::start(&lab, &[]);
    let number = format!("process {}", capture.child.id());
    lab.run(["capture"]).ends(1).says(&[&number, "only one can at a time"]);
    capture.interrupt();
    Running::start(&lab, &[]).interrupt();
    lab.take_down();
}

#[test]
fn a_killed_capture_stops_by_itself_and_the_next_one_works() {
    let (lab, wire) = Lab::filtering("eth1");
    let capture = Running::start(&lab, &["--rate", "1000"]);
    let maps = maps_of(&capture, &lab);
    capture.signal(Signal::SIGKILL);
    capture.end();
    let left = maps.remaining().unwrap();
    assert_eq!(left.maps.len(), 2, "the maps of the filter keep them: {left:?}");

    let buckets = left.maps.iter().find(|(_, name)| *name == "mpls_buckets").unwrap();
    let buckets = MapData::from_id(*buckets.0).unwrap();
    let buckets = Array::<_, Bucket>::try_from(Map::Array(buckets)).unwrap();
    let full = |tokens: &u64| *tokens > 0;
    let tokens = || -> Vec<u64> {
        (0..buckets.len()).map(|slot| buckets.get(&slot, 0).unwrap().tokens).collect()
    };
    let before = tokens().into_iter().filter(full).count();
    let generator = Generator::new(&wire.far, &[Frame::mpls([999]).build()]).unwrap();
    generator.send(10_000).unwrap();
    let after = tokens().into_iter().filter(full).count();
    assert_eq!(after, before - 1, "the bucket of the flood is empty");

    let mut next = Running::start(&lab, &["--json"]);
    drop(buckets);
    wait_until_gone(&maps);
    wire.passes(&[998]);
    assert_eq!(next.json()["label"], 998);
    next.signal(Signal::SIGKILL);
    next.end();

    // Programs ask for its buckets until a policy is applied or somebody samples again.
    let is_sampled = || {
        let pins = lab.pin_names();
        let name = pins.iter().find(|name| name.starts_with("policy-")).unwrap();
        PolicyMap::open(&lab.pins().join(name)).unwrap().is_sampled()
    };
    assert!(is_sampled());
    lab.apply(&core(&["eth1"], "101")).ends(0);
    assert!(!is_sampled());
    let capture = Running::start(&lab, &[]);
    lab.apply(&core(&["eth1"], "102")).ends(0);
    assert!(is_sampled(), "one that is at work goes on");
    capture.interrupt();
    assert!(!is_sampled());
    lab.take_down();
}

#[test]
fn a_filter_that_is_taken_off_ends_the_capture() {
    let (lab, wire) = Lab::filtering("eth1");
    let mut capture = Running::start(&lab, &["--json"]);
    wire.passes(&[999]);
    assert_eq!(capture.json()["label"], 999);
    let maps = maps_of(&capture, &lab);
    lab.take_down();
    let output = capture.end().ends(1).says(&["taken off", "1 frame shown"]);
    assert_eq!(super::counts(&super::last(&output), "at-eth1", "label_out_of_range"), [1, 1, 0, 0]);
    wait_until_gone(&maps);
}

#[test]
fn a_pin_that_was_removed_is_named_and_apply_mends_it() {
    let (lab, wire) = Lab::filtering("eth1");
    fs::remove_file(lab.pins().join("samples")).unwrap();
    assert!(lab.unhealthy().complains(&["samples", "missing"]));
    lab.run(["capture"]).ends(1).says(&["samples", "apply the policy again"]);
    wire.passes(&[999]);
    lab.run(["apply", lab.store.directory().join("policy.toml").to_str().unwrap()]).ends(0);
    lab.healthy();
    let mut capture = Running::start(&lab, &["--json"]);
    wire.passes(&[999]);
    assert_eq!(capture.json()["label"], 999);
    capture.interrupt();
    assert_eq!(lab.packets("at-eth1", "/dropped"), 2, "counters go on");
    lab.take_down();
}
