//! Networks by name: from the shape of an example and the number of outputs to a model.

use super::{Layer, Model, ModelError, Padding, Statistics};

/// A network by name.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Another name that it goes by.
    pub also: Option<&'static str>,
    /// What it is, in a sentence.
    pub about: &'static str,
    layers: fn(Stack, Sizes) -> Stack,
}

/// What a network is made for.
#[derive(Clone, Copy)]
struct Sizes {
    outputs: usize,
    dropout: f64,
}

/// Every network.
pub const ZOO: [Entry; 8] = [
    Entry {
        name: "narrow",
        also: Some("har-cnn-narrow"),
        about: "The Conv1D network of the first paper with 8 filters and 16 hidden units: fast, for slow machines and \
                for trying things out",
        layers: |stack, sizes| har(stack, 8, 16, sizes),
    },
    Entry {
        name: "paper",
        also: Some("har-cnn"),
        about: "The Conv1D network of the first paper, with its 64 filters and 100 hidden units",
        layers: |stack, sizes| har(stack, 64, 100, sizes),
    },
    Entry {
        name: "mlp",
        also: None,
        about: "Two hidden layers of 64 units on all values of an example, each with dropout",
        layers: |stack, Sizes { outputs, dropout }| {
            let hidden =
                |stack: Stack, name| stack.dense(name, 64).then(Layer::Relu).then(Layer::Dropout { rate: dropout });
            hidden(hidden(stack.then(Layer::Flatten), "dense1"), "dense2").dense("dense3", outputs)
        },
    },
    Entry {
        name: "cnn2d",
        also: None,
        about: "For images: two 3 × 3 convolutions of 16 and 32 filters, each with max-pooling, then dropout and 64 \
                hidden units",
        layers: |stack, Sizes { outputs, dropout }| {
            let pool = Layer::Maxpool2d { window: [2, 2], stride: [2, 2] };
            let stack = stack.conv2d("conv1", 3, 16, 1, true).then(Layer::Relu).then(pool.clone());
            let stack = stack.conv2d("conv2", 3, 32, 1, true).then(Layer::Relu).then(pool);
            let stack = stack.then(Layer::Dropout { rate: dropout }).then(Layer::Flatten);
            stack.dense("dense1", 64).then(Layer::Relu).dense("dense2", outputs)
        },
    },
    Entry {
        name: "resnet1d",
        also: None,
        about: "For signals: three residual blocks of 16, 32 and 64 filters with batch norm and a mean over time",
        layers: |stack, sizes| resnet(stack, sizes, Stack::conv1d),
    },
    Entry {
        name: "towers",
        also: None,
        about: "For signals: two convolutions of 8 and 4 filters on each channel by itself (Zheng et al. 2014), then 100 \
                hidden units",
        layers: towers,
    },
    Entry {
        name: "dilated",
        also: None,
        about: "For signals: causal convolutions of 32 filters in residual blocks with batch norm, whose taps lie 1, 2, 4, 8 \
                and 16 samples apart (Bai et al. 2018), and a mean over time",
        layers: dilated,
    },
    Entry {
        name: "resnet2d",
        also: None,
        about: "For images: three residual blocks of 16, 32 and 64 filters with batch norm and a mean over the image",
        layers: |stack, sizes| resnet(stack, sizes, Stack::conv2d),
    },
];

/// The network of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ZOO.iter().find(|entry| entry.name == name || entry.also == Some(name))
}

impl Entry {
    /// The network for examples of shape `input`, with so many outputs; its dropout layers drop the share `dropout`.
    ///
    /// # Errors
    /// If it takes no examples of this shape, or the share is outside [0, 1).
    pub fn model(&self, input: &[usize], outputs: usize, dropout: f64) -> Result<Model, ModelError> {
        (self.layers)(Stack::new(input), Sizes { outputs, dropout }).model()
    }
}

/// The network of the first paper: Conv1D k3 twice with ReLU, dropout, max-pool 2, dense with ReLU, dense, for examples
/// of shape `[length, channels]`.
///
/// # Errors
/// If there are no filters, hidden units or outputs, the examples are too short, or the share of `dropout` is outside
/// [0, 1).
pub fn har_cnn(
    input: &[usize],
    filters: usize,
    hidden: usize,
    outputs: usize,
    dropout: f64,
) -> Result<Model, ModelError> {
    har(Stack::new(input), filters, hidden, Sizes { outputs, dropout }).model()
}

