//! `stackelberg predict`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;
use serde_json::json;
use stackelberg::bilevel::SolveError;
use stackelberg::data::har::uci_har;
use stackelberg::data::recordings::{Columns, Files, Mapping, Place, Report, Unlabelled, read_unlabelled};
use stackelberg::data::{Dataset, Standardizer, visible};
use stackelberg::experiment::classifier::Classifier;
use stackelberg::experiment::config::{DataSource, words};
use stackelberg::experiment::library;
use stackelberg::experiment::record::Classification;

use super::run_dir::{MODEL, RunDir, SETTINGS};
use super::{CliError, device, files, print, settings};

/// Tell of new recordings what was done in them, by the network of a run
///
/// They are read like those that the run was trained on: the same columns, resampled to the same rate, cut into windows of the
/// same length, scaled by the same numbers. Where labels stand in them the accuracy is told, too.
///
/// For example:  stackelberg predict runs/first tomorrow.csv --out told.csv
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Directory of a run, as `tune --out` made it
    run: PathBuf,

    /// A table, a folder or a zip of them; or `builtin`, `subset`, a copy of UCI HAR
    data: String,

    #[arg(long, value_name = "LIST", value_parser = Columns::of_line, help = words::COLUMNS)]
    columns: Option<Columns>,

    #[arg(long, value_name = "X", help = words::OVERLAP)]
    overlap: Option<f64>,

    /// Where to compute, as in `tune`
    #[arg(long, default_value = "cpu", value_parser = device::choice)]
    device: String,

    /// Write JSON instead of CSV
    #[arg(long)]
    json: bool,

    /// Write into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Windows that are to be told of.
struct Asked {
    x: Vec<f32>,
    places: Vec<Place>,
    notes: Vec<String>,
}

