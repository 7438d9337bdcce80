//! Least-squares problems in f64 with their points, and what is differentiated in.

use stackelberg::bilevel::{
    Directions, Estimate, Loss, Method, Problem, Session, SessionData, Set, SolveError, Targets, Unattended,
};
use stackelberg::nn::optim;
use stackelberg::nn::{Layer, Model};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

/// A problem at a point.
#[derive(Clone)]
pub struct Case {
    pub problem: Problem,
    pub data: SessionData,
    pub lambda: Vec<f64>,
}

impl Case {
    /// The same with its initial weights, and a factor on them, as hyperparameters.
    pub fn starting(self) -> Case {
        let problem = Problem { initial_weights: true, initial_scale: true, ..self.problem };
        let mut lambda = self.lambda;
        lambda.push(0.0);
        lambda.extend(self.data.initial.iter().map(|&w| f64::from(w)));
        Case { problem, lambda, ..self }
    }
}

/// Linear regression without bias on all examples at once: the inner loss is
/// (1/n) Σ ωᵢ (xᵢw − yᵢ)² + ½ e^l2 ‖w‖², the outer one the mean of (xᵥw − yᵥ)². Everything but λ is
/// kept in single precision, so examples are to be exact there.
pub struct LeastSquares<'a> {
    pub x: &'a [&'a [f32]],
    pub y: &'a [f32],
    pub weights: &'a [f64],
    pub validation_x: &'a [&'a [f32]],
    pub validation_y: &'a [f32],
    pub l2: Option<f64>,
    pub initial: &'a [f32],
}

impl LeastSquares<'_> {
    /// Trained for so many steps; `scalars` are the optimiser's.
    pub fn case(&self, optimizer: impl Into<optim::Dynamics>, steps: usize, rate: f64, scalars: &[f64]) -> Case {
        let inputs = self.initial.len();
        let layer = Layer::Dense { name: "w".into(), inputs, outputs: 1, bias: false };
        let set = |x: &[&[f32]], y: &[f32]| Set {
            x: x.concat().into(),
            targets: Targets::Values(y.to_vec()),
            count: y.len(),
        };
        let model = Model::new(vec![layer], &[inputs]).unwrap();
        let problem = Problem {
            l2: self.l2.is_some(),
            weights: true,
            ..Problem::new(model, Loss::MeanSquaredError, optimizer, steps, self.y.len())
        };
        let layout = problem.layout();
        let mut lambda = vec![rate.ln(); layout.len()];
        lambda[layout.scalars].copy_from_slice(scalars);
        lambda[layout.l2_log].fill(self.l2.unwrap_or_default());
        lambda[layout.weights].copy_from_slice(self.weights);
        let data =
            SessionData::new(set(self.x, self.y), set(self.validation_x, self.validation_y), self.initial.to_vec(), 3);
        Case { problem, data, lambda }
    }
}

/// V1 of the specification, L = ½·2w² − (1 + λ)w at λ = ½ and E = ½w² (doubled here): two examples at
/// 2 and 0 whose weights move against each other.
pub const QUADRATIC: LeastSquares = LeastSquares {
    x: &[&[1.0], &[1.0]],
    y: &[2.0, 0.0],
    weights: &[0.75, 1.25],
    validation_x: &[&[1.0]],
    validation_y: &[0.0],
    l2: None,
    initial: &[0.0],
};

/// λ of V1.
pub fn against_each_other(problem: &Problem) -> Directions {
    let first = problem.layout().weights.start;
    let mut along = Directions::new(problem);
    along.push([(first, 0.5), (first + 1, -0.5)]);
    along
}

/// V3: ridge regression, L = ½‖Xw − y‖² + ½e^λ‖w‖², E = ½‖Xᵥw − yᵥ‖², λ = 0.
pub const RIDGE: LeastSquares = LeastSquares {
    x: &[&[1.0, 0.0], &[1.0, 1.0], &[0.0, 2.0]],
    y: &[1.0, 2.0, 1.0],
    weights: &[1.5, 1.5, 1.5],
    validation_x: &[&[1.0, 1.0], &[2.0, -1.0]],
    validation_y: &[1.0, 0.0],
    l2: Some(0.0),
    initial: &[0.0, 0.0],
};

/// V4: L = ½wᵀAw − bᵀw + ½e^λ‖w‖² with A = ((2, ½), (½, 1)), b = (1, −1), λ = −1, and
/// E = ½‖w − (0.3, 0.2)‖² (a hundredfold here).
pub const SKEWED: LeastSquares = LeastSquares {
    x: &[&[1.0, 1.0], &[1.0, 0.0], &[0.0, 1.0]],
    y: &[2.0, 0.0, -4.0],
    weights: &[0.75, 2.25, 0.75],
    validation_x: &[&[10.0, 0.0], &[0.0, 10.0]],
    validation_y: &[3.0, 2.0],
    l2: Some(-1.0),
    initial: &[1.0, 1.0],
};

/// V5: hyper-cleaning, L = ½ Σ σ(λᵢ)(w − yᵢ)² + ½·½w² with λ = 0, E = ½(w − 1)² (doubled here).
pub const CLEANING: LeastSquares = LeastSquares {
    x: &[&[1.0], &[1.0], &[1.0]],
    y: &[1.0, 1.0, -3.0],
    weights: &[0.75, 0.75, 0.75],
    validation_x: &[&[1.0]],
    validation_y: &[1.0],
    l2: Some(-std::f64::consts::LN_2),
    initial: &[0.0],
};

/// Usual values of an optimiser's scalars.
pub fn scalars(optimizer: &dyn optim::Optimizer) -> Vec<f64> {
    let usual = |scalar: &optim::ScalarSpec| match (scalar.name, scalar.domain) {
        ("momentum", optim::Domain::Unit) => 0.6,
        ("beta2", _) => 0.95,
        ("epsilon", _) => 0.05,
        (name, _) if name.ends_with("hypergradient_rate") => 2e-3,
        _ => 0.8,
    };
    optimizer.scalars().iter().map(usual).collect()
}

/// What a method answers, in f64.
pub fn estimate(case: &Case, method: impl Into<Box<dyn Method>>, along: &Directions) -> Result<Estimate, SolveError> {
    estimate_on(&Device::new(ReferenceEngine::new()), case, method, along)
}

pub fn estimate_on(
    device: &Device,
    case: &Case,
    method: impl Into<Box<dyn Method>>,
    along: &Directions,
) -> Result<Estimate, SolveError> {
    pollster::block_on(async {
        let mut session = Session::new(device, case.problem.clone(), &case.data, method).await?;
        session.estimate(&case.lambda, along, &mut Unattended).await
    })
}

pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    difference / norm(&mut b.iter().copied()).max(f64::MIN_POSITIVE)
}
