//! Learners against what they are by hand (algorithms.md E.7).

use std::rc::Rc;

use super::{Distance, Episode, Head, Learner, Maml, MetaLstm, Metric, Order, Representation, Shared, Siamese, Snail};
use crate::interp::eval;
use crate::ir::{DType, Graph, NodeId};
use crate::nn::optim::Sgd;
use crate::nn::{Layer, Model};
use crate::rng::{Purpose, Stream};

const WAYS: usize = 3;
const INPUTS: usize = 4;
/// Support and query rows.
const ROWS: [usize; 2] = [6, 9];

fn dense(name: &str, inputs: usize, outputs: usize) -> Layer {
    Layer::Dense { name: name.to_owned(), inputs, outputs, bias: true }
}

fn network(outputs: usize) -> Model {
    Model::new(vec![dense("dense1", INPUTS, 5), Layer::Tanh, dense("dense2", 5, outputs)], &[INPUTS]).unwrap()
}

/// A graph of an episode with λ, and values of λ, both kinds of rows and their labels.
struct Case {
    g: Graph,
    lambda: NodeId,
    episode: Episode,
    values: Vec<Vec<f64>>,
}

impl Case {
    fn new(learner: &dyn Learner) -> Case {
        let mut stream = Stream::new(3, Purpose::Search, 0);
        let mut g = Graph::new();
        let lambda = g.input("lambda", &[learner.len()], DType::F32);
        let mut values: Vec<Vec<f64>> = vec![learner.initial(5).into_iter().map(f64::from).collect()];
        let mut set = |name: &str, rows: usize| {
            let x = g.input(name, &[rows, INPUTS], DType::F32);
            let y = g.input(&format!("{name}_y"), &[rows], DType::U32);
            values.push((0..rows * INPUTS).map(|_| stream.normal()).collect());
            values.push((0..rows).map(|row| (row * 2 % WAYS) as f64).collect());
            (x, y)
        };
        let ((x, y), (xq, yq)) = (set("x", ROWS[0]), set("xq", ROWS[1]));
        Case { g, lambda, episode: Episode { ways: WAYS, x, y, xq, yq, cells: None }, values }
    }

    fn shared(&self) -> Shared {
        Shared { lambda: self.lambda, running: None }
    }

    /// Loss, gradient and scores of what it learns from.
    fn lesson(&mut self, learner: &dyn Learner) -> [Vec<f64>; 3] {
        let shared = self.shared();
        let lesson = learner.lesson(&mut self.g, shared, &self.episode);
        let found = eval(&self.g, &[lesson.loss, lesson.gradient, lesson.scores], &self.values);
        found.try_into().unwrap()
    }
}

fn assert_close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let (size, error) = a
        .iter()
        .zip(b)
        .fold((0.0f64, 0.0f64), |(size, error), (a, b)| (size.max(a.abs()).max(b.abs()), error.max((a - b).abs())));
    assert!(error <= tolerance * size.max(1e-30), "{error:e} of {size:e}");
}

fn maml(order: Order, steps: usize, rate: f64) -> Maml {
    let not_adapted = vec![];
    Maml { model: network(WAYS), steps, judged_steps: steps, rate, learn_rate: true, not_adapted, order }
}

fn representation(head: Head) -> Representation {
    Representation { body: network(5), head, start: 0.3, learn_start: true, frozen: false }
}

fn learners() -> Vec<Rc<dyn Learner>> {
    let metric = |distance| Rc::new(Metric { embedding: network(5), distance });
    vec![
        Rc::new(maml(Order::Second, 2, 0.3)),
        Rc::new(representation(Head::Steps { optimizer: Sgd.into(), steps: 3 })),
        Rc::new(representation(Head::Ridge)),
        metric(Distance::Prototypes),
        metric(Distance::Cosines),
        Rc::new(Siamese { embedding: network(5) }),
        Rc::new(Snail { embedding: network(5), ways: WAYS, support: ROWS[0], width: 4 }),
    ]
}

