//! The same frames through tc flower, which few of the kernels that this runs on have: then in a
//! virtual machine with one that has it.

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Link;

use super::Effort;
use super::bpf::Traits;
use super::lanes::{self, Lane};
use super::peers::{REFUSED, complete};
use super::policies::{INTERFACE, Labels, Shape, Variant, thousands};
use super::programs::{self, Choice};
use super::report::{Group, Report};
use super::stand::{Place, is_installed, on_wire};

/// The interface that shows whether the kernel has flower.
const PROBE: &str = "probe";
const BARE: &str = "dropped: bare XDP_DROP";
/// How many labels it accepts: one filter each, since it knows no ranges of labels.
const LABELS: [u32; 2] = [16, 1_000];

/// Measures tc flower here, or in a virtual machine.
pub fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    if !is_installed("tc") {
        report.miss("tc flower: tc is not installed; Debian has it in the package iproute2");
        return Ok(());
    }
    let place = Place::new()?;
    place.pair(PROBE)?;
    if accept(&place, PROBE, 1).is_ok() {
        return live(&place, effort, report);
    }
    match in_a_virtual_machine(effort) {
        Ok(results) => report.take(results),
        Err(error) => report.miss(format!("tc flower: this kernel has none, and {error:#}")),
    }
    Ok(())
}

/// Dropped frames a second, the same label over and over.
fn live(place: &Place, effort: &Effort, report: &mut Report) -> Result<()> {
    let own = Labels { count: 1_000, shape: Shape::Interleaved };
    place.apply(&own.policy(Variant::Plain))?;
    let drop = programs::drop_all()?;
    let (_dropping, drop_feed) = place.attach(&drop, "drop")?;
    let pass = programs::empty(Traits::default())?;
    let (_passing, pass_feed) = place.attach(&pass, "pass")?;
    let mut lanes: Vec<(String, Lane)> = Vec::new();
    let mut lane = |name: &str, way: (&Link, &str)| -> Result<()> {
        let own = format!("s{}", lanes.len());
        let (frame, hot) = (on_wire(&Frame::mpls([REFUSED])), Choice::only(REFUSED));
        lanes.push((name.to_owned(), Lane::new(place, &own, way, &frame, hot)?));
        Ok(())
    };
    lane(BARE, (&drop_feed, "drop"))?;
    lane("dropped: mpls-xdp", (&place.feed, INTERFACE))?;
    lane("left to the stack: bare XDP_PASS", (&pass_feed, "pass"))?;
    let interfaces = LABELS.map(|labels| (labels, format!("flower{labels}")));
    for (labels, interface) in &interfaces {
        let (_, feed) = place.pair(interface)?;
        accept(place, interface, *labels)?;
        let name = format!("dropped: tc flower, {} labels", thousands(*labels));
        lane(&name, (&feed, interface))?;
    }

    let before = place.counts()?.refused();
    let frames = effort.frames / 2;
    let rounds = lanes::take(place, effort.rounds, frames, &lanes)?;
    let sent = (effort.rounds as u64 + 1) * u64::from(frames);
    let refused = place.counts()?.refused() - before;
    ensure!(refused + 1_000 >= sent, "the filter dropped {refused} frames of {sent}");
    for (_, interface) in &interfaces {
        let dropped = dropped(place, interface)?;
        ensure!(dropped + 1_000 >= sent, "flower dropped {dropped} of {sent} on {interface}");
    }
    lanes::report(report, Group::Flower, &lanes, &rounds, BARE)
}

/// Has flower accept so many labels on an interface, and drop what has another.
fn accept(place: &Place, interface: &str, labels: u32) -> Result<()> {
    const FILE: &str = "flower";
    let mut batch = format!("qdisc add dev {interface} clsact\n");
    let at = format!("filter add dev {interface} ingress protocol mpls_uc");
    let labels = Labels { count: labels, shape: Shape::Scattered };
    for label in labels.iter() {
        let _ = writeln!(batch, "{at} prio 1 flower mpls_label {label} action ok");
    }
    let _ = writeln!(batch, "{at} prio 2 flower action drop");
    place.write(FILE, &batch)?;
    let file = place.store.directory().join(FILE);
    complete(place.namespace.command("tc").arg("-batch").arg(file)).map(drop)
}

/// How many frames flower has dropped on an interface.
fn dropped(place: &Place, interface: &str) -> Result<u64> {
    let show = ["-statistics", "filter", "show", "dev", interface, "ingress"];
    let text = complete(place.namespace.command("tc").args(show))?;
    let counts = text.split("(dropped ").skip(1).filter_map(|text| text.split(',').next());
    Ok(counts.map(str::parse::<u64>).sum::<Result<_, _>>()?)
}

/// The results of this group from a guest.
fn in_a_virtual_machine(effort: &Effort) -> Result<Report> {
    let cargo = env::var_os("CARGO").context("only `cargo xtask bench` boots another")?;
    let results = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(cargo);
    command.args(["xtask", "vm", "bench", "--results"]).arg(results.path());
    if effort.quick {
        command.arg("--quick");
    }
    // The guest's console has the same figures as the report.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = command.current_dir(workspace).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "`cargo xtask vm bench` ended with {status}");
    Report::read(results.path())
}
