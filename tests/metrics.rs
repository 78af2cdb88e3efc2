//! Metrics against scipy, scikit-learn, trec_eval, numpy and JGLUE's definition, their properties, and degenerate input.

use anaume_core::metrics::ranking::{Ranking, mean_over_queries, trec_order};
use anaume_core::metrics::{Metric, Undefined, classification, correlation, similarity, span, statistics};
use anaume_tests::{assert_within, golden, largest, random};
use proptest::prelude::*;
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;
const CUTOFFS: [usize; 4] = [1, 3, 10, 100];

fn cases(name: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_slice(&golden(&format!("metrics/{name}.json"))).unwrap();
    assert!(cases.len() >= 5, "{name}: {} cases", cases.len());
    cases
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn labels(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The pairs of a list of `[docno, value]`.
fn documents<T>(value: &Value, number: impl Fn(&Value) -> T) -> Vec<(&str, T)> {
    value.as_array().unwrap().iter().map(|pair| (pair[0].as_str().unwrap(), number(&pair[1]))).collect()
}

/// Absolute difference; 0 if both are undefined, NaN if one is.
fn difference(actual: &Metric, expected: &Value) -> f64 {
    match (actual, expected.as_f64()) {
        (Ok(actual), Some(expected)) => (actual - expected).abs(),
        (Err(_), None) if expected.is_null() => 0.0,
        _ => f64::NAN,
    }
}

/// The largest [`difference`] of two lists; NaN if they differ in length or are empty.
fn differences(actual: &[f64], expected: &Value) -> f64 {
    let expected = expected.as_array().unwrap();
    let pairs = actual.iter().zip(expected).map(|(actual, expected)| difference(&Ok(*actual), expected));
    if actual.len() == expected.len() { largest(pairs) } else { f64::NAN }
}

#[track_caller]
fn assert_equal(what: &str, actual: Metric, expected: &Value) {
    assert_within(&format!("{what}: {actual:?}, not {expected}"), difference(&actual, expected), TOLERANCE);
}

#[track_caller]
fn assert_all_equal(what: &str, actual: &[f64], expected: &Value) {
    assert_within(&format!("{what}: {actual:?}, not {expected}"), differences(actual, expected), TOLERANCE);
}

#[test]
fn the_comparator_has_teeth() {
    let accepts = |actual: Metric, expected: Value| difference(&actual, &expected) <= TOLERANCE;
    assert!(accepts(Ok(0.5), 0.5.into()) && accepts(Err(Undefined::Empty), Value::Null));
    assert!(!accepts(Ok(0.5 + 2e-9), 0.5.into()));
    assert!(!accepts(Ok(f64::NAN), 0.5.into()) && !accepts(Ok(f64::NAN), Value::Null));
    assert!(!accepts(Ok(0.0), Value::Null) && !accepts(Err(Undefined::Empty), 0.0.into()));
    assert!(!accepts(Err(Undefined::Empty), "0".into()));
    let list = serde_json::json!([1.0, 2.0]);
    let accepts = |actual: &[f64]| differences(actual, &list) <= TOLERANCE;
    assert!(accepts(&[1.0, 2.0]) && !accepts(&[2.0, 1.0]) && !accepts(&[1.0]) && !accepts(&[1.0, f64::NAN]));
    assert!(differences(&[], &serde_json::json!([])).is_nan());
}

#[test]
fn classification_equals_scikit_learn() {
    for case in cases("classification") {
        let (gold, predicted) = (labels(&case["gold"]), labels(&case["predicted"]));
        assert_equal("accuracy", classification::accuracy(&gold, &predicted), &case["accuracy"]);
        assert_equal("matthews", classification::matthews(&gold, &predicted), &case["matthews"]);
        assert_equal("f1_macro", classification::f1_macro(&gold, &predicted), &case["f1_macro"]);
        let num_labels = case["num_labels"].as_u64().unwrap() as usize;
        let confusion = classification::confusion(&gold, &predicted, num_labels).unwrap();
        assert_eq!(serde_json::json!(confusion), case["confusion"]);
    }
}

#[test]
fn correlations_equal_scipy_and_are_undefined_where_it_says_nan() {
    for case in cases("correlation") {
        let (gold, predicted) = (numbers(&case["gold"]), numbers(&case["predicted"]));
        assert_equal("pearson", correlation::pearson(&gold, &predicted), &case["pearson"]);
        assert_equal("spearman", correlation::spearman(&gold, &predicted), &case["spearman"]);
        assert_all_equal("ranks", &correlation::ranks(&gold), &case["ranks"]);
        let squared = correlation::mean_squared_error(&gold, &predicted);
        assert_equal("mean squared error", squared, &case["mean_squared_error"]);
        let absolute = correlation::mean_absolute_error(&gold, &predicted);
        assert_equal("mean absolute error", absolute, &case["mean_absolute_error"]);
    }
}

#[test]
fn equal_values_share_their_mean_rank() {
    assert_eq!(correlation::ranks(&[10.0, 20.0, 5.0, 20.0, -0.0, 0.0]), [4.0, 5.5, 3.0, 5.5, 1.5, 1.5]);
}

#[test]
fn spans_are_normalised_and_compared_as_in_jglue() {
    for case in cases("span") {
        let (gold, predicted) = (strings(&case["gold"]), case["predicted"].as_str().unwrap());
        assert_eq!(span::normalise(predicted), case["normalised"].as_str().unwrap(), "{predicted:?}");
        assert_equal("exact match", Ok(span::exact_match(&gold, predicted)), &case["exact_match"]);
        assert_equal("character F1", Ok(span::character_f1(&gold, predicted)), &case["character_f1"]);
    }
    assert_eq!(span::exact_match(&["東京"], "「東京」"), 0.0);
    assert_eq!(span::exact_match::<&str>(&[], "。"), 1.0);
}

#[test]
fn rankings_equal_trec_eval() {
    for case in cases("ranking") {
        let run = documents(&case["run"], |score| score.as_f64().unwrap());
        let qrels = documents(&case["qrels"], |level| level.as_i64().unwrap() as i32);
        let ranking = Ranking::new(&run, &qrels).unwrap();
        assert_equal("average precision", Ok(ranking.average_precision()), &case["average_precision"]);
        assert_equal("reciprocal rank", Ok(ranking.reciprocal_rank()), &case["reciprocal_rank"]);
        let at = |metric: fn(&Ranking, usize) -> Metric| CUTOFFS.map(|k| metric(&ranking, k).unwrap());
        assert_all_equal("reciprocal rank at k", &at(Ranking::reciprocal_rank_at), &case["reciprocal_rank_at"]);
        assert_all_equal("ndcg at k", &at(Ranking::ndcg_at), &case["ndcg_at"]);
        assert_all_equal("recall at k", &at(Ranking::recall_at), &case["recall_at"]);
        assert_all_equal("success at k", &at(Ranking::success_at), &case["success_at"]);
    }
}

#[test]
fn ties_are_ordered_by_docno_descending() {
    let run = [("a", 1.0), ("c", 1.0 + 1e-9), ("b", 1.0), ("あ", 1.0), ("z", 0.5), ("n", -0.0), ("m", 0.0)];
    let order: Vec<&str> = trec_order(&run).into_iter().map(|(docno, _)| docno).collect();
    assert_eq!(order, ["あ", "c", "b", "a", "z", "n", "m"]);
}

#[test]
fn the_mean_leaves_out_unjudged_queries_alone() {
    let judged = Ranking::new(&[("a", 1.0)], &[("a", 2)]).unwrap();
    let (fruitless, empty) = (Ranking::new(&[("a", 1.0)], &[("a", 0)]), Ranking::new(&[], &[("a", 1)]));
    assert_eq!(fruitless.as_ref().unwrap().num_relevant(), 0);
    let unjudged = Ranking::new(&[("a", 1.0)], &[]).and_then(|ranking| ranking.ndcg_at(10));
    let mut values = vec![judged.ndcg_at(10), unjudged, fruitless.unwrap().ndcg_at(10), empty.unwrap().ndcg_at(10)];
    assert_within("mean", (mean_over_queries(&values).unwrap() - 1.0 / 3.0).abs(), TOLERANCE);
    values.push(judged.ndcg_at(0));
    assert_eq!(mean_over_queries(&values), Err(Undefined::Cutoff));
    assert_eq!(mean_over_queries(&[Err(Undefined::Unjudged)]), Err(Undefined::Empty));
}

#[test]
fn similarity_equals_numpy_and_scipy() {
    for case in cases("similarity") {
        let (first, second) = (numbers(&case["first"]), numbers(&case["second"]));
        let width = case["width"].as_u64().unwrap() as usize;
        let squared = similarity::squared_distances(&first, &second, width).unwrap();
        assert_equal("alignment", similarity::alignment(&first, &second, width), &case["alignment"]);
        assert_equal("uniformity", similarity::uniformity(&first, width), &case["uniformity"]);
        let error = similarity::uniformity_error(&similarity::potentials(&first, width).unwrap());
        assert_equal("uniformity_error", error, &case["uniformity_error"]);
        assert_equal("cosine", similarity::cosine(&first[..width], &second[..width]), &case["cosine"]);
        let range = (case["range"][0].as_f64().unwrap(), case["range"][1].as_f64().unwrap());
        let values = numbers(&case["values"]);
        assert_eq!(serde_json::json!(similarity::histogram(&values, range, 12).unwrap()), case["histogram"]);
        assert_equal("overlap", similarity::overlap(&values, &squared, range, 12), &case["overlap"]);
        assert_equal("auroc", classification::auroc(&values, &first), &case["auroc"]);
    }
}

#[test]
fn statistics_equal_numpy_and_the_exact_permutation_test_of_scipy() {
    for case in cases("statistics") {
        let (first, second) = (numbers(&case["first"]), numbers(&case["second"]));
        assert_equal("mean", statistics::mean(&first), &case["mean"]);
        assert_equal("sd", statistics::standard_deviation(&first), &case["standard_deviation"]);
        let quantile = |share| statistics::quantile(&first, share).unwrap();
        let quantiles: Vec<f64> = numbers(&case["shares"]).into_iter().map(quantile).collect();
        assert_all_equal("quantiles", &quantiles, &case["quantiles"]);
        let p = statistics::paired_randomisation(&first, &second, 0, 1);
        assert_equal("randomisation", p, &case["paired_randomisation"]);
    }
}

#[test]
fn majority_is_the_smallest_of_the_most_frequent_labels() {
    assert_eq!(classification::majority(&[3, 1, 1, 3, 0]), Ok((1, 0.4)));
    assert_eq!(classification::majority(&[]), Err(Undefined::Empty));
}

#[test]
fn columns_of_different_or_no_length_are_undefined() {
    let mismatch = Undefined::LengthMismatch { first: 2, second: 1 };
    for metric in [classification::accuracy, classification::matthews, classification::f1_macro] {
        assert_eq!(metric(&[0, 1], &[0]), Err(mismatch.clone()));
        assert_eq!(metric(&[], &[]), Err(Undefined::Empty));
    }
    for metric in [
        correlation::pearson,
        correlation::spearman,
        correlation::mean_squared_error,
        correlation::mean_absolute_error,
        |a: &[f64], b: &[f64]| statistics::paired_randomisation(a, b, 0, 10),
        |a: &[f64], b: &[f64]| similarity::cosine(a, b),
        |a: &[f64], b: &[f64]| similarity::alignment(a, b, 1),
    ] {
        assert_eq!(metric(&[0.0, 1.0], &[0.0]), Err(mismatch.clone()));
        assert_eq!(metric(&[], &[]), Err(Undefined::Empty));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let found = [metric(&[1.0, bad], &[1.0, 1.0]), metric(&[1.0, 1.0], &[1.0, bad])];
            assert!(found.iter().all(|found| matches!(found, Err(Undefined::NotFinite { index: 1, .. }))), "{found:?}");
        }
    }
    assert_eq!(statistics::mean(&[]), Err(Undefined::Empty));
    assert_eq!(statistics::quantile(&[], 0.5), Err(Undefined::Empty));
    assert_eq!(similarity::overlap(&[], &[1.0], (0.0, 1.0), 2), Err(Undefined::Empty));
    assert_eq!(similarity::uniformity::<f32>(&[], 2), Err(Undefined::Empty));
    assert_eq!(classification::auroc(&[], &[1.0]), Err(Undefined::Empty));
}

#[test]
fn one_example_and_constant_columns_are_undefined_with_a_reason() {
    for metric in [correlation::pearson, correlation::spearman] {
        assert!(matches!(metric(&[1.0], &[2.0]), Err(Undefined::TooFew { needed: 2, given: 1, .. })));
        let reason = metric(&[1.0, 2.0], &[0.1; 2]).unwrap_err().to_string();
        assert_eq!(reason, "the predicted scores are all equal, so a correlation is not defined");
        assert_eq!(metric(&[0.1; 3], &[1.0, 2.0, 3.0]), Err(Undefined::Constant { what: "gold scores" }));
    }
    assert_eq!(classification::matthews(&[1, 1], &[0, 1]), Err(Undefined::Constant { what: "gold labels" }));
    assert_eq!(classification::matthews(&[0, 1], &[7, 7]), Err(Undefined::Constant { what: "predicted labels" }));
    assert!(statistics::standard_deviation(&[1.0]).is_err());
    assert!(similarity::uniformity(&[1.0_f32, 0.0], 2).is_err());
}

#[test]
fn input_that_cannot_be_measured_is_named() {
    let out_of_range = classification::confusion(&[0, 2], &[0, 1], 2);
    assert_eq!(out_of_range, Err(Undefined::Label { label: 2, num_labels: 2 }));
    let duplicate = Err(Undefined::Duplicate { docno: "a".into() });
    assert_eq!(Ranking::new(&[("a", 1.0), ("a", 2.0)], &[("b", 1)]), duplicate);
    assert_eq!(Ranking::new(&[("b", 1.0)], &[("a", 1), ("a", 0)]), duplicate);
    assert!(matches!(Ranking::new(&[("a", f64::NAN)], &[("a", 1)]), Err(Undefined::NotFinite { index: 0, .. })));
    let shape = Err(Undefined::Shape { values: 3, width: 2 });
    assert_eq!(similarity::uniformity(&[1.0, 0.0, 1.0], 2), shape);
    assert_eq!(similarity::uniformity(&[1.0, 0.0, 0.5, 0.0], 2), Err(Undefined::NotNormalised { row: 1 }));
    assert_eq!(similarity::cosine(&[0.0, 0.0], &[1.0, 0.0]), Err(Undefined::ZeroVector));
    for (range, bins) in [((0.0, 1.0), 0), ((1.0, 1.0), 2), ((0.0, f64::NAN), 2), ((0.0, f64::INFINITY), 2)] {
        assert_eq!(similarity::histogram(&[0.5], range, bins), Err(Undefined::Histogram));
    }
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(statistics::quantile(&[1.0], share), Err(Undefined::Share { .. })));
    }
    assert_eq!(statistics::mean(&[f64::MAX, f64::MAX]), Err(Undefined::Overflow));
    assert_eq!(correlation::mean_squared_error(&[1e200], &[0.0]), Err(Undefined::Overflow));
}

