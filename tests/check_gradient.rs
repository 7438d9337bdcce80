//! Checks of hypergradients: right ones pass, wrong ones fail.

use std::collections::HashMap;
use std::ops::Range;

use pollster::block_on;
use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::bilevel::{Function, Problem, Unattended};
use stackelberg::compile::{Output, Program};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::{Source, Split, builtin};
use stackelberg::engine::{
    BindingId, BufferId, Command, Counters, Engine, EngineInfo, LocalFuture, ProgramId, Result as EngineResult, Values,
};
use stackelberg::experiment::check::{Along, CheckError, GradientCheck, Outcome, Subject, Verdict};
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::setup;
use stackelberg::ir::{DType, Graph, NodeId};
use stackelberg::reference::ReferenceEngine;

fn config() -> TuneConfig {
    TuneConfig { steps: 6, batch: 4, validation_windows: 16, learning_rate: 0.01, ..TuneConfig::quick() }
}

fn source() -> Source {
    Source::builtin(builtin::SUBSET, None).unwrap()
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
    setup::problem(config, Split::new(&source().windows, &config.split).unwrap().train.len())
}

impl<E: Engine> Spoilt<E> {
    /// Spoils an output of a function.
    fn new(inner: E, mut f: Function, output: &str, spoil: impl Fn(&mut Graph, NodeId) -> NodeId) -> Self {
        let Output { node, .. } = f.outputs.iter_mut().find(|o| o.name == output).unwrap();
        *node = spoil(&mut f.graph, *node);
        Spoilt { inner, program: Some(f.compile().unwrap()), slope: None, labels: HashMap::new() }
    }

    /// Spoils the slope of the penalties.
    fn penalties(inner: E, config: &TuneConfig, factor: f64) -> Self {
        let layout = problem(config).layout();
        let slope = Slope { wrong: layout.l2_log.clone(), len: layout.len(), factor };
        Spoilt { inner, program: None, slope: Some(slope), labels: HashMap::new() }
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

    fn read<'a>(&'a mut self, buffers: &'a [BufferId]) -> LocalFuture<'a, EngineResult<Vec<Vec<f64>>>> {
        Box::pin(async move {
            let mut values = self.inner.read(buffers).await?;
            for (values, buffer) in values.iter_mut().zip(buffers) {
                if let Some(slope) = self.slope.as_ref().filter(|_| self.labels[buffer] == "lambda_cotangent") {
                    slope.spoil(values);
                }
            }
            Ok(values)
        })
    }

    fn load<'a>(&'a mut self, program: &'a Program) -> LocalFuture<'a, EngineResult<ProgramId>> {
        let other = self.program.as_ref().filter(|other| other.name == program.name);
        self.inner.load(other.unwrap_or(program))
    }

    fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> EngineResult<BindingId> {
        self.inner.bind(program, inputs, outputs)
    }

    fn submit(&mut self, commands: &[Command]) -> EngineResult<()> {
        self.inner.submit(commands)
    }

    fn finish(&mut self) -> LocalFuture<'_, EngineResult<()>> {
        self.inner.finish()
    }
}

fn check(config: &TuneConfig, device: &mut dyn Engine, reference: Option<&mut dyn Engine>) -> GradientCheck {
    let subject = Subject::new(config, &source(), None, Along::GROUPS).unwrap();
    block_on(subject.check(device, reference, &mut Unattended)).unwrap()
}

/// The verdicts, by the names of what is compared.
fn verdict(check: &GradientCheck, names: [(&str, &str); 2]) -> Verdict {
    let at = names.map(|(method, engine)| {
        check
            .answers
            .iter()
            .position(|a| a.method == method && a.engine == engine)
            .unwrap_or_else(|| panic!("{method}"))
    });
    check.comparisons.iter().find(|c| c.answers == at).unwrap().verdict()
}

#[test]
fn right_answers_agree_in_both_precisions() {
    for hyperparameters in [vec![Kind::Lr, Kind::Momentum, Kind::L2], vec![Kind::ExampleWeights, Kind::Lr]] {
        let config = TuneConfig { hyperparameters, ..config() };
        let check = check(&config, &mut CpuEngine::new(1), Some(&mut ReferenceEngine::new()));
        assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
        assert_eq!((check.answers.len(), check.comparisons.len()), (5, 6));
        // What may differ is little along each of them: little more than rounding between the modes, and the error of
        // differences in f64 beside the smallest derivative.
        let [modes, differences] = [check.shown_by_modes, check.shown_by_differences].map(Option::unwrap);
        assert!(modes < 1e-2 && differences < 1e-2, "{check:#?}");
    }
}

#[test]
fn in_single_precision_alone_they_agree_where_differences_can_tell() {
    let check = check(&config(), &mut CpuEngine::new(1), None);
    // What the penalties do is below the rounding of the loss, and the large derivatives beside it do not cover that up.
    assert_eq!(check.outcome, Outcome::Partly, "{check:#?}");
    assert_eq!(check.along(&check.verdicts, Verdict::Unsettled), ["l2, random signs 1"]);
    assert_eq!(check.comparisons[0].verdict(), Verdict::Agree);
    assert_eq!((check.answers.len(), check.comparisons.len()), (3, 3));
    assert!(check.answers[2].steps.iter().all(|&step| step > 1e-4), "{check:#?}");
}

