//! Checks of hypergradients: right ones pass, wrong ones fail.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use pollster::block_on;
use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::bilevel::{Flow, Monitor, Problem, SolveError, Unattended, programs};
use stackelberg::compile::{Output, Program};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::har::builtin;
use stackelberg::data::{Dataset, Split};
use stackelberg::engine::{
    BindingId, BufferId, Command, Counters, Engine, EngineInfo, Holdings, LocalFuture, ProgramId,
    Result as EngineResult, Timing, Values,
};
use stackelberg::experiment::check::{
    Along, Answers, CheckError, EXACT, Edge, GradientCheck, OnDevice, Outcome, SETTLED, Size, Subject, Verdict,
};
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::prepared::Prepared;
use stackelberg::experiment::setup;
use stackelberg::ir::{DType, Graph, NodeId};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::{Device, Function};

fn config() -> TuneConfig {
    TuneConfig { steps: 6, batch: Some(4), validation_windows: 16, learning_rate: Some(0.01), ..TuneConfig::quick() }
}

fn source() -> Dataset {
    builtin::subset().unwrap()
}

/// An engine that computes something else than it is asked for.
struct Spoilt<E> {
    inner: E,
    /// Runs instead of the program of its name.
    program: Option<Program>,
    slope: Option<Slope>,
    /// Labels of the buffers.
    labels: HashMap<BufferId, String>,
}

/// A wrong slope of some hyperparameters' transform: reverse mode multiplies by it what it has found, and forward mode
/// what it sets out from.
#[derive(Clone)]
struct Slope {
    wrong: Range<usize>,
    /// Length of the hyperparameter vector.
    len: usize,
    factor: f64,
}

impl Slope {
    fn spoil(&self, values: &mut [f64]) {
        let wrong = values.iter_mut().enumerate().filter(|(k, _)| self.wrong.contains(&(k % self.len)));
        wrong.for_each(|(_, value)| *value *= self.factor);
    }
}

fn problem(config: &TuneConfig) -> Problem {
    setup::problem(config, &Split::by_people(&source(), &config.split).unwrap().sizes()).unwrap()
}

impl<E: Engine + 'static> Spoilt<E> {
    /// Spoils an output of a function.
    fn output(inner: E, mut f: Function, output: &str, spoil: impl Fn(&mut Graph, NodeId) -> NodeId) -> Device {
        let Output { node, .. } = f.outputs.iter_mut().find(|o| o.name == output).unwrap();
        *node = spoil(&mut f.graph, *node);
        Device::new(Spoilt { inner, program: Some(f.compile().unwrap()), slope: None, labels: HashMap::new() })
    }

    /// Spoils the slope of the penalties.
    fn penalties(inner: E, config: &TuneConfig, factor: f64) -> Device {
        let layout = problem(config).layout();
        let slope = Slope { wrong: layout.l2_log.clone(), len: layout.len(), factor };
        Device::new(Spoilt { inner, program: None, slope: Some(slope), labels: HashMap::new() })
    }
}

impl<E: Engine> Engine for Spoilt<E> {
    fn info(&self) -> &EngineInfo {
        self.inner.info()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn create(&mut self, label: &str, dtype: DType, len: usize) -> EngineResult<BufferId> {
        let id = self.inner.create(label, dtype, len)?;
        self.labels.insert(id, label.to_owned());
        Ok(id)
    }

    fn destroy(&mut self, buffer: BufferId) {
        self.inner.destroy(buffer);
    }

    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> EngineResult<()> {
        match (&self.slope, values) {
            (Some(slope), Values::F64(values)) if self.labels[&buffer] == "directions" => {
                let mut values = values.to_vec();
                slope.spoil(&mut values);
                self.inner.write(buffer, offset, Values::F64(&values))
            }
            _ => self.inner.write(buffer, offset, values),
        }
    }

    fn read(&mut self, buffers: &[BufferId]) -> LocalFuture<'static, EngineResult<Vec<Vec<f64>>>> {
        let reading = self.inner.read(buffers);
        let spoilt = |buffer: &BufferId| self.slope.clone().filter(|_| self.labels[buffer] == "lambda_cotangent");
        let spoilt: Vec<Option<Slope>> = buffers.iter().map(spoilt).collect();
        Box::pin(async move {
            let mut values = reading.await?;
            for (values, slope) in values.iter_mut().zip(spoilt) {
                if let Some(slope) = slope {
                    slope.spoil(values);
                }
            }
            Ok(values)
        })
    }

    fn unload(&mut self, program: ProgramId) {
        self.inner.unload(program);
    }

    fn holdings(&self) -> Holdings {
        self.inner.holdings()
    }

    fn forget_peak(&mut self) {
        self.inner.forget_peak();
    }

