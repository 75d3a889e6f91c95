//! `diff`: what a policy would change, and what for the traffic that was counted.

use serde_json::{Value, json};

use super::support::{Lab, Wire};

/// A peer and a core on one port each; labels 100 to 109 lead into VRF red.
fn policy(peer: &str, mode: &str) -> String {
    format!(
        r#"version = 1
defaults.mode = "{mode}"
[contexts.red]
kind = "vrf"
labels = ["100-109"]
[contexts.core]
kind = "transport"
labels = ["1000-1999"]
[ingress.peer]
interface = "eth1"
role = "peer"
{peer}
[ingress.core]
interface = "eth2"
role = "core"
contexts = ["core", "red"]
"#
    )
}

const MONITORED: &str = "mode = \"monitor\"\ncontexts = [\"red\"]\nlabels = [\"500-509\"]";

impl Lab {
    /// A lab in which the policy with this peer is in force.
    fn with_peer(peer: &str) -> (Self, [Wire; 2]) {
        let lab = Self::new();
        let wires = ["eth1", "eth2"].map(|name| lab.wire(name));
        lab.apply(&policy(peer, "monitor")).ends(0);
        (lab, wires)
    }

    /// What `diff --json` says of a policy.
    fn diff(&self, policy: &str) -> Value {
        let path = self.policy(policy);
        self.run(["diff", "--json", path.to_str().unwrap()]).ends(0).json()
    }

    /// Place, fate, packets and whether that is the most that it can be.
    fn consequences(&self, policy: &str) -> Vec<Value> {
        let diff = self.diff(policy);
        assert!(diff["traffic"]["since"].as_u64().unwrap() > 1_700_000_000);
        let consequences = diff["traffic"]["consequences"].as_array().unwrap().iter();
        consequences
            .map(|found| {
                let of = |field: &str| found[field].clone();
                let place = if of("ingress").is_null() { of("interface") } else { of("ingress") };
                json!([place, of("rule"), of("fate"), of("packets"), of("at_most")])
            })
            .collect()
    }
}

#[test]
fn what_changes_is_counted_by_context_ingress_and_rule() {
    let (lab, _wires) = Lab::with_peer(MONITORED);
    let before = lab.healthy();
    let changed = policy("contexts = []\nlabels = [\"505-529\"]\nmax-depth = 1", "monitor")
        .replace("\"1000-1999\"", "\"1100-1999\"")
        + "[contexts.blue]\nkind = \"vrf\"\nlabels = [200]\n\
           [ingress.new]\ninterface = \"eth2\"\nvlan = [7]\nrole = \"customer\"\n";
    let diff = lab.diff(&changed);
    assert_eq!((&diff["schema"], &diff["from"]["generation"]), (&json!(1), &json!(1)));
    assert_eq!(diff["from"]["digest"], before.0["digest"]);
    assert_ne!(diff["to"]["digest"], before.0["digest"]);
    assert_eq!(diff["defaults"], json!([]));
    let core = json!({"context": "core", "change": "changed", "fields": [],
                      "labels": {"added": 0, "removed": 100}});
    assert_eq!(diff["contexts"][0], core);
    assert_eq!(diff["contexts"][1]["change"], "added");
    let peer = &diff["ingresses"][0];
    let depth = json!([{"field": "max-depth", "from": "16", "to": "1"}]);
    assert_eq!(peer["fields"], depth);
    let rules = json!([
        {"rule": "labels", "change": "changed", "labels": {"added": 20, "removed": 5}},
        {"rule": "red", "change": "removed", "labels": {"added": 0, "removed": 10}},
    ]);
    assert_eq!(peer["rules"], rules);
    assert_eq!(diff["ingresses"][1]["ingress"], "new");
    assert_eq!(diff["traffic"]["consequences"], json!([]));
    assert_eq!(diff["traffic"]["untold"].as_array().unwrap().len(), 1);

    let path = lab.policy(&changed);
    let human = lab.run(["diff", path.to_str().unwrap()]).ends(0);
    let human = human.prints(&["generation 1", "context core: labels -100", "+ context blue"]);
    let human = human.prints(&["max-depth 16 -> 1", "own labels +20 -5", "-rule red (10 labels)"]);
    human.prints(&["+ ingress new", "no counter shows", "how many entries"]);
    let dry = lab.run(["apply", "--dry-run", path.to_str().unwrap()]).ends(0);
    dry.prints(&["context core: labels -100", "keep filtering", "Nothing was changed."]);
    assert_eq!(lab.healthy(), before);
    lab.take_down();
}

