//! Hypergradient descent (Baydin et al. 2018; algorithms.md B): a learning rate, and momentum, that move against the
//! derivative of the training loss in them while the weights are trained.
//!
//! A step goes along the gradient g at weights w that the step before has left. The loss there moves with a number x of
//! that step, its learning rate α or momentum γ, by ⟨g, ∂w/∂x⟩, all that is older taken as it was; x goes against it,
//! and then the step is taken with the new x.

use super::{Domain, Dynamics, Optimizer, ScalarSpec, Scalars, Size, Slot, Slots};
use crate::autodiff::jvp;
use crate::ir::{Graph, NodeId, Run, Scalar};

/// Any optimiser, whose learning rate (and momentum) are what is given for the first step and then move. What is given is
/// taken to stay the same from step to step; of rates that differ from layer to layer, each moves alike.
#[derive(Clone, Debug)]
pub struct HypergradientDescent {
    name: &'static str,
    formula: &'static str,
    base: Dynamics,
    rule: Rule,
    bounds: Option<Bounds>,
    kept: Kept,
    /// Whether momentum enters with the sign that the paper on learning rate and momentum prints.
    printed: bool,
    /// Sizes of the tensors, where each sees a learning rate that has moved along those up to it.
    tensors: Vec<usize>,
    /// Its step sizes, β of the learning rate and, where that moves too, of the momentum.
    rates: Vec<f64>,
    slots: Vec<Slot>,
    scalars: Vec<ScalarSpec>,
}

/// How a number x moves, h being minus the derivative of the loss in it and cos the cosine of the angle between −g and
/// ∂w/∂x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// x ← x + β h.
    Additive,
    /// x ← x (1 + β cos).
    Multiplicative,
    /// The same as additive in the log of the learning rate and the logit of the momentum between its bounds.
    Log,
    /// These go by β cos.
    Cosine,
}

/// Where the moving numbers stay, each from the first to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Of the learning rate, that of the first layer.
    pub rate: [f64; 2],
    /// Of the momentum.
    pub momentum: [f64; 2],
}

/// What a step leaves for the next, to know how the weights move with the learning rate and the momentum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// These derivatives.
    Slopes,
    /// The gradient: they follow from it and the optimiser's own slots.
    Gradient,
}

/// Names of the slots with these.
pub(crate) const KEPT: [&str; 3] = ["rate_slope", "momentum_slope", "gradient"];

/// Names of the slots with how far learning rate and momentum have moved.
pub(crate) const MOVED: [&str; 2] = ["rate_moved", "momentum_moved"];

/// Step size of the learning rate.
const RATE: ScalarSpec = ScalarSpec { name: "hypergradient_rate", domain: Domain::Positive, usual: 0.0 };

/// Step size of the momentum.
const MOMENTUM_RATE: ScalarSpec = ScalarSpec { name: "momentum_hypergradient_rate", ..RATE };

/// Of the momentum among the optimiser's own scalars: those that have one have no other.
const MOMENTUM: usize = 0;

/// The whole line of numbers that momentum may have.
const UNIT: [f64; 2] = [0.0, 1.0];

impl HypergradientDescent {
    /// An optimiser with a learning rate that moves, and with a second usual step size also its momentum.
    ///
    /// # Panics
    /// If there are neither one nor two step sizes, or two where the optimiser has no momentum.
    pub fn new(base: impl Into<Dynamics>, rule: Rule, rates: &[f64]) -> Self {
        let base = base.into();
        assert!([1, 2].contains(&rates.len()), "step sizes of the learning rate and perhaps the momentum");
        let has_momentum = base.scalars().get(MOMENTUM).is_some_and(|scalar| scalar.name == super::MOMENTUM.name);
        assert!(rates.len() == 1 || has_momentum, "{} has no momentum that could move", base.name());
        HypergradientDescent {
            name: "hypergradient-descent",
            formula: "",
            rule,
            bounds: None,
            kept: if rates.len() == 1 { Kept::Slopes } else { Kept::Gradient },
            printed: false,
            tensors: vec![],
            rates: rates.to_vec(),
            slots: vec![],
            scalars: vec![],
            base,
        }
        .laid_out()
    }

