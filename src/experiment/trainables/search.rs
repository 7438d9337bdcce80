//! The best of many trainings at points of a space.

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mislabelled::Mislabelled;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Memory, Method, Pace, Plain, Problem, Session, SessionData, Set};
use crate::experiment::archive;
use crate::experiment::config::{ConfigError, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::leader::Leader;
use crate::experiment::library::Library;
use crate::experiment::prepared::Prepared;
use crate::experiment::record::{Ending, Named};
use crate::experiment::scored::scored;
use crate::experiment::setup::{outer_rate, price};
use crate::experiment::space::Space;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{self, ByUnits, Report, Training};
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
    /// What it may cost, in trainings.
    pub trainings: u32,
    /// What is done to the training labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mislabelled: Option<Mislabelled>,
}

/// How points of a space are chosen after the first, which is the space's start.
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
    /// By the outer optimiser of the configuration.
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
        config.without_folds()?;
        let run = match &mislabelled {
            Some(mislabelled) => Prepared::new(
                &config,
                &mislabelled.of(&config, &*library.windows(&config.data, &config.mapping())?)?.0,
            )?,
            None => Prepared::of(&config, library.scaled(&config)?)?,
        };
        let split = &run.data.split;
        let ground = Ground {
            name: run.name(),
            data: run.session_data(),
            sets: [Set::from(&split.validation), Set::from(&split.test)],
            lambda: run.start.arrays(&run.problem),
            leader: (sampler == Sampler::Hypergradients).then(|| leader(&config, &space)),
            price: price(&config, &run.problem, &run.start),
            memory: Memory::Budget(config.memory_budget.0),
            problem: run.problem,
            compiled: run.compiled,
        };
        Ok(Box::new(SearchJob::new(ground, space, sampler, trainings)?))
    }
}

