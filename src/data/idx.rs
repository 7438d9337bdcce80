//! The IDX format of MNIST and its kin: a big-endian header, then one unsigned byte a pixel or label.
//!
//! | bytes | images | labels |
//! | --- | --- | --- |
//! | 0..4 | 2051: unsigned bytes, three sizes | 2049: unsigned bytes, one size |
//! | 4..8 | images | labels |
//! | 8..12, 12..16 | rows, columns | |
//!
//! Files may be packed with gzip, which their first bytes tell, not their names. Nothing is allocated on a
//! header's word alone, and unpacking stops at [`LIMIT_MIB`].

use super::{DataError, Dataset, Description, Examples, Targets};
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// The largest file that is read, in MiB. The official ones have 45.
pub const LIMIT_MIB: u64 = 256;

const IMAGES: u32 = 2051;
const LABELS: u32 = 2049;
const GZIP: [u8; 2] = [0x1f, 0x8b];
pub(super) const AGAIN: &str = "download it again from its source (`stackelberg data` names it)";

/// Images of one size, one byte a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Height, in pixels.
    pub rows: usize,
    /// Width, in pixels.
    pub columns: usize,
    /// `[count, rows, columns]`, row-major.
    pub pixels: Vec<u8>,
}

/// Unpacks a file if it is packed; `name` is what errors call it.
pub fn unpacked(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut plain = vec![];
    let reader = MultiGzDecoder::new(&bytes[..]);
    reader.take((LIMIT_MIB << 20) + 1).read_to_end(&mut plain).map_err(|error| {
        let place = format!("gzip, after {} unpacked bytes", plain.len());
        DataError::at(name, place, format!("the packed data are damaged or cut short ({error})"), AGAIN)
    })?;
    if plain.len() as u64 > LIMIT_MIB << 20 {
        return Err(DataError::TooLarge { file: name.into(), limit_mib: LIMIT_MIB });
    }
    Ok(plain)
}

/// Reads unpacked images.
pub fn images(name: &str, bytes: &[u8]) -> Result<Images, DataError> {
    let ([count, rows, columns], pixels) = parse(name, bytes, IMAGES, ["images", "rows", "columns"])?;
    Ok(Images { count, rows, columns, pixels: pixels.to_vec() })
}

/// Reads unpacked labels, each below `classes`.
pub fn labels(name: &str, bytes: &[u8], classes: usize) -> Result<Vec<u8>, DataError> {
    let ([_], labels) = parse(name, bytes, LABELS, ["labels"])?;
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        None => Ok(labels.to_vec()),
        Some(at) => Err(DataError::at(
            name,
            format!("byte {} (label {at})", 8 + at),
            format!("the label is {}, but classes are 0 to {}", labels[at], classes.saturating_sub(1)),
            AGAIN,
        )),
    }
}

/// The data set of images and their labels, of these classes; the names beside them are what errors call the files.
pub fn dataset(
    name: &str,
    classes: &[&str],
    (images_name, images): (&str, Images),
    (labels_name, labels): (&str, Vec<u8>),
) -> Result<Dataset, DataError> {
    if images.count != labels.len() {
        return Err(DataError::at(
            labels_name,
            "bytes 4..8 (labels)".to_owned(),
            format!("there are {} labels, but {} images in {images_name}", labels.len(), images.count),
            "take both files of one download",
        ));
    }
    let classes = classes.iter().map(|&class| class.to_owned()).collect();
    let about = Description::images(name, [images.rows, images.columns], &["grey"], classes);
    let labels = labels.into_iter().map(u32::from).collect();
    Dataset::new(about, Examples::bytes(images.pixels, 1), Targets::Labels(labels), vec![])
}

