//! ModernBERT (Warner et al., arXiv 2412.13663), all of it, as Hugging Face's transformers computes it; linear layers, norms
//! and the vocabulary's head are those of [`layers`](crate::layers).
//!
//! Sequences are packed one after the other into a single row of tokens without padding; attention stays inside each.
//! Parameters have the names of Hugging Face's checkpoints. Everything runs in f32; with [`Precision::F16`] all between the
//! norms and the residual stream is f16.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `i` intermediate size, `m` chosen tokens,
//! `v` vocabulary, `k` head size.

use anaume_shaders::{attention, geglu, residual, rope};
use burn::tensor::{Device, Tensor, TensorData};

use crate::batch::Sequences;
use crate::config::{LayerType, ModelConfig};
use crate::error::Result;
use crate::layers::{
    Init, Inputs, Linear, LmHead, Norm, Parameter, ParameterSource, ParameterVisitor, Parameters, Precision,
    PredictionHead, Table, rows,
};

/// Cosines and sines, `[tokens, k / 2]` each.
type Rotations = [Tensor<2>; 2];

/// Rotations of the positions `0..max_position_embeddings` of one kind of layer.
fn rope_table(config: &ModelConfig, theta: f64, device: &Device) -> Rotations {
    let half = config.head_size() / 2;
    // In f32 as transformers computes it: the same roundings at far positions.
    let frequency = |j: usize| 1.0 / (theta as f32).powf(2.0 * j as f32 / (2 * half) as f32);
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    let angles = (0..config.max_position_embeddings)
        .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency));
    let angles: Vec<f32> = angles.collect();
    [f32::cos, f32::sin].map(|function| {
        let values: Vec<f32> = angles.iter().map(|angle| function(*angle)).collect();
        Tensor::from_data(TensorData::new(values, [config.max_position_embeddings, half]), device)
    })
}

fn norm(source: &mut impl ParameterSource, name: &str, config: &ModelConfig) -> Result<Norm> {
    Norm::new(source, name, config.hidden_size, config.norm_bias, config.norm_eps)
}

/// One encoder layer: attention and GeGLU, each after a norm and added to its input.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `None` in the first layer, whose input is normed already.
    attn_norm: Option<Norm>,
    wqkv: Linear,
    attn_wo: Linear,
    mlp_norm: Norm,
    wi: Linear,
    mlp_wo: Linear,
    kind: LayerType,
    num_heads: usize,
    window: usize,
}

impl Layer {
    fn new(source: &mut impl ParameterSource, index: usize, config: &ModelConfig) -> Result<Self> {
        let (d, i) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let std_in = config.initializer_range;
        let std_out = std_out(config);
        let kind = config.layer_types[index];
        Ok(Self {
            attn_norm: (index > 0).then(|| norm(source, &name("attn_norm"), config)).transpose()?,
            wqkv: Linear::new(source, &name("attn.Wqkv"), [3 * d, d], config.attention_bias, std_in)?,
            attn_wo: Linear::new(source, &name("attn.Wo"), [d, d], config.attention_bias, std_out)?,
            mlp_norm: norm(source, &name("mlp_norm"), config)?,
            wi: Linear::new(source, &name("mlp.Wi"), [2 * i, d], config.mlp_bias, std_in)?,
            mlp_wo: Linear::new(source, &name("mlp.Wo"), [d, i], config.mlp_bias, std_out)?,
            kind,
            num_heads: config.num_attention_heads,
            window: match kind {
                LayerType::FullAttention => attention::GLOBAL,
                LayerType::SlidingAttention => config.sliding_window(),
            },
        })
    }

    /// `rotations` are those of the packed tokens in global and in local layers.
    fn forward(&self, x_td: Tensor<2>, inputs: &Inputs, rotations: &[Rotations; 2], precision: Precision) -> Tensor<2> {
        let x_td = residual::add(x_td.clone(), self.attention(x_td, inputs, rotations, precision));
        let hidden_t2i = self.wi.project(self.mlp_norm.forward_as(x_td.clone(), precision.dtype()), precision);
        residual::add(x_td, self.mlp_wo.project(geglu::geglu(hidden_t2i), precision))
    }

