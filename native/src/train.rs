//! `anaume pretrain`: the whole training loop, from a recipe to checkpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anaume_core::batch::Batch;
use anaume_core::config::ModelConfig;
use anaume_core::optim::{AdamW, Shard};
use anaume_core::plot::{Run, loss_chart};
use anaume_core::report::{Record, StepRecord, ValidationRecord};
use anaume_core::tokenizer::Tokenizer;
use anaume_core::train_step::{Evaluation, StepOutcome, Trainer};
use burn::tensor::Device;

use crate::checkpoint::{self, TrainerState};
use crate::dashboard::Watch;
use crate::data::dataset::Dataset;
use crate::data::loader::{Loader, Tokenize};
use crate::device::{Choice, Ready, check_precision};
use crate::exit::{Coded, Exit};
use crate::figures::write_figure;
use crate::files::read;
use crate::logs::read_metrics;
use crate::model::{load_config, load_masked_lm, tokenizer_files};
use crate::plan::Plan;
use crate::progress::format_count;
use crate::ranks::Ranks;
use crate::recipe::{OnNonFinite, Recipe, Reduction};
use crate::reduce::{Reducer, gather_parameters};
use crate::resume::{resume, take};
use crate::run_record::{Journal, METRICS, facts, identity, manifest};
use crate::signals::Interrupt;
use crate::{bench, host};

/// Arguments of `anaume pretrain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Recipe: a TOML file, or quickstart, tiny, train, stage1, stage2
    #[arg(long)]
    pub recipe: String,
    /// Folder that `anaume data prepare` wrote
    #[arg(long)]
    pub data: PathBuf,
    /// Model folder to start from (`anaume model init`, or any trained model)
    #[arg(long)]
    pub model: PathBuf,
    /// Run folder: checkpoints, logs and figures
    #[arg(long)]
    pub out: PathBuf,
    /// Go on from the newest good checkpoint of the run folder, or from the one named
    #[arg(long, num_args = 0..=1, default_missing_value = "latest")]
    pub resume: Option<String>,
    /// Change a recipe key: section.key=value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Stop after this step of the run, with a checkpoint and exit code 0
    #[arg(long)]
    pub stop_after: Option<u64>,
    /// What a loss or gradient that is not finite does [default: the recipe's train.on_nonfinite]
    #[arg(long)]
    pub on_nonfinite: Option<OnNonFinite>,
    /// How gradients are summed over ranks: exact gives the same bits whatever their number [default: the recipe's
    /// train.reduction]
    #[arg(long)]
    pub reduction: Option<Reduction>,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    pub device: Choice,
    /// Memory that the run may take, in GiB: micro-batches are cut to fit [default on the CPU: what is free]
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// Show a line now and then instead of the dashboard that terminals get
    #[arg(long)]
    pub plain: bool,
    /// Print the plan with memory, disk and time, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print the plan as one JSON document
    #[arg(long, requires = "dry_run")]
    pub json: bool,
}

/// `anaume pretrain`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ranks = Ranks::join()?;
    let trained = train(args, &ranks);
    let is_root = ranks.is_root();
    if let Some(parameters) = ranks.conclude(trained)?.filter(|_| is_root) {
        println!("parameters blake3 {parameters}");
    }
    Ok(())
}

/// The whole run, on all ranks. Returns the hash of the final parameters, if it was more than a plan.
fn train(args: &Args, ranks: &Ranks) -> anyhow::Result<Option<String>> {
    let opened = ranks.all_fine(open(args, ranks))?;
    let Opened { plan, config, dataset, ready } = opened;
    if args.dry_run {
        return dry_run(plan, &ready, args.json, ranks).map(|()| None);
    }
    if ranks.is_root() {
        plan.print();
    }
    let interrupt = Interrupt::listen()?;
    Session::open(args, plan, config, &dataset, ready, ranks)?.run(interrupt).map(Some)
}

/// What a run is made of.
struct Opened {
    plan: Plan,
    config: ModelConfig,
    dataset: Dataset,
    ready: Ready,
}

