//! Cases of single steps, as functions.

use super::super::builder::{Builder, CaseGraph};
use super::super::{Case, CaseError};
use super::network::{Network, number, shaped};
use crate::autodiff::grad;
use crate::bilevel::selftune::{
    Batch, Constraint, Draws, Follower, Leader, Multiplier, Planes, Rates, Tie, Trained, TrainingBatch, Tuning,
    Variant, Weights,
};
use crate::ir::{Graph, NodeId};
use crate::nn::optim::{RmsProp, Sgd};
use crate::nn::{Model, Parameter};

type Outputs = Vec<(String, NodeId)>;

/// The graph of a case, or `None` for a training.
pub fn graph(case: &Case) -> Result<Option<CaseGraph>, CaseError> {
    let mode = case.meta["mode"].as_str().unwrap_or_default();
    let (family, of) = mode.rsplit_once('_').unwrap_or_default();
    if !["mlp", "cnn1d", "cnn2d"].contains(&of) {
        return Err(case.inconsistent(format!("unknown mode `{mode}` of self-tuning")));
    }
    let mut step = match family {
        "stn_trajectory" | "cpmlho_trajectory" => return Ok(None),
        "stn" | "delta_stn" | "cpmlho" => Step::new(case)?,
        _ => return Err(case.inconsistent(format!("unknown mode `{mode}` of self-tuning"))),
    };
    let outputs = match family {
        "stn" => step.stn()?,
        "delta_stn" => step.delta_stn()?,
        _ => step.cpmlho()?,
    };
    Ok(Some(step.b.finish(outputs)))
}

/// A case's inputs.
struct Step<'a> {
    b: Builder<'a>,
    network: Network,
    weights: Weights,
    leader: Leader,
    training: Batch,
    draws: Vec<NodeId>,
    validation: Batch,
}

fn named<const N: usize>(prefix: &str, outputs: [(&str, NodeId); N]) -> Outputs {
    outputs.into_iter().map(|(name, node)| (format!("{prefix}.{name}"), node)).collect()
}

impl<'a> Step<'a> {
    fn new(case: &'a Case) -> Result<Self, CaseError> {
        let network = Network::new(case)?;
        let mut b = Builder::new(case);
        let n = [network.count()];
        let leader = Leader { lambda: shaped(&mut b, "lambda", &n)?, widths: shaped(&mut b, "s", &n)? };
        let weights = network.weights(&mut b)?;
        let training = batch(&mut b, &network, ["x", "y", "xi"])?;
        let validation = batch(&mut b, &network, ["xv", "yv", "xiv"])?;
        let mut step = Step { b, network, weights, leader, training, draws: vec![], validation };
        step.draws = step.draws("")?;
        Ok(step)
    }

    /// The draws of the augmentations, the masks among them under names with this prefix.
    fn draws(&mut self, prefix: &str) -> Result<Vec<NodeId>, CaseError> {
        let batch = self.b.shape(self.training.x)[0];
        let mut draws = vec![];
        for (k, name) in self.network.draws.iter().enumerate() {
            let name = if name.starts_with("mask") { format!("{prefix}{name}") } else { name.clone() };
            let shape = self.network.draw_shape(k, batch, &self.b.case.input(&name)?.shape);
            draws.push(shaped(&mut self.b, &name, &shape)?);
        }
        Ok(draws)
    }

    fn tuning(&self, variant: Variant) -> Tuning {
        let network = self.network.tuned.clone();
        Tuning { network, variant, inner: Sgd.into(), outer: RmsProp.into() }
    }

    fn follower(&self) -> Follower {
        Follower { general: self.weights.general, response: self.weights.response, planes: None }
    }

    fn stn(&mut self) -> Result<Outputs, CaseError> {
        let (tuning, weights, leader) = (self.tuning(Variant::Stn), self.weights, self.leader);
        let g = &mut self.b.graph;
        let perturbed = leader.perturbed(g, self.training.draws);
        let constrained = self.network.tuned.constrained(g, perturbed);
        let constrained = as_columns(g, &constrained);
        let batch =
            TrainingBatch { examples: self.training, perturbed: Draws::Given(&self.draws), central: Draws::Given(&[]) };
        let judged = tuning.joint_loss(g, weights, leader, batch);
        let mut outputs = named(
            "train",
            [("lambda_tilde", perturbed), ("c", constrained), ("logits", judged.output), ("loss", judged.loss)],
        );
        let gradients = grad(g, judged.loss, &[weights.general, weights.response]);
        outputs.extend(self.network.nodes(g, "train.d", [Some(gradients[0]), Some(gradients[1])]));
        outputs.extend(self.validation(&tuning, weights));
        Ok(outputs)
    }

