//! One dispatch made ready for the processor.

use super::affine::{Affine, Piece, pieces};
use super::array::{Array, Arrays, Home};
use super::contract::Products;
use super::nest::{Block, Lines};
use super::tape::{Tape, Wanted, load_forms};
use super::threads::{Threads, Workspace};
use crate::compile::{Buffer, Core, Dispatch, Expr, ExprId};
use crate::ir::{DType, numel};
use stackelberg_columns::{Places, sum_floats, sum_words};

/// Column operations of a unit of work, at least: some ten microseconds.
const UNIT: usize = 1 << 17;
/// Multiplications of a unit of a contraction, at least.
const UNIT_PRODUCTS: usize = 1 << 20;
/// Rows (or columns) of a unit's matrix, at least: thinner ones spend their time on packing.
const UNIT_ROWS: usize = 32;
/// Elements that a core computes before its stores, at most, where it can be shared out: they stay
/// in the second-level cache.
const TILE: usize = 1 << 14;
/// Most units.
const MOST_UNITS: usize = 64;

/// A dispatch with its loops chosen.
pub struct Kernel {
    /// Operands of a contraction that are computed beforehand.
    packs: Vec<Pack>,
    core: CoreLoops,
    /// The stores; they follow the core.
    stores: Vec<Tape>,
    units: Units,
}

/// A dense copy of an operand of a contraction.
struct Pack {
    operand: usize,
    kernel: Kernel,
    /// Whether it could be read where it lies, so that the copy is a small one.
    readable: bool,
}

enum CoreLoops {
    None,
    Sum(Vec<Tape>, DType),
    ArgMax(Box<Tape>),
    /// Products into the core's array.
    Products(Products),
    /// Products straight into the only store's array.
    Direct(Products, Home),
}

/// Parts of one coordinate that are worked on by themselves.
struct Units {
    /// Values of the coordinate, and of one unit.
    size: usize,
    chunk: usize,
    /// Elements of the domain for one value of the coordinate.
    stride: usize,
}

impl Units {
    fn new(size: usize, stride: usize, count: usize) -> Self {
        Units { size, chunk: size.div_ceil(count.clamp(1, MOST_UNITS.min(size))), stride }
    }

    fn count(&self) -> usize {
        self.size.div_ceil(self.chunk)
    }

    fn part(&self, unit: usize) -> (usize, usize) {
        (unit * self.chunk, ((unit + 1) * self.chunk).min(self.size))
    }
}

/// The outermost coordinate of a domain that has more than one value.
fn outermost(domain: &[usize]) -> usize {
    domain.iter().position(|&size| size > 1).unwrap_or(0)
}

impl Kernel {
    pub fn new(buffers: &[Buffer], dispatch: &Dispatch) -> Self {
        match dispatch.core {
            Core::Map => Self::map(buffers, dispatch),
            Core::Reduce { value, .. } => {
                let dtype = dispatch.dtypes(buffers)[value.0 as usize];
                Self::sum(buffers, dispatch, value, dtype)
            }
            Core::ArgMax { value, .. } => Self::argmax(buffers, dispatch, value),
            Core::Contract { .. } => Self::contract(buffers, dispatch),
        }
    }

    fn map(buffers: &[Buffer], dispatch: &Dispatch) -> Self {
        let roots: Vec<ExprId> = dispatch.stores.iter().map(|store| store.value).collect();
        let wide = dispatch.domain.iter().position(|&size| size >= 16);
        let shared = wide.unwrap_or_else(|| outermost(&dispatch.domain));
        let stores = pieces(dispatch, &roots, true).iter().map(|piece| stores(buffers, piece, shared)).collect();
        Self::assemble(dispatch, shared, CoreLoops::None, stores)
    }

    fn sum(buffers: &[Buffer], dispatch: &Dispatch, value: ExprId, dtype: DType) -> Self {
        let shared = outermost(&dispatch.domain);
        let zero = |piece: &&Piece| match dispatch.expr(piece.resolve(value)) {
            Expr::Const(bits) => f64::from_bits(*bits) == 0.0,
            _ => piece.word(value).is_some_and(|word| *word == Affine::constant(0)),
        };
        let pieces = pieces(dispatch, &[value], true);
        let terms = |piece: &Piece| {
            let order = summing_order(buffers, piece, value);
            let stores = vec![(value, Home::Core, piece.flat())];
            Tape::new(&Wanted { buffers, piece, order: &order, shared, stores })
        };
        let tapes = pieces.iter().filter(|piece| !zero(piece)).map(terms).collect();
        Self::after(buffers, dispatch, shared, CoreLoops::Sum(tapes, dtype))
    }

    fn argmax(buffers: &[Buffer], dispatch: &Dispatch, value: ExprId) -> Self {
        let shared = outermost(&dispatch.domain);
        let piece = &pieces(dispatch, &[value], false)[0];
        let order: Vec<usize> = (0..piece.region.sizes.len()).collect();
        let stores = vec![(value, Home::Core, piece.flat())];
        let tape = Tape::new(&Wanted { buffers, piece, order: &order, shared, stores });
        Self::after(buffers, dispatch, shared, CoreLoops::ArgMax(Box::new(tape)))
    }

