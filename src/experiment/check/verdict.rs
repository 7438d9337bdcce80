//! What answers have to say of each other, and what a check came to.

use serde::Serialize;

use super::part::Size;

/// What one way gives for the derivative along each direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// `reverse mode`, `forward mode` or `differences`.
    pub method: String,
    /// The engine that computed it.
    pub engine: String,
    /// The derivatives, one a direction.
    pub values: Vec<f64>,
    /// How far each may be off though nothing is wrong.
    pub uncertainty: Vec<f64>,
    /// The steps of differences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<f64>,
}

/// What two answers have to say of each other along a direction. The worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// They differ by no more than they may, and that is little beside them.
    Agree,
    /// They may differ by so much that agreeing says nothing.
    Unsettled,
    /// They differ by more than they may.
    Disagree,
}

/// Two answers side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Places in the list of answers.
    pub answers: [usize; 2],
    /// Between the two vectors of derivatives, in degrees.
    pub angle: f64,
    /// Length of their difference over that of the second.
    pub relative_error: f64,
    /// Along each direction.
    pub verdicts: Vec<Verdict>,
    /// The relative error of one of the two that is sure to show, along each direction: twice what they may differ by,
    /// over the smaller.
    pub shows: Vec<f64>,
}

impl Comparison {
    /// Of all directions together: the worst.
    pub fn verdict(&self) -> Verdict {
        self.verdicts.iter().copied().max().unwrap_or(Verdict::Unsettled)
    }

    /// The relative error that is sure to show along every direction that is settled and not exactly zero; none where
    /// none is.
    pub fn shown(&self) -> Option<f64> {
        let settled = self.shows.iter().zip(&self.verdicts).filter(|(_, verdict)| **verdict == Verdict::Agree);
        settled.map(|(shows, _)| *shows).filter(|shows| shows.is_finite()).reduce(f64::max)
    }
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All answers agree along every direction.
    Passed,
    /// The same, but the hypergradient is rough there, as an [`Edge`] says.
    Edge,
    /// Nothing disagrees, but in f64 differences cannot tell along some direction.
    Unsettled,
    /// Two answers disagree along a direction.
    Failed,
}

/// What was computed in one precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answers {
    /// How much of the settings was gone through.
    pub size: Size,
    /// Outer loss E at the point.
    pub outer_loss: f64,
    /// Reverse mode, forward mode and, in f64, differences.
    pub answers: Vec<Answer>,
    /// Each with each.
    pub comparisons: Vec<Comparison>,
    /// The worst of all comparisons along each direction.
    pub verdicts: Vec<Verdict>,
}

impl Answers {
    pub(super) fn new(size: Size, outer_loss: f64, answers: Vec<Answer>, mark: impl Fn(Deviation) -> Verdict) -> Self {
        let pairs = (0..answers.len()).flat_map(|b| (0..b).map(move |a| [a, b]));
        let scale = norm(&answers[0].values).max(outer_loss.abs());
        let comparisons: Vec<Comparison> = pairs.map(|pair| compare(&answers, pair, scale, &mark)).collect();
        let worst = |k: usize| comparisons.iter().map(|comparison| comparison.verdicts[k]).max();
        let verdicts = (0..answers[0].values.len()).filter_map(worst).collect();
        Answers { size, outer_loss, answers, comparisons, verdicts }
    }

    fn verdict(&self) -> Verdict {
        self.verdicts.iter().copied().max().unwrap_or(Verdict::Unsettled)
    }
}

/// The device's part of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDevice {
    /// Its training ended in finite numbers.
    Answered {
        /// What it gave.
        #[serde(flatten)]
        answers: Answers,
        /// By how much neighbouring points' hypergradients scatter, over the length of one.
        scatter: f64,
        /// Why it is rough there, if it is.
        edge: Option<Edge>,
    },
    /// Its training diverges, here or beside here.
    Diverged {
        /// How much of the settings was gone through.
        size: Size,
    },
}

/// How a point shows that its hypergradient, though exact, is rough: by one of two measurements, which need not agree. A run
/// makes only the second, of learning rate and momentum, and calls it the edge of stability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// Hypergradients at points that differ in their last digits differ by more than [`SCATTER`].
    Scatter,
    /// A derivative in the logarithm of a scalar is more than [`STEEP`] times the loss.
    Steep,
}

/// Past this share of a hypergradient's length, what its neighbours scatter by makes it noise.
pub const SCATTER: f64 = 0.01;

/// Derivatives beyond this many times the outer loss (of 0.05 at least) do not describe it over any step worth taking.
pub const STEEP: f64 = 5.0;

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GradientCheck {
    /// Names of the directions.
    pub directions: Vec<String>,
    /// In f64.
    pub exact: Answers,
    /// None where there is no device besides.
    pub device: Option<OnDevice>,
    /// What both parts come to.
    pub outcome: Outcome,
}

