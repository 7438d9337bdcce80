//! A report as a table of figures.

use std::fmt::Write as _;

use stackelberg::data::visible;
use stackelberg::experiment::record::{Evaluation, Named, Score};
use stackelberg::experiment::study;

use super::collect::{Report, scores};

/// One line a figure: which table, what it belongs to, its name, mean, deviation, number of seeds.
pub fn text(report: &Report) -> String {
    let mut text = "study,labels,metric,mean,deviation,count\n".to_owned();
    let quoted = |text: &str| format!("\"{}\"", visible(text).replace('"', "\"\""));
    let is_plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    let mut line = |table: &str, labels: &str, metric: &str, mean: f64, deviation: f64, count: usize| {
        let metric = if is_plain(metric) { metric.to_owned() } else { quoted(metric) };
        let _ = writeln!(text, "{},{},{metric},{mean},{deviation},{count}", quoted(table), quoted(labels));
    };
    for study in &report.studies {
        for row in &study.summary.rows {
            let labels = study::id(&row.labels);
            line(&study.name, &labels, "seeds", row.seeds as f64, 0.0, 1);
            line(&study.name, &labels, "diverged_seeds", row.diverged as f64, 0.0, 1);
            for (metric, s) in &row.metrics {
                line(&study.name, &labels, metric, s.mean, s.deviation, s.count);
            }
        }
    }
    for search in &report.searches {
        for (labels, metric, value) in search.figures() {
            line(&search.name, &labels, &metric, value, 0.0, 1);
        }
    }
    for run in &report.runs {
        for record in &run.iterations {
            let labels = format!("iteration={}", record.iteration);
            let losses = [("outer_loss", record.outer_loss), ("residual", record.residual)];
            for (metric, value) in losses {
                value.into_iter().for_each(|value| line(&run.name, &labels, metric, value, 0.0, 1));
            }
            record.hyperparameters.iter().for_each(|(metric, value)| line(&run.name, &labels, metric, *value, 0.0, 1));
            for (name, value) in &record.hypergradient {
                line(&run.name, &labels, &format!("hypergradient.{name}"), *value, 0.0, 1);
            }
        }
        let Some(result) = &run.result else { continue };
        line(&run.name, "", "iterations", result.iterations.into(), 0.0, 1);
        line(&run.name, "", "seconds", result.seconds, 0.0, 1);
        if let Some(loss) = result.best_outer_loss {
            line(&run.name, "", "best_iteration", result.best_iteration.into(), 0.0, 1);
            line(&run.name, "", "best_outer_loss", loss, 0.0, 1);
        }
        for (labels, evaluation) in [("at=start", &result.start), ("at=tuned", &result.end)] {
            for (metric, value) in evaluation.iter().flat_map(figures) {
                line(&run.name, labels, &metric, value, 0.0, 1);
            }
        }
    }
    text
}

/// Losses, accuracies and hyperparameters of a network, by name.
fn figures(evaluation: &Evaluation) -> Named {
    let mut named = evaluation.hyperparameters.clone();
    for (part, Score { loss, accuracy }) in scores(evaluation) {
        named.extend(loss.map(|loss| (format!("{part}_loss"), loss)));
        named.extend(accuracy.map(|accuracy| (format!("{part}_accuracy"), accuracy)));
    }
    named.extend(evaluation.test_classes.as_ref().map(|classes| ("test_macro_f1".to_owned(), classes.macro_f1)));
    named
}
