//! The model on a screen of any size.

use std::borrow::Cow;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table, TableState},
};

use super::{
    label_view,
    meter::{Meter, short},
    model::{Gauge, Model, Page, Row, Sort},
};
use crate::cli::text::thousands;

/// From this width on, reasons come with their meaning.
const WIDE: u16 = 110;
/// Widths of mode and figures in the list.
const FIGURES: [u16; 4] = [7, 10, 9, 10];
/// The longest interface that is shown in full on a narrow screen.
const PLACE: usize = 12;
/// Bars that long names leave room for.
const BARS: usize = 8;

const HELP: [(&str, &str); 17] = [
    ("↑ ↓ PgUp PgDn", "choose an ingress, scroll its page"),
    ("Enter", "reasons and rules of the ingress; Enter or Esc goes back"),
    ("l", "refused labels of all ingresses, or of the one that is open"),
    ("/", "show only ingresses with this in name, interface or mode;"),
    ("", "labels with this in label, ingress, reason or source"),
    ("Esc", "forget the filter"),
    ("r", "sort by refused: dropped and would drop together"),
    ("a d w", "sort by accepted, dropped, would drop"),
    ("n i", "sort by name, by interface and VLAN"),
    ("t", "frames in all instead of frames a second, and back"),
    ("p Space", "pause, and go on"),
    ("q Ctrl-C", "quit"),
    ("", ""),
    ("would drop", "passed only because the ingress is in mode monitor"),
    ("REFUSED", "the last rates, the newest on the right; each line has"),
    ("", "its own scale"),
    ("sampled", "labels come from some of the frames, 10/s for each reason"),
];

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(4), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(model, head.width)), head);
    match model.page {
        Page::Ingresses => ingresses(frame, body, model),
        Page::Labels { of_chosen, scrolled } => {
            let [title, lines] = label_view::table(model, body.width);
            let [titles, rows] =
                Layout::vertical([length(title.len()), Constraint::Min(0)]).areas(body);
            let scrolled = scrolled.min(lines.len().saturating_sub(usize::from(rows.height)));
            let lines: Vec<Line<'_>> = lines.into_iter().skip(scrolled).collect();
            frame.render_widget(Paragraph::new(title), titles);
            frame.render_widget(Paragraph::new(lines), rows);
            model.page = Page::Labels { of_chosen, scrolled };
            model.has_room(usize::from(rows.height));
        }
        Page::Ingress { scrolled } => {
            let lines = match model.opened() {
                Some(row) => ingress_lines(row, model, body.width),
                None => vec![Line::from("The policy has no such ingress any more. Esc goes back.")],
            };
            let beyond = lines.len().saturating_sub(usize::from(body.height));
            let scrolled = scrolled.min(beyond);
            model.page = Page::Ingress { scrolled };
            let lines: Vec<Line<'_>> = lines.into_iter().skip(scrolled).collect();
            frame.render_widget(Paragraph::new(lines), body);
        }
    }
    frame.render_widget(foot_line(model), foot);
    if model.help {
        help(frame);
    }
}

fn head_lines(model: &Model, width: u16) -> Vec<Line<'static>> {
    let status = &model.status;
    let title = format!("mpls-xdp  generation {}  {}", status.generation, status.policy);
    let pace = match model.paused {
        true => "PAUSED".to_owned(),
        false => format!("every {} s", model.interval.as_secs()),
    };
    let awaited = match model.confirm_within() {
        Some(seconds @ 0..) => format!("to be confirmed within {seconds} s  "),
        Some(seconds) => format!("confirmation {} s overdue  ", -seconds),
        None => String::new(),
    };
    let room = usize::from(width).saturating_sub(awaited.len() + pace.len() + 1);
    let title: String = title.chars().take(room).collect();
    let pace = if model.paused { pace.reversed() } else { pace.dim() };
    let sum =
        |of: fn(&Row) -> &Gauge| model.rows().iter().map(|row| of(row).meter.packets).sum::<f64>();
    let strays = model.strays.iter().map(|stray| stray.meter.packets).sum::<f64>();
    let mut line = vec![
        Span::from(format!("accepted {}/s", short(sum(|row| &row.accepted)))),
        refused("dropped", sum(|row| &row.dropped), Color::Red),
        refused("would drop", sum(|row| &row.would_drop), Color::Yellow),
        refused("without ingress", strays, Color::Yellow),
    ];
    let most = model.strays.iter().max_by(|a, b| a.meter.packets.total_cmp(&b.meter.packets));
    if let Some(most) = most.filter(|stray| stray.meter.packets > 0.0) {
        line.push(Span::from(format!(" ({})", most.interface)));
    }
    vec![
        Line::from(vec![format!("{title:room$} ").bold(), awaited.fg(Color::Yellow).bold(), pace]),
        Line::from(line),
        health(model),
        state(model),
    ]
}

