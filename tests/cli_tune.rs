//! `tune` through the built program: what it writes, and what it says when something is wrong.

mod cli_support;

use std::fs;
use std::path::Path;

use cli_support::{Bench, bits, json, metrics, program, run, tiny_data, tune};

#[test]
fn a_run_leaves_a_complete_record() {
    let bench = Bench::new();
    let outcome = bench.tune("run", "--seed 7").exits(0);
    assert!(outcome.stdout.contains("Tuned in 3 outer iterations"), "{}", outcome.stdout);
    outcome.says(&[
        "Device: f64 on the processor",
        "18 training, 6 validation, 24 test windows",
        "Outer optimiser: probe-descent (",
        "3    5.6/72   outer loss",
    ]);
    let directory = bench.dir("run");
    let lines = metrics(&directory);
    assert_eq!(lines.len(), 3);
    for (k, line) in lines.iter().enumerate() {
        assert_eq!((&line["iteration"], &line["differentiated"]), (&(k + 1).into(), &(k == 0).into()));
        assert!(line["outer_loss"].as_f64().unwrap() > 0.0);
        for name in ["learning_rate", "momentum", "l2.conv1", "l2.conv2", "l2.dense1", "l2.dense2"] {
            assert!(line["hyperparameters"][name].as_f64().unwrap() > 0.0, "{name} in {line}");
            // The first is followed by tries along it.
            let derivative = line["hypergradient"][name].as_f64();
            assert!(if k == 0 { derivative.unwrap() != 0.0 } else { derivative.is_none() }, "{name} in {line}");
        }
        for count in ["seconds", "peak_bytes", "dispatches", "submits", "readbacks"] {
            assert!(line[count].as_f64().unwrap() > 0.0, "{count} in {line}");
        }
    }
    let result = json(directory.join("result.json"));
    for (key, value) in [("engine", "reference"), ("ending", "finished"), ("version", env!("CARGO_PKG_VERSION"))] {
        assert_eq!(result[key], value);
    }
    assert_eq!(
        (&result["seed"], &result["iterations"], &result["data"]["subset"]),
        (&7.into(), &3.into(), &false.into())
    );
    for point in ["start", "end"] {
        for set in ["train", "validation", "test"] {
            assert!(result[point][set]["loss"].is_number() && result[point][set]["accuracy"].is_number());
        }
        let classes = &result[point]["test_classes"];
        let counted: u64 = classes["confusion"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|r| r.as_array().unwrap())
            .map(|n| n.as_u64().unwrap())
            .sum();
        assert_eq!(counted, 24);
        assert_eq!(classes["classes"].as_array().unwrap().len(), 6);
    }
    let best = result["best_iteration"].as_u64().unwrap() as usize;
    assert_eq!(result["best_outer_loss"], lines[best - 1]["outer_loss"]);
    let losses = lines.iter().map(|l| l["outer_loss"].as_f64().unwrap());
    assert_eq!(result["best_outer_loss"].as_f64(), losses.reduce(f64::min));

    let bytes = fs::read(directory.join("model.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(model.len(), 8);
    assert_eq!(model.tensor("conv1.kernel").unwrap().shape(), [3, 9, 8]);
    assert!(fs::read_to_string(directory.join("run.toml")).unwrap().contains("seed = 7"));
}

#[test]
fn run_toml_repeats_the_run() {
    let bench = Bench::new();
    bench.tune("a", "--hyperparameters lr,example-weights --dropout 0.25 --validation-subjects 3").exits(0);
    let settings = bench.dir("a").join("run.toml");
    run(program("tune --out").arg(bench.dir("b")).arg("--config").arg(&settings)).exits(0);
    assert_eq!(bits(&bench.dir("a")), bits(&bench.dir("b")));
    let weights = &metrics(&bench.dir("b"))[2]["hyperparameters"];
    assert!(weights["example_weights.min"].as_f64() < weights["example_weights.max"].as_f64(), "{weights}");
    // An option overrides the file.
    run(program("tune --seed 1 --out").arg(bench.dir("c")).arg("--config").arg(&settings)).exits(0);
    assert_ne!(bits(&bench.dir("a")).1, bits(&bench.dir("c")).1);
}

#[test]
fn a_directory_holds_one_run() {
    let bench = Bench::new();
    bench.tune("run", "--outer 1").exits(0);
    let before = bits(&bench.dir("run"));
    bench.tune("run", "--outer 1").exits(2).says(&["already holds a run", "--resume", "new --out"]);
    assert_eq!(before, bits(&bench.dir("run")));
    bench.resume("nothing", "").exits(2).says(&["holds no run to resume", "--out"]);
    bench.resume("run/run.toml", "").exits(2).says(&["run.toml is a file, and a run is a directory"]);
    let steps = bench.resume("run", "--steps 4").exits(2);
    steps.says(&["--steps was given, and run.toml has `steps = 3`", "run.toml", "--config"]);
    bench.resume("run", "--outer 3 --seed 1").exits(2).says(&["--seed was given, and run.toml has `seed = 0`"]);
    // What follows from an option was not given.
    for optimizer in ["adam", "sgd"] {
        let refused = bench.resume("run", &format!("--optimizer {optimizer}")).exits(2);
        refused.says(&["--optimizer was given, and run.toml has `optimizer = \"momentum\"`", "leave --optimizer out"]);
    }
    fs::create_dir(bench.dir("mine")).unwrap();
    fs::write(bench.dir("mine").join("result.json"), "mine").unwrap();
    let foreign = bench.tune("mine", "--outer 1").exits(2).says(&["result.json is in the way"]);
    assert!(!foreign.stderr.contains("--resume"), "there is nothing to resume:\n{}", foreign.stderr);
}

#[test]
fn a_budget_too_small_is_refused_with_the_one_that_fits() {
    let bench = Bench::new();
    let needed = bench.least_budget("--steps 8");
    bench.tune("fits", &format!("--steps 8 --outer 1 --memory-budget {needed}")).exits(0);
    bench.tune("not", &format!("--steps 8 --outer 1 --memory-budget {}", needed - 1)).exits(2).says(&["is too small"]);
    assert!(!bench.dir("not").exists(), "a run that cannot begin leaves nothing behind");
    bench.tune("not", "--outer 1").exits(0);
}

/// Methods that have no states to spare are held to the budget, too.
#[test]
fn every_method_keeps_to_the_budget() {
    let bench = Bench::new();
    for method in ["forward", "truncated:2", "implicit:5", "fixed-point:5"] {
        let penalties = "--outer 1 --dropout 0 --batch 18 --hyperparameters l2";
        let more = format!("{penalties} --method {method} --memory-budget");
        let refused = bench.tune("never", &format!("{more} 1KiB")).exits(2);
        let refused = refused.says(&["a memory budget of 1.0 KiB is too small"]);
        assert!(!bench.dir("never").exists(), "{method} leaves nothing behind");
        if method != "truncated:2" {
            let bytes = refused.stderr.split('(').nth(1).and_then(|rest| rest.split_whitespace().next());
            let needed: u64 = bytes.expect("the bytes needed").parse().expect("a number");
            bench.tune("never", &format!("{more} {}", needed - 1)).exits(2);
            run(&mut tune(&bench.data, &format!("{more} {needed}"))).exits(0);
        }
    }
}

/// Momentum first acts in the second step.
#[test]
fn a_derivative_that_is_exactly_zero_is_explained() {
    let bench = Bench::new();
    let one = bench.tune("one", "--steps 1 --outer 1").exits(0);
    one.says(&["the derivative by momentum is exactly 0", "in the second training step"]);
    let two = bench.tune("two", "--steps 2 --outer 1").exits(0);
    assert!(!two.stderr.contains("exactly 0"), "{}", two.stderr);
}

#[test]
fn wrong_settings_name_the_field_and_the_way_out() {
    let bench = Bench::new();
    let cases = [
        ("--steps 0", ["`steps` is 0", "at least 1"]),
        ("--outer 0", ["`outer` is 0", "at least 1"]),
        ("--batch 0", ["`batch` is 0", "64 is the usual size"]),
        ("--batch 19", ["`batch` is 19, but must be at most 18", "smaller batch"]),
        ("--learning-rate=-1", ["`learning_rate` is -1", "above 0"]),
        ("--learning-rate -1", ["`learning_rate` is -1", "above 0"]),
        ("--steps 4000000000", ["`steps` is 4000000000", "at most 1000000"]),
        ("--outer-rate 1e300", ["`outer_rate` is 1", "at most 88"]),
        ("--learning-rate nan", ["`learning_rate` is NaN", "finite"]),
        ("--momentum 1", ["`momentum` is 1", "below 1"]),
        ("--dropout 1", ["`dropout` is 1", "0 switches it off"]),
        ("--jitter 1e30", ["`jitter` is 1e30", "0, or from 1e-30 to 10"]),
        ("--scaling 1e30", ["`scaling` is 1e30", "0.1 changes each channel"]),
        ("--l2 1e-60", ["`l2` is 1e-60", "finite in single precision"]),
        ("--optimizer adam --betas 0.9,1", ["`betas` is 1", "two numbers above 0"]),
        ("--betas 0.9", ["0.9", "two numbers with a comma"]),
        ("--betas 0.8,0.99", ["`betas` is 0.8,0.99", "take optimizer adam"]),
        (
            "--optimizer sgd --momentum 0.9",
            ["`momentum` is 0.9", "has no momentum: take optimizer momentum, heavy-ball or nesterov"],
        ),
        ("--example-weight-rate 1", ["`example_weight_rate` is 1", "name example-weights"]),
        ("--hyperparameters lr,lr", ["`hyperparameters` is lr,lr", "each once"]),
    ];
    for (more, texts) in cases {
        let outcome = bench.tune("never", more).exits(2).says(&texts);
        assert!(!outcome.stderr.contains("Device:"), "{more} is known to be wrong without a device");
        assert!(!bench.dir("never").exists(), "{more} leaves nothing behind");
    }
    bench.tune("never", "--validation-subjects 1,7").exits(2).says(&["validation subjects [7] are not in the data"]);
    assert!(!bench.dir("never").exists());
}

#[test]
fn a_wrong_configuration_file_is_shown_in_place() {
    let bench = Bench::new();
    let file = bench.dir("mine.toml");
    let with = |text: &str| {
        fs::write(&file, text).unwrap();
        run(program("tune --config").arg(&file)).exits(2)
    };
    with("steps = 5\nstepz = 6\n").says(&[
        "mine.toml has a mistake in line 2, column 1",
        "unknown field `stepz`",
        "stepz = 6",
        "schema configuration",
    ]);
    with("steps = \"many\"\n").says(&["line 1, column 9", "invalid type"]);
    with("steps = 5\n[[[\n").says(&["mine.toml has a mistake in line 2"]);
    with("batch = 0\n").says(&["`batch` is 0"]);
    fs::write(&file, [0xff, 0xfe]).unwrap();
    run(program("tune --config").arg(&file)).exits(2).says(&["cannot read the configuration", "mine.toml"]);
    run(program("tune --config").arg(bench.dir("none.toml")))
        .exits(2)
        .says(&["cannot read the configuration", "none.toml"]);
}

#[test]
fn wrong_data_name_file_and_line() {
    let bench = Bench::new();
    let again = |file: &str, change: &dyn Fn(String) -> String| {
        let path = bench.data.join(file);
        let original = fs::read_to_string(&path).unwrap();
        fs::write(&path, change(original.clone())).unwrap();
        let outcome = bench.tune("never", "").exits(1);
        fs::write(&path, original).unwrap();
        assert!(!bench.dir("never").join("run.toml").exists());
        outcome
    };
    let signal = "train/Inertial Signals/body_gyro_y_train.txt";
    let nan = |text: String| {
        let (first, rest) = text.split_once('\n').unwrap();
        format!("{first}\n NaN{}", &rest[rest[1..].find(' ').unwrap() + 1..])
    };
    again(signal, &nan).says(&["body_gyro_y_train.txt, line 2, number 1", "`NaN` is not a finite number"]);
    again(signal, &|text| text[..text.len() / 2].to_owned()).says(&["body_gyro_y_train.txt"]);
    again("train/y_train.txt", &|text| text.replacen('6', "9", 1)).says(&["y_train.txt, line 6", "`9` is not a label"]);
    again("test/subject_test.txt", &|_| String::new()).says(&["subject_test.txt is empty"]);
    fs::remove_file(bench.data.join("test/y_test.txt")).unwrap();
    bench.tune("never", "").exits(1).says(&["y_test.txt"]);
    run(program("tune --data").arg(bench.dir("nowhere"))).exits(2).says(&["nowhere"]);
    run(&mut program("tune --data=")).exits(2).says(&["`data` is empty", "a variable that is not set", "Leave it out"]);
    run(program("tune").args(["--data", " "])).exits(2).says(&["`data` is empty"]);
    fs::write(bench.dir("x.zip"), b"PK\x03\x04 no zip").unwrap();
    run(program("tune --data").arg(bench.dir("x.zip"))).exits(1).says(&["x.zip", "damaged"]);
}

#[test]
fn activities_that_cannot_be_learnt_are_named() {
    let bench = Bench::new();
    let labels = bench.data.join("train/y_train.txt");
    // Persons 1, 3, 5 and 6 have a window of each activity; person 1 is validated on.
    let text = fs::read_to_string(&labels).unwrap();
    let (first, rest) = text.split_at(12);
    fs::write(&labels, format!("{first}{}", rest.replace('4', "5"))).unwrap();
    bench.tune("run", "--outer 1").exits(0).says(&["no training person has a window of sitting"]);
    for part in ["train", "test"] {
        fs::write(bench.data.join(format!("{part}/y_{part}.txt")), "3\n".repeat(24)).unwrap();
    }
    bench.tune("single", "--outer 1").exits(0).says(&["all windows are of one activity (walking downstairs)"]);
}

/// A processor that stands in for a GPU is slower than the processor, and to find that out takes seconds.
#[test]
fn a_software_adapter_is_not_timed() {
    let bench = Bench::new();
    let told = bench.tune("run", "--device auto --outer 1").exits(0).says(&["Device: "]);
    assert!(!told.stderr.contains("standing in for a GPU"), "{}", told.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_processor_is_taken() {
    let bench = Bench::new();
    let mut command = program("tune --steps 2 --outer 1 --batch 4 --data");
    command.arg(&bench.data).arg("--out").arg(bench.dir("run"));
    command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
    run(&mut command).exits(0).says(&["Device: processor with"]);
    let settings = fs::read_to_string(bench.dir("run").join("run.toml")).unwrap();
    assert!(settings.contains("device = \"cpu\""), "what was taken is named:\n{settings}");
    run(&mut tune(&bench.data, "--device no-such-card"))
        .exits(2)
        .says(&["no usable device `no-such-card`", "auto, cpu, reference"]);
}

#[test]
fn the_next_sample_can_be_learnt_instead_of_the_activity() {
    let root = tempfile::tempdir().unwrap();
    let tune = |task: &str, directory: &Path| {
        let settings = "--data subset --steps 3 --outer 2 --batch 16 --validation-windows 64 --device cpu";
        let mut command = program(&format!("tune --task {task} {settings} --out"));
        (run(command.arg(directory)).exits(0), json(directory.join("result.json")))
    };
    for task in ["prediction", "prediction-linear"] {
        let (outcome, result) = tune(task, &root.path().join(task));
        for text in ["test loss", "predicting the last sample again", "the training mean"] {
            assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
        }
        assert!(!outcome.stdout.contains("accuracy") && !outcome.stdout.contains("F1"), "{}", outcome.stdout);
        assert!(result["end"]["test_classes"].is_null() && result["end"]["test"]["accuracy"].is_null());
        assert_eq!(result["configuration"]["task"], task);
        let trivial = |name: &str| result["trivial"][name].as_f64().unwrap();
        assert!(0.0 < trivial("last_sample") && trivial("last_sample") < trivial("training_mean"));
    }
    let (outcome, result) = tune("classification-mse", &root.path().join("mse"));
    assert!(outcome.stdout.contains("test accuracy") && result["trivial"].is_null());
    let loss = result["start"]["test"]["loss"].as_f64().unwrap();
    assert!(loss > 0.0 && loss < 2.0, "the squared error of six outputs: {loss}");
    run(&mut program(&format!("report {0} {0} --out {0}", root.path().join("prediction").display()))).exits(0);

    let data = tiny_data(root.path());
    run(&mut cli_support::tune(&data, "--task prediction"))
        .exits(2)
        .says(&["no train window is continued by the next one of the same person", "take the task `classification`"]);
}

/// A run whose outer loss does not fall any more ends by itself, and goes on with more patience.
#[test]
fn patience_ends_a_run() {
    let bench = Bench::new();
    // A second step of this length goes far over the edge.
    bench.tune("run", "--outer 40 --outer-rate 3 --patience 2").exits(0);
    let result = json(bench.dir("run").join("result.json"));
    let (last, best) = (result["iterations"].as_u64().unwrap(), result["best_iteration"].as_u64().unwrap());
    assert!(last < 40 && last > best && result["settled"] == true, "{last} {best}");
    let lines = metrics(&bench.dir("run"));
    let losses: Vec<f64> = lines.iter().map(|line| line["outer_loss"].as_f64().unwrap_or(f64::INFINITY)).collect();
    let again = bench.resume("run", "--patience 4").exits(0);
    assert!(again.stdout.contains("the last 4 trainings lowered the outer loss by less than 1 %"), "{}", again.stdout);
    assert!(metrics(&bench.dir("run")).len() > lines.len(), "more patience goes on");
    assert!(losses[best as usize..].iter().all(|loss| *loss >= losses[best as usize - 1]), "{losses:?}");
}

/// Exact methods go through the same points; others through others.
#[test]
fn methods_are_chosen_by_name() {
    let bench = Bench::new();
    let losses = |name: &str, method: &str| {
        bench.tune(name, &format!("--method {method}")).exits(0);
        let losses = metrics(&bench.dir(name)).into_iter().map(|line| line["outer_loss"].as_f64().unwrap());
        losses.collect::<Vec<_>>()
    };
    let reverse = losses("reverse", "reverse");
    for (a, b) in reverse.iter().zip(losses("forward", "forward")) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
    let truncated = losses("truncated", "truncated:1");
    assert_eq!(truncated[0], reverse[0]);
    assert!((truncated[2] - reverse[2]).abs() > 1e-6, "{truncated:?} {reverse:?}");
    let refused = bench.tune("implicit", "--method implicit:5 --dropout 0").exits(2);
    refused.says(&["gives no derivative in the learning rate", "Take reverse mode"]);
    bench.tune("penalties", "--method implicit:5 --dropout 0 --hyperparameters l2").exits(0).says(&["residual"]);
    assert!(metrics(&bench.dir("penalties"))[0]["residual"].as_f64().unwrap() > 0.0);
    assert!(metrics(&bench.dir("reverse"))[0]["residual"].is_null());
    bench.tune("wrong", "--method backward").exits(2).says(&["`backward` is no method", "truncated:K"]);
}

/// Without a list, what is tuned follows the optimizer; a run's file names it.
#[test]
fn every_optimizer_has_its_own_usual_hyperparameters() {
    let bench = Bench::new();
    let cases = [
        ("sgd", "", &["learning_rate", "l2.conv1"][..]),
        ("adam", "--betas 0.8,0.99 --epsilon 1e-3", &["learning_rate", "beta1", "beta2"]),
    ];
    for (optimizer, more, names) in cases {
        bench.tune(optimizer, &format!("--outer 1 --optimizer {optimizer} {more}")).exits(0);
        let line = &metrics(&bench.dir(optimizer))[0];
        for name in names {
            assert!(line["hypergradient"][name].as_f64().unwrap() != 0.0, "{name} in {line}");
        }
        assert!(line["hyperparameters"]["momentum"].is_null(), "{line}");
    }
    let adam = &metrics(&bench.dir("adam"))[0]["hyperparameters"];
    for (name, value) in [("beta1", 0.8), ("beta2", 0.99), ("epsilon", 1e-3)] {
        assert!((adam[name].as_f64().unwrap() / value - 1.0).abs() < 1e-9, "{name} in {adam}");
    }
    let kinds = &json(bench.dir("adam").join("result.json"))["configuration"]["hyperparameters"];
    assert_eq!(*kinds, serde_json::json!(["lr", "betas", "l2"]));
    bench.resume("adam", "--outer 2").exits(0);

    // A report finds runs in folders below.
    let page = bench.dir("page");
    run(program("report").arg(bench.root.path()).arg("--out").arg(&page)).exits(0);
    assert_eq!(json(page.join("report.json"))["runs"].as_array().unwrap().len(), 2);
    run(program("report").arg(bench.root.path().parent().unwrap().join("none")).arg("--out").arg(&page)).exits(2);
}

/// What else can be tuned is tuned, and recorded under its name.
#[test]
fn every_kind_of_hyperparameter_is_tuned_by_name() {
    let bench = Bench::new();
    let cases = [
        (
            "momentum",
            "lr,lr-layers,lr-schedule,dropout,jitter,scaling,initial-scale,l2-global",
            &["lr_layers.conv1", "lr_schedule.norm", "dropout", "jitter", "scaling", "initial_scale", "l2"][..],
        ),
        (
            "adam",
            "lr,betas,epsilon,initial-weights,example-weights",
            &["beta1", "beta2", "epsilon", "initial_weights.norm", "example_weights.norm"],
        ),
    ];
    for (optimizer, kinds, names) in cases {
        bench.tune(optimizer, &format!("--optimizer {optimizer} --hyperparameters {kinds}")).exits(0);
        let line = &metrics(&bench.dir(optimizer))[0];
        for name in names {
            assert!(line["hypergradient"][name].as_f64().unwrap() != 0.0, "{name} in {line}");
        }
    }
    let refused = bench.tune("none", "--optimizer sgd --hyperparameters lr,momentum").exits(2);
    refused.says(&["hyperparameters", "without momentum, which this training does not have"]);
}
