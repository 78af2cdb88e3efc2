//! What a model answers, as plain data: made by [`crate::infer`], shown by the page, which has no model in it.

use serde::{Deserialize, Serialize};

/// A token of a text, as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its spelling in the vocabulary.
    pub piece: String,
    /// Its byte range in the text, as in [`crate::tokenizer::Encoding::offsets`].
    pub offsets: (usize, usize),
    /// Whether it is a mask.
    pub is_mask: bool,
}

/// One candidate for a mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The token as shown to a reader.
    pub token: String,
    /// Its id.
    pub token_id: u32,
    /// Its probability among all tokens.
    pub probability: f64,
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillMask {
    /// The text as asked.
    pub text: String,
    /// Whether text after the last mask was cut to fit the model.
    pub truncated: bool,
    /// For each mask, from left to right, its candidates from the likeliest on.
    pub masks: Vec<Vec<Candidate>>,
}
