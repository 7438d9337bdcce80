//! How far an f32 engine may be from the f64 reference: running error analysis, element by element.
//!
//! One walk carries each element's value and a bound on its error, for a run from the same f32
//! inputs. A pointwise row adds its stated accuracy (WGSL specification, through [`Scalar::ulps`])
//! to what its arguments' errors become. Sums, and sums of sums, may run in any order, fused or not
//! (Higham, *Accuracy and Stability of Numerical Algorithms*, §4.2), because compilers join and
//! reorder them. Views move bounds. A choice between two branches that is nearer to a tie than its
//! operands' errors is bounded for both outcomes, and what depends on it is marked, because such a
//! bound says little.

use super::eval::{apply, lane};
use crate::ir::{DType, Graph, Node, NodeId, Op, Scalar};

/// Relative size of one unit in the last place of an f32, and a little for the rounding of the
/// analysis itself.
const ULP: f64 = f32::EPSILON as f64 * (1.0 + 1e-6);

/// Engines may flush results below this to zero.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

/// What an engine's output must satisfy.
#[derive(Clone, Debug)]
pub struct Bounded {
    /// The exact value of each element, in f64.
    pub value: Vec<f64>,
    /// Largest possible |engine − value|; infinite where nothing is known (a pole or an overflow
    /// within reach, a row at an undecided index). Words are exact where it is 0.
    pub bound: Vec<f64>,
    /// Whether an element depends on a choice closer to a tie than its operands' bounds. Its bound
    /// covers every outcome, so it is wide.
    pub excluded: Vec<bool>,
}

/// An engine's output that stayed within its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Elements compared.
    pub elements: usize,
    /// Elements behind an undecided choice, held only to the wide bound that covers its outcomes.
    pub excluded: usize,
    /// Largest error ÷ bound of the others.
    pub worst: f64,
}

/// An engine's output that cannot be a correct run's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Mismatch {
    /// Not as many values as the graph has.
    #[error("{output}: {got} elements, the graph says {expected}")]
    Length { output: String, got: usize, expected: usize },
    /// A value outside its bound.
    #[error("{output}[{element}] is {got:e}, which is {error:e} from {value:e}; the bound is {bound:e}")]
    Value { output: String, element: usize, got: f64, value: f64, bound: f64, error: f64 },
}

impl Bounded {
    /// Holds an engine's values of the output called `output` to the bounds; the error names the
    /// first element outside.
    pub fn check(&self, output: &str, engine: &[f64]) -> Result<Report, Mismatch> {
        if engine.len() != self.value.len() {
            let (got, expected) = (engine.len(), self.value.len());
            return Err(Mismatch::Length { output: output.to_owned(), got, expected });
        }
        let mut report = Report { elements: engine.len(), excluded: 0, worst: 0.0 };
        for (element, &got) in engine.iter().enumerate() {
            let (value, bound) = (self.value[element], self.bound[element]);
            let error = (got - value).abs();
            if bound.is_finite() && (error.is_nan() || error > bound) {
                return Err(Mismatch::Value { output: output.to_owned(), element, got, value, bound, error });
            }
            if self.excluded[element] {
                report.excluded += 1;
            } else if error > 0.0 {
                report.worst = report.worst.max(error / bound);
            }
        }
        Ok(report)
    }
}

/// Values of `outputs` and how near to them an f32 engine must come, given the inputs in order.
/// Inputs and constants that are no f32 are taken as their nearest one with that error.
///
/// Panics as [`eval`](super::eval) does.
pub fn bound(graph: &Graph, outputs: &[NodeId], inputs: &[Vec<f64>]) -> Vec<Bounded> {
    let live = graph.live(outputs);
    let mut tracks: Vec<Track> = Vec::with_capacity(graph.nodes().len());
    for (position, node) in graph.nodes().iter().enumerate() {
        let track = if live[position] { bound_node(graph, node, &tracks, inputs) } else { Track::default() };
        tracks.push(track);
    }
    let bounded = |id: &NodeId| {
        let Track { value, bound, tie, .. } = tracks[id.index()].clone();
        Bounded { value, bound, excluded: tie.iter().map(|&tie| tie > 0.0).collect() }
    };
    outputs.iter().map(bounded).collect()
}

