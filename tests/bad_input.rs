//! What a program may hand over wrongly, and problems that cannot be solved: each is refused with the place and the
//! cause, or gives the right value. On the engines that have no driver, which all work alike here.

mod engine_support;

use engine_support::calls;
use pollster::block_on;
use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::{
    Directions, Estimate, Examples, FixedPoint, Forward, Implicit, Loss, Memory, Method, Problem, Regularizer, Session,
    SessionData, Set, SolveError, Solver, Source, Targets, Transform, Truncated, Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::ir::{Graph, NodeId, Scalar};
use stackelberg::nn::optim;
use stackelberg::nn::{Layer, Model, Padding};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

fn engines() -> [Device; 2] {
    [Device::new(ReferenceEngine::new()), Device::new(CpuEngine::new(1))]
}

fn dense(name: &str, inputs: usize, outputs: usize) -> Layer {
    Layer::Dense { name: name.to_owned(), inputs, outputs, bias: false }
}

fn linear(inputs: usize, outputs: usize) -> Model {
    Model::new(vec![dense("w", inputs, outputs)], &[inputs]).unwrap()
}

fn values(x: &[f32], y: &[f32]) -> Set {
    Set { x: x.to_vec().into(), targets: Targets::Values(y.to_vec()), count: y.len() }
}

fn numbers(set: &mut Set) -> &mut Vec<f32> {
    let Examples::Floats(values) = &mut set.x else { panic!("numbers") };
    values
}

fn labels(x: &[f32], y: &[u32]) -> Set {
    Set { x: x.to_vec().into(), targets: Targets::Labels(y.to_vec()), count: y.len() }
}

fn estimate(
    device: &Device,
    problem: &Problem,
    data: &SessionData,
    point: &Hyperparameters,
    method: impl Into<Box<dyn Method>>,
) -> Result<Estimate, SolveError> {
    block_on(async {
        let mut session = Session::new(device, problem.clone(), data, method).await?;
        session.estimate_at(point, &mut Unattended).await
    })
}

/// Least squares of one weight from the start `w`.
fn one_weight(steps: usize, w: f32) -> (Problem, SessionData) {
    let problem = Problem::new(linear(1, 1), Loss::MeanSquaredError, optim::Sgd, steps, 1);
    (problem, SessionData::new(values(&[1.0], &[1.0]), values(&[1.0], &[0.0]), vec![w], 0))
}

fn three_classes() -> (Problem, SessionData) {
    let problem = Problem::new(linear(2, 3), Loss::CrossEntropy, optim::Sgd, 2, 4);
    let x = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.5, 0.5];
    (problem, SessionData::new(labels(&x, &[0, 1, 2, 1]), labels(&x[..4], &[0, 1]), vec![0.0; 6], 0))
}

#[test]
fn engines_refuse_the_same_calls() {
    calls::wrong_ones_are_refused_by_name(&mut ReferenceEngine::new());
    calls::wrong_ones_are_refused_by_name(&mut CpuEngine::new(1));
}

#[test]
fn data_that_do_not_fit_are_named_by_set_and_example() {
    let (problem, good) = three_classes();
    let point = Hyperparameters::default().tuned(&problem, Kind::Lr, 0.1);
    type Spoil = fn(&mut SessionData);
    let cases: [(Spoil, &str); 10] = [
        (
            |d| d.train.targets = Targets::Labels(vec![0, 1, 2, 5]),
            "train: example 3 has the label 5, and the model has 3",
        ),
        (|d| d.validation.targets = Targets::Labels(vec![0, 7]), "validation: example 1 has the label 7"),
        (|d| d.train.targets = Targets::Values(vec![0.0; 12]), "takes labels as targets, but the examples have values"),
        (|d| numbers(&mut d.train)[5] = f32::NAN, "train: value 1 of example 2 is NaN"),
        (|d| numbers(&mut d.validation)[0] = f32::INFINITY, "validation: value 0 of example 0 is inf"),
        (|d| d.initial[4] = f32::NAN, "initial weights: weight 4 is NaN"),
        (|d| d.validation = labels(&[], &[]), "validation: there are none"),
        (|d| d.train.count = 3, "training examples: 3 values were given, 4 are needed"),
        (|d| d.train.targets = Targets::Labels(vec![0]), "train_y: 1 values were given, 4 are needed"),
        (|d| numbers(&mut d.validation).truncate(3), "validation_x: 3 values were given, 4 are needed"),
    ];
    for engine in engines() {
        assert!(estimate(&engine, &problem, &good, &point, Memory::StoreAll).is_ok());
        for (spoil, says) in &cases {
            let mut bad = good.clone();
            spoil(&mut bad);
            let error = estimate(&engine, &problem, &bad, &point, Memory::StoreAll).unwrap_err().to_string();
            assert!(error.contains(says), "{error} instead of {says}");
        }
        let tables = Problem { batches: Source::Table, batch: 2, ..problem.clone() };
        let rows = SessionData { batches: vec![0, 1, 2, 4], ..good.clone() };
        let error = estimate(&engine, &tables, &rows, &point, Memory::StoreAll).unwrap_err().to_string();
        assert!(error.contains("step 1 takes example 4, and there are 4"), "{error}");
    }
}

