//! What a kernel is for a device.

use super::source::TemplateError;
use crate::compile::{MAX_EXTENT, Place};
use crate::ir::DType;

/// Most storage buffers of a kernel (WebGPU's default limit).
pub const MAX_BINDINGS: usize = 8;

/// A dispatch ready for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The whole shader; its entry point is `main`.
    pub wgsl: String,
    /// Workgroups along x and y, and one layer of them for each member of a population.
    pub grid: [u32; 3],
    /// What is bound, in the order of the binding numbers of group 0.
    pub bindings: Vec<Binding>,
}

/// An array bound to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Which of the program's arrays it is.
    pub place: Place,
    /// Type of its elements.
    pub dtype: DType,
    /// Whether the kernel stores in it (and may also read it).
    pub written: bool,
    /// Whether it is declared as an array of four-vectors.
    pub vectors: bool,
}

/// Why a dispatch has no kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// More arrays than [`MAX_BINDINGS`].
    #[error("it touches {0} arrays, a kernel may bind {MAX_BINDINGS}")]
    TooManyArrays(usize),
    /// A domain of more elements than workgroups can be launched for.
    #[error("it has {0} elements, more than a grid of workgroups holds")]
    TooLarge(usize),
    /// More members than workgroups can be launched for.
    #[error("it runs for {0} members, more than a grid of workgroups holds")]
    TooMany(usize),
    /// A loop of more steps than [`MAX_EXTENT`].
    #[error("its loop has {0} steps, a kernel may have {MAX_EXTENT}")]
    TooLong(usize),
    /// A constant that no literal of the shading language stands for.
    #[error("the constant {value} is not a finite 32-bit float")]
    Constant {
        /// The constant.
        value: f64,
    },
    /// A fault in a shader file or in what is put into it.
    #[error(transparent)]
    Template(#[from] TemplateError),
}
