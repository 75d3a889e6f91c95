//! `mpls-xdp` is killed with SIGKILL at each system call that it makes.
//!
//! A scenario is run again and again. The first time the process dies at the entry of its first
//! call, then at that of its second, and so on until it ends by itself; and where a call can change
//! something outside of the process, it also dies when the call has returned, before it knows.
//!
//! After each kill, frames say which policy is in force on all interfaces at once: the one before
//! or the one after, as a whole. An interface that the policy before does not name is unfiltered
//! until the policy after is in force everywhere, and one that the policy after does not name is
//! filtered until then.
//!
//! Then the pins, what they stand for, the programs on the interfaces, their offloads and the files
//! are compared with those before. If nothing has changed, the dead process might not have been
//! there: the scenario goes on from the same state. Otherwise the next `apply` must put the policy
//! in force and go on counting, `status` must find nothing wrong, `detach --all` must leave nothing,
//! and the scenario is set up anew.
//!
//! The kernel's description of its types is hidden: see [`hide_btf`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mpls_xdp::filter::digest;
use mpls_xdp::kernel::PolicyMap;
use mpls_xdp_tests::demo::Router;
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::{HandWritten, hide_btf};
use mpls_xdp_tests::leak::{Object, Objects, entries_of_bpffs, pins_under};
use mpls_xdp_tests::oracle::{Oracle, Verdict};
use mpls_xdp_tests::tracer::{Moment, trace};
use serde_json::Value;

use super::support::{INTERVAL, PATIENCE, packets};

const INTERFACES: [&str; 2] = ["eth1", "eth3"];
/// In both policies, in the one before, in the one after, in none.
const LABELS: [u32; 4] = [500, 100, 300, 200];
const BEFORE: &str = "[500, 100]";
const AFTER: &str = "[500, 300]";
const OFFLOADS: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
const POLICY_FILE: &str = "policy.toml";

/// Which frames pass, of each interface.
type Verdicts = Vec<Vec<bool>>;

/// What is done to a filter that is in force.
struct Scenario {
    /// The policy that was in force before that one.
    earlier: Option<String>,
    /// The policy in force before.
    before: Option<String>,
    /// The policy that is in force when the command has ended by itself.
    after: Option<String>,
    /// The command that is killed.
    killed: Vec<&'static str>,
    /// The policy that `apply` puts in force at last, and the options that it needs.
    at_last: (String, Vec<&'static str>),
    /// An interface that has somebody else's program before.
    foreign: Option<&'static str>,
}

impl Scenario {
    fn apply(before: Option<String>, after: String) -> Self {
        Self {
            earlier: None,
            before,
            after: Some(after.clone()),
            killed: vec!["apply", POLICY_FILE],
            at_last: (after, Vec::new()),
            foreign: None,
        }
    }

    /// Whether the policy after must be confirmed.
    fn awaits(&self) -> bool {
        self.killed.contains(&"--confirm-within")
    }
}

/// A policy that accepts these labels on these interfaces.
fn policy(interfaces: &[&str], labels: &str) -> String {
    let mut text =
        format!("version = 1\ncontexts.core = {{ kind = \"transport\", labels = {labels} }}\n");
    for name in interfaces {
        text += &format!(
            "ingress.{name} = {{ interface = \"{name}\", role = \"core\", contexts = [\"core\"] }}\n"
        );
    }
    text
}

/// Everything that a command can leave behind.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    pins: BTreeMap<PathBuf, Object>,
    /// The generation that is active in each policy map.
    active: BTreeMap<PathBuf, u64>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    programs: Vec<Option<u32>>,
    offloads: Vec<[bool; 2]>,
}

impl State {
    /// Whether there is nothing but what `detach --all` always leaves: an empty lock file.
    fn is_clean(&self) -> bool {
        let is_lock =
            |(path, content): (&PathBuf, &Vec<u8>)| name(path) == "lock" && content.is_empty();
        self.pins.is_empty()
            && self.programs.iter().all(Option::is_none)
            && self.offloads.iter().all(|both| *both == [true; 2])
            && self.files.iter().all(is_lock)
    }
}

/// The router on which everything happens.
struct Ground {
    router: Router,
    frames: Vec<Vec<u8>>,
    /// Everything that was ever there.
    seen: BTreeSet<Object>,
}

