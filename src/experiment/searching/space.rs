//! What can be searched of the settings of a training, and what of it is left to hypergradients.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::exploit::Exploit;
use crate::bilevel::hyperparameters::{Kind, ROWS, Start};
use crate::experiment::config::{Budget, ConfigError, Network, TuneConfig, usual_decay, usual_hyperparameters};
use crate::nn::optim::Dynamics;
use crate::search::{Condition, Dimension, Domain, Point, Space, Value};

/// Settings that have one value, and that trials of a study may differ in.
const NAMES: [&str; 12] = [
    "network",
    "batch",
    "optimizer",
    "decay",
    "learning_rate",
    "momentum",
    "epsilon",
    "hypergradient_rate",
    "momentum_hypergradient_rate",
    "l2",
    "dropout",
    "jitter",
];

/// What a learning rate that moves by hypergradient descent begins with, unless it is given or less is usual.
const FIRST_RATE: f64 = 0.01;

/// What such a momentum begins with, unless it is given.
const FIRST_MOMENTUM: f64 = 0.9;

/// What is left to hypergradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arm {
    /// Learning rate and momentum move by hypergradient descent within each training, and leave the space.
    pub hypergradient_descent: bool,
    /// What is not structural is tuned within each trial, and leaves the space.
    pub hypergradients: bool,
    /// What becomes of what moves by hypergradient descent where a member takes over another's training.
    #[serde(default)]
    pub exploit: Exploit,
}

/// The hyperparameter that a setting is the start of.
fn kind(name: &str) -> Option<Kind> {
    let of = |start: Start| matches!(start, Start::Setting(key) | Start::SettingOr(key, _) if key == name);
    ROWS.iter().find(|row| of(row.start)).map(|row| row.kind)
}

/// The space that is searched where none is given.
pub fn usual(config: &TuneConfig) -> Space {
    let dimension = |name: &str, domain| Dimension { name: name.to_owned(), domain, when: None, structural: false };
    let float = |low, high, log| Domain::Float { low, high, log, step: None };
    let names = ["momentum", "adam"].map(|name| Value::Text(name.to_owned()));
    let when = Condition { parent: "optimizer".to_owned(), values: names[..1].to_vec() };
    let mut dimensions = vec![
        dimension("optimizer", Domain::Categorical { choices: names.to_vec() }),
        dimension("batch", Domain::Int { low: 16, high: 128, log: true, step: 1 }),
        dimension("learning_rate", float(1e-4, 0.3, true)),
        Dimension { when: Some(when), ..dimension("momentum", float(0.5, 0.99, false)) },
        dimension("l2", float(1e-6, 0.1, true)),
    ];
    if [Network::NARROW, Network::PAPER].contains(&config.network) {
        dimensions.push(dimension("dropout", float(0.05, 0.8, false)));
    }
    marked(dimensions).expect("a space")
}

fn wrong(message: impl std::fmt::Display) -> ConfigError {
    ConfigError::Setting { field: "space".to_owned(), message: message.to_string() }
}

/// A space whose dimensions say which are structural: those that a training cannot change midway.
fn marked(mut dimensions: Vec<Dimension>) -> Result<Space, ConfigError> {
    for dimension in &mut dimensions {
        dimension.structural |= kind(&dimension.name).is_none();
    }
    Space::new(dimensions).map_err(wrong)
}

/// A space as an arm searches it.
///
/// # Errors
/// With a name that is no setting to be searched, with an optimiser that has no hypergradient descent, or if nothing is
/// left.
pub fn arranged(space: &Space, arm: Arm) -> Result<Space, ConfigError> {
    if let Some(dimension) = space.dimensions().iter().find(|dimension| !NAMES.contains(&&*dimension.name)) {
        let name = &dimension.name;
        return Err(wrong(format_args!("there is no `{name}` to be searched; there are {}", NAMES.join(", "))));
    }
    let mut space = marked(space.dimensions().to_vec())?;
    if arm.hypergradient_descent {
        space = space.without(&["learning_rate", "momentum"]).map_err(wrong)?;
        let mut dimensions = space.dimensions().to_vec();
        for dimension in &mut dimensions {
            if let (Domain::Categorical { choices }, "optimizer") = (&mut dimension.domain, &*dimension.name) {
                choices.iter_mut().try_for_each(descending)?;
            }
            if let Some(when) = dimension.when.as_mut().filter(|when| when.parent == "optimizer") {
                when.values.iter_mut().try_for_each(descending)?;
            }
        }
        space = Space::new(dimensions).map_err(wrong)?;
    }
    if arm.hypergradients {
        let moved: Vec<&str> = space.dimensions().iter().filter(|d| !d.structural).map(|d| &*d.name).collect();
        if moved.len() == space.len() {
            let message = "nothing of it is structural, and all else is tuned by hypergradients; add network, batch or \
                           optimizer, or leave --hypergradients out";
            return Err(wrong(message));
        }
        space = space.without(&moved).map_err(wrong)?;
    }
    Ok(space)
}

