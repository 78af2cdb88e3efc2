//! The parsers of the program, on files in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::data::dataset::{Dataset, TRAIN};
use crate::data::read::{BadLines, ReadOptions, Record, records};
use crate::eval::retrieval::collection::{Collection, MiraclFiles};
use crate::manifest::{MANIFEST, verify};
use crate::recipe::Recipe;
use crate::{parts, with_limit};

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder for temporary files");
}

/// The path of a file of these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(name));
    fs::write(&path, bytes).expect("room for a small file");
    path
}

/// Reads all documents of a file, with and without names, and passes over bad lines.
fn read_all(path: PathBuf) {
    for id_column in [None, Some("id".to_owned())] {
        let options = ReadOptions { id_column, bad_lines: BadLines::Skip, ..ReadOptions::default() };
        let Ok(records) = records(std::slice::from_ref(&path), &options) else { continue };
        for record in records {
            match record {
                Ok(Record::Document(document)) => assert!(document.text.len() as u64 <= options.max_line_bytes),
                Ok(Record::Bad(bad)) => assert!(bad.line > 0 && !bad.to_string().is_empty()),
                Err(cause) => assert!(format!("{cause:#}").contains(&path.display().to_string())),
            }
        }
    }
}

/// JSON lines.
pub fn jsonl(bytes: &[u8]) {
    read_all(file("a.jsonl", bytes));
}

/// Text lines, compressed by gzip.
pub fn gzip(bytes: &[u8]) {
    read_all(file("a.txt.gz", bytes));
}

/// Text lines, compressed by zstd.
pub fn zstd(bytes: &[u8]) {
    read_all(file("a.txt.zst", bytes));
}

/// Parquet. Its library reserves what a page claims to unpack to, up to 31 bits, and touches it only as it is filled.
pub fn parquet(bytes: &[u8]) {
    let path = file("a.parquet", bytes);
    with_limit(i32::MAX as usize, || read_all(path));
}

/// The three files of MIRACL: topics, judgements (TREC's qrels), passages.
pub fn trec(bytes: &[u8]) {
    let [topics, qrels, corpus] = parts(bytes);
    let topics = file("topics.tsv", topics);
    let files = MiraclFiles { topics, qrels: file("qrels.tsv", qrels), corpus: vec![file("docs.jsonl", corpus)] };
    if let Ok(collection) = Collection::of_miracl(&files, Some(10)) {
        assert!(collection.queries.len() <= 10 && !collection.passages.is_empty());
        assert!(collection.passages.is_sorted_by(|a, b| a.docno >= b.docno));
    }
}

/// `manifest.json` of a checkpoint beside the files `a` and `b`, and a file outside of the folder that it must not reach.
pub fn checkpoint(bytes: &[u8]) {
    let outside = file("secret", b"secret");
    let folder = outside.with_file_name("step");
    fs::create_dir_all(&folder).expect("room for a folder");
    file("step/a", b"a");
    file("step/b", b"");
    file(&format!("step/{MANIFEST}"), bytes);
    if verify(&folder).is_ok() {
        assert!(!String::from_utf8_lossy(bytes).contains("secret"), "it was hashed");
    }
}

/// `dataset.json` and the index of its one shard of two documents.
pub fn dataset(bytes: &[u8]) {
    let [manifest, index] = parts(bytes);
    let path = file("dataset.json", manifest);
    file("train-00000.jsonl", b"{\"id\":\"a\",\"text\":\"\"}\n{\"id\":\"b\",\"text\":\"b\"}\n");
    file("train-00000.idx", index);
    let Ok(dataset) = Dataset::open(path.parent().unwrap_or(Path::new("."))) else { return };
    let Ok(train) = dataset.split(TRAIN) else { return };
    (0..3).for_each(|number| drop(train.document(number)));
}

/// A recipe and an override.
pub fn recipe(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (recipe, assignment) = text.split_once('\0').unwrap_or((&text, ""));
    let assignments: Vec<_> = Some(assignment.to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
    if let Ok(recipe) = Recipe::parse("a", recipe, &assignments) {
        assert!(recipe.train.micro_batch_rows as u64 * recipe.train.max_steps > 0);
    }
}
