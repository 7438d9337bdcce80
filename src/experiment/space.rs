//! What a search looks through: ranges of hyperparameters, as data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::ConfigError;
use super::record::Named;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Directions, Layout, Problem, Transform, outer};
use crate::rng::Stream;

/// Ranges of hyperparameters in unconstrained form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Space(pub Vec<Variables>);

/// Hyperparameters of a kind that lie in one range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variables {
    /// The kind: `lr`, `momentum`, `l2` or `example-weights`.
    pub kind: Kind,
    /// How many there are. Of the kind's entries in the hyperparameter vector (a rate for each step and layer, a penalty
    /// for each layer, a weight for each example), the k-th of n variables stands in each n-th one from the k-th on.
    pub count: usize,
    /// The lower end.
    pub from: f64,
    /// The upper end. Where it is the lower one too, there is nothing to search, and the entries keep this value.
    pub to: f64,
    /// What the vector holds of a value.
    pub form: Form,
    /// Where a search begins, unconstrained; in the middle if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
}

/// What the hyperparameter vector holds of an unconstrained value u.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// u.
    Itself,
    /// 1 / (1 + e⁻ᵘ).
    Logistic,
    /// 2 / (1 + e⁻ᵘ): a weight that is 1 in the middle.
    Weight,
    /// 1 − eᵘ: a momentum by its distance from 1.
    Damping,
}

impl Form {
    /// What is held of a value, and the derivative of that.
    fn held(self, u: f64) -> [f64; 2] {
        match self {
            Form::Itself => [u, 1.0],
            Form::Logistic => {
                let value = Transform::UNIT.constrain(u);
                [value, value * (1.0 - value)]
            }
            Form::Weight => Form::Logistic.held(u).map(|part| 2.0 * part),
            Form::Damping => [1.0 - u.exp(), -u.exp()],
        }
    }
}

impl Variables {
    /// Whether there is anything to search.
    pub fn open(&self) -> bool {
        self.from != self.to
    }

    fn at(&self, share: f64) -> f64 {
        self.from + (self.to - self.from) * share
    }

    fn centre(&self) -> f64 {
        0.5 * (self.from + self.to)
    }

    /// The entries of the k-th.
    fn entries(&self, layout: &Layout, k: usize) -> impl Iterator<Item = usize> + use<> {
        let range = match self.kind {
            Kind::Lr => &layout.log_lr,
            Kind::Momentum => &layout.scalars,
            Kind::L2 => &layout.l2_log,
            _ => &layout.weights,
        };
        range.clone().skip(k).step_by(self.count)
    }
}

