//! Arrays, programs and recorded commands on a shared device: what everything that trains stands on.
//!
//! A [`Device`] is an engine that many use; a [`Rig`] is what one of them has there, by name. Nothing here knows what is
//! trained, or does arithmetic.

mod compiled;
mod device;
mod function;
mod monitor;
mod pacing;
mod recording;

use std::collections::HashMap;

pub use compiled::Compiled;
pub use device::Device;
pub use function::{Array, Cut, Function};
pub(crate) use monitor::Quiet;
pub use monitor::{Flow, Monitor, Progress, Unattended};
pub(crate) use pacing::SEGMENT_SECONDS;
pub use recording::Recording;

use crate::compile::{CompileError, Program};
use crate::engine::{BindingId, BufferId, Command, EngineError, ProgramId, Values};
use crate::ir::DType;
use pacing::Pacer;
use web_time::Instant;

/// Why a rig did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum RigError {
    /// The device.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A graph that is no program.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Not as many values as an array has elements.
    #[error("{array} is given {given} values and takes {wanted}")]
    Length { array: String, given: usize, wanted: usize },
    /// A copy is written that an array does not have.
    #[error("`{array}` has {copies} copies, one a member, and is written for member {member}, counted from 0")]
    NoMember { array: String, member: usize, copies: usize },
    /// An array is read or written that was not declared.
    #[error("no array is called `{0}`: what programs read and write is declared by name before it is used")]
    NoArray(String),
    /// A program is bound that was not loaded.
    #[error("no program is called `{0}`: it has to be loaded before it is bound")]
    NoProgram(String),
    /// A [`Monitor`] asked to stop.
    #[error("stopped on request")]
    Stopped,
}

/// A program on the engine with the names of its ports.
struct Loaded {
    id: ProgramId,
    inputs: Vec<String>,
    outputs: Vec<(String, Option<usize>)>,
}

/// A binding with the arrays that it ends with.
struct Bound {
    id: BindingId,
    arrays: Vec<BufferId>,
}

#[derive(Clone, Copy)]
struct Named {
    id: BufferId,
    dtype: DType,
    len: usize,
    copies: usize,
}

/// What one user has on a device. Dropping it gives everything back.
///
/// It may be that of a population: programs then run for all its members at once, arrays have a copy for each, one
/// after another, and what is written into an array is written into every copy.
pub struct Rig {
    device: Device,
    members: usize,
    arrays: HashMap<String, Named>,
    programs: HashMap<&'static str, Loaded>,
    bindings: HashMap<(&'static str, Vec<BufferId>), Bound>,
    pacers: HashMap<&'static str, Pacer>,
    compiled: Compiled,
}

impl Rig {
    /// Nothing yet.
    pub fn new(device: &Device) -> Self {
        Self::with(device, 1, Compiled::default())
    }

    /// Nothing yet, for so many members of a population; what it compiles itself is kept among these programs.
    pub fn with(device: &Device, members: usize, compiled: Compiled) -> Self {
        Rig {
            device: device.clone(),
            members,
            arrays: HashMap::new(),
            programs: HashMap::new(),
            bindings: HashMap::new(),
            pacers: HashMap::new(),
            compiled,
        }
    }

    /// The device it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    // Arrays.

    /// Makes an array of zeros, a copy for each member; one of that name that was there before goes.
    pub fn create(&mut self, name: &str, dtype: DType, len: usize) -> Result<BufferId, RigError> {
        self.declare(&Array::new(name, dtype, len).own())
    }

    /// The same for an array that members may share.
    pub fn declare(&mut self, array: &Array) -> Result<BufferId, RigError> {
        let Array { name, dtype, len, own } = array;
        let (len, copies) = (*len, if *own { self.members } else { 1 });
        let id = self.device.create(name, *dtype, len.saturating_mul(copies))?;
        if let Some(before) = self.arrays.insert(name.clone(), Named { id, dtype: *dtype, len, copies }) {
            self.bindings.retain(|_, bound| !bound.arrays.contains(&before.id));
            self.device.destroy(before.id);
        }
        Ok(id)
    }

    /// Members that its programs run for.
    pub fn members(&self) -> usize {
        self.members
    }

    /// The arrays, by name.
    pub fn arrays(&self) -> Vec<Array> {
        let array = |(name, array): (&String, &Named)| Array {
            name: name.clone(),
            dtype: array.dtype,
            len: array.len,
            own: array.copies > 1,
        };
        let mut arrays: Vec<Array> = self.arrays.iter().map(array).collect();
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        arrays
    }