#[test]
fn gradients_are_differences_of_losses() {
    for (k, learner) in learners().into_iter().enumerate() {
        let mut case = Case::new(&*learner);
        let [_, gradient, _] = case.lesson(&*learner);
        let mut stream = Stream::new(7, Purpose::Search, 1);
        let way: Vec<f64> = gradient.iter().map(|_| stream.normal()).collect();
        let start = case.values[0].clone();
        let mut at = |length: f64| {
            case.values[0] = start.iter().zip(&way).map(|(x, d)| x + length * d).collect();
            case.lesson(&*learner)[0][0]
        };
        let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
        let slope: f64 = gradient.iter().zip(&way).map(|(g, d)| g * d).sum();
        // What a difference leaves out grows with the third derivative along a way of some tens of units; SNAIL's is off by 1.6e-7.
        assert!((difference - slope).abs() < 1e-6 * slope.abs().max(1e-3), "{k}: {difference} {slope}");
    }
}

/// A meta-LSTM whose gates are as they begin trains by w ← f w − i ∇L; it takes gradients for constants.
#[test]
fn a_meta_lstm_takes_its_steps() {
    let learner = MetaLstm { model: network(WAYS), steps: 2, units: 3 };
    let mut case = Case::new(&learner);
    // Nothing but the biases of the gates.
    let parameters = learner.model.parameter_count();
    case.values[0][parameters..].fill(0.0);
    let (keep, add) = (0.8, 0.3);
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let units = 3;
    let first_bias = parameters + (4 + units) * 4 * units + 4 * units + units + 2;
    case.values[0][first_bias] = logit(keep);
    let last = case.values[0].len() - 1;
    case.values[0][last] = logit(add);
    let [loss, ..] = case.lesson(&learner);
    // The same by hand, of what joint training on swapped sets says of the support loss.
    let joint = maml(Order::Second, 0, 0.3);
    let mut support = Case::new(&joint);
    let Episode { x, y, xq, yq, .. } = support.episode;
    let given = Episode { ways: WAYS, x: xq, y: yq, xq: x, yq: y, cells: None };
    let mut weights = support.values[0].clone();
    for _ in 0..2 {
        support.episode = given;
        support.values[0] = weights.clone();
        let [_, gradient, _] = support.lesson(&joint);
        for (w, g) in weights[..parameters].iter_mut().zip(&gradient) {
            *w = keep * *w - add * g;
        }
    }
    let mut ended = Case::new(&joint);
    ended.values[0] = weights;
    assert_close(&loss, &ended.lesson(&joint)[0], 1e-12);
}

/// Without steps, or with steps of length 0, MAML is one network for all tasks.
#[test]
fn maml_that_stays_is_joint_training() {
    let mut joint = maml(Order::Second, 0, 0.3);
    let [loss, gradient, _] = Case::new(&joint).lesson(&joint);
    for order in [Order::Second, Order::First] {
        joint = maml(order, 3, 0.0);
        let still = Case::new(&joint).lesson(&joint);
        assert_close(&still[0], &loss, 1e-14);
        let parameters = joint.model.parameter_count();
        assert_close(&still[1][..parameters], &gradient[..parameters], 1e-14);
    }
}

