//! Hyperparameters that people tune, as maps in front of the general arrays (algorithms.md A.10, A.11).
//!
//! Each is optimised without constraints and mapped into the arrays that the training step reads; its
//! hypergradient is the arrays' pulled back by the chain rule.

mod kind;
mod row;
mod table;

use serde::{Deserialize, Serialize};

use self::row::Holds;
pub use self::row::{Kind, Names, Rate, Row, Start};
pub use self::table::ROWS;
use super::{Directions, Problem, SolveError, Transform};

/// Hyperparameters of one kind, in unconstrained form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What these are.
    pub kind: Kind,
    /// From the unconstrained values to those that people read.
    pub transform: Transform,
    /// Unconstrained values, as many as [`Kind::count`] says.
    pub values: Vec<f64>,
    /// Whether the outer optimiser moves it.
    pub tuned: bool,
}

impl Group {
    /// Its constrained values.
    pub fn constrained(&self) -> impl Iterator<Item = f64> {
        self.values.iter().map(|&u| self.transform.constrain(u))
    }

    /// What an array holds of its k-th value, and the derivative of that in the unconstrained one.
    fn held(&self, k: usize) -> (f64, f64) {
        let u = self.values[k];
        let (value, slope) = (self.transform.constrain(u), self.transform.slope(u));
        match (self.kind.row().holds, self.transform) {
            (Holds::Itself, _) => (value, slope),
            (Holds::Logarithm, Transform::Log) => (u, 1.0),
            (Holds::Logarithm, _) => (value.ln(), slope / value),
            (Holds::HalfLogit, Transform::UNIT) => (0.5 * u, 0.5),
            (Holds::HalfLogit, _) => (0.5 * (value / (1.0 - value)).ln(), 0.5 * slope / (value * (1.0 - value))),
        }
    }
}

/// All hyperparameters of a problem, tuned ones and fixed ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Each kind at most once.
    pub groups: Vec<Group>,
}

impl Hyperparameters {
    /// Adds a kind to be tuned, all of it from this value on.
    pub fn tuned(self, problem: &Problem, kind: Kind, value: f64) -> Self {
        self.with(kind, &vec![value; kind.count(problem)], true)
    }

    /// Adds a kind that keeps this value.
    pub fn fixed(self, problem: &Problem, kind: Kind, value: f64) -> Self {
        self.with(kind, &vec![value; kind.count(problem)], false)
    }

    /// Adds a kind with these constrained values.
    pub fn with(mut self, kind: Kind, values: &[f64], tuned: bool) -> Self {
        let transform = kind.row().transform;
        let values = values.iter().map(|&value| transform.unconstrain(value)).collect();
        self.groups.push(Group { kind, transform, values, tuned });
        self
    }

    /// Keeps the kind added last in another domain.
    pub fn kept(mut self, transform: Transform) -> Self {
        if let Some(group) = self.groups.last_mut() {
            group.values = group.constrained().map(|value| transform.unconstrain(value)).collect();
            group.transform = transform;
        }
        self
    }

    /// Whether they are what a problem needs.
    pub fn check(&self, problem: &Problem) -> Result<(), SolveError> {
        let wrong = |what: String| Err(SolveError::Hyperparameters(what));
        for (position, Group { kind, values, transform, .. }) in self.groups.iter().enumerate() {
            let (name, count) = (kind.name(), kind.count(problem));
            if count == 0 && *kind == Kind::Dropout && problem.masked().is_some() {
                return wrong(format!(
                    "`{name}` is given, but masks of zeros and ones have no derivative in it: add Noise::Dropout to the \
                     problem's noise, which stands for them"
                ));
            }
            if count == 0 {
                return wrong(format!("`{name}` is given, but the problem has no such hyperparameter"));
            }
            if values.len() != count {
                return wrong(format!("`{name}` is given {} values, and the problem has {count} of it", values.len()));
            }
            if let Transform::Within { low, high } = transform
                && low >= high
            {
                return wrong(format!("`{name}` is to lie between {low} and {high}; the first must be the smaller"));
            }
            if let Some(bad) = values.iter().position(|u| !u.is_finite()) {
                return wrong(format!("value {bad} of `{name}` lies on or beyond the end of its domain"));
            }
            if self.groups[..position].iter().any(|other| other.kind == *kind) {
                return wrong(format!("`{name}` is given twice"));
            }
        }
        let given = |kind: &Kind| self.groups.iter().any(|group| group.kind == *kind);
        let missing = ROWS.iter().find(|row| {
            let given = given(&row.kind) || row.alternatives.iter().any(given);
            row.required && row.kind.count(problem) > 0 && !given
        });
        match missing {
            Some(row) => wrong(format!("the problem has `{}`, but no value of it is given", row.name)),
            None => Ok(()),
        }
    }

    /// The vector that the training step reads. Kinds that say the same multiply.
    pub fn arrays(&self, problem: &Problem) -> Vec<f64> {
        let mut lambda = vec![0.0; problem.layout().len()];
        for group in &self.groups {
            for k in 0..group.values.len() {
                let (held, _) = group.held(k);
                (group.kind.row().entries)(problem, k).for_each(|i| lambda[i] += held);
            }
        }
        lambda
    }

    /// What the tuned groups' unconstrained values move, one after another.
    pub fn directions(&self, problem: &Problem) -> Directions {
        let mut directions = Directions::new(problem);
        for group in self.groups.iter().filter(|g| g.tuned) {
            for k in 0..group.values.len() {
                let (_, slope) = group.held(k);
                directions.push((group.kind.row().entries)(problem, k).map(|i| (i, slope)));
            }
        }
        directions
    }

    /// The constrained values of a kind; none where it is not there.
    pub fn values(&self, kind: Kind) -> Vec<f64> {
        self.groups.iter().filter(|group| group.kind == kind).flat_map(Group::constrained).collect()
    }