#[test]
fn pearson_withstands_offsets_and_scales() {
    let (gold, predicted): (Vec<f64>, Vec<f64>) =
        random(1, 50).into_iter().zip(random(2, 50)).map(|(a, b)| (f64::from(a), f64::from(a + b))).unzip();
    let expected = correlation::pearson(&gold, &predicted).unwrap();
    // Exact in f64: the values are multiples of 2^-22 below 4.
    for (scale, offset) in [(1.0, 1e9), (1e308 / 4.0, 0.0), (2f64.powi(-1000), 0.0), (2f64.powi(-30), 1.0)] {
        let moved: Vec<f64> = gold.iter().map(|value| value * scale + offset).collect();
        let found = correlation::pearson(&moved, &predicted).unwrap();
        assert_within(&format!("{scale:e} and {offset:e}"), (found - expected).abs(), 1e-9);
    }
    for (gold, predicted) in [([1e16, 1e16 + 2.0], [1.0, 2.0]), ([-f64::MAX, f64::MAX], [0.0, 5e-324])] {
        assert_equal("two points", correlation::pearson(&gold, &predicted), &1.0.into());
    }
}

/// A standard normal sample (sums of twelve uniform numbers, Irwin and Hall).
fn normal(seed: u64, count: usize) -> Vec<f64> {
    let sum = |twelve: &[f32]| twelve.iter().map(|value| f64::from(*value) / 4.0).sum();
    random(seed, 12 * count).chunks_exact(12).map(sum).collect()
}

