//! `anaume eval alignment` and `anaume eval similarity`: numbers, files, figures, messages.

use std::path::Path;

use anaume_tests::assert_within;
use serde_json::Value;

use crate::cli::{anaume, fail, path, run_pretrain, succeed, text, workshop};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn value(report: &Value, task: &str, metric: &str) -> f64 {
    let value = &report["results"][task][format!("{metric},none")];
    value.as_f64().unwrap_or_else(|| panic!("{metric} is {value}: {}", report["results"]))
}

/// Four pairs, and their texts in the order of the file.
fn four_pairs(dir: &Path) -> (String, Vec<String>) {
    let texts = [
        "お茶を飲む。",
        "緑茶を飲みます。",
        "魚を焼く。",
        "焼き魚を作る。",
        "米を炊く。",
        "ご飯を炊きます。",
        "味噌汁が好きだ。",
        "みそ汁を好む。",
    ];
    let lines: String =
        texts.chunks(2).map(|pair| format!("{{\"query\":\"{}\",\"positive\":\"{}\"}}\n", pair[0], pair[1])).collect();
    let file = path(dir, "four.jsonl");
    std::fs::write(&file, lines).unwrap();
    (file, texts.map(str::to_owned).into())
}

/// Vectors of length 1 that `anaume embed` gives.
fn embedded(dir: &Path, model: &str, texts: &[String]) -> Vec<Vec<f64>> {
    let (input, out) = (path(dir, "texts.txt"), path(dir, "vectors.jsonl"));
    std::fs::write(&input, texts.join("\n")).unwrap();
    succeed(&["embed", "--model", model, "--input", &input, "--out", &out, "--normalize", "--device", "cpu"]);
    let lines = std::fs::read_to_string(&out).unwrap();
    let vector =
        |line| serde_json::from_value(serde_json::from_str::<Value>(line).unwrap()["embedding"].clone()).unwrap();
    lines.lines().map(vector).collect()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[test]
fn alignment_and_uniformity_are_those_of_the_embedded_texts() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (path(workshop(), "model"), path(dir.path(), "results"));
    let (data, texts) = four_pairs(dir.path());
    succeed(&["eval", "alignment", "--device", "cpu", "--model", &model, "--data", &data, "--out", &out]);
    let report = json(&dir.path().join("results/model/alignment-four/results.json"));
    let vectors = embedded(dir.path(), &model, &texts);
    let distances: Vec<f64> = vectors.chunks(2).map(|pair| squared_distance(&pair[0], &pair[1])).collect();
    let alignment = distances.iter().sum::<f64>() / 4.0;
    assert_within("alignment", (value(&report, "alignment-four", "alignment") - alignment).abs(), 1e-5);
    let potential = |(i, a): (usize, &Vec<f64>)| {
        vectors[i + 1..].iter().map(|b| (-2.0 * squared_distance(a, b)).exp()).sum::<f64>()
    };
    let uniformity = (vectors.iter().enumerate().map(potential).sum::<f64>() / 28.0).ln();
    assert_within("uniformity", (value(&report, "alignment-four", "uniformity") - uniformity).abs(), 1e-5);
    let cosine = value(&report, "alignment-four", "positive_cosine");
    assert_within("cosine", (cosine - (1.0 - alignment / 2.0)).abs(), 1e-5);
    assert_eq!(report["higher_is_better"]["alignment-four"]["alignment"], false);
    assert!(report["notes"]["alignment-four"].to_string().contains("another pair"), "{}", report["notes"]);
}

#[test]
fn a_trajectory_evaluates_every_checkpoint_and_is_drawn_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (run, out) = (path(dir.path(), "run"), path(dir.path(), "results"));
    run_pretrain(Path::new(&run), &["--set", "train.max_steps=20"]);
    let arguments = ["eval", "alignment", "--device", "cpu", "--trajectory", &run, "--bootstrap", "20", "--out", &out];
    let first = anaume(&arguments);
    assert!(first.status.success(), "{}", text(&first.stderr));
    for step in ["10", "20"] {
        let report = json(&dir.path().join(format!("results/run_step-000000{step}/alignment-built-in/results.json")));
        assert_eq!(report["model"]["step"].to_string(), step);
    }
    for figure in ["alignment-built-in", "alignment-built-in-by-step", "models"] {
        for ending in ["svg", "png", "csv"] {
            assert!(dir.path().join(format!("results/figures/{figure}.{ending}")).exists(), "{figure}.{ending}");
        }
        assert!(text(&first.stderr).contains(&format!("figures/{figure}.png")), "{}", text(&first.stderr));
    }
    let svg = std::fs::read_to_string(dir.path().join("results/figures/alignment-built-in.svg")).unwrap();
    assert!(svg.contains("run 20"), "the last checkpoint bears the run's name");
    let again = anaume(&arguments);
    assert!(text(&again.stderr).matches("done before").count() == 2, "{}", text(&again.stderr));
    fail(2, &["eval", "alignment", "--trajectory", &path(dir.path(), "results"), "--out", &out]);
    assert!(fail(2, &["eval", "alignment", "--out", &out]).contains("--model"));
}

#[test]
fn similarity_keeps_both_distributions_and_their_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (path(workshop(), "model"), path(dir.path(), "results"));
    succeed(&["eval", "similarity", "--device", "cpu", "--model", &model, "--bootstrap", "20", "--out", &out]);
    let task = "similarity-built-in";
    let report = json(&dir.path().join(format!("results/model/{task}/results.json")));
    let series = &report["series"][task];
    let count = |name: &str| series[name].as_array().unwrap().len();
    assert_eq!(count("random_similarity"), count("positive_similarity"));
    assert!(
        (0.0..=1.0).contains(&value(&report, task, "overlap")) && (0.0..=1.0).contains(&value(&report, task, "auroc"))
    );
    assert!(value(&report, task, "random_q05") <= value(&report, task, "random_q95"));
    let samples = std::fs::read_to_string(dir.path().join(format!("results/model/{task}/samples.jsonl"))).unwrap();
    let sample: Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    assert_within(
        "sample",
        (sample["positive_cosine"].as_f64().unwrap() - series["positive_similarity"][0].as_f64().unwrap()).abs(),
        1e-12,
    );
    let csv = std::fs::read_to_string(dir.path().join(format!("results/figures/{task}.csv"))).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * count("random_similarity"));
}

#[test]
fn data_without_pairs_and_a_preset_without_articles_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out, data) = (path(workshop(), "model"), path(dir.path(), "results"), path(dir.path(), "."));
    let arguments = ["eval", "similarity", "--model", &model, "--out", &out, "--data", &data];
    assert!(fail(2, &arguments).contains("passage_pairs.jsonl"));
    let preset = [&arguments[..], &["--preset", "llm-jp-paper"]].concat();
    assert!(fail(2, &preset).contains("wiki_kyoto/eval.jsonl.gz"));
    std::fs::write(dir.path().join("passage_pairs.jsonl"), "{\"query\":\"甲\",\"positive\":\"乙\"}\n").unwrap();
    assert!(fail(3, &arguments).contains("1 positive pairs; at least 2"), "no random pair");
}
