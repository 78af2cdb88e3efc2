//! Tokenizer: golden ids against sentencepiece and tokenizers, offsets, masks, training, damaged files.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use anaume_core::Error;
use anaume_core::tokenizer::{
    Encoding, MaskConvention, PREFIX_PATTERN, PieceKind, SPECIAL_TOKENS, Tokenizer, char_offsets, from_sentencepiece,
    from_tokenizer_json, prepare, train,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const LINES: &str = include_str!("golden/tokenizer/lines.json");
const LLM_JP: &str = include_str!("golden/tokenizer/llm_jp.json");
const SMALL: &str = include_str!("golden/tokenizer/small.json");
const SMALL_TEXT: &str = include_str!("golden/tokenizer/small.txt");
const SMALL_JSON: &[u8] = include_bytes!("golden/tokenizer/small/tokenizer.json");
const SMALL_CONFIG: &[u8] = include_bytes!("golden/tokenizer/small/tokenizer_config.json");
const SMALL_MAP: &[u8] = include_bytes!("golden/tokenizer/small/special_tokens_map.json");

/// The tokenizer of the goldens.
pub fn small() -> &'static Tokenizer {
    static SMALL: OnceLock<Tokenizer> = OnceLock::new();
    SMALL.get_or_init(|| Tokenizer::from_bytes(SMALL_JSON, Some(SMALL_CONFIG)).unwrap())
}

/// The tokenizer of llm-jp, where the data is.
pub fn llm_jp() -> Option<&'static Tokenizer> {
    static LLM_JP: OnceLock<Option<Tokenizer>> = OnceLock::new();
    let made = LLM_JP.get_or_init(|| {
        let data = std::env::var_os("ANAUME_DATA")?;
        let model = std::fs::read(Path::new(&data).join("tokenizer/llm-jp-tokenizer-100k.ver3.0b1.model")).unwrap();
        let files = from_sentencepiece(&model).unwrap();
        Some(Tokenizer::from_bytes(&files.tokenizer_json, Some(&files.tokenizer_config_json)).unwrap())
    });
    if made.is_none() {
        anaume_tests::skip("ANAUME_DATA is not set");
    }
    made.as_ref()
}

fn parse(golden: &str) -> Value {
    serde_json::from_str(golden).unwrap()
}

fn lines() -> Vec<String> {
    let spell = |line: &Value| match line.as_str() {
        Some(text) => text.to_owned(),
        None => line["repeat"].as_str().unwrap().repeat(line["times"].as_u64().unwrap() as usize),
    };
    parse(LINES)["lines"].as_array().unwrap().iter().map(spell).collect()
}

/// Numbers as a golden file keeps them: all of them, or their count and hash where they are many.
fn kept(values: &[usize]) -> Value {
    if values.len() <= 2000 {
        return json!(values);
    }
    let fnv =
        values.iter().fold(0xCBF2_9CE4_8422_2325_u64, |fnv, value| (fnv ^ *value as u64).wrapping_mul(0x100_0000_01B3));
    json!({ "count": values.len(), "fnv1a": format!("{fnv:016x}") })
}

fn kept_ids(ids: &[u32]) -> Value {
    kept(&ids.iter().map(|id| *id as usize).collect::<Vec<_>>())
}

fn assert_equals_golden(tokenizer: &Tokenizer, golden: &str) {
    let (lines, golden) = (lines(), parse(golden));
    let rows = golden["rows"].as_array().unwrap();
    assert_eq!(lines.len(), rows.len());
    assert!(lines.len() >= 300, "{} lines", lines.len());
    for (text, row) in lines.iter().zip(rows) {
        let start: String = text.chars().take(60).collect();
        let encoded = tokenizer.encode(text, MaskConvention::Hf).unwrap();
        let offsets: Vec<_> = char_offsets(text, &encoded.offsets).into_iter().flat_map(|(a, b)| [a, b]).collect();
        assert_eq!(kept_ids(&encoded.ids), row["input_ids"], "ids of {start:?}");
        assert_eq!(kept(&offsets), row["offsets"], "offsets of {start:?}");
        if let Some(expected) = row.get("sentencepiece") {
            let body = tokenizer.encode_body(text).unwrap();
            assert_eq!(kept_ids(&body.ids), *expected, "sentencepiece's ids of {start:?}");
        }
    }
}

#[test]
fn ids_and_offsets_of_the_small_tokenizer_are_those_of_tokenizers() {
    assert_equals_golden(small(), SMALL);
}

