//! What a study is: all that its trials and decisions follow from. It stands in the journal, and whoever goes on with the
//! study says the same.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::space::Arm;
use crate::search::{Method, Searcher, Size, Space};

/// A study, as its journal notes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The version of the program that began it.
    pub version: String,
    /// The searcher by its name.
    pub method: String,
    /// How large it is; a budget that is changed later changes nothing of it.
    pub size: Size,
    /// Trainings that go on side by side on the virtual clock.
    pub workers: usize,
    /// Of the searcher, and of every training.
    pub seed: u32,
    /// What is left to hypergradients.
    pub arm: Arm,
    /// What trials do: a row of the registry.
    pub trainable: String,
    /// The settings of all trials but for what is searched.
    pub settings: Json,
    /// What is searched.
    pub space: Space,
}

impl About {
    /// The first part that is not the same in another description, and both. The version is none, and neither is how
    /// many go on side by side: decisions follow from what is in the journal whatever came before.
    pub fn differs(&self, other: &Self) -> Option<Difference> {
        let [one, two] = [self, other].map(|about| serde_json::to_value(about).expect("plain values"));
        let part = ["method", "seed", "arm", "trainable", "space", "settings", "size"]
            .into_iter()
            .find(|part| one[*part] != two[*part])?;
        let (mut name, mut before, mut given) = (part.to_owned(), &one[part], &two[part]);
        // Of many settings, the one.
        if let (Some(a), Some(b)) = (before.as_object(), given.as_object())
            && let Some(key) = a.keys().chain(b.keys()).find(|key| a.get(*key) != b.get(*key))
        {
            name = format!("{part}.{key}");
            (before, given) = (&one[part][key.as_str()], &two[part][key.as_str()]);
        }
        Some(Difference { part: name, before: before.to_string(), given: given.to_string() })
    }

    /// The trainings that its size is for.
    pub fn trainings(&self) -> u64 {
        self.size.trials * if self.arm.hypergradients { self.size.most } else { 1 }
    }

    /// The searcher.
    ///
    /// # Errors
    /// With the name of a method that this version does not have.
    pub fn searcher(&self) -> Result<Box<dyn Searcher>, String> {
        let method = Method::named(&self.method);
        let unknown = || format!("its method {} is not one of this version", self.method);
        Ok(method.ok_or_else(unknown)?.searcher(self.size))
    }
}

/// A part in which two descriptions of a study differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name.
    pub part: String,
    /// What the journal has, as JSON.
    pub before: String,
    /// What was given.
    pub given: String,
}
