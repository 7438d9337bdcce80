//! The processor engine: each core against plain f64 loops, random graphs and the main job's networks
//! within the computed error bounds, the same bits whatever the number of threads, and what a sweep
//! costs.

mod engine_support;

use engine_support::bounds::{
    Held, Problem, hold, network, random_graph, random_graphs, reference_cases, runs_of_every_kind,
};
use engine_support::graphs::Drawn;
use engine_support::programs::{close_to_f64, inputs, problem, programs};
use engine_support::{Exprs, gpu, kernels, noise, program, run, scalars};
use pollster::block_on;
use proptest::prelude::*;
use stackelberg::bilevel::{Estimate, Memory, Session, SessionData, Set, Targets, Unattended};
use stackelberg::compile::{Core, Output, Program, compile};
use stackelberg::cpu::CpuEngine;
use stackelberg::interp::bound;
use stackelberg::ir::{DType, Scalar};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

/// Filters and hidden units of the narrow and of the full network.
const NETWORKS: [(usize, usize); 2] = [(8, 16), (64, 100)];

/// Two threads, so that sharing is tried on any machine.
fn engine() -> CpuEngine {
    CpuEngine::new(2)
}

#[test]
fn contractions_of_random_shapes() {
    kernels::contractions(&mut engine(), 1500);
}

#[test]
fn reductions_of_random_shapes() {
    kernels::reductions(&mut engine(), 800);
}

#[test]
fn first_maximum_of_random_rows() {
    kernels::first_maxima(&mut engine(), 800);
}

#[test]
fn maps_write_several_arrays_at_offsets() {
    kernels::maps(&mut engine(), 800);
}

#[test]
fn guarded_loads_of_padded_convolutions() {
    kernels::convolutions(&mut engine(), 1000);
}

#[test]
fn kernel_gradients() {
    kernels::kernel_gradients(&mut engine());
}

#[test]
fn members_see_their_own_copies() {
    // Threads share a member's work, or take members.
    for threads in [1, 2] {
        kernels::members_see_their_own_copies(&mut CpuEngine::new(threads));
    }
}

#[test]
fn timing_runs_a_program_once() {
    kernels::timing_runs_a_program_once(&mut engine());
    kernels::timing_runs_a_program_once(&mut ReferenceEngine::new());
}

#[test]
fn loops_launched_together() {
    kernels::loops_launched_together(&mut engine());
}

#[test]
fn scratch_and_arrays_updated_in_place() {
    kernels::scratch_and_arrays_updated_in_place(&mut engine());
}

#[test]
fn long_loops_run_to_their_end() {
    kernels::long_loops(&mut engine());
}

#[test]
fn overflow_is_seen_by_its_bits() {
    kernels::overflow_is_seen_by_its_bits(&mut engine());
}

#[test]
fn every_scalar_function_is_within_its_bound() {
    scalars::every_row_is_within_its_bound(&mut engine());
    scalars::select_takes_words_too(&mut engine());
}

/// The left operand lies in order once the loop is cut by 2 and 4, the right one by 14: in no piece
/// that is good for the left can the right be read where it lies.
#[test]
fn operands_whose_loops_are_cut_at_different_places() {
    let mut e = Exprs::default();
    let (row, column, step) = (e.coord(0), e.coord(1), e.reduced(0));
    let [two, four, eight, fourteen] = [2, 4, 8, 14].map(|n| e.word(n));
    let halves = e.op(Scalar::DivU, &[step, two]);
    let middle = e.op(Scalar::RemU, &[halves, four]);
    let outer = e.op(Scalar::DivU, &[step, eight]);
    let inner = e.op(Scalar::RemU, &[step, two]);
    let index = e.index(&[(row, 28), (outer, 8), (middle, 2), (inner, 1)]);
    let a = e.load(0, index);
    let wrapped = e.op(Scalar::RemU, &[step, fourteen]);
    let index = e.index(&[(wrapped, 4), (column, 1)]);
    let b = e.load(1, index);
    let acc = e.acc();
    let core = Core::Contract { batch: 0, rows: 1, extent: vec![28], a, b };
    let dispatch = e.dispatch(&[2, 4], core, &[(2, acc)]);
    let program = program(&[(DType::F32, 56), (DType::F32, 56)], &[(DType::F32, 8)], vec![dispatch]);
    kernels::compare(&mut engine(), &program, &[noise(1, 56), noise(2, 56)], 28);
}