    fn attention(
        &self,
        x_td: Tensor<2>,
        inputs: &Inputs,
        rotations: &[Rotations; 2],
        precision: Precision,
    ) -> Tensor<2> {
        let normed_td = match &self.attn_norm {
            Some(norm) => norm.forward_as(x_td, precision.dtype()),
            None => x_td,
        };
        let qkv_t3d = self.wqkv.project(normed_td, precision);
        let [cos, sin] = rotations[usize::from(self.kind == LayerType::SlidingAttention)].clone();
        let qkv_t3d = rope::rope(qkv_t3d, cos, sin);
        let mixed_td = attention::attention(qkv_t3d, inputs.bounds_2t.clone(), self.num_heads, self.window);
        self.attn_wo.project(mixed_td, precision)
    }

    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.attn_norm.iter_mut().try_for_each(|norm| norm.visit(visitor))?;
        self.wqkv.visit(visitor)?;
        self.attn_wo.visit(visitor)?;
        self.mlp_norm.visit(visitor)?;
        self.wi.visit(visitor)?;
        self.mlp_wo.visit(visitor)
    }
}

/// Standard deviation of the weights that write to the residual stream.
fn std_out(config: &ModelConfig) -> f64 {
    config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt()
}

/// `ModernBertModel`: embedding, layers, final norm.
#[derive(Clone, Debug)]
pub struct Encoder {
    tok_embeddings: Table,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    final_norm: Norm,
    /// Of the global and of the local layers.
    rope_tables: [Rotations; 2],
    max_length: usize,
    /// What the matrix products take; set before training or inference.
    pub precision: Precision,
}

impl Encoder {
    /// Builds the encoder that `config` describes on `device`.
    pub fn new(source: &mut impl ParameterSource, config: &ModelConfig, device: &Device) -> Result<Self> {
        let shape = [config.vocab_size, config.hidden_size];
        let normal = Init::Normal(config.initializer_range);
        Ok(Self {
            tok_embeddings: Table::new(source, "model.embeddings.tok_embeddings.weight", shape, normal)?,
            embedding_norm: norm(source, "model.embeddings.norm", config)?,
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(source, index, config))
                .collect::<Result<_>>()?,
            final_norm: norm(source, "model.final_norm", config)?,
            rope_tables: [config.global_rope_theta, config.local_rope_theta]
                .map(|theta| rope_table(config, theta, device)),
            max_length: config.max_position_embeddings,
            precision: Precision::default(),
        })
    }

    /// Puts packed sequences on the model's device. ModernBERT has no token types: those of pairs are not looked at. Errors:
    /// an id beyond the vocabulary, a sequence that is empty or longer than `max_position_embeddings`.
    pub fn inputs(&self, sequences: &Sequences) -> Result<Inputs> {
        Inputs::new(sequences, self.embedding().num_rows(), self.max_length, &self.embedding().device())
    }

    /// The embedding of the vocabulary, `[v, d]`.
    pub fn embedding(&self) -> &Table {
        &self.tok_embeddings
    }

    /// The last hidden states, `[t, d]`.
    pub fn forward(&self, inputs: &Inputs) -> Tensor<2> {
        self.forward_observed(inputs, |_, _| ())
    }

    /// [`Self::forward`], showing the residual stream before each layer (index 0 is the embedding) and the final output.
    pub fn forward_observed(&self, inputs: &Inputs, observe: impl FnMut(usize, &Tensor<2>)) -> Tensor<2> {
        self.pass(inputs).all(observe)
    }

    /// [`Self::forward`] in parts, for who wants to run a part again.
    pub fn pass<'a>(&'a self, inputs: &'a Inputs) -> Pass<'a> {
        let at_positions = |table: &Tensor<2>| table.clone().select(0, inputs.positions_t.clone());
        let rotations = self.rope_tables.each_ref().map(|tables| tables.each_ref().map(at_positions));
        Pass { encoder: self, inputs, rotations }
    }
}

