//! Which scratch buffers share memory.

use super::{BufferIndex, Place, Program};

/// First and last dispatch that touch a buffer.
pub(super) fn lifetime(program: &Program, buffer: BufferIndex) -> Option<(usize, usize)> {
    let touched = |place: &usize| {
        let dispatch = &program.dispatches[*place];
        dispatch.writes().contains(&buffer) || dispatch.loads().contains(&buffer)
    };
    let first = (0..program.dispatches.len()).find(touched)?;
    let last = (0..program.dispatches.len()).rfind(touched)?;
    Some((first, last))
}

/// Assigns each scratch buffer a slot: the largest first, each to the smallest slot that is free
/// throughout its life. Two buffers of one dispatch never share a slot.
pub(super) fn plan(program: &mut Program) {
    let mut waiting: Vec<(usize, (usize, usize))> = (0..program.buffers.len())
        .filter(|&k| matches!(program.buffers[k].place, Place::Scratch(_)))
        .filter_map(|k| Some((k, lifetime(program, BufferIndex(k as u32))?)))
        .collect();
    waiting.sort_by_key(|&(k, life)| (std::cmp::Reverse(program.buffers[k].len), life, k));
    let mut lives: Vec<Vec<(usize, usize)>> = vec![];
    for (k, life) in waiting {
        let free = |slot: &usize| lives[*slot].iter().all(|other| other.1 < life.0 || life.1 < other.0);
        let slot = (0..lives.len()).filter(free).min_by_key(|&slot| program.scratch[slot]).unwrap_or_else(|| {
            lives.push(vec![]);
            program.scratch.push(4 * program.buffers[k].len);
            lives.len() - 1
        });
        lives[slot].push(life);
        program.buffers[k].place = Place::Scratch(slot);
    }
}
