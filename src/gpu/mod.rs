//! The engine that runs programs on a GPU through wgpu: Vulkan, Metal and DirectX 12 natively,
//! WebGPU in a browser.

mod device;
mod pipeline;
mod run;
mod staging;
mod wait;

pub use device::adapters;
pub use run::GpuEngine;
