//! `init`: the policy that it writes is one, and where it writes it. What it makes of VLAN devices,
//! VRFs and labels is in `first_policy::tests`, since not every kernel has them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::mounts::Mounts;
use super::support::Lab;

/// Makes `net.mpls.conf` as of a kernel with MPLS in which these interfaces accept it.
const MPLS: &str = "mount -t tmpfs none /proc/sys/net; \
                    for i in lo eth1 eth2; do mkdir -p /proc/sys/net/mpls/conf/$i; \
                    echo 1 > /proc/sys/net/mpls/conf/$i/input; done; \
                    mkdir /proc/sys/net/mpls/conf/eth3; echo 0 > /proc/sys/net/mpls/conf/eth3/input";

#[test]
fn the_policy_passes_its_check_and_comes_into_force() {
    let lab = Lab::new();
    let _wires = ["eth1", "eth2", "eth3"].map(|name| lab.wire(name));
    let mounts = Mounts::new(&lab.router, MPLS);
    let printed = mounts.run(&[], ["init", "--core", "eth1"]).ends(0).prints(&[
        "mode = \"monitor\"",
        "# Seen: eth1; the kernel accepts MPLS.\n[ingress.eth1]\n",
        "# Seen: eth2; the kernel accepts MPLS.\n# DECIDE: ",
        "so they need no ingress: eth3.\n",
    ]);
    assert_eq!(printed.stderr, "");
    let policy = mounts.file("policy.toml", &printed.stdout);
    let policy = policy.to_str().unwrap();
    let report = mounts.run(&[], ["check", "--live", "--json", policy]).ends(0).json();
    assert_eq!((&report["valid"], &report["ingresses"]), (&true.into(), &2.into()), "{report}");
    mounts.run(&[], ["apply", policy]).ends(0);
    let stats = mounts.run(&[], ["stats", "--json"]).ends(0).json();
    let modes: Vec<_> = stats["ingresses"].as_array().unwrap().iter().map(|i| &i["mode"]).collect();
    assert_eq!(modes, ["monitor", "monitor"]);
    mounts.run(&[], ["detach", "--all"]).ends(0);
}

#[test]
fn it_needs_no_root() {
    let lab = Lab::new();
    let _wire = lab.wire("eth1");
    let mounts = Mounts::new(&lab.router, MPLS);
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let as_root = mounts.run(&[], ["init"]).ends(0).stdout;
    assert_eq!(mounts.run(&nobody, ["init"]).ends(0).stdout, as_root);
}

#[test]
fn a_file_is_written_whole_and_replaced_only_by_force() {
    let lab = Lab::new();
    let printed = lab.run(["init"]).ends(0).stdout;
    let folder = lab.store.directory().join("written");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("pe.toml");
    let name = file.to_str().unwrap();
    let output = lab.run(["init", "--output", name]).ends(0);
    assert!(output.stdout.contains(&format!("mpls-xdp check {name} --live")), "{output}");
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    assert_eq!(mode & 0o111, 0, "{mode:o}");

    fs::write(&file, "mine").unwrap();
    lab.run(["init", "--output", name]).ends(1).says(&[name, "is there already", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    lab.run(["init", "--output", name, "--force"]).ends(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["pe.toml"]);
}

#[test]
fn what_cannot_be_done_is_1() {
    let lab = Lab::new();
    lab.run(["init", "--output", "/nowhere/pe.toml"])
        .ends(1)
        .says(&["cannot write /nowhere/pe.toml"]);
    lab.run(["init", "--core", "eth9"]).ends(1).says(&["--core eth9", "accepts no MPLS"]);
    let output = lab.run(["init", "--output", "/proc/pe.toml"]).ends(1);
    assert_eq!(output.stdout, "", "{output}");
}
