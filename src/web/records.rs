//! What the page is told of what is recorded of a run.

use serde_bytes::ByteBuf;

use super::protocol::*;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::outer::roughness;
use crate::experiment::names;
use crate::experiment::record::{self, OuterRecord, RunResult, Score, Trivial};

/// Files of a run, by their names.
pub const METRICS: &str = "metrics.jsonl";
pub const RESULT: &str = "result.json";
pub const RANDOM: &str = "random.json";
pub const MODEL: &str = "model.safetensors";

/// The files of a run that `tune --out` writes and that others follow from.
pub fn files(
    result: &RunResult,
    random: Option<&RunResult>,
    records: &[OuterRecord],
    model: Option<&[u8]>,
) -> Vec<RunFile> {
    let file = |name: &str, bytes: Vec<u8>| RunFile { name: name.to_owned(), bytes: ByteBuf::from(bytes) };
    let json = |result: &RunResult| serde_json::to_string_pretty(result).expect("records are plain values") + "\n";
    let line = |record| serde_json::to_string(record).expect("records are plain values") + "\n";
    let mut files = vec![
        file(RESULT, json(result).into_bytes()),
        file(METRICS, records.iter().map(line).collect::<String>().into_bytes()),
    ];
    files.extend(random.map(|random| file(RANDOM, json(random).into_bytes())));
    files.extend(model.map(|model| file(MODEL, model.to_vec())));
    files
}

/// What the page shows of the end of a run.
pub fn done(result: &RunResult, seconds: f64, files: Vec<RunFile>) -> Done {
    let (method, reason) = result.configuration.leader();
    Done {
        ending: match result.ending {
            record::Ending::Running | record::Ending::Finished => Ending::Finished,
            record::Ending::Stopped => Ending::Stopped,
            record::Ending::Diverged => Ending::Diverged,
        },
        best: result.best_iteration,
        spent: result.spent,
        hypergradients: result.hypergradients,
        past_edge: result.past_edge,
        settled: result.settled,
        method,
        reason,
        seconds,
        files,
    }
}

/// What the page shows of all iterations that are recorded.
pub fn iterations<'a>(records: &'a [OuterRecord], tuned: &'a [Kind]) -> impl Iterator<Item = OuterIteration> + use<'a> {
    records.iter().enumerate().map(|(at, record)| outer_iteration(record, &records[..at], tuned))
}

/// The loss that the last hypergradient before an iteration foretells of it, if it were a straight line. Nothing where
/// hyperparameters are too many to be recorded one by one.
fn foretold(record: &OuterRecord, before: &[OuterRecord], tuned: &[Kind]) -> Option<f64> {
    let last = before.iter().rev().find(|last| last.differentiated && !last.hypergradient.is_empty())?;
    let mut loss = last.outer_loss?;
    for (name, slope) in &last.hypergradient {
        let transform = tuned.iter().find(|kind| names::is_of(**kind, name))?.row().transform;
        let [from, to] =
            [last, record].map(|of| of.hyperparameters.get(name).map(|&value| transform.unconstrain(value)));
        loss += slope * (to? - from?);
    }
    loss.is_finite().then_some(loss)
}

/// How near an iteration that took a hypergradient is to the edge of stability, by the derivatives that tell.
fn rough(record: &OuterRecord) -> Option<f64> {
    let telling = [Kind::Lr, Kind::Momentum].map(|kind| record.hypergradient.get(kind.row().record));
    let largest = telling.into_iter().flatten().map(|slope| slope.abs()).reduce(f64::max)?;
    Some(roughness(record.outer_loss?, largest))
}

/// What the page shows of an iteration: the kinds that are tuned, in the order in which people name them.
pub fn outer_iteration(record: &OuterRecord, before: &[OuterRecord], tuned: &[Kind]) -> OuterIteration {
    let belongs = |kind: Kind, name: &str| names::is_of(kind, name);
    let hyperparameters = tuned.iter().flat_map(|&group| {
        let members = record.hyperparameters.iter().filter(move |(name, _)| belongs(group, name));
        members.map(move |(name, &value)| Hyperparameter {
            name: name.clone(),
            group,
            value,
            hypergradient: record.hypergradient.get(name).copied(),
        })
    });
    OuterIteration {
        iteration: record.iteration,
        spent: record.spent,
        loss: record.outer_loss,
        selection: record.selection_loss,
        differentiated: record.differentiated,
        past_edge: record.past_edge,
        roughness: rough(record),
        foretold: foretold(record, before, tuned),
        accepted: record.accepted,
        hyperparameters: hyperparameters.collect(),
        seconds: record.seconds,
    }
}

/// How well the next sample is told, where that was the task.
pub fn forecast(result: &RunResult) -> Option<Forecast> {
    let Trivial { last_sample, training_mean } = result.trivial?;
    let [before, after] = [&result.start, &result.end].map(|of| of.as_ref().and_then(|of| of.test.loss));
    Some(Forecast { before, after, last_sample, training_mean })
}

/// Scores, which a network that diverged has none of, and one that does not classify.
pub fn evaluation(which: Which, of: &record::Evaluation) -> Option<Evaluation> {
    let (Score { loss: Some(loss), accuracy: Some(accuracy) }, Some(classes)) = (of.test, &of.test_classes) else {
        return None;
    };
    Some(Evaluation {
        which,
        loss,
        accuracy,
        macro_f1: classes.macro_f1,
        f1: classes.classes.iter().map(|class| class.f1).collect(),
        precision: classes.classes.iter().map(|class| class.precision).collect(),
        recall: classes.classes.iter().map(|class| class.recall).collect(),
        confusion: classes.confusion.iter().flatten().map(|&windows| windows as u32).collect(),
    })
}
