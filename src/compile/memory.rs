//! Which scratch buffers share memory.

use super::{BufferIndex, Dispatch, Place, Program};

/// First and last launch that touch a buffer.
pub(super) fn lifetime(program: &Program, buffer: BufferIndex) -> Option<(usize, usize)> {
    let touches = |dispatch: &Dispatch| dispatch.writes().contains(&buffer) || dispatch.loads().contains(&buffer);
    let touched = |launch: &[Dispatch]| launch.iter().any(touches);
    let mut places = program.launches().enumerate().filter(|(_, launch)| touched(launch)).map(|(place, _)| place);
    let first = places.next()?;
    Some((first, places.last().unwrap_or(first)))
}

/// Assigns each scratch buffer a slot: the largest first, each to the smallest slot that is free
/// throughout its life. Two buffers of one launch never share a slot.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Output, compile};
    use crate::ir::{DType, Graph, Scalar};

    /// A chain of products of [1, 8, n]: each needs the one before it and nothing else.
    fn chain(widths: &[usize]) -> Program {
        let mut g = Graph::new();
        let mut x = g.input("x", &[1, 8, widths[0]], DType::F32);
        for (k, pair) in widths.windows(2).enumerate() {
            let w = g.input(&format!("w{k}"), &[1, pair[0], pair[1]], DType::F32);
            let y = g.matmul(x, w, [false, false]);
            x = g.scalar(Scalar::Tanh, &[y]);
        }
        compile("chain", &g, &[Output::new("y", x)]).unwrap()
    }

    #[test]
    fn a_chain_needs_two_slots() {
        let program = chain(&[4, 5, 6, 7, 8, 3]);
        assert_eq!(program.dispatches.len(), 5);
        // 8 × (5, 6, 7, 8) live two at a time: the largest two that meet nobody else's time.
        assert_eq!(program.scratch, [4 * 8 * 8, 4 * 8 * 7]);
    }

    #[test]
    fn buffers_that_share_a_slot_never_live_at_once() {
        let program = chain(&[9, 2, 8, 3, 7, 4, 6, 5]);
        let buffers = (0..program.buffers.len() as u32).map(BufferIndex);
        let lives: Vec<_> = buffers
            .filter_map(|b| match program.buffer(b).place {
                Place::Scratch(slot) => Some((slot, lifetime(&program, b)?)),
                _ => None,
            })
            .collect();
        assert_eq!(lives.len(), 6);
        for (k, (slot, life)) in lives.iter().enumerate() {
            for (other, other_life) in &lives[..k] {
                assert!(slot != other || life.1 < other_life.0 || other_life.1 < life.0);
            }
        }
    }
}
