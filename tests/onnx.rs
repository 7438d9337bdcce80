//! The networks of the zoo in the files that are taken home: onnxruntime and NumPy tell of windows what this program tells (skipped, said
//! aloud, where Python with onnxruntime and safetensors is absent; `STACKELBERG_PYTHON` names another python3).

use std::process::Command;

use pollster::block_on;
use safetensors::Dtype;
use serde_json::json;
use stackelberg::experiment::archive::{self, Tensor};
use stackelberg::experiment::classifier::Classifier;
use stackelberg::experiment::onnx;
use stackelberg::nn::Model;
use stackelberg::nn::zoo::ZOO;
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

const CLASSES: usize = 4;
/// More than one chunk.
const WINDOWS: usize = 130;

/// A file of a network whose every array is drawn, variances above 0.
fn file(model: &Model, task: &str) -> Vec<u8> {
    let mut stream = Stream::new(1, Purpose::Init, 77);
    let mut tensor = |name: &str, shape: &[usize]| {
        let positive = name.ends_with("variance");
        let value = |x: f64| if positive { 0.5 + x.abs() } else { 0.3 * x };
        let count: usize = shape.iter().product();
        let bytes = (0..count).flat_map(|_| (value(stream.normal()) as f32).to_le_bytes()).collect();
        Tensor { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::F32, bytes }
    };
    let mut tensors: Vec<Tensor> = model.parameters().iter().map(|p| tensor(&p.name, &p.shape)).collect();
    tensors.extend(model.statistics().iter().map(|s| tensor(&s.name, &[s.len])));
    let channels = *model.input().last().unwrap();
    let numbers = |base: f64| (0..channels).map(|c| base + 0.1 * c as f64).collect::<Vec<_>>();
    let description = json!({
        "layers": model.layers(),
        "input": model.input(),
        "channels": (0..channels).map(|c| format!("channel {c}")).collect::<Vec<_>>(),
        "outputs": (0..CLASSES).map(|c| format!("class {c}")).collect::<Vec<_>>(),
        "scale": { "mean": numbers(0.2), "std": numbers(1.5) },
        "rate_hz": 50.0,
        "task": task,
    });
    archive::pack(&description, &tensors)
}

#[test]
fn every_network_of_the_zoo_tells_the_same_in_onnxruntime_and_numpy() {
    let python = std::env::var("STACKELBERG_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import onnxruntime, numpy, safetensors"]).output();
    let has = has.is_ok_and(|output| output.status.success());
    if !has {
        println!("SKIPPED: {python} lacks onnxruntime or safetensors; set STACKELBERG_PYTHON to one that has them");
    }
    let device = Device::new(ReferenceEngine::new());
    let folder = tempfile::tempdir().unwrap();
    for (entry, task) in ZOO.iter().map(|entry| (entry, "classification")).chain([(&ZOO[0], "classification-mse")]) {
        let input: &[usize] = if entry.name.ends_with("2d") { &[12, 10, 3] } else { &[32, 3] };
        let mut model = entry.model(input, CLASSES, 0.25).unwrap();
        if task == "classification-mse" {
            model = model.then(stackelberg::nn::Layer::Softplus).unwrap();
        }
        let weights = file(&model, task);
        let classifier = Classifier::open(&weights).unwrap();
        let bytes = onnx::pack(&classifier);
        assert_eq!(bytes, onnx::pack(&classifier), "the same network is the same file");
        let mut stream = Stream::new(2, Purpose::Init, 78);
        let each: usize = input.iter().product();
        let x: Vec<f32> = (0..WINDOWS * each).map(|_| stream.normal() as f32).collect();
        let told = block_on(classifier.classify(&device, x.clone())).unwrap();
        assert_eq!(told.len(), WINDOWS);
        for row in &told {
            assert!(
                (row.iter().sum::<f32>() - 1.0).abs() < 1e-5 && row.iter().all(|p| *p >= 0.0),
                "{}: {row:?}",
                entry.name
            );
        }
        if !has {
            continue;
        }
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("model.onnx"), bytes).unwrap();
        std::fs::write(at("model.safetensors"), weights).unwrap();
        std::fs::write(at("windows.bin"), x.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let script = "import sys, json, numpy as np, onnxruntime as ort, network\n\
                      session = ort.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])\n\
                      x = np.fromfile('windows.bin', '<f4').reshape([-1] + json.loads(sys.argv[1]))\n\
                      meta = session.get_modelmeta().custom_metadata_map\n\
                      told = [session.run(None, {'windows': x})[0], network.probabilities('model.safetensors', x)]\n\
                      print(json.dumps([meta, *(each.tolist() for each in told)]))";
        let mut command = Command::new(&python);
        command.current_dir(folder.path()).env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/python/examples"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", script]).arg(json!(input).to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", entry.name, String::from_utf8_lossy(&output.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer[0]["classes"], r#"["class 0","class 1","class 2","class 3"]"#);
        for (by, theirs) in [("onnxruntime", &answer[1]), ("NumPy", &answer[2])] {
            let theirs = theirs.as_array().unwrap();
            assert_eq!(theirs.len(), WINDOWS);
            for (ours, theirs) in told.iter().zip(theirs) {
                for (ours, theirs) in ours.iter().zip(theirs.as_array().unwrap()) {
                    let difference = (f64::from(*ours) - theirs.as_f64().unwrap()).abs();
                    assert!(difference < 2e-5, "{}, {task}, {by}: {ours} and {theirs}", entry.name);
                }
            }
        }
    }
}
