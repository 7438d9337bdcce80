//! A feed-forward model: a list of layers over one parameter vector.

use super::layer::Layer;
use super::layout::{Arrays, ModelError, Place, Step};
use super::parameters::{Parameter, Statistic};
use super::reading::Reading;
use crate::ir::{Graph, NodeId, Run};

/// A checked list of layers with the layout of its parameter vector: kernel, then bias, layer by
/// layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    layers: Vec<Layer>,
    input: Vec<usize>,
    output: Vec<usize>,
    steps: Vec<Step>,
    arrays: Arrays,
}

impl Model {
    /// Checks the layers against an input shape (without the batch axis) and lays out parameters.
    ///
    /// # Errors
    /// If a layer does not take what the one before it makes.
    pub fn new(layers: Vec<Layer>, input: &[usize]) -> Result<Self, ModelError> {
        let mut arrays = Arrays::default();
        let (steps, output) = arrays.list(&layers, input, "")?;
        Ok(Model { layers, input: input.to_vec(), output, steps, arrays })
    }

    /// The model with another layer behind it.
    ///
    /// # Errors
    /// If the layer does not take what the model makes.
    pub fn then(self, layer: Layer) -> Result<Self, ModelError> {
        let input = self.input.clone();
        Self::new(self.layers.into_iter().chain([layer]).collect(), &input)
    }

    /// Its layers, as they were given.
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

    /// The arrays of the parameter vector, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.arrays.parameters
    }

    /// Length of the parameter vector.
    pub fn parameter_count(&self) -> usize {
        self.arrays.parameter_count()
    }

    /// The arrays of the vector of running statistics, in order.
    pub fn statistics(&self) -> &[Statistic] {
        &self.arrays.statistics
    }

    /// Length of the vector of running statistics.
    pub fn statistic_count(&self) -> usize {
        self.arrays.statistic_count()
    }

    /// Number of layers that have parameters.
    pub fn parameter_layers(&self) -> usize {
        self.arrays.parameter_layers()
    }

    /// The layers that have a kernel, which penalties are on: number among those that have parameters, and name.
    pub fn kernels(&self) -> Vec<(usize, &str)> {
        let kernels = self.arrays.parameters.iter().filter(|p| p.is_kernel());
        kernels.map(|p| (p.layer, layer_name(p))).collect()
    }

    /// The parameter vector as runs of the layers that have parameters.
    pub fn layer_runs(&self) -> Vec<Run> {
        self.parameters().iter().map(|p| Run { length: p.len(), value: Some(p.layer) }).collect()
    }

    /// The same, where all but kernels are gaps.
    pub fn kernel_runs(&self) -> Vec<Run> {
        let run = |p: &Parameter| Run { length: p.len(), value: p.is_kernel().then_some(p.layer) };
        self.parameters().iter().map(run).collect()
    }

    /// Names of the layers that have parameters.
    pub fn layer_names(&self) -> Vec<&str> {
        let first = |k: &usize| *k == 0 || self.parameters()[*k].layer != self.parameters()[*k - 1].layer;
        (0..self.parameters().len()).filter(first).map(|k| layer_name(&self.parameters()[k])).collect()
    }

    /// The places where activations may be dropped, in the order of the layers.
    pub fn places(&self) -> &[Place] {
        &self.arrays.places
    }

    /// Outputs `[batch, …]` for `x` (`[batch, …input]`).
    pub fn apply(&self, g: &mut Graph, x: NodeId, reading: &mut dyn Reading) -> NodeId {
        read(&self.steps, g, x, reading)
    }

    /// Initial parameters, a function of the seed: He-normal kernels, scales of 1, and zeros.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut theta = vec![0.0; self.parameter_count()];
        self.parameters().iter().for_each(|p| p.initialize(seed, &mut theta[p.offset..][..p.len()]));
        theta
    }

    /// Running statistics before the first batch: means of 0 and variances of 1.
    pub fn initial_statistics(&self) -> Vec<f32> {
        self.statistics().iter().flat_map(|s| std::iter::repeat_n(s.start, s.len)).collect()
    }
}

/// The layer's part of a parameter's name.
fn layer_name(parameter: &Parameter) -> &str {
    parameter.name.rsplit_once('.').map_or("", |(layer, _)| layer)
}

