//! Checks of hypergradients: right ones pass, wrong ones fail.

use pollster::block_on;
use stackelberg::bilevel::Unattended;
use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::compile::{Output, Program};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::{Source, Split, builtin};
use stackelberg::engine::{
    BindingId, BufferId, Command, Counters, Engine, EngineInfo, LocalFuture, ProgramId, Result as EngineResult, Values,
};
use stackelberg::experiment::check::{Along, CheckError, GradientCheck, Subject, Verdict};
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

/// An engine that runs another adjoint than the one it is given.
struct Spoilt<E> {
    inner: E,
    adjoint: Program,
}

impl<E: Engine> Spoilt<E> {
    /// Spoils an output of the adjoint.
    fn new(inner: E, config: &TuneConfig, output: &str, spoil: impl Fn(&mut Graph, NodeId) -> NodeId) -> Self {
        let train = Split::new(&source().windows, &config.split).unwrap().train.len();
        let mut f = setup::problem(config, train).step_adjoint();
        let Output { node, .. } = f.outputs.iter_mut().find(|o| o.name == output).unwrap();
        *node = spoil(&mut f.graph, *node);
        Spoilt { inner, adjoint: f.compile().unwrap() }
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
        self.inner.create(label, dtype, len)
    }

    fn destroy(&mut self, buffer: BufferId) {
        self.inner.destroy(buffer);
    }

    fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> EngineResult<()> {
        self.inner.write(buffer, offset, values)
    }

    fn read<'a>(&'a mut self, buffers: &'a [BufferId]) -> LocalFuture<'a, EngineResult<Vec<Vec<f64>>>> {
        self.inner.read(buffers)
    }

    fn load<'a>(&'a mut self, program: &'a Program) -> LocalFuture<'a, EngineResult<ProgramId>> {
        self.inner.load(if program.name == "step_adjoint" { &self.adjoint } else { program })
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
    check.comparisons.iter().find(|c| c.answers == at).unwrap().verdict
}

#[test]
fn right_answers_agree_in_both_precisions() {
    for hyperparameters in [vec![Kind::Lr, Kind::Momentum, Kind::L2], vec![Kind::ExampleWeights, Kind::Lr]] {
        let config = TuneConfig { hyperparameters, ..config() };
        let check = check(&config, &mut CpuEngine::new(1), Some(&mut ReferenceEngine::new()));
        assert!(check.passed, "{check:#?}");
        assert_eq!((check.answers.len(), check.comparisons.len()), (5, 6));
        // What may differ is little: of the order of the roundoff in f32, and of its two-thirds power for differences.
        let exact = check.comparisons.iter().find(|c| c.answers == [2, 4]).unwrap();
        assert!(check.comparisons[0].allowed < 1e-3 && exact.allowed < 1e-6, "{check:#?}");
    }
}

#[test]
fn in_single_precision_alone_they_agree_too() {
    let check = check(&config(), &mut CpuEngine::new(1), None);
    assert!(check.passed, "{check:#?}");
    assert_eq!((check.answers.len(), check.comparisons.len()), (3, 3));
    assert!(check.answers[2].steps.iter().all(|&step| step > 1e-4), "{check:#?}");
}

#[test]
fn a_wrong_adjoint_fails() {
    let config = config();
    let longer = |g: &mut Graph, node: NodeId| g.scale(node, 1.001);
    let mut spoilt = Spoilt::new(CpuEngine::new(1), &config, "next_cotangent", longer);
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
    assert!(!wrong.passed);
    let mut spoilt = Spoilt::new(CpuEngine::new(1), &config, "lambda_cotangent", longer);
    let wrong = check(&config, &mut spoilt, None);
    assert_eq!((wrong.passed, verdict(&wrong, [reverse, forward])), (false, Verdict::Disagree), "{wrong:#?}");
}

#[test]
fn in_f64_an_error_shows_that_single_precision_takes_for_rounding() {
    let config = config();
    let mut spoilt =
        Spoilt::new(ReferenceEngine::new(), &config, "next_cotangent", |g, node| g.scale(node, 1.0 + 1e-8));
    let wrong = check(&config, &mut CpuEngine::new(1), Some(&mut spoilt));
    let exact = [("reverse mode", "reference"), ("forward mode", "reference")];
    assert_eq!((wrong.passed, verdict(&wrong, exact)), (false, Verdict::Disagree), "{wrong:#?}");
}

#[test]
fn without_f64_a_wrong_sign_still_fails() {
    let config = config();
    let mut spoilt = Spoilt::new(CpuEngine::new(1), &config, "next_cotangent", |g, node| g.neg(node));
    let check = check(&config, &mut spoilt, None);
    assert_eq!(verdict(&check, [("reverse mode", "cpu"), ("differences", "cpu")]), Verdict::Disagree, "{check:#?}");
    assert!(!check.passed);
}

#[test]
fn what_diverges_is_not_checked() {
    let config = TuneConfig { learning_rate: 1e6, ..config() };
    let subject = Subject::new(&config, &source(), None, Along::GROUPS).unwrap();
    let outcome = block_on(subject.check(&mut CpuEngine::new(1), None, &mut Unattended));
    assert!(matches!(outcome, Err(CheckError::Diverged)), "{outcome:?}");
}
