//! Parameters to and from safetensors bytes with Hugging Face's names, strict both ways; and random initial parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use safetensors::tensor::{TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError};

pub use crate::config::StoredType;
pub use crate::header::read_safetensors;

use crate::error::{Error, Result};
use crate::header::{read_header, read_values};
use crate::layers::{Init, ParameterSource, ParameterVisitor, Parameters};

/// Parameters read from a safetensors file, or from several that make up a model. Every tensor must be asked for: see
/// [`Self::finish`].
pub struct WeightFile {
    tensors: BTreeMap<String, StoredTensor>,
    allowed: Vec<String>,
    max_buffer_bytes: usize,
    device: Device,
}

/// A tensor of a file that no one asked for yet.
struct StoredTensor {
    shape: Vec<usize>,
    data: Data,
}

/// The values of a tensor as the file has them: made f32 when they are asked for, so that memory holds few of them twice.
enum Data {
    F32(Vec<f32>),
    Other(Dtype, Vec<u8>),
}

impl WeightFile {
    /// Reads a file. Errors name the first byte that cannot be accepted.
    pub fn new(bytes: &[u8], device: &Device) -> Result<Self> {
        Self::from_shards([bytes], device)
    }

    /// Reads the files that make up a model, in any order. Errors name the first byte that cannot be accepted, or a tensor
    /// that two of them hold.
    pub fn from_shards<'a>(shards: impl IntoIterator<Item = &'a [u8]>, device: &Device) -> Result<Self> {
        let mut file = Self::empty(device);
        shards.into_iter().try_for_each(|bytes| file.add(bytes))?;
        Ok(file)
    }

    /// Of no file yet.
    pub fn empty(device: &Device) -> Self {
        let (tensors, allowed) = Default::default();
        Self { tensors, allowed, max_buffer_bytes: usize::MAX, device: device.clone() }
    }

    /// Adds a file. Errors as of [`Self::from_shards`].
    pub fn add(&mut self, mut bytes: &[u8]) -> Result<()> {
        let num_bytes = bytes.len() as u64;
        self.read(&mut bytes, num_bytes)
    }

    /// Adds a file of `num_bytes` as it is read, tensor by tensor. Errors as of [`Self::from_shards`], and
    /// [`Error::Format`] where it cannot be read on.
    pub fn read(&mut self, file: &mut impl Read, num_bytes: u64) -> Result<()> {
        let header = read_header(file, num_bytes)?;
        for name in header.offset_keys() {
            let Some(info) = header.info(&name) else { continue };
            let tensor = StoredTensor { shape: info.shape.clone(), data: read_data(file, info)? };
            if self.tensors.insert(name.clone(), tensor).is_some() {
                return Err(weight_error(&name, "two files of the model have this tensor"));
            }
        }
        Ok(())
    }

    /// From here on gives [`ParameterSource::rows`] in parts that a buffer of `bytes` holds.
    pub fn limit_buffers(&mut self, bytes: usize) {
        self.max_buffer_bytes = bytes;
    }

    /// Where its tensors go.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the file has this parameter.
    pub fn has(&self, name: &str) -> bool {
        self.stored_name(name).is_some()
    }

    /// Lets the file hold tensors that no one asks for, if their names, without the encoder's prefix, begin with one of
    /// `beginnings`.
    pub fn allow_unused(&mut self, beginnings: &[&str]) {
        self.allowed.extend(beginnings.iter().map(|beginning| (*beginning).to_owned()));
    }

    /// Fails if the file holds a tensor that the model did not ask for. Stored copies of tied parameters are accepted where
    /// they equal what they are tied to, bit for bit.
    pub fn finish(self) -> Result<()> {
        let is_allowed = |name: &str| self.allowed.iter().any(|beginning| without_prefix(name).starts_with(beginning));
        match self.tensors.keys().find(|name| !is_allowed(name)) {
            None => Ok(()),
            Some(name) => Err(weight_error(
                name,
                "the file has this tensor and the model has no place for it; does config.json belong to the file?",
            )),
        }
    }

    /// The name under which the file has a parameter: encoders stored alone have no prefix, and BERT's first files call the
    /// norms' parameters gamma and beta.
    fn stored_name(&self, name: &str) -> Option<String> {
        let old = |name: &str| {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        };
        let names = [name, without_prefix(name)].map(|name| [name.to_owned(), old(name)]);
        names.into_iter().flatten().find(|name| self.tensors.contains_key(name))
    }

    /// The values of a parameter, which the file then holds no more.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let stored = self.stored_name(name).and_then(|stored| self.remove(&stored)).ok_or_else(|| {
            weight_error(
                name,
                "the model needs this tensor and the file does not have it; does config.json belong to the file?",
            )
        })?;
        if stored.shape != shape {
            let message = format!("the file has shape {:?}, the model needs {shape:?}", stored.shape);
            return Err(weight_error(name, message));
        }
        let values = stored.values?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let message = format!("element {index} is {}; the file is damaged or its training diverged", values[index]);
            return Err(weight_error(name, message));
        }
        self.allow_tied_copies(name, &values)?;
        Ok(values)
    }

    /// Needs no one to ask for the stored copies of a parameter that equal it.
    fn allow_tied_copies(&mut self, name: &str, values: &[f32]) -> Result<()> {
        for (copy, _) in TIED.iter().filter(|(_, to)| *to == name) {
            let Some(Removed { shape, values: copied }) = self.remove(copy) else { continue };
            let copied = copied?;
            if copied.iter().map(|a| a.to_bits()).eq(values.iter().map(|b| b.to_bits())) {
                self.allow_unused(&[copy]);
            }
            self.tensors.insert((*copy).to_owned(), StoredTensor { shape, data: Data::F32(copied) });
        }
        Ok(())
    }

    /// Takes a tensor out of the file, with the scales of its levels where it has some.
    fn remove(&mut self, stored_name: &str) -> Option<Removed> {
        let StoredTensor { shape, data } = self.tensors.remove(stored_name)?;
        let values = match data {
            Data::F32(values) => Ok(values),
            Data::Other(Dtype::I8, levels) => {
                let scale_name = format!("{stored_name}{SCALE_SUFFIX}");
                let scales =
                    self.remove(&scale_name).ok_or_else(|| weight_error(&scale_name, "the file lacks these scales"));
                scales.and_then(|scales| dequantized(&scale_name, &shape, &levels, scales))
            }
            Data::Other(dtype, bytes) => f32_values(stored_name, dtype, &bytes),
        };
        Some(Removed { shape, values })
    }
}

