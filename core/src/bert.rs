//! BERT (Devlin et al., arXiv 1810.04805), all of it, as Hugging Face's transformers computes it; linear layers, norms and
//! the vocabulary's head are those of [`layers`](crate::layers).
//!
//! Each layer normalises after it adds (post-LN), positions are learned, and a token has a type. Sequences are packed as for
//! [`modernbert`](crate::modernbert). Nothing is dropped, in training either.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `s` sequences.

use anaume_shaders::{attention, geglu};
use burn::tensor::Tensor;

use crate::batch::Sequences;
use crate::config::BertConfig;
use crate::error::{Error, Result};
use crate::layers::{
    Init, Inputs, Linear, LmHead, Norm, Parameter, ParameterSource, ParameterVisitor, Parameters, Precision,
    PredictionHead, Table,
};

fn norm(source: &mut impl ParameterSource, name: &str, config: &BertConfig) -> Result<Norm> {
    Norm::new(source, name, config.hidden_size, true, config.layer_norm_eps)
}

fn linear(source: &mut impl ParameterSource, name: &str, shape: [usize; 2], config: &BertConfig) -> Result<Linear> {
    Linear::new(source, name, shape, true, config.initializer_range)
}

/// One encoder layer: attention and feed-forward, each added to its input and then normed.
#[derive(Clone, Debug)]
pub struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
    num_heads: usize,
}

impl Layer {
    fn new(source: &mut impl ParameterSource, index: usize, config: &BertConfig) -> Result<Self> {
        let (d, i) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
        Ok(Self {
            query: linear(source, &name("attention.self.query"), [d, d], config)?,
            key: linear(source, &name("attention.self.key"), [d, d], config)?,
            value: linear(source, &name("attention.self.value"), [d, d], config)?,
            attention_output: linear(source, &name("attention.output.dense"), [d, d], config)?,
            attention_norm: norm(source, &name("attention.output.LayerNorm"), config)?,
            intermediate: linear(source, &name("intermediate.dense"), [i, d], config)?,
            output: linear(source, &name("output.dense"), [d, i], config)?,
            output_norm: norm(source, &name("output.LayerNorm"), config)?,
            num_heads: config.num_attention_heads,
        })
    }

    fn forward(&self, x_td: Tensor<2>, inputs: &Inputs, precision: Precision) -> Tensor<2> {
        let x_td = self.attention_norm.forward(x_td.clone() + self.attention(x_td, inputs, precision));
        let hidden_ti = geglu::gelu(self.intermediate.forward(x_td.clone(), precision));
        self.output_norm.forward(x_td + self.output.forward(hidden_ti, precision))
    }

    fn attention(&self, x_td: Tensor<2>, inputs: &Inputs, precision: Precision) -> Tensor<2> {
        let parts = [&self.query, &self.key, &self.value].map(|part| part.forward(x_td.clone(), precision));
        let qkv_t3d = Tensor::cat(parts.into(), 1);
        let mixed_td = attention::attention(qkv_t3d, inputs.bounds_2t.clone(), self.num_heads, attention::GLOBAL);
        self.attention_output.forward(mixed_td, precision)
    }

    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.query.visit(visitor)?;
        self.key.visit(visitor)?;
        self.value.visit(visitor)?;
        self.attention_output.visit(visitor)?;
        self.attention_norm.visit(visitor)?;
        self.intermediate.visit(visitor)?;
        self.output.visit(visitor)?;
        self.output_norm.visit(visitor)
    }
}

/// `BertModel` without its pooler: embeddings and layers.
#[derive(Clone, Debug)]
pub struct Encoder {
    word_embeddings: Table,
    position_embeddings: Parameter<2>,
    token_type_embeddings: Parameter<2>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    /// What the matrix products take; set before training or inference.
    pub precision: Precision,
}

