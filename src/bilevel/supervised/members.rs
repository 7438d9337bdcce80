//! The data of a session: what the members of a population share, and what each has for itself.

use super::kept;
use super::problem::{Problem, Source};
use super::sets::{Set, check_weights, not_finite};
use crate::bilevel::{Inner, Session, SolveError};
use crate::data::{Examples, Targets};
use crate::engine::Values;
use crate::rng::split_seed;

/// What a session needs besides the problem.
#[derive(Clone, Debug)]
pub struct SessionData {
    /// The set of the inner loss.
    pub train: Set,
    /// The set of the outer loss.
    pub validation: Set,
    /// Initial weights.
    pub initial: Vec<f32>,
    /// Key of batches and masks where these are keyed.
    pub seed: u64,
    /// Rows of the batches `[steps, batch]` where these come from a table.
    pub batches: Vec<u32>,
    /// Dropout masks `[steps, …]` where these come from a table: in each row those of each dropout layer, one after
    /// another.
    pub masks: Vec<f32>,
}

impl SessionData {
    /// Whether a problem can be trained with them.
    pub fn check(&self, problem: &Problem) -> Result<(), SolveError> {
        Sets::from(self).check(problem)?;
        Member::from(self).check(problem, None)
    }

    /// Sets, initial weights and the key of whatever is drawn.
    pub fn new(train: Set, validation: Set, initial: Vec<f32>, seed: u64) -> Self {
        SessionData { train, validation, initial, seed, batches: vec![], masks: vec![] }
    }

    /// Writes the data, which fit, into the arrays that a problem declares for them: in a session of it, or of an inner
    /// problem that is built around it.
    pub fn fill<P: Inner + 'static>(&self, problem: &Problem, session: &mut Session<P>) -> Result<(), SolveError> {
        Sets::from(self).fill(problem, session)?;
        Member::from(self).fill(0, problem, session)
    }
}

/// The examples of a population, on the device once for all its members.
#[derive(Clone, Copy, Debug)]
pub enum Sets<'a> {
    /// Sets of their own for the inner and for the outer loss.
    Apart {
        /// The set of the inner loss.
        train: &'a Set,
        /// The set of the outer loss.
        validation: &'a Set,
    },
    /// One set that every member has its own [`Rows`] of, both to train on and to validate on: folds, for instance.
    Pool(&'a Set),
}

/// A member's rows of a pool, counted from 0. Nothing keeps the two lists apart: whoever makes folds does.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Those that it is trained on; batches are rows of this list.
    pub train: &'a [u32],
    /// Those that its outer loss is taken on.
    pub validation: &'a [u32],
}

/// What a member has for itself.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Initial weights.
    pub initial: &'a [f32],
    /// Key of batches, masks and noise where these are drawn.
    pub seed: u64,
    /// Rows of the batches `[steps, batch]` where these come from a table.
    pub batches: &'a [u32],
    /// Dropout masks `[steps, …]` where these come from a table, as in [`SessionData::masks`].
    pub masks: &'a [f32],
    /// Its rows where the sets are a pool; as many as other members have.
    pub rows: Option<Rows<'a>>,
}

impl<'a> From<&'a SessionData> for Member<'a> {
    fn from(data: &'a SessionData) -> Self {
        let SessionData { initial, seed, batches, masks, .. } = data;
        Member { initial, seed: *seed, batches, masks, rows: None }
    }
}

impl<'a> From<&'a SessionData> for Sets<'a> {
    fn from(data: &'a SessionData) -> Self {
        Sets::Apart { train: &data.train, validation: &data.validation }
    }
}

/// Refuses rows that a list of so many does not have.
fn within(name: &str, rows: &[u32], count: usize) -> Result<(), SolveError> {
    let Some(at) = rows.iter().position(|&row| row as usize >= count) else { return Ok(()) };
    let what = format!("row {} in place {at}, and there are {count} examples, counted from 0", rows[at]);
    Err(SolveError::Data { set: name.to_owned(), what })
}

impl<'a> Sets<'a> {
    /// Their arrays' names.
    fn named(self) -> Vec<(&'static str, &'a Set)> {
        match self {
            Sets::Apart { train, validation } => vec![("train", train), ("validation", validation)],
            Sets::Pool(pool) => vec![("pool", pool)],
        }
    }

