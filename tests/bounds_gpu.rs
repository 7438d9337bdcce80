//! The GPU engine stays within the computed error bounds, element by element.

mod engine_support;

use engine_support::bounds::{Held, hold, network, random_graphs, reference_cases, runs_of_every_kind};
use engine_support::gpu;
use stackelberg::engine::Engine;
use stackelberg::gpu::GpuEngine;

/// Each is compiled into shaders of its own, which takes a software GPU over a second.
const GRAPHS: u64 = 16;

/// Whether the GPU ran something since it was made.
fn ran(engine: &GpuEngine) -> bool {
    engine.info().engine == "gpu" && engine.counters().dispatches > 0
}

#[test]
fn random_graphs_are_within_bounds() {
    let Some(mut engine) = gpu() else { return };
    let (worst, excluded) = random_graphs(&mut engine, 0..GRAPHS, [4, 6]);
    assert!(worst > 0.1, "the bounds are nowhere near the errors");
    assert!(excluded < 0.25, "too many elements are behind undecided choices");
    assert!(ran(&engine));
}

/// The functions among the bundled reference cases: every op, and models with gradients and Hessian
/// products.
#[test]
fn reference_cases_are_within_bounds() {
    let Some(mut engine) = gpu() else { return };
    reference_cases(&mut engine);
    assert!(ran(&engine));
}

#[test]
fn runs_are_within_bounds() {
    let Some(mut engine) = gpu() else { return };
    runs_of_every_kind(&mut engine);
    assert!(ran(&engine));
}

#[test]
fn the_narrow_network_is_within_bounds() {
    let Some(mut engine) = gpu() else { return };
    let [loss, gradient, product] = &hold(&mut engine, "network", &network(8, 16, 8, 1))[..] else { unreachable!() };
    for Held { name, report, width } in [loss, gradient, product] {
        println!("{name}: {report:?}, ‖bound‖ / ‖value‖ {width:.1e}");
        assert_eq!(report.excluded, 0);
    }
    // Wide, because sums of up to 8478 terms are bounded for any order, and the errors of 496 features
    // for all pointing one way; but a wrong sign or a dropped term of an array would be seen.
    assert!(loss.width < 1e-2 && gradient.width < 0.1 && product.width < 1.0);
    assert!(ran(&engine));
}
