//! What the tests of engines share: a GPU, a way to write programs by hand, plain f64 loops that say
//! what a program means, and the properties that hold on every engine.
#![allow(dead_code)] // each test file uses its part

pub mod bounds;
pub mod calls;
pub mod graphs;
pub mod kernels;
pub mod programs;
pub mod scalars;

use stackelberg::compile::{Buffer, BufferIndex, Core, Dispatch, Expr, ExprId, Place, Program, Store};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::{BindingId, BufferId, Command, Engine, ProgramId, Values};
use stackelberg::gpu::GpuEngine;
use stackelberg::ir::{DType, Scalar, numel};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

/// A GPU engine on whatever adapter there is. Without one the test is skipped loudly, or fails where
/// `CI` or `REQUIRE_GPU` is set.
pub fn gpu() -> Option<GpuEngine> {
    match pollster::block_on(GpuEngine::new("auto")) {
        Ok(engine) => Some(engine),
        Err(error) if std::env::var_os("CI").is_some() || std::env::var_os("REQUIRE_GPU").is_some() => {
            panic!("this test needs a GPU adapter: {error}")
        }
        Err(error) => {
            eprintln!("SKIPPED, no GPU adapter: {error}");
            None
        }
    }
}

/// A device of every engine, the reference first; the processor with so many threads.
pub fn devices(threads: usize) -> Vec<Device> {
    let devices = [Device::new(ReferenceEngine::new()), Device::new(CpuEngine::new(threads))];
    devices.into_iter().chain(gpu().map(Device::new)).collect()
}

/// The expressions of a dispatch under construction.
#[derive(Default)]
pub struct Exprs(pub Vec<Expr>);

impl Exprs {
    pub fn push(&mut self, expr: Expr) -> ExprId {
        if let Some(known) = self.0.iter().position(|other| *other == expr) {
            return ExprId(known as u32);
        }
        self.0.push(expr);
        ExprId(self.0.len() as u32 - 1)
    }

    pub fn float(&mut self, value: f64) -> ExprId {
        self.push(Expr::Const(value.to_bits()))
    }

    pub fn word(&mut self, value: usize) -> ExprId {
        self.push(Expr::ConstU(value as u32))
    }

    pub fn coord(&mut self, axis: usize) -> ExprId {
        self.push(Expr::Coord(axis))
    }

    pub fn reduced(&mut self, axis: usize) -> ExprId {
        self.push(Expr::Reduced(axis))
    }

    pub fn flat(&mut self) -> ExprId {
        self.push(Expr::Flat)
    }

    pub fn acc(&mut self) -> ExprId {
        self.push(Expr::Acc)
    }

    pub fn load(&mut self, buffer: usize, index: ExprId) -> ExprId {
        self.push(Expr::Load { buffer: BufferIndex(buffer as u32), index })
    }

    pub fn op(&mut self, scalar: Scalar, arguments: &[ExprId]) -> ExprId {
        self.push(Expr::Scalar(scalar, arguments.to_vec()))
    }

    /// Σ coordinate · stride as an index.
    pub fn index(&mut self, terms: &[(ExprId, usize)]) -> ExprId {
        let mut sum = self.word(0);
        for &(coordinate, stride) in terms {
            let stride = self.word(stride);
            let term = self.op(Scalar::MulU, &[coordinate, stride]);
            sum = self.op(Scalar::AddU, &[sum, term]);
        }
        sum
    }

    pub fn dispatch(self, domain: &[usize], core: Core, stores: &[(usize, ExprId)]) -> Dispatch {
        let stores = stores
            .iter()
            .map(|&(buffer, value)| Store { buffer: BufferIndex(buffer as u32), offset: 0, value })
            .collect();
        Dispatch { label: "by hand".to_owned(), domain: domain.to_vec(), core, exprs: self.0, stores }
    }
}

pub fn buffer(name: &str, dtype: DType, len: usize, place: Place) -> Buffer {
    Buffer { name: name.to_owned(), dtype, len, copies: 1, step: 0, place }
}

/// A program whose buffers are inputs, then outputs.
pub fn program(inputs: &[(DType, usize)], outputs: &[(DType, usize)], dispatches: Vec<Dispatch>) -> Program {
    let mut buffers: Vec<Buffer> = vec![];
    for (at, &(dtype, len)) in inputs.iter().enumerate() {
        buffers.push(buffer(&format!("in{at}"), dtype, len, Place::Input(at)));
    }
    for (at, &(dtype, len)) in outputs.iter().enumerate() {
        buffers.push(buffer(&format!("out{at}"), dtype, len, Place::Output(at)));
    }
    let indices = |range: std::ops::Range<usize>| range.map(|at| BufferIndex(at as u32)).collect();
    Program {
        name: "by hand".to_owned(),
        inputs: indices(0..inputs.len()),
        outputs: indices(inputs.len()..buffers.len()),
        buffers,
        scratch: vec![],
        members: 1,
        launches: vec![1; dispatches.len()],
        dispatches,
    }
}

/// A program bound to arrays of its own.
pub struct Bound {
    pub binding: BindingId,
    pub inputs: Vec<BufferId>,
    pub outputs: Vec<BufferId>,
}

