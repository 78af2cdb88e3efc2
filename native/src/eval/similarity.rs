//! `anaume eval similarity`: how far the similarities of texts that belong together stand off from those of random pairs.

use std::collections::BTreeMap;

use anaume_core::metrics::classification::auroc;
use anaume_core::metrics::statistics::{mean, pick, quantile};
use anaume_core::metrics::{Metric, similarity};
use anaume_core::report::eval::{MetricValue, TaskResult};
use serde_json::{Value, json};

use super::subject::Subject;
use super::text_pairs::{self, PairArgs, PairSet};
use super::{Common, Context, Evaluation, Outcome};
use crate::device::Inference;

const VERSION: u32 = 1;
/// Bins of the histograms whose overlap is measured, from the smallest to the largest cosine of both.
const NUM_BINS: usize = 50;
/// Values of each kind that the report keeps for figures; the predictions hold all.
const MAX_SERIES: usize = 5000;

/// Arguments of the command.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  anaume eval similarity --model model/ --out results/
  anaume eval similarity --model a/ --model b/ --data data/ --out results/

Data as in `anaume eval alignment`. Draws OUT/figures/similarity-DATA.svg.")]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub inference: Inference,
    #[command(flatten)]
    pub pairs: PairArgs,
}

/// What to compute for each model.
pub fn evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    let sets = text_pairs::find(&args.pairs, args.common.seed)?;
    Ok(sets.into_iter().map(|set| Box::new(Similarity { set }) as Box<dyn Evaluation>).collect())
}

struct Similarity {
    set: PairSet,
}

impl Evaluation for Similarity {
    fn task(&self) -> String {
        format!("similarity-{}", self.set.name)
    }

    fn config(&self) -> Value {
        json!({ "pairs": self.set.config(), "bins": NUM_BINS })
    }

    fn cost(&self, chars_per_token: f64) -> f64 {
        self.set.cost(chars_per_token)
    }

    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let vectors = self.set.vectors(subject, context)?;
        let (positive, random) = (vectors.positive_cosines(), vectors.random_cosines());
        let result = TaskResult {
            alias: self.task(),
            version: VERSION,
            metrics: metrics(&positive, &random, context),
            main_metric: "auroc".into(),
            samples: self.set.count(),
            notes: self.set.notes.clone(),
            series: BTreeMap::from([
                ("positive_similarity".into(), thinned(&positive)),
                ("random_similarity".into(), thinned(&random)),
            ]),
            ..TaskResult::default()
        };
        Ok(Outcome { result, samples: self.set.samples(&vectors) })
    }
}

fn metrics(positive: &[f64], random: &[f64], context: &Context<'_>) -> BTreeMap<String, MetricValue> {
    // Pair i and random pair i share their first text, so they are resampled together.
    let area = context.bootstrapped(positive.len(), true, |pairs| auroc(&pick(positive, pairs), &pick(random, pairs)));
    // Without interval: a resample leaves more bins empty, so its overlap is smaller and the bootstrap is biased.
    let overlap = MetricValue::new(overlap(positive, random), false);
    let mut metrics = BTreeMap::from([("auroc".into(), area), ("overlap".into(), overlap)]);
    for (kind, values, higher) in [("positive", positive, true), ("random", random, false)] {
        metrics.insert(
            format!("{kind}_mean"),
            context.bootstrapped(values.len(), higher, |indices| mean(&pick(values, indices))),
        );
        for percent in [5, 50, 95] {
            let quantile = quantile(values, f64::from(percent) / 100.0);
            metrics.insert(format!("{kind}_q{percent:02}"), MetricValue::new(quantile, higher));
        }
    }
    metrics
}

/// The shared area of the two histograms; 1 where all values are the same.
fn overlap(positive: &[f64], random: &[f64]) -> Metric {
    let all = || positive.iter().chain(random).copied();
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    if low == high { Ok(1.0) } else { similarity::overlap(positive, random, (low, high), NUM_BINS) }
}

/// Every so manieth value, in order.
fn thinned(values: &[f64]) -> Vec<f64> {
    values.iter().step_by(values.len().div_ceil(MAX_SERIES).max(1)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_is_one_for_equal_and_none_for_separate_samples() {
        let (low, high) = ([0.1, 0.15, 0.2], [0.8, 0.85, 0.9]);
        assert_eq!(overlap(&low, &low), Ok(1.0));
        assert_eq!(overlap(&low, &high), Ok(0.0));
        assert_eq!(overlap(&[0.5; 3], &[0.5; 2]), Ok(1.0));
        assert!(overlap(&[], &high).is_err());
    }

    #[test]
    fn a_series_keeps_its_order_and_at_most_the_fixed_number() {
        let values: Vec<f64> = (0..12_000).map(f64::from).collect();
        let kept = thinned(&values);
        assert_eq!((kept.len(), kept[0], kept[1]), (4000, 0.0, 3.0));
        assert_eq!(thinned(&values[..7]), values[..7]);
        assert!(thinned(&[]).is_empty());
    }
}
