//! The reference engine: programs in f64, block by block. It is the oracle of the GPU's kernels and
//! runs where nothing else does.

use web_time::Instant;

use crate::compile::{Buffer, Core, Dispatch, Expr, ExprId, Program};
use crate::engine::EngineInfo;
use crate::host::{Arithmetic, Cell, HostEngine};
use crate::ir::{DType, Scalar, numel, strides};

/// Points evaluated at a time.
const BLOCK: usize = 1024;

/// Runs programs in f64. Its counters count four bytes an element, though the numbers take eight.
pub type ReferenceEngine = HostEngine<F64>;

/// Arithmetic in f64; words are exact in it.
pub struct F64;

type Memory<'a> = crate::host::Memory<'a, f64>;

impl Cell for f64 {
    fn new(_: DType, value: f64) -> Self {
        value
    }

    fn value(self, _: DType) -> f64 {
        self
    }
}

impl Arithmetic for F64 {
    type Cell = f64;
    type Ready = Program;

    fn prepare(&self, program: &Program) -> Program {
        program.clone()
    }

    fn own_bytes(&self, _: &Program) -> u64 {
        0
    }

    fn run(&self, program: &mut Program, mut memory: Memory, mut seconds: Option<&mut [f64]>) {
        for member in 0..program.members {
            memory.turn_to(member);
            for (at, dispatch) in program.dispatches.iter().enumerate() {
                let start = seconds.is_some().then(Instant::now);
                Kernel::new(program, dispatch).run(&mut memory);
                if let (Some(seconds), Some(start)) = (&mut seconds, start) {
                    seconds[at] += start.elapsed().as_secs_f64();
                }
            }
        }
    }
}

impl Default for ReferenceEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl ReferenceEngine {
    /// One without arrays, on the thread that uses it.
    pub fn new() -> Self {
        let info = EngineInfo {
            engine: "reference".to_owned(),
            adapter: "f64 on the processor".to_owned(),
            backend: String::new(),
            driver: env!("CARGO_PKG_VERSION").to_owned(),
            software: true,
            max_buffer_bytes: 1 << 32,
        };
        HostEngine::over(F64, info)
    }
}

/// Values of one expression at the points of a block.
#[derive(Clone, Debug)]
enum Column {
    Floats(Vec<f64>),
    Words(Vec<u32>),
}

impl Column {
    fn floats(&self) -> &[f64] {
        match self {
            Column::Floats(x) => x,
            Column::Words(_) => unreachable!("a word where a float belongs"),
        }
    }

    fn words(&self) -> &[u32] {
        match self {
            Column::Words(x) => x,
            Column::Floats(_) => unreachable!("a float where a word belongs"),
        }
    }

    fn get(&self, k: usize) -> f64 {
        match self {
            Column::Floats(x) => x[k],
            Column::Words(x) => f64::from(x[k]),
        }
    }
}

/// Points at which expressions are evaluated: elements of the domain, and of the sum.
#[derive(Default)]
struct Points {
    flat: Vec<u32>,
    reduced: Vec<u32>,
    acc: Option<Column>,
}

impl Points {
    fn push(&mut self, flat: usize, reduced: usize) {
        self.flat.push(flat as u32);
        self.reduced.push(reduced as u32);
    }
}

/// One dispatch ready to run.
struct Kernel<'a> {
    program: &'a Program,
    dispatch: &'a Dispatch,
    dtypes: Vec<DType>,
    domain: Vec<(u32, u32)>,
    extent: Vec<(u32, u32)>,
    acc_dtype: DType,
}

/// Stride and size of each axis.
fn axes(shape: &[usize]) -> Vec<(u32, u32)> {
    strides(shape).iter().zip(shape).map(|(&stride, &size)| (stride as u32, size as u32)).collect()
}

impl<'a> Kernel<'a> {
    fn new(program: &'a Program, dispatch: &'a Dispatch) -> Self {
        let dtypes = dispatch.dtypes(&program.buffers);
        let acc_dtype = match dispatch.core {
            Core::ArgMax { .. } => DType::U32,
            Core::Reduce { value, .. } => dtypes[value.0 as usize],
            Core::Map | Core::Contract { .. } => DType::F32,
        };
        let (domain, extent) = (axes(&dispatch.domain), axes(dispatch.core.extent()));
        Kernel { program, dispatch, dtypes, domain, extent, acc_dtype }
    }

