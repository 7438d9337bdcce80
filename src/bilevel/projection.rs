//! Projections onto the sets that outer variables may be kept in (algorithms.md A.10).

/// Moves values to the nearest point of {0 ≤ vᵢ ≤ 1, Σ vᵢ ≤ `budget`}; a negative budget counts as 0.
///
/// That point is clip(v − τ, 0, 1) with the smallest τ ≥ 0 for which the sum is within the budget. The sum is
/// piecewise linear in τ with corners at vᵢ and vᵢ − 1, so τ is found exactly: between the two corners that
/// enclose the budget it is a linear interpolation.
pub fn onto_budgeted_box(values: &mut [f64], budget: f64) {
    let budget = budget.max(0.0);
    let sum = |values: &[f64], shift: f64| values.iter().map(|v| (v - shift).clamp(0.0, 1.0)).sum::<f64>();
    let mut shift = 0.0;
    if sum(values, 0.0) > budget {
        let mut corners: Vec<f64> = values.iter().flat_map(|&v| [v, v - 1.0]).filter(|&corner| corner > 0.0).collect();
        corners.sort_unstable_by(f64::total_cmp);
        // The sum is 0 at the last corner, the largest value.
        let after = corners.partition_point(|&corner| sum(values, corner) > budget);
        let (low, high) = (if after == 0 { 0.0 } else { corners[after - 1] }, corners[after]);
        let (above, below) = (sum(values, low), sum(values, high));
        shift = low + (high - low) * (above - budget) / (above - below);
    }
    values.iter_mut().for_each(|v| *v = (*v - shift).clamp(0.0, 1.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn projected(values: &[f64], budget: f64) -> Vec<f64> {
        let mut point = values.to_vec();
        onto_budgeted_box(&mut point, budget);
        point
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
    }

    /// The largest ⟨c, y⟩ over the set: the largest positive coefficients first, the last one in part.
    fn support(c: &[f64], budget: f64) -> f64 {
        let mut sorted = c.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut left = budget;
        let mut gain = 0.0;
        for c in sorted.into_iter().filter(|&c| c > 0.0) {
            let share = left.clamp(0.0, 1.0);
            gain += share * c;
            left -= share;
        }
        gain
    }

    proptest! {
        #[test]
        fn the_point_is_feasible_nearest_and_stays(
            values in proptest::collection::vec(-2.0f64..3.0, 1..40),
            copies in 1usize..4,
            share in 0.0f64..1.2,
        ) {
            // Equal values make corners coincide.
            let values = values.repeat(copies);
            let n = values.len() as f64;
            let budget = share * n;
            let point = projected(&values, budget);
            prop_assert!(point.iter().all(|v| (0.0..=1.0).contains(v)));
            prop_assert!(point.iter().sum::<f64>() <= budget + 1e-9 * n);
            prop_assert!(distance(&projected(&point, budget), &point) < 1e-18 * n);
            // Nearest means: no y of the set has ⟨v − p, y − p⟩ > 0.
            let normal: Vec<f64> = values.iter().zip(&point).map(|(v, p)| v - p).collect();
            let here: f64 = normal.iter().zip(&point).map(|(c, p)| c * p).sum();
            prop_assert!(support(&normal, budget) - here < 1e-9 * n, "{} {here}", support(&normal, budget));
        }

        #[test]
        fn no_point_of_a_fine_grid_is_nearer(a in -1.0f64..2.0, b in -1.0f64..2.0, c in -1.0f64..2.0, budget in 0.0f64..3.0) {
            let values = [a, b, c];
            let found = distance(&projected(&values, budget), &values);
            let grid = || (0..=20).map(|k| f64::from(k) / 20.0);
            for y in grid().flat_map(|x| grid().flat_map(move |y| grid().map(move |z| [x, y, z]))) {
                prop_assert!(y.iter().sum::<f64>() > budget || distance(&y, &values) > found - 1e-12, "{y:?}");
            }
        }
    }

    #[test]
    fn plain_cases() {
        assert_eq!(projected(&[0.2, -3.0, 7.0], 2.0), [0.2, 0.0, 1.0]);
        assert_eq!(projected(&[0.5, 0.5, 0.5, 0.5], 1.0), [0.25; 4]);
        assert_eq!(projected(&[2.0, 0.75, 0.25], 1.5), [1.0, 0.5, 0.0]);
        assert_eq!(projected(&[5.0, 5.0, 4.0], 1.0), [0.5, 0.5, 0.0]);
        assert_eq!(projected(&[0.3, 0.4], 0.0), [0.0; 2]);
        assert_eq!(projected(&[0.3, 0.4], -1.0), [0.0; 2]);
        assert_eq!(projected(&[], 1.0), [0.0; 0]);
        assert!(projected(&[f64::NAN, 0.5], 0.25)[0].is_nan());
    }
}
