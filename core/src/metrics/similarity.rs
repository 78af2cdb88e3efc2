//! How embeddings lie to each other: alignment and uniformity (Wang and Isola 2020, <https://arxiv.org/abs/2005.10242>),
//! cosines, histograms and their overlap.
//!
//! Embeddings are row-major matrices of f32 or f64 with rows of `width`; everything is computed in f64.

use super::{Metric, Undefined, check_count, check_finite, check_pairs, representable, statistics};

/// Rows compared with as many others at a time: two blocks of 768 dimensions stay in a core's cache.
const BLOCK_ROWS: usize = 32;
/// How far a squared length may be from 1: room for embeddings rounded to half precision.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// Mean squared distance between the embeddings of positive pairs, each of length 1. 0 is best, 4 the largest.
///
/// # Errors
/// As for [`squared_distances`].
pub fn alignment<T: Copy + Into<f64>>(first: &[T], second: &[T], width: usize) -> Metric {
    statistics::mean(&squared_distances(first, second, width)?)
}

/// Squared distance between row i of one matrix and row i of the other, all of length 1: 2 - 2 cos.
///
/// # Errors
/// [`Undefined`] if there is no row, the matrices differ in size, or a row is not finite or not of length 1.
pub fn squared_distances<T: Copy + Into<f64>>(first: &[T], second: &[T], width: usize) -> Result<Vec<f64>, Undefined> {
    check_pairs(first.len(), second.len())?;
    let (first, second) = (unit_rows(first, width)?, unit_rows(second, width)?);
    Ok(first.chunks_exact(width).zip(second.chunks_exact(width)).map(|(a, b)| squared_distance(a, b)).collect())
}

/// Logarithm of the mean of exp(-2 d²) over all pairs of two different rows, each of length 1, with d their distance.
/// Lower is more uniform.
///
/// # Errors
/// As for [`potentials`].
pub fn uniformity<T: Copy + Into<f64>>(embeddings: &[T], width: usize) -> Metric {
    Ok(statistics::mean(&potentials(embeddings, width)?)?.ln())
}

/// The mean of exp(-2 d²) between each row, of length 1, and all others, with d their distance: the logarithm of their
/// mean is the uniformity. Takes time in the square of the rows and memory for one f64 copy of them.
///
/// # Errors
/// [`Undefined`] if there are fewer than two rows, or a row is not finite or not of length 1.
pub fn potentials<T: Copy + Into<f64>>(embeddings: &[T], width: usize) -> Result<Vec<f64>, Undefined> {
    let values = unit_rows(embeddings, width)?;
    let rows: Vec<&[f64]> = values.chunks_exact(width).collect();
    check_count("embeddings", 2, rows.len())?;
    let mut sums = vec![0.0; rows.len()];
    for first in (0..rows.len()).step_by(BLOCK_ROWS) {
        for second in (first..rows.len()).step_by(BLOCK_ROWS) {
            add_potentials(&rows, first, second, &mut sums);
        }
    }
    Ok(sums.into_iter().map(|sum| sum / (rows.len() - 1) as f64).collect())
}

/// Adds the potentials between the blocks of rows that start at two places, each pair of rows once to both of its sums.
fn add_potentials(rows: &[&[f64]], first: usize, second: usize, sums: &mut [f64]) {
    let block = |start: usize| start..(start + BLOCK_ROWS).min(rows.len());
    for i in block(first) {
        for j in block(second).skip_while(|j| *j <= i) {
            let potential = (-2.0 * squared_distance(rows[i], rows[j])).exp();
            sums[i] += potential;
            sums[j] += potential;
        }
    }
}

/// Standard error of the uniformity over the choice of texts, from the [`potentials`] of their rows: the jackknife for a
/// mean over pairs (Arvesen 1969), each row left out in turn.
///
/// # Errors
/// [`Undefined`] if there are fewer than three rows, a potential is not finite, or all are 0.
pub fn uniformity_error(potentials: &[f64]) -> Metric {
    check_finite("potentials", potentials)?;
    check_count("embeddings", 3, potentials.len())?;
    let n = potentials.len() as f64;
    let total: f64 = potentials.iter().sum();
    // A row leaves with its pairs on both sides; of the mean over pairs a factor n - 1 cancels out.
    let without = |potential: &f64| ((total - 2.0 * potential) / (n - 2.0)).ln();
    let values: Vec<f64> = potentials.iter().map(without).collect();
    representable(statistics::standard_deviation(&values)? * (n - 1.0) / n.sqrt())
}

