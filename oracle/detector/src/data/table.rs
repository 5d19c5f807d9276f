//! Reader of CSV tables, plain or gzip, with declared columns.
//!
//! A data set declares the columns that it needs; the reader finds them by name, in any order, and never looks at another one. So columns
//! that leak the label (addresses, running numbers, times) cannot be reached unless somebody declares them. Fields are trimmed, a UTF-8
//! byte-order mark is skipped. Limits: [`TABLE_ROWS_MAX`], [`TABLE_COLUMNS_MAX`], [`TABLE_BYTES_MAX`] after unpacking. Must not: guess a
//! value; a cell that is not a finite number is an error with its line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

pub use super::table_error::TableError;
use crate::model_file::DataSource;

/// Most rows of one table.
pub const TABLE_ROWS_MAX: usize = 3_000_000;
/// Most columns of a file, declared or not.
pub const TABLE_COLUMNS_MAX: usize = 1_024;
/// Most bytes of a table after unpacking: 4 GiB.
pub const TABLE_BYTES_MAX: u64 = 4 << 30;

/// A column that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    name: &'static str,
    cell: Cell,
    identifies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Number,
    Text,
}

impl Column {
    /// A column of finite numbers; part of what makes two rows the same.
    #[must_use]
    pub const fn number(name: &'static str) -> Self {
        Self { name, cell: Cell::Number, identifies: true }
    }

    /// A column of words; part of what makes two rows the same.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self { name, cell: Cell::Text, identifies: true }
    }

    /// The same column, but no part of what makes two rows the same: labels and groups.
    #[must_use]
    pub const fn apart(self) -> Self {
        Self { identifies: false, ..self }
    }

    /// The name in the header line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The declared columns of a file.
#[derive(Debug)]
pub struct Table {
    file: PathBuf,
    numbers: HashMap<&'static str, Vec<f64>>,
    texts: HashMap<&'static str, Text>,
    identities: Vec<u64>,
    source: DataSource,
}

/// A column of words; each distinct word is kept once.
#[derive(Clone, Debug, Default)]
pub struct Text {
    words: Vec<String>,
    codes: Vec<u32>,
    known: HashMap<String, u32>,
}

impl Text {
    /// The word of a row.
    ///
    /// # Panics
    /// When the table has no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        &self.words[self.codes[row] as usize]
    }

    /// The words, row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.codes.iter().map(|code| self.words[*code as usize].as_str())
    }

    fn push(&mut self, word: &str) {
        let code = self.known.get(word).copied().unwrap_or_else(|| {
            let code = u32::try_from(self.words.len()).expect("there are fewer words than rows, and those are limited");
            self.words.push(word.to_owned());
            self.known.insert(word.to_owned(), code);
            code
        });
        self.codes.push(code);
    }
}

impl Table {
    /// Reads a file, gzip or plain by its first bytes.
    ///
    /// # Errors
    /// [`TableError`], which names the file, the line and the column.
    pub fn read(path: &Path, columns: &[Column]) -> Result<Self, TableError> {
        let unreadable = |source| TableError::Unreadable { file: path.to_owned(), source };
        let file = BufReader::new(File::open(path).map_err(unreadable)?);
        Self::from_reader(path, file, columns)
    }

    /// Reads what `reader` gives; `path` is only what the file is called, in errors and in the source.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn from_reader(path: &Path, reader: impl BufRead, columns: &[Column]) -> Result<Self, TableError> {
        let mut hashing = Hashing { inner: reader, hasher: Sha256::new() };
        let start = hashing.fill_buf().map_err(|source| TableError::Unreadable { file: path.to_owned(), source })?;
        let (is_gzip, is_empty) = (start.starts_with(&[0x1f, 0x8b]), start.is_empty());
        if is_empty {
            return Err(TableError::Empty { file: path.to_owned() });
        }
        if !is_gzip && path.extension().is_some_and(|extension| extension == "gz") {
            return Err(TableError::NotGzip { file: path.to_owned() });
        }
        let mut table = if is_gzip {
            Self::parse(path, MultiGzDecoder::new(&mut hashing), columns)?
        } else {
            Self::parse(path, &mut hashing, columns)?
        };
        table.source.sha256 =
            hashing.finish().map_err(|source| TableError::Unreadable { file: path.to_owned(), source })?;
        Ok(table)
    }

    fn parse(path: &Path, reader: impl Read, columns: &[Column]) -> Result<Self, TableError> {
        let limited = Limited { inner: reader, left: TABLE_BYTES_MAX };
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(limited);
        let damaged = |error: csv::Error| damaged(path, &error);
        let header = reader.headers().map_err(damaged)?.clone();
        let places = find(path, &header, columns)?;
        let mut sink: Vec<Sink> = places.iter().map(|(column, place)| Sink::new(*column, *place)).collect();
        let mut identities = Vec::new();
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(damaged)? {
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != header.len() {
                let (expected, found) = (header.len(), record.len());
                return Err(TableError::RaggedLine { file: path.to_owned(), line, expected, found });
            }
            if identities.len() == TABLE_ROWS_MAX {
                return Err(TableError::TooLarge { file: path.to_owned(), what: "rows", max: TABLE_ROWS_MAX as u64 });
            }
            let mut identity = Sha256::new();
            for column in &mut sink {
                column.take(path, line, &record, &mut identity)?;
            }
            identities.push(short(identity));
        }
        if identities.is_empty() {
            return Err(TableError::Empty { file: path.to_owned() });
        }
        let file_name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let source = DataSource { file_name, sha256: String::new(), rows: identities.len() as u64 };
        let mut table =
            Self { file: path.to_owned(), numbers: HashMap::new(), texts: HashMap::new(), identities, source };
        for column in sink {
            match column.column.cell {
                Cell::Number => _ = table.numbers.insert(column.column.name, column.numbers),
                Cell::Text => _ = table.texts.insert(column.column.name, column.text),
            }
        }
        Ok(table)
    }

    /// How many rows there are; at least one.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.identities.len()
    }

    /// What the file is called.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Name, SHA-256 and rows of the file as it lies on disk.
    #[must_use]
    pub const fn source(&self) -> &DataSource {
        &self.source
    }

    /// A declared column of numbers, row by row.
    ///
    /// # Errors
    /// [`TableError::Undeclared`].
    pub fn number(&self, name: &'static str) -> Result<&[f64], TableError> {
        self.numbers.get(name).map(Vec::as_slice).ok_or(TableError::Undeclared { column: name })
    }

    /// A declared column of words.
    ///
    /// # Errors
    /// [`TableError::Undeclared`].
    pub fn text(&self, name: &'static str) -> Result<&Text, TableError> {
        self.texts.get(name).ok_or(TableError::Undeclared { column: name })
    }

    /// A number per row that is the same for two rows exactly when all their identifying columns are: the first 8 bytes of a SHA-256.
    #[must_use]
    pub fn identities(&self) -> &[u64] {
        &self.identities
    }

    /// The error for a cell of this table that reads as a number or word but means nothing here. `row` counts from 0.
    #[must_use]
    pub fn bad_cell(&self, row: usize, column: &str, value: &str, reason: &'static str) -> TableError {
        // The header is line 1; a quoted field with a line break in it would shift this, and none of the sets has one.
        TableError::bad_cell(&self.file, row as u64 + 2, column, value, reason)
    }
}

