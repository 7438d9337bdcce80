//! What a network does with single windows and people.

use super::protocol::{Channel, Details, DoubtedWindow, NamedWindow, PersonScore, Trace};
use crate::data::{Channel as Source, Dataset, Split};
use crate::experiment::classifier::Classifier;
use crate::rig::{Device, RigError};

/// Windows that are shown of a kind.
const SHOWN: usize = 6;

/// A recorded window to draw.
pub fn trace(data: &Dataset, at: usize) -> Trace {
    let about = data.about();
    let channel = |one: &Source| Channel { name: one.name.clone(), unit: one.unit.clone() };
    Trace {
        index: at as u32,
        person: data.people()[at],
        activity: about.outputs[data.labels()[at] as usize].clone(),
        rate: about.recording.map_or(1.0, |recording| recording.rate_hz),
        channels: about.channels.iter().map(channel).collect(),
        samples: data.example(at).into_owned(),
    }
}

/// Of data as they were recorded and as they were trained and tested on; `weights` are those of the training windows, or
/// none.
pub async fn of(
    classifier: &Classifier,
    source: &Dataset,
    split: &Split,
    weights: &[f64],
    device: &Device,
) -> Result<Details, RigError> {
    let rows = |part: &Dataset| -> Vec<usize> {
        let people = part.present_people();
        (0..source.len()).filter(|&row| people.contains(&source.people()[row])).collect()
    };
    let tested = rows(&split.test);
    let windows = tested.iter().flat_map(|&row| source.example(row).into_owned()).collect();
    let told: Vec<(usize, f32)> = classifier.classify(device, windows).await?.iter().map(|of| surest(of)).collect();
    let is_right = |at: usize| told[at].0 == source.labels()[tested[at]] as usize;
    let person = |person: u32| {
        let own: Vec<usize> = (0..tested.len()).filter(|&at| source.people()[tested[at]] == person).collect();
        let right = own.iter().filter(|&&at| is_right(at)).count();
        PersonScore { person, windows: own.len() as u32, accuracy: right as f64 / own.len() as f64 }
    };
    let mut wrong: Vec<usize> = (0..tested.len()).filter(|&at| !is_right(at)).collect();
    wrong.sort_by(|&one, &other| told[other].1.total_cmp(&told[one].1));
    let named = |&at: &usize| NamedWindow {
        trace: trace(source, tested[at]),
        named: source.about().outputs[told[at].0].clone(),
        probability: told[at].1,
    };
    let trained = rows(&split.train);
    let mut doubted: Vec<usize> = (0..weights.len()).collect();
    doubted.sort_by(|&one, &other| weights[one].total_cmp(&weights[other]));
    let doubt = |&at: &usize| DoubtedWindow {
        trace: trace(source, trained[at]),
        label: source.about().outputs[split.train.labels()[at] as usize].clone(),
        weight: weights[at],
    };
    Ok(Details {
        people: split.test.present_people().into_iter().map(person).collect(),
        worst: wrong.iter().take(SHOWN).map(named).collect(),
        doubted: doubted.iter().take(SHOWN).map(doubt).collect(),
    })
}

/// The class of the largest probability, and that.
fn surest(probabilities: &[f32]) -> (usize, f32) {
    let each = probabilities.iter().copied().enumerate();
    each.fold((0, 0.0), |most, one| if one.1 > most.1 { one } else { most })
}
