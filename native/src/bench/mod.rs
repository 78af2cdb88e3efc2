//! `anaume bench`: how fast this machine computes, in numbers that can be held against another program's.

mod load;
mod ops;
mod search;
mod tokenizer;

use std::path::PathBuf;
use std::time::Instant;

use anaume_core::batch::{Batch, Sequences};
use anaume_core::config::{ModelConfig, preset_names};
use anaume_core::layers::Precision;
use anaume_core::modernbert::MaskedLm;
use anaume_core::optim::{AdamW, AdamWConfig};
use anaume_core::train_step::Trainer;
use anaume_core::weights::{RandomParameters, read_back};
use anaume_shaders::linear::linear_bf16;
use anaume_shaders::linear_f16::linear_f16;
use burn::tensor::{DType, Device, Distribution, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use crate::device::{Choice, check_precision};
use crate::host;
use crate::model::{load_config, load_masked_lm};
use crate::plan::name;
use crate::progress::{format_bytes, format_count, format_si};

/// Rows of the embedding of llm-jp-modernbert-base.
const LLM_JP_VOCAB_SIZE: usize = 99_574;

/// What to measure.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// The forward pass of an encoder, without a head
    #[command(after_help = "Example:\n  anaume bench encoder --model model/ --batch 8 --length 512")]
    Encoder(Args),
    /// A whole training step with 30 % of the tokens masked
    #[command(after_help = "Example:\n  anaume bench step --preset base --batch 8 --length 512")]
    Step(StepArgs),
    /// Each operation of a model, compared with its reference first
    #[command(after_help = "Example:\n  anaume bench ops --preset base --batch 8 --length 512")]
    Ops(ops::Args),
    /// Ids of whole documents, after they were compared with those of Hugging Face's library
    #[command(after_help = "Example:\n  anaume bench tokenizer tokenizer/ documents.jsonl.gz --threads 4")]
    Tokenizer(tokenizer::Args),
    /// The nearest of many vectors, after they were compared with those of a plain computation
    #[command(
        after_help = "Examples:\n  anaume bench search --passages 100000 --width 512\n  anaume bench search --index passages.safetensors"
    )]
    Search(search::Args),
    /// Batches of prepared data, after those of several threads were compared with those of one
    #[command(
        after_help = "Examples:\n  anaume bench load data/ --recipe train --model model/ --threads 2 --step-seconds 18.5\n  \
        anaume bench load data/ --recipe tiny --model model/ --measure-step"
    )]
    Load(load::Args),
}

/// Arguments of `anaume bench encoder` and `anaume bench step`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder [default: random parameters of --preset]
    #[arg(long, conflicts_with = "preset")]
    model: Option<PathBuf>,
    /// Size of the random model, with the vocabulary of llm-jp-modernbert
    #[arg(long, default_value = "base", value_parser = clap::builder::PossibleValuesParser::new(preset_names()))]
    preset: String,
    #[command(flatten)]
    shape: Shape,
}

/// Arguments of `anaume bench step`.
#[derive(clap::Args, Debug)]
pub struct StepArgs {
    #[command(flatten)]
    args: Args,
    /// Compute layers again for their gradients, as train.recompute does
    #[arg(long)]
    recompute: bool,
}

/// How much is measured, where and in which numbers.
#[derive(clap::Args, Debug)]
struct Shape {
    /// Sequences
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Tokens of each
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Timed runs after one warm-up
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// What the matrix products take: f32, f16 or bf16 (processors: rounded to bf16, summed in f32)
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `anaume bench …`.
pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Encoder(args) => model("encoder", args, false),
        Command::Step(StepArgs { args, recompute }) => model("step", args, *recompute),
        Command::Ops(args) => ops::run(args),
        Command::Tokenizer(args) => tokenizer::run(args),
        Command::Search(args) => search::run(args),
        Command::Load(args) => load::run(args),
    }
}

