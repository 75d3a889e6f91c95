//! The built `mpls-xdp` on real interfaces: veth pairs between network namespaces.
//!
//! Every test fails where the user is not root. Nothing waits for time to pass: what has not
//! arrived before a marker that was sent later has been dropped.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use mpls_xdp_tests::demo::{self, Fate, Router, Wire};
use mpls_xdp_tests::frame::{Frame, IPV4, MPLS_UPSTREAM, OLD_OUTER_TAG, Tag, label_stack};
use mpls_xdp_tests::oracle::{Oracle, Tally, Verdict};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const LLDP: u16 = 0x88cc;

/// A core port that accepts label 100, and a customer's port for the tests that need two.
const CORE: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
contexts.blue = { kind = "vrf", labels = [200] }
ingress.core = { interface = "eth3", role = "core", contexts = ["red"] }
"#;
const CUSTOMER: &str = r#"ingress.site = { interface = "eth1", role = "customer" }"#;
/// Label 100 is accepted by another rule, and label 200 is refused for another reason.
const CORE_OTHERWISE: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [300] }
contexts.blue = { kind = "vrf", labels = [400] }
ingress.core = { interface = "eth3", role = "core", contexts = ["red"], labels = [100] }
"#;
const LEGITIMATE: u32 = 100;
const FORGED: u32 = 200;

/// A router with a core port only.
fn core_router() -> Result<Router> {
    Router::new(&[("eth3", "core-p1")])
}

/// Sends frames to an interface, holds verdicts and counters against the oracle's, and returns
/// which frames arrived. The policy must be in force, with all counters at 0.
fn judged(router: &Router, policy: &str, interface: &str, frames: &[Vec<u8>]) -> Result<Vec<bool>> {
    let oracle = Oracle::new(policy);
    let mut tally = Tally::new(&oracle);
    let arrived = router.wire(interface)?.probe(frames)?;
    for (frame, &arrived) in frames.iter().zip(&arrived) {
        let judgement = oracle.judge(interface, frame);
        tally.feed(interface, frame.len(), &judgement);
        ensure!(
            arrived == (judgement.verdict == Verdict::Pass),
            "arrived: {arrived}, but {judgement:?} for {:02x?}",
            &frame[..frame.len().min(64)]
        );
    }
    let differences = tally.differences(&router.stats()?);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(arrived)
}

/// What the counters say of the only ingress.
fn core_counters(router: &Router) -> Result<Value> {
    let mut stats = router.stats()?;
    let found = stats["ingresses"].as_array_mut().and_then(|all| {
        let place = all.iter().position(|one| one["ingress"] == "core")?;
        Some(all.swap_remove(place))
    });
    found.with_context(|| format!("no ingress core in {stats}"))
}

fn packets(counter: &Value) -> Result<u64> {
    counter["packets"].as_u64().with_context(|| format!("no packets in {counter}"))
}

/// Some frames of an endless stream, legitimate and forged in turn, each like no other.
fn slice_of_stream(start: usize) -> Vec<Vec<u8>> {
    const LENGTH: usize = 256;
    (start..start + LENGTH)
        .map(|number| {
            let label = if number % 2 == 0 { LEGITIMATE } else { FORGED };
            Frame::mpls([label]).data(number.to_ne_bytes()).build()
        })
        .collect()
}

/// How a stream goes on.
struct Progress(Receiver<usize>);

impl Progress {
    /// Waits until so many more frames have gone their way.
    fn wait_for(&self, frames: usize) -> Result<()> {
        let mut seen = 0;
        while seen < frames {
            let more = self.0.recv_timeout(Duration::from_secs(20));
            seen += more.context("the stream ended or stands still")?;
        }
        Ok(())
    }
}

/// Sends the stream until nobody watches it any more; of its frames, all legitimate ones must
/// arrive and no forged one. Returns how many frames there were, half of them legitimate.
fn flow(wire: &Wire, progress: &Sender<usize>) -> Result<usize> {
    let mut sent = 0;
    loop {
        let frames = slice_of_stream(sent);
        let arrived = wire.probe(&frames)?;
        let wrong = (sent..).zip(&arrived).find(|&(number, &came)| came != (number % 2 == 0));
        ensure!(wrong.is_none(), "frame (and whether it arrived): {wrong:?}");
        sent += frames.len();
        if progress.send(frames.len()).is_err() {
            return Ok(sent);
        }
    }
}

