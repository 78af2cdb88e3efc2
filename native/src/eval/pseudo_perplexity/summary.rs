//! From losses of tokens to pseudo-perplexities of texts, bins and the whole.
//!
//! A text of `n` tokens and `c` characters with the mean loss `l` of its scored tokens has the loss `n·l` in all: exactly
//! where every token is scored, else as an unbiased estimate. Texts are joined by adding these losses:
//! `exp(Σ n·l / Σ n)` per token (PPPL of arXiv 1910.14659) and `exp(Σ n·l / Σ c)` per character.

use std::str::FromStr;

use anaume_core::metrics::{Metric, Undefined, statistics};
use anaume_core::report::eval::{MetricValue, SampleCount, TaskResult};
use serde::{Deserialize, Serialize};

use super::super::text_pairs::beginning;
use super::{Context, Outcome, VERSION};

/// What was found of one text: a line of `samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Name of the text.
    pub doc_id: String,
    /// How the text begins; empty in files of older versions.
    #[serde(default)]
    pub text: String,
    /// Tokens with `[CLS]` and `[SEP]`.
    pub tokens: usize,
    /// Characters.
    pub characters: usize,
    /// Per token: e to the mean loss.
    pub pseudo_perplexity: f64,
    /// Per character.
    pub pseudo_perplexity_per_char: f64,
    /// Loss per character in bits.
    pub bits_per_char: f64,
    /// The tokens that were scored, `[CLS]` being token 0.
    pub positions: Vec<usize>,
    /// The loss of each in nats: minus the logarithm of its probability.
    pub nll: Vec<f64>,
}

impl Score {
    /// Sums up the losses of a text, given by name and content, which must not be empty.
    pub fn new(
        [doc_id, text]: [&str; 2],
        tokens: usize,
        characters: usize,
        positions: Vec<usize>,
        nll: Vec<f64>,
    ) -> Self {
        let mean = nll.iter().sum::<f64>() / nll.len() as f64;
        let per_char = mean * (tokens - 2) as f64 / characters as f64;
        Self {
            doc_id: doc_id.into(),
            text: beginning(text),
            tokens,
            characters,
            pseudo_perplexity: mean.exp(),
            pseudo_perplexity_per_char: per_char.exp(),
            bits_per_char: per_char / std::f64::consts::LN_2,
            positions,
            nll,
        }
    }

    /// Tokens between `[CLS]` and `[SEP]`.
    fn body_tokens(&self) -> f64 {
        (self.tokens - 2) as f64
    }

    fn loss(&self) -> f64 {
        self.body_tokens() * self.nll.iter().sum::<f64>() / self.nll.len() as f64
    }
}

/// Bins of texts by their tokens with `[CLS]` and `[SEP]`: the upper bound of each, which belongs to it, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bins(Vec<usize>);

impl FromStr for Bins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The original's last bin is open at 8,192, where it cuts longer texts.
        let text = if text == "original" { "1024,2048,4096,8191" } else { text };
        let bounds: Result<Vec<usize>, _> = text.split(',').map(|bound| bound.trim().parse()).collect();
        match bounds {
            Ok(bounds) if bounds[0] >= 3 && bounds.is_sorted_by(|a, b| a < b) => Ok(Self(bounds)),
            _ => Err("expected `original`, or ascending numbers of tokens from 3 on, such as 256,512,1024".into()),
        }
    }
}

impl Bins {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The bin of a text; none beyond the last.
    pub fn of(&self, tokens: usize) -> Option<usize> {
        Some(self.0.partition_point(|bound| *bound < tokens)).filter(|bin| *bin < self.0.len())
    }

    fn label(&self, bin: usize) -> String {
        let below = if bin == 0 { 0 } else { self.0[bin - 1] };
        format!("{}-{}", below + 1, self.0[bin])
    }
}

/// What a statistic says of some texts.
type Statistic = fn(&[&Score]) -> Metric;

/// Statistics of a bin, by name.
const STATISTICS: [(&str, Statistic); 4] = [
    ("pseudo_perplexity", |scores| loss_per(scores, Score::body_tokens).map(f64::exp)),
    ("pseudo_perplexity_per_char", |scores| loss_per(scores, |score| score.characters as f64).map(f64::exp)),
    ("pseudo_perplexity_median", |scores| median(scores, |score| score.pseudo_perplexity)),
    ("pseudo_perplexity_per_char_median", |scores| median(scores, |score| score.pseudo_perplexity_per_char)),
];

/// Stated for all texts together only.
const BITS_PER_CHAR: (&str, Statistic) =
    ("bits_per_char", |scores| Ok(loss_per(scores, |score| score.characters as f64)? / std::f64::consts::LN_2));

