//! ModernBERT (Warner et al., arXiv 2412.13663), all of it, as Hugging Face's transformers computes it.
//!
//! Sequences are packed one after the other into a single row of tokens without padding; attention stays inside each.
//! Parameters have the names of Hugging Face's checkpoints. Everything runs in f32; with [`Precision::F16`] the large matrix
//! products take f16 inputs.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `i` intermediate size, `m` chosen tokens,
//! `s` sequences, `v` vocabulary, `k` head size.

use anaume_shaders::{attention, geglu, layer_norm, rope};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::batch::Sequences;
use crate::config::{LayerType, ModelConfig, Pooling};
use crate::error::{Error, Result};

/// How a parameter starts where no file gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation, cut at `initializer_cutoff_factor` of it.
    Normal(f64),
    /// All ones (norm weights).
    Ones,
    /// All zeros (biases).
    Zeros,
}

/// Where the parameters of a new model come from: a file or a random generator.
pub trait ParameterSource {
    /// The parameter of this name and shape.
    fn parameter<const D: usize>(&mut self, name: &str, shape: [usize; D], init: Init) -> Result<Tensor<D>>;
}

/// Something done to every parameter in a fixed order: saving, gradients, optimizer steps.
pub trait ParameterVisitor {
    /// Sees, and may replace, one parameter.
    fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()>;
}

/// A model whose parameters can be visited.
pub trait Parameters {
    /// Visits each parameter once, in the order of the computation.
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()>;
}

/// What the large matrix products take as inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f16, summed and returned as the device does it, then f32 again.
    F16,
}

/// `x W^T + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
}

impl Linear {
    fn new(
        source: &mut impl ParameterSource,
        name: &str,
        [out, input]: [usize; 2],
        bias: bool,
        std: f64,
    ) -> Result<Self> {
        let weight = source.parameter(&format!("{name}.weight"), [out, input], Init::Normal(std))?;
        let bias = bias.then(|| source.parameter(&format!("{name}.bias"), [out], Init::Zeros)).transpose()?;
        Ok(Self { weight, bias })
    }

    fn forward(&self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        let y = matmul(x, self.weight.clone().transpose(), precision);
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }

    fn visit(&mut self, name: &str, visitor: &mut impl ParameterVisitor) -> Result<()> {
        visitor.visit(&format!("{name}.weight"), &mut self.weight)?;
        self.bias.iter_mut().try_for_each(|bias| visitor.visit(&format!("{name}.bias"), bias))
    }
}

fn matmul(a: Tensor<2>, b: Tensor<2>, precision: Precision) -> Tensor<2> {
    match precision {
        Precision::F32 => a.matmul(b),
        Precision::F16 => a.cast(DType::F16).matmul(b.cast(DType::F16)).cast(DType::F32),
    }
}

/// LayerNorm over the last axis.
#[derive(Clone, Debug)]
pub struct Norm {
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    epsilon: f64,
}

impl Norm {
    fn new(source: &mut impl ParameterSource, name: &str, config: &ModelConfig) -> Result<Self> {
        let shape = [config.hidden_size];
        let weight = source.parameter(&format!("{name}.weight"), shape, Init::Ones)?;
        let bias =
            config.norm_bias.then(|| source.parameter(&format!("{name}.bias"), shape, Init::Zeros)).transpose()?;
        Ok(Self { weight, bias, epsilon: config.norm_eps })
    }

    fn forward(&self, x_td: Tensor<2>) -> Tensor<2> {
        let y_td = layer_norm::layer_norm(x_td, self.weight.clone(), self.epsilon);
        match &self.bias {
            Some(bias) => y_td + bias.clone().unsqueeze(),
            None => y_td,
        }
    }

    fn visit(&mut self, name: &str, visitor: &mut impl ParameterVisitor) -> Result<()> {
        visitor.visit(&format!("{name}.weight"), &mut self.weight)?;
        self.bias.iter_mut().try_for_each(|bias| visitor.visit(&format!("{name}.bias"), bias))
    }
}