/// The outer optimiser that moves the variables of a space.
fn leader(config: &TuneConfig, space: &Space) -> Leader {
    let kinds: Vec<Kind> = space.kinds().collect();
    let variables = space.variables(|kind| outer_rate(config, kind));
    config.outer_method.of(&kinds).0.start(variables, u64::from(config.seed))
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
    /// The outer optimiser before its first step, where one chooses the points.
    pub leader: Option<Leader>,
    /// What a hypergradient costs, in trainings.
    pub price: f64,
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
        let grid = if sampler == Sampler::Grid { space.grid(most - 1) } else { vec![] };
        let trainings = if sampler == Sampler::Grid { grid.len() as u32 + 1 } else { most };
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
        Ok(f64::from(self.trainings) * self.ground.problem.steps as f64 * pace.step)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let method: Box<dyn Method> = match self.sampler {
            Sampler::Hypergradients => self.ground.memory.into(),
            Sampler::Random { .. } | Sampler::Grid => Plain.into(),
        };
        let session = self.ground.session(device, method).await?;
        let leader = self.ground.leader.clone();
        Ok(Box::new(Searching {
            session,
            ground: self.ground.clone(),
            space: self.space.clone(),
            sampler: self.sampler,
            grid: self.grid.clone(),
            trainings: self.trainings,
            state: State {
                done: 0,
                spent: 0.0,
                outer_loss: None,
                half_way: None,
                best: None,
                next: self.space.start(),
                leader,
            },
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
    /// Points.
    done: u32,
    /// What they cost, in trainings.
    spent: f64,
    /// Of the last training.
    outer_loss: Option<f64>,
    /// The lowest outer loss when half of the budget was spent.
    half_way: Option<f64>,
    best: Option<Best>,
    /// Where hypergradients have led.
    next: Vec<f64>,
    leader: Option<Leader>,
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
            Sampler::Random { .. } | Sampler::Grid if self.state.done == 0 => self.space.start(),
            Sampler::Random { stream } => {
                let mut stream = Stream::new(self.ground.data.seed, Purpose::Search, stream);
                (1..self.state.done).for_each(|_| _ = self.space.random(&mut stream));
                self.space.random(&mut stream)
            }
            Sampler::Grid => self.grid[self.state.done as usize - 1].clone(),
            Sampler::Hypergradients => self.state.next.clone(),
        }
    }

    fn lambda(&self, point: &[f64]) -> Vec<f64> {
        self.space.lambda(&self.ground.problem, &self.ground.lambda, point)
    }

    /// Whether the next point is asked for its hypergradient.
    fn differentiates(&self) -> bool {
        self.state.leader.as_ref().is_some_and(|leader| leader.differentiates())
    }

    /// What the next point costs, in trainings.
    fn cost(&self) -> f64 {
        if self.differentiates() { self.ground.price } else { 1.0 }
    }

    /// Whether the budget is spent; the first point is made in any case.
    fn is_over(&self) -> bool {
        self.state.done > 0 && self.state.spent + self.cost() > f64::from(self.trainings)
    }
}

#[async_trait(?Send)]
impl ByUnits for Searching {
    fn report(&self) -> Report {
        let ending = if self.is_over() { Ending::Finished } else { Ending::Running };
        Report { done: self.state.done.into(), outer_loss: self.state.outer_loss, ending }
    }

    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let point = self.point();
        let lambda = self.lambda(&point);
        let all = f64::from(self.trainings);
        let cost = self.cost();
        let shares = [self.state.spent / all, (self.state.spent + cost) / all];
        let mut watched = Watched::of(observer, self.state.done + 1, shares);
        let estimate = match self.differentiates() {
            true => {
                let along = self.space.directions(&self.ground.problem, &point);
                self.session.estimate(&lambda, &along, &mut watched).await
            }
            false => self.session.train(&lambda, &mut watched).await,
        };
        let estimate = watched.settle(estimate)?;
        let outer_loss = if estimate.bad_step.is_some() { f64::NAN } else { estimate.outer_loss };
        let state = &mut self.state;
        if outer_loss < state.best.as_ref().map_or(f64::INFINITY, |best| best.outer_loss) {
            state.best = Some(Best { outer_loss, point });
        }
        if let Some(leader) = &mut state.leader {
            leader.step(&mut state.next, outer_loss, &estimate.hypergradient);
        }
        state.done += 1;
        state.spent += cost;
        state.outer_loss = Some(outer_loss).filter(|loss| loss.is_finite());
        if 2.0 * state.spent <= all || state.half_way.is_none() {
            state.half_way = state.best.as_ref().map(|best| best.outer_loss);
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Training for Searching {
    /// Points. One that is stopped midway is run again.
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The best point's network, trained again; nothing but the number of points where all of them diverged.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics =
            Named::from([("points".to_owned(), self.state.done.into()), ("spent".to_owned(), self.state.spent)]);
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
        if state.next.len() != self.state.next.len() || state.spent > f64::from(self.trainings) {
            return Err(TuneError::Resume("it was saved by another search".to_owned()));
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuEngine;
    use crate::experiment::event::Nobody;
    use crate::experiment::space::{Form, Variables};

    fn settings(sampler: Sampler) -> Value {
        let of = |kind, [from, to]: [f64; 2], form| Variables { kind, count: 1, from, to, form, start: None };
        let settings = Settings {
            config: TuneConfig { steps: 3, batch: Some(4), validation_windows: 8, ..TuneConfig::quick() },
            space: Space(vec![
                of(Kind::Lr, [-9.0, -3.0], Form::Itself),
                of(Kind::Momentum, [-2.0, 2.0], Form::Logistic),
            ]),
            sampler,
            trainings: 7,
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
                let points = match sampler {
                    Sampler::Random { .. } => 7,
                    // The start and two by three.
                    Sampler::Grid => 7,
                    // A hypergradient costs 3.6 trainings.
                    Sampler::Hypergradients => 4,
                };
                assert_eq!((end.done, end.ending), (points, Ending::Finished));
                let mut first = job.open(&device).await.unwrap();
                assert_eq!(first.advance(2, &mut Nobody).await.unwrap().ending, Ending::Running);
                let saved = first.save().await.unwrap();
                let mut second = job.open(&device).await.unwrap();
                second.load(&saved).await.unwrap();
                assert_eq!(second.advance(9, &mut Nobody).await.unwrap(), end);
                assert_eq!(second.save().await.unwrap(), whole.save().await.unwrap());
                let scores = whole.score(&mut Nobody).await.unwrap();
                assert_eq!(second.score(&mut Nobody).await.unwrap(), scores);
                assert!(scores.contains_key("test_loss") && scores["points"] >= 1.0, "{scores:?}");
                assert!(scores["outer_loss"] <= scores["outer_loss_half_way"]);
                assert!(second.set(&serde_json::json!({ "learning_rate": 0.1 })).is_err());
            });
        }
    }
}
