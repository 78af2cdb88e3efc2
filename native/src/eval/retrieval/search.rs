//! The searches themselves: by vectors and by BM25.
//!
//! Legend of the shape suffixes: `q` queries, `p` passages of a block, `d` values of a vector.

use anaume_core::infer::EmbedOptions;
use anaume_core::retrieval::{Bm25, TopK};
use anaume_core::weights::read_back;
use burn::tensor::{Device, Tensor, TensorData};

use super::super::Context;
use super::super::embeddings::Cache;
use super::super::subject::Subject;
use super::collection::Collection;

/// For each query the passages found by their place in the collection, with their scores, best first.
pub type Found = Vec<Vec<(usize, f32)>>;

/// Scores computed at once: 64 MiB of them.
const SCORES_PER_BLOCK: usize = 1 << 24;
/// Most passages in a block.
const PASSAGES_PER_BLOCK: usize = 4096;

/// The best `k` passages of each query by BM25 on character bigrams.
pub fn bm25(collection: &Collection, k: usize, context: &Context<'_>) -> anyhow::Result<Found> {
    let index = Bm25::new(collection.passages.iter().map(|passage| &passage.text));
    let search = |query: &super::collection::Query| {
        context.check()?;
        Ok(index.search(&query.text, k))
    };
    collection.queries.iter().map(search).collect()
}

/// How vectors are made.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Pooling, layer, length.
    pub options: EmbedOptions,
    /// Put before every query.
    pub query_prefix: String,
    /// Put before every passage.
    pub passage_prefix: String,
}

impl Dense {
    /// The best `k` passages of each query by the cosine of their vectors. All vectors are computed into the cache file
    /// first; then the passages' are read in blocks, so memory does not grow with their number times their size.
    pub fn search(
        &self,
        collection: &Collection,
        k: usize,
        subject: &Subject,
        context: &Context<'_>,
    ) -> anyhow::Result<Found> {
        let passage = |place: usize| format!("{}{}", self.passage_prefix, collection.passages[place].text);
        let query = |place: usize| format!("{}{}", self.query_prefix, collection.queries[place].text);
        let (num_passages, num_queries) = (collection.passages.len(), collection.queries.len());
        let mut cache = Cache::open(subject, context.out, &self.options)?;
        let text = |place: usize| if place < num_passages { passage(place) } else { query(place - num_passages) };
        cache.fill(subject, context, num_passages + num_queries, text)?;
        let mut queries_qd = Vec::with_capacity(num_queries * cache.dimensions());
        for place in 0..num_queries {
            queries_qd.extend(cache.vector(&query(place))?);
        }
        let block = |places: std::ops::Range<usize>| {
            context.check()?;
            let mut passages_pd = Vec::with_capacity(places.len() * cache.dimensions());
            for place in places {
                passages_pd.extend(cache.vector(&passage(place))?);
            }
            Ok(passages_pd)
        };
        best_by_product(&queries_qd, num_queries, num_passages, k, &subject.device, block)
    }
}

/// The best `k` of `num_passages` vectors by their product with each query's, the passages' given block by block.
fn best_by_product(
    queries_qd: &[f32],
    num_queries: usize,
    num_passages: usize,
    k: usize,
    device: &Device,
    mut block: impl FnMut(std::ops::Range<usize>) -> anyhow::Result<Vec<f32>>,
) -> anyhow::Result<Found> {
    let d = queries_qd.len() / num_queries;
    let queries_qd = Tensor::<2>::from_data(TensorData::new(queries_qd.to_vec(), [num_queries, d]), device);
    let step = (SCORES_PER_BLOCK / num_queries).clamp(1, PASSAGES_PER_BLOCK);
    let mut best = TopK::new(num_queries, k);
    for first in (0..num_passages).step_by(step) {
        let places = first..num_passages.min(first + step);
        let num_places = places.len();
        let passages_pd = Tensor::<2>::from_data(TensorData::new(block(places)?, [num_places, d]), device);
        let scores_qp = queries_qd.clone().matmul(passages_pd.transpose());
        best.add(first, &pollster::block_on(read_back(scores_qp))?)?;
    }
    Ok(best.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers from -8 to 7, so that products are exact in any order of summation and ties are frequent.
    fn values(first: usize, count: usize) -> Vec<f32> {
        let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 28) as f32 - 8.0;
        (first..first + count).map(value).collect()
    }

    #[test]
    fn blocks_of_twenty_thousand_passages_give_what_sorting_all_gives() {
        let (num_queries, num_passages, d, k) = (7, 20_001, 16, 100);
        let queries_qd = values(9_999_999, num_queries * d);
        let block = |places: std::ops::Range<usize>| Ok(values(places.start * d, places.len() * d));
        let found = best_by_product(&queries_qd, num_queries, num_passages, k, &Device::flex(), block).unwrap();
        let passages_pd = values(0, num_passages * d);
        for (query_d, found) in queries_qd.chunks(d).zip(&found) {
            let score = |passage_d: &[f32]| passage_d.iter().zip(query_d).map(|(a, b)| a * b).sum::<f32>();
            let mut all: Vec<_> = passages_pd.chunks(d).map(score).enumerate().collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            assert_eq!(found, &all[..k]);
        }
    }
}