/// The packed tokens on the device, with what every layer needs of them: made once a forward pass.
#[derive(Clone, Debug)]
pub struct Inputs {
    ids_t: Tensor<1, Int>,
    bounds_2t: Tensor<2, Int>,
    /// Cosines and sines `[t, k / 2]` of the global and of the local layers.
    rope: [[Tensor<2>; 2]; 2],
    first_tokens_s: Tensor<1, Int>,
    lengths: Vec<usize>,
}

/// Rotation tables `[max_position_embeddings, k / 2]`, cosines and sines, of one kind of layer.
fn rope_table(config: &ModelConfig, theta: f64, device: &Device) -> [Tensor<2>; 2] {
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
            attn_norm: (index > 0).then(|| Norm::new(source, &name("attn_norm"), config)).transpose()?,
            wqkv: Linear::new(source, &name("attn.Wqkv"), [3 * d, d], config.attention_bias, std_in)?,
            attn_wo: Linear::new(source, &name("attn.Wo"), [d, d], config.attention_bias, std_out)?,
            mlp_norm: Norm::new(source, &name("mlp_norm"), config)?,
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

    fn forward(&self, x_td: Tensor<2>, inputs: &Inputs, precision: Precision) -> Tensor<2> {
        let x_td = x_td.clone() + self.attention(x_td, inputs, precision);
        let hidden_t2i = self.wi.forward(self.mlp_norm.forward(x_td.clone()), precision);
        x_td + self.mlp_wo.forward(geglu::geglu(hidden_t2i), precision)
    }

    fn attention(&self, x_td: Tensor<2>, inputs: &Inputs, precision: Precision) -> Tensor<2> {
        let normed_td = match &self.attn_norm {
            Some(norm) => norm.forward(x_td),
            None => x_td,
        };
        let qkv_t3d = self.wqkv.forward(normed_td, precision);
        let [cos, sin] = inputs.rope[usize::from(self.kind == LayerType::SlidingAttention)].clone();
        let qkv_t3d = rope::rope(qkv_t3d, cos, sin);
        let mixed_td = attention::attention(qkv_t3d, inputs.bounds_2t.clone(), self.num_heads, self.window);
        self.attn_wo.forward(mixed_td, precision)
    }

    fn visit(&mut self, index: usize, visitor: &mut impl ParameterVisitor) -> Result<()> {
        let name = |part: &str| format!("model.layers.{index}.{part}");
        self.attn_norm.iter_mut().try_for_each(|norm| norm.visit(&name("attn_norm"), visitor))?;
        self.wqkv.visit(&name("attn.Wqkv"), visitor)?;
        self.attn_wo.visit(&name("attn.Wo"), visitor)?;
        self.mlp_norm.visit(&name("mlp_norm"), visitor)?;
        self.wi.visit(&name("mlp.Wi"), visitor)?;
        self.mlp_wo.visit(&name("mlp.Wo"), visitor)
    }
}

/// Standard deviation of the weights that write to the residual stream.
fn std_out(config: &ModelConfig) -> f64 {
    config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt()
}

/// Embedding, layers, final norm.
#[derive(Clone, Debug)]
pub struct Encoder {
    tok_embeddings: Tensor<2>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    final_norm: Norm,
    rope_tables: [[Tensor<2>; 2]; 2],
    max_length: usize,
    /// What the matrix products take; set before training or inference.
    pub precision: Precision,
}

