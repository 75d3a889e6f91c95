//! `apply --confirm-within`, `confirm`, `rollback` and `history`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use super::support::{Lab, Output, core, ip, is_bare, wait_for};

/// A policy for labels around one hundred, from 100 to 900.
fn hundred(labels: u32) -> String {
    core(&["eth1"], &format!("\"{labels}-{}\"", labels + 9))
}

impl Lab {
    /// Applies the policy for these labels, which must succeed.
    fn apply_hundred(&self, labels: u32, options: &[&str]) -> Output {
        self.apply_with(&hundred(labels), options).ends(0)
    }

    fn state(&self) -> PathBuf {
        self.store.state().join(format!("netns-{}", self.router.id().cookie))
    }

    /// What `history --json` says, newest first.
    fn history(&self) -> Vec<Value> {
        let log = self.run(["history", "--json"]).ends(0).json();
        assert_eq!(log["schema"], 1);
        log["entries"].as_array().unwrap().clone()
    }

    /// One field of each entry.
    fn history_of(&self, field: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.history().iter().map(|entry| text(&entry[field])).collect()
    }

    /// The processes that would go back.
    fn watchers(&self) -> Vec<Pid> {
        let own = self.store.state().to_str().unwrap();
        let watches = |pid: &Pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("return-unless-confirmed") && line.split('\0').any(|word| word == own)
        };
        processes().into_iter().filter(watches).collect()
    }

    fn kill_the_watcher(&self) {
        let watchers = self.watchers();
        assert_eq!(watchers.len(), 1);
        kill(watchers[0], Signal::SIGKILL).unwrap();
        // Its lock goes when it is dead, some time after its name.
        let folder = File::open(self.state()).unwrap();
        wait_for("the process that would go back is dead", || folder.try_lock().is_ok());
    }
}

fn processes() -> Vec<Pid> {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

#[test]
fn the_old_policy_comes_back_by_itself() {
    let (lab, wire) = Lab::filtering("eth1");
    let old = lab.healthy();
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    let output = lab.apply_hundred(300, &["--confirm-within", "2s"]);
    let output = output.prints(&["generation 2", "CONFIRM", "mpls-xdp confirm", "comes back"]);
    assert!(!output.stdout.contains("is taken off"), "{output}");
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    wait_for("the old policy is back", || wire.passes(&[100, 300]) == [true, false]);

    // The old text again, by the same programs, and counters go on.
    wait_for("the process that went back has ended", || lab.watchers().is_empty());
    let now = lab.healthy();
    assert_eq!((now.generation(), now.programs()), (3, old.programs()));
    assert_eq!(now.0["digest"], old.0["digest"]);
    assert_eq!(now.0["confirmation"], Value::Null);
    assert!(lab.packets("at-eth1", "/accepted") >= 3);
    assert_eq!(lab.history_of("how"), ["automatic", "apply", "apply"]);
    assert_eq!(lab.history_of("outcome"), ["applied", "not-confirmed", "applied"]);
    assert_eq!(lab.history_of("in_force"), ["true", "false", "false"]);
    assert_eq!(lab.history_of("generation"), ["3", "2", "1"]);
    lab.run(["confirm"]).ends(1).says(&["too late", "mpls-xdp rollback"]);
    // What was lost is one word away.
    lab.run(["rollback"]).ends(0);
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    lab.take_down();
}

#[test]
fn a_policy_that_is_confirmed_stays() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.apply_hundred(300, &["--confirm-within", "10m"]);
    let confirmation = lab.healthy().0["confirmation"].clone();
    assert!((590..=600).contains(&confirmation["seconds_left"].as_i64().unwrap()));
    assert_eq!((&confirmation["watched"], &confirmation["failure"]), (&true.into(), &Value::Null));
    let names = [&confirmation["policy"], &confirmation["back_to"]["policy"]];
    assert!(names.iter().all(|name| name.as_str().unwrap().ends_with("policy.toml")));
    assert_eq!(confirmation["back_to"]["generation"], 1);
    lab.run(["status"]).ends(0).prints(&["CONFIRM", "mpls-xdp confirm"]);
    assert_eq!(lab.history_of("outcome"), ["awaiting", "applied"]);

    lab.run(["confirm"]).ends(0).prints(&["is confirmed"]);
    wait_for("nobody waits to go back", || lab.watchers().is_empty());
    assert_eq!(lab.healthy().0["confirmation"], Value::Null);
    assert_eq!(lab.history_of("outcome"), ["confirmed", "applied"]);
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    lab.run(["confirm"]).ends(1).says(&["no confirmation is awaited", "policy.toml"]);
    lab.take_down();
}

