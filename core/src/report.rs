//! The record of a run: the contract between the program that trains, the files it leaves and whoever reads them.
//!
//! `run.json` holds one [`RunManifest`]; `metrics.jsonl` holds one [`Record`] per line. Field names are stable: a field
//! may be added, and readers skip fields they do not know, but a changed meaning needs a new [`FORMAT_VERSION`]. JSON has
//! no NaN and no infinity: a number that is not finite is written as `null` and read as NaN.

pub mod eval;
pub mod schema;
pub mod share;
pub mod site;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Version of the manifest and of the records that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that is needed to repeat a run, known before its first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunManifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Version of the program.
    pub program_version: String,
    /// Commit the program was built from, where that is known.
    pub git_commit: Option<String>,
    /// The program's arguments as typed, without the program's own name.
    pub command_line: Vec<String>,
    /// The recipe with every default and override filled in.
    pub recipe: Value,
    /// Seeds by the name of what they seed.
    pub seeds: BTreeMap<String, u64>,
    /// Hash over the names, sizes and contents of the data shards.
    pub data_fingerprint: String,
    /// BLAKE3 of `tokenizer.json`, in hex.
    pub tokenizer_blake3: String,
    /// The model's `config.json`.
    pub model_config: Value,
    /// The device in words: backend, adapter, driver.
    pub device: String,
    /// Number of CPU cores the process may use.
    pub host_cores: usize,
    /// Start of the run, RFC 3339 in UTC.
    pub started_at: String,
}

impl RunManifest {
    /// Reads `run.json`.
    ///
    /// # Errors
    /// [`Error::Input`] for a manifest of a newer format, [`Error::Format`] for text that is not a manifest.
    pub fn from_json(text: &str) -> Result<Self> {
        let found: Version = parse("run manifest", text)?;
        require_known_version("run manifest", found.format_version)?;
        parse("run manifest", text)
    }

    /// The text of `run.json`, indented, with a final newline.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("a manifest has string keys only, so it is always JSON");
        json + "\n"
    }
}

/// One line of `metrics.jsonl`; the field `event` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// A process began to train.
    Start(StartRecord),
    /// An optimizer step.
    Step(StepRecord),
    /// A pass over the validation set.
    Validation(ValidationRecord),
    /// Training went back to a checkpoint.
    Rewind(RewindRecord),
}

impl Record {
    /// Reads one line of `metrics.jsonl`, with or without its newline.
    ///
    /// # Errors
    /// [`Error::Format`] with the byte within the line; [`Error::Input`] for a start record of a newer format.
    pub fn from_line(line: &str) -> Result<Self> {
        let record = parse("metrics record", line)?;
        if let Self::Start(start) = &record {
            require_known_version("metrics record", start.format_version)?;
        }
        Ok(record)
    }

    /// The record as one line of JSON with its newline. Numbers that are not finite become `null`.
    pub fn to_line(&self) -> String {
        let json = serde_json::to_string(self).expect("a record has string keys only, so it is always JSON");
        json + "\n"
    }
}

/// A process began to train; a resumed run has several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartRecord {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Optimizer steps already done.
    pub step: u64,
    /// Time of the start, RFC 3339 in UTC.
    pub started_at: String,
    /// Arguments as typed, without the program's name.
    #[serde(default)]
    pub command_line: Vec<String>,
}

/// One optimizer step, over all of its accumulated batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// Number of the step, from 1.
    pub step: u64,
    /// Epoch that the step's first row belongs to, from 0.
    pub epoch: u64,
    /// Mean masked-LM loss in nats over the step's masked tokens.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub loss: f64,
    /// Share of masked tokens whose best guess is right, 0 to 1.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub accuracy: f64,
    /// Learning rate of the step.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub learning_rate: f64,
    /// Global L2 norm of the gradient before clipping.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub grad_norm: f64,
    /// Tokens of the step, padding included.
    pub tokens: u64,
    /// Tokens of the step without padding.
    pub non_padding_tokens: u64,
    /// `tokens` per second of `step_secs`.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub tokens_per_second: f64,
    /// `non_padding_tokens` per second of `step_secs`.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub non_padding_tokens_per_second: f64,
    /// Seconds of `step_secs` spent waiting for data.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub data_wait_secs: f64,
    /// Seconds from the end of the step before to the end of this one.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub step_secs: f64,
    /// Model FLOPs per second over the device's measured matmul peak, 0 to 1.
    #[serde(default)]
    pub mfu: Option<f64>,
    /// Largest memory in use so far, in bytes.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// Factor on the loss in mixed precision.
    #[serde(default)]
    pub loss_scale: Option<f64>,
    /// Seconds that the step waited for the sums of gradients after its last backward pass, where ranks share a batch out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduction_wait_secs: Option<f64>,
    /// Whether the weights were left as they were because the step was not finite.
    #[serde(default)]
    pub skipped: bool,
}

/// One pass over the fixed, masked validation set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationRecord {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean masked-LM loss in nats over the set's masked tokens.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub loss: f64,
    /// Share of masked tokens whose best guess is right, 0 to 1.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub accuracy: f64,
    /// Number of masked tokens.
    pub masked_tokens: u64,
    /// Seconds the pass took.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<f64>")]
    pub secs: f64,
}

/// Training went back to a checkpoint: whatever was recorded after `to_step` did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RewindRecord {
    /// The checkpoint's step.
    pub to_step: u64,
    /// Bytes of records after the checkpoint that were removed from the log.
    pub discarded_bytes: u64,
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

fn require_known_version(what: &str, found: u32) -> Result<()> {
    if found <= FORMAT_VERSION {
        return Ok(());
    }
    let message =
        format!("{what} has format version {found}, this program reads up to {FORMAT_VERSION}: update the program");
    Err(Error::Input { message })
}

fn parse<T: for<'de> Deserialize<'de>>(format: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|cause| Error::Format {
        format,
        byte: byte_of(text, cause.line(), cause.column()),
        message: cause.to_string(),
    })
}

/// Byte offset of a 1-based line and column; serde_json counts columns in bytes.
fn byte_of(text: &str, line: usize, column: usize) -> u64 {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)) as u64
}

/// A float that is `null` in JSON where it is not finite.
mod nullable {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match value.is_finite() {
            true => serializer.serialize_f64(*value),
            false => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
