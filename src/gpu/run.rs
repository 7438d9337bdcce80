//! The engine: arrays, loaded programs, bindings, and the recording of commands.

use std::collections::HashSet;

use futures_channel::oneshot;

use super::device::Device;
use super::pipeline::Pipelines;
use super::wait;
use crate::compile::{Buffer, BufferIndex, Core, Dispatch, Place, Program};
use crate::engine::{
    self, BindingId, BufferId, Command, Counters, Engine, EngineError, EngineInfo, LocalFuture, ProgramId, Result,
    Values, refuse,
};
use crate::ir::{DType, numel};
use crate::kernels::{self, Binding, Kernel, KernelError, Target, Tile};

/// What arrays are used for.
const ARRAY: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// Runs programs through wgpu, natively and in the browser.
pub struct GpuEngine {
    device: Device,
    pipelines: Pipelines,
    /// By [`BufferId`]; `None` once destroyed. Identifiers are not used again.
    arrays: Vec<Option<Array>>,
    /// Scratch memory shared by all programs, largest slots first.
    scratch: Vec<wgpu::Buffer>,
    programs: Vec<Loaded>,
    bindings: Vec<Bound>,
    /// Where arrays are read through; grown when it must.
    staging: Option<wgpu::Buffer>,
    counters: Counters,
}

struct Array {
    buffer: wgpu::Buffer,
    dtype: DType,
    len: usize,
    /// Bindings that name it: they end with it.
    bindings: Vec<usize>,
}

struct Loaded {
    name: String,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    /// Position in the engine's scratch memory of each slot of the program.
    slots: Vec<usize>,
    kernels: Vec<Launch>,
}

/// What is left of a kernel once its pipeline is made.
struct Launch {
    pipeline: usize,
    grid: [u32; 2],
    bindings: Vec<Binding>,
}

/// A program with its arrays.
struct Bound {
    program: usize,
    inputs: Vec<BufferId>,
    outputs: Vec<BufferId>,
    /// One bind group a kernel; empty once one of its arrays is destroyed.
    groups: Vec<wgpu::BindGroup>,
    alive: bool,
}

impl GpuEngine {
    /// Opens a device on an adapter: `auto` takes the fastest kind, a number one of [`adapters`] by
    /// position, anything else the first whose name contains it.
    ///
    /// [`adapters`]: super::adapters
    pub async fn new(choice: &str) -> Result<Self> {
        Ok(Self {
            device: Device::open(choice).await?,
            pipelines: Pipelines::default(),
            arrays: vec![],
            scratch: vec![],
            programs: vec![],
            bindings: vec![],
            staging: None,
            counters: Counters::default(),
        })
    }

    /// Takes the device away, as a driver's reset or an unplugged GPU would; for tests of what
    /// happens then. Every later call fails with [`EngineError::DeviceLost`].
    pub async fn lose_device(&mut self) {
        self.device.lose().await;
    }

    /// Counts the peak of memory from here on: an engine may outlive a run.
    pub fn forget_peak(&mut self) {
        self.counters.peak_bytes = self.counters.bytes;
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
        match self.arrays.get(id.0) {
            Some(Some(array)) => Ok(array),
            _ => refuse(format!("array {} does not exist (any more)", id.0)),
        }
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
        for at in 0..self.bindings.len() {
            let bound = &self.bindings[at];
            if bound.alive && self.programs[bound.program].slots.contains(&position) {
                self.bindings[at].groups = self.groups(bound.program, &bound.inputs, &bound.outputs)?;
            }
        }
        Ok(())
    }

