//! `stackelberg experiment`: named studies on real data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::future::ready;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::ValueEnum;
use pollster::block_on;
use stackelberg::bilevel::{Flow, Pace, SolveError};
use stackelberg::data::DataError;
use stackelberg::engine::{EngineError, LocalFuture, several};
use stackelberg::experiment::config::words;
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::library::Library;
use stackelberg::experiment::record::{DeviceRecord, Ending, Named};
use stackelberg::experiment::study::summary::Summary;
use stackelberg::experiment::study::{self, Budget, Labels, Outcome, STUDIES, Study, Trial};
use stackelberg::experiment::trainable::Job;
use stackelberg::experiment::tune::{Event, Observed, Observer};
use stackelberg::rig::Device;

use super::device::{self, MEASURING, duration};
use super::interrupt::Interrupt;
use super::journal::Journal;
use super::progress::number;
use super::shard::Shard;
use super::{CliError, data, shell, table};

/// Run a study on real data: many trainings, one table
///
/// Each trial is saved as it ends, and a trial that is saved is not run again, whatever version or device
/// it was run with: the same command goes on with a study that was interrupted. A trial that fails is left for the
/// next time, and the exit status is 1. `stackelberg report DIR` makes charts and tables of what is there.
///
/// Several processes share a study, each with a part of its trials: `--shard 1/2` and `--shard 2/2`, here or on machines
/// that share the directory. Each writes a file of its own and reads all.
#[derive(clap::Args)]
pub struct Args {
    /// A study by name, `all` of them, or `list` to see which there are and how long they take here
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,

    /// How much machine time to spend
    #[arg(long, value_enum, default_value = "quick")]
    budget: Budget,

    /// Directory to save outcomes in, one file a study and budget
    #[arg(long, value_name = "DIR", default_value = "studies")]
    out: PathBuf,

    /// Do only the I-th of N equal parts of each study, counted from 1, while other processes do the others
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    #[arg(long, value_name = "DEVICE", value_parser = device::choice, default_value = device::AUTO, help = words::DEVICE)]
    device: String,

    #[command(flatten)]
    place: data::Place,
}

impl Args {
    /// The same command again.
    fn again(&self) -> String {
        let Args { name, budget, out, shard, device, place } = self;
        let words = [name, "--budget", &named(*budget), "--out", &shell::path(out), "--device", &shell::word(device)];
        let part = shard.map_or_else(Vec::new, |shard| vec!["--shard".to_owned(), shard.to_string()]);
        let words = ["experiment"].into_iter().chain(words).chain(part.iter().map(String::as_str));
        shell::command(words.chain(["--data", &shell::path(&place.directory)]))
    }
}

fn names() -> clap::builder::PossibleValuesParser {
    ["list", "all"].into_iter().chain(STUDIES.iter().map(|study| study.name)).into()
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let library = Library::new(args.place.directory.clone());
    if args.name == "list" {
        return list(args, &library);
    }
    let stop = Interrupt::listen();
    let studies: Vec<&'static Study> = match &*args.name {
        "all" => STUDIES.iter().collect(),
        name => study::find(name).into_iter().collect(),
    };
    let mut code = ExitCode::SUCCESS;
    for study in studies {
        match Runner::open(args, study).and_then(|runner| runner.finish(&args.device, &library, &stop)) {
            Ok(Ended::Done) => {}
            Ok(Ended::Incomplete) => code = ExitCode::from(super::FAILED),
            Ok(Ended::Stopped) => {
                super::note(format_args!("Stopped; what is finished is saved. Go on with:\n{}", args.again()));
                return Ok(stop.code());
            }
            // The others can do without its data and its file.
            Err(error @ (CliError::Data(_) | CliError::Journal(_))) if args.name == "all" => {
                super::note(format_args!("{} is left out: {error}", study.name));
                code = ExitCode::from(super::FAILED);
            }
            Err(error) => return Err(error),
        }
    }
    super::note(format_args!("For charts: {}", shell::command(["report", &shell::path(&args.out)])));
    Ok(code)
}

/// The budget as the command line has it.
fn named(budget: Budget) -> String {
    budget.to_possible_value().expect("a named budget").get_name().to_owned()
}

