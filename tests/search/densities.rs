//! Densities, models and their choices: Parzen estimators, BOHB's, forests.

use serde_json::Value;
use stackelberg::search::bohb::Bohb;
use stackelberg::search::draws::{Occasion, Tape, stream};
use stackelberg::search::forest::{Forest, Leaves, Shape, Tree};
use stackelberg::search::history::{Event, History};
use stackelberg::search::parzen::{Kernels, Parzen, Rules, weights};
use stackelberg::search::smac::{encoded, log_expected_improvement};
use stackelberg::search::tpe::{best, good_count, split};
use stackelberg::search::{Domain, Point};

use crate::vectors::{
    all_close, categories, close, float, index, indices, int, number, numbers, relative, rows, space, vectors,
};

/// Points of one coordinate.
fn column(values: &[f64]) -> Vec<Vec<f64>> {
    values.iter().map(|value| vec![*value]).collect()
}

fn logs(density: &Parzen, points: &[f64]) -> Vec<f64> {
    points.iter().map(|x| density.log_density(&[*x])).collect()
}

/// Weights, centres and deviations sorted by centre, as hyperopt has them; of equal centres the prior's stands first.
fn sorted(density: &Parzen) -> [Vec<f64>; 3] {
    let Kernels::Numeric { centres, deviations } = density.kernels(0) else { panic!("numbers") };
    let last = centres.len() - 1;
    let mut order: Vec<usize> = std::iter::once(last).chain(0..last).collect();
    order.sort_by(|&a, &b| centres[a].total_cmp(&centres[b]));
    [density.weights(), centres, deviations].map(|all| order.iter().map(|&i| all[i]).collect())
}

#[test]
fn hyperopts_densities_are_the_references() {
    let Some(v) = vectors("tpe.json") else { return };
    let unit = float(0.0, 1.0, false);
    for (name, case) in v["hyperopt_uniform01"].as_object().unwrap() {
        let density = Parzen::new(Rules::Hyperopt, &[&unit], &column(&numbers(&case["obs"])));
        let [weights, centres, deviations] = sorted(&density);
        println!("{name}");
        all_close(&weights, &numbers(&case["weights"]), 1e-9);
        all_close(&centres, &numbers(&case["mus"]), 1e-9);
        all_close(&deviations, &numbers(&case["sigmas"]), 1e-9);
        all_close(&logs(&density, &numbers(&v["grid"])), &numbers(&case["lpdf"]), 1e-9);
    }
    let case = &v["hyperopt_loguniform"];
    let domain = float(number(&case["low"]), number(&case["high"]), true);
    let density = Parzen::new(Rules::Hyperopt, &[&domain], &column(&numbers(&case["obs"])));
    all_close(&sorted(&density)[2], &numbers(&case["sigmas"]), 1e-9);
    all_close(&logs(&density, &numbers(&case["x"])), &numbers(&case["lpdf"]), 1e-9);

    let case = &v["hyperopt_quniform_1_8"];
    let domain = int(1, 8, false);
    let density = Parzen::new(Rules::Hyperopt, &[&domain], &column(&numbers(&case["obs"])));
    all_close(&logs(&density, &numbers(&case["x"])), &numbers(&case["lpdf"]), 1e-9);

    let case = &v["hyperopt_categorical"];
    let want = numbers(&case["p"]);
    let domain = categories(want.len() as i64);
    let density = Parzen::new(Rules::Hyperopt, &[&domain], &column(&numbers(&case["obs"])));
    let got: Vec<f64> = (0..want.len()).map(|c| density.log_density(&[c as f64]).exp()).collect();
    all_close(&got, &want, 1e-9);
}

