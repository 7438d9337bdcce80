//! A study of networks that tune themselves, through the built program.

mod cli_support;

use std::fs;

use cli_support::{json, program, run};

/// The quick study from its first trial to its charts; what is finished is not run again.
#[test]
fn a_quick_study_of_windows_runs_and_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().display();
    let command = format!("experiment dropout-har --device cpu --out {directory}");
    let told = run(&mut program(&command)).exits(0).says(&["3 of 3 trials to do", "3/3 method=CPMLHO seed=16"]);
    for method in ["STN", "Δ-STN", "CPMLHO"] {
        assert!(told.stdout.contains(method), "{}", told.stdout);
    }
    let saved = fs::read_to_string(root.path().join("dropout-har-quick.jsonl")).unwrap();
    for line in saved.lines() {
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        let metric = |name: &str| outcome["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {line}"));
        assert!(metric("validation_loss") < metric("validation_loss.0000"), "it learns: {line}");
        assert!(metric("test_accuracy") > 0.4 && metric("gradients") > 0.0, "{line}");
        for name in ["dropout0", "jitter", "scaling", "time_mask"] {
            let (start, end) = (metric(&format!("{name}.0000")), metric(name));
            assert!((start - 0.05).abs() < 1e-6 && start != end && end > 0.0 && end < 0.95, "{name}: {line}");
        }
    }
    run(&mut program(&command)).exits(0).says(&["0 of 3 trials to do"]);
    assert_eq!(fs::read_to_string(root.path().join("dropout-har-quick.jsonl")).unwrap(), saved);

    run(&mut program(&format!("report {directory} --out {directory}"))).exits(0);
    let report = json(root.path().join("report.json"));
    assert_eq!(report["studies"][0]["rows"].as_array().unwrap().len(), 3);
    for chart in ["dropout-har-quick-validation-loss", "dropout-har-quick-jitter-course"] {
        let svg = fs::read_to_string(root.path().join(format!("charts/{chart}.svg"))).unwrap();
        assert!(svg.contains("CPMLHO"), "{chart}");
    }
}