impl GradientCheck {
    pub(super) fn new(directions: Vec<String>, exact: Answers, device: Option<OnDevice>) -> Self {
        let there = match &device {
            Some(OnDevice::Answered { answers, edge, .. }) => (answers.verdict(), edge.is_some()),
            Some(OnDevice::Diverged { .. }) => (Verdict::Agree, true),
            None => (Verdict::Agree, false),
        };
        let outcome = match (exact.verdict().max(there.0), there.1) {
            (Verdict::Disagree, _) => Outcome::Failed,
            (Verdict::Unsettled, _) => Outcome::Unsettled,
            (Verdict::Agree, true) => Outcome::Edge,
            (Verdict::Agree, false) => Outcome::Passed,
        };
        GradientCheck { directions, exact, device, outcome }
    }

    /// Names of the directions with a verdict.
    pub fn along(&self, verdicts: &[Verdict], verdict: Verdict) -> Vec<&str> {
        let those = self.directions.iter().zip(verdicts).filter(|(_, of)| **of == verdict);
        those.map(|(name, _)| name.as_str()).collect()
    }
}

/// The relative error of differences that has to be sure to show for a direction to be settled.
pub const SETTLED: f64 = 0.1;

/// On the device, modes may differ by this share of a derivative whatever the rounding that was measured.
pub const MODES: f64 = 0.01;

/// What two answers differ by along a direction.
pub(super) struct Deviation {
    off: f64,
    /// By what is explained.
    allowed: f64,
    /// The larger of the two.
    value: f64,
    /// The relative error that is sure to show.
    shows: f64,
    /// The length of the whole hypergradient, or the loss if that is larger.
    scale: f64,
}

/// A derivative of this share of the whole is as good as none, and so is an uncertainty of that.
const NEGLIGIBLE: f64 = 1e-8;
const LITTLE: f64 = 1e-6;

impl Deviation {
    /// In f64, where next to nothing is explained.
    pub(super) fn exact(self) -> Verdict {
        match self {
            // No answer moves at all.
            Deviation { value: 0.0, .. } => Verdict::Agree,
            // The training diverges on the way to every difference.
            Deviation { allowed: f64::INFINITY, .. } => Verdict::Unsettled,
            Deviation { off, allowed, .. } if off.is_nan() || off > allowed => Verdict::Disagree,
            Deviation { shows, .. } if shows < SETTLED => Verdict::Agree,
            Deviation { value, allowed, scale, .. } if value < NEGLIGIBLE * scale && allowed < LITTLE * scale => {
                Verdict::Agree
            }
            _ => Verdict::Unsettled,
        }
    }

    /// In single precision.
    pub(super) fn rounded(self) -> Verdict {
        let Deviation { off, allowed, value, .. } = self;
        if off <= allowed.max(MODES * value) { Verdict::Agree } else { Verdict::Disagree }
    }
}

pub(super) fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn compare(answers: &[Answer], pair: [usize; 2], scale: f64, mark: &impl Fn(Deviation) -> Verdict) -> Comparison {
    let [a, b] = pair.map(|k| &answers[k]);
    let off: Vec<f64> = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).collect();
    let (length, other) = (norm(&b.values), norm(&a.values));
    // Kahan's formula, which is exact for small angles too.
    let unit = |sign: f64| -> Vec<f64> {
        a.values.iter().zip(&b.values).map(|(a, b)| a / other + sign * b / length).collect()
    };
    let angle = 2.0 * norm(&unit(-1.0)).atan2(norm(&unit(1.0)));
    let (mut shows, mut verdicts) = (vec![], vec![]);
    for (k, &off) in off.iter().enumerate() {
        let [x, y] = [a, b].map(|answer| answer.values[k].abs());
        let allowed = a.uncertainty[k] + b.uncertainty[k];
        let show = 2.0 * allowed / x.min(y);
        shows.push(show);
        verdicts.push(mark(Deviation { off, allowed, value: x.max(y), shows: show, scale }));
    }
    Comparison { answers: pair, angle: angle.to_degrees(), relative_error: norm(&off) / length, verdicts, shows }
}

#[cfg(test)]
mod tests {
    use super::super::EXACT;
    use super::*;

    const MODE: [f64; 2] = [-0.2, 2e-5];

    fn answer(values: &[f64], uncertainty: &[f64]) -> Answer {
        let (values, uncertainty) = (values.to_vec(), uncertainty.to_vec());
        Answer { method: String::new(), engine: String::new(), values, uncertainty, steps: vec![] }
    }

    fn exact(differences: Answer) -> Answers {
        let mode = answer(&MODE, &[1e-12, 1e-15]);
        Answers::new(EXACT, 1.0, vec![mode.clone(), mode, differences], Deviation::exact)
    }