/// A rate that should be zero.
fn refused(what: &str, rate: f64, color: Color) -> Span<'static> {
    let text = format!("  {what} {}/s", short(rate));
    if rate > 0.0 { text.fg(color).bold() } else { Span::from(text) }
}

/// What is wrong, the worst first.
fn health(model: &Model) -> Line<'static> {
    let status = &model.status;
    let more = |count: usize| match count {
        0 | 1 => String::new(),
        count => format!(" (and {} more: mpls-xdp status)", count - 1),
    };
    if let Some(why) = &model.failure {
        return Line::from(format!("Not up to date: {why}").fg(Color::Red).bold());
    }
    if let Some(problem) = status.problems.first() {
        let text = format!("PROBLEM: {problem}{}", more(status.problems.len()));
        return Line::from(text.fg(Color::Red).bold());
    }
    if let Some(hole) = status.uncovered.first() {
        let text = format!(
            "Nothing covers {}, and the kernel accepts MPLS there{}",
            hole.interface,
            more(status.uncovered.len())
        );
        return Line::from(text.fg(Color::Yellow));
    }
    Line::from("All interfaces of the policy are filtered.".fg(Color::Green))
}

/// What the list shows, or what the page is about.
fn state(model: &Model) -> Line<'static> {
    let about = match model.page {
        Page::Ingresses => format!(
            "{} of {} ingresses, sorted by {}",
            thousands(model.visible().len() as u64),
            thousands(model.rows().len() as u64),
            model.sort.name()
        ),
        Page::Ingress { .. } => {
            let title =
                model.opened().map(|row| format!("{}  {}  {}", row.ingress, row.place, row.mode));
            return Line::from(title.unwrap_or_default().bold());
        }
        Page::Labels { .. } => match model.labels_of() {
            Some(ingress) => format!("Refused labels of {ingress}"),
            None => "Refused labels of all ingresses".to_owned(),
        },
    };
    let mut spans = vec![Span::from(about)];
    if model.typing || !model.filter().is_empty() {
        spans.push(Span::from("  filter: "));
        spans.push(model.filter().to_owned().bold());
    }
    if model.typing {
        spans.push("_".slow_blink());
    }
    Line::from(spans).dim()
}

fn ingresses(frame: &mut Frame<'_>, area: Rect, model: &mut Model) {
    let room = usize::from(area.height.saturating_sub(1));
    let above = model.scroll(room);
    let visible = model.visible();
    let chosen = model.chosen(&visible);
    let longest = |of: fn(&Row) -> &String, least: usize, most: usize| {
        visible.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).clamp(least, most)
    };
    let place = longest(|row| &row.place, 9, PLACE.max(usize::from(area.width) / 5));
    let others = usize::from(FIGURES.iter().sum::<u16>()) + 6 + place + BARS;
    let name =
        longest(|row| &row.ingress, 7, usize::from(area.width).saturating_sub(others).max(7));
    let [mode, accepted, dropped, would_drop] = FIGURES.map(Constraint::Length);
    let widths =
        [length(name), length(place), mode, accepted, dropped, would_drop, Constraint::Fill(1)];
    let bars = Layout::horizontal(widths).spacing(1).split(area)[6].width;

    let per = if model.totals { "" } else { "/S" };
    let number = |title: &str, sort| heading(&format!("{title}{per}"), sort, model, true);
    let header = TableRow::new([
        heading("INGRESS", Sort::Name, model, false),
        heading("INTERFACE", Sort::Place, model, false),
        Cell::from("MODE"),
        number("ACCEPTED", Sort::Accepted),
        number("DROPPED", Sort::Dropped),
        number("WOULD", Sort::WouldDrop),
        heading("REFUSED", Sort::Refused, model, false),
    ])
    .style(Style::new().add_modifier(Modifier::BOLD));
    let figure = |meter: &Meter, color: Option<Color>| {
        let number = if model.totals { meter.total.packets as f64 } else { meter.packets };
        let line = Line::from(short(number)).right_aligned();
        match color.filter(|_| number > 0.0) {
            Some(color) => Cell::from(line.fg(color).bold()),
            None => Cell::from(line),
        }
    };
    let rows = visible.iter().skip(above).take(room).map(|row| {
        TableRow::new([
            Cell::from(clipped(&row.ingress, name)),
            Cell::from(clipped(&row.place, place)),
            Cell::from(row.mode),
            figure(&row.accepted.meter, None),
            figure(&row.dropped.meter, Some(Color::Red)),
            figure(&row.would_drop.meter, Some(Color::Yellow)),
            Cell::from(row.refused.bars(usize::from(bars))),
        ])
    });
    let table = Table::new(rows, widths)
        .column_spacing(1)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut at = TableState::new();
    if !visible.is_empty() {
        at.select(Some(chosen - above));
    }
    frame.render_stateful_widget(table, area, &mut at);
}

