//! Cholesky factors of dense matrices, by rows.

/// The lower factor L of a positive definite matrix L Lᵀ.
pub struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors the matrix whose lower triangle has these rows; none if it is not positive definite.
    pub fn new(mut rows: Vec<Vec<f64>>) -> Option<Self> {
        for i in 0..rows.len() {
            let (before, from) = rows.split_at_mut(i);
            let row = &mut from[0];
            for (j, other) in before.iter().enumerate() {
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            // Not a number is no pivot either.
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[i] = pivot.sqrt();
        }
        Some(Self { rows })
    }

    /// L⁻¹ b; of a shorter b with the beginning of L.
    pub fn forward(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = Vec::with_capacity(b.len());
        for (i, (row, b)) in self.rows.iter().zip(b).enumerate() {
            x.push((b - dot(&row[..i], &x)) / row[i]);
        }
        x
    }

    /// L⁻ᵀ b.
    pub fn backward(&self, mut b: Vec<f64>) -> Vec<f64> {
        for (i, row) in self.rows.iter().enumerate().rev() {
            b[i] /= row[i];
            let last = b[i];
            add(&mut b[..i], -last, &row[..i]);
        }
        b
    }

    /// The solution x of L Lᵀ x = b.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        self.backward(self.forward(b))
    }

    /// The lower triangle of the inverse matrix, by rows.
    pub fn inverse(&self) -> Vec<Vec<f64>> {
        // The rows of L⁻¹ by substitution, then L⁻ᵀ L⁻¹ as a sum over them.
        let mut lower: Vec<Vec<f64>> = Vec::with_capacity(self.rows.len());
        for (i, row) in self.rows.iter().enumerate() {
            let mut new = vec![0.0; i + 1];
            new[i] = 1.0 / row[i];
            for (factor, before) in row.iter().zip(&lower) {
                add(&mut new, -factor / row[i], before);
            }
            lower.push(new);
        }
        let mut inverse: Vec<Vec<f64>> = lower.iter().map(|row| vec![0.0; row.len()]).collect();
        for row in &lower {
            for (sum, factor) in inverse.iter_mut().zip(row) {
                add(sum, *factor, row);
            }
        }
        inverse
    }

    /// ln det L.
    pub fn log_determinant(&self) -> f64 {
        self.log_diagonal().sum()
    }

    /// The logarithms of the diagonal of L.
    pub fn log_diagonal(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().enumerate().map(|(i, row)| row[i].ln())
    }

    /// A row of L, up to its diagonal.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.rows[i]
    }
}

/// Adds `factor` times the first entries of `b` to `a`, as many as both have.
fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

/// Σ aᵢ bᵢ, in eight sums side by side for vector instructions.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (a, b) in a.zip(b) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_solution_inverse_and_determinant_belong_to_one_matrix() {
        let n = 19;
        let entry = |i: usize, j: usize| 1.0 / (1.0 + i.abs_diff(j) as f64) + if i == j { 0.5 } else { 0.0 };
        let matrix = || (0..n).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect();
        let factor = Cholesky::new(matrix()).unwrap();
        let b: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let x = factor.solve(&b);
        let inverse = factor.inverse();
        for i in 0..n {
            let product: f64 = (0..n).map(|j| entry(i, j) * x[j]).sum();
            assert!((product - b[i]).abs() < 1e-12, "row {i}");
            let solved: f64 = (0..n).map(|j| inverse[i.max(j)][i.min(j)] * b[j]).sum();
            assert!((solved - x[i]).abs() < 1e-12, "row {i} of the inverse");
        }
        let three = Cholesky::new(vec![vec![4.0], vec![2.0, 5.0], vec![0.0, 2.0, 2.0]]).unwrap();
        assert!((three.log_determinant() - 16f64.ln() / 2.0).abs() < 1e-14);
        assert!(Cholesky::new(vec![vec![1.0], vec![2.0, 1.0]]).is_none(), "not positive definite");
        assert!(Cholesky::new(vec![vec![f64::NAN]]).is_none());
    }
}