#[test]
fn a_wrong_adjoint_fails() {
    let config = config();
    let longer = |g: &mut Graph, node: NodeId| g.scale(node, 1.001);
    let adjoint = || problem(&config).step_adjoint();
    let mut spoilt = Spoilt::new(CpuEngine::new(1), adjoint(), "next_cotangent", longer);
    let wrong = check(&config, &mut spoilt, Some(&mut ReferenceEngine::new()));
    let (reverse, forward) = (("reverse mode", "cpu"), ("forward mode", "cpu"));
    let differences = ("differences", "reference");
    for (pair, expected) in [
        ([reverse, forward], Verdict::Disagree),
        ([reverse, differences], Verdict::Disagree),
        ([forward, differences], Verdict::Agree),
        ([("reverse mode", "reference"), differences], Verdict::Agree),
    ] {
        assert_eq!(verdict(&wrong, pair), expected, "{pair:?} {wrong:#?}");
    }
    assert_eq!(wrong.outcome, Outcome::Failed);
    let mut spoilt = Spoilt::new(CpuEngine::new(1), adjoint(), "lambda_cotangent", longer);
    let wrong = check(&config, &mut spoilt, None);
    let modes = verdict(&wrong, [reverse, forward]);
    assert_eq!((wrong.outcome, modes), (Outcome::Failed, Verdict::Disagree), "{wrong:#?}");
}

#[test]
fn an_error_of_both_modes_shows_in_differences_alone() {
    let config = config();
    let gradient = || problem(&config).outer_gradient(config.validation_windows as usize);
    let longer = |g: &mut Graph, node: NodeId| g.scale(node, 1.001);
    let mut spoilt = Spoilt::new(CpuEngine::new(1), gradient(), "gradient", longer);
    let wrong = check(&config, &mut spoilt, Some(&mut ReferenceEngine::new()));
    let (reverse, forward) = (("reverse mode", "cpu"), ("forward mode", "cpu"));
    let differences = ("differences", "reference");
    assert_eq!(verdict(&wrong, [reverse, forward]), Verdict::Agree, "{wrong:#?}");
    for mode in [reverse, forward] {
        assert_eq!(verdict(&wrong, [mode, differences]), Verdict::Disagree, "{wrong:#?}");
    }
    assert_eq!(wrong.outcome, Outcome::Failed);
}

#[test]
fn a_wrong_slope_of_the_smallest_derivatives_shows_along_them_alone() {
    let config = TuneConfig { hyperparameters: vec![Kind::Lr, Kind::Momentum, Kind::L2], ..config() };
    let mut device = Spoilt::penalties(CpuEngine::new(1), &config, 1.1);
    let mut reference = Spoilt::penalties(ReferenceEngine::new(), &config, 1.1);
    let wrong = check(&config, &mut device, Some(&mut reference));
    for engine in ["cpu", "reference"] {
        let modes = [("reverse mode", engine), ("forward mode", engine)];
        assert_eq!(verdict(&wrong, modes), Verdict::Agree, "{wrong:#?}");
        for mode in modes {
            assert_eq!(verdict(&wrong, [mode, ("differences", "reference")]), Verdict::Disagree, "{wrong:#?}");
        }
    }
    // The penalties' derivatives are thousands of times smaller than the others, which are right.
    assert_eq!(wrong.outcome, Outcome::Failed);
    assert_eq!(wrong.along(&wrong.verdicts, Verdict::Disagree), ["l2, random signs 1"]);
    assert_eq!(wrong.along(&wrong.verdicts, Verdict::Agree), ["learning_rate", "momentum"]);
}

#[test]
fn what_the_differences_leave_open_does_not_pass() {
    // In single precision, rounding is far above what so small a penalty does.
    let config = TuneConfig { hyperparameters: vec![Kind::L2], l2: 1e-9, ..config() };
    let check = check(&config, &mut CpuEngine::new(1), None);
    assert_eq!((check.outcome, check.shown_by_differences), (Outcome::Unsettled, None), "{check:#?}");
    assert_eq!(check.along(&check.verdicts, Verdict::Unsettled).len(), 1);
}

#[test]
fn in_f64_an_error_shows_that_single_precision_takes_for_rounding() {
    let config = config();
    let adjoint = problem(&config).step_adjoint();
    let mut spoilt =
        Spoilt::new(ReferenceEngine::new(), adjoint, "next_cotangent", |g, node| g.scale(node, 1.0 + 1e-8));
    let wrong = check(&config, &mut CpuEngine::new(1), Some(&mut spoilt));
    let exact = [("reverse mode", "reference"), ("forward mode", "reference")];
    assert_eq!((wrong.outcome, verdict(&wrong, exact)), (Outcome::Failed, Verdict::Disagree), "{wrong:#?}");
}

#[test]
fn without_f64_a_wrong_sign_still_fails() {
    let config = config();
    let adjoint = problem(&config).step_adjoint();
    let mut spoilt = Spoilt::new(CpuEngine::new(1), adjoint, "next_cotangent", |g, node| g.neg(node));
    let check = check(&config, &mut spoilt, None);
    assert_eq!(verdict(&check, [("reverse mode", "cpu"), ("differences", "cpu")]), Verdict::Disagree, "{check:#?}");
    assert_eq!(check.outcome, Outcome::Failed);
}

#[test]
fn what_diverges_is_not_checked() {
    let config = TuneConfig { learning_rate: 1e6, ..config() };
    let subject = Subject::new(&config, &source(), None, Along::GROUPS).unwrap();
    let outcome = block_on(subject.check(&mut CpuEngine::new(1), None, &mut Unattended));
    assert!(matches!(outcome, Err(CheckError::Diverged)), "{outcome:?}");
}
