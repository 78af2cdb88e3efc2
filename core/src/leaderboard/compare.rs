//! Paired tests of every model against the best of its column, on the same examples.
//!
//! A metric that is a mean over examples is tested by randomisation of the signs of the differences, any other one that
//! can be computed from targets and predictions by the bootstrap. With several seeds an example's score is its mean over
//! them, and a correlation is the mean of the runs' correlations. Holm's step-down correction (1979) goes over the models
//! of a column.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Cell, Column, Leaderboard, display};
use crate::metrics::classification::matthews;
use crate::metrics::correlation::{pearson, spearman};
use crate::metrics::statistics::{Randomisation, Resamples, mean, pick};
use crate::metrics::{Metric, Undefined};
use crate::report::eval::{DocId, Sample};

/// A corrected p-value up to this is a significant difference.
pub const SIGNIFICANCE: f64 = 0.05;

const SEED: u64 = 42;
const ROUNDS: usize = 10_000;
const RESAMPLES: usize = 2_000;

/// Predictions by the results file that they lie beside.
pub type Samples = BTreeMap<String, Vec<Sample>>;

/// Holm's correction: p-values in any order to corrected ones in the same order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let (mut corrected, mut largest) = (vec![0.0; p_values.len()], 0.0f64);
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[i]).min(1.0);
        corrected[i] = largest;
    }
    corrected
}

impl Leaderboard {
    /// Results files whose predictions [`Self::compare`] reads.
    pub fn places(&self) -> BTreeSet<&str> {
        let cells = self.rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.value.is_some());
        let wanted = cells.flat_map(|cell| &cell.places).map(String::as_str);
        if self.rows.len() < 2 { BTreeSet::new() } else { wanted.collect() }
    }

    /// Tests every model against the best of its column. Where there is no test, the cell says why, and a footnote too.
    pub fn compare(&mut self, samples: &Samples) {
        let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for i in 0..self.columns.len() {
            self.compare_column(i, samples);
            let column = &self.columns[i];
            let name = format!("{} {}", column.task_label, column.metric_label);
            let untested = self.rows.iter().filter_map(|row| row.cells[i].untested.clone());
            untested.for_each(|reason| _ = reasons.entry(reason).or_default().insert(name.clone()));
        }
        for (reason, columns) in reasons {
            let columns: Vec<_> = columns.into_iter().collect();
            self.notes.push(format!("No paired test for {}: {reason}.", columns.join(", ")));
        }
    }

    fn compare_column(&mut self, i: usize, samples: &Samples) {
        let column = &self.columns[i];
        let Some(best) = self.rows.iter().position(|row| row.cells[i].is_best) else { return };
        let others: Vec<usize> =
            (0..self.rows.len()).filter(|row| *row != best && self.rows[*row].cells[i].value.is_some()).collect();
        let cell = |row: usize| &self.rows[row].cells[i];
        let p_values: Vec<_> = others.iter().map(|row| p_value(column, cell(best), cell(*row), samples)).collect();
        let corrected = holm(&p_values.iter().filter_map(|p| p.as_ref().ok()).copied().collect::<Vec<_>>());
        let mut corrected = corrected.into_iter();
        for (row, p) in others.into_iter().zip(p_values) {
            let cell = &mut self.rows[row].cells[i];
            match p {
                Ok(p) => (cell.p_value, cell.p_holm) = (Some(p), corrected.next()),
                Err(reason) => cell.untested = Some(reason),
            }
        }
    }
}

fn p_value(column: &Column, best: &Cell, other: &Cell, samples: &Samples) -> Result<f64, String> {
    let mut test = PairedTest::new(column, best, other, samples)?;
    test.advance(usize::MAX);
    test.p_value()
}

/// The test of two models on the same examples, in as many pieces as one likes.
pub struct PairedTest {
    rounds: Rounds,
    /// Examples that both saw.
    pub num_examples: usize,
}

/// A statistic of the examples with these indices.
type Statistic = Box<dyn FnMut(&[usize]) -> Metric>;

enum Rounds {
    Randomisation(Randomisation),
    Bootstrap(Resamples<Statistic>),
}

