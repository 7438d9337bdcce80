//! What a run shows while it goes: a bar where there is a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stackelberg::experiment::config::{Budget, TuneConfig};
use stackelberg::experiment::record::{Named, OuterRecord};
use stackelberg::experiment::study::summary::Statistic;

/// The run's face on standard error.
pub struct Progress {
    bar: ProgressBar,
    config: TuneConfig,
    begun: Instant,
    /// The share of the run that was done before.
    skipped: f64,
    /// Outer loss of the newest iteration.
    latest: String,
}

/// What the bar counts in.
const PARTS: f64 = 10_000.0;

impl Progress {
    /// For a run of which this share is behind it.
    pub fn new(config: &TuneConfig, skipped: f64) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %  {msg}");
        bar.set_style(style.expect("a valid template").progress_chars("=> "));
        Progress { bar, config: config.clone(), begun: Instant::now(), skipped, latest: String::new() }
    }

    /// This share of the run, whose iterations are counted from 1, is finished.
    pub fn advance(&self, iteration: u32, share: f64) {
        self.bar.set_length(PARTS as u64);
        self.bar.set_prefix(format!("outer iteration {iteration}"));
        self.bar.set_message(format!("{}  {}", self.left(share), self.latest));
        self.bar.set_position((PARTS * share) as u64);
    }

    /// `done` of `total` steps of a training alone are finished.
    pub fn training(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_prefix("training");
        self.bar.set_message(self.left(done as f64 / total.max(1) as f64));
        self.bar.set_position(done);
    }

    /// A line about a finished iteration, after which this share of the run is, and how it ends if it does.
    pub fn outer(&mut self, record: &OuterRecord, share: f64, ends: bool) {
        self.latest = record.outer_loss.map_or_else(String::new, |loss| format!("outer loss {}", number(loss)));
        let left = if ends { String::new() } else { format!(", {}", self.left(share)) };
        self.say(&format!("{} ({:.1} s{left})", line(record, &self.config), record.seconds));
    }

    /// Shows a line above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| super::note(line));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Time left if what was done of this share since the beginning is like the rest.
    fn left(&self, share: f64) -> String {
        let (behind, ahead) = ((share - self.skipped).max(1e-9), (1.0 - share).max(0.0));
        format!("{} left", duration(self.begun.elapsed().mul_f64((ahead / behind).min(1e6))))
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

/// What an iteration has come to: its number, what the run has cost so far, `∇` where a hypergradient was taken, outer loss
/// and hyperparameters.
fn line(record: &OuterRecord, config: &TuneConfig) -> String {
    let loss = match (record.outer_loss, record.diverged_at_step) {
        (Some(loss), _) => format!("outer loss {}", number(loss)),
        (None, Some(step)) => format!("training diverged at step {}", step + 1),
        (None, None) => "the outer loss is not finite".to_owned(),
    };
    // A try that is no better is the usual case.
    let verdict = match record.outer_loss {
        Some(_) if record.past_edge => "; past the edge of stability",
        Some(_) if record.differentiated && !record.accepted => "; taken back",
        _ => "",
    };
    // What is not solved gives no derivative worth following.
    let residual = record.residual.map_or_else(String::new, |residual| {
        let warning = if residual > 0.1 { ", too rough: more iterations or steps" } else { "" };
        format!("  residual {}{warning}", number(residual))
    });
    let slope = record.inner_gradient.map_or_else(String::new, |g| format!("  inner gradient {}", number(g)));
    let of = match config.budget {
        Budget::Seconds(_) | Budget::UNLIMITED => format!("{:>5.1}", record.spent),
        Budget::Trainings(all) => format!("{:>5.1}/{all}", record.spent),
    };
    let hypergradient = if record.differentiated { "∇" } else { " " };
    format!(
        "{:>3}  {of} {hypergradient} {loss}{verdict}{residual}{slope}  {}",
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
    fn a_line_says_what_was_done_and_what_it_cost() {
        let record: OuterRecord = serde_json::from_str(
            r#"{"iteration": 3, "spent": 5.6, "outer_loss": 2.0, "diverged_at_step": null, "hyperparameters": {},
                "hypergradient": {}, "differentiated": false, "accepted": false, "seconds": 1, "peak_bytes": 0,
                "dispatches": 0, "submits": 0, "readbacks": 0, "buffers_created": 0}"#,
        )
        .unwrap();
        let line = |record: OuterRecord| line(&record, &TuneConfig::default()).trim_end().to_owned();
        assert_eq!(line(record.clone()), "  3    5.6/72   outer loss 2");
        let hypergradient = OuterRecord { differentiated: true, ..record };
        assert_eq!(line(hypergradient.clone()), "  3    5.6/72 ∇ outer loss 2; taken back");
        let noise = OuterRecord { past_edge: true, ..hypergradient };
        assert_eq!(line(noise.clone()), "  3    5.6/72 ∇ outer loss 2; past the edge of stability");
        let diverged = OuterRecord { outer_loss: None, diverged_at_step: Some(4), ..noise };
        assert_eq!(line(diverged), "  3    5.6/72 ∇ training diverged at step 5");
    }

    #[test]
    fn settings_fit_a_line() {
        let named = |pairs: &[(&str, f64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<Named>();
        let start = [("l2.a", 0.5), ("l2.b", 0.5), ("learning_rate", 0.25), ("momentum", 0.5)];
        assert_eq!(settings(&named(&start)), "learning_rate 0.25  momentum 0.5  l2 0.5");
        assert_eq!(settings(&named(&[("l2.a", 0.5), ("l2.b", 0.75), ("w.min", 0.1)])), "l2 0.5…0.75  w 0.1");
    }
}
