//! What the screen shows and what keys do to it, without a terminal.

use std::{
    cmp::Ordering,
    collections::HashMap,
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use mpls_xdp::filter::{CounterRow, IngressStats, Observation, Status};
use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

use super::{
    labels::{LabelRow, Labels},
    meter::{History, Meter},
};

/// An ingress with everything that it counted.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) ingress: String,
    /// Interface and VLAN IDs, as in `eth2.100`.
    pub(super) place: String,
    pub(super) mode: &'static str,
    pub(super) accepted: Gauge,
    pub(super) dropped: Gauge,
    pub(super) would_drop: Gauge,
    /// The last two together.
    pub(super) refused: History,
    pub(super) reasons: Vec<ReasonRow>,
    pub(super) rules: Vec<(String, Meter)>,
}

/// A meter that remembers.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub(super) meter: Meter,
    pub(super) history: History,
}

/// What an ingress refused for a reason.
#[derive(Debug)]
pub(super) struct ReasonRow {
    pub(super) reason: Reason,
    pub(super) dropped: Meter,
    pub(super) would_drop: Meter,
}

/// Frames of an interface that have no ingress.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) interface: String,
    pub(super) reason: InterfaceReason,
    pub(super) meter: Meter,
}

/// By what ingresses are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Refused,
    Accepted,
    Dropped,
    WouldDrop,
    Name,
    Place,
}

impl Sort {
    const KEYS: [(char, Self, &'static str); 6] = [
        ('r', Self::Refused, "refused"),
        ('a', Self::Accepted, "accepted"),
        ('d', Self::Dropped, "dropped"),
        ('w', Self::WouldDrop, "would drop"),
        ('n', Self::Name, "name"),
        ('i', Self::Place, "interface"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::KEYS.iter().find(|(_, sort, _)| *sort == self).map_or("", |(_, _, name)| name)
    }
}

/// What fills the screen below its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Ingresses,
    /// Reasons and rules of the chosen ingress, from this line on.
    Ingress {
        scrolled: usize,
    },
    /// Refused labels, from this one on: those of the chosen ingress, or all.
    Labels {
        of_chosen: bool,
        scrolled: usize,
    },
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    Quit,
}

/// Everything that the screen shows.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) interval: Duration,
    pub(super) status: Status,
    rows: Vec<Row>,
    pub(super) strays: Vec<Stray>,
    pub(super) labels: Labels,
    at: Instant,
    /// Why the last look failed; what is shown is older then.
    pub(super) failure: Option<String>,
    pub(super) page: Page,
    pub(super) sort: Sort,
    pub(super) totals: bool,
    /// What ingresses must have in them to be shown, and what labels must.
    filter: String,
    label_filter: String,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// Name of the ingress that keys are about; the first one until a key chose another.
    chosen: Option<String>,
    /// Rows above the first one that is shown.
    above: usize,
    /// Rows that the screen had room for.
    room: usize,
}

impl Model {
    pub(super) fn new(interval: Duration, at: Instant, first: Observation) -> Self {
        let mut model = Self {
            interval,
            rows: Vec::new(),
            strays: Vec::new(),
            labels: Labels::default(),
            at,
            failure: None,
            page: Page::Ingresses,
            sort: Sort::Refused,
            totals: false,
            filter: String::new(),
            label_filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            chosen: None,
            above: 0,
            room: 1,
            status: first.status,
        };
        model.count(Duration::ZERO, &first.stats);
        model
    }

    /// Takes another look in. While the screen is paused it changes nothing.
    pub(super) fn look(&mut self, at: Instant, look: Result<Observation, String>) {
        if self.paused {
            return;
        }
        match look {
            Ok(Observation { status, stats }) => {
                self.failure = None;
                self.status = status;
                let elapsed = at.duration_since(self.at);
                self.count(elapsed, &stats);
                self.at = at;
            }
            Err(why) => self.failure = Some(why),
        }
    }

    /// Takes in which labels were seen. While the screen is paused it changes nothing.
    pub(super) fn see(&mut self, labels: Labels) {
        if !self.paused {
            self.labels = labels;
        }
    }

    /// Whether the screen shows labels, so that frames are to be sampled.
    pub(super) fn shows_labels(&self) -> bool {
        self.page != Page::Ingresses
    }

    /// The ingress whose labels are shown; none for all.
    pub(super) fn labels_of(&self) -> Option<&str> {
        match self.page {
            Page::Labels { of_chosen: false, .. } => None,
            _ => self.chosen.as_deref(),
        }
    }

    /// The labels to show.
    pub(super) fn label_rows(&self) -> Vec<&LabelRow> {
        self.labels.rows(self.labels_of(), &self.label_filter, self.totals)
    }

