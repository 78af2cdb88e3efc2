//! Tokenizers of the llm-jp family in the form that BERT needs: `CLS A SEP` and `CLS A SEP B SEP`.
//!
//! The result is what the Hugging Face libraries load: [`TokenizerFiles`] holds the three files as bytes.

use serde_json::{Value, json};

use super::MAX_IDS;
use super::names::Role;
use super::sentencepiece::{self, Piece};
use crate::error::{Error, Result};

/// Start of a text, but not of its later lines: where the llm-jp family puts a `▁`.
pub const PREFIX_PATTERN: &str = r"(?<!\n)^";

/// Version of `tokenizer.json`, the only one there is.
const VERSION: &str = "1.0";

/// Longest input that transformers lets through when asked to truncate: the positions of ModernBERT.
const MODEL_MAX_LENGTH: u32 = 8192;

/// The files of a tokenizer folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFiles {
    /// `tokenizer.json`: the whole pipeline.
    pub tokenizer_json: Vec<u8>,
    /// `tokenizer_config.json`: the names of the special tokens and what transformers needs to know.
    pub tokenizer_config_json: Vec<u8>,
    /// `special_tokens_map.json`: the names of the special tokens again, for older readers.
    pub special_tokens_map_json: Vec<u8>,
}

impl TokenizerFiles {
    /// Every file with its name in the folder.
    pub fn named(&self) -> [(&'static str, &[u8]); 3] {
        [
            ("tokenizer.json", &self.tokenizer_json),
            ("tokenizer_config.json", &self.tokenizer_config_json),
            ("special_tokens_map.json", &self.special_tokens_map_json),
        ]
    }
}

/// Prepares a SentencePiece `.model` or a `tokenizer.json`, told apart by their first byte.
pub fn prepare(source: &[u8]) -> Result<TokenizerFiles> {
    match source.trim_ascii_start().first() {
        Some(b'{') => from_tokenizer_json(source),
        _ => from_sentencepiece(source),
    }
}

/// A SentencePiece Unigram model with byte fall-back: the same pieces, scores and ids.
pub fn from_sentencepiece(model: &[u8]) -> Result<TokenizerFiles> {
    from_pieces(&sentencepiece::read(model)?)
}

/// A `tokenizer.json` whose special tokens are known by name: its post-processor is replaced, all else kept.
pub fn from_tokenizer_json(json: &[u8]) -> Result<TokenizerFiles> {
    finish(parse_json(json)?)
}

/// The Hugging Face form of a vocabulary; the id of a piece is its place.
pub(super) fn from_pieces(pieces: &[Piece]) -> Result<TokenizerFiles> {
    let unk_id = pieces.iter().position(|piece| Role::Unk.names().contains(&piece.text.as_str()));
    let specials = pieces.iter().enumerate().filter(|(_, piece)| piece.special);
    let added_tokens: Vec<_> = specials.map(|(id, piece)| added_token(id, &piece.text)).collect();
    let vocab: Vec<_> = pieces.iter().map(|piece| json!([piece.text, piece.score])).collect();
    finish(json!({
        "version": VERSION,
        "added_tokens": added_tokens,
        "normalizer": normalizer(),
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "ByteFallback" },
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ]},
        "model": { "type": "Unigram", "unk_id": unk_id, "vocab": vocab, "byte_fallback": true },
    }))
}