/// What is known of a node's elements, each a sum of terms (one term, where no sum is at hand).
#[derive(Clone, Debug, Default)]
struct Track {
    value: Vec<f64>,
    bound: Vec<f64>,
    /// How many terms are not exactly zero.
    terms: Vec<f64>,
    /// Sum of the largest magnitudes that an engine's terms may have.
    mass: Vec<f64>,
    /// Sum of the terms' errors: the bound without the rounding of the sum itself.
    carried: Vec<f64>,
    /// Positive where an element depends on an undecided choice.
    tie: Vec<f64>,
}

/// What is known of one element.
#[derive(Clone, Copy, Debug)]
struct Point {
    value: f64,
    bound: f64,
    tie: bool,
}

impl Point {
    fn is_zero(&self) -> bool {
        self.value == 0.0 && self.bound == 0.0
    }
}

impl Track {
    fn at(&self, i: usize) -> Point {
        Point { value: self.value[i], bound: self.bound[i], tie: self.tie[i] > 0.0 }
    }

    /// A property of every element as numbers.
    fn numbers(&self, property: impl Fn(Point) -> f64) -> Vec<f64> {
        (0..self.value.len()).map(|i| property(self.at(i))).collect()
    }

    /// A primitive that adds and moves elements does the same to all that is known of them. The
    /// bounds follow in [`settle`].
    fn moved(run: impl Fn(fn(&Track) -> &[f64]) -> Vec<f64>) -> Self {
        Track {
            value: run(|t| &t.value),
            bound: vec![],
            terms: run(|t| &t.terms),
            mass: run(|t| &t.mass),
            carried: run(|t| &t.carried),
            tie: run(|t| &t.tie),
        }
    }
}

impl FromIterator<Point> for Track {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        let mut track = Track::default();
        for p in points {
            track.value.push(p.value);
            track.terms.push(number(!p.is_zero()));
            track.mass.push(p.value.abs() + p.bound);
            track.carried.push(p.bound);
            track.tie.push(number(p.tie));
        }
        track
    }
}

