//! The Gaussian process against reference vectors (posterior and likelihood by scikit-learn, fit, acquisition and next
//! point by Optuna's formulas) and on Branin's function.

use std::path::PathBuf;

use serde_json::Value;
use stackelberg::gp::{Gp, Observation, Parameters, Points, standard_log_ei};
use stackelberg::rng::{Purpose, Stream};

/// Branin's function on the unit square; its least value is 0.39788735772973816.
fn branin(x: &[f64]) -> f64 {
    use std::f64::consts::PI;
    let (a, b) = (15.0 * x[0] - 5.0, 15.0 * x[1]);
    let valley = b - 5.1 / (4.0 * PI * PI) * a * a + 5.0 / PI * a - 6.0;
    valley * valley + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * a.cos() + 10.0
}

/// Vectors of the form of `gp.json` in the folder of reference vectors; without it, what that file says of the first
/// twelve points of the Sobol sequence.
fn vectors() -> Value {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("STACKELBERG_SEARCH_VECTORS").map(PathBuf::from);
    let named = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let shared = named.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let mut places = given.into_iter().chain(shared.map(|place| place.join("golden/search")));
    let file = places.find_map(|place| std::fs::read_to_string(place.join("gp.json")).ok());
    if let Some(text) = file {
        return serde_json::from_str(&text).unwrap();
    }
    println!("only the vectors of this test: there are none at ../shared/golden/search (set STACKELBERG_SHARED)");
    let mut kept: Value = serde_json::from_str(KEPT).unwrap();
    let points: Vec<Vec<f64>> = Points::new(2).skip(1).take(12).collect();
    kept["y"] = points.iter().map(|x| branin(x)).collect();
    kept["X"] = points.into();
    kept
}

const KEPT: &str = r#"{
    "y_mean": 40.325791715378024, "y_sd": 44.919786952123445,
    "test": [[0.1, 0.9], [0.54, 0.15], [0.96, 0.165], [0.3, 0.3], [0.5, 0.5]],
    "lengthscales": [0.4, 0.7], "signal_var": 1.7, "noise_var": 0.001,
    "mean": [-0.7520266200778194, -0.7702474528349503, -0.5966167877426396, -0.26934216847794135, -0.3495056334884068],
    "var": [0.1835412805187322, 0.019689625669074617, 0.0432773924634402, 0.005437809293895812, 0.0009545620925730525],
    "cov01": -0.0017251666278975675, "lml": -9.660429710901521,
    "lml_grad_log(s2,l1,l2,noise)":
        [0.37487145253071397, 1.6465369589662022, -2.4194698599262576, 0.002234467199101313],
    "standard_logei": {
        "-40": -808.2985683566197, "-26": -345.43954672231797, "-25": -319.86146358156714, "-10": -55.553122036123106,
        "-3": -7.869686059603039, "-1": -2.4851210257126413, "0": -0.9189385332046727, "1": 0.08002621884930704,
        "5": 1.6094379231264313
    },
    "logei": [-2.0371281857458388, -3.582879870441494, -4.391985024601983, -37.638991466817444, -136.09832885491153],
    "map": {
        "lengthscales": [0.5045346403014951, 0.5082496906660301], "scale": 1.4319782312437332,
        "noise": 0.00463381974126207, "neg_log_posterior": 0.8134706799459703
    },
    "map_start_neg_log_posterior": 37.30894349543758,
    "next_point": { "x": [0.8016428572829525, 0.0], "logei": -1.6857637995730923 }
}"#;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn points(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs().max(1e-12), "{got}, wanted {want}");
}

/// Parameters as the vectors give them.
fn parameters(lengths: &Value, signal: &Value, noise: &Value) -> Parameters {
    let inverse_squares = numbers(lengths).iter().map(|length| length.powi(-2)).collect();
    Parameters { inverse_squares, signal: number(signal), noise: number(noise) }
}

/// What was seen.
fn seen(points: &[Vec<f64>], values: &[f64]) -> Vec<Observation> {
    let observation = |(point, value): (&Vec<f64>, &f64)| Observation { point: point.clone(), value: *value };
    points.iter().zip(values).map(observation).collect()
}

/// The values of the vectors.
fn observed(v: &Value) -> Vec<Observation> {
    seen(&points(&v["X"]), &numbers(&v["y"]))
}

fn given(v: &Value) -> Parameters {
    parameters(&v["lengthscales"], &v["signal_var"], &v["noise_var"])
}

#[test]
fn posterior_and_acquisition_are_the_references() {
    let v = vectors();
    let gp = Gp::new(&observed(&v), given(&v));
    let (centre, deviation) = (number(&v["y_mean"]), number(&v["y_sd"]));
    let test = points(&v["test"]);
    for (i, x) in test.iter().enumerate() {
        let (mean, variance) = gp.posterior(x);
        close((mean - centre) / deviation, number(&v["mean"][i]), 1e-9);
        close(variance / (deviation * deviation), number(&v["var"][i]), 1e-9);
        close(gp.log_ei(x), number(&v["logei"][i]), 1e-9);
    }
    close(gp.covariance(&test[0], &test[1]) / (deviation * deviation), number(&v["cov01"]), 1e-9);
    for (z, want) in v["standard_logei"].as_object().unwrap() {
        close(standard_log_ei(z.parse().unwrap()), number(want), 1e-9);
    }
}

#[test]
fn the_likelihood_and_its_gradient_are_the_references() {
    let v = vectors();
    let (value, gradient) = Gp::new(&observed(&v), given(&v)).log_marginal_likelihood();
    close(value, number(&v["lml"]), 1e-9);
    let want = numbers(&v["lml_grad_log(s2,l1,l2,noise)"]);
    // By the logarithm of a length scale: −2 times that by the logarithm of its inverse square.
    let got = [gradient[2], -2.0 * gradient[0], -2.0 * gradient[1], gradient[3]];
    got.iter().zip(&want).for_each(|(got, want)| close(*got, *want, 1e-9));
}

