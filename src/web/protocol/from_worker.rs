//! What the worker tells of itself, its data and its runs.

use serde::Serialize;
use tsify::Tsify;

use super::answers::CheckReport;
use super::by_hand::Slope;
use super::course::{OuterIteration, Progress};
use super::data::{DataInfo, Trace};
use super::engines::{EngineState, FirstRun};
use super::form::Form;
use super::machine::OpenMachine;
use super::outcome::{Details, Done, Drawn, Evaluation, Forecast, Weights};
use super::own_data::{NetworkInfo, Seen, Told};
use super::to_worker::{Engine, Settings};
use super::unroll::Unroll;

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
    /// What goes with settings that are to be prepared for, and what they come to; sent at once.
    Form(Form),
    /// The engines are prepared and measured for a run, and nothing about it will change any more.
    Settled {
        /// The [`ToWorker::Prepare`] that this answers.
        id: u32,
    },
    /// The data that a run would use now.
    Data(DataInfo),
    /// Recordings of the visitor's own, as they were seen and read.
    Seen(Seen),
    /// The visitor's own data were read and cannot be divided into those to train, to validate and to test on, or scaled.
    Undivided {
        /// Why, and how to mend it.
        message: String,
    },
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
    /// How well the next sample is told, where that is the task.
    Forecast(Forecast),
    /// Example weights where labels are wrong on purpose; sent after every outer iteration.
    Weights(Weights),
    /// A training of the random search that a run is held against.
    Drawn(Drawn),
    /// What the kept network does with single windows and people.
    Details(Details),
    /// What logistic regression on statistics of windows reaches on the data at hand.
    Baseline {
        /// That of the data.
        fingerprint: String,
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
    /// A hypergradient as it is taken.
    Unroll(Unroll),
    /// What a run is computed with, or why that is not known.
    Machine {
        /// Graphs, dispatches, plans.
        machine: Option<OpenMachine>,
        /// Why there are none.
        message: Option<String>,
    },
    /// Something went wrong.
    Failed(Failure),
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
