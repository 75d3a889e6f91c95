//! `check`.

use super::support::{Lab, Output, core, ip};

const POLICY: &str = r#"version = 1
[contexts.red]
kind = "vrf"
labels = [100, "1000-2999"]
[contexts.unused]
kind = "transport"
labels = [50]
[ingress.ce]
interface = "eth1"
role = "customer"
[ingress.peer]
interface = "eth2"
vlan = [100]
role = "peer"
contexts = ["red"]
labels = ["24000-24063"]
max-depth = 1
mode = "monitor"
"#;

#[test]
fn it_summarises_without_root() {
    let lab = Lab::new();
    // Neither the folder nor the file of a store is open to others.
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let binary = folder.path().join("mpls-xdp");
    std::fs::copy(mpls_xdp_tests::product::binary().unwrap(), &binary).unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    for options in [&[][..], &["--live"]] {
        let mut command = lab.router.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        Output::of(command.arg(&binary).arg("check").arg(&policy).args(options))
            .ends(0)
            .prints(&["is valid", "red", "vrf", "2,001", "eth2", "100", "monitor", "64 own labels"])
            .says(&["warning", "unused"]);
    }
}

#[test]
fn the_fields_of_json() {
    let lab = Lab::new();
    let policy = lab.policy(POLICY);
    let report = lab.run(["check", "--json", policy.to_str().unwrap()]).ends(0).json();
    assert_eq!(report["schema"], 1);
    assert_eq!(report["valid"], true);
    assert_eq!(report["errors"].as_array().unwrap().len(), 0);
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(report["contexts"], 2);
    assert_eq!(report["labels"], 2_002);
    assert_eq!(report["interfaces"], 2);
    assert_eq!(report["ingresses"], 2);
    assert!(report.get("uncovered").is_none(), "{report}");
    let warning = &report["warnings"][0];
    assert_eq!(warning["severity"], "warning");
    assert_eq!(warning["line"], 5);
    for field in ["code", "message", "file", "offending", "help"] {
        assert!(warning[field].is_string(), "{field} of {warning}");
    }
    assert!(warning["column"].is_u64() && warning["related"].is_array(), "{warning}");
}

#[test]
fn json_has_the_errors_of_an_invalid_policy() {
    let lab = Lab::new();
    let policy = lab.policy("version = 1\n[contexts.a]\nkind = \"vrf\"\nlabels = [3, 7]\n");
    let report = lab.run(["check", "--json", policy.to_str().unwrap()]).ends(3).json();
    assert_eq!(report["valid"], false);
    let errors = report["errors"].as_array().unwrap();
    let places: Vec<_> =
        errors.iter().map(|error| (error["line"].as_u64(), error["column"].as_u64())).collect();
    assert_eq!(places, [(Some(4), Some(11)), (Some(4), Some(14))]);
}

#[test]
fn live_compares_with_the_interfaces() {
    let lab = Lab::new();
    let policy = lab.policy(POLICY);
    let policy = policy.to_str().unwrap();
    let output = lab.run(["check", policy]).ends(0);
    assert!(!output.stderr.contains("eth1"), "{output}");
    lab.run(["check", "--live", policy]).ends(0).says(&["warning", "eth1", "eth2"]);
    let _wire = lab.wire("eth1");
    let output = lab.run(["check", "--live", policy]).ends(0).says(&["eth2"]);
    assert!(!output.stderr.contains("\"eth1\""), "{output}");
    let report = lab.run(["check", "--live", "--json", policy]).ends(0).json();
    assert_eq!(report["uncovered"].as_array().unwrap().len(), 0);
}

#[test]
fn live_refuses_a_vlan_device_as_interface() {
    let lab = Lab::new();
    if !mpls_xdp_tests::lab::kernel_has(mpls_xdp_tests::lab::InfoKind::Vlan).unwrap() {
        // `router::links` has the same case without a kernel.
        return;
    }
    let _wire = lab.wire("eth1");
    ip(&lab.router, "link add link eth1 name eth1.100 type vlan id 100");
    let policy = core(&["eth1.100"], "100");
    lab.apply(&policy).ends(3).says(&["eth1.100", "vlan = [100]"]);
    let path = lab.policy(&policy);
    lab.run(["check", "--live", path.to_str().unwrap()]).ends(3).says(&["vlan = [100]"]);
}
