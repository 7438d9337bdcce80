//! The commands that do not train, through the built program.

// Long because every command that does not train is tried here.

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};

use cli_support::{Bench, json, program, run};
use serde_json::Value;

#[test]
fn help_tells_a_newcomer_where_to_start() {
    let help = run(&mut program("--help")).exits(0).stdout;
    for text in [
        "hypergradient",
        "stackelberg tune --quick",
        "devices",
        "advise",
        "check-gradient",
        "tune",
        "train",
        "worker",
        "ask",
        "verify",
        "explain",
        "profile",
        "schema",
        "experiment",
        "data",
        "report",
    ] {
        assert!(help.contains(text), "no `{text}` in\n{help}");
    }
    let help = run(&mut program("tune --help")).exits(0).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let flags = [
        "quick",
        "data",
        "network",
        "steps",
        "outer",
        "batch",
        "hyperparameters",
        "memory-budget",
        "seed",
        "device",
        "out",
        "config",
        "resume",
    ];
    for flag in flags {
        assert!(help.contains(&format!("--{flag}")), "no --{flag} in\n{help}");
    }
    // What `--quick` sets besides the defaults is what its help says.
    for option in ["--data subset", "--budget 36", "--steps 100", "--validation-windows 128"] {
        assert!(help.contains(option), "no {option} in\n{help}");
    }
    for default in ["[default: 200]", "[default: lr,momentum,l2]", "[default: 1GiB]"] {
        assert!(help.contains(default), "no {default} in\n{help}");
    }
}

#[test]
fn defaults_in_the_help_are_the_defaults() {
    let help = run(&mut program("tune --help")).exits(0).stdout;
    let help: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let schema: Value = serde_json::from_str(&run(&mut program("schema configuration")).exits(0).stdout).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let numbers = properties.iter().filter(|(_, p)| p["default"].is_number());
    let mut seen = 0;
    for (key, property) in numbers {
        let flag = format!("--{} <", key.replace('_', "-"));
        let about = help.split(&flag).nth(1).unwrap_or_else(|| panic!("no {flag}"));
        let default = about.split("[default: ").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
        assert_eq!(default.parse::<f64>().ok(), property["default"].as_f64(), "{key}");
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} numbers");
}

/// The help and the schema have the same texts, formulas among them.
#[test]
fn the_help_says_what_the_schema_says() {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = flat(&run(&mut program("tune --help")).exits(0).stdout);
    let schema: Value = serde_json::from_str(&run(&mut program("schema configuration")).exits(0).stdout).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for (key, property) in properties.iter().filter(|(key, _)| *key != "split") {
        let description = property["description"].as_str().unwrap_or_else(|| panic!("{key} has no description"));
        assert!(help.contains(&flat(description)), "the help does not say of {key}: {description}\n{help}");
    }
    for formula in ["√(v̂ + ε²)", "½ λ ‖W‖²", "v ← μ v + g, w ← w − η v", "w ← w − η (g + μ v)", "√(p / (1 − p))"]
    {
        assert!(help.contains(formula), "no {formula} in\n{help}");
    }
    let kinds = schema["$defs"]["Kind"].to_string();
    assert!(kinds.contains("initial-scale") && !kinds.contains("regularizer"), "what is always refused: {kinds}");
}

#[test]
fn every_command_with_a_device_names_the_choices() {
    for command in ["tune", "train", "advise", "verify", "experiment"] {
        let help = run(&mut program(&format!("{command} --help"))).exits(0).stdout;
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for choice in ["`auto`", "`cpu`", "`reference`", "stackelberg devices"] {
            assert!(help.contains(choice), "{command} does not name {choice}:\n{help}");
        }
    }
}

#[test]
fn the_help_says_what_the_exit_status_means() {
    let help = run(&mut program("--help")).exits(0).stdout;
    let status = help.split("Exit status:").nth(1).unwrap_or_else(|| panic!("no exit status in\n{help}"));
    for (code, meaning) in [("0", "done"), ("1", "the answer is no"), ("2", "command line"), ("3", "tell nothing")] {
        let line = status.lines().find(|line| line.trim_start().starts_with(code)).expect("a line for each");
        assert!(line.contains(meaning), "{code}: {line}");
    }
    assert!(["129", "130", "143"].iter().all(|code| status.contains(code)), "{status}");
}

