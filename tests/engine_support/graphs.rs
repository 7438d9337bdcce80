//! Random graphs of every primitive: shapes of any rank, strides, pads, all faces of convolutions,
//! arrays updated in place.

use super::noise;
use stackelberg::compile::Output;
use stackelberg::ir::{ConvFace, ConvGeometry, DType, Graph, NodeId, Run, Scalar, numel};

/// Largest array a random graph makes.
const LARGEST: usize = 3000;

/// One random decision after another.
struct Choices<'a> {
    words: &'a [u32],
    next: usize,
}

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        let word = self.words.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        word as usize % n.max(1)
    }

    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

/// A graph under construction and its nodes by type.
struct Random<'a> {
    g: Graph,
    floats: Vec<NodeId>,
    words: Vec<NodeId>,
    choices: Choices<'a>,
}

impl Random<'_> {
    fn float(&mut self) -> NodeId {
        // Later nodes more often, so that graphs grow deep.
        let k = self.choices.below(self.floats.len()).max(self.choices.below(self.floats.len()));
        self.floats[k]
    }

    fn shape(&self, id: NodeId) -> Vec<usize> {
        self.g.shape(id).to_vec()
    }

    fn step(&mut self) -> Option<()> {
        let x = self.float();
        let shape = self.shape(x);
        let rank = shape.len();
        let made = match self.choices.below(24) {
            0..=3 => {
                let f = self.choices.of(&[Scalar::Neg, Scalar::Tanh, Scalar::Sigmoid, Scalar::Relu, Scalar::Softplus]);
                self.g.scalar(f, &[x])
            }
            4..=6 => {
                let y = self.fitted(&shape)?;
                let f = self.choices.of(&[Scalar::Add, Scalar::Mul]);
                let z = self.g.scalar(f, &[x, y]);
                // Bounded, so that tolerances mean something.
                self.g.scale(z, 0.5)
            }
            7 => {
                let y = self.fitted(&shape)?;
                let less = self.g.lt(x, y);
                self.words.push(less);
                self.g.select(less, y, x)
            }
            8 => {
                let size = 1 + self.choices.below(4);
                let axis = self.choices.below(rank + 1);
                let mut to = shape.clone();
                to.insert(axis, size);
                let axes: Vec<usize> = (0..=rank).filter(|&a| a != axis).collect();
                self.g.broadcast(x, &to, &axes)
            }
            9..=10 if rank > 0 => {
                let axes: Vec<usize> = (0..rank).filter(|_| self.choices.below(2) == 0).collect();
                let sum = self.g.sum(x, &axes);
                self.g.scale(sum, 0.3)
            }
            11 => {
                let total = numel(&shape);
                let first = self.choices.of(&divisors(total));
                let second = self.choices.of(&divisors(total / first));
                self.g.reshape(x, &[first, second, total / first / second])
            }
            12 if rank > 1 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                for k in (1..rank).rev() {
                    perm.swap(k, self.choices.below(k + 1));
                }
                self.g.permute(x, &perm)
            }
            13..=14 if rank > 0 => {
                let (mut start, mut to, mut step) = (vec![], vec![], vec![]);
                for &size in &shape {
                    let s = self.choices.below(size.min(3));
                    let by = 1 + self.choices.below(2);
                    let most = (size - s).div_ceil(by);
                    start.push(s);
                    step.push(by);
                    to.push(1 + self.choices.below(most));
                }
                self.g.slice(x, &start, &to, &step)
            }
            15..=16 if rank > 0 => {
                let (mut start, mut to, mut step) = (vec![], vec![], vec![]);
                for &size in &shape {
                    let s = self.choices.below(3);
                    let by = 1 + self.choices.below(2);
                    start.push(s);
                    step.push(by);
                    to.push(s + (size - 1) * by + 1 + self.choices.below(3));
                }
                self.g.pad(x, &start, &to, &step)
            }
            17 => {
                let parts: Vec<NodeId> = (0..2 + self.choices.below(3))
                    .map(|_| {
                        let part = self.float();
                        let length = numel(self.g.shape(part));
                        self.g.reshape(part, &[length])
                    })
                    .collect();
                self.g.concat(&parts)
            }
            18 => self.matmul(x),
            19 => self.conv(x),
            20 if rank > 0 => {
                let rows = 1 + self.choices.below(5);
                let counter = self.g.iota(&[rows], 0);
                let (factor, n) = (self.choices.below(7), shape[0]);
                let factor = self.g.full_u(&[rows], factor as u32);
                let n = self.g.full_u(&[rows], n as u32);
                let product = self.g.scalar(Scalar::MulU, &[counter, factor]);
                let index = self.g.scalar(Scalar::RemU, &[product, n]);
                self.g.take_rows(x, index)
            }
            21 if rank > 0 => {
                let axis = self.choices.below(rank);
                if self.choices.below(2) == 0 {
                    self.g.max(x, axis)
                } else {
                    let index = self.g.argmax(x, axis);
                    self.words.push(index);
                    self.g.scalar(Scalar::ToFloat, &[index])
                }
            }
            22 => {
                let x = self.g.reshape(x, &[numel(&shape)]);
                let runs: Vec<Run> = (0..1 + self.choices.below(40)).map(|_| self.run(50, numel(&shape))).collect();
                self.g.repeat(x, &runs)
            }
            23 => {
                let x = self.g.reshape(x, &[numel(&shape)]);
                let count = 1 + self.choices.below(40);
                let longest = self.choices.of(&[3, 50, 2000]);
                let (mut runs, mut left) = (vec![], numel(&shape));
                while left > 0 {
                    let Run { length, value } = self.run(longest, count);
                    runs.push(Run { length: length.clamp(1, left), value });
                    left -= length.clamp(1, left);
                }
                let sums = self.g.segment_sum(x, &runs, count);
                self.g.scale(sums, 0.3)
            }
            _ => return None,
        };
        if numel(self.g.shape(made)) <= LARGEST && self.g.shape(made).len() <= 5 {
            self.floats.push(made);
        }
        Some(())
    }

    /// A run of one of `count` values, or a gap.
    fn run(&mut self, longest: usize, count: usize) -> Run {
        let length = 1 + self.choices.below(longest);
        Run { length, value: (self.choices.below(4) > 0).then(|| self.choices.below(count)) }
    }

    /// Some node brought to a shape: as it is, or stretched from its first element.
    fn fitted(&mut self, shape: &[usize]) -> Option<NodeId> {
        let same: Vec<NodeId> = self.floats.iter().copied().filter(|&y| self.g.shape(y) == shape).collect();
        if self.choices.below(4) > 0 {
            return Some(self.choices.of(&same));
        }
        let y = self.float();
        let length = numel(self.g.shape(y));
        let y = self.g.reshape(y, &[length]);
        let first = self.g.segment(y, 0, 1);
        let first = self.g.reshape(first, &[]);
        Some(self.g.broadcast(first, shape, &[]))
    }

    /// The first elements of some node, in a shape; repeated if they are too few.
    fn filled(&mut self, shape: &[usize]) -> NodeId {
        let x = self.float();
        let length = numel(self.g.shape(x));
        let wanted = numel(shape);
        let copies = wanted.div_ceil(length);
        let flat = self.g.reshape(x, &[1, length]);
        let tiled = self.g.broadcast(flat, &[copies, length], &[0, 1]);
        let tiled = self.g.reshape(tiled, &[copies * length]);
        let cut = self.g.segment(tiled, 0, wanted);
        self.g.reshape(cut, shape)
    }

    fn matmul(&mut self, x: NodeId) -> NodeId {
        let length = numel(self.g.shape(x));
        let inner = self.choices.of(&divisors(length));
        let (m, n) = (length / inner, 1 + self.choices.below(5));
        let transpose = [self.choices.below(2) == 0, self.choices.below(2) == 0];
        let a = if transpose[0] { [1, inner, m] } else { [1, m, inner] };
        let a = self.g.reshape(x, &a);
        let b = if transpose[1] { [1, n, inner] } else { [1, inner, n] };
        let b = self.filled(&b);
        let product = self.g.matmul(a, b, transpose);
        self.g.scale(product, 0.2)
    }

    fn conv(&mut self, _: NodeId) -> NodeId {
        let two = |c: &mut Choices, n: usize| [1 + c.below(n), 1 + c.below(n)];
        let c = &mut self.choices;
        let (kernel, stride) = (two(c, 3), two(c, 2));
        let pad = [c.below(kernel[0]), c.below(kernel[1])];
        let output = two(c, 4);
        let more = [c.below(2), c.below(2)];
        let input = [0, 1].map(|k| ((output[k] - 1) * stride[k] + kernel[k] + more[k]).saturating_sub(pad[k]).max(1));
        let geometry = ConvGeometry { input, kernel, output, stride, pad };
        let (g, n, i, o) = (1 + c.below(2), 1 + c.below(3), 1 + c.below(3), 1 + c.below(3));
        let x = [g, n, input[0], input[1], i];
        let w = [g, kernel[0], kernel[1], i, o];
        let y = [g, n, output[0], output[1], o];
        let face = c.of(&[ConvFace::Output, ConvFace::Input, ConvFace::Kernel]);
        let (a, b) = match face {
            ConvFace::Output => (x, w),
            ConvFace::Input => (y, w),
            ConvFace::Kernel => (x, y),
        };
        let (a, b) = (self.filled(&a), self.filled(&b));
        let result = self.g.conv(face, geometry, a, b);
        self.g.scale(result, 0.2)
    }
}

