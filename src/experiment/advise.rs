//! Which way to a hypergradient suits a problem: what each would take on a device, and which to choose.
//!
//! Bytes are those of the [`Blueprint`]. Seconds are the counted runs of each method's programs, at the measured time of
//! a training step and of its adjoint.

use serde::Serialize;

use super::config::{Differentiation, TuneConfig};
use super::error::TuneError;
use super::setup::{initial_weights, problem, start_values};
use crate::bilevel::{
    Blueprint, CHUNK, Directions, Memory, Method, Online, Pace, Problem, RealTime, Reverse, SolveError,
};

/// One way to a hypergradient.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    pub name: String,
    /// What the setting `method` calls it; none where a run has no such setting.
    pub setting: Option<String>,
    /// Whether it is the derivative of the loss after all training steps.
    pub exact: bool,
    /// Seconds of a hypergradient.
    pub seconds: f64,
    /// Bytes on the device; none where there is no plan that fits.
    pub bytes: Option<u64>,
    /// Why it is not possible.
    pub impossible: Option<String>,
    /// What is to be known of it.
    pub remark: String,
}

/// What to take, and what else there is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Training steps T.
    pub steps: usize,
    /// Derivatives that are asked for.
    pub hyperparameters: usize,
    /// Weights of the network.
    pub parameters: usize,
    /// Bytes that may be used.
    pub memory_budget: u64,
    pub choices: Vec<Choice>,
    /// The one to take.
    pub best: usize,
    /// Why, in a sentence.
    pub reason: String,
}

/// Iterations after which linear systems are mostly solved well enough.
const ITERATIONS: u32 = 20;

/// Tangents in one program beyond which it takes minutes to compile.
const WIDEST: usize = 16;

/// Share of the training that truncated and online methods differentiate.
const PART: usize = 10;

/// A problem and what its parts take.
struct Task<'a> {
    problem: &'a Problem,
    along: &'a Directions,
    validation: usize,
    budget: u64,
    pace: &'a Pace,
}

impl Task<'_> {
    /// A method on training steps of which each estimate has so many. What is remarked of it says how it is biased.
    fn choice(
        &self,
        name: &str,
        setting: Option<Differentiation>,
        steps: usize,
        method: impl Into<Box<dyn Method>>,
        remark: &str,
    ) -> Result<Choice, SolveError> {
        let (method, problem) = (method.into(), Problem { steps, ..self.problem.clone() });
        let mut choice = Choice {
            name: name.to_owned(),
            setting: setting.map(|setting| setting.to_string()),
            exact: remark.is_empty(),
            seconds: 0.0,
            bytes: None,
            impossible: method.refusal(self.problem, self.along).map(|refusal| refusal.to_string()),
            remark: remark.to_owned(),
        };
        let blueprint = match Blueprint::of(&problem, self.validation, &*method) {
            Ok(blueprint) => blueprint,
            Err(error @ SolveError::Budget { .. }) => {
                choice.impossible = Some(error.to_string());
                return Ok(choice);
            }
            Err(error) => return Err(error),
        };
        let counts = method.counts(&problem, &blueprint.checkpoints, self.along.len());
        let outer = self.validation.div_ceil(CHUNK) as f64 * self.pace.outer;
        choice.seconds = self.pace.of(&counts, problem.train) + outer;
        choice.bytes = Some(blueprint.bytes());
        if blueprint.bytes() > self.budget && choice.impossible.is_none() {
            choice.impossible = Some("it takes more than the memory budget".to_owned());
        }
        Ok(choice)
    }

    fn choices(&self) -> Result<Vec<Choice>, SolveError> {
        let steps = self.problem.steps;
        let (part, count) = (steps.div_ceil(PART), self.along.len());
        let memory = Memory::Budget(self.budget);
        let last = format!("biased: only the last {part} steps are differentiated");
        let online = format!("biased: the training goes on, {part} steps for each hypergradient");
        let settled = format!("biased until the training has settled; {ITERATIONS} iterations are reckoned with");
        let setting = |name: &str, setting: Differentiation, remark: &str| {
            self.choice(name, Some(setting), steps, setting.method(memory, count), remark)
        };
        let mut all = vec![
            self.choice(STORED, Some(Differentiation::Reverse), steps, Memory::StoreAll, "")?,
            setting(REVOLVE, Differentiation::Reverse, "")?,
            setting(FORWARD, Differentiation::Forward, "")?,
            setting("truncated reverse mode", Differentiation::Truncated(part as u32), &last)?,
            setting("implicit differentiation", Differentiation::Implicit(ITERATIONS), &settled)?,
            setting("fixed-point differentiation", Differentiation::FixedPoint(ITERATIONS), &settled)?,
            self.choice("online reverse mode", None, part, Online::new(Reverse { memory }), &online)?,
            match count {
                0..=WIDEST => self.choice(REAL_TIME, None, part, RealTime::new(count), &online)?,
                _ => Choice {
                    name: REAL_TIME.to_owned(),
                    setting: None,
                    exact: false,
                    seconds: 0.0,
                    bytes: None,
                    impossible: Some(format!("its one program would move {count} tangents")),
                    remark: online,
                },
            },
        ];
        // Where every state fits, Revolve would be the same thing again.
        if all[0].bytes.is_some_and(|bytes| bytes <= self.budget) {
            all.remove(1);
        }
        Ok(all)
    }
}

const STORED: &str = "reverse mode, every state kept";
const REVOLVE: &str = "reverse mode, Revolve within the budget";
const FORWARD: &str = "forward mode";
const REAL_TIME: &str = "real-time forward mode";

