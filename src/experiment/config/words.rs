//! What settings mean, said once: the help of the command line, the schema of configurations and the formulas in
//! docs/choosing.md are these texts. Tests hold them against what is computed.

#![expect(missing_docs, reason = "each constant is the text that documents its setting")]

use crate::data::har::{TEST_SUBJECTS, VALIDATION_SUBJECTS};

/// What a device is called besides `auto`.
macro_rules! devices {
    () => {
        "`cpu`, `reference` (f64: slow, exact), or an adapter's number or part of its name as `stackelberg devices` \
         lists them"
    };
}

pub const DATA: &str = "Windows to learn from: `builtin` (the UCI HAR data, 30 people), `subset` (12 of them), or the \
                        path of the data set as downloaded: a folder, a zip, or a folder that holds one of them up to \
                        two levels below";
pub const TASK: &str = "What the network is to learn of a window";
pub const NETWORK: &str = "Network to train: `narrow` (8 filters, 16 hidden units) or `paper` (64 and 100), the Conv1D \
                           network of the first paper; `mlp`; for images `cnn2d`; with residual blocks and batch norm \
                           `resnet1d`, `resnet2d`; for signals `towers`, a convolution for each channel, and `dilated`, \
                           causal ones; or the path of a JSON file with layers";
pub const STEPS: &str =
    "Training steps T of the inner problem; the method says how many of them are differentiated through";
pub const BUDGET: &str = "What the run may cost: a number of trainings, of which a hypergradient through all steps counts \
                          as 3.6, or a time such as 90s or 10min. The best of what was tried is the result whenever it \
                          ends";
pub const OUTER: &str = "End after this many outer iterations, each a training at other hyperparameters, with or without \
                         its hypergradient, even if the budget would allow more";
pub const OUTER_METHOD: &str = "How the hyperparameters are moved: `probe-descent` tries along a hypergradient by plain \
                                trainings, which cost a third of one, `guarded-adam` takes a hypergradient and a step \
                                of Adam at a time, kept from the edge of stability, `adam` the same with steps to much \
                                larger losses taken back; without hypergradients, between the ends of usual ranges, \
                                `random`, `sobol` (evenly spread) and `gp` (where a Gaussian process expects the most); \
                                `auto` is guarded-adam where there are many of a kind \
                                (example weights, a rate per step, first weights) and else probe-descent";
pub const BATCH: &str = "Windows in a training batch: drawn anew for each step, none twice";
pub const OPTIMIZER: &str = "How the inner problem is trained";
pub const METHOD: &str = "How the outer loss is differentiated: `reverse` through all steps, `forward` along with \
                          them, `truncated:K` through the last K, or at the end as if it were a stationary point \
                          (`implicit:K`, K iterations of conjugate gradients on the normal equations) or a fixed \
                          point (`fixed-point:K`)";
pub const HYPERPARAMETERS: &str = "What to tune, on the command line separated by commas; the rest keeps its start \
                                   value. Where nothing is named: of sgd lr,l2, of adam lr,betas,l2, of the others \
                                   lr,momentum,l2; of those with -hd the same as without. Example weights and factors (lr-layers, lr-schedule, initial-scale) \
                                   start from 1";
pub const LEARNING_RATE: &str = "Learning rate η to start from; the usual one depends on optimizer and batch: 0.04 is \
                                 that of momentum on batches of 64";
pub const DECAY: &str = "How the learning rate falls to nothing towards the last step: `tail` in a straight line over \
                         the last quarter of the steps (`tail:S` over the share S), `linear` over all of them, `cosine` \
                         along half a cosine over all of them (`cosine:S`), or not at all (`none`, usual with \
                         optimizers -hd). The learning rate that is set, tuned and recorded is the one before";
pub const MOMENTUM: &str = "Momentum μ to start from, above 0 and below 1";
pub const BETAS: &str = "Adam's decay rates to start from, β₁ of the mean of the gradient and β₂ of that of its \
                         square, above 0 and at most 0.999999";
pub const EPSILON: &str = "Adam's ε to start from: a step divides by √(v̂ + ε²), v̂ being the bias-corrected mean \
                           square of the gradient (published Adam divides by √v̂ + ε)";
pub const HYPERGRADIENT_RATE: &str = "Step size β of hypergradient descent on the learning rate, with optimizers -hd; the \
                                      usual one depends on the optimizer";
pub const RATE: &str = "Samples a second to which recordings of your own are resampled; measured on their times where it \
                        is not given";
