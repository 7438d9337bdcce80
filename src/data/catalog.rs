//! The data sets that studies use besides the built-in one: what their official files are, and where they lie.

use std::path::{Path, PathBuf};

use super::{DataError, Dataset, files, idx};

/// A data set of images and labels in IDX files.
#[derive(Clone, Copy, Debug)]
pub struct DataSet {
    /// Its name, and that of its folder.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Where the official files are, each packed with gzip under its name with `.gz`.
    pub source: &'static str,
    /// Its authors' terms.
    pub licence: &'static str,
    /// Whom to cite.
    pub citation: &'static str,
    /// Its classes, by label.
    pub classes: [&'static str; 10],
    /// Images and labels for training, then for testing.
    pub files: [OfficialFile; 4],
}

/// A file as its authors publish it. The unpacked bytes are the authority: packed anew, the same file has another
/// checksum.
#[derive(Clone, Copy, Debug)]
pub struct OfficialFile {
    /// Its name, unpacked.
    pub name: &'static str,
    /// Its length, unpacked.
    pub bytes: u64,
    /// MD5 of it, unpacked, in hexadecimal.
    pub md5: &'static str,
    /// Length of the packed file as published.
    pub packed_bytes: u64,
    /// MD5 of the packed file as published.
    pub packed_md5: &'static str,
}

/// Pixels along a side of their images.
const SIDE: usize = 28;
const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// Handwritten digits.
pub const MNIST: DataSet = DataSet {
    name: "mnist",
    title: "MNIST, handwritten digits: 60,000 images to train on, 10,000 to test on, 28 × 28 pixels",
    source: "https://ossci-datasets.s3.amazonaws.com/mnist/",
    licence: "CC BY-SA 3.0",
    citation: "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86(11), 1998",
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    files: [
        OfficialFile {
            name: TRAIN_IMAGES,
            bytes: 47_040_016,
            md5: "6bbc9ace898e44ae57da46a324031adb",
            packed_bytes: 9_912_422,
            packed_md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        },
        OfficialFile {
            name: TRAIN_LABELS,
            bytes: 60_008,
            md5: "a25bea736e30d166cdddb491f175f624",
            packed_bytes: 28_881,
            packed_md5: "d53e105ee54ea40749a09fcbcd1e9432",
        },
        OfficialFile {
            name: TEST_IMAGES,
            bytes: 7_840_016,
            md5: "2646ac647ad5339dbf082846283269ea",
            packed_bytes: 1_648_877,
            packed_md5: "9fb629c4189551a2d022fa330f9573f3",
        },
        OfficialFile {
            name: TEST_LABELS,
            bytes: 10_008,
            md5: "27ae3e4e09519cfbb04c329615203637",
            packed_bytes: 4_542,
            packed_md5: "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ],
};

/// Articles of clothing.
pub const FASHION_MNIST: DataSet = DataSet {
    name: "fashion-mnist",
    title: "Fashion-MNIST, articles of clothing: 60,000 images to train on, 10,000 to test on, 28 × 28 pixels",
    source: "https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion",
    licence: "MIT, copyright 2017 Zalando SE",
    citation: "H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747, 2017",
    classes: ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"],
    files: [
        OfficialFile {
            name: TRAIN_IMAGES,
            bytes: 47_040_016,
            md5: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            packed_bytes: 26_421_880,
            packed_md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        },
        OfficialFile {
            name: TRAIN_LABELS,
            bytes: 60_008,
            md5: "9018921c3c673c538a1fc5bad174d6f9",
            packed_bytes: 29_515,
            packed_md5: "25c81989df183df01b3e8a0aad5dffbe",
        },
        OfficialFile {
            name: TEST_IMAGES,
            bytes: 7_840_016,
            md5: "8181f5470baa50b63fa0f6fddb340f0a",
            packed_bytes: 4_422_102,
            packed_md5: "bef4ecab320f06d8554ea6380940ec79",
        },
        OfficialFile {
            name: TEST_LABELS,
            bytes: 10_008,
            md5: "15d484375f8d13e6eb1aabb0c3f46965",
            packed_bytes: 5_148,
            packed_md5: "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ],
};

/// All of them.
pub const DATA_SETS: [DataSet; 2] = [MNIST, FASHION_MNIST];

impl DataSet {
    /// The folder in which the data set is looked for, below a directory of data sets: that of its name, however this
    /// is written (`fashion-mnist`, `FashionMNIST`), or the directory itself if it has the name.
    pub fn folder(&self, directory: &Path) -> PathBuf {
        let letters = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
        let is_named = |path: &PathBuf| letters(&files::name(path)) == letters(self.name);
        let own = directory.join(self.name);
        if own.is_dir() {
            return own;
        }
        let found = files::entries(directory).0.into_iter().find(is_named);
        found.or_else(|| Some(directory.to_owned()).filter(is_named)).unwrap_or(own)
    }

    /// The training and the test examples, from below a directory of data sets.
    pub fn load(&self, directory: &Path) -> Result<[Dataset; 2], DataError> {
        let part = |[images, labels]: [&OfficialFile; 2]| {
            let (images_name, bytes) = self.read(images, directory)?;
            let images = idx::images(&images_name, &bytes)?;
            if (images.rows, images.columns) != (SIDE, SIDE) {
                let problem = format!(
                    "{} × {} pixels, and images of {} have {SIDE} × {SIDE}",
                    images.rows, images.columns, self.name
                );
                return Err(DataError::at(&images_name, "bytes 8 to 15 (rows, columns)", problem, idx::AGAIN));
            }
            let (labels_name, bytes) = self.read(labels, directory)?;
            let labels = idx::labels(&labels_name, &bytes, self.classes.len())?;
            idx::dataset(self.title, &self.classes, (&images_name, images), (&labels_name, labels))
        };
        let [train_images, train_labels, test_images, test_labels] = &self.files;
        Ok([part([train_images, train_labels])?, part([test_images, test_labels])?])
    }

    /// A file's path and its bytes, unpacked.
    fn read(&self, file: &OfficialFile, directory: &Path) -> Result<(String, Vec<u8>), DataError> {
        let folder = self.folder(directory);
        let (path, bytes) = file.read(&folder)?.ok_or_else(|| DataError::NotThere {
            folder: folder.display().to_string(),
            file: file.name,
            name: self.name,
            source_url: self.source,
        })?;
        let name = path.display().to_string();
        let bytes = idx::unpacked(&name, bytes)?;
        Ok((name, bytes))
    }
}

impl OfficialFile {
    /// The names that this file goes around under, in small letters: packed or not, and with a point as some
    /// programs write it (`train-images.idx3-ubyte`).
    fn names(&self) -> [String; 4] {
        let pointed = self.name.replacen("-idx", ".idx", 1);
        [self.name.to_owned(), format!("{}.gz", self.name), pointed.clone(), format!("{pointed}.gz")]
    }

    /// The path and the bytes of this file in a folder or up to two folders below, packed or not, if it is there.
    pub fn read(&self, folder: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, DataError> {
        let names = self.names();
        let Some(path) = files::find(folder, &names.each_ref().map(|name| &**name)) else { return Ok(None) };
        let bytes = files::read(&path, idx::LIMIT_MIB)?;
        Ok(bytes.map(|bytes| (path, bytes)))
    }
}
