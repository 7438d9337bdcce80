//! The order in which a piece's points are visited, block by block.

use super::affine::{Affine, Region};

/// Most points of a block: its columns stay in the first-level cache.
pub const BLOCK: usize = 1024;

/// An affine form over the axes of a nest.
#[derive(Clone, Debug)]
pub struct Strided {
    base: i64,
    steps: Vec<i64>,
}

/// Loops over a piece; neighbouring axes that every form passes through without a jump are one.
#[derive(Clone, Debug)]
pub struct Nest {
    /// Outermost first. The last is the run, the one before it the rows of a block.
    sizes: Vec<usize>,
    share: Share,
}

/// How a part of one of the dispatch's coordinates maps to a part of the nest.
#[derive(Clone, Debug)]
enum Share {
    /// Coordinate `base + k` is the k-th `per` points of axis `axis`.
    Axis { axis: usize, base: usize, per: usize },
    /// The coordinate has one value in the piece.
    Fixed(usize),
    /// It does not: the piece is visited whole or not at all.
    Whole,
}

/// Neighbouring points: rows of runs.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    outer: &'a [usize],
    row: usize,
    pub rows: usize,
    start: usize,
    pub run: usize,
}

impl Block<'_> {
    pub fn len(&self) -> usize {
        self.rows * self.run
    }
}

/// Where a form leads in a block: `base + row · (step of rows) + k · (step of runs)`.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    pub base: i64,
    pub row: i64,
    pub run: i64,
}

impl Strided {
    pub fn step(&self, axis: usize) -> i64 {
        self.steps[axis]
    }

    /// The value at an index.
    pub fn at(&self, index: &[usize]) -> i64 {
        index.iter().zip(&self.steps).fold(self.base, |sum, (&at, step)| sum + step * at as i64)
    }

    pub fn lines(&self, block: &Block) -> Lines {
        let outer = block.outer.len();
        let (row, run) = (self.steps[outer], self.steps[outer + 1]);
        let base = self.at(block.outer) + row * block.row as i64 + run * block.start as i64;
        Lines { base, row, run }
    }
}

impl Nest {
    /// Loops over the axes `order` of a region, with the forms over them. `shared` is the
    /// coordinate of the dispatch by which work is shared out, if it has any.
    pub fn new(region: &Region, order: &[usize], shared: usize, forms: &[Affine]) -> (Nest, Vec<Strided>) {
        let shared = region.coordinates.get(shared).cloned().unwrap_or(Affine::constant(0));
        let moving: Vec<usize> = order.iter().copied().filter(|&axis| region.sizes[axis] > 1).collect();
        let on: Vec<usize> = moving.iter().copied().filter(|&axis| shared.factor(axis) != 0).collect();
        let shared_axis = match on[..] {
            [axis] if shared.factor(axis) == 1 => Some(axis),
            _ => None,
        };
        // Each loop: its size, the form's step along it, and the axis it began with.
        let mut sizes: Vec<usize> = vec![];
        let mut first: Vec<usize> = vec![];
        let mut last: Vec<usize> = vec![];
        for &axis in &moving {
            let size = region.sizes[axis];
            let joins = last.last().is_some_and(|&outer| {
                let seamless = |form: &Affine| form.factor(outer) == form.factor(axis) * size as i64;
                Some(axis) != shared_axis && forms.iter().all(seamless)
            });
            if joins {
                let at = sizes.len() - 1;
                sizes[at] *= size;
                last[at] = axis;
            } else {
                sizes.push(size);
                first.push(axis);
                last.push(axis);
            }
        }
        let missing = 2usize.saturating_sub(sizes.len());
        let share = match (on.is_empty(), shared_axis) {
            (true, _) => Share::Fixed(shared.constant as usize),
            (_, Some(axis)) => {
                let at = first.iter().position(|&begin| begin == axis).expect("a loop of its own");
                let per = sizes[at] / region.sizes[axis];
                Share::Axis { axis: at + missing, base: shared.constant as usize, per }
            }
            _ => Share::Whole,
        };
        let strided = |form: &Affine| {
            let steps = std::iter::repeat_n(0, missing).chain(last.iter().map(|&axis| form.factor(axis)));
            Strided { base: form.constant, steps: steps.collect() }
        };
        let sizes = std::iter::repeat_n(1, missing).chain(sizes).collect();
        let strides = forms.iter().map(strided).collect();
        (Nest { sizes, share }, strides)
    }

