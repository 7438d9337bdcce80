//! Cases of few-shot learning: what each way to learn across tasks makes of given episodes.

use super::builder::{Builder, CaseGraph, row};
use super::setup::size;
use super::{Case, CaseError};
use crate::autodiff::grad;
use crate::bilevel::meta::{
    Distance, Episode, Head, Learner, Maml, Metric, Order, Representation, Shape, Shared, Siamese, mean_loss,
    pair_losses,
};
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::functions::accuracy;
use crate::nn::optim::Sgd;
use crate::nn::reading::{Predicting, Training};
use crate::nn::{Model, Parameter, Statistic};

/// The graph of a case.
pub(super) fn graph(case: &Case) -> Result<CaseGraph, CaseError> {
    let mut fewshot = Fewshot::new(case)?;
    match case.meta["mode"].as_str().unwrap_or_default() {
        "maml" => fewshot.maml()?,
        "representation" => fewshot.representation()?,
        "prototypical" => fewshot.metric(Distance::Prototypes)?,
        "matching" => fewshot.metric(Distance::Cosines)?,
        "siamese" => fewshot.siamese()?,
        other => return Err(case.inconsistent(format!("unknown mode `{other}` of few-shot learning"))),
    }
    let Fewshot { b, outputs, .. } = fewshot;
    Ok(b.finish(outputs))
}

struct Fewshot<'a> {
    case: &'a Case,
    b: Builder<'a>,
    shape: Shape,
    model: Model,
    outputs: Vec<(String, NodeId)>,
}

impl<'a> Fewshot<'a> {
    fn new(case: &'a Case) -> Result<Self, CaseError> {
        let shape = Shape { ways: size(case, "way")?, shots: size(case, "shot")?, queries: size(case, "query")? };
        let lead = if case.meta["tasks"].is_null() { 1 } else { 2 };
        let x = case.input("x")?;
        if x.shape.len() <= lead || shape.support() == 0 || shape.query() == 0 {
            return Err(case.inconsistent("`in.x` must hold the support examples of `way` · `shot` rows".to_owned()));
        }
        let model = Model::new(case.layers()?, &x.shape[lead..]).map_err(|e| case.inconsistent(e.to_string()))?;
        if model.output().len() != 1 || model.parameters().is_empty() {
            return Err(case.inconsistent("the network must end with a vector and have parameters".to_owned()));
        }
        Ok(Fewshot { case, b: Builder::new(case), shape, model, outputs: vec![] })
    }

    fn out(&mut self, name: &str, node: NodeId) {
        self.outputs.push((name.to_owned(), node));
    }

    /// Numbers (`[1]`) of each task in one array.
    fn out_each(&mut self, name: &str, each: &[NodeId]) {
        let all = self.b.graph.concat(each);
        self.out(name, all);
    }

    /// Parts of a vector by name.
    fn out_parts(&mut self, prefix: &str, parameters: &[Parameter], vector: NodeId) {
        for p in parameters {
            let part = self.b.graph.segment(vector, p.offset, p.len());
            self.out(&format!("{prefix}.{}", p.name), part);
        }
    }

    /// Parts of the vectors of all tasks by name, task after task.
    fn out_task_parts(&mut self, prefix: &str, parameters: &[Parameter], vectors: &[NodeId]) {
        for p in parameters {
            let parts: Vec<NodeId> = vectors.iter().map(|&v| self.b.graph.segment(v, p.offset, p.len())).collect();
            self.out_each(&format!("{prefix}.{}", p.name), &parts);
        }
    }

    /// The parameters of the network as one vector.
    fn weights(&mut self) -> Result<NodeId, CaseError> {
        let mut parts = vec![];
        for p in self.model.parameters() {
            let part = self.b.input(&format!("w.{}", p.name))?;
            self.b.require(self.b.shape(part) == p.shape)?;
            parts.push(self.b.graph.reshape(part, &[p.len()]));
        }
        Ok(self.b.graph.concat(&parts))
    }

    /// A number `[1]`.
    fn number(&mut self, name: &str) -> Result<NodeId, CaseError> {
        let number = self.b.input(name)?;
        self.b.require(self.b.shape(number) == [1])?;
        Ok(number)
    }

