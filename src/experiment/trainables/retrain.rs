//! A tuning on the training people, then a long training on these and the validation people with what was found.

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings;
use super::tune::TuneJob;
use crate::bilevel::hyperparameters::{Hyperparameters, Kind};
use crate::bilevel::{Decay, Plain, Problem, Session, SessionData};
use crate::data::Sizes;
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::prepared::Prepared;
use crate::experiment::record::{Named, Score};
use crate::experiment::setup::{problem, set};
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{Report, Training};
use crate::experiment::tune::Tuner;

/// Settings tuned on a short training and kept for a long one.
pub struct Retrain;

/// What such a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The tuning.
    pub config: TuneConfig,
    /// Steps of the long training.
    pub steps: u32,
}

impl Trainable for Retrain {
    fn name(&self) -> &'static str {
        "retrain"
    }

    fn about(&self) -> &'static str {
        "Tunes on a short training, and scores a long one with what was found, on the validation people as well."
    }

    fn unit(&self) -> &'static str {
        "outer iteration"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let Settings { config, steps } = settings::read(settings)?;
        let run = Rc::new(Prepared::of(&config, library.scaled(&config)?)?);
        let of = run.clone();
        let within = move |tuner: Tuner| -> Box<dyn Training> {
            Box::new(Retraining { tuner: tuner.with_fixed_draws(), run: of.clone(), steps })
        };
        Ok(Box::new(TuneJob::new(run, steps, within)?))
    }
}

struct Retraining {
    tuner: Tuner,
    run: Rc<Prepared>,
    steps: u32,
}

#[async_trait(?Send)]
impl Training for Retraining {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        self.tuner.advance(units, observer).await
    }

    /// The long training, from its start; nothing where the tuning has found nothing.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let Some(best) = self.tuner.state().best.clone() else { return Ok(Named::new()) };
        let (config, split) = (&self.run.config, &self.run.data.split);
        let train = split.train.joined(&split.validation)?;
        // What was found for a training as long is trained the same way, and a schedule that was found is stretched with the decay that it
        // was found with; else the rate falls all along.
        let scheduled = best.hyperparameters.groups.iter().any(|group| group.kind == Kind::LrSchedule);
        let same = scheduled || self.steps == config.steps;
        let decay = if same { config.decay } else { Decay::Cosine { share: 1.0 } };
        let long = TuneConfig { steps: self.steps, decay, ..config.clone() };
        let problem = problem(&long, &Sizes { train: train.len(), ..split.sizes() })?;
        let point = prolonged(best.hyperparameters, &problem);
        let initial = problem.model.initial_parameters(u64::from(config.seed));
        let data = SessionData::new(set(&train), set(&split.validation), initial, u64::from(config.seed));
        let mut session = Session::new(&self.tuner.session().device(), problem, &data, Plain).await?;
        let mut quiet = Watched::quiet(observer);
        let trained = session.train_at(&point, &mut quiet).await;
        let trained = quiet.settle(trained)?;
        let test = session.evaluate(&set(&split.test), &mut quiet).await;
        let score = Score::of(&quiet.settle(test)?);
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

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        self.tuner.save().await
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        self.tuner.load(saved).await
    }

    fn set(&mut self, values: &Value) -> Result<(), TuneError> {
        self.tuner.set(values)
    }
}

/// What was found, kept for a longer training on more examples: a learning-rate schedule is stretched, and examples that
/// have no weight get the mean one.
fn prolonged(point: Hyperparameters, problem: &Problem) -> Hyperparameters {
    let mut long = Hyperparameters::default();
    for group in &point.groups {
        let mut values: Vec<f64> = group.constrained().collect();
        match group.kind {
            Kind::LrSchedule => {
                values = (0..problem.steps).map(|step| values[step * values.len() / problem.steps]).collect();
            }
            Kind::ExampleWeights => {
                values.resize(problem.train, values.iter().sum::<f64>() / values.len() as f64);
            }
            _ => {}
        }
        long = long.with(group.kind, &values, false);
    }
    long
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::setup::with_training;

    #[test]
    fn a_schedule_is_stretched_and_new_windows_get_the_mean_weight() {
        let hyperparameters = vec![Kind::Lr, Kind::LrSchedule, Kind::ExampleWeights];
        let config = TuneConfig { steps: 2, hyperparameters, ..TuneConfig::default() };
        let found = Hyperparameters::default().with(Kind::LrSchedule, &[1.0, 3.0], true).with(
            Kind::ExampleWeights,
            &[0.2, 0.4],
            true,
        );
        let problem = problem(&TuneConfig { steps: 4, batch: Some(2), ..config }, &with_training(3)).unwrap();
        let values = |kind: Kind| -> Vec<f64> {
            let long = prolonged(found.clone(), &problem);
            long.values(kind).into_iter().map(|value| (value * 1e6).round() / 1e6).collect()
        };
        assert_eq!(values(Kind::LrSchedule), [1.0, 1.0, 3.0, 3.0]);
        assert_eq!(values(Kind::ExampleWeights), [0.2, 0.4, 0.3]);
    }
}
