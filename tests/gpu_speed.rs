//! Measures contractions and the cost of a dispatch; run on request:
//! `cargo test --release --test gpu_speed -- --ignored --nocapture`.
//!
//! Rates are per second of processor time (Linux), which other load on the machine does not
//! disturb; on a real GPU read the wall times.

mod engine_support;

use std::time::Instant;

use engine_support::programs::{inputs, problem, programs};
use engine_support::{Bound, Exprs, gpu, noise, program};
use pollster::block_on;
use stackelberg::compile::{Core, Program};
use stackelberg::engine::{BindingId, Command, Engine, Values};
use stackelberg::gpu::GpuEngine;
use stackelberg::ir::{DType, Scalar, numel};
use stackelberg::kernels::Tile;

use DType::F32;

/// Windows of a batch.
const BATCH: usize = 64;

/// Processor seconds of this process so far, or wall seconds where /proc does not tell.
fn seconds(start: Instant) -> f64 {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    ticks.map_or_else(|| start.elapsed().as_secs_f64(), |ticks| ticks / 100.0)
}

/// A contraction with its number of terms.
struct Case {
    name: String,
    program: Program,
    terms: usize,
}

fn case(name: &str, e: Exprs, domain: &[usize], core: Core, inputs: [usize; 2]) -> Case {
    let Core::Contract { extent, .. } = &core else { panic!("{name} is no contraction") };
    let len: usize = domain.iter().product();
    let terms = len * extent.iter().product::<usize>();
    let mut e = e;
    let acc = e.acc();
    let dispatch = e.dispatch(domain, core, &[(2, acc)]);
    Case {
        name: name.to_owned(),
        program: program(&inputs.map(|len| (F32, len)), &[(F32, len)], vec![dispatch]),
        terms,
    }
}

/// y[n, p, o] = Σ x[n, p + d, i] · w[d, i, o]
fn convolution(name: &str, time: usize, cin: usize, cout: usize) -> Case {
    let (taps, out) = (3, time - 2);
    let mut e = Exprs::default();
    let (n, p, o, d, i) = (e.coord(0), e.coord(1), e.coord(2), e.reduced(0), e.reduced(1));
    let place = e.op(Scalar::AddU, &[p, d]);
    let index = e.index(&[(n, time * cin), (place, cin), (i, 1)]);
    let a = e.load(0, index);
    let index = e.index(&[(d, cin * cout), (i, cout), (o, 1)]);
    let b = e.load(1, index);
    let core = Core::Contract { batch: 0, rows: 2, extent: vec![taps, cin], a, b };
    case(name, e, &[BATCH, out, cout], core, [BATCH * time * cin, taps * cin * cout])
}

/// w[d, i, o] = Σ x[n, p + d, i] · y[n, p, o]
fn kernel_gradient(name: &str, time: usize, cin: usize, cout: usize) -> Case {
    let (taps, out) = (3, time - 2);
    let mut e = Exprs::default();
    let (n, p, d, i, o) = (e.reduced(0), e.reduced(1), e.coord(0), e.coord(1), e.coord(2));
    let place = e.op(Scalar::AddU, &[p, d]);
    let index = e.index(&[(n, time * cin), (place, cin), (i, 1)]);
    let a = e.load(0, index);
    let index = e.index(&[(n, out * cout), (p, cout), (o, 1)]);
    let b = e.load(1, index);
    let core = Core::Contract { batch: 0, rows: 2, extent: vec![BATCH, out], a, b };
    case(name, e, &[taps, cin, cout], core, [BATCH * time * cin, BATCH * out * cout])
}

/// x[n, t, i] = Σ y[n, t − d, o] · w[d, i, o], guarded at the ends.
fn input_gradient(name: &str, time: usize, cin: usize, cout: usize) -> Case {
    let (taps, out) = (3, time - 2);
    let mut e = Exprs::default();
    let (n, t, i, d, o) = (e.coord(0), e.coord(1), e.coord(2), e.reduced(0), e.reduced(1));
    let (length, zero) = (e.word(out), e.word(0));
    let place = e.op(Scalar::SubU, &[t, d]);
    let inside = e.op(Scalar::LtU, &[place, length]);
    let clamped = e.op(Scalar::Select, &[inside, place, zero]);
    let index = e.index(&[(n, out * cout), (clamped, cout), (o, 1)]);
    let y = e.load(0, index);
    let nothing = e.float(0.0);
    let a = e.op(Scalar::Select, &[inside, y, nothing]);
    let index = e.index(&[(d, cin * cout), (i, cout), (o, 1)]);
    let b = e.load(1, index);
    let core = Core::Contract { batch: 0, rows: 2, extent: vec![taps, cout], a, b };
    case(name, e, &[BATCH, time, cin], core, [BATCH * out * cout, taps * cin * cout])
}

