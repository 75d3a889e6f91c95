//! The labels of refused frames, as far as frames were sampled.

use std::{
    cmp::Ordering,
    collections::HashMap,
    time::{Duration, SystemTime},
};

use mpls_xdp::sampling::{MacAddress, Sample, Sources, Tally};

/// How many labels are kept, by ingress and reason; those that were seen last.
pub(super) const KEPT: usize = 1024;
/// How many sources of each are kept: those that were seen first.
const SOURCES: usize = 8;

/// Where and why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Refusal {
    /// None for a frame without one.
    pub(super) ingress: Option<String>,
    pub(super) interface: String,
    pub(super) reason: &'static str,
}

impl Refusal {
    /// What people call the place.
    pub(super) fn place(&self) -> &str {
        self.ingress.as_deref().unwrap_or(&self.interface)
    }
}

/// A sampled frame.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub(super) refusal: Refusal,
    /// The label that decided, else the first one; none where none was read.
    pub(super) label: Option<u32>,
    pub(super) source: Option<MacAddress>,
    pub(super) time: SystemTime,
}

impl From<&Sample> for Sighting {
    fn from(sample: &Sample) -> Self {
        let place = &sample.place;
        Self {
            refusal: Refusal {
                ingress: place.ingress.clone(),
                interface: place.interface.clone(),
                reason: sample.cause.name(),
            },
            label: sample.label.or_else(|| Some(sample.stack().first()?.label)),
            source: sample.source(),
            time: sample.time,
        }
    }
}

/// A label that was refused somewhere for some reason.
#[derive(Debug, Clone)]
pub(super) struct LabelRow {
    pub(super) refusal: Refusal,
    pub(super) label: Option<u32>,
    /// Samples, in all and a second.
    pub(super) seen: u64,
    pub(super) rate: f64,
    /// What was seen at the last measurement.
    measured: u64,
    pub(super) sources: Sources<SOURCES>,
    last: SystemTime,
}

impl LabelRow {
    fn sight(&mut self, sighting: &Sighting) {
        self.seen += 1;
        self.last = self.last.max(sighting.time);
        sighting.source.into_iter().for_each(|source| self.sources.add(source));
    }

    /// The label as it is shown.
    pub(super) fn name(&self) -> String {
        self.label.map_or_else(|| "-".to_owned(), |label| label.to_string())
    }

    /// Whether some of what is shown of it has `text`.
    fn has(&self, text: &str) -> bool {
        let Refusal { ingress, interface, reason } = &self.refusal;
        let words = [ingress.as_deref().unwrap_or_default(), interface, reason];
        words.iter().any(|word| word.contains(text))
            || self.name().contains(text)
            || self.sources.kept.iter().any(|source| source.to_string().contains(text))
    }
}

/// Refused frames of one place and reason while samples were taken.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// By those who sampled before.
    before: u64,
    /// By who samples now.
    now: u64,
    sampled: u64,
}

impl Counts {
    fn refused(self) -> u64 {
        // The counters were read before the last samples.
        (self.before + self.now).max(self.sampled)
    }
}

/// Whether samples are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Sampling {
    /// Nobody has asked for it.
    #[default]
    Off,
    /// They are.
    On,
    /// Another command is at work, for a moment.
    Soon,
    /// Another process takes them: its number, if it has told.
    Elsewhere(Option<u32>),
    /// They cannot be.
    Failed(String),
}

/// Everything that was seen so far.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    pub(super) sampling: Sampling,
    rows: HashMap<(Refusal, Option<u32>), LabelRow>,
    counts: HashMap<Refusal, Counts>,
    /// Whether labels were given up to keep others.
    pub(super) forgot: bool,
    /// When it was last looked at.
    at: SystemTime,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            sampling: Sampling::Off,
            rows: HashMap::new(),
            counts: HashMap::new(),
            forgot: false,
            at: SystemTime::UNIX_EPOCH,
        }
    }
}

