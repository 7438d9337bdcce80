//! The settings of a run as options, shared by the commands that take a configuration.

use std::io::Read as _;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use miette::NamedSource;
use serde::Serialize;
use stackelberg::bilevel::Decay;
use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::data::recordings::Columns;
use stackelberg::experiment::config::{
    Budget, Bytes, ConfigError, DataSource, Differentiation, Network, Task, TuneConfig, usual, usual_decay,
    usual_hyperparameters, words,
};

use stackelberg::experiment::leader::OuterMethod;
use stackelberg::nn::optim::{self, Dynamics};

use super::error::ConfigSyntax;
use super::{CliError, shell};

/// Options that make up a configuration. Those not given keep the value of the base: the
/// configuration file, or the defaults.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
#[command(
    next_help_heading = "Settings (each overrides a key of --config, with `_` for `-`; people are keys of `split`)",
    args_override_self = true,
    allow_negative_numbers = true
)]
pub struct Settings {
    #[arg(long, value_name = "PATH", value_parser = |text: &str| Ok::<_, String>(located(text.to_owned().into())), help = about("data", words::DATA))]
    data: Option<DataSource>,

    #[arg(long, value_name = "LIST", value_parser = Columns::of_line, help = about("columns", words::COLUMNS))]
    columns: Option<Columns>,

    #[arg(long, value_name = "HZ", help = about("rate", words::RATE))]
    rate: Option<f64>,

    #[arg(long, value_name = "N", help = about("window", words::WINDOW_LENGTH))]
    window: Option<u32>,

    #[arg(long, value_name = "X", help = about("overlap", words::OVERLAP))]
    overlap: Option<f64>,

    #[arg(long, help = about("task", words::TASK))]
    task: Option<Task>,

    #[arg(long, value_name = "NAME|FILE", value_parser = str::parse::<Network>, help = about("network", words::NETWORK))]
    network: Option<Network>,

    #[arg(long, value_name = "T", help = about("steps", words::STEPS))]
    pub(super) steps: Option<u32>,

    #[arg(long, value_name = "N", help = about("outer", words::OUTER))]
    outer: Option<u32>,

    #[arg(long, value_name = "N|TIME", help = about("budget", words::BUDGET))]
    budget: Option<Budget>,

    #[arg(long, value_name = "METHOD", help = about("outer_method", words::OUTER_METHOD))]
    outer_method: Option<OuterMethod>,

    #[arg(long, value_name = "N", help = about("batch", words::BATCH))]
    pub(super) batch: Option<u32>,

    #[arg(long, value_parser = optimizers(), help = about("optimizer", words::OPTIMIZER))]
    optimizer: Option<Dynamics>,

