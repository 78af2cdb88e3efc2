//! Text to token ids and back, in the form that BERT-style models need; where the tokenizer files come from; training.
//!
//! The pipeline itself is Hugging Face's `tokenizers`, or for the Japanese BERT family MeCab and WordPiece
//! ([`Tokenizer::bert_japanese`]), so that the ids are those of every other program. What is added here is what masked-language modelling needs and that pipeline does not give:
//! - ordinary text never becomes a special token ([`Tokenizer::encode_body`]);
//! - the text after a mask is cut as in the middle of a sentence ([`MaskConvention::Clean`]).

mod adapt;
mod bert_japanese;
mod encode;
mod mecab;
mod names;
mod sentencepiece;
mod train;
mod unigram;
mod viterbi;

pub use adapt::{PREFIX_PATTERN, TokenizerFiles, from_sentencepiece, from_tokenizer_json, prepare};
pub use encode::{Encoding, MaskConvention, char_offsets};
pub use mecab::{Mecab, MecabFiles};
pub use names::Role;
pub use train::{SPECIAL_TOKENS, train};

use std::sync::Arc;

use bert_japanese::BertJapanese;
use serde_json::Value;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};
use viterbi::Unigram;

use crate::error::{Error, Result, caught};

/// Most ids of a tokenizer: four times the largest vocabulary in use. Tables by id are as long as the largest id, which a file can
/// choose freely.
const MAX_IDS: u32 = 1 << 20;

/// Ids of the special tokens that a masked-language model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// What cannot be spelled.
    pub unk: u32,
    /// First token of an input.
    pub cls: u32,
    /// End of each part of an input.
    pub sep: u32,
    /// Filling up to a common length.
    pub pad: u32,
    /// A position to be predicted.
    pub mask: u32,
}

/// What a piece of the vocabulary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Text.
    Text,
    /// One byte of a character that has no piece.
    Byte,
    /// A special token: never made from ordinary text.
    Special,
    /// An id below the largest that names nothing.
    Vacant,
}

/// A tokenizer, ready for use from several threads.
pub struct Tokenizer {
    pipeline: Pipeline,
    kinds: Vec<PieceKind>,
    special: SpecialIds,
    mask_token: String,
}

/// From text to ids.
enum Pipeline {
    /// What a `tokenizer.json` as [`prepare`] writes it describes, without the library, which takes ten times its memory.
    Unigram(Box<Unigram>),
    /// What any other `tokenizer.json` describes.
    Json(Box<JsonPipeline>),
    /// MeCab or white space, then WordPiece or characters.
    Japanese(Box<BertJapanese>),
}

struct JsonPipeline {
    inner: tokenizers::Tokenizer,
    continuation: Continuation,
}

/// The first steps of the pipeline without the one that puts a `▁` before a text.
struct Continuation {
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where there is one, `tokenizer_config.json`, which names the special tokens; without
    /// it they are found by their usual names.
    pub fn from_bytes(tokenizer_json: &[u8], tokenizer_config_json: Option<&[u8]>) -> Result<Self> {
        let json = adapt::parse_json(tokenizer_json)?;
        let config = tokenizer_config_json.map(adapt::parse_json).transpose()?.unwrap_or_default();
        if let Some(unigram) = Unigram::new(&json, &config) {
            let (special, mask_token) = find_special(&|name| unigram.id_of(name), &config)?;
            let marked: Vec<u32> = unigram.added().iter().map(|(_, id)| *id).chain(special.all()).collect();
            let kinds = piece_kinds(&unigram.pieces(), &marked);
            return Ok(Self { pipeline: Pipeline::Unigram(Box::new(unigram)), kinds, special, mask_token });
        }
        let mut inner = adapt::load(&json)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|cause| failed(cause.as_ref()))?;
        let (special, mask_token) = find_special(&|name| inner.token_to_id(name), &config)?;
        let vocab = inner.get_vocab(true);
        let added = inner.get_added_tokens_decoder();
        let marked = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).chain(special.all());
        let pieces: Vec<_> = vocab.iter().map(|(text, id)| (text.as_str(), *id)).collect();
        let kinds = piece_kinds(&pieces, &marked.collect::<Vec<_>>());
        let pipeline = JsonPipeline { continuation: Continuation::new(&json)?, inner };
        Ok(Self { pipeline: Pipeline::Json(Box::new(pipeline)), kinds, special, mask_token })
    }

    /// Reads the `vocab.txt` and `tokenizer_config.json` of a BertJapaneseTokenizer, which gives the ids that transformers
    /// gives; [`Self::wants_mecab`] says whether a dictionary is needed. Settings that are not known are errors: words by
    /// Sudachi or Juman++, pieces by SentencePiece.
    pub fn bert_japanese(vocab_txt: &[u8], tokenizer_config_json: &[u8], mecab: Option<Arc<Mecab>>) -> Result<Self> {
        let config = bert_japanese::read_config(tokenizer_config_json)?;
        let pipeline = BertJapanese::new(vocab_txt, &config, mecab)?;
        let (special, mask_token) = find_special(&|name| pipeline.id_of(name), &config)?;
        let kinds = pipeline.kinds(&special.all());
        Ok(Self { pipeline: Pipeline::Japanese(Box::new(pipeline)), kinds, special, mask_token })
    }

    /// Whether a `tokenizer_config.json` asks for words by MeCab.
    pub fn wants_mecab(tokenizer_config_json: &[u8]) -> Result<bool> {
        bert_japanese::read_config(tokenizer_config_json).map(|config| bert_japanese::wants_mecab(&config))
    }

    /// What cuts text into pieces. The library's Unigram gives the same as the program's own, several times slower.
    pub fn algorithm(&self) -> &'static str {
        match &self.pipeline {
            Pipeline::Unigram(_) => "Unigram",
            Pipeline::Json(_) => "Hugging Face tokenizers",
            Pipeline::Japanese(japanese) => japanese.algorithm(),
        }
    }

    /// Ids of the special tokens.
    pub const fn special(&self) -> &SpecialIds {
        &self.special
    }

    /// Largest id plus one: the rows that an embedding needs.
    pub fn num_ids(&self) -> usize {
        self.kinds.len()
    }

    /// What the piece is; [`PieceKind::Vacant`] beyond the vocabulary too.
    pub fn kind(&self, id: u32) -> PieceKind {
        self.kinds.get(id as usize).copied().unwrap_or(PieceKind::Vacant)
    }

    /// Whether the id is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.kind(id) == PieceKind::Special
    }

    /// The piece as the vocabulary spells it (`▁` for a space, `<0xE3>` for a byte, `##` where a word goes on).
    pub fn piece(&self, id: u32) -> Option<String> {
        match &self.pipeline {
            Pipeline::Unigram(unigram) => unigram.piece(id).map(str::to_owned),
            Pipeline::Json(json) => json.inner.id_to_token(id),
            Pipeline::Japanese(japanese) => japanese.piece(id).map(str::to_owned),
        }
    }

    /// One token as shown to a reader: `▁` as a space, a byte as `<0xE3>`, no `##`, a special token by its name.
    pub fn surface(&self, id: u32) -> Option<String> {
        let piece = self.piece(id)?;
        Some(match &self.pipeline {
            Pipeline::Unigram(_) | Pipeline::Json(_) => piece.replace('▁', " "),
            Pipeline::Japanese(_) => piece.strip_prefix("##").unwrap_or(&piece).to_owned(),
        })
    }

    /// The text of ids, special tokens left out. WordPiece forgets where spaces were: there its words are parted by one
    /// each, as in transformers.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let ordinary = ids.iter().copied().filter(|id| !self.is_special(*id));
        match &self.pipeline {
            Pipeline::Unigram(unigram) => unigram.decode(ordinary),
            Pipeline::Json(json) => contained(|| json.inner.decode(ids, true)),
            Pipeline::Japanese(japanese) => Ok(japanese.decode(ordinary)),
        }
    }
}