/// A `▁` before the text and for every space.
fn normalizer() -> Value {
    json!({ "type": "Sequence", "normalizers": [
        { "type": "Replace", "pattern": { "Regex": PREFIX_PATTERN }, "content": "▁" },
        { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
    ]})
}

/// Whether a `tokenizer.json` is what [`from_sentencepiece`] and [`super::train`] write but for its pieces, its decoder and further
/// special tokens. `id_of` gives the id of a piece.
pub(super) fn is_prepared(
    json: &Value,
    id_of: &dyn Fn(&str) -> Option<u32>,
    cls: (&str, u32),
    sep: (&str, u32),
) -> bool {
    let is_piece = |token: &Value| {
        let content = token["content"].as_str().unwrap_or_default();
        id_of(content).is_some_and(|id| *token == added_token(id as usize, content))
    };
    json["version"] == VERSION
        && json["model"]["type"] == "Unigram"
        && json["normalizer"] == normalizer()
        && json["pre_tokenizer"].is_null()
        && json["post_processor"] == bert_template(cls, sep)
        && json["added_tokens"].as_array().is_some_and(|tokens| tokens.iter().all(is_piece))
}

/// Sets the BERT form and writes the files.
fn finish(mut tokenizer: Value) -> Result<TokenizerFiles> {
    let names = special_names(&load(&tokenizer)?)?;
    for (_, name, id) in &names {
        mark_special(&mut tokenizer, *id, name)?;
    }
    tokenizer["truncation"] = Value::Null;
    tokenizer["padding"] = Value::Null;
    let named = |role| names.iter().find(|named| named.0 == role).map(|named| (named.1, named.2)).unwrap_or_default();
    tokenizer["post_processor"] = bert_template(named(Role::Cls), named(Role::Sep));
    let json = load(&tokenizer)?.to_string(false).map_err(|cause| unusable(cause.as_ref()))?;
    let map: serde_json::Map<_, _> = names.iter().map(|(role, name, _)| (role.key().to_owned(), json!(name))).collect();
    let mut config = map.clone();
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    config.insert("model_input_names".to_owned(), json!(["input_ids", "attention_mask"]));
    config.insert("model_max_length".to_owned(), json!(MODEL_MAX_LENGTH));
    config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    Ok(TokenizerFiles {
        tokenizer_json: json.into_bytes(),
        tokenizer_config_json: format!("{:#}\n", Value::from(config)).into_bytes(),
        special_tokens_map_json: format!("{:#}\n", Value::from(map)).into_bytes(),
    })
}

type Named = (Role, &'static str, u32);

fn special_names(tokenizer: &tokenizers::Tokenizer) -> Result<Vec<Named>> {
    let find = |role: Role| {
        let found = role.names().iter().find_map(|name| Some((role, *name, tokenizer.token_to_id(name)?)));
        found.ok_or_else(|| Error::Tokenizer {
            message: format!("it has no {}: none of {} is in the vocabulary", role.key(), role.names().join(", ")),
        })
    };
    Role::ALL.into_iter().map(find).collect()
}

fn bert_template(cls: (&str, u32), sep: (&str, u32)) -> Value {
    let special = |(name, _): (&str, u32), segment: u32| json!({ "SpecialToken": { "id": name, "type_id": segment } });
    let text = |name: &str, segment: u32| json!({ "Sequence": { "id": name, "type_id": segment } });
    let entry = |(name, id): (&str, u32)| json!({ "id": name, "ids": [id], "tokens": [name] });
    let single = [special(cls, 0), text("A", 0), special(sep, 0)];
    let pair = [&single[..], &[text("B", 1), special(sep, 1)]].concat();
    json!({
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": { cls.0: entry(cls), sep.0: entry(sep) },
    })
}

/// Makes sure that the token is found in text as it is written, before the normaliser, and skipped when decoding.
fn mark_special(tokenizer: &mut Value, id: u32, name: &str) -> Result<()> {
    let Some(added) = tokenizer["added_tokens"].as_array_mut() else {
        return Err(Error::Tokenizer { message: "tokenizer.json has no list `added_tokens`".to_owned() });
    };
    match added.iter_mut().find(|token| token["content"] == name) {
        Some(token) => {
            token["special"] = json!(true);
            token["normalized"] = json!(false);
        }
        None => added.push(added_token(id as usize, name)),
    }
    Ok(())
}

fn added_token(id: usize, content: &str) -> Value {
    json!({
        "id": id, "content": content, "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

/// Builds the pipeline, which also checks it.
pub(super) fn load(json: &Value) -> Result<tokenizers::Tokenizer> {
    check_ids(json)?;
    check_merges(&json["model"])?;
    let tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string()).map_err(|cause| unusable(cause.as_ref()))?;
    check_templates(&json["post_processor"])?;
    Ok(tokenizer)
}

/// Tables and loops by id are as long as the largest id.
fn check_ids(json: &Value) -> Result<()> {
    let ids = json["model"]["vocab"].as_object().into_iter().flatten();
    match ids.filter_map(|(text, id)| Some((text, id.as_u64()?))).find(|(_, id)| *id >= u64::from(MAX_IDS)) {
        Some((text, id)) => {
            Err(Error::Tokenizer { message: format!("`{text}` has the id {id}; ids are below {MAX_IDS}") })
        }
        None => Ok(()),
    }
}

/// The library joins the parts of a merge of BPE without looking at their lengths or at the borders of characters.
fn check_merges(model: &Value) -> Result<()> {
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default().len();
    let is_piece = |merge: &Value| {
        let (first, second) = match merge.as_str() {
            Some(line) if line.starts_with("#version") => return true,
            Some(line) => line.split_once(' ').unwrap_or_default(),
            None => (merge[0].as_str().unwrap_or_default(), merge[1].as_str().unwrap_or_default()),
        };
        second.get(prefix..).is_some_and(|rest| model["vocab"].get(format!("{first}{rest}")).is_some())
    };
    match model["merges"].as_array().into_iter().flatten().find(|merge| !is_piece(merge)) {
        Some(merge) => Err(Error::Tokenizer { message: format!("the merge {merge} makes no piece of the vocabulary") }),
        None => Ok(()),
    }
}

/// Templates that name a special token or a text that is not there are read without complaint, and panic when used.
fn check_templates(step: &Value) -> Result<()> {
    step["processors"].as_array().into_iter().flatten().try_for_each(check_templates)?;
    for (template, texts) in [("single", &["A"][..]), ("pair", &["A", "B"])] {
        for part in step[template].as_array().into_iter().flatten() {
            let special = part["SpecialToken"]["id"].as_str();
            let text = part["Sequence"]["id"].as_str();
            let is_there = special.is_none_or(|name| step["special_tokens"].get(name).is_some())
                && text.is_none_or(|name| texts.contains(&name));
            if !is_there {
                let message = format!("the template `{template}` names {part}, which it does not have");
                return Err(Error::Tokenizer { message });
            }
        }
    }
    Ok(())
}

/// Parses JSON, with the byte of the first fault.
pub(super) fn parse_json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|cause| {
        let line_start: usize =
            bytes.split_inclusive(|byte| *byte == b'\n').take(cause.line().saturating_sub(1)).map(<[u8]>::len).sum();
        let byte = (line_start + cause.column()).saturating_sub(1) as u64;
        Error::Format { format: "tokenizer JSON", byte, message: format!("{cause}; the file is truncated or damaged") }
    })
}

fn unusable(cause: &(dyn std::error::Error + Send + Sync)) -> Error {
    Error::Tokenizer { message: format!("tokenizer.json does not describe a tokenizer: {cause}") }
}
