//! What a session will run and hold, known before there is a device.

use std::rc::Rc;

use super::checkpoint::Plan;
use super::contract;
use super::inner::Inner;
use super::memory::{self, fixed, shared_scratch_bytes};
use super::method::Room;
use super::programs::{self, BAD_STEP, Linearized, OUTER_LAMBDA};
use super::{Method, Problem, SolveError};
use crate::compile::Program;
use crate::engine::several;
use crate::ir::DType;
use crate::rig::{Array, Compiled, Device, Function, Rig};

/// The functions and programs of a problem with a method, and the memory its sweeps take.
pub struct Blueprint {
    /// The step, what the method adds, and one chunk of the outer loss with its gradient.
    pub functions: Vec<Function>,
    /// The functions compiled, in the same order.
    pub programs: Vec<Rc<Program>>,
    /// Every array but the training states.
    pub arrays: Vec<Array>,
    /// For how many members of a population the programs run at once; they are compiled as for one.
    pub members: usize,
    /// Bytes of the scratch memory that the programs share, for all members.
    pub scratch: u64,
    /// Bytes of one training state with its step counter, of all members.
    pub state: u64,
    /// The arrays that hold the residuals of one training step, where there is an adjoint that takes them.
    pub residuals: Vec<Array>,
    /// The arrays of what each step records.
    pub records: Vec<String>,
    /// Which states are kept.
    pub checkpoints: Plan,
}

impl Blueprint {
    /// Checks and compiles a problem whose outer loss is taken on `validation` examples, and plans its memory. A
    /// [`Memory`](super::Memory) alone stands for reverse mode.
    pub fn new(problem: &Problem, validation: usize, method: impl Into<Box<dyn Method>>) -> Result<Self, SolveError> {
        Self::of(&Problem { validation, ..problem.clone() }, &*method.into())
    }

    /// The same for any inner problem and a method that is still to be used.
    pub fn of(inner: &dyn Inner, method: &dyn Method) -> Result<Self, SolveError> {
        Self::with(inner, method, &Compiled::default())
    }

    /// The same with programs that are kept: those that are there already are not compiled again.
    pub fn with(inner: &dyn Inner, method: &dyn Method, compiled: &Compiled) -> Result<Self, SolveError> {
        Self::population(inner, 1, method, compiled)
    }

    /// The same for so many members of a population.
    pub fn population(
        inner: &dyn Inner,
        members: usize,
        method: &dyn Method,
        compiled: &Compiled,
    ) -> Result<Self, SolveError> {
        inner.check()?;
        contract::check_inner(inner)?;
        contract::check_members(members, method)?;
        // A step whose adjoint is taken is cut as that is, so that both have the same bits.
        let linearized = method.takes_adjoints().then(|| Linearized::new(inner));
        let mut functions = match &linearized {
            Some(linearized) => vec![linearized.step(), linearized.adjoint()],
            None => vec![programs::step(inner)],
        };
        functions.extend(method.functions(inner));
        functions.push(programs::outer_gradient(inner));
        functions.push(programs::begin(inner));
        let mut programs: Vec<Rc<Program>> = functions.iter().map(|f| compiled.program(f)).collect::<Result<_, _>>()?;
        let records: Vec<String> = programs::records(&functions[0]).into_iter().map(str::to_owned).collect();
        let mut arrays = arrays(inner, &functions, &records);
        arrays.extend(method.arrays(inner).into_iter().map(Array::own));
        contract::check_names(&arrays, &functions)?;
        let state = (4 * (inner.state_len() as u64 + 1)).saturating_mul(members as u64);
        let residuals = linearized.as_ref().map_or(vec![], Linearized::residuals);
        let plan = |programs: &[Rc<Program>]| {
            let scratch = shared_scratch_bytes(programs).saturating_mul(members as u64);
            let room =
                Room { fixed: fixed(&arrays, members, scratch), state, residuals: fixed(&residuals, members, 0) };
            Ok::<_, SolveError>((scratch, method.plan(inner, room)?))
        };
        let (mut scratch, mut checkpoints) = plan(&programs)?;
        if let (Some(linearized), 1..) = (&linearized, checkpoints.kept) {
            let more = [linearized.keeping(), linearized.pullback()];
            let mut all = programs.clone();
            for function in &more {
                all.push(compiled.program(function)?);
            }
            // Their scratch memory may be what the residuals would have taken.
            match plan(&all) {
                Ok((more_scratch, better)) if better.kept > 0 => {
                    (scratch, checkpoints, programs) = (more_scratch, better, all);
                    functions.extend(more);
                }
                _ => checkpoints = checkpoints.keeping(0),
            }
        }
        if checkpoints.steps != inner.steps() || checkpoints.places < 2 {
            return Err(SolveError::Problem(format!(
                "the method plans {} steps over {} states; the training has {} steps, and takes 2 states at least",
                checkpoints.steps,
                checkpoints.places,
                inner.steps()
            )));
        }
        Ok(Blueprint { functions, programs, arrays, members, scratch, state, residuals, records, checkpoints })
    }

    /// Makes the arrays and loads the programs.
    pub(super) async fn rig(&self, device: &Device, compiled: &Compiled) -> Result<Rig, SolveError> {
        let mut rig = Rig::with(device, self.members, compiled.clone());
        for array in &self.arrays {
            rig.declare(array)?;
        }
        for (function, program) in self.functions.iter().zip(&self.programs) {
            rig.load(function, program).await?;
        }
        Ok(rig)
    }

    /// Bytes on the device in all.
    pub fn bytes(&self) -> u64 {
        let states = (self.checkpoints.places as u64).saturating_mul(self.state);
        let kept = (self.checkpoints.kept as u64).saturating_mul(fixed(&self.residuals, self.members, 0));
        fixed(&self.arrays, self.members, self.scratch).saturating_add(states).saturating_add(kept)
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
        let residuals = fixed(&self.residuals, self.members, 0);
        let kept = self.checkpoints.kept as u64;
        let rows = vec![
            (format!("{places} training states of {} bytes", self.state), places * self.state),
            (format!("residuals of {} of {residuals} bytes", several(kept, "step")), kept * residuals),
            memory::scratch(self.scratch),
        ];
        memory::print(rows.into_iter().chain(memory::rows(&self.arrays, self.members)))
    }
}

/// Every array that sweeps need but the training states and a method's own.
fn arrays(inner: &dyn Inner, functions: &[Function], records: &[String]) -> Vec<Array> {
    let (lambda, weights) = (inner.lambda_len(), inner.weights());
    let mut list = vec![
        Array::new("lambda", DType::F32, lambda),
        Array::new("given", DType::F32, weights),
        Array::new("gradient", DType::F32, inner.state_len()),
        Array::new(BAD_STEP, DType::U32, 1),
        Array::new("value", DType::F32, 1),
        Array::new("chunk", DType::U32, 1),
    ];
    list.extend(records.iter().map(|name| Array::new(name, DType::F32, inner.steps())));
    if functions.iter().any(|function| function.name == "outer_gradient" && programs::sees_lambda(function)) {
        list.push(Array::new(OUTER_LAMBDA, DType::F32, lambda));
    }
    let mut list: Vec<Array> = list.into_iter().map(Array::own).collect();
    list.extend(inner.arrays());
    list
}
