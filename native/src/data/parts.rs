//! A dataset that several processes prepare, each a part of the files, and that is joined afterwards.
//!
//! A part is a dataset with one file more: `part.json` says which part of what it is, with the hash of its `dataset.json`, which has
//! those of the shards. A part is there as a whole or not at all, so that is also the mark that it is done. Files are dealt out in
//! their order and the parts joined in theirs: the dataset is the one that a single process would have written, byte for byte.

use super::dataset::{Dataset, Dropped, MANIFEST_FILE, Manifest, TEST, TRAIN};
use super::prepare::{PrepareOptions, check_out, prepare_part_of};
use super::read;
use super::shards::{SplitWriter, check_train, finish_dataset};
use super::stats::visit_shard;
use crate::exit::{Coded, Exit};
use crate::files::{make_dir_atomic, read as read_file, read_versioned, sorted_entries};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Version of `part.json`.
const FORMAT_VERSION: u32 = 1;
const PART_FILE: &str = "part.json";
const QUARANTINE: &str = "quarantine.jsonl";

/// `part.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    format_version: u32,
    /// Number of the part, from 0.
    index: usize,
    /// Parts in all.
    count: usize,
    /// How it was prepared.
    options: PrepareOptions,
    /// All files of all parts with their sizes, in order.
    files: Vec<(String, u64)>,
    /// Hash of the part's `dataset.json`.
    #[serde(default)]
    dataset_blake3: String,
}

impl Part {
    /// What the part's folder is called.
    fn name(&self) -> String {
        format!("part-{:05}-of-{:05}", self.index, self.count)
    }

    /// Whether both are of one dataset.
    fn belongs_with(&self, other: &Self) -> bool {
        (self.count, &self.options, &self.files) == (other.count, &other.options, &other.files)
    }

    /// Writes the file into a part that is otherwise done.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let dataset_blake3 = hash_of(&dir.join(MANIFEST_FILE))?;
        let part = Self { dataset_blake3, ..self.clone() };
        super::shards::write_synced(&dir.join(PART_FILE), serde_json::to_string_pretty(&part)?.as_bytes())
    }
}

fn hash_of(path: &Path) -> Result<String> {
    Ok(blake3::hash(&read_file(path)?).to_hex().to_string())
}

/// Writes part `index` of `count` into the folder of parts; returns its folder too. One that is done is left as it is, unless `force` is set.
pub fn prepare_part(
    inputs: &[PathBuf],
    parts: &Path,
    options: &PrepareOptions,
    (index, count): (usize, usize),
    force: bool,
) -> Result<(PathBuf, Manifest)> {
    if options.test_documents.is_some() {
        let message = "--test-documents counts over all parts; take --test-fraction, which chooses by text alone";
        return Err(Coded::error(Exit::Usage, message));
    }
    let paths = read::expand(inputs)?;
    let mut files = Vec::new();
    for path in &paths {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file);
        let size =
            metadata.with_context(|| format!("{} is no file: it cannot be dealt out in parts", path.display()))?;
        files.push((path.display().to_string(), size.len()));
    }
    let ours = share(&files, index, count).map(|number| paths[number].clone()).collect::<Vec<_>>();
    let options = options.clone();
    let part = Part { format_version: FORMAT_VERSION, index, count, options, files, dataset_blake3: String::new() };
    let out = parts.join(part.name());
    if !force && out.join(PART_FILE).exists() {
        let done: Part = read_versioned(&out.join(PART_FILE), FORMAT_VERSION)?;
        if !done.belongs_with(&part) {
            let message = format!(
                "{} is of other files or options; add --force to replace it, or take another --out",
                out.display()
            );
            return Err(Coded::error(Exit::Usage, message));
        }
        eprintln!("{} is done already", out.display());
        let manifest = open(&out, &done)?.manifest;
        return Ok((out, manifest));
    }
    let manifest = prepare_part_of(&ours, &out, &part.options, force, Some(&part))?;
    Ok((out, manifest))
}

/// Numbers of the files of a part: neighbours, and about as many bytes as in every other part.
fn share(files: &[(String, u64)], index: usize, count: usize) -> impl Iterator<Item = usize> {
    let total = files.iter().map(|(_, size)| u128::from(*size)).sum::<u128>().max(1);
    let mut before = 0;
    files.iter().enumerate().filter_map(move |(number, (_, size))| {
        // By its middle.
        let part = (2 * before + u128::from(*size)) * count as u128 / (2 * total);
        before += u128::from(*size);
        (part.min(count as u128 - 1) == index as u128).then_some(number)
    })
}

