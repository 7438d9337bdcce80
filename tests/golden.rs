//! Reference cases that are single functions, on the f64 interpreter.

use std::path::PathBuf;

use stackelberg::experiment::golden::{Case, case_graph};
use stackelberg::interp::eval;
use stackelberg::ir::NodeId;

fn golden() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let places = named.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let found = places.map(|p| p.join("golden")).find(|p| p.is_dir());
    if found.is_none() {
        println!("skipped: no reference cases at ../shared/golden (set STACKELBERG_SHARED)");
    }
    found
}

fn relative_error(ours: &[f64], expected: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(expected).map(|(a, b)| a - b));
    if error == 0.0 { 0.0 } else { error / norm(&mut expected.iter().copied()) }
}

#[test]
fn ops_and_models_in_f64() {
    let Some(root) = golden() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("case.json").exists() {
            continue;
        }
        let case = Case::load(&path).unwrap();
        let Some(built) = case_graph(&case).unwrap() else { continue };
        count += 1;
        assert_eq!(built.outputs.len(), case.outputs.len(), "{}: outputs", case.name);
        let ids: Vec<NodeId> = built.outputs.iter().map(|(_, id)| *id).collect();
        let inputs: Vec<Vec<f64>> = built.inputs.into_iter().map(|a| a.data).collect();
        for ((name, _), ours) in built.outputs.iter().zip(eval(&built.graph, &ids, &inputs)) {
            let expected = &case.expected[name];
            let error = relative_error(&ours, &expected.data);
            let absolute = ours.iter().zip(&expected.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // f64 rounding; tiny second derivatives of saturated units are compared absolutely.
            assert!(
                error < 1e-11 || absolute < 1e-13,
                "{} {name}: relative {error:e}, absolute {absolute:e}",
                case.name
            );
        }
    }
    assert!(count > 80, "only {count} cases found");
}