    /// The same under another name.
    #[must_use]
    pub fn named(self, name: &'static str, formula: &'static str) -> Self {
        HypergradientDescent { name, formula, ..self }
    }

    /// The same with numbers that stay within bounds.
    #[must_use]
    pub fn within(self, bounds: Bounds) -> Self {
        HypergradientDescent { bounds: Some(bounds), ..self }.laid_out()
    }

    /// The same, which keeps the derivatives of the weights from step to step, one vector for each number that moves. What
    /// they follow from is one vector for both, and rounded otherwise.
    #[must_use]
    pub fn stored(self) -> Self {
        HypergradientDescent { kept: Kept::Slopes, ..self }.laid_out()
    }

    /// The same with the signs that the paper on learning rate and momentum prints (its equations 2 and 9).
    #[must_use]
    pub fn printed(self) -> Self {
        HypergradientDescent { printed: true, ..self }
    }

    /// The same with a learning rate that goes on moving from one tensor (of these sizes, in their order) to the next, as
    /// the published Adam-HD has it: each is trained at another one. Additive rules only.
    ///
    /// # Panics
    /// With another rule, or bounds.
    #[must_use]
    pub fn per_tensor(self, sizes: &[usize]) -> Self {
        assert!(
            self.rule == Rule::Additive && self.bounds.is_none(),
            "a rate per tensor is additive and without bounds"
        );
        HypergradientDescent { tensors: sizes.to_vec(), ..self }
    }

    /// With its slots and scalars, the optimiser's own first.
    fn laid_out(mut self) -> Self {
        let kept: &[&'static str] = match self.kept {
            Kept::Slopes => &KEPT[..self.rates.len()],
            Kept::Gradient => &KEPT[2..],
        };
        let start = if self.rule == Rule::Multiplicative { 1.0 } else { 0.0 };
        let moved = MOVED.into_iter().take(self.rates.len());
        self.slots = self.base.slots().to_vec();
        self.slots.extend(kept.iter().copied().map(Slot::each));
        self.slots.extend(moved.map(|name| Slot { name, size: Size::One, start, corrects: None }));
        self.scalars = self.base.scalars().to_vec();
        if let (2, Some(Bounds { momentum: [low, high], .. })) = (self.rates.len(), self.bounds) {
            self.scalars[MOMENTUM].domain = Domain::Between { low, high };
            // That of the paper; the usual one may be at a bound, where a logit stays.
            self.scalars[MOMENTUM].usual = 0.9;
        }
        let own = [RATE, MOMENTUM_RATE].into_iter().zip(&self.rates);
        self.scalars.extend(own.map(|(spec, &usual)| ScalarSpec { usual, ..spec }));
        self
    }

    /// The place among the slots of how far the `k`-th number has moved.
    fn place(&self, k: usize) -> usize {
        self.slots.len() - self.rates.len() + k
    }

    /// Where the `k`-th number stays.
    fn bounds_of(&self, k: usize) -> Option<[f64; 2]> {
        self.bounds.map(|bounds| [bounds.rate, bounds.momentum][k])
    }

    /// What the numbers are that move, for how far they have moved: α as the rates are given, and γ.
    fn values(&self, g: &mut Graph, moved: &[NodeId], at: &Scalars) -> Vec<NodeId> {
        let given = [at.eta].into_iter().chain(at.own.get(MOMENTUM).copied());
        let each = given.zip(moved).enumerate();
        each.map(|(k, (given, &moved))| match (self.rule, k) {
            (Rule::Additive, _) => g.add(given, moved),
            (Rule::Multiplicative, _) => g.mul(given, moved),
            (Rule::Log | Rule::Cosine, 0) => {
                let factor = g.scalar(Scalar::Exp, &[moved]);
                g.mul(given, factor)
            }
            (Rule::Log | Rule::Cosine, _) => shifted_logit(g, given, moved, self.bounds_of(k).unwrap_or(UNIT)),
        })
        .collect()
    }

    /// How far the numbers have moved, as the slots have it.
    fn moved(&self, g: &mut Graph, slots: &Slots) -> Vec<NodeId> {
        (0..self.rates.len()).map(|k| slots.get(g, self.place(k))).collect()
    }

