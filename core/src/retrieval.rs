//! Searching passages: BM25 on character bigrams, the exact best of scores that come in blocks, and an index of both.

mod index;

use std::collections::HashMap;

use tokenizers::NormalizedString;

use crate::error::{Error, Result};
pub use index::{PassageIndex, shared_ranges};

/// Two characters side by side; a character that stands alone is followed by NUL.
pub type Bigram = [char; 2];

/// The terms of a text, in order: it is brought to Unicode's form NFKC and to lower case and cut into runs of letters
/// and digits; a run gives each two characters side by side, a run of one character gives that one. Spaces and
/// punctuation only separate. (As Lucene's CJKAnalyzer, which forms bigrams of Japanese characters alone, without stop
/// words.)
pub fn bigrams(text: &str) -> Vec<Bigram> {
    let mut normal = NormalizedString::from(text);
    normal.nfkc().lowercase();
    let mut terms = Vec::new();
    for run in normal.get().split(|c: char| !c.is_alphanumeric()) {
        let mut chars = run.chars();
        let Some(mut previous) = chars.next() else { continue };
        if chars.as_str().is_empty() {
            terms.push([previous, '\0']);
        }
        for next in chars {
            terms.push([previous, next]);
            previous = next;
        }
    }
    terms
}

/// How fast a repeated term saturates: Anserini's default.
const K1: f64 = 0.9;
/// How far long passages are held back: Anserini's default.
const B: f64 = 0.4;

/// An inverted index of [`bigrams`], ranked by BM25 (Robertson and Zaragoza, 2009, "The Probabilistic Relevance Framework:
/// BM25 and Beyond") as Lucene computes it.
///
/// A passage's score is the sum over the query's terms, a repeated one counted each time, of
/// `ln(1 + (N - n + 0.5) / (n + 0.5)) · f / (f + k1 · (1 - b + b · L / M))`: `N` passages, `n` of them with the term,
/// `f` times it in this passage, which has `L` terms where the mean is `M`; k1 = 0.9 and b = 0.4 as in Anserini. Lengths
/// are exact, where Lucene rounds them to a byte.
#[derive(Clone, Debug, Default)]
pub struct Bm25 {
    /// For each term, the passages it is in and how often.
    postings: HashMap<Bigram, Vec<(u32, u32)>>,
    /// Terms of each passage.
    lengths: Vec<u32>,
}

impl Bm25 {
    /// Indexes passages, which are numbered in order.
    pub fn new(passages: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut index = Self::default();
        for passage in passages {
            let number = index.lengths.len() as u32;
            let terms = counted(bigrams(passage.as_ref()));
            index.lengths.push(terms.iter().map(|(_, count)| count).sum());
            for (term, count) in terms {
                index.postings.entry(term).or_default().push((number, count));
            }
        }
        index
    }

    /// The best `k` passages that share a term with the query, best first, those of equal score by their number.
    pub fn search(&self, query: &str, k: usize) -> Vec<(usize, f32)> {
        let num_passages = self.lengths.len() as f64;
        let mean_length = self.lengths.iter().map(|length| f64::from(*length)).sum::<f64>() / num_passages;
        let mut scores = vec![0.0f64; self.lengths.len()];
        for (term, repeats) in counted(bigrams(query)) {
            let Some(postings) = self.postings.get(&term) else { continue };
            let with_term = postings.len() as f64;
            let weight = f64::from(repeats) * (1.0 + (num_passages - with_term + 0.5) / (with_term + 0.5)).ln();
            for &(passage, count) in postings {
                let (count, length) = (f64::from(count), f64::from(self.lengths[passage as usize]));
                scores[passage as usize] += weight * count / (count + K1 * (1.0 - B + B * length / mean_length));
            }
        }
        let found = scores.iter().enumerate().filter(|(_, score)| **score > 0.0);
        let mut best = Best::new(k);
        found.for_each(|(passage, score)| best.offer(passage, *score as f32));
        best.finish()
    }
}

/// Each term once, in the order of characters, with its count.
fn counted(mut terms: Vec<Bigram>) -> Vec<(Bigram, u32)> {
    terms.sort_unstable();
    terms.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect()
}

/// The best `k` passages of each query, from scores that come in blocks, in memory of at most `2 k` scores a query.
///
/// The result is that of sorting all scores, largest first, those of equal score by the passage's number: the blocks'
/// sizes and order do not matter.
#[derive(Clone, Debug)]
pub struct TopK {
    queries: Vec<Best>,
}

impl TopK {
    /// Nothing found yet for so many queries.
    pub fn new(num_queries: usize, k: usize) -> Self {
        Self { queries: vec![Best::new(k); num_queries] }
    }

    /// Takes the scores `[queries, passages]`, row by row, of the passages that are numbered from `first` on.
    ///
    /// # Errors
    /// [`Error::Input`] if the rows are not of one length or a score is NaN.
    pub fn add(&mut self, first: usize, scores_qp: &[f32]) -> Result<()> {
        let width = scores_qp.len() / self.queries.len().max(1);
        if width * self.queries.len() != scores_qp.len() {
            let message = format!("{} scores do not make rows for {} queries", scores_qp.len(), self.queries.len());
            return Err(Error::Input { message });
        }
        for (query, best) in self.queries.iter_mut().enumerate() {
            for (passage, score) in (first..).zip(&scores_qp[query * width..(query + 1) * width]) {
                if score.is_nan() {
                    let message = format!("the score of query {query} and passage {passage} is not a number");
                    return Err(Error::Input { message });
                }
                best.offer(passage, *score);
            }
        }
        Ok(())
    }

    /// For each query its best passages with their scores, best first: `k`, or all where there are fewer.
    pub fn finish(self) -> Vec<Vec<(usize, f32)>> {
        self.queries.into_iter().map(Best::finish).collect()
    }
}

/// The best `k` of passages that are offered one by one.
#[derive(Clone, Debug)]
struct Best {
    k: usize,
    /// No less than this can be among the best.
    threshold: f32,
    kept: Vec<(usize, f32)>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, threshold: f32::NEG_INFINITY, kept: Vec::new() }
    }

    fn offer(&mut self, passage: usize, score: f32) {
        // An equal score may win by its number.
        if score < self.threshold {
            return;
        }
        self.kept.push((passage, score));
        if self.kept.len() >= 2 * self.k.max(1) {
            self.shrink();
        }
    }

    /// Keeps the best `k` alone: at most once in `k` offers, so an offer costs a constant on average.
    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k, best_first);
            self.kept.truncate(self.k);
            let worst = self.kept.iter().map(|(_, score)| *score).reduce(f32::min);
            self.threshold = worst.unwrap_or(f32::INFINITY);
        }
    }

    fn finish(mut self) -> Vec<(usize, f32)> {
        self.shrink();
        self.kept.sort_unstable_by(best_first);
        self.kept
    }
}

fn best_first(a: &(usize, f32), b: &(usize, f32)) -> std::cmp::Ordering {
    // Adding 0 turns -0 into 0, so that the two are tied.
    (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0))
}