impl PairedTest {
    /// The test of a column's metric before its first round.
    ///
    /// # Errors
    /// Why there is no test, in words.
    pub fn new(column: &Column, first: &Cell, second: &Cell, samples: &Samples) -> Result<Self, String> {
        let [first, second] = [first, second].map(|cell| Examples::new(column, cell, samples));
        let (first, second) = (first?, second?);
        if first.docs != second.docs {
            return Err("the models saw different examples".into());
        }
        let num_examples = first.docs.len();
        let rounds = match (first.scores, second.scores) {
            (Scores::Means(first), Scores::Means(second)) => {
                Randomisation::new(&first, &second, SEED, ROUNDS).map(Rounds::Randomisation)
            }
            (Scores::Runs(first), Scores::Runs(second)) => {
                let difference = move |indices: &[usize]| Ok(first.statistic(indices)? - second.statistic(indices)?);
                let resamples = Resamples::new(num_examples, SEED, RESAMPLES, Box::new(difference) as Statistic);
                resamples.map(Rounds::Bootstrap)
            }
            _ => return Err("the models' predictions are recorded in different ways".into()),
        };
        Ok(Self { rounds: rounds.map_err(in_words)?, num_examples })
    }

    /// Goes through up to so many more rounds; returns whether there are more.
    pub fn advance(&mut self, at_most: usize) -> bool {
        match &mut self.rounds {
            Rounds::Randomisation(test) => test.advance(at_most),
            Rounds::Bootstrap(resamples) => resamples.advance(at_most),
        }
    }

    /// The two-sided p-value, once no round is left.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn p_value(self) -> Result<f64, String> {
        match self.rounds {
            Rounds::Randomisation(test) => Ok(test.p_value()),
            Rounds::Bootstrap(resamples) => Ok(resamples.finish().map_err(in_words)?.p_value()),
        }
    }
}

fn in_words(undefined: Undefined) -> String {
    undefined.to_string().trim_end_matches('.').to_owned()
}

/// What a test needs of one model: the examples in order, and their scores.
struct Examples {
    docs: Vec<DocId>,
    scores: Scores,
}

enum Scores {
    /// The score of each example, its mean over seeds.
    Means(Vec<f64>),
    /// Targets and predictions.
    Runs(Runs),
}

struct Runs {
    metric: fn(&[f64], &[f64]) -> Metric,
    gold: Vec<f64>,
    predicted_by_seed: Vec<Vec<f64>>,
}

impl Runs {
    /// The mean over seeds of the metric on some examples.
    fn statistic(&self, indices: &[usize]) -> Metric {
        let gold = pick(&self.gold, indices);
        let of_run = |predicted: &Vec<f64>| (self.metric)(&gold, &pick(predicted, indices));
        mean(&self.predicted_by_seed.iter().map(of_run).collect::<Result<Vec<_>, _>>()?)
    }
}

impl Examples {
    fn new(column: &Column, cell: &Cell, samples: &Samples) -> Result<Self, String> {
        let base = display::base_of(&column.metric);
        let runs = cell.places.iter().map(|place| examples(column, place, samples));
        let mut runs: Vec<_> = runs.collect::<Result<_, String>>()?;
        if how(base).is_none() {
            // A metric may not be defined for every example, such as the rank of a gold answer of several tokens.
            runs.iter_mut().for_each(|run| run.retain(|_, sample| score(sample, base).is_some()));
        }
        let docs: Vec<DocId> = runs[0].keys().map(|doc| (*doc).clone()).collect();
        if runs.iter().any(|run| !run.keys().copied().eq(&docs)) {
            return Err("the runs saw different examples".into());
        }
        let scores = match how(base) {
            Some(how) => Scores::Runs(columns(how, &runs)?),
            None if docs.is_empty() => return Err("the metric is not recorded for single examples".into()),
            None => Scores::Means(means(base, &runs)),
        };
        let again = match &scores {
            Scores::Means(scores) => mean(scores),
            Scores::Runs(runs) => runs.statistic(&(0..docs.len()).collect::<Vec<_>>()),
        };
        // A metric that is no mean of its examples, or predictions of another run.
        match again {
            Ok(value) if cell.value.is_some_and(|known| (value - known).abs() <= 1e-6 * known.abs().max(1.0)) => {
                Ok(Self { docs, scores })
            }
            _ => Err("the recorded value does not follow from the recorded examples".into()),
        }
    }
}

/// The examples of a column's split beside a results file.
pub(super) fn examples<'a>(
    column: &Column,
    place: &str,
    samples: &'a Samples,
) -> Result<BTreeMap<&'a DocId, &'a Sample>, String> {
    let base = display::base_of(&column.metric);
    let split = column.metric[..column.metric.len() - base.len()].trim_end_matches('_');
    let split = if split.is_empty() { "valid" } else { split };
    let samples = samples.get(place).ok_or("some results have no per-example predictions beside them")?;
    let of_split = samples.iter().filter(|sample| sample.split.as_deref().unwrap_or("valid") == split);
    let mut examples = BTreeMap::new();
    for sample in of_split {
        if examples.insert(&sample.doc_id, sample).is_some() {
            return Err("two examples have the same name".into());
        }
    }
    if examples.is_empty() { Err(format!("no example of the split {split} is recorded")) } else { Ok(examples) }
}

