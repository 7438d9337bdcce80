//! Learned example weights: a weight for each window of a phone's sensors, some of whose labels are wrong; and the same on
//! three numbers, one of which lies, where the first hypergradient is known by hand.

use async_trait::async_trait;

use super::{Answer, Ground, Lesson, LessonError, Page, Settings, windows};
use crate::bilevel::hyperparameters::{Hyperparameters, Kind};
use crate::bilevel::outer::{OuterAdam, OuterOptimizer as _};
use crate::bilevel::{Loss, Memory, Problem, Session, SessionData, Set, Targets, Transform};
use crate::experiment::mislabelled::auc;
use crate::nn::{Layer, Model};
use crate::rng::{Purpose, Stream};

/// Windows that are trained on, half as many as the leader has, and those of people whom neither has met.
const WINDOWS: usize = 240;
const TEST: usize = 600;

/// Outer iterations, and how far one moves a weight's logit at first.
const ITERATIONS: usize = 20;
const OUTER_RATE: f64 = 0.5;

/// The lesson, and the run that it tells of.
#[derive(Default)]
pub struct ExampleWeights {
    run: Option<Run>,
}

/// Weights that are being learned. Another question does not end it: it goes on where it was.
struct Run {
    /// What data, and the share of wrong labels.
    of: [f64; 2],
    task: Task,
    session: Session<Problem>,
    leader: OuterAdam,
    point: Hyperparameters,
    iteration: usize,
}

/// Examples, some of which are wrong, and the point to begin with: all weights one half.
struct Task {
    problem: Problem,
    data: SessionData,
    wrong: Vec<bool>,
    point: Hyperparameters,
    /// Windows to be judged by in the end.
    test: Option<Set>,
}

impl Task {
    /// Softmax regression on windows, of which a share is labelled wrong.
    fn windows(share: f64, ground: &Ground) -> Result<Task, LessonError> {
        let [mut train, validation, test] = windows::parts(ground, [WINDOWS, 2 * WINDOWS, TEST])?;
        let problem = windows::regression(&train, &validation);
        let mut stream = Stream::new(0, Purpose::Labels, 0);
        let mut wrong = vec![];
        if let Targets::Labels(labels) = &mut train.targets {
            wrong = labels.iter().map(|_| stream.uniform() < share).collect();
            for (label, _) in labels.iter_mut().zip(&wrong).filter(|(_, wrong)| **wrong) {
                *label = stream.other_label(*label, problem.model.output()[0]);
            }
        }
        let point = Hyperparameters::default().fixed(&problem, Kind::Lr, windows::RATE);
        Ok(Task::of(problem, point, [train, validation], wrong, Some(test)))
    }

    /// algorithms.md V5: a follower that takes the weighted mean of 1, 1 and −3, with a penalty, and a leader that wants 1.
    /// The follower's loss is two thirds of what it is there, as it is a mean over three.
    fn numbers() -> Task {
        let set =
            |x: &[f32], y: &[f32]| Set { x: x.to_vec().into(), targets: Targets::Values(y.to_vec()), count: y.len() };
        let layer = Layer::Dense { name: "mean".into(), inputs: 1, outputs: 1, bias: false };
        let model = Model::new(vec![layer], &[1]).expect("one dense layer fits");
        // Half a square is the square of this.
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let (train, validation) = (set(&[1.0; 3], &[1.0, 1.0, -3.0]), set(&[half], &[half]));
        let problem = Problem { l2: true, ..windows::weighted(model, Loss::MeanSquaredError, &train, &validation) };
        let point = Hyperparameters::default().fixed(&problem, Kind::Lr, windows::RATE);
        let point = point.fixed(&problem, Kind::L2, 1.0 / 3.0);
        Task::of(problem, point, [train, validation], vec![false, false, true], None)
    }

    fn of(problem: Problem, point: Hyperparameters, sets: [Set; 2], wrong: Vec<bool>, test: Option<Set>) -> Task {
        let point = point.tuned(&problem, Kind::ExampleWeights, 0.5).kept(Transform::UNIT);
        let [train, validation] = sets;
        let data = SessionData::new(train, validation, vec![0.0; problem.model.parameter_count()], 0);
        Task { problem, data, wrong, point, test }
    }
}

