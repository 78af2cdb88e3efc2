//! Pseudo-perplexity: the losses of transformers, packing and sampling that change nothing, and the command.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anaume_core::infer::{Engine, MaskedCopy, ModelFiles, sample_positions};
use anaume_core::tokenizer::train;
use anaume_tests::{Golden, assert_close, assert_within, devices, golden, relative_difference, weight_file};
use burn::tensor::Device;
use serde_json::{Value, json};

use crate::cli::{binary, fail, path, succeed, text, wait_for, workshop};
use crate::model::TOLERANCE;

/// The golden model with a tokenizer whose special ids are its own.
fn golden_engine(device: &Device) -> Engine {
    let texts = ["いろはにほへと ちりぬるを", "いろは にほへと", "ちりぬる いろ"];
    let tokenizer = train(texts, 280, |_| ()).unwrap();
    let [config_json, weights] =
        ["config.json", "model.safetensors"].map(|name| golden(&format!("model/plain/{name}")));
    let files = ModelFiles {
        config_json: &config_json,
        weights: weight_file(&weights, device),
        tokenizer_json: &tokenizer.tokenizer_json,
        tokenizer_config_json: Some(&tokenizer.tokenizer_config_json),
    };
    Engine::new(files).unwrap()
}

/// The golden texts and the loss of each of their tokens but the first and the last.
fn golden_texts() -> Vec<(Vec<u32>, Vec<f32>)> {
    let goldens = Golden::read("pseudo_perplexity/losses.safetensors");
    let lengths = goldens.names_after("ids.");
    lengths.iter().map(|n| (goldens.ids(&format!("ids.{n}")), goldens.f32(&format!("nll.{n}")))).collect()
}

fn losses(engine: &Engine, copies: &[MaskedCopy<'_>]) -> Vec<f32> {
    let values = pollster::block_on(engine.pseudo_log_likelihoods(copies)).unwrap();
    values.iter().map(|value| -*value as f32).collect()
}

fn copies(ids: &[u32]) -> Vec<MaskedCopy<'_>> {
    (1..ids.len() - 1).map(|position| MaskedCopy { ids, position }).collect()
}

#[test]
fn every_token_has_the_loss_of_transformers() {
    for (name, device) in devices() {
        let engine = golden_engine(&device);
        // A software GPU is slow.
        let step = if name == "flex" { 1 } else { 16 };
        for (ids, expected) in golden_texts() {
            let what = format!("losses of {} tokens on {name}", ids.len());
            let copies: Vec<_> = copies(&ids).into_iter().step_by(step).collect();
            let expected: Vec<_> = expected.into_iter().step_by(step).collect();
            assert_close(&what, &losses(&engine, &copies), &expected, TOLERANCE);
        }
    }
}

#[test]
fn copies_of_several_texts_in_one_pass_score_as_one_by_one() {
    let engine = golden_engine(&Device::flex());
    let texts = golden_texts();
    let packed: Vec<_> = texts.iter().flat_map(|(ids, _)| copies(ids)).collect();
    let alone: Vec<f32> = packed.iter().flat_map(|copy| losses(&engine, &[*copy])).collect();
    assert_close("packed losses", &losses(&engine, &packed), &alone, 1e-5);
}

#[test]
fn a_wrong_token_or_position_is_seen() {
    let engine = golden_engine(&Device::flex());
    let (ids, expected) = golden_texts().into_iter().max_by_key(|(ids, _)| ids.len()).unwrap();
    let mut changed = ids.clone();
    changed[ids.len() / 2] = 8 + (ids[ids.len() / 2] + 1) % 200;
    assert!(relative_difference(&losses(&engine, &copies(&changed)), &expected) > TOLERANCE);
    let shifted: Vec<_> = (1..ids.len() - 1).map(|at| MaskedCopy { ids: &ids, position: at.max(2) }).collect();
    assert!(relative_difference(&losses(&engine, &shifted), &expected) > TOLERANCE);
}

#[test]
fn cls_and_sep_are_never_masked() {
    let engine = golden_engine(&Device::flex());
    for (ids, position) in [(&[5, 9, 6][..], 0), (&[5, 9, 6], 2), (&[5, 9, 6], 3), (&[5, 6], 1), (&[], 0)] {
        let error = pollster::block_on(engine.pseudo_log_likelihoods(&[MaskedCopy { ids, position }])).unwrap_err();
        assert!(error.to_string().contains("never masked"), "{error}");
    }
    assert_eq!(losses(&engine, &[MaskedCopy { ids: &[5, 9, 6], position: 1 }]).len(), 1);
}

