//! Freeze–thaw Bayesian optimisation (Swersky et al. 2014): trials wait after each rung, and the one goes on, or begins, that
//! promises most to whoever believes in a [model of learning curves](super::curves).

use super::curves::{Curve, Curves};
use super::draws::{Occasion, stream};
use super::gp::{coordinates, place};
use super::history::{Attributes, Decision, History, State, Trial};
use super::searcher::{Ask, Searcher, Verdict, to_its_end};
use super::sobol::sobol_point;
use super::space::{Point, Space};
use crate::gp::cholesky::{Cholesky, dot};
use crate::gp::{Points, standard_log_ei};
use crate::rng::Stream;

/// How the next job is chosen among those of a basket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By the expected improvement of the asymptote.
    #[default]
    Improvement,
    /// By how much less uncertain it would be which asymptote is the least (the paper).
    Entropy,
}

/// Freeze–thaw Bayesian optimisation.
#[derive(Clone, Copy, Debug)]
pub struct FreezeThaw {
    /// Steps of a rung.
    pub interval: u64,
    /// Steps of a whole training.
    pub budget: u64,
    /// Trials of the Sobol sequence that begin before anything is modelled.
    pub beginning: u64,
    /// Whether the logarithms of values are modelled. They make losses of all sizes alike, but what decays to an end other
    /// than zero is then no decay of the model's kind any more.
    pub log: bool,
    /// Trials of the basket that wait, and such that would be new.
    pub basket: (usize, usize),
    /// How the next job is chosen.
    pub mode: Mode,
}

impl FreezeThaw {
    /// With the paper's basket of ten and three, and values as they are.
    pub fn new(interval: u64, budget: u64) -> Self {
        FreezeThaw { interval, budget, beginning: 3, log: false, basket: (10, 3), mode: Mode::Improvement }
    }

    /// The values of a trial at its rungs, as far as they are finite.
    fn values(&self, trial: &Trial) -> Vec<f64> {
        let rungs = (1..).map_while(|rung| trial.value_at(rung * self.interval.max(1)));
        rungs.take_while(|value| value.is_finite()).map(|value| self.modelled(value)).collect()
    }

    fn modelled(&self, value: f64) -> f64 {
        if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value }
    }

    /// The job to be done.
    fn choose(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Option<Job> {
        let curves = history.trials().iter().map(|trial| (trial, self.values(trial)));
        let (trials, values): (Vec<&Trial>, Vec<Vec<f64>>) = curves.filter(|(_, values)| !values.is_empty()).unzip();
        // Standardised by the first values.
        let firsts = || values.iter().map(|values| values[0]);
        let count = values.len() as f64;
        let mean = firsts().sum::<f64>() / count;
        let deviation = (firsts().map(|y| (y - mean) * (y - mean)).sum::<f64>() / count).sqrt();
        let deviation = if deviation > 0.0 { deviation } else { 1.0 };
        let curve = |(trial, values): (&&Trial, &Vec<f64>)| Curve {
            place: place(space, &trial.point),
            values: values.iter().map(|y| (y - mean) / deviation).collect(),
        };
        let curves: Vec<Curve> = trials.iter().zip(&values).map(curve).collect();
        let model = Curves::fit(&coordinates(space), &curves)?;

        let places: Vec<Vec<f64>> = curves.iter().map(|curve| curve.place.clone()).collect();
        let (means, covariances) = model.asymptotes(&places);
        let best = means.iter().copied().fold(f64::INFINITY, f64::min);
        let improvement = |mean: f64, variance: f64| {
            let deviation = variance.max(1e-12).sqrt();
            standard_log_ei((best - mean) / deviation) + deviation.ln()
        };
        let mut draws = stream(seed, trial, Occasion::Point);
        let mut old: Vec<(f64, Job)> = trials
            .iter()
            .enumerate()
            .filter(|(_, trial)| trial.state == State::Paused)
            .map(|(n, trial)| (improvement(means[n], covariances[n][n]), Job::Thaw(n, trial.number)))
            .collect();
        let mut new: Vec<(f64, Job)> = Points::shifted(space.len().min(COORDINATES), &mut draws)
            .take(CANDIDATES)
            .map(|mut units| {
                units.resize_with(space.len(), || draws.uniform());
                let point = space.at(&units);
                let (means, covariances) = model.asymptotes(&[place(space, &point)]);
                (improvement(means[0], covariances[0][0]), Job::Start(point))
            })
            .collect();
        for (jobs, count) in [(&mut old, self.basket.0), (&mut new, self.basket.1)] {
            jobs.sort_by(|a, b| b.0.total_cmp(&a.0));
            jobs.truncate(count);
        }
        let jobs: Vec<(f64, Job)> = old.into_iter().chain(new).collect();
        let scores = match self.mode {
            Mode::Improvement => jobs.iter().map(|(improvement, _)| *improvement).collect(),
            Mode::Entropy => information(space, &model, &jobs, &mut draws),
        };
        let best = (0..jobs.len()).reduce(|best, i| if scores[i] > scores[best] { i } else { best })?;
        jobs.into_iter().nth(best).map(|(_, job)| job)
    }
}