fn model(what: &str, args: &Args, recompute: bool) -> anyhow::Result<()> {
    let ready = args.shape.device.open()?;
    check_precision(&ready.device, args.shape.precision)?;
    let peak = matmul_peak(&ready.device, args.shape.precision)?;
    let (config, mut model) = match &args.model {
        Some(dir) => {
            let config = load_config(dir)?;
            let model = load_masked_lm(dir, &config, &ready.device)?;
            (config, model)
        }
        None => random_model(&args.preset, &ready.device)?,
    };
    let batch = random_batch(args.shape.batch, args.shape.length, config.vocab_size);
    let tokens = batch.num_tokens;
    let (seconds, flops) = match what {
        "encoder" => {
            model.encoder.precision = args.shape.precision;
            let flops = config.encoder_flops_per_token(args.shape.length) * tokens as f64;
            (time(args.shape.runs, || encoder(&model, &batch))?, flops)
        }
        _ => {
            let mut trainer = Trainer::new(model, AdamW::new(AdamWConfig::default()), args.shape.precision)?;
            trainer.recompute = recompute;
            let flops = config.train_flops(tokens, batch.masked.len(), args.shape.length);
            (time(args.shape.runs, || step(&mut trainer, &batch))?, flops)
        }
    };
    let [first, median, third] = quartiles(&seconds);
    let share = flops / median / peak;
    let memory = host::peak_memory_bytes();
    if args.shape.json {
        let document = json!({
            "what": what, "batch": args.shape.batch, "length": args.shape.length, "precision": args.shape.precision, "recompute": recompute,
            "device": ready.description, "seconds": median, "best": seconds[0], "quartiles": [first, third],
            "tokens_per_second": tokens as f64 / median, "matmul_peak_flops": peak, "share_of_peak": share,
            "peak_bytes": memory,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    println!(
        "{} {}x{} on {} in {}: median {median:.3} s of {} runs (best {:.3}), {} tokens/s, {} of the matrix-product peak ({}FLOP/s){}",
        what,
        args.shape.batch,
        args.shape.length,
        ready.description,
        name(args.shape.precision),
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

/// First quartile, median and third quartile of sorted seconds.
fn quartiles(seconds: &[f64]) -> [f64; 3] {
    [1, 2, 3].map(|quarter| seconds[seconds.len() * quarter / 4])
}

/// Seconds of one call in each run, sorted: enough calls are enqueued at a time that waiting for the device does not count.
fn time_enqueued(runs: usize, device: &Device, mut work: impl FnMut()) -> anyhow::Result<Vec<f64>> {
    /// Seconds that a run is to take at least.
    const RUN_SECS: f64 = 0.02;
    let mut calls = |count: usize| -> anyhow::Result<f64> {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        device.sync()?;
        Ok(start.elapsed().as_secs_f64())
    };
    calls(1)?;
    let mut count = 1;
    while calls(count)? < RUN_SECS && count < 1024 {
        count *= 2;
    }
    let mut seconds = (0..runs.max(1)).map(|_| Ok(calls(count)? / count as f64)).collect::<anyhow::Result<Vec<_>>>()?;
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

/// Floating-point operations a second of a large matrix product: the ceiling that shares are given of.
pub fn matmul_peak(device: &Device, precision: Precision) -> anyhow::Result<f64> {
    let square = |x: Tensor<2>| match precision {
        Precision::F32 => x.clone().matmul(x),
        Precision::F16 => linear_f16(x.clone(), x),
        Precision::BF16 => linear_bf16(x.clone(), x),
    };
    let dtype = if precision == Precision::F16 { DType::F16 } else { DType::F32 };
    let product = |n: usize| -> anyhow::Result<f64> {
        let matrix = Tensor::<2>::random([n, n], Distribution::Uniform(-1.0, 1.0), device).cast(dtype);
        let seconds = time_enqueued(3, device, || drop(square(matrix.clone())))?;
        Ok(2.0 * (n as f64).powi(3) / seconds[0])
    };
    // The faster the device, the larger the product that it needs to reach its peak; a slow one would take minutes for it.
    let mut peak = product(512)?;
    for (above, n) in [(2e10, 1024), (5e11, 4096), (2e13, 8192)] {
        if peak > above {
            peak = peak.max(product(n)?);
        }
    }
    Ok(peak)
}
