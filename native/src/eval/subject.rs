//! The model under evaluation.

use std::cell::OnceCell;
use std::fs::File;
use std::path::{Path, PathBuf};

use anaume_core::config::Precision;
use anaume_core::infer::Engine;
use anaume_core::model::Config;
use anaume_core::report::eval::ModelIdentity;
use burn::tensor::Device;

use crate::checkpoint;
use crate::device::Ready;
use crate::files::unreadable;
use crate::model::{load_any_config, load_engine, tokenizer_files, weight_paths};

/// A model folder, loaded when first asked for an answer: a result that exists already needs no weights on a device.
pub struct Subject {
    /// The folder as typed.
    pub dir: PathBuf,
    /// What identifies the model in results.
    pub identity: ModelIdentity,
    /// Its configuration.
    pub config: Config,
    /// Where it computes.
    pub device: Device,
    /// The device in words.
    pub device_name: String,
    /// What the matrix products of [`Self::engine`] take.
    pub precision: Precision,
    engine: OnceCell<Engine>,
}

impl Subject {
    /// Reads the configuration and hashes the files.
    pub fn open(dir: &Path, name: &str, ready: &Ready, precision: Precision) -> anyhow::Result<Self> {
        let config = load_any_config(dir)?;
        let identity = identity(dir, name, &config)?;
        let (device, device_name) = (ready.device.clone(), ready.description.clone());
        Ok(Self { dir: dir.into(), identity, config, device, device_name, precision, engine: OnceCell::new() })
    }

    /// The model with its tokenizer, loaded once.
    pub fn engine(&self) -> anyhow::Result<&Engine> {
        if self.engine.get().is_none() {
            _ = self.engine.set(load_engine(&self.dir, &self.device, self.precision)?);
        }
        Ok(self.engine.get().expect("it was set above"))
    }
}

/// What identifies the model of a folder in results.
pub fn identity(dir: &Path, name: &str, config: &Config) -> anyhow::Result<ModelIdentity> {
    let mut tokenizer = blake3::Hasher::new();
    tokenizer_files(dir)?.iter().for_each(|(_, bytes)| _ = tokenizer.update(bytes));
    let mut weights = blake3::Hasher::new();
    for path in weight_paths(dir)? {
        let hashed = File::open(&path).and_then(|file| weights.update_reader(file).map(drop));
        hashed.map_err(|cause| unreadable(&path, cause))?;
    }
    Ok(ModelIdentity {
        name: name.into(),
        architecture: config.model_type().into(),
        parameters: config.num_parameters(),
        weights_blake3: weights.finalize().to_hex().to_string(),
        tokenizer_blake3: tokenizer.finalize().to_hex().to_string(),
        max_length: config.max_length(),
        step: checkpoint::load_state(dir).ok().map(|state| state.step),
    })
}

/// A short name for each folder: its last component, with as many of those before it as make the names differ; that of a
/// checkpoint, which says little alone, with its run's.
pub fn names(dirs: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> = dirs.iter().map(|dir| components(dir)).collect();
    let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let tail = |parts: &Vec<String>, n: usize| {
        let in_run = parts.last().is_some_and(|name| checkpoint::step_of(name).is_some());
        parts[parts.len().saturating_sub(n.max(if in_run { 2 } else { 1 }))..].join("_")
    };
    let all_differ = |n: &usize| {
        let names: std::collections::BTreeSet<_> = parts.iter().map(|parts| tail(parts, *n)).collect();
        names.len() == dirs.len()
    };
    let n = (1..=longest).find(all_differ).unwrap_or(longest);
    parts.iter().map(|parts| tail(parts, n)).collect()
}

/// The named components of a path; a relative one is completed first, so that `.` has a name too.
fn components(dir: &Path) -> Vec<String> {
    let whole = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let name = |part: std::path::Component<'_>| match part {
        std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    whole.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_tells_the_models_apart() {
        let dirs = ["/a/run1/step-10", "/a/run2/step-10", "/b/model"].map(PathBuf::from);
        assert_eq!(names(&dirs), ["run1_step-10", "run2_step-10", "model"]);
        assert_eq!(names(&dirs[2..]), ["model"]);
        assert_eq!(names(&dirs[..1]), ["run1_step-10"]);
    }
}
