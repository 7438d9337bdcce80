//! The states of a training on a device, and what is bound to them.

use super::checkpoint::Place;
use crate::engine::{BindingId, BufferId};
use crate::rig::{Rig, RigError};

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

/// Binds the adjoint of the step that leaves the state at a place.
pub(super) fn bind_adjoint(
    rig: &mut Rig,
    states: &[StateBuffers],
    place: Place,
    [after, before]: [BufferId; 2],
) -> Result<BindingId, RigError> {
    let StateBuffers { state, time } = at(states, place)?;
    rig.bind("step_adjoint", &[("state", state), ("time", time), ("cotangent", after), ("next_cotangent", before)])
}
