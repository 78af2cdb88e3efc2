//! `anaume bench load`: whether threads together give the rows of one alone, then how fast batches come.

use std::path::PathBuf;

use anaume_core::batch::Batch;
use anaume_core::optim::{AdamW, AdamWConfig};
use anaume_core::train_step::Trainer;
use serde_json::json;

use super::{quartiles, step, time};
use crate::data::dataset::Dataset;
use crate::data::loader::{Cursor, Loader, LoaderConfig, Tokenize};
use crate::device::{Choice, check_precision};
use crate::exit::{Coded, Exit};
use crate::model::{load_config, load_masked_lm};
use crate::progress::format_count;
use crate::recipe::Recipe;
use crate::train::tokenize;

/// Arguments of `anaume bench load`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder that `anaume data prepare` wrote
    data: PathBuf,
    /// Recipe: a TOML file, or quickstart, tiny, train, stage1, stage2
    #[arg(long)]
    recipe: String,
    /// Model folder, for its tokenizer and vocabulary
    #[arg(long)]
    model: PathBuf,
    /// Change a recipe key: section.key=value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Threads that prepare batches [default: the recipe's data.num_threads]
    #[arg(long)]
    threads: Option<usize>,
    /// Steps whose batches a run loads, from the first row on
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Timed runs after one warm-up
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of a training step, to say which share of it loading would be
    #[arg(long, value_name = "SECONDS")]
    step_seconds: Option<f64>,
    /// Measure a training step of the model for that, by one micro-batch
    #[arg(long, conflicts_with = "step_seconds")]
    measure_step: bool,
    /// Where the step is measured: auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Where batches come from, and how many rows a step takes.
struct Source {
    dataset: Dataset,
    config: LoaderConfig,
    tokenize: Tokenize,
    rows: usize,
    steps: u64,
}

impl Source {
    /// The batches of all steps, one by one.
    fn batches(&self, threads: usize) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Batch>>> {
        let train = self.dataset.split("train")?;
        let (config, tokenize) = (self.config.clone(), self.tokenize.clone());
        let mut loader = Loader::new(train, config, tokenize, Cursor::default(), threads)?;
        Ok((0..self.steps).map(move |_| Ok(loader.next_batch(self.rows)?.0)))
    }
}

/// `anaume bench load`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let recipe = Recipe::load(&args.recipe, &args.overrides)?;
    let tokenizer = crate::tokenizer::load(&args.model)?;
    let config = recipe.loader_config(&tokenizer, &load_config(&args.model)?);
    let dataset = Dataset::open(&args.data)?;
    let rows = recipe.train.batch_rows;
    let source = Source { dataset, config, tokenize: tokenize(tokenizer), rows, steps: args.steps };
    let threads = args.threads.unwrap_or(recipe.data.num_threads).max(1);
    let tokens = compare(&source, threads)?;
    let all = || source.batches(threads)?.try_for_each(|batch| batch.map(drop));
    let seconds = time(args.runs, all)?;
    let [first, median, third] = quartiles(&seconds);
    let step_seconds = if args.measure_step { Some(measure_step(args, &recipe, &source)?) } else { args.step_seconds };
    let share = step_seconds.map(|step| median / args.steps as f64 / step);
    if args.json {
        let document = json!({
            "what": "load", "recipe": args.recipe, "threads": threads, "steps": args.steps, "tokens": tokens,
            "seconds": median, "quartiles": [first, third],
            "tokens_per_second": tokens as f64 / median, "step_seconds": step_seconds, "share_of_step": share,
        });
        println!("{document:#}");
        return Ok(());
    }
    println!(
        "{threads} thread(s) give the {} batches of one; {} tokens in a median of {median:.3} s of {} runs: {} tokens/s{}",
        format_count(args.steps),
        format_count(tokens as u64),
        seconds.len(),
        format_count((tokens as f64 / median) as u64),
        share.map(|share| format!(", {:.2} % of a step's time", share * 100.0)).unwrap_or_default(),
    );
    Ok(())
}

/// The tokens of all batches, once those of the threads are the same as those of one.
fn compare(source: &Source, threads: usize) -> anyhow::Result<usize> {
    let mut tokens = 0;
    for (number, (one, several)) in source.batches(1)?.zip(source.batches(threads)?).enumerate() {
        let (one, several) = (one?, several?);
        if one != several {
            let message = format!("batch {number} of {threads} threads is not that of one");
            return Err(Coded::error(Exit::Data, message));
        }
        tokens += one.num_tokens;
    }
    Ok(tokens)
}

/// Seconds of a step, from a micro-batch of the data: its parts are alike.
fn measure_step(args: &Args, recipe: &Recipe, source: &Source) -> anyhow::Result<f64> {
    let ready = args.device.open()?;
    check_precision(&ready.device, recipe.train.precision)?;
    let model = load_masked_lm(&args.model, &load_config(&args.model)?, &ready.device)?;
    let mut trainer = Trainer::new(model, AdamW::new(AdamWConfig::default()), recipe.train.precision)?;
    trainer.recompute = recipe.train.recompute;
    let rows = recipe.train.micro_batch_rows.min(source.rows);
    let mut loader = Loader::new(
        source.dataset.split("train")?,
        source.config.clone(),
        source.tokenize.clone(),
        Cursor::default(),
        1,
    )?;
    let batch = loader.next_batch(rows)?.0;
    let seconds = time(3, || step(&mut trainer, &batch))?;
    Ok(quartiles(&seconds)[1] * source.rows as f64 / rows as f64)
}
