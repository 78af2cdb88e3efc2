//! Means, quantiles, bootstrap intervals and paired tests.
//!
//! Random numbers come from ChaCha8 keyed by the seed, one stream for each resample, so a result depends on the seed,
//! the data and the number of resamples alone.

use super::{Metric, Undefined, check_count, check_finite, check_pairs, representable};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Up to so many differing examples, [`paired_randomisation`] goes through all 2^n sign patterns.
const MAX_EXACT: usize = 16;

/// Arithmetic mean.
///
/// # Errors
/// [`Undefined`] if there is no value or one is not finite.
pub fn mean(values: &[f64]) -> Metric {
    check_finite("values", values)?;
    if values.is_empty() {
        return Err(Undefined::Empty);
    }
    representable(values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation of a sample (divided by n - 1).
///
/// # Errors
/// [`Undefined`] if there are fewer than two values or one is not finite.
pub fn standard_deviation(values: &[f64]) -> Metric {
    let mean = mean(values)?;
    check_count("values", 2, values.len())?;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    representable((squares / (values.len() - 1) as f64).sqrt())
}

/// The value below which a share of the values lies, interpolated linearly (numpy's default).
///
/// # Errors
/// [`Undefined`] if there is no value, one is not finite, or `share` is not between 0 and 1.
pub fn quantile(values: &[f64], share: f64) -> Metric {
    check_finite("values", values)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, share)
}

fn quantile_of_sorted(sorted: &[f64], share: f64) -> Metric {
    if !(0.0..=1.0).contains(&share) {
        return Err(Undefined::Share { what: "quantile", value: share });
    }
    let last = sorted.len().checked_sub(1).ok_or(Undefined::Empty)?;
    let place = share * last as f64;
    let (lower, upper) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    representable(lower + (upper - lower) * place.fract())
}

/// The values at some indices, in their order: a column as a resample sees it.
pub fn pick<T: Copy>(values: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().map(|&index| values[index]).collect()
}

/// An interval of confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// A statistic on resamples of the examples, drawn with replacement (Efron 1979).
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// The statistic on each resample that has one, sorted.
    values: Vec<f64>,
    /// Number of resamples on which the statistic is undefined. They are left out.
    pub num_undefined: usize,
}

/// A [`Bootstrap`] under way, for who must not wait for all resamples at once.
pub struct Resamples<S> {
    statistic: S,
    random: ChaCha8Rng,
    indices: Vec<usize>,
    resamples: usize,
    done: usize,
    values: Vec<f64>,
    reason: Option<Undefined>,
}

impl<S: FnMut(&[usize]) -> Metric> Resamples<S> {
    /// What [`Bootstrap::new`] says, before the first resample.
    ///
    /// # Errors
    /// [`Undefined`] if there are fewer than two examples or resamples.
    pub fn new(num_examples: usize, seed: u64, resamples: usize, statistic: S) -> Result<Self, Undefined> {
        check_count("examples", 2, num_examples)?;
        check_count("resamples", 2, resamples)?;
        let (random, indices) = (keyed(seed, b"anaume bootstrap"), vec![0; num_examples]);
        let values = Vec::with_capacity(resamples);
        Ok(Self { statistic, random, indices, resamples, done: 0, values, reason: None })
    }

    /// Draws up to so many more resamples; returns whether there are more.
    pub fn advance(&mut self, at_most: usize) -> bool {
        let num_examples = self.indices.len();
        let until = self.resamples.min(self.done.saturating_add(at_most));
        for resample in self.done..until {
            self.random.set_stream(resample as u64);
            self.random.set_word_pos(0);
            self.indices.fill_with(|| below(&mut self.random, num_examples));
            match (self.statistic)(&self.indices).and_then(representable) {
                Ok(value) => self.values.push(value),
                Err(undefined) => self.reason = self.reason.take().or(Some(undefined)),
            }
        }
        self.done = until;
        until < self.resamples
    }

    /// What all resamples say, once none is left.
    ///
    /// # Errors
    /// [`Undefined`] if the statistic is undefined (or not finite) on more than half of the resamples.
    pub fn finish(mut self) -> Result<Bootstrap, Undefined> {
        self.values.sort_unstable_by(f64::total_cmp);
        let undefined = self.done - self.values.len();
        match self.reason {
            Some(reason) if undefined * 2 > self.done => {
                Err(Undefined::Resamples { undefined, resamples: self.done, reason: Box::new(reason) })
            }
            _ => Ok(Bootstrap { values: self.values, num_undefined: undefined }),
        }
    }
}

impl Bootstrap {
    /// Draws `resamples` times as many of the indices below `num_examples` and computes the statistic on them.
    ///
    /// # Errors
    /// [`Undefined`] if there are fewer than two examples or resamples, or if the statistic is undefined (or not finite)
    /// on more than half of the resamples.
    pub fn new(
        num_examples: usize,
        seed: u64,
        resamples: usize,
        statistic: impl FnMut(&[usize]) -> Metric,
    ) -> Result<Self, Undefined> {
        let mut drawn = Resamples::new(num_examples, seed, resamples, statistic)?;
        drawn.advance(resamples);
        drawn.finish()
    }