/// Does something while the stream flows, and returns how many frames there were.
fn under_a_stream(wire: &Wire, work: impl FnOnce(&Progress) -> Result<()>) -> Result<usize> {
    let (progress, watched) = mpsc::channel();
    thread::scope(|scope| {
        let stream = scope.spawn(move || flow(wire, &progress));
        let watched = Progress(watched);
        let worked = watched.wait_for(1).and_then(|()| work(&watched));
        drop(watched);
        let sent = stream.join().expect("the stream does not panic")?;
        worked?;
        Ok(sent)
    })
}

#[test]
fn every_frame_of_the_demo_meets_its_fate() -> Result<()> {
    let sides = demo::sides();
    let router = Router::new(&sides.each_ref().map(|side| (side.interface, side.neighbour)))?;
    for side in &sides {
        let arrived = router.wire(side.interface)?.probe(&side.frames())?;
        assert!(arrived.iter().all(|&arrived| arrived), "without a filter: {arrived:?}");
    }
    router.apply(demo::POLICY, &[])?;
    let oracle = Oracle::new(demo::POLICY);
    let mut tally = Tally::new(&oracle);
    for side in &sides {
        let arrived = router.wire(side.interface)?.probe(&side.frames())?;
        for (case, arrived) in side.cases.iter().zip(arrived) {
            assert_eq!(arrived, case.fate == Fate::Pass, "{} from {}", case.what, side.neighbour);
            let judgement = oracle.judge(side.interface, &case.frame);
            tally.feed(side.interface, case.frame.len(), &judgement);
        }
    }
    assert_eq!(tally.differences(&router.stats()?), Vec::<String>::new());
    Ok(())
}

#[test]
fn the_demo_tells_of_success() -> Result<()> {
    let mut out = Vec::new();
    demo::run(&mut out)?;
    let text = String::from_utf8(out)?;
    let count: usize = demo::sides().iter().map(|side| side.cases.len()).sum();
    assert!(text.contains(&format!("{count} of {count} frames met the fate")), "{text}");
    Ok(())
}

#[test]
fn frames_of_9000_bytes_are_judged_and_counted_whole() -> Result<()> {
    let router = Router::with_mtu(9_000, &[("eth3", "core-p1")])?;
    let policy = format!(
        "{CORE}ingress.peer = {{ interface = \"eth3\", vlan = [7], role = \"peer\", \
         labels = [300] }}\n"
    );
    router.apply(&policy, &[])?;
    let deep = |last| Frame::mpls((0..31).map(|_| 0).chain([last]));
    let frames = [
        Frame::mpls([100]).length(14 + 9_000),
        Frame::mpls([200]).length(14 + 9_000),
        Frame::mpls([300]).vlan(7).length(18 + 9_000),
        Frame::mpls([100]).vlan(7).length(18 + 9_000),
        Frame::mpls([100]).vlan(8).length(18 + 9_000),
        Frame::new(IPV4).length(14 + 9_000),
        deep(100).length(14 + 9_000),
        deep(200).length(14 + 9_000),
        Frame::mpls([100]).length(4_096),
        Frame::mpls([200]).length(4_096),
    ];
    let arrived = judged(&router, &policy, "eth3", &frames.map(|frame| frame.build()))?;
    let expected = [true, false, true, false, false, true, true, false, true, false];
    assert_eq!(arrived, expected);
    assert_eq!(router.stats()?["interfaces"][0]["attached"], "native");
    // The bytes are those on the wire: two frames of 9,014 and one of 4,096 were accepted.
    let accepted = core_counters(&router)?["accepted"].take();
    assert_eq!(accepted, json!({"packets": 3, "bytes": 2 * 9_014 + 4_096}));
    Ok(())
}

#[test]
fn monitor_lets_pass_and_counts_what_it_would_drop() -> Result<()> {
    let router = core_router()?;
    let policy = CORE.replace("version = 1", "version = 1\ndefaults.mode = \"monitor\"");
    router.apply(&policy, &[])?;
    let frames = [
        Frame::mpls([100]),
        Frame::mpls([200]),
        Frame::mpls([9]),
        Frame::mpls([100]).vlan(5),
        Frame::mpls([100]).ether_type(MPLS_UPSTREAM),
        (0..5).fold(Frame::mpls([100]), |frame, _| frame.vlan(0)),
    ];
    let arrived = judged(&router, &policy, "eth3", &frames.map(|frame| frame.build()))?;
    assert_eq!(arrived, [true; 6]);
    let counters = core_counters(&router)?;
    let counts = ["accepted", "dropped", "would_drop"].map(|key| packets(&counters[key]).ok());
    assert_eq!(counts, [Some(1), Some(0), Some(3)]);
    Ok(())
}

