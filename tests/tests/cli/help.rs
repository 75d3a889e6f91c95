//! `help`: of commands, as clap shows it, and of reasons.

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

use super::support::Lab;

fn names() -> impl Iterator<Item = &'static str> {
    let of_interfaces = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    Reason::ALL.into_iter().map(Reason::name).chain(of_interfaces)
}

#[test]
fn help_of_a_command_is_what_its_option_shows() {
    let lab = Lab::new();
    let shown = |arguments: &[&str]| lab.run(arguments).ends(0).stdout;
    assert_eq!(shown(&["help"]), shown(&["--help"]));
    for command in
        ["init", "check", "apply", "status", "stats", "replay", "explain", "detach", "help"]
    {
        assert_eq!(shown(&["help", command]), shown(&[command, "--help"]), "{command}");
        assert!(shown(&["help"]).contains(&format!("\n  {command}")), "{command}");
    }
}

#[test]
fn help_of_what_is_not_there_is_wrong_usage_with_a_suggestion() {
    let lab = Lab::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["chek"], &["'chek'", "'check'"]),
        (&["check", "policy.toml"], &["'policy.toml'"]),
        (&["reason", "label_spoofd"], &["'label_spoofd'", "'label_spoofed'", "ttl_zero"]),
        (&["reason"], &["<NAME>"]),
        (&["reason", "ttl_zero", "ttl_zero"], &["'ttl_zero'"]),
        (&["--fast"], &["'--fast'"]),
    ];
    for (words, expected) in cases {
        let output = lab.run(["help"].iter().chain(*words)).ends(2).says(expected);
        assert_eq!(output.stdout, "", "{output}");
    }
}

#[test]
fn the_reasons_are_listed_in_the_order_of_the_checks() {
    let lab = Lab::new();
    let output = lab.run(["help", "reasons"]).ends(0).prints(&["REASON", "help reason NAME"]);
    let table = output.stdout.lines().skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<_> = table.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, names().collect::<Vec<_>>());
}

#[test]
fn every_reason_has_its_page() {
    let lab = Lab::new();
    for name in names() {
        let output = lab.run(["help", "reason", name]).ends(0).prints(&[
            "WHAT IS CHECKED\n  ",
            "USUAL INNOCENT CAUSE\n  ",
            "USUAL ATTACK\n  ",
            "WHAT TO LOOK AT NEXT\n  - ",
        ]);
        assert!(output.stdout.starts_with(&format!("{name} (")), "{output}");
        let widest = output.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{output}");
    }
    let page = lab.run(["help", "reason", "label_out_of_vrf"]).stdout;
    assert!(page.starts_with(
        "label_out_of_vrf (RFC 4364 §13.1)\n\
         The label leads into a VRF that the ingress does not accept.\n"
    ));
}
