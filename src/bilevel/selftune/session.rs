//! A self-tuning training on a device.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::counts::{Counts, Supply};
use super::reader::{CUT, HISTORY, JUDGED, Reader, TRAIN, TRAINED, TUNE, TUNED};
use super::schedule::Act;
use super::step::{Tuning, Variant};
use crate::bilevel::supervised::kept::{self, SCALE};
use crate::bilevel::{CHUNK, Examples, Opened, Set, SolveError, Targets};
use crate::compile::Program;
use crate::engine::Values;
use crate::ir::numel;
use crate::rig::{Compiled, Device, Function, Monitor, Progress, Quiet, Rig};
use crate::rng::split_seed;

/// What there is instead of a checkpoint plan.
const NO_CHECKPOINTS: &str = "no checkpoint plan: no step is taken back. While the weights train they learn how they answer to \
the hyperparameters, and that answer stands in for the derivative of the training.\n";

/// A training whose state stays on the device. Its arrays are filled by name before a step reads them:
///
/// | arrays | what |
/// |---|---|
/// | `general`, `response`, `leader`, `planes` | the states, at first |
/// | `inner_rates`, `outer_rates` | learning rate and scalars of the optimisers |
/// | `x`, `y`, `x_validation`, `y_validation`, `x_test`, `y_test` | all examples: see [`put`](Self::put) |
/// | `rows`, `rows_validation`, `rows_other` | which of them are in the batch of training, validation, and the training batch that CPMLHO's hyperparameters see |
/// | `xi`, `xi_validation`, `xi_other` | ξ, standard normal draws `[batch, n]` |
/// | `draw0`, …; `central0`, … | draws of the augmentations: see [`TrainingBatch`](super::TrainingBatch); `central` for Δ-STN |
///
/// The last three rows are of [`Supply::Given`]; else there is a seed instead. After a step, `loss`, `outer_loss` and
/// `values` (of the planes) hold what it found.
pub struct Session {
    tuning: Tuning,
    counts: Counts,
    rig: Rig,
    parts: Vec<(Function, Rc<Program>)>,
}

/// What a step has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Operations on floats.
    pub flops: u64,
    /// Dispatches.
    pub dispatches: usize,
}

impl Work {
    /// What a training step has to do, without a device.
    ///
    /// # Errors
    /// If the training has no rule for something.
    pub fn of_training(tuning: &Tuning, counts: &Counts, compiled: &Compiled) -> Result<Work, SolveError> {
        tuning.check()?;
        counts.check(tuning)?;
        Ok(Work::of(&*compiled.program(&Reader::new(tuning, counts, TRAIN).train())?))
    }

    fn of(program: &Program) -> Work {
        let flops = program.costs().iter().map(|cost| cost.flops).sum();
        Work { flops, dispatches: program.launches.len() }
    }
}

/// Examples that a network is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Examined {
    /// Those that the hyperparameters descend on.
    Validation,
    /// Those that nothing else sees.
    Test,
}

/// What a network at its hyperparameters makes of examples, as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Mean loss.
    pub loss: f64,
    /// Share whose class is predicted; 0 where they have none.
    pub accuracy: f64,
}

/// All that changes in a training: what goes on from it goes on to the same bits.
pub type Saved = BTreeMap<String, Vec<f64>>;

/// λ, s and the outer loss of a tuning step.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// λ `[n]` after it, unconstrained.
    pub lambda: Vec<f64>,
    /// s `[n]` after it.
    pub widths: Vec<f64>,
    /// The outer loss before it.
    pub outer_loss: f64,
}

impl Session {
    /// Compiles the steps and makes the arrays, which hold zeros.
    ///
    /// # Errors
    /// If the training has no rule for something, or the device fails.
    pub async fn open(
        device: &Device,
        tuning: Tuning,
        counts: Counts,
        compiled: &Compiled,
    ) -> Result<Session, SolveError> {
        tuning.check()?;
        counts.check(&tuning)?;
        let mut rig = Rig::new(device);
        let reader = |name| Reader::new(&tuning, &counts, name);
        let mut functions = vec![reader(TRAIN).train()];
        if tuning.variant != Variant::Plain {
            functions.push(reader(TUNE).tune());
        }
        if tuning.planes().is_some() {
            functions.push(reader(CUT).cut());
        }
        for examined in [Examined::Validation, Examined::Test] {
            let count = examined.count(&counts);
            if count > 0 {
                functions.push(reader(examined.program()).judge(examined.suffix(), count));
            }
        }
        let mut parts = vec![];
        for function in functions {
            let inputs = function.graph.inputs().iter().map(|(name, node)| (name, *node));
            let outputs = function.outputs.iter().map(|output| (&output.name, output.node));
            for (name, node) in inputs.chain(outputs) {
                if !rig.holds(name) {
                    rig.create(name, function.graph.dtype(node), numel(function.graph.shape(node)))?;
                }
            }
            let program = compiled.program(&function)?;
            rig.load(&function, &program).await?;
            parts.push((function, program));
        }
        Ok(Session { tuning, counts, rig, parts })
    }