/// What is told of a window.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    place: Place,
    class: String,
    probabilities: Vec<f32>,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let directory = RunDir::look(&args.run)?;
    let missing = || directory.damaged(MODEL, "it is missing; the run has to end first");
    let bytes = directory.read(MODEL)?.ok_or_else(missing)?;
    let classifier = Classifier::open(&bytes).map_err(|problem| directory.damaged(MODEL, problem))?;
    let asked = asked(args, &directory, &classifier)?;
    for note in asked.notes.iter().chain(&unlike(&asked.x, &classifier)) {
        super::note(format_args!("Note: {}", visible(note)));
    }
    let on = device::open(&args.device)?;
    let probabilities =
        block_on(classifier.classify(&on, asked.x)).map_err(|error| CliError::Tune(SolveError::from(error).into()))?;
    let best = |row: &[f32]| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        classifier.classes()[best.map_or(0, |(class, _)| class)].clone()
    };
    let told: Vec<Told> = asked
        .places
        .into_iter()
        .zip(probabilities)
        .map(|(place, probabilities)| Told { place, class: best(&probabilities), probabilities })
        .collect();
    if let Some(score) = score(&told, classifier.classes()) {
        super::note(format_args!("{score}"));
    }
    let text = if args.json {
        let all = json!({ "classes": classifier.classes(), "windows": told });
        serde_json::to_string_pretty(&all).expect("plain values") + "\n"
    } else {
        table(&told, classifier.classes())
    };
    match &args.out {
        None => print(&text)?,
        Some(path) => {
            let failed = |source| CliError::Write { path: path.clone(), source };
            files::replace(path, text.as_bytes()).map_err(failed)?;
            super::note(format_args!("{} windows told of in {}", told.len(), path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The windows, cut as those of the run were.
fn asked(args: &Args, directory: &RunDir, classifier: &Classifier) -> Result<Asked, CliError> {
    let path = directory.file(SETTINGS);
    let text = directory.read(SETTINGS)?.unwrap_or_default();
    let text = String::from_utf8(text).map_err(|_| directory.damaged(SETTINGS, "it is not UTF-8 text"))?;
    let config = settings::parse(&path, text)?;
    let source = DataSource::from(args.data.clone());
    let given = args.columns.clone().unwrap_or_default();
    let own = given != Columns::default() || args.overlap.is_some() || config.columns.is_some();
    let published = match &source {
        DataSource::Path(_) if own => None,
        DataSource::Path(path) => uci_har::from_path(Path::new(path)).ok(),
        source => Some(library::windows(source, &Mapping::default())?.0),
    };
    if let Some(data) = published {
        return of_dataset(args, &data, classifier);
    }
    let wanted = classifier.rate_hz();
    let named = given.channels.is_some();
    let said = config.columns.clone().unwrap_or_default().overruled(given);
    let channels = if named { said.channels.clone() } else { Some(classifier.channels().to_vec()) };
    let mapping = Mapping {
        rate: wanted,
        window: Some(classifier.input()[0] as u32),
        overlap: args.overlap.or(config.overlap),
        columns: Columns { channels, ..said },
    };
    let files = || Files::of_path(Path::new(&args.data));
    let (windows, mut report) = match read_unlabelled(&mut files()?, &mapping) {
        Ok(read) => read,
        // Channels of rows that are windows, and of files by sensor, have no columns of their names.
        Err(error) => {
            let columns = Columns { channels: None, ..mapping.columns };
            let guessed = read_unlabelled(&mut files()?, &Mapping { columns, ..mapping }).ok().filter(|_| !named);
            guessed.filter(|(windows, _)| names(windows) == classifier.channels()).ok_or(error)?
        }
    };
    if report.measured_hz.is_none() && report.mapping.columns.row_signals.is_none() {
        let rate = wanted.map_or(String::new(), |rate| format!(", {rate} samples a second,"));
        report.notes.push(format!("Nothing says how fast it was sampled: the run's rate{rate} is assumed"));
    }
    let names = names(&windows);
    let fits = if named { names.len() == classifier.channels().len() } else { names == classifier.channels() };
    if !fits || windows.length != classifier.input()[0] {
        let problem = format!(
            "it has windows of {} samples of {names:?}, and the network was trained on {} samples of {:?}",
            windows.length,
            classifier.input()[0],
            classifier.channels()
        );
        let mend = "name the columns that are these channels, in their order: --columns \"channels=…\"";
        return Err(CliError::NoFit { path: args.data.clone().into(), problem, mend });
    }
    check_rate(args, &report, wanted)?;
    Ok(Asked { x: windows.x, places: windows.places, notes: report.notes })
}

fn names(windows: &Unlabelled) -> Vec<&str> {
    windows.channels.iter().map(|channel| &*channel.name).collect()
}

/// Samples that were taken much more slowly than the network has seen them cannot be put between.
fn check_rate(args: &Args, report: &Report, wanted: Option<f64>) -> Result<(), CliError> {
    const SLOWEST: f64 = 0.8;
    let (Some(measured), Some(wanted)) = (report.measured_hz, wanted) else { return Ok(()) };
    if measured < SLOWEST * wanted {
        let problem = format!(
            "it was recorded at {measured} samples a second, and the network was trained on {wanted}: what is faster than \
             half of the first is not in it"
        );
        let mend = "record faster, or train a network at the lower rate (`tune --rate`)";
        return Err(CliError::NoFit { path: args.data.clone().into(), problem, mend });
    }
    Ok(())
}

/// Windows that were cut already.
fn of_dataset(args: &Args, data: &Dataset, classifier: &Classifier) -> Result<Asked, CliError> {
    let about = data.about();
    let names: Vec<&str> = about.channels.iter().map(|channel| &*channel.name).collect();
    if about.shape != classifier.input() || names != classifier.channels() {
        let problem = format!(
            "its windows have the shape {:?} and the channels {names:?}, and the network was trained on {:?} of {:?}",
            about.shape,
            classifier.input(),
            classifier.channels()
        );
        let mend = "give recordings with the channels that the network was trained on";
        return Err(CliError::NoFit { path: args.data.clone().into(), problem, mend });
    }
    let recording = about.recording;
    let place = |window: usize| Place {
        file: args.data.clone(),
        person: data.people().get(window).map(u32::to_string),
        seconds: recording.map_or(0.0, |cut| (window * cut.hop) as f64 / f64::from(cut.rate_hz)),
        label: data.labels().get(window).map(|&label| about.outputs[label as usize].clone()),
    };
    Ok(Asked { x: data.values().into_owned(), places: (0..data.len()).map(place).collect(), notes: vec![] })
}

/// What of the new windows is unlike those of the training, a sentence for each channel.
fn unlike(x: &[f32], classifier: &Classifier) -> Vec<String> {
    /// A spread so many times as large, or a mean so many deviations away, is another unit or another place.
    const FAR: f64 = 4.0;
    /// m/s² in a g.
    const GRAVITY: f64 = 9.80665;
    let names = classifier.channels();
    let Standardizer { mean, std } = classifier.scale();
    let count = (x.len() / names.len().max(1)) as f64;
    let mut sentences = vec![];
    for (c, name) in names.iter().enumerate() {
        let values = || x.iter().skip(c).step_by(names.len()).map(|&value| f64::from(value));
        let own_mean = values().sum::<f64>() / count;
        let own_std = (values().map(|value| (value - own_mean).powi(2)).sum::<f64>() / count).sqrt();
        let (usual, spread) = (f64::from(mean[c]), f64::from(std[c]));
        let (ratio, off) = (own_std / spread, (own_mean - usual).abs() / spread);
        if ratio > FAR || off > FAR {
            let unit = [(GRAVITY, "m/s² for g"), (1.0 / GRAVITY, "g for m/s²"), (57.29578, "degrees for radians")];
            let scaled = |by: f64| (0.5..2.0).contains(&(own_std / spread / by));
            let cause =
                unit.iter().find(|&&(by, _)| scaled(by)).map_or(String::new(), |(_, unit)| format!(": {unit}?"));
            sentences.push(format!(
                "`{name}` has the mean {own_mean:.3} and the deviation {own_std:.3} here, and {usual:.3} and {spread:.3} in \
                 the training{cause}"
            ));
        }
    }
    sentences
}

/// How many are right of those whose label is known and is one of the classes.
fn score(told: &[Told], classes: &[String]) -> Option<String> {
    let class = |name: &str| classes.iter().position(|class| class == name);
    let mut confusion = vec![vec![0; classes.len()]; classes.len()];
    let known = told.iter().filter_map(|told| Some((class(told.place.label.as_deref()?)?, class(&told.class)?)));
    let known: Vec<(usize, usize)> = known.collect();
    known.iter().for_each(|&(label, told)| confusion[label][told] += 1);
    let scores = Classification::from_confusion(classes, confusion);
    (!known.is_empty()).then(|| {
        format!(
            "Of {} windows whose label is known {:.1} % are right; macro F1 {:.1} %",
            known.len(),
            100.0 * scores.accuracy(),
            100.0 * scores.macro_f1
        )
    })
}

fn table(told: &[Told], classes: &[String]) -> String {
    let mut table = csv::Writer::from_writer(vec![]);
    let head = ["file", "person", "seconds", "label", "class"].into_iter().chain(classes.iter().map(String::as_str));
    let mut write = |row: Vec<String>| table.write_record(row).expect("memory takes rows of one length");
    write(head.map(str::to_owned).collect());
    for Told { place: Place { file, person, seconds, label }, class, probabilities } in told {
        let [person, label] = [person, label].map(|text| text.clone().unwrap_or_default());
        let row = [file.clone(), person, seconds.to_string(), label, class.clone()];
        write(row.into_iter().chain(probabilities.iter().map(f32::to_string)).collect());
    }
    let bytes = table.into_inner().expect("memory can be written to");
    String::from_utf8(bytes).expect("text was written")
}