fn bootstrap_mean(values: &[f64], seed: u64, resamples: usize) -> statistics::Bootstrap {
    let statistic = |indices: &[usize]| statistics::mean(&statistics::pick(values, indices));
    statistics::Bootstrap::new(values.len(), seed, resamples, statistic).unwrap()
}

#[test]
fn bootstrap_intervals_cover_the_truth_as_often_as_they_say() {
    let covers = |sample: &u64| {
        let interval = bootstrap_mean(&normal(*sample, 80), *sample, 400).interval(0.9).unwrap();
        interval.low <= 0.0 && 0.0 <= interval.high
    };
    let share = (0..400).filter(covers).count() as f64 / 400.0;
    assert!((0.85..0.94).contains(&share), "{share} of the 90 % intervals hold the mean");
}

#[test]
fn the_bootstrap_knows_the_standard_error_of_a_mean() {
    let values = normal(3, 200);
    let expected = statistics::standard_deviation(&values).unwrap() / 200f64.sqrt();
    let found = bootstrap_mean(&values, 4, 4000).standard_error().unwrap();
    assert!((found / expected - 1.0).abs() < 0.05, "{found} instead of {expected}");
}

#[test]
fn the_bootstrap_depends_on_the_seed_alone() {
    let values = normal(5, 30);
    assert_eq!(bootstrap_mean(&values, 1, 50), bootstrap_mean(&values, 1, 50));
    assert_ne!(bootstrap_mean(&values, 1, 50), bootstrap_mean(&values, 2, 50));
}

