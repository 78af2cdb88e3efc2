//! Lines of a stream, decompressed on the way, and the documents they hold.

use super::read::{BadLine, Compression, Document, Format, ReadOptions, Record, is_stdin};
use crate::exit::{Coded, Exit};
use anyhow::{Context, Result};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER_BYTES: usize = 1 << 18;
pub(crate) const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";

/// A buffered reader that knows how many bytes were taken from it.
struct Counted<R> {
    inner: R,
    taken: Arc<AtomicU64>,
    taken_of_all: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let len = available.read(out)?;
        self.consume(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        self.inner.consume(len);
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        self.taken_of_all.fetch_add(len as u64, Ordering::Relaxed);
    }
}

/// Text that may come out of a compressed file whatever its size: a line of the default cap.
pub(super) const FREE_BYTES: u64 = 64 << 20;
/// Beyond that, how many bytes of text may come out of a stored one. Text shrinks to a fifth, logs to a fiftieth; a gzip bomb has
/// a thousand, a zstd bomb more.
pub(super) const MAX_RATIO: u64 = 256;

/// A decompressor that gives up where more comes out than text has.
struct Bounded<R> {
    inner: R,
    produced: u64,
    /// Stored bytes taken so far.
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        self.produced += len as u64;
        if self.produced > FREE_BYTES + MAX_RATIO * self.taken.load(Ordering::Relaxed) {
            let message = format!("more than {MAX_RATIO} times its size comes out, as of no text");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(len)
    }
}

/// A file's bytes, decompressed.
pub(crate) struct Stream {
    pub(crate) reader: Box<dyn BufRead + Send>,
    pub(super) source: Arc<Path>,
    compression: Compression,
    /// Stored bytes taken so far.
    taken: Arc<AtomicU64>,
}

impl Stream {
    /// Opens a file, or standard input for `-`. Stored bytes are added to `bytes_read` as they are taken.
    pub(crate) fn open(path: &Path, compression: Compression, bytes_read: &Arc<AtomicU64>) -> Result<Self> {
        let (raw, source, compression): (Box<dyn BufRead + Send>, &Path, Compression) = if is_stdin(path) {
            let mut stdin = BufReader::with_capacity(BUFFER_BYTES, io::stdin());
            let compression = compression_of(stdin.fill_buf().context("cannot read <stdin>")?)?;
            (Box::new(stdin), Path::new("<stdin>"), compression)
        } else {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            (Box::new(BufReader::with_capacity(BUFFER_BYTES, file)), path, compression)
        };
        let taken = Arc::new(AtomicU64::new(0));
        let raw = Counted { inner: raw, taken: taken.clone(), taken_of_all: bytes_read.clone() };
        let decoder: Box<dyn Read + Send> = match compression {
            Compression::None => {
                return Ok(Self { reader: Box::new(raw), source: source.into(), compression, taken });
            }
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            Compression::Zstd => {
                Box::new(zstd::stream::read::Decoder::with_buffer(raw).context("cannot start the zstd decoder")?)
            }
        };
        let bounded = Bounded { inner: decoder, produced: 0, taken: taken.clone() };
        let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, bounded));
        Ok(Self { reader, source: source.into(), compression, taken })
    }

    /// The error of a failed read, with the place in the stored file where it happened.
    pub(crate) fn fault(&self, error: io::Error, line: u64) -> anyhow::Error {
        let (source, byte) = (self.source.display(), self.taken.load(Ordering::Relaxed));
        let (format, cause) = match (self.compression, error.kind()) {
            (Compression::None, _) => {
                return anyhow::Error::new(error).context(format!("cannot read {source} at byte {byte}, line {line}"));
            }
            (Compression::Gzip, io::ErrorKind::UnexpectedEof) => ("gzip", "the file ends too early".to_owned()),
            (Compression::Zstd, io::ErrorKind::UnexpectedEof) => ("zstd", "the file ends too early".to_owned()),
            (Compression::Gzip, _) => ("gzip", error.to_string()),
            (Compression::Zstd, _) => ("zstd", error.to_string()),
        };
        let advice = "fetch or compress the file again";
        Coded::error(
            Exit::Data,
            format!("{source}: {format} breaks at byte {byte}, in line {line} of the text ({cause}); {advice}"),
        )
    }
}

