//! Finding an adapter, opening a device on it, and noting what goes wrong on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::wait;
use crate::engine::{EngineError, EngineInfo, Result};

/// A device, its queue, and whatever has gone wrong on it.
pub struct Device {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: EngineInfo,
    troubles: Arc<Mutex<Troubles>>,
}

#[derive(Default)]
struct Troubles {
    /// Why the device is gone; stays.
    lost: Option<String>,
    /// The first error since the last look.
    error: Option<Failure>,
    /// The array made last and its bytes, to name it if memory ran out.
    newest: (String, u64),
}

/// An error of wgpu (whose own type stays on its thread in a browser).
enum Failure {
    OutOfMemory,
    Other(String),
}

/// Every adapter that could run the engine, in the order in which `INDEX` counts them.
pub async fn adapters() -> Vec<EngineInfo> {
    enumerate(&instance()).await.iter().map(describe).collect()
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = if cfg!(target_arch = "wasm32") {
        wgpu::Backends::BROWSER_WEBGPU
    } else {
        wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12
    };
    // The drivers' own validation layers only on request (WGPU_VALIDATION=1, WGPU_DEBUG=1).
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    wgpu::Instance::new(descriptor)
}

/// A browser offers one adapter, and only on request.
async fn enumerate(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    if cfg!(target_arch = "wasm32") {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        return instance.request_adapter(&options).await.into_iter().collect();
    }
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    adapters.sort_by_key(rank);
    adapters
}

/// Fast kinds of adapter first; the sort keeps the driver's order among equals.
fn rank(adapter: &wgpu::Adapter) -> usize {
    match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn describe(adapter: &wgpu::Adapter) -> EngineInfo {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let software = info.device_type == wgpu::DeviceType::Cpu;
    let unnamed = || if software { "software adapter of the browser" } else { "GPU of the browser" }.to_owned();
    EngineInfo {
        engine: "gpu".to_owned(),
        adapter: if info.name.is_empty() { unnamed() } else { info.name },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        software,
        max_buffer_bytes: limits.max_buffer_size.min(limits.max_storage_buffer_binding_size),
    }
}

/// The adapter that `choice` means: `auto`, a position in [`adapters`], `pci:` and a bus id, or part of a name.
async fn choose(choice: &str) -> Result<wgpu::Adapter> {
    let mut adapters = enumerate(&instance()).await;
    if adapters.is_empty() {
        return Err(EngineError::NoAdapter { reason: "none was found".to_owned(), mend: mend().to_owned() });
    }
    let infos: Vec<EngineInfo> = adapters.iter().map(describe).collect();
    let wanted = choice.to_lowercase();
    let on_bus = |id: &str| {
        let ids: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().device_pci_bus_id).collect();
        by_bus(&infos, &ids, id)
    };
    let position = match wanted.parse::<usize>() {
        _ if wanted.starts_with(PCI) => on_bus(&wanted[PCI.len()..]),
        _ if wanted == "auto" => Ok(0),
        Ok(index) if index < adapters.len() => Ok(index),
        Ok(_) => Err(format!("there is none of number {choice}")),
        Err(_) => by_name(&infos, &wanted),
    };
    position.map(|position| adapters.swap_remove(position)).map_err(|reason| {
        let names =
            infos.iter().enumerate().map(|(index, info)| format!("{index}: {} ({})", info.adapter, info.backend));
        EngineError::NoAdapter {
            reason,
            mend: format!("Choose one by number or name: {}", names.collect::<Vec<_>>().join("; ")),
        }
    })
}

/// Letters of a part of a name.
const SHORTEST: usize = 3;

/// The adapter with this in its name, in small letters.
fn by_name(infos: &[EngineInfo], part: &str) -> std::result::Result<usize, String> {
    if part.trim().chars().count() < SHORTEST {
        return Err(format!(
            "`{}` is too short for a part of a name, which has {SHORTEST} letters or more",
            part.trim()
        ));
    }
    let mut named = infos.iter().enumerate().filter(|(_, info)| info.adapter.to_lowercase().contains(part));
    let Some((first, info)) = named.next() else { return Err(format!("none is called `{part}`")) };
    match named.find(|(_, other)| other.adapter != info.adapter) {
        Some((_, other)) => Err(format!("`{part}` is part of two names, {} and {}", info.adapter, other.adapter)),
        None => Ok(first),
    }
}

/// What a choice by bus id begins with.
const PCI: &str = "pci:";

/// The adapter at a place on the PCI bus, which tells apart adapters of one name.
fn by_bus(infos: &[EngineInfo], ids: &[String], wanted: &str) -> std::result::Result<usize, String> {
    let form = || format!("`{wanted}` is no PCI bus id, which is written like 0000:01:00.0");
    let place = bus_place(wanted).ok_or_else(form)?;
    let found = ids.iter().position(|id| bus_place(id) == Some(place));
    found.ok_or_else(|| {
        let there = infos.iter().zip(ids).map(|(info, id)| match id.as_str() {
            "" => format!("{} (no PCI bus id)", info.adapter),
            id => format!("{} ({id})", info.adapter),
        });
        format!("no adapter has the PCI bus id {wanted}; there are {}", there.collect::<Vec<_>>().join(", "))
    })
}

/// Domain, bus, device and function of a bus id. Tools write the domain in four digits, in eight, or not at all.
fn bus_place(id: &str) -> Option<[u32; 4]> {
    let (place, function) = id.trim().rsplit_once('.')?;
    let mut numbers = vec![];
    for part in place.split(':').chain([function]) {
        numbers.push(u32::from_str_radix(part, 16).ok()?);
    }
    match numbers[..] {
        [domain, bus, device, function] => Some([domain, bus, device, function]),
        [bus, device, function] => Some([0, bus, device, function]),
        _ => None,
    }
}