    fn contract(buffers: &[Buffer], dispatch: &Dispatch) -> Self {
        let direct = match &dispatch.stores[..] {
            [store] if *dispatch.expr(store.value) == Expr::Acc => Some((Home::Buffer(store.buffer), store.offset)),
            _ => None,
        };
        let offset = direct.map_or(0, |(_, offset)| offset);
        let Core::Contract { batch, rows, .. } = dispatch.core else { unreachable!("a contraction") };
        // The larger side is shared out, so that the smaller is what every unit reads; the other where
        // the outermost coordinate has too few values to keep threads equally busy.
        let columns = batch + rows;
        let wide = numel(&dispatch.domain[columns..]) > numel(&dispatch.domain[batch..columns]);
        let side = columns + outermost(&dispatch.domain[columns..]);
        let first = outermost(&dispatch.domain);
        let values = |axis: usize| dispatch.domain.get(axis).copied().unwrap_or(1);
        let few = values(first) < 4 && values(side) >= 2 * UNIT_ROWS;
        let products = |shared| Products::new(buffers, dispatch, shared, offset).expect("a contraction");
        let (shared, products) = if direct.is_some() && batch == 0 && (wide || few) && !products(side).zeroed() {
            (side, products(side))
        } else {
            (first, products(first))
        };
        let packs = pack(buffers, dispatch, &products);
        let kernel = match direct {
            Some((home, _)) => Self::assemble(dispatch, shared, CoreLoops::Direct(products, home), vec![]),
            None => Self::after(buffers, dispatch, shared, CoreLoops::Products(products)),
        };
        Kernel { packs, ..kernel }
    }

    /// A core followed by the stores, which are not cut.
    fn after(buffers: &[Buffer], dispatch: &Dispatch, shared: usize, core: CoreLoops) -> Self {
        let roots: Vec<ExprId> = dispatch.stores.iter().map(|store| store.value).collect();
        let pieces = pieces(dispatch, &roots, false);
        Self::assemble(dispatch, shared, core, vec![stores(buffers, &pieces[0], shared)])
    }

    fn assemble(dispatch: &Dispatch, shared: usize, core: CoreLoops, stores: Vec<Tape>) -> Self {
        let tapes = match &core {
            CoreLoops::Sum(tapes, _) => &tapes[..],
            CoreLoops::ArgMax(tape) => std::slice::from_ref(&**tape),
            _ => &[],
        };
        let tapes = || tapes.iter().chain(&stores);
        let products = match &core {
            CoreLoops::Products(products) | CoreLoops::Direct(products, _) => Some(products),
            _ => None,
        };
        let size = dispatch.domain.get(shared).copied().unwrap_or(1);
        let stride = numel(dispatch.domain.get(shared + 1..).unwrap_or(&[]));
        let shares = tapes().all(|tape| tape.nest.shares()) && products.is_none_or(Products::shares);
        let work: usize = tapes().map(|tape| tape.nest.points() * tape.weight()).sum();
        let multiplications = numel(&dispatch.domain) * numel(dispatch.core.extent());
        let by_products = match dispatch.core {
            Core::Contract { batch, rows, .. } => {
                let end = if shared < batch + rows { batch + rows } else { dispatch.domain.len() };
                let most = if shared < batch { usize::MAX } else { numel(&dispatch.domain[shared..end]) / UNIT_ROWS };
                (multiplications / UNIT_PRODUCTS).min(most)
            }
            _ => 0,
        };
        let by_work = work / UNIT + by_products;
        let by_tile = if matches!(core, CoreLoops::Products(_)) { size * stride / TILE } else { 0 };
        let count = if shares { by_work.max(by_tile) } else { 1 };
        Kernel { packs: vec![], core, stores, units: Units::new(size, stride, count) }
    }

    /// Elements of the dense copies of a contraction's operands; without the small ones, which are what a thread's columns
    /// are: no array.
    pub fn packed(&self, with_small: bool) -> [usize; 2] {
        let length = |operand: usize| {
            let pack = self.packs.iter().find(|pack| pack.operand == operand && (with_small || !pack.readable));
            pack.map_or(0, |pack| pack.kernel.points())
        };
        [length(0), length(1)]
    }

    fn points(&self) -> usize {
        self.stores.iter().map(|tape| tape.nest.points()).sum()
    }

    pub fn run(&self, threads: &Threads, arrays: &Arrays) {
        self.packs.iter().for_each(|pack| pack.kernel.run(threads, arrays));
        threads.each(self.units.count(), |unit, workspace| self.unit(unit, arrays, workspace));
    }

    /// The same on this thread alone: bounds of units, and with them all sums, stay what they are.
    pub fn run_alone(&self, arrays: &Arrays, workspace: &mut Workspace) {
        self.packs.iter().for_each(|pack| pack.kernel.run_alone(arrays, workspace));
        (0..self.units.count()).for_each(|unit| self.unit(unit, arrays, workspace));
    }

