//! When which step is taken.

use std::iter::{once, repeat_n};

/// A step of the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The weights train.
    Train,
    /// The hyperparameters move.
    Tune,
    /// A cutting plane is laid where the training is.
    Cut,
}

/// Epochs of training steps alone, and then so many training steps and so many tuning steps in turns. Where there are
/// planes, one is cut at the end of each epoch, the first when the warm-up ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Training steps in an epoch.
    pub epoch: usize,
    /// Epochs of training alone.
    pub warm_up: usize,
    /// Training steps in a turn.
    pub train: usize,
    /// Tuning steps in a turn.
    pub tune: usize,
    /// Whether there are planes.
    pub planes: bool,
}

impl Schedule {
    /// The steps, without an end.
    pub fn acts(self) -> impl Iterator<Item = Act> {
        let warm = self.warm_up * self.epoch;
        (1..).flat_map(move |step: usize| {
            let turns = step > warm && (step - warm).is_multiple_of(self.train);
            let cuts = self.planes && step >= warm && step.is_multiple_of(self.epoch);
            once(Act::Train)
                .chain(repeat_n(Act::Tune, if turns { self.tune } else { 0 }))
                .chain(cuts.then_some(Act::Cut))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_begin_after_the_warm_up_and_planes_at_its_end() {
        let letters = |schedule: Schedule, count| {
            let letter = |act| match act {
                Act::Train => 'w',
                Act::Tune => 'h',
                Act::Cut => 'c',
            };
            schedule.acts().take(count).map(letter).collect::<String>()
        };
        let schedule = Schedule { epoch: 3, warm_up: 1, train: 2, tune: 1, planes: true };
        assert_eq!(letters(schedule, 17), "wwwcwwhwcwhwwhcww");
        let without = Schedule { planes: false, tune: 2, ..schedule };
        assert_eq!(letters(without, 12), "wwwwwhhwwhhw");
        let cold = Schedule { warm_up: 0, ..schedule };
        assert_eq!(letters(cold, 8), "wwhwcwhw");
    }
}
