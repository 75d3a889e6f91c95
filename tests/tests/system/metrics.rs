//! The unit that answers Prometheus, with the protection it has on a router.

use super::units::booted;

/// A script that prints what the unit answers a scrape.
const SCRAPE: &str = "exec 3<> /dev/tcp/127.0.0.1/9669
    printf 'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3
    cat <&3";

#[test]
fn the_unit_answers_under_its_own_protection() {
    let mut machine = booted();
    machine.run("systemctl start mpls-xdp-metrics");
    machine.wait_until(&format!("({SCRAPE}) 2> /dev/null | grep --quiet '^HTTP/1.1 200'"));
    let answer = machine.run(SCRAPE);
    let expected = [
        "mpls_xdp_policy_in_force 1",
        "mpls_xdp_generation 1",
        r#"mpls_xdp_interface_attached{interface="eth1",mode="native"} 1"#,
        r#"mpls_xdp_interface_attached{interface="eth2",mode="none"} 0"#,
        r#"mpls_xdp_accepted_packets_total{ingress="one",interface="eth1",rule="red"} 0"#,
        r#"mpls_xdp_dropped_packets_total{ingress="one",interface="eth1",reason="ttl_zero"} 0"#,
    ];
    for line in expected {
        assert!(answer.lines().any(|found| found == line), "no {line} in\n{answer}");
    }
    // Its protection is on: it has the one capability, and the filter's pins are read-only for it.
    let of_it = "$(systemctl show --property MainPID --value mpls-xdp-metrics)";
    let bound = machine.run(&format!("grep CapBnd /proc/{of_it}/status"));
    assert_eq!(bound.split_whitespace().last(), Some("0000008000000000"), "CAP_BPF alone");
    machine.run(&format!("grep Seccomp: /proc/{of_it}/status | grep --quiet 2"));
    machine.run(&format!("grep ' /sys/fs/bpf ' /proc/{of_it}/mountinfo | grep --quiet ' ro'"));
}
