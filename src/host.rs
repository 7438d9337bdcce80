//! What engines have in common whose arrays lie in the host's memory: everything but the arithmetic.

use std::future::ready;
use std::ops::Range;

use slotmap::SlotMap;

use crate::compile::{Buffer, BufferIndex, Place, Program};
use crate::engine::{
    self, BindingId, BufferId, Clock, Command, Counters, Engine, EngineError, EngineInfo, Holdings, LocalFuture,
    NO_ARRAY, NO_BINDING, NO_PROGRAM, ProgramId, Result, Timing, Values, refuse,
};
use crate::ir::DType;

/// An element as an engine keeps it.
pub trait Cell: Copy + bytemuck::Zeroable + 'static {
    /// A value as an array of this type holds it, rounded.
    fn new(dtype: DType, value: f64) -> Self;

    /// The value that it stands for.
    fn value(self, dtype: DType) -> f64;
}

/// How an engine computes.
pub trait Arithmetic {
    /// An element of its arrays.
    type Cell: Cell;
    /// A program made ready to run.
    type Ready: 'static;

    /// Makes a program ready; done once when it is loaded.
    fn prepare(&self, program: &Program) -> Self::Ready;

    /// Bytes that a program made ready holds for itself while it runs.
    fn own_bytes(&self, program: &Self::Ready) -> u64;

    /// Runs all dispatches of a program on its arrays. Where seconds are asked for, there is a place for each dispatch,
    /// to which what it took is added.
    fn run(&self, program: &mut Self::Ready, memory: Memory<'_, Self::Cell>, seconds: Option<&mut [f64]>);
}

/// The arrays of a running program.
pub struct Memory<'a, C> {
    arrays: &'a mut Arrays<C>,
    buffers: &'a [Buffer],
    /// Array of each buffer of the program.
    places: &'a [BufferId],
    /// Whose copies are read and written.
    member: usize,
}

impl<C> Memory<'_, C> {
    /// Turns to a member of the population that the program runs for.
    pub fn turn_to(&mut self, member: usize) {
        self.member = member;
    }

    /// Where the member's copy of a buffer lies in its array.
    fn copy(&self, buffer: BufferIndex) -> Range<usize> {
        let buffer = &self.buffers[buffer.0 as usize];
        let first = self.member * buffer.step;
        first..first + buffer.len
    }

    /// The elements of an array.
    pub fn get(&self, buffer: BufferIndex) -> &[C] {
        &self.arrays[self.places[buffer.0 as usize]].cells[self.copy(buffer)]
    }

    /// The elements of an array, to be written.
    pub fn get_mut(&mut self, buffer: BufferIndex) -> &mut [C] {
        let copy = self.copy(buffer);
        &mut self.arrays[self.places[buffer.0 as usize]].cells[copy]
    }

    /// Where a buffer's array lies, and the elements of all members. Pointers of buffers that share an array stay valid beside each other.
    pub fn pointer(&mut self, buffer: BufferIndex) -> (*mut C, usize) {
        let cells = &mut self.arrays[self.places[buffer.0 as usize]].cells;
        // Not by way of a slice, whose making would end the pointers made before.
        (cells.as_mut_ptr(), cells.len())
    }
}

/// An engine over some arithmetic.
///
/// Its counters count what a device would do: a dispatch each loop, a submission each call of
/// `submit`, a read-back each call of `read`, and four bytes an element.
pub struct HostEngine<A: Arithmetic> {
    arithmetic: A,
    info: EngineInfo,
    counters: Counters,
    /// All arrays, the scratch slots among them.
    arrays: Arrays<A::Cell>,
    /// The scratch slots, largest first; all programs share them.
    scratch: Vec<BufferId>,
    programs: SlotMap<ProgramId, Loaded<A::Ready>>,
    bindings: SlotMap<BindingId, Binding>,
}

type Arrays<C> = SlotMap<BufferId, Array<C>>;

struct Array<C> {
    label: String,
    /// None for scratch.
    dtype: Option<DType>,
    /// Elements, whether they have their memory or not.
    len: usize,
    cells: Vec<C>,
    /// What ends with it.
    bindings: Vec<BindingId>,
}

struct Loaded<R> {
    program: Program,
    ready: R,
    /// Position in the engine's scratch memory of each slot of the program.
    slots: Vec<usize>,
}

struct Binding {
    program: ProgramId,
    /// Array of each buffer of the program.
    places: Vec<BufferId>,
}

impl<A: Arithmetic> HostEngine<A> {
    /// An engine without arrays or programs.
    pub fn over(arithmetic: A, info: EngineInfo) -> Self {
        HostEngine {
            arithmetic,
            info,
            counters: Counters::default(),
            arrays: SlotMap::with_key(),
            scratch: vec![],
            programs: SlotMap::with_key(),
            bindings: SlotMap::with_key(),
        }
    }

