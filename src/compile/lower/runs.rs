//! Runs of a vector: other vectors end to end, values repeated, sums.
//!
//! Where runs begin is known, so what differs from run to run is chosen by comparisons with constants. The processor
//! engine cuts its loops there.

use super::Lowering;
use crate::compile::index::{EmitWords, Inside, Word};
use crate::compile::{BufferIndex, Core, Expr, ExprId, MAX_EXTENT};
use crate::ir::{DType, Node, Op, Run, Scalar};

/// The fewest terms of a sum that takes two dispatches.
const LONG: usize = 512;

/// How sums of runs are cut: into chunks of one length, or shorter at the end of a run. Those of a value follow one
/// another, and each value has at least one.
pub struct Chunks {
    length: usize,
    /// First chunk of each run, where the run begins, and its length; a value without runs has one of no length.
    runs: Vec<(usize, usize, usize)>,
    /// First chunk of each value, and how many it has.
    values: Vec<(usize, usize)>,
    /// Chunks altogether.
    count: usize,
}

impl Chunks {
    /// Those of a node that sums runs.
    pub fn of(node: &Node) -> Option<Chunks> {
        let Op::SegmentSum { runs } = &node.op else { return None };
        let mut of_value = vec![vec![]; node.shape[0]];
        let mut start = 0;
        for &Run { length, value } in runs {
            if let Some(value) = value {
                of_value[value].push((start, length));
            }
            start += length;
        }
        of_value.iter_mut().filter(|runs| runs.is_empty()).for_each(|runs| runs.push((0, 0)));
        let lengths = || of_value.iter().flatten().map(|&(_, length)| length);
        let (total, longest) = (lengths().sum::<usize>(), lengths().max().unwrap_or_default());
        // As many chunks as each has elements.
        let length = if total < LONG { longest } else { total.isqrt().min(MAX_EXTENT).min(longest) }.max(1);
        let mut chunks = Chunks { length, runs: vec![], values: vec![], count: 0 };
        for runs in of_value {
            let first = chunks.count;
            for (start, elements) in runs {
                chunks.runs.push((chunks.count, start, elements));
                chunks.count += elements.div_ceil(length).max(1);
            }
            chunks.values.push((first, chunks.count - first));
        }
        Some(chunks)
    }

    /// The chunks, if they are summed in a dispatch of their own; 1 if each value has only one.
    pub fn parts(&self) -> usize {
        if self.count > self.values.len() { self.count } else { 1 }
    }

    /// The domain of the dispatch that sums the chunks.
    pub fn domain(&self) -> Vec<usize> {
        vec![self.count]
    }

    /// Terms of all sums.
    pub fn points(&self) -> usize {
        self.count * self.length
    }

    /// From which chunk on its first element is how far from that of chunk 0 if chunks followed without rests.
    fn offsets(&self) -> Vec<(usize, u32)> {
        let offset =
            |&(first, start, _): &(usize, usize, usize)| (start as u32).wrapping_sub((first * self.length) as u32);
        self.runs.iter().map(|run| (run.0, offset(run))).collect()
    }

    /// From which chunk on a chunk has how many elements.
    fn lengths(&self) -> Vec<(usize, u32)> {
        let mut lengths = vec![];
        for &(first, _, elements) in &self.runs {
            let (whole, rest) = (elements / self.length, elements % self.length);
            if whole > 0 {
                lengths.push((first, self.length as u32));
            }
            if rest > 0 || whole == 0 {
                lengths.push((first + whole, rest as u32));
            }
        }
        lengths
    }
}

