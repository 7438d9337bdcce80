//! The best of many trainings at points of a space.

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mislabelled::Mislabelled;
use crate::bilevel::outer::{OuterAdam, OuterOptimizer};
use crate::bilevel::{Memory, Method, Pace, Plain, Problem, Session, SessionData, Set};
use crate::experiment::archive;
use crate::experiment::config::{ConfigError, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::prepared::Prepared;
use crate::experiment::record::{Ending, Named};
use crate::experiment::scored::scored;
use crate::experiment::setup::outer_rate;
use crate::experiment::space::Space;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{Report, Training};
use crate::rig::{Compiled, Device};
use crate::rng::{Purpose, Stream};

/// Many trainings, one after another.
pub struct Search;

/// What a search is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is trained; what the space does not name keeps its start value.
    pub config: TuneConfig,
    /// What is looked through.
    pub space: Space,
    /// How points are chosen.
    pub sampler: Sampler,
    /// How often to train, at most.
    pub trainings: u32,
    /// What is done to the training labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mislabelled: Option<Mislabelled>,
}

/// How points of a space are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Evenly by chance, by one of the seed's streams of draws.
    Random {
        /// The number of the stream.
        stream: u32,
    },
    /// At even distances.
    Grid,
    /// By hypergradients, from the centre on.
    Hypergradients,
}

impl Trainable for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn about(&self) -> &'static str {
        "Trains at points of a space, drawn, on a grid or along hypergradients, and scores the best."
    }

    fn unit(&self) -> &'static str {
        "training"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = super::settings::read(settings)?;
        let Settings { config, space, sampler, trainings, mislabelled } = settings;
        let run = match &mislabelled {
            Some(mislabelled) => Prepared::new(&config, &mislabelled.of(&config, &*library.windows(&config.data)?)?.0)?,
            None => Prepared::of(&config, library.scaled(&config)?)?,
        };
        let split = &run.data.split;
        let ground = Ground {
            name: run.name(),
            data: run.session_data(),
            sets: [Set::from(&split.validation), Set::from(&split.test)],
            lambda: run.start.arrays(&run.problem),
            rates: space.kinds().map(|kind| outer_rate(&config, kind)).collect(),
            memory: Memory::Budget(config.memory_budget.0),
            problem: run.problem,
            compiled: run.compiled,
        };
        Ok(Box::new(SearchJob::new(ground, space, sampler, trainings)?))
    }
}

/// What is trained at every point.
pub(super) struct Ground {
    pub name: String,
    pub problem: Problem,
    pub data: SessionData,
    /// The validation and the test windows.
    pub sets: [Set; 2],
    /// The hyperparameter vector with all that is not searched.
    pub lambda: Vec<f64>,
    /// The outer optimiser's rate for each variable.
    pub rates: Vec<f64>,
    /// What hypergradients may take.
    pub memory: Memory,
    pub compiled: Compiled,
}

impl Ground {
    async fn session(&self, device: &Device, method: Box<dyn Method>) -> Result<Session, TuneError> {
        Ok(Session::with(device, self.problem.clone(), &self.data, method, &self.compiled).await?)
    }
}

/// A search made ready.
pub(super) struct SearchJob {
    ground: Rc<Ground>,
    space: Rc<Space>,
    sampler: Sampler,
    /// The points, where they are known before.
    grid: Vec<Vec<f64>>,
    trainings: u32,
}

impl SearchJob {
    pub fn new(ground: Ground, space: Space, sampler: Sampler, most: u32) -> Result<Self, ConfigError> {
        space.check()?;
        if most == 0 {
            let message = "a search takes at least 1".to_owned();
            return Err(ConfigError::Setting { field: "trainings".to_owned(), message });
        }
        let grid = if sampler == Sampler::Grid { space.grid(most) } else { vec![] };
        let trainings = if sampler == Sampler::Grid { grid.len() as u32 } else { most };
        Ok(SearchJob { ground: Rc::new(ground), space: Rc::new(space), sampler, grid, trainings })
    }
}