/// A frame with these tags around label 100.
fn tagged<const COUNT: usize>(tags: [Tag; COUNT]) -> Vec<u8> {
    tags.into_iter().fold(Frame::mpls([100]), Frame::tag).build()
}

/// Frames with tags for a policy that binds [200, 100] and [100], and which of them arrive.
fn tag_cases() -> [(Vec<u8>, bool); 12] {
    let (service, customer, priority) = (Tag::service, Tag::customer, Tag::customer(0).pcp(5));
    [
        (tagged([service(200), customer(100)]), true),
        (tagged([customer(200), customer(100)]), true),
        (tagged([Tag::new(OLD_OUTER_TAG, 200), service(100).pcp(7)]), true),
        (tagged([priority, service(200), priority, customer(100)]), true),
        (tagged([priority, customer(100)]), true),
        (tagged([customer(100)]), true),
        (tagged([service(100), customer(200)]), false),
        (tagged([customer(200)]), false),
        (tagged([priority]), false),
        (tagged([]), false),
        (tagged([service(200), customer(100), customer(100)]), false),
        (tagged([priority; 5]), false),
    ]
}

/// Two ingresses for [`tag_cases`].
const TAGS: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
ingress.double = { interface = "eth3", vlan = [200, 100], role = "core", contexts = ["red"] }
ingress.single = { interface = "eth3", vlan = [100], role = "core", contexts = ["red"] }
"#;

#[test]
fn two_tags_and_priority_tags_lead_to_their_ingress() -> Result<()> {
    let router = core_router()?;
    router.apply(TAGS, &[])?;
    let (frames, expected): (Vec<_>, Vec<_>) = tag_cases().into_iter().unzip();
    assert_eq!(judged(&router, TAGS, "eth3", &frames)?, expected);
    Ok(())
}

#[test]
fn a_priority_tag_alone_is_untagged() -> Result<()> {
    let router = core_router()?;
    router.apply(CORE, &[])?;
    let priority = Tag::customer(0).pcp(3);
    let frames = [
        tagged([priority]),
        tagged([priority, priority]),
        Frame::mpls([200]).tag(priority).build(),
    ];
    assert_eq!(judged(&router, CORE, "eth3", &frames)?, [true, true, false]);
    Ok(())
}

#[test]
fn generic_mode_judges_alike() -> Result<()> {
    let router = Router::with_mtu(9_000, &[("eth3", "core-p1")])?;
    router.apply(TAGS, &["--mode", "generic"])?;
    let (mut frames, mut expected): (Vec<_>, Vec<_>) = tag_cases().into_iter().unzip();
    let long = |label| Frame::mpls([label]).vlan(100).length(18 + 9_000).build();
    frames.extend([long(100), long(200), Frame::new(IPV4).build()]);
    expected.extend([true, false, true]);
    assert_eq!(judged(&router, TAGS, "eth3", &frames)?, expected);
    assert_eq!(router.stats()?["interfaces"][0]["attached"], "generic");
    router.mpls_xdp(["status"])?;
    Ok(())
}

#[test]
fn what_is_not_mpls_is_untouched() -> Result<()> {
    let router = Router::new(&[("eth1", "site")])?;
    let policy = format!("version = 1\n{CUSTOMER}\n");
    router.apply(&policy, &[])?;
    let types = [IPV4, ARP, IPV6, LLDP, 0x8846, 0x8849];
    let frames: Vec<_> = types
        .into_iter()
        .flat_map(|ether_type| {
            let frame = Frame::new(ether_type);
            let double = frame.clone().tag(Tag::service(2)).vlan(3);
            [frame.clone(), frame.vlan(1), double].map(|frame| frame.build())
        })
        .collect();
    // `judged` also finds that nothing is counted.
    assert_eq!(judged(&router, &policy, "eth1", &frames)?, vec![true; frames.len()]);
    Ok(())
}

