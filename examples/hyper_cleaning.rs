//! Data hyper-cleaning on MNIST: half of the training labels are wrong, and a weight for each example,
//! tuned on clean validation data, finds out which.
//!
//! Inner problem: softmax regression on weighted examples. Outer problem: 1,000 weights. Reads MNIST
//! from `$STACKELBERG_DATA/mnist`; without it the example says so and ends.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::outer::{OuterAdam, OuterOptimizer};
use stackelberg::bilevel::{Loss, Memory, Problem, Session, SessionData, Unattended};
use stackelberg::nn::{Layer, Model, optim};

mod support;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some([mut train, validation, test]) = support::mnist([1000, 1000, 10_000])? else { return Ok(()) };
    let wrong = support::spoil_every_second_label(&mut train);

    let layer = Layer::Dense { name: "linear".into(), inputs: 784, outputs: 10, bias: true };
    let model = Model::new(vec![layer], &[784])?;
    let problem = Problem { weights: true, ..Problem::new(model, Loss::CrossEntropy, optim::Sgd, 100, train.count) };
    let mut point =
        Hyperparameters::default().fixed(&problem, Kind::Lr, 0.5).tuned(&problem, Kind::ExampleWeights, 0.5);
    let data = SessionData::new(train, validation, vec![0.0; problem.model.parameter_count()], 0);

    let device = support::device();
    pollster::block_on(async {
        let mut session = Session::new(&device, problem, &data, Memory::StoreAll).await?;
        let mut outer = OuterAdam::new(point.variables().len(), 0.5);
        for k in 1..=10 {
            let estimate = session.estimate_at(&point, &mut Unattended).await?;
            let score = session.evaluate(&test, &mut Unattended).await?;
            println!("{k:2}  outer loss {:.4}  test accuracy {:.1} %", estimate.outer_loss, 100.0 * score.accuracy());
            outer.advance(&mut point, &estimate);
        }
        let weights = point.values(Kind::ExampleWeights);
        for (name, kind) in [("wrong", true), ("right", false)] {
            let of_kind = weights.iter().zip(&wrong).filter(|(_, wrong)| **wrong == kind).map(|(weight, _)| weight);
            let (sum, count) = of_kind.fold((0.0, 0), |(sum, count), weight| (sum + weight, count + 1));
            println!("mean weight of the {count} {name} labels: {:.2}", sum / f64::from(count));
        }
        Ok(())
    })
}
