//! The figures that the results of evaluations allow. A model, or all checkpoints of a run, keeps its look in all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::Figure;
use super::axis::grouped;
use super::dots::{Bin, DotChart, DotGroup, Resampling};
use super::forest::{Estimate, ForestChart, ForestPanel};
use super::histogram::{Histogram, HistogramChart, HistogramPanel};
use super::line::{LineChart, Mark, Panel, Series};
use super::scatter::{Place, ScatterChart, Track};
use crate::leaderboard::display::{baseline_label, ranks};
use crate::leaderboard::{Column, Leaderboard, Row, Run};
use crate::report::eval::{EvalReport, MetricValue};

/// Upper borders of the bins of lengths where a result names none: those of the original's figure.
const BORDERS: [f64; 4] = [1024.0, 2048.0, 4096.0, 8191.0];
/// Notes of several reports are told once each, and no more of them.
const MAX_NOTES: usize = 8;

/// A figure with the name of its files.
pub struct NamedFigure {
    /// Name without extension: the task's, where it is about one.
    pub name: String,
    /// The task that it is about; of several or none otherwise.
    pub task: Option<String>,
    /// The figure.
    pub figure: Box<dyn Figure>,
}

/// All figures that results allow:
/// - alignment against uniformity, for tasks with both metrics;
/// - pseudo-perplexity against length, for tasks with the series `length` and `pseudo_perplexity` (and `…_per_char`);
/// - similarities, for tasks with the series `random_similarity` and `positive_similarity`;
/// - metrics against steps, for tasks with two checkpoints of a run or more;
/// - models × tasks with intervals: the cells of the leaderboard. Results that make no leaderboard, since they contradict
///   each other, make no such figure.
///
/// Only tasks that are `wanted` get figures of their own. All are complete.
pub fn figures(runs: &[Run], wanted: impl Fn(&str) -> bool) -> Vec<NamedFigure> {
    let complete = |mut named: NamedFigure| {
        while named.figure.refine() {}
        named
    };
    unrefined_figures(runs, wanted).map(complete).collect()
}

/// [`figures`] one after another, before [`Figure::refine`], for a page that must not stand still.
pub fn unrefined_figures(runs: &[Run], wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = NamedFigure> {
    let results = Rc::new(Results::new(runs));
    let tasks: Vec<String> = results.tasks.keys().filter(|task| wanted(task)).cloned().collect();
    let of_task = {
        let results = Rc::clone(&results);
        move |task: String| task_figures(&task, &results.tasks[&task])
    };
    let of_models = move || {
        let figure = model_chart(&results, &Leaderboard::build(runs).ok()?)?;
        Some(NamedFigure { name: "models".into(), task: None, figure: Box::new(figure) })
    };
    tasks.into_iter().flat_map(of_task).chain(std::iter::once_with(of_models).flatten())
}

fn task_figures(task: &str, entries: &[Entry<'_>]) -> Vec<NamedFigure> {
    let named = |name: String, figure: Option<Box<dyn Figure>>| {
        figure.map(|figure| NamedFigure { name, task: Some(task.into()), figure })
    };
    let all = [
        named(task.into(), boxed(alignment_chart(task, entries))),
        named(task.into(), boxed(length_chart(task, entries, false))),
        named(format!("{task}-per-char"), boxed(length_chart(task, entries, true))),
        named(task.into(), boxed(similarity_chart(task, entries))),
        named(format!("{task}-by-step"), boxed(step_chart(task, entries))),
    ];
    all.into_iter().flatten().collect()
}

fn boxed<F: Figure + 'static>(figure: Option<F>) -> Option<Box<dyn Figure>> {
    figure.map(|figure| Box::new(figure) as _)
}

/// A result of a model, with the track it belongs to.
struct Entry<'a> {
    report: &'a EvalReport,
    /// Name of the run, or of the model where it is not one of several checkpoints of a run.
    track: String,
    /// Index of the track among all.
    look: usize,
    /// Optimizer steps, where it is one of several checkpoints.
    step: Option<u64>,
}

