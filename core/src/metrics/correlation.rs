//! Metrics of scores: correlations equal to scipy's, and mean errors.

use super::{Metric, Undefined, check_count, check_finite, check_pairs, representable};

/// Pearson's product-moment correlation, between -1 and 1.
///
/// # Errors
/// [`Undefined`] if a column is constant or not finite, if there are fewer than two examples, or not one prediction for
/// each.
pub fn pearson(gold: &[f64], predicted: &[f64]) -> Metric {
    check_scores(gold, predicted)?;
    check_count("examples", 2, gold.len())?;
    let gold = standardised("gold scores", gold)?;
    let predicted = standardised("predicted scores", predicted)?;
    Ok(gold.iter().zip(&predicted).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0))
}

/// Spearman's rank correlation, between -1 and 1. Equal scores share their mean rank.
///
/// # Errors
/// As for [`pearson`].
pub fn spearman(gold: &[f64], predicted: &[f64]) -> Metric {
    check_scores(gold, predicted)?;
    pearson(&ranks(gold), &ranks(predicted))
}

/// Mean squared error.
///
/// # Errors
/// [`Undefined`] if there is no example, not one prediction for each, or a score is not finite.
pub fn mean_squared_error(gold: &[f64], predicted: &[f64]) -> Metric {
    mean_error(gold, predicted, |difference| difference * difference)
}

/// Mean absolute error.
///
/// # Errors
/// As for [`mean_squared_error`].
pub fn mean_absolute_error(gold: &[f64], predicted: &[f64]) -> Metric {
    mean_error(gold, predicted, f64::abs)
}

fn mean_error(gold: &[f64], predicted: &[f64], error: impl Fn(f64) -> f64) -> Metric {
    check_scores(gold, predicted)?;
    representable(gold.iter().zip(predicted).map(|(a, b)| error(a - b)).sum::<f64>() / gold.len() as f64)
}

/// Ranks from 1 on, in the order of the values given; equal values share their mean rank (scipy's `rankdata`). A NaN is
/// ranked as the largest value.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Adding 0 turns -0 into 0, so that the two are equal.
    order.sort_unstable_by(|&a, &b| (values[a] + 0.0).total_cmp(&(values[b] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        before += equal.len();
    }
    ranks
}

fn check_scores(gold: &[f64], predicted: &[f64]) -> Result<(), Undefined> {
    check_pairs(gold.len(), predicted.len())?;
    check_finite("gold scores", gold)?;
    check_finite("predicted scores", predicted)
}

/// The values with mean 0 and sum of squares 1, computed so that neither a large offset nor a large or small scale
/// harms.
fn standardised(what: &'static str, values: &[f64]) -> Result<Vec<f64>, Undefined> {
    if values.iter().all(|value| *value == values[0]) {
        return Err(Undefined::Constant { what });
    }
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    // A power of two, so that scaling is exact. The bounds keep it and its use within the range of f64.
    let scale = (-largest.log2().ceil()).clamp(-1022.0, 1000.0).exp2();
    let from_first: Vec<f64> = values.iter().map(|value| value * scale - values[0] * scale).collect();
    let mean = from_first.iter().sum::<f64>() / values.len() as f64;
    let centred: Vec<f64> = from_first.iter().map(|value| value - mean).collect();
    let norm = centred.iter().map(|value| value * value).sum::<f64>().sqrt();
    Ok(centred.iter().map(|value| value / norm).collect())
}
