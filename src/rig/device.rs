//! An engine that several share.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::compile::Program;
use crate::engine::{
    BindingId, BufferId, Command, Counters, Engine, EngineError, EngineInfo, Holdings, LocalFuture, ProgramId, Result,
    Timing, Values,
};
use crate::ir::DType;

/// A handle of an engine; its clones are handles of the same. Nothing keeps the engine while it waits, so that trainings
/// on one device take turns.
#[derive(Clone)]
pub struct Device {
    engine: Rc<RefCell<dyn Engine>>,
    /// Programs under way that nobody waits for any more.
    abandoned: Rc<RefCell<Vec<Answer>>>,
}

type Answer = LocalFuture<'static, Result<ProgramId>>;

impl Device {
    /// The only handle of an engine so far.
    pub fn new(engine: impl Engine + 'static) -> Self {
        Device { engine: Rc::new(RefCell::new(engine)), abandoned: Rc::default() }
    }

    /// A handle of an engine that is also used directly.
    pub fn shared<E: Engine + 'static>(engine: &Rc<RefCell<E>>) -> Self {
        Device { engine: engine.clone(), abandoned: Rc::default() }
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

    /// See [`Engine::load`]. A program whose answer is dropped is unloaded.
    pub fn load(&self, program: &Program) -> LocalFuture<'static, Result<ProgramId>> {
        self.unload_abandoned();
        let answer = self.engine.borrow_mut().load(program);
        Box::pin(Loading { device: self.clone(), answer: Some(answer) })
    }

    /// Unloads what is done of that which nobody waits for.
    fn unload_abandoned(&self) {
        let context = &mut Context::from_waker(Waker::noop());
        for mut answer in self.abandoned.take() {
            match answer.as_mut().poll(context) {
                Poll::Ready(Ok(program)) => self.unload(program),
                Poll::Ready(Err(_)) => {}
                Poll::Pending => self.abandoned.borrow_mut().push(answer),
            }
        }
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

    /// See [`Engine::time`].
    pub fn time(&self, binding: BindingId) -> LocalFuture<'static, Result<Timing>> {
        self.engine.borrow_mut().time(binding)
    }

    /// Seconds of every dispatch of a binding, each the median of so many runs after one that warms the device; before each
    /// run comes what `before` does.
    pub async fn profile<E: From<EngineError>>(
        &self,
        binding: BindingId,
        repeats: usize,
        mut before: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Vec<f64>, E> {
        let mut runs = vec![];
        for _ in 0..=repeats.max(1) {
            before()?;
            runs.push(self.time(binding).await?.seconds);
        }
        let warm = &runs[1..];
        let median = |at: usize| {
            let mut seconds: Vec<f64> = warm.iter().map(|run| run[at]).collect();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        Ok((0..runs[0].len()).map(median).collect())
    }

    /// See [`Engine::finish`].
    pub fn finish(&self) -> LocalFuture<'static, Result<()>> {
        self.engine.borrow_mut().finish()
    }
}

/// A program under way.
struct Loading {
    device: Device,
    /// None once it has come.
    answer: Option<Answer>,
}

impl Future for Loading {
    type Output = Result<ProgramId>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().expect("a future is not asked again after its end");
        let poll = answer.as_mut().poll(context);
        if poll.is_ready() {
            self.answer = None;
        }
        poll
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.device.abandoned.borrow_mut().extend(self.answer.take());
        self.device.unload_abandoned();
    }
}
