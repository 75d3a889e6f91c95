//! How the cost of a frame grows, as a picture.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::policies::thousands;
use super::report::{Axis, Report};

const SIZE: (u32, u32) = (960, 400);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Told apart also by those who see colours otherwise (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

type Series = BTreeMap<String, Vec<(f64, f64)>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the cost against labels and against ingresses.
pub fn draw(report: &Report, file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let trouble = |error: &dyn std::fmt::Display| anyhow!("drawing {}: {error}", file.display());
    root.fill(&WHITE).map_err(|error| trouble(&error))?;
    let panels = root.split_evenly((1, 2));
    let axes = [
        (Axis::Labels, "labels in the policy", 1_048_576.0),
        (Axis::Ingresses, "ingresses in the policy", 4_096.0),
    ];
    let all = axes.map(|(axis, ..)| series(report, axis));
    let costs = all.iter().flat_map(BTreeMap::values).flatten().map(|(_, cost)| *cost);
    let highest = costs.fold(0.0, f64::max);
    ensure!(highest > 0.0, "there is nothing to draw: --plot needs the group scale");
    for ((panel, (_, title, end)), series) in panels.iter().zip(axes).zip(&all) {
        panel_of(panel, title, end, highest * 1.35, series).map_err(|error| trouble(&error))?;
    }
    root.present().map_err(|error| trouble(&error))
}

fn series(report: &Report, axis: Axis) -> Series {
    let mut series = Series::new();
    for (point, cost) in report.points(axis) {
        series.entry(point.series.clone()).or_default().push((f64::from(point.at), cost.max(0.0)));
    }
    for points in series.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    series
}

fn panel_of(
    panel: &Area<'_>,
    title: &str,
    end: f64,
    top: f64,
    series: &Series,
) -> Result<(), Box<dyn std::error::Error>> {
    let text = (FONT, 13).into_font().color(&INK);
    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(44)
        .build_cartesian_2d((1.0..end).log_scale(), 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .x_desc(title)
        .y_desc("ns over an empty program")
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|labels| short(*labels))
        .y_label_formatter(&|cost| format!("{cost:.0}"))
        .draw()?;
    for ((name, points), colour) in series.iter().zip(COLOURS) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(text)
        .background_style(WHITE.mix(0.85))
        .legend_area_size(24)
        .draw()?;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a label of an axis")]
fn short(number: f64) -> String {
    thousands(number.round() as u32)
}
