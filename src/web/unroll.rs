//! The unroll in the worker: one hypergradient, told as it is taken.

use std::rc::Rc;
use std::time::Duration;

use web_time::Instant;

use super::bench::Bench;
use super::plans::Plans;
use super::post::{Post, macrotask};
use super::protocol::{Engine, FromWorker, Unroll};
use crate::bilevel::{Flow, Monitor, SolveError};
use crate::engine::LocalFuture;
use crate::experiment::error::TuneError;
use crate::experiment::unroll::{Diagram, Part, unroll};

/// Progress is told at most this often.
const NEWS: Duration = Duration::from_millis(40);

/// Takes a hypergradient of the settings at their start values, and posts how it goes. Ends early if `flow` says so.
pub async fn run(engine: Engine, plans: &Plans<'_>, bench: &mut Bench, post: &Post, flow: impl Fn() -> Flow) {
    let since = Instant::now();
    let told = match attempt(engine, plans, bench, post, flow).await {
        Ok(()) => Unroll::Done { seconds: since.elapsed().as_secs_f64() },
        Err(error) => {
            let message = (!error.is_stop()).then(|| error.to_string());
            if message.is_some() {
                bench.close(engine);
            }
            Unroll::Failed { message }
        }
    };
    post.send(&FromWorker::Unroll(told));
}

async fn attempt(
    engine: Engine,
    plans: &Plans<'_>,
    bench: &mut Bench,
    post: &Post,
    flow: impl Fn() -> Flow,
) -> Result<(), TuneError> {
    let run = Rc::new(bench.ready(plans)?);
    if bench.prepare(engine, &run, &flow).await? == Flow::Stop {
        return Err(SolveError::Stopped.into());
    }
    let device = bench.engine(engine).await.map_err(SolveError::from)?;
    let bytes = run.blueprint()?.bytes() as f64;
    let out = post.clone();
    let tell = move |part| out.send(&FromWorker::Unroll(told(part, bytes)));
    unroll(&run, &device, tell, &mut Watching { post, flow, told: None }).await.map(drop)
}

fn told(part: Part, bytes: f64) -> Unroll {
    let flat = |numbers: &mut dyn Iterator<Item = usize>| numbers.map(|number| number as u32).collect();
    match part {
        Part::Plan(Diagram { steps, places, actions, turns, kept }) => Unroll::Plan {
            steps: steps as u32,
            places: places as u32,
            bytes,
            actions: actions as u32,
            turns: flat(&mut turns.into_iter().flatten()),
            kept: flat(&mut kept.into_iter().flatten()),
        },
        Part::Turned { loss, losses } => {
            Unroll::Turned { loss, losses: losses.into_iter().map(|loss| loss as f32).collect() }
        }
        Part::Back { from, slopes } => Unroll::Back { from: from as u32, slopes },
    }
}

/// Tells how far it is, and lets messages through.
struct Watching<'a, F> {
    post: &'a Post,
    flow: F,
    told: Option<Instant>,
}

impl<F: Fn() -> Flow> Monitor for Watching<'_, F> {
    fn progress(&mut self, done: u64, _total: u64) {
        if self.told.is_none_or(|at| at.elapsed() >= NEWS) {
            self.told = Some(Instant::now());
            self.post.send(&FromWorker::Unroll(Unroll::Progress { done: done as u32 }));
        }
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(async {
            macrotask().await;
            (self.flow)()
        })
    }
}