    fn load(&mut self, program: &Program) -> LocalFuture<'static, EngineResult<ProgramId>> {
        let other = self.program.as_ref().filter(|other| other.name == program.name);
        self.inner.load(other.unwrap_or(program))
    }

    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> EngineResult<BindingId> {
        self.inner.bind(program, inputs, outputs)
    }

    fn submit(&mut self, commands: &[Command]) -> EngineResult<()> {
        self.inner.submit(commands)
    }

    fn time(&mut self, binding: BindingId) -> LocalFuture<'static, EngineResult<Timing>> {
        self.inner.time(binding)
    }

    fn finish(&mut self) -> LocalFuture<'static, EngineResult<()>> {
        self.inner.finish()
    }
}

/// Small enough to be gone through in f64 as it is.
fn small() -> TuneConfig {
    TuneConfig { hyperparameters: vec![Kind::Lr, Kind::Momentum, Kind::L2], ..config() }
}

fn prepared(config: &TuneConfig) -> Rc<Prepared> {
    Rc::new(Prepared::new(config, &source()).unwrap())
}

fn subject(config: &TuneConfig) -> Subject {
    Subject::new(prepared(config), None, Along::GROUPS, false).unwrap()
}

fn check(config: &TuneConfig, exact: &Device, device: Option<&Device>) -> GradientCheck {
    block_on(subject(config).check(exact, device, [1.0, 1.0], &mut Unattended)).unwrap()
}

fn f64s() -> Device {
    Device::new(ReferenceEngine::new())
}

fn cpu() -> Device {
    Device::new(CpuEngine::new(1))
}

fn answered(check: &GradientCheck) -> (&Answers, f64, Option<Edge>) {
    match &check.device {
        Some(OnDevice::Answered { answers, scatter, edge }) => (answers, *scatter, *edge),
        other => panic!("{other:?}"),
    }
}

/// The verdict of two ways on each other.
fn verdict(answers: &Answers, names: [&str; 2]) -> Verdict {
    let at =
        names.map(|name| answers.answers.iter().position(|a| a.method == name).unwrap_or_else(|| panic!("{name}")));
    answers.comparisons.iter().find(|c| c.answers == at).unwrap().verdict()
}

const MODES: [&str; 2] = ["reverse mode", "forward mode"];
const REVERSE: [&str; 2] = ["reverse mode", "differences"];
const FORWARD: [&str; 2] = ["forward mode", "differences"];

#[test]
fn right_answers_agree_in_both_precisions() {
    for hyperparameters in [vec![Kind::Lr, Kind::Momentum, Kind::L2], vec![Kind::ExampleWeights, Kind::Lr]] {
        let config = TuneConfig { hyperparameters, ..config() };
        let check = check(&config, &f64s(), Some(&cpu()));
        assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
        let (device, scatter, edge) = answered(&check);
        assert_eq!((check.exact.comparisons.len(), device.comparisons.len(), edge), (3, 1, None));
        assert!(scatter < 1e-3, "{scatter}");
        // What may differ is little: next to nothing between the modes, and the differences' own error.
        let shown = |pair: usize| check.exact.comparisons[pair].shown().unwrap();
        assert!(shown(0) < 1e-6 && shown(1) < SETTLED, "{check:#?}");
    }
}

/// What decides does not depend on the machine: the sizes follow from the settings alone.
#[test]
fn the_sizes_follow_from_the_settings() {
    let large = TuneConfig { steps: 100_000, batch: Some(512), validation_windows: 600, ..TuneConfig::quick() };
    let whole = Size { steps: 100_000, batch: 512, validation_windows: 600 };
    assert_eq!(subject(&large).sizes(), [EXACT, whole]);
    let little = Size { steps: 6, batch: 4, validation_windows: 16 };
    assert_eq!(subject(&config()).sizes(), [little; 2]);
    let in_full = Subject::new(prepared(&large), None, Along::GROUPS, true).unwrap();
    assert_eq!(in_full.sizes(), [whole; 2]);
}

/// Parts of a check follow one another up to its end.
#[test]
fn progress_is_that_of_the_whole_check() {
    struct Seen(Vec<(u64, u64)>);
    impl Monitor for Seen {
        fn progress(&mut self, done: u64, total: u64) {
            self.0.push((done, total));
        }
        fn breathe(&mut self) -> LocalFuture<'_, Flow> {
            Box::pin(std::future::ready(Flow::Continue))
        }
    }
    let mut seen = Seen(vec![]);
    block_on(subject(&small()).check(&f64s(), Some(&cpu()), [3.0, 1.0], &mut seen)).unwrap();
    assert!(seen.0.is_sorted() && seen.0.iter().all(|(_, total)| *total == 10_000), "{:?}", seen.0);
    let (first, last) = (seen.0[0].0, seen.0.last().unwrap().0);
    assert!(first < 500 && last >= 9_999, "{first} {last}");
    // Three quarters of it are said to be in f64.
    assert!(seen.0.iter().any(|(done, _)| (7_500..7_700).contains(done)), "the device begins there");
}