fn read(steps: &[Step], g: &mut Graph, x: NodeId, reading: &mut dyn Reading) -> NodeId {
    steps.iter().fold(x, |h, step| match step {
        Step::Affine(layer) => reading.affine(g, layer, h),
        Step::Norm(layer) => reading.normalize(g, layer, h),
        Step::Drop(place) => reading.drop(g, *place, h),
        Step::Residual { body, projection } => {
            let made = read(body, g, h, reading);
            let kept = read(projection, g, h, reading);
            g.add(made, kept)
        }
        Step::Function(function) => function.apply(g, h),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check::check_grads;
    use crate::interp::eval;
    use crate::ir::{DType, numel};
    use crate::nn::reading::{Predicting, Training};
    use crate::nn::{layers_from_json, zoo};
    use crate::rng::{Purpose, Stream};

    const RESIDUAL: &str = r#"[
        {"type": "conv1d", "name": "conv1", "k": 3, "cin": 2, "cout": 3, "stride": 1, "padding": "same", "bias": false},
        {"type": "batchnorm", "name": "norm1", "channels": 3},
        {"type": "tanh"},
        {"type": "dropout", "rate": 0.5},
        {"type": "residual", "layers": [
            {"type": "conv1d", "name": "conv2", "k": 3, "cin": 3, "cout": 4, "stride": 2, "padding": "same"},
            {"type": "batchnorm", "name": "norm2", "channels": 4, "scale": false, "statistics": "running"},
            {"type": "dropout", "rate": 0.25},
            {"type": "softplus"}
        ], "projection": [
            {"type": "conv1d", "name": "conv3", "k": 1, "cin": 3, "cout": 4, "stride": 2, "padding": "same", "bias": false}
        ]},
        {"type": "spatialmean"},
        {"type": "dense", "name": "dense1", "in": 4, "out": 3}
    ]"#;

    fn residual() -> Model {
        Model::new(layers_from_json(RESIDUAL).unwrap(), &[6, 2]).unwrap()
    }

    fn draws(stream: &mut Stream, n: usize) -> Vec<f64> {
        (0..n).map(|_| stream.normal()).collect()
    }

    /// The model as a training reads it: its graph, the sum of squares of its outputs, the running statistics
    /// afterwards, and values of all inputs (weights, examples, statistics, factors).
    fn training(model: &Model, batch: usize) -> (Graph, NodeId, Option<NodeId>, Vec<Vec<f64>>) {
        let mut stream = Stream::new(5, Purpose::Search, 0);
        let mut g = Graph::new();
        let weights = g.input("weights", &[model.parameter_count()], DType::F32);
        let x = g.input("x", &[&[batch], model.input()].concat(), DType::F32);
        let initial = model.initial_parameters(1).into_iter().map(f64::from);
        let mut values: Vec<Vec<f64>> = vec![initial.map(|w| w + 0.1 * stream.normal()).collect()];
        values.push(draws(&mut stream, batch * numel(model.input())));
        let running = (model.statistic_count() > 0).then(|| g.input("running", &[model.statistic_count()], DType::F32));
        if running.is_some() {
            values.push(model.initial_statistics().into_iter().map(f64::from).collect());
        }
        let mut factors = vec![];
        for (k, place) in model.places().iter().enumerate() {
            let shape = [&[batch], &place.shape[..]].concat();
            factors.push(Some(g.input(&format!("factor{k}"), &shape, DType::F32)));
            values.push((0..numel(&shape)).map(|_| f64::from(stream.uniform() > 0.3) * 1.5).collect());
        }
        let mut reading = Training::new(weights, running, factors);
        let output = model.apply(&mut g, x, &mut reading);
        assert_eq!(g.shape(output), [&[batch], model.output()].concat());
        let square = g.mul(output, output);
        let sum = g.sum_all(square);
        let entered = reading.running(&mut g);
        (g, sum, entered, values)
    }

    /// Convolutions whose taps lie apart, of groups and with steps.
    fn apart() -> Model {
        let text = r#"[
            {"type": "conv1d", "name": "a", "k": 3, "cin": 2, "cout": 4, "stride": 1, "padding": "causal", "dilation": 2, "groups": 2},
            {"type": "tanh"},
            {"type": "conv1d", "name": "b", "k": 2, "cin": 4, "cout": 3, "stride": 2, "padding": "same", "dilation": 3},
            {"type": "spatialmean"}
        ]"#;
        Model::new(layers_from_json(text).unwrap(), &[7, 2]).unwrap()
    }

    #[test]
    fn derivatives_of_every_network_are_differences() {
        // Without kinks, which differences may cross.
        let smooth = |model: Model| {
            let text = serde_json::to_string(model.layers()).unwrap();
            let text = text.replace("relu", "tanh").replace("maxpool", "avgpool");
            Model::new(layers_from_json(&text).unwrap(), model.input()).unwrap()
        };
        let named = |name: &str, input: &[usize]| smooth(zoo::find(name).unwrap().model(input, 3, 0.5).unwrap());
        let models = [
            residual(),
            named("resnet1d", &[8, 2]),
            named("resnet2d", &[6, 6, 1]),
            named("towers", &[18, 2]),
            apart(),
            named("cnn2d", &[8, 8, 1]),
            named("mlp", &[5, 2]),
            smooth(zoo::har_cnn(&[10, 2], 3, 4, 3, 0.5).unwrap()),
        ];
        for (k, model) in models.iter().enumerate() {
            let (mut g, sum, entered, values) = training(model, 3);
            let outputs: Vec<NodeId> = [sum].into_iter().chain(entered).collect();
            let inputs: Vec<NodeId> = g.inputs().iter().map(|(_, id)| *id).collect();
            let order = if k == 0 { 2 } else { 1 };
            check_grads(&mut g, &outputs, &inputs, &values, order).unwrap_or_else(|e| panic!("model {k}: {e}"));
        }
    }

    /// Running statistics take a tenth of the batch's, with the unbiased variance, and predictions take them.
    #[test]
    fn predictions_normalise_by_running_statistics() {
        let layers = r#"[{"type": "batchnorm", "name": "norm", "channels": 2}]"#;
        let model = Model::new(layers_from_json(layers).unwrap(), &[2, 2]).unwrap();
        assert_eq!((model.layer_names(), model.kernels()), (vec!["norm"], vec![]));
        assert_eq!(model.initial_parameters(0), [1.0, 1.0, 0.0, 0.0]);
        let (g, _, entered, mut values) = training(&model, 2);
        values[1] = vec![1.0, 10.0, 2.0, 10.0, 4.0, 10.0, 9.0, 14.0];
        values[2] = vec![0.5, 0.0, 2.0, 1.0];
        let got = eval(&g, &[entered.unwrap()], &values).remove(0);
        // Squares of the deviations from 4 are 9, 4, 0, 25, of those from 11 they are 1, 1, 1, 9; over 4 − 1.
        let wanted = [0.45 + 0.4, 0.0 + 1.1, 1.8 + 3.8 / 3.0, 0.9 + 1.2 / 3.0];
        assert!(got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-12), "{got:?} {wanted:?}");

        let mut g = Graph::new();
        let weights = g.input("weights", &[4], DType::F32);
        let running = g.input("running", &[4], DType::F32);
        let x = g.input("x", &[1, 2, 2], DType::F32);
        let output = model.apply(&mut g, x, &mut Predicting { weights, running: Some(running) });
        let inputs = [vec![2.0, 1.0, 0.0, 5.0], vec![3.0, 1.0, 4.0, 9.0], vec![5.0, 1.0, 3.0, 7.0]];
        let got = eval(&g, &[output], &inputs).remove(0);
        let wanted = [4.0 / 4.00001f64.sqrt(), 5.0, 0.0, 5.0 + 6.0 / 9.00001f64.sqrt()];
        assert!(got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-12), "{got:?} {wanted:?}");
    }

    #[test]
    fn places_and_parameters_are_in_the_order_of_the_layers() {
        let model = residual();
        let names: Vec<&str> = model.parameters().iter().map(|p| &*p.name).collect();
        let wanted = "conv1.kernel norm1.scale norm1.offset conv2.kernel conv2.bias norm2.offset conv3.kernel \
                      dense1.kernel dense1.bias";
        assert_eq!(names.join(" "), wanted);
        let kernels = model.kernels();
        assert_eq!(kernels, [(0, "conv1"), (2, "conv2"), (4, "conv3"), (5, "dense1")]);
        assert_eq!(model.layer_names(), ["conv1", "norm1", "conv2", "norm2", "conv3", "dense1"]);
        let statistics: Vec<&str> = model.statistics().iter().map(|s| &*s.name).collect();
        assert_eq!(statistics, ["norm1.mean", "norm1.variance", "norm2.mean", "norm2.variance"]);
        let shapes: Vec<_> = model.places().iter().map(|place| (place.shape.clone(), place.rate)).collect();
        assert_eq!(shapes, [(vec![6, 3], 0.5), (vec![3, 4], 0.25)]);
    }

    #[test]
    fn an_error_names_the_layer_and_both_shapes() {
        let error = |from: &str, to: &str| {
            let text = RESIDUAL.replacen(from, to, 1);
            assert_ne!(text, RESIDUAL);
            Model::new(layers_from_json(&text).unwrap(), &[6, 2]).unwrap_err().to_string()
        };
        for (from, to, wanted) in [
            (
                r#""in": 4"#,
                r#""in": 5"#,
                "layer 7 (dense `dense1`): takes 5 features, but is given activations of shape [4]",
            ),
            (
                r#""cin": 3, "cout": 4"#,
                r#""cin": 7, "cout": 4"#,
                "layer 5.1 (conv1d `conv2`): takes [length, 7], but is given activations of shape [6, 3]",
            ),
            (
                r#""channels": 4"#,
                r#""channels": 3"#,
                "layer 5.2 (batchnorm `norm2`): takes […, 3], but is given activations of shape [3, 4]",
            ),
            (
                r#""k": 1, "cin": 3"#,
                r#""k": 1, "cin": 2"#,
                "layer 5.projection.1 (conv1d `conv3`): takes [length, 2], but is given activations of shape [6, 3]",
            ),
            (
                r#""k": 1, "cin": 3, "cout": 4"#,
                r#""k": 1, "cin": 3, "cout": 5"#,
                "layer 5 (residual): its layers make shape [3, 4] and its projection shape [3, 5], and the two are added",
            ),
            (
                r#""conv3""#,
                r#""norm1""#,
                "layer 5.projection.1 (conv1d `norm1`): is called `norm1`, as another layer is",
            ),
        ] {
            let error = error(from, to);
            assert!(error.starts_with(wanted), "{error}");
        }
        let block = r#"[{"type": "residual", "layers": [{"type": "flatten"}]}]"#;
        let error = Model::new(layers_from_json(block).unwrap(), &[6, 2]).unwrap_err().to_string();
        let wanted = "layer 1 (residual): its layers make shape [12] of its input of shape [6, 2]";
        assert!(error.starts_with(wanted), "{error}");
    }
}
