//! Frames a second that the filter accepts and drops, beside programs that do nothing else.

use anyhow::{Result, ensure};
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::Link;

use super::Effort;
use super::bpf::Traits;
use super::lanes::{self, Lane};
use super::policies::{self, INTERFACE};
use super::programs::{self, Choice};
use super::report::{Group, Report, Unit};
use super::stand::{Place, on_wire};

/// Measures accepted and dropped frames with hot labels and with labels at random.
pub fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    let place = Place::new()?;
    let (policy, [given, elsewhere]) = policies::halves();
    place.apply(&policy)?;
    let pass = programs::empty(Traits::default())?;
    let drop = programs::drop_all()?;
    let (_passing, pass_feed) = place.attach(&pass, "pass")?;
    let (_dropping, drop_feed) = place.attach(&drop, "drop")?;
    let filter = (&place.feed, INTERFACE);

    let frame = |choice: Choice| on_wire(&Frame::mpls([choice.label(choice.labels / 2)]));
    let hot = |choice| Choice { labels: 1, ..choice };
    let mut lanes = Vec::new();
    for (kind, kind_of) in
        [("hot", &hot as &dyn Fn(Choice) -> Choice), ("at random", &|choice| choice)]
    {
        let mut lane = |name: &str, way: (&Link, &str), choice| -> Result<()> {
            let name = format!("{name}, {kind}");
            let own = format!("s{}", lanes.len());
            let lane = Lane::new(&place, &own, way, &frame(choice), kind_of(choice))?;
            lanes.push((name, lane));
            Ok(())
        };
        lane("bare XDP_DROP", (&drop_feed, "drop"), elsewhere)?;
        lane("dropped", filter, elsewhere)?;
        lane("bare XDP_PASS", (&pass_feed, "pass"), given)?;
        lane("accepted", filter, given)?;
    }
    let before = place.counts()?;
    let rounds = lanes::take(&place, effort.rounds, effort.frames, &lanes)?;
    let after = place.counts()?;
    let accepted = after.accepted() - before.accepted();
    let refused = after.refused() - before.refused();
    // Two lanes of each kind, and a round to get warm.
    let sent = 2 * (effort.rounds as u64 + 1) * u64::from(effort.frames);
    for (counted, what) in [(accepted, "accepted"), (refused, "dropped")] {
        ensure!(counted.abs_diff(sent) < sent / 100, "{counted} frames of {sent} were {what}");
    }

    for kind in ["hot", "at random"] {
        for (name, base) in [("dropped", "bare XDP_DROP"), ("accepted", "bare XDP_PASS")] {
            let (name, base) = (format!("{name}, {kind}"), format!("{base}, {kind}"));
            let bare = lanes::rate(rounds.of(&base)?);
            report.add(Group::Live, &base, Unit::Rate, bare);
            report.add(Group::Live, &name, Unit::Rate, lanes::rate(rounds.of(&name)?));
            report.add(Group::Live, &name, Unit::Ratio, rounds.rate(&name, &base)?);
        }
    }
    Ok(())
}
