//! The masked-language-model loss: a sum over masked tokens; callers divide by the global count.
//!
//! The logits over the vocabulary are by far the largest tensor of a model. They are made for some masked tokens at a time, and
//! in training each part's backward pass runs before the next part's logits exist.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `m` masked tokens.

use anaume_shaders::cross_entropy::cross_entropy;
use burn::tensor::Tensor;

use crate::batch::Batch;
use crate::config::LOGITS_AT_ONCE;
use crate::error::Result;
use crate::layers::{int_tensor, rows};
use crate::modernbert::MaskedLm;

/// `[2]`: the sum of the cross-entropies of the batch's masked tokens, and how many of them have the largest logit.
/// Enqueues work only. `None` where nothing is masked.
pub fn masked_lm(model: &MaskedLm, batch: &Batch) -> Result<Option<Tensor<1>>> {
    if batch.masked.is_empty() {
        return Ok(None);
    }
    let inputs = model.encoder.inputs(&batch.sequences)?;
    let hidden_md = rows(model.encoder.forward(&inputs), &batch.masked);
    let parts = parts(model, hidden_md, batch, LOGITS_AT_ONCE);
    Ok(parts.map(|(hidden_md, labels)| sums(model, hidden_md, labels)).reduce(|a, b| a + b))
}

/// The last hidden states `[m, d]` of the masked tokens, and their labels, in parts of at most `logits_at_once` logits or one
/// token. At least one token is masked.
pub(crate) fn parts<'a>(
    model: &MaskedLm,
    hidden_md: Tensor<2>,
    batch: &'a Batch,
    logits_at_once: usize,
) -> impl Iterator<Item = (Tensor<2>, &'a [u32])> {
    let at_once = (logits_at_once / model.encoder.embedding().num_rows()).max(1);
    // Of like size: a last part of a few rows would leave a device idle.
    let num_parts = batch.labels.len().div_ceil(at_once);
    let at_once = batch.labels.len().div_ceil(num_parts);
    let labels = batch.labels.chunks(at_once).enumerate();
    labels.map(move |(part, labels)| (hidden_md.clone().narrow(0, part * at_once, labels.len()), labels))
}

/// [`masked_lm`] of some tokens.
pub(crate) fn sums(model: &MaskedLm, hidden_md: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    cross_entropy_sums(model.logits(hidden_md), labels.iter().map(|label| *label as i32).collect())
}

/// `[2]`: the sum of the cross-entropies of logits `[m, v]` with their labels, and how many labels have the largest logit.
pub(crate) fn cross_entropy_sums(logits_mv: Tensor<2>, labels: Vec<i32>) -> Tensor<1> {
    let num_labels = labels.len();
    let labels_m = int_tensor(labels, [num_labels], &logits_mv.device());
    cross_entropy(logits_mv, labels_m).sum_dim(1).squeeze_dim(1)
}