/// What every study asks, and then what it costs on this device.
fn list(args: &Args, library: &Library) -> Result<ExitCode, CliError> {
    if args.shard.is_some() {
        return Err(CliError::NoShard);
    }
    let mut text = String::new();
    for Study { name, question, source, data, .. } in &STUDIES {
        let _ = writeln!(text, "{name}\n  {question}\n  From: {source}. Data: {data}.");
    }
    super::print(&text)?;
    super::note("\nTiming training steps for how long each study takes here; Ctrl-C ends it");
    let first = (STUDIES[0].trials)(Budget::Quick).remove(0);
    let first = first.job(library)?;
    let (device, pace) = engine(&args.device, &*first)?;
    let mut paces = BTreeMap::from([(first.problem(), pace)]);
    let width = STUDIES.iter().map(|study| study.name.len()).max().unwrap_or(0);
    // Quick ones are known quickly.
    for &budget in Budget::value_variants() {
        for Study { name, trials, .. } in &STUDIES {
            let trials = trials(budget);
            let time = match seconds(&trials, &device, &mut paces, library) {
                Ok(seconds) => format!("about {}", duration(seconds)),
                Err(TuneError::Data(DataError::NotThere { name, .. })) => {
                    format!("once its data are there: the folder {name} in {}", args.place.directory.display())
                }
                // The others are timed all the same.
                Err(error) => format!("cannot be timed: {error}"),
            };
            let count = trials.len();
            super::print(&format!("{name:<width$}  --budget {:<8} {count:>3} trials, {time}\n", named(budget)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Seconds that trials take; paces not known yet are measured.
fn seconds(
    trials: &[Trial],
    device: &Device,
    paces: &mut BTreeMap<String, Pace>,
    library: &Library,
) -> Result<f64, TuneError> {
    // Those that differ in nothing but their seed take the same time.
    let mut known: BTreeMap<Labels, f64> = BTreeMap::new();
    let mut sum = 0.0;
    for trial in trials {
        let mut labels = trial.labels.clone();
        labels.remove("seed");
        sum += match known.entry(labels) {
            Entry::Occupied(same) => *same.get(),
            Entry::Vacant(other) => {
                let job = trial.job(library)?;
                let pace = match paces.entry(job.problem()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(place) => *place.insert(block_on(job.measure(device, MEASURING))?),
                };
                *other.insert(job.seconds(&pace)?)
            }
        };
    }
    Ok(sum)
}

/// The engine of this choice for jobs like this one.
fn engine(choice: &str, job: &dyn Job) -> Result<(Device, Pace), CliError> {
    device::choose_by(choice, &mut |device| block_on(job.measure(device, MEASURING)))
}

/// A study under way.
struct Runner {
    study: &'static Study,
    /// Those that are to be done here.
    trials: Vec<Trial>,
    journal: Journal,
}

/// How a study's run came out.
enum Ended {
    Done,
    Stopped,
    /// Some trials failed.
    Incomplete,
}

impl Runner {
    fn open(args: &Args, study: &'static Study) -> Result<Self, CliError> {
        let path = args.out.join(format!("{}-{}.jsonl", study.name, named(args.budget)));
        let here = |place: usize| args.shard.is_none_or(|shard| shard.has(place));
        let trials = (study.trials)(args.budget).into_iter().enumerate().filter(|(place, _)| here(*place));
        let trials = trials.map(|(_, trial)| trial).collect();
        let mut runner = Runner { study, trials, journal: Journal::read(path, args.shard, study)? };
        // What is finished is only read, which needs no right to write.
        if !runner.left().is_empty() {
            runner.journal = runner.journal.locked()?;
        }
        Ok(runner)
    }

    /// The trials without an outcome.
    fn left(&self) -> Vec<Trial> {
        let done = |trial: &&Trial| self.journal.outcomes.iter().any(|o| o.labels == trial.labels);
        self.trials.iter().filter(|trial| !done(trial)).cloned().collect()
    }

    /// Runs the trials that are left.
    fn finish(mut self, device: &str, library: &Library, stop: &Interrupt) -> Result<Ended, CliError> {
        let all = self.trials.len();
        let left = self.left();
        super::note(format_args!("{}: {} of {all} trials to do. {}", self.study.name, left.len(), self.study.question));
        let mut failed = 0;
        if let Some(first) = left.first() {
            let first = first.job(library)?;
            let (on, _) = engine(device, &*first)?;
            let mut ready = Some(first);
            let begun = Instant::now();
            for (at, trial) in left.iter().enumerate() {
                let (place, id) = (all - left.len() + at + 1, trial.id());
                if stop.is_raised() {
                    return Ok(Ended::Stopped);
                }
                stop.watch();
                let job = ready.take().map_or_else(|| trial.job(library), Ok);
                let outcome = job.and_then(|job| self.trial(trial, &*job, &on, stop));
                stop.look_away();
                let outcome = match outcome {
                    Ok(Some(outcome)) => outcome,
                    Ok(None) => return Ok(Ended::Stopped),
                    Err(error @ TuneError::Solve(SolveError::Engine(EngineError::DeviceLost { .. }))) => {
                        return Err(error.into());
                    }
                    // The others may be done all the same.
                    Err(error) => {
                        super::note(format_args!("{place:>3}/{all} {id}: FAILED: {error}"));
                        failed += 1;
                        continue;
                    }
                };
                let each = begun.elapsed().as_secs_f64() / (at + 1) as f64;
                let more = match left.len() - at - 1 {
                    0 => String::new(),
                    more => format!(", {} left", duration(each * more as f64)),
                };
                let shown = self.study.charts.iter().filter_map(|&name| Some((name, outcome.metrics.get(name)?)));
                let shown: Vec<String> = shown.map(|(name, value)| format!("{name} {}", number(*value))).collect();
                let shown = if shown.is_empty() { "diverged".to_owned() } else { shown.join(", ") };
                let took = duration(outcome.seconds);
                super::note(format_args!("{place:>3}/{all} {id}: {shown} ({took}{more})"));
                self.journal.append(outcome)?;
            }
        }
        // Other processes may have done their parts meanwhile.
        let outcomes = self.journal.all()?;
        let summary = Summary::of(&outcomes, env!("CARGO_PKG_VERSION"));
        summary.remarks.iter().for_each(|remark| super::note(format_args!("Note: {remark}")));
        super::print(&table::text(self.study, &summary.rows))?;
        if failed == 0 {
            return Ok(Ended::Done);
        }
        super::note(format_args!("{} failed; the same command tries them again", several(failed, "trial")));
        Ok(Ended::Incomplete)
    }

    fn trial(
        &self,
        trial: &Trial,
        job: &dyn Job,
        device: &Device,
        stop: &Interrupt,
    ) -> Result<Option<Outcome>, TuneError> {
        let begun = Instant::now();
        let mut watch = Watch { stop: stop.clone() };
        let mut metrics = match block_on(outcome(job, device, &mut watch)) {
            Ok(Some(metrics)) => metrics,
            Ok(None) => return Ok(None),
            Err(error) if error.is_stop() => return Ok(None),
            Err(error) => return Err(error),
        };
        metrics.retain(|_, value| value.is_finite());
        Ok(Some(Outcome {
            study: self.study.name.to_owned(),
            labels: trial.labels.clone(),
            metrics,
            seconds: begun.elapsed().as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: DeviceRecord::from(&device.info()),
        }))
    }
}

/// What a job comes to on a device; nothing if it was stopped.
async fn outcome(job: &dyn Job, device: &Device, watch: &mut Watch) -> Result<Option<Named>, TuneError> {
    let mut training = job.open(device).await?;
    match training.advance(u64::MAX, watch).await?.ending {
        Ending::Stopped => Ok(None),
        _ => Ok(Some(training.score(watch).await?)),
    }
}

/// Nothing is shown within a trial; a stop is heard.
struct Watch {
    stop: Interrupt,
}

impl Observer for Watch {
    fn event(&mut self, _: Event) -> Observed {
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        let flow = if self.stop.is_raised() { Flow::Stop } else { Flow::Continue };
        Box::pin(ready(flow))
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::JournalError;
    use super::*;
    use serde_json::json;
    use std::fs;

    static STUDY: Study = Study {
        name: "some",
        question: "?",
        source: "",
        data: "",
        trials: |_| {
            // The second has no room, the third diverges.
            let trial = |(seed, budget, rate): (u32, &str, f64)| Trial {
                labels: [("seed".to_owned(), seed.to_string())].into(),
                trainable: "train".to_owned(),
                settings: json!({
                    "data": "subset", "steps": 2, "batch": 4, "validation_windows": 8, "seed": seed,
                    "memory_budget": budget, "learning_rate": rate,
                }),
            };
            [(0, "1GiB", 0.01), (1, "1kB", 0.01), (2, "1GiB", 1e30)].map(trial).into()
        },
        along: "seed",
        apart: &[],
        charts: &["test_loss"],
    };

    #[test]
    fn a_trial_that_fails_does_not_cost_the_others() {
        let root = tempfile::tempdir().unwrap();
        let place = data::Place { directory: root.path().to_owned() };
        let args = Args {
            name: STUDY.name.to_owned(),
            budget: Budget::Quick,
            out: root.path().join("out"),
            shard: None,
            device: device::CPU.to_owned(),
            place,
        };
        let library = Library::new(root.path().to_owned());
        for left in [3, 1] {
            let runner = Runner::open(&args, &STUDY).unwrap();
            assert_eq!(runner.left().len(), left);
            let ended = runner.finish(device::CPU, &library, &Interrupt::default()).unwrap();
            assert!(matches!(ended, Ended::Incomplete));
        }
        // What is not finite has no place in a file, and is not there when it is read.
        let journal = Journal::read(root.path().join("out/some-quick.jsonl"), None, &STUDY).unwrap();
        let done: Vec<(&str, usize)> = journal.outcomes.iter().map(|o| (&*o.labels["seed"], o.metrics.len())).collect();
        assert_eq!(done, [("0", 5), ("2", 0)]);
    }

    #[test]
    fn a_file_that_is_gone_is_not_written_to() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("some-quick.jsonl");
        let mut journal = Journal::read(path.clone(), None, &STUDY).unwrap().locked().unwrap();
        let outcome = Outcome {
            study: STUDY.name.to_owned(),
            labels: [("seed".to_owned(), "0".to_owned())].into(),
            metrics: Named::new(),
            seconds: 0.0,
            version: String::new(),
            device: DeviceRecord::from(&Device::new(stackelberg::reference::ReferenceEngine::new()).info()),
        };
        journal.append(outcome.clone()).unwrap();
        assert!(matches!(Journal::read(path.clone(), None, &STUDY).unwrap().locked(), Err(JournalError::Busy { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(journal.append(outcome), Err(JournalError::Gone { .. })));
    }

    #[test]
    fn half_a_line_at_the_end_is_written_over() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("some-quick.jsonl");
        let line = |seed: &str| {
            format!(
                "{{\"study\":\"some\",\"labels\":{{\"seed\":\"{seed}\"}},\"metrics\":{{}},\"seconds\":0.0,\"version\":\"\",\
                 \"engine\":\"\",\"adapter\":\"\",\"backend\":\"\",\"driver\":\"\",\"software\":true}}"
            )
        };
        for (before, lines) in [
            (format!("{}\n{}", line("0"), &line("1")[..30]), 2),
            (format!("{}\n{{\"stu", line("0")), 2),
            (format!("{}\r\n{}", line("0"), line("1")), 3),
            (format!("\u{feff}{}", line("0")), 2),
            (String::new(), 1),
        ] {
            fs::write(&path, &before).unwrap();
            let mut journal = Journal::read(path.clone(), None, &STUDY).unwrap().locked().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), before, "reading changes nothing");
            let outcome: Outcome = serde_json::from_str(&line("2")).unwrap();
            journal.append(outcome).unwrap();
            let after = Journal::read(path.clone(), None, &STUDY).unwrap();
            let seeds: Vec<&str> = after.outcomes.iter().map(|o| &*o.labels["seed"]).collect();
            assert_eq!((seeds.len(), seeds.last()), (lines, Some(&"2")), "{before}");
        }
    }
}