#[test]
fn the_first_policy_goes_back_to_no_filter() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply_hundred(100, &["--confirm-within", "2s"]).prints(&["the filter is taken off"]);
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    wait_for("the filter is off", || wire.passes(&[100, 300]) == [true, true]);
    wait_for("the process that went back has ended", || lab.watchers().is_empty());
    assert!(is_bare(lab.store.bpffs()));
    lab.run(["status"]).ends(1).says(&["no policy is applied"]);
    assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());
    lab.run(["history"]).ends(0).prints(&["(filter off)", "came back by itself", "not confirmed"]);
    lab.run(["confirm"]).ends(1).says(&["too late"]);
    lab.run(["rollback"]).ends(0).prints(&["in force"]);
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    // And back to nothing, by hand.
    lab.run(["rollback"]).ends(0).prints(&["The filter is off"]);
    assert_eq!(wire.passes(&[100, 300]), [true, true]);
    lab.take_down();
}

/// A control group of one test, as a login manager has one for each session.
struct Group(PathBuf);

impl Group {
    fn new(lab: &Lab) -> Self {
        let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = hierarchy.into_iter().find(|root| root.join("cgroup.controllers").exists());
        let root = root.expect("this test needs control groups of version 2");
        let group = root.join(format!("mpls-xdp-test-{}", lab.router.id().cookie));
        fs::create_dir(&group).expect("this test needs root to make a control group");
        Self(group)
    }

