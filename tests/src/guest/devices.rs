//! Devices that stand on others, and the kernel's switch for MPLS on each.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Report;
use super::trial::{Trial, refusal, status};
use crate::demo::{Router, Wire};
use crate::frame::{C_TAG, Frame, S_TAG, Tag};
use crate::lab::{Link, Namespace, PATIENCE, Veth};

const STRIPPING: &str = "rx-vlan-hw-parse";
/// Where the kernel keeps its switches for MPLS.
const MPLS: &str = "/proc/sys/net/mpls/conf";

/// Carries these checks out.
///
/// # Errors
///
/// When the report cannot be written.
pub fn check(report: &mut Report) -> Result<()> {
    report.check("a VLAN device is refused and its port is named", |_| vlan_device_is_refused())?;
    report.check("a VLAN device gets what the filter passes", |_| vlan_device_gets_its_frames())?;
    report.check("a bond is filtered on all its members", |_| bond())?;
    report.check("members of a bond are filtered by themselves", |_| bond_members())?;
    report.check("interfaces that take MPLS are named unless covered", |_| mpls_input())
}

/// A policy with this ingress.
fn policy(interface: &str, vlan: &[u16]) -> String {
    format!(
        "version = 1\n[contexts.red]\nkind = \"vrf\"\nlabels = [100]\n[ingress.core]\ninterface = \
         \"{interface}\"\nvlan = {vlan:?}\nrole = \"core\"\ncontexts = [\"red\"]\n"
    )
    .replace("vlan = []\n", "")
}

fn write(router: &Router, policy: &str) -> Result<()> {
    let file = router.store().directory().join("policy.toml");
    fs::write(file, policy).context("writing the policy")
}

fn vlan_device_is_refused() -> Result<()> {
    let router = Router::new(&[("eth2", "peer")])?;
    let eth2 = &router.wire("eth2")?.interface;
    eth2.vlan("eth2.100", C_TAG, 100)?;
    eth2.vlan("outer", S_TAG, 200)?.vlan("inner", C_TAG, 7)?;
    for (device, instead) in [
        ("eth2.100", "`interface = \"eth2\"` and `vlan = [100]`"),
        ("outer", "`interface = \"eth2\"` and `vlan = [200]`"),
        ("inner", "`interface = \"eth2\"` and `vlan = [200, 7]`"),
    ] {
        write(&router, &policy(device, &[]))?;
        for command in [["apply", "policy.toml"].as_slice(), &["check", "--live", "policy.toml"]] {
            let said = refusal(&router, command, 3)?;
            for words in [&format!("`{device}` is a VLAN device"), instead, "policy.toml:6:"] {
                ensure!(said.contains(words), "{command:?} does not say {words}: {said}");
            }
        }
    }
    Ok(())
}

fn vlan_device_gets_its_frames() -> Result<()> {
    let router = Router::new(&[("eth2", "peer")])?;
    let eth2 = router.wire("eth2")?;
    let device = eth2.interface.vlan("eth2.100", C_TAG, 100)?.port()?;
    let text = policy("eth2", &[100]);
    router.apply(&text, &[])?;
    let mut trial = Trial::new(&router, "eth2", &text)?;
    let [good, bad] = [100, 200].map(|label| Frame::mpls([label]));
    let arrived = trial.judge([
        bad.clone().vlan(100).build(),
        good.clone().vlan(100).build(),
        bad.build(),
    ])?;
    ensure!(arrived == [false, true, false], "arrived: {arrived:?}");
    let got = device.collect(1, PATIENCE)?;
    ensure!(got == [good.build()], "the VLAN device got {got:02x?}");
    Ok(())
}

/// A router whose `bond0` stands on `eth4` and `eth5`, by the wire of the member in use.
struct Bonded {
    router: Router,
    members: [Link; 2],
    /// The neighbour's ends of the two wires.
    uplinks: [Link; 2],
}

