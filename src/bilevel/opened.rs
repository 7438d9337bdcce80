//! What a session computes with, for whoever wants to see it.

use std::rc::Rc;

use super::{Blueprint, Inner, Session, SolveError, memory};
use crate::compile::Program;
use crate::rig::{Function, Rig};

/// A function with its program.
pub type Part = (Function, Rc<Program>);

/// A session, opened up.
pub struct Opened {
    /// What it computes with, in the order in which it was made.
    pub parts: Vec<Part>,
    /// Seconds of every dispatch, by the name of its function; not of all functions.
    pub seconds: Vec<(&'static str, Vec<f64>)>,
    /// Every array on the device.
    pub memory: String,
    /// Which training states are kept and what is run again, or why there is nothing of that kind.
    pub checkpoints: String,
}

impl Opened {
    /// A session that is of this blueprint, each dispatch timed so often.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn of<P: Inner + 'static>(
        session: &mut Session<P>,
        blueprint: &Blueprint,
        repeats: usize,
    ) -> Result<Opened, SolveError> {
        // How long a dispatch takes does not depend on the point.
        let seconds = session.profile(&vec![-1.0; (session.inner() as &dyn Inner).lambda_len()], repeats).await?;
        let parts = blueprint.functions.iter().cloned().zip(blueprint.programs.iter().cloned()).collect();
        let (memory, checkpoints) = (blueprint.print_memory(), blueprint.checkpoints.print());
        Ok(Opened { parts, seconds, memory, checkpoints })
    }

    /// What lies on these rigs, each with the parts that it runs.
    pub(super) fn on(rigs: &[(&Rig, &[Part])], seconds: Vec<(&'static str, Vec<f64>)>, checkpoints: &str) -> Opened {
        let rows = rigs.iter().flat_map(|(rig, parts)| {
            let programs: Vec<Rc<Program>> = parts.iter().map(|(_, program)| program.clone()).collect();
            let scratch = memory::shared_scratch_bytes(&programs).saturating_mul(rig.members() as u64);
            let mut rows = vec![memory::scratch(scratch)];
            rows.extend(memory::rows(&rig.arrays(), rig.members()));
            rows
        });
        let memory = memory::print(rows);
        let parts = rigs.iter().flat_map(|(_, parts)| parts.iter().cloned()).collect();
        Opened { parts, seconds, memory, checkpoints: checkpoints.to_owned() }
    }
}
