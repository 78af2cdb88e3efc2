//! What a pretraining run is asked to do (a recipe) and what that means on this machine (the plan).

use std::path::{Path, PathBuf};

use anaume_core::batch::{FrameIds, Layout};
use anaume_core::config::ModelConfig;
use anaume_core::layers::Precision;
use anaume_core::masking::MaskingConfig;
use anaume_core::optim::AdamWConfig;
use anaume_core::schedule::Schedule;
use anaume_core::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::dataset::Dataset;
use crate::data::loader::LoaderConfig;
use crate::exit::{Coded, Exit, WithExit};
use crate::progress::{format_bytes, format_count, format_si};

/// A recipe: everything that decides a run's numbers except the data, the model and the device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Steps, batch, precision.
    pub train: TrainRecipe,
    /// AdamW.
    pub optim: AdamWConfig,
    /// Learning rate over the steps.
    pub schedule: Schedule,
    /// Sequences and masks.
    pub data: DataRecipe,
    /// Checkpoints.
    pub checkpoint: CheckpointRecipe,
    /// Validation.
    pub validation: ValidationRecipe,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainRecipe {
    /// Optimizer steps of the whole run.
    pub max_steps: u64,
    /// Rows of a step's batch.
    pub batch_rows: usize,
    /// Rows computed at once; the gradients of a batch's parts are summed, weighted by their masked tokens.
    pub micro_batch_rows: usize,
    /// Seed of the data order and of the masks.
    pub seed: u64,
    /// `f32`, or `f16` for the large matrix products where the device has it.
    pub precision: Precision,
    /// Keep only what each layer takes and compute the layer again for its gradients: less memory, a third more computing.
    pub recompute: bool,
    /// What a loss or gradient that is not finite does: `stop` the run, or `skip` the step.
    pub on_nonfinite: OnNonFinite,
}

/// Names of the policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnNonFinite {
    /// End with exit code 4 before the parameters change.
    #[default]
    Stop,
    /// Leave the parameters as they are, log it, go on.
    Skip,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        Self {
            max_steps: 1000,
            batch_rows: 32,
            micro_batch_rows: 8,
            seed: 42,
            precision: Precision::F32,
            recompute: false,
            on_nonfinite: OnNonFinite::Stop,
        }
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// Longest sequence and length of a row, in tokens.
    pub max_length: usize,
    /// `packed`: all text, several sequences a row; `one-per-row`: a document a row, cut and padded as the original does.
    pub layout: Layout,
    /// Share of the tokens that are predicted.
    pub mask_probability: f64,
    /// Share of the predicted tokens shown as the mask.
    pub mask_share: f64,
    /// Share of the predicted tokens shown as a random token.
    pub random_share: f64,
    /// Threads that prepare batches.
    pub num_threads: usize,
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            max_length: 1024,
            layout: Layout::Packed,
            mask_probability: 0.3,
            mask_share: 0.8,
            random_share: 0.1,
            num_threads: 1,
        }
    }
}

/// `[checkpoint]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointRecipe {
    /// Steps between checkpoints; one is always written at the end.
    pub every_steps: u64,
    /// Checkpoints kept; older ones are removed once a newer one is safe. 0 keeps all.
    pub keep: usize,
}

impl Default for CheckpointRecipe {
    fn default() -> Self {
        Self { every_steps: 1000, keep: 3 }
    }
}

/// `[validation]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationRecipe {
    /// Steps between validations; 0 turns them off. Needs a `test` split.
    pub every_steps: u64,
    /// Most rows of the fixed, masked validation set.
    pub max_rows: usize,
}

impl Default for ValidationRecipe {
    fn default() -> Self {
        Self { every_steps: 500, max_rows: 64 }
    }
}

/// Recipes that come with the program, by name.
const BUILT_IN: [(&str, &str); 5] = [
    ("quickstart", include_str!("../recipes/quickstart.toml")),
    ("tiny", include_str!("../recipes/tiny.toml")),
    ("train", include_str!("../recipes/train.toml")),
    ("stage1", include_str!("../recipes/stage1.toml")),
    ("stage2", include_str!("../recipes/stage2.toml")),
];