#[test]
fn every_example_is_drawn_equally_often() {
    let mut counts = [0; 10];
    let count = |indices: &[usize]| {
        indices.iter().for_each(|&index| counts[index] += 1);
        Ok(0.0)
    };
    statistics::Bootstrap::new(10, 7, 5000, count).unwrap();
    assert!(counts.iter().all(|count| (4700..5300).contains(count)), "{counts:?}");
}

#[test]
fn undefined_resamples_are_counted_and_too_many_make_the_interval_undefined() {
    let gold = [1.0, 1.0, 1.0, 2.0];
    let statistic = |indices: &[usize]| {
        let gold = statistics::pick(&gold, indices);
        correlation::pearson(&gold, &gold)
    };
    let bootstrap = statistics::Bootstrap::new(4, 1, 1000, statistic).unwrap();
    // Constant unless the 2 is drawn and a 1 too: 0.75^4 + 0.25^4 = 0.32.
    assert!((270..370).contains(&bootstrap.num_undefined), "{}", bootstrap.num_undefined);
    let interval = bootstrap.interval(0.95).unwrap();
    assert_within("interval", largest([interval.low - 1.0, interval.high - 1.0].map(f64::abs)), TOLERANCE);
    for value in [Err(Undefined::Empty), Ok(f64::NAN)] {
        let undefined = statistics::Bootstrap::new(4, 1, 10, |_| value.clone()).unwrap_err();
        assert!(undefined.to_string().starts_with("the statistic is undefined on 10 of 10 resamples"), "{undefined}");
    }
    assert!(statistics::Bootstrap::new(1, 1, 10, |_| Ok(0.0)).is_err());
    assert!(statistics::Bootstrap::new(5, 1, 0, |_| Ok(0.0)).is_err());
    assert!(matches!(bootstrap.interval(95.0), Err(Undefined::Share { .. })));
}

