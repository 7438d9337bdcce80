//! The arrays of a model: parameters, which are trained, and running statistics, which follow them.

use crate::ir::{Graph, NodeId, numel};
use crate::rng::{Purpose, Stream};

/// What a parameter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The matrix of a dense layer or the kernel of a convolution; penalties are on these alone.
    Kernel,
    /// What is added to it.
    Bias,
    /// What batch norm multiplies by.
    Scale,
    /// What batch norm adds.
    Offset,
}

impl Role {
    /// The last part of a parameter's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Kernel => "kernel",
            Role::Bias => "bias",
            Role::Scale => "scale",
            Role::Offset => "offset",
        }
    }
}

/// One array of the parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `<layer>.kernel`, `<layer>.bias`, `<layer>.scale` or `<layer>.offset`.
    pub name: String,
    /// What it is to its layer.
    pub role: Role,
    /// Its shape.
    pub shape: Vec<usize>,
    /// First element in the parameter vector.
    pub offset: usize,
    /// Number of the parameter layer it belongs to, counted from 0.
    pub layer: usize,
}

impl Parameter {
    /// Number of elements.
    pub fn len(&self) -> usize {
        numel(&self.shape)
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether penalties are on it.
    pub fn is_kernel(&self) -> bool {
        self.role == Role::Kernel
    }

    /// The array in a parameter vector.
    pub fn read(&self, g: &mut Graph, vector: NodeId) -> NodeId {
        let flat = g.segment(vector, self.offset, self.len());
        let array = g.reshape(flat, &self.shape);
        g.name(array, &self.name)
    }

    /// Its initial value: He-normal for kernels (standard deviation √(2 / fan in), He et al. 2015), 1 for scales, else
    /// 0.
    pub(super) fn initialize(&self, seed: u64, place: &mut [f32]) {
        match self.role {
            Role::Kernel => {
                let fan_in: usize = self.shape[..self.shape.len() - 1].iter().product();
                let deviation = (2.0 / fan_in as f64).sqrt();
                let mut stream = Stream::new(seed, Purpose::Init, self.layer as u32);
                place.fill_with(|| (deviation * stream.normal()) as f32);
            }
            Role::Scale => place.fill(1.0),
            Role::Bias | Role::Offset => place.fill(0.0),
        }
    }
}

/// One array of the vector of running statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// `<layer>.mean` or `<layer>.variance`.
    pub name: String,
    /// One for each channel.
    pub len: usize,
    /// First element in the vector.
    pub offset: usize,
    /// What each is before the first batch.
    pub start: f32,
}

impl Statistic {
    /// The array in a vector of running statistics.
    pub fn read(&self, g: &mut Graph, vector: NodeId) -> NodeId {
        let array = g.segment(vector, self.offset, self.len);
        g.name(array, &self.name)
    }
}
