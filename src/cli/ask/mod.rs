//! `stackelberg ask`: a searcher for whoever runs the trials.

pub mod protocol;

use std::io::BufRead;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::searching::space::{self, Arm};
use stackelberg::experiment::trainables;
use stackelberg::search::{self, Ask, Decision, Event, History, METHODS, Method, Point, Searcher, Size, Space};

use self::protocol::{Begun, End, Reply, Request, Task, Told, Verdict};
use super::CliError;
use super::worker::protocol::{Code, Fault};

/// Search for another process, which runs the trials, by lines of JSON
///
/// Any searcher of `stackelberg search`, for an objective of one's own. Reads requests from standard input and writes replies
/// to standard output, one JSON object a line: `space` begins a study, `ask` says what is tried next, `tell` takes what came of
/// it, `close` ends. docs/ask.md has all of them with an example, `stackelberg schema` their schemas (`ask-request`,
/// `ask-reply`). Nothing is trained and nothing written here: the answers follow from the lines.
#[derive(clap::Args)]
pub struct Args {
    /// Talk over standard input and output
    #[arg(long = "stdio", required = true)]
    _stdio: bool,
}

pub fn run(_: &Args) -> Result<ExitCode, CliError> {
    let mut study = None;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let reply = Request::of(&line).and_then(|request| answer(&mut study, request)).unwrap_or_else(Reply::Error);
        super::print(&(json(&reply).to_string() + "\n"))?;
        if reply == (Reply::Close {}) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(study: &mut Option<Study>, request: Request) -> Result<Reply, Fault> {
    Ok(match request {
        Request::Space(begun) => {
            let begun = study.insert(Study::begin(begun)?);
            Reply::Space { space: json(&begun.space), steps: begun.size.most, least: begun.size.least }
        }
        Request::Ask {} => Reply::Ask(begun(study)?.ask()?),
        Request::Tell(told) => Reply::Tell(begun(study)?.tell(told)?),
        Request::Close {} => Reply::Close {},
    })
}

fn begun(study: &mut Option<Study>) -> Result<&mut Study, Fault> {
    study.as_mut().ok_or_else(|| bad("there is no study: `space` begins one"))
}

/// A study under way.
struct Study {
    space: Space,
    searcher: Box<dyn Searcher>,
    seed: u64,
    size: Size,
    history: History,
}

impl Study {
    fn begin(begun: Begun) -> Result<Self, Fault> {
        let space = searched(&begun)?;
        let Begun { method, seed, trials, steps, least, factor, .. } = begun;
        let method = Method::named(&method).ok_or_else(|| {
            let names: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
            bad(format!("no method is called `{method}`; there are {}", names.join(", ")))
        })?;
        if trials == 0 || steps == 0 || least == Some(0) || factor < 2 {
            return Err(bad("`trials`, `steps` and `least` are 1 or more, `factor` is 2 or more"));
        }
        let least = least.unwrap_or(steps.div_ceil(27)).min(steps);
        let size = Size { dimensions: space.len(), trials, least, most: steps, factor };
        Ok(Study { space, searcher: method.searcher(size), seed, size, history: History::default() })
    }

    fn ask(&mut self) -> Result<Task, Fault> {
        let trial = self.history.next();
        let ask = self.searcher.ask(&self.space, &self.history, self.seed, trial);
        let task = match &ask {
            Ask::Start { point, budget, .. } => Task::Start { trial, config: self.written(point), budget: *budget },
            Ask::Resume { trial, budget, decision } => {
                Task::Resume { trial: *trial, budget: *budget, decision: json(decision) }
            }
            Ask::Stop { trial, decision } => Task::Stop { trial: *trial, decision: json(decision) },
            Ask::Wait => Task::Wait {},
            Ask::Done => Task::Done {},
        };
        ask.event(trial).map_or(Ok(()), |event| self.record(event))?;
        Ok(task)
    }

    /// Whatever is refused is so before anything is recorded.
    fn tell(&mut self, told: Told) -> Result<Verdict, Fault> {
        let Told { trial, config, step, value, state } = told;
        match (self.history.trial(trial), &config) {
            (Some(_), None) => {}
            (Some(_), Some(_)) => return Err(bad(format!("trial {trial} has its values already; leave `config` out"))),
            (None, None) if state != Some(End::Failed) => {
                return Err(bad(format!("trial {trial} has not begun; `ask` begins it, or give its `config`")));
            }
            (None, _) => {
                // One that broke before it had values has none.
                let nowhere = Point(vec![None; self.space.len()]);
                let point = config.map_or(Ok(nowhere), |config| self.read(&config))?;
                let (budget, attributes) = (self.size.most, search::Attributes::new());
                self.record(Event::Started { trial, point, budget, attributes })?;
            }
        }
        let reports = step.is_some() || value.is_some();
        if reports {
            let (step, value) = (step.unwrap_or(self.size.most), value.unwrap_or(f64::NAN));
            self.record(Event::Reported { trial, step, value })?;
        }
        let score = self.history.trial(trial).map_or(f64::NAN, search::Trial::score);
        let (event, verdict) = match state {
            None if !reports => return Ok(Verdict::Continue {}),
            None => return self.judge(trial),
            Some(End::Complete) => (Event::Completed { trial }, Verdict::Complete {}),
            Some(End::Failed) => (Event::Failed { trial }, Verdict::Stop { decision: None }),
            Some(End::Pruned) => {
                let rung = self.history.trial(trial).map_or(0, search::Trial::step);
                let decision = Decision { rung, threshold: score, value: score };
                (Event::Pruned { trial, decision }, Verdict::Stop { decision: None })
            }
        };
        self.record(event)?;
        Ok(verdict)
    }

    /// What the searcher makes of a trial that has reported.
    fn judge(&mut self, trial: u64) -> Result<Verdict, Fault> {
        let judged = self.searcher.judge(&self.space, &self.history, self.seed, trial);
        let judged = match judged {
            // There is nothing left of it to take over.
            search::Verdict::Exploit { from, .. }
                if self.history.trial(from).is_none_or(search::Trial::has_diverged) =>
            {
                search::Verdict::Continue
            }
            judged => judged,
        };
        let verdict = match &judged {
            search::Verdict::Continue => Verdict::Continue {},
            search::Verdict::Pause => Verdict::Pause {},
            search::Verdict::Complete => Verdict::Complete {},
            search::Verdict::Stop(decision) => Verdict::Stop { decision: Some(json(decision)) },
            search::Verdict::Exploit { from, point } => Verdict::Exploit { from: *from, config: self.written(point) },
        };
        judged.event(&self.history, trial).map_or(Ok(()), |event| self.record(event))?;
        Ok(verdict)
    }

    fn record(&mut self, event: Event) -> Result<(), Fault> {
        self.history.record(event).map_err(|error| bad(format!("trial {} {}", error.trial, error.problem)))
    }

    /// The values of a point by names.
    fn written(&self, point: &Point) -> Value {
        json(&self.space.written(point))
    }

    /// The point of values by names.
    fn read(&self, config: &Map<String, Value>) -> Result<Point, Fault> {
        let mut point = vec![];
        for (j, dimension) in self.space.dimensions().iter().enumerate() {
            let name = &dimension.name;
            let value = match config.get(name) {
                _ if !self.space.counts(j, &point) => None,
                None => return Err(bad(format!("`config` has no `{name}`, which the space has"))),
                Some(value) => {
                    let read = serde_json::from_value(value.clone()).ok();
                    let read = read.and_then(|value| dimension.domain.read(&value));
                    Some(read.ok_or_else(|| bad(format!("`{name}` is {value}, which the space does not have")))?)
                }
            };
            point.push(value);
        }
        Ok(Point(point))
    }
}

/// The space that is given, or that of what trials do.
fn searched(begun: &Begun) -> Result<Space, Fault> {
    let given = match &begun.space {
        None => None,
        Some(Value::String(text)) => Some(Space::from_toml(text).map_err(bad)?),
        Some(object) => Some(serde_json::from_value(object.clone()).map_err(bad)?),
    };
    let Some(name) = &begun.trainable else {
        return given.ok_or_else(|| bad("there is nothing to search; give a `space`, or a `trainable` that has one"));
    };
    let config = TuneConfig::from_json(&Value::Object(begun.config.clone())).map_err(bad)?;
    let usual = trainables::find(name).and_then(|row| row.space(&config));
    let usual =
        usual.ok_or_else(|| bad(format!("`{name}` says nothing of what can be searched; tune and train do")))?;
    let arm = Arm { hypergradients: name == "tune", ..Arm::default() };
    space::arranged(&given.unwrap_or(usual), arm).map_err(bad)
}

fn bad(what: impl ToString) -> Fault {
    Fault::new(Code::BadConfig, what)
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain values")
}
