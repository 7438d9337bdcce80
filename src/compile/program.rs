//! The compiled program: plain data that every engine runs and people can read.
//!
//! A program is a list of dispatches over planned buffers. A dispatch is one of four loop
//! skeletons ([`Core`]) whose holes are filled by scalar expressions ([`Expr`]) over coordinates
//! and loads; nothing in it is WGSL.

use std::collections::BTreeSet;

use crate::ir::{DType, Scalar};

/// Position of a buffer in [`Program::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferIndex(pub u32);

/// Position of an expression in [`Dispatch::exprs`]; arguments come before their users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub u32);

/// Where a buffer of a program lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Given by the caller, read only.
    Input(usize),
    /// Given by the caller, written.
    Output(usize),
    /// The caller's input `input` updated in place as output `output`.
    InPlace {
        /// Position of the input.
        input: usize,
        /// Position of the output.
        output: usize,
    },
    /// Scratch memory: slot of [`Program::scratch`].
    Scratch(usize),
}

/// One array of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// In the words of the graph; messages and printed programs call it so.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Elements (each four bytes on a device), those of one member.
    pub len: usize,
    /// How many of it there are: one for each member of a population, or 1 where they share it.
    pub copies: usize,
    /// Elements from a member's copy to the next one's; 0 where there is but one. The copies of what shares a slot of
    /// scratch memory lie equally far apart, so that members may be at different places of the program.
    pub step: usize,
    /// Who owns it.
    pub place: Place,
}

/// A scalar expression. Its type follows from its parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A float constant, by its f64 bits.
    Const(u64),
    /// A word.
    ConstU(u32),
    /// Row-major index of the element within [`Dispatch::domain`].
    Flat,
    /// Coordinate along an axis of the domain.
    Coord(usize),
    /// Coordinate along an axis of the core's reduced extent.
    Reduced(usize),
    /// What the core computed for this element.
    Acc,
    /// An element of a buffer. The index is always in range.
    Load {
        /// The buffer.
        buffer: BufferIndex,
        /// Position of the element in it, a word.
        index: ExprId,
    },
    /// A row of the pointwise table with its arguments.
    Scalar(Scalar, Vec<ExprId>),
}

/// Most terms of a core's sum or search (the product of its extent). Longer ones are split into
/// several dispatches: Mesa's llvmpipe silently ends an invocation's loops after 65,535 rounds in
/// all, those of outer loops included.
pub const MAX_EXTENT: usize = 32_767;

/// The loop around a dispatch's expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum Core {
    /// No loop: the stores alone.
    Map,
    /// Acc = Σ `value` over `extent` (row-major order); floats or words.
    Reduce {
        /// Sizes of the axes summed over.
        extent: Vec<usize>,
        /// The term, of `Coord`, `Reduced` and loads.
        value: ExprId,
    },
    /// Acc = first index along `extent` with the largest `value`.
    ArgMax {
        /// Elements compared.
        extent: usize,
        /// The element.
        value: ExprId,
    },
    /// Acc = Σ `a` · `b` over `extent`. The domain's axes are `batch` axes, then `rows` axes, then
    /// column axes; `a` does not depend on the column axes, `b` not on the row axes.
    Contract {
        /// Number of batch axes.
        batch: usize,
        /// Number of row axes.
        rows: usize,
        /// Sizes of the axes summed over.
        extent: Vec<usize>,
        /// Left factor of a term.
        a: ExprId,
        /// Right factor of a term.
        b: ExprId,
    },
}

/// One value written per element of the domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Where it is written.
    pub buffer: BufferIndex,
    /// Position of the value for domain element i: `offset + i`.
    pub offset: usize,
    /// What is written.
    pub value: ExprId,
}

/// One loop with what it stores.
///
/// Stores may use `Acc`, `Flat`, `Coord` and loads; values inside the core may use `Coord`,
/// `Reduced` and loads (never `Flat` or `Acc`). A buffer that the dispatch writes is read, if at
/// all, only at the position it writes for the same element.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// What it computes, in the words of the graph.
    pub label: String,
    /// Sizes of the axes that it has an element for; row-major.
    pub domain: Vec<usize>,
    /// The loop of each element.
    pub core: Core,
    /// All expressions of the core and the stores; each stands after its arguments.
    pub exprs: Vec<Expr>,
    /// What each element writes.
    pub stores: Vec<Store>,
}

/// A compiled graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its name, for messages and profiles.
    pub name: String,
    /// Every array that it touches: inputs, outputs, scratch.
    pub buffers: Vec<Buffer>,
    /// Buffers of the inputs and outputs by position. A buffer may be an input and an output
    /// ([`Place::InPlace`]).
    pub inputs: Vec<BufferIndex>,
    /// See `inputs`.
    pub outputs: Vec<BufferIndex>,
    /// Bytes of each scratch slot.
    pub scratch: Vec<usize>,
    /// The loops, in their order.
    pub dispatches: Vec<Dispatch>,
    /// How many of them each launch of a kernel runs, in any order or at once: they do not need each other.
    pub launches: Vec<usize>,
    /// For how many members of a population it runs at once; each sees its own copy of every buffer that has some, as
    /// if it ran alone.
    pub members: usize,
}

