//! Jobs in parts that share nothing: in any order, more than once, with one killed, they come to what one process does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anaume_core::report::eval::EvalReport;

use crate::cli::{anaume, binary, fail, path, succeed, text, wait_for, workshop};

const NUM_PARTS: usize = 4;
/// Parts are done in this order, each more than once.
const ORDER: [usize; 8] = [2, 0, 3, 0, 1, 2, 1, 3];

/// Files of documents, some of them empty or small.
fn write_inputs(dir: &Path) -> Vec<String> {
    let document = |file: usize, line: usize| match line % 50 {
        7 => "{\"text\": 3}".to_owned(),
        9 => "{\"text\": \"\"}".to_owned(),
        _ => format!("{{\"text\": \"{file}番目のファイルの{line}番目の文書です。\"}}"),
    };
    let files = [2000, 0, 300, 1, 1500, 700].into_iter().enumerate().map(|(file, lines)| {
        let name = path(dir, &format!("{file}.jsonl"));
        fs::write(&name, (0..lines).map(|line| document(file, line) + "\n").collect::<String>()).unwrap();
        name
    });
    files.collect()
}

const OPTIONS: [&str; 8] =
    ["--bad-lines", "quarantine", "--test-fraction", "0.1", "--min-chars", "3", "--shard-bytes", "64KiB"];

fn prepare_part<'a>(inputs: &'a [String], parts: &'a str, index: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let shard = ["--out", parts, "--shard-index", index, "--num-shards", "4"];
    [&["data", "prepare"], &inputs[..], &OPTIONS, &shard, more].concat()
}

/// Files of a folder by name.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn parts_of_data_in_any_order_make_the_dataset_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = write_inputs(dir.path());
    let [whole, parts, merged] = ["whole", "parts", "merged"].map(|name| path(dir.path(), name));
    let input_refs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    succeed(&[&["data", "prepare"], &input_refs[..], &OPTIONS, &["--out", &whole]].concat());
    let merge = ["data", "merge", &parts, "--out", &merged];
    for (number, part) in ORDER.iter().enumerate() {
        let index = part.to_string();
        let output = anaume(&prepare_part(&inputs, &parts, &index, &[]));
        assert!(output.status.success(), "{}", text(&output.stderr));
        let again = ORDER[..number].contains(part);
        assert_eq!(text(&output.stderr).contains("is done already"), again, "{}", text(&output.stderr));
        if ORDER[..=number].iter().all(|done| *done != 1) {
            assert!(fail(3, &merge).contains("parts are missing: "), "part 1 is missing");
            assert!(!Path::new(&merged).exists());
        }
    }
    succeed(&merge);
    let (expected, found) = (files(Path::new(&whole)), files(Path::new(&merged)));
    assert!(expected.len() > 8 && expected.contains_key("quarantine.jsonl"), "{:?}", expected.keys());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(expected.iter().all(|(name, bytes)| found[name] == *bytes));
    assert!(fail(2, &merge).contains("--force"));
}

#[test]
fn a_part_that_was_killed_is_not_there_and_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    // Enough for a process to be killed in the middle.
    let input = path(dir.path(), "large.jsonl");
    let line = format!("{{\"text\": \"{}\"}}\n", "長い文書です。".repeat(200));
    fs::write(&input, line.repeat(10_000)).unwrap();
    let inputs = [input];
    let parts = path(dir.path(), "parts");
    let mut child =
        Command::new(binary()).args(prepare_part(&inputs, &parts, "2", &[])).stdout(Stdio::null()).spawn().unwrap();
    wait_for(|| fs::read_dir(&parts).is_ok_and(|mut entries| entries.next().is_some()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!Path::new(&parts).join("part-00002-of-00004").exists());
    for index in ["0", "1", "3"] {
        succeed(&prepare_part(&inputs, &parts, index, &[]));
    }
    let merged = path(dir.path(), "merged");
    let merge = ["data", "merge", &parts, "--out", &merged];
    assert!(fail(3, &merge).contains("1 of 4 parts are missing: 2;"));
    succeed(&prepare_part(&inputs, &parts, "2", &[]));
    succeed(&merge);
}

