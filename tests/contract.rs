//! Inner problems and methods of one's own: what they get wrong has words.

use std::ops::Range;

use async_trait::async_trait;
use pollster::block_on;
use stackelberg::bilevel::inner::{Acting, At, Inner, Known, LOSSES, Part, Step, Through};
use stackelberg::bilevel::{
    Device, Directions, Estimate, Forward, Memory, Method, Monitor, Refusal, Session, SolveError, Trajectory,
    Unattended, programs,
};
use stackelberg::ir::{DType, Graph, NodeId};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::{Array, Function};

/// w ← w − λ₀ (w − λ₁), E = Σ w; sound but for what is changed.
#[derive(Clone)]
struct Toy {
    steps: usize,
    weights: usize,
    state: Vec<(&'static str, Range<usize>)>,
    lambda: Vec<Range<usize>>,
    arrays: Vec<Array>,
    spoil: Spoil,
}

#[derive(Clone, Copy, PartialEq)]
enum Spoil {
    Nothing,
    Begin,
    State,
    Record,
    RecordTwice,
    Outer,
    Known,
}

fn toy() -> Toy {
    Toy {
        steps: 3,
        weights: 2,
        state: vec![("w", 0..2)],
        lambda: vec![0..1, 1..2],
        arrays: vec![],
        spoil: Spoil::Nothing,
    }
}

impl Inner for Toy {
    fn steps(&self) -> usize {
        self.steps
    }

    fn state(&self) -> Vec<Part> {
        let part = |(name, range): &(&str, Range<usize>)| Part {
            name: (*name).to_owned(),
            range: range.clone(),
            shape: vec![range.len()],
        };
        self.state.iter().map(part).collect()
    }

    fn weights(&self) -> usize {
        self.weights
    }

    fn lambda(&self) -> Vec<Acting> {
        let names = ["rate", "target", "more"].into_iter().zip(&self.lambda);
        names.map(|(name, range)| Acting { name, what: name, range: range.clone(), through: Through::Step }).collect()
    }

    fn arrays(&self) -> Vec<Array> {
        self.arrays.clone()
    }

    fn begin(&self, g: &mut Graph, _lambda: NodeId, given: NodeId) -> NodeId {
        if self.spoil == Spoil::Begin { g.segment(given, 0, 1) } else { given }
    }

    fn step(&self, g: &mut Graph, at: &At) -> Step {
        let [rate, target] = [0, 1].map(|k| g.segment(at.lambda, k, 1));
        let off = g.sub(at.state, target);
        let change = g.mul(rate, off);
        let state = g.sub(at.state, change);
        let sum = g.sum_all(off);
        let record = g.reshape(sum, &[1]);
        let records = match self.spoil {
            Spoil::Record => vec![(LOSSES, state)],
            Spoil::RecordTwice => vec![(LOSSES, record), (LOSSES, record)],
            _ => vec![(LOSSES, record)],
        };
        Step { state: if self.spoil == Spoil::State { record } else { state }, records }
    }

    fn outer(&self, g: &mut Graph, state: NodeId, _lambda: NodeId, _chunk: NodeId) -> NodeId {
        if self.spoil == Spoil::Outer { state } else { g.sum_all(state) }
    }