#[test]
fn positions_are_drawn_without_replacement_and_each_as_likely() {
    let mut drawn = [0_usize; 12];
    for text in 0..2000 {
        let positions = sample_positions(12, 4, 1, &text.to_string());
        assert!(positions.is_sorted_by(|a, b| a < b) && positions.len() == 4, "{positions:?}");
        positions.iter().for_each(|position| drawn[*position] += 1);
    }
    assert_eq!([drawn[0], drawn[11]], [0, 0]);
    // 800 expected, a standard deviation of 22.
    assert!(drawn[1..11].iter().all(|count| (700..900).contains(count)), "{drawn:?}");
    assert_eq!(sample_positions(300, 50, 1, "a"), sample_positions(300, 50, 1, "a"));
    assert_ne!(sample_positions(300, 50, 1, "a"), sample_positions(300, 50, 2, "a"));
    assert_ne!(sample_positions(300, 50, 1, "a"), sample_positions(300, 50, 1, "b"));
    assert_eq!(sample_positions(5, 3, 1, "a"), [1, 2, 3]);
    assert_eq!(sample_positions(3, 9, 1, "a"), [1]);
    assert!(sample_positions(2, 9, 1, "a").is_empty() && sample_positions(0, 9, 1, "a").is_empty());
}

/// Texts of the corpus as JSON lines, each cut to `chars` characters.
fn write_texts(file: &Path, chars: usize, order: impl Fn(&mut Vec<String>)) {
    let corpus = include_str!("../public/corpus/food.jsonl");
    let line = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let text: String = record["text"].as_str().unwrap().chars().take(chars).collect();
        json!({ "id": record["id"], "text": text }).to_string()
    };
    let mut lines: Vec<String> = corpus.lines().map(line).collect();
    order(&mut lines);
    std::fs::write(file, lines.join("\n")).unwrap();
}

fn arguments(data: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let model = path(workshop(), "model");
    let (data, out) = (data.display().to_string(), out.display().to_string());
    let fixed =
        ["eval", "pseudo-perplexity", "--model", &model, "--data", &data, "--out", &out, "--device", "cpu", "--json"];
    fixed.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

/// Runs the command; the report, and the samples.
fn evaluate(data: &Path, out: &Path, more: &[&str]) -> (Value, Vec<Value>) {
    let arguments = arguments(data, out, more);
    let stdout = succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let report: Value = serde_json::from_str(&stdout).unwrap();
    (report["reports"][0].clone(), samples(data, out))
}

fn cell(data: &Path, out: &Path) -> std::path::PathBuf {
    out.join("model").join(format!("pseudo-perplexity-{}", data.file_stem().unwrap().display()))
}

fn samples(data: &Path, out: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(cell(data, out).join("samples.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn by_name(mut samples: Vec<Value>) -> Vec<Value> {
    samples.sort_by_key(|sample| sample["doc_id"].as_str().unwrap().to_owned());
    samples
}

/// Losses may differ in their last bits where texts share a pass with others.
fn assert_same_scores(a: &[Value], b: &[Value]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!([&a["doc_id"], &a["positions"], &a["tokens"]], [&b["doc_id"], &b["positions"], &b["tokens"]]);
        let losses = |sample: &Value| -> Vec<f32> { serde_json::from_value(sample["nll"].clone()).unwrap() };
        assert_close("losses", &losses(a), &losses(b), 1e-5);
    }
}

#[test]
fn sampled_values_do_not_depend_on_the_order_of_texts() {
    let dir = tempfile::tempdir().unwrap();
    let (forth, back) = (dir.path().join("forth.jsonl"), dir.path().join("back.jsonl"));
    write_texts(&forth, 60, |_| ());
    write_texts(&back, 60, |lines| lines.reverse());
    let more = ["--id-column", "id", "--positions", "5"];
    let (report, first) = evaluate(&forth, dir.path(), &more);
    let (_, second) = evaluate(&back, dir.path(), &more);
    assert_same_scores(&by_name(first.clone()), &by_name(second));
    assert!(first.iter().all(|sample| sample["positions"].as_array().unwrap().len() == 5));
    let (_, other) = evaluate(&forth, &dir.path().join("other"), &[&more[..], &["--seed", "7"]].concat());
    assert!(first.iter().zip(&other).any(|(a, b)| a["positions"] != b["positions"]));
    let notes = report["notes"]["pseudo-perplexity-forth"].to_string();
    assert!(notes.contains("5 tokens a text were drawn without replacement"), "{notes}");
}

#[test]
fn as_many_positions_as_tokens_are_all_of_them_and_the_report_is_what_the_samples_say() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("texts.jsonl");
    write_texts(&data, 40, |_| ());
    let (exact, samples) = evaluate(&data, &dir.path().join("exact"), &["--exact", "--bins", "20,1000"]);
    let (many, sampled) = evaluate(&data, &dir.path().join("many"), &["--positions", "1000", "--bins", "20,1000"]);
    let task = "pseudo-perplexity-texts";
    assert_eq!(exact["results"][task], many["results"][task]);
    assert_eq!(samples, sampled);
    let mut losses = Vec::new();
    for sample in &samples {
        let tokens = sample["tokens"].as_u64().unwrap();
        assert_eq!(sample["positions"], json!((1..tokens - 1).collect::<Vec<_>>()));
        losses.extend(sample["nll"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()));
    }
    let characters: u64 = samples.iter().map(|sample| sample["characters"].as_u64().unwrap()).sum();
    let (total, values) = (losses.iter().sum::<f64>(), &exact["results"][task]);
    let near = |name: &str, expected: f64| {
        let value = values[format!("{name},none")].as_f64().unwrap_or(f64::NAN);
        assert_within(name, (value / expected - 1.0).abs(), 1e-12);
    };
    near("pseudo_perplexity", (total / losses.len() as f64).exp());
    near("pseudo_perplexity_per_char", (total / characters as f64).exp());
    near("bits_per_char", total / characters as f64 / std::f64::consts::LN_2);
    assert_eq!(exact["main_metric"][task], "pseudo_perplexity_per_char");
    let series = &exact["series"][task];
    for (name, field) in [("length", "tokens"), ("pseudo_perplexity", "pseudo_perplexity")] {
        let expected: Vec<f64> = samples.iter().map(|sample| sample[field].as_f64().unwrap()).collect();
        assert_eq!(series[name], json!(expected));
    }
    assert!(values["pseudo_perplexity_1000_ci95,none"].is_array(), "{values}");
    let empty_bin = evaluate(&data, &dir.path().join("empty"), &["--bins", "1000,2000", "--positions", "1"]).0;
    assert!(empty_bin["results"][task]["pseudo_perplexity_2000,none"].is_null());
    assert!(empty_bin["undefined"][task]["pseudo_perplexity_2000"].as_str().unwrap().contains("no examples"));
}

#[test]
fn an_interrupted_run_keeps_its_texts_and_ends_as_a_straight_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("texts.jsonl");
    write_texts(&data, 250, |_| ());
    let (straight, out) = (dir.path().join("straight"), dir.path().join("interrupted"));
    let (report, expected) = evaluate(&data, &straight, &["--exact"]);
    let partial = cell(&data, &out).join("partial.jsonl");
    let lines = || std::fs::read_to_string(&partial).unwrap_or_default().lines().count();
    for (signal, code) in [("INT", Some(75)), ("KILL", None)] {
        let before = lines();
        let mut child = Command::new(binary())
            .args(arguments(&data, &out, &["--exact"]))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(|| lines() >= before + 2 || child.try_wait().unwrap().is_some());
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{signal}: {}", text(&output.stderr));
        assert!(lines() > before);
    }
    let kept = lines() - 1;
    assert!(kept < expected.len(), "nothing was left to do");
    let (resumed, samples) = evaluate(&data, &out, &["--exact"]);
    assert_same_scores(&samples, &expected);
    let value =
        |report: &Value| report["results"]["pseudo-perplexity-texts"]["pseudo_perplexity,none"].as_f64().unwrap();
    assert_within("pseudo-perplexity", (value(&resumed) / value(&report) - 1.0).abs(), 1e-6);
    assert!(!partial.exists());
}