/// The sizes of a file of this kind, and what follows them.
fn parse<'a, const N: usize>(
    name: &str,
    bytes: &'a [u8],
    magic: u32,
    fields: [&str; N],
) -> Result<([usize; N], &'a [u8]), DataError> {
    let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().expect("four bytes")));
    let found = word(0).ok_or_else(|| {
        DataError::at(name, "bytes 0..4 (magic number)", format!("the file has {} bytes in all", bytes.len()), AGAIN)
    })?;
    if found != magic {
        let problem = match found {
            IMAGES => "these are images where labels are wanted".to_owned(),
            LABELS => "these are labels where images are wanted".to_owned(),
            _ => format!("the magic number is {found} where {magic} is wanted: no IDX file of unsigned bytes"),
        };
        return Err(DataError::at(name, "bytes 0..4 (magic number)", problem, "give the file that its name promises"));
    }
    let mut sizes = [0; N];
    for (at, (size, field)) in sizes.iter_mut().zip(fields).enumerate() {
        let (first, end) = (4 + 4 * at, 8 + 4 * at);
        let place = || format!("bytes {first}..{end} ({field})");
        let given =
            word(first).ok_or_else(|| DataError::at(name, place(), "the file ends before them".to_owned(), AGAIN))?;
        if given == 0 {
            return Err(DataError::at(name, place(), format!("there are no {field}"), AGAIN));
        }
        *size = given as usize;
    }
    let body = &bytes[4 + 4 * N..];
    let wanted = sizes.iter().map(|&size| size as u128).product::<u128>();
    if wanted != body.len() as u128 {
        let sizes = sizes.map(|size| size.to_string()).join(" × ");
        let problem = format!("{} bytes follow the header, whose sizes {sizes} say {wanted}", body.len());
        return Err(DataError::at(name, format!("byte {} on", 4 + 4 * N), problem, AGAIN));
    }
    Ok((sizes, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn file(magic: u32, sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let header = [magic].iter().chain(sizes).flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        [&header, body].concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn says<T: std::fmt::Debug>(result: Result<T, DataError>, parts: &[&str]) {
        let message = result.unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(count in 1usize..6, rows in 1usize..5, columns in 1usize..5, seed: u8, packed: bool) {
            let pixels: Vec<u8> = (0..count * rows * columns).map(|k| seed.wrapping_add(31u8.wrapping_mul(k as u8))).collect();
            let classes: Vec<u8> = (0..count).map(|k| k as u8 % 10).collect();
            let wrap = |bytes: Vec<u8>| unpacked("f", if packed { gzip(&bytes) } else { bytes });
            let written = file(IMAGES, &[count, rows, columns].map(|n| n as u32), &pixels);
            let read = images("f", &wrap(written).unwrap()).unwrap();
            prop_assert_eq!(&read, &Images { count, rows, columns, pixels });
            let written = file(LABELS, &[count as u32], &classes);
            let read_labels = labels("g", &wrap(written).unwrap(), 10).unwrap();
            prop_assert_eq!(&read_labels, &classes);
            let data = dataset("s", &["a"; 10], ("f", read), ("g", read_labels)).unwrap();
            prop_assert_eq!((data.len(), &data.about().shape), (count, &vec![rows, columns, 1]));
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64), start in 0usize..3) {
            let start = [vec![], IMAGES.to_be_bytes().to_vec(), GZIP.to_vec()][start].clone();
            let bytes = [start, bytes].concat();
            if let Ok(plain) = unpacked("f", bytes) {
                let _ = (images("f", &plain), labels("f", &plain, 10));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        says(images("f", &[]), &["f, bytes 0..4", "0 bytes in all", "download"]);
        says(images("f", b"PK\x03\x04 a zip"), &["bytes 0..4 (magic number)", "2051 is wanted"]);
        says(images("f", &file(LABELS, &[1], &[3])), &["labels where images"]);
        says(labels("f", &file(IMAGES, &[1, 1, 1], &[3]), 10), &["images where labels"]);
        says(images("f", &file(IMAGES, &[2, 2], &[])), &["bytes 12..16 (columns)", "ends before"]);
        says(images("f", &file(IMAGES, &[2, 0, 2], &[])), &["bytes 8..12 (rows)", "no rows"]);
        says(images("f", &file(IMAGES, &[2, 2, 2], &[0; 7])), &["byte 16 on", "7 bytes", "2 × 2 × 2 say 8"]);
        says(images("f", &file(IMAGES, &[2, 2, 2], &[0; 9])), &["9 bytes", "say 8"]);
        says(images("f", &file(IMAGES, &[u32::MAX; 3], &[0; 9])), &["say 79228162458924105385300197375"]);
        says(labels("f", &file(LABELS, &[u32::MAX], &[0; 9]), 10), &["9 bytes", "say 4294967295"]);
        says(labels("f", &file(LABELS, &[3], &[1, 9, 10]), 10), &["byte 10 (label 2)", "10, but classes are 0 to 9"]);
        let two = Images { count: 2, rows: 1, columns: 1, pixels: vec![0; 2] };
        says(
            dataset("s", &["a"], ("f", two), ("g", vec![0])),
            &["g, bytes 4..8", "1 labels, but 2 images in f", "one download"],
        );
    }

    #[test]
    fn damaged_packing_is_noticed() {
        let packed = gzip(&file(LABELS, &[4], &[1, 2, 3, 4]));
        for end in 2..packed.len() {
            says(unpacked("f", packed[..end].to_vec()), &["f, gzip", "damaged or cut short"]);
        }
        let mut damaged = packed.clone();
        // The checksum of the plain bytes.
        damaged[packed.len() - 8] ^= 1;
        says(unpacked("f", damaged), &["damaged or cut short"]);
        says(unpacked("f", [&packed[..], b"rest"].concat()), &["damaged or cut short"]);
    }

    #[test]
    fn a_bomb_is_not_unpacked_to_its_end() {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        let zeros = vec![0; 1 << 20];
        (0..=LIMIT_MIB).for_each(|_| encoder.write_all(&zeros).unwrap());
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 4 << 20);
        says(unpacked("f", bomb), &["f unpacks to more than 256 MiB"]);
    }
}
