//! The one class that the worker drives.
// Long because every message that the page may send is answered here, beside what they share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::Function;
use tsify::Ts;
use wasm_bindgen::prelude::*;

use super::bench::Bench;
use super::check;
use super::control::Control;
use super::kept::{self, Kept, Opened};
use super::lesson;
use super::plans::{self, Origin, Spoilt, plans};
use super::post::{Post, Visitor, macrotask};
use super::protocol::{self, *};
use super::run::Job;
use super::slope::Slope;
use super::{details, own_data};
use crate::bilevel::{Flow, SolveError};
use crate::data::har::{builtin, uci_har};
use crate::data::recordings::{self, Files, Mapping};
use crate::data::{self, DataError, Dataset};
use crate::experiment::config::{DataSource, TuneConfig};
use crate::experiment::mislabelled::Mislabelled;
use crate::experiment::regression::Regression;
use crate::experiment::setup::Scaled;

/// The data and the run of one page.
#[wasm_bindgen]
pub struct Studio {
    post: Post,
    adapter: String,
    data: RefCell<Option<Loaded>>,
    /// The built-in people that are there, and which data are to be taken.
    builtin: RefCell<Builtin>,
    choice: Cell<Choice>,
    run: RefCell<Option<Rc<Control>>>,
    /// The visitor's own recordings, to be read anew.
    recordings: RefCell<Option<Files>>,
    /// The network that tells of new recordings.
    network: RefCell<Option<Rc<Kept>>>,
    /// The visitor no longer wants the check that was asked for last.
    given_up: Cell<bool>,
    /// Labels that are wrong on purpose, of which data, by which percent and seed.
    spoilt: RefCell<Option<(Origin, [u32; 2], plans::Taken)>>,
    /// The data that logistic regression is wanted on, when there is nothing else to do.
    wanted: RefCell<Option<Loaded>>,
    /// What logistic regression reached, on which data.
    baseline: RefCell<Option<(Origin, f64)>>,
    slope: RefCell<Option<Rc<Taken>>>,
    lesson: Cell<Option<lesson::Open>>,
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
    Profile(Settings, Engine),
    Predict(String, Vec<Given>, Reading),
    /// Take a hypergradient, as [`ToWorker::Differentiate`] says.
    Slope(Settings, Engine, Option<Vec<f64>>),
    /// Train so far from the last slope.
    TryOut(Vec<f64>),
    Lesson(LessonQuestion),
    Run(Job),
}

/// The last slope that was taken, and of what run.
struct Taken {
    settings: Settings,
    engine: Engine,
    slope: Slope,
}

/// Data with what the page was told of them. A run keeps its own while others are loaded.
#[derive(Clone)]
struct Loaded {
    source: Rc<Dataset>,
    /// Divided and scaled, as runs take them.
    scaled: Rc<Scaled>,
    /// What a configuration calls them, and how it has them read.
    origin: Origin,
    info: DataInfo,
}

/// The built-in people, as far as they have come.
#[derive(Default)]
struct Builtin {
    first: Option<Loaded>,
    all: Option<Loaded>,
}

/// Which data the runs to come take.
#[derive(Clone, Copy, Default, PartialEq)]
enum Choice {
    /// All built-in people, and the first of them until the others are there.
    #[default]
    Builtin,
    /// The first built-in people, whatever comes.
    Subset,
    /// The visitor's own.
    Own,
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
            data: RefCell::default(),
            builtin: RefCell::default(),
            choice: Cell::default(),
            run: RefCell::default(),
            recordings: RefCell::default(),
            network: RefCell::default(),
            given_up: Cell::default(),
            spoilt: RefCell::default(),
            wanted: RefCell::default(),
            baseline: RefCell::default(),
            slope: RefCell::default(),
            lesson: Cell::default(),
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
}

