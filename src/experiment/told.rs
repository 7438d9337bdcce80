//! New recordings, read as those of a run were, and told of by its network.

use serde::Serialize;

use super::classifier::Classifier;
use super::config::TuneConfig;
use super::record::Classification;
use crate::data::recordings::{Columns, Files, Mapping, Place, Report, Unlabelled, read_unlabelled};
use crate::data::{DataError, Dataset, Standardizer};
use crate::engine::several;
use crate::rig::{Device, RigError};

/// Why recordings cannot be told of.
#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    /// They cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// They are not such as the network was trained on.
    #[error("{problem}; {mend}")]
    NoFit {
        /// What does not fit.
        problem: String,
        /// How to mend it.
        mend: &'static str,
    },
}

/// Windows that are to be told of.
pub struct Asked {
    x: Vec<f32>,
    places: Vec<Place>,
    /// What should be known of them, in sentences.
    pub notes: Vec<String>,
}

/// What is told of a window.
#[derive(Debug, Serialize)]
pub struct Window {
    /// Where it comes from.
    #[serde(flatten)]
    pub place: Place,
    /// The most probable class.
    pub class: String,
    /// Of each class.
    pub probabilities: Vec<f32>,
}

/// What is told of all windows.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The classes, in the order of the probabilities.
    pub classes: Vec<String>,
    /// One after another.
    pub windows: Vec<Window>,
}

impl Asked {
    /// The windows of recordings, cut as those of the run were that a configuration is of. What is given comes before what
    /// was usual there.
    pub fn read(
        files: &mut Files,
        config: &TuneConfig,
        classifier: &Classifier,
        given: &Columns,
        overlap: Option<f64>,
    ) -> Result<Asked, NotTold> {
        let wanted = classifier.rate_hz();
        let named = given.channels.is_some();
        let usual = config.columns.clone().unwrap_or_default();
        let own = || usual.channels.clone().unwrap_or_else(|| classifier.channels().to_vec());
        let mapping = |channels: Option<Vec<String>>| Mapping {
            rate: wanted,
            window: Some(classifier.input()[0] as u32),
            overlap: overlap.or(config.overlap),
            columns: Columns { channels, ..given.clone() },
        };
        let usual = Columns { channels: None, ..usual.clone() };
        let asked = mapping(given.channels.clone().or_else(|| Some(own())));
        let (windows, mut report) = match read_unlabelled(files, &asked, &usual) {
            Ok(read) => read,
            // Channels of rows that are windows, and of files by sensor, have no columns of their names.
            Err(error) => {
                let guessed = read_unlabelled(files, &mapping(None), &usual).ok().filter(|_| !named);
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
            return Err(NotTold::NoFit { problem, mend });
        }
        check_rate(&report, wanted)?;
        Ok(Asked::new(windows.x, windows.places, report.notes, classifier))
    }

    /// Windows that were cut already.
    pub fn of_dataset(file: &str, data: &Dataset, classifier: &Classifier) -> Result<Asked, NotTold> {
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
            return Err(NotTold::NoFit { problem, mend });
        }
        let recording = about.recording;
        let place = |window: usize| Place {
            file: file.to_owned(),
            person: data.people().get(window).map(u32::to_string),
            seconds: recording.map_or(0.0, |cut| (window * cut.hop) as f64 / f64::from(cut.rate_hz)),
            label: data.labels().get(window).map(|&label| about.outputs[label as usize].clone()),
        };
        let places = (0..data.len()).map(place).collect();
        Ok(Asked::new(data.values().into_owned(), places, vec![], classifier))
    }

    fn new(x: Vec<f32>, places: Vec<Place>, mut notes: Vec<String>, classifier: &Classifier) -> Asked {
        notes.extend(unlike(&x, classifier));
        Asked { x, places, notes }
    }
}

fn names(windows: &Unlabelled) -> Vec<&str> {
    windows.channels.iter().map(|channel| &*channel.name).collect()
}

/// Samples that were taken much more slowly than the network has seen them cannot be put between.
fn check_rate(report: &Report, wanted: Option<f64>) -> Result<(), NotTold> {
    const SLOWEST: f64 = 0.8;
    let (Some(measured), Some(wanted)) = (report.measured_hz, wanted) else { return Ok(()) };
    if measured < SLOWEST * wanted {
        let problem = format!(
            "it was recorded at {measured} samples a second, and the network was trained on {wanted}: what is faster than \
             half of the first is not in it"
        );
        let mend = "record faster, or train a network at the lower rate (`tune --rate`)";
        return Err(NotTold::NoFit { problem, mend });
    }
    Ok(())
}

