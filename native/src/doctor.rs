//! `anaume doctor`: what this machine has for the program, and whether it computes right.

use std::path::{Path, PathBuf};

use anaume_core::batch::Sequences;
use anaume_core::config::ModelConfig;
use anaume_core::modernbert::MaskedLm;
use anaume_core::weights::{RandomParameters, read_back};
use burn::tensor::Device;
use serde::Serialize;

use crate::device::{Choice, adapters};
use crate::exit::{Coded, Exit};
use crate::files::nearest;
use crate::host;
use crate::hub::cache;
use crate::japanese::{message, word};
use crate::progress::format_bytes;
use crate::verify::{self, relative_difference};

/// Memory below which even small recipes are tight, in bytes.
const LITTLE_MEMORY: u64 = 2 << 30;
/// Disk below which a run's checkpoints may not fit, in bytes.
const LITTLE_DISK: u64 = 5 << 30;

/// Arguments of `anaume doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder to check as well: structure, hashes, finite weights, tokenizer
    model: Option<PathBuf>,
    /// Device to compute on beside the CPU: auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// How it is.
    pub status: Status,
    /// What was found, and what to do about it.
    pub found: String,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Good,
    /// Usable, with a limit.
    Limited,
    /// Not usable.
    Failed,
}

impl Check {
    /// Good with what was found, or failed with the reason.
    pub fn of(what: impl Into<String>, outcome: anyhow::Result<String>) -> Self {
        let (status, found) = match outcome {
            Ok(found) => (Status::Good, found),
            Err(cause) => (Status::Failed, format!("{cause:#}")),
        };
        Self { what: what.into(), status, found }
    }

    fn limited_if(mut self, limited: bool, remedy: &str) -> Self {
        if limited {
            self.status = Status::Limited;
            self.found = format!("{}: {remedy}", self.found);
        }
        self
    }
}

/// `anaume doctor`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut checks = vec![Check::of("program", Ok(host::description())), memory(), disk(Path::new(".")), hub_cache()];
    checks.extend(adapters().iter().map(|adapter| {
        let f16 = if adapter.f16 { "f16" } else { "no f16" };
        let found = format!(
            "{} ({}), {f16}, buffers to {}",
            adapter.hardware,
            adapter.kind,
            format_bytes(adapter.max_buffer_bytes)
        );
        Check::of(format!("adapter {}", adapter.name), Ok(found))
            .limited_if(adapter.kind == "software", "for tests only")
    }));
    if checks.iter().all(|check| !check.what.starts_with("adapter")) {
        checks.push(
            Check::of("adapters", Ok("none".into()))
                .limited_if(true, "the CPU computes; a GPU needs its Vulkan driver"),
        );
    }
    checks.push(Check::of("computing on cpu", golden(&Device::flex())));
    if args.device != Choice::Cpu {
        let ready = args.device.open()?;
        if ready.device != Device::flex() {
            checks.push(Check::of(format!("computing on {}", ready.description), golden(&ready.device)));
        }
    }
    if let Some(model) = &args.model {
        checks.extend(verify::checks(model));
    }
    report(&checks, args.json)
}

/// Prints checks and the verdict.
///
/// # Errors
/// One of them failed ([`Exit::Data`]).
pub fn report(checks: &[Check], json: bool) -> anyhow::Result<()> {
    let failed: Vec<_> =
        checks.iter().filter(|check| check.status == Status::Failed).map(|check| check.what.as_str()).collect();
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "checks": checks, "good": failed.is_empty() }))?
        );
    } else {
        for check in checks {
            let mark = match check.status {
                Status::Good => word("good   "),
                Status::Limited => word("limited"),
                Status::Failed => word("FAILED "),
            };
            println!("{mark}  {}: {}", message(word(&check.what)), message(&check.found));
        }
        if failed.is_empty() {
            println!("{}", word("All is well."));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Coded::error(Exit::Data, format!("failed: {}", failed.join(", ")))),
    }
}

fn memory() -> Check {
    match host::available_memory_bytes() {
        Some(bytes) => Check::of("memory", Ok(format!("{} free", format_bytes(bytes))))
            .limited_if(bytes < LITTLE_MEMORY, "train with --memory and small recipes"),
        None => Check::of("memory", Ok("the system does not say".into())),
    }
}

/// The room on the disk of a folder that can be written, in bytes.
fn room(folder: &Path) -> std::io::Result<u64> {
    tempfile::tempfile_in(folder)?;
    fs4::available_space(folder)
}