fn open(args: &Args, ranks: &Ranks) -> anyhow::Result<Opened> {
    let mut recipe = Recipe::load(&args.recipe, &args.overrides)?;
    recipe.train.on_nonfinite = args.on_nonfinite.unwrap_or(recipe.train.on_nonfinite);
    recipe.train.reduction = args.reduction.unwrap_or(recipe.train.reduction);
    let config = load_config(&args.model)?;
    let dataset = Dataset::open(&args.data)?;
    let ready = args.device.open_nth(ranks.local_rank)?;
    check_precision(&ready.device, recipe.train.precision)?;
    recipe.check_length(&config)?;
    let on_host = ready.device == Device::flex();
    let available = match args.memory {
        Some(gib) => Some((gib * f64::from(1 << 30)) as u64),
        None => host::available_memory_bytes().filter(|_| on_host).map(|bytes| bytes / ranks.local_size as u64),
    };
    let places = [args.data.as_path(), &args.model, &args.out];
    let plan = Plan::new(&recipe, &config, &dataset, &ready.description, available, places, ranks.size);
    Ok(Opened { plan, config, dataset, ready })
}

fn dry_run(mut plan: Plan, ready: &Ready, json: bool, ranks: &Ranks) -> anyhow::Result<()> {
    let peak = bench::matmul_peak(&ready.device, plan.recipe.train.precision)?;
    plan.step_secs = Some(plan.step_flops / peak / ranks.size as f64);
    if !ranks.is_root() {
        return Ok(());
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        plan.print();
    }
    Ok(())
}

/// A run: the trainer, where it stands, and its logs.
struct Session<'a> {
    plan: Plan,
    config: ModelConfig,
    tokenizer_files: Vec<(&'static str, Vec<u8>)>,
    trainer: Trainer,
    state: TrainerState,
    loader: Loader,
    validation: Vec<Batch>,
    matmul_peak: f64,
    stop_after: u64,
    ranks: &'a Ranks,
    /// None where one process sums what it computes itself.
    reducer: Option<Reducer>,
    /// Of the rank that writes.
    journal: Option<Journal>,
}

impl<'a> Session<'a> {
    fn open(
        args: &Args,
        mut plan: Plan,
        config: ModelConfig,
        dataset: &Dataset,
        ready: Ready,
        ranks: &'a Ranks,
    ) -> anyhow::Result<Self> {
        let out = &args.out;
        let taken = ranks.all_fine(if ranks.is_root() { take(args).map(Some) } else { Ok(None) })?;
        let (lock, resumed) = taken.unzip();
        // One rank looks for the checkpoint, all read it.
        let resumed = ranks.root_says(resumed.flatten().map(|path| path.display().to_string()).unwrap_or_default())?;
        let resumed = (!resumed.is_empty()).then(|| PathBuf::from(resumed));
        plan.micro_batch_tokens = ranks.least(plan.micro_batch_tokens as u64)? as usize;
        let train = plan.recipe.train.clone();

        let load = || {
            let tokenizer = crate::tokenizer::load(&args.model)?;
            anaume_core::infer::check_rows(config.vocab_size, &tokenizer)?;
            let loader_config = plan.recipe.loader_config(&tokenizer, &config);
            let tokenizer_hash = blake3::hash(&read(&crate::tokenizer::vocabulary(&args.model)?)?).to_hex().to_string();
            let manifest = manifest(&plan, &config, dataset, &tokenizer_hash)?;
            let model = load_masked_lm(resumed.as_deref().unwrap_or(&args.model), &config, &ready.device)?;
            let mut optimizer = AdamW::new(plan.recipe.optim);
            if train.shard_optimizer {
                optimizer.shard = Shard { index: ranks.rank, count: ranks.size };
            }
            let mut trainer = Trainer::new(model, optimizer, train.precision)?;
            trainer.recompute = train.recompute;
            let identity = identity(&manifest);
            let state = match &resumed {
                Some(dir) => resume(dir, &mut trainer, &identity)?,
                None => TrainerState::start(identity),
            };
            let tokenize = tokenize(tokenizer);
            let validation = plan.validation_set(dataset, &loader_config, tokenize.clone())?;
            let num_threads = plan.recipe.data.num_threads;
            let loader = Loader::new(dataset.split("train")?, loader_config, tokenize, state.cursor, num_threads)?;
            let matmul_peak = bench::matmul_peak(&ready.device, train.precision)?;
            Ok((manifest, trainer, state, loader, validation, matmul_peak, tokenizer_files(&args.model)?))
        };
        let loaded = ranks.all_fine(load())?;
        let (manifest, mut trainer, state, loader, validation, matmul_peak, tokenizer_files) = loaded;
        if ranks.size > 1 {
            ranks.require_same(&facts(&manifest, &mut trainer, &state, args.stop_after)?)?;
        }
        let alone = ranks.size == 1 && train.reduction != Reduction::Exact;
        let reducer = (!alone).then(|| Reducer::new(&mut trainer.model, train.reduction, &ready.device)).transpose()?;
        // Last: whatever fails before leaves checkpoints and logs of an earlier session as they are.
        let open_journal = |lock| {
            if let Some(dir) = &resumed {
                eprintln!("resumed     {} at step {}", dir.display(), format_count(state.step));
            }
            let watch = Watch::new(train.max_steps, state.step, args.plain);
            Journal::open(out, &manifest, &state, resumed.is_some(), watch, lock)
        };
        let journal = ranks.all_fine(lock.map(open_journal).transpose())?;
        let stop_after = args.stop_after.unwrap_or(u64::MAX).min(train.max_steps);
        Ok(Self {
            plan,
            config,
            tokenizer_files,
            trainer,
            state,
            loader,
            validation,
            matmul_peak,
            stop_after,
            ranks,
            reducer,
            journal,
        })
    }

