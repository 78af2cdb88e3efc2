//! What the models are made of: named parameters, linear layers, norms, packed inputs, the head over the vocabulary.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `d` hidden size, `m` chosen tokens, `s` sequences,
//! `v` vocabulary.

use std::sync::Arc;

use anaume_shaders::{embedding, geglu, layer_norm, linear, linear_f16};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::batch::Sequences;
use crate::config::Pooling;
pub use crate::config::Precision;
use crate::error::{Error, Result};

/// How a parameter starts where no file gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation; the source may cut its tails.
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

    /// The same, in parts of rows one below the other.
    fn rows(&mut self, name: &str, shape: [usize; 2], init: Init) -> Result<Vec<Tensor<2>>> {
        Ok(vec![self.parameter(name, shape, init)?])
    }
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

impl Precision {
    /// The type in which values go from product to product; the residual stream, norms and losses are f32.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::BF16 => DType::F32,
            Self::F16 => DType::F16,
        }
    }
}

/// A parameter under the name that it has in Hugging Face's checkpoints.
#[derive(Clone, Debug)]
pub struct Parameter<const D: usize> {
    name: String,
    value: Tensor<D>,
}

impl<const D: usize> Parameter<D> {
    /// Takes the parameter from `source`.
    pub fn new(
        source: &mut impl ParameterSource,
        name: impl Into<String>,
        shape: [usize; D],
        init: Init,
    ) -> Result<Self> {
        let name = name.into();
        let value = source.parameter(&name, shape, init)?;
        Ok(Self { name, value })
    }

    /// The tensor.
    pub fn value(&self) -> Tensor<D> {
        self.value.clone()
    }

    /// Shows it to `visitor`.
    pub fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        visitor.visit(&self.name, &mut self.value)
    }
}

/// A bias of `width` zeros where there is to be one.
fn bias(source: &mut impl ParameterSource, name: &str, width: usize, present: bool) -> Result<Option<Parameter<1>>> {
    present.then(|| Parameter::new(source, name, [width], Init::Zeros)).transpose()
}

fn add_bias(y: Tensor<2>, bias: &Option<Parameter<1>>) -> Tensor<2> {
    match bias {
        Some(bias) => {
            let bias: Tensor<2> = bias.value().unsqueeze();
            let dtype = y.dtype();
            y + bias.cast(dtype)
        }
        None => y,
    }
}

/// `x W^T + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Parameter<2>,
    bias: Option<Parameter<1>>,
}

impl Linear {
    /// `NAME.weight`, normal with the standard deviation `std`, and perhaps `NAME.bias`.
    pub fn new(
        source: &mut impl ParameterSource,
        name: &str,
        [out, input]: [usize; 2],
        with_bias: bool,
        std: f64,
    ) -> Result<Self> {
        let weight = Parameter::new(source, format!("{name}.weight"), [out, input], Init::Normal(std))?;
        Ok(Self { weight, bias: bias(source, &format!("{name}.bias"), out, with_bias)? })
    }

    /// `[t, input]` of f32 or of the precision's type to `[t, out]` of the precision's type.
    pub fn project(&self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        add_bias(product(x, self.weight.value(), precision), &self.bias)
    }

    /// [`Self::project`] to f32.
    pub fn forward(&self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        self.project(x, precision).cast(DType::F32)
    }

    /// Shows weight and bias to `visitor`.
    pub fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.weight.visit(visitor)?;
        self.bias.iter_mut().try_for_each(|bias| bias.visit(visitor))
    }
}

/// `x W^T` in the precision's type.
fn product(x: Tensor<2>, weight: Tensor<2>, precision: Precision) -> Tensor<2> {
    match precision {
        Precision::F32 => x.matmul(weight.transpose()),
        Precision::F16 => linear_f16::linear_f16(x, weight),
        Precision::BF16 => linear::linear_bf16(x, weight),
    }
}

/// One row a token of the vocabulary, `[v, d]`: to look tokens up, and to tell how well each fits. In parts of rows where
/// the whole is too large for a buffer of a device.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    parts: Vec<Tensor<2>>,
}

impl Table {
    /// Takes the parameter from `source`.
    pub fn new(source: &mut impl ParameterSource, name: &str, shape: [usize; 2], init: Init) -> Result<Self> {
        Ok(Self { name: name.into(), parts: source.rows(name, shape, init)? })
    }

    /// The parameter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows in all.
    pub fn num_rows(&self) -> usize {
        self.parts.iter().map(|part| part.dims()[0]).sum()
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        self.parts[0].device()
    }

