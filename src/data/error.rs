//! What can be wrong with a data set.

/// Every way in which reading, splitting or scaling a data set can fail.
///
/// Lines and the numbers on a line are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system would not give us a file or folder.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// What we tried to read.
        path: String,
        /// The system's reason.
        reason: std::io::Error,
    },

    /// Something that bytes cannot be taken from, or not without waiting for them.
    #[error("{path} is {what}, where a file is wanted; give a file, or a folder with the data set")]
    NoFile {
        /// What was given.
        path: String,
        /// What it is.
        what: &'static str,
    },

    /// A path or upload that is neither a folder nor a zip.
    #[error(
        "{place} is neither a table of recordings, a folder nor a zip file; {kind}give a CSV file, a folder or zip of them, \
         or the UCI HAR data set as the UCI repository hands it out"
    )]
    UnknownFormat {
        /// What was given.
        place: String,
        /// What it is instead, as the beginning of a sentence, where its first bytes tell.
        kind: &'static str,
    },

    /// Files of which none is a table of recordings.
    #[error("{place} holds no table of recordings, such as a CSV file; found {found}")]
    NoTable {
        /// What was searched.
        place: String,
        /// Some of what is there.
        found: String,
    },

    /// A zip that others can unpack.
    #[error("{file} is {how}, which this program does not unpack; unpack it with another tool and give the folder")]
    Packing {
        /// The zip, or the file inside it.
        file: String,
        /// How it is packed.
        how: String,
    },

    /// A folder or zip with more than one data set.
    #[error("{place} holds several data sets: {found}; give the path of one of them")]
    SeveralSets {
        /// What was searched.
        place: String,
        /// Where they are.
        found: String,
    },

    /// A text file whose bytes are no text.
    #[error("{file} {problem}")]
    NoText {
        /// The file.
        file: String,
        /// What it holds instead, and what to do.
        problem: String,
    },

    /// A damaged zip.
    #[error("{file} is damaged or incomplete ({reason}); download it again")]
    Zip {
        /// The zip, or the file inside it.
        file: String,
        /// What the zip reader said.
        reason: String,
    },

    /// A file that is larger than any genuine one.
    #[error("{file} unpacks to more than {limit_mib} MiB, far more than in the genuine data set; refused")]
    TooLarge {
        /// The offending file.
        file: String,
        /// The limit, in MiB.
        limit_mib: u64,
    },

    /// A folder or zip that holds some other data.
    #[error(
        "{place} holds neither tables of recordings, such as CSV files, nor the UCI HAR data set: that has `train/` and \
         `test/`, each with `subject_*.txt`, `y_*.txt` and the nine files of `Inertial Signals/`, in it or up to two \
         folders below; found {found}"
    )]
    WrongFolders {
        /// What was searched.
        place: String,
        /// Some of the names that are there.
        found: String,
    },

    /// One of the files of the data set is absent.
    #[error(
        "{place} lacks `{file}`; a complete data set has, in `train/` and in `test/`, `subject_*.txt`, \
         `y_*.txt` and nine files `Inertial Signals/{{body_acc,body_gyro,total_acc}}_{{x,y,z}}_*.txt`"
    )]
    MissingFile {
        /// Where it should be.
        place: String,
        /// Its path below the data set's root.
        file: String,
    },

    /// A file without a single line.
    #[error("{file} is empty; download the data set again")]
    EmptyFile {
        /// The file.
        file: String,
    },

    /// A line of a signal file that is not one window.
    #[error("{file}, line {line}: {found} numbers where a window has {wanted}")]
    Columns {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// How many numbers the line holds.
        found: usize,
        /// How many a window has.
        wanted: usize,
    },

    /// Something that is not a finite number.
    #[error(
        "{file}, line {line}, number {column}: {text} is not a finite number; numbers are written like -1.25e-3, with \
         spaces between them"
    )]
    Number {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// Which number of the line.
        column: usize,
        /// What stands there, between backticks.
        text: String,
    },

    /// A number that no motion sensor gives.
    #[error(
        "{file}, line {line}, number {column}: {text} is beyond ±{limit}, more than any motion sensor \
         measures in any unit; the file is damaged"
    )]
    Signal {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// Which number of the line.
        column: usize,
        /// What stands there, between backticks.
        text: String,
        /// What none is beyond.
        limit: f32,
    },

    /// A label that names no activity.
    #[error("{file}, line {line}: {text} is not a label; labels are whole numbers from 1 to {largest}")]
    Label {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// What stands there, between backticks.
        text: String,
        /// The largest there is.
        largest: u32,
    },

    /// A subject that does not exist.
    #[error("{file}, line {line}: {text} is not a subject; subjects are whole numbers from 1 to {largest}")]
    Subject {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// What stands there, between backticks.
        text: String,
        /// The largest there is.
        largest: u32,
    },

    /// Two files of one part that do not belong together.
    #[error(
        "{file} and {other} must both have one line a window, but have {lines} and {other_lines}; \
         one of them is cut short or from another download"
    )]
    LineCounts {
        /// One file.
        file: String,
        /// Its lines.
        lines: usize,
        /// The file it was compared with.
        other: String,
        /// Its lines.
        other_lines: usize,
    },

    /// A file that cannot be read as what it should be.
    #[error("{file}, {place}: {problem}; {mend}")]
    File {
        /// The file.
        file: String,
        /// Where in the file: byte offsets and the field there.
        place: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        mend: &'static str,
    },

    /// Fewer examples than are asked of a data set.
    #[error(
        "{name} has {given} images to train on here, and {wanted} different ones are needed; take all of it (`stackelberg data` says where to get it), or a smaller budget"
    )]
    TooFew {
        /// The data set.
        name: &'static str,
        /// What there is of it.
        given: usize,
        /// What is needed.
        wanted: usize,
    },

    /// A data set that has to be fetched first.
    #[error(
        "there is no {file} in {folder}, packed with gzip or not; fetch it from {source_url} into a folder `{name}`, and name \
         the directory that holds that folder with --data or STACKELBERG_DATA"
    )]
    NotThere {
        /// Where it was looked for.
        folder: String,
        /// The file that is missing.
        file: &'static str,
        /// The data set, and its folder's name.
        name: &'static str,
        /// Where it is to be had.
        source_url: &'static str,
    },

    /// Built-in data that do not decode.
    #[error("the built-in HAR data are corrupt ({reason}); load or install them again")]
    Corrupt {
        /// What did not fit.
        reason: String,
    },

    /// A configuration that names subjects whom the data do not hold.
    #[error("the {split} subjects {unknown:?} are not in the data, which hold the subjects {present:?}")]
    UnknownSubjects {
        /// `validation` or `test`.
        split: &'static str,
        /// The subjects asked for in vain.
        unknown: Vec<u32>,
        /// The subjects there are.
        present: Vec<u32>,
    },

    /// A configuration that would test on subjects it selects by.
    #[error("the subjects {subjects:?} are named for validation and for test; a subject may be in one split only")]
    OverlappingSubjects {
        /// Those named twice.
        subjects: Vec<u32>,
    },

    /// A split without a single window.
    #[error(
        "no subject is left for the {split} split; the data hold the subjects {present:?}: name the \
         `validation` and `test` subjects so that each split gets at least one"
    )]
    EmptySplit {
        /// `train`, `validation` or `test`.
        split: &'static str,
        /// The subjects there are.
        present: Vec<u32>,
    },

    /// Windows without anything to predict.
    #[error(
        "no {split} window is continued by the next one of the same person, so there is nothing to predict: prediction \
         needs windows that overlap by half, in order; take the task `classification`, or the data as published"
    )]
    NothingFollows {
        /// `train`, `validation` or `test`.
        split: &'static str,
    },

    /// A channel that never changes and so cannot be scaled.
    #[error(
        "{channel} has the same value throughout the training windows, so it cannot be standardised; \
         check the data, or take more training subjects"
    )]
    ConstantChannel {
        /// Its name.
        channel: String,
    },

    /// Examples, targets and people that make no data set together.
    #[error("{name}: {what}")]
    Dataset {
        /// The data set.
        name: String,
        /// What does not fit, with the example and the value where it is one of these.
        what: String,
    },

    /// A data set that is to be divided by people, of whom it knows nothing.
    #[error("{name} does not say who gave its examples, so it cannot be divided by people; divide it by share")]
    NoPeople {
        /// The data set.
        name: String,
    },
}

impl DataError {
    /// A file that cannot be read as what it should be: where in it, what is wrong there, how to mend it.
    pub(super) fn at(file: &str, place: impl Into<String>, problem: String, mend: &'static str) -> DataError {
        DataError::File { file: file.to_owned(), place: place.into(), problem, mend }
    }
}
