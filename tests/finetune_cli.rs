//! `anaume finetune` and `anaume eval jglue` end to end: a user's own data of every kind, JGLUE's files, and what is refused.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{fail, path, succeed, workshop};

/// Files of a folder.
fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Sentences about food (label 1) and about trains (label 0).
fn sentences(count: usize) -> Vec<(String, usize)> {
    let food = ["カレー", "味噌汁", "おにぎり", "うどん"];
    let trains = ["電車", "地下鉄", "新幹線", "駅"];
    let sentence = |i: usize| match i % 2 {
        0 => (format!("今日の{}はおいしいです。{i}", food[i / 2 % 4]), 1),
        _ => (format!("朝の{}は混んでいます。{i}", trains[i / 2 % 4]), 0),
    };
    (0..count).map(sentence).collect()
}

fn csv(count: usize) -> String {
    let mut text = "text,class\n".to_owned();
    sentences(count).iter().for_each(|(sentence, class)| writeln!(text, "\"{sentence}\",{class}").unwrap());
    text
}

/// Runs `finetune KIND` on files of a folder; returns the results folder's report of the one cell.
fn finetune(dir: &Path, kind: &str, more: &[&str]) -> (Value, std::path::PathBuf) {
    let [model, out] = [path(workshop(), "model"), path(dir, "results")];
    let mut arguments = vec!["finetune", kind, "--model", &model, "--out", &out, "--bootstrap", "50", "--epochs", "2"];
    arguments.extend(["--batch-size", "8", "--device", "cpu", "--learning-rate", "1e-3", "--name", "own"]);
    arguments.extend(more);
    succeed(&arguments);
    let task = dir.join("results/model/own");
    let cell = fs::read_dir(&task).unwrap().next().expect("one run").unwrap().path();
    let report = fs::read_to_string(cell.join("results.json")).unwrap();
    (serde_json::from_str(&report).unwrap(), cell)
}

fn files(dir: &Path, extension: &str) -> [String; 2] {
    ["train", "valid"].map(|split| path(dir, &format!("{split}.{extension}")))
}

#[test]
fn a_classifier_of_own_csv_files_is_trained_saved_and_not_trained_again() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("train.csv", &csv(64)), ("valid.csv", &csv(16))]);
    let [train, valid] = files(dir.path(), "csv");
    let arguments = ["--train", &train, "--valid", &valid, "--text", "text", "--label", "class"];
    let (report, cell) = finetune(dir.path(), "classification", &arguments);
    let results = &report["results"]["own"];
    assert!(results["accuracy,none"].as_f64().unwrap() >= 0.75, "two words tell the classes apart: {results}");
    assert_eq!(report["baselines"]["own"]["majority"]["accuracy"], 0.5);
    assert_eq!(report["n-samples"]["own"], json!({ "original": 16, "effective": 16 }));
    let samples = fs::read_to_string(cell.join("samples.jsonl")).unwrap();
    let right = samples.lines().filter(|line| line.contains("\"accuracy\":1.0")).count();
    assert_eq!(right as f64 / 16.0, results["accuracy,none"].as_f64().unwrap(), "examples and metric agree");
    // The saved model is a classifier with the data's labels, and its folder is complete.
    let config = fs::read_to_string(cell.join("model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["architectures"], json!(["ModernBertForSequenceClassification"]));
    assert_eq!(config["id2label"], json!({ "0": "0", "1": "1" }));
    succeed(&["model", "info", &path(&cell, "model")]);
    let written = fs::metadata(cell.join("results.json")).unwrap().modified().unwrap();
    finetune(dir.path(), "classification", &arguments);
    assert_eq!(fs::metadata(cell.join("results.json")).unwrap().modified().unwrap(), written, "done before");
}

#[test]
fn scores_spans_and_choices_of_own_files_are_learnt_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut pairs, mut spans, mut choices) = ("a\tb\tscore\n".to_owned(), String::new(), String::new());
    for (index, (sentence, class)) in sentences(24).iter().enumerate() {
        writeln!(pairs, "{sentence}\t{sentence}\t{}", *class as f64 * 2.5 + index as f64 / 100.0).unwrap();
        let answer: String = sentence.chars().skip(3).take(2).collect();
        let span = json!({ "q": "何の話ですか。", "c": sentence, "answer": answer, "answer_start": 3 });
        writeln!(spans, "{span}").unwrap();
        let choice = json!({ "q": sentence, "x": "乗り物", "y": "食べ物", "label": class });
        writeln!(choices, "{choice}").unwrap();
    }
    write(dir.path(), &[("r/train.tsv", &pairs), ("r/valid.tsv", &pairs)]);
    write(dir.path(), &[("s/train.jsonl", &spans), ("s/valid.jsonl", &spans)]);
    write(dir.path(), &[("m/train.jsonl", &choices), ("m/valid.jsonl", &choices)]);
    for (room, extension, kind, metrics, columns) in [
        ("r", "tsv", "regression", ["pearson", "spearman"], "--text=a --pair=b --label=score"),
        ("s", "jsonl", "span", ["exact_match", "f1"], "--text=q --pair=c --label=answer"),
        ("m", "jsonl", "multiple-choice", ["accuracy", "accuracy"], "--text=q --choices=x,y --label=label"),
    ] {
        let room = dir.path().join(room);
        let [train, valid] = files(&room, extension);
        let mut arguments = vec!["--train", &train, "--valid", &valid];
        arguments.extend(columns.split(' '));
        let (report, _) = finetune(&room, kind, &arguments);
        for metric in metrics {
            let value = &report["results"]["own"][format!("{metric},none")];
            assert!(value.is_number(), "{kind}: {metric} is {value}: {}", report["undefined"]);
        }
    }
}

