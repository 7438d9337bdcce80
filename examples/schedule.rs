//! A learning rate for each training step, by reverse mode.
//!
//! Inner problem: 60 steps of SGD with momentum on the narrow activity network. Outer problem: the
//! learning rate and a factor on it for each of the 60 steps.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::outer::{OuterAdam, OuterOptimizer};
use stackelberg::bilevel::{Loss, Memory, Problem, Session, SessionData, Unattended};
use stackelberg::nn::{optim, zoo};

mod support;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ([train, validation, test], sizes) = support::windows()?;

    let model = zoo::har_cnn(&sizes.input, 8, 16, sizes.outputs, 0.0).unwrap();
    let problem = Problem { batch: 64, ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 60, train.count) };
    let mut point = Hyperparameters::default()
        .tuned(&problem, Kind::Lr, 0.005)
        .tuned(&problem, Kind::LrSchedule, 1.0)
        .fixed(&problem, Kind::Momentum, 0.8);
    let data = SessionData::new(train, validation, problem.model.initial_parameters(0), 0);

    let device = support::device();
    pollster::block_on(async {
        let mut session = Session::new(&device, problem, &data, Memory::Slots(16)).await?;
        let mut outer = OuterAdam::new(point.variables().len(), 0.15);
        let mut best = (f64::INFINITY, point.clone());
        for k in 1..=10 {
            let estimate = session.estimate_at(&point, &mut Unattended).await?;
            println!("{k:2}  outer loss {:.4}", estimate.outer_loss);
            if estimate.outer_loss < best.0 {
                best = (estimate.outer_loss, point.clone());
            }
            outer.advance(&mut point, &estimate);
        }
        session.train_at(&best.1, &mut Unattended).await?;
        let score = session.evaluate(&test, &mut Unattended).await?;
        println!("factors of the steps: {}", support::sparkline(&best.1.values(Kind::LrSchedule)));
        println!("test accuracy {:.1} %", 100.0 * score.accuracy());
        Ok(())
    })
}
