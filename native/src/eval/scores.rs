//! From answers to metrics with intervals: what each kind of task is measured by.

use std::collections::{BTreeMap, BTreeSet};

use anaume_core::metrics::statistics::{mean, pick};
use anaume_core::metrics::{Metric, classification, correlation, span};
use anaume_core::report::eval::MetricValue;
use serde_json::{Value, json};

use super::finetune::Answer;
use super::tasks::{Example, Gold, Kind};
use super::{Context, Outcome};

/// Least examples of a group, such as a phenomenon, for a metric of its own.
const GROUP_AT_LEAST: usize = 5;

/// The metric that ranks models.
pub fn main_metric(kind: &Kind) -> &'static str {
    match kind {
        Kind::Classification(_) | Kind::MultipleChoice => "accuracy",
        Kind::Regression => "pearson",
        Kind::Span => "exact_match",
    }
}

/// Adds the metrics and the examples of a split. Metrics of the first split, `valid`, have their plain names; those of
/// others begin with the split's.
pub fn add_split(
    outcome: &mut Outcome,
    kind: &Kind,
    split: &str,
    examples: &[Example],
    answers: &[Answer],
    context: &Context<'_>,
) {
    let prefix = if split == "valid" { String::new() } else { format!("{split}_") };
    let (metrics, per_example) = match kind {
        Kind::Regression => regression(examples, answers, context),
        Kind::Span => spans(examples, answers, context),
        Kind::Classification(_) | Kind::MultipleChoice => classes(kind, examples, answers, context),
    };
    outcome.result.metrics.extend(metrics.into_iter().map(|(name, metric)| (format!("{prefix}{name}"), metric)));
    if !matches!(kind, Kind::Regression | Kind::Span) {
        let (_, share) = classification::majority(&golds(examples)).unwrap_or_default();
        let majority = outcome.result.baselines.entry("majority".into()).or_default();
        majority.insert(format!("{prefix}accuracy"), share);
    }
    outcome.result.samples.original += examples.len();
    outcome.result.samples.effective += examples.len();
    let samples = examples.iter().zip(answers).enumerate();
    outcome.samples.extend(samples.map(|(index, (example, answer))| {
        let mut sample = sample(kind, split, example, answer);
        for (name, values) in &per_example {
            sample[name] = values[index].into();
        }
        sample
    }));
}

type Metrics = Vec<(String, MetricValue)>;
type PerExample = BTreeMap<&'static str, Vec<f64>>;

fn golds(examples: &[Example]) -> Vec<usize> {
    let class = |example: &Example| if let Gold::Class(class) = example.gold { class } else { usize::MAX };
    examples.iter().map(class).collect()
}

fn classes(kind: &Kind, examples: &[Example], answers: &[Answer], context: &Context<'_>) -> (Metrics, PerExample) {
    let gold = golds(examples);
    let predicted: Vec<usize> = answers.iter().map(|answer| answer.class().unwrap_or(usize::MAX)).collect();
    let over = |indices: &[usize], name: &str, of: fn(&[usize], &[usize]) -> Metric| {
        let (gold, predicted) = (pick(&gold, indices), pick(&predicted, indices));
        let metric = context.bootstrapped(gold.len(), true, |i| of(&pick(&gold, i), &pick(&predicted, i)));
        (name.to_owned(), metric)
    };
    let all: Vec<usize> = (0..gold.len()).collect();
    let mut metrics = vec![over(&all, "accuracy", classification::accuracy)];
    if matches!(kind, Kind::Classification(_)) {
        metrics.push(over(&all, "matthews", classification::matthews));
        metrics.push(over(&all, "f1_macro", classification::f1_macro));
    }
    let groups: BTreeSet<&String> = examples.iter().flat_map(|example| &example.groups).collect();
    for group in groups {
        let members: Vec<_> = all.iter().copied().filter(|i| examples[*i].groups.contains(group)).collect();
        if members.len() >= GROUP_AT_LEAST {
            metrics.push(over(&members, &format!("accuracy_{group}"), classification::accuracy));
            metrics.push(over(&members, &format!("matthews_{group}"), classification::matthews));
        }
    }
    let right = gold.iter().zip(&predicted).map(|(gold, predicted)| f64::from(u8::from(gold == predicted)));
    (metrics, BTreeMap::from([("accuracy", right.collect())]))
}

fn regression(examples: &[Example], answers: &[Answer], context: &Context<'_>) -> (Metrics, PerExample) {
    let gold: Vec<f64> =
        examples.iter().map(|example| if let Gold::Score(score) = example.gold { score } else { f64::NAN }).collect();
    let predicted: Vec<f64> =
        answers.iter().map(|answer| if let Answer::Score(score) = answer { *score } else { f64::NAN }).collect();
    let over = |name: &str, better: bool, of: fn(&[f64], &[f64]) -> Metric| {
        (name.to_owned(), context.bootstrapped(gold.len(), better, |i| of(&pick(&gold, i), &pick(&predicted, i))))
    };
    let metrics = vec![
        over("pearson", true, correlation::pearson),
        over("spearman", true, correlation::spearman),
        over("mean_squared_error", false, correlation::mean_squared_error),
    ];
    (metrics, PerExample::new())
}

fn spans(examples: &[Example], answers: &[Answer], context: &Context<'_>) -> (Metrics, PerExample) {
    let value = |of: fn(&[&str], &str) -> f64| -> Vec<f64> {
        let one = |(example, answer): (&Example, &Answer)| match (&example.gold, answer) {
            (Gold::Answers(gold), Answer::Text(text)) => {
                of(&gold.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), text)
            }
            _ => f64::NAN,
        };
        examples.iter().zip(answers).map(one).collect()
    };
    let per_example = PerExample::from([
        ("exact_match", value(|gold, answer| span::exact_match(gold, answer))),
        ("f1", value(|gold, answer| span::character_f1(gold, answer))),
    ]);
    let metric = |(name, values): (&&'static str, &Vec<f64>)| {
        ((*name).to_owned(), context.bootstrapped(values.len(), true, |i| mean(&pick(values, i))))
    };
    (per_example.iter().map(metric).collect(), per_example)
}

fn sample(kind: &Kind, split: &str, example: &Example, answer: &Answer) -> Value {
    let label = |class: usize| match kind {
        Kind::Classification(labels) => labels.get(class).map_or(Value::Null, |label| label.as_str().into()),
        _ => example.choices.get(class).map_or(Value::Null, |choice| choice.as_str().into()),
    };
    let target = match &example.gold {
        Gold::Class(class) => label(*class),
        Gold::Score(score) => (*score).into(),
        Gold::Answers(answers) => answers.iter().map(|(text, _)| text.as_str()).collect(),
    };
    let prediction = match answer {
        Answer::Logits(_) => answer.class().map_or(Value::Null, label),
        Answer::Score(score) => (*score).into(),
        Answer::Text(text) => text.as_str().into(),
    };
    let mut doc = json!({ "first": example.first });
    if let Some(second) = example.second.as_ref().filter(|_| *kind != Kind::Span) {
        doc["second"] = second.as_str().into();
    }
    let mut sample = json!({
        "doc_id": example.id, "split": split, "doc": doc, "target": target, "prediction": prediction,
    });
    if let Answer::Logits(logits) = answer {
        sample["logits"] = json!(logits);
    }
    if !example.groups.is_empty() {
        sample["groups"] = json!(example.groups);
    }
    sample
}
