//! What the worker tells of itself, its data and its runs.

// Long because every message of the worker stands here with the types that it carries, and what each field means.

use serde::Serialize;
use tsify::Tsify;

use super::answers::{Advice, CheckReport};
use super::lesson::LessonAnswer;
use super::own_data::{NetworkInfo, RunFile, Seen, Told};
use super::to_worker::{Engine, Settings};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::Network;
use crate::experiment::leader::OuterMethod;

/// What the worker tells the page.
#[derive(Debug, Serialize, Tsify)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FromWorker {
    /// The engines; sent whenever something about them is new.
    Engines {
        /// All of them, usable or not.
        engines: Vec<EngineState>,
        /// The one that would do the run at hand sooner, once that is known.
        #[tsify(optional)]
        faster: Option<Engine>,
    },
    /// What a first run should be on this device.
    FirstRun(FirstRun),
    /// The engines are prepared and measured for a run, and nothing about it will change any more.
    Settled {
        /// The [`ToWorker::Prepare`] that this answers.
        id: u32,
    },
    /// The data that a run would use now.
    Data(DataInfo),
    /// Recordings of the visitor's own, as they were seen and read.
    Seen(Seen),
    /// The network that tells of new recordings from now on.
    Network(NetworkInfo),
    /// What it tells.
    Told(Told),
    /// A run cannot be opened, or recordings cannot be told of.
    Untold {
        /// Why, and how to mend it.
        message: String,
    },
    /// An answer to [`ToWorker::Window`].
    Trace(Trace),
    /// A run began, or one that was kept is told from its beginning: what is recorded of it follows at once, up to its end.
    Started {
        /// What it runs.
        settings: Settings,
        /// And on what.
        engine: Engine,
        /// The data it runs on, whatever is loaded meanwhile.
        data: DataInfo,
        /// What a run that was kept is called.
        #[tsify(optional)]
        opened: Option<String>,
    },
    /// From here a run can go on, should the page be closed; sent after every outer iteration.
    Saved {
        /// For [`ToWorker::Start`](super::ToWorker::Start).
        #[tsify(type = "Uint8Array<ArrayBuffer>")]
        state: serde_bytes::ByteBuf,
    },
    /// Where the run is; sent a few times a second.
    Progress(Progress),
    /// Training loss of every step of an outer iteration.
    InnerLosses {
        /// The outer iteration, from 1.
        iteration: u32,
        /// Mean training loss of each batch, nats; not finite after a divergence.
        losses: Vec<f32>,
    },
    /// One outer iteration is complete.
    Outer(OuterIteration),
    /// The network on the test people; not sent of one that diverged.
    Evaluation(Evaluation),
    /// Example weights where labels are wrong on purpose; sent after every outer iteration.
    Weights(Weights),
    /// A training of the random search that a run is held against.
    Drawn(Drawn),
    /// What the kept network does with single windows and people.
    Details(Details),
    /// What logistic regression on statistics of windows reaches on the data at hand.
    Baseline {
        /// What the command line's `--data` calls the data.
        source: String,
        /// Share of the test windows named right, 0 to 1.
        accuracy: f64,
    },
    /// The hypergradient at a point that the visitor chose.
    Slope(Slope),
    /// What it foretells of another point.
    Foretold {
        /// The outer loss, if it were a straight line.
        loss: f64,
        /// The values there, one a variable.
        values: Vec<f64>,
    },
    /// What training there comes to.
    Tried {
        /// What was foretold.
        foretold: f64,
        /// The outer loss; none if training diverged.
        loss: Option<f64>,
        /// Where: as in [`ToWorker::Foretell`](super::ToWorker::Foretell).
        moves: Vec<f64>,
    },
    /// No hypergradient could be taken, or no training done.
    Untried {
        /// Why; none if it gave way to a run.
        message: Option<String>,
    },
    /// The device was lost; the run goes on from its last outer iteration on a new one.
    Recovering {
        /// Where: the processor, if the GPU was lost twice within a minute.
        engine: Engine,
    },
    /// The run is held.
    Paused,
    /// The run goes on.
    Resumed,
    /// The run was stopped before its first outer iteration was complete.
    Cancelled,
    /// The run ended in good order.
    Done(Done),
    /// A check of the hypergradient began, or is so far.
    #[serde(rename_all = "camelCase")]
    Checking {
        /// Training steps that it goes through in f64.
        exact_steps: u32,
        /// Those on the device: all of the settings.
        steps: u32,
        /// What it takes in all.
        seconds: f64,
        /// What is done of it, from 0 to 1.
        share: f64,
    },
    /// Its outcome.
    Checked(CheckReport),
    /// It has none.
    Unchecked {
        /// Why; none if it was given up.
        message: Option<String>,
    },
    /// Where the time of a run goes, or why nobody knows.
    Profiled {
        /// JSON, as `stackelberg profile --json` writes it and `stackelberg schema profile` describes it.
        profile: Option<String>,
        /// Why there is none.
        message: Option<String>,
    },
    /// A part of what a lesson shows.
    Lesson(LessonAnswer),
    /// Something went wrong.
    Failed(Failure),
}

