//! Expressions as a list of column operations, and their run over a block.

#![allow(unsafe_code, reason = "the last step of a store computes where it goes")]

use std::collections::HashMap;

use super::affine::{Affine, Piece};
use super::array::{Arrays, Home};
use super::columns::function;
use super::nest::{BLOCK, Block, Lines, Nest, Part, Strided};
use crate::compile::{Buffer, Expr, ExprId};
use crate::ir::Scalar;
use pulp::Arch;
use stackelberg_columns::{self as columns, Function};

/// The steps of a tape in one block, and its stores.
struct Steps<'a> {
    tape: &'a Tape,
    stores: &'a [Store],
    block: &'a Block<'a>,
    /// The block after it.
    next: Option<&'a Block<'a>>,
    arrays: &'a Arrays<'a>,
    columns: &'a mut [u32],
    simd: Arch,
}

// Not a closure: its body would be compiled without the vector instructions it is dispatched to.
impl pulp::WithSimd for Steps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let steps = &self.tape.steps;
        // What the next block takes comes near meanwhile, a part beside each step.
        let share = |at: usize| at * (self.tape.loads.len() + self.stores.len()) / steps.len();
        for (at, step) in steps.iter().enumerate() {
            self.tape.step(step, self.block, self.arrays, self.columns, self.simd);
            (share(at)..share(at + 1)).for_each(|place| self.prefetch(place));
        }
        let elsewhere = |(at, store): &(usize, &Store)| store.value != Operand::Stored(*at);
        for (_, store) in self.stores.iter().enumerate().filter(elsewhere) {
            let values = self.tape.operand(store.value, self.block, self.arrays, self.columns);
            self.arrays.home(store.home).scatter(store.form.lines(self.block), self.block, values);
        }
    }
}

impl Steps<'_> {
    /// Asks for what the next block takes of a load or, after the loads, of a store.
    #[inline(always)]
    fn prefetch(&self, place: usize) {
        let Some(next) = self.next else { return };
        let (home, form) = match self.tape.loads.get(place) {
            Some((home, form)) => (*home, form),
            None => {
                let Store { home, form, .. } = &self.stores[place - self.tape.loads.len()];
                (*home, form)
            }
        };
        self.arrays.home(home).prefetch(form.lines(next), next, place >= self.tape.loads.len());
    }
}

/// Where values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operand {
    Column(usize),
    /// Loads by position, used where they lie.
    Load(usize),
    /// Stores by position, computed where they go.
    Stored(usize),
}

#[derive(Clone, Debug)]
enum Action {
    /// Copies a load's values.
    Copy(usize),
    /// Values of an affine form.
    Count(usize),
    /// Elements of an array by computed indices.
    Gather(Home),
    Apply(Function),
}

#[derive(Clone, Debug)]
struct Step {
    action: Action,
    args: Vec<Operand>,
    /// A column or a store.
    out: Operand,
}

struct Store {
    home: Home,
    form: Strided,
    value: Operand,
}

/// A piece's loops with the operations inside.
pub struct Tape {
    pub nest: Nest,
    loads: Vec<(Home, Strided)>,
    counts: Vec<Strided>,
    constants: Vec<(usize, u32)>,
    steps: Vec<Step>,
    stores: Vec<Store>,
    /// Columns it needs.
    columns: usize,
}

/// What a tape is made for.
pub struct Wanted<'a> {
    pub buffers: &'a [Buffer],
    pub piece: &'a Piece<'a>,
    /// Axes from the outermost in.
    pub order: &'a [usize],
    /// Coordinate by which work is shared out.
    pub shared: usize,
    /// Values and where each goes.
    pub stores: Vec<(ExprId, Home, Affine)>,
}

/// What a value is before columns are given out.
enum Node {
    Load(Home, Affine),
    Count(Affine),
    Constant(u32),
    Gather(Home, usize),
    Apply(Scalar, Vec<usize>),
}

/// Values in order of computation, each once.
struct Nodes<'a> {
    wanted: &'a Wanted<'a>,
    nodes: Vec<Node>,
    of: HashMap<ExprId, usize>,
}

impl<'a> Nodes<'a> {
    fn new(wanted: &'a Wanted<'a>) -> Self {
        Nodes { wanted, nodes: vec![], of: HashMap::new() }
    }

