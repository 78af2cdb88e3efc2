//! `anaume pretrain`: the whole training loop, from a recipe to checkpoints.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anaume_core::batch::Batch;
use anaume_core::config::ModelConfig;
use anaume_core::optim::AdamW;
use anaume_core::plot::{Run, loss_chart};
use anaume_core::report::{Record, StepRecord, ValidationRecord};
use anaume_core::tokenizer::Tokenizer;
use anaume_core::train_step::{Evaluation, StepOutcome, Trainer};
use anyhow::bail;
use burn::tensor::Device;

use crate::checkpoint::{self, TrainerState};
use crate::dashboard::Watch;
use crate::data::dataset::Dataset;
use crate::data::loader::{Loader, LoaderConfig, Tokenize, validation_batches};
use crate::device::{Choice, Ready, check_precision};
use crate::exit::{Coded, Exit};
use crate::figures::write_figure;
use crate::files::{make_dir, read};
use crate::logs::{MetricsLog, TensorBoardLog, read_metrics};
use crate::model::{load_config, load_masked_lm, tokenizer_files};
use crate::plan::Plan;
use crate::progress::format_count;
use crate::recipe::{OnNonFinite, Recipe};
use crate::run_record::{METRICS, check_log, identity, manifest, open_logs};
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
    let mut recipe = Recipe::load(&args.recipe, &args.overrides)?;
    recipe.train.on_nonfinite = args.on_nonfinite.unwrap_or(recipe.train.on_nonfinite);
    let config = load_config(&args.model)?;
    let dataset = Dataset::open(&args.data)?;
    let ready = args.device.open()?;
    check_precision(&ready.device, recipe.train.precision)?;
    check_length(&recipe, &config)?;
    let on_host = ready.device == Device::flex();
    let available = match args.memory {
        Some(gib) => Some((gib * f64::from(1 << 30)) as u64),
        None => host::available_memory_bytes().filter(|_| on_host),
    };
    let places = [args.data.as_path(), &args.model, &args.out];
    let plan = Plan::new(&recipe, &config, &dataset, &ready.description, available, places);
    if args.dry_run {
        return dry_run(plan, &ready, args.json);
    }
    plan.print();
    let interrupt = Interrupt::listen()?;
    let parameters = Session::open(args, plan, config, &dataset, ready)?.run(interrupt)?;
    println!("parameters blake3 {parameters}");
    Ok(())
}

fn check_length(recipe: &Recipe, config: &ModelConfig) -> anyhow::Result<()> {
    let (length, largest) = (recipe.data.max_length, config.max_position_embeddings);
    if length > largest {
        let message = format!("data.max_length is {length} and the model takes {largest} (`max_position_embeddings`)");
        bail!(Coded::error(Exit::Usage, message));
    }
    Ok(())
}

fn dry_run(mut plan: Plan, ready: &Ready, json: bool) -> anyhow::Result<()> {
    let peak = bench::matmul_peak(&ready.device, plan.recipe.train.precision)?;
    plan.step_secs = Some(plan.step_flops / peak);
    if json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        plan.print();
    }
    Ok(())
}

