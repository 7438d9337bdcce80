//! Compute pipelines, one for each WGSL text, made once.

use std::collections::HashMap;

use crate::engine::{EngineError, Result};
use crate::gpu::device::Device;
use crate::kernels::{self, Kernel};

/// A pipeline and the layout of its one bind group.
pub struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// The pipelines of a device.
#[derive(Default)]
pub struct Pipelines {
    by_text: HashMap<String, usize>,
    all: Vec<Pipeline>,
}

impl Pipelines {
    pub fn get(&self, at: usize) -> &Pipeline {
        &self.all[at]
    }

    pub fn has(&self, kernel: &Kernel) -> bool {
        self.by_text.contains_key(&kernel.wgsl)
    }

    /// Positions of the kernels' pipelines; those that are new are made, checked and warmed
    /// together. Each kernel comes with the label that errors name.
    pub async fn load(&mut self, device: &Device, kernels: &[(&str, &Kernel)]) -> Result<Vec<usize>> {
        let scope = device.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut made: Vec<Made> = vec![];
        let mut positions = vec![];
        for &(label, kernel) in kernels {
            let known = self.by_text.get(&kernel.wgsl).copied();
            let position = known.unwrap_or(self.all.len());
            if known.is_none() {
                let (module, pipeline) = make(&device.device, label, kernel);
                made.push((module, label, kernel));
                self.by_text.insert(kernel.wgsl.clone(), position);
                self.all.push(pipeline);
            }
            positions.push(position);
        }
        let first = self.all.len() - made.len();
        let outcome = match scope.pop().await {
            Some(error) => Err(explain(&made, &error.to_string()).await),
            None if made.is_empty() => Ok(()),
            None => warm(device, &self.all[first..], &made),
        };
        // A lost device explains more than what it refused.
        if let Err(error) = device.check().and(outcome) {
            self.by_text.retain(|_, position| *position < first);
            self.all.truncate(first);
            return Err(error);
        }
        Ok(positions)
    }
}

type Made<'a> = (wgpu::ShaderModule, &'a str, &'a Kernel);

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
fn warm(device: &Device, pipelines: &[Pipeline], made: &[Made]) -> Result<()> {
    let dummies: Result<Vec<wgpu::Buffer>> =
        (0..kernels::MAX_BINDINGS).map(|_| device.buffer("warm", 16, wgpu::BufferUsages::STORAGE)).collect();
    let dummies = dummies?;
    let mut encoder = device.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for (pipeline, (_, _, kernel)) in pipelines.iter().zip(made) {
        let entries: Vec<wgpu::BindGroupEntry> = (0u32..)
            .zip(&dummies[..kernel.bindings.len()])
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
async fn explain(made: &[Made<'_>], fallback: &str) -> EngineError {
    for (module, label, kernel) in made {
        let messages = module.get_compilation_info().await.messages;
        let errors = messages.iter().filter(|m| m.message_type == wgpu::CompilationMessageType::Error);
        let texts: Vec<String> = errors.map(|message| point(message, &kernel.wgsl)).collect();
        if !texts.is_empty() {
            return EngineError::Shader { label: (*label).to_owned(), message: texts.join("\n") };
        }
    }
    let labels: Vec<&str> = made.iter().map(|(_, label, _)| *label).collect();
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
        let Ok(device) = pollster::block_on(Device::open("auto")) else {
            assert!(std::env::var_os("CI").is_none(), "this test needs a GPU adapter");
            eprintln!("SKIPPED, no GPU adapter");
            return;
        };
        let kernel = |body: &str| Kernel {
            wgsl: format!("@compute @workgroup_size(1)\nfn main() {{\n    {body}\n}}\n"),
            grid: [1, 1],
            bindings: vec![],
        };
        let (good, bad) = (kernel("let x = 1u;"), kernel("let x = 1u + 1.5f;"));
        let mut pipelines = Pipelines::default();
        let kernels = [("good", &good), ("mix", &bad)];
        let error = pollster::block_on(pipelines.load(&device, &kernels)).unwrap_err().to_string();
        assert!(error.contains("`mix`") && error.contains("line 3"), "{error}");
        assert!(error.contains("    3 |     let x = 1u + 1.5f;"), "{error}");
        // The table holds only what works, each once.
        let positions = pollster::block_on(pipelines.load(&device, &[("good", &good), ("same", &good)]));
        assert_eq!(positions.unwrap(), [0, 0]);
        assert_eq!(pipelines.all.len(), 1);
    }
}