/// An engine, and how it would do the run at hand.
#[derive(Debug, Clone, PartialEq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    /// Which it is.
    pub engine: Engine,
    /// What it runs on, as far as the browser tells.
    pub name: String,
    /// A processor, whether it plays a GPU or not.
    pub software: bool,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// Shaders, where it needs them and the run at hand was looked at.
    pub shaders: Option<Preparation>,
    /// Measured seconds of a training step.
    pub step: Option<f64>,
    /// Seconds that the whole run would take.
    pub run: Option<f64>,
    /// Which way to the hypergradient suits the run, once a step is measured.
    pub advice: Option<Advice>,
}

/// A run that is worth its time.
#[derive(Debug, Clone, PartialEq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct FirstRun {
    /// The network, by a name of the command line.
    #[tsify(type = "string")]
    pub network: Network,
    /// Training steps T of one inner run.
    pub steps: u32,
    /// What it may cost, in trainings.
    pub budget: u32,
}

/// Shaders, of all that a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Preparation {
    /// Those that can run.
    pub done: u32,
    /// All of them.
    pub total: u32,
}

/// A data set and its split by people.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct DataInfo {
    /// What the set is called.
    pub name: String,
    /// What the command line's `--data` calls it.
    pub source: String,
    /// Only the first piece of the built-in data is there yet.
    pub subset: bool,
    /// What training sees.
    pub train: Split,
    /// What the outer loss sees.
    pub validation: Split,
    /// What only the final score sees.
    pub test: Split,
    /// The activities, in label order.
    pub classes: Vec<Class>,
    /// How recordings of one's own were read, and what should be known of them, in sentences.
    pub notes: Vec<String>,
}

/// One side of the split.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Number of windows.
    pub windows: u32,
    /// Numbers of the people recorded.
    pub people: Vec<u32>,
}

/// One activity.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// For people to read.
    pub name: String,
    /// Windows of it in the whole set.
    pub windows: u32,
    /// Those of them that training sees.
    pub training: u32,
}

/// One recorded window.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Which window of the set.
    pub index: u32,
    /// Number of the person who wore the phone.
    pub person: u32,
    /// What the person did.
    pub activity: String,
    /// Samples a second.
    pub rate: f32,
    /// The channels, in the order of `samples`.
    pub channels: Vec<Channel>,
    /// `[time, channel]`, row by row, in the units of the channels.
    pub samples: Vec<f32>,
}

/// One sensor channel.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Such as `body_acc_x`.
    pub name: String,
    /// Such as `g`.
    pub unit: String,
}

/// Where a run is.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The outer iteration being worked on, from 1.
    pub iteration: u32,
    /// What is being done.
    pub phase: Phase,
    /// Steps of this phase that are done.
    pub step: u32,
    /// Steps of this phase.
    pub steps: u32,
    /// What is spent so far, in trainings, the part of this iteration that is done included.
    pub spent: f64,
    /// Seconds since the start, pauses left out.
    pub seconds: f64,
    /// Seconds to go, as far as one can tell.
    pub seconds_left: Option<f64>,
    /// Share of the whole run that is done, random search included, 0 to 1.
    pub share: f64,
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Inner training, step by step.
    Training,
    /// The adjoint run, from the last step to the first.
    Backward,
    /// Inner training with tangents, once or more.
    Forward,
    /// All windows of all people, after training with the start values.
    ScoringStart,
    /// A last training with the best values, then all windows of all people.
    ScoringTuned,
    /// Random search at equal cost.
    RandomSearch,
    /// One training with the start values on right labels, where labels are wrong on purpose.
    RightLabels,
}

/// One outer iteration.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct OuterIteration {
    /// From 1.
    pub iteration: u32,
    /// What the run has cost so far, this iteration included, in trainings.
    pub spent: f64,
    /// Validation loss at `hyperparameters`, nats; none if training diverged.
    pub loss: Option<f64>,
    /// Loss on the people who choose the iteration and are kept from that, where there are some.
    pub selection: Option<f64>,
    /// Whether a hypergradient was taken, or the training alone.
    pub differentiated: bool,
    /// Whether that hypergradient is of a training past the edge of stability, and noise.
    pub past_edge: bool,
    /// How rough the outer loss is there, by the derivatives of learning rate and momentum: beyond 1 it is past the edge.
    pub roughness: Option<f64>,
    /// The loss that the last hypergradient before foretold of this point, if it were a straight line.
    pub foretold: Option<f64>,
    /// Whether the outer optimiser goes on from here; otherwise from where it was before.
    pub accepted: bool,
    /// The point this loss belongs to.
    pub hyperparameters: Vec<Hyperparameter>,
    /// Seconds it took.
    pub seconds: f64,
}

/// One hyperparameter at one outer iteration.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Hyperparameter {
    /// As in the record, such as `l2.conv1`.
    pub name: String,
    /// The kind that it is of.
    #[tsify(type = "string")]
    pub group: Kind,
    /// In its natural unit: a rate, a factor, a penalty.
    pub value: f64,
    /// dF/dλ in the coordinate that the outer optimiser moves (the logarithm or logit); none for a summary of many, and
    /// where the hypergradient was not taken.
    pub hypergradient: Option<f64>,
}

