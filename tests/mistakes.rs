//! What beginners mistype: each answer names the cause and what to do.

use std::fs;
use std::path::Path;

use crate::cli::{fail, path, workshop};

/// A folder with what is taken for something else.
fn desk() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("run/step-00000010")).unwrap();
    fs::create_dir_all(at("run/step-00000020")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("texts.txt"), "あ\n").unwrap();
    fs::write(at("letter.doc"), "あ\n").unwrap();
    fs::write(at("body.jsonl"), "{\"body\": \"あ\"}\n").unwrap();
    fs::write(at("typo.toml"), "[train]\nmax_step = 3\n").unwrap();
    dir
}

#[test]
fn every_mistake_is_answered_with_its_cause_and_a_remedy() {
    let dir = desk();
    let at = |name: &str| path(dir.path(), name);
    let [model, data] = ["model", "data"].map(|name| path(workshop(), name));
    let (out, text) = (at("out"), "今日は[MASK]だ。");
    let pretrain = |recipe: &str, data: &str, out: &str, more: &str| {
        let words = format!("pretrain --recipe {recipe} --data {data} --model {model} --out {out} {more}");
        words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let fill_mask = |model: &str, more: &[&str]| words(&[&["fill-mask", "--model", model], more].concat());
    let prepare = |input: &str| words(&["data", "prepare", &at(input), "--out", &out]);
    let eval =
        |protocol: &str, data: &str| words(&["eval", protocol, "--model", &model, "--data", &at(data), "--out", &out]);
    let cases: [(i32, Vec<String>, &[&str]); 24] = [
        (2, fill_mask(&at("rum"), &[text]), &["nor does the folder", "a model folder is needed"]),
        (2, fill_mask(&at("run"), &[text]), &["has step-00000010, step-00000020", "a checkpoint RUN/step-"]),
        (2, fill_mask(&at("empty"), &[text]), &["empty is empty", "`anaume model init`"]),
        (2, fill_mask(&at("texts.txt"), &[text]), &["texts.txt is a file, and a folder is needed"]),
        (3, fill_mask(&model, &["マスクなし"]), &["no mask in 「マスクなし」", "write [MASK]"]),
        (2, fill_mask(&model, &[text, "--device", "gpu9"]), &["gpu9", "`anaume devices` lists"]),
        (2, prepare("text.txt"), &["text.txt does not exist", "has texts.txt"]),
        (2, prepare("run"), &["run is a folder", "/*.jsonl'"]),
        (2, prepare("letter.doc"), &["letter.doc", "give .jsonl"]),
        (3, prepare("body.jsonl"), &["body.jsonl:1", "only `body`", "--column"]),
        (2, words(&["data", "stats", &at("empty")]), &["dataset.json", "that `anaume data prepare` wrote"]),
        (2, pretrain("tiny", &data, &at("texts.txt"), ""), &["texts.txt is a file"]),
        (2, pretrain("tiny", &data, &out, "--set train.max_step=3"), &["did you mean `train.max_steps`"]),
        (2, pretrain("tinny", &data, &out, ""), &["tinny", "built in: quickstart, tiny"]),
        (2, pretrain(&at("typo.toml"), &data, &out, ""), &["line 2", "`train.max_steps`"]),
        (2, pretrain("tiny", &at("empty"), &out, ""), &["`anaume data prepare`"]),
        (2, words(&["checkpoints", "list", &at("rum")]), &["rum does not exist", "has run, "]),
        (2, words(&["checkpoints", "list", &at("empty")]), &["holds no checkpoints (folders `step-…`)"]),
        (2, eval("jglue", "empty"), &["jsts-train-v1.3.json"]),
        (2, eval("jglue", "emty"), &["has empty"]),
        (3, eval("fill-mask", "texts.txt"), &["line 1", "`--help`"]),
        (2, words(&["merge", &at("rum"), "--out", &out]), &["rum does not exist", "has run, "]),
        (2, words(&["merge", &at("texts.txt"), "--out", &out]), &["texts.txt is a file"]),
        (2, words(&["tokenizer", "encode", &at("texts.txt"), "あ"]), &["texts.txt is a file"]),
    ];
    for (exit, arguments, parts) in cases {
        let answer = fail(exit, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        for part in parts {
            assert!(answer.contains(part), "anaume {arguments:?}: no {part:?} in {answer}");
        }
    }
}

#[test]
fn a_mistyped_checkpoint_is_not_asked_of_the_hub() {
    let dir = desk();
    let model = |name: &str| {
        let output = std::process::Command::new(crate::cli::binary())
            .args(["model", "info", name])
            .current_dir(dir.path())
            .env("LC_ALL", "C")
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .env("ANAUME_HUB_RETRIES", "0")
            .output()
            .unwrap();
        (output.status.code(), crate::cli::text(&output.stderr))
    };
    let (exit, answer) = model("run/step-1");
    assert_eq!(exit, Some(2), "{answer}");
    assert!(answer.contains("run/step-1 does not exist; the folder run has step-00000010, step-00000020"), "{answer}");
    assert!(answer.contains("the model run/step-1 of the Hub is written run/step-1@main"), "{answer}");
    assert!(!answer.contains("127.0.0.1"), "{answer}");
    for on_the_hub in ["rum/step-1", "run/step-1@main"] {
        assert_eq!(model(on_the_hub).0, Some(6), "{on_the_hub}");
    }
    assert!(Path::new(&path(dir.path(), "run")).is_dir());
}