    /// Whether there is an array of that name.
    pub fn holds(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    fn named(&self, name: &str) -> Result<&Named, RigError> {
        self.arrays.get(name).ok_or_else(|| RigError::NoArray(name.to_owned()))
    }

    /// An array by name.
    pub fn array(&self, name: &str) -> Result<BufferId, RigError> {
        Ok(self.named(name)?.id)
    }

    /// Writes the first elements of an array, of all members'.
    pub fn write(&self, name: &str, values: Values) -> Result<(), RigError> {
        let Named { id, len, copies, .. } = *self.named(name)?;
        if values.len() > len && copies > 1 {
            return Err(RigError::Length { array: name.to_owned(), given: values.len(), wanted: len });
        }
        (0..copies).try_for_each(|copy| Ok(self.device.write(id, copy * len, values)?))
    }

    /// Writes an array whole, of all members'; refuses another number of values.
    pub fn fill(&self, name: &str, values: Values) -> Result<(), RigError> {
        self.check_whole(name, values)?;
        self.write(name, values)
    }

    /// Writes a member's copy of an array whole.
    pub fn fill_of(&self, member: usize, name: &str, values: Values) -> Result<(), RigError> {
        let Named { id, len, copies, .. } = *self.named(name)?;
        self.check_whole(name, values)?;
        if member >= copies {
            return Err(RigError::NoMember { array: name.to_owned(), member, copies });
        }
        Ok(self.device.write(id, member * len, values)?)
    }

    fn check_whole(&self, name: &str, values: Values) -> Result<(), RigError> {
        let (given, wanted) = (values.len(), self.named(name)?.len);
        match given == wanted {
            true => Ok(()),
            false => Err(RigError::Length { array: name.to_owned(), given, wanted }),
        }
    }

    /// Makes an array of numbers zero.
    pub fn clear(&self, name: &str) -> Result<(), RigError> {
        let Named { id, len, copies, .. } = *self.named(name)?;
        Ok(self.device.write(id, 0, Values::F32(&vec![0.0; len * copies]))?)
    }

    /// The whole content of each array, member after member; one read-back.
    pub async fn read(&self, arrays: &[BufferId]) -> Result<Vec<Vec<f64>>, RigError> {
        Ok(self.device.read(arrays).await?)
    }

    // Programs.

    /// Loads a program under its function's name. The members of a population share the arrays that were declared so
    /// before.
    pub async fn load(&mut self, function: &Function, program: &Program) -> Result<(), RigError> {
        let id = match self.members {
            1 => self.device.load(program).await?,
            members => {
                let shared = |name: &str| self.arrays.get(name).is_some_and(|array| array.copies == 1);
                let program = program.clone().for_members(members, shared)?;
                self.device.load(&program).await?
            }
        };
        let loaded = Loaded {
            id,
            inputs: function.graph.inputs().iter().map(|(name, _)| name.clone()).collect(),
            outputs: function.outputs.iter().map(|o| (o.name.clone(), o.in_place)).collect(),
        };
        if let Some(before) = self.programs.insert(function.name, loaded) {
            self.bindings.retain(|(name, _), _| *name != function.name);
            self.device.unload(before.id);
        }
        Ok(())
    }

    /// Compiles and loads a function that is not there yet.
    pub async fn require(&mut self, function: impl FnOnce() -> Function, name: &'static str) -> Result<(), RigError> {
        if self.is_loaded(name) {
            return Ok(());
        }
        let function = function();
        debug_assert_eq!(function.name, name);
        let program = self.compiled.program(&function)?;
        self.load(&function, &program).await
    }

    /// Whether there is a program of that name.
    pub fn is_loaded(&self, program: &str) -> bool {
        self.programs.contains_key(program)
    }

    /// Binds a program's ports by name: the given ones first, then the rig's own arrays. Made once.
    pub fn bind(&mut self, program: &'static str, ports: &[(&str, BufferId)]) -> Result<BindingId, RigError> {
        let key = (program, ports.iter().map(|(_, buffer)| *buffer).collect());
        if let Some(bound) = self.bindings.get(&key) {
            return Ok(bound.id);
        }
        let find = |name: &String| match ports.iter().find(|(port, _)| port == name) {
            Some((_, buffer)) => Ok(*buffer),
            None => self.array(name),
        };
        let loaded = self.programs.get(program).ok_or_else(|| RigError::NoProgram(program.to_owned()))?;
        let inputs: Vec<BufferId> = loaded.inputs.iter().map(find).collect::<Result<_, _>>()?;
        let output = |(name, at): &(String, Option<usize>)| at.map_or_else(|| find(name), |i| Ok(inputs[i]));
        let outputs: Vec<BufferId> = loaded.outputs.iter().map(output).collect::<Result<_, _>>()?;
        let id = self.device.bind(loaded.id, &inputs, &outputs)?;
        self.bindings.insert(key, Bound { id, arrays: [inputs, outputs].concat() });
        Ok(id)
    }

    // Commands.

    /// Copies whole arrays to others of their length, in one submission.
    pub fn copy(&self, pairs: &[(BufferId, BufferId)]) -> Result<(), RigError> {
        let commands: Vec<Command> = pairs.iter().map(|&(from, to)| Command::Copy { from, to }).collect();
        Ok(self.device.submit(&commands)?)
    }

    /// Runs bindings in one submission, and does not wait.
    pub fn submit(&self, bindings: &[BindingId]) -> Result<(), RigError> {
        let commands: Vec<Command> = bindings.iter().map(|&binding| Command::Run(binding)).collect();
        Ok(self.device.submit(&commands)?)
    }

    /// Runs bindings one after another, as long as there is a next one, in segments: one submission each, starting with
    /// one binding and growing until a segment takes some 10 ms. Segments of one `kind` are paced together.
    pub async fn replay(
        &mut self,
        kind: &'static str,
        mut next: impl FnMut(&mut Rig) -> Result<Option<BindingId>, RigError>,
        progress: &mut Progress,
        monitor: &mut dyn Monitor,
    ) -> Result<(), RigError> {
        let mut commands = vec![];
        loop {
            let length = self.pacers.entry(kind).or_default().length;
            commands.clear();
            while commands.len() < length
                && let Some(binding) = next(self)?
            {
                commands.push(Command::Run(binding));
            }
            if commands.is_empty() {
                return Ok(());
            }
            let start = Instant::now();
            self.device.submit(&commands)?;
            self.device.finish().await?;
            let seconds = start.elapsed().as_secs_f64();
            self.pacers.entry(kind).or_default().record(commands.len(), seconds);
            progress.done += commands.len() as u64;
            monitor.progress(progress.done, progress.total);
            if monitor.breathe().await == Flow::Stop {
                return Err(RigError::Stopped);
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.programs.values().for_each(|program| self.device.unload(program.id));
        self.arrays.values().for_each(|array| self.device.destroy(array.id));
    }
}
