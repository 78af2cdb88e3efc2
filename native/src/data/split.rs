//! Which documents are held out for testing.
//!
//! The choice is keyed by (seed, text): it depends on nothing else, and equal texts stay on one side.

use super::dataset::StoredDocument;
use std::collections::BinaryHeap;

/// Deals documents out to the two splits.
pub(super) struct Splitter {
    seed: u64,
    test_fraction: f64,
    num_test: Option<usize>,
    /// With a number of test documents: those with the smallest keys so far, the largest on top.
    held: BinaryHeap<Held>,
    num_seen: u64,
}

#[derive(PartialEq, Eq)]
struct Held {
    key: u64,
    ordinal: u64,
    document: StoredDocument,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key, self.ordinal).cmp(&(other.key, other.ordinal))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Splitter {
    pub(super) fn new(seed: u64, test_fraction: f64, num_test: Option<usize>) -> Self {
        Self { seed, test_fraction, num_test, held: BinaryHeap::new(), num_seen: 0 }
    }

    /// Takes a document and says what can be written now, to train and to test. A document that is held back for the
    /// test split comes out later, of this or of [`Self::take_held`].
    pub(super) fn assign(&mut self, document: StoredDocument) -> (Option<StoredDocument>, Option<StoredDocument>) {
        let key = self.key(&document.text);
        self.num_seen += 1;
        let Some(num_test) = self.num_test else {
            let is_test = (key as f64 / 2f64.powi(64)) < self.test_fraction;
            return if is_test { (None, Some(document)) } else { (Some(document), None) };
        };
        self.held.push(Held { key, ordinal: self.num_seen, document });
        let released = if self.held.len() > num_test { self.held.pop() } else { None };
        (released.map(|held| held.document), None)
    }

    /// The documents that stayed held back, in the order in which they were given.
    pub(super) fn take_held(&mut self) -> Vec<StoredDocument> {
        let mut held = std::mem::take(&mut self.held).into_vec();
        held.sort_by_key(|held| held.ordinal);
        held.into_iter().map(|held| held.document).collect()
    }

    fn key(&self, text: &str) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(text.as_bytes());
        let mut key = [0; 8];
        hasher.finalize_xof().fill(&mut key);
        u64::from_le_bytes(key)
    }
}
