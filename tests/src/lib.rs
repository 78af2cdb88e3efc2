//! Shared helpers of the tests: goldens, comparators, devices, small models.

pub mod fake;
pub mod hub;
mod plain;

pub use plain::*;

use std::sync::OnceLock;

use anaume_core::batch::{Batch, Sequences};
use anaume_core::config::ModelConfig;
use anaume_core::error::Result;
use anaume_core::modernbert::MaskedLm;
use anaume_core::weights::{WeightFile, read_back};
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

/// A golden safetensors file.
pub struct Golden {
    name: String,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads a file, named relative to [`golden_dir`].
    pub fn read(name: &str) -> Self {
        Self { name: name.into(), bytes: golden(name) }
    }

    fn tensor<const N: usize>(&self, name: &str, dtype: Dtype) -> Vec<[u8; N]> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let view = file.tensor(name).unwrap_or_else(|error| panic!("{}: {name}: {error}", self.name));
        assert_eq!(view.dtype(), dtype, "{}: {name}", self.name);
        view.data().chunks_exact(N).map(|bytes| bytes.try_into().expect("chunks have N bytes")).collect()
    }

    /// The values of an f32 tensor, row by row.
    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.tensor(name, Dtype::F32).into_iter().map(f32::from_le_bytes).collect()
    }

    /// The values of an f64 tensor.
    pub fn f64(&self, name: &str) -> Vec<f64> {
        self.tensor(name, Dtype::F64).into_iter().map(f64::from_le_bytes).collect()
    }

    /// The values of an i64 tensor that are indices or lengths.
    pub fn indices(&self, name: &str) -> Vec<usize> {
        let index = |bytes| usize::try_from(i64::from_le_bytes(bytes)).expect("indices are not negative");
        self.tensor(name, Dtype::I64).into_iter().map(index).collect()
    }

    /// The values of an i64 tensor that are token ids.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.indices(name).into_iter().map(|id| id as u32).collect()
    }

    /// What follows `prefix` in the names that begin with it, sorted.
    pub fn names_after(&self, prefix: &str) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let mut names: Vec<_> =
            file.names().into_iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// The masked-LM batch that is stored as `ids`, `lengths`, `masked` and `labels`, each with this suffix.
    pub fn batch(&self, suffix: &str) -> Batch {
        let sequences = Sequences {
            ids: self.ids(&format!("ids{suffix}")),
            lengths: self.indices(&format!("lengths{suffix}")),
            ..Sequences::default()
        };
        batch(sequences, self.indices(&format!("masked{suffix}")), self.ids(&format!("labels{suffix}")))
    }
}

/// A batch of sequences where the tokens `masked` are to be predicted as `labels`.
pub fn batch(sequences: Sequences, masked: Vec<usize>, labels: Vec<u32>) -> Batch {
    Batch { num_tokens: sequences.ids.len(), sequences, masked, labels, ..Batch::default() }
}

/// Every device to test on: flex, and the first wgpu adapter, which may be a software one.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("flex", Device::flex())];
    match wgpu() {
        Some(device) => devices.push(("wgpu", device)),
        None => skip("no wgpu adapter"),
    }
    devices
}

/// wgpu can be initialised once a process.
fn wgpu() -> Option<Device> {
    static WGPU: OnceLock<Option<Device>> = OnceLock::new();
    let first = || {
        let kinds = [DeviceKind::DefaultDevice, DeviceKind::Cpu];
        kinds.into_iter().find_map(|kind| Device::wgpu_options().device_kind(kind).init().ok())
    };
    WGPU.get_or_init(first).clone()
}

/// Waits for the device and reads a tensor's values.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    pollster::block_on(read_back(tensor)).expect("the device answers")
}

/// A matrix on a device.
pub fn matrix(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// `config.json` of a golden model.
pub fn golden_config(folder: &str) -> ModelConfig {
    ModelConfig::from_json(&golden(&format!("model/{folder}/config.json"))).expect("goldens are valid")
}

/// The tensors in the bytes of a file that is whole.
pub fn weight_file(bytes: &[u8], device: &Device) -> WeightFile {
    WeightFile::new(bytes, device).expect("the file is whole")
}

/// Builds a masked language model from bytes, strict both ways.
pub fn masked_lm(weights: &[u8], config: &ModelConfig, device: &Device) -> Result<MaskedLm> {
    let mut source = WeightFile::new(weights, device)?;
    let model = MaskedLm::new(&mut source, config, device)?;
    source.finish()?;
    Ok(model)
}

/// A golden masked language model.
pub fn golden_model(folder: &str, device: &Device) -> MaskedLm {
    let weights = golden(&format!("model/{folder}/model.safetensors"));
    masked_lm(&weights, &golden_config(folder), device).expect("goldens are valid")
}