    fn unit(&self, unit: usize, arrays: &Arrays, workspace: &mut Workspace) {
        let (begin, end) = self.units.part(unit);
        let part = (self.units.count() > 1).then_some((begin, end));
        let Workspace { columns, core, .. } = workspace;
        let stride = self.units.stride;
        let len = match &self.core {
            CoreLoops::None | CoreLoops::Direct(..) => 0,
            _ => (end - begin) * stride,
        };
        core.resize(core.len().max(len), 0);
        let core = &mut core[..len];
        // Made anew after whatever wrote to the slice itself, which ends pointers made before.
        let over = |core: &mut [u32]| Arrays { core: Array::part(core, begin * stride), ..*arrays };
        match &self.core {
            CoreLoops::None => {}
            CoreLoops::Sum(tapes, dtype) => {
                core.fill(0);
                let simd = pulp::Arch::new();
                for tape in tapes {
                    tape.fold(part, arrays, columns, |values, lines, block| {
                        let base = lines.base as usize - begin * stride;
                        let places = Places { base, row: lines.row as isize, step: lines.run as usize, run: block.run };
                        match dtype {
                            DType::F32 => sum_floats(simd, core, values, places),
                            DType::U32 => sum_words(simd, core, values, places),
                        }
                    });
                }
            }
            CoreLoops::ArgMax(tape) => {
                let mut search = Search { best: f32::NAN, place: 0, at: None };
                tape.fold(part, arrays, columns, |values, lines, block| {
                    search.take(core, begin * stride, values, lines, block);
                });
            }
            CoreLoops::Products(products) => {
                if products.zeroed() {
                    core.fill(0);
                }
                products.run(part, &over(core), Home::Core);
            }
            CoreLoops::Direct(products, home) => {
                if products.zeroed() {
                    arrays.home(*home).fill(products.offset() + begin * stride, (end - begin) * stride);
                }
                products.run(part, arrays, *home);
            }
        }
        let arrays = &over(core);
        self.stores.iter().for_each(|tape| tape.run(part, arrays, columns));
    }
}

fn stores(buffers: &[Buffer], piece: &Piece, shared: usize) -> Tape {
    let domain = piece.dispatch.domain.len();
    let axes = 0..piece.region.sizes.len();
    let order: Vec<usize> = axes.filter(|&axis| piece.region.origins[axis] < domain).collect();
    let stores = piece.dispatch.stores.iter().map(|store| {
        let place = piece.flat().plus(1, &Affine::constant(store.offset as i64));
        (store.value, Home::Buffer(store.buffer), place)
    });
    Tape::new(&Wanted { buffers, piece, order: &order, shared, stores: stores.collect() })
}

/// Operands that no strided view reaches, computed into dense arrays.
fn pack(buffers: &[Buffer], dispatch: &Dispatch, products: &Products) -> Vec<Pack> {
    let packs = products.operands.iter().enumerate().filter(|(_, operand)| operand.packed);
    let kernel = |(at, operand): (usize, &super::contract::Operand)| {
        let shared = operand.strides.iter().position(|&step| step > 0).unwrap_or(0);
        let depends = |origin: usize| operand.strides[origin] > 0;
        let tape = |piece: &Piece| {
            let axes = 0..piece.region.sizes.len();
            let order: Vec<usize> = axes.filter(|&axis| depends(piece.region.origins[axis])).collect();
            let stores = vec![(operand.value, Home::Packed(at), piece.position(&operand.strides))];
            Tape::new(&Wanted { buffers, piece, order: &order, shared, stores })
        };
        let tapes = pieces(dispatch, &[operand.value], true).iter().map(tape).collect();
        let kernel = Kernel::assemble(dispatch, shared, CoreLoops::None, tapes);
        Pack { operand: at, kernel, readable: operand.readable }
    };
    packs.map(kernel).collect()
}

/// Axes for a sum, outermost first: innermost the one along which most loads lie side by side.
fn summing_order(buffers: &[Buffer], piece: &Piece, value: ExprId) -> Vec<usize> {
    let sizes = &piece.region.sizes;
    let forms = load_forms(buffers, piece, value);
    let neighbours = |axis: usize| forms.iter().filter(|form| form.factor(axis).abs() == 1).count();
    let fast = (0..sizes.len()).filter(|&axis| sizes[axis] > 1).max_by_key(|&axis| neighbours(axis));
    let others = (0..sizes.len()).filter(|&axis| Some(axis) != fast);
    others.chain(fast).collect()
}

/// A search under way: blocks come with the searched axis innermost.
struct Search {
    best: f32,
    place: u32,
    at: Option<usize>,
}

impl Search {
    fn take(&mut self, core: &mut [u32], first: usize, values: &[u32], lines: Lines, block: &Block) {
        for (k, &bits) in values.iter().enumerate() {
            let (row, column) = ((k / block.run) as i64, (k % block.run) as i64);
            let at = (lines.base + row * lines.row + column * lines.run) as usize - first;
            let value = f32::from_bits(bits);
            if self.at == Some(at) {
                self.place += 1;
            } else {
                *self = Search { best: value, place: 0, at: Some(at) };
                core[at] = 0;
            }
            if value > self.best {
                self.best = value;
                core[at] = self.place;
            }
        }
    }
}
