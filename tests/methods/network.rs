//! Methods on the narrow activity network, whose ReLUs and max-pooling are differentiated on the branch
//! taken, with dropout and minibatches.

use stackelberg::bilevel::{Directions, Forward, Loss, Memory, Problem, Reverse, SessionData, Set, Targets, Truncated};
use stackelberg::cpu::CpuEngine;
use stackelberg::gpu::GpuEngine;
use stackelberg::nn::{optim, zoo};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

use crate::problems::{Case, estimate_on, relative_error};

fn windows(count: usize, stream: u32) -> Set {
    let mut stream = Stream::new(11, Purpose::Search, stream);
    let labels: Vec<u32> = (0..count).map(|i| (i % 6) as u32).collect();
    let value = |label: u32, time: usize, noise: f64| (0.1 * f64::from(label + 1) * time as f64).sin() + 0.5 * noise;
    let points = labels.iter().flat_map(|&label| (0..128 * 9).map(move |i| (label, i / 9)));
    let x: Vec<f32> = points.map(|(label, time)| value(label, time, stream.normal()) as f32).collect();
    Set { x: x.into(), targets: Targets::Labels(labels), count }
}

pub fn narrow(steps: usize) -> Case {
    let model = zoo::har_cnn(&[128, 9], 8, 16, 6, 0.3).unwrap();
    let problem = Problem {
        batch: 6,
        l2: true,
        weights: true,
        initial_scale: true,
        ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, steps, 18)
    };
    let layout = problem.layout();
    let mut lambda = vec![0.02f64.ln(); layout.len()];
    lambda[layout.scalars].fill(0.8);
    lambda[layout.l2_log].fill(-5.0);
    lambda[layout.weights].fill(0.9);
    lambda[layout.initial_scale_log].fill(0.0);
    let data = SessionData::new(windows(18, 1), windows(12, 2), problem.model.initial_parameters(4), 8);
    Case { problem, data, lambda }
}

/// Penalties, rates, momentum and the initial scale: eight directions in two passes.
fn along(case: &Case) -> Directions {
    let layout = case.problem.layout();
    let along = Directions::new(&case.problem).each(layout.l2_log).shared(layout.log_lr).each(layout.scalars);
    along.each(layout.weights.start..layout.weights.start + 1).each(layout.initial_scale_log)
}

fn forward_against_reverse(device: &Device, steps: usize) -> f64 {
    let case = narrow(steps);
    let along = along(&case);
    let reverse = estimate_on(device, &case, Reverse { memory: Memory::StoreAll }, &along).unwrap();
    let forward = estimate_on(device, &case, Forward::for_directions(along.len()), &along).unwrap();
    assert_eq!(forward.inner_losses, reverse.inner_losses);
    relative_error(&forward.hypergradient, &reverse.hypergradient)
}

/// What is kept of steps has the bits of what is computed again, on every engine and in a truncated sweep, too.
#[test]
fn kept_residuals_change_no_bit_on_the_activity_network() {
    let gpu = pollster::block_on(GpuEngine::new("auto")).ok().map(Device::new);
    assert!(gpu.is_some() || std::env::var_os("REQUIRE_GPU").is_none(), "there is no GPU");
    for device in [Device::new(CpuEngine::new(2))].iter().chain(&gpu) {
        let case = narrow(5);
        let along = along(&case);
        let full = |memory| estimate_on(device, &case, Reverse { memory }, &along).unwrap();
        let last = Directions::new(&case.problem).each(case.problem.layout().l2_log);
        let truncated = |memory| estimate_on(device, &case, Truncated { last: 3, memory }, &last).unwrap();
        let all = Memory::Budget(u64::MAX);
        for (stored, kept, count) in
            [(full(Memory::StoreAll), full(all), 5), (truncated(Memory::StoreAll), truncated(all), 3)]
        {
            assert_eq!((stored.counts.kept, kept.counts.kept), (0, count));
            assert!(stored.hypergradient == kept.hypergradient && stored.outer_loss == kept.outer_loss);
        }
    }
}

#[test]
fn forward_is_reverse_on_the_activity_network() {
    let error = forward_against_reverse(&Device::new(ReferenceEngine::new()), 4);
    assert!(error < 1e-10, "{error:e} in double precision");
}

#[test]
fn forward_is_reverse_in_single_precision() {
    let error = forward_against_reverse(&Device::new(CpuEngine::new(0)), 50);
    assert!(error < 1e-3, "{error:e} in single precision");
}
