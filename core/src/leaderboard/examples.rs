//! Single examples behind a cell of the leaderboard, and the examples of two models side by side.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{self, Samples};
use super::{Cell, Column, display};
use crate::plot::number;
use crate::report::eval::{DocId, Sample};

/// Answers of a list that are shown.
const SHOWN_ANSWERS: usize = 5;
/// Metrics of an example that is right with a full score and wrong with any other.
const RIGHT_OR_WRONG: [&str; 5] = ["accuracy", "exact_match", "recall", "success", "top"];

/// An example as a model answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Its name in the data.
    pub doc_id: DocId,
    /// What was asked.
    pub text: String,
    /// What was expected; empty where the task has no such thing.
    pub target: String,
    /// What was answered, by each seed where they differ.
    pub prediction: String,
    /// Its score, the mean over seeds; none where the example has none.
    pub score: Option<f64>,
    /// Whether the answer is wrong; none where the score says no such thing.
    pub is_wrong: Option<bool>,
}

/// What examples are scored by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name: a metric, `absolute_error` or `margin`.
    pub name: String,
    /// Whether a larger score is better.
    pub higher_is_better: bool,
}

impl Measure {
    /// What stands for a column's metric in a single example. A correlation has no share in one, its error has; alignment
    /// is the cosine of the pair, and how well pairs are told apart is by how much the true one is nearer.
    pub fn of(column: &Column) -> Self {
        let base = display::base_of(&column.metric);
        let (name, higher_is_better) = match base {
            "pearson" | "spearman" => ("absolute_error", false),
            "matthews" | "f1_macro" => ("accuracy", true),
            "alignment" | "uniformity" => ("positive_cosine", true),
            "auroc" | "overlap" => ("margin", true),
            _ => (base, column.higher_is_better),
        };
        Self { name: name.into(), higher_is_better }
    }

    fn score(&self, sample: &Sample) -> Option<f64> {
        let more = |name: &str| sample.more.get(name)?.as_f64();
        match self.name.as_str() {
            "absolute_error" => Some((sample.prediction.as_ref()?.as_f64()? - sample.target.as_ref()?.as_f64()?).abs()),
            "margin" => Some(more("positive_cosine")? - more("random_cosine")?),
            name => compare::score(sample, name),
        }
    }

    fn is_wrong(&self, score: f64) -> Option<bool> {
        match self.name.as_str() {
            "margin" => Some(score <= 0.0),
            name => RIGHT_OR_WRONG.iter().any(|right| name.starts_with(right)).then_some(score < 1.0),
        }
    }
}

/// The examples behind a cell, of the column's split, by their names.
///
/// # Errors
/// Why there are none, in words.
pub fn examples(column: &Column, cell: &Cell, samples: &Samples) -> Result<Vec<Example>, String> {
    let measure = Measure::of(column);
    let mut by_doc: BTreeMap<&DocId, Vec<&Sample>> = BTreeMap::new();
    for place in &cell.places {
        for (doc, sample) in compare::examples(column, place, samples)? {
            by_doc.entry(doc).or_default().push(sample);
        }
    }
    Ok(by_doc.into_iter().map(|(doc, seeds)| Example::new(doc, &seeds, &measure)).collect())
}

impl Example {
    fn new(doc_id: &DocId, seeds: &[&Sample], measure: &Measure) -> Self {
        let scores: Option<Vec<f64>> = seeds.iter().map(|sample| measure.score(sample)).collect();
        let score = scores.map(|scores| scores.iter().sum::<f64>() / seeds.len() as f64);
        let mut predictions: Vec<String> = seeds.iter().map(|sample| prediction(sample)).collect();
        predictions.dedup();
        Self {
            doc_id: doc_id.clone(),
            text: asked(seeds[0]),
            target: target(seeds[0]),
            prediction: predictions.join(" | "),
            score,
            is_wrong: score.and_then(|score| measure.is_wrong(score)),
        }
    }

    fn holds(&self, word: &str) -> bool {
        let texts = [&self.text, &self.target, &self.prediction, &self.doc_id.to_string()];
        texts.iter().any(|text| text.to_lowercase().contains(word))
    }
}

/// What was asked: a text, a question, the fields of a labelled example, a pair.
pub fn asked(sample: &Sample) -> String {
    let fields = ["doc", "text", "query", "positive"].into_iter().filter_map(|name| sample.more.get(name));
    fields.map(in_words).next().unwrap_or_default()
}

fn target(sample: &Sample) -> String {
    let more = ["gold", "relevant", "random"].into_iter().find_map(|name| sample.more.get(name));
    sample.target.as_ref().or(more).map(in_words).unwrap_or_default()
}

/// What was answered: a label or a number, the nearest passage with the rank of the first relevant one, the likeliest
/// words, cosines.
fn prediction(sample: &Sample) -> String {
    if let Some(prediction) = &sample.prediction {
        return in_words(prediction);
    }
    let list = |list: &str, name: &str| -> Option<String> {
        let all = sample.more.get(list)?.as_array()?.iter().filter_map(|one| one.get(name)).map(in_words);
        Some(all.take(SHOWN_ANSWERS).collect::<Vec<_>>().join(" "))
    };
    let rank = sample.more.get("first_relevant_rank").map(|rank| format!(" (#{})", in_words(rank)));
    let found = list("top", "docno").map(|found| found + &rank.unwrap_or_default());
    let cosines = || {
        let [near, far] = ["positive_cosine", "random_cosine"].map(|name| sample.more.get(name).map(in_words));
        Some(format!("{} / {}", near?, far?))
    };
    let perplexity = || sample.more.get("pseudo_perplexity").map(in_words);
    found.or_else(|| list("answers", "token")).or_else(cosines).or_else(perplexity).unwrap_or_default()
}

