//! What may be wrong with settings.

use std::fmt;

use super::limits::{FASTEST, LOUDEST, MOST_BETA, MOST_DROPOUT, MOST_MISLABELLED, MOST_STEPS, SINGLE};
use super::{ConfigError, DataSource, TuneConfig};
use crate::bilevel::hyperparameters::{Kind, Names};
use crate::experiment::leader::OuterMethod;
use crate::nn::Model;
use crate::nn::optim::{Domain, ScalarSpec};

impl TuneConfig {
    /// Refuses settings that no data could make sense of.
    pub fn check(&self) -> Result<(), ConfigError> {
        fn require(
            ok: bool,
            field: &'static str,
            value: impl fmt::Display,
            must: &str,
            mend: &str,
        ) -> Result<(), ConfigError> {
            let error =
                || ConfigError::Value { field, value: value.to_string(), must: must.to_owned(), mend: mend.to_owned() };
            if ok { Ok(()) } else { Err(error()) }
        }
        require(
            !matches!(&self.data, DataSource::Path(path) if path.trim().is_empty()),
            "data",
            "empty",
            "builtin, subset, or the path of a folder or zip",
            "Was it taken from a variable that is not set? Leave it out for the built-in data.",
        )?;
        let own = [
            ("columns", self.columns.is_some()),
            ("rate", self.rate.is_some()),
            ("window", self.window.is_some()),
            ("overlap", self.overlap.is_some()),
        ];
        let given = own.into_iter().find(|&(_, given)| given && !matches!(self.data, DataSource::Path(_)));
        require(
            given.is_none(),
            given.map_or("columns", |(field, _)| field),
            "given",
            "left out with built-in data, whose windows are cut already",
            "Name your own recordings with `data`.",
        )?;
        let positive = |field, value: f64, mend| {
            let must = "above 0 and finite in single precision: from 1e-30 to 1e30";
            require(SINGLE.contains(&value), field, plain(value), must, mend)
        };
        require(
            self.steps >= 1,
            "steps",
            self.steps,
            "at least 1",
            "Without a training step there is nothing to differentiate; 20 is a quick look, 200 the usual number.",
        )?;
        require(
            self.steps <= MOST_STEPS,
            "steps",
            self.steps,
            &format!("at most {MOST_STEPS}"),
            "Every step has its place in the plan and its own learning rates in memory; 200 is the usual number.",
        )?;
        let outer = self.outer.unwrap_or(1);
        require(outer >= 1, "outer", outer, "at least 1", "Leave it out to go on until the budget is spent.")?;
        let budget = self.budget;
        require(budget.is_positive(), "budget", budget, "above 0", "72 trainings are usual.")?;
        let batch = self.batch.unwrap_or(1);
        require(batch >= 1, "batch", batch, "at least 1", "64 is the usual size.")?;
        require(
            self.validation_windows >= 1,
            "validation_windows",
            self.validation_windows,
            "at least 1",
            "The outer loss needs windows to be taken on; 512 is the usual number.",
        )?;
        let folds = self.folds.unwrap_or(2);
        require(folds >= 2, "folds", folds, "at least 2", "Leave it out to validate on the validation people alone.")?;
        let rows = self.hyperparameters.contains(&Kind::ExampleWeights);
        let mend = "Each fold trains on other windows, so no weight is that of one window.";
        require(!rows || self.folds.is_none(), "folds", folds, "left out where example weights are tuned", mend)?;
        let apart = self.selection_people.unwrap_or(0);
        require(
            apart == 0 || self.folds.is_none(),
            "selection_people",
            apart,
            "left out or 0 where there are folds",
            "In folds, everybody is validated on.",
        )?;
        let spread = matches!(self.outer_method, OuterMethod::Sobol | OuterMethod::Gp);
        let many = self.hyperparameters.iter().find(|kind| kind.row().names == Names::Many);
        let mend = many.map_or_else(String::new, |kind| format!("There are too many {kind}: take guarded-adam."));
        require(!spread || many.is_none(), "outer_method", self.outer_method, "another here", &mend)?;
        let names = "Name one or more of lr, momentum, l2, example-weights and the others, each once.";
        let twice =
            (1..self.hyperparameters.len()).any(|k| self.hyperparameters[..k].contains(&self.hyperparameters[k]));
        require(!self.hyperparameters.is_empty(), "hyperparameters", "empty", "a list of what to tune", names)?;
        require(!twice, "hyperparameters", self.kind_names(), "free of repetitions", names)?;
        self.check_kinds()?;
        positive("learning_rate", self.setting("learning_rate")[0], "Leave it out to start from the usual one.")?;
        let momentum = self.setting("momentum")[0];
        let own = self.optimizer.scalars().iter().find(|scalar| scalar.name == "momentum");
        if let Some(&ScalarSpec { domain: Domain::Between { low, high }, usual, .. }) = own {
            require(
                momentum > low && momentum < high,
                "momentum",
                momentum,
                &format!("above {low} and below {high} with {}", self.optimizer.name()),
                &format!("It moves between these; {usual} is usual."),
            )?;
        }
        require(
            momentum > 0.0 && momentum < 1.0,
            "momentum",
            momentum,
            "above 0 and below 1",
            "It is tuned on a logit scale, which has no ends; start from 0.5, or from 0.01 for nearly none.",
        )?;
        for beta in self.setting("betas") {
            require(
                beta > 0.0 && beta <= MOST_BETA,
                "betas",
                beta,
                &format!("two numbers above 0 and at most {MOST_BETA}"),
                "They are tuned on a logit scale, which has no ends; 0.9 and 0.999 are usual.",
            )?;
        }
        positive("epsilon", self.setting("epsilon")[0], "1e-5 is usual.")?;
        for key in ["hypergradient_rate", "momentum_hypergradient_rate"] {
            positive(
                key,
                self.setting(key)[0],
                "Leave it out to take the usual one, or take an optimizer without -hd.",
            )?;
        }
        positive("l2", self.l2, "It is tuned on a log scale; start from 0.001, or from 1e-8 for nearly none.")?;
        let rate = |field, value: f64, mend| {
            require(
                value > 0.0 && value <= FASTEST,
                field,
                plain(value),
                &format!("above 0 and at most {FASTEST}"),
                mend,
            )
        };
        rate(
            "outer_rate",
            self.setting("outer_rate")[0],
            "0.4 is the usual rate: at first it multiplies or divides a learning rate by about 1.5.",
        )?;
        rate("example_weight_rate", self.setting("example_weight_rate")[0], "0.25 is the usual rate.")?;
        let wrong = self.mislabelled;
        require(
            (0.0..=MOST_MISLABELLED).contains(&wrong),
            "mislabelled",
            wrong,
            &format!("at least 0 and at most {MOST_MISLABELLED}"),
            "It is a share: 0.33 spoils a third of the training labels.",
        )?;
        require(
            wrong == 0.0 || self.task.classifies(),
            "mislabelled",
            wrong,
            "left out or 0 where the next sample is predicted",
            "Such windows have no labels.",
        )?;
        require(
            wrong == 0.0 || self.folds.is_none(),
            "mislabelled",
            wrong,
            "left out or 0 where there are folds",
            "In folds everybody is validated on, and that needs right labels.",
        )?;
        let dropout = self.setting("dropout")[0];
        require(
            (0.0..=MOST_DROPOUT).contains(&dropout),
            "dropout",
            dropout,
            &format!("at least 0 and at most {MOST_DROPOUT}"),
            "0 switches it off; 0.5 is the usual share.",
        )?;
        let noise = |field, value: f64, mend| {
            let ok = value == 0.0 || (*SINGLE.start()..=LOUDEST).contains(&value);
            require(ok, field, plain(value), &format!("0, or from {:e} to {LOUDEST}", SINGLE.start()), mend)
        };
        noise(
            "jitter",
            self.jitter,
            "Windows are scaled to a deviation of 1, or to a range of 1 where the next sample is predicted; 0.05 is a little noise.",
        )?;
        noise("scaling", self.scaling, "0.1 changes each channel by about a tenth.")?;
        self.check_use()
    }