/// Finds the declared columns in the header.
fn find(path: &Path, header: &StringRecord, columns: &[Column]) -> Result<Vec<(Column, usize)>, TableError> {
    if header.len() > TABLE_COLUMNS_MAX {
        return Err(TableError::TooLarge { file: path.to_owned(), what: "columns", max: TABLE_COLUMNS_MAX as u64 });
    }
    let mut places = HashMap::new();
    for (place, name) in header.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}');
        if places.insert(name, place).is_some() && columns.iter().any(|column| column.name == name) {
            return Err(TableError::RepeatedColumn { file: path.to_owned(), column: name.to_owned() });
        }
    }
    let missing = |column: &&Column| !places.contains_key(column.name);
    let missing: Vec<String> = columns.iter().filter(missing).map(|column| column.name.to_owned()).collect();
    if !missing.is_empty() {
        return Err(TableError::WrongColumns { file: path.to_owned(), missing });
    }
    Ok(columns.iter().map(|column| (*column, places[column.name])).collect())
}

/// A column while it is filled.
struct Sink {
    column: Column,
    place: usize,
    numbers: Vec<f64>,
    text: Text,
}

impl Sink {
    fn new(column: Column, place: usize) -> Self {
        Self { column, place, numbers: Vec::new(), text: Text::default() }
    }

    fn take(&mut self, path: &Path, line: u64, record: &StringRecord, identity: &mut Sha256) -> Result<(), TableError> {
        let cell = &record[self.place];
        match self.column.cell {
            Cell::Number => {
                let bad = |reason| TableError::bad_cell(path, line, self.column.name, cell, reason);
                let number: f64 = cell.parse().map_err(|_| bad("is not a number"))?;
                if !number.is_finite() {
                    return Err(bad("is not a finite number"));
                }
                // +0 and -0 are the same measurement.
                let number = if number == 0.0 { 0.0 } else { number };
                self.numbers.push(number);
                if self.column.identifies {
                    identity.update(number.to_be_bytes());
                }
            }
            Cell::Text => {
                self.text.push(cell);
                if self.column.identifies {
                    identity.update((cell.len() as u64).to_be_bytes());
                    identity.update(cell);
                }
            }
        }
        Ok(())
    }
}

fn short(hasher: Sha256) -> u64 {
    let digest: [u8; 32] = hasher.finalize().into();
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than 8 bytes"))
}

fn damaged(path: &Path, error: &csv::Error) -> TableError {
    if let csv::ErrorKind::Io(io) = error.kind()
        && io.get_ref().is_some_and(|inner| inner.is::<TooManyBytes>())
    {
        return TableError::TooLarge { file: path.to_owned(), what: "bytes after unpacking", max: TABLE_BYTES_MAX };
    }
    TableError::Damaged { file: path.to_owned(), reason: error.to_string() }
}

/// Hashes the file as it lies on disk while it is read.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: BufRead> Hashing<R> {
    /// Reads what a decoder left and gives the hash in hex.
    fn finish(mut self) -> std::io::Result<String> {
        std::io::copy(&mut self, &mut std::io::sink())?;
        Ok(self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl<R: BufRead> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hasher.update(&buffer[..amount.min(buffer.len())]);
        }
        self.inner.consume(amount);
    }
}

/// Stops a file that unpacks to more than the limit.
struct Limited<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the file unpacks to more than its limit")]
struct TooManyBytes;

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| std::io::Error::other(TooManyBytes))?;
        Ok(read)
    }
}
