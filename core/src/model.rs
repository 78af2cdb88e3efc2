//! The architectures behind one type each: callers need not know whether a checkpoint is a ModernBERT or a BERT.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `m` chosen tokens, `s` sequences,
//! `v` vocabulary.

use burn::tensor::{DType, Device, Tensor};

pub use crate::config::Config;

use crate::batch::Sequences;
use crate::config::{Pooling, either};
use crate::error::{Error, Result};
use crate::layers::{Inputs, LmHead, ParameterSource, ParameterVisitor, Parameters, Precision, Table, rows};
use crate::weights::WeightFile;
use crate::{bert, modernbert};

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
        Ok(head.logits(rows(hidden_td, chosen), self.encoder.embedding(), self.encoder.precision()).cast(DType::F32))
    }
}

impl Parameters for MaskedLm {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.encoder.visit(visitor)?;
        self.head.iter_mut().try_for_each(|head| head.visit(visitor))
    }
}
