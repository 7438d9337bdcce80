//! Trainings of models with batch norm, residual blocks and several dropout layers, on the f64 engine.

use stackelberg::bilevel::{
    Examples, Forward, Implicit, Loss, Memory, Method, Noise, Problem, Session, SessionData, Set, SolveError, Solver,
    Source, Targets, Unattended,
};
use stackelberg::interp::eval;
use stackelberg::ir::{DType, Graph, NodeId, numel};
use stackelberg::nn::optim::{self, Optimizer, ScalarSpec, Scalars, Size, Slot, Slots};
use stackelberg::nn::reading::Predicting;
use stackelberg::nn::{Layer, Model, layers_from_json};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

const TRAIN: usize = 12;
const VALIDATION: usize = 7;

/// Smooth, with both kinds of statistics, a block with a projection, and two dropout layers of one shape.
fn model(first: f64, second: f64) -> Model {
    let text = format!(
        r#"[
            {{"type": "conv1d", "name": "conv1", "k": 3, "cin": 2, "cout": 3, "stride": 1, "padding": "same", "bias": false}},
            {{"type": "batchnorm", "name": "norm1", "channels": 3}},
            {{"type": "tanh"}},
            {{"type": "dropout", "rate": {first}}},
            {{"type": "softplus"}},
            {{"type": "dropout", "rate": {second}}},
            {{"type": "residual", "layers": [
                {{"type": "conv1d", "name": "conv2", "k": 3, "cin": 3, "cout": 4, "stride": 2, "padding": "same"}},
                {{"type": "batchnorm", "name": "norm2", "channels": 4, "scale": false, "statistics": "running"}}
            ], "projection": [
                {{"type": "conv1d", "name": "conv3", "k": 1, "cin": 3, "cout": 4, "stride": 2, "padding": "valid"}}
            ]}},
            {{"type": "tanh"}},
            {{"type": "spatialmean"}},
            {{"type": "dense", "name": "dense", "in": 4, "out": 3}}
        ]"#
    );
    Model::new(layers_from_json(&text).unwrap(), &[6, 2]).unwrap()
}

fn set(stream: &mut Stream, count: usize) -> Set {
    let labels: Vec<u32> = (0..count).map(|_| (3.0 * stream.uniform()) as u32).collect();
    let x = labels.iter().flat_map(|&l| (0..12).map(|_| (f64::from(l) + stream.normal()) as f32).collect::<Vec<_>>());
    Set { x: x.collect::<Vec<f32>>().into(), targets: Targets::Labels(labels.clone()), count }
}

fn setup(model: Model, optimizer: impl Into<optim::Dynamics>, steps: usize) -> (Problem, SessionData, Vec<f64>) {
    let mut stream = Stream::new(5, Purpose::Search, 2);
    let problem = Problem { batch: 5, l2: true, ..Problem::new(model, Loss::CrossEntropy, optimizer, steps, TRAIN) };
    let initial = problem.model.initial_parameters(1);
    let data = SessionData::new(set(&mut stream, TRAIN), set(&mut stream, VALIDATION), initial, 42);
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].iter_mut().for_each(|l| *l = -2.0 + 0.3 * stream.normal());
    for (place, scalar) in layout.scalars.zip(problem.optimizer.scalars()) {
        lambda[place] = if scalar.name == "epsilon" { 0.1 } else { 0.8 };
    }
    lambda[layout.l2_log].iter_mut().for_each(|l| *l = -3.0 + 0.3 * stream.normal());
    lambda[layout.noise_log].fill(-1.0);
    (problem, data, lambda)
}

fn estimate(
    problem: &Problem,
    data: &SessionData,
    lambda: &[f64],
    method: impl Into<Box<dyn Method>>,
) -> Result<(Vec<f64>, f64), SolveError> {
    let device = Device::new(ReferenceEngine::new());
    pollster::block_on(async {
        let mut session = Session::new(&device, problem.clone(), data, method).await?;
        let estimate = session.hypergradient(lambda, &mut Unattended).await?;
        Ok((estimate.hypergradient, estimate.outer_loss))
    })
}

