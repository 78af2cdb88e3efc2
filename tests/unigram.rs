//! The program's own Unigram gives what the `tokenizers` library gives for the files that it reads without the library.

use std::sync::OnceLock;

use anaume_core::tokenizer::{MaskConvention, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tokenizer::{hard_text, llm_jp, small};

const JSON: &[u8] = include_bytes!("golden/tokenizer/small/tokenizer.json");
const CONFIG: &[u8] = include_bytes!("golden/tokenizer/small/tokenizer_config.json");

/// The small tokenizer after a change of its `tokenizer.json`.
fn changed(change: impl FnOnce(&mut Value)) -> Tokenizer {
    let mut json = serde_json::from_slice(JSON).unwrap();
    change(&mut json);
    Tokenizer::from_bytes(json.to_string().as_bytes(), Some(CONFIG)).unwrap()
}

/// The small tokenizer in a form that only the library reads: its normaliser in a sequence of one.
fn through_the_library() -> &'static Tokenizer {
    static LIBRARY: OnceLock<Tokenizer> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        changed(|json| json["normalizer"] = json!({ "type": "Sequence", "normalizers": [json["normalizer"].clone()] }))
    })
}

#[test]
fn prepared_files_are_read_without_the_library() {
    assert_eq!(through_the_library().algorithm(), "Hugging Face tokenizers");
    for tokenizer in [Some(small()), llm_jp()].into_iter().flatten() {
        assert_eq!(tokenizer.algorithm(), "Unigram");
    }
}

#[test]
fn what_is_not_as_prepared_is_left_to_the_library() {
    let changes: [(&str, Value); 8] = [
        ("/normalizer/normalizers/1/content", json!("_")),
        ("/pre_tokenizer", json!({ "type": "Whitespace" })),
        ("/post_processor/single/2", json!({ "Sequence": { "id": "A", "type_id": 0 } })),
        ("/added_tokens/3/lstrip", json!(true)),
        ("/added_tokens/3/normalized", json!(true)),
        ("/added_tokens/3/special", json!(false)),
        ("/model/vocab/300/0", json!("<s>")),
        ("/decoder", Value::Null),
    ];
    for (place, value) in changes {
        let tokenizer = changed(|json| *json.pointer_mut(place).unwrap() = value);
        assert_eq!(tokenizer.algorithm(), "Hugging Face tokenizers", "{place}");
    }
    let other_names = br#"{ "cls_token": "<s>", "sep_token": "</s>" }"#;
    let tokenizer = Tokenizer::from_bytes(JSON, Some(other_names)).unwrap();
    assert_eq!(tokenizer.algorithm(), "Hugging Face tokenizers");
}

#[test]
fn pieces_are_those_of_the_library() {
    let (own, library) = (small(), through_the_library());
    assert_eq!((own.num_ids(), own.special()), (library.num_ids(), library.special()));
    for id in 0..own.num_ids() as u32 + 2 {
        assert_eq!((own.piece(id), own.kind(id)), (library.piece(id), library.kind(id)), "{id}");
        assert_eq!(own.decode(&[id]).unwrap(), library.decode(&[id]).unwrap(), "{id}");
    }
}

#[test]
fn the_spelling_of_the_unknown_piece_is_text_as_in_sentencepiece() {
    // The library takes it for the piece, which is then cut after its first character: the same ids, other offsets.
    let [found, expected] = [small(), through_the_library()].map(|tokenizer| tokenizer.encode_body("<unk>").unwrap());
    assert_eq!(found.ids, expected.ids);
}

proptest! {
    #[test]
    fn texts_and_pairs_are_cut_as_by_the_library(any in any::<String>(), hard in hard_text(), other in hard_text()) {
        let (own, library) = (small(), through_the_library());
        for convention in [MaskConvention::Hf, MaskConvention::Clean] {
            let is_clean = convention == MaskConvention::Clean;
            let [any, hard, other] =
                [&any, &hard, &other].map(|text| if is_clean { text.replace("<unk>", "") } else { text.clone() });
            for text in [&any, &hard] {
                let (found, expected) = (own.encode(text, convention).unwrap(), library.encode(text, convention).unwrap());
                prop_assert_eq!(own.decode(&found.ids).unwrap(), library.decode(&found.ids).unwrap());
                prop_assert_eq!(found, expected);
            }
            let pair = |tokenizer: &Tokenizer| tokenizer.encode_pair(&hard, &other, convention).unwrap();
            prop_assert_eq!(pair(own), pair(library));
        }
    }

    #[test]
    fn parts_of_a_text_are_cut_as_by_the_library(hard in hard_text()) {
        let text = hard.replace("<unk>", "");
        for at in text.char_indices().map(|(at, _)| at) {
            let part = |tokenizer: &Tokenizer| tokenizer.encode_part(&text, at..text.len()).unwrap();
            prop_assert_eq!(part(small()), part(through_the_library()));
        }
    }
}