impl Encoder {
    /// Builds the encoder that `config` describes on the device of `source`.
    pub fn new(source: &mut impl ParameterSource, config: &BertConfig) -> Result<Self> {
        let normal = Init::Normal(config.initializer_range);
        let shape = |rows| [rows, config.hidden_size];
        let words = "bert.embeddings.word_embeddings.weight";
        let word_embeddings = Table::new(source, words, shape(config.vocab_size), normal)?;
        let mut embedding = |kind: &str, rows| {
            let name = format!("bert.embeddings.{kind}_embeddings.weight");
            Parameter::new(source, name, shape(rows), normal)
        };
        Ok(Self {
            word_embeddings,
            position_embeddings: embedding("position", config.max_position_embeddings)?,
            token_type_embeddings: embedding("token_type", config.type_vocab_size)?,
            embedding_norm: norm(source, "bert.embeddings.LayerNorm", config)?,
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(source, index, config))
                .collect::<Result<_>>()?,
            precision: Precision::default(),
        })
    }

    /// Puts packed sequences on the model's device. Errors: an id beyond the vocabulary, a type beyond `type_vocab_size`, a
    /// sequence that is empty or longer than `max_position_embeddings`.
    pub fn inputs(&self, sequences: &Sequences) -> Result<Inputs> {
        let [num_types, _] = self.token_type_embeddings.value().dims();
        if let Some(kind) = sequences.types.iter().find(|kind| usize::from(**kind) >= num_types) {
            let message = format!("token type {kind} is beyond the model's {num_types} (`type_vocab_size`)");
            return Err(Error::Input { message });
        }
        let [max_length, _] = self.position_embeddings.value().dims();
        Inputs::new(sequences, self.embedding().num_rows(), max_length, &self.embedding().device())
    }

    /// The embedding of the vocabulary, `[v, d]`.
    pub fn embedding(&self) -> &Table {
        &self.word_embeddings
    }

    /// The last hidden states, `[t, d]`.
    pub fn forward(&self, inputs: &Inputs) -> Tensor<2> {
        self.forward_observed(inputs, |_, _| ())
    }

    /// [`Self::forward`], showing the input of each layer (index 0 is the embedding) and the final output.
    pub fn forward_observed(&self, inputs: &Inputs, mut observe: impl FnMut(usize, &Tensor<2>)) -> Tensor<2> {
        let mut x_td = self.embedding_norm.forward(self.embed(inputs));
        for (index, layer) in self.layers.iter().enumerate() {
            observe(index, &x_td);
            x_td = layer.forward(x_td, inputs, self.precision);
        }
        observe(self.layers.len(), &x_td);
        x_td
    }

    fn embed(&self, inputs: &Inputs) -> Tensor<2> {
        let types = self.token_type_embeddings.value();
        let types = match &inputs.types_t {
            Some(types_t) => types.select(0, types_t.clone()),
            None => types.narrow(0, 0, 1),
        };
        let words_td = self.embedding().select(inputs);
        words_td + types + self.position_embeddings.value().select(0, inputs.positions_t.clone())
    }
}

impl Parameters for Encoder {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.word_embeddings.visit(visitor)?;
        self.position_embeddings.visit(visitor)?;
        self.token_type_embeddings.visit(visitor)?;
        self.embedding_norm.visit(visitor)?;
        self.layers.iter_mut().try_for_each(|layer| layer.visit(visitor))
    }
}

/// The head over the vocabulary, of `BertForMaskedLM` and `BertForPreTraining`.
pub fn lm_head(source: &mut impl ParameterSource, config: &BertConfig) -> Result<LmHead> {
    let (v, d) = (config.vocab_size, config.hidden_size);
    let untied = !config.tie_word_embeddings;
    let normal = Init::Normal(config.initializer_range);
    let name = |part: &str| format!("cls.predictions.{part}");
    Ok(LmHead {
        head: PredictionHead {
            dense: linear(source, &name("transform.dense"), [d, d], config)?,
            norm: norm(source, &name("transform.LayerNorm"), config)?,
        },
        decoder_weight: untied.then(|| Table::new(source, &name("decoder.weight"), [v, d], normal)).transpose()?,
        decoder_bias: Some(Parameter::new(source, name("bias"), [v], Init::Zeros)?),
    })
}

/// What turns the first token's vector `[s, d]` into that of a sequence, before a tanh; pretrained by next-sentence
/// prediction.
pub fn pooler(source: &mut impl ParameterSource, config: &BertConfig) -> Result<Linear> {
    linear(source, "bert.pooler.dense", [config.hidden_size; 2], config)
}
