//! `top` in a real terminal.

mod labels;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};

use nix::pty::{Winsize, openpty};
use rustix::process::{Signal, kill_process};

use crate::cli::support::{Lab, Wire, core, wait_for};
use crate::cli::terminal::Terminal;

const POLICY: &str = r#"
version = 1

[contexts.red]
kind = "vrf"
labels = [100]

[contexts.blue]
kind = "vrf"
labels = [200]

[ingress.peer-as65001]
interface = "eth2"
role = "peer"
contexts = ["red"]
labels = ["24000-24063"]
max-depth = 1

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["red", "blue"]
mode = "monitor"

[ingress.ce-blue]
interface = "eth4"
vlan = [7]
role = "customer"
"#;

fn lab() -> (Lab, [Wire; 3]) {
    let lab = Lab::new();
    let wires = ["eth2", "eth3", "eth4"].map(|name| lab.wire(name));
    lab.apply(POLICY).ends(0);
    (lab, wires)
}

/// Waits until the line that starts with `name` has `words` right after it, while `send` goes on.
#[track_caller]
fn counts(terminal: &Terminal, name: &str, words: &[&str], send: impl Fn()) -> Vec<String> {
    terminal.becomes(&format!("{name} {words:?}"), |screen| {
        send();
        let mut found = screen.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
        found.any(|line| line.first() == Some(&name) && line[1..].starts_with(words))
    })
}

/// Waits until the screen has all of these words, fills its columns and lines, and has the keys at
/// its foot: it may be seen while it is drawn.
#[track_caller]
fn whole(terminal: &Terminal, (columns, lines): (usize, usize), words: &[&str]) -> Vec<String> {
    terminal.becomes(&format!("{columns} by {lines} with {words:?}"), |screen| {
        let has = |word: &&str| screen.iter().any(|line| line.contains(*word));
        screen.len() == lines
            && screen.iter().all(|line| line.chars().count() <= columns)
            && screen[0].chars().count() == columns
            && screen[0].ends_with("every 1 s")
            && screen[lines - 1].contains("q quit")
            && words.iter().all(has)
    })
}