    /// Seconds until the policy must be confirmed, as long as it awaits that; negative when it is
    /// overdue.
    pub(super) fn confirm_within(&self) -> Option<i64> {
        let passed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        let passed = if self.paused { 0 } else { passed };
        self.status.confirmation.as_ref().map(|awaited| awaited.seconds_left - passed)
    }

    fn count(&mut self, elapsed: Duration, stats: &mpls_xdp::filter::Stats) {
        let mut before: HashMap<String, Row> =
            self.rows.drain(..).map(|row| (row.ingress.clone(), row)).collect();
        self.rows = stats
            .ingresses
            .iter()
            .map(|entry| Row::next(before.remove(&entry.ingress), entry, elapsed))
            .collect();
        let before = std::mem::take(&mut self.strays);
        for entry in &stats.interfaces {
            let counters = entry.reasons.0.iter().map(|(_, counter)| *counter);
            for (reason, total) in InterfaceReason::ALL.into_iter().zip(counters) {
                let old = before
                    .iter()
                    .find(|stray| stray.interface == entry.interface && stray.reason == reason);
                let meter = Meter::next(old.map(|stray| &stray.meter), total, elapsed);
                self.strays.push(Stray { interface: entry.interface.clone(), reason, meter });
            }
        }
    }

    /// All ingresses.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The ingresses that the filter lets through, sorted.
    pub(super) fn visible(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let words = |row: &Row| [&row.ingress, &row.place].map(|word| word.contains(&filter));
        let mut rows: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| words(row).contains(&true) || row.mode.contains(&filter))
            .collect();
        // What is equal stays in the policy's order.
        rows.sort_by(|a, b| self.order(a, b));
        rows
    }

    fn order(&self, a: &Row, b: &Row) -> Ordering {
        let most = |of: fn(&Row) -> [&Meter; 2]| {
            let [first, second] = [of(b), of(a)].map(|meters| {
                let rate: f64 = meters.iter().map(|meter| meter.packets).sum();
                let total: u64 = meters.iter().map(|meter| meter.total.packets).sum();
                if self.totals { (total as f64, rate) } else { (rate, total as f64) }
            });
            first.0.total_cmp(&second.0).then(first.1.total_cmp(&second.1))
        };
        const NONE: &Meter =
            &Meter { total: CounterRow { packets: 0, bytes: 0 }, packets: 0.0, bits: 0.0 };
        match self.sort {
            Sort::Refused => most(|row| [&row.dropped.meter, &row.would_drop.meter]),
            Sort::Accepted => most(|row| [&row.accepted.meter, NONE]),
            Sort::Dropped => most(|row| [&row.dropped.meter, NONE]),
            Sort::WouldDrop => most(|row| [&row.would_drop.meter, NONE]),
            Sort::Name => a.ingress.cmp(&b.ingress),
            Sort::Place => a.place.cmp(&b.place),
        }
    }

    /// Where the chosen ingress is among the visible ones.
    pub(super) fn chosen(&self, visible: &[&Row]) -> usize {
        let chosen = self.chosen.as_ref();
        visible.iter().position(|row| Some(&row.ingress) == chosen).unwrap_or(0)
    }

    /// The visible rows to show in `room` lines: how many are above them, with the chosen one in
    /// sight.
    pub(super) fn scroll(&mut self, room: usize) -> usize {
        let visible = self.visible();
        let (chosen, count) = (self.chosen(&visible), visible.len());
        self.has_room(room);
        self.above = self.above.min(count.saturating_sub(self.room)).min(chosen);
        self.above = self.above.max((chosen + 1).saturating_sub(self.room));
        self.above
    }

    /// Lets a page be as long as the screen has room for.
    pub(super) fn has_room(&mut self, room: usize) {
        self.room = room.max(1);
    }

    /// Does what a key is for.
    pub(super) fn key(&mut self, key: KeyEvent) -> Flow {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Flow::Quit } else { Flow::Go };
        }
        if self.help {
            self.help = false;
            return Flow::Go;
        }
        if self.typing {
            self.typed(key.code);
            return Flow::Go;
        }
        match key.code {
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('t') => self.totals = !self.totals,
            KeyCode::Char('/') => {
                if matches!(self.page, Page::Ingress { .. }) {
                    self.page = Page::Ingresses;
                }
                self.typing = true;
            }
            KeyCode::Char('l') => self.turn(),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-self.page_length()),
            KeyCode::PageDown => self.step(self.page_length()),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Enter | KeyCode::Right if self.page == Page::Ingresses => self.open(),
            KeyCode::Esc if self.page == Page::Ingresses || !self.label_filter.is_empty() => {
                self.filter_mut().clear();
            }
            KeyCode::Enter | KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => self.close(),
            KeyCode::Char(letter) => {
                if let Some((_, sort, _)) = Sort::KEYS.iter().find(|(key, ..)| *key == letter) {
                    self.sort = *sort;
                }
            }
            _ => {}
        }
        Flow::Go
    }

    /// The filter of what is shown.
    pub(super) fn filter(&self) -> &str {
        match self.page {
            Page::Labels { .. } => &self.label_filter,
            _ => &self.filter,
        }
    }

    fn filter_mut(&mut self) -> &mut String {
        match self.page {
            Page::Labels { .. } => &mut self.label_filter,
            _ => &mut self.filter,
        }
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) => self.filter_mut().push(letter),
            KeyCode::Backspace => {
                self.filter_mut().pop();
            }
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.filter_mut().clear();
                self.typing = false;
            }
            _ => {}
        }
    }

    fn page_length(&self) -> isize {
        isize::try_from(self.room).unwrap_or(isize::MAX)
    }

    fn open(&mut self) {
        let visible = self.visible();
        let Some(row) = visible.get(self.chosen(&visible)) else { return };
        self.chosen = Some(row.ingress.clone());
        self.page = Page::Ingress { scrolled: 0 };
    }

    /// Goes to the page before.
    fn close(&mut self) {
        self.label_filter.clear();
        self.page = match self.page {
            Page::Labels { of_chosen: true, .. } => Page::Ingress { scrolled: 0 },
            _ => Page::Ingresses,
        };
    }

    /// Turns to the labels of what is shown, or back.
    fn turn(&mut self) {
        match self.page {
            Page::Ingresses => self.page = Page::Labels { of_chosen: false, scrolled: 0 },
            Page::Ingress { .. } => self.page = Page::Labels { of_chosen: true, scrolled: 0 },
            Page::Labels { .. } => self.close(),
        }
    }

    fn step(&mut self, by: isize) {
        match self.page {
            Page::Ingresses => {
                let visible = self.visible();
                let last = visible.len().saturating_sub(1);
                let at = self.chosen(&visible).saturating_add_signed(by).min(last);
                self.chosen = visible.get(at).map(|row| row.ingress.clone());
            }
            Page::Ingress { ref mut scrolled } | Page::Labels { ref mut scrolled, .. } => {
                *scrolled = scrolled.saturating_add_signed(by);
            }
        }
    }

    /// The ingress whose page is open, unless a change of the policy took it away.
    pub(super) fn opened(&self) -> Option<&Row> {
        let chosen = self.chosen.as_ref()?;
        self.rows.iter().find(|row| row.ingress == *chosen)
    }
}

