//! The covariance of what is observed at two points, values and derivatives: Matérn 5/2 with a length scale for each
//! coordinate.

/// What is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// One over the square of the length scale, for each coordinate.
    pub inverse_squares: Vec<f64>,
    /// The variance of the function.
    pub signal: f64,
    /// The variance of the noise on its values.
    pub noise: f64,
    /// The variance of the noise on its derivatives.
    pub slope_noise: f64,
}

impl Parameters {
    /// One everywhere: where a fit starts.
    pub fn ones(dimensions: usize) -> Self {
        Self { inverse_squares: vec![1.0; dimensions], signal: 1.0, noise: 1.0, slope_noise: 1.0 }
    }

    /// Two points seen together.
    pub(super) fn pair<'a>(&'a self, x: &'a [f64], other: &'a [f64]) -> Pair<'a> {
        let squares = x.iter().zip(other).map(|(x, y)| (x - y) * (x - y));
        let q: f64 = self.inverse_squares.iter().zip(squares).map(|(a, square)| a * square).sum();
        let s = (5.0 * q).sqrt();
        Pair { parameters: self, x, other, s, decay: self.signal * (-s).exp() }
    }
}

/// What is looked at of the function at a point: its value, or its derivative along a coordinate.
pub(super) type Aspect = Option<usize>;

/// Two points, and how far apart they are: s² = 5 q with q the sum of scaled squares.
pub(super) struct Pair<'a> {
    parameters: &'a Parameters,
    x: &'a [f64],
    other: &'a [f64],
    s: f64,
    /// κ e⁻ˢ.
    decay: f64,
}

impl Pair<'_> {
    /// The covariance of one aspect at the first point with one at the other: k, differentiated where they say so.
    pub fn covariance(&self, at: Aspect, other: Aspect) -> f64 {
        match (at, other) {
            (None, None) => self.decay * (1.0 + self.s + self.s * self.s / 3.0),
            (Some(j), None) => self.along(j) * self.first(),
            (None, Some(l)) => -self.along(l) * self.first(),
            (Some(j), Some(l)) => {
                let same = if j == l { 2.0 * self.parameters.inverse_squares[j] * self.first() } else { 0.0 };
                -(self.along(j) * self.along(l) * self.second() + same)
            }
        }
    }

    /// Its derivative by the logarithm of an inverse squared length scale.
    pub fn by_log_scale(&self, m: usize, at: Aspect, other: Aspect) -> f64 {
        let share = self.parameters.inverse_squares[m] * (self.x[m] - self.other[m]).powi(2);
        let own = |j: usize| f64::from(u8::from(j == m));
        let slope = |j: usize| self.along(j) * (share * self.second() + own(j) * self.first());
        match (at, other) {
            (None, None) => share * self.first(),
            (Some(j), None) => slope(j),
            (None, Some(l)) => -slope(l),
            (Some(j), Some(l)) => {
                let scale = if j == l { 2.0 * self.parameters.inverse_squares[j] } else { 0.0 };
                let same = scale * (share * self.second() + own(j) * self.first());
                let both = share * self.third() + (own(j) + own(l)) * self.second();
                -(self.along(j) * self.along(l) * both + same)
            }
        }
    }

    /// ∂q/∂xⱼ.
    fn along(&self, j: usize) -> f64 {
        2.0 * self.parameters.inverse_squares[j] * (self.x[j] - self.other[j])
    }

    /// ∂k/∂q.
    fn first(&self) -> f64 {
        -5.0 / 6.0 * self.decay * (1.0 + self.s)
    }

    /// ∂²k/∂q².
    fn second(&self) -> f64 {
        25.0 / 12.0 * self.decay
    }

    /// ∂³k/∂q³. It has a pole where the points are one; what it is multiplied with there vanishes faster.
    fn third(&self) -> f64 {
        if self.s > 0.0 { -125.0 / 24.0 * self.decay / self.s } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASPECTS: [Aspect; 4] = [None, Some(0), Some(1), Some(2)];

    fn parameters() -> Parameters {
        Parameters { inverse_squares: vec![3.0, 0.4, 9.0], signal: 1.7, ..Parameters::ones(3) }
    }

    #[track_caller]
    fn is_difference(derivative: f64, f: impl Fn(f64) -> f64) {
        let difference = (f(1e-5) - f(-1e-5)) / 2e-5;
        assert!((derivative - difference).abs() < 1e-7 * (1.0 + derivative.abs()), "{derivative} {difference}");
    }

    #[test]
    fn derivatives_are_differences_of_the_kernel() {
        let parameters = parameters();
        let (x, y) = ([0.3, 0.8, 0.55], [0.45, 0.1, 0.5]);
        for other in ASPECTS {
            for j in 0..3 {
                let moved = |h: f64| {
                    let mut x = x;
                    x[j] += h;
                    x
                };
                is_difference(parameters.pair(&x, &y).covariance(Some(j), other), |h| {
                    parameters.pair(&moved(h), &y).covariance(None, other)
                });
            }
            for at in ASPECTS {
                let there = parameters.pair(&x, &y).covariance(at, other);
                assert_eq!(there, parameters.pair(&y, &x).covariance(other, at), "symmetric");
            }
        }
        // Where the points are one, slopes along a coordinate vary by (5/3) κ a.
        let here = parameters.pair(&x, &x);
        assert!((here.covariance(Some(2), Some(2)) - 5.0 / 3.0 * 1.7 * 9.0).abs() < 1e-12);
        assert_eq!([here.covariance(Some(0), Some(2)), here.covariance(Some(1), None)], [0.0; 2]);
    }

    #[test]
    fn derivatives_by_length_scales_are_differences() {
        let (x, y) = ([0.3, 0.8, 0.55], [0.45, 0.1, 0.5]);
        for (m, at, other) in (0..3).flat_map(|m| ASPECTS.map(|at| ASPECTS.map(|other| (m, at, other)))).flatten() {
            for y in [&x, &y] {
                is_difference(parameters().pair(&x, y).by_log_scale(m, at, other), |h| {
                    let mut moved = parameters();
                    moved.inverse_squares[m] *= h.exp();
                    moved.pair(&x, y).covariance(at, other)
                });
            }
        }
    }
}
