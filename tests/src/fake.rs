//! Made-up results of evaluations.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anaume_core::config::Precision;
use anaume_core::leaderboard::Run;
use anaume_core::metrics::correlation::pearson;
use anaume_core::report::eval::{EvalConfig, EvalReport, MetricValue, ModelIdentity, SampleCount, TaskResult};
use serde_json::{Value, json};

/// A made-up result of one model on one task.
#[derive(Clone)]
pub struct Fake {
    /// The model.
    pub model: ModelIdentity,
    task: String,
    cell: String,
    options: Value,
    precision: Precision,
    metrics: BTreeMap<String, MetricValue>,
    main: String,
    baselines: BTreeMap<String, BTreeMap<String, f64>>,
    notes: Vec<String>,
    /// The lines of its predictions.
    pub samples: Vec<Value>,
}

impl Fake {
    /// An accuracy of one half on two examples.
    pub fn new(model: &str, task: &str) -> Self {
        let model = ModelIdentity {
            name: model.into(),
            architecture: "modernbert".into(),
            weights_blake3: format!("{:08x}-weights-of-{model}", model.len()),
            ..ModelIdentity::default()
        };
        let (options, main) = (json!({}), "accuracy".to_owned());
        let fake = Self {
            model,
            task: task.into(),
            cell: String::new(),
            options,
            precision: Precision::F32,
            metrics: BTreeMap::new(),
            main,
            baselines: BTreeMap::new(),
            notes: Vec::new(),
            samples: Vec::new(),
        };
        fake.right(&[true, false])
    }

    /// Another hash of the weights.
    pub fn weights(mut self, hash: &str) -> Self {
        self.model.weights_blake3 = hash.into();
        self
    }

    /// The name of one of several runs.
    pub fn cell(mut self, cell: &str) -> Self {
        self.cell = cell.into();
        self
    }

    /// What decided the numbers.
    pub fn options(mut self, options: Value) -> Self {
        self.options = options;
        self
    }

    /// What the matrix products took.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// One of the runs of a grid.
    pub fn run_of_grid(self, learning_rate: f64, seed: u64) -> Self {
        let cell = format!("lr{learning_rate:e}_ep3_seed{seed}");
        self.cell(&cell).options(json!({
            "learning_rate": learning_rate, "epochs": 3, "batch_size": 32, "seed": seed, "selection": "dev",
            "data": {"valid": {"name": "valid.json", "size_bytes": 9, "blake3": "da7a"}},
        }))
    }

    /// A metric of which more is better.
    pub fn metric(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.into(), MetricValue::new(Ok::<_, String>(value), true));
        self
    }

    /// A metric of which less is better.
    pub fn lower_metric(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.into(), MetricValue::new(Ok::<_, String>(value), false));
        self
    }

    /// A metric without a value.
    pub fn undefined(mut self, name: &str, reason: &str) -> Self {
        self.metrics.insert(name.into(), MetricValue::new(Err(reason), true));
        self
    }

    /// The interval of a metric.
    pub fn interval(mut self, name: &str, interval: [f64; 2]) -> Self {
        self.metrics.get_mut(name).unwrap().interval = Some(interval);
        self
    }

    /// The metrics are these alone, the first is the main one.
    pub fn only(mut self, names: &[&str]) -> Self {
        self.metrics.retain(|name, _| names.contains(&name.as_str()));
        self.main = names[0].into();
        self
    }

    /// A remark on the task.
    pub fn note(mut self, note: &str) -> Self {
        self.notes.push(note.into());
        self
    }

    /// A value of a baseline.
    pub fn baseline(mut self, name: &str, metric: &str, value: f64) -> Self {
        self.baselines.entry(name.into()).or_default().insert(metric.into(), value);
        self
    }

    /// Examples that are answered right or wrong, and their accuracy.
    pub fn right(mut self, right: &[bool]) -> Self {
        let sample = |(i, right): (usize, &bool)| {
            let accuracy = f64::from(u8::from(*right));
            json!({"doc_id": i, "split": "valid", "target": "a", "prediction": if *right { "a" } else { "b" }, "accuracy": accuracy})
        };
        self.samples = right.iter().enumerate().map(sample).collect();
        let share = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
        self.metric("accuracy", share)
    }

    /// Scores with their correlation.
    pub fn scores(mut self, gold: &[f64], predicted: &[f64]) -> Self {
        let sample = |(i, (gold, predicted)): (usize, (&f64, &f64))| json!({"doc_id": format!("pair-{i}"), "target": gold, "prediction": predicted});
        self.samples = gold.iter().zip(predicted).enumerate().map(sample).collect();
        self.metric("pearson", pearson(gold, predicted).unwrap()).only(&["pearson"])
    }

    /// The report.
    pub fn report(&self) -> EvalReport {
        let mut report = EvalReport::new(self.model.clone(), EvalConfig { random_seed: 42, ..EvalConfig::default() });
        report.date = 1e9;
        let result = TaskResult {
            alias: self.task.to_uppercase(),
            version: 1,
            precision: self.precision,
            metrics: self.metrics.clone(),
            main_metric: self.main.clone(),
            samples: SampleCount { original: self.samples.len(), effective: self.samples.len() },
            baselines: self.baselines.clone(),
            notes: self.notes.clone(),
            series: BTreeMap::new(),
        };
        let config = json!({"options": self.options, "seed": 42, "bootstrap": 1000});
        let hash = blake3::hash(format!("{:?}{config}{}", self.model, self.cell).as_bytes()).to_hex().to_string();
        report.add(&self.task, result, config, hash, 1.0);
        report
    }

    /// Where it lies in a results folder.
    pub fn place(&self) -> String {
        [self.model.name.as_str(), &self.task, &self.cell].join("/")
    }

    /// Report and place.
    pub fn run(&self) -> Run {
        Run { place: self.place(), report: self.report() }
    }

    /// Writes report and predictions into a results folder; returns the result's own folder.
    pub fn write(&self, root: &Path) -> PathBuf {
        let dir = root.join(self.place().trim_end_matches('/'));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("results.json"), self.report().to_json()).unwrap();
        let lines: String = self.samples.iter().map(|sample| format!("{sample}\n")).collect();
        fs::write(dir.join("samples.jsonl"), lines).unwrap();
        dir
    }
}
