//! `anaume eval fill-mask`: prompts, gold answers, metrics, models side by side.

use std::path::Path;

use anaume_tests::assert_within;
use serde_json::{Value, json};

use crate::cli::{anaume, fail, path, succeed, text, workshop};

fn lines(file: &Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs the command on prompts, or on the built-in set where there are none; the report and the samples.
fn evaluate(dir: &Path, model: &str, prompts: Option<&[Value]>) -> (Value, Vec<Value>) {
    std::fs::create_dir_all(dir).unwrap();
    let (out, data) = (path(dir, "out"), path(dir, "prompts.jsonl"));
    let mut arguments = vec!["eval", "fill-mask", "--model", model, "--out", &out, "--device", "cpu", "--json"];
    if let Some(prompts) = prompts {
        std::fs::write(&data, prompts.iter().map(|prompt| format!("{prompt}\n")).collect::<String>()).unwrap();
        arguments.extend(["--data", &data]);
    }
    let report: Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    let name = Path::new(model).file_name().unwrap();
    (report["reports"][0].clone(), lines(&Path::new(&out).join(name).join("fill-mask/samples.jsonl")))
}

fn notes(report: &Value) -> String {
    report["notes"]["fill-mask"].to_string()
}

#[test]
fn the_built_in_prompts_are_all_answered_and_scored_by_category() {
    let dir = tempfile::tempdir().unwrap();
    let (report, samples) = evaluate(dir.path(), &path(workshop(), "model"), None);
    // 96 prompts have one mask, 12 have two; 12 are open.
    assert_eq!(samples.len(), 120);
    assert_eq!(report["n-samples"]["fill-mask"]["original"], 108);
    assert!(samples.iter().all(|sample| sample["answers"].as_array().unwrap().len() == 10));
    let values = &report["results"]["fill-mask"];
    for name in ["top1_accuracy", "top5_accuracy", "top10_accuracy", "mrr", "gold_probability", "top5_accuracy_idiom"] {
        let value = values[format!("{name},none")].as_f64().unwrap_or_else(|| panic!("no {name} in {values}"));
        assert!((0.0..=1.0).contains(&value), "{name}: {value}");
    }
    assert!(values["joint_log_probability,none"].as_f64().unwrap() < 0.0);
    assert!(values["mrr_ci95,none"].is_array());
    assert!(values.get("top5_accuracy_open-ended,none").is_none());
    let scored: Vec<f64> = samples.iter().filter_map(|sample| sample["rank"].as_f64()).collect();
    assert_eq!(report["n-samples"]["fill-mask"]["effective"], scored.len());
    let mrr = scored.iter().map(|rank| 1.0 / rank).sum::<f64>() / scored.len() as f64;
    assert_within("mrr", (values["mrr,none"].as_f64().unwrap() - mrr).abs(), 1e-12);
    assert!(notes(&report).contains("12 open masks") && notes(&report).contains("literature"), "{}", notes(&report));
}

#[test]
fn results_with_other_options_lie_beside_each_other_and_each_is_computed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (path(workshop(), "model"), path(dir.path(), "out"));
    let run = |more: &[&str]| {
        let arguments = ["eval", "fill-mask", "--model", &model, "--out", &out, "--device", "cpu", "--json"];
        let output = anaume(&[&arguments[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), text(&output.stderr).contains("done before"))
    };
    let folders = || {
        let found = std::fs::read_dir(Path::new(&out).join("model/fill-mask")).unwrap();
        found.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    let clean = run(&[]);
    let hf = run(&["--mask-convention", "hf"]);
    assert!(!clean.1 && !hf.1 && folders() == 1);
    assert_eq!((run(&[]), run(&["--mask-convention", "hf"])), ((clean.0.clone(), true), (hf.0, true)));
    // More resamples say the same more exactly: they replace.
    let finer = run(&["--bootstrap", "1500"]);
    assert!(!finer.1 && folders() == 1 && finer.0 != clean.0);
    assert!(!run(&[]).1, "the coarser one is gone");
}

#[test]
fn ranks_and_probabilities_are_those_of_the_fill_mask_command() {
    let dir = tempfile::tempdir().unwrap();
    let model = path(workshop(), "model");
    let sentence = "朝ご飯に[MASK]を食べて、[MASK]を飲む。";
    let answer: Value =
        serde_json::from_str(&succeed(&["fill-mask", "--model", &model, sentence, "--top-k", "40", "--json"])).unwrap();
    let candidates = answer["models"][0]["texts"][0]["masks"][1].as_array().unwrap();
    let spelled = |token: &Value| token["token"].as_str().unwrap().trim().to_owned();
    // A token that no other token spells alike, neither first nor last.
    let is_single = |index: &usize| {
        let token = spelled(&candidates[*index]);
        token.chars().all(char::is_alphabetic) && candidates.iter().filter(|other| spelled(other) == token).count() == 1
    };
    let index = (3..30).find(is_single).unwrap();
    let gold = spelled(&candidates[index]);
    let prompts = [json!({ "id": "a", "text": sentence, "gold": [[], [gold, "存在しない長い答え"]] })];
    let (report, samples) = evaluate(dir.path(), &model, Some(&prompts));
    let ids: Vec<_> = samples.iter().map(|sample| sample["doc_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a/1", "a/2"]);
    assert!(samples[0]["rank"].is_null());
    let sample = &samples[1];
    let twins = |rank: u64| rank <= index as u64 + 1;
    assert!(twins(sample["rank"].as_u64().unwrap()), "{sample}");
    assert!(sample["probability"].as_f64().unwrap() >= candidates[index]["probability"].as_f64().unwrap() * 0.99999);
    for (answer, candidate) in sample["answers"].as_array().unwrap().iter().zip(candidates) {
        assert_eq!([&answer["token"], &answer["probability"]], [&candidate["token"], &candidate["probability"]]);
    }
    assert_eq!(report["n-samples"]["fill-mask"], json!({ "original": 1, "effective": 1 }));
}

#[test]
fn a_prompt_is_scored_alike_whatever_is_answered_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let model = path(workshop(), "model");
    let prompts = [
        json!({ "id": "two", "text": "朝ご飯に[MASK]を食べて、[MASK]を飲む。", "gold": [["パン", "ご飯"], ["水"]] }),
        json!({ "id": "open", "text": "今日は[MASK]だ。" }),
        json!({ "id": "one", "text": "毎朝[MASK]を飲む。", "gold": ["お茶", "水"] }),
    ];
    let (_, together) = evaluate(&dir.path().join("together"), &model, Some(&prompts));
    let alone = (0..3).flat_map(|i| evaluate(&dir.path().join(format!("{i}")), &model, Some(&prompts[i..=i])).1);
    let alone: Vec<Value> = alone.collect();
    assert_eq!((together.len(), alone.len()), (4, 4));
    for (together, alone) in together.iter().zip(&alone) {
        assert_eq!((&together["doc_id"], &together["rank"]), (&alone["doc_id"], &alone["rank"]));
        for name in ["log_probability", "joint_log_probability"] {
            let [together, alone] = [together, alone].map(|sample| sample[name].as_f64());
            assert_eq!(together.is_some(), alone.is_some(), "{name}");
            assert_within(name, (together.unwrap_or(0.0) - alone.unwrap_or(0.0)).abs(), 1e-4);
        }
    }
}

#[test]
fn a_gold_answer_outside_the_vocabulary_is_left_out_and_named_yet_has_a_joint_probability() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = [
        json!({ "id": "known", "category": "a", "text": "毎朝[MASK]を飲む。", "gold": ["水"] }),
        json!({ "id": "unknown", "category": "b", "text": "毎朝[MASK]を飲む。", "gold": ["鸛の特製飲料"] }),
    ];
    let (report, samples) = evaluate(dir.path(), &path(workshop(), "model"), Some(&prompts));
    assert_eq!(report["n-samples"]["fill-mask"], json!({ "original": 2, "effective": 1 }));
    let notes = notes(&report);
    assert!(
        notes.contains("1 masks are not scored, no gold answer is one token of the vocabulary: unknown"),
        "{notes}"
    );
    assert!(samples[1]["rank"].is_null() && samples[1]["joint_log_probability"].as_f64().unwrap() < 0.0);
    // One piece, one mask: the joint probability is that of the token.
    let [joint, single] = ["joint_log_probability", "log_probability"].map(|name| samples[0][name].as_f64().unwrap());
    assert!(joint <= single + 1e-9 && joint > single - 20.0, "{joint} {single}");
    let undefined = report["undefined"]["fill-mask"]["top5_accuracy_b"].as_str().unwrap();
    assert!(undefined.contains("no examples"), "{undefined}");
}

