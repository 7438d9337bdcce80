//! Where arrays are read through: mappable buffers that are used again.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;

use super::device::Device;
use super::wait;
use crate::engine::{Result, Values, refuse};
use crate::ir::DType;

/// The buffers that no reading uses now.
#[derive(Default)]
pub struct Staging {
    free: Rc<RefCell<Vec<wgpu::Buffer>>>,
}

/// One array of a reading.
pub struct Part {
    /// Its first byte.
    pub offset: u64,
    pub dtype: DType,
    pub len: usize,
}

/// A reading under way. Its buffer goes back when it ends, answered or not.
pub struct Reading {
    buffer: wgpu::Buffer,
    bytes: u64,
    parts: Vec<Part>,
    /// Whether the device was asked to map it.
    asked: bool,
    free: Rc<RefCell<Vec<wgpu::Buffer>>>,
}

impl Staging {
    /// A buffer of so many bytes or more, if there is one.
    pub fn take(&self, bytes: u64) -> Option<wgpu::Buffer> {
        let mut free = self.free.borrow_mut();
        let position = free.iter().position(|buffer| buffer.size() >= bytes)?;
        Some(free.swap_remove(position))
    }

    /// Gives all of them up.
    pub fn drain(&self) -> impl Iterator<Item = wgpu::Buffer> + use<> {
        std::mem::take(&mut *self.free.borrow_mut()).into_iter()
    }

    /// The reading of what was copied to a buffer.
    pub fn reading(&self, buffer: wgpu::Buffer, bytes: u64, parts: Vec<Part>) -> Reading {
        Reading { buffer, bytes, parts, asked: false, free: self.free.clone() }
    }
}

impl Reading {
    /// Waits for the device, and gives the values.
    pub async fn values(mut self, device: Rc<Device>) -> Result<Vec<Vec<f64>>> {
        self.asked = true;
        let (sender, receiver) = oneshot::channel();
        self.buffer.map_async(wgpu::MapMode::Read, 0..self.bytes, move |result| {
            let _ = sender.send(result);
        });
        let mapped = wait::answer(&device.device, receiver).await;
        device.check()?;
        if !matches!(mapped, Some(Ok(()))) {
            return refuse("the read-back was not answered");
        }
        match self.buffer.get_mapped_range(0..self.bytes) {
            Ok(view) => Ok(self.parts.iter().map(|part| floats(&view[part.offset as usize..], part)).collect()),
            Err(error) => refuse(format!("the read-back failed: {error}")),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.asked {
            self.buffer.unmap();
        }
        self.free.borrow_mut().push(self.buffer.clone());
    }
}

/// The elements of a part that begins where mapped memory does.
fn floats(bytes: &[u8], part: &Part) -> Vec<f64> {
    let words = bytes.chunks_exact(4).take(part.len).map(|word| [word[0], word[1], word[2], word[3]]);
    match part.dtype {
        DType::F32 => words.map(|word| f64::from(f32::from_le_bytes(word))).collect(),
        DType::U32 => words.map(|word| f64::from(u32::from_le_bytes(word))).collect(),
    }
}

/// Values as the bytes of an array of a type, which they fit.
pub fn bytes(values: Values, dtype: DType) -> Vec<u8> {
    match (values, dtype) {
        (Values::F32(x), _) => bytemuck::cast_slice(x).to_vec(),
        (Values::U32(x), _) => bytemuck::cast_slice(x).to_vec(),
        (Values::F64(x), DType::F32) => x.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        (Values::F64(x), DType::U32) => x.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect(),
    }
}
