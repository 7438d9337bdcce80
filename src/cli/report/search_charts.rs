//! The charts of a study of `stackelberg search`.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use stackelberg::data::visible;
use stackelberg::search::{State, Trial};

use super::search::{Importance, Search};
use crate::cli::chart::{self, Axis, COLOURS, Point, SIZE};
use crate::cli::progress::number;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

impl Search {
    /// Its drawings by name; what cannot be drawn is not there.
    pub fn charts(&self) -> Vec<(&'static str, String)> {
        let importance = self.importance.as_ref().map_or_else(String::new, importance);
        let all = [
            ("history", drawn(|area| history(self, area))),
            ("rungs", drawn(|area| rungs(self, area))),
            ("parallel", drawn(|area| parallel(self, area))),
            ("importance", importance),
            ("timeline", drawn(|area| timeline(self, area))),
        ];
        all.into_iter().filter(|(_, svg)| !svg.is_empty()).collect()
    }
}

/// An SVG element; nothing where there was nothing to draw.
fn drawn(draw: impl FnOnce(&Area<'_>) -> Option<()>) -> String {
    let mut svg = String::new();
    let is_drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area).is_some() && area.present().is_ok()
    };
    if is_drawn { svg } else { String::new() }
}

/// The least and the greatest of what can be drawn, and a little more.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let ends = values
        .filter(|v| v.abs() < 1e300)
        .fold(None, |ends: Option<(f64, f64)>, v| Some(ends.map_or((v, v), |(low, high)| (low.min(v), high.max(v)))));
    ends.map(|(low, high)| {
        let margin = (0.06 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
        (low - margin, high + margin)
    })
}

fn scored(search: &Search) -> impl Iterator<Item = &Trial> {
    search.trials.iter().filter(|trial| trial.score().abs() < 1e300)
}

/// How the state of a trial is drawn.
fn colour(state: State) -> RGBColor {
    match state {
        State::Complete => COLOURS[0],
        State::Pruned => COLOURS[1],
        State::Running | State::Paused => COLOURS[4],
        State::Failed => COLOURS[5],
    }
}

/// The last loss of each trial, and the best that came to its end until then.
fn history(search: &Search, area: &Area<'_>) -> Option<()> {
    let up = range(scored(search).map(Trial::score))?;
    let across = range([0.0, search.trials.len() as f64 - 1.0].into_iter())?;
    let draw = || -> Drawn<'_> {
        let mut chart = ChartBuilder::on(area)
            .caption("history: complete (blue), stopped (orange), open (light)", ("sans-serif", 15))
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(58)
            .build_cartesian_2d(across.0..across.1, up.0..up.1)?;
        let text = |at: &f64| number(*at);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("trial").x_label_formatter(&text).y_label_formatter(&text).light_line_style(WHITE.mix(0.0));
        mesh.draw()?;
        let dot = |trial: &Trial| Circle::new((trial.number as f64, trial.score()), 3, colour(trial.state).filled());
        chart.draw_series(scored(search).map(dot))?;
        let mut best = f64::INFINITY;
        let mut steps: Vec<(f64, f64)> = vec![];
        for trial in scored(search).filter(|trial| trial.state == State::Complete && trial.score() < f64::INFINITY) {
            if trial.score() < best {
                steps.extend(steps.last().copied().map(|(_, before)| (trial.number as f64, before)));
                best = trial.score();
                steps.push((trial.number as f64, best));
            }
        }
        steps.extend(steps.last().copied().map(|(_, before)| (across.1, before)));
        chart.draw_series(LineSeries::new(steps, COLOURS[0].stroke_width(2)))?;
        Ok(())
    };
    draw().ok()
}

/// The learning curve of each trial, as far as it was let.
fn rungs(search: &Search, area: &Area<'_>) -> Option<()> {
    let reports = || search.trials.iter().flat_map(|trial| &trial.reports);
    let up = range(reports().map(|report| report.value))?;
    let across = range(reports().map(|report| report.step as f64))?;
    let draw = || -> Drawn<'_> {
        let mut chart = ChartBuilder::on(area)
            .caption("outer loss as trials train; where one ends it was stopped, or waits", ("sans-serif", 15))
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(58)
            .build_cartesian_2d(across.0..across.1, up.0..up.1)?;
        let text = |at: &f64| number(*at);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("steps").x_label_formatter(&text).y_label_formatter(&text).light_line_style(WHITE.mix(0.0));
        mesh.draw()?;
        for trial in &search.trials {
            let finite = trial.reports.iter().filter(|report| report.value.abs() < 1e300);
            let points: Vec<(f64, f64)> = finite.map(|report| (report.step as f64, report.value)).collect();
            let colour = colour(trial.state);
            let end = points.last().copied();
            chart.draw_series(LineSeries::new(points, colour.mix(0.6).stroke_width(1)))?;
            chart.draw_series(end.map(|end| Circle::new(end, 2, colour.filled())))?;
        }
        Ok(())
    };
    draw().ok()
}

