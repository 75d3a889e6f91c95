use std::collections::BTreeMap;

use mpls_xdp_ebpf::policy::{Mode, Role};

use super::*;
use crate::policy::{Parsed, Severity, check_live, parse};
use crate::router::hand_made::{device, member, port, router as every_device, vlan};
use crate::router::{LabelHop, Link, uncovered};

fn popped(label: u32, interface: u32) -> LabelRoute {
    LabelRoute { label, hops: vec![LabelHop { interface: Some(interface), swaps: false }] }
}

fn swapped(label: u32, interface: u32) -> LabelRoute {
    LabelRoute { label, hops: vec![LabelHop { interface: Some(interface), swaps: true }] }
}

/// The PE of the README, as its kernel sees it.
fn pe() -> Router {
    let links = Links::from_iter([
        port(1, "lo"),
        member(port(2, "eth1"), 20),
        port(3, "eth2"),
        vlan(4, "eth2.100", 3, 100),
        port(5, "eth3"),
        member(vlan(6, "eth2.200", 3, 200), 21),
        port(7, "mgmt"),
        device(20, "red", "vrf", None),
        device(21, "Blue", "vrf", None),
    ]);
    let inputs = ["eth2.100", "eth3", "lo"].map(str::to_owned).to_vec();
    let labels = vec![
        popped(100, 20),
        // A label for a customer's port instead of the whole VRF.
        popped(200, 6),
        popped(201, 21),
        popped(16_007, 1),
        swapped(24_000, 5),
        swapped(24_001, 5),
        // Penultimate hop popping.
        popped(24_002, 4),
    ];
    Router { links, inputs, labels }
}

fn read(text: &str) -> Parsed {
    let parsed = parse("policy.toml", text);
    assert!(parsed.errors.is_empty(), "{:#?}\n{text}", parsed.errors);
    parsed
}

/// Checks what must hold for every router.
fn holds(router: &Router, text: &str) {
    struct Live<'a>(&'a Links);
    impl crate::policy::LiveFacts for Live<'_> {
        fn exists(&self, name: &str) -> bool {
            self.0.by_name(name).is_some()
        }
        fn vlan_device(&self, name: &str) -> Option<(String, u16)> {
            let vlan = self.0.by_name(name)?.vlan?;
            let parent = vlan.parent.and_then(|index| self.0.by_index(index));
            Some((parent.map_or_else(String::new, |link| link.name.clone()), vlan.vid))
        }
    }
    let parsed = read(text);
    let live = check_live(&parsed, &Live(&router.links));
    assert!(live.iter().all(|found| found.severity == Severity::Warning), "{live:#?}\n{text}");
    let policy = parsed.policy.expect("there are no errors");
    assert_eq!(policy.default_mode, Mode::Monitor);
    assert!(policy.ingresses.iter().all(|ingress| ingress.mode == Mode::Monitor), "{text}");
    let bindings: Vec<(String, Vec<u16>)> = policy
        .ingresses
        .iter()
        .map(|ingress| {
            let vlans = ingress.vlans.iter().map(|vlan| vlan.get()).collect();
            (ingress.interface.as_str().to_owned(), vlans)
        })
        .collect();
    let holes = uncovered(&router.links, &router.inputs, &bindings);
    for hole in holes.iter().filter(|hole| hole.interface != "lo") {
        let named = format!("#   - {} (a hole): ", hole.interface.escape_debug());
        assert!(text.contains(&named), "the hole {hole:?} is not named in\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 100 && line.trim_end() == line, "{line:?}");
    }
}

