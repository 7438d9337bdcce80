//! The one platform switch of the engine: how to wait for the device. A native program polls the
//! device; in a browser the event loop does it.

use futures_channel::oneshot;

/// Waits until the device sends its answer; `None` if it dropped the question.
pub async fn answer<T>(device: &wgpu::Device, receiver: oneshot::Receiver<T>) -> Option<T> {
    poll(device);
    receiver.await.ok()
}

#[cfg(not(target_arch = "wasm32"))]
fn poll(device: &wgpu::Device) {
    // An error here means a lost device, which its own callback reports.
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
}

#[cfg(target_arch = "wasm32")]
fn poll(_device: &wgpu::Device) {}
