//! Tables as people write them: what separates fields, what a decimal sign is, whether the first row names columns, and
//! then row after row.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder};

use crate::data::DataError;
use crate::data::text::{excerpt, plain};

/// How much of a file is looked at to tell how it is written.
const HEAD: usize = 64 << 10;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between fields; none where any number of blanks is.
    pub separator: Option<u8>,
    /// Whether 1,5 is one and a half.
    pub decimal_comma: bool,
    /// Lines before the table that belong to it in no way.
    pub skipped: usize,
    /// Whether the first row names the columns.
    pub header: bool,
    /// Whether a lone `;` ends each line.
    pub closed: bool,
}

/// The fields of a row.
pub type Row = Vec<String>;

/// What a table looks like, from its beginning.
#[derive(Debug)]
pub struct Look {
    /// How it is written.
    pub dialect: Dialect,
    /// The names of its columns, or their numbers from 1.
    pub columns: Vec<String>,
}

/// A number as a table writes it; none for what is not one. Signs of a missing value are NaN.
pub fn number(text: &str, decimal_comma: bool) -> Option<f64> {
    let text = text.trim();
    if missing(text) {
        return Some(f64::NAN);
    }
    let parsed = if decimal_comma && text.contains(',') { text.replace(',', ".").parse() } else { text.parse::<f64>() };
    parsed.ok().filter(|number| number.is_finite())
}

fn missing(text: &str) -> bool {
    const SIGNS: [&str; 8] = ["", "nan", "na", "n/a", "null", "none", "?", "-"];
    SIGNS.iter().any(|sign| text.eq_ignore_ascii_case(sign))
}

/// Tells from the beginning of a file how it is written.
pub fn look(name: &str, mut file: impl Read) -> Result<Look, DataError> {
    let mut head = Vec::with_capacity(HEAD);
    let failed = |reason| DataError::Read { path: name.to_owned(), reason };
    file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
    let cut = head.len() == HEAD;
    let text = plain(head).map_err(|problem| DataError::NoText { file: name.to_owned(), problem })?;
    let text: Vec<_> = text.split(|&byte| byte == b'\n').map(decoded).collect();
    let mut lines: Vec<&str> = text.iter().map(|line| &**line).collect();
    if cut && lines.len() > 1 {
        lines.pop();
    }
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Err(DataError::EmptyFile { file: name.to_owned() });
    }
    let is_comment = |line: &&str| line.starts_with('#') || line.starts_with('%') || line.trim().is_empty();
    let remarks = lines.iter().take_while(|line| is_comment(line)).count();
    let table = &lines[remarks..];
    let Some(first) = table.first() else {
        return Err(DataError::at(name, "all lines", "they are remarks only".to_owned(), "give a table of numbers"));
    };
    if let Some(separator) = first.strip_prefix("sep=").and_then(|rest| rest.bytes().next()) {
        // A line for Excel.
        return Ok(tell(&table[1..], remarks + 1, Some(Some(separator))));
    }
    Ok(tell(table, remarks, None))
}

fn tell(table: &[&str], skipped: usize, separator: Option<Option<u8>>) -> Look {
    let sample: Vec<&str> = table.iter().take(200).copied().filter(|line| !line.trim().is_empty()).collect();
    let body = if sample.len() > 1 { &sample[1..] } else { &sample[..] };
    let closed = body.iter().all(|line| line.trim_end().ends_with([';', ','])) && {
        let inner = |line: &&str| line.trim_end().trim_end_matches([';', ',']).contains(';');
        !body.iter().any(inner)
    };
    let best = separator.unwrap_or_else(|| separated_by(body, closed));
    let fields = |line: &str| split(line, best, closed);
    // 1,5 between other separators, or in quotes, wherever a number is not one without that.
    let texts: Vec<Vec<String>> = body.iter().map(|line| fields(line)).collect();
    let count =
        |decimal_comma: bool| texts.iter().flatten().filter(|text| number(text, decimal_comma).is_some()).count();
    let decimal_comma = count(true) > count(false);
    let first = fields(sample.first().copied().unwrap_or_default());
    let numbers =
        |row: &[String]| row.iter().filter(|text| !missing(text) && number(text, decimal_comma).is_some()).count();
    let usual = texts.iter().map(|row| numbers(row)).max().unwrap_or(0);
    // A row of names has no number where others have some; a table without any has names where its first row is one of a kind.
    let header = numbers(&first) == 0 && usual > 0;
    let columns = if header { named(&first) } else { (1..=first.len()).map(|column| column.to_string()).collect() };
    Look { dialect: Dialect { separator: best, decimal_comma, skipped, header, closed }, columns }
}

/// Names of columns, each once; those without one are called by their number.
fn named(row: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(row.len());
    for (at, name) in row.iter().enumerate() {
        let name = name.trim();
        let own = if name.is_empty() { (at + 1).to_string() } else { name.to_owned() };
        let own = if names.contains(&own) { format!("{own} ({})", at + 1) } else { own };
        names.push(own);
    }
    names
}

