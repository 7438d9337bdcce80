//! The covariance of the function's values at two points: Matérn 5/2 with a length scale for each coordinate.

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

    /// Two points seen together.
    pub(super) fn pair<'a>(&'a self, x: &'a [f64], other: &'a [f64]) -> Pair<'a> {
        let q: f64 =
            self.inverse_squares.iter().zip(x.iter().zip(other)).map(|(a, (x, y))| a * (x - y) * (x - y)).sum();
        let s = (5.0 * q).sqrt();
        Pair { parameters: self, x, other, s, decay: self.signal * (-s).exp() }
    }
}

/// Two points, and how far apart they are.
pub(super) struct Pair<'a> {
    parameters: &'a Parameters,
    x: &'a [f64],
    other: &'a [f64],
    s: f64,
    /// κ e⁻ˢ.
    decay: f64,
}

impl Pair<'_> {
    /// k(x, x').
    pub fn covariance(&self) -> f64 {
        self.decay * (1.0 + self.s + self.s * self.s / 3.0)
    }

    /// ∂k/∂xⱼ.
    pub fn slope(&self, j: usize) -> f64 {
        2.0 * self.parameters.inverse_squares[j] * (self.x[j] - self.other[j]) * self.first()
    }

    /// aⱼ ∂k/∂aⱼ.
    pub fn by_log_scale(&self, j: usize) -> f64 {
        self.parameters.inverse_squares[j] * (self.x[j] - self.other[j]).powi(2) * self.first()
    }

    /// ∂k/∂q, where q = s²/5 is the squared distance.
    fn first(&self) -> f64 {
        -5.0 / 6.0 * self.decay * (1.0 + self.s)
    }
}
