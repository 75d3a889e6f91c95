//! 1, 2 and 3; 4 is in `privileges` and 5 in `foreign`.

use super::support::{Lab, Output, core, is_bare};

#[test]
fn wrong_usage_is_2() {
    let lab = Lab::new();
    let policy = lab.policy(&core(&["eth1"], "100"));
    let policy = policy.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["fly"], "fly"),
        (&["explain", policy, "--interface", "eth1"], "--stack"),
        (&["explain", policy, "--stack", "100"], "--interface"),
        (&["explain", policy, "--interface", "eth1", "--stack", "1/8"], "`8` is no traffic class"),
        (&["explain", policy, "--interface", "eth1", "--stack", "1", "--frame", "00"], "--frame"),
        (&["explain", policy, "--interface", "eth1", "--stack", "1", "--number", "1"], "--number"),
        (&["explain", policy, "--interface", "eth1", "--frame", "0g"], "`g`"),
        (&["explain", policy, "--interface", "eth1", "--frame", "00", "--vlan", "1"], "--vlan"),
        (&["explain", policy, "--interface", "eth1", "--frame", "00", "--upstream"], "--upstream"),
        (&["explain", policy, "--interface", "eth1", "--pcap", "a.pcap"], "--number"),
        (&["explain", policy, "--interface", "eth1", "--pcap", "a", "--number", "0"], "0"),
        (&["explain", policy, "--interface", "eth1", "--stack", "1", "--vlan", "4096"], "4096"),
        (&["init", "--force"], "--output"),
        (&["init", "policy.toml"], "policy.toml"),
        (&["confirm", policy], policy),
        (&["rollback", policy], policy),
        (&["status", "--colour"], "--colour"),
        (&["check"], "<POLICY>"),
        (&["apply"], "<POLICY>"),
        (&["apply", policy, "--mode", "foo"], "foo"),
        (&["apply", policy, "--confirm-within"], "--confirm-within"),
        (&["apply", policy, policy], policy),
        (&["apply", policy, "--json"], "--dry-run"),
        (&["replay", policy, "--interface", "eth1"], "<FILE>"),
        (&["replay", policy, "capture.pcap"], "--interface"),
        (&["replay", policy, "--interface", "a/b", "capture.pcap"], "a/b"),
        (&["detach"], "--interface"),
        (&["detach", "--json"], "--interface"),
        (&["detach", "--all", "--interface", "eth1"], "--all"),
        (&["stats", "--watch", "0"], "0"),
        (&["stats", "--watch", "soon"], "soon"),
    ];
    for (arguments, word) in cases {
        let output = lab.run(*arguments).ends(2).says(&[word]);
        assert_eq!(output.stdout, "", "{output}");
    }
    assert!(is_bare(lab.store.bpffs()));
}

#[test]
fn help_and_version_are_0() {
    let lab = Lab::new();
    lab.run(["--help"]).ends(0).prints(&[
        "check", "apply", "confirm", "rollback", "history", "status", "stats", "replay", "detach",
    ]);
    lab.run(["--help"]).ends(0).prints(&["metrics", "top"]);
    lab.run(["--help"]).ends(0).prints(&["Exit codes", "5 another XDP program"]);
    lab.run(["--version"]).ends(0).prints(&["mpls-xdp 0."]);
    lab.run(["apply", "--help"]).ends(0).prints(&["--dry-run", "--replace", "generic"]);
}

#[test]
fn a_policy_that_cannot_be_read_is_1() {
    let lab = Lab::new();
    let replay = ["replay", "--interface", "eth1", "/nowhere/policy.toml", "capture.pcap"];
    for verb in
        [&["check", "/nowhere/policy.toml"][..], &["apply", "/nowhere/policy.toml"], &replay]
    {
        lab.run(verb).ends(1).says(&["/nowhere/policy.toml", "No such file"]);
    }
    lab.run(["check", "/"]).ends(1).says(&["cannot read /", "directory"]);
    let binary = lab.file("binary.toml", [0xff, 0xfe, 0x00]);
    lab.run([std::ffi::OsStr::new("check"), binary.as_ref()])
        .ends(1)
        .says(&["binary.toml", "UTF-8"]);
}

#[test]
fn an_invalid_policy_is_3_and_changes_nothing() {
    let (lab, wire) = Lab::filtering("eth1");
    let before = lab.healthy();
    let invalid = "version = 1\n\
                   [contexts.red]\n\
                   kind = \"vrf\"\n\
                   labels = [3, \"900-800\"]\n\
                   [ingress.a]\n\
                   interface = \"eth1\"\n\
                   role = \"cor\"\n\
                   contexts = [\"blue\"]\n";
    // A place for each error, all of them in one go.
    let places = [":4:11", ":4:14", ":7:8", ":8:13"];
    let words = ["3", "900-800", "cor", "blue", "16", "1048575", "core", "nothing was changed"];
    let output = lab.apply(invalid).ends(3).says(&places).says(&words);
    assert_eq!(output.stdout, "", "{output}");
    let policy = lab.policy(invalid);
    let policy = policy.to_str().unwrap();
    lab.run(["apply", "--dry-run", policy]).ends(3).says(&places);
    lab.run(["check", policy]).ends(3).says(&places);
    lab.run(["check", "--live", policy]).ends(3).says(&places);
    lab.run(["replay", policy, "--interface", "eth1", "capture.pcap"]).ends(3).says(&places);
    lab.run(["explain", policy, "--interface", "eth1", "--stack", "100"]).ends(3).says(&places);
    for text in ["", "version = 2\n", "version = 1\n[ingress", "version = 1\nversion = 1\n"] {
        lab.apply(text).ends(3);
    }
    assert_eq!(lab.healthy(), before);
    assert_eq!(wire.passes(&[100, 200]), [true, false]);
}

#[test]
fn without_a_policy_in_force_commands_say_so() {
    let lab = Lab::new();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["stats"],
        &["capture"],
        &["suggest"],
        &["detach", "--interface", "eth1"],
    ] {
        lab.run(arguments).ends(1).says(&["no policy is applied", "mpls-xdp apply"]);
    }
    assert!(is_bare(lab.store.bpffs()));
}

#[test]
fn a_folder_that_is_no_bpffs_is_1() {
    let lab = Lab::new();
    let policy = lab.policy(&core(&["eth1"], "100"));
    for folder in [lab.store.directory().to_str().unwrap(), "/nowhere"] {
        for arguments in [&["apply", policy.to_str().unwrap()][..], &["status"], &["stats"]] {
            let mut command = lab.router.command(mpls_xdp_tests::product::binary().unwrap());
            command.args(arguments).args(["--bpffs", folder, "--state-dir"]);
            Output::of(command.arg(lab.store.state())).ends(1).says(&[
                folder,
                "not a BPF file system",
                "mount -t bpf",
            ]);
        }
    }
}
