//! `anaume export web`: a model folder for the page, small, in files that can be fetched again, with what it must answer.

use std::path::{Path, PathBuf};

use anaume_core::config::Precision;
use anaume_core::export::weight_files;
use anaume_core::infer::{Candidate, Engine};
use anaume_core::model::MaskedLm;
use anaume_core::report::site::{Agreement, CHECKED_TEXT, ExportType, SiteModel, WEB_MODEL, WebModel};
use anaume_core::tokenizer::MaskConvention;
use anaume_core::weights::{StoredType, WeightFile, read_parameters};
use anyhow::Context;
use burn::tensor::Device;
use pollster::block_on;

use crate::exit::{Coded, Exit};
use crate::files::write_dir_atomic;
use crate::model::{load_any_config, load_engine, read_weights, tokenizer_files};
use crate::progress::format_bytes;
use crate::quickstart::CORPUS;
use crate::site::library::describe;

/// Masks that both models fill.
const NUM_MASKS: usize = 500;
/// Masks filled at once.
const MASKS_AT_ONCE: usize = 50;
/// Characters of a sentence in which a word is masked.
const SENTENCE_LENGTHS: std::ops::Range<usize> = 8..120;

/// What to export for.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// For the page in the browser
    #[command(after_help = "Example:\n  anaume export web run/step-00100000 --dtype q8 --out model-web/\n  \
        anaume serve --model model-web/")]
    Web(Args),
}

/// Arguments of `anaume export web`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder: masked LM or encoder, ModernBERT or BERT, with tokenizer.json
    model: PathBuf,
    /// f32 (4 bytes a parameter), f16 (2) or q8 (1: embeddings and linear layers in 8 bits, 32 with a scale)
    #[arg(long, default_value = "q8", value_parser = export_type)]
    dtype: ExportType,
    /// Largest file of weights in MiB; a larger tensor is a file of its own
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=2048))]
    shard_mib: u64,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
    /// Replace an existing folder
    #[arg(long)]
    force: bool,
}

fn export_type(name: &str) -> Result<ExportType, String> {
    match name {
        "f32" => Ok(ExportType::F32),
        "f16" => Ok(ExportType::F16),
        "q8" => Ok(ExportType::Q8),
        _ => Err("expected f32, f16 or q8".into()),
    }
}

/// `anaume export web …`.
pub fn run(Command::Web(args): Command) -> anyhow::Result<()> {
    let whole = args.model.canonicalize().unwrap_or_else(|_| args.model.clone());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut files = files(&args.model, args.dtype, args.shard_mib << 20)?;
    let exported = engine(&args.model, &files)?;
    let mut model = SiteModel {
        name: name.unwrap_or_else(|| "model".into()),
        files: files.iter().map(|(name, bytes)| describe(name, bytes)).collect(),
        dtype: Some(args.dtype),
        check: Some(block_on(exported.record(CHECKED_TEXT))?),
        agreement: None,
    };
    if exported.config.has_lm_head() {
        model.agreement = Some(agreement(&load_engine(&args.model, &Device::flex(), Precision::F32)?, &exported)?);
    }
    let size_bytes = model.files.iter().map(|file| file.size_bytes).sum();
    let agreement = model.agreement;
    files.push((WEB_MODEL.into(), WebModel { model, ..WebModel::default() }.to_json().into_bytes()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    write_dir_atomic(&args.out, &files, args.force)?;
    println!("{} written, {} files, {}", args.out.display(), files.len(), format_bytes(size_bytes));
    if let Some(Agreement { num_masks, num_same_top_1 }) = agreement {
        let percent = 100.0 * num_same_top_1 as f64 / num_masks as f64;
        println!(
            "{num_same_top_1} of {num_masks} masks have the same likeliest token as the original ({percent:.1} %)"
        );
    }
    Ok(())
}

/// Every file of the exported model but the list.
fn files(dir: &Path, dtype: ExportType, shard_bytes: u64) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let config = load_any_config(dir)?;
    let weights = read_weights(dir, &Device::flex())?;
    let mut model = MaskedLm::load(weights, &config).with_context(|| dir.display().to_string())?;
    let parameters = block_on(read_parameters(&mut model))?;
    let stored = if dtype == ExportType::F16 { StoredType::F16 } else { StoredType::F32 };
    let mut files = vec![("config.json".to_owned(), config.to_json(stored))];
    files.extend(tokenizer_files(dir)?.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)));
    if !files.iter().any(|(name, _)| name == "tokenizer.json") {
        let message = format!("{} holds no tokenizer.json, which the browser needs", dir.display());
        return Err(Coded::error(Exit::Usage, message));
    }
    files.extend(weight_files(&parameters, dtype, shard_bytes as usize)?);
    Ok(files)
}

/// The exported model, from its own bytes.
fn engine(dir: &Path, files: &[(String, Vec<u8>)]) -> anyhow::Result<Engine> {
    let shards = files.iter().filter(|(name, _)| name.ends_with(".safetensors")).map(|(_, bytes)| bytes.as_slice());
    let weights = WeightFile::from_shards(shards, &Device::flex())?;
    Ok(Engine::with_tokenizer(&files[0].1, weights, crate::tokenizer::load(dir)?)?)
}

/// How often both models put the same token first, at one mask each in sentences of the built-in corpus.
fn agreement(original: &Engine, exported: &Engine) -> anyhow::Result<Agreement> {
    let texts = masked_sentences(original)?;
    let mut agreement = Agreement::default();
    for some in texts.chunks(MASKS_AT_ONCE) {
        let fill = |engine: &Engine| block_on(engine.fill_mask(some, 1, MaskConvention::Clean));
        for (a, b) in fill(original)?.into_iter().zip(fill(exported)?) {
            agreement.num_masks += a.masks.len();
            agreement.num_same_top_1 += a.masks.iter().zip(&b.masks).filter(|(a, b)| first(a) == first(b)).count();
        }
    }
    Ok(agreement)
}

fn first(candidates: &[Candidate]) -> Option<u32> {
    candidates.first().map(|candidate| candidate.token_id)
}

/// Sentences of the built-in corpus, from all of it, with the token in the middle masked.
fn masked_sentences(engine: &Engine) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Document {
        text: String,
    }
    let mut sentences = Vec::new();
    for line in CORPUS.iter().flat_map(|(_, lines)| lines.lines()) {
        let document: Document = serde_json::from_str(line).context("built-in corpus")?;
        let parts = document.text.split_inclusive(['。', '\n']).map(|part| part.trim().to_owned());
        sentences.extend(parts.filter(|part| SENTENCE_LENGTHS.contains(&part.chars().count())));
    }
    let step = (sentences.len() / NUM_MASKS).max(1);
    let masked = |text: &String| -> anyhow::Result<String> {
        let tokens = engine.tokens(text, MaskConvention::Clean)?;
        let (start, end) = tokens[tokens.len() / 2].offsets;
        Ok(format!("{}[MASK]{}", &text[..start], &text[end..]))
    };
    sentences.iter().step_by(step).take(NUM_MASKS).map(masked).collect()
}