    /// The episodes of the case.
    fn episodes(&mut self) -> Result<Vec<Episode>, CaseError> {
        let many = !self.case.meta["tasks"].is_null();
        let tasks = if many { size(self.case, "tasks")? } else { 1 };
        let ways = self.shape.ways;
        let mut sets = vec![];
        for (x, y, rows) in [("x", "y", self.shape.support()), ("xq", "yq", self.shape.query())] {
            let (x, y) = (self.b.input(x)?, self.b.words(y, ways)?);
            let lead = if many { vec![tasks, rows] } else { vec![rows] };
            self.b.require(self.b.shape(x) == [&lead[..], self.model.input()].concat() && self.b.shape(y) == lead)?;
            sets.push((x, y));
        }
        let g = &mut self.b.graph;
        Ok((0..tasks)
            .map(|task| {
                let [(x, y), (xq, yq)] = [0, 1].map(|set: usize| {
                    let (x, y) = sets[set];
                    if many { (row(g, x, task), row(g, y, task)) } else { (x, y) }
                });
                Episode { ways, x, y, xq, yq, cells: None }
            })
            .collect())
    }

    /// The mean of arrays of one shape.
    fn mean(&mut self, each: &[NodeId]) -> NodeId {
        let g = &mut self.b.graph;
        let sum = each.iter().copied().reduce(|a, b| g.add(a, b)).expect("there is a task");
        g.scale(sum, 1.0 / each.len() as f64)
    }

    fn accuracy(&mut self, scores: NodeId, labels: NodeId) -> NodeId {
        let g = &mut self.b.graph;
        let predicted = g.argmax(scores, 1);
        accuracy(g, predicted, labels)
    }

    /// E over tasks with its derivatives, from the scores of each task's queries.
    fn outer(&mut self, scores: &[NodeId], episodes: &[Episode]) -> NodeId {
        let pairs: Vec<(NodeId, NodeId)> = scores.iter().zip(episodes).map(|(&s, e)| (s, e.yq)).collect();
        let losses: Vec<NodeId> = pairs.iter().map(|&(s, y)| mean_loss(&mut self.b.graph, s, y)).collect();
        let right: Vec<NodeId> = pairs.iter().map(|&(s, y)| self.accuracy(s, y)).collect();
        let loss = self.mean(&losses);
        let each: Vec<NodeId> = losses.iter().map(|&one| self.b.graph.reshape(one, &[1])).collect();
        self.out("val_loss", loss);
        self.out_each("task_val_loss", &each);
        self.out_each("task_accuracy", &right);
        loss
    }

    /// The derivative in the last number of λ, a logarithm, and in the number itself.
    fn out_own(&mut self, names: [&str; 2], gradient: NodeId, own: NodeId) {
        let at = self.model.parameter_count();
        let g = &mut self.b.graph;
        let log = g.segment(gradient, at, 1);
        let value = g.scalar(Scalar::Exp, &[own]);
        let plain = g.div(log, value);
        self.out(names[0], log);
        self.out(names[1], plain);
    }

