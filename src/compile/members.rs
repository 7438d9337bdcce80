//! A program that was compiled for one training, for many.

use super::{CompileError, Place, Program};

impl Program {
    /// The same for so many members of a population: loops, sums and launches stay what they are, so that each member
    /// gets the bits that it would get alone. Members share the inputs that `shared` names.
    pub fn for_members(mut self, members: usize, shared: impl Fn(&str) -> bool) -> Result<Program, CompileError> {
        if members == 0 {
            return Err(CompileError::NoMember { program: self.name });
        }
        self.members = members;
        for buffer in &mut self.buffers {
            (buffer.copies, buffer.step) = match buffer.place {
                _ if members == 1 => (1, 0),
                Place::Input(_) if shared(&buffer.name) => (1, 0),
                Place::Scratch(slot) => (members, self.scratch[slot] / 4),
                _ => (members, buffer.len),
            };
            if buffer.step.checked_mul(buffer.copies).is_none_or(|elements| elements >= 1 << 31) {
                let (program, node) = (self.name, buffer.name.clone());
                return Err(CompileError::TooLarge { program, node, shape: vec![buffer.copies, buffer.len] });
            }
        }
        self.scratch.iter_mut().for_each(|bytes| *bytes *= members);
        Ok(self)
    }
}
