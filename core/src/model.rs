//! The architectures behind one type each: callers need not know whether a checkpoint is a ModernBERT or a BERT.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `m` chosen tokens, `s` sequences,
//! `v` vocabulary.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::batch::Sequences;
use crate::config::{BertConfig, HeadKind, ModelConfig, Pooling, has_lm_head};
use crate::error::{Error, Result};
use crate::layers::{Inputs, LmHead, ParameterSource, ParameterVisitor, Parameters, Precision, Table};
use crate::weights::{StoredType, WeightFile};
use crate::{bert, modernbert};

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

/// The encoder of either architecture.
#[derive(Clone, Debug)]
pub enum Encoder {
    /// See [`modernbert::Encoder`].
    ModernBert(Box<modernbert::Encoder>),
    /// See [`bert::Encoder`].
    Bert(Box<bert::Encoder>),
}

impl Encoder {
    /// Builds the encoder that `config` describes on `device`, that of `source`.
    pub fn new(source: &mut impl ParameterSource, config: &Config, device: &Device) -> Result<Self> {
        Ok(match config {
            Config::ModernBert(config) => Self::ModernBert(Box::new(modernbert::Encoder::new(source, config, device)?)),
            Config::Bert(config) => Self::Bert(Box::new(bert::Encoder::new(source, config)?)),
        })
    }

    /// Puts packed sequences on the model's device. Errors: an id or type beyond the embeddings, a sequence that is empty or
    /// longer than the model takes.
    pub fn inputs(&self, sequences: &Sequences) -> Result<Inputs> {
        either!(Self, self, encoder => encoder.inputs(sequences))
    }

    /// The last hidden states, `[t, d]`.
    pub fn forward(&self, inputs: &Inputs) -> Tensor<2> {
        self.forward_observed(inputs, |_, _| ())
    }

    /// [`Self::forward`], showing the input of each layer (index 0 is the embedding) and the final output.
    pub fn forward_observed(&self, inputs: &Inputs, observe: impl FnMut(usize, &Tensor<2>)) -> Tensor<2> {
        either!(Self, self, encoder => encoder.forward_observed(inputs, observe))
    }

    /// One vector a sequence, `[s, d]`, of its tokens' vectors `[t, d]`.
    pub fn pool(&self, hidden_td: Tensor<2>, inputs: &Inputs, pooling: Pooling) -> Tensor<2> {
        inputs.pool(hidden_td, pooling)
    }

    /// What the matrix products take.
    pub fn precision(&self) -> Precision {
        either!(Self, self, encoder => encoder.precision)
    }

    /// Sets what the matrix products take.
    pub fn set_precision(&mut self, precision: Precision) {
        either!(Self, self, encoder => encoder.precision = precision);
    }

    /// The embedding of the vocabulary, `[v, d]`.
    pub fn embedding(&self) -> &Table {
        either!(Self, self, encoder => encoder.embedding())
    }
}

impl Parameters for Encoder {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        either!(Self, self, encoder => encoder.visit(visitor))
    }
}

/// A masked language model of either architecture, or its encoder alone.
#[derive(Clone, Debug)]
pub struct MaskedLm {
    /// The encoder.
    pub encoder: Encoder,
    head: Option<LmHead>,
    architectures: Vec<String>,
}

impl MaskedLm {
    /// Takes the parameters from files. The head is there where the class names in `config` say so. What BERT's pretraining
    /// leaves beside it (pooler, next-sentence classifier, position ids) is accepted and not used, as is any head where the
    /// encoder alone is asked for; any other tensor too many or missing is an error that names it.
    pub fn load(mut source: WeightFile, config: &Config) -> Result<Self> {
        source.allow_unused(match (config, config.has_lm_head()) {
            (Config::ModernBert(_), true) => &[],
            (Config::ModernBert(_), false) => &["head.", "decoder.", "classifier."],
            (Config::Bert(_), true) => &["pooler.", "cls.seq_relationship.", "embeddings.position_ids"],
            (Config::Bert(_), false) => &["pooler.", "cls.", "embeddings.position_ids", "classifier.", "qa_outputs."],
        });
        let device = source.device().clone();
        let encoder = Encoder::new(&mut source, config, &device)?;
        let lm_head = |source: &mut WeightFile| match config {
            Config::ModernBert(config) => modernbert::lm_head(source, config),
            Config::Bert(config) => bert::lm_head(source, config),
        };
        let head = config.has_lm_head().then(|| lm_head(&mut source)).transpose()?;
        source.finish()?;
        Ok(Self { encoder, head, architectures: config.architectures().to_vec() })
    }

    /// Logits `[m, v]` of the tokens `chosen`, given the last hidden states `[t, d]`. Error: the checkpoint has no head for it.
    pub fn logits_at(&self, hidden_td: Tensor<2>, chosen: &[usize]) -> Result<Tensor<2>> {
        let Some(head) = &self.head else {
            let message = format!(
                "this checkpoint has no masked-LM head (architectures: {}): use it for embeddings, or load one whose \
                 architecture ends in ForMaskedLM",
                self.architectures.join(", ")
            );
            return Err(Error::Input { message });
        };
        Ok(head.logits_at(hidden_td, chosen, self.encoder.embedding(), self.encoder.precision()))
    }

    /// Logits `[m, v]` of the tokens `chosen` of packed sequences. Error: the checkpoint has no head for it.
    pub fn forward(&self, inputs: &Inputs, chosen: &[usize]) -> Result<Tensor<2>> {
        self.logits_at(self.encoder.forward(inputs), chosen)
    }
}

impl Parameters for MaskedLm {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.encoder.visit(visitor)?;
        self.head.iter_mut().try_for_each(|head| head.visit(visitor))
    }
}
