//! Line charts as SVG.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A value with its spread either way.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub at: f64,
    pub value: f64,
    pub spread: f64,
}

/// What points stand at.
pub enum Axis<'a> {
    Number,
    /// Points stand at 0, 1, …, which are called so. Where these are numbers they run along the bottom, else they are
    /// rows.
    Named(&'a [String]),
}

pub const SIZE: (u32, u32) = (520, 340);
/// Told apart by people who see few colours, too.
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// Beyond this, the distance of two numbers is no number any more.
const LARGEST: f64 = 1e300;

/// The series drawn in one chart, as an SVG element. What cannot be drawn, such as what diverged, is left out; where
/// nothing is left this gives nothing.
pub fn draw(title: &str, along: &str, axis: Axis, series: &BTreeMap<String, Vec<Point>>) -> String {
    let drawable = |p: &&Point| [p.at, p.value, p.spread].iter().all(|number| number.abs() < LARGEST);
    let series = series.iter().map(|(name, points)| (name.clone(), points.iter().filter(drawable).copied().collect()));
    let series: BTreeMap<String, Vec<Point>> =
        series.filter(|(_, points): &(_, Vec<Point>)| !points.is_empty()).collect();
    if series.is_empty() {
        return String::new();
    }
    let mut svg = String::new();
    let drawn = paint(&mut svg, title, along, axis, &series);
    if drawn.is_ok() { svg } else { String::new() }
}

fn paint(
    svg: &mut String,
    title: &str,
    along: &str,
    axis: Axis,
    series: &BTreeMap<String, Vec<Point>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    match axis {
        Axis::Number => lines(&area, title, along, &[], series)?,
        Axis::Named(names) if names.iter().all(|name| name.parse::<f64>().is_ok()) => {
            lines(&area, title, along, names, series)?;
        }
        Axis::Named(names) => rows(&area, title, names, series)?,
    }
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// The least and the greatest of what all points give.
fn range(series: &BTreeMap<String, Vec<Point>>, of: impl Fn(&Point) -> [f64; 2]) -> (f64, f64) {
    let ends = series.values().flatten().flat_map(of);
    ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// So far beyond the ends of a range an axis goes.
fn margin((low, high): (f64, f64), share: f64) -> f64 {
    ((high - low) * share).max(1e-3 * high.abs()).max(1e-9)
}

fn spread(p: &Point) -> [f64; 2] {
    [p.value - p.spread, p.value + p.spread]
}

/// The series as lines, above their places.
fn lines<'a>(
    area: &Area<'a>,
    title: &str,
    along: &str,
    names: &[String],
    series: &BTreeMap<String, Vec<Point>>,
) -> Drawn<'a> {
    let (across, up) = (range(series, |p| [p.at, p.at]), range(series, spread));
    let (x, y) = (margin(across, 0.06), margin(up, 0.08));
    // The names of the series stand above the data.
    let legend = if series.len() > 1 { 0.09 * series.len() as f64 * (up.1 - up.0 + 2.0 * y) } else { 0.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d(across.0 - x..across.1 + x, up.0 - y..up.1 + y + legend)?;
    let number = |at: &f64| super::progress::number(*at);
    let named = |at: &f64| {
        let whole = (at - at.round()).abs() < 1e-6 && *at > -0.5;
        whole.then(|| names.get(at.round() as usize).cloned()).flatten().unwrap_or_default()
    };
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(along).y_labels(6).y_label_formatter(&number).light_line_style(WHITE.mix(0.0));
    if names.is_empty() {
        mesh.x_labels(8).x_label_formatter(&number).draw()?;
    } else {
        mesh.x_labels(2 * names.len() + 1).x_label_formatter(&named).draw()?;
    }
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        // Side by side, so that spreads can be told apart.
        let aside = 0.15 * x * (index as f64 - 0.5 * (series.len() - 1) as f64);
        let place = |p: &Point| (p.at + aside, p.value);
        let line = LineSeries::new(points.iter().map(place), colour.stroke_width(2)).point_size(3);
        chart
            .draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        let bars = points.iter().filter(|p| p.spread > 0.0);
        chart.draw_series(bars.map(|p| PathElement::new(spread(p).map(|end| (p.at + aside, end)), colour)))?;
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 11))
            .draw()?;
    }
    Ok(())
}

/// Each place as a row, from the top, with the values of all series as dots.
fn rows<'a>(area: &Area<'a>, title: &str, names: &[String], series: &BTreeMap<String, Vec<Point>>) -> Drawn<'a> {
    let across = range(series, spread);
    let x = margin(across, 0.08);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(190)
        .build_cartesian_2d(across.0 - x..across.1 + x, names.len() as f64 - 0.4..-0.6)?;
    let number = |at: &f64| super::progress::number(*at);
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .x_label_formatter(&number)
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for (at, name) in names.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(across.0 - x, at as f64));
        let style = ("sans-serif", 12).into_font().color(&BLACK);
        let style = style.pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(name, &style, (x - 8, y))?;
    }
    for (index, points) in series.values().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let aside = 0.12 * (index as f64 - 0.5 * (series.len() - 1) as f64);
        let row = |p: &Point| p.at + aside;
        chart.draw_series(points.iter().map(|p| Circle::new((p.value, row(p)), 4, colour.filled())))?;
        let bars = points.iter().filter(|p| p.spread > 0.0);
        chart
            .draw_series(bars.map(|p| PathElement::new(spread(p).map(|end| (end, row(p))), colour.stroke_width(2))))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drawn(values: &[(f64, f64, f64)], names: Option<&[String]>) -> String {
        let points: Vec<Point> = values.iter().map(|&(at, value, spread)| Point { at, value, spread }).collect();
        let series = [("a".to_owned(), points.clone()), ("b".to_owned(), points), ("c".to_owned(), vec![])].into();
        draw("title", "along", names.map_or(Axis::Number, Axis::Named), &series)
    }

    #[test]
    fn where_nothing_can_be_drawn_nothing_is() {
        assert_eq!(drawn(&[], None), "");
        assert_eq!(drawn(&[(1.0, f64::NAN, 0.0), (2.0, f64::INFINITY, 0.0)], None), "");
        assert!(drawn(&[(1.0, f64::NAN, 0.0), (2.0, 3.0, 0.0)], None).starts_with("<svg"));
    }

    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), -10.0..10.0, Just(0.0), Just(1e299), Just(-1e299), Just(5e-324)]
    }

    proptest! {
        #[test]
        fn no_numbers_break_a_chart(values in prop::collection::vec((any_number(), any_number(), any_number()), 0..6)) {
            let names: Vec<String> = (0..values.len()).map(|k| format!("n{k}")).collect();
            let places: Vec<_> = values.iter().enumerate().map(|(k, &(_, value, spread))| (k as f64, value, spread)).collect();
            let numbers: Vec<String> = (0..values.len()).map(|k| k.to_string()).collect();
            drawn(&values, None);
            drawn(&places, Some(&names));
            drawn(&places, Some(&numbers));
        }
    }
}
