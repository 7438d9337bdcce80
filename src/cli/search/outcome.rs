//! What a study has come to: the best settings, and what they are worth with seeds that the search has not seen.

use std::path::Path;
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;
use stackelberg::engine::several;
use stackelberg::experiment::record::Named;
use stackelberg::experiment::searching::about::About;
use stackelberg::experiment::searching::subject::Rows;
use stackelberg::experiment::searching::trainings::{changes, retrained};
use stackelberg::experiment::study::summary::Statistic;
use stackelberg::rig::Device;
use stackelberg::search::journal::Journal;
use stackelberg::search::{History, State, Trial};

use super::watch::{Watch, written};
use crate::cli::folder::Folder;
use crate::cli::progress::{number, statistic};
use crate::cli::{CliError, FAILED, note, print};

/// What is told of a training, in this order.
const TOLD: [&str; 4] = ["outer_loss", "validation_accuracy", "test_accuracy", "test_loss"];

/// A training of the best settings.
#[derive(Serialize)]
struct Retrained {
    seed: u32,
    /// Nothing where it diverged.
    metrics: Option<Named>,
}

/// `result.json`.
#[derive(Serialize)]
struct Outcome<'a> {
    study: &'a About,
    trials: usize,
    best: &'a Trial,
    /// The first with the seed of the search.
    trainings: &'a [Retrained],
}

/// The trial that did best: of those that came to their end, or where none has, of those that came furthest.
fn best(history: &History) -> Option<&Trial> {
    let usable = |trial: &&Trial| trial.state != State::Failed && trial.score().is_finite();
    let furthest = history.trials().iter().filter(usable).map(Trial::step).max()?;
    let there = history.trials().iter().filter(usable).filter(|trial| trial.step() == furthest);
    let open = there.min_by(|a, b| a.score().total_cmp(&b.score()));
    history.best().filter(|best| best.score().is_finite()).or(open)
}

/// Trains the best settings again, and tells of it.
pub fn conclude(
    about: &About,
    study: &Journal,
    rows: &Rows,
    device: &Device,
    watch: &Watch,
    fresh: u32,
    out: Option<&Path>,
) -> Result<ExitCode, CliError> {
    let Some(best) = best(&study.history) else {
        note("No trial has come to a value: all diverged or broke. Search elsewhere");
        return Ok(ExitCode::from(FAILED));
    };
    let end = if best.state == State::Complete { "" } else { ", which has not come to its end" };
    let (trial, loss) = (best.number, number(best.score()));
    print(&format!("\nBest: trial {trial}{end}, outer loss {loss}\n  {}\n", written(&rows.named(&best.point))))?;
    let changes = changes(&study.history, trial);
    if changes > 0 {
        let changes = several(changes as u64, "change");
        print(&format!("  It came there through {changes} midway; what it went through is repeated.\n"))?;
    }
    let mut trainings: Vec<Retrained> = vec![];
    let mut watch = watch.without_deadline();
    for seed in (about.seed..=u32::MAX).take(if fresh == 0 { 0 } else { fresh as usize + 1 }) {
        let subject = rows.seeded(seed);
        let metrics = block_on(retrained(&subject, device, &study.history, trial, &mut watch));
        if watch.is_stopped() {
            note("Stopped before the best was trained again; the same command does it");
            return Ok(watch.code());
        }
        trainings.push(Retrained { seed, metrics: metrics? });
    }
    if let [own, others @ ..] = &trainings[..] {
        print(&table(own, others))?;
    }
    if let Some(out) = out {
        let config = rows.config(&best.point)?;
        let outcome = Outcome { study: about, trials: study.history.trials().len(), best, trainings: &trainings };
        let json = serde_json::to_string_pretty(&outcome).expect("plain values") + "\n";
        let files = [("best.toml", config.to_toml()), ("result.json", json)];
        Folder::open(out).write(&files.map(|(name, text)| (name.to_owned(), text.into_bytes())))?;
        print(&format!("\n{}\n", out.join("best.toml").display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the search found beside what it is worth.
fn table(own: &Retrained, others: &[Retrained]) -> String {
    let first = others.first().map_or(own.seed, |training| training.seed);
    let seeds = match others {
        [_] => format!("fresh seed {first}"),
        _ => format!("fresh seeds {first} to {}", first + others.len().saturating_sub(1) as u32),
    };
    let mut text = format!("\n{:<22}{:>20}  {seeds}\n", "", format!("seed of the search {}", own.seed));
    for name in TOLD {
        let values: Vec<f64> =
            others.iter().filter_map(|training| training.metrics.as_ref()?.get(name).copied()).collect();
        let (own, fresh) = (own.metrics.as_ref().and_then(|metrics| metrics.get(name)), Statistic::of(&values));
        if own.is_none() && values.is_empty() {
            continue;
        }
        let own = own.map_or("diverged".to_owned(), |value| number(*value));
        let fresh = if values.is_empty() { "diverged".to_owned() } else { statistic(&fresh) };
        text += &format!("{:<22}{own:>20}  {fresh}\n", name.replace('_', " "));
    }
    let diverged = others.iter().filter(|training| training.metrics.is_none()).count();
    if diverged > 0 {
        text += &format!("{diverged} of the trainings with fresh seeds diverged.\n");
    }
    text
}
