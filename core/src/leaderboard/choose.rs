//! From results to cells: which runs belong together, and which setting is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Cell, Column, Notes, Row, Run, display};
use crate::error::{Error, Result};
use crate::metrics::statistics::{mean, standard_deviation};
use crate::report::eval::{EvalReport, MetricValue, ModelIdentity};

/// What tells models apart: name, weights, tokenizer.
pub type Key<'a> = (&'a str, &'a str, &'a str);

/// One task of one results file.
pub struct Entry<'a> {
    place: &'a str,
    report: &'a EvalReport,
    task: &'a str,
    /// Options without seed and data, the precision among them.
    options: Value,
    /// The same as text: equal for runs that differ in their seed alone.
    setting: String,
    seed: u64,
    /// Hashes of the data files, sorted.
    data: Vec<String>,
    /// Whether its hyper-parameters are to be chosen on the development split.
    is_selected: bool,
}

/// Every task of every results file.
pub fn entries(runs: &[Run]) -> Vec<Entry<'_>> {
    runs.iter().flat_map(|run| run.report.results.keys().map(|task| Entry::new(run, task))).collect()
}

impl<'a> Entry<'a> {
    fn new(run: &'a Run, task: &'a str) -> Self {
        let config = run.report.configs.get(task).unwrap_or(&Value::Null);
        let all = config.get("options").unwrap_or(config);
        let seed = all.get("seed").or(config.get("seed")).and_then(Value::as_u64);
        let mut options = without_data(all, &mut Vec::new());
        if let Some(options) = options.as_object_mut() {
            options.remove("seed");
            options.insert("precision".into(), serde_json::json!(run.report.precision(task)));
        }
        Self {
            place: &run.place,
            report: &run.report,
            task,
            setting: options.to_string(),
            options,
            seed: seed.unwrap_or(run.report.config.random_seed),
            data: data_hashes(all),
            is_selected: all.get("selection").is_some_and(|split| split == "valid" || split == "dev"),
        }
    }

    fn key(&self) -> Key<'a> {
        let model = &self.report.model;
        (&model.name, &model.weights_blake3, &model.tokenizer_blake3)
    }

    fn metric(&self, name: &str) -> Option<MetricValue> {
        self.report.metric(self.task, name)
    }

    fn main_metric(&self) -> &'a str {
        self.report.main_metric.get(self.task).map_or("", String::as_str)
    }

    fn has_metric(&self, name: &str) -> bool {
        self.report.higher_is_better.get(self.task).is_some_and(|metrics| metrics.contains_key(name))
    }

    fn notes(&self) -> &'a [String] {
        self.report.notes.get(self.task).map_or(&[], Vec::as_slice)
    }

    /// Metrics of what a model must beat, by name.
    pub fn baselines(&self) -> impl Iterator<Item = (&'a String, &'a BTreeMap<String, f64>)> {
        self.report.baselines.get(self.task).into_iter().flatten()
    }
}

/// Hashes of the data files that a task's configuration names, sorted.
pub fn data_hashes(config: &Value) -> Vec<String> {
    let mut hashes = Vec::new();
    without_data(config, &mut hashes);
    hashes.sort();
    hashes
}

