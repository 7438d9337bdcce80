//! The one class that the worker drives.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Float32Array, Function};
use tsify::Ts;
use wasm_bindgen::prelude::*;

use super::bench::Bench;
use super::check;
use super::control::Control;
use super::plans::{Plans, Taken, plans};
use super::post::{Post, Visitor, macrotask};
use super::protocol::{self, *};
use super::run::Job;
use super::slope::Slope;
use super::stock::Stock;
use super::unroll;
use crate::bilevel::{Flow, SolveError};
use crate::data;
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::regression::Regression;

/// The data and the run of one page.
#[wasm_bindgen]
pub struct Studio {
    post: Post,
    adapter: String,
    stock: Stock,
    run: RefCell<Option<Rc<Control>>>,
    /// The visitor no longer wants the check that was asked for last.
    given_up: Cell<bool>,
    /// The data that logistic regression is wanted on, when there is nothing else to do.
    wanted: RefCell<Option<Taken>>,
    /// What logistic regression reached, on the data of which fingerprint.
    baseline: RefCell<Option<(String, f64)>>,
    slope: RefCell<Option<Rc<OfRun>>>,
    /// What the engines are to do, in this order.
    tasks: RefCell<VecDeque<Task>>,
    /// The engines; away while one is at work.
    bench: Cell<Option<Bench>>,
}

/// Work for the engines, one thing at a time.
enum Task {
    Open,
    Prepare(u32, Settings, Option<Engine>),
    Check(Settings, Engine),
    OpenMachine(Settings, Engine),
    Unroll(Settings, Engine),
    /// Take a hypergradient, as [`ToWorker::Differentiate`] says.
    Slope(Settings, Engine, Option<Vec<f64>>),
    /// Train so far from the last slope.
    TryOut(Vec<f64>),
    Run(Box<Job>),
}

/// The last slope that was taken, and of what run.
struct OfRun {
    settings: Settings,
    engine: Engine,
    slope: Slope,
}

#[wasm_bindgen]
impl Studio {
    /// A studio that gives its messages to `post`. `adapter` names the GPU where the browser tells, or is empty.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_param_type = "(message: FromWorker) => void")] post: Function,
        adapter: String,
    ) -> Studio {
        console_error_panic_hook::set_once();
        let post = Post(post);
        Studio {
            post: post.clone(),
            adapter,
            stock: Stock::new(post.clone()),
            run: RefCell::default(),
            given_up: Cell::default(),
            wanted: RefCell::default(),
            baseline: RefCell::default(),
            slope: RefCell::default(),
            tasks: RefCell::default(),
            bench: Cell::new(Some(Bench::new(post))),
        }
    }

    /// Does what a message asks; the answers go to `post`. Throws only for what is no message.
    ///
    /// The answer to [`ToWorker::Start`] is the whole run; other messages may be received meanwhile.
    pub async fn receive(&self, message: Ts<ToWorker>) -> Result<(), JsError> {
        let message = message.to_rust()?;
        if let Err(failure) = self.handle(message) {
            self.post.send(&FromWorker::Failed(failure));
        }
        self.work().await;
        Ok(())
    }

    /// Takes the visitor's own data, as a clerk has read them, for the runs to come; answered by [`FromWorker::Data`] or
    /// [`FromWorker::Undivided`].
    pub fn own(&self, data: Ts<OwnData>, values: &Float32Array) -> Result<(), JsError> {
        if let Err(Failure { message, .. }) = self.stock.take_own(data.to_rust()?, values.to_vec()) {
            self.post.send(&FromWorker::Undivided { message });
        }
        Ok(())
    }
}