#[test]
fn texts_that_are_not_scored_are_counted_and_bad_data_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("texts.txt");
    std::fs::write(&data, "お茶\n\n\u{3000}\nりんごとみかんとぶどうとバナナを切って皿にのせて食べる。\n水\n茶\n")
        .unwrap();
    let (report, samples) = evaluate(&data, &dir.path().join("a"), &["--max-length", "8", "--per-bin", "2"]);
    let task = "pseudo-perplexity-texts";
    let notes = report["notes"][task].to_string();
    assert!(notes.contains("2 without text, 1 longer than 8 tokens, 1 beyond --per-bin"), "{notes}");
    assert_eq!(report["n-samples"][task], json!({ "original": 6, "effective": 2 }));
    let names: BTreeSet<_> = samples.iter().map(|sample| sample["doc_id"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["1", "5"]));
    let (_, cut) = evaluate(&data, &dir.path().join("b"), &["--max-length", "8", "--truncate"]);
    let longest = cut.iter().find(|sample| sample["doc_id"] == "4").unwrap();
    assert_eq!(longest["tokens"], 8);
    assert!(longest["characters"].as_u64().unwrap() < 20, "{longest}");
    let refused = |text: &str, more: &[&str]| {
        let file = dir.path().join("bad.jsonl");
        std::fs::write(&file, text).unwrap();
        let arguments = arguments(&file, &dir.path().join("c"), more);
        fail(3, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let twice = "{\"id\":\"a\",\"text\":\"水\"}\n{\"id\":\"a\",\"text\":\"茶\"}\n";
    let error = refused(twice, &["--id-column", "id"]);
    assert!(error.contains("bad.jsonl: line 2") && error.contains("the id `a` is that of line 1 too"), "{error}");
    assert!(refused("{\"text\":\"\"}\n", &[]).contains("no text can be scored: 1 without text"));
    let nowhere = path(dir.path(), "nowhere");
    std::fs::create_dir(&nowhere).unwrap();
    let model = path(workshop(), "model");
    let error = fail(2, &["eval", "pseudo-perplexity", "--model", &model, "--data", &nowhere, "--out", &nowhere]);
    assert!(error.contains("wiki_kyoto/eval.jsonl.gz"), "{error}");
}
