//! A prepared dataset: a folder of shards that any document can be read from at once.
//!
//! ```text
//! dataset.json        what is in the folder, where it came from, and the hash of every shard
//! train-00000.jsonl   one document a line: {"id": …, "text": …}
//! train-00000.idx     "anaumidx", then little-endian u64: format version, number of documents n, and the n + 1 offsets
//!                     in the shard at which the documents begin and the last one ends
//! test-00000.jsonl …  the same for the test split
//! quarantine.jsonl    lines that were no documents, where that was asked for
//! ```

use crate::exit::{Coded, Exit, WithExit};
use crate::files::is_plain;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Version of the folder's format.
pub const FORMAT_VERSION: u32 = 1;
/// Name of the file that describes the folder.
pub const MANIFEST_FILE: &str = "dataset.json";
/// Name of the split that is trained on.
pub const TRAIN: &str = "train";
/// Name of the split that is held out.
pub const TEST: &str = "test";
const INDEX_MAGIC: &[u8; 8] = b"anaumidx";
const INDEX_HEADER_BYTES: usize = 24;

/// `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub version: u32,
    /// BLAKE3 over the hashes of all shards: equal exactly if splits and documents are, order included.
    pub fingerprint: String,
    /// How the dataset was prepared.
    pub options: super::prepare::PrepareOptions,
    /// The files it was prepared from.
    pub sources: Vec<SourceInfo>,
    /// What was left out.
    pub dropped: Dropped,
    /// The splits by name.
    pub splits: BTreeMap<String, SplitInfo>,
}

/// A file that documents came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Its path as given.
    pub file: String,
    /// Documents read from it, dropped ones included.
    pub documents: u64,
}

/// Counts of what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Documents without text.
    pub empty: u64,
    /// Documents with fewer characters than asked for.
    pub short: u64,
    /// Lines that were no documents and were skipped.
    pub skipped: u64,
    /// Lines that were no documents and went to `quarantine.jsonl`.
    pub quarantined: u64,
}

impl Dropped {
    /// Adds the counts of another part.
    pub fn add(&mut self, other: &Self) {
        self.empty += other.empty;
        self.short += other.short;
        self.skipped += other.skipped;
        self.quarantined += other.quarantined;
    }
}

/// A split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitInfo {
    /// Number of documents.
    pub documents: u64,
    /// Characters (Unicode scalar values) of all texts.
    pub chars: u64,
    /// UTF-8 bytes of all texts.
    pub text_bytes: u64,
    /// Characters of a document.
    pub length_chars: Lengths,
    /// The shards in order.
    pub shards: Vec<ShardInfo>,
}

/// How a length is distributed over documents. All zero without documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Sum divided by count.
    pub mean: f64,
    /// The shortest.
    pub min: u64,
    /// The 5th percentile (nearest rank, as all of them).
    pub p5: u64,
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Lengths {
    /// From the number of documents of each length.
    pub fn of(counts: &BTreeMap<u64, u64>) -> Self {
        let total: u64 = counts.values().sum();
        let sum: u128 = counts.iter().map(|(&length, &count)| u128::from(length) * u128::from(count)).sum();
        let percentile = |percent: u64| {
            let rank = (u128::from(total) * u128::from(percent)).div_ceil(100).max(1) as u64;
            let mut seen = 0;
            let found = counts.iter().find(|&(_, &count)| {
                seen += count;
                seen >= rank
            });
            found.map_or(0, |(&length, _)| length)
        };
        Self {
            mean: if total == 0 { 0.0 } else { sum as f64 / total as f64 },
            min: percentile(0),
            p5: percentile(5),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max: percentile(100),
        }
    }
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Name of its file in the folder. The index has the same name with `.idx` in place of `.jsonl`.
    pub file: String,
    /// Number of documents.
    pub documents: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: String,
}

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// The name that the source gave, or file and line.
    pub id: String,
    /// The text.
    pub text: String,
}

/// A prepared dataset, open for reading.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The folder.
    pub dir: PathBuf,
    /// Its `dataset.json`.
    pub manifest: Manifest,
}

