//! The built-in corpus and benchmark: what quickstart and the demos rely on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn public(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../public").join(name)
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn benchmark(name: &str) -> Vec<Value> {
    records(&public("benchmark").join(name))
}

fn corpus() -> Vec<Value> {
    let files = fs::read_dir(public("corpus")).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|path| records(&path)).collect()
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_else(|| panic!("{record}: no text `{field}`"))
}

fn assert_distinct_ids(records: &[Value]) {
    let ids: BTreeSet<_> = records.iter().map(|record| text(record, "id")).collect();
    assert_eq!(ids.len(), records.len(), "an id occurs twice");
}

#[test]
fn the_corpus_holds_250_kilobytes_of_text_in_distinct_documents() {
    let documents = corpus();
    assert_distinct_ids(&documents);
    let texts: BTreeSet<_> = documents.iter().map(|document| text(document, "text")).collect();
    assert_eq!(texts.len(), documents.len());
    assert!(texts.iter().map(|text| text.len()).sum::<usize>() >= 250_000);
}

#[test]
fn each_category_has_twelve_prompts_of_one_mask_with_gold_answers() {
    let prompts = benchmark("fill_mask.jsonl");
    assert_distinct_ids(&prompts);
    for category in ["fact", "common-sense", "idiom", "reasoning", "context"] {
        assert_eq!(prompts.iter().filter(|prompt| text(prompt, "category") == category).count(), 12, "{category}");
    }
    for prompt in &prompts {
        assert_eq!(text(prompt, "text").matches("[MASK]").count(), 1, "{prompt}");
        let gold = prompt["gold"].as_array().unwrap();
        assert!(!gold.is_empty() && gold.iter().all(|gold| !gold.as_str().unwrap().is_empty()), "{prompt}");
    }
}

#[test]
fn each_question_is_answered_by_its_passage() {
    let questions = benchmark("questions.jsonl");
    assert_distinct_ids(&questions);
    assert_eq!(questions.len(), 40);
    for question in &questions {
        assert!(text(question, "passage").contains(text(question, "answer")), "{question}");
        assert!(text(question, "question").ends_with(['。', '？']), "{question}");
    }
}

#[test]
fn each_pair_has_a_similarity_and_an_inference_label() {
    let pairs = benchmark("pairs.jsonl");
    assert_distinct_ids(&pairs);
    assert_eq!(pairs.len(), 60);
    for pair in &pairs {
        assert!(text(pair, "sentence1") != text(pair, "sentence2"), "{pair}");
        assert!((0.0..=5.0).contains(&pair["similarity"].as_f64().unwrap()), "{pair}");
        assert!(["entailment", "contradiction", "neutral"].contains(&text(pair, "label")), "{pair}");
    }
}

#[test]
fn no_twenty_characters_of_the_benchmark_stand_in_the_corpus() {
    const RUN: usize = 20;
    let documents = corpus();
    let runs = |text: &str| -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.windows(RUN).map(|run| run.iter().collect()).collect()
    };
    let seen: BTreeSet<String> = documents.iter().flat_map(|document| runs(text(document, "text"))).collect();
    let filled = benchmark("fill_mask.jsonl")
        .iter()
        .map(|prompt| text(prompt, "text").replace("[MASK]", prompt["gold"][0].as_str().unwrap()))
        .collect::<Vec<_>>();
    let questions = benchmark("questions.jsonl");
    let pairs = benchmark("pairs.jsonl");
    let passages = questions.iter().map(|question| text(question, "passage"));
    let sentences = pairs.iter().flat_map(|pair| [text(pair, "sentence1"), text(pair, "sentence2")]);
    for text in passages.chain(sentences).chain(filled.iter().map(String::as_str)) {
        let leaked = runs(text).into_iter().find(|run| seen.contains(run));
        assert!(leaked.is_none(), "{leaked:?} of the benchmark is in the corpus");
    }
}
