//! The result of evaluating one model: a superset of the file that EleutherAI's lm-evaluation-harness writes.
//!
//! `results`, `configs`, `versions`, `n-samples`, `higher_is_better`, `config`, `git_hash`, `date`, `pretty_env_info` and
//! `task_hashes` mean what they mean there; a metric `m` is stored as `m,none` and its standard error as
//! `m_stderr,none`. Beside them stand what that format lacks: intervals, reasons for what is undefined, baselines, limits of
//! the data, the identity of the model. Per-example predictions lie beside the file, one JSON line each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FORMAT_VERSION, Version, parse, require_known_version};
use crate::config::Precision;
use crate::error::{Error, Result};

/// Results of one model on one or more tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvalReport {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Metrics by task: `m,none`, `m_stderr,none`, `m_ci95,none` (lower and upper bound), and `alias`, the task's shown name.
    pub results: BTreeMap<String, Map<String, Value>>,
    /// What decided the numbers, by task: options, data files with hashes, hyper-parameters.
    pub configs: BTreeMap<String, Value>,
    /// Version of the task's definition, raised where its numbers change.
    pub versions: BTreeMap<String, u32>,
    /// Examples by task.
    #[serde(rename = "n-samples")]
    pub n_samples: BTreeMap<String, SampleCount>,
    /// Whether larger is better, by task and metric.
    pub higher_is_better: BTreeMap<String, BTreeMap<String, bool>>,
    /// How the program was called.
    pub config: EvalConfig,
    /// Commit the program was built from, where that is known.
    pub git_hash: Option<String>,
    /// Start, in seconds since 1970.
    pub date: f64,
    /// Operating system, processor, cores and program version, in words.
    pub pretty_env_info: String,
    /// What the matrix products took, by task; f32 where a task is absent.
    #[serde(default)]
    pub precision: BTreeMap<String, Precision>,
    /// Hash over model, data, options and precision, by task: equal hashes mean equal numbers on the same device.
    pub task_hashes: BTreeMap<String, String>,
    /// The model.
    pub model: ModelIdentity,
    /// Why a metric has no value, by task and metric.
    #[serde(default)]
    pub undefined: BTreeMap<String, BTreeMap<String, String>>,
    /// Metrics of what a model must beat (`majority`, `bm25`), by task and name.
    #[serde(default)]
    pub baselines: BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>,
    /// What a reader of the numbers must know: limits of the data, substitutes, overlaps; by task.
    #[serde(default)]
    pub notes: BTreeMap<String, Vec<String>>,
    /// The task's main metric, by task.
    #[serde(default)]
    pub main_metric: BTreeMap<String, String>,
    /// What figures are drawn of, by task and name.
    #[serde(default)]
    pub series: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// Wall-clock seconds, by task.
    #[serde(default)]
    pub seconds: BTreeMap<String, f64>,
}

/// How many examples a task has and how many of them count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleCount {
    /// In the data.
    pub original: usize,
    /// Evaluated.
    pub effective: usize,
}

/// How the program was called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvalConfig {
    /// Name of the implementation: `anaume`.
    pub model: String,
    /// Folder of the model as typed.
    pub model_args: String,
    /// The device in words.
    pub device: String,
    /// Seed of sampling, shuffling and resampling.
    pub random_seed: u64,
    /// Resamples of each bootstrap interval.
    pub bootstrap_iters: usize,
    /// Arguments as typed, without the program's name.
    pub command_line: Vec<String>,
}

/// Which model it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelIdentity {
    /// Short name: the label of tables and figures.
    pub name: String,
    /// `model_type` of its configuration.
    pub architecture: String,
    /// Parameters in all.
    pub parameters: usize,
    /// BLAKE3 of the weight file, in hex.
    pub weights_blake3: String,
    /// BLAKE3 of the tokenizer's files, in hex.
    pub tokenizer_blake3: String,
    /// Longest input in tokens.
    pub max_length: usize,
    /// Optimizer steps of the pretraining run, where the folder is one of its checkpoints.
    pub step: Option<u64>,
}