fn har(stack: Stack, filters: usize, hidden: usize, Sizes { outputs, dropout }: Sizes) -> Stack {
    let conv = |stack: Stack, name| stack.convolution(name, 3, filters, Along::default()).then(Layer::Relu);
    let stack = conv(conv(stack, "conv1"), "conv2").then(Layer::Dropout { rate: dropout });
    let stack = stack.then(Layer::Maxpool1d { window: 2, stride: 2 }).then(Layer::Flatten);
    stack.dense("dense1", hidden).then(Layer::Relu).dense("dense2", outputs)
}

/// The body of networks for few-shot learning (Vinyals et al. 2016, with strides as Finn et al. 2017 have them): four
/// convolutions of length 3 that halve each side, each with batch norm and ReLU, for images or signals; it ends with a vector.
///
/// # Errors
/// If examples are neither, or there are no filters.
pub fn few_shot_body(input: &[usize], filters: usize) -> Result<Model, ModelError> {
    let conv: Conv = if input.len() == 2 { Stack::conv1d } else { Stack::conv2d };
    let block = |stack: Stack, k: usize| {
        conv(stack, &format!("conv{k}"), 3, filters, 2, false).norm(&format!("norm{k}")).then(Layer::Relu)
    };
    (1..=4).fold(Stack::new(input), block).then(Layer::Flatten).model()
}

/// A tower for each channel, which sees no other; what they come to is joined by dense layers.
fn towers(stack: Stack, sizes: Sizes) -> Stack {
    let towers = stack.channels();
    let conv = |stack: Stack, name: &str, filters: usize| {
        let along = Along { groups: towers, ..Along::default() };
        let pool = Layer::Maxpool1d { window: 2, stride: 2 };
        stack.convolution(name, 5, filters * towers, along).then(Layer::Relu).then(pool)
    };
    let stack = conv(conv(stack, "conv1", 8), "conv2", 4).then(Layer::Flatten);
    let stack = stack.then(Layer::Dropout { rate: sizes.dropout });
    stack.dense("dense1", 100).then(Layer::Relu).dense("dense2", sizes.outputs)
}

/// Two causal convolutions a block, with as many steps between their taps as all blocks before have seen.
fn dilated(stack: Stack, sizes: Sizes) -> Stack {
    let conv = |stack: Stack, part: &str, block: usize, dilation: usize| {
        let along = Along { padding: Padding::CAUSAL, bias: false, dilation, ..Along::default() };
        stack.convolution(&format!("conv_{part}{block}"), 3, 32, along).norm(&format!("norm_{part}{block}"))
    };
    let mut stack = conv(stack, "in", 0, 1).then(Layer::Relu);
    for (block, dilation) in (1..).zip([1, 2, 4, 8, 16]) {
        let body = conv(stack.inside(), "a", block, dilation).then(Layer::Relu);
        let body = body.then(Layer::Dropout { rate: sizes.dropout });
        let layers = conv(body, "b", block, dilation).layers;
        stack = stack.then(Layer::Residual { layers, projection: vec![] }).then(Layer::Relu);
    }
    stack.then(Layer::Spatialmean).dense("dense", sizes.outputs)
}

/// A convolution of a residual network: name, kernel, filters, stride, bias.
type Conv = fn(Stack, &str, usize, usize, usize, bool) -> Stack;

/// A convolution, then blocks of two convolutions (He et al. 2016, version 1), of which all but the first halve each
/// side and have a projection, then the mean and a dense layer.
fn resnet(stack: Stack, sizes: Sizes, conv: Conv) -> Stack {
    let mut stack = conv(stack, "conv0", 3, 16, 1, false).norm("norm0").then(Layer::Relu);
    for (block, (filters, stride)) in (1..).zip([(16, 1), (32, 2), (64, 2)]) {
        let within = |part: &str| format!("{part}{block}");
        let inside = stack.inside();
        let body = conv(inside, &within("conv_a"), 3, filters, stride, false).norm(&within("norm_a")).then(Layer::Relu);
        let body = conv(body, &within("conv_b"), 3, filters, 1, false).norm(&within("norm_b"));
        let projection = match stride {
            1 => stack.inside(),
            _ => conv(stack.inside(), &within("conv_p"), 1, filters, stride, false).norm(&within("norm_p")),
        };
        let residual = Layer::Residual { layers: body.layers, projection: projection.layers };
        stack = stack.then(residual).then(Layer::Relu);
    }
    stack.then(Layer::Spatialmean).dense("dense", sizes.outputs)
}

/// How a convolution goes along time.
struct Along {
    stride: usize,
    padding: Padding,
    bias: bool,
    dilation: usize,
    groups: usize,
}

