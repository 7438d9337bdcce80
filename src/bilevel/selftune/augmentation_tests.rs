//! What augmentations do, beside loops on the host.

use super::{Augmentation, Draws, SelfTuned};
use crate::bilevel::{Loss, Transform};
use crate::interp::eval;
use crate::ir::{DType, Graph};
use crate::nn::{Layer, Model};
use crate::rng::{Purpose, Stream};

const HOLES: Transform = Transform::Within { low: 0.0, high: 5.0 };
const LENGTH: Transform = Transform::Within { low: 2.0, high: 24.0 };

fn network(example: &[usize], domains: Vec<Transform>, augmentations: Vec<(Augmentation, usize)>) -> SelfTuned {
    let inputs = example.iter().product();
    let dense = Layer::Dense { name: "dense".into(), inputs, outputs: 2, bias: true };
    let model = Model::new(vec![Layer::Flatten, dense], example).unwrap();
    let network = SelfTuned { model, loss: Loss::CrossEntropy, domains, augmentations, entropy: 0.0 };
    network.check().unwrap();
    network
}

/// Examples of ones with their augmentations, for values of the hyperparameters and draws.
fn augmented(network: &SelfTuned, values: &[Vec<f64>], draws: Vec<f64>, draw: &[usize]) -> Vec<f64> {
    let mut g = Graph::new();
    let batch = values.len();
    let shape = [&[batch], network.model.input()].concat();
    let x = g.full(&shape, 1.0);
    let free = g.input("free", &[batch, network.domains.len()], DType::F32);
    let given = g.input("draws", draw, DType::F32);
    let augmented = network.augment(&mut g, x, free, Draws::Given(&[given]));
    let unconstrained =
        values.iter().flat_map(|row| row.iter().zip(&network.domains).map(|(&v, domain)| domain.unconstrain(v)));
    let unconstrained = unconstrained.collect();
    eval(&g, &[augmented.x()], &[unconstrained, draws]).remove(0)
}

/// As the authors of self-tuning networks cut holes: rows from ⌊y − l/2⌋ up to but without ⌊y + l/2⌋, both within the
/// image, and columns alike.
fn cut(image: &mut [f64], [height, width]: [usize; 2], middle: [f64; 2], side: f64) {
    let ends = |middle: f64, length: usize| {
        [middle - side / 2.0, middle + side / 2.0].map(|end| end.clamp(0.0, length as f64) as usize)
    };
    let ([top, bottom], [left, right]) = (ends(middle[0], height), ends(middle[1], width));
    for row in top..bottom {
        image[row * width + left..row * width + right].fill(0.0);
    }
}

#[test]
fn cutout_is_that_of_the_host() {
    let (height, width) = (9, 12);
    let network = network(&[height, width, 1], vec![HOLES, LENGTH], vec![(Augmentation::Cutout { length: 1 }, 0)]);
    let mut stream = Stream::new(4, Purpose::Search, 0);
    let mut values: Vec<Vec<f64>> =
        (0..40).map(|_| vec![(5.0 * stream.uniform()).clamp(0.01, 4.99), 2.0 + 10.0 * stream.uniform()]).collect();
    // Whole numbers but for the last digits are on either side of a step.
    values.extend([[0.999_9, 3.000_1], [1.000_1, 3.999_9], [4.999, 23.99]].map(Vec::from));
    let shape = network.draw_shapes(values.len()).remove(0);
    assert_eq!(shape, [43, 4, 2]);
    let below = |stream: &mut Stream, end: usize| (stream.uniform() * end as f64).floor();
    let draws: Vec<f64> = (0..43 * 4).flat_map(|_| [below(&mut stream, height), below(&mut stream, width)]).collect();
    let found = augmented(&network, &values, draws.clone(), &shape);
    let mut holes = 0;
    for (k, value) in values.iter().enumerate() {
        let mut image = vec![1.0; height * width];
        for square in 0..value[0].floor() as usize {
            let middle = [0, 1].map(|axis| draws[(k * 4 + square) * 2 + axis]);
            cut(&mut image, [height, width], middle, value[1].floor());
            holes += 1;
        }
        assert_eq!(found[k * height * width..][..height * width], image, "{value:?}");
    }
    assert!(holes > 50, "{holes}");
}

#[test]
fn a_time_mask_is_as_long_as_its_share_and_jitter_and_scaling_reach_where_they_should() {
    let (length, channels) = (40, 3);
    let share = Transform::Within { low: 0.0, high: 0.5 };
    let masked = network(&[length, channels], vec![share], vec![(Augmentation::TimeMask, 0)]);
    let found = augmented(&masked, &[vec![0.2], vec![0.2], vec![0.49]], vec![0.5, 0.05, 0.999], &[3]);
    let kept = |k: usize| (0..length).map(|t| found[(k * length + t) * channels]).collect::<Vec<_>>();
    // 8 steps about the middle, 6 of 8 at the beginning, about 10 at the end.
    let zeros = |from: usize, to: usize| {
        (0..length).map(|t| if (from..to).contains(&t) { 0.0 } else { 1.0 }).collect::<Vec<_>>()
    };
    assert_eq!((kept(0), kept(1), kept(2)), (zeros(16, 24), zeros(0, 6), zeros(30, 40)));
    assert!(found.chunks(channels).all(|row| row.iter().all(|&value| value == row[0])), "all channels at once");

    let scaled = network(&[2, channels], vec![Transform::Log], vec![(Augmentation::InputScale, 0)]);
    let found = augmented(&scaled, &[vec![0.5], vec![2.0]], vec![1.0, -1.0, 0.0, 0.5, 1.5, -0.25], &[2, 1, 3]);
    assert_eq!(found, [1.5, 0.5, 1.0, 1.5, 0.5, 1.0, 2.0, 4.0, 0.5, 2.0, 4.0, 0.5]);

    let jittered = network(&[1, 2], vec![Transform::Log], vec![(Augmentation::Jitter, 0)]);
    let found = augmented(&jittered, &[vec![0.5], vec![2.0]], vec![1.0, -1.0, 0.0, 0.5], &[2, 1, 2]);
    assert_eq!(found, [1.5, 0.5, 1.0, 2.0]);
}
