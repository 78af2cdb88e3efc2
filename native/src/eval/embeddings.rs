//! Vectors of texts, computed once: a file of vectors for each model and way of embedding, shared by all protocols.
//!
//! The file is `OUT/cache/embeddings/HASH.bin`, where HASH is over weights, tokenizer, options and precision: a header (magic, size
//! of a vector), then records of the text's BLAKE3, the vector in f32 and a CRC-32C, little-endian. Records are only
//! appended, under a lock, so several processes may share it; a record that was torn off or damaged is not used.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anaume_core::batch::groups_within;
use anaume_core::config::Pooling;
use anaume_core::infer::{EmbedOptions, Engine, TOKENS_PER_FORWARD};
use anyhow::Context as _;
use serde_json::json;

use super::Context;
use super::subject::Subject;
use crate::exit::{Coded, Exit};
use crate::files::{folder_of, make_dir};
use crate::progress::format_count;

const MAGIC: &[u8; 8] = b"anaumev1";
const HEADER_BYTES: u64 = 12;
/// Longest vector: the largest width that a configuration may ask for.
const MAX_DIMENSIONS: usize = 1 << 16;
const KEY_BYTES: usize = blake3::OUT_LEN;
const CRC_BYTES: usize = 4;

/// How texts become vectors, as typed.
#[derive(clap::Args, Clone, Debug, Default, serde::Serialize)]
pub struct VectorArgs {
    /// The vector of a text: mean over its tokens, or that of its first token
    #[arg(long, default_value = "mean", value_parser = ["mean", "cls"])]
    pub pooling: String,
    /// Take the hidden states after this layer, 0 being the embedding [default: the model's output]
    #[arg(long)]
    pub layer: Option<usize>,
    /// Put before every query or first text, such as 'クエリ: '
    #[arg(long, default_value = "", hide_default_value = true)]
    pub query_prefix: String,
    /// Put before every passage or second text, such as '文章: '
    #[arg(long, default_value = "", hide_default_value = true)]
    pub passage_prefix: String,
    /// Longest text in tokens; what is longer is cut [default: as much as the model takes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..))]
    pub max_length: Option<u32>,
}

impl VectorArgs {
    /// What they mean to the model.
    pub fn options(&self) -> EmbedOptions {
        EmbedOptions {
            pooling: if self.pooling == "cls" { Pooling::Cls } else { Pooling::Mean },
            layer: self.layer,
            max_length: self.max_length.map_or(usize::MAX, |length| length as usize),
        }
    }
}

/// One vector of length 1 for each text, in order, from the cache where it is there. A prefix such as `クエリ: ` belongs
/// to the texts.
///
/// # Errors
/// A model that cannot be loaded, a layer it does not have, a vector that is zero or not finite; exit code 75 after a
/// signal, with what was computed kept.
pub fn embed(
    subject: &Subject,
    context: &Context<'_>,
    texts: &[String],
    options: &EmbedOptions,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut cache = Cache::open(subject, context.out, options)?;
    cache.fill(subject, context, texts.len(), |index| texts[index].clone())?;
    texts.iter().map(|text| cache.vector(text)).collect()
}

/// A file of vectors.
pub struct Cache {
    path: PathBuf,
    file: File,
    options: EmbedOptions,
    /// Values of a vector; `None` while the file is empty.
    dimensions: Option<usize>,
    /// Number of the record of each text.
    records: HashMap<blake3::Hash, u64>,
}

impl Cache {
    /// Opens the file of a model and a way of embedding.
    pub fn open(subject: &Subject, out: &Path, options: &EmbedOptions) -> anyhow::Result<Self> {
        let options = EmbedOptions { max_length: options.max_length.min(subject.identity.max_length), ..*options };
        let hashes = [&subject.identity.weights_blake3, &subject.identity.tokenizer_blake3].map(|hash| json!(hash));
        let precision = subject.precision.identity().map(|precision| json!(precision));
        let identity: Vec<_> = hashes.into_iter().chain([json!(options)]).chain(precision).collect();
        let name = format!("{}.bin", blake3::hash(json!(identity).to_string().as_bytes()).to_hex());
        Self::open_file(&out.join("cache/embeddings").join(name), options)
    }

