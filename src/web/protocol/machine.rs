//! What computes a training, as the page shows it.

use serde::Serialize;
use tsify::Tsify;

use crate::experiment::machine::{Machine, Part, Run};

/// A session, opened up.
#[derive(Debug, Serialize, Tsify)]
pub struct OpenMachine {
    /// Its functions.
    pub functions: Vec<MachineFunction>,
    /// Every array on the device, as `stackelberg explain` prints them.
    pub memory: String,
    /// Which training states are kept, likewise.
    pub checkpoints: String,
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
}

impl From<Machine> for OpenMachine {
    fn from(Machine { functions, memory, checkpoints }: Machine) -> Self {
        OpenMachine { functions: functions.into_iter().map(MachineFunction::from).collect(), memory, checkpoints }
    }
}

impl From<Part> for MachineFunction {
    fn from(Part { name, graph, dispatches }: Part) -> Self {
        MachineFunction { name, graph, dispatches: dispatches.into_iter().map(MachineDispatch::from).collect() }
    }
}

impl From<Run> for MachineDispatch {
    fn from(Run { label, listing, wgsl, flops, bytes, seconds }: Run) -> Self {
        let [flops, bytes] = [flops, bytes].map(|count| count as f64);
        MachineDispatch { label, listing, wgsl, flops, bytes, seconds }
    }
}
