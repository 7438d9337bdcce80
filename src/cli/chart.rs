//! Line charts as SVG.

use std::collections::BTreeMap;

use plotters::prelude::*;

/// A value with its spread either way.
pub struct Point {
    pub at: f64,
    pub value: f64,
    pub spread: f64,
}

/// What runs along the bottom.
pub enum Axis<'a> {
    Number,
    /// Points lie at 0, 1, …, which are called so.
    Named(&'a [String]),
}

const SIZE: (u32, u32) = (520, 340);
/// Told apart by people who see few colours, too.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// The series drawn in one chart, as an SVG element. What cannot be drawn gives nothing.
pub fn draw(title: &str, along: &str, axis: Axis, series: &BTreeMap<String, Vec<Point>>) -> String {
    let mut svg = String::new();
    let drawn = paint(&mut svg, title, along, axis, series);
    if drawn.is_ok() { svg } else { String::new() }
}

fn paint(
    svg: &mut String,
    title: &str,
    along: &str,
    axis: Axis,
    series: &BTreeMap<String, Vec<Point>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || series.values().flatten();
    let range = |of: &dyn Fn(&Point) -> [f64; 2]| {
        let ends = points().flat_map(of);
        ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (left, right) = range(&|p| [p.at, p.at]);
    let (low, high) = range(&|p| [p.value - p.spread, p.value + p.spread]);
    let margin = |low: f64, high: f64, share: f64| ((high - low) * share).max(1e-3 * high.abs()).max(1e-9);
    let (x, y) = (margin(left, right, 0.06), margin(low, high, 0.08));

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d(left - x..right + x, low - y..high + y)?;
    let names: &[String] = match axis {
        Axis::Number => &[],
        Axis::Named(names) => names,
    };
    let named = |at: &f64| {
        let whole = (at - at.round()).abs() < 1e-6 && *at > -0.5;
        let name = whole.then(|| names.get(at.round() as usize)).flatten();
        name.map_or(String::new(), |name| name.chars().take(18).collect())
    };
    let number = |at: &f64| super::progress::number(*at);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(along).y_labels(6).y_label_formatter(&number).light_line_style(WHITE.mix(0.0));
    if names.is_empty() {
        mesh.x_labels(8).x_label_formatter(&number).draw()?;
    } else {
        mesh.x_labels(2 * names.len() + 1).x_label_formatter(&named).draw()?;
    }
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        // Names that are no numbers have nothing between them.
        let joined = names.iter().all(|name| name.parse::<f64>().is_ok());
        let line = LineSeries::new(points.iter().map(|p| (p.at, p.value)), colour.stroke_width(2)).point_size(3);
        let dots = points.iter().map(|p| Circle::new((p.at, p.value), 4, colour.filled()));
        let drawn = if joined { chart.draw_series(line)? } else { chart.draw_series(dots)? };
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        let spread = points.iter().filter(|p| p.spread > 0.0);
        chart.draw_series(
            spread.map(|p| PathElement::new([(p.at, p.value - p.spread), (p.at, p.value + p.spread)], colour)),
        )?;
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 11))
            .draw()?;
    }
    area.present()?;
    Ok(())
}
