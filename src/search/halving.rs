//! Successive halving (Karnin et al. 2013, Jamieson and Talwalkar 2016) and Hyperband (Li et al. 2018): brackets of trials
//! train to a rung, the best of them to the next.

use super::brackets::{Table, brackets, whole};
use super::history::{Attributes, Decision, History, State, Trial};
use super::searcher::{Ask, Plan, Schedule, Verdict};

/// Trials that go through rungs together.
#[derive(Clone, Debug, PartialEq)]
pub struct Bracket {
    /// How many reach each rung.
    pub trials: Vec<u64>,
    /// The steps of each rung.
    pub budgets: Vec<u64>,
}

/// Brackets one after another. A worker that finds nothing to do in one begins the next; within a rung all wait for the
/// last.
#[derive(Clone, Debug)]
pub struct Hyperband {
    brackets: Vec<Bracket>,
    /// How often all of them are gone through; without end if nothing is said.
    rounds: Option<u64>,
}

impl Hyperband {
    /// With a table's brackets, gone through so often.
    pub fn new(table: Table, least: u64, most: u64, factor: u64, rounds: Option<u64>) -> Self {
        let brackets = brackets(table, least, most, factor).into_iter().filter(|rungs| !rungs.is_empty());
        let bracket =
            |rungs: Vec<_>| Bracket { budgets: whole(&rungs), trials: rungs.iter().map(|rung| rung.trials).collect() };
        Hyperband { brackets: brackets.map(bracket).collect(), rounds }
    }

    /// Successive halving: so many trials begin, and ⌊n η⁻ⁱ⌋ train for r ηⁱ steps, as long as there is one, up to `most`.
    pub fn halving(trials: u64, least: u64, most: u64, factor: u64, rounds: Option<u64>) -> Self {
        let mut bracket = Bracket { trials: vec![], budgets: vec![] };
        let (most, factor) = (most.max(1), factor.max(2));
        let (mut left, mut budget) = (trials.max(1), least.clamp(1, most));
        while left > 0 {
            bracket.trials.push(left);
            bracket.budgets.push(budget);
            if budget == most {
                break;
            }
            left /= factor;
            budget = budget.saturating_mul(factor).min(most);
        }
        Hyperband { brackets: vec![bracket], rounds }
    }

    /// The brackets of one round.
    pub fn brackets(&self) -> &[Bracket] {
        &self.brackets
    }

    /// The bracket that a trial is in, and the number of that bracket's first one.
    fn place(&self, trial: u64) -> (&Bracket, u64) {
        let round: u64 = self.brackets.iter().map(|bracket| bracket.trials[0]).sum();
        let mut first = trial / round * round;
        for bracket in &self.brackets {
            if trial < first + bracket.trials[0] {
                return (bracket, first);
            }
            first += bracket.trials[0];
        }
        unreachable!("a round holds all trials below its end")
    }

    /// What is to be done in a bracket whose members are these.
    fn next(bracket: &Bracket, members: &[Trial]) -> Option<Ask> {
        for (rung, &budget) in bracket.budgets.iter().enumerate() {
            let mut entered: Vec<&Trial> = members.iter().filter(|trial| trial.budget >= budget).collect();
            let all_there = rung > 0 || entered.len() as u64 == bracket.trials[0];
            let busy = |trial: &&Trial| trial.state == State::Running && trial.value_at(budget).is_none();
            if !all_there || entered.iter().any(busy) {
                return None;
            }
            let (Some(&survivors), Some(&further)) = (bracket.trials.get(rung + 1), bracket.budgets.get(rung + 1))
            else {
                return None;
            };
            // What broke while it waited cannot go on.
            entered.retain(|trial| trial.state != State::Failed || trial.budget > budget);
            let mut ranked: Vec<(&Trial, f64)> =
                entered.iter().filter_map(|trial| Some((*trial, trial.value_at(budget)?))).collect();
            ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.number.cmp(&b.0.number)));
            let survivors = (survivors as usize).min(ranked.len());
            let threshold = survivors.checked_sub(1).map_or(f64::NEG_INFINITY, |last| ranked[last].1);
            let decision = |value| Decision { rung: budget, threshold, value };
            let (best, worse) = ranked.split_at(survivors);
            if let Some((trial, value)) = worse.iter().find(|(trial, _)| trial.state == State::Paused) {
                return Some(Ask::Stop { trial: trial.number, decision: decision(*value) });
            }
            let waits = |trial: &Trial| trial.state == State::Paused && trial.budget == budget;
            if let Some((trial, value)) = best.iter().find(|(trial, _)| waits(trial)) {
                return Some(Ask::Resume { trial: trial.number, budget: further, decision: decision(*value) });
            }
        }
        None
    }
}

impl Schedule for Hyperband {
    fn plan(&self, history: &History, _: u64, trial: u64) -> Plan {
        let trials = history.trials();
        let mut first = 0;
        while first < trials.len() as u64 {
            let (bracket, _) = self.place(first);
            let end = first + bracket.trials[0];
            let members = &trials[first as usize..trials.len().min(end as usize)];
            if let Some(ask) = Self::next(bracket, members) {
                return Plan::Other(ask);
            }
            first = end;
        }
        let round: u64 = self.brackets.iter().map(|bracket| bracket.trials[0]).sum();
        if self.rounds.is_some_and(|rounds| trial >= rounds * round) {
            let busy = trials.iter().any(|trial| trial.state == State::Running);
            return Plan::Other(if busy { Ask::Wait } else { Ask::Done });
        }
        let (bracket, first) = self.place(trial);
        let attributes = Attributes::from([("bracket".to_owned(), first.into())]);
        Plan::Start { budget: bracket.budgets[0], attributes }
    }

    fn judge(&self, history: &History, _: u64, trial: u64) -> Verdict {
        let Some(trial) = history.trial(trial) else { return Verdict::Continue };
        let (bracket, _) = self.place(trial.number);
        match trial.step() {
            step if step < trial.budget => Verdict::Continue,
            step if bracket.budgets.last().is_some_and(|last| step >= *last) => Verdict::Complete,
            _ => Verdict::Pause,
        }
    }
}
