//! Whether a device computes what another one did: a silently wrong kernel must not answer.

use super::Engine;
use crate::config::Pooling;
use crate::error::Result;
use crate::report::site::SelfCheck;
use crate::tokenizer::MaskConvention;

/// Tokens whose logits are recorded, spread over the vocabulary.
const NUM_TOKENS: usize = 64;
/// Largest difference, as a share of the largest recorded magnitude: devices differ in the last bits, not in the third digit.
const TOLERANCE: f32 = 1e-3;

impl Engine {
    /// What the model answers to a text with one mask, to compare with later.
    pub async fn record(&self, text: &str) -> Result<SelfCheck> {
        let step = self.vocab_size().div_ceil(NUM_TOKENS);
        let token_ids: Vec<u32> = match self.config.has_lm_head() {
            true => (0..self.vocab_size() as u32).step_by(step).collect(),
            false => Vec::new(),
        };
        let mut logits = Vec::new();
        if !token_ids.is_empty() {
            let see = |_, row: &[f32]| logits.extend(token_ids.iter().map(|id| row[*id as usize]));
            self.for_each_mask(&[self.prompt(text, MaskConvention::Clean)?], see).await?;
        }
        let mut vectors = self.embed(&[text.to_owned()], Pooling::Mean, self.max_length()).await?;
        Ok(SelfCheck { text: text.to_owned(), token_ids, logits, vector: vectors.pop().unwrap_or_default() })
    }

    /// Whether the model still answers what was recorded, but for rounding.
    pub async fn answers_as(&self, recorded: &SelfCheck) -> Result<bool> {
        let now = self.record(&recorded.text).await?;
        let is_same_place = now.token_ids == recorded.token_ids;
        Ok(is_same_place && agree(&recorded.logits, &now.logits) && agree(&recorded.vector, &now.vector))
    }
}

fn agree(recorded: &[f32], now: &[f32]) -> bool {
    let largest = recorded.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    // Written so that a value that is not a number disagrees.
    recorded.len() == now.len() && recorded.iter().zip(now).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest)
}
