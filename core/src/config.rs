//! The configuration of a ModernBERT, with the names and defaults of Hugging Face's `config.json`
//! (`transformers.ModernBertConfig`), its presets, and what follows from it: parameters, floating-point operations, memory.
//! That of a BERT is [`BertConfig`].

mod adamw;
mod architecture;
mod bert;
mod head;
mod precision;
mod stored;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

pub use adamw::AdamWConfig;
pub use architecture::Config;
#[cfg(feature = "model")]
pub(crate) use architecture::either;
pub use bert::BertConfig;
pub use head::HeadKind;
pub(crate) use head::has_lm_head;
pub use precision::Precision;
pub use stored::StoredType;

/// Logits that training has at once: in f32 128 MiB, what every device of WebGPU binds.
pub const LOGITS_AT_ONCE: usize = 1 << 25;

/// Which tokens a layer's attention sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Every token of the sequence.
    FullAttention,
    /// The tokens at most `local_attention / 2` away.
    SlidingAttention,
}

/// How a sequence becomes one vector for classification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The vector of the first token.
    #[default]
    Cls,
    /// The mean over the sequence's tokens.
    Mean,
}

/// `config.json` of a ModernBERT. Fields that only other programs read are kept in `other` and written back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// Class names, e.g. `ModernBertForMaskedLM`.
    pub architectures: Vec<String>,
    /// Always `modernbert`.
    pub model_type: String,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of each half of the GeGLU.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer.
    pub num_attention_heads: usize,
    /// Only `gelu`, the exact one.
    pub hidden_activation: String,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Where the initial normal distribution is cut, in standard deviations.
    pub initializer_cutoff_factor: f64,
    /// Epsilon of every LayerNorm.
    pub norm_eps: f64,
    /// Whether the norms have biases.
    pub norm_bias: bool,
    /// Whether the attention's linear layers have biases.
    pub attention_bias: bool,
    /// Whether the MLP's linear layers have biases.
    pub mlp_bias: bool,
    /// Whether the vocabulary's logits have a bias.
    pub decoder_bias: bool,
    /// Whether the prediction head's linear layer has a bias.
    pub classifier_bias: bool,
    /// Only `gelu`.
    pub classifier_activation: String,
    /// Pooling of the sequence classifier.
    pub classifier_pooling: Pooling,
    /// Whether the decoder's weight is the embedding.
    pub tie_word_embeddings: bool,
    /// Full width of the sliding window, in tokens.
    pub local_attention: usize,
    /// Every how many layers one is global, where `layer_types` is absent.
    pub global_attn_every_n_layers: usize,
    /// The type of each layer; made from `global_attn_every_n_layers` where absent.
    pub layer_types: Vec<LayerType>,
    /// RoPE base of the global layers (older layout; `rope_parameters` wins).
    pub global_rope_theta: f64,
    /// RoPE base of the local layers (older layout).
    pub local_rope_theta: f64,
    /// RoPE of both kinds of layer (newer layout).
    pub rope_parameters: Option<RopeParameters>,
    /// Padding token.
    pub pad_token_id: Option<u32>,
    /// First token of a text for decoders; here that of the encoder.
    pub bos_token_id: Option<u32>,
    /// Last token of a text.
    pub eos_token_id: Option<u32>,
    /// First token of a sequence.
    pub cls_token_id: Option<u32>,
    /// Last token of a sequence.
    pub sep_token_id: Option<u32>,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// RoPE in the newer layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Of the global layers.
    pub full_attention: Option<RopeTheta>,
    /// Of the local layers.
    pub sliding_attention: Option<RopeTheta>,
}