    /// Trains to the last step; returns the hash of the final parameters.
    fn run(mut self, interrupt: &Interrupt) -> anyhow::Result<String> {
        let recipe = self.plan.recipe.clone();
        self.validate_if_due(interrupt)?;
        while self.state.step < self.stop_after {
            if self.ranks.any(interrupt.is_set()) {
                return self.interrupted();
            }
            let record = match self.step(interrupt) {
                Ok(Some(record)) => record,
                Ok(None) => return self.interrupted(),
                Err(error) => return Err(self.saved_after(error)),
            };
            // A step that cannot be logged is not saved either: a resume takes it again.
            self.log(&Record::Step(record.clone()))?;
            self.show(|watch| watch.step(&record));
            let step = self.state.step;
            self.validate_if_due(interrupt)?;
            if step < self.stop_after && step.is_multiple_of(recipe.checkpoint.every_steps) {
                self.save()?;
            }
        }
        let path = self.save()?;
        if let Some(journal) = self.journal.take() {
            let figure = self.plot()?;
            journal.watch.finish(&format!("{} written", path.display()));
            eprintln!("loss curve  {} and .png", figure.display());
            eprintln!("checkpoint  {}", path.display());
        }
        Ok(self.state.parameters_blake3)
    }

    /// Shows something where the run is watched.
    fn show(&self, what: impl FnOnce(&Watch)) {
        if let Some(journal) = &self.journal {
            what(&journal.watch);
        }
    }

    /// One optimizer step. `None` if a signal came before its gradients were complete: then it has not happened.
    fn step(&mut self, interrupt: &Interrupt) -> anyhow::Result<Option<StepRecord>> {
        let train = self.plan.recipe.train.clone();
        let start = Instant::now();
        let read = self.micro_batches();
        let (mut micro_batches, cursor) = self.ranks.all_fine(read)?;
        let data_wait_secs = start.elapsed().as_secs_f64();
        let schedule = self.plan.recipe.schedule;
        let learning_rate = self.plan.recipe.optim.lr * schedule.factor(self.state.step, train.max_steps);
        let loss_scale = self.trainer.loss_scale.map(|scale| scale.factor);
        let outcome = loop {
            match self.compute(&micro_batches, learning_rate, interrupt) {
                Ok(Some(outcome)) => break outcome,
                Ok(None) => return Ok(None),
                Err(error) => micro_batches = self.split(micro_batches, error)?,
            }
        };
        // With loss scaling a gradient overflows now and then: the scale has been halved and the step is skipped. A loss that
        // is not finite, or an overflow at scale 1, is no matter of the scale.
        let overflow = outcome.loss.is_finite() && loss_scale.is_some_and(|scale| scale > 1.0);
        if !outcome.applied && !overflow && train.on_nonfinite == OnNonFinite::Stop {
            return Err(self.ranks.agreed(self.non_finite(&micro_batches, outcome)));
        }
        let step_secs = start.elapsed().as_secs_f64();
        let sum = |of: fn(&Batch) -> usize| micro_batches.iter().map(of).sum::<usize>() as u64;
        let (tokens, real_tokens) = (sum(|batch| batch.num_tokens + batch.num_padding), sum(|batch| batch.num_tokens));
        let flops = micro_batches.iter().map(|batch| batch_flops(&self.config, batch)).sum::<f64>();
        let record = StepRecord {
            step: self.state.step + 1,
            epoch: self.state.cursor.epoch,
            loss: outcome.loss,
            accuracy: outcome.accuracy,
            learning_rate,
            grad_norm: outcome.grad_norm,
            tokens,
            non_padding_tokens: real_tokens,
            tokens_per_second: tokens as f64 / step_secs,
            non_padding_tokens_per_second: real_tokens as f64 / step_secs,
            data_wait_secs,
            step_secs,
            mfu: Some(flops / step_secs / self.matmul_peak / self.ranks.size as f64),
            peak_memory_bytes: host::peak_memory_bytes(),
            loss_scale,
            skipped: !outcome.applied,
            reduction_wait_secs: self.reducer.as_ref().map(|reducer| reducer.wait.as_secs_f64()),
        };
        self.state.step += 1;
        self.state.cursor = cursor;
        self.state.tokens += tokens;
        self.state.non_padding_tokens += real_tokens;
        Ok(Some(record))
    }

