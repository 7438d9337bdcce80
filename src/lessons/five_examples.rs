//! Learn from five examples: where a training on a few windows of a new person begins, at random or at the start that many
//! people's tasks have taught (MAML).

use std::rc::Rc;

use async_trait::async_trait;

use super::windows::{self, People};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings};
use crate::bilevel::meta::{
    Drawing, Episode, Learner, Lesson as Learned, Maml, Order, Pool, Saved, Session, Shape, Shared, Teaching,
};
use crate::bilevel::{Decay, SolveError};
use crate::ir::{Graph, NodeId};
use crate::nn::optim::{Adam, Dynamics, Epsilon, Sgd};
use crate::rig::Progress;

/// Windows of a person and activity that a task is judged by.
const QUERIES: usize = 5;

/// Tasks of a step, and tasks of new people that a start is judged by.
const TASKS: usize = 4;
const JUDGED: usize = 40;

/// Steps of a task while its start is learned, and their rate.
const STEPS: usize = 3;
const RATE: f64 = 0.1;

/// Steps on a new person's windows that are looked at.
const LENGTHS: [usize; 6] = [0, 1, 2, 3, 5, 8];

/// Steps of the start, how many from one look to the next, and their rate.
const ROUNDS: usize = 10;
const ROUND: usize = 12;
const OUTER_RATE: f64 = 0.02;

/// Of the difference that the first hypergradient is held against.
const STEP: f64 = 0.002;

/// The lesson, and the run that it tells of.
#[derive(Default)]
pub struct FiveExamples {
    run: Option<Run>,
}

/// A start that is being learned. Another question does not end it: it goes on where it was.
struct Run {
    shots: usize,
    teacher: Session,
    /// The same learner with other numbers of steps on a new person's windows.
    judges: Vec<Session>,
    round: usize,
}

/// A learner whose hypergradient is multiplied.
struct Scaled {
    learner: Maml,
    factor: f64,
}

impl Learner for Scaled {
    fn len(&self) -> usize {
        self.learner.len()
    }

    fn initial(&self, seed: u64) -> Vec<f32> {
        self.learner.initial(seed)
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Learned {
        let learned = self.learner.lesson(g, shared, episode);
        Learned { gradient: g.scale(learned.gradient, self.factor), ..learned }
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        self.learner.predict(g, shared, episode)
    }
}

fn pool(People { x, cells, people, .. }: &People) -> Pool<'_> {
    let count = cells.iter().map(|[_, count, ..]| *count as usize).sum();
    Pool { x, count, cells, drawing: Drawing::People { people: *people } }
}

async fn open(
    ground: &Ground,
    parts: &[People; 3],
    shots: usize,
    judged_steps: usize,
    optimizer: impl Into<Dynamics>,
    rate: f64,
) -> Result<Session, LessonError> {
    let ways = parts[0].classes;
    let windows: u32 = parts[0].cells.iter().map(|[_, count, ..]| count).sum();
    let model = windows::model(parts[0].x.len() / windows as usize, ways);
    let input = model.input().to_vec();
    let learner = Maml {
        model,
        steps: STEPS,
        judged_steps,
        rate: RATE,
        learn_rate: false,
        not_adapted: vec![],
        order: Order::Second,
    };
    let shape = Shape { ways, shots, queries: QUERIES };
    let teaching = Teaching {
        shape,
        judged: shape,
        tasks: TASKS,
        optimizer: optimizer.into(),
        rate,
        decay: Decay::None,
        steps: ROUNDS * ROUND,
    };
    let learner = Rc::new(Scaled { learner, factor: ground.factor });
    let mut session = ground.open_meta(learner, teaching, &input, parts.each_ref().map(pool)).await?;
    session.begin(0)?;
    Ok(session)
}

/// The mean loss of the first tasks from a start.
async fn first_loss(session: &mut Session, start: &Saved, page: &mut dyn Page) -> Result<f64, LessonError> {
    session.begin(0)?;
    session.load(start)?;
    session.run(1, &mut Progress::default(), page).await?;
    Ok(session.history().await?[0].loss)
}