/// A run folder in use: the trainer, where it stands, and its logs.
struct Session {
    plan: Plan,
    config: ModelConfig,
    tokenizer_files: Vec<(&'static str, Vec<u8>)>,
    trainer: Trainer,
    state: TrainerState,
    loader: Loader,
    validation: Vec<Batch>,
    metrics: MetricsLog,
    tensorboard: TensorBoardLog,
    matmul_peak: f64,
    stop_after: u64,
    watch: Watch,
    /// Held while the run is in use, so that a second process refuses the folder.
    _lock: File,
}

impl Session {
    fn open(args: &Args, plan: Plan, config: ModelConfig, dataset: &Dataset, ready: Ready) -> anyhow::Result<Self> {
        let out = &args.out;
        make_dir(out)?;
        let lock = checkpoint::lock(out)?;
        checkpoint::clear_leftovers(out)?;
        let tokenizer = crate::tokenizer::load(&args.model)?;
        anaume_core::infer::check_rows(config.vocab_size, &tokenizer)?;
        let loader_config = plan.recipe.loader_config(&tokenizer, &config);
        let tokenizer_hash = blake3::hash(&read(&crate::tokenizer::vocabulary(&args.model)?)?).to_hex().to_string();
        let manifest = manifest(&plan, &config, dataset, &tokenizer_hash)?;
        let identity = identity(&manifest);

        let resumed = checkpoint_to_resume(args)?;
        let parameters_dir = resumed.as_deref().unwrap_or(&args.model);
        let model = load_masked_lm(parameters_dir, &config, &ready.device)?;
        let mut trainer = Trainer::new(model, AdamW::new(plan.recipe.optim), plan.recipe.train.precision)?;
        trainer.recompute = plan.recipe.train.recompute;
        let state = match &resumed {
            Some(dir) => resume(dir, &mut trainer, &identity)?,
            None => TrainerState::start(identity),
        };
        let tokenize = tokenize(tokenizer);
        let validation = validation_set(&plan, dataset, &loader_config, tokenize.clone())?;
        let num_threads = plan.recipe.data.num_threads;
        let loader = Loader::new(dataset.split("train")?, loader_config, tokenize, state.cursor, num_threads)?;
        let stop_after = args.stop_after.unwrap_or(u64::MAX).min(plan.recipe.train.max_steps);
        let matmul_peak = bench::matmul_peak(&ready.device, plan.recipe.train.precision)?;
        let tokenizer_files = tokenizer_files(&args.model)?;
        // Last: whatever fails before leaves checkpoints and logs of an earlier session as they are.
        let goes_on = check_log(out, &state, resumed.is_some())?;
        checkpoint::set_aside_after(out, state.step)?;
        let metrics = open_logs(out, &manifest, &state, goes_on)?;
        let watch = Watch::new(plan.recipe.train.max_steps, state.step, args.plain);
        let tensorboard = TensorBoardLog::create(&out.join("tensorboard"), state.step + 1)?;
        Ok(Self {
            plan,
            config,
            tokenizer_files,
            trainer,
            state,
            loader,
            validation,
            metrics,
            tensorboard,
            matmul_peak,
            stop_after,
            watch,
            _lock: lock,
        })
    }

    /// Trains to the last step; returns the hash of the final parameters.
    fn run(mut self, interrupt: &Interrupt) -> anyhow::Result<String> {
        let recipe = self.plan.recipe.clone();
        self.validate_if_due(interrupt)?;
        while self.state.step < self.stop_after {
            if interrupt.is_set() {
                return self.interrupted();
            }
            let record = match self.step(interrupt) {
                Ok(Some(record)) => record,
                Ok(None) => return self.interrupted(),
                Err(error) => return Err(self.saved_after(error)),
            };
            // A step that cannot be logged is not saved either: a resume takes it again.
            self.log(&Record::Step(record.clone()))?;
            self.watch.step(&record);
            let step = self.state.step;
            self.validate_if_due(interrupt)?;
            if step < self.stop_after && step.is_multiple_of(recipe.checkpoint.every_steps) {
                self.save()?;
            }
        }
        let path = self.save()?;
        let figure = self.plot()?;
        self.watch.finish(&format!("{} written", path.display()));
        eprintln!("loss curve  {} and .png", figure.display());
        eprintln!("checkpoint  {}", path.display());
        Ok(self.state.parameters_blake3)
    }

    /// One optimizer step. `None` if a signal came before its gradients were complete: then it has not happened.
    fn step(&mut self, interrupt: &Interrupt) -> anyhow::Result<Option<StepRecord>> {
        let train = self.plan.recipe.train.clone();
        let start = Instant::now();
        let (mut micro_batches, cursor) = self.micro_batches()?;
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
            return Err(self.non_finite(&micro_batches, outcome));
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
            mfu: Some(flops / step_secs / self.matmul_peak),
            peak_memory_bytes: host::peak_memory_bytes(),
            loss_scale,
            skipped: !outcome.applied,
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
        for batch in micro_batches {
            if interrupt.is_set() {
                self.trainer.discard();
                return Ok(None);
            }
            self.trainer.accumulate(batch, num_masked)?;
        }
        // The step's only wait for the device.
        pollster::block_on(self.trainer.finish(num_masked, learning_rate)).map(Some)
    }

    /// Halves the micro-batches of this step and of those to come where the device ran out of memory. The error where that is
    /// not what happened, or a single sequence is too large.
    fn split(&mut self, micro_batches: Vec<Batch>, error: anaume_core::Error) -> anyhow::Result<Vec<Batch>> {
        let largest = micro_batches.iter().map(|batch| batch.num_tokens).max().unwrap_or_default();
        let before = micro_batches.len();
        let parts: Vec<Batch> = micro_batches.into_iter().flat_map(|batch| batch.split(largest.div_ceil(2))).collect();
        if !error.is_out_of_memory() || parts.len() == before {
            return Err(error.into());
        }
        self.trainer.discard();
        self.plan.micro_batch_tokens = largest.div_ceil(2);
        self.watch.note(&format!(
            "warning: the device has no room for {} tokens at once: from here on {} at a time, for the same batch",
            format_count(largest as u64),
            format_count(self.plan.micro_batch_tokens as u64)
        ));
        Ok(parts)
    }

