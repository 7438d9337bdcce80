//! A training run on a device: its states, the plan of which are kept, and the sweeps over its steps.
//!
//! Nothing here does arithmetic. The host only records commands; nothing is read back inside a sweep. Where there are
//! several members, each command is for all of them, and what is theirs follows one another.

mod outer_loss;

use std::rc::Rc;

use super::checkpoint::{Action, Place, Plan};
use super::inner::{Inner, Known, Through};
use super::programs::{BAD_STEP, KEEPING, NO_BAD_STEP};
use super::states::{Residuals, StateBuffers, at, bind_adjoint, bind_step};
use super::{Counts, Directions, Estimate, SolveError};
use crate::engine::{BindingId, BufferId, Values};
use crate::ir::DType;
use crate::rig::{Array, Device, Monitor, Progress, Recording, Rig, RigError};

/// What an action of a plan runs on: a step from one place to another, or the adjoint of the step that leaves the state
/// at a place, which takes one of two cotangents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Ran {
    Step { from: Place, to: Place, set: Option<usize> },
    Adjoint { at: Place, parity: usize, set: Option<usize> },
}

/// What sweeps begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Φ₀.
    Start,
    /// A state so many steps behind it.
    Behind(usize),
    /// Nobody knows: an advance was dropped midway.
    Lost,
}

/// Kinds of work whose submissions are paced apart.
pub(super) mod work {
    pub const STEP: &str = "step";
    pub const ADJOINT: &str = "adjoint";
    pub const PULLBACK: &str = "pullback";
    pub const OUTER: &str = "outer";
    pub const PRODUCT: &str = "product";
    pub const EVALUATION: &str = "evaluation";
}

/// What methods run on: an inner problem's training, made ready on a device.
pub struct Trajectory {
    inner: Rc<dyn Inner>,
    rig: Rig,
    plan: Plan,
    states: Vec<StateBuffers>,
    residuals: Vec<Residuals>,
    /// The arrays of what each step records.
    records: Vec<String>,
    recording: Recording<Ran>,
    /// What was run since the last training began.
    counts: Counts,
    origin: Origin,
    /// Whether the last place holds the end of something.
    ended: bool,
    /// ∂E/∂λ of each member at the last outer loss; none where the outer loss does not see λ.
    direct: Option<Vec<Vec<f64>>>,
}

impl Trajectory {
    /// Makes the states that a plan keeps, and the residuals of steps, beside the programs and arrays that are there.
    pub(super) fn new(
        inner: Rc<dyn Inner>,
        mut rig: Rig,
        plan: Plan,
        residuals: &[Array],
        records: Vec<String>,
    ) -> Result<Self, SolveError> {
        let mut states = vec![];
        for place in 0..plan.places {
            let state = rig.create(&format!("state {place}"), DType::F32, inner.state_len())?;
            let time = rig.create(&format!("time {place}"), DType::U32, 1)?;
            states.push(StateBuffers { state, time });
        }
        let residuals =
            (0..plan.kept).map(|set| Residuals::new(&mut rig, set, residuals)).collect::<Result<_, RigError>>()?;
        let (recording, counts) = (Recording::default(), Counts::default());
        Ok(Trajectory {
            inner,
            rig,
            plan,
            states,
            residuals,
            records,
            recording,
            counts,
            origin: Origin::Start,
            ended: false,
            direct: None,
        })
    }

    /// What is trained.
    pub fn inner(&self) -> &dyn Inner {
        &*self.inner
    }

    /// Its arrays and programs.
    pub fn rig(&mut self) -> &mut Rig {
        &mut self.rig
    }

    /// Members of the population that it trains at once; 1 where there is no such thing.
    pub fn members(&self) -> usize {
        self.rig.members()
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        self.rig.device()
    }

    /// Which states a sweep keeps.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was run since the last training began; a method adds what it runs by itself.
    pub fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// An array by the name that the blueprint gives it.
    pub fn array(&self, name: &str) -> Result<BufferId, SolveError> {
        Ok(self.rig.array(name)?)
    }

    /// The state at a place of the plan, and its step counter.
    pub fn state(&self, place: Place) -> Result<(BufferId, BufferId), SolveError> {
        let StateBuffers { state, time } = at(&self.states, place)?;
        Ok((state, time))
    }