impl Ground {
    fn new() -> Result<Self> {
        hide_btf()?;
        let router = Router::new(&INTERFACES.map(|name| (name, name)))?;
        let frames = LABELS.map(|label| Frame::mpls([label]).build()).to_vec();
        Ok(Self { router, frames, seen: BTreeSet::new() })
    }

    /// What a policy says of the frames; without one, everything passes.
    fn expected(&self, policy: Option<&String>) -> Verdicts {
        let Some(policy) = policy else {
            return vec![vec![true; self.frames.len()]; INTERFACES.len()];
        };
        let oracle = Oracle::new(policy);
        let passes = |interface, frame| oracle.judge(interface, frame).verdict == Verdict::Pass;
        INTERFACES
            .map(|name| self.frames.iter().map(|frame| passes(name, frame)).collect())
            .to_vec()
    }

    /// What the kernel does with them.
    fn verdicts(&self) -> Result<Verdicts> {
        INTERFACES.iter().map(|name| self.router.wire(name)?.probe(&self.frames)).collect()
    }

    /// The frames must meet the policy before or the one after, on all interfaces; the one after
    /// when the command has ended by itself.
    fn judge(&self, scenario: &Scenario, ended: bool) -> Result<()> {
        let [old, new] =
            [&scenario.before, &scenario.after].map(|policy| self.expected(policy.as_ref()));
        ensure!(old != new, "the frames tell nothing");
        let verdicts = self.verdicts()?;
        ensure!(
            verdicts == new || verdicts == old && !ended,
            "of labels {LABELS:?} on {INTERFACES:?}, these pass: {verdicts:?}; before {old:?}, \
             after {new:?}"
        );
        Ok(())
    }

    /// The history and `status` must name the policy that decides about the frames, whether it has
    /// to be confirmed, and nothing else. A `detach` keeps no history.
    fn judge_what_is_told(&self, scenario: &Scenario) -> Result<()> {
        let Some(after) = &scenario.after else {
            return Ok(());
        };
        let is_new = self.verdicts()? == self.expected(Some(after));
        let policy = if is_new { Some(after) } else { scenario.before.as_ref() };
        let digest = policy.map(|policy| digest(policy.as_bytes()));
        let history = self.router.mpls_xdp(["history", "--json"])?;
        let history: Value = serde_json::from_str(&history)?;
        let entries: Vec<&Value> = history["entries"].as_array().into_iter().flatten().collect();
        let told = entries.iter().find(|entry| entry["in_force"] == true);
        let told_digest = told.and_then(|entry| entry["digest"].as_str());
        ensure!(told_digest == digest.as_deref(), "{digest:?} is in force, but {history}");
        let newest = entries.first().copied();
        ensure!(newest == told.copied(), "what never came into force is told: {history}");
        let awaits = told.is_some_and(|entry| entry["outcome"] == "awaiting");
        ensure!(awaits == (is_new && scenario.awaits()), "{history}");
        // Another process would go back, but it was killed as well.
        let status = self.router.command(["status", "--json"])?.output()?;
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        ensure!(status["digest"].as_str() == digest.as_deref(), "{status}");
        ensure!(status["confirmation"].is_null() != awaits, "{status}");
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        let pins = pins_under(self.router.store().bpffs())?;
        self.seen.extend(pins.values());
        let policy_maps = pins.keys().filter(|path| name(path).starts_with("policy-"));
        let active =
            policy_maps.map(|path| Ok((path.clone(), PolicyMap::open(path)?.generation())));
        let links = INTERFACES.iter().map(|name| Ok(&self.router.wire(name)?.interface));
        let links: Vec<_> = links.collect::<Result<_>>()?;
        Ok(State {
            active: active.collect::<Result<_>>()?,
            pins,
            files: files(self.router.store().state())?,
            programs: links.iter().map(|link| link.xdp_program()).collect::<Result<_>>()?,
            offloads: links
                .iter()
                .map(|link| Ok([link.feature(OFFLOADS[0])?, link.feature(OFFLOADS[1])?]))
                .collect::<Result<_>>()?,
        })
    }