    /// Writes an array whole.
    ///
    /// # Errors
    /// If there is no such array, it takes another number of values, or a row or label is none.
    pub fn fill(&self, name: &str, values: Values) -> Result<(), SolveError> {
        let network = &self.tuning.network;
        let below = match name {
            "rows" | "rows_other" => Some(self.counts.training),
            "rows_validation" => Some(self.counts.validation),
            "y" | "y_validation" | "y_test" => network.loss.has_classes().then(|| network.model.output()[0]),
            _ => None,
        };
        if let (Values::U32(words), Some(below)) = (values, below)
            && let Some(word) = words.iter().find(|&&word| word as usize >= below)
        {
            let what = format!("holds {word}, counted from 0, but there are {below}");
            return Err(SolveError::Data { set: name.to_owned(), what });
        }
        Ok(self.rig.fill(name, values)?)
    }

    /// Writes all examples of training (no suffix), `_validation` or `_test`.
    ///
    /// # Errors
    /// If there are more or fewer, or they are bytes where numbers are wanted, or the other way round.
    pub fn put(&self, suffix: &str, set: &Set) -> Result<(), SolveError> {
        let x = format!("x{suffix}");
        match (&set.x, self.counts.bytes) {
            (Examples::Floats(values), None) => self.fill(&x, Values::F32(values))?,
            (Examples::Bytes { bytes, scale }, Some(channels)) if scale.mean.len() == channels => {
                self.fill(SCALE, Values::F32(&kept::scale_array(scale)))?;
                let each = numel(self.tuning.network.model.input());
                self.fill(&x, Values::U32(&kept::packed(bytes, each)))?;
            }
            _ => {
                let what = "examples are bytes of the channels that the session was opened for, or else numbers";
                return Err(SolveError::Data { set: x, what: what.to_owned() });
            }
        }
        let y = format!("y{suffix}");
        match &set.targets {
            Targets::Labels(labels) => self.fill(&y, Values::U32(labels)),
            Targets::Values(values) => self.fill(&y, Values::F32(values)),
        }
    }

    /// Begins with the first step of this seed, without planes; the other states are filled.
    ///
    /// # Errors
    /// If rows and draws are given.
    pub fn begin(&self, seed: u64) -> Result<(), SolveError> {
        self.fill("seed", Values::U32(&split_seed(seed)))?;
        for name in [TRAINED, TUNED].into_iter().filter(|name| self.rig.holds(name)) {
            self.fill(name, Values::U32(&[0]))?;
        }
        for name in ["planes", HISTORY].into_iter().filter(|name| self.rig.holds(name)) {
            self.rig.clear(name)?;
        }
        Ok(())
    }

