//! What runs programs: one trait, several engines.

use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::collections::HashMap;

use crate::compile::{Buffer, Place, Program};
use crate::ir::DType;

/// A future that stays on its thread (the browser has only one).
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Why an engine could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum EngineError {
    /// There is no GPU to use.
    #[error("no usable GPU adapter: {reason}. {mend}")]
    NoAdapter { reason: String, mend: String },
    /// An array or a program is larger than the device takes (`limit`, in bytes) or than what is left of its memory.
    #[error("out of memory: {what} needs {}{}", mebibytes(*bytes), limit.map(|l| format!(", the limit is {}", mebibytes(l))).unwrap_or_default())]
    OutOfMemory { what: String, bytes: u64, limit: Option<u64> },
    /// The device is gone, with everything on it: a driver was reset, a GPU unplugged, or a browser took it back.
    #[error("the device was lost: {reason}")]
    DeviceLost { reason: String },
    /// A driver does not compile a kernel.
    #[error("shader of `{label}` was refused:\n{message}")]
    Shader { label: String, message: String },
    /// A call that no engine does (of wrong lengths, types or arrays), or one that this driver refuses.
    #[error("the device refused an operation: {message}")]
    Device { message: String },
}

/// A number of bytes for people.
pub fn mebibytes(bytes: u64) -> String {
    match bytes {
        0..1024 => several(bytes, "byte"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// "1 step", "2 steps".
pub fn several(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Result of an engine's call.
pub type Result<T> = std::result::Result<T, EngineError>;

slotmap::new_key_type! {
    /// An array on the device. No other has the same, even after it was destroyed.
    pub struct BufferId;

    /// A loaded program.
    pub struct ProgramId;

    /// A loaded program with its arrays.
    pub struct BindingId;
}

/// Something recorded into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Runs a program on the arrays bound to it.
    Run(BindingId),
    /// Copies a whole array to another of the same length and type.
    Copy {
        /// The array read.
        from: BufferId,
        /// The array overwritten.
        to: BufferId,
    },
}

/// Values on their way to a device.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Single floats, for float arrays.
    F32(&'a [f32]),
    /// Doubles, for arrays of either type: rounded to single by engines that hold such, and exact where words are meant.
    F64(&'a [f64]),
    /// Words, for word arrays.
    U32(&'a [u32]),
}

impl Values<'_> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(x) => x.len(),
            Values::F64(x) => x.len(),
            Values::U32(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they fit an array of that type: doubles fit both, the others their own.
    pub(crate) fn fit(&self, dtype: DType) -> bool {
        match self {
            Values::F32(_) => dtype == DType::F32,
            Values::F64(_) => true,
            Values::U32(_) => dtype == DType::U32,
        }
    }
}

/// Refuses an operation that no engine does.
pub(crate) fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(EngineError::Device { message: message.into() })
}

/// Whether values fit an array from an offset on, in number and type.
pub(crate) fn check_write(label: &str, (dtype, len): (DType, usize), offset: usize, values: Values) -> Result<()> {
    if offset.checked_add(values.len()).is_none_or(|end| end > len) {
        return refuse(format!("{} values from {offset} do not fit array `{label}` of {len}", values.len()));
    }
    if !values.fit(dtype) {
        return refuse(format!("array `{label}` holds {dtype:?}, the values given are of the other type"));
    }
    Ok(())
}

/// Whether an array can be copied to another.
pub(crate) fn check_copy(same: bool, labels: [&str; 2], [source, target]: [(DType, usize); 2]) -> Result<()> {
    if same || source != target {
        return refuse(format!(
            "array `{}` ({:?} × {}) cannot be copied to array `{}` ({:?} × {})",
            labels[0], source.0, source.1, labels[1], target.0, target.1
        ));
    }
    Ok(())
}

/// What every engine says of an array, a program or a binding that it does not hold.
pub(crate) const NO_ARRAY: &str = "the array does not exist (any more)";
pub(crate) const NO_PROGRAM: &str = "the program does not exist (any more)";
pub(crate) const NO_BINDING: &str =
    "there is no such binding (any more): its program was unloaded, or one of its arrays was destroyed";

/// Whether arrays fit a program: number, types, lengths, and no array written that is also something else.
pub(crate) fn check_binding(
    program: &str,
    wanted: [&[&Buffer]; 2],
    given: [&[BufferId]; 2],
    array: impl Fn(BufferId) -> Result<(DType, usize)>,
) -> Result<()> {
    for (what, wanted, given) in [("input", wanted[0], given[0]), ("output", wanted[1], given[1])] {
        if given.len() != wanted.len() {
            return refuse(format!(
                "program `{program}` takes {} {what} arrays, {} were given",
                wanted.len(),
                given.len()
            ));
        }
        for (&id, wanted) in given.iter().zip(wanted) {
            let (dtype, len) = array(id)?;
            if (dtype, len) != (wanted.dtype, wanted.elements()) {
                return refuse(format!(
                    "{what} `{}` of program `{program}` is {:?} × {}, the array given is {dtype:?} × {len}",
                    wanted.name,
                    wanted.dtype,
                    wanted.elements()
                ));
            }
        }
    }
    let [inputs, outputs] = given;
    let mut owners: HashMap<BufferId, Place> = HashMap::new();
    for (buffer, id) in wanted[0].iter().zip(inputs).chain(wanted[1].iter().zip(outputs)) {
        let other = owners.insert(*id, buffer.place).filter(|&other| other != buffer.place);
        let read_only = |place: Place| matches!(place, Place::Input(_));
        if other.is_some_and(|other| !(read_only(other) && read_only(buffer.place))) {
            return refuse(format!(
                "`{}` of program `{program}` would share its array with another argument while one of them is written",
                buffer.name
            ));
        }
        if let Place::InPlace { input, output } = buffer.place
            && inputs[input] != outputs[output]
        {
            return refuse(format!(
                "`{}` of program `{program}` is updated in place: its output must be the array of its input",
                buffer.name
            ));
        }
    }
    Ok(())
}

/// Who computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// `gpu`, `cpu` or `reference`.
    pub engine: String,
    /// Name of the adapter, as its driver gives it.
    pub adapter: String,
    /// What the adapter is reached through, such as `vulkan` or `webgpu`; the number of threads of a processor.
    pub backend: String,
    /// Name and version of the driver.
    pub driver: String,
    /// Whether a processor stands in for a GPU.
    pub software: bool,
    /// Largest single array, in bytes.
    pub max_buffer_bytes: u64,
}

/// Counts since the engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Launches of kernels, or what would be one on a GPU.
    pub dispatches: u64,
    /// Calls of [`Engine::submit`].
    pub submits: u64,
    /// Calls of [`Engine::read`].
    pub readbacks: u64,
    /// Arrays made, scratch included.
    pub buffers_created: u64,
    /// Programs bound to arrays: on a GPU, a bind group for each of their kernels.
    pub bindings_made: u64,
    /// Bytes allocated now, scratch included, and the largest that was.
    pub bytes: u64,
    /// Most bytes allocated at once; see [`Engine::forget_peak`].
    pub peak_bytes: u64,
}

/// What an engine holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Arrays of callers; scratch memory is the engine's own.
    pub arrays: usize,
    /// Programs loaded.
    pub programs: usize,
    /// Programs bound to arrays.
    pub bindings: usize,
}

/// What the launches of a program took.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Seconds of each, in their order.
    pub seconds: Vec<f64>,
    /// Who counted them.
    pub clock: Clock,
}

