//! `anaume verify`: whether a model folder is whole, and its outputs against those that another program computed.

use std::path::{Path, PathBuf};

use anaume_core::batch::Sequences;
use anaume_core::heads::{FineTuned, HeadKind};
use anaume_core::infer::check_rows;
use anaume_core::layers::Inputs;
use anaume_core::model::{Config, MaskedLm};
use anaume_core::weights::{f32_values, read_back, read_safetensors};
use anyhow::{Context, anyhow, bail, ensure};
use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use crate::checkpoint::{self, MANIFEST};
use crate::device::Choice;
use crate::doctor::{self, Check};
use crate::exit::{Coded, Exit, WithExit};
use crate::files::read;
use crate::hub::{self, Part};
use crate::model::{load_any_config, read_weights};
use crate::progress::format_count;

/// Arguments of `anaume verify`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder
    model: PathBuf,
    /// Compare outputs of a masked LM or sequence classifier: safetensors with `input_ids`, `attention_mask`, and `logits`,
    /// `logits_first_16` or `last_hidden`
    #[arg(long)]
    against: Option<PathBuf>,
    /// Largest allowed difference, as a share of the largest reference value
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `anaume verify`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.against {
        Some(against) => compare(args, against),
        None => doctor::report(&checks(&args.model), args.json),
    }
}

/// What can be said of a model folder without another program: each part on its own, so that every fault is named.
pub fn checks(dir: &Path) -> Vec<Check> {
    let config = load_any_config(dir);
    let rows = config.as_ref().ok().map(Config::vocab_size);
    let mut checks = vec![
        Check::of(
            "weights",
            config.as_ref().map_err(|_| anyhow!("config.json is needed")).and_then(|config| check_weights(dir, config)),
        ),
        Check::of("tokenizer", check_tokenizer(dir, rows)),
    ];
    checks.insert(0, Check::of("config.json", config.map(|config| describe(&config))));
    if dir.join(MANIFEST).exists() {
        let hashes =
            checkpoint::verify(dir).map(|step| format!("every file has its hash, step {}", format_count(step)));
        checks.push(Check::of(MANIFEST, hashes));
    }
    checks
}

fn describe(config: &Config) -> String {
    format!("{}, {} rows of vocabulary", config.architectures().join(", "), format_count(config.vocab_size() as u64))
}

/// Every tensor that the model needs, and no other, with its shape and finite values.
fn check_weights(dir: &Path, config: &Config) -> anyhow::Result<String> {
    let weights = read_weights(dir, &Device::flex())?;
    let found = match config.head_kind() {
        Some(_) => "encoder with a task's head",
        None => "encoder and masked-LM head",
    };
    match config.head_kind() {
        Some(_) => drop(FineTuned::load(weights, config)?),
        None => drop(MaskedLm::load(weights, config)?),
    }
    Ok(format!("{found}, {} parameters, all finite", format_count(config.num_parameters() as u64)))
}

fn check_tokenizer(dir: &Path, rows: Option<usize>) -> anyhow::Result<String> {
    let tokenizer = crate::tokenizer::load(dir)?;
    rows.map_or(Ok(()), |rows| check_rows(rows, &tokenizer))?;
    Ok(format!("{} ids, {}", format_count(tokenizer.num_ids() as u64), tokenizer.algorithm()))
}

fn compare(args: &Args, against: &Path) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let reference_bytes = read(against)?;
    let path = against.display().to_string();
    let reference = Reference::new(&reference_bytes).exit(Exit::Data, path.clone())?;
    let model = hub::model(&args.model, Part::Whole)?;
    let (output, kind) =
        compute(&model, &reference, &device.device).exit(Exit::Data, args.model.display().to_string())?;
    let expected = reference.expected(kind).exit(Exit::Data, path.clone())?;
    if output.len() != expected.len() || expected.is_empty() {
        let message = format!("{path}: {} values computed, {} in the reference", output.len(), expected.len());
        bail!(Coded::error(Exit::Data, message));
    }
    let difference = relative_difference(&output, &expected);
    // Written so that NaN fails.
    let holds = difference <= args.tolerance;
    if args.json {
        let document = json!({
            "compared": kind.key, "values": expected.len(), "device": device.description,
            "largest_relative_difference": difference, "tolerance": args.tolerance, "holds": holds,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        println!(
            "{}: {} values on {}, largest relative difference {difference:.3e} (tolerance {:.0e}): {}",
            kind.key,
            expected.len(),
            device.description,
            args.tolerance,
            if holds { "holds" } else { "FAILS" }
        );
    }
    if !holds {
        bail!(Coded::error(Exit::Data, format!("{}: differs from {path}", args.model.display())));
    }
    Ok(())
}

/// The largest difference as a share of the largest reference value; NaN if either holds one.
pub fn relative_difference(output: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
    let mut difference = 0.0_f64;
    for (output, expected) in output.iter().zip(expected) {
        let gap = f64::from((output - expected).abs());
        if gap.is_nan() {
            return f64::NAN;
        }
        difference = difference.max(gap);
    }
    difference / largest.max(f64::MIN_POSITIVE)
}

/// What a reference holds: its key, and how many first positions of each row.
#[derive(Clone, Copy)]
struct Compared {
    key: &'static str,
    first_positions: usize,
    per_sequence: bool,
}

struct Reference<'a> {
    tensors: SafeTensors<'a>,
    shape: [usize; 2],
    ids: Vec<u32>,
    keep: Vec<bool>,
}