/// The disk of a folder: its room, and whether a file can be written there.
fn disk(folder: &Path) -> Check {
    match room(folder) {
        Ok(bytes) => Check::of("disk", Ok(format!("{} free in this folder", format_bytes(bytes))))
            .limited_if(bytes < LITTLE_DISK, "checkpoints of larger models will not fit"),
        Err(cause) => Check::of("disk", Err(anyhow::Error::new(cause).context("this folder cannot be written"))),
    }
}

/// Where models of the Hub are kept, what is there, and whether more can be.
fn hub_cache() -> Check {
    let root = match cache::root() {
        Ok(root) => root,
        Err(cause) => return Check::of("Hub cache", Ok("none".into())).limited_if(true, &format!("{cause:#}")),
    };
    let (repos, bytes) = cache::holdings(&root);
    let held = match root.exists() {
        true => format!("{} has {repos} repositories of {}", root.display(), format_bytes(bytes)),
        false => format!("{} is made by the first download", root.display()),
    };
    match room(nearest(&root)) {
        Ok(free) => Check::of("Hub cache", Ok(format!("{held}, {} free", format_bytes(free)))),
        Err(cause) => Check::of("Hub cache", Ok(held))
            .limited_if(true, &format!("nothing can be written there ({cause}); set HF_HOME to another folder")),
    }
}

/// Tokens of the golden text, of which the last is beyond the window of the first.
const GOLDEN_TOKENS: usize = 200;
/// Rows of the golden model's vocabulary.
const GOLDEN_VOCAB: usize = 700;
/// Logits of the first four pieces at three places of the golden text, computed by transformers 5.24 on PyTorch 2.15 in f32 from
/// `anaume model init --preset tiny --seed 0` with the tokenizer of `tests/golden/tokenizer/small`; token i is (7i² + 3i + 11) mod 700.
const GOLDEN_LOGITS: [(usize, [f32; 4]); 3] = [
    (0, [0.084_882_1, 0.144_857_4, 0.348_750_8, -0.015_284_1]),
    (99, [0.082_885_9, -0.101_187_2, -0.038_430_6, -0.113_411_9]),
    (199, [0.031_778_7, -0.243_316_1, 0.024_061_5, -0.015_300_6]),
];
/// Largest difference as a share of the largest golden logit: what f32 sums in another order give.
const TOLERANCE: f64 = 1e-4;

/// Computes the golden logits on a device.
fn golden(device: &Device) -> anyhow::Result<String> {
    let difference = relative_difference(&golden_logits(device)?, &GOLDEN_LOGITS.map(|(_, logits)| logits).concat());
    // Written so that NaN fails.
    if difference <= TOLERANCE {
        return Ok(format!(
            "a forward pass differs from transformers by {difference:.1e} of the largest logit at most"
        ));
    }
    let message = format!(
        "a forward pass differs from transformers by {difference:.1e}: update the driver, or take --device cpu"
    );
    Err(Coded::error(Exit::Failure, message))
}

fn golden_logits(device: &Device) -> anyhow::Result<Vec<f32>> {
    let config = ModelConfig::preset("tiny", GOLDEN_VOCAB)?;
    let model =
        MaskedLm::new(&mut RandomParameters::new(0, config.initializer_cutoff_factor, device), &config, device)?;
    let ids: Vec<u32> = (0..GOLDEN_TOKENS).map(|i| ((7 * i * i + 3 * i + 11) % GOLDEN_VOCAB) as u32).collect();
    let mut sequences = Sequences::default();
    sequences.push(&ids);
    let hidden_td = model.encoder.forward(&model.encoder.inputs(&sequences)?);
    let logits_mv = model.logits_at(hidden_td, &GOLDEN_LOGITS.map(|(place, _)| place));
    Ok(pollster::block_on(read_back(logits_mv.narrow(1, 0, 4)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_one_logit_wrong_fails() {
        let right = golden_logits(&Device::flex()).unwrap();
        let expected = GOLDEN_LOGITS.map(|(_, logits)| logits).concat();
        assert!(right.len() == 12 && relative_difference(&right, &expected) <= TOLERANCE, "{right:?}");
        for place in 0..right.len() {
            for wrong in [right[place] + 1e-3, f32::NAN] {
                let mut logits = right.clone();
                logits[place] = wrong;
                let holds = relative_difference(&logits, &expected) <= TOLERANCE;
                assert!(!holds, "{place}: {wrong}");
            }
        }
    }
}
