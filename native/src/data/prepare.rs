//! `anaume data prepare`: from files as they are found to a prepared dataset (see [`super::dataset`]).

use super::dataset::{Dropped, MANIFEST_FILE, Manifest, SourceInfo, StoredDocument, TEST, TRAIN};
use super::parse_bytes;
use super::parts::Part;
use super::read::{self, BadLine, BadLines, Document, ReadOptions, Record, Records};
use super::shards::{SplitWriter, check_train, finish_dataset};
use super::split::Splitter;
use crate::exit::{Coded, Exit};
use crate::files::{REPLACED, STAGED, folder_of, make_dir, replace, sync_dir};
use crate::shard::ShardArgs;
use crate::signals::Interrupt;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What `anaume data prepare` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct PrepareArgs {
    /// Files or globs: .jsonl, .json (one object a line), .txt, .parquet, also with .gz or .zst; - is standard input
    /// (JSON lines or plain text, compressed or not), hf://datasets/ORG/NAME[@REVISION]/GLOB files of the Hugging Face Hub
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// Folder to write the dataset to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How
    #[command(flatten)]
    pub options: PrepareOptions,
    /// Where several processes prepare a part each: DIR is then the folder of the parts, for `anaume data merge`
    #[command(flatten)]
    pub shard: ShardArgs,
    /// Replace the dataset that is in the folder
    #[arg(long)]
    pub force: bool,
    /// Print dataset.json instead of a table
    #[arg(long)]
    pub json: bool,
}

/// How a dataset is prepared.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrepareOptions {
    /// Column that holds the text
    #[arg(long, default_value = "text")]
    pub column: String,
    /// Column that holds the name of a document [default: file and line]
    #[arg(long, value_name = "COLUMN")]
    pub id_column: Option<String>,
    /// What to do with a line that is no document
    #[arg(long, value_enum, default_value_t)]
    pub bad_lines: BadLines,
    /// Take a .txt file as one document, not one a line
    #[arg(long)]
    pub whole_files: bool,
    /// Longest line that is read
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    pub max_line_bytes: u64,
    /// Drop documents with fewer characters
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_chars: u64,
    /// Share of the documents that goes to the test split
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, conflicts_with = "test_documents")]
    pub test_fraction: f64,
    /// Number of documents that goes to the test split (they are held in memory meanwhile)
    #[arg(long, value_name = "N")]
    pub test_documents: Option<usize>,
    /// Seed of the choice of test documents
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Size at which a shard is full
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    pub shard_bytes: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        let read = ReadOptions::default();
        Self {
            column: read.column,
            id_column: read.id_column,
            bad_lines: read.bad_lines,
            whole_files: read.whole_files,
            max_line_bytes: read.max_line_bytes,
            min_chars: 1,
            test_fraction: 0.0,
            test_documents: None,
            seed: 0,
            shard_bytes: 64 << 20,
        }
    }
}

impl PrepareOptions {
    fn read_options(&self) -> ReadOptions {
        ReadOptions {
            column: self.column.clone(),
            id_column: self.id_column.clone(),
            bad_lines: self.bad_lines,
            whole_files: self.whole_files,
            max_line_bytes: self.max_line_bytes,
        }
    }

    fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.test_fraction) {
            let message = format!("--test-fraction {} is no share; give a number from 0 to 1", self.test_fraction);
            return Err(Coded::error(Exit::Usage, message));
        }
        Ok(())
    }
}

/// Writes the documents of the inputs to the folder `out` as a dataset. The folder appears when it is complete, or not
/// at all; one that is there already is replaced only by `force`, and only if it is a dataset or empty.
pub fn prepare(inputs: &[PathBuf], out: &Path, options: &PrepareOptions, force: bool) -> Result<Manifest> {
    prepare_part_of(inputs, out, options, force, None)
}

