//! Series of points as charts.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Told apart by people who see few colours, too.
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167), RGBColor(90, 90, 90)];

/// Series of points by their names.
pub type Points<'a> = BTreeMap<&'a str, Vec<(f64, f64)>>;

/// Where one chart goes.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An SVG file of so many rows and columns of charts, which `draw` draws into.
pub fn svg(size: (u32, u32), (rows, columns): (usize, usize), draw: impl FnOnce(&[Area])) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).expect("text takes everything");
        draw(&area.split_evenly((rows, columns)));
        area.present().expect("text takes everything");
    }
    svg
}

/// Least and greatest of something.
pub fn ends(series: &Points, of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = series.values().flatten().map(of);
    values.fold((f64::INFINITY, 0.0), |(low, high), v| (low.min(v), high.max(v)))
}

/// The series over a logarithmic axis, with their names in the upper left or the lower right corner.
pub fn chart<Y: AsRangedCoord<Value = f64>>(
    area: &Area,
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
