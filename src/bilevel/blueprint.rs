//! What a session will run and hold, known before there is a device.

use std::fmt::Write as _;

use super::checkpoint::Plan;
use super::method::Room;
use super::problem::{CHUNK, Function, Problem, Source};
use super::{Method, ParameterMap, SolveError};
use crate::compile::Program;
use crate::ir::DType;

/// An array that a session keeps on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub name: String,
    pub dtype: DType,
    /// Elements, of four bytes each.
    pub len: usize,
}

impl Array {
    pub(super) fn new(name: &str, dtype: DType, len: usize) -> Self {
        Array { name: name.to_owned(), dtype, len }
    }
}

/// The functions and programs of a problem with a method, and the memory its sweeps take.
pub struct Blueprint {
    /// The step, what the method adds, and one chunk of the outer loss with its gradient.
    pub functions: Vec<Function>,
    /// The functions compiled, in the same order.
    pub programs: Vec<Program>,
    /// Every array but the training states.
    pub arrays: Vec<Array>,
    /// Bytes of the scratch memory that the programs share.
    pub scratch: u64,
    /// Bytes of one training state with its step counter.
    pub state: u64,
    /// Which states are kept.
    pub checkpoints: Plan,
}

impl Blueprint {
    /// Checks and compiles a problem whose outer loss is taken on `validation` examples, and plans its memory. A
    /// [`Memory`](super::Memory) alone stands for reverse mode.
    pub fn new(problem: &Problem, validation: usize, method: impl Into<Box<dyn Method>>) -> Result<Self, SolveError> {
        Self::of(problem, validation, &*method.into())
    }

    /// The same for a method that is still to be used.
    pub fn of(problem: &Problem, validation: usize, method: &dyn Method) -> Result<Self, SolveError> {
        problem.check()?;
        let mut functions = vec![problem.step()];
        functions.extend(method.functions(problem));
        functions.push(problem.outer_gradient(validation));
        let programs: Vec<Program> = functions.iter().map(Function::compile).collect::<Result<_, _>>()?;
        let mut arrays = arrays(problem, validation);
        arrays.extend(method.arrays(problem));
        let state = 4 * (problem.state_len() as u64 + 1);
        let scratch = shared_scratch_bytes(&programs);
        let checkpoints = method.plan(problem, Room { fixed: fixed(&arrays, scratch), state })?;
        Ok(Blueprint { functions, programs, arrays, scratch, state, checkpoints })
    }

    /// Bytes on the device in all.
    pub fn bytes(&self) -> u64 {
        fixed(&self.arrays, self.scratch) + self.checkpoints.places as u64 * self.state
    }

    /// Refuses a budget that it exceeds: methods without states to spare take what they take.
    pub fn within(self, budget: u64) -> Result<Self, SolveError> {
        match self.bytes() {
            bytes if bytes > budget => Err(SolveError::OverBudget { budget, bytes }),
            _ => Ok(self),
        }
    }

    /// Every array with its bytes, the largest first, and their sum.
    pub fn print_memory(&self) -> String {
        let places = self.checkpoints.places as u64;
        let mut rows = vec![
            (format!("{places} training states of {} bytes", self.state), places * self.state),
            ("scratch, shared by the programs".to_owned(), self.scratch),
        ];
        rows.extend(self.arrays.iter().map(|a| {
            let dtype = format!("{:?}", a.dtype).to_lowercase();
            (format!("{} {dtype}[{}]", a.name, a.len), 4 * a.len as u64)
        }));
        rows.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let mut text = format!("memory plan: {} bytes on the device\n", self.bytes());
        for (what, bytes) in rows {
            let _ = writeln!(text, "  {bytes:>12}  {what}");
        }
        text
    }
}

fn fixed(arrays: &[Array], scratch: u64) -> u64 {
    4 * arrays.iter().map(|a| a.len as u64).sum::<u64>() + scratch
}

/// Scratch bytes of programs that share their slots.
fn shared_scratch_bytes(programs: &[Program]) -> u64 {
    let slots = programs.iter().map(|p| p.scratch.len()).max().unwrap_or(0);
    let largest = |slot: usize| programs.iter().filter_map(|p| p.scratch.get(slot)).max().copied().unwrap_or(0);
    (0..slots).map(|slot| largest(slot) as u64).sum()
}

/// Every array of a problem but the training states.
fn arrays(problem: &Problem, validation: usize) -> Vec<Array> {
    let (d, layout) = (problem.model.parameter_count(), problem.layout());
    let example: usize = problem.model.input().iter().product();
    let outputs: usize = problem.model.output().iter().product();
    let targets = |count: usize| if problem.loss.takes_labels() { count } else { count * outputs };
    let mut list = vec![];
    let mut declare = |name: &str, dtype, len| list.push(Array::new(name, dtype, len));
    declare("lambda", DType::F32, layout.len());
    declare("gradient", DType::F32, problem.state_len());
    declare("losses", DType::F32, problem.steps);
    declare("bad_step", DType::U32, 1);
    declare("value", DType::F32, 1);
    declare("chunk", DType::U32, 1);
    // One chunk of whichever set is evaluated.
    declare("set_x", DType::F32, CHUNK * example);
    declare("set_y", problem.loss.target_type(), targets(CHUNK));
    declare("limit", DType::U32, 1);
    if problem.loss.takes_labels() {
        declare("confusion", DType::F32, outputs * outputs);
    }
    for name in ParameterMap::INPUTS {
        declare(name, DType::U32, d);
    }
    for (name, count) in [("train", problem.train), ("validation", validation)] {
        declare(&format!("{name}_x"), DType::F32, count * example);
        declare(&format!("{name}_y"), problem.loss.target_type(), targets(count));
    }
    if problem.batches == Source::Table {
        declare("batches", DType::U32, problem.steps * problem.batch);
    }
    if problem.masked() == Some(Source::Table) {
        declare("masks", DType::F32, problem.steps * problem.mask_len());
    }
    if problem.takes_seed() {
        declare("seed", DType::U32, 2);
    }
    list
}