    fn delta_stn(&mut self) -> Result<Outputs, CaseError> {
        let central = self.draws("a.")?;
        let rate = shaped(&mut self.b, "lr", &[1])?;
        let (tuning, weights, leader) = (self.tuning(Variant::DeltaStn), self.weights, self.leader);
        let batch = TrainingBatch {
            examples: self.training,
            perturbed: Draws::Given(&self.draws),
            central: Draws::Given(&central),
        };
        let follower = self.follower();
        let g = &mut self.b.graph;
        let row = g.reshape(leader.lambda, &[1, self.network.count()]);
        let constrained = self.network.tuned.constrained(g, row);
        let constrained = g.concat(&constrained);
        let judged = tuning.general_loss(g, weights.general, leader, batch);
        let mut outputs = named("a", [("c", constrained), ("logits", judged.output), ("loss", judged.loss)]);
        let gradient = grad(g, judged.loss, &[weights.general])[0];
        outputs.extend(self.network.nodes(g, "a.d", [Some(gradient), None]));

        let Trained { follower, .. } = tuning.train(g, follower, leader, batch, Rates { rate, scalars: &[] });
        let moved = tuning.weights(g, follower);
        let before = Weights { general: moved.general, ..weights };
        let epsilon = leader.deviations(g, self.training.draws);
        let linear = tuning.response_loss(g, before, leader, batch);
        outputs.extend(named(
            "b",
            [
                ("epsilon", epsilon),
                ("primal", linear.primal),
                ("tangent", linear.tangent),
                ("logits", linear.judged.output),
                ("loss", linear.judged.loss),
            ],
        ));
        let gradient = grad(g, linear.judged.loss, &[before.response])[0];
        outputs.extend(self.network.nodes(g, "b.d", [None, Some(gradient)]));
        outputs.extend(self.network.nodes(g, "phi_new", [Some(moved.general), Some(moved.response)]));
        // The leader sees weights that are held.
        let [general, response] = [moved.general, moved.response].map(|weights| g.stop_gradient(weights));
        outputs.extend(self.validation(&tuning, Weights { general, response }));
        Ok(outputs)
    }

    /// The validation step and the prediction with these weights.
    fn validation(&mut self, tuning: &Tuning, weights: Weights) -> Outputs {
        let (leader, batch, g) = (self.leader, self.validation, &mut self.b.graph);
        let z = tuning.input(g, leader, batch.draws);
        let judged = tuning.loss(g, weights, batch, z);
        let by_input = grad(g, judged.loss, &[z])[0];
        let entropy = leader.entropy(g);
        let outer = tuning.outer_loss(g, weights, leader, batch, None);
        let by_leader = grad(g, outer, &[leader.lambda, leader.widths]);
        let mut outputs = named(
            "valid",
            [
                ("z", z),
                ("logits", judged.output),
                ("ce", judged.loss),
                ("entropy", entropy),
                ("F", outer),
                ("d_z", by_input),
                ("d_lambda", by_leader[0]),
                ("d_s", by_leader[1]),
            ],
        );
        let predicted = tuning.predict(g, weights, leader, batch.x);
        let predicted = tuning.network.judge(g, predicted, batch.y, None);
        outputs.extend(named("eval", [("logits", predicted.output), ("loss", predicted.loss)]));
        outputs
    }

    fn cpmlho(&mut self) -> Result<Outputs, CaseError> {
        let case = self.b.case;
        let other = batch(&mut self.b, &self.network, ["xo", "yo", "xio"])?;
        let rate = shaped(&mut self.b, "lr", &[1])?;
        let (weights, leader, follower) = (self.weights, self.leader, self.follower());
        let (signs, lambda) = self.plane()?;
        let given =
            TrainingBatch { examples: self.training, perturbed: Draws::Given(&self.draws), central: Draws::Given(&[]) };
        let stn = self.tuning(Variant::Stn);
        let g = &mut self.b.graph;
        let judged = stn.joint_loss(g, weights, leader, given);
        let gradients = grad(g, judged.loss, &[weights.general, weights.response]);
        let mut outputs = named("train", [("loss", judged.loss)]);
        outputs.extend(self.network.nodes(g, "train.d", [Some(gradients[0]), Some(gradients[1])]));

        let slack = number(case, "eps2")?;
        for (form, tie, start) in [("mean", Tie::Mean, "mu"), ("sum", Tie::Sum, "mu_sum")] {
            let multiplier = Multiplier::Dual(number(case, "rho_mu")?);
            let constraint = Constraint { tie, slack, start: number(case, start)?, multiplier, planes: 1 };
            let tuning = self.tuning(Variant::Cpmlho { constraint: Some(constraint), validation: 1.0 });
            tuning.check().map_err(|e| case.inconsistent(e.to_string()))?;
            let planes = Planes { gates: self.network.tuned.gates(), constraint };
            let g = &mut self.b.graph;
            let start = g.full(&[1], constraint.start);
            let held = g.concat(&[signs, lambda, start]);
            let [_, layers] = planes.layers(g, weights, held, 0);
            let value = g.sum_all(layers);
            let by_response = grad(g, value, &[weights.response])[0];
            outputs.extend(self.network.nodes(g, &format!("{form}.d"), [None, Some(by_response)]));

            let follower = Follower { planes: Some(held), ..follower };
            let trained = tuning.train(g, follower, leader, given, Rates { rate, scalars: &[] });
            let moved = tuning.weights(g, trained.follower);
            let new = [Some(moved.general), Some(moved.response)];
            outputs.extend(self.network.nodes(g, &format!("{form}.phi_new"), new));
            let [after, followed] = trained.values.zip(trained.follower.planes).map(|(v, p)| [v, p]).expect("planes");
            let dual = planes.multipliers(g, followed);
            let wide =
                Constraint { slack: number(case, "eps2_clamp")?, multiplier: Multiplier::Dual(1.0), ..constraint };
            let wide = Planes { constraint: wide, ..planes };
            let [clamped, _] = wide.follow(g, moved, held);
            let clamped = wide.multipliers(g, clamped);
            let own = planes.cut(g, weights, leader.lambda, held);
            let [_, at_own_cut] = planes.value(g, weights, own, 0);
            outputs.extend(named(
                form,
                [
                    ("phi_k_layers", layers),
                    ("phi_k", value),
                    ("phi_k_after", after),
                    ("mu_dual", dual),
                    ("mu_dual_clamped", clamped),
                    ("phi_k_own_cut", at_own_cut),
                ],
            ));
            if tie == Tie::Mean {
                outputs.extend(signs_of(g, &self.network.tuned.model, "cut.S", own));
            }
        }
        outputs.extend(self.mixed(other)?);
        Ok(outputs)
    }

