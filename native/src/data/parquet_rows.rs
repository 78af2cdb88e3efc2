//! Rows of a Parquet file: one text column and, if asked for, the column with the names.

use super::lines::{FREE_BYTES, MAX_RATIO, Stream, missing_column};
use super::read::{BadLine, Compression, Document, ReadOptions, Record};
use super::thrift::claims_too_much;
use crate::exit::{Coded, Exit};
use anaume_core::error::caught;
use anyhow::{Context, Result};
use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows decoded at a time: few, because a row can be a whole book.
const ROWS_AT_A_TIME: usize = 64;

/// What a row counts for beside its text where a file is measured by what comes out of it: rows without text cost nothing in it.
const ROW_BYTES: u64 = 64;

/// A value as text, or null. Rows of equal texts share one, so that a dictionary of one large text is not copied for every row.
type Value = Option<ByteArray>;

/// The records of one Parquet file.
pub(super) struct ParquetReader {
    source: Arc<Path>,
    file: SerializedFileReader<Stored>,
    text: Column,
    id: Option<Column>,
    next_row_group: usize,
    /// Rows handed out so far.
    row: u64,
    /// Rows decoded and not yet handed out, the next one last.
    pending: Vec<(Value, Value)>,
    max_text_bytes: u64,
    /// What may still come out of the file.
    left_bytes: u64,
    bytes_read: Option<Arc<AtomicU64>>,
    done: bool,
}

impl ParquetReader {
    pub(super) fn open(
        path: &Path,
        compression: Compression,
        options: &ReadOptions,
        bytes_read: &Arc<AtomicU64>,
    ) -> Result<Self> {
        let stored = match compression {
            Compression::None => File::open(path).with_context(|| format!("cannot open {}", path.display()))?,
            _ => decompress(path, compression, bytes_read)?,
        };
        let stored_bytes = stored.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        let file = guarded(|| SerializedFileReader::new(Stored(stored)))
            .map_err(|error| damaged(path, "its footer", &error))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let text = Column::find(schema, &options.column, "--column", &[Type::BYTE_ARRAY], path)?;
        let names = [Type::BYTE_ARRAY, Type::INT32, Type::INT64];
        let id =
            options.id_column.as_ref().map(|id| Column::find(schema, id, "--id-column", &names, path)).transpose()?;
        Ok(Self {
            source: path.into(),
            file,
            text,
            id,
            next_row_group: 0,
            row: 0,
            pending: Vec::new(),
            max_text_bytes: options.max_line_bytes,
            left_bytes: FREE_BYTES + MAX_RATIO * stored_bytes,
            bytes_read: (compression == Compression::None).then(|| bytes_read.clone()),
            done: false,
        })
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        while self.pending.is_empty() {
            let more = guarded(|| Ok(self.decode()? || self.open_row_group()?));
            if !more.map_err(|error| self.damaged_row(&error))? {
                return Ok(None);
            }
        }
        let Some((text, id)) = self.pending.pop() else { return Ok(None) };
        self.row += 1;
        let bytes = ROW_BYTES + [&text, &id].into_iter().flatten().map(|value| value.len() as u64).sum::<u64>();
        let Some(left) = self.left_bytes.checked_sub(bytes) else {
            let message = format!("more than {MAX_RATIO} times its size comes out, as of no text");
            return Err(self.damaged_row(&ParquetError::General(message)));
        };
        self.left_bytes = left;
        Ok(Some(match self.document(text, id) {
            Ok(document) => Record::Document(document),
            Err(reason) => Record::Bad(BadLine { source: self.source.clone(), line: self.row, reason }),
        }))
    }

    fn damaged_row(&self, error: &ParquetError) -> anyhow::Error {
        let place = format!("row group {}, after row {}", self.next_row_group.saturating_sub(1), self.row);
        damaged(&self.source, &place, error)
    }