/// A part with its dataset. Fails where that is not the one that the part was done with.
fn open(dir: &Path, part: &Part) -> Result<Dataset> {
    let dataset = Dataset::open(dir)?;
    if hash_of(&dir.join(MANIFEST_FILE))? != part.dataset_blake3 {
        let message =
            format!("{} was changed after the part was done: prepare the part again with --force", dir.display());
        return Err(Coded::error(Exit::Data, message));
    }
    Ok(dataset)
}

/// Joins the parts in a folder to the dataset `out`. Fails, naming them, where parts are missing, damaged or of several datasets.
pub fn merge(parts_dir: &Path, out: &Path, force: bool) -> Result<Manifest> {
    check_out(out, force)?;
    let parts = complete(parts_dir)?;
    let mut manifest = None;
    make_dir_atomic(out, force, |dir| {
        fs::create_dir(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        manifest = Some(join(&parts, dir)?);
        Ok(())
    })?;
    manifest.context("nothing was joined")
}

/// All parts of the one dataset that the folder has parts of, in order.
fn complete(dir: &Path) -> Result<Vec<(PathBuf, Part)>> {
    let mut parts: BTreeMap<usize, (PathBuf, Part)> = BTreeMap::new();
    for path in sorted_entries(dir)? {
        let is_part = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
        if !is_part {
            continue;
        }
        let part: Part = read_versioned(&path.join(PART_FILE), FORMAT_VERSION)?;
        if let Some((first, other)) = parts.values().next().filter(|(_, other)| !other.belongs_with(&part)) {
            let message = format!(
                "{} ({} of {}) and {} ({} of {}) are parts of different datasets: remove one, or merge them elsewhere",
                first.display(),
                other.index,
                other.count,
                path.display(),
                part.index,
                part.count
            );
            return Err(Coded::error(Exit::Data, message));
        }
        parts.insert(part.index, (path, part));
    }
    let Some((_, (_, first))) = parts.first_key_value() else {
        return Err(Coded::error(Exit::Usage, format!("{} has no parts of a dataset", dir.display())));
    };
    let missing: Vec<String> =
        (0..first.count).filter(|index| !parts.contains_key(index)).map(|index| index.to_string()).collect();
    if !missing.is_empty() {
        let message = format!(
            "{} of {} parts are missing: {}; run them again with --shard-index",
            missing.len(),
            first.count,
            missing.join(", ")
        );
        return Err(Coded::error(Exit::Data, message));
    }
    Ok(parts.into_values().collect())
}

/// Writes the documents of all parts into `dir`.
fn join(parts: &[(PathBuf, Part)], dir: &Path) -> Result<Manifest> {
    let options = &parts[0].1.options;
    let mut writers = [TRAIN, TEST].map(|name| (name, SplitWriter::new(dir, name, options.shard_bytes)));
    let (mut sources, mut dropped) = (Vec::new(), Dropped::default());
    for (path, part) in parts {
        let dataset = open(path, part)?;
        for (name, writer) in &mut writers {
            let Ok(split) = dataset.split(name) else { continue };
            for shard in 0..split.info.shards.len() {
                visit_shard(&dataset, &split, shard, |document| writer.write(&document))?;
            }
        }
        sources.extend(dataset.manifest.sources);
        dropped.add(&dataset.manifest.dropped);
        append(&path.join(QUARANTINE), &dir.join(QUARANTINE))?;
    }
    let [(_, train), (_, test)] = writers;
    check_train(&train, &test)?;
    finish_dataset(dir, options, sources, dropped, train, test)
}

/// Appends a file, where there is one, to another.
fn append(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let cannot = || format!("cannot write {}", to.display());
    let mut file = fs::OpenOptions::new().create(true).append(true).open(to).with_context(cannot)?;
    file.write_all(&read_file(from)?).and_then(|()| file.sync_all()).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_one_part_and_parts_keep_the_order() {
        for number in 0..40_u64 {
            let size = |file: u64| (file * 7919 + number * 104_729) % 97 * u64::from(!file.is_multiple_of(3));
            let files: Vec<_> = (0..number).map(|file| (String::new(), size(file))).collect();
            for count in 1..9 {
                let dealt: Vec<usize> = (0..count).flat_map(|index| share(&files, index, count)).collect();
                assert_eq!(dealt, (0..files.len()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn parts_have_about_as_many_bytes() {
        let files: Vec<_> = (0..100).map(|_| (String::new(), 10)).collect();
        assert!((0..7).all(|index| (13..=16).contains(&share(&files, index, 7).count())));
    }
}