impl Labels {
    /// Takes a sampled frame in.
    pub(super) fn sight(&mut self, sighting: &Sighting) {
        self.counts.entry(sighting.refusal.clone()).or_default().sampled += 1;
        let key = (sighting.refusal.clone(), sighting.label);
        if !self.rows.contains_key(&key) && self.rows.len() == KEPT {
            // Whoever tries all labels must not fill the memory.
            let oldest = self.rows.iter().min_by_key(|(_, row)| row.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.rows.remove(&oldest);
                self.forgot = true;
            }
        }
        let row = self.rows.entry(key).or_insert_with(|| LabelRow {
            refusal: sighting.refusal.clone(),
            label: sighting.label,
            seen: 0,
            rate: 0.0,
            measured: 0,
            sources: Sources::default(),
            last: sighting.time,
        });
        row.sight(sighting);
    }

    /// Takes in how many frames were refused while whoever samples now did so.
    pub(super) fn count(&mut self, tallies: &[Tally]) {
        for tally in tallies {
            let refusal = Refusal {
                ingress: tally.place.ingress.clone(),
                interface: tally.place.interface.clone(),
                reason: tally.cause.name(),
            };
            self.refused(refusal, tally.counts.refused);
        }
    }

    pub(super) fn refused(&mut self, refusal: Refusal, refused: u64) {
        self.counts.entry(refusal).or_default().now = refused;
    }

    /// Whoever sampled does not any more.
    pub(super) fn close(&mut self) {
        for counts in self.counts.values_mut() {
            counts.before += std::mem::take(&mut counts.now);
        }
    }

    /// Works the rates out.
    pub(super) fn measure(&mut self, elapsed: Duration) {
        for row in self.rows.values_mut() {
            let grown = row.seen - std::mem::replace(&mut row.measured, row.seen);
            row.rate = grown as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        }
    }

    /// Says what time it is.
    pub(super) fn look(&mut self, at: SystemTime) {
        self.at = at;
    }

    /// How many frames were sampled, and of how many, for an ingress or in all.
    pub(super) fn sampled(&self, ingress: Option<&str>) -> (u64, u64) {
        let here = self.counts.iter().filter(|(refusal, _)| is_of(refusal, ingress));
        here.fold((0, 0), |(sampled, refused), (_, counts)| {
            (sampled + counts.sampled, refused + counts.refused())
        })
    }

    /// The labels with `filter` in what is shown of them, for an ingress or in all: those first that
    /// were sampled most, in all or a second.
    pub(super) fn rows(&self, ingress: Option<&str>, filter: &str, totals: bool) -> Vec<&LabelRow> {
        let filter = filter.to_lowercase();
        let here = self.rows.values().filter(|row| is_of(&row.refusal, ingress));
        let mut rows: Vec<&LabelRow> = here.filter(|row| row.has(&filter)).collect();
        rows.sort_by(|a, b| {
            let (rate, seen) = (b.rate.total_cmp(&a.rate), b.seen.cmp(&a.seen));
            let most = if totals { seen.then(rate) } else { rate.then(seen) };
            most.then_with(|| b.last.cmp(&a.last)).then_with(|| name_order(a, b))
        });
        rows
    }

    /// Which part of the samples of its place and reason have this label.
    pub(super) fn share(&self, row: &LabelRow) -> f64 {
        let sampled = self.counts.get(&row.refusal).map_or(row.seen, |counts| counts.sampled);
        row.seen as f64 / sampled.max(1) as f64
    }

    /// How long ago a label was last seen.
    pub(super) fn age(&self, row: &LabelRow) -> Duration {
        self.at.duration_since(row.last).unwrap_or_default()
    }
}

fn is_of(refusal: &Refusal, ingress: Option<&str>) -> bool {
    ingress.is_none_or(|ingress| refusal.ingress.as_deref() == Some(ingress))
}

/// What is equal otherwise must not change places with every look.
fn name_order(a: &LabelRow, b: &LabelRow) -> Ordering {
    let key = |row: &LabelRow| (row.label, row.refusal.place().to_owned(), row.refusal.reason);
    key(a).cmp(&key(b))
}
