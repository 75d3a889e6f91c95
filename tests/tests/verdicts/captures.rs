//! Captures that others recorded, frame by frame through all judges.
//!
//! The numbers were counted in the files by hand, with a reader that shares nothing with this
//! project; `tests/data/captures/README.md` says what the files hold.

use std::path::Path;

use mpls_xdp::capture::{self, CaptureError};

use crate::judges::{Judges, Tally, kind};

const BASIC: &str = "mpls-basic.pcap";
const AMONG_VLANS: &str = "mixed-vlan-mpls.pcap";
const UNDER_TAGS: &str = "mpls-in-vlan.pcap";
const OVER_UDP: &str = "mpls-over-udp.pcap";
const UPSTREAM: &str = "mpls-label-heapoverflow.pcap";

/// Accepts what the captures hold.
const OPEN: &str = r#"
version = 1
[contexts.seen]
kind = "transport"
labels = [29, 16106]
[ingress.core]
interface = "eth0"
role = "core"
contexts = ["seen"]
[ingress.tagged]
interface = "eth0"
vlan = [3399]
role = "peer"
labels = [254]
"#;

/// Gives out what the captures hold, but to others.
const TIGHT: &str = r#"
version = 1
[contexts.vpn]
kind = "vrf"
labels = [29]
[contexts.own]
kind = "transport"
labels = [254]
pops = true
[ingress.untagged]
interface = "eth0"
role = "peer"
contexts = ["own"]
[ingress.tagged]
interface = "eth0"
vlan = [3399]
role = "core"
contexts = ["own", "vpn"]
[ingress.other]
interface = "eth1"
role = "peer"
labels = [16106]
"#;

/// Knows one customer's VLAN only.
const CUSTOMER: &str = r#"
version = 1
[ingress.customer]
interface = "eth0"
vlan = [3399]
role = "customer"
mode = "monitor"
"#;

fn replay(policy: &str, file: &str) -> Tally {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures").join(file);
    let mut judges = Judges::new(policy);
    let mut tally = Tally::new();
    capture::for_each_frame(&path, |frame| {
        *tally.entry(kind(&judges.judge("eth0", frame))).or_default() += 1;
        Ok::<_, CaptureError>(())
    })
    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    tally
}

fn check(policy: &str, expected: &[(&str, &[(&'static str, usize)])]) {
    for (file, counts) in expected {
        let counts: Tally = counts.iter().copied().collect();
        assert_eq!(replay(policy, file), counts, "{file} under{policy}");
    }
}

#[test]
fn a_policy_that_knows_the_labels_accepts_them() {
    check(
        OPEN,
        &[
            // 58 frames: 17 with label 29, S and TTL 254 or 255; the others are not MPLS.
            (BASIC, &[("accepted", 17), ("untouched", 41)]),
            // 47 frames: 11 with label 29; 14 IPv4 in VLAN 4093; 22 IPv4 without a tag.
            (AMONG_VLANS, &[("accepted", 11), ("untouched", 36)]),
            // 3 frames: IPv4 in VLAN 3199; 16106 under a priority tag; 254 and 99 in VLAN 3399.
            (UNDER_TAGS, &[("accepted", 2), ("untouched", 1)]),
            // 2 frames of IPv4 at the port; what is in the tunnel does not show.
            (OVER_UDP, &[("untouched", 2)]),
            // 1 frame of type 0x8848.
            (UPSTREAM, &[("upstream_not_allowed", 1)]),
        ],
    );
}

#[test]
fn a_policy_that_gave_the_labels_to_others_refuses_them() {
    check(
        TIGHT,
        &[
            (BASIC, &[("label_out_of_vrf", 17), ("untouched", 41)]),
            (AMONG_VLANS, &[("label_out_of_vrf", 11), ("untouched", 36)]),
            // 254 is popped, and 99 below it was given to nobody.
            (UNDER_TAGS, &[("label_out_of_range", 1), ("label_spoofed", 1), ("untouched", 1)]),
            (OVER_UDP, &[("untouched", 2)]),
            (UPSTREAM, &[("upstream_not_allowed", 1)]),
        ],
    );
}

#[test]
fn a_policy_that_knows_a_customer_only_binds_nothing_else() {
    check(
        CUSTOMER,
        &[
            (BASIC, &[("ingress_unbound", 17), ("untouched", 41)]),
            (AMONG_VLANS, &[("ingress_unbound", 11), ("untouched", 36)]),
            (UNDER_TAGS, &[("ingress_unbound", 1), ("mpls_not_enabled", 1), ("untouched", 1)]),
            (OVER_UDP, &[("untouched", 2)]),
            (UPSTREAM, &[("ingress_unbound", 1)]),
        ],
    );
}