impl Dataset {
    /// Reads `dataset.json` and checks that every shard is there in full size; contents are checked as they are read,
    /// hashes by `anaume data stats`.
    pub fn open(dir: &Path) -> Result<Self> {
        let dir = &crate::hub::data(dir)?;
        let path = dir.join(MANIFEST_FILE);
        let hint = "give a folder that `anaume data prepare` wrote";
        let text = fs::read_to_string(&path).exit(Exit::Usage, format!("cannot read {}; {hint}", path.display()))?;
        let version = serde_json::from_str::<Versioned>(&text);
        let version = version.exit(Exit::Data, format!("{} is no description of a dataset; {hint}", path.display()))?;
        if version.version != FORMAT_VERSION {
            let (name, found) = (path.display(), version.version);
            let message =
                format!("{name}: format {found}, this program reads format {FORMAT_VERSION}; prepare it again");
            return Err(Coded::error(Exit::Data, message));
        }
        let manifest = serde_json::from_str(&text);
        let manifest: Manifest =
            manifest.exit(Exit::Data, format!("{} is damaged; prepare it again", path.display()))?;
        let dataset = Self { dir: dir.to_owned(), manifest };
        dataset.manifest.splits.values().flat_map(|split| &split.shards).try_for_each(|shard| dataset.check(shard))?;
        Ok(dataset)
    }

    fn check(&self, shard: &ShardInfo) -> Result<()> {
        let path = self.dir.join(&shard.file);
        // A document is a line, and has at least a byte.
        if !is_plain(&shard.file) || shard.documents > shard.file_bytes {
            let (manifest, name) = (self.dir.join(MANIFEST_FILE), &shard.file);
            let message =
                format!("{}: `{name}` is no shard of this folder; prepare the dataset again", manifest.display());
            return Err(Coded::error(Exit::Data, message));
        }
        let size = fs::metadata(&path).exit(Exit::Data, format!("cannot read {}", path.display()))?.len();
        if size != shard.file_bytes {
            let (name, expected) = (path.display(), shard.file_bytes);
            let message =
                format!("{name} has {size} bytes, {MANIFEST_FILE} says {expected}; prepare the dataset again");
            return Err(Coded::error(Exit::Data, message));
        }
        Ok(())
    }