fn number(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// Error of an addition or multiplication relative to its result.
fn unit() -> f64 {
    Scalar::Add.ulps(&[]) * ULP
}

fn bound_node(graph: &Graph, node: &Node, tracks: &[Track], inputs: &[Vec<f64>]) -> Track {
    let args: Vec<&Track> = node.args.iter().map(|a| &tracks[a.index()]).collect();
    let run = |args: &[&[f64]]| apply(graph, node, args, inputs);
    let track = match &node.op {
        Op::Input(_) | Op::Const(_) | Op::ConstU(_) | Op::Iota { .. } | Op::Hole(_) => leaf(node.dtype, run(&[])),
        Op::Scalar(Scalar::Add)
        | Op::Sum { .. }
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Repeat { .. }
        | Op::SegmentSum { .. }
        | Op::Concat
        | Op::StopGradient => Track::moved(|part| run(&args.iter().map(|a| part(a)).collect::<Vec<_>>())),
        Op::Scalar(Scalar::Neg) => Track { value: run(&[&args[0].value]), ..args[0].clone() },
        Op::Scalar(f) => {
            (0..args[0].value.len()).map(|i| pointwise(*f, &args.iter().map(|a| a.at(i)).collect::<Vec<_>>())).collect()
        }
        Op::MatMul { .. } | Op::Conv { .. } => products(args[0], args[1], run),
        Op::TakeRows => take_rows(args[0], args[1], run),
        Op::ArgMax { axis } => {
            let row =
                |o: usize| -> Vec<Point> { lane(graph.shape(node.args[0]), *axis, o).map(|i| args[0].at(i)).collect() };
            run(&[&args[0].value]).into_iter().enumerate().map(|(o, winner)| argmax(&row(o), winner)).collect()
        }
    };
    settle(node.dtype, track)
}

/// The bounds, from what is known of the terms: n of them in any order are rounded n − 1 times,
/// relative to their mass. An undecided word is a tie. A float that can be subnormal may be flushed,
/// and nothing is known of one that can overflow.
fn settle(dtype: DType, mut track: Track) -> Track {
    let rounded = |terms: f64, mass: f64| match dtype {
        DType::F32 if terms > 1.0 => ((terms - 1.0) * unit().ln_1p()).exp_m1() * mass + (terms - 1.0) * SMALLEST,
        _ => 0.0,
    };
    track.bound = (0..track.value.len()).map(|i| track.carried[i] + rounded(track.terms[i], track.mass[i])).collect();
    for (i, &value) in track.value.iter().enumerate() {
        let bound = track.bound[i];
        if dtype == DType::U32 {
            track.tie[i] = number(bound > 0.0);
        } else if value.abs() + bound <= f64::from(f32::MAX) && track.mass[i] <= f64::from(f32::MAX) {
            let flushed = value.abs() - bound < SMALLEST && (value != 0.0 || bound != 0.0);
            track.bound[i] += number(flushed) * SMALLEST;
            track.carried[i] += number(flushed) * SMALLEST;
        } else {
            (track.bound[i], track.carried[i], track.tie[i]) = (f64::INFINITY, f64::INFINITY, 1.0);
        }
    }
    track
}

fn leaf(dtype: DType, values: Vec<f64>) -> Track {
    let rounded = |value: f64| match dtype {
        DType::F32 => f64::from(value as f32),
        DType::U32 => value,
    };
    values.into_iter().map(|value| Point { value, bound: (rounded(value) - value).abs(), tie: false }).collect()
}

fn pointwise(f: Scalar, x: &[Point]) -> Point {
    if f == Scalar::Select {
        return select(x[0], x[1], x[2]);
    }
    let value = f.eval(&x.iter().map(|p| p.value).collect::<Vec<_>>());
    if f.signature().1 == DType::U32 {
        return Point { value, bound: word_error(f, x), tie: false };
    }
    let carried = carried_error(f, x, value);
    let bound = carried + own_error(f, x, value.abs() + carried);
    // What is multiplied by an exact zero no longer matters.
    let tie = x.iter().any(|p| p.tie) && !(f == Scalar::Mul && x.iter().any(Point::is_zero));
    Point { value, bound, tie }
}

/// A decided condition passes its branch; an undecided one gives a bound for both.
fn select(condition: Point, a: Point, b: Point) -> Point {
    let (taken, other) = if condition.value != 0.0 { (a, b) } else { (b, a) };
    if condition.bound == 0.0 {
        return taken;
    }
    let gap = (taken.value - other.value).abs();
    let tie = taken.tie || other.tie || gap > taken.bound + other.bound;
    let reach = gap + other.bound;
    // Not `max`, which would lose that nothing is known.
    Point { value: taken.value, bound: if reach <= taken.bound { taken.bound } else { reach }, tie }
}

/// Whether errors may change which of two values is the larger, or whether they are equal.
fn undecided(a: Point, b: Point) -> bool {
    let slack = a.bound + b.bound;
    let decided = slack == 0.0 || (a.value - b.value).abs() > slack;
    !decided
}

/// Error of a word-valued row: 0 if decided, 1 for an undecided condition.
fn word_error(f: Scalar, x: &[Point]) -> f64 {
    let exact = x.iter().all(|p| p.bound == 0.0);
    let settles = |value: bool| x.iter().any(|p| p.bound == 0.0 && (p.value != 0.0) == value);
    let (decided, otherwise) = match f {
        Scalar::Lt | Scalar::LtU | Scalar::EqU => (!undecided(x[0], x[1]), 1.0),
        Scalar::AndU => (exact || settles(false), 1.0),
        Scalar::OrU => (exact || settles(true), 1.0),
        Scalar::NonFinite => (x[0].bound.is_finite(), 1.0),
        _ => (exact, f64::INFINITY),
    };
    if decided { 0.0 } else { otherwise }
}

/// What the arguments' errors become in a float row.
fn carried_error(f: Scalar, x: &[Point], value: f64) -> f64 {
    match (f, x) {
        _ if x.iter().any(|p| p.bound.is_infinite()) => f64::INFINITY,
        (Scalar::Mul, [a, b]) => a.value.abs() * b.bound + a.bound * (b.value.abs() + b.bound),
        (Scalar::ToFloat, [x]) => x.bound,
        (_, [x]) if x.bound == 0.0 => 0.0,
        (Scalar::Recip | Scalar::Log | Scalar::Sqrt, [x]) if x.value.abs() <= x.bound => f64::INFINITY,
        // Monotone between the ends (Recip on its side of 0), so the ends bound it.
        (
            Scalar::Recip
            | Scalar::Exp
            | Scalar::Log
            | Scalar::Sqrt
            | Scalar::Tanh
            | Scalar::Sigmoid
            | Scalar::Softplus
            | Scalar::Relu,
            [x],
        ) => {
            let end = |error: f64| (f.eval(&[x.value + error]) - value).abs();
            end(x.bound).max(end(-x.bound))
        }
        _ => unreachable!("{f:?} is no float row of {} arguments", x.len()),
    }
}

/// What a float row adds to a result of magnitude up to `size`.
fn own_error(f: Scalar, x: &[Point], size: f64) -> f64 {
    let exact = x.iter().all(|p| p.bound == 0.0);
    let holds = |value: f64| f64::from(value as f32) == value;
    match (f, x) {
        (Scalar::Mul, [..]) | (Scalar::ToFloat, [..]) if exact && holds(size) => 0.0,
        (Scalar::ToFloat, [..]) => ULP * size,
        (_, [x, ..]) => {
            let far_end = x.value + x.bound.copysign(x.value);
            let relative = f.ulps(&[far_end]) * ULP * size;
            // Between 0.5 and 2 a logarithm is accurate to 2⁻²¹, however small it is.
            let near_one = f == Scalar::Log && x.value - x.bound <= 2.0 && x.value + x.bound >= 0.5;
            if near_one { relative.max(4.0 * ULP) } else { relative }
        }
        _ => unreachable!("{f:?} without arguments"),
    }
}

/// Sums of products. With A = |a| + error of a, their terms' errors sum to at most
/// Σ (error of a · B + |a| · error of b), and one rounding a product. The sums are the primitive
/// itself on magnitudes.
fn products(a: &Track, b: &Track, run: impl Fn(&[&[f64]]) -> Vec<f64>) -> Track {
    let size = |p: Point| p.value.abs() + p.bound;
    let present = |p: Point| number(!p.is_zero());
    let tied = |p: Point| number(p.tie);
    let mass = run(&[&a.numbers(size), &b.numbers(size)]);
    let terms = run(&[&a.numbers(present), &b.numbers(present)]);
    let both = |left: Vec<f64>, right: Vec<f64>| left.iter().zip(right).map(|(x, y)| x + y).collect::<Vec<f64>>();
    let mut carried = both(run(&[&a.bound, &b.numbers(size)]), run(&[&a.numbers(|p| p.value.abs()), &b.bound]));
    for (carried, (mass, terms)) in carried.iter_mut().zip(mass.iter().zip(&terms)) {
        *carried += unit() * mass + terms * SMALLEST;
    }
    let tie = match [a, b].iter().any(|t| t.tie.iter().any(|&tie| tie > 0.0)) {
        true => both(run(&[&a.numbers(tied), &b.numbers(present)]), run(&[&a.numbers(present), &b.numbers(tied)])),
        false => vec![0.0; terms.len()],
    };
    Track { value: run(&[&a.value, &b.value]), bound: vec![], terms, mass, carried, tie }
}

/// The index of the largest is uncertain by the distance to the farthest that may be as large.
fn argmax(row: &[Point], winner: f64) -> Point {
    let rivals = row.iter().enumerate().filter(|(_, x)| undecided(row[winner as usize], **x));
    let bound = rivals.map(|(k, _)| (k as f64 - winner).abs()).fold(0.0, f64::max);
    Point { value: winner, bound, tie: false }
}

/// Nothing is known of a row at an undecided index.
fn take_rows(data: &Track, index: &Track, run: impl Fn(&[&[f64]]) -> Vec<f64>) -> Track {
    let mut track = Track::moved(|part| run(&[part(data), &index.value]));
    let width = track.value.len() / index.value.len().max(1);
    for (row, _) in index.bound.iter().enumerate().filter(|(_, error)| **error > 0.0) {
        track.carried[row * width..][..width].fill(f64::INFINITY);
    }
    track
}