impl Space {
    /// Refuses what cannot be searched.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |message: String| Err(ConfigError::Setting { field: "space".to_owned(), message });
        for Variables { kind, count, from, to, .. } in &self.0 {
            let name = kind.name();
            if !matches!(kind, Kind::Lr | Kind::Momentum | Kind::L2 | Kind::ExampleWeights) {
                return wrong(format!("{name} cannot be searched; lr, momentum, l2 and example-weights can"));
            }
            if *count == 0 || !(from.is_finite() && to.is_finite()) {
                return wrong(format!(
                    "{name} has {count} variables from {from} to {to}; give at least 1, with finite ends"
                ));
            }
        }
        Ok(())
    }

    /// Each variable that is searched, with its number among those of its kind.
    fn open(&self) -> impl Iterator<Item = (&Variables, usize)> {
        self.0.iter().filter(|variables| variables.open()).flat_map(|v| (0..v.count).map(move |k| (v, k)))
    }

    /// The kinds of the variables that are searched, one after another.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.open().map(|(variables, _)| variables.kind)
    }

    /// The point that a search begins with.
    pub fn start(&self) -> Vec<f64> {
        self.open().map(|(variables, _)| variables.start.unwrap_or(variables.centre())).collect()
    }

    /// The variables as an outer optimiser moves them, each kind at its rate.
    pub fn variables(&self, rate: impl Fn(Kind) -> f64) -> outer::Variables {
        let open = self.0.iter().filter(|variables| variables.open());
        let moved = open.clone().map(|v| outer::Moved { kind: v.kind, count: v.count, rate: rate(v.kind) });
        let usual = open.filter(|v| match v.kind.row().transform {
            Transform::Log => v.form == Form::Itself,
            _ => matches!(v.form, Form::Logistic | Form::Weight),
        });
        outer::Variables::new(moved.collect(), &usual.map(|v| v.kind).collect::<Vec<_>>())
    }

    /// A point drawn evenly.
    pub fn random(&self, stream: &mut Stream) -> Vec<f64> {
        self.open().map(|(variables, _)| variables.at(stream.uniform())).collect()
    }

    /// At most so many points at even distances, as near to a cube as they go; the first variable has what is left over.
    pub fn grid(&self, most: u32) -> Vec<Vec<f64>> {
        let open: Vec<&Variables> = self.open().map(|(variables, _)| variables).collect();
        let others = open.len().saturating_sub(1) as u32;
        let side = (1..=most).take_while(|side| side.checked_pow(others + 1).is_some_and(|n| n <= most)).last();
        let side = side.unwrap_or(1);
        let rows = side.pow(others);
        let first = most / rows;
        let at = |k: u32, of: u32| if of > 1 { f64::from(k) / f64::from(of - 1) } else { 0.5 };
        let point = |number: u32| {
            let mut left = number;
            let mut shares: Vec<f64> = (0..others)
                .map(|_| {
                    let share = at(left % side, side);
                    left /= side;
                    share
                })
                .collect();
            shares.push(at(left, first));
            open.iter().zip(shares.into_iter().rev()).map(|(variables, share)| variables.at(share)).collect()
        };
        (0..first * rows).map(point).collect()
    }

    /// The hyperparameter vector of a point; `lambda` has what is not in the space.
    pub fn lambda(&self, problem: &Problem, lambda: &[f64], point: &[f64]) -> Vec<f64> {
        let (layout, mut lambda, mut values) = (problem.layout(), lambda.to_vec(), point.iter());
        for variables in &self.0 {
            for k in 0..variables.count {
                let next = if variables.open() { values.next().copied() } else { None };
                let [held, _] = variables.form.held(next.unwrap_or(variables.centre()));
                variables.entries(&layout, k).for_each(|at| lambda[at] = held);
            }
        }
        lambda
    }

    /// The values of what there is one of its kind of, under the names of records.
    pub fn named(&self, point: &[f64]) -> Named {
        let single = self.open().zip(point).filter(|((variables, _), _)| variables.count == 1);
        let named = single.map(|((variables, _), &u)| {
            let [held, _] = variables.form.held(u);
            let row = variables.kind.row();
            (row.record.to_owned(), if row.transform == Transform::Log { held.exp() } else { held })
        });
        named.collect()
    }

    /// What the variables of a point move.
    pub fn directions(&self, problem: &Problem, point: &[f64]) -> Directions {
        let (layout, mut directions) = (problem.layout(), Directions::new(problem));
        for ((variables, k), &u) in self.open().zip(point) {
            let [_, slope] = variables.form.held(u);
            directions.push(variables.entries(&layout, k).map(|at| (at, slope)));
        }
        directions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::config::TuneConfig;
    use crate::experiment::setup::{problem, with_training};

    fn variables(kind: Kind, count: usize, [from, to]: [f64; 2], form: Form) -> Variables {
        Variables { kind, count, from, to, form, start: None }
    }

    #[test]
    fn a_grid_covers_the_ranges() {
        let space = Space(vec![
            variables(Kind::Lr, 1, [-9.0, -1.0], Form::Itself),
            variables(Kind::Momentum, 1, [0.0, -4.0], Form::Damping),
            variables(Kind::L2, 1, [-7.0, -7.0], Form::Itself),
        ]);
        let grid = space.grid(72);
        assert_eq!((grid.len(), grid[0].len()), (72, 2));
        assert_eq!(
            (&grid[0][..], &grid[1][..], &grid[71][..]),
            (&[-9.0, 0.0][..], &[-9.0, -4.0 / 7.0][..], &[-1.0, -4.0][..])
        );
        assert_eq!(space.grid(18).len(), 16);
        let line = Space(vec![variables(Kind::L2, 1, [-2.0, 2.0], Form::Itself)]);
        assert_eq!(line.grid(3), [[-2.0], [0.0], [2.0]]);
    }

    #[test]
    fn directions_are_the_derivatives_of_the_vector() {
        let config = TuneConfig { hyperparameters: vec![Kind::ExampleWeights], ..TuneConfig::quick() };
        let problem = problem(&config, &with_training(100)).unwrap();
        let base = vec![0.25; problem.layout().len()];
        let space = Space(vec![
            variables(Kind::Lr, 1, [-9.2, -1.2], Form::Itself),
            variables(Kind::Momentum, 1, [-4.0, -0.1], Form::Damping),
            variables(Kind::L2, 4, [-3.0, -3.0], Form::Itself),
            variables(Kind::ExampleWeights, 30, [-4.0, 4.0], Form::Logistic),
        ]);
        space.check().unwrap();
        let point = space.start();
        let (lambda, along) = (space.lambda(&problem, &base, &point), space.directions(&problem, &point));
        assert_eq!((along.len(), space.kinds().count(), point.len()), (32, 32, 32));
        assert!(problem.layout().weights.clone().all(|at| lambda[at] == 0.5), "each weight is of a variable");
        assert!(problem.layout().l2_log.clone().all(|at| lambda[at] == -3.0), "what is not searched has its value");
        for k in 0..point.len() {
            let mut moved = point.clone();
            moved[k] += 1e-6;
            let moved = space.lambda(&problem, &base, &moved);
            let mut derivative = vec![0.0; lambda.len()];
            along.write(k, &mut derivative);
            for at in 0..lambda.len() {
                assert!(((moved[at] - lambda[at]) / 1e-6 - derivative[at]).abs() < 1e-5, "{k} {at}");
            }
        }
    }

    #[test]
    fn what_cannot_be_searched_is_named() {
        let error = |variables| Space(vec![variables]).check().unwrap_err().to_string();
        assert!(error(variables(Kind::Jitter, 1, [0.0, 1.0], Form::Itself)).contains("jitter cannot be searched"));
        assert!(error(variables(Kind::Lr, 0, [0.0, 1.0], Form::Itself)).contains("0 variables"));
    }
}