#[test]
fn detached_interfaces_let_everything_pass_and_the_others_do_not() -> Result<()> {
    let router = Router::new(&[("eth1", "site"), ("eth3", "core-p1")])?;
    let (site, core) = (router.wire("eth1")?, router.wire("eth3")?);
    let parses_tags = || core.interface.feature("rx-vlan-hw-parse");
    let before = parses_tags()?;
    router.apply(&format!("{CORE}{CUSTOMER}\n"), &[])?;
    assert!(!parses_tags()?);
    let frames = [Frame::mpls([LEGITIMATE]).build(), Frame::mpls([FORGED]).build()];
    let arrived = || Ok::<_, anyhow::Error>([site.probe(&frames)?, core.probe(&frames)?]);
    assert_eq!(arrived()?, [[false, false], [true, false]]);
    router.mpls_xdp(["detach", "--interface", "eth1"])?;
    assert_eq!(arrived()?, [[true, true], [true, false]]);
    router.mpls_xdp(["detach", "--all"])?;
    assert_eq!(arrived()?, [[true, true], [true, true]]);
    assert_eq!(parses_tags()?, before);
    Ok(())
}

#[test]
fn an_interface_joins_and_leaves_while_another_is_in_use() -> Result<()> {
    let router = Router::new(&[("eth1", "site"), ("eth3", "core-p1")])?;
    let site = router.wire("eth1")?;
    let both = format!("{CORE}{CUSTOMER}\n");
    let mpls = [Frame::mpls([LEGITIMATE]).build()];
    router.apply(CORE, &[])?;
    let sent = under_a_stream(router.wire("eth3")?, |progress| {
        for _ in 0..5 {
            router.apply(&both, &[])?;
            ensure!(site.probe(&mpls)? == [false], "the new interface is not filtered");
            progress.wait_for(500)?;
            router.apply(CORE, &[])?;
            ensure!(site.probe(&mpls)? == [true], "the interface that left is still filtered");
            progress.wait_for(500)?;
        }
        Ok(())
    })?;
    let counters = core_counters(&router)?;
    let half = u64::try_from(sent / 2)?;
    assert_eq!(packets(&counters["accepted"])?, half);
    assert_eq!(packets(&counters["dropped"])?, half);
    Ok(())
}

#[test]
fn no_frame_escapes_and_none_is_lost_while_policies_are_swapped() -> Result<()> {
    const SWAPS: usize = 20;
    const FRAMES: usize = 20_000;
    let router = core_router()?;
    router.apply(CORE, &[])?;
    let sent = under_a_stream(router.wire("eth3")?, |progress| {
        for policy in [CORE_OTHERWISE, CORE].into_iter().cycle().take(SWAPS) {
            router.apply(policy, &[])?;
            progress.wait_for(FRAMES / SWAPS)?;
        }
        // The last policy has the rules of both.
        router.apply(CORE_OTHERWISE, &[]).map(drop)
    })?;
    assert!(sent >= FRAMES, "{sent}");
    let counters = core_counters(&router)?;
    let half = u64::try_from(sent / 2)?;
    let bytes = half * u64::try_from(slice_of_stream(0)[0].len())?;
    for verdict in ["accepted", "dropped"] {
        assert_eq!(counters[verdict], json!({"packets": half, "bytes": bytes}), "{verdict}");
    }
    assert_eq!(packets(&counters["would_drop"])?, 0);
    // Each frame was judged by one policy as a whole: both reasons come up, and no other.
    let reasons = ["label_out_of_vrf", "label_out_of_range"]
        .map(|reason| packets(&counters["reasons"][reason]).unwrap_or_default());
    assert!(reasons.iter().all(|&count| count > 0), "{reasons:?}");
    assert_eq!(reasons.iter().sum::<u64>(), half);
    Ok(())
}

#[test]
fn a_deep_stack_is_read_to_its_end() -> Result<()> {
    let router = core_router()?;
    router.apply(CORE, &[])?;
    let nulls = |count: usize, last: u32| {
        let labels = (0..count).map(|_| 0).chain([last]);
        Frame::mpls([]).stack(label_stack(labels)).build()
    };
    let frames = [nulls(31, 100), nulls(31, 200), nulls(32, 100), nulls(200, 100)];
    assert_eq!(judged(&router, CORE, "eth3", &frames)?, [true, false, false, false]);
    Ok(())
}
