//! Logistic regression on statistics of windows: what a network has to beat.

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::search::{Ground, Sampler, SearchJob};
use super::settings;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Loss, Memory, Problem, SessionData, Set, Targets};
use crate::data::har::statistics;
use crate::data::recordings::Mapping;
use crate::data::{Dataset, Split, SubjectSplit};
use crate::experiment::config::DataSource;
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::space::{Form, Space, Variables};
use crate::experiment::trainable::{Job, Trainable};
use crate::nn::{Layer, Model, optim};
use crate::rig::Compiled;

/// Softmax regression by momentum over 600 steps of 512 windows, with one of three penalties.
pub struct Statistics;

/// What it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the windows come from.
    pub data: DataSource,
    /// Who is validated and tested on.
    pub split: SubjectSplit,
    /// Of the batches.
    pub seed: u32,
}

impl Trainable for Statistics {
    fn name(&self) -> &'static str {
        "statistics"
    }

    fn about(&self) -> &'static str {
        "Logistic regression on 135 statistics of each window, its penalty chosen on the validation people."
    }

    fn unit(&self) -> &'static str {
        "training"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let Settings { data, split, seed } = settings::read(settings)?;
        let split = Split::by_people(&*library.windows(&data, &Mapping::default())?, &split)?;
        let parts = [&split.train, &split.validation, &split.test];
        let mut features = parts.map(statistics::features);
        statistics::standardize(&mut features);
        let labelled = |(x, windows): (Vec<f32>, &Dataset)| Set {
            x: x.into(),
            targets: Targets::Labels(windows.labels().to_vec()),
            count: windows.len(),
        };
        let sets: Vec<Set> = features.into_iter().zip(parts).map(labelled).collect();
        let [train, validation, test] = <[Set; 3]>::try_from(sets).unwrap_or_else(|_| unreachable!("three parts"));
        let outputs = split.train.about().outputs.len();
        let layer = Layer::Dense { name: "dense".into(), inputs: statistics::FEATURES, outputs, bias: true };
        let model = Model::new(vec![layer], &[statistics::FEATURES]).expect("one dense layer fits");
        let problem = Problem {
            batch: 512.min(train.count),
            l2: true,
            validation: validation.count,
            ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 600, train.count)
        };
        let initial = vec![0.0; problem.model.parameter_count()];
        let kept = |kind, value| Variables { kind, count: 1, from: value, to: value, form: Form::Itself, start: None };
        let penalties = [1e-4f64, 1e-2].map(f64::ln);
        let space = Space(vec![
            kept(Kind::Lr, 0.05f64.ln()),
            kept(Kind::Momentum, 0.9),
            Variables { from: penalties[0], to: penalties[1], ..kept(Kind::L2, 0.0) },
        ]);
        let ground = Ground {
            name: "UCI HAR, statistics of windows".to_owned(),
            data: SessionData::new(train, validation.clone(), initial, u64::from(seed)),
            sets: [validation, test],
            lambda: vec![0.0; problem.layout().len()],
            leader: None,
            price: 1.0,
            memory: Memory::StoreAll,
            problem,
            compiled: Compiled::default(),
        };
        Ok(Box::new(SearchJob::new(ground, space, Sampler::Grid, 3)?))
    }
}
