//! The best way to spell a text with the pieces of a Unigram vocabulary, in time linear in the text: an Aho-Corasick automaton
//! finds the pieces that end at each character (Kanda et al., arXiv 2207.13870), and Viterbi's algorithm keeps the best (Kudo,
//! arXiv 1804.10959).
//!
//! The same ids and offsets as the `tokenizers` library, which does everything in strings, for the pipeline that
//! [`super::prepare`] writes: special tokens found in the text, a `▁` before what is between them, spaces as `▁`, bytes for what
//! has no piece.

use std::collections::HashMap;
use std::ops::Range;

use daachorse::CharwiseDoubleArrayAhoCorasick;
use serde_json::Value;
use tokenizers::{Decoder, DecoderWrapper};

use super::{SpecialIds, adapt, contained, find_special};
use crate::error::Result;

/// What an unknown character costs more than the least probable piece, as in SentencePiece.
const UNKNOWN_PENALTY: f64 = 10.0;
/// What stands for a space.
const SPACE: char = '▁';

/// A Unigram vocabulary.
pub(super) struct Unigram {
    automaton: CharwiseDoubleArrayAhoCorasick<u32>,
    /// The pieces and their log probabilities, by id.
    pieces: Vec<String>,
    scores: Vec<f64>,
    unknown_id: u32,
    unknown_score: f64,
    /// The piece of each byte; none where one is missing.
    bytes: Option<Box<[u32; 256]>>,
    /// Pieces that are found in text before it is cut: the special tokens.
    added: Vec<u32>,
    decoder: DecoderWrapper,
}

/// The best path to a place in the text.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// Where its last piece starts, and which it is.
    start: u32,
    id: u32,
}

impl Best {
    const NONE: Self = Self { score: f64::NEG_INFINITY, start: u32::MAX, id: 0 };

    /// Takes the way over a piece if it is the first or a better one.
    fn offer(&mut self, score: f64, start: usize, id: u32) {
        if self.start == u32::MAX || score > self.score {
            *self = Self { score, start: start as u32, id };
        }
    }
}

impl Unigram {
    /// What a `tokenizer.json` describes; none where it is not as [`super::prepare`] writes it, has a piece twice, or where
    /// `tokenizer_config.json` has other special tokens.
    pub fn new(json: &Value, config: &Value) -> Option<Self> {
        let model = &json["model"];
        let (vocab, unknown_id) = (model["vocab"].as_array()?, model["unk_id"].as_u64()? as u32);
        let entries: Option<Vec<_>> =
            vocab.iter().map(|entry| Some((entry[0].as_str()?, entry[1].as_f64()?))).collect();
        let (texts, scores): (Vec<&str>, Vec<f64>) = entries?.into_iter().unzip();
        let named = || texts.iter().copied().zip(0..).filter(|(text, _)| !text.is_empty());
        let ids: HashMap<&str, u32> = named().collect();
        let id_of = |text: &str| ids.get(text).copied();
        let (SpecialIds { cls, sep, .. }, _) = find_special(&id_of, config).ok()?;
        let [cls, sep] = [cls, sep].map(|id| (texts[id as usize], id));
        let added = json["added_tokens"].as_array()?.iter().filter_map(|token| id_of(token["content"].as_str()?));
        let added: Vec<u32> = added.collect();
        if !adapt::is_prepared(json, &id_of, cls, sep) || !added.contains(&unknown_id) {
            return None;
        }
        let bytes: Option<Vec<u32>> = (0..256).map(|byte| id_of(&format!("<0x{byte:02X}>"))).collect();
        let bytes = bytes.filter(|_| model["byte_fallback"] == true).and_then(|ids| ids.try_into().ok()).map(Box::new);
        // What spells the unknown piece is a special token or text, never an unknown character.
        let in_text = named().filter(|(_, id)| *id != unknown_id);
        Some(Self {
            automaton: CharwiseDoubleArrayAhoCorasick::with_values(in_text).ok()?,
            added,
            unknown_id,
            unknown_score: scores.iter().copied().fold(f64::INFINITY, f64::min) - UNKNOWN_PENALTY,
            bytes,
            decoder: serde_json::from_slice(json["decoder"].to_string().as_bytes()).ok()?,
            pieces: texts.into_iter().map(str::to_owned).collect(),
            scores,
        })
    }