#[test]
fn spans_are_answered_alike_in_any_order_of_examples_of_several_windows() {
    let dir = tempfile::tempdir().unwrap();
    let all = sentences(20);
    let context = |i: usize| all[i..i + 4 + i % 5].iter().map(|(sentence, _)| sentence.as_str()).collect::<String>();
    let line = |context: String| {
        let answer: String = context.chars().skip(3).take(2).collect();
        format!("{}\n", json!({ "q": "何の話ですか。", "c": context, "answer": answer, "answer_start": 3 }))
    };
    let lines: Vec<String> = (0..12).map(context).map(line).collect();
    let predictions = |name: &str, valid: &[String]| -> Vec<Value> {
        let room = dir.path().join(name);
        write(&room, &[("train.jsonl", &lines.concat()), ("valid.jsonl", &valid.concat())]);
        let [train, valid] = files(&room, "jsonl");
        let columns = ["--text=q", "--pair=c", "--label=answer", "--max-length=32", "--max-steps=2"];
        let (_, cell) = finetune(&room, "span", &[&["--train", &train, "--valid", &valid][..], &columns].concat());
        let samples = fs::read_to_string(cell.join("samples.jsonl")).unwrap();
        samples.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["prediction"].clone()).collect()
    };
    let forward = predictions("forward", &lines);
    let mut backward = predictions("backward", &lines.iter().rev().cloned().collect::<Vec<_>>());
    backward.reverse();
    assert_eq!(forward, backward);
    assert!(forward.iter().any(|answer| *answer != forward[0]), "{forward:?}");
}

#[test]
fn a_constant_column_has_no_correlation_and_the_report_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |score: &str| {
        let mut text = "a,score\n".to_owned();
        sentences(8).iter().for_each(|(sentence, _)| writeln!(text, "{sentence},{score}").unwrap());
        text
    };
    write(dir.path(), &[("train.csv", &rows("1.5")), ("valid.csv", &rows("2"))]);
    let [train, valid] = files(dir.path(), "csv");
    let arguments = ["--train", &train, "--valid", &valid, "--text", "a", "--label", "score"];
    let (report, _) = finetune(dir.path(), "regression", &arguments);
    assert_eq!(report["results"]["own"]["pearson,none"], Value::Null);
    let reason = report["undefined"]["own"]["pearson"].as_str().expect("a reason");
    assert!(reason.contains("equal"), "{reason}");
}