    /// Makes everything as the scenario has it before.
    fn prepare(&mut self, scenario: &Scenario) -> Result<State> {
        for policy in scenario.earlier.iter().chain(&scenario.before) {
            self.router.apply(policy, &[])?;
        }
        if let Some(name) = scenario.foreign {
            let interface = &self.router.wire(name)?.interface;
            interface.attach_over_netlink(&HandWritten::pass_all()?)?;
        }
        let policy = scenario.after.as_ref().or(scenario.before.as_ref());
        fs::write(self.router.store().directory().join(POLICY_FILE), policy.context("a policy")?)?;
        self.state()
    }

    /// How many frames of the interface that all policies name were accepted so far.
    fn accepted(&self) -> Result<u64> {
        let stats = self.router.stats()?;
        let mut ingresses = stats["ingresses"].as_array().into_iter().flatten();
        let ingress = ingresses.find(|ingress| ingress["ingress"] == INTERFACES[1]);
        Ok(packets(&ingress.context("no counters")?["accepted"]))
    }

    /// Puts the policy in force at last, and takes it off: nothing is left then. Where one policy
    /// follows another, the counters go on.
    fn recover(&mut self, scenario: &Scenario) -> Result<()> {
        let (policy, options) = &scenario.at_last;
        let goes_on = scenario.before.is_some() && scenario.after.is_some();
        let accepted = if goes_on { self.accepted()? } else { 0 };
        ensure!(!goes_on || accepted > 0, "the counters of the policy in force are lost");
        self.router.apply(policy, options).context("the next `apply`")?;
        ensure!(self.accepted()? >= accepted, "the next `apply` loses {accepted} accepted frames");
        let (verdicts, expected) = (self.verdicts()?, self.expected(Some(policy)));
        ensure!(verdicts == expected, "after the next `apply`: {verdicts:?}, not {expected:?}");
        self.router.mpls_xdp(["status"]).context("after the next `apply`")?;
        self.state()?;
        self.router.mpls_xdp(["detach", "--all"])?;
        let (verdicts, expected) = (self.verdicts()?, self.expected(None));
        ensure!(verdicts == expected, "after `detach --all`: {verdicts:?}, not {expected:?}");
        let left = entries_of_bpffs(self.router.store().bpffs())?;
        ensure!(left.is_empty(), "`detach --all` leaves {left:?}");
        // The kernel takes a program off in the background when the pin of its link goes.
        let deadline = Instant::now() + PATIENCE;
        let mut left = self.state()?;
        while !left.is_clean() {
            ensure!(Instant::now() < deadline, "`detach --all` leaves {left:#?}");
            thread::sleep(INTERVAL);
            left = self.state()?;
        }
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// All files below a folder, with what is in them.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(found)
}

/// Kills the scenario's command at each of its calls. A part of each round is waiting for the
/// kernel, so several routers share the calls among them.
fn killed_at_each_call(scenario: &Scenario) -> Result<()> {
    const ROUTERS: usize = 4;
    let rounds: Rounds = thread::scope(|scope| {
        let routers: Vec<_> = (0..ROUTERS)
            .map(|first| scope.spawn(move || killed_at_every_nth_call(scenario, first, ROUTERS)))
            .collect();
        routers
            .into_iter()
            .map(|router| router.join().expect("no router panics"))
            .sum::<Result<_>>()
    })?;
    println!("{rounds:?}");
    ensure!(rounds.changes > 0 && rounds.changes < rounds.kills, "{rounds:?}");
    Ok(())
}

/// How much was done.
#[derive(Debug, Default)]
struct Rounds {
    kills: usize,
    /// Kills that left something.
    changes: usize,
}

impl Sum for Rounds {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            kills: sum.kills + one.kills,
            changes: sum.changes + one.changes,
        })
    }
}

