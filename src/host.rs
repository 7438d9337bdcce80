//! What engines have in common whose arrays lie in the host's memory: everything but the arithmetic.

use std::future::ready;

use crate::compile::{Buffer, BufferIndex, Place, Program};
use crate::engine::{
    self, BindingId, BufferId, Command, Counters, Engine, EngineError, EngineInfo, LocalFuture, ProgramId, Result,
    Values, refuse,
};
use crate::ir::DType;

/// An element as an engine keeps it.
pub trait Cell: Copy + bytemuck::Zeroable + 'static {
    fn new(dtype: DType, value: f64) -> Self;

    fn value(self, dtype: DType) -> f64;
}

/// How an engine computes.
pub trait Arithmetic {
    type Cell: Cell;
    /// A program made ready to run.
    type Ready: 'static;

    fn prepare(&self, program: &Program) -> Self::Ready;

    /// Bytes that a program made ready holds for itself while it runs.
    fn own_bytes(&self, program: &Self::Ready) -> u64;

    fn run(&self, program: &mut Self::Ready, memory: Memory<'_, Self::Cell>);
}

/// The arrays of a running program.
pub struct Memory<'a, C> {
    arrays: &'a mut [Vec<C>],
    /// Array of each buffer of the program.
    places: &'a [usize],
}

impl<C> Memory<'_, C> {
    pub fn get(&self, buffer: BufferIndex) -> &[C] {
        &self.arrays[self.places[buffer.0 as usize]]
    }

    pub fn get_mut(&mut self, buffer: BufferIndex) -> &mut [C] {
        &mut self.arrays[self.places[buffer.0 as usize]]
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
    /// Arrays by [`BufferId`], with the scratch slots among them.
    arrays: Vec<Vec<A::Cell>>,
    /// Elements of each array, whether it has its memory or not.
    lens: Vec<usize>,
    /// Type of each array; none for scratch and for what was destroyed.
    dtypes: Vec<Option<DType>>,
    /// Where the scratch slots lie, largest first; all programs share them.
    scratch: Vec<usize>,
    programs: Vec<Loaded<A::Ready>>,
    bindings: Vec<Binding>,
}

struct Loaded<R> {
    program: Program,
    ready: R,
    /// Position in the engine's scratch memory of each slot of the program.
    slots: Vec<usize>,
}

struct Binding {
    program: usize,
    /// Array of each buffer of the program.
    places: Vec<usize>,
}

impl<A: Arithmetic> HostEngine<A> {
    pub fn over(arithmetic: A, info: EngineInfo) -> Self {
        HostEngine {
            arithmetic,
            info,
            counters: Counters::default(),
            arrays: vec![],
            lens: vec![],
            dtypes: vec![],
            scratch: vec![],
            programs: vec![],
            bindings: vec![],
        }
    }

    fn dtype(&self, id: BufferId) -> Result<DType> {
        match self.dtypes.get(id.0) {
            Some(Some(dtype)) => Ok(*dtype),
            _ => refuse(format!("array {} does not exist (any more)", id.0)),
        }
    }

    /// Type and length of an array.
    fn shape(&self, id: BufferId) -> Result<(DType, usize)> {
        Ok((self.dtype(id)?, self.lens[id.0]))
    }

    fn allocate(&mut self, what: &str, dtype: Option<DType>, len: usize) -> Result<usize> {
        let bytes = (len as u64).saturating_mul(4);
        let limit = self.info.max_buffer_bytes;
        if bytes > limit {
            return Err(EngineError::OutOfMemory { what: what.to_owned(), bytes, limit: Some(limit) });
        }
        self.arrays.push(vec![]);
        self.lens.push(len);
        self.dtypes.push(dtype);
        self.counters.buffers_created += 1;
        self.count_bytes(bytes);
        Ok(self.arrays.len() - 1)
    }

    /// Gives an array its memory, zeros, once something is to be done with it: a long training begins before its last
    /// states have theirs.
    fn hold(&mut self, at: usize) -> Result<()> {
        let len = self.lens[at];
        if self.arrays[at].len() < len {
            let too_much =
                |()| EngineError::OutOfMemory { what: "an array".to_owned(), bytes: 4 * len as u64, limit: None };
            self.arrays[at] = bytemuck::allocation::try_zeroed_vec(len).map_err(too_much)?;
        }
        Ok(())
    }

