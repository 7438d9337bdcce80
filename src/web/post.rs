//! The worker's side of the talk with the page: how messages go out, and how others come in meanwhile.

use js_sys::{Function, Promise};
use serde::Serialize;
use tsify::Tsify;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageChannel;

use crate::bilevel::{Flow, Monitor};
use crate::engine::LocalFuture;

/// Where messages to the page go.
#[derive(Clone)]
pub struct Post(pub Function);

impl Post {
    pub fn send<M: Tsify + Serialize>(&self, message: &M) {
        // Plain values always turn into JavaScript, and the function is the worker's own `postMessage`.
        let value = message.into_js().expect("messages are plain values");
        let _ = self.0.call1(&JsValue::NULL, value.as_ref());
    }
}

/// Lets the worker take messages. A resolved promise would not: it goes on before the next message is looked at.
pub async fn macrotask() {
    let Ok(channel) = MessageChannel::new() else { return };
    let turn = Promise::new(&mut |resolve, _| channel.port1().set_onmessage(Some(&resolve)));
    if channel.port2().post_message(&JsValue::NULL).is_ok() {
        let _ = JsFuture::from(turn).await;
    }
    channel.port1().close();
}

/// Lets the page's messages through between the parts of a task.
pub struct Visitor<F> {
    /// Whether to go on.
    pub flow: F,
}

impl<F: Fn() -> Flow> Monitor for Visitor<F> {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(async {
            macrotask().await;
            (self.flow)()
        })
    }
}
