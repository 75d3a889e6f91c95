use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

use super::*;
use crate::{
    policy::{Policy, parse},
    router::{
        LabelHop, LabelRoute, Links,
        hand_made::{device, port},
    },
    sampling::{Cause, MacAddress},
};

const POLICY: &str = r#"# of the PE
version = 1
[defaults]
mode = "monitor"

[contexts.red]
kind = "vrf"
labels = [100]
[contexts.blue]
kind = "vrf"
labels = [200]
[contexts.lsp]
kind = "transport"
labels = ["300-309"]

[ingress.peer]    # the neighbour
interface = "eth2"
role = "peer"
contexts = ["red"] # as agreed

[ingress.core]
interface = "eth3"
role = "core"

[ingress.other]
interface = "eth4"
role = "peer"
contexts = ["lsp"]
mode = "enforce"

[ingress.ce]
interface = "eth5"
role = "customer"
"#;

fn policy(text: &str) -> Policy {
    let parsed = parse("policy.toml", text);
    assert!(parsed.errors.is_empty(), "{:?}\n{text}", parsed.errors);
    parsed.policy.unwrap()
}

/// A router that swaps 305 and 400 to 409, pops 500 and looks on, and pops 600 into a VRF.
fn router() -> (Links, Vec<LabelRoute>) {
    let links =
        Links::from_iter([port(1, "lo"), port(2, "eth2"), device(20, "green", "vrf", None)]);
    let route = |label, interface, swaps| LabelRoute {
        label,
        hops: vec![LabelHop { interface: Some(interface), swaps }],
    };
    let swapped = (400..410).chain([305]).map(|label| route(label, 2, true));
    (links, swapped.chain([route(500, 1, false), route(600, 20, false)]).collect())
}

fn ingress(name: &str) -> Spot {
    Spot::Ingress { ingress: name.to_owned() }
}

fn seen(frames: &[(Spot, Cause, Option<u32>)]) -> Sightings {
    let mut sightings = Sightings::default();
    for (spot, cause, label) in frames {
        sightings.add(Sighting {
            spot: spot.clone(),
            cause: *cause,
            label: *label,
            has_more: false,
            source: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        });
    }
    sightings
}

/// What is proposed for labels that an ingress refused for a reason.
fn proposed(name: &str, reason: Reason, labels: &[u32]) -> Proposal {
    let frames: Vec<_> =
        labels.iter().map(|label| (ingress(name), Cause::Ingress(reason), Some(*label))).collect();
    let (links, labels) = router();
    let facts = Facts { policy: &policy(POLICY), links: &links, labels: Some(&labels) };
    Proposal::new(facts, &seen(&frames))
}

#[test]
fn only_what_the_router_forwards_is_accepted_and_in_monitor_mode_only() {
    let out_of_range = Reason::LabelOutOfRange;
    let labels = [402, 401, 404, 500, 600, 999];
    let contexts = |proposal: &Proposal| -> Vec<_> {
        let contexts = proposal.places[0].contexts.iter();
        let ranges = |context: &ObservedContext| context.labels.ranges().to_vec();
        contexts.map(|context| (context.name.clone(), context.pops, ranges(context))).collect()
    };
    let swapped = vec![401..=402, 404..=404];
    let peer = proposed("peer", out_of_range, &labels);
    assert_eq!(contexts(&peer), [("observed-peer".to_owned(), false, swapped.clone())]);
    let core = proposed("core", out_of_range, &labels);
    assert_eq!(
        contexts(&core),
        [
            ("observed-core".to_owned(), false, swapped),
            ("observed-own-core".to_owned(), true, vec![500..=500]),
        ]
    );
    let mut whys: Vec<&str> =
        core.places[0].remarks.iter().map(|remark| remark.why.as_str()).collect();
    whys.sort_unstable();
    assert_eq!(
        whys,
        [
            "this router does not forward it: a guess, or an old label",
            "this router pops it into VRF green: whoever sends it is there",
        ]
    );
    // What another context has can be that of the neighbour as well.
    assert_eq!(contexts(&proposed("peer", Reason::LabelSpoofed, &[305])).len(), 1);
    let remark = &proposed("peer", Reason::LabelSpoofed, &[306]).places[0].remarks[0].why;
    assert_eq!(
        remark,
        "context lsp has it; this router does not forward it: a guess, or an old label"
    );
    for (name, reason, label, why) in [
        ("other", out_of_range, 401, "the ingress drops it"),
        ("peer", Reason::LabelOutOfVrf, 200, "VRF context blue has it"),
        ("peer", out_of_range, 500, "looks the next entry up"),
        ("ce", Reason::MplsNotEnabled, 401, "carriers' carrier"),
        ("peer", Reason::StackTooDeep, 401, "`max-depth` is 16"),
        ("peer", Reason::SpecialLabelNotAllowed, 0, "`special`"),
        ("peer", Reason::TtlZero, 401, "help reason ttl_zero"),
        ("gone", out_of_range, 401, "no such ingress any more"),
    ] {
        let proposal = proposed(name, reason, &[label]);
        assert_eq!(proposal.accepted(), 0, "{name} {reason:?}");
        let why_not = &proposal.places[0].remarks[0].why;
        assert!(why_not.contains(why), "{name} {reason:?}: {why_not}");
    }
    // Entries below it are another router's, which believes them.
    let mut below = seen(&[(ingress("peer"), Cause::Ingress(out_of_range), Some(401))]);
    below.add(Sighting {
        spot: ingress("peer"),
        cause: Cause::Ingress(out_of_range),
        label: Some(401),
        has_more: true,
        source: None,
    });
    let (links, labels) = router();
    let facts = Facts { policy: &policy(POLICY), links: &links, labels: Some(&labels) };
    let remark = &Proposal::new(facts, &below).places[0].remarks[0].why;
    assert!(remark.contains("option C, or an attack"), "{remark}");
    // Without a label table nobody knows.
    let frames = [(ingress("peer"), Cause::Ingress(out_of_range), Some(401))];
    let (links, _) = router();
    let facts = Facts { policy: &policy(POLICY), links: &links, labels: None };
    assert_eq!(Proposal::new(facts, &seen(&frames)).accepted(), 0);
}

