//! Where the time of a run goes: every dispatch of its programs, timed on a device and held against what that can do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::prepared::Prepared;
use super::record::DeviceRecord;
use crate::bilevel::SolveError;
use crate::compile::{Cost, Output, compile, label};
use crate::engine::{Clock, Timing, Values};
use crate::ir::{DType, Graph};
use crate::rig::Device;

/// The dispatches of a run's programs, as they were timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Profile of a run")]
pub struct Profile {
    /// What computed.
    #[serde(flatten)]
    pub device: DeviceRecord,
    /// Who counted the seconds.
    pub clock: Clock,
    /// What the device reaches in programs that do nothing else.
    pub ceilings: Ceilings,
    /// The programs of an outer iteration.
    pub programs: Vec<ProgramProfile>,
}

/// What a device can do at best, measured on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ceilings {
    /// Of a product of two square matrices.
    pub gflops: f64,
    /// Of a copy of an array that no cache holds: bytes read and written.
    pub gbps: f64,
}

impl Ceilings {
    /// What they are of a device: each the best of so many runs after one that warms it.
    pub async fn of(device: &Device, repeats: usize) -> Result<Self, SolveError> {
        Ok(ceilings(device, repeats).await?.0)
    }

    /// The time that the nearer ceiling would take, over these seconds, and which ceiling that is.
    pub fn reached(&self, Cost { flops, bytes }: Cost, seconds: f64) -> (f64, Bound) {
        let [compute, memory] = [rate(flops, seconds) / self.gflops, rate(bytes, seconds) / self.gbps];
        (compute.max(memory), if compute >= memory { Bound::Compute } else { Bound::Memory })
    }
}

/// So many in so many seconds, in 10⁹ a second.
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds / 1e9 } else { 0.0 }
}

/// A program and its dispatches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramProfile {
    /// `step`, `step_adjoint`, `pullback` (the adjoint from residuals that the step kept), `step_tangents` (of forward mode), `outer_gradient` (of one chunk
    /// of the outer loss).
    pub name: String,
    /// Of one run of it.
    pub seconds: f64,
    /// The dispatches in the order in which they run.
    pub dispatches: Vec<DispatchProfile>,
}

/// One dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DispatchProfile {
    /// What it computes, in the words of the graph, as `stackelberg explain` has it.
    pub label: String,
    /// The median of several runs.
    pub seconds: f64,
    /// Of its program's time.
    pub share: f64,
    /// Operations on floats, counted from the program.
    pub flops: u64,
    /// Bytes read and written, each element once, counted from the program.
    pub bytes: u64,
    /// Operations a second, in 10⁹.
    pub gflops: f64,
    /// Bytes a second, in 10⁹.
    pub gbps: f64,
    /// The time that the nearer ceiling would take, over the time that it takes: at 1 the device can do no better.
    pub fraction: f64,
    /// Which ceiling is nearer.
    pub bound: Bound,
}

/// What a dispatch could be limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Memory.
    Memory,
}

/// Side of the matrices, and elements of the array, of the two programs that ceilings are measured with.
const SIDE: usize = 768;
const COPIED: usize = 1 << 24;

/// Times every dispatch of a run's programs so often on a device, after a run to warm it.
pub async fn profile(run: &Prepared, device: &Device, repeats: usize) -> Result<Profile, TuneError> {
    let mut session = run.session(device, run.method()?).await?;
    let (before, clock) = ceilings(device, repeats).await?;
    let timed = session.profile(&run.start.arrays(&run.problem), repeats).await?;
    drop(session);
    // Measured on both sides: other work may slow down one of them.
    let (after, _) = ceilings(device, repeats).await?;
    let ceilings = Ceilings { gflops: before.gflops.max(after.gflops), gbps: before.gbps.max(after.gbps) };
    let programs = run.blueprint()?.programs.iter().filter_map(|program| {
        let seconds = timed.iter().find(|(name, _)| *name == program.name).map(|(_, seconds)| seconds)?;
        let labels = program.launches().map(label);
        let rows = labels.zip(seconds.iter().copied()).zip(program.costs());
        let all: f64 = seconds.iter().sum();
        let dispatches =
            rows.map(|((label, seconds), cost)| DispatchProfile::new(&label, seconds, all, cost, &ceilings));
        Some(ProgramProfile { name: program.name.clone(), seconds: all, dispatches: dispatches.collect() })
    });
    let programs = programs.collect();
    Ok(Profile { device: DeviceRecord::from(&device.info()), clock, ceilings, programs })
}

impl DispatchProfile {
    fn new(label: &str, seconds: f64, all: f64, cost: Cost, ceilings: &Ceilings) -> Self {
        let Cost { flops, bytes } = cost;
        let (fraction, bound) = ceilings.reached(cost, seconds);
        DispatchProfile {
            label: label.to_owned(),
            seconds,
            share: if all > 0.0 { seconds / all } else { 0.0 },
            flops,
            bytes,
            gflops: rate(flops, seconds),
            gbps: rate(bytes, seconds),
            fraction,
            bound,
        }
    }
}

/// What the device reaches in a matrix product and in a copy; and who counts its seconds.
async fn ceilings(device: &Device, repeats: usize) -> Result<(Ceilings, Clock), SolveError> {
    let mut product = Graph::new();
    let sides = ["a", "b"].map(|name| product.input(name, &[1, SIDE, SIDE], DType::F32));
    let c = product.matmul(sides[0], sides[1], [false, false]);
    let mut copy = Graph::new();
    let x = copy.input("x", &[COPIED], DType::F32);
    // A copy of an input alone is a store of every element.
    let y = copy.stop_gradient(x);
    let (product, clock) = least(device, &product, Output::new("c", c), repeats).await?;
    let (copied, _) = least(device, &copy, Output::new("y", y), repeats).await?;
    let gflops = 2.0 * (SIDE as f64).powi(3) / product / 1e9;
    Ok((Ceilings { gflops, gbps: 8.0 * COPIED as f64 / copied / 1e9 }, clock))
}

/// The least seconds of a program on arrays of its own, of one run more than so many.
async fn least(device: &Device, graph: &Graph, output: Output, repeats: usize) -> Result<(f64, Clock), SolveError> {
    let program = compile("ceiling", graph, std::slice::from_ref(&output))?;
    let id = device.load(&program).await?;
    let made = |name: &str, len: usize| -> Result<_, SolveError> {
        let array = device.create(name, DType::F32, len)?;
        // Memory that was never written may not be there yet.
        device.write(array, 0, Values::F32(&vec![1.0; len]))?;
        Ok(array)
    };
    let mut arrays = vec![];
    for &index in program.inputs.iter().chain(&program.outputs) {
        let buffer = program.buffer(index);
        arrays.push(made(&buffer.name, buffer.len)?);
    }
    let (inputs, outputs) = arrays.split_at(program.inputs.len());
    let binding = device.bind(id, inputs, outputs)?;
    let mut least = f64::INFINITY;
    let mut clock = Clock::Device;
    for _ in 0..=repeats {
        let Timing { seconds, clock: by } = device.time(binding).await?;
        (least, clock) = (least.min(seconds.iter().sum()), by);
    }
    device.unload(id);
    arrays.into_iter().for_each(|array| device.destroy(array));
    Ok((least, clock))
}
