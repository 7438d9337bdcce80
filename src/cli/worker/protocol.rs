//! What a worker and its driver say to each other: JSON, one object a line. docs/worker.md tells it by example.

use std::path::PathBuf;

use miette::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stackelberg::bilevel::SolveError;
use stackelberg::engine::EngineError;
use stackelberg::experiment::error::TuneError;

use crate::cli::CliError;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// What a driver asks. Each request gets one reply.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(title = "A request to `stackelberg worker`")]
pub enum Request {
    /// Who is there.
    Hello {
        /// The version of the protocol that the driver speaks; another one is refused.
        #[serde(default = "version")]
        version: u32,
    },
    /// Begins a trial, in the place of the one there was.
    Init {
        /// What is trained, by its name in the registry.
        #[serde(default = "tune")]
        trainable: String,
        /// Its settings; those not named keep their defaults.
        #[serde(default)]
        config: Map<String, Value>,
        /// In the place of the setting `data`.
        data: Option<String>,
        /// In the place of the setting `seed`.
        seed: Option<u32>,
        /// In the place of the setting `device`.
        device: Option<String>,
    },
    /// Goes on by so many units.
    Step {
        /// How many of what the reply to `init` calls `unit`.
        #[serde(default = "one")]
        budget: u64,
    },
    /// Writes the whole trial to a directory, which is made where it is not there.
    Save {
        /// The directory.
        dir: PathBuf,
    },
    /// Goes on from what was saved in a directory.
    Load {
        /// The directory.
        dir: PathBuf,
    },
    /// Changes settings midway; only those that may change.
    Set {
        /// The new values by name.
        config: Map<String, Value>,
    },
    /// Ends the worker; saves nothing.
    Close {},
}

fn version() -> u32 {
    VERSION
}

fn tune() -> String {
    "tune".to_owned()
}

fn one() -> u64 {
    1
}

/// The verbs of this version.
const VERBS: [&str; 7] = ["hello", "init", "step", "save", "load", "set", "close"];

impl Request {
    /// The request in a line.
    pub fn of(line: &[u8]) -> Result<Self, Fault> {
        let bad = |what: String| Fault::new(Code::BadConfig, what);
        if line.trim_ascii().is_empty() {
            return Err(bad("the line is empty: a request is one JSON object".to_owned()));
        }
        let value: Value =
            serde_json::from_slice(line).map_err(|error| bad(format!("the line is no JSON object: {error}")))?;
        match value.get("verb") {
            Some(Value::String(verb)) if VERBS.contains(&verb.as_str()) => {}
            Some(Value::String(verb)) => {
                let verbs = VERBS.join(", ");
                let what = format!("version {VERSION} of the protocol has no verb `{verb}`; it has {verbs}");
                return Err(Fault::new(Code::Version, what));
            }
            _ => return Err(bad(format!("the line names no `verb`, which is one of {}", VERBS.join(", ")))),
        }
        serde_json::from_value(value).map_err(|error| bad(error.to_string()))
    }

    /// Its verb.
    pub fn verb(&self) -> &'static str {
        VERBS[match self {
            Request::Hello { .. } => 0,
            Request::Init { .. } => 1,
            Request::Step { .. } => 2,
            Request::Save { .. } => 3,
            Request::Load { .. } => 4,
            Request::Set { .. } => 5,
            Request::Close {} => 6,
        }]
    }
}

/// What a worker answers. A line of `progress` is no reply: it comes while a request is worked on.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "reply", rename_all = "snake_case")]
#[schemars(title = "A line from `stackelberg worker`")]
pub enum Reply {
    /// Who is there.
    Hello {
        /// The version of the protocol.
        version: u32,
        /// The version of the program.
        program: String,
        /// The engine that the device `auto` means where nothing is measured: `gpu` or `cpu`.
        engine: String,
        /// The name of the GPU or of the processor.
        adapter: String,
        /// Bytes of the machine's memory that a trial may take.
        memory: u64,
    },
    /// A trial is ready.
    Init {
        /// What is trained.
        trainable: String,
        /// What `step` counts.
        unit: String,
        /// Those after which the trial ends by itself.
        units: u64,
        /// The engine that it runs on.
        engine: String,
        /// The name of the GPU or of the processor.
        adapter: String,
    },
    /// A trial went on.
    Step(Stepped),
    /// A trial is saved.
    Save {
        /// Units done.
        step: u64,
    },
    /// A trial goes on from what was saved.
    Load {
        /// Units done.
        step: u64,
    },
    /// Settings are changed.
    Set {},
    /// The worker ends.
    Close {},
    /// A request is being worked on; at least every 10 seconds.
    Progress {
        /// What was asked.
        verb: String,
        /// Parts of the present unit that are done.
        done: u64,
        /// All of its parts; 0 where they are not counted.
        total: u64,
        /// Seconds since the request.
        seconds: f64,
    },
    /// A request was not fulfilled.
    Error(Fault),
}