impl SpecialIds {
    fn all(self) -> [u32; 5] {
        [self.unk, self.cls, self.sep, self.pad, self.mask]
    }
}

impl Continuation {
    fn new(json: &Value) -> Result<Self> {
        let read = |cause: serde_json::Error| failed(&cause);
        let [normalizer, pre_tokenizer] = ["normalizer", "pre_tokenizer"].map(|step| without_prefix(&json[step]));
        Ok(Self {
            normalizer: normalizer.map(serde_json::from_value).transpose().map_err(read)?,
            pre_tokenizer: pre_tokenizer.map(serde_json::from_value).transpose().map_err(read)?,
        })
    }
}

/// The step without what it puts before a text; `None` if nothing is left of it.
fn without_prefix(step: &Value) -> Option<Value> {
    let mut kept = step.clone();
    match step["type"].as_str()? {
        "Prepend" => return None,
        "Replace" if step["pattern"]["Regex"].as_str().is_some_and(|pattern| pattern.ends_with('^')) => return None,
        "Metaspace" => kept["prepend_scheme"] = "never".into(),
        "Sequence" => {
            for key in ["normalizers", "pretokenizers"] {
                if let Some(steps) = kept.get_mut(key).and_then(Value::as_array_mut) {
                    *steps = steps.iter().filter_map(without_prefix).collect();
                }
            }
        }
        _ => {}
    }
    Some(kept)
}

fn find_special(id_of: &dyn Fn(&str) -> Option<u32>, config: &Value) -> Result<(SpecialIds, String)> {
    let find = |role: Role| {
        let names = role.name_in(config).into_iter().chain(role.names().iter().copied());
        let found = names.filter_map(|name| Some((id_of(name)?, name))).next();
        found.ok_or_else(|| Error::Tokenizer {
            message: format!("it has no {}; name it in tokenizer_config.json", role.key()),
        })
    };
    let id = |role| find(role).map(|found| found.0);
    let (mask, mask_token) = find(Role::Mask)?;
    let special =
        SpecialIds { unk: id(Role::Unk)?, cls: id(Role::Cls)?, sep: id(Role::Sep)?, pad: id(Role::Pad)?, mask };
    Ok((special, mask_token.to_owned()))
}

fn piece_kinds(vocab: &[(&str, u32)], special: &[u32]) -> Vec<PieceKind> {
    let num_ids = vocab.iter().map(|(_, id)| *id as usize + 1).max().unwrap_or(0);
    let mut kinds = vec![PieceKind::Vacant; num_ids];
    for (text, id) in vocab {
        kinds[*id as usize] = if is_byte_piece(text) { PieceKind::Byte } else { PieceKind::Text };
    }
    special.iter().for_each(|id| kinds[*id as usize] = PieceKind::Special);
    kinds
}

/// `<0x00>` to `<0xFF>`.
fn is_byte_piece(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok())
}

/// Runs a part of the tokenizers library, which panics on steps that read well and do not go together, such as text put before a text
/// whose bytes another step spells out.
fn contained<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    caught(
        || work().map_err(|cause| failed(cause.as_ref())),
        |text| {
            let reason = text.unwrap_or("the library gives no reason");
            Error::Tokenizer { message: format!("its steps do not go together: {reason}") }
        },
    )
}

fn failed(cause: &(dyn std::error::Error + 'static)) -> Error {
    Error::Tokenizer { message: cause.to_string() }
}
