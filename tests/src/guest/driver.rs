//! The filter in the driver of a NIC.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Notes;
use super::nic::{Driver, MTU};
use super::trial::{Trial, refusal, status};
use crate::demo::{Router, Wire};
use crate::frame::{Frame, IPV4, LabelEntry, MPLS_UPSTREAM, OLD_OUTER_TAG, Tag};
use crate::lab::PATIENCE;
use crate::leak::{self, Objects};

/// Ingresses of every kind on one interface.
const POLICY: &str = r#"
version = 1
[contexts.core]
kind = "transport"
labels = ["16000-16006", "16008-23999"]
[contexts.own-sid]
kind = "transport"
labels = [16007]
pops = true
[contexts.red]
kind = "vrf"
labels = [100]
[contexts.blue]
kind = "vrf"
labels = [200]
[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["core", "own-sid", "red", "blue"]
[ingress.peer]
interface = "eth3"
vlan = [100]
role = "peer"
contexts = ["red"]
labels = ["24000-24063"]
max-depth = 1
[ingress.double]
interface = "eth3"
vlan = [200, 100]
role = "peer"
labels = [24064]
[ingress.site]
interface = "eth3"
vlan = [300]
role = "customer"
"#;

/// The tag of the customer in [`POLICY`].
const SITE: u16 = 300;
/// Whether the driver takes customers' tags out of frames, by the kernel's name.
const STRIPPING: &str = "rx-vlan-hw-parse";
const JUMBO: u32 = 9_000;

/// Frames of all kinds, and of every length that matters.
fn frames() -> Vec<Vec<u8>> {
    let outer = [Tag::service(200), Tag::customer(200), Tag::new(OLD_OUTER_TAG, 200)];
    let mut frames = vec![
        Frame::new(IPV4),
        Frame::new(IPV4).vlan(SITE),
        Frame::mpls([100]),
        Frame::mpls([200]),
        Frame::mpls([16_007, 200]),
        Frame::mpls([16_007, 300]),
        Frame::mpls([16_001, 77]),
        Frame::mpls([0, 100]),
        Frame::mpls([0, 24_000]),
        Frame::mpls([16_007, 7, 99_000, 100]),
        Frame::mpls([3]),
        Frame::mpls([500_000]),
        Frame::mpls([24_000]),
        Frame::mpls([100]).ether_type(MPLS_UPSTREAM),
        Frame::mpls([]).stack([LabelEntry::new(100).ttl(0).bottom()]),
        Frame::mpls([]).stack([LabelEntry::new(100).ttl(1).bottom()]),
        Frame::mpls((0..31).map(|_| 0).chain([100])),
        Frame::mpls((0..32).map(|_| 0).chain([100])),
        Frame::mpls([24_000]).vlan(100),
        Frame::mpls([24_064]).vlan(100),
        Frame::mpls([100]).vlan(100),
        Frame::mpls([200]).vlan(100),
        Frame::mpls([24_000, 100]).vlan(100),
        Frame::mpls([100]).vlan(SITE),
        Frame::mpls([100]).tag(Tag::customer(0).pcp(5)),
        Frame::mpls([24_000]).tag(Tag::customer(0)).vlan(100),
        Frame::mpls([24_000]).vlan(101),
        Frame::mpls([24_064]).vlan(100).vlan(200),
        Frame::mpls([100]).length(14 + MTU as usize),
        Frame::mpls([200]).length(14 + MTU as usize),
        Frame::mpls([24_000]).vlan(100).length(18 + MTU as usize),
        (0..4).fold(Frame::mpls([100]), |frame, _| frame.vlan(0)),
        (0..5).fold(Frame::mpls([100]), |frame, _| frame.vlan(0)),
    ];
    frames.extend(outer.map(|tag| Frame::mpls([24_064]).tag(tag).vlan(100)));
    frames.extend(outer.map(|tag| Frame::mpls([24_000]).tag(tag).vlan(100)));
    let runts = (14..=30).flat_map(|length| {
        [Frame::mpls([0, 100]).cut(length), Frame::mpls([24_000]).vlan(100).cut(length)]
    });
    frames.into_iter().chain(runts).map(|frame| frame.build()).collect()
}

/// Frames meet their fate in the driver; one without native XDP is refused, and generic mode does.
pub fn frames_meet_their_fate(driver: &Driver, notes: &mut Notes) -> Result<()> {
    let router = driver.router(MTU)?;
    let mode = put_in_force(&router, driver)?;
    notes.add("mode", mode);
    let status = status(&router)?;
    ensure!(
        status["interfaces"][0]["attached"] == mode && status["problems"] == Value::Array(vec![]),
        "{status:#}"
    );
    router.mpls_xdp(["status"])?;
    let mut trial = Trial::new(&router, "eth3", POLICY)?;
    notes.add("shortest frame", trial.shortest());
    let frames = frames();
    let (sent, arrived) = (frames.len(), trial.judge(frames)?);
    let passed = arrived.iter().filter(|&&arrived| arrived).count();
    ensure!(passed > 10 && sent - passed > 10, "{passed} of {sent} frames arrived: {arrived:?}");
    Ok(())
}

/// Applies the policy in the best mode that the driver has.
fn put_in_force(router: &Router, driver: &Driver) -> Result<&'static str> {
    if driver.is_native()? {
        router.apply(POLICY, &[])?;
        return Ok("native");
    }
    let file = router.store().directory().join("policy.toml");
    fs::write(file, POLICY)?;
    let said = refusal(router, &["apply", "policy.toml"], 1)?;
    ensure!(
        said.contains("eth3: the driver has no native XDP, or not with this MTU; `--mode generic`"),
        "{said}"
    );
    router.apply(POLICY, &["--mode", "generic"])?;
    Ok("generic")
}