impl Default for Along {
    fn default() -> Self {
        Along { stride: 1, padding: Padding::VALID, bias: true, dilation: 1, groups: 1 }
    }
}

/// Layers one after another, with the shape that they come to.
struct Stack {
    input: Vec<usize>,
    shape: Vec<usize>,
    layers: Vec<Layer>,
}

impl Stack {
    fn new(input: &[usize]) -> Self {
        Stack { input: input.to_vec(), shape: input.to_vec(), layers: vec![] }
    }

    /// No layers yet, for what a block does with the activations here.
    fn inside(&self) -> Self {
        Stack::new(&self.shape)
    }

    fn model(self) -> Result<Model, ModelError> {
        Model::new(self.layers, &self.input)
    }

    /// Size of the last axis.
    fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    /// With another layer. One that does not fit is for [`Model::new`] to tell of, which is the first to be asked.
    fn then(mut self, layer: Layer) -> Self {
        self.shape = layer.output(&self.shape).unwrap_or(self.shape);
        self.layers.push(layer);
        self
    }

    fn dense(self, name: &str, outputs: usize) -> Self {
        let inputs = self.channels();
        self.then(Layer::Dense { name: name.to_owned(), inputs, outputs, bias: true })
    }

    fn norm(self, name: &str) -> Self {
        let (name, channels) = (name.to_owned(), self.channels());
        let statistics = Statistics::Batch;
        self.then(Layer::Batchnorm { name, channels, scale: true, offset: true, eps: 1e-5, statistics })
    }

    fn convolution(self, name: &str, k: usize, cout: usize, along: Along) -> Self {
        let (name, cin) = (name.to_owned(), self.channels());
        let Along { stride, padding, bias, dilation, groups } = along;
        self.then(Layer::Conv1d { name, k, cin, cout, stride, padding, bias, dilation, groups })
    }

    fn conv1d(self, name: &str, k: usize, cout: usize, stride: usize, bias: bool) -> Self {
        self.convolution(name, k, cout, Along { stride, padding: Padding::SAME, bias, ..Along::default() })
    }

    fn conv2d(self, name: &str, k: usize, cout: usize, stride: usize, bias: bool) -> Self {
        let (name, cin, padding) = (name.to_owned(), self.channels(), [Padding::SAME, Padding::SAME]);
        self.then(Layer::Conv2d { name, k: [k; 2], cin, cout, stride: [stride; 2], padding, bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_takes_what_it_is_for() {
        let fitting: [(&str, &[usize]); 10] = [
            ("narrow", &[128, 9]),
            ("paper", &[128, 9]),
            ("har-cnn", &[128, 9]),
            ("mlp", &[128, 9]),
            ("mlp", &[28, 28, 1]),
            ("cnn2d", &[32, 32, 3]),
            ("resnet1d", &[128, 9]),
            ("towers", &[128, 9]),
            ("dilated", &[128, 9]),
            ("resnet2d", &[32, 32, 3]),
        ];
        for (name, input) in fitting {
            let model = find(name).unwrap().model(input, 7, 0.25).unwrap();
            assert_eq!(model.output(), [7], "{name}");
            assert!(model.places().iter().all(|place| place.rate == 0.25));
        }
        assert!(find("nothing").is_none());
    }

    #[test]
    fn the_paper_s_network_is_the_paper_s() {
        let model = find("paper").unwrap().model(&[128, 9], 6, 0.5).unwrap();
        assert_eq!(model.layer_names(), ["conv1", "conv2", "dense1", "dense2"]);
        let sizes = [3 * 9 * 64, 64, 3 * 64 * 64, 64, 62 * 64 * 100, 100, 600, 6];
        assert!(model.parameters().iter().map(|p| p.len()).eq(sizes));
        assert_eq!(model.places()[0].shape, [124, 64]);
    }

    #[test]
    fn what_does_not_fit_is_said_of_its_layer() {
        let error = |name, input: &[usize]| find(name).unwrap().model(input, 3, 0.5).unwrap_err().to_string();
        assert_eq!(
            error("narrow", &[28, 28, 1]),
            "layer 1 (conv1d `conv1`): takes [length, 1], but is given activations of shape [28, 28, 1]"
        );
        assert!(
            error("cnn2d", &[1, 1, 1]).starts_with("layer 3 (maxpool2d): window 2"),
            "{}",
            error("cnn2d", &[1, 1, 1])
        );
        assert!(error("resnet2d", &[128, 9]).starts_with("layer 1 (conv2d `conv0`): takes [height, width, 9]"));
    }
}