impl Run {
    async fn begin(of: [f64; 2], task: Task, ground: &Ground) -> Result<Run, LessonError> {
        let session = ground.open_supervised(task.problem.clone(), &task.data, Memory::StoreAll).await?;
        let point = task.point.clone();
        let leader = OuterAdam::new(point.variables().len(), OUTER_RATE);
        Ok(Run { of, task, session, leader, point, iteration: 0 })
    }

    /// Takes a hypergradient, tells what there is, and moves the weights.
    async fn iterate(&mut self, page: &mut dyn Page) -> Result<(), LessonError> {
        let (k, wrong) = (self.iteration, &self.task.wrong);
        let estimate = self.session.estimate_at(&self.point, page).await?;
        let weights = self.point.values(Kind::ExampleWeights);
        let of_kind = |kind: bool| {
            let all = wrong.iter().zip(&weights).enumerate().filter(move |(_, (wrong, _))| **wrong == kind);
            all.map(|(at, (_, weight))| ((at + 1) as f64, *weight))
        };
        let mean = |kind: bool| of_kind(kind).map(|(_, weight)| weight).sum::<f64>() / of_kind(kind).count() as f64;
        let slope = |kind: bool| {
            let found = wrong.iter().position(|wrong| *wrong == kind);
            found.map_or(f64::NAN, |at| estimate.hypergradient[at])
        };
        let mut answer = Answer::default()
            .number(format!("outer_loss_{k}"), estimate.outer_loss)
            .number(format!("auc_{k}"), auc(&weights, wrong))
            .number(format!("right_{k}"), mean(false))
            .number(format!("wrong_{k}"), mean(true))
            .number(format!("slope_right_{k}"), slope(false))
            .number(format!("slope_wrong_{k}"), slope(true))
            .curve(format!("right_{k}"), of_kind(false))
            .curve(format!("wrong_{k}"), of_kind(true));
        if let Some(test) = &self.task.test {
            let accuracy = self.session.evaluate(test, page).await?.accuracy();
            answer = answer.number(format!("accuracy_{k}"), 100.0 * accuracy);
        }
        page.tell(answer);
        self.leader.advance(&mut self.point, &estimate);
        self.iteration += 1;
        Ok(())
    }
}

#[async_trait(?Send)]
impl Lesson for ExampleWeights {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let examples = at.count("examples", 0..=1)?;
        let share = at.number("share", 0.0..=0.6)?;
        let of = [examples as f64, share];
        if self.run.as_ref().is_none_or(|run| run.of != of) {
            let task = match examples {
                0 => Task::windows(share, ground)?,
                _ => Task::numbers(),
            };
            self.run = Some(Run::begin(of, task, ground).await?);
        }
        let run = self.run.as_mut().expect("it has begun");
        while run.iteration <= ITERATIONS {
            run.iterate(page).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{far, near, told};

    fn at(examples: f64) -> [(&'static str, f64); 2] {
        [("examples", examples), ("share", 0.33)]
    }

    /// algorithms.md V5.
    #[test]
    fn the_first_hypergradient_of_three_numbers_is_that_of_the_specification() {
        let right = told("example-weights", &at(1.0), 1.0).unwrap();
        near(right.number("slope_right_0"), -0.1953125, "a right number");
        near(right.number("slope_wrong_0"), 0.4296875, "the wrong number");
        let wrong = told("example-weights", &at(1.0), 2.0).unwrap();
        far(wrong.number("slope_wrong_0"), 0.4296875, "doubled");
        assert!(right.number("wrong_20") < 0.1 && right.number("right_20") > 0.9);
    }

    #[cfg(feature = "builtin-data")]
    #[test]
    fn wrong_labels_lose_their_weight_and_people_who_were_not_seen_gain() {
        let told = told("example-weights", &at(0.0), 1.0).unwrap();
        assert_eq!(told.curve("right_0").y.len() + told.curve("wrong_0").y.len(), super::WINDOWS);
        assert!(told.number("auc_20") > 0.8, "{}", told.number("auc_20"));
        assert!(told.number("wrong_20") < told.number("right_20"));
        let [before, after] = [0, 20].map(|k| told.number(&format!("accuracy_{k}")));
        assert!(after > before, "{before} → {after} %");
    }
}