/// Options without the descriptions of data files: objects with a hash, and what holds nothing else. The hashes are
/// collected.
fn without_data(value: &Value, hashes: &mut Vec<String>) -> Value {
    let is_hash = |key: &str| key.ends_with("blake3");
    match value {
        Value::Object(map) => {
            hashes
                .extend(map.iter().filter(|(key, _)| is_hash(key)).filter_map(|(_, v)| v.as_str()).map(str::to_owned));
            let describes = ["name", "file", "path", "size", "size_bytes", "bytes"];
            let is_file = map.keys().any(|key| is_hash(key));
            let kept = map.iter().filter(|(key, _)| !(is_hash(key) || is_file && describes.contains(&key.as_str())));
            let inner = kept.map(|(key, value)| (key, value, without_data(value, hashes)));
            let inner = inner.filter(|(_, before, after)| before == &after || !is_empty(after));
            inner.map(|(key, _, value)| (key.clone(), value)).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => {
            let inner = items.iter().map(|item| (item, without_data(item, hashes)));
            let inner = inner.filter(|(before, after)| before == &after || !is_empty(after));
            inner.map(|(_, value)| value).collect::<Vec<_>>().into()
        }
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// A model of the table.
pub struct Model<'a> {
    /// What tells it apart.
    pub key: Key<'a>,
    identity: &'a ModelIdentity,
    label: String,
    place: &'a str,
}

/// The models by name. Where two share a name, their hashes are part of the label.
pub fn models<'a>(entries: &[Entry<'a>]) -> Vec<Model<'a>> {
    let mut found = BTreeMap::new();
    entries.iter().for_each(|entry| _ = found.entry(entry.key()).or_insert(entry));
    let keys: Vec<Key<'a>> = found.keys().copied().collect();
    let label = |key: &Key<'a>| {
        let namesakes: Vec<_> = keys.iter().filter(|other| other.0 == key.0 && other != &key).collect();
        let hash = if namesakes.iter().any(|other| other.1 == key.1) { key.2 } else { key.1 };
        let short: String = hash.chars().take(8).collect();
        if namesakes.is_empty() { key.0.to_owned() } else { format!("{} ({short})", key.0) }
    };
    let model = |(key, entry): (Key<'a>, &Entry<'a>)| Model {
        key,
        identity: &entry.report.model,
        label: label(&key),
        place: entry.place,
    };
    found.into_iter().map(model).collect()
}

impl Model<'_> {
    /// Its row, without cells.
    pub fn row(&self, notes: &mut Notes) -> Row {
        let is_namesake = self.label != self.key.0;
        let note = || format!("Several models are named {}: {} is that of {}.", self.key.0, self.label, self.place);
        let notes = if is_namesake { vec![notes.add(note())] } else { Vec::new() };
        Row { label: self.label.clone(), model: Some(self.identity.clone()), notes, ..Row::default() }
    }
}

/// A task, or one setting of a task that was run in several without a development split to choose on.
pub struct Part<'a> {
    /// Shown name.
    pub label: String,
    task: String,
    entries: Vec<&'a Entry<'a>>,
}

