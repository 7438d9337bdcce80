//! Each core on the GPU against plain f64 loops, whatever the tile, the grid or the device.

mod engine_support;

use engine_support::kernels::{self, contraction, counting};
use engine_support::{Exprs, gpu, program, reference, run, run_loaded};
use pollster::block_on;
use stackelberg::compile::Core;
use stackelberg::engine::Engine;
use stackelberg::ir::DType;
use stackelberg::kernels::Tile;

#[test]
fn contractions_of_random_shapes() {
    let Some(mut engine) = gpu() else { return };
    kernels::contractions(&mut engine, 30);
}

#[test]
fn every_tile_gives_the_same_bits() {
    let Some(mut engine) = gpu() else { return };
    let sizes = [(vec![2], vec![3, 8], vec![2, 12], vec![3, 4]), (vec![], vec![19], vec![20], vec![8])];
    for (batch, rows, columns, extent) in sizes {
        let (program, inputs) = contraction(&batch, &rows, &columns, &extent);
        let wanted = &reference(&program, &inputs)[0];
        let mut first: Option<Vec<f64>> = None;
        for [rows, columns, steps] in [[1, 1, 1], [1, 8, 4], [2, 4, 1], [4, 8, 4], [8, 1, 4], [8, 4, 1], [8, 8, 4]] {
            let tile = Tile { rows, columns, steps };
            let id = block_on(engine.load_tiled(&program, tile)).unwrap();
            let got = run_loaded(&mut engine, &program, id, &inputs).swap_remove(0);
            assert!(got.iter().zip(wanted).all(|(g, w)| (g - w).abs() < 1e-4), "{tile:?}");
            assert_eq!(&got, first.get_or_insert(got.clone()), "{tile:?}");
        }
    }
}

#[test]
fn reductions_of_random_shapes() {
    let Some(mut engine) = gpu() else { return };
    kernels::reductions(&mut engine, 20);
}

#[test]
fn first_maximum_of_random_rows() {
    let Some(mut engine) = gpu() else { return };
    kernels::first_maxima(&mut engine, 15);
}

#[test]
fn maps_write_several_arrays_at_offsets() {
    let Some(mut engine) = gpu() else { return };
    kernels::maps(&mut engine, 10);
}

#[test]
fn guarded_loads_of_padded_convolutions() {
    let Some(mut engine) = gpu() else { return };
    kernels::convolutions(&mut engine, 20);
}

#[test]
fn kernel_gradients_with_vectors_along_rows() {
    let Some(mut engine) = gpu() else { return };
    kernels::kernel_gradients(&mut engine);
}

#[test]
fn members_see_their_own_copies() {
    let Some(mut engine) = gpu() else { return };
    kernels::members_see_their_own_copies(&mut engine);
}

#[test]
fn timing_runs_a_program_once() {
    let Some(mut engine) = gpu() else { return };
    kernels::timing_runs_a_program_once(&mut engine);
}

#[test]
fn loops_launched_together() {
    let Some(mut engine) = gpu() else { return };
    kernels::loops_launched_together(&mut engine);
}

#[test]
fn scratch_and_arrays_updated_in_place() {
    let Some(mut engine) = gpu() else { return };
    kernels::scratch_and_arrays_updated_in_place(&mut engine);
}

#[test]
fn long_loops_run_to_their_end_or_are_refused() {
    let Some(mut engine) = gpu() else { return };
    kernels::long_loops(&mut engine);
    let error = block_on(engine.load(&counting(&[2, 16_384]))).unwrap_err();
    assert!(error.to_string().contains("its loop has 32768 steps"), "{error}");
}

#[test]
fn grids_of_more_than_65535_groups() {
    let Some(mut engine) = gpu() else { return };
    let len = 65_535 * 64 + 1000;
    let mut e = Exprs::default();
    let flat = e.flat();
    let program = program(&[], &[(DType::U32, len)], vec![e.dispatch(&[len], Core::Map, &[(0, flat)])]);
    let got = &run(&mut engine, &program, &[])[0];
    assert!(got.iter().enumerate().all(|(i, &x)| x == i as f64));
}

#[test]
fn the_same_bits_twice_and_on_two_devices() {
    let (program, inputs) = kernels::convolution(8, 40, [9, 16], 3, 0);
    let Some(mut engine_0) = gpu() else { return };
    let Some(mut engine_1) = gpu() else { return };
    let first = run(&mut engine_0, &program, &inputs);
    assert_eq!(first, run(&mut engine_0, &program, &inputs));
    assert_eq!(first, run(&mut engine_1, &program, &inputs));
}

#[test]
fn overflow_is_seen_by_its_bits() {
    let Some(mut engine) = gpu() else { return };
    kernels::overflow_is_seen_by_its_bits(&mut engine);
}
