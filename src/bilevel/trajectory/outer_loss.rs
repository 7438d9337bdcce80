//! The outer loss at the end of a training, and what is read back with it.

use super::{Trajectory, work};
use crate::bilevel::checkpoint::Place;
use crate::bilevel::inner::LOSSES;
use crate::bilevel::programs::{BAD_STEP, NO_BAD_STEP, OUTER_LAMBDA};
use crate::bilevel::{Counts, Estimate, SolveError};
use crate::engine::{BufferId, Values};
use crate::rig::{Monitor, Progress, Quiet};

impl Trajectory {
    /// The outer loss at the final state and, on the device, its gradient.
    pub async fn outer_loss(&mut self, monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        self.outer_loss_at(self.last_place(), monitor).await
    }

    /// The same at the state of a place.
    pub async fn outer_loss_at(&mut self, place: Place, monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        Ok(self.outer_losses_at(place, monitor).await?.remove(0))
    }

    /// The same of every member.
    pub async fn outer_losses_at(
        &mut self,
        place: Place,
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        self.clear_sums()?;
        self.rig.clear("gradient")?;
        if self.rig.holds(OUTER_LAMBDA) {
            self.rig.clear(OUTER_LAMBDA)?;
        }
        self.ended |= place == self.last_place();
        let (state, _) = self.state(place)?;
        let binding = self.rig.bind("outer_gradient", &[("state", state)])?;
        self.repeat(work::OUTER, self.inner.outer_chunks(), &mut Progress::default(), &mut Quiet(monitor), |_, _| {
            Ok(binding)
        })
        .await?;
        let always = ["value", BAD_STEP, OUTER_LAMBDA].into_iter().filter(|name| self.rig.holds(name));
        let kept = always.chain(self.records.iter().map(String::as_str));
        let (names, arrays): (Vec<&str>, Vec<BufferId>) =
            kept.map(|name| Ok((name, self.array(name)?))).collect::<Result<Vec<_>, SolveError>>()?.into_iter().unzip();
        let mut values = self.rig.read(&arrays).await?;
        let members = self.members();
        let mut take = |name: &str| {
            let all = names.iter().position(|other| *other == name).map(|at| std::mem::take(&mut values[at]));
            all.map(|all| all.chunks(all.len() / members).map(<[f64]>::to_vec).collect::<Vec<_>>())
        };
        let [value, bad_step, direct] = ["value", BAD_STEP, OUTER_LAMBDA].map(&mut take);
        let losses = take(LOSSES);
        let records = self.records.iter().filter(|name| *name != LOSSES);
        let records: Vec<(String, Vec<Vec<f64>>)> =
            records.filter_map(|name| Some((name.clone(), take(name)?))).collect();
        if place == self.last_place() {
            self.direct = direct;
        }
        let of = |all: &Option<Vec<Vec<f64>>>, member: usize| all.as_ref().map(|all| all[member].clone());
        let number = |all, member| of(all, member).map_or(f64::NAN, |values| values[0]);
        let estimate = |member: usize| {
            let bad_step = number(&bad_step, member) as u32;
            Estimate {
                outer_loss: number(&value, member),
                inner_losses: of(&losses, member).unwrap_or_default(),
                records: records.iter().map(|(name, each)| (name.clone(), each[member].clone())).collect(),
                bad_step: (bad_step != NO_BAD_STEP).then_some(bad_step as usize),
                hypergradient: vec![],
                direct: None,
                residual: None,
                inner_gradient: None,
                counts: Counts::default(),
                peak_bytes: 0,
            }
        };
        Ok((0..members).map(|member| self.counted(estimate(member))).collect())
    }

    /// ∂E/∂λ of a member at the last outer loss, where that sees λ.
    pub fn direct(&self, member: usize) -> Option<&[f64]> {
        self.direct.as_ref().map(|direct| &*direct[member])
    }

    /// The estimate with what it has cost so far.
    pub fn counted(&self, estimate: Estimate) -> Estimate {
        Estimate { counts: self.counts, peak_bytes: self.rig.device().counters().peak_bytes, ..estimate }
    }

    pub(in crate::bilevel) fn clear_sums(&mut self) -> Result<(), SolveError> {
        self.rig.clear("value")?;
        Ok(self.rig.write("chunk", Values::U32(&[0]))?)
    }
}