impl Encoder {
    fn new(source: &mut impl ParameterSource, config: &ModelConfig, device: &Device) -> Result<Self> {
        let shape = [config.vocab_size, config.hidden_size];
        let normal = Init::Normal(config.initializer_range);
        Ok(Self {
            tok_embeddings: source.parameter("model.embeddings.tok_embeddings.weight", shape, normal)?,
            embedding_norm: Norm::new(source, "model.embeddings.norm", config)?,
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(source, index, config))
                .collect::<Result<_>>()?,
            final_norm: Norm::new(source, "model.final_norm", config)?,
            rope_tables: [config.global_rope_theta, config.local_rope_theta]
                .map(|theta| rope_table(config, theta, device)),
            max_length: config.max_position_embeddings,
            precision: Precision::default(),
        })
    }

    /// Puts packed sequences on the model's device. Errors: an id beyond the vocabulary, a sequence that is empty or longer
    /// than `max_position_embeddings`.
    pub fn inputs(&self, sequences: &Sequences) -> Result<Inputs> {
        let device = &self.tok_embeddings.device();
        let [vocab_size, _] = self.tok_embeddings.dims();
        if let Some(id) = sequences.ids.iter().find(|id| **id as usize >= vocab_size) {
            let message = format!(
                "token id {id} is beyond the model's {vocab_size} embedding rows; use the model's own tokenizer"
            );
            return Err(Error::Input { message });
        }
        let (mut starts, mut ends, mut positions, mut firsts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &length in &sequences.lengths {
            if length == 0 || length > self.max_length {
                let message = format!("a sequence has {length} tokens; the model takes 1 to {}", self.max_length);
                return Err(Error::Input { message });
            }
            let start = starts.len() as i32;
            firsts.push(start);
            starts.extend(std::iter::repeat_n(start, length));
            ends.extend(std::iter::repeat_n(start + length as i32, length));
            positions.extend(0..length as i32);
        }
        let t = starts.len();
        starts.append(&mut ends);
        let positions_t = int_tensor(positions, [t], device);
        Ok(Inputs {
            ids_t: int_tensor(sequences.ids.iter().map(|id| *id as i32).collect(), [t], device),
            bounds_2t: int_tensor(starts, [2, t], device),
            rope: self
                .rope_tables
                .each_ref()
                .map(|table| table.each_ref().map(|table| table.clone().select(0, positions_t.clone()))),
            first_tokens_s: int_tensor(firsts, [sequences.lengths.len()], device),
            lengths: sequences.lengths.clone(),
        })
    }

    /// The last hidden states, `[t, d]`.
    pub fn forward(&self, inputs: &Inputs) -> Tensor<2> {
        self.forward_observed(inputs, |_, _| ())
    }

    /// [`Self::forward`], showing the residual stream before each layer (index 0 is the embedding) and the final output.
    pub fn forward_observed(&self, inputs: &Inputs, mut observe: impl FnMut(usize, &Tensor<2>)) -> Tensor<2> {
        let embedded_td = self.tok_embeddings.clone().select(0, inputs.ids_t.clone());
        let mut x_td = self.embedding_norm.forward(embedded_td);
        for (index, layer) in self.layers.iter().enumerate() {
            observe(index, &x_td);
            x_td = layer.forward(x_td, inputs, self.precision);
        }
        let x_td = self.final_norm.forward(x_td);
        observe(self.layers.len(), &x_td);
        x_td
    }

    /// One vector a sequence, `[s, d]`, of its tokens' vectors `[t, d]`.
    pub fn pool(&self, hidden_td: Tensor<2>, inputs: &Inputs, pooling: Pooling) -> Tensor<2> {
        match pooling {
            Pooling::Cls => hidden_td.select(0, inputs.first_tokens_s.clone()),
            Pooling::Mean => {
                let parts = hidden_td.split_with_sizes(inputs.lengths.clone(), 0);
                Tensor::cat(parts.into_iter().map(|part| part.mean_dim(0)).collect(), 0)
            }
        }
    }

    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        visitor.visit("model.embeddings.tok_embeddings.weight", &mut self.tok_embeddings)?;
        self.embedding_norm.visit("model.embeddings.norm", visitor)?;
        self.layers.iter_mut().enumerate().try_for_each(|(index, layer)| layer.visit(index, visitor))?;
        self.final_norm.visit("model.final_norm", visitor)
    }
}

fn int_tensor<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}

/// Dense, GELU, norm: before the vocabulary and before the classes.
#[derive(Clone, Debug)]
pub struct PredictionHead {
    dense: Linear,
    norm: Norm,
}

impl PredictionHead {
    fn new(source: &mut impl ParameterSource, config: &ModelConfig) -> Result<Self> {
        let shape = [config.hidden_size; 2];
        Ok(Self {
            dense: Linear::new(source, "head.dense", shape, config.classifier_bias, std_out(config))?,
            norm: Norm::new(source, "head.norm", config)?,
        })
    }

