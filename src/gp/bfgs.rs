//! BFGS within a box, for some forty variables: the Hessian's estimate is kept itself, so that a step is solved for on
//! the coordinates that are free.

use super::cholesky::{Cholesky, dot};

/// Armijo's constant: the share of the decrease that the slope promises which a step must bring.
const SUFFICIENT: f64 = 1e-4;

/// A step shorter than this share of the one wanted is none.
const SHORTEST: f64 = 1e-8;

/// Where a minimisation begins and how it ends.
pub struct Search<'a> {
    /// Every coordinate stays between these.
    pub bounds: (f64, f64),
    /// A first guess of the Hessian's diagonal: √metric is what one is long in. No step is longer than one in any
    /// coordinate, so that a search does not leave the valley that it begins in.
    pub metric: &'a [f64],
    /// It ends where no coordinate of the projected gradient is longer, in the same units.
    pub tolerance: f64,
    /// Or after so many steps.
    pub steps: usize,
}

impl Search<'_> {
    /// The lowest point found from `start` on of a function that gives its value and its gradient, and its value there.
    /// A value that is no finite number is one too high.
    pub fn minimize(&self, f: impl Fn(&[f64]) -> (f64, Vec<f64>), start: &[f64]) -> (Vec<f64>, f64) {
        let (low, high) = self.bounds;
        let mut x: Vec<f64> = start.iter().map(|x| x.clamp(low, high)).collect();
        let (mut value, mut gradient) = f(&x);
        let mut hessian = Hessian::new(self.metric);
        for _ in 0..self.steps {
            let downhill: Vec<f64> = gradient.iter().zip(self.metric).map(|(g, m)| -g / m).collect();
            let projected = x.iter().zip(&downhill).map(|(x, d)| (x + d).clamp(low, high) - x);
            if !value.is_finite() || projected.zip(self.metric).all(|(p, m)| p.abs() * m.sqrt() <= self.tolerance) {
                break;
            }
            let held = |j: usize| if gradient[j] > 0.0 { x[j] <= low } else { x[j] >= high };
            let mut step = self.within(&x, hessian.step(&gradient, held));
            if dot(&step, &gradient) >= 0.0 {
                // The box has bent the step uphill; the steepest one it cannot bend so far.
                hessian = Hessian::new(self.metric);
                step = self.within(&x, downhill);
            }
            let Some((next, there, slopes)) = descend(&f, &x, value, dot(&step, &gradient), &step) else {
                if hessian.fresh {
                    break;
                }
                hessian = Hessian::new(self.metric);
                continue;
            };
            let moved: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
            let change: Vec<f64> = slopes.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            hessian.update(&moved, change);
            (x, value, gradient) = (next, there, slopes);
        }
        (x, value)
    }

    /// A step shortened to one at most, and then as much of it as stays in the box.
    fn within(&self, x: &[f64], step: Vec<f64>) -> Vec<f64> {
        let longest = step.iter().zip(self.metric).fold(1.0, |most: f64, (s, m)| most.max(s.abs() * m.sqrt()));
        x.iter().zip(step).map(|(x, s)| (x + s / longest).clamp(self.bounds.0, self.bounds.1) - x).collect()
    }
}

/// The first point along `step`, by ever shorter shares of it, where the function is low enough, with value and
/// gradient.
fn descend(
    f: impl Fn(&[f64]) -> (f64, Vec<f64>),
    x: &[f64],
    value: f64,
    slope: f64,
    step: &[f64],
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let mut length = 1.0;
    while length > SHORTEST {
        let next: Vec<f64> = x.iter().zip(step).map(|(x, s)| x + length * s).collect();
        let (there, gradient) = f(&next);
        if there <= value + SUFFICIENT * length * slope && gradient.iter().all(|g| g.is_finite()) {
            return Some((next, there, gradient));
        }
        // The minimum of the parabola through both values with the slope here.
        let excess = there - value - length * slope;
        let share = if excess.is_finite() { -length * slope / (2.0 * excess) } else { 0.0 };
        length *= share.clamp(0.1, 0.5);
    }
    None
}

/// An estimate of the Hessian that stays positive definite.
struct Hessian {
    rows: Vec<Vec<f64>>,
    /// Nothing has been learned yet.
    fresh: bool,
}

impl Hessian {
    fn new(diagonal: &[f64]) -> Self {
        let row = |i: usize| (0..diagonal.len()).map(|j| if i == j { diagonal[i] } else { 0.0 }).collect();
        Hessian { rows: (0..diagonal.len()).map(row).collect(), fresh: true }
    }

