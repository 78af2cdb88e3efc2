//! Every parser of what comes from strangers, as a function of bytes that must neither panic nor ask for memory that the bytes do
//! not pay for. `tests/parsers.rs` gives them the committed corpus and random changes of it in every test run, `fuzz.rs` to
//! libFuzzer.
//!
//! The program's own readers are compiled in by path: they need neither tensors nor devices, and a fuzzer builds in minutes so.

mod native;
mod pure;

// The program's modules, where they expect each other.
#[allow(dead_code, reason = "the program uses more of it")]
mod data;
#[allow(dead_code, reason = "the program uses more of it")]
mod eval;
#[path = "../../../native/src/exit.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod exit;
#[path = "../../../native/src/files.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod files;
#[path = "../../../native/src/manifest.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod manifest;
#[path = "../../../native/src/recipe.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod recipe;

/// The files here are local: none is downloaded.
mod hub {
    use std::path::{Path, PathBuf};

    pub fn data(path: &Path) -> anyhow::Result<PathBuf> {
        file(path)
    }

    pub fn file(path: &Path) -> anyhow::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// A parser and its name, which is that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// The parsers.
pub const TARGETS: [Target; 17] = [
    ("bert-japanese", pure::bert_japanese),
    ("checkpoint", native::checkpoint),
    ("config", pure::config),
    ("dataset", native::dataset),
    ("gzip", native::gzip),
    ("index", pure::index),
    ("jsonl", native::jsonl),
    ("link", pure::link),
    ("mecab", pure::mecab),
    ("parquet", native::parquet),
    ("recipe", native::recipe),
    ("results", pure::results),
    ("safetensors", pure::safetensors),
    ("sentencepiece", pure::sentencepiece),
    ("tokenizer", pure::tokenizer),
    ("trec", native::trec),
    ("zstd", native::zstd),
];

/// Most bytes that a parser may ask for at once, whatever an input of a fuzzer says: a line at its cap, doubled.
const MAX_ALLOCATION: usize = 128 << 20;

thread_local! {
    static LIMIT: Cell<usize> = const { Cell::new(MAX_ALLOCATION) };
}

/// Runs a part of a parser with another limit.
fn with_limit<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = LIMIT.replace(bytes);
    let result = work();
    LIMIT.set(before);
    result
}

/// The system's allocator, which refuses what is too much at once; the process then ends with the size.
pub struct Limited;

// SAFETY: every call is the system's; a refusal is a null pointer, as the trait demands.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        if refused(size) { std::ptr::null_mut() } else { unsafe { System.realloc(pointer, layout, size) } }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn refused(size: usize) -> bool {
    size > LIMIT.get()
}

/// The parts of an input that consists of several files, separated by zero bytes; missing ones are empty.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