    /// All of them, by place.
    pub(super) fn states(&self) -> &[StateBuffers] {
        &self.states
    }

    /// Where the state at the end of a sweep lies.
    pub fn last_place(&self) -> Place {
        self.plan.places - 1
    }

    /// The training state at the start of every sweep.
    pub fn initial_state(&self) -> BufferId {
        self.states[0].state
    }

    /// The training state at the end of the last sweep.
    pub fn final_state(&self) -> BufferId {
        self.states[self.last_place()].state
    }

    /// The step counter before the last training step without a way back.
    pub fn last_time(&self) -> BufferId {
        self.states[self.plan.training_place(self.inner.steps() - 1)].time
    }

    /// Writes an array whole, of all members'.
    pub fn fill(&self, name: &str, values: Values) -> Result<(), SolveError> {
        Ok(self.rig.fill(name, values)?)
    }

    /// Reads arrays, of all members; waits for the device.
    pub async fn read(&self, arrays: &[BufferId]) -> Result<Vec<Vec<f64>>, SolveError> {
        Ok(self.rig.read(arrays).await?)
    }

    /// Binds a program that makes a training step from one place to another.
    pub fn bind_step(
        &mut self,
        program: &'static str,
        [from, to]: [Place; 2],
        more: &[(&str, BufferId)],
    ) -> Result<BindingId, SolveError> {
        Ok(bind_step(&mut self.rig, &self.states, program, [from, to], more)?)
    }

    /// Binds the adjoint of the step that leaves the state at a place; it takes the cotangent after the step and writes
    /// the one before it.
    pub fn bind_adjoint(&mut self, at: Place, [after, before]: [BufferId; 2]) -> Result<BindingId, SolveError> {
        Ok(bind_adjoint(&mut self.rig, &self.states, at, [after, before], None)?)
    }

    /// Binds the adjoint from residuals that are kept, those of the first set, if any are.
    pub(super) fn bind_pullback(
        &mut self,
        at: Place,
        [after, before]: [BufferId; 2],
    ) -> Result<Option<BindingId>, SolveError> {
        let Trajectory { rig, states, residuals, .. } = self;
        let bind = |kept| bind_adjoint(rig, states, at, [after, before], Some(kept));
        Ok(residuals.first().map(bind).transpose()?)
    }

    /// The outer gradient is the cotangent that a backward sweep begins with; the next goes where the one before last was.
    pub(super) fn cotangents(&self) -> Result<[BufferId; 2], SolveError> {
        Ok([self.array("gradient")?, self.array("cotangent")?])
    }

    // Sweeps.

    /// Whether there are as many hyperparameters as the problem has, for each member.
    pub(super) fn check_lambda(&self, lambda: &[f64]) -> Result<(), SolveError> {
        match (lambda.len(), self.members() * self.inner.lambda_len()) {
            (given, wanted) if given == wanted => Ok(()),
            (given, wanted) => Err(SolveError::Length { what: "hyperparameters".to_owned(), given, wanted }),
        }
    }

    /// Sets the hyperparameters for a new sweep, and the state that it begins with.
    pub fn begin(&mut self, lambda: &[f64]) -> Result<(), SolveError> {
        self.check_lambda(lambda)?;
        if self.origin == Origin::Lost {
            return Err(SolveError::Lost);
        }
        for (member, lambda) in lambda.chunks(self.inner.lambda_len()).enumerate() {
            self.rig.fill_of(member, "lambda", Values::F64(lambda))?;
        }
        self.rig.write(BAD_STEP, Values::U32(&[NO_BAD_STEP]))?;
        if self.origin == Origin::Start {
            let binding = self.rig.bind("begin", &[("next_state", self.initial_state())])?;
            self.rig.submit(&[binding])?;
        }
        Ok(())
    }

    /// Makes the state at the end of the last sweep the one that the next begins with.
    pub fn carry_on(&mut self) -> Result<(), SolveError> {
        self.copy_state(self.last_place(), 0)?;
        self.origin = Origin::Behind(self.carried() + self.inner.steps());
        Ok(())
    }

