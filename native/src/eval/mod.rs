//! `anaume eval`: every protocol of the Japanese encoder suite, one file each, run by one driver into one result format.
//!
//! A protocol turns its arguments into [`Evaluation`]s: what to compute for one model. The driver loads each model,
//! skips what the results folder holds already, times the rest, and writes a report with the per-example predictions.

pub mod alignment;
pub mod all;
pub mod data;
pub mod draw;
pub mod embeddings;
pub mod fill_mask;
mod finetune;
pub mod jglue;
pub mod pseudo_perplexity;
pub mod results;
pub mod retrieval;
mod rows;
mod scores;
pub mod similarity;
pub mod subject;
mod tasks;
mod text_pairs;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anaume_core::config::Precision;
use anaume_core::metrics::Metric;
use anaume_core::metrics::statistics::Bootstrap;
use anaume_core::report::eval::{EvalConfig, EvalReport, MetricValue, TaskResult};
use serde_json::{Value, json};

use crate::checkpoint;
use crate::device::{Choice, Inference};
use crate::exit::{Coded, Exit};
use crate::host;
use crate::plan::name;
use crate::progress::{Progress, format_duration};
use crate::signals::Interrupt;
use results::{Cell, Partial};
use subject::Subject;

/// Subcommands of `anaume eval`.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// Fine-tune and evaluate on JGLUE and JCoLA
    #[command(
        after_help = "Examples:\n  anaume eval jglue --model model/ --data data/ --out results/ --grid llm-jp-paper\n  \
        anaume eval jglue --model a/ --model b/ --data data/ --task jsts --task jnli --seeds 0,1,2 --out results/"
    )]
    Jglue(jglue::Args),
    /// Search passages by vectors, with BM25 beside
    Retrieval(retrieval::Args),
    /// Pseudo-perplexity by length, per token and per character
    PseudoPerplexity(pseudo_perplexity::Args),
    /// Alignment and uniformity of vectors, also along a training run
    Alignment(alignment::Args),
    /// Distributions of the similarity of random and positive pairs
    Similarity(similarity::Args),
    /// Prompts with gold answers: top-k accuracy, rank and probability
    FillMask(fill_mask::Args),
    /// Every protocol that the data allows, for every model, in one plan
    All(all::Args),
}

/// `anaume eval …`.
pub fn run(command: &Command) -> anyhow::Result<()> {
    let (common, inference, evaluations) = match command {
        Command::Jglue(args) => (&args.common, Inference::default(), jglue::some_evaluations(args)?),
        Command::Retrieval(args) => (&args.common, args.inference, retrieval::evaluations(args)?),
        Command::PseudoPerplexity(args) => (&args.common, args.inference, pseudo_perplexity::evaluations(args)?),
        Command::Alignment(args) => (&args.common, args.inference, alignment::evaluations(args)?),
        Command::Similarity(args) => (&args.common, args.inference, similarity::evaluations(args)?),
        Command::FillMask(args) => (&args.common, args.inference, fill_mask::evaluations(args)?),
        Command::All(args) => return all::run(args),
    };
    let reports = run_all(common, inference, &evaluations)?;
    print(&reports, common.json)?;
    draw::draw(&common.out, &reports)?;
    match command {
        Command::FillMask(_) if !common.json => fill_mask::print_comparison(common, &reports),
        _ => Ok(()),
    }
}

/// `anaume finetune`.
pub fn finetune(args: &jglue::FineTuneArgs) -> anyhow::Result<()> {
    print(&run_all(&args.common, Inference::default(), &jglue::finetune_runs(args)?)?, args.common.json)
}

/// One evaluation of one model: a task with its data and options.
pub trait Evaluation {
    /// Name of the task in results, such as `pseudo-perplexity-wiki_kyoto`: letters, digits, `-`, `_`.
    fn task(&self) -> String;

    /// Name of one of several runs of the task, such as `lr3e-5_ep3_seed0`; empty where there is one.
    fn cell(&self) -> String {
        String::new()
    }

    /// Everything but the model that decides the numbers: options, hashes of the data. Part of a result's identity.
    fn config(&self) -> Value;

    /// What its matrix products take where `asked` is asked for.
    fn precision(&self, asked: Precision) -> Precision {
        asked
    }

