//! The leaderboard: models against tasks, built from results and nothing else.
//!
//! Runs of one model on one task that differ in their seed alone make one cell: mean and standard deviation over seeds.
//! Where a task was run with several hyper-parameter settings, the best on the development split is shown, by its mean
//! over seeds; a test split selects nothing. What is missing or undefined stays so and enters no average. Models are
//! tested against the best of their column by [`compare`].

mod choose;
pub mod compare;
pub mod display;
pub mod examples;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::report::FORMAT_VERSION;
use crate::report::eval::{EvalReport, ModelIdentity};
use choose::{Choice, Entry};

pub use choose::data_hashes;

/// Name of the average among the columns to sort by.
pub const AVERAGE: &str = "average";

/// A results file.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it lies: its name in messages and in [`Cell::places`].
    pub place: String,
    /// What it says.
    pub report: EvalReport,
}

/// Models against metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leaderboard {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Metrics, those of one task side by side.
    pub columns: Vec<Column>,
    /// Models.
    pub rows: Vec<Row>,
    /// What a model must beat: majority class, BM25.
    pub baselines: Vec<Row>,
    /// Columns whose mean is the average; empty where there is none.
    pub average_of: Vec<String>,
    /// Id of the column that orders the rows, or `average`.
    pub sorted_by: String,
    /// Footnotes; other fields refer to them by number, from 1.
    pub notes: Vec<String>,
}

/// A metric of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Task, `/`, metric.
    pub id: String,
    /// Name of the task in results; with what was chosen, where a task stands for itself several times.
    pub task: String,
    /// Name of the metric in results.
    pub metric: String,
    /// Shown name of the task.
    pub task_label: String,
    /// Shown name of the metric.
    pub metric_label: String,
    /// Whether larger is better.
    pub higher_is_better: bool,
    /// Whether the metric ranks models on this task.
    pub is_main: bool,
    /// Values are shown times this.
    pub scale: f64,
    /// Values are shown with so many decimals.
    pub decimals: usize,
    /// Whether one model can be called the best: all saw the same data under the same definition of the task, and the metric
    /// tells good from bad on its own.
    pub is_comparable: bool,
    /// Footnotes of the task.
    pub notes: Vec<usize>,
}

/// A model, or a baseline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Shown name.
    pub label: String,
    /// Which model it is; absent for a baseline.
    pub model: Option<ModelIdentity>,
    /// One for each column.
    pub cells: Vec<Cell>,
    /// Mean over the columns that [`Leaderboard::average_of`] lists, where all of them have a value.
    pub average: Option<f64>,
    /// Footnotes of the row.
    pub notes: Vec<usize>,
}

/// A model's value of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Mean over seeds; `null` where the result is missing or undefined.
    pub value: Option<f64>,
    /// Standard deviation over seeds (divided by n - 1), where there are several.
    pub sd: Option<f64>,
    /// 95 % bootstrap interval over examples, where there is one seed.
    pub interval: Option<[f64; 2]>,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Why there are runs but no value.
    pub undefined: Option<String>,
    /// The options of the runs, without seed and data.
    pub setting: Option<Value>,
    /// Number of settings that this one was chosen from.
    pub settings_tried: usize,
    /// The results files.
    pub places: Vec<String>,
    /// Whether no model has a better value.
    pub is_best: bool,
    /// Two-sided p-value of the paired test against the best model.
    pub p_value: Option<f64>,
    /// The p-value after Holm's correction over the models of the column.
    pub p_holm: Option<f64>,
    /// Why there is no test against the best model.
    pub untested: Option<String>,
    /// Footnotes of the cell.
    pub notes: Vec<usize>,
}

/// Footnotes, each text once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, text: String) -> usize {
        let known = self.0.iter().position(|note| *note == text);
        known.unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        }) + 1
    }
}

impl Leaderboard {
    /// Builds the table, without tests between models, sorted as [`Self::sort`] does where no column is named.
    ///
    /// # Errors
    /// [`Error::Input`] without results, for results of one model and task on different data, and for a task whose main
    /// metric is one of the test split.
    pub fn build(runs: &[Run]) -> Result<Self> {
        let entries = choose::entries(runs);
        let models = choose::models(&entries);
        let mut notes = Notes::default();
        let mut board = Self { format_version: FORMAT_VERSION, ..Self::default() };
        board.rows = models.iter().map(|model| model.row(&mut notes)).collect();
        let mut chosen = Vec::new();
        for part in choose::parts(&entries) {
            let choices = models.iter().map(|model| part.choose(model.key)).collect::<Result<Vec<_>>>()?;
            board.add_part(&part, &choices, &mut chosen, &mut notes);
        }
        if board.columns.is_empty() {
            return Err(Error::Input { message: "there are no results to show".into() });
        }
        board.add_baselines(&chosen, &mut notes);
        board.add_average(&mut notes);
        board.mark_best();
        board.notes = notes.0;
        board.sort(None)?;
        Ok(board)
    }