    /// Whether a problem can take them.
    pub(super) fn check(self, problem: &Problem) -> Result<(), SolveError> {
        let wanted = match (self, problem.pool) {
            (Sets::Apart { train, .. }, None) => ("training examples", train.count, problem.train),
            (Sets::Pool(pool), Some(wanted)) => ("examples of the pool", pool.count, wanted),
            _ => {
                let wrong = "sets of their own and the rows of a pool exclude each other: `Problem::pool` is how many \
                             examples the pool has";
                return Err(SolveError::Problem(wrong.to_owned()));
            }
        };
        if let (what, given, wanted) = wanted
            && given != wanted
        {
            return Err(SolveError::Length { what: what.to_owned(), given, wanted });
        }
        self.named().into_iter().try_for_each(|(name, set)| set.check(problem, name))
    }

    /// Validation examples of a member.
    pub(super) fn validation(self, member: Option<&Member>) -> usize {
        match self {
            Sets::Apart { validation, .. } => validation.count,
            Sets::Pool(_) => member.and_then(|member| member.rows).map_or(0, |rows| rows.validation.len()),
        }
    }

    /// Writes them, which fit, and what else all members share.
    pub(super) fn fill<P: Inner + 'static>(
        self,
        problem: &Problem,
        session: &mut Session<P>,
    ) -> Result<(), SolveError> {
        for (name, set) in self.named() {
            match &set.x {
                Examples::Floats(values) => session.fill(&format!("{name}_x"), Values::F32(values))?,
                Examples::Bytes { bytes, .. } => {
                    let words = kept::packed(bytes, bytes.len() / set.count);
                    session.fill(&format!("{name}_x"), Values::U32(&words))?;
                }
            }
            let targets = match &set.targets {
                Targets::Labels(labels) => Values::U32(labels),
                Targets::Values(values) => Values::F32(values),
            };
            session.fill(&format!("{name}_y"), targets)?;
        }
        if let Some(scale) = &problem.bytes {
            let scale = kept::scale_array(scale);
            session.fill(kept::SCALE, Values::F32(&scale))?;
        }
        Ok(())
    }
}

impl Member<'_> {
    /// Whether a problem can be trained with it. Errors call what is wrong its own, if it is one of several.
    pub(super) fn check(&self, problem: &Problem, of: Option<usize>) -> Result<(), SolveError> {
        let named = |what: &str| of.map_or(what.to_owned(), |member| format!("{what} of member {member}"));
        check_weights(&named("initial weights"), self.initial, &problem.model)?;
        if problem.batches == Source::Table
            && let Some(at) = self.batches.iter().position(|&row| row as usize >= problem.train)
        {
            let (step, row) = (at / problem.batch, self.batches[at]);
            let what = format!("step {step} takes example {row}, and there are {}, counted from 0", problem.train);
            return Err(SolveError::Data { set: named("batches"), what });
        }
        if let Some((at, what)) = not_finite(self.masks) {
            return Err(SolveError::Data { set: named("masks"), what: format!("value {at} is {what}") });
        }
        match (self.rows, problem.pool) {
            (None, None) => Ok(()),
            (Some(Rows { train, validation }), Some(pool)) => {
                for (what, rows, wanted) in
                    [("training rows", train, problem.train), ("validation rows", validation, problem.validation)]
                {
                    let (what, given) = (named(what), rows.len());
                    if given == 0 || given != wanted {
                        let wanted = wanted.max(1);
                        return Err(SolveError::Length { what, given, wanted });
                    }
                    within(&what, rows, pool)?;
                }
                Ok(())
            }
            (rows, _) => Err(SolveError::Problem(format!(
                "a member {} rows of a pool, and the problem has {} pool",
                if rows.is_some() { "has" } else { "has no" },
                if rows.is_some() { "no" } else { "a" },
            ))),
        }
    }

    /// Writes it, which fits, where it belongs.
    pub(super) fn fill<P: Inner + 'static>(
        &self,
        member: usize,
        problem: &Problem,
        session: &mut Session<P>,
    ) -> Result<(), SolveError> {
        if problem.batches == Source::Table {
            session.fill_of(member, "batches", Values::U32(self.batches))?;
        }
        if problem.masked() == Some(Source::Table) {
            session.fill_of(member, "masks", Values::F32(self.masks))?;
        }
        if problem.takes_seed() {
            session.fill_of(member, "seed", Values::U32(&split_seed(self.seed)))?;
        }
        if let Some(rows) = self.rows {
            session.fill_of(member, "train_rows", Values::U32(rows.train))?;
            session.fill_of(member, "validation_rows", Values::U32(rows.validation))?;
        }
        session.fill_of(member, "given", Values::F32(self.initial))
    }
}