#[test]
fn a_check_can_be_ended() {
    struct Impatient(u32);
    impl Monitor for Impatient {
        fn progress(&mut self, _done: u64, _total: u64) {}
        fn breathe(&mut self) -> LocalFuture<'_, Flow> {
            self.0 += 1;
            Box::pin(std::future::ready(if self.0 < 20 { Flow::Continue } else { Flow::Stop }))
        }
    }
    let mut host = Impatient(0);
    let outcome = block_on(subject(&small()).check(&f64s(), Some(&cpu()), [1.0, 1.0], &mut host));
    assert!(matches!(outcome, Err(CheckError::Tune(TuneError::Solve(SolveError::Stopped)))), "{outcome:?}");
    assert_eq!(host.0, 20);
}

#[test]
fn a_wrong_adjoint_fails() {
    let config = small();
    let longer = |g: &mut Graph, node: NodeId| g.scale(node, 1.02);
    // Residuals of all steps fit into the memory budget.
    let adjoint = || programs::pullback(&problem(&config));
    let spoilt = Spoilt::output(CpuEngine::new(1), adjoint(), "lambda_cotangent", longer);
    let wrong = check(&config, &f64s(), Some(&spoilt));
    assert_eq!(verdict(&wrong.exact, REVERSE), Verdict::Agree);
    assert_eq!((wrong.outcome, verdict(answered(&wrong).0, MODES)), (Outcome::Failed, Verdict::Disagree), "{wrong:#?}");
    // In f64, a hundred-millionth shows between the modes.
    let little = |g: &mut Graph, node: NodeId| g.scale(node, 1.0 + 1e-8);
    let spoilt = Spoilt::output(ReferenceEngine::new(), adjoint(), "next_cotangent", little);
    let wrong = check(&config, &spoilt, None);
    assert_eq!((wrong.outcome, verdict(&wrong.exact, MODES)), (Outcome::Failed, Verdict::Disagree), "{wrong:#?}");
    // A wrong sign shows against differences, too.
    let spoilt = Spoilt::output(ReferenceEngine::new(), adjoint(), "next_cotangent", |g, node| g.neg(node));
    let wrong = check(&config, &spoilt, None);
    assert_eq!(verdict(&wrong.exact, REVERSE), Verdict::Disagree);
    assert_eq!(verdict(&wrong.exact, FORWARD), Verdict::Agree);
}

#[test]
fn an_error_of_both_modes_shows_in_differences_alone() {
    let config = small();
    let gradient =
        programs::outer_gradient(&Problem { validation: config.validation_windows as usize, ..problem(&config) });
    let spoilt = Spoilt::output(ReferenceEngine::new(), gradient, "gradient", |g, node| g.scale(node, 1.001));
    let wrong = check(&config, &spoilt, None);
    assert_eq!(verdict(&wrong.exact, MODES), Verdict::Agree, "{wrong:#?}");
    for pair in [REVERSE, FORWARD] {
        assert_eq!(verdict(&wrong.exact, pair), Verdict::Disagree, "{wrong:#?}");
    }
    assert_eq!(wrong.outcome, Outcome::Failed);
}

#[test]
fn a_wrong_slope_of_the_smallest_derivatives_shows_along_them_alone() {
    let config = small();
    let wrong = check(&config, &Spoilt::penalties(ReferenceEngine::new(), &config, 1.1), None);
    assert_eq!(verdict(&wrong.exact, MODES), Verdict::Agree, "{wrong:#?}");
    // The penalties' derivatives are thousands of times smaller than the others, which are right.
    assert_eq!(wrong.outcome, Outcome::Failed);
    assert_eq!(wrong.along(&wrong.exact.verdicts, Verdict::Disagree), ["l2, random signs 1"]);
    assert_eq!(wrong.along(&wrong.exact.verdicts, Verdict::Agree), ["learning_rate", "momentum"]);
}

/// Momentum first acts in the second step: its derivative after one is exactly 0, and that is agreed.
#[test]
fn a_derivative_of_zero_is_no_matter() {
    let config = TuneConfig { steps: 1, ..small() };
    let check = check(&config, &f64s(), Some(&cpu()));
    assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
    assert!(check.exact.answers.iter().all(|answer| answer.values[1] == 0.0), "{check:#?}");
}

/// Past the edge of stability the modes still agree, and neighbouring points or the size of the derivatives tell.
#[test]
fn past_the_edge_of_stability_the_gradient_is_exact_and_of_no_use() {
    let config = TuneConfig { steps: 100, learning_rate: Some(0.05), momentum: Some(0.95), batch: Some(16), ..small() };
    let check = check(&config, &f64s(), Some(&cpu()));
    assert_eq!(check.outcome, Outcome::Edge, "{check:#?}");
    if let Some(OnDevice::Answered { edge, .. }) = check.device {
        assert!(edge.is_some());
    }
}

#[test]
fn what_diverges_is_not_checked() {
    let config = TuneConfig { learning_rate: Some(1e6), ..small() };
    let outcome = block_on(subject(&config).check(&f64s(), None, [1.0, 1.0], &mut Unattended));
    assert!(matches!(outcome, Err(CheckError::Diverged)), "{outcome:?}");
}