/// Advice for the run of a configuration on so many training and validation windows, on a device of that pace.
pub fn advise(
    config: &TuneConfig,
    training_windows: usize,
    validation_windows: usize,
    pace: &Pace,
) -> Result<Advice, TuneError> {
    config.check()?;
    config.check_batch(training_windows)?;
    let problem = problem(config, training_windows);
    let along = start_values(config, &problem).directions(&problem, &initial_weights(config, &problem));
    let validation = validation_windows.min(config.validation_windows as usize);
    let budget = config.memory_budget.0;
    let task = Task { problem: &problem, along: &along, validation, budget, pace };
    let choices = task.choices()?;
    // The fastest of the exact ones that are possible; where there are none, of the others.
    let open = |exact: bool| {
        let possible = choices.iter().enumerate().filter(move |(_, c)| c.impossible.is_none() && c.exact == exact);
        possible.min_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds)).map(|(k, _)| k)
    };
    let Some(best) = open(true).or_else(|| open(false)) else {
        // Says what the least is that would do.
        Blueprint::new(&problem, validation, Memory::Budget(budget))?;
        unreachable!("reverse mode within a budget is possible wherever it has a plan");
    };
    let reason = reason(&choices, best, along.len(), problem.steps);
    Ok(Advice {
        steps: problem.steps,
        hyperparameters: along.len(),
        parameters: problem.model.parameter_count(),
        memory_budget: budget,
        choices,
        best,
        reason,
    })
}

fn reason(choices: &[Choice], best: usize, count: usize, steps: usize) -> String {
    let seconds = |name: &str| choices.iter().find(|c| c.name == name && c.bytes.is_some()).map_or(0.0, |c| c.seconds);
    let hyperparameters = if count == 1 { "one hyperparameter".to_owned() } else { format!("{count} hyperparameters") };
    let times = |ratio: f64| if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") };
    let back = format!(
        "one way back costs the same however many hyperparameters there are (for {hyperparameters}, forward mode would \
         take {} times as long)",
        times(seconds(FORWARD) / choices[best].seconds)
    );
    match choices[best].name.as_str() {
        STORED => format!("{back}, and the states of all {steps} steps fit into the memory budget"),
        REVOLVE => format!(
            "{back}; the states of all {steps} steps do not fit into the memory budget, so some are computed again, to the \
             same bits"
        ),
        FORWARD => format!(
            "for {hyperparameters}, tangents that go along with the training cost less than a way back through its {steps} \
             steps (which would take {} times as long), and no states are kept",
            times(seconds(STORED) / choices[best].seconds)
        ),
        _ => "no exact method is possible within the memory budget".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::hyperparameters::Kind;
    use crate::experiment::config::Bytes;

    const PACE: Pace = Pace { step: 0.001, adjoint: 0.0026, outer: 0.002, evaluation: 0.001 };

    fn advice(change: impl FnOnce(&mut TuneConfig)) -> Advice {
        let mut config = TuneConfig { steps: 50, batch: 16, validation_windows: 128, ..TuneConfig::default() };
        change(&mut config);
        advise(&config, 500, 200, &PACE).unwrap()
    }

    fn best(advice: &Advice) -> &str {
        &advice.choices[advice.best].name
    }

    #[test]
    fn the_number_of_hyperparameters_and_the_memory_decide() {
        let one = advice(|c| c.hyperparameters = vec![Kind::Lr]);
        assert_eq!((best(&one), one.hyperparameters), (FORWARD, 1));
        let six = advice(|_| {});
        assert_eq!((best(&six), six.hyperparameters), (STORED, 6));
        assert!(six.choices[six.best].bytes.unwrap() <= six.memory_budget);

        let all = six.choices[0].bytes.unwrap();
        let tight = advice(|c| c.memory_budget = Bytes(all - 1));
        assert_eq!(best(&tight), REVOLVE);
        assert!(tight.choices[0].impossible.is_some());
        assert!(tight.choices[1].seconds > tight.choices[0].seconds);
        assert!(tight.reason.contains("do not fit"), "{}", tight.reason);

        let many = advice(|c| c.hyperparameters = vec![Kind::ExampleWeights]);
        assert_eq!((best(&many), many.hyperparameters), (STORED, 500));
        let seconds = |name| many.choices.iter().find(|c| c.name == name).unwrap().seconds;
        assert!(seconds(FORWARD) > 50.0 * seconds(STORED));
    }

    #[test]
    fn what_cannot_be_seen_is_refused_with_the_reason() {
        let text = |advice: &Advice, start: &str| {
            let choice = advice.choices.iter().find(|c| c.name.starts_with(start)).unwrap();
            choice.impossible.clone().unwrap_or_default()
        };
        let noisy = advice(|_| {});
        assert!(text(&noisy, "implicit").contains("dropout"), "{}", text(&noisy, "implicit"));
        let still = advice(|c| c.dropout = 0.0);
        assert!(text(&still, "implicit").contains("the learning rate"), "{}", text(&still, "implicit"));
        let penalties = advice(|c| (c.dropout, c.hyperparameters) = (0.0, vec![Kind::L2]));
        assert_eq!(text(&penalties, "implicit"), "");
        assert!(text(&penalties, "fixed").contains("another batch"));
    }

    #[test]
    fn too_small_a_budget_is_refused_with_the_least_that_does() {
        let config = TuneConfig { memory_budget: Bytes(1000), ..TuneConfig::default() };
        let error = advise(&config, 500, 200, &PACE).unwrap_err();
        assert!(matches!(error, TuneError::Solve(SolveError::Budget { .. })), "{error}");
    }
}