    /// Goes to the next row group, if there is one.
    fn open_row_group(&mut self) -> Result<bool, ParquetError> {
        if self.next_row_group == self.file.num_row_groups() {
            return Ok(false);
        }
        let group = self.file.get_row_group(self.next_row_group)?;
        self.next_row_group += 1;
        for column in [Some(&mut self.text), self.id.as_mut()].into_iter().flatten() {
            let pages = Honest(group.get_column_page_reader(column.index)?);
            column.reader =
                Some(get_column_reader(group.metadata().column(column.index).column_descr_ptr(), Box::new(pages)));
        }
        if let Some(bytes_read) = &self.bytes_read {
            let stored = u64::try_from(group.metadata().compressed_size()).unwrap_or(0);
            bytes_read.fetch_add(stored, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// Decodes some rows of the open row group; false at its end.
    fn decode(&mut self) -> Result<bool, ParquetError> {
        let texts = self.text.read()?;
        let ids = match &mut self.id {
            Some(id) => id.read()?,
            None => vec![None; texts.len()],
        };
        if ids.len() != texts.len() {
            return Err(ParquetError::General("the columns of the text and the name differ in length".to_owned()));
        }
        self.pending = texts.into_iter().zip(ids).rev().collect();
        Ok(!self.pending.is_empty())
    }

    fn document(&self, text: Value, id: Value) -> Result<Document, String> {
        let text = text.map_or(Ok(String::new()), |text| self.utf8(&text, &self.text.name))?;
        let id = match (&self.id, id) {
            (Some(column), Some(id)) => Some(self.utf8(&id, &column.name)?),
            _ => None,
        };
        Ok(Document { id, text, source: self.source.clone(), line: self.row })
    }

    fn utf8(&self, value: &ByteArray, column: &str) -> Result<String, String> {
        let (cap, len) = (self.max_text_bytes, value.len());
        if len as u64 > cap {
            return Err(format!("column `{column}` has {len} bytes, more than {cap}; raise --max-line-bytes"));
        }
        String::from_utf8(value.data().to_vec()).map_err(|error| {
            let byte = error.utf8_error().valid_up_to();
            format!("invalid UTF-8 at byte {byte} of column `{column}`; write the column as UTF-8")
        })
    }
}

impl Iterator for ParquetReader {
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

/// A file whose descriptions claim no more than they can hold, and which cannot be read beyond its end. The library skips what is said
/// to be there, however much, without noticing that a plain file has ended.
struct Stored(File);

/// What is read from a place on, which must not be the end.
struct Inside(File);

impl Length for Stored {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Stored {
    type T = BufReader<Inside>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // What is read so is the head of a page, or the end of the file, which is no struct.
        if start + FOOTER_SIZE as u64 != self.len() {
            honest(self.0.get_read(start)?, self.len().saturating_sub(start))?;
        }
        // What the library buffers is still to be read.
        Ok(BufReader::new(Inside(self.0.get_read(start)?.into_inner())))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.len());
        let beyond = || ParquetError::EOF(format!("{length} bytes from byte {start} on are beyond the end"));
        let (end, bytes) = (end.ok_or_else(beyond)?, self.0.get_bytes(start, length)?);
        // What ends there describes the file.
        if end + FOOTER_SIZE as u64 == self.len() {
            honest(&bytes[..], length as u64)?;
        }
        Ok(bytes)
    }
}

impl Read for Inside {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(Error::new(ErrorKind::UnexpectedEof, "the file ends inside a page")),
            length => Ok(length),
        }
    }
}

fn honest(description: impl Read, num_bytes: u64) -> Result<(), ParquetError> {
    match claims_too_much(description, num_bytes) {
        true => Err(ParquetError::General("lists that claim more elements than there are bytes".to_owned())),
        false => Ok(()),
    }
}

/// Pages without a dictionary that claims more values than its bytes can hold, 4 each at least: the library makes room for all of them
/// before it reads the first.
struct Honest(Box<dyn PageReader>);

impl PageReader for Honest {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.0.get_next_page()?;
        match &page {
            Some(Page::DictionaryPage { buf, num_values, .. }) if *num_values as usize > buf.len() / 4 => {
                Err(ParquetError::General(format!("a dictionary of {num_values} values in {} bytes", buf.len())))
            }
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.skip_next_page()
    }
}

impl Iterator for Honest {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Runs a part of the parquet library, which panics on some damaged files. A reader that failed is not used again.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    caught(work, |message| ParquetError::General(message.unwrap_or("it cannot be decoded").to_owned()))
}

fn damaged(path: &Path, place: &str, error: &ParquetError) -> anyhow::Error {
    let message = format!("{}: damaged Parquet in {place}: {error}; fetch or write the file again", path.display());
    Coded::error(Exit::Data, message)
}

/// Parquet is read from its end, so a compressed file is unpacked into an unnamed temporary file first.
fn decompress(path: &Path, compression: Compression, bytes_read: &Arc<AtomicU64>) -> Result<File> {
    let mut stream = Stream::open(path, compression, bytes_read)?;
    let unpacked = || format!("cannot unpack {} into the folder for temporary files", path.display());
    let mut file = tempfile::tempfile().with_context(unpacked)?;
    loop {
        let bytes = stream.reader.fill_buf();
        let len = match bytes {
            Ok([]) => break,
            Ok(bytes) => {
                file.write_all(bytes).with_context(unpacked)?;
                bytes.len()
            }
            Err(error) => return Err(stream.fault(error, 1)),
        };
        stream.reader.consume(len);
    }
    file.seek(SeekFrom::Start(0)).with_context(unpacked)?;
    Ok(file)
}

/// One column and the place reached in it.
struct Column {
    name: String,
    index: usize,
    /// The definition level of a value that is not null.
    present_level: i16,
    reader: Option<ColumnReader>,
}

impl Column {
    fn find(schema: &SchemaDescriptor, name: &str, flag: &str, types: &[Type], path: &Path) -> Result<Self> {
        let fail = |reason: String| Coded::error(Exit::Data, format!("{}: {reason}", path.display()));
        let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let Some(index) = names.iter().position(|present| present == name) else {
            return Err(fail(missing_column(name, names.iter().map(String::as_str), flag)));
        };
        let column = schema.column(index);
        if column.max_rep_level() > 0 {
            return Err(fail(format!("column `{name}` holds lists, not one value a row; name another with {flag}")));
        }
        if !types.contains(&column.physical_type()) {
            let (found, wanted) = (column.physical_type(), types[0]);
            return Err(fail(format!("column `{name}` holds {found}, not text ({wanted}); name another with {flag}")));
        }
        Ok(Self { name: name.to_owned(), index, present_level: column.max_def_level(), reader: None })
    }