/// Loss of all texts by unit: the tokens or characters that `units` counts.
fn loss_per(scores: &[&Score], units: fn(&Score) -> f64) -> Metric {
    if scores.is_empty() {
        return Err(Undefined::Empty);
    }
    Ok(scores.iter().map(|score| score.loss()).sum::<f64>() / scores.iter().map(|score| units(score)).sum::<f64>())
}

fn median(scores: &[&Score], value: fn(&Score) -> f64) -> Metric {
    statistics::quantile(&scores.iter().map(|score| value(score)).collect::<Vec<_>>(), 0.5)
}

/// Metrics of all texts and of each bin, with bootstrap intervals over texts.
pub fn outcome(
    scores: &[Score],
    bins: &Bins,
    num_texts: usize,
    mut notes: Vec<String>,
    context: &Context<'_>,
) -> anyhow::Result<Outcome> {
    let all: Vec<&Score> = scores.iter().collect();
    let metric = |scores: &[&Score], statistic: Statistic| -> MetricValue {
        context.bootstrapped(scores.len(), false, |texts| statistic(&statistics::pick(scores, texts)))
    };
    let mut result = TaskResult {
        alias: "Pseudo-perplexity".into(),
        version: VERSION,
        main_metric: "pseudo_perplexity_per_char".into(),
        samples: SampleCount { original: num_texts, effective: scores.len() },
        ..TaskResult::default()
    };
    for (name, statistic) in STATISTICS.iter().chain([&BITS_PER_CHAR]) {
        result.metrics.insert((*name).into(), metric(&all, *statistic));
    }
    let mut counts = Vec::new();
    for (bin, bound) in bins.0.iter().enumerate() {
        let inside: Vec<&Score> = scores.iter().filter(|score| bins.of(score.tokens) == Some(bin)).collect();
        counts.push(format!("{}: {}", bins.label(bin), inside.len()));
        for (name, statistic) in STATISTICS {
            result.metrics.insert(format!("{name}_{bound}"), metric(&inside, statistic));
        }
    }
    notes.insert(0, format!("texts by tokens: {}", counts.join(", ")));
    result.notes = notes;
    let series = |value: fn(&Score) -> f64| scores.iter().map(value).collect::<Vec<f64>>();
    result.series.insert("length".into(), series(|score| score.tokens as f64));
    result.series.insert("pseudo_perplexity".into(), series(|score| score.pseudo_perplexity));
    result.series.insert("pseudo_perplexity_per_char".into(), series(|score| score.pseudo_perplexity_per_char));
    let samples = scores.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    Ok(Outcome { result, samples })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(tokens: usize, characters: usize, nll: &[f64]) -> Score {
        Score::new(["a", "本文"], tokens, characters, (1..=nll.len()).collect(), nll.to_vec())
    }

    #[test]
    fn the_original_bins_end_where_the_original_says() {
        let bins: Bins = "original".parse().unwrap();
        let found = [3, 1024, 1025, 2048, 4096, 4097, 8191, 8192].map(|tokens| bins.of(tokens));
        assert_eq!(found, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(3), Some(3), None]);
        assert_eq!(bins.label(1), "1025-2048");
        for wrong in ["", "512,256", "2", "a", "512,512"] {
            assert!(wrong.parse::<Bins>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_of_two_bits_a_token_and_two_characters_a_token_has_one_bit_a_character() {
        let loss = 4_f64.ln();
        let text = score(5, 6, &[loss, loss, loss]);
        assert!((text.pseudo_perplexity - 4.0).abs() < 1e-12);
        assert!((text.pseudo_perplexity_per_char - 2.0).abs() < 1e-12);
        assert!((text.bits_per_char - 1.0).abs() < 1e-12);
    }

    #[test]
    fn texts_are_joined_by_their_tokens_and_not_by_how_many_were_scored() {
        // 2 tokens of loss 1, and 8 of loss 2 of which one was scored.
        let (short, long) = (score(4, 2, &[1.0, 1.0]), score(10, 16, &[2.0]));
        let of = |statistic: Statistic| statistic(&[&short, &long]).unwrap();
        assert!((of(STATISTICS[0].1) - 1.8_f64.exp()).abs() < 1e-12);
        assert!((of(STATISTICS[1].1) - 1_f64.exp()).abs() < 1e-12);
        assert!((of(STATISTICS[2].1) - (1_f64.exp() + 2_f64.exp()) / 2.0).abs() < 1e-12);
        assert_eq!(STATISTICS[0].1(&[]), Err(Undefined::Empty));
    }
}
