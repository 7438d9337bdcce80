//! The one class that the worker drives.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::Function;
use tsify::Ts;
use wasm_bindgen::prelude::*;

use super::bench::Bench;
use super::check;
use super::kept::{self, Kept};
use super::own_data;
use super::plans::{Origin, plans};
use super::post::Post;
use super::protocol::*;
use super::run::{Control, Job};
use crate::bilevel::Flow;
use crate::data::har::{builtin, uci_har};
use crate::data::recordings::{self, Files, Mapping};
use crate::data::{self, DataError, Dataset};
use crate::experiment::config::{DataSource, TuneConfig};
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
    Predict(String, Vec<Given>),
    Run(Job),
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
                Ok(kept) => self.keep(kept),
                Err(message) => self.post.send(&FromWorker::Untold { message }),
            },
            ToWorker::Predict { name, files } => self.tasks.borrow_mut().push_back(Task::Predict(name, files)),
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
            ToWorker::Start { settings, engine } => self.start(settings, engine),
            ToWorker::CheckGradient { settings, engine } => {
                self.given_up.set(false);
                self.tasks.borrow_mut().push_back(Task::Check(settings, engine));
            }
            ToWorker::Profile { settings, engine } => {
                self.tasks.borrow_mut().push_back(Task::Profile(settings, engine));
            }
            ToWorker::Pause => self.control(Control::pause),
            ToWorker::Resume => self.control(Control::resume),
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
        while let Some(task) = self.next_task() {
            match task {
                Task::Open => bench.open(&self.adapter).await,
                Task::Prepare(id, settings, engine) => self.prepare(id, &settings, engine, &mut bench).await,
                Task::Check(settings, engine) => self.check(&settings, engine, &mut bench).await,
                Task::Profile(settings, engine) => self.profile(&settings, engine, &mut bench).await,
                Task::Predict(name, files) => self.predict(&name, files, &mut bench).await,
                Task::Run(job) => {
                    let outcome = job.run(&mut bench, &self.post).await;
                    *self.run.borrow_mut() = None;
                    match outcome {
                        Ok(Some(kept)) => self.keep(kept),
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
        let waits = |task: &Task| matches!(task, Task::Run(_));
        let ends = || self.given_up.get() || self.tasks.borrow().iter().any(waits);
        let flow = || if ends() { Flow::Stop } else { Flow::Continue };
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
        if let [Given { bytes, .. }] = &given[..]
            && let Ok(data) = uci_har::from_zip(&name, bytes)
        {
            let origin = Origin { source: DataSource::Path(name), reading: Mapping::default() };
            *self.recordings.borrow_mut() = None;
            self.choice.set(Choice::Own);
            self.take(Loaded::new(data, origin)?);
            return Ok(());
        }
        let failed = |message| Failure { stage: Stage::Data, message };
        let mut files = opened(&name, given).map_err(failed)?;
        if kept::is_run(&files) {
            self.keep(Kept::open(&name, &mut files).map_err(failed)?);
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

    /// Keeps a network to tell of new recordings.
    fn keep(&self, (kept, info): (Kept, NetworkInfo)) {
        *self.network.borrow_mut() = Some(Rc::new(kept));
        self.post.send(&FromWorker::Network(info));
    }

    /// Tells of new recordings, on the processor.
    async fn predict(&self, name: &str, given: Vec<Given>, bench: &mut Bench) {
        let Some(kept) = self.network.borrow().clone() else { return };
        let told = match (opened(name, given), bench.engine(Engine::Cpu).await) {
            (Ok(mut files), Ok(device)) => kept.tell(name, &mut files, &device).await,
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
        let (about, at) = (windows.about(), index as usize % windows.len());
        let channel = |one: &data::Channel| Channel { name: one.name.clone(), unit: one.unit.clone() };
        self.post.send(&FromWorker::Trace(Trace {
            index: at as u32,
            person: windows.people()[at],
            activity: about.outputs[windows.labels()[at] as usize].clone(),
            rate: about.recording.map_or(1.0, |recording| recording.rate_hz),
            channels: about.channels.iter().map(channel).collect(),
            samples: windows.example(at).into_owned(),
        }));
    }

    fn start(&self, settings: Settings, engine: Engine) {
        let Some(Loaded { scaled, origin, info, .. }) = self.data.borrow().clone() else { return };
        // A second start while a run is under way is a click that came too late.
        if self.run.borrow().is_some() {
            return;
        }
        // A run on the first people is one that can be repeated: the others do not come in between.
        if info.subset {
            self.choice.set(Choice::Subset);
        }
        let control = Rc::new(Control::default());
        *self.run.borrow_mut() = Some(control.clone());
        self.post.send(&FromWorker::Started { settings: settings.clone(), engine, data: info.clone() });
        self.tasks.borrow_mut().push_back(Task::Run(Job { settings, engine, origin, scaled, control }));
    }

    fn control(&self, wish: impl Fn(&Control)) {
        if let Some(run) = &*self.run.borrow() {
            wish(run);
        }
    }
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