/// How a metric is computed that is not a mean over examples.
struct How {
    metric: fn(&[f64], &[f64]) -> Metric,
    /// What stands for the target and for the answer of an example.
    columns: [Part; 2],
}

/// A number of an example.
enum Part {
    Target,
    Prediction,
    /// The number of a label.
    TargetLabel,
    PredictionLabel,
    /// A recorded number, after a function.
    More(&'static str, fn(f64) -> f64),
}

fn how(base: &str) -> Option<How> {
    let of_scores = |metric| How { metric, columns: [Part::Target, Part::Prediction] };
    let per = |unit, units, value| How {
        metric: weighted_perplexity,
        columns: [Part::More(unit, units), Part::More(value, f64::ln)],
    };
    match base {
        "pearson" => Some(of_scores(pearson)),
        "spearman" => Some(of_scores(spearman)),
        "matthews" => Some(How { metric: matthews_or_0, columns: [Part::TargetLabel, Part::PredictionLabel] }),
        "pseudo_perplexity_per_char" => Some(per("characters", |count| count, "pseudo_perplexity_per_char")),
        // Tokens are counted with [CLS] and [SEP], which are not scored.
        "pseudo_perplexity" => Some(per("tokens", |count| count - 2.0, "pseudo_perplexity")),
        _ => None,
    }
}

/// A resample with a single class or answer tells nothing apart: 0, as scikit-learn has it.
fn matthews_or_0(gold: &[f64], predicted: &[f64]) -> Metric {
    let classes = |labels: &[f64]| labels.iter().map(|label| *label as usize).collect::<Vec<_>>();
    match matthews(&classes(gold), &classes(predicted)) {
        Err(Undefined::Constant { .. }) => Ok(0.0),
        other => other,
    }
}

/// e to the loss of all texts by unit, from the units and the mean loss of each text.
fn weighted_perplexity(units: &[f64], losses: &[f64]) -> Metric {
    let total: f64 = units.iter().zip(losses).map(|(units, loss)| units * loss).sum();
    Ok((total / units.iter().sum::<f64>()).exp())
}

/// The columns of numbers that a metric is computed from, the answers by seed.
fn columns(how: How, runs: &[BTreeMap<&DocId, &Sample>]) -> Result<Runs, String> {
    let labels = runs.iter().flat_map(BTreeMap::values).flat_map(|sample| [&sample.target, &sample.prediction]);
    let labels: Vec<String> = labels.flatten().map(Value::to_string).collect::<BTreeSet<_>>().into_iter().collect();
    let label = |value: &Option<Value>| labels.binary_search(&value.as_ref()?.to_string()).ok().map(|i| i as f64);
    let number = |part: &Part, sample: &Sample| match part {
        Part::Target => sample.target.as_ref()?.as_f64(),
        Part::Prediction => sample.prediction.as_ref()?.as_f64(),
        Part::TargetLabel => label(&sample.target),
        Part::PredictionLabel => label(&sample.prediction),
        Part::More(name, function) => sample.more.get(*name)?.as_f64().map(function),
    };
    let [gold, predicted] = how.columns.map(|part| {
        let column = |run: &BTreeMap<_, &Sample>| run.values().map(|sample| number(&part, sample)).collect();
        runs.iter().map(column).collect::<Option<Vec<Vec<f64>>>>()
    });
    let (Some(gold), Some(predicted_by_seed)) = (gold, predicted) else {
        return Err("targets or predictions are not recorded as the metric needs them".into());
    };
    if gold.iter().any(|column| *column != gold[0]) {
        return Err("the runs saw different targets".into());
    }
    Ok(Runs { metric: how.metric, gold: gold[0].clone(), predicted_by_seed })
}

/// The score of an example under the metric's name, in its line or in its `metrics`.
pub(super) fn score(sample: &Sample, base: &str) -> Option<f64> {
    let value = sample.more.get(base).or_else(|| sample.more.get("metrics")?.get(base))?;
    value.as_f64().or(value.as_bool().map(f64::from))
}

/// The score of each example, its mean over the runs; all have one.
fn means(base: &str, runs: &[BTreeMap<&DocId, &Sample>]) -> Vec<f64> {
    let scores: Vec<Vec<f64>> =
        runs.iter().map(|run| run.values().filter_map(|sample| score(sample, base)).collect()).collect();
    (0..scores[0].len()).map(|i| scores.iter().map(|run| run[i]).sum::<f64>() / scores.len() as f64).collect()
}
