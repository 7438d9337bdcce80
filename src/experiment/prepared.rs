//! A run before it has a device: divided, scaled and stated once, and compiled once, whoever asks for it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::config::{Budget, ConfigError, Network, TuneConfig};
use super::error::TuneError;
use super::folds::Folds;
use super::predict;
use super::record::{DataRecord, People};
use super::setup::{self, Scaled};
use crate::bilevel::hyperparameters::{Hyperparameters, Start};
use crate::bilevel::{Blueprint, Memory, Method, Pace, Problem, Session, SessionData, SolveError, Truncated};
use crate::data::Dataset;
use crate::rig::{Compiled, Device};

/// What a configuration and a data set come to. Sessions that are opened of it, on whatever devices and with whatever
/// methods, share its data and its programs.
pub struct Prepared {
    /// The settings, checked.
    pub config: TuneConfig,
    /// The data, divided and scaled.
    pub data: Rc<Scaled>,
    /// Who is trained and validated on where that changes from fold to fold.
    pub folds: Option<Folds>,
    /// Validation windows that the outer loss is taken on.
    outer: Dataset,
    /// Windows of validation people who are kept from it, to choose the iteration by.
    pub selection: Option<Dataset>,
    /// What is trained; of folds, each of them.
    pub problem: Problem,
    /// The hyperparameters that it starts from.
    pub start: Hyperparameters,
    /// Programs, as far as they were asked for.
    pub compiled: Compiled,
    blueprint: OnceCell<Blueprint>,
}

/// Settings in which a training has to agree with the one whose saved state it goes on from.
const COMMON: [&str; 6] = ["data", "split", "task", "network", "optimizer", "hyperparameters"];

impl Prepared {
    /// Checks the settings against data as they were read, divides and scales these, and states the problem.
    pub fn new(config: &TuneConfig, data: &Dataset) -> Result<Prepared, TuneError> {
        config.check()?;
        Self::of(config, Rc::new(Scaled::new(config, data)?))
    }

    /// The same of data that are divided and scaled already as the settings say.
    pub fn of(config: &TuneConfig, data: Rc<Scaled>) -> Result<Prepared, TuneError> {
        Self::with(config, data, Compiled::default())
    }

    /// The same with programs that are kept.
    pub fn with(config: &TuneConfig, data: Rc<Scaled>, compiled: Compiled) -> Result<Prepared, TuneError> {
        config.check()?;
        config.check_batch(data.split.train.len())?;
        let folds = config.folds.map(|folds| Folds::new(config, folds, &data.split)).transpose()?;
        let train = folds.as_ref().map_or(data.split.train.len(), Folds::training_windows);
        let config = &TuneConfig { batch: Some(config.batch_of(train)), ..config.clone() };
        let mut problem = match &folds {
            Some(folds) => folds.problem(config, &data.split.sizes())?,
            None => setup::problem(config, &data.split.sizes())?,
        };
        let start = setup::start_values(config, &problem);
        let (judging, selection) = setup::apart(config, &data.split.validation, start.variables().len())?;
        let outer = setup::outer_windows(&judging, config);
        if folds.is_none() {
            problem.validation = outer.len();
        }
        Ok(Prepared {
            config: config.clone(),
            data,
            folds,
            outer,
            selection,
            problem,
            start,
            compiled,
            blueprint: OnceCell::new(),
        })
    }

    /// The problem by name, as far as its pace depends on it.
    pub fn name(&self) -> String {
        let weighted = if self.problem.weights { " with example weights" } else { "" };
        let name = &self.data.split.train.about().name;
        match &self.config.network {
            network if *network == Network::NARROW => format!("{name}, narrow network{weighted}"),
            network if *network == Network::PAPER => format!("{name}, full network{weighted}"),
            other => format!("{name}, network {other}{weighted}"),
        }
    }

    /// The method of the settings. It refuses what it cannot see.
    pub fn method(&self) -> Result<Box<dyn Method>, TuneError> {
        setup::method(&self.config, &self.problem, &self.start)
    }

    /// What a tuning run would compute and hold, within its memory budget.
    pub fn blueprint(&self) -> Result<&Blueprint, TuneError> {
        if let Some(blueprint) = self.blueprint.get() {
            return Ok(blueprint);
        }
        let method = self.method()?;
        let blueprint = Blueprint::population(&self.problem, self.members(), &*method, &self.compiled)?
            .within(self.config.memory_budget.0)?;
        Ok(self.blueprint.get_or_init(|| blueprint))
    }

    /// A session with that method.
    pub async fn session(&self, device: &Device, method: impl Into<Box<dyn Method>>) -> Result<Session, SolveError> {
        match &self.folds {
            Some(folds) => folds.session(device, &self.config, &self.problem, method, &self.compiled).await,
            None => Session::with(device, self.problem.clone(), &self.session_data(), method, &self.compiled).await,
        }
    }

