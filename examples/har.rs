//! The main job in one's own code: learning rate, momentum, penalties and the strength of dropout and
//! augmentation of the narrow activity network, by reverse mode through its training.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::outer::{OuterAdam, OuterOptimizer};
use stackelberg::bilevel::{Loss, Memory, Noise, Problem, Session, SessionData, Unattended};
use stackelberg::nn::{optim, zoo};

mod support;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ([train, validation, test], sizes) = support::windows()?;

    let problem = Problem {
        batch: 64,
        l2: true,
        noise: vec![Noise::Dropout, Noise::Jitter, Noise::Scaling],
        ..Problem::new(
            zoo::har_cnn(&sizes.input, 8, 16, sizes.outputs, 0.5).unwrap(),
            Loss::CrossEntropy,
            optim::Momentum,
            60,
            train.count,
        )
    };
    let mut point = Hyperparameters::default()
        .tuned(&problem, Kind::Lr, 0.01)
        .tuned(&problem, Kind::Momentum, 0.7)
        .tuned(&problem, Kind::L2, 1e-3)
        .tuned(&problem, Kind::Dropout, 0.3)
        .tuned(&problem, Kind::Jitter, 0.05)
        .tuned(&problem, Kind::Scaling, 0.1);
    let data = SessionData::new(train, validation, problem.model.initial_parameters(0), 0);

    let device = support::device();
    pollster::block_on(async {
        let mut session = Session::new(&device, problem, &data, Memory::Budget(1 << 30)).await?;
        let mut outer = OuterAdam::new(point.variables().len(), 0.3);
        for k in 1..=6 {
            let estimate = session.estimate_at(&point, &mut Unattended).await?;
            let score = session.evaluate(&test, &mut Unattended).await?;
            println!("{k}  outer loss {:.4}  test accuracy {:.1} %", estimate.outer_loss, 100.0 * score.accuracy());
            outer.advance(&mut point, &estimate);
        }
        for group in &point.groups {
            println!("{:>10} {:.4?}", group.kind.name(), group.constrained().collect::<Vec<_>>());
        }
        Ok(())
    })
}
