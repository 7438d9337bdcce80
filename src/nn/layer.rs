//! Layers as they are written in files: what each one makes of a shape, and how it takes part in a model.

use serde::{Deserialize, Serialize};

use super::functions::{self, Along};
use crate::ir::{Graph, NodeId, Scalar, numel};

/// Padding of one spatial axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Padding {
    /// `valid`, `same` or `causal`.
    Rule(PaddingRule),
    /// Zeros before and after.
    Explicit([usize; 2]),
}

/// Padding by name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingRule {
    /// None.
    Valid,
    /// As much as makes the output as long as the input, divided by the stride.
    Same,
    /// All of it before: an output as long as with `same`, each of which sees nothing that comes after it.
    Causal,
}

impl Padding {
    /// No padding.
    pub const VALID: Padding = Padding::Rule(PaddingRule::Valid);

    /// An output as long as the input, divided by the stride.
    pub const SAME: Padding = Padding::Rule(PaddingRule::Same);

    /// An output as long as the input, divided by the stride, that sees nothing of what comes after.
    pub const CAUSAL: Padding = Padding::Rule(PaddingRule::Causal);

    /// Zeros before and after an axis of length `n`, `kernel` being from the first tap to the last; `same` puts the smaller half first.
    pub fn resolve(&self, n: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Padding::Rule(PaddingRule::Valid) => [0, 0],
            Padding::Rule(PaddingRule::Same) => {
                let total = ((n.div_ceil(stride) - 1) * stride).saturating_add(kernel).saturating_sub(n);
                [total / 2, total - total / 2]
            }
            Padding::Rule(PaddingRule::Causal) => [kernel - 1, 0],
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
        if padded > i32::MAX as usize {
            return Err(format!("a padding of {pads:?} is too large"));
        }
        if kernel > padded {
            return Err(format!("kernel {kernel} is longer than the padded length {padded}"));
        }
        Ok((padded - kernel) / stride + 1)
    }
}

/// What batch norm takes means and variances of while a model is trained. Whatever predicts takes the running ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistics {
    /// The batch of the step.
    #[default]
    Batch,
    /// The running ones, which the batch of the step has entered.
    Running,
}

