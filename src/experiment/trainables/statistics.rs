//! Logistic regression on statistics of windows: what a network has to beat.

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::search::{Ground, Sampler, SearchJob};
use super::settings;
use crate::bilevel::Memory;
use crate::bilevel::hyperparameters::Kind;
use crate::data::recordings::Mapping;
use crate::data::{Split, SubjectSplit};
use crate::experiment::config::{ConfigError, DataSource};
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::regression::Regression;
use crate::experiment::space::{Form, Space, Variables};
use crate::experiment::trainable::{Job, Trainable};
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
        let Some(Regression { problem, data, sets }) = Regression::new(&split, seed) else {
            let message = "its windows have not the shape of UCI HAR, which the statistics are made for".to_owned();
            return Err(ConfigError::Setting { field: "data".to_owned(), message }.into());
        };
        let kept = |kind, value| Variables { kind, count: 1, from: value, to: value, form: Form::Itself, start: None };
        let penalties = Regression::PENALTIES.map(f64::ln);
        let space = Space(vec![
            kept(Kind::Lr, Regression::RATE.ln()),
            kept(Kind::Momentum, Regression::MOMENTUM),
            Variables { from: penalties[0], to: penalties[1], ..kept(Kind::L2, 0.0) },
        ]);
        let ground = Ground {
            name: "UCI HAR, statistics of windows".to_owned(),
            data,
            sets,
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