/// Shares of 400 p-values below 0.1 and below 0.5.
fn shares_below(p_value: impl Fn(u64) -> f64) -> [f64; 2] {
    let values: Vec<f64> = (0..400).map(p_value).collect();
    assert!(values.iter().all(|p| 0.0 < *p && *p <= 1.0));
    [0.1, 0.5].map(|bound| values.iter().filter(|p| **p <= bound).count() as f64 / 400.0)
}

#[test]
fn randomisation_p_values_are_uniform_under_the_null_and_small_under_an_effect() {
    let none = |seed| statistics::paired_randomisation(&normal(2 * seed, 30), &normal(2 * seed + 1, 30), seed, 199);
    let [tenth, half] = shares_below(|seed| none(seed).unwrap());
    assert!((0.06..0.15).contains(&tenth) && (0.42..0.58).contains(&half), "{tenth} and {half}");
    let better: Vec<f64> = normal(1, 100).iter().map(|value| value + 1.0).collect();
    let p = statistics::paired_randomisation(&better, &normal(2, 100), 3, 999);
    assert_eq!(p, Ok(0.001));
    assert_eq!(statistics::paired_randomisation(&better, &better, 3, 999), Ok(1.0));
    assert!(statistics::paired_randomisation(&better, &better, 3, 0).is_err());
}

#[test]
fn sampled_randomisation_approaches_the_exact_value() {
    let (first, second) = (normal(8, 16), normal(9, 16).iter().map(|value| value + 0.4).collect::<Vec<_>>());
    let exact = statistics::paired_randomisation(&first, &second, 0, 1).unwrap();
    // A 17th difference, too small to matter, passes the limit of the exact count.
    let with = |column: &[f64], value| [column, &[value]].concat();
    let sampled = statistics::paired_randomisation(&with(&first, 0.0), &with(&second, 1e-9), 0, 20_000).unwrap();
    assert!((sampled - exact).abs() < 0.015, "{sampled} instead of {exact}");
}

