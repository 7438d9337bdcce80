//! What cutting planes, gates and refusals do. Reference cases hold the values.

use super::{
    Augmentation, Batch, Constraint, Draws as Drawn, Follower, Leader, Multiplier, Planes, Rates, SelfTuned, Tie,
    TrainingBatch, Tuning, Variant, Weights,
};
use crate::bilevel::{Loss, Transform};
use crate::interp::eval;
use crate::ir::{DType, Graph, NodeId};
use crate::nn::optim::{Momentum, RmsProp};
use crate::nn::{Model, layers_from_json, zoo};
use crate::rng::{Purpose, Stream};

const LAYERS: &str = r#"[
    {"type": "dropout", "rate": 0.0},
    {"type": "conv1d", "name": "conv1", "k": 3, "cin": 2, "cout": 3, "stride": 1, "padding": "valid"},
    {"type": "tanh"},
    {"type": "flatten"},
    {"type": "dense", "name": "dense1", "in": 6, "out": 2}
]"#;
const N: usize = 2;
const BATCH: usize = 3;
const CONSTRAINT: Constraint =
    Constraint { tie: Tie::Sum, slack: 1e-3, start: 0.5, multiplier: Multiplier::Dual(0.01), planes: 2 };

fn tuning(variant: Variant) -> Tuning {
    let network = SelfTuned {
        model: Model::new(layers_from_json(LAYERS).unwrap(), &[4, 2]).unwrap(),
        loss: Loss::CrossEntropy,
        domains: vec![Transform::Within { low: 0.0, high: 0.9 }, Transform::Log],
        augmentations: vec![(Augmentation::InputScale, 1), (Augmentation::Dropout(0), 0)],
        entropy: 0.01,
    };
    Tuning { network, variant, inner: Momentum.into(), outer: RmsProp.into() }
}

fn cpmlho(constraint: Constraint) -> Tuning {
    tuning(Variant::Cpmlho { constraint: Some(constraint), validation: 1.0 })
}

/// A graph with inputs that are drawn, but for what starts as zero.
struct Draws {
    g: Graph,
    stream: Stream,
    values: Vec<Vec<f64>>,
}

impl Draws {
    fn new() -> Self {
        Draws { g: Graph::new(), stream: Stream::new(3, Purpose::Search, 0), values: vec![] }
    }

