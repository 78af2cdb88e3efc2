//! Joining the results of shards: nothing is lost, nothing contradicts, nothing is missing unnoticed.

use std::fs;
use std::path::{Path, PathBuf};

use anaume_core::report::eval::EvalReport;
use anaume_tests::fake::Fake;
use serde_json::{Value, json};

use crate::cli::{fail, path, succeed};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Two shards of a plan of three results; the third result is in neither.
fn shards(dir: &Path) -> [PathBuf; 2] {
    let shards = ["shard-0", "shard-1"].map(|name| dir.join(name));
    Fake::new("small", "jcola").write(&shards[0]);
    Fake::new("small", "jsts").cell("lr3e-05_ep3_seed0").write(&shards[1]);
    let planned = |task: &str, cell: &str| json!({"model": "small", "task": task, "cell": cell, "shard": 0, "done": false, "seconds": 1.5});
    let plan = [
        json!({"format_version": 1, "cells": [planned("jcola", "")]}),
        json!({"format_version": 1, "cells": [planned("jsts", "lr3e-05_ep3_seed0"), planned("jsts", "lr3e-05_ep3_seed1")]}),
    ];
    for (shard, plan) in shards.iter().zip(plan) {
        fs::write(shard.join("plan.json"), plan.to_string()).unwrap();
    }
    shards
}

#[test]
fn shards_are_joined_with_a_report_of_each_model() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = shards(dir.path());
    fs::write(second.join("small/jsts/lr3e-05_ep3_seed0/partial.jsonl"), "{}").unwrap();
    fs::create_dir(first.join("small/jcola/model")).unwrap();
    fs::write(first.join("small/jcola/model/config.json"), "{}").unwrap();
    let out = dir.path().join("out");
    for _ in 0..2 {
        // The second time everything is there already.
        succeed(&["merge", &text(&first), &text(&second), "--out", &text(&out), "--partial"]);
        let report = fs::read_to_string(out.join("small/report.json")).unwrap();
        let report = EvalReport::from_json(&report).unwrap();
        let tasks: Vec<_> = report.results.keys().map(String::as_str).collect();
        assert_eq!(tasks, ["jcola", "jsts/lr3e-05_ep3_seed0"]);
        assert!(report.metric("jsts/lr3e-05_ep3_seed0", "accuracy").is_some() && report.date > 0.0);
        let cell = out.join("small/jsts/lr3e-05_ep3_seed0");
        assert!(cell.join("samples.jsonl").exists() && !cell.join("partial.jsonl").exists());
        assert!(out.join("small/jcola/model/config.json").exists());
        let plan: Value = serde_json::from_slice(&fs::read(out.join("plan.json")).unwrap()).unwrap();
        assert_eq!(plan["cells"].as_array().unwrap().len(), 3);
        assert_eq!(plan["cells"][2]["done"], false);
    }
}

#[test]
fn a_missing_result_is_named_and_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = shards(dir.path());
    let out = path(dir.path(), "out");
    let arguments = ["merge", &text(&first), &text(&second), "--out", &out];
    let error = fail(3, &arguments);
    assert!(error.contains("1 of 3") && error.contains("small/jsts/lr3e-05_ep3_seed1"), "{error}");
    Fake::new("small", "jsts").cell("lr3e-05_ep3_seed1").write(&second);
    succeed(&arguments);
    // A result of other options than the plan's is not what was planned.
    let cell =
        json!({"model": "small", "task": "jcola", "cell": "", "shard": 0, "done": true, "seconds": 1, "identity": "x"});
    let plan = json!({"format_version": 1, "cells": [cell]});
    fs::write(first.join("plan.json"), plan.to_string()).unwrap();
    let out = path(dir.path(), "other");
    assert!(fail(3, &["merge", &text(&first), "--out", &out]).contains("than planned"));
}

#[test]
fn equal_results_are_joined_and_contradicting_ones_name_both_folders() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| dir.path().join(name));
    let places = [&first, &second].map(|root| Fake::new("small", "jcola").write(root));
    let out = dir.path().join("out");
    let arguments = ["merge", &text(&first), &text(&second), "--out", &text(&out)];
    assert!(succeed(&arguments).contains("1 found twice"));
    fs::remove_dir_all(&out).unwrap();
    Fake::new("small", "jcola").options(json!({"max_length": 64})).write(&second);
    let error = fail(3, &arguments);
    assert!(places.iter().all(|place| error.contains(&text(place))), "{error}");
    assert!(!out.exists(), "nothing is written");
    // Different models of one name contradict each other whatever the task.
    fs::remove_dir_all(&second).unwrap();
    let place = Fake::new("small", "jsts").weights("other").write(&second);
    let error = fail(3, &arguments);
    assert!(error.contains("different models") && error.contains(&text(&place)), "{error}");
}

#[test]
fn what_is_no_results_folder_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "out");
    assert!(fail(2, &["merge", &path(dir.path(), "none"), "--out", &out]).contains("none"));
    let place = Fake::new("small", "jcola").write(dir.path());
    let error = fail(2, &["merge", &text(&place), "--out", &out]);
    assert!(error.contains("MODEL/TASK"), "{error}");
}
