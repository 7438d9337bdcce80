//! `stackelberg worker`: one trial, driven by another process.

pub mod protocol;
mod settings;
mod voice;

use std::fs;
use std::future::ready;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use pollster::block_on;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stackelberg::bilevel::{Flow, SolveError};
use stackelberg::engine::LocalFuture;
use stackelberg::experiment::archive;
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::library::Library;
use stackelberg::experiment::record::{Ending, Named};
use stackelberg::experiment::trainable::Trainable;
use stackelberg::experiment::trainables;
use stackelberg::experiment::training::Training;
use stackelberg::experiment::tune::{Event, Observed, Observer};
use stackelberg::rig::Device;

use self::protocol::{Code, Fault, Reply, Request, Stepped, VERSION};
use self::voice::Voice;
use super::device::{self, MEASURING};
use super::{CliError, data, files, note};

/// Run one trial for another process, which drives it by lines of JSON
///
/// Reads requests from standard input and writes replies to standard output, one JSON object a line: `hello`, `init`,
/// `step`, `save`, `load`, `set`, `close`. docs/worker.md has all of them with an example, `stackelberg schema` their
/// schemas (`worker-request`, `worker-reply`). What people may want to know goes to standard error.
///
/// When standard input ends, the trial is saved where it was saved last, and the worker ends.
#[derive(clap::Args)]
pub struct Args {
    /// Talk over standard input and output
    #[arg(long = "stdio", required = true)]
    _stdio: bool,

    /// The GPU at this place on the PCI bus, such as 0000:01:00.0, is what trials that name no device run on; several workers
    /// on one machine get one each
    #[arg(long, value_name = "ID")]
    gpu_pci: Option<String>,

    #[command(flatten)]
    place: data::Place,
}

/// The file of a saved trial.
const TRIAL: &str = "trial.safetensors";

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let usual = args.gpu_pci.as_ref().map_or_else(|| device::AUTO.to_owned(), |id| format!("pci:{id}"));
    // A place where there is no GPU is told before anything is asked.
    let pinned = args.gpu_pci.as_ref().map(|_| device::open(&usual)).transpose()?;
    let device = pinned.map(|on| (usual.clone(), on));
    let (lines, ended) = listen();
    let library = Library::new(args.place.directory.clone());
    let mut worker = Worker { library, voice: Voice::new(), ended, usual, device, trial: None };
    for line in lines {
        let request = match Request::of(&line) {
            Ok(request) => request,
            Err(fault) => {
                worker.voice.say(&Reply::Error(fault));
                continue;
            }
        };
        worker.voice.begin(request.verb());
        let reply = match worker.answer(request) {
            Ok(Some(reply)) => reply,
            // Nobody waits for it any more. What else was asked before that is still done.
            Ok(None) => continue,
            Err(fault) => {
                worker.settle(&fault);
                Reply::Error(fault)
            }
        };
        worker.voice.say(&reply);
        if reply == (Reply::Close {}) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    // Whoever drove it is gone.
    Ok(worker.keep().unwrap_or_else(|fault| {
        note(fault.message);
        ExitCode::from(super::FAILED)
    }))
}

/// The lines of standard input as they come, and whether it has ended. Half a line at its end is none: whoever wrote it was
/// killed.
fn listen() -> (Receiver<Vec<u8>>, Arc<AtomicBool>) {
    let (sender, lines) = channel();
    let ended = Arc::new(AtomicBool::new(false));
    let noted = ended.clone();
    std::thread::spawn(move || {
        let mut input = BufReader::new(std::io::stdin());
        loop {
            let mut line = vec![];
            let read = input.read_until(b'\n', &mut line);
            if read.is_err() || !line.ends_with(b"\n") || sender.send(line).is_err() {
                return noted.store(true, Ordering::Relaxed);
            }
        }
    });
    (lines, ended)
}

