//! The settings of a run as options, shared by the commands that take a configuration.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use miette::NamedSource;
use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::experiment::config::{
    Bytes, ConfigError, DataSource, Differentiation, Dynamics, Network, Task, TuneConfig,
};

use super::CliError;
use super::error::ConfigSyntax;

/// Options that make up a configuration. Those not given keep the value of the base: the
/// configuration file, or the defaults.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    next_help_heading = "Settings (each overrides the same key of --config)",
    args_override_self = true,
    allow_negative_numbers = true
)]
pub struct Settings {
    /// Windows to learn from: `builtin` (the UCI HAR data, 30 people), `subset` (12 of them), or the
    /// path of the data set as downloaded, a folder or a zip [default: builtin]
    #[arg(long, value_name = "PATH", value_parser = |text: &str| Ok::<_, String>(located(text.to_owned().into())))]
    data: Option<DataSource>,

    /// What the network is to learn of a window [default: classification]
    #[arg(long)]
    task: Option<Task>,

    /// Network to train [default: narrow]
    #[arg(long)]
    network: Option<Network>,

    /// Training steps of the inner problem, all of which are differentiated through [default: 200]
    #[arg(long, value_name = "T")]
    pub(super) steps: Option<u32>,

    /// Outer iterations: trainings, each followed by a step on the hyperparameters [default: 20]
    #[arg(long, value_name = "N")]
    outer: Option<u32>,

    /// Windows in a training batch [default: 64]
    #[arg(long, value_name = "N")]
    pub(super) batch: Option<u32>,

    /// How the inner problem is trained [default: momentum]
    #[arg(long)]
    optimizer: Option<Dynamics>,

    /// How the outer loss is differentiated: `reverse` through all steps, `forward` along with them,
    /// `truncated:K` through the last K, or at the end as if it were a stationary point (`implicit:K`,
    /// K iterations of conjugate gradients on the normal equations) or a fixed point (`fixed-point:K`) [default: reverse]
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<Differentiation>,

    /// What to tune, separated by commas; the rest keeps its start value. Of sgd it is lr,l2 and of adam
    /// lr,betas,l2 where nothing is named, of the others [default: lr,momentum,l2]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = kinds())]
    hyperparameters: Option<Vec<Kind>>,

    /// Learning rate to start from [default: 0.001]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,

    /// Momentum to start from, between 0 and 1 [default: 0.5]
    #[arg(long, value_name = "X")]
    momentum: Option<f64>,

    /// Adam's two decay rates to start from, between 0 and 1 [default: 0.9,0.999]
    #[arg(long, value_name = "X,Y", value_parser = two)]
    betas: Option<[f64; 2]>,

    /// Adam's epsilon, inside the root, to start from [default: 1e-5]
    #[arg(long, value_name = "X")]
    epsilon: Option<f64>,

    /// L2 penalty of each layer to start from [default: 0.001]
    #[arg(long, value_name = "X")]
    l2: Option<f64>,

    /// Rate of the outer optimiser (Adam): how far the log of a hyperparameter moves in an iteration
    /// [default: 0.4]
    #[arg(long, value_name = "X")]
    outer_rate: Option<f64>,

    /// The same for example weights [default: 0.25]
    #[arg(long, value_name = "X")]
    example_weight_rate: Option<f64>,

    /// Share of units that dropout silences during training; where it is tuned, noise of the same
    /// variance stands for it [default: 0.5]
    #[arg(long, value_name = "X")]
    dropout: Option<f64>,

    /// Standard deviation of noise on the scaled windows during training; where it is tuned and 0, it
    /// starts from 0.05 [default: 0]
    #[arg(long, value_name = "X")]
    jitter: Option<f64>,

    /// Standard deviation of a random factor on each channel of a window during training; where it is
    /// tuned and 0, it starts from 0.1 [default: 0]
    #[arg(long, value_name = "X")]
    scaling: Option<f64>,

    /// End after this many outer iterations without a lower outer loss; 0 never does [default: 0]
    #[arg(long, value_name = "N")]
    patience: Option<u32>,

    /// Take the outer loss on a fixed random choice of this many validation windows [default: 512]
    #[arg(long, value_name = "N")]
    pub(super) validation_windows: Option<u32>,

    /// Memory to use on the device. With less, more steps are recomputed on the way back; the results
    /// are the same bits [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<Bytes>,

    /// Seed of everything random: the same seed on the same device gives the same bits [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,

