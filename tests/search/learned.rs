//! Searchers that learn to search: a game against its solution, and a policy against differences and a bandit.

use stackelberg::search::draws::{Draws, Occasion, stream};
use stackelberg::search::hyp_rl::{Game, Player, Table, Training, gained};
use stackelberg::search::model_rl::{Policy, Uttered, real_part};
use stackelberg::search::{Full, HypRl, Limits, ModelRl, Point, Search, Simulation, State};

use crate::vectors::{categories, float, int, space};

const GAME: Game = Game { budget: 4, discount: 0.9 };

/// A task on a 4 × 4 grid: a bump somewhere, that its features hint at.
fn task(seed: u64) -> Table {
    let mut draws = stream(seed, 7, Occasion::Point);
    let centre = [draws.uniform(), draws.uniform()];
    let score = |k: usize| {
        let (x, y) = ((k / 4) as f64 / 3.0 - centre[0], (k % 4) as f64 / 3.0 - centre[1]);
        0.9 * (-4.0 * (x * x + y * y)).exp() + 0.05
    };
    Table { features: centre.to_vec(), scores: (0..16).map(score).collect() }
}

#[test]
fn q_learning_finds_the_values_of_value_iteration() {
    let task = task(3);
    let solved = GAME.solved(&task);
    assert_eq!(solved.len(), 1 + 16 + 120 + 560);
    // By hand: the four best, in the order of their scores.
    let mut scores = task.scores.clone();
    scores.sort_by(|a, b| b.total_cmp(a));
    let best: f64 = (0..4).map(|t| 0.9f64.powi(t) * scores[t as usize]).sum();
    let start = solved[&0].iter().copied().fold(0.0, f64::max);
    assert!((start - best).abs() < 1e-12, "{start} {best}");
    let learned = GAME.learned(&task, 200_000, 1);
    for (tried, values) in &learned {
        for (got, want) in values.iter().zip(&solved[tried]) {
            assert!((got - want).abs() < 1e-6, "after {tried:016b}: {got}, wanted {want}");
        }
    }
    assert_eq!(learned.len(), solved.len());
}

#[test]
fn a_player_plays_what_it_was_trained_on_nearly_as_well_as_can_be() {
    let tasks: Vec<Table> = (0..20).map(task).collect();
    let training = Training { hidden: 24, steps: 1500, batch: 12, rate: 5e-3, renewal: 40 };
    let player = Player::train(GAME, &tasks, training, 5);
    let mut draws = stream(0, 0, Occasion::Point);
    let share = |task: &Table, chance: f64, draws: &mut dyn Draws| {
        let best = GAME.solved(task)[&0].iter().copied().fold(0.0, f64::max);
        gained(GAME, task, &player.play(GAME, task, chance, draws)) / best
    };
    let known = tasks.iter().map(|task| share(task, 0.0, &mut draws)).sum::<f64>() / 20.0;
    let unseen: Vec<Table> = (100..110).map(task).collect();
    let others = unseen.iter().map(|task| share(task, 0.0, &mut draws)).sum::<f64>() / 10.0;
    let random = unseen.iter().map(|task| (0..50).map(|_| share(task, 1.0, &mut draws)).sum::<f64>() / 50.0);
    let random = random.sum::<f64>() / 10.0;
    println!("of the best return: {known:.3} on known tasks, {others:.3} on unseen ones, at random {random:.3}");
    assert!(known >= 0.9, "{known}");
    assert!(others > random, "{others} {random}");

    // As a sampler it tries each point of the grid once, the best early.
    let grid: Vec<Point> = (0..16).map(|k| Point(vec![Some(f64::from(k / 4)), Some(f64::from(k % 4))])).collect();
    let scores = unseen[0].scores.clone();
    let sampler = HypRl { player, grid, features: unseen[0].features.clone() };
    let searcher = Search { sampler, schedule: Full { budget: 1 } };
    let value = |point: &Point, _: u64| 1.0 - scores[(4.0 * point.get(0).unwrap() + point.get(1).unwrap()) as usize];
    let space = space([int(0, 3, false), int(0, 3, false)]);
    let (history, _) = Simulation::new(&searcher, &space, &value, 0, 2, Limits::trials(99)).run().unwrap();
    assert_eq!(history.trials().len(), 16);
    assert!(history.best().unwrap().number < 8);
}

