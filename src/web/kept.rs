//! A run as it is taken home, and as it comes back: the files that the command line writes, and a network that tells of new
//! recordings.

use std::io::{Cursor, Write};

use serde_bytes::ByteBuf;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::protocol::*;
use crate::data::recordings::{Columns, Files};
use crate::experiment::card::card;
use crate::experiment::classifier::Classifier;
use crate::experiment::config::TuneConfig;
use crate::experiment::onnx;
use crate::experiment::record::{OuterRecord, RunResult};
use crate::experiment::told::{self, Asked};
use crate::rig::Device;

const SETTINGS: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const RESULT: &str = "result.json";
const MODEL: &str = "model.safetensors";
/// The largest file of a run that is opened.
const LIMIT_MIB: u64 = 256;

/// A network with the settings that its data were read by.
pub struct Kept {
    classifier: Classifier,
    config: TuneConfig,
}

/// Whether a run's network is among files.
pub fn is_run(files: &Files) -> bool {
    files.paths().any(|path| path.rsplit('/').next() == Some(MODEL))
}

/// The files of a run: those that `tune --out` and `export` write, and all of these in a zip.
pub fn files(result: &RunResult, records: &[OuterRecord], model: Option<&[u8]>) -> Vec<RunFile> {
    let file = |name: &str, bytes: Vec<u8>| RunFile { name: name.to_owned(), bytes: ByteBuf::from(bytes) };
    let json = serde_json::to_string_pretty(result).expect("records are plain values") + "\n";
    let line = |record| serde_json::to_string(record).expect("records are plain values") + "\n";
    let mut files = vec![
        file(RESULT, json.into_bytes()),
        file(METRICS, records.iter().map(line).collect::<String>().into_bytes()),
        file(SETTINGS, result.configuration.to_toml().into_bytes()),
    ];
    if let Some(model) = model {
        files.push(file(MODEL, model.to_vec()));
        // A network that tells the next sample has no classes to name.
        if let Ok(classifier) = Classifier::open(model) {
            let card = serde_json::to_vec_pretty(&card(&classifier, result)).expect("plain values");
            files.push(file("model.onnx", onnx::pack(&classifier)));
            files.push(file("card.json", card));
        }
    }
    files.push(file("run.zip", zipped(&files)));
    files
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

impl Kept {
    /// The network of a run that has ended here.
    pub fn of_run(result: &RunResult, model: &[u8]) -> Result<(Kept, NetworkInfo), String> {
        let kept = Kept { classifier: Classifier::open(model)?, config: result.configuration.clone() };
        let info = kept.info(None, result, vec![]);
        Ok((kept, info))
    }

    /// The network of a run's directory. Says what is missing or wrong, and how to mend it.
    pub fn open(name: &str, given: &mut Files) -> Result<(Kept, NetworkInfo), String> {
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
        let wrong = |file: &str, problem: String| format!("{name}, {file}: {problem}; copy the run again");
        let classifier = Classifier::open(&weights).map_err(|problem| wrong(MODEL, problem))?;
        let Some(result) = beside(RESULT) else {
            return Err(format!("{name} has no {RESULT} beside {MODEL}; give all files of the run"));
        };
        let result: RunResult = serde_json::from_slice(&bytes(result)?)
            .map_err(|error| wrong(RESULT, format!("it is no result ({error})")))?;
        let records = match beside(METRICS) {
            None => vec![],
            Some(at) => {
                let text = String::from_utf8(bytes(at)?).map_err(|_| wrong(METRICS, "it is no text".to_owned()))?;
                let records: Result<Vec<OuterRecord>, _> = text.lines().map(serde_json::from_str).collect();
                records.map_err(|error| wrong(METRICS, error.to_string()))?
            }
        };
        let kept = Kept { classifier, config: result.configuration.clone() };
        let info = kept.info(Some(name.to_owned()), &result, files(&result, &records, Some(&weights)));
        Ok((kept, info))
    }

    fn info(&self, opened: Option<String>, result: &RunResult, files: Vec<RunFile>) -> NetworkInfo {
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
            files,
        }
    }

    /// What the network tells of new recordings.
    pub async fn tell(&self, name: &str, files: &mut Files, device: &Device) -> Result<Told, String> {
        let asked = Asked::read(files, &self.config, &self.classifier, &Columns::default(), None)
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