    /// A split by name. Fails if there is none.
    pub fn split(&self, name: &str) -> Result<Split> {
        let Some(info) = self.manifest.splits.get(name) else {
            let splits: Vec<&str> = self.manifest.splits.keys().map(String::as_str).collect();
            let (dir, splits) = (self.dir.display(), splits.join(", "));
            let message = format!(
                "{dir} has no split `{name}`, only {splits}; prepare one with --test-fraction or --test-documents"
            );
            return Err(Coded::error(Exit::Usage, message));
        };
        let mut first_documents = vec![0];
        for shard in &info.shards {
            first_documents.push(first_documents[first_documents.len() - 1] + shard.documents);
        }
        Ok(Split { dir: self.dir.clone(), name: name.to_owned(), info: info.clone(), first_documents })
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A split, open for reading. Its documents are numbered from 0 through its shards.
#[derive(Clone, Debug)]
pub struct Split {
    dir: PathBuf,
    /// Its name.
    pub name: String,
    /// What `dataset.json` says of it.
    pub info: SplitInfo,
    /// Number of the first document of each shard, and of the one after the last.
    first_documents: Vec<u64>,
}

impl Split {
    /// Number of the first document of a shard.
    pub fn first_document(&self, shard: usize) -> u64 {
        self.first_documents[shard]
    }

    /// Opens a shard.
    pub fn shard(&self, shard: usize) -> Result<ShardReader> {
        ShardReader::open(&self.dir, &self.info.shards[shard])
    }

    /// Reads one document by its number. Fails if there is none.
    pub fn document(&self, number: u64) -> Result<StoredDocument> {
        let shard = self.first_documents.partition_point(|&first| first <= number);
        if shard == 0 || shard == self.first_documents.len() {
            let (name, documents) = (&self.name, self.info.documents);
            return Err(Coded::error(
                Exit::Usage,
                format!("split `{name}` has {documents} documents, none numbered {number}"),
            ));
        }
        self.shard(shard - 1)?.read(number - self.first_documents[shard - 1])
    }
}

/// A shard, open for reading at any document.
pub struct ShardReader {
    path: PathBuf,
    file: File,
    offsets: Vec<u64>,
    line: Vec<u8>,
}

impl ShardReader {
    fn open(dir: &Path, info: &ShardInfo) -> Result<Self> {
        let path = dir.join(&info.file);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let index = index_path(&path);
        let bytes = fs::read(&index).with_context(|| format!("cannot read {}", index.display()))?;
        let offsets = decode_index(&bytes, info).map_err(|reason| {
            Coded::error(Exit::Data, format!("{}: {reason}; prepare the dataset again", index.display()))
        })?;
        Ok(Self { path, file, offsets, line: Vec::new() })
    }

    /// Number of documents.
    pub fn num_documents(&self) -> u64 {
        self.offsets.len() as u64 - 1
    }

    /// Where the documents begin in the file, and where the last one ends.
    pub(super) fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Reads a document by its number in the shard, which must be below [`Self::num_documents`].
    pub fn read(&mut self, document: u64) -> Result<StoredDocument> {
        let (start, end) = (self.offsets[document as usize], self.offsets[document as usize + 1]);
        let place = || format!("{} from byte {start} to {end} (line {})", self.path.display(), document + 1);
        self.line.resize((end - start) as usize, 0);
        self.file.seek(SeekFrom::Start(start)).with_context(place)?;
        self.file.read_exact(&mut self.line).with_context(place)?;
        serde_json::from_slice(&self.line)
            .exit(Exit::Data, format!("{} is no document; prepare the dataset again", place()))
    }
}

/// The index beside a shard.
pub(super) fn index_path(shard: &Path) -> PathBuf {
    shard.with_extension("idx")
}

/// The bytes of an index.
pub(super) fn encode_index(offsets: &[u64]) -> Vec<u8> {
    let mut bytes = INDEX_MAGIC.to_vec();
    bytes.extend(u64::from(FORMAT_VERSION).to_le_bytes());
    bytes.extend((offsets.len() as u64 - 1).to_le_bytes());
    bytes.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
    bytes
}

fn decode_index(bytes: &[u8], info: &ShardInfo) -> Result<Vec<u64>, String> {
    let header = bytes.get(..INDEX_HEADER_BYTES).filter(|header| header.starts_with(INDEX_MAGIC));
    let header = header.ok_or("byte 0: not an index")?;
    let numbers =
        |bytes: &[u8]| -> Vec<u64> { bytes.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect() };
    let (version, documents) = (numbers(header)[1], numbers(header)[2]);
    if version != u64::from(FORMAT_VERSION) {
        return Err(format!("byte 8: format {version}, this program reads format {FORMAT_VERSION}"));
    }
    if documents != info.documents {
        return Err(format!("byte 16: {documents} documents, {MANIFEST_FILE} says {}", info.documents));
    }
    let offsets = numbers(&bytes[INDEX_HEADER_BYTES..]);
    if !bytes.len().is_multiple_of(8) || offsets.len() as u64 != documents.saturating_add(1) {
        return Err(format!("{} bytes do not hold {documents} documents", bytes.len()));
    }
    let ordered = offsets[0] == 0 && offsets.is_sorted_by(|a, b| a < b);
    if !ordered || offsets.last() != Some(&info.file_bytes) {
        return Err("the offsets do not cover the shard".to_owned());
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let even = Lengths::of(&(1..=100).map(|length| (length, 1)).collect());
        assert_eq!(even, Lengths { mean: 50.5, min: 1, p5: 5, p50: 50, p95: 95, p99: 99, max: 100 });
        let uneven = Lengths::of(&BTreeMap::from([(10, 1), (20, 3)]));
        assert_eq!(uneven, Lengths { mean: 17.5, min: 10, p5: 10, p50: 20, p95: 20, p99: 20, max: 20 });
        assert_eq!(Lengths::of(&BTreeMap::new()), Lengths::default());
    }

    #[test]
    fn an_index_that_does_not_fit_its_shard_is_refused_where_it_is_wrong() {
        let info = ShardInfo { file: "train-00000.jsonl".into(), documents: 2, file_bytes: 9, blake3: String::new() };
        let index = encode_index(&[0, 5, 9]);
        assert_eq!(decode_index(&index, &info), Ok(vec![0, 5, 9]));
        let with = |byte: usize, value: u8| {
            let mut bytes = index.clone();
            bytes[byte] = value;
            bytes
        };
        let cover = "the offsets do not cover the shard";
        for (bytes, reason) in [
            (with(0, b'A'), "byte 0: not an index"),
            (index[..23].to_vec(), "byte 0: not an index"),
            (with(8, 2), "byte 8: format 2, this program reads format 1"),
            (with(16, 3), "byte 16: 3 documents, dataset.json says 2"),
            (index[..40].to_vec(), "40 bytes do not hold 2 documents"),
            ([&index[..], &[0; 8]].concat(), "56 bytes do not hold 2 documents"),
            ([&index[..], &[0]].concat(), "49 bytes do not hold 2 documents"),
            (with(24, 1), cover),
            (with(32, 0), cover),
            (with(32, 9), cover),
            (with(40, 8), cover),
            (with(40, 10), cover),
        ] {
            assert_eq!(decode_index(&bytes, &info), Err(reason.to_owned()), "{bytes:?}");
        }
    }
}
