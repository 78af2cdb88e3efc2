//! From token ids of documents to rows of a batch, on the host: chunks, packing, masks.
//!
//! A document becomes chunks (`[CLS] … [SEP]`), chunks are packed into rows of one length, and rows become a [`Batch`].
//! Attention stays inside a chunk: a batch carries the length of each. All of it is a pure function of its arguments.

use crate::error::{Error, Result};
use crate::masking::{IGNORE_LABEL, MaskingConfig, mask_tokens};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How documents are laid out in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Every token is used: long documents are cut into chunks, several chunks share a row.
    #[default]
    Packed,
    /// One document a row: the text beyond the maximum length is thrown away, short rows are padded. For comparison
    /// with recipes that train so.
    OnePerRow,
}

/// The ids that frame sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameIds {
    /// Begins every chunk.
    pub cls: u32,
    /// Ends every chunk.
    pub sep: u32,
}

/// A sequence for the model: a part of one document between `[CLS]` and `[SEP]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Number of the document in its dataset.
    pub document: u64,
    /// Position in the document of the first token after `[CLS]`.
    pub first_position: u64,
    /// `[CLS]`, the tokens, `[SEP]`.
    pub ids: Vec<u32>,
}

/// Cuts the token ids of a document (without special tokens at its ends) into chunks of at most `max_length` ids each.
///
/// No token is lost. Chunks are full, since full chunks fill rows without padding, but where less than a quarter of a
/// chunk would remain, the last two share their tokens evenly: no part of a longer text loses nearly all its context. A
/// document without tokens gives no chunk. Fails if `max_length` leaves no room for a token.
pub fn chunk_document(document: u64, body: &[u32], frame: FrameIds, max_length: usize) -> Result<Vec<Chunk>> {
    let mut start = 0;
    let lengths = chunk_lengths(body.len(), body_room(max_length)?).into_iter();
    let chunks = lengths.map(|len| {
        start += len;
        chunk(document, body, start - len, start, frame)
    });
    Ok(chunks.collect())
}

fn chunk_lengths(len: usize, room: usize) -> Vec<usize> {
    let rest = len % room;
    let mut lengths = vec![room; len / room];
    match lengths.last_mut() {
        Some(last) if 0 < rest && rest < room / 4 => {
            let both = room + rest;
            *last = both - both / 2;
            lengths.push(both / 2);
        }
        _ => lengths.extend((rest > 0).then_some(rest)),
    }
    lengths
}

/// The first chunk of a document, the rest thrown away; none for a document without tokens.
pub fn truncate_document(document: u64, body: &[u32], frame: FrameIds, max_length: usize) -> Result<Option<Chunk>> {
    let end = body.len().min(body_room(max_length)?);
    Ok((end > 0).then(|| chunk(document, body, 0, end, frame)))
}

fn body_room(max_length: usize) -> Result<usize> {
    match max_length.checked_sub(2) {
        Some(room) if room > 0 => Ok(room),
        _ => Err(Error::Input {
            message: format!("a maximum length of {max_length} has no room for a token; give at least 3"),
        }),
    }
}

fn chunk(document: u64, body: &[u32], start: usize, end: usize, frame: FrameIds) -> Chunk {
    let mut ids = Vec::with_capacity(end - start + 2);
    ids.push(frame.cls);
    ids.extend_from_slice(&body[start..end]);
    ids.push(frame.sep);
    Chunk { document, first_position: start as u64, ids }
}

/// Where a chunk lies in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of `[CLS]` in the row.
    pub start: usize,
    /// Number of ids, `[CLS]` and `[SEP]` included.
    pub len: usize,
    /// Number of the document in its dataset.
    pub document: u64,
    /// Position in the document of the first token after `[CLS]`.
    pub first_position: u64,
}

/// One or more chunks side by side, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Ids as the model sees them.
    pub ids: Vec<u32>,
    /// What is to be predicted, [`IGNORE_LABEL`] elsewhere.
    pub labels: Vec<i32>,
    /// The chunks, from left to right.
    pub segments: Vec<Segment>,
}

