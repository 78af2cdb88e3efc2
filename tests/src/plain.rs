//! Helpers that know neither tensors nor devices: goldens, comparators, random numbers.

use std::path::PathBuf;

/// The folder of the golden files.
pub fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The bytes of a golden file, named relative to [`golden_dir`].
pub fn golden(name: &str) -> Vec<u8> {
    let path = golden_dir().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Largest absolute difference, relative to the largest expected magnitude. NaN if there is nothing to compare: a NaN on
/// either side, different lengths, or no element.
pub fn relative_difference(actual: &[f32], expected: &[f32]) -> f64 {
    let comparable = actual.len() == expected.len() && !actual.is_empty();
    if !comparable || actual.iter().chain(expected).any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let difference = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (f64::from(*a) - f64::from(*b)).abs() };
    let difference = actual.iter().zip(expected).map(difference).fold(0.0, f64::max);
    let scale = expected.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// The largest of several differences; NaN if one is, or if there is none.
pub fn largest(differences: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
    differences.into_iter().reduce(larger).unwrap_or(f64::NAN)
}

/// Fails unless `difference` is a number and at most `tolerance`.
pub fn assert_within(what: &str, difference: f64, tolerance: f64) {
    // `assert!` negates: `!(difference <= tolerance)` fails for a NaN.
    assert!(difference <= tolerance, "{what}: difference {difference:e}, tolerance {tolerance:e}");
}

/// Fails unless [`relative_difference`] is a number and at most `tolerance`.
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f64) {
    let what = format!("{what} ({} and {} values)", actual.len(), expected.len());
    assert_within(&what, relative_difference(actual, expected), tolerance);
}

/// Says that a test, or a part of one, did not run.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// The folder of the real data, where `ANAUME_DATA` names one.
pub fn data_dir() -> Option<PathBuf> {
    std::env::var_os("ANAUME_DATA").map(PathBuf::from)
}

/// Uniform numbers between -2 and 2 (SplitMix64, Steele et al. 2014).
pub fn random(seed: u64, count: usize) -> Vec<f32> {
    let value = |index: u64| {
        let mut z = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (1..=count as u64).map(value).collect()
}