    /// The optimiser's own scalars, with γ among them.
    fn own(&self, g: &mut Graph, values: &[NodeId], at: &Scalars) -> Vec<NodeId> {
        let mut own = at.own[..self.base.scalars().len()].to_vec();
        if let Some(&momentum) = values.get(1) {
            own[MOMENTUM] = if self.printed { g.neg(momentum) } else { momentum };
        }
        own
    }

    /// ∂w/∂x of the step before for each number that moves, which had these values.
    fn slopes_before(&self, g: &mut Graph, slots: &Slots, values: &[NodeId], at: &Scalars) -> Vec<NodeId> {
        let first = self.base.slots().len();
        match self.kept {
            Kept::Slopes => (first..self.place(0)).map(|k| slots.get(g, k)).collect(),
            Kept::Gradient => {
                let own = self.own(g, values, at);
                let gradient = slots.get(g, first);
                let at = Scalars { eta: values[0], own: &own };
                let [rate, momentum] = self.base.slopes(g, slots, gradient, &at).expect("it has momentum");
                vec![rate, if self.printed { g.neg(momentum) } else { momentum }]
            }
        }
    }

    /// How far the `k`-th number has moved after one more step of its own.
    fn further(&self, g: &mut Graph, k: usize, moved: NodeId, step: Step, at: &Scalars) -> NodeId {
        let Step { gradient, slope, value } = step;
        let rate = at.own[self.base.scalars().len() + k];
        let further = match self.rule {
            Rule::Additive => {
                let h = against(g, gradient, slope);
                let change = g.mul(rate, h);
                g.add(moved, change)
            }
            Rule::Log => {
                let by_moved = match (k, self.bounds_of(k).unwrap_or(UNIT)) {
                    (0, _) => value,
                    (_, [low, high]) => {
                        let [above, below] = between(g, value, [low, high]);
                        let product = g.mul(above, below);
                        g.scale(product, 1.0 / (high - low))
                    }
                };
                let slope = g.mul(by_moved, slope);
                let h = against(g, gradient, slope);
                let change = g.mul(rate, h);
                g.add(moved, change)
            }
            Rule::Cosine => {
                let cos = cosine(g, gradient, slope);
                let change = g.mul(rate, cos);
                g.add(moved, change)
            }
            Rule::Multiplicative => {
                let cos = cosine(g, gradient, slope);
                let change = g.mul(rate, cos);
                let factor = g.offset(change, 1.0);
                g.mul(moved, factor)
            }
        };
        // A logit stays between its ends by itself.
        let free = k == 1 && matches!(self.rule, Rule::Log | Rule::Cosine);
        match self.bounds_of(k).filter(|_| !free) {
            None => further,
            Some(ends) => {
                let given = if k == 0 { g.segment(at.eta, 0, 1) } else { at.own[MOMENTUM] };
                let ends = ends.map(|end| self.moved_to(g, given, end));
                clamp(g, further, ends)
            }
        }
    }

    /// How far a number has moved that was given and is now so large.
    fn moved_to(&self, g: &mut Graph, given: NodeId, value: f64) -> NodeId {
        let value = g.full(&[1], value);
        match self.rule {
            Rule::Additive => g.sub(value, given),
            Rule::Multiplicative => g.div(value, given),
            Rule::Log | Rule::Cosine => {
                let factor = g.div(value, given);
                g.scalar(Scalar::Log, &[factor])
            }
        }
    }

    /// How far the learning rate has moved for each weight, `[d]`, where it goes on from tensor to tensor.
    fn by_tensor(&self, g: &mut Graph, moved: NodeId, gradient: NodeId, slope: NodeId, at: &Scalars) -> NodeId {
        let (d, rate) = (g.shape(gradient)[0], at.own[self.base.scalars().len()]);
        let mut first = 0;
        self.tensors.iter().fold(moved, |moved, &size| {
            let [own_gradient, own_slope] = [gradient, slope].map(|x| g.segment(x, first, size));
            let h = against(g, own_gradient, own_slope);
            let change = g.mul(rate, h);
            let onwards = [Run { length: first, value: None }, Run { length: d - first, value: Some(0) }];
            let change = g.repeat(change, if first == 0 { &onwards[1..] } else { &onwards });
            first += size;
            g.add(moved, change)
        })
    }
}