#[test]
fn a_dry_run_as_json_is_the_difference_and_what_happens_to_interfaces() {
    let (lab, [wire, _core]) = Lab::with_peer(MONITORED);
    let _third = lab.wire("eth3");
    let before = lab.healthy();
    let moved = policy(MONITORED, "monitor").replace("eth2", "eth3");
    let difference = lab.diff(&moved);
    let path = lab.policy(&moved);
    let path = path.to_str().unwrap();
    wire.port.set_feature("rx-vlan-hw-parse", true).unwrap();
    let dry = |options: &[&str]| {
        let output = lab.run([&["apply", path, "--dry-run", "--json"], options].concat()).ends(0);
        assert_eq!(output.stdout.lines().count(), 1, "{output}");
        (output.json(), output)
    };
    let (mut said, _) = dry(&[]);
    let interfaces = json!({
        "generation": 2,
        "attach": ["eth3"],
        "keep": ["eth1"],
        "other_mode": [],
        "replace": [],
        "detach": ["eth2"],
        "offloads": [
            {"interface": "eth1", "offload": "rx-vlan-offload"},
            {"interface": "eth3", "offload": "rx-vlan-offload"},
            {"interface": "eth3", "offload": "rx-vlan-stag-hw-parse"},
        ],
        "uncovered": [],
    });
    for (name, value) in interfaces.as_object().unwrap() {
        assert_eq!(said.as_object_mut().unwrap().remove(name).as_ref(), Some(value), "{name}");
    }
    assert_eq!(said, difference);
    assert_eq!(dry(&["--mode", "generic"]).0["other_mode"], json!(["eth1"]));
    wire.port.set_feature("rx-vlan-hw-parse", false).unwrap();
    assert_eq!(lab.healthy(), before);

    // Without the text of the policy in force nothing can be compared, but all else is known.
    let folder = lab.store.state().join(format!("netns-{}", lab.router.id().cookie));
    std::fs::remove_file(folder.join("history.json")).unwrap();
    let (said, output) = dry(&[]);
    let why = said["not_compared"].as_str().unwrap();
    assert!(why.contains("not in the history"), "{why}");
    assert_eq!((&said["schema"], &said["attach"]), (&json!(1), &json!(["eth3"])));
    assert_eq!(said.get("from"), None);
    output.says(&["no comparison"]);
    lab.run(["apply", "/nowhere", "--dry-run", "--json"]).ends(1);
    let invalid = lab.file("invalid.toml", "version = 2\n");
    let output = lab.run(["apply", "--dry-run", "--json", invalid.to_str().unwrap()]).ends(3);
    assert_eq!(output.stdout, "");
    lab.take_down();
}

#[test]
fn traffic_of_rules_that_go_would_be_refused() {
    let (lab, [peer, core]) = Lab::with_peer(MONITORED);
    peer.passes(&[100, 100, 500, 501, 502, 900]);
    core.passes(&[1_000, 1_500]);
    let without_red = policy("mode = \"monitor\"\nlabels = [\"500-509\"]", "monitor");
    assert_eq!(lab.consequences(&without_red), [json!(["peer", "red", "would-drop", 2, false])]);
    // Half of the labels go; which of them had the traffic is not counted.
    let fewer = policy("contexts = [\"red\"]\nlabels = [\"500-504\"]", "monitor");
    let expected = [json!(["peer", "labels", "would-drop", 3, true])];
    assert_eq!(lab.consequences(&fewer), expected);
    let elsewhere = policy(
        "mode = \"monitor\"\ncontexts = [\"red\"]\nlabels = [\"100-109\", \"500-509\"]",
        "monitor",
    )
    .replace("labels = [\"100-109\"]\n[contexts.core]", "labels = [99]\n[contexts.core]");
    // What another rule accepts is not lost; the core has none for it.
    let consequences = lab.consequences(&elsewhere);
    assert_eq!(consequences, [] as [Value; 0]);
    core.passes(&[100]);
    assert_eq!(lab.consequences(&elsewhere), [json!(["core", "red", "would-drop", 1, false])]);
    let path = lab.policy(&without_red);
    lab.run(["diff", path.to_str().unwrap()]).ends(0).prints(&[
        "peer: 2 frames",
        "would be counted as would-drop",
        "no label of red",
        "since 2",
    ]);
    lab.take_down();
}