/// The negative logarithm of the posterior density as the vectors count it, without constants.
fn improbability(v: &Value, parameters: &Parameters) -> f64 {
    let (likelihood, _) = Gp::new(&observed(v), parameters.clone()).log_marginal_likelihood();
    let constant = 0.5 * observed(v).len() as f64 * std::f64::consts::TAU.ln();
    let Parameters { inverse_squares, signal, noise, .. } = parameters;
    let scales: f64 = inverse_squares.iter().map(|a| -0.1 / a - 0.1 * a).sum();
    -(likelihood + constant + scales + signal.ln() - signal + 0.1 * noise.ln() - 30.0 * noise)
}

#[test]
fn the_fit_is_as_probable_as_the_references() {
    let v = vectors();
    // The reference starts from a noise a trifle above one.
    let start = Parameters { noise: 1.0 + 1e-8, ..Parameters::ones(2) };
    close(improbability(&v, &start), number(&v["map_start_neg_log_posterior"]), 1e-9);
    let best = number(&v["map"]["neg_log_posterior"]);
    let first = Gp::fit(&observed(&v), None);
    let again = Gp::fit(&observed(&v), Some(&given(&v)));
    for gp in [first, again] {
        let found = improbability(&v, gp.parameters());
        assert!(found <= best + 1e-6, "{found}, the reference has {best}, at {:?}", gp.parameters());
    }
}

#[test]
fn the_next_point_is_the_references() {
    let v = vectors();
    let map = parameters(&v["map"]["lengthscales"], &v["map"]["scale"], &v["map"]["noise"]);
    let want = numbers(&v["next_point"]["x"]);
    for seed in 0..5 {
        let gp = Gp::new(&observed(&v), map.clone());
        let propose = |gp: &Gp| gp.propose(&mut Stream::new(seed, Purpose::Search, 12));
        let next = propose(&gp);
        assert_eq!(next, propose(&gp), "a function of history and draws");
        assert!(next.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-3), "{next:?}, wanted {want:?}");
        let ahead = gp.log_ei(&next) - number(&v["next_point"]["logei"]);
        assert!(ahead.abs() < 1e-6, "log EI off by {ahead:e}");
        // A fit of ours ends near enough.
        let next = propose(&Gp::fit(&observed(&v), None));
        assert!(next.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-3), "fitted: {next:?}, wanted {want:?}");
    }
}

#[test]
fn sobol_points_are_the_sequence_and_shifts_keep_its_evenness() {
    let sequence: Vec<Vec<f64>> = Points::new(2).take(7).collect();
    let known = [[0.0, 0.0], [0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.375, 0.375], [0.875, 0.875], [0.625, 0.125]];
    assert_eq!(sequence, known);
    let shifted =
        |seed| -> Vec<Vec<f64>> { Points::shifted(40, &mut Stream::new(seed, Purpose::Search, 0)).take(64).collect() };
    assert_eq!(shifted(3), shifted(3));
    assert_ne!(shifted(3), shifted(4));
    for j in 0..40 {
        let mut cells: Vec<usize> = shifted(3).iter().map(|x| (64.0 * x[j]) as usize).collect();
        cells.sort_unstable();
        assert!(cells.into_iter().eq(0..64), "one point in each sixty-fourth of coordinate {j}");
    }
}

#[test]
fn diverged_and_equal_values_are_taken() {
    let x: Vec<Vec<f64>> = Points::new(2).skip(1).take(4).collect();
    let clipped = Gp::fit(&seen(&x, &[1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), None);
    let plain = Gp::fit(&seen(&x, &[1.0, 1.0, 1.0, 1.0]), None);
    assert_eq!(clipped.posterior(&[0.3, 0.4]).0, plain.posterior(&[0.3, 0.4]).0);
    let diverged = Gp::fit(&seen(&x, &[1.0, f64::NAN, f64::INFINITY, 3.0]), None);
    let worst = Gp::fit(&seen(&x, &[1.0, 3.0, 3.0, 3.0]), None);
    assert_eq!(diverged.posterior(&[0.3, 0.4]), worst.posterior(&[0.3, 0.4]));
    let nothing = Gp::fit(&seen(&x, &[f64::NAN; 4]), None);
    assert!(nothing.propose(&mut Stream::new(0, Purpose::Search, 0)).iter().all(|x| (0.0..=1.0).contains(x)));
}

/// How far the best of so many values of Branin's function is above the minimum: ten points of the sequence, then the
/// process's.
fn regret(seed: u64, evaluations: usize, observe: impl Fn(Vec<f64>) -> Observation) -> f64 {
    let first = Points::shifted(2, &mut Stream::new(seed, Purpose::Search, 0)).take(10);
    let mut seen: Vec<Observation> = first.map(&observe).collect();
    while seen.len() < evaluations {
        let mut draws = Stream::new(seed, Purpose::Search, seen.len() as u32);
        seen.push(observe(Gp::fit(&seen, None).propose(&mut draws)));
    }
    seen.iter().map(|seen| seen.value).fold(f64::INFINITY, f64::min) - 0.397_887_357_729_738_16
}

#[test]
fn it_minimises_branins_function() {
    let observe = |point: Vec<f64>| Observation { value: branin(&point), point };
    let mut regrets: Vec<f64> = (0..30).map(|seed| regret(seed, 40, observe)).collect();
    regrets.sort_by(f64::total_cmp);
    assert!(regrets[15] <= 0.06, "{regrets:.4?}");
}