    /// Adds the columns of a task; `chosen` gets the runs behind each.
    fn add_part<'a>(
        &mut self,
        part: &choose::Part<'a>,
        choices: &[Option<Choice<'a>>],
        chosen: &mut Vec<Vec<&'a Entry<'a>>>,
        notes: &mut Notes,
    ) {
        let runs: Vec<_> = choices.iter().flatten().flat_map(|choice| choice.runs.iter().copied()).collect();
        let first = self.columns.len();
        self.columns.extend(part.columns(&runs));
        let common = choose::common_notes(&runs);
        let (warning, settings) = (choose::difference(&runs, &part.label), choose::settings(&runs, &part.label));
        for column in &mut self.columns[first..] {
            let mut numbers: Vec<_> = common.iter().map(|text| notes.add((*text).to_owned())).collect();
            numbers.extend(warning.iter().chain(&settings).map(|text| notes.add(text.clone())));
            numbers.sort_unstable();
            column.notes = numbers;
            column.is_comparable = warning.is_none() && display::ranks(&column.metric);
            chosen.push(runs.clone());
        }
        for (row, choice) in self.rows.iter_mut().zip(choices) {
            for column in &self.columns[first..] {
                let cell = choice.as_ref().map(|choice| choice.cell(column, &row.label, &common, notes));
                row.cells.push(cell.unwrap_or_default());
            }
        }
    }

    fn add_baselines(&mut self, chosen: &[Vec<&Entry<'_>>], notes: &mut Notes) {
        let names: BTreeSet<&String> =
            chosen.iter().flatten().flat_map(|run| run.baselines()).map(|(n, _)| n).collect();
        for name in names {
            let cells = self.columns.iter().zip(chosen);
            let cells = cells.map(|(column, runs)| baseline(name, &column.metric, runs, notes)).collect();
            self.baselines.push(Row { label: name.clone(), cells, ..Row::default() });
        }
    }

    /// The average over the main metrics of JGLUE's tasks, where there are at least two.
    fn add_average(&mut self, notes: &mut Notes) {
        let is_part = |column: &&Column| column.is_main && column.scale == 100.0 && display::is_jglue(&column.task);
        let of: Vec<&Column> = self.columns.iter().filter(is_part).collect();
        if of.len() < 2 {
            return;
        }
        let names: Vec<_> = of.iter().map(|column| format!("{} {}", column.task_label, column.metric_label)).collect();
        notes.add(format!("The average is over {}, and only of models that have all of them.", names.join(", ")));
        self.average_of = of.iter().map(|column| column.id.clone()).collect();
        let places: Vec<usize> = (0..self.columns.len()).filter(|i| is_part(&&self.columns[*i])).collect();
        for row in self.rows.iter_mut().chain(&mut self.baselines) {
            let values: Option<Vec<f64>> = places.iter().map(|i| row.cells[*i].value).collect();
            row.average = values.map(|values| values.iter().sum::<f64>() / values.len() as f64);
        }
    }

    /// Marks the best of each column that has at least two values to compare.
    fn mark_best(&mut self) {
        for (i, column) in self.columns.iter().enumerate() {
            let values: Vec<f64> = self.rows.iter().filter_map(|row| row.cells[i].value).collect();
            let best = values.iter().copied().reduce(if column.higher_is_better { f64::max } else { f64::min });
            if values.len() >= 2 && column.is_comparable {
                self.rows.iter_mut().for_each(|row| row.cells[i].is_best = row.cells[i].value == best);
            }
        }
    }

    /// Orders the rows, the best first and those without a value last, by the column with this id, the main column of
    /// this task, or the first column of this metric; where none is named, by the average, or else the first column that
    /// has a best.
    ///
    /// # Errors
    /// [`Error::Input`] with the possible names for an unknown one.
    pub fn sort(&mut self, by: Option<&str>) -> Result<()> {
        let first = self.columns.iter().find(|column| column.is_comparable).unwrap_or(&self.columns[0]);
        let by = by.unwrap_or(if self.average_of.is_empty() { &first.id } else { AVERAGE }).to_owned();
        let is_average = by == AVERAGE && !self.average_of.is_empty();
        let column = self.find(&by).filter(|_| !is_average);
        if column.is_none() && !is_average {
            let names: Vec<_> = self.columns.iter().map(|column| column.id.as_str()).collect();
            let message = format!("there is no column `{by}` to sort by; there are {}", names.join(", "));
            return Err(Error::Input { message });
        }
        let sign = column.map_or(1.0, |i| if self.columns[i].higher_is_better { 1.0 } else { -1.0 });
        let key = |row: &Row| column.map_or(row.average, |i| row.cells[i].value).map(|value| sign * value);
        self.rows.sort_by(|a, b| {
            // None is less than any value, so that it comes last.
            key(b).partial_cmp(&key(a)).expect("values are finite").then_with(|| a.label.cmp(&b.label))
        });
        self.sorted_by = column.map_or(by, |i| self.columns[i].id.clone());
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        let place = |test: &dyn Fn(&Column) -> bool| self.columns.iter().position(test);
        place(&|column| column.id == name)
            .or_else(|| place(&|column| column.task == name && column.is_main))
            .or_else(|| place(&|column| column.metric == name))
    }

    /// The table as JSON, indented, with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a table has string keys only, so it is always JSON") + "\n"
    }
}

/// The value that all runs state for a baseline.
fn baseline(name: &str, metric: &str, runs: &[&Entry<'_>], notes: &mut Notes) -> Cell {
    let stated = runs.iter().flat_map(|run| run.baselines()).filter(|(known, _)| *known == name);
    let values: BTreeMap<u64, f64> =
        stated.filter_map(|(_, values)| values.get(metric)).map(|value| (value.to_bits(), *value)).collect();
    let mut values = values.into_values();
    match (values.next(), values.next()) {
        (value, None) => Cell { value, ..Cell::default() },
        (_, Some(_)) => {
            let reason = format!("Results disagree about the baseline `{name}`.");
            Cell { notes: vec![notes.add(reason.clone())], undefined: Some(reason), ..Cell::default() }
        }
    }
}