    #[arg(long, value_name = "METHOD", help = about("method", words::METHOD))]
    pub(super) method: Option<Differentiation>,

    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = kinds(), help = about("hyperparameters", words::HYPERPARAMETERS))]
    hyperparameters: Option<Vec<Kind>>,

    #[arg(long, value_name = "X", help = about("learning_rate", words::LEARNING_RATE))]
    learning_rate: Option<f64>,

    #[arg(long, value_name = "DECAY", help = about("decay", words::DECAY))]
    decay: Option<Decay>,

    #[arg(long, value_name = "X", help = about("momentum", words::MOMENTUM))]
    momentum: Option<f64>,

    #[arg(long, value_name = "X,Y", value_parser = two, help = about("betas", words::BETAS))]
    betas: Option<[f64; 2]>,

    #[arg(long, value_name = "X", help = about("epsilon", words::EPSILON))]
    epsilon: Option<f64>,

    #[arg(long, value_name = "X", help = about("hypergradient_rate", words::HYPERGRADIENT_RATE))]
    hypergradient_rate: Option<f64>,

    #[arg(long, value_name = "X", help = about("momentum_hypergradient_rate", words::MOMENTUM_HYPERGRADIENT_RATE))]
    momentum_hypergradient_rate: Option<f64>,

    #[arg(long, value_name = "X", help = about("l2", words::L2))]
    l2: Option<f64>,

    #[arg(long, value_name = "X", help = about("outer_rate", words::OUTER_RATE))]
    outer_rate: Option<f64>,

    #[arg(long, value_name = "X", help = about("example_weight_rate", words::EXAMPLE_WEIGHT_RATE))]
    example_weight_rate: Option<f64>,

    #[arg(long, value_name = "X", help = about("mislabelled", words::MISLABELLED))]
    mislabelled: Option<f64>,

    #[arg(long, value_name = "X", help = about("dropout", words::DROPOUT))]
    dropout: Option<f64>,

    #[arg(long, value_name = "X", help = about("jitter", words::JITTER))]
    jitter: Option<f64>,

    #[arg(long, value_name = "X", help = about("scaling", words::SCALING))]
    scaling: Option<f64>,

    #[arg(long, value_name = "N", help = about("patience", words::PATIENCE))]
    patience: Option<u32>,

    #[arg(long, value_name = "N", help = about("validation_windows", words::VALIDATION_WINDOWS))]
    pub(super) validation_windows: Option<u32>,

    #[arg(long, value_name = "K", help = about("folds", words::FOLDS))]
    folds: Option<u32>,

    #[arg(long, value_name = "N", help = about("selection_people", words::SELECTION_PEOPLE))]
    selection_people: Option<u32>,

    #[arg(long, value_name = "SIZE", help = about("memory_budget", words::MEMORY_BUDGET))]
    memory_budget: Option<Bytes>,

    #[arg(long, value_name = "N", help = about("seed", words::SEED))]
    seed: Option<u32>,

    #[arg(long, value_name = "DEVICE", value_parser = super::device::choice, help = about("device", words::DEVICE))]
    device: Option<String>,

    #[arg(long, value_name = "LIST", value_delimiter = ',', help = words::validation_subjects())]
    validation_subjects: Option<Vec<u32>>,

    #[arg(long, value_name = "LIST", value_delimiter = ',', help = words::test_subjects())]
    test_subjects: Option<Vec<u32>>,
}

/// What an option sets, and its default.
fn about(key: &str, what: &str) -> String {
    format!("{what} [default: {}]", usual::default_of(key))
}

/// Settings that a run may go on with whatever they were: they change no bits.
pub const FREE: [&str; 5] = ["outer", "budget", "patience", "memory_budget", "device"];

/// The option that sets a key.
pub fn option(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// Hyperparameters by name.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    let of_networks = || Kind::of_configurations();
    let named = move |name: String| of_networks().find(|kind| kind.name() == name).expect("a possible value");
    PossibleValuesParser::new(of_networks().map(Kind::name)).map(named)
}

/// Inner optimisers by name.
fn optimizers() -> impl TypedValueParser<Value = Dynamics> {
    let named = optim::named().into_iter();
    let values = named.map(|optimizer| PossibleValue::new(optimizer.name()).help(optimizer.formula()));
    PossibleValuesParser::new(values).map(|name| name.parse().expect("a possible value"))
}

/// Two numbers with a comma between them.
fn two(text: &str) -> Result<[f64; 2], String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
    numbers.ok_or_else(|| "write two numbers with a comma between them, such as 0.9,0.999".to_owned())
}

/// A path seen from the working directory, made absolute: a run may be resumed in another one.
pub fn located(data: DataSource) -> DataSource {
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
    #[arg(long, conflicts_with = "config", help = usual::quick())]
    quick: bool,

    /// Read settings from a TOML file, such as the run.toml of an earlier run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Base {
    /// Whether anything is given.
    pub fn is_given(&self) -> bool {
        self.quick || self.config.is_some()
    }

    /// The settings before options override them.
    pub fn load(&self) -> Result<TuneConfig, CliError> {
        match &self.config {
            Some(path) => {
                let text = read_text(path).map_err(|source| CliError::ReadConfig { path: path.clone(), source })?;
                let config = parse(path, text)?;
                Ok(TuneConfig { data: located(config.data), ..config })
            }
            None if self.quick => Ok(TuneConfig::quick()),
            None => Ok(TuneConfig::default()),
        }
    }
}

