//! In which order an epoch goes through the documents: a pure function of (seed, epoch).
//!
//! The shards of a split are permuted and opened a window at a time; the documents of a window are permuted and cut into
//! blocks of a fixed number of documents. So a block is found by arithmetic, without reading what comes before it.

use super::dataset::{ShardReader, Split, StoredDocument};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A block of an epoch. Ordered as training goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct BlockId {
    pub(super) epoch: u64,
    pub(super) block: u64,
}

/// The order of a split's documents.
pub(super) struct Order {
    split: Arc<Split>,
    seed: u64,
    shards_per_window: usize,
    documents_per_block: u64,
}

/// Some shards whose documents are mixed with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    shards: Vec<usize>,
    first_block: u64,
    num_blocks: u64,
}

impl Order {
    /// Blocks get as many documents as have `block_bytes` bytes of text on average, at least one.
    pub(super) fn new(split: Arc<Split>, seed: u64, shards_per_window: usize, block_bytes: u64) -> Self {
        let mean_bytes = split.info.text_bytes / split.info.documents.max(1);
        let documents_per_block = (block_bytes / mean_bytes.max(1)).max(1);
        Self { split, seed, shards_per_window: shards_per_window.max(1), documents_per_block }
    }

    /// Number of blocks of an epoch.
    pub(super) fn num_blocks(&self, epoch: u64) -> u64 {
        self.windows(epoch).last().map_or(0, |window| window.first_block + window.num_blocks)
    }

    /// The block after a block.
    pub(super) fn next(&self, at: BlockId) -> BlockId {
        if at.block + 1 < self.num_blocks(at.epoch) {
            BlockId { block: at.block + 1, ..at }
        } else {
            BlockId { epoch: at.epoch + 1, block: 0 }
        }
    }

    fn windows(&self, epoch: u64) -> Vec<Window> {
        let shards = permutation(self.split.info.shards.len(), &[self.seed, epoch, u64::MAX]);
        let mut first_block = 0;
        let windows = shards.chunks(self.shards_per_window).map(|shards| {
            let shards: Vec<usize> = shards.iter().map(|&shard| shard as usize).collect();
            let documents: u64 = shards.iter().map(|&shard| self.split.info.shards[shard].documents).sum();
            let num_blocks = documents.div_ceil(self.documents_per_block);
            let window = Window { shards, first_block, num_blocks };
            first_block += num_blocks;
            window
        });
        windows.collect()
    }
}

/// Reads blocks; quick at neighbouring ones, since a window stays open.
pub(super) struct BlockReader {
    order: Arc<Order>,
    open: Option<OpenWindow>,
}

struct OpenWindow {
    epoch: u64,
    window: Window,
    shards: Vec<ShardReader>,
    /// (index in `shards`, document of the shard), permuted.
    documents: Vec<(u32, u32)>,
}

impl BlockReader {
    pub(super) fn new(order: Arc<Order>) -> Self {
        Self { order, open: None }
    }

    /// The documents of a block as (number in the split, document), read one by one. None beyond the epoch's last block.
    pub(super) fn documents(&mut self, at: BlockId) -> Result<impl Iterator<Item = Result<(u64, StoredDocument)>>> {
        self.open_window(at)?;
        let per_block = self.order.documents_per_block as usize;
        let split = self.order.split.clone();
        let (window, shards, range) = match &mut self.open {
            Some(open) => {
                let start = (at.block - open.window.first_block) as usize * per_block;
                let end = (start + per_block).min(open.documents.len());
                (&open.window, &mut open.shards[..], &open.documents[start..end])
            }
            None => return Ok(None.into_iter().flatten()),
        };
        let read = move |&(shard, document): &(u32, u32)| {
            let number = split.first_document(window.shards[shard as usize]) + u64::from(document);
            Ok((number, shards[shard as usize].read(u64::from(document))?))
        };
        Ok(Some(range.iter().map(read)).into_iter().flatten())
    }

    fn open_window(&mut self, at: BlockId) -> Result<()> {
        let holds = |window: &Window| (window.first_block..window.first_block + window.num_blocks).contains(&at.block);
        if self.open.as_ref().is_some_and(|open| open.epoch == at.epoch && holds(&open.window)) {
            return Ok(());
        }
        self.open = None;
        let windows = self.order.windows(at.epoch);
        let Some((number, window)) = windows.into_iter().enumerate().find(|(_, window)| holds(window)) else {
            return Ok(());
        };
        let shards = window.shards.iter().map(|&shard| self.order.split.shard(shard)).collect::<Result<Vec<_>>>()?;
        let in_order: Vec<(u32, u32)> = (0..)
            .zip(&shards)
            .flat_map(|(i, shard)| (0..shard.num_documents() as u32).map(move |document| (i, document)))
            .collect();
        let key = [self.order.seed, at.epoch, number as u64];
        let documents = permutation(in_order.len(), &key).into_iter().map(|i| in_order[i as usize]).collect();
        self.open = Some(OpenWindow { epoch: at.epoch, window, shards, documents });
        Ok(())
    }
}

/// A permutation of `0..len` (below 2^32) that depends on the key alone: Fisher and Yates' shuffle, drawn from BLAKE3.
pub fn permutation(len: usize, key: &[u64; 3]) -> Vec<u32> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"anaume order 1");
    for part in key {
        hasher.update(&part.to_le_bytes());
    }
    let mut draws = hasher.finalize_xof();
    let mut permuted: Vec<u32> = (0..len as u32).collect();
    let mut draw = [0; 8];
    for i in (1..len).rev() {
        draws.fill(&mut draw);
        let below = u128::from(u64::from_le_bytes(draw)) * (i as u128 + 1);
        permuted.swap(i, (below >> 64) as usize);
    }
    permuted
}

#[cfg(test)]
mod tests {
    use super::permutation;

    #[test]
    fn a_permutation_has_every_index_once_and_depends_on_the_key() {
        let permuted = permutation(1000, &[1, 2, 3]);
        let mut sorted = permuted.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
        assert_ne!(permuted, sorted);
        assert_eq!(permuted, permutation(1000, &[1, 2, 3]));
        for key in [[0, 2, 3], [1, 0, 3], [1, 2, 0]] {
            assert_ne!(permuted, permutation(1000, &key));
        }
        assert_eq!(permutation(0, &[0; 3]), [0; 0]);
    }

    #[test]
    fn a_permutation_is_the_same_in_every_version() {
        // The order of a run that goes on with a newer program rests on this.
        assert_eq!(permutation(10, &[1, 2, 3]), [3, 1, 6, 0, 4, 7, 9, 5, 8, 2]);
    }

    #[test]
    fn every_index_is_equally_likely_in_every_place() {
        let mut counts = [[0; 4]; 4];
        for key in 0..4000 {
            for (place, index) in permutation(4, &[key, 0, 0]).into_iter().enumerate() {
                counts[place][index as usize] += 1;
            }
        }
        for count in counts.as_flattened() {
            assert!((850..1150).contains(count), "{counts:?}");
        }
    }
}
