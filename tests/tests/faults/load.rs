//! Counters add up to the frame while two CPUs count at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use mpls_xdp::kernel::CounterMap;
use mpls_xdp_tests::demo::Router;
use mpls_xdp_tests::frame::{Frame, IPV4, LabelEntry, MPLS_UPSTREAM};
use mpls_xdp_tests::lab::{Generator, Namespace, Veth, hide_btf};
use mpls_xdp_tests::leak::entries_of_bpffs;
use mpls_xdp_tests::oracle::{Oracle, Tally};
use rustix::thread::{CpuSet, sched_getaffinity};
use serde_json::Value;

use super::support::{packets, wait_for};

const POLICY: &str = r#"
version = 1
contexts.core = { kind = "transport", labels = ["16000-16999"] }
contexts.red = { kind = "vrf", labels = [100] }
contexts.blue = { kind = "vrf", labels = [200] }
ingress.line = { interface = "eth3", role = "core", contexts = ["core", "red"], labels = [300] }
ingress.tagged = { interface = "eth3", vlan = [100], role = "peer", labels = [400] }
ingress.watched = { interface = "eth4", role = "core", contexts = ["red"], mode = "monitor" }
ingress.site = { interface = "eth4", vlan = [100], role = "customer" }
"#;

/// Frames of each generator: the same number, so that the counters must be this many times those
/// of one round.
const ROUNDS: usize = 40_000;
/// Rounds that the kernel sends in one go.
const CHUNK: usize = 500;
/// Where frames begin to be alike.
const ALIKE: usize = 32;

/// A frame for each way to be counted, and one that is not.
fn kinds(length: usize) -> Vec<Vec<u8>> {
    let tags = |count| (0..count).fold(Frame::mpls([100]), |frame, _| frame.vlan(0));
    let dead = LabelEntry::new(100).ttl(0).bottom();
    [
        Frame::mpls([100]),
        Frame::mpls([100, 7]),
        Frame::mpls([16_007]),
        Frame::mpls([300]),
        Frame::mpls([0]),
        Frame::mpls([200]),
        Frame::mpls([400]),
        Frame::mpls([999]),
        Frame::mpls([3]),
        Frame::mpls([0, 100]),
        Frame::mpls([]).stack(vec![dead]),
        Frame::mpls([100]).ether_type(MPLS_UPSTREAM),
        Frame::mpls([400]).vlan(100),
        Frame::mpls([100]).vlan(7),
        tags(5),
        Frame::new(IPV4),
    ]
    .map(|frame| {
        let mut frame = frame.build();
        frame.truncate(ALIKE);
        frame.resize(length, 0);
        frame
    })
    .to_vec()
}

/// Two CPUs that this process may use.
fn two_processors() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    let two = processors.next().zip(processors.next());
    two.map(Into::into).context("two CPUs count at once: this test needs a machine that has two")
}

/// A router with two interfaces that have a queue for each of two CPUs.
struct Loaded {
    router: Router,
    oracle: Oracle,
    generators: Vec<(&'static str, Generator, Vec<Vec<u8>>)>,
}

impl Loaded {
    /// With a generator on each of two CPUs, to these interfaces.
    fn new(targets: [&'static str; 2]) -> Result<Self> {
        hide_btf()?;
        let router = Router::new(&[])?;
        let neighbour = Namespace::new("neighbour")?;
        let mut links = BTreeMap::new();
        for interface in ["eth3", "eth4"] {
            let ends = ((router.namespace(), interface), (&neighbour, interface));
            let (_, far) = Veth::between(ends.0, ends.1).queues(2).create()?;
            links.insert(interface, far);
        }
        let lengths = [64, 250];
        let generators = targets
            .into_iter()
            .zip(lengths)
            .zip(two_processors()?)
            .map(|((target, length), processor)| {
                let kinds = kinds(length);
                let generator = Generator::new(&links[target], &kinds)?.on(processor);
                Ok((target, generator, kinds))
            })
            .collect::<Result<_>>()?;
        router.apply(POLICY, &[])?;
        Ok(Self { router, oracle: Oracle::new(POLICY), generators })
    }

    /// What the counters must say of one round of each generator.
    fn tally(&self) -> Tally {
        let mut tally = Tally::new(&self.oracle);
        for (interface, _, kinds) in &self.generators {
            for frame in kinds {
                tally.feed(interface, frame.len(), &self.oracle.judge(interface, frame));
            }
        }
        tally
    }

    fn sent(&self) -> Result<u64> {
        self.generators.iter().map(|(_, generator, _)| generator.sent()).sum()
    }

    /// Sends everything, and reads the counters again and again meanwhile.
    fn send(&self) -> Result<()> {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let senders: Vec<_> = self
                .generators
                .iter()
                .map(|(_, generator, _)| {
                    scope.spawn(|| (0..ROUNDS / CHUNK).try_for_each(|_| generator.send(CHUNK)))
                })
                .collect();
            let reader = scope.spawn(|| self.watch(&ended));
            let sent: Result<()> =
                senders.into_iter().try_for_each(|sender| sender.join().expect("no panic"));
            ended.store(true, Ordering::Relaxed);
            let reads = reader.join().expect("the reader does not panic");
            sent?;
            let reads = reads?;
            ensure!(reads > 2, "the counters were read {reads} times under load");
            Ok(())
        })
    }