/// Where a trial has come to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Stepped {
    /// Units done so far.
    pub step: u64,
    /// The outer loss of the last unit; none where it diverged, which is to be read as ∞, or before the first.
    pub outer_loss: Option<f64>,
    /// The share of validation examples that the network told right that the trial has come to, of a tuning that of its
    /// best unit; none where they are not told by classes.
    pub accuracy: Option<f64>,
    /// Seconds that this step took.
    pub seconds: f64,
    /// The rate that a descent on the learning rate has come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Its factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Whether the trial has ended by itself.
    pub done: bool,
    /// `diverged` where the last unit did; where the trial is done, it has ended by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// What became of a request that was not fulfilled, for whoever decides whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// What was asked cannot be done, now or ever: a setting, a request, an order of requests.
    BadConfig,
    /// Data or a saved trial cannot be read, or a directory cannot be written to.
    Data,
    /// The device has not enough memory. The trial is gone.
    Oom,
    /// The device is gone, and the trial with it.
    DeviceLost,
    /// The training diverged: a result, and no error.
    Diverged,
    /// Another version of the protocol is spoken, or wrote what is to be loaded.
    Version,
}

impl Code {
    /// Whether the same may succeed in another process, or later.
    fn is_worth_a_retry(self) -> bool {
        matches!(self, Code::Oom | Code::DeviceLost)
    }
}

/// A request that was not fulfilled.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Fault {
    /// What kind of fault it is.
    pub code: Code,
    /// What was wrong, and how to mend it.
    pub message: String,
    /// Whether the same may succeed in another process, or later.
    pub retry: bool,
}

impl Fault {
    /// A fault of a kind.
    pub fn new(code: Code, message: impl ToString) -> Self {
        Fault { code, message: message.to_string(), retry: code.is_worth_a_retry() }
    }
}

impl From<TuneError> for Fault {
    fn from(error: TuneError) -> Self {
        let code = match &error {
            TuneError::Data(_) | TuneError::Observer(_) => Code::Data,
            TuneError::Solve(SolveError::Engine(error)) => of_engine(error),
            _ => Code::BadConfig,
        };
        Fault::new(code, error)
    }
}

impl From<CliError> for Fault {
    fn from(error: CliError) -> Self {
        let code = match &error {
            CliError::Data(_) => Code::Data,
            CliError::Memory(_) => Code::Oom,
            CliError::Engine(error) | CliError::Tune(TuneError::Solve(SolveError::Engine(error))) => of_engine(error),
            _ => Code::BadConfig,
        };
        let help = error.help().map_or_else(String::new, |help| format!("; {help}"));
        Fault::new(code, format!("{error}{help}"))
    }
}

fn of_engine(error: &EngineError) -> Code {
    match error {
        EngineError::OutOfMemory { .. } => Code::Oom,
        EngineError::DeviceLost { .. } => Code::DeviceLost,
        _ => Code::BadConfig,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_fail_are_worth_a_retry() {
        let lost = || EngineError::DeviceLost { reason: "a driver was reset".to_owned() };
        let full = || EngineError::OutOfMemory { what: "train_x".to_owned(), bytes: 2, limit: None };
        for (error, code) in [(&lost as &dyn Fn() -> EngineError, Code::DeviceLost), (&full, Code::Oom)] {
            let in_run = || TuneError::from(SolveError::from(error()));
            for fault in [Fault::from(in_run()), CliError::from(in_run()).into(), CliError::from(error()).into()] {
                assert_eq!((fault.code, fault.retry), (code, true));
            }
        }
        let refused = Fault::from(TuneError::Resume("other data".to_owned()));
        assert_eq!((refused.code, refused.retry), (Code::BadConfig, false));
    }
}
