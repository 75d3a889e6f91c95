//! The same frames through what else could filter labels.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Link;

use super::Effort;
use super::bpf::Program;
use super::lanes::{self, Lane};
use super::policies::{ALL_LABELS, INTERFACE, Labels, Shape, Variant, thousands};
use super::programs::{self, Choice};
use super::report::{Group, Report, Unit};
use super::rounds::Rounds;
use super::stand::{DROP, PASS, Perch, Stand, is_installed, on_wire};

/// Not in any table.
pub const REFUSED: u32 = 1_048_575;
/// Who sends what xdp-filter is to drop.
const SENDER: [u8; 6] = [2, 0, 0x5e, 0x66, 0, 1];

/// Another filter, attached to an interface of the stand.
struct Peer {
    name: String,
    program: Program,
    /// Where its frames come in, and from where.
    receiver: String,
    feed: Link,
    labels: Labels,
    /// Whether it can tell labels apart.
    tells_labels: bool,
    _perch: Option<Perch>,
}

/// Measures the peers and, in the same rounds, the filter.
pub fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    let all = if effort.quick { 100_000 } else { ALL_LABELS - 1 };
    let stand = Stand::new(&labels(all, Shape::Interleaved).policy(Variant::Plain))?;
    let peers = peers(&stand, all, report)?;
    per_frame(&stand, &peers, labels(all, Shape::Interleaved), effort, report)?;
    live(&stand, &peers, effort, report)
}

const fn labels(count: u32, shape: Shape) -> Labels {
    Labels { count, shape }
}

fn peers(stand: &Stand, all: u32, report: &mut Report) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    let mut add = |name: String, program: Program, labels| -> Result<()> {
        let receiver = format!("peer{}", peers.len());
        let (perch, feed) = stand.place.attach(&program, &receiver)?;
        let peer =
            Peer { name, program, receiver, feed, labels, tells_labels: true, _perch: Some(perch) };
        peers.push(peer);
        Ok(())
    };
    for count in [1_000, all] {
        let labels = labels(count, Shape::Interleaved);
        let name = format!("BPF hash, {} labels", thousands(count));
        add(name, programs::hash(labels.iter())?, labels)?;
    }
    for count in [16, 1_000, 100_000] {
        const LABEL_BITS: u32 = 20;
        let labels = labels(count, Shape::Scattered);
        let prefixes: Vec<_> = labels.iter().map(|label| (label, LABEL_BITS)).collect();
        let name = format!("LPM trie, {} prefixes", thousands(count));
        add(name, programs::trie(&prefixes)?, labels)?;
    }
    if is_installed("xdp-filter") {
        peers.push(xdp_filter(stand)?);
    } else {
        report.miss("xdp-filter: it is not installed; Debian has it in the package xdp-tools");
    }
    Ok(peers)
}

/// xdp-filter tells frames apart by their Ethernet address, which is less than looking at a label.
fn xdp_filter(stand: &Stand) -> Result<Peer> {
    const NAME: &str = "xdpfilter";
    let place = &stand.place;
    let (receiver, feed) = place.pair(NAME)?;
    let address = SENDER.map(|byte| format!("{byte:02x}")).join(":");
    // Its maps are pinned in a bpffs that goes with the command; the program keeps them.
    let script = format!(
        "mount -t bpf bpf /sys/fs/bpf && xdp-filter load {NAME} -m native -p allow -f ethernet && \
         xdp-filter ether {address} -m src"
    );
    complete(place.namespace.command("unshare").args(["--mount", "sh", "-c", &script]))?;
    let id = receiver.xdp_program()?.context("xdp-filter attached no program")?;
    Ok(Peer {
        name: "xdp-filter, Ethernet addresses".to_owned(),
        program: Program::with_id(id)?,
        receiver: NAME.to_owned(),
        feed,
        labels: labels(1, Shape::Ranges),
        tells_labels: false,
        _perch: None,
    })
}

/// A frame that the peer drops.
fn refused(tells_labels: bool) -> Vec<u8> {
    let frame = Frame::mpls([REFUSED]);
    on_wire(&if tells_labels { frame } else { frame.source(SENDER) })
}

