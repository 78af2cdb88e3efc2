//! Pseudo-log-likelihood: how likely each token is given all others of its text (Salazar et al. 2020, "Masked Language
//! Model Scoring", arXiv 1910.14659).
//!
//! Every scored token needs a copy of the text in which it alone is masked. Copies of one or several texts are packed into
//! one forward pass, so it runs at the speed of the encoder; only the losses come back to the host.
//!
//! Legend of the shape suffixes: `t` tokens of all copies, `d` hidden size, `m` masked tokens, `v` vocabulary.

use anaume_shaders::cross_entropy::cross_entropy;
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Engine;
use crate::batch::{Sequences, groups_within};
use crate::error::{Error, Result};
use crate::layers::int_tensor;
use crate::weights::read_back;

/// Tokens of all copies in one forward pass: enough to fill a device, little enough to stop between two.
pub const SCORING_TOKENS_PER_FORWARD: usize = 8192;

/// A text of which one token is masked and scored.
#[derive(Clone, Copy, Debug)]
pub struct MaskedCopy<'a> {
    /// `[CLS] … [SEP]`, without the mask.
    pub ids: &'a [u32],
    /// Index in `ids` of the token, which is neither the first nor the last one.
    pub position: usize,
}

impl Engine {
    /// For each copy the natural logarithm of the probability of its masked token, given all others of the copy.
    ///
    /// Neighbours in the same forward pass do not see each other: the values do not depend on what is scored together.
    ///
    /// # Errors
    /// [`Error::Input`] for a position that is not between `[CLS]` and `[SEP]`, an id beyond the vocabulary, a text longer
    /// than the model takes.
    pub async fn pseudo_log_likelihoods(&self, copies: &[MaskedCopy<'_>]) -> Result<Vec<f64>> {
        copies.iter().try_for_each(MaskedCopy::check)?;
        let mut values = Vec::with_capacity(copies.len());
        for group in groups_within(SCORING_TOKENS_PER_FORWARD, copies, |copy| copy.ids.len()) {
            let losses_1m = read_back(self.losses(group)?).await?;
            values.extend(losses_1m.into_iter().map(|loss| -f64::from(loss)));
        }
        Ok(values)
    }

    /// Cross-entropies `[1, m]` of the masked tokens of the copies. Enqueues work only.
    fn losses(&self, copies: &[MaskedCopy<'_>]) -> Result<Tensor<2>> {
        let mask = self.tokenizer.special().mask;
        let (mut sequences, mut masked_m, mut labels_m) = (Sequences::default(), Vec::new(), Vec::new());
        for copy in copies {
            let masked = sequences.ids.len() + copy.position;
            sequences.push(copy.ids);
            sequences.ids[masked] = mask;
            masked_m.push(masked);
            labels_m.push(copy.ids[copy.position] as i32);
        }
        let hidden_td = self.model.encoder.forward(&self.model.encoder.inputs(&sequences)?);
        let at_once = self.logit_rows_at_once();
        let parts = masked_m.chunks(at_once).zip(labels_m.chunks(at_once)).map(|(masked, labels)| {
            let labels = int_tensor(labels.to_vec(), [labels.len()], &hidden_td.device());
            Ok(cross_entropy(self.model.logits_at(hidden_td.clone(), masked)?, labels).narrow(0, 0, 1))
        });
        Ok(Tensor::cat(parts.collect::<Result<_>>()?, 1))
    }
}

impl MaskedCopy<'_> {
    fn check(&self) -> Result<()> {
        if (1..self.ids.len().saturating_sub(1)).contains(&self.position) {
            return Ok(());
        }
        let message = format!(
            "position {} of a text of {} tokens is not between [CLS] and [SEP], which are never masked",
            self.position,
            self.ids.len()
        );
        Err(Error::Input { message })
    }
}

/// Positions of a text to be scored, ascending: `count` of those between `[CLS]` and `[SEP]` of `num_tokens` ids, drawn
/// without replacement and each as likely as any other; all of them where there are no more than `count`.
///
/// They depend on the seed and the text alone, so neither the order of texts nor a split of the work changes them.
pub fn sample_positions(num_tokens: usize, count: usize, seed: u64, text: &str) -> Vec<usize> {
    let mut positions: Vec<usize> = (1..num_tokens.saturating_sub(1)).collect();
    if count >= positions.len() {
        return positions;
    }
    let mut hasher = blake3::Hasher::new_derive_key("anaume 2026 positions of pseudo-perplexity");
    hasher.update(&seed.to_le_bytes()).update(text.as_bytes());
    let mut random = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
    // The first `count` steps of a Fisher-Yates shuffle.
    for place in 0..count {
        let left = (positions.len() - place) as u128;
        let drawn = ((u128::from(random.next_u64()) * left) >> 64) as usize;
        positions.swap(place, place + drawn);
    }
    positions.truncate(count);
    positions.sort_unstable();
    positions
}
