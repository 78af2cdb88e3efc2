//! `anaume finetune` and `anaume eval jglue`: which tasks, with which settings, with which seeds.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anaume_core::config::Pooling;
use anyhow::bail;

use super::data::clean;
use super::finetune::{FineTune, Settings};
use super::tasks::{Columns, NAMED, Task, named, own};
use super::{Common, Evaluation};
use crate::exit::{Coded, Exit};
use crate::files::require_dir;

/// Arguments of `anaume eval jglue`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Folder with the files of JGLUE and JCoLA, in their own names and formats
    #[arg(long)]
    pub data: PathBuf,
    /// Tasks [default: all that the data has]
    #[arg(long = "task", value_parser = NAMED)]
    pub tasks: Vec<String>,
    #[command(flatten)]
    pub training: Training,
}

/// Arguments of `anaume finetune`.
#[derive(clap::Args, Clone, Debug)]
pub struct FineTuneArgs {
    /// jsts, jnli, jcola, jsquad, jcommonsenseqa, marc-ja; or classification, regression, span, multiple-choice for files of
    /// your own (--train, --valid)
    #[arg(value_parser = TASKS)]
    pub task: String,
    #[command(flatten)]
    pub common: Common,
    /// Folder with the files of JGLUE and JCoLA
    #[arg(long, required_unless_present = "train")]
    pub data: Option<PathBuf>,
    /// Your training data: .jsonl, .csv or .tsv
    #[arg(long, requires = "valid", conflicts_with = "data")]
    pub train: Option<PathBuf>,
    /// Your validation data, on which settings are chosen
    #[arg(long, requires = "train")]
    pub valid: Option<PathBuf>,
    /// Your test data, on which nothing is chosen
    #[arg(long, requires = "train")]
    pub test: Option<PathBuf>,
    /// Name of your task in results [default: the name of the training file]
    #[arg(long, requires = "train")]
    pub name: Option<String>,
    #[command(flatten)]
    pub columns: Columns,
    #[command(flatten)]
    pub training: Training,
}

const TASKS: [&str; 10] = [
    NAMED[0],
    NAMED[1],
    NAMED[2],
    NAMED[3],
    NAMED[4],
    NAMED[5],
    "classification",
    "regression",
    "span",
    "multiple-choice",
];

/// How models are fine-tuned.
#[derive(clap::Args, Clone, Debug)]
pub struct Training {
    /// Every combination of a preset instead of one setting: `jglue-official` (3 rates × 3 and 4 epochs) or `llm-jp-paper`
    /// (6 rates × 6 numbers of epochs)
    #[arg(long)]
    pub grid: Option<Grid>,
    /// Seeds of new heads and of the order of examples
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub seeds: Vec<u64>,
    /// Peak learning rate, where there is no grid
    #[arg(long, default_value_t = 5e-5)]
    pub learning_rate: f64,
    /// Epochs, where there is no grid
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
    /// Examples of a step
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Longest input in tokens [default: 128; spans 384; the grid llm-jp-paper 512]
    #[arg(long)]
    pub max_length: Option<usize>,
    /// How a sequence becomes one vector [default: the model's `classifier_pooling`]
    #[arg(long, value_parser = pooling)]
    pub pooling: Option<Pooling>,
    /// Stop after this many steps: for trying things
    #[arg(long)]
    pub max_steps: Option<usize>,
    /// Keep the fine-tuned models of a grid and of `eval jglue` too
    #[arg(long)]
    pub save_models: bool,
}

fn pooling(name: &str) -> Result<Pooling, String> {
    match name {
        "cls" => Ok(Pooling::Cls),
        "mean" => Ok(Pooling::Mean),
        _ => Err("expected cls or mean".into()),
    }
}

/// Presets of hyper-parameters.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// JGLUE's own (Kurihara et al., LREC 2022): rates 5e-5, 3e-5, 2e-5; 3 and 4 epochs; warm-up 0.1; 128 tokens.
    JglueOfficial,
    /// That of llm-jp-modernbert (arXiv 2504.15544): six rates from 5e-6 to 1e-4; 1, 2, 3, 4, 5 and 10 epochs; no warm-up, no
    /// clipping; 512 tokens.
    LlmJpPaper,
}