    /// An array's label, type and length.
    fn describe(&self, id: BufferId) -> Result<(&str, (DType, usize))> {
        match self.arrays.get(id) {
            Some(Array { label, dtype: Some(dtype), len, .. }) => Ok((label, (*dtype, *len))),
            _ => refuse(NO_ARRAY),
        }
    }

    fn allocate(&mut self, label: &str, dtype: Option<DType>, len: usize) -> Result<BufferId> {
        self.check_size(label, len)?;
        self.counters.buffers_created += 1;
        self.count_bytes(4 * len as u64);
        Ok(self.arrays.insert(Array { label: label.to_owned(), dtype, len, cells: vec![], bindings: vec![] }))
    }

    fn check_size(&self, label: &str, len: usize) -> Result<()> {
        let (bytes, limit) = ((len as u64).saturating_mul(4), self.info.max_buffer_bytes);
        if bytes > limit {
            return Err(EngineError::OutOfMemory { what: label.to_owned(), bytes, limit: Some(limit) });
        }
        Ok(())
    }

    /// Gives an array its memory, zeros, once something is to be done with it: a long training begins before its last
    /// states have theirs.
    fn hold(&mut self, id: BufferId) -> Result<()> {
        let Array { label, len, cells, .. } = &mut self.arrays[id];
        if cells.len() < *len {
            let bytes = 4 * *len as u64;
            let too_much = |()| EngineError::OutOfMemory { what: format!("array `{label}`"), bytes, limit: None };
            *cells = bytemuck::allocation::try_zeroed_vec(*len).map_err(too_much)?;
        }
        Ok(())
    }

    fn count_bytes(&mut self, bytes: u64) {
        self.counters.bytes += bytes;
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.bytes);
    }

    /// Makes room for a program's scratch slots; returns where each lies. Slots are matched by size,
    /// so programs share memory whatever the order of their slots.
    fn reserve(&mut self, sizes: &[usize]) -> Result<Vec<usize>> {
        let mut by_size: Vec<usize> = (0..sizes.len()).collect();
        by_size.sort_by_key(|&slot| std::cmp::Reverse(sizes[slot]));
        let mut slots = vec![0; sizes.len()];
        for (position, slot) in by_size.into_iter().enumerate() {
            let len = sizes[slot].div_ceil(4);
            slots[slot] = position;
            let id = match self.scratch.get(position) {
                Some(&id) => id,
                None => {
                    let id = self.allocate("scratch", None, 0)?;
                    self.scratch.push(id);
                    id
                }
            };
            let grown = len.saturating_sub(self.arrays[id].len);
            if grown > 0 {
                self.check_size("scratch", len)?;
                self.count_bytes(4 * grown as u64);
                self.arrays[id].len = len;
                self.hold(id)?;
            }
        }
        Ok(slots)
    }

    /// Ends a binding that one of its arrays or its program ends.
    fn unbind(&mut self, id: BindingId) {
        let Some(binding) = self.bindings.remove(id) else { return };
        for place in binding.places {
            if let Some(array) = self.arrays.get_mut(place) {
                array.bindings.retain(|other| *other != id);
            }
        }
    }

    fn free(&mut self, id: BufferId) {
        if let Some(array) = self.arrays.remove(id) {
            self.counters.bytes -= 4 * array.len as u64;
            array.bindings.into_iter().for_each(|binding| self.unbind(binding));
        }
    }

    fn run(&mut self, id: BindingId, seconds: Option<&mut [f64]>) -> Result<()> {
        let Some(Binding { program, places }) = self.bindings.get(id) else { return refuse(NO_BINDING) };
        let loaded = &mut self.programs[*program];
        let buffers = &loaded.program.buffers;
        let memory = Memory { arrays: &mut self.arrays, buffers, places, member: 0 };
        self.arithmetic.run(&mut loaded.ready, memory, seconds);
        self.counters.dispatches += loaded.program.launches.len() as u64;
        Ok(())
    }

    fn copy(&mut self, from: BufferId, to: BufferId) -> Result<()> {
        let ((source, given), (target, wanted)) = (self.describe(from)?, self.describe(to)?);
        engine::check_copy(from == to, [source, target], [given, wanted])?;
        self.hold(from)?;
        self.hold(to)?;
        if let Some([source, target]) = self.arrays.get_disjoint_mut([from, to]) {
            target.cells.copy_from_slice(&source.cells);
        }
        Ok(())
    }

    fn values(&mut self, id: BufferId) -> Result<Vec<f64>> {
        let (_, (dtype, _)) = self.describe(id)?;
        self.hold(id)?;
        Ok(self.arrays[id].cells.iter().map(|cell| cell.value(dtype)).collect())
    }
}