#[test]
fn parts_that_are_damaged_or_of_another_dataset_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = write_inputs(dir.path());
    let [parts, merged] = ["parts", "merged"].map(|name| path(dir.path(), name));
    for index in ["0", "1", "2", "3"] {
        succeed(&prepare_part(&inputs, &parts, index, &[]));
    }
    let merge = ["data", "merge", &parts, "--out", &merged];
    assert!(fail(2, &prepare_part(&inputs[1..], &parts, "0", &[])).contains("of other files or options"));
    let counted = prepare_part(&inputs, &parts, "0", &["--test-documents", "3"]);
    let counted: Vec<&str> = counted.into_iter().filter(|word| !["--test-fraction", "0.1"].contains(word)).collect();
    assert!(fail(2, &counted).contains("--test-fraction"));
    let part = PathBuf::from(&parts).join("part-00000-of-00004");
    let other_text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replacen("文書で", "文章で", 1).into_bytes();
    let other_layout = |bytes: &[u8]| [bytes, b"\n"].concat();
    let refused = |name: &str, damaged: &dyn Fn(&[u8]) -> Vec<u8>, said: &str| {
        let whole = fs::read(part.join(name)).unwrap();
        fs::write(part.join(name), damaged(&whole)).unwrap();
        let error = fail(3, &merge);
        assert!(error.contains(said) && error.contains("part-00000-of-00004"), "{error}");
        fs::write(part.join(name), whole).unwrap();
    };
    refused("train-00000.jsonl", &other_text, "differs from what was prepared");
    refused("dataset.json", &other_layout, "was changed after");
    let stranger = path(dir.path(), "stranger");
    succeed(&prepare_part(&inputs[1..], &stranger, "1", &[]));
    fs::rename(Path::new(&stranger).join("part-00001-of-00004"), Path::new(&parts).join("part-00001-of-00009"))
        .unwrap();
    assert!(fail(3, &merge).contains("parts of different datasets"));
    assert!(!Path::new(&merged).exists());
}

/// What an evaluation found: results by task and metric.
fn metrics(report: &Path) -> Vec<String> {
    let report = EvalReport::from_json(&fs::read_to_string(report).unwrap()).unwrap();
    report.results.iter().map(|(task, metrics)| format!("{task}: {metrics:?}")).collect()
}

#[test]
fn parts_of_an_evaluation_in_any_order_make_the_results_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let model = path(workshop(), "model");
    let evaluate = |out: &str, shard: &[&str]| -> Vec<String> {
        let fixed = ["eval", "all", "--model", &model, "--out", out, "--bootstrap", "20", "--device", "cpu"];
        fixed.iter().chain(shard).map(|word| (*word).to_owned()).collect()
    };
    let run = |arguments: &[String]| succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let whole = path(dir.path(), "whole");
    run(&evaluate(&whole, &[]));
    let parts: Vec<String> = (0..NUM_PARTS).map(|part| path(dir.path(), &format!("part-{part}"))).collect();
    let part_arguments =
        |part: usize| evaluate(&parts[part], &["--shard-index", &part.to_string(), "--num-shards", "4"]);
    // Killed as soon as it has begun to write.
    let mut child = Command::new(binary()).args(part_arguments(1)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.as_mut().unwrap();
    wait_for(|| Path::new(&parts[1]).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    for part in ORDER {
        run(&part_arguments(part));
    }
    let merged = path(dir.path(), "merged");
    let words: Vec<&str> =
        ["merge"].into_iter().chain(parts.iter().map(String::as_str)).chain(["--out", &merged]).collect();
    succeed(&words);
    let joined = path(dir.path(), "joined");
    succeed(&["merge", &whole, "--out", &joined]);
    let report = |out: &str| PathBuf::from(out).join("model/report.json");
    let expected = metrics(&report(&joined));
    assert!(expected.len() > 3, "{expected:?}");
    assert_eq!(metrics(&report(&merged)), expected);
}
