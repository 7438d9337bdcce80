//! Few-shot learning: what tasks of few examples share, learned across many of them.

mod method;
mod task;

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::method::{Following, Method};
pub use self::task::Task;
use self::task::{Ground, Sizes};
use super::settings;
use crate::bilevel::Pace;
use crate::bilevel::meta::{Learner, Saved, Session, Shape, Teaching};
use crate::experiment::archive;
use crate::experiment::config::ConfigError;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::record::{Ending, Named};
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{self, ByUnits, Report, Training};
use crate::rig::{Compiled, Device, Progress, Unattended};

/// Learns across tasks, and is judged by tasks of classes or people that it never saw.
pub struct FewShot;

/// What such a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What tasks are made of.
    pub task: Task,
    /// What is learned across them.
    pub method: Method,
    /// Classes of a task; all where it is of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ways: Option<usize>,
    /// Support examples of a class.
    pub shots: usize,
    /// Query examples of a class.
    pub queries: usize,
    /// Classes of the tasks that are learned from, where they are to have more than those it is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_ways: Option<usize>,
    /// Filters of each convolution.
    pub filters: usize,
    /// Tasks of a step.
    pub tasks: usize,
    /// Steps, a multiple of `every`.
    pub steps: u32,
    /// Steps from one judgement on validation tasks to the next.
    pub every: u32,
    /// Learning rate of what is shared.
    pub rate: f64,
    /// Test tasks that it is judged by.
    pub episodes: usize,
    /// Of the first weights and of all tasks.
    pub seed: u32,
}

/// Validation tasks of a judgement on the way.
const VALIDATED: usize = 100;

impl Settings {
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field: &str, message: &str| {
            Err(ConfigError::Setting { field: field.to_owned(), message: message.to_owned() })
        };
        let counts = [
            ("shots", self.shots),
            ("queries", self.queries),
            ("filters", self.filters),
            ("tasks", self.tasks),
            ("steps", self.steps as usize),
            ("every", self.every as usize),
            ("episodes", self.episodes),
        ];
        if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return wrong(field, "must be at least 1");
        }
        if !self.steps.is_multiple_of(self.every) {
            return wrong("steps", &format!("must be a multiple of `every`, {}", self.every));
        }
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return wrong("rate", "must be above 0");
        }
        self.method.check()
    }

    fn teaching(&self, ways: usize) -> Teaching {
        let judged = Shape { ways, shots: self.shots, queries: self.queries };
        let shape = Shape { ways: self.training_ways.unwrap_or(ways), ..judged };
        let decay = self.method.decay();
        Teaching {
            shape,
            judged,
            tasks: self.tasks,
            optimizer: self.method.outer(),
            rate: self.rate,
            decay,
            steps: self.steps as usize,
        }
    }
}

impl Trainable for FewShot {
    fn name(&self) -> &'static str {
        "few-shot"
    }

    fn about(&self) -> &'static str {
        "Learns what tasks of few examples share (MAML, hyper-representation, prototypical networks and others), and is judged \
         by tasks of classes or people that it never saw."
    }

    fn unit(&self) -> &'static str {
        "as many steps as lie between two judgements"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = settings::read(settings)?;
        settings.check()?;
        let Settings { ways, training_ways, shots, queries, .. } = settings;
        let sizes = Sizes { ways, training_ways, shots, queries };
        let ground = settings.task.ground(sizes, settings.method.takes_statistics(), library)?;
        let ways = ground.ways;
        if settings.training_ways.is_some_and(|training| training != ways) && settings.method.has_fixed_ways() {
            let message =
                "this method scores as many classes as it has learned to, so tasks have the same number".to_owned();
            return Err(ConfigError::Setting { field: "training_ways".to_owned(), message }.into());
        }
        let shape = settings.teaching(ways).judged;
        let learner = settings.method.learner(&ground.input, settings.filters, shape, ground.training_cells())?;
        Ok(Box::new(FewShotJob(Rc::new(Trial { settings, ground, learner, compiled: Compiled::default() }))))
    }
}

/// A trial made ready.
struct Trial {
    settings: Settings,
    ground: Ground,
    learner: Rc<dyn Learner>,
    compiled: Compiled,
}

impl Trial {
    fn units(&self) -> u64 {
        u64::from(self.settings.steps / self.settings.every)
    }

    async fn session(&self, device: &Device) -> Result<Session, TuneError> {
        let teaching = self.settings.teaching(self.ground.ways);
        let pools = self.ground.pools();
        let input = &self.ground.input;
        let mut session = Session::open(device, self.learner.clone(), teaching, input, pools, &self.compiled).await?;
        session.begin(u64::from(self.settings.seed))?;
        Ok(session)
    }
}

struct FewShotJob(Rc<Trial>);

#[async_trait(?Send)]
impl Job for FewShotJob {
    fn problem(&self) -> String {
        let Settings { method, filters, tasks, shots, queries, .. } = &self.0.settings;
        let (name, ways) = (self.0.ground.name, self.0.ground.ways);
        format!("{name}, {method:?}, {ways} ways, {shots} shots, {queries} queries, {tasks} tasks, {filters} filters")
    }

