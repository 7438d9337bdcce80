//! What the worker computes with: the engine, kept with its pipelines from one run to the next.

use super::post::{Post, macrotask};
use super::protocol::{FromWorker, Preparation};
use crate::bilevel::Flow;
use crate::compile::Program;
use crate::engine::EngineError;
use crate::gpu::GpuEngine;

/// The engine of the page, opened when it is first needed.
#[derive(Default)]
pub struct Bench {
    gpu: Option<GpuEngine>,
}

impl Bench {
    /// The engine, opened if there is none.
    pub async fn engine(&mut self) -> Result<&mut GpuEngine, EngineError> {
        if self.gpu.is_none() {
            self.gpu = Some(GpuEngine::new("auto").await?);
        }
        Ok(self.gpu.as_mut().expect("opened above"))
    }

    /// Gives the engine up, with whatever went wrong on it.
    pub fn close(&mut self) {
        self.gpu = None;
    }

    /// Makes the pipelines of programs one by one, and posts how far it is. `flow` is asked before each, after the
    /// page's messages were let through.
    pub async fn prepare(
        &mut self,
        programs: &[Program],
        post: &Post,
        flow: impl Fn() -> Flow,
    ) -> Result<Flow, EngineError> {
        let engine = self.engine().await?;
        let kernels = engine.kernels(programs)?;
        let total = kernels.len() as u32;
        let missing: Vec<_> = kernels.into_iter().filter(|(_, kernel)| !engine.is_prepared(kernel)).collect();
        let mut done = total - missing.len() as u32;
        post.send(&FromWorker::Preparing(Preparation { done, total }));
        for (label, kernel) in &missing {
            macrotask().await;
            if flow() == Flow::Stop {
                return Ok(Flow::Stop);
            }
            engine.prepare(label, kernel).await?;
            done += 1;
            post.send(&FromWorker::Preparing(Preparation { done, total }));
        }
        Ok(Flow::Continue)
    }
}
