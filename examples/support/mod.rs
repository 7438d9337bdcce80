//! Data and an engine for the examples.

#![allow(dead_code)] // Each example uses some of it.

use std::error::Error;
use std::path::{Path, PathBuf};

use stackelberg::bilevel::{Examples, Set, Targets};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::har::{builtin, statistics};
use stackelberg::data::{Dataset, Sizes, Split, Standardizer, SubjectSplit, catalog};
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

/// The processor's engine on all cores; a GPU's is made by `gpu::GpuEngine`.
pub fn device() -> Device {
    Device::new(CpuEngine::new(std::thread::available_parallelism().map_or(1, usize::from)))
}

/// The built-in activity data, split by people.
fn split() -> Result<Split, Box<dyn Error>> {
    Ok(Split::by_people(&builtin::full()?, &SubjectSplit::default())?)
}

/// Training, validation and test windows, scaled, and how large they are.
pub fn windows() -> Result<([Set; 3], Sizes), Box<dyn Error>> {
    let (split, _) = split()?.standardized()?;
    Ok(([&split.train, &split.validation, &split.test].map(Set::from), split.sizes()))
}

/// 135 scaled statistics of the training, validation and test windows.
pub fn statistics() -> Result<[Set; 3], Box<dyn Error>> {
    let split = split()?;
    let parts = [&split.train, &split.validation, &split.test];
    let mut features = parts.map(statistics::features);
    let each = features[0].len() / parts[0].len();
    statistics::standardize(&mut features, each);
    let [train, validation, test] = features;
    Ok([labelled(train, parts[0]), labelled(validation, parts[1]), labelled(test, parts[2])])
}

fn labelled(x: Vec<f32>, data: &Dataset) -> Set {
    Set { x: x.into(), targets: Targets::Labels(data.labels().to_vec()), count: data.len() }
}

/// The same examples with 1 at the place of the label and 0 elsewhere as targets.
pub fn one_hot(set: &Set) -> Set {
    let Targets::Labels(labels) = &set.targets else { return set.clone() };
    let classes = labels.iter().max().map_or(0, |&last| last + 1);
    let row = |&label: &u32| (0..classes).map(move |class| if class == label { 1.0 } else { 0.0 });
    Set { targets: Targets::Values(labels.iter().flat_map(row).collect()), ..set.clone() }
}

/// The share of examples whose largest of xW + b is at their target's 1.
pub fn accuracy(weights: &[f64], set: &Set) -> f64 {
    let (Examples::Floats(x), Targets::Values(targets)) = (&set.x, &set.targets) else { return f64::NAN };
    let (classes, inputs) = (targets.len() / set.count, x.len() / set.count);
    let (kernel, bias) = weights.split_at(inputs * classes);
    let largest =
        |values: &mut dyn Iterator<Item = f64>| values.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map(|m| m.0);
    let output = |x: &[f32], class: usize| {
        bias[class] + x.iter().enumerate().map(|(i, x)| f64::from(*x) * kernel[i * classes + class]).sum::<f64>()
    };
    let right = x.chunks(inputs).zip(targets.chunks(classes)).filter(|(x, target)| {
        largest(&mut (0..classes).map(|class| output(x, class))) == largest(&mut target.iter().map(|t| f64::from(*t)))
    });
    right.count() as f64 / set.count as f64
}

/// The first training images, those after them for validation, and the first test images of MNIST; nothing
/// where it is not there.
pub fn mnist(counts: [usize; 3]) -> Result<Option<[Set; 3]>, Box<dyn Error>> {
    let given = std::env::var_os("STACKELBERG_DATA").map(PathBuf::from);
    let directory = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    if !catalog::MNIST.folder(&directory).is_dir() {
        println!(
            "MNIST is not in {}: set STACKELBERG_DATA; `stackelberg data` says where to get it.",
            directory.display()
        );
        return Ok(None);
    }
    let [train, test] = catalog::MNIST.load(&directory)?;
    // From 0 to 1.
    let scale = Standardizer { mean: vec![0.0], std: vec![255.0] };
    let part = |of: &Dataset, from: usize, count: usize| -> Result<Set, Box<dyn Error>> {
        let part = of.select(&(from..from + count).collect::<Vec<usize>>()).scaled(&scale)?;
        Ok(labelled(part.values().into_owned(), &part))
    };
    Ok(Some([part(&train, 0, counts[0])?, part(&train, counts[0], counts[1])?, part(&test, 0, counts[2])?]))
}

/// Gives every second example another label, and says which those are.
pub fn spoil_every_second_label(set: &mut Set) -> Vec<bool> {
    let Targets::Labels(labels) = &mut set.targets else { return vec![] };
    let mut stream = Stream::new(0, Purpose::Labels, 0);
    let spoil = |(i, label): (usize, &mut u32)| {
        if i % 2 == 1 {
            *label = stream.other_label(*label, 10);
        }
        i % 2 == 1
    };
    labels.iter_mut().enumerate().map(spoil).collect()
}

/// Numbers as blocks of different heights.
pub fn sparkline(values: &[f64]) -> String {
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    let height = |v: f64| (7.0 * (v - low) / (high - low).max(1e-12)).round() as u32;
    let blocks: String = values.iter().map(|&v| char::from_u32('▁' as u32 + height(v)).unwrap_or('▁')).collect();
    format!("{blocks} ({low:.2} to {high:.2})")
}
