//! Which way to a hypergradient suits a problem: what each would take on a device, and which to choose.
//!
//! Bytes are those of the [`Blueprint`]. Seconds are the counted runs of each method's programs, at the measured time of
//! a training step and of its adjoint.

use serde::Serialize;

use super::config::{Differentiation, TuneConfig};
use super::error::TuneError;
use super::setup::{problem, start_values};
use crate::bilevel::{
    Blueprint, CHUNK, Counts, Directions, Flow, Memory, Method, Monitor, Online, Pace, Problem, RealTime, Reverse,
    SolveError,
};
use crate::data::Sizes;
use crate::engine::{mebibytes, several};
use crate::rig::Compiled;

/// One way to a hypergradient.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// For people: the method and its size.
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
    /// All ways, possible or not.
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

/// The ways to the hypergradient of a problem with what each runs and holds, on whatever device.
#[derive(Clone, Debug)]
pub struct Ways {
    steps: usize,
    hyperparameters: usize,
    parameters: usize,
    memory_budget: u64,
    /// Training examples.
    train: usize,
    /// Examples of the outer loss.
    validation: usize,
    ways: Vec<Way>,
}

/// A choice whose seconds are still to be reckoned.
#[derive(Clone, Debug)]
struct Way {
    choice: Choice,
    /// What it runs, where it has a plan.
    counts: Counts,
}

impl Ways {
    /// Those of a run on data of these sizes, whatever method it names. Refuses a run for which
    /// there is none. Of the programs of each, those that are not there yet are compiled, which may take a good part of a
    /// second in all; the host is given its turn between them.
    pub async fn of(
        config: &TuneConfig,
        sizes: &Sizes,
        compiled: &Compiled,
        host: &mut dyn Monitor,
    ) -> Result<Self, TuneError> {
        config.check()?;
        config.check_batch(sizes.train)?;
        let problem = problem(config, sizes)?;
        let along = start_values(config, &problem).directions(&problem);
        let (validation, budget) = (problem.validation, config.memory_budget.0);
        let ways = Task { problem: &problem, along: &along, compiled, budget }.ways(host).await?;
        if ways.iter().all(|way| way.choice.impossible.is_some()) {
            // Says what the least is that would do.
            Blueprint::with(&problem, &Reverse { memory: Memory::Budget(budget) }, compiled)?;
            unreachable!("reverse mode within a budget is possible wherever it has a plan");
        }
        Ok(Ways {
            steps: problem.steps,
            hyperparameters: along.len(),
            parameters: problem.model.parameter_count(),
            memory_budget: budget,
            train: problem.train,
            validation,
            ways,
        })
    }

    /// The advice for a device of that pace.
    pub fn advice(&self, pace: &Pace) -> Advice {
        let outer = self.validation.div_ceil(CHUNK) as f64 * pace.outer;
        let timed = |way: &Way| {
            let seconds = if way.choice.bytes.is_some() { pace.of(&way.counts, self.train) + outer } else { 0.0 };
            Choice { seconds, ..way.choice.clone() }
        };
        let choices: Vec<Choice> = self.ways.iter().map(timed).collect();
        // The fastest of the exact ones that are possible; where there are none, of the others.
        let open = |exact: bool| {
            let possible = choices.iter().enumerate().filter(move |(_, c)| c.impossible.is_none() && c.exact == exact);
            possible.min_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds)).map(|(k, _)| k)
        };
        let best = open(true).or_else(|| open(false)).expect("one of the ways is possible");
        let reason = reason(&choices, best, self.hyperparameters, self.steps);
        let Ways { steps, hyperparameters, parameters, memory_budget, .. } = *self;
        Advice { steps, hyperparameters, parameters, memory_budget, choices, best, reason }
    }
}

/// A problem and what it is to be differentiated along.
struct Task<'a> {
    problem: &'a Problem,
    along: &'a Directions,
    compiled: &'a Compiled,
    budget: u64,
}

