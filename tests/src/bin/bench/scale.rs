//! What a frame takes, by the size of the policy.

use anyhow::{Result, ensure};
use mpls_xdp_tests::frame::Frame;

use super::Effort;
use super::policies::{ALL_LABELS, Ingresses, Labels, Shape, Variant};
use super::programs::Choice;
use super::report::{Axis, Group, Point, Report, Unit};
use super::rounds::Rounds;
use super::stand::{PASS, Stand, on_wire};

/// Policies that differ in their labels.
const LABELS: [Labels; 10] = {
    use Shape::{Interleaved, Ranges, Scattered};
    const fn labels(count: u32, shape: Shape) -> Labels {
        Labels { count, shape }
    }
    [
        labels(1, Ranges),
        labels(1_000, Ranges),
        labels(100_000, Ranges),
        labels(ALL_LABELS, Ranges),
        labels(1_000, Scattered),
        labels(100_000, Scattered),
        labels(ALL_LABELS / 2, Scattered),
        labels(1_000, Interleaved),
        labels(100_000, Interleaved),
        labels(ALL_LABELS, Interleaved),
    ]
};

const INGRESSES: [Ingresses; 4] = [Ingresses(1), Ingresses(16), Ingresses(256), Ingresses(4_096)];

/// Measures each size.
pub fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    for labels in LABELS {
        if effort.quick && labels.count > 100_000 && labels.shape == Shape::Scattered {
            continue;
        }
        let subject = Subject {
            name: labels.to_string(),
            axis: Axis::Labels,
            series: labels.shape.to_string(),
            at: labels.count,
            policy: labels.policy(Variant::Plain),
            choice: labels.choice(),
            rules: labels.rules(),
        };
        subject.measure(effort, &Frame::mpls([labels.hot()]), report)?;
    }
    for ingresses in INGRESSES {
        let subject = Subject {
            name: format!("{ingresses}, 1 tag"),
            axis: Axis::Ingresses,
            series: "own labels each".to_owned(),
            at: ingresses.0,
            policy: ingresses.policy(),
            choice: ingresses.choice(),
            rules: ingresses.choice().vlans,
        };
        let hot = Frame::mpls([Ingresses::HOT]).vlan(Ingresses::VLAN);
        subject.measure(effort, &hot, report)?;
    }
    Ok(())
}

struct Subject {
    name: String,
    axis: Axis,
    series: String,
    at: u32,
    policy: String,
    choice: Choice,
    /// Rules that accept a frame at random, together.
    rules: u32,
}

impl Subject {
    fn measure(&self, effort: &Effort, hot: &Frame, report: &mut Report) -> Result<()> {
        const NAMES: [&str; 4] = ["empty", "hot", "empty at random", "at random"];
        let stand = Stand::new(&self.policy)?;
        let choosing = stand.choosing(self.choice)?;
        let frame = on_wire(hot);
        let programs =
            [&stand.empty, &stand.filter, &choosing.empty.program, &choosing.filter.program];
        let candidates: Vec<_> =
            NAMES.iter().map(|name| (*name).to_owned()).zip(programs).collect();
        let rounds = Rounds::take(effort.rounds, &candidates, |program| {
            let (action, took) = program.run(&frame, effort.repeat)?;
            ensure!(action == PASS, "a frame ended with XDP action {action}");
            Ok(took)
        })?;
        self.check(&stand)?;

        let hot = rounds.over("hot", "empty")?;
        let random = rounds.over("at random", "empty at random")?;
        for (kind, measured) in [("hot", hot), ("at random", random)] {
            if kind == "at random" && self.choice.labels == 1 {
                continue;
            }
            report.add_at(
                Group::Scale,
                format!("{}: {kind}", self.name),
                Unit::Nanoseconds,
                measured,
                Some(Point {
                    axis: self.axis,
                    series: format!("{}, {kind}", self.series),
                    at: self.at,
                }),
            );
        }
        Ok(())
    }

    /// Makes sure that everything was accepted, by all rules.
    fn check(&self, stand: &Stand) -> Result<()> {
        let counts = stand.place.counts()?;
        ensure!(counts.refused() == 0, "{}: {} frames were refused", self.name, counts.refused());
        let used = counts.rules_used();
        ensure!(
            used == self.rules as usize,
            "{}: {used} rules of {} accepted a frame",
            self.name,
            self.rules
        );
        Ok(())
    }
}