    /// Reads the counters until all is sent: none goes back, and none is ahead of what was sent.
    fn watch(&self, ended: &AtomicBool) -> Result<usize> {
        let mut before = BTreeMap::new();
        let mut reads = 0;
        while !ended.load(Ordering::Relaxed) {
            let stats = self.router.stats()?;
            let sent = self.sent()?;
            let (counted, now) = (judged(&stats), rows(&stats));
            ensure!(counted <= sent, "{counted} frames are counted of {sent} that were sent");
            for (row, count) in &now {
                let earlier = before.get(row).copied().unwrap_or_default();
                ensure!(*count >= earlier, "{row} went back from {earlier} to {count}");
            }
            before = now;
            reads += 1;
        }
        Ok(reads)
    }
}

/// All frames that were counted in some way.
fn judged(stats: &Value) -> u64 {
    let lists = [
        ("ingresses", &["accepted", "dropped", "would_drop"][..]),
        ("interfaces", &["unbound", "vlan_too_deep"]),
    ];
    let of_list = |(list, keys): (&str, &[&str])| -> u64 {
        let objects = stats[list].as_array().into_iter().flatten();
        objects.map(|object| keys.iter().map(|key| packets(&object[key])).sum::<u64>()).sum()
    };
    lists.into_iter().map(of_list).sum()
}

/// Every number of packets and bytes, by its place.
fn rows(value: &Value) -> BTreeMap<String, u64> {
    fn collect(place: &str, value: &Value, rows: &mut BTreeMap<String, u64>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    collect(&format!("{place}/{name}"), field, rows);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    collect(&format!("{place}/{at}"), item, rows);
                }
            }
            _ => rows.extend(value.as_u64().map(|count| (place.to_owned(), count))),
        }
    }
    let mut all = BTreeMap::new();
    collect("", value, &mut all);
    all.retain(|place, _| place.ends_with("/packets") || place.ends_with("/bytes"));
    all
}

/// The counters for one round, of counters for so many.
fn of_one_round(stats: &Value) -> Result<Value> {
    let mut stats = stats.clone();
    for (place, count) in rows(&stats) {
        let rounds = ROUNDS as u64;
        ensure!(count % rounds == 0, "{place} is {count}, no multiple of {rounds} rounds");
        let row = stats.pointer_mut(&place).context("a place of the counters")?;
        *row = (count / rounds).into();
    }
    Ok(stats)
}

/// What each CPU has counted, in packets, read from the pinned map itself.
fn packets_by_processor(pins: &Path) -> Result<Vec<u64>> {
    let counters = CounterMap::open(&pins.join("counters-1024"), 1024)?;
    Ok(counters.by_cpu().map(|slots| slots.map(|counter| counter.packets).sum()).collect())
}

fn counters_add_up(targets: [&'static str; 2]) -> Result<()> {
    let loaded = Loaded::new(targets)?;
    loaded.send()?;
    let frames = ROUNDS as u64 * judged(&loaded.tally().to_json());
    wait_for("every frame is counted", || Ok(judged(&loaded.router.stats()?) >= frames))
        .with_context(|| format!("of {} frames sent", loaded.sent().unwrap_or_default()))?;

    let stats = loaded.router.stats()?;
    let differences = loaded.tally().differences(&of_one_round(&stats)?);
    assert_eq!(differences, Vec::<String>::new(), "{stats:#}");

    let folders = entries_of_bpffs(&loaded.router.store().bpffs().join("mpls-xdp"))?;
    let by_processor = packets_by_processor(&folders[0])?;
    let both = two_processors()?.map(|processor| by_processor[processor]);
    assert!(both.iter().all(|count| *count > 0), "{by_processor:?}");
    assert_eq!(by_processor.iter().sum::<u64>(), frames, "{by_processor:?}");
    Ok(())
}

#[test]
fn two_cpus_count_on_one_ingress_and_nothing_is_lost() -> Result<()> {
    counters_add_up(["eth3", "eth3"])
}

#[test]
fn two_cpus_count_on_different_ingresses_and_nothing_is_lost() -> Result<()> {
    counters_add_up(["eth3", "eth4"])
}