/// A value as text: lists and fields one after another.
fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        Value::Number(one) => one.as_f64().map_or_else(|| one.to_string(), number),
        Value::Bool(is_so) => is_so.to_string(),
        Value::Array(all) => all.iter().map(in_words).collect::<Vec<_>>().join(" ／ "),
        Value::Object(fields) => fields.values().map(in_words).collect::<Vec<_>>().join(" ／ "),
    }
}

/// Which examples are wanted, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those with a wrong answer alone; of two models, of either.
    pub wrong_only: bool,
    /// A text that the example holds anywhere, whatever the case; empty for any.
    pub words: String,
    /// What they are ordered by.
    pub order: Order,
    /// Whether the order is turned around.
    pub is_reversed: bool,
}

/// What examples are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Their names.
    #[default]
    Doc,
    /// What was asked.
    Text,
    /// What was expected.
    Target,
    /// What was answered, of two models by the first.
    Prediction,
    /// What the second of two models answered.
    OtherPrediction,
    /// The score, the lowest first; of two models by which the first is better than the second.
    Score,
}

impl Wanted {
    /// Indices of the examples that are wanted, in order.
    pub fn of(&self, examples: &[Example]) -> Vec<usize> {
        let is_wanted = |example: &Example| !self.wrong_only || example.is_wrong == Some(true);
        let words = self.words.to_lowercase();
        let mut all: Vec<usize> = (0..examples.len()).filter(|i| is_wanted(&examples[*i])).collect();
        all.retain(|i| words.is_empty() || examples[*i].holds(&words));
        self.sort(&mut all, |a, b| self.by(&examples[*a], &examples[*b]));
        all
    }

    /// [`Self::of`] for pairs.
    pub fn of_pairs(&self, pairs: &[Pair], [first, second]: [&[Example]; 2]) -> Vec<usize> {
        let of = |i: &usize| [&first[pairs[*i].first], &second[pairs[*i].second]];
        let words = self.words.to_lowercase();
        let mut all: Vec<usize> = (0..pairs.len()).collect();
        all.retain(|i| !self.wrong_only || of(i).iter().any(|example| example.is_wrong == Some(true)));
        all.retain(|i| words.is_empty() || of(i).iter().any(|example| example.holds(&words)));
        self.sort(&mut all, |a, b| match self.order {
            Order::Score => by_number(pairs[*a].advantage, pairs[*b].advantage),
            Order::OtherPrediction => by_text(&of(a)[1].prediction, &of(b)[1].prediction),
            _ => self.by(of(a)[0], of(b)[0]),
        });
        all
    }

    fn sort(&self, all: &mut [usize], by: impl Fn(&usize, &usize) -> Ordering) {
        all.sort_by(|a, b| if self.is_reversed { by(b, a) } else { by(a, b) });
    }

    fn by(&self, a: &Example, b: &Example) -> Ordering {
        match self.order {
            Order::Doc => a.doc_id.cmp(&b.doc_id),
            Order::Text => a.text.cmp(&b.text),
            Order::Target => by_text(&a.target, &b.target),
            Order::Prediction | Order::OtherPrediction => by_text(&a.prediction, &b.prediction),
            Order::Score => by_number(a.score, b.score),
        }
    }
}

fn by_number(a: Option<f64>, b: Option<f64>) -> Ordering {
    a.unwrap_or(f64::NEG_INFINITY).total_cmp(&b.unwrap_or(f64::NEG_INFINITY))
}

/// Numbers by their size, other texts by their letters.
fn by_text(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

/// An example that two models answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Its index among the first model's examples.
    pub first: usize,
    /// Its index among the second model's examples.
    pub second: usize,
    /// By how much the first model's score is better than the second's; none where one has no score.
    pub advantage: Option<f64>,
}

/// Two models on the same examples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Examples that both answered.
    pub all: Vec<Pair>,
    /// Examples that one of them alone answered.
    pub num_unpaired: usize,
    /// How often the first was better, the second was, and neither.
    pub better: [usize; 3],
    /// How often both were right, only the first, only the second, neither; none where answers are not right or wrong.
    pub right: Option<[usize; 4]>,
}

impl Pairs {
    /// Joins the examples of two models by their names; both are in the order of [`examples`].
    pub fn new(first: &[Example], second: &[Example], measure: &Measure) -> Self {
        let others: BTreeMap<&DocId, usize> = second.iter().enumerate().map(|(i, one)| (&one.doc_id, i)).collect();
        let sign = if measure.higher_is_better { 1.0 } else { -1.0 };
        let pair = |(index, one): (usize, &Example)| {
            let other = *others.get(&one.doc_id)?;
            let advantage = one.score.zip(second[other].score).map(|(a, b)| sign * (a - b));
            Some(Pair { first: index, second: other, advantage })
        };
        let all: Vec<Pair> = first.iter().enumerate().filter_map(pair).collect();
        let count = |is_so: fn(f64) -> bool| all.iter().filter_map(|pair| pair.advantage).filter(|a| is_so(*a)).count();
        let better = [count(|a| a > 0.0), count(|a| a < 0.0), count(|a| a == 0.0)];
        let mut right = [0; 4];
        for pair in &all {
            let wrong = [&first[pair.first], &second[pair.second]].map(|example| example.is_wrong);
            if let [Some(first_wrong), Some(second_wrong)] = wrong {
                right[2 * usize::from(first_wrong) + usize::from(second_wrong)] += 1;
            }
        }
        let num_unpaired = first.len() + second.len() - 2 * all.len();
        Self { num_unpaired, better, right: (right.iter().sum::<usize>() > 0).then_some(right), all }
    }
}