struct Worker {
    library: Library,
    voice: Voice,
    /// Whether nobody asks any more.
    ended: Arc<AtomicBool>,
    /// The choice of a device where a trial makes none.
    usual: String,
    /// The device of the last trial, and the choice that led to it.
    device: Option<(String, Device)>,
    trial: Option<Trial>,
}

/// What is trained.
struct Trial {
    trainable: &'static dyn Trainable,
    training: Box<dyn Training>,
    /// Units done.
    step: u64,
    /// Whether it has ended that way.
    diverged: bool,
    /// Where it was saved last. What it was loaded from may be another trial's.
    dir: Option<PathBuf>,
}

impl Worker {
    /// The reply; none where nobody waits for one any more.
    fn answer(&mut self, request: Request) -> Result<Option<Reply>, Fault> {
        let reply = match request {
            Request::Hello { version } => self.hello(version)?,
            Request::Init { trainable, config, data, seed, device } => {
                let given = [("data", data.map(Value::from)), ("seed", seed.map(Value::from))];
                let given = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
                self.init(&trainable, config, given, device)?
            }
            Request::Step { budget } => return self.step(budget),
            Request::Save { dir } => self.save(dir)?,
            Request::Load { dir } => self.load(dir)?,
            Request::Set { config } => {
                self.trial("set")?.training.set(&Value::Object(config))?;
                Reply::Set {}
            }
            Request::Close {} => Reply::Close {},
        };
        Ok(Some(reply))
    }

    fn hello(&self, version: u32) -> Result<Reply, Fault> {
        if version != VERSION {
            let what = format!("this is version {VERSION} of the protocol, and version {version} was asked for");
            return Err(Fault::new(Code::Version, what));
        }
        let pinned = self.device.as_ref().filter(|_| self.usual != device::AUTO);
        let info = pinned.map_or_else(device::usual, |(_, on)| on.info());
        Ok(Reply::Hello {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            engine: info.engine,
            adapter: info.adapter,
            memory: device::most_bytes(),
        })
    }

    fn trial(&mut self, verb: &str) -> Result<&mut Trial, Fault> {
        let none = || Fault::new(Code::BadConfig, format!("there is no trial to {verb}: `init` begins one"));
        self.trial.as_mut().ok_or_else(none)
    }

    /// Begins a trial. The one before stays until it has begun, unless there is no room for both.
    fn init(
        &mut self,
        name: &str,
        config: Map<String, Value>,
        given: Vec<(&str, Value)>,
        device: Option<String>,
    ) -> Result<Reply, Fault> {
        let trainable = trainables::find(name).ok_or_else(|| {
            let names: Vec<&str> = trainables::TRAINABLES.iter().map(|trainable| trainable.name()).collect();
            Fault::new(Code::BadConfig, format!("no trainable is called `{name}`; there are {}", names.join(", ")))
        })?;
        let settings = settings::with(trainable, config, given)?;
        let choice = device.or_else(|| settings::device(&settings)).filter(|choice| choice != device::AUTO);
        let choice = choice.unwrap_or_else(|| self.usual.clone());
        let job = trainable.job(&Value::Object(settings), &self.library)?;
        let on = match &self.device {
            Some((before, on)) if *before == choice => on.clone(),
            _ if choice == device::AUTO => {
                device::choose_by(&choice, &mut |on| block_on(job.measure(on, MEASURING)))?.0
            }
            _ => device::open(&choice)?,
        };
        let training = match block_on(job.open(&on)).map_err(Fault::from) {
            Err(fault) if fault.code == Code::Oom && self.trial.take().is_some() => block_on(job.open(&on))?,
            training => training?,
        };
        let info = on.info();
        self.device = Some((choice, on));
        self.trial = Some(Trial { trainable, training, step: 0, diverged: false, dir: None });
        Ok(Reply::Init {
            trainable: trainable.name().to_owned(),
            unit: trainable.unit().to_owned(),
            units: job.units(),
            engine: info.engine,
            adapter: info.adapter,
        })
    }