#[test]
fn sets_to_evaluate_are_checked_like_others() {
    let (problem, data) = three_classes();
    let point = Hyperparameters::default().tuned(&problem, Kind::Lr, 0.1);
    for engine in engines() {
        block_on(async {
            let mut session = Session::new(&engine, problem.clone(), &data, Memory::StoreAll).await.unwrap();
            session.train_at(&point, &mut Unattended).await.unwrap();
            let good = session.evaluate(&data.train, &mut Unattended).await.unwrap();
            assert_eq!(good.confusion.iter().sum::<u32>(), 4);
            let long = Set { count: 1, ..data.train.clone() };
            let short = Set { count: 9, ..data.train.clone() };
            let ragged = Set { targets: Targets::Labels(vec![0; 3]), ..data.train.clone() };
            for bad in
                [labels(&[], &[]), labels(&[1.0, 2.0], &[3]), long, short, ragged, values(&[1.0, 2.0], &[0.0; 3])]
            {
                assert!(session.evaluate(&bad, &mut Unattended).await.is_err(), "{bad:?}");
            }
        });
    }
}

/// A point without initial weights of its own trains from those of the session, whatever points came before.
#[test]
fn initial_weights_of_a_point_are_its_own() {
    let (problem, data) = one_weight(3, 0.5);
    let problem = Problem { initial_scale: true, ..problem };
    let rate = Hyperparameters::default().tuned(&problem, Kind::Lr, 0.1);
    let plain = rate.clone().tuned(&problem, Kind::InitialScale, 1.0);
    let scaled = rate.tuned(&problem, Kind::InitialScale, 3.0);
    for (engine, within) in engines().into_iter().zip([1e-12, 1e-6]) {
        block_on(async {
            let mut session = Session::new(&engine, problem.clone(), &data, Memory::StoreAll).await.unwrap();
            let host = &mut Unattended;
            let first = session.estimate_at(&plain, host).await.unwrap();
            let other = session.estimate_at(&scaled, host).await.unwrap();
            assert_ne!(first.outer_loss, other.outer_loss);
            assert_eq!(session.estimate_at(&plain, host).await.unwrap().outer_loss, first.outer_loss);
            // What the session is given stands for what the data came with, in scale and derivatives too.
            session.set_initial_weights(&[1.5]).unwrap();
            let begun = session.estimate_at(&plain, host).await.unwrap().outer_loss;
            assert!((begun - other.outer_loss).abs() < within * begun, "{begun} {}", other.outer_loss);
            session.set_initial_weights(&[0.5]).unwrap();
            assert_eq!(session.estimate_at(&scaled, host).await.unwrap().hypergradient, other.hypergradient);
            assert!(session.set_initial_weights(&[0.5, 1.0]).is_err());
            assert!(session.set_initial_weights(&[f32::NAN]).is_err());
        });
    }
}

#[test]
fn directions_and_domains_that_do_not_fit_are_named() {
    let (problem, data) = one_weight(3, 0.5);
    let point = Hyperparameters::default().tuned(&problem, Kind::Lr, 0.1);
    let engine = Device::new(ReferenceEngine::new());
    let mut session = block_on(Session::new(&engine, problem.clone(), &data, Memory::StoreAll)).unwrap();
    let mut along = Directions::new(&problem);
    along.push([(0, 1.0)]);
    along.push([(10_000, 1.0)]);
    let error = block_on(session.estimate_along(&point, &along, &mut Unattended)).unwrap_err().to_string();
    assert!(error.contains("moves hyperparameter 10000 of 3"), "{error}");
    let longer = Problem { steps: 4, ..problem.clone() };
    let error = block_on(session.estimate_along(&point, &Directions::arrays(&longer), &mut Unattended)).unwrap_err();
    assert!(error.to_string().contains("4 hyperparameters"), "{error}");
    let turned = point.kept(Transform::Within { low: 1.0, high: 0.0 });
    let error = turned.check(&problem).unwrap_err().to_string();
    assert!(error.contains("between 1 and 0; the first must be the smaller"), "{error}");
}

