//! How far an f32 engine may be from the f64 reference: running error analysis, element by element.
//!
//! One walk carries each element's value and a bound on its error, for a run from the same f32
//! inputs. A pointwise row adds its stated accuracy (WGSL specification, through [`Scalar::ulps`])
//! to what its arguments' errors become; sums may run in any order, fused or not (Higham, *Accuracy
//! and Stability of Numerical Algorithms*, §4.2); views move bounds. A choice between two branches
//! that is nearer to a tie than its operands' errors is bounded for both outcomes, and what depends
//! on it is marked, because such a bound says little.

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
    pub elements: usize,
    /// Elements behind an undecided choice, held only to the wide bound that covers its outcomes.
    pub excluded: usize,
    /// Largest error ÷ bound of the others.
    pub worst: f64,
}

/// An engine's output that cannot be a correct run's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("{output}: {got} elements, the graph says {expected}")]
    Length { output: String, got: usize, expected: usize },
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
    let outputs = outputs.iter().map(|id| tracks[id.index()].clone());
    outputs
        .map(|t| Bounded { value: t.value, bound: t.bound, excluded: t.tie.iter().map(|&t| t > 0.0).collect() })
        .collect()
}

/// What is known of a node's elements. `tie` is 1 where an element depends on an undecided choice; a
/// number, so that primitives can carry it.
#[derive(Clone, Debug, Default)]
struct Track {
    value: Vec<f64>,
    bound: Vec<f64>,
    tie: Vec<f64>,
}

/// What is known of one element.
#[derive(Clone, Copy, Debug)]
struct Point {
    value: f64,
    bound: f64,
    tie: bool,
}

impl Track {
    fn at(&self, i: usize) -> Point {
        Point { value: self.value[i], bound: self.bound[i], tie: self.tie[i] > 0.0 }
    }

    /// Largest magnitudes that an engine may hold.
    fn sizes(&self) -> Vec<f64> {
        self.value.iter().zip(&self.bound).map(|(v, e)| v.abs() + e).collect()
    }
}

impl FromIterator<Point> for Track {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        let mut track = Track::default();
        for p in points {
            track.value.push(p.value);
            track.bound.push(p.bound);
            track.tie.push(f64::from(u8::from(p.tie)));
        }
        track
    }
}