    fn run(&self, memory: &mut Memory) {
        let count = numel(&self.dispatch.domain);
        let acc = match self.dispatch.core {
            Core::Map => vec![],
            Core::Reduce { value, .. } => self.reduce(value, memory),
            Core::ArgMax { value, .. } => self.argmax(value, memory),
            Core::Contract { batch, rows, a, b, .. } => self.contract(batch, rows, a, b, memory),
        };
        let values: Vec<ExprId> = self.dispatch.stores.iter().map(|store| store.value).collect();
        let order = self.order(&values);
        for start in (0..count).step_by(BLOCK) {
            let end = (start + BLOCK).min(count);
            let points = Points {
                flat: (start as u32..end as u32).collect(),
                reduced: vec![],
                acc: acc.get(start..end).map(|acc| self.acc_column(acc)),
            };
            let columns = self.eval(&order, &points, memory);
            for store in &self.dispatch.stores {
                let column = columns[store.value.0 as usize].as_ref().expect("a store's value");
                let target = memory.get_mut(store.buffer);
                (start..end).enumerate().for_each(|(k, i)| target[store.offset + i] = column.get(k));
            }
        }
    }

    fn acc_column(&self, acc: &[f64]) -> Column {
        match self.acc_dtype {
            DType::F32 => Column::Floats(acc.to_vec()),
            DType::U32 => Column::Words(acc.iter().map(|&x| x as u32).collect()),
        }
    }

    /// Calls `take(element, place in the sum, value)` for every term of every element, in order.
    fn terms(&self, value: ExprId, memory: &Memory, mut take: impl FnMut(usize, usize, f64)) {
        let (count, length) = (numel(&self.dispatch.domain), numel(self.dispatch.core.extent()));
        let order = self.order(&[value]);
        for start in (0..count * length).step_by(BLOCK) {
            let mut points = Points::default();
            (start..(start + BLOCK).min(count * length)).for_each(|p| points.push(p / length, p % length));
            let columns = self.eval(&order, &points, memory);
            let column = columns[value.0 as usize].as_ref().expect("the core's value");
            for k in 0..points.flat.len() {
                take(points.flat[k] as usize, points.reduced[k] as usize, column.get(k));
            }
        }
    }

    fn reduce(&self, value: ExprId, memory: &Memory) -> Vec<f64> {
        let mut acc = vec![0.0; numel(&self.dispatch.domain)];
        match self.acc_dtype {
            DType::F32 => self.terms(value, memory, |i, _, x| acc[i] += x),
            DType::U32 => self.terms(value, memory, |i, _, x| acc[i] = Scalar::AddU.eval(&[acc[i], x])),
        }
        acc
    }

    fn argmax(&self, value: ExprId, memory: &Memory) -> Vec<f64> {
        let mut best = vec![(0, f64::NAN); numel(&self.dispatch.domain)];
        self.terms(value, memory, |i, place, x| {
            if place == 0 || x > best[i].1 {
                best[i] = (place, x);
            }
        });
        best.into_iter().map(|(place, _)| place as f64).collect()
    }

    /// A matrix product for each element of the batch.
    fn contract(&self, batch: usize, rows: usize, a: ExprId, b: ExprId, memory: &Memory) -> Vec<f64> {
        let size = |axes: std::ops::Range<usize>| numel(&self.dispatch.domain[axes]);
        let (batches, m) = (size(0..batch), size(batch..batch + rows));
        let (n, length) = (size(batch + rows..self.dispatch.domain.len()), numel(self.dispatch.core.extent()));
        let (order_a, order_b) = (self.order(&[a]), self.order(&[b]));
        let mut acc = vec![0.0; batches * m * n];
        for (g, acc) in acc.chunks_mut(m * n).enumerate() {
            let right = self.matrix(b, &order_b, length * n, memory, |p| (g * m * n + p % n, p / n));
            let left = self.matrix(a, &order_a, m * length, memory, |p| ((g * m + p / length) * n, p % length));
            for (acc, left) in acc.chunks_mut(n).zip(left.chunks(length)) {
                for (&x, right) in left.iter().zip(right.chunks(n)) {
                    acc.iter_mut().zip(right).for_each(|(acc, &y)| *acc += x * y);
                }
            }
        }
        acc
    }

    /// Values at `count` points given as (element, place in the sum).
    fn matrix(
        &self,
        value: ExprId,
        order: &[usize],
        count: usize,
        memory: &Memory,
        point: impl Fn(usize) -> (usize, usize),
    ) -> Vec<f64> {
        let mut values = Vec::with_capacity(count);
        for start in (0..count).step_by(BLOCK) {
            let mut points = Points::default();
            (start..(start + BLOCK).min(count)).map(&point).for_each(|(flat, reduced)| points.push(flat, reduced));
            let columns = self.eval(order, &points, memory);
            values.extend_from_slice(columns[value.0 as usize].as_ref().expect("an operand").floats());
        }
        values
    }

