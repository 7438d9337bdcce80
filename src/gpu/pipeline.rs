//! Compute pipelines, one for each WGSL text, made once.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use slotmap::SlotMap;

use crate::compile::{Dispatch, Program, label};
use crate::engine::{EngineError, LocalFuture, Result};
use crate::gpu::device::Device;
use crate::kernels::{self, Kernel, KernelError};

/// Pipelines that no program uses but that stay made: the same run may be asked for again, and drivers take long.
const IDLE: usize = 256;

slotmap::new_key_type! {
    pub struct PipelineId;
}

/// A pipeline and the layout of its one bind group.
#[derive(Clone)]
pub struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// What became of something that is made while others go on.
#[derive(Clone, Default)]
pub struct Fate(Rc<Cell<bool>>);

impl Fate {
    /// Whether the device refused it.
    pub fn refused(&self) -> bool {
        self.0.get()
    }

    pub fn refuse(&self) {
        self.0.set(true);
    }
}

struct Entry {
    made: Pipeline,
    text: String,
    fate: Fate,
    /// Programs that use it.
    users: usize,
    /// When it was asked for last.
    asked: u64,
}

/// The pipelines of a device.
#[derive(Default)]
pub struct Pipelines {
    by_text: HashMap<String, PipelineId>,
    all: SlotMap<PipelineId, Entry>,
    /// Times that pipelines were asked for.
    clock: u64,
}

impl Pipelines {
    pub fn get(&self, id: PipelineId) -> &Pipeline {
        &self.all[id].made
    }

    pub fn has(&self, kernel: &Kernel) -> bool {
        self.by_text.get(&kernel.wgsl).is_some_and(|&id| !self.all[id].fate.refused())
    }

    /// The kernels' pipelines, used once more each, and what to wait for before they run: those that are new are made,
    /// checked and warmed together. Each kernel comes with the label that errors name.
    pub fn load(
        &mut self,
        device: &Rc<Device>,
        kernels: &[(&str, &Kernel)],
    ) -> (Vec<PipelineId>, LocalFuture<'static, Result<()>>) {
        self.forget(|entry| entry.fate.refused());
        self.clock += 1;
        let scope = device.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let fate = Fate::default();
        let mut made: Vec<Made> = vec![];
        let ids = kernels.iter().map(|&(label, kernel)| {
            let id = *self.by_text.entry(kernel.wgsl.clone()).or_insert_with(|| {
                let (module, pipeline) = make(&device.device, label, kernel);
                made.push(Made {
                    module,
                    pipeline: pipeline.clone(),
                    label: label.to_owned(),
                    wgsl: kernel.wgsl.clone(),
                    bindings: kernel.bindings.len(),
                });
                let (text, fate) = (kernel.wgsl.clone(), fate.clone());
                self.all.insert(Entry { made: pipeline, text, fate, users: 0, asked: 0 })
            });
            self.all[id].users += 1;
            self.all[id].asked = self.clock;
            id
        });
        let ids = ids.collect();
        let (error, device) = (scope.pop(), device.clone());
        let done = async move {
            let outcome = match error.await {
                Some(error) => Err(explain(&made, &error.to_string()).await),
                None if made.is_empty() => Ok(()),
                None => warm(&device, &made),
            };
            // A lost device explains more than what it refused.
            device.check().and(outcome).inspect_err(|_| fate.refuse())
        };
        (ids, Box::pin(done))
    }

    /// Says that a program does not use them any more.
    pub fn release(&mut self, ids: impl Iterator<Item = PipelineId>) {
        for id in ids {
            if let Some(entry) = self.all.get_mut(id) {
                entry.users -= 1;
            }
        }
        let mut idle: Vec<u64> = self.all.values().filter(|entry| entry.users == 0).map(|entry| entry.asked).collect();
        if idle.len() > IDLE {
            idle.sort_unstable();
            let oldest = idle[idle.len() - IDLE - 1];
            self.forget(|entry| entry.users == 0 && entry.asked <= oldest);
        }
    }

    fn forget(&mut self, which: impl Fn(&Entry) -> bool) {
        let by_text = &mut self.by_text;
        self.all.retain(|_, entry| {
            let goes = which(entry);
            if goes {
                by_text.remove(&entry.text);
            }
            !goes
        });
    }
}

/// The kernels of a program's launches, in order, with their labels.
pub fn kernels_of(
    program: &Program,
    kernel: impl Fn(&[Dispatch]) -> std::result::Result<Kernel, KernelError>,
) -> Result<Vec<(String, Kernel)>> {
    let made = program.launches().map(|launch| match kernel(launch) {
        Ok(kernel) => Ok((label(launch), kernel)),
        Err(error) => Err(EngineError::Shader { label: label(launch), message: error.to_string() }),
    });
    made.collect()
}