/// What of the new windows is unlike those of the training, a sentence for each channel.
fn unlike(x: &[f32], classifier: &Classifier) -> Vec<String> {
    /// A spread so many times as large, or a mean so many deviations away, is another unit or another place.
    const FAR: f64 = 4.0;
    /// Of a spread that another unit would explain.
    const NEAR: std::ops::Range<f64> = 0.7..1.4;
    /// m/s² in a g.
    const GRAVITY: f64 = 9.80665;
    const UNITS: [(f64, &str); 6] = [
        (GRAVITY, "m/s² for g"),
        (1.0 / GRAVITY, "g for m/s²"),
        (57.29578, "degrees for radians"),
        (1.0 / 57.29578, "radians for degrees"),
        (1e3, "thousandths"),
        (1e-3, "thousands"),
    ];
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
        let unit = UNITS.iter().find(|(by, _)| NEAR.contains(&(ratio / by)));
        if ratio > FAR || off > FAR || unit.is_some() {
            let cause = unit.map_or(String::new(), |(_, unit)| format!(": {unit}?"));
            sentences.push(format!(
                "`{name}` has the mean {own_mean:.3} and the deviation {own_std:.3} here, and {usual:.3} and {spread:.3} in \
                 the training{cause}"
            ));
        }
    }
    sentences
}

impl Told {
    /// What a network tells of windows.
    pub async fn of(asked: Asked, classifier: &Classifier, device: &Device) -> Result<Told, RigError> {
        let classes = classifier.classes();
        let best = |row: &[f32]| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            classes[best.map_or(0, |(class, _)| class)].clone()
        };
        let probabilities = classifier.classify(device, asked.x).await?;
        let window =
            |(place, probabilities): (Place, Vec<f32>)| Window { place, class: best(&probabilities), probabilities };
        let windows = asked.places.into_iter().zip(probabilities).map(window).collect();
        Ok(Told { classes: classes.to_vec(), windows })
    }

    /// How many are right of those whose label is known and is one of the classes, and which labels are none of these;
    /// nothing where no label is known.
    pub fn scored(&self) -> Vec<String> {
        let class = |name: &str| self.classes.iter().position(|class| class == name);
        let labels = || self.windows.iter().filter_map(|window| Some((window.place.label.as_deref()?, &window.class)));
        let mut confusion = vec![vec![0; self.classes.len()]; self.classes.len()];
        let mut others: Vec<&str> = labels().map(|(label, _)| label).filter(|label| class(label).is_none()).collect();
        let strange = others.len();
        others.sort_unstable();
        others.dedup();
        let mut known = 0;
        for (label, told) in labels() {
            if let (Some(label), Some(told)) = (class(label), class(told)) {
                confusion[label][told] += 1;
                known += 1;
            }
        }
        let mut sentences = vec![];
        if strange > 0 {
            let shown = others.iter().take(8).map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let more = if others.len() > 8 { format!(" and {} more", others.len() - 8) } else { String::new() };
            let left = if known == 0 { "so nothing can be scored" } else { "and are not scored" };
            sentences.push(format!(
                "{} {} labels that are no classes of the run ({shown}{more}; its classes are {}), {left}",
                several(strange as u64, "window"),
                if strange == 1 { "has" } else { "have" },
                self.classes.join(", ")
            ));
        }
        if known > 0 {
            let scores = Classification::from_confusion(&self.classes, confusion);
            sentences.push(format!(
                "Of {} whose label is known {:.1} % are right; macro F1 {:.1} %",
                several(known, "window"),
                100.0 * scores.accuracy(),
                100.0 * scores.macro_f1
            ));
        }
        sentences
    }

    /// A row for each window: `file, person, seconds, label, class` and a probability for each class.
    pub fn csv(&self) -> String {
        let mut table = csv::Writer::from_writer(vec![]);
        let head = ["file", "person", "seconds", "label", "class"];
        let head = head.into_iter().chain(self.classes.iter().map(String::as_str));
        let mut write = |row: Vec<String>| table.write_record(row).expect("memory takes rows of one length");
        write(head.map(str::to_owned).collect());
        for Window { place: Place { file, person, seconds, label }, class, probabilities } in &self.windows {
            let [person, label] = [person, label].map(|text| text.clone().unwrap_or_default());
            let row = [file.clone(), person, seconds.to_string(), label, class.clone()];
            write(row.into_iter().chain(probabilities.iter().map(f32::to_string)).collect());
        }
        let bytes = table.into_inner().expect("memory can be written to");
        String::from_utf8(bytes).expect("text was written")
    }
}
