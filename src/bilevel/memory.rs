//! What lies on a device: bytes of arrays and of scratch memory.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::compile::Program;
use crate::rig::Array;

/// How many of an array there are.
fn copies(array: &Array, members: usize) -> u64 {
    if array.own { members as u64 } else { 1 }
}

fn bytes(array: &Array, members: usize) -> u64 {
    (4 * array.len as u64).saturating_mul(copies(array, members))
}

/// Bytes of arrays, and these besides.
pub(super) fn fixed(arrays: &[Array], members: usize, scratch: u64) -> u64 {
    arrays.iter().map(|array| bytes(array, members)).fold(scratch, u64::saturating_add)
}

/// Scratch bytes of programs that share their slots.
pub(super) fn shared_scratch_bytes(programs: &[Rc<Program>]) -> u64 {
    let slots = programs.iter().map(|p| p.scratch.len()).max().unwrap_or(0);
    let largest = |slot: usize| programs.iter().filter_map(|p| p.scratch.get(slot)).max().copied().unwrap_or(0);
    (0..slots).map(|slot| largest(slot) as u64).sum()
}

/// The arrays in words with their bytes.
pub(super) fn rows(arrays: &[Array], members: usize) -> impl Iterator<Item = (String, u64)> {
    arrays.iter().map(move |array| {
        let dtype = format!("{:?}", array.dtype).to_lowercase();
        let copies = copies(array, members);
        let times = if copies > 1 { format!("{copies} × ") } else { String::new() };
        (format!("{} {times}{dtype}[{}]", array.name, array.len), bytes(array, members))
    })
}

/// That of scratch memory.
pub(super) fn scratch(bytes: u64) -> (String, u64) {
    ("scratch, shared by the programs".to_owned(), bytes)
}

/// Rows with their bytes, the largest first, and their sum.
pub(super) fn print(rows: impl Iterator<Item = (String, u64)>) -> String {
    let mut rows: Vec<(String, u64)> = rows.filter(|(_, bytes)| *bytes > 0).collect();
    rows.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let sum = rows.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
    let mut text = format!("memory plan: {sum} bytes on the device\n");
    for (what, bytes) in rows {
        let _ = writeln!(text, "  {bytes:>12}  {what}");
    }
    text
}
