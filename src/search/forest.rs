//! Regression forests, after those of SMAC 2.4.1: trees whose leaves hold the logarithm of a mean, and whose disagreement is
//! the uncertainty.

use super::draws::Draws;

/// Where a node is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splits {
    /// At the best threshold of any feature.
    Exact,
    /// At one drawn threshold of each feature that is tried, the best of them.
    Random,
}

/// What a leaf holds of the targets in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Their mean.
    Mean,
    /// The logarithm of the mean of their exponentials: targets are logarithms of what is to be averaged.
    LogMeanExp,
}

/// Constants of trees.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Where nodes are divided.
    pub splits: Splits,
    /// What leaves hold.
    pub leaves: Leaves,
    /// Features that are tried at a node.
    pub features: usize,
    /// A node with fewer targets is not divided.
    pub to_split: usize,
    /// No leaf has fewer.
    pub in_leaf: usize,
    /// Divisions above a leaf, at most.
    pub depth: usize,
    /// The least part of the whole variance that a division must explain.
    pub gain: f64,
}

impl Shape {
    /// SMAC's, for so many features.
    pub fn smac(features: usize) -> Self {
        Shape {
            splits: Splits::Random,
            leaves: Leaves::LogMeanExp,
            features: (5 * features / 6).max(1),
            to_split: 3,
            in_leaf: 3,
            depth: 20,
            gain: 1e-8,
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(f64),
    Split { feature: usize, threshold: f64, below: usize, above: usize },
}

/// A regression tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The root is the first.
    nodes: Vec<Node>,
}

/// A tree as it grows.
struct Growth<'a> {
    shape: Shape,
    inputs: &'a [Vec<f64>],
    targets: &'a [f64],
    /// Examples of the whole tree.
    count: f64,
    nodes: Vec<Node>,
}

impl Tree {
    /// Of some examples, which may stand there several times. Random splits draw, at each node, features without putting them
    /// back until enough of them vary, and for each of these a threshold.
    pub fn new(shape: Shape, inputs: &[Vec<f64>], targets: &[f64], examples: &[usize], draws: &mut dyn Draws) -> Self {
        let mut growth = Growth { shape, inputs, targets, count: examples.len() as f64, nodes: vec![] };
        growth.grow(examples.to_vec(), 0, draws);
        Tree { nodes: growth.nodes }
    }

    /// What the leaf of a place holds.
    pub fn at(&self, x: &[f64]) -> f64 {
        let mut node = 0;
        loop {
            match &self.nodes[node] {
                Node::Leaf(value) => return *value,
                Node::Split { feature, threshold, below, above } => {
                    node = if x[*feature] <= *threshold { *below } else { *above };
                }
            }
        }
    }

    /// How many leaves it has.
    pub fn leaves(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node, Node::Leaf(_))).count()
    }

    /// Feature and threshold of the first division.
    pub fn root(&self) -> Option<(usize, f64)> {
        match self.nodes.first()? {
            Node::Split { feature, threshold, .. } => Some((*feature, *threshold)),
            Node::Leaf(_) => None,
        }
    }
}

