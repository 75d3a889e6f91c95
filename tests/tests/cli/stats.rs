//! `stats`: the table, the JSON, and watching.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use super::support::{Lab, Output, core};

/// §5 of the semantics.
const REASONS: [&str; 18] = [
    "mpls_not_enabled",
    "upstream_not_allowed",
    "stack_too_deep",
    "truncated",
    "ttl_zero",
    "implicit_null",
    "reserved_label",
    "mna_at_bottom",
    "special_label_not_allowed",
    "router_alert_at_bottom",
    "eli_at_bottom",
    "entropy_label_reserved",
    "xl_at_bottom",
    "extended_label_invalid",
    "extended_label_not_allowed",
    "label_out_of_vrf",
    "label_spoofed",
    "label_out_of_range",
];

#[test]
fn json_is_as_the_semantics_say() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    lab.apply(
        "version = 1\n[contexts.red]\nkind = \"vrf\"\nlabels = [100]\n[ingress.peer]\n\
         interface = \"eth1\"\nrole = \"peer\"\ncontexts = [\"red\"]\nlabels = [300]\n\
         mode = \"monitor\"\nmax-depth = 1\n[ingress.tagged]\ninterface = \"eth1\"\n\
         vlan = [200, 100]\nrole = \"customer\"\n",
    )
    .ends(0);
    assert_eq!(wire.passes(&[100, 100, 300, 200]), [true; 4]);
    let none = json!({"packets": 0, "bytes": 0});
    let length = mpls_xdp_tests::frame::Frame::mpls([100]).build().len();
    let row = |packets: usize| json!({"packets": packets, "bytes": packets * length});
    let reasons = |unknown: usize| {
        let mut reasons: serde_json::Map<_, _> =
            REASONS.iter().map(|name| ((*name).to_owned(), none.clone())).collect();
        reasons["label_out_of_range"] = row(unknown);
        reasons
    };
    let rule = |name: &str, packets: usize| json!({"rule": name, "packets": packets, "bytes": packets * length});
    let expected = json!({
        "schema": 1,
        "generation": 1,
        "interfaces": [
            {"interface": "eth1", "attached": "native", "unbound": none, "vlan_too_deep": none}
        ],
        "ingresses": [
            {
                "ingress": "peer", "interface": "eth1", "vlan": [], "mode": "monitor",
                "accepted": row(3), "dropped": none, "would_drop": row(1), "reasons": reasons(1),
                "rules": [rule("red", 2), rule("labels", 1), rule("special", 0)]
            },
            {
                "ingress": "tagged", "interface": "eth1", "vlan": [200, 100], "mode": "enforce",
                "accepted": none, "dropped": none, "would_drop": none, "reasons": reasons(0),
                "rules": [rule("special", 0)]
            }
        ]
    });
    assert_eq!(lab.run(["stats", "--json"]).ends(0).json(), expected);
    let one = lab.run(["stats", "--json", "tagged"]).ends(0).json();
    assert_eq!(one["ingresses"], json!([expected["ingresses"][1]]));
    lab.run(["stats", "nobody"]).ends(1).says(&["nobody", "peer", "tagged"]);
    lab.take_down();
}

#[test]
fn the_table_is_for_people() {
    let (lab, wire) = Lab::filtering("eth1");
    let labels: Vec<u32> = (0..1_100).map(|_| 100).chain([200, 200]).collect();
    wire.passes(&labels);
    let output = lab.run(["stats"]).ends(0).prints(&["1,100", "label_out_of_range", "rule core"]);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[0], "generation 1");
    let header = lines.iter().position(|line| line.starts_with("WHERE")).unwrap();
    // Numbers end where their heading ends.
    let end = lines[header].find("PACKETS").unwrap() + "PACKETS".len();
    let rows: Vec<&&str> = lines[header + 1..].iter().take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() >= 4, "{output}");
    for row in &rows {
        assert!(
            row.as_bytes()[end - 1].is_ascii_digit() && row.as_bytes()[end] == b' ',
            "{output}"
        );
    }
    for silent in ["ttl_zero", "truncated", "unbound", "special"] {
        assert!(!output.stdout.contains(silent), "{silent} counted nothing: {output}");
    }
    let all = lab.run(["stats", "--all"]).ends(0).prints(&REASONS);
    all.prints(&["unbound", "vlan_too_deep", "rule special"]);
    lab.take_down();
}

#[test]
fn watching_shows_rates() {
    let (lab, wire) = Lab::filtering("eth1");
    let mut watch = lab.command(["stats", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.find(|line| line.starts_with("WHERE")).unwrap();
    assert!(!first.contains("PACKETS/S"), "{first}");
    wire.passes(&[100; 500]);
    let second = lines.find(|line| line.starts_with("WHERE")).unwrap();
    assert!(second.contains("PACKETS/S") && second.contains("BITS/S"), "{second}");
    let row = lines.find(|line| line.contains("accepted") && line.contains(" 500 ")).unwrap();
    let [.., packets, _bytes, rate, bits] = row.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{row}")
    };
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    assert_eq!(packets, "500");
    assert!((1..=500).contains(&number(rate)) && number(bits) > number(rate), "{row}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    lab.take_down();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (lab, _wire) = Lab::filtering("eth1");
    let mut watch = lab
        .command(["stats", "--watch", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let output = Output::new("watch".into(), watch.wait_with_output().unwrap());
    assert_eq!(output.ends(0).stderr, "");
    lab.apply(&core(&["eth1"], "100")).ends(0);
    lab.take_down();
}
