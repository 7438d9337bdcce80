//! Reference cases in the browser: what `stackelberg verify` is natively.

use std::path::Path;

use wasm_bindgen::prelude::*;

use crate::bilevel::Memory;
use crate::cpu::CpuEngine;
use crate::experiment::golden::{self, Case};
use crate::gpu::GpuEngine;
use crate::rig::Device;

/// An engine that runs reference cases, one after the other.
#[wasm_bindgen]
pub struct Verifier {
    device: Device,
}

#[wasm_bindgen]
impl Verifier {
    /// Opens the engine of a name, as the page's address gives it: `webgpu` or `cpu`.
    pub async fn open(engine: &str) -> Result<Verifier, JsError> {
        console_error_panic_hook::set_once();
        let device = match engine {
            "webgpu" => Device::new(GpuEngine::new("auto").await?),
            "cpu" => Device::new(CpuEngine::new(1)),
            other => return Err(JsError::new(&format!("there is no engine `{other}`"))),
        };
        Ok(Verifier { device })
    }

    /// The engine that runs, so that a test can tell that no other did.
    pub fn engine(&self) -> String {
        self.device.info().engine
    }

    /// Runs a case given by the contents of its two files; gives the comparisons of its outputs as
    /// JSON, none of a document that is no test, or nothing for a kind that is not supported.
    pub async fn run(&mut self, case_json: &[u8], tensors: &[u8]) -> Result<Option<String>, JsError> {
        let case = Case::parse(Path::new("case"), case_json, tensors)?;
        if !golden::is_supported(&case) {
            return Ok(None);
        }
        if case.is_no_test() {
            return Ok(Some("[]".to_owned()));
        }
        let outputs = golden::run(&case, &self.device, Memory::StoreAll).await?;
        Ok(Some(serde_json::to_string(&golden::compare(&case, &outputs))?))
    }
}
