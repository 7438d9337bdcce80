//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the official binary files, or sheets of images as PNG.
//!
//! A binary file is records one after another: the label, or for CIFAR-100 the coarse label and then the fine one, which
//! is the class; then 1,024 bytes each of red, green and blue, row by row. A sheet holds tiles of 32 × 32 pixels in
//! rows; the labels of all sheets lie in one file, a byte each.

use std::path::Path;

use super::{DataError, Dataset, Description, Examples, Targets, files, picture};

const SIDE: usize = 32;
const COLOURS: [&str; 3] = ["red", "green", "blue"];
const PIXELS: usize = SIDE * SIDE;
/// The largest official file, the training set of CIFAR-100, has 147 MiB.
const LIMIT_MIB: u64 = 256;
const AGAIN: &str = "download it again from https://www.cs.toronto.edu/~kriz/cifar.html (binary version)";

/// Which of the two.
#[derive(Clone, Copy, Debug)]
pub struct Cifar {
    /// Its name.
    pub title: &'static str,
    /// Its classes, by label.
    pub classes: &'static [&'static str],
    /// Bytes of a record before the label.
    skipped: usize,
    /// The official training files, and the test file.
    official: (&'static [&'static str], &'static str),
    /// The files with the labels of the sheets `train_00.png` … and `test_00.png` ….
    sheet_labels: [&'static str; 2],
}

/// Ten classes.
pub const CIFAR_10: Cifar = Cifar {
    title: "CIFAR-10",
    classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    skipped: 0,
    official: (
        &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        "test_batch.bin",
    ),
    sheet_labels: ["train_labels.u8", "test_labels.u8"],
};

/// A hundred classes.
#[rustfmt::skip]
pub const CIFAR_100: Cifar = Cifar {
    title: "CIFAR-100",
    classes: &[
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
        "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    ],
    skipped: 1,
    official: (&["train.bin"], "test.bin"),
    sheet_labels: ["train_fine.u8", "test_fine.u8"],
};

/// Images and labels that are being read.
#[derive(Default)]
struct Images {
    /// `[n, row, column, colour]`.
    bytes: Vec<u8>,
    labels: Vec<u32>,
}

impl Cifar {
    /// The training and the test images: from the official files, which lie in this folder or up to two folders below, or
    /// else from the sheets in it.
    pub fn read(&self, folder: &Path) -> Result<[Dataset; 2], DataError> {
        let (train, test) = self.official;
        let official = |names: &[&str]| {
            let mut images = Images::default();
            for name in names {
                let path = files::find(folder, &[name]).ok_or_else(|| self.missing(folder, name))?;
                self.add_records(&mut images, &path.display().to_string(), &files::content(&path, LIMIT_MIB)?)?;
            }
            Ok(images)
        };
        let is_there = |name: &&str| files::find(folder, &[name]).is_some();
        let parts = if train.iter().chain([&test]).any(is_there) {
            [official(train)?, official(&[test])?]
        } else {
            [self.sheets(folder, "train", self.sheet_labels[0])?, self.sheets(folder, "test", self.sheet_labels[1])?]
        };
        let [train, test] = parts.map(|images| self.dataset(&folder.display().to_string(), images));
        Ok([train?, test?])
    }

    /// The images in the bytes of one official file; `name` is what errors call it.
    pub fn from_binary(&self, name: &str, bytes: &[u8]) -> Result<Dataset, DataError> {
        let mut images = Images::default();
        self.add_records(&mut images, name, bytes)?;
        self.dataset(name, images)
    }

    fn add_records(&self, to: &mut Images, name: &str, bytes: &[u8]) -> Result<(), DataError> {
        let head = self.skipped + 1;
        let record = head + COLOURS.len() * PIXELS;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let (whole, rest) = (bytes.len() / record, bytes.len() % record);
            let problem =
                format!("{whole} images of {record} bytes leave {rest} bytes, so it is no whole {}", self.title);
            return Err(DataError::at(name, format!("byte {}", whole * record), problem, AGAIN));
        }
        for (at, record) in bytes.chunks_exact(record).enumerate() {
            let place = || format!("byte {} (label of image {at})", at * record.len() + self.skipped);
            to.labels.push(self.label(record[self.skipped], name, place)?);
            let planes = &record[head..];
            to.bytes.extend((0..PIXELS).flat_map(|pixel| [0, 1, 2].map(|colour| planes[colour * PIXELS + pixel])));
        }
        Ok(())
    }

    fn label(&self, label: u8, file: &str, place: impl FnOnce() -> String) -> Result<u32, DataError> {
        if usize::from(label) < self.classes.len() {
            return Ok(label.into());
        }
        let problem = format!("the label is {label}, but classes are 0 to {}", self.classes.len() - 1);
        Err(DataError::at(file, place(), problem, AGAIN))
    }

    /// The images of the sheets of one part, as many as there are labels.
    fn sheets(&self, folder: &Path, part: &str, labels: &str) -> Result<Images, DataError> {
        let path = files::find(folder, &[labels]).ok_or_else(|| self.missing(folder, self.official.1))?;
        let (name, bytes) = (path.display().to_string(), files::content(&path, LIMIT_MIB)?);
        let mut images = Images::default();
        for (at, &label) in bytes.iter().enumerate() {
            images.labels.push(self.label(label, &name, || format!("byte {at}"))?);
        }
        let wanted = images.labels.len() * COLOURS.len() * PIXELS;
        for sheet in 0.. {
            if images.bytes.len() >= wanted {
                break;
            }
            let path = path.with_file_name(format!("{part}_{sheet:02}.png"));
            let name = path.display().to_string();
            add_tiles(&mut images.bytes, &name, &files::content(&path, LIMIT_MIB)?)?;
        }
        images.bytes.truncate(wanted);
        Ok(images)
    }

    fn dataset(&self, place: &str, Images { bytes, labels }: Images) -> Result<Dataset, DataError> {
        let classes = self.classes.iter().map(|&class| class.to_owned()).collect();
        let about = Description::images(format!("{}, {place}", self.title), [SIDE; 2], &COLOURS, classes);
        Dataset::new(about, Examples::bytes(bytes, COLOURS.len()), Targets::Labels(labels), vec![])
    }

    fn missing(&self, folder: &Path, name: &str) -> DataError {
        let (train, test) = self.official;
        let problem = format!(
            "there is no {name} in it or up to two folders below; {} is the files {} and {test}",
            self.title,
            train.join(", ")
        );
        DataError::at(&folder.display().to_string(), self.title, problem, AGAIN)
    }
}