/// What a number's own step depends on.
struct Step {
    gradient: NodeId,
    /// ∂w/∂x of the step before.
    slope: NodeId,
    /// x in the step before.
    value: NodeId,
}

impl Optimizer for HypergradientDescent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn formula(&self) -> &'static str {
        self.formula
    }

    fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &self.scalars
    }

    fn usual_rate(&self) -> f64 {
        self.base.usual_rate()
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let moved = self.moved(g, slots);
        let before = self.values(g, &moved, at);
        let slopes = self.slopes_before(g, slots, &before, at);
        for (k, (&slope, &value)) in slopes.iter().zip(&before).enumerate() {
            let further = self.further(g, k, moved[k], Step { gradient, slope, value }, at);
            slots.set(self.place(k), further);
        }
        let mut now = self.moved(g, slots);
        if !self.tensors.is_empty() {
            now[0] = self.by_tensor(g, moved[0], gradient, slopes[0], at);
        }
        let values = self.values(g, &now, at);
        let own = self.own(g, &values, at);
        let next = self.base.descend(g, slots, w, gradient, &Scalars { eta: values[0], own: &own });
        let first = self.base.slots().len();
        match self.kept {
            Kept::Gradient => {
                slots.set(first, gradient);
            }
            Kept::Slopes => {
                for (k, &value) in values.iter().enumerate() {
                    let shape = g.shape(value).to_vec();
                    let one = g.full(&shape, 1.0);
                    let slope = jvp(g, &[next], &[(value, one)])[0].expect("weights depend on what they move with");
                    slots.set(first + k, slope);
                }
            }
        }
        next
    }

    fn records(&self, g: &mut Graph, state: NodeId, at: &Scalars) -> Vec<(&'static str, NodeId)> {
        let slots = Slots::new(self, state, g.shape(at.eta)[0]);
        let eta = g.segment(at.eta, 0, 1);
        let moved = self.moved(g, &slots);
        let values = self.values(g, &moved, &Scalars { eta, own: at.own });
        ["learning_rate", "momentum"].into_iter().zip(values).collect()
    }

    /// That of the optimiser, at the learning rate that it begins with.
    fn stable(&self, scalars: &[f64]) -> f64 {
        self.base.stable(scalars)
    }
}

/// −⟨a, b⟩, `[1]`.
fn against(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let product = dot(g, a, b);
    g.neg(product)
}

/// ⟨a, b⟩, `[1]`.
fn dot(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let product = g.mul(a, b);
    let sum = g.sum_all(product);
    g.reshape(sum, &[1])
}

/// The cosine of the angle between −a and b, `[1]`; 0 where one of them is 0.
fn cosine(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let product = against(g, a, b);
    let [a, b] = [a, b].map(|x| {
        let square = dot(g, x, x);
        let zero = g.full(&[1], 0.0);
        let positive = g.lt(zero, square);
        let one = g.full(&[1], 1.0);
        // Its root has a derivative, and the product above is 0.
        let square = g.select(positive, square, one);
        g.scalar(Scalar::Sqrt, &[square])
    });
    let lengths = g.mul(a, b);
    g.div(product, lengths)
}

/// How far x is above the lower end and below the upper one.
fn between(g: &mut Graph, x: NodeId, [low, high]: [f64; 2]) -> [NodeId; 2] {
    let minus = g.neg(x);
    [g.offset(x, -low), g.offset(minus, high)]
}

/// Between two ends, the number whose logit is that of x plus `by`; x itself, bit for bit, where that is 0.
fn shifted_logit(g: &mut Graph, x: NodeId, by: NodeId, ends: [f64; 2]) -> NodeId {
    let [above, below] = between(g, x, ends);
    let factor = g.scalar(Scalar::Exp, &[by]);
    let part = g.mul(above, factor);
    let whole = g.add(below, part);
    let gain = g.offset(factor, -1.0);
    let product = g.mul(above, below);
    let product = g.mul(product, gain);
    let change = g.div(product, whole);
    g.add(x, change)
}

/// The nearest number that is neither below the first end nor above the second.
fn clamp(g: &mut Graph, x: NodeId, [low, high]: [NodeId; 2]) -> NodeId {
    let below = g.lt(x, low);
    let x = g.select(below, low, x);
    let above = g.lt(high, x);
    g.select(above, high, x)
}