#[test]
fn ids_and_offsets_of_llm_jp_are_those_of_sentencepiece_and_tokenizers() {
    if let Some(tokenizer) = llm_jp() {
        assert_equals_golden(tokenizer, LLM_JP);
    }
}

#[test]
fn llm_jp_has_its_published_ids() {
    let Some(tokenizer) = llm_jp() else { return };
    let ids = |text, convention| tokenizer.encode(text, convention).unwrap().ids;
    let special = tokenizer.special();
    assert_eq!(tokenizer.num_ids(), 99_574);
    assert_eq!([special.unk, special.mask, special.pad, special.cls, special.sep], [0, 3, 4, 5, 6]);
    assert_eq!(ids("こんにちは", MaskConvention::Hf), [5, 39801, 6]);
    let prompt = "今日のご飯は[MASK]である。";
    assert_eq!(ids(prompt, MaskConvention::Hf), [5, 98983, 55964, 29282, 3, 279, 78462, 6]);
    assert_eq!(ids(prompt, MaskConvention::Clean), [5, 98983, 55964, 29282, 3, 78462, 6]);
}

#[test]
fn training_gives_the_same_bytes_every_time() {
    let files = train(SMALL_TEXT.lines(), 700, |_| ()).unwrap();
    assert_eq!(files.tokenizer_json, SMALL_JSON);
    assert_eq!(files.tokenizer_config_json, SMALL_CONFIG);
    assert_eq!(files.special_tokens_map_json, SMALL_MAP);
}

#[test]
fn a_trained_vocabulary_has_the_size_asked_for_and_the_ids_of_llm_jp() {
    for size in [265, 300, 512, 701] {
        let files = train([SMALL_TEXT], size, |_| ()).unwrap();
        let tokenizer = Tokenizer::from_bytes(&files.tokenizer_json, None).unwrap();
        assert_eq!(tokenizer.num_ids(), size);
        for (id, name) in (0..).zip(SPECIAL_TOKENS) {
            assert_eq!((tokenizer.piece(id).as_deref(), tokenizer.kind(id)), (Some(name), PieceKind::Special));
        }
        for byte in 0..256 {
            let piece = format!("<0x{byte:02X}>");
            assert_eq!((tokenizer.piece(8 + byte), tokenizer.kind(8 + byte)), (Some(piece), PieceKind::Byte));
        }
        assert!((264..size as u32).all(|id| tokenizer.kind(id) == PieceKind::Text));
    }
}

#[test]
fn trained_pieces_cross_no_space_digit_or_kind_of_character() {
    let files =
        train(["100年 hello hello、時計と時計と。\n時計と\t100年 hello hello、\n".repeat(5)], 285, |_| ()).unwrap();
    let tokenizer = Tokenizer::from_bytes(&files.tokenizer_json, None).unwrap();
    let pieces: Vec<_> = (264..285).map(|id| tokenizer.piece(id).unwrap()).collect();
    for piece in &pieces {
        let inner = piece.strip_prefix('▁').unwrap_or(piece);
        let kinds = [
            inner.chars().any(|char| char.is_ascii_digit()),
            inner.chars().any(|char| char.is_ascii_alphabetic()),
            inner.chars().any(|char| "年時計と".contains(char)),
            inner.chars().any(|char| "、。".contains(char)),
        ];
        assert!(!inner.contains(['▁', '\n', '\t']), "{piece:?}");
        assert!(kinds.iter().filter(|there| **there).count() <= 1, "{piece:?}");
        assert!(!kinds[0] || inner.chars().count() == 1, "{piece:?}");
    }
    assert!(pieces.iter().any(|piece| piece == "▁hello"), "{pieces:?}");
}

#[test]
fn training_says_what_is_too_small() {
    let message = |texts: &str, size| train([texts], size, |_| ()).unwrap_err().to_string();
    assert!(message(SMALL_TEXT, 264).contains("more than 264"), "{}", message(SMALL_TEXT, 264));
    assert!(message("短い文", 400).contains("too small for 400 pieces"), "{}", message("短い文", 400));
    assert!(message("", 1000).contains("too small"), "{}", message("", 1000));
}

#[test]
fn preparing_twice_changes_nothing() {
    let files = from_tokenizer_json(SMALL_JSON).unwrap();
    assert_eq!(files.tokenizer_json, SMALL_JSON);
    assert_eq!(prepare(SMALL_JSON).unwrap(), files);
}

