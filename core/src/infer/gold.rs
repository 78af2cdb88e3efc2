//! Masks judged against gold answers: their rank and probability among all tokens.

use super::{Candidate, Engine, Prompt};
use crate::error::Result;
use crate::tokenizer::MaskConvention;

/// What a model thinks of the gold answers at one mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoldScore {
    /// 1 plus the number of tokens that are likelier than every gold one.
    pub rank: usize,
    /// Natural logarithm of the probability that the token is one of the gold ones.
    pub log_probability: f64,
}

/// The answer at one mask.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedMask {
    /// The likeliest tokens.
    pub candidates: Vec<Candidate>,
    /// The score of the gold tokens; `None` where there are none.
    pub gold: Option<GoldScore>,
}

impl Engine {
    /// The likeliest `top_k` tokens at every mask of every text, and the score of the gold token ids of that mask.
    /// `gold_of(text, mask)` gives them, by index; none where the mask is not judged.
    ///
    /// # Errors
    /// As [`Engine::fill_mask`]: a text without a mask, or whose last mask lies beyond what the model takes.
    pub async fn judge_masks<'a>(
        &self,
        texts: &[String],
        gold_of: impl Fn(usize, usize) -> &'a [u32],
        top_k: usize,
        convention: MaskConvention,
    ) -> Result<Vec<Vec<JudgedMask>>> {
        let prompts: Vec<Prompt> = texts.iter().map(|text| self.prompt(text, convention)).collect::<Result<_>>()?;
        let mut judged: Vec<Vec<JudgedMask>> = vec![Vec::new(); texts.len()];
        let judge = |text: usize, logits: &[f32]| {
            let gold = score(logits, gold_of(text, judged[text].len()));
            judged[text].push(JudgedMask { candidates: self.candidates(logits, top_k), gold });
        };
        self.for_each_mask(&prompts, judge).await?;
        Ok(judged)
    }
}

fn score(logits: &[f32], gold: &[u32]) -> Option<GoldScore> {
    let gold: Vec<f32> = gold.iter().map(|id| logits[*id as usize]).collect();
    let best = gold.iter().copied().reduce(f32::max)?;
    let rank = 1 + logits.iter().filter(|logit| **logit > best).count();
    Some(GoldScore { rank, log_probability: log_sum_exp(&gold) - log_sum_exp(logits) })
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(maximum) + logits.iter().map(|logit| f64::from(logit - maximum).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_counts_the_likelier_tokens_and_the_probability_sums_over_the_gold_ones() {
        let logits = [1.0_f32.ln(), 4.0_f32.ln(), 2.0_f32.ln(), 3.0_f32.ln()];
        let found = score(&logits, &[0, 2]).unwrap();
        assert_eq!(found.rank, 3);
        assert!((found.log_probability.exp() - 0.3).abs() < 1e-7);
        assert_eq!(score(&logits, &[1]).unwrap().rank, 1);
        assert_eq!(score(&logits, &[]), None);
    }

    #[test]
    fn equal_logits_share_the_better_rank() {
        assert_eq!(score(&[2.0, 2.0, 1.0], &[1]).unwrap().rank, 1);
        assert_eq!(score(&[2.0, 2.0, 1.0], &[2]).unwrap().rank, 3);
    }
}
