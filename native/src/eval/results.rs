//! The results folder: `OUT/MODEL/TASK/[CELL/]results.json` with `samples.jsonl` beside it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anaume_core::config::Precision;
use anaume_core::leaderboard::data_hashes;
use anaume_core::report::eval::{EvalReport, ModelIdentity};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::subject::Subject;
use super::{Common, Evaluation};
use crate::files::{make_dir, read, sorted_entries, write_atomic};

/// Name of a report.
pub const RESULTS: &str = "results.json";
/// Name of the per-example predictions beside it.
pub const SAMPLES: &str = "samples.jsonl";
/// Name of the examples that an unfinished run left.
pub const PARTIAL: &str = "partial.jsonl";
/// Name of the list of what a results folder is to hold.
pub const PLAN: &str = "plan.json";
/// Name of all results of a model in one file.
pub const REPORT: &str = "report.json";

/// The place of one result.
pub struct Cell {
    /// Its folder.
    pub dir: PathBuf,
    /// Its name among the runs of the task; empty where there is one.
    pub name: String,
    /// Hash over everything that decides the numbers.
    pub identity: String,
    /// What the matrix products take.
    pub precision: Precision,
    /// The report of an earlier run of the same identity.
    pub finished: Option<EvalReport>,
    task: String,
}

impl Cell {
    /// The place of an evaluation of a model, with its configuration.
    pub fn of(common: &Common, subject: &Subject, evaluation: &dyn Evaluation, config: &Value) -> anyhow::Result<Self> {
        let precision = evaluation.precision(subject.precision);
        Self::find(&common.out, &subject.identity, [&evaluation.task(), &evaluation.cell()], config, precision)
    }

    /// The place of a task, or of its run `cell`. Where a result of the same model on the same data with other options
    /// stands, neither replaces the other: this one is named by its options too.
    pub fn find(
        out: &Path,
        model: &ModelIdentity,
        [task, cell]: [&str; 2],
        config: &Value,
        precision: Precision,
    ) -> anyhow::Result<Self> {
        let mut parts = vec![json!(task), json!(cell), json!(model.weights_blake3), json!(model.tokenizer_blake3)];
        parts.push(config.clone());
        parts.extend(precision.identity().map(|precision| json!(precision)));
        let identity = blake3::hash(json!(parts).to_string().as_bytes()).to_hex().to_string();
        let task_dir = out.join(&model.name).join(task);
        // Joining an empty name would end the path in a slash.
        let at = |name: &str| if name.is_empty() { task_dir.clone() } else { task_dir.join(name) };
        let mut name = cell.to_owned();
        let mut there = report_in(&at(&name))?;
        if there.as_ref().is_some_and(|report| differs_in_options(report, model, task, config, precision)) {
            let separator = if cell.is_empty() { "" } else { "_" };
            name += &format!("{separator}options-{}", &identity[..8]);
            there = report_in(&at(&name))?;
        }
        let finished = there.filter(|report| report.task_hashes.get(task) == Some(&identity));
        Ok(Self { dir: at(&name), name, identity, precision, finished, task: task.into() })
    }

    /// Task and run, for people.
    pub fn label(&self) -> String {
        [self.task.as_str(), self.name.as_str()].join(" ").trim_end().to_owned()
    }

    /// What an interrupted run of the same identity left; nothing if there is none or it is not wanted.
    pub fn partial(&self, afresh: bool) -> anyhow::Result<Partial> {
        make_dir(&self.dir)?;
        Partial::open(self.dir.join(PARTIAL), &self.identity, afresh)
    }

    /// Writes predictions and report, the report last: where it stands, the result is complete.
    pub fn write(&mut self, report: &EvalReport, samples: &[Value]) -> anyhow::Result<()> {
        let lines: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
        write_atomic(&self.dir.join(SAMPLES), lines.as_bytes())?;
        write_atomic(&self.dir.join(RESULTS), report.to_json().as_bytes())?;
        match fs::remove_file(self.dir.join(PARTIAL)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause.into()),
            _ => Ok(()),
        }
    }
}

