//! Model folders: reading them, `model init`, `model info`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use anaume_core::config::{ModelConfig, Precision, preset_names};
use anaume_core::export::INDEX;
use anaume_core::infer::{Engine, check_rows};
use anaume_core::model::Config;
use anaume_core::modernbert::MaskedLm;
use anaume_core::report::site::WEB_MODEL;
use anaume_core::weights::{
    HostTensor, RandomParameters, StoredType, WeightFile, parameters_hash, read_parameters, write_safetensors,
};
use anyhow::Context;
use burn::tensor::Device;
use serde_json::json;

use crate::exit::{Coded, Exit, WithExit};
use crate::files::{is_plain, read, unreadable, write_dir_atomic};
use crate::hub::{self, Part};
use crate::progress::{format_bytes, format_count, format_si};

/// Subcommands of `anaume model`.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Make a randomly initialised model folder that transformers loads too
    #[command(after_help = "Example:\n  anaume model init --preset small --tokenizer tokenizer/ --seed 0 --out model/")]
    Init {
        /// Size: base, small, mini, tiny, ja-30m, ja-130m, ja-310m, modernbert-base, modernbert-large
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(preset_names()))]
        preset: String,
        /// Folder of the tokenizer; its files are copied into the model
        #[arg(long)]
        tokenizer: PathBuf,
        /// Seed of the parameters: the same seed gives the same bytes
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Folder to write
        #[arg(long)]
        out: PathBuf,
        /// Replace an existing folder
        #[arg(long)]
        force: bool,
    },
    /// Write a model folder with its weights in another type: half the size, for sharing
    #[command(after_help = "Example:\n  anaume model convert run/step-00100000 --dtype bf16 --out model-bf16/")]
    Convert {
        /// Model folder: masked LM of ModernBERT
        dir: PathBuf,
        /// f32, f16 or bf16
        #[arg(long, value_parser = stored_type)]
        dtype: StoredType,
        /// Folder to write
        #[arg(long)]
        out: PathBuf,
        /// Replace an existing folder
        #[arg(long)]
        force: bool,
    },
    /// Write a model card for the Hugging Face Hub from the results of the model
    #[command(after_help = "Example:\n  anaume model card model/ --results results/ --out model/README.md")]
    Card {
        /// Model folder
        dir: PathBuf,
        /// Results folders, searched for results.json; those of other models are left out
        #[arg(long, required = true, num_args = 1..)]
        results: Vec<PathBuf>,
        /// File to write instead of stdout
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Show parameters by part, FLOPs per token and memory of a model folder
    #[command(after_help = "Example:\n  anaume model info model/")]
    Info {
        /// Model folder
        dir: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

/// `anaume model …`.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init { preset, tokenizer, seed, out, force } => {
            let hash = init(&preset, &tokenizer, seed, &out, force)?;
            println!("{} written, parameters blake3 {hash}", out.display());
            Ok(())
        }
        Command::Convert { dir, dtype, out, force } => convert(&dir, dtype, &out, force),
        Command::Card { dir, results, out } => crate::card::run(&dir, &results, out.as_deref()),
        Command::Info { dir, json } => info(&dir, json),
    }
}

fn stored_type(name: &str) -> Result<StoredType, String> {
    match name {
        "f32" => Ok(StoredType::F32),
        "f16" => Ok(StoredType::F16),
        "bf16" => Ok(StoredType::BF16),
        _ => Err("expected f32, f16 or bf16".into()),
    }
}

/// Files of a tokenizer that a model folder carries.
const TOKENIZER_FILES: [&str; 4] = ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"];

/// Files of a model that are read besides its weights.
pub const DESCRIPTION_FILES: [&str; 8] = [
    "config.json",
    CARD,
    TOKENIZER_FILES[0],
    TOKENIZER_FILES[1],
    TOKENIZER_FILES[2],
    TOKENIZER_FILES[3],
    INDEX,
    WEB_MODEL,
];

/// A model's card.
pub const CARD: &str = "README.md";

/// The file of a model's weights, where they are in one.
pub const WEIGHTS: &str = "model.safetensors";

/// The tokenizer files of a folder that exist, with their bytes.
pub fn tokenizer_files(dir: &Path) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let dir = hub::model(dir, Part::Description)?;
    let present = TOKENIZER_FILES.iter().filter(|name| dir.join(name).exists());
    present.map(|name| Ok((*name, read(&dir.join(name))?))).collect()
}

/// Reads `config.json` of a model folder of either architecture.
pub fn load_any_config(dir: &Path) -> anyhow::Result<Config> {
    let path = hub::model(dir, Part::Description)?.join("config.json");
    Config::from_json(&read_config(&path)?).with_context(|| path.display().to_string())
}

/// Reads `config.json` of the folder of a ModernBERT, the architecture that is pretrained here.
pub fn load_config(dir: &Path) -> anyhow::Result<ModelConfig> {
    let path = hub::model(dir, Part::Description)?.join("config.json");
    ModelConfig::from_json(&read_config(&path)?).with_context(|| path.display().to_string())
}

fn read_config(path: &Path) -> anyhow::Result<Vec<u8>> {
    let advice =
        "a model folder is needed: that of `anaume model init`, a checkpoint RUN/step-…, or ORG/NAME of the Hub";
    read(path).map_err(|error| if path.exists() { error } else { error.context(advice) })
}

/// The files of a model's weights: `model.safetensors`, or those that an index lists, as transformers writes large models.
pub fn weight_paths(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let dir = hub::model(dir, Part::Whole)?;
    let (whole, index) = (dir.join(WEIGHTS), dir.join(INDEX));
    if whole.exists() || !index.exists() {
        return Ok(vec![whole]);
    }
    let parsed: Index = serde_json::from_slice(&read(&index)?).exit(Exit::Data, index.display().to_string())?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(Coded::error(Exit::Data, format!("{}: `{name}` is no name of a file", index.display()))),
        None => Ok(names.into_iter().map(|name| dir.join(name)).collect()),
    }
}

