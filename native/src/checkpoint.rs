//! Checkpoints: folders that transformers loads directly, with the trainer's state beside the model and a manifest of hashes.
//!
//! A checkpoint appears whole or not at all (see [`crate::files`]), and "the latest" is not a pointer but the newest folder
//! whose manifest verifies.

use std::fs::File;
use std::path::{Path, PathBuf};

use anaume_core::config::ModelConfig;
use anaume_core::train_step::{LossScale, Trainer};
use anaume_core::weights::{
    HostTensor, StoredType, f32_values, parameters_hash, read_parameters, read_safetensors, write_safetensors,
};
use anyhow::Context;
use fs4::FileExt;
use serde::{Deserialize, Serialize};

use crate::data::loader::Cursor;
use crate::exit::{Coded, Exit};
use crate::files::{REPLACED, STAGED, WRITING, read, read_versioned, sync_dir, write_dir_atomic};
use crate::manifest::Manifest;
pub use crate::manifest::{MANIFEST, verify};
use crate::ranks::Ranks;
use crate::reduce::gather_moments;

/// Version of `trainer.json`.
const FORMAT_VERSION: u32 = 1;
const STATE: &str = "trainer.json";
const MOMENTS: &str = "optimizer.safetensors";
/// Begins the names of checkpoints.
const FOLDER_PREFIX: &str = "step-";
/// Begins the names of checkpoints that are being removed: a half-removed folder must not look like a checkpoint.
const REMOVING: &str = ".removing-";

/// Takes the run folder for this process, as long as the file is open.
pub fn lock(out: &Path) -> anyhow::Result<File> {
    let path = out.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(fs4::TryLockError::WouldBlock) => {
            Err(Coded::error(Exit::Usage, format!("another process is training in {}", out.display())))
        }
        Err(fs4::TryLockError::Error(cause)) => Err(cause).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Everything of a run in progress that is neither a parameter nor a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Version of this file.
    pub format_version: u32,
    /// Optimizer steps done, skipped ones included.
    pub step: u64,
    /// Steps that the optimizer took.
    pub optimizer_steps: u64,
    /// The next row of the data.
    pub cursor: Cursor,
    /// Scale of the loss in mixed precision.
    pub loss_scale: Option<LossScale>,
    /// Tokens seen, padding included.
    pub tokens: u64,
    /// Tokens seen without padding.
    pub non_padding_tokens: u64,
    /// The last step whose parameters were validated.
    #[serde(default)]
    pub validated_step: Option<u64>,
    /// Length of `metrics.jsonl` in bytes at this step.
    pub metrics_bytes: u64,
    /// Hash of what decides the batches: a resume with another model, tokenizer, data, seed or `[data]` section is refused.
    pub identity: String,
    /// Hash of the parameters.
    pub parameters_blake3: String,
}

impl TrainerState {
    /// The state before the first step.
    pub fn start(identity: String) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            step: 0,
            optimizer_steps: 0,
            cursor: Cursor::default(),
            loss_scale: None,
            tokens: 0,
            non_padding_tokens: 0,
            validated_step: None,
            metrics_bytes: 0,
            identity,
            parameters_blake3: String::new(),
        }
    }
}

/// Folder of a step.
pub fn folder(run: &Path, step: u64) -> PathBuf {
    run.join(format!("{FOLDER_PREFIX}{step:08}"))
}

/// Writes the checkpoint of `state.step` with the files of its tokenizer, on rank 0; completes the state's hash. Fails where ranks
/// have other parameters than rank 0.
pub fn save(
    run: &Path,
    trainer: &mut Trainer,
    config: &ModelConfig,
    tokenizer_files: &[(&'static str, Vec<u8>)],
    state: &mut TrainerState,
    ranks: &Ranks,
) -> anyhow::Result<PathBuf> {
    let parameters = pollster::block_on(read_parameters(&mut trainer.model))?;
    state.parameters_blake3 = parameters_hash(&parameters).to_hex().to_string();
    state.optimizer_steps = trainer.optimizer.num_steps;
    state.loss_scale = trainer.loss_scale;
    ranks.require_same(&serde_json::json!({ "parameters": state.parameters_blake3 }))?;
    let path = folder(run, state.step);
    if !ranks.is_root() {
        drop(parameters);
        gather_moments(trainer, ranks)?;
        return Ok(path);
    }
    let weights = write_safetensors(&parameters, StoredType::F32)?;
    // The moments are twice as large: not both at once.
    drop(parameters);
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        ("config.json", config.to_json(StoredType::F32)),
        ("model.safetensors", weights),
        (MOMENTS, write_safetensors(&gather_moments(trainer, ranks)?, StoredType::F32)?),
        (STATE, serde_json::to_vec_pretty(state)?),
    ];
    files.extend_from_slice(tokenizer_files);
    files.push((MANIFEST, Manifest::of(state.step, &files).to_json()?));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    // The same state may be there already: then the good folder is not touched.
    if verify(&path).is_err() || load_state(&path)? != *state {
        write_dir_atomic(&path, &files, true)?;
    }
    Ok(path)
}

/// The step in the name of a checkpoint's folder.
pub fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER_PREFIX)?.parse().ok()
}

