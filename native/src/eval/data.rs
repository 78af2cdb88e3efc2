//! Data files of the protocols: their contents, and the hashes that go into a result's identity.

use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::lines::{Stream, UTF8_BOM};
use crate::data::read::{MAX_LINE_BYTES, stem_and_compression};
use crate::exit::{Coded, Exit};
use crate::files::{read, unreadable};

/// Which data decided the numbers: an entry of [`super::Evaluation::config`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataFile {
    /// Its name without folders.
    pub name: String,
    /// Its size as stored.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes as stored, in hex.
    pub blake3: String,
}

impl DataFile {
    /// Data that is in memory, such as a built-in set.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        Self { name: name.into(), size_bytes: bytes.len() as u64, blake3 }
    }

    /// A file, however large.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
        read.map_err(|cause| unreadable(path, cause))?;
        let blake3 = hasher.finalize().to_hex().to_string();
        Ok(Self { name: file_name(path), size_bytes: hasher.count(), blake3 })
    }
}

/// A name of data as part of a task's name, which names a folder: letters, digits, `-` and `_`.
pub fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// The name of a file without its folders.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The error of a line, counted from 1, that cannot be used.
pub fn bad_line(name: impl std::fmt::Display, line: u64, reason: impl std::fmt::Display) -> anyhow::Error {
    Coded::error(Exit::Data, format!("{name}: line {line}: {reason}"))
}

/// Gives every line of a file that is not blank, with its number from 1, to `each`; a file named `.gz` or `.zst` is
/// decompressed on the way. An error of `each` gets the file's name and the line before it.
pub fn for_each_line(path: &Path, mut each: impl FnMut(u64, &str) -> anyhow::Result<()>) -> anyhow::Result<DataFile> {
    let file = DataFile::of(path)?;
    let (_, compression) = stem_and_compression(path);
    let mut stream = Stream::open(path, compression, &Arc::default())?;
    let (mut buffer, mut number) = (Vec::new(), 0);
    loop {
        buffer.clear();
        number += 1;
        let read = (&mut stream.reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut buffer);
        match read.map_err(|cause| stream.fault(cause, number))? as u64 {
            0 => return Ok(file),
            len if len > MAX_LINE_BYTES => {
                return Err(bad_line(path.display(), number, format!("longer than {MAX_LINE_BYTES} bytes")));
            }
            _ => {}
        }
        let bytes = if number == 1 { buffer.strip_prefix(UTF8_BOM).unwrap_or(&buffer) } else { &buffer };
        let bad = |reason: &dyn std::fmt::Display| bad_line(path.display(), number, reason);
        let line = std::str::from_utf8(bytes).map_err(|cause| bad(&cause))?.trim_end_matches(['\r', '\n']);
        if !line.trim().is_empty() {
            each(number, line).map_err(|cause| bad(&format!("{cause:#}")))?;
        }
    }
}

/// Longest file that is held in memory as a whole, decompressed: ten times the largest of the suites.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// A whole file as text, decompressed by its name.
pub fn text(path: &Path) -> anyhow::Result<String> {
    let (_, compression) = stem_and_compression(path);
    let mut stream = Stream::open(path, compression, &Arc::default())?;
    let mut bytes = Vec::new();
    let end = (&mut stream.reader).take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        let message = format!("{}: longer than {MAX_TEXT_BYTES} bytes; give JSON lines", path.display());
        return Err(Coded::error(Exit::Data, message));
    }
    end.map_err(|cause| stream.fault(cause, 1 + bytes.iter().filter(|byte| **byte == b'\n').count() as u64))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        Coded::error(Exit::Data, format!("{}: byte {byte} is not UTF-8; convert the file", path.display()))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads JSON lines, plain or compressed, each with the number of its line.
pub fn json_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<(Vec<(u64, T)>, DataFile)> {
    let mut records = Vec::new();
    let file = for_each_line(path, |number, line| {
        records.push((number, parse(line)?));
        Ok(())
    })?;
    Ok((records, file))
}

/// Reads JSON lines that are compiled into the program.
pub fn built_in_json_lines<T: DeserializeOwned>(name: &str, text: &str) -> anyhow::Result<(Vec<(u64, T)>, DataFile)> {
    let numbered = |(line, number)| Ok((number, parse(line).map_err(|reason| bad_line(name, number, reason))?));
    let records = text.lines().zip(1..).map(numbered).collect::<anyhow::Result<_>>()?;
    Ok((records, DataFile::new(name, text.as_bytes())))
}

/// Reads a line of JSON.
pub fn parse<T: DeserializeOwned>(line: &str) -> anyhow::Result<T> {
    serde_json::from_str(line).map_err(|cause| anyhow::Error::msg(ill_formed(&cause)))
}

fn ill_formed(cause: &serde_json::Error) -> String {
    format!("not in the form that `--help` tells of ({cause})")
}

/// Reads one JSON document.
pub fn json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<(T, DataFile)> {
    let bytes = read(path)?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|cause| Coded::error(Exit::Data, format!("{}: {}", path.display(), ill_formed(&cause))))?;
    Ok((value, DataFile::new(&file_name(path), &bytes)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Record {
        text: String,
    }

    #[test]
    fn a_compressed_file_reads_as_the_plain_one_and_blank_lines_are_no_records() {
        let room = tempfile::tempdir().unwrap();
        let text = "\u{feff}{\"text\":\"京都\"}\r\n\n{\"text\":\"奈良\"}";
        let plain = room.path().join("a.jsonl");
        std::fs::write(&plain, text).unwrap();
        let compressed = room.path().join("a.jsonl.gz");
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&compressed).unwrap(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        for path in [&plain, &compressed] {
            let (records, file) = json_lines::<Record>(path).unwrap();
            let found: Vec<_> = records.iter().map(|(line, record)| (*line, record.text.as_str())).collect();
            assert_eq!(found, [(1, "京都"), (3, "奈良")]);
            assert_eq!(file, DataFile::new(&file_name(path), &std::fs::read(path).unwrap()));
        }
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("bad.jsonl");
        std::fs::write(&path, "{\"text\":\"a\"}\n{\"txt\":\"b\"}\n").unwrap();
        let error = json_lines::<Record>(&path).err().unwrap().to_string();
        assert!(
            error.contains("bad.jsonl: line 2: not in the form that `--help` tells of (missing field `text`"),
            "{error}"
        );
        std::fs::write(&path, b"{\"text\":\"a\"}\n\xff\n").unwrap();
        let error = json_lines::<Record>(&path).err().unwrap().to_string();
        assert!(error.contains("bad.jsonl: line 2: invalid utf-8"), "{error}");
    }
    #[test]
    fn a_line_beyond_the_cap_is_named_and_not_held() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.jsonl.zst");
        let mut encoder = zstd::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
        encoder.write_all(b"{}\n").unwrap();
        // Random enough to be no bomb: the cap of the line is what is tested.
        let noise: Vec<u8> = (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let noise: Vec<u8> = noise.into_iter().map(|byte| b'a' + byte % 16).collect();
        (0..65).for_each(|_| encoder.write_all(&noise).unwrap());
        encoder.finish().unwrap();
        let error = for_each_line(&path, |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("a.jsonl.zst: line 2: longer than 67108864 bytes"), "{error}");
    }
}
