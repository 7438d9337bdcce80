//! Text as people write it: its encoding, its line ends, and how to show a piece of it.

/// How much of a wrong text an error repeats, in characters.
const EXCERPT: usize = 40;

/// What a text holds in single bytes, its lines ended by `\n` alone and without a byte order mark, or what is wrong with
/// it and how to mend that.
pub fn plain(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if let Some(encoding) = wide(&bytes) {
        return Err(format!("is {encoding} text; save it as UTF-8 (editors have it under `Save as`)"));
    }
    let bytes = match bytes.strip_prefix("\u{feff}".as_bytes()) {
        Some(text) => text.to_vec(),
        None => bytes,
    };
    // The end-of-file mark of DOS.
    let end = bytes.iter().rposition(|byte| *byte != 0x1a).map_or(0, |last| last + 1);
    let text = unix(&bytes[..end]);
    match text.iter().position(|&byte| byte == 0) {
        None => Ok(text),
        Some(at) => {
            let line = 1 + text[..at].iter().filter(|&&byte| byte == b'\n').count();
            Err(format!(
                "holds zero bytes instead of text from line {line} on: it was damaged; copy or download it again"
            ))
        }
    }
}

/// The encoding of a text whose characters have two or four bytes, if it is one. Where no byte order mark tells, digits
/// with zeros beside them do.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    const LOOKED_AT: usize = 64;
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    let all = |size: usize, shape: fn(&[u8]) -> bool| head.len() >= size && head.chunks_exact(size).all(shape);
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ if all(4, |c| matches!(c, [1..=255, 0, 0, 0] | [0, 0, 0, 1..=255])) => Some("UTF-32"),
        _ if all(2, |c| matches!(c, [1..=255, 0])) || all(2, |c| matches!(c, [0, 1..=255])) => Some("UTF-16"),
        _ => None,
    }
}

/// Lines that end with CR, CR LF, CR CR LF or LF, each ended with LF.
fn unix(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut returns = 0;
    for &byte in bytes {
        match byte {
            b'\r' => returns += 1,
            _ => {
                let ended = if byte == b'\n' { 0 } else { returns };
                text.extend(std::iter::repeat_n(b'\n', ended));
                text.push(byte);
                returns = 0;
            }
        }
    }
    text.extend(std::iter::repeat_n(b'\n', returns));
    text
}

/// The beginning of a wrong text between backticks, so that nothing in it is unseen.
pub fn excerpt(text: &str) -> String {
    let shown: String = text.chars().take(EXCERPT).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    let remark = if text.is_empty() { " (an empty line)" } else { "" };
    format!("`{}{more}`{remark}", visible(&shown))
}

/// A text that can be shown anywhere: what cannot be seen or would command a terminal, and what would turn the direction
/// of the text, stands there as JSON writes it.
pub fn visible(text: &str) -> String {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if unseen(c) {
            let units = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            shown.push_str(&units);
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_line_ends_are_taken_away() {
        for text in ["1\n2\n", "\u{feff}1\n2\n", "1\r\n2\r\n", "1\r2\r", "1\r\r\n2\n", "1\r2\r\n", "1\n2\n\u{1a}"] {
            assert_eq!(plain(text.into()), Ok(b"1\n2\n".to_vec()), "{text:?}");
        }
        assert_eq!(plain("1\r\r2".into()), Ok(b"1\n\n2".to_vec()), "an empty line stays one");
        assert_eq!(plain(vec![]), Ok(vec![]));
    }

    #[test]
    fn wide_text_is_named() {
        let wide = |mark: &str, units: &dyn Fn(u8) -> Vec<u8>| {
            let bytes = mark.bytes().chain("1\n2\n3\n".bytes()).flat_map(units).collect();
            plain(bytes).unwrap_err()
        };
        let sixteen: [&dyn Fn(u8) -> Vec<u8>; 2] = [&|b| vec![b, 0], &|b| vec![0, b]];
        let thirty_two: [&dyn Fn(u8) -> Vec<u8>; 2] = [&|b| vec![b, 0, 0, 0], &|b| vec![0, 0, 0, b]];
        for units in sixteen {
            assert!(wide("", units).contains("UTF-16 text; save it as UTF-8"));
        }
        for units in thirty_two {
            assert!(wide("", units).contains("UTF-32 text"));
        }
        for mark in [[0xff, 0xfe], [0xfe, 0xff]] {
            assert!(plain(mark.to_vec()).unwrap_err().contains("UTF-16"));
        }
        assert!(plain(b"1\n2\n\0\0\0".to_vec()).unwrap_err().contains("zero bytes instead of text from line 3 on"));
    }

    #[test]
    fn nothing_in_an_excerpt_is_unseen_or_acts() {
        assert_eq!(excerpt("\u{feff}1"), r"`\ufeff1`");
        assert_eq!(excerpt("\u{1b}[2J\u{9b}1m\u{202e}"), r"`\u001b[2J\u009b1m\u202e`");
        assert_eq!(excerpt(""), "`` (an empty line)");
        assert_eq!(excerpt("\u{e0041}é"), r"`\udb40\udc41é`");
        assert_eq!(excerpt(&"é".repeat(41)), format!("`{}…`", "é".repeat(40)));
    }
}
