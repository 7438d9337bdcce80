//! How far a network gets whose settings are tuned on a short training and kept for a long one.

use async_trait::async_trait;

use super::har::{self, HarTrial, Method, Mislabelled};
use super::{Budget, Library, Study, Trial, Work};
use crate::bilevel::hyperparameters::{Hyperparameters, Kind};
use crate::bilevel::{Memory, Pace, Problem, Session, SessionData, SolveError};
use crate::data::Sizes;
use crate::experiment::config::{Network, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::record::{Ending, Named, Score};
use crate::experiment::setup::{problem, scaled, set};
use crate::experiment::tune::{Observer, Tuner, Watched};
use crate::rig::Device;

pub const STUDY: Study = Study {
    name: "har-best",
    question: "Can a network with tuned settings and a long training pass the 94.5 % of a linear model on 135 statistics?",
    source: "HO for time-series CNNs; scikit-learn's logistic regression on window statistics",
    data: har::DATA,
    trials,
    along: "settings",
    apart: &[],
    charts: &["test_accuracy"],
};

/// A tuning on the training people, then a training from the start on these and the validation people
/// with what was found ([`prolonged`]).
struct Retrained {
    config: TuneConfig,
    steps: u32,
}

/// What is tuned, beside learning rate, momentum and a penalty for each layer.
const BESIDE: [(&str, &[Kind]); 4] = [
    ("tuned", &[]),
    ("tuned, with augmentation", &[Kind::Jitter, Kind::Scaling]),
    ("tuned, with augmentation and schedule", &[Kind::Jitter, Kind::Scaling, Kind::LrSchedule]),
    ("tuned, with augmentation and example weights", &[Kind::Jitter, Kind::Scaling, Kind::ExampleWeights]),
];

fn trials(budget: Budget) -> Vec<Trial> {
    let paper = TuneConfig { network: Network::PAPER, ..TuneConfig::default() };
    let (base, steps, seeds) = match budget {
        Budget::Quick => (TuneConfig { outer: 5, ..TuneConfig::quick() }, 200, 1),
        Budget::Desktop => (TuneConfig { steps: 100, outer: 15, ..paper }, 4000, 5),
        Budget::Full => (paper, 4000, 5),
    };
    let trial = |settings: &str, config: TuneConfig| {
        Trial::new(&[("settings", settings)], config.seed, Retrained { config, steps })
    };
    let start = (0..seeds).map(|seed| trial("start values", TuneConfig { seed, outer: 1, ..base.clone() }));
    let tuned = BESIDE.iter().flat_map(|&(settings, beside)| {
        let hyperparameters = [&*base.hyperparameters, beside].concat();
        let config = TuneConfig { hyperparameters, ..base.clone() };
        (0..seeds).map(move |seed| trial(settings, TuneConfig { seed, ..config.clone() }))
    });
    start.chain(tuned).collect()
}

impl Retrained {
    /// The tuning alone, as a trial.
    fn tuning(&self) -> HarTrial {
        HarTrial { method: Method::Tune, config: self.config.clone(), mislabelled: Mislabelled::None }
    }
}

/// What was found, kept for a longer training on more examples: a learning-rate schedule is stretched, or else the
/// rate falls along half a cosine; examples that have no weight get the mean one.
fn prolonged(point: Hyperparameters, problem: &Problem) -> Hyperparameters {
    let cosine = |progress: f64| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    let mut schedule: Vec<f64> = (0..SHAPE).map(|k| cosine((k as f64 + 0.5) / SHAPE as f64)).collect();
    let mut long = Hyperparameters::default();
    for group in &point.groups {
        let mut values: Vec<f64> = group.constrained().collect();
        match group.kind {
            Kind::LrSchedule => {
                schedule = values;
                continue;
            }
            Kind::ExampleWeights => {
                values.resize(problem.train, values.iter().sum::<f64>() / values.len() as f64);
            }
            _ => {}
        }
        long = long.with(group.kind, &values, false);
    }
    let stretched: Vec<f64> = (0..problem.steps).map(|step| schedule[step * schedule.len() / problem.steps]).collect();
    long.with(Kind::LrSchedule, &stretched, false)
}

/// Pieces of the cosine.
const SHAPE: usize = 1000;

#[async_trait(?Send)]
impl Work for Retrained {
    fn load(&self, library: &Library) -> Result<(), TuneError> {
        self.tuning().load(library)
    }

    fn problem(&self) -> String {
        self.tuning().problem()
    }

    async fn measure(&self, device: &Device, library: &Library, seconds: f64) -> Result<Pace, TuneError> {
        self.tuning().measure(device, library, seconds).await
    }

    fn seconds(&self, pace: &Pace, library: &Library) -> Result<f64, TuneError> {
        Ok(self.tuning().seconds(pace, library)? + f64::from(self.steps) * pace.step)
    }

    async fn run(&self, device: &Device, library: &Library, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let config = &self.config;
        let source = library.windows(&config.data)?;
        let mut tuner = Tuner::new(device, config, &source, None).await?;
        if tuner.run(observer).await? == Ending::Stopped {
            return Err(SolveError::Stopped.into());
        }
        let best = tuner.state().best.clone();
        drop(tuner);
        let Some(best) = best else { return Ok(Named::new()) };

        let (split, _) = scaled(config, &source)?;
        let train = split.train.joined(&split.validation)?;
        let long = TuneConfig { steps: self.steps, ..config.clone() };
        let problem = problem(&long, &Sizes { train: train.len(), ..split.sizes() })?;
        let point = prolonged(best.hyperparameters, &problem);
        let initial = problem.model.initial_parameters(u64::from(config.seed));
        let data = SessionData::new(set(&train), set(&split.validation), initial, u64::from(config.seed));
        let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
        let mut host = Watched::quiet(observer);
        let trained = session.train_at(&point, &mut host).await;
        let trained = host.settle(trained)?;
        let test = session.evaluate(&set(&split.test), &mut host).await;
        let score = Score::of(&host.settle(test)?);
        let mut metrics = Named::from([
            ("tuned_outer_loss".to_owned(), best.outer_loss),
            ("training_windows".to_owned(), train.len() as f64),
            ("inner_loss".to_owned(), trained.inner_losses.last().copied().unwrap_or(f64::NAN)),
        ]);
        metrics.extend(score.accuracy.map(|accuracy| ("test_accuracy".to_owned(), accuracy)));
        metrics.extend(score.loss.map(|loss| ("test_loss".to_owned(), loss)));
        metrics.retain(|_, value| value.is_finite());
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::setup::{start_values, with_training};

    #[test]
    fn the_rate_falls_from_what_was_found_to_nothing() {
        let config = TuneConfig { steps: 50, ..TuneConfig::default() };
        let problem = problem(&config, &with_training(100)).unwrap();
        let point = prolonged(start_values(&config, &problem), &problem);
        point.check(&problem).unwrap();
        assert!(point.variables().is_empty(), "nothing is tuned any more");
        let rates: Vec<f64> = point.arrays(&problem)[problem.layout().log_lr].iter().map(|l| l.exp()).collect();
        assert!((rates[0] / config.learning_rate - 1.0).abs() < 1e-2, "{}", rates[0]);
        assert!(rates.last().unwrap() / config.learning_rate < 1e-2);
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]));
    }

    #[test]
    fn a_schedule_is_stretched_and_new_windows_get_the_mean_weight() {
        let hyperparameters = vec![Kind::Lr, Kind::LrSchedule, Kind::ExampleWeights];
        let config = TuneConfig { steps: 2, hyperparameters, ..TuneConfig::default() };
        let found = Hyperparameters::default().with(Kind::LrSchedule, &[1.0, 3.0], true).with(
            Kind::ExampleWeights,
            &[0.2, 0.4],
            true,
        );
        let problem = problem(&TuneConfig { steps: 4, batch: 2, ..config }, &with_training(3)).unwrap();
        let values = |kind: Kind| -> Vec<f64> {
            let long = prolonged(found.clone(), &problem);
            long.values(kind).into_iter().map(|value| (value * 1e6).round() / 1e6).collect()
        };
        assert_eq!(values(Kind::LrSchedule), [1.0, 1.0, 3.0, 3.0]);
        assert_eq!(values(Kind::ExampleWeights), [0.2, 0.4, 0.3]);
    }
}
