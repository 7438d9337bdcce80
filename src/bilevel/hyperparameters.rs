//! Hyperparameters that people tune, as maps in front of the general arrays (algorithms.md A.10, A.11).
//!
//! Each is optimised without constraints and mapped into the arrays that the training step reads; its
//! hypergradient is the arrays' pulled back by the chain rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Directions, Estimate, Noise, Problem, SolveError, Transform};
use crate::nn::optim::Optimizer;

/// A kind of hyperparameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Kind {
    /// One learning rate for all steps and layers; tuned as its logarithm.
    Lr,
    /// A factor on the learning rate for each layer; tuned as its logarithm.
    LrLayers,
    /// A factor on the learning rate for each training step; tuned as its logarithm.
    LrSchedule,
    /// Momentum in (0, 1); tuned as its logit.
    Momentum,
    /// Adam's two decay rates in (0, 1); tuned as their logits.
    Betas,
    /// Adam's ε; tuned as its logarithm.
    Epsilon,
    /// One L2 penalty λ a layer, ½ λ ‖W‖² of its kernel; tuned as its logarithm.
    L2,
    /// One L2 penalty λ for all layers, ½ λ ‖W‖² of their kernels; tuned as its logarithm.
    L2Global,
    /// Rate in (0, 1) of Gaussian dropout; tuned as its logit.
    Dropout,
    /// Standard deviation of noise added to the values of an example; tuned as its logarithm.
    Jitter,
    /// Standard deviation of random factors on the channels of an example; tuned as its logarithm.
    Scaling,
    /// One weight in (0, 1) a training example; tuned as its logit.
    ExampleWeights,
    /// What the problem's own regularizer takes, as it takes it. The networks that a configuration names have none.
    #[schemars(skip)]
    Regularizer,
    /// A factor on the initial weights; tuned as its logarithm.
    InitialScale,
    /// The initial weights.
    InitialWeights,
}

/// What an array holds of a hyperparameter θ.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Itself,
    Logarithm,
    /// ½ ln(θ / (1 − θ)): the log standard deviation of dropout at rate θ.
    HalfLogit,
}

impl Kind {
    pub const ALL: [Kind; 15] = [
        Kind::Lr,
        Kind::LrLayers,
        Kind::LrSchedule,
        Kind::Momentum,
        Kind::Betas,
        Kind::Epsilon,
        Kind::L2,
        Kind::L2Global,
        Kind::Dropout,
        Kind::Jitter,
        Kind::Scaling,
        Kind::ExampleWeights,
        Kind::Regularizer,
        Kind::InitialScale,
        Kind::InitialWeights,
    ];

