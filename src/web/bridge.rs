//! The one class that the worker drives.

use std::cell::RefCell;

use js_sys::Function;
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use super::protocol::*;
use crate::data::{CHANNEL_NAMES, CLASS_NAMES, DataError, Source, SubjectSplit, Windows, builtin, uci_har};

/// Samples a second, of the built-in data and of the published set.
const RATE: f32 = 50.0;

/// The engine, the data and the run of one page.
#[wasm_bindgen]
pub struct Studio {
    post: Function,
    source: RefCell<Option<Source>>,
}

#[wasm_bindgen]
impl Studio {
    /// A studio that gives its messages to `post`.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_param_type = "(message: FromWorker) => void")] post: Function) -> Studio {
        console_error_panic_hook::set_once();
        Studio { post, source: RefCell::default() }
    }

    /// Does what a message asks; the answers go to `post`. Throws only for what is no message.
    pub async fn receive(&self, message: Ts<ToWorker>) -> Result<(), JsError> {
        let message = message.to_rust()?;
        if let Err(failure) = self.handle(message).await {
            self.post(FromWorker::Failed(failure));
        }
        Ok(())
    }
}

impl Studio {
    async fn handle(&self, message: ToWorker) -> Result<(), Failure> {
        match message {
            ToWorker::Open => {
                self.use_data(Source::new(builtin::subset()?, "UCI HAR, built in", true))?;
                return Err(no_engine());
            }
            ToWorker::AddBuiltin { bytes } => self.add_builtin(&bytes)?,
            ToWorker::LoadZip { name, bytes } => {
                self.use_data(Source::new(uci_har::from_zip(&name, &bytes)?, name, false))?;
            }
            ToWorker::Window { index } => self.send_trace(index),
            ToWorker::Start { .. } | ToWorker::Pause | ToWorker::Resume | ToWorker::Stop => return Err(no_engine()),
        }
        Ok(())
    }

    fn post(&self, message: FromWorker) {
        // Plain values always turn into JavaScript, and the callback is the worker's own `postMessage`.
        let value = message.into_js().expect("messages are plain values");
        let _ = self.post.call1(&JsValue::NULL, &value);
    }

    /// Completes the built-in data, unless the visitor has replaced them meanwhile.
    fn add_builtin(&self, bytes: &[u8]) -> Result<(), Failure> {
        let rest = builtin::decode(bytes)?;
        let first = match &*self.source.borrow() {
            Some(source) if source.subset => source.windows.clone(),
            _ => return Ok(()),
        };
        self.use_data(Source::new(builtin::merge(first, rest), "UCI HAR, built in", false))
    }

    /// Takes `source` for the runs to come, if it can be split.
    fn use_data(&self, source: Source) -> Result<(), Failure> {
        let info = describe(&source)?;
        *self.source.borrow_mut() = Some(source);
        self.post(FromWorker::Data(info));
        Ok(())
    }

    fn send_trace(&self, index: u32) {
        let source = self.source.borrow();
        let Some(Source { windows, .. }) = source.as_ref().filter(|source| !source.windows.is_empty()) else { return };
        let at = index as usize % windows.len();
        let channels = CHANNEL_NAMES.map(|name| Channel {
            name: name.to_owned(),
            unit: if name.contains("gyro") { "rad/s" } else { "g" }.to_owned(),
        });
        self.post(FromWorker::Trace(Trace {
            index: at as u32,
            person: windows.subjects[at],
            activity: CLASS_NAMES[windows.labels[at] as usize].to_owned(),
            rate: RATE,
            channels: channels.into(),
            samples: windows.window(at).to_vec(),
        }));
    }
}

fn no_engine() -> Failure {
    let message = "This version shows the data only; it cannot tune in a browser yet.".to_owned();
    Failure { stage: Stage::Device, message }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure { stage: Stage::Data, message: error.to_string() }
    }
}

/// What the page shows of a data set; an error if it has too few people for a split.
fn describe(source: &Source) -> Result<DataInfo, DataError> {
    let split = crate::data::Split::new(&source.windows, &SubjectSplit::default())?;
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
