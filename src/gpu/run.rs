//! The engine: arrays, loaded programs, bindings, and the recording of commands.

mod timing;

use std::collections::HashSet;
use std::future::ready;
use std::rc::Rc;

use slotmap::SlotMap;

use super::device::Device;
use super::pipeline::{Fate, PipelineId, Pipelines, kernels_of};
use super::staging::{Part, Reading, Staging, bytes};
use crate::compile::{Buffer, BufferIndex, Core, Dispatch, Place, Program};
use crate::engine::{
    self, BindingId, BufferId, Command, Counters, Engine, EngineInfo, Holdings, LocalFuture, NO_ARRAY, NO_BINDING,
    NO_PROGRAM, ProgramId, Result, Timing, Values, refuse,
};
use crate::ir::DType;
use crate::kernels::{self, Binding, Kernel, KernelError, Target, Tile};

/// What arrays are used for.
const ARRAY: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// Runs programs through wgpu, natively and in the browser.
pub struct GpuEngine {
    device: Rc<Device>,
    pipelines: Pipelines,
    arrays: SlotMap<BufferId, Array>,
    /// Scratch memory shared by all programs, largest slots first.
    scratch: Vec<wgpu::Buffer>,
    programs: SlotMap<ProgramId, Loaded>,
    bindings: SlotMap<BindingId, Bound>,
    staging: Staging,
    counters: Counters,
}

struct Array {
    label: String,
    buffer: wgpu::Buffer,
    dtype: DType,
    len: usize,
    /// What ends with it.
    bindings: Vec<BindingId>,
}

struct Loaded {
    name: String,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    /// Position in the engine's scratch memory of each slot of the program.
    slots: Vec<usize>,
    kernels: Vec<Launch>,
    fate: Fate,
}

/// What is left of a kernel once its pipeline is made.
struct Launch {
    pipeline: PipelineId,
    grid: [u32; 3],
    bindings: Vec<Binding>,
}

/// A program with its arrays.
struct Bound {
    program: ProgramId,
    inputs: Vec<BufferId>,
    outputs: Vec<BufferId>,
    /// One bind group a kernel.
    groups: Vec<wgpu::BindGroup>,
}

impl GpuEngine {
    /// Opens a device on an adapter: `auto` takes the fastest kind, a number one of [`adapters`] by
    /// position, anything else the first whose name contains it.
    ///
    /// [`adapters`]: super::adapters
    pub async fn new(choice: &str) -> Result<Self> {
        Ok(Self {
            device: Rc::new(Device::open(choice).await?),
            pipelines: Pipelines::default(),
            arrays: SlotMap::with_key(),
            scratch: vec![],
            programs: SlotMap::with_key(),
            bindings: SlotMap::with_key(),
            staging: Staging::default(),
            counters: Counters::default(),
        })
    }