    fn open_file(path: &Path, options: EmbedOptions) -> anyhow::Result<Self> {
        make_dir(folder_of(path))?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let mut cache = Self { path: path.into(), file, options, dimensions: None, records: HashMap::new() };
        cache.locked(Self::scan)?;
        Ok(cache)
    }

    /// Does something while no other process writes.
    fn locked(&mut self, action: impl FnOnce(&mut Self) -> std::io::Result<()>) -> anyhow::Result<()> {
        let run = || {
            self.file.lock()?;
            let result = action(self);
            self.file.unlock()?;
            result
        };
        run().with_context(|| format!("{}: delete the file to have it computed again", self.path.display()))
    }

    /// Finds the records that are whole.
    fn scan(&mut self) -> std::io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut header = Vec::new();
        (&mut reader).take(HEADER_BYTES).read_to_end(&mut header)?;
        let Some((magic, size)) = header.split_first_chunk().filter(|_| header.len() as u64 == HEADER_BYTES) else {
            return Ok(());
        };
        if magic != MAGIC {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "no file of vectors"));
        }
        let dimensions = size.first_chunk().map_or(0, |size| u32::from_le_bytes(*size)) as usize;
        if dimensions > MAX_DIMENSIONS {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("vectors of {dimensions} values"),
            ));
        }
        self.dimensions = Some(dimensions);
        let mut record = vec![0; record_bytes(dimensions)];
        for number in 0.. {
            match reader.read_exact(&mut record) {
                Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => break,
                result => result?,
            }
            if let Some(key) = verified_key(&record) {
                self.records.insert(key, number);
            }
        }
        Ok(())
    }

    /// Computes the vectors that are not there yet, shortest texts first, and says how many were. Texts are asked for by
    /// their number, so that a large corpus with a prefix need not exist twice.
    ///
    /// # Errors
    /// As [`embed`].
    pub fn fill(
        &mut self,
        subject: &Subject,
        context: &Context<'_>,
        num_texts: usize,
        text: impl Fn(usize) -> String,
    ) -> anyhow::Result<()> {
        let missing = self.missing(num_texts, &text);
        if missing.is_empty() {
            return Ok(());
        }
        let engine = subject.engine()?;
        let missing = self.by_length(engine, missing, &text)?;
        let progress = context.progress(missing.iter().map(|text| text.num_tokens as u64).sum(), "tokens");
        let mut tokens_done = 0;
        // One forward pass each, between which a signal is heard.
        for group in groups_within(TOKENS_PER_FORWARD, &missing, |text| text.num_tokens) {
            context.check()?;
            let texts: Vec<String> = group.iter().map(|missing| text(missing.index)).collect();
            let vectors = pollster::block_on(engine.embed_with(&texts, &self.options))?;
            self.append(group.iter().map(|missing| missing.key).zip(vectors).collect())
                .with_context(|| format!("{}: texts from 「{}」 on", subject.identity.name, shortened(&texts[0])))?;
            tokens_done += group.iter().map(|missing| missing.num_tokens as u64).sum::<u64>();
            progress.set(tokens_done, "");
        }
        progress.finish("embedded");
        Ok(())
    }

    /// The distinct texts that have no vector yet.
    fn missing(&self, num_texts: usize, text: impl Fn(usize) -> String) -> Vec<Missing> {
        let (mut seen, mut missing) = (HashSet::new(), Vec::new());
        for index in 0..num_texts {
            let text = text(index);
            let key = key(&text);
            if seen.insert(key) && !self.records.contains_key(&key) {
                missing.push(Missing { key, index, num_tokens: 0 });
            }
        }
        let [found, all] = [seen.len() - missing.len(), seen.len()].map(|count| format_count(count as u64));
        eprintln!("{found} of {all} vectors from the cache");
        missing
    }

    /// The texts with their lengths, shortest first.
    fn by_length(
        &self,
        engine: &Engine,
        mut missing: Vec<Missing>,
        text: impl Fn(usize) -> String,
    ) -> anyhow::Result<Vec<Missing>> {
        for one in &mut missing {
            one.num_tokens = engine.num_tokens(&text(one.index), &self.options)?;
        }
        missing.sort_by_key(|text| text.num_tokens);
        Ok(missing)
    }

    /// Scales vectors to length 1 and writes them at the end of the file.
    fn append(&mut self, mut vectors: Vec<(blake3::Hash, Vec<f32>)>) -> anyhow::Result<()> {
        vectors.iter_mut().try_for_each(|(_, vector)| normalise(vector))?;
        let Some(dimensions) = vectors.first().map(|(_, vector)| vector.len()) else { return Ok(()) };
        let bytes: Vec<u8> = vectors.iter().flat_map(|(key, vector)| record(key, vector)).collect();
        self.locked(|cache| {
            let len = cache.file.metadata()?.len();
            let whole = len.checked_sub(HEADER_BYTES).map(|len| len / record_bytes(dimensions) as u64);
            match whole {
                // What a killed writer tore off would shift all that follows.
                Some(whole) => cache.file.set_len(HEADER_BYTES + whole * record_bytes(dimensions) as u64)?,
                None => {
                    cache.file.set_len(0)?;
                    cache.file.write_all(&[MAGIC.as_slice(), &(dimensions as u32).to_le_bytes()].concat())?;
                }
            }
            cache.file.write_all(&bytes)?;
            cache.dimensions = Some(dimensions);
            cache.records.extend(vectors.iter().map(|(key, _)| *key).zip(whole.unwrap_or(0)..));
            Ok(())
        })
    }

    /// Values of a vector; 0 while nothing was computed.
    pub fn dimensions(&self) -> usize {
        self.dimensions.unwrap_or(0)
    }

    /// The vector of a text that [`Self::fill`] was given, of length 1.
    ///
    /// # Errors
    /// A file that cannot be read, a text that is not there.
    pub fn vector(&self, text: &str) -> anyhow::Result<Vec<f32>> {
        let missing = || Coded::error(Exit::Failure, format!("no vector was computed for 「{}」", shortened(text)));
        let number = *self.records.get(&key(text)).ok_or_else(missing)?;
        let place = HEADER_BYTES + number * record_bytes(self.dimensions()) as u64 + KEY_BYTES as u64;
        let mut bytes = vec![0; 4 * self.dimensions()];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut bytes));
        read.with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
    }
}

