//! A run as it is taken home, and as it comes back: the files that the command line writes, and a network that tells of new
//! recordings.

use std::io::{Cursor, Write};

use serde_bytes::ByteBuf;
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::protocol::*;
use super::records::{self, METRICS, MODEL, RANDOM, RESULT};
use crate::data::recordings::{Files, Mapping};
use crate::experiment::card::card;
use crate::experiment::classifier::Classifier;
use crate::experiment::config::{Budget, TuneConfig, usual_decay};
use crate::experiment::onnx;
use crate::experiment::record::{self, ClassScore, OuterRecord, People, RunResult};
use crate::experiment::told::{self, Asked};
use crate::rig::Device;

const SETTINGS: &str = "run.toml";
/// The largest file of a run that is opened.
const LIMIT_MIB: u64 = 256;

/// A network with the settings that its data were read by.
pub struct Kept {
    pub classifier: Classifier,
    config: TuneConfig,
}

/// A network that names classes, with what the page shows of it.
type Network = (Kept, NetworkInfo);

/// A run that was kept, opened.
pub struct Opened {
    /// None where the next sample was predicted.
    pub network: Option<Network>,
    /// That of the data that it was run on.
    pub fingerprint: String,
    /// What the page is told of the run, as if it had just been.
    pub told: Vec<FromWorker>,
}

/// Whether a run's network is among files.
pub fn is_run(files: &Files) -> bool {
    files.paths().any(|path| path.rsplit('/').next() == Some(MODEL))
}

/// What is recorded of a run.
struct Recorded {
    result: RunResult,
    random: Option<RunResult>,
    records: Vec<OuterRecord>,
}

impl Recorded {
    /// From its files, by their names. Says what is missing or wrong, and how to mend it.
    fn read(name: &str, mut file: impl FnMut(&str) -> Result<Option<Vec<u8>>, String>) -> Result<Recorded, String> {
        let outcome = |file: &str, bytes: Vec<u8>| -> Result<RunResult, String> {
            serde_json::from_slice(&bytes).map_err(|error| wrong(name, file, format!("it is no result ({error})")))
        };
        let Some(result) = file(RESULT)? else {
            return Err(format!("{name} has no {RESULT} beside {MODEL}; give all files of the run"));
        };
        let random = file(RANDOM)?.map(|bytes| outcome(RANDOM, bytes)).transpose()?;
        let result = outcome(RESULT, result)?;
        let records = match file(METRICS)? {
            None => vec![],
            Some(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| wrong(name, METRICS, "it is no text".to_owned()))?;
                let records: Result<Vec<OuterRecord>, _> = text.lines().map(serde_json::from_str).collect();
                records.map_err(|error| wrong(name, METRICS, error.to_string()))?
            }
        };
        Ok(Recorded { result, random, records })
    }

    /// All files of the run: those that `tune --out` and `export` write, and all of these in a zip.
    fn files(&self, model: Option<&[u8]>, classifier: Option<&Classifier>) -> Vec<RunFile> {
        let file = |name: &str, bytes: Vec<u8>| RunFile { name: name.to_owned(), bytes: ByteBuf::from(bytes) };
        let mut files = records::files(&self.result, self.random.as_ref(), &self.records, model);
        files.push(file(SETTINGS, self.result.configuration.to_toml().into_bytes()));
        // A network that tells the next sample has no classes to name.
        if let Some(classifier) = classifier {
            let card = serde_json::to_vec_pretty(&card(classifier, &self.result)).expect("plain values");
            files.push(file("model.onnx", onnx::pack(classifier)));
            files.push(file("card.json", card));
        }
        files.push(file("run.zip", zipped(&files)));
        files
    }
}

fn wrong(name: &str, file: &str, problem: String) -> String {
    format!("{name}, {file}: {problem}; copy the run again")
}

fn zipped(files: &[RunFile]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    // A page knows no local time, and what is equal is to have equal bytes.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for RunFile { name, bytes } in files {
        zip.start_file(format!("run/{name}"), options).expect("memory can be written to");
        zip.write_all(bytes).expect("memory can be written to");
    }
    zip.finish().expect("memory can be written to").into_inner()
}