    /// The percentile interval that holds a share `level` of the resamples, such as 0.95.
    ///
    /// # Errors
    /// [`Undefined::Share`] unless `level` is between 0 and 1.
    pub fn interval(&self, level: f64) -> Result<Interval, Undefined> {
        if !(0.0..=1.0).contains(&level) {
            return Err(Undefined::Share { what: "confidence level", value: level });
        }
        let tail = (1.0 - level) / 2.0;
        let low = quantile_of_sorted(&self.values, tail)?;
        Ok(Interval { low, high: quantile_of_sorted(&self.values, 1.0 - tail)? })
    }

    /// The bootstrap estimate of the statistic's standard error.
    ///
    /// # Errors
    /// [`Undefined`] if fewer than two resamples have a value.
    pub fn standard_error(&self) -> Metric {
        standard_deviation(&self.values)
    }

    /// Two-sided p-value of the hypothesis that the statistic is 0, such as the difference of two models' correlations
    /// on the same examples: twice the smaller share of resamples on one side of 0, with 1 added to both counts.
    pub fn p_value(&self) -> f64 {
        let at_most = self.values.iter().filter(|value| **value <= 0.0).count();
        let at_least = self.values.iter().filter(|value| **value >= 0.0).count();
        (2.0 * (at_most.min(at_least) + 1) as f64 / (self.values.len() + 1) as f64).min(1.0)
    }
}

/// Two-sided p-value of Fisher's paired randomisation test on per-example scores of two models: how often random signs
/// of the differences make a mean at least as far from 0 as the one seen.
///
/// Up to 16 examples that differ, all sign patterns are counted and the value is exact. Beyond, `rounds` patterns are
/// drawn, and 1 is added to both counts.
///
/// # Errors
/// [`Undefined`] if there is no example or no round, if the columns differ in length, or a score is not finite.
pub fn paired_randomisation(first: &[f64], second: &[f64], seed: u64, rounds: usize) -> Metric {
    let mut test = Randomisation::new(first, second, seed, rounds)?;
    test.advance(usize::MAX);
    Ok(test.p_value())
}

/// [`paired_randomisation`] under way, for who must not wait for all rounds at once.
pub struct Randomisation {
    differences: Vec<f64>,
    /// A sum at least as far from 0 is extreme.
    extreme: f64,
    random: ChaCha8Rng,
    /// Sign patterns in all: those that there are, or those that are drawn.
    patterns: usize,
    is_exact: bool,
    done: usize,
    count: usize,
}

impl Randomisation {
    /// The test before its first round.
    ///
    /// # Errors
    /// As [`paired_randomisation`].
    pub fn new(first: &[f64], second: &[f64], seed: u64, rounds: usize) -> Result<Self, Undefined> {
        check_pairs(first.len(), second.len())?;
        check_finite("scores", first)?;
        check_finite("scores", second)?;
        check_count("rounds", 1, rounds)?;
        // A difference of 0 has no sign: it changes no sum.
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).filter(|d| *d != 0.0).collect();
        let total = representable(differences.iter().map(|d| d.abs()).sum())?;
        // Sums that are equal but for rounding count as equal.
        let extreme = differences.iter().sum::<f64>().abs() - 1e-12 * total;
        let is_exact = differences.len() <= MAX_EXACT;
        let patterns = if is_exact { 1 << differences.len() } else { rounds };
        let random = keyed(seed, b"anaume randomise");
        Ok(Self { differences, extreme, random, patterns, is_exact, done: 0, count: 0 })
    }

    /// Goes through up to so many more sign patterns; returns whether there are more.
    pub fn advance(&mut self, at_most: usize) -> bool {
        let until = self.patterns.min(self.done.saturating_add(at_most));
        for pattern in self.done..until {
            let word = || if self.is_exact { pattern as u64 } else { self.random.next_u64() };
            self.count += usize::from(signed_sum(&self.differences, word).abs() >= self.extreme);
        }
        self.done = until;
        until < self.patterns
    }

    /// The value, once no pattern is left.
    pub fn p_value(&self) -> f64 {
        let drawn = usize::from(!self.is_exact);
        (self.count + drawn) as f64 / (self.patterns + drawn) as f64
    }
}

/// The sum of the differences with the signs that words of 64 bits say.
fn signed_sum(differences: &[f64], mut word: impl FnMut() -> u64) -> f64 {
    let sum = |differences: &[f64], signs: u64| -> f64 {
        differences.iter().enumerate().map(|(bit, d)| if signs >> bit & 1 == 1 { -d } else { *d }).sum()
    };
    differences.chunks(64).map(|part| sum(part, word())).sum()
}

fn keyed(seed: u64, purpose: &[u8; 16]) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[16..].copy_from_slice(purpose);
    ChaCha8Rng::from_seed(key)
}

/// An index below `bound`, each as likely as any other but for 2^-64 of `bound`.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}