    fn groups(&self, program: usize, inputs: &[BufferId], outputs: &[BufferId]) -> Result<Vec<wgpu::BindGroup>> {
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
    pub fn kernels(&self, programs: &[Program]) -> Result<Vec<(String, Kernel)>> {
        let mut texts = HashSet::new();
        let mut all = vec![];
        for program in programs {
            for (label, kernel) in kernels_of(program, |dispatch| kernels::kernel(program, dispatch, self.target()))? {
                if texts.insert(kernel.wgsl.clone()) {
                    all.push((label.to_owned(), kernel));
                }
            }
        }
        Ok(all)
    }

    /// Whether the pipeline of a kernel is made.
    pub fn is_prepared(&self, kernel: &Kernel) -> bool {
        self.pipelines.has(kernel)
    }

    /// Makes the pipeline of a kernel and waits until it can run.
    pub async fn prepare(&mut self, label: &str, kernel: &Kernel) -> Result<()> {
        self.pipelines.load(&self.device, &[(label, kernel)]).await?;
        self.wait_for_all().await
    }

    /// As [`Engine::load`], with this tile for every contraction instead of the one that suits its
    /// shape; to test and measure tiles.
    pub async fn load_tiled(&mut self, program: &Program, tile: Tile) -> Result<ProgramId> {
        let target = self.target();
        self.load_with(program, |dispatch| match dispatch.core {
            Core::Contract { .. } => kernels::kernel_with_tile(program, dispatch, tile),
            _ => kernels::kernel(program, dispatch, target),
        })
        .await
    }

    async fn load_with(
        &mut self,
        program: &Program,
        kernel: impl Fn(&Dispatch) -> std::result::Result<Kernel, KernelError>,
    ) -> Result<ProgramId> {
        self.device.check()?;
        let made = kernels_of(program, kernel)?;
        let wanted: Vec<(&str, &Kernel)> = made.iter().map(|(label, kernel)| (*label, kernel)).collect();
        let pipelines = self.pipelines.load(&self.device, &wanted).await?;
        let slots = self.reserve(&program.scratch)?;
        let buffers = |indices: &[BufferIndex]| indices.iter().map(|index| program.buffer(*index).clone()).collect();
        self.programs.push(Loaded {
            name: program.name.clone(),
            inputs: buffers(&program.inputs),
            outputs: buffers(&program.outputs),
            slots,
            kernels: pipelines
                .into_iter()
                .zip(made)
                .map(|(pipeline, (_, Kernel { grid, bindings, .. }))| Launch { pipeline, grid, bindings })
                .collect(),
        });
        Ok(ProgramId(self.programs.len() - 1))
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
                let bound = match self.bindings.get(binding.0) {
                    Some(bound) if bound.alive => bound,
                    Some(_) => return refuse(format!("an array of binding {} was destroyed", binding.0)),
                    None => return refuse(format!("binding {} does not exist", binding.0)),
                };
                for (launch, group) in self.programs[bound.program].kernels.iter().zip(&bound.groups) {
                    pass.set_pipeline(&self.pipelines.get(launch.pipeline).pipeline);
                    pass.set_bind_group(0, group, &[]);
                    pass.dispatch_workgroups(launch.grid[0], launch.grid[1], 1);
                    dispatches += 1;
                }
                rest = &rest[1..];
            }
        }
        Ok(dispatches)
    }

    fn record_copy(&self, encoder: &mut wgpu::CommandEncoder, from: BufferId, to: BufferId) -> Result<()> {
        let (source, target) = (self.array(from)?, self.array(to)?);
        engine::check_copy([from, to], [source, target].map(|array| (array.dtype, array.len)))?;
        encoder.copy_buffer_to_buffer(&source.buffer, 0, &target.buffer, 0, source.buffer.size());
        Ok(())
    }

    async fn read_arrays(&mut self, ids: &[BufferId]) -> Result<Vec<Vec<f64>>> {
        self.device.check()?;
        let mut total = 0;
        for id in ids {
            total += self.array(*id)?.buffer.size();
        }
        if total == 0 {
            return Ok(vec![]);
        }
        if self.staging.as_ref().is_none_or(|staging| staging.size() < total) {
            if let Some(smaller) = self.staging.take() {
                self.free(smaller);
            }
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            self.staging = Some(self.allocate("read-back", total, usage)?);
        }
        let Some(staging) = &self.staging else { return Ok(vec![]) };
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        let mut ranges = vec![];
        let mut offset = 0;
        for id in ids {
            let array = self.array(*id)?;
            encoder.copy_buffer_to_buffer(&array.buffer, 0, staging, offset, array.buffer.size());
            ranges.push((offset, array.dtype, array.len));
            offset += array.buffer.size();
        }
        self.device.queue.submit([encoder.finish()]);
        let (sender, receiver) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, 0..total, move |result| {
            let _ = sender.send(result);
        });
        let mapped = wait::answer(&self.device.device, receiver).await;
        self.device.check()?;
        if !matches!(mapped, Some(Ok(()))) {
            return refuse("the read-back was not answered");
        }
        self.counters.readbacks += 1;
        let values = match staging.get_mapped_range(0..total) {
            Ok(view) => {
                ranges.into_iter().map(|(offset, dtype, len)| floats(&view[offset as usize..], dtype, len)).collect()
            }
            Err(error) => return refuse(format!("the read-back failed: {error}")),
        };
        staging.unmap();
        Ok(values)
    }

    async fn wait_for_all(&mut self) -> Result<()> {
        self.device.check()?;
        let (sender, receiver) = oneshot::channel();
        self.device.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        wait::answer(&self.device.device, receiver).await;
        self.device.check()
    }
}