/// The tasks in the order of columns.
pub fn parts<'a>(entries: &'a [Entry<'a>]) -> Vec<Part<'a>> {
    let mut by_task: BTreeMap<_, Vec<&Entry<'a>>> = BTreeMap::new();
    entries.iter().for_each(|entry| by_task.entry(display::task_order(entry.task)).or_default().push(entry));
    by_task.into_values().flat_map(parts_of_task).collect()
}

fn parts_of_task<'a>(entries: Vec<&'a Entry<'a>>) -> Vec<Part<'a>> {
    let (first, task) = (entries[0], entries[0].task.to_owned());
    let alias = first.report.results[first.task].get("alias").and_then(Value::as_str);
    let label = alias.unwrap_or(first.task).to_owned();
    let mut of_model: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    entries.iter().for_each(|entry| _ = of_model.entry(entry.key()).or_default().insert(&entry.setting));
    if entries.iter().any(|entry| entry.is_selected) || of_model.values().all(|settings| settings.len() == 1) {
        return vec![Part { label, task, entries }];
    }
    let varying = varying(&entries);
    let mut by_setting: BTreeMap<&str, Vec<&Entry<'_>>> = BTreeMap::new();
    entries.into_iter().for_each(|entry| by_setting.entry(&entry.setting).or_default().push(entry));
    let part = |entries: Vec<&'a Entry<'a>>| {
        let setting = in_words(&entries[0].options, &varying);
        Part { label: format!("{label} ({setting})"), task: format!("{task} ({setting})"), entries }
    };
    by_setting.into_values().map(part).collect()
}

/// Options by name, nested ones as `a.b`.
fn flat(options: &Value) -> BTreeMap<String, String> {
    let Value::Object(map) = options else { return BTreeMap::new() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let nested = |(name, value): (&String, &Value)| match flat(value) {
        inner if inner.is_empty() => vec![(name.clone(), text(value))],
        inner => inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect(),
    };
    map.iter().flat_map(nested).collect()
}

/// Names of the options that are not the same in all runs.
fn varying(entries: &[&Entry<'_>]) -> BTreeSet<String> {
    let all: Vec<_> = entries.iter().map(|entry| flat(&entry.options)).collect();
    let names = all.iter().flat_map(BTreeMap::keys);
    names.filter(|name| all.iter().any(|options| options.get(*name) != all[0].get(*name))).cloned().collect()
}

fn in_words(options: &Value, names: &BTreeSet<String>) -> String {
    let options = flat(options);
    let word = |name: &String| Some(format!("{name} {}", options.get(name)?));
    names.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

impl<'a> Part<'a> {
    /// The columns of the task for the runs that are shown.
    pub fn columns(&self, runs: &[&Entry<'_>]) -> Vec<Column> {
        let Some(main) = runs.first().map(|run| run.main_metric()) else { return Vec::new() };
        let column = |metric: String| {
            let (scale, decimals) = display::digits(&metric);
            let directions = runs.iter().filter_map(|run| run.report.higher_is_better.get(run.task)?.get(&metric));
            Column {
                id: format!("{}/{metric}", self.task),
                task: self.task.clone(),
                task_label: self.label.clone(),
                metric_label: display::metric_label(&metric),
                higher_is_better: directions.copied().next().unwrap_or(true),
                is_main: metric == main,
                scale,
                decimals,
                is_comparable: true,
                notes: Vec::new(),
                metric,
            }
        };
        let recorded = |name: &str| runs.iter().any(|run| run.has_metric(name));
        display::shown_metrics(&self.task, main, recorded).into_iter().map(column).collect()
    }

    /// The runs of a model that are shown: those of its best setting.
    pub fn choose(&self, key: Key<'_>) -> Result<Option<Choice<'a>>> {
        let entries: Vec<_> = self.entries.iter().copied().filter(|entry| entry.key() == key).collect();
        let Some(first) = entries.first() else { return Ok(None) };
        self.check(&entries)?;
        let mut clashes = Vec::new();
        let mut settings: BTreeMap<&str, BTreeMap<u64, &'a Entry<'a>>> = BTreeMap::new();
        for &entry in &entries {
            let known = *settings.entry(&entry.setting).or_default().entry(entry.seed).or_insert(entry);
            if known.report.results[known.task] != entry.report.results[entry.task] {
                clashes.push(format!(
                    "{} and {} are the same run with different values; the first is shown.",
                    known.place, entry.place
                ));
            }
        }
        let tried = settings.len();
        let higher = first.metric(first.main_metric()).is_none_or(|metric| metric.higher_is_better);
        let score = |runs: &BTreeMap<u64, &Entry<'_>>| {
            let mean = mean_over_seeds(runs.values().copied(), first.main_metric());
            mean.map_or(f64::NEG_INFINITY, |mean| if higher { mean } else { -mean })
        };
        // The first of equals in the order of settings, whatever the order of files.
        let best = settings.into_values().rev().max_by(|a, b| score(a).total_cmp(&score(b)));
        let runs: Vec<_> = best.expect("there is an entry").into_values().collect();
        let mut names = varying(&entries);
        names.extend(["learning_rate", "epochs"].map(str::to_owned));
        let setting = in_words(&runs[0].options, &names);
        Ok(Some(Choice { label: self.label.clone(), main: first.main_metric(), runs, tried, setting, clashes }))
    }

    fn check(&self, entries: &[&Entry<'_>]) -> Result<()> {
        let first = entries[0];
        let refuse = |message: String| Err(Error::Input { message });
        if let Some(other) = entries.iter().find(|entry| entry.data != first.data) {
            return refuse(format!(
                "{} and {} are results of `{}` on `{}` with different data; give those of one",
                first.place, other.place, first.report.model.name, self.task
            ));
        }
        match entries.iter().find(|entry| entry.main_metric().starts_with("test_")) {
            Some(entry) => refuse(format!(
                "{}: the main metric of `{}` is one of the test split, which must not choose anything",
                entry.place, self.task
            )),
            None => Ok(()),
        }
    }
}

/// The mean over runs; `None` if one has no value: a mean over the rest would be another figure.
fn mean_over_seeds<'a>(runs: impl Iterator<Item = &'a Entry<'a>>, metric: &str) -> Option<f64> {
    let values: Option<Vec<f64>> = runs.map(|run| run.metric(metric)?.value.ok()).collect();
    mean(&values?).ok()
}

/// The runs of a model that are shown under a task.
pub struct Choice<'a> {
    /// One for each seed.
    pub runs: Vec<&'a Entry<'a>>,
    label: String,
    main: &'a str,
    tried: usize,
    /// The chosen hyper-parameters in words.
    setting: String,
    clashes: Vec<String>,
}

impl Choice<'_> {
    /// The cell under a column. What concerns all columns of the task is noted under the main one.
    pub fn cell(&self, column: &Column, model: &str, common: &BTreeSet<&str>, notes: &mut Notes) -> Cell {
        let metrics: Vec<_> = self.runs.iter().map(|run| run.metric(&column.metric)).collect();
        if metrics.iter().all(Option::is_none) {
            return Cell::default();
        }
        let values: Vec<f64> = metrics.iter().flatten().filter_map(|metric| metric.value.clone().ok()).collect();
        let undefined = self.undefined(&metrics);
        let mut texts = if column.is_main { self.remarks(model, common) } else { Vec::new() };
        texts.extend(
            undefined.iter().map(|reason| format!("{model}, {} {}: {reason}.", self.label, column.metric_label)),
        );
        let single = if self.runs.len() == 1 { metrics[0].as_ref() } else { None };
        Cell {
            value: if undefined.is_none() { mean(&values).ok() } else { None },
            sd: if undefined.is_none() { standard_deviation(&values).ok() } else { None },
            interval: single.and_then(|metric| metric.interval),
            seeds: self.runs.iter().map(|run| run.seed).collect(),
            undefined,
            setting: Some(self.runs[0].options.clone()),
            settings_tried: self.tried,
            places: self.runs.iter().map(|run| run.place.to_owned()).collect(),
            notes: texts.into_iter().map(|text| notes.add(text)).collect(),
            ..Cell::default()
        }
    }

    /// Why there is no mean over the seeds.
    fn undefined(&self, metrics: &[Option<MetricValue>]) -> Option<String> {
        let reason = |(run, metric): (&&Entry<'_>, &Option<MetricValue>)| {
            let reason = match metric {
                Some(metric) => metric.value.clone().err()?,
                None => "it was not recorded".into(),
            };
            let reason = reason.trim_end_matches('.');
            let of_seed = format!("undefined for seed {}: {reason}", run.seed);
            Some(if metrics.len() > 1 { of_seed } else { format!("undefined: {reason}") })
        };
        self.runs.iter().zip(metrics).find_map(reason)
    }

    fn remarks(&self, model: &str, common: &BTreeSet<&str>) -> Vec<String> {
        let mut remarks = self.clashes.clone();
        if self.tried > 1 {
            remarks.push(format!(
                "{model}, {}: {}; the best of {} settings by {} on the development split, so its values there are optimistic.",
                self.label, self.setting, self.tried, display::metric_label(self.main)
            ));
        }
        let own: BTreeSet<_> = self.runs.iter().flat_map(|run| run.notes()).map(String::as_str).collect();
        remarks.extend(own.difference(common).map(|text| format!("{model}: {text}")));
        remarks
    }
}

/// What all runs say about a task.
pub fn common_notes<'a>(runs: &[&Entry<'a>]) -> BTreeSet<&'a str> {
    let first = runs.first().map_or(&[][..], |run| run.notes());
    let in_all = |text: &&String| runs.iter().all(|run| run.notes().contains(text));
    first.iter().filter(in_all).map(String::as_str).collect()
}

