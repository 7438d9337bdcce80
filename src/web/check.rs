//! A check of the hypergradient in the worker.

use std::rc::Rc;

use super::bench::{Bench, MEASURING};
use super::plans::Plans;
use super::post::{Post, macrotask};
use super::protocol::{CheckPart, CheckReport, Edge, Engine, FromWorker, Outcome, Verdict};
use crate::bilevel::{Flow, Monitor, SolveError};
use crate::engine::LocalFuture;
use crate::experiment::check::{self, Along, Answers, CheckError, GradientCheck, OnDevice, Size, Subject};
use crate::experiment::error::TuneError;
use crate::reference::ReferenceEngine;
use crate::rig::Device;

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
    let subject = Subject::new(Rc::new(bench.ready(plans)?), None, Along::GROUPS, false)?;
    let exact = Device::new(ReferenceEngine::new());
    let pace_in_f64 = subject.exact().measure(&exact, MEASURING).await?;
    let seconds = subject.seconds(&pace_in_f64, &bench.measured(engine, plans).await?);
    let [exact_size, size] = subject.sizes();
    let told = |share: f64| {
        post.send(&FromWorker::Checking {
            exact_steps: exact_size.steps,
            steps: size.steps,
            seconds: seconds.iter().sum(),
            share,
        });
    };
    told(0.0);
    let device = bench.engine(engine).await.map_err(SolveError::from)?;
    subject.check(&exact, Some(&device), seconds, &mut Watching { told, flow, percent: 0 }).await
}

/// Tells how far the check is, a percent at a time, and lets messages through.
struct Watching<T, F> {
    told: T,
    flow: F,
    percent: u64,
}

impl<T: Fn(f64), F: Fn() -> Flow> Monitor for Watching<T, F> {
    fn progress(&mut self, done: u64, total: u64) {
        let percent = 100 * done / total.max(1);
        if percent > self.percent {
            self.percent = percent;
            (self.told)(percent as f64 / 100.0);
        }
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(async {
            macrotask().await;
            (self.flow)()
        })
    }
}

fn report(check: &GradientCheck) -> CheckReport {
    let (device, edge) = match &check.device {
        Some(OnDevice::Answered { answers, edge, .. }) => (
            part(answers),
            edge.map(|edge| match edge {
                check::Edge::Scatter => Edge::Scatter,
                check::Edge::Steep => Edge::Steep,
            }),
        ),
        Some(OnDevice::Diverged { size }) => (empty(*size), Some(Edge::Diverged)),
        None => unreachable!("the page checks on a device"),
    };
    CheckReport {
        directions: check.directions.clone(),
        exact: part(&check.exact),
        device,
        edge,
        outcome: match check.outcome {
            check::Outcome::Passed => Outcome::Passed,
            check::Outcome::Edge => Outcome::Edge,
            check::Outcome::Unsettled => Outcome::Unsettled,
            check::Outcome::Failed => Outcome::Failed,
        },
    }
}

fn empty(Size { steps, batch, validation_windows }: Size) -> CheckPart {
    CheckPart { steps, batch, validation_windows, methods: vec![], values: vec![], verdicts: vec![] }
}

fn part(answers: &Answers) -> CheckPart {
    CheckPart {
        methods: answers.answers.iter().map(|answer| answer.method.clone()).collect(),
        values: answers.answers.iter().map(|answer| answer.values.clone()).collect(),
        verdicts: answers.verdicts.iter().copied().map(verdict).collect(),
        ..empty(answers.size)
    }
}

fn verdict(verdict: check::Verdict) -> Verdict {
    match verdict {
        check::Verdict::Agree => Verdict::Agree,
        check::Verdict::Unsettled => Verdict::Unsettled,
        check::Verdict::Disagree => Verdict::Disagree,
    }
}
