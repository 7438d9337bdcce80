//! What settings are unless they are given, in words.

use super::{TuneConfig, USUAL_BATCH};

/// What a setting is by default, as the command line takes it.
pub fn default_of(key: &str) -> String {
    let config = TuneConfig::default();
    match (table(&config).get(key), config.usual(key)) {
        _ if key == "mislabelled" => plain(&config.mislabelled.into()),
        _ if key == "batch" => format!("{USUAL_BATCH}, or all windows where there are fewer"),
        (Some(value), _) => plain(value),
        (None, Some(usual)) => usual.iter().map(f64::to_string).collect::<Vec<_>>().join(","),
        (None, None) => "none".to_owned(),
    }
}

/// What [`TuneConfig::quick`] sets.
pub fn quick() -> String {
    let (usual, quick) = (table(&TuneConfig::default()), table(&TuneConfig::quick()));
    let differing = quick.iter().filter(|(key, value)| usual[*key] != **value);
    let options: Vec<String> =
        differing.map(|(key, value)| format!("--{} {}", key.replace('_', "-"), plain(value))).collect();
    format!("A first look in a minute: {}", options.join(" "))
}

fn table(config: &TuneConfig) -> toml::Table {
    toml::Table::try_from(config).expect("settings are plain values")
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_quick_sets_is_all_said() {
        let text = quick();
        for part in ["--data subset", "--budget 36", "--steps 100", "--validation-windows 128"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("--").count(), 4, "{text}");
        assert_eq!(["learning_rate", "outer"].map(default_of), ["0.04", "none"]);
        assert_eq!([default_of("betas"), default_of("memory_budget")], ["0.9,0.999", "1GiB"]);
    }
}