    /// The next values of the open row group as text, `None` for null; none at its end.
    fn read(&mut self) -> Result<Vec<Value>, ParquetError> {
        let level = self.present_level;
        match &mut self.reader {
            None => Ok(Vec::new()),
            Some(ColumnReader::ByteArrayColumnReader(reader)) => read_values(reader, level, Clone::clone),
            Some(ColumnReader::Int32ColumnReader(reader)) => {
                read_values(reader, level, |value| value.to_string().into_bytes().into())
            }
            Some(ColumnReader::Int64ColumnReader(reader)) => {
                read_values(reader, level, |value| value.to_string().into_bytes().into())
            }
            Some(_) => Err(ParquetError::General("the column changes its type".to_owned())),
        }
    }
}

fn read_values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    present_level: i16,
    to_bytes: impl Fn(&T::T) -> ByteArray,
) -> Result<Vec<Value>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (num_rows, ..) = reader.read_records(ROWS_AT_A_TIME, Some(&mut levels), None, &mut values)?;
    let mut values = values.iter();
    if present_level == 0 {
        levels = vec![0; num_rows];
    }
    let missing = || ParquetError::General("fewer values than rows".to_owned());
    let present = |level: i16| level == present_level;
    levels
        .into_iter()
        .map(|level| present(level).then(|| values.next().map(&to_bytes).ok_or_else(missing)).transpose())
        .collect()
}

#[cfg(test)]
mod tests {
    use parquet::data_type::ByteArrayType;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    #[test]
    fn rows_of_one_text_share_its_memory() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.parquet");
        let schema = Arc::new(parse_message_type("message m { required binary text (UTF8); }").unwrap());
        let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let rows = vec![ByteArray::from(vec![b'x'; 10_000]); ROWS_AT_A_TIME];
        column.typed::<ByteArrayType>().write_batch(&rows, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let options = ReadOptions { max_line_bytes: 9_999, ..ReadOptions::default() };
        let mut reader = ParquetReader::open(&path, Compression::None, &options, &Arc::default()).unwrap();
        let Some(Ok(Record::Bad(bad))) = reader.next() else { panic!("a text beyond the cap") };
        assert!(bad.reason.contains("column `text` has 10000 bytes"), "{}", bad.reason);
        let places: Vec<_> = reader.pending.iter().map(|(text, _)| text.as_ref().unwrap().data().as_ptr()).collect();
        assert!(places.len() == ROWS_AT_A_TIME - 1 && places.iter().all(|place| *place == places[0]));
    }

    #[test]
    fn rows_that_cost_the_file_nothing_come_to_an_end() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.parquet");
        let schema = Arc::new(parse_message_type("message m { optional binary text (UTF8); }").unwrap());
        let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let rows = 2_000_000;
        column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![0; rows]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        assert!(path.metadata().unwrap().len() < 100_000);
        let mut reader =
            ParquetReader::open(&path, Compression::None, &ReadOptions::default(), &Arc::default()).unwrap();
        let (read, end): (Vec<_>, Vec<_>) = reader.by_ref().partition(Result::is_ok);
        assert!(read.len() < rows && end.len() == 1, "{} rows", read.len());
        let message = end[0].as_ref().unwrap_err().to_string();
        assert!(message.contains("a.parquet") && message.contains("256 times its size"), "{message}");
    }

    #[test]
    fn pages_that_claim_what_their_bytes_cannot_hold_are_refused_at_once() {
        let found = |name: &str| {
            let corpus = |dir: &Path| dir.join("tests/fuzz/corpus/parquet");
            let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(corpus);
            let corpus = above.find(|dir| dir.is_dir()).unwrap();
            let (path, options) = (corpus.join(name), ReadOptions::default());
            let error = match ParquetReader::open(&path, Compression::None, &options, &Arc::default()) {
                Ok(mut reader) => reader.next().unwrap().err().unwrap(),
                Err(error) => error,
            };
            (path, error.to_string())
        };
        let (_, error) = found("dictionary-without-values");
        assert!(error.contains("a dictionary of 1995300838 values in"), "{error}");
        let (_, error) = found("truth-values-without-end");
        assert!(error.contains("in its footer") && error.contains("claim more elements"), "{error}");
        let (_, error) = found("numbers-beyond-the-end");
        assert!(error.contains("the file ends inside a page"), "{error}");
        let (path, error) = found("skips-beyond-the-end");
        assert!(error.contains("in row group 0") && error.contains("claim more elements"), "{error}");
        let stored = Stored(File::open(path).unwrap());
        assert!(stored.get_bytes(0, 774).is_ok() && stored.get_bytes(1, 774).is_err());
    }
}
