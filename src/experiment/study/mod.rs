//! Named studies: trials on real data, and what their outcomes say together.
//!
//! A study is a list of [`Trial`]s, each a row of the [registry](super::trainables) with its settings;
//! [`summary::Summary`] puts the outcomes of all side by side. Adding a study takes one file here with its entry in
//! [`STUDIES`].

mod baselines;
mod best;
mod few_shot;
mod folds;
mod hd_mnist;
mod horizon;
mod hyper_cleaning;
mod images;
mod label_noise;
mod pays;
mod prediction;
mod self_tuning;
mod start;
pub mod summary;
mod trial;

pub use trial::{Budget, Labels, Outcome, Study, Trial, id};

/// All studies, in the order in which `experiment all` runs them.
pub const STUDIES: [Study; 17] = [
    start::STUDY,
    horizon::STUDY,
    prediction::STUDY,
    baselines::STUDY,
    best::STUDY,
    folds::STUDY,
    label_noise::STUDY,
    pays::STUDY,
    hyper_cleaning::STUDY,
    images::STUDY,
    hd_mnist::STUDY,
    self_tuning::STARTS,
    self_tuning::DIGITS,
    self_tuning::CLOTHES,
    self_tuning::WINDOWS,
    few_shot::CHARACTERS,
    few_shot::PEOPLE,
];

/// The study of that name.
pub fn find(name: &str) -> Option<&'static Study> {
    STUDIES.iter().find(|study| study.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::DataError;
    use crate::experiment::error::TuneError;
    use crate::experiment::library::Library;

    #[test]
    fn trials_are_distinct_and_their_settings_sound() {
        let library = Library::new("no such directory".into());
        let sound = |trial: &Trial| match trial.job(&library) {
            Ok(_) | Err(TuneError::Data(DataError::NotThere { .. })) => true,
            Err(error) => panic!("{}: {error}", trial.id()),
        };
        for study in &STUDIES {
            for budget in [Budget::Quick, Budget::Desktop, Budget::Full] {
                let trials = (study.trials)(budget);
                let ids: BTreeSet<String> = trials.iter().map(Trial::id).collect();
                assert_eq!(ids.len(), trials.len(), "{}", study.name);
                // Those that differ in nothing but their seed are alike.
                assert!(trials.iter().filter(|trial| trial.labels["seed"] == trials[0].labels["seed"]).all(sound));
                assert!(trials.iter().all(|trial| trial.labels.contains_key(study.along)), "{}", study.name);
                let names = |trial: &Trial| trial.labels.keys().cloned().collect::<Vec<_>>();
                assert!(trials.iter().all(|trial| names(trial) == names(&trials[0])), "{}", study.name);
            }
        }
    }
}