/// The kernels of a program's dispatches, in order, with their labels.
fn kernels_of(
    program: &Program,
    kernel: impl Fn(&Dispatch) -> std::result::Result<Kernel, KernelError>,
) -> Result<Vec<(&str, Kernel)>> {
    let dispatches = program.dispatches.iter().filter(|dispatch| numel(&dispatch.domain) > 0);
    let made = dispatches.map(|dispatch| match kernel(dispatch) {
        Ok(kernel) => Ok((dispatch.label.as_str(), kernel)),
        Err(error) => Err(EngineError::Shader { label: dispatch.label.clone(), message: error.to_string() }),
    });
    made.collect()
}

/// The first `len` elements of mapped memory.
fn floats(bytes: &[u8], dtype: DType, len: usize) -> Vec<f64> {
    let words = bytes.chunks_exact(4).take(len).map(|word| [word[0], word[1], word[2], word[3]]);
    match dtype {
        DType::F32 => words.map(|word| f64::from(f32::from_le_bytes(word))).collect(),
        DType::U32 => words.map(|word| f64::from(u32::from_le_bytes(word))).collect(),
    }
}

/// Values as the bytes of an array of a type, which they fit.
fn bytes(values: Values, dtype: DType) -> Vec<u8> {
    match (values, dtype) {
        (Values::F32(x), _) => bytemuck::cast_slice(x).to_vec(),
        (Values::U32(x), _) => bytemuck::cast_slice(x).to_vec(),
        (Values::F64(x), DType::F32) => x.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        (Values::F64(x), DType::U32) => x.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect(),
    }
}

impl Engine for GpuEngine {
    fn info(&self) -> &EngineInfo {
        &self.device.info
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn create(&mut self, label: &str, dtype: DType, len: usize) -> Result<BufferId> {
        let buffer = self.allocate(label, len as u64 * 4, ARRAY)?;
        self.arrays.push(Some(Array { buffer, dtype, len, bindings: vec![] }));
        Ok(BufferId(self.arrays.len() - 1))
    }

    fn destroy(&mut self, id: BufferId) {
        let Some(array) = self.arrays.get_mut(id.0).and_then(Option::take) else { return };
        self.free(array.buffer);
        for at in array.bindings {
            let program = self.bindings[at].program;
            self.bindings[at] = Bound { program, inputs: vec![], outputs: vec![], groups: vec![], alive: false };
        }
    }

    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> Result<()> {
        self.device.check()?;
        let array = self.array(buffer)?;
        engine::check_write(buffer, (array.dtype, array.len), offset, values)?;
        let bytes = bytes(values, array.dtype);
        self.device.queue.write_buffer(&array.buffer, offset as u64 * 4, &bytes);
        self.device.check()
    }

    fn read<'a>(&'a mut self, buffers: &'a [BufferId]) -> LocalFuture<'a, Result<Vec<Vec<f64>>>> {
        Box::pin(self.read_arrays(buffers))
    }

    fn load<'a>(&'a mut self, program: &'a Program) -> LocalFuture<'a, Result<ProgramId>> {
        let target = self.target();
        Box::pin(self.load_with(program, move |dispatch| kernels::kernel(program, dispatch, target)))
    }

    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<BindingId> {
        self.device.check()?;
        let Some(loaded) = self.programs.get(program.0) else {
            return refuse(format!("program {} does not exist", program.0));
        };
        self.fit(loaded, inputs, outputs)?;
        let groups = self.groups(program.0, inputs, outputs)?;
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        for id in inputs.iter().chain(&outputs) {
            self.arrays[id.0].as_mut().expect("it fits").bindings.push(self.bindings.len());
        }
        self.bindings.push(Bound { program: program.0, inputs, outputs, groups, alive: true });
        self.counters.bindings_made += 1;
        Ok(BindingId(self.bindings.len() - 1))
    }

    fn submit(&mut self, commands: &[Command]) -> Result<()> {
        self.device.check()?;
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        self.counters.dispatches += self.record(&mut encoder, commands)?;
        self.device.queue.submit([encoder.finish()]);
        self.counters.submits += 1;
        self.device.check()
    }

    fn finish(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(self.wait_for_all())
    }
}