/// Results by task, in the order of the reports, checkpoints by step.
struct Results<'a> {
    tasks: BTreeMap<String, Vec<Entry<'a>>>,
}

impl<'a> Results<'a> {
    fn new(runs: &'a [Run]) -> Self {
        let reports = || runs.iter().map(|run| &run.report);
        let mut steps: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for report in reports() {
            steps.entry(run_name(report)).or_default().extend(report.model.step);
        }
        let mut tracks: Vec<String> = Vec::new();
        let mut tasks: BTreeMap<String, Vec<Entry<'a>>> = BTreeMap::new();
        for report in reports() {
            let run = run_name(report);
            let in_run = run != report.model.name && steps[run].len() > 1;
            let track = if in_run { run } else { &report.model.name };
            let look = tracks.iter().position(|other| other == track).unwrap_or(tracks.len());
            if look == tracks.len() {
                tracks.push(track.into());
            }
            let step = report.model.step.filter(|_| in_run);
            for task in report.results.keys() {
                tasks.entry(task.clone()).or_default().push(Entry { report, track: track.into(), look, step });
            }
        }
        tasks.values_mut().for_each(|entries| entries.sort_by_key(|entry| (entry.look, entry.step)));
        Self { tasks }
    }

    /// The look of a model in all figures.
    fn look(&self, model: &str) -> Option<usize> {
        self.tasks.values().flatten().find(|entry| entry.report.model.name == model).map(|entry| entry.look)
    }
}

/// The name of a checkpoint's run: `run` of `run_step-00000500`, the whole name of any other model.
fn run_name(report: &EvalReport) -> &str {
    let name = report.model.name.as_str();
    let run = name.rsplit_once("step-").filter(|(run, step)| !run.is_empty() && step.parse::<u64>().is_ok());
    match run {
        Some((run, _)) if report.model.step.is_some() => run.trim_end_matches(['_', '-', '/']),
        _ => name,
    }
}

impl Entry<'_> {
    fn metric(&self, task: &str, name: &str) -> Option<MetricValue> {
        self.report.metric(task, name)
    }

    fn value(&self, task: &str, name: &str) -> Option<f64> {
        self.metric(task, name)?.value.ok()
    }

    fn series(&self, task: &str, name: &str) -> Option<&Vec<f64>> {
        self.report.series.get(task)?.get(name)
    }
}

/// Notes of the reports, each once.
fn notes(task: &str, entries: &[Entry<'_>]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for note in entries.iter().filter_map(|entry| entry.report.notes.get(task)).flatten() {
        if !notes.contains(note) && notes.len() < MAX_NOTES {
            notes.push(note.clone());
        }
    }
    notes
}

/// Neighbours with the same track.
fn tracks<'e, 'a>(entries: &'e [Entry<'a>]) -> impl Iterator<Item = &'e [Entry<'a>]> {
    entries.chunk_by(|a, b| a.look == b.look)
}

/// The data's name in a task: what follows the protocol's.
fn data_name<'t>(task: &'t str, protocol: &str) -> &'t str {
    task.strip_prefix(protocol).map_or(task, |rest| rest.trim_start_matches('-'))
}

fn step_label(step: Option<u64>) -> String {
    step.map_or(String::new(), |step| grouped(&step.to_string()))
}

fn alignment_chart(task: &str, entries: &[Entry<'_>]) -> Option<ScatterChart> {
    let place = |entry: &Entry<'_>| {
        let (x, y) = (entry.metric(task, "uniformity")?, entry.metric(task, "alignment")?);
        let label = step_label(entry.step);
        Some(Place { label, x: x.value.ok()?, y: y.value.ok()?, x_interval: x.interval, y_interval: y.interval })
    };
    let track = |entries: &[Entry<'_>]| {
        let places: Vec<_> = entries.iter().filter_map(place).collect();
        (!places.is_empty()).then(|| Track { name: entries[0].track.clone(), look: entries[0].look, places })
    };
    let tracks: Vec<_> = tracks(entries).filter_map(track).collect();
    (!tracks.is_empty()).then(|| ScatterChart {
        title: format!("アラインメントと一様性 (alignment and uniformity) · {}", data_name(task, "alignment")),
        x_label: "一様性 (uniformity)　← 低いほど良い (lower is better)".into(),
        y_label: "アラインメント (alignment)　↓ 低いほど良い (lower is better)".into(),
        tracks,
        notes: notes(task, entries),
    })
}