    fn copy_state(&self, from: Place, to: Place) -> Result<(), SolveError> {
        let [from, to] = [from, to].map(|place| self.states[place]);
        Ok(self.rig.copy(&[(from.state, to.state), (from.time, to.time)])?)
    }

    /// Steps before the state that sweeps begin with.
    fn carried(&self) -> usize {
        if let Origin::Behind(steps) = self.origin { steps } else { 0 }
    }

    /// Makes sweeps begin with Φ₀ again.
    pub fn begin_anew(&mut self) -> Result<(), SolveError> {
        (self.origin, self.ended) = (Origin::Start, false);
        self.rig.write("time 0", Values::U32(&[0]))?;
        Ok(())
    }

    /// Makes states of so many steps, one a member, those that sweeps begin with, and that the last one ended with.
    pub(super) fn put(&mut self, states: &[&[f32]], steps: u32) -> Result<(), SolveError> {
        for place in [0, self.last_place()] {
            for (member, state) in states.iter().enumerate() {
                self.rig.fill_of(member, &format!("state {place}"), Values::F32(state))?;
            }
            self.rig.write(&format!("time {place}"), Values::U32(&[steps]))?;
        }
        (self.origin, self.ended) = (Origin::Behind(steps as usize), true);
        Ok(())
    }

    /// Whether sweeps begin with another state than Φ₀.
    pub fn goes_on(&self) -> bool {
        self.origin != Origin::Start
    }

    /// Refuses where there is no end of a sweep or a step to look at.
    pub(super) fn reached(&self) -> Result<(), SolveError> {
        match self.ended && self.origin != Origin::Lost {
            true => Ok(()),
            false => Err(SolveError::Lost),
        }
    }

    /// Whether sweeps begin with what the hyperparameters say.
    pub(super) fn starts(&self, along: &Directions) -> bool {
        !self.goes_on() && along.moved(&*self.inner, &[Through::Start]).is_some()
    }

    /// What is known of the state `steps` after that of the sweep's begin, whatever was trained.
    pub fn known(&self, lambda: &[f64], steps: usize) -> Result<Vec<Known>, SolveError> {
        let known = self.inner.known(lambda, self.carried() + steps);
        let (state, lambda) = (self.inner.state_len(), self.inner.lambda_len());
        match known.iter().find(|known| known.slot >= state || known.at >= lambda) {
            None => Ok(known),
            Some(Known { slot, at, .. }) => Err(SolveError::Problem(format!(
                "its `known` names element {slot} of the state by hyperparameter {at}, counted from 0; there are {state} and \
                 {lambda}"
            ))),
        }
    }

    /// Runs the training steps, then the outer loss with its gradient; reads back once.
    pub async fn train(
        &mut self,
        lambda: &[f64],
        actions: impl Iterator<Item = Action>,
        total: u64,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        Ok(self.train_each(lambda, actions, total, monitor).await?.remove(0))
    }

    /// The same for all members, whose hyperparameters follow one another.
    pub async fn train_each(
        &mut self,
        lambda: &[f64],
        actions: impl Iterator<Item = Action>,
        total: u64,
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        self.counts = Counts::default();
        self.begin(lambda)?;
        self.run(actions, &mut Progress { done: 0, total }, monitor).await?;
        self.outer_losses_at(self.last_place(), monitor).await
    }

    /// Trains with no way back, so that two places do for the states.
    pub async fn train_only(&mut self, lambda: &[f64], monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        Ok(self.train_only_each(lambda, monitor).await?.remove(0))
    }

    /// The same for all members.
    pub async fn train_only_each(
        &mut self,
        lambda: &[f64],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        let plan = self.plan.clone();
        let step = |t| Action::Step { from: plan.training_place(t), to: plan.training_place(t + 1), set: None };
        self.train_each(lambda, (0..plan.steps).map(step), plan.steps as u64, monitor).await
    }

