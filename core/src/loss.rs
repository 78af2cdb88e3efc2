//! The masked-language-model loss: a sum over masked tokens; callers divide by the global count.

use anaume_shaders::cross_entropy::cross_entropy;
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::batch::Batch;
use crate::error::Result;
use crate::modernbert::MaskedLm;

/// `[2]`: the sum of the cross-entropies of the batch's masked tokens, and how many of them have the largest logit.
/// Enqueues work only. `None` where nothing is masked.
pub fn masked_lm(model: &MaskedLm, batch: &Batch) -> Result<Option<Tensor<1>>> {
    if batch.masked.is_empty() {
        return Ok(None);
    }
    let inputs = model.encoder.inputs(&batch.sequences)?;
    let logits_mv = model.forward(&inputs, &batch.masked);
    let labels: Vec<i32> = batch.labels.iter().map(|label| *label as i32).collect();
    let labels_m: Tensor<1, Int> =
        Tensor::from_data(TensorData::new(labels, [batch.labels.len()]), (&logits_mv.device(), DType::I32));
    Ok(Some(cross_entropy(logits_mv, labels_m).sum_dim(1).squeeze_dim(1)))
}