    /// Goes on, and scores what it has come to; neither where nobody waits for it.
    fn step(&mut self, budget: u64) -> Result<Option<Reply>, Fault> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut watch = Watch { voice: self.voice.clone(), ended: self.ended.clone() };
        let begun = Instant::now();
        let trial = self.trial("step")?;
        let report = block_on(trial.training.advance(budget, &mut watch))?;
        trial.step = report.done;
        if report.ending == Ending::Stopped {
            return Ok(None);
        }
        trial.diverged = report.ending == Ending::Diverged;
        let scores = match trial.diverged {
            true => Named::new(),
            false => match block_on(trial.training.score(&mut watch)) {
                Err(TuneError::Solve(SolveError::Stopped)) => return Ok(None),
                scores => scores?,
            },
        };
        let score = |name: &str| scores.get(name).copied();
        let outer_loss = report.outer_loss.filter(|loss| loss.is_finite());
        let diverged = trial.diverged || outer_loss.is_none() && report.done > 0;
        Ok(Some(Reply::Step(Stepped {
            step: report.done,
            outer_loss,
            accuracy: score("validation_accuracy"),
            seconds: begun.elapsed().as_secs_f64(),
            alpha: score("alpha"),
            gamma: score("gamma"),
            done: report.ending != Ending::Running,
            code: diverged.then_some(Code::Diverged),
        })))
    }

    /// Writes the trial to a directory. Whatever happens meanwhile, afterwards the trial there is the old one or the new
    /// one, whole.
    fn save(&mut self, dir: PathBuf) -> Result<Reply, Fault> {
        let trial = self.trial("save")?;
        check_named(&dir)?;
        let saved = block_on(trial.training.save())?;
        let (training, tensors) = archive::unpack(&saved).expect("what was packed is unpacked");
        let about =
            Saved { protocol: VERSION, trainable: trial.trainable.name().to_owned(), step: trial.step, training };
        let about = serde_json::to_value(about).expect("plain values");
        let path = dir.join(TRIAL);
        let written = fs::create_dir_all(&dir)
            .and_then(|()| files::replace_among_others(&path, &archive::pack(&about, &tensors)));
        written.map_err(|error| {
            Fault::new(
                Code::Data,
                format!("cannot write {}: {error}; what was saved there is unharmed", path.display()),
            )
        })?;
        trial.dir = Some(dir);
        Ok(Reply::Save { step: trial.step })
    }

    /// Goes on with the trial in a directory.
    fn load(&mut self, dir: PathBuf) -> Result<Reply, Fault> {
        let trial = self.trial("load")?;
        check_named(&dir)?;
        let path = dir.join(TRIAL);
        let fault = |code: Code, what: String| Fault::new(code, format!("{}: {what}", path.display()));
        let read = files::read(&path).map_err(|error| fault(Code::Data, format!("it cannot be read: {error}")))?;
        let read = read.ok_or_else(|| fault(Code::Data, "there is no such file: `save` writes it".to_owned()))?;
        let (about, tensors) = archive::unpack(&read).map_err(|problem| fault(Code::Data, problem))?;
        match about.get("protocol").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(other) => {
                let what = format!("version {other} of the protocol wrote it, and this is version {VERSION}");
                return Err(fault(Code::Version, what));
            }
            None => return Err(fault(Code::Data, "it is no trial that a worker has saved".to_owned())),
        }
        let Saved { trainable, step, training, .. } =
            serde_json::from_value(about).map_err(|error| fault(Code::Data, error.to_string()))?;
        let own = trial.trainable.name();
        if trainable != own {
            return Err(fault(Code::BadConfig, format!("it is a trial of `{trainable}`, and this one is of `{own}`")));
        }
        block_on(trial.training.load(&archive::pack(&training, &tensors)))?;
        (trial.step, trial.diverged) = (step, false);
        Ok(Reply::Load { step })
    }

    /// Saves the trial where it was saved last, unless it has diverged since.
    fn keep(&mut self) -> Result<ExitCode, Fault> {
        let healthy = self.trial.as_ref().filter(|trial| !trial.diverged);
        if let Some(dir) = healthy.and_then(|trial| trial.dir.clone()) {
            self.save(dir)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What a fault leaves behind: of a trial on a device that is lost or full there is nothing to go on with.
    fn settle(&mut self, fault: &Fault) {
        if fault.retry {
            (self.trial, self.device) = (None, None);
        }
    }
}

/// What a saved trial says of itself.
#[derive(Serialize, Deserialize)]
struct Saved {
    protocol: u32,
    trainable: String,
    /// Units done.
    step: u64,
    /// What the training says of itself.
    training: Value,
}

/// A directory without a name is one that somebody forgot to set.
fn check_named(dir: &Path) -> Result<(), Fault> {
    match dir.as_os_str().is_empty() {
        true => Err(Fault::new(Code::BadConfig, "`dir` is empty; `.` is the directory that the worker runs in")),
        false => Ok(()),
    }
}

/// Lets a step go on until nobody waits for it.
struct Watch {
    voice: Voice,
    ended: Arc<AtomicBool>,
}

impl Observer for Watch {
    fn event(&mut self, event: Event) -> Observed {
        if let Event::Progress { done, total, .. } = event {
            self.voice.progress(done, total);
        }
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.voice.live();
        let flow = if self.ended.load(Ordering::Relaxed) { Flow::Stop } else { Flow::Continue };
        Box::pin(ready(flow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use stackelberg::engine::EngineError;
    use stackelberg::experiment::training::Report;
    use stackelberg::reference::ReferenceEngine;

    /// A training whose device fails.
    struct Fails(fn() -> EngineError);

    #[async_trait(?Send)]
    impl Training for Fails {
        async fn advance(&mut self, _: u64, _: &mut dyn Observer) -> Result<Report, TuneError> {
            Err(SolveError::from((self.0)()).into())
        }

        async fn score(&mut self, _: &mut dyn Observer) -> Result<Named, TuneError> {
            Ok(Named::new())
        }

        async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
            Err(SolveError::from((self.0)()).into())
        }

        async fn load(&mut self, _: &[u8]) -> Result<(), TuneError> {
            Ok(())
        }
    }

    /// Devices that fail cannot be had from outside; what became of them is told, and nothing is done with them again.
    #[test]
    fn a_trial_goes_with_its_device() {
        let lost = || EngineError::DeviceLost { reason: "a driver was reset".to_owned() };
        let full = || EngineError::OutOfMemory { what: "state 1".to_owned(), bytes: 2, limit: None };
        for (error, code) in [(lost as fn() -> EngineError, Code::DeviceLost), (full, Code::Oom)] {
            for request in [Request::Step { budget: 1 }, Request::Save { dir: "nowhere".into() }] {
                let training = Box::new(Fails(error));
                let trainable = trainables::find("tune").unwrap();
                let mut worker = Worker {
                    library: Library::new("nowhere".into()),
                    voice: Voice::new(),
                    ended: Arc::default(),
                    usual: device::AUTO.to_owned(),
                    device: Some(("reference".to_owned(), Device::new(ReferenceEngine::new()))),
                    trial: Some(Trial { trainable, training, step: 0, diverged: false, dir: None }),
                };
                let fault = worker.answer(request.clone()).unwrap_err();
                assert_eq!((fault.code, fault.retry), (code, true), "{}", fault.message);
                worker.settle(&fault);
                assert!(worker.device.is_none());
                assert_eq!(worker.answer(request).unwrap_err().code, Code::BadConfig);
                assert_eq!(worker.keep().unwrap(), ExitCode::SUCCESS);
            }
        }
    }
}
