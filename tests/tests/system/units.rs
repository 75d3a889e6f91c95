//! The units and the udev rule, judged by systemd: read by it, and at work under it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mpls_xdp_tests::product;

use super::machine::{Files, Machine};

/// What systemd-analyze calls well protected ends at 4.9, from 0 (safe) to 10.
const EXPOSURE: f64 = 2.5;

const POLICY: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
ingress.one = { interface = "eth1", role = "core", contexts = ["red"] }
ingress.two = { interface = "eth2", role = "core", contexts = ["red"] }
"#;

/// A routing daemon that notes whether the filter was there before it.
const FRR: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
                   ExecStart=/bin/sh -c 'ip link show eth1 > /run/seen-by-frr'\n";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mpls-xdp/packaging")
}

fn units() -> Vec<PathBuf> {
    let folder = fs::read_dir(packaging().join("systemd")).unwrap();
    let mut units: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    units.sort();
    units
}

/// A machine that has what the package installs, and this policy.
fn machine(policy: &str) -> Files {
    let files = Files::new();
    files.copy(&product::binary().unwrap(), "usr/bin/mpls-xdp");
    for unit in units() {
        let name = unit.file_name().unwrap().to_str().unwrap();
        files.copy(&unit, &format!("etc/systemd/system/{name}"));
    }
    let rule = packaging().join("udev/90-mpls-xdp.rules");
    files.copy(&rule, "etc/udev/rules.d/90-mpls-xdp.rules");
    files.write("etc/mpls-xdp/policy.toml", policy);
    files
}

pub fn booted() -> Machine {
    with_frr(machine(POLICY)).boot()
}

/// Has both started at boot.
fn with_frr(files: Files) -> Files {
    files.write("etc/systemd/system/frr.service", FRR);
    files.enable("frr.service");
    files.enable("mpls-xdp.service");
    files
}

/// A script that prints which generation of the policy is in force.
pub const GENERATION: &str =
    "mpls-xdp status --json | grep --only-matching '\"generation\":[0-9]*'";

