//! Files of images like those of MNIST, for tests.

use std::path::Path;

use crate::data::catalog::MNIST;
use crate::rng::{Purpose, Stream};

/// Values of an image.
const PIXELS: usize = 28 * 28;

/// Writes images of ten classes: two bright rows each, among noise.
pub fn easy_digits(directory: &Path) {
    let folder = MNIST.folder(directory);
    std::fs::create_dir_all(&folder).unwrap();
    let mut stream = Stream::new(1, Purpose::Search, 0);
    for (files, count) in MNIST.files.chunks(2).zip([600u32, 200]) {
        let header = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let mut images = header(&[2051, count, 28, 28]);
        let mut labels = header(&[2049, count]);
        for k in 0..count {
            let label = (k % 10) as usize;
            labels.push(label as u8);
            let bright = |at: usize| if at / 56 == label { 128.0 } else { 0.0 };
            images.extend((0..PIXELS).map(|at| (bright(at) + 127.0 * stream.uniform()) as u8));
        }
        std::fs::write(folder.join(files[0].name), images).unwrap();
        std::fs::write(folder.join(files[1].name), labels).unwrap();
    }
}