/// Tells the length of the first hypergradient, and what a difference along it is.
async fn check(mut session: Session, page: &mut dyn Page) -> Result<(), LessonError> {
    let start = session.save().await?;
    let before = session.lambda().await?;
    session.run(1, &mut Progress::default(), page).await?;
    // The step was one of length 1 times the hypergradient.
    let hypergradient: Vec<f64> = before.iter().zip(session.lambda().await?).map(|(a, b)| a - b).collect();
    let length = hypergradient.iter().map(|h| h * h).sum::<f64>().sqrt();
    let mut losses = [0.0; 2];
    for (loss, by) in losses.iter_mut().zip([-STEP, STEP]) {
        let mut moved = start.clone();
        let state = moved.get_mut("state").expect("a session has a state");
        state.iter_mut().zip(&hypergradient).for_each(|(value, h)| *value += by * h / length);
        *loss = first_loss(&mut session, &moved, page).await?;
    }
    page.tell(Answer::default().number("slope", length).number("difference", (losses[1] - losses[0]) / (2.0 * STEP)));
    Ok(())
}

impl Run {
    async fn begin(shots: usize, ground: &Ground, page: &mut dyn Page) -> Result<Run, LessonError> {
        let parts = windows::people(ground, shots + QUERIES)?;
        // First, so that it is what «Open the machine» opens.
        let teacher = open(ground, &parts, shots, STEPS, Adam(Epsilon::Outside), OUTER_RATE).await?;
        check(open(ground, &parts, shots, STEPS, Sgd, 1.0).await?, page).await?;
        let mut judges = vec![];
        for steps in LENGTHS {
            judges.push(open(ground, &parts, shots, steps, Adam(Epsilon::Outside), OUTER_RATE).await?);
        }
        Ok(Run { shots, teacher, judges, round: 0 })
    }

    async fn look(&mut self, page: &mut dyn Page) -> Result<(), LessonError> {
        let (k, start) = (self.round, self.teacher.save().await?);
        let mut right = vec![];
        for (judge, steps) in self.judges.iter_mut().zip(LENGTHS) {
            judge.load(&start)?;
            right.push((steps as f64, 100.0 * judge.test(JUDGED, page).await?.accuracy));
        }
        let after = LENGTHS.iter().position(|&steps| steps == STEPS).expect("one of them");
        page.tell(
            Answer::default()
                .number(format!("at_once_{k}"), right[0].1)
                .number(format!("adapted_{k}"), right[after].1)
                .curve(format!("right_{k}"), right),
        );
        Ok(())
    }
}

#[async_trait(?Send)]
impl Lesson for FiveExamples {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let shots = at.count("shots", 1..=8)?;
        if self.run.as_ref().is_none_or(|run| run.shots != shots) {
            self.run = Some(Run::begin(shots, ground, page).await?);
        }
        let run = self.run.as_mut().expect("it has begun");
        while run.round <= ROUNDS {
            run.look(page).await?;
            if run.round < ROUNDS {
                match run.teacher.run(ROUND, &mut Progress::default(), page).await {
                    // Half of a round would be told as a whole one.
                    Err(SolveError::Stopped) => {
                        self.run = None;
                        return Err(SolveError::Stopped.into());
                    }
                    done => done?,
                }
            }
            run.round += 1;
        }
        Ok(())
    }
}

#[cfg(feature = "builtin-data")]
#[cfg(test)]
mod tests {
    use super::super::testing::told;

    #[test]
    fn a_learned_start_is_better_than_a_random_one_and_the_hypergradient_right() {
        let right = told("five-examples", &[("shots", 5.0)], 1.0).unwrap();
        assert!(right.number("adapted_10") > 20.0 + right.number("adapted_0"));
        let ratio = right.number("slope") / right.number("difference");
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
        let wrong = told("five-examples", &[("shots", 5.0)], 2.0).unwrap();
        assert!((wrong.number("slope") / wrong.number("difference") - 2.0).abs() < 0.04);
    }
}