fn length_chart(task: &str, entries: &[Entry<'_>], per_char: bool) -> Option<DotChart> {
    let series = if per_char { "pseudo_perplexity_per_char" } else { "pseudo_perplexity" };
    let mut pending = VecDeque::new();
    let mut groups: Vec<DotGroup> = Vec::new();
    // Of a run its last checkpoint: the others are in the figure by steps.
    for entry in tracks(entries).filter_map(<[_]>::last) {
        let (Some(lengths), Some(values)) = (entry.series(task, "length"), entry.series(task, series)) else {
            continue;
        };
        let dots: Vec<_> = lengths.iter().copied().zip(values.iter().copied()).collect();
        let borders = borders(entry.report, task);
        let bins: Vec<_> = borders.windows(2).filter_map(|ends| Bin::between(ends[0], ends[1], &dots)).collect();
        let (seed, resamples) = (entry.report.config.random_seed, entry.report.config.bootstrap_iters);
        let group = groups.len();
        pending.extend((0..bins.len()).map(|bin| Resampling { group, bin, seed, resamples }));
        groups.push(DotGroup { name: entry.report.model.name.clone(), look: entry.look, dots, bins });
    }
    let values = || groups.iter().flat_map(|group| &group.dots).map(|dot| dot.1).filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let unit = if per_char { "1 文字あたり (per character)" } else { "1 トークンあたり (per token)" };
    (!groups.is_empty()).then(|| DotChart {
        title: format!("擬似パープレキシティと長さ · {}", data_name(task, "pseudo-perplexity")),
        x_label: "長さ [トークン] (length in tokens)　線と印: 区間の中央値と 95 % 区間 (medians of bins)".into(),
        y_label: format!("擬似パープレキシティ (pseudo-perplexity), {unit}"),
        logarithmic: low > 0.0 && high > 10.0 * low,
        groups,
        notes: notes(task, entries),
        pending,
    })
}

/// 0 and the upper borders that the result's options name, or the original's.
fn borders(report: &EvalReport, task: &str) -> Vec<f64> {
    let named = report.configs.get(task).and_then(|config| config.pointer("/options/bins"));
    let named: Option<Vec<f64>> = named.and_then(|bins| serde_json::from_value(bins.clone()).ok());
    [vec![0.0], named.unwrap_or(BORDERS.to_vec())].concat()
}

fn similarity_chart(task: &str, entries: &[Entry<'_>]) -> Option<HistogramChart> {
    let panel = |entry: &Entry<'_>| {
        let values = |name| entry.series(task, name).cloned();
        let (random, positive) = (values("random_similarity")?, values("positive_similarity")?);
        let said = |label: &str, name| entry.value(task, name).map(|value| format!("{label} {value:.3}"));
        let note = [said("重なり (overlap)", "overlap"), said("AUROC", "auroc")];
        let histogram = |name: &str, values| Histogram { name: name.into(), values };
        Some(HistogramPanel {
            name: entry.report.model.name.clone(),
            note: note.into_iter().flatten().collect::<Vec<_>>().join("　"),
            histograms: vec![
                histogram("無作為な対 (random pairs)", random),
                histogram("正例 (positive pairs)", positive),
            ],
        })
    };
    let panels: Vec<_> = entries.iter().filter_map(panel).collect();
    (!panels.is_empty()).then(|| HistogramChart {
        title: format!("類似度の分布 (similarity of pairs) · {}", data_name(task, "similarity")),
        x_label: "コサイン類似度 (cosine similarity)　縦軸: 対の割合 [%] (share of pairs)".into(),
        panels,
        notes: notes(task, entries),
    })
}

/// The metrics of a task that are compared: the main one; of alignment and uniformity both, since each alone is won by a
/// useless model; of similarities also where both kinds of pairs lie.
fn compared(task: &str, entries: &[Entry<'_>]) -> Vec<String> {
    let mut metrics: Vec<String> = Vec::new();
    for entry in entries {
        let both = ["alignment", "uniformity"].map(str::to_owned);
        let has_both = both.iter().all(|name| entry.metric(task, name).is_some());
        let main = entry.report.main_metric.get(task).cloned();
        let means = ["positive_mean", "random_mean"].map(str::to_owned);
        let means = means.into_iter().filter(|name| entry.metric(task, name).is_some());
        let wanted: Vec<_> = if has_both { both.to_vec() } else { main.into_iter().chain(means).collect() };
        metrics.extend(wanted.into_iter().filter(|name| !name.is_empty()));
    }
    metrics.sort();
    metrics.dedup();
    metrics
}

/// A metric's name and which direction is better.
fn with_direction(metric: &str, higher_is_better: Option<bool>) -> String {
    match higher_is_better {
        Some(true) => format!("{metric} ↑ 高いほど良い (higher is better)"),
        Some(false) => format!("{metric} ↓ 低いほど良い (lower is better)"),
        None => metric.into(),
    }
}

fn step_chart(task: &str, entries: &[Entry<'_>]) -> Option<LineChart> {
    let runs: Vec<_> = tracks(entries).filter(|run| run.len() > 1 && run.iter().all(|e| e.step.is_some())).collect();
    if runs.is_empty() {
        return None;
    }
    let panel = |metric: &String| {
        let series = runs.iter().map(|run| {
            let point =
                |entry: &Entry<'_>| (entry.step.unwrap_or(0) as f64, entry.value(task, metric).unwrap_or(f64::NAN));
            let points = run.iter().map(point).collect();
            Series { name: run[0].track.clone(), points, mark: Mark::Points, colour: run[0].look }
        });
        let higher = entries.iter().find_map(|entry| entry.metric(task, metric)).map(|found| found.higher_is_better);
        Panel { y_label: with_direction(metric, higher), height: 1.0, series: series.collect() }
    };
    Some(LineChart {
        title: format!("学習の経過 (along training) · {task}"),
        x_label: "ステップ (step)".into(),
        panels: compared(task, entries).iter().map(panel).collect(),
        notes: notes(task, entries),
    })
}

/// The main metrics of the leaderboard, and those that are read together only, with the models in its order.
fn model_chart(results: &Results<'_>, board: &Leaderboard) -> Option<ForestChart> {
    let is_shown = |column: &&(usize, &Column)| column.1.is_main || !ranks(&column.1.metric);
    let columns: Vec<_> = board.columns.iter().enumerate().collect();
    let panels: Vec<_> =
        columns.iter().filter(is_shown).map(|(i, column)| forest_panel(column, *i, results, board)).collect();
    (!panels.is_empty()).then(|| ForestChart {
        title: "モデルの比較 (models), 95 % 区間または ± 標準偏差 (intervals or sd)".into(),
        panels,
        notes: vec![],
    })
}

fn forest_panel(column: &Column, i: usize, results: &Results<'_>, board: &Leaderboard) -> ForestPanel {
    let estimate = |row: &Row| {
        let cell = &row.cells[i];
        let around = || Some([cell.value? - cell.sd?, cell.value? + cell.sd?]);
        let look = row.model.as_ref().and_then(|model| results.look(&model.name)).unwrap_or_default();
        Estimate { name: row.label.clone(), look, value: cell.value, interval: cell.interval.or_else(around) }
    };
    let baseline = |row: &Row| Some((baseline_label(&row.label), row.cells[i].value?));
    let name = format!("{} · {}", column.task_label, column.metric_label);
    let num_seeds = board.rows.iter().map(|row| row.cells[i].seeds.len()).max().unwrap_or(0);
    let seeds = if num_seeds > 1 { format!("　± sd, {num_seeds} seeds") } else { String::new() };
    ForestPanel {
        name: with_direction(&name, Some(column.higher_is_better)) + &seeds,
        rows: board.rows.iter().map(estimate).collect(),
        baselines: board.baselines.iter().filter_map(baseline).collect(),
    }
}