/// Under traffic, each frame is judged by the old or the new policy, and none is lost.
pub fn policies_change_under_traffic(driver: &Driver, notes: &mut Notes) -> Result<()> {
    const SWAPS: usize = 4;
    // Label 100 passes in both, by another rule; label 200 is refused for another reason.
    const FIRST: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
contexts.blue = { kind = "vrf", labels = [200] }
ingress.core = { interface = "eth3", role = "core", contexts = ["red"] }
"#;
    const SECOND: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [300] }
ingress.core = { interface = "eth3", role = "core", contexts = ["red"], labels = [100] }
"#;
    let router = driver.router(MTU)?;
    put_in_force(&router, driver)?;
    router.mpls_xdp(["detach", "--all"])?;
    let mode: &[&str] = if driver.is_native()? { &[] } else { &["--mode", "generic"] };
    router.apply(FIRST, mode)?;
    let wire = router.wire("eth3")?;
    let (progress, watched) = mpsc::channel();
    let sent = thread::scope(|scope| -> Result<u64> {
        let stream = scope.spawn(move || flow(wire, &progress));
        let mut swapped = Ok(());
        for policy in [SECOND, FIRST].into_iter().cycle().take(SWAPS) {
            swapped = router.apply(policy, mode).map(drop);
            // Something must flow between two swaps.
            let flows = match watched.recv_timeout(PATIENCE) {
                Ok(()) => Ok(()),
                Err(RecvTimeoutError::Timeout) => Err(anyhow::anyhow!("the stream stands still")),
                // It says itself why it ended.
                Err(RecvTimeoutError::Disconnected) => Ok(()),
            };
            swapped = swapped.and(flows);
            if swapped.is_err() {
                break;
            }
        }
        drop(watched);
        let sent = stream.join().expect("the stream does not panic")?;
        swapped?;
        Ok(sent)
    })?;
    // The last policy has the rules of both.
    router.apply(SECOND, mode)?;
    let stats = router.stats()?;
    let counters = &stats["ingresses"][0];
    let count = |verdict: &str| counters[verdict]["packets"].as_u64();
    ensure!(
        count("accepted") == Some(sent / 2) && count("dropped") == Some(sent / 2),
        "of {sent} frames, half of them legitimate, the counters say {counters:#}"
    );
    for reason in ["label_out_of_vrf", "label_out_of_range"] {
        let of_reason = counters["reasons"][reason]["packets"].as_u64();
        ensure!(of_reason > Some(0), "no frame was refused as {reason}: {counters:#}");
    }
    notes.add("frames", sent);
    Ok(())
}

