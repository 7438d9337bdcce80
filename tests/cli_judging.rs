//! Whom `tune` is judged on, through the built program: folds, people who choose the iteration, random search beside it.

mod cli_support;

use cli_support::{Bench, bits, json, metrics};

/// In folds, each iteration costs as many trainings, and the network at the end is one of everybody.
#[test]
fn an_outer_loss_over_folds_is_paid_for_and_goes_on_after_an_interruption() {
    let bench = Bench::new();
    bench
        .tune("whole", "--folds 2 --device cpu")
        .exits(0)
        .says(&["Expected: about", "24 windows in 2 folds, 24 test windows"]);
    let lines = metrics(&bench.dir("whole"));
    let spent: Vec<f64> = lines.iter().map(|line| line["spent"].as_f64().unwrap()).collect();
    assert!((spent[1] - spent[0] - 2.0).abs() < 1e-9 && spent[0] > 6.0, "{spent:?}");
    let result = json(bench.dir("whole").join("result.json"));
    assert_eq!(result["configuration"]["folds"], 2);
    assert!(result["end"]["validation"]["loss"].is_number() && result["start"]["test"]["loss"].is_number());
    bench.tune("parts", "--folds 2 --device cpu --outer 1").exits(0);
    bench.resume("parts", "--outer 3").exits(0);
    assert!(bits(&bench.dir("whole")) == bits(&bench.dir("parts")));
    for (options, message) in [
        ("--folds 1", "`folds` is 1, but must be at least 2"),
        ("--folds 5", "`folds` is 5, but must be at most 4 here"),
        ("--folds 2 --hyperparameters lr,example-weights", "left out where example weights are tuned"),
        ("--folds 2 --selection-people 1", "`selection_people` is 1, but must be left out or 0 where there are folds"),
    ] {
        bench.tune("refused", options).exits(2).says(&[message]);
    }
}

/// People who are kept from the outer loss choose the iteration.
#[test]
fn selection_people_choose_the_iteration() {
    let bench = Bench::new();
    bench
        .tune("run", "--validation-subjects 1,3 --selection-people 1 --outer 6")
        .exits(0)
        .says(&["12 training, 12 validation (of which 6 choose the iteration), 24 test windows"]);
    let lines = metrics(&bench.dir("run"));
    let losses: Vec<f64> = lines.iter().map(|line| line["selection_loss"].as_f64().unwrap()).collect();
    let least = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
    let result = json(bench.dir("run").join("result.json"));
    assert_eq!(result["best_iteration"].as_u64(), Some(least as u64 + 1), "{losses:?}");
    assert_eq!(
        (&result["selection_loss"], &result["data"]["outer_windows"]),
        (&lines[least]["selection_loss"], &6.into())
    );
    // So many numbers fit the validation people by heart.
    bench.tune("many", "--validation-subjects 1,3,5 --hyperparameters lr,initial-weights").exits(0);
    assert!(metrics(&bench.dir("many"))[0]["selection_loss"].is_number());
    bench.tune("few", "--validation-subjects 1,3,5").exits(0);
    assert!(metrics(&bench.dir("few"))[0].get("selection_loss").is_none());
    let refused = bench.tune("refused", "--selection-people 1").exits(2);
    refused.says(&["`selection_people` is 1, but must be below 1, the number of people to validate on"]);
}

/// Random search at the same cost stands beside a run, and in its directory.
#[test]
fn random_search_is_compared_with_where_it_is_asked_for() {
    let bench = Bench::new();
    let compared = bench.tune("run", "--compare").exits(0);
    assert!(compared.stdout.contains("tuned      random"), "{}", compared.stdout);
    let [tuned, random] = ["result.json", "random.json"].map(|name| json(bench.dir("run").join(name)));
    assert_eq!(random["configuration"]["outer_method"], "random");
    assert_eq!(random["spent"].as_f64(), Some(tuned["spent"].as_f64().unwrap().round()));
    assert_eq!((&random["hypergradients"], &random["start"]["test"]), (&0.into(), &tuned["start"]["test"]));
    let better = random["best_outer_loss"].as_f64() < tuned["best_outer_loss"].as_f64();
    assert_eq!(compared.stdout.trim_start().starts_with("Random search did better"), better, "{}", compared.stdout);
    assert_eq!(metrics(&bench.dir("run")).len(), 3, "its own iterations alone");
}