    fn processes(&self) -> String {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody is left in it, or the test has failed.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_closed_terminal_and_a_session_that_is_killed_do_not_keep_the_policy() {
    let (lab, wire) = Lab::filtering("eth1");
    let group = Group::new(&lab);
    let policy = lab.policy(&hundred(300));
    let session = lab.file("session", "");
    let apply = lab.command(["apply", policy.to_str().unwrap(), "--confirm-within", "4s"]);
    // A login: a terminal of its own, a session, a control group; the operator looks at the result.
    let words = [apply.get_program()].into_iter().chain(apply.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let login = format!(
        "echo $$ > {}/cgroup.procs; {} && echo $$ > {} && exec sleep 600",
        group.0.display(),
        words.join(" "),
        session.display(),
    );
    let mut terminal = lab.router.command("script");
    let mut terminal = terminal
        .args(["--quiet", "--command", &login, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let leader = || fs::read_to_string(&session).unwrap().trim().parse().ok().map(Pid::from_raw);
    wait_for("the operator has applied the policy", || leader().is_some());
    let leader = leader().unwrap();
    let in_session = || processes().into_iter().filter(|pid| session_of(*pid) == Some(leader));
    assert!(in_session().next().is_some());
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    let watchers = lab.watchers();
    assert_eq!(watchers.len(), 1);

    // The line drops, the terminal goes, and then the login manager tidies up.
    let _ = killpg(leader, Signal::SIGHUP);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    for pid in in_session() {
        let _ = kill(pid, Signal::SIGKILL);
    }
    fs::write(group.0.join("cgroup.kill"), "1").unwrap();
    wait_for("the session is empty", || in_session().next().is_none());
    wait_for("its control group is empty", || group.processes().is_empty());
    assert_eq!(lab.watchers(), watchers);
    wait_for("the old policy is back", || wire.passes(&[100, 300]) == [true, false]);
    wait_for("the process that went back has ended", || lab.watchers().is_empty());
    assert_eq!(lab.history_of("how"), ["automatic", "apply", "apply"]);
    lab.take_down();
}

/// The session of a process, unless it has died.
fn session_of(pid: Pid) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    (fields[0] != "Z").then(|| Pid::from_raw(fields[3].parse().unwrap()))
}

#[test]
fn the_process_that_goes_back_holds_nothing_of_its_caller() {
    let (lab, _wire) = Lab::filtering("eth1");
    let held = lab.file("held", "");
    let policy = lab.policy(&hundred(300));
    let apply = lab.command(["apply", policy.to_str().unwrap(), "--confirm-within", "10m"]);
    let words = [apply.get_program()].into_iter().chain(apply.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let script = format!("exec 9>{}; {}", held.display(), words.join(" "));
    // This reads to the end of both pipes, which a process in the background could keep open.
    Output::of(lab.router.command("sh").args(["-c", &script])).ends(0);
    let watcher = lab.watchers()[0];
    let state = lab.state().display().to_string();
    let expected = ["/dev/null", "anon_inode", state.as_str()].map(str::to_owned).into();
    // It has the lock for as long as it looks at the state.
    wait_for("it has nothing open but its own", || {
        let open = fs::read_dir(format!("/proc/{watcher}/fd")).unwrap();
        let open: BTreeSet<String> = open
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .map(|path| path.display().to_string().split(':').next().unwrap().to_owned())
            .collect();
        open == expected
    });
    lab.take_down();
    wait_for("the process sees that all is gone", || lab.watchers().is_empty());
}

#[test]
fn rollback_goes_back_at_once() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.apply_hundred(300, &["--confirm-within", "10m"]);
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    lab.run(["rollback", "--dry-run"]).ends(0).prints(&["policy.toml", "Nothing was changed."]);
    assert_eq!(wire.passes(&[100, 300]), [false, true]);
    lab.run(["rollback"]).ends(0).prints(&["generation 3"]);
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    assert_eq!(lab.history_of("outcome"), ["applied", "rolled-back", "applied"]);
    wait_for("nobody waits to go back", || lab.watchers().is_empty());
    lab.run(["confirm"]).ends(1).says(&["no confirmation is awaited"]);
    lab.take_down();
}

#[test]
fn rollback_goes_to_any_policy_that_is_kept() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.run(["rollback"]).ends(1).says(&["no policy was applied yet"]);
    for labels in [100, 200, 300] {
        lab.apply_hundred(labels, &[]);
    }
    let before = lab.healthy();
    let passes = |expected: [bool; 3]| assert_eq!(wire.passes(&[100, 200, 300]), expected);
    lab.run(["rollback"]).ends(0);
    passes([false, true, false]);
    lab.run(["rollback"]).ends(0);
    passes([false, false, true]);
    // Now: 0 and 2 are 300, 1 and 3 are 200, 4 is 100.
    lab.run(["rollback", "4"]).ends(0);
    passes([true, false, false]);
    assert_eq!(lab.healthy().programs(), before.programs());
    assert_eq!(lab.history_of("how")[..4], ["rollback", "rollback", "rollback", "apply"]);
    assert_eq!(lab.packets("at-eth1", "/accepted"), 3);
    lab.run(["rollback", "6"]).ends(1).says(&["number 6", "last is 5", "history"]);
    lab.run(["rollback", "0"]).ends(2).says(&["0"]);
    lab.run(["rollback", "newest"]).ends(2).says(&["newest"]);
    passes([true, false, false]);
    lab.take_down();
}

#[test]
fn a_second_policy_to_be_confirmed_goes_back_to_the_last_confirmed_one() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.apply_hundred(300, &["--confirm-within", "10m"]);
    let first = lab.watchers();
    lab.apply_hundred(500, &["--confirm-within", "2s"]).prints(&["starts anew", "CONFIRM"]);
    assert_eq!(wire.passes(&[100, 300, 500]), [false, false, true]);
    // The process that waits is the same, with another time.
    assert_eq!(first.len(), 1);
    wait_for("the confirmed policy is back", || {
        wire.passes(&[100, 300, 500]) == [true, false, false]
    });
    wait_for("the process that went back has ended", || lab.watchers().is_empty());
    assert_eq!(lab.history_of("outcome"), ["applied", "not-confirmed", "replaced", "applied"]);
    lab.take_down();
}

#[test]
fn an_apply_without_a_condition_needs_no_confirmation() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.apply_hundred(300, &["--confirm-within", "10m"]);
    lab.apply_hundred(500, &[]).prints(&["stays in force", "not awaited any more"]);
    wait_for("nobody waits to go back", || lab.watchers().is_empty());
    assert_eq!(lab.history_of("outcome"), ["applied", "replaced", "applied"]);
    assert_eq!(wire.passes(&[100, 300, 500]), [false, false, true]);

    // The same policy once more is its confirmation, and no entry of its own.
    lab.apply_hundred(700, &["--confirm-within", "10m"]);
    lab.apply_hundred(700, &["--confirm-within", "9m"]).prints(&["CONFIRM"]);
    lab.apply_hundred(700, &[]).prints(&["This confirms it"]);
    wait_for("nobody waits to go back", || lab.watchers().is_empty());
    assert_eq!(lab.history_of("outcome"), ["confirmed", "applied", "replaced", "applied"]);
    assert_eq!(lab.healthy().generation(), 6);
    lab.apply_hundred(700, &["--confirm-within", "10m"]).prints(&["nothing to return to"]);
    assert_eq!(lab.healthy().0["confirmation"], Value::Null);
    assert_eq!(lab.watchers(), []);
    lab.take_down();
}

#[test]
fn the_last_ten_policies_are_kept() {
    let (lab, wire) = Lab::filtering("eth1");
    let texts = || fs::read_dir(lab.state().join("policies")).unwrap().count();
    for labels in 1..=12 {
        lab.apply_hundred(labels * 1_000, &[]);
    }
    assert_eq!((lab.history().len(), texts()), (10, 10));
    let numbers: Vec<String> = (0..10).map(|number: u32| number.to_string()).collect();
    assert_eq!(lab.history_of("number"), numbers);
    assert_eq!(lab.history_of("generation")[9], "4");
    let human = lab.run(["history"]).ends(0).prints(&["GENERATION", "0*", "applied"]);
    assert_eq!(human.stdout.trim_end().lines().count(), 11, "{human}");
    let user = lab.history_of("user");
    assert!(user.iter().all(|user| !user.is_empty()), "{user:?}");
    lab.run(["rollback", "9"]).ends(0);
    assert_eq!(wire.passes(&[3_000, 12_000]), [true, false]);

    // However often the time starts anew, the way back is kept.
    for labels in 21..=32 {
        lab.apply_hundred(labels * 1_000, &["--confirm-within", "10m"]);
    }
    assert_eq!((lab.history().len(), texts()), (11, 11));
    lab.run(["rollback"]).ends(0);
    assert_eq!(wire.passes(&[3_000, 32_000]), [true, false]);
    assert_eq!(lab.history().len(), 10);
    lab.take_down();
    let left: Vec<_> = fs::read_dir(lab.state()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn who_applied_a_policy_is_in_the_history() {
    let lab = Lab::new();
    let _wire = lab.wire("eth1");
    let policy = lab.policy(&hundred(100));
    let mut command = lab.command(["apply", policy.to_str().unwrap()]);
    Output::of(command.env("SUDO_USER", "alice")).ends(0);
    assert_eq!(lab.history_of("user"), ["alice"]);
    lab.run(["history"]).ends(0).prints(&["alice", "policy.toml"]);
    lab.take_down();
}

#[test]
fn a_killed_watcher_is_noticed_and_its_work_can_be_done_by_hand() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.apply_hundred(300, &["--confirm-within", "10m"]);
    lab.kill_the_watcher();
    let words = ["was killed", "mpls-xdp confirm", "mpls-xdp rollback", "policy.toml"];
    assert!(lab.unhealthy().complains(&words));
    // The next command that wants a confirmation has one watch again.
    lab.apply_hundred(500, &["--confirm-within", "1s"]);
    lab.kill_the_watcher();
    wait_for("the confirmation is overdue", || {
        lab.unhealthy().0["confirmation"]["seconds_left"].as_i64().unwrap() < 0
    });
    assert!(lab.unhealthy().complains(&["overdue", "mpls-xdp rollback"]));
    // Looking changes nothing.
    lab.run(["status"]).ends(1).prints(&["NOT CONFIRMED"]);
    lab.run(["history"]).ends(0);
    assert_eq!(wire.passes(&[100, 300, 500]), [false, false, true]);
    lab.run(["rollback"]).ends(0);
    assert_eq!(wire.passes(&[100, 300, 500]), [true, false, false]);
    lab.healthy();

    lab.apply_hundred(500, &["--confirm-within", "10m"]);
    lab.kill_the_watcher();
    lab.run(["confirm"]).ends(0);
    lab.healthy();
    assert_eq!(wire.passes(&[100, 500]), [false, true]);
    lab.take_down();
}

#[test]
fn a_return_that_fails_is_told_and_tried_again() {
    let (lab, wire) = Lab::filtering("eth1");
    let old = lab.healthy().0["digest"].as_str().unwrap().to_owned();
    let text = lab.state().join(format!("policies/{old}.toml"));
    let aside = lab.store.directory().join("aside.toml");
    lab.apply_hundred(300, &["--confirm-within", "10m"]);
    fs::rename(&text, &aside).unwrap();
    lab.run(["rollback"]).ends(1).says(&["is not kept any more", &old]);
    lab.apply_hundred(500, &["--confirm-within", "1s"]);
    wait_for("the failure is told", || {
        let output = lab.run(["status", "--json"]);
        !output.json()["confirmation"]["failure"].is_null()
    });
    assert!(lab.unhealthy().complains(&["going back has failed", "is not kept", &old]));
    assert_eq!(wire.passes(&[100, 500]), [false, true]);
    fs::rename(&aside, &text).unwrap();
    wait_for("the old policy is back", || wire.passes(&[100, 500]) == [true, false]);
    wait_for("the process that went back has ended", || lab.watchers().is_empty());
    lab.healthy();
    lab.take_down();
}

#[test]
fn without_a_history_there_is_no_way_back() {
    let (lab, wire) = Lab::filtering("eth1");
    fs::remove_file(lab.state().join("history.json")).unwrap();
    lab.run(["history"]).ends(0).prints(&["not in the history"]);
    lab.apply_with(&hundred(300), &["--confirm-within", "10m"])
        .ends(1)
        .says(&["is not in the history", "without `--confirm-within`"]);
    lab.run(["rollback"]).ends(1).says(&["no policy was applied yet"]);
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    assert_eq!(lab.watchers(), []);
    lab.apply_hundred(300, &[]);
    lab.apply_hundred(500, &["--confirm-within", "10m"]);
    lab.run(["rollback"]).ends(0);
    assert_eq!(wire.passes(&[100, 300, 500]), [false, true, false]);

    fs::write(lab.state().join("history.json"), "{").unwrap();
    for arguments in [&["history"][..], &["rollback"], &["confirm"]] {
        lab.run(arguments).ends(1).says(&["history.json", "remove it"]);
    }
    assert!(lab.unhealthy().complains(&["history.json", "remove it"]));
    lab.take_down();
}

#[test]
fn a_policy_that_cannot_be_applied_leaves_no_trace() {
    let (lab, wire) = Lab::filtering("eth1");
    let before = (lab.history(), fs::read(lab.state().join("history.json")).unwrap());
    // The first two interfaces would do, the third has a driver without XDP.
    let other = lab.wire("eth2");
    ip(&lab.router, "link add br0 type bridge");
    lab.apply_with(&core(&["eth1", "eth2", "br0"], "300"), &["--confirm-within", "10m"])
        .ends(1)
        .says(&["br0", "native"]);
    assert_eq!(lab.history(), before.0);
    assert_eq!(fs::read(lab.state().join("history.json")).unwrap(), before.1);
    wait_for("nobody waits to go back", || lab.watchers().is_empty());
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    assert_eq!(other.passes(&[200]), [true]);
    lab.take_down();
}

#[test]
fn a_time_that_is_none_is_wrong_usage() {
    let lab = Lab::new();
    for time in ["60", "0s", "25h", "soon", "-5s", "1.5m", ""] {
        let option = format!("--confirm-within={time}");
        let output = lab.run(["apply", "policy.toml", &option]).ends(2);
        let output = output.says(&["--confirm-within", time]);
        assert_eq!(output.stdout, "", "{output}");
    }
    assert!(is_bare(lab.store.bpffs()));
}

#[test]
fn commands_without_a_policy_say_so() {
    let lab = Lab::new();
    lab.run(["confirm"]).ends(1).says(&["no policy is applied"]);
    lab.run(["history"]).ends(0).prints(&["No policy is kept"]);
    assert_eq!(lab.history(), [Value::Null; 0]);
}