#[test]
fn a_decoder_tokenizer_becomes_an_encoder_tokenizer() {
    let mut json = parse(str::from_utf8(SMALL_JSON).unwrap());
    json["post_processor"] = Value::Null;
    json["added_tokens"].as_array_mut().unwrap().retain(|token| token["content"] != "<MASK|LLM-jp>");
    json["added_tokens"][0]["normalized"] = json!(true);
    assert_eq!(prepare(json.to_string().as_bytes()).unwrap().tokenizer_json, SMALL_JSON);
}

#[test]
fn a_missing_special_token_is_named() {
    let text = str::from_utf8(SMALL_JSON).unwrap().replace("<MASK|LLM-jp>", "<hole>");
    for error in [prepare(text.as_bytes()).err(), Tokenizer::from_bytes(text.as_bytes(), None).err()] {
        let message = error.unwrap().to_string();
        assert!(message.contains("mask_token"), "{message}");
    }
    let config = json!({ "mask_token": { "content": "<hole>", "special": true } }).to_string();
    let named = Tokenizer::from_bytes(text.as_bytes(), Some(config.as_bytes())).unwrap();
    assert_eq!(named.special().mask, 3);
}

#[test]
fn offsets_slice_the_original_text() {
    for tokenizer in [Some(small()), llm_jp()].into_iter().flatten() {
        for text in lines() {
            for convention in [MaskConvention::Hf, MaskConvention::Clean] {
                assert_offsets_slice(tokenizer, &text, &tokenizer.encode(&text, convention).unwrap());
            }
        }
    }
}

/// Tokens stand in order, leave out nothing, and a piece of text is what its range holds.
fn assert_offsets_slice(tokenizer: &Tokenizer, text: &str, encoded: &Encoding) {
    let mut covered = 0;
    for (id, (start, end)) in encoded.ids.iter().zip(&encoded.offsets) {
        let slice = text.get(*start..*end).expect("offsets on character borders").replace(' ', "▁");
        let piece = tokenizer.piece(*id).unwrap();
        assert!(*start <= covered, "{text:?}: a gap before {piece:?}");
        covered = covered.max(*end);
        if tokenizer.kind(*id) == PieceKind::Text {
            assert!(piece == slice || piece.strip_prefix('▁') == Some(&slice), "{text:?}: {piece:?} is not {slice:?}");
        }
    }
    assert_eq!(covered, text.len(), "{text:?}: not all of it has tokens");
}

#[test]
fn offsets_of_masks_hold_the_mask_as_written() {
    let text = "🍣は[MASK]と{mask_str}、<MASK|LLM-jp>だ";
    for convention in [MaskConvention::Hf, MaskConvention::Clean] {
        let encoded = small().encode(text, convention).unwrap();
        let written: Vec<_> =
            encoded.mask_positions.iter().map(|at| &text[encoded.offsets[*at].0..encoded.offsets[*at].1]).collect();
        assert_eq!(written, ["[MASK]", "{mask_str}", "<MASK|LLM-jp>"]);
        assert!(encoded.mask_positions.iter().all(|at| encoded.ids[*at] == small().special().mask));
    }
    assert_eq!(small().normalise_masks("[MASK]や{mask_str}"), "<MASK|LLM-jp>や<MASK|LLM-jp>");
}

/// The pieces between special tokens, joined.
fn segments(tokenizer: &Tokenizer, encoded: &Encoding) -> Vec<String> {
    let parts = encoded.ids.split(|id| tokenizer.is_special(*id));
    parts.map(|ids| ids.iter().map(|id| tokenizer.piece(*id).unwrap()).collect()).collect()
}

#[test]
fn the_conventions_differ_exactly_by_the_spurious_space_after_a_mask() {
    let with_masks = [
        "今日のご飯は[MASK]である。",
        "[MASK]は猫",
        "これは[MASK]",
        "a [MASK] b",
        "[MASK][MASK]時計",
        "雨\n[MASK]\n山",
        "🍣[MASK]🍣",
    ];
    for tokenizer in [Some(small()), llm_jp()].into_iter().flatten() {
        for text in with_masks {
            let hf = segments(tokenizer, &tokenizer.encode(text, MaskConvention::Hf).unwrap());
            let clean = segments(tokenizer, &tokenizer.encode(text, MaskConvention::Clean).unwrap());
            assert_eq!((hf.len(), &hf[..2]), (clean.len(), &clean[..2]), "{text}");
            for (hf, clean) in hf[2..].iter().zip(&clean[2..]) {
                let expected = if clean.is_empty() { String::new() } else { format!("▁{clean}") };
                assert_eq!(*hf, expected, "{text}");
            }
        }
        let plain = |convention| tokenizer.encode("図書館の二階", convention).unwrap();
        assert_eq!(plain(MaskConvention::Hf), plain(MaskConvention::Clean));
    }
}

