//! What is under a training: the graphs that its formulas became, the programs and shaders that these became, and what is
//! kept where.

use super::profile::{Bound, Ceilings};
use crate::bilevel::Opened;
use crate::compile::{Cost, Dispatch, Program, label};
use crate::kernels::{self, Target};

/// How often every dispatch is timed.
pub const REPEATS: usize = 5;

/// A session, opened up.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// What it computes with, in the order in which it was made.
    pub functions: Vec<Part>,
    /// Every array on the device.
    pub memory: String,
    /// Which training states are kept and what is run again, or why there is nothing of that kind.
    pub checkpoints: String,
    /// What the device can do at best, where that was measured.
    pub ceilings: Option<Ceilings>,
}

/// A function: one graph, one program.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name, such as `step_adjoint`.
    pub name: String,
    /// An operation a line.
    pub graph: String,
    /// What the device runs.
    pub dispatches: Vec<Run>,
}

/// A dispatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it computes, in the words of the graph.
    pub label: String,
    /// Its loop.
    pub listing: String,
    /// Its shader, for a GPU.
    pub wgsl: String,
    /// Operations on floats.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// The median of several runs on this device, where this function is run for a hypergradient.
    pub seconds: Option<f64>,
    /// The share of what the device can do, and what that is limited by, where both are known.
    pub fraction: Option<(f64, Bound)>,
}

impl Machine {
    /// Shows a session that was opened up, its dispatches held against what the device can do.
    pub fn new(opened: Opened, ceilings: Option<Ceilings>) -> Machine {
        let Opened { parts, seconds, memory, checkpoints } = opened;
        let functions = parts.iter().map(|(function, program)| {
            let outputs: Vec<_> = function.outputs.iter().map(|output| (output.name.clone(), output.node)).collect();
            let timed = seconds.iter().find(|(name, _)| *name == function.name).map(|(_, seconds)| &seconds[..]);
            Part {
                name: function.name.to_owned(),
                graph: function.graph.print(&outputs),
                dispatches: runs(program, timed, ceilings.as_ref()),
            }
        });
        Machine { functions: functions.collect(), memory, checkpoints, ceilings }
    }
}

fn runs(program: &Program, seconds: Option<&[f64]>, ceilings: Option<&Ceilings>) -> Vec<Run> {
    let costs = program.costs().into_iter().enumerate();
    let run = |(launch, (at, cost)): (&[Dispatch], (usize, Cost))| {
        let seconds = seconds.map(|seconds| seconds[at]);
        Run {
            label: label(launch),
            listing: launch.iter().map(Dispatch::listing).collect::<Vec<_>>().join("\n"),
            wgsl: match kernels::kernel(program, launch, Target::Gpu) {
                Ok(kernel) => kernel.wgsl,
                Err(error) => error.to_string(),
            },
            flops: cost.flops,
            bytes: cost.bytes,
            seconds,
            fraction: seconds.zip(ceilings).map(|(seconds, ceilings)| ceilings.reached(cost, seconds)),
        }
    };
    program.launches().zip(costs).map(run).collect()
}
