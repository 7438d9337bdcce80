//! Data sets of images as they are published, and in the form of the shared folder: their counts, means and names.

mod data_support;

use stackelberg::data::cifar::{CIFAR_10, CIFAR_100};
use stackelberg::data::{Dataset, Examples, Standardizer, omniglot};

fn bytes(data: &Dataset) -> &[u8] {
    let Examples::Bytes { bytes, .. } = data.examples() else { panic!("images are bytes") };
    bytes
}

/// Mean and deviation of every channel from 0 to 1.
fn assert_scale(data: &Dataset, mean: &[f32], deviation: &[f32]) {
    let scale = Standardizer::fit(data).unwrap();
    for (found, wanted) in scale.mean.iter().zip(mean).chain(scale.std.iter().zip(deviation)) {
        assert!((found / 255.0 - wanted).abs() <= 6e-6, "{} where {wanted} is published", found / 255.0);
    }
}

fn counts(data: &Dataset) -> Vec<usize> {
    let mut counts = vec![0; data.about().outputs.len()];
    data.labels().iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

/// The first images of a set are those of a file in the official form.
fn assert_begins(data: &Dataset, official: &Dataset) {
    assert_eq!(official.len(), 500);
    assert!(bytes(data).starts_with(bytes(official)));
    assert_eq!(data.labels()[..500], *official.labels());
}

#[test]
fn cifar_10() {
    let Some(folder) = data_support::folder("cifar10") else { return };
    let [train, test] = CIFAR_10.read(&folder).unwrap();
    assert_eq!(counts(&train), [1989, 1981, 2042, 2011, 2009, 1925, 2038, 2027, 2012, 1966]);
    assert_eq!(counts(&test), [500; 10]);
    assert_scale(&train, &[0.49280, 0.48299, 0.44701], &[0.24743, 0.24412, 0.26205]);
    let fixture = std::fs::read(folder.join("fixture_data_batch_1_first500.bin")).unwrap();
    assert_begins(&train, &CIFAR_10.from_binary("fixture", &fixture).unwrap());
    assert_eq!(train.about().outputs[train.labels()[0] as usize], "frog");
}

#[test]
fn cifar_100() {
    let Some(folder) = data_support::folder("cifar100") else { return };
    let [train, test] = CIFAR_100.read(&folder).unwrap();
    assert_eq!((counts(&train), counts(&test)), (vec![100; 100], vec![25; 100]));
    assert_scale(&train, &[0.50798, 0.48573, 0.43858], &[0.26730, 0.25542, 0.27536]);
    let fixture = std::fs::read(folder.join("fixture_cifar100_format_500.bin")).unwrap();
    assert_begins(&test, &CIFAR_100.from_binary("fixture", &fixture).unwrap());
    let names: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("classes.json")).unwrap()).unwrap();
    assert_eq!(names["fine_label_names"], serde_json::json!(train.about().outputs));
}

#[test]
fn omniglot_archives_and_their_shrunken_form() {
    let Some(folder) = data_support::folder("omniglot") else { return };
    let small = omniglot::from_file(&folder.join("images_background_small1.zip")).unwrap();
    assert_eq!(small.about().shape, [105, 105, 1]);
    let people: Vec<u32> = (1..=20).collect();
    assert_eq!((small.present_people(), counts(&small)), (people.clone(), vec![20; small.about().outputs.len()]));
    let shrunken = omniglot::shrunken(&folder).unwrap();
    assert_eq!((shrunken.len(), &shrunken.about().shape[..]), (4840, &[28, 28, 1][..]));
    assert_eq!((shrunken.present_people(), counts(&shrunken)), (people, vec![20; 242]));
    assert_scale(&shrunken, &[0.08067], &[0.23618]);
    // Each drawing of the archive is most like that of the same person among the shrunken ones of its class.
    let mut compared = 0;
    for at in (0..small.len()).step_by(37) {
        let name = &small.about().outputs[small.labels()[at] as usize];
        let class = shrunken.about().outputs.iter().position(|other| other == name).expect("both have the class");
        let ink = blocks(&small.example(at));
        let unlike = |drawing: &usize| -> f32 {
            let other = blocks(&shrunken.example(*drawing));
            ink.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum()
        };
        let all = 20 * class..20 * class + 20;
        let nearest = all.min_by(|a, b| unlike(a).total_cmp(&unlike(b))).expect("twenty drawings");
        assert_eq!(shrunken.people()[nearest], small.people()[at], "{name}");
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

/// The mean of each of 7 × 7 blocks of a square image.
fn blocks(image: &[f32]) -> [f32; 49] {
    let side = image.len().isqrt();
    let block = side / 7;
    std::array::from_fn(|at| {
        let rows = image.chunks(side).skip(at / 7 * block).take(block);
        let sum: f32 = rows.map(|row| row[at % 7 * block..][..block].iter().sum::<f32>()).sum();
        sum / (block * block) as f32
    })
}
