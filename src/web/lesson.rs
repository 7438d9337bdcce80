//! Lessons for the page: questions in, parts of answers out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Function;
use tsify::Ts;
use wasm_bindgen::prelude::*;

use super::post::{Post, Visitor};
use super::protocol::{LessonAnswer, LessonCurve, LessonNumber, LessonQuestion, OpenMachine};
use crate::bilevel::{Flow, Monitor, SolveError};
use crate::cpu::CpuEngine;
use crate::data::Dataset;
use crate::data::har::builtin;
use crate::engine::LocalFuture;
use crate::lessons::{Answer, Ground, Lesson, LessonError, Page, Settings, named};
use crate::rig::Device;

/// What a page of lessons asks.
#[wasm_bindgen]
pub struct Teacher {
    post: Post,
    device: Device,
    /// People's recordings, which only some lessons need.
    recordings: RefCell<Option<Rc<Dataset>>>,
    /// The lesson that was asked for last.
    open: RefCell<Option<Open>>,
    /// The latest question, until it is begun with.
    question: RefCell<Option<LessonQuestion>>,
    at_work: Cell<bool>,
}

/// A lesson with what it keeps from one question to the next.
struct Open {
    name: String,
    lesson: Box<dyn Lesson>,
    ground: Ground,
}

#[wasm_bindgen]
impl Teacher {
    /// A teacher on the processor, who gives the parts of answers to `post`.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_param_type = "(answer: LessonAnswer) => void")] post: Function) -> Teacher {
        console_error_panic_hook::set_once();
        Teacher {
            post: Post(post),
            device: Device::new(CpuEngine::new(1)),
            recordings: RefCell::default(),
            open: RefCell::default(),
            question: RefCell::default(),
            at_work: Cell::default(),
        }
    }

    /// Takes the first of the built-in people; throws where these are something else.
    pub fn record(&self, first: &[u8]) -> Result<(), JsError> {
        *self.recordings.borrow_mut() = Some(Rc::new(builtin::dataset(first, None)?));
        Ok(())
    }

    /// Answers a question, unless another comes meanwhile. Throws only for what is no question.
    pub async fn answer(&self, question: Ts<LessonQuestion>) -> Result<(), JsError> {
        *self.question.borrow_mut() = Some(question.to_rust()?);
        if self.at_work.replace(true) {
            return Ok(());
        }
        while let Some(question) = self.question.take() {
            let open = self.open.take();
            let open = self.teach(question, open).await;
            *self.open.borrow_mut() = open;
        }
        self.at_work.set(false);
        Ok(())
    }
}

impl Teacher {
    /// Answers a question; gives what the next one begins with.
    async fn teach(&self, question: LessonQuestion, open: Option<Open>) -> Option<Open> {
        let LessonQuestion { id, name, settings, factor, machine } = question;
        let last = |problem| self.post.send(&LessonAnswer { id, done: true, problem, ..Default::default() });
        let same = open.filter(|open| !machine && open.name == name && open.ground.factor == factor);
        let fresh = || {
            let lesson = named(&name)?;
            Some(Open { name: name.clone(), lesson, ground: Ground::new(self.device.clone(), factor) })
        };
        let Some(mut open) = same.or_else(fresh) else {
            last(Some(format!("there is no lesson `{name}`")));
            return None;
        };
        open.ground.recordings = self.recordings.borrow().clone();
        if machine {
            open.ground.want_machine();
        }
        let settings = Settings(settings.into_iter().map(|LessonNumber { name, value }| (name, value)).collect());
        let flow = || if self.question.borrow().is_none() { Flow::Continue } else { Flow::Stop };
        let mut page = Told { id, post: &self.post, visitor: Visitor { flow } };
        match open.lesson.answer(&settings, &open.ground, &mut page).await {
            Ok(()) => {
                let machine = open.ground.machine().map(OpenMachine::from);
                self.post.send(&LessonAnswer { id, done: true, machine, ..Default::default() });
            }
            Err(LessonError::Solve(SolveError::Stopped)) => {}
            Err(error) => {
                last(Some(error.to_string()));
                return None;
            }
        }
        Some(open)
    }
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
        self.post.send(&LessonAnswer {
            id: self.id,
            numbers: answer.numbers.into_iter().map(number).collect(),
            curves: answer.curves.into_iter().map(curve).collect(),
            ..Default::default()
        });
    }
}