#[test]
fn optunas_densities_are_the_references() {
    let Some(v) = vectors("tpe.json") else { return };
    let domains = [float(0.0, 1.0, false), float(1e-4, 0.1, true), int(1, 8, false), int(4, 512, true), categories(3)];
    let domains: Vec<&Domain> = domains.iter().collect();
    let names = ["x", "lr", "n", "b", "c"];
    let case = &v["optuna_multivariate"];
    let transposed = |of: &Value| -> Vec<Vec<f64>> {
        let columns = names.map(|name| numbers(&of[name]));
        (0..columns[0].len()).map(|i| columns.iter().map(|column| column[i]).collect()).collect()
    };
    let (observed, samples) = (transposed(&case["obs"]), transposed(&case["samples"]));
    let density = Parzen::new(Rules::Optuna5, &domains, &observed);
    all_close(density.weights(), &numbers(&case["weights"]), 1e-9);
    for (j, name) in names.iter().enumerate() {
        match density.kernels(j) {
            Kernels::Numeric { centres, deviations } => {
                all_close(centres, &numbers(&case["mus_sigmas"][name][0]), 1e-9);
                all_close(deviations, &numbers(&case["mus_sigmas"][name][1]), 1e-9);
            }
            Kernels::Categorical(table) => {
                table.iter().zip(rows(&case["cat"])).for_each(|(got, want)| all_close(got, &want, 1e-9));
            }
        }
        let seen: Vec<f64> = observed.iter().map(|row| row[j]).collect();
        let along = Parzen::new(Rules::Optuna5, &domains[j..=j], &column(&seen));
        let at: Vec<f64> = samples.iter().map(|row| row[j]).collect();
        all_close(&logs(&along, &at), &numbers(&case[format!("log_pdf_{name}")]), 1e-9);
    }
    let joint = |density: &Parzen| samples.iter().map(|x| density.log_density(x)).collect::<Vec<f64>>();
    all_close(&joint(&density), &numbers(&case["log_pdf"]), 1e-9);
    let empty = Parzen::new(Rules::Optuna5, &domains, &[]);
    all_close(&joint(&empty), &numbers(&v["optuna_empty_log_pdf"]), 1e-9);
}

#[test]
fn sides_of_the_split_are_the_references() {
    let Some(v) = vectors("tpe.json") else { return };
    for (rules, name) in [(Rules::Hyperopt, "hyperopt_n_below"), (Rules::Optuna5, "optuna_n_below")] {
        for (n, want) in v[name].as_object().unwrap() {
            assert_eq!(good_count(rules, n.parse().unwrap()), index(want), "{name} {n}");
        }
    }
    all_close(&weights(30), &numbers(&v["weights_30"]), 1e-12);
    // Of two with the least value the first is taken.
    let history = History::of([3.0, 1.0, 2.0, 1.0, 5.0].map(|value| (Point(vec![]), 1, value)));
    let (good, others) = split(&history, good_count(Rules::Hyperopt, 5));
    let shares = |numbers: &[u64]| numbers.iter().map(|n| 0.1 * (n + 1) as f64).collect::<Vec<f64>>();
    all_close(&shares(&good), &numbers(&v["hyperopt_split_tie"]["below"]), 1e-9);
    all_close(&shares(&others), &numbers(&v["hyperopt_split_tie"]["above"]), 1e-9);
}

#[test]
fn what_was_stopped_comes_after_what_is_complete_and_what_runs_is_bad() {
    let mut history = History::of([(Point(vec![]), 9, 5.0)]);
    let mut trial = |reports: &[(u64, f64)], end: Option<fn(u64) -> Event>| {
        let trial = history.next();
        let attributes = Default::default();
        history.record(Event::Started { trial, point: Point(vec![]), budget: 9, attributes }).unwrap();
        reports.iter().for_each(|(step, value)| {
            history.record(Event::Reported { trial, step: *step, value: *value }).unwrap();
        });
        if let Some(end) = end {
            history.record(end(trial)).unwrap();
        }
    };
    trial(&[(3, 0.1)], Some(|trial| Event::Paused { trial }));
    trial(&[(6, 0.9)], Some(|trial| Event::Paused { trial }));
    trial(&[(6, 0.8)], Some(|trial| Event::Paused { trial }));
    trial(&[(8, 0.0)], None);
    trial(&[(8, 0.0)], Some(|trial| Event::Failed { trial }));
    for (good, want) in [(1, vec![0]), (2, vec![0, 3]), (3, vec![0, 2, 3]), (9, vec![0, 1, 2, 3])] {
        let (below, above) = split(&history, good);
        assert_eq!(below, want);
        assert!(above.contains(&4) && !above.contains(&5), "{above:?}");
    }
}

