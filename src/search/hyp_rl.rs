//! Search as a game (Hyp-RL, Jomaa et al. 2019): a player that has played on tabulated tasks chooses the next point of a grid
//! from what it has seen. No code of its authors was found, so that there is nothing to be in parity with; sizes and rates
//! are ours.

use std::collections::BTreeMap;

use super::draws::{Draws, Occasion, stream};
use super::history::{History, State};
use super::networks::{Adam, Linear, Lstm, Step};
use super::searcher::{Sample, Sampler};
use super::space::{Point, Space};

/// A task whose scores are known: what is to be learned from.
#[derive(Clone, Debug)]
pub struct Table {
    /// What is known of the data set beforehand; as many numbers for each task.
    pub features: Vec<f64>,
    /// The score of each point of the grid, from 0 to 1: the reward of trying it.
    pub scores: Vec<f64>,
}

/// The rules of the game: points are tried one after another, and earn their scores; it ends after so many, or with one that
/// was tried before, which earns nothing.
#[derive(Clone, Copy, Debug)]
pub struct Game {
    /// Points that may be tried.
    pub budget: usize,
    /// What the next reward is worth beside this one.
    pub discount: f64,
}

/// The value of each action in each situation, by the points that were tried, as bits.
pub type Values = BTreeMap<u64, Vec<f64>>;

impl Game {
    /// What remains to be gained by the best play, for every action in every situation: value iteration backwards.
    pub fn solved(&self, table: &Table) -> Values {
        let mut values = Values::new();
        self.solve(table, 0, &mut values);
        values
    }

    fn solve(&self, table: &Table, tried: u64, values: &mut Values) -> f64 {
        if tried.count_ones() as usize >= self.budget {
            return 0.0;
        }
        if !values.contains_key(&tried) {
            let action = |action: usize, values: &mut Values| {
                let next = tried | 1 << action;
                if next == tried { 0.0 } else { table.scores[action] + self.discount * self.solve(table, next, values) }
            };
            let all = (0..table.scores.len()).map(|k| action(k, values)).collect();
            values.insert(tried, all);
        }
        values[&tried].iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The same by Q-learning from so many games, in which all actions are drawn. Rewards are certain, so that each is learned
    /// at once.
    pub fn learned(&self, table: &Table, games: u64, seed: u64) -> Values {
        let mut values = Values::new();
        for game in 0..games {
            let mut draws = stream(seed, game, Occasion::Point);
            let mut tried = 0u64;
            let mut moves = vec![];
            while (tried.count_ones() as usize) < self.budget {
                values.entry(tried).or_insert_with(|| vec![0.0; table.scores.len()]);
                let action = draws.below(table.scores.len());
                moves.push((tried, action));
                if tried & 1 << action != 0 {
                    break;
                }
                tried |= 1 << action;
            }
            // From the last move back, so that a game teaches all of its moves.
            for (tried, action) in moves.into_iter().rev() {
                let next = tried | 1 << action;
                let rest = values.get(&next).map_or(0.0, |known| known[greatest(known)]);
                let value = if next == tried { 0.0 } else { table.scores[action] + self.discount * rest };
                if let Some(known) = values.get_mut(&tried) {
                    known[action] = value;
                }
            }
        }
        values
    }
}

/// The place of the greatest; of equal ones the first.
fn greatest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// How a player learns.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// The size of its memory.
    pub hidden: usize,
    /// Steps of its optimiser.
    pub steps: u64,
    /// Games of a step, drawn from those that were played.
    pub batch: usize,
    /// The optimiser's rate.
    pub rate: f64,
    /// The network that judges the next situation is renewed after so many steps.
    pub renewal: u64,
}

impl Default for Training {
    fn default() -> Self {
        Training { hidden: 64, steps: 2000, batch: 16, rate: 2e-3, renewal: 50 }
    }
}

/// Games that are remembered.
const REMEMBERED: usize = 500;

/// A player: a long short-term memory over what was tried and how well it did, and the value of each point.
#[derive(Clone, Debug)]
pub struct Player {
    memory: Lstm,
    head: Linear,
    parameters: Vec<f64>,
    actions: usize,
}

/// A game that was played.
struct Played {
    task: usize,
    actions: Vec<usize>,
}

impl Player {
    /// A player that has learned nothing, for so many points and so many features of tasks.
    pub fn new(actions: usize, features: usize, hidden: usize, draws: &mut dyn Draws) -> Self {
        let memory = Lstm::new(0, actions + 1 + features, hidden);
        let head = Linear { at: memory.count(), inputs: hidden, outputs: actions };
        let mut parameters = vec![0.0; memory.count() + head.count()];
        memory.draw(&mut parameters, draws);
        head.draw(&mut parameters, draws);
        Player { memory, head, parameters, actions }
    }

