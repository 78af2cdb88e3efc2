//! Passages that can be searched by meaning and by words, with their file.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use tokenizers::NormalizedString;

use super::{Bigram, Bm25, TopK};
use crate::error::{Error, Result};

/// Name of the vectors in the file.
const VECTORS: &str = "vectors";
/// Names in the file's metadata.
const PASSAGES: &str = "passages";
const MODEL: &str = "model";
const FORMAT: &str = "anaume_index";
/// Version of the file that is written, and the newest that is read.
const VERSION: &str = "1";

/// Passages with a vector each.
///
/// Its file is safetensors: `vectors` `[passages, hidden_size]` in f32, each of length 1; in the metadata `passages`, a
/// JSON array of texts, and `model`, which made the vectors.
#[derive(Clone, Debug)]
pub struct PassageIndex {
    /// What made the vectors: a query needs the same.
    pub model: String,
    /// The texts.
    pub passages: Vec<String>,
    width: usize,
    vectors_pd: Vec<f32>,
    words: Bm25,
}

impl PassageIndex {
    /// Takes passages and their vectors of any length above 0.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of vectors than passages, for none, and for a vector that is 0 or not finite.
    pub fn new(model: String, passages: Vec<String>, vectors: &[Vec<f32>]) -> Result<Self> {
        let width = vectors.first().map_or(0, Vec::len);
        if vectors.len() != passages.len() || width == 0 || vectors.iter().any(|vector| vector.len() != width) {
            let message = format!("{} vectors do not fit {} passages", vectors.len(), passages.len());
            return Err(Error::Input { message });
        }
        let unit = vectors.iter().enumerate().map(|(number, vector)| unit(number, vector));
        let vectors_pd = unit.collect::<Result<Vec<_>>>()?.concat();
        Ok(Self { words: Bm25::new(&passages), model, passages, width, vectors_pd })
    }

    /// Length of a vector.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The vector of a passage, of length 1.
    pub fn vector(&self, passage: usize) -> &[f32] {
        &self.vectors_pd[passage * self.width..(passage + 1) * self.width]
    }

    /// The `k` passages whose vectors have the largest cosines with the query's, best first.
    ///
    /// # Errors
    /// [`Error::Input`] for a query of another width.
    pub fn by_meaning(&self, query: &[f32], k: usize) -> Result<Vec<(usize, f32)>> {
        if query.len() != self.width {
            let message = format!("a query of {} values for vectors of {}", query.len(), self.width);
            return Err(Error::Input { message });
        }
        let query = unit(0, query)?;
        let scores: Vec<f32> = self.vectors_pd.chunks_exact(self.width).map(|vector| product(vector, &query)).collect();
        let mut best = TopK::new(1, k);
        best.add(0, &scores)?;
        Ok(best.finish().pop().unwrap_or_default())
    }

    /// The `k` best passages by BM25 that share a term with the query, best first.
    pub fn by_words(&self, query: &str, k: usize) -> Vec<(usize, f32)> {
        self.words.search(query, k)
    }

    /// The file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let failed = |cause: &dyn std::fmt::Display| Error::Input { message: format!("index: {cause}") };
        let passages = serde_json::to_string(&self.passages).map_err(|cause| failed(&cause))?;
        let metadata = HashMap::from(
            [(FORMAT, VERSION), (MODEL, &self.model), (PASSAGES, &passages)].map(|(k, v)| (k.into(), v.into())),
        );
        let bytes: &[u8] = bytemuck::cast_slice(&self.vectors_pd);
        let view = TensorView::new(Dtype::F32, vec![self.passages.len(), self.width], bytes);
        let view = view.map_err(|cause| failed(&cause))?;
        serialize([(VECTORS, view)], Some(metadata)).map_err(|cause| failed(&cause))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no such file, a newer one, or one whose vectors do not fit its passages.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let failed = |cause: String| Error::Input { message: format!("index: {cause}") };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|cause| failed(cause.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let field = |name: &str| metadata.get(name).ok_or_else(|| failed(format!("`{name}` is not in its header")));
        match field(FORMAT)?.as_str() {
            VERSION => {}
            other => return Err(failed(format!("format version {other}; this program reads {VERSION}"))),
        }
        let passages: Vec<String> =
            serde_json::from_str(field(PASSAGES)?).map_err(|cause| failed(format!("`{PASSAGES}`: {cause}")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|cause| failed(cause.to_string()))?;
        let view = file.tensor(VECTORS).map_err(|cause| failed(cause.to_string()))?;
        match *view.shape() {
            [rows, width] if view.dtype() == Dtype::F32 && rows == passages.len() && width > 0 => {
                let values =
                    view.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("4 bytes")));
                let values: Vec<f32> = values.collect();
                let vectors: Vec<Vec<f32>> = values.chunks_exact(width).map(<[f32]>::to_vec).collect();
                Self::new(field(MODEL)?.clone(), passages, &vectors)
            }
            _ => Err(failed(format!("vectors of shape {:?} do not fit {} passages", view.shape(), passages.len()))),
        }
    }
}

/// The sum of the products of two vectors' values, in 16 sums that a processor adds to at once.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// A vector of length 1.
fn unit(number: usize, vector: &[f32]) -> Result<Vec<f32>> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 && length.is_finite() {
        return Ok(vector.iter().map(|value| (f64::from(*value) / length) as f32).collect());
    }
    Err(Error::Input { message: format!("vector {number} has the length {length}") })
}

/// Where a text has two characters side by side that a query has too: byte ranges, in order and joined.
pub fn shared_ranges(query: &str, text: &str) -> Vec<Range<usize>> {
    let wanted: HashSet<Bigram> = super::bigrams(query).into_iter().collect();
    // As in `bigrams`, but with the place of every character kept.
    let mut chars: Vec<(char, Range<usize>)> = Vec::new();
    for (start, original) in text.char_indices() {
        let place = start..start + original.len_utf8();
        let mut normal = NormalizedString::from(original.to_string());
        normal.nfkc().lowercase();
        chars.extend(normal.get().chars().map(|char| (char, place.clone())));
    }
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for pair in chars.windows(2) {
        if !pair.iter().all(|(char, _)| char.is_alphanumeric()) || !wanted.contains(&[pair[0].0, pair[1].0]) {
            continue;
        }
        let found = pair[0].1.start..pair[1].1.end;
        match ranges.last_mut() {
            Some(last) if found.start <= last.end => last.end = found.end,
            _ => ranges.push(found),
        }
    }
    ranges
}