fn bound_node(graph: &Graph, node: &Node, tracks: &[Track], inputs: &[Vec<f64>]) -> Track {
    let args: Vec<&Track> = node.args.iter().map(|a| &tracks[a.index()]).collect();
    let run = |args: &[&[f64]]| apply(graph, node, args, inputs);
    let track = match &node.op {
        Op::Input(_) | Op::Const(_) | Op::ConstU(_) | Op::Iota { .. } | Op::Hole(_) => leaf(node.dtype, run(&[])),
        Op::Scalar(f) => {
            (0..args[0].value.len()).map(|i| pointwise(*f, &args.iter().map(|a| a.at(i)).collect::<Vec<_>>())).collect()
        }
        Op::Sum { .. } | Op::MatMul { .. } | Op::Conv { .. } => contraction(node.dtype, &args, run),
        Op::ArgMax { axis } => {
            let row =
                |o: usize| -> Vec<Point> { lane(graph.shape(node.args[0]), *axis, o).map(|i| args[0].at(i)).collect() };
            run(&[&args[0].value]).into_iter().enumerate().map(|(o, winner)| argmax(&row(o), winner)).collect()
        }
        Op::TakeRows => take_rows(args[0], args[1], run),
        Op::Broadcast { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concat
        | Op::StopGradient => moved(|part| run(&args.iter().map(|a| part(a)).collect::<Vec<_>>())),
    };
    settle(node.dtype, track)
}

/// What holds for every result: an undecided word is a tie; a float may be flushed if it can be
/// subnormal, and nothing is known of one that can overflow.
fn settle(dtype: DType, mut track: Track) -> Track {
    for ((&value, bound), tie) in track.value.iter().zip(&mut track.bound).zip(&mut track.tie) {
        match dtype {
            DType::U32 => *tie = f64::from(u8::from(*bound > 0.0)),
            DType::F32 if value.abs() + *bound <= f64::from(f32::MAX) => {
                let can_be_subnormal = value.abs() - *bound < SMALLEST && (value != 0.0 || *bound != 0.0);
                *bound += if can_be_subnormal { SMALLEST } else { 0.0 };
            }
            DType::F32 => (*bound, *tie) = (f64::INFINITY, 1.0),
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
    let vanishes = |p: &Point| p.value == 0.0 && p.bound == 0.0;
    let tie = x.iter().any(|p| p.tie) && !(f == Scalar::Mul && x.iter().any(vanishes));
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
        (Scalar::Add, [a, b]) => a.bound + b.bound,
        (Scalar::Mul, [a, b]) => a.value.abs() * b.bound + a.bound * (b.value.abs() + b.bound),
        (Scalar::Neg | Scalar::ToFloat, [x]) => x.bound,
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
        (Scalar::Add, [a, b]) if [a, b].iter().any(|p| p.value == 0.0 && p.bound == 0.0) => 0.0,
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

/// Sums of terms, or of products of two. With A = |a| + error of a, the carried error of products is at
/// most Σ (error of a · B + |a| · error of b); n terms in any order are rounded at most n − 1 times
/// (products once more), each time by an addition's error relative to Σ A · B. Terms that are exactly
/// zero do not count. All these sums are the primitive itself on magnitudes.
fn contraction(dtype: DType, args: &[&Track], run: impl Fn(&[&[f64]]) -> Vec<f64>) -> Track {
    let each = |part: fn(&Track) -> Vec<f64>| args.iter().map(|a| part(a)).collect::<Vec<_>>();
    let run = |args: &[Vec<f64>]| run(&args.iter().map(|a| &a[..]).collect::<Vec<_>>());
    let sizes = each(Track::sizes);
    let magnitudes = each(|t| t.value.iter().map(|x| x.abs()).collect());
    let present = each(|t| t.sizes().iter().map(|&x| f64::from(u8::from(x != 0.0))).collect());
    // Σ over the slots of the primitive with `own` in that slot.
    let slots = |before: &[Vec<f64>], own: &[Vec<f64>], after: &[Vec<f64>]| {
        let slot = |k: usize| run(&[&before[..k], &own[k..=k], &after[k + 1..]].concat());
        (0..args.len()).map(slot).reduce(|a, b| a.iter().zip(b).map(|(x, y)| x + y).collect()).unwrap_or_default()
    };
    let carried = slots(&magnitudes, &each(|t| t.bound.clone()), &sizes);
    let tied = args.iter().any(|a| a.tie.contains(&1.0));
    let tie = if tied { slots(&present, &each(|t| t.tie.clone()), &present) } else { vec![0.0; carried.len()] };
    let (total, terms) = (run(&sizes), run(&present));
    let unit = Scalar::Add.ulps(&[]) * ULP;
    let rounded = |i: usize| match terms[i] + args.len() as f64 - 2.0 {
        n if n > 0.0 && dtype == DType::F32 => (n * unit.ln_1p()).exp_m1() * total[i] + n * SMALLEST,
        _ => 0.0,
    };
    let values = run(&each(|t| t.value.clone())).into_iter().enumerate();
    values.map(|(i, value)| Point { value, bound: carried[i] + rounded(i), tie: tie[i] > 0.0 }).collect()
}

/// The index of the largest is uncertain by the distance to the farthest that may be as large.
fn argmax(row: &[Point], winner: f64) -> Point {
    let rivals = row.iter().enumerate().filter(|(_, x)| undecided(row[winner as usize], **x));
    let bound = rivals.map(|(k, _)| (k as f64 - winner).abs()).fold(0.0, f64::max);
    Point { value: winner, bound, tie: false }
}

/// Nothing is known of a row at an undecided index.
fn take_rows(data: &Track, index: &Track, run: impl Fn(&[&[f64]]) -> Vec<f64>) -> Track {
    let mut track = moved(|part| run(&[part(data), &index.value]));
    let width = track.value.len() / index.value.len().max(1);
    for (row, _) in index.bound.iter().enumerate().filter(|(_, error)| **error > 0.0) {
        track.bound[row * width..][..width].fill(f64::INFINITY);
    }
    track
}

/// Bounds and marks go where the values go.
fn moved(run: impl Fn(fn(&Track) -> &[f64]) -> Vec<f64>) -> Track {
    Track { value: run(|t| &t.value), bound: run(|t| &t.bound), tie: run(|t| &t.tie) }
}