    /// The expressions that some need, arguments first.
    fn order(&self, roots: &[ExprId]) -> Vec<usize> {
        let mut needed = vec![false; self.dispatch.exprs.len()];
        roots.iter().for_each(|id| needed[id.0 as usize] = true);
        for place in (0..needed.len()).rev() {
            if needed[place] {
                self.dispatch.exprs[place].args().for_each(|id| needed[id.0 as usize] = true);
            }
        }
        (0..needed.len()).filter(|&place| needed[place]).collect()
    }

    fn eval(&self, order: &[usize], points: &Points, memory: &Memory) -> Vec<Option<Column>> {
        let mut columns: Vec<Option<Column>> = vec![None; self.dispatch.exprs.len()];
        for &place in order {
            columns[place] = Some(self.column(place, &columns, points, memory));
        }
        columns
    }

    fn column(&self, place: usize, columns: &[Option<Column>], points: &Points, memory: &Memory) -> Column {
        let count = points.flat.len();
        let digit =
            |from: &[u32], (stride, size): (u32, u32)| Column::Words(from.iter().map(|&i| i / stride % size).collect());
        match &self.dispatch.exprs[place] {
            Expr::Const(bits) => Column::Floats(vec![f64::from_bits(*bits); count]),
            Expr::ConstU(word) => Column::Words(vec![*word; count]),
            Expr::Flat => Column::Words(points.flat.clone()),
            Expr::Coord(axis) => digit(&points.flat, self.domain[*axis]),
            Expr::Reduced(axis) => digit(&points.reduced, self.extent[*axis]),
            Expr::Acc => points.acc.clone().expect("a value of the core"),
            Expr::Load { buffer, index } => {
                let index = columns[index.0 as usize].as_ref().expect("an index").words();
                let Buffer { name, len, .. } = self.program.buffer(*buffer);
                let values = memory.get(*buffer);
                let at = |&i: &u32| {
                    *values.get(i as usize).unwrap_or_else(|| {
                        panic!("compiler error: `{}` loads element {i} of {len} of `{name}`", self.dispatch.label)
                    })
                };
                match self.dtypes[place] {
                    DType::F32 => Column::Floats(index.iter().map(at).collect()),
                    DType::U32 => Column::Words(index.iter().map(|i| at(i) as u32).collect()),
                }
            }
            Expr::Scalar(f, args) => {
                let args: Vec<&Column> =
                    args.iter().map(|id| columns[id.0 as usize].as_ref().expect("an argument")).collect();
                apply(*f, &args, count, self.dtypes[place])
            }
        }
    }
}

/// A scalar function of whole columns: the common ones as loops of their own, which is what makes
/// this engine tolerably fast.
fn apply(f: Scalar, args: &[&Column], count: usize, dtype: DType) -> Column {
    match f {
        Scalar::Add => floats(args, |a, b| a + b),
        Scalar::Mul => floats(args, |a, b| a * b),
        Scalar::AddU => words(args, u32::wrapping_add),
        Scalar::SubU => words(args, u32::wrapping_sub),
        Scalar::MulU => words(args, u32::wrapping_mul),
        Scalar::DivU => words(args, |a, b| a.checked_div(b).unwrap_or(a)),
        Scalar::RemU => words(args, |a, b| a.checked_rem(b).unwrap_or(0)),
        Scalar::LtU => words(args, |a, b| u32::from(a < b)),
        Scalar::Neg => Column::Floats(args[0].floats().iter().map(|a| -a).collect()),
        Scalar::Select => select(args),
        _ => {
            let mut x = vec![0.0; args.len()];
            let values = (0..count).map(|k| {
                x.iter_mut().zip(args).for_each(|(x, column)| *x = column.get(k));
                f.eval(&x)
            });
            match dtype {
                DType::F32 => Column::Floats(values.collect()),
                DType::U32 => Column::Words(values.map(|x| x as u32).collect()),
            }
        }
    }
}

fn floats(args: &[&Column], f: impl Fn(f64, f64) -> f64) -> Column {
    Column::Floats(args[0].floats().iter().zip(args[1].floats()).map(|(&a, &b)| f(a, b)).collect())
}

fn words(args: &[&Column], f: impl Fn(u32, u32) -> u32) -> Column {
    Column::Words(args[0].words().iter().zip(args[1].words()).map(|(&a, &b)| f(a, b)).collect())
}

fn select(args: &[&Column]) -> Column {
    fn choose<T: Copy>(conditions: &[u32], a: &[T], b: &[T]) -> Vec<T> {
        conditions.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
    }
    match (args[1], args[2]) {
        (Column::Floats(a), Column::Floats(b)) => Column::Floats(choose(args[0].words(), a, b)),
        (a, b) => Column::Words(choose(args[0].words(), a.words(), b.words())),
    }
}