/// A line for each trial through its values and its loss, from the best in dark to the worst in light.
fn parallel(search: &Search, area: &Area<'_>) -> Option<()> {
    let space = &search.about.space;
    let mut trials: Vec<&Trial> = scored(search).collect();
    trials.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let (least, greatest) = (trials.last()?.score(), trials.first()?.score());
    let last = space.len() as f64;
    let draw = || -> Drawn<'_> {
        let mut chart = ChartBuilder::on(area)
            .caption("values and outer loss, the best trials dark", ("sans-serif", 15))
            .margin(10)
            .x_label_area_size(46)
            .build_cartesian_2d(-0.4..last + 0.4, -0.06..1.06)?;
        for (rank, trial) in trials.iter().enumerate() {
            let units = space.units(&trial.point);
            let share = (trial.score() - least) / (greatest - least).max(f64::MIN_POSITIVE);
            // What does not count has no place on its axis.
            let known = units.iter().enumerate().filter(|(j, _)| trial.point.get(*j).is_some());
            let points = known.map(|(j, unit)| (j as f64, *unit)).chain([(last, share.clamp(0.0, 1.0))]);
            let strength = ((rank + 1) as f64 / trials.len() as f64).powi(2);
            let style = COLOURS[0].mix(0.1 + 0.8 * strength).stroke_width(1);
            chart.draw_series(LineSeries::new(points, style))?;
        }
        let names = space.dimensions().iter().map(|dimension| visible(&dimension.name));
        for (j, name) in names.chain(["outer loss".to_owned()]).enumerate() {
            chart.draw_series([PathElement::new([(j as f64, 0.0), (j as f64, 1.0)], COLOURS[5])])?;
            let written = |value: f64, domain: usize| match space.domain(domain).written(value) {
                stackelberg::search::Value::Text(text) => visible(&text),
                _ => number(value),
            };
            let (low, high) = match j < space.len() {
                true => {
                    let (low, high) = space.domain(j).ends();
                    (written(low, j), written(high, j))
                }
                false => (number(least), number(greatest)),
            };
            let style = |vertical| ("sans-serif", 10).into_font().color(&BLACK).pos(Pos::new(HPos::Center, vertical));
            for (text, height, vertical) in [(high, 1.0, VPos::Bottom), (low, 0.0, VPos::Top)] {
                let (x, y) = chart.backend_coord(&(j as f64, height));
                area.draw_text(&text, &style(vertical), (x, y))?;
            }
            let (x, y) = chart.backend_coord(&(j as f64, -0.06));
            // Long names side by side would run into each other.
            area.draw_text(&name, &style(VPos::Top), (x, y + 6 + 14 * (j % 2) as i32))?;
        }
        Ok(())
    };
    draw().ok()
}

/// How much each dimension matters.
fn importance(importance: &Importance) -> String {
    let mut shares: Vec<&(String, f64)> = importance.shares.iter().collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let names: Vec<String> = shares.iter().map(|(name, _)| visible(name)).collect();
    let points = shares.iter().enumerate();
    let points = points.map(|(at, (_, share))| Point { at: at as f64, value: *share, spread: 0.0 }).collect();
    let title = format!("share of the variance after {} steps, {} trials", importance.step, importance.trials);
    chart::draw(&title, "share", Axis::Named(&names), &[("share".to_owned(), points)].into())
}

/// When each trial trained, in the order of what happened.
fn timeline(search: &Search, area: &Area<'_>) -> Option<()> {
    let across = range(search.turns.iter().flat_map(|turn| [turn.from as f64, turn.to as f64]))?;
    let draw = || -> Drawn<'_> {
        let mut chart = ChartBuilder::on(area)
            .caption("timeline: to its end (blue), stopped (orange), on (light)", ("sans-serif", 15))
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(48)
            .build_cartesian_2d(across.0..across.1, search.trials.len() as f64 - 0.4..-0.6)?;
        let text = |at: &f64| number(*at);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("events").y_desc("trial").x_label_formatter(&text).y_label_formatter(&text);
        mesh.light_line_style(WHITE.mix(0.0)).draw()?;
        chart.draw_series(search.turns.iter().map(|turn| {
            let y = turn.trial as f64;
            let ends = [(turn.from as f64, y - 0.35), (turn.to as f64, y + 0.35)];
            Rectangle::new(ends, colour(turn.state).filled())
        }))?;
        Ok(())
    };
    draw().ok()
}
