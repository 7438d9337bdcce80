//! The one class that the worker drives.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Function;
use tsify::Ts;
use wasm_bindgen::prelude::*;

use super::protocol::*;
use super::run::{Control, Post, tune};
use crate::data::{self, CHANNEL_NAMES, CLASS_NAMES, DataError, Source, SubjectSplit, Windows, uci_har};
use crate::engine::{Engine, EngineError};
use crate::experiment::config::DataSource;
use crate::gpu::GpuEngine;

/// Samples a second of the UCI HAR data.
const RATE: f32 = 50.0;

/// The data and the run of one page.
#[wasm_bindgen]
pub struct Studio {
    post: Post,
    adapter: String,
    data: RefCell<Option<Loaded>>,
    run: RefCell<Option<Rc<Control>>>,
}

/// Data with what the page was told of them. A run keeps its own while others are loaded.
#[derive(Clone)]
struct Loaded {
    source: Rc<Source>,
    /// What a configuration calls them.
    origin: DataSource,
    info: DataInfo,
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
        Studio { post: Post(post), adapter, data: RefCell::default(), run: RefCell::default() }
    }

    /// Does what a message asks; the answers go to `post`. Throws only for what is no message.
    ///
    /// The answer to [`ToWorker::Start`] is the whole run; other messages may be received meanwhile.
    pub async fn receive(&self, message: Ts<ToWorker>) -> Result<(), JsError> {
        let message = message.to_rust()?;
        if let Err(failure) = self.handle(message).await {
            self.post.send(&FromWorker::Failed(failure));
        }
        Ok(())
    }
}

impl Studio {
    async fn handle(&self, message: ToWorker) -> Result<(), Failure> {
        match message {
            ToWorker::Open => self.describe_device().await?,
            ToWorker::Builtin { first, rest } => self.load_builtin(&first, rest.as_deref())?,
            ToWorker::LoadZip { name, bytes } => {
                let windows = uci_har::from_zip(&name, &bytes)?;
                self.load(Source::new(windows, name.clone(), false), DataSource::Path(name))?;
            }
            ToWorker::Window { index } => self.send_trace(index),
            ToWorker::Start { settings } => self.start(settings).await?,
            ToWorker::Pause => self.control(Control::pause),
            ToWorker::Resume => self.control(Control::resume),
            ToWorker::Stop => self.control(Control::stop),
        }
        Ok(())
    }

    async fn describe_device(&self) -> Result<(), Failure> {
        let engine = GpuEngine::new("auto").await?;
        let info = engine.info();
        self.post.send(&FromWorker::Ready(Device {
            name: if self.adapter.is_empty() { info.adapter.clone() } else { self.adapter.clone() },
            software: info.software,
            max_buffer_bytes: info.max_buffer_bytes as f64,
        }));
        Ok(())
    }

    /// Takes the built-in data, unless the visitor has opened others meanwhile.
    fn load_builtin(&self, first: &[u8], rest: Option<&[u8]>) -> Result<(), Failure> {
        if self.data.borrow().as_ref().is_some_and(|data| !data.source.subset) {
            return Ok(());
        }
        let origin = if rest.is_some() { DataSource::Builtin } else { DataSource::Subset };
        self.load(Source::builtin(first, rest)?, origin)
    }

    /// Takes `source` for the runs to come, if it can be split.
    fn load(&self, source: Source, origin: DataSource) -> Result<(), Failure> {
        let info = describe(&source)?;
        self.post.send(&FromWorker::Data(info.clone()));
        *self.data.borrow_mut() = Some(Loaded { source: Rc::new(source), origin, info });
        Ok(())
    }

    fn send_trace(&self, index: u32) {
        let data = self.data.borrow();
        let Some(Source { windows, .. }) = data.as_ref().map(|data| &*data.source) else { return };
        let at = index as usize % windows.len();
        let channels = CHANNEL_NAMES.map(|name| Channel {
            name: name.to_owned(),
            unit: if name.contains("gyro") { "rad/s" } else { "g" }.to_owned(),
        });
        self.post.send(&FromWorker::Trace(Trace {
            index: at as u32,
            person: windows.subjects[at],
            activity: CLASS_NAMES[windows.labels[at] as usize].to_owned(),
            rate: RATE,
            channels: channels.into(),
            samples: windows.window(at).to_vec(),
        }));
    }

    async fn start(&self, settings: Settings) -> Result<(), Failure> {
        let Some(data) = self.data.borrow().clone() else { return Ok(()) };
        // A second start while a run is under way is a click that came too late.
        if self.run.borrow().is_some() {
            return Ok(());
        }
        let control = Rc::new(Control::default());
        *self.run.borrow_mut() = Some(control.clone());
        self.post.send(&FromWorker::Started { settings: settings.clone(), data: data.info });
        let outcome = tune(&settings, data.origin, &data.source, &self.post, control).await;
        *self.run.borrow_mut() = None;
        self.post.send(&FromWorker::Done(outcome?));
        Ok(())
    }

    fn control(&self, wish: impl Fn(&Control)) {
        if let Some(run) = &*self.run.borrow() {
            wish(run);
        }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure { stage: Stage::Data, message: error.to_string() }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Failure { stage: Stage::Device, message: error.to_string() }
    }
}

/// What the page shows of a data set; an error if it has too few people for a split.
fn describe(source: &Source) -> Result<DataInfo, DataError> {
    let split = data::Split::new(&source.windows, &SubjectSplit::default())?;
    let side = |part: &Windows| Split { windows: part.len() as u32, people: part.present_subjects() };
    let class = |(label, name): (usize, &&str)| Class {
        name: (*name).to_owned(),
        windows: source.windows.labels.iter().filter(|&&one| one as usize == label).count() as u32,
    };
    Ok(DataInfo {
        name: source.name.clone(),
        subset: source.subset,
        train: side(&split.train),
        validation: side(&split.validation),
        test: side(&split.test),
        classes: CLASS_NAMES.iter().enumerate().map(class).collect(),
    })
}