#[test]
fn the_policy_of_a_pe() {
    let router = pe();
    let text = router.first_policy(&[]).unwrap();
    holds(&router, &text);
    let (_, from_defaults) = text.split_once("\n[defaults]\n").unwrap();
    assert_eq!(
        from_defaults,
        r#"# Change it to "enforce" as the last step. Before, put mode = "enforce" into one ingress after the
# other.
mode = "monitor"

# ===== Labels =====

# DECIDE: these are the labels of this moment (`ip -f mpls route`). Routing daemons give out others
# after a restart or a change: fix them, or write the ranges that they come from.

# Seen: 3 labels, swapped, or popped and sent to a neighbour: LDP, RSVP-TE, segment routing, static.
[contexts.transport]
kind = "transport"
labels = ["24000-24002"]

# Seen: 1 label, device lo: popped here, and the next entry is looked up here as well.
[contexts.own]
kind = "transport"
labels = [16007]
pops = true

# Seen: 1 label, popped into VRF red.
[contexts.red]
kind = "vrf"
labels = [100]

# Seen: 2 labels, popped into VRF Blue.
[contexts.blue]
kind = "vrf"
labels = ["200-201"]

# ===== Ingresses =====

# Seen: eth1 in VRF red; it accepts no MPLS.
[ingress.eth1]
interface = "eth1"
role = "customer"

# Seen: eth2.100; the kernel accepts MPLS; next hop of 1 label.
# DECIDE: your own network, or another administration? Until then nothing is accepted, and every
# labelled frame counts as would-drop.
#   - own network: role = "core", and this instead of `labels`:
#     contexts = ["transport", "own", "red", "blue"]
#   - another administration: leave the role, and write into `labels` or `contexts` what was
#     distributed to this neighbour; max-depth = 1 for inter-AS option B
[ingress.eth2-100]
interface = "eth2"
vlan = [100]
role = "peer"
labels = []

# Seen: eth3; the kernel accepts MPLS; next hop of 2 labels.
# DECIDE: your own network, or another administration? Until then nothing is accepted, and every
# labelled frame counts as would-drop.
#   - own network: role = "core", and this instead of `labels`:
#     contexts = ["transport", "own", "red", "blue"]
#   - another administration: leave the role, and write into `labels` or `contexts` what was
#     distributed to this neighbour; max-depth = 1 for inter-AS option B
[ingress.eth3]
interface = "eth3"
role = "peer"
labels = []

# Seen: eth2.200 in VRF Blue; it accepts no MPLS; next hop of 1 label.
[ingress.eth2-200]
interface = "eth2"
vlan = [200]
role = "customer"

# The kernel accepts no MPLS on these, so they need no ingress: eth2, mgmt.
"#
    );
}

#[test]
fn what_the_operator_knows_to_be_core_accepts_every_context() {
    let router = pe();
    let text = router.first_policy(&["eth3".to_owned()]).unwrap();
    holds(&router, &text);
    let policy = read(&text).policy.unwrap();
    let roles: BTreeMap<_, _> = policy
        .ingresses
        .iter()
        .map(|ingress| (ingress.name.as_str(), (ingress.role, ingress.contexts.len())))
        .collect();
    assert_eq!(roles["eth3"], (Role::Core, 4));
    assert_eq!(roles["eth2-100"], (Role::Peer, 0));
    assert_eq!(roles["eth1"], (Role::Customer, 0));
}

#[test]
fn what_cannot_be_core_is_named() {
    let mut router = pe();
    let error = |router: &Router, name: &str| {
        router.first_policy(&[name.to_owned()]).unwrap_err().to_string()
    };
    assert!(error(&router, "eth9").contains("it does on: eth2.100, eth3, lo"));
    assert!(error(&router, "mgmt").contains("accepts no MPLS"));
    assert!(error(&router, "lo").contains("only this router"));
    router.inputs.push("eth1".to_owned());
    assert!(error(&router, "eth1").contains("VRF red"));
    router.inputs.clear();
    assert!(error(&router, "eth3").ends_with("none"));
}

#[test]
fn a_router_without_mpls_gets_a_policy_too() {
    let router = Router {
        links: Links::from_iter([port(1, "lo"), port(2, "eth0")]),
        inputs: Vec::new(),
        labels: Vec::new(),
    };
    let text = router.first_policy(&[]).unwrap();
    holds(&router, &text);
    assert!(text.contains("label table is empty") && text.contains("on no interface"), "{text}");
    assert!(text.contains("they need no ingress: eth0."), "{text}");
}