/// Whether a report is of the same model and data, but of another seed, precision or other options. A result whose data or weights
/// have changed is out of date instead, and one with more resamples says the same more exactly.
fn differs_in_options(
    report: &EvalReport,
    model: &ModelIdentity,
    task: &str,
    config: &Value,
    precision: Precision,
) -> bool {
    let Some(known) = report.configs.get(task) else { return false };
    (&report.model.weights_blake3, &report.model.tokenizer_blake3) == (&model.weights_blake3, &model.tokenizer_blake3)
        && data_hashes(known) == data_hashes(config)
        && (report.precision(task) != precision
            || ["options", "seed"].iter().any(|key| known.get(key) != config.get(key)))
}

/// The report in a folder, if there is one.
fn report_in(dir: &Path) -> anyhow::Result<Option<EvalReport>> {
    let path = dir.join(RESULTS);
    if path.exists() { read_report(&path).map(Some) } else { Ok(None) }
}

/// Reads a report; errors name its path.
pub fn read_report(path: &Path) -> anyhow::Result<EvalReport> {
    let bytes = read(path)?;
    EvalReport::from_json(&String::from_utf8_lossy(&bytes)).with_context(|| path.display().to_string())
}

/// All reports below folders, or those named as files, in the order of their paths.
pub fn find_reports(paths: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, EvalReport)>> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, &mut found)?;
    }
    found.into_iter().map(|path| Ok((path.clone(), read_report(&path)?))).collect()
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        found.push(path.into());
        return Ok(());
    }
    for path in sorted_entries(path)? {
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.file_name().is_some_and(|name| name == RESULTS) {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads the predictions beside a report.
pub fn read_samples(report: &Path) -> anyhow::Result<Vec<Value>> {
    let path = report.with_file_name(SAMPLES);
    let text = String::from_utf8(read(&path)?).with_context(|| path.display().to_string())?;
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}: line {}", path.display(), index + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// Examples finished so far, in a file that survives the end of the process at any moment.
pub struct Partial {
    /// What an earlier run finished, in order.
    pub done: Vec<Value>,
    path: PathBuf,
    header: String,
    file: Option<File>,
}

impl Partial {
    fn open(path: PathBuf, identity: &str, afresh: bool) -> anyhow::Result<Self> {
        let header = json!({ "identity": identity }).to_string();
        let text = if afresh { String::new() } else { fs::read_to_string(&path).unwrap_or_default() };
        let mut lines = text.lines();
        // The last line may have been torn off in the middle; it and all that follows a damaged one is computed again.
        let same = lines.next() == Some(header.as_str());
        let done = if same { lines.map_while(|line| serde_json::from_str(line).ok()).collect() } else { Vec::new() };
        Ok(Self { done, path, header, file: None })
    }

    /// Notes one finished example.
    pub fn append(&mut self, example: &Value) -> anyhow::Result<()> {
        let write = |partial: &mut Self| -> std::io::Result<()> {
            if partial.file.is_none() {
                // Written anew from what was understood, so that no torn line stays in the middle.
                let lines: String = partial.done.iter().map(|line| format!("{line}\n")).collect();
                fs::write(&partial.path, format!("{}\n{lines}", partial.header))?;
                partial.file = Some(OpenOptions::new().append(true).open(&partial.path)?);
            }
            partial.file.as_mut().map_or(Ok(()), |file| writeln!(file, "{example}"))
        };
        write(self).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use anaume_core::report::eval::{EvalConfig, TaskResult};

    use super::*;

    #[test]
    fn results_of_versions_that_named_no_precision_are_those_of_f32_alone() {
        let out = tempfile::tempdir().unwrap();
        let model = ModelIdentity { name: "small".into(), weights_blake3: "w".into(), ..ModelIdentity::default() };
        let config = json!({"options": {"k": 1}, "seed": 42});
        let find = |precision| Cell::find(out.path(), &model, ["task", ""], &config, precision).unwrap();
        let hash = blake3::hash(json!(["task", "", "w", "", config]).to_string().as_bytes()).to_hex().to_string();
        let mut report = EvalReport::new(model.clone(), EvalConfig::default());
        report.add("task", TaskResult::default(), config.clone(), hash, 1.0);
        report.precision.clear();
        let mut cell = find(Precision::F32);
        fs::create_dir_all(&cell.dir).unwrap();
        cell.write(&report, &[]).unwrap();
        assert_eq!(find(Precision::F32).finished, Some(report));
        let other = find(Precision::BF16);
        assert!(other.finished.is_none() && other.dir != cell.dir, "{}", other.dir.display());
    }
}
