//! Inner optimisers as maps on one state vector (algorithms.md A.2): one file each, and a line in [`named`].

mod adam;
mod averaged;
mod heavy_ball;
pub(crate) mod hypergradient_descent;
mod momentum;
mod named;
mod nesterov;
mod rmsprop;
mod sgd;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::adam::{Adam, Epsilon};
pub use self::averaged::Averaged;
pub use self::heavy_ball::HeavyBall;
pub use self::hypergradient_descent::{Bounds, HypergradientDescent, Rule};
pub use self::momentum::Momentum;
pub use self::named::{every, named, plain};
pub use self::nesterov::Nesterov;
pub use self::rmsprop::RmsProp;
pub use self::sgd::Sgd;
use crate::ir::{Graph, NodeId};

/// A part of the training state that is the optimiser's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: &'static str,
    /// How much of it there is.
    pub size: Size,
    /// What it is before the first step.
    pub start: f32,
    /// The scalar β, by its place among [`Optimizer::scalars`], whose bias correction 1 − βᵗ it is: a function of β and
    /// the step alone, unlike the rest of the state.
    pub corrects: Option<usize>,
}

/// How much of a slot there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One number for each weight.
    Each,
    /// One number.
    One,
}

impl Slot {
    /// One number for each weight, 0 before the first step.
    pub const fn each(name: &'static str) -> Self {
        Slot { name, size: Size::Each, start: 0.0, corrects: None }
    }

    /// The bias correction of a scalar.
    pub const fn correction(name: &'static str, scalar: usize) -> Self {
        Slot { name, size: Size::One, start: 0.0, corrects: Some(scalar) }
    }

    /// Numbers in it, for `d` weights.
    pub fn len(&self, d: usize) -> usize {
        match self.size {
            Size::Each => d,
            Size::One => 1,
        }
    }
}

/// Where a scalar may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Above 0 and below 1.
    Unit,
    /// Above one number and below another.
    Between {
        /// The lower.
        low: f64,
        /// The upper.
        high: f64,
    },
    /// Above 0.
    Positive,
}

/// A number besides the learning rate that an optimiser depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalarSpec {
    /// Its name.
    pub name: &'static str,
    /// Where it may lie.
    pub domain: Domain,
    /// What it usually is.
    pub usual: f64,
}

/// The momentum μ of those that have one.
pub const MOMENTUM: ScalarSpec = ScalarSpec { name: "momentum", domain: Domain::Unit, usual: 0.7 };

/// The slots in a step: each is read from the state before it until it is set.
pub struct Slots<'a> {
    state: NodeId,
    d: usize,
    specs: &'a [Slot],
    new: Vec<Option<NodeId>>,
}

impl<'a> Slots<'a> {
    /// Those of an optimiser in a state of `d` weights.
    pub fn new(optimizer: &'a (impl Optimizer + ?Sized), state: NodeId, d: usize) -> Self {
        let specs = optimizer.slots();
        Slots { state, d, specs, new: vec![None; specs.len()] }
    }

    /// A slot by its place among [`Optimizer::slots`].
    pub fn get(&self, g: &mut Graph, k: usize) -> NodeId {
        let before: usize = self.specs[..k].iter().map(|slot| slot.len(self.d)).sum();
        self.new[k].unwrap_or_else(|| g.segment(self.state, self.d + before, self.specs[k].len(self.d)))
    }

    /// Sets a slot; gives back what it is set to.
    pub fn set(&mut self, k: usize, value: NodeId) -> NodeId {
        self.new[k] = Some(value);
        value
    }
}

/// What a step depends on besides state and gradient.
pub struct Scalars<'a> {
    /// The learning rate of each weight, `[d]`.
    pub eta: NodeId,
    /// The optimiser's own, `[1]` each, in the order of [`Optimizer::scalars`].
    pub own: &'a [NodeId],
}

/// How the inner problem is trained. The state begins with the weights w, `[d]`, and goes on with the slots.
pub trait Optimizer: fmt::Debug + Send + Sync {
    /// Its name in configurations.
    fn name(&self) -> &'static str;

    /// What a step does, as a formula.
    fn formula(&self) -> &'static str;

    /// What its state holds besides the weights, in order.
    fn slots(&self) -> &[Slot];

    /// The numbers it depends on besides the learning rate, in order.
    fn scalars(&self) -> &[ScalarSpec];

    /// A learning rate that a training of some hundred steps mostly does well with on batches of 64, at the usual
    /// values of its scalars (docs/choosing.md says on what this was measured).
    fn usual_rate(&self) -> f64;

    /// The weights after a step from `w` along the gradient, `[d]` each; sets the slots.
    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId;

    /// How the weights that the last step has left move with that step's learning rate, each weight's with its own, and
    /// with its momentum: two vectors `[d]` in closed form, of the slots after the step and the gradient `[d]` and the
    /// scalars that it was taken with. None where there is no momentum.
    fn slopes(&self, _g: &mut Graph, _slots: &Slots, _gradient: NodeId, _at: &Scalars) -> Option<[NodeId; 2]> {
        None
    }