pub const WINDOW_LENGTH: &str = "Samples of a window of recordings of your own; 2.56 seconds where it is not given";
pub const OVERLAP: &str = "Share of a window of recordings of your own that the next one repeats, from 0 to below 1; half \
                           where it is not given";
pub const COLUMNS: &str = "What is where in recordings of your own, guessed where it is not said (`stackelberg data inspect \
                           PATH` shows it), such as \"time=t; label=activity; person=folder; channels=ax, ay, az; \
                           unlabelled=0\". Columns go by name or number; label and person may also be `folder`, `folder 2`, \
                           `file`, `file word 2` or `none`; beside these time_unit (s, ms, us, ns, iso, count), label_rule \
                           (majority, pure), filter (uci: the recipe of UCI HAR) and, where each row is a window, row_signals";
pub const MOMENTUM_HYPERGRADIENT_RATE: &str = "Step size β₂ of hypergradient descent on the momentum, with optimizers -hd \
                                               whose momentum moves; the usual one depends on the optimizer";
pub const L2: &str = "L2 penalty λ of each layer to start from: ½ λ ‖W‖² is added to the training loss, W being the \
                      layer's kernel (biases are not penalised), so the gradient gets λ W";
pub const OUTER_RATE: &str = "Rate of the outer optimiser: about how far the log of a hyperparameter (the logit where it \
                              lies between 0 and 1) moves in its first step; usually 0.4, with guarded-adam 0.15. \
                              Later steps are longer or shorter by what came of those before; with adam they are 8/k of \
                              it from the 9th on, and half as far after a step taken back. Schedules and the initial \
                              scale move a quarter as far, initial weights 1/400";
pub const EXAMPLE_WEIGHT_RATE: &str = "The outer rate of example weights; usually 0.3, with adam 0.25";
pub const MISLABELLED: &str = "Give this share of the training windows a wrong label on purpose, drawn by the seed, to see \
                               what learned example weights make of it; the people validated and tested on keep theirs";
pub const DROPOUT: &str = "Share p of the activations at each dropout layer of the network (of `narrow` and `paper` behind \
                           the second convolution) that are set to 0 during training; the others are divided by 1 − p. Where p is tuned, each is multiplied by 1 + ξ √(p / (1 − p)) in \
                           its place, ξ standard normal";
pub const JITTER: &str = "Standard deviation of noise added to the scaled windows during training (their own is 1, or \
                          where the next sample is predicted their range is); where it is tuned and 0, it starts from \
                          0.05";
pub const SCALING: &str = "Standard deviation of a random factor, about 1, on each channel of a window during \
                           training; where it is tuned and 0, it starts from 0.1";
pub const PATIENCE: &str = "End when what this many trainings cost has brought the outer loss down by less than 1 %; 0 \
                            never does";
pub const VALIDATION_WINDOWS: &str = "Take the outer loss on a fixed random choice of this many validation windows, or \
                                      on all where there are fewer";
pub const FOLDS: &str = "Take the outer loss as the mean over this many folds of the people who are not tested on: each \
                         fold is validated on once, by a training on the others, so a training costs as many. The \
                         result is trained on all of them at the end";
pub const SELECTION_PEOPLE: &str = "Keep this many of the people to validate on, the last ones, from the outer loss: the \
                                    iteration that is kept, and when the run ends for want of gains, is decided on them. By \
                                    default none where at most 20 numbers are tuned, which fit nobody by heart, and else \
                                    two fifths of these people";
pub const MEMORY_BUDGET: &str = "Bytes that the arrays of the run may take on the device; buffers for reading back and \
                                 for scoring come on top. What is left beside the training states keeps results of \
                                 the last steps for reverse and truncated mode; with less, these compute more states \
                                 again. The bits are the same; a run that needs more is refused";
pub const SEED: &str = "Seed of everything random: initial weights, batches, masks and noise of the training, the \
                        choice of validation windows. The same seed on the same device gives the same bits";
pub const DEVICE: &str = concat!(
    "Where to compute: `auto` (the faster of the first GPU and the processor, by a training step of this very run), ",
    devices!()
);
/// The device of a command that has no run to time.
pub const DEVICE_UNTIMED: &str =
    concat!("Where to compute: `auto` (the first GPU, or the processor where there is none), ", devices!());

/// The training loss. Of the outer loss there are neither weights nor penalties.
pub const INNER_LOSS: &str = "the mean over the batch of weight · loss, plus ½ Σ λ ‖W‖² over the layers; the weights \
                              multiply and are not normalised";

