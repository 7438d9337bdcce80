//! What the page asks.

use serde::{Deserialize, Serialize};
use tsify::Tsify;

use super::form::Setting;
use super::own_data::Reading;
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::{Differentiation, Network};

/// What the page asks of the worker.
#[derive(Debug, Deserialize, Tsify)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ToWorker {
    /// Find the engines and say what was found.
    Open,
    /// Unpack the built-in people: first without the rest, so that the page can be used, then with it.
    Builtin {
        /// `subset.bin`.
        #[serde(with = "serde_bytes")]
        #[tsify(type = "Uint8Array")]
        first: Vec<u8>,
        /// `rest.bin`.
        #[serde(default, with = "serde_bytes")]
        #[tsify(optional, type = "Uint8Array")]
        rest: Option<Vec<u8>>,
    },
    /// Tell what logistic regression reaches on the data of this fingerprint, if they are still here; answered by
    /// [`FromWorker::Baseline`].
    Baseline {
        /// That of the data.
        fingerprint: String,
    },
    /// Take the built-in people for the runs to come.
    UseBuiltin {
        /// Only the first of them, also once the others are there.
        subset: bool,
    },
    /// Send one recorded window to draw.
    Window {
        /// Any number; taken modulo the number of windows.
        index: u32,
    },
    /// Get ready to tune with these settings, as long as nothing else is to be done; answered by
    /// [`FromWorker::Settled`] if nothing else came.
    Prepare {
        /// What the answer is to name.
        id: u32,
        /// What would be run.
        settings: Settings,
        /// The one engine that is wanted; all that are there if none is.
        #[tsify(optional)]
        engine: Option<Engine>,
    },
    /// Tune with these settings.
    Start {
        /// What to run.
        settings: Settings,
        /// And on what.
        engine: Engine,
        /// What [`FromWorker::Saved`] gave last, of a run of these settings that is to go on.
        ///
        /// [`FromWorker::Saved`]: super::FromWorker::Saved
        #[serde(default, with = "serde_bytes")]
        #[tsify(optional, type = "Uint8Array")]
        resume: Option<Vec<u8>>,
    },
    /// Take the hypergradient at a point that the visitor chose; answered by [`FromWorker::Slope`].
    ///
    /// [`FromWorker::Slope`]: super::FromWorker::Slope
    Differentiate {
        /// What would be run.
        settings: Settings,
        /// And on what.
        engine: Engine,
        /// How far the point is from that of the last slope, as in [`ToWorker::Foretell`]; the start values if it does not
        /// say.
        #[tsify(optional)]
        moves: Option<Vec<f64>>,
    },
    /// Say what the last slope foretells of a point; answered at once by [`FromWorker::Foretold`].
    ///
    /// [`FromWorker::Foretold`]: super::FromWorker::Foretold
    Foretell {
        /// How far it is from the slope's point: a number for each of its variables, in the coordinate that it is moved in.
        moves: Vec<f64>,
    },
    /// Train at such a point; answered by [`FromWorker::Tried`].
    ///
    /// [`FromWorker::Tried`]: super::FromWorker::Tried
    TryOut {
        /// As in [`ToWorker::Foretell`].
        moves: Vec<f64>,
    },
    /// Check the hypergradient on these settings, in at most some seconds; given up when a run is to begin.
    CheckGradient {
        /// What to check.
        settings: Settings,
        /// And on what.
        engine: Engine,
    },
    /// Take a hypergradient at the start values of these settings and tell how it goes, in [`FromWorker::Unroll`].
    ///
    /// [`FromWorker::Unroll`]: super::FromWorker::Unroll
    Unroll {
        /// What would be run.
        settings: Settings,
        /// And on what.
        engine: Engine,
    },
    /// Show what these settings are computed with; answered by [`FromWorker::Machine`].
    ///
    /// [`FromWorker::Machine`]: super::FromWorker::Machine
    OpenMachine {
        /// What would be run.
        settings: Settings,
        /// And on what.
        engine: Engine,
    },
    /// Hold the run at the next segment end.
    Pause,
    /// Go on with a held run.
    Resume,
    /// Go on to the end of the outer iteration at hand, and hold there.
    Step,
    /// End the run at once, its best network is scored only if that is a matter of a second; or the check, which then has
    /// no outcome.
    Stop,
}

/// What the page asks of the worker's clerk, who reads and writes files. Those that it gives come beside the message.
#[derive(Debug, Deserialize, Tsify)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ToClerk {
    /// The visitor's own recordings, or own copy of the UCI HAR data set; answered by [`FromWorker::Seen`], and
    /// [`FromWorker::Data`] where they can be read as they are guessed to be.
    Recordings {
        /// What they are called: a file, a folder.
        name: String,
        /// Where each of the files with the message lies in the folder that was given, or its name: tables, or zip archives.
        paths: Vec<String>,
    },
    /// Read the recordings that were given last anew; answered likewise.
    Reread {
        /// What is not to be guessed.
        reading: Reading,
    },
    /// A run that was kept: its directory, zipped or not; answered by [`FromWorker::Network`].
    OpenRun {
        /// What it is called.
        name: String,
        /// Where each of the files with the message lies in it.
        paths: Vec<String>,
    },
    /// Tell of new recordings by the network at hand; answered by [`FromWorker::Told`].
    Predict {
        /// What they are called.
        name: String,
        /// Where each of the files with the message lies in the folder that was given, or its name: tables, or zip archives.
        paths: Vec<String>,
        /// What is not to be as it was with the network's own recordings.
        #[serde(default)]
        #[tsify(optional)]
        reading: Reading,
    },
}

/// What runs the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The browser's GPU, through WebGPU.
    Webgpu,
    /// The processor, in WebAssembly.
    Cpu,
}

/// What a visitor can choose; the names are those of the command line.
#[derive(Debug, Clone, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The network, by a name of the command line, or its layers.
    #[tsify(type = "string | { file: string; layers: unknown[] }")]
    pub network: Network,
    /// Training steps T of one inner run.
    pub steps: u32,
    /// What the run may cost, in trainings.
    pub budget: u32,
    /// Windows in one training batch.
    pub batch: u32,
    /// How the outer loss is differentiated, in the words of the command line, such as `reverse` or `truncated:20`.
    #[tsify(type = "string")]
    pub method: Differentiation,
    /// Kinds of hyperparameters to tune, by their names on the command line; the others keep their start values.
    #[tsify(type = "string[]")]
    pub hyperparameters: Vec<Kind>,
    /// Seed of weights, batches and masks.
    pub seed: u32,
    /// Whether as much is spent on random search afterwards, to be shown beside.
    pub compare: bool,
    /// Percent of the training windows that get a wrong label, on purpose.
    pub mislabelled: u32,
    /// Further settings of the configuration; the others are the usual ones.
    #[serde(default)]
    #[tsify(optional)]
    pub more: Vec<Setting>,
}
