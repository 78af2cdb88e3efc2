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
fn each_category_has_twelve_prompts_with_gold_answers_for_each_mask() {
    let prompts = benchmark("fill_mask.jsonl");
    assert_distinct_ids(&prompts);
    let categories =
        ["fact", "common-sense", "idiom", "reasoning", "context", "literature", "english", "two-masks", "open-ended"];
    for category in categories {
        assert_eq!(prompts.iter().filter(|prompt| text(prompt, "category") == category).count(), 12, "{category}");
    }
    assert_eq!(prompts.len(), 12 * categories.len());
    for prompt in &prompts {
        let gold = gold_answers(prompt);
        let num_masks = text(prompt, "text").matches("[MASK]").count();
        let (masks, lists) = match text(prompt, "category") {
            "two-masks" => (2, 2),
            "open-ended" => (1, 0),
            _ => (1, 1),
        };
        assert_eq!((num_masks, gold.len()), (masks, lists), "{prompt}");
        assert!(gold.iter().all(|list| !list.is_empty() && list.iter().all(|gold| !gold.is_empty())), "{prompt}");
    }
}

/// The gold answers of each mask; none of an open prompt.
fn gold_answers(prompt: &Value) -> Vec<Vec<String>> {
    let gold = prompt["gold"].clone();
    let is_flat = gold.as_array().unwrap().first().is_some_and(Value::is_string);
    serde_json::from_value(if is_flat { Value::Array(vec![gold]) } else { gold }).unwrap()
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
fn the_toy_set_has_seventeen_sentences_for_five_queries() {
    let toys = benchmark("toy_retrieval.jsonl");
    assert_distinct_ids(&toys);
    let counts: Vec<usize> = toys.iter().map(|toy| toy["relevant"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [3, 4, 3, 4, 3]);
    let sentences: BTreeSet<&str> = toy_sentences(&toys).collect();
    assert_eq!(sentences.len(), 17);
}

fn toy_sentences(toys: &[Value]) -> impl Iterator<Item = &str> {
    toys.iter().flat_map(|toy| toy["relevant"].as_array().unwrap()).map(|sentence| sentence.as_str().unwrap())
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
        .map(|prompt| {
            let fill = |text: String, gold: &Vec<String>| text.replacen("[MASK]", &gold[0], 1);
            gold_answers(prompt).iter().fold(text(prompt, "text").to_owned(), fill)
        })
        .collect::<Vec<_>>();
    let questions = benchmark("questions.jsonl");
    let pairs = benchmark("pairs.jsonl");
    let toys = benchmark("toy_retrieval.jsonl");
    let passages = questions.iter().map(|question| text(question, "passage"));
    let sentences = pairs.iter().flat_map(|pair| [text(pair, "sentence1"), text(pair, "sentence2")]);
    for text in passages.chain(sentences).chain(toy_sentences(&toys)).chain(filled.iter().map(String::as_str)) {
        let leaked = runs(text).into_iter().find(|run| seen.contains(run));
        assert!(leaked.is_none(), "{leaked:?} of the benchmark is in the corpus");
    }
}
