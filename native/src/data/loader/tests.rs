//! The order of batches, resuming, threads, and what is in a batch.

use super::super::dataset::{Dataset, TEST, TRAIN};
use super::super::prepare::{PrepareOptions, prepare};
use super::*;
use std::path::Path;
use std::time::{Duration, Instant};

const FRAME: FrameIds = FrameIds { cls: 1, sep: 2 };
const VOCAB: u32 = 1_000_000;

/// A number is a token of that id.
fn tokenize() -> Tokenize {
    Arc::new(|text, part| text[part].split_whitespace().map(|word| word.parse().context("not a number")).collect())
}

fn config(probability: f64) -> LoaderConfig {
    let masking = MaskingConfig::new(probability, 3, VOCAB);
    let config = LoaderConfig::new(11, 24, masking, FRAME, vec![1, 2, 3]);
    LoaderConfig { row_length: 32, shards_per_window: 2, block_bytes: 700, ..config }
}

/// The tokens of whole texts, sorted.
fn tokens_of<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<u32> {
    let mut tokens: Vec<u32> = texts.into_iter().flat_map(|text| tokenize()(text, 0..text.len()).unwrap()).collect();
    tokens.sort_unstable();
    tokens
}

/// Documents of 1 to 60 tokens; no token id occurs twice in the dataset.
fn texts(num_documents: usize) -> Vec<String> {
    let document = |i: usize| {
        let tokens = (0..1 + (i * 37) % 60).map(|j| (100 + i * 100 + j).to_string());
        tokens.collect::<Vec<_>>().join(" ")
    };
    (0..num_documents).map(document).collect()
}

fn dataset(dir: &Path, texts: &[String], shard_bytes: u64) -> Dataset {
    let path = dir.join("in.txt");
    std::fs::write(&path, texts.join("\n")).unwrap();
    let options = PrepareOptions { shard_bytes, ..PrepareOptions::default() };
    prepare(&[path], &dir.join("out"), &options, true).unwrap();
    Dataset::open(&dir.join("out")).unwrap()
}

fn loader(dataset: &Dataset, config: LoaderConfig, cursor: Cursor, num_threads: usize) -> Loader {
    Loader::new(dataset.split(TRAIN).unwrap(), config, tokenize(), cursor, num_threads).unwrap()
}

fn original_tokens(batch: &Batch) -> Vec<u32> {
    let mut tokens = batch.sequences.ids.clone();
    batch.masked.iter().zip(&batch.labels).for_each(|(&token, &label)| tokens[token] = label);
    tokens.retain(|id| ![FRAME.cls, FRAME.sep].contains(id));
    tokens
}

/// Batches of one row from the cursor to the end of its epoch.
fn tokens_of_epoch(loader: &mut Loader, epoch: u64) -> Vec<u32> {
    let mut tokens = Vec::new();
    loop {
        let (batch, cursor) = loader.next_batch(1).unwrap();
        tokens.extend(original_tokens(&batch));
        if cursor.epoch > epoch {
            tokens.sort_unstable();
            return tokens;
        }
    }
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(60), 1500);
    let run = |num_threads| {
        let mut loader = loader(&dataset, config(0.3), Cursor::default(), num_threads);
        (0..100).map(|_| loader.next_batch(3).unwrap()).collect::<Vec<_>>()
    };
    let expected = run(1);
    assert!(expected[99].1.epoch >= 2, "crosses epochs: {:?}", expected[99].1);
    assert!(expected[..20].iter().any(|(_, cursor)| cursor.block > 2), "crosses blocks");
    for num_threads in [2, 3, 7] {
        assert_eq!(run(num_threads), expected, "{num_threads} threads");
    }
}

#[test]
fn resuming_anywhere_continues_the_same_batches() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(25), 1000);
    let mut straight = loader(&dataset, config(0.3), Cursor::default(), 2);
    let expected: Vec<_> = (0..40).map(|_| straight.next_batch(2).unwrap()).collect();
    assert!(expected[39].1.epoch >= 2);
    for step in 0..39 {
        let saved = serde_json::to_string(&expected[step].1).unwrap();
        let mut resumed = loader(&dataset, config(0.3), serde_json::from_str(&saved).unwrap(), 1 + step % 3);
        for (number, batch) in expected.iter().enumerate().skip(step + 1).take(4) {
            assert_eq!(resumed.next_batch(2).unwrap(), *batch, "batch {number} after resuming from {step}");
        }
    }
}

#[test]
fn every_token_is_seen_once_in_every_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(60);
    let expected = tokens_of(&texts);
    for shard_bytes in [1, 1500, 1 << 20] {
        let dataset = dataset(dir.path(), &texts, shard_bytes);
        let mut loader = loader(&dataset, config(0.3), Cursor::default(), 2);
        for epoch in 0..3 {
            assert_eq!(tokens_of_epoch(&mut loader, epoch), expected, "epoch {epoch}, shards of {shard_bytes}");
        }
    }
}

