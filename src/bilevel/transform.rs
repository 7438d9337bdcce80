//! Constraints by transforms (algorithms.md A.11): a hyperparameter θ = c(u) of an unconstrained u.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ir::{Graph, NodeId, Scalar};

/// From the unconstrained real numbers onto a hyperparameter's domain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// θ = u, anywhere.
    Identity,
    /// θ = eᵘ, above 0: equal steps are equal factors.
    Log,
    /// θ = low + ln(1 + eᵘ), above `low`.
    Above {
        /// The bound.
        low: f64,
    },
    /// θ = low + (high − low) / (1 + e⁻ᵘ), between the two.
    Within {
        /// The lower bound.
        low: f64,
        /// The upper bound, which must be larger.
        high: f64,
    },
}

impl Transform {
    /// Between 0 and 1, on a logit scale.
    pub const UNIT: Transform = Transform::Within { low: 0.0, high: 1.0 };

    /// θ for u.
    pub fn constrain(self, u: f64) -> f64 {
        match self {
            Transform::Identity => u,
            Transform::Log => u.exp(),
            Transform::Above { low } => low + u.max(0.0) + (-u.abs()).exp().ln_1p(),
            Transform::Within { low, high } => low + (high - low) * sigmoid(u),
        }
    }

    /// θ for every element of u.
    pub fn apply(self, g: &mut Graph, u: NodeId) -> NodeId {
        match self {
            Transform::Identity => u,
            Transform::Log => g.scalar(Scalar::Exp, &[u]),
            Transform::Above { low } => {
                let above = g.scalar(Scalar::Softplus, &[u]);
                g.offset(above, low)
            }
            Transform::Within { low, high } => {
                let share = g.scalar(Scalar::Sigmoid, &[u]);
                let above = g.scale(share, high - low);
                g.offset(above, low)
            }
        }
    }

    /// u for θ; not finite on or beyond the boundary.
    pub fn unconstrain(self, value: f64) -> f64 {
        match self {
            Transform::Identity => value,
            Transform::Log => value.ln(),
            Transform::Above { low } => {
                let above = value - low;
                above + (-(-above).exp_m1()).ln()
            }
            Transform::Within { low, high } => {
                let (below, above) = ((high - value) / (high - low), (value - low) / (high - low));
                above.ln() - below.ln()
            }
        }
    }

    /// dθ/du.
    pub fn slope(self, u: f64) -> f64 {
        match self {
            Transform::Identity => 1.0,
            Transform::Log => u.exp(),
            Transform::Above { .. } => sigmoid(u),
            Transform::Within { low, high } => (high - low) * sigmoid(u) * sigmoid(-u),
        }
    }
}

fn sigmoid(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::eval;
    use crate::ir::DType;

    const ALL: [Transform; 5] = [
        Transform::Identity,
        Transform::Log,
        Transform::Above { low: 0.25 },
        Transform::UNIT,
        Transform::Within { low: -2.0, high: 3.0 },
    ];

    #[test]
    fn they_invert_and_their_slopes_are_differences() {
        for transform in ALL {
            for u in [-30.0, -3.0, -0.1, 0.0, 0.7, 4.0, 20.0] {
                let back = transform.unconstrain(transform.constrain(u));
                // Near a finite end the value has few digits of its distance left.
                let lost = f64::EPSILON * transform.constrain(u).abs().max(3.0) / transform.slope(u);
                assert!((back - u).abs() < 1e-12 + 4.0 * lost, "{transform:?} {u} {back}");
                let h = 1e-5 * f64::max(1.0, u.abs());
                let difference = (transform.constrain(u + h) - transform.constrain(u - h)) / (2.0 * h);
                let slope = transform.slope(u);
                assert!((difference - slope).abs() < 1e-8 * slope.abs().max(1.0), "{transform:?} {u}: {slope}");
            }
        }
    }

    #[test]
    fn graphs_constrain_alike() {
        let points = [-3.0, -0.1, 0.0, 0.7, 4.0];
        for transform in ALL {
            let mut g = Graph::new();
            let u = g.input("u", &[points.len()], DType::F32);
            let theta = transform.apply(&mut g, u);
            let ours = eval(&g, &[theta], &[points.to_vec()]).remove(0);
            for (u, ours) in points.into_iter().zip(ours) {
                let wanted = transform.constrain(u);
                assert!((ours - wanted).abs() < 1e-12 * wanted.abs().max(1.0), "{transform:?} {u}: {ours}");
            }
        }
    }

    #[test]
    fn ends_are_out_of_reach() {
        assert!(!Transform::Log.unconstrain(0.0).is_finite());
        assert!(!Transform::UNIT.unconstrain(1.0).is_finite() && !Transform::UNIT.unconstrain(-0.1).is_finite());
        assert!(!Transform::Above { low: 1.0 }.unconstrain(1.0).is_finite());
    }
}
