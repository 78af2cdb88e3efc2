//! SentencePiece `.model` bytes (a protobuf, `sentencepiece_model.proto`) to pieces with scores.

use prost::Message;

use crate::error::{Error, Result};

/// Name of the format in errors.
const FORMAT: &str = "SentencePiece model";

/// The fields of `ModelProto` that decide how text is cut.
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceProto>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct PieceProto {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(enumeration = "PieceType", optional, tag = "3", default = "Normal")]
    kind: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum PieceType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3", default = "1")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24", default = "false")]
    treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35", default = "false")]
    byte_fallback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    remove_extra_whitespaces: Option<bool>,
}

/// One entry of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// Text of the piece, `▁` for a space; special tokens by their Hugging Face name.
    pub(super) text: String,
    /// Log probability.
    pub(super) score: f64,
    /// Never the result of cutting text: unknown, control and user-defined pieces.
    pub(super) special: bool,
}

/// Reads a Unigram model with byte fall-back and no normalisation of its own, the kind of the llm-jp family.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Piece>> {
    let proto = ModelProto::decode(bytes).map_err(|cause| Error::Format {
        format: FORMAT,
        byte: first_bad_field(bytes) as u64,
        message: format!("{cause}; the file is truncated, damaged or not a SentencePiece model"),
    })?;
    check_kind(&proto)?;
    proto.pieces.iter().enumerate().map(|(id, piece)| read_piece(id, piece)).collect()
}

fn read_piece(id: usize, proto: &PieceProto) -> Result<Piece> {
    let (text, score) = (proto.piece(), proto.score());
    if text.is_empty() || !score.is_finite() {
        return refuse(format!("piece {id} (`{text}`) is empty or has the score {score}"));
    }
    let special = matches!(proto.kind(), PieceType::Unknown | PieceType::Control | PieceType::UserDefined);
    let text = if special { hugging_face_name(text) } else { text.to_owned() };
    Ok(Piece { text, score: f64::from(score), special })
}

/// llm-jp marks its own special tokens with `|LLM-jp` in the Hugging Face form (`<MASK>` is `<MASK|LLM-jp>`), so that
/// ordinary text hardly ever spells one; the three that every SentencePiece model has keep their names.
fn hugging_face_name(name: &str) -> String {
    match name.strip_suffix('>') {
        Some(start) if !["<unk>", "<s>", "</s>"].contains(&name) && !start.ends_with("|LLM-jp") => {
            format!("{start}|LLM-jp>")
        }
        _ => name.to_owned(),
    }
}

fn check_kind(proto: &ModelProto) -> Result<()> {
    let trainer = proto.trainer_spec.clone().unwrap_or_default();
    let normalizer = proto.normalizer_spec.clone().unwrap_or_default();
    let num_bytes = proto.pieces.iter().filter(|piece| piece.kind() == PieceType::Byte).count();
    if proto.pieces.is_empty() {
        return Err(Error::Format { format: FORMAT, byte: 0, message: "it holds no pieces".to_owned() });
    }
    if trainer.model_type() != 1 {
        return refuse(format!("its model type is {}, and only Unigram (1) can be read", trainer.model_type()));
    }
    if !trainer.byte_fallback() || num_bytes != 256 {
        return refuse(format!("it has {num_bytes} of the 256 byte pieces that byte fall-back needs"));
    }
    if !normalizer.precompiled_charsmap().is_empty() || normalizer.remove_extra_whitespaces() {
        return refuse(format!("its normaliser is `{}`, and only `identity` can be read", normalizer.name()));
    }
    if !normalizer.add_dummy_prefix() || trainer.treat_whitespace_as_suffix() {
        return refuse("it must put `▁` before words (add_dummy_prefix, no treat_whitespace_as_suffix)".to_owned());
    }
    Ok(())
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::Tokenizer { message: format!("the SentencePiece model cannot be used: {message}") })
}

/// Offset of the first top-level field that does not decode on its own.
fn first_bad_field(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        let start = rest;
        let Ok((tag, wire)) = prost::encoding::decode_key(&mut rest) else { return bytes.len() - start.len() };
        let skipped = prost::encoding::skip_field(wire, tag, &mut rest, prost::encoding::DecodeContext::default());
        let field = &start[..start.len() - rest.len()];
        if skipped.is_err() || ModelProto::decode(field).is_err() || rest.is_empty() {
            return bytes.len() - start.len();
        }
    }
}