    /// Rough count of encoder passes over a token for a model that cuts `chars_per_token`; training counts three.
    fn cost(&self, chars_per_token: f64) -> f64;

    /// Computes it.
    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome>;
}

/// What an evaluation found, with one JSON line for each example.
#[derive(Default)]
pub struct Outcome {
    /// Metrics and what belongs to them.
    pub result: TaskResult,
    /// Examples in order: at least `doc_id`, and what was asked, expected and answered.
    pub samples: Vec<Value>,
}

/// What the driver gives to a running evaluation.
pub struct Context<'a> {
    /// Seed of sampling, shuffling and resampling.
    pub seed: u64,
    /// Resamples of each bootstrap interval.
    pub bootstrap: usize,
    /// Results folder; caches live in it.
    pub out: &'a Path,
    /// Folder of this cell: for files beside the report, such as a fine-tuned model.
    pub cell_dir: PathBuf,
    /// Examples that an interrupted run left, and where to note more.
    pub partial: Partial,
    interrupt: &'a Interrupt,
}

impl Context<'_> {
    /// Fails with exit code 75 once a signal came. Call it between batches; what [`Self::partial`] noted is kept.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.interrupt.is_set() {
            true => Err(Coded::error(Exit::Interrupted, "interrupted; run the same command again to go on")),
            false => Ok(()),
        }
    }

    /// A metric of all examples with its standard error and 95 % interval over them; `statistic` takes the indices of those
    /// of a resample. An interval that is undefined is left out.
    pub fn bootstrapped(
        &self,
        num_examples: usize,
        higher_is_better: bool,
        mut statistic: impl FnMut(&[usize]) -> Metric,
    ) -> MetricValue {
        let all: Vec<usize> = (0..num_examples).collect();
        let mut metric = MetricValue::new(statistic(&all), higher_is_better);
        if let (Ok(_), Ok(bootstrap)) =
            (&metric.value, Bootstrap::new(num_examples, self.seed, self.bootstrap, statistic))
        {
            metric.stderr = bootstrap.standard_error().ok();
            metric.interval = bootstrap.interval(0.95).ok().map(|interval| [interval.low, interval.high]);
        }
        metric
    }

    /// A progress bar for a number of units.
    pub fn progress(&self, total: u64, unit: &'static str) -> Progress {
        Progress::new(total, unit, 0)
    }
}

/// Arguments that every protocol takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// Model folder; give it several times to compare models
    #[arg(long, required_unless_present = "trajectory")]
    pub model: Vec<PathBuf>,
    /// Run folder: evaluate every checkpoint in it, for figures along training
    #[arg(long, value_name = "RUN")]
    pub trajectory: Vec<PathBuf>,
    /// Results folder: reports, per-example predictions, figures
    #[arg(long)]
    pub out: PathBuf,
    /// Seed of sampling, shuffling and resampling
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Resamples of each bootstrap interval
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub bootstrap: usize,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    pub device: Choice,
    /// Compute again what the results folder holds already
    #[arg(long)]
    pub again: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

impl Common {
    /// The model folders, with the checkpoints of the runs from the oldest on.
    fn models(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut models = self.model.clone();
        for run in &self.trajectory {
            let checkpoints = checkpoint::list(run)?;
            if checkpoints.is_empty() {
                let message = format!("{} holds no checkpoint: a folder such as step-00000500", run.display());
                return Err(Coded::error(Exit::Usage, message));
            }
            models.extend(checkpoints.into_iter().map(|(_, path)| path).filter(|path| !self.model.contains(path)));
        }
        Ok(models)
    }
}

/// Runs evaluations for every model; returns the reports in the order models × evaluations.
pub fn run_all(
    common: &Common,
    inference: Inference,
    evaluations: &[Box<dyn Evaluation>],
) -> anyhow::Result<Vec<EvalReport>> {
    let ready = inference.open(&common.device)?;
    let interrupt = Interrupt::listen()?;
    let models = common.models()?;
    let names = subject::names(&models);
    let mut reports = Vec::new();
    for (dir, name) in models.iter().zip(&names) {
        let subject = Subject::open(dir, name, &ready, inference.precision)?;
        for evaluation in evaluations {
            reports.push(run_one(common, &subject, evaluation.as_ref(), interrupt)?);
        }
    }
    Ok(reports)
}