/// The people validated on.
pub fn validation_subjects() -> String {
    format!(
        "People to validate on, separated by commas [default: those of {} that the data hold, else the last fifth of \
         those not tested on]",
        listed(&VALIDATION_SUBJECTS)
    )
}

/// The people tested on.
pub fn test_subjects() -> String {
    format!("People to test on, separated by commas [default: those of {} that the data hold]", listed(&TEST_SUBJECTS))
}

fn listed(people: &[u32]) -> String {
    people.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::hyperparameters::Kind;
    use crate::bilevel::{Loss, TrainingLoss};
    use crate::experiment::config::{TuneConfig, usual_hyperparameters};
    use crate::interp::eval;
    use crate::ir::{DType, Graph};
    use crate::nn::optim::{self, Adam, Optimizer, named, plain};
    use crate::nn::{Layer, Model};

    /// The states of one weight after each of some steps along gradients of that size.
    fn path(optimizer: &dyn Optimizer, gradients: &[f64], scalars: &[f64]) -> Vec<Vec<f64>> {
        let mut g = Graph::new();
        let state = g.input("state", &[optimizer.state_len(1)], DType::F32);
        let gradient = g.input("gradient", &[1], DType::F32);
        let eta = g.input("eta", &[1], DType::F32);
        let named: Vec<_> = scalars.iter().map(|_| g.input("scalar", &[1], DType::F32)).collect();
        let next = optimizer.step(&mut g, state, gradient, eta, &named);
        let mut state = vec![0.0; optimizer.state_len(1)];
        state[0] = 0.5;
        let mut states = vec![state];
        for gradient in gradients {
            let mut inputs = vec![states[states.len() - 1].clone(), vec![*gradient], vec![0.25]];
            inputs.extend(scalars.iter().map(|scalar| vec![*scalar]));
            states.push(eval(&g, &[next], &inputs).remove(0));
        }
        states
    }

    #[test]
    fn optimizers_do_what_their_formulas_say() {
        const ETA: f64 = 0.25;
        let gradients = [1.0, -0.5, 2.0];
        let mu = 0.75;
        for optimizer in plain().into_iter().filter(|optimizer| optimizer.scalars().len() < 2) {
            let (text, scalars) = (optimizer.formula(), &[mu][..optimizer.scalars().len()]);
            let (mut w, mut before, mut v) = (0.5, 0.5, 0.0);
            for (state, g) in path(&*optimizer, &gradients, scalars)[1..].iter().zip(gradients) {
                v = mu * v + g;
                let next = match optimizer.name() {
                    "sgd" => w - ETA * g,
                    "momentum" => w - ETA * v,
                    "heavy-ball" => w - ETA * g + mu * (w - before),
                    _ => w - ETA * (g + mu * v),
                };
                (before, w) = (w, next);
                assert!((state[0] - w).abs() < 1e-12, "{text}: {} {w}", state[0]);
            }
        }
    }

    /// A mean square so small that ε and ε², and a place inside and outside the root, are far apart.
    #[test]
    fn adams_epsilon_stands_where_its_text_says() {
        let (beta1, beta2, epsilon, g) = (0.9, 0.999, 1e-5, 1e-5);
        let state = path(&Adam(optim::Epsilon::Inside), &[g], &[beta1, beta2, epsilon]).remove(1);
        let formula = Adam(optim::Epsilon::Inside).formula();
        let (m_hat, v_hat) = (g, g * g);
        let step = |spread: f64| 0.5 - 0.25 * m_hat / spread;
        assert!((state[0] - step((v_hat + epsilon * epsilon).sqrt())).abs() < 1e-9, "{formula} {EPSILON}");
        for other in [(v_hat + epsilon).sqrt(), v_hat.sqrt() + epsilon] {
            assert!((state[0] - step(other)).abs() > 1e-2);
        }
        assert!(formula.contains("√(v̂ + ε²)") && EPSILON.contains("√(v̂ + ε²)"));
    }

    #[test]
    fn penalties_are_half_lambda_times_the_squares_of_kernels() {
        let model =
            Model::new(vec![Layer::Dense { name: "dense".to_owned(), inputs: 2, outputs: 1, bias: true }], &[2])
                .unwrap();
        let mut g = Graph::new();
        let theta = g.input("theta", &[3], DType::F32);
        let l2_log = g.input("l2_log", &[1], DType::F32);
        let weights = g.input("weights", &[2], DType::F32);
        let output = g.input("output", &[2, 1], DType::F32);
        let target = g.input("target", &[2, 1], DType::F32);
        let loss =
            TrainingLoss { model: &model, loss: Loss::MeanSquaredError, l2_log: Some(l2_log), weights: Some(weights) };
        let value = loss.of_output(&mut g, theta, output, target);
        let bias = model.parameters().iter().find(|p| !p.is_kernel()).unwrap().offset;
        let mut theta = vec![2.0, 2.0, 2.0];
        theta[bias] = 1000.0;
        let lambda: f64 = 0.1;
        let inputs = [theta, vec![lambda.ln()], vec![0.5, 3.0], vec![1.0, 2.0], vec![0.0, 0.0]].to_vec();
        let value = eval(&g, &[value], &inputs)[0][0];
        // Losses 1 and 4 with the weights ½ and 3, and ½ λ (2² + 2²); the bias has no part in it.
        let expected = (0.5 * 1.0 + 3.0 * 4.0) / 2.0 + 0.5 * lambda * 8.0;
        assert!((value - expected).abs() < 1e-9, "{INNER_LOSS} {L2}: {value} {expected}");
    }

    #[test]
    fn usual_hyperparameters_are_those_of_the_text() {
        let usual = |optimizer: &dyn Optimizer| {
            usual_hyperparameters(optimizer).iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
        };
        let (sgd, adam, other) = (usual(&optim::Sgd), usual(&Adam(optim::Epsilon::Inside)), usual(&optim::Nesterov));
        let text =
            format!("of sgd {sgd}, of adam {adam}, of the others {other}; of those with -hd the same as without.");
        assert!(HYPERPARAMETERS.contains(&text), "{text}");
        for hd in named() {
            let without: optim::Dynamics = hd.name().split("-hd").next().unwrap().parse().unwrap();
            assert_eq!(usual(&*hd), usual(&*without), "{hd:?}");
        }
        let with_training = crate::experiment::setup::with_training;
        for (kind, start) in [(Kind::ExampleWeights, 1.0), (Kind::LrLayers, 1.0), (Kind::InitialScale, 1.0)] {
            let config = TuneConfig { hyperparameters: vec![kind], ..TuneConfig::default() };
            let problem = crate::experiment::setup::problem(&config, &with_training(10)).unwrap();
            let point = crate::experiment::setup::start_values(&config, &problem);
            let values = point.values(kind);
            assert!(!values.is_empty() && values.iter().all(|value| (value - start).abs() < 1e-12), "{values:?}");
        }
    }

    #[test]
    fn every_network_by_name_is_told_of() {
        for entry in crate::nn::zoo::ZOO {
            assert!(NETWORK.contains(&format!("`{}`", entry.name)), "{}", entry.name);
        }
    }

    /// The outer rate as it is in the first and a later iteration, and for what moves less.
    #[test]
    fn the_outer_rate_is_what_its_text_says() {
        use crate::bilevel::outer::{OuterAdam, OuterOptimizer};
        let config = TuneConfig::default();
        let rate = |kind| crate::experiment::setup::outer_rate(&config, kind) / config.setting("outer_rate")[0];
        assert_eq!([Kind::Lr, Kind::LrSchedule, Kind::InitialScale].map(rate), [1.0, 0.25, 0.25]);
        assert!((rate(Kind::InitialWeights) - 1.0 / 400.0).abs() < 1e-12);
        let mut adam = OuterAdam::new(1, 1.0);
        let mut u = [0.0];
        let steps: Vec<f64> = (1..=16)
            .map(|_| {
                let before = u[0];
                adam.step(&mut u, 1.0, &[1.0]);
                before - u[0]
            })
            .collect();
        for (k, step) in (1..).zip(&steps) {
            assert!((step - (8.0 / f64::from(k)).min(1.0)).abs() < 1e-6, "iteration {k}: {step}");
        }
        let at = u[0];
        adam.step(&mut u, f64::NAN, &[1.0]);
        let accepted = at + steps[15];
        assert!(((accepted - u[0]) / steps[15] - 0.5).abs() < 1e-6, "half as far: {}", accepted - u[0]);
    }

    #[test]
    fn the_documentation_has_the_same_formulas() {
        let texts = [EPSILON, L2, DROPOUT, INNER_LOSS, DECAY, OUTER_RATE];
        let formulas = named().into_iter().map(|optimizer| optimizer.formula()).chain(texts);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/choosing.md");
        let text = std::fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for formula in formulas {
            assert!(text.contains(formula), "docs/choosing.md lacks: {formula}");
        }
    }
}
