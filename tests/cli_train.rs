//! `stackelberg train` through the built program.

mod cli_support;

use cli_support::{Bench, program, run};
use serde_json::Value;

#[test]
fn a_training_is_scored_for_people_and_for_programs() {
    let bench = Bench::new();
    let train = |more: &str| {
        let mut command = program("train --steps 30 --batch 4 --momentum 0.9 --learning-rate 0.01 --device cpu");
        command.arg("--data").arg(&bench.data).args(more.split_whitespace());
        run(&mut command)
    };
    let told = train("").exits(0).says(&["Device: ", "Expected: about"]);
    for text in ["Trained 30 training steps", "validation accuracy", "test loss", " %"] {
        assert!(told.stdout.contains(text), "no `{text}` in\n{}", told.stdout);
    }
    let json =
        |more: &str| -> Value { serde_json::from_str(&train(&format!("--json {more}")).exits(0).stdout).unwrap() };
    let trained = json("");
    assert_eq!((&trained["steps"], &trained["diverged"]), (&Value::from(30), &Value::from(false)));
    assert_eq!(trained["settings"]["momentum"], 0.9);
    assert!(trained["settings"].get("outer").is_none() && trained["engine"] == "cpu");
    let metrics = &trained["metrics"];
    assert!(metrics["test_loss"].as_f64().unwrap() > 0.0 && metrics["outer_loss"].as_f64().unwrap() > 0.0);
    assert_eq!(json("")["metrics"], *metrics, "the same seed gives the same bits");
    assert_ne!(json("--seed 1")["metrics"], *metrics);
}

#[test]
fn a_learning_rate_that_moves_is_reported() {
    let bench = Bench::new();
    let train = |more: &str| -> Value {
        let mut command = program("train --json --steps 20 --batch 4 --learning-rate 0.01 --device cpu");
        command.arg("--data").arg(&bench.data).args(more.split_whitespace());
        serde_json::from_str(&run(&mut command).exits(0).stdout).unwrap()
    };
    let moved = train("--optimizer heavy-ball-hd --hypergradient-rate 1e-5 --momentum-hypergradient-rate 1e-5");
    assert_eq!((&moved["settings"]["decay"], &moved["settings"]["hypergradient_rate"]), (&"none".into(), &1e-5.into()));
    let of = |name: &str| moved["metrics"][name].as_f64().unwrap();
    for (number, start) in [("learning_rate", 0.01), ("momentum", 0.7)] {
        let [last, mean, min, max] = ["last", "mean", "min", "max"].map(|what| of(&format!("{number}.{what}")));
        assert!(
            min <= last.min(start + 1e-6) && mean <= max && last <= max && last != start,
            "{number}: {last} {mean}"
        );
    }
    let stays = train("--optimizer heavy-ball");
    assert!(stays["metrics"].get("learning_rate.last").is_none() && stays["settings"]["decay"] == "tail");
    let refused = program("train --optimizer heavy-ball-hd-cosine --momentum 0.5 --device cpu");
    run(&mut { refused }).exits(2).says(&["`momentum` is 0.5", "above 0.7 and below 0.99"]);
}

#[test]
fn what_a_training_does_not_look_at_is_refused() {
    for (option, value) in [("--outer", "3"), ("--method", "forward"), ("--outer-rate", "0.1"), ("--patience", "2")] {
        let told = run(&mut program(&format!("train --quick {option} {value}"))).exits(2);
        told.says(&[&format!("train takes no {option}"), "stackelberg tune"]);
    }
    run(&mut program("train --quick --steps 0")).exits(2).says(&["`steps` is 0", "at least 1"]);
    run(&mut program("train --quick --learning-rate nan")).exits(2).says(&["`learning_rate` is NaN", "above 0"]);
}

#[test]
fn a_training_that_diverges_says_so() {
    let bench = Bench::new();
    let mut command = program("train --steps 30 --batch 4 --learning-rate 1e20 --device cpu --data");
    let told = run(command.arg(&bench.data)).exits(1);
    assert!(told.stdout.contains("Training diverged") && told.stdout.contains("--learning-rate"), "{}", told.stdout);
}
