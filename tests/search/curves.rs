//! The model of learning curves against a Gaussian process over all of their values at once, and what it thaws.

use stackelberg::gp::Parameters;
use stackelberg::search::curves::{Curve, Curves, Shape};
use stackelberg::search::freeze_thaw::{FreezeThaw, Mode};
use stackelberg::search::history::{Event, History};
use stackelberg::search::{Ask, Attributes, Limits, Point, Searcher, Simulation, State};

use crate::vectors::{close, float, space};

/// Solves a x = b by elimination with pivots, and gives ln |det a| beside.
fn solved(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> (Vec<f64>, f64) {
    let n = b.len();
    let mut log_determinant = 0.0;
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        log_determinant += a[k][k].abs().ln();
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            let row = a[k].clone();
            a[i].iter_mut().zip(&row).skip(k).for_each(|(entry, other)| *entry -= factor * other);
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        b[k] = (b[k] - (k + 1..n).map(|j| a[k][j] * b[j]).sum::<f64>()) / a[k][k];
    }
    (b, log_determinant)
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn block_formulas_are_those_of_all_values_at_once() {
    let asymptotes = Parameters { inverse_squares: vec![3.0, 0.7], signal: 1.3, noise: 0.02 };
    let shape = Shape { asymptotes, alpha: 1.4, beta: 2.5 };
    let curves: Vec<Curve> = [(0.1, 0.9, 1), (0.4, 0.2, 6), (0.8, 0.5, 3), (0.9, 0.1, 4)]
        .map(|(x, y, length)| Curve {
            place: vec![x, y],
            values: (1..=length).map(|t| x - y + 1.0 / f64::from(t) + 0.1 * f64::from(t * t).sin()).collect(),
        })
        .to_vec();
    let model = Curves::new(&[], &curves, shape.clone()).unwrap();

    // A value is a curve, a rung, and whether it has noise.
    let sites: Vec<(usize, usize)> =
        curves.iter().enumerate().flat_map(|(n, curve)| (1..=curve.values.len()).map(move |t| (n, t))).collect();
    let values: Vec<f64> = curves.iter().flat_map(|curve| curve.values.clone()).collect();
    let asymptote = |a: &[f64], b: &[f64]| shape.asymptotes.covariance(&[], a, b);
    let covariance = |(n, t): (usize, usize), (m, u): (usize, usize)| {
        asymptote(&curves[n].place, &curves[m].place) + if n == m { shape.decay(t, u) } else { 0.0 }
    };
    let noisy = |i: usize, j: usize| covariance(sites[i], sites[j]) + if i == j { shape.asymptotes.noise } else { 0.0 };
    let matrix: Vec<Vec<f64>> = (0..sites.len()).map(|i| (0..sites.len()).map(|j| noisy(i, j)).collect()).collect();
    let (weights, log_determinant) = solved(matrix.clone(), values.clone());

    let constant = 0.5 * values.len() as f64 * std::f64::consts::TAU.ln();
    close(model.log_likelihood(), -0.5 * product(&values, &weights) - 0.5 * log_determinant - constant, 1e-8);

    let places = vec![vec![0.4, 0.2], vec![0.55, 0.45]];
    let (means, covariances) = model.asymptotes(&places);
    let with_sites = |x: &[f64]| sites.iter().map(|(n, _)| asymptote(x, &curves[*n].place)).collect::<Vec<f64>>();
    for i in 0..2 {
        close(means[i], product(&with_sites(&places[i]), &weights), 1e-8);
        let (shares, _) = solved(matrix.clone(), with_sites(&places[i]));
        for j in 0..=i {
            let want = asymptote(&places[i], &places[j]) - product(&with_sites(&places[j]), &shares);
            close(covariances[i][j], want, 1e-8);
        }
    }
    for (n, curve) in curves.iter().enumerate() {
        let next = (n, curve.values.len() + 1);
        let along: Vec<f64> = sites.iter().map(|site| covariance(next, *site)).collect();
        let (shares, _) = solved(matrix.clone(), along.clone());
        let (mean, variance) = model.next(Some(n), &curve.place);
        close(mean, product(&along, &weights), 1e-8);
        close(variance, covariance(next, next) - product(&along, &shares), 1e-8);
    }
    let (mean, variance) = model.next(None, &places[1]);
    close(mean, means[1], 1e-8);
    close(variance, covariances[1][1] + shape.decay(1, 1), 1e-8);
    let known = model.with(None, &places[1], 0.3).unwrap();
    assert!(known.asymptotes(&places[1..]).1[0][0] < covariances[1][1]);
}

#[test]
fn a_constant_decay_makes_it_a_process_on_means() {
    // α → 0: a curve is one value, seen with noise several times, plus an offset of variance 1 of its own.
    let asymptotes = Parameters { inverse_squares: vec![5.0], signal: 1.0, noise: 0.1 };
    let shape = Shape { asymptotes: asymptotes.clone(), alpha: 0.0, beta: 1.0 };
    let curves: Vec<Curve> = [(0.2, [1.0, 1.2, 0.8]), (0.7, [0.1, -0.1, 0.3])]
        .map(|(x, values)| Curve { place: vec![x], values: values.to_vec() })
        .to_vec();
    let (means, _) = Curves::new(&[], &curves, shape).unwrap().asymptotes(&[vec![0.5]]);
    let mean = |curve: &Curve| curve.values.iter().sum::<f64>() / 3.0;
    let entry = |i: usize, j: usize| {
        let own = if i == j { 1.0 + 0.1 / 3.0 } else { 0.0 };
        asymptotes.covariance(&[], &curves[i].place, &curves[j].place) + own
    };
    let matrix = (0..2).map(|i| (0..2).map(|j| entry(i, j)).collect()).collect();
    let (weights, _) = solved(matrix, curves.iter().map(mean).collect());
    let along: Vec<f64> = curves.iter().map(|c| asymptotes.covariance(&[], &c.place, &[0.5])).collect();
    close(means[0], product(&along, &weights), 1e-8);
}

#[test]
fn the_curve_with_the_best_end_is_thawed_and_not_the_one_that_leads() {
    let curves: [fn(f64) -> f64; 2] = [|t| 0.2 + 0.8 * (-t / 8.0).exp(), |t| 0.4 + 0.1 * (-t / 2.0).exp()];
    let mut history = History::default();
    for (trial, curve) in (0..).zip(curves) {
        let point = Point(vec![Some(0.2 + 0.6 * trial as f64)]);
        history.record(Event::Started { trial, point, budget: 5, attributes: Attributes::new() }).unwrap();
        for step in 1..=5 {
            history.record(Event::Reported { trial, step, value: curve(step as f64) }).unwrap();
        }
        history.record(Event::Paused { trial }).unwrap();
    }
    assert!(history.trials()[1].score() < history.trials()[0].score(), "the other one leads");
    let searcher = FreezeThaw { beginning: 2, basket: (10, 0), ..FreezeThaw::new(1, 40) };
    for seed in 0..3 {
        let ask = searcher.ask(&space([float(0.0, 1.0, false)]), &history, seed, 2);
        assert!(matches!(ask, Ask::Resume { trial: 0, budget: 6, .. }), "{ask:?}");
    }
}

/// Curves that fall towards how far their point is from the best, from elsewhere.
fn falling(point: &Point, step: u64) -> f64 {
    let x = point.get(0).unwrap();
    0.1 + (x - 0.3).powi(2) + (0.3 + 0.3 * x) * (-(step as f64) / 5.0).exp()
}

#[test]
fn it_spends_little_on_what_promises_little() {
    let space = space([float(0.0, 1.0, false)]);
    for mode in [Mode::Improvement, Mode::Entropy] {
        let searcher = FreezeThaw { mode, ..FreezeThaw::new(2, 20) };
        let limits = Limits { seconds: if mode == Mode::Entropy { 80.0 } else { 140.0 }, ..Limits::trials(25) };
        let (history, _) = Simulation::new(&searcher, &space, &falling, 1, 1, limits).run().unwrap();
        let hopeless = history.trials().iter().filter(|trial| trial.point.get(0).unwrap() > 0.7);
        let steps: Vec<u64> = hopeless.map(|trial| trial.step()).collect();
        assert!(steps.iter().all(|steps| *steps <= 4), "{mode:?}: {steps:?}");
        let last = history.trials().iter().map(|trial| trial.score()).fold(f64::INFINITY, f64::min);
        assert!(last < 0.25, "{mode:?}: {last}");
        assert!(history.trials().iter().any(|trial| trial.state == State::Paused));
    }
}
