//! Every primitive's derivatives, to third order, against differences and inner products in f64.

use stackelberg::autodiff::check::check_grads;
use stackelberg::autodiff::{grad, hvp, mixed};
use stackelberg::interp::eval;
use stackelberg::ir::{ConvFace, ConvGeometry, DType, Graph, NodeId, Run, Scalar, numel};
use stackelberg::rng::{Purpose, Stream};

struct Case {
    g: Graph,
    inputs: Vec<NodeId>,
    point: Vec<Vec<f64>>,
    stream: Stream,
}

impl Case {
    fn new(seed: u64) -> Self {
        Case { g: Graph::new(), inputs: vec![], point: vec![], stream: Stream::new(seed, Purpose::Search, 1) }
    }

    /// A float input with values in (low, high).
    fn input(&mut self, shape: &[usize], low: f64, high: f64) -> NodeId {
        let id = self.g.input("x", shape, DType::F32);
        self.inputs.push(id);
        self.point.push((0..numel(shape)).map(|_| low + (high - low) * self.stream.uniform()).collect());
        id
    }

    fn words(&mut self, shape: &[usize], below: u32) -> NodeId {
        let id = self.g.input("index", shape, DType::U32);
        self.point.push((0..numel(shape)).map(|_| (self.stream.uniform() * f64::from(below)).floor()).collect());
        id
    }

    /// Checks x ↦ y and, so that linear primitives get a second order too, x ↦ y².
    fn check(mut self, y: NodeId) {
        check_grads(&mut self.g.clone(), &[y], &self.inputs, &self.point, 3).unwrap();
        let square = self.g.mul(y, y);
        check_grads(&mut self.g, &[square], &self.inputs, &self.point, 3).unwrap();
    }
}

#[test]
fn scalar_rows() {
    for f in Scalar::ALL {
        let (types, result) = f.signature();
        if result != DType::F32 || types.contains(&DType::U32) {
            continue;
        }
        let mut case = Case::new(f as u64);
        // Away from kinks and poles.
        let args: Vec<NodeId> = types.iter().map(|_| case.input(&[5], 0.3, 2.0)).collect();
        let y = case.g.scalar(f, &args);
        case.check(y);
    }
}

#[test]
fn select_is_linear_in_its_branches() {
    let mut case = Case::new(1);
    let (a, b) = (case.input(&[6], -1.0, 1.0), case.input(&[6], -1.0, 1.0));
    let condition = case.g.lt(a, b);
    let y = case.g.select(condition, a, b);
    case.check(y);
}

#[test]
fn views_and_sums() {
    let view: [fn(&mut Graph, NodeId) -> NodeId; 11] = [
        |g, x| g.broadcast(x, &[3, 2, 4, 5], &[1, 2, 3]),
        |g, x| {
            let one = g.sum(x, &[1]);
            let one = g.reshape(one, &[2, 1, 5]);
            g.broadcast_to(one, &[2, 4, 5])
        },
        |g, x| g.sum(x, &[0, 2]),
        |g, x| g.sum_all(x),
        |g, x| g.mean_keep(x, &[1]),
        |g, x| g.reshape(x, &[8, 5]),
        |g, x| g.permute(x, &[2, 0, 1]),
        |g, x| g.slice(x, &[0, 1, 0], &[2, 2, 3], &[1, 2, 2]),
        |g, x| g.pad(x, &[0, 1, 2], &[2, 9, 8], &[1, 2, 1]),
        |g, x| {
            let flat = g.reshape(x, &[40]);
            let part = g.segment(flat, 3, 7);
            let zero = g.full(&[4], 0.0);
            g.concat(&[flat, zero, part])
        },
        |g, x| g.max(x, 1),
    ];
    for (k, build) in view.into_iter().enumerate() {
        let mut case = Case::new(k as u64);
        let x = case.input(&[2, 4, 5], -1.0, 1.0);
        let y = build(&mut case.g, x);
        case.check(y);
    }
}

#[test]
fn matmul_in_every_orientation() {
    for ta in [false, true] {
        for tb in [false, true] {
            let mut case = Case::new(2);
            let a = case.input(&if ta { [2, 4, 3] } else { [2, 3, 4] }, -1.0, 1.0);
            let b = case.input(&if tb { [2, 5, 4] } else { [2, 4, 5] }, -1.0, 1.0);
            let y = case.g.matmul(a, b, [ta, tb]);
            case.check(y);
        }
    }
}