/// What to do where no adapter is found.
fn mend() -> &'static str {
    if cfg!(target_arch = "wasm32") {
        "This browser offers no WebGPU here: use a current Chrome, Edge, Firefox or Safari over https or localhost, \
         and see chrome://gpu or about:support for why it may be switched off"
    } else if cfg!(target_os = "linux") {
        "Install a Vulkan driver (on Debian and Ubuntu: `apt-get install mesa-vulkan-drivers`, which also runs \
         without a GPU), or use `--device cpu`"
    } else {
        "Update the graphics driver, or use `--device cpu`"
    }
}

impl Device {
    pub async fn open(choice: &str) -> Result<Self> {
        let adapter = choose(choice).await?;
        let info = describe(&adapter);
        let offered = adapter.limits();
        // WebGPU's defaults suffice; only the size of arrays is taken as large as it comes.
        let required_limits = wgpu::Limits {
            max_buffer_size: offered.max_buffer_size,
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            ..wgpu::Limits::default()
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("stackelberg"),
            // What is left out is waited for instead of timed.
            required_features: adapter.features() & wgpu::Features::TIMESTAMP_QUERY,
            required_limits,
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| EngineError::NoAdapter {
            reason: format!("`{}` gives no device: {error}", info.adapter),
            mend: mend().to_owned(),
        })?;
        let troubles = Arc::new(Mutex::new(Troubles::default()));
        let of_errors = troubles.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            let failure = match error {
                wgpu::Error::OutOfMemory { .. } => Failure::OutOfMemory,
                other => Failure::Other(other.to_string()),
            };
            lock(&of_errors).error.get_or_insert(failure);
        }));
        let of_loss = troubles.clone();
        device.set_device_lost_callback(move |reason, message| {
            let message = if message.is_empty() { format!("{reason:?}") } else { message };
            lock(&of_loss).lost.get_or_insert(message);
        });
        Ok(Self { device, queue, info, troubles })
    }

    /// The first thing that went wrong since the last look, if any. A lost device stays lost.
    pub fn check(&self) -> Result<()> {
        let mut troubles = lock(&self.troubles);
        if let Some(reason) = &troubles.lost {
            return Err(EngineError::DeviceLost { reason: reason.clone() });
        }
        match troubles.error.take() {
            None => Ok(()),
            Some(Failure::OutOfMemory) => {
                let (what, bytes) = troubles.newest.clone();
                Err(EngineError::OutOfMemory { what, bytes, limit: None })
            }
            Some(Failure::Other(message)) => Err(EngineError::Device { message }),
        }
    }

    /// Waits until all that was submitted is done.
    pub async fn finish(&self) -> Result<()> {
        self.check()?;
        self.idle().await;
        self.check()
    }

    async fn idle(&self) {
        let (sender, receiver) = oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        wait::answer(&self.device, receiver).await;
    }

    /// Destroys the device and waits until the loss is known.
    pub async fn lose(&self) {
        self.device.destroy();
        self.idle().await;
        lock(&self.troubles).lost.get_or_insert("destroyed on request".to_owned());
    }

    /// A zeroed buffer for `bytes` bytes. Sizes are rounded up to whole four-vectors of words.
    pub fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let bound = usage.contains(wgpu::BufferUsages::STORAGE);
        let limit = if bound { self.info.max_buffer_bytes } else { self.device.limits().max_buffer_size };
        let size = padded(bytes);
        if size > limit {
            return Err(EngineError::OutOfMemory { what: format!("`{label}`"), bytes, limit: Some(limit) });
        }
        self.check()?;
        lock(&self.troubles).newest = (format!("`{label}` (or an array made before it)"), bytes);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        self.check()?;
        Ok(buffer)
    }
}

/// Bytes that a buffer for so many takes: never none, and whole vectors.
pub fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(16).max(16)
}

/// What has gone wrong is as readable after a panic elsewhere as before.
fn lock(troubles: &Mutex<Troubles>) -> MutexGuard<'_, Troubles> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(name: &str) -> EngineInfo {
        EngineInfo {
            engine: "gpu".to_owned(),
            adapter: name.to_owned(),
            backend: "vulkan".to_owned(),
            driver: String::new(),
            software: false,
            max_buffer_bytes: 1 << 30,
        }
    }

    #[test]
    fn adapters_of_one_name_are_told_apart_by_their_place_on_the_bus() {
        let infos = ["A", "A", "software"].map(gpu);
        let ids = ["0000:41:00.0", "0001:41:00.0", ""].map(str::to_owned);
        for (id, position) in [("0000:41:00.0", 0), ("41:00.0", 0), ("00000001:41:00.0", 1), ("0000:41:00.0 ", 0)] {
            assert_eq!(by_bus(&infos, &ids, id), Ok(position), "{id}");
        }
        let missing = by_bus(&infos, &ids, "0000:42:00.0").unwrap_err();
        assert_eq!(
            missing,
            "no adapter has the PCI bus id 0000:42:00.0; there are A (0000:41:00.0), A (0001:41:00.0), software (no PCI \
             bus id)"
        );
        for wrong in ["", "1", "0000:41:00", "x:41:00.0", "0:0:41:00.0"] {
            assert!(by_bus(&infos, &ids, wrong).unwrap_err().contains("is no PCI bus id"), "{wrong}");
        }
    }
}
