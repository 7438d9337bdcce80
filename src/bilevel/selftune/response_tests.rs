//! What the answer of the weights converges to (algorithms.md C.6).

use super::{Augmentation, Batch, Draws, Leader, SelfTuned, TrainingBatch, Tuning, Variant, Weights};
use crate::autodiff::grad;
use crate::bilevel::{Loss, Transform};
use crate::interp::eval;
use crate::ir::{DType, Graph, NodeId};
use crate::nn::optim::{RmsProp, Sgd};
use crate::nn::{Layer, Model};

/// One weight w, one example x = 1 with the target 1, and noise 1 + c ξ on it with c = eˡ: the mean loss over ξ is
/// (w − 1)² + e²ˡ w², whose minimum is at 1 / (1 + e²ˡ). With λ = 2 l, this is ½ (w − 1)² + ½ eˡ w² of the specification,
/// doubled.
fn ridge(variant: Variant) -> Tuning {
    let dense = Layer::Dense { name: "dense".into(), inputs: 1, outputs: 1, bias: false };
    let network = SelfTuned {
        model: Model::new(vec![dense], &[1]).unwrap(),
        loss: Loss::MeanSquaredError,
        domains: vec![Transform::Log],
        augmentations: vec![(Augmentation::InputScale, 0)],
        entropy: 0.0,
    };
    Tuning { network, variant, inner: Sgd.into(), outer: RmsProp.into() }
}

/// Nodes of the deviation of λ, evenly spaced; the mean over a normal distribution is exact to many digits.
const NODES: usize = 401;
const REACH: f64 = 9.0;

/// Derivatives of the training loss, its mean over all draws taken by quadrature, by wₑ and by the answer dw/dλ, where
/// these have such values.
fn slopes(variant: Variant, sigma: f64, general: f64, answer: f64) -> [f64; 2] {
    let tuning = ridge(variant);
    let gates = tuning.network.gates();
    assert_eq!(gates.response_len(), 2, "w_h and its gate");
    let count = 2 * NODES;
    let mut g = Graph::new();
    let floats = |g: &mut Graph, name: &str, shape: &[usize]| g.input(name, shape, DType::F32);
    let [x, y] = ["x", "y"].map(|name| floats(&mut g, name, &[count, 1]));
    let draws = floats(&mut g, "draws", &[count, 1]);
    let counted = floats(&mut g, "counted", &[count]);
    let noise = floats(&mut g, "noise", &[count]);
    let leader = Leader { lambda: floats(&mut g, "lambda", &[1]), widths: floats(&mut g, "widths", &[1]) };
    let weights = Weights { general: floats(&mut g, "general", &[1]), response: floats(&mut g, "response", &[2]) };
    let noises = [noise];
    let batch = TrainingBatch {
        examples: Batch { x, y, draws, weights: Some(counted) },
        perturbed: Draws::Given(&noises),
        central: Draws::Given(&noises),
    };
    let by: [NodeId; 2] = match variant {
        Variant::DeltaStn => {
            let central = tuning.general_loss(&mut g, weights.general, leader, batch).loss;
            let linear = tuning.response_loss(&mut g, weights, leader, batch).judged.loss;
            [grad(&mut g, central, &[weights.general])[0], grad(&mut g, linear, &[weights.response])[0]]
        }
        _ => {
            let loss = tuning.joint_loss(&mut g, weights, leader, batch).loss;
            grad(&mut g, loss, &[weights.general, weights.response]).try_into().unwrap()
        }
    };
    // Of a standard normal ξ the loss sees mean and variance alone, and those of ±1 are the same.
    let step = 2.0 * REACH / (NODES - 1) as f64;
    let node = |k: usize| -REACH + step * (k / 2) as f64;
    let density = |z: f64| (-0.5 * z * z).exp() * step / std::f64::consts::TAU.sqrt();
    let all = |of: &dyn Fn(usize) -> f64| (0..count).map(of).collect::<Vec<_>>();
    // σ of l is half of that of λ; softplus makes it of the width.
    let width = (0.5 * sigma).exp_m1().ln();
    let values = vec![
        all(&|_| 1.0),
        all(&|_| 1.0),
        all(&node),
        all(&|k| 0.5 * density(node(k)) * count as f64),
        all(&|k| if k % 2 == 0 { 1.0 } else { -1.0 }),
        vec![0.0],
        vec![width],
        vec![general],
        // dw/dl is twice dw/dλ.
        vec![2.0 * answer, 1.0],
    ];
    let found = eval(&g, &by, &values);
    [found[0][0], found[1][1].abs() + found[1][0].abs()]
}

