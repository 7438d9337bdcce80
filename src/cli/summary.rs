//! What a finished run prints.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::engine::several;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::record::{Classification, Ending, Evaluation, RunResult, Score, Trivial};

use super::progress::{duration, number};
use super::shell;

/// The outcome for people.
pub fn text(result: &RunResult, directory: Option<&Path>) -> String {
    let mut text = format!("\n{}\n", headline(result));
    // Of a network that diverged at once there is nothing to compare.
    if let (Some(start), Some(end), Some(_)) = (&result.start, &result.end, result.best_outer_loss) {
        comparison(&mut text, start, end);
        if let Some(classes) = &end.test_classes {
            confusion(&mut text, classes);
        }
        if let Some(Trivial { last_sample, training_mean }) = result.trivial {
            let (last, mean) = (number(last_sample), number(training_mean));
            let _ = writeln!(
                text,
                "\nTest loss of predicting the last sample again: {last}; of predicting the training mean: {mean}"
            );
        }
    }
    if result.data.subset {
        text.push_str("\nThese figures are of a subset (12 of 30 people) and not comparable with published ones.\n");
    }
    match directory {
        Some(directory) => {
            let _ = writeln!(text, "\nSaved in {}.", directory.display());
            if result.ending == Ending::Stopped {
                let _ = writeln!(text, "Go on with: {}", shell::resume(directory));
            }
        }
        None => text.push_str("\nNothing was saved; with --out DIR the settings, metrics, result and model are.\n"),
    }
    text
}

fn headline(result: &RunResult) -> String {
    let iterations = several(u64::from(result.iterations), "outer iteration");
    let time = duration(Duration::from_secs_f64(result.seconds));
    let ended = match result.ending {
        Ending::Finished if result.settled => {
            let without = several(u64::from(result.configuration.patience), "training");
            format!("Ended after {iterations}, {time}: the last {without} lowered the outer loss by less than 1 %")
        }
        Ending::Finished | Ending::Running => format!("Tuned in {iterations}, {time}"),
        Ending::Stopped if result.iterations == 0 => "Stopped in the first outer iteration".to_owned(),
        Ending::Stopped => format!("Stopped after {iterations}, {time}"),
        Ending::Diverged if result.best_iteration > 0 => {
            format!("Gave up after {iterations}, {time}: the last trainings all diverged")
        }
        Ending::Diverged => format!("Gave up after {iterations}, {time}"),
    };
    match result.best_outer_loss {
        Some(loss) => {
            format!("{ended}. The best was iteration {} with outer loss {}.", result.best_iteration, number(loss))
        }
        None if result.iterations == 0 => format!("{ended}."),
        None => format!(
            "{ended}. Training diverged from the start values on, so nothing was learnt.\n\
             Start from a smaller --{}.",
            cause(&result.configuration)
        ),
    }
}

/// The setting that makes training diverge at once. A penalty alone has the curvature l2, and training with momentum μ
/// overshoots where learning rate · l2 is above a bound.
pub fn cause(config: &TuneConfig) -> &'static str {
    let scalars = [Kind::Momentum, Kind::Betas].into_iter().filter(|kind| kind.is_of(&*config.optimizer));
    let scalars: Vec<f64> = scalars
        .flat_map(|kind| config.setting(kind.row().settings().next().expect("optimisers' scalars have a setting")))
        .collect();
    let bound = config.optimizer.stable(&scalars);
    if config.setting("learning_rate")[0].min(1.0) * config.l2 > bound { "l2" } else { "learning-rate" }
}

fn comparison(text: &mut String, start: &Evaluation, end: &Evaluation) {
    let _ = writeln!(text, "\n{:<24}{:>12}{:>12}", "", "start", "tuned");
    let mut row = |name: &str, a: String, b: String| {
        let _ = writeln!(text, "  {name:<22}{a:>12}{b:>12}");
    };
    for (name, &value) in &start.hyperparameters {
        row(name, number(value), end.hyperparameters.get(name).map_or_else(String::new, |&v| number(v)));
    }
    let sets = [
        ("training", start.train, end.train),
        ("validation", start.validation, end.validation),
        ("test", start.test, end.test),
    ];
    for (name, before, after) in sets {
        let loss = |score: Score| score.loss.map_or_else(|| "diverged".to_owned(), number);
        row(&format!("{name} loss"), loss(before), loss(after));
        if let (Some(before), Some(after)) = (before.accuracy, after.accuracy) {
            row(&format!("{name} accuracy"), percent(before), percent(after));
        }
    }
    if let (Some(before), Some(after)) = (&start.test_classes, &end.test_classes) {
        row("test macro F1", percent(before.macro_f1), percent(after.macro_f1));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn confusion(text: &mut String, classes: &Classification) {
    let _ = write!(
        text,
        "\nTest windows of the tuned network: rows are what they are, columns what they were taken for\n{:26}",
        ""
    );
    for k in 0..classes.classes.len() {
        let _ = write!(text, "{:>6}", format!("({})", k + 1));
    }
    let _ = writeln!(text, "{:>9}", "F1");
    for (k, (row, class)) in classes.confusion.iter().zip(&classes.classes).enumerate() {
        let _ = write!(text, "  {:<24}", format!("({}) {}", k + 1, class.name));
        for count in row {
            let _ = write!(text, "{count:>6}");
        }
        let _ = writeln!(text, "{:>9}", percent(class.f1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stackelberg::nn::optim::{Adam, Dynamics, Epsilon, HeavyBall, Momentum, Nesterov, Sgd};

    /// Without momentum a penalty overshoots from learning rate · l2 = 2 on, whatever the momentum of other optimizers.
    #[test]
    fn what_diverges_at_once_is_named() {
        let config =
            |optimizer: Dynamics, l2| TuneConfig { optimizer, l2, learning_rate: Some(1.0), ..TuneConfig::default() };
        for (optimizer, l2, named) in [
            (Sgd.into(), 1.9, "learning-rate"),
            (Sgd.into(), 2.1, "l2"),
            (Momentum.into(), 2.9, "learning-rate"),
            (HeavyBall.into(), 3.5, "l2"),
            (Nesterov.into(), 1.4, "learning-rate"),
            (Nesterov.into(), 1.6, "l2"),
            (Adam(Epsilon::Inside).into(), 1e9, "learning-rate"),
        ] {
            assert_eq!(cause(&config(Dynamics::clone(&optimizer), l2)), named, "{optimizer:?} {l2}");
        }
    }
}
