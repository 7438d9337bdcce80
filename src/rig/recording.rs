//! The commands of a sweep, made once and replayed.

use std::collections::HashMap;
use std::hash::Hash;

use crate::engine::BindingId;

/// What each action of a plan runs, found out the first time that it is met.
///
/// A plan says what comes after what in a few numbers, whatever its length ([`checkpoint`](crate::bilevel::checkpoint));
/// an action says only where it reads and where it writes, and there are few such pairs. So a recording of any number
/// of commands takes no more than its bindings, and a replay allocates nothing.
pub struct Recording<A> {
    bindings: HashMap<A, BindingId>,
}

impl<A> Default for Recording<A> {
    fn default() -> Self {
        Recording { bindings: HashMap::new() }
    }
}

impl<A: Eq + Hash> Recording<A> {
    /// The binding of an action, which `bind` makes the first time.
    pub fn of<E>(&mut self, action: A, bind: impl FnOnce() -> Result<BindingId, E>) -> Result<BindingId, E> {
        if let Some(&binding) = self.bindings.get(&action) {
            return Ok(binding);
        }
        let binding = bind()?;
        self.bindings.insert(action, binding);
        Ok(binding)
    }
}
