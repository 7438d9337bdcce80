//! What an inner problem and a method have to keep to, checked before anything is compiled: mistakes in one's own get
//! words and no broken assertion further down.

use std::collections::HashSet;
use std::ops::Range;

use super::inner::{Inner, Objective, Step, Through};
use super::programs::step_inputs;
use super::{Method, SolveError};
use crate::ir::{DType, Graph, NodeId, numel};
use crate::rig::{Array, Function};

/// Whether an inner problem's sizes, parts and graphs fit each other.
pub(super) fn check_inner(inner: &dyn Inner) -> Result<(), SolveError> {
    let wrong = |what: String| Err(SolveError::Problem(what));
    let states = inner.state().into_iter().map(|part| {
        let shaped = numel(&part.shape) == part.range.len();
        (part.name, part.range, shaped)
    });
    let lambda = inner.lambda().into_iter().map(|part| (part.name.to_owned(), part.range, true));
    follow("state", states)?;
    follow("hyperparameter vector", lambda)?;
    let (weights, len) = (inner.weights(), inner.state_len());
    if weights == 0 || weights > len {
        return wrong(format!(
            "{weights} of the {len} elements of its state are weights; at least 1 has to be, and all exist"
        ));
    }
    if inner.steps() == 0 || inner.outer_chunks() == 0 {
        return wrong("it needs at least 1 training step, and 1 chunk of the outer loss".to_owned());
    }
    let mut g = Graph::new();
    let at = step_inputs(&mut g, inner);
    let given = g.input("given", &[weights], DType::F32);
    let begun = inner.begin(&mut g, at.lambda, given);
    vector(&g, "what `begin` makes", begun, len)?;
    if g.depends(begun, at.lambda)
        && inner.lambda().iter().all(|part| part.through != Through::Start || part.range.is_empty())
    {
        return wrong(
            "what `begin` makes depends on the hyperparameters, and no part of these is said to act through the start"
                .to_owned(),
        );
    }
    let mut g = Graph::new();
    let at = step_inputs(&mut g, inner);
    let Step { state, records } = inner.step(&mut g, &at);
    vector(&g, "the next state that `step` makes", state, len)?;
    for (name, value) in records {
        vector(&g, &format!("the record `{name}` of a step"), value, 1)?;
    }
    if inner.objective().map_or(1, Objective::chunks) == 0 {
        return wrong("its inner loss has no chunk; it needs at least 1".to_owned());
    }
    let mut g = Graph::new();
    let at = step_inputs(&mut g, inner);
    let chunk = g.input("chunk", &[1], DType::U32);
    let share = inner.outer(&mut g, at.state, at.lambda, chunk);
    if numel(g.shape(share)) != 1 || g.dtype(share) != DType::F32 {
        return wrong(format!("an outer loss is one number, and this one has the shape {:?}", g.shape(share)));
    }
    Ok(())
}

/// Whether parts follow one another without gaps.
fn follow(what: &str, parts: impl Iterator<Item = (String, Range<usize>, bool)>) -> Result<(), SolveError> {
    let (mut end, mut names) = (0, HashSet::new());
    for (name, range, shaped) in parts {
        if !names.insert(name.clone()) {
            return Err(SolveError::Problem(format!("two parts of its {what} are called `{name}`")));
        }
        if range.start != end || range.end < range.start || !shaped {
            return Err(SolveError::Problem(format!(
                "part `{name}` of its {what} has the range {range:?}; parts follow one another, here from {end} on, with as \
                 many elements as their shape says"
            )));
        }
        end = range.end;
    }
    if end == 0 {
        return Err(SolveError::Problem(format!("its {what} is empty; give it at least 1 element")));
    }
    Ok(())
}

fn vector(g: &Graph, what: &str, node: NodeId, len: usize) -> Result<(), SolveError> {
    if g.shape(node) == [len] && g.dtype(node) == DType::F32 {
        return Ok(());
    }
    let (shape, dtype) = (g.shape(node), g.dtype(node));
    Err(SolveError::Problem(format!("{what} has the shape {shape:?} of {dtype:?}, and should be [{len}] of F32")))
}

/// Whether a population has members.
pub(super) fn check_count(members: usize) -> Result<(), SolveError> {
    match members {
        0 => Err(SolveError::Problem("a population has no member; give it at least 1".to_owned())),
        _ => Ok(()),
    }
}

/// Whether a method can differentiate so many members of a population at once.
pub(super) fn check_members(members: usize, method: &dyn Method) -> Result<(), SolveError> {
    check_count(members)?;
    if members == 1 || method.takes_members() {
        return Ok(());
    }
    Err(SolveError::Problem(format!(
        "{} differentiates one training at a time, and the population has {members} members; take reverse mode, or a \
         session for each",
        method.name()
    )))
}

/// What programs are given at each binding, whatever arrays there are.
const PORTS: [&str; 6] = ["state", "time", "next_state", "next_time", "next_cotangent", "next_tangents"];

/// Whether every array and every program has a name of its own.
pub(super) fn check_names(arrays: &[Array], functions: &[Function]) -> Result<(), SolveError> {
    let twice = |what: &str, name: &str| {
        Err(SolveError::Problem(format!(
            "two {what} are called `{name}`, by which programs and arrays know each other; one of the problem's or the \
             method's own needs another name"
        )))
    };
    let mut names = HashSet::new();
    if let Some(function) = functions.iter().find(|function| !names.insert(function.name)) {
        return twice("programs", function.name);
    }
    let mut names: HashSet<&str> = PORTS.into_iter().collect();
    for Array { name, .. } in arrays {
        let of_a_state = ["state ", "time "]
            .iter()
            .any(|start| name.strip_prefix(start).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit())));
        if of_a_state || !names.insert(name.as_str()) {
            return twice("arrays", name);
        }
    }
    Ok(())
}