    /// Its name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lr => "lr",
            Kind::LrLayers => "lr-layers",
            Kind::LrSchedule => "lr-schedule",
            Kind::Momentum => "momentum",
            Kind::Betas => "betas",
            Kind::Epsilon => "epsilon",
            Kind::L2 => "l2",
            Kind::L2Global => "l2-global",
            Kind::Dropout => "dropout",
            Kind::Jitter => "jitter",
            Kind::Scaling => "scaling",
            Kind::ExampleWeights => "example-weights",
            Kind::Regularizer => "regularizer",
            Kind::InitialScale => "initial-scale",
            Kind::InitialWeights => "initial-weights",
        }
    }

    /// Where it may lie and how it is tuned, unless a group says otherwise.
    pub fn transform(self) -> Transform {
        match self {
            Kind::Momentum | Kind::Betas | Kind::Dropout | Kind::ExampleWeights => Transform::UNIT,
            Kind::Regularizer | Kind::InitialWeights => Transform::Identity,
            _ => Transform::Log,
        }
    }

    /// How many of it a problem has; none where it has no such thing.
    pub fn count(self, problem: &Problem) -> usize {
        let (layout, layers) = (problem.layout(), problem.model.parameter_layers());
        match self {
            Kind::Lr => 1,
            Kind::LrLayers => layers,
            Kind::LrSchedule => problem.steps,
            Kind::Momentum | Kind::Betas | Kind::Epsilon => self.scalars(problem).len(),
            Kind::L2 if problem.l2 => problem.model.kernels().len(),
            Kind::L2 => 0,
            Kind::L2Global => usize::from(problem.l2),
            Kind::Dropout | Kind::Jitter | Kind::Scaling => {
                usize::from(self.noise().is_some_and(|noise| problem.noise.contains(&noise)))
            }
            Kind::ExampleWeights => layout.weights.len(),
            Kind::Regularizer => layout.regularizer.len(),
            Kind::InitialScale => layout.initial_scale_log.len(),
            Kind::InitialWeights => layout.initial_weights.len(),
        }
    }

    /// The noise whose strength it is.
    pub fn noise(self) -> Option<Noise> {
        match self {
            Kind::Dropout => Some(Noise::Dropout),
            Kind::Jitter => Some(Noise::Jitter),
            Kind::Scaling => Some(Noise::Scaling),
            _ => None,
        }
    }

    /// The scalars of inner optimisers that it holds, by their names there.
    fn scalar_names(self) -> &'static [&'static str] {
        match self {
            Kind::Momentum => &["momentum"],
            Kind::Betas => &["beta1", "beta2"],
            Kind::Epsilon => &["epsilon"],
            _ => &[],
        }
    }

    /// Whether it holds scalars of an inner optimiser.
    pub fn is_of(self, optimizer: &dyn Optimizer) -> bool {
        optimizer.scalars().iter().any(|scalar| self.scalar_names().contains(&scalar.name))
    }

    /// Places of its scalars among those of the problem's optimiser; none where this has no such scalars.
    fn scalars(self, problem: &Problem) -> Vec<usize> {
        let names = problem.optimizer.scalars().iter().map(|scalar| scalar.name);
        names.enumerate().filter(|(_, name)| self.scalar_names().contains(name)).map(|(k, _)| k).collect()
    }

    /// Kinds that may stand in its place where a problem needs it.
    fn alternatives(self) -> &'static [Kind] {
        match self {
            Kind::Lr => &[Kind::LrLayers, Kind::LrSchedule],
            Kind::L2 => &[Kind::L2Global],
            _ => &[],
        }
    }

    /// Whether a problem that has it needs to be told its value.
    fn is_required(self) -> bool {
        !matches!(self, Kind::LrLayers | Kind::LrSchedule | Kind::L2Global)
    }

    fn holds(self) -> Holds {
        match self {
            Kind::Dropout => Holds::HalfLogit,
            Kind::Lr | Kind::LrLayers | Kind::LrSchedule | Kind::L2 | Kind::L2Global => Holds::Logarithm,
            Kind::Jitter | Kind::Scaling | Kind::InitialScale => Holds::Logarithm,
            _ => Holds::Itself,
        }
    }

    /// The entries of the hyperparameter vector that its k-th value moves.
    fn entries(self, problem: &Problem, k: usize) -> Box<dyn Iterator<Item = usize>> {
        let (layout, layers) = (problem.layout(), problem.model.parameter_layers());
        let only = |i: usize| Box::new(std::iter::once(i));
        match self {
            Kind::Lr => Box::new(layout.log_lr),
            Kind::LrLayers => Box::new(layout.log_lr.skip(k).step_by(layers)),
            Kind::LrSchedule => Box::new(layout.log_lr.skip(k * layers).take(layers)),
            Kind::Momentum | Kind::Betas | Kind::Epsilon => only(layout.scalars.start + self.scalars(problem)[k]),
            Kind::L2 => only(layout.l2_log.start + problem.model.kernels()[k].0),
            Kind::L2Global => Box::new(layout.l2_log),
            Kind::Dropout | Kind::Jitter | Kind::Scaling => {
                let position = problem.noise.iter().position(|&noise| Some(noise) == self.noise());
                Box::new(position.into_iter().map(move |position| layout.noise_log.start + position))
            }
            Kind::ExampleWeights => only(layout.weights.start + k),
            Kind::Regularizer => only(layout.regularizer.start + k),
            Kind::InitialScale => only(layout.initial_scale_log.start),
            Kind::InitialWeights => only(layout.initial_weights.start + k),
        }
    }
}

/// Hyperparameters of one kind, in unconstrained form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub kind: Kind,
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
        match (self.kind.holds(), self.transform) {
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
        let transform = kind.transform();
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
        let missing = Kind::ALL.into_iter().find(|kind| {
            kind.is_required() && kind.count(problem) > 0 && !given(kind) && !kind.alternatives().iter().any(given)
        });
        match missing {
            Some(kind) => wrong(format!("the problem has `{}`, but no value of it is given", kind.name())),
            None => Ok(()),
        }
    }

    /// The vector that the training step reads. Kinds that say the same multiply.
    pub fn arrays(&self, problem: &Problem) -> Vec<f64> {
        let mut lambda = vec![0.0; problem.layout().len()];
        for group in &self.groups {
            for k in 0..group.values.len() {
                let (held, _) = group.held(k);
                group.kind.entries(problem, k).for_each(|i| lambda[i] += held);
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
                directions.push(group.kind.entries(problem, k).map(|i| (i, slope)));
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

    /// Moves the variables by a step of an outer optimiser, which takes them with the loss (NaN where the
    /// training diverged) and the hypergradient found at them, and says whether it accepted that point.
    pub(in crate::bilevel) fn advance(
        &mut self,
        estimate: &Estimate,
        step: impl FnOnce(&mut [f64], f64, &[f64]) -> bool,
    ) -> bool {
        let loss = if estimate.bad_step.is_some() { f64::NAN } else { estimate.outer_loss };
        let mut variables = self.variables();
        let accepted = step(&mut variables, loss, &estimate.hypergradient);
        self.set_variables(&variables);
        accepted
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
    use crate::bilevel::{Loss, Regularizer};
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
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.count(problem) > 0 && *kind != Kind::L2Global);
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