impl Bonded {
    fn new(named: impl FnOnce(&Link, &[Link; 2]) -> Link) -> Result<Self> {
        let (namespace, neighbour) = (Namespace::new("pe1")?, Namespace::new("neighbour")?);
        let wire =
            |inside, outside| Veth::between((&namespace, inside), (&neighbour, outside)).create();
        let ((eth4, up4), (eth5, up5)) = (wire("eth4", "up4")?, wire("eth5", "up5")?);
        let bond = Link::bond(&namespace, "bond0", &[&eth4, &eth5])?;
        let members = [eth4, eth5];
        let interface = named(&bond, &members);
        let router = Router::of(namespace, vec![Wire::of(interface, up4.clone())?])?;
        Ok(Self { router, members, uplinks: [up4, up5] })
    }

    /// Whether the members' drivers leave tags in frames.
    fn keep_tags(&self) -> Result<[bool; 2]> {
        let [first, second] = &self.members;
        Ok([!first.feature(STRIPPING)?, !second.feature(STRIPPING)?])
    }
}

/// Frames with and without a tag, and whether a policy of one untagged ingress passes them.
fn cases() -> [(Vec<u8>, bool); 4] {
    let tagged = Frame::mpls([100]).tag(Tag::customer(9));
    [
        (Frame::mpls([100]).build(), true),
        (Frame::mpls([200]).build(), false),
        (tagged.build(), false),
        (Frame::mpls([100]).tag(Tag::customer(0).pcp(3)).build(), true),
    ]
}

fn bond() -> Result<()> {
    let bonded = Bonded::new(|bond, _| bond.clone())?;
    let Bonded { router, uplinks: [_, second], .. } = &bonded;
    ensure!(bonded.keep_tags()? == [false; 2], "the members do not strip tags before");
    let text = policy("bond0", &[]);
    router.apply(&text, &[])?;
    ensure!(bonded.keep_tags()? == [true; 2], "`apply` leaves tags to the members");
    let said = status(router)?;
    ensure!(said["interfaces"][0]["attached"] == "native", "{said:#}");
    router.mpls_xdp(["status"])?;
    let mut trial = Trial::new(router, "bond0", &text)?;
    let (frames, expected): (Vec<_>, Vec<_>) = cases().into_iter().unzip();
    let arrived = trial.judge(frames.clone())?;
    ensure!(arrived == expected, "arrived: {arrived:?}");

    // The program is on the member in reserve too: its labelled frames are counted all the same.
    let before = counted(router)?;
    let port = second.port()?;
    for frame in &frames {
        port.send(frame)?;
    }
    wait_for_count(router, before + frames.len() as u64)?;

    let later = Namespace::new("later")?;
    let (late, _) = Veth::between((router.namespace(), "eth6"), (&later, "up6")).create()?;
    let bond = router.wire("bond0")?.interface.clone();
    bond.enslave(&late)?;
    let said = refusal(router, &["status"], 1)?;
    let all = format!("{said}{}", status(router)?["problems"]);
    ensure!(all.contains("eth6: rx-vlan-offload is on again"), "{all}");
    router.apply(&text, &[])?;
    router.mpls_xdp(["status"])?;
    ensure!(!late.feature(STRIPPING)?, "the second `apply` leaves tags to the new member");

    router.mpls_xdp(["detach", "--all"])?;
    ensure!(bonded.keep_tags()? == [false; 2], "`detach` does not restore the members' offload");
    ensure!(late.feature(STRIPPING)?, "`detach` does not restore the new member's offload");
    Ok(())
}