/// A tensor that is out of its file.
struct Removed {
    shape: Vec<usize>,
    /// An error for a type that no parameter has.
    values: Result<Vec<f32>>,
}

/// Parameters that may be stored twice, and what each equals.
const TIED: [(&str, &str); 3] = [
    ("decoder.weight", "model.embeddings.tok_embeddings.weight"),
    ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ("cls.predictions.decoder.bias", "cls.predictions.bias"),
];

/// A parameter's name without that of the encoder inside a model with a head.
fn without_prefix(name: &str) -> &str {
    name.strip_prefix("model.").or(name.strip_prefix("bert.")).unwrap_or(name)
}

impl ParameterSource for WeightFile {
    fn parameter<const D: usize>(&mut self, name: &str, shape: [usize; D], _: Init) -> Result<Tensor<D>> {
        let values = self.take(name, &shape)?;
        Ok(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    fn rows(&mut self, name: &str, [rows, width]: [usize; 2], _: Init) -> Result<Vec<Tensor<2>>> {
        let mut values = self.take(name, &[rows, width])?;
        let rows_a_part = (self.max_buffer_bytes / size_of::<f32>() / width).max(1);
        let mut parts = Vec::new();
        while values.len() > rows_a_part.saturating_mul(width) {
            let rest = values.split_off(rows_a_part * width);
            parts.push(std::mem::replace(&mut values, rest));
        }
        parts.push(values);
        let part = |values: Vec<f32>| {
            let shape = [values.len() / width, width];
            Tensor::from_data(TensorData::new(values, shape), &self.device)
        };
        Ok(parts.into_iter().map(part).collect())
    }
}

/// The next tensor of a file.
fn read_data(file: &mut impl Read, info: &TensorInfo) -> Result<Data> {
    let num_bytes = info.data_offsets.1 - info.data_offsets.0;
    match info.dtype {
        // Every target is little-endian, as the format is.
        Dtype::F32 => Ok(Data::F32(read_values(file, num_bytes / size_of::<f32>())?)),
        dtype => Ok(Data::Other(dtype, read_values(file, num_bytes)?)),
    }
}

/// The values of a tensor of f32, f16 or bf16, as f32.
pub fn f32_values(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f32>> {
    match dtype {
        Dtype::F32 => Ok(bytemuck::pod_collect_to_vec(data)),
        Dtype::F16 => Ok(data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        Dtype::BF16 => Ok(data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        other => Err(weight_error(name, format!("type {other:?} is not supported; convert it to F32, F16 or BF16"))),
    }
}

/// What follows a tensor's name in that of its scales, as compressed-tensors names them.
const SCALE_SUFFIX: &str = "_scale";
/// Values of a row that share a scale.
const BLOCK: usize = 32;

/// The values of a matrix of 8-bit levels `[rows, width]` with scales `[rows, blocks]`.
fn dequantized(scale_name: &str, shape: &[usize], levels: &[u8], scales: Removed) -> Result<Vec<f32>> {
    let block = match (shape, scales.shape.as_slice()) {
        ([rows, width], [same_rows, blocks]) if rows == same_rows && *blocks > 0 && width % blocks == 0 => {
            width / blocks
        }
        (levels, scales) => {
            return Err(weight_error(scale_name, format!("scales of shape {scales:?} for levels of shape {levels:?}")));
        }
    };
    let mut values = Vec::with_capacity(levels.len());
    for (levels, scale) in levels.chunks_exact(block.max(1)).zip(scales.values?) {
        values.extend(levels.iter().map(|level| f32::from(*level as i8) * scale));
    }
    Ok(values)
}

fn weight_error(tensor: &str, message: impl Into<String>) -> Error {
    Error::Weights { tensor: tensor.into(), message: message.into() }
}

/// A tensor read back from the device.
pub struct HostTensor {
    /// Hugging Face's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// Reads all parameters of a model back, in the order of the computation.
pub async fn read_parameters(model: &mut impl Parameters) -> Result<Vec<HostTensor>> {
    struct Collect(Vec<(String, Vec<usize>, Tensor<1>)>);
    impl ParameterVisitor for Collect {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
            let flat = parameter.clone().without_autodiff().reshape([-1]);
            self.0.push((name.into(), parameter.dims().to_vec(), flat));
            Ok(())
        }
    }
    let mut collected = Collect(Vec::new());
    model.visit(&mut collected)?;
    let mut tensors = Vec::with_capacity(collected.0.len());
    for (name, shape, flat) in collected.0 {
        tensors.push(HostTensor { name, shape, values: read_back(flat).await? });
    }
    Ok(tensors)
}

/// Waits for the device and reads a tensor's values.
pub async fn read_back<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.into_data_async().await.map_err(|error| Error::Device { message: error.to_string() })?;
    data.convert::<f32>().try_into_vec().map_err(|error| Error::Device { message: format!("{error:?}") })
}

/// Hash of names, shapes and values: what a run prints as the identity of its parameters.
pub fn parameters_hash(tensors: &[HostTensor]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for tensor in tensors {
        hasher.update(tensor.name.as_bytes());
        hasher.update(format!("{:?}", tensor.shape).as_bytes());
        hasher.update(bytemuck::cast_slice(&tensor.values));
    }
    hasher.finalize()
}

/// A tensor as a file holds it.
pub struct Encoded<'a> {
    /// Its name.
    pub name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its bytes.
    pub bytes: Cow<'a, [u8]>,
}

/// A safetensors file that transformers reads (`format: pt`). Fails where a value is too large for `stored`.
pub fn write_safetensors(tensors: &[HostTensor], stored: StoredType) -> Result<Vec<u8>> {
    serialize(&tensors.iter().map(|tensor| encode(tensor, stored)).collect::<Result<Vec<_>>>()?)
}

/// The file of tensors.
pub fn serialize(tensors: &[Encoded<'_>]) -> Result<Vec<u8>> {
    let format_error = |error: SafeTensorError| weight_error("model.safetensors", error.to_string());
    let mut views = Vec::with_capacity(tensors.len());
    for Encoded { name, dtype, shape, bytes } in tensors {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(format_error)?));
    }
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]).into_iter().collect();
    safetensors::serialize(views, Some(metadata)).map_err(format_error)
}