impl Recipe {
    /// Reads a built-in recipe by name or a TOML file, with `section.key=value` overrides.
    pub fn load(name_or_path: &str, overrides: &[String]) -> anyhow::Result<Self> {
        let built_in = BUILT_IN.iter().find(|(name, _)| *name == name_or_path).map(|(_, text)| (*text).to_owned());
        let text = match built_in {
            Some(text) => text,
            None => std::fs::read_to_string(name_or_path).exit(Exit::Usage, {
                let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                format!("cannot read the recipe {name_or_path} (built in: {})", names.join(", "))
            })?,
        };
        let mut recipe: Self = toml::from_str(&text).map_err(|cause| {
            let line = 1 + cause.span().map_or(0, |span| text[..span.start].matches('\n').count());
            Coded::error(Exit::Usage, format!("recipe {name_or_path}, line {line}: {}", explain(&cause)))
        })?;
        let mut table: Table = text.parse().exit(Exit::Usage, format!("recipe {name_or_path}"))?;
        for assignment in overrides {
            set(&mut table, assignment)?;
            recipe = table
                .clone()
                .try_into()
                .map_err(|cause| Coded::error(Exit::Usage, format!("--set {assignment}: {}", explain(&cause))))?;
        }
        recipe.check().map_err(|message| Coded::error(Exit::Usage, format!("recipe {name_or_path}: {message}")))?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        let train = &self.train;
        if train.max_steps == 0 || train.batch_rows == 0 || train.micro_batch_rows == 0 {
            return Err("train.max_steps, train.batch_rows and train.micro_batch_rows must be at least 1".into());
        }
        if self.data.max_length < 3 {
            return Err("data.max_length must be at least 3".into());
        }
        let optim = self.optim;
        let unit = |value: f64| (0.0..1.0).contains(&value);
        if !(optim.lr > 0.0 && optim.lr.is_finite() && unit(optim.beta1) && unit(optim.beta2) && optim.epsilon > 0.0) {
            return Err("optim.lr and optim.epsilon must be positive, optim.beta1 and optim.beta2 in [0, 1)".into());
        }
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if !(positive(optim.max_grad_norm) && optim.weight_decay >= 0.0 && optim.weight_decay.is_finite()) {
            return Err("optim.max_grad_norm must be positive and optim.weight_decay not negative".into());
        }
        if !(0.0..=1.0).contains(&self.schedule.final_ratio) {
            return Err("schedule.final_ratio must be in [0, 1]".into());
        }
        if self.checkpoint.every_steps == 0 {
            return Err("checkpoint.every_steps must be at least 1".into());
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let data = &self.data;
        let shares = [data.mask_probability, data.mask_share, data.random_share, data.mask_share + data.random_share];
        if !shares.into_iter().all(share) {
            return Err(
                "data.mask_probability, data.mask_share, data.random_share and the sum of these two must be in [0, 1]"
                    .into(),
            );
        }
        Ok(())
    }

    /// Tokens of a full micro-batch.
    pub fn micro_batch_tokens(&self) -> usize {
        self.train.micro_batch_rows.min(self.train.batch_rows) * self.data.max_length
    }

    /// The loader's side of the recipe.
    pub fn loader_config(&self, tokenizer: &Tokenizer, model: &ModelConfig) -> LoaderConfig {
        let special = tokenizer.special();
        let masking = MaskingConfig {
            mask_share: self.data.mask_share,
            random_share: self.data.random_share,
            ..MaskingConfig::new(self.data.mask_probability, special.mask, model.vocab_size as u32)
        };
        let frame = FrameIds { cls: special.cls, sep: special.sep };
        let special_ids = (0..tokenizer.num_ids() as u32).filter(|id| tokenizer.is_special(*id)).collect();
        let config = LoaderConfig::new(self.train.seed, self.data.max_length, masking, frame, special_ids);
        LoaderConfig { layout: self.data.layout, ..config }
    }
}

/// Puts `section.key=value` into a table; the value is TOML, or a bare word for a string.
fn set(table: &mut Table, assignment: &str) -> anyhow::Result<()> {
    let usage = || Coded::error(Exit::Usage, format!("--set {assignment}: expected section.key=value"));
    let (path, value) = assignment.split_once('=').ok_or_else(usage)?;
    let (section, key) = path.trim().split_once('.').ok_or_else(usage)?;
    let parsed = format!("value = {}", value.trim()).parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let section = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().ok_or_else(usage)?.insert(key.to_owned(), value);
    Ok(())
}

/// What is wrong, with the nearest known key of all sections where a key is unknown.
fn explain(cause: &toml::de::Error) -> String {
    let message = cause.message().trim();
    let Some(unknown) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) else {
        return message.to_owned();
    };
    let known = known_keys();
    let key = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let nearness = |path: &String| strsim::jaro_winkler(unknown, &key(path));
    let near = known.iter().max_by(|a, b| nearness(a).total_cmp(&nearness(b)));
    match near {
        Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`? ({message})"),
        None => message.to_owned(),
    }
}

/// Every section, and every key as `section.key`.
fn known_keys() -> Vec<String> {
    let Ok(sections) = Table::try_from(Recipe::default()) else { return Vec::new() };
    let keys = |(section, keys): (String, Value)| {
        let keys = keys.as_table().map(|keys| keys.keys().map(|key| format!("{section}.{key}")).collect::<Vec<_>>());
        [vec![section], keys.unwrap_or_default()].concat()
    };
    sections.into_iter().flat_map(keys).collect()
}

/// A variant as recipes spell it.
pub fn name(variant: impl Serialize) -> String {
    serde_json::to_value(variant).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a run will do: printed first, and all of it with `--dry-run`.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The recipe with every default and override.
    pub recipe: Recipe,
    /// Data, model and run folders.
    pub data: PathBuf,
    /// Model folder.
    pub model: PathBuf,
    /// Run folder.
    pub out: PathBuf,
    /// The device in words.
    pub device: String,
    /// Parameters of the model.
    pub num_parameters: usize,
    /// Tokens of a full batch.
    pub tokens_per_step: usize,
    /// Tokens of the whole run.
    pub total_tokens: u64,
    /// Documents of the training split.
    pub train_documents: u64,
    /// Most tokens of a micro-batch, so that the forecast fits the memory where that is known.
    pub micro_batch_tokens: usize,
    /// Forecast of the memory in use, in bytes.
    pub memory_bytes: u64,
    /// Memory that the run may take, in bytes, where that is known.
    pub available_bytes: Option<u64>,
    /// Size of one checkpoint, in bytes.
    pub checkpoint_bytes: u64,
    /// Floating-point operations of one step.
    pub step_flops: f64,
    /// Seconds of one step at the speed of a matrix product, where that was measured.
    pub step_secs: Option<f64>,
    /// Documents of the test split.
    pub test_documents: u64,
}

impl Plan {
    /// Works out a plan for a run that may take `available` bytes, where that is known.
    pub fn new(
        recipe: &Recipe,
        model: &ModelConfig,
        dataset: &Dataset,
        device: &str,
        available: Option<u64>,
        places: [&Path; 3],
    ) -> Self {
        let [data, model_dir, out] = places.map(Path::to_path_buf);
        let row = recipe.data.max_length;
        let tokens_per_step = recipe.train.batch_rows * row;
        let documents = |split| dataset.manifest.splits.get(split).map_or(0, |split| split.documents);
        let masked = |tokens: usize| (tokens as f64 * recipe.data.mask_probability) as usize;
        // While a checkpoint is written there are weights and moments on the device and as files, and the moments as read.
        let least = 32 * model.num_parameters() as u64;
        let bytes =
            if recipe.train.recompute { ModelConfig::recomputing_train_bytes } else { ModelConfig::train_bytes };
        let forecast = |tokens| bytes(model, tokens, masked(tokens)).max(least);
        let mut micro_batch_tokens = recipe.micro_batch_tokens();
        while micro_batch_tokens > row && available.is_some_and(|available| available < forecast(micro_batch_tokens)) {
            micro_batch_tokens = (micro_batch_tokens / 2).max(row);
        }
        Self {
            recipe: recipe.clone(),
            data,
            model: model_dir,
            out,
            device: device.to_owned(),
            num_parameters: model.num_parameters(),
            tokens_per_step,
            total_tokens: tokens_per_step as u64 * recipe.train.max_steps,
            train_documents: documents("train"),
            test_documents: documents("test"),
            micro_batch_tokens,
            memory_bytes: forecast(micro_batch_tokens),
            available_bytes: available,
            checkpoint_bytes: 12 * model.num_parameters() as u64,
            step_flops: model.train_flops(tokens_per_step, masked(tokens_per_step), row),
            step_secs: None,
        }
    }

    fn print_memory(&self) {
        let free = self.available_bytes.map_or(String::new(), |bytes| format!(" of {}", format_bytes(bytes)));
        eprintln!("memory      about {}{free}", format_bytes(self.memory_bytes));
        if self.micro_batch_tokens < self.recipe.micro_batch_tokens() {
            let tokens = format_count(self.micro_batch_tokens as u64);
            eprintln!("            micro-batches are cut to {tokens} tokens to fit; the batch stays the same");
        }
        if self.available_bytes.is_some_and(|available| available < self.memory_bytes) {
            let advice = if self.recipe.train.recompute { "" } else { ", or train.recompute=true" };
            eprintln!("warning: that does not fit; take a shorter data.max_length or a smaller model{advice}");
        }
    }

    /// The plan for people, on stderr.
    pub fn print(&self) {
        let train = &self.recipe.train;
        let schedule = &self.recipe.schedule;
        eprintln!("model       {} ({} parameters)", self.model.display(), format_count(self.num_parameters as u64));
        eprintln!("data        {} ({} documents)", self.data.display(), format_count(self.train_documents));
        eprintln!(
            "batch       {} rows of {} tokens in micro-batches of {}, {} % masked, {}",
            train.batch_rows,
            self.recipe.data.max_length,
            train.micro_batch_rows.min(train.batch_rows),
            // Without the last digits of a product in binary.
            (self.recipe.data.mask_probability * 1e6).round() / 1e4,
            name(train.precision),
        );
        eprintln!(
            "steps       {} ({} tokens), learning rate {} {}, {} warm-up steps",
            format_count(train.max_steps),
            format_si(self.total_tokens as f64),
            self.recipe.optim.lr,
            name(schedule.kind),
            format_count(schedule.warmup_steps),
        );
        eprintln!("device      {}", self.device);
        let validation = match (self.recipe.validation.every_steps, self.test_documents) {
            (0, _) => "none (validation.every_steps is 0)".into(),
            (_, 0) => "none (no test split: prepare the data with --test-fraction)".into(),
            (every, test) => format!("every {every} steps on rows of {} documents", format_count(test)),
        };
        eprintln!("validation  {validation}");
        self.print_memory();
        let kept = match self.recipe.checkpoint.keep {
            0 => train.max_steps / self.recipe.checkpoint.every_steps.max(1) + 1,
            keep => keep as u64 + 1,
        };
        eprintln!(
            "checkpoints every {} steps, {} each, at most {} on disk",
            self.recipe.checkpoint.every_steps,
            format_bytes(self.checkpoint_bytes),
            format_bytes(kept * self.checkpoint_bytes),
        );
        if let Some(seconds) = self.step_secs {
            let total = std::time::Duration::from_secs_f64(seconds * train.max_steps as f64);
            eprintln!(
                "time        about {} ({seconds:.2} s a step of {} FLOP, from a measured matrix product)",
                crate::progress::format_duration(total),
                format_si(self.step_flops),
            );
        }
        eprintln!("run folder  {}", self.out.display());
    }
}