    /// Takes the device away, as a driver's reset or an unplugged GPU would; for tests of what
    /// happens then. Every later call fails with [`EngineError::DeviceLost`](engine::EngineError::DeviceLost).
    pub fn lose_device(&mut self) -> LocalFuture<'static, ()> {
        let device = self.device.clone();
        Box::pin(async move { device.lose().await })
    }

    fn target(&self) -> Target {
        if self.device.info.software { Target::Processor } else { Target::Gpu }
    }

    fn allocate(&mut self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.device.buffer(label, bytes, usage)?;
        self.counters.buffers_created += 1;
        self.counters.bytes += buffer.size();
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.bytes);
        Ok(buffer)
    }

    fn free(&mut self, buffer: wgpu::Buffer) {
        self.counters.bytes -= buffer.size();
        buffer.destroy();
    }

    fn array(&self, id: BufferId) -> Result<&Array> {
        self.arrays.get(id).map_or_else(|| refuse(NO_ARRAY), Ok)
    }

    /// Makes room for a program's scratch slots; returns where each lies. Slots are matched by size,
    /// so programs share memory whatever the order of their slots.
    fn reserve(&mut self, sizes: &[usize]) -> Result<Vec<usize>> {
        let mut by_size: Vec<usize> = (0..sizes.len()).collect();
        by_size.sort_by_key(|&slot| std::cmp::Reverse(sizes[slot]));
        let mut slots = vec![0; sizes.len()];
        for (position, slot) in by_size.into_iter().enumerate() {
            slots[slot] = position;
            self.grow_scratch(position, sizes[slot] as u64)?;
        }
        Ok(slots)
    }

    fn grow_scratch(&mut self, position: usize, bytes: u64) -> Result<()> {
        if self.scratch.get(position).is_some_and(|buffer| buffer.size() >= bytes) {
            return Ok(());
        }
        let buffer = self.allocate(&format!("scratch {position}"), bytes, ARRAY)?;
        if position == self.scratch.len() {
            self.scratch.push(buffer);
            return Ok(());
        }
        let smaller = std::mem::replace(&mut self.scratch[position], buffer);
        self.free(smaller);
        let uses = |bound: &Bound| self.programs[bound.program].slots.contains(&position);
        let bound: Vec<BindingId> = self.bindings.iter().filter(|(_, bound)| uses(bound)).map(|(id, _)| id).collect();
        for id in bound {
            let Bound { program, inputs, outputs, .. } = &self.bindings[id];
            self.bindings[id].groups = self.groups(*program, inputs, outputs)?;
        }
        Ok(())
    }

    fn groups(&self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<Vec<wgpu::BindGroup>> {
        let loaded = &self.programs[program];
        let resolve = |place: Place| {
            Ok(match place {
                Place::Input(at) | Place::InPlace { input: at, .. } => &self.array(inputs[at])?.buffer,
                Place::Output(at) => &self.array(outputs[at])?.buffer,
                Place::Scratch(slot) => &self.scratch[loaded.slots[slot]],
            })
        };
        let group = |launch: &Launch| {
            let entries: Result<Vec<wgpu::BindGroupEntry>> = (0u32..)
                .zip(&launch.bindings)
                .map(|(binding, bound)| {
                    Ok(wgpu::BindGroupEntry { binding, resource: resolve(bound.place)?.as_entire_binding() })
                })
                .collect();
            Ok(self.device.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&loaded.name),
                layout: &self.pipelines.get(launch.pipeline).layout,
                entries: &entries?,
            }))
        };
        let groups = loaded.kernels.iter().map(group).collect::<Result<Vec<_>>>()?;
        self.device.check()?;
        Ok(groups)
    }

    /// Whether arrays fit a program.
    fn fit(&self, loaded: &Loaded, inputs: &[BufferId], outputs: &[BufferId]) -> Result<()> {
        let [takes, gives] = [&loaded.inputs, &loaded.outputs].map(|buffers| buffers.iter().collect::<Vec<_>>());
        let array = |id| self.array(id).map(|array| (array.dtype, array.len));
        engine::check_binding(&loaded.name, [&takes, &gives], [inputs, outputs], array)
    }

    /// The kernels that programs need, each once, with the labels that errors name.
    ///
    /// [`Engine::load`] makes all pipelines of a program at once, which may take a minute; who wants to count them,
    /// or to stop in between, first makes those of these kernels one by one.
    pub fn kernels<'a>(&self, programs: impl IntoIterator<Item = &'a Program>) -> Result<Vec<(String, Kernel)>> {
        let mut texts = HashSet::new();
        let mut all = vec![];
        for program in programs {
            let made = kernels_of(program, |launch| kernels::kernel(program, launch, self.target()))?;
            all.extend(made.into_iter().filter(|(_, kernel)| texts.insert(kernel.wgsl.clone())));
        }
        Ok(all)
    }

    /// Whether the pipeline of a kernel is made.
    pub fn is_prepared(&self, kernel: &Kernel) -> bool {
        self.pipelines.has(kernel)
    }

    /// Makes the pipeline of a kernel; done when it can run.
    pub fn prepare(&mut self, label: &str, kernel: &Kernel) -> LocalFuture<'static, Result<()>> {
        let (made, done) = self.pipelines.load(&self.device, &[(label, kernel)]);
        self.pipelines.release(made.into_iter());
        let device = self.device.clone();
        Box::pin(async move {
            done.await?;
            device.finish().await
        })
    }

    /// As [`Engine::load`], with this tile for every contraction instead of the one that suits its
    /// shape; to test and measure tiles.
    pub fn load_tiled(&mut self, program: &Program, tile: Tile) -> LocalFuture<'static, Result<ProgramId>> {
        let tile = |dispatch: &Dispatch| match dispatch.core {
            Core::Contract { .. } => tile,
            _ => Tile::ONE,
        };
        self.load_with(program, |launch| kernels::kernel_tiled(program, launch, |dispatch| Ok(tile(dispatch))))
    }

    fn load_with(
        &mut self,
        program: &Program,
        kernel: impl Fn(&[Dispatch]) -> std::result::Result<Kernel, KernelError>,
    ) -> LocalFuture<'static, Result<ProgramId>> {
        match self.begin_loading(program, kernel) {
            Ok((id, fate, done)) => Box::pin(async move {
                done.await.inspect_err(|_| fate.refuse())?;
                Ok(id)
            }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn begin_loading(
        &mut self,
        program: &Program,
        kernel: impl Fn(&[Dispatch]) -> std::result::Result<Kernel, KernelError>,
    ) -> Result<(ProgramId, Fate, LocalFuture<'static, Result<()>>)> {
        self.device.check()?;
        let refused: Vec<ProgramId> =
            self.programs.iter().filter(|(_, loaded)| loaded.fate.refused()).map(|(id, _)| id).collect();
        refused.into_iter().for_each(|id| self.unload(id));
        let made = kernels_of(program, kernel)?;
        let slots = self.reserve(&program.scratch)?;
        let wanted: Vec<(&str, &Kernel)> = made.iter().map(|(label, kernel)| (&**label, kernel)).collect();
        let (pipelines, done) = self.pipelines.load(&self.device, &wanted);
        let buffers = |indices: &[BufferIndex]| indices.iter().map(|index| program.buffer(*index).clone()).collect();
        let fate = Fate::default();
        let id = self.programs.insert(Loaded {
            name: program.name.clone(),
            inputs: buffers(&program.inputs),
            outputs: buffers(&program.outputs),
            slots,
            kernels: pipelines
                .into_iter()
                .zip(made)
                .map(|(pipeline, (_, Kernel { grid, bindings, .. }))| Launch { pipeline, grid, bindings })
                .collect(),
            fate: fate.clone(),
        });
        Ok((id, fate, done))
    }

    /// Ends a binding that one of its arrays or its program ends.
    fn unbind(&mut self, id: BindingId) {
        let Some(bound) = self.bindings.remove(id) else { return };
        for place in bound.inputs.iter().chain(&bound.outputs) {
            if let Some(array) = self.arrays.get_mut(*place) {
                array.bindings.retain(|other| *other != id);
            }
        }
    }

    /// Records commands; consecutive runs share one compute pass.
    fn record(&self, encoder: &mut wgpu::CommandEncoder, commands: &[Command]) -> Result<u64> {
        let mut dispatches = 0;
        let mut rest = commands;
        while let Some(first) = rest.first() {
            if let Command::Copy { from, to } = first {
                self.record_copy(encoder, *from, *to)?;
                rest = &rest[1..];
                continue;
            }
            let mut pass = encoder.begin_compute_pass(&Default::default());
            while let Some(Command::Run(binding)) = rest.first() {
                let Some(bound) = self.bindings.get(*binding) else { return refuse(NO_BINDING) };
                for (launch, group) in self.programs[bound.program].kernels.iter().zip(&bound.groups) {
                    pass.set_pipeline(&self.pipelines.get(launch.pipeline).pipeline);
                    pass.set_bind_group(0, group, &[]);
                    let [x, y, members] = launch.grid;
                    pass.dispatch_workgroups(x, y, members);
                    dispatches += 1;
                }
                rest = &rest[1..];
            }
        }
        Ok(dispatches)
    }

    fn record_copy(&self, encoder: &mut wgpu::CommandEncoder, from: BufferId, to: BufferId) -> Result<()> {
        let (source, target) = (self.array(from)?, self.array(to)?);
        let shapes = [source, target].map(|array| (array.dtype, array.len));
        engine::check_copy(from == to, [&source.label, &target.label], shapes)?;
        encoder.copy_buffer_to_buffer(&source.buffer, 0, &target.buffer, 0, source.buffer.size());
        Ok(())
    }

    /// Copies arrays to where they can be read.
    fn begin_reading(&mut self, ids: &[BufferId]) -> Result<Reading> {
        self.device.check()?;
        let mut parts = vec![];
        let mut total = 0;
        for id in ids {
            let Array { buffer, dtype, len, .. } = self.array(*id)?;
            parts.push(Part { offset: total, dtype: *dtype, len: *len });
            total += buffer.size();
        }
        let buffer = match self.staging.take(total) {
            Some(buffer) => buffer,
            None => {
                self.staging.drain().for_each(|smaller| self.free(smaller));
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                self.allocate("read-back", total, usage)?
            }
        };
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        for (id, part) in ids.iter().zip(&parts) {
            let source = &self.array(*id)?.buffer;
            encoder.copy_buffer_to_buffer(source, 0, &buffer, part.offset, source.size());
        }
        self.device.queue.submit([encoder.finish()]);
        self.counters.readbacks += 1;
        Ok(self.staging.reading(buffer, total, parts))
    }
}

impl Engine for GpuEngine {
    fn info(&self) -> &EngineInfo {
        &self.device.info
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn holdings(&self) -> Holdings {
        Holdings { arrays: self.arrays.len(), programs: self.programs.len(), bindings: self.bindings.len() }
    }

    fn create(&mut self, label: &str, dtype: DType, len: usize) -> Result<BufferId> {
        let buffer = self.allocate(label, len as u64 * 4, ARRAY)?;
        Ok(self.arrays.insert(Array { label: label.to_owned(), buffer, dtype, len, bindings: vec![] }))
    }

    fn destroy(&mut self, id: BufferId) {
        let Some(array) = self.arrays.remove(id) else { return };
        self.free(array.buffer);
        array.bindings.into_iter().for_each(|binding| self.unbind(binding));
    }

    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> Result<()> {
        self.device.check()?;
        let array = self.array(buffer)?;
        engine::check_write(&array.label, (array.dtype, array.len), offset, values)?;
        let bytes = bytes(values, array.dtype);
        self.device.queue.write_buffer(&array.buffer, offset as u64 * 4, &bytes);
        self.device.check()
    }

    fn read(&mut self, buffers: &[BufferId]) -> LocalFuture<'static, Result<Vec<Vec<f64>>>> {
        if buffers.is_empty() {
            return Box::pin(ready(Ok(vec![])));
        }
        match self.begin_reading(buffers) {
            Ok(reading) => Box::pin(reading.values(self.device.clone())),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn load(&mut self, program: &Program) -> LocalFuture<'static, Result<ProgramId>> {
        let target = self.target();
        self.load_with(program, |launch| kernels::kernel(program, launch, target))
    }

    fn unload(&mut self, program: ProgramId) {
        let of_it: Vec<BindingId> =
            self.bindings.iter().filter(|(_, bound)| bound.program == program).map(|(id, _)| id).collect();
        of_it.into_iter().for_each(|binding| self.unbind(binding));
        let Some(loaded) = self.programs.remove(program) else { return };
        self.pipelines.release(loaded.kernels.iter().map(|launch| launch.pipeline));
        if self.programs.is_empty() {
            let unused = std::mem::take(&mut self.scratch).into_iter().chain(self.staging.drain());
            unused.for_each(|buffer| self.free(buffer));
        }
    }

    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<BindingId> {
        self.device.check()?;
        let Some(loaded) = self.programs.get(program) else { return refuse(NO_PROGRAM) };
        self.fit(loaded, inputs, outputs)?;
        let groups = self.groups(program, inputs, outputs)?;
        let bound = Bound { program, inputs: inputs.to_vec(), outputs: outputs.to_vec(), groups };
        let id = self.bindings.insert(bound);
        for array in inputs.iter().chain(outputs) {
            self.arrays[*array].bindings.push(id);
        }
        self.counters.bindings_made += 1;
        Ok(id)
    }

    fn submit(&mut self, commands: &[Command]) -> Result<()> {
        self.device.check()?;
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        self.counters.dispatches += self.record(&mut encoder, commands)?;
        self.device.queue.submit([encoder.finish()]);
        self.counters.submits += 1;
        self.device.check()
    }

    fn time(&mut self, binding: BindingId) -> LocalFuture<'static, Result<Timing>> {
        self.begin_timing(binding).unwrap_or_else(|error| Box::pin(ready(Err(error))))
    }

    fn finish(&mut self) -> LocalFuture<'static, Result<()>> {
        let device = self.device.clone();
        Box::pin(async move { device.finish().await })
    }

    fn forget_peak(&mut self) {
        self.counters.peak_bytes = self.counters.bytes;
    }
}
