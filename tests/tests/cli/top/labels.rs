//! Labels of refused frames in `top`, which gives way to a `capture`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Generator;
use mpls_xdp_tests::leak::{Object, Objects};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal as NixSignal, kill};
use nix::unistd::Pid;
use rustix::process::{Signal, kill_process};

use super::{lab, whole};
use crate::cli::capture::Running;
use crate::cli::support::{Lab, Wire, wait_for};
use crate::cli::terminal::Terminal;

/// A file of the lab's state.
fn file(lab: &Lab, name: &str) -> PathBuf {
    lab.store.state().join(format!("netns-{}/{name}", lab.router.id().cookie))
}

/// Whether a process of the lab has the right to sample.
fn is_sampled(lab: &Lab) -> bool {
    let Ok(file) = File::open(file(lab, "sampling")) else { return false };
    let [l_type, l_whence] =
        [libc::F_WRLCK, libc::SEEK_SET].map(|number| number.try_into().unwrap());
    let mut found = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)).unwrap();
    i32::from(found.l_type) != libc::F_UNLCK
}

/// Waits until somebody samples, or nobody does.
#[track_caller]
fn sampling(lab: &Lab, expected: bool) {
    wait_for(&format!("sampled: {expected}"), || is_sampled(lab) == expected);
}

/// The maps through which a process samples.
fn maps_of(process: u32, lab: &Lab) -> Objects {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let numbers = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let held =
        Objects::of(numbers.filter_map(|number| Object::behind(process, number).unwrap_or(None)));
    held.since(&lab.objects())
}

fn top(terminal: &Terminal) -> u32 {
    terminal.top().as_raw_nonzero().get().cast_unsigned()
}

/// Waits until the screen has a line that starts with these words, while frames of `label` are
/// sent and refused.
#[track_caller]
fn label_shows(terminal: &Terminal, wire: &Wire, label: u32, words: &[&str]) -> Vec<String> {
    terminal.becomes(&format!("label {label} {words:?}"), |screen| {
        assert_eq!(wire.passes(&[label]), [false]);
        screen.iter().any(|line| {
            let line: Vec<&str> = line.split_whitespace().collect();
            line.first() == Some(&label.to_string().as_str()) && line[1..].starts_with(words)
        })
    })
}