/// The compression of a stream without a name, by how it begins.
fn compression_of(start: &[u8]) -> Result<Compression> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        [b'P', b'A', b'R', b'1', ..] => {
            Err(Coded::error(Exit::Usage, "<stdin> is Parquet, which is read from its end: give the file by name"))
        }
        _ => Ok(Compression::None),
    }
}

/// The format of a stream without a name: JSON lines where it begins with an object.
fn format_of(start: &[u8]) -> Result<Format> {
    let start = start.strip_prefix(UTF8_BOM).unwrap_or(start);
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') | None => Ok(Format::JsonLines),
        Some(b'[') => Err(Coded::error(Exit::Usage, "<stdin> begins a JSON array; give one object a line")),
        Some(_) => {
            eprintln!("<stdin> is read as plain text, a document a line");
            Ok(Format::Text)
        }
    }
}

/// The records of one file of lines.
pub(super) struct LineReader {
    stream: Stream,
    format: Format,
    options: Arc<ReadOptions>,
    line: u64,
    /// Place in the decompressed text where the current line begins.
    line_start: u64,
    buffer: Vec<u8>,
    done: bool,
}

/// What reading a line came to.
enum Line {
    Whole,
    TooLong,
    End,
}

impl LineReader {
    pub(super) fn open(
        path: &Path,
        format: Format,
        compression: Compression,
        options: Arc<ReadOptions>,
        bytes_read: &Arc<AtomicU64>,
    ) -> Result<Self> {
        let mut stream = Stream::open(path, compression, bytes_read)?;
        let format = match is_stdin(path) {
            true => match stream.reader.fill_buf() {
                Ok(start) => format_of(start)?,
                Err(error) => return Err(stream.fault(error, 1)),
            },
            false => format,
        };
        Ok(Self { stream, format, options, line: 0, line_start: 0, buffer: Vec::new(), done: false })
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            let start = self.line_start;
            self.line += 1;
            let line = self.read_line().map_err(|error| self.stream.fault(error, self.line))?;
            let record = match line {
                Line::End => return Ok(None),
                Line::TooLong => Err(self.too_long()),
                Line::Whole => self.parse(start),
            };
            match record {
                Ok(Some(document)) => return Ok(Some(Record::Document(document))),
                Ok(None) => {}
                Err(reason) => {
                    return Ok(Some(Record::Bad(BadLine {
                        source: self.stream.source.clone(),
                        line: self.line,
                        reason,
                    })));
                }
            }
        }
    }

    /// Reads the next line, without its end, into the buffer.
    fn read_line(&mut self) -> io::Result<Line> {
        let cap = self.options.max_line_bytes;
        let whole_file = self.format == Format::Text && self.options.whole_files;
        self.buffer.clear();
        let mut limited = (&mut self.stream.reader).take(cap.saturating_add(1));
        let len = if whole_file {
            limited.read_to_end(&mut self.buffer)?
        } else {
            limited.read_until(b'\n', &mut self.buffer)?
        };
        self.line_start += len as u64;
        if len == 0 {
            return Ok(Line::End);
        }
        let ended = !whole_file && self.buffer.last() == Some(&b'\n');
        if len as u64 > cap && !ended {
            self.line_start += if whole_file {
                skip_all(&mut self.stream.reader)?
            } else {
                self.stream.reader.skip_until(b'\n')? as u64
            };
            return Ok(Line::TooLong);
        }
        if ended {
            self.buffer.pop();
            self.buffer.pop_if(|last| *last == b'\r');
        }
        Ok(Line::Whole)
    }

    fn too_long(&self) -> String {
        let unit = if self.format == Format::Text && self.options.whole_files { "file" } else { "line" };
        format!("the {unit} is longer than {} bytes; raise --max-line-bytes", self.options.max_line_bytes)
    }

    /// The document of the line in the buffer, `None` for a blank line between JSON objects, or what is wrong.
    fn parse(&self, start: u64) -> Result<Option<Document>, String> {
        let skipped = if self.line == 1 && self.buffer.starts_with(UTF8_BOM) { UTF8_BOM.len() } else { 0 };
        let line = std::str::from_utf8(&self.buffer[skipped..]).map_err(|error| {
            let byte = skipped + error.valid_up_to();
            let (column, byte) = (byte + 1, start + byte as u64);
            format!("invalid UTF-8 at byte {byte} of the text (byte {column} of the line); convert the file to UTF-8")
        })?;
        let (id, text) = match self.format {
            Format::JsonLines if line.trim().is_empty() => return Ok(None),
            Format::JsonLines => parse_json(line, &self.options)?,
            Format::Text | Format::Parquet => (None, line.to_owned()),
        };
        Ok(Some(Document { id, text, source: self.stream.source.clone(), line: self.line }))
    }
}

