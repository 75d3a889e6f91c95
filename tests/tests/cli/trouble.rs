//! Commands at the same time, commands that die, and pins of another version.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use aya::maps::Array;

use super::support::{Lab, Output, core};

/// `BPF_F_MMAPABLE` of `linux/bpf.h`.
const MAPPABLE: u32 = 1 << 10;

#[test]
fn a_command_waits_for_the_one_before_it() {
    let (lab, _wire) = Lab::filtering("eth1");
    let folder = lab.store.state().join(format!("netns-{}", lab.router.id().cookie));
    let lock = File::options().append(true).open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting =
        lab.command(["status"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("waiting for another mpls-xdp command"), "{line}");
    assert_eq!(waiting.try_wait().unwrap(), None);
    lock.unlock().unwrap();
    assert!(waiting.wait().unwrap().success());
    lab.take_down();
}

#[test]
fn two_applies_at_once_both_succeed() {
    let (lab, wire) = Lab::filtering("eth1");
    for round in 0..5 {
        let before = lab.healthy().generation();
        let commands = [300, 400].map(|label| {
            let policy = lab.file(&format!("{label}.toml"), core(&["eth1"], &label.to_string()));
            let mut command = lab.command(["apply", policy.to_str().unwrap()]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            (format!("{command:?}"), child)
        });
        for (line, child) in commands {
            Output::new(line, child.wait_with_output().unwrap()).ends(0);
        }
        assert_eq!(lab.healthy().generation(), before + 2, "round {round}");
        let passes = wire.passes(&[300, 400, 100]);
        assert!(passes == [true, false, false] || passes == [false, true, false], "{passes:?}");
    }
    lab.take_down();
}

#[test]
fn two_first_applies_at_once_both_succeed() {
    let lab = Lab::new();
    let _wire = lab.wire("eth1");
    let policy = lab.policy(&core(&["eth1"], "100"));
    let children = [(); 2].map(|()| {
        let mut command = lab.command(["apply", policy.to_str().unwrap()]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (format!("{command:?}"), child)
    });
    for (line, child) in children {
        Output::new(line, child.wait_with_output().unwrap()).ends(0);
    }
    assert_eq!(lab.healthy().generation(), 2);
    lab.take_down();
}

#[test]
fn a_killed_apply_is_made_good_by_the_next() {
    const KILLS: u32 = 20;
    let (lab, wire) = Lab::filtering("eth1");
    let other = lab.wire("eth2");
    let labels: Vec<String> = (0..3_000).map(|at| (1_000 + at * 100).to_string()).collect();
    let labels = labels.join(",");
    // By turns larger, with more interfaces, and smaller: maps and programs come and go.
    let policies = [
        lab.file("large.toml", core(&["eth1", "eth2"], &format!("100,{labels}"))),
        lab.file("small.toml", core(&["eth1"], "100")),
    ];
    let start = Instant::now();
    lab.run(["apply", policies[0].to_str().unwrap()]).ends(0);
    let whole = start.elapsed();
    lab.run(["apply", policies[1].to_str().unwrap()]).ends(0);
    let pins = lab.pin_names().len();

    for kill in 0..KILLS {
        let policy = policies[kill as usize % 2].to_str().unwrap();
        let mut child = lab
            .command(["apply", policy])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moment is the point of this test.
        thread::sleep(whole * kill / KILLS);
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever was reached, the old policy or the new one is in force, and both say this.
        assert_eq!(wire.passes(&[100, 200]), [true, false], "kill {kill}");
        if kill % 4 >= 2 {
            lab.run(["apply", policies[1].to_str().unwrap()]).ends(0);
            lab.healthy();
            assert_eq!(lab.pin_names().len(), pins, "kill {kill}: {:?}", lab.pin_names());
            assert_eq!(wire.passes(&[100, 200]), [true, false], "kill {kill}");
            assert_eq!(other.passes(&[200]), [true], "kill {kill}");
        }
    }
    lab.take_down();
    for port in [&wire.port, &other.port] {
        assert!(port.feature("rx-vlan-hw-parse").unwrap(), "{port}: not restored");
    }
}

#[test]
fn a_killed_detach_is_made_good_by_the_next() {
    const KILLS: u32 = 8;
    let (lab, wire) = Lab::filtering("eth1");
    let start = Instant::now();
    lab.take_down();
    let whole = start.elapsed();
    for kill in 0..KILLS {
        lab.apply(&core(&["eth1"], "100")).ends(0);
        lab.healthy();
        let mut child = lab.command(["detach", "--all"]).stdout(Stdio::null()).spawn().unwrap();
        // The moment is the point of this test.
        thread::sleep(whole * kill / KILLS);
        child.kill().unwrap();
        child.wait().unwrap();
        if kill % 2 == 0 {
            lab.run(["detach", "--all"]).ends(0);
            assert_eq!(wire.passes(&[200]), [true], "kill {kill}");
            assert!(wire.port.feature("rx-vlan-hw-parse").unwrap(), "kill {kill}");
        }
    }
    lab.apply(&core(&["eth1"], "100")).ends(0);
    lab.take_down();
}

#[test]
fn pins_of_another_version_are_refused_with_what_to_do() {
    let (lab, wire) = Lab::filtering("eth1");
    let policy = lab.pin_names().into_iter().find(|name| name.starts_with("policy-")).unwrap();
    let path = lab.pins().join(policy);
    fs::remove_file(&path).unwrap();
    let mut forged = Array::<_, u64>::create(1, MAPPABLE).unwrap();
    forged.set(0, 0x4d58_ffff, 0).unwrap();
    forged.pin(&path).unwrap();
    let words = ["another version of mpls-xdp", "mpls-xdp detach --all", "apply"];
    let path = path.to_str().unwrap();
    for arguments in [&["status"][..], &["stats"], &["detach", "--interface", "eth1"]] {
        lab.run(arguments).ends(1).says(&[path]).says(&words);
    }
    for options in [&[][..], &["--dry-run"], &["--replace"]] {
        lab.apply_with(&core(&["eth1"], "300"), options).ends(1).says(&words);
    }
    // What the other version enforces is left alone until it is taken off.
    assert_eq!(wire.passes(&[100, 300]), [true, false]);
    lab.take_down();
    assert_eq!(wire.passes(&[100, 300]), [true, true]);
    lab.apply(&core(&["eth1"], "300")).ends(0);
    lab.healthy();
    lab.take_down();
}

#[test]
fn a_policy_map_that_is_something_else_is_an_error_and_detach_clears_it() {
    let lab = Lab::new();
    fs::create_dir_all(lab.pins()).unwrap();
    let other = Array::<_, u64>::create(1, 0).unwrap();
    other.pin(lab.pins().join("policy-1024")).unwrap();
    let output = lab.apply(&core(&["eth1"], "300")).ends(1);
    assert!(output.stderr.contains("detach --all"), "{output}");
    lab.take_down();
}

#[test]
fn a_damaged_state_file_is_named() {
    let (lab, _wire) = Lab::filtering("eth1");
    let folder = lab.store.state().join(format!("netns-{}", lab.router.id().cookie));
    fs::write(folder.join("offload.json"), "{").unwrap();
    lab.apply(&core(&["eth1"], "300")).ends(1).says(&["offload.json"]);
    lab.run(["status"]).ends(0);
}