    fn micro_batches(&mut self) -> anyhow::Result<(Vec<Batch>, crate::data::loader::Cursor)> {
        let train = &self.plan.recipe.train;
        let (mut micro_batches, mut left, mut cursor) = (Vec::new(), train.batch_rows, self.state.cursor);
        while left > 0 {
            let rows = left.min(train.micro_batch_rows);
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
        self.watch.validation(&record);
        self.log(&Record::Validation(record))
    }

    /// The loss over the fixed validation set. `None` if there is none or a signal came.
    fn validate(&self, interrupt: &Interrupt) -> anyhow::Result<Option<ValidationRecord>> {
        let start = Instant::now();
        let (model, mut evaluation) = (self.trainer.frozen_model()?, Evaluation::default());
        for batch in &self.validation {
            if interrupt.is_set() {
                return Ok(None);
            }
            pollster::block_on(evaluation.add(&model, batch))?;
        }
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
        self.metrics.append(record)?;
        self.tensorboard.append(record)
    }

    fn save(&mut self) -> anyhow::Result<PathBuf> {
        self.state.metrics_bytes = self.metrics.sync()?;
        let out = self.plan.out.clone();
        let path = checkpoint::save(&out, &mut self.trainer, &self.config, &self.tokenizer_files, &mut self.state)?;
        checkpoint::prune(&out, self.plan.recipe.checkpoint.keep, &path)?;
        Ok(path)
    }

    fn interrupted(mut self) -> anyhow::Result<String> {
        let path = self.save()?;
        self.plot()?;
        self.watch.finish("interrupted");
        let message =
            format!("interrupted at step {}; {} is written: go on with --resume", self.state.step, path.display());
        Err(Coded::error(Exit::Interrupted, message))
    }

    /// Saves what the failed step has not touched, so that a resume loses nothing; the error stays that of the step.
    fn saved_after(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.trainer.discard();
        match self.save() {
            Ok(path) => eprintln!("checkpoint  {} (before the step that failed)", path.display()),
            Err(cause) => eprintln!("warning: no checkpoint could be written: {cause:#}"),
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

fn checkpoint_to_resume(args: &Args) -> anyhow::Result<Option<PathBuf>> {
    let out = args.out.display();
    let holds_none = checkpoint::list(&args.out)?.is_empty();
    match args.resume.as_deref() {
        None if holds_none => Ok(None),
        None => Err(Coded::error(
            Exit::Usage,
            format!("{out} holds checkpoints: go on with --resume, or name another --out"),
        )),
        Some("latest") => match checkpoint::latest(&args.out)? {
            Some(path) => Ok(Some(path)),
            // So that a scheduler may always pass --resume.
            None if holds_none => Ok(None),
            None => Err(Coded::error(Exit::Data, format!("no checkpoint in {out} is whole"))),
        },
        Some(path) => {
            let path = PathBuf::from(path);
            checkpoint::verify(&path)?;
            let run = path.canonicalize()?.parent().map(Path::to_path_buf);
            if !holds_none && run != Some(args.out.canonicalize()?) {
                let message = format!("{} is not of the run in {out}: name a new --out to branch off", path.display());
                return Err(Coded::error(Exit::Usage, message));
            }
            Ok(Some(path))
        }
    }
}

fn resume(dir: &Path, trainer: &mut Trainer, identity: &str) -> anyhow::Result<TrainerState> {
    let state = checkpoint::load_state(dir)?;
    if state.identity != identity {
        let message = format!(
            "{} belongs to a run with another model, tokenizer, data, seed or [data] section: give what run.json says",
            dir.display()
        );
        bail!(Coded::error(Exit::Usage, message));
    }
    checkpoint::restore(dir, trainer, &state)?;
    eprintln!("resumed     {} at step {}", dir.display(), format_count(state.step));
    Ok(state)
}

fn validation_set(
    plan: &Plan,
    dataset: &Dataset,
    loader_config: &LoaderConfig,
    tokenize: Tokenize,
) -> anyhow::Result<Vec<Batch>> {
    let recipe = &plan.recipe;
    if recipe.validation.every_steps == 0 || dataset.manifest.splits.get("test").is_none_or(|test| test.documents == 0)
    {
        return Ok(Vec::new());
    }
    let rows = (plan.micro_batch_tokens / recipe.data.max_length).min(recipe.validation.max_rows).max(1);
    validation_batches(dataset.split("test")?, loader_config, tokenize, rows, recipe.validation.max_rows)
}

/// Token ids of a part of a document, without special tokens.
pub fn tokenize(tokenizer: Tokenizer) -> Tokenize {
    Arc::new(move |text, part| Ok(tokenizer.encode_part(text, part)?.ids))
}
