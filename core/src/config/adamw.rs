use serde::{Deserialize, Serialize};

/// The constants of AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay of the matrices; norms and biases are not decayed.
    pub weight_decay: f64,
    /// Largest global norm of the gradient; it is scaled down to this.
    pub max_grad_norm: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { lr: 5e-4, beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 1e-5, max_grad_norm: 1.0 }
    }
}
