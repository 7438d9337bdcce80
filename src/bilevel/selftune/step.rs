//! The steps of a self-tuning training, each from state to state: the follower trains, the leader tunes, planes are cut.

use super::augmentation::Draws;
use super::gates::Weights;
use super::network::{Judged, SelfTuned};
use super::perturbation::Leader;
use super::planes::{Constraint, Planes};
use crate::autodiff::grad;
use crate::bilevel::SolveError;
use crate::ir::{Graph, NodeId};
use crate::nn::optim::Dynamics;

/// How the answer of the weights is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// The general weights alone, at hyperparameters that stay.
    Plain,
    /// All weights on one loss, z = λ + σ ∘ ξ.
    Stn,
    /// The general weights on the loss at λ, the answer on that of the network linearised there, z = σ ∘ ξ.
    DeltaStn,
    /// As STN, the answer tied to the general weights by planes; the leader sees the training loss, too.
    Cpmlho {
        /// The planes; without them, only the leader is another.
        constraint: Option<Constraint>,
        /// What the validation loss counts beside the training loss, θ; infinite, it is all that counts.
        validation: f64,
    },
}

/// A self-tuning training.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// What is trained.
    pub network: SelfTuned,
    /// How its answer is learned.
    pub variant: Variant,
    /// What trains the weights.
    pub inner: Dynamics,
    /// What tunes the hyperparameters.
    pub outer: Dynamics,
}

/// Examples with their targets, and a standard normal draw ξ for each of their hyperparameters.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// `[batch, …]`
    pub x: NodeId,
    /// `[batch]` where they are labels, else of the outputs' shape.
    pub y: NodeId,
    /// `[batch, n]`
    pub draws: NodeId,
    /// What each counts in the mean, `[batch]`; none where all count alike.
    pub weights: Option<NodeId>,
}

/// A batch to train on, with the draws of the augmentations.
#[derive(Clone, Copy, Debug)]
pub struct TrainingBatch<'a> {
    /// The examples.
    pub examples: Batch,
    /// The draws of each augmentation at the perturbed hyperparameters.
    pub perturbed: Draws<'a>,
    /// The same at the hyperparameters themselves, which Δ-STN and plain training train general weights with; else unused.
    pub central: Draws<'a>,
}

/// The state of the follower.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    /// The general weights with what the optimiser keeps of them.
    pub general: NodeId,
    /// The response with what the optimiser keeps of it.
    pub response: NodeId,
    /// The planes: see [`Planes`]; without them CPMLHO has no constraint.
    pub planes: Option<NodeId>,
}

/// What an optimiser is given besides a gradient.
#[derive(Clone, Copy, Debug)]
pub struct Rates<'a> {
    /// The learning rate `[1]`.
    pub rate: NodeId,
    /// The optimiser's scalars, `[1]` each.
    pub scalars: &'a [NodeId],
}

/// What the network at z = 0 and along a direction is.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// The outputs at z = 0.
    pub primal: NodeId,
    /// Their derivative.
    pub tangent: NodeId,
    /// Their sum with its loss.
    pub judged: Judged,
}

/// What a training step gives.
#[derive(Clone, Copy, Debug)]
pub struct Trained {
    /// The next state.
    pub follower: Follower,
    /// The loss before the step, a scalar; of Δ-STN that of the general weights.
    pub loss: NodeId,
    /// The planes' values after the step `[planes]`.
    pub values: Option<NodeId>,
}

/// What a tuning step gives.
#[derive(Clone, Copy, Debug)]
pub struct Tuned {
    /// The next state of the leader.
    pub leader: NodeId,
    /// The outer loss before the step, a scalar.
    pub loss: NodeId,
}

impl Tuning {
    /// Refuses what has no rule.
    ///
    /// # Errors
    /// If the network has none, or there are no planes or planes that count nothing.
    pub fn check(&self) -> Result<(), SolveError> {
        match self.variant {
            Variant::Cpmlho { constraint: Some(Constraint { planes: 0, .. }), .. } => {
                Err(SolveError::Problem("there must be at least one cutting plane".to_owned()))
            }
            Variant::Cpmlho { constraint: Some(Constraint { start, .. }), .. }
                if !(start > 0.0 && start.is_finite()) =>
            {
                let problem = format!("a multiplier of {start} makes a cutting plane none; take one above 0");
                Err(SolveError::Problem(problem))
            }
            Variant::Cpmlho { validation, .. } if validation.is_nan() || validation < 0.0 => {
                Err(SolveError::Problem(format!("the validation loss counts {validation} times; take 0 or more")))
            }
            _ => self.network.check(),
        }
    }

