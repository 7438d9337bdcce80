//! What is under a training: the graphs that its formulas became, the programs and shaders that these became, and what is
//! kept where.

use std::rc::Rc;

use crate::bilevel::{Blueprint, Inner, Session, SolveError};
use crate::compile::{Cost, Dispatch, Program};
use crate::ir::numel;
use crate::kernels::{self, Target};
use crate::rig::Function;

/// How often every dispatch is timed.
const REPEATS: usize = 5;

/// A session, opened up.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// What it computes with, in the order in which it was made.
    pub functions: Vec<Part>,
    /// Every array on the device.
    pub memory: String,
    /// Which training states are kept, and what is run again.
    pub checkpoints: String,
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
}

impl Machine {
    /// Opens up a session that is of this blueprint.
    pub async fn of<P: Inner + 'static>(
        session: &mut Session<P>,
        blueprint: &Blueprint,
    ) -> Result<Machine, SolveError> {
        // How long a dispatch takes does not depend on the point.
        let timed = session.profile(&vec![-1.0; (session.inner() as &dyn Inner).lambda_len()], REPEATS).await?;
        let part = |(function, program): (&Function, &Rc<Program>)| {
            let outputs: Vec<_> = function.outputs.iter().map(|output| (output.name.clone(), output.node)).collect();
            let seconds = timed.iter().find(|(name, _)| *name == function.name).map(|(_, seconds)| &seconds[..]);
            Part {
                name: function.name.to_owned(),
                graph: function.graph.print(&outputs),
                dispatches: runs(program, seconds),
            }
        };
        Ok(Machine {
            functions: blueprint.functions.iter().zip(&blueprint.programs).map(part).collect(),
            memory: blueprint.print_memory(),
            checkpoints: blueprint.checkpoints.print(),
        })
    }
}

fn runs(program: &Program, seconds: Option<&[f64]>) -> Vec<Run> {
    let costs = program.costs().into_iter().enumerate();
    let run = |(dispatch, (at, cost)): (&Dispatch, (usize, Cost))| Run {
        label: dispatch.label.clone(),
        listing: dispatch.listing(),
        wgsl: match kernels::kernel(program, dispatch, Target::Gpu) {
            Ok(kernel) => kernel.wgsl,
            Err(error) => error.to_string(),
        },
        flops: cost.flops,
        bytes: cost.bytes,
        seconds: seconds.map(|seconds| seconds[at]),
    };
    program.dispatches.iter().zip(costs).filter(|(dispatch, _)| numel(&dispatch.domain) > 0).map(run).collect()
}
