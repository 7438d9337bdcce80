//! Regression forests, after those of SMAC 2.4.1: trees whose leaves hold the logarithm of a mean, and whose disagreement is
//! the uncertainty.

use super::draws::Draws;

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
    /// What leaves hold.
    pub leaves: Leaves,
    /// Features that are tried at a node, drawn among all.
    pub features: usize,
    /// A node with fewer different examples is not divided.
    pub to_split: usize,
    /// No leaf has fewer different ones.
    pub in_leaf: usize,
    /// Divisions above a leaf, at most.
    pub depth: usize,
    /// The least part of the whole variance that a division must explain.
    pub gain: f64,
}

impl Shape {
    /// Those of SMAC's `RandomForest`, for so many features. Its option of random thresholds does not reach the trees of
    /// 2.4.1, which look for the best ones.
    pub fn smac(features: usize) -> Self {
        Shape {
            leaves: Leaves::LogMeanExp,
            features: (5 * features / 6).max(1),
            to_split: 3,
            in_leaf: 3,
            depth: 20,
            gain: 1e-8,
        }
    }

    /// Those with which SMAC's facade for hyperparameters calls it: trees grow until every example has a leaf.
    pub fn facade(features: usize) -> Self {
        Shape { features, to_split: 2, in_leaf: 1, depth: 1 << 20, ..Shape::smac(features) }
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
    /// How often each example counts.
    weights: &'a [f64],
    nodes: Vec<Node>,
}

impl Tree {
    /// Of examples that count so often each. At each node, features are drawn without putting them back.
    pub fn new(shape: Shape, inputs: &[Vec<f64>], targets: &[f64], weights: &[f64], draws: &mut dyn Draws) -> Self {
        let mut growth = Growth { shape, inputs, targets, weights, nodes: vec![] };
        growth.grow((0..targets.len()).filter(|&i| weights[i] > 0.0).collect(), 0, draws);
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

    /// The boxes of its leaves within the unit cube of so many features, each with what it holds.
    pub fn boxes(&self, features: usize) -> Vec<(Vec<[f64; 2]>, f64)> {
        let (mut boxes, mut open) = (vec![], vec![(0, vec![[0.0, 1.0]; features])]);
        while let Some((node, sides)) = open.pop() {
            match &self.nodes[node] {
                Node::Leaf(value) => boxes.push((sides, *value)),
                Node::Split { feature, threshold, below, above } => {
                    let cut = threshold.clamp(sides[*feature][0], sides[*feature][1]);
                    let (mut low, mut high) = (sides.clone(), sides);
                    (low[*feature][1], high[*feature][0]) = (cut, cut);
                    open.extend([(*above, high), (*below, low)]);
                }
            }
        }
        boxes
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

/// A division: by how much it lowers the sum of squared errors, its feature and its threshold.
type Division = (f64, usize, f64);

impl Growth<'_> {
    /// Grows a node of these examples, and tells its place.
    fn grow(&mut self, examples: Vec<usize>, depth: usize, draws: &mut dyn Draws) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node::Leaf(self.leaf(&examples)));
        let shape = self.shape;
        if depth >= shape.depth || examples.len() < shape.to_split.max(2 * shape.in_leaf) {
            return place;
        }
        let Some((gain, feature, threshold)) = self.division(&examples, draws) else { return place };
        if gain / self.weights.iter().sum::<f64>() < shape.gain {
            return place;
        }
        let (low, high) = examples.into_iter().partition(|&i| self.inputs[i][feature] <= threshold);
        let below = self.grow(low, depth + 1, draws);
        let above = self.grow(high, depth + 1, draws);
        self.nodes[place] = Node::Split { feature, threshold, below, above };
        place
    }

    /// Weight and weighted sum of the targets of some examples.
    fn sums(&self, examples: &[usize]) -> (f64, f64) {
        let sum =
            |(weight, sum): (f64, f64), &i: &usize| (weight + self.weights[i], sum + self.weights[i] * self.targets[i]);
        examples.iter().fold((0.0, 0.0), sum)
    }

    fn leaf(&self, examples: &[usize]) -> f64 {
        let (weight, sum) = self.sums(examples);
        match self.shape.leaves {
            Leaves::Mean => sum / weight,
            Leaves::LogMeanExp => {
                let sum: f64 = examples.iter().map(|&i| self.weights[i] * self.targets[i].exp()).sum();
                (sum / weight).ln()
            }
        }
    }

    /// The best division by one of the features that are tried; more are, as long as all of them have one value only.
    fn division(&self, examples: &[usize], draws: &mut dyn Draws) -> Option<Division> {
        let mut left: Vec<usize> = (0..self.inputs[0].len()).collect();
        let (mut tried, mut constant, mut best) = (0, 0, None::<Division>);
        while !left.is_empty() && (tried < self.shape.features || tried == constant) {
            let all = left.len() == 1 || self.shape.features >= self.inputs[0].len();
            let feature = if all { left.remove(0) } else { left.swap_remove(draws.below(left.len())) };
            tried += 1;
            let mut sorted: Vec<usize> = examples.to_vec();
            sorted.sort_by(|&a, &b| self.inputs[a][feature].total_cmp(&self.inputs[b][feature]));
            let [least, greatest] = [sorted[0], sorted[sorted.len() - 1]].map(|i| self.inputs[i][feature]);
            constant += usize::from(least == greatest);
            let found = self.threshold(&sorted, feature);
            if found.is_some_and(|found| best.is_none_or(|best| found.0 > best.0)) {
                best = found;
            }
        }
        best
    }

    /// The best threshold of a feature, halfway between two examples of a list that it sorts.
    fn threshold(&self, sorted: &[usize], feature: usize) -> Option<Division> {
        let part = |(weight, sum): (f64, f64)| sum * sum / weight;
        let all = self.sums(sorted);
        let (mut below, mut best) = ((0.0, 0.0), None::<Division>);
        for (k, pair) in sorted.windows(2).enumerate() {
            let weight = self.weights[pair[0]];
            below = (below.0 + weight, below.1 + weight * self.targets[pair[0]]);
            let [low, high] = [pair[0], pair[1]].map(|i| self.inputs[i][feature]);
            if low == high || (k + 1).min(sorted.len() - k - 1) < self.shape.in_leaf {
                continue;
            }
            let gain = part(below) + part((all.0 - below.0, all.1 - below.1)) - part(all);
            if best.is_none_or(|best| gain > best.0) {
                best = Some((gain, feature, 0.5 * (low + high)));
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
            let mut weights = vec![0.0; targets.len()];
            targets.iter().for_each(|_| weights[draws.below(targets.len())] += 1.0);
            Tree::new(shape, inputs, targets, &weights, draws)
        };
        Forest { trees: (0..trees).map(tree).collect() }
    }

    /// Its trees.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// Mean and variance over the trees.
    pub fn belief(&self, x: &[f64]) -> (f64, f64) {
        let values = self.trees.iter().map(|tree| tree.at(x));
        let count = self.trees.len() as f64;
        let mean = values.clone().sum::<f64>() / count;
        (mean, values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count)
    }
}