/// Sends legitimate and forged frames in turn until nobody watches any more.
fn flow(wire: &Wire, progress: &mpsc::Sender<()>) -> Result<u64> {
    const LOT: u64 = 64;
    let mut sent = 0;
    loop {
        let frames: Vec<_> = (sent..sent + LOT)
            .map(|number| {
                let label = if number % 2 == 0 { 100 } else { 200 };
                Frame::mpls([label])
                    .data([[0; 40].as_slice(), &number.to_ne_bytes()].concat())
                    .build()
            })
            .collect();
        let arrived = wire.probe(&frames)?;
        let wrong = (sent..).zip(&arrived).find(|&(number, &came)| came != (number % 2 == 0));
        ensure!(wrong.is_none(), "frame (and whether it arrived): {wrong:?}");
        sent += LOT;
        if progress.send(()).is_err() {
            return Ok(sent);
        }
    }
}

/// Receive VLAN offload is on before and after, and off while the filter is there.
pub fn tags_are_not_stripped(driver: &Driver, notes: &mut Notes) -> Result<()> {
    let router = driver.router(MTU)?;
    let interface = &router.wire("eth3")?.interface;
    let found = interface.feature(STRIPPING)?;
    ensure!(found == driver.strips_tags, "{STRIPPING} is on before: {found}");
    notes.add("stripped before", found);
    put_in_force(&router, driver)?;
    ensure!(!interface.feature(STRIPPING)?, "`apply` left {STRIPPING} on");
    let mut trial = Trial::new(&router, "eth3", POLICY)?;
    let hop = Frame::mpls([100]).vlan(SITE).length(100).build();
    let arrived = trial.judge([hop.clone()])?;
    ensure!(arrived == [false], "a customer's labelled frame arrived");

    if driver.strips_tags {
        // What would be without all this: behind the filter's back the driver strips again.
        interface.set_feature(STRIPPING, true)?;
        interface.wait_until_running()?;
        let before = accepted(&router, "core-a")?;
        let arrived = router.wire("eth3")?.probe(&[hop])?;
        let hopped = arrived == [true] && accepted(&router, "core-a")? == before + 1;
        notes.add("hops when stripped", hopped);
        ensure!(hopped || !driver.is_native()?, "the driver does not strip: {arrived:?}");
        let said = refusal(&router, &["status"], 1)?;
        let status = status(&router)?;
        let problem = format!("{said}{}", status["problems"]);
        ensure!(problem.contains("eth3: rx-vlan-offload is on again"), "{problem}");
        router.apply(POLICY, if driver.is_native()? { &[] } else { &["--mode", "generic"] })?;
        ensure!(!interface.feature(STRIPPING)?, "the second `apply` left {STRIPPING} on");
        router.mpls_xdp(["status"])?;
    }
    router.mpls_xdp(["detach", "--all"])?;
    ensure!(interface.feature(STRIPPING)? == found, "`detach` did not restore {STRIPPING}");
    Ok(())
}

/// What the rules of an ingress have accepted.
fn accepted(router: &Router, ingress: &str) -> Result<u64> {
    let stats = router.stats()?;
    let all = stats["ingresses"].as_array().context("there are no ingresses")?;
    let one = all.iter().find(|one| one["ingress"] == ingress);
    one.and_then(|one| one["accepted"]["packets"].as_u64())
        .with_context(|| format!("nothing about {ingress} in {stats}"))
}