/// Who sends the frames.
fn source() -> String {
    let frame = Frame::mpls([200]).build();
    let bytes: Vec<String> = frame[6..12].iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[test]
fn refused_labels_show_with_their_sources() {
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    whole(&terminal, (80, 24), &["peer-as65001", "l labels"]);
    assert!(!is_sampled(&lab), "nobody looks at labels");

    terminal.press(&["l"]);
    whole(&terminal, (80, 24), &["Refused labels of all ingresses", "sampled: 0 of 0 frames"]);
    sampling(&lab, true);
    // What has no ingress. From then on nothing is missed.
    label_shows(&terminal, &wires[2], 100, &["eth4", "ingress_unbound"]);
    label_shows(&terminal, &wires[0], 200, &["peer-as65001", "label_out_of_vrf"]);
    label_shows(&terminal, &wires[0], 999, &["peer-as65001", "label_out_of_range"]);
    let words = ["LABEL", "WHERE", "SEEN/S", "SHARE", "SOURCE", &source()];
    let screen = whole(&terminal, (80, 24), &words);
    assert!(screen.iter().any(|line| line.contains("100%")), "{screen:#?}");
    let refused = ["/reasons/label_out_of_vrf", "/reasons/label_out_of_range"];
    let refused: u64 = refused.iter().map(|reason| lab.packets("peer-as65001", reason)).sum();

    // The same of one ingress, on its page and on one of their own.
    terminal.press(&["Escape"]);
    terminal.shows(&["3 of 3 ingresses"]);
    terminal.press(&["/", "p", "e", "e", "r", "Enter", "Enter"]);
    let part = format!("of {refused} frames refused while labels were shown");
    let page = whole(&terminal, (80, 24), &["peer-as65001  eth2  enforce", &part, "RULE"]);
    assert!(!page.iter().any(|line| line.contains("ingress_unbound")), "{page:#?}");
    terminal.press(&["l"]);
    whole(&terminal, (80, 24), &["Refused labels of peer-as65001", &part]);
    terminal.press(&["/", "9", "9", "9", "Enter"]);
    terminal.becomes("999 alone", |screen| {
        screen[3].ends_with("filter: 999") && screen[6].starts_with("999 ") && screen[7].is_empty()
    });
    terminal.resize(60, 8);
    let small = terminal.becomes("labels in eight lines", |screen| {
        screen.len() == 8 && screen[6].starts_with("999 ") && screen[7].starts_with("↑↓")
    });
    assert!(small.iter().all(|line| line.chars().count() <= 60), "{small:#?}");
    terminal.resize(80, 24);

    // The filter, the labels, the ingress: each has its Esc.
    assert!(is_sampled(&lab));
    for shown in ["Refused labels of peer-as65001", "RULE", "1 of 3 ingresses"] {
        terminal.press(&["Escape"]);
        terminal.becomes(shown, |screen| {
            let has = |text: &str| screen.iter().any(|line| line.contains(text));
            has(shown) && !has("filter: 999")
        });
    }
    sampling(&lab, false);
    terminal.press(&["q"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}

#[test]
fn a_flood_is_sampled_at_a_low_rate_and_counted_whole() {
    const FRAMES: u64 = 200_000;
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.press(&["l"]);
    let before = label_shows(&terminal, &wires[2], 100, &["eth4"]);
    assert!(before[4].starts_with("sampled: "), "{before:#?}");
    let begun = Instant::now();
    let generator = Generator::new(&wires[0].far, &[Frame::mpls([200]).build()]).unwrap();
    generator.send(FRAMES.try_into().unwrap()).unwrap();
    let refused = lab.packets("peer-as65001", "/reasons/label_out_of_vrf");
    assert!(refused > FRAMES / 4, "{refused}");
    let figures = |screen: &[String]| -> Option<[u64; 2]> {
        let rest = screen[4].strip_prefix("sampled: ")?.replace(',', "");
        let words: Vec<&str> = rest.split(' ').collect();
        Some([words[0].parse().ok()?, words[2].parse().ok()?])
    };
    let screen = terminal.becomes("all that were refused", |screen| {
        figures(screen).is_some_and(|[_, all]| all >= refused)
    });
    let [sampled, all] = figures(&screen).unwrap();
    let unbound = lab.run(["stats", "--json"]).ends(0).json();
    let unbound = &unbound["interfaces"].as_array().unwrap()[2]["unbound"]["packets"];
    assert!(all <= refused + unbound.as_u64().unwrap(), "{all}, {refused}, {unbound}");
    // For each of the two reasons; CPUs that take the same token, and the buckets being filled
    // meanwhile: a few more.
    let most = 2 * (10 + 10 * (begun.elapsed().as_secs() + 2) + 10);
    assert!((5..=most).contains(&sampled), "{sampled} in {:?}", begun.elapsed());
    terminal.press(&["q"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}

#[test]
fn top_gives_way_to_a_capture_and_goes_on_after_it() {
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.press(&["l"]);
    label_shows(&terminal, &wires[0], 201, &["peer-as65001"]);
    // However the capture ends.
    for (label, signal) in [(202, NixSignal::SIGINT), (302, NixSignal::SIGKILL)] {
        let mut capture = Running::start(&lab, &["--json"]);
        assert_eq!(wires[0].passes(&[label]), [false]);
        assert_eq!(capture.json()["label"], label, "everything goes to the capture");
        let words = format!("Process {} samples now (capture or top)", capture.id());
        let screen = terminal.shows(&[&words, "labels go on here when it ends"]);
        // What was seen before stays.
        assert!(screen.iter().any(|line| line.starts_with("201 ")), "{screen:#?}");
        // A second one is told who has it, not to end `top`.
        let number = format!("process {}", capture.id());
        lab.run(["capture"]).ends(1).says(&[&number, "only one can at a time"]);
        capture.signal(signal);
        capture.end();
        let screen = label_shows(&terminal, &wires[0], label + 1, &["peer-as65001"]);
        assert!(!screen.iter().any(|line| line.contains("samples now")), "{screen:#?}");
    }

    // The other way round: `top` comes while a capture is at work.
    terminal.press(&["Escape"]);
    sampling(&lab, false);
    let capture = Running::start(&lab, &[]);
    let words = format!("Process {} samples now", capture.id());
    terminal.press(&["Enter"]);
    terminal.shows(&["REASON", &words]);
    capture.interrupt();
    label_shows(&terminal, &wires[0], 401, &["label_out_of_range"]);
    terminal.press(&["q"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}

#[test]
fn a_top_that_does_not_run_is_named_and_a_capture_that_waited_leaves_nothing() {
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.press(&["l"]);
    label_shows(&terminal, &wires[0], 201, &["peer-as65001"]);
    kill_process(terminal.top(), Signal::STOP).unwrap();
    let number = format!("process {}", top(&terminal));
    lab.run(["capture"]).ends(1).says(&[&number, "end it first"]);
    // One that is killed while it waits is not waited for.
    let first = file(&lab, "sampling-first");
    let mut command = lab.command(["capture"]);
    let mut waiting = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let signed = waiting.id().to_string();
    wait_for("the capture goes first", || fs::read_to_string(&first).unwrap() == signed);
    kill(Pid::from_raw(waiting.id().cast_signed()), NixSignal::SIGKILL).unwrap();
    waiting.wait().unwrap();
    kill_process(terminal.top(), Signal::CONT).unwrap();
    label_shows(&terminal, &wires[0], 301, &["peer-as65001"]);

    // Killed itself, it stands in nobody's way.
    kill_process(terminal.top(), Signal::KILL).unwrap();
    sampling(&lab, false);
    let mut capture = Running::start(&lab, &["--json"]);
    assert_eq!(wires[0].passes(&[401]), [false]);
    assert_eq!(capture.json()["label"], 401);
    capture.interrupt();
    drop(terminal);
    lab.take_down();
}

#[test]
fn a_terminal_that_takes_nothing_more_keeps_no_capture_waiting() {
    let (lab, wires) = lab();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).unwrap();
    let [input, output] = [(); 2].map(|()| terminal.slave.try_clone().unwrap());
    let mut top = lab.command(["top"]);
    let mut top = top.env("TERM", "xterm").stdin(input).stdout(output).spawn().unwrap();
    let mut keys = File::from(terminal.master);
    keys.write_all(b"l").unwrap();
    sampling(&lab, true);
    // Nobody reads what it writes, as over a line that hangs: a page for each key, until it waits.
    let mut stuck = 0;
    wait_for("top is stuck", || {
        keys.write_all(b"??").unwrap();
        let call = fs::read_to_string(format!("/proc/{}/syscall", top.id())).unwrap();
        stuck = if call.starts_with(&format!("{} 0x1 ", libc::SYS_write)) { stuck + 1 } else { 0 };
        stuck > 50
    });
    assert!(is_sampled(&lab));
    let mut capture = Running::start(&lab, &["--json"]);
    assert_eq!(wires[0].passes(&[201]), [false]);
    assert_eq!(capture.json()["label"], 201);
    capture.interrupt();
    top.kill().unwrap();
    top.wait().unwrap();
    sampling(&lab, false);
    lab.take_down();
}

#[test]
fn every_end_ends_the_sampling() {
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    let ends: [&dyn Fn(); 4] = [
        &|| terminal.press(&["q"]),
        &|| terminal.press(&["C-c"]),
        &|| kill_process(terminal.top(), Signal::TERM).unwrap(),
        &|| kill_process(terminal.top(), Signal::HUP).unwrap(),
    ];
    for (label, end) in (201..).zip(ends) {
        terminal.start_top();
        terminal.press(&["l"]);
        label_shows(&terminal, &wires[0], label, &["peer-as65001"]);
        let maps = maps_of(top(&terminal), &lab);
        assert_eq!(maps.maps.len(), 2, "{maps:?}");
        end();
        terminal.is_clean_after(0);
        assert!(!is_sampled(&lab));
        wait_for("the maps are gone", || maps.remaining().is_ok_and(|left| left.is_empty()));
    }
    drop(terminal);
    lab.take_down();
}

#[test]
fn labels_go_on_over_changes_of_the_policy() {
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.press(&["l"]);
    label_shows(&terminal, &wires[0], 201, &["peer-as65001"]);
    lab.apply(&crate::cli::support::core(&["eth2"], "100")).ends(0);
    label_shows(&terminal, &wires[0], 202, &["at-eth2"]);
    lab.run(["detach", "--all"]).ends(0);
    terminal.shows(&["Not up to date: no policy is applied", "Not sampled: "]);
    lab.apply(super::POLICY).ends(0);
    label_shows(&terminal, &wires[0], 203, &["peer-as65001"]);
    terminal.press(&["q"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}