    fn maml(&mut self) -> Result<(), CaseError> {
        let not_adapted: Vec<String> = serde_json::from_value(self.case.meta["not_adapted"].clone())
            .map_err(|e| self.case.inconsistent(format!("`not_adapted`: {e}")))?;
        let steps = size(self.case, "T")?;
        self.b.require(steps > 0 && self.model.output() == [self.shape.ways])?;
        let (weights, rate, episodes) = (self.weights()?, self.number("log_lr")?, self.episodes()?);
        let lambda = self.b.graph.concat(&[weights, rate]);
        let parameters = self.model.parameters().to_vec();
        let maml = |order| Maml {
            model: self.model.clone(),
            steps,
            judged_steps: steps,
            rate: 1.0,
            learn_rate: true,
            not_adapted: not_adapted.clone(),
            order,
        };
        let [second, first, reptile] = [Order::Second, Order::First, Order::Reptile].map(maml);
        let (mut scores, mut ends, mut losses, mut shortcuts, mut ways) = (vec![], vec![], vec![], vec![], vec![]);
        for episode in &episodes {
            let g = &mut self.b.graph;
            let shared = Shared { lambda, running: None };
            let (end, before) = second.adapted(g, lambda, episode, steps);
            scores.push(self.model.apply(g, episode.xq, &mut Training::new(end, None, vec![])));
            ends.push(end);
            losses.extend(before.into_iter().map(|loss| g.reshape(loss, &[1])));
            shortcuts.push(first.lesson(g, shared, episode).gradient);
            ways.push(reptile.lesson(g, shared, episode).gradient);
        }
        let loss = self.outer(&scores, &episodes);
        self.out_each("losses", &losses);
        self.out_task_parts("task_w_final", &parameters, &ends);
        let gradient = grad(&mut self.b.graph, loss, &[lambda])[0];
        self.out_parts("d_w", &parameters, gradient);
        self.out_own(["d_log_lr", "d_lr"], gradient, rate);
        let shortcut = self.mean(&shortcuts);
        self.out_parts("fomaml_d_w", &parameters, shortcut);
        // Reptile's gradient is start − end; the step along it has the rate ε.
        let way = self.mean(&ways);
        let epsilon = self.number("reptile_eps")?;
        let g = &mut self.b.graph;
        let way = g.segment(way, 0, self.model.parameter_count());
        let delta = g.neg(way);
        let change = g.mul(epsilon, delta);
        let moved = g.add(weights, change);
        self.out_parts("reptile_delta", &parameters, delta);
        self.out_parts("reptile_w", &parameters, moved);
        Ok(())
    }

    fn representation(&mut self) -> Result<(), CaseError> {
        let (head, own, names) = match self.case.meta["inner_algorithm"].as_str() {
            Some("gradient") => {
                let steps = size(self.case, "T")?;
                (Head::Steps { optimizer: Sgd.into(), steps }, "log_lr", ["d_log_lr", "d_lr"])
            }
            Some("ridge") => (Head::Ridge, "l2_log", ["d_l2_log", "d_l2"]),
            _ => {
                let what = format!("unknown `inner_algorithm` {}", self.case.meta["inner_algorithm"]);
                return Err(self.case.inconsistent(what));
            }
        };
        let (weights, own, episodes) = (self.weights()?, self.number(own)?, self.episodes()?);
        let lambda = self.b.graph.concat(&[weights, own]);
        let learner = Representation { body: self.model.clone(), head, start: 1.0, learn_start: true, frozen: false };
        let (mut scores, mut all, mut losses, mut kernels, mut biases) = (vec![], vec![], vec![], vec![], vec![]);
        for episode in &episodes {
            let g = &mut self.b.graph;
            let [support, query] = [episode.x, episode.xq].map(|x| learner.features(g, lambda, x));
            let (classifier, before) = learner.train(g, lambda, support, episode);
            scores.push(classifier.scores(g, query));
            losses.extend(before.into_iter().map(|loss| g.reshape(loss, &[1])));
            all.push(flat(g, support));
            kernels.push(flat(g, classifier.kernel));
            biases.extend(classifier.bias);
        }
        let loss = self.outer(&scores, &episodes);
        self.out_each("losses", &losses);
        self.out_each("features", &all);
        self.out_each("head_final.kernel", &kernels);
        if !biases.is_empty() {
            self.out_each("head_final.bias", &biases);
        }
        let gradient = grad(&mut self.b.graph, loss, &[lambda])[0];
        let parameters = self.model.parameters().to_vec();
        self.out_parts("d_w", &parameters, gradient);
        self.out_own(names, gradient, own);
        Ok(())
    }

    /// The running statistics as one vector, if there are any.
    fn running(&mut self) -> Result<Option<NodeId>, CaseError> {
        if self.model.statistic_count() == 0 || !self.case.inputs.keys().any(|name| name.starts_with("running.")) {
            return Ok(None);
        }
        let mut parts = vec![];
        for statistic in self.model.statistics() {
            let part = self.b.input(&format!("running.{}", written(statistic)))?;
            self.b.require(self.b.shape(part) == [statistic.len])?;
            parts.push(part);
        }
        Ok(Some(self.b.graph.concat(&parts)))
    }

