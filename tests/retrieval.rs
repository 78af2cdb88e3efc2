//! Retrieval: BM25 and top-k against plain computations, and `anaume eval retrieval` on a small corpus in MIRACL's format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anaume_core::retrieval::{Bm25, PassageIndex, TopK, bigrams, shared_ranges};
use anaume_tests::{assert_within, golden, golden_dir};
use proptest::prelude::*;
use serde_json::Value;

use crate::cli::{anaume, fail, path, succeed, text, workshop};

fn expected() -> Value {
    serde_json::from_slice(&golden("retrieval/golden.json")).unwrap()
}

#[test]
fn terms_are_pairs_of_letters_in_nfkc_and_lower_case() {
    for (text, terms) in expected()["terms"].as_object().unwrap() {
        let found: Vec<String> =
            bigrams(text).iter().map(|term| term.iter().filter(|c| **c != '\0').collect()).collect();
        assert_eq!(&Value::from(found), terms, "{text}");
    }
}

/// BM25 as its formula stands: every passage, every term of the query, no index.
fn plain_bm25(passages: &[String], query: &str) -> Vec<(usize, f64)> {
    let terms: Vec<_> = passages.iter().map(|passage| bigrams(passage)).collect();
    let mean = terms.iter().map(Vec::len).sum::<usize>() as f64 / passages.len() as f64;
    let weight = |term: &[char; 2], passage: &Vec<[char; 2]>| {
        let with_term = terms.iter().filter(|terms| terms.contains(term)).count() as f64;
        let idf = (1.0 + (passages.len() as f64 - with_term + 0.5) / (with_term + 0.5)).ln();
        let f = passage.iter().filter(|other| *other == term).count() as f64;
        idf * f / (f + 0.9 * (1.0 - 0.4 + 0.4 * passage.len() as f64 / mean))
    };
    let score = |passage: &Vec<[char; 2]>| bigrams(query).iter().map(|term| weight(term, passage)).sum::<f64>();
    terms.iter().map(score).enumerate().filter(|(_, score)| *score > 0.0).collect()
}

fn words() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(vec!['猫', '犬', 'と', '。', ' ', 'ア']), 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn bm25_equals_its_formula(passages in proptest::collection::vec(words(), 1..20), query in words()) {
        let found: BTreeMap<usize, f32> = Bm25::new(&passages).search(&query, usize::MAX / 2).into_iter().collect();
        let plain = plain_bm25(&passages, &query);
        prop_assert_eq!(found.len(), plain.len());
        for (passage, score) in plain {
            prop_assert!((f64::from(found[&passage]) - score).abs() <= 1e-6 * score, "{} {}", found[&passage], score);
        }
    }

    #[test]
    fn blocks_of_any_size_in_any_order_give_what_sorting_all_gives(
        scores in proptest::collection::vec(proptest::sample::select(vec![-1.0f32, -0.0, 0.0, 0.5, 2.0]), 1..200),
        k in 0usize..20,
        step in 1usize..50,
        from_the_end in any::<bool>(),
    ) {
        // Few values, so that most are tied, as -0 and 0 are.
        let mut blocks: Vec<(usize, &[f32])> = (0..).step_by(step).zip(scores.chunks(step)).collect();
        if from_the_end {
            blocks.reverse();
        }
        let mut best = TopK::new(1, k);
        for (first, block) in blocks {
            best.add(first, block).unwrap();
        }
        let mut all: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        all.truncate(k);
        prop_assert_eq!(best.finish(), vec![all]);
    }
}

#[test]
fn top_k_keeps_the_rows_of_queries_apart_and_refuses_what_it_cannot_rank() {
    let mut best = TopK::new(2, 1);
    best.add(0, &[1.0, 2.0, 5.0, 4.0]).unwrap();
    assert_eq!(best.clone().finish(), [[(1, 2.0)], [(0, 5.0)]]);
    assert!(best.add(2, &[1.0, 2.0, 3.0]).unwrap_err().to_string().contains("rows for 2 queries"));
    let error = best.add(2, &[1.0, f32::NAN]).unwrap_err().to_string();
    assert!(error.contains("query 1 and passage 2"), "{error}");
}