    /// The outer losses, with the validation loss counted differently.
    fn mixed(&mut self, other: Batch) -> Result<Outputs, CaseError> {
        let (weights, leader, validation) = (self.weights, self.leader, self.validation);
        let constraint =
            Constraint { tie: Tie::Mean, slack: 0.0, start: 1.0, multiplier: Multiplier::Fixed, planes: 1 };
        let mut outputs = vec![];
        for counted in [0.0, 1.0, 10.0] {
            let tuning = self.tuning(Variant::Cpmlho { constraint: Some(constraint), validation: counted });
            let g = &mut self.b.graph;
            let outer = tuning.outer_loss(g, weights, leader, validation, Some(other));
            let by_leader = grad(g, outer, &[leader.lambda, leader.widths]);
            let names = [("F", outer), ("d_lambda", by_leader[0]), ("d_s", by_leader[1])];
            outputs.extend(named(&format!("outer.theta{counted}"), names));
        }
        let tuning = self.tuning(Variant::Stn);
        for (name, batch) in [("L_tr", other), ("L_val", validation)] {
            let g = &mut self.b.graph;
            let z = tuning.input(g, leader, batch.draws);
            outputs.extend(named("outer", [(name, tuning.loss(g, weights, batch, z).loss)]));
        }
        Ok(outputs)
    }

    /// The signs of the plane that a case gives, and its λ.
    fn plane(&mut self) -> Result<(NodeId, NodeId), CaseError> {
        let parameters = self.network.tuned.model.parameters().iter();
        let signs = parameters.map(|p| {
            let array = shaped(&mut self.b, &sign_name("plane", p), &p.shape)?;
            Ok(self.b.graph.reshape(array, &[p.len()]))
        });
        let signs = signs.collect::<Result<Vec<_>, CaseError>>()?;
        let lambda = shaped(&mut self.b, "plane.lambda", &[self.network.count()])?;
        Ok((self.b.graph.concat(&signs), lambda))
    }
}

/// The signs of the latest plane.
fn signs_of(g: &mut Graph, model: &Model, prefix: &str, planes: NodeId) -> Outputs {
    model.parameters().iter().map(|p| (sign_name(prefix, p), g.segment(planes, p.offset, p.len()))).collect()
}

fn sign_name(prefix: &str, p: &Parameter) -> String {
    let layer = p.name.rsplit_once('.').map_or("", |(layer, _)| layer);
    format!("{prefix}.{layer}.{}", if p.is_kernel() { "w" } else { "b" })
}

/// A batch from inputs of these names: examples, labels, draws.
fn batch(b: &mut Builder, network: &Network, names: [&str; 3]) -> Result<Batch, CaseError> {
    let [x, y, draws] = names;
    let count = b.case.input(x)?.shape.first().copied().unwrap_or_default();
    let model = &network.tuned.model;
    let x = shaped(b, x, &[&[count], model.input()].concat())?;
    let draws = shaped(b, draws, &[count, network.count()])?;
    let y = b.words(y, model.output()[0])?;
    b.require(b.shape(y) == [count])?;
    Ok(Batch { x, y, draws, weights: None })
}

/// Vectors `[batch]` as the columns of a matrix.
fn as_columns(g: &mut Graph, columns: &[NodeId]) -> NodeId {
    let batch = g.shape(columns[0])[0];
    let rows = g.concat(columns);
    let rows = g.reshape(rows, &[columns.len(), batch]);
    g.permute(rows, &[1, 0])
}