    /// Runs so many training steps on, without an outer loss; sweeps begin behind them then. Stopped midway, they begin
    /// where it was stopped.
    pub async fn advance(&mut self, lambda: &[f64], steps: usize, monitor: &mut dyn Monitor) -> Result<(), SolveError> {
        self.counts = Counts::default();
        self.begin(lambda)?;
        let (before, places) = (self.origin, [0, self.last_place()]);
        let step = |k: usize| Action::Step { from: places[k % 2], to: places[(k + 1) % 2], set: None };
        let progress = &mut Progress { done: 0, total: steps as u64 };
        let carried = self.carried();
        self.origin = Origin::Lost;
        let ran = self.run((0..steps).map(step), progress, monitor).await;
        if !matches!(ran, Ok(_) | Err(SolveError::Stopped)) {
            return ran.map(|_| ());
        }
        // What was submitted is done, so that a stop leaves a state as well.
        let done = progress.done as usize;
        // Where the end lies in one of the two places, the other takes it as well.
        self.copy_state(places[done % 2], places[(done + 1) % 2])?;
        (self.origin, self.ended) = (if done == 0 { before } else { Origin::Behind(carried + done) }, true);
        ran.map(|_| ())
    }

    /// Runs steps and adjoints; returns the cotangent that the last adjoint wrote. An outer loss among them is passed
    /// over: [`outer_loss`](Self::outer_loss) takes it.
    pub async fn run(
        &mut self,
        actions: impl Iterator<Item = Action>,
        progress: &mut Progress,
        monitor: &mut dyn Monitor,
    ) -> Result<BufferId, SolveError> {
        let mut actions = actions.filter(|action| *action != Action::Outer).peekable();
        // A training without a way back has no second one.
        let cotangents = self.cotangents().ok();
        let (mut steps, mut adjoints, mut kept) = (0, 0, 0);
        let kind = |action: &Action| match action {
            Action::Adjoint { set: None, .. } => work::ADJOINT,
            Action::Adjoint { .. } => work::PULLBACK,
            _ => work::STEP,
        };
        while let Some(first) = actions.peek() {
            let now = kind(first);
            let Trajectory { rig, recording, states, residuals, .. } = &mut *self;
            let next = |rig: &mut Rig| {
                let Some(action) = actions.next_if(|action| kind(action) == now) else { return Ok(None) };
                let binding = match action {
                    Action::Step { from, to, set } => {
                        steps += 1;
                        recording.of(Ran::Step { from, to, set }, || match set {
                            None => bind_step(rig, states, "step", [from, to], &[]),
                            Some(set) => bind_step(rig, states, KEEPING, [from, to], &residuals[set].ports()),
                        })
                    }
                    Action::Adjoint { at, set } => {
                        let Some(cotangents) = cotangents else {
                            return Err(RigError::NoArray("cotangent".to_owned()));
                        };
                        let parity = adjoints % 2;
                        adjoints += 1;
                        kept += u64::from(set.is_some());
                        let ports = [cotangents[parity], cotangents[1 - parity]];
                        let kept = set.map(|set| &residuals[set]);
                        recording.of(Ran::Adjoint { at, parity, set }, || bind_adjoint(rig, states, at, ports, kept))
                    }
                    Action::Outer => unreachable!("filtered above"),
                };
                binding.map(Some)
            };
            rig.replay(now, next, progress, monitor).await?;
        }
        self.counts.steps += steps;
        self.counts.adjoints += adjoints as u64;
        self.counts.kept += kept;
        self.array(["gradient", "cotangent"][adjoints % 2])
    }

    /// Submits `count` bindings in segments.
    pub async fn repeat(
        &mut self,
        kind: &'static str,
        count: usize,
        progress: &mut Progress,
        monitor: &mut dyn Monitor,
        binding: impl Fn(&mut Rig, usize) -> Result<BindingId, RigError>,
    ) -> Result<(), SolveError> {
        let mut all = 0..count;
        let next = |rig: &mut Rig| all.next().map(|k| binding(rig, k)).transpose();
        Ok(self.rig.replay(kind, next, progress, monitor).await?)
    }

    /// Adds the share of what a training begins with to `lambda_cotangent`, from the cotangent of its first state.
    pub(super) fn pull_back_start(&mut self, cotangent: BufferId) -> Result<(), SolveError> {
        let binding = self.rig.bind("begin_adjoint", &[("cotangent", cotangent)])?;
        Ok(self.rig.submit(&[binding])?)
    }
}
