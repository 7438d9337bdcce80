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

/// The outcome for people, beside that of random search where this was run, too.
pub fn text(result: &RunResult, random: Option<&RunResult>, directory: Option<&Path>) -> String {
    let mut text = String::from("\n");
    if let Some(verdict) = verdict(result, random) {
        let _ = writeln!(text, "{verdict}");
    }
    let _ = writeln!(text, "{}", headline(result));
    // Of a network that diverged at once there is nothing to compare.
    if let (Some(start), Some(end), Some(_)) = (&result.start, &result.end, result.best_outer_loss) {
        comparison(&mut text, start, end, random.and_then(|random| random.end.as_ref()));
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

/// The score on people whom the network never saw, and that of a random division of the same windows, with what it is worth.
pub fn beside_random_split(honest: &RunResult, shuffled: &RunResult) -> String {
    let score = |result: &RunResult| {
        let end = result.end.as_ref()?;
        let f1 = end.test_classes.as_ref().map_or(String::new(), |c| format!(" (macro F1 {})", percent(c.macro_f1)));
        Some(format!("{}{f1}", percent(end.test.accuracy?)))
    };
    let [honest, shuffled] = [honest, shuffled].map(|result| score(result).unwrap_or("no score".to_owned()));
    format!(
        "\nTest accuracy where people (or blocks of time) are kept apart: {honest}; on a random division of the same windows: {shuffled}.\n\
         Expect the first. In the second, windows of one person, and those that overlap, are on both sides: it says nothing \
         of new recordings.\n"
    )
}

/// What tuning has brought on people whom nothing was chosen on, and what did better, if anything did.
fn verdict(result: &RunResult, random: Option<&RunResult>) -> Option<String> {
    let (start, end, outer_loss) = (result.start.as_ref()?, result.end.as_ref()?, result.best_outer_loss?);
    let what = if end.test.accuracy.is_some() { "accuracy" } else { "loss" };
    // The larger, the better.
    let on_test = |score: Score| match score.accuracy {
        Some(accuracy) => Some((accuracy, percent(accuracy))),
        None => score.loss.map(|loss| (-loss, number(loss))),
    };
    let ((before, first), (after, tuned)) = (on_test(start.test)?, on_test(end.test)?);
    let found = random.and_then(|random| Some((random.best_outer_loss?, on_test(random.end.as_ref()?.test)?.1)));
    if let Some((other, on_test)) = found.filter(|(other, _)| *other < outer_loss) {
        let [other, own] = [other, outer_loss].map(number);
        return Some(format!(
            "Random search did better at equal cost: outer loss {other} where tuning has {own} (test {what} {on_test} and {tuned})."
        ));
    }
    Some(match (result.best_iteration, after > before) {
        (1, _) => format!("Nothing better than the start values was found: test {what} {tuned}."),
        (_, true) => format!("Tuning pays: test {what} {first} with the start values, {tuned} tuned."),
        (_, false) => {
            format!("Tuning did not pay on the test people: test {what} {first} with the start values, {tuned} tuned.")
        }
    })
}

fn headline(result: &RunResult) -> String {
    let iterations = several(u64::from(result.iterations), "outer iteration");
    let time = duration(Duration::from_secs_f64(result.seconds));
    let ended = match result.ending {
        Ending::Finished if result.settled => {
            let without = several(u64::from(result.configuration.patience), "training");
            let loss = if result.selection_loss.is_some() { "loss of those who choose" } else { "outer loss" };
            format!("Ended after {iterations}, {time}: the last {without} lowered the {loss} by less than 1 %")
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
            let (best, chosen) = (result.best_iteration, result.selection_loss.map(|loss| (loss, number(loss))));
            let chosen = match chosen {
                None => ".".to_owned(),
                // Twice the loss is no chance.
                Some((selection, text)) if selection > 2.0 * loss => format!(
                    " and {text} on the people kept from it, who chose the iteration: the hyperparameters fit the \
                     people they were tuned on more than others."
                ),
                Some((_, text)) => format!(" and {text} on the people kept from it, who chose the iteration."),
            };
            format!("{ended}. {}\nThe best was iteration {best} with outer loss {}{chosen}", cost(result), number(loss))
        }
        None if result.iterations == 0 => format!("{ended}."),
        None => format!(
            "{ended}. Training diverged from the start values on, so nothing was learnt.\n\
             Start from a smaller --{}.",
            cause(&result.configuration)
        ),
    }
}

/// What was spent.
fn cost(result: &RunResult) -> String {
    let RunResult { spent, hypergradients, past_edge, .. } = result;
    let taken = several(u64::from(*hypergradients), "hypergradient");
    let noise = if *past_edge > 0 { format!(", {past_edge} past the edge of stability") } else { String::new() };
    format!("Cost: {spent:.0} trainings' worth, {taken} among them{noise}.")
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

fn comparison(text: &mut String, start: &Evaluation, end: &Evaluation, random: Option<&Evaluation>) {
    let columns: Vec<(&str, &Evaluation)> =
        [("start", start), ("tuned", end)].into_iter().chain(random.map(|random| ("random", random))).collect();
    let heads = columns.iter().map(|(head, _)| format!("{head:>12}")).collect::<String>();
    let _ = writeln!(text, "\n{:<24}{heads}", "");
    let mut row = |name: &str, of: &dyn Fn(&Evaluation) -> Option<String>| {
        let cells: Vec<Option<String>> = columns.iter().map(|(_, evaluation)| of(evaluation)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(Option::unwrap_or_default).map(|cell| format!("{cell:>12}"));
            let _ = writeln!(text, "  {name:<22}{}", cells.collect::<String>());
        }
    };
    for name in start.hyperparameters.keys() {
        row(name, &|evaluation| evaluation.hyperparameters.get(name).map(|&value| number(value)));
    }
    type Of = fn(&Evaluation) -> Score;
    let [training, validation, test]: [Of; 3] = [|one| one.train, |one| one.validation, |one| one.test];
    for (name, score) in [("training", training), ("validation", validation), ("test", test)] {
        row(&format!("{name} loss"), &|one| Some(score(one).loss.map_or_else(|| "diverged".to_owned(), number)));
        row(&format!("{name} accuracy"), &|one| score(one).accuracy.map(percent));
    }
    row("test macro F1", &|one| one.test_classes.as_ref().map(|classes| percent(classes.macro_f1)));
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

    #[test]
    fn the_first_line_says_what_tuning_has_brought_and_what_did_better() {
        let score = |accuracy| Score { loss: Some(1.0 - accuracy), accuracy: Some(accuracy) };
        let evaluation = |accuracy| Evaluation {
            hyperparameters: [("momentum".to_owned(), accuracy)].into(),
            train: score(0.99),
            validation: score(0.98),
            test: score(accuracy),
            test_classes: None,
        };
        let result = |best_iteration, outer_loss, after| RunResult {
            best_iteration,
            best_outer_loss: Some(outer_loss),
            start: Some(evaluation(0.8)),
            end: Some(evaluation(after)),
            ..stopped_at_once()
        };
        let first = |result: &RunResult, random: Option<&RunResult>| {
            text(result, random, None).lines().find(|line| !line.is_empty()).unwrap().to_owned()
        };
        let tuned = result(3, 0.3, 0.85);
        assert_eq!(first(&tuned, None), "Tuning pays: test accuracy 80.0 % with the start values, 85.0 % tuned.");
        assert!(
            first(&result(3, 0.3, 0.8), None)
                .starts_with("Tuning did not pay on the test people: test accuracy 80.0 %")
        );
        assert!(first(&result(1, 0.3, 0.8), None).starts_with("Nothing better than the start values was found"));
        let worse = result(2, 0.4, 0.9);
        assert_eq!(first(&tuned, Some(&worse)), first(&tuned, None));
        assert!(text(&tuned, Some(&worse), None).contains("start       tuned      random"));
        assert_eq!(
            first(&tuned, Some(&result(2, 0.2, 0.9))),
            "Random search did better at equal cost: outer loss 0.2 where tuning has 0.3 (test accuracy 90.0 % and 85.0 %)."
        );
        let overfitted = RunResult { selection_loss: Some(0.7), ..tuned.clone() };
        assert!(text(&overfitted, None, None).contains("fit the people they were tuned on more than others"));
        let sound = RunResult { selection_loss: Some(0.5), ..tuned };
        assert!(
            text(&sound, None, None).contains("0.5 on the people kept from it")
                && !text(&sound, None, None).contains("more than others")
        );
    }

    /// A run with nothing in it.
    fn stopped_at_once() -> RunResult {
        serde_json::from_value(serde_json::json!({
            "version": "0", "configuration": TuneConfig::default().to_json(), "seed": 0, "engine": "cpu", "adapter": "",
            "backend": "", "driver": "", "software": true, "ending": "finished", "iterations": 3, "best_iteration": 0,
            "seconds": 1.0, "peak_bytes": 0, "dispatches": 0,
            "data": {
                "name": "", "fingerprint": "", "subset": false, "training_windows": 1, "validation_windows": 1,
                "test_windows": 1, "outer_windows": 1,
            },
        }))
        .unwrap()
    }

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
