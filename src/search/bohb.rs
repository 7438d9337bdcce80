//! The model of BOHB (Falkner et al. 2018) as in HpBandSter 0.7.4: densities of good and of bad points at the largest budget
//! that has enough of them. With [`Hyperband`](super::Hyperband) as its schedule it is BOHB.

use super::domain::Domain;
use super::draws::{Draws, Occasion, stream};
use super::history::{History, finite};
use super::normal::truncated;
use super::random::random_point;
use super::searcher::{Sample, Sampler};
use super::space::{Point, Space};

/// The least bandwidth.
const NARROWEST: f64 = 1e-3;

/// The least density that is told apart from none.
const LEAST: f64 = 1e-32;

/// The sampler of BOHB.
#[derive(Clone, Copy, Debug)]
pub struct Bohb {
    /// The share of points that are drawn at random.
    pub random: f64,
    /// The share of points that count as good.
    pub good: f64,
    /// Points drawn for each that is taken.
    pub candidates: usize,
    /// Bandwidths are so many times as wide when points are drawn.
    pub widening: f64,
    /// Whether a category's bandwidth stays below that at which all categories are alike. HpBandSter's may exceed it, which
    /// makes densities negative.
    pub clip: bool,
}

impl Default for Bohb {
    fn default() -> Self {
        Bohb { random: 1.0 / 3.0, good: 0.15, candidates: 64, widening: 3.0, clip: true }
    }
}

/// A density of products of kernels, one for each row.
#[derive(Clone, Debug)]
pub struct Density {
    /// Points: shares of ranges, and the numbers of categories.
    pub rows: Vec<Vec<f64>>,
    /// The bandwidth of each column.
    pub bandwidths: Vec<f64>,
    /// For categorical columns how many other categories share what one leaves.
    others: Vec<Option<f64>>,
}

impl Density {
    /// With bandwidths by the normal reference rule, 1.06 σ n^{−1/(4+d)}; of categories too, by their numbers.
    pub fn new(rows: Vec<Vec<f64>>, categorical: &[bool], clip: bool) -> Self {
        let count = rows.len() as f64;
        let power = count.powf(-1.0 / (4.0 + categorical.len() as f64));
        let (mut bandwidths, mut others) = (vec![], vec![]);
        for (j, &categorical) in categorical.iter().enumerate() {
            let mut column: Vec<f64> = rows.iter().map(|row| row[j]).collect();
            let mean = column.iter().sum::<f64>() / count;
            let deviation = (column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
            let bandwidth = (1.06 * deviation * power).max(NARROWEST);
            column.sort_by(f64::total_cmp);
            column.dedup();
            let seen = column.len() as f64;
            // One category alone leaves nothing to share with others.
            let widest = if categorical && clip { ((seen - 1.0) / seen).max(NARROWEST) } else { f64::INFINITY };
            bandwidths.push(bandwidth.min(widest));
            // HpBandSter divides by none where there is one category only.
            let fewest = if clip { 1.0 } else { 0.0 };
            others.push(categorical.then_some(f64::max(seen - 1.0, fewest)));
        }
        Density { rows, bandwidths, others }
    }

    /// The density at a point.
    pub fn at(&self, x: &[f64]) -> f64 {
        let kernel = |row: &Vec<f64>| -> f64 {
            let along = |j: usize| {
                let h = self.bandwidths[j];
                match self.others[j] {
                    None => (-0.5 * ((row[j] - x[j]) / h).powi(2)).exp() / (h * std::f64::consts::TAU.sqrt()),
                    Some(_) if row[j] == x[j] => 1.0 - h,
                    Some(others) => h / others,
                }
            };
            (0..x.len()).map(along).product()
        };
        self.rows.iter().map(kernel).sum::<f64>() / self.rows.len() as f64
    }
}

/// Densities of good and bad points.
#[derive(Clone, Debug)]
pub struct Model {
    /// Of the good ones.
    pub good: Density,
    /// Of the bad ones.
    pub bad: Density,
}

impl Model {
    /// What a point is worth: the less, the better.
    pub fn score(&self, x: &[f64]) -> f64 {
        self.bad.at(x).max(LEAST) / self.good.at(x).max(LEAST)
    }
}

impl Bohb {
    /// The model of points with their losses, in the order in which these became known; none while there are too few. Gaps
    /// of dimensions that do not count are filled from the others.
    pub fn model(&self, space: &Space, seen: &[(Point, f64)], draws: &mut dyn Draws) -> Option<Model> {
        let categorical: Vec<bool> = space.dimensions().iter().map(|d| d.domain.is_categorical()).collect();
        let dimensions = categorical.len();
        let share = |share: f64| ((share * seen.len() as f64) as usize).max(dimensions + 1);
        let (good, bad) = (share(self.good), share(1.0 - self.good));
        let mut order: Vec<usize> = (0..seen.len()).collect();
        order.sort_by(|&a, &b| seen[a].1.total_cmp(&seen[b].1));
        let rows = |places: &[usize]| -> Vec<Vec<Option<f64>>> {
            places.iter().map(|&place| coordinates(space, &seen[place].0)).collect()
        };
        let (good, bad) = (good.min(order.len()), (good + bad).min(order.len()));
        if good <= dimensions || bad - good <= dimensions {
            return None;
        }
        let [good, bad] = [rows(&order[..good]), rows(&order[good..bad])];
        let [good, bad] = [good, bad].map(|rows| Density::new(filled(space, rows, draws), &categorical, self.clip));
        Some(Model { good, bad })
    }

