//! Metrics of ranked documents, equal to trec_eval's (checked through pytrec_eval).
//!
//! trec_eval ranks by score, not by the order or the rank column of a run, and keeps scores in single precision: scores
//! that differ by less are tied, and tied documents go by their docno in descending order of its bytes. Documents
//! without a judgement, or with a negative one, are not relevant. As with `trec_eval -c`, every judged query counts in
//! the mean; one without results or without a relevant document counts 0.

use super::{Metric, Undefined, statistics};
use std::collections::{HashMap, HashSet};

/// The documents found for one query, with their scores, in any order.
pub type Run<'a> = [(&'a str, f64)];

/// The judgements of one query: documents with their relevance; 0 and below is not relevant.
pub type Qrels<'a> = [(&'a str, i32)];

/// The documents of a run, best first, by trec_eval's rule: score in single precision descending, then docno
/// descending.
pub fn trec_order<'a>(run: &Run<'a>) -> Vec<(&'a str, f64)> {
    // Adding 0 turns -0 into 0, so that the two are tied.
    let score = |document: &(&str, f64)| document.1 as f32 + 0.0;
    let mut ranked = run.to_vec();
    ranked.sort_unstable_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| b.0.cmp(a.0)));
    ranked
}

/// What a query's ranking found, from which all metrics follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Relevance of each document found, best rank first; 0 where it is not relevant.
    gains: Vec<f64>,
    /// Relevance of each relevant document, largest first.
    ideal: Vec<f64>,
}

impl Ranking {
    /// Ranks the documents of a run and looks up their judgements. The run may be empty.
    ///
    /// # Errors
    /// [`Undefined`] if the query has no judgement, a document occurs twice on one side, or a score is not finite.
    pub fn new(run: &Run, qrels: &Qrels) -> Result<Self, Undefined> {
        if qrels.is_empty() {
            return Err(Undefined::Unjudged);
        }
        check_once(run.iter().map(|document| document.0))?;
        check_once(qrels.iter().map(|judgement| judgement.0))?;
        if let Some(index) = run.iter().position(|document| !document.1.is_finite()) {
            return Err(Undefined::NotFinite { what: "scores", index });
        }
        let relevance: HashMap<&str, f64> =
            qrels.iter().map(|&(docno, level)| (docno, f64::from(level.max(0)))).collect();
        let gains = trec_order(run).iter().map(|(docno, _)| relevance.get(docno).copied().unwrap_or(0.0)).collect();
        let mut ideal: Vec<f64> = relevance.into_values().filter(|level| *level > 0.0).collect();
        ideal.sort_unstable_by(|a, b| b.total_cmp(a));
        Ok(Self { gains, ideal })
    }

    /// Number of relevant documents in the judgements.
    pub fn num_relevant(&self) -> usize {
        self.ideal.len()
    }

    /// Normalised discounted cumulative gain of the first `k` documents (`ndcg_cut`): the gain is the relevance, the
    /// discount log2(rank + 1), the ideal the best `k` judgements (Järvelin and Kekäläinen 2002).
    ///
    /// # Errors
    /// [`Undefined::Cutoff`] if `k` is 0.
    pub fn ndcg_at(&self, k: usize) -> Metric {
        Ok(share(discounted(first(&self.gains, k)?), discounted(first(&self.ideal, k)?)))
    }

    /// Share of the relevant documents that are among the first `k` (`recall`).
    ///
    /// # Errors
    /// [`Undefined::Cutoff`] if `k` is 0.
    pub fn recall_at(&self, k: usize) -> Metric {
        let found = first(&self.gains, k)?.iter().filter(|gain| **gain > 0.0).count();
        Ok(share(found as f64, self.ideal.len() as f64))
    }

    /// 1 if a relevant document is among the first `k`, else 0 (`success`).
    ///
    /// # Errors
    /// [`Undefined::Cutoff`] if `k` is 0.
    pub fn success_at(&self, k: usize) -> Metric {
        Ok(if first(&self.gains, k)?.iter().any(|gain| *gain > 0.0) { 1.0 } else { 0.0 })
    }

    /// 1 divided by the rank of the first relevant document, 0 if none was found (`recip_rank`).
    pub fn reciprocal_rank(&self) -> f64 {
        reciprocal_rank(&self.gains)
    }

    /// [`Ranking::reciprocal_rank`] of the first `k` documents alone; its mean is MRR@k.
    ///
    /// # Errors
    /// [`Undefined::Cutoff`] if `k` is 0.
    pub fn reciprocal_rank_at(&self, k: usize) -> Metric {
        Ok(reciprocal_rank(first(&self.gains, k)?))
    }

    /// Mean, over the relevant documents, of the precision at their rank, 0 for those not found (`map`).
    pub fn average_precision(&self) -> f64 {
        let found = self.gains.iter().enumerate().filter(|(_, gain)| **gain > 0.0);
        let precisions = found.enumerate().map(|(before, (index, _))| (before + 1) as f64 / (index + 1) as f64);
        share(precisions.sum(), self.ideal.len() as f64)
    }
}

/// Mean over the judged queries, in the order given. Queries without judgements are left out, as in trec_eval.
///
/// # Errors
/// The first other reason why a query has no value, [`Undefined::Empty`] if no query is judged.
pub fn mean_over_queries(values: &[Metric]) -> Metric {
    let judged = values.iter().filter(|value| **value != Err(Undefined::Unjudged)).cloned();
    statistics::mean(&judged.collect::<Result<Vec<f64>, Undefined>>()?)
}

fn check_once<'a>(docnos: impl Iterator<Item = &'a str>) -> Result<(), Undefined> {
    let mut seen = HashSet::new();
    for docno in docnos {
        if !seen.insert(docno) {
            return Err(Undefined::Duplicate { docno: docno.to_owned() });
        }
    }
    Ok(())
}

fn first(gains: &[f64], k: usize) -> Result<&[f64], Undefined> {
    if k == 0 { Err(Undefined::Cutoff) } else { Ok(&gains[..k.min(gains.len())]) }
}

/// A part of a whole; 0 of a whole that is empty, which is trec_eval's answer for a query without relevant documents.
fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

fn discounted(gains: &[f64]) -> f64 {
    gains.iter().enumerate().map(|(index, gain)| gain / ((index + 2) as f64).log2()).sum()
}

fn reciprocal_rank(gains: &[f64]) -> f64 {
    gains.iter().position(|gain| *gain > 0.0).map_or(0.0, |index| 1.0 / (index + 1) as f64)
}