#[test]
fn traffic_that_only_monitoring_let_pass_would_be_dropped() {
    let (lab, [peer, core]) = Lab::with_peer(MONITORED);
    peer.passes(&[100, 900, 901, 1_000]);
    core.passes(&[3_000]);
    let enforced = MONITORED.replace("monitor", "enforce");
    let expected = [json!(["peer", null, "dropped", 3, false])];
    assert_eq!(lab.consequences(&policy(&enforced, "monitor")), expected);
    let diff = lab.diff(&policy(&enforced, "monitor"));
    let why = diff["traffic"]["consequences"][0]["why"].as_str().unwrap();
    assert!(why.contains("label_out_of_range") && why.contains("label_spoofed"), "{why}");
    // More is accepted at the same time: some of the three may be that.
    let more = enforced.replace("\"500-509\"", "\"500-509\", 900");
    let expected = [json!(["peer", null, "dropped", 3, true])];
    assert_eq!(lab.consequences(&policy(&more, "monitor")), expected);
    // The core follows the default.
    let consequences = lab.consequences(&policy(MONITORED, "enforce"));
    assert_eq!(consequences, [json!(["core", null, "dropped", 1, false])]);

    lab.apply(&policy(&enforced, "monitor")).ends(0);
    assert_eq!(lab.consequences(&policy(MONITORED, "monitor")), [] as [Value; 0]);
    assert_eq!(peer.passes(&[100, 900]), [true, false]);
    let expected = [json!(["peer", null, "passed", 1, false])];
    assert_eq!(lab.consequences(&policy(MONITORED, "monitor")), expected);
    lab.take_down();
}

#[test]
fn frames_lose_their_ingress_or_their_filter() {
    let (lab, [peer, _core]) = Lab::with_peer(MONITORED);
    peer.passes(&[100, 900]);
    let tagged = policy(&format!("vlan = [7]\n{MONITORED}"), "enforce");
    let expected = [json!(["peer", null, "dropped", 2, false])];
    assert_eq!(lab.consequences(&tagged), expected);
    let moved = policy(MONITORED, "monitor").replace("eth1", "eth9");
    assert_eq!(lab.consequences(&moved), [json!(["peer", null, "unfiltered", 2, false])]);
    let untold = &lab.diff(&moved)["traffic"]["untold"];
    assert!(untold[0].as_str().unwrap().contains("eth9"), "{untold}");

    lab.apply(&policy(&format!("vlan = [7]\n{MONITORED}"), "monitor")).ends(0);
    peer.passes(&[100]);
    assert_eq!(lab.consequences(&tagged), [json!(["eth1", null, "dropped", 1, false])]);
    lab.take_down();
}

#[test]
fn only_the_policy_in_force_has_counted() {
    let (lab, [peer, _core]) = Lab::with_peer(MONITORED);
    let without_red = policy("mode = \"monitor\"\nlabels = [\"500-509\"]", "monitor");
    peer.passes(&[100, 100]);
    lab.apply(&policy(&format!("max-depth = 4\n{MONITORED}"), "monitor")).ends(0);
    // The counters go on, but these two frames were there before.
    assert_eq!(lab.packets("peer", "/rules/0"), 2);
    assert_eq!(lab.consequences(&without_red), [] as [Value; 0]);
    peer.passes(&[100]);
    assert_eq!(lab.consequences(&without_red), [json!(["peer", "red", "would-drop", 1, false])]);
    // The same policy once more begins nothing anew.
    lab.apply(&policy(&format!("max-depth = 4\n{MONITORED}"), "monitor")).ends(0);
    assert_eq!(lab.consequences(&without_red), [json!(["peer", "red", "would-drop", 1, false])]);
    // Without the reading of that moment it is what was ever counted, at most.
    let folder = lab.store.state().join(format!("netns-{}", lab.router.id().cookie));
    std::fs::remove_file(folder.join("counters.json")).unwrap();
    let traffic = &lab.diff(&without_red)["traffic"];
    assert_eq!(traffic["since"], Value::Null);
    let consequence = &traffic["consequences"][0];
    assert_eq!((&consequence["packets"], &consequence["at_most"]), (&json!(3), &json!(true)));
    // Nothing comes in while this looks.
    let path = lab.policy(&without_red);
    let watched = lab.run(["diff", "--watch", "1s", path.to_str().unwrap()]).ends(0);
    watched.prints(&["no counter shows"]).says(&["counting for 1 s"]);
    lab.take_down();
}

#[test]
fn the_same_policy_and_the_first_one() {
    let lab = Lab::new();
    let _wires = ["eth1", "eth2"].map(|name| lab.wire(name));
    let first = lab.diff(&policy(MONITORED, "monitor"));
    assert_eq!((&first["from"], &first["traffic"]), (&Value::Null, &Value::Null));
    assert_eq!(first["ingresses"].as_array().unwrap().len(), 2);
    let path = lab.policy(&policy(MONITORED, "monitor"));
    let path = path.to_str().unwrap();
    lab.run(["diff", path]).ends(0).prints(&["No policy is in force", "+ ingress peer"]);
    lab.run(["diff", "--watch", "1s", path]).ends(1).says(&["no policy is applied"]);
    lab.run(["apply", path]).ends(0);
    lab.run(["diff", path]).ends(0).prints(&["nothing changes"]);
    lab.run(["diff", "--watch", "soon", path]).ends(2);
    let invalid = lab.file("invalid.toml", "version = 2\n");
    lab.run(["diff", invalid.to_str().unwrap()]).ends(3);
    lab.take_down();
}
