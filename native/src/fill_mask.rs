//! `anaume fill-mask` and `anaume embed`: answers from trained models.

use std::io::Write;
use std::path::{Path, PathBuf};

use anaume_core::config::{Pooling, Precision};
use anaume_core::infer::FillMask;
use anaume_core::tokenizer::MaskConvention;
use anyhow::{Context, bail};
use serde_json::json;

use crate::device::{Choice, Inference};
use crate::exit::{Coded, Exit};
use crate::files::write_atomic;
use crate::model::load_engine;
use crate::progress::Progress;

/// Arguments of `anaume fill-mask`.
#[derive(clap::Args, Debug)]
pub struct FillMaskArgs {
    /// Texts; the mask is written [MASK], {mask_str} or as the model's own mask token
    #[arg(required = true)]
    texts: Vec<String>,
    /// Model folder; give it several times to see several models side by side
    #[arg(long, required = true)]
    model: Vec<PathBuf>,
    /// Candidates for each mask
    #[arg(long, default_value_t = 5)]
    top_k: usize,
    /// `clean`: the text after a mask continues the sentence, as in pretraining; `hf`: as Hugging Face's tokenizers cut it
    #[arg(long, default_value = "clean", value_parser = ["clean", "hf"])]
    mask_convention: String,
    #[command(flatten)]
    inference: Inference,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `anaume fill-mask`.
pub fn fill_mask(args: &FillMaskArgs) -> anyhow::Result<()> {
    let convention = if args.mask_convention == "hf" { MaskConvention::Hf } else { MaskConvention::Clean };
    let device = args.inference.open(&args.device)?.device;
    let mut answers = Vec::with_capacity(args.model.len());
    for dir in &args.model {
        let engine = load_engine(dir, &device, args.inference.precision)?;
        answers.push(pollster::block_on(engine.fill_mask(&args.texts, args.top_k, convention))?);
    }
    if args.json {
        let models: Vec<_> = args
            .model
            .iter()
            .zip(&answers)
            .map(|(dir, texts)| json!({ "model": dir.display().to_string(), "texts": texts }))
            .collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({ "precision": args.inference.precision, "models": models }))?
        );
        return Ok(());
    }
    for index in 0..args.texts.len() {
        println!("{}", args.texts[index]);
        for (dir, texts) in args.model.iter().zip(&answers) {
            if args.model.len() > 1 {
                println!("  {}", dir.display());
            }
            print_masks(&texts[index]);
        }
    }
    Ok(())
}

/// Prints the candidates of each mask, a line a mask.
pub fn print_masks(answer: &FillMask) {
    for (number, candidates) in answer.masks.iter().enumerate() {
        let label = if answer.masks.len() > 1 { format!("mask {}: ", number + 1) } else { String::new() };
        let shown: Vec<_> = candidates.iter().map(|c| format!("{} {:.3}", c.token.trim(), c.probability)).collect();
        println!("    {label}{}", shown.join("  "));
    }
    if answer.truncated {
        eprintln!("note: the text is longer than the model takes; what follows the last mask was cut");
    }
}

/// Texts embedded between two looks at the progress.
const TEXTS_PER_CALL: usize = 256;

/// Arguments of `anaume embed`.
#[derive(clap::Args, Debug)]
pub struct EmbedArgs {
    /// Model folder
    #[arg(long)]
    model: PathBuf,
    /// Texts: plain (a text a line), JSON lines with `text`, Parquet; .gz and .zst too
    #[arg(long)]
    input: PathBuf,
    /// Where to write: .jsonl (text and vector), .npy or .safetensors (a matrix of f32, one row a text)
    #[arg(long)]
    out: PathBuf,
    /// The vector of a text: mean over its tokens, or that of its first token
    #[arg(long, default_value = "mean", value_parser = ["mean", "cls"])]
    pooling: String,
    /// Longest text in tokens; what is longer is cut [default: as much as the model takes]
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    max_length: usize,
    /// Scale every vector to length 1
    #[arg(long)]
    normalize: bool,
    #[command(flatten)]
    inference: Inference,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
}

/// `anaume embed`.
pub fn embed(args: &EmbedArgs) -> anyhow::Result<()> {
    let format = args.out.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !["jsonl", "npy", "safetensors"].contains(&format) {
        bail!(Coded::error(
            Exit::Usage,
            format!("{}: the name must end in .jsonl, .npy or .safetensors", args.out.display())
        ));
    }
    let texts = crate::data::texts(std::slice::from_ref(&args.input), "text")?;
    let device = args.inference.open(&args.device)?.device;
    let engine = load_engine(&args.model, &device, args.inference.precision)?;
    let pooling = if args.pooling == "cls" { Pooling::Cls } else { Pooling::Mean };
    let mut vectors = Vec::with_capacity(texts.len());
    let progress = Progress::new(texts.len() as u64, "texts", 0);
    for group in texts.chunks(TEXTS_PER_CALL) {
        vectors.extend(pollster::block_on(engine.embed(group, pooling, args.max_length))?);
        progress.set(vectors.len() as u64, "");
    }
    progress.finish("");
    if args.normalize {
        vectors.iter_mut().for_each(|vector| normalise(vector));
    }
    let bytes = match format {
        "jsonl" => json_lines(&texts, &vectors)?,
        "npy" => npy(&vectors, engine.hidden_size()),
        _ => matrix_safetensors(&vectors, engine.hidden_size())?,
    };
    write_atomic(&args.out, &bytes)?;
    println!("{}: {} vectors of {}", args.out.display(), vectors.len(), engine.hidden_size());
    Ok(())
}

fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|x| *x /= norm);
}

fn json_lines(texts: &[String], vectors: &[Vec<f32>]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (text, vector) in texts.iter().zip(vectors) {
        serde_json::to_writer(&mut bytes, &json!({ "text": text, "embedding": vector }))?;
        bytes.write_all(b"\n").context("memory")?;
    }
    Ok(bytes)
}

/// NumPy's format, version 1.0: a magic number, a Python dictionary padded to 64 bytes, the values.
fn npy(vectors: &[Vec<f32>], width: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", vectors.len());
    let padding = 64 - (10 + header.len() + 1) % 64;
    header.push_str(&" ".repeat(padding % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(vectors.iter().flatten().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn matrix_safetensors(vectors: &[Vec<f32>], width: usize) -> anyhow::Result<Vec<u8>> {
    let values = vectors.concat();
    let tensor =
        anaume_core::weights::HostTensor { name: "embeddings".into(), shape: vec![vectors.len(), width], values };
    Ok(anaume_core::weights::write_safetensors(&[tensor], anaume_core::weights::StoredType::F32)?)
}

/// Loads a model and fills the masks of a few texts: what quickstart shows.
pub fn show(dir: &Path, texts: &[String], device: &burn::tensor::Device) -> anyhow::Result<Vec<FillMask>> {
    Ok(pollster::block_on(load_engine(dir, device, Precision::F32)?.fill_mask(texts, 5, MaskConvention::Clean))?)
}
