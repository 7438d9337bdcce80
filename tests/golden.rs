//! Every reference case that is supported, on the f64 interpreter, the f64 engine and the GPU.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use stackelberg::bilevel::Memory;
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::Engine;
use stackelberg::experiment::golden::{self, Array, Case, case_graph};
use stackelberg::gpu::GpuEngine;
use stackelberg::interp::eval;
use stackelberg::ir::{DType, NodeId};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

/// The cases kept in the repository.
fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The full set, which may lie beside the repository.
fn shared() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let places = named.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let found = places.map(|p| p.join("golden")).find(|p| p.is_dir());
    if found.is_none() {
        println!("only the cases of tests/cases: there are none at ../shared/golden (set STACKELBERG_SHARED)");
    }
    found
}

/// The folders of cases in a folder, by name.
fn directories(folder: &Path) -> BTreeMap<String, PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let cases = paths.filter(|p| p.join("case.json").exists());
    let named: BTreeMap<_, _> = cases.map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), p)).collect();
    assert!(!named.is_empty(), "{} holds no reference cases", folder.display());
    named
}

/// The cases beside the repository, those of the kinds that came later among them.
fn beside(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut all = directories(folder);
    let later = folder.join("next");
    if later.is_dir() {
        all.extend(directories(&later));
    }
    all
}

/// Every case once, wherever it lies.
fn cases() -> impl Iterator<Item = Case> {
    let mut all = shared().map(|folder| beside(&folder)).unwrap_or_default();
    all.extend(directories(&bundled()));
    all.into_values().map(|path| Case::load(&path).unwrap())
}

/// What a case tries: its kind with its optimiser, its op, its layers, its loss.
fn features(case: &Case) -> BTreeSet<String> {
    let text = |key: &str, value: &serde_json::Value| value.as_str().map(|v| format!("{key} {v}"));
    let optimizer = case.meta["inner"]["optimizer"].as_str().unwrap_or_default();
    let kind = match case.kind.as_str() {
        "hypergrad" => format!("hypergrad {optimizer}"),
        other => other.to_owned(),
    };
    let layers = case.meta["layers"].as_array().into_iter().flatten();
    let layers = layers.filter_map(|layer| text("layer", &layer["type"]));
    let single = [text("op", &case.meta["op"]), text("loss", &case.meta["loss"])].into_iter().flatten();
    layers.chain(single).chain([kind]).collect()
}

#[test]
fn bundled_cases_are_a_fair_choice() {
    let load = |folder: &Path| directories(folder).into_values().map(|path| Case::load(&path).unwrap()).collect();
    let ours: Vec<Case> = load(&bundled());
    assert!(ours.len() >= 40, "only {} cases", ours.len());
    let files = directories(&bundled()).into_values().flat_map(|path| std::fs::read_dir(path).unwrap());
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 4_000_000, "{bytes} bytes");
    let covered: BTreeSet<String> = ours.iter().flat_map(features).collect();
    let theirs = shared().map_or(BTreeMap::new(), |folder| beside(&folder)).into_values();
    let theirs: Vec<Case> = theirs.map(|path| Case::load(&path).unwrap()).filter(golden::is_supported).collect();
    let missing: BTreeSet<String> = theirs.iter().flat_map(features).filter(|f| !covered.contains(f)).collect();
    assert!(missing.is_empty(), "no bundled case for {missing:?}");
}

/// Work of a case: parameters × examples, times steps.
fn work(case: &Case) -> usize {
    let examples = case.meta["batch"].as_u64().unwrap_or(16) as usize;
    // Implicit cases solve the inner problem.
    let alone = if case.kind == "implicit" { 1000 } else { 1 };
    let steps = case.meta["T"].as_u64().unwrap_or(alone) as usize;
    // Self-tuning trainings have a row of examples for each step.
    let own = case.inputs.get("idx").filter(|_| case.kind == "selftune").map(|idx| idx.shape[0]);
    let is_weight = |name: &str| ["w", "phi."].iter().any(|of| name.starts_with(of));
    let weights: usize = case.inputs.iter().filter(|(n, _)| is_weight(n)).map(|(_, a)| a.data.len()).sum();
    weights * examples * own.unwrap_or(steps)
}