    /// Newton's step where the coordinates that are held do not move.
    fn step(&self, gradient: &[f64], held: impl Fn(usize) -> bool) -> Vec<f64> {
        let entry = |i: usize, j: usize| match held(i) || held(j) {
            true => f64::from(u8::from(i == j)),
            false => self.rows[i][j],
        };
        let rows = (0..gradient.len()).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect();
        let wanted: Vec<f64> = gradient.iter().enumerate().map(|(j, g)| if held(j) { 0.0 } else { -g }).collect();
        Cholesky::new(rows).map_or(vec![0.0; gradient.len()], |factor| factor.solve(&wanted))
    }

    /// The BFGS update for a step and the change of the gradient along it, damped as by Powell.
    fn update(&mut self, step: &[f64], mut change: Vec<f64>) {
        let known = dot(step, &change);
        if self.fresh && known > 0.0 {
            // The first step tells how large all of it is.
            let diagonal = self.rows.iter().enumerate().map(|(i, row)| row[i]);
            let factor = change.iter().zip(diagonal).map(|(c, m)| c * c / m).sum::<f64>() / known;
            self.rows.iter_mut().flatten().for_each(|entry| *entry *= factor);
        }
        self.fresh = false;
        let product: Vec<f64> = self.rows.iter().map(|row| dot(row, step)).collect();
        let curvature = dot(step, &product);
        let mut along = known;
        if known < 0.2 * curvature {
            let share = 0.8 * curvature / (curvature - known);
            change.iter_mut().zip(&product).for_each(|(c, p)| *c = share * *c + (1.0 - share) * p);
            along = dot(step, &change);
        }
        for (i, row) in self.rows.iter_mut().enumerate() {
            for (j, entry) in row.iter_mut().enumerate() {
                *entry += change[i] * change[j] / along - product[i] * product[j] / curvature;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn rosenbrock(x: &[f64]) -> (f64, Vec<f64>) {
        let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
        for i in 1..x.len() {
            let (a, b) = (1.0 - x[i - 1], x[i] - x[i - 1] * x[i - 1]);
            value += a * a + 100.0 * b * b;
            gradient[i - 1] -= 2.0 * a + 400.0 * x[i - 1] * b;
            gradient[i] += 200.0 * b;
        }
        (value, gradient)
    }

    fn search(bounds: (f64, f64), metric: &[f64]) -> Search<'_> {
        Search { bounds, metric, tolerance: 1e-7, steps: 500 }
    }

    #[test]
    fn it_finds_the_end_of_rosenbrocks_valley() {
        let calls = Cell::new(0);
        let counted = |x: &[f64]| {
            calls.set(calls.get() + 1);
            rosenbrock(x)
        };
        let (x, value) = search((-2.0, 2.0), &[1.0; 5]).minimize(counted, &[-1.2, 1.0, -1.2, 1.0, -1.2]);
        assert!(value < 1e-12 && x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{value} at {x:?}");
        assert!(calls.get() < 200, "{} evaluations", calls.get());
    }

    #[test]
    fn it_ends_at_bounds_where_these_are_in_the_way() {
        let (x, value) = search((-2.0, 0.5), &[1.0; 2]).minimize(rosenbrock, &[-1.2, 0.5]);
        assert!((value - 0.25).abs() < 1e-12 && x[0] == 0.5 && (x[1] - 0.25).abs() < 1e-7, "{value} at {x:?}");
        // A quadratic form whose minimum lies outside, with coordinates that pull each other along.
        let bowl = |x: &[f64]| {
            let (a, b, c) = (x[0] - 3.0, x[1] + 1.0, x[2] - 0.5);
            let slopes = vec![2.0 * a + 1.8 * b, 2.0 * b + 1.8 * a + 0.2 * c, 2.0 * c + 0.2 * b];
            (a * a + b * b + c * c + 1.8 * a * b + 0.2 * b * c, slopes)
        };
        let (x, _) = search((0.0, 1.0), &[1.0, 30.0, 0.1]).minimize(bowl, &[0.0, 0.0, 0.0]);
        // With the first held at 1, the slopes of the others vanish where x₁ + 1 = 3.6/1.98 and x₂ − 0.5 = −0.36/1.98.
        let wanted = [1.0, 3.6 / 1.98 - 1.0, 0.5 - 0.36 / 1.98];
        assert!(x.iter().zip(wanted).all(|(x, w)| (x - w).abs() < 1e-6), "{x:?}");
    }

    #[test]
    fn where_the_function_is_not_defined_it_turns_back() {
        let log = |x: &[f64]| (x[0] - x[0].ln(), vec![1.0 - 1.0 / x[0]]);
        let (x, _) = search((-5.0, 5.0), &[1.0]).minimize(log, &[0.05]);
        assert!((x[0] - 1.0).abs() < 1e-6, "{x:?}");
    }
}