#[test]
fn pairs_have_the_form_of_bert() {
    let tokenizer = small();
    let special = tokenizer.special();
    let body = |text| tokenizer.encode_body(text).unwrap().ids;
    let expected =
        [&[special.cls], &body("時計の音")[..], &[special.sep], &body("川と海")[..], &[special.sep]].concat();
    for convention in [MaskConvention::Hf, MaskConvention::Clean] {
        let pair = tokenizer.encode_pair("時計の音", "川と海", convention).unwrap();
        let second = pair.ids.iter().position(|id| *id == special.sep).unwrap() + 1;
        assert_eq!(pair.ids, expected);
        assert_eq!(pair.offsets[second].0, 0, "offsets begin anew in the second text");
    }
    let masked = |convention| tokenizer.encode_pair("[MASK]の音", "川と{mask_str}", convention).unwrap();
    let places = |pair: Encoding| pair.mask_positions.iter().map(|at| pair.offsets[*at]).collect::<Vec<_>>();
    assert_eq!(places(masked(MaskConvention::Hf)), [(0, 6), (6, 16)]);
    assert_eq!(places(masked(MaskConvention::Clean)), [(0, 6), (6, 16)]);
}

/// The small tokenizer with special and byte pieces so probable that the model itself finds them in text, as happens
/// with SentencePiece models whose special tokens have the score 0.
fn eager() -> &'static Tokenizer {
    static EAGER: OnceLock<Tokenizer> = OnceLock::new();
    EAGER.get_or_init(|| {
        let mut json = parse(str::from_utf8(SMALL_JSON).unwrap());
        json["model"]["vocab"].as_array_mut().unwrap()[..264].iter_mut().for_each(|piece| piece[1] = json!(0.0));
        Tokenizer::from_bytes(json.to_string().as_bytes(), None).unwrap()
    })
}

#[test]
fn ordinary_text_never_becomes_a_special_token() {
    let text = "a<s><MASK|LLM-jp></s>[MASK]<0x41><<s>>時計<CLS|LLM-jp><0xE3><unk>";
    let raw = eager().encode(text, MaskConvention::Hf).unwrap();
    assert!(raw.ids.contains(&(8 + 0x41)), "without care the model takes text for a byte: {raw:?}");
    for tokenizer in [small(), eager()] {
        let body = tokenizer.encode_body(text).unwrap();
        assert!(!body.ids.iter().any(|id| tokenizer.is_special(*id)), "{body:?}");
        assert_eq!(tokenizer.decode(&body.ids).unwrap(), text);
        let clean = tokenizer.encode(text, MaskConvention::Clean).unwrap();
        assert_eq!(clean.mask_positions.len(), 2, "only the spellings of masks are masks: {clean:?}");
    }
}

#[test]
fn a_tokenizer_serves_several_threads() {
    let expected: Vec<_> = lines().iter().map(|text| small().encode_body(text).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let found: Vec<_> = lines().iter().map(|text| small().encode_body(text).unwrap()).collect();
                assert!(found == expected);
            });
        }
    });
}

#[test]
fn surfaces_show_spaces_bytes_and_names() {
    let id = |text: &str| small().encode_body(text).unwrap().ids;
    let shown = |text: &str| id(text).iter().map(|id| small().surface(*id).unwrap()).collect::<Vec<_>>();
    assert_eq!(shown("鰯"), [" ", "<0xE9>", "<0xB0>", "<0xAF>"]);
    assert_eq!(small().surface(small().special().mask).as_deref(), Some("<MASK|LLM-jp>"));
    assert_eq!(small().surface(700), None);
}

#[test]
fn char_offsets_count_code_points() {
    assert_eq!(
        char_offsets("a🍣か゛", &[(0, 0), (0, 1), (1, 5), (5, 11), (11, 11)]),
        [(0, 0), (0, 1), (1, 2), (2, 4), (4, 4)]
    );
}