    /// Numbers (`[1]`) by name to keep of every step, from the state after it and what it was given.
    fn records(&self, _g: &mut Graph, _state: NodeId, _at: &Scalars) -> Vec<(&'static str, NodeId)> {
        vec![]
    }

    /// The slot, by its place among [`slots`](Optimizer::slots), that the weights lack to those that a state is judged by,
    /// such as their average; None where it is judged by those that it trains.
    fn judged_by(&self) -> Option<usize> {
        None
    }

    /// The weights that a state is judged by, `[d]`.
    fn readout(&self, g: &mut Graph, state: NodeId, d: usize) -> NodeId {
        let weights = g.segment(state, 0, d);
        let Some(slot) = self.judged_by() else { return weights };
        let lacking = Slots::new(self, state, d).get(g, slot);
        g.add(weights, lacking)
    }

    /// The same of a state that has been read, `d` numbers.
    fn judged(&self, state: &[f64], d: usize) -> Vec<f64> {
        let place = self.judged_by().map(|slot| d + self.slots()[..slot].iter().map(|slot| slot.len(d)).sum::<usize>());
        (0..d).map(|k| state[k] + place.map_or(0.0, |place| state[place + k])).collect()
    }

    /// Largest η · curvature at which a step does not overshoot a quadratic for good, for these scalars.
    fn stable(&self, scalars: &[f64]) -> f64;

    /// Length of the state for `d` weights.
    fn state_len(&self, d: usize) -> usize {
        d + self.slots().iter().map(|slot| slot.len(d)).sum::<usize>()
    }

    /// What the slots hold before the first step, for `d` weights: lengths with values, in order.
    fn start(&self, d: usize) -> Vec<(usize, f32)> {
        self.slots().iter().map(|slot| (slot.len(d), slot.start)).collect()
    }

    /// The scalars whose bias correction the state carries, by their place, each with its place in the state.
    fn corrections(&self, d: usize) -> Vec<(usize, usize)> {
        let mut place = d;
        let mut carried = vec![];
        for slot in self.slots() {
            carried.extend(slot.corrects.map(|scalar| (scalar, place)));
            place += slot.len(d);
        }
        carried
    }

    /// The new state, for a gradient and learning rates (both `[d]`) and the scalars, each `[1]`.
    fn step(&self, g: &mut Graph, state: NodeId, gradient: NodeId, eta: NodeId, scalars: &[NodeId]) -> NodeId {
        let d = g.shape(gradient)[0];
        let mut slots = Slots::new(self, state, d);
        let w = g.segment(state, 0, d);
        let w = self.descend(g, &mut slots, w, gradient, &Scalars { eta, own: scalars });
        let parts: Vec<NodeId> = [w].into_iter().chain((0..self.slots().len()).map(|k| slots.get(g, k))).collect();
        if parts.len() == 1 { w } else { g.concat(&parts) }
    }
}

/// An optimiser that is chosen when the program runs; two of one name are equal. Written as its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Dynamics(Arc<dyn Optimizer>);

impl<O: Optimizer + 'static> From<O> for Dynamics {
    fn from(optimizer: O) -> Self {
        Dynamics(Arc::new(optimizer))
    }
}

impl Deref for Dynamics {
    type Target = dyn Optimizer;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Dynamics {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl TryFrom<String> for Dynamics {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Dynamics> for String {
    fn from(optimizer: Dynamics) -> Self {
        optimizer.name().to_owned()
    }
}

/// w − η u.
fn along(g: &mut Graph, w: NodeId, eta: NodeId, direction: NodeId) -> NodeId {
    let change = g.mul(eta, direction);
    g.sub(w, change)
}

/// μ a + x.
fn decayed(g: &mut Graph, mu: NodeId, a: NodeId, x: NodeId) -> NodeId {
    let kept = g.mul(mu, a);
    g.add(kept, x)
}

/// β a + (1 − β) x.
fn average(g: &mut Graph, beta: NodeId, a: NodeId, x: NodeId) -> NodeId {
    let kept = g.mul(beta, a);
    let minus = g.neg(beta);
    let rest = g.offset(minus, 1.0);
    let new = g.mul(rest, x);
    g.add(kept, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lie_one_after_another() {
        assert_eq!((Sgd.state_len(4), Momentum.state_len(4)), (4, 8));
        let adam = Adam(Epsilon::Inside);
        assert_eq!((adam.state_len(4), adam.corrections(4)), (14, vec![(0, 12), (1, 13)]));
        assert!(Nesterov.corrections(4).is_empty());
        assert_eq!(adam.start(4), [(4, 0.0), (4, 0.0), (1, 0.0), (1, 0.0)]);
    }
}