    /// Trainings at each point: one, or one a fold.
    pub fn members(&self) -> usize {
        self.config.folds.unwrap_or(1) as usize
    }

    /// What sessions are made of.
    pub fn session_data(&self) -> SessionData {
        setup::session_data(&self.config, &self.problem, &self.data.split, &self.outer)
    }

    /// Runs the parts of a run on a device within about so many seconds (a training step in any case), and leaves
    /// nothing on it but pipelines.
    pub async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        // The fewest states, so that no run's budget is exceeded: what is measured does not depend on how many are kept.
        let mut session = self.session(device, Truncated { last: 1, memory: Memory::StoreAll }).await?;
        Ok(session.measure(&self.start.arrays(&self.problem), seconds).await?)
    }

    /// Outer iterations of a whole tuning run at most.
    pub fn at_most(&self) -> u64 {
        let within = match self.config.budget {
            Budget::Trainings(trainings) => u64::from(trainings).div_ceil(self.members() as u64),
            Budget::Seconds(_) => u64::MAX,
        };
        self.config.outer.map_or(within, |outer| within.min(outer.into()))
    }

    /// Seconds of a whole tuning run at this pace.
    pub fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let plan = &self.blueprint()?.checkpoints;
        Ok(predict::seconds(pace, plan, &self.config, &self.data.split.sizes()))
    }

    /// What is learnt from.
    pub fn record(&self) -> DataRecord {
        let Scaled { split, fingerprint, .. } = &*self.data;
        let about = split.train.about();
        DataRecord {
            name: about.name.clone(),
            fingerprint: fingerprint.clone(),
            subset: about.subset,
            training_windows: split.train.len() as u64,
            validation_windows: split.validation.len() as u64,
            test_windows: split.test.len() as u64,
            outer_windows: self.problem.validation as u64,
            people: Some(People {
                training: split.train.present_people(),
                validation: split.validation.present_people(),
                test: split.test.present_people(),
            }),
        }
    }

    /// What a saved training says of whose it is: the data, and the settings in `COMMON`.
    pub fn common(&self) -> Value {
        let mut settings = self.config.to_json();
        if let Some(settings) = settings.as_object_mut() {
            settings.retain(|key, _| COMMON.contains(&key.as_str()));
        }
        settings["data"] = self.data.fingerprint.as_str().into();
        // Wherever the file with them lay.
        if let Some(layers) = settings["network"].get("layers").cloned() {
            settings["network"] = layers;
        }
        settings
    }

    /// Refuses to go on from what was saved by a training that has less in common with this one.
    pub fn check_common(&self, saved: &Value) -> Result<(), TuneError> {
        let own = self.common();
        match COMMON.into_iter().find(|&key| own[key] != saved[key]) {
            None => Ok(()),
            Some("data") => Err(TuneError::Resume("it was saved with other data".to_owned())),
            Some(key) => {
                let values = match (saved[key].as_str(), own[key].as_str()) {
                    (Some(saved), Some(own)) => format!(", {saved}; here it is {own}"),
                    // Lists are long.
                    _ => String::new(),
                };
                Err(TuneError::Resume(format!("it was saved with another `{key}`{values}")))
            }
        }
    }

    /// The point with other values of hyperparameters that it has, by the names of their settings.
    pub fn changed(&self, point: &Hyperparameters, values: &Value) -> Result<Hyperparameters, TuneError> {
        let refused = |field: &str, message: String| ConfigError::Setting { field: field.to_owned(), message };
        let Some(given) = values.as_object() else {
            return Err(refused("set", "it takes values by the names of settings".to_owned()).into());
        };
        let setting = |start: Start| match start {
            Start::Setting(key) | Start::SettingOr(key, _) => Some(key),
            Start::Value(_) | Start::Weights => None,
        };
        let open: BTreeSet<&str> = point.groups.iter().filter_map(|group| setting(group.kind.row().start)).collect();
        if let Some(key) = given.keys().find(|key| !open.contains(key.as_str())) {
            let open = open.into_iter().collect::<Vec<_>>().join(", ");
            return Err(refused(key, format!("it cannot change midway; what can is {open}")).into());
        }
        let mut settings = self.config.to_json();
        given.iter().for_each(|(key, value)| settings[key] = value.clone());
        let config = TuneConfig::from_json(&settings)?;
        config.check()?;
        let problem = setup::problem(&config, &self.data.split.sizes())?;
        let of_settings = setup::start_values(&config, &problem);
        let mut point = point.clone();
        for group in &mut point.groups {
            if setting(group.kind.row().start).is_some_and(|key| given.contains_key(key))
                && let Some(other) = of_settings.groups.iter().find(|other| other.kind == group.kind)
            {
                group.values.clone_from(&other.values);
            }
        }
        Ok(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::checkpoint::Plan;
    use crate::bilevel::hyperparameters::Kind;
    use crate::cpu::CpuEngine;
    use crate::data::har::builtin;
    use crate::experiment::config::Bytes;
    use crate::reference::ReferenceEngine;

    #[test]
    fn measuring_gives_times_and_leaves_no_arrays() {
        let source = builtin::subset().unwrap();
        let config = TuneConfig { batch: Some(4), validation_windows: 8, dropout: Some(0.0), ..TuneConfig::default() };
        let prepared = Prepared::new(&config, &source).unwrap();
        let device = Device::new(ReferenceEngine::new());
        let measured = |seconds| pollster::block_on(prepared.measure(&device, seconds)).unwrap();
        let Pace { step, adjoint, outer, evaluation } = measured(1.0);
        assert!([step, adjoint, outer, evaluation].iter().all(|&seconds| seconds > 0.0));
        // No time at all is enough for one step.
        let hasty = measured(0.0);
        assert_eq!(hasty.adjoint, 2.6 * hasty.step);
        let counters = device.counters();
        assert!(counters.bytes < counters.peak_bytes);
    }

    /// What `--device auto` does: it measures on one engine after another, tells how long the run will take, and opens it
    /// on the faster one.
    #[test]
    fn a_run_is_compiled_once_for_all_devices() {
        let source = builtin::subset().unwrap();
        let config = TuneConfig { batch: Some(4), validation_windows: 8, steps: 2, ..TuneConfig::default() };
        let prepared = Prepared::new(&config, &source).unwrap();
        for device in [Device::new(CpuEngine::new(1)), Device::new(ReferenceEngine::new())] {
            let pace = pollster::block_on(prepared.measure(&device, 0.4)).unwrap();
            prepared.seconds(&pace).unwrap();
            let method = prepared.method().unwrap();
            pollster::block_on(prepared.session(&device, method)).unwrap();
        }
        let mut names = prepared.compiled.names();
        names.sort_unstable();
        let all = ["begin", "evaluation", "linearize", "outer_gradient", "pullback"];
        assert_eq!(names, [&all[..], &["step", "step_adjoint", "step_keeping", "update"]].concat());
    }

    /// With the least budget that is accepted, what is measured before a run takes no more than the run.
    #[test]
    fn measuring_stays_within_the_budget() {
        let source = builtin::subset().unwrap();
        for (steps, method) in [(1, "reverse"), (2, "reverse"), (6, "reverse"), (2, "truncated:1"), (6, "truncated:1")]
        {
            let config = TuneConfig { batch: Some(4), validation_windows: 8, steps, ..TuneConfig::quick() };
            let config = TuneConfig { method: method.parse().unwrap(), ..config };
            let with = |bytes| {
                let config = TuneConfig { memory_budget: Bytes(bytes), ..config.clone() };
                Prepared::new(&config, &source).unwrap()
            };
            let least = match with(1).blueprint().err().unwrap() {
                TuneError::Solve(SolveError::Budget { fixed, state, steps, last, .. }) => {
                    fixed + state * Plan::fewest_places(steps, last) as u64
                }
                error => panic!("{error}"),
            };
            let prepared = with(least);
            let device = Device::new(CpuEngine::new(1));
            pollster::block_on(prepared.measure(&device, 0.1)).unwrap();
            pollster::block_on(prepared.session(&device, prepared.method().unwrap())).unwrap();
            assert_eq!(device.counters().peak_bytes, prepared.blueprint().unwrap().bytes(), "{steps}, {method}");
            assert!(device.counters().peak_bytes <= least, "{steps}, {method}");
        }
    }

    #[test]
    fn what_may_change_midway_is_named() {
        let source = builtin::subset().unwrap();
        let prepared = Prepared::new(&TuneConfig::quick(), &source).unwrap();
        let set = |values: &str| prepared.changed(&prepared.start, &serde_json::from_str(values).unwrap());
        let changed = set(r#"{"learning_rate": 0.25, "l2": 1e-4}"#).unwrap();
        assert!((changed.values(Kind::Lr)[0] - 0.25).abs() < 1e-12);
        assert!(changed.values(Kind::L2).iter().all(|l2| (l2 - 1e-4).abs() < 1e-12));
        assert_eq!(changed.values(Kind::Momentum), prepared.start.values(Kind::Momentum));
        for (values, words) in [
            (r#"{"batch": 3}"#, "`batch`: it cannot change midway; what can is l2, learning_rate, momentum"),
            (r#"{"learning_rate": "fast"}"#, "`learning_rate`: invalid type: string"),
            (r#"{"momentum": 2.0}"#, "`momentum` is 2, but must be above 0 and below 1"),
            ("3", "`set`: it takes values"),
        ] {
            let error = set(values).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