    /// Learns from tasks: deep Q-learning with replay and a network that lags behind, by half the squared error of each move.
    pub fn train(game: Game, tasks: &[Table], training: Training, seed: u64) -> Self {
        let mut draws = stream(seed, 0, Occasion::Point);
        let (actions, features) = tasks.first().map_or((1, 0), |task| (task.scores.len(), task.features.len()));
        let mut player = Self::new(actions, features, training.hidden, &mut draws);
        let mut judge = player.clone();
        let mut adam = Adam::new(player.parameters.len(), training.rate);
        let mut played: Vec<Played> = vec![];
        for step in 0..training.steps {
            let task = draws.below(tasks.len());
            // From all chance to a twentieth over the first half.
            let chance = (1.0 - 2.0 * step as f64 / training.steps as f64).max(0.05);
            let game_now = Played { task, actions: player.play(game, &tasks[task], chance, &mut draws) };
            match played.len() < REMEMBERED {
                true => played.push(game_now),
                false => played[step as usize % REMEMBERED] = game_now,
            }
            let mut gradient = vec![0.0; player.parameters.len()];
            for _ in 0..training.batch {
                let Played { task, actions } = &played[draws.below(played.len())];
                player.learn(game, &tasks[*task], actions, &judge, &mut gradient);
            }
            gradient.iter_mut().for_each(|slope| *slope /= training.batch as f64);
            adam.step(&mut player.parameters, &gradient);
            if step % training.renewal == 0 {
                judge = player.clone();
            }
        }
        player
    }

    /// The memory's steps of a game: the first knows the task only.
    fn steps(&self, features: &[f64], moves: &[(usize, f64)]) -> Vec<Step> {
        let mut steps: Vec<Step> = vec![];
        for action in std::iter::once(None).chain(moves.iter().map(Some)) {
            let mut x = vec![0.0; self.actions + 1];
            if let Some((action, score)) = action {
                x[*action] = 1.0;
                x[self.actions] = *score;
            }
            x.extend(features);
            steps.push(self.memory.step(&self.parameters, steps.last(), &x));
        }
        steps
    }

    /// The value of each point after some were tried.
    pub fn values(&self, features: &[f64], moves: &[(usize, f64)]) -> Vec<f64> {
        let steps = self.steps(features, moves);
        self.head.forward(&self.parameters, &steps[steps.len() - 1].state)
    }

    /// Plays a game; each move is drawn with a chance.
    pub fn play(&self, game: Game, task: &Table, chance: f64, draws: &mut dyn Draws) -> Vec<usize> {
        let mut moves: Vec<(usize, f64)> = vec![];
        while moves.len() < game.budget {
            let drawn = draws.uniform() < chance;
            let action = if drawn { draws.below(self.actions) } else { greatest(&self.values(&task.features, &moves)) };
            let again = moves.iter().any(|(before, _)| *before == action);
            moves.push((action, task.scores[action]));
            if again {
                break;
            }
        }
        moves.into_iter().map(|(action, _)| action).collect()
    }

    /// Adds the derivatives of half the squared error of each move of a game.
    fn learn(&self, game: Game, task: &Table, actions: &[usize], judge: &Player, gradient: &mut [f64]) {
        let moves: Vec<(usize, f64)> = actions.iter().map(|action| (*action, task.scores[*action])).collect();
        let steps = self.steps(&task.features, &moves[..moves.len() - 1]);
        let judged = judge.steps(&task.features, &moves);
        let error = |(t, step): (usize, &Step)| {
            let (action, score) = moves[t];
            let next = judge.head.forward(&judge.parameters, &judged[t + 1].state);
            let wanted = match () {
                () if actions[..t].contains(&action) => 0.0,
                () if t + 1 == game.budget => score,
                () => score + game.discount * next[greatest(&next)],
            };
            let mut errors = vec![0.0; self.actions];
            errors[action] = self.head.forward(&self.parameters, &step.state)[action] - wanted;
            self.head.backward(&self.parameters, &step.state, &errors, gradient)
        };
        let by_state: Vec<Vec<f64>> = steps.iter().enumerate().map(error).collect();
        self.memory.backward(&self.parameters, &steps, &by_state, gradient);
    }
}

/// Rewards of the moves of a game, discounted.
pub fn gained(game: Game, task: &Table, actions: &[usize]) -> f64 {
    let new = |(t, action): &(usize, &usize)| !actions[..*t].contains(action);
    let moves = actions.iter().enumerate().filter(new);
    moves.map(|(t, action)| game.discount.powi(t as i32) * task.scores[*action]).sum()
}

/// A sampler that lets a player choose among the points of the grid that it was trained on, whatever a value of one is a
/// loss of 1 less the score. No point is tried twice.
#[derive(Clone, Debug)]
pub struct HypRl {
    /// Who chooses.
    pub player: Player,
    /// The grid.
    pub grid: Vec<Point>,
    /// What is known of the data set.
    pub features: Vec<f64>,
}

impl Sampler for HypRl {
    fn sample(&self, _: &Space, history: &History, _: u64, _: u64) -> Sample {
        let place = |point: &Point| self.grid.iter().position(|other| other == point);
        let tried: Vec<usize> = history.trials().iter().filter_map(|trial| place(&trial.point)).collect();
        let ended = history.trials().iter().filter(|trial| trial.state != State::Running && trial.score().is_finite());
        let moves: Vec<(usize, f64)> =
            ended.filter_map(|trial| Some((place(&trial.point)?, 1.0 - trial.score()))).collect();
        let mut values = self.player.values(&self.features, &moves);
        tried.iter().for_each(|action| values[*action] = f64::NEG_INFINITY);
        match self.grid.get(greatest(&values)) {
            Some(point) if tried.len() < self.grid.len() => point.clone().into(),
            _ => Sample::Done,
        }
    }
}
