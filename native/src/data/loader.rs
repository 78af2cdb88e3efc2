//! Batches for training: the documents of a prepared dataset, tokenised, laid out, masked, from any place on.
//!
//! Training sees one endless sequence of rows. Epoch after epoch, block after block (see [`super::order`]), each block
//! gives its rows as a pure function of (dataset, configuration, epoch, block), and a batch is the next `n` rows,
//! whether or not they cross the border of a block or of an epoch: nothing is dropped or padded at a border. So a place
//! in the sequence is a [`Cursor`] of three numbers, and how many threads work ahead changes nothing.

use super::dataset::Split;
use super::order::{BlockId, BlockReader, Order, permutation};
use crate::exit::{Coded, Exit};
use anaume_core::batch::{Batch, FrameIds, Layout, Row, layout_rows};
use anaume_core::masking::MaskingConfig;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Turns a part of a text, given in bytes, into ids, without those that frame the text.
pub type Tokenize = Arc<dyn Fn(&str, Range<usize>) -> Result<Vec<u32>> + Send + Sync>;

/// Longer texts are tokenised in pieces that end at a line end, so that a whole book needs no more memory than a chapter.
const PIECE_BYTES: usize = 256 << 10;
/// The epoch that keys validation; training never gets there.
const VALIDATION_EPOCH: u64 = u64::MAX - 1;

/// Place in the sequence of rows: the next row to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Block of the epoch, from 0.
    pub block: u64,
    /// Row of the block, from 0.
    pub row: u64,
}

/// What batches are made of. The same dataset, configuration and tokenizer give the same batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Keys the order of the documents and the masks.
    pub seed: u64,
    /// One document a row, or packed.
    pub layout: Layout,
    /// Most ids in a chunk, `[CLS]` and `[SEP]` included.
    pub max_length: usize,
    /// Most ids in a row. Packed rows are padded to it; with [`Layout::OnePerRow`] a batch is padded to its longest row.
    pub row_length: usize,
    /// How tokens are masked.
    pub masking: MaskingConfig,
    /// The ids of `[CLS]` and `[SEP]`.
    pub frame: FrameIds,
    /// Ids that are never selected for prediction where they occur in a text.
    pub special_ids: Vec<u32>,
    /// Shards whose documents are mixed with each other.
    pub shards_per_window: usize,
    /// Bytes of text in a block, on average: what is packed together, and what is tokenised again after a resume.
    pub block_bytes: u64,
}

impl LoaderConfig {
    /// Packed rows of `max_length` ids, mixed over four shards, packed in blocks of 4 MiB.
    pub fn new(seed: u64, max_length: usize, masking: MaskingConfig, frame: FrameIds, special_ids: Vec<u32>) -> Self {
        Self {
            seed,
            layout: Layout::Packed,
            max_length,
            row_length: max_length,
            masking,
            frame,
            special_ids,
            shards_per_window: 4,
            block_bytes: 4 << 20,
        }
    }

    fn validate(&self, split: &Split) -> Result<()> {
        self.masking.validate()?;
        if self.max_length < 3 || self.max_length > self.row_length {
            let (length, row) = (self.max_length, self.row_length);
            let message = format!("a maximum length of {length} must be at least 3 and at most the row length {row}");
            return Err(Coded::error(Exit::Usage, message));
        }
        if split.info.documents == 0 {
            return Err(Coded::error(Exit::Data, format!("split `{}` has no documents", split.name)));
        }
        Ok(())
    }

    fn batch(&self, rows: &[Row]) -> Result<Batch> {
        let row_length = match self.layout {
            Layout::Packed => self.row_length,
            Layout::OnePerRow => rows.iter().map(|row| row.ids.len()).max().unwrap_or(0),
        };
        Ok(Batch::new(rows, row_length)?)
    }
}

/// Makes the rows of blocks.
struct BlockMaker {
    reader: BlockReader,
    config: Arc<LoaderConfig>,
    tokenize: Tokenize,
}

impl BlockMaker {
    /// The rows of a block, or `None` if it was told to stop meanwhile.
    fn rows(&mut self, at: BlockId, stop: &AtomicBool) -> Result<Option<Vec<Row>>> {
        let config = &self.config;
        let mut documents = Vec::new();
        for document in self.reader.documents(at)? {
            let (number, document) = document?;
            let Some(ids) = tokenize_pieces(&document.text, &self.tokenize, stop)
                .with_context(|| format!("document {number} (`{}`)", document.id))?
            else {
                return Ok(None);
            };
            documents.push((number, ids));
        }
        let rows = layout_rows(&documents, config.layout, config.frame, config.max_length, config.row_length)?;
        let mut rows = shuffled(rows, &[config.seed, at.epoch, at.block | ROW_ORDER]);
        for row in &mut rows {
            row.mask(&config.masking, config.seed, at.epoch, |id| config.special_ids.contains(&id));
        }
        Ok(Some(rows))
    }
}

