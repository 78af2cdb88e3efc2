//! The published schemas: what the commands write is valid, and what is wrong is not.

use std::fs;
use std::path::Path;

use anaume_tests::fake::Fake;
use serde_json::{Value, json};

use crate::cli::{fail, path, run_pretrain, succeed, workshop};

/// The schema of a document as the command prints it.
fn schema(name: &str) -> Value {
    serde_json::from_str(&succeed(&["schema", name])).unwrap()
}

/// What is wrong with a document, each with its place.
fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("a schema of draft 2020-12");
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_valid(name: &str, document: &Value) {
    assert_eq!(violations(&schema(name), document), Vec::<String>::new(), "{name}");
}

/// The document with one value replaced by one of another type is no longer valid.
#[track_caller]
fn assert_invalid(name: &str, document: &Value, pointer: &str, wrong: Value) {
    let mut changed = document.clone();
    *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{name} has no {pointer}")) = wrong;
    let found = violations(&schema(name), &changed);
    assert!(!found.is_empty(), "{name}: a wrong {pointer} is accepted");
}

#[test]
fn every_name_that_is_listed_has_a_schema() {
    let listed = succeed(&["schema"]);
    let names: Vec<_> = listed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["leaderboard", "metrics", "plan", "results", "run", "sample", "site", "web"]);
    for name in names {
        assert_eq!(schema(name)["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
    }
    assert!(fail(2, &["schema", "recipe"]).contains("possible values"));
}

#[test]
fn a_pretraining_run_is_valid_and_a_wrong_type_in_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    run_pretrain(&run, &["--set", "train.max_steps=4"]);
    let manifest = document(&run.join("run.json"));
    assert_valid("run", &manifest);
    assert_invalid("run", &manifest, "/seeds/train", json!("zero"));
    assert_invalid("run", &manifest, "/host_cores", json!(-1));
    let records = lines(&run.join("metrics.jsonl"));
    assert!(records.len() > 4);
    records.iter().for_each(|record| assert_valid("metrics", record));
    let step = records.iter().find(|record| record["event"] == "step").unwrap();
    assert_invalid("metrics", step, "/loss", json!("2.5"));
    assert_invalid("metrics", step, "/event", json!("dance"));
}

#[test]
fn results_samples_and_plans_are_valid_and_a_wrong_type_in_them_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let place = Fake::new("small", "jcola").right(&[true, false, true]).write(dir.path());
    let out = path(dir.path(), "merged");
    let cell = json!({"model": "small", "task": "jcola", "cell": "", "shard": 0, "done": true, "seconds": 1.5});
    let plan = json!({"format_version": 1, "cells": [cell]});
    fs::write(dir.path().join("plan.json"), plan.to_string()).unwrap();
    succeed(&["merge", &dir.path().display().to_string(), "--out", &out]);
    let out = Path::new(&out);
    for file in [place.join("results.json"), out.join("small/jcola/results.json"), out.join("small/report.json")] {
        let results = document(&file);
        assert_valid("results", &results);
        assert_invalid("results", &results, "/results/jcola", json!([1]));
        assert_invalid("results", &results, "/n-samples/jcola/effective", json!(2.5));
        assert_invalid("results", &results, "/model", json!("small"));
    }
    let samples = lines(&place.join("samples.jsonl"));
    samples.iter().for_each(|sample| assert_valid("sample", sample));
    assert_invalid("sample", &samples[0], "/doc_id", json!(null));
    assert_invalid("sample", &samples[0], "/split", json!(1));
    let plan = document(&out.join("plan.json"));
    assert_valid("plan", &plan);
    assert_invalid("plan", &plan, "/cells/0/task", json!(7));
}

#[test]
fn a_leaderboard_is_valid_and_a_wrong_type_in_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    Fake::new("a", "jcola").right(&[true, false, true]).write(dir.path());
    Fake::new("b", "jcola").right(&[true, false, false]).write(dir.path());
    let printed = succeed(&["leaderboard", &dir.path().display().to_string(), "--format", "json"]);
    let board: Value = serde_json::from_str(&printed).unwrap();
    assert_valid("leaderboard", &board);
    assert_invalid("leaderboard", &board, "/rows/0/cells/0/value", json!("0.5"));
    assert_invalid("leaderboard", &board, "/columns/0/higher_is_better", json!(1));
    assert_invalid("leaderboard", &board, "/notes", json!({}));
}

#[test]
fn what_an_evaluation_writes_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let (out, model) = (path(dir.path(), "results"), path(workshop(), "model"));
    let printed = succeed(&["eval", "fill-mask", "--model", &model, "--out", &out, "--device", "cpu", "--json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    for report in printed["reports"].as_array().unwrap() {
        assert_valid("results", report);
        for task in report["results"].as_object().unwrap().keys() {
            let samples = Path::new(&out).join(report["model"]["name"].as_str().unwrap()).join(task);
            lines(&samples.join("samples.jsonl")).iter().for_each(|sample| assert_valid("sample", sample));
        }
    }
}