/// An optimiser's name becomes that of the same with hypergradient descent.
fn descending(value: &mut Value) -> Result<(), ConfigError> {
    if let Value::Text(name) = value {
        *name = with_descent(name)?.name().to_owned();
    }
    Ok(())
}

/// An optimiser with hypergradient descent.
fn with_descent(name: &str) -> Result<Dynamics, ConfigError> {
    let found = if name.contains("-hd") { name.parse() } else { format!("{name}-hd").parse() };
    found.map_err(|_| {
        let message =
            format!("{name} has no form with hypergradient descent; take sgd, momentum, heavy-ball, nesterov or adam");
        ConfigError::Setting { field: "optimizer".to_owned(), message }
    })
}

/// The settings of all trials as an arm has them, for trainings of so many outer iterations where these are tuned.
///
/// # Errors
/// With an optimiser that has no hypergradient descent.
pub fn base(config: &TuneConfig, arm: Arm, outer: u32) -> Result<TuneConfig, ConfigError> {
    let mut base = config.clone();
    if arm.hypergradient_descent {
        let falls = base.decay == usual_decay(&*base.optimizer);
        let follows = base.hyperparameters == usual_hyperparameters(&*base.optimizer);
        base.optimizer = with_descent(base.optimizer.name())?;
        if falls {
            base.decay = usual_decay(&*base.optimizer);
        }
        if follows {
            base.hyperparameters = usual_hyperparameters(&*base.optimizer);
        }
    }
    if arm.hypergradients {
        // All trials have as many iterations, so that they can be compared after each.
        base = TuneConfig { outer: Some(outer), budget: Budget::UNLIMITED, patience: 0, ..base };
    }
    Ok(base)
}

/// The settings of a trial.
///
/// # Errors
/// If a value is none of its setting.
pub fn settings(base: &TuneConfig, arm: Arm, space: &Space, point: &Point) -> Result<TuneConfig, ConfigError> {
    let values = space.written(point);
    let mut settings = base.to_json();
    let given = settings.as_object_mut().expect("settings are an object");
    if values.contains_key("optimizer") {
        // What was usual follows the optimizer.
        if base.hyperparameters == usual_hyperparameters(&*base.optimizer) {
            given.remove("hyperparameters");
        }
        if base.decay == usual_decay(&*base.optimizer) {
            given.remove("decay");
        }
    }
    for (name, value) in &values {
        given.insert(name.clone(), written(value));
    }
    let mut config = TuneConfig::from_json(&settings)?;
    if arm.hypergradient_descent {
        let usual = config.setting("learning_rate")[0];
        config.learning_rate.get_or_insert(usual.min(FIRST_RATE));
        if config.uses("momentum") {
            config.momentum.get_or_insert(FIRST_MOMENTUM);
        }
    }
    if !arm.hypergradients {
        // Only what is named can change midway.
        for name in values.keys() {
            let same = |other: &Kind| kind_of_setting(*other) == Some(name);
            if let Some(kind) = kind(name).filter(|_| !config.hyperparameters.iter().any(same)) {
                config.hyperparameters.push(kind);
            }
        }
    }
    Ok(config)
}

/// The setting that a hyperparameter starts from.
fn kind_of_setting(kind: Kind) -> Option<&'static str> {
    match kind.row().start {
        Start::Setting(key) | Start::SettingOr(key, _) => Some(key),
        Start::Value(_) | Start::Weights => None,
    }
}

