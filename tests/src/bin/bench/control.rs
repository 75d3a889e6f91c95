//! What the commands take: time, memory of their own and of the kernel.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpls_xdp::{compile, manifest::Manifest, policy};
use mpls_xdp_tests::frame::{Frame, MPLS};

use super::Effort;
use super::memory::Memory;
use super::policies::{ALL_LABELS, Ingresses, Labels, Shape, Variant};
use super::report::{Group, Report, Unit};
use super::rounds::{Measured, milliseconds};
use super::stand::{Place, on_wire};

const POLICY: &str = "policy.toml";

const LABELS: [Labels; 6] = [
    Labels { count: 1_000, shape: Shape::Ranges },
    Labels { count: 100_000, shape: Shape::Ranges },
    Labels { count: ALL_LABELS, shape: Shape::Ranges },
    Labels { count: 1_000, shape: Shape::Scattered },
    Labels { count: 100_000, shape: Shape::Scattered },
    Labels { count: ALL_LABELS, shape: Shape::Interleaved },
];

/// Measures the commands, and then their parts in this process: a process starts with what its
/// parent has, and its peak would be that of a parent that has read a large policy.
pub fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    let idle = Usages::take(effort.repeats(0), || run(&mut Command::new("true")))?;
    idle.report(report, "a process that does nothing")?;
    for labels in LABELS {
        let repeats = effort.repeats(labels.count);
        checking(labels, repeats, report)?;
        if labels.count != 100_000 {
            applying(labels, repeats, report)?;
        }
    }
    ingresses(effort, report)?;
    first_verdict(effort, report)?;
    for labels in LABELS {
        reading(labels, effort.repeats(labels.count), report)?;
    }
    Ok(())
}

fn checking(labels: Labels, repeats: usize, report: &mut Report) -> Result<()> {
    let place = Place::new()?;
    place.write(POLICY, &labels.policy(Variant::Plain))?;
    let checks = Usages::take(repeats, || run(&mut place.command(&["check", POLICY])))?;
    checks.report(report, &format!("{labels}: check"))
}

fn reading(labels: Labels, repeats: usize, report: &mut Report) -> Result<()> {
    let text = labels.policy(Variant::Plain);
    let (mut reading, mut compiling) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let (read, compiled) = read_and_compile(&text)?;
        reading.push(read);
        compiling.push(compiled);
    }
    for (what, samples) in [("reading the file", reading), ("compiling", compiling)] {
        let measured = Measured::from_samples(&samples)?;
        report.add(Group::Control, format!("{labels}: {what}"), Unit::Milliseconds, measured);
    }
    Ok(())
}

/// What reading a policy and compiling it take, in milliseconds.
fn read_and_compile(text: &str) -> Result<(f64, f64)> {
    let (policy, reading) = milliseconds(|| {
        let parsed = policy::parse(POLICY, text);
        parsed.policy.with_context(|| format!("{:?}", parsed.errors))
    })?;
    let manifest =
        Manifest::assign(&policy, &Manifest::default(), &HashMap::new(), &HashSet::new(), |_| {
            mpls_xdp_ebpf::abi::Counter::default()
        })?;
    let (_, compiling) = milliseconds(|| Ok(compile::compile(&policy, &manifest)?))?;
    Ok((reading, compiling))
}

/// `apply` of a policy at first, again, with one label less, and with everything changed.
fn applying(labels: Labels, repeats: usize, report: &mut Report) -> Result<()> {
    let variants = [
        ("same.toml", Variant::Plain),
        ("less.toml", Variant::OneLabelLess),
        ("other.toml", Variant::Rotated),
    ]
    .map(|(file, variant)| (file, labels.policy(variant)));
    let steps = [
        ("apply at first", "same.toml"),
        ("apply, nothing changed", "same.toml"),
        ("apply, one label changed", "less.toml"),
        ("apply, all changed", "other.toml"),
    ];
    let mut usages: Vec<Vec<Usage>> = steps.iter().map(|_| Vec::new()).collect();
    let mut memory = None;
    for _ in 0..repeats {
        let place = Place::new()?;
        for (file, text) in &variants {
            place.write(file, text)?;
        }
        for ((_, file), usages) in steps.iter().zip(&mut usages) {
            usages.push(run(&mut place.command(&["apply", file]))?);
        }
        memory = Some(Memory::of(place.store.bpffs())?);
    }
    for ((step, _), usages) in steps.iter().zip(usages) {
        Usages(usages).report(report, &format!("{labels}: {step}"))?;
    }
    if let Some(memory) = &memory {
        remember(report, &labels.to_string(), memory);
    }
    Ok(())
}

fn remember(report: &mut Report, name: &str, memory: &Memory) {
    for (what, amount) in
        [("kernel memory", memory.shared), ("kernel memory, per-CPU counters", memory.per_cpu)]
    {
        let name = format!("{name}: {what}");
        report.add(Group::Control, name, Unit::Memory, Measured::exact(amount));
    }
}