    /// Id of a piece.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.pieces.iter().position(|piece| piece == text).map(|id| id as u32)
    }

    /// The piece as the vocabulary spells it.
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.get(id as usize).map(String::as_str)
    }

    /// Every piece with its id.
    pub fn pieces(&self) -> Vec<(&str, u32)> {
        self.pieces.iter().map(String::as_str).zip(0..).collect()
    }

    /// The tokens that are found in text before it is cut.
    pub fn added(&self) -> Vec<(&str, u32)> {
        self.added.iter().filter_map(|id| Some((self.piece(*id)?, *id))).collect()
    }

    /// The text of ids.
    pub fn decode(&self, ids: impl Iterator<Item = u32>) -> Result<String> {
        let pieces = ids.filter_map(|id| self.piece(id).map(str::to_owned)).collect();
        contained(|| self.decoder.decode(pieces))
    }

    /// Ids of a text and the bytes of it that each stands for. A text that `continues` another gets no `▁` before it.
    pub fn cut(&self, text: &str, continues: bool) -> Vec<(u32, (usize, usize))> {
        let mut normal = String::with_capacity(text.len() + text.len() / 8 + SPACE.len_utf8());
        normal.extend((!continues).then_some(SPACE));
        normal.extend(text.chars().map(|char| if char == ' ' { SPACE } else { char }));
        let mut places = Places::new(text, !continues);
        let mut tokens = Vec::new();
        for (id, range) in self.best_path(&normal) {
            let offsets = (places.original(range.start), places.original(range.end));
            match &self.bytes {
                Some(bytes) if id == self.unknown_id => {
                    tokens.extend(normal[range].bytes().map(|byte| (bytes[usize::from(byte)], offsets)));
                }
                _ => tokens.push((id, offsets)),
            }
        }
        tokens
    }

    /// The pieces of the best path in order, unknown characters side by side as one.
    fn best_path(&self, text: &str) -> Vec<(u32, Range<usize>)> {
        let mut best = vec![Best::NONE; text.len() + 1];
        best[0].score = 0.0;
        let mut pieces = self.automaton.find_overlapping_iter(text).peekable();
        for (start, char) in text.char_indices() {
            let end = start + char.len_utf8();
            let mut is_spelled = false;
            // The longest first: of two equal ways that with the longer last piece stays.
            while let Some(piece) = pieces.next_if(|piece| piece.end() == end) {
                let score = best[piece.start()].score + self.scores[piece.value() as usize];
                best[end].offer(score, piece.start(), piece.value());
                is_spelled |= piece.start() == start;
            }
            if !is_spelled {
                let score = best[start].score + self.unknown_score;
                best[end].offer(score, start, self.unknown_id);
            }
        }
        let mut path: Vec<(u32, Range<usize>)> = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let Best { start, id, .. } = best[end];
            match path.last_mut() {
                Some((next, range)) if id == self.unknown_id && *next == id => range.start = start as usize,
                _ => path.push((id, start as usize..end)),
            }
            end = start as usize;
        }
        path.reverse();
        path
    }
}

/// From places in the text with `▁` to places in the text as it was written, asked for in ascending order.
struct Places<'a> {
    chars: std::str::Chars<'a>,
    normal: usize,
    original: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, has_prefix: bool) -> Self {
        Self { chars: text.chars(), normal: if has_prefix { SPACE.len_utf8() } else { 0 }, original: 0 }
    }

    fn original(&mut self, normal: usize) -> usize {
        while self.normal < normal {
            let Some(char) = self.chars.next() else { break };
            self.normal += if char == ' ' { SPACE.len_utf8() } else { char.len_utf8() };
            self.original += char.len_utf8();
        }
        self.original
    }
}
