//! The tables as a picture: time and memory, against steps and against hyperparameters.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::Row;

const SIZE: (u32, u32) = (960, 720);
/// Told apart by people who see few colours, too.
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167), RGBColor(90, 90, 90)];

type Points<'a> = BTreeMap<&'a str, Vec<(f64, f64)>>;

/// An SVG file of four charts.
pub fn draw(by_steps: &[Row], by_number: &[Row]) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).expect("text takes everything");
        let quarters = area.split_evenly((2, 2));
        let rows = [("training steps T", by_steps), ("hyperparameters m, at T = 100", by_number)];
        for (quarters, (along, rows)) in quarters.chunks(2).zip(rows) {
            let many = along.starts_with("hyperparameters");
            let x = |row: &Row| if many { row.hyperparameters as f64 } else { row.steps as f64 };
            let time = series(rows, |row| (x(row), row.cpu));
            let (least, most) = ends(&time, |point| point.1);
            chart(&quarters[0], [along, "CPU s"], (least / 1.5..most * 1.5).log_scale(), &time, many);
            let memory = series(rows, |row| (x(row), row.planned as f64 / 1e6));
            chart(&quarters[1], [along, "MB"], 0.0..1.1 * ends(&memory, |point| point.1).1, &memory, !many);
        }
        area.present().expect("text takes everything");
    }
    svg
}

fn series(rows: &[Row], point: impl Fn(&Row) -> (f64, f64)) -> Points<'_> {
    let mut series = Points::new();
    rows.iter().for_each(|row| series.entry(&row.method).or_default().push(point(row)));
    series
}

/// Least and greatest of something.
fn ends(series: &Points, of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = series.values().flatten().map(of);
    values.fold((f64::INFINITY, 0.0), |(low, high), v| (low.min(v), high.max(v)))
}

/// The series over a logarithmic axis, with their names in the upper left or the lower right corner.
fn chart<Y: AsRangedCoord<Value = f64>>(
    area: &DrawingArea<SVGBackend, Shift>,
    [along, up]: [&str; 2],
    y: Y,
    series: &Points,
    names_above: bool,
) where
    Y::CoordDescType: ValueFormatter<f64>,
{
    let (least, most) = ends(series, |point| point.0);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d((least / 1.3..most * 1.3).log_scale(), y)
        .expect("there are points");
    let number = |value: &f64| if *value >= 10.0 { format!("{value:.0}") } else { format!("{value}") };
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(along).y_desc(up).x_label_formatter(&number).y_label_formatter(&number);
    mesh.light_line_style(WHITE.mix(0.0)).draw().expect("text takes everything");
    for ((name, points), colour) in series.iter().zip(COLOURS) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        let drawn = chart.draw_series(line).expect("text takes everything");
        drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    let corner = if names_above { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::LowerRight };
    let mut labels = chart.configure_series_labels();
    labels.position(corner).background_style(WHITE.mix(0.8)).label_font(("sans-serif", 11));
    labels.draw().expect("text takes everything");
}
