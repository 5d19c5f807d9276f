//! Reader of Zeek's `conn.log`, tab-separated or JSON, line by line.
//!
//! Formats: Zeek's ASCII writer (docs.zeek.org, `base/frameworks/logging/writers/ascii.zeek`) with its `#` header lines, fields in any
//! order; and the same writer with `LogAscii::use_json`. Each line says by its first character what it is, so a log may be rotated, joined
//! or followed while it grows. Fields that are not needed are not looked at. Guarantees: at most [`ZEEK_LINE_BYTES_MAX`] of a line are
//! kept; every error names the line, and the field where there is one; a bad line costs that line only. Must not: resolve, keep or print
//! who talked to whom beyond the originator's address, which is the device.

use std::io::{BufRead, Read};
use std::net::IpAddr;

pub use super::zeek_error::ZeekError;
use super::zeek_record::{Field, Record};
use super::{Flow, zeek_record};

/// Longest line that is read, bytes.
pub const ZEEK_LINE_BYTES_MAX: usize = 64 * 1024;
/// Most fields of a tab-separated line.
pub const ZEEK_FIELDS_MAX: usize = 512;

/// A connection of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The originator, `id.orig_h`: the device whose traffic it is.
    pub device: IpAddr,
    /// Zeek's own name of the connection, `uid`, to find it again in the sensor's other logs.
    pub uid: String,
    /// What is judged.
    pub flow: Flow,
}

/// Turns lines into connections; it keeps the header between them.
#[derive(Clone, Debug)]
pub struct Lines {
    line: u64,
    separator: String,
    unset: String,
    empty: String,
    /// Place of each [`Field`] in a tab-separated line; none before `#fields`.
    places: Option<Places>,
}

