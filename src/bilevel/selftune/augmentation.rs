//! What hyperparameters do to a training batch.

use super::keyed::Keyed;
use crate::bilevel::Transform;
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::Model;

/// Something done to examples or activations in training whose strength c is a hyperparameter, each example's own. The
/// strength has no derivative here: hyperparameters are judged by how the weights answer to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Augmentation {
    /// Examples are multiplied by 1 + c ξ, with standard normal draws ξ `[batch]`, or `[batch, …]` with as many axes as
    /// examples have, some of them 1: `[batch, 1, channels]` scales the channels of a window, each by its own.
    InputScale,
    /// c ξ is added to examples, with standard normal draws ξ of their shape.
    Jitter,
    /// A run of the first axis of examples is set to 0, c times as long as the axis. The draw is its middle, as a share of
    /// the axis, `[batch]`.
    TimeMask,
    /// Squares of images are set to 0: ⌊c⌋ of them, whose sides are ⌊l⌋ pixels by another hyperparameter. The draws are the
    /// pixels in their middle, rows and columns `[batch, most, 2]`, for the most squares that the domain of c allows.
    Cutout {
        /// The hyperparameter l, counted from 0.
        length: usize,
    },
    /// Activations at a place of dropout, counted from 0, are dropped with probability c. The draw is the mask, 1 where
    /// one is kept, of the activations' shape or with axes of 1: `[batch, …]`.
    Dropout(usize),
}

/// Where the draws of augmentations come from.
#[derive(Clone, Copy, Debug)]
pub enum Draws<'a> {
    /// They are given, one for each augmentation.
    Given(&'a [NodeId]),
    /// They are drawn in the graph, of these shapes; `set` tells apart several of one step.
    Keyed {
        /// The step.
        keyed: Keyed,
        /// Of each augmentation.
        shapes: &'a [Vec<usize>],
        /// Which of them.
        set: u32,
    },
}

/// What an augmentation does to an array.
pub(super) enum Change {
    Times(NodeId),
    Plus(NodeId),
}

/// Strengths, constrained and each `[batch]`, of which one is the augmentation's.
pub(super) struct Strengths<'a> {
    pub all: &'a [NodeId],
    pub domains: &'a [Transform],
    pub by: usize,
}

impl Strengths<'_> {
    /// A strength, which has no derivative, along the first of `rank` axes.
    fn over(&self, g: &mut Graph, k: usize, rank: usize) -> NodeId {
        let strength = g.stop_gradient(self.all[k]);
        along_batch(g, strength, rank)
    }

    /// ⌊c⌋ of a strength in a domain with an end, `[batch]`.
    fn floor(&self, g: &mut Graph, k: usize) -> NodeId {
        let strength = g.stop_gradient(self.all[k]);
        let shape = [g.shape(strength)[0], whole(self.domains[k]).unwrap_or_default()];
        let strength = g.broadcast(strength, &shape, &[0]);
        let place = g.iota(&shape, 1);
        let place = g.scalar(Scalar::ToFloat, &[place]);
        let next = g.offset(place, 1.0);
        let (zero, one) = (g.full(&shape, 0.0), g.full(&shape, 1.0));
        let is_below = g.lt(strength, next);
        let counted = g.select(is_below, zero, one);
        g.sum(counted, &[1])
    }
}

/// The largest whole number below the upper end of a domain, if it has one.
fn whole(domain: Transform) -> Option<usize> {
    match domain {
        Transform::Within { high, .. } if high > 0.0 => Some(high.ceil() as usize - 1),
        _ => None,
    }
}

/// A vector `[batch]` along the first of `rank` axes.
fn along_batch(g: &mut Graph, vector: NodeId, rank: usize) -> NodeId {
    let mut over = vec![1; rank];
    over[0] = g.shape(vector)[0];
    g.reshape(vector, &over)
}

impl Augmentation {
    /// The shape of its draws for a batch, by a hyperparameter of this domain; that of dropout may have axes of 1 instead.
    pub fn draw_shape(self, model: &Model, batch: usize, domain: Transform) -> Vec<usize> {
        match self {
            Augmentation::InputScale | Augmentation::TimeMask => vec![batch],
            Augmentation::Jitter => [&[batch], model.input()].concat(),
            Augmentation::Cutout { .. } => vec![batch, whole(domain).unwrap_or_default(), 2],
            Augmentation::Dropout(place) => [&[batch], &model.places()[place].shape[..]].concat(),
        }
    }

    /// What is wrong with it in a model, by a hyperparameter of these domains.
    pub(super) fn wrong(self, model: &Model, by: usize, domains: &[Transform]) -> Option<String> {
        let (places, axes) = (model.places().len(), model.input().len());
        let ends = |k: usize| domains.get(k).is_some_and(|&domain| whole(domain).is_some_and(|most| most > 0));
        let fits = by < domains.len()
            && match self {
                Augmentation::InputScale | Augmentation::Jitter => true,
                Augmentation::TimeMask => axes > 0,
                Augmentation::Cutout { length } => axes == 3 && ends(by) && ends(length),
                Augmentation::Dropout(place) => place < places,
            };
        (!fits).then(|| {
            let count = domains.len();
            format!(
                "{self:?} by hyperparameter {by}, both counted from 0, of {count} hyperparameters and a model with {places} \
                 places of dropout and examples of {axes} axes; cutout takes images of 3 axes and hyperparameters between \
                 two ends, the upper above 1"
            )
        })
    }

