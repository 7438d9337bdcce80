//! A classifier as ONNX, for whatever runs that: raw windows in, probabilities out, the scale within.

use prost::Message;

use super::classifier::Classifier;
use crate::nn::Layer;

/// The operators are those of this version of the standard set.
const OPSET: i64 = 17;
/// Of the file format.
const IR_VERSION: i64 = 8;
/// f32, and i64, as the format numbers them.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// What of the format is needed, with the numbers that fields have there.
mod format {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Model {
        #[prost(int64, tag = "1")]
        pub ir_version: i64,
        #[prost(string, tag = "2")]
        pub producer_name: String,
        #[prost(string, tag = "3")]
        pub producer_version: String,
        #[prost(message, optional, tag = "7")]
        pub graph: Option<Graph>,
        #[prost(message, repeated, tag = "8")]
        pub opset_import: Vec<Opset>,
        #[prost(message, repeated, tag = "14")]
        pub metadata_props: Vec<Entry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Opset {
        #[prost(int64, tag = "2")]
        pub version: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Entry {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub node: Vec<Node>,
        #[prost(string, tag = "2")]
        pub name: String,
        #[prost(message, repeated, tag = "5")]
        pub initializer: Vec<Tensor>,
        #[prost(message, repeated, tag = "11")]
        pub input: Vec<Value>,
        #[prost(message, repeated, tag = "12")]
        pub output: Vec<Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Node {
        #[prost(string, repeated, tag = "1")]
        pub input: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub output: Vec<String>,
        #[prost(string, tag = "4")]
        pub op_type: String,
        #[prost(message, repeated, tag = "5")]
        pub attribute: Vec<Attribute>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Attribute {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(int64, optional, tag = "3")]
        pub i: Option<i64>,
        #[prost(int64, repeated, packed = "false", tag = "8")]
        pub ints: Vec<i64>,
        #[prost(int32, tag = "20")]
        pub kind: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Tensor {
        #[prost(int64, repeated, packed = "false", tag = "1")]
        pub dims: Vec<i64>,
        #[prost(int32, tag = "2")]
        pub data_type: i32,
        #[prost(string, tag = "8")]
        pub name: String,
        #[prost(bytes = "vec", tag = "9")]
        pub raw_data: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Value {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "2")]
        pub r#type: Option<Type>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Type {
        #[prost(message, optional, tag = "1")]
        pub tensor: Option<TensorType>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TensorType {
        #[prost(int32, tag = "1")]
        pub elem_type: i32,
        #[prost(message, optional, tag = "2")]
        pub shape: Option<Shape>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Shape {
        #[prost(message, repeated, tag = "1")]
        pub dim: Vec<Dimension>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Dimension {
        #[prost(int64, optional, tag = "1")]
        pub value: Option<i64>,
        #[prost(string, optional, tag = "2")]
        pub param: Option<String>,
    }
}

/// An attribute's kind, as the format numbers them.
const KIND_INT: i32 = 2;
const KIND_INTS: i32 = 7;

/// The file. Its metadata are the classes, the channels, and samples a second, separated by commas.
pub fn pack(classifier: &Classifier) -> Vec<u8> {
    let mut graph = Builder::default();
    let scale = classifier.scale();
    let channels = classifier.channels().len();
    let mean = graph.floats("scale.mean", &[channels], &scale.mean);
    let std = graph.floats("scale.std", &[channels], &scale.std);
    let centred = graph.node("Sub", &["windows".to_owned(), mean], vec![]);
    let scaled = graph.node("Div", &[centred, std], vec![]);
    let mut shape = classifier.input().to_vec();
    let output = graph.layers(classifier, classifier.layers(), scaled, &mut shape);
    let last = if classifier.is_of_shares() {
        let axes = graph.ints("axes", &[1]);
        let all = graph.node("ReduceSum", &[output.clone(), axes], vec![int("keepdims", 1)]);
        graph.node("Div", &[output, all], vec![])
    } else {
        graph.node("Softmax", &[output], vec![int("axis", -1)])
    };
    if let Some(node) = graph.nodes.iter_mut().find(|node| node.output[0] == last) {
        node.output[0] = "probabilities".to_owned();
    }
    let value = |name: &str, sizes: &[usize]| {
        let any = format::Dimension { value: None, param: Some("n".to_owned()) };
        let sizes = sizes.iter().map(|&size| format::Dimension { value: Some(size as i64), param: None });
        let shape = format::Shape { dim: [any].into_iter().chain(sizes).collect() };
        let tensor = format::TensorType { elem_type: FLOAT, shape: Some(shape) };
        format::Value { name: name.to_owned(), r#type: Some(format::Type { tensor: Some(tensor) }) }
    };
    let entry = |key: &str, value: String| format::Entry { key: key.to_owned(), value };
    let rate = classifier.rate_hz().map(|rate| entry("rate_hz", rate.to_string()));
    let listed = |names: &[String]| serde_json::to_string(names).expect("names are text");
    let metadata = [entry("classes", listed(classifier.classes())), entry("channels", listed(classifier.channels()))];
    format::Model {
        ir_version: IR_VERSION,
        producer_name: "stackelberg".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        opset_import: vec![format::Opset { version: OPSET }],
        metadata_props: metadata.into_iter().chain(rate).collect(),
        graph: Some(format::Graph {
            name: "classifier".to_owned(),
            input: vec![value("windows", classifier.input())],
            output: vec![value("probabilities", &[classifier.classes().len()])],
            node: graph.nodes,
            initializer: graph.tensors,
        }),
    }
    .encode_to_vec()
}

fn int(name: &str, value: i64) -> format::Attribute {
    format::Attribute { name: name.to_owned(), i: Some(value), ints: vec![], kind: KIND_INT }
}

fn ints(name: &str, values: impl IntoIterator<Item = usize>) -> format::Attribute {
    let ints = values.into_iter().map(|value| value as i64).collect();
    format::Attribute { name: name.to_owned(), i: None, ints, kind: KIND_INTS }
}

/// Nodes and tensors so far.
#[derive(Default)]
struct Builder {
    nodes: Vec<format::Node>,
    tensors: Vec<format::Tensor>,
}

impl Builder {
    /// A node's only output.
    fn node(&mut self, op: &str, inputs: &[String], attribute: Vec<format::Attribute>) -> String {
        let output = format!("{}_{}", op.to_lowercase(), self.nodes.len());
        self.nodes.push(format::Node {
            input: inputs.to_vec(),
            output: vec![output.clone()],
            op_type: op.to_owned(),
            attribute,
        });
        output
    }

    fn tensor(&mut self, name: &str, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let dims = shape.iter().map(|&size| size as i64).collect();
        self.tensors.push(format::Tensor { dims, data_type, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.tensor(name, shape, FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.tensor(name, &[values.len()], INT64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Layers one after another, of an activation `[n, shape…]`, channels last as they are here.
    fn layers(&mut self, of: &Classifier, layers: &[Layer], mut h: String, shape: &mut Vec<usize>) -> String {
        for layer in layers {
            h = self.layer(of, layer, h, shape);
            *shape = layer.output(shape).expect("the layers make a model");
        }
        h
    }

    fn layer(&mut self, of: &Classifier, layer: &Layer, h: String, shape: &[usize]) -> String {
        match layer {
            Layer::Dropout { .. } => h,
            Layer::Relu => self.node("Relu", &[h], vec![]),
            Layer::Tanh => self.node("Tanh", &[h], vec![]),
            Layer::Sigmoid => self.node("Sigmoid", &[h], vec![]),
            Layer::Softplus => self.node("Softplus", &[h], vec![]),
            Layer::Flatten => self.node("Flatten", &[h], vec![int("axis", 1)]),
            Layer::Spatialmean => {
                let axes = ints("axes", 1..shape.len());
                self.node("ReduceMean", &[h], vec![axes, int("keepdims", 0)])
            }
            Layer::Dense { name, bias, .. } => {
                let (kernel, sizes) = of.array(&format!("{name}.kernel"));
                let kernel = self.floats(&format!("{name}.kernel"), &sizes, kernel);
                let product = self.node("MatMul", &[h, kernel], vec![]);
                self.with_bias(of, name, *bias, product)
            }
            Layer::Conv1d { name, k, stride, padding, bias, dilation, groups, .. } => {
                let pads = [padding.resolve(shape[0], dilation * (k - 1) + 1, *stride)];
                let along =
                    vec![ints("strides", [*stride]), ints("dilations", [*dilation]), int("group", *groups as i64)];
                let h = self.convolution(of, name, h, &pads, along);
                self.with_bias(of, name, *bias, h)
            }
            Layer::Conv2d { name, k, stride, padding, bias, .. } => {
                let pads = [0, 1].map(|axis| padding[axis].resolve(shape[axis], k[axis], stride[axis]));
                let h = self.convolution(of, name, h, &pads, vec![ints("strides", *stride)]);
                self.with_bias(of, name, *bias, h)
            }
            Layer::Batchnorm { name, channels, scale, offset, eps, .. } => {
                self.norm(of, name, *channels, [*scale, *offset], *eps, h)
            }
            Layer::Maxpool1d { window, stride } => self.pool("MaxPool", h, &[*window], &[*stride]),
            Layer::Maxpool2d { window, stride } => self.pool("MaxPool", h, window, stride),
            Layer::Avgpool1d { window, stride } => self.pool("AveragePool", h, &[*window], &[*stride]),
            Layer::Avgpool2d { window, stride } => self.pool("AveragePool", h, window, stride),
            Layer::Residual { layers, projection } => {
                let made = self.layers(of, layers, h.clone(), &mut shape.to_vec());
                let kept = self.layers(of, projection, h, &mut shape.to_vec());
                self.node("Add", &[made, kept], vec![])
            }
        }
    }

    fn with_bias(&mut self, of: &Classifier, name: &str, has: bool, h: String) -> String {
        if !has {
            return h;
        }
        let name = format!("{name}.bias");
        let (bias, sizes) = of.array(&name);
        let bias = self.floats(&name, &sizes, bias);
        self.node("Add", &[h, bias], vec![])
    }

    /// What an operator with the channels first makes of an activation with these last.
    fn channels_first(&mut self, h: String, axes: usize, op: impl FnOnce(&mut Self, String) -> String) -> String {
        let there = [0, axes + 1].into_iter().chain(1..=axes);
        let back = [0].into_iter().chain(2..axes + 2).chain([1]);
        let h = self.node("Transpose", &[h], vec![ints("perm", there)]);
        let h = op(self, h);
        self.node("Transpose", &[h], vec![ints("perm", back)])
    }

    fn convolution(
        &mut self,
        of: &Classifier,
        name: &str,
        h: String,
        pads: &[[usize; 2]],
        mut along: Vec<format::Attribute>,
    ) -> String {
        let name = format!("{name}.kernel");
        let (kernel, sizes) = of.array(&name);
        // `[k…, cin, cout]` to `[cout, cin, k…]`.
        let axes = pads.len();
        let (k, cin, cout) = (&sizes[..axes], sizes[axes], sizes[axes + 1]);
        let area: usize = k.iter().product();
        let at = |place: usize| {
            let (out, rest) = (place / (cin * area), place % (cin * area));
            let (channel, tap) = (rest / area, rest % area);
            kernel[(tap * cin + channel) * cout + out]
        };
        let turned: Vec<f32> = (0..kernel.len()).map(at).collect();
        let turned_sizes: Vec<usize> = [cout, cin].into_iter().chain(k.iter().copied()).collect();
        let kernel = self.floats(&name, &turned_sizes, &turned);
        along.push(ints("pads", pads.iter().map(|pads| pads[0]).chain(pads.iter().map(|pads| pads[1]))));
        self.channels_first(h, axes, |graph, h| graph.node("Conv", &[h, kernel], along))
    }

    fn pool(&mut self, op: &str, h: String, window: &[usize], stride: &[usize]) -> String {
        let attributes = vec![ints("kernel_shape", window.iter().copied()), ints("strides", stride.iter().copied())];
        self.channels_first(h, window.len(), |graph, h| graph.node(op, &[h], attributes))
    }

    /// scale / √(variance + ε) and offset − mean · that, multiplied out.
    fn norm(&mut self, of: &Classifier, name: &str, channels: usize, has: [bool; 2], eps: f64, h: String) -> String {
        let own = |has: bool, part: &str, otherwise: f32| match has {
            true => of.array(&format!("{name}.{part}")).0.to_vec(),
            false => vec![otherwise; channels],
        };
        let [mean, variance] = ["mean", "variance"].map(|part| of.array(&format!("{name}.{part}")).0);
        let (scale, offset) = (own(has[0], "scale", 1.0), own(has[1], "offset", 0.0));
        let factor = |c: usize| f64::from(scale[c]) / (f64::from(variance[c]) + eps).sqrt();
        let factors: Vec<f32> = (0..channels).map(|c| factor(c) as f32).collect();
        let added: Vec<f32> =
            (0..channels).map(|c| (f64::from(offset[c]) - f64::from(mean[c]) * factor(c)) as f32).collect();
        let factors = self.floats(&format!("{name}.factor"), &[channels], &factors);
        let added = self.floats(&format!("{name}.added"), &[channels], &added);
        let product = self.node("Mul", &[h, factors], vec![]);
        self.node("Add", &[product, added], vec![])
    }
}