fn index() -> PassageIndex {
    let passages = ["桜が咲く。", "京都の寺", "海と山"].map(str::to_owned).to_vec();
    PassageIndex::new("model".into(), passages, &[vec![3.0, 4.0], vec![0.0, 2.0], vec![-1.0, 0.0]]).unwrap()
}

#[test]
fn an_index_finds_by_cosine_and_by_words_and_its_file_gives_it_back() {
    let index = index();
    for index in [PassageIndex::from_bytes(&index.to_bytes().unwrap()).unwrap(), index] {
        let found = index.by_meaning(&[10.0, 0.0], 2).unwrap();
        assert_eq!(found.iter().map(|(passage, _)| *passage).collect::<Vec<_>>(), [0, 1]);
        assert_within("cosine", f64::from((found[0].1 - 0.6).abs().max(found[1].1.abs())), 1e-6);
        assert_eq!(index.by_words("京都", 5).iter().map(|(passage, _)| *passage).collect::<Vec<_>>(), [1]);
        assert_eq!((index.model.as_str(), index.width(), index.passages.len()), ("model", 2, 3));
    }
}

#[test]
fn an_index_that_cannot_be_is_refused() {
    let error = |result: anaume_core::Result<PassageIndex>| result.unwrap_err().to_string();
    let texts = |n: usize| vec!["a".to_owned(); n];
    assert!(error(PassageIndex::new(String::new(), texts(2), &[vec![1.0]])).contains("1 vectors"));
    assert!(error(PassageIndex::new(String::new(), texts(2), &[vec![1.0], vec![1.0, 2.0]])).contains("do not fit"));
    assert!(error(PassageIndex::new(String::new(), texts(1), &[vec![0.0]])).contains("vector 0 has the length 0"));
    assert!(error(PassageIndex::new(String::new(), texts(1), &[vec![f32::NAN]])).contains("NaN"));
    assert!(index().by_meaning(&[1.0], 1).is_err());
    let file = index().to_bytes().unwrap();
    for length in [0, 7, 8, 100, file.len() - 1] {
        assert!(PassageIndex::from_bytes(&file[..length]).is_err(), "{length} bytes");
    }
    let version = br#"anaume_index":"1"#;
    let at = file.windows(version.len()).position(|bytes| bytes == version).unwrap();
    let mut newer = file;
    newer[at + version.len() - 1] = b'2';
    assert!(error(PassageIndex::from_bytes(&newer)).contains("format version 2"));
}

