//! Lessons for the page: questions in, parts of answers out.

use std::rc::Rc;

use super::post::{Post, Visitor};
use super::protocol::{
    FromWorker, LessonAnswer, LessonCurve, LessonDispatch, LessonFunction, LessonMachine, LessonNumber, LessonQuestion,
};
use crate::bilevel::{Flow, Monitor, SolveError};
use crate::data::Dataset;
use crate::engine::LocalFuture;
use crate::lessons::{Answer, Ground, Lesson, LessonError, Machine, Page, Part, Run, Settings, named};
use crate::rig::Device;

/// The lesson that was asked for last, with what it keeps from one question to the next.
pub struct Open {
    name: String,
    lesson: Box<dyn Lesson>,
    ground: Ground,
}

/// Answers a question, unless another comes meanwhile; gives back what the next one begins with.
pub async fn answer(
    question: LessonQuestion,
    open: Option<Open>,
    device: Device,
    recordings: Option<Rc<Dataset>>,
    post: &Post,
    flow: impl Fn() -> Flow,
) -> Option<Open> {
    let LessonQuestion { id, name, settings, factor, machine } = question;
    let last = |problem| post.send(&FromWorker::Lesson(LessonAnswer { id, done: true, problem, ..Default::default() }));
    let same = open.filter(|open| !machine && open.name == name && open.ground.factor == factor);
    let fresh = || {
        let lesson = named(&name)?;
        Some(Open { name: name.clone(), lesson, ground: Ground::new(device, factor) })
    };
    let Some(mut open) = same.or_else(fresh) else {
        last(Some(format!("there is no lesson `{name}`")));
        return None;
    };
    open.ground.recordings = recordings;
    if machine {
        open.ground.want_machine();
    }
    let settings = Settings(settings.into_iter().map(|LessonNumber { name, value }| (name, value)).collect());
    let mut page = Told { id, post, visitor: Visitor { flow } };
    match open.lesson.answer(&settings, &open.ground, &mut page).await {
        Ok(()) => post.send(&FromWorker::Lesson(LessonAnswer {
            id,
            done: true,
            machine: open.ground.machine().map(opened_up),
            ..Default::default()
        })),
        Err(LessonError::Solve(SolveError::Stopped)) => {}
        Err(error) => {
            last(Some(error.to_string()));
            return None;
        }
    }
    Some(open)
}

fn opened_up(Machine { functions, memory, checkpoints }: Machine) -> LessonMachine {
    let dispatch = |Run { label, listing, wgsl, flops, bytes, seconds }| {
        let [flops, bytes] = [flops, bytes].map(|count: u64| count as f64);
        LessonDispatch { label, listing, wgsl, flops, bytes, seconds }
    };
    let function = |Part { name, graph, dispatches }| LessonFunction {
        name,
        graph,
        dispatches: dispatches.into_iter().map(dispatch).collect(),
    };
    LessonMachine { functions: functions.into_iter().map(function).collect(), memory, checkpoints }
}

/// Hands parts of an answer on.
struct Told<'a, F> {
    id: u32,
    post: &'a Post,
    visitor: Visitor<F>,
}

impl<F: Fn() -> Flow> Monitor for Told<'_, F> {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.visitor.breathe()
    }
}

impl<F: Fn() -> Flow> Page for Told<'_, F> {
    fn tell(&mut self, answer: Answer) {
        let number = |(name, value)| LessonNumber { name, value };
        let curve = |crate::lessons::Curve { name, x, y }| LessonCurve { name, x, y };
        self.post.send(&FromWorker::Lesson(LessonAnswer {
            id: self.id,
            numbers: answer.numbers.into_iter().map(number).collect(),
            curves: answer.curves.into_iter().map(curve).collect(),
            ..Default::default()
        }));
    }
}
