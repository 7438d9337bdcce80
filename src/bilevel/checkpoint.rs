//! Which states of a training run are kept, and what is run again: a plan that is plain data.
//!
//! With a place for every state, all are stored; the last steps may also keep their residuals, what their adjoints would
//! compute again of the step. With fewer slots the plan is Revolve's, the binomial
//! schedule of Griewank and Walther (2000, ACM TOMS 26(1)), which is optimal: with c slots and at most
//! r forward passes over any step it reverses C(c + r, c) steps, at r·T − C(c + r, c + 1) steps run.

// Long because a plan, how its actions are taken, and the tests that hold one against the other are read together.

use std::fmt::Write as _;
use std::ops::Range;

use crate::engine::several;

/// A place that holds one state: a position in the driver's list.
pub type Place = usize;

/// One thing the driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One training step from the state in one place to another.
    Step {
        /// Where the state is read.
        from: Place,
        /// Where the next state is written.
        to: Place,
        /// The set of arrays that the step's residuals are kept in, if they are.
        set: Option<usize>,
    },
    /// The final state is there: take the outer loss and its gradient.
    Outer,
    /// Pull the cotangent back through the step that leaves the state at this place.
    Adjoint {
        /// Where the state before the step is.
        at: Place,
        /// Where the step has kept its residuals, if it has.
        set: Option<usize>,
    },
}

/// The schedule of one hypergradient: a few numbers, whose actions are computed as they are taken. Place 0 holds the
/// initial state and is never overwritten; the last place receives the final state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Training steps T.
    pub steps: usize,
    /// Steps that are differentiated backwards, from the last on.
    pub last: usize,
    /// States held, the final one included.
    pub places: usize,
    /// Slots that hold checkpoints, the initial state included.
    pub slots: usize,
    /// Steps that keep their residuals, from the last on, each in a set of arrays of its own; only where all states that
    /// are differentiated from are stored.
    pub kept: usize,
}

/// Places besides the slots: two to advance through, one for the final state.
const WORKING_PLACES: usize = 3;

/// Actions that are printed one by one.
const PRINTED: usize = 1000;

impl Plan {
    /// The plan that differentiates all steps with at most `places` states in memory; with `steps + 1`
    /// all are stored. `None` if fewer than [`Plan::fewest_places`] are given.
    pub fn new(steps: usize, places: usize) -> Option<Plan> {
        Plan::of_last(steps, steps, places)
    }

    /// The same for the last steps alone: what comes before them only trains.
    pub fn of_last(steps: usize, last: usize, places: usize) -> Option<Plan> {
        if places >= Plan::most_places(steps, last) {
            return Some(Plan::revolve_last(steps, last, last));
        }
        let slots = places.checked_sub(WORKING_PLACES + usize::from(last < steps)).filter(|&slots| slots > 0)?;
        Some(Plan::revolve_last(steps, last, slots))
    }

    /// One slot and the working places.
    const FEWEST_PLACES: usize = WORKING_PLACES + 1;

    /// The fewest states by which the last steps can be differentiated.
    pub fn fewest_places(steps: usize, last: usize) -> usize {
        Plan::most_places(steps, last).min(Plan::FEWEST_PLACES + usize::from(last < steps))
    }

    /// The states of the last steps, and the initial state if that is not one of them.
    pub fn most_places(steps: usize, last: usize) -> usize {
        last + 1 + usize::from(last < steps)
    }

    /// Only trains.
    pub fn training(steps: usize) -> Plan {
        Plan { steps, last: 0, places: (steps + 1).min(3), slots: 1, kept: 0 }
    }

    /// Where a training without a way back keeps the state after `t` steps: two places are enough.
    pub fn training_place(&self, t: usize) -> Place {
        match t {
            0 => 0,
            _ if (self.steps - t).is_multiple_of(2) => self.places - 1,
            _ => 1,
        }
    }

    /// Revolve with `slots` checkpoints, the initial state included.
    pub fn revolve(steps: usize, slots: usize) -> Plan {
        Plan::revolve_last(steps, steps, slots)
    }

    /// Revolve over the last steps, with `slots` checkpoints, the state before them included; with as many as there are
    /// steps, all states are stored.
    pub fn revolve_last(steps: usize, last: usize, slots: usize) -> Plan {
        if slots >= last {
            return Plan { steps, last, places: Plan::most_places(steps, last), slots: last, kept: 0 };
        }
        Plan { steps, last, places: usize::from(last < steps) + slots + WORKING_PLACES, slots, kept: 0 }
    }

    /// The same plan with the residuals of so many steps kept, as far as it stores all states.
    pub fn keeping(self, steps: usize) -> Plan {
        let kept = if self.stores_all() { steps.min(self.last) } else { 0 };
        Plan { kept, ..self }
    }