/// One metric of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricValue {
    /// The value, or why there is none.
    pub value: std::result::Result<f64, String>,
    /// Standard error over examples.
    pub stderr: Option<f64>,
    /// 95 % interval over examples.
    pub interval: Option<[f64; 2]>,
    /// Whether larger is better.
    pub higher_is_better: bool,
}

/// What an evaluation found: the input of [`EvalReport::add`].
#[derive(Clone, Debug, Default)]
pub struct TaskResult {
    /// Shown name.
    pub alias: String,
    /// Version of the task's definition.
    pub version: u32,
    /// What the matrix products took.
    pub precision: Precision,
    /// Metrics by name.
    pub metrics: BTreeMap<String, MetricValue>,
    /// The metric that ranks models.
    pub main_metric: String,
    /// Examples.
    pub samples: SampleCount,
    /// Baselines by name.
    pub baselines: BTreeMap<String, BTreeMap<String, f64>>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// What figures are drawn of.
    pub series: BTreeMap<String, Vec<f64>>,
}

impl EvalReport {
    /// Reads a results file.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a newer format, [`crate::Error::Format`] for text that is no report.
    pub fn from_json(text: &str) -> Result<Self> {
        let found: Version = parse("results", text)?;
        require_known_version("results", found.format_version)?;
        parse("results", text)
    }

    /// The text of the file, indented, with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has string keys only, so it is always JSON") + "\n"
    }

    /// A report without tasks.
    pub fn new(model: ModelIdentity, config: EvalConfig) -> Self {
        Self { format_version: FORMAT_VERSION, model, config, ..Self::default() }
    }

    /// Adds a task under a name; `config` and `hash` as in the fields of these names.
    pub fn add(&mut self, task: &str, result: TaskResult, config: Value, hash: String, seconds: f64) {
        let key = || task.to_owned();
        let mut values = Map::from_iter([("alias".to_owned(), Value::from(result.alias))]);
        for (name, metric) in &result.metrics {
            values.insert(format!("{name},none"), metric.value.as_ref().ok().map_or(Value::Null, |v| (*v).into()));
            if let Some(stderr) = metric.stderr {
                values.insert(format!("{name}_stderr,none"), stderr.into());
            }
            if let Some([low, high]) = metric.interval {
                values.insert(format!("{name}_ci95,none"), vec![low, high].into());
            }
            if let Err(reason) = &metric.value {
                self.undefined.entry(key()).or_default().insert(name.clone(), reason.clone());
            }
            self.higher_is_better.entry(key()).or_default().insert(name.clone(), metric.higher_is_better);
        }
        self.results.insert(key(), values);
        self.configs.insert(key(), config);
        self.versions.insert(key(), result.version);
        self.precision.insert(key(), result.precision);
        self.n_samples.insert(key(), result.samples);
        self.task_hashes.insert(key(), hash);
        self.main_metric.insert(key(), result.main_metric);
        self.seconds.insert(key(), seconds);
        if !result.baselines.is_empty() {
            self.baselines.insert(key(), result.baselines);
        }
        if !result.notes.is_empty() {
            self.notes.insert(key(), result.notes);
        }
        if !result.series.is_empty() {
            self.series.insert(key(), result.series);
        }
    }

    /// The same model and circumstances, without tasks.
    pub fn without_tasks(&self) -> Self {
        Self {
            git_hash: self.git_hash.clone(),
            date: self.date,
            pretty_env_info: self.pretty_env_info.clone(),
            ..Self::new(self.model.clone(), self.config.clone())
        }
    }

    /// Takes over the tasks of another report of the same model, each under the name that `rename` gives it. The start
    /// is the earlier one; what else is said of the whole stays.
    ///
    /// # Errors
    /// [`Error::Input`] for another model, or another result of a task that is there already.
    pub fn merge(&mut self, other: &Self, rename: impl Fn(&str) -> String) -> Result<()> {
        let conflict = |what: String| Err(Error::Input { message: format!("reports cannot be joined: {what}") });
        if self.model != other.model {
            return conflict(format!("`{}` and `{}` are not the same model", self.model.name, other.model.name));
        }
        for (task, hash) in &other.task_hashes {
            let name = rename(task);
            if self.task_hashes.get(&name).is_some_and(|known| known != hash) {
                return conflict(format!("there are two different results of `{name}` for `{}`", self.model.name));
            }
        }
        self.date = self.date.min(other.date);
        join(&mut self.results, &other.results, &rename);
        join(&mut self.configs, &other.configs, &rename);
        join(&mut self.versions, &other.versions, &rename);
        join(&mut self.precision, &other.precision, &rename);
        join(&mut self.n_samples, &other.n_samples, &rename);
        join(&mut self.higher_is_better, &other.higher_is_better, &rename);
        join(&mut self.task_hashes, &other.task_hashes, &rename);
        join(&mut self.undefined, &other.undefined, &rename);
        join(&mut self.baselines, &other.baselines, &rename);
        join(&mut self.notes, &other.notes, &rename);
        join(&mut self.main_metric, &other.main_metric, &rename);
        join(&mut self.series, &other.series, &rename);
        join(&mut self.seconds, &other.seconds, &rename);
        Ok(())
    }

    /// What the matrix products of a task took.
    pub fn precision(&self, task: &str) -> Precision {
        self.precision.get(task).copied().unwrap_or_default()
    }

    /// A metric of a task; `None` where the task is absent, undefined where it has a reason.
    pub fn metric(&self, task: &str, metric: &str) -> Option<MetricValue> {
        let values = self.results.get(task)?;
        let number = |suffix: &str| values.get(&format!("{metric}{suffix},none"));
        let reason = || self.undefined.get(task).and_then(|reasons| reasons.get(metric)).cloned();
        let value = number("")?.as_f64().ok_or_else(|| reason().unwrap_or_else(|| "no value was recorded".into()));
        let bounds = number("_ci95").and_then(Value::as_array);
        Some(MetricValue {
            value,
            stderr: number("_stderr").and_then(Value::as_f64),
            interval: bounds.and_then(|b| Some([b.first()?.as_f64()?, b.get(1)?.as_f64()?])),
            higher_is_better: self.higher_is_better.get(task)?.get(metric).copied().unwrap_or(true),
        })
    }

    /// Names of the metrics of a task, sorted.
    pub fn metric_names(&self, task: &str) -> Vec<String> {
        self.higher_is_better.get(task).map(|names| names.keys().cloned().collect()).unwrap_or_default()
    }
}