/// One layer. Activations are `[batch, time, channels]`, `[batch, height, width, channels]` or
/// `[batch, features]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Layer {
    /// Features times a kernel `[in, out]`.
    Dense {
        /// What its weights are called.
        name: String,
        /// Features it takes.
        #[serde(rename = "in")]
        inputs: usize,
        /// Features it makes.
        #[serde(rename = "out")]
        outputs: usize,
        /// Whether it adds a vector.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Convolution along time with a kernel `[k, cin / groups, cout]`.
    Conv1d {
        /// What its weights are called.
        name: String,
        /// Length of the kernel.
        k: usize,
        /// Channels it takes.
        cin: usize,
        /// Channels it makes.
        cout: usize,
        /// Steps between outputs.
        stride: usize,
        /// Zeros around the input.
        padding: Padding,
        /// Whether it adds a vector.
        #[serde(default = "yes")]
        bias: bool,
        /// Steps between a kernel's taps.
        #[serde(default = "one")]
        dilation: usize,
        /// Parts of equal size that the channels are divided into, each of which makes its share of the outputs by itself.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Convolution over an image with a kernel `[kh, kw, cin, cout]`.
    Conv2d {
        /// What its weights are called.
        name: String,
        /// Height and width of the kernel.
        k: [usize; 2],
        /// Channels it takes.
        cin: usize,
        /// Channels it makes.
        cout: usize,
        /// Steps between outputs.
        stride: [usize; 2],
        /// Zeros around the input.
        padding: [Padding; 2],
        /// Whether it adds a vector.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// max(x, 0).
    Relu,
    /// tanh x.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// log(1 + eˣ).
    Softplus,
    /// Active in training only. The mask (1 keeps) has the shape of the activation.
    Dropout {
        /// Share of the activations that are set to 0.
        rate: f64,
    },
    /// Batch norm (Ioffe and Szegedy 2015): scale · (x − mean) / √(variance + eps) + offset for each channel, over all
    /// axes but the last.
    Batchnorm {
        /// What its parameters and statistics are called.
        name: String,
        /// Channels it takes and makes.
        channels: usize,
        /// Whether it multiplies by a parameter; else by 1.
        #[serde(default = "yes")]
        scale: bool,
        /// Whether it adds a parameter.
        #[serde(default = "yes")]
        offset: bool,
        /// What is added to the variance.
        #[serde(default = "usual_epsilon")]
        eps: f64,
        /// What a training normalises by.
        #[serde(default)]
        statistics: Statistics,
    },
    /// Largest of each window along time.
    Maxpool1d {
        /// Length of a window.
        window: usize,
        /// Steps between windows.
        stride: usize,
    },
    /// Largest of each window of an image.
    Maxpool2d {
        /// Height and width of a window.
        window: [usize; 2],
        /// Steps between windows.
        stride: [usize; 2],
    },
    /// Mean of each window along time.
    Avgpool1d {
        /// Length of a window.
        window: usize,
        /// Steps between windows.
        stride: usize,
    },
    /// Mean of each window of an image.
    Avgpool2d {
        /// Height and width of a window.
        window: [usize; 2],
        /// Steps between windows.
        stride: [usize; 2],
    },
    /// Mean of each channel over time, or over an image.
    Spatialmean,
    /// All of an example as features.
    Flatten,
    /// A residual block (He et al. 2016): what its layers make of the input, plus the input itself or a projection of
    /// it.
    Residual {
        /// What is added to the input.
        layers: Vec<Layer>,
        /// What makes the input's shape that of the sum; nothing where they are the same.
        #[serde(default)]
        projection: Vec<Layer>,
    },
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn usual_epsilon() -> f64 {
    1e-5
}

/// How a layer takes part in a model.
pub(super) enum LayerRole<'a> {
    /// A linear map with a kernel of its own, plus a bias.
    Affine { name: &'a str, kernel: Vec<usize>, bias: bool, map: Linear },
    /// Batch norm.
    Norm { name: &'a str, channels: usize, scale: bool, offset: bool, epsilon: f64, statistics: Statistics },
    /// A place where activations may be dropped.
    Drop { rate: f64 },
    /// The sum of two lists of layers.
    Residual { layers: &'a [Layer], projection: &'a [Layer] },
    /// No parameters, and the same in whatever way the model is read.
    Function(Function),
}

/// The linear map of a layer, of an activation and a kernel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Linear {
    Dense,
    Conv1d { stride: usize, padding: Padding, dilation: usize, groups: usize },
    Conv2d { stride: [usize; 2], padding: [Padding; 2] },
}

/// A layer without parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Function {
    Pointwise(Scalar),
    MaxPool { window: Vec<usize>, stride: Vec<usize> },
    AveragePool { window: Vec<usize>, stride: Vec<usize> },
    SpatialMean,
    Flatten,
}

impl Layer {
    /// Its type, and its name if it has one, for messages.
    pub(super) fn label(&self) -> String {
        let debug = format!("{self:?}");
        let kind = debug.split([' ', '{']).next().unwrap_or_default().to_lowercase();
        match self.role() {
            LayerRole::Affine { name, .. } | LayerRole::Norm { name, .. } => format!("{kind} `{name}`"),
            _ => kind,
        }
    }

    /// How it takes part in a model.
    pub(super) fn role(&self) -> LayerRole<'_> {
        let pointwise = |f| LayerRole::Function(Function::Pointwise(f));
        match self {
            Layer::Dense { name, inputs, outputs, bias } => {
                LayerRole::Affine { name, kernel: vec![*inputs, *outputs], bias: *bias, map: Linear::Dense }
            }
            Layer::Conv1d { name, k, cin, cout, stride, padding, bias, dilation, groups } => LayerRole::Affine {
                name,
                kernel: vec![*k, *cin / (*groups).max(1), *cout],
                bias: *bias,
                map: Linear::Conv1d { stride: *stride, padding: padding.clone(), dilation: *dilation, groups: *groups },
            },
            Layer::Conv2d { name, k, cin, cout, stride, padding, bias } => LayerRole::Affine {
                name,
                kernel: vec![k[0], k[1], *cin, *cout],
                bias: *bias,
                map: Linear::Conv2d { stride: *stride, padding: padding.clone() },
            },
            Layer::Batchnorm { name, channels, scale, offset, eps, statistics } => LayerRole::Norm {
                name,
                channels: *channels,
                scale: *scale,
                offset: *offset,
                epsilon: *eps,
                statistics: *statistics,
            },
            Layer::Dropout { rate } => LayerRole::Drop { rate: *rate },
            Layer::Residual { layers, projection } => LayerRole::Residual { layers, projection },
            Layer::Relu => pointwise(Scalar::Relu),
            Layer::Tanh => pointwise(Scalar::Tanh),
            Layer::Sigmoid => pointwise(Scalar::Sigmoid),
            Layer::Softplus => pointwise(Scalar::Softplus),
            Layer::Maxpool1d { window, stride } => {
                LayerRole::Function(Function::MaxPool { window: vec![*window], stride: vec![*stride] })
            }
            Layer::Maxpool2d { window, stride } => {
                LayerRole::Function(Function::MaxPool { window: window.to_vec(), stride: stride.to_vec() })
            }
            Layer::Avgpool1d { window, stride } => {
                LayerRole::Function(Function::AveragePool { window: vec![*window], stride: vec![*stride] })
            }
            Layer::Avgpool2d { window, stride } => {
                LayerRole::Function(Function::AveragePool { window: window.to_vec(), stride: stride.to_vec() })
            }
            Layer::Spatialmean => LayerRole::Function(Function::SpatialMean),
            Layer::Flatten => LayerRole::Function(Function::Flatten),
        }
    }

    /// Shape of what it makes of an example's activations of shape `input`, or why it takes none such.
    pub(crate) fn output(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let given = |takes: String| Err(format!("takes {takes}, but is given activations of shape {input:?}"));
        let about = |problem: String| format!("{problem}; it is given activations of shape {input:?}");
        match self {
            Layer::Dense { inputs, outputs, .. } => {
                if input != [*inputs] {
                    return given(format!("{inputs} features"));
                }
                Ok(vec![*outputs])
            }
            Layer::Conv1d { k, cin, cout, stride, padding, dilation, groups, .. } => {
                if input.len() != 2 || input[1] != *cin {
                    return given(format!("[length, {cin}]"));
                }
                if *groups == 0 || cin % groups != 0 || cout % groups != 0 {
                    return Err(format!(
                        "{cin} channels to {cout} cannot be divided into {groups} groups of equal size"
                    ));
                }
                let reach = reach(*k, *dilation).map_err(about)?;
                Ok(vec![padding.output(input[0], reach, *stride).map_err(about)?, *cout])
            }
            Layer::Conv2d { k, cin, cout, stride, padding, .. } => {
                if input.len() != 3 || input[2] != *cin {
                    return given(format!("[height, width, {cin}]"));
                }
                let along = |axis: usize| padding[axis].output(input[axis], k[axis], stride[axis]).map_err(about);
                Ok(vec![along(0)?, along(1)?, *cout])
            }
            Layer::Dropout { rate } if !(0.0..1.0).contains(rate) => Err(format!("rate {rate} is outside [0, 1)")),
            Layer::Batchnorm { channels, .. } if input.last() != Some(channels) => given(format!("[…, {channels}]")),
            Layer::Batchnorm { eps, .. } if !(*eps > 0.0 && eps.is_finite()) => {
                Err(format!("eps {eps} is not above 0, and a variance may be 0"))
            }
            Layer::Maxpool1d { window, stride } | Layer::Avgpool1d { window, stride } => {
                pooled(input, &[*window], &[*stride])
            }
            Layer::Maxpool2d { window, stride } | Layer::Avgpool2d { window, stride } => pooled(input, window, stride),
            Layer::Spatialmean if input.len() < 2 => {
                given("[length, channels] or [height, width, channels]".to_owned())
            }
            Layer::Spatialmean => Ok(input[input.len() - 1..].to_vec()),
            Layer::Flatten => Ok(vec![numel(input)]),
            Layer::Residual { layers, projection } => {
                let through =
                    |list: &[Layer]| list.iter().try_fold(input.to_vec(), |shape, layer| layer.output(&shape));
                let (made, kept) = (through(layers)?, through(projection)?);
                match made == kept {
                    true => Ok(made),
                    false if projection.is_empty() => Err(format!(
                        "its layers make shape {made:?} of its input of shape {kept:?}, and the two are added; give it a \
                         projection to the first"
                    )),
                    false => Err(format!(
                        "its layers make shape {made:?} and its projection shape {kept:?}, and the two are added"
                    )),
                }
            }
            Layer::Dropout { .. } | Layer::Batchnorm { .. } => Ok(input.to_vec()),
            Layer::Relu | Layer::Tanh | Layer::Sigmoid | Layer::Softplus => Ok(input.to_vec()),
        }
    }
}

/// Length of a kernel from its first tap to its last.
fn reach(k: usize, dilation: usize) -> Result<usize, String> {
    if dilation == 0 {
        return Err("a dilation must be at least 1".to_owned());
    }
    let gaps = k.saturating_sub(1).checked_mul(dilation);
    let reach = gaps.and_then(|gaps| gaps.checked_add(k.min(1)));
    reach.ok_or_else(|| format!("a kernel of {k} taps with a dilation of {dilation} is too long"))
}

/// Shape of pooled activations.
fn pooled(input: &[usize], window: &[usize], stride: &[usize]) -> Result<Vec<usize>, String> {
    let wanted = ["[length, channels]", "[height, width, channels]"][window.len() - 1];
    if input.len() != window.len() + 1 {
        return Err(format!("takes {wanted}, but is given activations of shape {input:?}"));
    }
    let mut output = input.to_vec();
    for (n, (&window, &stride)) in output.iter_mut().zip(window.iter().zip(stride)) {
        if window == 0 || stride == 0 || window > *n {
            return Err(format!(
                "window {window} with stride {stride} does not fit length {n}; it is given activations of shape {input:?}"
            ));
        }
        *n = (*n - window) / stride + 1;
    }
    Ok(output)
}

impl Linear {
    /// The map of an activation `[batch, …]`.
    pub(super) fn apply(&self, g: &mut Graph, h: NodeId, kernel: NodeId) -> NodeId {
        match self {
            Linear::Dense => functions::matmul(g, h, kernel, [false, false]),
            Linear::Conv1d { stride, padding, dilation, groups } => {
                let reach = dilation * (g.shape(kernel)[0] - 1) + 1;
                let pads = padding.resolve(g.shape(h)[1], reach, *stride);
                let along = Along { stride: *stride, pads, dilation: *dilation, groups: *groups };
                functions::conv1d(g, h, kernel, along)
            }
            Linear::Conv2d { stride, padding } => {
                let pads = [0, 1].map(|a| padding[a].resolve(g.shape(h)[1 + a], g.shape(kernel)[a], stride[a]));
                functions::conv2d(g, h, kernel, *stride, pads)
            }
        }
    }
}

impl Function {
    /// Its value for an activation `[batch, …]`.
    pub(super) fn apply(&self, g: &mut Graph, h: NodeId) -> NodeId {
        match self {
            Function::Pointwise(f) => g.scalar(*f, &[h]),
            Function::MaxPool { window, stride } => functions::max_pool(g, h, window, stride),
            Function::AveragePool { window, stride } => functions::average_pool(g, h, window, stride),
            Function::SpatialMean => functions::spatial_mean(g, h),
            Function::Flatten => {
                let shape = g.shape(h).to_vec();
                g.reshape(h, &[shape[0], numel(&shape[1..])])
            }
        }
    }
}