/// RoPE of one kind of layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeTheta {
    /// Only `default`: unscaled.
    pub rope_type: String,
    /// The base of the frequencies.
    pub rope_theta: Option<f64>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            architectures: vec!["ModernBertForMaskedLM".into()],
            model_type: "modernbert".into(),
            vocab_size: 50_368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: "gelu".into(),
            max_position_embeddings: 8192,
            initializer_range: 0.02,
            initializer_cutoff_factor: 2.0,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            decoder_bias: true,
            classifier_bias: false,
            classifier_activation: "gelu".into(),
            classifier_pooling: Pooling::Cls,
            tie_word_embeddings: true,
            local_attention: 128,
            global_attn_every_n_layers: 3,
            layer_types: Vec::new(),
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            rope_parameters: None,
            pad_token_id: None,
            bos_token_id: None,
            eos_token_id: None,
            cls_token_id: None,
            sep_token_id: None,
            other: Map::new(),
        }
    }
}

/// Names of the presets, with (hidden, intermediate, layers, heads, global RoPE theta).
/// `base` is llm-jp-modernbert-base; `ja-…` are sbintuitions' modernbert-ja; the last two are AnswerDotAI's.
const PRESETS: [(&str, [usize; 4], f64); 9] = [
    ("base", [768, 1152, 22, 12], 10_000.0),
    ("small", [384, 576, 6, 6], 10_000.0),
    ("mini", [256, 384, 4, 4], 10_000.0),
    ("tiny", [64, 96, 4, 4], 10_000.0),
    ("ja-30m", [256, 1024, 10, 4], 160_000.0),
    ("ja-130m", [512, 2048, 19, 8], 160_000.0),
    ("ja-310m", [768, 3072, 25, 12], 160_000.0),
    ("modernbert-base", [768, 1152, 22, 12], 160_000.0),
    ("modernbert-large", [1024, 2624, 28, 16], 160_000.0),
];

/// The names of the presets.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, ..)| *name)
}