/// A script that succeeds when an interface is filtered.
pub fn filtered(interface: &str) -> String {
    format!("ip link show {interface} | grep --quiet 'prog/xdp'")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for unit in units() {
        let name = unit.file_name().unwrap().to_str().unwrap().replace("@.", "@1.");
        let copy = folder.path().join(name);
        let text = fs::read_to_string(unit).unwrap();
        let binary = product::binary().unwrap();
        assert!(text.contains("=/usr/bin/mpls-xdp "));
        fs::write(&copy, text.replace("/usr/bin/mpls-xdp", binary.to_str().unwrap())).unwrap();
        copies.push(copy);
    }
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&copies)
        .output()
        .unwrap();
    let said = String::from_utf8(verify.stderr).unwrap();
    assert!(verify.status.success() && said.is_empty(), "{said}");
    for copy in &copies {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--no-pager", "--threshold"]);
        let security = security.arg((EXPOSURE * 10.0).to_string()).arg(copy).output().unwrap();
        let said = String::from_utf8(security.stdout).unwrap();
        assert!(security.status.success(), "{} is more exposed:\n{said}", copy.display());
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

#[test]
fn at_boot_the_filter_is_there_before_the_routing_daemon() {
    let machine = booted();
    assert!(machine.run("cat /run/seen-by-frr").contains("prog/xdp"));
    machine.run("systemctl is-active mpls-xdp.service");
    assert!(machine.run("journalctl --no-pager -u mpls-xdp").contains("no interface `eth2`"));
}

#[test]
fn without_the_filter_the_routing_daemon_starts_unless_it_requires_it() {
    let broken = "version = 2\n";
    let machine_without = with_frr(machine(broken)).boot();
    machine_without.run("systemctl is-failed mpls-xdp.service && test -e /run/seen-by-frr");

    let files = with_frr(machine(broken));
    let requires = "[Unit]\nRequires=mpls-xdp.service\nAfter=mpls-xdp.service\n";
    files.write("etc/systemd/system/frr.service.d/override.conf", requires);
    files.boot().run("systemctl is-failed mpls-xdp.service && ! test -e /run/seen-by-frr");
}

#[test]
fn reload_applies_again_and_stop_does_not_take_it_off() {
    let machine = booted();
    machine.run(&filtered("eth1"));
    machine.run("sed -i 's/100/200/' /etc/mpls-xdp/policy.toml; systemctl reload mpls-xdp");
    assert_eq!(machine.run(GENERATION).trim(), "\"generation\":2");
    machine.run("echo 'not a policy' > /etc/mpls-xdp/policy.toml; ! systemctl reload mpls-xdp");
    machine.run("systemctl is-active mpls-xdp.service");
    assert_eq!(machine.run(GENERATION).trim(), "\"generation\":2");
    machine.run("systemctl stop mpls-xdp");
    machine.run(&filtered("eth1"));
    assert_eq!(machine.run(GENERATION).trim(), "\"generation\":2");
    machine.run("mpls-xdp detach --all");
    machine.run(&format!("! {}", filtered("eth1")));
}

#[test]
fn an_interface_that_appears_is_filtered_and_one_that_is_not_named_starts_nothing() {
    let mut machine = booted();
    machine.run("ip link add eth2 type veth peer name far2");
    machine.wait_until(&filtered("eth2"));
    // Made anew, again and again: no event may be lost.
    for _ in 0..5 {
        machine.run("ip link delete eth2; ip link add eth2 type veth peer name far2");
        machine.wait_until(&filtered("eth2"));
    }
    // Renamed to a name of the policy.
    machine.run("ip link delete eth2; ip link add other type veth peer name far2");
    machine.run("ip link set other name eth2");
    machine.wait_until(&filtered("eth2"));

    let started = "journalctl --no-pager -o cat | grep --count 'Finished .*network event' || true";
    machine.settle();
    let before = machine.run(started);
    machine.run("for at in $(seq 20); do ip link add un$at type veth peer name fn$at; done");
    machine.settle();
    assert_eq!(machine.run(started), before);
    machine.run("mpls-xdp status");
}

#[test]
fn many_interfaces_at_once_are_all_filtered() {
    let mut policy = POLICY.to_owned();
    for at in 0..30 {
        let ingress = format!("ingress.p{at} = {{ interface = \"p{at}\", role = \"customer\" }}\n");
        policy.push_str(&ingress);
    }
    let mut machine = with_frr(machine(&policy)).boot();
    machine.run("for at in {0..29}; do ip link add p$at type veth peer name f$at; done");
    machine.settle();
    for at in 0..30 {
        machine.run(&filtered(&format!("p{at}")));
    }
    machine.run("! systemctl list-units --failed --no-legend | grep mpls-xdp");
}

#[test]
fn an_interface_that_appears_while_a_policy_is_applied_is_filtered() {
    let mut machine = booted();
    for hundredths in 0..20 {
        machine.run("mpls-xdp detach --all; ip link delete eth2 2> /dev/null; true");
        // Not a wait: it comes at another moment of the command each time.
        machine.run(&format!(
            "mpls-xdp apply /etc/mpls-xdp/policy.toml & sleep 0.{hundredths:02}
             ip link add eth2 type veth peer name far2; wait $!"
        ));
        machine.settle();
        machine.run(&filtered("eth2"));
    }
}

/// Deletes eth1 and makes it anew, and says how long it is there without the filter.
pub fn measure_window(machine: &mut Machine) {
    let script = "
        ip link delete eth1
        ip link add eth1 type veth peer name far1
        start=$(date +%s%N)
        until ip link show eth1 | grep --quiet prog/xdp; do :; done
        echo $(( ($(date +%s%N) - start) / 1000000 ))";
    let mut windows: Vec<u64> = (0..11)
        .map(|_| {
            machine.settle();
            machine.run(&format!("timeout 60 bash -c '{script}'")).trim().parse().unwrap()
        })
        .collect();
    windows.sort_unstable();
    let (median, worst) = (windows[windows.len() / 2], windows[windows.len() - 1]);
    println!("unfiltered for {median} ms (median of {}), {worst} ms at worst", windows.len());
}

#[test]
fn an_interface_that_is_made_anew_is_filtered_each_time() {
    measure_window(&mut booted());
}
