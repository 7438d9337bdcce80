//! A feed-forward model: a list of layers over one parameter vector.

use serde::{Deserialize, Serialize};

use super::functions;
use crate::ir::{Graph, NodeId, Scalar, numel};
use crate::rng::{Purpose, Stream};

/// Padding of one spatial axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Padding {
    /// `valid` or `same`.
    Rule(PaddingRule),
    /// Zeros before and after.
    Explicit([usize; 2]),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingRule {
    Valid,
    Same,
}

impl Padding {
    /// No padding.
    pub const VALID: Padding = Padding::Rule(PaddingRule::Valid);

    /// Zeros before and after an axis of length `n`; `same` puts the smaller half first.
    pub fn resolve(&self, n: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Padding::Rule(PaddingRule::Valid) => [0, 0],
            Padding::Rule(PaddingRule::Same) => {
                let total = ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n);
                [total / 2, total - total / 2]
            }
            Padding::Explicit(pads) => *pads,
        }
    }

    /// Length of a convolution's output along an axis of length `n`, or why there is none.
    pub fn output(&self, n: usize, kernel: usize, stride: usize) -> Result<usize, String> {
        if n == 0 || kernel == 0 || stride == 0 {
            return Err("length, kernel and stride must be at least 1".to_owned());
        }
        let pads = self.resolve(n, kernel, stride);
        let padded = pads[0].checked_add(pads[1]).and_then(|pads| pads.checked_add(n));
        let padded = padded.ok_or_else(|| format!("a padding of {pads:?} is too large"))?;
        if kernel > padded {
            return Err(format!("kernel {kernel} is longer than the padded length {padded}"));
        }
        Ok((padded - kernel) / stride + 1)
    }
}

/// One layer. Activations are `[batch, time, channels]`, `[batch, height, width, channels]` or
/// `[batch, features]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Layer {
    Dense {
        name: String,
        #[serde(rename = "in")]
        inputs: usize,
        #[serde(rename = "out")]
        outputs: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    Conv1d {
        name: String,
        k: usize,
        cin: usize,
        cout: usize,
        stride: usize,
        padding: Padding,
        #[serde(default = "yes")]
        bias: bool,
    },
    Conv2d {
        name: String,
        k: [usize; 2],
        cin: usize,
        cout: usize,
        stride: [usize; 2],
        padding: [Padding; 2],
        #[serde(default = "yes")]
        bias: bool,
    },
    Relu,
    Tanh,
    Sigmoid,
    Softplus,
    /// Active in training only. The mask (1 keeps) has the shape of the activation.
    Dropout {
        rate: f64,
    },
    Maxpool1d {
        window: usize,
        stride: usize,
    },
    Maxpool2d {
        window: [usize; 2],
        stride: [usize; 2],
    },
    Avgpool1d {
        window: usize,
        stride: usize,
    },
    Avgpool2d {
        window: [usize; 2],
        stride: [usize; 2],
    },
    Flatten,
}

fn yes() -> bool {
    true
}

/// A layer that does not fit what comes before it.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("layer {position} ({layer}): {problem}")]
pub struct ModelError {
    /// Counted from 1.
    pub position: usize,
    pub layer: String,
    pub problem: String,
}

/// One array of the parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `<layer>.kernel` or `<layer>.bias`.
    pub name: String,
    pub shape: Vec<usize>,
    /// First element in the parameter vector.
    pub offset: usize,
    /// Number of the parameter layer it belongs to, counted from 0.
    pub layer: usize,
    pub is_kernel: bool,
}

impl Parameter {
    pub fn len(&self) -> usize {
        numel(&self.shape)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A checked list of layers with the layout of its parameter vector: kernel, then bias, layer by
/// layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    layers: Vec<Layer>,
    input: Vec<usize>,
    output: Vec<usize>,
    parameters: Vec<Parameter>,
    /// Shape of the dropout layer's mask for one example, if there is one.
    mask: Option<Vec<usize>>,
}

impl Model {
    /// Checks the layers against an input shape (without the batch axis) and lays out parameters.
    pub fn new(layers: Vec<Layer>, input: &[usize]) -> Result<Self, ModelError> {
        let mut model =
            Model { layers: vec![], input: input.to_vec(), output: input.to_vec(), parameters: vec![], mask: None };
        for (k, layer) in layers.into_iter().enumerate() {
            let label = format!("{layer:?}").split([' ', '{']).next().unwrap_or_default().to_lowercase();
            model.push(layer).map_err(|problem| ModelError { position: k + 1, layer: label, problem })?;
        }
        Ok(model)
    }