/// A warning where models saw other data, or another version of the task, and cannot be compared.
pub fn difference(runs: &[&Entry<'_>], label: &str) -> Option<String> {
    let mut groups: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        let version = run.report.versions.get(run.task);
        groups.entry((&run.data, version, run.main_metric())).or_default().insert(&run.report.model.name);
    }
    let names = |group: &BTreeSet<&str>| group.iter().copied().collect::<Vec<_>>().join(", ");
    let groups: Vec<_> = groups.values().map(names).collect();
    let text = || {
        format!(
            "Warning: on {label} models saw different data or versions of the task ({}); they are not compared.",
            groups.join(" against ")
        )
    };
    (groups.len() > 1).then(text)
}

/// A remark where models were run with different settings and none was chosen.
pub fn settings(runs: &[&Entry<'_>], label: &str) -> Option<String> {
    let varying = varying(runs);
    if varying.is_empty() || runs.iter().any(|run| run.is_selected) {
        return None;
    }
    let of_model: BTreeMap<&str, String> =
        runs.iter().map(|run| (run.report.model.name.as_str(), in_words(&run.options, &varying))).collect();
    let texts: Vec<_> = of_model.iter().map(|(model, setting)| format!("{model}: {setting}")).collect();
    Some(format!("Settings of {label} differ between models ({}).", texts.join("; ")))
}
