//! A check of the hypergradient in the worker.

use super::bench::{Bench, Plans};
use super::post::{Post, Visitor};
use super::protocol::{Agreement, CheckReport, Engine, FromWorker, Outcome, Verdict};
use crate::bilevel::{Flow, SolveError};
use crate::experiment::check::{self, Along, CheckError, Comparison, GradientCheck, Subject};
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;

/// Seconds that a check may take; with more to do, fewer training steps are checked.
const SECONDS: f64 = 20.0;

/// Checks on the settings of a run, posts the outcome or why there is none. Ends early if `flow` says so.
pub async fn run(engine: Engine, plans: &Plans<'_>, bench: &mut Bench, post: &Post, flow: impl Fn() -> Flow) {
    let answer = match attempt(engine, plans, bench, post, flow).await {
        Ok(check) => FromWorker::Checked(report(&check)),
        Err(CheckError::Tune(TuneError::Solve(SolveError::Stopped))) => FromWorker::Unchecked { message: None },
        Err(error) => {
            bench.close(engine);
            FromWorker::Unchecked { message: Some(error.to_string()) }
        }
    };
    post.send(&answer);
}

async fn attempt(
    engine: Engine,
    plans: &Plans<'_>,
    bench: &mut Bench,
    post: &Post,
    flow: impl Fn() -> Flow,
) -> Result<GradientCheck, CheckError> {
    let pace = bench.measured(engine, plans).await?;
    let subject = |config: &TuneConfig| Subject::new(config, plans.source, None, Along::GROUPS);
    let seconds = |subject: &Subject| subject.seconds(&pace, false);
    let (subject, seconds) = Subject::in_time(&mut plans.config.clone(), 1, SECONDS, subject, seconds)?;
    post.send(&FromWorker::Checking { steps: subject.steps() as u32, seconds });
    let device = bench.engine(engine).await.map_err(SolveError::from)?;
    subject.check(device, None, &mut Visitor { flow }).await
}

fn report(check: &GradientCheck) -> CheckReport {
    let agreement = |comparison: &Comparison| Agreement {
        methods: comparison.answers.map(|k| check.answers[k].method.clone()).into(),
        angle: comparison.angle,
        error: comparison.relative_error,
        shows: comparison.shown(),
        verdict: verdict(comparison.verdict()),
    };
    CheckReport {
        steps: check.steps as u32,
        directions: check.directions.clone(),
        methods: check.answers.iter().map(|answer| answer.method.clone()).collect(),
        values: check.answers.iter().map(|answer| answer.values.clone()).collect(),
        verdicts: check.verdicts.iter().copied().map(verdict).collect(),
        agreements: check.comparisons.iter().map(agreement).collect(),
        outcome: match check.outcome {
            check::Outcome::Passed => Outcome::Passed,
            check::Outcome::Partly => Outcome::Partly,
            check::Outcome::Unsettled => Outcome::Unsettled,
            check::Outcome::Failed => Outcome::Failed,
        },
    }
}

fn verdict(verdict: check::Verdict) -> Verdict {
    match verdict {
        check::Verdict::Agree => Verdict::Agree,
        check::Verdict::Unsettled => Verdict::Unsettled,
        check::Verdict::Disagree => Verdict::Disagree,
    }
}