    fn add(&mut self, id: ExprId) -> usize {
        let piece = self.wanted.piece;
        let id = piece.resolve(id);
        if let Some(&at) = self.of.get(&id) {
            return at;
        }
        let node = match (piece.word(id), piece.dispatch.expr(id)) {
            (Some(form), _) if form.is_constant() => Node::Constant(form.constant as u32),
            (Some(form), _) => Node::Count(form.clone()),
            (_, Expr::Const(bits)) => Node::Constant((f64::from_bits(*bits) as f32).to_bits()),
            (_, Expr::Acc) => Node::Load(Home::Core, piece.flat()),
            (_, &Expr::Load { buffer, index }) => {
                let len = self.wanted.buffers[buffer.0 as usize].len;
                match piece.place(index, len) {
                    Some(place) => Node::Load(Home::Buffer(buffer), place),
                    None => Node::Gather(Home::Buffer(buffer), self.add(index)),
                }
            }
            (_, Expr::Scalar(f, args)) => Node::Apply(*f, args.iter().map(|&arg| self.add(arg)).collect()),
            (None, Expr::ConstU(_) | Expr::Flat | Expr::Coord(_) | Expr::Reduced(_)) => {
                unreachable!("coordinates are affine")
            }
        };
        self.nodes.push(node);
        self.of.insert(id, self.nodes.len() - 1);
        self.nodes.len() - 1
    }
}

/// Columns that are free, and how many there are.
#[derive(Default)]
struct Columns {
    free: Vec<usize>,
    count: usize,
}

impl Columns {
    fn add(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }

    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| self.add())
    }
}

/// Forms of the loads that a value needs in a piece.
pub fn load_forms(buffers: &[Buffer], piece: &Piece, value: ExprId) -> Vec<Affine> {
    let wanted = Wanted { buffers, piece, order: &[], shared: 0, stores: vec![] };
    let mut nodes = Nodes::new(&wanted);
    nodes.add(value);
    let form = |node: Node| match node {
        Node::Load(_, form) => Some(form),
        _ => None,
    };
    nodes.nodes.into_iter().filter_map(form).collect()
}

impl Tape {
    pub fn new(wanted: &Wanted) -> Tape {
        let mut nodes = Nodes::new(wanted);
        let roots: Vec<usize> = wanted.stores.iter().map(|(value, ..)| nodes.add(*value)).collect();
        let nodes = nodes.nodes;
        let mut forms: Vec<Affine> = wanted.stores.iter().map(|(_, _, form)| form.clone()).collect();
        forms.extend(nodes.iter().filter_map(|node| match node {
            Node::Load(_, form) | Node::Count(form) => Some(form.clone()),
            _ => None,
        }));
        let (nest, strided) = Nest::new(&wanted.piece.region, wanted.order, wanted.shared, &forms);
        let mut strided = strided.into_iter();
        let stores: Vec<Strided> = strided.by_ref().take(roots.len()).collect();

        let mut last_use = vec![0; nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            match node {
                Node::Gather(_, arg) => last_use[*arg] = at,
                Node::Apply(_, args) => args.iter().for_each(|&arg| last_use[arg] = at),
                _ => {}
            }
        }
        roots.iter().for_each(|&root| last_use[root] = nodes.len());
        let reads = |home: Home| {
            nodes.iter().any(|node| matches!(node, Node::Load(read, _) | Node::Gather(read, _) if *read == home))
        };
        // Nothing of an array is overwritten before all of the block is read; a fold's values go nowhere by themselves.
        let direct: Vec<bool> = (wanted.stores.iter().zip(&stores))
            .map(|((_, home, _), form)| *home != Home::Core && !reads(*home) && nest.is_contiguous(form))
            .collect();
        let mut tape =
            Tape { nest, loads: vec![], counts: vec![], constants: vec![], steps: vec![], stores: vec![], columns: 0 };
        let mut columns = Columns::default();
        let mut operands: Vec<Operand> = vec![];
        for (at, node) in nodes.iter().enumerate() {
            let (action, args) = match node {
                Node::Constant(bits) => {
                    // Filled once for all blocks, so the column is no other value's.
                    let column = columns.add();
                    tape.constants.push((column, *bits));
                    operands.push(Operand::Column(column));
                    continue;
                }
                Node::Load(home, _) => {
                    let form = strided.next().expect("a form of each load");
                    // A store may change what a later one still needs, if that were read where it lies.
                    let contiguous = tape.nest.is_contiguous(&form) && !(roots.len() > 1 && roots.contains(&at));
                    tape.loads.push((*home, form));
                    let load = tape.loads.len() - 1;
                    if contiguous {
                        operands.push(Operand::Load(load));
                        continue;
                    }
                    (Action::Copy(load), vec![])
                }
                Node::Count(_) => {
                    tape.counts.push(strided.next().expect("a form of each count"));
                    (Action::Count(tape.counts.len() - 1), vec![])
                }
                Node::Gather(home, index) => (Action::Gather(*home), vec![*index]),
                Node::Apply(f, args) => (Action::Apply(function(*f)), args.clone()),
            };
            let store = (0..roots.len()).find(|&store| roots[store] == at && direct[store]);
            let out = store.map_or_else(|| Operand::Column(columns.take()), Operand::Stored);
            for &arg in &args {
                let dead = last_use[arg] == at && !matches!(nodes[arg], Node::Constant(_));
                if let (true, Operand::Column(column)) = (dead, operands[arg])
                    && !columns.free.contains(&column)
                {
                    columns.free.push(column);
                }
            }
            operands.push(out);
            tape.steps.push(Step { action, args: args.iter().map(|&arg| operands[arg]).collect(), out });
        }
        let values = roots.iter().map(|&root| operands[root]);
        tape.stores = (wanted.stores.iter().zip(stores).zip(values))
            .map(|(((_, home, _), form), value)| Store { home: *home, form, value })
            .collect();
        tape.columns = columns.count;
        tape
    }