/// Who counts the seconds of launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Whoever computes, where the launch begins and ends.
    Device,
    /// The host, which waits for each launch by itself: the way there and back is in it.
    Host,
}

/// An engine holds arrays, loads programs, and runs recorded commands in order.
///
/// Only five things wait: loading, reading, timing, finishing, and making the engine itself. What they wait on does not hold
/// the engine, so that others may use it meanwhile; see [`Device`](crate::rig::Device).
pub trait Engine {
    /// Who computes.
    fn info(&self) -> &EngineInfo;

    /// What was done so far.
    fn counters(&self) -> Counters;

    /// What is held now.
    fn holdings(&self) -> Holdings;

    /// A new array of zeros.
    fn create(&mut self, label: &str, dtype: DType, len: usize) -> Result<BufferId>;

    /// Ends an array, and every binding that names it.
    fn destroy(&mut self, buffer: BufferId);

    /// Overwrites elements from `offset`. Takes effect before commands submitted later.
    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> Result<()>;

    /// The whole content of each array, after all that was submitted; one read-back.
    fn read(&mut self, buffers: &[BufferId]) -> LocalFuture<'static, Result<Vec<Vec<f64>>>>;

    /// Prepares a program: pipelines are made and warmed. Programs share scratch memory.
    fn load(&mut self, program: &Program) -> LocalFuture<'static, Result<ProgramId>>;

    /// Ends a program and its bindings; with the last one the scratch memory goes.
    fn unload(&mut self, program: ProgramId);

    /// Binds arrays to a program's inputs and outputs; made once, run many times.
    ///
    /// An in-place output takes the buffer of its input.
    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<BindingId>;

    /// Records the commands into one submission.
    fn submit(&mut self, commands: &[Command]) -> Result<()>;

    /// Runs a program on the arrays bound to it, as one submission, and times each of its launches.
    fn time(&mut self, binding: BindingId) -> LocalFuture<'static, Result<Timing>>;

    /// Waits until all that was submitted is done.
    fn finish(&mut self) -> LocalFuture<'static, Result<()>>;

    /// Counts the peak of memory from here on: an engine may outlive a run.
    fn forget_peak(&mut self);
}

#[cfg(test)]
mod tests {
    use super::mebibytes;

    #[test]
    fn sizes_for_people() {
        let sizes = [0, 1, 1000, 1024, 1536, 3 << 20].map(mebibytes);
        assert_eq!(sizes, ["0 bytes", "1 byte", "1000 bytes", "1.0 KiB", "1.5 KiB", "3.0 MiB"]);
    }
}