/// Marks the key of a block's row order among the keys of the documents' order.
const ROW_ORDER: u64 = 1 << 63;

/// The rows in an order that depends on the key alone: without it the rows of one book would fill a whole batch.
fn shuffled(mut rows: Vec<Row>, key: &[u64; 3]) -> Vec<Row> {
    permutation(rows.len(), key).into_iter().map(|index| std::mem::take(&mut rows[index as usize])).collect()
}

/// The ids of a text, or `None` if it was told to stop meanwhile.
fn tokenize_pieces(text: &str, tokenize: &Tokenize, stop: &AtomicBool) -> Result<Option<Vec<u32>>> {
    let mut ids = Vec::new();
    for piece in pieces(text, PIECE_BYTES) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        ids.extend(tokenize(text, piece)?);
    }
    Ok(Some(ids))
}

/// Cuts a text into pieces of at most `max_bytes` (at least 4), after the last line end of each where there is one.
fn pieces(text: &str, max_bytes: usize) -> Vec<Range<usize>> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    while text.len() - start > max_bytes {
        let limit = text.floor_char_boundary(start + max_bytes);
        let end = text[start..limit].rfind('\n').map_or(limit, |line_end| start + line_end + 1);
        pieces.push(start..end);
        start = end;
    }
    if start < text.len() {
        pieces.push(start..text.len());
    }
    pieces
}

/// A finished block.
struct Block {
    at: BlockId,
    rows: Vec<Row>,
}

/// One thread's share of the work: every `num_threads`-th block, in order.
struct Worker {
    maker: BlockMaker,
    order: Arc<Order>,
    at: BlockId,
    num_threads: usize,
    stop: Arc<AtomicBool>,
    out: SyncSender<Result<Block>>,
}

impl Worker {
    /// Works until told to stop, until nobody listens, or up to the first error.
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.at;
            let block = match self.maker.rows(at, &self.stop) {
                Ok(None) => return,
                Ok(Some(rows)) => Ok(Block { at, rows }),
                Err(error) => Err(error),
            };
            let failed = block.is_err();
            if self.out.send(block).is_err() || failed {
                return;
            }
            self.at = (0..self.num_threads).fold(at, |at, _| self.order.next(at));
        }
    }
}

/// An endless source of batches. Threads prepare blocks ahead of it; dropping it stops them.
pub struct Loader {
    config: Arc<LoaderConfig>,
    order: Arc<Order>,
    split: Arc<Split>,
    /// One channel a thread, to be asked in turn.
    blocks: Vec<Receiver<Result<Block>>>,
    turn: usize,
    rows: std::vec::IntoIter<Row>,
    /// The block of `rows`; the first one to come while there is none.
    at: BlockId,
    cursor: Cursor,
    /// Blocks in a row that gave nothing.
    barren_blocks: u64,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Batches of a split from `cursor` on, prepared by `num_threads` threads (at least one).
    pub fn new(
        split: Split,
        config: LoaderConfig,
        tokenize: Tokenize,
        cursor: Cursor,
        num_threads: usize,
    ) -> Result<Self> {
        config.validate(&split)?;
        let (split, config) = (Arc::new(split), Arc::new(config));
        let order = Arc::new(Order::new(split.clone(), config.seed, config.shards_per_window, config.block_bytes));
        let at = BlockId { epoch: cursor.epoch, block: cursor.block };
        if at.block >= order.num_blocks(at.epoch) {
            return Err(misplaced(cursor));
        }
        let mut loader = Self {
            config,
            order,
            split,
            blocks: Vec::new(),
            turn: 0,
            rows: Vec::new().into_iter(),
            at,
            cursor,
            barren_blocks: 0,
            stop: Arc::default(),
            threads: Vec::new(),
        };
        loader.start(at, num_threads.max(1), &tokenize)?;
        loader.skip_used_rows(cursor)?;
        Ok(loader)
    }