#[test]
fn bootstrap_p_values_are_uniform_under_the_null_and_small_under_an_effect() {
    let [tenth, half] = shares_below(|seed| bootstrap_mean(&normal(seed, 60), seed, 200).p_value());
    assert!((0.06..0.16).contains(&tenth) && (0.42..0.6).contains(&half), "{tenth} and {half}");
    let better: Vec<f64> = normal(1, 60).iter().map(|value| value + 1.0).collect();
    assert!(bootstrap_mean(&better, 1, 999).p_value() <= 0.002);
    assert_eq!(bootstrap_mean(&[0.0; 5], 1, 99).p_value(), 1.0);
}

/// Rows of length 1.
fn unit_rows(seed: u64, rows: usize, width: usize) -> Vec<f32> {
    let scaled = |row: &[f32]| {
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter().map(|value| value / norm).collect::<Vec<f32>>()
    };
    random(seed, rows * width).chunks_exact(width).flat_map(scaled).collect()
}

fn naive_uniformity(values: &[f32], width: usize) -> f64 {
    let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
    let squared =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum() };
    let others = |i: usize| (0..rows.len()).filter(move |j| *j != i).map(move |j| (i, j));
    let pairs = (0..rows.len()).flat_map(others);
    let sum: f64 = pairs.map(|(i, j)| (-2.0 * squared(rows[i], rows[j])).exp()).sum();
    (sum / (rows.len() * (rows.len() - 1)) as f64).ln()
}

fn scores() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let score = || prop_oneof![(-5i32..5).prop_map(f64::from), -1e3..1e3];
    prop::collection::vec((score(), score()), 2..40).prop_map(|pairs| pairs.into_iter().unzip())
}

proptest! {
    #[test]
    fn spearman_is_the_pearson_of_ranks_and_keeps_its_value_under_monotone_maps((gold, predicted) in scores()) {
        let spearman = correlation::spearman(&gold, &predicted);
        let of_ranks = correlation::pearson(&correlation::ranks(&gold), &correlation::ranks(&predicted));
        prop_assert_eq!(&spearman, &of_ranks);
        let mapped: Vec<f64> = gold.iter().map(|value| value.cbrt() + 3.0).collect();
        // The map may round two different values to the same one, which makes them tied.
        if correlation::ranks(&mapped) == correlation::ranks(&gold) {
            prop_assert_eq!(correlation::spearman(&mapped, &predicted), spearman);
        }
    }

    #[test]
    fn correlations_are_symmetric_and_lie_between_minus_one_and_one((gold, predicted) in scores()) {
        for metric in [correlation::pearson, correlation::spearman] {
            if let Ok(value) = metric(&gold, &predicted) {
                prop_assert!((-1.0..=1.0).contains(&value));
                prop_assert!((metric(&predicted, &gold).unwrap() - value).abs() <= 1e-12);
            }
        }
    }

    #[test]
    fn blocked_uniformity_equals_the_naive_sum(seed in 0u64..1000, rows in 2usize..80, width in 2usize..20) {
        let values = unit_rows(seed, rows, width);
        let found = similarity::uniformity(&values, width).unwrap();
        prop_assert!((found - naive_uniformity(&values, width)).abs() <= TOLERANCE);
    }

    #[test]
    fn a_histogram_loses_no_value(values in prop::collection::vec(-2.0..2.0, 0..50), bins in 1usize..20) {
        let counts = similarity::histogram(&values, (-1.0, 1.0), bins).unwrap();
        prop_assert_eq!(counts.iter().sum::<u64>(), values.len() as u64);
        if !values.is_empty() {
            let overlap = similarity::overlap(&values, &values, (-1.0, 1.0), bins).unwrap();
            prop_assert!((overlap - 1.0).abs() <= TOLERANCE);
        }
    }

    #[test]
    fn the_order_of_a_run_does_not_matter(scores in prop::collection::vec(0u8..4, 1..20), turn in 0usize..20) {
        let names: Vec<String> = (0..scores.len()).map(|i| format!("d{i}")).collect();
        let mut run: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(scores.into_iter().map(f64::from)).collect();
        let ranked = trec_order(&run);
        let turn = turn % run.len();
        run.rotate_left(turn);
        prop_assert_eq!(trec_order(&run), ranked);
    }
}