    fn count_bytes(&mut self, bytes: u64) {
        self.counters.bytes += bytes;
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.bytes);
    }

    fn free(&mut self, at: usize) {
        self.arrays[at] = vec![];
        self.counters.bytes -= 4 * std::mem::take(&mut self.lens[at]) as u64;
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
            match self.scratch.get(position).copied() {
                None => {
                    let at = self.allocate("scratch", None, len)?;
                    self.hold(at)?;
                    self.scratch.push(at);
                }
                Some(at) if self.lens[at] < len => {
                    self.free(at);
                    let grown = self.allocate("scratch", None, len)?;
                    self.hold(grown)?;
                    self.arrays.swap(at, grown);
                    self.lens.swap(at, grown);
                }
                Some(_) => {}
            }
        }
        Ok(slots)
    }

    fn run(&mut self, id: BindingId) -> Result<()> {
        let Some(Binding { program, places }) = self.bindings.get(id.0) else {
            return refuse(format!("there is no binding {}", id.0));
        };
        let loaded = &mut self.programs[*program];
        for (buffer, &place) in loaded.program.buffers.iter().zip(places) {
            if self.lens[place] < buffer.len {
                return refuse(format!("an array bound to `{}` was destroyed", loaded.program.name));
            }
        }
        self.arithmetic.run(&mut loaded.ready, Memory { arrays: &mut self.arrays, places });
        self.counters.dispatches += loaded.program.dispatches.len() as u64;
        Ok(())
    }

    fn copy(&mut self, from: BufferId, to: BufferId) -> Result<()> {
        engine::check_copy([from, to], [self.shape(from)?, self.shape(to)?])?;
        self.hold(from.0)?;
        self.hold(to.0)?;
        if let Ok([source, target]) = self.arrays.get_disjoint_mut([from.0, to.0]) {
            target.copy_from_slice(source);
        }
        Ok(())
    }
}

impl<A: Arithmetic> Engine for HostEngine<A> {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn create(&mut self, label: &str, dtype: DType, len: usize) -> Result<BufferId> {
        self.allocate(label, Some(dtype), len).map(BufferId)
    }

    fn destroy(&mut self, buffer: BufferId) {
        if self.dtypes.get_mut(buffer.0).and_then(Option::take).is_some() {
            self.free(buffer.0);
        }
    }

    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> Result<()> {
        let (dtype, len) = self.shape(buffer)?;
        engine::check_write(buffer, (dtype, len), offset, values)?;
        self.hold(buffer.0)?;
        let target = &mut self.arrays[buffer.0][offset..offset + values.len()];
        let cell = |value: f64| A::Cell::new(dtype, value);
        match values {
            Values::F32(x) => target.iter_mut().zip(x).for_each(|(t, &x)| *t = cell(x.into())),
            Values::F64(x) => target.iter_mut().zip(x).for_each(|(t, &x)| *t = cell(x)),
            Values::U32(x) => target.iter_mut().zip(x).for_each(|(t, &x)| *t = cell(x.into())),
        }
        Ok(())
    }

    fn read<'a>(&'a mut self, buffers: &'a [BufferId]) -> LocalFuture<'a, Result<Vec<Vec<f64>>>> {
        self.counters.readbacks += 1;
        let values = |&id: &BufferId| {
            let (dtype, _) = self.shape(id)?;
            self.hold(id.0)?;
            Ok(self.arrays[id.0].iter().map(|cell| cell.value(dtype)).collect())
        };
        Box::pin(ready(buffers.iter().map(values).collect()))
    }

    fn load<'a>(&'a mut self, program: &'a Program) -> LocalFuture<'a, Result<ProgramId>> {
        let loaded = self.reserve(&program.scratch).map(|slots| {
            let ready = self.arithmetic.prepare(program);
            self.count_bytes(self.arithmetic.own_bytes(&ready));
            self.programs.push(Loaded { program: program.clone(), ready, slots });
            ProgramId(self.programs.len() - 1)
        });
        Box::pin(ready(loaded))
    }

    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<BindingId> {
        let Some(Loaded { program: loaded, slots, .. }) = self.programs.get(program.0) else {
            return refuse(format!("there is no program {}", program.0));
        };
        let [takes, gives] = [&loaded.inputs, &loaded.outputs]
            .map(|list| list.iter().map(|at| &loaded.buffers[at.0 as usize]).collect::<Vec<_>>());
        engine::check_binding(&loaded.name, [&takes, &gives], [inputs, outputs], |id| self.shape(id))?;
        let place = |buffer: &Buffer| match buffer.place {
            Place::Scratch(slot) => self.scratch[slots[slot]],
            Place::Input(input) | Place::InPlace { input, .. } => inputs[input].0,
            Place::Output(output) => outputs[output].0,
        };
        let places: Vec<usize> = loaded.buffers.iter().map(place).collect();
        places.iter().try_for_each(|&at| self.hold(at))?;
        self.bindings.push(Binding { program: program.0, places });
        self.counters.bindings_made += 1;
        Ok(BindingId(self.bindings.len() - 1))
    }

    fn submit(&mut self, commands: &[Command]) -> Result<()> {
        self.counters.submits += 1;
        for &command in commands {
            match command {
                Command::Run(binding) => self.run(binding)?,
                Command::Copy { from, to } => self.copy(from, to)?,
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(ready(Ok(())))
    }
}