#[test]
fn bad_examples_are_named_by_file_line_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let good = csv(8);
    write(dir.path(), &[("train.csv", &good), ("valid.csv", &(good.clone() + "文,2\n"))]);
    write(dir.path(), &[("empty.csv", "text,class\n"), ("blank.csv", "text,class\n ,1\n")]);
    write(dir.path(), &[("s.jsonl", "{\"q\":\"何？\",\"c\":\"空は青い。\",\"answer\":\"赤い\",\"answer_start\":2}\n")]);
    let [model, out] = [path(workshop(), "model"), path(dir.path(), "results")];
    let train = path(dir.path(), "train.csv");
    let refused = |exit: i32, more: &[&str], expected: &[&str]| {
        let mut arguments = vec!["finetune", more[0], "--model", &model, "--out", &out, "--device", "cpu"];
        arguments.extend(&more[1..]);
        let error = fail(exit, &arguments);
        expected.iter().for_each(|part| assert!(error.contains(part), "{part:?} is not in {error}"));
    };
    let columns = ["--text", "text", "--label", "class"];
    let with = |valid: &str| path(dir.path(), valid);
    let run = |valid: &str| -> Vec<String> {
        let head = ["classification", "--train", &train, "--valid", &with(valid)].map(str::to_owned);
        head.into_iter().chain(columns.map(str::to_owned)).collect()
    };
    for (valid, expected) in [
        ("valid.csv", &["valid.csv: line 10", "label `2`", "0, 1"][..]),
        ("empty.csv", &["empty.csv", "no row"]),
        ("blank.csv", &["blank.csv: line 2", "`text` is empty"]),
        ("missing.csv", &["missing.csv does not exist"]),
    ] {
        let arguments = run(valid);
        let exit = if valid == "missing.csv" { 2 } else { 3 };
        refused(exit, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }
    let valid = with("valid.csv");
    let no_column = ["classification", "--train", &train, "--valid", &valid, "--text", "texts", "--label", "class"];
    refused(3, &no_column, &["no column `texts`", "class, text"]);
    let spans = with("s.jsonl");
    let span = ["span", "--train", &spans, "--valid", &spans, "--text=q", "--pair=c", "--label=answer"];
    refused(3, &span, &["s.jsonl: line 1", "赤い"]);
    refused(2, &["multiple-choice", "--train", &train, "--valid", &valid, "--text=text"], &["--choices"]);
    refused(2, &["jsts", "--data", &path(dir.path(), "")], &["no files of jsts"]);
}

#[test]
fn eval_jglue_reads_the_files_of_jglue_and_jcola_and_runs_a_grid_cell_by_cell() {
    let dir = tempfile::tempdir().unwrap();
    let jcola = |count: usize, annotated: bool| -> String {
        let line = |(index, (sentence, class)): (usize, &(String, usize))| {
            let mut row = json!({ "uid": index, "label": class, "sentence": sentence });
            if annotated {
                row["binding"] = (index % 2 == 0).into();
            }
            format!("{row}\n")
        };
        sentences(count).iter().enumerate().map(line).collect()
    };
    write(dir.path(), &[("jcola/in_domain_train-v1.0.json", &jcola(16, false))]);
    write(dir.path(), &[("jcola/in_domain_valid-v1.0.json", &jcola(8, false))]);
    write(dir.path(), &[("jcola/out_of_domain_valid_annotated-v1.0.json", &jcola(12, true))]);
    let [model, out, data] = [path(workshop(), "model"), path(dir.path(), "results"), path(dir.path(), "")];
    let arguments = ["eval", "jglue", "--model", &model, "--data", &data, "--out", &out, "--device", "cpu"];
    let grid = ["--grid", "jglue-official", "--seeds", "0,1", "--max-steps", "1", "--bootstrap", "20", "--json"];
    let document: Value = serde_json::from_str(&succeed(&[&arguments[..], &grid].concat())).unwrap();
    let reports = document["reports"].as_array().unwrap();
    assert_eq!(reports.len(), 3 * 2 * 2, "rates × epochs × seeds");
    let results = &reports[0]["results"]["jcola"];
    for metric in ["accuracy", "matthews", "ood_accuracy", "ood_matthews", "ood_accuracy_binding"] {
        assert!(results.get(format!("{metric},none")).is_some(), "{metric} is not in {results}");
    }
    assert_eq!(reports[0]["configs"]["jcola"]["options"]["selection"], "valid");
    assert!(!dir.path().join("results/model/jcola/lr5e-5_ep3_seed0/model").exists(), "a grid keeps no models");
}