/// The text of a configuration, which is short: what is no file but a pipe may give one, too.
fn read_text(path: &std::path::Path) -> std::io::Result<String> {
    const MOST: u64 = 1 << 20;
    let kind = std::fs::metadata(path)?.file_type();
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_char_device(&kind) || std::os::unix::fs::FileTypeExt::is_block_device(&kind) {
        return Err(std::io::Error::other("it is a device"));
    }
    if !kind.is_file() && !kind.is_dir() {
        super::note(format_args!("Reading the configuration from {}", path.display()));
    }
    let mut bytes = vec![];
    std::fs::File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(std::io::Error::other("it is larger than 1 MiB, and a configuration is a page of text"));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text; save it as UTF-8"))
}

/// The configuration in a file's text.
pub fn parse(path: &std::path::Path, text: String) -> Result<TuneConfig, CliError> {
    TuneConfig::from_toml(&text).map_err(|error| match error {
        ConfigError::Toml { message, line, column, span } => CliError::ConfigSyntax(Box::new(ConfigSyntax {
            path: path.to_owned(),
            line,
            column,
            message,
            text: NamedSource::new(shell::shown(&path.display().to_string()), shell::masked(&text)),
            span: span.into(),
        })),
        other => other.into(),
    })
}

impl Settings {
    /// The keys of the options that were given.
    pub fn given(&self) -> impl Iterator<Item = String> {
        let given = toml::Table::try_from(self).expect("settings are plain values");
        given.into_iter().map(|(key, _)| if key.ends_with("_subjects") { "split".to_owned() } else { key })
    }

    /// The first option that was given and that a run with these settings cannot go on with, and the setting that the
    /// run has in its place.
    pub fn refused(&self, run: &TuneConfig) -> Option<(String, String)> {
        let given = toml::Table::try_from(self).expect("settings are plain values");
        let before = toml::Table::try_from(run.filled()).expect("settings are plain values");
        given.iter().filter(|(key, _)| !FREE.contains(&key.as_str())).find_map(|(key, value)| {
            let (path, was) = match key.strip_suffix("_subjects") {
                Some(part) => (format!("split.{part}"), before.get("split").and_then(|split| split.get(part))),
                None => (key.clone(), before.get(key)),
            };
            let was_text = was.map_or_else(|| "its default".to_owned(), toml::Value::to_string);
            (was != Some(value)).then(|| (option(key), format!("{path} = {was_text}")))
        })
    }