#[test]
fn a_mask_beyond_what_the_model_takes_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("short");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(workshop().join("model").join(name), model.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["max_position_embeddings"] = json!(32);
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    let long = "お茶を飲みながら話をした。".repeat(20);
    let prompts = [
        json!({ "id": "after", "text": format!("毎朝[MASK]を飲む。{long}"), "gold": ["水"] }),
        json!({ "id": "before", "text": format!("{long}毎朝[MASK]を飲む。"), "gold": ["水"] }),
    ];
    let (report, samples) = evaluate(dir.path(), &model.display().to_string(), Some(&prompts));
    let notes = notes(&report);
    assert!(notes.contains("1 masks are not scored, they lie beyond what the model takes: before"), "{notes}");
    assert!(samples[0]["rank"].is_u64() && samples[1]["rank"].is_null(), "{samples:?}");
}

#[test]
fn what_is_no_prompt_is_named_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out, model) = (path(dir.path(), "bad.jsonl"), path(dir.path(), "out"), path(workshop(), "model"));
    let good = r#"{"id":"a","text":"[MASK]だ","gold":["猫"]}"#;
    for (line, expected) in [
        (r#"{"id":"b","text":"猫だ","gold":["猫"]}"#, "no mask"),
        (r#"{"id":"b","text":"[MASK]だ","gold":"猫"}"#, "`gold` is not a list of texts"),
        (r#"{"id":"b","text":"[MASK]と[MASK]","gold":[["猫"]]}"#, "`gold` has 1 lists and the text 2 masks"),
        (r#"{"id":"b","gold":["猫"]}"#, "missing field `text`"),
        (good, "the id `a` is that of line 1 too"),
    ] {
        std::fs::write(&file, format!("{good}\n{line}\n")).unwrap();
        let error = fail(3, &["eval", "fill-mask", "--model", &model, "--data", &file, "--out", &out]);
        assert!(error.contains("bad.jsonl: line 2") && error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn models_stand_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let other = path(dir.path(), "other");
    let tokenizer = path(workshop(), "tokenizer");
    succeed(&["model", "init", "--preset", "tiny", "--tokenizer", &tokenizer, "--seed", "9", "--out", &other]);
    let (model, out) = (path(workshop(), "model"), path(dir.path(), "out"));
    let output = anaume(&["eval", "fill-mask", "--model", &model, "--model", &other, "--out", &out, "--device", "cpu"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let head = stdout.lines().find(|line| line.trim_start().starts_with("gold ")).unwrap();
    assert!(head.contains("model") && head.contains("other"), "{head}");
    let first = stdout.lines().find(|line| line.starts_with("fact-01")).unwrap();
    assert!(first.contains("日本の首都は[MASK]です。") && first.contains("東京"), "{first}");
    assert!(stdout.contains("masks that every model can answer in one token:"));
}