impl ModelConfig {
    /// A preset for a vocabulary of `vocab_size` entries.
    pub fn preset(name: &str, vocab_size: usize) -> Result<Self> {
        let (_, [hidden_size, intermediate_size, num_hidden_layers, num_attention_heads], theta) =
            *PRESETS.iter().find(|(preset, ..)| *preset == name).ok_or_else(|| {
                let known: Vec<_> = preset_names().collect();
                invalid("preset", format!("`{name}` is not one of {}", known.join(", ")))
            })?;
        let config = Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            global_rope_theta: theta,
            ..Self::default()
        };
        config.normalised()
    }

    /// Reads `config.json`, in either layout of RoPE and of layer types, and checks it.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes).map_err(|error| invalid("config.json", error.to_string()))?;
        config.normalised()
    }

    /// `config.json` beside weights stored as `stored`: both layouts at once, so that every version of transformers reads
    /// it; keys sorted.
    pub fn to_json(&self, stored: StoredType) -> Vec<u8> {
        to_json(self, stored)
    }

    /// The same configuration with both layouts filled in.
    fn normalised(mut self) -> Result<Self> {
        let scaled = |part: &Option<RopeTheta>| part.as_ref().is_some_and(|rope| rope.rope_type != "default");
        if let Some(rope) = &self.rope_parameters {
            if scaled(&rope.full_attention) || scaled(&rope.sliding_attention) {
                return Err(invalid("rope_parameters", "only `rope_type` \"default\" is supported".into()));
            }
            let theta = |part: &Option<RopeTheta>| part.as_ref().and_then(|rope| rope.rope_theta);
            self.global_rope_theta = theta(&rope.full_attention).unwrap_or(self.global_rope_theta);
            self.local_rope_theta = theta(&rope.sliding_attention).unwrap_or(self.local_rope_theta);
        }
        let rope = |theta| Some(RopeTheta { rope_type: "default".into(), rope_theta: Some(theta) });
        self.rope_parameters = Some(RopeParameters {
            full_attention: rope(self.global_rope_theta),
            sliding_attention: rope(self.local_rope_theta),
        });
        self.check()?;
        if self.layer_types.is_empty() {
            let every = self.global_attn_every_n_layers;
            let kind = |layer| if layer % every == 0 { LayerType::FullAttention } else { LayerType::SlidingAttention };
            self.layer_types = (0..self.num_hidden_layers).map(kind).collect();
        }
        if self.layer_types.len() != self.num_hidden_layers {
            let message = format!(
                "{} entries for {} layers (`num_hidden_layers`)",
                self.layer_types.len(),
                self.num_hidden_layers
            );
            return Err(invalid("layer_types", message));
        }
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            // A table of rotations is made for every position: with heads this small, at most 64 MiB each.
            ("max_position_embeddings", self.max_position_embeddings, 1 << 17),
            ("global_attn_every_n_layers", self.global_attn_every_n_layers, 1 << 10),
            ("local_attention", self.local_attention, 1 << 20),
        ])?;
        if self.model_type != "modernbert" {
            return Err(invalid("model_type", format!("`{}` is not `modernbert`", self.model_type)));
        }
        for (field, value) in
            [("hidden_activation", &self.hidden_activation), ("classifier_activation", &self.classifier_activation)]
        {
            if value != "gelu" {
                return Err(invalid(field, format!("`{value}` is not supported; ModernBERT uses `gelu`")));
            }
        }
        check_heads(self.hidden_size, self.num_attention_heads)?;
        HeadKind::check(&self.other)?;
        check_positive(&[
            ("global_rope_theta", self.global_rope_theta),
            ("local_rope_theta", self.local_rope_theta),
            ("norm_eps", self.norm_eps),
            ("initializer_range", self.initializer_range),
        ])
    }

    /// Size of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// How far a token of a sliding layer sees to each side.
    pub fn sliding_window(&self) -> usize {
        self.local_attention / 2
    }

    /// Parameters by part, in the order of the computation.
    pub fn parameter_counts(&self) -> Vec<(&'static str, usize)> {
        let (d, i, layers, v) = (self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.vocab_size);
        let with_bias = |weights: usize, bias: bool, width: usize| weights + if bias { width } else { 0 };
        let norm = with_bias(d, self.norm_bias, d);
        let attention = with_bias(4 * d * d, self.attention_bias, 4 * d);
        let mlp = with_bias(3 * d * i, self.mlp_bias, 2 * i + d);
        let decoder = with_bias(if self.tie_word_embeddings { 0 } else { v * d }, self.decoder_bias, v);
        let mut parts = vec![
            ("embedding", v * d + norm),
            ("attention", layers * attention),
            ("mlp", layers * mlp),
            ("norms", (2 * layers - 1) * norm + norm),
        ];
        let head = ("head", with_bias(d * d, self.classifier_bias, d) + norm);
        if let Some(kind) = HeadKind::of(&self.architectures, &self.other) {
            parts.extend([head, ("classifier", (d + 1) * kind.num_outputs())]);
        } else if has_lm_head(&self.architectures) {
            parts.extend([head, ("decoder", decoder)]);
        }
        parts
    }

    /// Parameters in all.
    pub fn num_parameters(&self) -> usize {
        self.parameter_counts().iter().map(|(_, count)| count).sum()
    }

    /// Floating-point operations (a multiply-add is two) of one token's forward pass through the encoder in a sequence of
    /// `length` tokens, without the vocabulary head.
    pub fn encoder_flops_per_token(&self, length: usize) -> f64 {
        let (d, i) = (self.hidden_size as f64, self.intermediate_size as f64);
        let linear = 2.0 * (4.0 * d * d + 3.0 * d * i) * self.num_hidden_layers as f64;
        let seen = |kind: &LayerType| match kind {
            LayerType::FullAttention => length,
            LayerType::SlidingAttention => length.min(2 * self.sliding_window() + 1),
        };
        let attention: f64 = self.layer_types.iter().map(|kind| 4.0 * d * seen(kind) as f64).sum();
        linear + attention
    }

    /// Floating-point operations of the masked-LM head for one predicted token.
    pub fn head_flops_per_token(&self) -> f64 {
        let (d, v) = (self.hidden_size as f64, self.vocab_size as f64);
        2.0 * d * d + 2.0 * d * v
    }

    /// Floating-point operations of a training step (forward and twice that backward).
    pub fn train_flops(&self, num_tokens: usize, num_masked: usize, length: usize) -> f64 {
        let forward =
            self.encoder_flops_per_token(length) * num_tokens as f64 + self.head_flops_per_token() * num_masked as f64;
        3.0 * forward
    }

    /// Bytes to train with `num_tokens` tokens of which `num_masked` are predicted at once: weights, gradients and two
    /// moments in f32, the activations that the backward pass keeps, and the decoder's gradient with the logits made at once.
    pub fn train_bytes(&self, num_tokens: usize, num_masked: usize) -> u64 {
        self.step_bytes(num_tokens, num_masked, self.layer_activations() * self.num_hidden_layers as u64)
    }

    /// [`Self::train_bytes`] where only what each layer takes is kept, and one layer's activations at a time.
    pub fn recomputing_train_bytes(&self, num_tokens: usize, num_masked: usize) -> u64 {
        let taken = self.hidden_size as u64 * self.num_hidden_layers as u64;
        self.step_bytes(num_tokens, num_masked, taken + self.layer_activations())
    }

    /// Values that the backward pass of a layer keeps a token: two norms' inputs and outputs, QKV, the attention's result, GeGLU's
    /// input and output.
    fn layer_activations(&self) -> u64 {
        9 * self.hidden_size as u64 + 3 * self.intermediate_size as u64
    }

    fn step_bytes(&self, num_tokens: usize, num_masked: usize, activations_per_token: u64) -> u64 {
        let logits = 2 * (num_masked * self.vocab_size).min(LOGITS_AT_ONCE);
        let decoder = self.vocab_size * self.hidden_size;
        4 * ((4 * self.num_parameters() + decoder + logits) as u64 + activations_per_token * num_tokens as u64)
    }

    /// Bytes to run the encoder on `num_tokens` tokens at once in f32.
    pub fn inference_bytes(&self, num_tokens: usize) -> u64 {
        let (d, i) = (self.hidden_size as u64, self.intermediate_size as u64);
        4 * (self.num_parameters() as u64 + num_tokens as u64 * (6 * d + 3 * i))
    }
}