    fn start(&mut self, mut at: BlockId, num_threads: usize, tokenize: &Tokenize) -> Result<()> {
        for _ in 0..num_threads {
            let (out, blocks) = sync_channel(1);
            let reader = BlockReader::new(self.order.clone());
            let maker = BlockMaker { reader, config: self.config.clone(), tokenize: tokenize.clone() };
            let (order, stop) = (self.order.clone(), self.stop.clone());
            let worker = Worker { maker, order, at, num_threads, stop, out };
            let thread = std::thread::Builder::new().name("loader".to_owned()).spawn(move || worker.run());
            self.threads.push(thread.context("cannot start a loader thread")?);
            self.blocks.push(blocks);
            at = self.order.next(at);
        }
        Ok(())
    }

    fn skip_used_rows(&mut self, cursor: Cursor) -> Result<()> {
        if cursor.row == 0 {
            return Ok(());
        }
        self.next_block()?;
        if cursor.row >= self.rows.len() as u64 {
            return Err(misplaced(cursor));
        }
        self.rows.nth(cursor.row as usize - 1);
        Ok(())
    }

    /// The next `num_rows` rows as a batch, and the place after it.
    pub fn next_batch(&mut self, num_rows: usize) -> Result<(Batch, Cursor)> {
        let rows = (0..num_rows).map(|_| self.next_row()).collect::<Result<Vec<Row>>>()?;
        Ok((self.config.batch(&rows)?, self.cursor))
    }

    /// Name of a document of a batch, for messages.
    pub fn document_id(&self, number: u64) -> Result<String> {
        Ok(self.split.document(number)?.id)
    }

    fn next_row(&mut self) -> Result<Row> {
        loop {
            if let Some(row) = self.rows.next() {
                self.cursor = match self.rows.len() {
                    0 => start_of(self.order.next(self.at)),
                    _ => Cursor { row: self.cursor.row + 1, ..self.cursor },
                };
                return Ok(row);
            }
            self.next_block()?;
            self.cursor = start_of(self.at);
        }
    }

    /// Waits for the next block and makes it the current one.
    fn next_block(&mut self) -> Result<()> {
        let block = self.blocks[self.turn].recv().context("the loader has stopped after an error")??;
        self.turn = (self.turn + 1) % self.blocks.len();
        self.barren_blocks = if block.rows.is_empty() { self.barren_blocks + 1 } else { 0 };
        if self.barren_blocks > self.order.num_blocks(block.at.epoch) {
            let message =
                format!("no document of split `{}` gives a token; check the data and the tokenizer", self.split.name);
            return Err(Coded::error(Exit::Data, message));
        }
        self.at = block.at;
        self.rows = block.rows.into_iter();
        Ok(())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that waits to hand over a block wakes up when nobody listens any more.
        self.blocks.clear();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported on stderr and, by its closed channel, to the caller.
            let _ = thread.join();
        }
    }
}

fn start_of(at: BlockId) -> Cursor {
    Cursor { epoch: at.epoch, block: at.block, row: 0 }
}

fn misplaced(cursor: Cursor) -> anyhow::Error {
    let Cursor { epoch, block, row } = cursor;
    let message = format!(
        "the dataset has no row {row} in block {block} of epoch {epoch}: dataset, tokenizer or data settings are not those \
         of the run that is resumed"
    );
    Coded::error(Exit::Data, message)
}

/// The batches of a fixed validation set: order and masks depend on the seed alone, so that losses can be compared
/// within a run and between runs. At most `max_rows` rows, in batches of `num_rows` (the last may have fewer).
pub fn validation_batches(
    split: Split,
    config: &LoaderConfig,
    tokenize: Tokenize,
    num_rows: usize,
    max_rows: usize,
) -> Result<Vec<Batch>> {
    config.validate(&split)?;
    let order = Arc::new(Order::new(Arc::new(split), config.seed, config.shards_per_window, config.block_bytes));
    let mut maker = BlockMaker { reader: BlockReader::new(order.clone()), config: Arc::new(config.clone()), tokenize };
    let mut rows = Vec::new();
    for block in 0..order.num_blocks(VALIDATION_EPOCH) {
        if rows.len() >= max_rows {
            break;
        }
        let at = BlockId { epoch: VALIDATION_EPOCH, block };
        rows.extend(maker.rows(at, &AtomicBool::new(false))?.unwrap_or_default());
    }
    rows.truncate(max_rows);
    rows.chunks(num_rows.max(1)).map(|rows| config.batch(rows)).collect()
}

#[cfg(test)]
mod tests;
