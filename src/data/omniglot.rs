//! Omniglot (Lake, Salakhutdinov, Tenenbaum 2015): drawings of characters of many alphabets, each by twenty people.
//!
//! An archive holds `alphabet/characterNN/IIII_DD.png`, IIII being the character's number and DD the person who drew it:
//! black ink on white, 105 × 105 pixels of one bit. A class is a character of an alphabet and called so; ink becomes 255
//! and paper 0. Read as well are the drawings shrunk to 28 × 28 as IDX files, with a table of the classes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;

use super::files::{self, is_shadow};
use super::text::{excerpt, plain};
use super::{DataError, Dataset, Description, Examples, Targets, archive, idx, picture};

/// The published archives: alphabets to learn from, and others to judge by.
pub const ARCHIVES: [&str; 2] = ["images_background.zip", "images_evaluation.zip"];
/// The files of the shrunken drawings: images, labels, and what the labels mean.
const SHRUNKEN: [&str; 3] =
    ["omniglot28-images-idx3-ubyte.gz", "omniglot28-labels-idx1-ubyte.gz", "omniglot28-classes.csv"];
/// The larger of the official archives has 9 MiB, one drawing 300 bytes.
const ARCHIVE_LIMIT_MIB: u64 = 256;
const DRAWING_LIMIT_MIB: u64 = 1;
/// Pixels along a side of the shrunken drawings.
const SIDE: usize = 28;
const SOURCE: &str = "https://github.com/brendenlake/omniglot/tree/master/python";
const AGAIN: &str = "download it again from https://github.com/brendenlake/omniglot (folder python)";

/// Where a drawing belongs: its class and who drew it.
type Place = (String, u32);

/// Both published archives, from this folder or up to two folders below. Their classes are different ones.
pub fn read(folder: &Path) -> Result<[Dataset; 2], DataError> {
    let [background, evaluation] = ARCHIVES.map(|name| from_file(&found(folder, name)?));
    Ok([background?, evaluation?])
}

/// The drawings of an archive in a file.
pub fn from_file(path: &Path) -> Result<Dataset, DataError> {
    from_archive(&path.display().to_string(), &files::content(path, ARCHIVE_LIMIT_MIB)?)
}

/// The drawings of an archive, by class and person; `name` is what it and errors call it.
pub fn from_archive(name: &str, bytes: &[u8]) -> Result<Dataset, DataError> {
    let mut zip = archive::open(name, Cursor::new(bytes))?;
    let names = archive::names(name, &zip)?;
    let mut drawings: BTreeMap<Place, usize> = BTreeMap::new();
    for (at, entry) in names.iter().enumerate().filter(|(_, entry)| entry.ends_with(".png") && !is_shadow(entry)) {
        let place = place(entry).ok_or_else(|| {
            let problem = "drawings are called alphabet/characterNN/IIII_DD.png, with the person DD".to_owned();
            DataError::at(name, format!("`{entry}`"), problem, AGAIN)
        })?;
        if let Some(other) = drawings.insert(place, at) {
            let problem = format!("`{}` is by the same person and of the same character", names[other]);
            return Err(DataError::at(name, format!("`{entry}`"), problem, AGAIN));
        }
    }
    let classes: BTreeSet<&String> = drawings.keys().map(|(class, _)| class).collect();
    let classes: Vec<String> = classes.into_iter().cloned().collect();
    let (mut bytes, mut labels, mut people, mut size) = (vec![], vec![], vec![], None);
    for ((class, person), &at) in &drawings {
        let entry = format!("{name}/{}", names[at]);
        let drawing = picture::decode(&entry, &archive::unpack(&mut zip, at, &entry, DRAWING_LIMIT_MIB)?)?;
        let (first, given) = (*size.get_or_insert([drawing.rows, drawing.columns]), [drawing.rows, drawing.columns]);
        if first != given || drawing.channels != 1 {
            let problem = format!(
                "it has {} × {} pixels of {} channels, and the first drawing {} × {} of 1",
                given[0], given[1], drawing.channels, first[0], first[1]
            );
            return Err(DataError::at(&entry, "PNG", problem, AGAIN));
        }
        bytes.extend(drawing.bytes.iter().map(|paper| 255 - paper));
        labels.push(classes.binary_search(class).expect("every class is listed") as u32);
        people.push(*person);
    }
    let Some(size) = size else {
        let problem = "there is no drawing in it, no alphabet/characterNN/IIII_DD.png".to_owned();
        return Err(DataError::at(name, "zip", problem, AGAIN));
    };
    dataset(name, size, bytes, labels, classes, people)
}