#[test]
fn layers_that_records_could_not_tell_apart_are_refused() {
    let refused = |layers: Vec<Layer>| Model::new(layers, &[2]).unwrap_err().to_string();
    assert!(refused(vec![dense("w", 2, 2), dense("w", 2, 1)]).contains("called `w`, as another layer is"));
    assert!(refused(vec![dense("", 2, 2)]).contains("no name"));
    assert!(refused(vec![dense("w", 2, 0)]).contains("holds no weight"));
    assert!(refused(vec![dense("w", 2, 1 << 40)]).contains("2³¹ weights or more"));
    assert!(Model::new(vec![dense("w", 1 << 40, 1 << 40)], &[1 << 40]).is_err());
    assert!(Model::new(vec![Layer::Flatten], &[0]).is_err());
    // A name may end like those of the parameters.
    let odd = Model::new(vec![dense("a.kernel", 2, 2), dense("a", 2, 1)], &[2]).unwrap();
    assert_eq!(odd.layer_names(), ["a.kernel", "a"]);
}

/// u ln u where u > 0, else 0: the branch that is not taken is not finite.
fn x_log_x(g: &mut Graph, output: NodeId, _target: NodeId) -> NodeId {
    let n = g.shape(output)[0];
    let u = g.scalar(Scalar::Relu, &[output]);
    let zero = g.full(&[n, 1], 0.0);
    let positive = g.lt(zero, u);
    let log = g.scalar(Scalar::Log, &[u]);
    let term = g.mul(u, log);
    let value = g.select(positive, term, zero);
    g.reshape(value, &[n])
}

/// The inner loss is the mean over x of 1 and −1, of which only the first moves: w ← w − η ½ (ln w + 1).
#[test]
fn the_branch_that_a_selection_does_not_take_has_no_say() {
    let (rate, steps) = (0.1, 5);
    let (mut w, mut dw) = (0.5f64, 0.0);
    for _ in 0..steps {
        let slope = 0.5 * (w.ln() + 1.0);
        dw -= rate * slope + rate * 0.5 / w * dw;
        w -= rate * slope;
    }
    let (loss, derivative) = ((w - 0.2).powi(2), 2.0 * (w - 0.2) * dw);
    assert!((derivative + 0.023_216_922).abs() < 1e-9);
    let problem = Problem {
        outer_loss: Loss::MeanSquaredError,
        ..Problem::new(linear(1, 1), Loss::Own { labels: false, each: x_log_x }, optim::Sgd, steps, 2)
    };
    let data = SessionData::new(values(&[1.0, -1.0], &[0.0, 0.0]), values(&[1.0], &[0.2]), vec![0.5], 0);
    let point = Hyperparameters::default().tuned(&problem, Kind::Lr, rate);
    for (engine, within) in engines().into_iter().zip([1e-7, 1e-5]) {
        let found = estimate(&engine, &problem, &data, &point, Memory::StoreAll).unwrap();
        assert!((found.outer_loss / loss - 1.0).abs() < within, "{found:?}");
        assert!((found.hypergradient[0] / derivative - 1.0).abs() < within, "{found:?}");
    }
}

/// L = (w − 1)² − ½ eᵘ w² with eᵘ = 6 is stationary at w = −½, where it bends down: dE/du = −¾ for E = w².
#[test]
fn conjugate_gradients_say_that_a_hessian_is_indefinite() {
    let bend = Regularizer::new(1, |g, w, u| {
        let square = g.mul(w, w);
        let strength = g.scalar(Scalar::Exp, &[u]);
        let term = g.mul(strength, square);
        g.scale(term, -0.5)
    });
    let (problem, data) = one_weight(3, -0.5);
    let problem = Problem { regularizer: Some(bend), ..problem };
    let point =
        Hyperparameters::default().fixed(&problem, Kind::Lr, 0.01).tuned(&problem, Kind::Regularizer, 6f64.ln());
    for engine in engines() {
        let by = |method: Box<dyn Method>| estimate(&engine, &problem, &data, &point, method);
        for iterations in [1, 20] {
            let error = by(Implicit::new(Solver::ConjugateGradient, iterations).into()).unwrap_err().to_string();
            assert!(error.contains("negative curvature") && error.contains("normal equations"), "{error}");
            let exact = by(Implicit::new(Solver::NormalEquations, iterations).into()).unwrap();
            assert!((exact.hypergradient[0] + 0.75).abs() < 1e-5, "{exact:?}");
        }
        let error = by(Implicit::new(Solver::Neumann { rate: 0.1 }, 20).into()).unwrap_err().to_string();
        assert!(error.contains("it grows: Neumann's series diverges"), "{error}");
        let error = by(FixedPoint::new(20).into()).unwrap_err().to_string();
        assert!(error.contains("does not contract"), "{error}");
    }
}

