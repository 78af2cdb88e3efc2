//! `anaume eval alignment`: how near texts that belong together lie, and how evenly all texts fill the sphere (Wang and
//! Isola 2020, <https://arxiv.org/abs/2005.10242>; on sentences as in SimCSE, <https://arxiv.org/abs/2104.08821>).

use std::collections::BTreeMap;

use anaume_core::metrics::similarity::{potentials, uniformity_error};
use anaume_core::metrics::statistics::{mean, pick};
use anaume_core::report::eval::{MetricValue, TaskResult};
use serde_json::Value;

use super::subject::Subject;
use super::text_pairs::{self, PairArgs, PairSet, Vectors};
use super::{Common, Context, Evaluation, Outcome};
use crate::device::Inference;

const VERSION: u32 = 1;
/// Half the width of a 95 % interval in standard errors of a normal distribution.
const NORMAL_95: f64 = 1.959_964;

/// Arguments of the command.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  anaume eval alignment --model model/ --out results/
  anaume eval alignment --model a/ --model b/ --data data/ --out results/
  anaume eval alignment --trajectory run/ --data data/wiki_kyoto/passage_pairs.jsonl --limit 500 --out results/

A folder of data may hold, itself or in folders: passage_pairs.jsonl with `query` and `positive`; jsts-valid*.json. A file of \
one's own: JSON lines with `sentence1`, `sentence2` and, if some pairs are not positive, `similarity` from 0 to 5.
Draws OUT/figures/alignment-DATA.svg, and along training with --trajectory.")]
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
    Ok(sets.into_iter().map(|set| Box::new(Alignment { set }) as Box<dyn Evaluation>).collect())
}

struct Alignment {
    set: PairSet,
}

impl Evaluation for Alignment {
    fn task(&self) -> String {
        format!("alignment-{}", self.set.name)
    }

    fn config(&self) -> Value {
        self.set.config()
    }

    fn cost(&self, chars_per_token: f64) -> f64 {
        self.set.cost(chars_per_token)
    }

    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let vectors = self.set.vectors(subject, context)?;
        let of =
            |values: &[f64], higher| context.bootstrapped(values.len(), higher, |indices| mean(&pick(values, indices)));
        let mut notes = self.set.notes.clone();
        notes.push("read alignment and uniformity together: one point for all texts has the best alignment".into());
        let result = TaskResult {
            alias: self.task(),
            version: VERSION,
            metrics: BTreeMap::from([
                ("alignment".into(), of(&vectors.positive_distances, false)),
                ("uniformity".into(), uniformity(&vectors)),
                ("positive_cosine".into(), of(&vectors.positive_cosines(), true)),
                ("random_cosine".into(), of(&vectors.random_cosines(), false)),
            ]),
            main_metric: "uniformity".into(),
            samples: self.set.count(),
            notes,
            ..TaskResult::default()
        };
        Ok(Outcome { result, samples: self.set.samples(&vectors) })
    }
}

/// Uniformity over the distinct texts, with the jackknife's standard error in place of a bootstrap over all pairs.
fn uniformity(vectors: &Vectors) -> MetricValue {
    let potentials = potentials(&vectors.texts, vectors.width);
    let value = potentials.as_ref().map_err(Clone::clone).and_then(|values| Ok(mean(values)?.ln()));
    let mut metric = MetricValue::new(value, false);
    metric.stderr = potentials.and_then(|values| uniformity_error(&values)).ok();
    if let (Ok(value), Some(error)) = (&metric.value, metric.stderr) {
        metric.interval = Some([value - NORMAL_95 * error, value + NORMAL_95 * error]);
    }
    metric
}
