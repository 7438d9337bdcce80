//! Logistic regression on statistics of windows: what a network has to beat.

use crate::bilevel::hyperparameters::{Hyperparameters, Kind};
use crate::bilevel::{Loss, Plain, Problem, Session, SessionData, Set, SolveError, Targets};
use crate::data::har::statistics;
use crate::data::{Dataset, Split};
use crate::nn::{Layer, Model, optim};
use crate::rig::{Device, Monitor};

/// Softmax regression by momentum over 600 steps of 512 windows.
pub struct Regression {
    /// What is trained.
    pub problem: Problem,
    /// On what.
    pub data: SessionData,
    /// The validation and the test windows.
    pub sets: [Set; 2],
}

impl Regression {
    /// Its learning rate.
    pub const RATE: f64 = 0.05;
    /// Its momentum.
    pub const MOMENTUM: f64 = 0.9;
    /// The least and the largest penalty that are tried.
    pub const PENALTIES: [f64; 2] = [1e-4, 1e-2];

    /// On windows as they were recorded; nothing where the examples are something else.
    pub fn new(split: &Split, seed: u32) -> Option<Regression> {
        let parts = [&split.train, &split.validation, &split.test];
        let inputs = statistics::count(&split.train)?;
        let mut features = parts.map(statistics::features);
        statistics::standardize(&mut features, inputs);
        let labelled = |(x, windows): (Vec<f32>, &Dataset)| Set {
            x: x.into(),
            targets: Targets::Labels(windows.labels().to_vec()),
            count: windows.len(),
        };
        let sets: Vec<Set> = features.into_iter().zip(parts).map(labelled).collect();
        let [train, validation, test] = <[Set; 3]>::try_from(sets).unwrap_or_else(|_| unreachable!("three parts"));
        let outputs = split.train.about().outputs.len();
        let layer = Layer::Dense { name: "dense".into(), inputs, outputs, bias: true };
        let model = Model::new(vec![layer], &[inputs]).expect("one dense layer fits");
        let problem = Problem {
            batch: 512.min(train.count),
            l2: true,
            validation: validation.count,
            ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 600, train.count)
        };
        let initial = vec![0.0; problem.model.parameter_count()];
        let data = SessionData::new(train, validation.clone(), initial, u64::from(seed));
        Some(Regression { problem, data, sets: [validation, test] })
    }

    /// Share of the test windows named right with the penalty, of three, that suits the validation people best.
    pub async fn accuracy(&self, device: &Device, monitor: &mut dyn Monitor) -> Result<f64, SolveError> {
        let mut session = Session::new(device, self.problem.clone(), &self.data, Plain).await?;
        let [least, largest] = Self::PENALTIES;
        let (mut lowest, mut accuracy) = (f64::INFINITY, 0.0);
        for penalty in [least, (least * largest).sqrt(), largest] {
            let point = Hyperparameters::default().fixed(&self.problem, Kind::Lr, Self::RATE);
            let point = point.fixed(&self.problem, Kind::Momentum, Self::MOMENTUM);
            let point = point.fixed(&self.problem, Kind::L2, penalty);
            let loss = session.train_at(&point, monitor).await?.outer_loss;
            if loss < lowest {
                (lowest, accuracy) = (loss, session.evaluate(&self.sets[1], monitor).await?.accuracy());
            }
        }
        Ok(accuracy)
    }
}