impl Studio {
    /// Does what needs no engine, and notes what does.
    fn handle(&self, message: ToWorker) -> Result<(), Failure> {
        match message {
            ToWorker::Open => self.tasks.borrow_mut().push_back(Task::Open),
            ToWorker::Builtin { first, rest } => self.load_builtin(&first, rest.as_deref())?,
            ToWorker::Recordings { name, files } => self.open_recordings(name, files)?,
            ToWorker::Reread { reading } => {
                if let Some(files) = &mut *self.recordings.borrow_mut() {
                    self.read(files, &reading.into())?;
                }
            }
            ToWorker::OpenRun { name, files } => match opened(&name, files).and_then(|mut f| Kept::open(&name, &mut f))
            {
                Ok(opened) => self.show(opened),
                Err(message) => self.post.send(&FromWorker::Untold { message }),
            },
            ToWorker::Predict { name, files, reading } => {
                self.tasks.borrow_mut().push_back(Task::Predict(name, files, reading));
            }
            ToWorker::UseBuiltin { subset } => {
                self.choice.set(if subset { Choice::Subset } else { Choice::Builtin });
                self.take_builtin();
            }
            ToWorker::Window { index } => self.send_trace(index),
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
            ToWorker::Profile { settings, engine } => {
                self.tasks.borrow_mut().push_back(Task::Profile(settings, engine));
            }
            ToWorker::Lesson(question) => {
                // Only the latest is worth the work.
                let mut tasks = self.tasks.borrow_mut();
                tasks.retain(|task| !matches!(task, Task::Lesson(_)));
                tasks.push_back(Task::Lesson(question));
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
                Task::Profile(settings, engine) => self.profile(&settings, engine, &mut bench).await,
                Task::Predict(name, files, reading) => self.predict(&name, files, reading, &mut bench).await,
                Task::Slope(settings, engine, moves) => self.differentiate(settings, engine, moves, &mut bench).await,
                Task::TryOut(moves) => self.try_out(moves, &mut bench).await,
                Task::Lesson(question) => self.teach(question, &mut bench).await,
                Task::Run(job) => {
                    let outcome = job.run(&mut bench, &self.post).await;
                    *self.run.borrow_mut() = None;
                    match outcome {
                        Ok(Some(kept)) => {
                            self.keep(kept);
                            if job.data.spoilt.is_none() {
                                self.wants_baseline(&job.origin);
                            }
                        }
                        Ok(None) => {}
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

    /// The data at hand as settings want them, with what is to be called of them.
    fn data_for(&self, settings: &Settings) -> Result<Option<(Loaded, plans::Taken)>, Failure> {
        let Some(loaded) = self.data.borrow().clone() else { return Ok(None) };
        let Loaded { source, scaled, origin, .. } = &loaded;
        if settings.mislabelled == 0 {
            let taken = plans::Taken { source: source.clone(), scaled: scaled.clone(), spoilt: None };
            return Ok(Some((loaded, taken)));
        }
        let key = [settings.mislabelled, settings.seed];
        if let Some((of, by, taken)) = &*self.spoilt.borrow()
            && (of, by) == (origin, &key)
        {
            return Ok(Some((loaded.clone(), taken.clone())));
        }
        let share = f64::from(settings.mislabelled) / 100.0;
        let config = TuneConfig { seed: settings.seed, ..TuneConfig::default() };
        let (data, wrong) = Mislabelled { share, annotators: None, left_out: false }.of(&config, source)?;
        let spoilt = Some(Spoilt { right: scaled.clone(), wrong: wrong.into() });
        let taken = plans::Taken { source: source.clone(), scaled: Rc::new(Scaled::new(&config, &data)?), spoilt };
        *self.spoilt.borrow_mut() = Some((origin.clone(), key, taken.clone()));
        Ok(Some((loaded, taken)))
    }

    /// Asks for logistic regression on the data of a run, or tells what it reached before.
    fn wants_baseline(&self, of: &Origin) {
        if let Some((known, accuracy)) = &*self.baseline.borrow()
            && known == of
        {
            let source = of.source.to_string();
            self.post.send(&FromWorker::Baseline { source, accuracy: *accuracy });
        } else if let Some(loaded) = self.data.borrow().as_ref().filter(|loaded| loaded.origin == *of) {
            *self.wanted.borrow_mut() = Some(loaded.clone());
        }
    }

    /// Runs logistic regression on data, if nothing else is to be done meanwhile.
    async fn hold_against(&self, loaded: Loaded, bench: &mut Bench) {
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
                let source = loaded.origin.source.to_string();
                *self.baseline.borrow_mut() = Some((loaded.origin, accuracy));
                self.post.send(&FromWorker::Baseline { source, accuracy });
            }
            Err(SolveError::Stopped) => *self.wanted.borrow_mut() = Some(loaded),
            // A yardstick that cannot be had is left out.
            Err(_) => {}
        }
    }

    /// Takes a hypergradient at a point that the visitor chose; gives way to a run.
    async fn differentiate(&self, settings: Settings, engine: Engine, moves: Option<Vec<f64>>, bench: &mut Bench) {
        let Ok(Some((loaded, taken))) = self.data_for(&settings) else { return };
        let before = self.slope.borrow().clone();
        let at = moves.zip(before).map(|(moves, taken)| taken.slope.at(&moves));
        let plans = plans(&settings, engine, &loaded.origin, taken.scaled);
        let outcome = Slope::take(engine, &plans, at, bench, || self.unless_a_run_waits()).await;
        match outcome {
            Ok(slope) if slope.loss.is_finite() => {
                self.post.send(&FromWorker::Slope(protocol::Slope {
                    loss: slope.loss,
                    past_edge: slope.past_edge,
                    variables: slope.movable(),
                    downhill: slope.downhill(),
                }));
                *self.slope.borrow_mut() = Some(Rc::new(Taken { settings, engine, slope }));
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
        let Ok(Some((loaded, data))) = self.data_for(&taken.settings) else { return };
        let plans = plans(&taken.settings, taken.engine, &loaded.origin, data.scaled);
        let (foretold, _) = taken.slope.foretell(&moves);
        let flow = || self.unless_a_run_waits();
        match Slope::try_out(taken.engine, &plans, &taken.slope.at(&moves), bench, flow).await {
            Ok(loss) => self.post.send(&FromWorker::Tried { foretold, loss, moves }),
            Err(error) => self.untried(taken.engine, bench, (!error.is_stop()).then(|| error.to_string())),
        }
    }

    /// Answers a question of a lesson on the processor; ends as soon as there is another.
    async fn teach(&self, question: LessonQuestion, bench: &mut Bench) {
        let Ok(device) = bench.engine(Engine::Cpu).await else { return };
        let flow = || if self.tasks.borrow().is_empty() { Flow::Continue } else { Flow::Stop };
        let recordings = self.data.borrow().as_ref().map(|data| data.source.clone());
        let open = lesson::answer(question, self.lesson.take(), device, recordings, &self.post, flow).await;
        self.lesson.set(open);
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
        let Some(Loaded { scaled, origin, .. }) = self.data.borrow().clone() else { return };
        let plans = plans(settings, engine.unwrap_or(Engine::Cpu), &origin, scaled);
        let flow = || if self.tasks.borrow().is_empty() { Flow::Continue } else { Flow::Stop };
        if bench.look_ahead(&plans, engine, flow).await == Flow::Continue {
            self.post.send(&FromWorker::Settled { id });
            bench.advise(&plans, flow).await;
        }
    }

    /// Checks the hypergradient; ends as soon as a run is to begin, or the visitor gives it up.
    async fn check(&self, settings: &Settings, engine: Engine, bench: &mut Bench) {
        let Some(Loaded { scaled, origin, .. }) = self.data.borrow().clone() else { return };
        let plans = plans(settings, engine, &origin, scaled);
        let flow = || if self.given_up.get() { Flow::Stop } else { self.unless_a_run_waits() };
        check::run(engine, &plans, bench, &self.post, flow).await;
    }

    /// Times every dispatch of a run's programs.
    async fn profile(&self, settings: &Settings, engine: Engine, bench: &mut Bench) {
        let Some(Loaded { scaled, origin, .. }) = self.data.borrow().clone() else { return };
        let profiled = bench.profile(engine, &plans(settings, engine, &origin, scaled)).await;
        let (profile, message) = match profiled {
            Ok(profile) => (Some(profile), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if message.is_some() {
            bench.close(engine);
        }
        self.post.send(&FromWorker::Profiled { profile, message });
    }

    /// Keeps the built-in data, and takes them where they are what is to be taken.
    fn load_builtin(&self, first: &[u8], rest: Option<&[u8]>) -> Result<(), Failure> {
        let source = if rest.is_some() { DataSource::Builtin } else { DataSource::Subset };
        let origin = Origin { source, reading: Mapping::default() };
        let loaded = Some(Loaded::new(builtin::dataset(first, rest)?, origin)?);
        {
            let mut builtin = self.builtin.borrow_mut();
            *(if rest.is_some() { &mut builtin.all } else { &mut builtin.first }) = loaded;
        }
        self.take_builtin();
        Ok(())
    }

    /// Takes the built-in people that are wanted, if they are there and were not taken.
    fn take_builtin(&self) {
        let wanted = {
            let builtin = self.builtin.borrow();
            match self.choice.get() {
                Choice::Builtin => builtin.all.as_ref().or(builtin.first.as_ref()).cloned(),
                Choice::Subset => builtin.first.clone(),
                Choice::Own => None,
            }
        };
        let taken = |wanted: &Loaded| self.data.borrow().as_ref().is_some_and(|data| data.origin == wanted.origin);
        if let Some(wanted) = wanted.filter(|wanted| !taken(wanted)) {
            self.take(wanted);
        }
    }

    /// Takes the visitor's own data: a copy of UCI HAR, or recordings, which are kept to be read anew.
    fn open_recordings(&self, name: String, given: Vec<Given>) -> Result<(), Failure> {
        let published = match &given[..] {
            [Given { bytes, .. }] => uci_har::from_zip(&name, bytes).ok(),
            files => uci_har::from_files(&name, &paths_and_bytes(files))?,
        };
        if let Some(data) = published {
            let origin = Origin { source: DataSource::Path(name), reading: Mapping::default() };
            *self.recordings.borrow_mut() = None;
            self.choice.set(Choice::Own);
            self.take(Loaded::new(data, origin)?);
            return Ok(());
        }
        let failed = |message| Failure { stage: Stage::Data, message };
        let mut files = opened(&name, given).map_err(failed)?;
        if kept::is_run(&files) {
            self.show(Kept::open(&name, &mut files).map_err(failed)?);
            return Ok(());
        }
        self.read(&mut files, &Mapping::default())?;
        *self.recordings.borrow_mut() = Some(files);
        Ok(())
    }

    /// Reads recordings and takes them; where that cannot be done as it is guessed or said, what was taken before stays.
    fn read(&self, files: &mut Files, given: &Mapping) -> Result<(), Failure> {
        let outlook = recordings::look(files, given)?;
        let source = DataSource::Path(files.name().to_owned());
        let taken = recordings::read(files, given).and_then(|(data, report)| {
            let seen = own_data::seen(outlook.clone(), report.clone(), &data);
            let mut own = Loaded::new(data, Origin { source, reading: report.mapping.clone() })?;
            own.info.notes = report.said();
            Ok((own, seen))
        });
        match taken {
            Ok((own, seen)) => {
                self.post.send(&FromWorker::Seen(seen));
                self.choice.set(Choice::Own);
                self.take(own);
            }
            Err(error) => self.post.send(&FromWorker::Seen(own_data::unread(outlook, error.to_string()))),
        }
        Ok(())
    }

    /// Shows a run that was kept, and keeps its network.
    fn show(&self, Opened { kept, info, told }: Opened) {
        told.iter().for_each(|message| self.post.send(message));
        self.keep((kept, info));
    }

    /// Keeps a network to tell of new recordings.
    fn keep(&self, (kept, info): (Kept, NetworkInfo)) {
        *self.network.borrow_mut() = Some(Rc::new(kept));
        self.post.send(&FromWorker::Network(info));
    }

    /// Tells of new recordings, on the processor.
    async fn predict(&self, name: &str, given: Vec<Given>, reading: Reading, bench: &mut Bench) {
        let Some(kept) = self.network.borrow().clone() else { return };
        let told = match (opened(name, given), bench.engine(Engine::Cpu).await) {
            (Ok(mut files), Ok(device)) => kept.tell(name, &mut files, reading, &device).await,
            (Err(message), _) => Err(message),
            (_, Err(error)) => Err(error.to_string()),
        };
        self.post.send(&match told {
            Ok(told) => FromWorker::Told(told),
            Err(message) => FromWorker::Untold { message },
        });
    }

    /// Takes data for the runs to come.
    fn take(&self, loaded: Loaded) {
        self.post.send(&FromWorker::Data(loaded.info.clone()));
        *self.data.borrow_mut() = Some(loaded);
    }

    fn send_trace(&self, index: u32) {
        let data = self.data.borrow();
        let Some(windows) = data.as_ref().map(|data| &*data.source) else { return };
        self.post.send(&FromWorker::Trace(details::trace(windows, index as usize % windows.len())));
    }

    fn start(&self, settings: Settings, engine: Engine, resume: Option<Vec<u8>>) -> Result<(), Failure> {
        // A second start while a run is under way is a click that came too late.
        if self.run.borrow().is_some() {
            return Ok(());
        }
        let Some((Loaded { origin, info, .. }, data)) = self.data_for(&settings)? else { return Ok(()) };
        // A run on the first people is one that can be repeated: the others do not come in between.
        if info.subset {
            self.choice.set(Choice::Subset);
        }
        let control = Rc::new(Control::default());
        *self.run.borrow_mut() = Some(control.clone());
        self.post.send(&FromWorker::Started { settings: settings.clone(), engine, data: info, opened: None });
        self.tasks.borrow_mut().push_back(Task::Run(Job { settings, engine, origin, data, control, resume }));
        Ok(())
    }

    fn control(&self, wish: impl Fn(&Control)) {
        if let Some(run) = &*self.run.borrow() {
            wish(run);
        }
    }
}

/// Files by their paths.
fn paths_and_bytes(given: &[Given]) -> Vec<(&str, &[u8])> {
    given.iter().map(|Given { path, bytes }| (path.as_str(), bytes.as_slice())).collect()
}

/// Files that were given.
fn opened(name: &str, given: Vec<Given>) -> Result<Files, String> {
    let files = given.into_iter().map(|Given { path, bytes }| (path, bytes)).collect();
    Files::of_bytes(name, files).map_err(|error| error.to_string())
}

impl Loaded {
    /// Data for the page; an error if they cannot be divided and scaled.
    fn new(source: Dataset, origin: Origin) -> Result<Self, DataError> {
        let scaled = Scaled::new(&TuneConfig::default(), &source)?;
        let info = describe(&source, &scaled.split, &origin.source);
        Ok(Loaded { source: Rc::new(source), scaled: Rc::new(scaled), origin, info })
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure { stage: Stage::Data, message: error.to_string() }
    }
}

/// What the page shows of a data set and its parts.
fn describe(source: &Dataset, split: &data::Split, origin: &DataSource) -> DataInfo {
    let side = |part: &Dataset| Split { windows: part.len() as u32, people: part.present_people() };
    let of =
        |windows: &Dataset, label: usize| windows.labels().iter().filter(|&&one| one as usize == label).count() as u32;
    let class = |(label, name): (usize, &String)| Class {
        name: name.clone(),
        windows: of(source, label),
        training: of(&split.train, label),
    };
    DataInfo {
        name: source.about().name.clone(),
        source: origin.to_string(),
        subset: source.about().subset,
        train: side(&split.train),
        validation: side(&split.validation),
        test: side(&split.test),
        classes: source.about().outputs.iter().enumerate().map(class).collect(),
        notes: vec![],
    }
}