impl<A: Arithmetic> Engine for HostEngine<A> {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn holdings(&self) -> Holdings {
        Holdings {
            arrays: self.arrays.len() - self.scratch.len(),
            programs: self.programs.len(),
            bindings: self.bindings.len(),
        }
    }

    fn create(&mut self, label: &str, dtype: DType, len: usize) -> Result<BufferId> {
        self.allocate(label, Some(dtype), len)
    }

    fn destroy(&mut self, buffer: BufferId) {
        if self.describe(buffer).is_ok() {
            self.free(buffer);
        }
    }

    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> Result<()> {
        let (label, (dtype, len)) = self.describe(buffer)?;
        engine::check_write(label, (dtype, len), offset, values)?;
        self.hold(buffer)?;
        let target = &mut self.arrays[buffer].cells[offset..offset + values.len()];
        let cell = |value: f64| A::Cell::new(dtype, value);
        match values {
            Values::F32(x) => target.iter_mut().zip(x).for_each(|(t, &x)| *t = cell(x.into())),
            Values::F64(x) => target.iter_mut().zip(x).for_each(|(t, &x)| *t = cell(x)),
            Values::U32(x) => target.iter_mut().zip(x).for_each(|(t, &x)| *t = cell(x.into())),
        }
        Ok(())
    }

    fn read(&mut self, buffers: &[BufferId]) -> LocalFuture<'static, Result<Vec<Vec<f64>>>> {
        self.counters.readbacks += 1;
        Box::pin(ready(buffers.iter().map(|&id| self.values(id)).collect()))
    }

    fn load(&mut self, program: &Program) -> LocalFuture<'static, Result<ProgramId>> {
        let loaded = self.reserve(&program.scratch).map(|slots| {
            let ready = self.arithmetic.prepare(program);
            self.count_bytes(self.arithmetic.own_bytes(&ready));
            self.programs.insert(Loaded { program: program.clone(), ready, slots })
        });
        Box::pin(ready(loaded))
    }

    fn unload(&mut self, program: ProgramId) {
        let Some(loaded) = self.programs.remove(program) else { return };
        self.counters.bytes -= self.arithmetic.own_bytes(&loaded.ready);
        let of_it: Vec<BindingId> =
            self.bindings.iter().filter(|(_, binding)| binding.program == program).map(|(id, _)| id).collect();
        of_it.into_iter().for_each(|binding| self.unbind(binding));
        if self.programs.is_empty() {
            std::mem::take(&mut self.scratch).into_iter().for_each(|id| self.free(id));
        }
    }

    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<BindingId> {
        let Some(Loaded { program: loaded, slots, .. }) = self.programs.get(program) else {
            return refuse(NO_PROGRAM);
        };
        let [takes, gives] = [&loaded.inputs, &loaded.outputs]
            .map(|list| list.iter().map(|at| &loaded.buffers[at.0 as usize]).collect::<Vec<_>>());
        let shape = |id| self.describe(id).map(|(_, shape)| shape);
        engine::check_binding(&loaded.name, [&takes, &gives], [inputs, outputs], shape)?;
        let place = |buffer: &Buffer| match buffer.place {
            Place::Scratch(slot) => self.scratch[slots[slot]],
            Place::Input(input) | Place::InPlace { input, .. } => inputs[input],
            Place::Output(output) => outputs[output],
        };
        let places: Vec<BufferId> = loaded.buffers.iter().map(place).collect();
        places.iter().try_for_each(|&at| self.hold(at))?;
        let binding = self.bindings.insert(Binding { program, places });
        for id in inputs.iter().chain(outputs) {
            self.arrays[*id].bindings.push(binding);
        }
        self.counters.bindings_made += 1;
        Ok(binding)
    }

    fn submit(&mut self, commands: &[Command]) -> Result<()> {
        self.counters.submits += 1;
        for &command in commands {
            match command {
                Command::Run(binding) => self.run(binding, None)?,
                Command::Copy { from, to } => self.copy(from, to)?,
            }
        }
        Ok(())
    }

    fn time(&mut self, binding: BindingId) -> LocalFuture<'static, Result<Timing>> {
        self.counters.submits += 1;
        let program = self.bindings.get(binding).map(|binding| &self.programs[binding.program].program);
        let mut seconds = vec![0.0; program.map_or(0, |program| program.dispatches.len())];
        let launches = program.map_or(vec![], |program| program.launches.clone());
        let timed = self.run(binding, Some(&mut seconds));
        let mut each = seconds.into_iter();
        let seconds = launches.iter().map(|&count| each.by_ref().take(count).sum()).collect();
        Box::pin(ready(timed.map(|()| Timing { seconds, clock: Clock::Device })))
    }

    fn finish(&mut self) -> LocalFuture<'static, Result<()>> {
        Box::pin(ready(Ok(())))
    }

    fn forget_peak(&mut self) {
        self.counters.peak_bytes = self.counters.bytes;
    }
}