    fn units(&self) -> u64 {
        self.0.units()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        let mut session = self.0.session(device).await?;
        let tasks = self.0.settings.tasks;
        let (begun, mut least) = (web_time::Instant::now(), [f64::INFINITY; 2]);
        while least[0].is_infinite() || begun.elapsed().as_secs_f64() < 0.7 * seconds {
            let start = web_time::Instant::now();
            session.run(1, &mut Progress::default(), &mut Unattended).await?;
            least[0] = least[0].min(start.elapsed().as_secs_f64());
            let start = web_time::Instant::now();
            session.validate(tasks, &mut Unattended).await?;
            least[1] = least[1].min(start.elapsed().as_secs_f64());
        }
        let [step, evaluation] = least;
        Ok(Pace { step, adjoint: step, outer: 0.0, evaluation })
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let Settings { steps, episodes, tasks, .. } = &self.0.settings;
        let rounds = self.units() * VALIDATED.div_ceil(*tasks) as u64 + episodes.div_ceil(*tasks) as u64;
        Ok(f64::from(*steps) * pace.step + rounds as f64 * pace.evaluation)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let trial = self.0.clone();
        let session = trial.session(device).await?;
        let state = session.save().await?;
        Ok(Box::new(Running { trial, session, done: 0, points: vec![], state, diverged: false }))
    }
}

/// A judgement on validation tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    /// Steps before it.
    step: u32,
    /// Mean loss of the steps since the judgement before.
    training_loss: f64,
    validation_loss: f64,
    validation_accuracy: f64,
}

/// One under way.
struct Running {
    trial: Rc<Trial>,
    session: Session,
    /// Units behind it.
    done: u64,
    points: Vec<Point>,
    /// The end of the last unit.
    state: Saved,
    diverged: bool,
}

/// What is kept of it.
#[derive(Serialize, Deserialize)]
struct Kept {
    settings: Settings,
    done: u64,
    points: Vec<Point>,
    state: Saved,
    diverged: bool,
}

#[async_trait(?Send)]
impl ByUnits for Running {
    fn report(&self) -> Report {
        let ending = match self.done {
            _ if self.diverged => Ending::Diverged,
            done if done == self.trial.units() => Ending::Finished,
            _ => Ending::Running,
        };
        let outer_loss = self.points.last().map(|point| point.validation_loss).filter(|loss| loss.is_finite());
        Report { done: self.done, outer_loss, ending }
    }

    /// The next steps, and a judgement.
    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let (all, every) = (self.trial.units() as f64, self.trial.settings.every as usize);
        let shares = [self.done, self.done + 1].map(|done| done as f64 / all);
        let mut watched = Watched::of(observer, self.done as u32 + 1, shares);
        let mut progress = Progress { done: 0, total: 2 * every as u64 };
        let ran = self.session.run(every, &mut progress, &mut watched).await;
        watched.settle(ran)?;
        let judged = self.session.validate(VALIDATED, &mut watched).await;
        let judged = watched.settle(judged)?;
        let history = self.session.history().await?;
        let last = &history[history.len() - every..];
        let training_loss = last.iter().map(|record| record.loss).sum::<f64>() / every as f64;
        if !(judged.loss.is_finite() && training_loss.is_finite()) {
            self.diverged = true;
            return Ok(());
        }
        let (validation_loss, validation_accuracy) = (judged.loss, judged.accuracy);
        self.points.push(Point { step: history.len() as u32, training_loss, validation_loss, validation_accuracy });
        self.state = self.session.save().await?;
        self.done += 1;
        Ok(())
    }

    fn take_back(&mut self) -> Result<(), TuneError> {
        self.session.load(&self.state)?;
        Ok(())
    }
}

#[async_trait(?Send)]
impl Training for Running {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The judgements, and on test tasks the mean accuracy with half of its 95 % interval.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics = Named::new();
        if self.diverged {
            return Ok(metrics);
        }
        let mut quiet = Watched::quiet(observer);
        let test = self.session.test(self.trial.settings.episodes, &mut quiet).await;
        let test = quiet.settle(test)?;
        for point in &self.points {
            let of = [
                ("training_loss", point.training_loss),
                ("validation_loss", point.validation_loss),
                ("validation_accuracy", point.validation_accuracy),
            ];
            for (name, value) in of {
                metrics.insert(format!("{name}.{:06}", point.step), value);
                metrics.insert(name.to_owned(), value);
            }
        }
        let found = [
            ("test_loss", test.loss),
            ("test_accuracy", test.accuracy),
            ("test_interval", test.interval),
            ("test_episodes", test.episodes as f64),
            ("gigaflops_a_step", self.session.flops() as f64 * 1e-9),
        ];
        metrics.extend(found.map(|(name, value)| (name.to_owned(), value)));
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        Ok(archive::pack_value(&Kept {
            settings: self.trial.settings.clone(),
            done: self.done,
            points: self.points.clone(),
            state: self.state.clone(),
            diverged: self.diverged,
        }))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let Kept { settings, done, points, state, diverged } =
            archive::unpack_value(saved).map_err(TuneError::Resume)?;
        if settings != self.trial.settings || done > self.trial.units() {
            return Err(TuneError::Resume("it was saved with other settings".to_owned()));
        }
        self.session.load(&state)?;
        (self.done, self.points, self.state, self.diverged) = (done, points, state, diverged);
        Ok(())
    }
}
