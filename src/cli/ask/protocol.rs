//! What a searcher and whoever runs the trials say to each other: JSON, one object a line. docs/ask.md tells it by example.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cli::worker::protocol::{Code, Fault};

/// What is asked of a searcher. Each request gets one reply.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(title = "A request to `stackelberg ask`")]
pub enum Request {
    /// Begins a study, in the place of the one there was.
    Space(Begun),
    /// What a free worker is to do.
    Ask {},
    /// What became of a trial.
    Tell(Told),
    /// Ends the process.
    Close {},
}

/// A study that begins.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// What is searched: the text of a TOML file, or the same as an object, `{"dimension": […]}`. May be left out where
    /// `trainable` is given.
    pub space: Option<Value>,
    /// What trials do, where that is in the registry: names are checked, and of `tune` only what is structural is searched.
    pub trainable: Option<String>,
    /// The settings of all trials, which a space that is left out has to suit.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The searcher by its name.
    #[serde(default = "tpe")]
    pub method: String,
    /// Of its draws.
    #[serde(default)]
    pub seed: u64,
    /// Whole trials that the study may cost, about.
    #[serde(default = "trials")]
    pub trials: u64,
    /// Steps of a whole trial; where it is 1, the searcher only chooses points.
    #[serde(default = "one")]
    pub steps: u64,
    /// Steps after which trials are compared first; a 27th of all, if it is left out.
    pub least: Option<u64>,
    /// How many times a rung is the one below.
    #[serde(default = "three")]
    pub factor: u64,
}

fn tpe() -> String {
    "tpe".to_owned()
}

fn trials() -> u64 {
    72
}

fn one() -> u64 {
    1
}

fn three() -> u64 {
    3
}

/// What became of a trial.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Its number.
    pub trial: u64,
    /// The values of one that was begun elsewhere, by names; its number is the next.
    pub config: Option<Map<String, Value>>,
    /// Steps that it has done; those of a whole trial, if only `value` is given.
    pub step: Option<u64>,
    /// Its value then, to be minimised; with a `step` and no value, or `null`, it is no finite number, and the worst.
    pub value: Option<f64>,
    /// How it ended, where that is not left to the searcher.
    pub state: Option<End>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has come to its end.
    Complete,
    /// It was stopped, since others did better.
    Pruned,
    /// It broke.
    Failed,
}

/// The verbs.
const VERBS: [&str; 4] = ["space", "ask", "tell", "close"];

impl Request {
    /// The request in a line.
    pub fn of(line: &str) -> Result<Self, Fault> {
        let bad = |what: String| Fault::new(Code::BadConfig, what);
        let value: Value =
            serde_json::from_str(line).map_err(|error| bad(format!("the line is no JSON object: {error}")))?;
        if !value.get("verb").and_then(Value::as_str).is_some_and(|verb| VERBS.contains(&verb)) {
            return Err(bad(format!("the line names no `verb`, which is one of {}", VERBS.join(", "))));
        }
        serde_json::from_value(value).map_err(|error| bad(error.to_string()))
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "reply", rename_all = "snake_case")]
#[schemars(title = "A line from `stackelberg ask`")]
pub enum Reply {
    /// A study has begun.
    Space {
        /// What is searched, with which dimensions are structural.
        space: Value,
        /// Steps of a whole trial.
        steps: u64,
        /// Steps after which a trial is to report, and again after as many.
        least: u64,
    },
    /// What a free worker is to do.
    Ask(Task),
    /// What becomes of the trial.
    Tell(Verdict),
    /// The process ends.
    Close {},
    /// A request was not fulfilled; nothing has changed.
    Error(Fault),
}

/// What a free worker is to do.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Task {
    /// Begin a trial.
    Start {
        /// Its number.
        trial: u64,
        /// Its values by names; those that do not count are left out.
        config: Value,
        /// Steps up to which it may train.
        budget: u64,
    },
    /// Go on with a trial that waits.
    Resume {
        /// Its number.
        trial: u64,
        /// Steps up to which it may train now.
        budget: u64,
        /// Why: rung, threshold and value.
        decision: Value,
    },
    /// Forget a trial that waits, and ask again.
    Stop {
        /// Its number.
        trial: u64,
        /// Why: rung, threshold and value.
        decision: Value,
    },
    /// Wait until a trial that runs has reported.
    Wait {},
    /// Nothing any more.
    Done {},
}

/// What becomes of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Verdict {
    /// It trains on.
    Continue {},
    /// It waits until `ask` says that it goes on.
    Pause {},
    /// It has come to its end.
    Complete {},
    /// It ends here.
    Stop {
        /// Why: rung, threshold and value; none where the request said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<Value>,
    },
    /// It takes over another one's training as that was after its last report, and goes on with other values.
    Exploit {
        /// The other trial.
        from: u64,
        /// Its values from there on, by names.
        config: Value,
    },
}
