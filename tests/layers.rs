//! The import direction of ARCHITECTURE.md: each layer uses only layers below it, never a neighbour.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the ground up; modules of one line are neighbours that do not know each other.
const LAYERS: [&[&str]; 12] = [
    &["rng"],
    &["ir", "gp"],
    &["autodiff", "search"],
    &["interp", "compile"],
    &["engine"],
    &["kernels", "host"],
    &["gpu", "cpu", "reference"],
    &["rig"],
    &["nn", "data"],
    &["bilevel"],
    &["experiment"],
    &["lessons"],
];
/// The thin edges on top.
const EDGES: [&str; 3] = ["cli", "web", "main"];

/// The one upward use that is meant: derivative checks, which are for tests, ask the interpreter.
const EXCEPTIONS: [(&str, &str); 1] = [("autodiff/check.rs", "interp")];

fn level(module: &str) -> Option<usize> {
    let inner = LAYERS.iter().position(|layer| layer.contains(&module));
    inner.or_else(|| EDGES.contains(&module).then_some(LAYERS.len()))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Modules named after `crate::` (or `stackelberg::`) in a source text, grouped imports included.
fn used_modules(text: &str) -> Vec<String> {
    let code: String = text.lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut used = vec![];
    for start in ["crate::", "stackelberg::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            let names = if rest.starts_with('{') { members(rest) } else { vec![rest.to_owned()] };
            let identifier = |c: &char| c.is_alphanumeric() || *c == '_';
            used.extend(names.iter().map(|name| name.trim().chars().take_while(identifier).collect::<String>()));
        }
    }
    used
}

/// The members of the group that a text begins with, without the groups inside them.
fn members(text: &str) -> Vec<String> {
    let (mut depth, mut members) = (0, vec![String::new()]);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => members.push(String::new()),
            c if depth == 1 => members.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    members
}

#[test]
fn nested_groups_are_read_to_their_end() {
    let text = "use crate::{ir::{Graph, op::{A, B}}, gpu::run,\n nn}; let x = crate::rng::mix(); // crate::web";
    assert_eq!(used_modules(text), ["ir", "gpu", "nn", "rng"]);
}

#[test]
fn imports_point_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    rust_files(&root, &mut files);
    let mut checked = 0;
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let module = relative.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let own = level(&module).unwrap_or_else(|| panic!("{relative}: its module stands in no layer of this test"));
        for used in used_modules(&fs::read_to_string(&file).unwrap()) {
            if used == module || EXCEPTIONS.contains(&(relative.as_str(), used.as_str())) {
                continue;
            }
            let Some(other) = level(&used) else { continue };
            checked += 1;
            assert!(other < own, "{relative} uses crate::{used}, which is not below it");
        }
    }
    assert!(checked > 30, "only {checked} imports were found");
}

#[test]
fn wgpu_wasm_bindgen_and_recordings_stay_in_their_places() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    rust_files(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        let code = || text.lines().map(|l| l.split("//").next().unwrap_or(""));
        let may_wgpu = relative.starts_with("gpu/");
        assert!(may_wgpu || !code().any(|l| l.contains("wgpu::")), "{relative} names wgpu outside gpu/");
        let may_bind = relative.starts_with("web/");
        assert!(may_bind || !code().any(|l| l.contains("wasm_bindgen")), "{relative} names wasm_bindgen outside web/");
        let carries = |line: &str| line.contains("include_bytes!");
        let by_feature = |(before, line): (&str, &str)| !carries(line) || before.contains("feature = \"builtin-data\"");
        assert!(code().zip(code().skip(1)).all(by_feature), "{relative} carries bytes without the feature for it");
    }
}

/// The sizes and names of UCI HAR. Others ask the data set.
const ONLY_IN_HAR: [&str; 5] = ["WINDOW", "CHANNELS", "CLASSES", "CHANNEL_NAMES", "CLASS_NAMES"];

#[test]
fn only_its_folder_knows_the_shape_of_uci_har() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    ["src", "benches", "examples", "xtask/src"].iter().for_each(|folder| rust_files(&root.join(folder), &mut files));
    let (mut checked, mut inside) = (0, 0);
    for file in files {
        let relative = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let named = words.find(|word| ONLY_IN_HAR.contains(word));
        if relative.starts_with("src/data/har/") {
            inside += usize::from(named.is_some());
            continue;
        }
        checked += 1;
        assert!(named.is_none(), "{relative} names {}, which only src/data/har/ may", named.unwrap_or_default());
    }
    assert!(checked > 100 && inside >= 4, "{checked} files outside and {inside} inside were looked at");
}
