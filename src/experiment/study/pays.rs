//! From how many hyperparameters on do hypergradients pay?
//!
//! Every variable has a range in its unconstrained form. Random search draws from the box of these ranges, the
//! hypergradient starts from its centre, and both may spend the same number of gradients. A third of the people who
//! labelled the training windows were careless: beside learning rate, momentum and penalties, a weight for each of
//! them is to be found. The more of them, the fewer windows each has labelled.

use async_trait::async_trait;

use super::har::{self, sets, train_and_score, trainings_of_equal_cost};
use super::{Budget, Library, Study, Trial, Work};
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::outer::{OuterAdam, OuterOptimizer};
use crate::bilevel::{Directions, Memory, Pace, Problem, Session, Transform};
use crate::data::{DataError, Split};
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::predict;
use crate::experiment::record::Named;
use crate::experiment::setup::{outer_rate, outer_windows, problem, scaled, session_data};
use crate::experiment::tune::{Observer, Watched};
use crate::rig::Device;
use crate::rng::{Purpose, Stream};

pub const STUDY: Study = Study {
    name: "where-it-pays",
    question: "From how many hyperparameters on do hypergradients find a lower validation loss than random search, at equal gradient evaluations?",
    source: "our own; example weights by annotator on mislabelled windows",
    data: har::DATA,
    trials,
    along: "hyperparameters",
    apart: &[],
    charts: &["outer_loss", "outer_loss_half_way", "test_accuracy"],
};

/// Learning rate, momentum, and a penalty for each of four layers; what is beyond are weights of annotators.
const SCALARS: usize = 6;
/// Share of the annotators who label at random.
const CARELESS: f64 = 1.0 / 3.0;

/// The ranges of the variables, in unconstrained form: log, logit, log, logit.
const LR: [f64; 2] = [-9.2, -1.2];
const MOMENTUM: [f64; 2] = [-2.2, 4.6];
const L2: [f64; 2] = [-13.8, -2.3];
const WEIGHT: [f64; 2] = [-4.0, 4.0];

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, counts, seeds): (_, &[usize], u32) = match budget {
        Budget::Quick => (TuneConfig { outer: 5, steps: 60, ..TuneConfig::quick() }, &[1, 6, 50], 1),
        Budget::Desktop => (TuneConfig::default(), &[1, 3, 6, 50, 500, 5000], 3),
        Budget::Full => (TuneConfig { outer: 40, ..TuneConfig::default() }, &[1, 3, 6, 50, 500, 5000], 10),
    };
    let mut trials = vec![];
    for seed in 0..seeds {
        for &count in counts {
            for (method, random) in [("hypergradients", false), ("random search", true)] {
                // The weights are in the problem whether they are tuned or not, so that all cost the same.
                let hyperparameters = vec![Kind::Lr, Kind::Momentum, Kind::L2, Kind::ExampleWeights];
                let config = TuneConfig { seed, hyperparameters, ..base.clone() };
                let labels = [("hyperparameters", &*count.to_string()), ("method", method)];
                trials.push(Trial::new(&labels, seed, Pays { count, random, config }));
            }
        }
    }
    trials
}

struct Pays {
    /// Hyperparameters.
    count: usize,
    random: bool,
    config: TuneConfig,
}

/// Something to be found: where it stands in the hyperparameter vector, and between which ends it lies.
struct Variable {
    places: Vec<usize>,
    ends: [f64; 2],
    /// Whether the vector holds its logistic and not itself.
    logistic: bool,
    /// How far the outer optimiser moves it in an iteration at first.
    rate: f64,
}

/// What is to be found, and the hyperparameter vector before it is.
struct Space {
    variables: Vec<Variable>,
    fixed: Vec<f64>,
}

impl Variable {
    fn centre(&self) -> f64 {
        0.5 * (self.ends[0] + self.ends[1])
    }

    /// What the hyperparameter vector holds for an unconstrained value, and its derivative.
    fn held(&self, u: f64) -> [f64; 2] {
        if !self.logistic {
            return [u, 1.0];
        }
        let value = Transform::UNIT.constrain(u);
        [value, value * (1.0 - value)]
    }
}

