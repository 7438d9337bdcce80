//! Logistic regression with one penalty for each feature: a regularizer of one's own.
//!
//! Inner problem: cross-entropy on 135 statistics of each training window plus ½ Σⱼ e^uⱼ ‖wⱼ‖², where
//! wⱼ are the six weights of feature j. The 135 hyperparameters u are tuned by implicit differentiation.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::outer::{OuterAdam, OuterOptimizer};
use stackelberg::bilevel::{Implicit, Loss, Problem, Regularizer, Session, SessionData, Solver, Unattended};
use stackelberg::ir::Scalar;
use stackelberg::nn::{Layer, Model, optim};

mod support;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [train, validation, test] = support::statistics()?;

    let layer = Layer::Dense { name: "linear".into(), inputs: 135, outputs: 6, bias: true };
    let model = Model::new(vec![layer], &[135])?;
    let penalties = Regularizer::new(135, |g, weights, u| {
        let kernel = g.segment(weights, 0, 135 * 6);
        let kernel = g.reshape(kernel, &[135, 6]);
        let square = g.mul(kernel, kernel);
        let of_feature = g.sum(square, &[1]);
        let strength = g.scalar(Scalar::Exp, &[u]);
        let terms = g.mul(strength, of_feature);
        let sum = g.sum_all(terms);
        g.scale(sum, 0.5)
    });
    let problem = Problem {
        regularizer: Some(penalties),
        ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 100, train.count)
    };
    let mut point = Hyperparameters::default()
        .fixed(&problem, Kind::Lr, 0.05)
        .fixed(&problem, Kind::Momentum, 0.9)
        .tuned(&problem, Kind::Regularizer, -5.0);
    let initial = vec![0.0; problem.model.parameter_count()];
    let data = SessionData::new(train, validation, initial, 0);

    let device = support::device();
    // With so little regularization the Hessian is nearly singular: damp it.
    let method = Implicit::new(Solver::ConjugateGradient, 50).damped(1e-3).until(1e-3, 10);
    pollster::block_on(async {
        let mut session = Session::new(&device, problem, &data, method).await?;
        let mut outer = OuterAdam::new(point.variables().len(), 0.3);
        for k in 1..=12 {
            let estimate = session.estimate_at(&point, &mut Unattended).await?;
            println!("{k:2}  outer loss {:.4}  residual {:.0e}", estimate.outer_loss, estimate.residual.unwrap_or(0.0));
            outer.advance(&mut point, &estimate);
        }
        let score = session.evaluate(&test, &mut Unattended).await?;
        println!("test accuracy {:.1} %", 100.0 * score.accuracy());
        Ok(())
    })
}
