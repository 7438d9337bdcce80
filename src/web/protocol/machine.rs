//! What computes a training, as the page shows it.

use serde::Serialize;
use tsify::Tsify;

use crate::experiment::machine::{Machine, Part, Run};
use crate::experiment::profile::Bound;

/// A session, opened up.
#[derive(Debug, Serialize, Tsify)]
pub struct OpenMachine {
    /// Its functions.
    pub functions: Vec<MachineFunction>,
    /// Every array on the device, as `stackelberg explain` prints them.
    pub memory: String,
    /// Which training states are kept, likewise, or why none are.
    pub checkpoints: String,
    /// What the device reaches in a product of two matrices, in 10⁹ operations a second, where that was measured.
    pub gflops: Option<f64>,
    /// And in a copy that no cache holds, in 10⁹ bytes a second.
    pub gbps: Option<f64>,
}

/// A function: one graph, one program.
#[derive(Debug, Serialize, Tsify)]
pub struct MachineFunction {
    /// Its name, such as `step_adjoint`.
    pub name: String,
    /// An operation a line.
    pub graph: String,
    /// What the device runs.
    pub dispatches: Vec<MachineDispatch>,
}

/// A dispatch.
#[derive(Debug, Serialize, Tsify)]
pub struct MachineDispatch {
    /// What it computes, in the words of the graph.
    pub label: String,
    /// Its loop.
    pub listing: String,
    /// Its shader, for a GPU.
    pub wgsl: String,
    /// Operations on floats.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
    /// Seconds on this device, as fine as the browser's clock is; none of what a hypergradient does not run.
    pub seconds: Option<f64>,
    /// The share of what the device can do, where both are known.
    pub fraction: Option<f64>,
    /// Whether memory is what limits it, and not arithmetic.
    pub memory: bool,
}

impl From<Machine> for OpenMachine {
    fn from(Machine { functions, memory, checkpoints, ceilings }: Machine) -> Self {
        let functions = functions.into_iter().map(MachineFunction::from).collect();
        let [gflops, gbps] = [ceilings.map(|at_best| at_best.gflops), ceilings.map(|at_best| at_best.gbps)];
        OpenMachine { functions, memory, checkpoints, gflops, gbps }
    }
}

impl From<Part> for MachineFunction {
    fn from(Part { name, graph, dispatches }: Part) -> Self {
        MachineFunction { name, graph, dispatches: dispatches.into_iter().map(MachineDispatch::from).collect() }
    }
}

impl From<Run> for MachineDispatch {
    fn from(Run { label, listing, wgsl, flops, bytes, seconds, fraction }: Run) -> Self {
        let [flops, bytes] = [flops, bytes].map(|count| count as f64);
        let memory = fraction.is_some_and(|(_, bound)| bound == Bound::Memory);
        let fraction = fraction.map(|(share, _)| share);
        MachineDispatch { label, listing, wgsl, flops, bytes, seconds, fraction, memory }
    }
}
