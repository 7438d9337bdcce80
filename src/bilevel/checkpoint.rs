//! Which states of a training run are kept, and what is run again: a plan that is plain data.
//!
//! With a place for every state, all are stored. With fewer slots the plan is Revolve's, the binomial
//! schedule of Griewank and Walther (2000, ACM TOMS 26(1)), which is optimal: with c slots and at most
//! r forward passes over any step it reverses C(c + r, c) steps, at r·T − C(c + r, c + 1) steps run.

use std::fmt::Write as _;

use crate::engine::several;

/// A place that holds one state: a position in the driver's list.
pub type Place = usize;

/// One thing the driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One training step from the state in one place to another.
    Step { from: Place, to: Place },
    /// The final state is there: take the outer loss and its gradient.
    Outer,
    /// Pull the cotangent back through the step that leaves the state at this place.
    Adjoint { at: Place },
}

/// The schedule of one hypergradient. Place 0 holds the initial state and is never overwritten; the
/// last place receives the final state.
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
    pub actions: Vec<Action>,
}

/// Places besides the slots: two to advance through, one for the final state.
const WORKING_PLACES: usize = 3;

impl Plan {
    /// The plan that differentiates all steps with at most `places` states in memory; with `steps + 1`
    /// all are stored. `None` if fewer than [`Plan::fewest_places`] are given.
    pub fn new(steps: usize, places: usize) -> Option<Plan> {
        Plan::of_last(steps, steps, places)
    }

    /// The same for the last steps alone: what comes before them only trains.
    pub fn of_last(steps: usize, last: usize, places: usize) -> Option<Plan> {
        if places >= Plan::most_places(steps, last) {
            return Some(Plan::store_last(steps, last));
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
        let mut plan = Plan { steps, last: 0, places: (steps + 1).min(3), slots: 1, actions: vec![] };
        let step = |t| Action::Step { from: plan.training_place(t), to: plan.training_place(t + 1) };
        plan.actions = (0..steps).map(step).chain([Action::Outer]).collect();
        plan
    }

    /// Where a training without a way back keeps the state after `t` steps: two places are enough.
    pub fn training_place(&self, t: usize) -> Place {
        match t {
            0 => 0,
            _ if (self.steps - t).is_multiple_of(2) => self.places - 1,
            _ => 1,
        }
    }

    /// Keeps the states before the last steps.
    fn store_last(steps: usize, last: usize) -> Plan {
        let mut plan = Plan::before(steps, last);
        let base = plan.places - 1;
        let forward = (0..last).map(|k| Action::Step { from: base + k, to: base + k + 1 });
        let reverse = (0..last).rev().map(|k| Action::Adjoint { at: base + k });
        plan.actions.extend(forward.chain([Action::Outer]).chain(reverse));
        Plan { places: base + last + 1, slots: last, ..plan }
    }

    /// Revolve with `slots` checkpoints, the initial state included.
    pub fn revolve(steps: usize, slots: usize) -> Plan {
        Plan::revolve_last(steps, steps, slots)
    }

    /// Revolve over the last steps, with `slots` checkpoints, the state before them included.
    pub fn revolve_last(steps: usize, last: usize, slots: usize) -> Plan {
        let plan = Plan::before(steps, last);
        let base = plan.places - 1;
        let places = base + slots + WORKING_PLACES;
        let mut revolve = Revolve {
            free: (base + 1..base + slots).rev().collect(),
            work: [base + slots, base + slots + 1],
            last: places - 1,
            steps,
            actions: plan.actions,
        };
        revolve.reverse(steps - last, steps, base);
        Plan { places, slots, actions: revolve.actions, ..plan }
    }

    /// The steps before the last ones: their end lies in the last of the plan's places so far. It is
    /// reached in turns with the place behind it, which every plan has.
    fn before(steps: usize, last: usize) -> Plan {
        let count = steps - last;
        let place = |t: usize| if t == 0 { 0 } else { 1 + (count - t) % 2 };
        let actions = (0..count).map(|t| Action::Step { from: place(t), to: place(t + 1) }).collect();
        Plan { steps, last, places: 1 + count.min(1), slots: 0, actions }
    }

    /// Training steps run, the first sweep included (not the step inside each adjoint).
    pub fn steps_run(&self) -> usize {
        self.actions.iter().filter(|a| matches!(a, Action::Step { .. })).count()
    }

    /// Whether every state that is differentiated from is kept.
    pub fn stores_all(&self) -> bool {
        self.slots >= self.last
    }

    /// A line about the plan and, for short ones, its actions.
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
            several(self.steps_run() as u64, "step"),
            self.steps_run() - self.steps
        );
        for action in &self.actions {
            let _ = match action {
                Action::Step { from, to } => write!(text, "  step s{from} → s{to}"),
                Action::Outer => write!(text, "  outer loss at s{}", self.places - 1),
                Action::Adjoint { at } => write!(text, "  adjoint at s{at}"),
            };
            text.push('\n');
        }
        text
    }
}

