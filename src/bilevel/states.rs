//! The states of a training on a device, and what is bound to them.

use super::checkpoint::Place;
use super::programs::{ADJOINT, PULLBACK};
use crate::engine::{BindingId, BufferId};
use crate::rig::{Array, Rig, RigError};

/// One training state on the device: the state vector and its step counter.
#[derive(Clone, Copy)]
pub(super) struct StateBuffers {
    pub state: BufferId,
    pub time: BufferId,
}

/// The state at a place.
pub(super) fn at(states: &[StateBuffers], place: Place) -> Result<StateBuffers, RigError> {
    states.get(place).copied().ok_or_else(|| RigError::NoArray(format!("state {place}")))
}

/// Binds a program that makes a training step from one place to another.
pub(super) fn bind_step(
    rig: &mut Rig,
    states: &[StateBuffers],
    program: &'static str,
    [from, to]: [Place; 2],
    more: &[(&str, BufferId)],
) -> Result<BindingId, RigError> {
    let (a, b) = (at(states, from)?, at(states, to)?);
    let ports = [("state", a.state), ("time", a.time), ("next_state", b.state), ("next_time", b.time)];
    rig.bind(program, &[&ports, more].concat())
}

/// Binds the adjoint of the step that leaves the state at a place, with the residuals that it has kept, if it has.
pub(super) fn bind_adjoint(
    rig: &mut Rig,
    states: &[StateBuffers],
    place: Place,
    [after, before]: [BufferId; 2],
    kept: Option<&Residuals>,
) -> Result<BindingId, RigError> {
    let StateBuffers { state, time } = at(states, place)?;
    let ports = [("state", state), ("time", time), ("cotangent", after), ("next_cotangent", before)];
    match kept {
        None => rig.bind(ADJOINT, &ports),
        Some(kept) => rig.bind(PULLBACK, &[&ports[..], &kept.ports()].concat()),
    }
}

/// What is kept of one training step for its adjoint, by the names that programs know it by.
pub(super) struct Residuals(Vec<(String, BufferId)>);

impl Residuals {
    /// One set of these arrays.
    pub fn new(rig: &mut Rig, set: usize, arrays: &[Array]) -> Result<Self, RigError> {
        let made = arrays.iter().map(|array| {
            let id = rig.create(&format!("{}, set {set}", array.name), array.dtype, array.len)?;
            Ok((array.name.clone(), id))
        });
        Ok(Residuals(made.collect::<Result<_, RigError>>()?))
    }

    pub fn ports(&self) -> Vec<(&str, BufferId)> {
        self.0.iter().map(|(name, id)| (name.as_str(), *id)).collect()
    }
}
