//! Metrics of classes, equal to scikit-learn's. Labels are indices; any may occur unless a number of labels is given.

use super::correlation::ranks;
use super::{Metric, Undefined, check_finite, check_pairs};
use std::collections::{BTreeMap, BTreeSet};

/// Share of the examples that are labelled right.
///
/// # Errors
/// [`Undefined`] if there is no example or not one prediction for each.
pub fn accuracy(gold: &[usize], predicted: &[usize]) -> Metric {
    check_pairs(gold.len(), predicted.len())?;
    Ok(num_correct(gold, predicted) as f64 / gold.len() as f64)
}

/// Matthews' correlation coefficient for any number of classes (Gorodkin 2004), between -1 and 1.
///
/// # Errors
/// [`Undefined::Constant`] if one label is the only gold one or the only predicted one: that is 0 divided by 0, for
/// which scikit-learn answers 0. [`Undefined`] too if there is no example or not one prediction for each.
pub fn matthews(gold: &[usize], predicted: &[usize]) -> Metric {
    check_pairs(gold.len(), predicted.len())?;
    let (gold_counts, predicted_counts) = (counts(gold), counts(predicted));
    // Whole numbers, so that a degenerate case is recognised exactly. Each is a covariance times the squared count.
    let total = gold.len() as i128;
    let gold_variance = total * total - dot(&gold_counts, &gold_counts);
    let predicted_variance = total * total - dot(&predicted_counts, &predicted_counts);
    for (variance, what) in [(gold_variance, "gold labels"), (predicted_variance, "predicted labels")] {
        if variance == 0 {
            return Err(Undefined::Constant { what });
        }
    }
    let covariance = total * num_correct(gold, predicted) as i128 - dot(&gold_counts, &predicted_counts);
    let scale = (gold_variance as f64).sqrt() * (predicted_variance as f64).sqrt();
    Ok((covariance as f64 / scale).clamp(-1.0, 1.0))
}

/// Unweighted mean of the F1 of every label that occurs, be it as gold or as predicted one.
///
/// # Errors
/// [`Undefined`] if there is no example or not one prediction for each.
pub fn f1_macro(gold: &[usize], predicted: &[usize]) -> Metric {
    check_pairs(gold.len(), predicted.len())?;
    let right: Vec<usize> = gold.iter().zip(predicted).filter(|(a, b)| a == b).map(|(label, _)| *label).collect();
    let (gold, predicted, right) = (counts(gold), counts(predicted), counts(&right));
    let labels: BTreeSet<&usize> = gold.keys().chain(predicted.keys()).collect();
    let f1 =
        |label: &&usize| 2.0 * count(&right, label) as f64 / (count(&gold, label) + count(&predicted, label)) as f64;
    Ok(labels.iter().map(f1).sum::<f64>() / labels.len() as f64)
}

/// How often each gold label (row) was predicted as each label (column).
///
/// # Errors
/// [`Undefined`] if a label is not below `num_labels`, if there is no example, or not one prediction for each.
pub fn confusion(gold: &[usize], predicted: &[usize], num_labels: usize) -> Result<Vec<Vec<u64>>, Undefined> {
    check_pairs(gold.len(), predicted.len())?;
    if let Some(&label) = gold.iter().chain(predicted).find(|label| **label >= num_labels) {
        return Err(Undefined::Label { label, num_labels });
    }
    let mut matrix = vec![vec![0; num_labels]; num_labels];
    for (&gold, &predicted) in gold.iter().zip(predicted) {
        matrix[gold][predicted] += 1;
    }
    Ok(matrix)
}

/// The most frequent gold label, the smallest of equally frequent ones, and its share: the accuracy of always giving
/// this answer.
///
/// # Errors
/// [`Undefined::Empty`] if there is no example.
pub fn majority(gold: &[usize]) -> Result<(usize, f64), Undefined> {
    let by_count = counts(gold).into_iter().rev().max_by_key(|(_, count)| *count);
    let (label, count) = by_count.ok_or(Undefined::Empty)?;
    Ok((label, count as f64 / gold.len() as f64))
}

fn num_correct(gold: &[usize], predicted: &[usize]) -> usize {
    gold.iter().zip(predicted).filter(|(gold, predicted)| gold == predicted).count()
}

fn counts(labels: &[usize]) -> BTreeMap<usize, u64> {
    let mut counts = BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(*label).or_default() += 1);
    counts
}

fn count(counts: &BTreeMap<usize, u64>, label: &usize) -> u64 {
    counts.get(label).copied().unwrap_or(0)
}

fn dot(first: &BTreeMap<usize, u64>, second: &BTreeMap<usize, u64>) -> i128 {
    first.iter().map(|(label, number)| i128::from(*number) * i128::from(count(second, label))).sum()
}

/// Area under the ROC curve of a score that is to be higher for positives: the probability that a positive scores above a
/// negative, ties counted half (Mann and Whitney 1947).
///
/// # Errors
/// [`Undefined`] if there is no positive or no negative, or a score is not finite.
pub fn auroc(positive: &[f64], negative: &[f64]) -> Metric {
    check_finite("positive scores", positive)?;
    check_finite("negative scores", negative)?;
    if positive.is_empty() || negative.is_empty() {
        return Err(Undefined::Empty);
    }
    let n = positive.len() as f64;
    let rank_sum: f64 = ranks(&[positive, negative].concat())[..positive.len()].iter().sum();
    Ok((rank_sum - n * (n + 1.0) / 2.0) / (n * negative.len() as f64))
}
