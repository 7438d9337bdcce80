//! How long each launch takes: by the GPU's own clock where it has one, else by waiting for each.

use std::rc::Rc;

use web_time::Instant;

use super::GpuEngine;
use crate::engine::{BindingId, Clock, LocalFuture, NO_BINDING, Result, Timing, refuse};
use crate::gpu::device::Device;
use crate::gpu::staging::{Part, Reading};
use crate::ir::DType;

/// A launch that is timed.
struct Timed {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 3],
}

impl GpuEngine {
    /// Launches a program's kernels one by one, each with the time before and after it.
    pub(super) fn begin_timing(&mut self, binding: BindingId) -> Result<LocalFuture<'static, Result<Timing>>> {
        self.device.check()?;
        let Some(bound) = self.bindings.get(binding) else { return refuse(NO_BINDING) };
        let launches: Vec<Timed> = self.programs[bound.program]
            .kernels
            .iter()
            .zip(&bound.groups)
            .map(|(launch, group)| Timed {
                pipeline: self.pipelines.get(launch.pipeline).pipeline.clone(),
                group: group.clone(),
                grid: launch.grid,
            })
            .collect();
        self.counters.dispatches += launches.len() as u64;
        self.counters.submits += 1;
        let device = self.device.clone();
        if !has_clock(&device, launches.len()) {
            return Ok(Box::pin(by_host(device, launches)));
        }
        let bytes = bytes(launches.len());
        let readable = match self.staging.take(bytes) {
            Some(buffer) => buffer,
            None => self.allocate("read-back", bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?,
        };
        record(&device, &launches, &readable)?;
        let words = Part { offset: 0, dtype: DType::U32, len: bytes as usize / 4 };
        let reading = self.staging.reading(readable, bytes, vec![words]);
        Ok(Box::pin(by_device(device, reading)))
    }
}

/// Bytes of the two times of each launch.
fn bytes(launches: usize) -> u64 {
    16 * launches as u64
}

/// Whether the GPU can take the times of so many launches.
fn has_clock(device: &Device, launches: usize) -> bool {
    let queries = 2 * launches;
    device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
        && (1..=wgpu::QUERY_SET_MAX_QUERIES as usize).contains(&queries)
}

fn launch(encoder: &mut wgpu::CommandEncoder, timed: &Timed, times: Option<wgpu::ComputePassTimestampWrites>) {
    let mut pass =
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("timed"), timestamp_writes: times });
    pass.set_pipeline(&timed.pipeline);
    pass.set_bind_group(0, &timed.group, &[]);
    let [x, y, members] = timed.grid;
    pass.dispatch_workgroups(x, y, members);
}

/// Submits the launches, and a copy of their times to where they can be read.
fn record(device: &Device, launches: &[Timed], readable: &wgpu::Buffer) -> Result<()> {
    let count = 2 * launches.len() as u32;
    let queries = device.device.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("times"),
        ty: wgpu::QueryType::Timestamp,
        count,
    });
    let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
    let times = device.buffer("times", bytes(launches.len()), usage)?;
    let mut encoder = device.device.create_command_encoder(&Default::default());
    for (at, timed) in (0u32..).zip(launches) {
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &queries,
            beginning_of_pass_write_index: Some(2 * at),
            end_of_pass_write_index: Some(2 * at + 1),
        };
        launch(&mut encoder, timed, Some(writes));
    }
    encoder.resolve_query_set(&queries, 0..count, &times, 0);
    encoder.copy_buffer_to_buffer(&times, 0, readable, 0, bytes(launches.len()));
    device.queue.submit([encoder.finish()]);
    device.check()
}

/// What the GPU's clock says.
async fn by_device(device: Rc<Device>, reading: Reading) -> Result<Timing> {
    let words = reading.values(device.clone()).await?.remove(0);
    let tick = f64::from(device.queue.get_timestamp_period()) * 1e-9;
    let times: Vec<u64> = words.chunks(2).map(|pair| pair[0] as u64 | (pair[1] as u64) << 32).collect();
    // Clocks of GPUs that slept may jump back.
    let seconds = times.chunks(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 * tick).collect();
    Ok(Timing { seconds, clock: Clock::Device })
}

/// Launches one after the other and waits for each.
async fn by_host(device: Rc<Device>, launches: Vec<Timed>) -> Result<Timing> {
    let mut seconds = vec![];
    for timed in &launches {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        launch(&mut encoder, timed, None);
        let start = Instant::now();
        device.queue.submit([encoder.finish()]);
        device.finish().await?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(Timing { seconds, clock: Clock::Host })
}