#[derive(Clone, Debug)]
struct Places {
    width: usize,
    of: [Option<usize>; Field::COUNT],
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Lines {
    /// Before the first line.
    #[must_use]
    pub fn new() -> Self {
        let [separator, unset, empty] = ["\t", "-", "(empty)"].map(str::to_owned);
        Self { line: 0, separator, unset, empty, places: None }
    }

    /// The next line, with or without its line break: a connection, or none for a header or an empty line.
    ///
    /// # Errors
    /// [`ZeekError`]; the line is left out, and the next one may follow.
    pub fn parse(&mut self, line: &[u8]) -> Result<Option<Connection>, ZeekError> {
        self.line += 1;
        if line.len() > ZEEK_LINE_BYTES_MAX {
            return Err(ZeekError::LineTooLong { line: self.line, max: ZEEK_LINE_BYTES_MAX });
        }
        let text = std::str::from_utf8(line).map_err(|_| ZeekError::NotUtf8 { line: self.line })?;
        let text = text.trim_end_matches(['\n', '\r']);
        match text.as_bytes().first() {
            None => Ok(None),
            Some(b'#') => self.header(text).map(|()| None),
            Some(b'{') => zeek_record::of_json(self.line, text).and_then(Record::connection).map(Some),
            Some(_) => self.row(text).map(Some),
        }
    }

    fn header(&mut self, text: &str) -> Result<(), ZeekError> {
        // The separator itself is set off by a space, everything else by the separator.
        if let Some(separator) = text.strip_prefix("#separator ") {
            let separator = unescape(separator);
            if separator.is_empty() {
                return Err(self.bad_header("#separator", text));
            }
            *self = Self { line: self.line, separator, ..Self::new() };
            return Ok(());
        }
        let (name, value) = text.split_once(self.separator.as_str()).unwrap_or((text, ""));
        match name {
            "#unset_field" => value.clone_into(&mut self.unset),
            "#empty_field" => value.clone_into(&mut self.empty),
            "#path" if value != "conn" => {
                return Err(ZeekError::NotConnLog { line: self.line, path: ZeekError::shown(value) });
            }
            "#fields" => self.places = Some(self.find(value)?),
            "#types" => self.check_types(value)?,
            _ => {}
        }
        Ok(())
    }

    fn bad_header(&self, field: &'static str, value: &str) -> ZeekError {
        ZeekError::bad_field(self.line, field, value, "is not what Zeek writes there")
    }

    fn find(&self, names: &str) -> Result<Places, ZeekError> {
        let names: Vec<&str> = names.split(self.separator.as_str()).take(ZEEK_FIELDS_MAX + 1).collect();
        if names.len() > ZEEK_FIELDS_MAX {
            return Err(ZeekError::TooManyFields { line: self.line, max: ZEEK_FIELDS_MAX });
        }
        let of = Field::ALL.map(|field| names.iter().position(|name| *name == field.name()));
        let lacks = |field: &&Field| field.is_required() && of[**field as usize].is_none();
        let missing: Vec<&'static str> = Field::ALL.iter().filter(lacks).map(|field| field.name()).collect();
        if missing.is_empty() {
            Ok(Places { width: names.len(), of })
        } else {
            Err(ZeekError::MissingFields { line: self.line, missing })
        }
    }

    fn check_types(&self, types: &str) -> Result<(), ZeekError> {
        let Some(places) = &self.places else { return Err(ZeekError::NoHeader { line: self.line }) };
        let types: Vec<&str> = types.split(self.separator.as_str()).take(ZEEK_FIELDS_MAX + 1).collect();
        if types.len() != places.width {
            return Err(ZeekError::FieldCount { line: self.line, expected: places.width, found: types.len() });
        }
        for field in Field::ALL {
            let found = places.of[field as usize].map(|place| types[place]);
            if let Some(found) = found.filter(|found| !field.types().contains(found)) {
                return Err(ZeekError::WrongType {
                    line: self.line,
                    field: field.name(),
                    found: ZeekError::shown(found),
                    expected: field.types()[0],
                });
            }
        }
        Ok(())
    }

    fn row(&self, text: &str) -> Result<Connection, ZeekError> {
        let Some(places) = &self.places else { return Err(ZeekError::NoHeader { line: self.line }) };
        let cells: Vec<&str> = text.split(self.separator.as_str()).take(ZEEK_FIELDS_MAX + 1).collect();
        if cells.len() != places.width {
            return Err(ZeekError::FieldCount { line: self.line, expected: places.width, found: cells.len() });
        }
        let known = |cell: &&str| *cell != self.unset && *cell != self.empty;
        let cell = |field: Field| places.of[field as usize].map(|place| cells[place]).filter(known);
        zeek_record::of_cells(self.line, cell)?.connection()
    }
}

/// Zeek writes unprintable separators as `\xNN`.
fn unescape(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let digits = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[2..]);
            }
            None => {
                plain.push_str("\\x");
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The connections of a log, as an iterator. After a bad line it goes on with the next one; after an error of reading it ends.
pub struct ConnLog<R> {
    reader: R,
    lines: Lines,
    /// The line so far; at most one byte more than [`ZEEK_LINE_BYTES_MAX`], the rest of a longer line is dropped.
    partial: Vec<u8>,
    follows: bool,
    ended: bool,
}

impl<R: BufRead> ConnLog<R> {
    /// Reads to the end; a last line without a line break counts.
    pub fn new(reader: R) -> Self {
        Self { reader, lines: Lines::new(), partial: Vec::new(), follows: false, ended: false }
    }

    /// Reads a log that is still written: `next` gives none when there is nothing new yet, keeps what it has of an unfinished line, and may
    /// be called again later.
    pub fn following(reader: R) -> Self {
        Self { follows: true, ..Self::new(reader) }
    }

    /// Fills `partial` up to a line break; whether a line is complete.
    fn read_line(&mut self) -> std::io::Result<bool> {
        loop {
            let room = (ZEEK_LINE_BYTES_MAX + 1).saturating_sub(self.partial.len());
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(!self.follows && !self.partial.is_empty());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.unwrap_or(buffer.len());
            buffer.take(used.min(room) as u64).read_to_end(&mut self.partial)?;
            self.reader.consume(end.map_or(used, |end| end + 1));
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead> Iterator for ConnLog<R> {
    type Item = Result<Connection, ZeekError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.read_line() {
                Ok(true) => {
                    let line = self.lines.parse(&self.partial);
                    self.partial.clear();
                    if let Some(item) = line.transpose() {
                        return Some(item);
                    }
                }
                Ok(false) => return None,
                Err(source) => {
                    self.ended = true;
                    return Some(Err(ZeekError::Unreadable { line: self.lines.line + 1, source }));
                }
            }
        }
        None
    }
}