/// What a run told when it was, as far as it is recorded.
fn told_again(name: &str, Recorded { result, random, records }: &Recorded, files: Vec<RunFile>) -> Vec<FromWorker> {
    let config = &result.configuration;
    let settings = Settings {
        network: config.network.clone(),
        steps: config.steps,
        budget: match config.budget {
            Budget::Trainings(trainings) => trainings,
            Budget::Seconds(_) => result.spent.ceil() as u32,
        },
        batch: config.batch_of(result.data.training_windows as usize),
        method: config.method,
        hyperparameters: config.hyperparameters.clone(),
        seed: config.seed,
        compare: random.is_some(),
        mislabelled: (100.0 * config.mislabelled).round() as u32,
        more: more(config),
    };
    let engine = if result.device.engine == "gpu" { Engine::Webgpu } else { Engine::Cpu };
    let data = recorded(result);
    let opened = Some(name.to_owned());
    let mut told = vec![FromWorker::Started { settings, engine, data, opened }];
    let score = |which, of: Option<&record::Evaluation>| of.and_then(|of| records::evaluation(which, of));
    told.extend(score(Which::Before, result.start.as_ref()).map(FromWorker::Evaluation));
    told.extend(records::iterations(records, &config.hyperparameters).map(FromWorker::Outer));
    told.extend(score(Which::After, result.end.as_ref()).map(FromWorker::Evaluation));
    told.extend(records::forecast(result).map(FromWorker::Forecast));
    told.extend(
        score(Which::Random, random.as_ref().and_then(|random| random.end.as_ref())).map(FromWorker::Evaluation),
    );
    told.push(FromWorker::Done(records::done(result, result.seconds, files)));
    told
}

/// Settings of a configuration beside those with a field of their own, where they are not the usual ones.
fn more(config: &TuneConfig) -> Vec<Setting> {
    // What has a field, and what says how data are read and where the run was.
    const OWN: [&str; 14] = [
        "data",
        "rate",
        "window",
        "overlap",
        "columns",
        "network",
        "steps",
        "budget",
        "batch",
        "method",
        "hyperparameters",
        "seed",
        "mislabelled",
        "device",
    ];
    let plain = TuneConfig::default();
    // What others follow from is as it is.
    let usual = TuneConfig {
        network: config.network.clone(),
        batch: config.batch,
        optimizer: config.optimizer.clone(),
        decay: usual_decay(&*config.optimizer),
        hyperparameters: config.hyperparameters.clone(),
        outer_method: config.outer_method,
        ..plain.clone()
    };
    let mut usual = usual.filled().to_json();
    usual["optimizer"] = plain.optimizer.name().into();
    usual["outer_method"] = plain.outer_method.to_string().into();
    let Value::Object(all) = config.to_json() else { unreachable!("settings have names") };
    let other =
        |(name, value): &(&String, &Value)| !OWN.contains(&name.as_str()) && usual.get(name.as_str()) != Some(*value);
    all.iter().filter(other).map(Setting::of).collect()
}

/// What is recorded of a run's data.
fn recorded(RunResult { data, configuration, end, start, .. }: &RunResult) -> DataInfo {
    let people = data.people.clone().unwrap_or(People { training: vec![], validation: vec![], test: vec![] });
    let side = |windows: u64, people: Vec<u32>| Split { windows: windows as u32, people };
    let classes = end.as_ref().or(start.as_ref()).and_then(|of| of.test_classes.as_ref());
    // Of the other people's windows there is no count by class.
    let class = |class: &ClassScore| Class { name: class.name.clone(), windows: class.windows as u32, training: 0 };
    DataInfo {
        name: data.name.clone(),
        source: configuration.data.to_string(),
        fingerprint: data.fingerprint.clone(),
        subset: data.subset,
        train: side(data.training_windows, people.training),
        validation: side(data.validation_windows, people.validation),
        test: side(data.test_windows, people.test),
        classes: classes.map(|all| all.classes.iter().map(class).collect()).unwrap_or_default(),
        notes: vec![],
    }
}