/// The shrunken drawings, from this folder or up to two folders below: image 20 c + d is of class c and by person d + 1.
pub fn shrunken(folder: &Path) -> Result<Dataset, DataError> {
    const PEOPLE: u32 = 20;
    let [images, labels, classes] = SHRUNKEN.map(|name| -> Result<(String, Vec<u8>), DataError> {
        let path = found(folder, name)?;
        let name = path.display().to_string();
        let bytes = idx::unpacked(&name, files::content(&path, ARCHIVE_LIMIT_MIB)?)?;
        Ok((name, bytes))
    });
    let ((images_name, images), (labels_name, labels), (classes_name, classes)) = (images?, labels?, classes?);
    let classes = class_names(&classes_name, classes)?;
    let names: Vec<&str> = classes.iter().map(|class| &**class).collect();
    let images = idx::images(&images_name, &images)?;
    let labels = idx::labels(&labels_name, &labels, classes.len())?;
    let people = (0..images.count as u32).map(|at| at % PEOPLE + 1).collect();
    let title = format!("Omniglot, {}", folder.display());
    idx::dataset(&title, &names, (&images_name, images), (&labels_name, labels))?.by(people)
}

/// Every drawing at 28 × 28: of both published archives where they are there, shrunk, else the shrunken ones.
pub fn characters(folder: &Path) -> Result<Dataset, DataError> {
    let is_there = |name: &&str| files::find(folder, &[name]).is_some();
    if !ARCHIVES.iter().all(is_there) {
        return match SHRUNKEN.iter().find(|name| !is_there(name)) {
            None => shrunken(folder),
            Some(_) => Err(DataError::NotThere {
                folder: folder.display().to_string(),
                file: ARCHIVES[0],
                name: "omniglot",
                source_url: SOURCE,
            }),
        };
    }
    let [background, evaluation] = read(folder)?;
    let classes = [&background, &evaluation].map(|part| part.about().outputs.clone()).concat();
    let behind = background.about().outputs.len() as u32;
    let labels: Vec<u32> =
        background.labels().iter().copied().chain(evaluation.labels().iter().map(|label| label + behind)).collect();
    let people = [background.people(), evaluation.people()].concat();
    let drawings = [&background, &evaluation].into_iter().flat_map(|part| (0..part.len()).map(|at| part.example(at)));
    let side = background.about().shape[0];
    let bytes: Vec<u8> = drawings.flat_map(|drawing| shrink(&drawing, side)).collect();
    dataset(&folder.display().to_string(), [SIDE; 2], bytes, labels, classes, people)
}

/// A square drawing at 28 × 28: each new pixel is the mean of what it covers.
fn shrink(drawing: &[f32], side: usize) -> Vec<u8> {
    let ratio = side as f64 / SIDE as f64;
    // What a new place covers of the old ones.
    let covered = |at: usize| {
        let (low, high) = (at as f64 * ratio, (at + 1) as f64 * ratio);
        (low as usize..side.min(high.ceil() as usize))
            .map(move |old| (old, (high.min(old as f64 + 1.0) - low.max(old as f64)) / ratio))
    };
    let pixel = |row: usize, column: usize| {
        let of_row = |(old_row, share): (usize, f64)| {
            let columns = covered(column).map(|(old, part)| part * f64::from(drawing[old_row * side + old]));
            share * columns.sum::<f64>()
        };
        covered(row).map(of_row).sum::<f64>().round() as u8
    };
    (0..SIDE * SIDE).map(|at| pixel(at / SIDE, at % SIDE)).collect()
}

/// The class and the person of a drawing, by its path.
fn place(entry: &str) -> Option<Place> {
    let mut parts = entry.rsplit('/');
    let (file, character, alphabet) = (parts.next()?, parts.next()?, parts.next()?);
    let (number, person) = file.strip_suffix(".png")?.split_once('_')?;
    number.parse::<u32>().ok()?;
    Some((format!("{alphabet}/{character}"), person.parse().ok()?))
}

/// What the classes are called, from a table that begins with class, alphabet and character.
fn class_names(file: &str, bytes: Vec<u8>) -> Result<Vec<String>, DataError> {
    let text = plain(bytes).map_err(|problem| DataError::NoText { file: file.to_owned(), problem })?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let class = |(line, text): (usize, &str)| {
        let fields: Vec<&str> = text.split(',').collect();
        match fields[..] {
            [class, alphabet, character, ..] if class == (line - 1).to_string() => {
                Ok(format!("{alphabet}/{character}"))
            }
            _ => {
                let problem =
                    format!("{} does not begin with class {}, alphabet and character", excerpt(text), line - 1);
                Err(DataError::at(file, format!("line {}", line + 1), problem, "give the table as it was made"))
            }
        }
    };
    text.trim_end().lines().enumerate().skip(1).map(class).collect()
}