impl Buffer {
    /// Elements from the first one of the first copy to the last one of the last.
    pub fn elements(&self) -> usize {
        self.step * (self.copies - 1) + self.len
    }
}

impl Expr {
    /// Expressions it is made of.
    pub fn args(&self) -> impl Iterator<Item = ExprId> + '_ {
        let args = match self {
            Expr::Load { index, .. } => std::slice::from_ref(index),
            Expr::Scalar(_, args) => args,
            _ => &[],
        };
        args.iter().copied()
    }

    pub(super) fn args_mut(&mut self) -> impl Iterator<Item = &mut ExprId> {
        let args = match self {
            Expr::Load { index, .. } => std::slice::from_mut(index),
            Expr::Scalar(_, args) => args,
            _ => &mut [],
        };
        args.iter_mut()
    }
}

impl Core {
    /// The expressions evaluated at each step of the loop.
    pub fn values(&self) -> impl Iterator<Item = ExprId> {
        let (first, second) = match *self {
            Core::Map => (None, None),
            Core::Reduce { value, .. } | Core::ArgMax { value, .. } => (Some(value), None),
            Core::Contract { a, b, .. } => (Some(a), Some(b)),
        };
        first.into_iter().chain(second)
    }

    /// Sizes of the axes it loops over.
    pub fn extent(&self) -> &[usize] {
        match self {
            Core::Map => &[],
            Core::ArgMax { extent, .. } => std::slice::from_ref(extent),
            Core::Reduce { extent, .. } | Core::Contract { extent, .. } => extent,
        }
    }
}

impl Dispatch {
    /// The expressions that the core and the stores evaluate.
    pub fn roots(&self) -> impl Iterator<Item = ExprId> {
        self.core.values().chain(self.stores.iter().map(|store| store.value))
    }

    pub(super) fn roots_mut(&mut self) -> impl Iterator<Item = &mut ExprId> {
        let (first, second) = match &mut self.core {
            Core::Map => (None, None),
            Core::Reduce { value, .. } | Core::ArgMax { value, .. } => (Some(value), None),
            Core::Contract { a, b, .. } => (Some(a), Some(b)),
        };
        first.into_iter().chain(second).chain(self.stores.iter_mut().map(|store| &mut store.value))
    }

    /// Buffers it loads from, in order, each once.
    pub fn loads(&self) -> BTreeSet<BufferIndex> {
        let buffer = |expr: &Expr| match expr {
            Expr::Load { buffer, .. } => Some(*buffer),
            _ => None,
        };
        self.exprs.iter().filter_map(buffer).collect()
    }

    /// Buffers it stores to, in order, each once.
    pub fn writes(&self) -> BTreeSet<BufferIndex> {
        self.stores.iter().map(|store| store.buffer).collect()
    }

    /// Buffers it loads from or stores to.
    pub fn touches(&self) -> BTreeSet<BufferIndex> {
        self.loads().union(&self.writes()).copied().collect()
    }

    /// Type of each expression.
    pub fn dtypes(&self, buffers: &[Buffer]) -> Vec<DType> {
        let mut dtypes: Vec<DType> = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            dtypes.push(match expr {
                Expr::Const(_) => DType::F32,
                Expr::ConstU(_) | Expr::Flat | Expr::Coord(_) | Expr::Reduced(_) => DType::U32,
                Expr::Load { buffer, .. } => buffers[buffer.0 as usize].dtype,
                Expr::Scalar(Scalar::Select, args) => dtypes[args[1].0 as usize],
                Expr::Scalar(f, _) => f.signature().1,
                Expr::Acc => match self.core {
                    Core::Reduce { value, .. } => dtypes[value.0 as usize],
                    Core::ArgMax { .. } => DType::U32,
                    Core::Map | Core::Contract { .. } => DType::F32,
                },
            });
        }
        dtypes
    }

    /// An expression of this dispatch.
    pub fn expr(&self, id: ExprId) -> &Expr {
        &self.exprs[id.0 as usize]
    }
}

/// What the dispatches of a launch compute.
pub fn label(launch: &[Dispatch]) -> String {
    launch.iter().map(|dispatch| &*dispatch.label).collect::<Vec<_>>().join("; ")
}

impl Program {
    /// One without buffers and dispatches, for one member.
    pub(super) fn new(name: &str) -> Self {
        Program {
            name: name.to_owned(),
            buffers: vec![],
            inputs: vec![],
            outputs: vec![],
            scratch: vec![],
            dispatches: vec![],
            launches: vec![],
            members: 1,
        }
    }

    /// The dispatches of each launch.
    pub fn launches(&self) -> impl Iterator<Item = &[Dispatch]> {
        let mut rest = &self.dispatches[..];
        self.launches.iter().map(move |&count| {
            let (launch, after) = rest.split_at(count);
            rest = after;
            launch
        })
    }

    /// A buffer of this program.
    pub fn buffer(&self, index: BufferIndex) -> &Buffer {
        &self.buffers[index.0 as usize]
    }

    /// Bytes of scratch memory while the program runs.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch.iter().sum()
    }
}
