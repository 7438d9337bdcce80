//! Whether a hypergradient is right, on the problem of a configuration. Two things are looked at, and their sizes do
//! not depend on how fast a machine is.
//!
//! In f64, through [`EXACT`] of the settings: reverse mode against forward mode against central differences. On the
//! device, in its single precision and through all of the settings: reverse mode against forward mode.
//!
//! What may differ, and by how much, is measured and not assumed. Rounding: the loss and its derivatives are taken at
//! six points so close together that both are straight lines there; what is left when the lines are taken out is noise,
//! and Student's t says how much of it may be put up with. Roundings that are the same at all six points do not show as
//! noise: for them, each step may add one unit roundoff of the sum. Truncation, and the kinks of piecewise-linear networks, which
//! mislead a difference whose two ends lie on different pieces: the step is halved until rounding explains the rest,
//! and a difference is only trusted as far as the last halvings left it alone, and both sides of the point say the same.
//!
//! Past the edge of stability a training turns the last digits of a hyperparameter into another outcome. Its derivative
//! is exact there and of no use; both show, since neighbouring points then have other derivatives, or very large ones.

mod measure;
mod part;
mod verdict;

use std::rc::Rc;

pub use part::{Along, CheckError, EXACT, Size};
pub use verdict::{
    Answer, Answers, Comparison, Edge, GradientCheck, MODES, OnDevice, Outcome, SCATTER, SETTLED, STEEP, Verdict,
};

use self::measure::{FEWEST, POINTS, Precision};
use self::part::{Part, Portion, first_steps};
use self::verdict::{Deviation, norm};
use super::prepared::Prepared;
use crate::bilevel::hyperparameters::Hyperparameters;
use crate::bilevel::{CHUNK, Counts, Forward, Monitor, Pace};
use crate::rig::Device;

/// A hypergradient to check.
pub struct Subject {
    exact: Part,
    /// All of the settings.
    whole: Part,
}

impl Subject {
    /// A run at its start values or at those that it has come to. In f64, [`EXACT`] of it is gone through, or all if
    /// `in_full`.
    pub fn new(
        run: Rc<Prepared>,
        point: Option<Hyperparameters>,
        along: Along,
        in_full: bool,
    ) -> Result<Self, CheckError> {
        let all = Size::all(&run.config);
        let size = if in_full { all } else { EXACT.min(all) };
        let less = match size == all {
            true => run.clone(),
            false => Rc::new(Prepared::of(&size.of(&run.config), run.data.clone())?),
        };
        let exact = Part::new(less, point.clone().map(|point| first_steps(point, size.steps)), along)?;
        Ok(Subject { exact, whole: Part::new(run, point, along)? })
    }

    /// What is gone through in f64, and on the device.
    pub fn sizes(&self) -> [Size; 2] {
        [&self.exact, &self.whole].map(Part::size)
    }

    /// Seconds of the part in f64 and of that on a device, by the paces of both on the whole problem or, for f64, on
    /// the part.
    pub fn seconds(&self, exact: &Pace, device: &Pace) -> [f64; 2] {
        [self.exact.seconds(exact, true), self.whole.seconds(device, false)]
    }

    /// What is gone through in f64, to be timed.
    pub fn exact(&self) -> &Prepared {
        &self.exact.run
    }

    /// Checks on an engine in f64 and, where one is given, on a device in single precision. The host's progress is that
    /// of the whole check, by the seconds that its parts are said to take.
    pub async fn check(
        &self,
        exact: &Device,
        device: Option<&Device>,
        seconds: [f64; 2],
        host: &mut dyn Monitor,
    ) -> Result<GradientCheck, CheckError> {
        let seconds = [seconds[0], if device.is_some() { seconds[1] } else { 0.0 }];
        let share = seconds[0] / (seconds[0] + seconds[1]).max(f64::MIN_POSITIVE);
        let exactly = self.exact.in_f64(exact, &mut Portion { host, from: 0.0, to: share }).await?;
        let device = match device {
            Some(device) => Some(self.whole.in_single(device, &mut Portion { host, from: share, to: 1.0 }).await?),
            None => None,
        };
        let directions = self.exact.lines.iter().map(|line| line.name.clone()).collect();
        Ok(GradientCheck::new(directions, exactly, device))
    }
}

impl Part {
    /// Seconds at a pace.
    fn seconds(&self, pace: &Pace, f64s: bool) -> f64 {
        let (problem, lines) = (&self.run.problem, self.lines.len());
        let steps = problem.steps as u64;
        let outer = problem.validation.div_ceil(CHUNK) as f64 * pace.outer;
        let of = |counts: Counts| pace.of(&counts, problem.train) + outer;
        let training = of(Counts { steps, ..Counts::default() });
        let reverse = of(Counts { steps, adjoints: steps, ..Counts::default() });
        let passes = lines.div_ceil(Forward::for_directions(lines).width) as u64;
        let forward = of(Counts { steps: passes * steps, tangents: lines as u64 * steps, ..Counts::default() });
        let differences = (2 * (FEWEST + 2) * lines) as f64 * training;
        let sweeps = (1 + POINTS) as f64;
        sweeps * reverse + forward + if f64s { differences } else { 0.0 }
    }

    async fn in_f64(&self, device: &Device, host: &mut Portion<'_>) -> Result<Answers, CheckError> {
        let (reverse, outer_loss, noise) = self.reverse(device, Precision::Double, &mut host.part(0.0, 0.3)).await?;
        let forward = self.forward(device, &noise, &mut host.part(0.3, 0.4)).await?;
        let mut session = self.session(device, self.reverse_mode()).await?;
        let differences = self.differences(&mut session, outer_loss, &noise, &mut host.part(0.4, 1.0)).await?;
        Ok(Answers::new(self.size(), outer_loss, vec![reverse, forward, differences], Deviation::exact))
    }

    async fn in_single(&self, device: &Device, host: &mut Portion<'_>) -> Result<OnDevice, CheckError> {
        let diverged = OnDevice::Diverged { size: self.size() };
        let found = self.reverse(device, Precision::Single, &mut host.part(0.0, 0.8)).await;
        let (reverse, outer_loss, noise) = match found {
            Ok(found) => found,
            Err(CheckError::Diverged) => return Ok(diverged),
            Err(error) => return Err(error),
        };
        let forward = match self.forward(device, &noise, &mut host.part(0.8, 1.0)).await {
            Ok(forward) => forward,
            Err(CheckError::Diverged) => return Ok(diverged),
            Err(error) => return Err(error),
        };
        let scatter = norm(&noise.scatter) / norm(&reverse.values).max(f64::MIN_POSITIVE);
        let single = self.lines.iter().zip(&reverse.values).filter(|(line, _)| line.is_scalar);
        let steepest = single.map(|(_, value)| value.abs()).fold(0.0, f64::max);
        let edge = if scatter > SCATTER {
            Some(Edge::Scatter)
        } else if steepest > STEEP * outer_loss.max(0.05) {
            Some(Edge::Steep)
        } else {
            None
        };
        let answers = Answers::new(self.size(), outer_loss, vec![reverse, forward], Deviation::rounded);
        Ok(OnDevice::Answered { answers, scatter, edge })
    }
}