    fn forward(&self, x_md: Tensor<2>, precision: Precision) -> Tensor<2> {
        self.norm.forward(geglu::gelu(self.dense.forward(x_md, precision)))
    }

    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.dense.visit("head.dense", visitor)?;
        self.norm.visit("head.norm", visitor)
    }
}

/// `ModernBertForMaskedLM`.
#[derive(Clone, Debug)]
pub struct MaskedLm {
    /// The encoder.
    pub encoder: Encoder,
    head: PredictionHead,
    /// `None` where the decoder's weight is the embedding.
    decoder_weight: Option<Tensor<2>>,
    decoder_bias: Option<Tensor<1>>,
}

impl MaskedLm {
    /// Builds the model that `config` describes on `device`.
    pub fn new(source: &mut impl ParameterSource, config: &ModelConfig, device: &Device) -> Result<Self> {
        let (v, d) = (config.vocab_size, config.hidden_size);
        let untied = !config.tie_word_embeddings;
        let normal = Init::Normal(std_out(config));
        Ok(Self {
            encoder: Encoder::new(source, config, device)?,
            head: PredictionHead::new(source, config)?,
            decoder_weight: untied.then(|| source.parameter("decoder.weight", [v, d], normal)).transpose()?,
            decoder_bias: config
                .decoder_bias
                .then(|| source.parameter("decoder.bias", [v], Init::Zeros))
                .transpose()?,
        })
    }

    /// Logits `[m, v]` of the tokens `chosen`, given the last hidden states `[t, d]`.
    pub fn logits_at(&self, hidden_td: Tensor<2>, chosen: &[usize]) -> Tensor<2> {
        let precision = self.encoder.precision;
        let indices = chosen.iter().map(|token| *token as i32).collect();
        let chosen_m = int_tensor(indices, [chosen.len()], &hidden_td.device());
        let x_md = self.head.forward(hidden_td.select(0, chosen_m), precision);
        let weight_vd = self.decoder_weight.as_ref().unwrap_or(&self.encoder.tok_embeddings);
        let logits_mv = matmul(x_md, weight_vd.clone().transpose(), precision);
        match &self.decoder_bias {
            Some(bias) => logits_mv + bias.clone().unsqueeze(),
            None => logits_mv,
        }
    }

    /// Logits `[m, v]` of the tokens `chosen` of packed sequences.
    pub fn forward(&self, inputs: &Inputs, chosen: &[usize]) -> Tensor<2> {
        self.logits_at(self.encoder.forward(inputs), chosen)
    }
}

impl Parameters for MaskedLm {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.encoder.visit(visitor)?;
        self.head.visit(visitor)?;
        self.decoder_weight.iter_mut().try_for_each(|weight| visitor.visit("decoder.weight", weight))?;
        self.decoder_bias.iter_mut().try_for_each(|bias| visitor.visit("decoder.bias", bias))
    }
}

/// `ModernBertForSequenceClassification`.
#[derive(Clone, Debug)]
pub struct SequenceClassifier {
    /// The encoder.
    pub encoder: Encoder,
    head: PredictionHead,
    classifier: Linear,
    pooling: Pooling,
}

impl SequenceClassifier {
    /// Builds the model that `config` describes on `device`.
    pub fn new(source: &mut impl ParameterSource, config: &ModelConfig, device: &Device) -> Result<Self> {
        let shape = [config.num_labels(), config.hidden_size];
        let std = 1.0 / (config.hidden_size as f64).sqrt();
        Ok(Self {
            encoder: Encoder::new(source, config, device)?,
            head: PredictionHead::new(source, config)?,
            classifier: Linear::new(source, "classifier", shape, true, std)?,
            pooling: config.classifier_pooling,
        })
    }

    /// Logits `[s, labels]` of each sequence.
    pub fn forward(&self, inputs: &Inputs) -> Tensor<2> {
        let hidden_td = self.encoder.forward(inputs);
        let pooled_sd = self.encoder.pool(hidden_td, inputs, self.pooling);
        self.classifier.forward(self.head.forward(pooled_sd, self.encoder.precision), Precision::F32)
    }
}

impl Parameters for SequenceClassifier {
    fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.encoder.visit(visitor)?;
        self.head.visit(visitor)?;
        self.classifier.visit("classifier", visitor)
    }
}