/// [`prepare`] for one part of a dataset, where it is one.
pub(super) fn prepare_part_of(
    inputs: &[PathBuf],
    out: &Path,
    options: &PrepareOptions,
    force: bool,
    part: Option<&Part>,
) -> Result<Manifest> {
    options.validate()?;
    check_out(out, force)?;
    let records = read::records(inputs, &options.read_options())?;
    let parent = folder_of(out);
    make_dir(parent)?;
    let workplace = tempfile::Builder::new()
        .prefix(".anaume-data-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let new = workplace.path().join(STAGED);
    fs::create_dir(&new).with_context(|| format!("cannot create {}", new.display()))?;
    // A pipe may keep us waiting, and a signal that only sets a flag does not end the wait.
    let interrupt = if inputs.iter().any(|path| read::is_stdin(path)) { None } else { Some(Interrupt::listen()?) };
    let preparation = Preparation::new(&new, options, part.is_some());
    let manifest = preparation.run(records, &progress_bar(inputs)?, interrupt)?;
    part.map_or(Ok(()), |part| part.write(&new))?;
    // The old dataset steps aside first: a folder that is not empty cannot be replaced in one step.
    sync_dir(&new)?;
    replace(out, &new, &workplace.path().join(REPLACED), out.exists())
        .with_context(|| format!("cannot move the dataset to {}", out.display()))?;
    sync_dir(parent)?;
    Ok(manifest)
}

/// Fails where a dataset cannot be written.
pub(super) fn check_out(out: &Path, force: bool) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(out) else {
        if out.exists() {
            return Err(Coded::error(Exit::Usage, format!("{} is no folder; give another --out", out.display())));
        }
        return Ok(());
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let name = out.display();
    let message = match (out.join(MANIFEST_FILE).exists(), force) {
        (true, true) => return Ok(()),
        (true, false) => format!("{name} already holds a dataset; add --force to replace it"),
        (false, _) => format!("{name} holds something else than a dataset; give another --out"),
    };
    Err(Coded::error(Exit::Usage, message))
}

/// A bar on stderr over the stored bytes of the inputs; hidden where stderr is no terminal.
fn progress_bar(inputs: &[PathBuf]) -> Result<ProgressBar> {
    let mut total = Some(0);
    for file in read::expand(inputs)? {
        let size = fs::metadata(&file).ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
        total = total.zip(size).map(|(total, size)| total + size);
    }
    Ok(match total {
        Some(total) => ProgressBar::new(total).with_style(ProgressStyle::with_template(
            "reading {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left",
        )?),
        None => ProgressBar::no_length()
            .with_style(ProgressStyle::with_template("reading {spinner} {bytes}  {bytes_per_sec}  {msg}")?),
    })
}

/// A dataset in the making.
struct Preparation<'a> {
    dir: &'a Path,
    options: &'a PrepareOptions,
    train: SplitWriter,
    test: SplitWriter,
    splitter: Splitter,
    sources: Vec<SourceInfo>,
    dropped: Dropped,
    quarantine: Option<BufWriter<File>>,
    may_be_empty: bool,
}

impl<'a> Preparation<'a> {
    fn new(dir: &'a Path, options: &'a PrepareOptions, may_be_empty: bool) -> Self {
        Self {
            dir,
            options,
            train: SplitWriter::new(dir, TRAIN, options.shard_bytes),
            test: SplitWriter::new(dir, TEST, options.shard_bytes),
            splitter: Splitter::new(options.seed, options.test_fraction, options.test_documents),
            sources: Vec::new(),
            dropped: Dropped::default(),
            quarantine: None,
            may_be_empty,
        }
    }

    fn run(mut self, mut records: Records, bar: &ProgressBar, interrupt: Option<&Interrupt>) -> Result<Manifest> {
        while let Some(record) = records.next() {
            if interrupt.is_some_and(Interrupt::is_set) {
                return Err(Coded::error(Exit::Interrupted, "interrupted; nothing was written: run the command again"));
            }
            match record? {
                Record::Document(document) => self.take(document)?,
                Record::Bad(bad) => self.refuse(&bad)?,
            }
            bar.set_position(records.bytes_read());
            if self.train.documents().is_multiple_of(1000) {
                bar.set_message(format!("{} documents", self.train.documents() + self.test.documents()));
            }
        }
        bar.finish_and_clear();
        self.finish()
    }