/// Cases for every run of the tests: those of the repository and all small ones.
fn quick(case: &Case) -> bool {
    work(case) < 3_000_000 || bundled().join(&case.name).is_dir()
}

/// Cases whose programs a software GPU compiles in seconds; ridge regression in closed form is an elimination written out.
fn quickly_compiled(case: &Case) -> bool {
    quick(case) && case.meta["inner_algorithm"] != "ridge"
}

fn relative_error(ours: &[f64], expected: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(expected).map(|(a, b)| a - b));
    if error == 0.0 { 0.0 } else { error / norm(&mut expected.iter().copied()) }
}

#[test]
fn ops_and_models_on_the_interpreter() {
    for case in cases() {
        let Some(built) = case_graph(&case).unwrap() else { continue };
        assert_eq!(built.outputs.len(), case.outputs.len(), "{}: outputs", case.name);
        let ids: Vec<NodeId> = built.outputs.iter().map(|(_, id)| *id).collect();
        let inputs: Vec<Vec<f64>> = built.inputs.into_iter().map(|a| a.data).collect();
        for ((name, _), ours) in built.outputs.iter().zip(eval(&built.graph, &ids, &inputs)) {
            exact(&case, name, &ours);
        }
    }
}

/// Equality up to f64 rounding; tiny second derivatives of saturated units are compared absolutely.
fn exact(case: &Case, name: &str, ours: &[f64]) {
    let expected = &case.expected[name].data;
    let error = relative_error(ours, expected);
    let absolute = ours.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error < 1e-10 || absolute < 1e-12, "{} {name}: relative {error:e}, absolute {absolute:e}", case.name);
}

/// The array in other shapes and types that some op may not take.
fn spoilt(array: &Array) -> Vec<Array> {
    let Array { shape, dtype, data } = array;
    let like = |shape: Vec<usize>, data: Vec<f64>| Array { shape, dtype: *dtype, data };
    let row = data.len() / shape.first().unwrap_or(&1);
    let longer = shape.iter().enumerate().map(|(axis, &n)| if axis == 0 { n + 1 } else { n }).collect();
    let other = if *dtype == DType::F32 { DType::U32 } else { DType::F32 };
    vec![
        like([&[1], &shape[..]].concat(), data.clone()),
        like([&shape[..], &[1]].concat(), data.clone()),
        like(shape.iter().rev().copied().collect(), data.clone()),
        like(vec![data.len()], data.clone()),
        like(longer, [&data[..], &data[..row]].concat()),
        like(shape.clone(), vec![1e9; data.len()]),
        Array { shape: shape.clone(), dtype: other, data: data.clone() },
    ]
}

#[test]
#[ignore = "a minute or two of processor time"]
fn arrays_that_do_not_fit_are_errors() {
    let engine = Device::new(ReferenceEngine::new());
    let mut errors = 0;
    for case in directories(&bundled()).into_values().map(|path| Case::load(&path).unwrap()) {
        let function = case_graph(&case).unwrap().is_some();
        // Cases that train are run for it, so they must be short.
        let short = if function { 3_000_000 } else { 6_100 };
        if !golden::is_supported(&case) || work(&case) >= short {
            continue;
        }
        let mut refused = |name: &str, array: Array| {
            let mut case = case.clone();
            case.inputs.insert(name.to_owned(), array);
            let refused = match function {
                true => case_graph(&case).is_err(),
                false => pollster::block_on(golden::run(&case, &engine, Memory::StoreAll)).is_err(),
            };
            errors += usize::from(refused);
            refused
        };
        for (name, array) in &case.inputs {
            let empty = Array { shape: vec![0], data: vec![], ..array.clone() };
            assert!(refused(name, empty), "{} takes an empty {name}", case.name);
            // Some ops take some of these; what counts is that none breaks.
            for array in spoilt(array) {
                refused(name, array);
            }
        }
    }
    assert!(errors > 1000, "only {errors} errors");
}

