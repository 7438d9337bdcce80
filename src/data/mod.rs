//! Data sets. A [`Dataset`] says what its examples look like, so that nothing else has to know it; a reader makes one
//! of files.
//!
//! | file | what it does |
//! | --- | --- |
//! | `dataset`, `parts` | examples, targets and people, checked; their shape, classes, channels |
//! | `fingerprint` | what tells data sets apart |
//! | `partition` | a data set divided to train, to validate and to test on |
//! | `scale`, `fit` | what is taken off each channel and by what it is divided; what suits a data set |
//! | `har` | UCI HAR: raw signals to windows, the built-in copy, the published files |
//! | `idx` | images and labels in the format of MNIST |
//! | `cifar` | CIFAR-10 and CIFAR-100: the official binary files, or sheets |
//! | `omniglot` | Omniglot: the official archives of drawings |
//! | `catalog` | MNIST and its kin: their official files, and where they lie |
//! | `files`, `archive`, `picture`, `text` | files and folders on their way in; zips, PNG, text as people write it |

mod archive;
#[cfg(not(target_arch = "wasm32"))]
pub mod catalog;
pub mod cifar;
mod dataset;
mod error;
mod files;
mod fingerprint;
mod fit;
pub mod har;
pub mod idx;
pub mod omniglot;
mod partition;
mod parts;
mod picture;
pub mod recordings;
mod scale;
mod text;

pub use dataset::Dataset;
pub use error::DataError;
pub use partition::{Sizes, Split, SubjectSplit};
pub use parts::{Channel, Description, Examples, HeldOut, Recording, Targets};
pub use scale::Standardizer;
pub use text::visible;