    /// The rows of the tokens' ids, `[t, d]`.
    pub fn select(&self, inputs: &Inputs) -> Tensor<2> {
        let ids_t = &inputs.ids_t;
        if let [whole] = &self.parts[..] {
            return embedding::embedding(whole.clone(), ids_t.clone(), inputs.ids.clone());
        }
        let mut start = 0;
        let selected = self.parts.iter().map(|part| {
            let last = part.dims()[0] as i64 - 1;
            let place_t = ids_t.clone() - start;
            let is_outside = place_t.clone().lower_elem(0).bool_or(place_t.clone().greater_elem(last));
            start += last + 1;
            let rows_td = part.clone().select(0, place_t.clamp(0, last));
            let shape = rows_td.dims();
            rows_td.mask_fill(is_outside.unsqueeze_dim::<2>(1).expand(shape), 0.0)
        });
        selected.reduce(|all, more| all + more).expect("a table has a part")
    }

    /// How well each row fits vectors `[m, d]`: their products, `[m, v]`, in the precision's type.
    pub fn products(&self, x_md: Tensor<2>, precision: Precision) -> Tensor<2> {
        let of_part = |part: &Tensor<2>| product(x_md.clone(), part.clone(), precision);
        match &self.parts[..] {
            [whole] => of_part(whole),
            parts => Tensor::cat(parts.iter().map(of_part).collect(), 1),
        }
    }

    /// Shows it to `visitor`. Error: it is in parts, which only computes.
    pub fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        match &mut self.parts[..] {
            [whole] => visitor.visit(&self.name, whole),
            _ => {
                let message = "it was loaded in parts to compute with; load it whole to train or to save it".into();
                Err(Error::Weights { tensor: self.name.clone(), message })
            }
        }
    }
}

/// LayerNorm over the last axis.
#[derive(Clone, Debug)]
pub struct Norm {
    weight: Parameter<1>,
    bias: Option<Parameter<1>>,
    epsilon: f64,
}

impl Norm {
    /// `NAME.weight`, ones, and perhaps `NAME.bias`.
    pub fn new(
        source: &mut impl ParameterSource,
        name: &str,
        width: usize,
        with_bias: bool,
        epsilon: f64,
    ) -> Result<Self> {
        let weight = Parameter::new(source, format!("{name}.weight"), [width], Init::Ones)?;
        Ok(Self { weight, bias: bias(source, &format!("{name}.bias"), width, with_bias)?, epsilon })
    }

    /// `[t, d]` to `[t, d]`.
    pub fn forward(&self, x_td: Tensor<2>) -> Tensor<2> {
        let dtype = x_td.dtype();
        self.forward_as(x_td, dtype)
    }

    /// [`Self::forward`] to another type.
    pub fn forward_as(&self, x_td: Tensor<2>, dtype: DType) -> Tensor<2> {
        add_bias(layer_norm::layer_norm_as(x_td, self.weight.value(), self.epsilon, dtype), &self.bias)
    }

    /// Shows weight and bias to `visitor`.
    pub fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.weight.visit(visitor)?;
        self.bias.iter_mut().try_for_each(|bias| bias.visit(visitor))
    }
}

/// Dense, GELU, norm: before the vocabulary, and before ModernBERT's classes.
#[derive(Clone, Debug)]
pub struct PredictionHead {
    /// The linear layer, `[d, d]`.
    pub dense: Linear,
    /// The norm.
    pub norm: Norm,
}

impl PredictionHead {
    /// `[m, d]` to `[m, d]`.
    pub fn forward(&self, x_md: Tensor<2>, precision: Precision) -> Tensor<2> {
        self.norm.forward(geglu::gelu(self.dense.forward(x_md, precision)))
    }

    /// Shows its parameters to `visitor`.
    pub fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.dense.visit(visitor)?;
        self.norm.visit(visitor)
    }
}

/// From hidden states to logits over the vocabulary.
#[derive(Clone, Debug)]
pub struct LmHead {
    /// What comes before the decoder.
    pub head: PredictionHead,
    /// `[v, d]`; `None` where the decoder's weight is the embedding.
    pub decoder_weight: Option<Table>,
    /// `[v]`.
    pub decoder_bias: Option<Parameter<1>>,
}