/// The fixed points in closed form: Δ-STN's answer tends to dw*/dλ = −¼ as the draws narrow and leaves w = ½ alone; STN
/// fits both together and moves w as well.
#[test]
fn answers_converge_to_the_derivative_of_the_minimum() {
    let delta = [(0.1, -0.249_375_006_5), (0.5, -0.234_466_929_1), (1.0, -0.191_825_865_6)];
    for (sigma, answer) in delta {
        let at = slopes(Variant::DeltaStn, sigma, 0.5, answer);
        assert!(at.iter().all(|slope| slope.abs() < 1e-8), "σ = {sigma}: {at:?}");
        let aside = slopes(Variant::DeltaStn, sigma, 0.5, answer + 1e-3);
        assert!(aside[1] > 1e-6, "σ = {sigma}: {aside:?}");
    }
    let joint = [(0.5, 0.499_923_628_1, -0.234_431_115_7), (1.0, 0.495_985_862_2, -0.190_285_834_7)];
    for (sigma, general, answer) in joint {
        let at = slopes(Variant::Stn, sigma, general, answer);
        assert!(at.iter().all(|slope| slope.abs() < 1e-8), "σ = {sigma}: {at:?}");
        let unbiased = slopes(Variant::Stn, sigma, 0.5, answer);
        assert!(unbiased[0].abs() > 1e-5, "σ = {sigma}: {unbiased:?}");
    }
}

/// Without gates there is no answer, and all variants train the same network.
#[test]
fn without_gates_all_variants_have_the_plain_loss() {
    let model = {
        let dense = |name: &str, inputs, outputs| Layer::Dense { name: name.into(), inputs, outputs, bias: true };
        Model::new(vec![dense("a", 3, 4), Layer::Tanh, dense("b", 4, 2)], &[3]).unwrap()
    };
    let network = SelfTuned {
        model,
        loss: Loss::CrossEntropy,
        domains: vec![Transform::Log; 2],
        augmentations: vec![],
        entropy: 0.0,
    };
    let tuning = Tuning { network, variant: Variant::Stn, inner: Sgd.into(), outer: RmsProp.into() };
    let gates = tuning.network.gates();
    let lengths = [gates.model.parameter_count(), gates.response_len()];
    let mut g = Graph::new();
    let x = g.input("x", &[5, 3], DType::F32);
    let y = g.input("y", &[5], DType::U32);
    let draws = g.input("draws", &[5, 2], DType::F32);
    let leader = Leader { lambda: g.input("lambda", &[2], DType::F32), widths: g.input("widths", &[2], DType::F32) };
    let weights = Weights {
        general: g.input("general", &[lengths[0]], DType::F32),
        response: g.input("response", &[lengths[1]], DType::F32),
    };
    let none = Draws::Given(&[]);
    let batch = TrainingBatch { examples: Batch { x, y, draws, weights: None }, perturbed: none, central: none };
    let plain = tuning.general_loss(&mut g, weights.general, leader, batch).loss;
    let joint = tuning.joint_loss(&mut g, weights, leader, batch).loss;
    let linear = tuning.response_loss(&mut g, weights, leader, batch).judged.loss;
    let wave = |n: usize, by: f64| (0..n).map(|k| (by * (k as f64 + 0.3)).sin()).collect::<Vec<_>>();
    let mut response = wave(lengths[1], 0.9);
    let gated = response.clone();
    response[lengths[0]..].fill(0.0);
    let values = |response: Vec<f64>| {
        let labels = vec![0.0, 1.0, 1.0, 0.0, 1.0];
        vec![wave(15, 0.7), labels, wave(10, 1.3), wave(2, 2.0), wave(2, 1.1), wave(lengths[0], 0.5), response]
    };
    let found = eval(&g, &[plain, joint, linear], &values(response));
    assert!(found.iter().all(|loss| (loss[0] - found[0][0]).abs() < 1e-14), "{found:?}");
    let found = eval(&g, &[plain, joint, linear], &values(gated));
    assert!(found[1..].iter().all(|loss| (loss[0] - found[0][0]).abs() > 1e-4), "{found:?}");
}

/// The entropy alone widens the draws at the rate τ.
#[test]
fn entropy_widens_the_draws() {
    let tau = 0.01;
    let tuning = ridge(Variant::Stn);
    let network = SelfTuned { entropy: tau, ..tuning.network };
    let mut g = Graph::new();
    let leader = Leader { lambda: g.input("lambda", &[3], DType::F32), widths: g.input("widths", &[3], DType::F32) };
    let nothing = g.full(&[], 0.0);
    let outer = network.outer(&mut g, nothing, leader);
    let slope = grad(&mut g, outer, &[leader.widths])[0];
    let widths = vec![-2.0, 0.0, 3.0];
    let found = eval(&g, &[slope], &[vec![0.0; 3], widths.clone()]);
    for (s, slope) in widths.into_iter().zip(&found[0]) {
        let sigma = f64::exp(s).ln_1p();
        let by_sigma = slope * (1.0 + f64::exp(-s));
        assert!((by_sigma + tau / sigma).abs() < 1e-12, "dH/dσ = 1/σ: {by_sigma}");
    }
}
