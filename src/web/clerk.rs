//! Who reads and writes files for the page: recordings of the visitor's own, runs that were kept, runs that are taken home. What
//! that takes is a good part of the program, and a first run needs none of it: the page loads it when a run has begun or files are
//! given.

use std::cell::RefCell;

use js_sys::{Float32Array, Function};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;
use web_sys::Blob;

use super::kept::{self, Kept, Opened};
use super::own_data;
use super::post::Post;
use super::protocol::*;
use crate::cpu::CpuEngine;
use crate::data::Description;
use crate::data::har::uci_har;
use crate::data::recordings::{self, Files, Mapping, Openable};
use crate::ir::numel;
use crate::rig::Device;

/// The files of one page.
#[wasm_bindgen]
pub struct Clerk {
    post: Post,
    /// The visitor's own recordings, to be read anew.
    recordings: RefCell<Option<Files>>,
    /// The values of the data that were read last, until they are handed over.
    values: RefCell<Option<Float32Array>>,
    /// The network that tells of new recordings.
    network: RefCell<Option<Kept>>,
}

/// Files with their paths.
type Given = Vec<(String, Blob)>;

#[wasm_bindgen]
impl Clerk {
    /// A clerk who gives messages to `post`.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_param_type = "(message: FromWorker) => void")] post: Function) -> Clerk {
        console_error_panic_hook::set_once();
        Clerk {
            post: Post(post),
            recordings: RefCell::default(),
            values: RefCell::default(),
            network: RefCell::default(),
        }
    }

    /// Does what a message asks, with the files that came with it; the answers go to `post`, and what the studio is to do then is given
    /// back. Throws only for what is no message.
    pub async fn receive(&self, message: Ts<ToClerk>, files: Vec<Blob>) -> Result<Option<Ts<ForStudio>>, JsError> {
        let given = |paths: Vec<String>| -> Given { paths.into_iter().zip(files).collect() };
        let read = match message.to_rust()? {
            ToClerk::Recordings { name, paths } => self.open_recordings(name, given(paths)),
            ToClerk::Reread { reading } => match &mut *self.recordings.borrow_mut() {
                Some(files) => self.read(files, &reading.into()),
                None => Ok(None),
            },
            ToClerk::OpenRun { name, paths } => {
                match opened(&name, given(paths)).and_then(|mut files| Kept::open(&name, &mut files)) {
                    Ok(run) => Ok(self.show(run)),
                    Err(message) => {
                        self.post.send(&FromWorker::Untold { message });
                        Ok(None)
                    }
                }
            }
            ToClerk::Predict { name, paths, reading } => {
                if let Some(told) = self.predict(&name, given(paths), reading).await {
                    self.post.send(&match told {
                        Ok(told) => FromWorker::Told(told),
                        Err(message) => FromWorker::Untold { message },
                    });
                }
                Ok(None)
            }
        };
        match read {
            Ok(next) => Ok(next.map(|next| next.into_ts()).transpose()?),
            Err(message) => {
                self.post.send(&FromWorker::Failed(Failure { stage: Stage::Data, message }));
                Ok(None)
            }
        }
    }

    /// The values of the data that the studio is to take; they are given away once, so that nobody keeps them twice.
    pub fn values(&self) -> Option<Float32Array> {
        self.values.take()
    }

    /// All files of a run that has just ended, from those that the studio writes; its network tells of new recordings from now on.
    pub fn complete(&self, run: Ts<RunFiles>) -> Result<Ts<RunFiles>, JsError> {
        let (files, kept) = Kept::of_run(&run.to_rust()?.files).map_err(|message| JsError::new(&message))?;
        let (kept, network) = kept.unzip();
        *self.network.borrow_mut() = kept;
        Ok(RunFiles { files, network }.into_ts()?)
    }
}