#[test]
fn what_a_text_shares_with_a_query_is_marked_where_it_stands() {
    let marked = |query: &str, text: &str| {
        shared_ranges(query, text).into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(marked("京都の寺はどこ", "古い京都の寺、京都"), ["京都の寺", "京都"]);
    assert_eq!(marked("ＡＢＣ", "xabcx"), ["abc"], "full-width letters are the same");
    assert_eq!(marked("キロ", "5㌔の道"), ["㌔"], "one character that stands for two");
    assert!(marked("海", "海と山").is_empty() && marked("", "海").is_empty() && marked("海山", "海、山").is_empty());
}

#[test]
fn a_passage_without_a_term_of_the_query_is_not_found() {
    let index = Bm25::new(["猫と犬", "", "山"]);
    assert_eq!(index.search("川", 10), []);
    assert_eq!(index.search("", 10), []);
    assert_eq!(Bm25::new(Vec::<String>::new()).search("猫", 10), []);
    assert_eq!(index.search("山", 10).iter().map(|(passage, _)| *passage).collect::<Vec<_>>(), [2]);
}

/// A copy of the small MIRACL corpus, to be damaged.
fn miracl(room: &Path) -> PathBuf {
    let copy = room.join("miracl");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(golden_dir().join("retrieval/miracl")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn arguments<'a>(data: &'a str, model: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["eval", "retrieval", "--device", "cpu", "--model", model, "--data", data, "--out", out];
    fixed.iter().chain(more).copied().collect()
}

/// Runs of a file in trec_eval's format: query, docnos with scores in order.
fn read_run(path: &Path) -> BTreeMap<String, Vec<(String, f32)>> {
    let mut runs: BTreeMap<String, Vec<(String, f32)>> = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let run = runs.entry(fields[0].into()).or_default();
        run.push((fields[2].into(), fields[4].parse().unwrap()));
        assert_eq!((fields.len(), fields[1], fields[3]), (6, "Q0", run.len().to_string().as_str()), "{line}");
    }
    runs
}

fn read_qrels(path: &Path) -> BTreeMap<String, BTreeMap<String, i32>> {
    let mut qrels: BTreeMap<String, BTreeMap<String, i32>> = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        qrels.entry(fields[0].into()).or_default().insert(fields[2].into(), fields[3].parse().unwrap());
    }
    qrels
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// nDCG@10 of a run with judgements of 0 and 1, written out.
fn ndcg_at_10(run: &[(String, f32)], judgements: &BTreeMap<String, i32>) -> f64 {
    let discount = |index: usize| 1.0 / ((index + 2) as f64).log2();
    let relevant = |docno: &String| judgements.get(docno).is_some_and(|level| *level > 0);
    let gain: f64 = (0..run.len().min(10)).filter(|i| relevant(&run[*i].0)).map(discount).sum();
    let ideal: f64 = (0..judgements.values().filter(|level| **level > 0).count().min(10)).map(discount).sum();
    if ideal == 0.0 { 0.0 } else { gain / ideal }
}

#[test]
fn miracl_is_judged_as_trec_eval_judges_it_and_a_second_run_computes_no_vector() {
    let room = tempfile::tempdir().unwrap();
    let [data, model, out] =
        [path(&golden_dir(), "retrieval/miracl"), path(workshop(), "model"), path(room.path(), "out")];
    let asked = arguments(&data, &model, &out, &["--task", "miracl"]);
    let first = anaume(&asked);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("0 of 158 vectors from the cache"), "{}", text(&first.stderr));
    let cell = room.path().join("out/model/retrieval-miracl-ja-dev");
    let (expected, found) = (expected(), report(&cell.join("results.json")));
    let task = "retrieval-miracl-ja-dev";
    assert_eq!(found["n-samples"][task], serde_json::json!({ "original": 19, "effective": 18 }));
    for (name, judge) in [("ndcg@10", "ndcg_cut_10"), ("recall@100", "recall_100")] {
        let bm25 = found["baselines"][task]["bm25"][name].as_f64().unwrap();
        assert_within(name, (bm25 - expected["means"][judge].as_f64().unwrap()).abs(), 1e-9);
    }
    let bm25 = read_run(&cell.join("bm25.trec"));
    for (query, run) in expected["runs"].as_object().unwrap() {
        let run: Vec<(String, f32)> = serde_json::from_value(run.clone()).unwrap();
        assert_eq!(bm25.get(query).cloned().unwrap_or_default(), run, "query {query}");
    }
    let (runs, qrels) = (read_run(&cell.join("run.trec")), read_qrels(&cell.join("qrels.trec")));
    assert_eq!(qrels.keys().collect::<Vec<_>>(), expected["metrics"].as_object().unwrap().keys().collect::<Vec<_>>());
    let mean = qrels.iter().map(|(query, qrels)| ndcg_at_10(&runs[query], qrels)).sum::<f64>() / qrels.len() as f64;
    assert_within("nDCG@10", (found["results"][task]["ndcg@10,none"].as_f64().unwrap() - mean).abs(), 1e-9);
    for run in runs.values() {
        assert_eq!(run.len(), 100);
        let ordered = run.is_sorted_by(|a, b| a.1 > b.1 || a.1 == b.1 && a.0 > b.0);
        assert!(ordered, "{run:?}");
    }
    let results =
        |cell: &Path| ["run.trec", "bm25.trec", "samples.jsonl"].map(|name| fs::read(cell.join(name)).unwrap());
    let before = results(&cell);
    let again = anaume(&[asked.as_slice(), &["--again"]].concat());
    assert!(text(&again.stderr).contains("158 of 158 vectors from the cache"), "{}", text(&again.stderr));
    assert!(before == results(&cell), "the second run differs");

    // A file that was torn off within its last record.
    let cache = fs::read_dir(room.path().join("out/cache/embeddings")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&cache).unwrap();
    fs::write(&cache, &bytes[..bytes.len() - 10]).unwrap();
    let again = anaume(&[asked.as_slice(), &["--again"]].concat());
    assert!(text(&again.stderr).contains("157 of 158 vectors from the cache"), "{}", text(&again.stderr));
    assert_eq!(fs::metadata(&cache).unwrap().len(), bytes.len() as u64);
    assert_eq!(read_run(&cell.join("bm25.trec")), bm25);
}

