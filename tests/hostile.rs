//! Tokenizers that would have the library ask for too much memory or read beyond a piece.

use anaume_core::tokenizer::{MaskConvention, Tokenizer};
use serde_json::{Value, json};

#[test]
fn an_id_that_no_vocabulary_has_is_refused() {
    let with_id = |id: u32| {
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": null, "added_tokens": [],
            "model": { "type": "WordLevel", "unk_token": "[UNK]", "vocab": {
                "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4, "far": id,
            } },
        });
        Tokenizer::from_bytes(json.to_string().as_bytes(), None).map(|tokenizer| tokenizer.num_ids())
    };
    assert_eq!(with_id((1 << 20) - 1).unwrap(), 1 << 20);
    let message = with_id(1 << 20).unwrap_err().to_string();
    assert!(message.contains("`far` has the id 1048576"), "{message}");
}

#[test]
fn a_merge_that_makes_no_piece_is_refused_before_the_library_joins_it() {
    let with_merge = |prefix: Value, merge: Value| {
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": null, "added_tokens": [],
            "model": { "type": "BPE", "unk_token": "[UNK]", "continuing_subword_prefix": prefix, "merges": [merge], "vocab": {
                "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4, "a": 5, "b": 6, "ab": 7, "あ": 8, "a##b": 9,
                "##b": 10,
            } },
        });
        Tokenizer::from_bytes(json.to_string().as_bytes(), None).map(drop).map_err(|error| error.to_string())
    };
    for (prefix, merge) in
        [(json!(null), json!(["a", "b"])), (json!(null), json!("a b")), (json!("##"), json!(["a", "##b"]))]
    {
        assert_eq!(with_merge(prefix, merge), Ok(()));
    }
    for (prefix, merge) in [
        (json!(null), json!(["[MASK]", "[MASK]"])),
        (json!("######"), json!(["a", "b"])),
        (json!("#"), json!(["a", "あ"])),
    ] {
        let message = with_merge(prefix, merge).unwrap_err();
        assert!(message.contains("makes no piece of the vocabulary"), "{message}");
    }
}

#[test]
fn steps_that_do_not_go_together_are_an_error_and_no_panic() {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "post_processor": null, "decoder": null,
        "normalizer": { "type": "Replace", "pattern": { "Regex": "^" }, "content": "斁" },
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "unk_token": "[UNK]", "merges": [], "vocab": {
            "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4, "a": 5,
        } },
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes(), None).unwrap();
    for convention in [MaskConvention::Clean, MaskConvention::Hf] {
        let message = tokenizer.encode_pair("a", "a", convention).unwrap_err().to_string();
        assert!(message.contains("its steps do not go together"), "{message}");
    }
}
