//! What a recipe means for this model and data on this machine.

use std::path::{Path, PathBuf};

use anaume_core::batch::{Batch, FrameIds};
use anaume_core::config::ModelConfig;
use anaume_core::masking::MaskingConfig;
use anaume_core::tokenizer::Tokenizer;
use serde::Serialize;

use crate::data::dataset::Dataset;
use crate::data::loader::{LoaderConfig, Tokenize, validation_batches};
use crate::exit::{Coded, Exit};
use crate::files::nearest;
use crate::progress::{format_bytes, format_count, format_si};
use crate::recipe::{Recipe, Reduction};

/// A variant as recipes spell it.
pub fn name(variant: impl Serialize) -> String {
    serde_json::to_value(variant).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Recipe {
    /// Fails where rows are longer than what the model takes.
    pub fn check_length(&self, model: &ModelConfig) -> anyhow::Result<()> {
        let (length, largest) = (self.data.max_length, model.max_position_embeddings);
        if length > largest {
            let message =
                format!("data.max_length is {length} and the model takes {largest} (`max_position_embeddings`)");
            return Err(Coded::error(Exit::Usage, message));
        }
        Ok(())
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

/// What a run will do: printed first, and all of it with `--dry-run`.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The recipe with every default and override.
    pub recipe: Recipe,
    /// Processes that share each batch out.
    pub num_ranks: usize,
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
    /// Rows of a micro-batch.
    pub micro_batch_rows: usize,
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
    /// Works out a plan for a run of `num_ranks` ranks, each of which may take `available` bytes, where that is known.
    pub fn new(
        recipe: &Recipe,
        model: &ModelConfig,
        dataset: &Dataset,
        device: &str,
        available: Option<u64>,
        places: [&Path; 3],
        num_ranks: usize,
    ) -> Self {
        let exact = recipe.train.reduction == Reduction::Exact;
        // So that every rank has one; exact sums depend on the micro-batches.
        let share = if exact { usize::MAX } else { recipe.train.batch_rows.div_ceil(num_ranks) };
        let micro_batch_rows = recipe.train.micro_batch_rows.min(recipe.train.batch_rows).min(share);
        let [data, model_dir, out] = places.map(Path::to_path_buf);
        let row = recipe.data.max_length;
        let tokens_per_step = recipe.train.batch_rows * row;
        let documents = |split| dataset.manifest.splits.get(split).map_or(0, |split| split.documents);
        let probability = recipe.data.mask_probability;
        let masked = |tokens: usize| (tokens as f64 * probability) as usize;
        // While a checkpoint is written there are weights and moments on the device and as files, and the moments as read.
        let least = 32 * model.num_parameters() as u64;
        let bytes =
            if recipe.train.recompute { ModelConfig::recomputing_train_bytes } else { ModelConfig::train_bytes };
        let forecast = |tokens| bytes(model, tokens, masked(tokens)).max(least);
        let mut micro_batch_tokens = micro_batch_rows * row;
        while !exact
            && micro_batch_tokens > row
            && available.is_some_and(|available| available < forecast(micro_batch_tokens))
        {
            micro_batch_tokens = (micro_batch_tokens / 2).max(row);
        }
        let total_tokens = tokens_per_step as u64 * recipe.train.max_steps;
        let step_flops = model.train_flops(tokens_per_step, masked(tokens_per_step), row);
        Self {
            recipe: recipe.clone(),
            num_ranks,
            micro_batch_rows,
            data,
            model: model_dir,
            out,
            device: device.to_owned(),
            num_parameters: model.num_parameters(),
            tokens_per_step,
            total_tokens,
            train_documents: documents("train"),
            test_documents: documents("test"),
            micro_batch_tokens,
            memory_bytes: forecast(micro_batch_tokens),
            available_bytes: available,
            checkpoint_bytes: 12 * model.num_parameters() as u64,
            step_flops,
            step_secs: None,
        }
    }

    /// The batches of the fixed validation set; none where the recipe or the data have none.
    pub fn validation_set(
        &self,
        dataset: &Dataset,
        loader_config: &LoaderConfig,
        tokenize: Tokenize,
    ) -> anyhow::Result<Vec<Batch>> {
        let recipe = &self.recipe;
        if recipe.validation.every_steps == 0 || self.test_documents == 0 {
            return Ok(Vec::new());
        }
        let rows = (self.micro_batch_tokens / recipe.data.max_length).min(recipe.validation.max_rows).max(1);
        validation_batches(dataset.split("test")?, loader_config, tokenize, rows, recipe.validation.max_rows)
    }

    fn print_ranks(&self) {
        let train = &self.recipe.train;
        let (ranks, reduction) = (self.num_ranks, name(train.reduction));
        if ranks == 1 && train.reduction != Reduction::Exact {
            return;
        }
        let sharded = if train.shard_optimizer { ", each with a part of the optimizer's state" } else { "" };
        eprintln!("ranks       {ranks}, {reduction} sums of gradients{sharded}");
        let micro_batches = train.batch_rows.div_ceil(self.micro_batch_rows);
        if micro_batches < ranks {
            eprintln!(
                "warning: a batch has {micro_batches} micro-batches for {ranks} ranks: lower train.micro_batch_rows, or raise train.batch_rows"
            );
        }
    }

    fn print_memory(&self) {
        let needed = format_bytes(self.memory_bytes);
        match self.available_bytes {
            Some(bytes) => eprintln!("memory      about {needed} of {}", format_bytes(bytes)),
            None => eprintln!("memory      about {needed}"),
        }
        if self.micro_batch_tokens < self.micro_batch_rows * self.recipe.data.max_length {
            let tokens = format_count(self.micro_batch_tokens as u64);
            eprintln!("            micro-batches are cut to {tokens} tokens to fit; the batch stays the same");
        }
        if self.available_bytes.is_some_and(|available| available < self.memory_bytes) {
            let advice = if self.recipe.train.recompute { "" } else { "; train.recompute=true takes less" };
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
            self.micro_batch_rows,
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
        self.print_ranks();
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
        if let Some(free) =
            fs4::available_space(nearest(&self.out)).ok().filter(|free| *free < kept * self.checkpoint_bytes)
        {
            let free = format_bytes(free);
            eprintln!("warning: the disk has {free} free; lower checkpoint.keep, or name an --out on a larger one");
        }
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
