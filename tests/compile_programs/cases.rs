//! The reference cases' graphs (every operation and small models, with first, second and third
//! derivatives): compiled, they compute what the interpreter computes.

use std::path::PathBuf;

use crate::support::{close, run};
use stackelberg::compile::Output;
use stackelberg::experiment::golden::{Case, case_graph};
use stackelberg::interp;
use stackelberg::ir::NodeId;

#[test]
fn reference_cases_compute_what_the_interpreter_computes() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let places = named.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let Some(root) = places.map(|p| p.join("golden")).find(|p| p.is_dir()) else {
        println!("skipped: no reference cases at ../shared/golden (set STACKELBERG_SHARED)");
        return;
    };
    let mut count = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("case.json").exists() {
            continue;
        }
        let case = Case::load(&path).unwrap();
        let Some(built) = case_graph(&case).unwrap() else { continue };
        count += 1;
        let nodes: Vec<NodeId> = built.outputs.iter().map(|(_, id)| *id).collect();
        let outputs: Vec<Output> = built.outputs.iter().map(|(name, id)| Output::new(name, *id)).collect();
        let inputs: Vec<Vec<f64>> = built.inputs.into_iter().map(|array| array.data).collect();
        let want = interp::eval(&built.graph, &nodes, &inputs);
        let got = run(&built.graph, &outputs, &inputs);
        for ((name, _), (got, want)) in built.outputs.iter().zip(got.iter().zip(&want)) {
            assert!(close(got, want, 1e-11), "{}: {name}", case.name);
        }
    }
    assert!(count > 80, "only {count} cases found");
}