/// c[m, n] = Σ a[m, k] · b[k, n], each stored as given or transposed.
fn product(name: &str, [m, k, n]: [usize; 3], transpose: [bool; 2]) -> Case {
    let mut e = Exprs::default();
    let (row, column, step) = (e.coord(0), e.coord(1), e.reduced(0));
    let index = if transpose[0] { e.index(&[(step, m), (row, 1)]) } else { e.index(&[(row, k), (step, 1)]) };
    let a = e.load(0, index);
    let index = if transpose[1] { e.index(&[(column, k), (step, 1)]) } else { e.index(&[(step, n), (column, 1)]) };
    let b = e.load(1, index);
    case(name, e, &[m, n], Core::Contract { batch: 0, rows: 1, extent: vec![k], a, b }, [m * k, k * n])
}

/// The contractions of the activity network with F filters and H hidden units.
fn cases(filters: usize, hidden: usize) -> Vec<Case> {
    let flat = 62 * filters;
    vec![
        convolution("conv1", 128, 9, filters),
        convolution("conv2", 126, filters, filters),
        input_gradient("conv2 dx", 126, filters, filters),
        kernel_gradient("conv1 dw", 128, 9, filters),
        kernel_gradient("conv2 dw", 126, filters, filters),
        product("dense", [BATCH, flat, hidden], [false, false]),
        product("dense dx", [BATCH, hidden, flat], [false, true]),
        product("dense dw", [flat, BATCH, hidden], [true, false]),
        product("head", [BATCH, hidden, 6], [false, false]),
    ]
}

/// Billions of operations (two a term) per second of processor time.
fn measure(engine: &mut GpuEngine, case: &Case, tile: Option<Tile>) -> f64 {
    let id = match tile {
        Some(tile) => block_on(engine.load_tiled(&case.program, tile)).unwrap(),
        None => block_on(engine.load(&case.program)).unwrap(),
    };
    let mut arrays = vec![];
    for buffer in case.program.buffers.iter() {
        let array = engine.create(&buffer.name, F32, buffer.len).unwrap();
        engine.write(array, 0, Values::F64(&noise(1, buffer.len))).unwrap();
        arrays.push(array);
    }
    let binding = engine.bind(id, &arrays[..2], &arrays[2..]).unwrap();
    let cpu = per_run(engine, binding, 0.15);
    for array in arrays {
        engine.destroy(array);
    }
    (2 * case.terms) as f64 / cpu / 1e9
}

/// Rates of every contraction by tile; `CASE` and `TILES` (as `8x4x1,8x4x4`) choose.
#[test]
#[ignore = "a measurement, minutes long"]
fn contractions_by_tile() {
    let Some(mut engine) = gpu() else { return };
    println!("{:?}", engine.info());
    let tiles = std::env::var("TILES").unwrap_or("8x8x4,8x8x1,8x4x4,4x8x4,4x4x4,4x2x4,2x2x4,1x1x1".to_owned());
    let tiles = tiles.split(',').map(|tile| tile.split('x').map(|n| n.parse().unwrap()).collect::<Vec<usize>>());
    let tiles: Vec<Tile> = tiles.map(|t| Tile { rows: t[0], columns: t[1], steps: t[2] }).collect();
    for (filters, hidden) in [(8, 16), (64, 100)] {
        for case in cases(filters, hidden) {
            if std::env::var("CASE").is_ok_and(|wanted| wanted != case.name) {
                continue;
            }
            let rate = measure(&mut engine, &case, None);
            print!("{filters:>3} {:<9} {:>6.1} Mterm: {rate:.2}", case.name, case.terms as f64 / 1e6);
            for &tile in &tiles {
                if case.program.dispatches[0].core.extent().last().is_none_or(|last| last.is_multiple_of(tile.steps)) {
                    let rate = measure(&mut engine, &case, Some(tile));
                    print!(" | {}x{}x{} {rate:.2}", tile.rows, tile.columns, tile.steps);
                }
            }
            println!();
        }
    }
}