    fn program(&self, act: Act) -> Result<&'static str, SolveError> {
        let (program, problem) = match act {
            Act::Train => (TRAIN, "it does not train"),
            Act::Tune => (TUNE, "plain training moves no hyperparameter"),
            Act::Cut => (CUT, "only CPMLHO has cutting planes"),
        };
        match self.rig.is_loaded(program) {
            true => Ok(program),
            false => Err(SolveError::Problem(problem.to_owned())),
        }
    }

    /// What a step has to do; none where there is no such step.
    pub fn work(&self, act: Act) -> Option<Work> {
        let name = self.program(act).ok()?;
        let (_, program) = self.parts.iter().find(|(function, _)| function.name == name)?;
        Some(Work::of(program))
    }

    /// What it computes with, each dispatch of its steps timed so often. The steps are taken: all arrays are to be filled
    /// after it.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn open_up(&mut self, repeats: usize) -> Result<Opened, SolveError> {
        let mut seconds = vec![];
        for (function, _) in &self.parts {
            let binding = self.rig.bind(function.name, &[])?;
            let timed = self.rig.device().profile::<SolveError>(binding, repeats, || Ok(())).await?;
            seconds.push((function.name, timed));
        }
        Ok(Opened::on(&[(&self.rig, &self.parts)], seconds, NO_CHECKPOINTS))
    }

    /// Takes a step.
    ///
    /// # Errors
    /// If the device fails, or there is no such step: a plane is cut where there are none.
    pub fn act(&mut self, act: Act) -> Result<(), SolveError> {
        let binding = self.rig.bind(self.program(act)?, &[])?;
        Ok(self.rig.submit(&[binding])?)
    }

    /// Takes steps one after another, many in a submission, without reading or writing anything between them.
    ///
    /// # Errors
    /// As [`act`](Self::act); if the monitor asks to stop; if rows and draws are given, which would be the same in all.
    pub async fn run(
        &mut self,
        acts: impl IntoIterator<Item = Act>,
        progress: &mut Progress,
        monitor: &mut dyn Monitor,
    ) -> Result<(), SolveError> {
        if self.counts.supply == Supply::Given {
            let problem = "rows and draws are given for each step; take the steps one by one";
            return Err(SolveError::Problem(problem.to_owned()));
        }
        let programs = acts.into_iter().map(|act| self.program(act)).collect::<Result<Vec<_>, _>>()?;
        let mut programs = programs.into_iter();
        let next = |rig: &mut Rig| programs.next().map(|program| rig.bind(program, &[])).transpose();
        Ok(self.rig.replay("selftune", next, progress, monitor).await?)
    }

    /// Seconds that a step takes now, alone in a submission. The step is taken.
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn time(&mut self, act: Act) -> Result<f64, SolveError> {
        let binding = self.rig.bind(self.program(act)?, &[])?;
        let start = web_time::Instant::now();
        self.rig.submit(&[binding])?;
        self.rig.device().finish().await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// How the network predicts examples at the hyperparameters themselves.
    ///
    /// # Errors
    /// If there are none, the device fails, or the monitor asks to stop.
    pub async fn judge(&mut self, examined: Examined, monitor: &mut dyn Monitor) -> Result<Judgement, SolveError> {
        let (program, count) = (examined.program(), examined.count(&self.counts));
        if !self.rig.is_loaded(program) {
            return Err(SolveError::Problem("there are no test examples".to_owned()));
        }
        self.rig.clear(JUDGED)?;
        self.rig.fill("chunk", Values::U32(&[0]))?;
        let mut chunks = 0..count.div_ceil(CHUNK);
        let next = |rig: &mut Rig| chunks.next().map(|_| rig.bind(program, &[])).transpose();
        self.rig.replay("selftune_judge", next, &mut Progress::default(), &mut Quiet(monitor)).await?;
        let sums = self.read(JUDGED).await?;
        let [loss, accuracy] = [0, 1].map(|k| sums[k] / count as f64);
        Ok(Judgement { loss, accuracy })
    }

    /// The tuning steps so far, as far as they are recorded.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn history(&self) -> Result<Vec<Record>, SolveError> {
        let n = self.tuning.network.domains.len();
        let Supply::Keyed { records } = self.counts.supply else { return Ok(vec![]) };
        if !self.rig.holds(HISTORY) {
            return Ok(vec![]);
        }
        let taken = self.read(TUNED).await?[0] as usize;
        let all = self.read(HISTORY).await?;
        let record =
            |row: &[f64]| Record { lambda: row[..n].to_vec(), widths: row[n..2 * n].to_vec(), outer_loss: row[2 * n] };
        Ok(all.chunks(2 * n + 1).take(taken.min(records)).map(record).collect())
    }

    /// The arrays that steps change.
    fn changing(&self) -> impl Iterator<Item = &'static str> + '_ {
        let all = ["general", "response", "leader", "planes", TRAINED, TUNED, HISTORY];
        all.into_iter().filter(|name| self.rig.holds(name))
    }

    /// All that changes in the training.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn save(&self) -> Result<Saved, SolveError> {
        let names: Vec<&str> = self.changing().collect();
        let arrays = names.iter().map(|name| self.rig.array(name)).collect::<Result<Vec<_>, _>>()?;
        let values = self.rig.read(&arrays).await?;
        Ok(names.into_iter().map(str::to_owned).zip(values).collect())
    }

    /// Goes on from what was saved of a training of the same shape.
    ///
    /// # Errors
    /// If it is of another.
    pub fn load(&self, saved: &Saved) -> Result<(), SolveError> {
        for name in self.changing() {
            let values = saved.get(name).ok_or_else(|| SolveError::Data {
                set: name.to_owned(),
                what: "is not among what was saved: it is of another training".to_owned(),
            })?;
            self.fill(name, Values::F64(values))?;
        }
        Ok(())
    }

    /// What an array holds.
    ///
    /// # Errors
    /// If there is no such array, or the device fails.
    pub async fn read(&self, name: &str) -> Result<Vec<f64>, SolveError> {
        let array = self.rig.array(name)?;
        Ok(self.rig.read(&[array]).await?.remove(0))
    }
}

impl Examined {
    fn program(self) -> &'static str {
        match self {
            Examined::Validation => "selftune_validation",
            Examined::Test => "selftune_test",
        }
    }

    fn count(self, counts: &Counts) -> usize {
        match self {
            Examined::Validation => counts.validation,
            Examined::Test => counts.test,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Examined::Validation => "_validation",
            Examined::Test => "_test",
        }
    }
}