    fn known(&self, _lambda: &[f64], _steps: usize) -> Vec<Known> {
        if self.spoil == Spoil::Known { vec![Known { slot: 2, at: 0, derivative: 1.0 }] } else { vec![] }
    }
}

fn open(inner: Toy, method: impl Into<Box<dyn Method>>) -> Result<Session<Toy>, SolveError> {
    block_on(Session::open(&Device::new(ReferenceEngine::new()), inner, method))
}

#[test]
fn what_an_inner_problem_gets_wrong_is_said() {
    let sound = toy();
    let mut session = open(sound.clone(), Memory::StoreAll).unwrap();
    let estimate = block_on(session.hypergradient(&[0.5, 1.0], &mut Unattended)).unwrap();
    // From 0: w = 1 − 0.5³, twice.
    assert_eq!((estimate.outer_loss, estimate.hypergradient), (1.75, vec![1.5, 1.75]));

    let own = |name: &str| vec![Array::new(name, DType::F32, 1)];
    let cases = [
        (Toy { steps: 0, ..sound.clone() }, "at least 1 training step"),
        (Toy { weights: 3, ..sound.clone() }, "3 of the 2 elements"),
        (Toy { weights: 0, ..sound.clone() }, "0 of the 2 elements"),
        (Toy { state: vec![], ..sound.clone() }, "state is empty"),
        (Toy { state: vec![("w", 0..1), ("w", 1..2)], ..sound.clone() }, "two parts of its state are called `w`"),
        (Toy { lambda: vec![0..1, 2..3], ..sound.clone() }, "part `target` of its hyperparameter vector"),
        (Toy { spoil: Spoil::Begin, ..sound.clone() }, "what `begin` makes has the shape [1]"),
        (Toy { spoil: Spoil::State, ..sound.clone() }, "next state that `step` makes has the shape [1]"),
        (Toy { spoil: Spoil::Record, ..sound.clone() }, "the record `losses` of a step has the shape [2]"),
        (Toy { spoil: Spoil::RecordTwice, ..sound.clone() }, "`losses`"),
        (Toy { spoil: Spoil::Outer, ..sound.clone() }, "an outer loss is one number"),
        (Toy { arrays: own("value"), ..sound.clone() }, "two arrays are called `value`"),
        (Toy { arrays: own("state 0"), ..sound.clone() }, "called `state 0`"),
    ];
    for (inner, says) in cases {
        let Err(error) = open(inner, Memory::StoreAll) else { panic!("{says}") };
        assert!(error.to_string().contains(says), "{error} instead of {says}");
    }
}

/// What a problem knows of its state is looked at in a sweep.
#[test]
fn what_is_known_of_no_element_is_refused() {
    let spoilt = Toy { spoil: Spoil::Known, ..toy() };
    for method in [Box::<dyn Method>::from(Memory::StoreAll), Forward { width: 1 }.into()] {
        let mut session = open(spoilt.clone(), method).unwrap();
        let error = block_on(session.hypergradient(&[0.5, 1.0], &mut Unattended)).unwrap_err();
        assert!(error.to_string().contains("names element 2 of the state"), "{error}");
    }
}

/// A width beyond all directions is that of all.
#[test]
fn forward_mode_of_any_width_is_the_same() {
    let estimate = |width: usize| {
        let mut session = open(toy(), Forward { width }).unwrap();
        block_on(session.hypergradient(&[0.5, 1.0], &mut Unattended)).unwrap().hypergradient
    };
    assert_eq!(estimate(usize::MAX), [1.5, 1.75]);
    assert_eq!(estimate(0), [1.5, 1.75]);
}

/// Asks for what it has not declared, a state that no plan keeps, or declares what is there; or gives a derivative too few.
#[derive(Clone, Copy)]
enum Careless {
    Array,
    Program,
    State,
    Short,
    Twice,
}

#[async_trait(?Send)]
impl Method for Careless {
    fn name(&self) -> &'static str {
        "a careless method"
    }

    fn refusal(&self, _inner: &dyn Inner, _along: &Directions) -> Option<Refusal> {
        None
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        if let Careless::Twice = self { vec![programs::step(inner)] } else { vec![] }
    }

    fn arrays(&self, _inner: &dyn Inner) -> Vec<Array> {
        vec![]
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        _along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let mut estimate = trajectory.train_only(lambda, monitor).await?;
        match self {
            Careless::State => trajectory.state(usize::MAX).map(|_| ())?,
            Careless::Short => estimate.hypergradient = vec![0.0],
            Careless::Array => trajectory.array("nowhere").map(|_| ())?,
            _ => trajectory.rig().bind("step_adjoint", &[]).map(|_| ())?,
        }
        Ok(estimate)
    }
}

#[test]
fn what_a_method_gets_wrong_is_said() {
    for (method, says) in [
        (Careless::Array, "no array is called `nowhere`"),
        (Careless::Program, "`step_adjoint`"),
        (Careless::State, "no array is called `state 18446744073709551615`"),
        (Careless::Short, "derivatives by a careless method: 1 values were given, 2 are needed"),
    ] {
        let mut session = open(toy(), method).unwrap();
        let error = block_on(session.hypergradient(&[0.5, 1.0], &mut Unattended)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let Err(error) = open(toy(), Careless::Twice) else { panic!("two programs of one name") };
    assert!(error.to_string().contains("two programs are called `step`"), "{error}");
}