    fn given(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> NodeId {
        self.values.push(values);
        self.g.input(name, shape, DType::F32)
    }

    fn drawn(&mut self, name: &str, shape: &[usize]) -> NodeId {
        let values = (0..shape.iter().product()).map(|_| 0.5 * self.stream.normal()).collect();
        self.given(name, shape, values)
    }

    fn leader(&mut self) -> Leader {
        Leader { lambda: self.drawn("lambda", &[N]), widths: self.drawn("widths", &[N]) }
    }

    fn batch(&mut self) -> Batch {
        let (x, draws) = (self.drawn("x", &[BATCH, 4, 2]), self.drawn("draws", &[BATCH, N]));
        self.values.push(vec![0.0, 1.0, 1.0]);
        Batch { x, y: self.g.input("y", &[BATCH], DType::U32), draws, weights: None }
    }

    fn follower(&mut self, tuning: &Tuning) -> Follower {
        let gates = tuning.network.gates();
        let [general, response] = [gates.model.parameter_count(), gates.response_len()].map(|len| 2 * len);
        Follower {
            general: self.drawn("general", &[general]),
            response: self.drawn("response", &[response]),
            planes: tuning
                .planes()
                .map(|planes| self.given("planes", &[planes.state_len()], vec![0.0; planes.state_len()])),
        }
    }

    fn values(&self, nodes: &[NodeId]) -> Vec<Vec<f64>> {
        eval(&self.g, nodes, &self.values)
    }
}

#[test]
fn without_a_plane_cpmlho_is_stn() {
    let results = [tuning(Variant::Stn), cpmlho(CONSTRAINT)].map(|tuning| {
        let mut of = Draws::new();
        let (leader, batch) = (of.leader(), of.batch());
        let draws = [of.drawn("noise", &[BATCH]), of.drawn("mask", &[BATCH, 1, 2])];
        let rates = [of.given("rate", &[1], vec![0.1]), of.given("momentum", &[1], vec![0.9])];
        let follower = of.follower(&tuning);
        let batch = TrainingBatch { examples: batch, perturbed: Drawn::Given(&draws), central: Drawn::Given(&[]) };
        let rates = Rates { rate: rates[0], scalars: &rates[1..] };
        let trained = tuning.train(&mut of.g, follower, leader, batch, rates);
        let weights = tuning.weights(&mut of.g, trained.follower);
        let outer = tuning.outer_loss(&mut of.g, weights, leader, batch.examples, None);
        let before = of.values(&[follower.general, follower.response]);
        let after = of.values(&[trained.follower.general, trained.follower.response]);
        assert!(before.iter().zip(&after).all(|(before, after)| before != after), "a step moves all");
        (after, of.values(&[outer]))
    });
    assert_eq!(results[0], results[1]);
}

/// The latest plane is the first, its value is the distance it touches, and one whose multiplier came to 0 is none
/// from then on.
#[test]
fn planes_come_in_front_and_end_at_zero() {
    let tuning = cpmlho(CONSTRAINT);
    let planes = tuning.planes().unwrap();
    let mut of = Draws::new();
    let (leader, other) = (of.leader(), of.leader());
    let follower = of.follower(&tuning);
    let first = tuning.cut(&mut of.g, follower, leader);
    let second = tuning.cut(&mut of.g, first, other);
    let weights = tuning.weights(&mut of.g, follower);
    let g = &mut of.g;
    let values = [0, 1].map(|plane| planes.value(g, weights, second.planes.unwrap(), plane)[1]);
    let distances = [other, leader].map(|leader| {
        let response = tuning.network.gates().response_at(g, weights.response, leader.lambda);
        g.sub(weights.general, response)
    });
    // Weights that are all smaller by far are on the other side of the planes.
    let none = Weights { general: g.scale(weights.general, 0.0), response: g.scale(weights.response, 0.0) };
    let steep = Constraint { slack: 10.0, multiplier: Multiplier::Dual(1.0), ..CONSTRAINT };
    let steep = Planes { constraint: steep, ..planes };
    let dropped = steep.follow(g, none, second.planes.unwrap())[0];
    let up = Constraint { slack: -10.0, multiplier: Multiplier::Dual(1.0), ..CONSTRAINT };
    let up = Planes { constraint: up, ..planes };
    let again = [second.planes.unwrap(), dropped].map(|held| up.follow(g, weights, held)[0]);
    let [dropped, grown, stays] = [dropped, again[0], again[1]].map(|held| planes.multipliers(g, held));
    let start = planes.multipliers(g, second.planes.unwrap());

    let nodes = [values[0], values[1], distances[0], distances[1], start, dropped, grown, stays];
    let found = of.values(&nodes);
    for (value, distance) in found[..2].iter().zip(&found[2..4]) {
        let touched = distance.iter().map(|d| d.abs() - CONSTRAINT.slack).sum::<f64>();
        assert!((value[0] - touched).abs() < 1e-12, "{value:?} {touched}");
    }
    assert_ne!(found[0], found[1]);
    assert_eq!((&found[4], &found[5], &found[7]), (&vec![0.5; 2], &vec![0.0; 2], &vec![0.0; 2]));
    assert!(found[6].iter().all(|&multiplier| multiplier > 0.5), "{:?}", found[6]);
}

/// With z of all examples the j-th unit vector, the network is the plain one with weights wₑ + Gⱼ ∘ w_h.
#[test]
fn gates_scale_the_channels_of_the_response() {
    let tuning = tuning(Variant::Stn);
    let mut of = Draws::new();
    let follower = of.follower(&tuning);
    let (batch, unit) = (of.batch(), of.given("unit", &[N], vec![0.0, 1.0]));
    let weights = tuning.weights(&mut of.g, follower);
    let g = &mut of.g;
    let z = g.broadcast_to(unit, &[BATCH, N]);
    let gated = tuning.loss(g, weights, batch, z).output;
    let response = tuning.network.gates().response_at(g, weights.response, unit);
    let moved = g.add(weights.general, response);
    let batch = tuning.network.plain(batch.x);
    let (plain, unmoved) =
        (tuning.network.general(g, moved, &batch), tuning.network.general(g, weights.general, &batch));
    let found = of.values(&[gated, plain, unmoved]);
    assert!(found[0].iter().zip(&found[1]).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    assert_ne!(found[0], found[2]);
}

#[test]
fn what_has_no_rule_is_refused() {
    let refused = |tuning: Tuning| tuning.check().unwrap_err().to_string();
    let none = cpmlho(Constraint { planes: 0, ..CONSTRAINT });
    assert!(refused(none).contains("at least one cutting plane"));
    let dead = cpmlho(Constraint { start: 0.0, ..CONSTRAINT });
    assert!(refused(dead).contains("a multiplier of 0 makes a cutting plane none"));
    let mut placed = tuning(Variant::Stn);
    placed.network.augmentations[1] = (Augmentation::Dropout(1), 0);
    assert!(refused(placed).contains("Dropout(1) by hyperparameter 0"));
    let mut normed = tuning(Variant::DeltaStn);
    normed.network.model = zoo::find("resnet1d").unwrap().model(&[8, 2], 2, 0.5).unwrap();
    assert!(refused(normed).contains("batch norm"));
}
