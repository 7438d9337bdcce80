//! `--network`: networks by name and from files.

mod cli_support;

use cli_support::{json, program, run, tiny_data, tune};

/// A network with two dropout layers and a residual block, for windows of 128 samples of 9 channels.
const LAYERS: &str = r#"[
    {"type": "conv1d", "name": "first", "k": 5, "cin": 9, "cout": 4, "stride": 4, "padding": "same"},
    {"type": "relu"},
    {"type": "dropout", "rate": 0.25},
    {"type": "residual", "layers": [
        {"type": "conv1d", "name": "inside", "k": 3, "cin": 4, "cout": 4, "stride": 1, "padding": "same"},
        {"type": "tanh"},
        {"type": "dropout", "rate": 0.25}
    ]},
    {"type": "spatialmean"},
    {"type": "dense", "name": "last", "in": 4, "out": 6}
]"#;

#[test]
fn a_network_from_a_file_is_trained_kept_and_resumed_without_it() {
    let root = tempfile::tempdir().unwrap();
    let data = tiny_data(root.path());
    let file = root.path().join("net.json");
    std::fs::write(&file, LAYERS).unwrap();
    let out = root.path().join("run");
    let network = format!("--network {}", file.display());
    let tuned = |more: &str| {
        let mut command = tune(&data, &format!("{network} --hyperparameters lr,l2,dropout {more}"));
        command.arg("--out").arg(&out);
        run(&mut command)
    };
    tuned("--outer 1").exits(0);
    let line = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    for name in ["l2.first", "l2.inside", "l2.last", "dropout"] {
        assert!(line.contains(&format!("\"{name}\"")), "no {name} in {line}");
    }
    std::fs::remove_file(&file).unwrap();
    run(program("tune --outer 2 --resume").arg(&out)).exits(0);
    let result = json(out.join("result.json"));
    assert_eq!(result["configuration"]["network"]["layers"][3]["layers"][0]["name"], "inside");
}

#[test]
fn what_is_wrong_with_a_network_is_told_with_file_and_layer() {
    let root = tempfile::tempdir().unwrap();
    let data = tiny_data(root.path());
    let file = root.path().join("net.json");
    let with = |text: &str, more: &str| {
        std::fs::write(&file, text).unwrap();
        run(&mut tune(&data, &format!("--network {} {more}", file.display()))).exits(2)
    };
    with(&LAYERS.replace(r#""in": 4"#, r#""in": 5"#), "").says(&[
        "`network` is",
        "net.json",
        "In that file, layer 6 (dense `last`): takes 5 features, but is given activations of shape [4].",
    ]);
    with(&LAYERS.replace(r#""cin": 4"#, r#""cin": 3"#), "").says(&["layer 4.1 (conv1d `inside`): takes [length, 3]"]);
    with(&LAYERS.replace(r#""out": 6"#, r#""out": 5"#), "").says(&["must be a network with 6 outputs"]);
    with(&LAYERS.replace(r#""k": 3"#, r#""kernel": 3"#), "").says(&["net.json: layer 4.1: missing field `k`"]);
    with(&LAYERS.replacen("0.25", "0.5", 1), "--hyperparameters dropout")
        .says(&["the layers of this network have [0.5, 0.25]"]);
    run(&mut tune(&data, "--network wide")).exits(2).says(&["`wide` is no network by name (narrow, paper, mlp,"]);
    run(&mut tune(&data, "--network cnn2d")).exits(2).says(&["takes [height, width, 9]", "shape [128, 9]"]);
}

#[test]
fn networks_go_by_two_names() {
    let root = tempfile::tempdir().unwrap();
    let data = tiny_data(root.path());
    let result = |network: &str| {
        let out = root.path().join(network);
        run(tune(&data, &format!("--outer 1 --network {network}")).arg("--out").arg(&out)).exits(0);
        json(out.join("result.json"))
    };
    let (narrow, other) = (result("narrow"), result("har-cnn-narrow"));
    assert_eq!(narrow["configuration"]["network"], "narrow");
    assert_eq!((&narrow["end"], &narrow["configuration"]), (&other["end"], &other["configuration"]));
}

/// What predicts takes running statistics, so the file of a network with batch norm has them.
#[test]
fn a_network_with_batch_norm_is_kept_with_its_running_statistics() {
    let root = tempfile::tempdir().unwrap();
    let data = tiny_data(root.path());
    let out = root.path().join("run");
    run(tune(&data, "--outer 1 --network resnet1d --device cpu").arg("--out").arg(&out)).exits(0);
    let file = std::fs::read(out.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    for (name, before) in [("norm0.mean", 0.0f32), ("norm0.variance", 1.0), ("norm_p3.mean", 0.0)] {
        let bytes = tensors.tensor(name).unwrap().data().to_vec();
        let moved = bytes.chunks_exact(4).all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]) != before);
        assert!(moved, "{name} is as before the first step");
    }
}
