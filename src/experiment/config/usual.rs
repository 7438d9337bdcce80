//! What settings are unless they are given, in words.

use super::{TuneConfig, rows};

/// What a setting is by default, as the command line takes it.
///
/// # Panics
///
/// If there is no such setting.
pub fn default_of(key: &str) -> String {
    match table(&TuneConfig::default()).get(key) {
        Some(value) => plain(value),
        None => rows::usual(key).expect("a setting").iter().map(f64::to_string).collect::<Vec<_>>().join(","),
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
        for part in ["--data subset", "--learning-rate 0.005", "--outer 10", "--steps 100", "--validation-windows 128"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("--").count(), 5, "{text}");
        assert_eq!([default_of("betas"), default_of("memory_budget")], ["0.9,0.999", "1GiB"]);
    }
}