impl Studio {
    /// Does what needs no engine, and notes what does.
    fn handle(&self, message: ToWorker) -> Result<(), Failure> {
        match message {
            ToWorker::Open => self.tasks.borrow_mut().push_back(Task::Open),
            ToWorker::Builtin { first, rest } => self.stock.load_builtin(&first, rest.as_deref())?,
            ToWorker::Baseline { fingerprint } => self.wants_baseline(&fingerprint),
            ToWorker::UseBuiltin { subset } => self.stock.use_builtin(subset),
            ToWorker::Window { index } => self.stock.send_trace(index),
            ToWorker::Prepare { id, settings, engine } => {
                // Only the latest settings are worth the work.
                let mut tasks = self.tasks.borrow_mut();
                tasks.retain(|task| !matches!(task, Task::Prepare(..)));
                tasks.push_back(Task::Prepare(id, settings, engine));
            }
            ToWorker::Start { settings, engine, resume } => self.start(settings, engine, resume)?,
            ToWorker::Differentiate { settings, engine, moves } => {
                self.tasks.borrow_mut().push_back(Task::Slope(settings, engine, moves));
            }
            ToWorker::Foretell { moves } => {
                if let Some(taken) = &*self.slope.borrow() {
                    let (loss, values) = taken.slope.foretell(&moves);
                    self.post.send(&FromWorker::Foretold { loss, values });
                }
            }
            ToWorker::TryOut { moves } => self.tasks.borrow_mut().push_back(Task::TryOut(moves)),
            ToWorker::CheckGradient { settings, engine } => {
                self.given_up.set(false);
                self.tasks.borrow_mut().push_back(Task::Check(settings, engine));
            }
            ToWorker::Unroll { settings, engine } => {
                self.tasks.borrow_mut().push_back(Task::Unroll(settings, engine));
            }
            ToWorker::OpenMachine { settings, engine } => {
                self.tasks.borrow_mut().push_back(Task::OpenMachine(settings, engine));
            }
            ToWorker::Pause => self.control(Control::pause),
            ToWorker::Resume => self.control(Control::resume),
            ToWorker::Step => self.control(Control::step),
            ToWorker::Stop => {
                self.given_up.set(true);
                self.control(Control::stop);
            }
        }
        Ok(())
    }

    /// Does what was noted, and what is noted meanwhile. Returns at once if this is going on already.
    async fn work(&self) {
        let Some(mut bench) = self.bench.take() else { return };
        loop {
            let Some(task) = self.next_task() else {
                let Some(loaded) = self.wanted.take() else { break };
                self.hold_against(loaded, &mut bench).await;
                continue;
            };
            match task {
                Task::Open => bench.open(&self.adapter).await,
                Task::Prepare(id, settings, engine) => self.prepare(id, &settings, engine, &mut bench).await,
                Task::Check(settings, engine) => self.check(&settings, engine, &mut bench).await,
                Task::OpenMachine(settings, engine) => self.open_machine(&settings, engine, &mut bench).await,
                Task::Unroll(settings, engine) => self.unroll(&settings, engine, &mut bench).await,
                Task::Slope(settings, engine, moves) => self.differentiate(settings, engine, moves, &mut bench).await,
                Task::TryOut(moves) => self.try_out(moves, &mut bench).await,
                Task::Run(job) => {
                    let outcome = job.run(&mut bench, &self.post).await;
                    *self.run.borrow_mut() = None;
                    match outcome {
                        Ok(true) if job.data.right.is_none() => self.wants_baseline(&job.data.info.fingerprint),
                        Ok(_) => {}
                        Err(failure) => self.post.send(&FromWorker::Failed(failure)),
                    }
                }
            }
        }
        self.bench.set(Some(bench));
    }

    fn next_task(&self) -> Option<Task> {
        self.tasks.borrow_mut().pop_front()
    }