    /// What it does to examples, or to the activations at its place, of so many axes with the batch, of this shape.
    pub(super) fn change(self, g: &mut Graph, strengths: &Strengths, draw: NodeId, shape: &[usize]) -> Change {
        let rank = shape.len();
        match self {
            Augmentation::InputScale => {
                let draw = if g.shape(draw).len() == 1 { along_batch(g, draw, rank) } else { draw };
                let strength = strengths.over(g, strengths.by, rank);
                let change = g.mul(strength, draw);
                Change::Times(g.offset(change, 1.0))
            }
            Augmentation::Jitter => {
                let strength = strengths.over(g, strengths.by, rank);
                Change::Plus(g.mul(strength, draw))
            }
            Augmentation::TimeMask => {
                let length = shape[1] as f64;
                let reach = strengths.over(g, strengths.by, 2);
                let reach = g.scale(reach, 0.5 * length);
                let middle = along_batch(g, draw, 2);
                let middle = g.scale(middle, length);
                let end = g.add(middle, reach);
                let start = g.sub(middle, reach);
                let kept = outside(g, [start, end], shape[0], shape[1], 0.5);
                let mut over = vec![1; rank];
                over[..2].copy_from_slice(&shape[..2]);
                Change::Times(g.reshape(kept, &over))
            }
            Augmentation::Cutout { length } => {
                let (count, side) = (strengths.floor(g, strengths.by), strengths.floor(g, length));
                Change::Times(cutout(g, [count, side], draw, shape))
            }
            Augmentation::Dropout(_) => {
                let strength = strengths.over(g, strengths.by, rank);
                let minus = g.neg(strength);
                let kept = g.offset(minus, 1.0);
                Change::Times(g.div(draw, kept))
            }
        }
    }

    /// Its draws at a step, of this shape.
    pub(super) fn draw(
        self,
        g: &mut Graph,
        strengths: &Strengths,
        keyed: Keyed,
        stream: u32,
        (shape, example): (&[usize], &[usize]),
    ) -> NodeId {
        match self {
            Augmentation::InputScale | Augmentation::Jitter => keyed.normal(g, stream, shape),
            Augmentation::TimeMask => keyed.uniform(g, stream, shape),
            Augmentation::Cutout { .. } => keyed.below(g, stream, shape, [example[0], example[1]]),
            Augmentation::Dropout(_) => {
                let drawn = keyed.uniform(g, stream, shape);
                let dropped = strengths.over(g, strengths.by, shape.len());
                let minus = g.neg(dropped);
                let kept = g.offset(minus, 1.0);
                let is_kept = g.lt(drawn, kept);
                g.scalar(Scalar::ToFloat, &[is_kept])
            }
        }
    }
}

/// Which pixels of images of this shape `[batch, rows, columns, …]` lie in none of so many squares with sides so long, both
/// `[batch]`, about these middles, `[batch, rows, columns, 1]`.
fn cutout(g: &mut Graph, [count, side]: [NodeId; 2], middles: NodeId, shape: &[usize]) -> NodeId {
    let [batch, rows, columns] = shape[..3] else { unreachable!("images have rows and columns") };
    let image = [batch, rows, columns];
    let reach = along_batch(g, side, 2);
    let reach = g.scale(reach, 0.5);
    let mut all = g.full(&image, 1.0);
    for square in 0..g.shape(middles)[1] {
        let kept = [rows, columns].into_iter().enumerate().map(|(axis, length)| {
            let middle = g.slice(middles, &[0, square, axis], &[batch, 1, 1], &[1, 1, 1]);
            let middle = g.reshape(middle, &[batch, 1]);
            let (start, end) = (g.sub(middle, reach), g.add(middle, reach));
            // Pixel r is of the square where ⌊start⌋ ≤ r < ⌊end⌋.
            let kept = outside(g, [start, end], batch, length, 1.0);
            g.broadcast(kept, &image, &[0, 1 + axis])
        });
        let kept: Vec<NodeId> = kept.collect();
        let number = g.full(&[batch], square as f64 + 1.0);
        let is_none = g.lt(count, number);
        let is_none = g.scalar(Scalar::ToFloat, &[is_none]);
        let is_none = g.broadcast(is_none, &image, &[0]);
        let kept = either(g, kept[0], kept[1]);
        let kept = either(g, kept, is_none);
        all = g.mul(all, kept);
    }
    g.reshape(all, &[batch, rows, columns, 1])
}

/// Whether the places 0, 1, … of an axis lie outside (start − margin, end − margin], both `[batch, 1]`, as 0 or 1.
fn outside(g: &mut Graph, [start, end]: [NodeId; 2], batch: usize, length: usize, margin: f64) -> NodeId {
    let place = g.iota(&[batch, length], 1);
    let place = g.scalar(Scalar::ToFloat, &[place]);
    let place = g.offset(place, margin);
    let (is_after, is_beyond) = (g.lt(start, place), g.lt(end, place));
    let [is_after, is_beyond] = [is_after, is_beyond].map(|condition| g.scalar(Scalar::ToFloat, &[condition]));
    let within = g.sub(is_after, is_beyond);
    let minus = g.neg(within);
    g.offset(minus, 1.0)
}

/// Whether either of two holds, all 0 or 1.
fn either(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let (both, sum) = (g.mul(a, b), g.add(a, b));
    g.sub(sum, both)
}