/// What each dispatch of the main job's programs costs.
#[test]
#[ignore = "a measurement"]
fn programs_by_dispatch() {
    let Some(mut engine) = gpu() else { return };
    for (filters, hidden) in [(8, 16), (64, 100)] {
        for program in programs(&problem(filters, hidden, BATCH)) {
            let mut rows = vec![];
            for dispatch in &program.dispatches {
                let terms = numel(&dispatch.domain) * numel(dispatch.core.extent());
                let alone = Program { dispatches: vec![dispatch.clone()], launches: vec![1], ..program.clone() };
                let id = block_on(engine.load(&alone)).unwrap();
                let bound = Bound::new(&mut engine, &alone, id, &inputs(&alone));
                let seconds = per_run(&mut engine, bound.binding, 0.05);
                rows.push((
                    seconds,
                    terms,
                    dispatch.label.clone(),
                    dispatch.domain.clone(),
                    dispatch.core.extent().to_vec(),
                ));
                bound.destroy(&mut engine);
            }
            let total: f64 = rows.iter().map(|row| row.0).sum();
            println!("\n{} with {filters} filters: {} dispatches, {:.2} ms", program.name, rows.len(), total * 1e3);
            rows.sort_by(|x, y| y.0.total_cmp(&x.0));
            for (seconds, terms, label, domain, extent) in rows.iter().take(14) {
                let rate = 2.0 * *terms as f64 / seconds / 1e9;
                println!("{:8.3} ms {rate:6.2} G/s {domain:?} Σ{extent:?} {label}", seconds * 1e3);
            }
        }
    }
}

/// Processor seconds of one run, measured over at least `least` seconds.
fn per_run(engine: &mut GpuEngine, binding: BindingId, least: f64) -> f64 {
    let mut times = 1;
    loop {
        let start = Instant::now();
        let before = seconds(start);
        engine.submit(&vec![Command::Run(binding); times]).unwrap();
        block_on(engine.finish()).unwrap();
        let took = seconds(start) - before;
        if times > 1 && took >= least {
            return took / times as f64;
        }
        times *= 4;
    }
}

#[test]
#[ignore = "a measurement"]
fn dispatches_and_first_use() {
    let Some(mut engine) = gpu() else { return };
    for (filters, tile) in [(8, (4, 4)), (64, (8, 4))] {
        for case in cases(filters, 16) {
            let start = Instant::now();
            let id =
                block_on(engine.load_tiled(&case.program, Tile { rows: tile.0, columns: tile.1, steps: 1 })).unwrap();
            block_on(engine.finish()).unwrap();
            let loaded = start.elapsed();
            let arrays: Vec<_> =
                case.program.buffers.iter().map(|b| engine.create(&b.name, F32, b.len).unwrap()).collect();
            let binding = engine.bind(id, &arrays[..2], &arrays[2..]).unwrap();
            let mut time = || {
                let start = Instant::now();
                engine.submit(&[Command::Run(binding)]).unwrap();
                block_on(engine.finish()).unwrap();
                start.elapsed()
            };
            println!("{} load {loaded:.1?}, first run {:.1?}, then {:.1?} {:.1?}", case.name, time(), time(), time());
        }
    }
    let tiny = convolution("tiny", 3, 1, 1);
    let id = block_on(engine.load(&tiny.program)).unwrap();
    let arrays: Vec<_> = tiny.program.buffers.iter().map(|b| engine.create(&b.name, F32, b.len).unwrap()).collect();
    let binding = engine.bind(id, &arrays[..2], &arrays[2..]).unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        let before = seconds(start);
        engine.submit(&vec![Command::Run(binding); 10_000]).unwrap();
        let recorded = start.elapsed();
        block_on(engine.finish()).unwrap();
        println!(
            "10000 dispatches: recorded in {recorded:.1?}, done in {:.1?}, cpu {:.2} s",
            start.elapsed(),
            seconds(start) - before
        );
    }
}