    /// A point where good ones lie and bad ones do not: the best of many, each drawn about a good one. The order of draws: the
    /// row; of each number one; of each category whether it stays, and which it becomes if not.
    pub fn propose(&self, space: &Space, model: &Model, draws: &mut dyn Draws) -> Vec<f64> {
        let candidate = |draws: &mut dyn Draws| -> Vec<f64> {
            let row = &model.good.rows[draws.below(model.good.rows.len())];
            let along = |j: usize| {
                let (bandwidth, domain) = (model.good.bandwidths[j], space.domain(j));
                if !domain.is_categorical() {
                    return truncated(row[j], self.widening * bandwidth, (0.0, 1.0), draws.uniform());
                }
                let stays = draws.uniform() < 1.0 - bandwidth;
                if stays { row[j] } else { draws.below(domain.count().unwrap_or(1)) as f64 }
            };
            (0..space.len()).map(along).collect()
        };
        let candidates = (0..self.candidates).map(|_| candidate(draws)).map(|x| (model.score(&x), x));
        let best = candidates.reduce(|best, other| if other.0 < best.0 { other } else { best });
        best.map_or_else(|| vec![0.5; space.len()], |(_, x)| x)
    }
}

/// A point as the model has it.
fn coordinates(space: &Space, point: &Point) -> Vec<Option<f64>> {
    let coordinate = |j: usize| {
        let (domain, value) = (space.domain(j), point.get(j)?);
        Some(if domain.is_categorical() { value } else { domain.unit(value) })
    };
    (0..space.len()).map(coordinate).collect()
}

/// Rows without gaps: all that a row lacks is taken from one that has the first of it, or drawn where none has.
fn filled(space: &Space, rows: Vec<Vec<Option<f64>>>, draws: &mut dyn Draws) -> Vec<Vec<f64>> {
    let fill = |row: &Vec<Option<f64>>, draws: &mut dyn Draws| -> Vec<f64> {
        let mut row = row.clone();
        while let Some(gap) = row.iter().position(Option::is_none) {
            let donors: Vec<&Vec<Option<f64>>> = rows.iter().filter(|other| other[gap].is_some()).collect();
            if donors.is_empty() {
                let domain = space.domain(gap);
                row[gap] = Some(if domain.is_categorical() {
                    draws.below(domain.count().unwrap_or(1)) as f64
                } else {
                    draws.uniform()
                });
            } else {
                let donor = donors[draws.below(donors.len())];
                row.iter_mut().zip(donor).for_each(|(own, other)| *own = own.or(*other));
            }
        }
        row.into_iter().flatten().collect()
    };
    rows.iter().map(|row| fill(row, draws)).collect()
}

/// What is known at each budget that a trial was scored at, the largest first; points in the order in which they became
/// known.
fn by_budget(history: &History) -> Vec<Vec<(Point, f64)>> {
    let mut ends: Vec<(u64, u64, &Point, f64)> = vec![];
    for trial in history.trials() {
        for report in &trial.reports {
            // All that train beyond a rung reach the next, so that the largest step with enough of them is a rung.
            ends.push((report.step, report.order, &trial.point, finite(report.value)));
        }
    }
    ends.sort_by_key(|(step, order, ..)| (u64::MAX - step, *order));
    let groups = ends.chunk_by(|a, b| a.0 == b.0);
    groups.map(|group| group.iter().map(|(_, _, point, value)| ((*point).clone(), *value)).collect()).collect()
}

impl Sampler for Bohb {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let mut draws = stream(seed, trial, Occasion::Point);
        let drawn_at_random = draws.uniform() < self.random;
        let model = if drawn_at_random {
            None
        } else {
            by_budget(history).iter().find_map(|seen| self.model(space, seen, &mut draws))
        };
        let Some(model) = model else { return random_point(space, &mut draws).into() };
        let chosen = self.propose(space, &model, &mut draws);
        let value =
            |j: usize, domain: &Domain| if domain.is_categorical() { chosen[j] } else { domain.value(chosen[j]) };
        space.point(value).into()
    }
}