/// The second order is the first one, the queries' gradient at the end, times I − αH, H being the Hessian of the support loss
/// at the start.
#[test]
fn orders_differ_by_the_hessian_of_the_support_loss() {
    let (second, first) = (maml(Order::Second, 1, 0.4), maml(Order::First, 1, 0.4));
    let mut case = Case::new(&second);
    let [_, by_second, _] = case.lesson(&second);
    let [_, by_first, _] = case.lesson(&first);
    let count = second.model.parameter_count();
    // H v by differences of the support loss's gradient, which joint training on swapped sets tells.
    let joint = maml(Order::Second, 0, 0.4);
    let mut swapped = Case::new(&joint);
    let Episode { x, y, xq, yq, .. } = swapped.episode;
    swapped.episode = Episode { ways: WAYS, x: xq, y: yq, xq: x, yq: y, cells: None };
    let start = swapped.values[0].clone();
    let mut gradient = |length: f64| {
        let along = start.iter().enumerate().map(|(k, w)| w + length * if k < count { by_first[k] } else { 0.0 });
        swapped.values[0] = along.collect();
        swapped.lesson(&joint)[1].clone()
    };
    let (up, down) = (gradient(1e-5), gradient(-1e-5));
    let expected: Vec<f64> = (0..count).map(|k| by_first[k] - 0.4 * (up[k] - down[k]) / 2e-5).collect();
    assert_close(&by_second[..count], &expected, 1e-6);
}

/// E.1's reverse loop, written by hand.
#[test]
fn the_closed_form_of_a_classifiers_training_is_its_derivative() {
    // λ holds its logarithm in single precision.
    let (steps, rate) = (4, f64::from(0.3f32.ln()).exp());
    let learner = representation(Head::Steps { optimizer: Sgd.into(), steps });
    let mut case = Case::new(&learner);
    let shared = case.shared();
    let features = [case.episode.x, case.episode.xq].map(|x| learner.features(&mut case.g, shared.lambda, x));
    let found = eval(&case.g, &features, &case.values);
    let bordered = |z: &[f64], n: usize| -> Vec<Vec<f64>> {
        (0..n).map(|i| z[i * 5..(i + 1) * 5].iter().copied().chain([1.0]).collect()).collect()
    };
    let (z, zv) = (bordered(&found[0], ROWS[0]), bordered(&found[1], ROWS[1]));
    let labels = [2, 4].map(|k| case.values[k].iter().map(|&y| y as usize).collect::<Vec<_>>());
    let softmax = |row: &[f64], w: &[Vec<f64>]| -> Vec<f64> {
        let scores: Vec<f64> = (0..WAYS).map(|c| row.iter().zip(w).map(|(z, w)| z * w[c]).sum()).collect();
        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
        scores.iter().map(|s| s.exp() / sum).collect()
    };
    let residual = |z: &[Vec<f64>], w: &[Vec<f64>], y: &[usize]| -> Vec<Vec<f64>> {
        let n = z.len() as f64;
        let row = |(z, &y): (&Vec<f64>, &usize)| {
            let p = softmax(z, w);
            (0..WAYS).map(|c| (p[c] - f64::from(u8::from(c == y))) / n).collect()
        };
        z.iter().zip(y).map(row).collect()
    };
    let product = |z: &[Vec<f64>], r: &[Vec<f64>]| -> Vec<Vec<f64>> {
        (0..6).map(|k| (0..WAYS).map(|c| z.iter().zip(r).map(|(z, r)| z[k] * r[c]).sum()).collect()).collect()
    };
    let less = |w: &[Vec<f64>], by: &[Vec<f64>]| -> Vec<Vec<f64>> {
        w.iter().zip(by).map(|(w, b)| w.iter().zip(b).map(|(w, b)| w - rate * b).collect()).collect()
    };
    let mut weights = vec![vec![vec![0.0; WAYS]; 6]];
    for t in 0..steps {
        weights.push(less(&weights[t], &product(&z, &residual(&z, &weights[t], &labels[0]))));
    }
    let mut a = product(&zv, &residual(&zv, &weights[steps], &labels[1]));
    let mut of_rate = 0.0;
    for w in weights[..steps].iter().rev() {
        let r = residual(&z, w, &labels[0]);
        of_rate -= a.iter().flatten().zip(product(&z, &r).iter().flatten()).map(|(a, g)| a * g).sum::<f64>();
        let n = z.len() as f64;
        let g: Vec<Vec<f64>> = z
            .iter()
            .map(|row| {
                let p = softmax(row, w);
                let q: Vec<f64> = (0..WAYS).map(|c| (0..6).map(|k| row[k] * a[k][c]).sum()).collect();
                let mean: f64 = p.iter().zip(&q).map(|(p, q)| p * q).sum();
                p.iter().zip(&q).map(|(p, q)| p * (q - mean) / n).collect()
            })
            .collect();
        a = less(&a, &product(&z, &g));
    }
    let [_, gradient, _] = case.lesson(&learner);
    // λ ends with log η.
    assert_close(&gradient[learner.len() - 1..], &[of_rate * rate], 1e-10);
}