impl LmHead {
    /// Logits `[m, v]`, in the precision's type, given the last hidden states `[m, d]` and the embedding `[v, d]`.
    pub fn logits(&self, hidden_md: Tensor<2>, embedding_vd: &Table, precision: Precision) -> Tensor<2> {
        let x_md = self.head.forward(hidden_md, precision);
        let weight_vd = self.decoder_weight.as_ref().unwrap_or(embedding_vd);
        add_bias(weight_vd.products(x_md, precision), &self.decoder_bias)
    }

    /// Shows its parameters to `visitor`.
    pub fn visit(&mut self, visitor: &mut impl ParameterVisitor) -> Result<()> {
        self.head.visit(visitor)?;
        self.decoder_weight.iter_mut().try_for_each(|weight| weight.visit(visitor))?;
        self.decoder_bias.iter_mut().try_for_each(|bias| bias.visit(visitor))
    }
}

/// The rows `chosen` of `[t, d]`, `[m, d]`.
pub fn rows(x_td: Tensor<2>, chosen: &[usize]) -> Tensor<2> {
    let indices = chosen.iter().map(|row| *row as i32).collect();
    let chosen_m = int_tensor(indices, [chosen.len()], &x_td.device());
    embedding::embedding(x_td, chosen_m, chosen.iter().map(|row| *row as u32).collect())
}

/// Packed tokens on the device, with what every layer needs of them: made once a forward pass.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Token ids, `[t]`.
    pub ids_t: Tensor<1, Int>,
    /// Token types, `[t]`; `None` where all are 0.
    pub types_t: Option<Tensor<1, Int>>,
    /// Each token's place in its sequence, `[t]`.
    pub positions_t: Tensor<1, Int>,
    /// First token of each token's sequence and the one after its last, `[2, t]`.
    pub bounds_2t: Tensor<2, Int>,
    /// The token ids, on the host.
    ids: Arc<[u32]>,
    first_tokens_s: Tensor<1, Int>,
    lengths: Vec<usize>,
}

impl Inputs {
    /// Puts packed sequences on a device for a model of `vocab_size` embedding rows and `max_length` positions. Errors: an
    /// id beyond the vocabulary, a sequence that is empty or too long.
    pub fn new(sequences: &Sequences, vocab_size: usize, max_length: usize, device: &Device) -> Result<Self> {
        let invalid = |message| Err(Error::Input { message });
        if let Some(id) = sequences.ids.iter().find(|id| **id as usize >= vocab_size) {
            return invalid(format!(
                "token id {id} is beyond the model's {vocab_size} embedding rows; use the model's own tokenizer"
            ));
        }
        let (mut starts, mut ends, mut positions, mut firsts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &length in &sequences.lengths {
            if length == 0 || length > max_length {
                return invalid(format!("a sequence has {length} tokens; the model takes 1 to {max_length}"));
            }
            let start = starts.len() as i32;
            firsts.push(start);
            starts.extend(std::iter::repeat_n(start, length));
            ends.extend(std::iter::repeat_n(start + length as i32, length));
            positions.extend(0..length as i32);
        }
        let t = starts.len();
        let has_type = [0, t].contains(&sequences.types.len());
        if sequences.ids.len() != t || !has_type {
            let (ids, types) = (sequences.ids.len(), sequences.types.len());
            return invalid(format!("{ids} token ids and {types} types for sequences of {t} tokens in all"));
        }
        starts.append(&mut ends);
        let types = sequences.types.iter().map(|kind| i32::from(*kind)).collect();
        Ok(Self {
            ids_t: int_tensor(sequences.ids.iter().map(|id| *id as i32).collect(), [t], device),
            types_t: (!sequences.types.is_empty()).then(|| int_tensor(types, [t], device)),
            positions_t: int_tensor(positions, [t], device),
            bounds_2t: int_tensor(starts, [2, t], device),
            ids: sequences.ids.as_slice().into(),
            first_tokens_s: int_tensor(firsts, [sequences.lengths.len()], device),
            lengths: sequences.lengths.clone(),
        })
    }

    /// One vector a sequence, `[s, d]`, of its tokens' vectors `[t, d]`.
    pub fn pool(&self, hidden_td: Tensor<2>, pooling: Pooling) -> Tensor<2> {
        match pooling {
            Pooling::Cls => hidden_td.select(0, self.first_tokens_s.clone()),
            Pooling::Mean => {
                let parts = hidden_td.split_with_sizes(self.lengths.clone(), 0);
                Tensor::cat(parts.into_iter().map(|part| part.mean_dim(0)).collect(), 0)
            }
        }
    }
}

/// 32-bit integers on a device.
pub(crate) fn int_tensor<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}