/// C(slots + passes, slots): the steps that so many slots reverse with at most so many forward passes
/// over any step. Stops growing beyond any length.
fn reach(slots: usize, passes: usize) -> usize {
    (1..=slots.min(passes)).fold(1usize, |c, i| (c.saturating_mul(slots + passes + 1 - i)) / i)
}

/// An optimal first advance for a segment: after it, the rest needs at most as many passes with one
/// slot less, and the segment itself at most one pass less (Griewank and Walther 2000, lemma 1).
fn split(length: usize, slots: usize) -> usize {
    let passes = (1..).find(|&r| reach(slots, r) >= length).expect("some number of passes reaches any length");
    let rest = reach(slots - 1, passes - 1);
    reach(slots, passes - 1).min(length.saturating_sub(rest)).max(1)
}

struct Revolve {
    free: Vec<Place>,
    work: [Place; 2],
    last: Place,
    steps: usize,
    actions: Vec<Action>,
}

impl Revolve {
    /// Adjoints of steps `end` down to `begin + 1`; the state before step `begin + 1` is at `place`.
    fn reverse(&mut self, begin: usize, end: usize, place: Place) {
        let length = end - begin;
        if length == 1 {
            self.adjoint(end, place);
        } else if self.free.is_empty() {
            for t in (begin + 1..=end).rev() {
                let before = if t - 1 == begin { place } else { self.work[(t - begin) % 2] };
                self.advance(place, t - 1 - begin, before);
                self.adjoint(t, before);
            }
        } else {
            let first = split(length, self.free.len() + 1);
            let slot = self.free.pop().expect("a slot is free");
            self.advance(place, first, slot);
            self.reverse(begin + first, end, slot);
            self.free.push(slot);
            self.reverse(begin, begin + first, place);
        }
    }

    /// `count` steps from one place, the last of them into `to`.
    fn advance(&mut self, from: Place, count: usize, to: Place) {
        let mut at = from;
        for k in 1..=count {
            let next = if k == count {
                to
            } else if at == self.work[0] || (count - k == 1 && to == self.work[0]) {
                self.work[1]
            } else {
                self.work[0]
            };
            self.actions.push(Action::Step { from: at, to: next });
            at = next;
        }
    }

    fn adjoint(&mut self, step: usize, before: Place) {
        if step == self.steps {
            self.actions.extend([Action::Step { from: before, to: self.last }, Action::Outer]);
        }
        self.actions.push(Action::Adjoint { at: before });
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
        for action in &plan.actions {
            match *action {
                Action::Step { from, to } => {
                    assert!(from != to && to != 0, "{action:?}");
                    held[to] = Some(held[from].expect("a state is there") + 1);
                }
                Action::Outer => {
                    assert_eq!(held[plan.places - 1], Some(plan.steps));
                    outer = true;
                }
                Action::Adjoint { at } => {
                    assert!(outer);
                    next -= 1;
                    assert_eq!(held[at], Some(next), "T {} slots {}", plan.steps, plan.slots);
                }
            }
        }
        assert!(outer);
        assert_eq!(next, plan.steps - plan.last);
    }

    fn binomial(n: usize, k: usize) -> usize {
        (0..k).fold(1, |c, i| c * (n - i) / (i + 1))
    }

    /// r·T − C(c + r, c + 1) with the smallest r for which C(c + r, c) ≥ T.
    fn bound(steps: usize, slots: usize) -> usize {
        let r = (1..).find(|r| binomial(slots + r, slots) >= steps).unwrap();
        r * steps - binomial(slots + r, slots + 1)
    }

    #[test]
    fn every_plan_is_right_and_optimal() {
        for steps in 1..70 {
            check(&Plan::new(steps, usize::MAX).unwrap());
            check(&Plan::training(steps));
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
                assert_eq!(stored.steps_run(), steps);
                for slots in 1..5 {
                    let plan = Plan::revolve_last(steps, last, slots);
                    check(&plan);
                    assert_eq!(plan.steps_run(), steps - last + bound(last, slots) + 1, "{last} of {steps}");
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
    fn few_places_are_refused_and_many_store_all() {
        assert!(Plan::new(10, Plan::FEWEST_PLACES - 1).is_none());
        assert!(Plan::new(10, 11).unwrap().stores_all());
        assert_eq!(Plan::new(10, 10).unwrap().places, 10);
    }
}