/// A tensor stored as `stored`. Fails where a value is too large for it.
pub fn encode(tensor: &HostTensor, stored: StoredType) -> Result<Encoded<'_>> {
    let values = tensor.values.iter();
    let (dtype, bytes) = match stored {
        // Every target is little-endian, as the format is.
        StoredType::F32 => (Dtype::F32, Cow::Borrowed(bytemuck::cast_slice(&tensor.values))),
        StoredType::BF16 => (Dtype::BF16, values.flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
        StoredType::F16 => {
            if let Some(index) =
                values.clone().position(|value| value.is_finite() && !f16::from_f32(*value).is_finite())
            {
                let message = format!("element {index} is {}, too large for f16; store bf16", tensor.values[index]);
                return Err(weight_error(&tensor.name, message));
            }
            (Dtype::F16, values.flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect())
        }
    };
    Ok(Encoded { name: tensor.name.clone(), dtype, shape: tensor.shape.clone(), bytes })
}

/// A matrix as 8-bit levels with a scale in f16 for each [`BLOCK`] of a row: the largest magnitude of a block is level 127.
pub fn encode_blocks(tensor: &HostTensor) -> Vec<Encoded<'_>> {
    let [rows, width] = [tensor.shape[0], tensor.shape[1]];
    let block = if width % BLOCK == 0 { BLOCK } else { width };
    let (mut levels, mut scales) = (Vec::with_capacity(tensor.values.len()), Vec::new());
    for values in tensor.values.chunks_exact(block) {
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = f16::from_f32(largest / 127.0);
        let step = if scale > f16::ZERO { scale.to_f32() } else { f32::INFINITY };
        levels.extend(values.iter().map(|value| (value / step).round() as i8 as u8));
        scales.extend(scale.to_le_bytes());
    }
    let name = format!("{}{SCALE_SUFFIX}", tensor.name);
    vec![
        Encoded { name: tensor.name.clone(), dtype: Dtype::I8, shape: tensor.shape.clone(), bytes: levels.into() },
        Encoded { name, dtype: Dtype::F16, shape: vec![rows, width / block], bytes: scales.into() },
    ]
}