/// The checkpoints of a run folder, oldest first, verified or not.
pub fn list(run: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(run) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause).with_context(|| format!("cannot list {}", run.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", run.display()))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(step_of);
        found.extend(step.map(|step| (step, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Clears away what a killed process left half done, for whoever holds the run folder's lock: a checkpoint that was whole
/// but not yet in its place goes there, the rest is removed.
pub fn clear_leftovers(run: &Path) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(run).with_context(|| format!("cannot list {}", run.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", run.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(REMOVING) {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        } else if name.starts_with(WRITING) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        } else if let Some(name) = name.strip_prefix('.').filter(|name| name.starts_with(FOLDER_PREFIX)) {
            let target = run.join(name.split('.').next().unwrap_or(name));
            let whole = [STAGED, REPLACED].map(|part| path.join(part)).into_iter().find(|part| verify(part).is_ok());
            if let Some(whole) = whole.filter(|_| !target.exists()) {
                std::fs::rename(&whole, &target).with_context(|| format!("cannot restore {}", target.display()))?;
            }
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    sync_dir(run)
}

/// The newest checkpoint that verifies; damaged ones are named on stderr and passed over.
pub fn latest(run: &Path) -> anyhow::Result<Option<PathBuf>> {
    for (_, path) in list(run)?.into_iter().rev() {
        match verify(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(cause) => eprintln!("warning: {} is passed over: {cause:#}", path.display()),
        }
    }
    Ok(None)
}

/// Renames checkpoints beyond `step`: the run goes on from there, and they are no longer of its history.
pub fn set_aside_after(run: &Path, step: u64) -> anyhow::Result<()> {
    for (_, path) in list(run)?.into_iter().filter(|(number, _)| *number > step) {
        let aside = path.with_file_name(format!(".rewound-{}", path.file_name().unwrap_or_default().display()));
        if aside.exists() {
            std::fs::remove_dir_all(&aside).with_context(|| format!("cannot remove {}", aside.display()))?;
        }
        std::fs::rename(&path, &aside).with_context(|| format!("cannot set {} aside", path.display()))?;
        eprintln!("set aside   {} as {}", path.display(), aside.display());
    }
    Ok(())
}

/// Removes all but the newest `keep` checkpoints (0 keeps all). `newest` has just been written, so what goes is not the
/// last good one.
pub fn prune(run: &Path, keep: usize, newest: &Path) -> anyhow::Result<()> {
    let all = list(run)?;
    if keep == 0 || all.len() <= keep {
        return Ok(());
    }
    for (_, path) in all[..all.len() - keep].iter().filter(|(_, path)| path != newest) {
        remove(path)?;
    }
    sync_dir(run)
}

/// Removes a checkpoint: first from among the checkpoints, then its files.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    let doomed = path.with_file_name(format!("{REMOVING}{}", path.file_name().unwrap_or_default().display()));
    std::fs::rename(path, &doomed)
        .and_then(|()| std::fs::remove_dir_all(&doomed))
        .with_context(|| format!("cannot remove the checkpoint {}", path.display()))
}

/// Reads `trainer.json` of a checkpoint.
pub fn load_state(dir: &Path) -> anyhow::Result<TrainerState> {
    read_versioned(&dir.join(STATE), FORMAT_VERSION)
}

/// Restores optimizer and loss scale of a checkpoint into a trainer that has its parameters.
pub fn restore(dir: &Path, trainer: &mut Trainer, state: &TrainerState) -> anyhow::Result<()> {
    let path = dir.join(MOMENTS);
    let bytes = read(&path)?;
    let tensors = moments(&bytes).with_context(|| path.display().to_string())?;
    trainer
        .optimizer
        .restore(&mut trainer.model, state.optimizer_steps, tensors)
        .with_context(|| path.display().to_string())?;
    if trainer.loss_scale.is_some() {
        trainer.loss_scale = state.loss_scale.or(trainer.loss_scale);
    }
    Ok(())
}

fn moments(bytes: &[u8]) -> anyhow::Result<Vec<HostTensor>> {
    let file = read_safetensors(bytes)?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = f32_values(&name, view.dtype(), view.data())?;
            Ok(HostTensor { shape: view.shape().to_vec(), values, name })
        })
        .collect()
}