impl Task<'_> {
    /// A method on training steps of which each estimate has so many. What is remarked of it says how it is biased.
    fn way(
        &self,
        name: &str,
        setting: Option<Differentiation>,
        steps: usize,
        method: impl Into<Box<dyn Method>>,
        remark: &str,
    ) -> Result<Way, SolveError> {
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
        let blueprint = match Blueprint::with(&problem, &*method, self.compiled) {
            Ok(blueprint) => blueprint,
            Err(error @ SolveError::Budget { .. }) => {
                choice.impossible = Some(error.to_string());
                return Ok(Way { choice, counts: Counts::default() });
            }
            Err(error) => return Err(error),
        };
        choice.bytes = Some(blueprint.bytes());
        if blueprint.bytes() > self.budget && choice.impossible.is_none() {
            let (takes, budget) = (mebibytes(blueprint.bytes()), mebibytes(self.budget));
            choice.impossible = Some(format!("it takes {takes}, more than the memory budget of {budget}"));
        }
        Ok(Way { choice, counts: method.counts(&problem, &blueprint.checkpoints, self.along.len()) })
    }

    async fn ways(&self, host: &mut dyn Monitor) -> Result<Vec<Way>, SolveError> {
        let steps = self.problem.steps;
        let (part, count) = (steps.div_ceil(PART), self.along.len());
        let memory = Memory::Budget(self.budget);
        let last = format!("biased: only the last {part} of {} are differentiated", several(steps as u64, "step"));
        let online = format!("biased: the training goes on, {} for each hypergradient", several(part as u64, "step"));
        let settled = format!("biased until the training has settled; {ITERATIONS} iterations are reckoned with");
        let mut all = vec![self.way(STORED, Some(Differentiation::Reverse), steps, Memory::StoreAll, "")?];
        // Where every state fits, Revolve would be the same thing again.
        let fits = all[0].choice.bytes.is_some_and(|bytes| bytes <= self.budget);
        if fits {
            // As it is run: with residuals in what is left of the budget.
            all[0] = self.way(STORED, Some(Differentiation::Reverse), steps, memory, "")?;
        }
        let revolve = (!fits).then_some((REVOLVE, Differentiation::Reverse, ""));
        let settings = [
            (FORWARD, Differentiation::Forward, ""),
            ("truncated reverse mode", Differentiation::Truncated(part as u32), &last),
            ("implicit differentiation", Differentiation::Implicit(ITERATIONS), &settled),
            ("fixed-point differentiation", Differentiation::FixedPoint(ITERATIONS), &settled),
        ];
        for (name, setting, remark) in revolve.into_iter().chain(settings) {
            give_turn(host).await?;
            all.push(self.way(name, Some(setting), steps, setting.method(memory, count), remark)?);
        }
        give_turn(host).await?;
        all.push(self.way("online reverse mode", None, part, Online::new(Reverse { memory }), &online)?);
        give_turn(host).await?;
        all.push(match count {
            0..=WIDEST => self.way(REAL_TIME, None, part, RealTime::new(count), &online)?,
            _ => Way {
                choice: Choice {
                    name: REAL_TIME.to_owned(),
                    setting: None,
                    exact: false,
                    seconds: 0.0,
                    bytes: None,
                    impossible: Some(format!("its one program would move {count} tangents")),
                    remark: online,
                },
                counts: Counts::default(),
            },
        });
        Ok(all)
    }
}

async fn give_turn(host: &mut dyn Monitor) -> Result<(), SolveError> {
    if host.breathe().await == Flow::Stop { Err(SolveError::Stopped) } else { Ok(()) }
}

const STORED: &str = "reverse mode, every state kept";
const REVOLVE: &str = "reverse mode, Revolve within the budget";
const FORWARD: &str = "forward mode";
const REAL_TIME: &str = "real-time forward mode";

fn reason(choices: &[Choice], best: usize, count: usize, steps: usize) -> String {
    let seconds = |name: &str| choices.iter().find(|c| c.name == name && c.bytes.is_some()).map_or(0.0, |c| c.seconds);
    // The way back that fits into the memory.
    let back_again = if choices.iter().any(|c| c.name == STORED && c.impossible.is_none()) { STORED } else { REVOLVE };
    let all = if steps == 1 { "the one step".to_owned() } else { format!("all {steps} steps") };
    let hyperparameters = if count == 1 { "one hyperparameter".to_owned() } else { format!("{count} hyperparameters") };
    let times = |ratio: f64| if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") };
    let back = format!(
        "one way back costs the same however many hyperparameters there are (for {hyperparameters}, forward mode would \
         take {} times as long)",
        times(seconds(FORWARD) / choices[best].seconds)
    );
    match choices[best].name.as_str() {
        STORED => format!("{back}, and the states of {all} fit into the memory budget"),
        REVOLVE => format!(
            "{back}; the states of {all} do not fit into the memory budget, so some are computed again, to the \
             same bits"
        ),
        FORWARD => format!(
            "for {hyperparameters}, tangents that go along with the training cost less than a way back through its {} \
             (which would take {} times as long), and no states are kept",
            several(steps as u64, "step"),
            times(seconds(back_again) / choices[best].seconds)
        ),
        _ => "no exact method is possible within the memory budget".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::Unattended;
    use crate::bilevel::hyperparameters::Kind;
    use crate::experiment::config::Bytes;
    use crate::experiment::setup::with_training;

    const PACE: Pace = Pace { step: 0.001, adjoint: 0.0026, outer: 0.002, evaluation: 0.001 };

    fn ways(config: &TuneConfig) -> Result<Ways, TuneError> {
        let sizes = Sizes { validation: 200, ..with_training(500) };
        pollster::block_on(Ways::of(config, &sizes, &Compiled::default(), &mut Unattended))
    }

    fn small() -> TuneConfig {
        TuneConfig { steps: 50, batch: Some(16), validation_windows: 128, ..TuneConfig::default() }
    }

    fn advice(change: impl FnOnce(&mut TuneConfig)) -> Advice {
        let mut config = small();
        change(&mut config);
        ways(&config).unwrap().advice(&PACE)
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

        // What is more than the states need goes to residuals.
        let sizes = Sizes { validation: 128, ..with_training(500) };
        let problem = problem(&small(), &sizes).unwrap();
        let states = Blueprint::new(&problem, 128, Memory::StoreAll).unwrap().bytes();
        assert!(six.choices[six.best].bytes.unwrap() > states);
        let tight = advice(|c| c.memory_budget = Bytes(states - 1));
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
        let still = advice(|c| c.dropout = Some(0.0));
        assert!(text(&still, "implicit").contains("the learning rate"), "{}", text(&still, "implicit"));
        let penalties = advice(|c| (c.dropout, c.hyperparameters) = (Some(0.0), vec![Kind::L2]));
        assert_eq!(text(&penalties, "implicit"), "");
        assert!(text(&penalties, "fixed").contains("another batch"));
    }

    #[test]
    fn too_small_a_budget_is_refused_with_the_least_that_does() {
        let config = TuneConfig { memory_budget: Bytes(1000), ..TuneConfig::default() };
        let error = ways(&config).unwrap_err();
        assert!(matches!(error, TuneError::Solve(SolveError::Budget { .. })), "{error}");
    }
}