fn divisors(n: usize) -> Vec<usize> {
    (1..=n).filter(|&d| n.is_multiple_of(d)).collect()
}

/// A graph with outputs and values of its inputs, floats exact in f32.
pub struct Drawn {
    pub graph: Graph,
    pub outputs: Vec<Output>,
    pub inputs: Vec<Vec<f64>>,
}

impl Drawn {
    /// Each word is one decision.
    pub fn new(words: &[u32], seed: u32) -> Self {
        let choices = Choices { words, next: 0 };
        let mut r = Random { g: Graph::new(), floats: vec![], words: vec![], choices };
        let shapes: Vec<Vec<usize>> =
            (0..3).map(|_| (0..1 + r.choices.below(3)).map(|_| 1 + r.choices.below(7)).collect()).collect();
        for (k, shape) in shapes.iter().enumerate() {
            let input = r.g.input(&format!("x{k}"), shape, DType::F32);
            r.floats.push(input);
        }
        let steps = 2 + r.choices.below(25);
        (0..steps).for_each(|_| {
            r.step();
        });
        let mut outputs: Vec<Output> = vec![];
        for k in 0..1 + r.choices.below(4) {
            let id = if k == 0 { *r.floats.last().unwrap() } else { r.float() };
            outputs.push(Output::new(&format!("y{k}"), id));
        }
        if !r.words.is_empty() {
            let id = r.choices.of(&r.words.clone());
            outputs.push(Output::new("word", id));
        }
        // A new value for each input, some written over it.
        for k in 0..3 {
            let input = r.floats[k];
            let shape = r.shape(input);
            let id = if r.choices.below(2) == 0 { r.filled(&shape) } else { r.fitted(&shape).unwrap() };
            if r.choices.below(2) == 0 {
                outputs.push(Output::over(&format!("new x{k}"), id, k));
            }
        }
        let inputs = shapes.iter().enumerate().map(|(k, shape)| noise(3 * seed as usize + k, numel(shape))).collect();
        Drawn { graph: r.g, outputs, inputs }
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.outputs.iter().map(|output| output.node).collect()
    }

    pub fn print(&self) -> String {
        self.graph.print(&self.outputs.iter().map(|o| (o.name.clone(), o.node)).collect::<Vec<_>>())
    }
}