    fn metric(&mut self, distance: Distance) -> Result<(), CaseError> {
        let weights = self.weights()?;
        let running = self.running()?;
        let episode = self.episodes()?[0];
        let learner = Metric { embedding: self.model.clone(), distance };
        let shared = Shared { lambda: weights, running };
        let (embedded, entered) = learner.embed(&mut self.b.graph, shared, &episode);
        self.compared(&learner, "", embedded, &episode, weights);
        if let Some(entered) = entered {
            for statistic in self.model.statistics().to_vec() {
                let part = self.b.graph.segment(entered, statistic.offset, statistic.len);
                self.out(&format!("running_new.{}", written(&statistic)), part);
            }
            let reading = || Predicting { weights, running };
            let sets = [episode.x, episode.xq];
            let embedded = sets.map(|x| self.model.apply(&mut self.b.graph, x, &mut reading()));
            self.compared(&learner, "test_", embedded, &episode, weights);
        }
        Ok(())
    }

    fn compared(&mut self, learner: &Metric, prefix: &str, sets: [NodeId; 2], episode: &Episode, weights: NodeId) {
        let compared = learner.compare(&mut self.b.graph, sets, episode);
        let accuracy = self.accuracy(compared.scores, episode.yq);
        let g = &mut self.b.graph;
        let loss = mean_loss(g, compared.scores, episode.yq);
        let gradient = grad(g, loss, &[weights])[0];
        let probabilities = g.scalar(Scalar::Exp, &[compared.scores]);
        let seen = if learner.distance == Distance::Prototypes { "prototypes" } else { "attention" };
        for (name, node) in [
            ("loss", loss),
            ("accuracy", accuracy),
            ("logits", compared.scores),
            ("probabilities", probabilities),
            (seen, compared.seen),
        ] {
            self.out(&format!("{prefix}{name}"), node);
        }
        let parameters = self.model.parameters().to_vec();
        self.out_parts(&format!("{prefix}grad"), &parameters, gradient);
    }

    fn siamese(&mut self) -> Result<(), CaseError> {
        let (weights, factors) = (self.weights()?, self.b.input("alpha")?);
        self.b.require(self.b.shape(factors) == self.model.output())?;
        let episode = self.episodes()?[0];
        let (pairs, same) = (self.b.words("pairs", self.shape.support())?, self.b.words("same", 2)?);
        let [count, 2] = self.b.shape(pairs)[..] else { return Err(self.b.misfit()) };
        self.b.require(self.b.shape(same) == [count])?;
        let learner = Siamese { embedding: self.model.clone() };
        let sets = [episode.x, episode.xq];
        let g = &mut self.b.graph;
        let [support, query] = sets.map(|x| self.model.apply(g, x, &mut Training::new(weights, None, vec![])));
        let [a, b] = [0, 1].map(|k| {
            let column = g.slice(pairs, &[0, k], &[count, 1], &[1, 1]);
            let rows = g.reshape(column, &[count]);
            g.take_rows(support, rows)
        });
        let scores = learner.row_scores(g, factors, a, b);
        let same = g.scalar(Scalar::ToFloat, &[same]);
        let losses = pair_losses(g, scores, same);
        let sum = g.sum_all(losses);
        let loss = g.scale(sum, 1.0 / count as f64);
        let gradients = grad(g, loss, &[weights, factors]);
        let found = learner.pair_scores(g, factors, query, support);
        let nearest = g.argmax(found, 1);
        let decision = g.take_rows(episode.y, nearest);
        let accuracy = accuracy(g, decision, episode.yq);
        let decision = g.scalar(Scalar::ToFloat, &[decision]);
        for (name, node) in [
            ("pair_scores", scores),
            ("loss", loss),
            ("grad_alpha", gradients[1]),
            ("query_scores", found),
            ("decision", decision),
            ("accuracy", accuracy),
        ] {
            self.out(name, node);
        }
        let parameters = self.model.parameters().to_vec();
        self.out_parts("grad", &parameters, gradients[0]);
        Ok(())
    }
}

/// The name of a running statistic in cases.
fn written(statistic: &Statistic) -> String {
    statistic.name.replace("variance", "var")
}

fn flat(g: &mut Graph, array: NodeId) -> NodeId {
    let len = crate::ir::numel(g.shape(array));
    g.reshape(array, &[len])
}