fn killed_at_every_nth_call(scenario: &Scenario, first: usize, n: usize) -> Result<Rounds> {
    let mut ground = Ground::new()?;
    let mut before = ground.prepare(scenario)?;
    let (mut longest, mut rounds) = (0, Rounds::default());
    for place in (first..).step_by(n) {
        for moment in [Moment::Entry, Moment::Exit] {
            let trace = trace(ground.router.command(&scenario.killed)?, Some((place, moment)))?;
            ground.seen.extend(&trace.made);
            longest = longest.max(trace.calls.len());
            let ended = !trace.was_killed();
            let call = trace.calls.get(place).filter(|_| !ended);
            let here = || match call {
                Some(call) => format!("killed at the {moment:?} of call {place}, {call}"),
                None => format!("not killed, after {} calls", trace.calls.len()),
            };
            ensure!(!ended || trace.status.success(), "{}: {}", trace.status, trace.output);
            ground.judge(scenario, ended).with_context(here)?;
            let after = ground.state().with_context(here)?;
            if after != before {
                rounds.changes += 1;
                ground.judge_what_is_told(scenario).with_context(here)?;
                ground.recover(scenario).with_context(here)?;
                before = ground.prepare(scenario)?;
            }
            rounds.kills += usize::from(!ended);
            if !call.is_some_and(|call| call.is_outward()) {
                break;
            }
        }
        // One run may have a call or two more than another.
        if place >= longest {
            break;
        }
    }
    ground.verdicts()?;
    ground.recover(scenario)?;
    Objects::of(ground.seen).wait_until_gone()?;
    Ok(rounds)
}

#[test]
fn a_first_attach_that_dies_leaves_no_filter_or_the_policy() -> Result<()> {
    killed_at_each_call(&Scenario::apply(None, policy(&INTERFACES, AFTER)))
}

#[test]
fn a_change_that_dies_leaves_the_old_or_the_new_policy() -> Result<()> {
    let before = policy(&INTERFACES, BEFORE);
    killed_at_each_call(&Scenario::apply(Some(before), policy(&INTERFACES, AFTER)))
}

#[test]
fn an_interface_is_added_with_the_new_policy_or_not_at_all() -> Result<()> {
    let before = policy(&INTERFACES[1..], BEFORE);
    killed_at_each_call(&Scenario::apply(Some(before), policy(&INTERFACES, AFTER)))
}

#[test]
fn an_interface_is_removed_with_the_new_policy_or_not_at_all() -> Result<()> {
    let before = policy(&INTERFACES, BEFORE);
    killed_at_each_call(&Scenario::apply(Some(before), policy(&INTERFACES[1..], AFTER)))
}

#[test]
fn programs_move_to_a_larger_map_with_the_old_or_the_new_policy() -> Result<()> {
    let before = policy(&INTERFACES, BEFORE);
    // Labels that alternate between two contexts take a page for each 64 of them.
    let many: Vec<u32> = (1_000..9_000).step_by(2).collect();
    let larger = policy(&INTERFACES, AFTER)
        + &format!("contexts.many = {{ kind = \"transport\", labels = {many:?} }}\n");
    let larger = larger.replace(r#"contexts = ["core"]"#, r#"contexts = ["core", "many"]"#);
    killed_at_each_call(&Scenario::apply(Some(before), larger))
}

#[test]
fn somebody_elses_program_is_replaced_by_the_new_policy_or_not_at_all() -> Result<()> {
    let before = policy(&INTERFACES[1..], BEFORE);
    let after = policy(&INTERFACES, AFTER);
    killed_at_each_call(&Scenario {
        killed: vec!["apply", POLICY_FILE, "--replace"],
        at_last: (after.clone(), vec!["--replace"]),
        foreign: Some(INTERFACES[0]),
        ..Scenario::apply(Some(before), after)
    })
}

#[test]
fn a_detach_that_dies_leaves_the_whole_policy_or_none() -> Result<()> {
    let before = policy(&INTERFACES, BEFORE);
    killed_at_each_call(&Scenario {
        after: None,
        killed: vec!["detach", "--all"],
        ..Scenario::apply(Some(before), policy(&INTERFACES, AFTER))
    })
}

#[test]
fn a_policy_to_be_confirmed_that_dies_is_never_taken_for_one_that_stays() -> Result<()> {
    let before = policy(&INTERFACES, BEFORE);
    killed_at_each_call(&Scenario {
        killed: vec!["apply", POLICY_FILE, "--confirm-within", "10m"],
        ..Scenario::apply(Some(before), policy(&INTERFACES, AFTER))
    })
}

#[test]
fn a_rollback_that_dies_leaves_the_policy_or_the_one_before() -> Result<()> {
    let after = policy(&INTERFACES, AFTER);
    killed_at_each_call(&Scenario {
        earlier: Some(after.clone()),
        killed: vec!["rollback"],
        ..Scenario::apply(Some(policy(&INTERFACES, BEFORE)), after)
    })
}