impl Clerk {
    /// Reads the visitor's own data: a copy of UCI HAR, or recordings, which are kept to be read anew; or shows the run that they
    /// are, if they are one.
    fn open_recordings(&self, name: String, given: Given) -> Result<Option<ForStudio>, String> {
        let mut files = opened(&name, given)?;
        if let Some(data) = uci_har::from_files(&mut files).map_err(|error| error.to_string())? {
            *self.recordings.borrow_mut() = None;
            let (values, each) = (data.values(), numel(&data.about().shape));
            *self.values.borrow_mut() = Some(gathered(values.chunks_exact(each), each));
            let own = own(name, &Mapping::default(), vec![], data.about(), data.labels(), data.people());
            return Ok(Some(ForStudio::Own(own)));
        }
        if kept::is_run(&files) {
            return Ok(self.show(Kept::open(&name, &mut files)?));
        }
        let read = self.read(&mut files, &Mapping::default())?;
        *self.recordings.borrow_mut() = Some(files);
        Ok(read)
    }

    /// Reads recordings; where that cannot be done as it is guessed or said, the page is told why.
    fn read(&self, files: &mut Files, given: &Mapping) -> Result<Option<ForStudio>, String> {
        let outlook = recordings::look(files, given).map_err(|error| error.to_string())?;
        let cut = match recordings::cut(files, given) {
            Ok(cut) => cut,
            Err(error) => {
                self.post.send(&FromWorker::Seen(own_data::unread(outlook, error.to_string())));
                return Ok(None);
            }
        };
        self.post.send(&FromWorker::Seen(own_data::seen(outlook, &cut)));
        *self.values.borrow_mut() = Some(gathered(cut.windows(), numel(&cut.about.shape)));
        let (mapping, notes) = (&cut.report.mapping, cut.report.said());
        let own = own(files.name().to_owned(), mapping, notes, &cut.about, &cut.labels, &cut.people);
        Ok(Some(ForStudio::Own(own)))
    }

    /// Shows a run that was kept, and keeps its network if that names classes, which logistic regression could name, too.
    fn show(&self, Opened { network, fingerprint, told }: Opened) -> Option<ForStudio> {
        told.iter().for_each(|message| self.post.send(message));
        let (kept, info) = network.unzip();
        *self.network.borrow_mut() = kept;
        self.post.send(&FromWorker::Network(info?));
        Some(ForStudio::Baseline { fingerprint })
    }

    /// What the network at hand tells of new recordings, on the processor.
    async fn predict(&self, name: &str, given: Given, reading: Reading) -> Option<Result<Told, String>> {
        // Away while it is at work, so that another may come meanwhile.
        let kept = self.network.take()?;
        let told = match opened(name, given) {
            Ok(mut files) => kept.tell(name, &mut files, reading, &Device::new(CpuEngine::new(1))).await,
            Err(message) => Err(message),
        };
        self.network.borrow_mut().get_or_insert(kept);
        Some(told)
    }
}

/// Files that were given.
fn opened(name: &str, given: Given) -> Result<Files, String> {
    let files = given.into_iter().map(|(path, blob)| (path, Box::new(blob) as Box<dyn Openable>));
    Files::of(name, files).map_err(|error| error.to_string())
}

/// Windows of so many values outside the module's own memory, which never shrinks.
fn gathered<'w>(windows: impl ExactSizeIterator<Item = &'w [f32]>, each: usize) -> Float32Array {
    let each = each as u32;
    let values = Float32Array::new_with_length(windows.len() as u32 * each);
    for (at, window) in (0..).zip(windows) {
        values.subarray(at * each, (at + 1) * each).copy_from(window);
    }
    values
}

/// What the studio is told of data.
fn own(
    source: String,
    reading: &Mapping,
    notes: Vec<String>,
    about: &Description,
    labels: &[u32],
    people: &[u32],
) -> OwnData {
    OwnData {
        source,
        reading: reading.clone().into(),
        notes,
        about: serde_json::to_string(about).expect("plain values"),
        labels: labels.to_vec(),
        people: people.to_vec(),
    }
}
