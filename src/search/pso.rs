//! Particle swarms (Kennedy and Eberhart 1995) with Clerc's constriction constants. The swarm moves as one, once all of its
//! particles were scored; what is not dense is rounded when it is tried.

use super::draws::{Draws, Occasion, stream};
use super::history::{Attributes, History, Trial};
use super::searcher::{Sample, Sampler, have_ended};
use super::space::Space;

/// Constants of the swarm.
#[derive(Clone, Copy, Debug)]
pub struct Pso {
    /// How many particles there are.
    pub particles: usize,
    /// What is kept of a velocity.
    pub inertia: f64,
    /// How strongly a particle is drawn to its own best place, and to the best of all.
    pub pull: f64,
    /// No coordinate of a velocity is longer.
    pub fastest: f64,
}

impl Default for Pso {
    fn default() -> Self {
        Pso { particles: 20, inertia: 0.7298, pull: 1.49618, fastest: 0.5 }
    }
}

/// A particle in the unit cube.
#[derive(Clone, Debug, PartialEq)]
pub struct Particle {
    /// Where it is.
    pub position: Vec<f64>,
    /// How it came there.
    pub velocity: Vec<f64>,
    /// Its best place so far.
    pub best: Vec<f64>,
}

impl Pso {
    /// Position and velocity of each particle after a move; the order of draws: those for their own best places, particle by
    /// particle, then those for the best place of all. At a border a particle is reflected, and its velocity turned.
    pub fn moved(&self, swarm: &[Particle], best: &[f64], draws: &mut dyn Draws) -> Vec<(Vec<f64>, Vec<f64>)> {
        let count = swarm.len() * best.len();
        let [own, common] = [(); 2].map(|()| (0..count).map(|_| draws.uniform()).collect::<Vec<f64>>());
        let step = |(i, particle): (usize, &Particle)| {
            let along = |j: usize| {
                let (x, draw) = (particle.position[j], i * best.len() + j);
                let cognitive = self.pull * own[draw] * (particle.best[j] - x);
                let social = self.pull * common[draw] * (best[j] - x);
                let velocity =
                    (self.inertia * particle.velocity[j] + cognitive + social).clamp(-self.fastest, self.fastest);
                match x + velocity {
                    next if next < 0.0 => (-next, -velocity),
                    next if next > 1.0 => (2.0 - next, -velocity),
                    next => (next, velocity),
                }
            };
            (0..best.len()).map(along).unzip()
        };
        swarm.iter().enumerate().map(step).collect()
    }
}

impl Sampler for Pso {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let (size, dimensions) = (self.particles.max(1) as u64, space.len());
        let (round, particle) = (trial / size, trial % size);
        let (position, velocity): (Vec<f64>, Vec<f64>) = if round == 0 {
            let mut draws = stream(seed, trial, Occasion::Point);
            let [position, shares] = [(); 2].map(|()| (0..dimensions).map(|_| draws.uniform()).collect::<Vec<f64>>());
            (position, shares.iter().map(|share| self.fastest * (2.0 * share - 1.0)).collect())
        } else {
            if !have_ended(history, round * size) {
                return Sample::Wait;
            }
            let trials = &history.trials()[..(round * size) as usize];
            let place = |trial: &Trial| trial.numbers_of(POSITION).unwrap_or_else(|| space.units(&trial.point));
            let best = |trials: &mut dyn Iterator<Item = &Trial>| {
                let best = trials.reduce(|best, other| if other.score() < best.score() { other } else { best });
                best.map_or(vec![0.5; dimensions], place)
            };
            let particle_of = |k: usize| {
                let last = &trials[((round - 1) * size) as usize + k];
                let velocity = last.numbers_of(VELOCITY).unwrap_or(vec![0.0; dimensions]);
                let own = best(&mut trials.iter().skip(k).step_by(size as usize));
                Particle { position: place(last), velocity, best: own }
            };
            let swarm: Vec<Particle> = (0..size as usize).map(particle_of).collect();
            let mut draws = stream(seed, round * size, Occasion::Point);
            self.moved(&swarm, &best(&mut trials.iter()), &mut draws).swap_remove(particle as usize)
        };
        let point = space.at(&position);
        Sample::Point(
            point,
            Attributes::from([(POSITION.to_owned(), position.into()), (VELOCITY.to_owned(), velocity.into())]),
        )
    }
}

/// What is kept with a trial: where the particle is, unrounded, and its velocity.
const POSITION: &str = "position";
const VELOCITY: &str = "velocity";