fn per_frame(
    stand: &Stand,
    peers: &[Peer],
    own: Labels,
    effort: &Effort,
    report: &mut Report,
) -> Result<()> {
    const FILTER: &str = "mpls-xdp";
    const EMPTY: &str = "empty";
    let accepted = |labels: Labels| on_wire(&Frame::mpls([labels.hot()]));
    let filter_name = format!("{FILTER}, {} labels", thousands(own.count));
    let mut filters = vec![(filter_name, &stand.filter, own, true)];
    filters.extend(peers.iter().map(|p| (p.name.clone(), &p.program, p.labels, p.tells_labels)));

    let choosing = filters.iter().enumerate().map(|(number, (_, program, labels, tells))| {
        let several = *tells && labels.count > 1;
        several
            .then(|| stand.choosing_before(program, labels.choice(), &format!("c{number}")))
            .transpose()
    });
    let choosing = choosing.collect::<Result<Vec<_>>>()?;

    let mut candidates = vec![(EMPTY.to_owned(), (&stand.empty, accepted(own), PASS))];
    for ((name, program, labels, tells), choosing) in filters.iter().zip(&choosing) {
        candidates.push((format!("{name}: accepted"), (*program, accepted(*labels), PASS)));
        candidates.push((format!("{name}: dropped"), (*program, refused(*tells), DROP)));
        if let Some(pair) = choosing {
            let (filter, empty) = (&pair.filter.program, &pair.empty.program);
            candidates.push((format!("{name}: {EMPTY}"), (empty, accepted(*labels), PASS)));
            let random = format!("{name}: accepted, at random");
            candidates.push((random, (filter, accepted(*labels), PASS)));
        }
    }
    let rounds = Rounds::take(effort.rounds, &candidates, |(program, frame, expected)| {
        let (action, took) = program.run(frame, effort.repeat)?;
        ensure!(action == *expected, "a frame ended with XDP action {action}");
        Ok(took)
    })?;
    for ((name, ..), choosing) in filters.iter().zip(&choosing) {
        for fate in ["accepted", "dropped"] {
            let name = format!("{name}: {fate}");
            report.add(Group::Peers, &name, Unit::Nanoseconds, rounds.over(&name, EMPTY)?);
        }
        if choosing.is_some() {
            let random = format!("{name}: accepted, at random");
            let over = rounds.over(&random, &format!("{name}: {EMPTY}"))?;
            report.add(Group::Peers, &random, Unit::Nanoseconds, over);
        }
    }
    Ok(())
}

/// Dropped frames a second.
fn live(stand: &Stand, peers: &[Peer], effort: &Effort, report: &mut Report) -> Result<()> {
    const BARE: &str = "live, dropped: bare XDP_DROP";
    let place = &stand.place;
    let drop = programs::drop_all()?;
    let (_dropping, drop_feed) = place.attach(&drop, "drop")?;
    let mut lanes: Vec<(String, Lane)> = Vec::new();
    let mut lane = |name: &str, way: (&Link, &str), tells_labels| -> Result<()> {
        let own = format!("s{}", lanes.len());
        let (frame, hot) = (refused(tells_labels), Choice::only(REFUSED));
        lanes.push((name.to_owned(), Lane::new(place, &own, way, &frame, hot)?));
        Ok(())
    };
    lane(BARE, (&drop_feed, "drop"), true)?;
    lane("live, dropped: mpls-xdp", (&place.feed, INTERFACE), true)?;
    for peer in peers {
        let name = format!("live, dropped: {}", peer.name);
        lane(&name, (&peer.feed, &peer.receiver), peer.tells_labels)?;
    }
    let nft = if is_installed("nft") {
        [16, 1_000].map(|intervals| (intervals, format!("nft{intervals}"))).to_vec()
    } else {
        report.miss("nftables: nft is not installed; Debian has it in the package nftables");
        Vec::new()
    };
    for (intervals, interface) in &nft {
        let (_, feed) = place.pair(interface)?;
        load_nft(stand, interface, *intervals)?;
        let name = format!("live, dropped: nftables ingress, {} intervals", thousands(*intervals));
        lane(&name, (&feed, interface), true)?;
    }

    let rounds = lanes::take(place, effort.rounds, effort.frames, &lanes)?;
    let sent = (effort.rounds as u64 + 1) * u64::from(effort.frames);
    for (_, interface) in &nft {
        let dropped = dropped_by_nft(stand, interface)?;
        ensure!(
            dropped + 1_000 >= sent,
            "nftables dropped {dropped} frames of {sent} on {interface}"
        );
    }
    lanes::report(report, Group::Peers, &lanes, &rounds, BARE)
}

/// Makes nftables accept labels in so many intervals on an interface, and no other. The set has no
/// name: a named one loads in nftables 1.0.6 and never matches.
fn load_nft(stand: &Stand, interface: &str, intervals: u32) -> Result<()> {
    let mut set = String::new();
    for number in 0..intervals {
        let first = 1_000 + 32 * number;
        let _ = write!(set, "{first}-{},", first + 15);
    }
    let rules = format!(
        "table netdev {interface} {{ chain ingress {{
            type filter hook ingress device \"{interface}\" priority 0; policy accept;
            ether type 0x8847 @ll,112,20 {{ {} }} accept
            ether type 0x8847 counter drop
        }}
        }}",
        set.trim_end_matches(',')
    );
    let mut command = stand.place.namespace.command("nft");
    let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("nft reads nothing")?.write_all(rules.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "nft ended with {status}");
    Ok(())
}

fn dropped_by_nft(stand: &Stand, interface: &str) -> Result<u64> {
    let mut command = stand.place.namespace.command("nft");
    let text = complete(command.args(["list", "chain", "netdev", interface, "ingress"]))?;
    let counter = text.split("counter packets ").nth(1);
    let count = counter.and_then(|text| text.split(' ').next()?.parse().ok());
    count.with_context(|| format!("nft shows no counter: {text}"))
}

/// Runs a command to its end and returns what it printed.
pub fn complete(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