/// Frames of 9000 bytes are judged as a whole, or the driver's refusal is told and changes nothing.
pub fn jumbo_frames(driver: &Driver, notes: &mut Notes) -> Result<()> {
    let router = driver.router(JUMBO)?;
    let interface = &router.wire("eth3")?.interface;
    let stripped = interface.feature(STRIPPING)?;
    let long = |frame: Frame, headers: usize| frame.length(headers + JUMBO as usize).build();
    let frames = [
        long(Frame::mpls([100]), 14),
        long(Frame::mpls([500_000]), 14),
        long(Frame::mpls([24_000]).vlan(100), 18),
        long(Frame::mpls([16_001]).vlan(100), 18),
        long(Frame::mpls([100]).vlan(SITE), 18),
        long(Frame::mpls((0..31).map(|_| 0).chain([100])), 14),
        long(Frame::mpls((0..31).map(|_| 0).chain([300])), 14),
        Frame::mpls([100]).length(4_096).build(),
        Frame::mpls([300]).length(4_096).build(),
        long(Frame::new(IPV4), 14),
    ];
    let arrived = router.wire("eth3")?.probe(&frames)?;
    let carried = arrived == [true; 10];
    notes.add("carried without the filter", carried);
    ensure!(carried || !driver.carries_jumbo, "without the filter arrive: {arrived:?}");

    if driver.is_native_with_jumbo()? {
        notes.add("mode", "native");
        router.apply(POLICY, &[])?;
    } else {
        notes.add("mode", "generic");
        let policy = router.store().directory().join("policy.toml");
        fs::write(policy, POLICY)?;
        let said = refusal(&router, &["apply", "policy.toml"], 1)?;
        notes.add("refusal", said.trim());
        for words in ["eth3: the driver", "MTU", "`--mode generic`"] {
            ensure!(said.contains(words), "the refusal does not say {words}: {said}");
        }
        ensure!(interface.feature(STRIPPING)? == stripped, "a refusal changes {STRIPPING}");
        let left = leak::entries_of_bpffs(router.store().bpffs())?;
        for pins in &left {
            let made = leak::entries_of_bpffs(pins)?;
            ensure!(made.is_empty(), "a refusal leaves {made:?}");
        }
        router.apply(POLICY, &["--mode", "generic"])?;
    }
    if !carried {
        return Ok(());
    }
    interface.wait_until_running()?;
    let arrived = Trial::new(&router, "eth3", POLICY)?.judge(frames)?;
    let expected = [true, false, true, false, false, true, false, true, false, true];
    ensure!(arrived == expected, "arrived: {arrived:?}");
    Ok(())
}

/// Attaching and detaching over and over leaves no program, map, link or pin.
pub fn nothing_is_left_after(driver: &Driver, notes: &mut Notes) -> Result<()> {
    let router = driver.router(MTU)?;
    let mode: &[&str] = if driver.is_native()? { &[] } else { &["--mode", "generic"] };
    let frames = [Frame::mpls([100]).length(100).build(), Frame::mpls([300]).length(100).build()];
    let before = Objects::all()?;
    for cycle in 0..driver.cycles {
        let attached = || -> Result<()> {
            router.apply(POLICY, mode)?;
            let made = Objects::pinned_under(router.store().bpffs())?;
            ensure!(!made.is_empty(), "nothing is pinned");
            if cycle % 10 == 0 {
                router.wire("eth3")?.interface.wait_until_running()?;
                let arrived = router.wire("eth3")?.probe(&frames)?;
                ensure!(arrived == [true, false], "arrived: {arrived:?}");
            }
            router.mpls_xdp(["detach", "--all"])?;
            made.wait_until_gone()
        };
        attached().with_context(|| format!("cycle {cycle}"))?;
        // Slow machines take minutes, and silence would be taken for a hang.
        println!("        cycle {cycle}");
    }
    // The guest has nobody else who would make any.
    Objects::all()?.since(&before).wait_until_gone()?;
    let pins = leak::entries_of_bpffs(router.store().bpffs())?;
    for folder in &pins {
        let left = leak::entries_of_bpffs(folder)?;
        ensure!(left.is_empty(), "left behind: {left:?}");
    }
    notes.add("cycles", driver.cycles);
    Ok(())
}
