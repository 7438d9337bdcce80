//! Commands for people to paste into a shell, and names that a terminal can be shown.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use stackelberg::data::visible;

/// A word as the shell reads it back: a POSIX one, or on Windows PowerShell.
pub fn word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_encoded_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_./:-".contains(b) || (cfg!(windows) && *b == b'\\');
    match text.as_ref().to_str() {
        Some(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Some(text) if cfg!(windows) => format!("'{}'", text.replace('\'', "''")),
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        // `printf` knows bytes by their octal numbers; what it substitutes loses the line breaks at the end.
        _ => {
            let octal = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("\\{byte:03o}"));
            let end = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
            let (body, breaks) = bytes.split_at(end);
            format!("\"$(printf '{}')\"{}", octal(body), "'\n'".repeat(breaks.len()))
        }
    }
}

/// A path as a word that is not taken for an option.
pub fn path(path: &Path) -> String {
    let like_an_option = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    word(if like_an_option { Cow::Owned(Path::new(".").join(path)) } else { Cow::Borrowed(path) }.as_os_str())
}

/// A command of this program; the words after its name are quoted already.
pub fn command<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    // As it was called, unless the shell found it by its name.
    let called = std::env::args_os().next().filter(|name| Path::new(name).components().count() > 1);
    let mut text = called.map_or_else(|| "stackelberg".to_owned(), |name| path(Path::new(&name)));
    if cfg!(windows) && text.starts_with('\'') {
        text.insert_str(0, "& ");
    }
    for word in words {
        let _ = write!(text, " {word}");
    }
    text
}

/// Goes on with the run in a directory.
pub fn resume(directory: &Path) -> String {
    command(["tune", "--resume", &path(directory)])
}

/// Begins a run in a directory.
pub fn start(directory: &Path) -> String {
    command(["tune", "--out", &path(directory)])
}

/// A text without what a terminal would take for a command, or what cannot be seen; line breaks and tabs stay.
pub fn shown(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|part| {
            let (body, end) = part.strip_suffix(['\n', '\t']).map_or((part, ""), |body| (body, &part[body.len()..]));
            visible(body) + end
        })
        .collect()
}

/// A text to show excerpts of: what a terminal would take for a command is masked, and every byte keeps its place.
pub fn masked(text: &str) -> String {
    let mask = |(at, c): (usize, char)| match c {
        '\r' if text[at + 1..].starts_with('\n') => c.to_string(),
        '\n' | '\t' => c.to_string(),
        c if visible(c.encode_utf8(&mut [0; 4])).starts_with(c) => c.to_string(),
        c if c.len_utf8() == 2 => "¿".to_owned(),
        c => "?".repeat(c.len_utf8()),
    };
    text.char_indices().map(mask).collect()
}

/// An error, its help and its causes as a terminal can be shown them. Excerpts of sources are [`masked`] where they are
/// made.
pub struct Shown {
    text: String,
    help: Option<String>,
    cause: Option<Box<Shown>>,
    labels: Option<Vec<LabeledSpan>>,
    original: Option<Box<dyn Diagnostic + Send + Sync>>,
}

impl Shown {
    pub fn new(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        let mut shown = Self::plain(&error);
        shown.help = error.help().map(|help| self::shown(&help.to_string()));
        shown.labels = error.labels().map(|labels| {
            let label = |label: LabeledSpan| {
                let text = label.label().map(self::shown);
                LabeledSpan::new_with_span(text, *label.inner())
            };
            labels.map(label).collect()
        });
        shown.original = Some(Box::new(error));
        shown
    }

    fn plain(error: &dyn std::error::Error) -> Self {
        Shown {
            text: shown(&error.to_string()),
            help: None,
            cause: error.source().map(|cause| Box::new(Self::plain(cause))),
            labels: None,
            original: None,
        }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Shown {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.original.as_ref()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.labels.as_ref().map(|labels| Box::new(labels.iter().cloned()) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_every_word_back() {
        use std::os::unix::ffi::OsStrExt;
        let names: [&[u8]; 22] = [
            b"",
            b"plain/a-b_c.d:e",
            b"a b",
            b"--x",
            b"-x",
            b"a'b",
            b"'",
            b"$HOME",
            b"`id`",
            b"a\nb",
            b"a\n\n",
            b"\n",
            b"~",
            b"*",
            b"#a",
            b"=ls",
            b"a;b&c|d>e",
            b"a\\b\"c!",
            "é – 我".as_bytes(),
            b"\x1b[2J%s",
            b"\xff\xfe",
            b"a\tb\\n%d",
        ];
        for name in names {
            let written = word(OsStr::from_bytes(name));
            let script = format!("printf '[%s]' {written}");
            let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
            assert_eq!(read, [b"[", name, b"]"].concat(), "{written}");
            let raw = written.chars().any(|c| c.is_control() && c != '\n');
            assert!(!raw, "{written:?}");
        }
    }

    #[test]
    fn a_path_is_no_option() {
        for (name, written) in [("runs/first", "runs/first"), ("--x", "./--x"), ("-a b", "'./-a b'"), ("", "''")] {
            if !cfg!(windows) {
                assert_eq!(path(Path::new(name)), written);
            }
        }
        assert!(resume(Path::new("a b")).ends_with(" tune --resume 'a b'"));
    }

    #[test]
    fn a_terminal_is_sent_no_commands() {
        assert_eq!(shown("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(masked("a\r\nb\rc\u{1b}\u{9b}é\u{202e}\\"), "a\r\nb?c?¿é???\\");
        assert_eq!(shown("\u{1b}[2J\r\u{9b}\u{202e}"), r"\u001b[2J\u000d\u009b\u202e");
        #[derive(Debug, thiserror::Error, Diagnostic)]
        #[error("cannot read \u{1b}c")]
        #[diagnostic(help("name \u{1b}d"))]
        struct Raw(#[source] std::io::Error);
        let text = format!("{:?}", miette::Report::new(Shown::new(Raw(std::io::Error::other("\u{7}")))));
        for part in [r"cannot read \u001bc", r"name \u001bd", r"\u0007"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