/// Text with what is hard for a tokenizer: pieces that exist, rare characters, spaces, spellings of special tokens.
pub fn hard_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => proptest::sample::select(vec!["時計", "は", "今日", "川の", "日記を", "書く。", "図書館", " ", "　", "\n", "1", "ab", "が"]),
        1 => proptest::sample::select(vec!["<s>", "</s>", "<MASK|LLM-jp>", "[CLS]", "<0x41>", "<unk>", "<", "|LLM-jp>", "🍣", "か\u{3099}", "\0", "\r\n"]),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn decoding_returns_any_text_without_the_space_symbol(text in any::<String>(), hard in hard_text()) {
        for tokenizer in [small(), eager()] {
            for text in [&text, &hard].map(|text| text.replace('▁', "_")) {
                let body = tokenizer.encode_body(&text).unwrap();
                prop_assert_eq!(tokenizer.decode(&body.ids).unwrap(), text.clone());
                prop_assert!(body.ids.iter().all(|id| !tokenizer.is_special(*id)));
                assert_offsets_slice(tokenizer, &text, &body);
            }
        }
    }

    #[test]
    fn text_after_a_clean_mask_is_cut_as_in_the_middle_of_a_text(before in hard_text(), after in hard_text()) {
        let text = format!("{before}{after}");
        let whole = small().encode_body(&text).unwrap();
        let border = whole.offsets.iter().position(|(start, _)| *start == before.len());
        let unbroken = whole.offsets.iter().all(|(start, end)| *end <= before.len() || *start >= before.len());
        let masked = small().encode(&format!("{before}[MASK]{after}"), MaskConvention::Clean).unwrap();
        let spelled = [&before, &after].iter().any(|part| part.contains("<MASK|LLM-jp>"));
        if let Some(border) = border.filter(|_| unbroken && !spelled && !before.is_empty()) {
            let tail = masked.mask_positions[0] + 1;
            prop_assert_eq!(&masked.ids[tail..masked.ids.len() - 1], &whole.ids[border..]);
        }
    }

    #[test]
    fn both_regex_engines_find_the_same_start(text in "[ab \n\r\u{85}\u{2028}あ▁]{0,8}") {
        use tokenizers::normalizers::replace::{Replace, ReplacePattern};
        use tokenizers::{NormalizedString, Normalizer};
        let onig = Replace::new(ReplacePattern::Regex(PREFIX_PATTERN.to_owned()), "▁").unwrap();
        let mut normalized = NormalizedString::from(text.as_str());
        onig.normalize(&mut normalized).unwrap();
        let fancy = fancy_regex::Regex::new(PREFIX_PATTERN).unwrap();
        let expected = if text.is_empty() { String::new() } else { fancy.replace_all(&text, "▁").into_owned() };
        prop_assert_eq!(normalized.get(), expected);
        prop_assert_eq!(normalized.get(), if text.is_empty() { String::new() } else { format!("▁{text}") });
    }

    #[test]
    fn random_bytes_are_refused(bytes in any::<Vec<u8>>()) {
        prop_assert!(prepare(&bytes).is_err());
        prop_assert!(from_sentencepiece(&bytes).is_err());
        prop_assert!(Tokenizer::from_bytes(&bytes, None).is_err());
        // No object begins like this, whatever follows.
        let config = [&b"{:"[..], &bytes].concat();
        prop_assert!(Tokenizer::from_bytes(SMALL_JSON, Some(&config)).is_err());
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0..SMALL_JSON.len(), byte in any::<u8>()) {
        let mut json = SMALL_JSON.to_vec();
        json[at] = byte;
        if let Ok(tokenizer) = Tokenizer::from_bytes(&json, Some(SMALL_CONFIG)) {
            let _ = tokenizer.encode("時計🍣[MASK]<s>", MaskConvention::Hf);
            let _ = tokenizer.encode("時計🍣[MASK]<s>", MaskConvention::Clean);
        }
        let mut model = sentencepiece_model();
        let at = at % model.len();
        model[at] = byte;
        let _ = prepare(&model);
    }
}

