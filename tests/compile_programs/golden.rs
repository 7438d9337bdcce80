//! Programs as text against files under `tests/golden`; `UPDATE_GOLDEN=1` rewrites the files.

use std::path::PathBuf;

use stackelberg::autodiff::{grad, vjp};
use stackelberg::compile::{Output, Program, compile};
use stackelberg::ir::{DType, Graph, Scalar};
use stackelberg::nn::functions;

fn check(program: &Program) {
    let name = format!("{}.txt", program.name);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = program.to_string();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == kept, "{} differs (UPDATE_GOLDEN=1 rewrites it); now it is\n{text}", path.display());
}

/// A step of gradient descent on one dense layer under cross-entropy, in place.
#[test]
fn dense_step() {
    let mut g = Graph::new();
    let theta = g.input("theta", &[15], DType::F32);
    let x = g.input("x", &[8, 4], DType::F32);
    let labels = g.input("labels", &[8], DType::U32);
    let rate = g.input("rate", &[1], DType::F32);
    let kernel = g.segment(theta, 0, 12);
    let kernel = g.reshape(kernel, &[4, 3]);
    let bias = g.segment(theta, 12, 3);
    let logits = functions::matmul(&mut g, x, kernel, [false, false]);
    let logits = g.add(logits, bias);
    g.name(logits, "logits");
    let each = functions::cross_entropy_each(&mut g, logits, labels);
    let sum = g.sum_all(each);
    let loss = g.scale(sum, 1.0 / 8.0);
    let gradient = grad(&mut g, loss, &[theta])[0];
    g.name(gradient, "gradient");
    let change = g.mul(rate, gradient);
    let next = g.sub(theta, change);
    check(&compile("dense_step", &g, &[Output::over("theta", next, 0), Output::new("loss", loss)]).unwrap());
}

/// The three faces of a strided and padded convolution; the kernel's is long enough to be cut.
#[test]
fn strided_conv() {
    let mut g = Graph::new();
    let x = g.input("x", &[32, 64, 2], DType::F32);
    let w = g.input("w", &[3, 2, 4], DType::F32);
    let ct = g.input("ct", &[32, 32, 4], DType::F32);
    let y = functions::conv1d(&mut g, x, w, functions::Along { stride: 2, pads: [1, 1], dilation: 1, groups: 1 });
    let z = g.scalar(Scalar::Relu, &[y]);
    let pulled = vjp(&mut g, &[z], &[ct], &[x, w]);
    let outputs = [Output::new("z", z), Output::new("x_ct", pulled[0]), Output::new("w_ct", pulled[1])];
    check(&compile("strided_conv", &g, &outputs).unwrap());
}
