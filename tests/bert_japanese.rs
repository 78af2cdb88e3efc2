//! The Japanese BERT tokenizer: words against MeCab's, ids against transformers', offsets, masks, damaged dictionaries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use anaume_core::Error;
use anaume_core::tokenizer::{Encoding, MaskConvention, Mecab, MecabFiles, PieceKind, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::{binary, path, succeed};

const DICTIONARY: &str = "ANAUME_MECAB_DICTIONARY";
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

fn read(dir: &Path) -> MecabFiles {
    let file = |name: &str| fs::read(dir.join(name)).unwrap();
    MecabFiles {
        sys_dic: file("sys.dic"),
        unk_dic: file("unk.dic"),
        matrix_bin: file("matrix.bin"),
        char_bin: file("char.bin"),
    }
}

fn small_dir() -> PathBuf {
    anaume_tests::golden_dir().join("bert_japanese")
}

fn small_files() -> &'static MecabFiles {
    static FILES: OnceLock<MecabFiles> = OnceLock::new();
    FILES.get_or_init(|| read(&small_dir().join("dictionary")))
}

fn small_mecab() -> Arc<Mecab> {
    static MECAB: OnceLock<Arc<Mecab>> = OnceLock::new();
    Arc::clone(MECAB.get_or_init(|| Arc::new(Mecab::new(small_files().clone()).unwrap())))
}

fn vocab() -> Vec<u8> {
    anaume_tests::golden("bert_japanese/vocab.txt")
}

fn small_with(config: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::bert_japanese(&vocab(), config.to_string().as_bytes(), Some(small_mecab()))
}

fn small() -> &'static Tokenizer {
    static SMALL: OnceLock<Tokenizer> = OnceLock::new();
    SMALL.get_or_init(|| small_with(&json!({ "word_tokenizer_type": "mecab" })).unwrap())
}

fn golden() -> &'static Value {
    static GOLDEN: OnceLock<Value> = OnceLock::new();
    GOLDEN.get_or_init(|| serde_json::from_slice(&anaume_tests::golden("bert_japanese/small.json")).unwrap())
}

fn texts() -> Vec<&'static str> {
    golden()["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn words<'a>(mecab: &Mecab, text: &'a str) -> Vec<&'a str> {
    mecab.segment(text).unwrap().into_iter().map(|word| &text[word]).collect()
}

/// The texts whose words are not those of the golden file.
fn differing_words(mecab: &Mecab) -> Vec<String> {
    let expected = golden()["words"].as_array().unwrap();
    let texts = texts();
    assert!(texts.len() >= 280 && texts.len() == expected.len());
    let pairs = texts.iter().zip(expected).map(|(text, expected)| (text, words(mecab, text), expected));
    let differing = pairs.filter(|(_, words, expected)| json!(words) != **expected);
    differing.map(|(text, words, expected)| format!("{text:?}: {words:?}, not {expected}")).collect()
}