    /// The axis along which work is shared out.
    pub fn shared_axis(&self) -> Option<usize> {
        match self.share {
            Share::Axis { axis, .. } => Some(axis),
            _ => None,
        }
    }

    /// Whether parts of the shared coordinate can be visited by themselves.
    pub fn shares(&self) -> bool {
        match self.share {
            // A part of a run is no longer a whole row.
            Share::Axis { axis, .. } => axis + 1 < self.sizes.len() || self.sizes[axis - 1] == 1,
            Share::Fixed(_) => true,
            Share::Whole => false,
        }
    }

    /// The same for loops that need no whole rows.
    pub fn shares_loops(&self) -> bool {
        !matches!(self.share, Share::Whole)
    }

    /// Whether a form visits a block's points one after the other.
    pub fn is_contiguous(&self, form: &Strided) -> bool {
        let [.., rows, run] = self.sizes[..] else { unreachable!("a nest has two axes") };
        let [.., row_step, run_step] = form.steps[..] else { unreachable!("a form has a step an axis") };
        run_step == 1 && (rows == 1 || run > BLOCK || row_step == run as i64)
    }

    /// Number of points.
    pub fn points(&self) -> usize {
        self.sizes.iter().product()
    }

    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// First and last-but-one place of each axis where the shared coordinate is in `part`; the whole
    /// nest for `None`, nothing where they do not meet.
    pub fn window(&self, part: Part) -> Option<Window> {
        let (mut from, mut to) = ([0; MOST_AXES], [0; MOST_AXES]);
        to[..self.sizes.len()].copy_from_slice(&self.sizes);
        match (part, &self.share) {
            (Some((begin, end)), &Share::Axis { axis, base, per }) => {
                let clip = |at: usize| (at.saturating_sub(base) * per).min(self.sizes[axis]);
                (from[axis], to[axis]) = (clip(begin), clip(end));
                (from[axis] < to[axis]).then_some((from, to))
            }
            (Some((begin, end)), Share::Fixed(at)) => (begin..end).contains(at).then_some((from, to)),
            _ => Some((from, to)),
        }
    }

    /// Visits the blocks in which the shared coordinate is in `part`, each with the one that comes after it.
    pub fn blocks(&self, part: Part, mut visit: impl FnMut(&Block, Option<&Block>)) {
        let Some((from, to)) = self.window(part) else { return };
        let outer = self.sizes.len() - 2;
        let most_rows = (BLOCK / (to[outer + 1] - from[outer + 1])).max(1);
        let (mut index, mut after) = (from, from);
        loop {
            let more = advance(&mut after[..outer], &from, &to);
            let block = |index, row: usize, start: usize| {
                let (rows, run) = (most_rows.min(to[outer] - row), BLOCK.min(to[outer + 1] - start));
                Block { outer: index, row, rows, start, run }
            };
            for row in (from[outer]..to[outer]).step_by(most_rows) {
                for start in (from[outer + 1]..to[outer + 1]).step_by(BLOCK) {
                    let next = if start + BLOCK < to[outer + 1] {
                        Some(block(&index[..outer], row, start + BLOCK))
                    } else if row + most_rows < to[outer] {
                        Some(block(&index[..outer], row + most_rows, from[outer + 1]))
                    } else {
                        more.then(|| block(&after[..outer], from[outer], from[outer + 1]))
                    };
                    visit(&block(&index[..outer], row, start), next.as_ref());
                }
            }
            if !more {
                return;
            }
            index = after;
        }
    }
}

/// Most axes of a nest.
pub const MOST_AXES: usize = 24;

/// Range of the shared coordinate.
pub type Part = Option<(usize, usize)>;

/// Where a part begins and ends along each axis.
pub type Window = ([usize; MOST_AXES], [usize; MOST_AXES]);

/// Visits every index from `from` up to `to` (exclusive), the last axis fastest.
pub fn each_index(from: &[usize], to: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut index = [0; MOST_AXES];
    let index = &mut index[..from.len()];
    index.copy_from_slice(from);
    loop {
        visit(index);
        if !advance(index, from, to) {
            return;
        }
    }
}

/// Goes on to the next index, if there is one.
fn advance(index: &mut [usize], from: &[usize], to: &[usize]) -> bool {
    let Some(axis) = (0..index.len()).rev().find(|&axis| index[axis] + 1 < to[axis]) else { return false };
    index[axis] += 1;
    let len = index.len();
    index[axis + 1..].copy_from_slice(&from[axis + 1..len]);
    true
}
