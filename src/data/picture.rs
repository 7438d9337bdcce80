//! PNG files as bytes.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::DataError;

/// The most that a picture may unpack to. A sheet of a thousand CIFAR images has 3 MiB.
const LIMIT_MIB: usize = 64;

/// `[rows, columns, channels]`, a byte each: grey, or red, green and blue.
#[derive(Debug)]
pub struct Picture {
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
    pub bytes: Vec<u8>,
}

/// Unpacks a picture without transparency; fewer bits than eight are stretched to a byte, colour profiles are not
/// heeded.
pub fn decode(name: &str, bytes: &[u8]) -> Result<Picture, DataError> {
    let wrong = |problem: String| {
        DataError::at(name, "PNG", problem, "give the file as it was published, or save it anew as an opaque 8-bit PNG")
    };
    let failed = |error: DecodingError| match error {
        DecodingError::LimitsExceeded => DataError::TooLarge { file: name.to_owned(), limit_mib: LIMIT_MIB as u64 },
        error => wrong(format!("it is no PNG, damaged or cut short ({error})")),
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: LIMIT_MIB << 20 });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    let channels = match (color, depth) {
        (ColorType::Grayscale, BitDepth::Eight) => 1,
        (ColorType::Rgb, BitDepth::Eight) => 3,
        _ => {
            return Err(wrong(format!("its pixels are {color:?} of {} bits; wanted is grey or RGB of 8", depth as u8)));
        }
    };
    let too_large = || DataError::TooLarge { file: name.to_owned(), limit_mib: LIMIT_MIB as u64 };
    let size = reader.output_buffer_size().filter(|&size| size <= LIMIT_MIB << 20).ok_or_else(too_large)?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(failed)?;
    let [rows, columns] = [frame.height, frame.width].map(|side| side as usize);
    Ok(Picture { rows, columns, channels, bytes: pixels })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A PNG of these bytes.
    pub fn encode([rows, columns]: [usize; 2], color: ColorType, depth: BitDepth, bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![];
        let mut encoder = png::Encoder::new(&mut file, columns as u32, rows as u32);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        file
    }

    fn says(bytes: &[u8], part: &str) {
        let message = decode("a.png", bytes).unwrap_err().to_string();
        assert!(message.starts_with("a.png") && message.contains(part), "{message}");
    }

    #[test]
    fn grey_ink_and_colour_come_out_as_bytes() {
        let picture = decode("a.png", &encode([1, 2], ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((picture.rows, picture.columns, picture.channels), (1, 2, 3));
        assert_eq!(picture.bytes, [1, 2, 3, 4, 5, 6]);
        let ink = decode("a.png", &encode([2, 3], ColorType::Grayscale, BitDepth::One, &[0b1010_0000, 0])).unwrap();
        assert_eq!((ink.channels, &ink.bytes[..]), (1, &[255, 0, 255, 0, 0, 0][..]));
    }

    #[test]
    fn what_is_no_such_picture_is_refused() {
        let good = encode([4, 4], ColorType::Grayscale, BitDepth::Eight, &[7; 16]);
        (0..good.len() - 12).for_each(|end| says(&good[..end], "damaged or cut short"));
        let mut damaged = good.clone();
        // In the packed pixels, which a checksum guards.
        let at = good.windows(4).position(|four| four == b"IDAT").unwrap() + 6;
        damaged[at] ^= 0x40;
        says(&damaged, "damaged or cut short");
        says(&encode([1, 1], ColorType::Rgba, BitDepth::Eight, &[0; 4]), "wanted is grey or RGB of 8");
        says(&encode([1, 1], ColorType::Grayscale, BitDepth::Sixteen, &[0; 2]), "Grayscale of 16 bits");
        // A header that promises far more than there is.
        let mut vast = good;
        vast[16..24].copy_from_slice(&[0, 0x10, 0, 0, 0, 0x10, 0, 0]);
        assert!(decode("a.png", &vast).is_err());
    }
}
