//! How long a run will take, from one training step and its like measured on the engine.

use super::config::TuneConfig;
use super::error::TuneError;
use super::setup::{counts, outer_windows, planned, problem, scaled, session_data, start_values};
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::{CHUNK, Memory, Pace, Session};
use crate::data::{Dataset, Sizes};
use crate::rig::Device;

/// Runs the parts of the configured run on an engine within about so many seconds (a training step in any case), and
/// leaves nothing on it but pipelines.
pub async fn measure(device: &Device, config: &TuneConfig, data: &Dataset, seconds: f64) -> Result<Pace, TuneError> {
    let (split, _) = scaled(config, data)?;
    let problem = problem(config, &split.sizes())?;
    let data = session_data(config, &problem, &split, &outer_windows(&split.validation, config));
    let lambda = start_values(config, &problem).arrays(&problem);
    // The fewest states: what is measured does not depend on how many are kept.
    let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
    Ok(session.measure(&lambda, seconds).await?)
}

/// Seconds of a whole run at this pace on these data.
pub fn of_run(pace: &Pace, config: &TuneConfig, data: &Dataset) -> Result<f64, TuneError> {
    let (split, _) = scaled(config, data)?;
    let sizes = split.sizes();
    Ok(seconds(pace, &planned(config, &sizes)?.checkpoints, config, &sizes))
}

/// Seconds of a whole run at this pace and with this plan, on data of these sizes.
pub fn seconds(pace: &Pace, plan: &Plan, config: &TuneConfig, sizes: &Sizes) -> f64 {
    let Sizes { train, validation, test, .. } = *sizes;
    let chunks = |windows: usize| windows.div_ceil(CHUNK) as f64;
    let outer = pace.outer * chunks(validation.min(config.validation_windows as usize));
    let sweep = pace.of(&counts(config, plan, sizes), train) + outer;
    // All windows are scored twice: with the start values and at the end.
    let scoring = pace.evaluation * [train, validation, test].map(chunks).iter().sum::<f64>();
    f64::from(config.outer) * sweep + 2.0 * scoring
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::builtin;
    use crate::experiment::setup::with_training;
    use crate::reference::ReferenceEngine;

    #[test]
    fn a_run_is_the_sum_of_its_parts() {
        let pace = Pace { step: 1.0, adjoint: 3.0, outer: 10.0, evaluation: 100.0 };
        let config = TuneConfig { steps: 20, outer: 2, validation_windows: 200, ..TuneConfig::default() };
        let scoring = 2.0 * 100.0 * (8.0 + 3.0 + 1.0);
        let sizes = Sizes { validation: 300, test: 128, ..with_training(1000) };
        let stored = Plan::new(20, 21).unwrap();
        assert_eq!(seconds(&pace, &stored, &config, &sizes), 2.0 * (20.0 + 60.0 + 2.0 * 10.0) + scoring);
        // With fewer states kept, steps are run again.
        let revolve = Plan::revolve(20, 4);
        let again = (revolve.steps_run() - 20) as f64;
        assert_eq!(seconds(&pace, &revolve, &config, &sizes), 2.0 * (20.0 + again + 60.0 + 2.0 * 10.0) + scoring);
    }

    #[test]
    fn measuring_gives_times_and_leaves_no_arrays() {
        let source = builtin::subset().unwrap();
        let config = TuneConfig { batch: 4, validation_windows: 8, dropout: Some(0.0), ..TuneConfig::default() };
        let device = Device::new(ReferenceEngine::new());
        let measured = |seconds| pollster::block_on(measure(&device, &config, &source, seconds)).unwrap();
        let Pace { step, adjoint, outer, evaluation } = measured(1.0);
        assert!([step, adjoint, outer, evaluation].iter().all(|&seconds| seconds > 0.0));
        // No time at all is enough for one step.
        let hasty = measured(0.0);
        assert_eq!(hasty.adjoint, 2.6 * hasty.step);
        let counters = device.counters();
        assert!(counters.bytes < counters.peak_bytes);
    }
}