    /// Gradients and update. `None` as [`Self::step`] says.
    fn compute(
        &mut self,
        micro_batches: &[Batch],
        learning_rate: f64,
        interrupt: &Interrupt,
    ) -> anaume_core::Result<Option<StepOutcome>> {
        let num_masked = micro_batches.iter().map(|batch| batch.masked.len()).sum();
        if let Some(reducer) = &mut self.reducer {
            reducer.accumulate(&mut self.trainer, micro_batches, num_masked, self.ranks)?;
        } else {
            for batch in micro_batches {
                if interrupt.is_set() {
                    self.trainer.discard();
                    return Ok(None);
                }
                self.trainer.accumulate(batch, num_masked)?;
            }
        }
        // The step's only wait for the device.
        let outcome = pollster::block_on(self.trainer.finish(num_masked, learning_rate))?;
        let shard = self.trainer.optimizer.shard;
        if shard.count > 1 && outcome.applied {
            gather_parameters(&mut self.trainer.model, shard, self.ranks)?;
        }
        Ok(Some(outcome))
    }

    /// Halves the micro-batches of this step and of those to come where the device ran out of memory. The error where that is
    /// not what happened, or a single sequence is too large.
    fn split(&mut self, micro_batches: Vec<Batch>, error: anaume_core::Error) -> anyhow::Result<Vec<Batch>> {
        let largest = micro_batches.iter().map(|batch| batch.num_tokens).max().unwrap_or_default();
        let before = micro_batches.len();
        let parts: Vec<Batch> = micro_batches.into_iter().flat_map(|batch| batch.split(largest.div_ceil(2))).collect();
        // The ranks share one batch out: one alone cannot cut it otherwise.
        if self.reducer.is_some() || !error.is_out_of_memory() || parts.len() == before {
            return Err(error.into());
        }
        self.trainer.discard();
        self.plan.micro_batch_tokens = largest.div_ceil(2);
        let note = format!(
            "warning: the device has no room for {} tokens at once: from here on {} at a time, for the same batch",
            format_count(largest as u64),
            format_count(self.plan.micro_batch_tokens as u64)
        );
        self.show(|watch| watch.note(&note));
        Ok(parts)
    }

    fn micro_batches(&mut self) -> anyhow::Result<(Vec<Batch>, crate::data::loader::Cursor)> {
        let train = &self.plan.recipe.train;
        let (mut micro_batches, mut left, mut cursor) = (Vec::new(), train.batch_rows, self.state.cursor);
        while left > 0 {
            let rows = left.min(self.plan.micro_batch_rows);
            let (batch, after) = self.loader.next_batch(rows)?;
            micro_batches.extend(batch.split(self.plan.micro_batch_tokens));
            (left, cursor) = (left - rows, after);
        }
        Ok((micro_batches, cursor))
    }

    fn non_finite(&self, micro_batches: &[Batch], outcome: StepOutcome) -> anyhow::Error {
        let documents: Vec<_> = micro_batches
            .iter()
            .flat_map(|batch| &batch.documents)
            .map(|document| self.loader.document_id(*document).unwrap_or_else(|_| document.to_string()))
            .collect();
        let more = if documents.len() > 20 { ", …" } else { "" };
        let shown = documents.iter().take(20).cloned().collect::<Vec<_>>().join(", ") + more;
        let message = format!(
            "step {}: loss {}, gradient norm {}: the parameters were left as they are. Documents of the batch: {shown}. \
             Resume with a lower optim.lr, or with --on-nonfinite skip",
            self.state.step + 1,
            outcome.loss,
            outcome.grad_norm,
        );
        Coded::error(Exit::Numerical, message)
    }