/// What there is room for, with a mark where something is missing.
pub(super) fn clipped(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::from(text);
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    Cow::from(kept + "…")
}

fn length(width: usize) -> Constraint {
    Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
}

fn heading(title: &str, sort: Sort, model: &Model, right: bool) -> Cell<'static> {
    let line = Line::from(title.to_owned());
    let line = if model.sort == sort { line.underlined() } else { line };
    Cell::from(if right { line.right_aligned() } else { line })
}

/// Rates, reasons, refused labels and rules of an ingress.
fn ingress_lines(row: &Row, model: &Model, width: u16) -> Vec<Line<'static>> {
    let bars = usize::from(width).saturating_sub(50).min(60);
    let mut lines = vec![
        Line::from(format!("{:<12}{:>11}{:>11}{:>14}", "VERDICT", "FRAMES/S", "BITS/S", "FRAMES"))
            .bold(),
    ];
    for (name, gauge, color) in [
        ("accepted", &row.accepted, None),
        ("dropped", &row.dropped, Some(Color::Red)),
        ("would drop", &row.would_drop, Some(Color::Yellow)),
    ] {
        let history = gauge.history.bars(bars);
        let line = Line::from(format!("{name:<12}{}  {history}", figures(&gauge.meter)));
        lines.push(coloured(line, &gauge.meter, color));
    }
    lines.push(Line::default());
    lines.push(
        Line::from(format!("{:<30}{:>11}{:>11}{:>14}", "REASON", "DROPPED/S", "WOULD/S", "FRAMES"))
            .bold(),
    );
    let mut reasons: Vec<_> = row
        .reasons
        .iter()
        .filter(|reason| reason.dropped.total.packets + reason.would_drop.total.packets > 0)
        .collect();
    let rate =
        |reason: &super::model::ReasonRow| reason.dropped.packets + reason.would_drop.packets;
    reasons.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    if reasons.is_empty() {
        lines.push(Line::from("Nothing was refused."));
    }
    for reason in reasons {
        let (dropped, would_drop) = (&reason.dropped, &reason.would_drop);
        let meaning = if width < WIDE { "" } else { reason.reason.meaning() };
        let line = Line::from(format!(
            "{:<30}{:>11}{:>11}{:>14}  {meaning}",
            reason.reason.name(),
            short(dropped.packets),
            short(would_drop.packets),
            thousands(dropped.total.packets + would_drop.total.packets)
        ));
        let line = coloured(line, would_drop, Some(Color::Yellow));
        lines.push(coloured(line, dropped, Some(Color::Red)));
    }
    lines.push(Line::default());
    lines.extend(label_view::panel(model, width));
    lines.push(Line::default());
    lines.push(
        Line::from(format!("{:<30}{:>11}{:>11}{:>14}", "RULE", "FRAMES/S", "BITS/S", "FRAMES"))
            .bold(),
    );
    for (name, meter) in &row.rules {
        lines.push(Line::from(format!("{name:<30}{}", figures(meter))));
    }
    lines
}

fn figures(meter: &Meter) -> String {
    let frames = thousands(meter.total.packets);
    format!("{:>11}{:>11}{frames:>14}", short(meter.packets), short(meter.bits))
}

/// In colour while it counts.
fn coloured<'a>(line: Line<'a>, meter: &Meter, color: Option<Color>) -> Line<'a> {
    match color.filter(|_| meter.packets > 0.0) {
        Some(color) => line.fg(color),
        None => line,
    }
}

fn foot_line(model: &Model) -> Line<'static> {
    let keys = match (model.typing, model.page) {
        (true, _) => "type a part of a name   Enter keep   Esc forget",
        (false, Page::Ingresses) => {
            "↑↓ choose  Enter open  l labels  / filter  radwni sort  p pause  ? help  q quit"
        }
        (false, Page::Ingress { .. }) => "↑↓ scroll  l labels  Esc back  p pause  ? help  q quit",
        (false, Page::Labels { .. }) => {
            "↑↓ scroll  / filter  t totals  Esc back  p pause  ? help  q quit"
        }
    };
    Line::from(keys).dim()
}

fn help(frame: &mut Frame<'_>) {
    let keys = HELP.map(|(keys, what)| Line::from(vec![format!("{keys:<15}").bold(), what.into()]));
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX);
    let area = frame.area().centered(Constraint::Max(76), Constraint::Max(height));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Keys: any key goes back ");
    frame.render_widget(Paragraph::new(keys.to_vec()).block(block), area);
}
