//! What the worker computes with: its engines, what they were measured to do, and the pipelines that stay from one run
//! to the next. The one place that owns them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use web_time::Instant;

use super::plans::{Load, Plans, Subject};
use super::post::{Post, Visitor, macrotask};
use super::protocol::{Engine as Name, EngineState, FirstRun, FromWorker, Preparation, Settings};
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::{Flow, Opened, Pace, SolveError};
use crate::cpu::CpuEngine;
use crate::engine::{Engine, EngineError};
use crate::experiment::advise::Ways;
use crate::experiment::config::{Budget, Network, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::machine::{self, Machine};
use crate::experiment::predict;
use crate::experiment::prepared::Prepared;
use crate::experiment::profile::Ceilings;
use crate::gpu::GpuEngine;
use crate::rig::{Compiled, Device};

/// Seconds that one measurement may take.
pub const MEASURING: f64 = 0.25;

/// How often an engine is measured for one kind of run. The processor's is slow at first, as the browser makes fast code
/// only of what has run for a while.
fn measurements(name: Name) -> usize {
    match name {
        Name::Webgpu => 1,
        Name::Cpu => 3,
    }
}

/// A device that is lost twice within this time will be lost again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Seconds that a run may take which nobody has asked for in particular, random search at equal cost included.
const FIRST_RUN: f64 = 40.0;

/// Runs to begin with, the best first.
static FIRST_RUNS: [FirstRun; 7] = [
    FirstRun { network: Network::PAPER, steps: 200, budget: 72 },
    FirstRun { network: Network::NARROW, steps: 200, budget: 72 },
    FirstRun { network: Network::NARROW, steps: 200, budget: 36 },
    FirstRun { network: Network::NARROW, steps: 100, budget: 36 },
    FirstRun { network: Network::NARROW, steps: 50, budget: 36 },
    FirstRun { network: Network::NARROW, steps: 20, budget: 36 },
    FirstRun { network: Network::NARROW, steps: 20, budget: 18 },
];

/// What an engine was measured to do.
struct Measured {
    engine: Name,
    load: Load,
    pace: Pace,
    times: usize,
}

/// The engines of the page.
pub struct Bench {
    post: Post,
    /// Opened when it is first needed, and kept for its pipelines.
    gpu: Option<Rc<RefCell<GpuEngine>>>,
    states: Vec<EngineState>,
    paces: Vec<Measured>,
    /// Ways to the hypergradient of what was looked at last.
    ways: Option<(Subject, Ways)>,
    /// Programs of what was looked at last.
    compiled: Option<(Subject, Compiled)>,
    first_run: Option<FirstRun>,
    /// When the GPU's device was lost last.
    lost: Option<Instant>,
}

impl Bench {
    pub fn new(post: Post) -> Self {
        Bench {
            post,
            gpu: None,
            states: vec![],
            paces: vec![],
            ways: None,
            compiled: None,
            first_run: None,
            lost: None,
        }
    }

    /// Finds out which engines there are. `adapter` names the GPU where the browser tells, or is empty.
    pub async fn open(&mut self, adapter: &str) {
        let state = |engine, name: &str, software| EngineState {
            engine,
            name: name.to_owned(),
            software,
            problem: None,
            shaders: None,
            step: None,
            run: None,
            advice: None,
        };
        let gpu = match self.gpu().await {
            Ok(gpu) => {
                let info = gpu.borrow().info().clone();
                state(Name::Webgpu, if adapter.is_empty() { &info.adapter } else { adapter }, info.software)
            }
            Err(error) => EngineState { problem: Some(error.to_string()), ..state(Name::Webgpu, "", false) },
        };
        self.states = vec![gpu, state(Name::Cpu, "", true)];
        self.tell();
    }

    /// An engine to run on, made or opened if it must be.
    pub async fn engine(&mut self, name: Name) -> Result<Device, EngineError> {
        match name {
            Name::Webgpu => {
                let device = Device::shared(&self.gpu().await?);
                device.forget_peak();
                Ok(device)
            }
            // It has nothing worth keeping, so each run has a new one.
            Name::Cpu => Ok(Device::new(CpuEngine::new(1))),
        }
    }

    async fn gpu(&mut self) -> Result<Rc<RefCell<GpuEngine>>, EngineError> {
        if let Some(gpu) = &self.gpu {
            return Ok(gpu.clone());
        }
        let gpu = Rc::new(RefCell::new(GpuEngine::new("auto").await?));
        Ok(self.gpu.insert(gpu).clone())
    }

    /// Gives an engine up, with whatever went wrong on it.
    pub fn close(&mut self, name: Name) {
        if name == Name::Webgpu {
            self.gpu = None;
        }
    }

    /// Notes that the GPU's device was lost; says whether a new one is worth a try.
    pub fn lose(&mut self) -> bool {
        self.close(Name::Webgpu);
        self.lost.replace(Instant::now()).is_none_or(|before| before.elapsed() > RECOVERY)
    }

    /// Settles which engine a run that may be asked for would take, and how long it takes: prepares and measures those
    /// that may be the fastest, or the one that is wanted, and tells what is found. What goes wrong is kept with the
    /// engine. Ends early if `flow` says so.
    ///
    /// # Errors
    /// Why there is no such run.
    pub async fn look_ahead(
        &mut self,
        plans: &Plans<'_>,
        wanted: Option<Name>,
        flow: impl Fn() -> Flow,
    ) -> Result<Flow, TuneError> {
        let run = match self.ready(plans).and_then(|run| run.blueprint().map(drop).map(|()| run)) {
            Ok(run) => run,
            Err(error) => {
                self.forecast(plans, None);
                return Err(error);
            }
        };
        let (run, plan) = (&run, Some(&run.blueprint()?.checkpoints));
        self.forecast(plans, plan);
        for name in [Name::Cpu, Name::Webgpu] {
            if !self.is_worth_a_try(name, wanted) {
                continue;
            }
            let mut outcome = self.try_out(name, plans, run, &flow).await;
            while outcome.as_ref().is_err_and(is_loss) && self.lose() {
                outcome = self.try_out(name, plans, run, &flow).await;
            }
            let state = self.state(name);
            match outcome {
                Ok(Flow::Continue) => state.problem = None,
                Ok(Flow::Stop) => return Ok(Flow::Stop),
                Err(error) => {
                    state.problem = Some(problem(&error));
                    state.shaders = None;
                    self.close(name);
                }
            }
            self.forecast(plans, plan);
            self.choose_first_run(plans, wanted);
        }
        Ok(self.reach_higher(plans, wanted, flow).await)
    }

    /// Whether an engine may be the one to take: a processor that plays a GPU is slower than the processor itself.
    fn is_worth_a_try(&self, name: Name, wanted: Option<Name>) -> bool {
        let state = self.states.iter().find(|state| state.engine == name);
        match wanted {
            Some(wanted) => wanted == name && self.is_there(name),
            None => self.is_there(name) && state.is_some_and(|state| name == Name::Cpu || !state.software),
        }
    }

    /// Finds out which way to the hypergradient suits a run, and tells. Ends early if `flow` says so.
    pub async fn advise(&mut self, plans: &Plans<'_>, flow: impl Fn() -> Flow) {
        if self.find_ways(plans, &flow).await == Flow::Continue {
            let run = self.ready(plans).ok();
            let blueprint = run.as_ref().and_then(|run| run.blueprint().ok());
            self.forecast(plans, blueprint.map(|blueprint| &blueprint.checkpoints));
        }
    }

    /// A run that may be asked for, made ready; what was compiled for it before is there.
    pub fn ready(&mut self, plans: &Plans<'_>) -> Result<Prepared, TuneError> {
        Prepared::with(&plans.config, plans.scaled.clone(), self.compiled(plans))
    }

    fn compiled(&mut self, plans: &Plans<'_>) -> Compiled {
        let subject = plans.subject();
        if self.compiled.as_ref().is_none_or(|(of, _)| *of != subject) {
            self.compiled = None;
        }
        self.compiled.get_or_insert_with(|| (subject, Compiled::default())).1.clone()
    }

    /// Finds out which ways to the hypergradient a run has, unless that is known.
    async fn find_ways(&mut self, plans: &Plans<'_>, flow: &impl Fn() -> Flow) -> Flow {
        let subject = plans.subject();
        if self.ways.as_ref().is_some_and(|(of, _)| *of == subject) {
            return Flow::Continue;
        }
        let compiled = self.compiled(plans);
        match Ways::of(&plans.config, &plans.sizes, &compiled, &mut Visitor { flow }).await {
            Ok(ways) => self.ways = Some((subject, ways)),
            Err(TuneError::Solve(SolveError::Stopped)) => return Flow::Stop,
            // A run that has none is refused, with the reason.
            Err(_) => {}
        }
        Flow::Continue
    }

    /// Where the narrow network is done in no time, the first run may be one of the full network: this tries it out.
    async fn reach_higher(&mut self, plans: &Plans<'_>, wanted: Option<Name>, flow: impl Fn() -> Flow) -> Flow {
        let [full, narrow, ..] = &FIRST_RUNS;
        let Some(name) = wanted.or(faster(&self.states)) else { return Flow::Continue };
        let quick = |seconds: f64| self.first_run.as_ref() == Some(narrow) && seconds < FIRST_RUN / 4.0;
        if !self.seconds(narrow, plans, Some(name)).is_some_and(quick)
            || self.seconds(full, plans, Some(name)).is_some()
        {
            return Flow::Continue;
        }
        let settings = Settings { network: full.network.clone(), steps: full.steps, ..plans.settings.clone() };
        let config = TuneConfig { network: Network::PAPER, steps: full.steps, ..plans.config.clone() };
        let Ok(run) = Prepared::of(&config, plans.scaled.clone()) else { return Flow::Continue };
        let higher = Plans { settings: &settings, config, scaled: plans.scaled.clone(), sizes: plans.sizes.clone() };
        match self.try_out(name, &higher, &run, &flow).await {
            Ok(Flow::Stop) => return Flow::Stop,
            Ok(Flow::Continue) => self.choose_first_run(plans, wanted),
            // What goes wrong here stands in nobody's way.
            Err(error) if is_loss(&error) => _ = self.lose(),
            Err(_) => self.close(name),
        }
        Flow::Continue
    }

    /// Whether an engine was found, whatever became of it later.
    fn is_there(&self, name: Name) -> bool {
        self.states.iter().any(|state| state.engine == name && !(name == Name::Webgpu && state.name.is_empty()))
    }

    async fn try_out(
        &mut self,
        name: Name,
        plans: &Plans<'_>,
        run: &Prepared,
        flow: &impl Fn() -> Flow,
    ) -> Result<Flow, TuneError> {
        if self.prepare(name, run, flow).await? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        let load = plans.load();
        loop {
            let known = self.paces.iter().position(|measured| measured.engine == name && measured.load == load);
            if known.is_some_and(|at| self.paces[at].times >= measurements(name)) {
                return Ok(Flow::Continue);
            }
            let engine = self.engine(name).await.map_err(SolveError::from)?;
            let pace = run.measure(&engine, MEASURING).await?;
            match known {
                Some(at) => {
                    let measured = &mut self.paces[at];
                    (measured.pace, measured.times) = (measured.pace.least(pace), measured.times + 1);
                }
                None => self.paces.push(Measured { engine: name, load: load.clone(), pace, times: 1 }),
            }
            macrotask().await;
            if flow() == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
    }

    /// Makes the pipelines of a run one by one, and tells how far it is. `flow` is asked before each, after the page's
    /// messages were let through.
    pub async fn prepare(&mut self, name: Name, run: &Prepared, flow: impl Fn() -> Flow) -> Result<Flow, TuneError> {
        if name == Name::Cpu {
            macrotask().await;
            return Ok(flow());
        }
        let evaluation = run.compiled.program(&run.problem.evaluation()).map_err(SolveError::from)?;
        let programs = run.blueprint()?.programs.iter().chain([&evaluation]);
        let gpu = self.gpu().await.map_err(SolveError::from)?;
        let kernels = gpu.borrow().kernels(programs.map(|program| &**program)).map_err(SolveError::from)?;
        let missing: Vec<_> = kernels.iter().filter(|(_, kernel)| !gpu.borrow().is_prepared(kernel)).collect();
        let total = kernels.len();
        let tell = |bench: &mut Self, done: usize| {
            bench.state(name).shaders = Some(Preparation { done: done as u32, total: total as u32 });
            bench.tell();
        };
        tell(self, total - missing.len());
        for (at, (label, kernel)) in missing.iter().enumerate() {
            macrotask().await;
            if flow() == Flow::Stop {
                return Ok(Flow::Stop);
            }
            let made = gpu.borrow_mut().prepare(label, kernel);
            made.await.map_err(SolveError::from)?;
            tell(self, total - missing.len() + at + 1);
        }
        Ok(Flow::Continue)
    }

    /// The pace of an engine on a run, measured if it is not known.
    pub async fn measured(&mut self, name: Name, plans: &Plans<'_>) -> Result<Pace, TuneError> {
        if let Some(pace) = self.pace(name, &plans.load()) {
            return Ok(pace);
        }
        let engine = self.engine(name).await.map_err(SolveError::from)?;
        self.ready(plans)?.measure(&engine, MEASURING).await
    }

    /// What a run is computed with on an engine.
    pub async fn open_machine(&mut self, name: Name, plans: &Plans<'_>) -> Result<Machine, TuneError> {
        let device = self.engine(name).await.map_err(SolveError::from)?;
        let run = self.ready(plans)?;
        let mut session = run.session(&device, run.method()?).await?;
        let opened = Opened::of(&mut session, run.blueprint()?, machine::REPEATS).await?;
        drop(session);
        Ok(Machine::new(opened, Some(Ceilings::of(&device, machine::REPEATS).await?)))
    }

    /// Seconds that an engine will take for the run that was looked at last.
    pub fn expected(&self, name: Name) -> Option<f64> {
        self.states.iter().find(|state| state.engine == name)?.run
    }

    /// Takes the seconds that a training of a run took for what the next ones will.
    pub fn correct(&mut self, name: Name, plans: &Plans<'_>, plan: &Plan, each: f64) {
        let load = plans.load();
        let Some(known) = self.paces.iter_mut().find(|known| known.engine == name && known.load == load) else {
            return;
        };
        let of = |trainings| {
            let config = TuneConfig { budget: Budget::Trainings(trainings), ..plans.config.clone() };
            predict::seconds(&known.pace, plan, &config, &plans.sizes)
        };
        let ratio = each / (of(1) - of(0));
        let Pace { step, adjoint, outer, evaluation } = known.pace;
        known.pace =
            Pace { step: ratio * step, adjoint: ratio * adjoint, outer: ratio * outer, evaluation: ratio * evaluation };
        self.forecast(plans, Some(plan));
    }

    /// Notes for every engine what is known of it for a run, as far as there is a plan for it.
    pub fn forecast(&mut self, plans: &Plans<'_>, plan: Option<&Plan>) {
        let load = plans.load();
        let subject = plans.subject();
        let ways = self.ways.as_ref().filter(|(of, _)| *of == subject).map(|(_, ways)| ways);
        for at in 0..self.states.len() {
            let pace = self.pace(self.states[at].engine, &load);
            let state = &mut self.states[at];
            state.step = pace.map(|pace| pace.step);
            state.run = pace.zip(plan).map(|(pace, plan)| plans.seconds(&pace, plan));
            state.advice = pace.zip(ways).map(|(pace, ways)| ways.advice(&pace).into());
        }
        self.tell();
    }

    fn choose_first_run(&mut self, plans: &Plans<'_>, wanted: Option<Name>) {
        // Where even the least takes longer, it is still the least.
        let mut measured = FIRST_RUNS.iter().filter_map(|run| Some((run.clone(), self.seconds(run, plans, wanted)?)));
        let mut short = measured.clone().filter(|(_, seconds)| *seconds <= FIRST_RUN);
        let Some((run, _)) = short.next().or(measured.next_back()) else { return };
        if self.first_run.as_ref() != Some(&run) {
            self.first_run = Some(run.clone());
            self.post.send(&FromWorker::FirstRun(run));
        }
    }

    /// Seconds that a first run takes on the fastest of the engines, or on the one that is wanted, if known.
    fn seconds(&self, run: &FirstRun, plans: &Plans<'_>, wanted: Option<Name>) -> Option<f64> {
        let config = TuneConfig {
            network: run.network.clone(),
            budget: Budget::Trainings(run.budget),
            steps: run.steps,
            ..TuneConfig::default()
        };
        let load = Load::of(&config, plans.sizes.train);
        let plan = Plan::new(run.steps as usize, usize::MAX)?;
        let usable = |name: Name| wanted.is_none_or(|wanted| wanted == name);
        let known = self.paces.iter().filter(|measured| usable(measured.engine) && measured.load == load);
        // As much again goes into the random search beside it.
        known.map(|measured| 2.0 * predict::seconds(&measured.pace, &plan, &config, &plans.sizes)).reduce(f64::min)
    }

    fn pace(&self, name: Name, load: &Load) -> Option<Pace> {
        self.paces.iter().find(|measured| measured.engine == name && measured.load == *load).map(|known| known.pace)
    }

    fn state(&mut self, name: Name) -> &mut EngineState {
        self.states.iter_mut().find(|state| state.engine == name).expect("every engine has a state")
    }

    fn tell(&self) {
        self.post.send(&FromWorker::Engines { engines: self.states.clone(), faster: faster(&self.states) });
    }
}

/// Whether a device was lost, and not something wrong with what it was to do.
pub fn is_loss(error: &TuneError) -> bool {
    matches!(error, TuneError::Solve(SolveError::Engine(EngineError::DeviceLost { .. })))
}

/// Why an engine cannot be used.
fn problem(error: &TuneError) -> String {
    let again = if is_loss(error) { "It was lost twice within a minute: " } else { "" };
    format!("{again}{error}")
}

/// Times that differ by less than this share are a tie.
const TIE: f64 = 0.1;

/// The engine that does the run sooner; a real GPU wins a tie.
fn faster(states: &[EngineState]) -> Option<Name> {
    let handicap = |state: &EngineState| if state.software { 1.0 + TIE } else { 1.0 };
    let usable = states.iter().filter(|state| state.problem.is_none());
    let timed = usable.filter_map(|state| Some((state.engine, state.run? * handicap(state))));
    timed.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(engine, _)| engine)
}