impl Space {
    /// Of so many hyperparameters, beside which all others stay at their centre; windows count in full where
    /// annotators have no weight.
    fn new(problem: &Problem, config: &TuneConfig, count: usize) -> Self {
        let layout = problem.layout();
        let scalar = |places: Vec<usize>, ends, logistic| Variable {
            places,
            ends,
            logistic,
            rate: outer_rate(config, Kind::Lr),
        };
        let penalties: Vec<Variable> = if count < SCALARS {
            vec![scalar(layout.l2_log.collect(), L2, false)]
        } else {
            layout.l2_log.map(|at| scalar(vec![at], L2, false)).collect()
        };
        let mut variables =
            vec![scalar(layout.log_lr.collect(), LR, false), scalar(layout.scalars.collect(), MOMENTUM, true)];
        variables.extend(penalties);
        let mut fixed = vec![1.0; layout.weights.end];
        for variable in &variables {
            variable.places.iter().for_each(|&at| fixed[at] = variable.held(variable.centre())[0]);
        }
        let annotators = count.saturating_sub(SCALARS);
        variables.extend((0..annotators).map(|who| Variable {
            places: layout.weights.clone().skip(who).step_by(annotators).collect(),
            ends: WEIGHT,
            logistic: true,
            rate: outer_rate(config, Kind::ExampleWeights),
        }));
        variables.truncate(count);
        Space { variables, fixed }
    }

    fn centre(&self) -> Vec<f64> {
        self.variables.iter().map(Variable::centre).collect()
    }

    fn random(&self, stream: &mut Stream) -> Vec<f64> {
        let draw = |v: &Variable| v.ends[0] + (v.ends[1] - v.ends[0]) * stream.uniform();
        self.variables.iter().map(draw).collect()
    }

    fn lambda(&self, point: &[f64]) -> Vec<f64> {
        let mut lambda = self.fixed.clone();
        for (variable, &u) in self.variables.iter().zip(point) {
            variable.places.iter().for_each(|&at| lambda[at] = variable.held(u)[0]);
        }
        lambda
    }

    fn directions(&self, problem: &Problem, point: &[f64]) -> Directions {
        let mut directions = Directions::new(problem);
        for (variable, &u) in self.variables.iter().zip(point) {
            let derivative = variable.held(u)[1];
            directions.push(variable.places.iter().map(|&at| (at, derivative)));
        }
        directions
    }
}

/// Gives the windows of careless annotators random other labels. Where annotators have no weight, each has labelled
/// one window.
fn mislabel(split: &mut Split, annotators: usize, seed: u32) -> Result<(), DataError> {
    let windows = split.train.len();
    let annotators = if annotators == 0 { windows } else { annotators.min(windows) };
    let mut stream = Stream::new(u64::from(seed), Purpose::Labels, 0);
    let careless: Vec<bool> = (0..annotators).map(|_| stream.uniform() < CARELESS).collect();
    let classes = split.train.about().outputs.len();
    let mut labels = split.train.labels().to_vec();
    for (at, label) in labels.iter_mut().enumerate() {
        if careless[at % annotators] {
            *label = stream.other_label(*label, classes);
        }
    }
    split.train = split.train.clone().with_labels(labels)?;
    Ok(())
}

/// The lowest outer loss so far and where it was found.
struct Best {
    loss: f64,
    point: Vec<f64>,
}

impl Best {
    fn see(&mut self, loss: f64, point: &[f64]) {
        if loss < self.loss {
            *self = Best { loss, point: point.to_vec() };
        }
    }
}

#[async_trait(?Send)]
impl Work for Pays {
    fn load(&self, library: &Library) -> Result<(), TuneError> {
        self.config.check()?;
        library.windows(&self.config.data)?;
        Ok(())
    }

    fn problem(&self) -> String {
        "UCI HAR, narrow network with example weights".to_owned()
    }

    async fn measure(&self, device: &Device, library: &Library, seconds: f64) -> Result<Pace, TuneError> {
        let source = library.windows(&self.config.data)?;
        predict::measure(device, &self.config, &source, seconds).await
    }

    fn seconds(&self, pace: &Pace, _library: &Library) -> Result<f64, TuneError> {
        let config = &self.config;
        let steps = f64::from(config.steps);
        Ok(match self.random {
            true => f64::from(trainings_of_equal_cost(config)) * steps * pace.step,
            false => f64::from(config.outer) * steps * (pace.step + pace.adjoint),
        })
    }