/// Random initial parameters: each drawn from a stream of its own, keyed by the seed and its name, so that the values do not
/// depend on the order in which a model asks.
pub struct RandomParameters {
    seed: u64,
    cutoff: f64,
    device: Device,
}

impl RandomParameters {
    /// `cutoff` in standard deviations (`initializer_cutoff_factor`).
    pub fn new(seed: u64, cutoff: f64, device: &Device) -> Self {
        Self { seed, cutoff, device: device.clone() }
    }

    fn normal(&self, name: &str, count: usize, std: f64) -> Vec<f32> {
        let mut key = blake3::Hasher::new();
        key.update(&self.seed.to_le_bytes());
        key.update(name.as_bytes());
        let mut random = ChaCha8Rng::from_seed(*key.finalize().as_bytes());
        // Uniform in (0, 1]: 53 bits, so that the logarithm is finite.
        let mut uniform = move || ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        // Box and Muller (1958); values beyond the cut are drawn again, as `trunc_normal_` distributes them.
        let mut standard = move || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        let cutoff = self.cutoff;
        let mut cut = move || {
            loop {
                let value = standard();
                if value.abs() <= cutoff {
                    return value;
                }
            }
        };
        (0..count).map(|_| (cut() * std) as f32).collect()
    }
}

impl ParameterSource for RandomParameters {
    fn parameter<const D: usize>(&mut self, name: &str, shape: [usize; D], init: Init) -> Result<Tensor<D>> {
        let count = shape.iter().product();
        let values = match init {
            Init::Normal(std) => self.normal(name, count, std),
            Init::Ones => vec![1.0; count],
            Init::Zeros => vec![0.0; count],
        };
        Ok(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }
}
