//! The arrays of a running dispatch, which several threads write parts of.

#![allow(unsafe_code, reason = "threads share arrays and write disjoint parts; each place says why it may")]

use super::nest::{Block, Lines};
use crate::compile::BufferIndex;

/// Where a load or a store goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    Buffer(BufferIndex),
    /// What the core computed for the unit at hand.
    Core,
    /// The first or second operand of a contraction, computed beforehand.
    Packed(usize),
}

/// The arrays that a dispatch touches.
///
/// Units of a dispatch write disjoint parts and read none that another writes: `compile::verify`
/// proves it for the program (a buffer that a dispatch writes is read only at the position it
/// writes for the same element), and each unit has a core array of its own.
#[derive(Clone, Copy)]
pub struct Arrays<'a> {
    pub buffers: &'a [Array],
    pub core: Array,
    pub packed: [Array; 2],
}

/// A host array of words.
#[derive(Clone, Copy)]
pub struct Array {
    data: *mut u32,
    len: usize,
    /// Position of the element that `data` points to: a unit's core array is a part of the whole.
    first: usize,
}

// SAFETY: see `Arrays`; units never touch the same element.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

impl Array {
    /// A part of an array that begins at element `first`.
    pub fn part(cells: &mut [u32], first: usize) -> Self {
        Array { data: cells.as_mut_ptr(), len: cells.len(), first }
    }

    pub fn of(cells: &mut [u32]) -> Self {
        Array::part(cells, 0)
    }

    /// An array of so many elements at a place that is valid as long as it is used.
    pub fn at((data, len): (*mut u32, usize)) -> Self {
        Array { data, len, first: 0 }
    }

    /// So many of its elements from one on, as an array of their own.
    pub fn cut(self, at: usize, len: usize) -> Self {
        assert!(at + len <= self.len, "compiler error: {len} elements at {at} of an array of {}", self.len);
        Array { data: self.data.wrapping_add(at), len, first: 0 }
    }

    /// Fills elements with zeros.
    pub fn fill(self, at: usize, count: usize) {
        let at = at - self.first;
        assert!(at + count <= self.len, "compiler error: {count} elements at {at} of an array of {}", self.len);
        // SAFETY: just checked.
        unsafe { self.data.add(at).write_bytes(0, count) };
    }

    /// Where element `at` lies.
    pub fn element(self, at: i64) -> *mut f32 {
        self.data.wrapping_offset((at - self.first as i64) as isize).cast()
    }

    /// The lines counted from the first element, once it is sure that all of them are inside.
    fn inside(self, mut lines: Lines, block: &Block) -> Lines {
        lines.base -= self.first as i64;
        let reach = |step: i64, count: usize| step * (count as i64 - 1);
        let (row, run) = (reach(lines.row, block.rows), reach(lines.run, block.run));
        let low = lines.base + row.min(0) + run.min(0);
        let high = lines.base + row.max(0) + run.max(0);
        assert!(low >= 0 && high < self.len as i64, "compiler error: {low}..={high} of an array of {}", self.len);
        lines
    }

    /// Copies a block's elements into a column.
    #[inline]
    pub fn gather(self, lines: Lines, block: &Block, out: &mut [u32]) {
        let lines = self.inside(lines, block);
        for (row, out) in out.chunks_mut(block.run).enumerate() {
            let base = lines.base + row as i64 * lines.row;
            // SAFETY: every element of the block is in the array, by `inside`.
            let at = |k: usize| unsafe { *self.data.offset((base + k as i64 * lines.run) as isize) };
            match lines.run {
                0 => out.fill(at(0)),
                // SAFETY: as above; `out` is a column, never part of an array.
                1 => unsafe { out.as_mut_ptr().copy_from_nonoverlapping(self.data.offset(base as isize), out.len()) },
                _ => out.iter_mut().enumerate().for_each(|(k, out)| *out = at(k)),
            }
        }
    }

    /// Copies a column to a block's elements.
    #[inline]
    pub fn scatter(self, lines: Lines, block: &Block, values: &[u32]) {
        let lines = self.inside(lines, block);
        for (row, values) in values.chunks(block.run).enumerate() {
            let base = lines.base + row as i64 * lines.row;
            // SAFETY: every element of the block is in the array, by `inside`.
            let to = |k: usize| unsafe { self.data.offset((base + k as i64 * lines.run) as isize) };
            match lines.run {
                // SAFETY: as above. A value taken as it lies in an array may be the very target.
                1 => unsafe { to(0).copy_from(values.as_ptr(), values.len()) },
                // SAFETY: as above.
                _ => values.iter().enumerate().for_each(|(k, &value)| unsafe { *to(k) = value }),
            }
        }
    }

    /// The elements of a block that lie one after the other.
    #[inline]
    pub fn slice<'a>(self, lines: Lines, block: &Block) -> &'a [u32] {
        let base = self.inside(lines, block).base as usize;
        // SAFETY: in the array; nothing writes to it until the block's stores.
        unsafe { std::slice::from_raw_parts(self.data.add(base), block.len()) }
    }

    /// Copies the elements at some indices to a column.
    #[inline]
    pub fn pick(self, indices: &[u32], out: &mut [u32]) {
        let mut largest = 0;
        for &index in indices {
            largest = largest.max(index);
        }
        assert!((largest as usize) < self.len, "compiler error: element {largest} of {}", self.len);
        for k in 0..out.len() {
            // SAFETY: no index is larger than the largest.
            out[k] = unsafe { *self.data.add(indices[k] as usize) };
        }
    }
}

impl Arrays<'_> {
    /// The array of that place.
    #[inline]
    pub fn home(&self, home: Home) -> Array {
        match home {
            Home::Buffer(buffer) => self.buffers[buffer.0 as usize],
            Home::Core => self.core,
            Home::Packed(operand) => self.packed[operand],
        }
    }
}
