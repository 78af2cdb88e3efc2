//! Fine-tuning heads on an encoder of either architecture, with the layout and names of transformers'
//! `ForSequenceClassification`, `ForQuestionAnswering` and `ForMultipleChoice`. Nothing is dropped, in training either:
//! ModernBERT's rates are 0, and a BERT is fine-tuned here without its dropout.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `s` sequences.

use burn::tensor::{Device, Tensor};

use crate::config::Pooling;
use crate::error::{Error, Result};
use crate::layers::{Init, Inputs, Linear, ParameterSource, ParameterVisitor, Parameters, Precision, PredictionHead};
use crate::model::{Config, Encoder};
use crate::weights::{RandomParameters, WeightFile};
use crate::{bert, modernbert};

pub use crate::config::HeadKind;

/// What stands between the encoder and the classifier.
#[derive(Clone, Debug)]
enum Transform {
    /// ModernBERT: dense, GELU, norm.
    Head(Box<PredictionHead>),
    /// BERT on sequences: dense, tanh.
    Pooler(Box<Linear>),
    /// BERT on tokens.
    Nothing,
}

impl Transform {
    fn forward(&self, x_sd: Tensor<2>, precision: Precision) -> Tensor<2> {
        match self {
            Self::Head(head) => head.forward(x_sd, precision),
            Self::Pooler(dense) => dense.forward(x_sd, precision).tanh(),
            Self::Nothing => x_sd,
        }
    }

    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        match self {
            Self::Head(head) => head.visit(visitor),
            Self::Pooler(dense) => dense.visit(visitor),
            Self::Nothing => Ok(()),
        }
    }
}

/// An encoder with a head for a task.
#[derive(Clone, Debug)]
pub struct FineTuned {
    /// The encoder.
    pub encoder: Encoder,
    /// The head.
    pub kind: HeadKind,
    transform: Transform,
    classifier: Linear,
    pooling: Pooling,
}

impl FineTuned {
    /// Builds the model that `config` describes on `device`, that of `source`. Error: `config` names no head, see
    /// [`Config::fine_tuned`].
    pub fn new(source: &mut impl ParameterSource, config: &Config, device: &Device) -> Result<Self> {
        let Some(kind) = config.head_kind() else {
            let message = format!("{:?} has no head for a task; fine-tune the model first", config.architectures());
            return Err(Error::Config { field: "architectures".into(), message });
        };
        let encoder = Encoder::new(source, config, device)?;
        let (transform, name, std) = match config {
            Config::ModernBert(config) => {
                let std = 1.0 / (config.hidden_size as f64).sqrt();
                (Transform::Head(Box::new(modernbert::prediction_head(source, config)?)), "classifier", std)
            }
            Config::Bert(config) if kind == HeadKind::Span => {
                (Transform::Nothing, "qa_outputs", config.initializer_range)
            }
            Config::Bert(config) => {
                (Transform::Pooler(Box::new(bert::pooler(source, config)?)), "classifier", config.initializer_range)
            }
        };
        let shape = [kind.num_outputs(), config.hidden_size()];
        let classifier = Linear::new(source, name, shape, true, std)?;
        Ok(Self { encoder, kind, transform, classifier, pooling: config.pooling() })
    }

    /// Takes the parameters of a fine-tuned model from its files, strict both ways.
    pub fn load(mut source: WeightFile, config: &Config) -> Result<Self> {
        let device = source.device().clone();
        let model = Self::new(&mut source, config, &device)?;
        source.finish()?;
        Ok(model)
    }

    /// Puts a head on the encoder in the files of a pretrained model; `config` is that of the fine-tuned one.
    /// Also returns the names of the parameters that were drawn at random. Errors name the tensor that does not fit.
    pub fn from_pretrained(weights: WeightFile, config: &Config, seed: u64) -> Result<(Self, Vec<String>)> {
        let device = weights.device().clone();
        let mut source = NewHead::new(weights, config, seed);
        let model = Self::new(&mut source, config, &device)?;
        source.file.finish()?;
        Ok((model, source.drawn))
    }

    /// Logits of each sequence, `[s, labels]`; `[s, 1]` of regression and multiple choice. Of every head but
    /// [`HeadKind::Span`].
    pub fn sequence_logits(&self, inputs: &Inputs) -> Tensor<2> {
        self.classify(inputs.pool(self.encoder.forward(inputs), self.pooling))
    }

    /// Logits of each token to be the first and the last of the answer, `[t, 2]`. Of [`HeadKind::Span`].
    pub fn span_logits(&self, inputs: &Inputs) -> Tensor<2> {
        self.classify(self.encoder.forward(inputs))
    }

    fn classify(&self, x_sd: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(self.transform.forward(x_sd, self.encoder.precision()), Precision::F32)
    }
}

impl Parameters for FineTuned {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.encoder.visit(visitor)?;
        self.transform.visit(visitor)?;
        self.classifier.visit(visitor)
    }
}

/// A pretrained file, and random numbers for those parameters of the head that it lacks.
struct NewHead {
    file: WeightFile,
    random: RandomParameters,
    drawn: Vec<String>,
}

impl NewHead {
    /// The parameters that a pretrained file may lack begin with one of these. A masked LM of ModernBERT has its `head.`
    /// already, and it is taken, as transformers does because the names agree.
    const HEADS: [&'static str; 4] = ["head.", "bert.pooler.", "classifier.", "qa_outputs."];

    fn new(mut file: WeightFile, config: &Config, seed: u64) -> Self {
        // What pretraining leaves behind; see `MaskedLm::load`.
        let (unused, cutoff): (&[&str], f64) = match config {
            Config::ModernBert(config) => (&["decoder."], config.initializer_cutoff_factor),
            Config::Bert(_) => (&["cls.", "pooler.", "embeddings.position_ids"], f64::INFINITY),
        };
        file.allow_unused(unused);
        let random = RandomParameters::new(seed, cutoff, file.device());
        Self { file, random, drawn: Vec::new() }
    }
}

impl ParameterSource for NewHead {
    fn parameter<const D: usize>(&mut self, name: &str, shape: [usize; D], init: Init) -> Result<Tensor<D>> {
        let of_head = Self::HEADS.iter().any(|beginning| name.starts_with(beginning));
        if self.file.has(name) || !of_head {
            return self.file.parameter(name, shape, init);
        }
        self.drawn.push(name.to_owned());
        self.random.parameter(name, shape, init)
    }
}
