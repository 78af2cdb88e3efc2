//! Shared helpers of the tests: goldens, comparators, devices, small models.

pub mod fake;
pub mod hub;

use std::path::PathBuf;
use std::sync::OnceLock;

use anaume_core::batch::{Batch, Sequences};
use anaume_core::config::ModelConfig;
use anaume_core::error::Result;
use anaume_core::modernbert::MaskedLm;
use anaume_core::weights::{WeightFile, read_back};
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

/// The folder of the golden files.
pub fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The bytes of a golden file, named relative to [`golden_dir`].
pub fn golden(name: &str) -> Vec<u8> {
    let path = golden_dir().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

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

/// Largest absolute difference, relative to the largest expected magnitude. NaN if there is nothing to compare: a NaN on
/// either side, different lengths, or no element.
pub fn relative_difference(actual: &[f32], expected: &[f32]) -> f64 {
    let comparable = actual.len() == expected.len() && !actual.is_empty();
    if !comparable || actual.iter().chain(expected).any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let difference = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (f64::from(*a) - f64::from(*b)).abs() };
    let difference = actual.iter().zip(expected).map(difference).fold(0.0, f64::max);
    let scale = expected.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// The largest of several differences; NaN if one is, or if there is none.
pub fn largest(differences: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
    differences.into_iter().reduce(larger).unwrap_or(f64::NAN)
}

/// Fails unless `difference` is a number and at most `tolerance`.
pub fn assert_within(what: &str, difference: f64, tolerance: f64) {
    // `assert!` negates: `!(difference <= tolerance)` fails for a NaN.
    assert!(difference <= tolerance, "{what}: difference {difference:e}, tolerance {tolerance:e}");
}

/// Fails unless [`relative_difference`] is a number and at most `tolerance`.
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f64) {
    let what = format!("{what} ({} and {} values)", actual.len(), expected.len());
    assert_within(&what, relative_difference(actual, expected), tolerance);
}

/// Says that a test, or a part of one, did not run.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// The folder of the real data, where `ANAUME_DATA` names one.
pub fn data_dir() -> Option<PathBuf> {
    std::env::var_os("ANAUME_DATA").map(PathBuf::from)
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

/// Uniform numbers between -2 and 2 (SplitMix64, Steele et al. 2014).
pub fn random(seed: u64, count: usize) -> Vec<f32> {
    let value = |index: u64| {
        let mut z = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (1..=count as u64).map(value).collect()
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