    /// The actions of the whole sweep, in order: every step once, the outer loss, and the way back.
    pub fn actions(&self) -> Actions {
        // The steps before the last ones end in the place behind the initial state, which they reach in turns with the
        // next.
        let before = self.steps - self.last;
        let base = usize::from(before > 0);
        let mut actions =
            Actions { steps: self.steps, last: self.places - 1, free: vec![], work: [0; 2], tasks: vec![], kept: 0..0 };
        if self.last == 0 {
            actions.tasks = vec![
                Task::Outer,
                Task::Advance { at: 0, count: before, to: self.places - 1, by: [self.places - 1, 1] },
            ];
            return actions;
        }
        if self.stores_all() {
            let end = base + self.last;
            actions.kept = end - self.kept..end;
            actions.tasks =
                vec![Task::Back { at: end, count: self.last }, Task::Outer, Task::Store { at: base, count: self.last }];
        } else {
            actions.free = (base + 1..base + self.slots).rev().collect();
            actions.work = [base + self.slots, base + self.slots + 1];
            actions.tasks = vec![Task::Reverse { begin: before, end: self.steps, place: base }];
        }
        actions.tasks.push(Task::Advance { at: 0, count: before, to: 1, by: [1, 2] });
        actions
    }

    /// Training steps run, the first sweep included (not the step inside each adjoint).
    pub fn steps_run(&self) -> u64 {
        let again = if self.stores_all() { 0 } else { run_again(self.last, self.slots) };
        self.steps as u64 + again
    }

    /// Adjoints run.
    pub fn adjoints_run(&self) -> u64 {
        self.last as u64
    }

    /// Actions in all.
    pub fn actions_run(&self) -> u64 {
        self.steps_run() + 1 + self.adjoints_run()
    }

    /// Whether every state that is differentiated from is kept.
    pub fn stores_all(&self) -> bool {
        self.slots >= self.last
    }

    /// A line about the plan, and its first actions.
    pub fn print(&self) -> String {
        let kind = match self.last {
            0 => "training alone",
            _ if self.stores_all() => "store all",
            _ => "Revolve",
        };
        let mut text = format!(
            "checkpoint plan: {kind}, {}, {}, {} in memory, {} run ({} again)\n",
            several(self.steps as u64, "training step"),
            several(self.slots as u64, "slot"),
            several(self.places as u64, "state"),
            several(self.steps_run(), "step"),
            self.steps_run() - self.steps as u64
        );
        for action in self.actions().take(PRINTED) {
            let _ = match action {
                Action::Step { from, to, .. } => write!(text, "  step s{from} → s{to}"),
                Action::Outer => write!(text, "  outer loss at s{}", self.places - 1),
                Action::Adjoint { at, .. } => write!(text, "  adjoint at s{at}"),
            };
            text.push('\n');
        }
        if self.kept > 0 {
            let _ = writeln!(text, "  the last {} keep their residuals", several(self.kept as u64, "step"));
        }
        if let Some(more @ 1..) = self.actions_run().checked_sub(PRINTED as u64) {
            let _ = writeln!(text, "  … and {more} more");
        }
        text
    }
}

/// C(slots + passes, slots): the steps that so many slots reverse with at most so many forward passes
/// over any step. Stops growing beyond any length.
fn reach(slots: usize, passes: usize) -> u128 {
    let of = (slots + passes) as u128;
    (1..=slots.min(passes) as u128).fold(1, |c: u128, i| c.saturating_mul(of + 1 - i) / i)
}

/// The fewest forward passes over any step with which so many slots reverse a segment.
fn passes(length: usize, slots: usize) -> usize {
    let (mut few, mut enough) = (0, length);
    while few + 1 < enough {
        let middle = few + (enough - few) / 2;
        if reach(slots, middle) >= length as u128 { enough = middle } else { few = middle }
    }
    enough
}

/// Steps that Revolve runs again: r·T − C(c + r, c + 1), and one of them is the last, which the bound leaves out since
/// only the outer loss needs its state.
fn run_again(length: usize, slots: usize) -> u64 {
    let r = passes(length, slots);
    // C(c + r, c + 1) from C(c + r, c), which is below (c + 1)·T.
    let binomial = reach(slots, r) * r as u128 / (slots as u128 + 1);
    (r as u128 * length as u128 - binomial + 1) as u64 - length as u64
}

/// An optimal first advance for a segment: after it, the rest needs at most as many passes with one
/// slot less, and the segment itself at most one pass less (Griewank and Walther 2000, lemma 1).
fn split(length: usize, slots: usize) -> usize {
    let passes = passes(length, slots);
    let rest = reach(slots - 1, passes - 1);
    let most = reach(slots, passes - 1).min(length as u128) as usize;
    most.min((length as u128).saturating_sub(rest) as usize).max(1)
}