/// Reads the weights of a model folder, one file after the other.
pub fn read_weights(dir: &Path, device: &Device) -> anyhow::Result<WeightFile> {
    let mut weights = WeightFile::empty(device);
    for path in weight_paths(dir)? {
        let mut file = File::open(&path).map_err(|cause| unreadable(&path, cause))?;
        let num_bytes = file.metadata().map_err(|cause| unreadable(&path, cause))?.len();
        weights.read(&mut file, num_bytes).with_context(|| path.display().to_string())?;
    }
    Ok(weights)
}

/// Loads a masked language model without its tokenizer.
pub fn load_masked_lm(dir: &Path, config: &ModelConfig, device: &Device) -> anyhow::Result<MaskedLm> {
    let mut source = read_weights(dir, device)?;
    let load = || -> anaume_core::Result<MaskedLm> {
        let model = MaskedLm::new(&mut source, config, device)?;
        source.finish()?;
        Ok(model)
    };
    load().with_context(|| dir.display().to_string())
}

/// Loads a masked language model with its tokenizer, to compute in `precision`.
pub fn load_engine(dir: &Path, device: &Device, precision: Precision) -> anyhow::Result<Engine> {
    let dir = &hub::model(dir, Part::Whole)?;
    let config_json = read_config(&dir.join("config.json"))?;
    // Each takes about as long as the first answer of a small model.
    let (tokenizer, weights) = rayon::join(|| crate::tokenizer::load(dir), || read_weights(dir, device));
    let engine = Engine::with_tokenizer(&config_json, weights?, tokenizer?);
    let mut engine = engine.with_context(|| dir.display().to_string())?;
    engine.set_precision(precision);
    Ok(engine)
}

/// Makes a model folder; returns the hash of its parameters.
pub fn init(preset: &str, tokenizer_dir: &Path, seed: u64, out: &Path, force: bool) -> anyhow::Result<blake3::Hash> {
    let tokenizer = crate::tokenizer::load(tokenizer_dir)?;
    let special = *tokenizer.special();
    let config = ModelConfig {
        pad_token_id: Some(special.pad),
        bos_token_id: Some(special.cls),
        eos_token_id: Some(special.sep),
        cls_token_id: Some(special.cls),
        sep_token_id: Some(special.sep),
        ..ModelConfig::preset(preset, tokenizer.num_ids())?
    };
    check_rows(config.vocab_size, &tokenizer)?;
    let device = Device::flex();
    let mut source = RandomParameters::new(seed, config.initializer_cutoff_factor, &device);
    let mut model = MaskedLm::new(&mut source, &config, &device)?;
    let parameters = pollster::block_on(read_parameters(&mut model))?;
    write_model(config.to_json(StoredType::F32), &parameters, StoredType::F32, tokenizer_dir, out, force)?;
    Ok(parameters_hash(&parameters))
}

/// Writes a model folder with the tokenizer files of `tokenizer_dir`.
pub fn write_model(
    config_json: Vec<u8>,
    parameters: &[HostTensor],
    stored: StoredType,
    tokenizer_dir: &Path,
    out: &Path,
    force: bool,
) -> anyhow::Result<()> {
    let mut files = vec![("config.json", config_json), (WEIGHTS, write_safetensors(parameters, stored)?)];
    files.extend(tokenizer_files(tokenizer_dir)?);
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    write_dir_atomic(out, &files, force)
}

fn convert(dir: &Path, stored: StoredType, out: &Path, force: bool) -> anyhow::Result<()> {
    let config = load_config(dir)?;
    let mut model = load_masked_lm(dir, &config, &Device::flex())?;
    let parameters = pollster::block_on(read_parameters(&mut model))?;
    write_model(config.to_json(stored), &parameters, stored, dir, out, force)?;
    println!("{} written as {}", out.display(), stored.torch_name());
    Ok(())
}

fn info(dir: &Path, as_json: bool) -> anyhow::Result<()> {
    let config = load_any_config(dir)?;
    let lengths = [512, 1024, 8192].map(|length: usize| length.min(config.max_length()));
    let train_bytes = config.train_bytes(4096, 1229);
    let run_bytes = config.inference_bytes(4096);
    if as_json {
        let flops: serde_json::Map<_, _> =
            lengths.iter().map(|length| (length.to_string(), json!(config.encoder_flops_per_token(*length)))).collect();
        let document = json!({
            "parameters": config.num_parameters(),
            "parameters_by_part": config.parameter_counts().into_iter().collect::<BTreeMap<_, _>>(),
            "encoder_flops_per_token_by_length": flops,
            "head_flops_per_token": config.head_flops_per_token(),
            "train_bytes_4096_tokens": train_bytes,
            "inference_bytes_4096_tokens": run_bytes,
            "config": config,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    println!("parameters  {:>15}", format_count(config.num_parameters() as u64));
    for (part, count) in config.parameter_counts() {
        println!("  {part:<10}{:>15}", format_count(count as u64));
    }
    for length in lengths {
        println!("FLOPs per token, forward, {length:>5} tokens  {}", format_si(config.encoder_flops_per_token(length)));
    }
    println!("FLOPs per predicted token, head        {}", format_si(config.head_flops_per_token()));
    println!("memory to run 4,096 tokens at once, f32     {}", format_bytes(run_bytes));
    println!("memory to train 4,096 tokens at once, f32   {}", format_bytes(train_bytes));
    Ok(())
}