/// New points that are looked at, and coordinates of their sequence; what is beyond is drawn.
const CANDIDATES: usize = 1024;
const COORDINATES: usize = 100;

/// Something that could be done.
enum Job {
    /// Go on with a curve of the model, of a trial.
    Thaw(usize, u64),
    /// Begin a trial.
    Start(Point),
}

/// Joint draws of the asymptotes, and values that are imagined for a job.
const SAMPLES: usize = 1000;
const FANTASIES: usize = 5;

/// For each job, by how much the entropy of which asymptote of the basket is the least would fall.
fn information(space: &Space, model: &Curves, jobs: &[(f64, Job)], draws: &mut Stream) -> Vec<f64> {
    let places: Vec<Vec<f64>> = jobs
        .iter()
        .map(|(_, job)| match job {
            Job::Thaw(n, _) => model.curves()[*n].place.clone(),
            Job::Start(point) => place(space, point),
        })
        .collect();
    // The same draws for all, so that jobs are compared and not their draws.
    let normals: Vec<Vec<f64>> = (0..SAMPLES).map(|_| places.iter().map(|_| draws.normal()).collect()).collect();
    let imagined: Vec<f64> = (0..FANTASIES).map(|_| draws.normal()).collect();
    let entropy = |model: &Curves| {
        let (means, mut covariances) = model.asymptotes(&places);
        let jitter = 1e-9 * model.shape().asymptotes.signal + 1e-12;
        covariances.iter_mut().enumerate().for_each(|(i, row)| row[i] += jitter);
        let factor = Cholesky::new(covariances)?;
        let mut counts = vec![0.0; places.len()];
        for sample in &normals {
            let value = |i: usize| means[i] + dot(&factor.row(i)[..=i], &sample[..=i]);
            let values: Vec<f64> = (0..places.len()).map(value).collect();
            let least = (1..values.len()).fold(0, |least, i| if values[i] < values[least] { i } else { least });
            counts[least] += 1.0 / SAMPLES as f64;
        }
        Some(counts.into_iter().filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum::<f64>())
    };
    let now = entropy(model).unwrap_or(0.0);
    let after = |(job, place): (&(f64, Job), &Vec<f64>)| {
        let curve = match job.1 {
            Job::Thaw(n, _) => Some(n),
            Job::Start(_) => None,
        };
        let (mean, variance) = model.next(curve, place);
        let deviation = (variance.max(0.0) + model.shape().asymptotes.noise).sqrt();
        let entropies = imagined
            .iter()
            .filter_map(|z| entropy(&model.with(curve, place, mean + deviation * z)?))
            .collect::<Vec<f64>>();
        now - entropies.iter().sum::<f64>() / entropies.len().max(1) as f64
    };
    jobs.iter().zip(&places).map(after).collect()
}

impl Searcher for FreezeThaw {
    fn ask(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Ask {
        let budget = self.interval.max(1).min(self.budget);
        let start = |point| Ask::Start { point, budget, attributes: Attributes::new() };
        if trial < self.beginning {
            return start(sobol_point(space, seed, trial));
        }
        match self.choose(space, history, seed, trial + history.events()) {
            Some(Job::Thaw(_, number)) => {
                let Some(thawed) = history.trial(number) else { return Ask::Wait };
                let decision = Decision { rung: thawed.step(), threshold: f64::INFINITY, value: thawed.score() };
                let budget = (thawed.step() + self.interval.max(1)).min(self.budget);
                Ask::Resume { trial: number, budget, decision }
            }
            Some(Job::Start(point)) => start(point),
            // Nothing is known yet.
            None => start(sobol_point(space, seed, trial)),
        }
    }

    fn judge(&self, _: &Space, history: &History, _: u64, trial: u64) -> Verdict {
        match to_its_end(history, trial) {
            Verdict::Complete if history.trial(trial).is_some_and(|trial| trial.step() < self.budget) => Verdict::Pause,
            verdict => verdict,
        }
    }
}