/// Scores on the people the model never saw.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// At the start values or at the tuned ones.
    pub which: Which,
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Share of windows named right, 0 to 1.
    pub accuracy: f64,
    /// Mean of the F1 scores of the activities, 0 to 1.
    pub macro_f1: f64,
    /// F1 score of each activity, 0 to 1.
    pub f1: Vec<f64>,
    /// Share of the windows named so that are of the activity.
    pub precision: Vec<f64>,
    /// Share of the windows of the activity that are named so.
    pub recall: Vec<f64>,
    /// Windows by true activity (row) and named activity (column), row by row.
    pub confusion: Vec<u32>,
}

/// Which settings were evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The start values.
    Before,
    /// The best that was found.
    After,
    /// The best of random search at equal cost.
    Random,
    /// The start values on right labels, where labels are wrong on purpose.
    RightLabels,
}

/// How example weights tell right labels from wrong ones.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Weights {
    /// The outer iteration that moved them, from 1.
    pub iteration: u32,
    /// The probability that a right label has a larger weight than a wrong one.
    pub auc: f64,
    /// Training windows with right labels by weight, from 0 to 2 in bins of one width.
    pub right: Vec<u32>,
    /// Those with wrong labels.
    pub wrong: Vec<u32>,
}

/// A training of a random search.
#[derive(Debug, Clone, Copy, Serialize, Tsify)]
pub struct Drawn {
    /// What the search has cost so far, in trainings.
    pub spent: f64,
    /// Validation loss, nats; none if training diverged.
    pub loss: Option<f64>,
}

/// What the kept network does with single windows and people.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Everybody who is tested on.
    pub people: Vec<PersonScore>,
    /// Test windows that are named wrong, the surest first.
    pub worst: Vec<NamedWindow>,
    /// Training windows with the least weights, the least first; none where these were not tuned.
    pub doubted: Vec<DoubtedWindow>,
}

/// How the network does on one person.
#[derive(Debug, Serialize, Tsify)]
pub struct PersonScore {
    /// Their number.
    pub person: u32,
    /// Their windows.
    pub windows: u32,
    /// Share of these named right, 0 to 1.
    pub accuracy: f64,
}

/// A window and what the network names it.
#[derive(Debug, Serialize, Tsify)]
pub struct NamedWindow {
    /// The window.
    pub trace: Trace,
    /// What the network names.
    pub named: String,
    /// How sure it is, 0 to 1.
    pub probability: f32,
}

/// A window whose label is doubted.
#[derive(Debug, Serialize, Tsify)]
pub struct DoubtedWindow {
    /// The window; its activity is what was done.
    pub trace: Trace,
    /// The label that it was trained with.
    pub label: String,
    /// Its weight in training, 0 to 2.
    pub weight: f64,
}

/// The hypergradient at a point that the visitor chose.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Slope {
    /// The outer loss there.
    pub loss: f64,
    /// Whether training there is past the edge of stability, and the hypergradient noise.
    pub past_edge: bool,
    /// What can be moved.
    pub variables: Vec<Movable>,
    /// A short step down the slope, as in [`ToWorker::Foretell`](super::ToWorker::Foretell).
    pub downhill: Vec<f64>,
}

/// A hyperparameter that can be moved by hand.
#[derive(Debug, Serialize, Tsify)]
pub struct Movable {
    /// Such as `l2.conv1`.
    pub name: String,
    /// In its natural unit.
    pub value: f64,
    /// The derivative of the outer loss by the coordinate that it is moved in.
    pub hypergradient: f64,
}

/// The end of a run.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Why it ended.
    pub ending: Ending,
    /// The outer iteration whose hyperparameters were kept, from 1; 0 if all diverged.
    pub best: u32,
    /// What the run has cost, in trainings.
    pub spent: f64,
    /// Hypergradients taken.
    pub hypergradients: u32,
    /// How many of these were past the edge of stability.
    pub past_edge: u32,
    /// Whether the last trainings brought so little that patience was at its end.
    pub settled: bool,
    /// What moved the hyperparameters, by its name on the command line.
    #[tsify(type = "string")]
    pub method: OuterMethod,
    /// Why it was this one, in a sentence without its capital and its full stop.
    pub reason: String,
    /// Seconds it took, pauses left out.
    pub seconds: f64,
    /// Its files, as the command line writes them; the network is not among them if a device was lost with it.
    pub files: Vec<RunFile>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The budget was spent, or the outer loss had settled.
    Finished,
    /// The visitor ended it early.
    Stopped,
    /// Training diverged time and again.
    Diverged,
}

/// What went wrong.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What it stopped.
    pub stage: Stage,
    /// What was wrong, where, and how to mend it.
    pub message: String,
}

/// What a failure stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// There is no device to run on.
    Device,
    /// The data could not be read; what was there before is kept.
    Data,
    /// The run ended.
    Run,
}
