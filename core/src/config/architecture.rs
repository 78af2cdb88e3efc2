//! The configuration of either architecture.

use serde::{Deserialize, Serialize};

use super::{BertConfig, HeadKind, ModelConfig, Pooling, StoredType, has_lm_head};
use crate::error::{Error, Result};

/// `config.json` of either architecture.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Config {
    /// `model_type` is `modernbert`.
    ModernBert(ModelConfig),
    /// `model_type` is `bert`.
    Bert(BertConfig),
}

/// The same expression of the configuration or model of either architecture.
macro_rules! either {
    ($kind:ident, $value:expr, $inner:ident => $result:expr) => {
        match $value {
            $kind::ModernBert($inner) => $result,
            $kind::Bert($inner) => $result,
        }
    };
}
#[cfg(feature = "model")]
pub(crate) use either;

impl Config {
    /// Reads `config.json` and checks it; `model_type` names the architecture.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            model_type: String,
        }
        let invalid = |field: &str, message| Error::Config { field: field.into(), message };
        let kind: Kind = serde_json::from_slice(bytes).map_err(|error| invalid("config.json", error.to_string()))?;
        match kind.model_type.as_str() {
            "modernbert" => ModelConfig::from_json(bytes).map(Self::ModernBert),
            "bert" => BertConfig::from_json(bytes).map(Self::Bert),
            other => Err(invalid("model_type", format!("`{other}` is not supported; `modernbert` and `bert` are"))),
        }
    }

    /// `config.json` beside weights stored as `stored`; keys sorted.
    pub fn to_json(&self, stored: StoredType) -> Vec<u8> {
        either!(Self, self, config => config.to_json(stored))
    }

    /// `modernbert` or `bert`.
    pub fn model_type(&self) -> &str {
        either!(Self, self, config => &config.model_type)
    }

    /// Class names of transformers.
    pub fn architectures(&self) -> &[String] {
        either!(Self, self, config => &config.architectures)
    }

    /// Width of the residual stream.
    pub fn hidden_size(&self) -> usize {
        either!(Self, self, config => config.hidden_size)
    }

    /// Encoder layers.
    pub fn num_layers(&self) -> usize {
        either!(Self, self, config => config.num_hidden_layers)
    }

    /// Rows of the vocabulary's embedding.
    pub fn vocab_size(&self) -> usize {
        either!(Self, self, config => config.vocab_size)
    }

    /// Longest sequence, in tokens.
    pub fn max_length(&self) -> usize {
        either!(Self, self, config => config.max_position_embeddings)
    }

    /// Parameters by part, in the order of the computation.
    pub fn parameter_counts(&self) -> Vec<(&'static str, usize)> {
        either!(Self, self, config => config.parameter_counts())
    }

    /// Parameters in all.
    pub fn num_parameters(&self) -> usize {
        either!(Self, self, config => config.num_parameters())
    }

    /// Floating-point operations of one token's forward pass through the encoder in a sequence of `length` tokens.
    pub fn encoder_flops_per_token(&self, length: usize) -> f64 {
        either!(Self, self, config => config.encoder_flops_per_token(length))
    }

    /// Floating-point operations of the head over the vocabulary for one predicted token.
    pub fn head_flops_per_token(&self) -> f64 {
        either!(Self, self, config => config.head_flops_per_token())
    }

    /// Bytes to train with `num_tokens` tokens of which `num_masked` are predicted at once, in f32.
    pub fn train_bytes(&self, num_tokens: usize, num_masked: usize) -> u64 {
        either!(Self, self, config => config.train_bytes(num_tokens, num_masked))
    }

    /// Bytes to run the encoder on `num_tokens` tokens at once in f32.
    pub fn inference_bytes(&self, num_tokens: usize) -> u64 {
        either!(Self, self, config => config.inference_bytes(num_tokens))
    }

    /// Whether the checkpoint has a head over the vocabulary.
    pub fn has_lm_head(&self) -> bool {
        has_lm_head(self.architectures())
    }

    /// The head of a fine-tuned checkpoint; `None` of a masked LM or a bare encoder.
    pub fn head_kind(&self) -> Option<HeadKind> {
        either!(Self, self, config => HeadKind::of(&config.architectures, &config.other))
    }

    /// How a fine-tuned model makes one vector of a sequence.
    pub fn pooling(&self) -> Pooling {
        match self {
            Self::ModernBert(config) => config.classifier_pooling,
            Self::Bert(_) => Pooling::Cls,
        }
    }

    /// The configuration of a model that is fine-tuned from this one, as transformers reads it. `labels` are the names of the
    /// classes, of a classification alone. Errors: another number of labels than classes, two equal labels, mean pooling of
    /// a BERT.
    pub fn fine_tuned(&self, kind: HeadKind, labels: &[String], pooling: Pooling) -> Result<Self> {
        let mut config = self.clone();
        let model_name = match &mut config {
            Self::ModernBert(config) => {
                config.classifier_pooling = pooling;
                "ModernBert"
            }
            Self::Bert(_) if pooling == Pooling::Mean => {
                let message = "transformers' classifiers on BERT pool the first token; use `cls`".into();
                return Err(Error::Config { field: "classifier_pooling".into(), message });
            }
            Self::Bert(_) => "Bert",
        };
        either!(Self, &mut config, config => {
            config.architectures = vec![format!("{model_name}{}", kind.class_suffix())];
            kind.write(labels, &mut config.other)?;
        });
        Ok(config)
    }
}