    /// The network of the first paper for windows `[128, 9]`: Conv1D k3 twice with ReLU, dropout,
    /// max-pool 2, dense with ReLU, dense.
    ///
    /// # Panics
    /// If there are no filters, hidden units or classes, or the dropout rate is outside [0, 1).
    pub fn har_cnn(filters: usize, hidden: usize, classes: usize, dropout: f64) -> Self {
        let conv = |name: &str, cin| Layer::Conv1d {
            name: name.to_owned(),
            k: 3,
            cin,
            cout: filters,
            stride: 1,
            padding: Padding::VALID,
            bias: true,
        };
        let dense = |name: &str, inputs, outputs| Layer::Dense { name: name.to_owned(), inputs, outputs, bias: true };
        let layers = vec![
            conv("conv1", 9),
            Layer::Relu,
            conv("conv2", filters),
            Layer::Relu,
            Layer::Dropout { rate: dropout },
            Layer::Maxpool1d { window: 2, stride: 2 },
            Layer::Flatten,
            dense("dense1", 62 * filters, hidden),
            Layer::Relu,
            dense("dense2", hidden, classes),
        ];
        Self::new(layers, &[128, 9]).expect("the sizes fit by construction")
    }

    /// The model with another layer behind it.
    pub fn then(self, layer: Layer) -> Result<Self, ModelError> {
        let input = self.input.clone();
        Self::new(self.layers.into_iter().chain([layer]).collect(), &input)
    }

    fn push(&mut self, layer: Layer) -> Result<(), String> {
        let shape = self.output.clone();
        if shape.contains(&0) {
            return Err(format!("is given activations of shape {shape:?}, which hold nothing"));
        }
        let pooled = |axes: &[(usize, usize, usize)]| -> Result<Vec<usize>, String> {
            let mut out = shape.clone();
            if shape.len() != axes.len() + 1 {
                return Err(format!("cannot pool activations of shape {shape:?}"));
            }
            for (axis, &(n, window, stride)) in axes.iter().enumerate() {
                if window == 0 || stride == 0 || window > n {
                    return Err(format!("window {window} with stride {stride} does not fit length {n}"));
                }
                out[axis] = (n - window) / stride + 1;
            }
            Ok(out)
        };
        let size = |axis: usize| shape.get(axis).copied().unwrap_or(0);
        self.output = match &layer {
            Layer::Dense { name, inputs, outputs, bias } => {
                if shape != [*inputs] {
                    return Err(format!("takes {inputs} features, but is given activations of shape {shape:?}"));
                }
                self.parameter_layer(name, vec![*inputs, *outputs], *bias)?;
                vec![*outputs]
            }
            Layer::Conv1d { name, k, cin, cout, stride, padding, bias } => {
                if shape.len() != 2 || shape[1] != *cin {
                    return Err(format!("takes [length, {cin}], but is given activations of shape {shape:?}"));
                }
                let length = padding.output(shape[0], *k, *stride)?;
                self.parameter_layer(name, vec![*k, *cin, *cout], *bias)?;
                vec![length, *cout]
            }
            Layer::Conv2d { name, k, cin, cout, stride, padding, bias } => {
                if shape.len() != 3 || shape[2] != *cin {
                    return Err(format!("takes [height, width, {cin}], but is given activations of shape {shape:?}"));
                }
                let height = padding[0].output(shape[0], k[0], stride[0])?;
                let width = padding[1].output(shape[1], k[1], stride[1])?;
                self.parameter_layer(name, vec![k[0], k[1], *cin, *cout], *bias)?;
                vec![height, width, *cout]
            }
            Layer::Dropout { rate } => {
                if !(0.0..1.0).contains(rate) {
                    return Err(format!("rate {rate} is outside [0, 1)"));
                }
                if self.mask.is_some() {
                    return Err("a model has at most one dropout layer".to_owned());
                }
                self.mask = Some(shape.clone());
                shape
            }
            Layer::Maxpool1d { window, stride } | Layer::Avgpool1d { window, stride } => {
                pooled(&[(size(0), *window, *stride)])?
            }
            Layer::Maxpool2d { window, stride } | Layer::Avgpool2d { window, stride } => {
                pooled(&[(size(0), window[0], stride[0]), (size(1), window[1], stride[1])])?
            }
            Layer::Flatten => vec![numel(&shape)],
            Layer::Relu | Layer::Tanh | Layer::Sigmoid | Layer::Softplus => shape,
        };
        self.layers.push(layer);
        Ok(())
    }

    fn parameter_layer(&mut self, name: &str, kernel: Vec<usize>, bias: bool) -> Result<(), String> {
        if name.is_empty() {
            return Err("has no name, by which records and files know its weights".to_owned());
        }
        if self.layer_names().contains(&name) {
            return Err(format!(
                "is called `{name}`, as another layer is; records and files know weights by that name"
            ));
        }
        if kernel.contains(&0) {
            return Err(format!("has a kernel of shape {kernel:?}, which holds no weight"));
        }
        // Arrays are counted in four bytes.
        let size = kernel.iter().try_fold(1usize, |size, &n| size.checked_mul(n));
        if size.is_none_or(|size| size.saturating_add(self.parameter_count()) > i32::MAX as usize) {
            return Err(format!("has a kernel of shape {kernel:?}, with which there are 2³¹ weights or more"));
        }
        let layer = self.parameter_layers();
        let outputs = kernel[kernel.len() - 1];
        let offset = self.parameter_count();
        let bias_offset = offset + numel(&kernel);
        self.parameters.push(Parameter {
            name: format!("{name}.kernel"),
            shape: kernel,
            offset,
            layer,
            is_kernel: true,
        });
        if bias {
            self.parameters.push(Parameter {
                name: format!("{name}.bias"),
                shape: vec![outputs],
                offset: bias_offset,
                layer,
                is_kernel: false,
            });
        }
        Ok(())
    }

    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Shape of one example.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// Shape of one output.
    pub fn output(&self) -> &[usize] {
        &self.output
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Length of the parameter vector.
    pub fn parameter_count(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.offset + p.len())
    }