fn invalid(field: &str, message: String) -> Error {
    Error::Config { field: field.into(), message }
}

/// `config.json` beside weights stored as `stored`; keys sorted.
fn to_json(config: &impl Serialize, stored: StoredType) -> Vec<u8> {
    let mut value = serde_json::to_value(config).expect("a configuration is plain data");
    let fields = value.as_object_mut().expect("a structure is an object");
    // The older name of the same thing must not contradict it.
    fields.remove("torch_dtype");
    fields.insert("dtype".into(), stored.torch_name().into());
    let mut text = serde_json::to_vec_pretty(&value).expect("JSON values are writable");
    text.push(b'\n');
    text
}

/// Largest size of an attention head; models have 64 and 128.
const MAX_HEAD_SIZE: usize = 256;

/// Fails unless each (field, value, largest) lies between 1 and the largest: generous caps, since a file that asks for more
/// is damaged or hostile, and nothing is allocated from it.
fn check_sizes(sizes: &[(&str, usize, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, value, largest)| *value == 0 || value > largest) {
        Some((field, value, largest)) => Err(invalid(field, format!("{value} is outside 1 to {largest}"))),
        None => Ok(()),
    }
}

fn check_heads(hidden_size: usize, num_heads: usize) -> Result<()> {
    if !hidden_size.is_multiple_of(2 * num_heads) {
        return Err(invalid(
            "hidden_size",
            format!("{hidden_size} does not split into {num_heads} heads of even size"),
        ));
    }
    check_sizes(&[("hidden_size / num_attention_heads", hidden_size / num_heads, MAX_HEAD_SIZE)])
}

fn check_positive(values: &[(&str, f64)]) -> Result<()> {
    match values.iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
        Some((field, value)) => Err(invalid(field, format!("{value} is not a positive number"))),
        None => Ok(()),
    }
}