    async fn run(&self, device: &Device, library: &Library, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let Pays { count, random, config } = self;
        let (mut split, _) = scaled(config, &*library.windows(&config.data)?)?;
        mislabel(&mut split, count.saturating_sub(SCALARS), config.seed)?;
        let problem = problem(config, &split.sizes())?;
        let space = Space::new(&problem, config, *count);
        let data = session_data(config, &problem, &split, &outer_windows(&split.validation, config));
        let memory = Memory::Budget(config.memory_budget.0);
        let mut session = Session::new(device, problem.clone(), &data, memory).await?;
        let mut best = Best { loss: f64::INFINITY, point: space.centre() };
        let mut metrics = Named::new();
        let tries = if *random { trainings_of_equal_cost(config) } else { config.outer };
        let mut stream = Stream::new(u64::from(config.seed), Purpose::Search, 1);
        let mut adam = OuterAdam::with_rates(space.variables.iter().map(|v| v.rate).collect());
        let mut point = space.centre();
        for k in 1..=tries {
            let mut host = Watched::quiet(observer);
            if *random {
                point = space.random(&mut stream);
                let estimate = session.train(&space.lambda(&point), &mut host).await;
                let estimate = host.settle(estimate)?;
                if estimate.bad_step.is_none() {
                    best.see(estimate.outer_loss, &point);
                }
            } else {
                let along = space.directions(&problem, &point);
                let estimate = session.estimate(&space.lambda(&point), &along, &mut host).await;
                let estimate = host.settle(estimate)?;
                let loss = if estimate.bad_step.is_some() { f64::NAN } else { estimate.outer_loss };
                best.see(loss, &point);
                adam.step(&mut point, loss, &estimate.hypergradient);
            }
            if k == tries.div_ceil(2) {
                metrics.insert("outer_loss_half_way".to_owned(), best.loss);
            }
        }
        metrics.extend(train_and_score(&mut session, &space.lambda(&best.point), &sets(&split), observer).await?);
        metrics.insert("outer_loss".to_owned(), best.loss);
        metrics.retain(|_, value| value.is_finite());
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::builtin;
    use crate::experiment::setup::with_training;

    #[test]
    fn a_space_has_as_many_variables_as_it_says_and_knows_their_derivatives() {
        let config = TuneConfig { hyperparameters: vec![Kind::ExampleWeights], ..TuneConfig::quick() };
        let problem = problem(&config, &with_training(100)).unwrap();
        let layout = problem.layout();
        for count in [1, 3, 6, 50] {
            let space = Space::new(&problem, &config, count);
            assert_eq!(space.variables.len(), count);
            let (lambda, point) = (space.lambda(&space.centre()), space.centre());
            let along = space.directions(&problem, &point);
            assert_eq!((along.len(), lambda.len()), (count, layout.len()));
            // Every window belongs to one annotator, or counts in full.
            let expected = if count > SCALARS { 0.5 } else { 1.0 };
            assert!(lambda[layout.weights.clone()].iter().all(|&weight| weight == expected));
            for k in 0..count {
                let mut moved = point.clone();
                moved[k] += 1e-6;
                let moved = space.lambda(&moved);
                let mut derivative = vec![0.0; lambda.len()];
                for &(at, value) in along.entries(k) {
                    derivative[at] = value;
                }
                for at in 0..lambda.len() {
                    assert!(((moved[at] - lambda[at]) / 1e-6 - derivative[at]).abs() < 1e-5, "{count} {k} {at}");
                }
            }
        }
    }

    #[test]
    fn annotators_are_right_or_careless_throughout() {
        let source = builtin::subset().unwrap();
        let (split, _) = scaled(&TuneConfig::quick(), &source).unwrap();
        let mut spoilt = split.clone();
        mislabel(&mut spoilt, 30, 5).unwrap();
        let wrong: Vec<bool> = split.train.labels().iter().zip(spoilt.train.labels()).map(|(a, b)| a != b).collect();
        assert!((0..wrong.len()).all(|at| wrong[at] == wrong[at % 30]));
        let careless = wrong[..30].iter().filter(|&&w| w).count();
        assert!((4..=18).contains(&careless), "{careless} of 30");
        let mut each = split.clone();
        mislabel(&mut each, 0, 5).unwrap();
        let wrong = split.train.labels().iter().zip(each.train.labels()).filter(|(a, b)| a != b).count() as f64;
        assert!((wrong / split.train.len() as f64 - CARELESS).abs() < 0.04);
        assert_eq!((each.validation, each.test), (split.validation, split.test));
    }
}
