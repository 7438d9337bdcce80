//! The ridge penalty of a least-squares classifier, by implicit differentiation and HOAG.
//!
//! Inner problem: W minimises the mean of ‖xW − onehot(y)‖² / 6 + ½ e^u ‖W‖² over 135 statistics x of
//! each training window. Outer problem: u minimises the squared error on the validation people.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::{Hoag, Implicit, Loss, OuterOptimizer, Problem, Session, SessionData, Solver, Unattended};
use stackelberg::nn::{Layer, Model, optim};

mod support;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [train, validation, test] = support::statistics()?.map(|set| support::one_hot(&set));

    let layer = Layer::Dense { name: "linear".into(), inputs: 135, outputs: 6, bias: true };
    let model = Model::new(vec![layer], &[135])?;
    let problem = Problem { l2: true, ..Problem::new(model, Loss::MeanSquaredError, optim::Momentum, 50, train.count) };
    let mut point = Hyperparameters::default()
        .fixed(&problem, Kind::Lr, 0.05)
        .fixed(&problem, Kind::Momentum, 0.9)
        .tuned(&problem, Kind::L2, 1.0);
    let initial = vec![0.0; problem.model.parameter_count()];
    let data = SessionData::new(train, validation, initial, 0);

    let device = support::device();
    let method = Implicit::new(Solver::ConjugateGradient, 100).until(1e-3, 20);
    pollster::block_on(async {
        let mut session = Session::new(&device, problem, &data, method).await?;
        let mut hoag = Hoag::new((-12.0, 6.0));
        for k in 1..=12 {
            if let Some(tolerance) = hoag.tolerance() {
                session.set_tolerance(tolerance);
            }
            let estimate = session.estimate_at(&point, &mut Unattended).await?;
            let penalty = point.values(Kind::L2)[0];
            println!("{k:2}  penalty {penalty:.2e}  outer loss {:.5}", estimate.outer_loss);
            hoag.advance(&mut point, &estimate);
        }
        let weights = session.final_weights().await?;
        println!("test accuracy {:.1} %", 100.0 * support::accuracy(&weights, &test));
        Ok(())
    })
}