/// A forward pass through an encoder, part by part.
pub struct Pass<'a> {
    encoder: &'a Encoder,
    inputs: &'a Inputs,
    rotations: [Rotations; 2],
}

impl Pass<'_> {
    /// How many layers there are.
    pub fn num_layers(&self) -> usize {
        self.encoder.layers.len()
    }

    /// See [`Encoder::forward_observed`].
    pub fn all(&self, mut observe: impl FnMut(usize, &Tensor<2>)) -> Tensor<2> {
        let mut x_td = self.embed();
        for index in 0..self.num_layers() {
            observe(index, &x_td);
            x_td = self.layer(index, x_td);
        }
        observe(self.num_layers(), &x_td);
        x_td
    }

    /// What the first layer takes, `[t, d]`.
    pub fn embed(&self) -> Tensor<2> {
        self.encoder.embedding_norm.forward(self.encoder.embedding().select(self.inputs))
    }

    /// What layer `index` makes of its input, `[t, d]` to `[t, d]`; after the last one the final norm too.
    pub fn layer(&self, index: usize, x_td: Tensor<2>) -> Tensor<2> {
        let encoder = self.encoder;
        let x_td = encoder.layers[index].forward(x_td, self.inputs, &self.rotations, encoder.precision);
        if index + 1 == self.num_layers() { encoder.final_norm.forward(x_td) } else { x_td }
    }
}

impl Parameters for Encoder {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.tok_embeddings.visit(visitor)?;
        self.embedding_norm.visit(visitor)?;
        self.layers.iter_mut().try_for_each(|layer| layer.visit(visitor))?;
        self.final_norm.visit(visitor)
    }
}

/// What comes before the vocabulary and before the classes.
pub fn prediction_head(source: &mut impl ParameterSource, config: &ModelConfig) -> Result<PredictionHead> {
    let shape = [config.hidden_size; 2];
    Ok(PredictionHead {
        dense: Linear::new(source, "head.dense", shape, config.classifier_bias, std_out(config))?,
        norm: norm(source, "head.norm", config)?,
    })
}

/// The head over the vocabulary.
pub fn lm_head(source: &mut impl ParameterSource, config: &ModelConfig) -> Result<LmHead> {
    let (v, d) = (config.vocab_size, config.hidden_size);
    let untied = !config.tie_word_embeddings;
    let normal = Init::Normal(std_out(config));
    Ok(LmHead {
        head: prediction_head(source, config)?,
        decoder_weight: untied.then(|| Table::new(source, "decoder.weight", [v, d], normal)).transpose()?,
        decoder_bias: config
            .decoder_bias
            .then(|| Parameter::new(source, "decoder.bias", [v], Init::Zeros))
            .transpose()?,
    })
}

/// `ModernBertForMaskedLM`.
#[derive(Clone, Debug)]
pub struct MaskedLm {
    /// The encoder.
    pub encoder: Encoder,
    head: LmHead,
}

impl MaskedLm {
    /// Builds the model that `config` describes on `device`.
    pub fn new(source: &mut impl ParameterSource, config: &ModelConfig, device: &Device) -> Result<Self> {
        Ok(Self { encoder: Encoder::new(source, config, device)?, head: lm_head(source, config)? })
    }

    /// Logits `[m, v]`, in the precision's type, given the last hidden states `[m, d]` of the tokens asked for.
    pub fn logits(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        self.head.logits(hidden_md, self.encoder.embedding(), self.encoder.precision)
    }

    /// Logits `[m, v]`, in the precision's type, of the tokens `chosen`, given the last hidden states `[t, d]`.
    pub fn logits_at(&self, hidden_td: Tensor<2>, chosen: &[usize]) -> Tensor<2> {
        self.logits(rows(hidden_td, chosen))
    }
}

impl Parameters for MaskedLm {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.encoder.visit(visitor)?;
        self.head.visit(visitor)
    }
}