    /// `base` with these options put over it.
    pub fn over(&self, base: TuneConfig) -> TuneConfig {
        fn pick<T: Clone>(option: &Option<T>, base: T) -> T {
            option.clone().unwrap_or(base)
        }
        let mut split = base.split;
        split.validation = self.validation_subjects.clone().or(split.validation);
        split.test = self.test_subjects.clone().or(split.test);
        let optimizer = pick(&self.optimizer, base.optimizer.clone());
        // What was usual before follows the optimizer.
        let follows = base.hyperparameters == usual_hyperparameters(&*base.optimizer);
        let falls = base.decay == usual_decay(&*base.optimizer);
        let decay = if falls { usual_decay(&*optimizer) } else { base.decay };
        let unnamed = if follows { usual_hyperparameters(&*optimizer) } else { base.hyperparameters };
        TuneConfig {
            data: pick(&self.data, base.data),
            rate: self.rate.or(base.rate),
            window: self.window.or(base.window),
            overlap: self.overlap.or(base.overlap),
            task: pick(&self.task, base.task),
            network: pick(&self.network, base.network),
            steps: pick(&self.steps, base.steps),
            outer: self.outer.or(base.outer),
            budget: pick(&self.budget, base.budget),
            outer_method: pick(&self.outer_method, base.outer_method),
            batch: self.batch.or(base.batch),
            optimizer,
            method: pick(&self.method, base.method),
            hyperparameters: pick(&self.hyperparameters, unnamed),
            learning_rate: self.learning_rate.or(base.learning_rate),
            decay: pick(&self.decay, decay),
            momentum: self.momentum.or(base.momentum),
            betas: self.betas.or(base.betas),
            epsilon: self.epsilon.or(base.epsilon),
            hypergradient_rate: self.hypergradient_rate.or(base.hypergradient_rate),
            momentum_hypergradient_rate: self.momentum_hypergradient_rate.or(base.momentum_hypergradient_rate),
            l2: pick(&self.l2, base.l2),
            outer_rate: self.outer_rate.or(base.outer_rate),
            example_weight_rate: self.example_weight_rate.or(base.example_weight_rate),
            mislabelled: pick(&self.mislabelled, base.mislabelled),
            dropout: self.dropout.or(base.dropout),
            jitter: pick(&self.jitter, base.jitter),
            scaling: pick(&self.scaling, base.scaling),
            patience: pick(&self.patience, base.patience),
            validation_windows: pick(&self.validation_windows, base.validation_windows),
            folds: self.folds.or(base.folds),
            selection_people: self.selection_people.or(base.selection_people),
            memory_budget: pick(&self.memory_budget, base.memory_budget),
            seed: pick(&self.seed, base.seed),
            device: pick(&self.device, base.device),
            split,
            columns: self.columns.clone().or(base.columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(line: &str) -> Settings {
        Line::parse_from(["tune"].into_iter().chain(line.split_whitespace())).settings
    }

    #[test]
    fn a_refusal_names_what_was_given() {
        let run = TuneConfig { momentum: Some(0.9), ..TuneConfig::default() };
        let refused = |line: &str| settings(line).refused(&run);
        let named = |option: &str, setting: &str| Some((option.to_owned(), setting.to_owned()));
        // The hyperparameters follow the optimizer, and sgd has no momentum; neither was given.
        for optimizer in ["adam", "sgd"] {
            assert_eq!(refused(&format!("--optimizer {optimizer}")), named("--optimizer", "optimizer = \"momentum\""));
        }
        assert_eq!(refused("--steps 5"), named("--steps", "steps = 200"));
        assert_eq!(
            refused("--validation-subjects 3"),
            named("--validation-subjects", "split.validation = its default")
        );
        assert_eq!(refused("--steps 200 --momentum 0.9 --optimizer momentum --learning-rate 4e-2"), None);
        assert_eq!(refused("--outer 3 --patience 2 --memory-budget 1MiB --device cpu"), None);
        let split = TuneConfig::from_toml("[split]\nvalidation = [3]").unwrap();
        assert_eq!(settings("--validation-subjects 3").refused(&split), None);
    }

    /// Every option is looked at: given another value, it is refused unless it is free.
    #[test]
    fn every_option_is_refused_or_free() {
        let other = [
            ("data", "elsewhere"),
            ("columns", "label=folder"),
            ("task", "prediction"),
            ("network", "paper"),
            ("optimizer", "sgd"),
            ("method", "forward"),
            ("outer-method", "adam"),
            ("decay", "cosine"),
            ("hyperparameters", "dropout"),
            ("betas", "0.5,0.5"),
            ("memory-budget", "3B"),
            ("device", "other"),
            ("validation-subjects", "7"),
            ("test-subjects", "7"),
        ];
        let command = <Line as clap::CommandFactory>::command();
        let options = command.get_arguments().filter_map(|argument| argument.get_long());
        for option in options.filter(|option| *option != "help") {
            let value = other.iter().find(|(name, _)| *name == option).map_or("0.75", |(_, value)| value);
            let whole = [
                "steps",
                "window",
                "outer",
                "budget",
                "batch",
                "patience",
                "validation-windows",
                "folds",
                "selection-people",
                "seed",
            ]
            .contains(&option);
            let line = format!("--{option} {}", if whole { "77" } else { value });
            let refused = settings(&line).refused(&TuneConfig::default()).map(|(option, _)| option);
            let free = FREE.contains(&option.replace('-', "_").as_str());
            assert_eq!(refused, (!free).then(|| format!("--{option}")), "{line}");
        }
    }
}
