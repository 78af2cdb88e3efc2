//! `anaume merge`: results folders of shards joined into one, checked against their plan.

use std::collections::btree_map::{BTreeMap, Entry};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anaume_core::report::FORMAT_VERSION;
use anaume_core::report::eval::{EvalReport, Plan, PlannedCell};
use anyhow::Context;

use crate::eval::results::{PARTIAL, PLAN, REPORT, RESULTS, find_reports};
use crate::exit::{Coded, Exit};
use crate::files::{make_dir, read, read_versioned, require_dir, write_atomic};

/// Arguments of `anaume merge`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Results folders to join
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
    /// Results folder to write; what it holds already is joined too
    #[arg(long)]
    pub out: PathBuf,
    /// Succeed although planned results are missing
    #[arg(long)]
    pub partial: bool,
}

/// A result: the folder it lies in, and its report.
struct Found {
    dir: PathBuf,
    report: EvalReport,
}

/// Results by model, task and cell.
type Results = BTreeMap<[String; 3], Found>;

/// `anaume merge …`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut folders = args.results.clone();
    // First, so that what it holds already is not copied onto itself.
    folders.splice(0..0, args.out.is_dir().then(|| args.out.clone()));
    let (results, copies) = find_all(&folders)?;
    check_models(&results)?;
    let mut plan = join_plans(&folders)?;
    plan.iter_mut().for_each(|(place, planned)| planned.done = results.contains_key(place));
    for (place, found) in &results {
        let target = place.iter().filter(|name| !name.is_empty()).fold(args.out.clone(), |dir, name| dir.join(name));
        if found.dir != target {
            copy_result(&found.dir, &target)?;
        }
    }
    let models = write_reports(&results, &args.out)?;
    if !plan.is_empty() {
        let whole = Plan { format_version: FORMAT_VERSION, cells: plan.values().cloned().collect() };
        let text = serde_json::to_string_pretty(&whole)? + "\n";
        write_atomic(&args.out.join(PLAN), text.as_bytes())?;
    }
    println!("{}: {} results of {models} models, {copies} found twice", args.out.display(), results.len());
    report_missing(&missing(&plan, &results), plan.len(), args.partial)
}

/// Results of all folders, and how many stood in several.
fn find_all(folders: &[PathBuf]) -> anyhow::Result<(Results, usize)> {
    let (mut results, mut copies) = (Results::new(), 0);
    for folder in folders {
        require_dir(folder)?;
        for (path, report) in find_reports(std::slice::from_ref(folder))? {
            let found = Found { dir: path.parent().unwrap_or(folder).into(), report };
            match results.entry(place_of(folder, &found.dir)?) {
                Entry::Vacant(free) => _ = free.insert(found),
                Entry::Occupied(known) if known.get().report.task_hashes == found.report.task_hashes => copies += 1,
                Entry::Occupied(known) => return Err(contradiction(&known.get().dir, &found.dir)),
            }
        }
    }
    Ok((results, copies))
}

fn contradiction(first: &Path, second: &Path) -> anyhow::Error {
    let message = format!(
        "{} and {} are different results (of other weights, data or options) for the same place; remove or move one",
        first.display(),
        second.display()
    );
    Coded::error(Exit::Data, message)
}

/// Model, task and cell as the folders say.
fn place_of(folder: &Path, dir: &Path) -> anyhow::Result<[String; 3]> {
    let inner = dir.strip_prefix(folder).unwrap_or(dir);
    let mut names = inner.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    match (names.next(), names.next(), names.next(), names.next()) {
        (Some(model), Some(task), cell, None) => Ok([model, task, cell.unwrap_or_default()]),
        _ => {
            let message = format!(
                "{}: results lie at MODEL/TASK or MODEL/TASK/CELL below {}",
                dir.join(RESULTS).display(),
                folder.display()
            );
            Err(Coded::error(Exit::Usage, message))
        }
    }
}

/// Fails where two models share a name.
fn check_models(results: &Results) -> anyhow::Result<()> {
    let mut models: BTreeMap<&str, &Found> = BTreeMap::new();
    for ([model, ..], found) in results {
        let first = models.entry(model).or_insert(found);
        if first.report.model != found.report.model {
            let message = format!(
                "{} and {} are results of different models of the name `{model}`; rename one",
                first.dir.display(),
                found.dir.display()
            );
            return Err(Coded::error(Exit::Data, message));
        }
    }
    Ok(())
}

/// What all plan files ask for together.
fn join_plans(folders: &[PathBuf]) -> anyhow::Result<BTreeMap<[String; 3], PlannedCell>> {
    let mut plan = BTreeMap::new();
    for path in folders.iter().map(|folder| folder.join(PLAN)).filter(|path| path.exists()) {
        let planned: Plan = read_versioned(&path, FORMAT_VERSION)?;
        for one in planned.cells {
            let key = [&one.model, &one.task, &one.cell].map(String::clone);
            let known: &mut PlannedCell = plan.entry(key).or_insert_with(|| one.clone());
            if known.identity.is_some() && one.identity.is_some() && known.identity != one.identity {
                let message = format!("{}: another plan asks for another `{one}`", path.display());
                return Err(Coded::error(Exit::Data, message));
            }
            known.identity = known.identity.take().or(one.identity);
        }
    }
    Ok(plan)
}

/// Copies the files of a result, the report last: where it stands, the result is complete.
fn copy_result(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_dir(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        // A folder with a report is a result of its own, what is partial belongs to an unfinished one.
        let is_other = path.join(RESULTS).exists() || name == RESULTS || name == PARTIAL;
        match path.is_dir() {
            _ if is_other => {}
            true => copy_result(&path, &to.join(name))?,
            false => write_atomic(&to.join(name), &read(&path)?)?,
        }
    }
    let report = from.join(RESULTS);
    if report.exists() { write_atomic(&to.join(RESULTS), &read(&report)?) } else { Ok(()) }
}

/// Writes one report for each model, every run of a task under `TASK/CELL`; returns the number of models.
fn write_reports(results: &Results, out: &Path) -> anyhow::Result<usize> {
    let mut merged: BTreeMap<&str, EvalReport> = BTreeMap::new();
    for ([model, _, cell], found) in results {
        let report = merged.entry(model).or_insert_with(|| found.report.without_tasks());
        let name = |task: &str| if cell.is_empty() { task.to_owned() } else { format!("{task}/{cell}") };
        report.merge(&found.report, name).with_context(|| found.dir.display().to_string())?;
    }
    for (model, report) in &merged {
        write_atomic(&out.join(model).join(REPORT), report.to_json().as_bytes())?;
    }
    Ok(merged.len())
}

/// What is planned and not there, or there with another identity.
fn missing(plan: &BTreeMap<[String; 3], PlannedCell>, results: &Results) -> Vec<String> {
    let reason = |(place, planned): (&[String; 3], &PlannedCell)| {
        let Some(found) = results.get(place) else { return Some(planned.to_string()) };
        let is_same =
            planned.identity.as_ref().is_none_or(|wanted| found.report.task_hashes.values().any(|hash| hash == wanted));
        (!is_same).then(|| format!("{planned} (there, but of other weights, data or options than planned)"))
    };
    plan.iter().filter_map(reason).collect()
}

fn report_missing(missing: &[String], planned: usize, partial: bool) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("{} of {planned} planned results are missing:\n  {}", missing.len(), missing.join("\n  "));
    if partial {
        eprintln!("{message}");
        return Ok(());
    }
    Err(Coded::error(Exit::Data, message + "\nrun their shards again, or accept it with --partial"))
}
