//! A genetic algorithm: tournaments, uniform crossover, mutation, and the best one lives on. Generations are whole: the
//! next begins when all of one have ended.

use super::domain::Domain;
use super::draws::{Draws, Occasion, stream};
use super::history::{Attributes, History, Trial};
use super::random::random_point;
use super::searcher::{Sample, Sampler, have_ended};
use super::space::{Point, Space};

/// Constants of the algorithm.
#[derive(Clone, Copy, Debug)]
pub struct Genetic {
    /// Individuals of a generation.
    pub population: usize,
    /// Individuals of a tournament.
    pub tournament: usize,
    /// The probability that a pair exchanges genes; each then with probability ½.
    pub crossover: f64,
    /// The standard deviation of a dense gene's mutation, as a share of its range.
    pub mutation: f64,
}

impl Default for Genetic {
    fn default() -> Self {
        Genetic { population: 20, tournament: 3, crossover: 0.9, mutation: 0.1 }
    }
}

/// The genes of an individual, by dimension: a share of the range where values lie dense, else the number of a level; none
/// where the dimension does not count.
pub type Genes = Vec<Option<f64>>;

impl Genetic {
    /// The generation of a trial, and the number of its first one. In the first, none has lived on from before.
    fn generation(&self, trial: u64) -> (u64, u64) {
        let whole = self.population.max(2) as u64;
        let later = whole - 1;
        trial.checked_sub(whole).map_or((0, 0), |after| (1 + after / later, whole + after / later * later))
    }

    /// The genes of the children of a population, given its losses. The order of draws: all tournaments; of each pair
    /// whether it exchanges genes and then which; of each child each gene.
    pub fn children(&self, space: &Space, parents: &[Genes], losses: &[f64], draws: &mut dyn Draws) -> Vec<Genes> {
        let winner = |draws: &mut dyn Draws| {
            let entrants = (0..self.tournament).map(|_| draws.below(parents.len()));
            // Of equal ones the first that was drawn.
            entrants.reduce(|best, other| if losses[other] < losses[best] { other } else { best }).unwrap_or_default()
        };
        let winners: Vec<usize> = (1..parents.len()).map(|_| winner(draws)).collect();
        let mut children: Vec<Genes> = winners.iter().map(|&winner| parents[winner].clone()).collect();
        for pair in children.chunks_exact_mut(2) {
            let [a, b] = pair else { continue };
            if draws.uniform() < self.crossover {
                for (a, b) in a.iter_mut().zip(b) {
                    if draws.uniform() < 0.5 {
                        std::mem::swap(a, b);
                    }
                }
            }
        }
        children.iter_mut().for_each(|child| self.mutate(space, child, draws));
        children
    }

    /// Each gene changes with probability 1/d.
    fn mutate(&self, space: &Space, genes: &mut Genes, draws: &mut dyn Draws) {
        for (j, gene) in genes.iter_mut().enumerate() {
            if draws.uniform() >= 1.0 / space.len() as f64 {
                continue;
            }
            let domain = space.domain(j);
            let levels = domain.count();
            *gene = gene.map(|gene| match levels {
                None => reflected(gene + self.mutation * draws.normal()),
                Some(count) if domain.is_categorical() => draws.below(count) as f64,
                Some(count) => {
                    let moved = if draws.uniform() < 0.5 { gene - 1.0 } else { gene + 1.0 };
                    moved.clamp(0.0, count as f64 - 1.0)
                }
            });
        }
    }
}

/// A share that left the unit interval, turned back at its end.
pub(super) fn reflected(share: f64) -> f64 {
    let turned = share.rem_euclid(2.0);
    if (0.0..=1.0).contains(&share) {
        share
    } else if turned > 1.0 {
        2.0 - turned
    } else {
        turned
    }
}

/// The gene of a value.
fn gene(domain: &Domain, value: f64) -> f64 {
    if domain.count().is_some() { domain.index(value) as f64 } else { domain.unit(value) }
}

/// The point of genes; of dimensions that count now and did not before, values are drawn.
fn point(space: &Space, genes: &Genes, draws: &mut dyn Draws) -> Point {
    space.point(|j, domain| match (genes[j], domain.count()) {
        (None, _) => domain.value(draws.uniform()),
        (Some(gene), Some(_)) => domain.level(gene as usize),
        (Some(gene), None) => domain.value(gene),
    })
}

impl Sampler for Genetic {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let (generation, first) = self.generation(trial);
        if generation == 0 {
            return random_point(space, &mut stream(seed, trial, Occasion::Point)).into();
        }
        if !have_ended(history, first) {
            return Sample::Wait;
        }
        // The population that bears this generation: the best of all before it and the others of the last one.
        let (_, before) = self.generation(first - 1);
        let trials = &history.trials()[..first as usize];
        let (older, newest) = trials.split_at(before as usize);
        let elite = older.iter().reduce(|best, other| if other.score() < best.score() { other } else { best });
        let population: Vec<&Trial> = elite.into_iter().chain(newest).collect();
        let genes =
            |trial: &&Trial| (0..space.len()).map(|j| Some(gene(space.domain(j), trial.point.get(j)?))).collect();
        let parents: Vec<Genes> = population.iter().map(genes).collect();
        let losses: Vec<f64> = population.iter().map(|trial| trial.score()).collect();

        let mut draws = stream(seed, first, Occasion::Point);
        let mut children = self.children(space, &parents, &losses, &mut draws);
        let mut seen: Vec<Point> = trials.iter().map(|trial| trial.point.clone()).collect();
        let mut next = None;
        for child in &mut children[..=(trial - first) as usize] {
            let mut born = point(space, child, &mut draws);
            if seen.contains(&born) {
                self.mutate(space, child, &mut draws);
                born = point(space, child, &mut draws);
            }
            seen.push(born.clone());
            next = Some(born);
        }
        let attributes = Attributes::from([("generation".to_owned(), generation.into())]);
        next.map_or(Sample::Done, |point| Sample::Point(point, attributes))
    }
}