impl Training {
    /// Every setting for a task.
    fn settings(&self, task: &Task) -> Vec<Settings> {
        let (rates, epochs): (&[f64], &[usize]) = match self.grid {
            None => (&[self.learning_rate], &[self.epochs]),
            Some(Grid::JglueOfficial) => (&[5e-5, 3e-5, 2e-5], &[3, 4]),
            Some(Grid::LlmJpPaper) => (&[5e-6, 1e-5, 2e-5, 3e-5, 5e-5, 1e-4], &[1, 2, 3, 4, 5, 10]),
        };
        let paper = self.grid == Some(Grid::LlmJpPaper);
        let usual_length = match task.kind {
            super::tasks::Kind::Span => 384,
            _ if paper => 512,
            _ => 128,
        };
        let setting = |learning_rate, epochs| Settings {
            learning_rate,
            epochs,
            batch_size: self.batch_size,
            max_length: self.max_length.unwrap_or(usual_length),
            warmup_ratio: if paper { 0.0 } else { 0.1 },
            weight_decay: 0.0,
            max_grad_norm: (!paper).then_some(1.0),
            pooling: self.pooling,
            max_steps: self.max_steps,
        };
        rates.iter().flat_map(|rate| epochs.iter().map(move |epochs| setting(*rate, *epochs))).collect()
    }

    /// Every run of a task.
    pub fn runs(&self, task: Task, save: bool) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
        self.check()?;
        let task = Rc::new(task);
        let mut runs: Vec<Box<dyn Evaluation>> = Vec::new();
        for settings in self.settings(&task) {
            for seed in &self.seeds {
                let save = self.save_models || (save && self.grid.is_none());
                runs.push(Box::new(FineTune { task: task.clone(), settings, seed: *seed, save }));
            }
        }
        Ok(runs)
    }

    fn check(&self) -> anyhow::Result<()> {
        let positive = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        if !positive || self.epochs == 0 || self.batch_size == 0 {
            let message = "--learning-rate, --epochs and --batch-size must be positive";
            bail!(Coded::error(Exit::Usage, message));
        }
        Ok(())
    }
}

/// The runs of `anaume eval jglue`.
pub fn evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    let wanted: Vec<&str> = match args.tasks.is_empty() {
        true => NAMED.to_vec(),
        false => args.tasks.iter().map(String::as_str).collect(),
    };
    let mut runs = Vec::new();
    for name in wanted {
        match named(name, &args.data)? {
            Some(task) => runs.extend(args.training.runs(task, false)?),
            None if args.tasks.is_empty() => eprintln!("{name}: no files in {}", args.data.display()),
            None => return Err(no_files(name, name, &args.data)),
        }
    }
    Ok(runs)
}

/// The same, of which there must be one.
pub fn some_evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    require_dir(&args.data)?;
    let runs = evaluations(args)?;
    if runs.is_empty() {
        return Err(no_files("JGLUE or JCoLA", "jsts", &args.data));
    }
    Ok(runs)
}

fn no_files(what: &str, name: &str, data: &Path) -> anyhow::Error {
    let message = format!("{} has no files of {what}: they are named {name}-train-v1.3.json and so on", data.display());
    Coded::error(Exit::Usage, message)
}

/// The runs of `anaume finetune`.
pub fn finetune_runs(args: &FineTuneArgs) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    let task = match (&args.data, &args.train, &args.valid) {
        (_, Some(train), Some(valid)) => {
            if NAMED.contains(&args.task.as_str()) {
                let message =
                    "files of your own need a kind of task: classification, regression, span, multiple-choice";
                bail!(Coded::error(Exit::Usage, message));
            }
            let stem = train.file_stem().unwrap_or_default().to_string_lossy().replace('.', "-");
            let name = clean(args.name.as_deref().unwrap_or(&stem));
            let mut evaluated = vec![("valid", valid.as_path())];
            evaluated.extend(args.test.as_deref().map(|test| ("test", test)));
            own(&args.task, name, train, &evaluated, &args.columns)?
        }
        (Some(data), ..) => named(&args.task, data)?.ok_or_else(|| no_files(&args.task, &args.task, data))?,
        _ => bail!(Coded::error(Exit::Usage, "give --data, or --train and --valid")),
    };
    args.training.runs(task, true)
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::super::tasks::Kind;
    use super::*;

    #[test]
    fn the_grid_of_the_paper_has_36_settings_a_task() {
        let command = Training::augment_args(clap::Command::new("finetune"));
        let matches = command.try_get_matches_from(["finetune", "--grid", "llm-jp-paper"]).expect("valid arguments");
        let training = <Training as clap::FromArgMatches>::from_arg_matches(&matches).expect("valid arguments");
        let task = |kind| Task {
            name: "task".into(),
            alias: "Task".into(),
            kind,
            train: Vec::new(),
            splits: Vec::new(),
            files: Vec::new(),
            notes: Vec::new(),
        };
        let settings = training.settings(&task(Kind::Regression));
        assert_eq!(settings.len(), 36, "three tasks make 108 runs");
        assert!(settings.iter().all(|s| s.max_length == 512 && s.warmup_ratio == 0.0 && s.max_grad_norm.is_none()));
        assert_eq!(training.settings(&task(Kind::Span))[0].max_length, 384);
    }
}
