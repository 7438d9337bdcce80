//! The settings of a trial, with what else its beginning says.

use serde_json::{Map, Value};
use stackelberg::experiment::config::{Bytes, TuneConfig};
use stackelberg::experiment::trainable::Trainable;

use super::protocol::{Code, Fault};
use crate::cli::device;

/// Where trainables keep the settings of the training within their own.
const CONFIG: &str = "config";

/// Settings with others over them, each where the trainable has it, and with a memory budget that the machine has.
pub fn with(
    trainable: &dyn Trainable,
    mut settings: Map<String, Value>,
    given: Vec<(&str, Value)>,
) -> Result<Map<String, Value>, Fault> {
    let schema = trainable.schema();
    let known = |key: &str| schema.get("properties").is_some_and(|settings| settings.get(key).is_some());
    for (key, value) in given {
        let place = match (known(key), known(CONFIG)) {
            (true, _) => Some(&mut settings),
            (false, true) => settings.entry(CONFIG).or_insert_with(|| Map::new().into()).as_object_mut(),
            (false, false) => {
                let what = format!("{} has no setting `{key}`; leave it out", trainable.name());
                return Err(Fault::new(Code::BadConfig, what));
            }
        };
        // What is no object is refused with the other settings.
        if let Some(place) = place {
            place.insert(key.to_owned(), value);
        }
    }
    let budget = "memory_budget";
    let place = match known(budget) {
        true => Some(&mut settings),
        false if known(CONFIG) => settings.get_mut(CONFIG).and_then(Value::as_object_mut),
        false => None,
    };
    if let Some(place) = place {
        let asked = place.get(budget).map(|value| serde_json::from_value::<Bytes>(value.clone()));
        // What is no size is refused, too.
        if let Ok(asked) = asked.unwrap_or_else(|| Ok(TuneConfig::default().memory_budget))
            && let held = device::within(asked)
            && held != asked
        {
            place.insert(budget.to_owned(), held.0.into());
        }
    }
    Ok(settings)
}

/// The device that the settings name, if they do.
pub fn device(settings: &Map<String, Value>) -> Option<String> {
    let device = settings.get("device").or_else(|| settings.get(CONFIG)?.get("device"));
    Some(device?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stackelberg::experiment::trainables::find;

    fn settings(trainable: &str, config: Value, given: Vec<(&str, Value)>) -> Result<Value, Fault> {
        let Value::Object(config) = config else { panic!("settings are an object") };
        with(find(trainable).unwrap(), config, given).map(Value::Object)
    }

    #[test]
    fn what_is_given_beside_the_settings_goes_where_they_have_it() {
        let given = || vec![("data", json!("subset")), ("seed", json!(3))];
        assert_eq!(settings("train", json!({"steps": 2}), given()).unwrap()["seed"], 3);
        let nested = settings("retrain", json!({"config": {"steps": 2}, "steps": 5}), given()).unwrap();
        let within = json!({"steps": 2, "data": "subset", "seed": 3});
        assert_eq!(nested, json!({"config": within, "steps": 5}));
        assert_eq!(settings("search", json!({}), given()).unwrap()["config"]["data"], "subset");
        assert_eq!(settings("statistics", json!({}), given()).unwrap(), json!({"data": "subset", "seed": 3}));
        let refused = settings("hyper-cleaning", json!({}), given()).unwrap_err();
        assert_eq!(
            (refused.code, &*refused.message),
            (Code::BadConfig, "hyper-cleaning has no setting `data`; leave it out")
        );
        let named = |settings: Value| device(settings.as_object().unwrap());
        assert_eq!(named(json!({"device": "cpu"})), named(json!({"config": {"device": "cpu"}})));
        assert_eq!(named(json!({"config": {}})), None);
    }

    #[test]
    fn no_trial_takes_more_memory_than_there_is() {
        for (trainable, config) in [
            ("tune", json!({"memory_budget": 1u64 << 60})),
            ("retrain", json!({"config": {"memory_budget": "1000000GiB"}})),
        ] {
            let held = settings(trainable, config, vec![]).unwrap();
            let budget = held.get(CONFIG).unwrap_or(&held)["memory_budget"].as_u64().unwrap();
            assert!(budget <= device::most_bytes(), "{budget}");
        }
        assert_eq!(settings("tune", json!({"memory_budget": "x"}), vec![]).unwrap()["memory_budget"], "x");
    }
}