/// Cosine of the angle between two vectors of any length but 0.
///
/// # Errors
/// [`Undefined`] if a vector is empty, all zeros or not finite, or the two differ in size.
pub fn cosine<T: Copy + Into<f64>>(first: &[T], second: &[T]) -> Metric {
    check_pairs(first.len(), second.len())?;
    let (first, second) = (direction(first)?, direction(second)?);
    Ok(first.iter().zip(&second).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0))
}

/// The `bins + 1` borders of equal bins (numpy's `linspace`).
///
/// # Errors
/// [`Undefined::Histogram`] unless there is a bin and the range is finite and goes upwards.
pub fn bin_edges(range: (f64, f64), bins: usize) -> Result<Vec<f64>, Undefined> {
    let (low, high) = range;
    if bins == 0 || !(high - low).is_finite() || low >= high {
        return Err(Undefined::Histogram);
    }
    let step = (high - low) / bins as f64;
    let lower = (0..bins).map(|bin| low + bin as f64 * step);
    Ok(lower.chain([high]).collect())
}

/// Number of values in each of `bins` equal bins of a range, as numpy counts them: a bin holds its lower border, the
/// last one both. Values outside count in the bin at that end, so that none disappears.
///
/// # Errors
/// [`Undefined`] if a value is not finite, or as for [`bin_edges`].
pub fn histogram(values: &[f64], range: (f64, f64), bins: usize) -> Result<Vec<u64>, Undefined> {
    check_finite("values", values)?;
    let edges = bin_edges(range, bins)?;
    let mut counts = vec![0; bins];
    for value in values {
        let bin = edges.partition_point(|edge| edge <= value).saturating_sub(1);
        counts[bin.min(bins - 1)] += 1;
    }
    Ok(counts)
}

/// Overlapping coefficient of two samples: the shared area of their histograms, each scaled to area 1. 0 where no bin is
/// shared, 1 where the shares of all bins agree.
///
/// # Errors
/// [`Undefined`] if a sample is empty, or as for [`histogram`].
pub fn overlap(first: &[f64], second: &[f64], range: (f64, f64), bins: usize) -> Metric {
    if first.is_empty() || second.is_empty() {
        return Err(Undefined::Empty);
    }
    let counts = histogram(first, range, bins)?.into_iter().zip(histogram(second, range, bins)?);
    let shared = |(a, b)| (a as f64 / first.len() as f64).min(b as f64 / second.len() as f64);
    Ok(counts.map(shared).sum::<f64>().min(1.0))
}

/// A matrix in f64, each row checked to be finite and of length 1.
fn unit_rows<T: Copy + Into<f64>>(values: &[T], width: usize) -> Result<Vec<f64>, Undefined> {
    if values.is_empty() {
        return Err(Undefined::Empty);
    }
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Undefined::Shape { values: values.len(), width });
    }
    let values: Vec<f64> = values.iter().map(|value| (*value).into()).collect();
    check_finite("embeddings", &values)?;
    let is_unit = |row: &[f64]| (row.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() <= LENGTH_TOLERANCE;
    match values.chunks_exact(width).position(|row| !is_unit(row)) {
        Some(row) => Err(Undefined::NotNormalised { row }),
        None => Ok(values),
    }
}

/// Eight sums side by side, so that the compiler can use vector instructions.
fn squared_distance(first: &[f64], second: &[f64]) -> f64 {
    let ((first, first_rest), (second, second_rest)) = (first.as_chunks::<8>(), second.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in first.iter().zip(second) {
        for lane in 0..8 {
            sums[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
        }
    }
    let rest = first_rest.iter().zip(second_rest).map(|(a, b)| (a - b) * (a - b));
    sums.into_iter().chain(rest).sum()
}

/// A vector scaled to length 1, by its largest element first, so that no square overflows or vanishes.
pub(super) fn direction<T: Copy + Into<f64>>(vector: &[T]) -> Result<Vec<f64>, Undefined> {
    let vector: Vec<f64> = vector.iter().map(|value| (*value).into()).collect();
    check_finite("elements", &vector)?;
    let largest = vector.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return Err(Undefined::ZeroVector);
    }
    let norm = vector.iter().map(|value| (value / largest) * (value / largest)).sum::<f64>().sqrt();
    Ok(vector.iter().map(|value| value / largest / norm).collect())
}