/// What is left of a plan: it holds no more than its slots do.
pub struct Actions {
    steps: usize,
    /// The place of the final state.
    last: Place,
    free: Vec<Place>,
    work: [Place; 2],
    /// The next one last.
    tasks: Vec<Task>,
    /// Places of the states whose steps keep their residuals.
    kept: Range<Place>,
}

enum Task {
    /// So many steps, the last of them into `to`, those before it in turns into the places `by`: into the first where
    /// an even number of steps is left after them.
    Advance {
        at: Place,
        count: usize,
        to: Place,
        by: [Place; 2],
    },
    /// So many steps, each into the next place.
    Store {
        at: Place,
        count: usize,
    },
    Outer,
    /// Adjoints of the steps that lead to the places up to this one.
    Back {
        at: Place,
        count: usize,
    },
    /// Adjoints of steps `end` down to `begin + 1`; the state before step `begin + 1` is at `place`.
    Reverse {
        begin: usize,
        end: usize,
        place: Place,
    },
    /// The adjoint of one step.
    Adjoint {
        step: usize,
        at: Place,
    },
    /// A slot is free again.
    Free(Place),
}

impl Iterator for Actions {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        loop {
            match self.tasks.pop()? {
                Task::Advance { count: 0, .. } | Task::Store { count: 0, .. } | Task::Back { count: 0, .. } => {}
                Task::Advance { at, count, to, by } => {
                    let left = count - 1;
                    let next = if left == 0 { to } else { by[left % 2] };
                    self.tasks.push(Task::Advance { at: next, count: left, to, by });
                    return Some(Action::Step { from: at, to: next, set: None });
                }
                Task::Store { at, count } => {
                    self.tasks.push(Task::Store { at: at + 1, count: count - 1 });
                    return Some(Action::Step { from: at, to: at + 1, set: self.set(at) });
                }
                Task::Outer => return Some(Action::Outer),
                Task::Back { at, count } => {
                    self.tasks.push(Task::Back { at: at - 1, count: count - 1 });
                    return Some(Action::Adjoint { at: at - 1, set: self.set(at - 1) });
                }
                Task::Reverse { begin, end, place } => self.reverse(begin, end, place),
                Task::Adjoint { step, at } => {
                    // The first of all comes after the last step and the outer loss.
                    if step < self.steps {
                        return Some(Action::Adjoint { at, set: None });
                    }
                    self.steps = usize::MAX;
                    self.tasks.extend([Task::Adjoint { step, at }, Task::Outer]);
                    return Some(Action::Step { from: at, to: self.last, set: None });
                }
                Task::Free(place) => self.free.push(place),
            }
        }
    }
}

impl Actions {
    /// Where the step from the state at a place keeps its residuals.
    fn set(&self, at: Place) -> Option<usize> {
        self.kept.contains(&at).then(|| at - self.kept.start)
    }