/// A pipeline under way.
struct Made {
    module: wgpu::ShaderModule,
    pipeline: Pipeline,
    label: String,
    wgsl: String,
    /// Arrays that it takes.
    bindings: usize,
}

fn make(device: &wgpu::Device, label: &str, kernel: &Kernel) -> (wgpu::ShaderModule, Pipeline) {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(kernel.wgsl.as_str().into()),
    });
    let entries: Vec<wgpu::BindGroupLayoutEntry> = (0u32..)
        .zip(&kernel.bindings)
        .map(|(binding, bound)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: !bound.written },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    (module, Pipeline { pipeline, layout })
}

/// Runs one workgroup of each pipeline on arrays of one element (accesses are checked), so that drivers compile now and
/// not in the first step. Browsers warn of a dispatch of none.
fn warm(device: &Device, made: &[Made]) -> Result<()> {
    let dummies: Result<Vec<wgpu::Buffer>> =
        (0..kernels::MAX_BINDINGS).map(|_| device.buffer("warm", 16, wgpu::BufferUsages::STORAGE)).collect();
    let dummies = dummies?;
    let mut encoder = device.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for Made { pipeline, bindings, .. } in made {
        let entries: Vec<wgpu::BindGroupEntry> = (0u32..)
            .zip(&dummies[..*bindings])
            .map(|(binding, dummy)| wgpu::BindGroupEntry { binding, resource: dummy.as_entire_binding() })
            .collect();
        let group = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("warm"),
            layout: &pipeline.layout,
            entries: &entries,
        });
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    drop(pass);
    device.queue.submit([encoder.finish()]);
    device.check()
}

/// The error of the first module that has one, with the lines it points at.
async fn explain(made: &[Made], fallback: &str) -> EngineError {
    for Made { module, label, wgsl, .. } in made {
        let messages = module.get_compilation_info().await.messages;
        let errors = messages.iter().filter(|m| m.message_type == wgpu::CompilationMessageType::Error);
        let texts: Vec<String> = errors.map(|message| point(message, wgsl)).collect();
        if !texts.is_empty() {
            return EngineError::Shader { label: label.clone(), message: texts.join("\n") };
        }
    }
    let labels: Vec<&str> = made.iter().map(|made| made.label.as_str()).collect();
    EngineError::Shader { label: labels.join("`, `"), message: fallback.to_owned() }
}

/// A message with the line of source it is about and the two before it.
fn point(message: &wgpu::CompilationMessage, wgsl: &str) -> String {
    let Some(place) = message.location else { return message.message.clone() };
    let line = place.line_number as usize;
    let mut text = format!("line {line}, column {}: {}\n", place.line_position, message.message);
    for (at, source) in wgsl.lines().enumerate().take(line).skip(line.saturating_sub(3)) {
        text += &format!("{:>5} | {source}\n", at + 1);
    }
    text + &format!("      | {}^", " ".repeat(place.line_position.saturating_sub(1) as usize))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn shader_errors_show_the_line() {
        let Ok(device) = pollster::block_on(Device::open("auto")).map(Rc::new) else {
            assert!(std::env::var_os("CI").is_none(), "this test needs a GPU adapter");
            eprintln!("SKIPPED, no GPU adapter");
            return;
        };
        let kernel = |body: &str| Kernel {
            wgsl: format!("@compute @workgroup_size(1)\nfn main() {{\n    {body}\n}}\n"),
            grid: [1, 1, 1],
            bindings: vec![],
        };
        let (good, bad) = (kernel("let x = 1u;"), kernel("let x = 1u + 1.5f;"));
        let mut pipelines = Pipelines::default();
        let (_, done) = pipelines.load(&device, &[("good", &good), ("mix", &bad)]);
        let error = pollster::block_on(done).unwrap_err().to_string();
        assert!(error.contains("`mix`") && error.contains("line 3"), "{error}");
        assert!(error.contains("    3 |     let x = 1u + 1.5f;"), "{error}");
        // The table holds only what works, each once.
        let (ids, done) = pipelines.load(&device, &[("good", &good), ("same", &good)]);
        pollster::block_on(done).unwrap();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(pipelines.all.len(), 1);
        // What nobody uses stays for a while, the latest longest.
        pipelines.release(ids.into_iter());
        assert!(pipelines.has(&good));
        for k in 2..IDLE + 2 {
            let other = kernel(&format!("let x = {k}u;"));
            let (ids, done) = pipelines.load(&device, &[("other", &other)]);
            pollster::block_on(done).unwrap();
            pipelines.release(ids.into_iter());
        }
        assert_eq!(pipelines.all.len(), IDLE);
        assert!(!pipelines.has(&good) && pipelines.has(&kernel("let x = 2u;")));
    }
}