fn bond_members() -> Result<()> {
    let bonded = Bonded::new(|_, [first, _]| first.clone())?;
    let Bonded { router, .. } = &bonded;
    let text = policy("eth4", &[])
        + "[ingress.second]\ninterface = \"eth5\"\nrole = \"core\"\ncontexts = [\"red\"]\n";
    router.apply(&text, &[])?;
    router.mpls_xdp(["status"])?;
    ensure!(bonded.keep_tags()? == [true; 2], "`apply` leaves tags to the members");
    let mut trial = Trial::new(router, "eth4", &text)?;
    let (frames, expected): (Vec<_>, Vec<_>) = cases().into_iter().unzip();
    let arrived = trial.judge(frames)?;
    ensure!(arrived == expected, "arrived: {arrived:?}");
    write(router, &policy("bond0", &[]))?;
    // The kernel has no place for a program on the bond while its members have theirs.
    let said = refusal(router, &["apply", "policy.toml"], 1)?;
    ensure!(said.contains("bond0"), "{said}");
    router.mpls_xdp(["status"])?;
    let arrived = trial.judge([Frame::mpls([200]).build()])?;
    ensure!(arrived == [false], "a refused policy takes the filter off");
    router.mpls_xdp(["detach", "--all"])?;
    Ok(())
}

/// All frames that the only ingress and its interface have counted.
fn counted(router: &Router) -> Result<u64> {
    let stats = router.stats()?;
    let (ingress, interface) = (&stats["ingresses"][0], &stats["interfaces"][0]);
    let counters = [&ingress["accepted"], &ingress["dropped"], &interface["unbound"]];
    counters
        .into_iter()
        .map(|counter| counter["packets"].as_u64().with_context(|| format!("{stats:#}")))
        .sum()
}

/// Asks until so many frames are counted: nothing comes out of a member in reserve.
fn wait_for_count(router: &Router, expected: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counted = counted(router)?;
        if counted == expected {
            return Ok(());
        }
        ensure!(
            counted < expected && Instant::now() < deadline,
            "{counted} frames are counted instead of {expected}"
        );
    }
}

fn mpls_input() -> Result<()> {
    let router = Router::new(&[("eth1", "site"), ("eth2", "peer"), ("eth3", "core")])?;
    let eth2 = &router.wire("eth2")?.interface;
    for (name, vid) in [("eth2.100", 100), ("eth2.300", 300)] {
        eth2.vlan(name, C_TAG, vid)?;
    }
    let inputs = ["lo", "eth1", "eth2", "eth2.100", "eth2.300", "eth3"];
    router.namespace().run(|| {
        for interface in inputs {
            let input = format!("{MPLS}/{interface}/input");
            fs::write(&input, "1").with_context(|| format!("writing {input}"))?;
        }
        Ok(())
    })?;
    let text =
        policy("eth2", &[100]) + "[ingress.site]\ninterface = \"eth1\"\nrole = \"customer\"\n";
    write(&router, &text)?;
    let covered = ["eth1", "eth2.100"];
    let holes: BTreeSet<_> =
        inputs.into_iter().filter(|interface| !covered.contains(interface)).collect();
    for command in
        [["check", "--live", "policy.toml"].as_slice(), &["apply", "policy.toml"], &["status"]]
    {
        let said = router.mpls_xdp(command)?;
        let named = inputs.into_iter().filter(|name| said.contains(&format!("  {name}: ")));
        let named: BTreeSet<_> = named.collect();
        ensure!(named == holes, "{command:?} names {named:?}, but the holes are {holes:?}: {said}");
    }
    let status = status(&router)?;
    let uncovered = status["uncovered"].as_array().context("nothing about holes")?;
    let named: BTreeSet<_> =
        uncovered.iter().filter_map(|hole| hole["interface"].as_str()).collect();
    ensure!(named == holes, "`status --json` names {named:?}");
    let of_vlan = uncovered.iter().find(|hole| hole["interface"] == "eth2.300");
    let why = of_vlan.and_then(|hole| hole["why"].as_str()).unwrap_or_default();
    ensure!(why.contains("frames of VLAN 300 on eth2 have no ingress"), "eth2.300: {why}");

    router.namespace().run(|| Ok(fs::write(format!("{MPLS}/eth3/input"), "0")?))?;
    let said = router.mpls_xdp(["status"])?;
    ensure!(!said.contains("  eth3: "), "eth3 takes no MPLS any more: {said}");
    Ok(())
}
