//! The record of a run: what it was asked to do (`run.json`) and what happened (`metrics.jsonl`).

use std::fs::File;
use std::path::Path;

use anaume_core::config::ModelConfig;
use anaume_core::report::{FORMAT_VERSION, Record, RunManifest, StartRecord};
use anaume_core::train_step::Trainer;
use anaume_core::weights::{parameters_hash, read_parameters};
use anyhow::Context;

use crate::checkpoint::{self, TrainerState};
use crate::dashboard::Watch;
use crate::data::dataset::Dataset;
use crate::files::{read, write_atomic};
use crate::host;
use crate::logs::{MetricsLog, TensorBoardLog};
use crate::plan::Plan;

/// Name of the log in a run folder.
pub const METRICS: &str = "metrics.jsonl";

/// A run folder in use by the process that writes there: its logs, and where the run is watched.
pub struct Journal {
    metrics: MetricsLog,
    tensorboard: TensorBoardLog,
    /// Where the run is watched.
    pub watch: Watch,
    /// Held while the run is in use, so that a second process refuses the folder.
    _lock: File,
}

impl Journal {
    /// Opens the logs where the state stands, after the run folder was locked.
    pub fn open(
        out: &Path,
        manifest: &RunManifest,
        state: &TrainerState,
        resumed: bool,
        watch: Watch,
        lock: File,
    ) -> anyhow::Result<Self> {
        let goes_on = check_log(out, state, resumed)?;
        checkpoint::set_aside_after(out, state.step)?;
        let metrics = open_logs(out, manifest, state, goes_on)?;
        let tensorboard = TensorBoardLog::create(&out.join("tensorboard"), state.step + 1)?;
        Ok(Self { metrics, tensorboard, watch, _lock: lock })
    }

    /// Writes a record down.
    pub fn log(&mut self, record: &Record) -> anyhow::Result<()> {
        self.metrics.append(record)?;
        self.tensorboard.append(record)
    }

    /// Makes the log durable; its length in bytes.
    pub fn sync(&self) -> anyhow::Result<u64> {
        self.metrics.sync()
    }
}

/// Everything that is needed to repeat a run.
pub fn manifest(
    plan: &Plan,
    config: &ModelConfig,
    dataset: &Dataset,
    tokenizer_hash: &str,
) -> anyhow::Result<RunManifest> {
    Ok(RunManifest {
        format_version: FORMAT_VERSION,
        program_version: env!("CARGO_PKG_VERSION").into(),
        git_commit: option_env!("ANAUME_GIT_COMMIT").map(str::to_owned),
        command_line: std::env::args().skip(1).collect(),
        recipe: serde_json::to_value(&plan.recipe)?,
        seeds: [("train".to_owned(), plan.recipe.train.seed)].into(),
        data_fingerprint: dataset.manifest.fingerprint.clone(),
        tokenizer_blake3: tokenizer_hash.to_owned(),
        model_config: serde_json::to_value(config)?,
        device: plan.device.clone(),
        host_cores: std::thread::available_parallelism().map_or(1, usize::from),
        started_at: host::now_rfc3339(),
    })
}

/// What decides which batches a run sees: a resume with another model, tokenizer, data or data setting is refused. Steps,
/// rates and places may change between sessions; a change is printed.
pub fn identity(manifest: &RunManifest) -> String {
    let mut data = manifest.recipe["data"].clone();
    data.as_object_mut().and_then(|data| data.remove("num_threads"));
    let parts = serde_json::json!([
        data,
        manifest.seeds,
        manifest.model_config,
        manifest.tokenizer_blake3,
        manifest.data_fingerprint
    ]);
    blake3::hash(parts.to_string().as_bytes()).to_hex().to_string()
}

/// What all ranks must have in common.
pub fn facts(
    manifest: &RunManifest,
    trainer: &mut Trainer,
    state: &TrainerState,
    stop_after: Option<u64>,
) -> anyhow::Result<serde_json::Value> {
    let parameters = pollster::block_on(read_parameters(&mut trainer.model))?;
    Ok(serde_json::json!({
        "version": manifest.program_version,
        "recipe": manifest.recipe,
        "model": manifest.model_config,
        "data": manifest.data_fingerprint,
        "tokenizer": manifest.tokenizer_blake3,
        // Of adapters their kind: each rank has its own.
        "device": manifest.device.split([' ', ':']).next(),
        "step": state.step,
        "stop_after": stop_after,
        "parameters": parameters_hash(&parameters).to_hex().as_str(),
    }))
}

/// Says which recipe keys differ from those of the run so far.
fn print_changes(before: &serde_json::Value, now: &serde_json::Value) {
    for (section, keys) in now.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            let old = &before[section][key];
            if old != value {
                eprintln!("changed     {section}.{key}: {old} before, {value} from here on");
            }
        }
    }
}

/// Whether the run folder has a log to go on with, which must then be the checkpoint's: a new run has none, and neither
/// has one that branches off from another's checkpoint, or whose log was moved away.
fn check_log(out: &Path, state: &TrainerState, resumed: bool) -> anyhow::Result<bool> {
    let path = out.join(METRICS);
    let goes_on = resumed && path.exists() && !checkpoint::list(out)?.is_empty();
    if goes_on {
        MetricsLog::check_at(&path, state.metrics_bytes, state.step)?;
    }
    Ok(goes_on)
}

/// Opens `metrics.jsonl`, where the state stands if the run `goes_on` with it, and writes `run.json`.
fn open_logs(out: &Path, manifest: &RunManifest, state: &TrainerState, goes_on: bool) -> anyhow::Result<MetricsLog> {
    let path = out.join(METRICS);
    let manifest_path = out.join("run.json");
    let mut metrics = match goes_on {
        true => {
            let before = read(&manifest_path).unwrap_or_default();
            if let Ok(before) = RunManifest::from_json(&String::from_utf8_lossy(&before)) {
                print_changes(&before.recipe, &manifest.recipe);
            }
            MetricsLog::open_at(&path, state.metrics_bytes, state.step)?
        }
        false => {
            // What a run logged that left no checkpoint here is of no run.
            match std::fs::rename(&path, out.join("metrics-before.jsonl")) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(cause).with_context(|| format!("cannot replace {}", path.display()));
                }
                _ => MetricsLog::create(&path)?,
            }
        }
    };
    write_atomic(&manifest_path, manifest.to_json().as_bytes())?;
    metrics.append(&Record::Start(StartRecord {
        format_version: FORMAT_VERSION,
        step: state.step,
        started_at: manifest.started_at.clone(),
        command_line: manifest.command_line.clone(),
    }))?;
    Ok(metrics)
}