/// Runs one evaluation of one model, or reads what an earlier run found.
pub fn run_one(
    common: &Common,
    subject: &Subject,
    evaluation: &dyn Evaluation,
    interrupt: &Interrupt,
) -> anyhow::Result<EvalReport> {
    let config = config(common, evaluation);
    let mut cell = Cell::of(common, subject, evaluation, &config)?;
    let label = format!("{} · {}", subject.identity.name, cell.label());
    if let Some(report) = cell.finished.take().filter(|_| !common.again) {
        eprintln!("{label}: done before");
        return Ok(report);
    }
    eprintln!("{label}");
    let start = Instant::now();
    let mut context = Context {
        seed: common.seed,
        bootstrap: common.bootstrap,
        out: &common.out,
        cell_dir: cell.dir.clone(),
        partial: cell.partial(common.again)?,
        interrupt,
    };
    let mut outcome = evaluation.run(subject, &mut context)?;
    outcome.result.precision = cell.precision;
    let seconds = start.elapsed().as_secs_f64();
    let mut report = EvalReport::new(subject.identity.clone(), eval_config(common, subject));
    report.git_hash = option_env!("ANAUME_GIT_COMMIT").map(str::to_owned);
    report.date = host::unix_seconds();
    report.pretty_env_info = host::description();
    report.add(&evaluation.task(), outcome.result, config, cell.identity.clone(), seconds);
    cell.write(&report, &outcome.samples)?;
    eprintln!("{label}: {} in {}", summary(&report, &evaluation.task()), format_duration(start.elapsed()));
    Ok(report)
}

/// Everything but the model that decides the numbers of an evaluation.
fn config(common: &Common, evaluation: &dyn Evaluation) -> Value {
    json!({ "options": evaluation.config(), "seed": common.seed, "bootstrap": common.bootstrap })
}

fn eval_config(common: &Common, subject: &Subject) -> EvalConfig {
    EvalConfig {
        model: "anaume".into(),
        model_args: subject.dir.display().to_string(),
        device: subject.device_name.clone(),
        random_seed: common.seed,
        bootstrap_iters: common.bootstrap,
        command_line: std::env::args().skip(1).collect(),
    }
}

/// The main metric of a task in words, with its interval.
pub fn summary(report: &EvalReport, task: &str) -> String {
    let Some(name) = report.main_metric.get(task) else { return "no metric".into() };
    match report.metric(task, name) {
        Some(metric) => match (metric.value, metric.interval) {
            (Ok(value), Some([low, high])) => format!("{name} {value:.4} [{low:.4}, {high:.4}]"),
            (Ok(value), None) => format!("{name} {value:.4}"),
            (Err(reason), _) => format!("{name} undefined: {reason}"),
        },
        None => format!("{name} –"),
    }
}

/// Prints reports: one JSON document, or a table with every metric, its interval, the baselines and the notes.
pub fn print(reports: &[EvalReport], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&json!({ "reports": reports }))?);
        return Ok(());
    }
    for report in reports {
        for task in report.results.keys() {
            let [model, precision] = [&report.model.name, &name(report.precision(task))];
            println!("{model} · {task} ({} examples, {precision})", report.n_samples[task].effective);
            let names = report.metric_names(task);
            let width = names.iter().map(String::len).max().unwrap_or(0);
            names.iter().for_each(|name| print_metric(report, task, name, width));
            report.notes.get(task).into_iter().flatten().for_each(|note| println!("    note: {note}"));
        }
    }
    Ok(())
}

fn print_metric(report: &EvalReport, task: &str, name: &str, width: usize) {
    let Some(metric) = report.metric(task, name) else { return };
    let value = match (&metric.value, metric.interval) {
        (Ok(value), Some([low, high])) => format!("{value:>9.4}  [{low:.4}, {high:.4}]"),
        (Ok(value), None) => format!("{value:>9.4}"),
        (Err(reason), _) => format!("{:>9}  {reason}", "–"),
    };
    let baselines = report.baselines.get(task).into_iter().flatten();
    let shown: Vec<_> =
        baselines.filter_map(|(label, values)| Some(format!("{label} {:.4}", values.get(name)?))).collect();
    println!("    {name:<width$}{value}  {}", shown.join("  "));
}