fn dataset(
    name: &str,
    size: [usize; 2],
    bytes: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
    people: Vec<u32>,
) -> Result<Dataset, DataError> {
    let about = Description::images(format!("Omniglot, {name}"), size, &["ink"], classes);
    Dataset::new(about, Examples::bytes(bytes, 1), Targets::Labels(labels), people)
}

fn found(folder: &Path, name: &str) -> Result<std::path::PathBuf, DataError> {
    files::find(folder, &[name]).ok_or_else(|| {
        let problem = format!("there is no {name} in it or up to two folders below");
        DataError::at(&folder.display().to_string(), "Omniglot", problem, AGAIN)
    })
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::encode;
    use super::*;
    use png::{BitDepth, ColorType};
    use std::io::Write;
    use zip::{ZipWriter, write::SimpleFileOptions};

    fn zipped(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// White paper `[2, 3]` with ink where bits are 0.
    fn drawing(rows: [u8; 2]) -> Vec<u8> {
        encode([2, 3], ColorType::Grayscale, BitDepth::One, &rows)
    }

    fn says<T>(result: Result<T, DataError>, parts: &[&str]) {
        let message = result.err().expect("an error").to_string();
        for part in parts {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    }

    #[test]
    fn drawings_are_sorted_by_class_and_person() {
        let white = drawing([0b1110_0000; 2]);
        let files = [
            ("images/Greek/character02/0395_01.png", white.clone()),
            ("images/Greek/character01/0394_12.png", white.clone()),
            ("images/Greek/character01/0394_02.png", drawing([0b0110_0000, 0b1100_0000])),
            ("images/Balinese/character01/0108_20.png", white),
            ("__MACOSX/images/Greek/character01/._0394_02.png", vec![1]),
            ("images/readme.txt", vec![2]),
        ];
        let data = from_archive("a.zip", &zipped(&files)).unwrap();
        assert_eq!(data.about().outputs, ["Balinese/character01", "Greek/character01", "Greek/character02"]);
        assert_eq!((data.labels(), data.people()), (&[0, 1, 1, 2][..], &[20, 2, 12, 1][..]));
        assert_eq!(data.about().shape, [2, 3, 1]);
        assert_eq!(*data.example(1), [255.0, 0.0, 0.0, 0.0, 0.0, 255.0]);
    }

    #[test]
    fn a_new_pixel_is_the_mean_of_what_it_covers() {
        let side = 42;
        let drawing: Vec<f32> = (0..side * side).map(|at| (at % side % 3) as f32 * 60.0).collect();
        let shrunk = shrink(&drawing, side);
        // Old columns 0, 1, 2 have 0, 60, 120; new ones cover one and a half each.
        assert_eq!(shrunk[..4], [20, 100, 20, 100]);
        assert_eq!(shrunk[27 * SIDE..][..2], [20, 100]);
        assert_eq!(shrink(&[7.0; SIDE * SIDE], SIDE), [7; SIDE * SIDE]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let one = |name: &str, bytes: Vec<u8>| from_archive("a.zip", &zipped(&[(name, bytes)]));
        let good = drawing([0; 2]);
        says(one("x.txt", vec![]), &["a.zip, zip: there is no drawing"]);
        says(one("Greek/character01/first.png", good.clone()), &["`Greek/character01/first.png`", "the person DD"]);
        says(one("Greek/character01/0394_01.png", good[..40].to_vec()), &["0394_01.png, PNG", "damaged or cut short"]);
        says(from_archive("a.zip", b"PK\x03\x04"), &["a.zip is damaged"]);
        let other = encode([3, 3], ColorType::Grayscale, BitDepth::One, &[0; 3]);
        let two = [("G/character01/1_01.png", good.clone()), ("G/character01/1_02.png", other)];
        says(from_archive("a.zip", &zipped(&two)), &["1_02.png, PNG: it has 3 × 3 pixels of 1 channels", "2 × 3 of 1"]);
        let twice = [("a/G/character01/1_01.png", good.clone()), ("b/G/character01/1_01.png", good)];
        says(from_archive("a.zip", &zipped(&twice)), &["is by the same person"]);
        let empty = tempfile::tempdir().unwrap();
        says(read(empty.path()), &["no images_background.zip", "brendenlake/omniglot"]);
        says(shrunken(empty.path()), &["no omniglot28-images"]);
        let table = |text: &str| class_names("c.csv", text.into());
        assert_eq!(table("class,alphabet,character\r\n0,Greek,character01,7\r\n").unwrap(), ["Greek/character01"]);
        says(table("head\n0,A,b\n2,A,c\n"), &["c.csv, line 3: `2,A,c` does not begin with class 1"]);
        says(table("head\n0,A\n"), &["c.csv, line 2"]);
    }
}