    /// Number of layers that have parameters.
    pub fn parameter_layers(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.layer + 1)
    }

    /// Names of the layers that have parameters.
    pub fn layer_names(&self) -> Vec<&str> {
        let kernels = self.parameters.iter().filter(|p| p.is_kernel);
        kernels.filter_map(|p| p.name.strip_suffix(".kernel")).collect()
    }

    /// Shape of the dropout mask of one example and the rate, if the model has dropout.
    pub fn dropout(&self) -> Option<(&[usize], f64)> {
        let shape = self.mask.as_deref()?;
        self.layers.iter().find_map(|layer| match layer {
            Layer::Dropout { rate } => Some((shape, *rate)),
            _ => None,
        })
    }

    /// Outputs `[batch, …]` for `x` (`[batch, …input]`) and the parameter vector `theta`. The dropout
    /// layer multiplies by `factor` (`[batch, …]`), such as [`functions::dropout_factor`]; without one it
    /// passes.
    pub fn apply(&self, g: &mut Graph, theta: NodeId, x: NodeId, factor: Option<NodeId>) -> NodeId {
        let mut parameters = self.parameters.iter().peekable();
        let mut h = x;
        for layer in &self.layers {
            h = match layer {
                Layer::Dense { .. } => {
                    let kernel = take(g, theta, parameters.next());
                    functions::matmul(g, h, kernel, [false, false])
                }
                Layer::Conv1d { k, stride, padding, .. } => {
                    let kernel = take(g, theta, parameters.next());
                    let pads = padding.resolve(g.shape(h)[1], *k, *stride);
                    functions::conv1d(g, h, kernel, *stride, pads)
                }
                Layer::Conv2d { k, stride, padding, .. } => {
                    let kernel = take(g, theta, parameters.next());
                    let pads = [0, 1].map(|a| padding[a].resolve(g.shape(h)[1 + a], k[a], stride[a]));
                    functions::conv2d(g, h, kernel, *stride, pads)
                }
                Layer::Relu => g.scalar(Scalar::Relu, &[h]),
                Layer::Tanh => g.scalar(Scalar::Tanh, &[h]),
                Layer::Sigmoid => g.scalar(Scalar::Sigmoid, &[h]),
                Layer::Softplus => g.scalar(Scalar::Softplus, &[h]),
                Layer::Dropout { .. } => factor.map_or(h, |factor| g.mul(h, factor)),
                Layer::Maxpool1d { window, stride } => functions::max_pool(g, h, &[*window], &[*stride]),
                Layer::Maxpool2d { window, stride } => functions::max_pool(g, h, window, stride),
                Layer::Avgpool1d { window, stride } => functions::average_pool(g, h, &[*window], &[*stride]),
                Layer::Avgpool2d { window, stride } => functions::average_pool(g, h, window, stride),
                Layer::Flatten => {
                    let shape = g.shape(h).to_vec();
                    g.reshape(h, &[shape[0], numel(&shape[1..])])
                }
            };
            // A bias follows its kernel.
            if let Some(bias) = parameters.next_if(|p| !p.is_kernel) {
                let bias = take(g, theta, Some(bias));
                h = g.add(h, bias);
            }
        }
        h
    }

    /// He-normal kernels (standard deviation √(2 / fan in)) and zero biases, a function of the seed.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut theta = vec![0.0; self.parameter_count()];
        for p in self.parameters.iter().filter(|p| p.is_kernel) {
            let fan_in: usize = p.shape[..p.shape.len() - 1].iter().product();
            let deviation = (2.0 / fan_in as f64).sqrt();
            let mut stream = Stream::new(seed, Purpose::Init, p.layer as u32);
            theta[p.offset..p.offset + p.len()].fill_with(|| (deviation * stream.normal()) as f32);
        }
        theta
    }
}

/// A parameter as an array.
fn take(g: &mut Graph, theta: NodeId, parameter: Option<&Parameter>) -> NodeId {
    let parameter = parameter.expect("the layout has a parameter for each layer");
    let flat = g.segment(theta, parameter.offset, parameter.len());
    let array = g.reshape(flat, &parameter.shape);
    g.name(array, &parameter.name)
}