#[test]
fn among_given_candidates_the_choice_is_the_references() {
    let Some(v) = vectors("tpe.json") else { return };
    let unit = float(0.0, 1.0, false);
    let case = &v["optuna_choice"];
    let (points, losses) = (rows(&case["X"]), numbers(&case["y"]));
    let trials = points.iter().zip(&losses).map(|(x, y)| (Point(x.iter().copied().map(Some).collect()), 1, *y));
    let history = History::of(trials);
    let candidates = rows(&case["candidates"]);
    let choice = |rules: Rules, dimensions: &[usize], points: &[Vec<f64>]| {
        let (good, others) = split(&history, good_count(rules, points.len()));
        let part = |x: &Vec<f64>| dimensions.iter().map(|&j| x[j]).collect::<Vec<f64>>();
        let domains = vec![&unit; dimensions.len()];
        let side = |numbers: &[u64]| {
            let points: Vec<Vec<f64>> = numbers.iter().map(|&n| part(&points[n as usize])).collect();
            Parzen::new(rules, &domains, &points)
        };
        let (good_density, other_density) = (side(&good), side(&others));
        let candidates: Vec<Vec<f64>> = candidates.iter().map(part).collect();
        let scores: Vec<f64> =
            candidates.iter().map(|x| good_density.log_density(x) - other_density.log_density(x)).collect();
        let good: Vec<usize> = good.iter().map(|n| *n as usize).collect();
        (good, scores, best(&good_density, &other_density, &candidates))
    };
    let agrees = |rules: Rules, dimensions: &[usize], wanted: [&Value; 3]| {
        let [below, scores, best] = wanted;
        let near = |(got, want): (&f64, f64)| (got - want).abs() < 1e-9 * want.abs().max(1.0);
        orders(&points).iter().any(|points| {
            let got = choice(rules, dimensions, points);
            got.0 == indices(below) && got.2 == index(best) && got.1.iter().zip(numbers(scores)).all(near)
        })
    };
    assert!(agrees(Rules::Optuna5, &[0, 1], [&case["below"], &case["score"], &case["best"]]));
    let case = &v["hyperopt_choice"];
    for (j, name) in ["score_x", "score_y"].iter().enumerate() {
        assert!(agrees(Rules::Hyperopt, &[j], [&case["below"], &case[*name], &case["best"][j]]), "{name}");
    }
}

/// The points, and those with equal coordinates in every other order: NumPy's sort, which the references use, leaves it open
/// which of two equal observations stands beside which neighbour.
fn orders(points: &[Vec<f64>]) -> Vec<Vec<Vec<f64>>> {
    let mut all = vec![points.to_vec()];
    for j in 0..points[0].len() {
        for i in 0..points.len() {
            if points[..i].iter().any(|other| other[j] == points[i][j]) {
                let moved = all.iter().map(|points| {
                    let mut points = points.clone();
                    points[i][j] -= 1e-14;
                    points
                });
                all.extend(moved.collect::<Vec<_>>());
            }
        }
    }
    all
}

#[test]
fn densities_sum_to_one_and_draws_follow_them() {
    let domains = [float(0.0, 1.0, false), int(1, 8, false), categories(3)];
    let domains: Vec<&Domain> = domains.iter().collect();
    let seen = [[0.9, 2.0, 0.0], [0.1, 3.0, 2.0], [0.35, 7.0, 2.0]].map(|row| row.to_vec());
    for rules in [Rules::Optuna5, Rules::Hyperopt] {
        let density = Parzen::new(rules, &domains, &seen);
        let mut total = 0.0;
        // The midpoint rule along the dense dimension.
        for i in 0..400 {
            for n in 1..=8 {
                for c in 0..3 {
                    let x = [(f64::from(i) + 0.5) / 400.0, f64::from(n), f64::from(c)];
                    total += density.log_density(&x).exp() / 400.0;
                }
            }
        }
        assert!((total - 1.0).abs() < 1e-4, "{rules:?}: {total}");
        let mut draws = stream(5, 0, Occasion::Point);
        let drawn: Vec<Vec<f64>> = (0..4000).map(|_| density.draw(&mut draws)).collect();
        let along = Parzen::new(rules, &domains[1..2], &seen.clone().map(|row| vec![row[1]]));
        for n in 1..=8 {
            let share = drawn.iter().filter(|x| x[1] == f64::from(n)).count() as f64 / 4000.0;
            let want = along.log_density(&[f64::from(n)]).exp();
            // Five standard deviations of a share.
            assert!((share - want).abs() < 5.0 * (want / 4000.0).sqrt(), "{rules:?} {n}: {share}, wanted {want}");
        }
    }
}

