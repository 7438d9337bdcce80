//! The covariance of the function's values at two points: Matérn 5/2 with a length scale for each coordinate.

/// What a coordinate of a point can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Coordinate {
    /// Any number from 0 to 1.
    Dense,
    /// One of these numbers from 0 to 1, in their order.
    Levels(Vec<f64>),
    /// The number of a category, one of so many, all equally far from each other: 1.
    Category(usize),
}

/// The distance along a coordinate; those beyond the end of the list are dense.
fn distance(coordinates: &[Coordinate], j: usize, x: f64, other: f64) -> f64 {
    match coordinates.get(j) {
        Some(Coordinate::Category(_)) => f64::from(u8::from(x != other)),
        _ => x - other,
    }
}

/// What is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// One over the square of the length scale, for each coordinate.
    pub inverse_squares: Vec<f64>,
    /// The variance of the function.
    pub signal: f64,
    /// The variance of the noise on its values.
    pub noise: f64,
}

impl Parameters {
    /// One everywhere: where a fit starts.
    pub fn ones(dimensions: usize) -> Self {
        Self { inverse_squares: vec![1.0; dimensions], signal: 1.0, noise: 1.0 }
    }

    /// The covariance of the function's values at two points.
    pub fn covariance(&self, coordinates: &[Coordinate], x: &[f64], other: &[f64]) -> f64 {
        self.pair(coordinates, x, other).covariance()
    }

    /// Two points seen together.
    pub(super) fn pair<'a>(&'a self, coordinates: &'a [Coordinate], x: &'a [f64], other: &'a [f64]) -> Pair<'a> {
        let distances = x.iter().zip(other).enumerate().map(|(j, (x, y))| distance(coordinates, j, *x, *y));
        let squares = distances.map(|distance| distance * distance);
        let q: f64 = self.inverse_squares.iter().zip(squares).map(|(a, square)| a * square).sum();
        let s = (5.0 * q).sqrt();
        Pair { parameters: self, coordinates, x, other, s, decay: self.signal * (-s).exp() }
    }
}

/// Two points, and how far apart they are: s² = 5 q with q the sum of scaled squares.
pub(super) struct Pair<'a> {
    parameters: &'a Parameters,
    coordinates: &'a [Coordinate],
    x: &'a [f64],
    other: &'a [f64],
    s: f64,
    /// κ e⁻ˢ.
    decay: f64,
}

impl Pair<'_> {
    /// The covariance of the values, k.
    pub fn covariance(&self) -> f64 {
        self.decay * (1.0 + self.s + self.s * self.s / 3.0)
    }

    /// ∂k/∂xⱼ, x being the first point, for a coordinate that is a number.
    pub fn slope(&self, j: usize) -> f64 {
        2.0 * self.parameters.inverse_squares[j] * (self.x[j] - self.other[j]) * self.by_square()
    }

    /// The derivative of k by the logarithm of an inverse squared length scale.
    pub fn by_log_scale(&self, m: usize) -> f64 {
        self.parameters.inverse_squares[m]
            * distance(self.coordinates, m, self.x[m], self.other[m]).powi(2)
            * self.by_square()
    }

    /// ∂k/∂q.
    fn by_square(&self) -> f64 {
        -5.0 / 6.0 * self.decay * (1.0 + self.s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (x, y) = ([0.3, 0.8, 0.55], [0.45, 0.1, 0.5]);
        for y in [&x, &y] {
            for j in 0..3 {
                is_difference(parameters().pair(&[], &x, y).slope(j), |h| {
                    let mut x = x;
                    x[j] += h;
                    parameters().pair(&[], &x, y).covariance()
                });
                is_difference(parameters().pair(&[], &x, y).by_log_scale(j), |h| {
                    let mut moved = parameters();
                    moved.inverse_squares[j] *= h.exp();
                    moved.pair(&[], &x, y).covariance()
                });
            }
        }
    }
}