impl Kept {
    /// All files of a run that has ended here, from those that the others follow from, and its network, if it names classes.
    pub fn of_run(given: &[RunFile]) -> Result<(Vec<RunFile>, Option<Network>), String> {
        let file = |name: &str| given.iter().find(|file| file.name == name).map(|file| file.bytes.to_vec());
        let recorded = Recorded::read("the run", |name| Ok(file(name)))?;
        let model = file(MODEL);
        let classifier = model.as_ref().and_then(|model| Classifier::open(model).ok());
        let files = recorded.files(model.as_deref(), classifier.as_ref());
        Ok((files, classifier.map(|classifier| Kept::network(None, classifier, &recorded.result))))
    }

    /// The run of a directory. Says what is missing or wrong, and how to mend it.
    pub fn open(name: &str, given: &mut Files) -> Result<Opened, String> {
        let paths: Vec<String> = given.paths().map(str::to_owned).collect();
        let found = |file: &str| paths.iter().position(|path| path.rsplit('/').next() == Some(file));
        let folder = |at: usize| paths[at].rsplit_once('/').map_or("", |(folder, _)| folder);
        let Some(model) = found(MODEL) else {
            return Err(format!(
                "{name} holds no run: there is no {MODEL}; give the folder that `stackelberg tune --out` wrote to, a zip of it, \
                 or the run.zip that this page saves"
            ));
        };
        let beside = |file: &str| {
            let own = |at: &usize| folder(*at) == folder(model) && paths[*at].rsplit('/').next() == Some(file);
            (0..paths.len()).find(own)
        };
        let mut bytes = |at: usize| given.bytes(at, LIMIT_MIB).map_err(|error| error.to_string());
        let weights = bytes(model)?;
        let recorded = Recorded::read(name, |file| beside(file).map(&mut bytes).transpose())?;
        let classifier = match recorded.result.configuration.task.classifies() {
            true => Some(Classifier::open(&weights).map_err(|problem| wrong(name, MODEL, problem))?),
            false => None,
        };
        let files = recorded.files(Some(&weights), classifier.as_ref());
        let told = told_again(name, &recorded, files);
        let network = classifier.map(|classifier| Kept::network(Some(name.to_owned()), classifier, &recorded.result));
        Ok(Opened { network, fingerprint: recorded.result.data.fingerprint, told })
    }

    /// The network of a run, opened from what is called so or just trained.
    fn network(opened: Option<String>, classifier: Classifier, result: &RunResult) -> Network {
        let kept = Kept { classifier, config: result.configuration.clone() };
        let info = kept.info(opened, result);
        (kept, info)
    }

    fn info(&self, opened: Option<String>, result: &RunResult) -> NetworkInfo {
        let end = result.end.as_ref();
        let tuned = |(name, &value): (&String, &f64)| Tuned { name: name.clone(), value };
        NetworkInfo {
            opened,
            data: result.data.name.clone(),
            classes: self.classifier.classes().to_vec(),
            channels: self.classifier.channels().to_vec(),
            window: self.classifier.input()[0] as u32,
            rate: self.classifier.rate_hz(),
            accuracy: end.and_then(|end| end.test.accuracy),
            macro_f1: end.and_then(|end| end.test_classes.as_ref()).map(|classes| classes.macro_f1),
            iterations: result.iterations,
            spent: result.spent,
            hyperparameters: end.map(|end| end.hyperparameters.iter().map(tuned).collect()).unwrap_or_default(),
        }
    }

    /// What the network tells of new recordings.
    pub async fn tell(&self, name: &str, files: &mut Files, reading: Reading, device: &Device) -> Result<Told, String> {
        let columns = Mapping::from(reading).columns;
        let asked = Asked::read(files, &self.config, &self.classifier, &columns, None)
            .map_err(|error| format!("{name}: {error}"))?;
        let mut notes = asked.notes.clone();
        let told = told::Told::of(asked, &self.classifier, device).await.map_err(|error| error.to_string())?;
        notes.extend(told.scored());
        let window = |window: &told::Window| ToldWindow {
            file: window.place.file.clone(),
            seconds: window.place.seconds,
            label: window.place.label.clone(),
            class: window.class.clone(),
            probability: window.probabilities.iter().copied().fold(0.0, f32::max),
        };
        let windows = told.windows.iter().map(window).collect();
        Ok(Told { name: name.to_owned(), windows, csv: told.csv(), notes })
    }
}