#[test]
fn the_text_is_a_policy_that_accepts_what_is_proposed_and_keeps_every_word() {
    let proposal = proposed("peer", Reason::LabelOutOfRange, &[401, 402, 999]);
    let text = proposal.write(POLICY, "10m", &["peer: red".to_owned()]);
    let new = policy(&text);
    let peer = &new.ingresses[0];
    let rules: Vec<_> = new.rules(peer).map(|(name, labels)| (name, labels.len())).collect();
    assert_eq!(rules, [("red", 1), ("observed-peer", 2)]);
    assert_eq!(new.ingresses[1..], policy(POLICY).ingresses[1..]);
    let changed = "contexts = [\"red\", \"observed-peer\"] # as agreed";
    let kept = POLICY.replace("contexts = [\"red\"] # as agreed", changed);
    assert!(text.starts_with(&kept), "{text}");
    for words in [
        "OBSERVED, not authorised: 2 labels, 2 frames sampled from 02:00:00:00:00:01",
        "[contexts.observed-peer]\nkind = \"transport\"\nlabels = [\"401-402\"]\n",
        "#   - label_out_of_range, label 999: 1 frame sampled from",
        "#   - peer: red\n",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    // An ingress without contexts gets the key.
    let text = proposed("core", Reason::LabelOutOfRange, &[405]).write(POLICY, "10m", &[]);
    let new = policy(&text);
    assert_eq!(new.rules(&new.ingresses[1]).count(), 1);
}

#[test]
fn a_second_proposal_has_other_names() {
    let first = proposed("peer", Reason::LabelOutOfRange, &[401]).write(POLICY, "10m", &[]);
    let (links, labels) = router();
    let facts = Facts { policy: &policy(&first), links: &links, labels: Some(&labels) };
    let frames = [(ingress("peer"), Cause::Ingress(Reason::LabelOutOfRange), Some(403))];
    let second = Proposal::new(facts, &seen(&frames)).write(&first, "10m", &[]);
    let new = policy(&second);
    let names: Vec<&str> = new.rules(&new.ingresses[0]).map(|(name, _)| name).collect();
    assert_eq!(names, ["red", "observed-peer", "observed-peer-2"]);
}

#[test]
fn where_tables_cannot_be_added_everything_is_a_comment() {
    let text = "version = 1\ndefaults = { mode = \"monitor\" }\n\
                contexts = { red = { kind = \"vrf\", labels = [100] } }\n\
                ingress = { peer = { interface = \"eth2\", role = \"peer\", contexts = [\"red\"] } }";
    let (links, labels) = router();
    let facts = Facts { policy: &policy(text), links: &links, labels: Some(&labels) };
    let frames = [(ingress("peer"), Cause::Ingress(Reason::LabelOutOfRange), Some(401))];
    let written = Proposal::new(facts, &seen(&frames)).write(text, "10m", &[]);
    assert_eq!(policy(&written), policy(text));
    assert!(written.contains("# [contexts.observed-peer]\n"), "{written}");
    assert!(
        written.contains("and \"observed-peer\" in the `contexts` of the ingress"),
        "{written}"
    );
}

#[test]
fn frames_without_an_ingress_get_a_block_to_fill_in() {
    let unbound = |vlan: &[u16]| {
        let spot = Spot::Unbound { interface: "eth2".to_owned(), vlan: vlan.to_vec() };
        (spot, Cause::Interface(InterfaceReason::IngressUnbound), Some(100))
    };
    let (links, labels) = router();
    let facts = Facts { policy: &policy(POLICY), links: &links, labels: Some(&labels) };
    let proposal = Proposal::new(facts, &seen(&[unbound(&[]), unbound(&[7])]));
    let text = proposal.write(POLICY, "10m", &[]);
    assert_eq!(policy(&text), policy(POLICY));
    assert!(text.contains("# interface = \"eth2\"\n# vlan = [7]\n# role = \"peer\"\n"), "{text}");
    assert!(text.contains("ingress_unbound, label 100: 1 frame sampled"), "{text}");
}