    /// Refuses folds where the people to train on differ from those to validate on in more than who they are.
    pub fn without_folds(&self) -> Result<(), ConfigError> {
        let message = "this cannot be done in folds; leave it out".to_owned();
        match self.folds {
            None => Ok(()),
            Some(_) => Err(ConfigError::Setting { field: "folds".to_owned(), message }),
        }
    }

    fn kind_names(&self) -> String {
        self.hyperparameters.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
    }

    /// Refuses hyperparameters that the training does not have.
    fn check_kinds(&self) -> Result<(), ConfigError> {
        let both = |kind: &&Kind| kind.row().apart.is_some_and(|other| self.hyperparameters.contains(&other));
        if let Some(kind) = self.hyperparameters.iter().find(both) {
            let [one, other] = [*kind, kind.row().apart.unwrap_or(*kind)].map(|kind| kind.name());
            let (one, other) = (one.min(other), one.max(other));
            return Err(ConfigError::Value {
                field: "hyperparameters",
                value: self.kind_names(),
                must: format!("with one of {one} and {other} at most"),
                mend: "Tune one penalty for all layers or one for each.".to_owned(),
            });
        }
        let Some((kind, mend)) =
            self.hyperparameters.iter().find_map(|kind| self.lacks(*kind).map(|mend| (kind, mend)))
        else {
            return Ok(());
        };
        Err(ConfigError::Value {
            field: "hyperparameters",
            value: self.kind_names(),
            must: format!("without {}, which this training does not have", kind.name()),
            mend,
        })
    }

    /// Refuses to tune the dropout of a network that has no one rate of it.
    pub(in crate::experiment) fn check_dropout(&self, model: &Model) -> Result<(), ConfigError> {
        if let (true, Some(rate)) = (model.places().is_empty(), self.dropout) {
            return Err(ConfigError::Value {
                field: "dropout",
                value: rate.to_string(),
                must: "left out here".to_owned(),
                mend: "This network has no dropout layer.".to_owned(),
            });
        }
        let rates: Vec<f64> = model.places().iter().map(|place| place.rate).collect();
        let mend = match rates[..] {
            _ if !self.hyperparameters.contains(&Kind::Dropout) => return Ok(()),
            [] => "This network has no dropout layer.".to_owned(),
            [first, ..] if rates.iter().any(|rate| *rate != first) => {
                format!("It is tuned as one rate, and the layers of this network have {rates:?}: give them one.")
            }
            [0.0, ..] => "The layers of this network drop nothing: start from a rate above 0.".to_owned(),
            _ => return Ok(()),
        };
        Err(ConfigError::Value {
            field: "hyperparameters",
            value: self.kind_names(),
            must: "without dropout, which this training does not have".to_owned(),
            mend,
        })
    }

    /// Refuses a batch larger than the training set that it is drawn from without replacement.
    pub fn check_batch(&self, training_windows: usize) -> Result<(), ConfigError> {
        let Some(batch) = self.batch.filter(|&batch| batch as usize > training_windows) else { return Ok(()) };
        Err(ConfigError::Value {
            field: "batch",
            value: batch.to_string(),
            must: format!("at most {training_windows}, the number of training windows"),
            mend: "A batch holds each window at most once: take a smaller batch or more data.".to_owned(),
        })
    }
}

/// A number as people write it, however large or small.
fn plain(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (1e-6..1e15).contains(&value.abs()) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}