#[test]
fn epochs_differ_in_order_and_masks() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(60), 1500);
    let first = |epoch| {
        let cursor = Cursor { epoch, block: 0, row: 0 };
        loader(&dataset, config(0.3), cursor, 1).next_batch(4).unwrap().0
    };
    assert_ne!(original_tokens(&first(0)), original_tokens(&first(1)));
    let masks = |epoch: u64| {
        let config = LoaderConfig { shards_per_window: 100, block_bytes: 1 << 30, ..config(0.3) };
        let (batch, _) = loader(&dataset, config, Cursor { epoch, block: 0, row: 0 }, 1).next_batch(40).unwrap();
        let mut labels = batch.labels;
        labels.sort_unstable();
        labels
    };
    assert_ne!(masks(0), masks(1));
}

#[test]
fn a_batch_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(60), 1500);
    let mut loader = loader(&dataset, config(0.3), Cursor::default(), 2);
    for _ in 0..30 {
        let (batch, _) = loader.next_batch(3).unwrap();
        assert_eq!((batch.num_rows, batch.num_tokens + batch.num_padding), (3, 96));
        assert_eq!(batch.sequences.lengths.iter().sum::<usize>(), batch.num_tokens);
        let named: Vec<u64> = {
            let tokens = original_tokens(&batch);
            let documents: std::collections::BTreeSet<_> =
                tokens.iter().map(|token| u64::from(token / 100 - 1)).collect();
            documents.into_iter().collect()
        };
        assert_eq!(batch.documents, named);
    }
    assert_eq!(loader.document_id(7).unwrap(), "in.txt:8");
}

#[test]
fn one_document_a_row_is_truncated_and_padded_to_the_longest() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(60), 1500);
    let config = LoaderConfig { layout: Layout::OnePerRow, ..config(0.0) };
    let mut loader = loader(&dataset, config, Cursor::default(), 2);
    for _ in 0..15 {
        let (batch, _) = loader.next_batch(4).unwrap();
        assert_eq!(batch.documents.len(), 4);
        let longest = *batch.sequences.lengths.iter().max().unwrap();
        assert_eq!(batch.sequences.lengths.len(), 4);
        assert!(longest <= 24 && batch.num_tokens + batch.num_padding == 4 * longest);
    }
}

#[test]
fn a_huge_document_is_tokenised_in_pieces_and_keeps_every_token() {
    let dir = tempfile::tempdir().unwrap();
    let num_tokens = 520_000;
    let separator = |i: u32| if i % 10 == 9 { "\\n" } else { " " };
    let text: String = (0..num_tokens).map(|i| format!("{}{}", 100 + i, separator(i))).collect();
    let path = dir.path().join("in.jsonl");
    std::fs::write(&path, format!("{{\"text\":\"5 6 7\"}}\n{{\"text\":\"{text}\"}}")).unwrap();
    prepare(&[path], &dir.path().join("out"), &PrepareOptions::default(), false).unwrap();
    let dataset = Dataset::open(&dir.path().join("out")).unwrap();
    assert!(dataset.manifest.splits[TRAIN].length_chars.max > 3_400_000);
    let mut loader = loader(&dataset, config(0.3), Cursor::default(), 3);
    let expected: Vec<u32> = (5..8).chain(100..100 + num_tokens).collect();
    assert_eq!(tokens_of_epoch(&mut loader, 0), expected);
}

fn cut(text: &str, max_bytes: usize) -> Vec<&str> {
    pieces(text, max_bytes).into_iter().map(|piece| &text[piece]).collect()
}

#[test]
fn pieces_end_at_line_ends_and_lose_nothing() {
    let text = "いろは\nにほへと\nちりぬるをわかよたれそ\n\nつねならむ";
    for max_bytes in 4..80 {
        let pieces = cut(text, max_bytes);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= max_bytes));
    }
    assert_eq!(cut(text, 25), ["いろは\nにほへと\n", "ちりぬるをわかよ", "たれそ\n\n", "つねならむ"]);
    assert_eq!(cut("", 4), [""; 0]);
}

#[test]
fn a_place_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(25), 1000);
    for cursor in [Cursor { epoch: 0, block: 1000, row: 0 }, Cursor { epoch: 0, block: 0, row: 1000 }] {
        let split = dataset.split(TRAIN).unwrap();
        let refused = Loader::new(split, config(0.3), tokenize(), cursor, 2).err().unwrap();
        assert!(refused.to_string().contains("are not those of the run that is resumed"), "{refused}");
    }
}

