//! Interfaces on which the kernel accepts MPLS and that no ingress covers.

use super::mounts::Mounts;
use super::support::{Lab, Output, Status, core, ip};

/// Makes `net.mpls.conf` as of a kernel with MPLS in which these interfaces accept it. The files
/// stand in for the kernel's own, which may have none.
const MPLS: &str = "mount -t tmpfs none /proc/sys/net; \
                    for i in lo eth1 eth2 vx0; do mkdir -p /proc/sys/net/mpls/conf/$i; \
                    echo 1 > /proc/sys/net/mpls/conf/$i/input; done; \
                    mkdir /proc/sys/net/mpls/conf/eth3; echo 0 > /proc/sys/net/mpls/conf/eth3/input";

#[test]
fn every_hole_is_named() {
    let lab = Lab::new();
    let _wires = ["eth1", "eth2", "eth3"].map(|name| lab.wire(name));
    ip(&lab.router, "link add vx0 type vxlan id 7 dstport 4789 dev eth1");
    let mounts = Mounts::new(&lab.router, MPLS);
    let policy = mounts.file("policy.toml", &core(&["eth1"], "100"));
    let policy = policy.to_str().unwrap();
    let words = ["no ingress covers", "eth2: ", "vx0: ", "tunnel"];
    let named = |output: Output| {
        let output = output.prints(&words);
        for covered in ["\n  eth1: ", "\n  eth3: "] {
            assert!(!output.stdout.contains(covered), "{covered} is no hole: {output}");
        }
    };
    named(mounts.run(&[], ["check", "--live", policy]).ends(0));
    named(mounts.run(&[], ["apply", "--dry-run", policy]).ends(0));
    named(mounts.run(&[], ["apply", policy]).ends(0));
    named(mounts.run(&[], ["status"]).ends(0));
    let status = Status(mounts.run(&[], ["status", "--json"]).ends(0).json());
    let uncovered = status.uncovered();
    assert!(uncovered.contains_key("eth2") && uncovered["vx0"].contains("tunnel"), "{uncovered:?}");
    assert!(!uncovered.contains_key("eth1") && !uncovered.contains_key("eth3"), "{uncovered:?}");
    let report = mounts.run(&[], ["check", "--live", "--json", policy]).ends(0).json();
    assert_eq!(report["uncovered"], status.0["uncovered"]);
    mounts.run(&[], ["detach", "--all"]).ends(0);
}