/// What `anaume eval retrieval --task miracl` says of a corpus that `damage` has changed.
fn miracl_error(damage: impl FnOnce(&Path)) -> String {
    let room = tempfile::tempdir().unwrap();
    let data = miracl(room.path());
    damage(&data);
    let [data, model, out] = [path(&data, ""), path(workshop(), "model"), path(room.path(), "out")];
    fail(3, &arguments(&data, &model, &out, &["--task", "miracl"]))
}

fn append(path: PathBuf, line: &str) {
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}{line}\n")).unwrap();
}

#[test]
fn what_is_wrong_with_a_corpus_is_named_with_file_and_line() {
    let qrels = "qrels.miracl-v1.0-ja-dev.tsv";
    let error =
        miracl_error(|data| append(data.join("docs-0.jsonl"), r#"{"docid":"1000#0","title":"","text":"二度"}"#));
    assert!(error.contains("docs-0.jsonl: line 76: the docid 1000#0 occurs twice"), "{error}");
    let error = miracl_error(|data| append(data.join("docs-0.jsonl"), r#"{"docid":"a b","title":"","text":"空白"}"#));
    assert!(error.contains("docs-0.jsonl: line ") && error.contains("「a b」"), "{error}");
    let error = miracl_error(|data| append(data.join("docs-0.jsonl"), r#"{"docid":"9","title":"#));
    assert!(error.contains("docs-0.jsonl: line ") && error.contains("EOF"), "{error}");
    let error = miracl_error(|data| append(data.join(qrels), "0\tQ0\tabsent#7\t1"));
    assert!(error.contains("1 judgements are of passages that are not in the corpus, first absent#7"), "{error}");
    let error = miracl_error(|data| append(data.join(qrels), "77\tQ0\t1000#0\t1"));
    assert!(error.contains(qrels) && error.contains("the query 77 is not in"), "{error}");
    let error = miracl_error(|data| append(data.join(qrels), "0\tQ0\t1000#0\tvery"));
    assert!(error.contains("relevance very is not a whole number"), "{error}");
    let error = miracl_error(|data| append(data.join("topics.miracl-v1.0-ja-dev.tsv"), "0\t二度目"));
    assert!(error.contains("line 20: the query 0 occurs twice"), "{error}");
}

#[test]
fn a_task_without_its_passages_is_said_to_be_absent() {
    let room = tempfile::tempdir().unwrap();
    let folder = miracl(room.path());
    for file in ["docs-0.jsonl", "docs-1.jsonl.gz"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let [data, model, out] = [path(room.path(), ""), path(workshop(), "model"), path(room.path(), "out")];
    let error = fail(2, &arguments(&data, &model, &out, &["--task", "miracl"]));
    assert!(error.contains("topics.miracl-v1.0-ja-dev.tsv has no passages beside it"), "{error}");
    // Without --task what is there is evaluated: the toy set.
    let output = anaume(&arguments(&data, &model, &out, &[]));
    assert!(output.status.success() && text(&output.stderr).contains("has no passages"), "{}", text(&output.stderr));
    assert!(room.path().join("out/model/retrieval-toy/results.json").exists());
}

#[test]
fn equal_passages_are_one_and_a_cut_off_beyond_the_passages_is_undefined() {
    let room = tempfile::tempdir().unwrap();
    let pairs = room.path().join("animals.jsonl");
    let lines = [("白い猫の絵", "猫の話"), ("猫の本", "猫の話"), ("犬の家", "犬の話"), ("馬の耳", "馬の話")];
    let lines = lines.map(|(query, positive)| serde_json::json!({ "query": query, "positive": positive }).to_string());
    fs::write(&pairs, lines.join("\n")).unwrap();
    let [data, model, out] = [path(&pairs, ""), path(workshop(), "model"), path(room.path(), "out")];
    let data = data.trim_end_matches('/');
    succeed(&arguments(
        data,
        &model,
        &out,
        &["-k", "1,3,10", "--limit", "3", "--query-prefix", "クエリ: ", "--layer", "1"],
    ));
    let cell = room.path().join("out/model/retrieval-pairs-animals");
    let (found, task) = (report(&cell.join("results.json")), "retrieval-pairs-animals");
    assert_eq!(found["n-samples"][task], serde_json::json!({ "original": 4, "effective": 3 }));
    assert_eq!(found["results"][task]["recall@10,none"], Value::Null);
    assert_eq!(found["undefined"][task]["recall@10"], "there are 2 passages, fewer than 10");
    assert_eq!(found["baselines"][task]["bm25"]["recall@1"], 1.0);
    let notes = found["notes"][task].to_string();
    assert!(
        notes.contains("1 passages have the text of an earlier one") && notes.contains("not the MIRACL task"),
        "{notes}"
    );
    let docnos: BTreeSet<String> =
        read_run(&cell.join("run.trec")).into_values().flatten().map(|(docno, _)| docno).collect();
    assert_eq!(docnos.len(), 2);
    let error = fail(3, &arguments(data, &model, &out, &["--layer", "99"]));
    assert!(error.contains("layer 99 is asked for; the model has layers 0 to"), "{error}");
}

#[test]
fn questions_in_the_forms_of_jaquad_and_jsquad_find_their_passages() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("jaquad");
    fs::create_dir(&folder).unwrap();
    let write = |name: &str, lines: &[&str]| fs::write(folder.join(name), lines.join("\n")).unwrap();
    let contexts = [
        r#"{"id":"c1","split":"dev","text":"富士山は高い。"}"#,
        r#"{"id":"c2","split":"dev","text":"琵琶湖は広い。"}"#,
        r#"{"id":"c3","split":"train","text":"信濃川は長い。"}"#,
    ];
    write("contexts.jsonl", &contexts);
    let questions = [
        r#"{"id":"q1","split":"dev","context_id":"c2","question":"広い湖は琵琶湖ですか。"}"#,
        r#"{"id":"q2","split":"train","context_id":"c3","question":"長い川は。"}"#,
    ];
    write("questions.jsonl", &questions);
    let squad = serde_json::json!({ "data": [{ "title": "湖", "paragraphs": [
        { "context": "湖 [SEP] 琵琶湖は広い。", "qas": [{ "id": "a1", "question": "広い湖は？" }] },
        { "context": "山 [SEP] 富士山は高い。", "qas": [{ "id": "a2", "question": "高い山は？" }] } ]}]});
    write("jsquad-valid-v1.3.json", &[&squad.to_string()]);
    let [data, model, out] = [path(room.path(), "jaquad"), path(workshop(), "model"), path(room.path(), "out")];
    succeed(&arguments(&data, &model, &out, &["--task", "questions", "-k", "1,2", "--pooling", "cls"]));
    for (name, queries, passages) in [("jaquad", 1, 2), ("jsquad", 2, 2)] {
        let task = format!("retrieval-questions-{name}");
        let cell = room.path().join("out/model").join(&task);
        let found = report(&cell.join("results.json"));
        assert_eq!(found["n-samples"][&task]["effective"], queries, "{name}");
        assert_eq!(found["baselines"][&task]["bm25"]["recall@1"], 1.0, "{name}");
        let runs = read_run(&cell.join("run.trec"));
        assert!(runs.len() == queries && runs.values().all(|run| run.len() == passages), "{runs:?}");
    }
    write("questions.jsonl", &[r#"{"id":"q1","context_id":"c9","question":"どこ。"}"#]);
    let error = fail(3, &arguments(&data, &model, &out, &["--task", "questions"]));
    assert!(error.contains("questions.jsonl: line 1: the context c9 is not in"), "{error}");
}