/// Hypergradients of trainings with batch norm are differences of the outer loss, in reverse and in forward mode.
#[test]
fn hypergradients_through_batch_norm_agree_with_differences() {
    for optimizer in [optim::Dynamics::from(optim::Momentum), optim::Adam(optim::Epsilon::Inside).into()] {
        let (problem, data, lambda) = setup(model(0.5, 0.25), optimizer.clone(), 3);
        let (exact, _) = estimate(&problem, &data, &lambda, Memory::StoreAll).unwrap();
        let (again, _) = estimate(&problem, &data, &lambda, Memory::Slots(2)).unwrap();
        assert_eq!(exact, again, "steps that are run again give the same bits");
        let (forward, _) = estimate(&problem, &data, &lambda, Forward { width: 1 }).unwrap();
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let apart = norm(&mut exact.iter().zip(&forward).map(|(a, b)| a - b));
        assert!(apart < 1e-12 * norm(&mut exact.iter().copied()), "{optimizer:?}: forward mode is {apart:e} off");

        let device = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&device, problem, &data, Memory::Slots(1)).await.unwrap();
            let mut stream = Stream::new(9, Purpose::Search, 3);
            for _ in 0..3 {
                let direction: Vec<f64> = lambda.iter().map(|_| stream.normal()).collect();
                let mut at = async |h: f64| {
                    let moved: Vec<f64> = lambda.iter().zip(&direction).map(|(l, d)| l + h * d).collect();
                    session.train(&moved, &mut Unattended).await.unwrap().outer_loss
                };
                let h = 1e-4;
                let near = at(h).await - at(-h).await;
                let far = at(2.0 * h).await - at(-2.0 * h).await;
                let difference = (8.0 * near - far) / (12.0 * h);
                let slope: f64 = exact.iter().zip(&direction).map(|(g, d)| g * d).sum();
                assert!((difference - slope).abs() < 1e-7 * (1.0 + slope.abs()), "{optimizer:?}: {difference} {slope}");
            }
        });
    }
}

/// Whatever evaluates takes the running statistics of the last step: the same as the model read so on the host.
#[test]
fn evaluations_take_running_statistics() {
    let (problem, data, lambda) = setup(model(0.5, 0.25), optim::Adam(optim::Epsilon::Inside), 6);
    let device = Device::new(ReferenceEngine::new());
    let test = set(&mut Stream::new(8, Purpose::Search, 0), 9);
    let (network, loss, again) = pollster::block_on(async {
        let mut session = Session::new(&device, problem.clone(), &data, Memory::Slots(1)).await.unwrap();
        session.train(&lambda, &mut Unattended).await.unwrap();
        let network = session.final_network().await.unwrap();
        let loss = session.evaluate(&test, &mut Unattended).await.unwrap().loss;
        // Put back after another training, it is judged as before.
        let kept: Vec<f32> = network.iter().map(|&w| w as f32).collect();
        session.train(&vec![-1.0; lambda.len()], &mut Unattended).await.unwrap();
        session.set_final_network(&kept).unwrap();
        (network, loss, session.evaluate(&test, &mut Unattended).await.unwrap().loss)
    });
    assert!((loss - again).abs() < 1e-6 * loss, "{loss} {again}");
    let (weights, running) = network.split_at(problem.model.parameter_count());
    let initial = problem.model.initial_statistics();
    assert!(running.iter().zip(&initial).all(|(now, then)| (now - f64::from(*then)).abs() > 1e-6), "{running:?}");

    let Targets::Labels(labels) = &test.targets else { unreachable!() };
    let mut g = Graph::new();
    let [w, r, x] = [("w", vec![weights.len()]), ("r", vec![running.len()]), ("x", vec![9, 6, 2])]
        .map(|(name, shape)| g.input(name, &shape, DType::F32));
    let y = g.input("y", &[9], DType::U32);
    let output = problem.model.apply(&mut g, x, &mut Predicting { weights: w, running: Some(r) });
    let each = Loss::CrossEntropy.each(&mut g, output, y);
    let sum = g.sum_all(each);
    let Examples::Floats(x) = &test.x else { unreachable!() };
    let x = x.iter().map(|&v| f64::from(v)).collect();
    let inputs = [weights.to_vec(), running.to_vec(), x, labels.iter().map(|&l| f64::from(l)).collect()];
    let wanted = eval(&g, &[sum], &inputs)[0][0] / 9.0;
    assert!((loss - wanted).abs() < 1e-12, "{loss} {wanted}");
}

#[test]
fn an_inner_loss_with_batch_norm_is_no_sum_over_examples() {
    let (problem, data, lambda) = setup(model(0.0, 0.0), optim::Sgd, 3);
    let refused = estimate(&problem, &data, &lambda, Implicit::new(Solver::ConjugateGradient, 3)).unwrap_err();
    assert!(refused.to_string().contains("batch norm"), "{refused}");
}

/// Each dropout layer has masks of its own, and a table holds them one after another.
#[test]
fn every_dropout_layer_has_its_own_masks() {
    let loss = |first, second, masks: Option<(bool, bool)>| {
        let (problem, mut data, lambda) = setup(model(first, second), optim::Momentum, 4);
        let mut problem = Problem { masks: problem.masks, ..problem };
        if let Some(dropping) = masks {
            problem.masks = Some(Source::Table);
            let mut stream = Stream::new(3, Purpose::Search, 1);
            let each = 5 * numel(&problem.model.places()[0].shape);
            for _ in 0..4 {
                let mask: Vec<f32> = (0..each).map(|_| f32::from(stream.uniform() < 0.5)).collect();
                for drops in [dropping.0, dropping.1] {
                    data.masks.extend(if drops { mask.clone() } else { vec![1.0; each] });
                }
            }
        }
        estimate(&problem, &data, &lambda, Memory::StoreAll).unwrap().1
    };
    // A layer with ones alone passes, so only the other's masks tell; the same masks elsewhere do something else.
    let (before, behind) = (loss(0.5, 0.0, Some((true, false))), loss(0.0, 0.5, Some((false, true))));
    let (neither, both) = (loss(0.0, 0.0, None), loss(0.5, 0.5, Some((true, true))));
    for (k, one) in [before, behind, neither, both].iter().enumerate() {
        for other in &[before, behind, neither, both][k + 1..] {
            assert_ne!(one, other);
        }
    }
    // Drawn, the second layer's are not the first's.
    assert_ne!(loss(0.5, 0.0, None), loss(0.0, 0.5, None));
}

