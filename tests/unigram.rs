//! The own Unigram path: the ids and offsets of the library, on whole documents and on hard text.

use std::path::Path;

use anaume_core::tokenizer::{Encoding, MaskConvention, Tokenizer};
use proptest::prelude::*;
use serde_json::Value;

use crate::tokenizer::{hard_text, llm_jp, small};

/// What the library gives for a text; none for one that spells special tokens or byte pieces, which it takes for them.
fn of_the_library(tokenizer: &Tokenizer, text: &str) -> Option<Encoding> {
    let encoded = tokenizer.encode(text, MaskConvention::Hf).unwrap();
    let body = 1..encoded.ids.len() - 1;
    let spells_special = text.contains("<0x") || encoded.ids[body.clone()].iter().any(|id| tokenizer.is_special(*id));
    (!spells_special).then(|| Encoding {
        ids: encoded.ids[body.clone()].to_vec(),
        offsets: encoded.offsets[body].to_vec(),
        mask_positions: Vec::new(),
    })
}

fn assert_as_in_the_library(tokenizer: &Tokenizer, text: &str) -> bool {
    let Some(expected) = of_the_library(tokenizer, text) else { return false };
    assert!(tokenizer.encode_body(text).unwrap() == expected, "{:?}", text.chars().take(60).collect::<String>());
    true
}

#[test]
fn whole_documents_have_the_ids_and_offsets_of_the_library() {
    let Some(tokenizer) = llm_jp() else { return };
    let data = std::env::var_os("ANAUME_DATA").expect("the tokenizer was read from there");
    let mut compared = 0;
    for file in ["wiki_kyoto/eval.jsonl.gz", "aozora/valid.jsonl.gz", "law_ja/acts.jsonl.gz"] {
        let file = std::fs::File::open(Path::new(&data).join(file)).unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(flate2::read::MultiGzDecoder::new(file)));
        for line in lines.take(40) {
            let document: Value = serde_json::from_str(&line.unwrap()).unwrap();
            compared += usize::from(assert_as_in_the_library(tokenizer, document["text"].as_str().unwrap()));
        }
    }
    assert!(compared > 90, "{compared} documents");
}

proptest! {
    #[test]
    fn hard_text_has_the_ids_and_offsets_of_the_library(text in hard_text(), any in "\\PC{0,40}") {
        assert_as_in_the_library(small(), &text);
        assert_as_in_the_library(small(), &any);
    }
}