    /// Where to compute: `auto` (the faster of GPU and processor, timed on this very run), `cpu`,
    /// `reference` (f64: slow, exact), or an adapter's name or number as `stackelberg devices` lists
    /// them [default: auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// People to validate on, separated by commas [default: 1,14,21,27,30]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    validation_subjects: Option<Vec<u32>>,

    /// People to test on, separated by commas [default: 2,4,9,10,12,13,18,20,24]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    test_subjects: Option<Vec<u32>>,
}

/// Hyperparameters by name.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    let of_networks = || Kind::ALL.into_iter().filter(|kind| *kind != Kind::Regularizer);
    let named = move |name: String| of_networks().find(|kind| kind.name() == name).expect("a possible value");
    PossibleValuesParser::new(of_networks().map(Kind::name)).map(named)
}

/// Two numbers with a comma between them.
fn two(text: &str) -> Result<[f64; 2], String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
    numbers.ok_or_else(|| "write two numbers with a comma between them, such as 0.9,0.999".to_owned())
}

/// A path seen from the working directory, made absolute: a run may be resumed in another one.
fn located(data: DataSource) -> DataSource {
    match data {
        // An empty one is for the check of settings.
        DataSource::Path(path) if !path.trim().is_empty() => {
            let absolute = std::path::absolute(&path).ok().and_then(|path| path.into_os_string().into_string().ok());
            DataSource::Path(absolute.unwrap_or(path))
        }
        other => other,
    }
}

/// Where a configuration starts from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Base {
    /// A first look in a minute: 12 people, 100 steps, 10 outer iterations, from learning rate 0.005
    #[arg(long, conflicts_with = "config")]
    quick: bool,

    /// Read settings from a TOML file, such as the run.toml of an earlier run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Base {
    /// The settings before options override them.
    pub fn load(&self) -> Result<TuneConfig, CliError> {
        match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| CliError::ReadConfig { path: path.clone(), source })?;
                let config = parse(path, text)?;
                Ok(TuneConfig { data: located(config.data), ..config })
            }
            None if self.quick => Ok(TuneConfig::quick()),
            None => Ok(TuneConfig::default()),
        }
    }
}

/// The configuration in a file's text.
pub fn parse(path: &std::path::Path, text: String) -> Result<TuneConfig, CliError> {
    TuneConfig::from_toml(&text).map_err(|error| match error {
        ConfigError::Toml { message, line, column, span } => CliError::ConfigSyntax(Box::new(ConfigSyntax {
            path: path.to_owned(),
            line,
            column,
            message,
            text: NamedSource::new(path.display().to_string(), text),
            span: span.into(),
        })),
        other => other.into(),
    })
}

impl Settings {
    /// `base` with these options put over it.
    pub fn over(&self, base: TuneConfig) -> TuneConfig {
        fn pick<T: Clone>(option: &Option<T>, base: T) -> T {
            option.clone().unwrap_or(base)
        }
        let mut split = base.split;
        split.validation = self.validation_subjects.clone().or(split.validation);
        split.test = self.test_subjects.clone().or(split.test);
        let optimizer = pick(&self.optimizer, base.optimizer);
        // What was usual before follows the optimizer.
        let follows = base.hyperparameters == base.optimizer.usual_hyperparameters();
        let unnamed = if follows { optimizer.usual_hyperparameters() } else { base.hyperparameters };
        TuneConfig {
            data: pick(&self.data, base.data),
            task: pick(&self.task, base.task),
            network: pick(&self.network, base.network),
            steps: pick(&self.steps, base.steps),
            outer: pick(&self.outer, base.outer),
            batch: pick(&self.batch, base.batch),
            optimizer,
            method: pick(&self.method, base.method),
            hyperparameters: pick(&self.hyperparameters, unnamed),
            learning_rate: pick(&self.learning_rate, base.learning_rate),
            momentum: pick(&self.momentum, base.momentum),
            betas: pick(&self.betas, base.betas),
            epsilon: pick(&self.epsilon, base.epsilon),
            l2: pick(&self.l2, base.l2),
            outer_rate: pick(&self.outer_rate, base.outer_rate),
            example_weight_rate: pick(&self.example_weight_rate, base.example_weight_rate),
            dropout: pick(&self.dropout, base.dropout),
            jitter: pick(&self.jitter, base.jitter),
            scaling: pick(&self.scaling, base.scaling),
            patience: pick(&self.patience, base.patience),
            validation_windows: pick(&self.validation_windows, base.validation_windows),
            memory_budget: pick(&self.memory_budget, base.memory_budget),
            seed: pick(&self.seed, base.seed),
            device: pick(&self.device, base.device),
            split,
        }
    }
}