/// A model whose output is the product of what its two dropout layers keep, for inputs of 1.
fn two_masks(noise: Vec<Noise>) -> [Vec<f64>; 2] {
    let dense = |name: &str| Layer::Dense { name: name.into(), inputs: 64, outputs: 64, bias: false };
    let layers = |rates: [f64; 2]| {
        let drop = |rate| Layer::Dropout { rate };
        Model::new(vec![dense("a"), drop(rates[0]), drop(rates[1])], &[64]).unwrap()
    };
    [[0.5, 0.0], [0.0, 0.5]].map(|rates| {
        let rates = if noise.is_empty() { rates } else { [0.5, 0.5] };
        let problem = Problem {
            batch: 1,
            noise: noise.clone(),
            ..Problem::new(layers(rates), Loss::MeanSquaredError, optim::Sgd, 1, 1)
        };
        // The identity, and targets of 0: the gradient of a weight on the diagonal is the square of its factors.
        let mut initial = vec![0.0; 64 * 64];
        (0..64).for_each(|k| initial[65 * k] = 1.0);
        let one = || Set { x: vec![1.0; 64].into(), targets: Targets::Values(vec![0.0; 64]), count: 1 };
        let data = SessionData::new(one(), one(), initial, 7);
        let mut lambda = vec![0.0; problem.layout().len()];
        lambda[problem.layout().noise_log].fill(0.0);
        let device = Device::new(ReferenceEngine::new());
        let weights = pollster::block_on(async {
            let mut session = Session::new(&device, problem, &data, Memory::Slots(1)).await.unwrap();
            session.train(&lambda, &mut Unattended).await.unwrap();
            session.final_weights().await.unwrap()
        });
        (0..64).map(|k| 1.0 - weights[65 * k]).collect()
    })
}

#[test]
fn drawn_masks_of_two_layers_differ() {
    let [first, second] = two_masks(vec![]);
    let kept = |mask: &[f64]| mask.iter().filter(|&&m| m > 0.0).count();
    assert!((16..48).contains(&kept(&first)) && (16..48).contains(&kept(&second)));
    assert_ne!(first, second);
    // The square of a product of two normal factors is not a fourth power of one: some are near 0 where others are not.
    let [noisy, _] = two_masks(vec![Noise::Dropout]);
    assert!(noisy.iter().all(|&square| square >= 0.0) && noisy.iter().any(|&square| square > 1.0));
}

/// Gradient descent with a rate that begins at 4 and halves with every step.
#[derive(Debug)]
struct Halving;

impl Optimizer for Halving {
    fn name(&self) -> &'static str {
        "halving"
    }

    fn formula(&self) -> &'static str {
        "a ← a / 2, w ← w − η a g"
    }

    fn slots(&self) -> &[Slot] {
        &[Slot { name: "a", size: Size::One, start: 4.0, corrects: None }]
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &[]
    }

    fn usual_rate(&self) -> f64 {
        0.5
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let a = slots.get(g, 0);
        let a = g.scale(a, 0.5);
        slots.set(0, a);
        let direction = g.mul(gradient, a);
        let change = g.mul(at.eta, direction);
        g.sub(w, change)
    }

    fn stable(&self, _: &[f64]) -> f64 {
        1.0
    }
}

/// An optimiser from outside the crate, whose slot does not begin at 0: one `impl`, and it trains.
#[test]
fn an_optimizer_of_ones_own_trains() {
    let dense = Layer::Dense { name: "w".into(), inputs: 1, outputs: 1, bias: false };
    let model = Model::new(vec![dense], &[1]).unwrap();
    let problem = Problem::new(model, Loss::MeanSquaredError, Halving, 3, 1);
    let one = || Set { x: vec![1.0].into(), targets: Targets::Values(vec![0.0]), count: 1 };
    let data = SessionData::new(one(), one(), vec![1.0], 0);
    // L = w², of gradient 2 w: w shrinks by 1 − 2 η a.
    let eta: f64 = 0.1;
    let wanted = (1.0 - 2.0 * eta * 2.0) * (1.0 - 2.0 * eta) * (1.0 - eta);
    let (hypergradient, loss) = estimate(&problem, &data, &[eta.ln(); 3], Memory::StoreAll).unwrap();
    assert!((loss - wanted * wanted).abs() < 1e-12, "{loss} {}", wanted * wanted);
    let slope = 2.0 * loss * -4.0 * eta / (1.0 - 4.0 * eta);
    assert!((hypergradient[0] - slope).abs() < 1e-12, "{} {slope}", hypergradient[0]);
}
