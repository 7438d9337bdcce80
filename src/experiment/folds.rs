//! People dealt into folds, so that each of them is validated on once.

use super::config::{ConfigError, TuneConfig};
use super::error::TuneError;
use super::setup::{self, initial_weights, set};
use crate::bilevel::{Member, Method, Plain, Problem, Rows, Session, SessionData, SetEvaluation, Sets, SolveError};
use crate::data::{Dataset, Sizes, Split};
use crate::rig::{Compiled, Device, Monitor};
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

/// The people who are not tested on, and how they are divided.
pub struct Folds {
    /// All their examples.
    pub pool: Dataset,
    folds: Vec<Fold>,
}

/// One of them, as rows of the pool. What is trained and validated on is as much in each: what is too many is left out
/// by chance.
struct Fold {
    train: Vec<u32>,
    validation: Vec<u32>,
    /// All rows of the people validated on.
    held_out: Vec<u32>,
}

impl Folds {
    /// Deals people in turn, in the order of their numbers.
    pub fn new(config: &TuneConfig, count: u32, split: &Split) -> Result<Folds, TuneError> {
        let pool = split.train.joined(&split.validation)?;
        let people = pool.present_people();
        if people.len() < count as usize {
            return Err(ConfigError::Value {
                field: "folds",
                value: count.to_string(),
                must: format!("at most {} here", people.len()),
                mend: "Every fold needs someone to validate on who is not tested on.".to_owned(),
            }
            .into());
        }
        let place = |row: u32| people.iter().position(|person| *person == pool.people()[row as usize]);
        let rows = |belongs: &dyn Fn(usize) -> bool| -> Vec<u32> {
            (0..pool.len() as u32)
                .filter(|&row| place(row).is_some_and(|place| belongs(place % count as usize)))
                .collect()
        };
        let divided: Vec<[Vec<u32>; 2]> =
            (0..count as usize).map(|fold| [rows(&|of| of != fold), rows(&|of| of == fold)]).collect();
        let least = |part: usize| divided.iter().map(|parts| parts[part].len()).min().expect("two folds at least");
        let [train, validation] = [least(0), least(1).min(config.validation_windows as usize)];
        let fold = |(at, [rest, held_out]): (u32, [Vec<u32>; 2])| {
            let key = |part: u32| stream_key(split_seed(config.seed.into()), Purpose::Validation, 1 + 2 * at + part);
            Fold { train: drawn(key(0), &rest, train), validation: drawn(key(1), &held_out, validation), held_out }
        };
        Ok(Folds { folds: (0..).zip(divided).map(fold).collect(), pool })
    }

    /// Windows that each fold trains on.
    pub(super) fn training_windows(&self) -> usize {
        self.folds[0].train.len()
    }

    /// What each fold trains, on data that have these sizes but for those of the folds.
    pub(super) fn problem(&self, config: &TuneConfig, sizes: &Sizes) -> Result<Problem, ConfigError> {
        let Fold { train, validation, .. } = &self.folds[0];
        config.check_batch(train.len())?;
        let sizes = Sizes { train: train.len(), validation: validation.len(), ..sizes.clone() };
        Ok(Problem { pool: Some(self.pool.len()), ..setup::problem(config, &sizes)? })
    }

    /// All folds as a population.
    pub(super) async fn session(
        &self,
        device: &Device,
        config: &TuneConfig,
        problem: &Problem,
        method: impl Into<Box<dyn Method>>,
        compiled: &Compiled,
    ) -> Result<Session, SolveError> {
        let (pool, initial) = (set(&self.pool), initial_weights(config, problem));
        let rows = self.folds.iter().map(|Fold { train, validation, .. }| Rows { train, validation });
        let (batches, masks, seed) = (&[][..], &[][..], u64::from(config.seed));
        let member = |rows| Member { initial: &initial, seed, batches, masks, rows: Some(rows) };
        let members: Vec<Member> = rows.map(member).collect();
        Session::population(device, problem.clone(), Sets::Pool(&pool), &members, method, compiled).await
    }

    /// How the networks that such a session was left with do on the people whom they have not seen, all counted once.
    pub(super) async fn validated(
        &self,
        session: &mut Session,
        monitor: &mut dyn Monitor,
    ) -> Result<SetEvaluation, SolveError> {
        let mut all = SetEvaluation { loss: 0.0, confusion: vec![], classes: 0 };
        for (member, Fold { held_out, .. }) in self.folds.iter().enumerate() {
            let rows: Vec<usize> = held_out.iter().map(|&row| row as usize).collect();
            let own = session.evaluate_each(&set(&self.pool.select(&rows)), monitor).await?.swap_remove(member);
            all.loss += own.loss * rows.len() as f64 / self.pool.len() as f64;
            all.classes = own.classes;
            all.confusion.resize(own.confusion.len(), 0);
            all.confusion.iter_mut().zip(own.confusion).for_each(|(sum, count)| *sum += count);
        }
        Ok(all)
    }

    /// A training on everybody.
    pub(super) async fn joined(
        &self,
        device: &Device,
        config: &TuneConfig,
        sizes: &Sizes,
    ) -> Result<Session, TuneError> {
        let problem = setup::problem(config, &Sizes { train: self.pool.len(), ..sizes.clone() })?;
        // What it validates on is never looked at.
        let (train, validation) = (set(&self.pool), set(&self.pool.select(&[0])));
        let data = SessionData::new(train, validation, initial_weights(config, &problem), config.seed.into());
        Ok(Session::new(device, problem, &data, Plain).await?)
    }
}

