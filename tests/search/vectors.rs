//! Reference vectors, and how numbers are held against them.

use std::path::PathBuf;

use serde_json::Value;
use stackelberg::search::{Dimension, Domain, Space};

/// The vectors of a file: in the folder that `STACKELBERG_SEARCH_VECTORS` names, else among the shared ones; none, with a
/// message, where there is no such file.
pub fn vectors(file: &str) -> Option<Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("STACKELBERG_SEARCH_VECTORS").map(PathBuf::from);
    let named = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let shared = named.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let mut places = given.into_iter().chain(shared.map(|place| place.join("golden/search")));
    let text = places.find_map(|place| std::fs::read_to_string(place.join(file)).ok());
    if text.is_none() {
        println!(
            "skipped: no {file} at ../shared/golden/search (set STACKELBERG_SHARED or STACKELBERG_SEARCH_VECTORS)"
        );
    }
    // What Python writes of numbers that are not finite becomes strings.
    let text = text?.replace("-Infinity", "\"-inf\"").replace("Infinity", "\"inf\"").replace("NaN", "\"NaN\"");
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}")))
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

pub fn index(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

pub fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(index).collect()
}

#[track_caller]
pub fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs().max(1e-3), "{got}, wanted {want}");
}

/// Near in relation to a number that may be tiny, or not finite.
#[track_caller]
pub fn relative(got: f64, want: f64, tolerance: f64) {
    assert!(got == want || (got / want - 1.0).abs() <= tolerance, "{got}, wanted {want}");
}

#[track_caller]
pub fn all_close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{got:?}, wanted {want:?}");
    got.iter().zip(want).for_each(|(got, want)| close(*got, *want, tolerance));
}

pub fn float(low: f64, high: f64, log: bool) -> Domain {
    Domain::Float { low, high, log, step: None }
}

pub fn int(low: i64, high: i64, log: bool) -> Domain {
    Domain::Int { low, high, log, step: 1 }
}

pub fn categories(count: i64) -> Domain {
    Domain::Categorical { choices: (0..count).map(stackelberg::search::Value::Int).collect() }
}

/// A space of such dimensions, named by their numbers.
pub fn space(domains: impl IntoIterator<Item = Domain>) -> Space {
    let dimension = |(j, domain)| Dimension { name: format!("x{j}"), domain, when: None, structural: false };
    Space::new(domains.into_iter().enumerate().map(dimension).collect()).unwrap()
}