    fn take(&mut self, document: Document) -> Result<()> {
        let file = document.source.to_string_lossy();
        match self.sources.last_mut().filter(|source| source.file == file) {
            Some(source) => source.documents += 1,
            None => self.sources.push(SourceInfo { file: file.into_owned(), documents: 1 }),
        }
        if document.text.trim().is_empty() {
            self.dropped.empty += 1;
        } else if (document.text.chars().count() as u64) < self.options.min_chars {
            self.dropped.short += 1;
        } else {
            let (to_train, to_test) = self.splitter.assign(stored(document));
            to_train.map_or(Ok(()), |document| self.train.write(&document))?;
            to_test.map_or(Ok(()), |document| self.test.write(&document))?;
        }
        Ok(())
    }

    fn refuse(&mut self, bad: &BadLine) -> Result<()> {
        if self.options.bad_lines == BadLines::Quarantine {
            self.dropped.quarantined += 1;
            self.quarantine(bad)
        } else {
            self.dropped.skipped += 1;
            Ok(())
        }
    }

    fn quarantine(&mut self, bad: &BadLine) -> Result<()> {
        let path = self.dir.join("quarantine.jsonl");
        let cannot = || format!("cannot write {}", path.display());
        let out = match &mut self.quarantine {
            Some(out) => out,
            None => self.quarantine.insert(BufWriter::new(File::create(&path).with_context(cannot)?)),
        };
        let line = serde_json::json!({ "file": bad.source.to_string_lossy(), "line": bad.line, "reason": bad.reason });
        writeln!(out, "{line}").with_context(cannot)
    }

    fn finish(mut self) -> Result<Manifest> {
        for document in self.splitter.take_held() {
            self.test.write(&document)?;
        }
        if let Some(quarantine) = self.quarantine.take() {
            let file =
                quarantine.into_inner().map_err(|error| error.into_error()).context("cannot write quarantine.jsonl")?;
            file.sync_all().context("cannot write quarantine.jsonl")?;
        }
        if !self.may_be_empty {
            check_train(&self.train, &self.test)?;
        }
        finish_dataset(self.dir, self.options, self.sources, self.dropped, self.train, self.test)
    }
}