/// So many of these rows by chance, in their order.
fn drawn(key: [u32; 2], rows: &[u32], count: usize) -> Vec<u32> {
    let mut places: Vec<u32> = (0..count as u32).map(|i| permute_index(key, rows.len() as u32, i)).collect();
    places.sort_unstable();
    places.into_iter().map(|place| rows[place as usize]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use super::*;
    use crate::bilevel::Memory;
    use crate::cpu::CpuEngine;
    use crate::data::har::builtin;
    use crate::engine::LocalFuture;
    use crate::experiment::event::{Event, Observed, Observer};
    use crate::experiment::prepared::Prepared;
    use crate::experiment::training::Training;
    use crate::experiment::tune::Tuner;
    use crate::rig::{Flow, Unattended};

    fn config(folds: u32) -> TuneConfig {
        let quick =
            TuneConfig { steps: 3, batch: Some(8), validation_windows: 16, outer: Some(2), ..TuneConfig::quick() };
        TuneConfig { folds: Some(folds), ..quick }
    }

    fn prepared(folds: u32) -> Result<Prepared, TuneError> {
        Prepared::new(&config(folds), &builtin::subset().unwrap())
    }

    #[test]
    fn everybody_is_validated_on_once_and_nobody_tested_on_is_there() {
        let prepared = self::prepared(3).unwrap();
        let folds = prepared.folds.as_ref().unwrap();
        let people =
            |rows: &[u32]| -> BTreeSet<u32> { rows.iter().map(|&row| folds.pool.people()[row as usize]).collect() };
        let held_out: Vec<BTreeSet<u32>> = folds.folds.iter().map(|fold| people(&fold.held_out)).collect();
        let all: BTreeSet<u32> = held_out.iter().flatten().copied().collect();
        assert_eq!(held_out.iter().map(BTreeSet::len).sum::<usize>(), all.len());
        let split = &prepared.data.split;
        assert_eq!(all, [&split.train, &split.validation].iter().flat_map(|part| part.present_people()).collect());
        assert!(split.test.present_people().iter().all(|tested| !all.contains(tested)));
        for (fold, held_out) in folds.folds.iter().zip(&held_out) {
            assert_eq!([fold.train.len(), fold.validation.len()], [prepared.problem.train, 16]);
            assert!(people(&fold.validation).is_subset(held_out) && people(&fold.train).is_disjoint(held_out));
            assert!(fold.train.is_sorted_by(|a, b| a < b) && fold.validation.is_sorted_by(|a, b| a < b), "none twice");
        }
        let message = self::prepared(40).err().unwrap().to_string();
        assert!(message.starts_with("`folds` is 40, but must be at most"), "{message}");
    }

    #[derive(Default)]
    struct Records(Vec<(f64, f64, Vec<f64>)>);

    impl Observer for Records {
        fn event(&mut self, event: Event) -> Observed {
            if let Event::Outer { record, .. } = event {
                let derivatives = record.hypergradient.values().copied().collect();
                self.0.push((record.spent, record.outer_loss.unwrap(), derivatives));
            }
            Ok(())
        }

        fn breathe(&mut self) -> LocalFuture<'_, Flow> {
            Box::pin(std::future::ready(Flow::Continue))
        }
    }

    #[test]
    fn the_outer_loss_is_the_mean_over_the_folds_and_a_point_costs_as_many_trainings() {
        let prepared = Rc::new(self::prepared(3).unwrap());
        let device = Device::new(CpuEngine::new(1));
        let mut records = Records::default();
        let mut tuner = pollster::block_on(Tuner::new(&device, prepared.clone(), None)).unwrap();
        pollster::block_on(tuner.advance(2, &mut records)).unwrap();
        let (result, network) =
            pollster::block_on(tuner.conclude(crate::experiment::record::Ending::Finished, &mut records)).unwrap();

        let mut session = pollster::block_on(prepared.session(&device, Memory::StoreAll)).unwrap();
        let points = vec![prepared.start.clone(); 3];
        let each = pollster::block_on(session.estimate_each_at(&points, &mut Unattended)).unwrap();
        let mean = |of: &dyn Fn(&crate::bilevel::Estimate) -> f64| each.iter().map(of).sum::<f64>() / 3.0;
        let (spent, outer_loss, derivatives) = &records.0[0];
        assert!((outer_loss - mean(&|estimate| estimate.outer_loss)).abs() < 1e-12);
        assert!(each[0].outer_loss != each[1].outer_loss && each[1].outer_loss != each[2].outer_loss);
        let mut wanted: Vec<f64> =
            (0..derivatives.len()).map(|k| mean(&|estimate| estimate.hypergradient[k])).collect();
        let mut found = derivatives.clone();
        wanted.sort_by(f64::total_cmp);
        found.sort_by(f64::total_cmp);
        assert!(wanted.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-12), "{wanted:?} {found:?}");
        assert!((spent - 3.0 * tuner.state().price).abs() < 1e-9 && (records.0[1].0 - spent - 3.0).abs() < 1e-9);

        // The network is one of everybody.
        let end = result.end.unwrap();
        let mut alone = pollster::block_on(prepared.folds.as_ref().unwrap().joined(
            &device,
            &prepared.config,
            &prepared.data.split.sizes(),
        ))
        .unwrap();
        pollster::block_on(alone.train_at(&tuner.state().best.as_ref().unwrap().hyperparameters, &mut Unattended))
            .unwrap();
        let weights: Vec<f32> =
            pollster::block_on(alone.final_network()).unwrap().into_iter().map(|weight| weight as f32).collect();
        assert_eq!(network.as_deref(), Some(&weights[..]));
        let test = pollster::block_on(alone.evaluate(&set(&prepared.data.split.test), &mut Unattended)).unwrap();
        assert_eq!(end.test.loss, Some(test.loss));
        assert!(end.validation.loss.is_some() && end.validation.loss != end.train.loss);
    }
}
