//! A check of the hypergradient in the worker.

use super::bench::{Bench, Plans};
use super::post::{Post, Visitor};
use super::protocol::{Agreement, CheckReport, Engine, FromWorker, Verdict};
use crate::bilevel::{Flow, Pace, SolveError};
use crate::experiment::check::{self, Along, CheckError, GradientCheck, Subject};
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
    let (subject, seconds) = affordable(&plans.config, plans, &pace)?;
    post.send(&FromWorker::Checking { steps: subject.steps() as u32, seconds });
    let device = bench.engine(engine).await.map_err(SolveError::from)?;
    subject.check(device, None, &mut Visitor { flow }).await
}

/// The check of as many training steps as are done in time, and its seconds.
fn affordable(config: &TuneConfig, plans: &Plans<'_>, pace: &Pace) -> Result<(Subject, f64), CheckError> {
    let mut config = config.clone();
    loop {
        let subject = Subject::new(&config, plans.source, None, Along::GROUPS)?;
        let seconds = subject.seconds(pace, false);
        if seconds <= SECONDS || config.steps == 1 {
            return Ok((subject, seconds));
        }
        config.steps = ((f64::from(config.steps) * SECONDS / seconds) as u32).clamp(1, config.steps - 1);
    }
}

fn report(check: &GradientCheck) -> CheckReport {
    let agreement = |comparison: &check::Comparison| Agreement {
        methods: comparison.answers.map(|k| check.answers[k].method.clone()).into(),
        angle: comparison.angle,
        error: comparison.relative_error,
        allowed: comparison.allowed,
        verdict: match comparison.verdict {
            check::Verdict::Agree => Verdict::Agree,
            check::Verdict::Disagree => Verdict::Disagree,
            check::Verdict::Undecided => Verdict::Undecided,
        },
    };
    CheckReport {
        steps: check.steps as u32,
        directions: check.directions.clone(),
        methods: check.answers.iter().map(|answer| answer.method.clone()).collect(),
        values: check.answers.iter().map(|answer| answer.values.clone()).collect(),
        agreements: check.comparisons.iter().map(agreement).collect(),
        passed: check.passed,
    }
}
