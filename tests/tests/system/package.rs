//! The Debian package: judged by lintian, and installed, used, upgraded, removed and purged.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::machine::{Files, Machine};
use super::units::{GENERATION, filtered, measure_window};

/// Where `cargo xtask package --check` says which package it built.
const PACKAGE: &str = "MPLS_XDP_PACKAGE";
/// What a package outside of Debian cannot have: an address for bugs, and a bug to close.
const NOT_DEBIAN: &str =
    "bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs,malformed-contact";

const POLICY: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
ingress.one = { interface = "eth1", role = "core", contexts = ["red"] }
"#;

fn package() -> PathBuf {
    let path = env::var_os(PACKAGE).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{PACKAGE} names no file: run `cargo xtask package --check`"))
}

fn machine() -> Machine {
    let files = Files::new();
    files.copy(&package(), "srv/mpls-xdp.deb");
    files.write("srv/policy.toml", POLICY);
    files.boot()
}

const INSTALL: &str = "dpkg --install /srv/mpls-xdp.deb";

#[test]
#[ignore = "a part of `cargo xtask package --check`"]
fn lintian_has_nothing_to_complain_about() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--suppress-tags", NOT_DEBIAN]);
    let output = lintian.arg(package()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
#[ignore = "a part of `cargo xtask package --check`"]
fn it_brings_everything_and_starts_nothing() {
    let machine = machine();
    machine.run(INSTALL);
    machine.run("dpkg --verify mpls-xdp");
    for unit in ["mpls-xdp", "mpls-xdp-metrics"] {
        machine.run(&format!("! systemctl is-enabled {unit} && ! systemctl is-active {unit}"));
    }
    machine.run(&format!("! {}", filtered("eth1")));
    machine.run("test -d /etc/mpls-xdp && test -z \"$(ls /etc/mpls-xdp)\"");
    let check = "mpls-xdp check /usr/share/doc/mpls-xdp/examples/policy.toml";
    assert!(machine.run(check).contains("is valid"));
    let listed = machine.run("dpkg --listfiles mpls-xdp");
    let commands =
        machine.run("mpls-xdp --help | sed -n '/^Commands:/,/^$/s/^  \\([a-z]*\\) .*/\\1/p'");
    for command in commands.lines().filter(|command| *command != "help") {
        let page = format!("/usr/share/man/man8/mpls-xdp-{command}.8.gz");
        assert!(listed.lines().any(|line| line == page), "no {page} in\n{listed}");
    }
    for file in [
        "/usr/lib/systemd/system/mpls-xdp.service",
        "/usr/lib/systemd/system/mpls-xdp-reattach@.service",
        "/usr/lib/systemd/system/mpls-xdp-metrics.service",
        "/usr/lib/udev/rules.d/90-mpls-xdp.rules",
        "/usr/share/man/man5/mpls-xdp-policy.5.gz",
        "/usr/share/man/man8/mpls-xdp.8.gz",
        "/usr/share/doc/mpls-xdp/copyright",
    ] {
        assert!(listed.lines().any(|line| line == file), "no {file} in\n{listed}");
    }
    for (file, command) in [
        ("/usr/share/bash-completion/completions/mpls-xdp", "bash -n"),
        ("/usr/share/zsh/vendor-completions/_mpls-xdp", "zsh -n"),
        ("/usr/share/fish/vendor_completions.d/mpls-xdp.fish", "fish --no-execute"),
    ] {
        machine.run(&format!("{command} {file} && grep --quiet 'mpls-xdp' {file}"));
    }
}

#[test]
#[ignore = "a part of `cargo xtask package --check`"]
fn the_filter_outlives_upgrade_and_removal() {
    let mut machine = machine();
    // After an event, udevd does not look for new rules for three seconds.
    machine.run("ip link add eth8 type veth peer name far8");
    machine.settle();
    machine.run(INSTALL);
    machine.run("cp /srv/policy.toml /etc/mpls-xdp/ && systemctl enable --now mpls-xdp");
    machine.run("ip link delete eth1 && ip link add eth1 type veth peer name far1");
    machine.settle();
    machine.run(&filtered("eth1"));
    let program = "ip link show eth1 | grep --only-matching 'prog/xdp.*'";
    let before = machine.run(program);
    let generation = machine.run(GENERATION);

    machine.run("ip link add eth9 type veth peer name far9");
    machine.run(INSTALL);
    assert_eq!(machine.run(program), before);
    assert_eq!(machine.run(GENERATION), generation);
    machine.run("systemctl is-enabled mpls-xdp && systemctl is-active mpls-xdp");

    measure_window(&mut machine);

    let said = machine.run("dpkg --remove mpls-xdp 2>&1");
    assert!(said.contains("stays in force") && said.contains("detach --all"), "{said}");
    machine.run(&filtered("eth1"));
    machine.run("! test -e /usr/bin/mpls-xdp && test -e /etc/mpls-xdp/policy.toml");
    machine.run("! test -e /usr/lib/udev/rules.d/90-mpls-xdp.rules");

    machine.run(INSTALL);
    machine.run("systemctl is-enabled mpls-xdp && mpls-xdp detach --all");
    machine.run(&format!("! {}", filtered("eth1")));
    let files = machine.run("dpkg --listfiles mpls-xdp");
    machine.run("rm /etc/mpls-xdp/policy.toml && dpkg --purge mpls-xdp");
    let ours = files.lines().filter(|path| path.contains("mpls-xdp"));
    machine.run(&format!("! ls -d {} 2> /dev/null", ours.collect::<Vec<_>>().join(" ")));
    machine.run("! test -e /etc/mpls-xdp");
    machine.run("! find /etc/systemd -name 'mpls-xdp*' | grep .");
}