/// Another command line would have helped: 2, whatever noticed it.
#[test]
fn what_was_given_wrongly_exits_with_2() {
    let root = tempfile::tempdir().unwrap();
    let nowhere = root.path().join("nowhere").display().to_string();
    for arguments in [
        "explain --data subset --validation-subjects 31".to_owned(),
        "explain --data subset --validation-subjects 2 --test-subjects 2".to_owned(),
        "explain --data subset --memory-budget 1".to_owned(),
        "explain --data subset --method forward --memory-budget 1KiB".to_owned(),
        "explain --data subset --method implicit:5 --dropout 0".to_owned(),
        format!("explain --data {nowhere}"),
        format!("explain --config {nowhere}"),
        format!("report {nowhere}"),
        format!("tune --resume {nowhere}"),
    ] {
        run(&mut program(&arguments)).exits(2);
    }
    run(&mut program("explain --data subset --memory-budget 1"))
        .exits(2)
        .says(&["a memory budget of 1 byte is too small"]);
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in
        ["", "tun", "tune --steps", "tune --steps x", "tune --network wide", "verify", "tune --resume a --out b"]
    {
        run(&mut program(arguments)).exits(2);
    }
    run(&mut program("tune --hyperparameters lr,foo")).exits(2).says(&["foo", "example-weights"]);
    run(&mut program("tune --memory-budget lots")).exits(2).says(&["`lots` is no size", "512MiB"]);
}

#[test]
fn schemas_cover_what_runs_write() {
    let all: Value = serde_json::from_str(&run(&mut program("schema")).exits(0).stdout).unwrap();
    for (part, key) in [
        ("configuration", "memory_budget"),
        ("metrics", "hypergradient"),
        ("result", "test"),
        ("worker-request", "budget"),
        ("worker-reply", "outer_loss"),
        ("ask-request", "factor"),
        ("ask-reply", "exploit"),
    ] {
        let one: Value = serde_json::from_str(&run(&mut program(&format!("schema {part}"))).exits(0).stdout).unwrap();
        assert_eq!(all[part], one);
        assert!(one.to_string().contains(&format!("\"{key}\"")), "no {key} in {part}");
    }
    assert_eq!(all["configuration"]["additionalProperties"], false);
    let budget = all["configuration"]["$defs"]["Bytes"]["anyOf"].to_string();
    assert!(budget.contains("integer") && budget.contains("string"), "a size is a number or a text: {budget}");
}

#[test]
fn explain_needs_no_device_and_is_stable() {
    let explain = |part: &str| {
        let arguments = format!("explain --data subset --steps 7 --part {part}");
        run(program(&arguments).env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere")).exits(0).stdout
    };
    let parts = ["graph", "program", "memory", "checkpoints"].map(explain);
    let texts = ["graph step_adjoint", "program outer_gradient", "8 training states", "store all, 7 training steps"];
    for (part, text) in parts.iter().zip(texts) {
        assert!(part.contains(text), "no `{text}` in\n{part}");
    }
    assert_eq!(explain("all"), parts.join("\n"));
    // The least that fits holds one checkpoint; one training state more, two.
    let refusal = run(&mut program("explain --data subset --memory-budget 1000")).exits(2).stderr;
    let needed = refusal.split('(').nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the error says so");
    let budget = needed.parse::<u64>().expect("a number of bytes") + 4 * (2 * 8478 + 1);
    let plan = format!("explain --data subset --part checkpoints --memory-budget {budget}");
    let small = run(&mut program(&plan)).exits(0).stdout;
    assert!(small.contains("Revolve, 200 training steps, 2 slots"), "{small}");
}

#[test]
fn explain_says_what_budget_would_do() {
    run(&mut program("explain --data subset --memory-budget 1MiB"))
        .exits(2)
        .says(&["memory budget of 1.0 MiB is too small", "bytes) is needed"]);
}

#[test]
fn devices_without_an_adapter_still_name_the_reference() {
    let mut command = program("devices");
    let out = run(command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere")).exits(0).stdout;
    assert!(out.contains("reference"), "{out}");
    if cfg!(target_os = "linux") {
        assert!(out.contains("No GPU adapter"), "{out}");
    }
}

/// An op case, kept in the repository or shared beside it.
fn op_case() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("STACKELBERG_SHARED").map(|s| PathBuf::from(s).join("golden"));
    let roots = [
        Some(here.join("tests/cases")),
        shared,
        Some(here.join("../shared/golden")),
        Some(here.join("../../shared/golden")),
    ];
    let cases = roots.into_iter().flatten().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
    let mut cases: Vec<PathBuf> =
        cases.map(|e| e.path()).filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("op_relu")).collect();
    cases.sort();
    if cases.is_empty() {
        println!("SKIPPED: no reference cases in tests/cases or ../shared/golden");
    }
    cases.into_iter().next()
}