impl Row {
    /// Appends a chunk that is to be seen unmasked.
    pub fn push(&mut self, chunk: &Chunk) {
        self.segments.push(Segment {
            start: self.ids.len(),
            len: chunk.ids.len(),
            document: chunk.document,
            first_position: chunk.first_position,
        });
        self.ids.extend_from_slice(&chunk.ids);
        self.labels.resize(self.ids.len(), IGNORE_LABEL);
    }

    /// Masks all chunks, see [`mask_tokens`]. `[CLS]`, `[SEP]` and the ids that `is_special` names are never selected.
    pub fn mask(&mut self, config: &MaskingConfig, seed: u64, epoch: u64, is_special: impl Fn(u32) -> bool) {
        for segment in &self.segments {
            let body = segment.start + 1..segment.start + segment.len - 1;
            let special: Vec<bool> = self.ids[body.clone()].iter().map(|&id| is_special(id)).collect();
            let (document, position) = (segment.document, segment.first_position);
            let masked = mask_tokens(config, seed, epoch, document, position, &self.ids[body.clone()], &special);
            self.ids[body.clone()].copy_from_slice(&masked.ids);
            self.labels[body].copy_from_slice(&masked.labels);
        }
    }
}

/// Packs chunks into rows of at most `row_length` ids: longest chunk first, each into the fullest row that has room.
///
/// The rows stand in the order in which their longest chunk was given, so that a shuffled input gives shuffled rows.
/// Fails if a chunk is longer than a row.
pub fn pack(chunks: &[Chunk], row_length: usize) -> Result<Vec<Row>> {
    let mut order: Vec<usize> = (0..chunks.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(chunks[i].ids.len()), i));
    let mut rows: Vec<(usize, Row)> = Vec::new();
    let mut rooms: BTreeSet<(usize, usize)> = BTreeSet::new();
    for i in order {
        let len = chunks[i].ids.len();
        let room = row_length.checked_sub(len).ok_or_else(|| too_long(&chunks[i], row_length))?;
        let (left, row) = match rooms.range((len, 0)..).next().copied() {
            Some(found) => {
                rooms.remove(&found);
                (found.0 - len, found.1)
            }
            None => {
                rows.push((i, Row::default()));
                (room, rows.len() - 1)
            }
        };
        rows[row].1.push(&chunks[i]);
        rooms.insert((left, row));
    }
    rows.sort_by_key(|(first_chunk, _)| *first_chunk);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn too_long(chunk: &Chunk, row_length: usize) -> Error {
    let (len, document) = (chunk.ids.len(), chunk.document);
    Error::Input { message: format!("a chunk of {len} ids of document {document} does not fit a row of {row_length}") }
}

/// Lays documents, given as (number, token ids), out in rows. `max_length` bounds a chunk, `row_length` a row.
pub fn layout_rows(
    documents: &[(u64, Vec<u32>)],
    layout: Layout,
    frame: FrameIds,
    max_length: usize,
    row_length: usize,
) -> Result<Vec<Row>> {
    match layout {
        Layout::Packed => {
            let mut chunks = Vec::new();
            for (document, body) in documents {
                chunks.extend(chunk_document(*document, body, frame, max_length)?);
            }
            pack(&chunks, row_length)
        }
        Layout::OnePerRow => {
            let mut rows = Vec::new();
            for (document, body) in documents {
                if let Some(chunk) = truncate_document(*document, body, frame, max_length)? {
                    rows.extend(pack(&[chunk], row_length)?);
                }
            }
            Ok(rows)
        }
    }
}

/// Rows for the device. Padding is counted, not computed: the model takes the chunks of all rows one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The chunks of all rows.
    pub sequences: Sequences,
    /// Indices of the tokens to be predicted, among all tokens of `sequences`.
    pub masked: Vec<usize>,
    /// The original id of each of them.
    pub labels: Vec<u32>,
    /// Number of rows.
    pub num_rows: usize,
    /// Tokens in all rows.
    pub num_tokens: usize,
    /// What is missing to full rows, in tokens.
    pub num_padding: usize,
    /// Numbers of the documents that have a part in the batch, sorted, each once.
    pub documents: Vec<u64>,
}