    /// The unconstrained values of the tuned groups, one after another.
    pub fn variables(&self) -> Vec<f64> {
        self.groups.iter().filter(|g| g.tuned).flat_map(|g| g.values.iter().copied()).collect()
    }

    /// Sets them.
    pub fn set_variables(&mut self, variables: &[f64]) {
        let tuned = self.groups.iter_mut().filter(|g| g.tuned).flat_map(|g| g.values.iter_mut());
        tuned.zip(variables).for_each(|(value, &variable)| *value = variable);
    }

    /// Cuts derivatives along [`Hyperparameters::directions`] into those of each tuned group.
    pub fn split<'a>(&'a self, mut derivatives: &'a [f64]) -> impl Iterator<Item = (&'a Group, &'a [f64])> {
        self.groups.iter().filter(|g| g.tuned).map(move |group| {
            let (own, rest) = derivatives.split_at(group.values.len());
            derivatives = rest;
            (group, own)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::{Loss, Noise, Regularizer};
    use crate::nn::optim::{Adam, Dynamics, Epsilon, Momentum, Sgd};
    use crate::nn::zoo;

    fn problem(optimizer: impl Into<Dynamics>) -> Problem {
        Problem {
            l2: true,
            weights: true,
            noise: vec![Noise::Scaling, Noise::Dropout, Noise::Jitter],
            regularizer: Some(Regularizer::new(3, |g, w, _| g.sum_all(w))),
            initial_weights: true,
            initial_scale: true,
            ..Problem::new(zoo::har_cnn(&[128, 9], 2, 3, 6, 0.5).unwrap(), Loss::CrossEntropy, optimizer, 5, 7)
        }
    }

    fn all(problem: &Problem, transform: Option<Transform>) -> Hyperparameters {
        let kinds = Kind::all().filter(|kind| kind.count(problem) > 0 && *kind != Kind::L2Global);
        kinds.fold(Hyperparameters::default(), |point, kind| {
            let point = point.tuned(problem, kind, 0.3 + 0.01 * kind as u8 as f64);
            match transform {
                Some(transform) => point.kept(transform),
                None => point,
            }
        })
    }

    /// Directions are the derivatives of the arrays.
    #[test]
    fn directions_are_differences() {
        let transforms = [None, Some(Transform::Within { low: -0.5, high: 0.9 }), Some(Transform::Above { low: 0.1 })];
        for (optimizer, transform) in [Dynamics::from(Momentum), Adam(Epsilon::Inside).into()]
            .into_iter()
            .flat_map(|o| transforms.map(|t| (o.clone(), t)))
        {
            let problem = problem(optimizer);
            let point = all(&problem, transform);
            point.check(&problem).unwrap();
            let directions = point.directions(&problem);
            let variables = point.variables();
            assert_eq!(directions.len(), variables.len());
            let at = |k: usize, step: f64| {
                let mut moved = point.clone();
                let mut variables = variables.clone();
                variables[k] += step;
                moved.set_variables(&variables);
                moved.arrays(&problem)
            };
            for k in (0..variables.len()).filter(|k| k % 13 == 0 || *k < 30) {
                let mut lambda = vec![0.0; problem.layout().len()];
                directions.write(k, &mut lambda);
                let h = 1e-5;
                let (up, down) = (at(k, h), at(k, -h));
                for (i, slope) in lambda.iter().enumerate() {
                    let difference = (up[i] - down[i]) / (2.0 * h);
                    assert!((difference - slope).abs() < 1e-8 * slope.abs().max(1.0), "{k} {i}: {difference} {slope}");
                }
            }
        }
    }

    #[test]
    fn kinds_that_say_the_same_multiply() {
        let problem = problem(Sgd);
        let point = Hyperparameters::default().fixed(&problem, Kind::Lr, 0.1);
        let point = point.with(Kind::LrSchedule, &[1.0, 2.0, 1.0, 1.0, 1.0], false);
        let point = point.with(Kind::LrLayers, &[1.0, 1.0, 3.0, 1.0], false);
        let lambda = point.arrays(&problem);
        let rates: Vec<f64> = lambda[problem.layout().log_lr][..8].iter().map(|l| l.exp()).collect();
        for (rate, wanted) in rates.iter().zip([0.1, 0.1, 0.3, 0.1, 0.2, 0.2, 0.6, 0.2]) {
            assert!((rate - wanted).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let problem = problem(Sgd);
        let message = |point: Hyperparameters| point.check(&problem).unwrap_err().to_string();
        let most = |without: Kind| {
            let mut point = all(&problem, None);
            point.groups.retain(|group| group.kind != without);
            point
        };
        assert!(message(most(Kind::L2)).contains("has `l2`, but no value"));
        assert!(message(most(Kind::Jitter)).contains("has `jitter`, but no value"));
        most(Kind::LrSchedule).check(&problem).unwrap();
        most(Kind::L2).fixed(&problem, Kind::L2Global, 0.1).check(&problem).unwrap();
        assert!(message(most(Kind::L2).with(Kind::L2, &[1.0], true)).contains("is given 1 values"));
        assert!(message(most(Kind::Dropout).fixed(&problem, Kind::Dropout, 1.0)).contains("beyond the end"));
        assert!(message(all(&problem, None).with(Kind::Momentum, &[0.5], true)).contains("no such hyperparameter"));
        assert!(message(all(&problem, None).tuned(&problem, Kind::Lr, 0.5)).contains("given twice"));
        let masked = Problem { noise: vec![], ..problem };
        let point = Hyperparameters::default().with(Kind::Dropout, &[0.5], true);
        assert!(point.check(&masked).unwrap_err().to_string().contains("add Noise::Dropout"));
    }
}
