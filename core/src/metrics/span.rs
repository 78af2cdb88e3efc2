//! Metrics of answer spans, as JGLUE measures JSQuAD: transformers' SQuAD metric with the changes of JGLUE's patch
//! (<https://github.com/yahoojapan/JGLUE>, `fine-tuning/patch`).
//!
//! Both sides are normalised: lower case, then every `。` at the very end taken away, then each run of white space (the
//! ideographic space too) made one space, none at the ends. Punctuation, brackets and full-width letters stay as they
//! are; there is no NFKC. The value of an example is that of the gold answer that suits it best.

use std::collections::HashMap;

/// 1 if the normalised answer equals a normalised gold answer, else 0.
///
/// As in SQuAD, gold answers that normalise to nothing do not count; if none is left, the right answer is the empty one.
pub fn exact_match<S: AsRef<str>>(gold: &[S], predicted: &str) -> f64 {
    best(gold, predicted, |gold, predicted| if gold == predicted { 1.0 } else { 0.0 })
}

/// F1 of the characters that the normalised answer shares with a normalised gold answer, as multisets, between 0 and 1.
/// If one of the two is empty, 1 where both are and else 0.
///
/// Gold answers count as for [`exact_match`].
pub fn character_f1<S: AsRef<str>>(gold: &[S], predicted: &str) -> f64 {
    best(gold, predicted, f1)
}

/// The normalisation of the module's first lines.
pub fn normalise(answer: &str) -> String {
    let lower = answer.to_lowercase();
    // Python's `str.split` takes the four separators U+001C to U+001F for white space too.
    let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let words: Vec<&str> = lower.trim_end_matches('。').split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn best<S: AsRef<str>>(gold: &[S], predicted: &str, value: impl Fn(&str, &str) -> f64) -> f64 {
    let predicted = normalise(predicted);
    let answers = gold.iter().map(|answer| normalise(answer.as_ref())).filter(|answer| !answer.is_empty());
    let best = answers.map(|answer| value(&answer, &predicted)).reduce(f64::max);
    best.unwrap_or_else(|| value("", &predicted))
}

fn f1(gold: &str, predicted: &str) -> f64 {
    let (num_gold, num_predicted) = (gold.chars().count(), predicted.chars().count());
    if num_gold == 0 || num_predicted == 0 {
        return if num_gold == num_predicted { 1.0 } else { 0.0 };
    }
    // 2PR / (P + R) with P = shared / predicted and R = shared / gold.
    2.0 * num_shared(gold, predicted) as f64 / (num_gold + num_predicted) as f64
}

fn num_shared(gold: &str, predicted: &str) -> usize {
    let mut left: HashMap<char, usize> = HashMap::new();
    gold.chars().for_each(|c| *left.entry(c).or_default() += 1);
    let mut take = |c: &char| match left.get_mut(c) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    predicted.chars().filter(|c| take(c)).count()
}
