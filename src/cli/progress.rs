//! What a run shows while it goes: a bar where there is a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stackelberg::experiment::record::{Named, OuterRecord};
use stackelberg::experiment::study::summary::Statistic;

/// The run's face on standard error.
pub struct Progress {
    bar: ProgressBar,
    outer: u32,
    begun: Instant,
    /// Outer iterations that were done before.
    skipped: u32,
    /// Outer loss of the newest iteration.
    latest: String,
}

impl Progress {
    /// For a run of `outer` iterations of which `done` are behind it.
    pub fn new(outer: u32, done: u32) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %  {msg}");
        bar.set_style(style.expect("a valid template").progress_chars("=> "));
        Progress { bar, outer, begun: Instant::now(), skipped: done, latest: String::new() }
    }

    /// `done` of `total` steps of an iteration, counted from 1, are finished.
    pub fn advance(&self, iteration: u32, done: u64, total: u64) {
        let length = u64::from(self.outer) * total;
        let position = u64::from(iteration - 1) * total + done;
        self.bar.set_length(length.max(position));
        self.bar.set_prefix(format!("outer iteration {iteration}/{}", self.outer));
        let behind = position - u64::from(self.skipped) * total;
        let left = self.left(behind as f64 / length.saturating_sub(position).max(1) as f64);
        self.bar.set_message(format!("{left}  {}", self.latest));
        self.bar.set_position(position);
    }

    /// `done` of `total` steps of a training alone are finished.
    pub fn training(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_prefix("training");
        self.bar.set_message(self.left(done as f64 / (total - done).max(1) as f64));
        self.bar.set_position(done);
    }

    /// A line about a finished iteration, and whether the run ends with it.
    pub fn outer(&mut self, record: &OuterRecord, ends: bool) {
        self.latest = record.outer_loss.map_or_else(String::new, |loss| format!("outer loss {}", number(loss)));
        let behind = f64::from(record.iteration - self.skipped);
        let ahead = if ends { 0 } else { self.outer.saturating_sub(record.iteration) };
        let left = if ahead == 0 { String::new() } else { format!(", {}", self.left(behind / f64::from(ahead))) };
        self.say(&format!("{} ({:.1} s{left})", line(record, self.outer, ends), record.seconds));
    }

    /// Shows a line above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| super::note(line));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Time left if the share `behind` : ahead took all the time since the beginning.
    fn left(&self, ratio: f64) -> String {
        format!("{} left", duration(self.begun.elapsed().div_f64(ratio.max(1e-9))))
    }
}

/// A time for people.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// A number with four significant digits. What lies just below 1, as a momentum may, is not shown as 1.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if (0.99995..1.0).contains(&value) {
        return format!("1 − {:.1e}", 1.0 - value);
    }
    if value == 0.0 || (1e-4..1e5).contains(&size) {
        let digits_before = if value == 0.0 { 1 } else { size.log10().floor() as i32 + 1 };
        let text = format!("{value:.*}", (4 - digits_before).max(0) as usize);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.2e}")
    }
}

/// Outer loss and hyperparameters of an iteration.
fn line(record: &OuterRecord, outer: u32, ends: bool) -> String {
    let loss = match (record.outer_loss, record.diverged_at_step) {
        (Some(loss), _) => format!("outer loss {}", number(loss)),
        (None, Some(step)) => format!("training diverged at step {}", step + 1),
        (None, None) => "the outer loss is not finite".to_owned(),
    };
    // A run whose start values diverge has nothing to go back to; after the last iteration there is none to go half
    // the way.
    let verdict = match record.iteration {
        _ if record.accepted => "",
        1 => "",
        _ if ends => "; taken back",
        _ => "; taken back, half the way next",
    };
    // What is not solved gives no derivative worth following.
    let residual = record.residual.map_or_else(String::new, |residual| {
        let warning = if residual > 0.1 { ", too rough: more iterations or steps" } else { "" };
        format!("  residual {}{warning}", number(residual))
    });
    let slope = record.inner_gradient.map_or_else(String::new, |g| format!("  inner gradient {}", number(g)));
    let width = outer.to_string().len();
    format!(
        "{:>width$}/{outer}  {loss}{verdict}{residual}{slope}  {}",
        record.iteration,
        settings(&record.hyperparameters)
    )
}

/// Hyperparameters in one line: single ones, then each family (`l2.LAYER`) as a range.
fn settings(named: &Named) -> String {
    let mut parts: Vec<String> = vec![];
    let mut families: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (name, &value) in named {
        match name.split_once('.') {
            None => parts.push(format!("{name} {}", number(value))),
            Some((family, _)) => {
                let (low, high) = families.entry(family).or_insert((value, value));
                (*low, *high) = (low.min(value), high.max(value));
            }
        }
    }
    for (family, (low, high)) in families {
        let (low, high) = (number(low), number(high));
        parts.push(if low == high { format!("{family} {low}") } else { format!("{family} {low}…{high}") });
    }
    parts.join("  ")
}

/// A mean over seeds with its standard deviation, where there is one.
pub fn statistic(s: &Statistic) -> String {
    if s.count > 1 { format!("{} ± {}", number(s.mean), number(s.deviation)) } else { number(s.mean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers() {
        let texts: Vec<String> = [5, 61, 7260].map(|s| duration(Duration::from_secs(s))).to_vec();
        assert_eq!(texts, ["5 s", "1 min 01 s", "2 h 01 min"]);
        let numbers = [0.0, 0.5, -12.3456789, 0.00123456, 98765.0, 1e-5, 1e9, 1.0].map(number);
        assert_eq!(numbers, ["0", "0.5", "-12.35", "0.001235", "98765", "1.00e-5", "1.00e9", "1"]);
        assert_eq!([0.9999, 0.99999999999].map(number), ["0.9999", "1 − 1.0e-11"]);
    }

    #[test]
    fn a_step_taken_back_is_followed_by_half_of_it_if_by_any() {
        let record: OuterRecord = serde_json::from_str(
            r#"{"iteration": 3, "outer_loss": 2.0, "diverged_at_step": null, "hyperparameters": {}, "hypergradient": {},
                "accepted": false, "seconds": 1, "peak_bytes": 0, "dispatches": 0, "submits": 0, "readbacks": 0,
                "buffers_created": 0}"#,
        )
        .unwrap();
        assert!(line(&record, 20, false).contains("taken back, half the way next"));
        assert!(line(&record, 20, true).contains("taken back") && !line(&record, 20, true).contains("next"));
    }

    #[test]
    fn settings_fit_a_line() {
        let named = |pairs: &[(&str, f64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<Named>();
        let start = [("l2.a", 0.5), ("l2.b", 0.5), ("learning_rate", 0.25), ("momentum", 0.5)];
        assert_eq!(settings(&named(&start)), "learning_rate 0.25  momentum 0.5  l2 0.5");
        assert_eq!(settings(&named(&[("l2.a", 0.5), ("l2.b", 0.75), ("w.min", 0.1)])), "l2 0.5…0.75  w 0.1");
    }
}