#[async_trait(?Send)]
impl Job for SearchJob {
    fn problem(&self) -> String {
        self.ground.name.clone()
    }

    fn units(&self) -> u64 {
        self.trainings.into()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        let mut session = self.ground.session(device, Memory::Slots(1).into()).await?;
        Ok(session.measure(&self.ground.lambda, seconds).await?)
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let each = match self.sampler {
            Sampler::Hypergradients => pace.step + pace.adjoint,
            Sampler::Random { .. } | Sampler::Grid => pace.step,
        };
        Ok(f64::from(self.trainings) * self.ground.problem.steps as f64 * each)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let method: Box<dyn Method> = match self.sampler {
            Sampler::Hypergradients => self.ground.memory.into(),
            Sampler::Random { .. } | Sampler::Grid => Plain.into(),
        };
        let session = self.ground.session(device, method).await?;
        let adam = OuterAdam::with_rates(self.ground.rates.clone());
        Ok(Box::new(Searching {
            session,
            ground: self.ground.clone(),
            space: self.space.clone(),
            sampler: self.sampler,
            grid: self.grid.clone(),
            trainings: self.trainings,
            state: State { done: 0, outer_loss: None, half_way: None, best: None, next: self.space.centre(), adam },
        }))
    }
}

/// A search under way.
struct Searching {
    session: Session,
    ground: Rc<Ground>,
    space: Rc<Space>,
    sampler: Sampler,
    grid: Vec<Vec<f64>>,
    trainings: u32,
    state: State,
}

/// What a search remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    done: u32,
    /// Of the last training.
    outer_loss: Option<f64>,
    /// The lowest outer loss when half of the trainings were done.
    half_way: Option<f64>,
    best: Option<Best>,
    /// Where hypergradients have led.
    next: Vec<f64>,
    adam: OuterAdam,
}

/// The lowest outer loss so far and where it was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Best {
    outer_loss: f64,
    point: Vec<f64>,
}

impl Searching {
    /// The point of the next training.
    fn point(&self) -> Vec<f64> {
        match self.sampler {
            Sampler::Random { stream } => {
                let mut stream = Stream::new(self.ground.data.seed, Purpose::Search, stream);
                (0..self.state.done).for_each(|_| _ = self.space.random(&mut stream));
                self.space.random(&mut stream)
            }
            Sampler::Grid => self.grid[self.state.done as usize].clone(),
            Sampler::Hypergradients => self.state.next.clone(),
        }
    }

    fn lambda(&self, point: &[f64]) -> Vec<f64> {
        self.space.lambda(&self.ground.problem, &self.ground.lambda, point)
    }

    async fn train(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let point = self.point();
        let lambda = self.lambda(&point);
        let mut watched = Watched::of(observer, self.state.done + 1);
        let estimate = match self.sampler {
            Sampler::Hypergradients => {
                let along = self.space.directions(&self.ground.problem, &point);
                self.session.estimate(&lambda, &along, &mut watched).await
            }
            Sampler::Random { .. } | Sampler::Grid => self.session.train(&lambda, &mut watched).await,
        };
        let estimate = watched.settle(estimate)?;
        let outer_loss = if estimate.bad_step.is_some() { f64::NAN } else { estimate.outer_loss };
        let state = &mut self.state;
        if outer_loss < state.best.as_ref().map_or(f64::INFINITY, |best| best.outer_loss) {
            state.best = Some(Best { outer_loss, point });
        }
        if self.sampler == Sampler::Hypergradients {
            state.adam.step(&mut state.next, outer_loss, &estimate.hypergradient);
        }
        state.done += 1;
        state.outer_loss = Some(outer_loss).filter(|loss| loss.is_finite());
        if state.done == self.trainings.div_ceil(2) {
            state.half_way = state.best.as_ref().map(|best| best.outer_loss);
        }
        Ok(())
    }

    fn report(&self, ending: Ending) -> Report {
        Report { done: self.state.done.into(), outer_loss: self.state.outer_loss, ending }
    }
}

