//! The refused labels on a screen of any width.

use ratatui::{
    style::{Color, Stylize as _},
    text::Line,
};

use super::{
    labels::{KEPT, LabelRow, Sampling},
    meter::short,
    model::Model,
    view::clipped,
};
use crate::cli::text::thousands;

/// Lines of the page of an ingress: what else is there is more important.
const FEW: usize = 5;
/// Characters of a hardware address, and of what says that there are more.
const MAC: usize = 17;
const AND_MORE: usize = 4;
/// Characters of the longest reason.
const REASON: usize = 26;
/// Characters of label, samples, share and time, with all gaps but that behind the place.
const FIGURES: usize = 8 + 8 + 6 + 6;

/// Columns whose width depends on the screen.
struct Columns {
    /// None where all labels are of one ingress.
    place: Option<usize>,
    reason: usize,
    sources: usize,
}

impl Columns {
    fn new(model: &Model, rows: &[&LabelRow], width: u16) -> Self {
        let room = usize::from(width).saturating_sub(FIGURES + MAC + AND_MORE);
        let longest = |of: fn(&LabelRow) -> &str, least: usize| {
            rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least)
        };
        let place = model.labels_of().is_none().then(|| {
            let longest = longest(|row| row.refusal.place(), 5);
            longest.min(room * 2 / 5).max(5)
        });
        let room = room.saturating_sub(place.map_or(0, |place| place + 1));
        let reason = longest(|row| row.refusal.reason, 6).min(REASON).min(room.max(6));
        Self { place, reason, sources: 1 + room.saturating_sub(reason) / (MAC + 1) }
    }

    fn line(&self, [label, place, reason, samples, share, sources, last]: [&str; 7]) -> String {
        let reason = clipped(reason, self.reason);
        let place = self
            .place
            .map_or_else(String::new, |width| format!("{:<width$} ", clipped(place, width)));
        let sources_width = self.sources * (MAC + 1) - 1 + AND_MORE;
        format!(
            "{label:<8}{place}{reason:<width$} {samples:>7}{share:>6} {sources:<sources_width$} \
             {last:>4}",
            width = self.reason
        )
    }

    fn titles(&self, model: &Model) -> Line<'static> {
        let samples = if model.totals { "SAMPLES" } else { "SEEN/S" };
        let titles = ["LABEL", "WHERE", "REASON", samples, "SHARE", "SOURCE", "LAST"];
        Line::from(self.line(titles)).bold()
    }

    fn row(&self, model: &Model, row: &LabelRow) -> Line<'static> {
        let samples = if model.totals { row.seen as f64 } else { row.rate };
        let line = Line::from(self.line([
            &row.name(),
            row.refusal.place(),
            row.refusal.reason,
            &short(samples),
            &percent(model.labels.share(row)),
            &sources(row, self.sources),
            &ago(model.labels.age(row).as_secs()),
        ]));
        if row.rate > 0.0 { line.fg(Color::Yellow) } else { line }
    }
}

/// The page of labels: what stands above them, and the labels.
pub(super) fn table(model: &Model, width: u16) -> [Vec<Line<'static>>; 2] {
    let rows = model.label_rows();
    let columns = Columns::new(model, &rows, width);
    let mut titles = heads(model);
    titles.push(columns.titles(model));
    let mut lines: Vec<_> = rows.iter().map(|row| columns.row(model, row)).collect();
    if lines.is_empty() {
        lines.push(Line::from(nothing(model)));
    }
    if model.labels.forgot {
        let kept = thousands(KEPT as u64);
        lines.push(Line::from(format!("Only the last {kept} labels are kept; there were more.")));
    }
    [titles, lines]
}

/// The part of the page of an ingress that is about labels.
pub(super) fn panel(model: &Model, width: u16) -> Vec<Line<'static>> {
    let rows = model.label_rows();
    let mut lines = heads(model);
    if rows.is_empty() {
        lines.push(Line::from(nothing(model)));
        return lines;
    }
    let columns = Columns::new(model, &rows, width);
    lines.push(columns.titles(model));
    lines.extend(rows.iter().take(FEW).map(|row| columns.row(model, row)));
    if rows.len() > FEW {
        let more = thousands((rows.len() - FEW) as u64);
        lines.push(Line::from(format!("and {more} more: l shows all")).dim());
    }
    lines
}

/// How much of what was refused the labels come from, and whether they go on.
fn heads(model: &Model) -> Vec<Line<'static>> {
    let (sampled, refused) = model.labels.sampled(model.labels_of());
    let [sampled, refused] = [sampled, refused].map(|frames| short(frames as f64));
    let part = format!("sampled: {sampled} of {refused} frames refused while labels were shown");
    let mut lines = vec![Line::from(part).bold()];
    let state = match &model.labels.sampling {
        Sampling::On | Sampling::Off => return lines,
        Sampling::Soon => "Another command is at work: labels come in a moment.".to_owned(),
        Sampling::Elsewhere(number) => {
            let who = number
                .map_or_else(|| "Another process".to_owned(), |number| format!("Process {number}"));
            format!("{who} samples now (capture or top): labels go on here when it ends.")
        }
        Sampling::Failed(why) => format!("Not sampled: {why}"),
    };
    lines.push(Line::from(state.fg(Color::Yellow)));
    lines
}

/// Why there is no label.
fn nothing(model: &Model) -> &'static str {
    match model.labels.sampled(model.labels_of()) {
        (0, _) => "No refused frame was sampled yet.",
        _ => "No label has the filter's text.",
    }
}

/// As many as there is room for, and how many more.
fn sources(row: &LabelRow, room: usize) -> String {
    let shown: Vec<String> = row.sources.kept.iter().take(room).map(ToString::to_string).collect();
    let more = row.sources.kept.len() - shown.len();
    let mark = if row.sources.more { "…" } else { "" };
    match (shown.is_empty(), more, row.sources.more) {
        (true, ..) => "-".to_owned(),
        (_, 0, false) => shown.join(" "),
        _ => format!("{} +{more}{mark}", shown.join(" ")),
    }
}

/// Never all of it when it is not.
fn percent(share: f64) -> String {
    match share * 100.0 {
        ..1.0 => "<1%".to_owned(),
        percent => format!("{:.0}%", percent.floor()),
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0 => "now".to_owned(),
        1..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..360_000 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_round_nothing_up() {
        for (share, text) in [(1.0, "100%"), (0.999, "99%"), (0.5, "50%"), (0.001, "<1%")] {
            assert_eq!(percent(share), text);
        }
        for (seconds, text) in
            [(0, "now"), (99, "99s"), (100, "1m"), (5_999, "99m"), (6_000, "1h"), (400_000, "4d")]
        {
            assert_eq!(ago(seconds), text);
        }
    }
}