/// L = (w − 1)² + ½ w² has H = 3: a rate of 1.5 multiplies what is left by −3.5 in each term.
#[test]
fn a_series_that_grows_is_no_answer() {
    let (problem, data) = one_weight(60, 0.0);
    let problem = Problem { l2: true, ..problem };
    let point = Hyperparameters::default().fixed(&problem, Kind::Lr, 0.1).tuned(&problem, Kind::L2, 1.0);
    for engine in engines() {
        let by =
            |rate, terms| estimate(&engine, &problem, &data, &point, Implicit::new(Solver::Neumann { rate }, terms));
        let exact = by(0.2, 50).unwrap();
        assert!((exact.hypergradient[0] + 8.0 / 27.0).abs() < 1e-5, "{exact:?}");
        assert!(exact.inner_gradient.unwrap() < 1e-6, "{exact:?}");
        for terms in [10, 40, 400] {
            let error = by(1.5, terms).unwrap_err().to_string();
            assert!(error.contains("it grows") && error.contains("rate 1.5"), "{error}");
        }
    }
}

/// The residual says that the linear system is solved, and the inner gradient that the inner problem is not: it is
/// 3 (w − ⅔) after four steps of 1 − 3 · 0.02 from w = 0.
#[test]
fn an_inner_problem_that_is_not_solved_shows() {
    let (problem, data) = one_weight(4, 0.0);
    let problem = Problem { l2: true, ..problem };
    let point = Hyperparameters::default().fixed(&problem, Kind::Lr, 0.02).tuned(&problem, Kind::L2, 1.0);
    for engine in engines() {
        let rough = estimate(&engine, &problem, &data, &point, Implicit::new(Solver::ConjugateGradient, 5)).unwrap();
        assert!(rough.residual.unwrap() < 1e-6);
        assert!((rough.inner_gradient.unwrap() - 2.0 * 0.94f64.powi(4)).abs() < 1e-6, "{rough:?}");
        let reverse = estimate(&engine, &problem, &data, &point, Memory::StoreAll).unwrap();
        assert!((reverse.hypergradient[0] + 0.001_293_5).abs() < 1e-6 && reverse.inner_gradient.is_none());
    }
}

/// Sizes that no memory holds: they are refused, and their products are not taken.
#[test]
fn sizes_beyond_all_memory_are_refused() {
    const HUGE: usize = usize::MAX;
    let (problem, _) = one_weight(3, 0.5);
    let refused = |problem: Problem| problem.check().unwrap_err().to_string();
    assert!(refused(Problem { steps: HUGE, ..problem.clone() }).contains("take fewer steps"));
    let own = Regularizer::new(HUGE, |g, _, _| g.full(&[], 0.0));
    assert!(refused(Problem { regularizer: Some(own), ..problem.clone() }).contains("2³¹ or more"));
    let (classes, data) = three_classes();
    let point = Hyperparameters::default().tuned(&classes, Kind::Lr, 0.1);
    for engine in engines() {
        let mut bad = data.clone();
        bad.validation.count = HUGE;
        let error = estimate(&engine, &classes, &bad, &point, Memory::StoreAll).unwrap_err().to_string();
        assert!(error.contains("validation_x: 4 values were given"), "{error}");
    }
    let kernel = |k: usize, padding: Padding| {
        let layer = Layer::Conv1d {
            name: "c".into(),
            k,
            cin: 1,
            cout: 1,
            stride: 1,
            padding,
            bias: true,
            dilation: 1,
            groups: 1,
        };
        Model::new(vec![layer], &[8, 1]).unwrap_err().to_string()
    };
    for k in [0, HUGE] {
        assert!(kernel(k, Padding::SAME).contains("`c`") && kernel(k, Padding::VALID).contains("`c`"), "{k}");
    }
    assert!(kernel(3, Padding::Explicit([HUGE, 1])).contains("too large"));
}

/// A hyperparameter vector of another problem, with every way to differentiate.
#[test]
fn vectors_of_another_length_are_refused() {
    let (problem, data) = one_weight(3, 0.5);
    let along = Directions::arrays(&problem);
    let methods: [fn() -> Box<dyn Method>; 4] = [
        || Memory::StoreAll.into(),
        || Forward { width: 1 }.into(),
        || Truncated { last: 0, memory: Memory::Slots(0) }.into(),
        || Implicit::new(Solver::ConjugateGradient, 0).into(),
    ];
    for engine in engines() {
        for method in methods {
            block_on(async {
                let mut session = Session::new(&engine, problem.clone(), &data, method()).await.unwrap();
                for lambda in [vec![], vec![0.0], vec![0.0; 9]] {
                    let error = session.estimate(&lambda, &along, &mut Unattended).await.unwrap_err().to_string();
                    let says = format!("hyperparameters: {} values were given, 3 are needed", lambda.len());
                    assert!(error.contains(&says), "{error}");
                    assert!(session.train(&lambda, &mut Unattended).await.is_err());
                }
            });
        }
    }
}
