//! Profiles, through the built program.

mod cli_support;

use cli_support::{program, run};
use serde_json::Value;

/// Every launch that `explain` lists has a time and a place below the ceilings, and shares add up.
#[test]
fn a_profile_tells_where_the_time_goes() {
    let settings = "--quick --steps 3 --batch 8 --device cpu";
    let out = run(&mut program(&format!("profile --json --repeats 3 {settings}"))).exits(0);
    let profile: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!((&profile["engine"], &profile["clock"]), (&Value::from("cpu"), &Value::from("device")));
    let ceilings = &profile["ceilings"];
    assert!(ceilings["gflops"].as_f64().unwrap() > 0.1 && ceilings["gbps"].as_f64().unwrap() > 0.1, "{ceilings}");
    let listed = run(&mut program(&format!("explain --part program {settings}"))).exits(0).stdout;
    assert_eq!(profile["programs"].as_array().unwrap().len(), 4);
    for (program, name) in
        profile["programs"].as_array().unwrap().iter().zip(["step", "step_adjoint", "outer_gradient", "pullback"])
    {
        assert_eq!(program["name"], name);
        let dispatches = program["dispatches"].as_array().unwrap();
        let text = listed.split("program ").find(|text| text.starts_with(&format!("{name}\n"))).unwrap();
        let count = format!("{} launches", dispatches.len());
        assert!(text.contains(&count), "not {count} in\n{text}");
        let mut labels = dispatches.iter().flat_map(|dispatch| dispatch["label"].as_str().unwrap().split("; "));
        assert!(labels.all(|label| text.contains(label)));
        let sum = |key: &str| dispatches.iter().map(|dispatch| dispatch[key].as_f64().unwrap()).sum::<f64>();
        assert!(
            (sum("share") - 1.0).abs() < 1e-9 && (sum("seconds") - program["seconds"].as_f64().unwrap()).abs() < 1e-9
        );
        assert!(sum("flops") > 0.0 && sum("bytes") > 0.0);
    }
    let forward = run(&mut program(&format!("profile --json --repeats 1 --method forward {settings}"))).exits(0);
    let forward: Value = serde_json::from_str(&forward.stdout).unwrap();
    let names: Vec<&str> =
        forward["programs"].as_array().unwrap().iter().filter_map(|program| program["name"].as_str()).collect();
    assert_eq!(names, ["step", "step_tangents", "outer_gradient"]);
    let text = run(&mut program(&format!("profile --top 2 --repeats 1 {settings}"))).exits(0).stdout;
    assert!(text.contains("GFLOP/s in a matrix product") && text.contains("step_adjoint: "), "{text}");
    assert_eq!(
        text.lines().filter(|line| line.contains(" compute ") || line.contains(" memory ")).count(),
        8,
        "{text}"
    );
}