fn key(text: &str) -> blake3::Hash {
    blake3::hash(text.as_bytes())
}

fn record_bytes(dimensions: usize) -> usize {
    KEY_BYTES + 4 * dimensions + CRC_BYTES
}

fn record(key: &blake3::Hash, vector: &[f32]) -> Vec<u8> {
    let mut bytes = key.as_bytes().to_vec();
    vector.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// The key of a record whose checksum holds.
fn verified_key(record: &[u8]) -> Option<blake3::Hash> {
    let (body, crc) = record.split_last_chunk::<CRC_BYTES>()?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*crc)).then(|| body.first_chunk().map(|key| (*key).into()))?
}

/// A text to be embedded.
struct Missing {
    key: blake3::Hash,
    index: usize,
    /// With `[CLS]` and `[SEP]`, as the model computes it.
    num_tokens: usize,
}

fn normalise(vector: &mut [f32]) -> anyhow::Result<()> {
    let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm == 0.0 {
        let message =
            format!("a vector has length {norm}, so it has no direction: the model is damaged or did not train");
        return Err(Coded::error(Exit::Numerical, message));
    }
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OPTIONS: EmbedOptions = EmbedOptions { pooling: Pooling::Mean, layer: None, max_length: 8 };

    fn open(path: &Path) -> Cache {
        Cache::open_file(path, OPTIONS).unwrap()
    }

    fn add(cache: &mut Cache, text: &str, vector: [f32; 2]) {
        cache.append(vec![(key(text), vector.to_vec())]).unwrap();
    }

    #[test]
    fn vectors_are_found_again_at_length_one() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("deep/a.bin");
        let mut cache = open(&path);
        add(&mut cache, "東", [3.0, 4.0]);
        add(&mut cache, "西", [0.0, -2.0]);
        for cache in [&cache, &open(&path)] {
            assert_eq!(cache.vector("東").unwrap(), [0.6, 0.8]);
            assert_eq!(cache.vector("西").unwrap(), [0.0, -1.0]);
            assert!(cache.vector("南").unwrap_err().to_string().contains("南"));
        }
    }

    #[test]
    fn a_file_torn_at_any_byte_keeps_its_whole_records_and_takes_new_ones() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.bin");
        let mut cache = open(&path);
        add(&mut cache, "東", [3.0, 4.0]);
        add(&mut cache, "西", [1.0, 0.0]);
        let bytes = fs::read(&path).unwrap();
        for len in 0..=bytes.len() {
            fs::write(&path, &bytes[..len]).unwrap();
            let mut cache = open(&path);
            let whole = len.saturating_sub(HEADER_BYTES as usize) / record_bytes(2);
            assert_eq!(cache.records.len(), whole, "{len} bytes");
            add(&mut cache, "南", [0.0, 1.0]);
            let cache = open(&path);
            assert_eq!(cache.records.len(), whole + 1, "{len} bytes");
            assert_eq!(cache.vector("南").unwrap(), [0.0, 1.0]);
        }
    }

    #[test]
    fn a_damaged_record_is_not_used() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.bin");
        let mut cache = open(&path);
        add(&mut cache, "東", [3.0, 4.0]);
        add(&mut cache, "西", [1.0, 0.0]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER_BYTES as usize + KEY_BYTES + 1] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let cache = open(&path);
        assert!(cache.vector("東").is_err());
        assert_eq!(cache.vector("西").unwrap(), [1.0, 0.0]);
    }

    #[test]
    fn two_writers_share_a_file() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.bin");
        let (mut one, mut two) = (open(&path), open(&path));
        for (index, text) in ["a", "b", "c", "d"].iter().enumerate() {
            add(&mut one, text, [1.0, index as f32]);
            add(&mut two, &text.to_uppercase(), [1.0, -(index as f32)]);
        }
        let both = open(&path);
        assert_eq!(both.records.len(), 8);
        for (text, cache) in [("c", &one), ("C", &two)] {
            assert_eq!(both.vector(text).unwrap(), cache.vector(text).unwrap());
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_an_error() {
        for vector in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            assert!(normalise(&mut vector.to_vec()).is_err(), "{vector:?}");
        }
    }

    #[test]
    fn a_strange_file_is_an_error_that_says_what_to_do() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.bin");
        fs::write(&path, "something else entirely").unwrap();
        let error = format!("{:#}", Cache::open_file(&path, OPTIONS).err().unwrap());
        assert!(error.contains("a.bin: delete the file") && error.contains("no file of vectors"), "{error}");
    }
    #[test]
    fn a_header_that_claims_huge_vectors_is_refused_before_room_is_made_for_one() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.bin");
        fs::write(&path, [&MAGIC[..], &u32::MAX.to_le_bytes()].concat()).unwrap();
        let error = format!("{:#}", Cache::open_file(&path, OPTIONS).err().unwrap());
        assert!(error.contains("vectors of 4294967295 values") && error.contains("delete the file"), "{error}");
    }
}