#[test]
fn a_ridge_classifier_is_stationary() {
    // Fewer rows than features, and more.
    for width in [9, 2] {
        let body = Model::new(vec![dense("dense1", INPUTS, width)], &[INPUTS]).unwrap();
        let learner = Representation { body, ..representation(Head::Ridge) };
        let mut case = Case::new(&learner);
        let lambda = case.lambda;
        let z = learner.features(&mut case.g, lambda, case.episode.x);
        let (classifier, _) = learner.train(&mut case.g, lambda, z, &case.episode);
        let found = eval(&case.g, &[z, classifier.kernel], &case.values);
        let (z, w) = (&found[0], &found[1]);
        let n = ROWS[0];
        for k in 0..width {
            for c in 0..WAYS {
                let miss = |i: usize| {
                    let fitted: f64 = (0..width).map(|k| z[i * width + k] * w[k * WAYS + c]).sum();
                    fitted - f64::from(u8::from(case.values[2][i] as usize == c))
                };
                let slope: f64 = (0..n).map(|i| z[i * width + k] * miss(i)).sum::<f64>() / n as f64;
                let slope = slope + f64::from(0.3f32.ln()).exp() * w[k * WAYS + c];
                assert!(slope.abs() < 1e-12, "{slope:e}");
            }
        }
    }
}

/// Where queries are the support examples, prototypes of one example each are themselves: nothing is mistaken, and scores
/// move with the classes.
#[test]
fn prototypes_of_what_is_asked_for_are_it() {
    let learner = Metric { embedding: network(5), distance: Distance::Prototypes };
    let mut g = Graph::new();
    let lambda = g.input("lambda", &[learner.len()], DType::F32);
    let x = g.input("x", &[WAYS, INPUTS], DType::F32);
    let y = g.input("y", &[WAYS], DType::U32);
    let episode = Episode { ways: WAYS, x, y, xq: x, yq: y, cells: None };
    let lesson = learner.lesson(&mut g, Shared { lambda, running: None }, &episode);
    let mut stream = Stream::new(3, Purpose::Search, 2);
    let start: Vec<f64> = learner.initial(5).into_iter().map(f64::from).collect();
    let rows: Vec<f64> = (0..WAYS * INPUTS).map(|_| stream.normal()).collect();
    let found = |factor: f64, labels: [f64; WAYS]| {
        let last = start.len() - 5 * 6;
        let lambda = start.iter().enumerate().map(|(k, w)| if k < last { *w } else { factor * w }).collect();
        eval(&g, &[lesson.loss, lesson.scores], &[lambda, rows.clone(), labels.to_vec()])
    };
    let plain = found(1.0, [0.0, 1.0, 2.0]);
    let best = |row: usize, scores: &[f64]| {
        (0..WAYS).max_by(|&a, &b| scores[row * WAYS + a].total_cmp(&scores[row * WAYS + b])).unwrap()
    };
    assert!((0..WAYS).all(|row| best(row, &plain[1]) == row));
    assert!(found(30.0, [0.0, 1.0, 2.0])[0][0] < 1e-6);
    let moved = found(1.0, [1.0, 2.0, 0.0]);
    assert_close(&moved[0], &plain[0], 1e-12);
    for row in 0..WAYS {
        let turned: Vec<f64> = (0..WAYS).map(|c| moved[1][row * WAYS + (c + 1) % WAYS]).collect();
        assert_close(&turned, &plain[1][row * WAYS..][..WAYS], 1e-12);
    }
}