/// The separator that cuts most lines alike, into most fields.
fn separated_by(body: &[&str], closed: bool) -> Option<u8> {
    let score = |separator: Option<u8>| {
        let counts: Vec<usize> = body.iter().map(|line| split(line, separator, closed).len()).collect();
        let mut sorted = counts.clone();
        sorted.sort_unstable();
        let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(1);
        let alike = counts.iter().filter(|&&count| count == usual).count();
        (usual > 1).then_some((20 * alike / body.len().max(1), usual))
    };
    let numeric = |separator: Option<u8>| {
        let fields = body.iter().flat_map(|line| split(line, separator, closed));
        let (mut all, mut numbers) = (0, 0);
        for field in fields {
            all += 1;
            numbers += usize::from(number(&field, true).is_some());
        }
        40 * numbers / all.max(1)
    };
    // Those that stand inside no number come first: 1,5;2,5 is cut alike by both.
    let candidates = [Some(b'\t'), Some(b';'), Some(b','), Some(b'|'), None];
    let best = candidates.into_iter().enumerate().filter_map(|(rank, separator)| {
        let (alike, usual) = score(separator)?;
        // `1,5;2,5`: the comma cuts alike too, and into pieces that are no numbers.
        Some((alike + numeric(separator), std::cmp::Reverse(rank), usual, separator))
    });
    best.max_by_key(|&(score, rank, _, _)| (score, rank)).map_or(Some(b','), |(_, _, _, separator)| separator)
}

/// The fields of a line that is held whole.
fn split(line: &str, separator: Option<u8>, closed: bool) -> Vec<String> {
    let line = if closed { line.trim_end().trim_end_matches([';', ',']) } else { line };
    match separator {
        None => line.split_whitespace().map(str::to_owned).collect(),
        Some(separator) => {
            let mut reader = ReaderBuilder::new()
                .delimiter(separator)
                .has_headers(false)
                .flexible(true)
                .from_reader(line.as_bytes());
            let mut record = ByteRecord::new();
            match reader.read_byte_record(&mut record) {
                Ok(true) => record.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect(),
                _ => vec![],
            }
        }
    }
}

/// The rows of a file behind its header, one after another.
pub struct Rows<'a> {
    reader: csv::Reader<Box<dyn Read + 'a>>,
    record: ByteRecord,
    dialect: Dialect,
}

impl<'a> Rows<'a> {
    /// Of a file that is written so.
    pub fn new(name: &str, file: Box<dyn Read + 'a>, dialect: Dialect) -> Result<Rows<'a>, DataError> {
        let failed = |reason| DataError::Read { path: name.to_owned(), reason };
        let mut file = BufReader::new(file);
        let mark = "\u{feff}".as_bytes();
        if file.fill_buf().map_err(failed)?.starts_with(mark) {
            file.consume(mark.len());
        }
        for _ in 0..dialect.skipped {
            skip_line(&mut file).map_err(failed)?;
        }
        let file: Box<dyn Read + 'a> = Box::new(file);
        // A line of blanks is one field.
        let reader = ReaderBuilder::new()
            .delimiter(dialect.separator.unwrap_or(0))
            .quoting(dialect.separator.is_some())
            .has_headers(false)
            .flexible(true)
            .from_reader(file);
        let mut rows = Rows { reader, record: ByteRecord::new(), dialect };
        if dialect.header {
            rows.next(name, &mut vec![])?;
        }
        Ok(rows)
    }

    /// Reads the next row that is not empty; says on which line it begins, or nothing at the end.
    pub fn next(&mut self, name: &str, row: &mut Row) -> Result<Option<usize>, DataError> {
        loop {
            let read = self.reader.read_byte_record(&mut self.record);
            let failed = |error: csv::Error| DataError::Read {
                path: name.to_owned(),
                reason: std::io::Error::other(error.to_string()),
            };
            if !read.map_err(failed)? {
                return Ok(None);
            }
            match self.dialect.separator {
                Some(_) => fill(row, self.record.iter()),
                None => {
                    let fields = self.record.iter().flat_map(|line| line.split(|byte| byte.is_ascii_whitespace()));
                    fill(row, fields.filter(|field| !field.is_empty()));
                }
            }
            if self.dialect.closed
                && let Some(last) = row.last_mut()
            {
                last.truncate(last.trim_end_matches([';', ',']).len());
                if last.is_empty() {
                    row.pop();
                }
            }
            // The last is the end-of-file mark of DOS.
            if row.iter().any(|field| !field.is_empty() && field != "\u{1a}") {
                let line = self.record.position().map_or(0, |position| position.line() as usize);
                return Ok(Some(self.dialect.skipped + line));
            }
        }
    }
}

/// Text in UTF-8, and what is none as Latin-1, in which older programs save.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn fill<'f>(row: &mut Row, fields: impl Iterator<Item = &'f [u8]>) {
    let mut count = 0;
    for field in fields {
        let text = decoded(field);
        let text = text.trim();
        match row.get_mut(count) {
            Some(old) => {
                old.clear();
                old.push_str(text);
            }
            None => row.push(text.to_owned()),
        }
        count += 1;
    }
    row.truncate(count);
}

fn skip_line(file: &mut impl BufRead) -> std::io::Result<()> {
    let mut ended = false;
    while !ended {
        let buffer = file.fill_buf()?;
        let (used, found) = match buffer.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        let returned = found && used > 0 && buffer[used - 1] == b'\r';
        file.consume(used);
        if returned && file.fill_buf()?.first() == Some(&b'\n') {
            file.consume(1);
        }
        ended = found;
    }
    Ok(())
}

/// A number of a column, or why there is none: where it stands, what stands there.
pub fn wanted_number(text: &str, decimal_comma: bool, column: &str) -> Result<f64, String> {
    number(text, decimal_comma).ok_or_else(|| format!("{} in column `{column}` is not a number", excerpt(text)))
}