    /// Validates at step 0 and every so many steps, once: what a signal broke off is done after the resume.
    fn validate_if_due(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let (step, every) = (self.state.step, self.plan.recipe.validation.every_steps);
        if every == 0 || !step.is_multiple_of(every) || self.state.validated_step == Some(step) {
            return Ok(());
        }
        let Some(record) = self.validate(interrupt)? else { return Ok(()) };
        self.state.validated_step = Some(step);
        self.show(|watch| watch.validation(&record));
        self.log(&Record::Validation(record))
    }

    /// The loss over the fixed validation set. `None` if there is none or a signal came.
    fn validate(&self, interrupt: &Interrupt) -> anyhow::Result<Option<ValidationRecord>> {
        let start = Instant::now();
        let (model, mut evaluation) = (self.trainer.frozen_model()?, Evaluation::default());
        for batch in self.validation.iter().skip(self.ranks.rank).step_by(self.ranks.size) {
            if self.ranks.size == 1 && interrupt.is_set() {
                return Ok(None);
            }
            pollster::block_on(evaluation.add(&model, batch))?;
        }
        let mut sums = evaluation.sums();
        self.ranks.sum_f64(&mut sums);
        let evaluation = Evaluation::of_sums(sums);
        if evaluation.num_masked == 0 {
            return Ok(None);
        }
        Ok(Some(ValidationRecord {
            step: self.state.step,
            loss: evaluation.loss(),
            accuracy: evaluation.accuracy(),
            masked_tokens: evaluation.num_masked as u64,
            secs: start.elapsed().as_secs_f64(),
        }))
    }

    fn log(&mut self, record: &Record) -> anyhow::Result<()> {
        let logged = self.journal.as_mut().map_or(Ok(()), |journal| journal.log(record));
        self.ranks.all_fine(logged)
    }

    fn save(&mut self) -> anyhow::Result<PathBuf> {
        if let Some(journal) = &self.journal {
            self.state.metrics_bytes = journal.sync()?;
        }
        let out = self.plan.out.clone();
        let (trainer, state) = (&mut self.trainer, &mut self.state);
        let path = checkpoint::save(&out, trainer, &self.config, &self.tokenizer_files, state, self.ranks)?;
        if self.ranks.is_root() {
            checkpoint::prune(&out, self.plan.recipe.checkpoint.keep, &path)?;
        }
        Ok(path)
    }

    fn interrupted(mut self) -> anyhow::Result<String> {
        let path = self.save()?;
        if let Some(journal) = self.journal.take() {
            self.plot()?;
            journal.watch.finish("interrupted");
        }
        let message =
            format!("interrupted at step {}; {} is written: go on with --resume", self.state.step, path.display());
        Err(self.ranks.agreed(Coded::error(Exit::Interrupted, message)))
    }

    /// Saves what the failed step has not touched, so that a resume loses nothing; the error stays that of the step.
    fn saved_after(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.trainer.discard();
        if !self.ranks.all_know() {
            return error;
        }
        match self.save() {
            Ok(path) if self.ranks.is_root() => {
                eprintln!("checkpoint  {} (before the step that failed)", path.display())
            }
            Ok(_) => {}
            Err(cause) => {
                // The others may wait for this one.
                self.ranks.alone_with_error();
                eprintln!("warning: no checkpoint could be written: {cause:#}");
            }
        }
        error
    }

    fn plot(&self) -> anyhow::Result<PathBuf> {
        let records = read_metrics(&self.plan.out.join(METRICS))?;
        let chart = loss_chart("Masked-LM loss", &[Run::from_records("", &records)]);
        Ok(write_figure(&self.plan.out, "loss", &chart)?.svg)
    }
}

fn batch_flops(config: &ModelConfig, batch: &Batch) -> f64 {
    let lengths = &batch.sequences.lengths;
    let encoder: f64 = lengths.iter().map(|length| config.encoder_flops_per_token(*length) * *length as f64).sum();
    3.0 * (encoder + config.head_flops_per_token() * batch.masked.len() as f64)
}

/// Token ids of a part of a document, without special tokens.
pub fn tokenize(tokenizer: Tokenizer) -> Tokenize {
    Arc::new(move |text, part| Ok(tokenizer.encode_part(text, part)?.ids))
}