impl Batch {
    /// The rows side by side. Fails if one is longer than `row_length`.
    pub fn new(rows: &[Row], row_length: usize) -> Result<Self> {
        let mut batch = Self { num_rows: rows.len(), documents: documents_of(rows), ..Self::default() };
        for row in rows {
            batch.push(row, row_length)?;
        }
        batch.num_padding = rows.len() * row_length - batch.num_tokens;
        Ok(batch)
    }

    /// The same in parts of at most `max_tokens` tokens, or of one sequence that is longer. Rows, padding and documents are counted
    /// with the first part.
    pub fn split(self, max_tokens: usize) -> Vec<Self> {
        if self.num_tokens <= max_tokens {
            return vec![self];
        }
        let (mut start, mut parts) = (0, Vec::new());
        for lengths in groups_within(max_tokens, &self.sequences.lengths, |length| *length) {
            let end = start + lengths.iter().sum::<usize>();
            let masked =
                self.masked.partition_point(|token| *token < start)..self.masked.partition_point(|token| *token < end);
            parts.push(Self {
                sequences: Sequences {
                    ids: self.sequences.ids[start..end].to_vec(),
                    lengths: lengths.to_vec(),
                    types: self.sequences.types.get(start..end).unwrap_or_default().to_vec(),
                },
                labels: self.labels[masked.clone()].to_vec(),
                masked: self.masked[masked].iter().map(|token| token - start).collect(),
                num_tokens: end - start,
                ..Self::default()
            });
            start = end;
        }
        let first = &mut parts[0];
        (first.num_rows, first.num_padding, first.documents) = (self.num_rows, self.num_padding, self.documents);
        parts
    }

    fn push(&mut self, row: &Row, row_length: usize) -> Result<()> {
        if row.ids.len() > row_length {
            let message = format!("a row of {} ids does not fit a batch of length {row_length}", row.ids.len());
            return Err(Error::Input { message });
        }
        let selected = row.labels.iter().enumerate().filter(|(_, label)| **label != IGNORE_LABEL);
        for (index, label) in selected {
            self.masked.push(self.num_tokens + index);
            self.labels.push(*label as u32);
        }
        self.sequences.ids.extend_from_slice(&row.ids);
        self.sequences.lengths.extend(row.segments.iter().map(|segment| segment.len));
        self.num_tokens += row.ids.len();
        Ok(())
    }
}

fn documents_of(rows: &[Row]) -> Vec<u64> {
    let documents: BTreeSet<u64> = rows.iter().flat_map(|row| &row.segments).map(|segment| segment.document).collect();
    documents.into_iter().collect()
}

/// Splits items into runs of at most `limit` tokens, at least one item each.
pub fn groups_within<T>(limit: usize, items: &[T], length: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut groups, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (index, item) in items.iter().enumerate() {
        if index > start && tokens + length(item) > limit {
            groups.push(&items[start..index]);
            (start, tokens) = (index, 0);
        }
        tokens += length(item);
    }
    if start < items.len() {
        groups.push(&items[start..]);
    }
    groups
}

/// Sequences one after the other without padding: what the model takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// Token ids of all sequences.
    pub ids: Vec<u32>,
    /// Tokens of each sequence.
    pub lengths: Vec<usize>,
    /// Type of each token: 0, or 1 in the second text of a pair. Empty where all are 0.
    pub types: Vec<u8>,
}

impl Sequences {
    /// Appends a sequence.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.lengths.push(ids.len());
        if !self.types.is_empty() {
            self.types.resize(self.ids.len(), 0);
        }
    }

    /// Appends a pair of texts in one sequence, the second from index `second_start` on: its tokens have type 1.
    pub fn push_pair(&mut self, ids: &[u32], second_start: usize) {
        self.types.resize(self.ids.len() + second_start.min(ids.len()), 0);
        self.ids.extend_from_slice(ids);
        self.lengths.push(ids.len());
        self.types.resize(self.ids.len(), 1);
    }
}