    /// Rough number of column operations of one point.
    pub fn weight(&self) -> usize {
        self.steps.len() + self.stores.len()
    }

    /// Runs the blocks of a part of the shared coordinate and stores the values.
    pub fn run(&self, part: Part, arrays: &Arrays, columns: &mut Vec<u32>) {
        self.each(part, arrays, columns, &self.stores, |_, _| {});
    }

    /// Runs the blocks and calls `take(values, where they go, block)` for the only store.
    pub fn fold(
        &self,
        part: Part,
        arrays: &Arrays,
        columns: &mut Vec<u32>,
        mut take: impl FnMut(&[u32], Lines, &Block),
    ) {
        let [store] = &self.stores[..] else { unreachable!("one value to fold") };
        self.each(part, arrays, columns, &[], |block, columns| {
            take(self.operand(store.value, block, arrays, columns), store.form.lines(block), block);
        });
    }

    fn each(
        &self,
        part: Part,
        arrays: &Arrays,
        columns: &mut Vec<u32>,
        stores: &[Store],
        mut then: impl FnMut(&Block, &[u32]),
    ) {
        columns.resize(columns.len().max(self.columns * BLOCK), 0);
        for &(column, bits) in &self.constants {
            columns[column * BLOCK..(column + 1) * BLOCK].fill(bits);
        }
        let simd = Arch::new();
        self.nest.blocks(part, |block, next| {
            simd.dispatch(Steps { tape: self, stores, block, next, arrays, columns, simd });
            then(block, columns);
        });
    }

    #[inline(always)]
    fn operand<'a>(&self, operand: Operand, block: &Block, arrays: &Arrays, columns: &'a [u32]) -> &'a [u32] {
        let (home, form) = match operand {
            Operand::Column(column) => return &columns[column * BLOCK..][..block.len()],
            Operand::Load(load) => (self.loads[load].0, &self.loads[load].1),
            Operand::Stored(store) => (self.stores[store].home, &self.stores[store].form),
        };
        arrays.home(home).slice(form.lines(block), block)
    }

    #[inline(always)]
    fn step(&self, step: &Step, block: &Block, arrays: &Arrays, columns: &mut [u32], simd: Arch) {
        // The output is none of the arguments.
        let (before, out, after) = match step.out {
            Operand::Column(column) => {
                let (before, rest) = columns.split_at_mut(column * BLOCK);
                let (out, after) = rest.split_at_mut(BLOCK);
                (&*before, &mut out[..block.len()], &*after)
            }
            Operand::Stored(store) => {
                let Store { home, form, .. } = &self.stores[store];
                // SAFETY: no step reads an array of a store that is computed where it goes, but what another step has put
                // there before; so no argument of this one is a slice of these elements.
                (&*columns, unsafe { arrays.home(*home).slice_mut(form.lines(block), block) }, &[][..])
            }
            Operand::Load(_) => unreachable!("a load is no result"),
        };
        let argument = |operand: &Operand| match *operand {
            Operand::Column(column) if column * BLOCK >= before.len() => {
                &after[column * BLOCK - before.len() - BLOCK..][..block.len()]
            }
            operand => self.operand(operand, block, arrays, before),
        };
        match &step.action {
            Action::Copy(load) => {
                let (home, form) = &self.loads[*load];
                arrays.home(*home).gather(form.lines(block), block, out);
            }
            Action::Count(count) => {
                let lines = self.counts[*count].lines(block);
                for (row, out) in out.chunks_mut(block.run).enumerate() {
                    columns::count(out, (lines.base + row as i64 * lines.row) as u32, lines.run as u32);
                }
            }
            Action::Gather(home) => {
                let (array, indices) = (arrays.home(*home), argument(&step.args[0]));
                array.pick(indices, out);
            }
            Action::Apply(f) => {
                let mut args: [&[u32]; 4] = [&[]; 4];
                args.iter_mut().zip(&step.args).for_each(|(slot, operand)| *slot = argument(operand));
                f(simd, args, out);
            }
        }
    }
}
