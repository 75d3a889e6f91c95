//! A confirmation that is awaited, as those see it who keep no command from its work.

use std::fs::File;
use std::process::Stdio;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{OPEN_METRICS, Server, promtool, samples};
use crate::cli::support::{Lab, core};

const AWAITED: &str = "mpls_xdp_confirmation_awaited";
const DEADLINE: &str = "mpls_xdp_confirmation_deadline_timestamp_seconds";
const PROBLEMS: &str = "mpls_xdp_problems";

/// A policy that no other call with another number gives.
fn policy(number: u32) -> String {
    core(&["eth1"], &format!("\"100-{}\"", 200 + number))
}

#[test]
fn a_confirmation_that_is_awaited_shows_and_so_does_its_end() {
    let (lab, _wire) = Lab::filtering("eth1");
    let scrape = || lab.run(["metrics", "--once"]).ends(0).stdout;
    let text = scrape();
    assert_eq!((samples(&text)[AWAITED], samples(&text).get(DEADLINE)), (0.0, None));

    lab.apply_with(&policy(1), &["--confirm-within", "10m"]).ends(0);
    let text = scrape();
    let verdict = promtool(&["check", "metrics"], &text).ends(0);
    assert_eq!((verdict.stdout.as_str(), verdict.stderr.as_str()), ("", ""), "{text}");
    assert_eq!((samples(&text)[AWAITED], samples(&text)[PROBLEMS]), (1.0, 0.0));
    let confirm_by = lab.healthy().0["confirmation"]["confirm_by"].as_f64().unwrap();
    // One clock is read for the deadline, and another one for the time of day.
    assert!((samples(&text)[DEADLINE] - confirm_by).abs() <= 1.0, "{text}");

    // Not even a command that has the filter for itself is waited for.
    let state = lab.store.state().join(format!("netns-{}", lab.router.id().cookie));
    let held = File::open(state.join("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(samples(&scrape())[AWAITED], 1.0);
    drop(held);

    lab.run(["confirm"]).ends(0);
    let text = scrape();
    assert_eq!((samples(&text)[AWAITED], samples(&text).get(DEADLINE)), (0.0, None));
    assert_eq!(samples(&text)[PROBLEMS], 0.0);
    lab.take_down();
}

#[test]
fn whoever_starts_to_watch_is_in_nobodys_way_who_looks() {
    const CHANGES: u32 = 12;
    let (lab, _wire) = Lab::filtering("eth1");
    let server = Server::start(&lab);
    // Looks far more often than a scrape does, next to the scrapes.
    let mut looking = lab
        .router
        .command("sh")
        .args(["-c", "while \"$@\" > /dev/null; do :; done", "sh"])
        .arg(mpls_xdp_tests::product::binary().unwrap())
        .args(lab.store.arguments())
        .args(["metrics", "--once"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for number in 1..=CHANGES {
                lab.apply_with(&policy(number), &["--confirm-within", "10m"]).ends(0);
                lab.run(["confirm"]).ends(0);
            }
        });
        let mut seen = [false; 2];
        while !changing.is_finished() {
            let text = server.metrics(OPEN_METRICS);
            let samples = samples(&text);
            assert_eq!(samples[PROBLEMS], 0.0, "{text}");
            assert_eq!(samples.contains_key(DEADLINE), samples[AWAITED] == 1.0, "{text}");
            seen[usize::from(samples[AWAITED] == 1.0)] = true;
        }
        assert_eq!(seen, [true; 2], "only one of the two was seen");
    });
    assert!(looking.try_wait().unwrap().is_none(), "a look failed");
    kill_process(Pid::from_child(&looking), Signal::KILL).unwrap();
    looking.wait().unwrap();
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
    lab.take_down();
}