#[test]
fn convolution_faces() {
    for (stride, pad) in [([1, 1], [0, 0]), ([2, 1], [1, 0]), ([2, 2], [0, 1])] {
        let (input, kernel) = ([6, 5], [3, 2]);
        let output = [0, 1].map(|a| (input[a] + 2 * pad[a] - kernel[a]) / stride[a] + 1);
        let geometry = ConvGeometry { input, kernel, output, stride, pad };
        let x = [2, 2, input[0], input[1], 2];
        let w = [2, kernel[0], kernel[1], 2, 3];
        let y = [2, 2, output[0], output[1], 3];
        for (face, a, b) in [(ConvFace::Output, x, w), (ConvFace::Input, y, w), (ConvFace::Kernel, x, y)] {
            let mut case = Case::new(3);
            let (a, b) = (case.input(&a, -1.0, 1.0), case.input(&b, -1.0, 1.0));
            let out = case.g.conv(face, geometry, a, b);
            case.check(out);
        }
    }
}

#[test]
fn runs_of_vectors() {
    // Values in any order, twice, never; gaps; neighbours of one value.
    let runs = [(3, Some(2)), (1, None), (2, Some(0)), (1, Some(0)), (4, Some(2)), (0, Some(3)), (2, None)];
    let runs = runs.map(|(length, value)| Run { length, value });
    let mut case = Case::new(8);
    let x = case.input(&[4], -1.0, 1.0);
    let y = case.g.repeat(x, &runs);
    assert_eq!(
        eval(&case.g, &[y], &[vec![1.0, 2.0, 3.0, 4.0]])[0],
        [3., 3., 3., 0., 1., 1., 1., 3., 3., 3., 3., 0., 0.]
    );
    case.check(y);
    let mut case = Case::new(9);
    let x = case.input(&[13], -1.0, 1.0);
    let y = case.g.segment_sum(x, &runs, 4);
    let numbers = (0..13).map(f64::from).collect();
    assert_eq!(eval(&case.g, &[y], &[numbers])[0], [15.0, 0.0, 3.0 + 34.0, 0.0]);
    case.check(y);
}

#[test]
fn rows_by_index() {
    let mut case = Case::new(4);
    let data = case.input(&[5, 3], -1.0, 1.0);
    let index = case.words(&[7], 5);
    let y = case.g.take_rows(data, index);
    case.check(y);
}

#[test]
fn the_check_catches_a_wrong_derivative() {
    // exp(stop(x)) · x claims the derivative exp(x); the truth is exp(x)(1 + x).
    let mut case = Case::new(5);
    let x = case.input(&[3], 0.5, 1.0);
    let frozen = case.g.stop_gradient(x);
    let e = case.g.scalar(Scalar::Exp, &[frozen]);
    let y = case.g.mul(e, x);
    let error = check_grads(&mut case.g, &[y], &case.inputs, &case.point, 1).unwrap_err();
    assert!(error.contains("differs from differences"), "{error}");
}

#[test]
fn forward_over_reverse_equals_reverse_over_reverse() {
    let mut case = Case::new(6);
    let x = case.input(&[4, 3], -1.0, 1.0);
    let w = case.input(&[3, 2], -1.0, 1.0);
    let v = case.input(&[3, 2], -1.0, 1.0);
    let g = &mut case.g;
    let (x3, w3) = (g.reshape(x, &[1, 4, 3]), g.reshape(w, &[1, 3, 2]));
    let y = g.matmul(x3, w3, [false, false]);
    let y = g.scalar(Scalar::Tanh, &[y]);
    let y = g.mul(y, y);
    let loss = g.sum_all(y);
    let forward = hvp(g, loss, &[(w, v)])[0];
    let gradient = grad(g, loss, &[w])[0];
    let product = g.mul(gradient, v);
    let product = g.sum_all(product);
    let reverse = grad(g, product, &[w])[0];
    // ∂/∂x ⟨∇_w loss, v⟩, by the composition and by hand.
    let cross = mixed(g, loss, &[(w, v)], &[x])[0];
    let by_hand = grad(g, product, &[x])[0];
    let values = eval(g, &[cross, by_hand], &case.point);
    assert!(values[0].iter().zip(&values[1]).all(|(a, b)| (a - b).abs() < 1e-13 * (1.0 + a.abs())));
    let values = eval(g, &[forward, reverse], &case.point);
    for (a, b) in values[0].iter().zip(&values[1]) {
        assert!((a - b).abs() < 1e-13 * (1.0 + a.abs()), "{a} {b}");
    }
}
