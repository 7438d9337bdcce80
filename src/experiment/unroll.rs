//! One hypergradient as it is taken: the training, the way back with the derivative by each step's learning rate, and the
//! plan of the states that are kept for it.

use super::error::TuneError;
use super::prepared::Prepared;
use crate::bilevel::checkpoint::{Action, Plan};
use crate::bilevel::{Estimate, Memory, Monitor, SolveError, Watched};
use crate::rig::Device;

/// What is told of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// What will be run.
    Plan(Diagram),
    /// The training is over, and the outer loss taken.
    Turned {
        /// The outer loss.
        loss: f64,
        /// Training loss of each step.
        losses: Vec<f64>,
    },
    /// The way back has come to a step.
    Back {
        /// That step; those from here on are done.
        from: usize,
        /// dE/dη_t of these steps that was not told before, the earliest first: by the learning rate of step t, before its
        /// decay.
        slopes: Vec<f64>,
    },
}

/// A plan drawn over the actions that it takes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagram {
    /// Training steps T.
    pub steps: usize,
    /// States held at a time.
    pub places: usize,
    /// Actions in all.
    pub actions: usize,
    /// Where the way there and back turns: after so many actions, at the state after so many steps.
    pub turns: Vec<[usize; 2]>,
    /// States that are kept: the steps before them, and the actions that write and that use them last.
    pub kept: Vec<[usize; 3]>,
}

/// States that are there for fewer actions than these are passed through, not kept.
const PASSING: usize = 4;

/// Looks at the way back.
const LOOKS: usize = 50;

impl Diagram {
    /// That of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut held: Vec<Option<[usize; 3]>> = vec![None; plan.places];
        held[0] = Some([0; 3]);
        let (mut kept, mut turns, mut actions) = (vec![], vec![[0, 0]], 0);
        let mut before = None;
        let mut here = 0;
        for (at, action) in plan.actions().enumerate() {
            let (from, way) = match action {
                Action::Step { from, .. } => (from, 1),
                Action::Adjoint { at, .. } => (at, -1),
                Action::Outer => (plan.places - 1, 0),
            };
            let state = held[from].as_mut().expect("a plan runs from states that are there");
            state[2] = at + 1;
            let step = state[0];
            let (begins, ends) = match action {
                Action::Step { .. } => (step, step + 1),
                Action::Adjoint { .. } => (step + 1, step),
                Action::Outer => (step, step),
            };
            // A jump to a state that was kept is a turn of its own.
            if before.is_some_and(|before| before != way) || begins != here {
                turns.push([at, here]);
                if begins != here {
                    turns.push([at, begins]);
                }
            }
            (before, here, actions) = (Some(way), ends, at + 1);
            if let Action::Step { to, .. } = action {
                kept.extend(held[to].replace([step + 1, at + 1, at + 1]));
            }
        }
        turns.push([actions, here]);
        kept.extend(held.into_iter().flatten());
        kept.retain(|[_, from, to]| to - from >= PASSING);
        kept.sort_unstable();
        Diagram { steps: plan.steps, places: plan.places, actions, turns, kept }
    }
}