    fn check(exact: Answers, device: Option<OnDevice>) -> GradientCheck {
        GradientCheck::new(["learning_rate", "l2"].map(str::to_owned).to_vec(), exact, device)
    }

    fn sound() -> Answers {
        exact(answer(&MODE, &[1e-6, 1e-9]))
    }

    fn on_device(forward: &[f64], edge: Option<Edge>) -> Option<OnDevice> {
        let answers = vec![answer(&MODE, &[1e-6, 1e-6]), answer(forward, &[1e-6, 1e-6])];
        let answers = Answers::new(EXACT, 1.0, answers, Deviation::rounded);
        Some(OnDevice::Answered { answers, scatter: 1e-5, edge })
    }

    #[test]
    fn a_large_derivative_hides_no_small_one() {
        use Verdict::{Agree, Disagree, Unsettled};
        // The whole vector's length is far above what it may be off by, and says nothing of its second entry.
        let rough = check(exact(answer(&[-0.2, 9e-5], &[1e-4, 2e-4])), None);
        assert_eq!((rough.outcome, &rough.exact.verdicts[..]), (Outcome::Unsettled, &[Agree, Unsettled][..]));
        assert_eq!(rough.along(&rough.exact.verdicts, Unsettled), ["l2"]);
        let wrong = check(exact(answer(&[-0.2, 3e-5], &[1e-4, 1e-6])), None);
        assert_eq!((wrong.outcome, &wrong.exact.verdicts[..]), (Outcome::Failed, &[Agree, Disagree][..]));
        assert_eq!(check(sound(), None).outcome, Outcome::Passed);
        // On the device, what rounding explains of a small derivative is no disagreement.
        assert_eq!(check(sound(), on_device(&[-0.2, 2.1e-5], None)).outcome, Outcome::Passed);
        assert_eq!(check(sound(), on_device(&[-0.2, 2.4e-5], None)).outcome, Outcome::Failed);
    }

    #[test]
    fn the_outcome_is_the_worst_of_both_precisions() {
        let edge = on_device(&MODE, Some(Edge::Steep));
        assert_eq!(check(sound(), edge.clone()).outcome, Outcome::Edge);
        assert_eq!(check(sound(), Some(OnDevice::Diverged { size: EXACT })).outcome, Outcome::Edge);
        assert_eq!(check(exact(answer(&[0.2, 2e-5], &[1e-6, 1e-9])), edge).outcome, Outcome::Failed);
        assert_eq!(check(sound(), on_device(&[0.2, 2e-5], Some(Edge::Scatter))).outcome, Outcome::Failed);
    }

    #[test]
    fn rough_differences_neither_pass_nor_fail() {
        for rough in [answer(&MODE, &[0.4, 1e-3]), answer(&[f64::NAN; 2], &[f64::INFINITY; 2])] {
            assert_eq!(check(exact(rough), None).outcome, Outcome::Unsettled);
        }
        assert_eq!(check(exact(answer(&[f64::NAN; 2], &[1e-3; 2])), None).outcome, Outcome::Failed);
    }

    /// Where rounding alone is left of a derivative, that decides nothing.
    #[test]
    fn a_derivative_that_is_zero_but_for_rounding_is_agreed_on() {
        let mode = |value| answer(&[-0.2, value], &[1e-12, 1e-14]);
        let differences = answer(&[-0.2, 0.0], &[1e-9, 1.9e-10]);
        let answers = Answers::new(EXACT, 1.0, vec![mode(2.1e-20), mode(9.5e-20), differences], Deviation::exact);
        assert_eq!(check(answers, None).outcome, Outcome::Passed);
        // A millionth of the whole is no rounding.
        let differences = answer(&[-0.2, 1e-6], &[1e-9, 1.9e-10]);
        let answers = Answers::new(EXACT, 1.0, vec![mode(2.1e-20), mode(9.5e-20), differences], Deviation::exact);
        assert_eq!(check(answers, None).outcome, Outcome::Failed);
    }

    #[test]
    fn a_derivative_that_every_answer_calls_zero_is_zero() {
        let zero = answer(&[-0.2, 0.0], &[1e-9, 0.0]);
        let differences = answer(&[-0.2, 0.0], &[1e-9, 1e-12]);
        let answers = Answers::new(EXACT, 1.0, vec![zero.clone(), zero.clone(), differences], Deviation::exact);
        assert_eq!(check(answers, None).outcome, Outcome::Passed);
        let moved = answer(&[-0.2, 1e-3], &[1e-9, 1e-12]);
        let answers = Answers::new(EXACT, 1.0, vec![zero.clone(), zero, moved], Deviation::exact);
        assert_eq!(check(answers, None).outcome, Outcome::Failed);
    }
}