#[test]
fn words_are_those_of_mecab() {
    let differing = differing_words(&small_mecab());
    assert!(differing.is_empty(), "{}\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn a_changed_cost_changes_words() {
    let mut files = small_files().clone();
    let at = 4 + 2 * (8 * 2 + 1); // a noun, then a particle
    files.matrix_bin[at..at + 2].copy_from_slice(&2000_i16.to_le_bytes());
    assert!(!differing_words(&Mecab::new(files).unwrap()).is_empty());
}

#[test]
fn words_after_a_zero_character_are_not_lost() {
    assert_eq!(words(&small_mecab(), "東京\0大阪"), ["東京", "\0", "大阪"]);
}

#[test]
fn a_long_text_has_the_words_of_mecab_too() {
    // So long that the nodes that no path needs are dropped many times on the way.
    let text = texts().concat().repeat(100);
    assert!(text.len() > 500_000, "{}", text.len());
    assert_eq!(json!(digest(&words(&small_mecab(), &text))), golden()["long"]);
}

#[test]
fn ids_pairs_and_texts_are_those_of_transformers_under_every_setting() {
    let settings = golden()["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 7);
    for setting in settings {
        let differing = differing_ids(&small_with(&setting["config"]).unwrap(), setting);
        assert!(differing.is_empty(), "{}: {}\n{}", setting["name"], differing.len(), differing.join("\n"));
    }
}

fn differing_ids(tokenizer: &Tokenizer, setting: &Value) -> Vec<String> {
    let mut differing = Vec::new();
    let mut compare = |what: &str, found: Value, expected: &Value| {
        if found != *expected {
            differing.push(format!("{what:?}: {found}, not {expected}"));
        }
    };
    let (texts, ids) = (texts(), setting["ids"].as_array().unwrap());
    assert_eq!(texts.len(), ids.len());
    for (text, expected) in texts.iter().zip(ids) {
        compare(text, json!(tokenizer.encode(text, MaskConvention::Hf).unwrap().ids), expected);
    }
    let sample: Vec<_> = texts.iter().step_by(9).collect();
    let pairs = setting["pairs"].as_array().unwrap();
    assert_eq!(pairs.len() + 1, sample.len());
    for (pair, expected) in sample.windows(2).zip(pairs) {
        let encoded = tokenizer.encode_pair(pair[0], pair[1], MaskConvention::Hf).unwrap();
        compare("a pair", json!(encoded.ids), expected);
    }
    for (text, expected) in sample.iter().zip(setting["decoded"].as_array().unwrap()) {
        let ids = tokenizer.encode(text, MaskConvention::Hf).unwrap().ids;
        compare("decoded", json!(tokenizer.decode(&ids).unwrap()), expected);
    }
    differing
}

#[test]
fn one_changed_id_is_found() {
    let mut setting = golden()["settings"][0].clone();
    setting["ids"][7][1] = json!(setting["ids"][7][1].as_u64().unwrap() + 1);
    assert_eq!(differing_ids(small(), &setting).len(), 1);
}

#[test]
fn cleaned_up_texts_are_those_of_transformers() {
    let tokenizer = small_with(&golden()["clean_up_config"]).unwrap();
    let rows = golden()["clean_up"].as_array().unwrap();
    assert!(rows.len() >= 10);
    for row in rows {
        let ids = tokenizer.encode(row[0].as_str().unwrap(), MaskConvention::Hf).unwrap().ids;
        assert_eq!(tokenizer.decode(&ids).unwrap(), row[1].as_str().unwrap());
    }
}

/// Offsets lie on character borders and in order; a known piece of plain text is what its range holds.
fn assert_offsets_slice(tokenizer: &Tokenizer, text: &str, encoded: &Encoding) {
    let mut last = (0, 0);
    for (id, range) in encoded.ids.iter().zip(&encoded.offsets).filter(|(_, range)| **range != (0, 0)) {
        let slice = text.get(range.0..range.1).expect("offsets on character borders");
        assert!(*range >= last, "{text:?}: {range:?} after {last:?}");
        last = *range;
        let surface = tokenizer.surface(*id).unwrap();
        if tokenizer.kind(*id) == PieceKind::Text && slice.is_ascii() && !slice.contains(|char: char| char.is_control())
        {
            assert!(surface.eq_ignore_ascii_case(slice), "{text:?}: {surface:?} is not {slice:?}");
        }
    }
}

#[test]
fn offsets_slice_the_original_text() {
    for setting in golden()["settings"].as_array().unwrap() {
        let tokenizer = small_with(&setting["config"]).unwrap();
        for text in texts() {
            for convention in [MaskConvention::Hf, MaskConvention::Clean] {
                assert_offsets_slice(&tokenizer, text, &tokenizer.encode(text, convention).unwrap());
            }
        }
    }
    let slices = |text: &'static str| {
        let body = small().encode_body(text).unwrap();
        body.offsets.iter().map(|(start, end)| &text[*start..*end]).collect::<Vec<_>>()
    };
    assert_eq!(slices("東京　大阪"), ["東京", "大阪"]);
    assert_eq!(slices("ｶﾞ"), ["ｶﾞ"], "a mark belongs to the character that it changes");
    assert_eq!(slices("ｺｰﾋｰとか\u{3099}"), ["ｺｰﾋｰ", "と", "か\u{3099}"]);
    assert_eq!(slices("㍿"), ["㍿"; 2], "株式 and 会社 share the character that they come from");
}

#[test]
fn masks_are_found_and_other_special_tokens_only_where_hugging_face_finds_them() {
    let text = "[CLS]猫は{mask_str}と[MASK]。[UNK]";
    let special = *small().special();
    for (convention, found) in [(MaskConvention::Hf, true), (MaskConvention::Clean, false)] {
        let encoded = small().encode(text, convention).unwrap();
        let written: Vec<_> =
            encoded.mask_positions.iter().map(|at| &text[encoded.offsets[*at].0..encoded.offsets[*at].1]).collect();
        assert_eq!(written, ["{mask_str}", "[MASK]"]);
        assert!(encoded.mask_positions.iter().all(|at| encoded.ids[*at] == special.mask));
        assert_eq!(encoded.ids[1] == special.cls, found);
    }
    assert_eq!(small().normalise_masks("{mask_str}"), "[MASK]");
}

#[test]
fn ordinary_text_never_becomes_a_special_token() {
    for setting in golden()["settings"].as_array().unwrap() {
        let tokenizer = small_with(&setting["config"]).unwrap();
        for text in texts().into_iter().chain(["猫[MASK][CLS] [SEP]", "[PAD] [MASK]"]) {
            let special = tokenizer.special();
            let body = tokenizer.encode_body(text).unwrap();
            assert!(body.ids.iter().all(|id| !tokenizer.is_special(*id) || *id == special.unk), "{text:?}: {body:?}");
        }
    }
}

#[test]
fn a_part_has_its_offsets_in_the_whole_text() {
    let text = "東京[MASK]大阪の猫";
    let part = small().encode_part(text, 12..text.len()).unwrap();
    let slices: Vec<_> = part.offsets.iter().map(|(start, end)| &text[*start..*end]).collect();
    assert_eq!(slices, ["大阪", "の", "猫"]);
}

#[test]
fn pieces_are_shown_without_the_sign_of_continuation() {
    let id =
        |piece: &str| (0..small().num_ids() as u32).find(|id| small().piece(*id).as_deref() == Some(piece)).unwrap();
    assert_eq!(small().surface(id("##ライス")).as_deref(), Some("ライス"));
    assert_eq!(small().decode(&[2, id("カレー"), id("##ライス"), id("猫"), 4, 3]).unwrap(), "カレーライス 猫");
    assert_eq!(small().num_ids(), str::from_utf8(&vocab()).unwrap().lines().count());
    assert_eq!(small().kind(small().num_ids() as u32), PieceKind::Vacant);
    assert_eq!(SPECIAL.map(|name| small().kind(id(name))), [PieceKind::Special; 5]);
}

#[test]
fn settings_that_are_not_known_are_named() {
    let reasons = [
        (json!({ "word_tokenizer_type": "sudachi" }), "word_tokenizer_type"),
        (json!({ "word_tokenizer_type": "jumanpp" }), "word_tokenizer_type"),
        (json!({ "subword_tokenizer_type": "sentencepiece" }), "subword_tokenizer_type"),
        (json!({ "do_word_tokenize": false }), "do_word_tokenize"),
        (json!({ "do_subword_tokenize": false }), "do_subword_tokenize"),
        (json!({ "tokenizer_class": "BertTokenizer" }), "tokenizer_class"),
        (json!({ "mecab_kwargs": { "mecab_option": "-d x -u user.dic" } }), "mecab_option"),
        (json!({ "unk_token": "<none>" }), "unk_token"),
        (json!({ "added_tokens_decoder": { "x": { "content": "a" } } }), "added_tokens_decoder"),
        (json!({ "added_tokens_decoder": { "4000000000": { "content": "a" } } }), "added_tokens_decoder"),
        (json!([]), "tokenizer_config.json"),
    ];
    for (config, reason) in reasons {
        let message = small_with(&config).err().unwrap_or_else(|| panic!("{config} is accepted")).to_string();
        assert!(message.contains(reason), "{message} does not name {reason}");
    }
    let config = json!({ "word_tokenizer_type": "mecab", "mecab_kwargs": { "mecab_dic": "ipadic" } }).to_string();
    let message = Tokenizer::bert_japanese(&vocab(), config.as_bytes(), None).err().unwrap().to_string();
    assert!(message.contains("ipadic"), "{message}");
    assert!(Tokenizer::wants_mecab(config.as_bytes()).unwrap() && !Tokenizer::wants_mecab(b"{}").unwrap());
    let broken = Tokenizer::bert_japanese(b"[PAD]\n\xFF", b"{}", None).err().unwrap();
    assert!(matches!(broken, Error::Format { format: "vocab.txt", byte: 6, .. }), "{broken}");
}

#[test]
fn added_tokens_extend_the_vocabulary() {
    let id = small().num_ids() as u32 + 1;
    let config = json!({ "word_tokenizer_type": "mecab", "added_tokens_decoder": {
        id.to_string(): { "content": "<query>", "special": true }, "4": { "content": "[MASK]", "special": true },
    } });
    let tokenizer = small_with(&config).unwrap();
    assert_eq!((tokenizer.num_ids() as u32, tokenizer.kind(id)), (id + 1, PieceKind::Special));
    assert_eq!(tokenizer.kind(id - 1), PieceKind::Vacant);
    assert!(tokenizer.encode("<query>猫", MaskConvention::Hf).unwrap().ids.contains(&id));
    assert!(!tokenizer.encode("<query>猫", MaskConvention::Clean).unwrap().ids.contains(&id));
}

fn file(files: &mut MecabFiles, index: usize) -> &mut Vec<u8> {
    [&mut files.sys_dic, &mut files.unk_dic, &mut files.matrix_bin, &mut files.char_bin].into_iter().nth(index).unwrap()
}

#[test]
fn every_truncation_of_a_dictionary_is_an_error_that_names_the_file() {
    for (index, name) in ["sys.dic", "unk.dic", "matrix.bin", "char.bin"].into_iter().enumerate() {
        let whole = file(&mut small_files().clone(), index).len();
        for end in (0..whole).step_by(if index == 3 { 1009 } else { 1 }).chain([whole - 1]) {
            let mut files = small_files().clone();
            file(&mut files, index).truncate(end);
            match Mecab::new(files).err() {
                Some(Error::Format { format, byte, .. }) => {
                    assert!(format.contains(name) && byte <= end as u64, "{format}: {byte} of {end}");
                }
                other => panic!("{name} of {end} bytes: {other:?}"),
            }
        }
    }
}

#[test]
fn a_dictionary_in_another_encoding_is_refused_by_name() {
    let mut files = small_files().clone();
    files.sys_dic[40..46].copy_from_slice(b"euc-jp");
    let message = Mecab::new(files).err().unwrap().to_string();
    assert!(message.contains("euc-jp") && message.contains("utf8") && message.contains("byte 40"), "{message}");
}

#[test]
fn dictionaries_that_do_not_belong_together_are_refused() {
    let mut files = small_files().clone();
    std::mem::swap(&mut files.sys_dic, &mut files.unk_dic);
    assert!(Mecab::new(files).err().unwrap().to_string().contains("type 2"));
    let mut files = small_files().clone();
    files.matrix_bin = [&9_u16.to_le_bytes()[..], &8_u16.to_le_bytes(), &[0; 144]].concat();
    assert!(Mecab::new(files).err().unwrap().to_string().contains("matrix"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_never_panic(index in 0..4_usize, at in any::<prop::sample::Index>(), bit in 0..8, early in any::<bool>()) {
        let mut files = small_files().clone();
        let bytes = file(&mut files, index);
        let at = at.index(if early { bytes.len().min(1200) } else { bytes.len() });
        bytes[at] ^= 1_u8 << bit;
        if let Ok(mecab) = Mecab::new(files) {
            for text in texts().into_iter().step_by(3) {
                let mut end = 0;
                for word in mecab.segment(text).unwrap() {
                    prop_assert!(word.start >= end && word.end > word.start && text.get(word.clone()).is_some());
                    end = word.end;
                }
            }
        }
    }

    #[test]
    fn any_text_is_cut_into_ordered_ranges(text in any::<String>(), marks in "[ｶﾞか\u{3099}a\u{301} \n㋿\u{1c}ΣA東京\\[MASK\\]🍣]{0,20}") {
        for setting in golden()["settings"].as_array().unwrap() {
            let tokenizer = small_with(&setting["config"]).unwrap();
            for text in [&text, &marks] {
                assert_offsets_slice(&tokenizer, text, &tokenizer.encode_body(text).unwrap());
                assert_offsets_slice(&tokenizer, text, &tokenizer.encode(text, MaskConvention::Hf).unwrap());
            }
        }
    }
}

/// The real dictionary and the real sentences, where both are at hand.
fn real() -> Option<(Arc<Mecab>, PathBuf)> {
    let made = std::env::var_os(DICTIONARY).zip(anaume_tests::data_dir());
    if made.is_none() {
        anaume_tests::skip("ANAUME_MECAB_DICTIONARY (unidic-lite's dicdir) or ANAUME_DATA is not set");
    }
    made.map(|(dictionary, data)| (Arc::new(Mecab::new(read(Path::new(&dictionary))).unwrap()), data))
}

/// The rule of `real_sentences` in tests/golden/bert_japanese/generate.py.
fn real_sentences(data: &Path) -> Vec<String> {
    let lines = |name: &str, count: usize| -> Vec<String> {
        let text = fs::read_to_string(data.join(name)).unwrap();
        text.split('\n').take(count).map(str::to_owned).collect()
    };
    let field = |name: &str, field: &str, count: usize| -> Vec<String> {
        let parse = |line: String| serde_json::from_str::<Value>(&line).unwrap()[field].as_str().unwrap().to_owned();
        lines(name, count).into_iter().map(parse).collect()
    };
    [
        lines("ner_wikipedia/sentences.txt", 1500),
        field("jglue/jsts-valid-v1.3.json", "sentence1", 600),
        field("jcola/in_domain_valid-v1.0.json", "sentence", 300),
        field("jaquad/contexts.jsonl", "text", 400),
        field("wiki_kyoto/passage_pairs.jsonl", "positive", 400),
    ]
    .concat()
}

/// The rule of `real_vocab` there.
fn real_vocab(words: &[Vec<String>]) -> String {
    let (mut chars, mut counts) = (BTreeMap::<char, usize>::new(), BTreeMap::<&str, usize>::new());
    for word in words.iter().flatten() {
        *counts.entry(word).or_default() += 1;
        word.chars().filter(|char| !char.is_whitespace()).for_each(|char| *chars.entry(char).or_default() += 1);
    }
    let chars: Vec<_> = chars.into_iter().filter(|(_, count)| *count > 1).map(|(char, _)| char.to_string()).collect();
    let mut frequent: Vec<_> = counts.into_iter().collect();
    frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words = frequent.into_iter().take(4000).map(|(word, _)| word.to_owned());
    let inner = chars.iter().map(|char| format!("##{char}"));
    let pieces = SPECIAL.map(str::to_owned).into_iter().chain(chars.iter().cloned()).chain(inner).chain(words);
    let mut seen = BTreeSet::new();
    pieces.filter(|piece| seen.insert(piece.clone())).map(|piece| piece + "\n").collect()
}

fn digest(parts: &[impl AsRef<str>]) -> String {
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    Sha256::digest(parts.join("\n")).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn real_sentences_have_the_words_of_mecab_and_the_ids_of_transformers() {
    let Some((mecab, data)) = real() else { return };
    let sentences = real_sentences(&data);
    let rows = String::from_utf8(anaume_tests::golden("bert_japanese/real.txt")).unwrap();
    let rows: Vec<_> = rows.lines().map(|row| row.split_once(' ').unwrap()).collect();
    assert_eq!((sentences.len(), rows.len()), (3200, 3200));
    let normal = |text: &String| {
        let mut normal = tokenizers::NormalizedString::from(text.as_str());
        normal.nfkc().get().replace('㋿', "令和")
    };
    let words: Vec<Vec<String>> =
        sentences.iter().map(|text| words(&mecab, &normal(text)).into_iter().map(str::to_owned).collect()).collect();
    let config = json!({ "word_tokenizer_type": "mecab" }).to_string();
    let tokenizer = Tokenizer::bert_japanese(real_vocab(&words).as_bytes(), config.as_bytes(), Some(mecab)).unwrap();
    let (mut tokens, mut unknown) = (0, 0);
    for ((text, words), row) in sentences.iter().zip(&words).zip(rows) {
        let encoded = tokenizer.encode(text, MaskConvention::Hf).unwrap();
        let ids: Vec<_> = encoded.ids.iter().map(u32::to_string).collect();
        assert_eq!(digest(words), row.0, "words of {text:?}: {words:?}");
        assert_eq!(digest(&ids), row.1, "ids of {text:?}: {ids:?}");
        assert_offsets_slice(&tokenizer, text, &encoded);
        tokens += ids.len();
        unknown += encoded.ids.iter().filter(|id| **id == tokenizer.special().unk).count();
    }
    println!("{} sentences, {tokens} tokens, {unknown} unknown", sentences.len());
}

/// A tokenizer folder as the Japanese BERT family has it.
fn folder(room: &Path, config: &Value) {
    fs::write(room.join("vocab.txt"), vocab()).unwrap();
    fs::write(room.join("tokenizer_config.json"), config.to_string()).unwrap();
}

#[test]
fn the_commands_take_a_folder_with_a_vocab_txt() {
    let room = tempfile::tempdir().unwrap();
    let dir = room.path().display().to_string();
    folder(room.path(), &json!({ "tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab" }));
    let without =
        Command::new(binary()).args(["tokenizer", "encode", &dir, "猫"]).env_remove(DICTIONARY).output().unwrap();
    let message = String::from_utf8(without.stderr).unwrap();
    assert_eq!(without.status.code(), Some(2), "{message}");
    assert!(message.contains("unidic-lite") && message.contains("--mecab-dictionary"), "{message}");
    let dictionary = path(&small_dir(), "dictionary");
    let encoded = succeed(&["tokenizer", "encode", &dir, "カレーライス[MASK]", "--mecab-dictionary", &dictionary]);
    assert!(encoded.contains("[CLS] カレー ##ライス [MASK] [SEP]"), "{encoded}");
    fs::create_dir(room.path().join("dicdir")).unwrap();
    for name in ["sys.dic", "unk.dic", "matrix.bin", "char.bin"] {
        fs::copy(small_dir().join("dictionary").join(name), room.path().join("dicdir").join(name)).unwrap();
    }
    let inspect = ["tokenizer", "inspect", &dir, "--json"];
    let beside = Command::new(binary()).args(inspect).env_remove(DICTIONARY).output().unwrap();
    let report: Value = serde_json::from_slice(&beside.stdout).unwrap();
    assert_eq!(report["special_ids"]["mask"], 4);
    let model = path(room.path(), "model");
    succeed(&["model", "init", "--preset", "tiny", "--tokenizer", &dir, "--out", &model]);
    let arguments = ["--mecab-dictionary", &dictionary, "fill-mask", "--model", &model, "猫は[MASK]である。", "--json"];
    let answer: Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    assert!(!answer.to_string().contains("##"), "{answer}");
}
