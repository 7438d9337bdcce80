//! A hypergradient method of one's own beside the built-in ones: how near each comes to the exact derivative in the
//! penalty of logistic regression, and what it costs. `cargo run --release --example averaged_truncation`.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::{Loss, Memory, Method, Problem, Reverse, Session, SessionData, Truncated, Unattended};
use stackelberg::nn::{Layer, Model, optim};

use method::AveragedTruncation;

mod method;
#[path = "../support/mod.rs"]
mod support;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [train, validation, _] = support::statistics()?;
    let layer = Layer::Dense { name: "linear".into(), inputs: 135, outputs: 6, bias: true };
    let model = Model::new(vec![layer], &[135])?;
    let problem =
        Problem { batch: 64, l2: true, ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 200, train.count) };
    let point = Hyperparameters::default().fixed(&problem, Kind::Lr, 0.05).fixed(&problem, Kind::Momentum, 0.9).tuned(
        &problem,
        Kind::L2,
        1e-3,
    );
    let initial = vec![0.0; problem.model.parameter_count()];
    let data = SessionData::new(train, validation, initial, 0);

    let memory = Memory::StoreAll;
    let methods: [(&str, Box<dyn Method>); 4] = [
        ("reverse mode", Reverse { memory }.into()),
        ("truncated to 1 step", Truncated { last: 1, memory }.into()),
        ("averaged over 20 points", AveragedTruncation { points: 20 }.into()),
        ("truncated to 20 steps", Truncated { last: 20, memory }.into()),
    ];
    let device = support::device();
    for (name, method) in methods {
        let mut session = pollster::block_on(Session::new(&device, problem.clone(), &data, method))?;
        let estimate = pollster::block_on(session.estimate_at(&point, &mut Unattended))?;
        let adjoints = estimate.counts.adjoints;
        println!("{name:24} dE/d log penalty {:10.3e}   {adjoints:3} adjoints", estimate.hypergradient[0]);
    }
    Ok(())
}