/// A `.model` of three pieces of text, written field by field.
fn sentencepiece_model() -> Vec<u8> {
    let mut model = Vec::new();
    let mut piece = |text: &str, score: f32, kind: u8| {
        let text = [&[0x0A, text.len() as u8], text.as_bytes()].concat();
        let message = [&text[..], &[0x15], &score.to_le_bytes(), &[0x18, kind]].concat();
        model.extend([&[0x0A, message.len() as u8], &message[..]].concat());
    };
    piece("<unk>", -90.0, 2);
    for name in ["<s>", "</s>", "<MASK>", "<PAD>", "<CLS>", "<SEP>", "<EOD>"] {
        piece(name, -90.0, 3);
    }
    (0..=255).for_each(|byte| piece(&format!("<0x{byte:02X}>"), -90.0, 6));
    ["▁", "猫", "猫は"].iter().zip([-1.0, -2.0, -2.5]).for_each(|(text, score)| piece(text, score, 1));
    model.extend([0x12, 5, 0x18, 1, 0x98, 0x02, 1]); // trainer_spec: Unigram, byte_fallback
    model.extend([0x1A, 12, 0x0A, 8]); // normalizer_spec: name, remove_extra_whitespaces
    model.extend(b"identity");
    model.extend([0x20, 0]);
    model
}

#[test]
fn a_sentencepiece_model_keeps_its_ids() {
    let files = prepare(&sentencepiece_model()).unwrap();
    let tokenizer = Tokenizer::from_bytes(&files.tokenizer_json, Some(&files.tokenizer_config_json)).unwrap();
    assert_eq!(tokenizer.num_ids(), 267);
    assert_eq!(tokenizer.encode("猫は猫[MASK]", MaskConvention::Hf).unwrap().ids, [5, 264, 266, 265, 3, 6]);
    assert_eq!(tokenizer.surface(3).as_deref(), Some("<MASK|LLM-jp>"));
}

#[test]
fn every_truncation_of_a_model_is_a_named_error() {
    let model = sentencepiece_model();
    for end in 0..model.len() {
        let message = from_sentencepiece(&model[..end]).expect_err("a truncated model").to_string();
        assert!(message.contains("SentencePiece model"), "{end}: {message}");
    }
    let Err(Error::Format { byte, .. }) = from_sentencepiece(&model[..100]) else { panic!("a cut inside a piece") };
    assert!((80..100).contains(&byte), "the piece that is cut begins at byte {byte}");
}

#[test]
fn every_truncation_of_a_tokenizer_json_is_a_named_error() {
    for end in 0..SMALL_JSON.len() {
        let Err(Error::Format { format, byte, .. }) = Tokenizer::from_bytes(&SMALL_JSON[..end], None) else {
            panic!("{end} bytes were accepted or misnamed");
        };
        assert_eq!(format, "tokenizer JSON");
        assert!(byte <= end as u64, "byte {byte} of {end}");
    }
}

#[test]
fn templates_that_name_what_is_not_there_are_refused() {
    let text = str::from_utf8(SMALL_JSON).unwrap();
    let changes = [
        (r#""special_tokens":{"<CLS|LLM-jp>""#, r#""special_tokens":{"<CLX|LLM-jp>""#),
        (
            r#""single":[{"SpecialToken":{"id":"<CLS|LLM-jp>","type_id":0}},{"Sequence":{"id":"A""#,
            r#""single":[{"SpecialToken":{"id":"<CLS|LLM-jp>","type_id":0}},{"Sequence":{"id":"B""#,
        ),
    ];
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        let message = Tokenizer::from_bytes(text.replace(from, to).as_bytes(), None).err().unwrap().to_string();
        assert!(message.contains("template `single`"), "{message}");
    }
}

#[test]
fn models_of_other_kinds_are_refused_by_name() {
    let model = sentencepiece_model();
    let changed = |from: &[u8], to: &[u8]| {
        let at = model.windows(from.len()).rposition(|window| window == from).unwrap();
        from_sentencepiece(&[&model[..at], to, &model[at + from.len()..]].concat()).unwrap_err().to_string()
    };
    let reasons = [
        (changed(&[0x18, 1, 0x98], &[0x18, 2, 0x98]), "only Unigram"),
        (changed(&[0x98, 0x02, 1], &[0x98, 0x02, 0]), "byte pieces"),
        (changed(&[0x20, 0], &[0x20, 1]), "normaliser"),
        (changed(b"<MASK>", b"<HOLE>"), "mask_token"),
        (changed(&(-2.5_f32).to_le_bytes(), &f32::NAN.to_le_bytes()), "score NaN"),
    ];
    let mut wrong = String::new();
    for (message, reason) in reasons.iter().filter(|(message, reason)| !message.contains(reason)) {
        writeln!(wrong, "{message} does not say {reason}").unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}
