//! The processor engine: programs in f32 with SIMD, natively (on all cores) and in wasm.
//!
//! When a program is loaded, each dispatch's index expressions are solved for the strides of its
//! loads and stores (`affine.rs`). Contractions then are matrix products over strided views, done by
//! the `gemm` crate; everything pointwise runs in blocks of columns that stay in the first-level
//! cache (`tape.rs`), their inner loops being those of the crate `stackelberg-columns`. Sums and units of work follow from the program alone, so results do not depend
//! on the number of threads.

mod affine;
mod array;
mod columns;
mod contract;
mod kernel;
mod nest;
mod tape;
mod threads;

use web_time::Instant;

use crate::compile::{Buffer, BufferIndex, Program};
use crate::engine::EngineInfo;
use crate::host::{Arithmetic, Cell, HostEngine, Memory};
use crate::ir::DType;
use array::{Array, Arrays};
use kernel::Kernel;
use threads::Threads;

/// Runs programs in f32 on the processor.
pub type CpuEngine = HostEngine<F32>;

/// Arithmetic in f32 on some threads.
pub struct F32 {
    threads: Threads,
}

/// An element's bits.
impl Cell for u32 {
    fn new(dtype: DType, value: f64) -> Self {
        match dtype {
            DType::F32 => (value as f32).to_bits(),
            DType::U32 => value as u32,
        }
    }

    fn value(self, dtype: DType) -> f64 {
        match dtype {
            DType::F32 => f32::from_bits(self).into(),
            DType::U32 => self.into(),
        }
    }
}

/// A program's kernels, with memory for operands that must be computed before a contraction.
pub struct Ready {
    buffers: Vec<Buffer>,
    kernels: Vec<Kernel>,
    packed: [Vec<u32>; 2],
    own_bytes: u64,
    members: usize,
}

impl Arithmetic for F32 {
    type Cell = u32;
    type Ready = Ready;

    fn prepare(&self, program: &Program) -> Ready {
        let kernels: Vec<Kernel> =
            program.dispatches.iter().map(|dispatch| Kernel::new(&program.buffers, dispatch)).collect();
        let longest = |operand: usize, with_small| {
            kernels.iter().map(|kernel| kernel.packed(with_small)[operand]).max().unwrap_or(0)
        };
        let packed = [vec![0; longest(0, true)], vec![0; longest(1, true)]];
        let own_bytes = 4 * (longest(0, false) + longest(1, false)) as u64;
        Ready { buffers: program.buffers.clone(), kernels, packed, own_bytes, members: program.members }
    }

    fn own_bytes(&self, ready: &Ready) -> u64 {
        ready.own_bytes
    }

    fn run(&self, ready: &mut Ready, mut memory: Memory<u32>, mut seconds: Option<&mut [f64]>) {
        let Ready { buffers, kernels, packed, members, .. } = ready;
        let indices = (0..buffers.len()).map(|index| BufferIndex(index as u32));
        let whole: Vec<Array> = indices.map(|index| Array::at(memory.pointer(index))).collect();
        let of = |member: usize| -> Vec<Array> {
            whole.iter().zip(&*buffers).map(|(array, buffer)| array.cut(member * buffer.step, buffer.len)).collect()
        };
        let core = Array::of(&mut []);
        if seconds.is_none() && *members > 1 && (2..=*members).contains(&self.threads.count()) {
            // A member to a thread: they need not wait for each other after every dispatch.
            self.threads.within(|| {
                self.threads.each(*members, |member, workspace| {
                    let mut own = std::mem::take(&mut workspace.packed);
                    let packed = [0, 1].map(|operand| {
                        own[operand].resize(packed[operand].len().max(own[operand].len()), 0);
                        Array::of(&mut own[operand])
                    });
                    let arrays = Arrays { buffers: &of(member), core, packed };
                    kernels.iter().for_each(|kernel| kernel.run_alone(&arrays, workspace));
                    workspace.packed = own;
                });
            });
            return;
        }
        let [left, right] = packed;
        let packed = [Array::of(left), Array::of(right)];
        self.threads.within(|| {
            for member in 0..*members {
                let arrays = Arrays { buffers: &of(member), core, packed };
                let mut seconds = seconds.as_deref_mut();
                for (at, kernel) in kernels.iter().enumerate() {
                    let start = seconds.is_some().then(Instant::now);
                    kernel.run(&self.threads, &arrays);
                    if let (Some(seconds), Some(start)) = (&mut seconds, start) {
                        seconds[at] += start.elapsed().as_secs_f64();
                    }
                }
            }
        });
    }
}

impl CpuEngine {
    /// An engine on so many threads, or on all processors for 0 (in the browser always one).
    pub fn new(threads: usize) -> Self {
        let threads = Threads::new(threads);
        let info = EngineInfo {
            engine: "cpu".to_owned(),
            adapter: format!("processor with {}", instructions()),
            backend: match threads.count() {
                1 => "1 thread".to_owned(),
                count => format!("{count} threads"),
            },
            driver: env!("CARGO_PKG_VERSION").to_owned(),
            software: true,
            max_buffer_bytes: 1 << 32,
        };
        HostEngine::over(F32 { threads }, info)
    }
}

/// The vector instructions that matrix products use here: the last bits depend on them.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    if cfg!(target_arch = "aarch64") {
        "NEON"
    } else if cfg!(target_feature = "simd128") {
        "wasm SIMD"
    } else {
        "no vector instructions"
    }
}