/// A copy of a case with something else in its `case.json`.
fn altered(case: &Path, to: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    fs::copy(case.join("tensors.safetensors"), to.join("tensors.safetensors")).unwrap();
    let mut meta = json(case.join("case.json"));
    meta["name"] = to.file_name().unwrap().to_string_lossy().into();
    change(&mut meta);
    fs::write(to.join("case.json"), meta.to_string()).unwrap();
    to.to_owned()
}

#[test]
fn verify_reports_and_exits_as_promised() {
    let Some(case) = op_case() else { return };
    let root = tempfile::tempdir().unwrap();
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let outputs = |meta: &mut Value, key: &str, value: Value| {
        meta["outputs"].as_object_mut().unwrap().values_mut().for_each(|o| o[key] = value.clone());
    };
    let wrong = altered(&case, &root.path().join("wrong"), |meta| {
        outputs(meta, "tol_rel", (-1.0).into());
        outputs(meta, "tol_abs", (-1.0).into());
    });
    let other = altered(&case, &root.path().join("other"), |meta| meta["kind"] = "of tomorrow".into());
    let misspelt = altered(&case, &root.path().join("misspelt"), |meta| meta["atributes"] = "x".into());
    let document = altered(&case, &root.path().join("document"), |meta| {
        let output = meta["outputs"].as_object_mut().unwrap().remove("y").unwrap();
        meta["outputs"]["val_loss"] = output;
        meta["outputs"]["val_loss"]["ill_conditioned_f32"] = true.into();
    });
    // The document's output has a name of its own, and so its expected values must have.
    let bytes = fs::read(document.join("tensors.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.iter().map(|(n, view)| (if n == "out64.y" { "out64.val_loss" } else { n }, view));
    fs::write(document.join("tensors.safetensors"), safetensors::serialize(renamed, None).unwrap()).unwrap();

    let verify = |cases: &[&Path], flags: &str| run(program(&format!("verify --device reference {flags}")).args(cases));
    let report = |cases: &[&Path], status| -> Value {
        serde_json::from_str(&verify(cases, "--json").exits(status).stdout).unwrap()
    };
    let table = verify(&[&case], "").exits(0).stdout;
    assert!(table.contains(&name) && table.contains("1 passed, 0 failed, 0 unsupported"), "{table}");

    let good = report(&[&case], 0);
    assert_eq!((&good["engine"], &good["passed"], &good["failed"]), (&"reference".into(), &1.into(), &0.into()));
    let output = &good["cases"][0]["outputs"][0];
    assert_eq!(good["cases"][0]["status"], "passed");
    for key in ["rel_err", "tol_rel", "ratio"] {
        assert!(output[key].is_number(), "{key} in {output}");
    }
    assert_eq!(output["passed"], true);

    let bad = report(&[&case, &wrong], 1);
    assert_eq!((&bad["passed"], &bad["failed"]), (&1.into(), &1.into()));
    assert_eq!(bad["cases"][1]["status"], "failed");

    let unsupported = report(&[&case, &other], 0);
    assert_eq!((&unsupported["unsupported"], &unsupported["cases"][1]["status"]), (&1.into(), &"unsupported".into()));
    verify(&[&case, &other], "--strict").exits(1);
    verify(&[&case], "--strict").exits(0);

    let table = verify(&[&misspelt], "").exits(1).stdout;
    assert!(table.contains("the key `atributes`"), "{table}");
    fs::remove_dir_all(&misspelt).unwrap();

    let apart = report(&[&case, &document], 0);
    assert_eq!(apart["cases"].as_array().unwrap().len(), 1);
    assert_eq!(apart["no_test"][0]["name"], "document");

    // A directory of cases; a case that cannot be read fails and the others still run.
    fs::write(wrong.join("tensors.safetensors"), b"short").unwrap();
    let broken = verify(&[&wrong], "").exits(1).stdout;
    assert!(
        broken.contains(&wrong.display().to_string()),
        "a case that cannot be read is told by its folder: {broken}"
    );
    let all = report(&[root.path(), &case], 1);
    assert_eq!((&all["passed"], &all["failed"], &all["unsupported"]), (&1.into(), &1.into(), &1.into()));
    verify(&[&root.path().join("nowhere")], "").exits(2).says(&["cannot read", "nowhere"]);
    // One path that is no use does not cost the others.
    fs::write(root.path().join("README"), "about").unwrap();
    fs::create_dir(root.path().join("no cases")).unwrap();
    let mixed = verify(&[&root.path().join("README"), &case, &root.path().join("no cases")], "").exits(1);
    let mixed = mixed.says(&["cannot read", "README", "no cases is no case", "the others are verified"]);
    assert!(mixed.stdout.contains("1 passed, 0 failed"), "{}", mixed.stdout);
}

#[test]
fn verify_writes_its_outputs() {
    let Some(case) = op_case() else { return };
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("a/b");
    run(program("verify --device reference --out").arg(&out).arg(&case)).exits(0);
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let file = out.join(format!("{name}.safetensors"));
    let bytes = fs::read(&file).unwrap();
    // What was written here is replaced; other files, and what another case has just written, are not.
    run(program("verify --device reference --out").arg(&out).arg(&case)).exits(0);
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let twin = altered(&case, &root.path().join("twin"), |meta| meta["name"] = name.clone().into());
    let twice = run(program("verify --device reference --out").arg(&out).args([&case, &twin])).exits(1).stdout;
    assert!(twice.contains("another case has its name"), "{twice}");
    fs::write(&file, "mine").unwrap();
    run(program("verify --device reference --out").arg(&out).arg(&case))
        .exits(2)
        .says(&["was not written by this command", "--out"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    let ours = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bytes = fs::read(case.join("tensors.safetensors")).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let meta = json(case.join("case.json"));
    let names = meta["outputs"].as_object().unwrap();
    assert_eq!(ours.len(), names.len());
    let floats = |view: safetensors::tensor::TensorView| -> Vec<f64> {
        view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    for name in names.keys() {
        let (a, b) = (ours.tensor(name).unwrap(), theirs.tensor(&format!("out64.{name}")).unwrap());
        assert_eq!(a.shape(), b.shape(), "{name}");
        for (a, b) in floats(a).into_iter().zip(floats(b)) {
            assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{name}: {a} {b}");
        }
    }
}

/// What is gone through in f64 follows from the settings, and the verdict with it: nothing is chosen by a timing.
#[test]
fn a_check_of_the_gradient_decides() {
    let settings = "check-gradient --quick --device cpu --hyperparameters lr --steps 12 --batch 9";
    let check = run(&mut program(&format!("{settings} --json"))).exits(0).says(&["in all", "of it in f64"]);
    let report: Value = serde_json::from_str(&check.stdout).unwrap();
    assert_eq!(report["check"]["outcome"], "passed", "{report}");
    let size = |steps: u32, batch: u32, windows: u32| serde_json::json!({ "steps": steps, "batch": batch, "validation_windows": windows });
    assert_eq!(report["check"]["exact"]["size"], size(10, 8, 64), "{report}");
    assert_eq!(report["check"]["device"]["answered"]["size"], size(12, 9, 128), "{report}");
    assert_eq!(report["configured"], size(12, 9, 128), "{report}");
    let text = run(&mut program(settings)).exits(0).stdout;
    assert!(text.contains("Yes: the hypergradient is right along every direction."), "{text}");
    assert!(text.contains("must be below 5 %") && text.contains("or 1 %"), "the marks are said: {text}");
}

#[cfg(unix)]
#[test]
fn a_configuration_is_a_page_of_text() {
    let root = tempfile::tempdir().unwrap();
    let explain = |path: &Path| run(program("explain --part memory --config").arg(path));
    explain(Path::new("/dev/zero")).exits(2).says(&["cannot read the configuration", "it is a device"]);
    let large = root.path().join("large.toml");
    fs::write(&large, vec![b'#'; 2 << 20]).unwrap();
    explain(&large).exits(2).says(&["larger than 1 MiB"]);
    fs::write(&large, [0xff, 0xfe, b's', 0]).unwrap();
    explain(&large).exits(2).says(&["it is not UTF-8 text"]);
    // What a shell substitutes is a pipe.
    let words = "exec \"$0\" explain --part memory --config <(echo 'steps = 7')";
    let piped = run(std::process::Command::new("bash").args(["-c", words, env!("CARGO_BIN_EXE_stackelberg")])).exits(0);
    assert!(piped.stdout.contains("losses f32[7]"), "{}", piped.stdout);
}

/// Words of ours are known however they are written.
#[test]
fn devices_are_known_in_capitals() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hg_logistic_sgd_T5");
    run(program("verify --device CPU").arg(case)).exits(0).says(&["Device: processor"]);
}

#[test]
fn a_check_of_the_gradient_refuses_what_it_would_not_heed() {
    run(&mut program("check-gradient --quick --method forward")).exits(2).says(&["--method", "leave"]);
}

#[test]
fn a_check_of_the_gradient_goes_through_at_the_point_of_a_run() {
    let bench = Bench::new();
    bench.tune("run", "--outer 2 --hyperparameters lr,momentum").exits(0);
    // A check reads the run, be it where nothing can be written.
    fs::remove_file(bench.dir("run").join(".lock")).unwrap();
    let check = run(program("check-gradient --json --run").arg(bench.dir("run"))).exits(0);
    let report = serde_json::from_str::<Value>(&check.stdout).unwrap()["check"].take();
    // The run was in f64, and so is its check.
    let answers = report["exact"]["answers"].as_array().unwrap().len();
    assert_eq!((&report["outcome"], answers, report["device"].is_null()), (&"passed".into(), 3, true));
    assert_eq!(report["directions"], serde_json::json!(["learning_rate", "momentum"]));
    assert!(!bench.dir("run").join(".lock").exists());
    let other = run(program("check-gradient --run").arg(bench.dir("run")).args(["--steps", "5"])).exits(2);
    other.says(&["--steps was given, and run.toml has `steps = 3`"]);
}

#[test]
fn advice_names_a_method_and_why() {
    let bench = Bench::new();
    let advise = |more: &str| {
        let mut command = program("advise --json --device cpu --steps 20 --batch 4 --data");
        let report = run(command.arg(&bench.data).args(more.split_whitespace())).exits(0).stdout;
        serde_json::from_str::<Value>(&report).unwrap()
    };
    let best = |report: &Value| report["choices"][report["best"].as_u64().unwrap() as usize]["setting"].clone();
    assert_eq!(best(&advise("--hyperparameters lr,l2,example-weights")), "reverse");
    let one = advise("--hyperparameters lr");
    assert_eq!(one["hyperparameters"], 1);
    // Which is faster here, the clock says; the best is the fastest of the exact ones that are possible.
    let choices = one["choices"].as_array().unwrap();
    let exact = choices.iter().filter(|choice| choice["exact"] == true && choice["impossible"].is_null());
    let least = exact.map(|choice| choice["seconds"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!(choices[one["best"].as_u64().unwrap() as usize]["seconds"].as_f64(), Some(least), "{one}");
}

#[test]
fn no_advice_exceeds_the_memory_of_the_machine() {
    let bench = Bench::new();
    let mut command = program("advise --json --device cpu --steps 20 --batch 4 --memory-budget 1000000GiB --data");
    let outcome = run(command.arg(&bench.data)).exits(0).says(&["is more than this machine can give"]);
    let advice: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let budget = advice["memory_budget"].as_u64().unwrap();
    assert!(budget < 1_000_000 << 30, "{advice}");
    let held = |choice: &Value| choice["bytes"].as_u64().is_none_or(|bytes| bytes <= budget);
    assert!(advice["choices"].as_array().unwrap().iter().all(held), "{advice}");
}