    fn reverse(&mut self, begin: usize, end: usize, place: Place) {
        let length = end - begin;
        let advance = |count, to| Task::Advance { at: place, count, to, by: self.work };
        if length == 1 {
            self.tasks.push(Task::Adjoint { step: end, at: place });
        } else if self.free.is_empty() {
            let tasks = [
                Task::Reverse { begin, end: end - 1, place },
                Task::Adjoint { step: end, at: self.work[0] },
                advance(length - 1, self.work[0]),
            ];
            self.tasks.extend(tasks);
        } else {
            let first = split(length, self.free.len() + 1);
            let slot = self.free.pop().expect("a slot is free");
            let tasks = [
                Task::Reverse { begin, end: begin + first, place },
                Task::Free(slot),
                Task::Reverse { begin: begin + first, end, place: slot },
                advance(first, slot),
            ];
            self.tasks.extend(tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a plan on step counters: every adjoint sees its state, once, in order.
    fn check(plan: &Plan) {
        let mut held: Vec<Option<usize>> = vec![None; plan.places];
        held[0] = Some(0);
        let (mut next, mut outer) = (plan.steps, false);
        let mut sets: Vec<Option<usize>> = vec![None; plan.kept];
        for action in plan.actions() {
            match action {
                Action::Step { from, to, set } => {
                    assert!(from != to && to != 0, "{action:?}");
                    if let Some(set) = set {
                        assert_eq!(sets[set], None);
                        sets[set] = held[from];
                    }
                    held[to] = Some(held[from].expect("a state is there") + 1);
                }
                Action::Outer => {
                    assert_eq!(held[plan.places - 1], Some(plan.steps));
                    outer = true;
                }
                Action::Adjoint { at, set } => {
                    assert!(outer);
                    next -= 1;
                    assert_eq!(set.is_some(), plan.steps - next <= plan.kept);
                    assert!(set.is_none_or(|set| sets[set] == Some(next)));
                    assert_eq!(held[at], Some(next), "T {} slots {}", plan.steps, plan.slots);
                }
            }
        }
        assert!(outer);
        assert_eq!(next, plan.steps - plan.last);
        // What is said of the plan is what it does.
        let is_step = |action: &Action| matches!(action, Action::Step { .. });
        assert_eq!(plan.steps_run(), plan.actions().filter(is_step).count() as u64);
        assert_eq!(plan.actions_run(), plan.actions().count() as u64);
        assert_eq!(plan.actions().position(|action| action == Action::Outer), Some(plan.steps));
    }

    fn binomial(n: u64, k: u64) -> u64 {
        (0..k).fold(1, |c, i| c * (n - i) / (i + 1))
    }

    /// r·T − C(c + r, c + 1) with the smallest r for which C(c + r, c) ≥ T.
    fn bound(steps: usize, slots: usize) -> u64 {
        let (steps, slots) = (steps as u64, slots as u64);
        let r = (1..).find(|r| binomial(slots + r, slots) >= steps).unwrap();
        r * steps - binomial(slots + r, slots + 1)
    }

    #[test]
    fn every_plan_is_right_and_optimal() {
        for steps in 1..70 {
            check(&Plan::new(steps, usize::MAX).unwrap());
            check(&Plan::training(steps));
            [1, steps / 2, usize::MAX].iter().for_each(|&kept| check(&Plan::revolve(steps, steps).keeping(kept)));
            assert_eq!(Plan::training(steps).keeping(3).kept, 0);
            for slots in 1..9 {
                let plan = Plan::revolve(steps, slots);
                check(&plan);
                // The bound leaves out the last step of the first sweep, whose state only E needs.
                assert_eq!(plan.steps_run(), bound(steps, slots) + 1, "T {steps} slots {slots}");
            }
        }
    }

    #[test]
    fn published_counts() {
        for (steps, slots, per_step) in
            [(200, 5, 3.95), (200, 8, 2.90), (200, 15, 2.24), (1000, 10, 3.64), (1000, 32, 2.41)]
        {
            let plan = Plan::revolve(steps, slots);
            check(&plan);
            let ratio = (plan.steps_run() - 1) as f64 / steps as f64;
            assert!((ratio - per_step).abs() < 0.0051, "T {steps} slots {slots}: {ratio}");
        }
        assert_eq!(Plan::revolve(1000, 16).steps_run() - 1, 2860);
    }

    #[test]
    fn plans_of_the_last_steps_train_up_to_them() {
        for steps in 1..14 {
            for last in 1..=steps {
                let stored = Plan::of_last(steps, last, usize::MAX).unwrap();
                check(&stored);
                (1..=last).for_each(|kept| check(&stored.clone().keeping(kept)));
                assert_eq!(stored.steps_run(), steps as u64);
                for slots in 1..5 {
                    let plan = Plan::revolve_last(steps, last, slots);
                    check(&plan);
                    assert_eq!(plan.steps_run(), (steps - last) as u64 + bound(last, slots) + 1, "{last} of {steps}");
                }
                for places in 1..steps + 3 {
                    let plan = Plan::of_last(steps, last, places);
                    assert_eq!(plan.is_some(), places >= Plan::fewest_places(steps, last));
                    if let Some(plan) = plan {
                        check(&plan);
                        assert!(plan.places <= places);
                    }
                }
            }
        }
    }

    #[test]
    fn a_plan_of_any_length_is_a_few_numbers() {
        let long = Plan::revolve(4_000_000_000, 1);
        assert_eq!(long.steps_run(), 4_000_000_000 * 3_999_999_999 / 2 + 1);
        assert!(long.print().ends_with(" more\n"));
        assert!(Plan::revolve(1_000_000_000, 600).steps_run() < 5_000_000_000);
        // What is left of it never grows beyond its slots.
        let mut actions = Plan::revolve(1_000_000, 50).actions();
        for _ in 0..1_100_000 {
            actions.next();
            assert!(actions.tasks.len() <= 4 * 50 + 4);
        }
    }

    #[test]
    fn few_places_are_refused_and_many_store_all() {
        assert!(Plan::new(10, Plan::FEWEST_PLACES - 1).is_none());
        assert!(Plan::new(10, 11).unwrap().stores_all());
        assert_eq!(Plan::new(10, 10).unwrap().places, 10);
    }
}