    /// The planes, where there are any.
    pub fn planes(&self) -> Option<Planes<'_>> {
        match self.variant {
            Variant::Cpmlho { constraint: Some(constraint), .. } => {
                Some(Planes { gates: self.network.gates(), constraint })
            }
            _ => None,
        }
    }

    /// The weights in a state.
    pub fn weights(&self, g: &mut Graph, follower: Follower) -> Weights {
        let gates = self.network.gates();
        Weights {
            general: g.segment(follower.general, 0, gates.model.parameter_count()),
            response: g.segment(follower.response, 0, gates.response_len()),
        }
    }

    /// The hyperparameters in the leader's state.
    pub fn leader(&self, g: &mut Graph, state: NodeId) -> Leader {
        let n = self.network.domains.len();
        Leader { lambda: g.segment(state, 0, n), widths: g.segment(state, n, n) }
    }

    /// The network inputs z `[batch, n]` of draws: λ + σ ∘ ξ. Δ-STN takes the hyperparameters off, whose derivative stays.
    pub fn input(&self, g: &mut Graph, leader: Leader, draws: NodeId) -> NodeId {
        let perturbed = leader.perturbed(g, draws);
        match self.variant {
            Variant::DeltaStn => {
                let centre = g.stop_gradient(leader.lambda);
                g.sub(perturbed, centre)
            }
            _ => perturbed,
        }
    }

    /// The training loss of all weights together.
    pub fn joint_loss(&self, g: &mut Graph, weights: Weights, leader: Leader, batch: TrainingBatch) -> Judged {
        let Batch { x, y, draws, weights: counted } = batch.examples;
        let perturbed = leader.perturbed(g, draws);
        let augmented = self.network.augment(g, x, perturbed, batch.perturbed);
        let output = self.network.gated(g, weights, &augmented, perturbed);
        self.network.judge(g, output, y, counted)
    }

    /// The training loss of the general weights at the hyperparameters themselves.
    pub fn general_loss(&self, g: &mut Graph, general: NodeId, leader: Leader, batch: TrainingBatch) -> Judged {
        let Batch { x, y, draws, weights: counted } = batch.examples;
        let shape = g.shape(draws).to_vec();
        let central = g.broadcast_to(leader.lambda, &shape);
        let augmented = self.network.augment(g, x, central, batch.central);
        let output = self.network.general(g, general, &augmented);
        self.network.judge(g, output, y, counted)
    }

    /// The training loss of the answer, of the network linearised at the hyperparameters.
    pub fn response_loss(&self, g: &mut Graph, weights: Weights, leader: Leader, batch: TrainingBatch) -> Linear {
        let Batch { x, y, draws, weights: counted } = batch.examples;
        let perturbed = leader.perturbed(g, draws);
        let augmented = self.network.augment(g, x, perturbed, batch.perturbed);
        let direction = leader.deviations(g, draws);
        let (primal, tangent) = self.network.linearized(g, weights, &augmented, direction);
        let output = g.add(primal, tangent);
        Linear { primal, tangent, judged: self.network.judge(g, output, y, counted) }
    }

    /// The loss on a batch as it is, with network inputs z `[batch, n]`.
    pub fn loss(&self, g: &mut Graph, weights: Weights, batch: Batch, z: NodeId) -> Judged {
        let plain = self.network.plain(batch.x);
        let output = self.network.gated(g, weights, &plain, z);
        self.network.judge(g, output, batch.y, batch.weights)
    }

    /// What the network predicts of examples `[batch, …]` at the hyperparameters themselves.
    pub fn predict(&self, g: &mut Graph, weights: Weights, leader: Leader, x: NodeId) -> NodeId {
        let plain = self.network.plain(x);
        match self.variant {
            Variant::Plain | Variant::DeltaStn => self.network.general(g, weights.general, &plain),
            _ => {
                let shape = [g.shape(x)[0], self.network.domains.len()];
                let z = g.broadcast_to(leader.lambda, &shape);
                self.network.gated(g, weights, &plain, z)
            }
        }
    }

    /// Whether the leader sees the training loss.
    pub fn is_mixed(&self) -> bool {
        matches!(self.variant, Variant::Cpmlho { validation, .. } if validation.is_finite())
    }

    /// The outer loss: that on the validation batch, and for CPMLHO that on a training batch besides, unless it has none
    /// (θ = ∞); less the entropy.
    pub fn outer_loss(
        &self,
        g: &mut Graph,
        weights: Weights,
        leader: Leader,
        validation: Batch,
        training: Option<Batch>,
    ) -> NodeId {
        let loss_on = |g: &mut Graph, batch: Batch| {
            let z = self.input(g, leader, batch.draws);
            self.loss(g, weights, batch, z).loss
        };
        let mut loss = loss_on(g, validation);
        if let (Variant::Cpmlho { validation, .. }, Some(training)) = (self.variant, training) {
            let counted = g.scale(loss, validation);
            let other = loss_on(g, training);
            loss = g.add(other, counted);
        }
        self.network.outer(g, loss, leader)
    }

    /// One training step. The planes push the response alone.
    pub fn train(
        &self,
        g: &mut Graph,
        follower: Follower,
        leader: Leader,
        batch: TrainingBatch,
        rates: Rates,
    ) -> Trained {
        let weights = self.weights(g, follower);
        let (general, response, loss) = match self.variant {
            Variant::Plain => {
                let loss = self.general_loss(g, weights.general, leader, batch).loss;
                let gradient = grad(g, loss, &[weights.general])[0];
                (descend(g, &self.inner, follower.general, gradient, rates), follower.response, loss)
            }
            Variant::DeltaStn => {
                let loss = self.general_loss(g, weights.general, leader, batch).loss;
                let by_general = grad(g, loss, &[weights.general])[0];
                let general = descend(g, &self.inner, follower.general, by_general, rates);
                let moved = self.weights(g, Follower { general, ..follower });
                let answered = self.response_loss(g, moved, leader, batch).judged.loss;
                let by_response = grad(g, answered, &[moved.response])[0];
                (general, descend(g, &self.inner, follower.response, by_response, rates), loss)
            }
            _ => {
                let loss = self.joint_loss(g, weights, leader, batch).loss;
                let gradients = grad(g, loss, &[weights.general, weights.response]);
                let general = descend(g, &self.inner, follower.general, gradients[0], rates);
                let mut by_response = gradients[1];
                if let (Some(planes), Some(held)) = (self.planes(), follower.planes) {
                    let penalty = planes.penalty(g, weights, held);
                    let push = grad(g, penalty, &[weights.response])[0];
                    by_response = g.add(by_response, push);
                }
                (general, descend(g, &self.inner, follower.response, by_response, rates), loss)
            }
        };
        let mut follower = Follower { general, response, ..follower };
        let mut values = None;
        if let (Some(planes), Some(held)) = (self.planes(), follower.planes) {
            let weights = self.weights(g, follower);
            let [held, of_planes] = planes.follow(g, weights, held);
            (follower.planes, values) = (Some(held), Some(of_planes));
        }
        Trained { follower, loss, values }
    }

    /// One step of the hyperparameters and the widths of their draws; the state of the leader is λ, s and what the
    /// optimiser keeps of them.
    pub fn tune(
        &self,
        g: &mut Graph,
        follower: Follower,
        state: NodeId,
        validation: Batch,
        training: Option<Batch>,
        rates: Rates,
    ) -> Tuned {
        let weights = self.weights(g, follower);
        let n = self.network.domains.len();
        let tuned = g.segment(state, 0, 2 * n);
        let leader = self.leader(g, tuned);
        let loss = self.outer_loss(g, weights, leader, validation, training);
        let gradient = grad(g, loss, &[tuned])[0];
        Tuned { leader: descend(g, &self.outer, state, gradient, rates), loss }
    }

    /// The state with a new plane, where there are planes.
    pub fn cut(&self, g: &mut Graph, follower: Follower, leader: Leader) -> Follower {
        let weights = self.weights(g, follower);
        let cut = self.planes().zip(follower.planes);
        let planes = cut.map(|(planes, held)| planes.cut(g, weights, leader.lambda, held));
        Follower { planes, ..follower }
    }
}

/// A step of an optimiser with one learning rate.
fn descend(g: &mut Graph, by: &Dynamics, state: NodeId, gradient: NodeId, rates: Rates) -> NodeId {
    let shape = g.shape(gradient).to_vec();
    let rate = g.broadcast_to(rates.rate, &shape);
    by.step(g, state, gradient, rate, rates.scalars)
}