#[test]
fn a_missing_output_has_not_passed() {
    let case = Case::load(&directories(&bundled())["op_exp"]).unwrap();
    let comparison = golden::compare(&case, &BTreeMap::new()).remove(0);
    assert!(!comparison.passed && comparison.rel_err.is_infinite());
    assert!(serde_json::to_value(&comparison).unwrap()["rel_err"].is_null());
}

/// Momentum that ascends: what was computed with the sign of one equation and the step of another is not what we compute.
#[test]
fn the_mistaken_signs_are_recognised() {
    let case = Case::load(&directories(&bundled())["hd_lr_momentum_mlp_mixed_sign"]).unwrap();
    assert!(case.is_no_test());
    let device = Device::new(ReferenceEngine::new());
    let outputs = pollster::block_on(golden::run(&case, &device, Memory::StoreAll)).unwrap();
    let gamma = golden::compare(&case, &outputs).into_iter().find(|c| c.name == "gamma").unwrap();
    assert!(!gamma.passed && gamma.rel_err > 1e-2, "{gamma:?}");
}

fn run_all(device: &Device, choose: impl Fn(&Case) -> bool, check: impl Fn(&Case, &str, &[f64])) -> usize {
    let mut count = 0;
    for case in cases() {
        if !golden::is_supported(&case) || case.is_no_test() || !choose(&case) {
            continue;
        }
        count += 1;
        let outputs = pollster::block_on(golden::run(&case, device, Memory::StoreAll)).unwrap();
        for name in case.outputs.keys() {
            let ours = outputs.get(name).unwrap_or_else(|| panic!("{}: no output {name}", case.name));
            check(&case, name, ours);
        }
    }
    count
}

#[test]
fn supported_cases_in_f64() {
    assert!(run_all(&Device::new(ReferenceEngine::new()), quick, exact) >= 40);
}

#[test]
#[ignore = "minutes of processor time"]
fn large_supported_cases_in_f64() {
    run_all(&Device::new(ReferenceEngine::new()), |case| !quick(case), exact);
}

