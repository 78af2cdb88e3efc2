//! `anaume bench`: how fast this machine computes, in numbers that can be held against another program's.

use std::path::PathBuf;
use std::time::Instant;

use anaume_core::batch::{Batch, Sequences};
use anaume_core::config::{ModelConfig, preset_names};
use anaume_core::layers::Precision;
use anaume_core::modernbert::MaskedLm;
use anaume_core::optim::{AdamW, AdamWConfig};
use anaume_core::train_step::Trainer;
use anaume_core::weights::{RandomParameters, read_back};
use burn::tensor::{DType, Device, Distribution, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use crate::device::Choice;
use crate::host;
use crate::model::{load_config, load_masked_lm};
use crate::progress::{format_bytes, format_count, format_si};

/// Rows of the embedding of llm-jp-modernbert-base.
const LLM_JP_VOCAB_SIZE: usize = 99_574;

/// Arguments of `anaume bench`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// encoder: the forward pass without a head; step: a whole training step with 30 % of the tokens masked
    #[arg(value_parser = ["encoder", "step"])]
    what: String,
    /// Model folder [default: random parameters of --preset]
    #[arg(long, conflicts_with = "preset")]
    model: Option<PathBuf>,
    /// Size of the random model, with the vocabulary of llm-jp-modernbert
    #[arg(long, default_value = "base", value_parser = clap::builder::PossibleValuesParser::new(preset_names()))]
    preset: String,
    /// Sequences
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Tokens of each
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Timed runs after one warm-up
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `anaume bench`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ready = args.device.open()?;
    let peak = matmul_peak(&ready.device, Precision::F32)?;
    let (config, model) = match &args.model {
        Some(dir) => {
            let config = load_config(dir)?;
            let model = load_masked_lm(dir, &config, &ready.device)?;
            (config, model)
        }
        None => random_model(&args.preset, &ready.device)?,
    };
    let batch = random_batch(args.batch, args.length, config.vocab_size);
    let tokens = batch.num_tokens;
    let (seconds, flops) = match args.what.as_str() {
        "encoder" => {
            let flops = config.encoder_flops_per_token(args.length) * tokens as f64;
            (time(args.runs, || encoder(&model, &batch))?, flops)
        }
        _ => {
            let mut trainer = Trainer::new(model, AdamW::new(AdamWConfig::default()), Default::default())?;
            let flops = config.train_flops(tokens, batch.masked.len(), args.length);
            (time(args.runs, || step(&mut trainer, &batch))?, flops)
        }
    };
    let median = seconds[seconds.len() / 2];
    let share = flops / median / peak;
    let memory = host::peak_memory_bytes();
    if args.json {
        let document = json!({
            "what": args.what, "batch": args.batch, "length": args.length, "device": ready.description,
            "seconds": median, "best": seconds[0], "quartiles": [seconds[seconds.len() / 4], seconds[seconds.len() * 3 / 4]],
            "tokens_per_second": tokens as f64 / median, "matmul_peak_flops": peak, "share_of_peak": share,
            "peak_bytes": memory,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    println!(
        "{} {}x{} on {}: median {median:.3} s of {} runs (best {:.3}), {} tokens/s, {} of the matrix-product peak ({}FLOP/s){}",
        args.what,
        args.batch,
        args.length,
        ready.description,
        seconds.len(),
        seconds[0],
        format_count((tokens as f64 / median) as u64),
        format_args!("{:.0} %", share * 100.0),
        format_si(peak),
        memory.map(|bytes| format!(", peak memory {}", format_bytes(bytes))).unwrap_or_default(),
    );
    Ok(())
}

/// A model of this size with random parameters.
fn random_model(preset: &str, device: &Device) -> anyhow::Result<(ModelConfig, MaskedLm)> {
    let config = ModelConfig::preset(preset, LLM_JP_VOCAB_SIZE)?;
    let model =
        MaskedLm::new(&mut RandomParameters::new(0, config.initializer_cutoff_factor, device), &config, device)?;
    Ok((config, model))
}

/// Random ids, 30 % of them to be predicted; the same for the same shape.
fn random_batch(rows: usize, length: usize, vocab_size: usize) -> Batch {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut sequences = Sequences::default();
    for _ in 0..rows {
        let ids: Vec<u32> = (0..length).map(|_| 8 + random.next_u32() % (vocab_size as u32 - 8)).collect();
        sequences.push(&ids);
    }
    let masked: Vec<usize> = (0..rows * length).filter(|_| random.next_u32() % 10 < 3).collect();
    let labels = masked.iter().map(|token| sequences.ids[*token]).collect();
    masked.iter().for_each(|token| sequences.ids[*token] = 3);
    Batch {
        num_rows: rows,
        num_tokens: rows * length,
        num_padding: 0,
        documents: Vec::new(),
        sequences,
        masked,
        labels,
    }
}

fn encoder(model: &MaskedLm, batch: &Batch) -> anyhow::Result<()> {
    let hidden_td = model.encoder.forward(&model.encoder.inputs(&batch.sequences)?);
    // Reading one row waits for all of it without timing the transfer.
    pollster::block_on(read_back(hidden_td.narrow(0, 0, 1)))?;
    Ok(())
}

fn step(trainer: &mut Trainer, batch: &Batch) -> anyhow::Result<()> {
    trainer.accumulate(batch, batch.masked.len())?;
    pollster::block_on(trainer.finish(batch.masked.len(), 1e-5))?;
    Ok(())
}

/// Seconds of each run, sorted.
fn time(runs: usize, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<f64>> {
    work()?;
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

/// Floating-point operations a second of a large matrix product: the ceiling that shares are given of.
pub fn matmul_peak(device: &Device, precision: Precision) -> anyhow::Result<f64> {
    let dtype = match precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
    };
    let product = |n: usize| -> anyhow::Result<f64> {
        let matrix = Tensor::<2>::random([n, n], Distribution::Uniform(-1.0, 1.0), device).cast(dtype);
        let seconds = time(3, || {
            pollster::block_on(read_back(matrix.clone().matmul(matrix.clone()).narrow(0, 0, 1)))?;
            Ok(())
        })?;
        Ok(2.0 * (n as f64).powi(3) / seconds[0])
    };
    let small = product(512)?;
    // Slow devices need no larger product to reach their peak, fast ones do.
    let n = if small > 5e11 { 4096 } else { 1024 };
    Ok(if small > 2e10 { product(n)?.max(small) } else { small })
}