#[test]
fn every_kind_of_device_is_an_ingress_or_named() {
    let links = every_device();
    let inputs: Vec<_> = links.iter().map(|link| link.name.clone()).collect();
    let router = Router { links, inputs, labels: Vec::new() };
    let text = router.first_policy(&[]).unwrap();
    holds(&router, &text);
    // Its frames are those of the port.
    assert!(text.contains("#   - eth2.0: its frames come in like those of eth2\n"));
    // A customer with MPLS is to be decided about.
    assert!(
        text.contains("# Seen: eth6 in VRF red; the kernel accepts MPLS.\n# DECIDE: a customer")
    );
    let policy = read(&text).policy.unwrap();
    let names: Vec<_> = policy.ingresses.iter().map(|ingress| ingress.name.as_str()).collect();
    let expected =
        ["eth1", "eth2", "eth2-200", "eth2-200-100", "bond0", "bond0-100", "bond1", "eth6"];
    assert_eq!(names, expected);
}

#[test]
fn names_of_interfaces_and_vrfs_become_names_of_the_policy() {
    let odd = |index, name: &str| Link { controller: None, ..port(index, name) };
    let links = Links::from_iter([
        odd(1, "eth1.5"),
        odd(2, "eth1-5"),
        odd(3, "ETH1.5"),
        odd(4, "_x"),
        odd(5, "wan-\u{3c0}"),
        odd(6, "a\"b"),
        device(7, "labels", "vrf", None),
        device(8, "Special", "vrf", None),
        device(9, "transport", "vrf", None),
        device(10, "\u{1b}[31m", "vrf", None),
    ]);
    let inputs = links.iter().take(6).map(|link| link.name.clone()).collect();
    let labels = vec![
        popped(100, 7),
        popped(101, 8),
        popped(102, 9),
        popped(103, 10),
        swapped(104, 1),
        popped(3, 1),
    ];
    let router = Router { links, inputs, labels };
    let text = router.first_policy(&[]).unwrap();
    holds(&router, &text);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("Not written: 1 label below 16"), "{text}");
    let policy = read(&text).policy.unwrap();
    let names: Vec<_> = policy.ingresses.iter().map(|ingress| ingress.name.as_str()).collect();
    assert_eq!(names, ["eth1-5", "eth1-5-2", "eth1-5-3", "x_x", "wan--", "a-b"]);
    let names: Vec<_> = policy.contexts.iter().map(|context| context.name.as_str()).collect();
    assert_eq!(names, ["transport", "labels-2", "special-2", "transport-2", "x--31m"]);
}

#[test]
fn a_label_with_several_paths_is_what_leads_furthest_in() {
    let mut router = pe();
    let hop = |interface, swaps| LabelHop { interface, swaps };
    let route = |label, hops: &[LabelHop]| LabelRoute { label, hops: hops.to_vec() };
    router.labels = vec![
        route(100, &[hop(Some(5), true), hop(Some(20), false)]),
        route(101, &[hop(Some(5), true), hop(Some(1), false)]),
        route(102, &[hop(None, false)]),
        route(103, &[]),
        // Swapped on its way through a VRF's device, so it is no label of the VRF.
        route(104, &[hop(Some(20), true)]),
    ];
    let text = router.first_policy(&[]).unwrap();
    holds(&router, &text);
    let policy = read(&text).policy.unwrap();
    let labels: BTreeMap<_, _> = policy
        .contexts
        .iter()
        .map(|context| (context.name.as_str(), context.labels.ranges().to_vec()))
        .collect();
    assert_eq!(labels["red"], [100..=100]);
    assert_eq!(labels["own"], [101..=101]);
    assert_eq!(labels["transport"], [102..=104]);
}

#[test]
fn many_labels_take_many_lines() {
    let mut router = pe();
    router.labels = (0..5_000).map(|number| swapped(16 + 2 * number, 5)).collect();
    let text = router.first_policy(&["eth3".to_owned()]).unwrap();
    holds(&router, &text);
    assert_eq!(read(&text).policy.unwrap().contexts[0].labels.len(), 5_000);
}