/// Passes over the rest of a stream and counts it.
fn skip_all(reader: &mut impl Read) -> io::Result<u64> {
    io::copy(reader, &mut io::sink())
}

impl Iterator for LineReader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.next_record().transpose();
        self.done = !matches!(record, Some(Ok(_)));
        record
    }
}

/// The id and the text of a JSON object.
fn parse_json(line: &str, options: &ReadOptions) -> Result<(Option<String>, String), String> {
    let wanted = Wanted { column: &options.column, id_column: options.id_column.as_deref() };
    let mut json = serde_json::Deserializer::from_str(line);
    let found = wanted.deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    let found = found.map_err(|error| {
        let message = error.to_string();
        let cause = message.split(" at line ").next().unwrap_or_default();
        format!("not one JSON object ({cause}, column {}); give one object a line", error.column())
    })?;
    let text = match found.text {
        Some(Value::String(text)) => text,
        Some(Value::Null) => String::new(),
        Some(other) => return Err(format!("column `{}` holds {}, not a text", options.column, kind_of(&other))),
        None => return Err(missing(line, &options.column, "--column")),
    };
    let id = match (found.id, &options.id_column) {
        (Some(Value::String(id)), _) => Some(id),
        (Some(Value::Number(id)), _) => Some(id.to_string()),
        (Some(Value::Null), _) | (None, None) => None,
        (Some(other), Some(column)) => return Err(format!("column `{column}` holds {}, not a name", kind_of(&other))),
        (Some(_), None) => None,
        (None, Some(column)) => return Err(missing(line, column, "--id-column")),
    };
    Ok((id, text))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn missing(line: &str, column: &str, flag: &str) -> String {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_str(line).unwrap_or_default();
    missing_column(column, keys.keys().map(String::as_str), flag)
}

/// Says that a column is not there, which ones are, and what to do.
pub(super) fn missing_column<'a>(column: &str, present: impl Iterator<Item = &'a str>, flag: &str) -> String {
    let names: Vec<String> = present.take(20).map(|name| format!("`{name}`")).collect();
    let names = if names.is_empty() { "no column at all".to_owned() } else { names.join(", ") };
    format!("no column `{column}`, only {names}; name the right one with {flag}")
}

/// Takes two values of a JSON object and passes over the others.
struct Wanted<'a> {
    column: &'a str,
    id_column: Option<&'a str>,
}

#[derive(Default)]
struct Found {
    text: Option<Value>,
    id: Option<Value>,
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Found;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<String>()? {
            let is_text = key == self.column;
            if is_text || self.id_column == Some(&key) {
                *(if is_text { &mut found.text } else { &mut found.id }) = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_the_free_bytes_and_256_for_each_of_its_own() {
        for (taken, may_give) in [(0, FREE_BYTES), (1000, FREE_BYTES + 256_000)] {
            let (inner, taken) = (io::repeat(b'0'), Arc::new(AtomicU64::new(taken)));
            let mut bounded = Bounded { inner, produced: may_give - 10, taken };
            assert_eq!(bounded.read(&mut [0; 10]).unwrap(), 10);
            assert!(bounded.read(&mut [0]).is_err());
        }
    }

    #[test]
    fn standard_input_is_known_by_its_first_bytes() {
        for (start, expected) in [
            (&b"\x1f\x8b\x08"[..], Compression::Gzip),
            (b"\x28\xb5\x2f\xfd\x00", Compression::Zstd),
            (b"{\"text\":", Compression::None),
            (b"", Compression::None),
        ] {
            assert_eq!(compression_of(start).unwrap(), expected, "{start:?}");
        }
        for (start, expected) in [
            (&b"{\"text\":"[..], Format::JsonLines),
            (b"\xef\xbb\xbf \n{", Format::JsonLines),
            (b"", Format::JsonLines),
            ("本文".as_bytes(), Format::Text),
        ] {
            assert_eq!(format_of(start).unwrap(), expected, "{start:?}");
        }
        assert!(compression_of(b"PAR1").unwrap_err().to_string().contains("give the file by name"));
        assert!(format_of(b" [{").unwrap_err().to_string().contains("one object a line"));
    }
}