impl Growth<'_> {
    /// Grows a node of these examples, and tells its place.
    fn grow(&mut self, examples: Vec<usize>, depth: usize, draws: &mut dyn Draws) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node::Leaf(self.leaf(&examples)));
        let shape = self.shape;
        if depth >= shape.depth || examples.len() < shape.to_split || examples.len() < 2 * shape.in_leaf {
            return place;
        }
        let found = match shape.splits {
            Splits::Exact => {
                let all = (0..self.inputs[0].len()).filter_map(|feature| self.exact(&examples, feature));
                all.reduce(|best, other| if other.0 > best.0 { other } else { best })
            }
            Splits::Random => self.random(&examples, draws),
        };
        let Some((gain, feature, threshold)) = found else { return place };
        if gain / self.count < shape.gain {
            return place;
        }
        let (low, high) = examples.into_iter().partition(|&i| self.inputs[i][feature] <= threshold);
        let below = self.grow(low, depth + 1, draws);
        let above = self.grow(high, depth + 1, draws);
        self.nodes[place] = Node::Split { feature, threshold, below, above };
        place
    }

    fn leaf(&self, examples: &[usize]) -> f64 {
        let count = examples.len() as f64;
        let targets = examples.iter().map(|&i| self.targets[i]);
        match self.shape.leaves {
            Leaves::Mean => targets.sum::<f64>() / count,
            Leaves::LogMeanExp => (targets.map(f64::exp).sum::<f64>() / count).ln(),
        }
    }

    /// By how much a division lowers the sum of squared errors, for examples that are sorted by side.
    fn gain(&self, below: (f64, f64), all: (f64, f64)) -> f64 {
        let above = (all.0 - below.0, all.1 - below.1);
        let part = |(count, sum): (f64, f64)| sum * sum / count;
        part(below) + part(above) - part(all)
    }

    /// The best threshold of a feature, halfway between two examples, with its gain.
    fn exact(&self, examples: &[usize], feature: usize) -> Option<(f64, usize, f64)> {
        let mut sorted: Vec<usize> = examples.to_vec();
        sorted.sort_by(|&a, &b| self.inputs[a][feature].total_cmp(&self.inputs[b][feature]));
        let all = (sorted.len() as f64, sorted.iter().map(|&i| self.targets[i]).sum::<f64>());
        let (mut below, mut best) = (0.0, None::<(f64, usize, f64)>);
        for (k, pair) in sorted.windows(2).enumerate() {
            below += self.targets[pair[0]];
            let [low, high] = [pair[0], pair[1]].map(|i| self.inputs[i][feature]);
            let count = k + 1;
            if low == high || count < self.shape.in_leaf || sorted.len() - count < self.shape.in_leaf {
                continue;
            }
            let gain = self.gain((count as f64, below), all);
            if best.is_none_or(|best| gain > best.0) {
                best = Some((gain, feature, 0.5 * (low + high)));
            }
        }
        best
    }

    /// The best of one drawn threshold of each of some features that vary.
    fn random(&self, examples: &[usize], draws: &mut dyn Draws) -> Option<(f64, usize, f64)> {
        let mut left: Vec<usize> = (0..self.inputs[0].len()).collect();
        let (mut tried, mut best) = (0, None::<(f64, usize, f64)>);
        let all = (examples.len() as f64, examples.iter().map(|&i| self.targets[i]).sum::<f64>());
        while tried < self.shape.features && !left.is_empty() {
            let feature = left.swap_remove(draws.below(left.len()));
            let values = examples.iter().map(|&i| self.inputs[i][feature]);
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
            if low == high {
                continue;
            }
            tried += 1;
            let threshold = low + (high - low) * draws.uniform();
            let below = examples.iter().filter(|&&i| self.inputs[i][feature] <= threshold);
            let below = below.fold((0.0, 0.0), |(count, sum), &i| (count + 1.0, sum + self.targets[i]));
            let least = self.shape.in_leaf as f64;
            if below.0 < least || all.0 - below.0 < least {
                continue;
            }
            let gain = self.gain(below, all);
            if best.is_none_or(|best| gain > best.0) {
                best = Some((gain, feature, threshold));
            }
        }
        best
    }
}

/// Trees of bootstrap samples.
#[derive(Clone, Debug)]
pub struct Forest {
    trees: Vec<Tree>,
}

impl Forest {
    /// So many trees, each of as many examples as there are, drawn with putting back.
    pub fn new(trees: usize, shape: Shape, inputs: &[Vec<f64>], targets: &[f64], draws: &mut dyn Draws) -> Self {
        let tree = |_| {
            let examples: Vec<usize> = (0..targets.len()).map(|_| draws.below(targets.len())).collect();
            Tree::new(shape, inputs, targets, &examples, draws)
        };
        Forest { trees: (0..trees).map(tree).collect() }
    }

    /// Mean and variance over the trees.
    pub fn belief(&self, x: &[f64]) -> (f64, f64) {
        let values = self.trees.iter().map(|tree| tree.at(x));
        let count = self.trees.len() as f64;
        let mean = values.clone().sum::<f64>() / count;
        (mean, values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count)
    }
}