    /// What settings come to on the data at hand; nothing before there are some.
    fn plans<'a>(&self, settings: &'a Settings, engine: Engine) -> Result<Option<Plans<'a>>, Failure> {
        let Some(taken) = self.stock.taken_by(settings)? else { return Ok(None) };
        Ok(Some(plans(settings, engine, &taken).map_err(TuneError::from)?))
    }

    /// Asks for logistic regression on the data of a run, where these are still here, or tells what it reached before.
    fn wants_baseline(&self, of: &str) {
        if let Some((known, accuracy)) = &*self.baseline.borrow()
            && known == of
        {
            self.post.send(&FromWorker::Baseline { fingerprint: known.clone(), accuracy: *accuracy });
        } else if let Some(loaded) = self.stock.of_fingerprint(of) {
            *self.wanted.borrow_mut() = Some(loaded);
        }
    }

    /// Runs logistic regression on data, if nothing else is to be done meanwhile.
    async fn hold_against(&self, loaded: Taken, bench: &mut Bench) {
        // What the end of the run makes the page ask for comes first.
        macrotask().await;
        macrotask().await;
        let waits = || !self.tasks.borrow().is_empty();
        let flow = || if waits() { Flow::Stop } else { Flow::Continue };
        let split = data::Split::by_people(&loaded.source, &TuneConfig::default().split);
        let Some(regression) = split.ok().and_then(|split| Regression::new(&split, 0)) else { return };
        let Ok(device) = bench.engine(Engine::Cpu).await else { return };
        match regression.accuracy(&device, &mut Visitor { flow }).await {
            Ok(accuracy) => {
                let fingerprint = loaded.info.fingerprint;
                *self.baseline.borrow_mut() = Some((fingerprint.clone(), accuracy));
                self.post.send(&FromWorker::Baseline { fingerprint, accuracy });
            }
            Err(SolveError::Stopped) => *self.wanted.borrow_mut() = Some(loaded),
            // A yardstick that cannot be had is left out.
            Err(_) => {}
        }
    }

    /// Takes a hypergradient at a point that the visitor chose; gives way to a run.
    async fn differentiate(&self, settings: Settings, engine: Engine, moves: Option<Vec<f64>>, bench: &mut Bench) {
        let plans = match self.plans(&settings, engine) {
            Ok(Some(plans)) => plans,
            Ok(None) => return,
            Err(Failure { message, .. }) => return self.untried(engine, bench, Some(message)),
        };
        let before = self.slope.borrow().clone();
        let at = moves.zip(before).map(|(moves, taken)| taken.slope.at(&moves));
        let outcome = Slope::take(engine, &plans, at, bench, || self.unless_a_run_waits()).await;
        match outcome {
            Ok(slope) if slope.loss.is_finite() => {
                self.post.send(&FromWorker::Slope(protocol::Slope {
                    loss: slope.loss,
                    past_edge: slope.past_edge,
                    variables: slope.movable(),
                    downhill: slope.downhill(),
                }));
                *self.slope.borrow_mut() = Some(Rc::new(OfRun { settings, engine, slope }));
            }
            Ok(_) => self.untried(
                engine,
                bench,
                Some("Training diverges at these values, so there is no hypergradient.".to_owned()),
            ),
            Err(error) => self.untried(engine, bench, (!error.is_stop()).then(|| error.to_string())),
        }
    }

    /// Trains so far from the last slope; gives way to a run.
    async fn try_out(&self, moves: Vec<f64>, bench: &mut Bench) {
        let Some(taken) = self.slope.borrow().clone() else { return };
        let Ok(Some(plans)) = self.plans(&taken.settings, taken.engine) else { return };
        let (foretold, _) = taken.slope.foretell(&moves);
        let flow = || self.unless_a_run_waits();
        match Slope::try_out(taken.engine, &plans, &taken.slope.at(&moves), bench, flow).await {
            Ok(loss) => self.post.send(&FromWorker::Tried { foretold, loss, moves }),
            Err(error) => self.untried(taken.engine, bench, (!error.is_stop()).then(|| error.to_string())),
        }
    }

    fn untried(&self, engine: Engine, bench: &mut Bench, message: Option<String>) {
        if message.is_some() {
            bench.close(engine);
        }
        self.post.send(&FromWorker::Untried { message });
    }

    fn unless_a_run_waits(&self) -> Flow {
        let waits = self.tasks.borrow().iter().any(|task| matches!(task, Task::Run(_)));
        if waits { Flow::Stop } else { Flow::Continue }
    }

    /// Gets ready for a run while the visitor looks around; ends as soon as there is something else to do.
    async fn prepare(&self, id: u32, settings: &Settings, engine: Option<Engine>, bench: &mut Bench) {
        let plans = match self.plans(settings, engine.unwrap_or(Engine::Cpu)) {
            Ok(Some(plans)) => plans,
            Ok(None) => return,
            Err(Failure { message, .. }) => {
                self.post.send(&FromWorker::Form(Form::unreadable(id, message)));
                return self.post.send(&FromWorker::Settled { id });
            }
        };
        self.post.send(&FromWorker::Form(plans.form(id)));
        let flow = || if self.tasks.borrow().is_empty() { Flow::Continue } else { Flow::Stop };
        match bench.look_ahead(&plans, engine, flow).await {
            Ok(Flow::Stop) => return,
            Ok(Flow::Continue) => {}
            // What shows only once a run is compiled, such as a memory budget that it exceeds.
            Err(error) => {
                let form = plans.form(id);
                let problem = form.problem.or(Some(error.to_string()));
                self.post.send(&FromWorker::Form(Form { problem, ..form }));
            }
        }
        self.post.send(&FromWorker::Settled { id });
        bench.advise(&plans, flow).await;
    }

    /// Checks the hypergradient; ends as soon as a run is to begin, or the visitor gives it up.
    async fn check(&self, settings: &Settings, engine: Engine, bench: &mut Bench) {
        let plans = match self.plans(settings, engine) {
            Ok(Some(plans)) => plans,
            Ok(None) => return,
            Err(Failure { message, .. }) => {
                return self.post.send(&FromWorker::Unchecked { message: Some(message) });
            }
        };
        let flow = || if self.given_up.get() { Flow::Stop } else { self.unless_a_run_waits() };
        check::run(engine, &plans, bench, &self.post, flow).await;
    }

    /// Takes a hypergradient and tells how it goes; gives way to a run.
    async fn unroll(&self, settings: &Settings, engine: Engine, bench: &mut Bench) {
        match self.plans(settings, engine) {
            Ok(Some(plans)) => unroll::run(engine, &plans, bench, &self.post, || self.unless_a_run_waits()).await,
            Ok(None) => {}
            Err(Failure { message, .. }) => {
                self.post.send(&FromWorker::Unroll(Unroll::Failed { message: Some(message) }));
            }
        }
    }

    /// Shows what a run is computed with.
    async fn open_machine(&self, settings: &Settings, engine: Engine, bench: &mut Bench) {
        let opened = match self.plans(settings, engine) {
            Ok(Some(plans)) => bench.open_machine(engine, &plans).await.map_err(|error| error.to_string()),
            Ok(None) => return,
            Err(Failure { message, .. }) => Err(message),
        };
        let (machine, message) = found(engine, bench, opened.map(OpenMachine::from));
        self.post.send(&FromWorker::Machine { machine, message });
    }

    fn start(&self, settings: Settings, engine: Engine, resume: Option<Vec<u8>>) -> Result<(), Failure> {
        // A second start while a run is under way is a click that came too late.
        if self.run.borrow().is_some() {
            return Ok(());
        }
        let Some(data) = self.stock.taken_by(&settings)? else { return Ok(()) };
        let info = data.info.clone();
        // A run on the first people is one that can be repeated: the others do not come in between.
        if info.subset {
            self.stock.use_builtin(true);
        }
        let control = Rc::new(Control::default());
        *self.run.borrow_mut() = Some(control.clone());
        self.post.send(&FromWorker::Started { settings: settings.clone(), engine, data: info, opened: None });
        self.tasks.borrow_mut().push_back(Task::Run(Box::new(Job { settings, engine, data, control, resume })));
        Ok(())
    }

    fn control(&self, wish: impl Fn(&Control)) {
        if let Some(run) = &*self.run.borrow() {
            wish(run);
        }
    }
}

/// What an engine was asked for, or why there is none; then the engine is opened anew when it is needed again.
fn found<T>(engine: Engine, bench: &mut Bench, outcome: Result<T, String>) -> (Option<T>, Option<String>) {
    match outcome {
        Ok(found) => (Some(found), None),
        Err(message) => {
            bench.close(engine);
            (None, Some(message))
        }
    }
}