impl<'a> Reference<'a> {
    fn new(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let tensors = read_safetensors(bytes)?;
        let shape: [usize; 2] =
            tensors.tensor("input_ids")?.shape().try_into().context("input_ids must be [batch, length]")?;
        ensure!(shape[0] > 0 && shape[1] > 0, "input_ids is empty");
        let ids = integers(&tensors, "input_ids")?;
        let keep = integers(&tensors, "attention_mask")?;
        ensure!(ids.len() == keep.len(), "input_ids and attention_mask differ in shape");
        let ids =
            ids.iter().map(|id| u32::try_from(*id)).collect::<Result<_, _>>().context("input_ids: a negative id")?;
        Ok(Self { tensors, shape, ids, keep: keep.iter().map(|keep| *keep != 0).collect() })
    }

    fn has(&self, key: &str) -> bool {
        self.tensors.tensor(key).is_ok()
    }

    /// The real tokens of each row; they must stand together, or their positions would have gaps.
    fn sequences(&self) -> anyhow::Result<Sequences> {
        let mut sequences = Sequences::default();
        let rows = self.ids.chunks_exact(self.shape[1]).zip(self.keep.chunks_exact(self.shape[1]));
        for (number, (ids, keep)) in rows.enumerate() {
            let first = keep.iter().position(|keep| *keep).with_context(|| format!("row {number} is all padding"))?;
            let length = keep[first..].iter().take_while(|keep| **keep).count();
            ensure!(!keep[first + length..].contains(&true), "row {number}: attention_mask has a hole");
            sequences.push(&ids[first..first + length]);
        }
        Ok(sequences)
    }

    /// The reference's values at the compared positions that are not padding.
    fn expected(&self, kind: Compared) -> anyhow::Result<Vec<f32>> {
        let view = self.tensors.tensor(kind.key)?;
        let values = f32_values(kind.key, view.dtype(), view.data())?;
        if kind.per_sequence {
            return Ok(values);
        }
        let width = *view.shape().last().context("a scalar")?;
        ensure!(width > 0, "{}: unexpected shape {:?}", kind.key, view.shape());
        let per_row = values.len() / width / self.shape[0];
        ensure!(
            per_row == kind.first_positions.min(self.shape[1]),
            "{}: unexpected shape {:?}",
            kind.key,
            view.shape()
        );
        let real = |row: usize, position: usize| self.keep[row * self.shape[1] + position];
        let rows = values.chunks_exact(width).enumerate();
        Ok(rows.filter(|(index, _)| real(index / per_row, index % per_row)).flat_map(|(_, row)| row.to_vec()).collect())
    }

    /// Indices among the packed real tokens of those at the first positions of their rows.
    fn chosen(&self, first_positions: usize) -> Vec<usize> {
        let positions = (0..self.keep.len()).filter(|index| self.keep[*index]).map(|index| index % self.shape[1]);
        positions.enumerate().filter(|(_, position)| *position < first_positions).map(|(token, _)| token).collect()
    }
}

fn integers(tensors: &SafeTensors<'_>, key: &str) -> anyhow::Result<Vec<i64>> {
    let view = tensors.tensor(key).with_context(|| format!("`{key}` is missing"))?;
    match view.dtype() {
        Dtype::I64 => {
            Ok(view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes"))).collect())
        }
        Dtype::I32 => {
            Ok(view.data().chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().expect("4 bytes")).into()).collect())
        }
        other => bail!("`{key}` has type {other:?}; expected I64 or I32"),
    }
}

fn compute(dir: &Path, reference: &Reference<'_>, device: &Device) -> anyhow::Result<(Vec<f32>, Compared)> {
    let config = load_any_config(dir)?;
    let weights = read_weights(dir, device)?;
    let sequences = reference.sequences()?;
    if config.head_kind().is_some_and(|kind| kind != HeadKind::Span) {
        let model = FineTuned::load(weights, &config).with_context(|| dir.display().to_string())?;
        let logits = model.sequence_logits(&model.encoder.inputs(&sequences)?);
        let kind = Compared { key: "logits", first_positions: 0, per_sequence: true };
        return Ok((pollster::block_on(read_back(logits))?, kind));
    }
    let model = MaskedLm::load(weights, &config).with_context(|| dir.display().to_string())?;
    let inputs = model.encoder.inputs(&sequences)?;
    masked_lm_output(&model, &inputs, config.vocab_size(), reference)
}

fn masked_lm_output(
    model: &MaskedLm,
    inputs: &Inputs,
    vocab_size: usize,
    reference: &Reference<'_>,
) -> anyhow::Result<(Vec<f32>, Compared)> {
    if reference.has("last_hidden") {
        let kind = Compared { key: "last_hidden", first_positions: usize::MAX, per_sequence: false };
        return Ok((pollster::block_on(read_back(model.encoder.forward(inputs)))?, kind));
    }
    let kind = match reference.has("logits") {
        true => Compared { key: "logits", first_positions: usize::MAX, per_sequence: false },
        false => Compared { key: "logits_first_16", first_positions: 16, per_sequence: false },
    };
    ensure!(reference.has(kind.key), "none of `logits`, `logits_first_16`, `last_hidden` is there");
    let hidden_td = model.encoder.forward(inputs);
    let mut values = Vec::new();
    // In parts, so that a large vocabulary does not need all logits of a long text at once.
    for chosen in reference.chosen(kind.first_positions).chunks((1 << 26) / vocab_size + 1) {
        values.extend(pollster::block_on(read_back(model.logits_at(hidden_td.clone(), chosen)?))?);
    }
    Ok((values, kind))
}