#[test]
fn bohbs_model_is_the_references() {
    let Some(v) = vectors("bohb.json") else { return };
    // The reference sorts dimensions by name.
    let space = space([categories(3), float(1e-4, 0.1, true), float(0.0, 1.0, false)]);
    let names = ["relu", "tanh", "gelu"];
    let seen: Vec<(Point, f64)> = v["observations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|observation| {
            let (config, loss) = (&observation[0], number(&observation[1]));
            let category = names.iter().position(|name| config["act"] == *name).unwrap() as f64;
            (Point([category, number(&config["lr"]), number(&config["x"])].map(Some).to_vec()), loss)
        })
        .collect();
    let bohb = Bohb { clip: false, ..Bohb::default() };
    let has_model: Vec<bool> =
        (1..=seen.len()).map(|count| bohb.model(&space, &seen[..count], &mut Tape::default()).is_some()).collect();
    let want: Vec<bool> = v["has_model_after"].as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
    assert_eq!(has_model, want);
    let model = bohb.model(&space, &seen, &mut Tape::default()).unwrap();
    for (density, name) in [(&model.good, "good"), (&model.bad, "bad")] {
        assert_eq!(density.rows.len(), index(&v[name]["n"]));
        density.rows.iter().zip(rows(&v[name]["data"])).for_each(|(got, want)| all_close(got, &want, 1e-9));
        all_close(&density.bandwidths, &numbers(&v[name]["bw"]), 1e-9);
    }
    let candidates = rows(&v["candidates"]);
    for (i, x) in candidates.iter().enumerate() {
        relative(model.good.at(x), number(&v["l"][i]), 1e-9);
        relative(model.bad.at(x), number(&v["g"][i]), 1e-9);
        relative(model.score(x), number(&v["score_min"][i]), 1e-9);
    }
}

#[test]
fn smacs_targets_trees_and_acquisition_are_the_references() {
    let Some(v) = vectors("forest.json") else { return };
    let targets = encoded(&numbers(&v["encoding"]["y"]));
    all_close(&targets, &numbers(&v["encoding"]["log_scaled"]), 1e-9);

    let case = &v["tree_best"];
    // The reference keeps features in single precision.
    let single = |rows: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        rows.into_iter().map(|row| row.into_iter().map(|x| f64::from(x as f32)).collect()).collect()
    };
    let (inputs, test) = (single(rows(&case["X"])), single(rows(&case["test"])));
    for (leaves, name) in [(Leaves::Mean, "mean_leaf"), (Leaves::LogMeanExp, "log_mean_exp_leaf")] {
        let shape = Shape { features: 3, leaves, ..Shape::smac(3) };
        let tree = Tree::new(shape, &inputs, &targets, &vec![1.0; targets.len()], &mut Tape::default());
        assert_eq!(tree.leaves(), index(&case["n_leaves"]));
        let (feature, threshold) = tree.root().unwrap();
        assert_eq!(feature, index(&case["root"][0]));
        close(threshold, number(&case["root"][1]), 1e-7);
        let got: Vec<f64> = test.iter().map(|x| tree.at(x)).collect();
        all_close(&got, &numbers(&case[name]), 1e-9);
    }

    let case = &v["log_ei"];
    let (means, variances, best) = (numbers(&case["mean"]), numbers(&case["var"]), number(&case["f_min"]));
    let got: Vec<f64> =
        means.iter().zip(&variances).map(|(mean, variance)| log_expected_improvement(*mean, *variance, best)).collect();
    for (got, want) in got.iter().zip(numbers(&case["ei"])) {
        assert!((got - want).abs() <= 1e-9 * want.abs().max(1e-9), "{got}, wanted {want}");
    }

    let case = &v["forest_band"];
    let (test, want) = (rows(&case["test"]), numbers(&case["mean_of_means"]));
    let count = case["seeds"].as_u64().unwrap();
    let mut means = vec![0.0; test.len()];
    for seed in 0..count {
        let mut draws = stream(seed, 0, Occasion::Point);
        let forest = Forest::new(10, Shape::smac(3), &inputs, &targets, &mut draws);
        test.iter().zip(&mut means).for_each(|(x, mean)| *mean += forest.belief(x).0 / count as f64);
    }
    for (i, mean) in means.iter().enumerate() {
        // Four standard errors of the difference of two means over as many seeds.
        let error = number(&case["sd_of_means"][i]) * (2.0 / count as f64).sqrt();
        assert!((mean - want[i]).abs() < 4.0 * error, "{mean}, wanted {} ± {error}", want[i]);
    }
}