#[test]
fn rates_rise_and_pages_open() {
    let (lab, wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    counts(&terminal, "peer-as65001", &["eth2", "enforce", "0", "0", "0"], || {});
    let idle = whole(&terminal, (80, 24), &["INGRESS", "peer-as65001", "core-a", "ce-blue"]);
    assert!(idle[2].contains("All interfaces of the policy are filtered."), "{idle:#?}");
    assert!(idle[0].contains("generation 1"), "{idle:#?}");
    assert!(idle.iter().all(|line| !line.contains('█')), "{idle:#?}");

    // Frames that are dropped, that would be, and that have no ingress.
    terminal.becomes("a rate in each column", |screen| {
        assert_eq!(wires[0].passes(&[100, 24_001, 200]), [true, true, false]);
        assert_eq!(wires[1].passes(&[100, 300]), [true, true]);
        assert_eq!(wires[2].passes(&[100]), [false]);
        let zero = ["accepted 0/s", "dropped 0/s", "would drop 0/s", "without ingress 0/s"];
        zero.iter().all(|rate| !screen[1].contains(rate)) && screen[1].contains("(eth4)")
    });
    terminal.becomes("bars where frames were refused", |screen| {
        let bars =
            |name: &str| screen.iter().any(|line| line.starts_with(name) && line.contains('█'));
        bars("peer-as65001") && bars("core-a") && !bars("ce-blue")
    });

    // The page of the first, which drops most.
    terminal.press(&["n", "Down", "Down", "Enter"]);
    let words = ["peer-as65001  eth2  enforce", "REASON", "RULE", "special"];
    let page = whole(&terminal, (80, 24), &words);
    assert!(page.iter().any(|line| line.starts_with("label_out_of_vrf")), "{page:#?}");
    for rule in ["red", "labels", "special"] {
        assert!(page.iter().any(|line| line.starts_with(rule)), "{page:#?}");
    }
    assert!(!page.iter().any(|line| line.contains("ttl_zero")), "{page:#?}");

    // On a wide screen it says what the reason means.
    terminal.resize(130, 40);
    whole(&terminal, (130, 40), &["The label leads into a VRF that the ingress does not accept"]);
    terminal.press(&["Escape"]);
    whole(&terminal, (130, 40), &["INGRESS", "sorted by name", "ce-blue"]);
    terminal.resize(60, 8);
    let small = terminal.becomes("the chosen ingress in eight lines", |screen| {
        screen.len() == 8 && screen[6].starts_with("peer-") && screen[7].starts_with("↑↓")
    });
    assert!(small.iter().all(|line| line.chars().count() <= 60), "{small:#?}");
    terminal.press(&["q"]);
    terminal.shows(&["ended with 0"]);
    drop(terminal);
    lab.take_down();
}

#[test]
fn keys_filter_sort_pause_and_help() {
    let (lab, wires) = lab();
    assert_eq!(wires[0].passes(&[100, 200, 200]), [true, false, false]);
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.shows(&["3 of 3 ingresses, sorted by refused"]);
    terminal.press(&["t"]);
    counts(&terminal, "peer-as65001", &["eth2", "enforce", "1", "2", "0"], || {});
    terminal.press(&["/", "c", "o", "r"]);
    terminal.becomes("core-a alone", |screen| {
        screen[3].contains("1 of 3 ingresses")
            && screen[3].contains("filter: cor")
            && screen[5].starts_with("core-a")
            && screen[6].is_empty()
            && screen[23].contains("Enter keep")
    });
    terminal.press(&["Enter"]);
    terminal.shows(&["filter: cor", "q quit"]);
    terminal.press(&["Escape"]);
    terminal.shows(&["3 of 3 ingresses"]);
    terminal.press(&["?"]);
    terminal.shows(&["Keys: any key goes back", "sort by accepted, dropped, would drop"]);
    terminal.press(&["x"]);
    terminal.becomes("no help", |screen| !screen.iter().any(|line| line.contains("Keys:")));
    terminal.press(&["i"]);
    terminal.shows(&["sorted by interface"]);

    terminal.press(&["p"]);
    let paused = terminal.shows(&["PAUSED"]);
    assert_eq!(wires[0].passes(&[200]), [false]);
    // Another key is drawn, the frame is not.
    terminal.press(&["n"]);
    let still = terminal.shows(&["PAUSED", "sorted by name"]);
    assert_eq!((&still[0], &still[1]), (&paused[0], &paused[1]));
    counts(&terminal, "peer-as65001", &["eth2", "enforce", "1", "2", "0"], || {});
    terminal.press(&["Space"]);
    counts(&terminal, "peer-as65001", &["eth2", "enforce", "1", "3", "0"], || {});
    terminal.press(&["q"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}

#[test]
fn a_change_of_the_policy_shows_and_so_does_its_end() {
    let (lab, _wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.shows(&["generation 1", "core-a"]);
    lab.apply(&core(&["eth2"], "100")).ends(0);
    terminal.shows(&["generation 2", "at-eth2", "1 of 1 ingresses"]);
    terminal.becomes("no core-a", |screen| !screen.iter().any(|line| line.contains("core-a")));
    lab.run(["detach", "--interface", "eth2"]).ends(0);
    terminal.shows(&["PROBLEM: eth2 is not filtered"]);
    lab.run(["detach", "--all"]).ends(0);
    terminal.shows(&["Not up to date: no policy is applied"]);
    lab.apply(POLICY).ends(0);
    terminal.shows(&["generation 1", "core-a", "All interfaces of the policy are filtered."]);
    terminal.press(&["C-c"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}

#[test]
fn a_confirmation_that_is_awaited_is_in_the_head() {
    let (lab, _wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.shows(&["generation 1"]);
    lab.apply_with(&core(&["eth2"], "100"), &["--confirm-within", "10m"]).ends(0);
    let within = |screen: &[String]| -> Option<u64> {
        let (_, rest) = screen[0].split_once("to be confirmed within ")?;
        rest.split(' ').next()?.parse().ok()
    };
    let screen = terminal.becomes("the time that is left", |screen| within(screen).is_some());
    let first = within(&screen).unwrap();
    assert!((500..=600).contains(&first), "{screen:#?}");
    assert!(screen[0].ends_with(" s  every 1 s"), "{screen:#?}");
    assert!(screen[2].contains("All interfaces of the policy are filtered."), "{screen:#?}");
    terminal.becomes("less time", |screen| within(screen).is_some_and(|left| left < first));
    lab.run(["confirm"]).ends(0);
    terminal.becomes("no time", |screen| {
        screen[0].contains("generation 2") && !screen[0].contains("confirm")
    });
    terminal.press(&["q"]);
    terminal.is_clean_after(0);
    drop(terminal);
    lab.take_down();
}

#[test]
fn every_end_leaves_the_terminal_clean() {
    let (lab, _wires) = lab();
    let terminal = Terminal::new(&lab);
    for key in ["q", "C-c"] {
        terminal.start_top();
        terminal.shows(&["INGRESS"]);
        terminal.press(&[key]);
        terminal.is_clean_after(0);
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        terminal.start_top();
        terminal.shows(&["INGRESS"]);
        kill_process(terminal.top(), signal).unwrap();
        terminal.is_clean_after(0);
    }
    // While something is typed, and with help in front.
    for keys in [&["/", "a"][..], &["?"]] {
        terminal.start_top();
        terminal.shows(&["INGRESS"]);
        terminal.press(keys);
        terminal.press(&["C-c"]);
        terminal.is_clean_after(0);
    }
    lab.run(["detach", "--all"]).ends(0);
    terminal.start_top();
    let screen = terminal.is_clean_after(1);
    assert!(screen.iter().any(|line| line.contains("no policy is applied")), "{screen:#?}");
}

#[test]
fn a_terminal_that_goes_takes_it_along() {
    let (lab, _wires) = lab();
    let terminal = Terminal::new(&lab);
    terminal.start_top();
    terminal.shows(&["INGRESS"]);
    let top = terminal.top();
    terminal.hang_up();
    // Dead is enough: whoever waits for orphans may take a while.
    wait_for("top ends without its terminal", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", top.as_raw_nonzero()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    drop(terminal);
    lab.take_down();
}

/// The signal of another size is looked at together with the key. A reader that takes one of the two
/// and does not look for the other until something else comes loses a key of every few dozen.
#[test]
fn a_key_that_comes_with_a_change_of_size_counts() {
    let (lab, _wires) = lab();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    for round in 0..60 {
        let pty = openpty(Some(&size), None).unwrap();
        let [input, output] = [pty.slave.try_clone().unwrap(), pty.slave];
        let mut top = lab.command(["top"]);
        let mut top = top.env("TERM", "xterm").stdin(input).stdout(output).spawn().unwrap();
        let mut terminal = File::from(pty.master);
        let mut drawn = Vec::new();
        while !drawn.windows(4).any(|bytes| bytes == b"quit") {
            let mut bytes = [0; 4096];
            let len = terminal.read(&mut bytes).unwrap();
            drawn.extend_from_slice(&bytes[..len]);
        }
        kill_process(rustix::process::Pid::from_child(&top), Signal::WINCH).unwrap();
        terminal.write_all(b"q").unwrap();
        wait_for(&format!("top takes the key of round {round}"), || {
            top.try_wait().unwrap().is_some_and(|status| status.success())
        });
    }
    lab.take_down();
}

#[test]
fn it_needs_a_terminal() {
    let (lab, _wires) = lab();
    let output = lab.run(["top"]).ends(1).says(&["needs a terminal", "stats --watch"]);
    assert_eq!(output.stdout, "");
    lab.run(["top", "--interval", "0"]).ends(2).says(&["--interval"]);
    lab.take_down();
}
