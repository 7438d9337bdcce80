//! How weights answer to hyperparameters: each output channel of a layer has gates on a second set of weights.

use crate::autodiff::jvp;
use crate::ir::{Graph, NodeId};
use crate::nn::functions::matmul;
use crate::nn::reading::{Affine, Norm, Reading, Training};
use crate::nn::{Model, Parameter};

/// The weights of a self-tuning network.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Wₑ and bₑ, the parameter vector of the model `[P]`.
    pub general: NodeId,
    /// W_h and b_h, another parameter vector, and behind it the gates `[R]`.
    pub response: NodeId,
}

/// Where the gates lie: for every parameter of the model, in their order, a matrix `[channels, n]`, U for a kernel and
/// V for a bias. With a network input z `[n]`, the weights are w(z) = wₑ + (G z) ∘ w_h, channel by channel.
#[derive(Clone, Copy, Debug)]
pub struct Gates<'a> {
    /// The model, of dense layers and convolutions.
    pub model: &'a Model,
    /// Hyperparameters n.
    pub inputs: usize,
}

/// Output channels of a parameter.
fn channels(parameter: &Parameter) -> usize {
    parameter.shape[parameter.shape.len() - 1]
}

impl Gates<'_> {
    /// Length R of the response: a parameter vector and the gates.
    pub fn response_len(&self) -> usize {
        self.end(self.model.parameter_count())
    }

    /// First element in the response of a parameter's gates `[channels, n]`.
    pub fn offset(&self, parameter: &Parameter) -> usize {
        self.end(parameter.offset)
    }

    /// Where the gates end of the parameters that lie before `offset`.
    fn end(&self, offset: usize) -> usize {
        let before = self.model.parameters().iter().filter(|p| p.offset < offset);
        self.model.parameter_count() + self.inputs * before.map(channels).sum::<usize>()
    }

    /// What network inputs `[batch, n]` make of a parameter's gates, `[batch, channels]`.
    fn open(&self, g: &mut Graph, response: NodeId, parameter: &Parameter, z: NodeId) -> NodeId {
        let shape = [channels(parameter), self.inputs];
        let gates = g.segment(response, self.offset(parameter), shape[0] * shape[1]);
        let gates = g.reshape(gates, &shape);
        matmul(g, z, gates, [false, true])
    }

    /// (U z) ∘ (W_h a) + (V z) ∘ b_h for activations `[batch, …]` and network inputs `[batch, n]`.
    fn answer(&self, g: &mut Graph, layer: &Affine, response: NodeId, h: NodeId, z: NodeId) -> NodeId {
        let kernel = layer.kernel.read(g, response);
        let y = layer.linear(g, h, kernel);
        let shape = g.shape(y).to_vec();
        let mut over = vec![1; shape.len()];
        (over[0], over[shape.len() - 1]) = (shape[0], shape[shape.len() - 1]);
        let gate = self.open(g, response, &layer.kernel, z);
        let gate = g.reshape(gate, &over);
        let y = g.mul(gate, y);
        let Some(bias) = &layer.bias else { return y };
        let gate = self.open(g, response, bias, z);
        let array = bias.read(g, response);
        let gated = g.mul(gate, array);
        let gated = g.reshape(gated, &over);
        g.add(y, gated)
    }

    /// The parameter vector (G z) ∘ w_h `[P]` of one network input z `[n]`. All gates lie behind one another, so that they are
    /// opened at once.
    pub fn response_at(&self, g: &mut Graph, response: NodeId, z: NodeId) -> NodeId {
        let parameters = self.model.parameters();
        let (count, all) = (self.model.parameter_count(), parameters.iter().map(channels).sum::<usize>());
        let gates = g.segment(response, count, all * self.inputs);
        let gates = g.reshape(gates, &[all, self.inputs]);
        let z = g.reshape(z, &[1, self.inputs]);
        let open = matmul(g, z, gates, [false, true]);
        let open = g.reshape(open, &[all]);
        let mut before = 0;
        let each = parameters.iter().map(|p| {
            let gate = g.segment(open, before, channels(p));
            before += channels(p);
            let gate = g.broadcast_to(gate, &p.shape);
            g.reshape(gate, &[p.len()])
        });
        let each: Vec<NodeId> = each.collect();
        let each = g.concat(&each);
        let arrays = g.segment(response, 0, count);
        g.mul(each, arrays)
    }
}

/// The network with weights w(z), of each example's own z: what the model makes with its general weights, and the
/// answer of every layer.
pub(super) struct Gated<'a> {
    pub plain: Training,
    pub gates: Gates<'a>,
    pub response: NodeId,
    /// `[batch, n]`
    pub z: NodeId,
}

impl Reading for Gated<'_> {
    fn affine(&mut self, g: &mut Graph, layer: &Affine, h: NodeId) -> NodeId {
        let y = self.plain.affine(g, layer, h);
        let answer = self.gates.answer(g, layer, self.response, h, self.z);
        g.add(y, answer)
    }

    fn normalize(&mut self, g: &mut Graph, layer: &Norm, h: NodeId) -> NodeId {
        self.plain.normalize(g, layer, h)
    }

    fn drop(&mut self, g: &mut Graph, place: usize, h: NodeId) -> NodeId {
        self.plain.drop(g, place, h)
    }
}

/// The network at z = 0, and its derivative along each example's own direction.
///
/// At z = 0 the answer of a layer is zero, and its tangent is the answer to the direction. So each layer's output is a
/// node with a known tangent: that of the general weights, pushed through, and the answer.
pub(super) struct Linearized<'a> {
    pub plain: Training,
    pub gates: Gates<'a>,
    pub response: NodeId,
    /// `[batch, n]`
    pub direction: NodeId,
    /// The outputs of the layers so far with their tangents.
    pub tangents: Vec<(NodeId, NodeId)>,
}

impl Reading for Linearized<'_> {
    fn affine(&mut self, g: &mut Graph, layer: &Affine, h: NodeId) -> NodeId {
        let y = self.plain.affine(g, layer, h);
        let through = jvp(g, &[y], &self.tangents)[0];
        let answer = self.gates.answer(g, layer, self.response, h, self.direction);
        self.tangents.push((y, through.map_or(answer, |through| g.add(through, answer))));
        y
    }

    fn normalize(&mut self, g: &mut Graph, layer: &Norm, h: NodeId) -> NodeId {
        self.plain.normalize(g, layer, h)
    }

    fn drop(&mut self, g: &mut Graph, place: usize, h: NodeId) -> NodeId {
        self.plain.drop(g, place, h)
    }
}