/// Takes a hypergradient at the start values by reverse mode within the run's memory budget, and tells how it goes.
pub async fn unroll(
    run: &Prepared,
    device: &Device,
    mut tell: impl FnMut(Part) + Clone + 'static,
    monitor: &mut dyn Monitor,
) -> Result<Estimate, TuneError> {
    run.config.without_folds()?;
    let steps = run.problem.steps;
    let rates = run.problem.layout().log_lr;
    let layers = run.problem.model.parameter_layers();
    let lambda = run.start.arrays(&run.problem);
    let mut told = steps;
    let mut say = tell.clone();
    let look = move |estimate: &Estimate, back: usize, slopes: &[f64]| {
        if told == steps {
            say(Part::Turned { loss: estimate.outer_loss, losses: estimate.inner_losses.clone() });
        }
        let from = steps - back;
        let slope = |step: usize| {
            let of_step = rates.start + step * layers..rates.start + (step + 1) * layers;
            of_step.map(|at| slopes[at] / lambda[at].exp()).sum()
        };
        say(Part::Back { from, slopes: (from..told).map(slope).collect() });
        told = from;
    };
    let every = steps.div_ceil(LOOKS);
    let mut session =
        run.session(device, Watched { memory: Memory::Budget(run.config.memory_budget.0), every, look }).await?;
    tell(Part::Plan(Diagram::of(session.plan())));
    let estimate = session.estimate_at(&run.start, monitor).await?;
    if estimate.diverged() {
        let step = estimate.bad_step.unwrap_or(steps);
        return Err(SolveError::Problem(format!(
            "Training diverges in step {step} of {steps}, so there is no way back. A smaller learning rate helps."
        ))
        .into());
    }
    Ok(estimate)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::bilevel::Unattended;
    use crate::bilevel::hyperparameters::Kind;
    use crate::data::har::builtin;
    use crate::experiment::config::TuneConfig;
    use crate::reference::ReferenceEngine;

    #[test]
    fn a_diagram_goes_there_and_back() {
        let all = Diagram::of(&Plan::new(5, usize::MAX).unwrap());
        assert_eq!(all.turns, [[0, 0], [5, 5], [6, 5], [11, 0]]);
        // The first four states wait for their adjoints; the last two are used at once.
        assert_eq!(all.kept.iter().map(|kept| kept[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let few = Plan::revolve(20, 3);
        let diagram = Diagram::of(&few);
        assert_eq!(diagram.actions as u64, few.actions_run());
        assert_eq!(diagram.turns.last(), Some(&[diagram.actions, 0]));
        let most = (0..diagram.actions)
            .map(|at| diagram.kept.iter().filter(|[_, from, to]| (*from..*to).contains(&at)).count());
        assert!(most.max().unwrap() <= few.places);
        // Between two turns the way goes by a step an action, or stands, or jumps.
        for pair in diagram.turns.windows(2) {
            let [[at, from], [later, to]] = [pair[0], pair[1]];
            assert!(later == at || from.abs_diff(to) == later - at || (from == to && later == at + 1), "{pair:?}");
        }
    }

    #[test]
    fn each_step_has_the_derivative_by_its_rate() {
        let source = builtin::subset().unwrap();
        let config = TuneConfig {
            batch: Some(4),
            validation_windows: 8,
            steps: 7,
            dropout: Some(0.0),
            hyperparameters: vec![Kind::LrSchedule],
            ..TuneConfig::default()
        };
        let run = Prepared::new(&config, &source).unwrap();
        let device = Device::new(ReferenceEngine::new());
        let told = Rc::new(RefCell::new(vec![]));
        let parts = told.clone();
        let tell = move |part| parts.borrow_mut().push(part);
        let estimate = pollster::block_on(unroll(&run, &device, tell, &mut Unattended)).unwrap();
        let mut slopes = [f64::NAN; 7];
        let mut looks = 0;
        for part in &*told.borrow() {
            match part {
                Part::Plan(diagram) => assert_eq!(diagram.steps, 7),
                Part::Turned { loss, losses } => assert_eq!((*loss, losses.len()), (estimate.outer_loss, 7)),
                Part::Back { from, slopes: these } => {
                    slopes[*from..from + these.len()].copy_from_slice(these);
                    looks += 1;
                }
            }
        }
        assert_eq!(looks, 4);
        // A factor on each step's rate is tuned as its logarithm.
        let rate = run.config.setting("learning_rate")[0];
        for (slope, factor) in slopes.iter().zip(&estimate.hypergradient) {
            assert!((slope * rate - factor).abs() <= 1e-9 * factor.abs(), "{slope} {factor}");
        }
    }
}
