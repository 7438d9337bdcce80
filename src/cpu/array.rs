//! The arrays of a running dispatch, which several threads write parts of.

#![allow(unsafe_code, reason = "threads share arrays and write disjoint parts; each place says why it may")]

use super::nest::{Block, Lines};
use crate::compile::BufferIndex;
use stackelberg_columns::survey;

/// Elements of a cache line.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LINE: usize = 16;

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
    #[inline(always)]
    fn inside(self, mut lines: Lines, block: &Block) -> Lines {
        lines.base -= self.first as i64;
        let reach = |step: i64, count: usize| step * (count as i64 - 1);
        let (row, run) = (reach(lines.row, block.rows), reach(lines.run, block.run));
        let low = lines.base + row.min(0) + run.min(0);
        let high = lines.base + row.max(0) + run.max(0);
        assert!(low >= 0 && high < self.len as i64, "compiler error: {low}..={high} of an array of {}", self.len);
        lines
    }

    /// Asks for a block's elements to be brought near: blocks are too short for the processor to foresee the next.
    #[cfg_attr(any(not(target_arch = "x86_64"), miri), expect(unused_variables))]
    #[inline(always)]
    pub fn prefetch(self, lines: Lines, block: &Block, to_write: bool) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        for row in 0..block.rows as i64 {
            let base = lines.base - self.first as i64 + row * lines.row;
            let count = if lines.run == 0 { 1 } else { block.run };
            for k in (0..count).step_by(LINE) {
                let at = self.data.wrapping_offset((base + k as i64 * lines.run) as isize);
                // SAFETY: hints, whatever the address. There is no intrinsic for the second that works without a
                // feature; processors that lack it take it for nothing.
                unsafe {
                    if to_write {
                        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags));
                    } else {
                        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
                    }
                }
            }
        }
    }

    /// Copies a block's elements into a column.
    #[inline(always)]
    pub fn gather(self, lines: Lines, block: &Block, out: &mut [u32]) {
        let lines = self.inside(lines, block);
        for (row, out) in out.chunks_mut(block.run).enumerate() {
            let base = lines.base + row as i64 * lines.row;
            // SAFETY: every element of the block is in the array, by `inside`.
            let at = |k: usize| unsafe { *self.data.offset((base + k as i64 * lines.run) as isize) };
            match lines.run {
                0 => out.fill(at(0)),
                // SAFETY: as above; `out` is a column or part of another array.
                1 => unsafe { copy_run(self.data.offset(base as isize), out.as_mut_ptr(), out.len()) },
                _ => {
                    for (k, out) in out.iter_mut().enumerate() {
                        *out = at(k);
                    }
                }
            }
        }
    }

    /// Copies a column to a block's elements.
    #[inline(always)]
    pub fn scatter(self, lines: Lines, block: &Block, values: &[u32]) {
        let lines = self.inside(lines, block);
        for (row, values) in values.chunks(block.run).enumerate() {
            let base = lines.base + row as i64 * lines.row;
            // SAFETY: every element of the block is in the array, by `inside`.
            let to = |k: usize| unsafe { self.data.offset((base + k as i64 * lines.run) as isize) };
            match lines.run {
                // SAFETY: as above. A value taken as it lies in an array may be the very target.
                1 => unsafe { copy_run(values.as_ptr(), to(0), values.len()) },
                _ => {
                    for (k, &value) in values.iter().enumerate() {
                        // SAFETY: as above.
                        unsafe { *to(k) = value };
                    }
                }
            }
        }
    }

    /// The elements of a block that lie one after the other.
    #[inline(always)]
    pub fn slice<'a>(self, lines: Lines, block: &Block) -> &'a [u32] {
        let base = self.inside(lines, block).base as usize;
        // SAFETY: in the array. Of an array that a tape reads, nothing is written before the block's stores; one that its
        // steps write to, it reads only behind them.
        unsafe { std::slice::from_raw_parts(self.data.add(base), block.len()) }
    }

    /// The same to be written.
    ///
    /// # Safety
    /// Nobody holds another slice of them while this one lives.
    #[inline(always)]
    pub unsafe fn slice_mut<'a>(self, lines: Lines, block: &Block) -> &'a mut [u32] {
        let base = self.inside(lines, block).base as usize;
        // SAFETY: in the array, and no other unit's elements.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(base), block.len()) }
    }

    /// Copies the elements at some indices to a column.
    #[inline(always)]
    pub fn pick(self, indices: &[u32], out: &mut [u32]) {
        let Some(&first) = indices.first() else { return };
        let (largest, counts) = survey(indices);
        assert!((largest as usize) < self.len, "compiler error: element {largest} of {}", self.len);
        // SAFETY: no index is larger than the largest.
        let at = |index: u32| unsafe { self.data.add(index as usize) };
        if counts {
            // SAFETY: as above; `out` is a column or part of another array.
            unsafe { copy_run(at(first), out.as_mut_ptr(), out.len()) };
        } else {
            for k in 0..out.len() {
                // SAFETY: as above.
                out[k] = unsafe { *at(indices[k]) };
            }
        }
    }
}

/// Copies words from the first on; `to` may be `from`.
///
/// # Safety
/// Both places hold so many words.
#[inline(always)]
unsafe fn copy_run(from: *const u32, to: *mut u32, len: usize) {
    const LANES: usize = 64;
    // Runs are short as a rule, and a call for each takes longer than its words do.
    let whole = len / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        // SAFETY: the caller's word.
        unsafe {
            to.add(k).cast::<[u32; LANES]>().write_unaligned(from.add(k).cast::<[u32; LANES]>().read_unaligned())
        };
    }
    for k in whole..len {
        // SAFETY: as above.
        unsafe { *to.add(k) = *from.add(k) };
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

#[cfg(test)]
mod tests {
    use super::Array;

    #[test]
    fn indices_that_stay_that_count_and_that_jump() {
        let mut cells: Vec<u32> = (0..300).map(|k| 1000 + k).collect();
        let array = Array::of(&mut cells);
        for index in [|_| 7, |k: u32| 7 + k, |k: u32| 299 - k, |k: u32| k / 99] {
            let indices: Vec<u32> = (0..150).map(index).collect();
            let mut out = vec![0; indices.len()];
            array.pick(&indices, &mut out);
            assert!(indices.iter().zip(out).all(|(index, value)| value == 1000 + index));
        }
    }
}