/// Puts the tiles of a sheet behind one another.
fn add_tiles(to: &mut Vec<u8>, name: &str, bytes: &[u8]) -> Result<(), DataError> {
    let sheet = picture::decode(name, bytes)?;
    let size = [sheet.rows, sheet.columns];
    if sheet.channels != COLOURS.len() || size.iter().any(|&side| side == 0 || !side.is_multiple_of(SIDE)) {
        let problem = format!(
            "it has {} × {} pixels of {} channels; a sheet is RGB and made of tiles of {SIDE} × {SIDE}",
            sheet.rows, sheet.columns, sheet.channels
        );
        return Err(DataError::at(name, "PNG", problem, "give the sheet as it was made"));
    }
    let width = SIDE * COLOURS.len();
    let [down, across] = size.map(|side| side / SIDE);
    for tile in 0..down * across {
        let (first, left) = (tile / across * SIDE, tile % across * width);
        for row in first..first + SIDE {
            to.extend_from_slice(&sheet.bytes[row * across * width + left..][..width]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::encode;
    use super::*;
    use png::{BitDepth, ColorType};
    use std::fs;

    /// Byte `k` of image `at`.
    fn pixel(at: usize, k: usize) -> u8 {
        (at * 31 + k * 7 + k / 256) as u8
    }

    /// Records of images with these labels, in planes.
    fn records(skipped: usize, labels: &[u8]) -> Vec<u8> {
        let record = |(at, &label): (usize, &u8)| {
            let planes = (0..3).flat_map(move |c| (0..PIXELS).map(move |p| pixel(at, 3 * p + c)));
            std::iter::repeat_n(99, skipped).chain([label]).chain(planes)
        };
        labels.iter().enumerate().flat_map(record).collect()
    }

    /// A sheet of the images from one on, two in a row.
    fn sheet(first: usize, rows: usize) -> Vec<u8> {
        let tiles = (0..rows * SIDE).flat_map(|row| (0..2 * SIDE).map(move |column| (row, column)));
        let bytes: Vec<u8> = tiles
            .flat_map(|(row, column)| {
                let at = first + row / SIDE * 2 + column / SIDE;
                (0..3).map(move |c| pixel(at, 3 * (row % SIDE * SIDE + column % SIDE) + c))
            })
            .collect();
        encode([rows * SIDE, 2 * SIDE], ColorType::Rgb, BitDepth::Eight, &bytes)
    }

    fn assert_images(data: &Dataset, labels: &[u32]) {
        assert_eq!((data.labels(), &data.about().shape[..]), (labels, &[SIDE, SIDE, 3][..]));
        let Examples::Bytes { bytes, .. } = data.examples() else { panic!("images are bytes") };
        for (k, &byte) in bytes.iter().enumerate() {
            assert_eq!(byte, pixel(k / (3 * PIXELS), k % (3 * PIXELS)), "byte {k}");
        }
    }

    fn says<T>(result: Result<T, DataError>, parts: &[&str]) {
        let message = result.err().expect("an error").to_string();
        for part in parts {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    }

    #[test]
    fn official_files_and_sheets_hold_the_same_images() {
        assert_images(&CIFAR_10.from_binary("f", &records(0, &[9, 0])).unwrap(), &[9, 0]);
        assert_images(&CIFAR_100.from_binary("f", &records(1, &[99, 3])).unwrap(), &[99, 3]);
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
        put("train_labels.u8", &[1, 2, 3, 4, 5]);
        put("train_00.png", &sheet(0, 2));
        put("train_01.png", &sheet(4, 1));
        put("test_labels.u8", &[6]);
        put("test_00.png", &sheet(0, 1));
        let [train, test] = CIFAR_10.read(root.path()).unwrap();
        // The last tile has no label.
        assert_images(&train, &[1, 2, 3, 4, 5]);
        assert_images(&test, &[6]);
        // The official files come first, and all of them are wanted.
        let below = root.path().join("cifar-10-batches-bin");
        fs::create_dir(&below).unwrap();
        let put = |name: &str, label: u8| fs::write(below.join(name), records(0, &[label])).unwrap();
        CIFAR_10.official.0.iter().for_each(|name| put(name, 7));
        says(
            CIFAR_10.read(root.path()),
            &["no test_batch.bin", "data_batch_1.bin, data_batch_2.bin", "kriz/cifar.html"],
        );
        put("test_batch.bin", 8);
        let [train, test] = CIFAR_10.read(root.path()).unwrap();
        assert_eq!((train.labels(), test.labels()), (&[7; 5][..], &[8][..]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let file = records(0, &[1, 2]);
        says(CIFAR_10.from_binary("f", &file[..4000]), &["f, byte 3073", "1 images of 3073 bytes leave 927 bytes"]);
        says(CIFAR_10.from_binary("f", &[]), &["f, byte 0", "0 images"]);
        says(
            CIFAR_10.from_binary("f", &records(0, &[1, 10])),
            &["f, byte 3073 (label of image 1)", "classes are 0 to 9"],
        );
        says(CIFAR_100.from_binary("f", &records(1, &[100])), &["f, byte 1 (label of image 0)", "label is 100"]);
        let root = tempfile::tempdir().unwrap();
        says(CIFAR_100.read(root.path()), &["no test.bin", "train.bin and test.bin"]);
        let put = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
        put("train_fine.u8", &[1, 100]);
        put("train_00.png", &sheet(0, 1));
        says(CIFAR_100.read(root.path()), &["train_fine.u8, byte 1", "label is 100"]);
        put("train_fine.u8", &[1, 2, 3]);
        says(CIFAR_100.read(root.path()), &["train_01.png"]);
        put("train_00.png", &encode([SIDE, 40], ColorType::Grayscale, BitDepth::Eight, &[0; SIDE * 40]));
        says(CIFAR_100.read(root.path()), &["train_00.png", "32 × 40 pixels of 1 channels", "tiles of 32 × 32"]);
    }
}