fn join<V: Clone>(into: &mut BTreeMap<String, V>, from: &BTreeMap<String, V>, rename: impl Fn(&str) -> String) {
    into.extend(from.iter().map(|(task, value)| (rename(task), value.clone())));
}

/// One line of `samples.jsonl`: one example with what was asked, expected and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Which example of its split; equal for all models.
    pub doc_id: DocId,
    /// `valid`, `test`, `ood`, …; `valid` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// What was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Value>,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Value>,
    /// Numbers of this example under the names of the metrics that are their means, and whatever the task adds.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Name of an example.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DocId {
    /// A row of the data, from 0.
    Row(u64),
    /// A name that the data gives.
    Name(String),
}

impl std::fmt::Display for DocId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Row(row) => write!(f, "{row}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// `plan.json` of a results folder: what several machines are to compute together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Every result, of all shards.
    pub cells: Vec<PlannedCell>,
}

/// One result to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedCell {
    /// Name of the model.
    pub model: String,
    /// Name of the task.
    pub task: String,
    /// Name of the run of the task; empty where there is one.
    pub cell: String,
    /// Which shard computes it.
    pub shard: usize,
    /// Whether the results folder had it when the plan was made.
    pub done: bool,
    /// Expected seconds on the machine that made the plan.
    pub seconds: f64,
    /// The result's hash in `task_hashes`, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

impl std::fmt::Display for PlannedCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.model, self.task)?;
        if self.cell.is_empty() { Ok(()) } else { write!(f, "/{}", self.cell) }
    }
}

impl MetricValue {
    /// A metric without interval.
    pub fn new(value: std::result::Result<f64, impl std::fmt::Display>, higher_is_better: bool) -> Self {
        let value = value.map_err(|reason| reason.to_string());
        let value = value.and_then(|v| if v.is_finite() { Ok(v) } else { Err(format!("the result is {v}")) });
        Self { value, stderr: None, interval: None, higher_is_better }
    }
}
