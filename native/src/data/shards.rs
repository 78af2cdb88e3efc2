//! Writes the shards of a split, see [`super::dataset`] for the format.

use super::dataset::{
    Dropped, FORMAT_VERSION, Lengths, MANIFEST_FILE, Manifest, ShardInfo, SourceInfo, SplitInfo, StoredDocument, TEST,
    TRAIN, encode_index, index_path,
};
use super::prepare::PrepareOptions;
use crate::exit::{Coded, Exit};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A split in the making.
pub(super) struct SplitWriter {
    dir: PathBuf,
    name: &'static str,
    shard_bytes: u64,
    open: Option<ShardWriter>,
    info: SplitInfo,
    lengths: BTreeMap<u64, u64>,
    line: Vec<u8>,
}

impl SplitWriter {
    pub(super) fn new(dir: &Path, name: &'static str, shard_bytes: u64) -> Self {
        let length_chars = Lengths::default();
        let info = SplitInfo { documents: 0, chars: 0, text_bytes: 0, length_chars, shards: Vec::new() };
        Self { dir: dir.to_owned(), name, shard_bytes, open: None, info, lengths: BTreeMap::new(), line: Vec::new() }
    }

    /// Documents written so far.
    pub(super) fn documents(&self) -> u64 {
        self.info.documents
    }

    pub(super) fn write(&mut self, document: &StoredDocument) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, document).context("cannot write a document as JSON")?;
        self.line.push(b'\n');
        let full = |shard: &ShardWriter| shard.size() + self.line.len() as u64 > self.shard_bytes;
        if self.open.as_ref().is_some_and(full) {
            self.close_shard()?;
        }
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => {
                let path = self.dir.join(format!("{}-{:05}.jsonl", self.name, self.info.shards.len()));
                self.open.insert(ShardWriter::create(path)?)
            }
        };
        shard.write(&self.line)?;
        let chars = document.text.chars().count() as u64;
        self.info.documents += 1;
        self.info.chars += chars;
        self.info.text_bytes += document.text.len() as u64;
        *self.lengths.entry(chars).or_default() += 1;
        Ok(())
    }

    fn close_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.open.take() {
            self.info.shards.push(shard.finish()?);
        }
        Ok(())
    }

    /// Closes the last shard and says what was written.
    pub(super) fn finish(mut self) -> Result<SplitInfo> {
        self.close_shard()?;
        self.info.length_chars = Lengths::of(&self.lengths);
        Ok(self.info)
    }
}

/// Fails where nothing is left to train on.
pub(super) fn check_train(train: &SplitWriter, test: &SplitWriter) -> Result<()> {
    let message = match (train.documents(), test.documents()) {
        (0, 0) => "no document is left for training; check the inputs and --column".to_owned(),
        (0, test) => format!("all {test} documents went to the test split; lower --test-documents or --test-fraction"),
        _ => return Ok(()),
    };
    Err(Coded::error(Exit::Data, message))
}

/// Ends the splits of a dataset and writes what describes it.
pub(super) fn finish_dataset(
    dir: &Path,
    options: &PrepareOptions,
    sources: Vec<SourceInfo>,
    dropped: Dropped,
    train: SplitWriter,
    test: SplitWriter,
) -> Result<Manifest> {
    let mut splits = BTreeMap::from([(TRAIN.to_owned(), train.finish()?)]);
    if test.documents() > 0 {
        splits.insert(TEST.to_owned(), test.finish()?);
    }
    let (version, fingerprint, options) = (FORMAT_VERSION, fingerprint(&splits), options.clone());
    let manifest = Manifest { version, fingerprint, options, sources, dropped, splits };
    write_synced(&dir.join(MANIFEST_FILE), format!("{}\n", serde_json::to_string_pretty(&manifest)?).as_bytes())?;
    Ok(manifest)
}

/// See [`Manifest::fingerprint`].
fn fingerprint(splits: &BTreeMap<String, SplitInfo>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, split) in splits {
        hasher.update(name.as_bytes());
        for shard in &split.shards {
            hasher.update(shard.blake3.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// A shard in the making.
struct ShardWriter {
    path: PathBuf,
    out: BufWriter<File>,
    hasher: blake3::Hasher,
    /// Where the documents begin, and where the last one ends.
    offsets: Vec<u64>,
}

impl ShardWriter {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, out: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new(), offsets: vec![0] })
    }

    fn size(&self) -> u64 {
        self.offsets[self.offsets.len() - 1]
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        self.out.write_all(line).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.hasher.update(line);
        self.offsets.push(self.size() + line.len() as u64);
        Ok(())
    }

    fn finish(self) -> Result<ShardInfo> {
        let (file_bytes, path) = (self.size(), self.path);
        let cannot = || format!("cannot write {}", path.display());
        let file = self.out.into_inner().map_err(|error| error.into_error()).with_context(cannot)?;
        file.sync_all().with_context(cannot)?;
        write_synced(&index_path(&path), &encode_index(&self.offsets))?;
        Ok(ShardInfo {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            documents: self.offsets.len() as u64 - 1,
            file_bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

/// Writes a whole file and waits until it is on the disk.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = File::create(path).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.sync_all().with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_filled_to_its_last_byte() {
        let room = tempfile::tempdir().unwrap();
        let document = StoredDocument { id: "a".into(), text: "春は名のみの".into() };
        let line_bytes = serde_json::to_vec(&document).unwrap().len() as u64 + 1;
        let mut writer = SplitWriter::new(room.path(), "train", 2 * line_bytes);
        (0..5).for_each(|_| writer.write(&document).unwrap());
        let shards = writer.finish().unwrap().shards;
        let found: Vec<_> = shards.iter().map(|shard| (shard.documents, shard.file_bytes / line_bytes)).collect();
        assert_eq!(found, [(2, 2), (2, 2), (1, 1)]);
    }
}