#[test]
fn maps_of_many_elements() {
    let len = (1 << 22) + 1000;
    let mut e = Exprs::default();
    let flat = e.flat();
    let program = program(&[], &[(DType::U32, len)], vec![e.dispatch(&[len], Core::Map, &[(0, flat)])]);
    let got = &run(&mut engine(), &program, &[])[0];
    assert!(got.iter().enumerate().all(|(i, &x)| x == i as f64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn graphs_of_every_primitive_are_within_bounds(
        words in prop::collection::vec(any::<u32>(), 10..400),
        seed in 0u32..1 << 20,
    ) {
        let drawn = Drawn::new(&words, seed);
        let program = compile("drawn", &drawn.graph, &drawn.outputs).unwrap();
        let got = run(&mut engine(), &program, &drawn.inputs);
        let bounds = bound(&drawn.graph, &drawn.nodes(), &drawn.inputs);
        for ((output, bounds), got) in drawn.outputs.iter().zip(&bounds).zip(&got) {
            if let Err(mismatch) = bounds.check(&output.name, got) {
                prop_assert!(false, "{mismatch} in\n{}", drawn.print());
            }
        }
    }
}

#[test]
fn random_derivatives_are_within_bounds() {
    let (worst, excluded) = random_graphs(&mut engine(), 0..60, [4, 6]);
    assert!(worst > 0.1, "the bounds are nowhere near the errors");
    assert!(excluded < 0.25, "too many elements are behind undecided choices");
}

/// Large enough to be shared out and cut into blocks, with ends that fill neither vectors nor blocks.
#[test]
fn random_derivatives_of_large_arrays_are_within_bounds() {
    let (_, excluded) = random_graphs(&mut engine(), 0..3, [67, 618]);
    assert!(excluded < 0.6, "too many elements are behind undecided choices");
}

#[test]
fn bundled_reference_cases_are_within_bounds() {
    reference_cases(&mut engine());
}

/// Loss, gradient and Hessian product of both networks, on the processor and on the GPU, each held to
/// the same bounds.
#[test]
fn runs_are_within_bounds() {
    runs_of_every_kind(&mut engine());
}

#[test]
fn both_networks_are_within_bounds_as_on_the_gpu() {
    for ((filters, hidden), batch) in NETWORKS.into_iter().zip([8, 1]) {
        let problem = network(filters, hidden, batch, 1);
        let on_gpu = gpu().map(|mut gpu| hold(&mut gpu, "gpu", &problem));
        let held: Vec<Held> =
            hold(&mut engine(), "cpu", &problem).into_iter().chain(on_gpu.into_iter().flatten()).collect();
        for Held { name, report, width } in held {
            println!("{filters} filters, {name}: {report:?}, ‖bound‖ / ‖value‖ {width:.1e}");
            assert!(4 * report.excluded <= report.elements, "too many elements are behind undecided choices");
        }
    }
}

#[test]
fn training_steps_and_their_adjoints() {
    let mut cpu = engine();
    for (filters, hidden, batch) in [(8, 16, 8), (3, 5, 5), (64, 100, 2)] {
        for program in programs(&problem(filters, hidden, batch)) {
            close_to_f64(&mut cpu, &program);
        }
    }
}

/// Whether a program gives the same bits on 1, 2 and 3 threads.
fn same_on_any_threads(program: &Program, inputs: &[Vec<f64>]) {
    let bits = |threads: usize| -> Vec<Vec<u64>> {
        let outputs = run(&mut CpuEngine::new(threads), program, inputs);
        outputs.into_iter().map(|output| output.into_iter().map(f64::to_bits).collect()).collect()
    };
    let one = bits(1);
    assert!(one == bits(2) && one == bits(3), "{}", program.name);
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for (filters, hidden) in NETWORKS {
        for program in programs(&problem(filters, hidden, 64)) {
            same_on_any_threads(&program, &inputs(&program));
        }
    }
    for seed in 0..3 {
        let Problem { graph, outputs, inputs } = random_graph(seed, [67, 618]);
        let outputs: Vec<Output> = outputs.iter().map(|(name, id)| Output::new(name, *id)).collect();
        same_on_any_threads(&compile(&format!("graph {seed}"), &graph, &outputs).unwrap(), &inputs);
    }
}

/// Sweeps over eight steps of a network on random windows.
fn sweeps(filters: usize, hidden: usize, threads: usize, memory: Memory) -> Estimate {
    let problem = stackelberg::bilevel::Problem { steps: 8, ..problem(filters, hidden, 16) };
    let mut stream = Stream::new(3, Purpose::Search, 1);
    let mut set = |count: usize| {
        let x: Vec<f32> = (0..count * 128 * 9).map(|_| stream.normal() as f32).collect();
        Set { x: x.into(), targets: Targets::Labels((0..count).map(|k| k as u32 % 6).collect()), count }
    };
    let data = SessionData::new(set(problem.train), set(140), problem.model.initial_parameters(0), 7);
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].fill(0.01f64.ln());
    lambda[layout.scalars].fill(0.5);
    lambda[layout.l2_log].fill(1e-3f64.ln());
    let device = Device::new(CpuEngine::new(threads));
    block_on(async {
        let mut session = Session::new(&device, problem, &data, memory).await.unwrap();
        let first = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
        let before = device.counters();
        let again = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
        let after = device.counters();
        assert!(first == again, "the same sweep gives the same bits");
        assert_eq!(after.readbacks - before.readbacks, 2, "one after the outer loss, one at the end");
        assert_eq!(after.buffers_created, before.buffers_created);
        assert_eq!((after.bytes, after.peak_bytes), (before.bytes, session.predicted_bytes()));
        first
    })
}

#[test]
fn sweeps_give_the_same_bits_on_any_threads_from_any_checkpoints_and_create_nothing() {
    for (filters, hidden) in NETWORKS {
        let stored = sweeps(filters, hidden, 1, Memory::StoreAll);
        assert!(stored.bad_step.is_none() && stored.hypergradient.iter().any(|h| *h != 0.0));
        for threads in [1, 2, 3] {
            let again = sweeps(filters, hidden, threads, Memory::Slots(3));
            assert!(again.inner_losses == stored.inner_losses, "{threads} threads");
            assert!(again.hypergradient == stored.hypergradient, "{threads} threads");
        }
    }
}

#[test]
fn what_scratch_memory_held_before_changes_nothing() {
    let mut used = engine();
    for program in programs(&problem(8, 16, 8)).iter().cycle().take(8) {
        let inputs = inputs(program);
        assert!(run(&mut used, program, &inputs) == run(&mut engine(), program, &inputs), "{}", program.name);
    }
}