/// A document in its stored form; one without a name is named by file and line.
fn stored(document: Document) -> StoredDocument {
    let Document { id, text, source, line } = document;
    let file = source.file_name().unwrap_or(source.as_os_str()).to_string_lossy();
    StoredDocument { id: id.unwrap_or_else(|| format!("{file}:{line}")), text }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::Dataset;
    use super::super::stats::stats;
    use super::*;
    use crate::exit::code_of;

    fn write_input(dir: &Path, num_documents: usize) -> Vec<PathBuf> {
        let path = dir.join("in.jsonl");
        let line = |i| format!("{{\"text\": \"文書{i}です。\", \"n\": {i}}}\n");
        fs::write(&path, (0..num_documents).map(line).collect::<String>()).unwrap();
        vec![path]
    }

    fn all_texts(dataset: &Dataset, split: &str) -> Vec<String> {
        let split = dataset.split(split).unwrap();
        (0..split.info.documents).map(|i| split.document(i).unwrap().text).collect()
    }

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_document_is_in_one_split_and_found_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = write_input(dir.path(), 500);
        let options = PrepareOptions { test_fraction: 0.2, shard_bytes: 2000, seed: 3, ..PrepareOptions::default() };
        let out = dir.path().join("out");
        let manifest = prepare(&inputs, &out, &options, false).unwrap();
        assert!(manifest.splits[TRAIN].shards.len() > 5);
        let dataset = Dataset::open(&out).unwrap();
        assert_eq!(dataset.manifest, manifest);
        let (train, test) = (all_texts(&dataset, TRAIN), all_texts(&dataset, TEST));
        assert!((60..140).contains(&test.len()), "{} test documents", test.len());
        let mut all = [train, test].concat();
        all.sort();
        let mut expected: Vec<_> = (0..500).map(|i| format!("文書{i}です。")).collect();
        expected.sort();
        assert_eq!(all, expected);
        for (error, expected) in [
            (dataset.split("valid").unwrap_err(), "has no split `valid`, only test, train;"),
            (dataset.split(TEST).unwrap().document(500).unwrap_err(), "documents, none numbered 500"),
        ] {
            assert!(code_of(&error) == Exit::Usage && error.to_string().contains(expected), "{error}");
        }
        assert_eq!(dataset.split(TRAIN).unwrap().document(0).unwrap().id.split(':').next(), Some("in.jsonl"));
        assert_eq!(entries(dir.path()), ["in.jsonl", "out"]);
        let found = stats(&dataset, Some(&|text: &str| Ok(text.chars().count()))).unwrap();
        assert_eq!(found.splits[TRAIN].chars, manifest.splits[TRAIN].chars);
        assert_eq!(found.splits[TRAIN].length_chars, manifest.splits[TRAIN].length_chars);
        assert_eq!(found.splits[TEST].tokens.map(|tokens| tokens.tokens), Some(found.splits[TEST].chars));
    }

    #[test]
    fn a_number_of_test_documents_is_met_exactly_and_depends_on_the_seed() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = write_input(dir.path(), 100);
        let held_out = |seed| {
            let options = PrepareOptions { test_documents: Some(7), seed, ..PrepareOptions::default() };
            let out = dir.path().join("out");
            prepare(&inputs, &out, &options, true).unwrap();
            let dataset = Dataset::open(&out).unwrap();
            assert_eq!(all_texts(&dataset, TRAIN).len(), 93);
            all_texts(&dataset, TEST)
        };
        assert_eq!(held_out(1).len(), 7);
        assert_eq!(held_out(1), held_out(1));
        assert_ne!(held_out(1), held_out(2));
    }

    #[test]
    fn equal_texts_stay_on_one_side() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.txt");
        fs::write(&path, (0..300).map(|i| format!("本文{}\n", i % 60)).collect::<String>()).unwrap();
        let options = PrepareOptions { test_fraction: 0.3, ..PrepareOptions::default() };
        prepare(&[path], &dir.path().join("out"), &options, false).unwrap();
        let found = stats(&Dataset::open(&dir.path().join("out")).unwrap(), None).unwrap();
        assert_eq!(found.leaked_documents, 0);
        assert_eq!(found.splits[TRAIN].duplicates + found.splits[TEST].duplicates, 240);
    }

    #[test]
    fn empty_short_and_bad_lines_are_counted_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        let lines = "{\"text\":\"十分に長い本文\"}\n{\"text\":\" \"}\n{\"text\":null}\n{\"text\":\"短\"}\nbroken\n{\"body\":\"x\"}\n";
        fs::write(&path, lines).unwrap();
        let options = PrepareOptions { min_chars: 3, bad_lines: BadLines::Quarantine, ..PrepareOptions::default() };
        let out = dir.path().join("out");
        let manifest = prepare(std::slice::from_ref(&path), &out, &options, false).unwrap();
        assert_eq!(manifest.dropped, Dropped { empty: 2, short: 1, skipped: 0, quarantined: 2 });
        let quarantine = fs::read_to_string(out.join("quarantine.jsonl")).unwrap();
        let bad: Vec<serde_json::Value> = quarantine.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&bad[0]["line"], &bad[1]["line"]), (&5.into(), &6.into()));
        assert!(bad[1]["reason"].as_str().unwrap().contains("only `body`"), "{}", bad[1]["reason"]);
        let options = PrepareOptions { bad_lines: BadLines::Skip, ..options };
        let manifest = prepare(std::slice::from_ref(&path), &out, &options, true).unwrap();
        assert_eq!(manifest.dropped, Dropped { empty: 2, short: 1, skipped: 2, quarantined: 0 });
        assert!(!out.join("quarantine.jsonl").exists());
        let stopped = prepare(&[path], &dir.path().join("other"), &PrepareOptions::default(), false).unwrap_err();
        assert!(stopped.to_string().contains("in.jsonl:5: "), "{stopped}");
        assert_eq!(code_of(&stopped), Exit::Data);
        assert_eq!(entries(dir.path()), ["in.jsonl", "out"]);
    }

    #[test]
    fn what_leaves_nothing_to_train_on_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = write_input(dir.path(), 3);
        let base = PrepareOptions::default;
        for (options, code, expected) in [
            (PrepareOptions { test_fraction: 1.01, ..base() }, Exit::Usage, "--test-fraction 1.01 is no share"),
            (PrepareOptions { test_fraction: 1.0, ..base() }, Exit::Data, "all 3 documents went to the test split"),
            (
                PrepareOptions { test_documents: Some(3), ..base() },
                Exit::Data,
                "all 3 documents went to the test split",
            ),
            (PrepareOptions { min_chars: 100, ..base() }, Exit::Data, "no document is left for training"),
        ] {
            let error = prepare(&inputs, &dir.path().join("out"), &options, false).unwrap_err();
            assert!(code_of(&error) == code && error.to_string().contains(expected), "{error}");
        }
        let error = prepare(&inputs, &inputs[0], &base(), true).unwrap_err();
        assert!(code_of(&error) == Exit::Usage && error.to_string().contains("is no folder"), "{error}");
        assert_eq!(entries(dir.path()), ["in.jsonl"]);
    }

    #[test]
    fn only_a_dataset_is_replaced_and_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = write_input(dir.path(), 3);
        let (out, options) = (dir.path().join("out"), PrepareOptions::default());
        prepare(&inputs, &out, &options, false).unwrap();
        let refused = prepare(&inputs, &out, &options, false).unwrap_err();
        assert!(refused.to_string().contains("--force"), "{refused}");
        prepare(&inputs, &out, &options, true).unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("precious"), "x").unwrap();
        let refused = prepare(&inputs, other.path(), &options, true).unwrap_err();
        assert_eq!(code_of(&refused), Exit::Usage);
        assert_eq!(entries(other.path()), ["precious"]);
    }

    #[test]
    fn a_changed_shard_or_index_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = write_input(dir.path(), 20);
        let out = dir.path().join("out");
        prepare(&inputs, &out, &PrepareOptions::default(), false).unwrap();
        let check = || Dataset::open(&out).and_then(|dataset| stats(&dataset, None));
        let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>), expected: &str| {
            let path = out.join(name);
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            change(&mut bad);
            fs::write(&path, &bad).unwrap();
            let error = check().unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
            assert_eq!(code_of(&error), Exit::Data);
            fs::write(&path, good).unwrap();
        };
        damage("train-00000.jsonl", &|bytes| bytes.truncate(bytes.len() - 1), "bytes, dataset.json says");
        damage("train-00000.jsonl", &|bytes| bytes[8] = b'x', "BLAKE3");
        damage("train-00000.idx", &|bytes| bytes.truncate(40), "do not hold 20 documents");
        damage("train-00000.idx", &|bytes| bytes[0] = b'x', "not an index");
        damage("train-00000.idx", &|bytes| bytes[32] ^= 1, "line 1 (byte 0)");
        damage("train-00000.idx", &|bytes| bytes[16..24].fill(0xFF), "byte 16");
        damage(MANIFEST_FILE, &|bytes| bytes.truncate(bytes.len() / 2), "no description of a dataset");
        let replace = |from: &'static str, to: &'static str| {
            move |bytes: &mut Vec<u8>| *bytes = String::from_utf8_lossy(bytes).replace(from, to).into_bytes()
        };
        damage(MANIFEST_FILE, &replace("train-00000", "../out/train-00000"), "is no shard of this folder");
        damage(MANIFEST_FILE, &replace("\"version\": 1", "\"version\": 2"), "format 2, this program reads format 1");
        damage(MANIFEST_FILE, &replace("\"documents\": 20", "\"documents\": 9000000000000000000"), "is no shard");
        check().unwrap();
    }
}
