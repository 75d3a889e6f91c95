//! The metrics: names, units, help texts, and what each shows of the filter.

use std::fmt;

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::{
    filter::{CounterRow, IngressStats, Observation, RefusedStats, Stats, Status},
    kernel::FilterProgram,
    manifest::SPECIAL_RULE,
};

/// What the names of all metrics start with.
pub(super) const PREFIX: &str = "mpls_xdp";

/// A label and its value. No value is ever an MPLS label or an address: whoever sends frames must
/// not be able to make time series.
type Label<'a> = (&'static str, &'a str);

/// Writes families one after the other, without the prefix of their names.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    /// What is known without a policy.
    pub(super) fn build(&mut self) -> fmt::Result {
        self.info(
            "build",
            "The mpls-xdp that answers; object is the SHA-256 of its kernel program",
            &[("version", env!("CARGO_PKG_VERSION")), ("object", FilterProgram::object_digest())],
        )
    }

    /// Whether a policy is in force.
    pub(super) fn in_force(&mut self, in_force: bool) -> fmt::Result {
        self.gauge(
            "policy_in_force",
            "1 when a policy is applied in this network namespace, 0 when there is none",
            None,
            [(NO_LABELS, u64::from(in_force))],
        )
    }

    /// How many things are wrong.
    pub(super) fn problems(&mut self, problems: usize) -> fmt::Result {
        self.gauge(
            "problems",
            "What is wrong with the filter, as mpls-xdp status tells it; 0 when all is well",
            None,
            [(NO_LABELS, problems as u64)],
        )
    }

    /// The policy in force, its interfaces and its counters.
    pub(super) fn policy(&mut self, Observation { status, stats }: &Observation) -> fmt::Result {
        self.status(status)?;
        self.gauge(
            "ingress_mode",
            "1 for each ingress of the policy with its mode",
            None,
            stats.ingresses.iter().map(|entry| {
                let [ingress, interface] = of(entry);
                ([ingress, interface, ("mode", entry.mode)], 1)
            }),
        )?;
        self.counters(stats)
    }

    fn status(&mut self, status: &Status) -> fmt::Result {
        self.info(
            "policy",
            "The policy in force; digest is the SHA-256 of its file, object that of the kernel \
             program that it was applied with",
            &[
                ("policy", status.policy.as_str()),
                ("digest", &status.digest),
                ("object", &status.object),
            ],
        )?;
        self.gauge(
            "generation",
            "Number of the policy in force; each change is one more",
            None,
            [(NO_LABELS, status.generation)],
        )?;
        self.gauge(
            "policy_applied_timestamp",
            "When the policy in force was applied, since 1970",
            Some(&Unit::Seconds),
            [(NO_LABELS, status.applied_at)],
        )?;
        let deadline = status.confirmation.as_ref().map(|awaited| (NO_LABELS, awaited.confirm_by));
        self.gauge(
            "confirmation_awaited",
            "1 when the policy in force goes unless it is confirmed, 0 when it stays",
            None,
            [(NO_LABELS, u64::from(deadline.is_some()))],
        )?;
        self.gauge(
            "confirmation_deadline_timestamp",
            "When the policy before comes back unless the one in force is confirmed, since 1970",
            Some(&Unit::Seconds),
            deadline,
        )?;
        self.gauge(
            "ingresses",
            "Ingresses of the policy in force",
            None,
            [(NO_LABELS, status.ingresses as u64)],
        )?;
        self.gauge(
            "interface_attached",
            "1 when the interface that the policy names is filtered, 0 when it is not",
            None,
            status.interfaces.iter().map(|entry| {
                let labels = [("interface", entry.interface.as_str()), ("mode", entry.attached)];
                (labels, u64::from(entry.program_id.is_some()))
            }),
        )?;
        self.gauge(
            "uncovered_interfaces",
            "Interfaces on which the kernel accepts MPLS and that no ingress covers",
            None,
            [(NO_LABELS, status.uncovered.len() as u64)],
        )?;
        self.gauge(
            "interface_uncovered",
            "1 for each interface on which the kernel accepts MPLS and that no ingress covers",
            None,
            status.uncovered.iter().map(|hole| ([("interface", hole.interface.as_str())], 1)),
        )
    }

    fn counters(&mut self, stats: &Stats) -> fmt::Result {
        self.counter("accepted", "accepted, by the rule that accepted them", || {
            stats.ingresses.iter().flat_map(|entry| {
                let [ingress, interface] = of(entry);
                let row = move |rule| [ingress, interface, ("rule", rule)];
                entry.rules.iter().map(move |rule| (row(&*rule.rule), rule.counter))
            })
        })?;
        self.counter("dropped", "dropped, by reason", || {
            refused(stats, "enforce", |row| row.dropped)
        })?;
        self.counter("would_drop", "passed only because of mode monitor, by reason", || {
            refused(stats, "monitor", |row| row.would_drop)
        })?;
        self.counter("without_ingress", "refused because no ingress has their VLAN tags", || {
            stats.interfaces.iter().flat_map(|entry| {
                let counters = entry.reasons.0.iter().map(|(_, counter)| *counter);
                InterfaceReason::ALL.into_iter().zip(counters).map(|(reason, counter)| {
                    let interface = ("interface", entry.interface.as_str());
                    ([interface, ("reason", reason.name())], counter)
                })
            })
        })
    }

    fn info(&mut self, name: &str, help: &str, labels: &[Label<'_>]) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Two families: one of frames and one of bytes.
    fn counter<L: EncodeLabelSet, I: Iterator<Item = (L, CounterRow)>>(
        &mut self,
        name: &str,
        what: &str,
        samples: impl Fn() -> I,
    ) -> fmt::Result {
        let packets = Unit::Other("packets".to_owned());
        let frames = format!("Frames {what}");
        let mut family =
            self.0.encode_descriptor(name, &frames, Some(&packets), MetricType::Counter)?;
        for (labels, CounterRow { packets, .. }) in samples() {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&packets, None)?;
        }
        let bytes = format!("Bytes of whole frames {what}");
        let mut family =
            self.0.encode_descriptor(name, &bytes, Some(&Unit::Bytes), MetricType::Counter)?;
        for (labels, CounterRow { bytes, .. }) in samples() {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&bytes, None)?;
        }
        Ok(())
    }
}

const NO_LABELS: [Label<'static>; 0] = [];

fn of(entry: &IngressStats) -> [Label<'_>; 2] {
    [("ingress", &entry.ingress), ("interface", &entry.interface)]
}

/// What was refused, with zeros for what `mode` can still count: a series that starts with its
/// first frame has no increase that a rate could show.
fn refused<'a>(
    stats: &'a Stats,
    mode: &'static str,
    counter: impl Fn(&RefusedStats) -> CounterRow + Copy + 'a,
) -> impl Iterator<Item = ([Label<'a>; 3], CounterRow)> {
    stats.ingresses.iter().flat_map(move |entry| {
        let [ingress, interface] = of(entry);
        let accepts_something = entry.rules.iter().any(|rule| rule.rule != SPECIAL_RULE);
        // All that customers, of whom a router may have thousands, ever count.
        let possible = move |reason| accepts_something || reason == Reason::MplsNotEnabled;
        entry
            .refused
            .iter()
            .map(move |row| (row.reason, counter(row)))
            .filter(move |(reason, counter)| {
                counter.packets > 0 || entry.mode == mode && possible(*reason)
            })
            .map(move |(reason, counter)| {
                ([ingress, interface, ("reason", reason.name())], counter)
            })
    })
}
