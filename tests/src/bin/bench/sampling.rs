//! What it costs that refused frames can be sampled, and that somebody samples them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use mpls_xdp_tests::frame::Frame;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::Effort;
use super::lanes::{self, Lane};
use super::policies::INTERFACE;
use super::programs::Choice;
use super::report::{Group, Report, Unit};
use super::rounds::Rounds;
use super::stand::{DROP, PASS, Stand, on_wire};

const POLICY: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
contexts.blue = { kind = "vrf", labels = [200] }
ingress.peer = { interface = "filtered", role = "peer", contexts = ["red"] }
"#;
/// The labels of a frame that is accepted, and of one that is dropped.
const ACCEPTED: u32 = 100;
const DROPPED: u32 = 200;

/// Measures both kinds of frame while nobody captures and while somebody does, and with the filter
/// of another `mpls-xdp` if there is one.
pub fn measure(effort: &Effort, report: &mut Report, beside: Option<&Path>) -> Result<()> {
    const EMPTY: &str = "empty program";
    let mut stands = vec![("", Stand::new(POLICY)?), (", captured", Stand::new(POLICY)?)];
    if let Some(binary) = beside {
        let cannot = || format!("looking for {}", binary.display());
        let binary = binary.canonicalize().with_context(cannot)?;
        stands.push((", beside", Stand::by(binary, POLICY)?));
    }
    let _capture = Capture::start(&stands[1].1)?;

    let kinds = [("accepted", ACCEPTED, PASS), ("dropped", DROPPED, DROP)];
    let mut runs = vec![(EMPTY.to_owned(), (&stands[0].1.empty, frame(ACCEPTED)))];
    let mut ways = Vec::new();
    for (kind, label, action) in kinds {
        for (how, stand) in &stands {
            let name = format!("{kind}{how}");
            ensure!(stand.filter.run(&frame(label), 1)?.0 == action, "not what is {name}");
            runs.push((name.clone(), (&stand.filter, frame(label))));
            let choice = Choice::only(label);
            let way = (&stand.place.feed, INTERFACE);
            let lane = Lane::new(&stand.place, &format!("s{label}"), way, &frame(label), choice)?;
            ways.push((name, (&stand.place.namespace, lane)));
        }
    }
    let rounds = Rounds::take(effort.rounds, &runs, |(program, frame)| {
        Ok(program.run(frame, effort.repeat)?.1)
    })?;
    for (name, _) in &runs[1..] {
        report.add(Group::Sampling, name, Unit::Nanoseconds, rounds.over(name, EMPTY)?);
    }
    let rounds = Rounds::take(effort.rounds, &ways, |(namespace, lane)| {
        namespace.run(|| lane.run(effort.frames))
    })?;
    for (kind, ..) in kinds {
        report.add(Group::Sampling, kind, Unit::Rate, lanes::rate(rounds.of(kind)?));
        for (how, _) in &stands[1..] {
            let name = format!("{kind}{how}");
            report.add(Group::Sampling, &name, Unit::Ratio, rounds.rate(&name, kind)?);
        }
    }
    Ok(())
}

fn frame(label: u32) -> Vec<u8> {
    on_wire(&Frame::mpls([label]))
}

/// `mpls-xdp capture` at work, on the CPUs that nothing is measured on.
struct Capture(Child);

impl Capture {
    fn start(stand: &Stand) -> Result<Self> {
        let mut command = stand.place.command(&["capture", "--json"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let capture = Self(child);
        let number = Pid::from_raw(capture.0.id().try_into()?).context("no process")?;
        let measured = sched_getaffinity(None)?;
        let mut others = CpuSet::new();
        let all = std::thread::available_parallelism()?.get().max(2);
        (0..all).filter(|cpu| !measured.is_set(*cpu)).for_each(|cpu| others.set(cpu));
        sched_setaffinity(Some(number), &others).context("moving the capture away")?;
        let mut said = String::new();
        BufReader::new(stderr).read_line(&mut said)?;
        ensure!(said.starts_with("capturing"), "capture said: {said}");
        Ok(capture)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
