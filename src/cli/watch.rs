//! What is shown and saved of a tuning run while it goes.

use std::future::ready;

use stackelberg::bilevel::Flow;
use stackelberg::engine::{LocalFuture, several};
use stackelberg::experiment::archive;
use stackelberg::experiment::model_file::Exported;
use stackelberg::experiment::record::{OuterRecord, RunResult};
use stackelberg::experiment::tune::{Event, Observed, Observer, TunerState};

use super::interrupt::Interrupt;
use super::progress::Progress;
use super::run_dir::{self, RunDir, RunDirError};
use super::start::Saved;

/// What is to be said of hyperparameters that do not act in a training.
fn idle(record: &OuterRecord) -> Option<String> {
    let zeros = record.hypergradient.iter().filter(|(name, value)| **value == 0.0 && !name.contains('.'));
    let names: Vec<&str> = zeros.map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Note: the derivative by {} is exactly 0: the training does not depend on it here (momentum first acts in \
             the second training step)",
            names.join(", ")
        )
    })
}

/// Shows what happens and saves it.
pub struct Watch {
    pub progress: Progress,
    pub interrupt: Interrupt,
    pub header: Saved<()>,
    pub model: Exported,
    pub directory: Option<RunDir>,
    pub records: Vec<OuterRecord>,
    /// Outer iterations that a resumed run need not run again.
    pub saved: u32,
}

impl Observer for Watch {
    fn event(&mut self, event: Event) -> Observed {
        match event {
            Event::Progress { iteration, share, .. } => self.progress.advance(iteration, share),
            Event::Outer { record, state, result, weights } => {
                if self.records.is_empty() {
                    idle(record).into_iter().for_each(|note| self.progress.say(&note));
                }
                let config = &self.header.configuration;
                self.progress.outer(record, state.share(config, 0.0), state.ending(config).is_some());
                self.records.push(record.clone());
                self.save(state, result, weights)?;
                self.saved = state.iteration;
            }
            Event::InnerLosses { .. } | Event::Start(_) => {}
        }
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        let flow = if self.interrupt.is_raised() { Flow::Stop } else { Flow::Continue };
        Box::pin(ready(flow))
    }
}

impl Watch {
    /// Saves an iteration. The state comes last: it is what a resumed run goes on from, so whatever
    /// a killed process leaves half done belongs to an iteration that will be repeated.
    fn save(&self, state: &TunerState, result: &RunResult, weights: Option<&[f32]>) -> Result<(), RunDirError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        directory.write_records(&self.records)?;
        self.save_result(directory, result, weights)?;
        directory.write(run_dir::STATE, &archive::pack_value(&self.header.with(state)))
    }

    /// Saves what the run has come to.
    pub fn conclude(&self, result: &RunResult, weights: Option<&[f32]>) -> Result<(), RunDirError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        self.save_result(directory, result, weights.filter(|_| result.best_outer_loss.is_some()))
    }

    fn save_result(&self, directory: &RunDir, result: &RunResult, weights: Option<&[f32]>) -> Result<(), RunDirError> {
        if let Some(weights) = weights {
            let named = &self.records[result.best_iteration as usize - 1].hyperparameters;
            directory.write(run_dir::MODEL, &self.model.pack(weights, named))?;
        }
        let json = serde_json::to_string_pretty(result).expect("results are plain values");
        directory.write(run_dir::RESULT, format!("{json}\n").as_bytes())
    }

    /// How to go on with an interrupted run.
    pub fn way_on(&self) -> Option<String> {
        let saved = match self.saved {
            0 => "the settings alone".to_owned(),
            saved => several(u64::from(saved), "outer iteration"),
        };
        Some(run_dir::way_on(self.directory.as_ref()?.path(), &format!("saved: {saved}")))
    }
}