/// Holds an engine to the cases' own tolerances and prints the ratios to a float32 run's error.
fn within_tolerance(device: &Device, choose: impl Fn(&Case) -> bool) {
    let (mut ratios, mut failures) = (vec![], vec![]);
    for case in cases() {
        if !golden::is_supported(&case) || case.is_no_test() || !choose(&case) {
            continue;
        }
        let outputs = pollster::block_on(golden::run(&case, device, Memory::StoreAll)).unwrap();
        for c in golden::compare(&case, &outputs) {
            if c.ratio > 0.0 {
                ratios.push((c.ratio, format!("{} {}", case.name, c.name)));
            }
            if !c.passed {
                failures.push(format!("{} {}: {:e} > {:e}", case.name, c.name, c.rel_err, c.tol_rel));
            }
        }
    }
    ratios.sort_by(|a, b| b.0.total_cmp(&a.0));
    if let Some((median, _)) = ratios.get(ratios.len() / 2) {
        println!("{} outputs, median ratio {median:.2}, worst:", ratios.len());
        ratios.iter().take(8).for_each(|(ratio, name)| println!("  {ratio:8.2}  {name}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn supported_cases_on_the_processor() {
    within_tolerance(&Device::new(CpuEngine::new(0)), |_| true);
}

#[test]
fn supported_cases_on_the_gpu() {
    let Some(device) = gpu() else { return };
    within_tolerance(&device, quickly_compiled);
}

#[test]
#[ignore = "minutes of processor time"]
fn large_supported_cases_on_the_gpu() {
    let Some(device) = gpu() else { return };
    within_tolerance(&device, |case| !quickly_compiled(case));
}

/// The outputs whose error on a GPU is the largest beside that of the float32 reference, computed here
/// with f32 operations in the order that our programs have: the errors are those of that order, and of
/// an exp that is made of exp2.
#[test]
fn the_largest_ratios_are_those_of_single_precision() {
    /// Σ over parts of Σ over a part, as long sums are cut (`compile::lower`).
    fn in_parts(part: usize, terms: impl Iterator<Item = f32>) -> f64 {
        let terms: Vec<f32> = terms.collect();
        let sums = terms.chunks(part).map(|part| part.iter().fold(0.0f32, |acc, term| acc + term));
        f64::from(sums.fold(0.0f32, |acc, sum| acc + sum))
    }
    fn products<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        a.iter().zip(b).map(|(a, b)| a * b)
    }
    type Emulate = fn(&dyn Fn(&str) -> Vec<f32>) -> Vec<f64>;
    let emulations: [(&str, &str, Emulate); 6] = [
        ("op_sum_long", "y", |x| vec![in_parts(174, x("x").into_iter())]),
        ("op_sum_long", "jvp", |x| vec![in_parts(174, x("t.x").into_iter())]),
        ("op_matmul_row_times_col_long", "y", |x| vec![in_parts(33, products(&x("a"), &x("b")))]),
        ("op_matmul_row_times_col_long", "jvp", |x| {
            let halves = [("t.a", "b"), ("a", "t.b")].map(|(a, b)| in_parts(33, products(&x(a), &x(b))));
            vec![f64::from(halves[0] as f32 + halves[1] as f32)]
        }),
        ("op_add_channels", "sq_grad.b", |x| {
            let (a, b, ct) = (x("a"), x("b"), x("ct"));
            let term = |i: usize| ct[i] * (a[i] + b[i % 3]);
            (0..3).map(|channel| in_parts(a.len(), (channel..a.len()).step_by(3).map(term))).collect()
        }),
        ("op_exp", "y", |x| {
            x("x").iter().map(|x| f64::from(f64::from(x * std::f32::consts::LOG2_E).exp2() as f32)).collect()
        }),
    ];
    let engine = gpu();
    for (name, output, emulate) in emulations {
        let places = [Some(bundled()), shared()].into_iter().flatten();
        let Some(folder) = places.map(|place| place.join(name)).find(|folder| folder.is_dir()) else {
            println!("skipped: no case {name}");
            continue;
        };
        let case = Case::load(&folder).unwrap();
        let input = |name: &str| case.input(name).unwrap().data.iter().map(|&x| x as f32).collect();
        let expected = &case.expected[output].data;
        let ours = relative_error(&emulate(&input), expected);
        let reference = case.outputs[output].f32_rel_err_max;
        println!("{name} {output}: {ours:.3e} in f32, reference {reference:.1e}, ratio {:.1}", ours / reference);
        assert!(ours / reference > 5.0, "{name} {output} needs no explanation");
        // Other drivers may join and reorder sums.
        if let Some(device) = engine.as_ref().filter(|device| device.info().software) {
            let outputs = pollster::block_on(golden::run(&case, device, Memory::StoreAll)).unwrap();
            let error = relative_error(&outputs[output], expected);
            println!("  {error:.3e} on the GPU");
            assert!(error < 2.0 * ours, "{name} {output}: {error:e} on the GPU, {ours:e} computed here");
        }
    }
}

/// The machine's adapter, software ones included; CI must have one.
fn gpu() -> Option<Device> {
    match pollster::block_on(GpuEngine::new("auto")) {
        Ok(engine) => {
            println!("on {}", engine.info().adapter);
            Some(Device::new(engine))
        }
        Err(error) if ["CI", "REQUIRE_GPU"].iter().all(|name| std::env::var_os(name).is_none()) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