impl Bound {
    /// Makes the arrays of a loaded program and fills its inputs.
    pub fn new(engine: &mut dyn Engine, program: &Program, id: ProgramId, values: &[Vec<f64>]) -> Self {
        let mut inputs = vec![];
        for (buffer, values) in program.inputs.iter().zip(values) {
            let buffer = program.buffer(*buffer);
            let array = engine.create(&buffer.name, buffer.dtype, buffer.elements()).unwrap();
            engine.write(array, 0, Values::F64(values)).unwrap();
            inputs.push(array);
        }
        let mut outputs = vec![];
        for buffer in &program.outputs {
            let buffer = program.buffer(*buffer);
            outputs.push(match buffer.place {
                Place::InPlace { input, .. } => inputs[input],
                _ => engine.create(&buffer.name, buffer.dtype, buffer.elements()).unwrap(),
            });
        }
        let binding = engine.bind(id, &inputs, &outputs).unwrap();
        Bound { binding, inputs, outputs }
    }

    pub fn destroy(self, engine: &mut dyn Engine) {
        self.inputs.into_iter().chain(self.outputs).for_each(|array| engine.destroy(array));
    }
}

/// Outputs of a program on an engine.
pub fn run(engine: &mut dyn Engine, program: &Program, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let id = pollster::block_on(engine.load(program)).unwrap();
    run_loaded(engine, program, id, inputs)
}

/// Outputs of a program that is loaded.
pub fn run_loaded(engine: &mut dyn Engine, program: &Program, id: ProgramId, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let bound = Bound::new(engine, program, id, inputs);
    engine.submit(&[Command::Run(bound.binding)]).unwrap();
    let values = pollster::block_on(engine.read(&bound.outputs)).unwrap();
    bound.destroy(engine);
    values
}

/// Outputs of a program by plain f64 loops.
pub fn reference(program: &Program, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut memory: Vec<Vec<f64>> = program.buffers.iter().map(|buffer| vec![0.0; buffer.len]).collect();
    for (index, values) in program.inputs.iter().zip(inputs) {
        memory[index.0 as usize] = values.clone();
    }
    for dispatch in &program.dispatches {
        let before = memory.clone();
        for flat in 0..numel(&dispatch.domain) {
            let coords = unravel(flat, &dispatch.domain);
            let mut at = At { dispatch, memory: &before, flat, coords: &coords, reduced: &[], acc: 0.0 };
            at.acc = at.core();
            for store in &dispatch.stores {
                memory[store.buffer.0 as usize][store.offset + flat] = at.value(store.value);
            }
        }
    }
    program.outputs.iter().map(|index| memory[index.0 as usize].clone()).collect()
}

struct At<'a> {
    dispatch: &'a Dispatch,
    memory: &'a [Vec<f64>],
    flat: usize,
    coords: &'a [usize],
    reduced: &'a [usize],
    acc: f64,
}

impl At<'_> {
    fn core(&self) -> f64 {
        let each = |extent: &[usize], mut body: Box<dyn FnMut(&At) + '_>| {
            for step in 0..numel(extent) {
                body(&At { reduced: &unravel(step, extent), ..*self });
            }
        };
        let mut acc = 0.0;
        match &self.dispatch.core {
            Core::Map => {}
            Core::Reduce { extent, value } => each(extent, Box::new(|at| acc += at.value(*value))),
            Core::Contract { extent, a, b, .. } => {
                each(extent, Box::new(|at| acc += at.value(*a) * at.value(*b)));
            }
            Core::ArgMax { extent, value } => {
                let mut best = f64::NEG_INFINITY;
                each(
                    &[*extent],
                    Box::new(|at| {
                        if at.value(*value) > best {
                            (best, acc) = (at.value(*value), at.reduced[0] as f64);
                        }
                    }),
                );
            }
        }
        acc
    }

    fn value(&self, id: ExprId) -> f64 {
        match self.dispatch.expr(id) {
            Expr::Const(bits) => f64::from_bits(*bits),
            Expr::ConstU(word) => f64::from(*word),
            Expr::Flat => self.flat as f64,
            Expr::Coord(axis) => self.coords[*axis] as f64,
            Expr::Reduced(axis) => self.reduced[*axis] as f64,
            Expr::Acc => self.acc,
            Expr::Load { buffer, index } => self.memory[buffer.0 as usize][self.value(*index) as usize],
            Expr::Scalar(scalar, arguments) => {
                let values: Vec<f64> = arguments.iter().map(|argument| self.value(*argument)).collect();
                scalar.eval(&values)
            }
        }
    }
}

fn unravel(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut coords = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        coords[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    coords
}

/// Reproducible values in [-1, 1].
pub fn noise(seed: usize, len: usize) -> Vec<f64> {
    let word = |i: usize| stackelberg::rng::threefry([seed as u32, 7], [i as u32, 0])[0];
    (0..len).map(|i| f64::from((f64::from(word(i)) / f64::from(u32::MAX) * 2.0 - 1.0) as f32)).collect()
}
