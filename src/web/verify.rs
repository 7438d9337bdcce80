//! Reference cases in the browser: what `stackelberg verify` is natively.

use std::path::Path;

use wasm_bindgen::prelude::*;

use crate::bilevel::Memory;
use crate::engine::Engine;
use crate::experiment::golden::{self, Case};
use crate::gpu::GpuEngine;

/// A GPU engine that runs reference cases, one after the other.
#[wasm_bindgen]
pub struct Verifier {
    engine: GpuEngine,
}

#[wasm_bindgen]
impl Verifier {
    /// Opens the browser's GPU.
    pub async fn open() -> Result<Verifier, JsError> {
        console_error_panic_hook::set_once();
        Ok(Verifier { engine: GpuEngine::new("auto").await? })
    }

    /// The engine that runs, so that a test can tell that no other did.
    pub fn engine(&self) -> String {
        self.engine.info().engine.clone()
    }

    /// Runs a case given by the contents of its two files; gives the comparisons of its outputs as
    /// JSON, or nothing for a kind that is not supported.
    pub async fn run(&mut self, case_json: &[u8], tensors: &[u8]) -> Result<Option<String>, JsError> {
        let case = Case::parse(Path::new("case"), case_json, tensors)?;
        if !golden::is_supported(&case) {
            return Ok(None);
        }
        let outputs = golden::run(&case, &mut self.engine, Memory::StoreAll).await?;
        Ok(Some(serde_json::to_string(&golden::compare(&case, &outputs))?))
    }
}
