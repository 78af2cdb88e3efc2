//! `--precision`: what it changes, that results say it, and that numbers of one precision are never taken for another's.

use std::fs;
use std::path::Path;

use anaume_core::config::Precision;
use anaume_core::leaderboard::Leaderboard;
use anaume_core::report::eval::EvalReport;
use anaume_tests::fake::Fake;
use serde_json::{Value, json};

use crate::cli::{anaume, fail, path, succeed, text, workshop};

/// The report of an evaluation of the workshop's model in a folder, and what was said meanwhile.
fn evaluate(out: &str, task: &str, precision: &str) -> (Value, String) {
    let model = path(workshop(), "model");
    let arguments =
        ["eval", task, "--model", &model, "--out", out, "--device", "cpu", "--json", "--precision", precision];
    let output = anaume(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    (document["reports"][0].clone(), text(&output.stderr))
}

#[track_caller]
fn assert_near_and_not_equal(what: &str, single: f64, half: f64, tolerance: f64) {
    assert!(single != half, "{what}: the precision changes nothing");
    assert!((single - half).abs() <= tolerance, "{what}: {single} and {half}");
}

#[test]
fn results_of_two_precisions_lie_beside_each_other_and_the_leaderboard_tells_them_apart() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "results");
    let (single, _) = evaluate(&out, "fill-mask", "f32");
    let (half, said) = evaluate(&out, "fill-mask", "bf16");
    assert!(!said.contains("done before"), "{said}");
    assert_eq!((&single["precision"]["fill-mask"], &half["precision"]["fill-mask"]), (&json!("f32"), &json!("bf16")));
    assert_ne!(single["task_hashes"], half["task_hashes"]);
    let value = |report: &Value| report["results"]["fill-mask"]["joint_log_probability,none"].as_f64().unwrap();
    assert_near_and_not_equal("joint log-probability", value(&single), value(&half), 0.05);
    for (precision, expected) in [("f32", &single), ("bf16", &half)] {
        let (again, said) = evaluate(&out, "fill-mask", precision);
        assert!(said.contains("done before") && again == *expected, "{precision}: {said}");
    }
    let board: Leaderboard = serde_json::from_str(&succeed(&["leaderboard", &out, "--format", "json"])).unwrap();
    for precision in ["f32", "bf16"] {
        let id = format!("fill-mask (precision {precision})/top5_accuracy");
        assert!(board.columns.iter().any(|column| column.id == id), "no {id}");
    }
}

#[test]
fn vectors_of_one_precision_are_not_taken_for_those_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "results");
    let value = |report: &Value| report["results"]["similarity-built-in"]["positive_mean,none"].as_f64().unwrap();
    let (single, _) = evaluate(&out, "similarity", "f32");
    let (half, said) = evaluate(&out, "similarity", "bf16");
    assert!(said.contains("\n0 of 120 vectors from the cache"), "{said}");
    assert_near_and_not_equal("mean similarity", value(&single), value(&half), 1e-3);
    // Another protocol finds those of its own precision.
    let (_, said) = evaluate(&out, "alignment", "bf16");
    assert!(said.contains("120 of 120 vectors from the cache"), "{said}");
}

#[test]
fn models_that_computed_in_different_precisions_have_a_remark_and_older_results_are_in_f32() {
    let run = |model: &str, precision| Fake::new(model, "fill-mask").precision(precision).run();
    let board = |others| Leaderboard::build(&[run("a", Precision::F32), others]).unwrap();
    let different = board(run("b", Precision::BF16));
    assert!(different.notes.iter().any(|note| note.contains("a: precision f32; b: precision bf16")), "{different:?}");
    let mut older = run("b", Precision::F32);
    let mut document: Value = serde_json::from_str(&older.report.to_json()).unwrap();
    document.as_object_mut().unwrap().remove("precision").unwrap();
    older.report = EvalReport::from_json(&document.to_string()).unwrap();
    assert_eq!(older.report.precision("fill-mask"), Precision::F32);
    assert_eq!(board(older).notes, board(run("b", Precision::F32)).notes);
}

#[test]
fn filled_masks_and_vectors_are_computed_in_the_precision_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let model = path(workshop(), "model");
    let first = |precision: &str| -> (Value, f64) {
        let arguments = ["fill-mask", "--model", &model, "朝は[MASK]を飲む。", "--device", "cpu", "--json"];
        let printed = succeed(&[&arguments[..], &["--precision", precision]].concat());
        let document: Value = serde_json::from_str(&printed).unwrap();
        let probability = document["models"][0]["texts"][0]["masks"][0][0]["probability"].as_f64().unwrap();
        (document["precision"].clone(), probability)
    };
    let (single, half) = (first("f32"), first("bf16"));
    assert_eq!((single.0, half.0), (json!("f32"), json!("bf16")));
    assert_near_and_not_equal("probability", single.1, half.1, 1e-3);
    let (texts, out) = (path(dir.path(), "texts.txt"), path(dir.path(), "vectors.jsonl"));
    fs::write(&texts, "朝ご飯を食べる。\n").unwrap();
    let vector = |precision: &str| -> Vec<f64> {
        let files = ["--input", &texts, "--out", &out, "--normalize", "--device", "cpu", "--precision", precision];
        succeed(&[&["embed", "--model", &model][..], &files].concat());
        let line: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
        serde_json::from_value(line["embedding"].clone()).unwrap()
    };
    let (single, half) = (vector("f32"), vector("bf16"));
    let cosine: f64 = single.iter().zip(&half).map(|(a, b)| a * b).sum();
    assert!(single != half && cosine > 0.999, "{cosine}");
}

#[test]
fn fine_tuning_stays_in_f32() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String =
        (0..16).map(|i| format!("{{\"sentence\":\"文 {i}\",\"label\":{},\"uid\":{i}}}\n", i % 2)).collect();
    for name in ["in_domain_train-v1.0.json", "in_domain_valid-v1.0.json"] {
        fs::write(dir.path().join(name), &rows).unwrap();
    }
    let (model, data, out) = (path(workshop(), "model"), path(dir.path(), ""), path(dir.path(), "results"));
    let refused = ["finetune", "jcola", "--model", &model, "--data", &data, "--out", &out, "--precision", "bf16"];
    assert!(fail(2, &refused).contains("--precision"));
    let arguments = ["eval", "all", "--model", &model, "--data", &data, "--out", &out, "--device", "cpu", "--json"];
    let skip = ["--skip", "alignment,similarity,retrieval,pseudo-perplexity", "--with", "jglue --max-steps 1"];
    succeed(&[&arguments[..], &skip, &["--precision", "bf16", "--bootstrap", "20"]].concat());
    let precisions = |task: &str| -> Value {
        let place = Path::new(&out).join("model").join(task).join("results.json");
        serde_json::from_slice::<Value>(&fs::read(place).unwrap()).unwrap()["precision"].clone()
    };
    assert_eq!(precisions("fill-mask"), json!({"fill-mask": "bf16"}));
    assert_eq!(precisions("jcola/lr5e-5_ep3_seed0"), json!({"jcola": "f32"}));
}

#[test]
fn an_unknown_precision_is_a_usage_error() {
    let error = fail(2, &["fill-mask", "--model", "m", "--precision", "f8", "[MASK]"]);
    assert!(error.contains("expected f32, f16 or bf16"), "{error}");
}
