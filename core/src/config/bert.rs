//! The configuration of a BERT, with the names and defaults of Hugging Face's `config.json` (`transformers.BertConfig`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{HeadKind, check_heads, check_positive, check_sizes, has_lm_head, invalid, to_json};
use crate::config::StoredType;
use crate::error::Result;

/// `config.json` of a BERT. Fields that only other programs read are kept in `other` and written back. The dropout rates are
/// among them: nothing here drops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Class names, e.g. `BertForMaskedLM`.
    pub architectures: Vec<String>,
    /// Always `bert`.
    pub model_type: String,
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Only `gelu`, the exact one.
    pub hidden_act: String,
    /// Rows of the position embedding: the longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the token type embedding.
    pub type_vocab_size: usize,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Padding token.
    pub pad_token_id: Option<u32>,
    /// Only `absolute`.
    pub position_embedding_type: String,
    /// Whether it sees later tokens (`false`) or not.
    pub is_decoder: bool,
    /// Whether the decoder's weight is the word embedding.
    pub tie_word_embeddings: bool,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            architectures: vec!["BertForMaskedLM".into()],
            model_type: "bert".into(),
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            pad_token_id: Some(0),
            position_embedding_type: "absolute".into(),
            is_decoder: false,
            tie_word_embeddings: true,
            other: Map::new(),
        }
    }
}

impl BertConfig {
    /// Reads `config.json` and checks it.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes).map_err(|error| invalid("config.json", error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// `config.json` beside weights stored as `stored`; keys sorted.
    pub fn to_json(&self, stored: StoredType) -> Vec<u8> {
        to_json(self, stored)
    }

    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            // A token's type is stored in a byte.
            ("type_vocab_size", self.type_vocab_size, 1 << 8),
        ])?;
        for (field, value, only) in [
            ("model_type", &self.model_type, "bert"),
            ("hidden_act", &self.hidden_act, "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ] {
            if value != only {
                return Err(invalid(field, format!("`{value}` is not supported; only `{only}` is")));
            }
        }
        if self.is_decoder {
            return Err(invalid("is_decoder", "a BERT that sees earlier tokens only is not supported".into()));
        }
        check_heads(self.hidden_size, self.num_attention_heads)?;
        HeadKind::check(&self.other)?;
        check_positive(&[("layer_norm_eps", self.layer_norm_eps), ("initializer_range", self.initializer_range)])
    }

    /// Parameters by part, in the order of the computation. The pooler counts where it is used.
    pub fn parameter_counts(&self) -> Vec<(&'static str, usize)> {
        let (d, i, layers, v) = (self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.vocab_size);
        let mut parts = vec![
            ("embedding", (v + self.max_position_embeddings + self.type_vocab_size + 2) * d),
            ("attention", layers * 4 * (d * d + d)),
            ("mlp", layers * (2 * d * i + i + d)),
            ("norms", layers * 4 * d),
        ];
        if let Some(kind) = HeadKind::of(&self.architectures, &self.other) {
            parts.extend((kind != HeadKind::Span).then_some(("head", d * d + d)));
            parts.push(("classifier", (d + 1) * kind.num_outputs()));
        } else if has_lm_head(&self.architectures) {
            parts.push(("head", d * d + 3 * d));
            parts.push(("decoder", if self.tie_word_embeddings { v } else { v * d + v }));
        }
        parts
    }

    /// Floating-point operations (a multiply-add is two) of one token's forward pass through the encoder in a sequence of
    /// `length` tokens, without the vocabulary head.
    pub fn encoder_flops_per_token(&self, length: usize) -> f64 {
        let (d, i) = (self.hidden_size as f64, self.intermediate_size as f64);
        self.num_hidden_layers as f64 * (2.0 * (4.0 * d * d + 2.0 * d * i) + 4.0 * d * length as f64)
    }

    /// Floating-point operations of the masked-LM head for one predicted token.
    pub fn head_flops_per_token(&self) -> f64 {
        let (d, v) = (self.hidden_size as f64, self.vocab_size as f64);
        2.0 * d * d + 2.0 * d * v
    }

    /// Parameters in all.
    pub fn num_parameters(&self) -> usize {
        self.parameter_counts().iter().map(|(_, count)| count).sum()
    }

    /// Bytes to train with `num_tokens` tokens of which `num_masked` are predicted at once, in f32 as ModernBERT's.
    pub fn train_bytes(&self, num_tokens: usize, num_masked: usize) -> u64 {
        let (d, i) = (self.hidden_size as u64, self.intermediate_size as u64);
        // Kept a token and layer: two norms' inputs and outputs, Q, K and V, their result, and the steps of the GELU.
        let activations = (8 * d + 5 * i) * self.num_hidden_layers as u64 * num_tokens as u64;
        let logits = 2 * num_masked as u64 * self.vocab_size as u64;
        4 * (4 * self.num_parameters() as u64 + activations + logits)
    }

    /// Bytes to run the encoder on `num_tokens` tokens at once in f32.
    pub fn inference_bytes(&self, num_tokens: usize) -> u64 {
        let (d, i) = (self.hidden_size as u64, self.intermediate_size as u64);
        4 * (self.num_parameters() as u64 + num_tokens as u64 * (7 * d + 4 * i))
    }
}