#[test]
fn the_gradient_of_the_clipped_objective_is_its_difference() {
    let mut draws = stream(2, 0, Occasion::Point);
    let mut policy = Policy::new(&[3, 2, 4], 5, &mut draws);
    // Heads begin at zero; somewhere else all levels differ.
    policy.parameters().iter_mut().for_each(|p| *p += 0.3 * draws.normal());
    let batch: Vec<Uttered> = (0..6)
        .map(|k| {
            let (levels, log_probability) = policy.utter(&mut draws);
            // Some ratios lie beyond the clip, on either side, with advantages of either sign.
            let log_probability = log_probability - 0.4 + 0.16 * f64::from(k);
            Uttered { levels, log_probability, advantage: if k % 2 == 0 { 1.3 } else { -0.7 } }
        })
        .collect();
    let (_, gradient) = policy.objective(&batch);
    assert!(gradient.iter().any(|slope| slope.abs() > 1e-3));
    for (k, slope) in gradient.iter().enumerate() {
        let mut at = |h: f64| {
            policy.parameters()[k] += h;
            let value = policy.objective(&batch).0;
            policy.parameters()[k] -= h;
            value
        };
        let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((slope - difference).abs() < 1e-7, "{k}: {slope} {difference}");
    }
}

#[test]
fn trials_stand_for_themselves_beyond_the_divergence() {
    assert_eq!(real_part(0.05, 0.05, 0.25), 0.25);
    assert_eq!(real_part(0.05f64.next_up(), 0.05, 0.25), 1.0);
    assert_eq!(real_part(f64::INFINITY, 0.05, 0.25), 1.0);
}

fn small() -> ModelRl {
    ModelRl { hidden: 8, predictor: 8, rate: 0.05, fitting: 10, ..ModelRl::default() }
}

#[test]
fn a_bandit_with_four_arms_is_solved() {
    let arms = [0.8, 0.6, 0.1, 0.7];
    let value = |point: &Point, _: u64| arms[point.get(0).unwrap() as usize];
    for (name, sampler) in [("trials", ModelRl { real: 1.0, fitting: 0, ..small() }), ("predictions", small())] {
        let searcher = Search { sampler, schedule: Full { budget: 1 } };
        let space = space([categories(4)]);
        let (history, _) = Simulation::new(&searcher, &space, &value, 3, 4, Limits::trials(80)).run().unwrap();
        let last = &history.trials()[history.trials().len() - 20..];
        let best = last.iter().filter(|trial| trial.point.get(0) == Some(2.0)).count();
        assert!(best >= 16, "{name}: the best arm {best} of 20 times");
    }
}

#[test]
fn with_trials_alone_no_prediction_has_a_part() {
    let run = |sampler: ModelRl| {
        let searcher = Search { sampler, schedule: Full { budget: 1 } };
        let space = space([float(0.0, 1.0, false), int(1, 5, false)]);
        let value = |point: &Point, _: u64| (point.get(0).unwrap() - 0.3).powi(2) + 0.1 * point.get(1).unwrap();
        Simulation::new(&searcher, &space, &value, 1, 1, Limits::trials(40)).run().unwrap().0
    };
    let plain = run(ModelRl { real: 1.0, fitting: 0, ..small() });
    assert_eq!(run(ModelRl { real: 1.0, fitting: 30, divergence: 0.0, ..small() }), plain);
    assert_eq!(run(ModelRl { real: 1.0, fitting: 30, divergence: f64::INFINITY, ..small() }), plain);
    assert_ne!(run(small()), plain);
    assert!(plain.trials().iter().all(|trial| trial.state == State::Complete));
}
