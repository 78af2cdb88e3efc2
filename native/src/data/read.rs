//! Documents from files as they are found: JSON lines, plain text, Parquet, compressed or not, or standard input.
//!
//! Everything is read as a stream: a file is never held in memory, and a line only up to a cap.

use super::lines::LineReader;
use super::parquet_rows::ParquetReader;
use crate::exit::{Coded, Exit, WithExit};
use crate::files::unreadable;
use anyhow::{Context, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to do with a line that is no document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadLines {
    /// Stop and name it.
    #[default]
    Error,
    /// Leave it out and count it.
    Skip,
    /// Leave it out, count it, and write file, line and reason to `quarantine.jsonl`.
    Quarantine,
}

/// The longest line that is read unless a longer one is asked for: ten times the longest book.
pub const MAX_LINE_BYTES: u64 = 64 << 20;

/// How files are read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The column (JSON key, Parquet column) that holds the text.
    pub column: String,
    /// The column that holds the document's name, if any: text or a whole number.
    pub id_column: Option<String>,
    /// What to do with a line that is no document.
    pub bad_lines: BadLines,
    /// A plain text file is one document, not one document a line.
    pub whole_files: bool,
    /// The longest line that is read. A longer one is a bad line, and is passed over without being held in memory.
    pub max_line_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            column: "text".to_owned(),
            id_column: None,
            bad_lines: BadLines::Error,
            whole_files: false,
            max_line_bytes: MAX_LINE_BYTES,
        }
    }
}

/// One text and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name, if the file has a column for it.
    pub id: Option<String>,
    /// The text. A null in the file is an empty text.
    pub text: String,
    /// The file.
    pub source: Arc<Path>,
    /// Line of the file, or row of a Parquet file, from 1.
    pub line: u64,
}

/// A line that is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The file.
    pub source: Arc<Path>,
    /// Line of the file, or row of a Parquet file, from 1.
    pub line: u64,
    /// What is wrong with it and what to do.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source.display(), self.line, self.reason)
    }
}

impl BadLine {
    fn into_error(self) -> anyhow::Error {
        Coded::error(Exit::Data, format!("{self}; or leave such lines out with --bad-lines skip or quarantine"))
    }
}

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A document.
    Document(Document),
    /// Something else.
    Bad(BadLine),
}

/// The records of one file.
pub(super) type FileRecords = Box<dyn Iterator<Item = Result<Record>> + Send>;

/// All records of several files, in order. A bad line is an error if the options say so. Ends after the first error.
pub struct Records {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<FileRecords>,
    options: Arc<ReadOptions>,
    bytes_read: Arc<AtomicU64>,
}

impl Records {
    /// Bytes of the files (as stored, so compressed where they are) that have been read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            match self.current.as_mut().and_then(Iterator::next).transpose()? {
                Some(Record::Bad(bad)) if self.options.bad_lines == BadLines::Error => return Err(bad.into_error()),
                Some(record) => return Ok(Some(record)),
                None => {}
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            self.current = Some(open(&path, &self.options, &self.bytes_read)?);
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record();
        if record.is_err() {
            self.current = None;
            self.files = Vec::new().into_iter();
        }
        record.transpose()
    }
}

/// All records of the given files and globs; `-` is standard input (JSON lines or plain text). Fails if one names no file.
pub fn records(paths: &[PathBuf], options: &ReadOptions) -> Result<Records> {
    Ok(Records {
        files: expand(paths)?.into_iter(),
        current: None,
        options: Arc::new(options.clone()),
        bytes_read: Arc::default(),
    })
}

/// All documents of the given files and globs; `-` is standard input (JSON lines or plain text). A bad line is an error, or is left
/// out with a warning where the options say so. Ends after the first error.
pub fn documents(
    paths: &[PathBuf],
    options: &ReadOptions,
) -> Result<impl Iterator<Item = Result<Document>> + Send + use<>> {
    Ok(records(paths, options)?.filter_map(|record| match record {
        Ok(Record::Document(document)) => Some(Ok(document)),
        Ok(Record::Bad(bad)) => {
            eprintln!("warning: {bad}; left out");
            None
        }
        Err(error) => Some(Err(error)),
    }))
}

/// The files that the given paths and globs name, those of a glob sorted. Fails if one names no file.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let path = &crate::hub::file(path)?;
        if is_stdin(path) || path.is_file() {
            files.push(path.clone());
        } else if path.is_dir() {
            let hint = path.join("*.jsonl");
            let message = format!("{} is a folder: give its files, for example '{}'", path.display(), hint.display());
            return Err(Coded::error(Exit::Usage, message));
        } else {
            files.extend(expand_glob(path)?);
        }
    }
    Ok(files)
}

fn expand_glob(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.display();
    let pattern = path.to_str().filter(|pattern| pattern.contains(['*', '?', '[']));
    let Some(pattern) = pattern else {
        // Pipes and devices are no regular files, yet can be read.
        return match path.metadata() {
            Ok(_) => Ok(vec![path.to_owned()]),
            Err(cause) => Err(unreadable(path, cause)),
        };
    };
    let matches = glob::glob(pattern).exit(Exit::Usage, format!("{name} is no valid pattern of file names"))?;
    let matches = matches.collect::<Result<Vec<_>, _>>().with_context(|| format!("cannot list {name}"))?;
    let files: Vec<PathBuf> = matches.into_iter().filter(|found| !found.is_dir()).collect();
    if files.is_empty() {
        return Err(Coded::error(Exit::Usage, format!("no file matches {name}")));
    }
    Ok(files)
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    JsonLines,
    Text,
    Parquet,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The file's name in lower case without a compression's ending, and that compression.
pub(crate) fn stem_and_compression(path: &Path) -> (String, Compression) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if let Some(stem) = name.strip_suffix(".gz") {
        (stem.to_owned(), Compression::Gzip)
    } else if let Some(stem) = name.strip_suffix(".zst") {
        (stem.to_owned(), Compression::Zstd)
    } else {
        (name, Compression::None)
    }
}

/// Format and compression by the file's name.
fn kind_of(path: &Path) -> Result<(Format, Compression)> {
    if is_stdin(path) {
        // What it really is shows when it is opened.
        return Ok((Format::JsonLines, Compression::None));
    }
    let (stem, compression) = stem_and_compression(path);
    let format = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("jsonl" | "json" | "ndjson") => Format::JsonLines,
        Some("txt") => Format::Text,
        Some("parquet") => Format::Parquet,
        _ => {
            let message = format!(
                "{}: the name does not say what the file holds; give .jsonl, .json (one object a line), .txt or .parquet, \
                 also with .gz or .zst after it",
                path.display()
            );
            return Err(Coded::error(Exit::Usage, message));
        }
    };
    Ok((format, compression))
}

fn open(path: &Path, options: &Arc<ReadOptions>, bytes_read: &Arc<AtomicU64>) -> Result<FileRecords> {
    let (format, compression) = kind_of(path)?;
    Ok(match format {
        Format::Parquet => Box::new(ParquetReader::open(path, compression, options, bytes_read)?),
        Format::JsonLines | Format::Text => {
            Box::new(LineReader::open(path, format, compression, options.clone(), bytes_read)?)
        }
    })
}

#[cfg(test)]
#[path = "read/tests.rs"]
mod tests;