impl Row {
    fn next(before: Option<Self>, entry: &IngressStats, elapsed: Duration) -> Self {
        let old = before.as_ref();
        let reasons = entry
            .refused
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let old = old.and_then(|old| old.reasons.get(at));
                ReasonRow {
                    reason: row.reason,
                    dropped: Meter::next(old.map(|old| &old.dropped), row.dropped, elapsed),
                    would_drop: Meter::next(
                        old.map(|old| &old.would_drop),
                        row.would_drop,
                        elapsed,
                    ),
                }
            })
            .collect();
        let rules = entry
            .rules
            .iter()
            .map(|rule| {
                let old = old.and_then(|old| old.rules.iter().find(|(name, _)| *name == rule.rule));
                (rule.rule.clone(), Meter::next(old.map(|(_, meter)| meter), rule.counter, elapsed))
            })
            .collect();
        let vlans = entry.vlan.iter().map(|vlan| format!(".{vlan}")).collect::<String>();
        let (accepted, dropped, would_drop, mut refused) = match before {
            Some(old) => (Some(old.accepted), Some(old.dropped), Some(old.would_drop), old.refused),
            None => (None, None, None, History::default()),
        };
        let next = |old, total| Gauge::next(old, total, elapsed);
        let (dropped, would_drop) =
            (next(dropped, entry.dropped), next(would_drop, entry.would_drop));
        if !elapsed.is_zero() {
            refused.push(dropped.meter.packets + would_drop.meter.packets);
        }
        Self {
            ingress: entry.ingress.clone(),
            place: format!("{}{vlans}", entry.interface),
            mode: entry.mode,
            accepted: next(accepted, entry.accepted),
            dropped,
            would_drop,
            refused,
            reasons,
            rules,
        }
    }
}

impl Gauge {
    fn next(before: Option<Self>, total: CounterRow, elapsed: Duration) -> Self {
        let meter = Meter::next(before.as_ref().map(|old| &old.meter), total, elapsed);
        let mut history = before.map(|old| old.history).unwrap_or_default();
        if !elapsed.is_zero() {
            history.push(meter.packets);
        }
        Self { meter, history }
    }
}
