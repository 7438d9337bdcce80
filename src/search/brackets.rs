//! How many trials train how long before the worse ones are stopped: the tables of Hyperband.

/// Whose table it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// Li et al. 2018: ⌈(s_max + 1) ηˢ / (s + 1)⌉ trials, of which ⌊n η⁻ⁱ⌋ reach rung i.
    #[default]
    Paper,
    /// Ray 2.60.0: as many, of which ⌈n / η⌉ survive each round; whole budgets; the bracket without halving comes first.
    Ray,
    /// HpBandSter 0.7.4: ⌊(s_max + 1) / (s + 1)⌋ ηˢ trials; s_max by a truncated logarithm.
    HpBandSter,
}

/// So many trials train up to a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// Trials that get there.
    pub trials: u64,
    /// Their budget, in the unit of the greatest; it need not be whole.
    pub budget: f64,
}

/// The brackets from a least to a greatest budget (Ray: from 1), in the order in which they are begun. Ray's can be empty.
/// Budgets are 1 at least, and the factor 2.
pub fn brackets(table: Table, least: u64, most: u64, factor: u64) -> Vec<Vec<Rung>> {
    let (least, factor) = (least.max(1), factor.max(2));
    let most = most.max(least);
    match table {
        Table::Paper => paper(least, most, factor),
        Table::Ray => ray(most, factor),
        Table::HpBandSter => hp_band_ster(least, most, factor),
    }
}

fn paper(least: u64, most: u64, factor: u64) -> Vec<Vec<Rung>> {
    // By whole numbers: logarithms come out at 3.999…
    let powers: Vec<u64> = std::iter::successors(Some(1u64), |power| power.checked_mul(factor))
        .take_while(|power| power.checked_mul(least).is_some_and(|budget| budget <= most))
        .collect();
    let count = powers.len() as u64;
    let bracket = |s: usize| {
        let trials = (count * powers[s]).div_ceil(s as u64 + 1);
        let rung = |i: usize| Rung { trials: trials / powers[i], budget: most as f64 / powers[s - i] as f64 };
        (0..=s).map(rung).collect()
    };
    (0..powers.len()).rev().map(bracket).collect()
}

fn ray(most: u64, factor: u64) -> Vec<Vec<Rung>> {
    let (most, factor) = (most as f64, factor as f64);
    let last = (most.ln() / factor.ln()).round();
    let bracket = |s: u32| {
        let s = f64::from(s);
        let mut trials = ((last + 1.0) / (s + 1.0) * factor.powf(s)).ceil();
        let mut budget = (most * factor.powf(-s)).floor();
        let mut rungs = vec![];
        while budget > 0.0 && rungs.len() <= s as usize {
            rungs.push(Rung { trials: trials as u64, budget });
            trials = (trials / factor).ceil();
            budget = (budget * factor).min(most).floor();
        }
        rungs
    };
    (0..=last as u32).map(bracket).collect()
}

fn hp_band_ster(least: u64, most: u64, factor: u64) -> Vec<Vec<Rung>> {
    let (most, eta) = (most as f64, factor as f64);
    let count = (-((least as f64 / most).ln() / eta.ln()).trunc()) as u64 + 1;
    let bracket = |s: u64| {
        let trials = (count / (s + 1)) as f64 * eta.powf(s as f64);
        let rung = |i: u64| Rung {
            trials: ((trials * eta.powf(-(i as f64))) as u64).max(1),
            budget: most * eta.powf(-((s - i) as f64)),
        };
        (0..=s).map(rung).collect()
    };
    (0..count).rev().map(bracket).collect()
}

/// Budgets in whole steps: rounded, at least one, each above the one before.
pub fn whole(rungs: &[Rung]) -> Vec<u64> {
    let mut before = 0;
    let step = |rung: &Rung| {
        before = (rung.budget.round() as u64).max(before + 1);
        before
    };
    rungs.iter().map(step).collect()
}

/// The bracket of a trial in Optuna's Hyperband: by the CRC-32 of study and number, in shares of `budgets`.
pub fn optuna_bracket(study: &str, trial: u64, budgets: &[u64]) -> usize {
    let mut place = u64::from(crc32(format!("{study}_{trial}").as_bytes())) % budgets.iter().sum::<u64>().max(1);
    let reached = |budget: &u64| match place.checked_sub(*budget) {
        Some(left) => {
            place = left;
            false
        }
        None => true,
    };
    budgets.iter().position(reached).unwrap_or_default()
}

/// The checksum of zip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_become_whole_and_keep_rising() {
        let steps = |least, most, factor| -> Vec<Vec<u64>> {
            brackets(Table::Paper, least, most, factor).iter().map(|rungs| whole(rungs)).collect()
        };
        assert_eq!(steps(1, 100, 4)[0], [2, 6, 25, 100]);
        assert_eq!(steps(10, 90, 3), [vec![10, 30, 90], vec![30, 90], vec![90]]);
        let close = [0.2, 0.6, 1.8].map(|budget| Rung { trials: 1, budget });
        assert_eq!(whole(&close), [1, 2, 3]);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
