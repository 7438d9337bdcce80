//! What the benchmark asks of the page that runs it in a browser: `benches/web.mjs` gives the functions.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    pub fn print(line: &str);

    /// Adds a line to a file.
    pub fn append(path: &str, line: &str);

    #[wasm_bindgen(js_name = processorSeconds)]
    async fn renderer_seconds() -> JsValue;
}

/// The page calls [`run`] itself.
pub fn main() {}

/// Does what the options ask.
#[wasm_bindgen]
pub async fn run(arguments: Vec<String>) {
    console_error_panic_hook::set_once();
    super::run(&arguments).await;
}

/// Time on a processor of all threads of the browser's renderer, which runs the module and compiles it.
pub async fn processor_seconds() -> f64 {
    renderer_seconds().await.as_f64().unwrap_or(0.0)
}

/// MB of the module's memory, which never shrinks.
pub fn resident() -> f64 {
    // Counted in pages of 64 KiB.
    core::arch::wasm32::memory_size(0) as f64 / 16.0
}

pub fn peak() -> f64 {
    resident()
}

pub fn forget_peak() {}

pub fn load() -> Option<f64> {
    None
}
