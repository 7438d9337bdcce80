//! Polynomial-decay averaging (Shamir & Zhang 2013, §4): a training that is judged by an average of its weights.

use super::{Dynamics, Optimizer, ScalarSpec, Scalars, Size, Slot, Slots};
use crate::ir::{Graph, NodeId};

/// Any optimiser, whose weights are trained as ever and judged by the average w̄ ← w̄ + (1 + p) / (t + p) (w − w̄) after
/// step t: step k counts about kᵖ, so that the average lags T / (p + 2) steps behind, whatever T is. Kept is w̄ − w.
#[derive(Clone, Debug)]
pub struct Averaged {
    name: &'static str,
    formula: &'static str,
    base: Dynamics,
    slots: Vec<Slot>,
}

/// The power p: an average that lags T / 8 steps, as that of the last quarter would.
const POWER: f64 = 6.0;

impl Averaged {
    /// An optimiser and its average under a name.
    pub fn new(name: &'static str, formula: &'static str, base: impl Into<Dynamics>) -> Self {
        let base = base.into();
        let own = [Slot::each("average"), Slot { name: "steps", size: Size::One, start: 0.0, corrects: None }];
        let slots = base.slots().iter().copied().chain(own).collect();
        Averaged { name, formula, base, slots }
    }
}

impl Optimizer for Averaged {
    fn name(&self) -> &'static str {
        self.name
    }

    fn formula(&self) -> &'static str {
        self.formula
    }

    fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn scalars(&self) -> &[ScalarSpec] {
        self.base.scalars()
    }

    fn usual_rate(&self) -> f64 {
        self.base.usual_rate()
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let average = self.base.slots().len();
        let next = self.base.descend(g, slots, w, gradient, at);
        let (ahead, steps) = (slots.get(g, average), slots.get(g, average + 1));
        let now = g.offset(steps, 1.0);
        slots.set(average + 1, now);
        // 1 − (1 + p) / (t + p), with t − 1 steps before this one.
        let whole = g.offset(now, POWER);
        let kept = g.div(steps, whole);
        let change = g.sub(w, next);
        let ahead = g.add(ahead, change);
        let ahead = g.mul(kept, ahead);
        slots.set(average, ahead);
        next
    }

    fn judged_by(&self) -> Option<usize> {
        Some(self.base.slots().len())
    }

    fn records(&self, g: &mut Graph, state: NodeId, at: &Scalars) -> Vec<(&'static str, NodeId)> {
        self.base.records(g, state, at)
    }

    fn stable(&self, scalars: &[f64]) -> f64 {
        self.base.stable(scalars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp;
    use crate::ir::DType;
    use crate::nn::optim::{Momentum, Sgd};

    #[test]
    fn it_is_the_mean_that_its_weights_make_and_trains_as_without() {
        let averaged = Averaged::new("sgd-averaged", "", Sgd);
        let mut g = Graph::new();
        let state = g.input("state", &[averaged.state_len(2)], DType::F32);
        let (gradient, eta) = (g.input("gradient", &[2], DType::F32), g.input("eta", &[2], DType::F32));
        let next = averaged.step(&mut g, state, gradient, eta, &[]);
        let judged = averaged.readout(&mut g, next, 2);
        let mut at: Vec<f64> = vec![1.0, -2.0, 0.0, 0.0, 0.0];
        let mut mean = [0.0, 0.0];
        for t in 1..=30 {
            let gradient: Vec<f64> = (0..2).map(|k| f64::from(t * (k + 2) % 7) - 3.0).collect();
            let plain: Vec<f64> = (0..2).map(|k| at[k] - 0.1 * gradient[k]).collect();
            let values = interp::eval(&g, &[next, judged], &[at.clone(), gradient, vec![0.1; 2]]);
            at.clone_from(&values[0]);
            for k in 0..2 {
                mean[k] += 7.0 / (f64::from(t) + 6.0) * (plain[k] - mean[k]);
                assert_eq!(at[k], plain[k], "step {t}");
                assert!((values[1][k] - mean[k]).abs() < 1e-12, "step {t}");
            }
            assert_eq!(averaged.judged(&at, 2), values[1], "on the host the same");
        }
        assert_eq!(Momentum.judged(&[1.0, 2.0, 5.0, 6.0], 2), [1.0, 2.0]);
    }
}