impl Lowering<'_> {
    /// The word of the last of the choices whose place is not above `word`; the first place is 0.
    fn choice(&mut self, word: &Word, choices: &[(usize, u32)]) -> ExprId {
        let Some((&(mut after, mut first), before)) = choices.split_last() else { return self.exprs.word(0) };
        let mut chosen = self.exprs.word(first);
        for &(place, value) in before.iter().rev() {
            if value != first {
                let other = self.exprs.word(value);
                match self.inside(word, after) {
                    Inside::Always => chosen = other,
                    Inside::If(below) => chosen = self.exprs.scalar(Scalar::Select, &[below, other, chosen]),
                    Inside::Never => {}
                }
            }
            (after, first) = (place, value);
        }
        chosen
    }

    /// A choice among the parts by position.
    pub(super) fn concat(&mut self, node: &Node, position: &Word, guard: Option<ExprId>) -> ExprId {
        let mut value = None;
        let mut end = node.shape[0];
        for &part in node.args.iter().rev() {
            let length = self.graph.shape(part)[0];
            end -= length;
            let local = position.offset(-(end as i64));
            let condition = match self.inside(&local, length) {
                Inside::Never => continue,
                Inside::Always => None,
                Inside::If(condition) => Some(condition),
            };
            let guard = self.exprs.both(guard, condition);
            let here = self.value(part, &[local.below(length)], guard);
            value = Some(match (value, condition) {
                (Some(rest), Some(condition)) => self.exprs.scalar(Scalar::Select, &[condition, here, rest]),
                _ => here,
            });
        }
        value.unwrap_or_else(|| self.zero(node.dtype))
    }

    /// A vector's value repeated along runs, at a position.
    pub(super) fn repeat(&mut self, node: &Node, runs: &[Run], position: &Word, guard: Option<ExprId>) -> ExprId {
        let (mut values, mut filled) = (vec![], vec![]);
        // A gap takes the value before it, so that nothing is chosen there.
        let mut value = runs.iter().find_map(|run| run.value).unwrap_or_default();
        let mut start = 0;
        for run in runs {
            value = run.value.unwrap_or(value);
            values.push((start, value as u32));
            filled.push((start, u32::from(run.value.is_some())));
            start += run.length;
        }
        let filled = self.choice(position, &filled);
        let filled = match self.exprs.as_word(filled) {
            Some(0) => return self.zero(node.dtype),
            Some(_) => None,
            None => Some(filled),
        };
        let guard = self.exprs.both(guard, filled);
        let value = self.choice(position, &values);
        let index = self.word_of(value, self.graph.shape(node.args[0])[0]);
        let value = self.value(node.args[0], &[index], guard);
        self.guarded(value, filled, node.dtype)
    }

    /// An expression as a word, which is below `count`.
    fn word_of(&self, id: ExprId, count: usize) -> Word {
        self.exprs.as_word(id).map_or_else(|| Word::atom(id, count), |word| Word::constant(word as usize))
    }

    /// The loop over a chunk: of a value, or one of many.
    pub(super) fn chunk(&mut self, node: &Node, chunks: &Chunks) -> Core {
        let chunk = self.atoms(Expr::Coord, &chunks.domain()).remove(0);
        let within = self.atoms(Expr::Reduced, &[chunks.length]).remove(0);
        let offset = self.choice(&chunk, &chunks.offsets());
        let length = self.choice(&chunk, &chunks.lengths());
        let before = self.emit(&chunk.times(chunks.length as i64).plus(&within));
        let position = self.exprs.scalar(Scalar::AddU, &[before, offset]);
        let (position, guard) = self.first_of(position, &within, length, chunks.length);
        let index = self.word_of(position, self.graph.shape(node.args[0])[0]);
        let value = self.operand(node.args[0], &[index], guard);
        Core::Reduce { extent: vec![chunks.length], value }
    }

    /// The loop over the chunks of a value, whose sums lie in a buffer.
    pub(super) fn sum_of_chunks(&mut self, dtype: DType, chunks: &Chunks, partial: BufferIndex) -> Core {
        let most = chunks.values.iter().map(|&(_, count)| count).max().unwrap_or(1);
        let value = self.atoms(Expr::Coord, &[chunks.values.len()]).remove(0);
        let within = self.atoms(Expr::Reduced, &[most]).remove(0);
        let each = |property: fn(&(usize, usize)) -> usize| -> Vec<(usize, u32)> {
            chunks.values.iter().map(|value| property(value) as u32).enumerate().collect()
        };
        let first = self.choice(&value, &each(|value| value.0));
        let count = self.choice(&value, &each(|value| value.1));
        let place = self.emit(&within);
        let position = self.exprs.scalar(Scalar::AddU, &[place, first]);
        let (index, guard) = self.first_of(position, &within, count, most);
        let load = self.exprs.push(Expr::Load { buffer: partial, index });
        Core::Reduce { extent: vec![most], value: self.guarded(load, guard, dtype) }
    }

    /// A position of which only the first `count` places `within` a loop of so many exist, and where it does; elsewhere
    /// it is 0.
    fn first_of(&mut self, position: ExprId, within: &Word, count: ExprId, of: usize) -> (ExprId, Option<ExprId>) {
        if self.exprs.as_word(count) == Some(of as u32) {
            return (position, None);
        }
        let (place, zero) = (self.emit(within), self.exprs.word(0));
        let exists = self.exprs.scalar(Scalar::LtU, &[place, count]);
        (self.exprs.scalar(Scalar::Select, &[exists, position, zero]), Some(exists))
    }
}