/// What as many ingresses as there can be take.
fn ingresses(effort: &Effort, report: &mut Report) -> Result<()> {
    let place = Place::new()?;
    for ingresses in [Ingresses(1), Ingresses(4_096)] {
        place.apply(&ingresses.policy())?;
        let stats =
            Usages::take(effort.repeats(0), || run(&mut place.command(&["stats", "--json"])))?;
        stats.report(report, &format!("{ingresses}: stats --json"))?;
    }
    for ingresses in [Ingresses(1), Ingresses(4_096)] {
        let place = Place::new()?;
        place.write(POLICY, &ingresses.policy())?;
        let first = run(&mut place.command(&["apply", POLICY]))?;
        let again =
            Usages::take(effort.repeats(0), || run(&mut place.command(&["apply", POLICY])))?;
        Usages(vec![first]).report(report, &format!("{ingresses}: apply at first"))?;
        again.report(report, &format!("{ingresses}: apply, nothing changed"))?;
        let memory = Memory::of(place.store.bpffs())?;
        remember(report, &ingresses.to_string(), &memory);
    }
    Ok(())
}

/// From starting `apply` where nothing is yet, to the first frame that is dropped. Numbered frames
/// that the policy refuses are sent all the time; those that arrive were not filtered yet.
fn first_verdict(effort: &Effort, report: &mut Report) -> Result<()> {
    const BETWEEN: Duration = Duration::from_micros(50);
    const PATIENCE: Duration = Duration::from_secs(1);
    const LAST_WORDS: usize = 4;
    let mut samples = Vec::new();
    for _ in 0..effort.repeats(0) {
        let place = Place::new()?;
        place
            .write(POLICY, &Labels { count: 1_000, shape: Shape::Ranges }.policy(Variant::Plain))?;
        let (sender, receiver) = (place.feed.port()?, place.filtered.port()?);
        let mut sent_at = Vec::new();
        let mut command = place.command(&["apply", POLICY]);
        let start = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut frame = on_wire(&Frame::mpls([999_999]).ether_type(MPLS));
        let place_of_number = frame.len() - LAST_WORDS;
        let status = loop {
            let number = u32::try_from(sent_at.len())?;
            frame[place_of_number..].copy_from_slice(&number.to_be_bytes());
            sent_at.push(start.elapsed());
            sender.send(&frame)?;
            if let Some(status) = child.try_wait()? {
                break status;
            }
            let next = Instant::now() + BETWEEN;
            while Instant::now() < next {
                std::hint::spin_loop();
            }
        };
        ensure!(status.success(), "mpls-xdp apply ended with {status}");
        // A frame that passes says that all before it were dealt with.
        let end = on_wire(&Frame::new(mpls_xdp_tests::frame::EXPERIMENTAL));
        sender.send(&end)?;
        let arrived = receiver.collect_until(PATIENCE, |frames| frames.last() == Some(&end))?;
        ensure!(receiver.lost()? == 0, "the receiver lost frames: the last one is not known");
        let passed = arrived.iter().rev().find(|frame| **frame != end);
        let last = passed.and_then(|frame| frame.last_chunk()).map(|n| u32::from_be_bytes(*n));
        let first_dropped = last.map_or(0, |last| last as usize + 1);
        let at = sent_at.get(first_dropped).context("apply ended, and no frame was dropped yet")?;
        samples.push(at.as_secs_f64() * 1e3);
    }
    let measured = Measured::from_samples(&samples)?;
    report.add(Group::Control, "exec to first verdict, cold", Unit::Milliseconds, measured);
    Ok(())
}

/// What a process took.
struct Usage {
    milliseconds: f64,
    /// The most memory that it had at a time, in KiB.
    resident: f64,
}

struct Usages(Vec<Usage>);

impl Usages {
    fn take(repeats: usize, mut run: impl FnMut() -> Result<Usage>) -> Result<Self> {
        Ok(Self((0..repeats).map(|_| run()).collect::<Result<_>>()?))
    }

    fn report(&self, report: &mut Report, name: &str) -> Result<()> {
        let times: Vec<f64> = self.0.iter().map(|usage| usage.milliseconds).collect();
        let resident: Vec<f64> = self.0.iter().map(|usage| usage.resident).collect();
        let (times, resident) =
            (Measured::from_samples(&times)?, Measured::from_samples(&resident)?);
        report.add(Group::Control, name, Unit::Milliseconds, times);
        report.add(Group::Control, format!("{name}, peak memory"), Unit::Memory, resident);
        Ok(())
    }
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<Usage> {
    let mut complaint: File = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaint.try_clone()?);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let process = i32::try_from(child.id())?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the child is ours and nobody else waits for it; both places can be written.
    let ended = unsafe { libc::wait4(process, &raw mut status, 0, usage.as_mut_ptr()) };
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    ensure!(ended == process, "waiting for {command:?}: {}", std::io::Error::last_os_error());
    if status != 0 {
        let mut text = String::new();
        complaint.rewind()?;
        complaint.read_to_string(&mut text)?;
        anyhow::bail!("{command:?} ended with wait status {status}: {}", text.trim());
    }
    // SAFETY: the structure has integers only, and was all zero.
    let usage = unsafe { usage.assume_init() };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(Usage { milliseconds, resident: usage.ru_maxrss as f64 })
}