fn written(value: &Value) -> Json {
    serde_json::to_value(value).expect("plain values")
}

/// The values of a point that a training can change midway.
pub fn midway(space: &Space, point: &Point) -> Json {
    let structural = |name: &str| space.dimensions().iter().any(|d| d.name == name && d.structural);
    let values = space.written(point);
    values.iter().filter(|(name, _)| !structural(name)).map(|(name, value)| (name.clone(), written(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCENT: Arm = Arm { hypergradient_descent: true, hypergradients: false, exploit: Exploit::Copy };
    const TUNED: Arm = Arm { hypergradient_descent: false, hypergradients: true, exploit: Exploit::Copy };

    fn names(space: &Space) -> Vec<&str> {
        space.dimensions().iter().map(|dimension| &*dimension.name).collect()
    }

    #[test]
    fn an_arm_takes_from_the_space_what_hypergradients_move() {
        let space = usual(&TuneConfig::quick());
        assert_eq!(names(&space), ["optimizer", "batch", "learning_rate", "momentum", "l2", "dropout"]);
        let structural: Vec<bool> = space.dimensions().iter().map(|dimension| dimension.structural).collect();
        assert_eq!(structural, [true, true, false, false, false, false]);
        let descent = arranged(&space, DESCENT).unwrap();
        assert_eq!(names(&descent), ["optimizer", "batch", "l2", "dropout"]);
        let Domain::Categorical { choices } = descent.domain(0) else { panic!("optimizers are names") };
        assert_eq!(*choices, ["momentum-hd", "adam-hd"].map(|name| Value::Text(name.to_owned())));
        assert_eq!(names(&arranged(&space, TUNED).unwrap()), ["optimizer", "batch"]);
    }

    #[test]
    fn what_cannot_be_searched_is_refused_with_what_can() {
        let space = |name: &str| {
            let domain = Domain::Float { low: 0.1, high: 0.2, log: false, step: None };
            Space::new(vec![Dimension { name: name.to_owned(), domain, when: None, structural: false }]).unwrap()
        };
        let refused = |name: &str, arm| arranged(&space(name), arm).unwrap_err().to_string();
        assert!(
            refused("width", Arm::default()).contains("there is no `width` to be searched; there are network, batch")
        );
        assert!(refused("l2", TUNED).contains("nothing of it is structural"));
        assert!(refused("learning_rate", DESCENT).contains("no dimension"));
        let averaged = TuneConfig { optimizer: "adam-averaged".parse().unwrap(), ..TuneConfig::quick() };
        assert!(base(&averaged, DESCENT, 1).unwrap_err().to_string().contains("adam-averaged has no form with"));
    }

    /// Every point of every arm is a configuration that can be used, and starts where the arm says.
    #[test]
    fn points_are_configurations() {
        let quick = TuneConfig::quick();
        for arm in [Arm::default(), DESCENT, TUNED, Arm { hypergradients: true, ..DESCENT }] {
            let (space, base) = (arranged(&usual(&quick), arm).unwrap(), base(&quick, arm, 9).unwrap());
            for k in 0..7 {
                let units: Vec<f64> = (1..=space.len()).map(|j| (0.37 * (j * (k + 1)) as f64).fract()).collect();
                let point = space.at(&units);
                let config = settings(&base, arm, &space, &point).unwrap();
                config.check().unwrap();
                assert_eq!(config.batch.map(u64::from), Some(point.get(1).unwrap() as u64));
                assert_eq!(config.optimizer.name().ends_with("-hd"), arm.hypergradient_descent);
                if arm.hypergradient_descent {
                    assert!(config.learning_rate.is_some_and(|rate| rate <= FIRST_RATE));
                    assert_eq!(config.momentum, config.uses("momentum").then_some(FIRST_MOMENTUM));
                }
                assert_eq!(config.outer, arm.hypergradients.then_some(9));
                // What can change midway is a hyperparameter of the training.
                for name in midway(&space, &point).as_object().unwrap().keys() {
                    assert!(config.hyperparameters.iter().any(|kind| kind_of_setting(*kind) == Some(name)), "{name}");
                }
            }
        }
    }
}
