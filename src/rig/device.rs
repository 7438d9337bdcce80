//! An engine that several share.

use std::cell::RefCell;
use std::rc::Rc;

use crate::compile::Program;
use crate::engine::{
    BindingId, BufferId, Command, Counters, Engine, EngineInfo, Holdings, LocalFuture, ProgramId, Result, Values,
};
use crate::ir::DType;

/// A handle of an engine; its clones are handles of the same. Nothing keeps the engine while it waits, so that trainings
/// on one device take turns.
#[derive(Clone)]
pub struct Device {
    engine: Rc<RefCell<dyn Engine>>,
}

impl Device {
    /// The only handle of an engine so far.
    pub fn new(engine: impl Engine + 'static) -> Self {
        Device { engine: Rc::new(RefCell::new(engine)) }
    }

    /// A handle of an engine that is also used directly.
    pub fn shared<E: Engine + 'static>(engine: &Rc<RefCell<E>>) -> Self {
        Device { engine: engine.clone() }
    }

    /// Who computes.
    pub fn info(&self) -> EngineInfo {
        self.engine.borrow().info().clone()
    }

    /// Counts since the engine was made, of all that use it.
    pub fn counters(&self) -> Counters {
        self.engine.borrow().counters()
    }

    /// What the engine holds now, of all that use it.
    pub fn holdings(&self) -> Holdings {
        self.engine.borrow().holdings()
    }

    /// See [`Engine::forget_peak`].
    pub fn forget_peak(&self) {
        self.engine.borrow_mut().forget_peak();
    }

    /// See [`Engine::create`].
    pub fn create(&self, label: &str, dtype: DType, len: usize) -> Result<BufferId> {
        self.engine.borrow_mut().create(label, dtype, len)
    }

    /// See [`Engine::destroy`].
    pub fn destroy(&self, buffer: BufferId) {
        self.engine.borrow_mut().destroy(buffer);
    }

    /// See [`Engine::write`].
    pub fn write(&self, buffer: BufferId, offset: usize, values: Values) -> Result<()> {
        self.engine.borrow_mut().write(buffer, offset, values)
    }

    /// See [`Engine::read`].
    pub fn read(&self, buffers: &[BufferId]) -> LocalFuture<'static, Result<Vec<Vec<f64>>>> {
        self.engine.borrow_mut().read(buffers)
    }

    /// See [`Engine::load`].
    pub fn load(&self, program: &Program) -> LocalFuture<'static, Result<ProgramId>> {
        self.engine.borrow_mut().load(program)
    }

    /// See [`Engine::unload`].
    pub fn unload(&self, program: ProgramId) {
        self.engine.borrow_mut().unload(program);
    }

    /// See [`Engine::bind`].
    pub fn bind(&self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> Result<BindingId> {
        self.engine.borrow_mut().bind(program, inputs, outputs)
    }

    /// See [`Engine::submit`].
    pub fn submit(&self, commands: &[Command]) -> Result<()> {
        self.engine.borrow_mut().submit(commands)
    }

    /// See [`Engine::finish`].
    pub fn finish(&self) -> LocalFuture<'static, Result<()>> {
        self.engine.borrow_mut().finish()
    }
}