#[async_trait(?Send)]
impl Training for Searching {
    /// Trainings. One that is stopped midway is run again.
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        let left = u64::from(self.trainings - self.state.done);
        for _ in 0..units.min(left) {
            match self.train(observer).await {
                Ok(()) => {}
                Err(error) if error.is_stop() => return Ok(self.report(Ending::Stopped)),
                Err(error) => return Err(error),
            }
        }
        Ok(self.report(if self.state.done == self.trainings { Ending::Finished } else { Ending::Running }))
    }

    /// The best point's network, trained again; nothing but the number of trainings where all of them diverged.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics = Named::from([("trainings".to_owned(), self.state.done.into())]);
        let Some(Best { outer_loss, point }) = self.state.best.clone() else { return Ok(metrics) };
        let lambda = self.lambda(&point);
        let mut quiet = Watched::quiet(observer);
        let trained = self.session.train(&lambda, &mut quiet).await;
        quiet.settle(trained)?;
        metrics.extend(scored(&mut self.session, &self.ground.sets, observer).await?);
        metrics.insert("outer_loss".to_owned(), outer_loss);
        metrics.extend(self.state.half_way.map(|loss| ("outer_loss_half_way".to_owned(), loss)));
        metrics.extend(self.space.named(&point));
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        Ok(archive::pack_value(&self.state))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let state: State = archive::unpack_value(saved).map_err(TuneError::Resume)?;
        if state.next.len() != self.state.next.len() || state.done > self.trainings {
            return Err(TuneError::Resume("it was saved by another search".to_owned()));
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::hyperparameters::Kind;
    use crate::cpu::CpuEngine;
    use crate::experiment::event::Nobody;
    use crate::experiment::space::{Form, Variables};

    fn settings(sampler: Sampler) -> Value {
        let of = |kind, [from, to]: [f64; 2], form| Variables { kind, count: 1, from, to, form };
        let settings = Settings {
            config: TuneConfig { steps: 3, batch: 4, validation_windows: 8, ..TuneConfig::quick() },
            space: Space(vec![
                of(Kind::Lr, [-9.0, -3.0], Form::Itself),
                of(Kind::Momentum, [-2.0, 2.0], Form::Logistic),
            ]),
            sampler,
            trainings: 4,
            mislabelled: None,
        };
        serde_json::to_value(settings).unwrap()
    }

    /// Whatever chooses the points, a search that was saved midway ends where it would have ended.
    #[test]
    fn a_search_goes_on_where_it_was_saved() {
        let library = Library::new("no such directory".into());
        let device = Device::new(CpuEngine::new(1));
        for sampler in [Sampler::Random { stream: 0 }, Sampler::Grid, Sampler::Hypergradients] {
            let job = Search.job(&settings(sampler), &library).unwrap();
            pollster::block_on(async {
                let mut whole = job.open(&device).await.unwrap();
                let end = whole.advance(u64::MAX, &mut Nobody).await.unwrap();
                assert_eq!((end.done, end.ending), (4, Ending::Finished));
                let mut first = job.open(&device).await.unwrap();
                assert_eq!(first.advance(2, &mut Nobody).await.unwrap().ending, Ending::Running);
                let saved = first.save().await.unwrap();
                let mut second = job.open(&device).await.unwrap();
                second.load(&saved).await.unwrap();
                assert_eq!(second.advance(9, &mut Nobody).await.unwrap(), end);
                assert_eq!(second.save().await.unwrap(), whole.save().await.unwrap());
                let scores = whole.score(&mut Nobody).await.unwrap();
                assert_eq!(second.score(&mut Nobody).await.unwrap(), scores);
                assert!(scores.contains_key("test_loss") && scores["trainings"] == 4.0, "{scores:?}");
                assert!(scores["outer_loss"] <= scores["outer_loss_half_way"]);
                assert!(second.set(&serde_json::json!({ "learning_rate": 0.1 })).is_err());
            });
        }
    }
}