#[test]
fn an_error_names_the_document_and_a_dataset_without_tokens_ends() {
    let dir = tempfile::tempdir().unwrap();
    let failing = dataset(dir.path(), &["1 2 3".to_owned(), "4 x".to_owned()], 1000);
    let mut loader_of = loader(&failing, config(0.3), Cursor::default(), 2);
    let error = (0..9).find_map(|_| loader_of.next_batch(1).err()).unwrap();
    assert!(format!("{error:#}").contains("document 1 (`in.txt:2`): not a number"), "{error:#}");
    assert!(loader_of.next_batch(1).is_err());
    let empty: Tokenize = Arc::new(|_, _| Ok(Vec::new()));
    let mut barren = Loader::new(failing.split(TRAIN).unwrap(), config(0.3), empty, Cursor::default(), 2).unwrap();
    assert!(barren.next_batch(1).unwrap_err().to_string().contains("gives a token"));
}

#[test]
fn dropping_a_loader_stops_its_threads() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), &texts(60), 1500);
    let slow: Tokenize = Arc::new(|_, _| {
        std::thread::sleep(Duration::from_millis(30));
        Ok(vec![7])
    });
    let config = LoaderConfig { block_bytes: 1 << 20, ..config(0.3) };
    let loader = Loader::new(dataset.split(TRAIN).unwrap(), config, slow, Cursor::default(), 3).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    drop(loader);
    assert!(start.elapsed() < Duration::from_millis(1000), "{:?}", start.elapsed());
}

#[test]
fn the_rows_of_a_block_are_shuffled_by_their_key() {
    let rows: Vec<Row> = (0..50).map(|id| Row { ids: vec![id], ..Row::default() }).collect();
    let mixed = shuffled(rows.clone(), &[1, 2, 3]);
    assert_eq!(mixed, shuffled(rows.clone(), &[1, 2, 3]));
    assert_ne!(mixed, shuffled(rows.clone(), &[1, 2, 4]));
    let neighbours = mixed.windows(2).filter(|pair| pair[0].ids[0] + 1 == pair[1].ids[0]).count();
    assert!(neighbours < 10, "{neighbours} of 49 neighbours stayed together");
    let mut sorted = mixed;
    sorted.sort_by_key(|row| row.ids[0]);
    assert_eq!(sorted, rows);
}

#[test]
fn the_validation_set_is_fixed_and_holds_every_document_once() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(60);
    let path = dir.path().join("in.txt");
    std::fs::write(&path, texts.join("\n")).unwrap();
    let options = PrepareOptions { test_documents: Some(20), ..PrepareOptions::default() };
    prepare(&[path], &dir.path().join("out"), &options, false).unwrap();
    let dataset = Dataset::open(&dir.path().join("out")).unwrap();
    let batches = |max| validation_batches(dataset.split(TEST).unwrap(), &config(0.3), tokenize(), 2, max).unwrap();
    let all = batches(usize::MAX);
    assert_eq!(all, batches(usize::MAX));
    assert_eq!(all[..2], batches(4));
    let split = dataset.split(TEST).unwrap();
    let expected = tokens_of(&(0..20).map(|i| split.document(i).unwrap().text).collect::<Vec<_>>());
    let mut tokens: Vec<u32> = all.iter().flat_map(original_tokens).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, expected);
    assert!(all.iter().map(|batch| batch.masked.len()).sum::<usize>() > 0);
}

#[test]
fn shards_without_documents_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut dataset = dataset(dir.path(), &texts(10), 600);
    std::fs::write(dir.path().join("out/empty.jsonl"), "").unwrap();
    std::fs::write(dir.path().join("out/empty.idx"), super::super::dataset::encode_index(&[0])).unwrap();
    let shards = &mut dataset.manifest.splits.get_mut(TRAIN).unwrap().shards;
    let empty = super::super::dataset::ShardInfo {
        file: "empty.jsonl".to_owned(),
        documents: 0,
        file_bytes: 0,
        blake3: blake3::hash(b"").to_hex().to_string(),
    };
    (0..4).for_each(|i| shards.insert(i, empty.clone()));
    let expected = tokens_of(&texts(10));
    let mut loader = loader(&dataset, config(0.3), Cursor::default(), 2);
    for epoch in 0..3 {
        assert_eq!(tokens_of_epoch(&mut loader, epoch), expected);
    }
}

#[test]
fn lengths_and_splits_that_train_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let split = dataset(dir.path(), &texts(3), 1500).split(TRAIN).unwrap();
    let refusal = |split: &Split, config: LoaderConfig| {
        let error = Loader::new(split.clone(), config, tokenize(), Cursor::default(), 1).err()?;
        Some((crate::exit::code_of(&error), error.to_string()))
    };
    for max_length in [3, 32] {
        assert_eq!(refusal(&split, LoaderConfig { max_length, ..config(0.3) }), None);
    }
    for max_length in [2, 33] {
        let (code, message) = refusal(&split, LoaderConfig { max_length, ..config(0.3) }).unwrap();
        assert!(code == Exit::Usage && message.contains("at least 3 and at most the row length 32"), "{message}");
    }
    let mut empty = split;
    empty.info.documents = 0;
    let (code, message) = refusal(&empty, config(0.3)).unwrap();
    assert!(code == Exit::Data && message == "split `train` has no documents", "{message}");
}
